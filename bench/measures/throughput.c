/* throughput, segments, persons: `ingest` on a backlog, from its start to its end, all of its CPU time counted. */
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "bench/measures/internal.h"

#define CATCH_UP_TIMEOUT_S 600
#define STOP_TIMEOUT_MS 60000
#define SEGMENTS 100
#define SEGMENTS_FEW 10
#define SEGMENTS_MANY 1000
/* Parts of options.events, so that all measures together take minutes: these two compare the product with itself. */
#define SEGMENTS_SHARE 5
#define PERSONS_SHARE 2
#define PERSONS_FEW 100000
#define PERSONS_MANY 4000000

struct run {
    double cpu_s, wall_s;
    int64_t events;
    int64_t peak_bytes;
    struct consumed changes;
    int64_t state_records; /* of the changelog; 0 when there is none */
};

/* Lets a fresh ingest read `topic` to its end and stop. */
static rc_status run_ingest(struct bench *bench, const char *topic, size_t segments, struct run *out,
                            struct rc_error *err) {
    struct site site;
    struct process ingest = {0};
    struct rc_buf definitions;
    struct usage usage;
    struct rc_error ignored;
    char group[BENCH_NAME * 2], changes[BENCH_NAME * 2], state[BENCH_NAME * 2];
    *out = (struct run){0};
    rc_buf_init(&definitions, 1 << 22);
    rc_bench_definitions(segments, topic, &definitions);
    rc_bench_say(bench, "ingest reads %s with %zu segments", topic, segments);
    rc_status status = rc_bench_site_init(&site, bench, err);
    if (status == RC_OK)
        status = rc_bench_site_apply(&site, &definitions, err);
    int64_t began_ns = rc_clock_monotonic_ns();
    if (status == RC_OK)
        status = rc_bench_site_start(&site, "ingest", &ingest, err);
    if (status == RC_OK)
        status = rc_bench_await_group(bench, rc_bench_site_group(&site, "ingest", group), topic, ingest.pid,
                                      CATCH_UP_TIMEOUT_S, err);
    if (status == RC_OK) {
        out->wall_s = (double)(rc_clock_monotonic_ns() - began_ns) / 1e9;
        status = rc_bench_end(ingest.pid, SIGTERM, STOP_TIMEOUT_MS, &usage, NULL, err);
        ingest.pid = 0;
    }
    if (status == RC_OK) {
        out->cpu_s = usage.cpu_s;
        out->peak_bytes = usage.peak_bytes;
        status =
            rc_bench_bare_consume(bench, rc_bench_site_topic(&site, "segments", changes), &out->changes, NULL, err);
    }
    if (status == RC_OK)
        status = rc_bench_topic_records(bench, topic, &out->events, err);
    if (status == RC_OK && rc_bench_topic_records(bench, rc_bench_site_topic(&site, "state", state),
                                                  &out->state_records, &ignored) != RC_OK)
        out->state_records = 0;
    rc_bench_process_kill(&ingest);
    rc_bench_site_deinit(&site);
    rc_buf_deinit(&definitions);
    return status;
}

static double rate(const struct run *run) {
    return (double)run->events / run->cpu_s;
}

