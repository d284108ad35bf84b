/* For processes under libfaketime (clock.py): timed waits that go by the true clock.
 *
 * librdkafka waits with C11's cnd_timedwait until an instant that it works out from timespec_get. libfaketime moves timespec_get but not
 * cnd_timedwait, so while a clock is set forward every such wait would take so much longer, and while it is set back none would wait at
 * all. That is no clock's step: a kernel whose clock is stepped wakes those waits by its own new time. Loaded before libfaketime, this
 * gives them the true time; whatever else a process asks for is libfaketime's. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && syscall(SYS_clock_gettime, CLOCK_REALTIME, now) == 0 ? base : 0;
}
