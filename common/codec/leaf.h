/* A value as it was found in a record, before anyone asks what it is wanted for. Internal to codec/. */
#ifndef RC_CODEC_LEAF_H
#define RC_CODEC_LEAF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/span.h"
#include "codec/decode.h"

enum rc_leaf_kind {
    RC_LEAF_TEXT,
    RC_LEAF_LONG,
    RC_LEAF_TIME_MS, /* Avro timestamps: an integer that knows its unit */
    RC_LEAF_TIME_US,
    RC_LEAF_TIME_NS,
    RC_LEAF_BIG, /* an integer beyond 64 bits; text: its digits */
    RC_LEAF_BOOLEAN,
    RC_LEAF_DOUBLE,
    RC_LEAF_DECIMAL,   /* number: fixed point already */
    RC_LEAF_TOO_LARGE, /* a number that no type holds */
    RC_LEAF_RECORD,    /* a record, object or map where a value is wanted */
    RC_LEAF_BYTES,     /* bytes or fixed without a meaning */
};

struct rc_leaf {
    enum rc_leaf_kind kind;
    union {
        struct rc_span text; /* must live as long as the event: see rc_projection_value */
        int64_t number;      /* LONG, TIME_*, DECIMAL; BOOLEAN: 0 or 1 */
        double real;
    };
};

/* "text", "an integer", "a record": for messages; static. */
const char *rc_leaf_name(enum rc_leaf_kind kind);

/* True when `text` is UTF-8 (RFC 3629). Fast on ASCII. */
bool rc_is_utf8(struct rc_span text);

/* Gives RC_BAD, with "<reason>: <detail>" in `err` (may be NULL) and the reason in `*reason`. */
enum rc_decoded rc_refuse(enum rc_reason *reason, enum rc_reason why, struct rc_error *err, const char *fmt, ...)
    RC_PRINTF(4, 5);

#endif
