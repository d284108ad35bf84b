/* wave, audiences: everybody is due at one millisecond, as a window over whole days makes it at midnight, while live events go on. How long until all have been told, and how long a
 * live change takes meanwhile, and behind it, while all that has changed is saved. Seen by a consumer of `segments`, and for `audiences` of `memberships`, to which `materialize` has
 * brought it; so its own hop is included. What it is held against are live events alone, when all has come to rest: everybody is taken in and saved, and nothing has happened for a while. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "bench/measures/clients.h"
#include "codec/membership.h"
#include "codec/person_key.h"

#define WINDOW "1h"
#define WINDOW_MS INT64_C(3600000)
#define RATE 1000
#define CALM_MAX_S 10       /* live events alone, before it */
#define WARM_S 3            /* before that, not counted */
#define FILLING_PER_MS 8    /* that fast the wave's persons are made members, and saved, at least */
#define REST_MS 5000        /* between that and the first live event */
#define LEAD_MS 10000       /* what else there is to do before it */
#define AFTER_S 5           /* live events go on behind the last exit */
#define WAVE_LIMIT_S 120    /* after it the wave counts as lost */
#define LIVE_GRACE_MS 30000 /* for what is under way when the wave is over */
#define MS_NS INT64_C(1000000)
#define S_NS INT64_C(1000000000)

struct plan {
    const char *bootstrap, *topic;
    const char *seen; /* the topic of changes that is read */
    size_t persons;
    int64_t calm_s, due_ms;
};

/* How long live events took. */
struct times {
    double p50_ms, p99_ms, max_ms;
    int64_t n, lost;
};

struct wave {
    double all_s; /* from the due instant to the last exit */
    struct times calm, meanwhile, emitted, after;
    int64_t exits, key_bytes, value_bytes;
};

struct trial {
    const struct plan *plan;
    int64_t begin_ns; /* of the live events, monotonic */
    rd_kafka_t *rk;
    size_t n; /* live events at most */
    _Atomic int64_t *sent_ns;
    int64_t *taken_ns;   /* -1: not yet */
    int64_t *emitted_ns; /* emittedAt less the event's time */
    _Atomic bool over;
    size_t sent, taken;                   /* live events */
    size_t members, exits, exit_bytes[2]; /* keys, values */
    struct rc_error err;
    rc_status status;
};

/* ---- live events ---- */

static void *send_live(void *ctx) {
    struct trial *trial = ctx;
    struct rc_buf key, value;
    rc_buf_init(&key, 1 << 12);
    rc_buf_init(&value, 1 << 12);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(trial->rk, trial->plan->topic, NULL);
    for (size_t i = 0; trial->status == RC_OK && i < trial->n && !trial->over; i++) {
        int64_t left = trial->begin_ns + (int64_t)i * (1000000000 / RATE) - rc_clock_monotonic_ns();
        if (left > 0)
            nanosleep(&(struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000}, NULL);
        rc_bench_simple_event(trial->plan->persons + i, rc_clock_wall_ms(), &key, &value);
        trial->sent_ns[i] = rc_clock_monotonic_ns();
        trial->status = rc_bench_send(trial->rk, topic, rc_person_key_partition(rc_buf_span(&key), BENCH_PARTITIONS),
                                      rc_buf_span(&key), rc_buf_span(&value), 0, &trial->err);
        rd_kafka_poll(trial->rk, 0);
    }
    while (trial->sent < trial->n && trial->sent_ns[trial->sent] > 0)
        trial->sent++;
    rd_kafka_topic_destroy(topic);
    rc_buf_deinit(&key);
    rc_buf_deinit(&value);
    return NULL;
}

/* ---- what comes of them ---- */

