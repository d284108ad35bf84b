/* backfill: a new segment over a month, on a topic full of history, while live events go on. How long until it is live in every partition, beside a bare
 * consumer of the same topic, and how long a live change takes meanwhile; then its members, as told, are held against a count over the whole topic.
 *
 * Another segment like it goes first, and does not count: a broker that has just been started compiles its code while it first does all this, which takes
 * a processor for seconds.
 *
 * Live persons have two events each, a while apart: the first makes them members of a segment that serves already, which is what is timed, the second of the
 * new one. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "bench/measures/clients.h"
#include "codec/membership.h"
#include "codec/person_key.h"

#define SERVING "seen"
#define SERVING_WINDOW "7d"
#define BLOCK 1000 /* so many live persons have their first event before they have their second */
#define LINGER_MS \
    "2" /* of the live events: thousands a second in requests of their own are too many for a broker on the same machine */
#define CALM_MAX_S 10  /* live events alone */
#define WARM_S 3       /* before that, not counted */
#define LIMIT_S 600    /* after it the backfill counts as lost */
#define GRACE_MS 30000 /* for what is under way at the end */
#define CATCH_UP_TIMEOUT_S 600
#define REST_MS 5000 /* behind it, so that what it has left is done */

struct plan {
    const char *bootstrap, *topic, *segments;
    size_t persons; /* of the history */
    int64_t rate, calm_s;
    int64_t begin_ns; /* of the live events, monotonic; the new segment is applied when the calm is over */
};

struct backfill {
    int64_t end_ns; /* monotonic: live in every partition */
    double calm_p50_ms, calm_p99_ms, p50_ms, p99_ms, max_ms;
    int64_t live, lost, told, counted, records;
};

struct trial {
    const struct plan *plan;
    rd_kafka_t *rk;
    size_t n; /* live events at most */
    _Atomic int64_t *sent_ns;
    int64_t *taken_ns; /* -1: not yet */
    _Atomic bool over;
    size_t sent, taken; /* live events; of them those that are timed and have come */
    uint8_t *member;    /* by person, of the new segment */
    size_t n_persons;
    size_t live_in; /* partitions */
    struct rc_error err;
    rc_status status;
};

/* ---- live events ---- */

static size_t person_of(const struct trial *trial, size_t i) {
    return trial->plan->persons + i / (2 * (size_t)BLOCK) * BLOCK + i % BLOCK;
}

/* Of a person's two events the first. */
static bool is_first(size_t i) {
    return i / BLOCK % 2 == 0;
}

static size_t event_of(const struct trial *trial, size_t person) {
    size_t live = person - trial->plan->persons;
    return live / BLOCK * 2 * BLOCK + live % BLOCK;
}

static void *send_live(void *ctx) {
    struct trial *trial = ctx;
    struct rc_buf key, value;
    rc_buf_init(&key, 1 << 12);
    rc_buf_init(&value, 1 << 12);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(trial->rk, trial->plan->topic, NULL);
    for (size_t i = 0; trial->status == RC_OK && i < trial->n && !trial->over; i++) {
        int64_t left = trial->plan->begin_ns + (int64_t)i * (1000000000 / trial->plan->rate) - rc_clock_monotonic_ns();
        if (left > 0)
            nanosleep(&(struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000}, NULL);
        rc_bench_simple_event(person_of(trial, i), rc_clock_wall_ms(), &key, &value);
        trial->sent_ns[i] = rc_clock_monotonic_ns();
        trial->status = rc_bench_send(trial->rk, topic, rc_person_key_partition(rc_buf_span(&key), BENCH_PARTITIONS),
                                      rc_buf_span(&key), rc_buf_span(&value), 0, &trial->err);
        rd_kafka_poll(trial->rk, 0);
    }
    if (trial->status == RC_OK)
        trial->status = rc_bench_flush(trial->rk, &trial->err);
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
    if (rc_span_equal(change.target, rc_span_str("_live." BENCH_OFTEN))) {
        trial->live_in += change.realized;
        return RC_OK;
    }
    size_t person = rc_bench_person_number(change.person_id);
    if (person >= trial->n_persons)
        return RC_OK;
    if (rc_span_equal(change.target, rc_span_str(BENCH_OFTEN)))
        trial->member[person] = change.realized;
    if (person < trial->plan->persons || !rc_span_equal(change.target, rc_span_str(SERVING)))
        return RC_OK;
    size_t i = event_of(trial, person);
    if (i < trial->n && trial->taken_ns[i] < 0) {
        trial->taken_ns[i] = now_ns - trial->sent_ns[i];
        trial->taken++;
    }
    return RC_OK;
}

