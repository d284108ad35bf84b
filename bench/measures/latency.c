/* latency: an event produced → its change readable in Redis, through the three processes; beside one hop of a record through the same broker.
 *
 * When a change is readable is told by Redis itself (keyspace notifications), so nobody has to ask in a loop on a machine that has work to do. */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "bench/measures/clients.h"
#include "codec/person_key.h"

#define RATE 1000
#define WARM_S 5 /* at the beginning, not counted: the broker compiles, caches fill */
#define HOP_MAX_S 20
#define GRACE_MS 10000
#define READY_TIMEOUT_S 60

struct trial {
    const char *bootstrap, *topic, *prefix;
    int redis_port;
    int64_t seconds; /* counted ones */
};

struct spread {
    double p50_ms, p99_ms, max_ms;
    int64_t n, lost;
};

static const char *const at_once[] = {"queue.buffering.max.ms", "0", NULL};

/* `taken_ns[i]`: −1 where nothing came. */
static struct spread spread_of(const int64_t *taken_ns, size_t n) {
    double *ms = rc_alloc((n + 1) * sizeof *ms);
    size_t got = 0;
    for (size_t i = (size_t)WARM_S * RATE; i < n; i++)
        if (taken_ns[i] >= 0)
            ms[got++] = (double)taken_ns[i] / 1e6;
    struct spread spread = {.n = (int64_t)got, .lost = (int64_t)(n - (size_t)WARM_S * RATE - got)};
    spread.p50_ms = rc_bench_quantile(ms, got, 0.5);
    spread.p99_ms = rc_bench_quantile(ms, got, 0.99);
    spread.max_ms = got ? ms[got - 1] : NAN;
    free(ms);
    return spread;
}

static void sleep_until(int64_t at_ns) {
    int64_t left = at_ns - rc_clock_monotonic_ns();
    if (left > 0)
        nanosleep(&(struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000}, NULL);
}

/* ---- one hop ---- */

struct hop {
    const struct trial *trial;
    rd_kafka_t *rk;
    size_t n;
    int64_t begin_ns;
    struct rc_error err;
    rc_status status;
};

static void *send_hops(void *ctx) {
    struct hop *hop = ctx;
    char filler[120] = {0};
    rd_kafka_topic_t *topic = rd_kafka_topic_new(hop->rk, hop->trial->topic, NULL);
    for (size_t i = 0; hop->status == RC_OK && i < hop->n; i++) {
        sleep_until(hop->begin_ns + (int64_t)i * (1000000000 / RATE));
        int64_t now_ns = rc_clock_monotonic_ns();
        memcpy(filler, &i, sizeof i);
        memcpy(filler + sizeof i, &now_ns, sizeof now_ns);
        hop->status = rc_bench_send(hop->rk, topic, (int32_t)(i % BENCH_PARTITIONS), rc_span_of(filler, 12),
                                    rc_span_of(filler, sizeof filler), 0, &hop->err);
    }
    rd_kafka_topic_destroy(topic);
    return NULL;
}

static rc_status measure_hop(const void *ctx, void *result, struct rc_error *err) {
    const struct trial *trial = ctx;
    struct hop hop = {.trial = trial, .n = (size_t)((trial->seconds + WARM_S) * RATE)};
    rd_kafka_t *reader;
    pthread_t thread;
    if (rc_bench_client(trial->bootstrap, RD_KAFKA_PRODUCER, at_once, &hop.rk, err) != RC_OK ||
        rc_bench_reader(trial->bootstrap, trial->topic, RD_KAFKA_OFFSET_BEGINNING, &reader, err) != RC_OK)
        return RC_FAIL;
    int64_t *taken_ns = rc_alloc(hop.n * sizeof *taken_ns);
    memset(taken_ns, 0xff, hop.n * sizeof *taken_ns);
    hop.begin_ns = rc_clock_monotonic_ns() + 500000000;
    if (pthread_create(&thread, NULL, send_hops, &hop) != 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "no thread");
    int64_t until_ms = rc_clock_monotonic_ms() + (trial->seconds + WARM_S) * 1000 + GRACE_MS;
    for (size_t got = 0; got < hop.n && rc_clock_monotonic_ms() < until_ms;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, 100);
        if (!message)
            continue;
        int64_t now_ns = rc_clock_monotonic_ns(), sent_ns;
        size_t i;
        if (!message->err && message->len >= sizeof i + sizeof sent_ns) {
            memcpy(&i, message->payload, sizeof i);
            memcpy(&sent_ns, (const char *)message->payload + sizeof i, sizeof sent_ns);
            if (i < hop.n && taken_ns[i] < 0) {
                taken_ns[i] = now_ns - sent_ns;
                got++;
            }
        }
        rd_kafka_message_destroy(message);
    }
    pthread_join(thread, NULL);
    *(struct spread *)result = spread_of(taken_ns, hop.n);
    free(taken_ns);
    rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
    rd_kafka_destroy(hop.rk);
    *err = hop.err;
    return hop.status;
}

/* ---- the whole way ---- */

