/* Avro decimals of any size as text and back: exact, no number type in between. */
#ifndef RC_CODEC_DECIMAL_H
#define RC_CODEC_DECIMAL_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

#define RC_DECIMAL_BYTES_MAX 512

/* Appends `len` bytes of big-endian two's complement, divided by 10^scale, as decimal text with `scale` places
 * ("-0.50"). Fails above RC_DECIMAL_BYTES_MAX bytes, or when `out` is full. Cost: quadratic in `len`. */
rc_status rc_decimal_add_text(struct rc_buf *out, const uint8_t *bytes, size_t len, unsigned scale) RC_MUST_USE;

/* The reverse: text (optional sign, digits, optional fraction, optional exponent) as the fewest bytes of two's
 * complement that hold it; `out` has room for RC_DECIMAL_BYTES_MAX, `*len` is how many were used. Fails when it is
 * no such text, has more than `scale` places (zeros at the end do not count) or more than `precision` digits. */
rc_status rc_decimal_parse(struct rc_span text, unsigned scale, unsigned precision, uint8_t *out, size_t *len)
    RC_MUST_USE;

#endif
