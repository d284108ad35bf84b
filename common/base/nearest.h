/* "Did you mean …": the nearest known word to one that is not known. */
#ifndef RC_BASE_NEAREST_H
#define RC_BASE_NEAREST_H

#include <stddef.h>

/* The word of `words` (n of them) nearest to `text` by edit distance (insert, delete, replace, swap of neighbours; case does not count), or
 * NULL when none is within a third of the length. Borrowed from `words`. Cost: n · |text| · |word|. */
const char *rc_nearest_word(const char *text, const char *const *words, size_t n);

#endif
