/* Lines as a machine reads them, levels, limits, threads; captured in a file of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* Logs go to a temporary file; `captured` gives what it holds and empties it. */
static int fd;
static char text[1 << 20];

static int set_up(void **state) {
    (void)state;
    char name[] = "/tmp/rollcall-log-XXXXXX";
    fd = mkstemp(name);
    unlink(name);
    rc_log_set_fd(fd);
    rc_log_set_level(RC_LOG_INFO);
    return fd < 0;
}

static int tear_down(void **state) {
    (void)state;
    rc_log_set_fd(STDERR_FILENO);
    return close(fd);
}

static const char *captured(void) {
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return text;
}

/* What follows the time, which is 24 characters long. */
static const char *behind_time(const char *line) {
    assert_memory_equal(line, "time=2", 6);
    assert_int_equal(line[28], 'Z');
    return line + 30;
}

static void test_line(void **state) {
    (void)state;
    struct rc_error err = {.message = "no such \"topic\""};
    rc_log(RC_LOG_WARN, "partition lost", rc_f_str("topic", "web.events"), rc_f_int("partition", -3),
           rc_f_bool("live", true), rc_f_double("lag_s", 0.25), rc_f_err(&err));
    assert_string_equal(behind_time(captured()),
                        "level=warn msg=\"partition lost\" topic=web.events partition=-3 live=true "
                        "lag_s=0.25 err=\"no such \\\"topic\\\"\"\n");
    rc_log(RC_LOG_INFO, "ready");
    assert_string_equal(behind_time(captured()), "level=info msg=ready\n");
}

static void test_quoting(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"plain-1.2:3/x", "plain-1.2:3/x"},
        {"", "\"\""},
        {"a b", "\"a b\""},
        {"a=b", "\"a=b\""},
        {"a\"b", "\"a\\\"b\""},
        {"a\\b", "\"a\\\\b\""},
        {"a\nb\r\tc", "\"a\\nb\\r\\tc\""},
        {"\x01\x7f", "\"\\u0001\\u007f\""},
        {"åäö", "åäö"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[100];
        snprintf(expected, sizeof expected, "level=info msg=x v=%s\n", cases[i][1]);
        rc_log(RC_LOG_INFO, "x", rc_f_str("v", cases[i][0]));
        assert_string_equal(behind_time(captured()), expected);
    }
    rc_log(RC_LOG_INFO, "x", rc_f_span("v", rc_span_of("a\0b", 3)), rc_f_str("w", NULL));
    assert_string_equal(behind_time(captured()), "level=info msg=x v=\"a\\u0000b\" w=\"\"\n");
}

static int evaluated;

static const char *evaluate(void) {
    evaluated++;
    return "x";
}

static void test_levels(void **state) {
    (void)state;
    rc_log_set_level(RC_LOG_WARN);
    rc_log(RC_LOG_INFO, "not written", rc_f_str("v", evaluate()));
    assert_int_equal(evaluated, 0);
    assert_string_equal(captured(), "");
    rc_log(RC_LOG_ERROR, "written", rc_f_str("v", evaluate()));
    assert_int_equal(evaluated, 1);
    assert_non_null(strstr(captured(), "msg=written v=x"));
    rc_log_set_level(RC_LOG_OFF);
    rc_log(RC_LOG_ERROR, "not written");
    assert_string_equal(captured(), "");
    enum rc_log_level level = RC_LOG_INFO;
    assert_int_equal(rc_log_level_parse("debug", &level), RC_OK);
    assert_int_equal(level, RC_LOG_DEBUG);
    assert_int_equal(rc_log_level_parse("loud", &level), RC_FAIL);
    assert_int_equal(level, RC_LOG_DEBUG);
}

static void test_long_values_are_cut(void **state) {
    (void)state;
    char *value = malloc(20000);
    memset(value, 'x', 19999);
    value[19999] = '\0';
    value[10] = ' ';
    rc_log(RC_LOG_INFO, "long", rc_f_str("v", value), rc_f_str("never", "reached"));
    const char *line = captured();
    size_t len = strlen(line);
    assert_true(len <= 8192);
    assert_string_equal(line + len - 11, "\" cut=true\n");
    assert_null(strstr(line, "never"));
    value[10] = 'x'; /* without quotes nothing of it fits */
    rc_log(RC_LOG_INFO, "long", rc_f_str("v", value));
    assert_string_equal(behind_time(captured()), "level=info msg=long v= cut=true\n");
    free(value);
}

static void test_errno_is_kept(void **state) {
    (void)state;
    rc_log_set_fd(-1);
    errno = ENOENT;
    rc_log(RC_LOG_INFO, "x");
    assert_int_equal(errno, ENOENT);
    rc_log_set_fd(fd);
}

static void limited(int i) {
    rc_log_limited(RC_LOG_WARN, "often", rc_f_int("i", i));
}

static void test_limit(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++)
        limited(i);
    assert_string_equal(behind_time(captured()), "level=warn msg=often i=0 suppressed=0\n");
    struct rc_log_limit limit = {0};
    int64_t suppressed = -1;
    assert_true(rc_log_limit_pass(&limit, &suppressed));
    assert_int_equal(suppressed, 0);
    assert_false(rc_log_limit_pass(&limit, &suppressed));
    assert_false(rc_log_limit_pass(&limit, &suppressed));
    atomic_store(&limit.next_ms, 0); /* the second is over */
    assert_true(rc_log_limit_pass(&limit, &suppressed));
    assert_int_equal(suppressed, 2);
}

static void *write_many(void *ctx) {
    for (int i = 0; i < 500; i++)
        rc_log(RC_LOG_INFO, "from a thread", rc_f_str("name", ctx), rc_f_int("i", i));
    return NULL;
}

static void test_threads_do_not_mix(void **state) {
    (void)state;
    pthread_t threads[4];
    char *names[] = {"aaaa", "bbbb", "cccc", "dddd"};
    /* O_APPEND as stderr has it when it is a log file. */
    assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, write_many, names[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    int lines = 0;
    char *save, *all = (char *)(uintptr_t)captured();
    for (char *line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save), lines++) {
        char name[5];
        int i;
        assert_int_equal(sscanf(behind_time(line), "level=info msg=\"from a thread\" name=%4s i=%d", name, &i), 2);
    }
    assert_int_equal(lines, 2000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_quoting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_levels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_values_are_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errno_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_threads_do_not_mix, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
