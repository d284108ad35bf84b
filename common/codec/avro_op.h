/* The instructions of an Avro plan. Internal to avro_plan.c, which makes them, and avro_run.c, which runs them. */
#ifndef RC_CODEC_AVRO_OP_H
#define RC_CODEC_AVRO_OP_H

#include "codec/avro_plan.h"

enum op_code {
    OP_NOTHING, /* null, and fixed of no bytes */
    OP_BOOLEAN,
    OP_INT,
    OP_LONG,
    OP_FLOAT,
    OP_DOUBLE,
    OP_BYTES, /* a length and so many bytes: bytes, string */
    OP_FIXED,
    OP_ENUM,
    OP_RECORD,
    OP_UNION,
    OP_ARRAY,
    OP_MAP,
    OP_MISMATCH, /* the schemas do not resolve here */
};

/* What a wanted leaf's bytes mean. */
enum op_meaning {
    MEANS_NUMBER, /* of op_code's own kind */
    MEANS_FLOAT,  /* an integer that the reader has as float: rounded to 24 bits */
    MEANS_DOUBLE, /* an integer that the reader has as double */
    MEANS_MS,
    MEANS_US,
    MEANS_NS,
    MEANS_TEXT,
    MEANS_BYTES,
    MEANS_DECIMAL,
    MEANS_UUID, /* of fixed(16) */
};

/* What a record gives where the writer has no such field: the default, worked out when the plan is compiled. */
struct op_constant {
    enum { CONSTANT_VALUE, CONSTANT_ELEMENT, CONSTANT_BAD_ELEMENT } kind;
    uint32_t to; /* target or element */
    struct rc_leaf leaf;
};

/* All memory in the plan's arena. */
struct op {
    uint8_t code;    /* enum op_code: how the writer lays the bytes out */
    uint8_t meaning; /* enum op_meaning */
    bool wanted;     /* somebody wants it or something in it */
    bool passable;   /* ARRAY: blocks may be passed over by their size, for nothing in them can fail to resolve */
    uint16_t scale;  /* MEANS_DECIMAL */
    uint32_t n;      /* RECORD: fields; UNION: branches; ENUM: symbols; MAP: keys */
    size_t size;     /* FIXED */
    const struct op **children;  /* RECORD, UNION; ARRAY: [0]; MAP: one a key, then [n] for all other keys */
    const struct rc_span *names; /* MAP: keys; ENUM: symbols as the reader has them, data NULL where it has none */
    const uint32_t *targets;     /* the value (or that there is a record) goes to these */
    uint32_t n_targets;
    const uint32_t *elements; /* RECORD, MAP: an element of these begins */
    uint32_t n_elements;
    const uint32_t *bad_elements; /* these have something here that is no record */
    uint32_t n_bad_elements;
    const struct op_constant *constants; /* RECORD: after its fields */
    uint32_t n_constants;
    const char *mismatch; /* MISMATCH: what does not resolve; ENUM: its name */
};

struct rc_avro_plan {
    struct rc_arena arena;
    const struct op *root;
};

#endif
