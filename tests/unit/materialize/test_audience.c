/* Audiences from segments: existence, groups that flip at one instant, late and repeated records, reviews, limits, saved records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consumers/materialize/audience.h"

static const char definitions[] =
    "[{\"kind\":\"dataset\",\"id\":\"web\",\"topic\":\"web.events\",\"format\":\"json\",\"person\":{\"namespace\":"
    "\"u\",\"id\":{\"path\":\"u\"}},"
    "\"timestamp\":{\"path\":\"ts\"},\"fields\":{\"type\":{\"path\":\"t\",\"type\":\"string\"}}},"
    "{\"kind\":\"dataset\",\"id\":\"shop\",\"topic\":\"shop.events\",\"format\":\"json\",\"person\":{\"namespace\":"
    "\"u\",\"id\":{\"path\":\"u\"}},"
    "\"timestamp\":{\"path\":\"ts\"},\"fields\":{\"type\":{\"path\":\"t\",\"type\":\"string\"}}},"
    "{\"kind\":\"segment\",\"id\":\"a\",\"dataset\":\"web\",\"where\":{\"event\":{\"field\":\"type\",\"eq\":\"a\"}}},"
    "{\"kind\":\"segment\",\"id\":\"b\",\"dataset\":\"web\",\"where\":{\"event\":{\"field\":\"type\",\"eq\":\"b\"}}},"
    "{\"kind\":\"segment\",\"id\":\"s\",\"dataset\":\"shop\",\"where\":{\"or\":[{\"segment\":\"a\"},{\"event\":{"
    "\"field\":\"type\",\"eq\":\"s\"}}]}},"
    "{\"kind\":\"audience\",\"id\":\"just-a\",\"where\":{\"segment\":\"a\"},\"size_limit\":2},"
    "{\"kind\":\"audience\",\"id\":\"a-not-b\",\"where\":{\"and\":[{\"segment\":\"a\"},{\"not\":{\"segment\":\"b\"}}]}}"
    ","
    "{\"kind\":\"audience\",\"id\":\"a-and-b\",\"where\":{\"and\":[{\"segment\":\"a\"},{\"segment\":\"b\"}]}},"
    "{\"kind\":\"audience\",\"id\":\"never-b\",\"where\":{\"not\":{\"segment\":\"b\"}}},"
    "{\"kind\":\"audience\",\"id\":\"not-s\",\"where\":{\"not\":{\"segment\":\"s\"}}}]";

struct bench {
    struct rc_catalog *catalog;
    struct rc_names *signals, *audiences;
    struct rc_audience_rules *rules;
    struct rc_audience_person person;
    struct rc_audience_tally here[16], all[16];
    int64_t version;
    char said[4096]; /* what was published, as text */
};

static int64_t say(void *ctx, const struct rc_audience_change *change) {
    struct bench *bench = ctx;
    size_t n = strlen(bench->said);
    snprintf(bench->said + n, sizeof bench->said - n, "%s%s%s@%lld/%s", n ? " " : "", change->realized ? "+" : "-",
             rc_names_text(bench->audiences, change->rule->name), (long long)change->since_ms,
             rc_cause_text(change->cause));
    return ++bench->version;
}

static struct rc_audience_desk desk_of(struct bench *bench) {
    return (struct rc_audience_desk){
        .rules = bench->rules, .here = bench->here, .all = bench->all, .emit = say, .ctx = bench};
}

/* Compiles the audiences whose ids are listed (NULL: all), in the given mode. */
static void compile(struct bench *bench, const char *only, enum rc_audience_mode mode, uint64_t generation) {
    struct rc_audience_spec specs[8];
    size_t n = 0;
    for (size_t i = 0; i < bench->catalog->n_audiences; i++) {
        const struct rc_audience *audience = &bench->catalog->audiences[i];
        if (!only || strcmp(only, audience->id) == 0)
            specs[n++] = (struct rc_audience_spec){
                .definition = audience, .id = audience->id, .version = audience->version, .mode = mode};
    }
    rc_audience_rules_free(bench->rules);
    bench->rules = rc_audience_rules_new(bench->catalog, specs, n, bench->signals, bench->audiences);
    rc_audience_rules_set_generation(bench->rules, generation);
}

