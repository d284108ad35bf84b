/* JSON records to wanted values.
 *
 * jansson reads the text and is strict where we want it: UTF-8, no half surrogates, no NaN, nothing after the value,
 * depth bounded (JSON_PARSER_MAX_DEPTH, 2048); of equal keys the last counts. But it refuses a whole text for one
 * number that a C type cannot hold, while a number is only wrong where a definition wants it (and not even there
 * with "on_bad": "no_value"). So on its numeric overflow, and only then, the text is read again with such numbers
 * marked: as strings that begin with NUL and a tag. Strings of the record's own that begin with NUL get a tag too,
 * so neither can be taken for the other. */
#include "codec/decode_json.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FLAGS (JSON_DECODE_ANY | JSON_ALLOW_NUL)

enum tag { TAG_INTEGER = 'i', TAG_REAL = 'r', TAG_STRING = 's' };

struct walk {
    struct rc_projection *projection;
    struct rc_arena *arena;
    const struct rc_want *element_roots;
    bool tagged; /* strings that begin with NUL carry a tag */
};

/* ---- numbers that jansson does not hold
 * ------------------------------------------------------------------------------- */

/* Length of the JSON number at `s`, 0 when there is none; `*whole` without fraction and exponent. */
static size_t number_length(const char *s, const char *end, bool *whole) {
    const char *c = s;
    *whole = true;
    if (c < end && *c == '-')
        c++;
    if (c == end || *c < '0' || *c > '9')
        return 0;
    if (*c == '0')
        c++;
    else
        while (c < end && *c >= '0' && *c <= '9')
            c++;
    if (c < end && *c == '.') {
        const char *digits = ++c;
        *whole = false;
        while (c < end && *c >= '0' && *c <= '9')
            c++;
        if (c == digits)
            return 0;
    }
    if (c < end && (*c == 'e' || *c == 'E')) {
        *whole = false;
        c++;
        if (c < end && (*c == '+' || *c == '-'))
            c++;
        const char *digits = c;
        while (c < end && *c >= '0' && *c <= '9')
            c++;
        if (c == digits)
            return 0;
    }
    return (size_t)(c - s);
}

/* True when the number, `len` bytes at `s`, goes beyond int64 or double. */
static bool overflows(const char *s, size_t len, bool whole, struct rc_arena *arena) {
    if (whole && len < 19)
        return false;
    const char *text = rc_arena_copy(arena, rc_span_of(s, len)).data;
    errno = 0;
    if (whole) {
        (void)strtoll(text, NULL, 10);
        return errno == ERANGE;
    }
    return isinf(strtod(text, NULL));
}

/* A copy of the text with tags; in the arena. */
static struct rc_span add_tags(struct rc_span text, struct rc_arena *arena) {
    static const char nul[] = "\\u0000";
    const char *end = text.data + text.len;
    /* What grows: a string `"\u0000` (8 bytes and its closing quote) by 1, a number of at least 4 bytes (1e999 has
     * 5) by at most 9. */
    char *out = rc_arena_alloc(arena, text.len * 4 + 16), *at = out;
    for (const char *s = text.data; s < end;) {
        if (*s == '"') {
            const char *c = s + 1;
            while (c < end && *c != '"')
                c += *c == '\\' && end - c > 1 ? 2 : 1;
            c = c < end ? c + 1 : end;
            *at++ = *s++;
            if (c - s >= 6 && memcmp(s, nul, 6) == 0) {
                at = mempcpy(at, nul, 6);
                *at++ = TAG_STRING;
            }
            at = mempcpy(at, s, (size_t)(c - s));
            s = c;
            continue;
        }
        bool whole;
        size_t len = *s == '-' || (*s >= '0' && *s <= '9') ? number_length(s, end, &whole) : 0;
        if (len && overflows(s, len, whole, arena)) {
            *at++ = '"';
            at = mempcpy(at, nul, 6);
            *at++ = whole ? TAG_INTEGER : TAG_REAL;
            if (whole)
                at = mempcpy(at, s, len);
            *at++ = '"';
            s += len;
        } else if (len) {
            at = mempcpy(at, s, len);
            s += len;
        } else {
            *at++ = *s++;
        }
    }
    return rc_span_of(out, (size_t)(at - out));
}

/* ---- values
 * ---------------------------------------------------------------------------------------------------------- */

