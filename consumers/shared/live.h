/* The word that a segment is live in a partition, on `<prefix>.segments` itself.
 *
 * The race: a segment whose history is still being read has told nothing yet, and looks like one without members. An audience that is published
 * once, or at 02:00, must not take that for an answer. So when the history is read and the members are told, ingest tells behind them (in the
 * same partition, by the same producer) a change of a person that nobody is, `_rollcall:<partition>.<k>`: realized in `_live.<segment>`. It is a
 * record like any other: compaction keeps the last one, versions only grow, a reader of persons sees one that is in no dataset.
 *
 *   told once for a segment and partition, as soon as it is live there: a new one when its history is read, one that was there before at once
 *   exited when the segment is deleted, so that another one under its id waits again
 * A segment whose new version warms up beside the old one stays live. Telling it again does no harm. Where a partition has no such
 * record of any segment (an older ingest), all of its segments count as live. Pure. */
#ifndef RC_SHARED_LIVE_H
#define RC_SHARED_LIVE_H

#include "base/buf.h"
#include "base/error.h"
#include "codec/membership.h"

#define RC_LIVE_NAMESPACE "_rollcall"
#define RC_LIVE_PREFIX "_live."

/* Appends the person key of the markers of `partition` (of `n_partitions`), `_rollcall:<partition>.<k>`: with the least k whose key belongs into
 * that partition, as every record's key does. Cost: about n_partitions hashes. */
rc_status rc_live_person_add(struct rc_buf *out, int32_t partition, int32_t n_partitions) RC_MUST_USE;

/* True for the person key of a marker. */
bool rc_live_is_person(struct rc_span person_key);

/* Appends the name under which the marker of a segment is told, `_live.<segment>`. */
rc_status rc_live_target_add(struct rc_buf *out, struct rc_span segment) RC_MUST_USE;

#endif
