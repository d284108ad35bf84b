/* What an Avro schema says about one path: enough to type a CSV column. Works on the schema's JSON; avro-c has no look-up by path. */
#ifndef RC_PRODUCERS_SCHEMA_H
#define RC_PRODUCERS_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct rc_schema {
    json_t *root;  /* owned */
    json_t *named; /* name → its schema; owned */
};

enum rc_schema_kind {
    RC_SCHEMA_NONE,
    RC_SCHEMA_TEXT,
    RC_SCHEMA_INTEGER,
    RC_SCHEMA_NUMBER,
    RC_SCHEMA_BOOLEAN,
    RC_SCHEMA_MILLIS,
    RC_SCHEMA_MICROS
};

/* `text` is the schema's JSON. Fails (FATAL, exit 78) when it is none. */
rc_status rc_schema_init(struct rc_schema *schema, const char *text, const char *name, struct rc_error *err)
    RC_MUST_USE;
void rc_schema_deinit(struct rc_schema *schema);

/* The kind of value at `names[0]…names[n-1]`, through records, maps and the first branch of unions that is not null. Arrays on the way are stepped
 * through: `arrays[i]` becomes true when the value of step i is an array. RC_SCHEMA_NONE: no such path, or no scalar there. */
enum rc_schema_kind rc_schema_at(const struct rc_schema *schema, char *const *names, size_t n, bool *arrays);

#endif