static int setup_with(void **state, const char *only) {
    struct bench *bench = calloc(1, sizeof *bench);
    struct rc_catalog_builder builder;
    struct rc_error err = {0};
    rc_catalog_builder_init(&builder);
    if (rc_catalog_builder_add(&builder, "test", rc_span_str(definitions), NULL, NULL, &err) ||
        rc_catalog_build(&builder, &bench->catalog, &err))
        fail_msg("%s", err.message);
    rc_catalog_builder_deinit(&builder);
    bench->signals = rc_names_new();
    bench->audiences = rc_names_new();
    rc_audience_person_init(&bench->person);
    compile(bench, only, RC_AUDIENCE_LIVE, 1);
    bench->person.generation = 1;
    *state = bench;
    return 0;
}

static int setup(void **state) {
    return setup_with(state, NULL);
}

static int teardown(void **state) {
    struct bench *bench = *state;
    rc_audience_rules_free(bench->rules);
    rc_audience_person_deinit(&bench->person);
    rc_names_free(bench->signals);
    rc_names_free(bench->audiences);
    rc_catalog_free(bench->catalog);
    free(bench);
    return 0;
}

static struct rc_audience_input told(struct bench *bench, const char *name, bool realized, int64_t since,
                                     int64_t version, enum rc_cause cause) {
    return (struct rc_audience_input){.name = rc_names_intern(bench->signals, rc_span_str(name)),
                                      .realized = realized,
                                      .since_ms = since,
                                      .version = version,
                                      .cause = cause,
                                      .event_time_ms = RC_NO_EVENT_TIME};
}

static bool decide(struct bench *bench, struct rc_audience_input *inputs, size_t n, const char *expected) {
    struct rc_audience_desk desk = desk_of(bench);
    bench->said[0] = '\0';
    bool changed = rc_audience_decide(&desk, &bench->person, inputs, n, RC_CAUSE_DEFINITION, 999999);
    assert_string_equal(bench->said, expected);
    return changed;
}

#define EVENT(name, realized, since, version) told(bench, name, realized, since, version, RC_CAUSE_EVENT)
#define TIME(name, realized, since, version) told(bench, name, realized, since, version, RC_CAUSE_TIME)
#define DECIDE(expected, ...)                                \
    decide(bench, (struct rc_audience_input[]){__VA_ARGS__}, \
           sizeof((struct rc_audience_input[]){__VA_ARGS__}) / sizeof(struct rc_audience_input), expected)

static void test_existence_makes_a_not_true(void **state) {
    struct bench *bench = *state;
    DECIDE("+never-b@100/event +not-s@100/event", EVENT("_exists.web", true, 100, 1));
    /* The other dataset of `not-s` later: exists already. An earlier timestamp comes late: nothing flips. */
    DECIDE("", EVENT("_exists.shop", true, 150, 2));
    DECIDE("", EVENT("_exists.web", true, 50, 3));
}

static void test_no_existence_no_member(void **state) {
    struct bench *bench = *state;
    /* Who is in `a` was there; of the datasets of `b` nothing is known yet. */
    DECIDE("+just-a@100/event +a-not-b@100/event", EVENT("a", true, 100, 1));
    DECIDE("+never-b@100/event +not-s@100/event", EVENT("_exists.web", true, 100, 2));
}

/* Two datasets, read one after the other: the segment knows of an earlier instant than the existence that came first. */
static void test_a_segment_tells_of_existence(void **state) {
    struct bench *bench = *state;
    DECIDE("+never-b@150/event +not-s@150/event", EVENT("_exists.web", true, 150, 1));
    DECIDE("+just-a@100/event +a-not-b@100/event", EVENT("a", true, 100, 2));
}

static void test_segments_that_flip_together_make_nothing_pass(void **state) {
    struct bench *bench = *state;
    DECIDE("+never-b@100/event +not-s@100/event", EVENT("_exists.web", true, 100, 1));
    /* a and b at one instant: `a-not-b` never was. The order of the records does not matter. */
    DECIDE("+just-a@200/event +a-and-b@200/event -never-b@200/event", EVENT("a", true, 200, 2),
           EVENT("b", true, 200, 3));
    DECIDE("-a-and-b@300/time +never-b@300/time -just-a@300/time", TIME("b", false, 300, 4), TIME("a", false, 300, 5));
}

