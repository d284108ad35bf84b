#include "codec/encode.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/nearest.h"
#include "base/timezone.h"
#include "codec/avro_schema.h"
#include "codec/decimal.h"

#define DEPTH_MAX 256

struct rc_encoder {
    struct rc_avro_schema *schema; /* owned */
    char *name;                    /* owned */
};

struct place {
    const struct place *up;
    const char *name; /* or NULL, then `index` */
    size_t index;
};

struct writer {
    struct rc_buf *out;
    struct rc_error *err; /* NULL while a union's branch is tried */
};

rc_status rc_encoder_new(const char *schema, const char *name, struct rc_encoder **out, struct rc_error *err) {
    struct rc_avro_schema *parsed;
    if (rc_avro_schema_new(schema, &parsed, err) != RC_OK)
        return rc_error_prefix(err, "%s", name);
    *out = rc_alloc(sizeof **out);
    **out = (struct rc_encoder){.schema = parsed, .name = rc_strdup(name)};
    return RC_OK;
}

void rc_encoder_free(struct rc_encoder *encoder) {
    if (!encoder)
        return;
    rc_avro_schema_free(encoder->schema);
    free(encoder->name);
    free(encoder);
}

/* ---- messages
 * -------------------------------------------------------------------------------------------------------- */

static size_t write_place(const struct place *at, char *out, size_t size) {
    if (!at)
        return 0;
    size_t n = write_place(at->up, out, size);
    if (n >= size)
        return n;
    return n + (size_t)(at->name ? snprintf(out + n, size - n, "%s%s", n ? "." : "", at->name)
                                 : snprintf(out + n, size - n, "[%zu]", at->index));
}

static const char *found(const json_t *json) {
    switch (json_typeof(json)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "text";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number with a fraction or exponent";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    default: return "null";
    }
}

static rc_status refuse(const struct writer *w, const struct place *at, const char *fmt, ...) RC_PRINTF(3, 4);
static rc_status refuse(const struct writer *w, const struct place *at, const char *fmt, ...) {
    if (!w->err)
        return RC_FAIL;
    char path[256] = "", what[768];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    write_place(at, path, sizeof path);
    return rc_error_set(w->err, RC_CLASS_POISON, RC_EXIT_DATA, "%s: %s", path[0] ? path : "the record", what);
}

static rc_status refuse_type(const struct writer *w, const struct place *at, const json_t *json,
                             const struct rc_avro_node *node) {
    char scratch[512];
    const char *wanted = rc_avro_describe(node, scratch, sizeof scratch);
    const char *logical = node->logical == RC_AVRO_DECIMAL            ? " (decimal)"
                          : node->logical == RC_AVRO_UUID             ? " (uuid)"
                          : node->logical == RC_AVRO_TIMESTAMP_MILLIS ? " (timestamp-millis)"
                          : node->logical == RC_AVRO_TIMESTAMP_MICROS ? " (timestamp-micros)"
                          : node->logical == RC_AVRO_TIMESTAMP_NANOS  ? " (timestamp-nanos)"
                                                                      : "";
    return refuse(w, at, "found %s where %s%s is wanted", found(json), wanted, logical);
}

/* ---- values
 * ---------------------------------------------------------------------------------------------------------- */

static rc_status encode(const struct writer *w, const struct rc_avro_node *node, const json_t *json,
                        const struct place *at, int depth);

static rc_status encode_integer(const struct writer *w, const struct rc_avro_node *node, const json_t *json,
                                const struct place *at) {
    int64_t number;
    if (json_is_integer(json)) {
        number = json_integer_value(json);
    } else if (json_is_string(json) && node->logical != RC_AVRO_PLAIN) {
        if (rc_rfc3339_parse(json_string_value(json), json_string_length(json), &number) != RC_OK)
            return refuse(w, at, "found text that is no RFC 3339 time with an offset");
        int64_t factor = node->logical == RC_AVRO_TIMESTAMP_MILLIS   ? 1
                         : node->logical == RC_AVRO_TIMESTAMP_MICROS ? 1000
                                                                     : 1000000;
        if (__builtin_mul_overflow(number, factor, &number))
            return refuse(w, at, "the time is out of range");
    } else {
        return refuse_type(w, at, json, node);
    }
    if (node->type == RC_AVRO_INT && (number < INT32_MIN || number > INT32_MAX))
        return refuse(w, at, "%" PRId64 " does not fit into an int of 32 bits", number);
    return rc_buf_add_zigzag(w->out, number);
}

