/* Avro data as JSON, for what comes from container files: see files.h for what becomes what. */
#ifndef RC_CODEC_AVRO_JSON_H
#define RC_CODEC_AVRO_JSON_H

#include <jansson.h>

#include "base/error.h"
#include "base/span.h"
#include "codec/avro_schema.h"

/* Reads one datum from the front of `*in` and moves it on; `*out` is owned by the caller. POISON, with `*in` as it
 * was, when the bytes are none; the message names the path in the datum and what is wrong. */
rc_status rc_avro_to_json(const struct rc_avro_schema *schema, struct rc_span *in, json_t **out, struct rc_error *err)
    RC_MUST_USE;

#endif
