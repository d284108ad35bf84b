/* Numbers in fixed point with 6 decimals (definitions.md §2), exactly: no floating arithmetic, so no rounding but
 * the one that the definition names (half to even), and a sum never depends on order. */
#ifndef RC_CODEC_FIXED_H
#define RC_CODEC_FIXED_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* All give value · 10⁶. RC_FAIL when the rounded magnitude is 9·10¹² or more, or the number is none (NaN, infinite). */

/* The exact value of the IEEE double, rounded half to even. */
rc_status rc_fixed_of_double(double value, int64_t *out) RC_MUST_USE;

rc_status rc_fixed_of_long(int64_t value, int64_t *out) RC_MUST_USE;

/* An Avro decimal: `len` bytes of big-endian two's complement, divided by 10^scale; rounded half to even. No bytes
 * is 0. `scale` at most RC_FIXED_SCALE_MAX. Cost: quadratic in `len`, which is bounded (more than 512 significant
 * bytes are out of range). */
#define RC_FIXED_SCALE_MAX 1000
rc_status rc_fixed_of_decimal(const uint8_t *bytes, size_t len, unsigned scale, int64_t *out) RC_MUST_USE;

#endif
