/* The persons of a partition, the groups that are still open, and which audiences are in force. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consumers/materialize/groups.h"
#include "consumers/materialize/persons.h"
#include "consumers/materialize/rulebook.h"
#include "tests/unit/folder.h"

struct folder {
    char path[64];
    struct rc_store *store;
};

static int setup(void **state) {
    struct folder *folder = calloc(1, sizeof *folder);
    struct rc_error err = {0};
    snprintf(folder->path, sizeof folder->path, "/tmp/rollcall-persons-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    struct rc_store_options options = {.path = folder->path, .kind = "materialize", .format = 1};
    if (rc_store_open(&options, &folder->store, NULL, &err))
        fail_msg("%s", err.message);
    *state = folder;
    return 0;
}

static int teardown(void **state) {
    struct folder *folder = *state;
    rc_store_close(folder->store);
    assert_int_equal(test_folder_remove(folder->path), 0);
    free(folder);
    return 0;
}

static struct rc_span key_of(int n) {
    static char text[32];
    snprintf(text, sizeof text, "id:%d", n);
    return rc_span_str(text);
}

static void keep(struct rc_persons *persons, struct rc_audience_person *person, int n, int64_t since) {
    struct rc_audience_input input = {.name = (uint32_t)(n % 7), .realized = true, .since_ms = since, .version = since};
    struct rc_error err = {0};
    if (rc_persons_load(persons, key_of(n), 100, 100, person, &err))
        fail_msg("%s", err.message);
    assert_true(rc_audience_learn(person, &input, 1));
    rc_persons_keep(persons, key_of(n), person);
}

static int64_t since_of(struct rc_persons *persons, struct rc_audience_person *person, int n) {
    struct rc_error err = {0};
    if (rc_persons_load(persons, key_of(n), 100, 100, person, &err))
        fail_msg("%s", err.message);
    return person->n_signals ? person->signals[0].since_ms : -1;
}

static void save(struct folder *folder, struct rc_persons *persons, bool commit) {
    struct rc_error err = {0};
    struct rc_store_batch *batch = rc_store_begin(folder->store);
    rc_persons_save_begin(persons, batch);
    while (rc_persons_save_some(persons, 1000))
        ;
    if (!commit)
        rc_store_abort(batch);
    else if (rc_store_commit(batch, false, &err))
        fail_msg("%s", err.message);
    rc_persons_saved(persons, commit);
}

static bool count(void *ctx, struct rc_span key) {
    (void)key;
    ++*(int *)ctx;
    return true;
}

static void test_persons_outlive_memory(void **state) {
    struct folder *folder = *state;
    struct rc_persons *persons = rc_persons_new(folder->store, 3, 64 * 1024); /* far less than what follows */
    struct rc_audience_person person;
    struct rc_error err = {0};
    rc_audience_person_init(&person);
    for (int round = 0; round < 3; round++) {
        for (int n = 0; n < 5000; n++)
            keep(persons, &person, n, 1000 * (round + 1) + n % 100);
        assert_int_equal(rc_persons_dirty(persons), 5000);
        save(folder, persons, round != 1); /* a batch that is given up leaves everything dirty */
        assert_int_equal(rc_persons_dirty(persons), round == 1 ? 5000 : 0);
    }
    for (int n = 0; n < 5000; n++)
        assert_int_equal(since_of(persons, &person, n), 3000 + n % 100);
    assert_true(rc_persons_bytes(persons) <= 64 * 1024);
    assert_int_equal(since_of(persons, &person, 5001), -1);
    rc_persons_free(persons);
    persons = rc_persons_new(folder->store, 3, 64 * 1024);
    for (int n = 4999; n >= 0; n--)
        assert_int_equal(since_of(persons, &person, n), 3000 + n % 100);
    int seen = 0;
    for (uint32_t slice = 0; slice < RC_PERSONS_SLICES; slice++)
        assert_int_equal(rc_persons_each(persons, slice, count, &seen, &err), RC_OK);
    assert_int_equal(seen, 5000);
    rc_persons_free(persons);
    persons = rc_persons_new(folder->store, 2, 64 * 1024);
    assert_int_equal(since_of(persons, &person, 1), -1);
    rc_persons_free(persons);
    rc_audience_person_deinit(&person);
}