static void test_instants_of_a_group_go_in_order(void **state) {
    struct bench *bench = *state;
    DECIDE("+never-b@100/event +not-s@100/event", EVENT("_exists.web", true, 100, 1));
    DECIDE("+just-a@200/event +a-not-b@200/event -a-not-b@250/time +a-and-b@250/time -never-b@250/time",
           TIME("b", true, 250, 3), EVENT("a", true, 200, 2));
}

/* What history brings is one difference, since whenever each part of it holds: nobody passes through `never-b` and `a-not-b`. */
static void test_what_history_brings_makes_nothing_pass(void **state) {
    struct bench *bench = *state;
    DECIDE("+just-a@200/backfill +a-and-b@250/backfill +not-s@100/backfill",
           told(bench, "_exists.web", true, 100, 1, RC_CAUSE_BACKFILL),
           told(bench, "a", true, 200, 2, RC_CAUSE_BACKFILL), told(bench, "b", true, 250, 3, RC_CAUSE_BACKFILL));
}

static void test_event_is_the_better_reason(void **state) {
    struct bench *bench = *state;
    struct rc_audience_input inputs[] = {TIME("b", true, 100, 2), EVENT("a", true, 100, 3),
                                         EVENT("_exists.web", true, 100, 1)};
    decide(bench, inputs, 3, "+a-and-b@100/event +just-a@100/event +not-s@100/event");
}

static void test_old_records_are_dropped(void **state) {
    struct bench *bench = *state;
    assert_true(DECIDE("+never-b@100/event +not-s@100/event", EVENT("_exists.web", true, 100, 1)));
    assert_true(DECIDE("+just-a@200/event +a-not-b@200/event", EVENT("a", true, 200, 2)));
    assert_true(DECIDE("-just-a@300/time -a-not-b@300/time", TIME("a", false, 300, 5)));
    assert_false(DECIDE("", EVENT("a", true, 200, 2)));
    assert_false(DECIDE("", TIME("a", false, 300, 5)));
    /* Exited and forgotten; one that is realized stays although somebody sends a tombstone. */
    struct rc_audience_input gone = EVENT("a", false, 0, 0);
    gone.gone = true;
    assert_true(decide(bench, &gone, 1, ""));
    assert_false(decide(bench, &gone, 1, ""));
    gone.name = rc_names_intern(bench->signals, rc_span_str("_exists.web"));
    assert_false(decide(bench, &gone, 1, ""));
}

static void test_late_event_since_is_what_is_known(void **state) {
    struct bench *bench = *state;
    DECIDE("+never-b@100/event +not-s@100/event", EVENT("_exists.web", true, 100, 1));
    DECIDE("-never-b@800/event", EVENT("b", true, 800, 2));
    /* a is realized since 500, told after b: both hold since 800. */
    DECIDE("+just-a@500/event +a-and-b@800/event", EVENT("a", true, 500, 3));
}

static void test_review_after_a_definition(void **state) {
    struct bench *bench = *state;
    struct rc_audience_desk desk;
    compile(bench, "just-a", RC_AUDIENCE_LIVE, 1);
    DECIDE("", EVENT("_exists.web", true, 100, 1));
    DECIDE("+just-a@200/event", EVENT("a", true, 200, 2));
    DECIDE("", EVENT("b", true, 300, 3));
    compile(bench, NULL, RC_AUDIENCE_LIVE, 2);
    desk = desk_of(bench);
    bench->said[0] = '\0';
    assert_true(rc_audience_review(&desk, &bench->person, RC_CAUSE_DEFINITION, 1000));
    assert_string_equal(bench->said, "+a-and-b@300/definition +not-s@100/definition");
    bench->said[0] = '\0';
    assert_false(rc_audience_review(&desk, &bench->person, RC_CAUSE_DEFINITION, 1000));
    /* Who is touched by live traffic before the review gets there is reviewed first. */
    compile(bench, NULL, RC_AUDIENCE_ENDED, 3);
    DECIDE("-just-a@999999/definition -a-and-b@999999/definition -not-s@999999/definition", TIME("b", false, 400, 4));
    compile(bench, NULL, RC_AUDIENCE_FROZEN, 4);
    DECIDE("", TIME("b", true, 500, 5));
    assert_int_equal(bench->all[0].members, 0);
}

