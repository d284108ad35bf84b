/* Owns reading single JSON values with complaints that help. Must not know what any key means. The mistake that it prevents: an error that
 * says "invalid definition" and leaves the reader to find out where. */
#include "segment/definition_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/nearest.h"
#include "base/timezone.h"
#include "codec/dataset.h"

#define MAX_PATH_BYTES 512
#define MAX_SHOWN_BYTES 60
#define MAX_WORDS_BYTES 700
/* 10,000 years: as long as the time axis. Keeps instant ± duration far from overflow. */
#define MAX_DURATION_MS (INT64_C(3652425) * 86400000)
#define FIXED_DIGITS 6

/* A message is one line, whatever the words from outside that it repeats. */
static void one_line(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
}

json_t *rc_def_parse(const char *file, struct rc_span text, struct rc_error *err) {
    json_error_t why;
    json_t *value = json_loadb(text.len ? text.data : "", text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!value) {
        one_line(why.text);
        (void)rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s:%d:%d: not JSON: %s", file, why.line, why.column,
                           why.text);
    }
    return value;
}

/* ---- writing --------------------------------------------------------------------------------------------------------- */

void rc_def_real_text(double value, char out[32]) {
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(out, 32, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            return;
    }
}

static rc_status write_real(double value, struct rc_buf *out) {
    char text[32];
    rc_def_real_text(value, text);
    /* keeps a real a real: Avro defaults tell 1.0 from 1 */
    return rc_buf_printf(out, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

rc_status rc_def_write(const json_t *value, struct rc_buf *out) {
    switch (json_typeof(value)) {
    case JSON_NULL: return rc_buf_add_str(out, "null");
    case JSON_TRUE: return rc_buf_add_str(out, "true");
    case JSON_FALSE: return rc_buf_add_str(out, "false");
    case JSON_INTEGER: return rc_buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    case JSON_REAL: return write_real(json_real_value(value), out);
    case JSON_STRING:
        return rc_buf_add_json_string(out, rc_span_of(json_string_value(value), json_string_length(value)));
    case JSON_ARRAY:
        RC_DEF_TRY(rc_buf_add_byte(out, '['));
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i)
                RC_DEF_TRY(rc_buf_add_byte(out, ','));
            RC_DEF_TRY(rc_def_write(json_array_get(value, i), out));
        }
        return rc_buf_add_byte(out, ']');
    case JSON_OBJECT: {
        RC_DEF_TRY(rc_buf_add_byte(out, '{'));
        json_t *object = (json_t *)(uintptr_t)value; /* jansson's iterator takes no const; it only reads */
        for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
            if (out->data[out->len - 1] != '{')
                RC_DEF_TRY(rc_buf_add_byte(out, ','));
            RC_DEF_TRY(rc_buf_add_json_string(out, rc_span_str(json_object_iter_key(at))));
            RC_DEF_TRY(rc_buf_add_byte(out, ':'));
            RC_DEF_TRY(rc_def_write(json_object_iter_value(at), out));
        }
        return rc_buf_add_byte(out, '}');
    }
    }
    return RC_FAIL;
}

char *rc_def_write_text(const json_t *value, size_t limit) {
    struct rc_buf buf;
    rc_buf_init(&buf, limit);
    char *text = rc_def_write(value, &buf) == RC_OK ? rc_span_dup(rc_buf_span(&buf)) : NULL;
    rc_buf_deinit(&buf);
    return text;
}

/* ---- nodes and paths ------------------------------------------------------------------------------------------------- */

struct rc_def_node rc_def_root(const struct rc_def_document *document, json_t *value) {
    return (struct rc_def_node){.document = document, .value = value};
}

struct rc_def_node rc_def_get(const struct rc_def_node *node, const char *key) {
    return (struct rc_def_node){
        .document = node->document, .parent = node, .key = key, .value = json_object_get(node->value, key)};
}

struct rc_def_node rc_def_at(const struct rc_def_node *node, size_t index) {
    return (struct rc_def_node){
        .document = node->document, .parent = node, .index = index, .value = json_array_get(node->value, index)};
}

