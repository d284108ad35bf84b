/* Names as numbers: an append-only table, so that a person's record holds small numbers instead of segment and audience ids.
 *
 * A number, once given, never changes its name; the shell writes new names to the store in the same write as the first record that uses
 * them. Not thread-safe. */
#ifndef RC_MATERIALIZE_NAMES_H
#define RC_MATERIALIZE_NAMES_H

#include <stdint.h>

#include "base/span.h"

#define RC_NO_NAME UINT32_MAX

struct rc_names;

struct rc_names *rc_names_new(void);
void rc_names_free(struct rc_names *names);

/* The number of `text`; a new one (the count so far) when it is not there yet. `text` is copied. Cost: one hash, one look-up. */
uint32_t rc_names_intern(struct rc_names *names, struct rc_span text);

/* The number of `text`, or RC_NO_NAME. */
uint32_t rc_names_find(const struct rc_names *names, struct rc_span text);

/* The text of a number below the count; NUL-terminated, borrowed for the table's life. */
const char *rc_names_text(const struct rc_names *names, uint32_t number);

uint32_t rc_names_count(const struct rc_names *names);

#endif
