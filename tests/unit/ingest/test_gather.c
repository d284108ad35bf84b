/* Restored records on their way into the store: the last one of each person, in order, with their deadlines, and what they say together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <xxhash.h>

#include "consumers/ingest/internal.h"
#include "tests/unit/folder.h"

#define PLAN UINT64_C(0x1234567890abcdef)
#define DOMAIN UINT64_C(0xfedcba0987654321)

enum { PERSONS = 3000, LANE = 3 };

struct fixture {
    char path[64];
    struct rc_store *store;
};

static int setup(void **state) {
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct rc_error err;
    snprintf(fixture->path, sizeof fixture->path, "/tmp/rollcall-gather-XXXXXX");
    assert_non_null(mkdtemp(fixture->path));
    struct rc_store_options options = {.path = fixture->path, .kind = "ingest", .format = 1, .cache_bytes = 8 << 20};
    if (rc_store_open(&options, &fixture->store, NULL, &err) != RC_OK)
        fail_msg("%s", err.message);
    *state = fixture;
    return 0;
}

static int teardown(void **state) {
    struct fixture *fixture = *state;
    rc_store_close(fixture->store);
    int status = test_folder_remove(fixture->path);
    free(fixture);
    return status;
}

/* ---- records ---- */

static void add_hash(struct rc_buf *out, uint64_t hash) {
    rc_buf_add(out, &hash, sizeof hash);
}

/* segment/person_record.c has the layout. Member of segment 5 if `i` is even, of 6 always. */
static void make_record(struct rc_buf *out, uint64_t plan, int i, int64_t due_ms) {
    rc_buf_reset(out);
    rc_buf_add(out, "RP\2", 3);
    add_hash(out, plan);
    rc_buf_add_varint(out, i % 100 == 99); /* quarantined */
    rc_buf_add_varint(out, 0);
    rc_buf_add_varint(out, 1);
    add_hash(out, DOMAIN);
    rc_buf_add_zigzag(out, 0);
    rc_buf_add_zigzag(out, 0);
    rc_buf_add_zigzag(out, due_ms);
    rc_buf_add_varint(out, 1 + (i % 2 == 0));
    for (uint64_t segment = i % 2 == 0 ? 5 : 6; segment <= 6; segment++) {
        add_hash(out, segment);
        rc_buf_add_zigzag(out, 17);
    }
    rc_buf_add_varint(out, 0);
    rc_buf_add_varint(out, 0);
    add_hash(out, XXH3_64bits(out->data, out->len));
}

/* In no order; the number of digits differs, so that some keys begin with others. */
static struct rc_span key_of(int i) {
    static char text[32];
    snprintf(text, sizeof text, "crm:%d", i * 7919 % PERSONS);
    return rc_span_str(text);
}

static int64_t due_of(int i) {
    return i % 4 == 3 ? INT64_MAX : i % 4 == 2 ? INT64_MIN : (int64_t)(i % 50) * 1000 - 10000;
}

static bool is_gone(int i) {
    return i % 10 == 0;
}

static void put(struct gather *gather, struct rc_buf *record, uint64_t plan, int i, int64_t due_ms) {
    make_record(record, plan, i, due_ms);
    rc_ingest_gather_put(gather, key_of(i), rc_buf_span(record));
}

/* ---- what the store has ---- */

struct seen {
    char last[64];
    size_t n;
};

static bool see(void *ctx, struct rc_span key, struct rc_span value) {
    struct seen *seen = ctx;
    (void)value;
    assert_true(key.len < sizeof seen->last);
    assert_true(seen->n == 0 || memcmp(seen->last, key.data, key.len) <= 0);
    memset(seen->last, 0, sizeof seen->last);
    memcpy(seen->last, key.data, key.len);
    seen->n++;
    return true;
}

static size_t count(struct fixture *fixture, enum rc_store_space space) {
    struct seen seen = {0};
    struct rc_error err;
    assert_int_equal(rc_store_each(fixture->store, space, LANE, rc_span_str(""), see, &seen, &err), RC_OK);
    return seen.n;
}

static bool has(struct fixture *fixture, enum rc_store_space space, struct rc_span key, struct rc_buf *value) {
    struct rc_error err;
    bool found;
    assert_int_equal(rc_store_get(fixture->store, space, LANE, key, value, &found, &err), RC_OK);
    return found;
}

static struct gather *gather_all(struct fixture *fixture, struct rc_buf *record) {
    struct gather *gather = rc_ingest_gather_new(fixture->store, LANE);
    assert_true(rc_ingest_gather_empty(gather));
    for (int i = 0; i < PERSONS; i++)
        put(gather, record, PLAN - 1, i, 77); /* what stands later in the log counts */
    for (int i = 0; i < PERSONS; i++) {
        put(gather, record, PLAN, i, due_of(i));
        if (is_gone(i))
            rc_ingest_gather_put(gather, key_of(i), rc_span_of(NULL, 0));
    }
    assert_false(rc_ingest_gather_empty(gather));
    assert_true(rc_ingest_gather_bytes(gather) > (size_t)PERSONS * 60);
    return gather;
}

