/* Records put aside come back, in order of time or as they came. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "producers/spool.h"

static void test_sorts_stably(void **state) {
    (void)state;
    struct rc_spool *spool;
    struct rc_error err;
    assert_int_equal(rc_spool_open(1000000, &spool, &err), RC_OK);
    enum { N = 50000 };
    for (int i = 0; i < N; i++) {
        char key[32], value[64];
        int64_t at = (int64_t)i * 7919 % 97;
        snprintf(key, sizeof key, "k%d", i);
        snprintf(value, sizeof value, "value of %d at %d", i, (int)at);
        assert_int_equal(rc_spool_add(spool, at, rc_span_str(key), rc_span_str(value), &err), RC_OK);
    }
    assert_int_equal(rc_spool_count(spool), N);
    int64_t first, last;
    rc_spool_range(spool, &first, &last);
    assert_int_equal(first, 0);
    assert_int_equal(last, 96);
    struct rc_buf scratch;
    rc_buf_init(&scratch, 1000);
    struct rc_span key, value;
    assert_int_equal(rc_spool_read(spool, 12345, &scratch, &key, &value, &err), RC_OK);
    assert_true(rc_span_equal(key, rc_span_str("k12345")));
    rc_spool_sort(spool);
    int64_t before_at = -1;
    int before = -1;
    for (uint64_t i = 0; i < N; i++) {
        assert_int_equal(rc_spool_read(spool, i, &scratch, &key, &value, &err), RC_OK);
        int index = (int)strtol(key.data + 1, NULL, 10);
        int64_t at = rc_spool_time(spool, i);
        assert_true(at >= before_at);
        if (at == before_at)
            assert_true(index > before);
        char expected[64];
        snprintf(expected, sizeof expected, "value of %d at %d", index, (int)at);
        assert_true(rc_span_equal(value, rc_span_str(expected)));
        before_at = at;
        before = index;
    }
    rc_buf_deinit(&scratch);
    rc_spool_close(spool);
}

static void test_large_records(void **state) {
    (void)state;
    struct rc_spool *spool;
    struct rc_error err;
    assert_int_equal(rc_spool_open(10, &spool, &err), RC_OK);
    size_t len = 3 * 1024 * 1024 + 7;
    char *big = rc_alloc(len);
    for (size_t i = 0; i < len; i++)
        big[i] = (char)(i * 31);
    assert_int_equal(rc_spool_add(spool, 2, rc_span_str("a"), rc_span_of(big, len), &err), RC_OK);
    assert_int_equal(rc_spool_add(spool, 1, rc_span_str("b"), rc_span_str(""), &err), RC_OK);
    rc_spool_sort(spool);
    struct rc_buf scratch;
    rc_buf_init(&scratch, 8 * 1024 * 1024);
    struct rc_span key, value;
    assert_int_equal(rc_spool_read(spool, 0, &scratch, &key, &value, &err), RC_OK);
    assert_true(rc_span_equal(key, rc_span_str("b")));
    assert_int_equal(value.len, 0);
    assert_int_equal(rc_spool_read(spool, 1, &scratch, &key, &value, &err), RC_OK);
    assert_true(rc_span_equal(value, rc_span_of(big, len)));
    free(big);
    rc_buf_deinit(&scratch);
    rc_spool_close(spool);
}

static void test_ceiling(void **state) {
    (void)state;
    struct rc_spool *spool;
    struct rc_error err;
    assert_int_equal(rc_spool_open(1, &spool, &err), RC_OK);
    assert_int_equal(rc_spool_add(spool, 0, rc_span_str("a"), rc_span_str("1"), &err), RC_OK);
    assert_int_equal(rc_spool_add(spool, 0, rc_span_str("b"), rc_span_str("2"), &err), RC_FAIL);
    assert_int_equal(err.exit_code, RC_EXIT_DATA);
    assert_non_null(strstr(err.message, "split"));
    assert_int_equal(rc_spool_count(spool), 1);
    rc_spool_close(spool);
}

static void test_folder_without_room(void **state) {
    (void)state;
    struct rc_spool *spool = NULL;
    struct rc_error err;
    char *old = getenv("TMPDIR") ? rc_strdup(getenv("TMPDIR")) : NULL;
    setenv("TMPDIR", "/nonexistent/folder", 1);
    assert_int_equal(rc_spool_open(1, &spool, &err), RC_FAIL);
    assert_null(spool);
    assert_non_null(strstr(err.message, "/nonexistent/folder"));
    if (old)
        setenv("TMPDIR", old, 1);
    else
        unsetenv("TMPDIR");
    free(old);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sorts_stably),
        cmocka_unit_test(test_large_records),
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_folder_without_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
