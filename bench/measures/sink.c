/* sink: changes a second from the memberships topic into Redis with the version check, beside plain HSETs of the same bytes on one connection. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "bench/measures/clients.h"
#include "codec/membership.h"
#include "codec/person_key.h"

#define CHANGES_SHARE 2 /* of options.persons */
#define PIPELINE 1000
#define LOOK_NS 2000000
#define TIMEOUT_MS 120000
#define VERSION_FIRST INT64_C(4294967297)

struct work {
    const char *bootstrap, *topic, *prefix;
    int redis_port;
    int64_t changes;
    char field[64], value[256]; /* what one of the profiles holds */
};

struct pace {
    double per_second;
    char value[256];
};

static rc_status redis_error(struct rc_error *err, const redisContext *redis) {
    return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "Redis: %s",
                        redis && redis->err ? redis->errstr : "no answer");
}

static rc_status fill(const void *ctx, void *result, struct rc_error *err) {
    (void)result;
    const struct work *work = ctx;
    rd_kafka_t *rk;
    if (rc_bench_writer(work->bootstrap, &rk, err) != RC_OK)
        return RC_FAIL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, work->topic, NULL);
    struct rc_buf person, key, value;
    rc_buf_init(&person, 1 << 12);
    rc_buf_init(&key, 1 << 12);
    rc_buf_init(&value, 1 << 12);
    rc_status status = RC_OK;
    for (int64_t i = 0; status == RC_OK && i < work->changes; i++) {
        char id[24];
        int64_t now_ms = rc_clock_wall_ms();
        snprintf(id, sizeof id, "p%07lld", (long long)i);
        struct rc_membership change = {.target = rc_span_str("seen"),
                                       .namespace = rc_span_str("ecid"),
                                       .person_id = rc_span_str(id),
                                       .realized = true,
                                       .since_ms = now_ms,
                                       .version = VERSION_FIRST + i,
                                       .cause = RC_CAUSE_EVENT,
                                       .event_time_ms = now_ms,
                                       .event_id = rc_span_str(id),
                                       .emitted_at_ms = now_ms,
                                       .target_version = 1};
        rc_buf_reset(&person);
        rc_buf_reset(&key);
        rc_buf_reset(&value);
        if (rc_person_key_add(&person, change.namespace, change.person_id) != RC_OK ||
            rc_membership_key_add(&key, rc_buf_span(&person), change.target) != RC_OK ||
            rc_membership_add(&value, &change, RC_FRAMING_NO_ID) != RC_OK)
            status = rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "a change is too large");
        else
            status = rc_bench_send(rk, topic, rc_person_key_partition(rc_buf_span(&person), BENCH_PARTITIONS),
                                   rc_buf_span(&key), rc_buf_span(&value), 0, err);
        if (i % 1024 == 0)
            rd_kafka_poll(rk, 0);
    }
    if (status == RC_OK)
        status = rc_bench_flush(rk, err);
    rc_buf_deinit(&person);
    rc_buf_deinit(&key);
    rc_buf_deinit(&value);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(rk);
    return status;
}

static long long size_of(redisContext *redis) {
    redisReply *reply = redisCommand(redis, "DBSIZE");
    long long n = reply && reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
    if (reply)
        freeReplyObject(reply);
    return n;
}

/* From the first profile that is there to the last. */
static rc_status watch(const void *ctx, void *result, struct rc_error *err) {
    const struct work *work = ctx;
    struct pace *pace = result;
    redisContext *redis = redisConnect("127.0.0.1", work->redis_port);
    if (!redis || redis->err)
        return redis_error(err, redis);
    long long first = 0, n = 0;
    int64_t began_ns = rc_clock_monotonic_ns(), first_ns = 0, until_ms = rc_clock_monotonic_ms() + TIMEOUT_MS;
    struct timespec nap = {.tv_nsec = LOOK_NS};
    while ((n = size_of(redis)) >= 0 && n < work->changes && rc_clock_monotonic_ms() < until_ms) {
        if (first_ns == 0 && n > BENCH_PARTITIONS + 4) { /* besides profiles the sink keeps a few keys of its own */
            first_ns = rc_clock_monotonic_ns();
            first = n;
        }
        nanosleep(&nap, NULL);
    }
    if (first_ns == 0) /* all of it between two looks */
        first_ns = began_ns;
    double taken_s = (double)(rc_clock_monotonic_ns() - first_ns) / 1e9;
    redisReply *reply = redisCommand(redis, "HGET %s:profile:ecid:p0000000 %s", work->prefix, work->field);
    if (reply && reply->type == REDIS_REPLY_STRING)
        snprintf(pace->value, sizeof pace->value, "%s", reply->str);
    if (reply)
        freeReplyObject(reply);
    redisFree(redis);
    if (n < work->changes || !pace->value[0])
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "%lld of %lld changes are in Redis", n,
                            (long long)work->changes);
    pace->per_second = (double)(n - first) / taken_s;
    return RC_OK;
}

