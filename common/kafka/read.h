/* Reading a topic, or one partition, from some offset to its present end, once: definitions before a start, a
 * compacted topic for `members`, the own output after a crash. The end is asked for first, so it returns although
 * others go on writing. */
#ifndef RC_KAFKA_READ_H
#define RC_KAFKA_READ_H

#include "kafka/source.h"

#define RC_ALL_PARTITIONS (-1)

/* Called per message, in order of offset within a partition. False stops the reading (which is no error). */
typedef bool (*rc_read_fn)(void *ctx, const struct rc_message *message);

/* Reads everything that is committed: partition `partition` (or RC_ALL_PARTITIONS) of `topic` from offset `from` (RC_START_BEGINNING, or an offset;
 * an offset before the first one that is there begins at that one) to the end. `end` (may be NULL, only for a single
 * partition): where it ended. RETRY (exit 69) when nothing is heard from the broker for `timeout_ms`; a topic that is
 * not there reads as empty. */
rc_status rc_kafka_read(const struct rc_config *config, const char *topic, int32_t partition, int64_t from,
                        int timeout_ms, rc_read_fn fn, void *ctx, int64_t *end, struct rc_error *err) RC_MUST_USE;

/* The same for a new owner's own output: to the end of what is written. A transaction that the former owner left open is
 * waited for; the broker aborts it after its transaction.timeout.ms. */
rc_status rc_kafka_read_written(const struct rc_config *config, const char *topic, int32_t partition, int64_t from,
                                int timeout_ms, rc_read_fn fn, void *ctx, int64_t *end, struct rc_error *err)
    RC_MUST_USE;

#endif
