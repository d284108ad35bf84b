#include "codec/fixed.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "codec/dataset.h"

rc_status rc_fixed_of_double(double value, int64_t *out) {
    if (!isfinite(value) || fabs(value) >= 9.5e12)
        return RC_FAIL;
    /* value = mantissa · 2^exponent with a whole mantissa of 53 bits; below 2^44, so the exponent is negative */
    int exponent;
    int64_t mantissa = (int64_t)ldexp(frexp(value, &exponent), 53);
    exponent -= 53;
    if (mantissa == 0) {
        *out = 0;
        return RC_OK;
    }
    bool negative = mantissa < 0;
    unsigned __int128 scaled =
        (unsigned __int128)(negative ? -mantissa : mantissa) * (uint64_t)RC_FIXED_SCALE; /* < 2^73 */
    int shift = -exponent;
    uint64_t whole = 0;
    if (shift < 75) {
        whole = (uint64_t)(scaled >> shift);
        unsigned __int128 rest = scaled & (((unsigned __int128)1 << shift) - 1),
                          half = (unsigned __int128)1 << (shift - 1);
        if (rest > half || (rest == half && (whole & 1)))
            whole++;
    } /* else less than a half: 0 */
    if (whole >= (uint64_t)RC_FIXED_MAX)
        return RC_FAIL;
    *out = negative ? -(int64_t)whole : (int64_t)whole;
    return RC_OK;
}

rc_status rc_fixed_of_long(int64_t value, int64_t *out) {
    if (value >= RC_FIXED_MAX / RC_FIXED_SCALE || value <= -(RC_FIXED_MAX / RC_FIXED_SCALE))
        return RC_FAIL;
    *out = value * RC_FIXED_SCALE;
    return RC_OK;
}

/* A magnitude as 32-bit limbs, least first. 10^1000 · 9·10¹⁸, the largest that can still be in range, has 3,385
 * bits. */
#define BYTES_MAX 512
#define LIMBS (BYTES_MAX / 4)

/* Divides in place; gives the remainder. */
static uint32_t divide(uint32_t *limbs, size_t *n, uint32_t by) {
    uint64_t rest = 0;
    for (size_t i = *n; i-- > 0;) {
        uint64_t part = rest << 32 | limbs[i];
        limbs[i] = (uint32_t)(part / by);
        rest = part % by;
    }
    while (*n && limbs[*n - 1] == 0)
        --*n;
    return (uint32_t)rest;
}

/* Rounds |value| · 10^-drop half to even; RC_FAIL when that has more than 64 bits. */
static rc_status shorten(uint32_t *limbs, size_t n, unsigned drop, uint64_t *out) {
    static const uint32_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};
    bool sticky = false; /* something not 0 lies below the last digit dropped */
    while (drop > 1) {
        unsigned step = drop - 1 < 9 ? drop - 1 : 9;
        sticky |= divide(limbs, &n, powers[step]) != 0;
        drop -= step;
    }
    uint32_t digit = drop ? divide(limbs, &n, 10) : 0;
    if (n > 2)
        return RC_FAIL;
    uint64_t whole = (n > 0 ? limbs[0] : 0) | (n > 1 ? (uint64_t)limbs[1] << 32 : 0);
    if (digit > 5 || (digit == 5 && (sticky || (whole & 1)))) {
        if (whole == UINT64_MAX)
            return RC_FAIL;
        whole++;
    }
    *out = whole;
    return RC_OK;
}

rc_status rc_fixed_of_decimal(const uint8_t *bytes, size_t len, unsigned scale, int64_t *out) {
    bool negative = len && (bytes[0] & 0x80);
    const uint8_t filler = negative ? 0xff : 0x00;
    while (len > 1 && bytes[0] == filler && ((bytes[1] ^ filler) & 0x80) == 0) {
        bytes++; /* a sign byte that says nothing */
        len--;
    }
    if (len > BYTES_MAX - 4)
        return RC_FAIL;

    uint32_t limbs[LIMBS] = {0};
    for (size_t i = 0; i < len; i++) {
        size_t place = len - 1 - i;
        limbs[place / 4] |= (uint32_t)(uint8_t)(bytes[i] ^ filler) << (8 * (place % 4));
    }
    size_t n = (len + 3) / 4;
    if (negative) { /* the magnitude is the complement plus one */
        size_t i = 0;
        while (++limbs[i] == 0)
            i++;
        if (i >= n)
            n = i + 1;
    }
    while (n && limbs[n - 1] == 0)
        n--;

    uint64_t whole;
    if (scale >= 6) {
        if (shorten(limbs, n, scale - 6, &whole) != RC_OK || whole >= (uint64_t)RC_FIXED_MAX)
            return RC_FAIL;
    } else {
        if (n > 2)
            return RC_FAIL;
        whole = (n > 0 ? limbs[0] : 0) | (n > 1 ? (uint64_t)limbs[1] << 32 : 0);
        for (unsigned i = scale; i < 6; i++)
            if (__builtin_mul_overflow(whole, 10, &whole))
                return RC_FAIL;
        if (whole >= (uint64_t)RC_FIXED_MAX)
            return RC_FAIL;
    }
    *out = negative ? -(int64_t)whole : (int64_t)whole;
    return RC_OK;
}