static rc_status write_plainly(const void *ctx, void *result, struct rc_error *err) {
    const struct work *work = ctx;
    struct pace *pace = result;
    redisContext *redis = redisConnect("127.0.0.1", work->redis_port);
    if (!redis || redis->err)
        return redis_error(err, redis);
    char key[BENCH_NAME * 2];
    int64_t began_ns = rc_clock_monotonic_ns();
    for (int64_t i = 0; i < work->changes;) {
        int64_t in_flight = 0;
        for (; in_flight < PIPELINE && i < work->changes; in_flight++, i++) {
            int len = snprintf(key, sizeof key, "%s:plain:ecid:p%07lld", work->prefix, (long long)i);
            const char *argv[] = {"HSET", key, work->field, work->value};
            const size_t lens[] = {4, (size_t)len, strlen(work->field), strlen(work->value)};
            redisAppendCommandArgv(redis, 4, argv, lens);
        }
        for (; in_flight > 0; in_flight--) {
            void *reply;
            if (redisGetReply(redis, &reply) != REDIS_OK)
                return redis_error(err, redis);
            freeReplyObject(reply);
        }
    }
    pace->per_second = (double)work->changes / ((double)(rc_clock_monotonic_ns() - began_ns) / 1e9);
    redisFree(redis);
    return RC_OK;
}

static rc_status empty(const void *ctx, void *result, struct rc_error *err) {
    (void)result;
    const struct work *work = ctx;
    redisContext *redis = redisConnect("127.0.0.1", work->redis_port);
    redisReply *reply = redis && !redis->err ? redisCommand(redis, "FLUSHALL") : NULL;
    rc_status status = reply ? RC_OK : redis_error(err, redis);
    if (reply)
        freeReplyObject(reply);
    redisFree(redis);
    return status;
}

/* Once, so that the topics are there; then off. */
static rc_status introduce(struct bench *bench, const struct site *site, struct rc_error *err) {
    struct process sink = {0};
    if (rc_bench_site_start(site, "sink", &sink, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_bench_process_ready(bench, &sink, 60, err);
    rc_bench_process_stop(&sink);
    return status;
}

static rc_status run(struct bench *bench, const struct site *site, struct work *work, struct pace *product,
                     struct pace *plain, double *cpu_s, struct rc_error *err) {
    struct process sink = {0};
    if (introduce(bench, site, err) != RC_OK || rc_bench_do(bench, fill, work, NULL, 0, NULL, err) != RC_OK ||
        rc_bench_do(bench, empty, work, NULL, 0, NULL, err) != RC_OK)
        return RC_FAIL;
    rc_bench_say(bench, "%lld changes into Redis", (long long)work->changes);
    rc_status status = rc_bench_site_start(site, "sink", &sink, err);
    if (status == RC_OK)
        status = rc_bench_do(bench, watch, work, product, sizeof *product, NULL, err);
    *cpu_s = rc_bench_cpu_s(sink.pid);
    rc_bench_process_stop(&sink);
    snprintf(work->value, sizeof work->value, "%s", product->value);
    if (status != RC_OK || rc_bench_do(bench, empty, work, NULL, 0, NULL, err) != RC_OK ||
        rc_bench_do(bench, write_plainly, work, plain, sizeof *plain, NULL, err) != RC_OK)
        return RC_FAIL;
    return rc_bench_do(bench, empty, work, NULL, 0, NULL, err);
}

rc_status rc_bench_sink(struct bench *bench, struct rc_error *err) {
    struct site site;
    struct rc_buf definitions;
    struct pace product = {0}, plain = {0};
    double cpu_s = 0;
    char topic[BENCH_NAME * 2];
    if (rc_bench_site_init(&site, bench, err) != RC_OK)
        return RC_FAIL;
    rc_buf_init(&definitions, 1 << 20);
    rc_bench_simple_definitions("bench.sink", "7d", &definitions);
    struct work work = {.bootstrap = bench->bootstrap,
                        .topic = rc_bench_site_topic(&site, "memberships", topic),
                        .prefix = site.prefix,
                        .redis_port = bench->redis_port,
                        .changes = (int64_t)(bench->options.persons / CHANGES_SHARE) + 1,
                        .field = "segmentMembership.seen"};
    rc_status status = rc_bench_site_apply(&site, &definitions, err);
    if (status == RC_OK)
        status = run(bench, &site, &work, &product, &plain, &cpu_s, err);
    rc_bench_site_deinit(&site);
    rc_bench_topics_delete(bench, "bench.sink");
    rc_buf_deinit(&definitions);
    if (status != RC_OK)
        return RC_FAIL;
    rc_bench_tell(bench,
                  &(struct figure){.measure = "sink",
                                   .what = "changes into Redis with the version check",
                                   .beside = "plain HSETs of the same bytes, pipelined on one connection",
                                   .unit = "changes/s",
                                   .product = product.per_second,
                                   .limit = plain.per_second,
                                   .ratio = NAN,
                                   .kind = RC_BENCH_RATIO_AT_LEAST,
                                   .goal = 0.6},
                  "%lld changes, one a person; the sink took %.1f CPU-s", (long long)work.changes, cpu_s);
    return RC_OK;
}
