/* What a sample says about all, and the days of a trend. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/estimate.h"

static void everybody_looked_at_is_no_estimate(void **state) {
    (void)state;
    for (uint64_t n = 0; n < 3; n++) {
        struct rc_estimate e = rc_estimate_total(n * 1000003, 1);
        assert_int_equal(e.value, n * 1000003);
        assert_int_equal(e.low, n * 1000003);
        assert_int_equal(e.high, n * 1000003);
    }
}

/* The bounds are the outermost N that the definition allows: they fulfil it, their neighbours do not. */
static bool allowed(uint64_t n, uint64_t found, double fraction) {
    return fabs((double)found - (double)n * fraction) <=
           1.959963984540054 * sqrt((double)n * fraction * (1 - fraction)) + 1e-9;
}

static void the_bounds_are_those_of_the_score_interval(void **state) {
    (void)state;
    const uint64_t founds[] = {1, 2, 7, 100, 12345, 4000000};
    const double fractions[] = {0.9, 0.5, 0.25, 1.0 / 3, 1.0 / 64, 0.001};
    for (size_t i = 0; i < sizeof founds / sizeof *founds; i++)
        for (size_t k = 0; k < sizeof fractions / sizeof *fractions; k++) {
            struct rc_estimate e = rc_estimate_total(founds[i], fractions[k]);
            assert_true(e.low <= e.value && e.value <= e.high);
            assert_true(fabs((double)e.value - (double)founds[i] / fractions[k]) <= 0.5);
            assert_true(allowed(e.high - 1, founds[i], fractions[k]));
            assert_false(allowed(e.high + 1, founds[i], fractions[k]));
            if (e.low > founds[i]) { /* else those who were found are the bound */
                assert_true(allowed(e.low + 1, founds[i], fractions[k]));
                assert_false(allowed(e.low - 1, founds[i], fractions[k]));
            }
            assert_true(e.low >= founds[i]);
        }
}

static void nobody_found_is_not_nobody(void **state) {
    (void)state;
    struct rc_estimate e = rc_estimate_total(0, 0.25);
    assert_int_equal(e.value, 0);
    assert_int_equal(e.low, 0);
    assert_int_equal(e.high, 12); /* 3.84 · 0.75 / 0.25 = 11.5 */
}

/* Of 20,000 draws of a quarter of 400 persons, 95 % have the truth in their interval (± what so many draws can differ by, five times). */
static void it_holds_the_truth_as_often_as_it_says(void **state) {
    (void)state;
    uint64_t seed = 88172645463325252u, inside = 0;
    for (int draw = 0; draw < 20000; draw++) {
        uint64_t found = 0;
        for (int person = 0; person < 400; person++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            found += (seed >> 40) % 4 == 0;
        }
        struct rc_estimate e = rc_estimate_total(found, 0.25);
        inside += e.low <= 400 && 400 <= e.high;
    }
    assert_in_range(inside, 18850, 19300);
}

static void days_end_where_the_local_date_does(void **state) {
    (void)state;
    const struct rc_timezone *zone;
    struct rc_error err;
    int64_t at, days[4], wanted;
    assert_int_equal(rc_timezone_load("Europe/Stockholm", &zone, &err), RC_OK);
    /* Around the day of 23 hours: 29 March 2026. */
    assert_int_equal(rc_rfc3339_parse("2026-03-30T09:00:00+02:00", 25, &at), RC_OK);
    rc_day_ends(zone, at, 4, days);
    const char *ends[] = {"2026-03-26T23:59:59.999+01:00", "2026-03-27T23:59:59.999+01:00",
                          "2026-03-28T23:59:59.999+01:00", "2026-03-29T23:59:59.999+02:00"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(rc_rfc3339_parse(ends[i], strlen(ends[i]), &wanted), RC_OK);
        assert_int_equal(days[i], wanted);
    }
    assert_int_equal(days[3] - days[2], 23 * 3600000);
    /* The first millisecond of a day is behind the end of the day before; none are asked for: none are written. */
    rc_day_ends(zone, days[3] + 1, 1, days);
    assert_int_equal(days[0], wanted);
    days[0] = 7;
    rc_day_ends(zone, at, 0, days);
    assert_int_equal(days[0], 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_looked_at_is_no_estimate),
        cmocka_unit_test(the_bounds_are_those_of_the_score_interval),
        cmocka_unit_test(nobody_found_is_not_nobody),
        cmocka_unit_test(it_holds_the_truth_as_often_as_it_says),
        cmocka_unit_test(days_end_where_the_local_date_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
