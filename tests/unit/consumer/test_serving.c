/* The record of what is in force: there and back, what a deletion makes of it, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "consumers/shared/serving.h"

#define WHERE "{\"and\":[{\"segment\":\"a\"},{\"not\":{\"or\":[{\"segment\":\"b\"},{\"segment\":\"c\"}]}}]}"

static void take(struct rc_controls *controls, const char *key, const char *value) {
    (void)rc_controls_take(controls, rc_span_str(key), value ? rc_span_str(value) : rc_span_of(NULL, 0), !value);
}

static void what_is_written_is_found(void **state) {
    (void)state;
    struct rc_serving said[] = {{.version = 3, .where = json_loads(WHERE, 0, NULL)},
                                {.version = 3, .held = 4, .members = 12, .would_have = 99}};
    said[1].where = json_incref(said[0].where);
    for (size_t i = 0; i < 2; i++) {
        struct rc_controls controls;
        struct rc_serving found;
        struct rc_buf key, value;
        rc_controls_init(&controls);
        rc_buf_init(&key, 256);
        rc_buf_init(&value, 4096);
        assert_int_equal(rc_serving_key_add(&key, "buyers"), RC_OK);
        assert_string_equal(key.data, "control/serves/buyers");
        assert_true(rc_serving_is_key(rc_buf_span(&key)));
        assert_int_equal(rc_serving_record_add(&value, &said[i]), RC_OK);
        take(&controls, key.data, value.data);
        assert_string_equal(rc_serving_audience(&controls.items[0]), "buyers");
        rc_serving_find(&controls, "buyers", &found);
        assert_int_equal(found.version, 3);
        assert_true(json_equal(found.where, said[i].where));
        assert_int_equal(found.held, said[i].held);
        assert_int_equal(found.members, said[i].members);
        assert_int_equal(found.would_have, said[i].would_have);
        rc_serving_deinit(&found);
        /* The same is written as the same. */
        char *first = rc_span_dup(rc_buf_span(&value));
        rc_buf_reset(&value);
        assert_int_equal(rc_serving_record_add(&value, &said[i]), RC_OK);
        assert_string_equal(value.data, first);
        free(first);
        rc_serving_find(&controls, "others", &found);
        assert_int_equal(found.version, 0);
        take(&controls, key.data, NULL);
        rc_serving_find(&controls, "buyers", &found);
        assert_int_equal(found.version, 0);
        assert_null(rc_serving_audience(&controls.items[0]));
        rc_buf_deinit(&key);
        rc_buf_deinit(&value);
        rc_controls_deinit(&controls);
    }
    rc_serving_deinit(&said[0]);
    rc_serving_deinit(&said[1]);
}

static int version_after(const char *record, const char *control) {
    struct rc_controls controls;
    struct rc_serving found;
    rc_controls_init(&controls);
    take(&controls, "control/serves/x", record);
    if (control)
        take(&controls, "control/audience/x", control);
    rc_serving_find(&controls, "x", &found);
    int version = found.version;
    assert_true(version ? found.where != NULL : found.where == NULL);
    rc_serving_deinit(&found);
    rc_controls_deinit(&controls);
    return version;
}

static void what_was_deleted_since_is_over(void **state) {
    (void)state;
    const char *record = "{\"version\":3,\"where\":" WHERE "}";
    assert_int_equal(version_after(record, NULL), 3);
    assert_int_equal(version_after(record, "{\"deleted\":2}"), 3);
    assert_int_equal(version_after(record, "{\"deleted\":3,\"onEnd\":\"keep\"}"), 0);
    assert_int_equal(version_after(record, "{\"approved\":9}"), 3);
}

static void what_is_none_is_passed_over(void **state) {
    (void)state;
    static const char *const bad[] = {
        "{\"version\":3}",
        "{\"where\":" WHERE "}",
        "{\"version\":\"3\",\"where\":" WHERE "}",
        "{\"version\":3,\"where\":7}",
        "{\"version\":3,\"where\":{}}",
        "{\"version\":3,\"where\":{\"segment\":7}}",
        "{\"version\":3,\"where\":{\"not\":[]}}",
        "{\"version\":3,\"where\":{\"and\":{\"segment\":\"a\"}}}",
        "{\"version\":3,\"where\":{\"or\":[{\"segment\":\"a\"},null]}}",
        "{\"version\":3,\"where\":{\"segment\":\"a\",\"not\":{\"segment\":\"a\"}}}",
        "[]",
        "nothing",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (version_after(bad[i], NULL) != 0)
            fail_msg("%s was taken", bad[i]);
    assert_false(rc_serving_is_key(rc_span_str("control/audience/serves")));
    assert_false(rc_serving_is_key(rc_span_str("control/serves/")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_found),
        cmocka_unit_test(what_was_deleted_since_is_over),
        cmocka_unit_test(what_is_none_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
