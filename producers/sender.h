/* The one way in which events leave a producer: to the partition of the person key, in chunks that are acknowledged as a whole.
 *
 * A chunk is a run of records that is handed to the broker at once (linger is longer than a chunk takes to make, and the flush at its end
 * sends what waits): all events of one person and millisecond that are in one chunk reach a partition in one batch, so no
 * consumer can see half of a millisecond. The caller says where a chunk may end.
 *
 * Against the embedded broker, which trims a partition at 5 MiB whether or not it was read, chunks wait for the consumers: what is unread in
 * any partition of the way (dataset → segments → memberships) stays under a ceiling. */
#ifndef RC_PRODUCERS_SENDER_H
#define RC_PRODUCERS_SENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"
#include "base/signal.h"
#include "base/span.h"

struct rc_sender;

struct rc_sender_options {
    const struct rc_config *config; /* borrowed for the sender's life */
    const char *topic;              /* borrowed for the sender's life */
    int64_t import_ms;              /* the records are of this import (codec/origin.h); 0: of none */
    const struct rc_stop *stop;
};

/* Waits for the broker's answer about the topic: RETRY (exit 69) when there is none, FATAL when there is no such topic. */
rc_status rc_sender_open(const struct rc_sender_options *options, struct rc_sender **out, struct rc_error *err)
    RC_MUST_USE;
/* Gives up what is not acknowledged (flush first). */
void rc_sender_close(struct rc_sender *sender);

/* Takes a record; both spans are copied. Blocks only when the queue is full. */
rc_status rc_sender_send(struct rc_sender *sender, struct rc_span key, struct rc_span value, struct rc_error *err)
    RC_MUST_USE;

/* True when the chunk is large enough to end at the next place where it may. */
bool rc_sender_wants_flush(const struct rc_sender *sender);

/* Ends the chunk: sends what waits at once and returns when all of it is acknowledged. Retries until the broker is back, or the stop is
 * requested and 10 s have passed since (RETRY). */
rc_status rc_sender_flush(struct rc_sender *sender, struct rc_error *err) RC_MUST_USE;

/* Records acknowledged since open. */
uint64_t rc_sender_acked(const struct rc_sender *sender);

#endif
