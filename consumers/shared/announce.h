/* A consumer makes itself known in `<prefix>.processes` (compacted): how `status` and `explain` find it. Key: the
 * instance, "<process->instance>-<role>"; value: JSON with role, host, port, partitions, since (RFC 3339), instance,
 * and what the consumer adds for its guard (ingest: `versions`, materialize: `audiences`); a tombstone when it stops in order. Who died without one does not answer on its port. */
#ifndef RC_SHARED_ANNOUNCE_H
#define RC_SHARED_ANNOUNCE_H

#include <jansson.h>

#include "base/process.h"
#include "kafka/producer.h"

struct rc_announcer;

/* `producer` borrowed. Sends nothing yet. */
rc_status rc_announcer_open(const struct rc_process *process, const char *role, struct rc_producer *producer,
                            struct rc_announcer **out, struct rc_error *err) RC_MUST_USE;
/* From now on the record says `value` under `key` as well (told by the next tell). */
void rc_announcer_add(struct rc_announcer *announcer, const char *key, const json_t *value);
/* Tells which partitions (numbers) it holds now; sends only when that differs from what it said last (the first call
 * always sends). */
rc_status rc_announcer_tell(struct rc_announcer *announcer, const int32_t *partitions, size_t n, struct rc_error *err)
    RC_MUST_USE;
/* The producer that it tells with, which is no part of a transaction: for what is not told in one. Borrowed. */
struct rc_producer *rc_announcer_producer(struct rc_announcer *announcer);
/* Sends the tombstone (flush the producer afterwards) and frees. */
void rc_announcer_close(struct rc_announcer *announcer);

#endif
