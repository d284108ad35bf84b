/* Records that cannot be used, on `<prefix>.deadletters`: key, value and timestamp untouched, the record's own
 * headers kept, and behind them: reason, detail, source.topic, source.partition, source.offset, source.timestamp
 * (ms), attempts, all as text. */
#ifndef RC_SHARED_DEADLETTER_H
#define RC_SHARED_DEADLETTER_H

#include "codec/reasons.h"
#include "kafka/producer.h"
#include "kafka/source.h"

#define RC_DEADLETTER_REASON "reason"
#define RC_DEADLETTER_DETAIL "detail"
#define RC_DEADLETTER_TOPIC "source.topic"
#define RC_DEADLETTER_PARTITION "source.partition"
#define RC_DEADLETTER_OFFSET "source.offset"
#define RC_DEADLETTER_TIMESTAMP "source.timestamp"
#define RC_DEADLETTER_ATTEMPTS "attempts"

/* Largest record that the dead letter topic is made for: bigger ones lose their value there, which the detail says. */
#define RC_DEADLETTER_MAX_BYTES (64 * 1024 * 1024)

/* Sends the dead letter of `message` to `topic` (whole name), which has `n_partitions`: the same partition number as
 * the source's, modulo. `text`: "<reason>: <detail>" as codecs write it. */
rc_status rc_deadletter_send(struct rc_producer *producer, const char *topic, int32_t n_partitions,
                             const struct rc_message *message, const char *text, int attempts, struct rc_error *err)
    RC_MUST_USE;

/* Parts "<reason>: <detail>"; the detail is borrowed from `text`. */
enum rc_reason rc_deadletter_reason(const char *text, const char **detail);

#endif
