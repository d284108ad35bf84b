/* What is believed of a changelog: owners in order, former owners that wake up, damage, loss, and what heals them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "store/changelog.h"

static int64_t next_offset;

/* One record behind the last one; "" of `epoch`: no header. */
static enum rc_changelog_verdict take(struct rc_changelog_judge *judge, const char *key, const char *epoch,
                                      const char *value, const char *damage) {
    struct rc_changelog_record record = {.offset = next_offset++,
                                         .key = rc_span_str(key),
                                         .value = rc_span_str(value),
                                         .null_value = value == NULL,
                                         .epoch = rc_span_str(epoch),
                                         .damage = damage};
    return rc_changelog_judge_take(judge, &record);
}

static enum rc_changelog_verdict mark(struct rc_changelog_judge *judge, uint32_t epoch) {
    struct rc_buf key, value;
    rc_buf_init(&key, 64);
    rc_buf_init(&value, 64);
    rc_changelog_marker_key(&key, epoch);
    rc_changelog_marker_value(&value, epoch);
    enum rc_changelog_verdict verdict = take(judge, key.data, "", value.data, NULL);
    rc_buf_deinit(&key);
    rc_buf_deinit(&value);
    return verdict;
}

static void assert_trusted(const struct rc_changelog_judge *judge) {
    int64_t offset = -1;
    const char *why = "";
    if (!rc_changelog_judge_trusts(judge, &offset, &why))
        fail_msg("not trusted at %lld: %s", (long long)offset, why);
}

static void assert_wound(const struct rc_changelog_judge *judge, int64_t at, const char *what) {
    int64_t offset = -1;
    const char *why = "";
    assert_false(rc_changelog_judge_trusts(judge, &offset, &why));
    assert_int_equal(offset, at);
    assert_non_null(strstr(why, what));
}

static int set_up(void **state) {
    next_offset = 0;
    *state = rc_changelog_judge_new(0);
    return 0;
}

static int tear_down(void **state) {
    rc_changelog_judge_free(*state);
    return 0;
}

static void owners_in_order_are_believed(void **state) {
    struct rc_changelog_judge *judge = *state;
    assert_trusted(judge); /* nothing is there: nothing is wrong */
    assert_int_equal(mark(judge, 1), RC_CHANGELOG_SKIP);
    assert_int_equal(take(judge, "c:ann", "1", "a", NULL), RC_CHANGELOG_PERSON);
    assert_int_equal(take(judge, "lane", "1", "{}", NULL), RC_CHANGELOG_LANE);
    assert_int_equal(mark(judge, 2), RC_CHANGELOG_SKIP);
    assert_int_equal(take(judge, "c:ann", "2", NULL, NULL), RC_CHANGELOG_GONE);
    assert_int_equal(take(judge, "a later build's", "2", "?", NULL), RC_CHANGELOG_SKIP);
    assert_int_equal(take(judge, "epoch/1", "", NULL, NULL), RC_CHANGELOG_SKIP);
    assert_trusted(judge);
    assert_int_equal(rc_changelog_judge_epoch(judge), 2);
    assert_int_equal(rc_changelog_judge_wounds(judge), 0);
}

static void a_former_owner_that_wakes_up_is_noticed_until_the_key_is_written_again(void **state) {
    struct rc_changelog_judge *judge = *state;
    mark(judge, 4);
    take(judge, "c:ann", "4", "a", NULL);
    take(judge, "lane", "4", "{}", NULL);
    mark(judge, 5);
    assert_int_equal(take(judge, "c:ann", "4", "old", NULL), RC_CHANGELOG_SKIP); /* 4 */
    assert_int_equal(take(judge, "c:bob", "4", "old", NULL), RC_CHANGELOG_SKIP);
    assert_int_equal(take(judge, "lane", "4", "{}", NULL), RC_CHANGELOG_SKIP);
    assert_wound(judge, 4, "former owner");
    take(judge, "c:ann", "5", "new", NULL);
    assert_wound(judge, 5, "former owner");
    take(judge, "c:bob", "5", "new", NULL);
    assert_wound(judge, 6, "former owner");
    take(judge, "lane", "5", "{}", NULL);
    assert_trusted(judge);
    take(judge, "c:ann", "4", "old", NULL); /* a key may be hurt again */
    assert_wound(judge, 10, "former owner");
    assert_int_equal(rc_changelog_judge_wounds(judge), 4);
}

