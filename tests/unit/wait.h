/* Waiting for what runs beside a test and cannot be handed a clock: another thread, another process. The only
 * sleep of the unit tests. Logic is tested with the time as a parameter, never with this. */
#ifndef RC_TESTS_UNIT_WAIT_H
#define RC_TESTS_UNIT_WAIT_H

#include <errno.h>
#include <time.h>

#include "base/clock.h"

/* Lets `ms` pass: where the passing of time is the subject, and between two looks at what another thread has done. */
static inline void test_wait_ms(int ms) {
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

#endif
