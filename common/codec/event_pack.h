/* Events put aside as bytes: those of a topic's history, until all of them are known and can be put in order. */
#ifndef RC_CODEC_EVENT_PACK_H
#define RC_CODEC_EVENT_PACK_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "codec/event.h"

/* Appends the event. `datasets`: those of its catalog, by index. Fails when `out` is full. */
rc_status rc_event_pack(const struct rc_event *event, const struct rc_dataset *datasets, struct rc_buf *out)
    RC_MUST_USE;

/* Reads what rc_event_pack wrote with the same datasets. Texts point into `in`, everything else into the arena. RC_FAIL, with `out` as it was,
 * on bytes that are something else. */
rc_status rc_event_unpack(struct rc_span in, const struct rc_dataset *datasets, size_t n_datasets,
                          struct rc_arena *arena, struct rc_event *out) RC_MUST_USE;

#endif
