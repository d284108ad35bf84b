/* How much may be under way, against a broker that takes a time to answer and one for each record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "consumers/ingest/internal.h"

#define MS INT64_C(1000000)

static void rounds(struct pace *pace, int n, bool held, int64_t way_ns, int64_t record_ns) {
    for (int i = 0; i < n; i++) {
        pace->held = held;
        rc_ingest_pace_round(pace, way_ns + (int64_t)pace->limit * record_ns);
    }
}

static void one_at_a_time(struct pace *pace, int64_t way_ns) {
    for (int i = 0; i < 100; i++)
        rc_ingest_pace_round(pace, way_ns);
}

static void as_much_as_a_few_milliseconds_take(void **state) {
    (void)state;
    struct pace pace;
    rc_ingest_pace_init(&pace);
    one_at_a_time(&pace, MS / 2);
    rounds(&pace, 50, true, MS / 2, 1000);
    size_t fast = pace.limit;
    assert_in_range(fast, 2000, 6000);
    rounds(&pace, 50, true, MS / 2, 5000); /* the broker has become slower */
    assert_in_range(pace.limit, fast / 7, fast / 3);
    rounds(&pace, 50, true, MS / 2, 1000);
    assert_in_range(pace.limit, fast / 4 * 3, fast / 3 * 4);
}

static void a_long_way_is_not_taken_for_a_queue(void **state) {
    (void)state;
    struct pace near, far;
    rc_ingest_pace_init(&near);
    rc_ingest_pace_init(&far);
    one_at_a_time(&near, MS / 2);
    one_at_a_time(&far, 80 * MS);
    rounds(&near, 50, true, MS / 2, 1000);
    rounds(&far, 50, true, 80 * MS, 1000);
    assert_true(far.limit >= near.limit / 2);
}

static void what_did_not_fill_the_limit_does_not_move_it(void **state) {
    (void)state;
    struct pace pace;
    rc_ingest_pace_init(&pace);
    size_t before = pace.limit;
    rounds(&pace, 100, false, MS / 2, 0);
    rounds(&pace, 100, false, 500 * MS, 0);
    assert_int_equal(pace.limit, before);
}

static void it_stays_within_bounds(void **state) {
    (void)state;
    struct pace pace;
    rc_ingest_pace_init(&pace);
    rounds(&pace, 1000, true, MS / 2, 0);
    assert_in_range(pace.limit, 10000, 20000);
    for (int i = 0; i < 1000; i++) {
        pace.held = true;
        rc_ingest_pace_round(&pace, (1 + i) * MS);
    }
    assert_in_range(pace.limit, 100, 1000);
}

/* ---- the share of the loop's time ---- */

static void what_can_wait_has_all_of_it_while_nobody_is_held_up(void **state) {
    (void)state;
    struct pace pace;
    rc_ingest_pace_init(&pace);
    pace.worked = true;
    one_at_a_time(&pace, MS / 2);
    assert_float_equal(pace.share, 1, 1e-9);
}

static void it_stands_back_while_acknowledgements_are_late_and_comes_back(void **state) {
    (void)state;
    struct pace pace;
    rc_ingest_pace_init(&pace);
    one_at_a_time(&pace, MS / 2);
    pace.worked = true;
    for (int i = 0; i < 100; i++)
        rc_ingest_pace_round(&pace, 6 * MS);
    assert_true(pace.share < 0.1);
    assert_true(pace.share > 0.01); /* it goes on */
    one_at_a_time(&pace, MS / 2);
    assert_float_equal(pace.share, 1, 1e-9);
}

static void what_is_late_by_itself_is_not_its_fault(void **state) {
    (void)state;
    struct pace pace;
    rc_ingest_pace_init(&pace);
    one_at_a_time(&pace, MS / 2);
    pace.worked = false;
    for (int i = 0; i < 100; i++)
        rc_ingest_pace_round(&pace, 6 * MS);
    assert_float_equal(pace.share, 1, 1e-9);
}

/* The rest behind a slice of a millisecond. */
static int64_t rest_of(double share) {
    struct ingest ingest = {.pace = {.share = share, .spent_ns = MS}};
    rc_ingest_pace_end(&ingest);
    return ingest.pace.rest_until_ns - rc_clock_monotonic_ns();
}

static void it_rests_as_long_as_its_share_says(void **state) {
    (void)state;
    assert_true(rest_of(1) <= 0);
    assert_true(rest_of(0.5) <= MS);
    assert_in_range(rest_of(0.1), 5 * MS, 9 * MS); /* less what the test itself has taken */
}

static void a_turn_has_one_slice_for_all_kinds_and_none_while_it_rests(void **state) {
    (void)state;
    struct lane lane = {0};
    struct ingest ingest = {.pace = {.share = 1}};
    rc_ingest_pace_begin(&ingest);
    int64_t alone = ingest.pace.slice_ns;
    ingest.checkpoint.under_way = true;
    ingest.backfill.lane = &lane;
    rc_ingest_pace_begin(&ingest);
    assert_int_equal(ingest.pace.slice_ns, alone / 2);
    ingest.pace.rest_until_ns = rc_clock_monotonic_ns() + 1000 * MS;
    rc_ingest_pace_begin(&ingest);
    assert_int_equal(ingest.pace.slice_ns, 0);
    ingest.behind = true; /* nothing is live */
    rc_ingest_pace_begin(&ingest);
    assert_true(ingest.pace.slice_ns > alone);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_much_as_a_few_milliseconds_take),
        cmocka_unit_test(a_long_way_is_not_taken_for_a_queue),
        cmocka_unit_test(what_did_not_fill_the_limit_does_not_move_it),
        cmocka_unit_test(it_stays_within_bounds),
        cmocka_unit_test(what_can_wait_has_all_of_it_while_nobody_is_held_up),
        cmocka_unit_test(it_stands_back_while_acknowledgements_are_late_and_comes_back),
        cmocka_unit_test(what_is_late_by_itself_is_not_its_fault),
        cmocka_unit_test(it_rests_as_long_as_its_share_says),
        cmocka_unit_test(a_turn_has_one_slice_for_all_kinds_and_none_while_it_rests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
