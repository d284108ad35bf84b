/* A borrowed view of bytes: pointer and length, passed by value. Never owns, need not end in NUL. */
#ifndef RC_BASE_SPAN_H
#define RC_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct rc_span {
    const char *data; /* borrowed; may be NULL only when len is 0 */
    size_t len;       /* bytes */
};

static inline struct rc_span rc_span_of(const void *data, size_t len) {
    return (struct rc_span){.data = (const char *)data, .len = len};
}

/* View of a NUL-terminated text (NULL gives the empty span). */
static inline struct rc_span rc_span_str(const char *text) {
    return rc_span_of(text, text ? strlen(text) : 0);
}

static inline bool rc_span_equal(struct rc_span a, struct rc_span b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Byte order (as memcmp), the shorter first when one is a prefix of the other. Negative, 0, positive. */
static inline int rc_span_compare(struct rc_span a, struct rc_span b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.data, b.data, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

#endif
