#include "codec/avro_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "codec/decimal.h"

#define DEPTH_MAX 1024
#define EMPTY_ITEMS_MAX 65536 /* items of no bytes that a datum may have: 2⁶² nulls fit into ten bytes */

struct place {
    const struct place *up;
    const char *name; /* or NULL, then `index` */
    size_t index;
};

struct reader {
    struct rc_span in;
    size_t items_left;
    struct rc_error *err;
};

static size_t write_place(const struct place *at, char *out, size_t size) {
    if (!at)
        return 0;
    size_t n = write_place(at->up, out, size);
    if (n >= size)
        return n;
    return n + (size_t)(at->name ? snprintf(out + n, size - n, "%s%s", n ? "." : "", at->name)
                                 : snprintf(out + n, size - n, "[%zu]", at->index));
}

static json_t *refuse(struct reader *r, const struct place *at, const char *what) {
    char path[256] = "";
    write_place(at, path, sizeof path);
    (void)rc_error_set(r->err, RC_CLASS_POISON, RC_EXIT_DATA, "%s%s%s", path, path[0] ? ": " : "", what);
    return NULL;
}

static json_t *read(struct reader *r, const struct rc_avro_node *node, const struct place *at, int depth);

static bool take_length(struct reader *r, struct rc_span *out) {
    int64_t len;
    return rc_take_zigzag(&r->in, &len) == RC_OK && len >= 0 && rc_take_bytes(&r->in, (size_t)len, out) == RC_OK;
}

static json_t *read_text(struct reader *r, const struct place *at) {
    struct rc_span text;
    if (!take_length(r, &text))
        return refuse(r, at, "the text goes beyond the record's end");
    json_t *json = json_stringn(text.data, text.len);
    return json ? json : refuse(r, at, "the text is not UTF-8");
}

