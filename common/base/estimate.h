/* What a sample says about all. Pure arithmetic. */
#ifndef RC_BASE_ESTIMATE_H
#define RC_BASE_ESTIMATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/timezone.h"

/* A number of persons, estimated: at a confidence of 95 % it lies between `low` and `high`. */
struct rc_estimate {
    uint64_t value, low, high;
};

/* Each of an unknown number N of persons was looked at with probability `fraction` (0 < fraction ≤ 1), independently of the others, and
 * `found` of those who were looked at are of the kind that is counted. The interval is the score interval of the binomial distribution: all N
 * for which |found − N·fraction| ≤ 1.96 · √(N · fraction · (1 − fraction)). It says something sensible of 0 found as well. With
 * fraction 1 all three are `found`. */
struct rc_estimate rc_estimate_total(uint64_t found, double fraction);

/* The last millisecond of each of the `n` local days in front of the one that holds `at_ms`, oldest first. */
void rc_day_ends(const struct rc_timezone *zone, int64_t at_ms, size_t n, int64_t *out);

#endif
