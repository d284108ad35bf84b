/* What the own output log already holds, so that work done again after a crash is told neither twice nor wrongly.
 *
 * The race: changes are acknowledged by Kafka, then the process dies before its state is saved. The next start reads
 * the same input again and decides the same changes again. They must not come out with higher versions, or a receiver
 * would for a while go back to older states. So the next owner first reads its output partition from the end that the
 * last checkpoint noted, into this table; and while it catches up, every change is held against it:
 *   - the latest that the log has for (person, target): it is there already; its version is kept, nothing need be
 *     sent;
 *   - not later than that one (by `since`): the work is only on its way there again, or a late event made it go
 *     another way this time. It is held back; rc_repeats_settle decides once everything is caught up. (Sent at once
 *     it would carry a higher version than the later state that receivers have already.)
 *   - later, or of a key that the log does not have: new, sent with a new version above everything seen.
 * Pure: no Kafka, no clock. */
#ifndef RC_SHARED_REPEATS_H
#define RC_SHARED_REPEATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "codec/membership.h"

struct rc_repeats;

struct rc_repeats *rc_repeats_new(void);
void rc_repeats_free(struct rc_repeats *repeats);

/* Takes in a change that the log holds, in the order of the log. `key`: the record's key (person key|target); copied. */
void rc_repeats_seen(struct rc_repeats *repeats, struct rc_span key, bool realized, int64_t since_ms, int64_t version);

enum rc_repeat {
    RC_REPEAT_NEW,   /* send it; it is noted as the latest, with `*version` as given by the caller */
    RC_REPEAT_KNOWN, /* it is the latest in the log: send nothing; `*version` is the one it has there */
    RC_REPEAT_HELD,  /* send nothing now; rc_repeats_settle may give it back. `*version` as it was */
};

/* Judges a change about to be sent. `fresh_version`: the version that it would get when new. */
enum rc_repeat rc_repeats_judge(struct rc_repeats *repeats, const struct rc_membership *change, struct rc_span key,
                                int64_t fresh_version, int64_t *version);

/* All input of the former owner has been read again: calls `send` for every held change that is not what the log's
 * latest says (the caller sends it with a new version), then forgets everything, so that rc_repeats_empty. */
typedef void (*rc_repeats_send_fn)(void *ctx, struct rc_span key, const struct rc_membership *change);
void rc_repeats_settle(struct rc_repeats *repeats, rc_repeats_send_fn send, void *ctx);

bool rc_repeats_empty(const struct rc_repeats *repeats);
/* Greatest version seen, −1 when none. */
int64_t rc_repeats_greatest(const struct rc_repeats *repeats);

/* ---- versions: owner epoch · 2³² + a counter, below 2⁵³ (pipeline.md §3) ---- */

struct rc_versions {
    uint32_t epoch;   /* < 2²¹ */
    uint32_t counter; /* of the next version */
};

static inline int64_t rc_versions_next(struct rc_versions *versions) {
    if (versions->counter == UINT32_MAX) { /* four thousand million changes by one owner: go on under the next epoch */
        versions->epoch++;
        versions->counter = 0;
    }
    return ((int64_t)versions->epoch << 32) + versions->counter++;
}

/* The epoch of a new owner: above everything stored, seen in the log and agreed in the group. */
static inline uint32_t rc_versions_epoch_above(uint32_t stored, int64_t greatest_seen, uint32_t agreed) {
    uint32_t seen = greatest_seen < 0 ? 0 : (uint32_t)(greatest_seen >> 32);
    uint32_t top = stored > seen ? stored : seen;
    return (top > agreed ? top : agreed) + 1;
}

#endif
