/* Runs an Avro plan over one datum. The hot path of decoding: every length is checked against what is left before it
 * is used, and nothing is allocated but the text of a uuid that was written as 16 bytes. */
#include <string.h>

#include "codec/avro_op.h"
#include "codec/fixed.h"

#define DEPTH_MAX 1024
#define EMPTY_ITEMS_MAX 65536 /* items of no bytes that a record may have: 2⁶² nulls fit into ten bytes */

struct reader {
    const uint8_t *at, *end;
    struct rc_projection *projection;
    struct rc_arena *arena;
    size_t items_left; /* items of arrays and maps that may still come */
    int depth;
    const char *broken;        /* what is wrong with the bytes, static; NULL: nothing */
    const struct op *mismatch; /* where the schemas do not resolve; NULL: nowhere */
};

static bool broken(struct reader *r, const char *what) {
    r->broken = what;
    return false;
}

static inline bool take_long(struct reader *r, int64_t *out) {
    const uint8_t *at = r->at;
    uint64_t value = 0;
    for (unsigned shift = 0; at < r->end && shift < 70; shift += 7) {
        uint8_t byte = *at++;
        if (shift == 63 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
            r->at = at;
            return true;
        }
    }
    return broken(r, at - r->at < 10 ? "the record ends inside an integer" : "an integer of more than 64 bits");
}

static inline bool take(struct reader *r, size_t n, const uint8_t **out) {
    if ((size_t)(r->end - r->at) < n)
        return broken(r, "the record ends inside a value");
    *out = r->at;
    r->at += n;
    return true;
}

static inline bool take_bytes(struct reader *r, struct rc_span *out) {
    int64_t len;
    if (!take_long(r, &len))
        return false;
    if (len < 0 || (uint64_t)len > (size_t)(r->end - r->at))
        return broken(r, "a length goes beyond the record's end");
    *out = rc_span_of(r->at, (size_t)len);
    r->at += len;
    return true;
}

static void deliver(struct reader *r, const struct op *op, const struct rc_leaf *leaf) {
    for (uint32_t i = 0; i < op->n_targets; i++)
        rc_projection_value(r->projection, op->targets[i], leaf);
    for (uint32_t i = 0; i < op->n_bad_elements; i++)
        rc_projection_bad_element(r->projection, op->bad_elements[i]);
}

static void deliver_integer(struct reader *r, const struct op *op, int64_t number) {
    struct rc_leaf leaf = {.kind = RC_LEAF_LONG, .number = number};
    switch ((enum op_meaning)op->meaning) {
    case MEANS_FLOAT: leaf = (struct rc_leaf){.kind = RC_LEAF_DOUBLE, .real = (double)(float)number}; break;
    case MEANS_DOUBLE: leaf = (struct rc_leaf){.kind = RC_LEAF_DOUBLE, .real = (double)number}; break;
    case MEANS_MS: leaf.kind = RC_LEAF_TIME_MS; break;
    case MEANS_US: leaf.kind = RC_LEAF_TIME_US; break;
    case MEANS_NS: leaf.kind = RC_LEAF_TIME_NS; break;
    default: break;
    }
    deliver(r, op, &leaf);
}

static struct rc_span uuid_text(struct rc_arena *arena, const char *bytes) {
    static const char digits[] = "0123456789abcdef";
    char *text = rc_arena_alloc(arena, 36), *at = text;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = digits[(uint8_t)bytes[i] >> 4];
        *at++ = digits[(uint8_t)bytes[i] & 15];
    }
    return rc_span_of(text, 36);
}

