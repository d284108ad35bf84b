/* What is asked of the broker besides records: topics made and removed, their ends, and how far a group has committed. Each question is asked by a child
 * with a client of its own. */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "bench/measures/clients.h"

#define START_TIMEOUT_MS 90000
#define ASK_MS 5000

struct question {
    const char *bootstrap, *topic, *group;
    int64_t timeout_ms;
    pid_t pid;
};

/* ---- making ---- */

static rc_status make_topic(const void *ctx, void *result, struct rc_error *err) {
    (void)result;
    const struct question *q = ctx;
    rd_kafka_t *rk;
    if (rc_bench_client(q->bootstrap, RD_KAFKA_PRODUCER, NULL, &rk, err) != RC_OK)
        return RC_FAIL;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int64_t until = rc_clock_monotonic_ms() + q->timeout_ms;;) {
        char text[256];
        rd_kafka_NewTopic_t *wanted = rd_kafka_NewTopic_new(q->topic, BENCH_PARTITIONS, 1, text, sizeof text);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        rd_kafka_CreateTopics(rk, &wanted, 1, NULL, queue);
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ASK_MS);
        const rd_kafka_CreateTopics_result_t *made = event ? rd_kafka_event_CreateTopics_result(event) : NULL;
        size_t n = 0;
        const rd_kafka_topic_result_t **topics = made ? rd_kafka_CreateTopics_result_topics(made, &n) : NULL;
        code = n       ? rd_kafka_topic_result_error(topics[0])
               : event ? rd_kafka_event_error(event)
                       : RD_KAFKA_RESP_ERR__TIMED_OUT;
        if (event)
            rd_kafka_event_destroy(event);
        rd_kafka_queue_destroy(queue);
        rd_kafka_NewTopic_destroy(wanted);
        if (!code || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS || rc_clock_monotonic_ms() > until)
            break;
    }
    /* A new topic has leaders a moment later. */
    for (int tries = 0; !code && tries < 200; tries++) {
        const struct rd_kafka_metadata *metadata;
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, q->topic, NULL);
        int led = 0;
        if (rd_kafka_metadata(rk, 0, topic, &metadata, ASK_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
            for (int i = 0; metadata->topic_cnt == 1 && i < metadata->topics[0].partition_cnt; i++)
                led += metadata->topics[0].partitions[i].leader >= 0;
            rd_kafka_metadata_destroy(metadata);
        }
        rd_kafka_topic_destroy(topic);
        if (led == BENCH_PARTITIONS)
            break;
        rd_kafka_poll(rk, 20);
    }
    rd_kafka_destroy(rk);
    if (code && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "topic %s cannot be made at %s: %s", q->topic,
                            q->bootstrap, rd_kafka_err2str(code));
    return RC_OK;
}

rc_status rc_bench_topic_new(const struct bench *bench, const char *topic, struct rc_error *err) {
    struct question q = {.bootstrap = bench->bootstrap, .topic = topic, .timeout_ms = START_TIMEOUT_MS};
    return rc_bench_do(bench, make_topic, &q, NULL, 0, NULL, err);
}

static rc_status delete_topics(const void *ctx, void *result, struct rc_error *err) {
    (void)result;
    const struct question *q = ctx;
    rd_kafka_t *rk;
    const struct rd_kafka_metadata *metadata;
    if (rc_bench_client(q->bootstrap, RD_KAFKA_PRODUCER, NULL, &rk, err) != RC_OK)
        return RC_FAIL;
    if (rd_kafka_metadata(rk, 1, NULL, &metadata, ASK_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        for (int i = 0; i < metadata->topic_cnt; i++) {
            const char *name = metadata->topics[i].topic;
            if (strncmp(name, q->topic, strlen(q->topic)) != 0)
                continue;
            rd_kafka_DeleteTopic_t *gone = rd_kafka_DeleteTopic_new(name);
            rd_kafka_DeleteTopics(rk, &gone, 1, NULL, queue);
            rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ASK_MS);
            if (event)
                rd_kafka_event_destroy(event);
            rd_kafka_DeleteTopic_destroy(gone);
        }
        rd_kafka_queue_destroy(queue);
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_destroy(rk);
    return RC_OK;
}

void rc_bench_topics_delete(const struct bench *bench, const char *prefix) {
    struct question q = {.bootstrap = bench->bootstrap, .topic = prefix};
    struct rc_error ignored;
    (void)!rc_bench_do(bench, delete_topics, &q, NULL, 0, NULL, &ignored);
}

/* ---- ends ---- */

rc_status rc_bench_ends(rd_kafka_t *rk, const char *topic, int64_t first[BENCH_PARTITIONS],
                        int64_t end[BENCH_PARTITIONS], struct rc_error *err) {
    for (int32_t p = 0; p < BENCH_PARTITIONS; p++) {
        rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(rk, topic, p, &first[p], &end[p], ASK_MS);
        if (code)
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "the end of %s [%d] cannot be had: %s", topic,
                                p, rd_kafka_err2str(code));
    }
    return RC_OK;
}