static void damage_is_noticed_and_fresh_heals_all(void **state) {
    struct rc_changelog_judge *judge = *state;
    mark(judge, 1);
    take(judge, "lane", "1", "{}", NULL);
    assert_int_equal(take(judge, "c:ann", "1", "a", "checksum"), RC_CHANGELOG_SKIP);
    assert_wound(judge, 2, "checksum");
    static const char *const none[] = {"", "x1", "0", "2097152", "99999999999"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_int_equal(take(judge, "c:bob", none[i], "b", NULL), RC_CHANGELOG_SKIP);
    take(judge, "c:ann", "1", "a", NULL);
    assert_wound(judge, 3, "header epoch");
    assert_int_equal(take(judge, "fresh", "", "nonsense", NULL), RC_CHANGELOG_SKIP);
    assert_wound(judge, 3, "header epoch");
    assert_int_equal(take(judge, "fresh", "", "2", NULL), RC_CHANGELOG_FRESH);
    assert_trusted(judge);
    /* All before it is void, the lane's record too. */
    int64_t at = next_offset;
    take(judge, "c:ann", "2", "a", NULL);
    assert_wound(judge, at, "no record that says");
    take(judge, "lane", "2", "{}", NULL);
    assert_trusted(judge);
    /* It is a marker as well; and a former owner's own can have replaced one that counts. */
    take(judge, "c:ann", "1", "a", NULL);
    assert_wound(judge, at + 2, "former owner");
    take(judge, "fresh", "", "3", NULL);
    assert_trusted(judge);
    assert_int_equal(take(judge, "fresh", "", "2", NULL), RC_CHANGELOG_SKIP);
    assert_wound(judge, next_offset - 1, "former owner");
}

static void what_is_missing_is_healed_by_fresh_alone(void **state) {
    struct rc_changelog_judge *judge = *state;
    rc_changelog_judge_missing(judge, 7, "gone");
    next_offset = 7;
    mark(judge, 1);
    take(judge, "c:ann", "1", "a", NULL);
    take(judge, "lane", "1", "{}", NULL);
    assert_wound(judge, 7, "gone");
    take(judge, "fresh", "", "2", NULL);
    assert_trusted(judge);
}

static void a_reader_that_has_state_goes_on_from_its_owner(void **state) {
    (void)state;
    struct rc_changelog_judge *judge = rc_changelog_judge_new(9);
    take(judge, "c:ann", "9", "a", NULL);
    assert_trusted(judge); /* the lane's record is what the reader has */
    int64_t at = next_offset;
    take(judge, "c:ann", "8", "a", NULL);
    assert_wound(judge, at, "former owner");
    take(judge, "fresh", "", "10", NULL);
    take(judge, "c:ann", "10", "a", NULL);
    assert_wound(judge, at + 2, "no record that says"); /* what it had is void */
    assert_int_equal(rc_changelog_judge_epoch(judge), 10);
    rc_changelog_judge_free(judge);
}

static void many_wounds(void **state) {
    struct rc_changelog_judge *judge = *state;
    char key[32];
    mark(judge, 2);
    take(judge, "lane", "2", "{}", NULL);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 50000; i++) {
            snprintf(key, sizeof key, "c:%d", i);
            take(judge, key, round ? "2" : "1", "a", NULL);
        }
    assert_trusted(judge);
    assert_int_equal(rc_changelog_judge_wounds(judge), 50000);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(owners_in_order_are_believed),
        TEST(a_former_owner_that_wakes_up_is_noticed_until_the_key_is_written_again),
        TEST(damage_is_noticed_and_fresh_heals_all),
        TEST(what_is_missing_is_healed_by_fresh_alone),
        TEST(a_reader_that_has_state_goes_on_from_its_owner),
        TEST(many_wounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