static bool is_plain_key(const char *key) {
    return *key && strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == strlen(key);
}

static void add_path(const struct rc_def_node *node, struct rc_buf *out) {
    if (!node->parent)
        return;
    add_path(node->parent, out);
    if (!node->key)
        (void)rc_buf_printf(out, "[%zu]", node->index);
    else if (is_plain_key(node->key))
        (void)rc_buf_printf(out, "%s%s", out->len ? "." : "", node->key);
    else { /* a key that would be misread with a dot before it */
        (void)rc_buf_add_byte(out, '[');
        (void)rc_buf_add_json_string(out, rc_span_str(node->key));
        (void)rc_buf_add_byte(out, ']');
    }
}

char *rc_def_path_below_root(const struct rc_def_node *node) {
    struct rc_buf buf;
    rc_buf_init(&buf, MAX_PATH_BYTES);
    add_path(node, &buf);
    char *path = rc_span_dup(rc_buf_span(&buf));
    rc_buf_deinit(&buf);
    return path;
}

char *rc_def_path(const struct rc_def_node *node) {
    struct rc_buf buf;
    rc_buf_init(&buf, MAX_PATH_BYTES);
    (void)rc_buf_add_str(&buf, node->document->root);
    add_path(node, &buf);
    char *path = rc_span_dup(rc_buf_span(&buf));
    rc_buf_deinit(&buf);
    return path;
}

/* ---- complaints ------------------------------------------------------------------------------------------------------ */

rc_status rc_def_fail(const struct rc_def_node *node, const char *fmt, ...) {
    char text[sizeof node->document->err->message], *path = rc_def_path(node);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap); /* cut when a word from outside makes it longer */
    va_end(ap);
    (void)rc_error_set(node->document->err, RC_CLASS_POISON, RC_EXIT_DATA, "%s: %s: %s", node->document->file, path,
                       text);
    one_line(node->document->err->message);
    free(path);
    return RC_FAIL;
}

/* A value in a few words: `"text"`, `12`, `an object`. */
static void describe(const json_t *value, char out[MAX_SHOWN_BYTES + 8]) {
    if (json_is_object(value))
        (void)snprintf(out, MAX_SHOWN_BYTES, "an object");
    else if (json_is_array(value))
        (void)snprintf(out, MAX_SHOWN_BYTES, json_array_size(value) ? "an array" : "an empty array");
    else {
        char *text = rc_def_write_text(value, 1 << 20);
        size_t len = text ? strlen(text) : 0;
        if (len <= MAX_SHOWN_BYTES) {
            (void)snprintf(out, MAX_SHOWN_BYTES + 8, "%s", text ? text : "a long text");
        } else {
            len = MAX_SHOWN_BYTES;
            while (len && ((unsigned char)text[len] & 0xc0) == 0x80) /* not through a code point */
                len--;
            (void)snprintf(out, MAX_SHOWN_BYTES + 8, "%.*s…", (int)len, text);
        }
        free(text);
    }
}

rc_status rc_def_unexpected(const struct rc_def_node *node, const char *expected) {
    if (!node->value)
        return rc_def_fail(node, "missing, expected %s", expected);
    char found[MAX_SHOWN_BYTES + 8];
    describe(node->value, found);
    return rc_def_fail(node, "found %s, expected %s", found, expected);
}

rc_status rc_def_unknown_word(const struct rc_def_node *node, const char *what, const char *word,
                              const char *const *words, size_t n) {
    struct rc_buf list;
    rc_buf_init(&list, MAX_WORDS_BYTES);
    bool cut = false;
    for (size_t i = 0; i < n; i++)
        if (list.len + strlen(words[i]) + 2 > list.limit)
            cut = true;
        else
            (void)rc_buf_printf(&list, "%s%s", list.len ? ", " : "", words[i]);
    json_t *shown = json_string_nocheck(word);
    char found[MAX_SHOWN_BYTES + 8];
    describe(shown, found);
    json_decref(shown);
    const char *nearest = rc_nearest_word(word, words, n);
    if (n == 0)
        (void)rc_def_fail(node, "unknown %s %s: there is none", what, found);
    else
        (void)rc_def_fail(node, "unknown %s %s, expected %s%s%s%s%s%s", what, found, n > 1 ? "one of " : "",
                          list.data ? list.data : "", cut ? ", …" : "", nearest ? "; did you mean \"" : "",
                          nearest ? nearest : "", nearest ? "\"?" : "");
    rc_buf_deinit(&list);
    return RC_FAIL;
}

