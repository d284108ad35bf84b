/* Bounded reading: ends are asked for first, then partitions are read up to them. */
#include "kafka/read.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "kafka/embedded.h"
#include "kafka/internal.h"
#include "kafka/topics.h"

/* The end is waited for: it comes with an empty fetch when it lies behind records that come to nobody. */
#define FETCH_WAIT_MS 10

/* Bounds of the partitions to read; n 0 when the topic is not there. */
static rc_status bounds(struct rc_admin *admin, const char *topic, int32_t partition, int64_t from, int timeout_ms,
                        struct rc_read_span **out, int32_t *n, struct rc_error *err) {
    int32_t count;
    if (rc_topic_partitions(admin, topic, timeout_ms, &count, err) != RC_OK)
        return RC_FAIL;
    struct rc_read_span *spans = rc_calloc((size_t)count + 1, sizeof *spans);
    for (int32_t p = 0; p < count; p++) {
        spans[p] = (struct rc_read_span){.topic = topic, .partition = p};
        if (partition != RC_ALL_PARTITIONS && p != partition)
            continue;
        int64_t low;
        if (rc_admin_bounds(admin, topic, p, timeout_ms, &low, &spans[p].end, err) != RC_OK) {
            free(spans);
            return RC_FAIL;
        }
        spans[p].from = from > low ? from : low;
    }
    *out = spans;
    *n = count;
    return RC_OK;
}

static rc_status assign(struct rc_kafka_source *source, struct rc_read_span *spans, size_t n, struct rc_error *err) {
    struct rc_source_partition *partitions = rc_calloc(n + 1, sizeof *partitions);
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        if (!spans[i].done)
            partitions[left++] = (struct rc_source_partition){
                .topic = spans[i].topic, .partition = spans[i].partition, .start = spans[i].from, .ctx = &spans[i]};
    rc_status status = rc_source_assign(source, partitions, left, err);
    free(partitions);
    return status;
}

/* A partition is read when its position has reached its end: by a message, or by the end-of-partition that stands
 * behind records that come to nobody. */
static void settle(struct rc_kafka_source *source, struct rc_read_span *spans, size_t n, size_t *left) {
    for (size_t i = 0; i < n; i++) {
        int64_t position, end;
        if (!spans[i].done &&
            rc_source_position(source, spans[i].topic, spans[i].partition, &position, &end) == RC_OK &&
            position >= spans[i].end) {
            spans[i].done = true;
            (*left)--;
        }
    }
}

static rc_status run(struct rc_kafka_source *source, struct rc_read_span *spans, size_t n, size_t left, int timeout_ms,
                     rc_read_fn fn, void *ctx, struct rc_error *err) {
    int64_t heard = rc_clock_monotonic_ms();
    bool go_on = true;
    while (left > 0 && go_on) {
        struct rc_message message;
        struct rc_error problem;
        enum rc_polled polled = rc_source_poll(source, 100, &message, &problem);
        int64_t now = rc_clock_monotonic_ms();
        if (polled == RC_POLLED_MESSAGE) {
            heard = now;
            struct rc_read_span *span = message.ctx;
            if (!span->done && message.offset < span->end)
                go_on = fn(ctx, &message);
            if (!span->done && message.offset + 1 >= span->end) {
                span->done = true;
                left--;
            }
            rc_message_release(&message);
        } else if (polled == RC_POLLED_EVENT) {
            settle(source, spans, n, &left);
        } else if (polled == RC_POLLED_ERROR && problem.class != RC_CLASS_RETRY) {
            *err = problem;
            return RC_FAIL;
        }
        if (left > 0 && now - heard > timeout_ms)
            return rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE,
                                "reading %s: the broker has said nothing for %d ms; a transaction that was left open "
                                "there is aborted before long",
                                spans[0].topic, timeout_ms);
    }
    return RC_OK;
}

rc_status rc_kafka_read_spans(const struct rc_config *config, struct rc_read_span *spans, size_t n, int timeout_ms,
                              rc_read_fn fn, void *ctx, struct rc_error *err) {
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        spans[i].done = spans[i].from >= spans[i].end;
        left += !spans[i].done;
    }
    if (left == 0)
        return RC_OK;
    struct rc_source_options options = {.name = "read", .wake_fd = -1, .fetch_wait_ms = FETCH_WAIT_MS};
    struct rc_kafka_source *source;
    if (rc_source_open(config, &options, &source, err) != RC_OK)
        return RC_FAIL;
    rc_status status = assign(source, spans, n, err);
    if (status == RC_OK)
        status = run(source, spans, n, left, timeout_ms, fn, ctx, err);
    rc_source_close(source);
    return status;
}

/* Stretches of one topic stand beside each other, so it is looked up once. */
rc_status rc_kafka_read_bounds(const struct rc_config *config, struct rc_read_span *spans, size_t n, int64_t since_ms,
                               int64_t *first, int timeout_ms, struct rc_error *err) {
    struct rc_admin *admin;
    if (rc_admin_open_as(config, true, &admin, err) != RC_OK)
        return RC_FAIL;
    rc_status status = RC_OK;
    const char *topic = NULL;
    int32_t count = 0;
    for (size_t i = 0; status == RC_OK && i < n; i++) {
        struct rc_read_span *span = &spans[i];
        if (topic != span->topic) {
            topic = span->topic;
            status = rc_topic_partitions(admin, topic, timeout_ms, &count, err);
        }
        span->from = span->end = 0;
        if (status == RC_OK && span->partition < count)
            status = rc_admin_bounds(admin, topic, span->partition, timeout_ms, &span->from, &span->end, err);
        if (first)
            first[i] = span->from;
        if (status == RC_OK && since_ms != INT64_MIN && span->from < span->end && !rc_embedded_used(config)) {
            int64_t at;
            status = rc_admin_offset_at(admin, topic, span->partition, since_ms, timeout_ms, &at, err);
            if (status == RC_OK && (at < 0 || at > span->end))
                at = span->end;
            if (status == RC_OK && at > span->from)
                span->from = at;
        }
    }
    rc_admin_close(admin);
    return status;
}

static rc_status read_all(const struct rc_config *config, bool committed, const char *topic, int32_t partition,
                          int64_t from, int timeout_ms, rc_read_fn fn, void *ctx, int64_t *end, struct rc_error *err) {
    struct rc_admin *admin;
    if (rc_admin_open_as(config, committed, &admin, err) != RC_OK)
        return RC_FAIL;
    struct rc_read_span *spans = NULL;
    int32_t n = 0;
    rc_status status = bounds(admin, topic, partition, from, timeout_ms, &spans, &n, err);
    rc_admin_close(admin);
    if (status != RC_OK)
        return RC_FAIL;
    status = rc_kafka_read_spans(config, spans, (size_t)n, timeout_ms, fn, ctx, err);
    if (status == RC_OK && end && partition != RC_ALL_PARTITIONS)
        *end = partition < n ? spans[partition].end : 0;
    free(spans);
    return status;
}

rc_status rc_kafka_read(const struct rc_config *config, const char *topic, int32_t partition, int64_t from,
                        int timeout_ms, rc_read_fn fn, void *ctx, int64_t *end, struct rc_error *err) {
    return read_all(config, true, topic, partition, from, timeout_ms, fn, ctx, end, err);
}

rc_status rc_kafka_read_written(const struct rc_config *config, const char *topic, int32_t partition, int64_t from,
                                int timeout_ms, rc_read_fn fn, void *ctx, int64_t *end, struct rc_error *err) {
    return read_all(config, false, topic, partition, from, timeout_ms, fn, ctx, end, err);
}
