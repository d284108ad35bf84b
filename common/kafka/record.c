#include "kafka/record.h"

struct rc_record rc_message_record(const struct rc_message *message, struct rc_header *headers) {
    size_t n_headers = rc_message_headers(message, headers, RC_RECORD_HEADERS);
    struct rc_record record = {
        .key = message->key,
        .value = message->value,
        .null_value = message->null_value,
        .timestamp_ms = message->timestamp_ms,
        .headers = headers,
        .n_headers = n_headers < RC_RECORD_HEADERS ? n_headers : RC_RECORD_HEADERS,
        .topic = message->topic,
        .partition = message->partition,
        .offset = message->offset,
    };
    struct rc_origin origin;
    if (rc_origin_find(headers, record.n_headers, &origin) &&
        rc_span_equal(origin.topic, rc_span_str(message->topic))) {
        record.partition = origin.partition;
        record.offset = origin.offset;
    }
    return record;
}
