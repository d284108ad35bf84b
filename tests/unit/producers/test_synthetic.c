/* The benchmark's load is what performance.md says, and the seed alone decides it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "codec/person_key.h"
#include "producers/synthetic.h"

enum { N = 200000 };
#define STANDARD .persons = 1000000, .late = 0.05, .twice = 0.01

struct drawn {
    struct rc_buf key, value;
};

static void drawn_init(struct drawn *drawn) {
    rc_buf_init(&drawn->key, 4096);
    rc_buf_init(&drawn->value, 4096);
}

static void drawn_deinit(struct drawn *drawn) {
    rc_buf_deinit(&drawn->key);
    rc_buf_deinit(&drawn->value);
}

static void test_same_seed_same_events(void **state) {
    (void)state;
    struct rc_synthetic_options options = {.seed = 7, STANDARD};
    struct rc_synthetic *a = rc_synthetic_new(&options), *b = rc_synthetic_new(&options);
    options.seed = 8;
    struct rc_synthetic *c = rc_synthetic_new(&options);
    struct drawn x, y, z;
    drawn_init(&x), drawn_init(&y), drawn_init(&z);
    int differ = 0;
    for (int i = 0; i < 5000; i++) {
        int64_t at = 1700000000000 + i;
        assert_int_equal(rc_synthetic_next(a, at, &x.key, &x.value), rc_synthetic_next(b, at, &y.key, &y.value));
        assert_true(rc_span_equal(rc_buf_span(&x.key), rc_buf_span(&y.key)));
        assert_true(rc_span_equal(rc_buf_span(&x.value), rc_buf_span(&y.value)));
        rc_synthetic_next(c, at, &z.key, &z.value);
        differ += !rc_span_equal(rc_buf_span(&x.key), rc_buf_span(&z.key));
    }
    assert_true(differ > 4900);
    drawn_deinit(&x), drawn_deinit(&y), drawn_deinit(&z);
    rc_synthetic_free(a), rc_synthetic_free(b), rc_synthetic_free(c);
}

static void test_shares(void **state) {
    (void)state;
    struct rc_synthetic_options options = {.seed = 1, STANDARD};
    struct rc_synthetic *s = rc_synthetic_new(&options);
    struct drawn drawn;
    drawn_init(&drawn);
    uint64_t bytes = 0, late = 0, hot = 0;
    char(*ids)[17] = rc_calloc(N, sizeof *ids);
    for (int i = 0; i < N; i++) {
        int64_t at = 1700000000000 + i, got = rc_synthetic_next(s, at, &drawn.key, &drawn.value);
        bytes += drawn.value.len;
        late += got < at - RC_SYNTHETIC_REPEAT_AFTER; /* a repetition is older too, but not by more than its distance */
        assert_true(got <= at);
        struct rc_span space, id, in = rc_buf_span(&drawn.value), event_id;
        struct rc_buf scratch;
        rc_buf_init(&scratch, 100);
        assert_int_equal(rc_person_key_split(rc_buf_span(&drawn.key), &scratch, &space, &id), RC_OK);
        rc_buf_deinit(&scratch);
        assert_int_equal(id.data[0], 'p');
        long person = strtol(id.data + 1, NULL, 10);
        assert_in_range(person, 0, 999999);
        hot += person < 1000; /* u³ < 1/1000: u < 1/10 */
        int64_t len;
        assert_int_equal(rc_take_zigzag(&in, &len), RC_OK);
        assert_int_equal(len, 16);
        assert_int_equal(rc_take_bytes(&in, 16, &event_id), RC_OK);
        memcpy(ids[i], event_id.data, 16);
    }
    assert_in_range(bytes / N, 100, 140);
    assert_in_range(late * 1000 / N, 40, 60);
    assert_in_range(hot * 1000 / N, 90, 110);
    qsort(ids, N, sizeof *ids, (int (*)(const void *, const void *))strcmp);
    uint64_t twice = 0;
    for (int i = 1; i < N; i++)
        twice += !strcmp(ids[i], ids[i - 1]);
    assert_in_range(twice * 10000 / N, 80, 120);
    free(ids);
    drawn_deinit(&drawn);
    rc_synthetic_free(s);
}

static void test_all_repeated_and_left_over(void **state) {
    (void)state;
    struct rc_synthetic_options options = {.seed = 3, .persons = 10, .twice = 1};
    struct rc_synthetic *s = rc_synthetic_new(&options);
    struct drawn drawn, first;
    drawn_init(&drawn), drawn_init(&first);
    for (int i = 0; i < 3 * RC_SYNTHETIC_REPEAT_AFTER; i++) {
        int64_t at = rc_synthetic_next(s, i, &drawn.key, &drawn.value);
        if (i == 0)
            rc_buf_add_span(&first.value, rc_buf_span(&drawn.value));
        if (i == RC_SYNTHETIC_REPEAT_AFTER) {
            assert_int_equal(at, 0);
            assert_true(rc_span_equal(rc_buf_span(&first.value), rc_buf_span(&drawn.value)));
        }
    }
    drawn_deinit(&drawn), drawn_deinit(&first);
    rc_synthetic_free(s); /* frees what still waited */
}

static void test_in_turn(void **state) {
    (void)state;
    enum { PERSONS = 1000 };
    struct rc_synthetic_options options = {.seed = 1, .persons = PERSONS, .late = 0.05, .in_turn = true};
    struct rc_synthetic *s = rc_synthetic_new(&options);
    struct drawn drawn;
    int seen[PERSONS] = {0};
    drawn_init(&drawn);
    for (int i = 0; i < 10 * PERSONS; i++) {
        rc_synthetic_next(s, i, &drawn.key, &drawn.value);
        seen[strtol(drawn.key.data + sizeof "ecid:p" - 1, NULL, 10)]++;
    }
    for (int i = 0; i < PERSONS; i++)
        assert_int_equal(seen[i], 10);
    drawn_deinit(&drawn);
    rc_synthetic_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_seed_same_events),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_all_repeated_and_left_over),
        cmocka_unit_test(test_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