static rc_status redis_error(struct rc_error *err, const redisContext *redis) {
    return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "Redis: %s",
                        redis && redis->err ? redis->errstr : "no answer");
}

static rc_status redis_say(redisContext *redis, const char *command, struct rc_error *err) {
    redisReply *reply = redisCommand(redis, command);
    bool fine = reply && reply->type != REDIS_REPLY_ERROR;
    if (reply)
        freeReplyObject(reply);
    return fine ? RC_OK : redis_error(err, redis);
}

/* The number of the person whose profile the key is; SIZE_MAX for another key. */
static size_t person_of(const char *key, const char *prefix, size_t prefix_len) {
    if (strncmp(key, prefix, prefix_len) != 0)
        return SIZE_MAX;
    char *end;
    unsigned long long number = strtoull(key + prefix_len, &end, 10);
    return *end ? SIZE_MAX : (size_t)number;
}

/* Takes what Redis has told. Returns how many profiles are new. */
static size_t take_told(redisContext *redis, const char *prefix, const int64_t *sent_ns, int64_t *taken_ns, size_t n) {
    size_t got = 0, prefix_len = strlen(prefix);
    void *reply = NULL;
    int64_t now_ns = rc_clock_monotonic_ns();
    while (redisGetReplyFromReader(redis, &reply) == REDIS_OK && reply) {
        const redisReply *told = reply;
        if (told->type == REDIS_REPLY_ARRAY && told->elements == 3 && told->element[2]->type == REDIS_REPLY_STRING) {
            size_t i = person_of(told->element[2]->str, prefix, prefix_len);
            if (i < n && taken_ns[i] < 0 && sent_ns[i] > 0) {
                taken_ns[i] = now_ns - sent_ns[i];
                got++;
            }
        }
        freeReplyObject(reply);
        reply = NULL;
    }
    return got;
}

static rc_status send_and_watch(const struct trial *trial, rd_kafka_t *rk, redisContext *redis, int64_t *sent_ns,
                                int64_t *taken_ns, size_t n, struct rc_error *err) {
    char prefix[BENCH_NAME * 2];
    snprintf(prefix, sizeof prefix, "%s:profile:ecid:p", trial->prefix);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, trial->topic, NULL);
    struct rc_buf key, value;
    rc_buf_init(&key, 1 << 12);
    rc_buf_init(&value, 1 << 12);
    rc_status status = RC_OK;
    size_t sent = 0, got = 0;
    int64_t begin_ns = rc_clock_monotonic_ns(), until_ns = INT64_MAX;
    while (status == RC_OK && got < n) {
        int64_t now_ns = rc_clock_monotonic_ns(), next_ns = begin_ns + (int64_t)sent * (1000000000 / RATE);
        if (now_ns > until_ns)
            break;
        if (sent < n && now_ns >= next_ns) {
            rc_bench_simple_event(sent, rc_clock_wall_ms(), &key, &value);
            sent_ns[sent] = rc_clock_monotonic_ns();
            status = rc_bench_send(rk, topic, rc_person_key_partition(rc_buf_span(&key), BENCH_PARTITIONS),
                                   rc_buf_span(&key), rc_buf_span(&value), 0, err);
            if (++sent == n)
                until_ns = now_ns + GRACE_MS * INT64_C(1000000);
            continue;
        }
        int64_t left_ns = sent < n ? next_ns - now_ns : 100000000;
        struct timespec wait = {.tv_sec = left_ns / 1000000000, .tv_nsec = left_ns % 1000000000};
        struct pollfd fd = {.fd = redis->fd, .events = POLLIN};
        if (ppoll(&fd, 1, &wait, NULL) > 0) {
            if (redisBufferRead(redis) != REDIS_OK)
                status = redis_error(err, redis);
            got += take_told(redis, prefix, sent_ns, taken_ns, n);
        }
    }
    rc_buf_deinit(&key);
    rc_buf_deinit(&value);
    rd_kafka_topic_destroy(topic);
    return status;
}

static rc_status measure_way(const void *ctx, void *result, struct rc_error *err) {
    const struct trial *trial = ctx;
    size_t n = (size_t)((trial->seconds + WARM_S) * RATE);
    rd_kafka_t *rk;
    redisContext *redis = redisConnect("127.0.0.1", trial->redis_port);
    if (!redis || redis->err)
        return redis_error(err, redis);
    if (redis_say(redis, "CONFIG SET notify-keyspace-events Eh", err) != RC_OK ||
        redis_say(redis, "SUBSCRIBE __keyevent@0__:hset", err) != RC_OK ||
        rc_bench_client(trial->bootstrap, RD_KAFKA_PRODUCER, at_once, &rk, err) != RC_OK)
        return RC_FAIL; /* the child ends here */
    int64_t *sent_ns = rc_calloc(n, sizeof *sent_ns), *taken_ns = rc_alloc(n * sizeof *taken_ns);
    memset(taken_ns, 0xff, n * sizeof *taken_ns);
    rc_status status = send_and_watch(trial, rk, redis, sent_ns, taken_ns, n, err);
    *(struct spread *)result = spread_of(taken_ns, n);
    free(sent_ns);
    free(taken_ns);
    rd_kafka_destroy(rk);
    redisFree(redis);
    redisContext *quiet = redisConnect("127.0.0.1", trial->redis_port);
    struct rc_error ignored;
    if (quiet)
        (void)!redis_say(quiet, "CONFIG SET notify-keyspace-events \"\"", &ignored);
    redisFree(quiet);
    return status;
}

