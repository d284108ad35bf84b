/* Dead letters. See deadletter.h. */
#include "consumers/shared/deadletter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

enum rc_reason rc_deadletter_reason(const char *text, const char **detail) {
    const char *colon = strstr(text, ": ");
    enum rc_reason reason = rc_reason_of(rc_span_of(text, colon ? (size_t)(colon - text) : strlen(text)));
    *detail = colon ? colon + 2 : "";
    return reason;
}

static struct rc_header header(const char *name, const char *value) {
    return (struct rc_header){.name = rc_span_str(name), .value = rc_span_str(value)};
}

rc_status rc_deadletter_send(struct rc_producer *producer, const char *topic, int32_t n_partitions,
                             const struct rc_message *message, const char *text, int attempts, struct rc_error *err) {
    const char *detail;
    enum rc_reason reason = rc_deadletter_reason(text, &detail);
    size_t n_own = rc_message_headers(message, NULL, 0);
    struct rc_header *headers = rc_calloc(n_own + 7, sizeof *headers);
    rc_message_headers(message, headers, n_own);
    char partition[16], offset[24], timestamp[24], tries[16];
    snprintf(partition, sizeof partition, "%d", message->partition);
    snprintf(offset, sizeof offset, "%lld", (long long)message->offset);
    snprintf(timestamp, sizeof timestamp, "%lld", (long long)message->timestamp_ms);
    snprintf(tries, sizeof tries, "%d", attempts);
    struct rc_header *at = headers + n_own;
    *at++ = header(RC_DEADLETTER_REASON, rc_reason_text(reason));
    *at++ = header(RC_DEADLETTER_DETAIL, detail);
    *at++ = header(RC_DEADLETTER_TOPIC, message->topic);
    *at++ = header(RC_DEADLETTER_PARTITION, partition);
    *at++ = header(RC_DEADLETTER_OFFSET, offset);
    if (message->timestamp_ms != RC_NO_TIMESTAMP)
        *at++ = header(RC_DEADLETTER_TIMESTAMP, timestamp);
    *at++ = header(RC_DEADLETTER_ATTEMPTS, tries);
    struct rc_outgoing record = {
        .topic = topic,
        .partition = message->partition % n_partitions,
        .key = message->key,
        .value = message->value,
        .null_key = message->null_key,
        .null_value = message->null_value,
        .timestamp_ms = message->timestamp_ms,
        .headers = headers,
        .n_headers = (size_t)(at - headers),
    };
    rc_status status = rc_producer_send(producer, &record, err);
    if (status != RC_OK && err->class == RC_CLASS_POISON) {
        /* Too large even for the dead letter topic: the place where it lies is kept, its bytes stay there. */
        char whole[256];
        snprintf(whole, sizeof whole, "%.150s (the value of %zu bytes does not fit into a dead letter: see the source)",
                 detail, message->value.len);
        headers[n_own + 1] = header(RC_DEADLETTER_DETAIL, whole);
        record.value = rc_span_of("", 0);
        record.null_value = true;
        status = rc_producer_send(producer, &record, err);
    }
    free(headers);
    return status;
}
