/* Checked access to a definition's JSON: every value knows where it stands, so every complaint names file, JSON path, what was found and
 * what was expected. Internal to the definition_*.c files.
 *
 * A node is made on the stack by its reader and points to its parent's node; the JSON itself is borrowed from the document. */
#ifndef RC_SEGMENT_DEFINITION_JSON_H
#define RC_SEGMENT_DEFINITION_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct rc_def_document {
    const char *file; /* for messages */
    const char *root; /* "$", "$[3]" */
    struct rc_error *err;
};

struct rc_def_node {
    const struct rc_def_document *document;
    const struct rc_def_node *parent; /* NULL at the root */
    const char *key;                  /* name below the parent; NULL in an array */
    size_t index;                     /* place in the parent's array */
    json_t *value;                    /* NULL: there is no such key */
};

#define RC_DEF_COUNT(array) (sizeof(array) / sizeof *(array))

/* Reads JSON strictly (duplicate keys are errors). NULL and `err` filled ("FILE:LINE:COLUMN: …") when it is none. Owned by the caller. */
json_t *rc_def_parse(const char *file, struct rc_span text, struct rc_error *err);

/* One line of JSON, keys in the order written, reals as their shortest text. Appends to `out`. */
rc_status rc_def_write(const json_t *value, struct rc_buf *out) RC_MUST_USE;
/* The same as text of its own, owned by the caller; NULL when it would pass `limit` bytes. */
char *rc_def_write_text(const json_t *value, size_t limit);
/* The shortest decimal text that reads back as `value`: at most 32 bytes with NUL. */
void rc_def_real_text(double value, char out[32]);

struct rc_def_node rc_def_root(const struct rc_def_document *document, json_t *value);
struct rc_def_node rc_def_get(const struct rc_def_node *node, const char *key); /* of an object */
struct rc_def_node rc_def_at(const struct rc_def_node *node, size_t index);     /* of an array */
static inline bool rc_def_has(const struct rc_def_node *node, const char *key) {
    return json_object_get(node->value, key) != NULL;
}

/* "$[3].where.and[1]", and the same without the root ("where.and[1]"). Text owned by the caller. */
char *rc_def_path(const struct rc_def_node *node);
char *rc_def_path_below_root(const struct rc_def_node *node);

/* Fills the document's error with "FILE: PATH: message" (POISON, exit 65) and returns RC_FAIL. */
rc_status rc_def_fail(const struct rc_def_node *node, const char *fmt, ...) RC_PRINTF(2, 3);
/* "found WHAT, expected EXPECTED", or "missing, expected …" for a key that is not there. */
rc_status rc_def_unexpected(const struct rc_def_node *node, const char *expected);
/* `what "word", expected one of …; did you mean "…"?` */
rc_status rc_def_unknown_word(const struct rc_def_node *node, const char *what, const char *word,
                              const char *const *words, size_t n);

rc_status rc_def_object(const struct rc_def_node *node, const char *expected) RC_MUST_USE;
rc_status rc_def_array(const struct rc_def_node *node, const char *expected) RC_MUST_USE;
/* An object whose keys are all among `known`. */
rc_status rc_def_keys(const struct rc_def_node *node, const char *const *known, size_t n) RC_MUST_USE;

/* Readers of one value; outputs are unchanged on failure. Texts are borrowed from the JSON; they hold no NUL. */
rc_status rc_def_text(const struct rc_def_node *node, const char *expected, const char **out)
    RC_MUST_USE; /* not empty */
rc_status rc_def_bool(const struct rc_def_node *node, bool *out) RC_MUST_USE;
rc_status rc_def_integer(const struct rc_def_node *node, int64_t min, int64_t max, int64_t *out) RC_MUST_USE;
rc_status rc_def_choice(const struct rc_def_node *node, const char *what, const char *const *words, size_t n,
                        size_t *out) RC_MUST_USE;
rc_status rc_def_texts(const struct rc_def_node *node, const char *expected, char ***out, size_t *n)
    RC_MUST_USE; /* array; *out owned */

/* "36h" to ms. Past 10,000 years is an error. */
rc_status rc_def_duration(const struct rc_def_node *node, int64_t *out_ms) RC_MUST_USE;
/* RFC 3339 text with an offset, to ms. */
rc_status rc_def_instant(const struct rc_def_node *node, int64_t *out_ms) RC_MUST_USE;
/* A JSON number with at most 6 decimals, in fixed point (6 decimals). Magnitude below 2^63, as JSON integers have it. */
rc_status rc_def_decimal(const struct rc_def_node *node, __int128 *out) RC_MUST_USE;
/* A decimal where a field's value stands: what lies beyond every value of the type is taken as the bound, which no value reaches, so that
 * comparisons come out the same. */
rc_status rc_def_fixed(const struct rc_def_node *node, int64_t *out) RC_MUST_USE;

/* `[a-z0-9][a-z0-9._-]{0,62}` */
bool rc_def_is_id(const char *text);
rc_status rc_def_id(const struct rc_def_node *node, const char **out) RC_MUST_USE;

#define RC_DEF_TRY(call)     \
    do {                     \
        if ((call) != RC_OK) \
            return RC_FAIL;  \
    } while (0)

#endif
