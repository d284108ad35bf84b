#include "base/clock.h"

#include <time.h>

static int64_t nanoseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now); /* cannot fail for these clocks */
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t rc_clock_wall_ms(void) {
    return nanoseconds(CLOCK_REALTIME) / 1000000;
}

int64_t rc_clock_wall_us(void) {
    return nanoseconds(CLOCK_REALTIME) / 1000;
}

int64_t rc_clock_monotonic_ms(void) {
    return nanoseconds(CLOCK_MONOTONIC) / 1000000;
}

int64_t rc_clock_monotonic_ns(void) {
    return nanoseconds(CLOCK_MONOTONIC);
}
