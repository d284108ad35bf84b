/* Interned strings: one number per distinct text, counted by its users, so that per-person state holds and compares eight bytes
 * whatever the text. Two texts never share a number, as they could share a hash. One thread at a time. */
#ifndef RC_SEGMENT_STRINGS_H
#define RC_SEGMENT_STRINGS_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

struct rc_strings {
    struct rc_string_entry *entries; /* by number; owned */
    size_t n, capacity;
    uint32_t *slots; /* open addressing: number + 1, 0 free; owned */
    size_t n_slots, n_used;
    uint32_t free_list; /* number + 1 of the first free entry */
    size_t bytes;       /* of text held */
};

void rc_strings_init(struct rc_strings *strings);
void rc_strings_deinit(struct rc_strings *strings);

/* The number of `text`, counted up by one. */
uint32_t rc_strings_hold(struct rc_strings *strings, struct rc_span text);
/* Counts up a number that is held already. */
void rc_strings_share(struct rc_strings *strings, uint32_t number);
/* Counts down; the last release frees the text and its number may be given out again. */
void rc_strings_release(struct rc_strings *strings, uint32_t number);
/* Borrowed until the number is released. */
struct rc_span rc_strings_get(const struct rc_strings *strings, uint32_t number);

#endif