/* `put`: before they change, or while only some of them are in the batch. */
static void change_beside_a_batch(struct folder *folder, int32_t partition, bool put, bool commit) {
    struct rc_persons *persons = rc_persons_new(folder->store, partition, 1 << 20);
    struct rc_audience_person person;
    struct rc_error err = {0};
    rc_audience_person_init(&person);
    for (int n = 0; n < 10; n++)
        keep(persons, &person, n, 10);
    struct rc_store_batch *batch = rc_store_begin(folder->store);
    rc_persons_save_begin(persons, batch);
    assert_int_equal(rc_persons_dirty(persons), 0);
    assert_true(rc_persons_save_some(persons, 5));
    if (put)
        assert_false(rc_persons_save_some(persons, 100));
    for (int n = 0; n < 10; n += 3) { /* some that are in the batch, some that are not */
        keep(persons, &person, n, 20);
        keep(persons, &person, n, 30);
    }
    keep(persons, &person, 10, 20);
    assert_int_equal(rc_persons_dirty(persons), 5);
    assert_false(rc_persons_save_some(persons, 100));
    for (int n = 0; n < 10; n++)
        assert_int_equal(since_of(persons, &person, n), n % 3 ? 10 : 30);
    if (!commit)
        rc_store_abort(batch);
    else
        assert_int_equal(rc_store_commit(batch, false, &err), RC_OK);
    rc_persons_saved(persons, commit);
    assert_int_equal(rc_persons_dirty(persons), commit ? 5 : 11);
    struct rc_persons *crashed = rc_persons_new(folder->store, partition, 1 << 20);
    for (int n = 0; n <= 10; n++) /* what was when the save began is there */
        assert_int_equal(since_of(crashed, &person, n), commit && n < 10 ? 10 : -1);
    rc_persons_free(crashed);
    save(folder, persons, true);
    rc_persons_free(persons);
    persons = rc_persons_new(folder->store, partition, 1 << 20);
    for (int n = 0; n < 10; n++)
        assert_int_equal(since_of(persons, &person, n), n % 3 ? 10 : 30);
    assert_int_equal(since_of(persons, &person, 10), 20);
    rc_persons_free(persons);
    rc_audience_person_deinit(&person);
}

static void test_changes_while_a_batch_is_under_way(void **state) {
    for (int i = 0; i < 4; i++)
        change_beside_a_batch(*state, 10 + i, i & 1, i & 2);
}

static void test_groups(void **state) {
    (void)state;
    struct rc_groups *groups = rc_groups_new();
    struct rc_group group;
    struct rc_audience_input input = {.name = 1, .event_id = rc_span_str("e1")};
    assert_int_equal(rc_groups_oldest(groups), INT64_MAX);
    rc_groups_add(groups, rc_span_str("a"), &input, 10, 1000);
    rc_groups_add(groups, rc_span_str("b"), &input, 11, 1100);
    input.name = 2;
    rc_groups_add(groups, rc_span_str("a"), &input, 12, 1200);
    assert_int_equal(rc_groups_oldest(groups), 10);
    assert_false(rc_groups_take(groups, rc_span_str("c"), &group));
    assert_true(rc_groups_take(groups, rc_span_str("a"), &group));
    assert_int_equal(group.n, 2);
    assert_int_equal(group.inputs[1].name, 2);
    assert_true(rc_span_equal(group.inputs[0].event_id, rc_span_str("e1")));
    assert_int_equal(rc_groups_oldest(groups), 11);
    assert_false(rc_groups_take_old(groups, 1099, &group));
    assert_true(rc_groups_take_old(groups, 1100, &group));
    assert_true(rc_span_equal(group.key, rc_span_str("b")));
    for (int n = 0; n <= RC_GROUPS_MAX; n++)
        rc_groups_add(groups, key_of(n), &input, n, 2000);
    assert_true(rc_groups_take_old(groups, 0, &group));
    assert_true(rc_span_equal(group.key, rc_span_str("id:0")));
    assert_false(rc_groups_take_old(groups, 0, &group));
    rc_groups_free(groups);
}

static struct rc_catalog *catalog_of(const char *audiences) {
    char text[4096];
    struct rc_catalog_builder builder;
    struct rc_catalog *catalog = NULL;
    struct rc_error err = {0};
    snprintf(text, sizeof text,
             "[{\"kind\":\"dataset\",\"id\":\"web\",\"topic\":\"web\",\"format\":\"json\",\"person\":{\"namespace\":"
             "\"u\",\"id\":{\"path\":\"u\"}},"
             "\"timestamp\":{\"path\":\"ts\"}},{\"kind\":\"segment\",\"id\":\"a\",\"dataset\":\"web\",\"where\":{"
             "\"event\":{}}},%s]",
             audiences);
    rc_catalog_builder_init(&builder);
    if (rc_catalog_builder_add(&builder, "test", rc_span_str(text), NULL, NULL, &err) ||
        rc_catalog_build(&builder, &catalog, &err))
        fail_msg("%s", err.message);
    rc_catalog_builder_deinit(&builder);
    return catalog;
}

