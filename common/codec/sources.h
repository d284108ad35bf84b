/* Person, timestamp and event id of a record: sources as definitions.md §2 says, "exactly one value is needed".
 * Internal to codec/. */
#ifndef RC_CODEC_SOURCES_H
#define RC_CODEC_SOURCES_H

#include "base/arena.h"
#include "codec/decode.h"
#include "codec/leaf.h"
#include "codec/wanted.h"

struct rc_sources;

/* Adds the paths of the dataset's sources to `wanted`; borrows `dataset`. */
struct rc_sources *rc_sources_new(const struct rc_dataset *dataset, struct rc_wanted *wanted);
void rc_sources_free(struct rc_sources *sources);

void rc_sources_begin(struct rc_sources *sources);

/* A value of target `target`, which is one of those that rc_sources_new added. */
void rc_sources_value(struct rc_sources *sources, uint32_t target, const struct rc_leaf *leaf);

/* Fills person, timestamp and event id of `event`: RC_DECODED, or RC_BAD with what is wrong first; the parts before
 * it are filled then. `err` may be NULL. */
enum rc_decoded rc_sources_judge(struct rc_sources *sources, const struct rc_record *record, struct rc_arena *arena,
                                 struct rc_event *event, enum rc_reason *reason, struct rc_error *err);

#endif