static rc_status encode_real(const struct writer *w, const struct rc_avro_node *node, const json_t *json,
                             const struct place *at) {
    double real;
    const char *text = json_string_value(json);
    if (json_is_number(json))
        real = json_number_value(json);
    else if (text && strcmp(text, "NaN") == 0)
        real = NAN;
    else if (text && (strcmp(text, "Infinity") == 0 || strcmp(text, "-Infinity") == 0))
        real = text[0] == '-' ? -INFINITY : INFINITY;
    else
        return refuse_type(w, at, json, node);
    uint64_t bits = 0;
    size_t size = node->type == RC_AVRO_FLOAT ? 4 : 8;
    if (size == 4) {
        float narrow = (float)real;
        uint32_t low;
        memcpy(&low, &narrow, sizeof low);
        bits = low;
    } else {
        memcpy(&bits, &real, sizeof bits);
    }
    rc_status status = RC_OK;
    for (size_t i = 0; i < size; i++, bits >>= 8)
        status = rc_buf_add_byte(w->out, (uint8_t)bits);
    return status;
}

/* Code points 0-255 as bytes; RC_FAIL for any other. */
static rc_status latin1(const json_t *json, struct rc_buf *out) {
    const unsigned char *s = (const unsigned char *)json_string_value(json), *end = s + json_string_length(json);
    while (s < end) {
        if (*s < 0x80) {
            rc_buf_add_byte(out, *s++);
        } else if ((*s == 0xc2 || *s == 0xc3) && end - s > 1) {
            rc_buf_add_byte(out, (uint8_t)((*s & 3) << 6 | (s[1] & 0x3f)));
            s += 2;
        } else {
            return RC_FAIL;
        }
    }
    return RC_OK;
}

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static rc_status uuid(const json_t *json, struct rc_buf *out) {
    const char *s = json_string_value(json);
    if (!s || json_string_length(json) != 36)
        return RC_FAIL;
    for (size_t i = 0; i < 36;) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (s[i++] != '-')
                return RC_FAIL;
            continue;
        }
        if (hex(s[i]) < 0 || hex(s[i + 1]) < 0)
            return RC_FAIL;
        rc_buf_add_byte(out, (uint8_t)(hex(s[i]) << 4 | hex(s[i + 1])));
        i += 2;
    }
    return RC_OK;
}

static rc_status decimal_bytes(const struct writer *w, const struct rc_avro_node *node, const json_t *json,
                               const struct place *at, struct rc_buf *out) {
    char text[64];
    struct rc_span digits = rc_span_of(json_string_value(json), json_string_length(json));
    if (json_is_integer(json)) {
        digits =
            rc_span_of(text, (size_t)snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(json)));
    } else if (json_is_real(
                   json)) { /* the shortest text that is this double: what was written, as far as anyone can tell */
        for (int places = 15; places <= 17; places++) {
            digits = rc_span_of(text, (size_t)snprintf(text, sizeof text, "%.*g", places, json_real_value(json)));
            if (strtod(text, NULL) == json_real_value(json))
                break;
        }
    } else if (!json_is_string(json)) {
        return refuse_type(w, at, json, node);
    }
    uint8_t bytes[RC_DECIMAL_BYTES_MAX];
    size_t len;
    if (rc_decimal_parse(digits, node->scale, node->precision, bytes, &len) != RC_OK)
        return refuse(w, at, "found what is no decimal of %u digits with %u places", node->precision, node->scale);
    if (node->type == RC_AVRO_FIXED) { /* the sign goes on to the left */
        if (len > node->size)
            return refuse(w, at, "the decimal does not fit into %zu bytes", node->size);
        for (size_t i = len; i < node->size; i++)
            rc_buf_add_byte(out, bytes[0] & 0x80 ? 0xff : 0x00);
    }
    return rc_buf_add(out, bytes, len);
}