static rc_status take(void *ctx, const rd_kafka_message_t *message, struct rc_error *err) {
    struct trial *trial = ctx;
    struct rc_membership change;
    if (message->err || message->len == 0)
        return RC_OK;
    int64_t now_ns = rc_clock_monotonic_ns();
    if (rc_membership_read(rc_span_of(message->payload, message->len), false, &change, err) != RC_OK)
        return RC_FAIL;
    if (!rc_span_equal(change.target, rc_span_str("seen")))
        return RC_OK;
    size_t number = rc_bench_person_number(change.person_id), live = number - trial->plan->persons;
    if (number < trial->plan->persons && change.realized) {
        trial->members++;
    } else if (number < trial->plan->persons) {
        trial->exits++;
        trial->exit_bytes[0] += message->key_len;
        trial->exit_bytes[1] += message->len;
    } else if (live < trial->n && trial->taken_ns[live] < 0) {
        trial->taken_ns[live] = now_ns - trial->sent_ns[live];
        trial->emitted_ns[live] = (change.emitted_at_ms - change.event_time_ms) * 1000000;
        trial->taken++;
    }
    return RC_OK;
}

/* Of the live events with numbers [from, to). */
static struct times judge(const struct trial *trial, const int64_t *late_ns, size_t from, size_t to) {
    double *ms = rc_calloc(to - from + 1, sizeof *ms);
    size_t got = 0;
    for (size_t i = from; i < to; i++)
        if (trial->taken_ns[i] >= 0)
            ms[got++] = (double)late_ns[i] / 1e6;
    struct times times = {.n = (int64_t)(to - from), .lost = (int64_t)(to - from - got)};
    times.p50_ms = rc_bench_quantile(ms, got, 0.5);
    times.p99_ms = rc_bench_quantile(ms, got, 0.99);
    times.max_ms = got ? ms[got - 1] : NAN;
    free(ms);
    return times;
}

/* The number of live events sent before the instant. */
static size_t sent_before(const struct trial *trial, int64_t at_ns) {
    size_t n = 0;
    while (n < trial->sent && trial->sent_ns[n] < at_ns)
        n++;
    return n;
}

static void sum_up(const struct trial *trial, int64_t due_ns, int64_t end_ns, struct wave *wave) {
    size_t from = sent_before(trial, due_ns), to = sent_before(trial, end_ns);
    wave->all_s = (double)(end_ns - due_ns) / 1e9;
    wave->calm = judge(trial, trial->taken_ns, (size_t)WARM_S * RATE, from - RATE / 2);
    wave->meanwhile = judge(trial, trial->taken_ns, from, to);
    wave->emitted = judge(trial, trial->emitted_ns, from, to);
    wave->after = judge(trial, trial->taken_ns, to, trial->sent);
    wave->exits = (int64_t)trial->exits;
    if (trial->exits) {
        wave->key_bytes = (int64_t)(trial->exit_bytes[0] / trial->exits);
        wave->value_bytes = (int64_t)(trial->exit_bytes[1] / trial->exits);
    }
}

static rc_status watch(struct trial *trial, rd_kafka_t *reader, struct wave *wave, struct rc_error *err) {
    const struct plan *plan = trial->plan;
    int64_t wall_to_ns = rc_clock_monotonic_ns() - rc_clock_wall_us() * 1000;
    int64_t before_s = WARM_S + plan->calm_s, calm_ms = plan->due_ms - before_s * 1000;
    int64_t due_ns = plan->due_ms * MS_NS + wall_to_ns;
    size_t never = 0;
    if (rc_bench_read_until(reader, take, trial, &trial->members, plan->persons,
                            (calm_ms - REST_MS) * MS_NS + wall_to_ns, err) != RC_OK)
        return RC_FAIL;
    if (trial->members < plan->persons || rc_clock_wall_ms() > calm_ms - REST_MS)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_TEMPORARY,
                            "the machine took too long to make %zu members; they were due to leave by then",
                            plan->persons);
    pthread_t thread;
    trial->begin_ns = due_ns - before_s * S_NS;
    if (pthread_create(&thread, NULL, send_live, trial) != 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "no thread");
    rc_status status =
        rc_bench_read_until(reader, take, trial, &trial->exits, plan->persons, due_ns + WAVE_LIMIT_S * S_NS, err);
    int64_t end_ns = rc_clock_monotonic_ns();
    if (status == RC_OK)
        status = rc_bench_read_until(reader, take, trial, &never, 1, end_ns + AFTER_S * S_NS, err);
    trial->over = true;
    pthread_join(thread, NULL);
    if (status == RC_OK && trial->status != RC_OK) {
        *err = trial->err;
        status = RC_FAIL;
    }
    if (status == RC_OK)
        status = rc_bench_read_until(reader, take, trial, &trial->taken, trial->sent,
                                     rc_clock_monotonic_ns() + LIVE_GRACE_MS * MS_NS, err);
    sum_up(trial, due_ns, end_ns, wave);
    return status;
}

