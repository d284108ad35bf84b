/* Control records: their text there and back, the latest of each definition, what is damaged; and through the follower of the topic, with the
 * embedded broker, which keeps them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "consumers/shared/definitions.h"
#include "kafka/embedded.h"
#include "kafka/producer.h"
#include "kafka/read.h"
#include "tests/unit/folder.h"

static void must(rc_status status, const struct rc_error *err) {
    if (status != RC_OK)
        fail_msg("%s", err->message);
}

static void what_is_written_is_read(void **state) {
    (void)state;
    static const struct rc_control said[] = {
        {0},
        {.approved_version = 7},
        {.paused = true, .rate = 2500},
        {.replay_ms = 1767225600123,
         .replay_from_ms = 1767225600000,
         .replay_all_ms = 1767225600122,
         .cancelled_ms = 1767225600124,
         .import_ms = 3},
        {.approved_version = 3, .cancelled_version = 4, .deleted_version = 5, .on_end = RC_ON_END_KEEP},
        {.deleted_version = 2147483647, .on_end = RC_ON_END_EXIT},
    };
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        struct rc_buf value;
        struct rc_control read = {.rate = -1};
        struct rc_error err;
        rc_buf_init(&value, 1024);
        assert_int_equal(rc_control_record_add(&value, &said[i], 1767225600123, "ann \"the\" admin"), RC_OK);
        assert_null(strchr(value.data, '\n'));
        assert_non_null(strstr(value.data, "\"time\":\"2026-01-01T00:00:00.123Z\",\"who\":\"ann \\\"the\\\" admin\""));
        must(rc_control_record_read(rc_buf_span(&value), &read, &err), &err);
        assert_int_equal(read.approved_version, said[i].approved_version);
        assert_int_equal(read.cancelled_version, said[i].cancelled_version);
        assert_int_equal(read.deleted_version, said[i].deleted_version);
        assert_int_equal(read.on_end, said[i].on_end);
        assert_int_equal(read.rate, said[i].rate);
        assert_int_equal(read.replay_ms, said[i].replay_ms);
        assert_int_equal(read.replay_from_ms, said[i].replay_from_ms);
        assert_int_equal(read.replay_all_ms, said[i].replay_all_ms);
        assert_int_equal(read.cancelled_ms, said[i].cancelled_ms);
        assert_int_equal(read.import_ms, said[i].import_ms);
        assert_int_equal(read.paused, said[i].paused);
        rc_buf_deinit(&value);
    }
}

static void what_is_damaged_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "7",
        "null",
        "{\"approved\":-1}",
        "{\"approved\":\"3\"}",
        "{\"approved\":1.5}",
        "{\"approved\":2147483648}",
        "{\"paused\":1}",
        "{\"paused\":null}",
        "{\"cancelled\":true}",
        "{\"rate\":-5}",
        "{\"onEnd\":\"stay\"}",
        "{\"onEnd\":1}",
        "{\"approved\":1,\"approved\":2}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rc_control out = {.rate = 99};
        struct rc_error err;
        if (rc_control_record_read(rc_span_str(bad[i]), &out, &err) == RC_OK)
            fail_msg("taken: %s", bad[i]);
        assert_int_equal(err.class, RC_CLASS_POISON);
        assert_int_equal(out.rate, 99);
    }
    struct rc_control out;
    struct rc_error err;
    must(rc_control_record_read(rc_span_str("{\"approved\":2,\"fromLater\":{\"x\":1}}"), &out, &err), &err);
    assert_int_equal(out.approved_version, 2);
}

static bool take(struct rc_controls *controls, const char *key, const char *value) {
    return rc_controls_take(controls, rc_span_str(key), rc_span_str(value), value == NULL);
}

static void the_latest_counts(void **state) {
    (void)state;
    struct rc_controls controls;
    struct rc_control out;
    rc_log_set_level(RC_LOG_OFF);
    rc_controls_init(&controls);
    rc_controls_find(&controls, "segment", "a", &out);
    assert_int_equal(out.approved_version, 0);
    assert_true(rc_control_is_key(rc_span_str("control/segment/a")));
    assert_false(rc_control_is_key(rc_span_str("segment/control")));
    assert_false(rc_control_is_key(rc_span_str("control/")));
    assert_true(take(&controls, "control/segment/a", "{\"approved\":1,\"paused\":true}"));
    assert_false(take(&controls, "control/segment/a", "{\"approved\":1,\"paused\":true}"));
    assert_true(take(&controls, "control/segment/b", "{\n  \"rate\":\t9 }"));
    assert_null(strpbrk(controls.items[1].value, "\n\t"));
    assert_false(take(&controls, "control/segment/a", "{\"approved\":")); /* damaged: what was said stays */
    rc_controls_find(&controls, "segment", "a", &out);
    assert_int_equal(out.approved_version, 1);
    assert_true(out.paused);
    rc_controls_find(&controls, "audience", "a", &out);
    assert_false(out.paused);
    assert_true(take(&controls, "control/segment/a", "{\"approved\":2}")); /* as a whole: no longer paused */
    rc_controls_find(&controls, "segment", "a", &out);
    assert_int_equal(out.approved_version, 2);
    assert_false(out.paused);
    assert_true(take(&controls, "control/segment/a", NULL));
    assert_false(take(&controls, "control/segment/a", NULL));
    rc_controls_find(&controls, "segment", "a", &out);
    assert_int_equal(out.approved_version, 0);
    rc_controls_find(&controls, "segment", "b", &out);
    assert_int_equal(out.rate, 9);
    assert_string_equal(rc_control_id(&controls.items[1], "segment"), "b");
    assert_null(rc_control_id(&controls.items[1], "audience"));
    assert_null(rc_control_id(&controls.items[1], "seg"));
    rc_controls_deinit(&controls);
}