static rc_status encode_bytes(const struct writer *w, const struct rc_avro_node *node, const json_t *json,
                              const struct place *at) {
    struct rc_buf bytes;
    rc_buf_init(&bytes, w->out->limit);
    rc_status status = RC_OK;
    if (node->logical == RC_AVRO_DECIMAL) {
        status = decimal_bytes(w, node, json, at, &bytes);
    } else if (!json_is_string(json)) {
        status = refuse_type(w, at, json, node);
    } else if (node->logical == RC_AVRO_UUID) {
        if (uuid(json, &bytes) != RC_OK)
            status = refuse(w, at, "found text that is no uuid");
    } else if (latin1(json, &bytes) != RC_OK) {
        status = refuse(w, at, "bytes are wanted: text of code points 0 to 255");
    }
    if (status == RC_OK && node->type == RC_AVRO_FIXED && bytes.len != node->size)
        status = refuse(w, at, "found %zu bytes where %zu are wanted", bytes.len, node->size);
    if (status == RC_OK && node->type == RC_AVRO_BYTES)
        rc_buf_add_zigzag(w->out, (int64_t)bytes.len);
    if (status == RC_OK)
        status = rc_buf_add_span(w->out, rc_buf_span(&bytes));
    rc_buf_deinit(&bytes);
    return status;
}

