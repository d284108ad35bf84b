/* How much may be under way, against a broker that takes a time to answer and one for each record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_much_as_a_few_milliseconds_take),
        cmocka_unit_test(a_long_way_is_not_taken_for_a_queue),
        cmocka_unit_test(what_did_not_fill_the_limit_does_not_move_it),
        cmocka_unit_test(it_stays_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