static void deliver_bytes(struct reader *r, const struct op *op, struct rc_span bytes) {
    struct rc_leaf leaf = {.kind = RC_LEAF_BYTES};
    switch ((enum op_meaning)op->meaning) {
    case MEANS_TEXT:
        if (rc_is_utf8(bytes))
            leaf = (struct rc_leaf){.kind = RC_LEAF_TEXT, .text = bytes};
        break;
    case MEANS_DECIMAL: {
        int64_t number;
        if (rc_fixed_of_decimal((const uint8_t *)bytes.data, bytes.len, op->scale, &number) == RC_OK)
            leaf = (struct rc_leaf){.kind = RC_LEAF_DECIMAL, .number = number};
        else
            leaf.kind = RC_LEAF_TOO_LARGE;
        break;
    }
    case MEANS_UUID: leaf = (struct rc_leaf){.kind = RC_LEAF_TEXT, .text = uuid_text(r->arena, bytes.data)}; break;
    default: break;
    }
    deliver(r, op, &leaf);
}

static bool run(struct reader *r, const struct op *op);

static bool run_record(struct reader *r, const struct op *op) {
    if (op->n_targets)
        deliver(r, op, &(struct rc_leaf){.kind = RC_LEAF_RECORD});
    for (uint32_t i = 0; i < op->n_elements; i++)
        rc_projection_element(r->projection, op->elements[i]);
    for (uint32_t i = 0; i < op->n; i++)
        if (!run(r, op->children[i]))
            return false;
    for (uint32_t i = 0; i < op->n_constants; i++) {
        const struct op_constant *constant = &op->constants[i];
        if (constant->kind == CONSTANT_VALUE)
            rc_projection_value(r->projection, constant->to, &constant->leaf);
        else if (constant->kind == CONSTANT_ELEMENT)
            rc_projection_element(r->projection, constant->to);
        else
            rc_projection_bad_element(r->projection, constant->to);
    }
    return true;
}

static bool run_map_entry(struct reader *r, const struct op *op) {
    struct rc_span key;
    if (!take_bytes(r, &key))
        return false;
    uint32_t k = 0;
    while (k < op->n && !rc_span_equal(op->names[k], key))
        k++;
    return run(r, op->children[k]);
}

/* Blocks of items until an empty one. A negative count says that the block's size in bytes follows, so it can be
 * passed over whole. */
static bool run_blocks(struct reader *r, const struct op *op) {
    for (;;) {
        int64_t count, size;
        const uint8_t *block_end = NULL;
        if (!take_long(r, &count))
            return false;
        if (count == 0)
            return true;
        if (count < 0) {
            if (count == INT64_MIN || !take_long(r, &size))
                return r->broken ? false : broken(r, "an impossible number of items");
            if (size < 0 || (uint64_t)size > (size_t)(r->end - r->at))
                return broken(r, "a block goes beyond the record's end");
            count = -count;
            block_end = r->at + size;
            if (op->passable) {
                r->at += size;
                continue;
            }
        }
        if ((uint64_t)count > r->items_left)
            return broken(r, "more items than the record has bytes for");
        r->items_left -= (size_t)count;
        for (int64_t i = 0; i < count; i++)
            if (!(op->code == OP_ARRAY ? run(r, op->children[0]) : run_map_entry(r, op)))
                return false;
        if (block_end && r->at != block_end) /* whoever passes the block over believes the size */
            return broken(r, "a block is not as long as it says");
    }
}

static bool run_nested(struct reader *r, const struct op *op) {
    if (++r->depth > DEPTH_MAX)
        return broken(r, "nested too deep");
    bool done;
    if (op->code == OP_RECORD) {
        done = run_record(r, op);
    } else {
        if (op->n_targets)
            deliver(r, op, &(struct rc_leaf){.kind = RC_LEAF_RECORD});
        else if (op->n_bad_elements)
            deliver(r, op, NULL);
        for (uint32_t i = 0; i < op->n_elements; i++)
            rc_projection_element(r->projection, op->elements[i]);
        done = run_blocks(r, op);
    }
    r->depth--;
    return done;
}