static void test_learning_decides_nothing(void **state) {
    struct bench *bench = *state;
    struct rc_audience_input inputs[] = {EVENT("a", true, 200, 2), EVENT("_exists.web", true, 100, 1)};
    struct rc_audience_desk desk = desk_of(bench);
    uint32_t audience = rc_names_find(bench->audiences, rc_span_str("just-a"));
    assert_true(rc_audience_learn(&bench->person, inputs, 2));
    assert_int_equal(bench->person.generation, 0);
    rc_audience_person_adopt(&bench->person, audience, true, 200, 77);
    rc_audience_person_adopt(&bench->person, audience, false, 150, 66);
    rc_audience_tally_add(bench->here, &bench->person, 1);
    rc_audience_tally_add(bench->all, &bench->person, 1);
    bench->said[0] = '\0';
    assert_true(rc_audience_review(&desk, &bench->person, RC_CAUSE_RESTORE, 1000));
    assert_string_equal(bench->said, "+a-not-b@200/restore +never-b@100/restore +not-s@100/restore");
    assert_int_equal(rc_audience_person_standing(&bench->person, audience)->version, 77);
    /* It went and came back unseen: the same status with a later instant is told. */
    struct rc_audience_input again[] = {EVENT("a", true, 400, 9)};
    assert_true(rc_audience_learn(&bench->person, again, 1));
    bench->said[0] = '\0';
    assert_true(rc_audience_review(&desk, &bench->person, RC_CAUSE_RESTORE, 1000));
    assert_string_equal(bench->said, "+just-a@400/restore +a-not-b@400/restore");
    assert_int_equal(bench->all[audience].members, 1);
}

static void test_size_limit(void **state) {
    struct bench *bench = *state;
    compile(bench, "just-a", RC_AUDIENCE_LIVE, 1);
    uint32_t audience = rc_names_find(bench->audiences, rc_span_str("just-a"));
    bench->all[audience].members = 2; /* others */
    DECIDE("", EVENT("_exists.web", true, 100, 1));
    DECIDE("", EVENT("a", true, 200, 2));
    assert_int_equal(bench->all[audience].withheld, 1);
    assert_true(rc_audience_person_standing(&bench->person, audience)->withheld);
    DECIDE("", TIME("a", false, 300, 3));
    assert_int_equal(bench->all[audience].withheld, 0);
    assert_null(rc_audience_person_standing(&bench->person, audience));
    DECIDE("", EVENT("a", true, 400, 4));
    bench->all[audience].members = 1; /* one of the others has left */
    rc_audience_rules_set_generation(bench->rules, 2);
    DECIDE("+just-a@400/definition", EVENT("b", true, 500, 5));
    assert_int_equal(bench->all[audience].members, 2);
    assert_int_equal(bench->all[audience].withheld, 0);
    /* Half of the partitions: half of the limit. */
    DECIDE("-just-a@600/time", TIME("a", false, 600, 6));
    rc_audience_rules_set_share(bench->rules, (const int32_t[]){0, 1}, 2, 4);
    DECIDE("", EVENT("a", true, 700, 7));
}

static void test_shares_of_a_limit_add_up(void **state) {
    struct bench *bench = *state;
    compile(bench, "just-a", RC_AUDIENCE_LIVE, 1);
    const struct rc_audience_rule *rule =
        rc_audience_rules_find(bench->rules, rc_names_find(bench->audiences, rc_span_str("just-a")));
    for (int32_t total = 1; total < 9; total++) {
        int64_t sum = 0;
        for (int32_t p = 0; p < total; p++) {
            rc_audience_rules_set_share(bench->rules, &p, 1, total);
            sum += rc_audience_rules_limit(bench->rules, rule);
        }
        assert_int_equal(sum, 2);
    }
    rc_audience_rules_set_share(bench->rules, (const int32_t[]){2, 0, 1}, 3, 3);
    assert_int_equal(rc_audience_rules_limit(bench->rules, rule), 2);
}

