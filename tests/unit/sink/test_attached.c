/* Which audiences are taken as they come, which come late, and what a store is told to remember, in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consumers/sink/attached.h"

/* A set that is not on the heap; audiences ordered by id. */
#define SET(name, ...)                                           \
    struct rc_route_audience name##_audiences[] = {__VA_ARGS__}; \
    struct rc_route_set name = {.audiences = name##_audiences, .n = sizeof name##_audiences / sizeof *name##_audiences}

struct store {
    char told[512];
    int fail_at; /* the call that fails; 0: none */
    int calls;
};

static rc_status tell(struct store *store, const char *what, const char *id, bool passed) {
    if (++store->calls == store->fail_at)
        return RC_FAIL;
    size_t at = strlen(store->told);
    snprintf(store->told + at, sizeof store->told - at, "%s%s%s ", what, passed ? "?" : "", id);
    return RC_OK;
}

static rc_status add(void *ctx, const char *id, bool passed) {
    return tell(ctx, "+", id, passed);
}

static rc_status flush(void *ctx) {
    return tell(ctx, "flush", "", false);
}

static rc_status take_off(void *ctx, const char *id, bool passed) {
    return tell(ctx, "-", id, passed);
}

static rc_status remember(struct rc_attached *attached, struct store *store) {
    struct rc_attached_memory memory = {.add = add, .flush = flush, .remove = take_off, .ctx = store};
    store->told[0] = '\0';
    store->calls = 0;
    return rc_attached_remember(attached, &memory);
}

static void test_first_versions_are_live_later_ones_wait(void **state) {
    (void)state;
    struct rc_attached attached = {0};
    struct store store = {0};
    SET(set, {"a", 1, true}, {"b", 2, true}, {"c", 1, false}, {"d", 3, true});
    rc_attached_load(&attached, rc_span_str("d"), false);
    rc_attached_follow(&attached, &set, false);
    assert_int_equal(rc_attached_at(&attached, 0), RC_ATTACHED_LIVE);
    assert_int_equal(rc_attached_at(&attached, 1), RC_ATTACHED_WAITING);
    assert_int_equal(rc_attached_at(&attached, 2), RC_ATTACHED_AWAY);
    assert_int_equal(rc_attached_at(&attached, 3), RC_ATTACHED_LIVE);
    assert_int_equal(remember(&attached, &store), RC_OK);
    assert_string_equal(store.told, "+a flush ");
    assert_int_equal(remember(&attached, &store), RC_OK);
    assert_string_equal(store.told, "");

    assert_int_equal(rc_attached_turn(&attached, RC_ATTACHED_WAITING, RC_ATTACHED_FILLING), 1);
    rc_attached_follow(&attached, &set, false);
    assert_int_equal(rc_attached_at(&attached, 1), RC_ATTACHED_FILLING);
    assert_int_equal(remember(&attached, &store), RC_OK);
    assert_string_equal(store.told, "");
    assert_int_equal(rc_attached_turn(&attached, RC_ATTACHED_FILLING, RC_ATTACHED_LIVE), 1);
    assert_int_equal(remember(&attached, &store), RC_OK);
    assert_string_equal(store.told, "+b flush ");
    rc_attached_deinit(&attached);
}

static void test_from_the_beginning_everybody_is_live(void **state) {
    (void)state;
    struct rc_attached attached = {0};
    struct store store = {0};
    SET(set, {"a", 1, true}, {"b", 7, true});
    rc_attached_load(&attached, rc_span_str("a"), true);
    rc_attached_follow(&attached, &set, true);
    assert_int_equal(rc_attached_at(&attached, 0), RC_ATTACHED_LIVE);
    assert_int_equal(rc_attached_at(&attached, 1), RC_ATTACHED_LIVE);
    assert_int_equal(remember(&attached, &store), RC_OK);
    assert_string_equal(store.told, "+a +b flush -?a ");
    rc_attached_deinit(&attached);
}

static void test_who_goes_and_comes_back_waits(void **state) {
    (void)state;
    struct rc_attached attached = {0};
    struct store store = {0};
    SET(here, {"a", 1, true}, {"b", 1, true});
    SET(gone, {"b", 1, false});
    rc_attached_load(&attached, rc_span_str("a"), false);
    rc_attached_load(&attached, rc_span_str("b"), false);
    rc_attached_follow(&attached, &gone, false);
    assert_int_equal(rc_attached_at(&attached, 0), RC_ATTACHED_AWAY);
    /* Back before the store was told: it does not count as attached all the same, and the store is told so. */
    rc_attached_follow(&attached, &here, false);
    assert_int_equal(rc_attached_at(&attached, 0), RC_ATTACHED_WAITING);
    assert_int_equal(rc_attached_at(&attached, 1), RC_ATTACHED_WAITING);
    store.fail_at = 2;
    assert_int_equal(remember(&attached, &store), RC_FAIL);
    store.fail_at = 0;
    assert_int_equal(remember(&attached, &store), RC_OK);
    assert_string_equal(store.told, "-b ");
    assert_int_equal(rc_attached_count(&attached, RC_ATTACHED_WAITING), 2);
    /* One that goes while it is filled is not taken for complete when it is back. */
    rc_attached_turn(&attached, RC_ATTACHED_WAITING, RC_ATTACHED_FILLING);
    rc_attached_follow(&attached, &gone, false);
    rc_attached_follow(&attached, &here, false);
    assert_int_equal(rc_attached_count(&attached, RC_ATTACHED_FILLING), 0);
    assert_int_equal(rc_attached_count(&attached, RC_ATTACHED_WAITING), 2);
    rc_attached_deinit(&attached);
}

static void test_what_is_passed_over_is_remembered_until_it_is_complete(void **state) {
    (void)state;
    struct rc_attached attached = {0}, next = {0};
    struct store store = {0};
    SET(none, {"z", 1, false});
    SET(defined, {"ghost", 1, true});
    rc_attached_follow(&attached, &none, false);
    assert_false(rc_attached_passed(&attached, rc_span_str("ghost")));
    assert_false(rc_attached_pass(&attached, rc_span_str("ghost")));
    assert_true(rc_attached_passed(&attached, rc_span_str("ghost")));
    store.fail_at = 2;
    assert_int_equal(remember(&attached, &store), RC_FAIL);
    assert_false(rc_attached_pass(&attached, rc_span_str("ghost")));
    store.fail_at = 0;
    assert_int_equal(remember(&attached, &store), RC_OK);
    assert_string_equal(store.told, "+?ghost flush ");
    assert_true(rc_attached_pass(&attached, rc_span_str("ghost")));

    /* The next process has only what the store remembers. */
    rc_attached_load(&next, rc_span_str("ghost"), true);
    rc_attached_follow(&next, &defined, false);
    assert_int_equal(rc_attached_at(&next, 0), RC_ATTACHED_WAITING);
    assert_int_equal(remember(&next, &store), RC_OK);
    assert_string_equal(store.told, "");
    rc_attached_turn(&next, RC_ATTACHED_WAITING, RC_ATTACHED_FILLING);
    rc_attached_turn(&next, RC_ATTACHED_FILLING, RC_ATTACHED_LIVE);
    assert_int_equal(remember(&next, &store), RC_OK);
    assert_string_equal(store.told, "+ghost flush -?ghost ");
    rc_attached_deinit(&attached);
    rc_attached_deinit(&next);
}

static void test_an_audience_that_is_deleted_while_filled_is_passed_again(void **state) {
    (void)state;
    struct rc_attached attached = {0};
    struct store store = {0};
    SET(none, {"z", 1, false});
    SET(defined, {"ghost", 1, true});
    rc_attached_load(&attached, rc_span_str("ghost"), true);
    rc_attached_follow(&attached, &defined, false);
    rc_attached_turn(&attached, RC_ATTACHED_WAITING, RC_ATTACHED_FILLING);
    rc_attached_follow(&attached, &none, false);
    assert_true(rc_attached_pass(&attached, rc_span_str("ghost")));
    rc_attached_follow(&attached, &defined, false);
    assert_int_equal(rc_attached_at(&attached, 0), RC_ATTACHED_WAITING);
    assert_int_equal(remember(&attached, &store), RC_OK);
    assert_string_equal(store.told, "");
    rc_attached_deinit(&attached);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_versions_are_live_later_ones_wait),
        cmocka_unit_test(test_from_the_beginning_everybody_is_live),
        cmocka_unit_test(test_who_goes_and_comes_back_waits),
        cmocka_unit_test(test_what_is_passed_over_is_remembered_until_it_is_complete),
        cmocka_unit_test(test_an_audience_that_is_deleted_while_filled_is_passed_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
