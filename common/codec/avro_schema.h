/* Avro schemas as a tree, with what decoding by them needs.
 *
 * avro-c 1.11.1 parses schemas too, but forgets logical types, defaults and aliases while it does, and refuses
 * records without fields; resolution and fixed-point decimals need the first three and change-capture schemas hold
 * the fourth. So the JSON is read here, and avro-c is what the tests hold it against. Knows nothing of data:
 * decode_avro.c, encode.c and avro_json.c do.
 *
 * Prevents: two ideas of one schema in one program, as with a library's tree beside a second reading of the text for
 * what it lacks. */
#ifndef RC_CODEC_AVRO_SCHEMA_H
#define RC_CODEC_AVRO_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/span.h"

enum rc_avro_type {
    RC_AVRO_NULL,
    RC_AVRO_BOOLEAN,
    RC_AVRO_INT,
    RC_AVRO_LONG,
    RC_AVRO_FLOAT,
    RC_AVRO_DOUBLE,
    RC_AVRO_BYTES,
    RC_AVRO_STRING,
    RC_AVRO_RECORD,
    RC_AVRO_ENUM,
    RC_AVRO_ARRAY,
    RC_AVRO_MAP,
    RC_AVRO_UNION,
    RC_AVRO_FIXED,
};

/* Logical types that change what a value means here. All others (date, time-*, local-timestamp-*, duration, a
 * decimal that its own rules make void) are read as the plain type under them, as Avro asks of readers that do not
 * know them. */
enum rc_avro_logical {
    RC_AVRO_PLAIN,
    RC_AVRO_DECIMAL, /* of bytes and fixed */
    RC_AVRO_UUID,    /* of string (plain text), and of fixed(16) */
    RC_AVRO_TIMESTAMP_MILLIS,
    RC_AVRO_TIMESTAMP_MICROS,
    RC_AVRO_TIMESTAMP_NANOS,
};

struct rc_avro_node;

struct rc_avro_field {
    const char *name;
    const char **aliases; /* owned */
    size_t n_aliases;
    const struct rc_avro_node *type;
    const json_t *default_value; /* NULL: none */
};

/* Texts are borrowed from the schema's JSON unless said otherwise. */
struct rc_avro_node {
    enum rc_avro_type type;
    enum rc_avro_logical logical;
    unsigned scale, precision; /* DECIMAL */
    char *name;                /* RECORD, ENUM, FIXED: the full name; owned */
    char **aliases;            /* of them: full names; owned */
    size_t n_aliases;
    struct rc_avro_field *fields; /* RECORD; owned */
    size_t n_fields;
    struct rc_span *symbols; /* ENUM; owned */
    size_t n_symbols;
    const char *default_symbol;           /* ENUM; NULL: none */
    const struct rc_avro_node **branches; /* UNION; owned */
    size_t n_branches;
    const struct rc_avro_node *items; /* ARRAY, MAP (its values) */
    size_t size;                      /* FIXED: bytes */
    size_t index;                     /* its place among the schema's nodes */
};

struct rc_avro_schema;

/* Parses. Fails (FATAL, exit 78) naming the JSON path in the schema ("fields[3].type") and what is wrong. */
rc_status rc_avro_schema_new(const char *text, struct rc_avro_schema **out, struct rc_error *err) RC_MUST_USE;
void rc_avro_schema_free(struct rc_avro_schema *schema);

const struct rc_avro_node *rc_avro_schema_root(const struct rc_avro_schema *schema);

/* Number of nodes: rc_avro_node.index is below it. */
size_t rc_avro_schema_nodes(const struct rc_avro_schema *schema);

/* "int", "record Order", "union of null and string"; static or borrowed from `scratch`. For messages. */
const char *rc_avro_describe(const struct rc_avro_node *node, char *scratch, size_t size);

/* The index of the field, or -1. */
int rc_avro_field_index(const struct rc_avro_node *record, struct rc_span name);

#endif