rc_status rc_def_object(const struct rc_def_node *node, const char *expected) {
    return json_is_object(node->value) ? RC_OK : rc_def_unexpected(node, expected);
}

rc_status rc_def_array(const struct rc_def_node *node, const char *expected) {
    return json_is_array(node->value) ? RC_OK : rc_def_unexpected(node, expected);
}

rc_status rc_def_keys(const struct rc_def_node *node, const char *const *known, size_t n) {
    for (void *at = json_object_iter(node->value); at; at = json_object_iter_next(node->value, at)) {
        const char *key = json_object_iter_key(at);
        bool found = false;
        for (size_t i = 0; i < n && !found; i++)
            found = strcmp(known[i], key) == 0;
        if (!found) {
            struct rc_def_node child = rc_def_get(node, key);
            return rc_def_unknown_word(&child, "key", key, known, n);
        }
    }
    return RC_OK;
}

/* ---- values ---------------------------------------------------------------------------------------------------------- */

rc_status rc_def_text(const struct rc_def_node *node, const char *expected, const char **out) {
    const char *text = json_string_value(node->value);
    if (!text || !*text || strlen(text) != json_string_length(node->value))
        return rc_def_unexpected(node, expected);
    *out = text;
    return RC_OK;
}

rc_status rc_def_bool(const struct rc_def_node *node, bool *out) {
    if (!json_is_boolean(node->value))
        return rc_def_unexpected(node, "true or false");
    *out = json_is_true(node->value);
    return RC_OK;
}

rc_status rc_def_integer(const struct rc_def_node *node, int64_t min, int64_t max, int64_t *out) {
    json_int_t n = json_integer_value(node->value);
    if (!json_is_integer(node->value) || n < min || n > max) {
        char expected[96];
        if (min == INT64_MIN && max == INT64_MAX)
            (void)snprintf(expected, sizeof expected, "an integer");
        else
            (void)snprintf(expected, sizeof expected, "an integer from %" PRId64 " to %" PRId64, min, max);
        return rc_def_unexpected(node, expected);
    }
    *out = n;
    return RC_OK;
}

rc_status rc_def_choice(const struct rc_def_node *node, const char *what, const char *const *words, size_t n,
                        size_t *out) {
    const char *text = json_string_value(node->value);
    if (!text) {
        struct rc_buf expected;
        rc_buf_init(&expected, MAX_WORDS_BYTES);
        for (size_t i = 0; i < n; i++)
            (void)rc_buf_printf(&expected, "%s\"%s\"", i ? (i + 1 < n ? ", " : " or ") : "", words[i]);
        (void)rc_def_unexpected(node, expected.data);
        rc_buf_deinit(&expected);
        return RC_FAIL;
    }
    for (size_t i = 0; i < n; i++)
        if (strcmp(words[i], text) == 0 && strlen(text) == json_string_length(node->value)) {
            *out = i;
            return RC_OK;
        }
    return rc_def_unknown_word(node, what, text, words, n);
}

rc_status rc_def_texts(const struct rc_def_node *node, const char *expected, char ***out, size_t *n) {
    RC_DEF_TRY(rc_def_array(node, expected));
    size_t size = json_array_size(node->value);
    for (size_t i = 0; i < size; i++) {
        struct rc_def_node item = rc_def_at(node, i);
        const char *text;
        RC_DEF_TRY(rc_def_text(&item, "a text that is not empty", &text));
    }
    *out = rc_calloc(size, sizeof **out);
    for (size_t i = 0; i < size; i++)
        (*out)[i] = rc_strdup(json_string_value(json_array_get(node->value, i)));
    *n = size;
    return RC_OK;
}

