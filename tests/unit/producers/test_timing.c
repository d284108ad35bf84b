/* Times of files, and where --shift and --pace put them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "producers/timing.h"

static int64_t parsed(const char *text, enum rc_time_unit unit, const char *zone_name) {
    const struct rc_timezone *zone;
    struct rc_error err;
    assert_int_equal(rc_timezone_load(zone_name, &zone, &err), RC_OK);
    int64_t ms = INT64_MIN;
    if (rc_timing_parse(rc_span_str(text), unit, zone, &ms) != RC_OK)
        return INT64_MIN;
    return ms;
}

static void test_parse_integers_by_unit(void **state) {
    (void)state;
    assert_int_equal(parsed("1710325274123", RC_UNIT_MS, "UTC"), 1710325274123);
    assert_int_equal(parsed("1710325274", RC_UNIT_S, "UTC"), 1710325274000);
    assert_int_equal(parsed("1710325274123999", RC_UNIT_US, "UTC"), 1710325274123);
    assert_int_equal(parsed("-1", RC_UNIT_US, "UTC"), -1); /* towards minus infinity */
    assert_int_equal(parsed("1710325274123", RC_UNIT_RFC3339, "UTC"), 1710325274123);
}

static void test_parse_texts(void **state) {
    (void)state;
    assert_int_equal(parsed("2024-03-13T10:21:14Z", RC_UNIT_MS, "UTC"), 1710325274000);
    assert_int_equal(parsed("2024-03-13T10:21:14.5+01:00", RC_UNIT_MS, "UTC"), 1710321674500);
    assert_int_equal(parsed("2024-03-13 10:21:14", RC_UNIT_MS, "UTC"), 1710325274000);
    assert_int_equal(parsed("2024-03-13 10:21:14", RC_UNIT_MS, "Europe/Stockholm"), 1710321674000);
    assert_int_equal(parsed("2024-07-13 10:21:14", RC_UNIT_S, "Europe/Stockholm"), 1720858874000);
}

static void test_parse_refuses(void **state) {
    (void)state;
    const char *bad[] = {
        "",   "-", "yesterday", "12.5", "1e9", "99999999999999999999", "2024-13-01 00:00:00", "2024-03-13 10:21:14 CET",
        "+5", " 5"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(parsed(bad[i], RC_UNIT_MS, "UTC"), INT64_MIN);
    assert_int_equal(parsed("253402300800000", RC_UNIT_MS, "UTC"), INT64_MIN); /* year 10000 */
    assert_int_equal(parsed("9223372036854775807", RC_UNIT_S, "UTC"), INT64_MIN);
}

static void test_pace(void **state) {
    (void)state;
    struct rc_timing timing = {.mode = RC_TIMING_PACE,
                               .unit = RC_UNIT_MS,
                               .first_ms = 1000,
                               .last_ms = 15000001000,
                               .start_ms = 1700000000000,
                               .span_ms = 120000};
    assert_int_equal(rc_timing_map(&timing, 1000), 1700000000000);
    assert_int_equal(rc_timing_map(&timing, 15000001000), 1700000120000);
    assert_int_equal(rc_timing_map(&timing, 7500001000), 1700000060000);
    assert_int_equal(rc_timing_map(&timing, 1000 + 124999), 1700000000000); /* rounded down: 125 s are one ms */
    assert_int_equal(rc_timing_map(&timing, 1000 + 125000), 1700000000001);
    int64_t before = INT64_MIN;
    for (int64_t at = 1000; at <= 15000001000; at += 7777777) {
        int64_t mapped = rc_timing_map(&timing, at);
        assert_true(mapped >= before);
        before = mapped;
    }
    /* As far as times go and a pace may be: 64 bits would not do. */
    timing.first_ms = -62135596800000;
    timing.last_ms = 253402300799999;
    timing.span_ms = 86400000000;
    assert_int_equal(rc_timing_map(&timing, 253402300799999), 1700000000000 + 86400000000);
}

static void test_pace_of_one_instant(void **state) {
    (void)state;
    struct rc_timing timing = {.mode = RC_TIMING_PACE, .first_ms = 5, .last_ms = 5, .start_ms = 77, .span_ms = 1000};
    assert_int_equal(rc_timing_map(&timing, 5), 77);
}

static void test_shift_and_seconds(void **state) {
    (void)state;
    struct rc_timing timing = {.mode = RC_TIMING_SHIFT, .first_ms = 1000, .last_ms = 61000, .start_ms = 1700000000999};
    assert_int_equal(rc_timing_map(&timing, 61000), 1700000000999);
    assert_int_equal(rc_timing_map(&timing, 1000), 1699999940999);
    timing.unit = RC_UNIT_S; /* a dataset in seconds cannot say more */
    assert_int_equal(rc_timing_map(&timing, 61000), 1700000000000);
    timing.mode = RC_TIMING_KEEP;
    assert_int_equal(rc_timing_map(&timing, 1234), 1234);
}

static void written(enum rc_time_unit unit, int64_t ms, const char *expected) {
    struct rc_buf out;
    rc_buf_init(&out, 100);
    assert_int_equal(rc_timing_write(&out, unit, ms), RC_OK);
    assert_string_equal(out.data, expected);
    rc_buf_deinit(&out);
}

static void test_write(void **state) {
    (void)state;
    written(RC_UNIT_MS, 1710325274123, "1710325274123");
    written(RC_UNIT_S, 1710325274123, "1710325274");
    written(RC_UNIT_S, -1, "-1");
    written(RC_UNIT_US, 1710325274123, "1710325274123000");
    written(RC_UNIT_RFC3339, 1710325274123, "2024-03-13T10:21:14.123Z");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_integers_by_unit),
        cmocka_unit_test(test_parse_texts),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_pace_of_one_instant),
        cmocka_unit_test(test_shift_and_seconds),
        cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
