/* Where a record first lay: written, found again, taken off; and headers that are no origin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/origin.h"

static struct rc_header header(const char *name, const char *value) {
    return (struct rc_header){rc_span_str(name), rc_span_str(value)};
}

static void what_is_written_is_found(void **state) {
    (void)state;
    struct rc_header headers[2 + RC_ORIGIN_HEADERS] = {header("trace", "7"), header(RC_ORIGIN_KEY, "the record's own")};
    struct rc_origin origin = {.topic = rc_span_str("web"), .partition = 3, .offset = INT64_MAX, .attempts = 1}, found;
    struct rc_origin_text text;
    assert_false(rc_origin_find(headers, 2, &found));
    assert_int_equal(rc_origin_strip(headers, 2), 2);

    assert_int_equal(rc_origin_headers(&origin, &text, headers + 2), 3);
    assert_true(rc_origin_find(headers, 5, &found));
    assert_true(rc_span_equal(found.topic, rc_span_str("web")));
    assert_int_equal(found.partition, 3);
    assert_true(found.offset == INT64_MAX);
    assert_int_equal(found.attempts, 1);

    origin.has_key = true;
    origin.key = rc_span_of("", 0);
    origin.attempts = 9;
    assert_int_equal(rc_origin_headers(&origin, &text, headers + 2), 5);
    assert_true(rc_origin_find(headers, 7, &found));
    assert_true(found.has_key);
    assert_int_equal(found.key.len, 0);
    assert_int_equal(found.attempts, 9);

    assert_int_equal(rc_origin_strip(headers, 7), 2);
    assert_true(rc_span_equal(headers[1].value, rc_span_str("the record's own")));
}

/* A copy of a copy: the last one counts, and what others put behind it stays. */
static void only_the_last_is_ours(void **state) {
    (void)state;
    struct rc_header headers[] = {header(RC_ORIGIN_TOPIC, "far"),   header(RC_ORIGIN_PARTITION, "1"),
                                  header(RC_ORIGIN_OFFSET, "11"),   header(RC_ORIGIN_TOPIC, "near"),
                                  header(RC_ORIGIN_PARTITION, "2"), header("traceparent", "x"),
                                  header(RC_ORIGIN_OFFSET, "22")};
    struct rc_origin found;
    assert_true(rc_origin_find(headers, 7, &found));
    assert_true(rc_span_equal(found.topic, rc_span_str("near")));
    assert_int_equal(found.partition, 2);
    assert_int_equal(found.offset, 22);
    assert_int_equal(rc_origin_strip(headers, 7), 4);
    assert_true(rc_span_equal(headers[3].name, rc_span_str("traceparent")));
    assert_true(rc_origin_find(headers, 4, &found));
    assert_int_equal(found.offset, 11);
}

static void what_is_not_sound_is_none(void **state) {
    (void)state;
    static const char *const values[][2] = {
        {"-1", "1"}, {"2147483648", "1"},          {"1", ""}, {"1", "x"}, {"1", "9223372036854775808"},
        {"1 ", "1"}, {"1", "99999999999999999999"}};
    struct rc_origin found = {.offset = 5};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct rc_header headers[] = {header(RC_ORIGIN_TOPIC, "web"), header(RC_ORIGIN_PARTITION, values[i][0]),
                                      header(RC_ORIGIN_OFFSET, values[i][1])};
        assert_false(rc_origin_find(headers, 3, &found));
        assert_int_equal(found.offset, 5);
    }
    struct rc_header odd[] = {header(RC_ORIGIN_TOPIC, "web"), header(RC_ORIGIN_PARTITION, "0"),
                              header(RC_ORIGIN_OFFSET, "0"), header(RC_ORIGIN_ATTEMPTS, "many")};
    assert_true(rc_origin_find(odd, 4, &found));
    assert_int_equal(found.attempts, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_found),
        cmocka_unit_test(only_the_last_is_ours),
        cmocka_unit_test(what_is_not_sound_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
