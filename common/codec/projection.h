/* What JSON and Avro decoding have in common: the rules by which values that are found become an event.
 *
 * A codec walks its record beside the tree of wanted paths (wanted.h) and hands every value that stands at a wanted
 * place to rc_projection_value; the rules of definitions.md §2 (exactly one value, types, ranges, `min`, `on_bad`,
 * elements, units of time, `where`) are applied here, once. Knows nothing of bytes or JSON. Internal to codec/. */
#ifndef RC_CODEC_PROJECTION_H
#define RC_CODEC_PROJECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "codec/decode.h"
#include "codec/leaf.h"
#include "codec/wanted.h"

struct rc_projection; /* state of one decoder, used again for each record */

struct rc_projection *rc_projection_new(const struct rc_dataset *dataset, const struct rc_decoder_options *options);
void rc_projection_free(struct rc_projection *projection);
const struct rc_wanted *rc_projection_wanted(const struct rc_projection *projection);

/* Begins a record; values go to `arena`. */
void rc_projection_begin(struct rc_projection *projection, const struct rc_record *record, struct rc_arena *arena);

/* A value of target `target`. Texts must live as long as the arena or the record's bytes. Values of an element's
 * field belong to the element begun last. */
void rc_projection_value(struct rc_projection *projection, uint32_t target, const struct rc_leaf *leaf);

/* Another element of array `element` begins. */
void rc_projection_element(struct rc_projection *projection, uint32_t element);

/* Array `element` holds something that is no record. */
void rc_projection_bad_element(struct rc_projection *projection, uint32_t element);

/* The record is read: judges it. RC_DECODED, RC_IGNORED, or RC_BAD with `*reason` and `err`. */
enum rc_decoded rc_projection_end(struct rc_projection *projection, struct rc_event *out, enum rc_reason *reason,
                                  struct rc_error *err);

uint64_t rc_projection_no_values(const struct rc_projection *projection);

#endif