static bool run(struct reader *r, const struct op *op) {
    int64_t number;
    const uint8_t *bytes;
    struct rc_span span;
    switch ((enum op_code)op->code) {
    case OP_NOTHING: return true;
    case OP_LONG:
    case OP_INT:
        if (!take_long(r, &number))
            return false;
        if (op->code == OP_INT && (number < INT32_MIN || number > INT32_MAX))
            return broken(r, "an int of more than 32 bits");
        if (op->wanted)
            deliver_integer(r, op, number);
        return true;
    case OP_BYTES:
        if (!take_bytes(r, &span))
            return false;
        if (op->wanted)
            deliver_bytes(r, op, span);
        return true;
    case OP_UNION:
        if (!take_long(r, &number))
            return false;
        if (number < 0 || number >= op->n)
            return broken(r, "a union has no such branch");
        return run(r, op->children[number]);
    case OP_BOOLEAN:
        if (!take(r, 1, &bytes))
            return false;
        if (*bytes > 1)
            return broken(r, "a boolean that is neither 0 nor 1");
        if (op->wanted)
            deliver(r, op, &(struct rc_leaf){.kind = RC_LEAF_BOOLEAN, .number = *bytes});
        return true;
    case OP_FLOAT: {
        if (!take(r, 4, &bytes))
            return false;
        uint32_t bits =
            (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
        float real;
        memcpy(&real, &bits, sizeof real);
        if (op->wanted)
            deliver(r, op, &(struct rc_leaf){.kind = RC_LEAF_DOUBLE, .real = (double)real});
        return true;
    }
    case OP_DOUBLE: {
        if (!take(r, 8, &bytes))
            return false;
        uint64_t bits = 0;
        for (int i = 7; i >= 0; i--)
            bits = bits << 8 | bytes[i];
        double real;
        memcpy(&real, &bits, sizeof real);
        if (op->wanted)
            deliver(r, op, &(struct rc_leaf){.kind = RC_LEAF_DOUBLE, .real = real});
        return true;
    }
    case OP_FIXED:
        if (!take(r, op->size, &bytes))
            return false;
        if (op->wanted)
            deliver_bytes(r, op, rc_span_of(bytes, op->size));
        return true;
    case OP_ENUM:
        if (!take_long(r, &number))
            return false;
        if (number < 0 || number >= op->n)
            return broken(r, "an enum has no such symbol");
        if (!op->names[number].data) {
            r->mismatch = op;
            return false;
        }
        if (op->wanted)
            deliver(r, op, &(struct rc_leaf){.kind = RC_LEAF_TEXT, .text = op->names[number]});
        return true;
    case OP_RECORD:
    case OP_ARRAY:
    case OP_MAP: return run_nested(r, op);
    case OP_MISMATCH: r->mismatch = op; return false;
    }
    return false;
}

enum rc_decoded rc_avro_plan_run(const struct rc_avro_plan *plan, struct rc_span datum,
                                 struct rc_projection *projection, struct rc_arena *arena, enum rc_reason *reason,
                                 struct rc_error *err) {
    const uint8_t *start = (const uint8_t *)(datum.data ? datum.data : "");
    struct reader r = {
        .at = start,
        .end = start + datum.len,
        .projection = projection,
        .arena = arena,
        .items_left = datum.len + EMPTY_ITEMS_MAX,
    };
    if (!run(&r, plan->root)) {
        size_t place = (size_t)(r.at - start);
        if (r.mismatch && r.mismatch->code == OP_ENUM)
            return rc_refuse(reason, RC_REASON_SCHEMA_MISMATCH, err,
                             "enum %s as read has neither the symbol written nor a default, at byte %zu",
                             r.mismatch->mismatch, place);
        if (r.mismatch)
            return rc_refuse(reason, RC_REASON_SCHEMA_MISMATCH, err, "%s, at byte %zu", r.mismatch->mismatch, place);
        return rc_refuse(reason, RC_REASON_BROKEN_AVRO, err, "%s, at byte %zu of %zu", r.broken, place, datum.len);
    }
    if (r.at != r.end)
        return rc_refuse(reason, RC_REASON_BROKEN_AVRO, err, "%zu bytes follow the record's end, at byte %zu of %zu",
                         (size_t)(r.end - r.at), (size_t)(r.at - start), datum.len);
    return RC_DECODED;
}