static rc_status encode_symbol(const struct writer *w, const struct rc_avro_node *node, const json_t *json,
                               const struct place *at) {
    if (!json_is_string(json))
        return refuse_type(w, at, json, node);
    struct rc_span text = rc_span_of(json_string_value(json), json_string_length(json));
    for (size_t i = 0; i < node->n_symbols; i++)
        if (rc_span_equal(node->symbols[i], text))
            return rc_buf_add_zigzag(w->out, (int64_t)i);
    const char **names = rc_calloc(node->n_symbols, sizeof *names);
    for (size_t i = 0; i < node->n_symbols; i++)
        names[i] = node->symbols[i].data;
    const char *nearest = rc_nearest_word(text.data, names, node->n_symbols);
    free(names);
    return refuse(w, at, "\"%.64s\" is no symbol of %s%s%s%s", text.data, node->name,
                  nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

static rc_status encode_items(const struct writer *w, const struct rc_avro_node *node, const json_t *json,
                              const struct place *at, int depth) {
    bool array = node->type == RC_AVRO_ARRAY;
    if (array ? !json_is_array(json) : !json_is_object(json))
        return refuse_type(w, at, json, node);
    size_t n = array ? json_array_size(json) : json_object_size(json);
    if (n)
        rc_buf_add_zigzag(w->out, (int64_t)n);
    if (array) {
        const json_t *item;
        size_t i;
        json_array_foreach(json, i, item) {
            const struct place here = {.up = at, .index = i};
            if (encode(w, node->items, item, &here, depth + 1) != RC_OK)
                return RC_FAIL;
        }
    } else {
        for (void *it = json_object_iter((json_t *)json); it; it = json_object_iter_next((json_t *)json, it)) {
            const struct place here = {.up = at, .name = json_object_iter_key(it)};
            rc_buf_add_zigzag(w->out, (int64_t)json_object_iter_key_len(it));
            rc_buf_add(w->out, json_object_iter_key(it), json_object_iter_key_len(it));
            if (encode(w, node->items, json_object_iter_value(it), &here, depth + 1) != RC_OK)
                return RC_FAIL;
        }
    }
    return rc_buf_add_zigzag(w->out, 0);
}

static rc_status refuse_name(const struct writer *w, const struct rc_avro_node *node, const char *name,
                             const struct place *at) {
    const char **names = rc_calloc(node->n_fields, sizeof *names);
    for (size_t i = 0; i < node->n_fields; i++)
        names[i] = node->fields[i].name;
    const char *nearest = rc_nearest_word(name, names, node->n_fields);
    free(names);
    return refuse(w, at, "%s has no field \"%.64s\"%s%s%s", node->name, name, nearest ? "; did you mean \"" : "",
                  nearest ? nearest : "", nearest ? "\"?" : "");
}

static rc_status encode_record(const struct writer *w, const struct rc_avro_node *node, const json_t *json,
                               const struct place *at, int depth) {
    if (!json_is_object(json))
        return refuse_type(w, at, json, node);
    for (void *it = json_object_iter((json_t *)json); it; it = json_object_iter_next((json_t *)json, it)) {
        struct rc_span name = rc_span_of(json_object_iter_key(it), json_object_iter_key_len(it));
        if (rc_avro_field_index(node, name) < 0)
            return refuse_name(w, node, name.data, at);
    }
    for (size_t i = 0; i < node->n_fields; i++) {
        const struct rc_avro_field *field = &node->fields[i];
        const struct place here = {.up = at, .name = field->name};
        const json_t *value = json_object_get(json, field->name);
        json_t *none = NULL;
        if (!value)
            value = field->default_value;
        if (!value) {
            bool nullable = field->type->type == RC_AVRO_NULL;
            for (size_t b = 0; field->type->type == RC_AVRO_UNION && b < field->type->n_branches; b++)
                nullable |= field->type->branches[b]->type == RC_AVRO_NULL;
            if (!nullable)
                return refuse(w, &here, "no value, and the schema has no default");
            value = none = json_null();
        }
        if (encode(w, field->type, value, &here, depth + 1) != RC_OK)
            return RC_FAIL;
        json_decref(none);
    }
    return RC_OK;
}

static const char *branch_name(const struct rc_avro_node *node) {
    char scratch[8];
    return node->name
               ? node->name
               : rc_avro_describe(node, scratch, sizeof scratch); /* static for what has no name and is no union */
}

static rc_status encode_union(const struct writer *w, const struct rc_avro_node *node, const json_t *json,
                              const struct place *at, int depth) {
    size_t start = w->out->len, others = 0, other = 0;
    const struct writer trial = {.out = w->out};
    for (size_t i = 0; i < node->n_branches; i++) {
        if (node->branches[i]->type != RC_AVRO_NULL) {
            others++;
            other = i;
        }
        rc_buf_add_zigzag(w->out, (int64_t)i);
        if (encode(&trial, node->branches[i], json, at, depth + 1) == RC_OK)
            return RC_OK;
        if (w->out->full)
            return RC_FAIL;
        w->out->len = start;
    }
    if (json_object_size(json) == 1) { /* Avro's JSON form: {"branch": value} */
        void *it = json_object_iter((json_t *)json);
        for (size_t i = 0; i < node->n_branches; i++)
            if (strcmp(branch_name(node->branches[i]), json_object_iter_key(it)) == 0) {
                rc_buf_add_zigzag(w->out, (int64_t)i);
                return encode(w, node->branches[i], json_object_iter_value(it), at, depth + 1);
            }
    }
    if (others == 1) /* then what is wrong with that one is what one wants to know */
        return encode(w, node->branches[other], json, at, depth + 1);
    return refuse_type(w, at, json, node);
}

static rc_status encode(const struct writer *w, const struct rc_avro_node *node, const json_t *json,
                        const struct place *at, int depth) {
    if (depth > DEPTH_MAX)
        return refuse(w, at, "nested deeper than %d", DEPTH_MAX);
    switch (node->type) {
    case RC_AVRO_NULL: return json_is_null(json) ? RC_OK : refuse_type(w, at, json, node);
    case RC_AVRO_BOOLEAN:
        return json_is_boolean(json) ? rc_buf_add_byte(w->out, json_is_true(json)) : refuse_type(w, at, json, node);
    case RC_AVRO_INT:
    case RC_AVRO_LONG: return encode_integer(w, node, json, at);
    case RC_AVRO_FLOAT:
    case RC_AVRO_DOUBLE: return encode_real(w, node, json, at);
    case RC_AVRO_STRING:
        if (!json_is_string(json))
            return refuse_type(w, at, json, node);
        rc_buf_add_zigzag(w->out, (int64_t)json_string_length(json));
        return rc_buf_add(w->out, json_string_value(json), json_string_length(json));
    case RC_AVRO_BYTES:
    case RC_AVRO_FIXED: return encode_bytes(w, node, json, at);
    case RC_AVRO_ENUM: return encode_symbol(w, node, json, at);
    case RC_AVRO_ARRAY:
    case RC_AVRO_MAP: return encode_items(w, node, json, at, depth);
    case RC_AVRO_RECORD: return encode_record(w, node, json, at, depth);
    case RC_AVRO_UNION: return encode_union(w, node, json, at, depth);
    }
    return RC_FAIL;
}

rc_status rc_encode(const struct rc_encoder *encoder, const json_t *value, struct rc_buf *out, struct rc_error *err) {
    const struct writer w = {.out = out, .err = err};
    size_t start = out->len;
    rc_status status = encode(&w, rc_avro_schema_root(encoder->schema), value, NULL, 0);
    if (out->full) {
        status = rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "the record takes more than %zu bytes", out->limit);
        out->full = false;
    }
    if (status != RC_OK) {
        out->len = start;
        return rc_error_prefix(err, "%s", encoder->name);
    }
    return RC_OK;
}