static json_t *bytes_json(struct reader *r, const struct rc_avro_node *node, struct rc_span bytes,
                          const struct place *at) {
    struct rc_buf text;
    json_t *json = NULL;
    rc_buf_init(&text, bytes.len * 2 + 4096);
    if (node->logical == RC_AVRO_DECIMAL) {
        if (rc_decimal_add_text(&text, (const uint8_t *)bytes.data, bytes.len, node->scale) == RC_OK)
            json = json_stringn(text.data, text.len);
        else
            refuse(r, at, "a decimal of more than 512 bytes");
    } else if (node->logical == RC_AVRO_UUID) {
        for (size_t i = 0; i < bytes.len; i++)
            rc_buf_printf(&text, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", (uint8_t)bytes.data[i]);
        json = json_stringn(text.data, text.len);
    } else { /* each byte is a code point */
        for (size_t i = 0; i < bytes.len; i++) {
            uint8_t byte = (uint8_t)bytes.data[i];
            if (byte >= 0x80)
                rc_buf_add_byte(&text, (uint8_t)(0xc0 | byte >> 6));
            rc_buf_add_byte(&text, byte >= 0x80 ? (uint8_t)(0x80 | (byte & 0x3f)) : byte);
        }
        json = json_stringn(text.data ? text.data : "", text.len);
    }
    rc_buf_deinit(&text);
    return json;
}

static json_t *real_json(double real) {
    if (isnan(real))
        return json_string("NaN");
    if (isinf(real))
        return json_string(real > 0 ? "Infinity" : "-Infinity");
    return json_real(real);
}

static json_t *read_real(struct reader *r, size_t size, const struct place *at) {
    struct rc_span bytes;
    if (rc_take_bytes(&r->in, size, &bytes) != RC_OK)
        return refuse(r, at, "the record ends inside a number");
    uint64_t bits = 0;
    for (size_t i = size; i-- > 0;)
        bits = bits << 8 | (uint8_t)bytes.data[i];
    if (size == 8) {
        double real;
        memcpy(&real, &bits, sizeof real);
        return real_json(real);
    }
    uint32_t low = (uint32_t)bits;
    float real;
    memcpy(&real, &low, sizeof real);
    return real_json((double)real);
}

/* One item of an array or one entry of a map into `into`. */
static bool read_item(struct reader *r, const struct rc_avro_node *node, json_t *into, const struct place *at,
                      int depth) {
    if (node->type == RC_AVRO_ARRAY) {
        const struct place here = {.up = at, .index = json_array_size(into)};
        json_t *item = read(r, node->items, &here, depth + 1);
        return item && json_array_append_new(into, item) == 0;
    }
    struct rc_span key;
    if (!take_length(r, &key))
        return refuse(r, at, "a key goes beyond the record's end");
    const struct place here = {.up = at, .name = "(a value of the map)"};
    json_t *value = read(r, node->items, &here, depth + 1);
    if (value && json_object_setn_new(into, key.data, key.len, value) != 0)
        return refuse(r, at, "a key is not UTF-8");
    return value != NULL;
}

static json_t *read_blocks(struct reader *r, const struct rc_avro_node *node, const struct place *at, int depth) {
    json_t *json = node->type == RC_AVRO_ARRAY ? json_array() : json_object();
    for (;;) {
        int64_t count, size = -1;
        bool ok = rc_take_zigzag(&r->in, &count) == RC_OK && count != INT64_MIN;
        if (ok && count == 0)
            return json;
        if (ok && count < 0) {
            count = -count;
            ok = rc_take_zigzag(&r->in, &size) == RC_OK && size >= 0 && (uint64_t)size <= r->in.len;
        }
        if (!ok || (uint64_t)count > r->items_left) {
            json_decref(json);
            return refuse(r, at, "an impossible number of items");
        }
        r->items_left -= (size_t)count;
        const char *end = size < 0 ? NULL : r->in.data + size;
        while (count-- > 0)
            if (!read_item(r, node, json, at, depth)) {
                json_decref(json);
                return NULL;
            }
        if (end && r->in.data != end) {
            json_decref(json);
            return refuse(r, at, "a block is not as long as it says");
        }
    }
}

static json_t *read_record(struct reader *r, const struct rc_avro_node *node, const struct place *at, int depth) {
    json_t *json = json_object();
    for (size_t i = 0; i < node->n_fields; i++) {
        const struct place here = {.up = at, .name = node->fields[i].name};
        json_t *value = read(r, node->fields[i].type, &here, depth + 1);
        if (!value) {
            json_decref(json);
            return NULL;
        }
        json_object_set_new(json, node->fields[i].name, value);
    }
    return json;
}

static json_t *read(struct reader *r, const struct rc_avro_node *node, const struct place *at, int depth) {
    if (depth > DEPTH_MAX)
        return refuse(r, at, "nested too deep");
    int64_t number = 0;
    struct rc_span bytes;
    bool integer = node->type == RC_AVRO_INT || node->type == RC_AVRO_LONG || node->type == RC_AVRO_ENUM ||
                   node->type == RC_AVRO_UNION;
    if (integer && rc_take_zigzag(&r->in, &number) != RC_OK)
        return refuse(r, at, "the record ends inside an integer, or it has more than 64 bits");
    switch (node->type) {
    case RC_AVRO_NULL: return json_null();
    case RC_AVRO_BOOLEAN:
        if (rc_take_bytes(&r->in, 1, &bytes) != RC_OK || (uint8_t)bytes.data[0] > 1)
            return refuse(r, at, "no boolean");
        return json_boolean(bytes.data[0]);
    case RC_AVRO_INT:
        if (number < INT32_MIN || number > INT32_MAX)
            return refuse(r, at, "an int of more than 32 bits");
        return json_integer(number);
    case RC_AVRO_LONG: return json_integer(number);
    case RC_AVRO_FLOAT: return read_real(r, 4, at);
    case RC_AVRO_DOUBLE: return read_real(r, 8, at);
    case RC_AVRO_STRING: return read_text(r, at);
    case RC_AVRO_BYTES:
        if (!take_length(r, &bytes))
            return refuse(r, at, "bytes go beyond the record's end");
        return bytes_json(r, node, bytes, at);
    case RC_AVRO_FIXED:
        if (rc_take_bytes(&r->in, node->size, &bytes) != RC_OK)
            return refuse(r, at, "bytes go beyond the record's end");
        return bytes_json(r, node, bytes, at);
    case RC_AVRO_ENUM:
        if (number < 0 || (uint64_t)number >= node->n_symbols)
            return refuse(r, at, "no symbol of the enum");
        return json_stringn(node->symbols[number].data, node->symbols[number].len);
    case RC_AVRO_UNION:
        if (number < 0 || (uint64_t)number >= node->n_branches)
            return refuse(r, at, "no branch of the union");
        return read(r, node->branches[number], at, depth + 1);
    case RC_AVRO_ARRAY:
    case RC_AVRO_MAP: return read_blocks(r, node, at, depth);
    case RC_AVRO_RECORD: return read_record(r, node, at, depth);
    }
    return NULL;
}

rc_status rc_avro_to_json(const struct rc_avro_schema *schema, struct rc_span *in, json_t **out, struct rc_error *err) {
    struct reader r = {.in = *in, .items_left = in->len + EMPTY_ITEMS_MAX, .err = err};
    json_t *json = read(&r, rc_avro_schema_root(schema), NULL, 0);
    if (!json)
        return RC_FAIL;
    *in = r.in;
    *out = json;
    return RC_OK;
}
