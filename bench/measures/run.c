/* The order of the measures, and how a figure becomes a row. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/measures/internal.h"

#define DEFAULT_EVENTS UINT64_C(5000000)
#define DEFAULT_PERSONS UINT64_C(1000000)
#define DEFAULT_SECONDS 60
#define DEFAULT_RATE 1000

static const struct rc_bench_measure MEASURES[] = {
    {"throughput", "events per CPU-second of ingest with 100 segments"},
    {"engine", "decoding and the segment engine alone"},
    {"segments", "throughput with 1,000 segments beside 10"},
    {"persons", "throughput with many persons beside few"},
    {"latency", "event produced to change readable in Redis, beside a hop through the broker"},
    {"exits", "how late a change by time alone is emitted"},
    {"wave", "everybody due at one millisecond beside live events"},
    {"audiences", "the same behind materialize"},
    {"backfill", "a new segment over history beside live events"},
    {"sink", "changes a second into Redis, beside plain HSET"},
    {"memory", "resident bytes per person, beside the entropy of what must be kept"},
    {"restart", "kill -9 to caught up"},
    {"restore", "disk lost: changelog read to ready, beside a bare consumer"},
    {"idle", "CPU of the three processes with a silent topic"},
    {0},
};

static rc_status (*const RUN[])(struct bench *bench, struct rc_error *err) = {
    rc_bench_throughput, rc_bench_engine,  rc_bench_segments,  rc_bench_persons,  rc_bench_latency,
    rc_bench_exits,      rc_bench_wave,    rc_bench_audiences, rc_bench_backfill, rc_bench_sink,
    rc_bench_memory,     rc_bench_restart, rc_bench_restore,   rc_bench_idle,
};
#define N_MEASURES (sizeof RUN / sizeof *RUN)
_Static_assert(sizeof MEASURES / sizeof *MEASURES == N_MEASURES + 1, "a function for each name");

const struct rc_bench_measure *rc_bench_measures(void) {
    return MEASURES;
}

void rc_bench_say(const struct bench *bench, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (bench->listener->says)
        bench->listener->says(bench->listener->ctx, text);
}

void rc_bench_tell(const struct bench *bench, const struct figure *figure, const char *fmt, ...) {
    char detail[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    double ratio = isnan(figure->ratio) && !isnan(figure->limit) ? figure->product / figure->limit : figure->ratio;
    double judged = figure->kind == RC_BENCH_PRODUCT_AT_MOST ? figure->product : ratio;
    struct rc_bench_row row = {
        .measure = figure->measure,
        .what = figure->what,
        .beside = figure->beside,
        .unit = figure->unit,
        .product = figure->product,
        .limit = figure->limit,
        .ratio = ratio,
        .kind = figure->kind,
        .goal = figure->goal,
        .met = figure->kind == RC_BENCH_RATIO_AT_LEAST ? judged >= figure->goal : judged <= figure->goal,
        .detail = detail,
    };
    bench->listener->row(bench->listener->ctx, &row);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double rc_bench_quantile(double *numbers, size_t n, double q) {
    if (n == 0)
        return NAN;
    qsort(numbers, n, sizeof *numbers, by_value);
    size_t at = (size_t)((double)n * q);
    return numbers[at < n ? at : n - 1];
}

static bool wanted(const char *name, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

rc_status rc_bench_run(const struct rc_bench_options *options, const char *const *names, size_t n,
                       const struct rc_bench_listener *listener, struct rc_error *err) {
    struct bench bench = {.options = *options, .listener = listener};
    if (bench.options.events == 0)
        bench.options.events = DEFAULT_EVENTS;
    if (bench.options.persons == 0)
        bench.options.persons = DEFAULT_PERSONS;
    if (bench.options.seconds == 0)
        bench.options.seconds = DEFAULT_SECONDS;
    if (bench.options.rate == 0)
        bench.options.rate = DEFAULT_RATE;
    const char *tmp = getenv("TMPDIR");
    snprintf(bench.folder, sizeof bench.folder, "%.300s/rollcall-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(bench.folder))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "%s: no temporary folder can be made there",
                            bench.folder);
    rc_bench_say(&bench, "starting the broker");
    rc_status status = rc_bench_servers_start(&bench, true, err);
    size_t failures = 0;
    for (size_t i = 0; status == RC_OK && i < N_MEASURES; i++) {
        struct rc_error why;
        if (!wanted(MEASURES[i].name, names, n) || RUN[i](&bench, &why) == RC_OK)
            continue;
        failures++;
        if (rc_stop_requested(options->stop)) {
            *err = why;
            status = RC_FAIL;
            break;
        }
        listener->failed(listener->ctx, MEASURES[i].name, &why);
    }
    rc_bench_settled_free(&bench);
    rc_bench_servers_stop(&bench);
    if (options->keep)
        rc_bench_say(&bench, "logs and data are in %s", bench.folder);
    else
        rc_bench_remove_folder(bench.folder);
    if (status == RC_OK && failures > 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "%zu of the measures failed", failures);
    return status;
}
