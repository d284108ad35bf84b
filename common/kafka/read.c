/* Bounded reading: ends are asked for first, then partitions are read up to them. */
#include "kafka/read.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "kafka/internal.h"
#include "kafka/topics.h"

/* The end is waited for: it comes with an empty fetch when it lies behind records that come to nobody. */
#define FETCH_WAIT_MS 10

struct span_of_partition {
    int64_t from, end;
    bool done;
};

/* Bounds of the partitions to read; n 0 when the topic is not there. */
static rc_status bounds(struct rc_admin *admin, const char *topic, int32_t partition, int64_t from, int timeout_ms,
                        struct span_of_partition **out, int32_t *n, struct rc_error *err) {
    int32_t count;
    if (rc_topic_partitions(admin, topic, timeout_ms, &count, err) != RC_OK)
        return RC_FAIL;
    struct span_of_partition *spans = rc_calloc((size_t)count + 1, sizeof *spans);
    for (int32_t p = 0; p < count; p++) {
        if (partition != RC_ALL_PARTITIONS && p != partition) {
            spans[p].done = true;
            continue;
        }
        int64_t low, high;
        if (rc_admin_bounds(admin, topic, p, timeout_ms, &low, &high, err) != RC_OK) {
            free(spans);
            return RC_FAIL;
        }
        spans[p].from = from > low ? from : low;
        spans[p].end = high;
        spans[p].done = spans[p].from >= high;
    }
    *out = spans;
    *n = count;
    return RC_OK;
}

static rc_status assign(struct rc_kafka_source *source, const char *topic, const struct span_of_partition *spans,
                        int32_t n, size_t *left, struct rc_error *err) {
    struct rc_source_partition *partitions = rc_calloc((size_t)n + 1, sizeof *partitions);
    *left = 0;
    for (int32_t p = 0; p < n; p++)
        if (!spans[p].done)
            partitions[(*left)++] =
                (struct rc_source_partition){.topic = topic, .partition = p, .start = spans[p].from};
    rc_status status = *left ? rc_source_assign(source, partitions, *left, err) : RC_OK;
    free(partitions);
    return status;
}

/* A partition is read when its position has reached its end: by a message, or by the end-of-partition that stands
 * behind records that come to nobody. */
static void settle(struct rc_kafka_source *source, const char *topic, struct span_of_partition *spans, int32_t n,
                   size_t *left) {
    for (int32_t p = 0; p < n; p++) {
        int64_t position, end;
        if (!spans[p].done && rc_source_position(source, topic, p, &position, &end) == RC_OK &&
            position >= spans[p].end) {
            spans[p].done = true;
            (*left)--;
        }
    }
}

static rc_status run(struct rc_kafka_source *source, const char *topic, struct span_of_partition *spans, int32_t n,
                     size_t left, int timeout_ms, rc_read_fn fn, void *ctx, struct rc_error *err) {
    int64_t heard = rc_clock_monotonic_ms();
    bool go_on = true;
    while (left > 0 && go_on) {
        struct rc_message message;
        struct rc_error problem;
        enum rc_polled polled = rc_source_poll(source, 100, &message, &problem);
        int64_t now = rc_clock_monotonic_ms();
        if (polled == RC_POLLED_MESSAGE) {
            heard = now;
            struct span_of_partition *span = &spans[message.partition];
            if (!span->done && message.offset < span->end)
                go_on = fn(ctx, &message);
            if (!span->done && message.offset + 1 >= span->end) {
                span->done = true;
                left--;
            }
            rc_message_release(&message);
        } else if (polled == RC_POLLED_EVENT) {
            settle(source, topic, spans, n, &left);
        } else if (polled == RC_POLLED_ERROR && problem.class != RC_CLASS_RETRY) {
            *err = problem;
            return RC_FAIL;
        }
        if (left > 0 && now - heard > timeout_ms)
            return rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE,
                                "reading %s: the broker has said nothing for %d ms; a transaction that was left open "
                                "there is aborted before long",
                                topic, timeout_ms);
    }
    return RC_OK;
}

static rc_status read_all(const struct rc_config *config, bool committed, const char *topic, int32_t partition,
                          int64_t from, int timeout_ms, rc_read_fn fn, void *ctx, int64_t *end, struct rc_error *err) {
    struct rc_admin *admin;
    if (rc_admin_open_as(config, committed, &admin, err) != RC_OK)
        return RC_FAIL;
    struct span_of_partition *spans = NULL;
    int32_t n = 0;
    rc_status status = bounds(admin, topic, partition, from, timeout_ms, &spans, &n, err);
    rc_admin_close(admin);
    if (status != RC_OK)
        return RC_FAIL;
    size_t left = 0;
    for (int32_t p = 0; p < n; p++)
        left += !spans[p].done;
    if (left > 0) {
        struct rc_source_options options = {.name = "read", .wake_fd = -1, .fetch_wait_ms = FETCH_WAIT_MS};
        struct rc_kafka_source *source;
        status = rc_source_open(config, &options, &source, err);
        if (status == RC_OK) {
            status = assign(source, topic, spans, n, &left, err);
            if (status == RC_OK)
                status = run(source, topic, spans, n, left, timeout_ms, fn, ctx, err);
            rc_source_close(source);
        }
    }
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
