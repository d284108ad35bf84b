/* The key of a person on Kafka: the Java client's hash of it, its two parts there and back, what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/person_key.h"

/* From the Java client's own UtilsTest#testMurmur2. */
static void murmur2_is_javas(void **state) {
    (void)state;
    static const struct {
        const char *key;
        int32_t hash;
    } cases[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(rc_person_key_hash(rc_span_str(cases[i].key)), cases[i].hash);
        assert_int_equal(rc_person_key_partition(rc_span_str(cases[i].key), 7), (cases[i].hash & 0x7fffffff) % 7);
    }
    assert_int_equal(rc_person_key_partition(rc_span_str(""), 1), 0);
}

static void check_key(const char *namespace, const char *id, const char *key) {
    struct rc_buf out, scratch;
    struct rc_span ns, person;
    rc_buf_init(&out, 1000);
    rc_buf_init(&scratch, 1000);
    assert_int_equal(rc_person_key_add(&out, rc_span_str(namespace), rc_span_str(id)), RC_OK);
    assert_string_equal(out.data, key);
    assert_int_equal(rc_person_key_split(rc_buf_span(&out), &scratch, &ns, &person), RC_OK);
    assert_true(rc_span_equal(ns, rc_span_str(namespace)));
    assert_true(rc_span_equal(person, rc_span_str(id)));
    rc_buf_deinit(&out);
    rc_buf_deinit(&scratch);
}

static void keys_go_there_and_back(void **state) {
    (void)state;
    check_key("ecid", "p1", "ecid:p1");
    check_key("ecid", "a:b\\c:", "ecid:a:b\\c:");
    check_key("a:b", "x", "a\\:b:x");
    check_key("a\\", "x", "a\\\\:x");
    check_key(":", ":", "\\:::");
    check_key("é", "ü|", "é:ü|");
}

static void what_is_no_key(void **state) {
    (void)state;
    static const char *const keys[] = {"", ":", "a", "a:", ":b", "a\\:b", "a\\", "\\"};
    struct rc_buf scratch;
    rc_buf_init(&scratch, 100);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct rc_span ns = {0}, person = {0};
        assert_int_equal(rc_person_key_split(rc_span_str(keys[i]), &scratch, &ns, &person), RC_FAIL);
        assert_null(ns.data);
    }
    rc_buf_deinit(&scratch);
}

static void a_full_buffer_says_so(void **state) {
    (void)state;
    struct rc_buf out;
    rc_buf_init(&out, 6);
    assert_int_equal(rc_person_key_add(&out, rc_span_str("ecid"), rc_span_str("p1")), RC_FAIL);
    rc_buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(murmur2_is_javas),
        cmocka_unit_test(keys_go_there_and_back),
        cmocka_unit_test(what_is_no_key),
        cmocka_unit_test(a_full_buffer_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