/* ---- the measure ---- */

static rc_status run_way(struct bench *bench, struct spread *out, double *cpu_s, struct rc_error *err) {
    static const char topic[] = "bench.latency";
    static const char *const roles[] = {"ingest", "materialize", "sink"};
    struct site site;
    struct process processes[3] = {0};
    struct rc_buf definitions;
    rc_buf_init(&definitions, 1 << 20);
    rc_bench_simple_definitions(topic, "7d", &definitions);
    rc_status status = rc_bench_topic_new(bench, topic, err);
    if (status == RC_OK)
        status = rc_bench_site_init(&site, bench, err);
    if (status != RC_OK) {
        rc_buf_deinit(&definitions);
        return status;
    }
    status = rc_bench_site_apply(&site, &definitions, err);
    for (size_t i = 0; status == RC_OK && i < 3; i++)
        status = rc_bench_site_start(&site, roles[i], &processes[i], err);
    for (size_t i = 0; status == RC_OK && i < 3; i++)
        status = rc_bench_process_ready(bench, &processes[i], READY_TIMEOUT_S, err);
    rc_bench_say(bench, "%lld s at %d events a second through three processes", (long long)bench->options.seconds,
                 RATE);
    if (status == RC_OK) {
        struct trial trial = {.bootstrap = bench->bootstrap,
                              .topic = topic,
                              .prefix = site.prefix,
                              .redis_port = bench->redis_port,
                              .seconds = bench->options.seconds};
        double before[3];
        for (size_t i = 0; i < 3; i++)
            before[i] = rc_bench_cpu_s(processes[i].pid);
        status = rc_bench_do(bench, measure_way, &trial, out, sizeof *out, NULL, err);
        for (size_t i = 0; i < 3; i++)
            cpu_s[i] = rc_bench_cpu_s(processes[i].pid) - before[i];
    }
    for (size_t i = 0; i < 3; i++)
        rc_bench_process_stop(&processes[i]);
    rc_bench_site_deinit(&site);
    rc_bench_topics_delete(bench, topic);
    rc_buf_deinit(&definitions);
    return status;
}

rc_status rc_bench_latency(struct bench *bench, struct rc_error *err) {
    static const char topic[] = "bench.hop";
    struct spread hop, way;
    double cpu_s[3];
    int64_t seconds = bench->options.seconds < HOP_MAX_S ? bench->options.seconds : HOP_MAX_S;
    struct trial trial = {.bootstrap = bench->bootstrap, .topic = topic, .seconds = seconds};
    rc_bench_say(bench, "%lld s of single hops", (long long)seconds);
    if (rc_bench_topic_new(bench, topic, err) != RC_OK ||
        rc_bench_do(bench, measure_hop, &trial, &hop, sizeof hop, NULL, err) != RC_OK)
        return RC_FAIL;
    rc_bench_topics_delete(bench, topic);
    if (run_way(bench, &way, cpu_s, err) != RC_OK)
        return RC_FAIL;
    if (way.lost > 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                            "%lld changes of %lld were not readable %d s after the last event", (long long)way.lost,
                            (long long)(way.lost + way.n), GRACE_MS / 1000);
    struct figure figure = {.measure = "latency",
                            .what = "event to readable in Redis at 1,000/s, p50",
                            .beside = "a hop through the broker, p50",
                            .unit = "ms",
                            .product = way.p50_ms,
                            .limit = hop.p50_ms,
                            .ratio = NAN,
                            .kind = RC_BENCH_RATIO_AT_MOST,
                            .goal = 4};
    double all = (double)(bench->options.seconds + WARM_S) / 100;
    rc_bench_tell(bench, &figure, "%lld changes; CPU in %% of a core: ingest %.1f, materialize %.1f, sink %.1f",
                  (long long)way.n, cpu_s[0] / all, cpu_s[1] / all, cpu_s[2] / all);
    figure.what = "the same, p99";
    figure.beside = "the hop's p99";
    figure.product = way.p99_ms;
    figure.limit = hop.p99_ms;
    figure.goal = 2;
    rc_bench_tell(bench, &figure, "longest %.1f ms, the longest hop %.1f ms", way.max_ms, hop.max_ms);
    figure.what = "the same, p99 by the clock";
    figure.beside = NULL;
    figure.limit = NAN;
    figure.kind = RC_BENCH_PRODUCT_AT_MOST;
    figure.goal = 15;
    rc_bench_tell(bench, &figure, "the goal is the clock's, not a ratio");
    return RC_OK;
}