rc_status rc_bench_throughput(struct bench *bench, struct rc_error *err) {
    struct run run;
    struct consumed seen = {0};
    struct usage reading, sending;
    if (rc_bench_shared_load(bench, err) != RC_OK || run_ingest(bench, RC_BENCH_EVENTS, SEGMENTS, &run, err) != RC_OK)
        return RC_FAIL;
    int64_t n = run.changes.records;
    rc_bench_say(bench, "the bare consumer and producer");
    if (rc_bench_bare_consume(bench, RC_BENCH_EVENTS, &seen, &reading, err) != RC_OK ||
        rc_bench_bare_produce(bench, n, n ? (size_t)(run.changes.key_bytes / n) : 0,
                              n ? (size_t)(run.changes.value_bytes / n) : 0, &sending, err) != RC_OK)
        return RC_FAIL;
    double limit_s = reading.cpu_s + sending.cpu_s, events = (double)run.events;
    rc_bench_tell(bench,
                  &(struct figure){.measure = "throughput",
                                   .what = "ingest, 100 segments, events per CPU-second",
                                   .beside = "a bare consumer of the events and a bare producer of the changes",
                                   .unit = "events/CPU-s",
                                   .product = rate(&run),
                                   .limit = events / limit_s,
                                   .ratio = limit_s / run.cpu_s,
                                   .kind = RC_BENCH_RATIO_AT_LEAST,
                                   .goal = 0.6},
                  "%lld events, %lld changes (%.2f each, %.0f bytes), %lld changelog records; %.1f CPU-s in %.1f s; "
                  "the bare consumer %.2f "
                  "CPU-s, the bare producer %.2f CPU-s; greatest resident size %.0f MiB",
                  (long long)run.events, (long long)n, (double)n / events,
                  n ? (double)(run.changes.key_bytes + run.changes.value_bytes) / (double)n : 0,
                  (long long)run.state_records, run.cpu_s, run.wall_s, reading.cpu_s, sending.cpu_s,
                  (double)run.peak_bytes / 1048576);
    return RC_OK;
}

static void tell_pair(struct bench *bench, const char *measure, const char *what, const char *beside,
                      const struct run *product, const struct run *limit) {
    rc_bench_tell(bench,
                  &(struct figure){.measure = measure,
                                   .what = what,
                                   .beside = beside,
                                   .unit = "events/CPU-s",
                                   .product = rate(product),
                                   .limit = rate(limit),
                                   .ratio = NAN,
                                   .kind = RC_BENCH_RATIO_AT_LEAST,
                                   .goal = 0.5},
                  "%lld events; %.1f CPU-s and %.2f changes an event, beside %.1f CPU-s and %.2f; greatest resident "
                  "size %.0f MiB "
                  "beside %.0f MiB",
                  (long long)product->events, product->cpu_s,
                  (double)product->changes.records / (double)product->events, limit->cpu_s,
                  (double)limit->changes.records / (double)limit->events, (double)product->peak_bytes / 1048576,
                  (double)limit->peak_bytes / 1048576);
}

rc_status rc_bench_segments(struct bench *bench, struct rc_error *err) {
    static const char topic[] = "bench.segments";
    struct run few, many;
    rc_status status =
        rc_bench_load(bench, topic, bench->options.events / SEGMENTS_SHARE, bench->options.persons, false, err);
    if (status == RC_OK)
        status = run_ingest(bench, topic, SEGMENTS_FEW, &few, err);
    if (status == RC_OK)
        status = run_ingest(bench, topic, SEGMENTS_MANY, &many, err);
    rc_bench_topics_delete(bench, topic);
    if (status == RC_OK)
        tell_pair(bench, "segments", "ingest, 1,000 segments", "ingest, 10 segments", &many, &few);
    return status;
}

/* One load of its own, read once and removed. */
static rc_status run_persons(struct bench *bench, const char *topic, uint64_t persons, struct run *out,
                             struct rc_error *err) {
    rc_status status = rc_bench_load(bench, topic, bench->options.events / PERSONS_SHARE, persons, false, err);
    if (status == RC_OK)
        status = run_ingest(bench, topic, SEGMENTS, out, err);
    rc_bench_topics_delete(bench, topic);
    return status;
}

rc_status rc_bench_persons(struct bench *bench, struct rc_error *err) {
    struct run few, many;
    double scale = (double)bench->options.persons / 1e6;
    uint64_t n_few = (uint64_t)(PERSONS_FEW * scale) + 1, n_many = (uint64_t)(PERSONS_MANY * scale) + 1;
    char what[96], beside[96];
    snprintf(what, sizeof what, "ingest, %llu persons", (unsigned long long)(n_many - 1));
    snprintf(beside, sizeof beside, "ingest, %llu persons", (unsigned long long)(n_few - 1));
    if (run_persons(bench, "bench.persons.few", n_few, &few, err) != RC_OK ||
        run_persons(bench, "bench.persons.many", n_many, &many, err) != RC_OK)
        return RC_FAIL;
    tell_pair(bench, "persons", what, beside, &many, &few);
    return RC_OK;
}
