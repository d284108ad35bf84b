/* What comes again after a crash: told once, never backwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "consumers/shared/repeats.h"

static struct rc_span key_of(const char *text) {
    return rc_span_str(text);
}

static struct rc_membership change(bool realized, int64_t since_ms) {
    return (struct rc_membership){.target = rc_span_str("seg"),
                                  .namespace = rc_span_str("n"),
                                  .person_id = rc_span_str("p"),
                                  .realized = realized,
                                  .since_ms = since_ms,
                                  .event_id = rc_span_str("e1"),
                                  .event_time_ms = since_ms};
}

static enum rc_repeat judge(struct rc_repeats *repeats, const char *key, bool realized, int64_t since_ms, int64_t fresh,
                            int64_t *version) {
    struct rc_membership made = change(realized, since_ms);
    return rc_repeats_judge(repeats, &made, key_of(key), fresh, version);
}

struct sent {
    size_t n;
    int64_t since_ms;
    bool realized;
    char key[64], event_id[64];
};

static void note(void *ctx, struct rc_span key, const struct rc_membership *made) {
    struct sent *sent = ctx;
    sent->n++;
    sent->since_ms = made->since_ms;
    sent->realized = made->realized;
    snprintf(sent->key, sizeof sent->key, "%.*s", (int)key.len, key.data);
    snprintf(sent->event_id, sizeof sent->event_id, "%.*s", (int)made->event_id.len, made->event_id.data);
}

static void the_same_work_again_sends_nothing(void **state) {
    (void)state;
    struct rc_repeats *repeats = rc_repeats_new();
    rc_repeats_seen(repeats, key_of("n:p|seg"), true, 10, 100);
    rc_repeats_seen(repeats, key_of("n:p|seg"), false, 20, 101);
    assert_int_equal(rc_repeats_greatest(repeats), 101);
    int64_t version = -7;
    assert_int_equal(judge(repeats, "n:p|seg", true, 10, 500, &version), RC_REPEAT_HELD);
    assert_int_equal(version, -7);
    assert_int_equal(judge(repeats, "n:p|seg", false, 20, 500, &version), RC_REPEAT_KNOWN);
    assert_int_equal(version, 101);
    struct sent sent = {0};
    rc_repeats_settle(repeats, note, &sent);
    assert_int_equal(sent.n, 0);
    assert_true(rc_repeats_empty(repeats));
    rc_repeats_free(repeats);
}

static void what_is_later_or_unknown_is_new(void **state) {
    (void)state;
    struct rc_repeats *repeats = rc_repeats_new();
    rc_repeats_seen(repeats, key_of("n:p|seg"), true, 10, 100);
    int64_t version;
    assert_int_equal(judge(repeats, "n:q|seg", true, 5, 500, &version), RC_REPEAT_NEW);
    assert_int_equal(version, 500);
    assert_int_equal(judge(repeats, "n:p|seg", false, 30, 501, &version), RC_REPEAT_NEW);
    assert_int_equal(version, 501);
    assert_int_equal(judge(repeats, "n:p|seg", false, 30, 502, &version), RC_REPEAT_KNOWN);
    assert_int_equal(version, 501);
    rc_repeats_free(repeats);
}

static void another_way_is_told_when_caught_up(void **state) {
    (void)state;
    struct rc_repeats *repeats = rc_repeats_new();
    rc_repeats_seen(repeats, key_of("n:p|seg"), true, 10, 100);
    rc_repeats_seen(repeats, key_of("n:p|seg"), false, 20, 101);
    int64_t version;
    assert_int_equal(judge(repeats, "n:p|seg", true, 10, 500, &version), RC_REPEAT_HELD);
    struct sent sent = {0};
    rc_repeats_settle(repeats, note, &sent);
    assert_int_equal(sent.n, 1);
    assert_true(sent.realized);
    assert_int_equal(sent.since_ms, 10);
    assert_string_equal(sent.key, "n:p|seg");
    assert_string_equal(sent.event_id, "e1");
    assert_int_equal(judge(repeats, "n:p|seg", false, 20, 501, &version), RC_REPEAT_NEW);
    rc_repeats_free(repeats);
}

static void a_former_owner_that_wakes_up_does_not_count(void **state) {
    (void)state;
    struct rc_repeats *repeats = rc_repeats_new();
    rc_repeats_seen(repeats, key_of("n:p|seg"), false, 20, (INT64_C(7) << 32) + 1);
    rc_repeats_seen(repeats, key_of("n:p|seg"), true, 10, (INT64_C(6) << 32) + 900);
    int64_t version;
    assert_int_equal(judge(repeats, "n:p|seg", false, 20, 1, &version), RC_REPEAT_KNOWN);
    assert_int_equal(version, (INT64_C(7) << 32) + 1);
    rc_repeats_free(repeats);
}

static void many_keys(void **state) {
    (void)state;
    struct rc_repeats *repeats = rc_repeats_new();
    char key[32];
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "n:%d|s", i);
        rc_repeats_seen(repeats, key_of(key), i % 2 == 0, i, i);
    }
    for (int i = 0; i < 20000; i++) {
        int64_t version;
        snprintf(key, sizeof key, "n:%d|s", i);
        assert_int_equal(judge(repeats, key, i % 2 == 0, i, -1, &version), RC_REPEAT_KNOWN);
        assert_int_equal(version, i);
    }
    rc_repeats_free(repeats);
}

static void versions_grow_over_owners(void **state) {
    (void)state;
    assert_int_equal(rc_versions_epoch_above(0, -1, 0), 1);
    assert_int_equal(rc_versions_epoch_above(3, (INT64_C(5) << 32) + 17, 4), 6);
    assert_int_equal(rc_versions_epoch_above(3, -1, 9), 10);
    struct rc_versions versions = {.epoch = 2, .counter = UINT32_MAX - 1};
    int64_t a = rc_versions_next(&versions), b = rc_versions_next(&versions), c = rc_versions_next(&versions);
    assert_true(a < b && b < c);
    assert_int_equal(a >> 32, 2);
    assert_int_equal(c >> 32, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_work_again_sends_nothing),
        cmocka_unit_test(what_is_later_or_unknown_is_new),
        cmocka_unit_test(another_way_is_told_when_caught_up),
        cmocka_unit_test(a_former_owner_that_wakes_up_does_not_count),
        cmocka_unit_test(many_keys),
        cmocka_unit_test(versions_grow_over_owners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