/* The quantiles of the timed live events that were sent in [from, to). Returns how many never came. */
static int64_t judge(const struct trial *trial, int64_t from_ns, int64_t to_ns, double *p50, double *p99, double *max,
                     int64_t *n) {
    double *ms = rc_calloc(trial->sent + 1, sizeof *ms);
    size_t got = 0, all = 0;
    for (size_t i = 0; i < trial->sent; i++) {
        if (!is_first(i) || trial->sent_ns[i] < from_ns || trial->sent_ns[i] >= to_ns)
            continue;
        all++;
        if (trial->taken_ns[i] >= 0)
            ms[got++] = (double)trial->taken_ns[i] / 1e6;
    }
    *p50 = rc_bench_quantile(ms, got, 0.5);
    *p99 = rc_bench_quantile(ms, got, 0.99);
    *max = got ? ms[got - 1] : NAN;
    *n = (int64_t)all;
    free(ms);
    return (int64_t)(all - got);
}

static rc_status watch(struct trial *trial, rd_kafka_t *reader, struct backfill *out, struct rc_error *err) {
    pthread_t thread;
    const size_t never = SIZE_MAX;
    int64_t ignored, second = INT64_C(1000000000), warm_ns = trial->plan->begin_ns + WARM_S * second,
                     apply_ns = warm_ns + trial->plan->calm_s * second;
    double unused;
    if (pthread_create(&thread, NULL, send_live, trial) != 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "no thread");
    rc_status status =
        rc_bench_read_until(reader, take, trial, &trial->live_in, BENCH_PARTITIONS, apply_ns + LIMIT_S * second, err);
    out->end_ns = rc_clock_monotonic_ns();
    if (status == RC_OK) /* the moment when everybody has gone over counts as well */
        status = rc_bench_read_until(reader, take, trial, &(size_t){0}, never, out->end_ns + second, err);
    trial->over = true;
    pthread_join(thread, NULL);
    if (status == RC_OK && trial->status != RC_OK) {
        *err = trial->err;
        status = RC_FAIL;
    }
    size_t timed = 0;
    while (trial->sent < trial->n && trial->sent_ns[trial->sent] > 0)
        timed += is_first(trial->sent++);
    int64_t sent_ns = rc_clock_monotonic_ns();
    if (status == RC_OK)
        status =
            rc_bench_read_until(reader, take, trial, &trial->taken, timed, sent_ns + GRACE_MS * INT64_C(1000000), err);
    if (status == RC_OK) /* the second events' changes */
        status =
            rc_bench_read_until(reader, take, trial, &(size_t){0}, never, rc_clock_monotonic_ns() + 2 * second, err);
    if (status == RC_OK && trial->live_in < BENCH_PARTITIONS)
        status = rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                              "the new segment was live in %zu of %d partitions after %d s", trial->live_in,
                              BENCH_PARTITIONS, LIMIT_S);
    out->lost = judge(trial, warm_ns, apply_ns, &out->calm_p50_ms, &out->calm_p99_ms, &unused, &ignored);
    out->lost += judge(trial, apply_ns, out->end_ns, &out->p50_ms, &out->p99_ms, &out->max_ms, &out->live);
    for (size_t i = 0; i < trial->n_persons; i++)
        out->told += trial->member[i];
    return status;
}

/* ---- the recomputation ---- */

/* Up to BENCH_OFTEN_COUNT different events of a person that count. */
struct counted {
    uint64_t events[BENCH_OFTEN_COUNT];
};

/* Adds the record to its person's, if it is of the type that counts and was not there before. True when it is the last one that is needed. */
static bool count_one(struct counted *persons, size_t n_persons, const rd_kafka_message_t *message) {
    const size_t prefix = sizeof "ecid:" - 1;
    uint64_t event;
    struct rc_span key = rc_span_of(message->key, message->key_len), value = rc_span_of(message->payload, message->len);
    size_t person =
        key.len > prefix ? rc_bench_person_number(rc_span_of(key.data + prefix, key.len - prefix)) : SIZE_MAX;
    if (person >= n_persons || !rc_bench_often_counts(value, &event))
        return false;
    for (size_t i = 0; i < BENCH_OFTEN_COUNT; i++) {
        if (persons[person].events[i] == event)
            return false;
        if (persons[person].events[i] == 0) {
            persons[person].events[i] = event;
            return i + 1 == BENCH_OFTEN_COUNT;
        }
    }
    return false;
}

