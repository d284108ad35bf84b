/* Processes: the program under measure, servers, and work in forked children. The mistake that it prevents: something that outlives the run. Every
 * child asks the kernel to be killed when its parent goes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "bench/measures/internal.h"

static void die_with(pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(RC_EXIT_INTERNAL);
}

/* The environment without ROLLCALL_*: what is measured is configured by the run alone. Owned; the texts are borrowed. */
static char **plain_environment(void) {
    size_t n = 0, kept = 0;
    while (environ[n])
        n++;
    char **out = rc_calloc(n + 1, sizeof *out);
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "ROLLCALL_", 9) != 0)
            out[kept++] = environ[i];
    return out;
}

rc_status rc_bench_spawn(const struct bench *bench, const char *const *argv, const char *log, pid_t *out,
                         struct rc_error *err) {
    (void)bench;
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "%s: %s", log, strerror(errno));
    char **environment = plain_environment();
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        die_with(parent);
        setpgid(0, 0); /* an interrupt at the terminal is for the parent, which ends its children in order */
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        dup2(null, STDIN_FILENO);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execvpe(argv[0], (char *const *)(uintptr_t)argv, environment);
        _exit(RC_EXIT_UNAVAILABLE);
    }
    int code = errno;
    free(environment);
    close(fd);
    if (pid < 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "%s cannot be started: %s", argv[0],
                            strerror(code));
    *out = pid;
    return RC_OK;
}

bool rc_bench_ended(pid_t pid) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == pid;
}

static void take_usage(const struct rusage *r, struct usage *out) {
    if (out)
        *out = (struct usage){
            .cpu_s = (double)(r->ru_utime.tv_sec + r->ru_stime.tv_sec) +
                     (double)(r->ru_utime.tv_usec + r->ru_stime.tv_usec) / 1e6,
            .peak_bytes = (int64_t)r->ru_maxrss * 1024,
        };
}

rc_status rc_bench_end(pid_t pid, int signal, int64_t timeout_ms, struct usage *usage, int *exit_status,
                       struct rc_error *err) {
    if (signal)
        kill(pid, signal);
    int64_t until = rc_clock_monotonic_ms() + timeout_ms;
    struct timespec nap = {.tv_nsec = 2000000};
    while (!rc_bench_ended(pid) && rc_clock_monotonic_ms() < until)
        nanosleep(&nap, NULL);
    bool late = !rc_bench_ended(pid);
    if (late)
        kill(pid, SIGKILL);
    struct rusage r;
    int status = 0;
    if (wait4(pid, &status, 0, &r) != pid)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "process %d: %s", (int)pid, strerror(errno));
    if (late)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "process %d had not ended after %lld ms", (int)pid,
                            (long long)timeout_ms);
    take_usage(&r, usage);
    if (exit_status)
        *exit_status = status;
    return RC_OK;
}

double rc_bench_cpu_s(pid_t pid) {
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        return 0;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int64_t rc_bench_resident(pid_t pid) {
    char path[64];
    long long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    if (fscanf(file, "%*s %lld", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* ---- work in a fork ---- */

/* What goes through the pipe before the result. */
struct outcome {
    rc_status status;
    struct rc_error err;
};

static void write_all(int fd, const void *data, size_t n) {
    const char *at = data;
    while (n > 0) {
        ssize_t done = write(fd, at, n);
        if (done <= 0)
            return;
        at += done;
        n -= (size_t)done;
    }
}

static bool read_all(int fd, void *data, size_t n) {
    char *at = data;
    while (n > 0) {
        ssize_t done = read(fd, at, n);
        if (done <= 0)
            return false;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

rc_status rc_bench_fork(const struct bench *bench, bench_work_fn work, const void *ctx, size_t size, struct forked *out,
                        struct rc_error *err) {
    (void)bench;
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "no pipe: %s", strerror(errno));
    fflush(NULL); /* nothing of ours is printed twice */
    int64_t began_ns = rc_clock_monotonic_ns();
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        die_with(parent);
        setpgid(0, 0);
        close(fds[0]);
        void *result = rc_calloc(1, size + 1);
        struct outcome outcome = {0};
        outcome.status = work(ctx, result, &outcome.err);
        write_all(fds[1], &outcome, sizeof outcome);
        write_all(fds[1], result, size);
        _exit(RC_EXIT_OK);
    }
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "no process: %s", strerror(errno));
    }
    *out = (struct forked){.pid = pid, .fd = fds[0], .began_ns = began_ns};
    return RC_OK;
}

rc_status rc_bench_join(const struct bench *bench, struct forked *forked, void *result, size_t size,
                        struct usage *usage, struct rc_error *err) {
    struct pollfd fds[] = {{.fd = forked->fd, .events = POLLIN}, {.fd = bench->options.stop->fd, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
    struct outcome outcome = {.status = RC_FAIL};
    void *copy = rc_calloc(1, size + 1);
    if (!fds[0].revents) {
        kill(forked->pid, SIGKILL);
        rc_error_set(&outcome.err, RC_CLASS_FATAL, RC_EXIT_TEMPORARY, "interrupted");
    } else if (!read_all(forked->fd, &outcome, sizeof outcome) || !read_all(forked->fd, copy, size)) {
        outcome.status = RC_FAIL;
        rc_error_set(&outcome.err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "a child of the benchmark died");
    }
    double wall_s = (double)(rc_clock_monotonic_ns() - forked->began_ns) / 1e9;
    close(forked->fd);
    struct usage used = {0};
    rc_status ended = rc_bench_end(forked->pid, 0, 10000, &used, NULL, err);
    used.wall_s = wall_s;
    if (outcome.status != RC_OK) {
        *err = outcome.err;
        free(copy);
        return RC_FAIL;
    }
    if (ended == RC_OK) {
        if (size)
            memcpy(result, copy, size);
        if (usage)
            *usage = used;
    }
    free(copy);
    return ended;
}

rc_status rc_bench_do(const struct bench *bench, bench_work_fn work, const void *ctx, void *result, size_t size,
                      struct usage *usage, struct rc_error *err) {
    struct forked forked;
    if (rc_bench_fork(bench, work, ctx, size, &forked, err) != RC_OK)
        return RC_FAIL;
    return rc_bench_join(bench, &forked, result, size, usage, err);
}

rc_status rc_bench_wait(const struct bench *bench, int64_t ms, struct rc_error *err) {
    if (rc_stop_wait(bench->options.stop, ms))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_TEMPORARY, "interrupted");
    return RC_OK;
}