static rc_status count_records(const void *ctx, void *result, struct rc_error *err) {
    const struct question *q = ctx;
    int64_t first[BENCH_PARTITIONS], end[BENCH_PARTITIONS], *sum = result;
    rd_kafka_t *rk;
    if (rc_bench_client(q->bootstrap, RD_KAFKA_PRODUCER, NULL, &rk, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_bench_ends(rk, q->topic, first, end, err);
    for (int p = 0; status == RC_OK && p < BENCH_PARTITIONS; p++)
        *sum += end[p] - first[p];
    rd_kafka_destroy(rk);
    return status;
}

rc_status rc_bench_topic_records(const struct bench *bench, const char *topic, int64_t *out, struct rc_error *err) {
    struct question q = {.bootstrap = bench->bootstrap, .topic = topic};
    return rc_bench_do(bench, count_records, &q, out, sizeof *out, NULL, err);
}

/* ---- a group's progress ---- */

/* Asks only: a client that names a group without subscribing is no member of it. */
static rc_status await_group(const void *ctx, void *result, struct rc_error *err) {
    (void)result;
    const struct question *q = ctx;
    int64_t first[BENCH_PARTITIONS], end[BENCH_PARTITIONS];
    rd_kafka_t *rk;
    const char *const settings[] = {"group.id", q->group, NULL};
    if (rc_bench_client(q->bootstrap, RD_KAFKA_CONSUMER, settings, &rk, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_bench_ends(rk, q->topic, first, end, err);
    int64_t until = rc_clock_monotonic_ms() + q->timeout_ms, behind = -1;
    while (status == RC_OK) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(BENCH_PARTITIONS);
        rd_kafka_topic_partition_list_add_range(list, q->topic, 0, BENCH_PARTITIONS - 1);
        rd_kafka_resp_err_t code = rd_kafka_committed(rk, list, ASK_MS);
        behind = 0;
        for (int i = 0; i < list->cnt; i++) {
            int64_t at = list->elems[i].offset >= 0 ? list->elems[i].offset : first[list->elems[i].partition];
            behind += end[list->elems[i].partition] - at;
        }
        rd_kafka_topic_partition_list_destroy(list);
        if (!code && behind <= 0)
            break;
        if (rc_bench_resident(q->pid) == 0) /* gone, or waiting to be waited for */
            status = rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                                  "the process ended before group %s had read %s", q->group, q->topic);
        else if (rc_clock_monotonic_ms() > until)
            status = rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                                  "group %s is %lld records behind in %s after %lld s", q->group, (long long)behind,
                                  q->topic, (long long)q->timeout_ms / 1000);
        else
            rd_kafka_poll(rk, 50);
    }
    rd_kafka_destroy(rk);
    return status;
}

rc_status rc_bench_await_group(const struct bench *bench, const char *group, const char *topic, pid_t pid,
                               int64_t timeout_s, struct rc_error *err) {
    struct question q = {
        .bootstrap = bench->bootstrap, .topic = topic, .group = group, .timeout_ms = timeout_s * 1000, .pid = pid};
    return rc_bench_do(bench, await_group, &q, NULL, 0, NULL, err);
}
