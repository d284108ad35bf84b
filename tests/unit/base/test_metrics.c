/* The text that Prometheus reads, labels, quantiles, and updates from several threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"

static struct rc_metrics *metrics;

static int set_up(void **state) {
    (void)state;
    metrics = rc_metrics_new();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    rc_metrics_free(metrics);
    return 0;
}

static char *written(void) {
    struct rc_buf out;
    rc_buf_init(&out, 1 << 20);
    assert_int_equal(rc_metrics_write(metrics, &out), RC_OK);
    char *text = strdup(out.data ? out.data : "");
    rc_buf_deinit(&out);
    return text;
}

#define EXAMPLE_METRICS(X)                                                \
    X(counter, records, "rollcall_example_records_total", "Records read") \
    X(gauge, lag, "rollcall_example_lag_seconds", "Lag")                  \
    X(histogram, latency, "rollcall_example_latency_seconds", "Latency")

struct example {
    EXAMPLE_METRICS(RC_METRIC_MEMBER)
};

static void test_table_and_text(void **state) {
    (void)state;
    struct example example, *m = &example;
    EXAMPLE_METRICS(RC_METRIC_REGISTER)
    rc_counter_inc(m->records);
    rc_counter_add(m->records, 4);
    rc_gauge_set(m->lag, 1.5);
    rc_gauge_add(m->lag, -0.25);
    rc_histogram_observe_ns(m->latency, 700000);
    rc_histogram_observe_ms(m->latency, 2);
    rc_histogram_observe_ms(m->latency, -5);
    rc_histogram_observe_ms(m->latency, 1000000);
    char *text = written();
    assert_non_null(strstr(
        text, "# HELP rollcall_example_records_total Records read\n# TYPE rollcall_example_records_total counter\n"
              "rollcall_example_records_total 5\n"));
    assert_non_null(strstr(text, "# TYPE rollcall_example_lag_seconds gauge\nrollcall_example_lag_seconds 1.25\n"));
    assert_non_null(strstr(text, "# TYPE rollcall_example_latency_seconds histogram\n"
                                 "rollcall_example_latency_seconds_bucket{le=\"5e-05\"} 1\n"));
    assert_non_null(strstr(text, "_bucket{le=\"0.0005\"} 1\n"));
    assert_non_null(strstr(text, "_bucket{le=\"0.001\"} 2\n"));
    assert_non_null(strstr(text, "_bucket{le=\"0.0015\"} 2\n"));
    assert_non_null(strstr(text, "_bucket{le=\"0.002\"} 3\n")); /* a bound belongs to its own bucket */
    assert_non_null(strstr(text, "_bucket{le=\"300\"} 3\n"));
    assert_non_null(strstr(text, "_bucket{le=\"+Inf\"} 4\n"));
    assert_non_null(strstr(text, "rollcall_example_latency_seconds_sum 1000.0027\n"));
    assert_non_null(strstr(text, "rollcall_example_latency_seconds_count 4\n"));
    free(text);
}

static void test_labels(void **state) {
    (void)state;
    struct rc_label one[] = {{"topic", "web"}, {"partition", "0"}},
                    other[] = {{"topic", "a\"b\\c\nd"}, {"partition", "1"}};
    struct rc_counter *a = rc_counter_register(metrics, "c_total", "C", one, 2);
    struct rc_counter *b = rc_counter_register(metrics, "c_total", "C", other, 2);
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(a, rc_counter_register(metrics, "c_total", "C", one, 2));
    struct rc_histogram *h = rc_histogram_register(metrics, "h_seconds", "H", one, 1);
    rc_histogram_observe_ms(h, 1);
    rc_counter_inc(b);
    char *text = written();
    assert_non_null(strstr(text, "# HELP c_total C\n# TYPE c_total counter\nc_total{topic=\"web\",partition=\"0\"} 0\n"
                                 "c_total{topic=\"a\\\"b\\\\c\\nd\",partition=\"1\"} 1\n"));
    assert_non_null(strstr(text, "h_seconds_bucket{topic=\"web\",le=\"0.001\"} 1\n"));
    assert_non_null(strstr(text, "h_seconds_count{topic=\"web\"} 1\n"));
    free(text);
}