static void the_last_records_go_in_with_deadlines_and_numbers(void **state) {
    struct fixture *fixture = *state;
    struct rc_buf record, value, key;
    struct rc_error err;
    struct counted *counted;
    rc_buf_init(&record, 1 << 16);
    rc_buf_init(&value, 1 << 16);
    rc_buf_init(&key, 1 << 16);
    struct gather *gather = gather_all(fixture, &record);
    assert_int_equal(rc_ingest_gather_write(gather, false, &counted, &err), RC_OK);
    rc_ingest_gather_free(gather);
    size_t persons = 0, even = 0, quarantined = 0, dues = 0;
    for (int i = 0; i < PERSONS; i++) {
        make_record(&record, PLAN, i, due_of(i));
        rc_ingest_deadline_key(&key, DOMAIN, due_of(i), key_of(i));
        bool due = !is_gone(i) && due_of(i) != INT64_MAX;
        assert_int_equal(has(fixture, RC_STORE_PERSON, key_of(i), &value), !is_gone(i));
        assert_true(is_gone(i) || rc_span_equal(rc_buf_span(&value), rc_buf_span(&record)));
        assert_int_equal(has(fixture, RC_STORE_DEADLINE, rc_buf_span(&key), &value), due);
        dues += due;
        if (is_gone(i))
            continue;
        persons++;
        even += i % 2 == 0;
        quarantined += i % 100 == 99;
    }
    assert_int_equal(count(fixture, RC_STORE_PERSON), persons);
    assert_int_equal(count(fixture, RC_STORE_DEADLINE), dues);
    assert_non_null(counted);
    assert_int_equal(counted->persons, persons);
    assert_int_equal(counted->quarantined, quarantined);
    assert_true(counted->plan == PLAN);
    assert_int_equal(rc_ingest_counted_members(counted, 5), even);
    assert_int_equal(rc_ingest_counted_members(counted, 6), persons);
    assert_int_equal(rc_ingest_counted_members(counted, 7), 0);
    rc_ingest_counted_free(counted);
    rc_buf_deinit(&record);
    rc_buf_deinit(&value);
    rc_buf_deinit(&key);
}

/* Over others nothing is counted, and who is gone goes. */
static void more_goes_over_what_is_there(void **state) {
    struct fixture *fixture = *state;
    struct rc_buf record, value;
    struct rc_error err;
    struct counted *counted;
    rc_buf_init(&record, 1 << 16);
    rc_buf_init(&value, 1 << 16);
    struct gather *gather = gather_all(fixture, &record);
    assert_int_equal(rc_ingest_gather_write(gather, false, &counted, &err), RC_OK);
    rc_ingest_gather_free(gather);
    rc_ingest_counted_free(counted);
    size_t before = count(fixture, RC_STORE_PERSON), dues = count(fixture, RC_STORE_DEADLINE);
    gather = rc_ingest_gather_new(fixture->store, LANE);
    rc_ingest_gather_put(gather, key_of(1), rc_span_of(NULL, 0));
    put(gather, &record, PLAN, 2, 5); /* was there */
    put(gather, &record, PLAN, 0, 5); /* was not */
    assert_int_equal(rc_ingest_gather_write(gather, true, &counted, &err), RC_OK);
    rc_ingest_gather_free(gather);
    assert_null(counted);
    assert_int_equal(count(fixture, RC_STORE_PERSON), before);
    assert_int_equal(count(fixture, RC_STORE_DEADLINE), dues);
    assert_false(has(fixture, RC_STORE_PERSON, key_of(1), &value));
    assert_true(has(fixture, RC_STORE_PERSON, key_of(0), &value));
    assert_true(has(fixture, RC_STORE_PERSON, key_of(2), &value));
    make_record(&record, PLAN, 2, 5);
    assert_true(rc_span_equal(rc_buf_span(&value), rc_buf_span(&record)));
    rc_buf_deinit(&record);
    rc_buf_deinit(&value);
}

/* Persons under several plans are to be looked at anew; what does not read as a record is left to who opens the lane, with all others. */
static void what_cannot_be_said_of_all_is_not(void **state) {
    struct fixture *fixture = *state;
    struct rc_buf record;
    struct rc_error err;
    struct counted *counted;
    rc_buf_init(&record, 1 << 16);
    struct gather *gather = gather_all(fixture, &record);
    put(gather, &record, PLAN + 1, 1, 5);
    assert_int_equal(rc_ingest_gather_write(gather, false, &counted, &err), RC_OK);
    assert_non_null(counted);
    assert_true(counted->plan == 0);
    rc_ingest_counted_free(counted);
    rc_ingest_gather_put(gather, rc_span_str("crm:odd"), rc_span_str("RP\2 and nothing that follows from it"));
    assert_int_equal(rc_ingest_gather_write(gather, false, &counted, &err), RC_OK);
    assert_null(counted);
    size_t all = count(fixture, RC_STORE_PERSON);
    assert_int_equal(all, PERSONS - PERSONS / 10 + 1);
    rc_ingest_gather_free(gather);
    gather = rc_ingest_gather_new(fixture->store, LANE); /* nobody */
    assert_int_equal(rc_ingest_gather_write(gather, false, &counted, &err), RC_OK);
    assert_int_equal(counted->persons, 0);
    rc_ingest_counted_free(counted);
    rc_ingest_gather_free(gather);
    rc_buf_deinit(&record);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_last_records_go_in_with_deadlines_and_numbers),
        TEST(more_goes_over_what_is_there),
        TEST(what_cannot_be_said_of_all_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