static rc_status recompute(const struct trial *trial, struct backfill *out, struct rc_error *err) {
    const struct plan *plan = trial->plan;
    int64_t first[BENCH_PARTITIONS], end[BENCH_PARTITIONS], left = 0;
    rd_kafka_t *reader;
    if (rc_bench_reader(plan->bootstrap, plan->topic, RD_KAFKA_OFFSET_BEGINNING, &reader, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_bench_ends(reader, plan->topic, first, end, err);
    for (int p = 0; status == RC_OK && p < BENCH_PARTITIONS; p++)
        left += end[p] - first[p];
    out->records = left;
    struct counted *persons = rc_calloc(trial->n_persons + 1, sizeof *persons);
    for (int64_t until_ms = rc_clock_monotonic_ms() + GRACE_MS; status == RC_OK && left > 0;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, 100);
        if (message && !message->err) {
            out->counted += count_one(persons, trial->n_persons, message);
            left--;
            until_ms = rc_clock_monotonic_ms() + GRACE_MS;
        } else if (rc_clock_monotonic_ms() > until_ms) {
            status = rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "%s: %lld records do not come", plan->topic,
                                  (long long)left);
        }
        if (message)
            rd_kafka_message_destroy(message);
    }
    free(persons);
    rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
    return status;
}

static rc_status run(const void *ctx, void *result, struct rc_error *err) {
    static const char *const soon[] = {"queue.buffering.max.ms", LINGER_MS, NULL};
    const struct plan *plan = ctx;
    struct trial trial = {.plan = plan, .n = (size_t)((WARM_S + plan->calm_s + LIMIT_S) * plan->rate)};
    rd_kafka_t *reader;
    trial.n_persons = plan->persons + trial.n / 2 + BLOCK;
    trial.sent_ns = rc_calloc(trial.n, sizeof *trial.sent_ns);
    trial.taken_ns = rc_alloc(trial.n * sizeof *trial.taken_ns);
    trial.member = rc_calloc(trial.n_persons, 1);
    memset(trial.taken_ns, 0xff, trial.n * sizeof *trial.taken_ns);
    rc_status status = rc_bench_client(plan->bootstrap, RD_KAFKA_PRODUCER, soon, &trial.rk, err);
    if (status == RC_OK)
        status = rc_bench_reader(plan->bootstrap, plan->segments, RD_KAFKA_OFFSET_END, &reader, err);
    if (status != RC_OK)
        return RC_FAIL; /* the child ends here */
    status = watch(&trial, reader, result, err);
    rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
    rd_kafka_destroy(trial.rk);
    if (status == RC_OK)
        status = recompute(&trial, result, err);
    free(trial.sent_ns);
    free(trial.taken_ns);
    free(trial.member);
    return status;
}

/* ---- the one that goes first ---- */

static rc_status take_live(void *ctx, const rd_kafka_message_t *message, struct rc_error *err) {
    size_t *live_in = ctx;
    struct rc_membership change;
    if (message->err || message->len == 0)
        return RC_OK;
    if (rc_membership_read(rc_span_of(message->payload, message->len), false, &change, err) != RC_OK)
        return RC_FAIL;
    *live_in += rc_span_equal(change.target, rc_span_str("_live." BENCH_OFTEN_BEFORE));
    return RC_OK;
}

