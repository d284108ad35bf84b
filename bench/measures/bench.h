/* The measures of `rollcall bench`: the program's own processes against what the machine can do at all, in one run.
 *
 * Each measure starts `rollcall` as a user would, with a configuration of its own, on a broker and a Redis that are started for the run, and
 * looks at it from outside only: committed offsets, records on topics, keys in Redis, /readyz, CPU time and memory as the kernel counts them.
 * Beside it stands a limit that is measured in the same run: the least that the same work costs with the same libraries. The ratio of the two is
 * the figure; on a shared machine the rest is weather.
 *
 * The mistake that this prevents: a product that knows when it is measured, and a figure that nobody can judge. */
#ifndef RC_BENCH_MEASURES_BENCH_H
#define RC_BENCH_MEASURES_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/signal.h"

struct rc_bench_options {
    const char *program;      /* the rollcall to measure */
    const char *kafka_home;   /* folder with lib/ of Kafka's jars; NULL: looked for beside the program and in ./build */
    const char *redis_server; /* path; NULL: looked for likewise and in PATH */
    const char
        *bootstrap;  /* brokers to use instead of an own one; NULL: none. Topics bench-… are made there and removed */
    uint64_t events; /* of throughput and its like; 0: 5,000,000 */
    uint64_t persons; /* 0: 1,000,000 */
    int64_t seconds;  /* of the measures of latency; 0: 60 */
    int64_t rate;     /* live events a second of backfill; 0: 1,000 */
    bool keep;        /* leave the folder with the logs */
    const struct rc_stop *stop;
};

enum rc_bench_goal_kind { RC_BENCH_RATIO_AT_LEAST, RC_BENCH_RATIO_AT_MOST, RC_BENCH_PRODUCT_AT_MOST };

/* One figure. Texts are borrowed for the call. */
struct rc_bench_row {
    const char *measure;
    const char *what;   /* of the product */
    const char *beside; /* what the limit is; NULL: there is none */
    const char *unit;
    double product, limit; /* limit NAN: none */
    double ratio;          /* NAN without a limit */
    enum rc_bench_goal_kind kind;
    double goal;
    bool met;
    const char *detail; /* a sentence with the figures behind it */
};

typedef void (*rc_bench_row_fn)(void *ctx, const struct rc_bench_row *row);

/* The names of the measures in the order in which `all` runs them, each with what it is; ends with a NULL name. */
struct rc_bench_measure {
    const char *name;
    const char *help;
};
const struct rc_bench_measure *rc_bench_measures(void);

/* Runs the named measures (by the order of rc_bench_measures). One that fails is told by `failed` and the others go on; RC_FAIL at the end when one
 * failed, and at once when the servers cannot be had or the stop was requested. Uses no thread and no client in this process: all of that is done in
 * children, so that their costs can be told apart. */
struct rc_bench_listener {
    rc_bench_row_fn row;
    void (*failed)(void *ctx, const char *measure, const struct rc_error *err);
    void (*says)(void *ctx, const char *text); /* progress */
    void *ctx;
};
rc_status rc_bench_run(const struct rc_bench_options *options, const char *const *names, size_t n,
                       const struct rc_bench_listener *listener, struct rc_error *err) RC_MUST_USE;

#endif