static void test_hide(void **state) {
    (void)state;
    struct rc_label a[] = {{"audience", "a"}, {"x", "1"}}, b[] = {{"audience", "b"}},
                    trap[] = {{"name", ",audience=\"a\""}};
    struct rc_gauge *first = rc_gauge_register(metrics, "members", "M", a, 2);
    rc_gauge_register(metrics, "members", "M", b, 1);
    rc_gauge_register(metrics, "members", "M", trap, 1);
    rc_gauge_set(first, 7);
    rc_metrics_hide(metrics, "audience", "a");
    char *text = written();
    assert_null(strstr(text, "{audience=\"a\""));
    assert_non_null(strstr(text, "{audience=\"b\"}"));
    assert_non_null(strstr(text, "{name="));
    free(text);
    assert_ptr_equal(first, rc_gauge_register(metrics, "members", "M", a, 2));
    text = written();
    assert_non_null(strstr(text, "members{audience=\"a\",x=\"1\"} 7\n"));
    free(text);
    rc_metrics_hide(metrics, "x", "1");
    rc_metrics_hide(metrics, "audience", "b");
    rc_metrics_hide(metrics, "name", ",audience=\"a\"");
    text = written();
    assert_string_equal(text, ""); /* no headings without series */
    free(text);
}

static void test_quantiles(void **state) {
    (void)state;
    struct rc_histogram *h = rc_histogram_register(metrics, "h_seconds", "H", NULL, 0);
    assert_true(isnan(rc_histogram_quantile_s(h, 0.5)));
    for (int i = 0; i < 99; i++)
        rc_histogram_observe_ns(h, 3500000); /* 3 ms < x ≤ 4 ms */
    rc_histogram_observe_ms(h, 200);
    assert_int_equal(rc_histogram_count(h), 100);
    double p50 = rc_histogram_quantile_s(h, 0.5), p99 = rc_histogram_quantile_s(h, 0.99),
           p999 = rc_histogram_quantile_s(h, 0.999);
    assert_true(p50 > 0.0035 && p50 < 0.0036);
    assert_true(p99 > 0.0039 && p99 <= 0.004);
    assert_true(p999 > 0.1 && p999 <= 0.25);
    rc_histogram_observe_ms(h, 10000000);
    assert_true(rc_histogram_quantile_s(h, 0.9999) == 300); /* past the last bound: no more is known */
}

static void test_bounds_grow(void **state) {
    (void)state;
    for (size_t i = 1; i < RC_HISTOGRAM_BUCKETS; i++)
        assert_true(rc_histogram_bounds_s[i - 1] < rc_histogram_bounds_s[i]);
}

static void test_numbers(void **state) {
    (void)state;
    struct rc_gauge *g = rc_gauge_register(metrics, "g", "G", NULL, 0);
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "g 0\n"},         {-3, "g -3\n"},        {1e12, "g 1000000000000\n"},
                 {0.001, "g 0.001\n"}, {1e300, "g 1e+300\n"}, {INFINITY, "g +Inf\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rc_gauge_set(g, cases[i].value);
        char *text = written();
        assert_non_null(strstr(text, cases[i].text));
        free(text);
    }
    rc_gauge_set(g, NAN);
    char *text = written();
    assert_non_null(strstr(text, "g NaN\n"));
    free(text);
}

static void *hammer(void *ctx) {
    struct example *m = ctx;
    for (int i = 0; i < 100000; i++) {
        rc_counter_inc(m->records);
        rc_gauge_add(m->lag, 1);
        rc_histogram_observe_ns(m->latency, i);
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    struct example example, *m = &example;
    EXAMPLE_METRICS(RC_METRIC_REGISTER)
    rc_gauge_set(m->lag, 0);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, hammer, m);
    for (int i = 0; i < 20; i++)
        free(written());
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(rc_counter_get(m->records), 300000);
    assert_int_equal(rc_histogram_count(m->latency), 300000);
    assert_true(rc_gauge_get(m->lag) == 300000);
}

static void test_ceiling(void **state) {
    (void)state;
    rc_counter_register(metrics, "c_total", "C", NULL, 0);
    struct rc_buf out;
    rc_buf_init(&out, 10);
    assert_int_equal(rc_metrics_write(metrics, &out), RC_FAIL);
    rc_buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_table_and_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_labels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hide, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_quantiles, set_up, tear_down),
        cmocka_unit_test(test_bounds_grow),
        cmocka_unit_test_setup_teardown(test_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ceiling, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