static rc_status await_first(const void *ctx, void *result, struct rc_error *err) {
    const struct plan *plan = ctx;
    rd_kafka_t *reader;
    size_t live_in = 0;
    (void)result;
    if (rc_bench_reader(plan->bootstrap, plan->segments, RD_KAFKA_OFFSET_BEGINNING, &reader, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_bench_read_until(reader, take_live, &live_in, &live_in, BENCH_PARTITIONS,
                                           rc_clock_monotonic_ns() + LIMIT_S * INT64_C(1000000000), err);
    rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
    return status;
}

static rc_status let_one_go_first(struct bench *bench, const struct site *site, const struct plan *plan,
                                  struct rc_error *err) {
    struct rc_buf definitions;
    rc_buf_init(&definitions, 1 << 16);
    rc_bench_often_before_definition(&definitions);
    rc_status status = rc_bench_site_apply(site, &definitions, err);
    rc_buf_deinit(&definitions);
    if (status == RC_OK)
        status = rc_bench_do(bench, await_first, plan, NULL, 0, NULL, err);
    return status;
}

/* ---- the measure ---- */

/* The child goes through its clock; the new segment is applied here when that says so. */
static rc_status apply_in_the_midst(struct bench *bench, const struct site *site, const struct plan *plan,
                                    struct backfill *out, double *all_s, struct rc_error *err) {
    struct forked child;
    struct rc_buf definitions;
    struct rc_error why;
    if (rc_bench_fork(bench, run, plan, sizeof *out, &child, err) != RC_OK)
        return RC_FAIL;
    int64_t wait_ms = (plan->begin_ns - rc_clock_monotonic_ns()) / 1000000 + (WARM_S + plan->calm_s) * 1000;
    rc_status status = rc_bench_wait(bench, wait_ms, err);
    rc_buf_init(&definitions, 1 << 16);
    rc_bench_often_definition(&definitions);
    if (status == RC_OK)
        status = rc_bench_site_apply(site, &definitions, err);
    int64_t applied_ns = rc_clock_monotonic_ns();
    rc_buf_deinit(&definitions);
    if (status != RC_OK) {
        kill(child.pid, SIGKILL);
        (void)!rc_bench_join(bench, &child, out, sizeof *out, NULL, &why);
        return RC_FAIL;
    }
    if (rc_bench_join(bench, &child, out, sizeof *out, NULL, err) != RC_OK)
        return RC_FAIL;
    *all_s = (double)(out->end_ns - applied_ns) / 1e9;
    return RC_OK;
}

static rc_status run_backfill(struct bench *bench, const char *topic, struct backfill *out, double *all_s,
                              struct rc_error *err) {
    struct site site;
    struct process ingest = {0};
    struct rc_buf definitions;
    char segments[BENCH_NAME * 2], group[BENCH_NAME * 2];
    if (rc_bench_site_init(&site, bench, err) != RC_OK)
        return RC_FAIL;
    rc_buf_init(&definitions, 1 << 20);
    rc_bench_simple_definitions(topic, SERVING_WINDOW, &definitions);
    rc_status status = rc_bench_site_apply(&site, &definitions, err);
    if (status == RC_OK)
        status = rc_bench_site_start(&site, "ingest", &ingest, err);
    if (status == RC_OK)
        status = rc_bench_await_group(bench, rc_bench_site_group(&site, "ingest", group), topic, ingest.pid,
                                      CATCH_UP_TIMEOUT_S, err);
    if (status == RC_OK)
        status = rc_bench_process_ready(bench, &ingest, 60, err);
    struct plan plan = {.bootstrap = bench->bootstrap,
                        .topic = topic,
                        .segments = rc_bench_site_topic(&site, "segments", segments),
                        .persons = (size_t)bench->options.persons,
                        .rate = bench->options.rate,
                        .calm_s = bench->options.seconds < CALM_MAX_S ? bench->options.seconds : CALM_MAX_S};
    if (status == RC_OK)
        status = let_one_go_first(bench, &site, &plan, err);
    if (status == RC_OK)
        status = rc_bench_wait(bench, REST_MS, err);
    plan.begin_ns = rc_clock_monotonic_ns() + INT64_C(1000000000);
    rc_bench_say(bench, "a new segment over %llu events, beside %lld live events a second",
                 (unsigned long long)bench->options.events, (long long)plan.rate);
    if (status == RC_OK)
        status = apply_in_the_midst(bench, &site, &plan, out, all_s, err);
    rc_bench_process_stop(&ingest);
    rc_bench_site_deinit(&site);
    rc_buf_deinit(&definitions);
    return status;
}

rc_status rc_bench_backfill(struct bench *bench, struct rc_error *err) {
    static const char topic[] = "bench.backfill";
    struct backfill seen;
    struct consumed bare;
    double all_s = 0;
    rc_status status = rc_bench_load(bench, topic, bench->options.events, bench->options.persons, false, err);
    if (status == RC_OK)
        status = rc_bench_bare_consume(bench, topic, &bare, NULL, err);
    if (status == RC_OK)
        status = run_backfill(bench, topic, &seen, &all_s, err);
    rc_bench_topics_delete(bench, topic);
    if (status != RC_OK)
        return RC_FAIL;
    if (seen.lost > 0 || seen.told != seen.counted)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                            "%lld live changes never came; %lld members were told, %lld are counted over the topic",
                            (long long)seen.lost, (long long)seen.told, (long long)seen.counted);
    rc_bench_tell(bench,
                  &(struct figure){.measure = "backfill",
                                   .what = "history read for a new segment, from apply to live in all partitions",
                                   .beside = "a bare consumer of the same topic",
                                   .unit = "events/s",
                                   .product = (double)bench->options.events / all_s,
                                   .limit = (double)bare.records / bare.wall_s,
                                   .ratio = NAN,
                                   .kind = RC_BENCH_RATIO_AT_LEAST,
                                   .goal = 0.25},
                  "%llu events in %.2f s beside %lld live events a second; %lld members told, as many as are counted "
                  "over all %lld events",
                  (unsigned long long)bench->options.events, all_s, (long long)bench->options.rate,
                  (long long)seen.told, (long long)seen.records);
    rc_bench_tell(bench,
                  &(struct figure){.measure = "backfill",
                                   .what = "live event to its change read meanwhile, p99",
                                   .beside = "the same before it",
                                   .unit = "ms",
                                   .product = seen.p99_ms,
                                   .limit = seen.calm_p99_ms,
                                   .ratio = NAN,
                                   .kind = RC_BENCH_RATIO_AT_MOST,
                                   .goal = 2},
                  "%lld live events timed; p50 %.1f ms beside %.1f ms before; longest %.1f ms", (long long)seen.live,
                  seen.p50_ms, seen.calm_p50_ms, seen.max_ms);
    return RC_OK;
}