static void test_rulebook(void **state) {
    (void)state;
    struct rc_catalog *catalog = catalog_of(
        "{\"kind\":\"audience\",\"id\":\"live\",\"where\":{\"segment\":\"a\"},\"expires\":\"2026-02-01T00:00:00Z\"},"
        "{\"kind\":\"audience\",\"id\":\"old\",\"where\":{\"segment\":\"a\"},\"expires\":\"2025-01-01T00:00:00Z\",\"on_"
        "end\":\"exit\"},"
        "{\"kind\":\"audience\",\"id\":\"stopped\",\"where\":{\"segment\":\"a\"},\"paused\":true},"
        "{\"kind\":\"audience\",\"id\":\"daily\",\"where\":{\"segment\":\"a\"},\"refresh\":\"daily\"}");
    struct rc_audience_memory memories[] = {{.id = (char *)"live", .version = 1},
                                            {.id = (char *)"gone", .version = 3},
                                            {.id = (char *)"kept", .keep = true}};
    struct rc_rulebook book;
    int64_t start = INT64_C(1767225600000), end = INT64_C(1769904000000); /* 1 January, 1 February 2026 */
    rc_rulebook_init(&book, catalog, memories, 3, start);
    assert_int_equal(book.n, 6);
    assert_int_equal(book.next_ms, end - RC_AUDIENCE_WARNING_MS);
    static const struct {
        const char *id, *state;
        enum rc_audience_mode mode;
    } expected[] = {{"live", "ready", RC_AUDIENCE_LIVE},       {"old", "expired", RC_AUDIENCE_ENDED},
                    {"stopped", "paused", RC_AUDIENCE_FROZEN}, {"daily", "ready", RC_AUDIENCE_SCHEDULED},
                    {"gone", "deleted", RC_AUDIENCE_ENDED},    {"kept", "deleted", RC_AUDIENCE_FROZEN}};
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(book.entries[i].id, expected[i].id);
        assert_int_equal(strncmp(book.entries[i].state, expected[i].state, strlen(expected[i].state)), 0);
        assert_int_equal(book.specs[i].mode, expected[i].mode);
    }
    rc_rulebook_deinit(&book);
    rc_rulebook_init(&book, catalog, NULL, 0, end);
    assert_string_equal(book.entries[0].state, "expired");
    assert_int_equal(book.specs[0].mode, RC_AUDIENCE_FROZEN); /* expiry keeps the members unless told otherwise */
    assert_int_equal(book.next_ms, INT64_MAX);
    rc_rulebook_deinit(&book);
    rc_catalog_free(catalog);
}

static void test_rulebook_follows_schedules(void **state) {
    (void)state;
    struct rc_catalog *catalog = catalog_of(
        "{\"kind\":\"audience\",\"id\":\"live\",\"where\":{\"segment\":\"a\"}},"
        "{\"kind\":\"audience\",\"id\":\"daily\",\"where\":{\"segment\":\"a\"},\"refresh\":\"daily\",\"at\":\"02:00\"},"
        "{\"kind\":\"audience\",\"id\":\"once\",\"where\":{\"segment\":\"a\"},\"refresh\":\"once\",\"at\":\"01:00\"}");
    const int64_t hour = 3600000, start = INT64_C(1767225600000); /* 1 January 2026 */
    for (size_t i = 0; i < 3; i++)
        catalog->audiences[i].scheduled_ms = start;
    struct rc_rulebook book;
    rc_rulebook_init(&book, catalog, NULL, 0, start);
    assert_int_equal(book.due_ms, start + hour);
    assert_int_equal(book.entries[0].next_ms, INT64_MAX);
    assert_int_equal(book.entries[1].latest_ms, 0);
    assert_false(rc_rulebook_tick(&book, start + hour - 1));
    assert_true(rc_rulebook_tick(&book, start + hour));
    assert_int_equal(book.entries[2].latest_ms, start + hour);
    assert_int_equal(book.entries[2].next_ms, INT64_MAX);
    assert_int_equal(book.due_ms, start + 2 * hour);
    assert_true(rc_rulebook_tick(&book, start + 75 * hour)); /* nobody looked for three days */
    assert_int_equal(book.entries[1].latest_ms, start + 74 * hour);
    assert_int_equal(book.due_ms, start + 98 * hour);
    assert_false(rc_rulebook_tick(&book, start)); /* a clock that goes back */
    assert_int_equal(book.entries[1].latest_ms, start + 74 * hour);
    rc_rulebook_deinit(&book);
    rc_catalog_free(catalog);
}

static void test_expiry(void **state) {
    (void)state;
    /* 31 January 2026 and 13 months: the last of February 2027. */
    struct rc_audience audience = {.applied_ms = INT64_C(1769860800123)};
    assert_int_equal(rc_audience_expiry_ms(&audience), INT64_C(1803816000123));
    audience.expires_ms = 5;
    assert_int_equal(rc_audience_expiry_ms(&audience), 5);
    audience = (struct rc_audience){0};
    assert_int_equal(rc_audience_expiry_ms(&audience), INT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_persons_outlive_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes_while_a_batch_is_under_way, setup, teardown),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_rulebook),
        cmocka_unit_test(test_rulebook_follows_schedules),
        cmocka_unit_test(test_expiry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
