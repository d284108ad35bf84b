/* Records that cannot be used, on `<prefix>.deadletters`: key and value untouched, the record's own headers kept, and
 * behind them: reason, detail, source.topic, source.partition, source.offset, source.timestamp (ms), attempts, all as
 * text. The record's own timestamp stands in source.timestamp; that of the dead letter is the instant at which it
 * became one, or the topic's retention would take old records at once.
 *
 * The source is where the record first lay: one that was copied by the re-keyer, or sent again from here, keeps its
 * origin (codec/origin.h). So all dead letters of one record have the same source, and (source, attempts) tells them
 * apart; a second one with both the same comes from a crash and is the same dead letter.
 *
 * A mark says that a dead letter was sent again: no key, no value, `redriven` with the time, and the source and
 * attempts of what was sent. It lies in the partition of its dead letter, behind it, so retention takes it later. */
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
#define RC_DEADLETTER_REDRIVEN "redriven"

/* Largest record that the dead letter topic is made for: bigger ones lose their value there, which the detail says. */
#define RC_DEADLETTER_MAX_BYTES (64 * 1024 * 1024)

/* Sends the dead letter of `message` to `topic` (whole name), which has `n_partitions`: the same partition number as
 * the source's, modulo. `text`: "<reason>: <detail>" as codecs write it. Of a re-keyed copy the caller gives the
 * message as it was: topic and key of the original. */
rc_status rc_deadletter_send(struct rc_producer *producer, const char *topic, int32_t n_partitions,
                             const struct rc_message *message, const char *text, struct rc_error *err) RC_MUST_USE;

/* Parts "<reason>: <detail>"; the detail is borrowed from `text`. */
enum rc_reason rc_deadletter_reason(const char *text, const char **detail);

/* ---- reading them ---- */

struct rc_deadletter {
    bool mark; /* reason, detail and timestamp are those of no record */
    struct rc_span reason, detail, topic;
    int32_t partition;
    int64_t offset, timestamp_ms; /* RC_NO_TIMESTAMP: none */
    int32_t attempts;
};

/* Reads the headers of a record of the topic. False when it is neither a dead letter nor a mark: somebody else's. */
bool rc_deadletter_read(const struct rc_header *headers, size_t n, struct rc_deadletter *out);

/* How many of a dead letter's headers, from the front, are the own ones of the record that died. */
size_t rc_deadletter_own_headers(const struct rc_header *headers, size_t n);

/* Sends the mark of `letter`, which lies in partition `partition` of `topic`. */
rc_status rc_deadletter_mark(struct rc_producer *producer, const char *topic, int32_t partition,
                             const struct rc_deadletter *letter, struct rc_error *err) RC_MUST_USE;

#endif