static rc_status run(const void *ctx, void *result, struct rc_error *err) {
    static const char *const at_once[] = {"queue.buffering.max.ms", "0", NULL};
    const struct plan *plan = ctx;
    struct trial trial = {.plan = plan, .n = (size_t)(WARM_S + plan->calm_s + WAVE_LIMIT_S + AFTER_S) * RATE};
    rd_kafka_t *reader;
    trial.sent_ns = rc_calloc(trial.n, sizeof *trial.sent_ns);
    trial.taken_ns = rc_alloc(trial.n * sizeof *trial.taken_ns);
    trial.emitted_ns = rc_calloc(trial.n, sizeof *trial.emitted_ns);
    memset(trial.taken_ns, 0xff, trial.n * sizeof *trial.taken_ns);
    rc_status status = rc_bench_client(plan->bootstrap, RD_KAFKA_PRODUCER, at_once, &trial.rk, err);
    if (status == RC_OK)
        status = rc_bench_reader(plan->bootstrap, plan->seen, RD_KAFKA_OFFSET_BEGINNING, &reader, err);
    if (status != RC_OK)
        return RC_FAIL; /* the child ends here */
    status = watch(&trial, reader, result, err);
    rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
    rd_kafka_destroy(trial.rk);
    free(trial.sent_ns);
    free(trial.taken_ns);
    free(trial.emitted_ns);
    return status;
}

/* ---- who will be due ---- */

static int64_t make_member(void *ctx, uint64_t i, struct rc_buf *key, struct rc_buf *value) {
    const struct plan *plan = ctx;
    rc_bench_simple_event(i, plan->due_ms - WINDOW_MS, key, value);
    return 0;
}

static rc_status fill(const void *ctx, void *result, struct rc_error *err) {
    (void)result;
    struct plan plan = *(const struct plan *)ctx;
    return rc_bench_fill(plan.bootstrap, plan.topic, plan.persons, make_member, &plan, err);
}

/* ---- the measure ---- */

/* Waits until who was made a member is so in every stage, and saved: what is committed is. */
static rc_status await_members(struct bench *bench, const struct site *site, const struct plan *plan,
                               const struct process *ingest, const struct process *materialize, int64_t timeout_s,
                               struct rc_error *err) {
    char group[BENCH_NAME * 2], segments[BENCH_NAME * 2];
    if (rc_bench_await_group(bench, rc_bench_site_group(site, "ingest", group), plan->topic, ingest->pid, timeout_s,
                             err) != RC_OK)
        return RC_FAIL;
    return materialize->pid > 0
               ? rc_bench_await_group(bench, rc_bench_site_group(site, "materialize", group),
                                      rc_bench_site_topic(site, "segments", segments), materialize->pid, timeout_s, err)
               : RC_OK;
}

static rc_status run_wave(struct bench *bench, bool audiences, size_t persons, struct wave *out, struct rc_error *err) {
    static const char topic[] = "bench.wave";
    struct site site;
    struct process ingest = {0}, materialize = {0};
    struct rc_buf definitions;
    char seen[BENCH_NAME * 2];
    if (rc_bench_topic_new(bench, topic, err) != RC_OK || rc_bench_site_init(&site, bench, err) != RC_OK)
        return RC_FAIL;
    rc_buf_init(&definitions, 1 << 20);
    rc_bench_simple_definitions(topic, WINDOW, &definitions);
    struct plan plan = {.bootstrap = bench->bootstrap,
                        .topic = topic,
                        .seen = rc_bench_site_topic(&site, audiences ? "memberships" : "segments", seen),
                        .persons = persons,
                        .calm_s = bench->options.seconds < CALM_MAX_S ? bench->options.seconds : CALM_MAX_S};
    rc_status status = rc_bench_site_apply(&site, &definitions, err);
    if (status == RC_OK)
        status = rc_bench_site_start(&site, "ingest", &ingest, err);
    if (status == RC_OK && audiences)
        status = rc_bench_site_start(&site, "materialize", &materialize, err);
    if (status == RC_OK)
        status = rc_bench_process_ready(bench, &ingest, 60, err);
    if (status == RC_OK && audiences)
        status = rc_bench_process_ready(bench, &materialize, 60, err);
    rc_bench_say(bench, "%zu persons will be due at one millisecond, beside %d live events a second", persons, RATE);
    int64_t filling_ms = (int64_t)persons / FILLING_PER_MS + LEAD_MS;
    plan.due_ms = rc_clock_wall_ms() + filling_ms + REST_MS + (WARM_S + plan.calm_s) * 1000;
    if (status == RC_OK)
        status = rc_bench_do(bench, fill, &plan, NULL, 0, NULL, err);
    if (status == RC_OK)
        status = await_members(bench, &site, &plan, &ingest, &materialize, filling_ms / 1000, err);
    if (status == RC_OK)
        status = rc_bench_do(bench, run, &plan, out, sizeof *out, NULL, err);
    rc_bench_process_stop(&materialize);
    rc_bench_process_stop(&ingest);
    rc_bench_site_deinit(&site);
    rc_bench_topics_delete(bench, topic);
    rc_buf_deinit(&definitions);
    return status;
}

