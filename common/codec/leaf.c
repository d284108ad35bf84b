#include "codec/leaf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *rc_leaf_name(enum rc_leaf_kind kind) {
    static const char *const names[] = {
        [RC_LEAF_TEXT] = "text",           [RC_LEAF_LONG] = "an integer",
        [RC_LEAF_TIME_MS] = "a timestamp", [RC_LEAF_TIME_US] = "a timestamp",
        [RC_LEAF_TIME_NS] = "a timestamp", [RC_LEAF_BIG] = "an integer beyond 64 bits",
        [RC_LEAF_BOOLEAN] = "a boolean",   [RC_LEAF_DOUBLE] = "a number with a fraction or exponent",
        [RC_LEAF_DECIMAL] = "a decimal",   [RC_LEAF_TOO_LARGE] = "a number too large",
        [RC_LEAF_RECORD] = "a record",     [RC_LEAF_BYTES] = "bytes that are no text",
    };
    return names[kind];
}

enum rc_decoded rc_refuse(enum rc_reason *reason, enum rc_reason why, struct rc_error *err, const char *fmt, ...) {
    *reason = why;
    if (!err)
        return RC_BAD;
    char detail[1536];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    (void)rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s: %s", rc_reason_text(why), detail);
    return RC_BAD;
}

bool rc_is_utf8(struct rc_span text) {
    const unsigned char *s = (const unsigned char *)text.data, *end = s + text.len;
    while (s < end) {
        uint64_t word;
        if (end - s >= 8 && (memcpy(&word, s, 8), (word & UINT64_C(0x8080808080808080)) == 0)) {
            s += 8;
            continue;
        }
        if (*s < 0x80) {
            s++;
            continue;
        }
        size_t n = *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : 2;
        if (*s < 0xc2 || *s > 0xf4 || (size_t)(end - s) < n)
            return false;
        if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) || (*s == 0xf0 && s[1] < 0x90) ||
            (*s == 0xf4 && s[1] > 0x8f))
            return false;
        for (size_t i = 1; i < n; i++)
            if ((s[i] & 0xc0) != 0x80)
                return false;
        s += n;
    }
    return true;
}
