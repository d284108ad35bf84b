/* A producer: idempotent, acks=all, the partition given by the caller (rc_person_key_partition), delivery reports
 * counted.
 *
 * Sending never fails for want of room and never drops: what librdkafka should not have yet, or has no room for, waits
 * in the producer, in order, until rc_producer_poll or rc_producer_flush hand it over; rc_producer_full says when that
 * is too much. A caller reads no more input while it is full (back-pressure), so what waits is bounded. Records are retried until the broker takes them; only errors
 * that no retry mends come back, through rc_producer_poll. */
#ifndef RC_KAFKA_PRODUCER_H
#define RC_KAFKA_PRODUCER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"
#include "base/span.h"
#include "codec/decode.h"
#include "kafka/source.h"

struct rc_producer;

/* A record that the broker refuses for ever (too large, invalid) is given to this function from rc_producer_poll,
 * once; spans borrowed for the call. When it returns true the record is dealt with; otherwise (or without such a
 * function) it is an error of poll. */
typedef bool (*rc_refused_fn)(void *ctx, const char *topic, int32_t partition, struct rc_span key, struct rc_span value,
                              const struct rc_error *err);

struct rc_producer_options {
    const char *name;        /* for logs and as part of client.id */
    int wake_fd;             /* eventfd that is written to when delivery reports wait; -1: none */
    size_t max_record_bytes; /* message.max.bytes; 0: 1 MiB + room for what goes around the value */
    rc_refused_fn refused;   /* may be NULL */
    void *ctx;
    /* transactional.id: everything that is sent goes into transactions, of which readers see all or nothing, see below;
     * NULL: none. */
    const char *transaction;
};

/* Does not wait for the broker. `config` borrowed for the call. */
rc_status rc_producer_open(const struct rc_config *config, const struct rc_producer_options *options,
                           struct rc_producer **out, struct rc_error *err) RC_MUST_USE;
/* Gives up what is not acknowledged yet (flush first), and aborts the transaction that is open. */
void rc_producer_close(struct rc_producer *producer);

struct rc_outgoing {
    const char *topic; /* kept by the producer after first use: a program has few topics */
    int32_t partition;
    struct rc_span key, value;       /* copied */
    bool null_key, null_value;       /* null_value: a tombstone */
    int64_t timestamp_ms;            /* RC_NO_TIMESTAMP: now */
    const struct rc_header *headers; /* copied */
    size_t n_headers;
};

/* Takes the record. Errors only for what can never be sent (unknown partition, too large: POISON; fenced; fatal). */
rc_status rc_producer_send(struct rc_producer *producer, const struct rc_outgoing *record, struct rc_error *err)
    RC_MUST_USE;

/* True when the caller should stop reading until rc_producer_poll has made room. */
bool rc_producer_full(const struct rc_producer *producer);

/* While `bulk`, records are many and none is awaited: they wait up to 25 ms for others to go with, which takes a fraction of the CPU time. What changes
 * over is held back until all before it is acknowledged, so order stays. Does nothing with transactions. */
void rc_producer_set_bulk(struct rc_producer *producer, bool bulk);

/* Serves delivery reports and moves what waits. Never blocks with timeout 0. Fails when a record was refused or the
 * producer is fenced or broken; after FENCED and FATAL nothing more can be sent. */
rc_status rc_producer_poll(struct rc_producer *producer, int timeout_ms, struct rc_error *err) RC_MUST_USE;

/* A point in the stream of sent records; rc_producer_passed is true once every record sent before it is acknowledged
 * by all in-sync replicas. Many marks may be open at a time. */
uint64_t rc_producer_mark(struct rc_producer *producer);
bool rc_producer_passed(const struct rc_producer *producer, uint64_t mark);

/* Records sent and not acknowledged yet; records acknowledged since open. */
size_t rc_producer_outstanding(const struct rc_producer *producer);
uint64_t rc_producer_acked(const struct rc_producer *producer);

/* Waits until everything is acknowledged. RETRY when `timeout_ms` passes first. */
rc_status rc_producer_flush(struct rc_producer *producer, int timeout_ms, struct rc_error *err) RC_MUST_USE;

/* ---- transactions ----
 *
 * Only for a producer with `transaction`. The first record after a commit begins a transaction. A transaction that is not
 * committed within transaction.timeout.ms (10 s) is aborted by the broker. When anything fails that the transaction cannot
 * survive, its records will never be seen, and this producer is of no more use: the error is FENCED, which tells the
 * consumer to begin again from its last commit. */

/* Puts a former producer of the same name out of action and waits until its transaction, if one was left open, is settled.
 * Before the first record. RETRY when `timeout_ms` passes first: call again. */
rc_status rc_producer_init(struct rc_producer *producer, int timeout_ms, struct rc_error *err) RC_MUST_USE;

/* Makes everything that was sent visible, together with these offsets of the consumer's group (which refuses a member
 * that is no longer in it; without offsets `source` may be NULL). Does nothing when nothing was sent and `n` is 0. RETRY when `timeout_ms` passes first: call
 * again with the same offsets, and send nothing in between. */
rc_status rc_producer_commit(struct rc_producer *producer, const struct rc_kafka_source *source,
                             const struct rc_offset *offsets, size_t n, int timeout_ms, struct rc_error *err)
    RC_MUST_USE;

/* Whether something was sent that is not committed. */
bool rc_producer_uncommitted(const struct rc_producer *producer);

/* The offset after the last record that this producer has had acknowledged in the partition, −1 when there is none. */
int64_t rc_producer_end(const struct rc_producer *producer, const char *topic, int32_t partition);

/* Number of partitions of `topic`, from metadata; asked once and kept. RETRY while the broker cannot be reached,
 * FATAL (exit 69) when there is no such topic. May wait up to `timeout_ms`. */
rc_status rc_producer_partitions(struct rc_producer *producer, const char *topic, int timeout_ms, int32_t *out,
                                 struct rc_error *err) RC_MUST_USE;

#endif
