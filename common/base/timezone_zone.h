/* Between timezone.c (which offset, until when) and calendar.c (dates and text): nobody else includes this. */
#ifndef RC_BASE_TIMEZONE_ZONE_H
#define RC_BASE_TIMEZONE_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/timezone.h"

/* Instants further out than this (about 2.5 million years, less than MAX_DAYS of calendar.c) are taken as this far out, so that sums cannot overflow. */
#define RC_FARTHEST_MS INT64_C(80000000000000000)

static inline int64_t rc_clamp_ms(int64_t at_ms) {
    return at_ms > RC_FARTHEST_MS ? RC_FARTHEST_MS : at_ms < -RC_FARTHEST_MS ? -RC_FARTHEST_MS : at_ms;
}

static inline int64_t rc_floor_div(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* A date of the proleptic Gregorian calendar. */
struct rc_civil {
    int64_t year;
    int month, day; /* 1–12, 1–31 */
};

/* Days since 1970-01-01, and back (after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"). */
int64_t rc_days_from_civil(int64_t year, int month, int day);
struct rc_civil rc_civil_from_days(int64_t days);

/* The offset in force at `at_ms`, and in `*until_ms` the instant of the next transition (> at_ms; INT64_MAX: none). A transition need
 * not change the offset. */
int64_t rc_timezone_period(const struct rc_timezone *zone, int64_t at_ms, int64_t *until_ms);

#endif
