#include "base/alloc.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *p, size_t bytes) {
    if (!p) {
        fprintf(stderr, "level=fatal msg=\"out of memory\" bytes=%zu\n", bytes);
        abort();
    }
    return p;
}

void *rc_alloc(size_t bytes) {
    return checked(malloc(bytes ? bytes : 1), bytes);
}

void *rc_calloc(size_t count, size_t bytes) {
    return checked(calloc(count ? count : 1, bytes ? bytes : 1), bytes);
}

void *rc_realloc(void *old, size_t bytes) {
    return checked(realloc(old, bytes ? bytes : 1), bytes);
}

char *rc_strdup(const char *text) {
    return rc_span_dup(rc_span_str(text));
}

char *rc_span_dup(struct rc_span span) {
    char *copy = rc_alloc(span.len + 1);
    if (span.len)
        memcpy(copy, span.data, span.len);
    copy[span.len] = '\0';
    return copy;
}

void rc_grow(void *items, size_t *capacity, size_t need, size_t size) {
    if (need <= *capacity)
        return;
    size_t cap = *capacity ? *capacity * 2 : 8;
    if (cap < need)
        cap = need;
    if (cap > SIZE_MAX / size)
        checked(NULL, cap);
    void **slot = items;
    *slot = rc_realloc(*slot, cap * size);
    *capacity = cap;
}
