/* Allocation that does not return NULL. Rollcall is crash-only (docs/decisions/0002-crash-only-allocation.md): effects
 * become durable before offsets do, so a process that cannot get memory prints what it asked for and aborts, and the next
 * start goes on from the last checkpoint. Sizes that come from outside are checked against ceilings before they get here. */
#ifndef RC_BASE_ALLOC_H
#define RC_BASE_ALLOC_H

#include <stddef.h>

#include "base/span.h"

/* All three return memory owned by the caller, to be released with free(3). Zero bytes give a valid pointer. */
void *rc_alloc(size_t bytes) __attribute__((malloc, returns_nonnull));
void *rc_calloc(size_t count, size_t bytes) __attribute__((malloc, returns_nonnull));
void *rc_realloc(void *old, size_t bytes) __attribute__((returns_nonnull));

/* NUL-terminated copies, owned by the caller. */
char *rc_strdup(const char *text) __attribute__((malloc, returns_nonnull));
char *rc_span_dup(struct rc_span span) __attribute__((malloc, returns_nonnull));

/* Grows `*items` (an array of `size`-byte items, `*capacity` of them) so that it holds at least `need` items; doubles. */
void rc_grow(void *items, size_t *capacity, size_t need, size_t size);

#endif