static void keys_of_others_take_no_room(void **state) {
    (void)state;
    struct rc_controls controls;
    char key[400];
    rc_log_set_level(RC_LOG_OFF);
    rc_controls_init(&controls);
    snprintf(key, sizeof key, "control/segment/%0*d", 300, 1);
    assert_false(take(&controls, key, "{}"));
    assert_int_equal(controls.n, 0);
    for (int i = 0; i < 3; i++) /* not UTF-8, yet one place */
        take(&controls, "control/segment/\xff\xfe", i % 2 ? "{\"rate\":1}" : "{\"rate\":2}");
    assert_int_equal(controls.n, 1);
    rc_controls_deinit(&controls);
}

/* ---- the follower ------------------------------------------------------------------------------------------------------- */

struct site {
    char dir[64];
    struct rc_config *config;
    struct rc_embedded *embedded;
    const struct rc_config *running;
    struct rc_stop stop;
    struct rc_process process;
    struct rc_loop *loop;
    struct rc_definitions *definitions;
    struct rc_producer *producer;
};

static void open_site(struct site *site) {
    struct rc_error err;
    must(rc_embedded_start(site->config, &site->embedded, &site->running, &err), &err);
    must(rc_definitions_restore(site->running, &err), &err);
    must(rc_stop_init(&site->stop, &err), &err);
    must(rc_process_init(&site->process, site->running, NULL, &site->stop, "unit", &err), &err);
    must(rc_loop_open(&site->loop, &err), &err);
    must(rc_definitions_open(&site->process, "ingest", site->loop, &site->definitions, &err), &err);
    struct rc_producer_options options = {.name = "unit", .wake_fd = -1};
    must(rc_producer_open(site->running, &options, &site->producer, &err), &err);
}

static void close_site(struct site *site) {
    rc_producer_close(site->producer);
    rc_definitions_close(site->definitions);
    rc_loop_close(site->loop);
    rc_process_deinit(&site->process);
    rc_stop_deinit(&site->stop);
    rc_embedded_stop(site->embedded);
}

static int set_up(void **state) {
    struct site *site = calloc(1, sizeof *site);
    char set[128];
    struct rc_error err;
    rc_log_set_level(RC_LOG_OFF);
    snprintf(site->dir, sizeof site->dir, "/tmp/rollcall-test-XXXXXX");
    assert_non_null(mkdtemp(site->dir));
    snprintf(set, sizeof set, "state.dir=%s", site->dir);
    const char *sets[] = {set, "kafka.fetch.wait.max.ms=10"};
    struct rc_config_sources sources = {.sets = sets, .n_sets = 2};
    must(rc_config_load(&sources, &site->config, &err), &err);
    open_site(site);
    *state = site;
    return 0;
}

static int tear_down(void **state) {
    struct site *site = *state;
    close_site(site);
    rc_config_free(site->config);
    int removed = test_folder_remove(site->dir);
    free(site);
    return removed;
}

static void send(struct site *site, const char *key, const char *value) {
    struct rc_outgoing record = {.topic = "rollcall.definitions",
                                 .key = rc_span_str(key),
                                 .value = rc_span_str(value),
                                 .null_value = value == NULL,
                                 .timestamp_ms = RC_NO_TIMESTAMP};
    struct rc_error err;
    must(rc_producer_send(site->producer, &record, &err), &err);
    must(rc_producer_flush(site->producer, 20000, &err), &err);
}

/* Polls until a new catalog comes (true, and how many definitions it holds) or, with `changes` above 0, until so many control records were taken. */
static bool follow(struct site *site, uint64_t changes, size_t *n) {
    *n = 0;
    for (int64_t until = rc_clock_monotonic_ms() + 20000; rc_clock_monotonic_ms() < until;) {
        struct rc_catalog *catalog;
        struct rc_error err;
        must(rc_definitions_poll(site->definitions, &catalog, &err), &err);
        if (catalog) {
            *n = catalog->n_definitions;
            rc_catalog_free(catalog);
            return true;
        }
        if (changes && rc_definitions_control_changes(site->definitions) >= changes)
            return false;
        poll(NULL, 0, 5);
    }
    fail_msg("nothing came in 20 s");
    return false;
}