static void expect_published(struct bench *bench, const char *audience, const char *expected) {
    struct rc_audience_desk desk = desk_of(bench);
    uint32_t name = rc_names_find(bench->audiences, rc_span_str(audience));
    bench->said[0] = '\0';
    bool changed = rc_audience_publish(&desk, &bench->person, &name, 1, RC_CAUSE_SCHEDULE, 5000);
    assert_string_equal(bench->said, expected);
    assert_int_equal(changed, *expected != '\0');
}

static void test_a_schedule_publishes_the_difference(void **state) {
    struct bench *bench = *state;
    compile(bench, NULL, RC_AUDIENCE_SCHEDULED, 1);
    DECIDE("", EVENT("_exists.web", true, 100, 1));
    DECIDE("", EVENT("a", true, 200, 2));
    expect_published(bench, "just-a", "+just-a@200/schedule");
    expect_published(bench, "just-a", "");
    DECIDE("", TIME("a", false, 300, 3));
    DECIDE("", EVENT("a", true, 400, 4));
    expect_published(bench, "just-a", ""); /* out and in again: a member then and now */
    DECIDE("", TIME("a", false, 500, 5));
    expect_published(bench, "a-and-b", "");
    expect_published(bench, "just-a", "-just-a@500/schedule");
    /* Reviews leave it alone, whatever they are for; only its end does not. */
    DECIDE("", EVENT("a", true, 600, 6));
    struct rc_audience_desk desk = desk_of(bench);
    bench->person.generation = 0;
    assert_true(rc_audience_review(&desk, &bench->person, RC_CAUSE_RESTORE, 1000));
    assert_string_equal(bench->said, "");
    expect_published(bench, "just-a", "+just-a@600/schedule");
    compile(bench, NULL, RC_AUDIENCE_FROZEN, 2);
    expect_published(bench, "just-a", "");
    compile(bench, NULL, RC_AUDIENCE_ENDED, 3);
    DECIDE("-just-a@999999/definition", EVENT("b", true, 700, 7));
    expect_published(bench, "just-a", "");
}

static void test_room_again_lets_in_who_was_withheld(void **state) {
    struct bench *bench = *state;
    compile(bench, "just-a", RC_AUDIENCE_LIVE, 1);
    uint32_t audience = rc_names_find(bench->audiences, rc_span_str("just-a"));
    bench->all[audience].members = 2;
    DECIDE("", EVENT("_exists.web", true, 100, 1));
    DECIDE("", EVENT("a", true, 200, 2));
    expect_published(bench, "just-a", "");
    bench->all[audience].members = 1;
    expect_published(bench, "just-a", "+just-a@200/schedule");
    assert_int_equal(bench->all[audience].withheld, 0);
}

static void test_saved_and_loaded(void **state) {
    struct bench *bench = *state;
    struct rc_audience_person loaded;
    struct rc_error err = {0};
    struct rc_buf record, again;
    rc_buf_init(&record, 1 << 16);
    rc_buf_init(&again, 1 << 16);
    rc_audience_person_init(&loaded);
    DECIDE("+never-b@-5/event +not-s@-5/event", EVENT("_exists.web", true, -5, (INT64_C(7) << 32) + 1));
    DECIDE("+just-a@200/event +a-not-b@200/event", EVENT("a", true, 200, (INT64_C(7) << 32) + 2));
    DECIDE("-just-a@300/time -a-not-b@300/time", TIME("a", false, 300, (INT64_C(8) << 32)));
    assert_int_equal(rc_audience_person_save(&bench->person, &record), RC_OK);
    assert_true(record.len < 80);
    assert_int_equal(rc_audience_person_load(&loaded, rc_buf_span(&record), 100, 100, &err), RC_OK);
    assert_int_equal(rc_audience_person_save(&loaded, &again), RC_OK);
    assert_true(rc_span_equal(rc_buf_span(&record), rc_buf_span(&again)));
    for (size_t i = 0; i < record.len; i++) {
        record.data[i] ^= 0x20;
        assert_int_equal(rc_audience_person_load(&loaded, rc_buf_span(&record), 100, 100, &err), RC_FAIL);
        assert_int_equal(loaded.n_signals + loaded.n_standings, 0);
        record.data[i] ^= 0x20;
    }
    for (size_t n = 0; n < record.len; n++)
        assert_int_equal(rc_audience_person_load(&loaded, rc_span_of(record.data, n), 100, 100, &err), RC_FAIL);
    /* Numbers that the tables do not have. */
    assert_int_equal(rc_audience_person_load(&loaded, rc_buf_span(&record), 1, 100, &err), RC_FAIL);
    rc_audience_person_deinit(&loaded);
    rc_buf_deinit(&record);
    rc_buf_deinit(&again);
}

