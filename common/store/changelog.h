/* The changelog of a partition's state (`<prefix>.state`, compacted): what its records are, and whether what was read from it can be
 * believed.
 *
 * Keys (a person key always holds a ':', so the others cannot collide with one):
 *   <person key>     the person's saved record, byte for byte; a tombstone: there is none
 *   lane             positions, clocks and output mark; stands for all person records before it
 *   segment/<id>     the version of the segment that the persons' memberships are decided by; a tombstone: it is gone
 *   epoch/<n % 256>  n: owner n has taken the partition; what owners before it write behind is void
 *   fresh            n: the same, and all that stands before it is void: owner n writes the state anew
 * n is decimal text; persons, segments and lane carry their writer's as header `epoch`. Other keys are left alone: later builds may write them.
 *
 * The mistake that it prevents: a former owner that stood still wakes up, and what its client had queued lands behind the records of the
 * present owner. Compaction then keeps the older state of those persons. So a record of an epoch below a marker that stands before it is a
 * wound, and so is one that is damaged. A wound is healed by a later good record of the same key (it is the whole state), or by `fresh`.
 * Pure: no Kafka, no store. Knows nothing of what values mean: the caller says which are damaged. */
#ifndef RC_STORE_CHANGELOG_H
#define RC_STORE_CHANGELOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

#define RC_CHANGELOG_EPOCH_HEADER "epoch"
#define RC_CHANGELOG_LANE_KEY "lane"
#define RC_CHANGELOG_FRESH_KEY "fresh"
#define RC_CHANGELOG_SEGMENT_PREFIX "segment/"

bool rc_changelog_is_segment(struct rc_span key);

/* The key of an owner's marker. A ring, so that markers need no clearing away: the last 256 owners are told apart. */
void rc_changelog_marker_key(struct rc_buf *out, uint32_t epoch);
/* The value of a marker and of `fresh`; the same number as the text of the header. */
void rc_changelog_marker_value(struct rc_buf *out, uint32_t epoch);

struct rc_changelog_record {
    int64_t offset;
    struct rc_span key, value;
    bool null_value;
    struct rc_span epoch; /* the header; empty: none */
    const char *damage;   /* what is wrong with the value, NULL: nothing */
};

enum rc_changelog_verdict {
    RC_CHANGELOG_SKIP,
    RC_CHANGELOG_PERSON,  /* the person's state is the value */
    RC_CHANGELOG_GONE,    /* the person has no state any more */
    RC_CHANGELOG_SEGMENT, /* what is served of the segment is the value; without one, nothing */
    RC_CHANGELOG_LANE,    /* the lane's record is the value; the last one counts */
    RC_CHANGELOG_FRESH,   /* everything taken so far is void */
};

struct rc_changelog_judge;

/* `epoch`: the owner whose state the reader has already and goes on from; 0: reads from the beginning with nothing. */
struct rc_changelog_judge *rc_changelog_judge_new(uint32_t epoch);
void rc_changelog_judge_free(struct rc_changelog_judge *judge);

/* Records are to come in order of offset. Cost: O(1). */
enum rc_changelog_verdict rc_changelog_judge_take(struct rc_changelog_judge *judge,
                                                  const struct rc_changelog_record *record);

/* Records that ought to be there are missing before `offset` (`why` borrowed for the judge's life); healed by `fresh` alone. */
void rc_changelog_judge_missing(struct rc_changelog_judge *judge, int64_t offset, const char *why);

/* Whether what was taken is the state. Otherwise the offset of the first wound that is not healed, and what it is. Persons without a
 * lane's record are none, unless the reader had state to begin with. */
bool rc_changelog_judge_trusts(const struct rc_changelog_judge *judge, int64_t *offset, const char **why);

/* Greatest epoch that is named by a marker or in a header, at least the one given at the start. */
uint32_t rc_changelog_judge_epoch(const struct rc_changelog_judge *judge);

/* For the log of the process: how many records were void or damaged. */
uint64_t rc_changelog_judge_wounds(const struct rc_changelog_judge *judge);

#endif