static const char dataset[] =
    "{\"kind\":\"dataset\",\"id\":\"web\",\"topic\":\"web.events\",\"format\":\"json\",\"person\":{\"namespace\":"
    "\"c\",\"id\":{\"path\":\"u\"}},\"timestamp\":{\"path\":\"ts\"},\"version\":1,\"time\":\"2026-01-01T00:00:00Z\","
    "\"who\":\"unit\"}";

static void followed_beside_the_definitions(void **state) {
    struct site *site = *state;
    size_t n;
    struct rc_control control;
    assert_true(follow(site, 0, &n)); /* the first is always there */
    assert_int_equal(n, 0);
    send(site, "control/dataset/web", "{\"approved\":1,\"paused\":true}");
    send(site, "dataset/web", dataset);
    assert_true(follow(site, 0, &n));
    assert_int_equal(n, 1);
    /* what was written with it is there with it */
    rc_definitions_control(site->definitions, "dataset", "web", &control);
    assert_int_equal(control.approved_version, 1);
    assert_true(control.paused);
    /* a control record alone gives no catalog */
    uint64_t seen = rc_definitions_control_changes(site->definitions);
    send(site, "control/dataset/web", "{\"approved\":");
    send(site, "control/dataset/web", "{\"approved\":2}");
    assert_false(follow(site, seen + 1, &n));
    rc_definitions_control(site->definitions, "dataset", "web", &control);
    assert_int_equal(control.approved_version, 2);
    assert_false(control.paused);
    assert_int_equal(rc_definitions_due(site->definitions), INT64_MAX);
    char *problems = rc_definitions_problems(site->definitions);
    assert_string_equal(problems, "");
    free(problems);
}

static void the_embedded_broker_does_not_forget_it(void **state) {
    struct site *site = *state;
    size_t n;
    struct rc_control control;
    assert_true(follow(site, 0, &n));
    send(site, "control/segment/gone", "{\"deleted\":4,\n\"onEnd\":\"keep\"}");
    send(site, "control/segment/back", "{\"rate\":5}");
    assert_false(follow(site, 2, &n));
    send(site, "control/segment/back", NULL);
    assert_false(follow(site, 3, &n));
    close_site(site);
    open_site(site);
    rc_definitions_control(site->definitions, "segment", "gone", &control);
    assert_int_equal(control.deleted_version, 4);
    assert_int_equal(control.on_end, RC_ON_END_KEEP);
    rc_definitions_control(site->definitions, "segment", "back", &control);
    assert_int_equal(control.rate, 0);
}

/* ---- what was applied together ------------------------------------------------------------------------------------------- */

static void send_more(struct site *site, const char *key, const char *value) {
    struct rc_header header = {.name = rc_span_str(RC_DEFINITIONS_MORE_HEADER), .value = rc_span_str("1")};
    struct rc_outgoing record = {.topic = "rollcall.definitions",
                                 .key = rc_span_str(key),
                                 .value = rc_span_str(value),
                                 .null_value = value == NULL,
                                 .timestamp_ms = RC_NO_TIMESTAMP,
                                 .headers = &header,
                                 .n_headers = 1};
    struct rc_error err;
    must(rc_producer_send(site->producer, &record, &err), &err);
    must(rc_producer_flush(site->producer, 20000, &err), &err);
}

static const char segment[] =
    "{\"kind\":\"segment\",\"id\":\"all\",\"dataset\":\"web\",\"where\":{\"event\":{}},\"version\":1,\"time\":"
    "\"2026-01-01T00:00:00Z\",\"who\":\"unit\"}";

static void half_a_change_waits_for_the_rest(void **state) {
    struct site *site = *state;
    struct rc_catalog *catalog;
    struct rc_error err;
    size_t n;
    assert_true(follow(site, 0, &n));
    int64_t sent_ms = rc_clock_wall_ms();
    send_more(site, "dataset/web", dataset);
    for (int64_t until = sent_ms + 20000; rc_definitions_due(site->definitions) == INT64_MAX;) {
        assert_true(rc_clock_wall_ms() < until);
        must(rc_definitions_poll(site->definitions, &catalog, &err), &err);
        assert_null(catalog);
    }
    /* not a short silence, but long enough for whoever still writes */
    assert_true(rc_definitions_due(site->definitions) >= sent_ms + 5000);
    send(site, "segment/all", segment);
    assert_true(follow(site, 0, &n));
    assert_int_equal(n, 2);
    /* whose writer died is taken up in the end, or it would never be */
    send_more(site, "dataset/web", NULL);
    send_more(site, "segment/all", NULL);
    assert_true(follow(site, 0, &n));
    assert_int_equal(n, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_damaged_is_refused),
        cmocka_unit_test(the_latest_counts),
        cmocka_unit_test(keys_of_others_take_no_room),
        cmocka_unit_test_setup_teardown(followed_beside_the_definitions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_embedded_broker_does_not_forget_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(half_a_change_waits_for_the_rest, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
