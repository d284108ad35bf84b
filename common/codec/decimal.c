#include "codec/decimal.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX 1240 /* of RC_DECIMAL_BYTES_MAX bytes: 512 · 8 · log10(2) = 1233 */

rc_status rc_decimal_add_text(struct rc_buf *out, const uint8_t *bytes, size_t len, unsigned scale) {
    if (len > RC_DECIMAL_BYTES_MAX)
        return RC_FAIL;
    uint8_t magnitude[RC_DECIMAL_BYTES_MAX + 1] = {0}; /* big-endian */
    bool negative = len && (bytes[0] & 0x80);
    unsigned carry = negative;
    for (size_t i = len; i-- > 0;) {
        unsigned byte = (uint8_t)(negative ? ~bytes[i] : bytes[i]) + carry;
        magnitude[i + 1] = (uint8_t)byte;
        carry = byte >> 8;
    }
    magnitude[0] = (uint8_t)carry;

    char digits[DIGITS_MAX + 1]; /* least first */
    size_t n = 0, from = 0;
    while (from <= len) {
        unsigned rest = 0;
        for (size_t i = from; i <= len; i++) {
            unsigned part = rest << 8 | magnitude[i];
            magnitude[i] = (uint8_t)(part / 10);
            rest = part % 10;
        }
        digits[n++] = (char)('0' + rest);
        while (from <= len && magnitude[from] == 0)
            from++;
    }
    if (negative)
        rc_buf_add_byte(out, '-');
    size_t whole = n > scale ? n - scale : 0;
    if (whole == 0)
        rc_buf_add_byte(out, '0');
    for (size_t i = 0; i < whole; i++)
        rc_buf_add_byte(out, (uint8_t)digits[n - 1 - i]);
    if (scale)
        rc_buf_add_byte(out, '.');
    for (size_t i = scale; i-- > 0;)
        rc_buf_add_byte(out, i < n ? (uint8_t)digits[i] : '0');
    return out->full ? RC_FAIL : RC_OK;
}

/* The digits of `text` as a whole number: `*places` of them stand behind the point. */
static rc_status scan(struct rc_span text, bool *negative, char *digits, size_t *n, long *places) {
    size_t i = 0;
    bool any = false, point = false;
    *negative = text.len && text.data[0] == '-';
    if (text.len && (text.data[0] == '-' || text.data[0] == '+'))
        i++;
    *n = 0;
    *places = 0;
    for (; i < text.len; i++) {
        char c = text.data[i];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9')
            break;
        any = true;
        if (point)
            ++*places;
        if (*n == 0 && c == '0')
            continue;
        if (*n == DIGITS_MAX)
            return RC_FAIL;
        digits[(*n)++] = c;
    }
    if (!any)
        return RC_FAIL;
    if (i < text.len) {
        if (text.data[i] != 'e' && text.data[i] != 'E')
            return RC_FAIL;
        bool minus = ++i < text.len && text.data[i] == '-';
        if (i < text.len && (text.data[i] == '-' || text.data[i] == '+'))
            i++;
        long exponent = 0;
        if (i == text.len || text.len - i > 6)
            return RC_FAIL;
        for (; i < text.len; i++) {
            if (text.data[i] < '0' || text.data[i] > '9')
                return RC_FAIL;
            exponent = exponent * 10 + (text.data[i] - '0');
        }
        *places += minus ? exponent : -exponent;
    }
    return RC_OK;
}

rc_status rc_decimal_parse(struct rc_span text, unsigned scale, unsigned precision, uint8_t *out, size_t *len) {
    char digits[DIGITS_MAX];
    size_t n;
    long places;
    bool negative;
    if (scan(text, &negative, digits, &n, &places) != RC_OK)
        return RC_FAIL;
    while (n && places > (long)scale && digits[n - 1] == '0') {
        n--;
        places--;
    }
    if (n && places > (long)scale)
        return RC_FAIL;
    if (n == 0)
        places = scale;
    if (n + (size_t)((long)scale - places) > DIGITS_MAX || n + (size_t)((long)scale - places) > precision)
        return RC_FAIL;
    while (places < (long)scale) {
        digits[n++] = '0';
        places++;
    }

    uint8_t magnitude[RC_DECIMAL_BYTES_MAX + 8] = {0}; /* big-endian, its last byte the least */
    size_t size = sizeof magnitude, used = 0;
    for (size_t d = 0; d < n; d++) {
        unsigned carry = (unsigned)(digits[d] - '0');
        for (size_t i = 0; i < used || carry; i++) {
            if (i == size)
                return RC_FAIL;
            unsigned part = magnitude[size - 1 - i] * 10U + carry;
            magnitude[size - 1 - i] = (uint8_t)part;
            carry = part >> 8;
            if (i >= used)
                used = i + 1;
        }
    }
    if (negative)
        for (size_t i = size, carry = 1; i-- > 0;) {
            unsigned byte = (uint8_t)~magnitude[i] + (unsigned)carry;
            magnitude[i] = (uint8_t)byte;
            carry = byte >> 8;
        }
    size_t start = 0; /* sign bytes that say nothing go */
    uint8_t filler = n && negative ? 0xff : 0x00;
    while (start + 1 < size && magnitude[start] == filler && ((magnitude[start + 1] ^ filler) & 0x80) == 0)
        start++;
    if (size - start > RC_DECIMAL_BYTES_MAX)
        return RC_FAIL;
    *len = size - start;
    memcpy(out, magnitude + start, *len);
    return RC_OK;
}