static void test_digest_is_of_what_decides(void **state) {
    struct bench *bench = *state;
    uint64_t all = rc_audience_rules_digest(bench->rules);
    compile(bench, NULL, RC_AUDIENCE_LIVE, 7);
    assert_true(all == rc_audience_rules_digest(bench->rules));
    compile(bench, NULL, RC_AUDIENCE_FROZEN, 7);
    assert_false(all == rc_audience_rules_digest(bench->rules));
    compile(bench, "just-a", RC_AUDIENCE_LIVE, 7);
    assert_false(all == rc_audience_rules_digest(bench->rules));
}

/* What is in force may be another condition than the definition's, also one over a segment that is gone. */
static void test_the_condition_in_force_decides(void **state) {
    struct bench *bench = *state;
    const struct rc_audience *audience = &bench->catalog->audiences[rc_catalog_audience(bench->catalog, "a-not-b")];
    json_t *own = rc_audience_where_json(bench->catalog, audience->where);
    json_t *same = json_loads("{\"and\":[{\"segment\":\"a\"},{\"not\":{\"segment\":\"b\"}}]}", 0, NULL);
    assert_true(json_equal(own, same));
    struct rc_audience_spec spec = {.definition = audience, .id = audience->id, .version = 2, .serves = same};
    compile(bench, "a-not-b", RC_AUDIENCE_LIVE, 1);
    uint64_t digest = rc_audience_rules_digest(bench->rules);
    rc_audience_rules_free(bench->rules);
    bench->rules = rc_audience_rules_new(bench->catalog, &spec, 1, bench->signals, bench->audiences);
    assert_true(digest == rc_audience_rules_digest(bench->rules));
    spec.serves = json_loads("{\"or\":[{\"segment\":\"gone\"},{\"segment\":\"b\"}]}", 0, NULL);
    rc_audience_rules_free(bench->rules);
    bench->rules = rc_audience_rules_new(bench->catalog, &spec, 1, bench->signals, bench->audiences);
    assert_false(digest == rc_audience_rules_digest(bench->rules));
    DECIDE("", EVENT("a", true, 100, 1));
    DECIDE("+a-not-b@200/event", EVENT("gone", true, 200, 2));
    DECIDE("-a-not-b@300/event", EVENT("gone", false, 300, 3));
    DECIDE("+a-not-b@400/event", EVENT("b", true, 400, 4));
    json_decref(own);
    json_decref(same);
    json_decref((json_t *)(uintptr_t)spec.serves);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_existence_makes_a_not_true, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_existence_no_member, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_segment_tells_of_existence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_segments_that_flip_together_make_nothing_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_history_brings_makes_nothing_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(test_instants_of_a_group_go_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_event_is_the_better_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_records_are_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_event_since_is_what_is_known, setup, teardown),
        cmocka_unit_test_setup_teardown(test_review_after_a_definition, setup, teardown),
        cmocka_unit_test_setup_teardown(test_learning_decides_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_size_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shares_of_a_limit_add_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_schedule_publishes_the_difference, setup, teardown),
        cmocka_unit_test_setup_teardown(test_room_again_lets_in_who_was_withheld, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saved_and_loaded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_digest_is_of_what_decides, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_condition_in_force_decides, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
