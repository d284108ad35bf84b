/* The bare clients beside which the product is put: the least that reading so many records, and sending so many, costs with librdkafka. This is the one
 * place that may read in batches: it pauses and seeks nothing (docs/decisions/0004-no-consume-batch.md). */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "bench/measures/clients.h"

#define BATCH 1000
#define IDLE_LIMIT_MS 30000

struct task {
    const char *bootstrap, *topic;
    int64_t records;
    size_t key_bytes, value_bytes;
};

static rc_status consume(const void *ctx, void *result, struct rc_error *err) {
    const struct task *task = ctx;
    struct consumed *seen = result;
    int64_t first[BENCH_PARTITIONS], end[BENCH_PARTITIONS], left = 0;
    rd_kafka_t *rk;
    int64_t began_ns = rc_clock_monotonic_ns();
    if (rc_bench_reader(task->bootstrap, task->topic, RD_KAFKA_OFFSET_BEGINNING, &rk, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_bench_ends(rk, task->topic, first, end, err);
    bool done[BENCH_PARTITIONS];
    for (int p = 0; status == RC_OK && p < BENCH_PARTITIONS; p++) {
        done[p] = end[p] <= first[p];
        left += !done[p];
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(rk);
    rd_kafka_message_t *batch[BATCH];
    int64_t last_ms = rc_clock_monotonic_ms();
    while (status == RC_OK && left > 0) {
        ssize_t n = rd_kafka_consume_batch_queue(queue, 100, batch, BATCH);
        for (ssize_t i = 0; i < n; i++) {
            const rd_kafka_message_t *m = batch[i];
            if (!m->err) {
                seen->records++;
                seen->key_bytes += (int64_t)m->key_len;
                seen->value_bytes += (int64_t)m->len;
                seen->sum += m->len ? ((const uint8_t *)m->payload)[m->len / 2] : 0;
                if (m->offset + 1 >= end[m->partition] && !done[m->partition]) {
                    done[m->partition] = true;
                    left--;
                }
            }
            rd_kafka_message_destroy(batch[i]);
        }
        if (n > 0)
            last_ms = rc_clock_monotonic_ms();
        else if (rc_clock_monotonic_ms() - last_ms > 500) {
            /* What compaction or a transaction's marks took away at the end never comes: the position tells. */
            rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(BENCH_PARTITIONS);
            rd_kafka_topic_partition_list_add_range(list, task->topic, 0, BENCH_PARTITIONS - 1);
            if (rd_kafka_position(rk, list) == RD_KAFKA_RESP_ERR_NO_ERROR)
                for (int i = 0; i < list->cnt; i++)
                    if (!done[list->elems[i].partition] && list->elems[i].offset >= end[list->elems[i].partition]) {
                        done[list->elems[i].partition] = true;
                        left--;
                    }
            rd_kafka_topic_partition_list_destroy(list);
            if (left > 0 && rc_clock_monotonic_ms() - last_ms > IDLE_LIMIT_MS)
                status =
                    rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "%s: nothing more comes after %lld records",
                                 task->topic, (long long)seen->records);
        }
    }
    seen->wall_s = (double)(rc_clock_monotonic_ns() - began_ns) / 1e9;
    rd_kafka_queue_destroy(queue);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return status;
}

rc_status rc_bench_bare_consume(const struct bench *bench, const char *topic, struct consumed *out, struct usage *usage,
                                struct rc_error *err) {
    struct task task = {.bootstrap = bench->bootstrap, .topic = topic};
    return rc_bench_do(bench, consume, &task, out, sizeof *out, usage, err);
}

static rc_status produce(const void *ctx, void *result, struct rc_error *err) {
    (void)result;
    const struct task *task = ctx;
    rd_kafka_t *rk;
    if (rc_bench_writer(task->bootstrap, &rk, err) != RC_OK)
        return RC_FAIL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, task->topic, NULL);
    char *bytes = rc_alloc(task->key_bytes + task->value_bytes + 16);
    for (size_t i = 0; i < task->key_bytes + task->value_bytes + 16; i++)
        bytes[i] = (char)(i * 131);
    rc_status status = RC_OK;
    for (int64_t i = 0; status == RC_OK && i < task->records; i++) {
        memcpy(bytes, &i, sizeof i);
        status = rc_bench_send(rk, topic, (int32_t)(i % BENCH_PARTITIONS), rc_span_of(bytes, task->key_bytes),
                               rc_span_of(bytes + task->key_bytes, task->value_bytes), 0, err);
        if (i % 1024 == 0)
            rd_kafka_poll(rk, 0);
    }
    if (status == RC_OK)
        status = rc_bench_flush(rk, err);
    free(bytes);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(rk);
    return status;
}

rc_status rc_bench_bare_produce(const struct bench *bench, int64_t records, size_t key_bytes, size_t value_bytes,
                                struct usage *usage, struct rc_error *err) {
    static const char topic[] = "bench.limit";
    struct task task = {.bootstrap = bench->bootstrap,
                        .topic = topic,
                        .records = records,
                        .key_bytes = key_bytes,
                        .value_bytes = value_bytes};
    int64_t arrived = 0;
    rc_bench_topics_delete(bench, topic);
    rc_status status = rc_bench_topic_new(bench, topic, err);
    if (status == RC_OK)
        status = rc_bench_do(bench, produce, &task, NULL, 0, usage, err);
    if (status == RC_OK)
        status = rc_bench_topic_records(bench, topic, &arrived, err);
    if (status == RC_OK && arrived != records)
        status =
            rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "the bare producer sent %lld records and %lld arrived",
                         (long long)records, (long long)arrived);
    rc_bench_topics_delete(bench, topic);
    return status;
}