rc_status rc_def_duration(const struct rc_def_node *node, int64_t *out_ms) {
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};
    const char *expected = "a duration: an integer and one of ms s m h d w, like \"36h\"";
    const char *at = json_string_value(node->value);
    if (!at || *at < '0' || *at > '9' || strlen(at) != json_string_length(node->value))
        return rc_def_unexpected(node, expected);
    __int128 n = 0;
    for (; *at >= '0' && *at <= '9'; at++)
        if (n <= MAX_DURATION_MS)
            n = n * 10 + (*at - '0');
    for (size_t i = 0; i < RC_DEF_COUNT(units); i++)
        if (strcmp(units[i].name, at) == 0) {
            if (n * units[i].ms > MAX_DURATION_MS)
                return rc_def_unexpected(node, "a duration of at most 10,000 years (3652425d)");
            *out_ms = (int64_t)n * units[i].ms;
            return RC_OK;
        }
    return rc_def_unexpected(node, expected);
}

rc_status rc_def_instant(const struct rc_def_node *node, int64_t *out_ms) {
    const char *text = json_string_value(node->value);
    if (!text || rc_rfc3339_parse(text, json_string_length(node->value), out_ms) != RC_OK)
        return rc_def_unexpected(node, "an instant as RFC 3339 has it, with an offset, like \"2026-01-01T00:00:00Z\"");
    return RC_OK;
}

/* "-12.5e-1" to fixed point; false when more than 6 decimals are needed. The exponent is small: the text is a double's. */
static bool decimal_from_text(const char *text, __int128 *out) {
    bool negative = *text == '-', point = false;
    int decimals = 0;
    __int128 n = 0;
    for (text += negative; *text && *text != 'e'; text++) {
        if (*text == '.') {
            point = true;
            continue;
        }
        n = n * 10 + (*text - '0'); /* at most 17 digits */
        decimals += point;
    }
    if (*text == 'e')
        decimals -= (int)strtol(text + 1, NULL, 10);
    for (; decimals > FIXED_DIGITS; decimals--) {
        if (n % 10)
            return false;
        n /= 10;
        if (n == 0)
            decimals = FIXED_DIGITS + 1;
    }
    for (; decimals < FIXED_DIGITS; decimals++)
        n *= 10; /* below 2^63 · 10^6: the caller has looked at the magnitude */
    *out = negative ? -n : n;
    return true;
}

rc_status rc_def_decimal(const struct rc_def_node *node, __int128 *out) {
    if (json_is_integer(node->value)) {
        *out = (__int128)json_integer_value(node->value) * RC_FIXED_SCALE;
        return RC_OK;
    }
    if (!json_is_real(node->value))
        return rc_def_unexpected(node, "a number with at most 6 decimals");
    double value = json_real_value(node->value);
    if (!(value > -9223372036854775808.0 && value < 9223372036854775808.0))
        return rc_def_unexpected(node, "a number whose magnitude is below 2^63");
    char text[32];
    rc_def_real_text(value, text);
    if (!decimal_from_text(text, out))
        return rc_def_unexpected(node, "a number with at most 6 decimals");
    return RC_OK;
}

rc_status rc_def_fixed(const struct rc_def_node *node, int64_t *out) {
    __int128 value = 0;
    RC_DEF_TRY(rc_def_decimal(node, &value));
    *out = value > RC_FIXED_MAX ? RC_FIXED_MAX : value < -RC_FIXED_MAX ? -RC_FIXED_MAX : (int64_t)value;
    return RC_OK;
}

bool rc_def_is_id(const char *text) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(text);
    return len >= 1 && len <= 63 && strspn(text, allowed) == len && !strchr("._-", text[0]);
}

rc_status rc_def_id(const struct rc_def_node *node, const char **out) {
    const char *text = json_string_value(node->value);
    if (!text || strlen(text) != json_string_length(node->value) || !rc_def_is_id(text))
        return rc_def_unexpected(node, "an id: a-z 0-9 . _ -, beginning with a letter or digit, at most 63 characters");
    *out = text;
    return RC_OK;
}
