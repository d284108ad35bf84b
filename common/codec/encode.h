/* JSON objects to Avro binary by a schema: what `produce` needs to send CSV and JSONL lines to an Avro topic.
 *
 * Taken: for int and long a JSON integer; float and double any JSON number; string text; bytes and fixed text whose
 * code points 0-255 are the bytes (as in Avro's JSON encoding); decimals a number or decimal text that fits the
 * scale exactly; timestamps an integer in the logical type's own unit or RFC 3339 text; enums a symbol; unions the
 * first branch that takes the value (Avro's JSON form {"branch": value} is understood as well). A field left out
 * takes its default, or null where its union has one. */
#ifndef RC_CODEC_ENCODE_H
#define RC_CODEC_ENCODE_H

#include <jansson.h>

#include "base/buf.h"
#include "base/error.h"

struct rc_encoder;

/* `schema`: JSON text. `name` stands for it in messages (a file's name or a dataset's id). FATAL, exit 78, when it
 * is none. */
rc_status rc_encoder_new(const char *schema, const char *name, struct rc_encoder **out, struct rc_error *err)
    RC_MUST_USE;
void rc_encoder_free(struct rc_encoder *encoder);

/* Appends the datum. POISON, exit 65, with the path ("order.items[3].price"), what was found and what is wanted;
 * `out` is then as before. Names in `value` that the schema does not have are an error too: nothing is dropped
 * silently. */
rc_status rc_encode(const struct rc_encoder *encoder, const json_t *value, struct rc_buf *out, struct rc_error *err)
    RC_MUST_USE;

#endif