/* A row for live events while something goes on, beside those in the calm before. */
static void tell_live(const struct bench *bench, const char *measure, const char *what, const struct times *times,
                      const struct wave *wave) {
    rc_bench_tell(bench,
                  &(struct figure){.measure = measure,
                                   .what = what,
                                   .beside = "the same before, all at rest",
                                   .unit = "ms",
                                   .product = times->p99_ms,
                                   .limit = wave->calm.p99_ms,
                                   .ratio = NAN,
                                   .kind = RC_BENCH_RATIO_AT_MOST,
                                   .goal = 3},
                  "%lld live events; p50 %.1f ms beside %.1f ms; longest %.1f ms beside %.1f ms", (long long)times->n,
                  times->p50_ms, wave->calm.p50_ms, times->max_ms, wave->calm.max_ms);
}

static rc_status measure_wave(struct bench *bench, bool audiences, struct rc_error *err) {
    const char *measure = audiences ? "audiences" : "wave";
    struct wave wave;
    struct usage bare;
    size_t persons = (size_t)bench->options.persons;
    if (run_wave(bench, audiences, persons, &wave, err) != RC_OK)
        return RC_FAIL;
    int64_t lost = wave.calm.lost + wave.meanwhile.lost + wave.after.lost;
    if (wave.exits < (int64_t)persons || lost > 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                            "%lld of %zu exits had not come %d s after they were due, nor %lld live changes",
                            (long long)((int64_t)persons - wave.exits), persons, WAVE_LIMIT_S, (long long)lost);
    if (rc_bench_bare_produce(bench, wave.exits, (size_t)wave.key_bytes, (size_t)wave.value_bytes, &bare, err) != RC_OK)
        return RC_FAIL;
    rc_bench_tell(
        bench,
        &(struct figure){.measure = measure,
                         .what = audiences ? "persons due at one millisecond: until the last is out of the audience"
                                           : "persons due at one millisecond: until the last exit is read",
                         .beside = "a bare producer of as many records",
                         .unit = "s",
                         .product = wave.all_s,
                         .limit = bare.wall_s,
                         .ratio = NAN,
                         .kind = RC_BENCH_RATIO_AT_MOST,
                         .goal = audiences ? 4 : 2}, /* two stages, one behind the other */
        "%lld exits (%lld bytes) beside %d live events a second; p99 of a live change's emittedAt behind its "
        "event meanwhile %.0f ms",
        (long long)wave.exits, (long long)wave.key_bytes + (long long)wave.value_bytes, RATE, wave.emitted.p99_ms);
    tell_live(bench, measure, "live event to its change read meanwhile, p99", &wave.meanwhile, &wave);
    tell_live(bench, measure, "the same in the 5 s behind the wave, p99", &wave.after, &wave);
    return RC_OK;
}

rc_status rc_bench_wave(struct bench *bench, struct rc_error *err) {
    return measure_wave(bench, false, err);
}

rc_status rc_bench_audiences(struct bench *bench, struct rc_error *err) {
    return measure_wave(bench, true, err);
}
