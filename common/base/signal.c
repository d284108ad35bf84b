#include "base/signal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

/* What the handlers work on: signals belong to the process, so this is the one place with state of its own. */
static struct rc_stop *_Atomic process_stop;
static _Atomic uint32_t hups;

rc_status rc_stop_init(struct rc_stop *stop, struct rc_error *err) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "eventfd: %s", strerror(errno));
    atomic_init(&stop->requested, false);
    stop->fd = fd;
    return RC_OK;
}

void rc_stop_deinit(struct rc_stop *stop) {
    struct rc_stop *mine = stop;
    atomic_compare_exchange_strong(&process_stop, &mine, NULL);
    if (stop->fd >= 0)
        close(stop->fd);
    stop->fd = -1;
}

void rc_stop_request(struct rc_stop *stop) {
    int saved_errno = errno;
    uint64_t one = 1;
    atomic_store_explicit(&stop->requested, true, memory_order_release);
    /* A full counter is readable already, which is all that is wanted. */
    ssize_t ignored = write(stop->fd, &one, sizeof one);
    (void)ignored;
    errno = saved_errno;
}

bool rc_stop_wait(const struct rc_stop *stop, int64_t timeout_ms) {
    int64_t until = timeout_ms < 0 ? INT64_MAX : rc_clock_monotonic_ms() + timeout_ms;
    while (!rc_stop_requested(stop)) {
        int64_t left = timeout_ms < 0 ? -1 : until - rc_clock_monotonic_ms();
        if (timeout_ms >= 0 && left <= 0)
            break;
        struct pollfd wait = {.fd = stop->fd, .events = POLLIN};
        poll(&wait, 1, left > INT_MAX ? INT_MAX : (int)left);
    }
    return rc_stop_requested(stop);
}

static void on_stop(int number) {
    struct rc_stop *stop = atomic_load(&process_stop);
    if (!stop || rc_stop_requested(stop))
        _exit(128 + number);
    rc_stop_request(stop);
}

static void on_hup(int number) {
    (void)number;
    atomic_fetch_add(&hups, 1);
}

rc_status rc_signal_install(struct rc_stop *stop, struct rc_error *err) {
    atomic_store(&process_stop, stop);
    struct sigaction action = {.sa_handler = on_stop};
    struct sigaction hup = {.sa_handler = on_hup};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    /* No SA_RESTART: a command that blocks in read(2) of a terminal or pipe has to come back and look at the flag. */
    sigemptyset(&action.sa_mask);
    sigemptyset(&hup.sa_mask);
    sigemptyset(&ignore.sa_mask);
    if (sigaction(SIGTERM, &action, NULL) != 0 || sigaction(SIGINT, &action, NULL) != 0 ||
        sigaction(SIGHUP, &hup, NULL) != 0 || sigaction(SIGPIPE, &ignore, NULL) != 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "sigaction: %s", strerror(errno));
    return RC_OK;
}

uint32_t rc_signal_hups(void) {
    return atomic_load(&hups);
}
