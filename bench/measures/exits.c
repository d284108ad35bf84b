/* exits: how late a change by time alone is emitted. Persons become members by events that lie almost a window back, so that they are due to leave at random
 * milliseconds of the coming minute, in which the topic is silent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "bench/measures/clients.h"
#include "codec/membership.h"
#include "codec/person_key.h"

#define WINDOW "1h"
#define WINDOW_MS INT64_C(3600000)
#define LEAD_MS 5000      /* before the first is due */
#define SENDING_PER_MS 50 /* that fast the events go in, at least */
#define PERSONS_SHARE 10  /* of options.persons */
#define LATE_LIMIT_MS 30000
#define RESOLUTION_MS 1.0

struct plan {
    const char *bootstrap, *topic, *segments;
    size_t persons;
    int64_t span_ms;
};

struct lateness {
    double p50_ms, p99_ms, max_ms; /* emittedAt − due */
    double seen_p99_ms;            /* read by a consumer − due */
    int64_t n, lost;
};

static int64_t make_due(void *ctx, uint64_t i, struct rc_buf *key, struct rc_buf *value) {
    const int64_t *due_ms = ctx;
    rc_bench_simple_event(i, due_ms[i] - WINDOW_MS, key, value);
    return 0;
}

static rc_status watch(const struct plan *plan, const int64_t *due_ms, int64_t until_ms, double *emitted, double *seen,
                       size_t *got, struct rc_error *err) {
    rd_kafka_t *rk;
    if (rc_bench_reader(plan->bootstrap, plan->segments, RD_KAFKA_OFFSET_BEGINNING, &rk, err) != RC_OK)
        return RC_FAIL;
    rc_status status = RC_OK;
    while (status == RC_OK && *got < plan->persons && rc_clock_wall_ms() < until_ms) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 100);
        struct rc_membership change;
        if (message && !message->err && message->len > 0) {
            double now_ms = (double)rc_clock_wall_us() / 1000;
            status = rc_membership_read(rc_span_of(message->payload, message->len), false, &change, err);
            size_t i = status == RC_OK ? rc_bench_person_number(change.person_id) : SIZE_MAX;
            if (i < plan->persons && !change.realized && rc_span_equal(change.target, rc_span_str("seen"))) {
                emitted[*got] = (double)(change.emitted_at_ms - due_ms[i]);
                seen[(*got)++] = now_ms - (double)due_ms[i];
            }
        }
        if (message)
            rd_kafka_message_destroy(message);
    }
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return status;
}

static rc_status run(const void *ctx, void *result, struct rc_error *err) {
    const struct plan *plan = ctx;
    int64_t *due_ms = rc_calloc(plan->persons, sizeof *due_ms);
    double *emitted = rc_calloc(plan->persons, sizeof *emitted), *seen = rc_calloc(plan->persons, sizeof *seen);
    int64_t first_ms = rc_clock_wall_ms() + LEAD_MS + (int64_t)plan->persons / SENDING_PER_MS;
    uint64_t random = 1;
    for (size_t i = 0; i < plan->persons; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407); /* Knuth's MMIX */
        due_ms[i] = first_ms + (int64_t)((random >> 33) % (uint64_t)plan->span_ms);
    }
    size_t got = 0;
    rc_status status = rc_bench_fill(plan->bootstrap, plan->topic, plan->persons, make_due, due_ms, err);
    if (status == RC_OK && rc_clock_wall_ms() > first_ms)
        status =
            rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_TEMPORARY,
                         "the machine took too long to send %zu events; the first were due by then", plan->persons);
    if (status == RC_OK)
        status = watch(plan, due_ms, first_ms + plan->span_ms + LATE_LIMIT_MS, emitted, seen, &got, err);
    struct lateness *late = result;
    late->p50_ms = rc_bench_quantile(emitted, got, 0.5);
    late->p99_ms = rc_bench_quantile(emitted, got, 0.99);
    late->max_ms = got ? emitted[got - 1] : NAN;
    late->seen_p99_ms = rc_bench_quantile(seen, got, 0.99);
    late->n = (int64_t)got;
    late->lost = (int64_t)(plan->persons - got);
    free(due_ms);
    free(emitted);
    free(seen);
    return status;
}

rc_status rc_bench_exits(struct bench *bench, struct rc_error *err) {
    static const char topic[] = "bench.exits";
    struct site site;
    struct process ingest = {0};
    struct rc_buf definitions;
    struct lateness late;
    char segments[BENCH_NAME * 2];
    if (rc_bench_topic_new(bench, topic, err) != RC_OK || rc_bench_site_init(&site, bench, err) != RC_OK)
        return RC_FAIL;
    rc_buf_init(&definitions, 1 << 20);
    rc_bench_simple_definitions(topic, WINDOW, &definitions);
    struct plan plan = {.bootstrap = bench->bootstrap,
                        .topic = topic,
                        .segments = rc_bench_site_topic(&site, "segments", segments),
                        .persons = (size_t)(bench->options.persons / PERSONS_SHARE) + 1,
                        .span_ms = bench->options.seconds * 1000};
    rc_status status = rc_bench_site_apply(&site, &definitions, err);
    if (status == RC_OK)
        status = rc_bench_site_start(&site, "ingest", &ingest, err);
    if (status == RC_OK)
        status = rc_bench_process_ready(bench, &ingest, 60, err);
    rc_bench_say(bench, "%zu persons are due within %lld s", plan.persons, (long long)bench->options.seconds);
    if (status == RC_OK)
        status = rc_bench_do(bench, run, &plan, &late, sizeof late, NULL, err);
    rc_bench_process_stop(&ingest);
    rc_bench_site_deinit(&site);
    rc_bench_topics_delete(bench, topic);
    rc_buf_deinit(&definitions);
    if (status != RC_OK)
        return RC_FAIL;
    if (late.lost > 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                            "%lld of %zu exits had not come %d s after the last was due", (long long)late.lost,
                            plan.persons, LATE_LIMIT_MS / 1000);
    rc_bench_tell(bench,
                  &(struct figure){.measure = "exits",
                                   .what = "emitted behind due, silent topic, p99",
                                   .beside = "the clock's resolution",
                                   .unit = "ms",
                                   .product = late.p99_ms,
                                   .limit = RESOLUTION_MS,
                                   .ratio = NAN,
                                   .kind = RC_BENCH_PRODUCT_AT_MOST,
                                   .goal = 10},
                  "%lld exits; p50 %.0f ms, longest %.0f ms; in a consumer's hands p99 %.1f ms behind due",
                  (long long)late.n, late.p50_ms, late.max_ms, late.seen_p99_ms);
    return RC_OK;
}
