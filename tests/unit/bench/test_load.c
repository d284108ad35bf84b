/* The load that the program makes for its own measures is the one of bench/definitions.py and bench/event.avsc, which others measure with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "bench/measures/internal.h"
#include "codec/decode.h"
#include "segment/definition.h"

/* What `python3 bench/definitions.py N` prints. */
static json_t *printed(const char *n) {
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execlp("python3", "python3", RC_SOURCE_DIR "/bench/definitions.py", n, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    FILE *out = fdopen(fds[0], "r");
    json_t *json = json_loadf(out, 0, NULL);
    fclose(out);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_non_null(json);
    return json;
}

static void test_definitions(void **state) {
    (void)state;
    struct rc_buf text;
    rc_buf_init(&text, 1 << 22);
    rc_bench_definitions(1000, RC_BENCH_EVENTS, &text);
    json_t *ours = json_loadb(text.data, text.len, 0, NULL), *theirs = printed("1000");
    assert_int_equal(json_array_size(ours), 1001);
    assert_true(json_equal(ours, theirs));
    json_decref(ours), json_decref(theirs);
    rc_buf_deinit(&text);
}

static void test_schema(void **state) {
    (void)state;
    json_t *ours = json_loads(rc_bench_event_schema, 0, NULL);
    json_t *theirs = json_load_file(RC_SOURCE_DIR "/bench/event.avsc", 0, NULL);
    assert_non_null(ours);
    assert_true(json_equal(ours, theirs));
    json_decref(ours), json_decref(theirs);
}

static void test_simple_event(void **state) {
    (void)state;
    struct rc_catalog *catalog;
    struct rc_decoder *decoder;
    struct rc_error err;
    struct rc_event event;
    struct rc_arena arena;
    struct rc_buf key, value;
    rc_buf_init(&key, 4096), rc_buf_init(&value, 4096);
    rc_arena_init(&arena, 4096);
    assert_int_equal(rc_bench_catalog(100, &catalog, &err), RC_OK);
    assert_int_equal(
        rc_decoder_new(&catalog->datasets[0], &(struct rc_decoder_options){.max_ahead_ms = -1}, &decoder, &err), RC_OK);
    rc_bench_simple_event(12, 1700000000123, &key, &value);
    struct rc_record record = {.key = rc_buf_span(&key), .value = rc_buf_span(&value), .timestamp_ms = 1700000000123};
    assert_int_equal(rc_decode(decoder, &record, &arena, &event, &err), RC_DECODED);
    assert_int_equal(event.timestamp_ms, 1700000000123);
    assert_true(rc_span_equal(event.person_id, rc_span_str("p0000012")));
    assert_true(rc_span_equal(rc_buf_span(&key), rc_span_str("ecid:p0000012")));
    rc_decoder_free(decoder);
    rc_catalog_free(catalog);
    rc_arena_deinit(&arena);
    rc_buf_deinit(&key), rc_buf_deinit(&value);
}

static void test_quantile(void **state) {
    (void)state;
    double numbers[100];
    for (int i = 0; i < 100; i++)
        numbers[i] = (i * 37) % 100;
    assert_true(rc_bench_quantile(numbers, 100, 0.5) == 50);
    assert_true(rc_bench_quantile(numbers, 100, 0.99) == 99);
    assert_true(rc_bench_quantile(numbers, 1, 0.99) == 0);
    assert_true(isnan(rc_bench_quantile(numbers, 0, 0.5)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definitions),
        cmocka_unit_test(test_schema),
        cmocka_unit_test(test_simple_event),
        cmocka_unit_test(test_quantile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
