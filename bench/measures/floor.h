/* The least that any exact engine must keep of the settled load: the information in the timestamps on which the answers rest. */
#ifndef RC_BENCH_MEASURES_FLOOR_H
#define RC_BENCH_MEASURES_FLOOR_H

#include "bench/measures/internal.h"

#define BENCH_EVENTS_EACH 10

struct floor {
    double bytes_per_person, needed_per_person;
};

/* Makes the settled load again (it is decided by its seed), and for a sample of persons finds by brute force which events the hundred segments
 * need at its end: the K latest of a count, the latest up to a sum, the latest of each of the latest K values, the latest add. n timestamps out of
 * a span of s milliseconds hold log2(s over n) bits; that is counted, and nothing for person keys, event ids, prices and values: no engine gets by
 * with so little, it is a floor. */
rc_status rc_bench_floor(const struct bench *bench, struct floor *out, struct rc_error *err) RC_MUST_USE;

#endif
