/* JSON records (jansson) beside the tree of wanted paths. Internal to codec/. */
#ifndef RC_CODEC_DECODE_JSON_H
#define RC_CODEC_DECODE_JSON_H

#include "codec/projection.h"

/* Hands every wanted value of the record to `projection`. RC_DECODED when it was read (to be judged), RC_IGNORED for
 * the JSON text `null` (as a null value), RC_BAD when it is no JSON object. Cost: jansson's tree of the whole
 * record. */
enum rc_decoded rc_decode_json(struct rc_projection *projection, struct rc_span value, struct rc_arena *arena,
                               enum rc_reason *reason, struct rc_error *err);

#endif
