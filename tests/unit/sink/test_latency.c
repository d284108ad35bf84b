/* Latency by audience: each its own histogram, up to a number of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "consumers/sink/latency.h"

static struct rc_metrics *metrics;
static struct rc_sink_latency *latency;

static int set_up(void **state) {
    (void)state;
    metrics = rc_metrics_new();
    latency = rc_sink_latency_new(metrics, "profiles");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    rc_sink_latency_free(latency);
    rc_metrics_free(metrics);
    return 0;
}

static void observe(const char *audience, int64_t ms) {
    rc_sink_latency_observe(latency, rc_span_str(audience), ms);
}

/* The row of an audience, borrowed from `list`; NULL: none. */
static json_t *row_of(json_t *list, const char *audience) {
    size_t i;
    json_t *row;
    json_array_foreach(list, i, row) {
        if (strcmp(json_string_value(json_object_get(row, "audience")), audience) == 0)
            return row;
    }
    return NULL;
}

static void test_each_its_own(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++) {
        observe("fast", 3);
        observe("slow", 4000);
    }
    observe("slow", -5); /* clocks of two machines */
    json_t *list = json_array();
    rc_sink_latency_tell(latency, list);
    assert_int_equal(json_array_size(list), 2);
    json_t *fast = row_of(list, "fast"), *slow = row_of(list, "slow");
    assert_int_equal(json_integer_value(json_object_get(fast, "count")), 100);
    assert_int_equal(json_integer_value(json_object_get(slow, "count")), 101);
    assert_string_equal(json_string_value(json_object_get(fast, "destination")), "profiles");
    assert_true(json_real_value(json_object_get(fast, "p99")) < 0.01);
    assert_true(json_real_value(json_object_get(slow, "p50")) > 1);
    assert_int_equal(json_array_size(json_object_get(fast, "buckets")), RC_HISTOGRAM_BUCKETS + 1);
    json_decref(list);
    struct rc_buf text;
    rc_buf_init(&text, 1 << 20);
    assert_int_equal(rc_metrics_write(metrics, &text), RC_OK);
    assert_non_null(strstr(text.data, "rollcall_sink_audience_event_to_profile_seconds_count{audience=\"fast\","
                                      "destination=\"profiles\"} 100\n"));
    rc_buf_deinit(&text);
}

static void test_the_rest_shares_one(void **state) {
    (void)state;
    char name[32];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < RC_SINK_LATENCY_AUDIENCES + 50; i++) {
            snprintf(name, sizeof name, "audience-%d", i);
            observe(name, i);
        }
    }
    json_t *list = json_array();
    rc_sink_latency_tell(latency, list);
    assert_int_equal(json_array_size(list), RC_SINK_LATENCY_AUDIENCES + 1);
    for (int i = 0; i < RC_SINK_LATENCY_AUDIENCES; i++) {
        snprintf(name, sizeof name, "audience-%d", i);
        assert_int_equal(json_integer_value(json_object_get(row_of(list, name), "count")), 2);
    }
    assert_null(row_of(list, "audience-200"));
    assert_int_equal(json_integer_value(json_object_get(row_of(list, RC_SINK_LATENCY_REST), "count")), 100);
    json_decref(list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_rest_shares_one, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
