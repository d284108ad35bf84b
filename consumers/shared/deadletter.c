/* Dead letters. See deadletter.h. */
#include "consumers/shared/deadletter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "codec/origin.h"

#define HEADERS 7

enum rc_reason rc_deadletter_reason(const char *text, const char **detail) {
    const char *colon = strstr(text, ": ");
    enum rc_reason reason = rc_reason_of(rc_span_of(text, colon ? (size_t)(colon - text) : strlen(text)));
    *detail = colon ? colon + 2 : "";
    return reason;
}

static struct rc_header header(const char *name, struct rc_span value) {
    return (struct rc_header){.name = rc_span_str(name), .value = value};
}

/* Numbers of the headers that name a source, as text. */
struct source_text {
    char partition[16], offset[24], timestamp[24], attempts[16];
};

static size_t add_source(const struct rc_deadletter *letter, struct source_text *text, struct rc_header *out) {
    size_t n = 0;
    snprintf(text->partition, sizeof text->partition, "%" PRId32, letter->partition);
    snprintf(text->offset, sizeof text->offset, "%" PRId64, letter->offset);
    snprintf(text->timestamp, sizeof text->timestamp, "%" PRId64, letter->timestamp_ms);
    snprintf(text->attempts, sizeof text->attempts, "%" PRId32, letter->attempts);
    out[n++] = header(RC_DEADLETTER_TOPIC, letter->topic);
    out[n++] = header(RC_DEADLETTER_PARTITION, rc_span_str(text->partition));
    out[n++] = header(RC_DEADLETTER_OFFSET, rc_span_str(text->offset));
    if (letter->timestamp_ms != RC_NO_TIMESTAMP)
        out[n++] = header(RC_DEADLETTER_TIMESTAMP, rc_span_str(text->timestamp));
    out[n++] = header(RC_DEADLETTER_ATTEMPTS, rc_span_str(text->attempts));
    return n;
}

rc_status rc_deadletter_send(struct rc_producer *producer, const char *topic, int32_t n_partitions,
                             const struct rc_message *message, const char *text, struct rc_error *err) {
    const char *detail;
    enum rc_reason reason = rc_deadletter_reason(text, &detail);
    size_t n = rc_message_headers(message, NULL, 0);
    struct rc_header *headers = rc_calloc(n + HEADERS, sizeof *headers);
    rc_message_headers(message, headers, n);
    struct rc_deadletter letter = {.topic = rc_span_str(message->topic),
                                   .partition = message->partition,
                                   .offset = message->offset,
                                   .timestamp_ms = message->timestamp_ms,
                                   .attempts = 1};
    struct rc_origin origin;
    if (rc_origin_find(headers, n, &origin) && rc_span_equal(origin.topic, letter.topic)) {
        n = rc_origin_strip(headers, n);
        letter.partition = origin.partition;
        letter.offset = origin.offset;
        letter.attempts = origin.attempts;
    }
    size_t at_detail = n + 1;
    headers[n++] = header(RC_DEADLETTER_REASON, rc_span_str(rc_reason_text(reason)));
    headers[n++] = header(RC_DEADLETTER_DETAIL, rc_span_str(detail));
    struct source_text numbers;
    n += add_source(&letter, &numbers, headers + n);
    struct rc_outgoing record = {
        .topic = topic,
        .partition = letter.partition % n_partitions,
        .key = message->key,
        .value = message->value,
        .null_key = message->null_key,
        .null_value = message->null_value,
        .timestamp_ms = rc_clock_wall_ms(),
        .headers = headers,
        .n_headers = n,
    };
    rc_status status = rc_producer_send(producer, &record, err);
    if (status != RC_OK && err->class == RC_CLASS_POISON) {
        /* Too large even for the dead letter topic: the place where it lies is kept, its bytes stay there. */
        char whole[256];
        snprintf(whole, sizeof whole, "%.150s (the value of %zu bytes does not fit into a dead letter: see the source)",
                 detail, message->value.len);
        headers[at_detail] = header(RC_DEADLETTER_DETAIL, rc_span_str(whole));
        record.value = rc_span_of("", 0);
        record.null_value = true;
        status = rc_producer_send(producer, &record, err);
    }
    free(headers);
    return status;
}

/* ---- reading ---- */

bool rc_deadletter_read(const struct rc_header *headers, size_t n, struct rc_deadletter *out) {
    const struct rc_header *reason = rc_header_find(headers, n, RC_DEADLETTER_REASON),
                           *detail = rc_header_find(headers, n, RC_DEADLETTER_DETAIL),
                           *topic = rc_header_find(headers, n, RC_DEADLETTER_TOPIC),
                           *redriven = rc_header_find(headers, n, RC_DEADLETTER_REDRIVEN);
    int64_t partition, offset, attempts, timestamp_ms = RC_NO_TIMESTAMP;
    /* A record that died may have a header `redriven` of its own; a mark has no other headers. */
    bool mark = redriven && redriven == headers && !reason;
    if (!topic || (!reason && !mark) || !rc_header_number(headers, n, RC_DEADLETTER_PARTITION, INT32_MAX, &partition) ||
        !rc_header_number(headers, n, RC_DEADLETTER_OFFSET, INT64_MAX, &offset) ||
        !rc_header_number(headers, n, RC_DEADLETTER_ATTEMPTS, INT32_MAX - 1, &attempts))
        return false;
    (void)rc_header_number(headers, n, RC_DEADLETTER_TIMESTAMP, INT64_MAX, &timestamp_ms);
    *out = (struct rc_deadletter){.mark = mark,
                                  .reason = reason ? reason->value : rc_span_of("", 0),
                                  .detail = detail ? detail->value : rc_span_of("", 0),
                                  .topic = topic->value,
                                  .partition = (int32_t)partition,
                                  .offset = offset,
                                  .timestamp_ms = timestamp_ms,
                                  .attempts = (int32_t)attempts};
    return true;
}

size_t rc_deadletter_own_headers(const struct rc_header *headers, size_t n) {
    /* Ours begin with the last `reason` (rc_deadletter_send). */
    const struct rc_header *reason = rc_header_find(headers, n, RC_DEADLETTER_REASON);
    return reason ? (size_t)(reason - headers) : n;
}

rc_status rc_deadletter_mark(struct rc_producer *producer, const char *topic, int32_t partition,
                             const struct rc_deadletter *letter, struct rc_error *err) {
    char now[24];
    snprintf(now, sizeof now, "%" PRId64, rc_clock_wall_ms());
    struct source_text numbers;
    struct rc_header headers[HEADERS] = {header(RC_DEADLETTER_REDRIVEN, rc_span_str(now))};
    size_t n = 1 + add_source(letter, &numbers, headers + 1);
    struct rc_outgoing record = {.topic = topic,
                                 .partition = partition,
                                 .null_key = true,
                                 .null_value = true,
                                 .timestamp_ms = rc_clock_wall_ms(),
                                 .headers = headers,
                                 .n_headers = n};
    return rc_producer_send(producer, &record, err);
}
