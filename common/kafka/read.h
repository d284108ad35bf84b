/* Reading a topic, or one partition, from some offset to its present end, once: definitions before a start, a
 * compacted topic for `members`, the own output after a crash. The end is asked for first, so it returns although
 * others go on writing. */
#ifndef RC_KAFKA_READ_H
#define RC_KAFKA_READ_H

#include "kafka/source.h"

/* A stretch of one partition: offsets from ≤ o < end. */
struct rc_read_span {
    const char *topic; /* borrowed */
    int32_t partition;
    int64_t from, end;
    bool done; /* the reading's own */
};

/* Fills `from` and `end` of `n` stretches: what is there and committed at present, from the first record that is not older than
 * `since_ms` (its Kafka timestamp; INT64_MIN: from the first one that is there; against the embedded broker, which cannot be asked, always)
 * on. `first` (may be NULL): the first offset that is there of each, whatever its time. A topic or partition that is not there is empty, with
 * `first` 0. */
rc_status rc_kafka_read_bounds(const struct rc_config *config, struct rc_read_span *spans, size_t n, int64_t since_ms,
                               int64_t *first, int timeout_ms, struct rc_error *err) RC_MUST_USE;

#define RC_ALL_PARTITIONS (-1)

/* Called per message, in order of offset within a partition. False stops the reading (which is no error). */
typedef bool (*rc_read_fn)(void *ctx, const struct rc_message *message);

/* Reads everything that is committed: partition `partition` (or RC_ALL_PARTITIONS) of `topic` from offset `from` (RC_START_BEGINNING, or an offset;
 * an offset before the first one that is there begins at that one) to the end. `end` (may be NULL, only for a single
 * partition): where it ended. RETRY (exit 69) when nothing is heard from the broker for `timeout_ms`; a topic that is
 * not there reads as empty. */
rc_status rc_kafka_read(const struct rc_config *config, const char *topic, int32_t partition, int64_t from,
                        int timeout_ms, rc_read_fn fn, void *ctx, int64_t *end, struct rc_error *err) RC_MUST_USE;

/* Reads several stretches at once, those of one partition in order of offset, others as they come. RETRY as above. */
rc_status rc_kafka_read_spans(const struct rc_config *config, struct rc_read_span *spans, size_t n, int timeout_ms,
                              rc_read_fn fn, void *ctx, struct rc_error *err) RC_MUST_USE;

/* rc_kafka_read for a new owner's own output: to the end of what is written. A transaction that the former owner left open is
 * waited for; the broker aborts it after its transaction.timeout.ms. */
rc_status rc_kafka_read_written(const struct rc_config *config, const char *topic, int32_t partition, int64_t from,
                                int timeout_ms, rc_read_fn fn, void *ctx, int64_t *end, struct rc_error *err)
    RC_MUST_USE;

#endif
