/* A growable byte buffer that is born with a ceiling (after curl's dynbuf).
 *
 * Invariants: len <= cap <= limit; data[len] is readable and NUL when cap > 0, so text may be printed as it is.
 * Life: rc_buf_init → append… → rc_buf_reset (keeps the memory) → … → rc_buf_deinit. A buffer that has met its ceiling
 * refuses all later appends until reset (`full` is set), so a caller may append many times and look once. */
#ifndef RC_BASE_BUF_H
#define RC_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/span.h"

struct rc_buf {
    char *data;   /* owned */
    size_t len;   /* bytes used */
    size_t cap;   /* bytes allocated */
    size_t limit; /* ceiling in bytes, fixed at init */
    bool full;    /* an append was refused since init or reset */
};

void rc_buf_init(struct rc_buf *buf, size_t limit);
void rc_buf_deinit(struct rc_buf *buf);
void rc_buf_reset(struct rc_buf *buf);

/* Appends; RC_FAIL (and nothing appended) past the ceiling. */
rc_status rc_buf_add(struct rc_buf *buf, const void *data, size_t len);
rc_status rc_buf_add_span(struct rc_buf *buf, struct rc_span span);
rc_status rc_buf_add_str(struct rc_buf *buf, const char *text);
rc_status rc_buf_add_byte(struct rc_buf *buf, uint8_t byte);
rc_status rc_buf_printf(struct rc_buf *buf, const char *fmt, ...) RC_PRINTF(2, 3);
rc_status rc_buf_vprintf(struct rc_buf *buf, const char *fmt, va_list ap) RC_PRINTF(2, 0);

/* LEB128 unsigned, and zigzag signed (as Avro's int and long are written). */
rc_status rc_buf_add_varint(struct rc_buf *buf, uint64_t value);
rc_status rc_buf_add_zigzag(struct rc_buf *buf, int64_t value);

/* JSON string with quotes, escaped; bytes that are not UTF-8 become U+FFFD. */
rc_status rc_buf_add_json_string(struct rc_buf *buf, struct rc_span text);

static inline struct rc_span rc_buf_span(const struct rc_buf *buf) {
    return rc_span_of(buf->data, buf->len);
}

/* Reads from the front of `*in` and moves it on. RC_FAIL, with `*in` as it was, when the bytes end early or overflow. */
rc_status rc_take_varint(struct rc_span *in, uint64_t *out) RC_MUST_USE;
rc_status rc_take_zigzag(struct rc_span *in, int64_t *out) RC_MUST_USE;
rc_status rc_take_bytes(struct rc_span *in, size_t len, struct rc_span *out) RC_MUST_USE;

#endif
