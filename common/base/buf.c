#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

void rc_buf_init(struct rc_buf *buf, size_t limit) {
    *buf = (struct rc_buf){.limit = limit};
}

void rc_buf_deinit(struct rc_buf *buf) {
    free(buf->data);
    *buf = (struct rc_buf){.limit = buf->limit};
}

void rc_buf_reset(struct rc_buf *buf) {
    buf->len = 0;
    buf->full = false;
    if (buf->data)
        buf->data[0] = '\0';
}

/* Makes room for `more` bytes and a NUL. */
static rc_status reserve(struct rc_buf *buf, size_t more) {
    if (buf->full || more > buf->limit - buf->len) {
        buf->full = true;
        return RC_FAIL;
    }
    size_t need = buf->len + more + 1;
    if (need > buf->cap) {
        size_t cap = buf->cap ? buf->cap * 2 : 64;
        if (cap < need)
            cap = need;
        buf->data = rc_realloc(buf->data, cap);
        buf->cap = cap;
    }
    return RC_OK;
}

rc_status rc_buf_add(struct rc_buf *buf, const void *data, size_t len) {
    if (reserve(buf, len) != RC_OK)
        return RC_FAIL;
    if (len)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return RC_OK;
}

rc_status rc_buf_add_span(struct rc_buf *buf, struct rc_span span) {
    return rc_buf_add(buf, span.data, span.len);
}

rc_status rc_buf_add_str(struct rc_buf *buf, const char *text) {
    return rc_buf_add(buf, text, strlen(text));
}

rc_status rc_buf_add_byte(struct rc_buf *buf, uint8_t byte) {
    return rc_buf_add(buf, &byte, 1);
}

rc_status rc_buf_vprintf(struct rc_buf *buf, const char *fmt, va_list ap) {
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0 || reserve(buf, (size_t)n) != RC_OK)
        return RC_FAIL;
    vsnprintf(buf->data + buf->len, (size_t)n + 1, fmt, ap);
    buf->len += (size_t)n;
    return RC_OK;
}

rc_status rc_buf_printf(struct rc_buf *buf, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    rc_status status = rc_buf_vprintf(buf, fmt, ap);
    va_end(ap);
    return status;
}

rc_status rc_buf_add_varint(struct rc_buf *buf, uint64_t value) {
    uint8_t bytes[10];
    size_t n = 0;
    do {
        bytes[n] = (uint8_t)(value & 0x7f);
        value >>= 7;
        if (value)
            bytes[n] |= 0x80;
        n++;
    } while (value);
    return rc_buf_add(buf, bytes, n);
}

rc_status rc_buf_add_zigzag(struct rc_buf *buf, int64_t value) {
    return rc_buf_add_varint(buf, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

/* Length of the valid UTF-8 sequence at `s`, 0 when it is none (RFC 3629: no overlong forms, no surrogates). */
static size_t utf8_length(const unsigned char *s, size_t len) {
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

rc_status rc_buf_add_json_string(struct rc_buf *buf, struct rc_span text) {
    rc_buf_add_byte(buf, '"');
    for (size_t i = 0; i < text.len;) {
        unsigned char c = (unsigned char)text.data[i];
        size_t n = utf8_length((const unsigned char *)text.data + i, text.len - i);
        if (n == 0) {
            rc_buf_add_str(buf, "\xef\xbf\xbd");
            n = 1;
        } else if (c == '"' || c == '\\') {
            rc_buf_printf(buf, "\\%c", c);
        } else if (c < 0x20) {
            const char *const short_forms[] = {
                ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r"};
            if (c <= '\r' && short_forms[c])
                rc_buf_add_str(buf, short_forms[c]);
            else
                rc_buf_printf(buf, "\\u%04x", c);
        } else {
            rc_buf_add(buf, text.data + i, n);
        }
        i += n;
    }
    return rc_buf_add_byte(buf, '"');
}

rc_status rc_take_varint(struct rc_span *in, uint64_t *out) {
    uint64_t value = 0;
    for (size_t i = 0; i < in->len && i < 10; i++) {
        uint8_t byte = (uint8_t)in->data[i];
        if (i == 9 && byte > 1)
            return RC_FAIL;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *out = value;
            *in = rc_span_of(in->data + i + 1, in->len - i - 1);
            return RC_OK;
        }
    }
    return RC_FAIL;
}

rc_status rc_take_zigzag(struct rc_span *in, int64_t *out) {
    uint64_t value;
    if (rc_take_varint(in, &value) != RC_OK)
        return RC_FAIL;
    *out = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
    return RC_OK;
}

rc_status rc_take_bytes(struct rc_span *in, size_t len, struct rc_span *out) {
    if (len > in->len)
        return RC_FAIL;
    *out = rc_span_of(in->data, len);
    *in = rc_span_of(in->data + len, in->len - len);
    return RC_OK;
}
