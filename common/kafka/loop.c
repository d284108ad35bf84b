/* ppoll(2) over one eventfd and a few others, with a deadline on the wall clock. */
#include "kafka/loop.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"

#define MAX_FDS 17

struct rc_loop {
    struct pollfd fds[MAX_FDS]; /* [0] is the eventfd */
    nfds_t n;
    int64_t last_ms; /* monotonic: end of the last wait, or the last touch */
};

rc_status rc_loop_open(struct rc_loop **out, struct rc_error *err) {
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "eventfd: %s", strerror(errno));
    struct rc_loop *loop = rc_calloc(1, sizeof *loop);
    loop->fds[0] = (struct pollfd){.fd = fd, .events = POLLIN};
    loop->n = 1;
    loop->last_ms = rc_clock_monotonic_ms();
    *out = loop;
    return RC_OK;
}

void rc_loop_close(struct rc_loop *loop) {
    if (!loop)
        return;
    close(loop->fds[0].fd);
    free(loop);
}

int rc_loop_fd(const struct rc_loop *loop) {
    return loop->fds[0].fd;
}

void rc_loop_wake(struct rc_loop *loop) {
    uint64_t one = 1;
    /* EAGAIN: the counter is at its end, so the loop wakes anyway. */
    ssize_t written = write(loop->fds[0].fd, &one, sizeof one);
    (void)written;
}

void rc_loop_add(struct rc_loop *loop, int fd, short events) {
    for (nfds_t i = 1; i < loop->n; i++)
        if (loop->fds[i].fd == fd) {
            loop->fds[i].events = events;
            return;
        }
    if (loop->n == MAX_FDS)
        abort(); /* the header says 16: a mistake of the program */
    loop->fds[loop->n++] = (struct pollfd){.fd = fd, .events = events};
}

void rc_loop_remove(struct rc_loop *loop, int fd) {
    for (nfds_t i = 1; i < loop->n; i++)
        if (loop->fds[i].fd == fd) {
            loop->fds[i] = loop->fds[--loop->n];
            return;
        }
}

bool rc_loop_ready(const struct rc_loop *loop, int fd) {
    for (nfds_t i = 1; i < loop->n; i++)
        if (loop->fds[i].fd == fd)
            return loop->fds[i].revents != 0;
    return false;
}

bool rc_loop_wait(struct rc_loop *loop, int64_t until_ms) {
    int64_t now_us = rc_clock_wall_us();
    int64_t nap_us = RC_LOOP_NAP_MS * INT64_C(1000);
    int64_t sleep_us = 0;
    if (until_ms > now_us / 1000)
        sleep_us = until_ms - now_us / 1000 > RC_LOOP_NAP_MS ? nap_us : until_ms * 1000 - now_us;
    struct timespec span = {.tv_sec = sleep_us / 1000000, .tv_nsec = sleep_us % 1000000 * 1000};
    for (nfds_t i = 0; i < loop->n; i++)
        loop->fds[i].revents = 0;
    if (ppoll(loop->fds, loop->n, &span, NULL) > 0 && loop->fds[0].revents) {
        uint64_t count;
        ssize_t got = read(loop->fds[0].fd, &count, sizeof count);
        (void)got;
    }
    int64_t now_ms = rc_clock_monotonic_ms();
    bool steady = now_ms - loop->last_ms <= RC_LOOP_GAP_MS;
    loop->last_ms = now_ms;
    return steady;
}

void rc_loop_touch(struct rc_loop *loop) {
    loop->last_ms = rc_clock_monotonic_ms();
}
