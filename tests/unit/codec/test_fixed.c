/* Numbers in fixed point: every way to one (double, decimal bytes, text) rounds as exact arithmetic does, or refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/dataset.h"
#include "codec/decimal.h"
#include "codec/fixed.h"
#include "fixed_vectors.h"

static void doubles_round_as_their_exact_value_does(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) {
        int64_t fixed = FAIL;
        rc_status status = rc_fixed_of_double(doubles[i].value, &fixed);
        if (fixed != doubles[i].fixed || (status == RC_OK) != (doubles[i].fixed != FAIL))
            fail_msg("%a: %lld, wanted %lld", doubles[i].value, (long long)fixed, (long long)doubles[i].fixed);
    }
}

static void decimals_round_exactly(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof decimals / sizeof *decimals; i++) {
        static uint8_t bytes[1024];
        size_t len = strlen(decimals[i].hex) / 2;
        for (size_t k = 0; k < len; k++) {
            char digits[3] = {decimals[i].hex[2 * k], decimals[i].hex[2 * k + 1]};
            bytes[k] = (uint8_t)strtoul(digits, NULL, 16);
        }
        int64_t fixed = FAIL;
        rc_status status = rc_fixed_of_decimal(bytes, len, decimals[i].scale, &fixed);
        if (fixed != decimals[i].fixed || (status == RC_OK) != (decimals[i].fixed != FAIL))
            fail_msg("%s scale %u: %lld, wanted %lld", decimals[i].hex, decimals[i].scale, (long long)fixed,
                     (long long)decimals[i].fixed);
    }
}

static void too_many_bytes_are_out_of_range(void **state) {
    (void)state;
    static uint8_t bytes[100000];
    int64_t fixed = 7;
    bytes[0] = 1;
    assert_int_equal(rc_fixed_of_decimal(bytes, sizeof bytes, 1000, &fixed), RC_FAIL);
    bytes[0] = 0;
    bytes[sizeof bytes - 1] = 3;
    assert_int_equal(rc_fixed_of_decimal(bytes, sizeof bytes, 0, &fixed), RC_OK); /* zeros in front say nothing */
    assert_int_equal(fixed, 3 * RC_FIXED_SCALE);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(rc_fixed_of_decimal(bytes, sizeof bytes, 0, &fixed), RC_OK);
    assert_int_equal(fixed, -RC_FIXED_SCALE);
}

static void longs(void **state) {
    (void)state;
    int64_t fixed = 7;
    assert_int_equal(rc_fixed_of_long(INT64_C(8999999999999), &fixed), RC_OK);
    assert_int_equal(fixed, INT64_C(8999999999999000000));
    assert_int_equal(rc_fixed_of_long(INT64_C(-8999999999999), &fixed), RC_OK);
    assert_int_equal(rc_fixed_of_long(INT64_C(9000000000000), &fixed), RC_FAIL);
    assert_int_equal(rc_fixed_of_long(INT64_C(-9000000000000), &fixed), RC_FAIL);
    assert_int_equal(rc_fixed_of_long(INT64_MIN, &fixed), RC_FAIL);
    assert_int_equal(rc_fixed_of_long(INT64_MAX, &fixed), RC_FAIL);
    assert_int_equal(fixed, INT64_C(-8999999999999000000));
}

/* Text to bytes and back; `again` is what comes out. NULL: refused. */
static void check_text(const char *text, unsigned scale, unsigned precision, const char *again) {
    uint8_t bytes[RC_DECIMAL_BYTES_MAX];
    size_t len;
    if (rc_decimal_parse(rc_span_str(text), scale, precision, bytes, &len) != RC_OK) {
        if (again)
            fail_msg("%s is refused", text);
        return;
    }
    if (!again)
        fail_msg("%s is taken", text);
    struct rc_buf out;
    rc_buf_init(&out, 2000);
    assert_int_equal(rc_decimal_add_text(&out, bytes, len, scale), RC_OK);
    assert_string_equal(out.data, again);
    rc_buf_deinit(&out);
}

static void decimal_texts(void **state) {
    (void)state;
    check_text("0", 0, 1, "0");
    check_text("0", 3, 9, "0.000");
    check_text("-0", 2, 9, "0.00");
    check_text("1.5", 2, 9, "1.50");
    check_text("+1.5", 2, 9, "1.50");
    check_text("-1.5", 2, 9, "-1.50");
    check_text("-0.01", 2, 9, "-0.01");
    check_text(".5", 2, 9, "0.50");
    check_text("5.", 2, 9, "5.00");
    check_text("1.500", 2, 9, "1.50");
    check_text("1.505", 2, 9, NULL);
    check_text("1.28", 2, 9, "1.28");
    check_text("-1.28", 2, 9, "-1.28");
    check_text("-1.29", 2, 9, "-1.29");
    check_text("2.55", 2, 9, "2.55");
    check_text("2.56", 2, 9, "2.56");
    check_text("12e3", 2, 9, "12000.00");
    check_text("12E-1", 2, 9, "1.20");
    check_text("1e99999", 2, 9, NULL);
    check_text("0e99999", 2, 9, "0.00");
    check_text("123456789012345678901234567890.12", 2, 40, "123456789012345678901234567890.12");
    check_text("-340282366920938463463374607431768211456", 0, 40, "-340282366920938463463374607431768211456");
    check_text("1234", 0, 3, NULL);
    check_text("12.34", 2, 3, NULL);
    check_text("", 2, 9, NULL);
    check_text("-", 2, 9, NULL);
    check_text(".", 2, 9, NULL);
    check_text("1.2.3", 2, 9, NULL);
    check_text("1e", 2, 9, NULL);
    check_text("1 ", 2, 9, NULL);
    check_text("NaN", 2, 9, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles_round_as_their_exact_value_does),
        cmocka_unit_test(decimals_round_exactly),
        cmocka_unit_test(too_many_bytes_are_out_of_range),
        cmocka_unit_test(longs),
        cmocka_unit_test(decimal_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