static struct rc_leaf leaf_of_text(const struct walk *w, const json_t *json) {
    struct rc_span text = rc_span_of(json_string_value(json), json_string_length(json));
    struct rc_leaf leaf = {.kind = RC_LEAF_TEXT};
    if (w->tagged && text.len >= 2 && text.data[0] == '\0') {
        if (text.data[1] == TAG_REAL) {
            leaf.kind = RC_LEAF_TOO_LARGE;
        } else if (text.data[1] == TAG_INTEGER) {
            leaf.kind = RC_LEAF_BIG;
            text = rc_span_of(text.data + 2, text.len - 2);
        } else { /* the string's own NUL stood behind the tag */
            text = rc_span_of(text.data + 2, text.len - 2);
        }
    }
    leaf.text = rc_arena_copy(w->arena, text); /* jansson's tree goes before the event does */
    return leaf;
}

static struct rc_leaf leaf_of(const struct walk *w, const json_t *json) {
    switch (json_typeof(json)) {
    case JSON_STRING: return leaf_of_text(w, json);
    case JSON_INTEGER: return (struct rc_leaf){.kind = RC_LEAF_LONG, .number = json_integer_value(json)};
    case JSON_REAL: return (struct rc_leaf){.kind = RC_LEAF_DOUBLE, .real = json_real_value(json)};
    case JSON_TRUE: return (struct rc_leaf){.kind = RC_LEAF_BOOLEAN, .number = 1};
    case JSON_FALSE: return (struct rc_leaf){.kind = RC_LEAF_BOOLEAN, .number = 0};
    default: return (struct rc_leaf){.kind = RC_LEAF_RECORD};
    }
}

static void visit(const struct walk *w, const json_t *json, const struct rc_want *want);

static void visit_names(const struct walk *w, const json_t *object, const struct rc_want *want);

static void visit_elements(const struct walk *w, const json_t *json, uint32_t element) {
    if (json_is_null(json))
        return;
    if (!json_is_object(json)) {
        rc_projection_bad_element(w->projection, element);
        return;
    }
    rc_projection_element(w->projection, element);
    visit_names(w, json, &w->element_roots[element]);
}

/* The names wanted below `want`, in an object. */
static void visit_names(const struct walk *w, const json_t *object, const struct rc_want *want) {
    for (uint32_t i = 0; i < want->n_steps; i++) {
        const struct rc_want *below = want->steps[i].below;
        const json_t *value = json_object_getn(object, want->steps[i].name.data, want->steps[i].name.len);
        if (!value)
            continue;
        for (uint32_t e = 0; e < below->n_elements; e++) {
            if (json_is_array(value)) {
                const json_t *item;
                size_t k;
                json_array_foreach(value, k, item) visit_elements(w, item, below->elements[e]);
            } else {
                visit_elements(w, value, below->elements[e]);
            }
        }
        if (below->n_steps || below->n_targets)
            visit(w, value, below);
    }
}

static void visit(const struct walk *w, const json_t *json, const struct rc_want *want) {
    if (json_is_null(json))
        return;
    if (json_is_array(json)) {
        const json_t *item;
        size_t i;
        json_array_foreach(json, i, item) visit(w, item, want);
        return;
    }
    if (want->n_targets) {
        struct rc_leaf leaf = leaf_of(w, json);
        for (uint32_t t = 0; t < want->n_targets; t++)
            rc_projection_value(w->projection, want->targets[t], &leaf);
    }
    if (json_is_object(json))
        visit_names(w, json, want);
}

enum rc_decoded rc_decode_json(struct rc_projection *projection, struct rc_span value, struct rc_arena *arena,
                               enum rc_reason *reason, struct rc_error *err) {
    const struct rc_wanted *wanted = rc_projection_wanted(projection);
    struct walk w = {.projection = projection, .arena = arena, .element_roots = wanted->element_roots};
    json_error_t why;
    json_t *json = json_loadb(value.data ? value.data : "", value.len, FLAGS, &why);
    if (!json && json_error_code(&why) == json_error_numeric_overflow) {
        struct rc_span tagged = add_tags(value, arena);
        json = json_loadb(tagged.data, tagged.len, FLAGS, &why);
        w.tagged = true;
    }
    if (!json) {
        why.text[sizeof why.text - 2] = '\0';
        /* jansson's text quotes the record ("near '…'"), which may hold a person's id: no more than the place is
         * told */
        char *near = strstr(why.text, " near ");
        if (near)
            *near = '\0';
        if (w.tagged) /* the place is one in the marked text */
            return rc_refuse(reason, RC_REASON_BROKEN_JSON, err, "%s", why.text);
        return rc_refuse(reason, RC_REASON_BROKEN_JSON, err, "%s, at byte %d of %zu", why.text, why.position,
                         value.len);
    }
    enum rc_decoded decoded = RC_DECODED;
    if (json_is_object(json))
        visit_names(&w, json, &wanted->root);
    else if (json_is_null(json))
        decoded = RC_IGNORED;
    else
        decoded = rc_refuse(reason, RC_REASON_BROKEN_JSON, err, "the record is no object");
    json_decref(json);
    return decoded;
}
