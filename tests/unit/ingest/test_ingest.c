/* The whole consumer in this process, on the embedded broker: from records to changes, dead letters, restarts,
 * definitions that come later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "codec/membership.h"
#include "codec/person_key.h"
#include "consumers/ingest/ingest.h"
#include "consumers/shared/deadletter.h"
#include "consumers/shared/definitions.h"
#include "kafka/embedded.h"
#include "kafka/producer.h"
#include "kafka/read.h"
#include "kafka/topics.h"
#include "tests/unit/folder.h"
#include "tests/unit/wait.h"

#define WEB                                                                                                        \
    "{\"kind\":\"dataset\",\"id\":\"web\",\"topic\":\"web.events\",\"format\":\"json\",\"person\":{\"namespace\":" \
    "\"c\","                                                                                                       \
    "\"id\":{\"path\":\"u\"}},\"timestamp\":{\"path\":\"ts\"},\"event_id\":{\"path\":\"id\"},\"fields\":{\"t\":{"  \
    "\"path\":\"t\","                                                                                              \
    "\"type\":\"string\"}}}"
#define BUYERS                                                                                                  \
    "{\"kind\":\"segment\",\"id\":\"buyers\",\"dataset\":\"web\",\"where\":{\"event\":{\"field\":\"t\",\"eq\":" \
    "\"buy\"}}}"
#define SHORT                                                                                                          \
    "{\"kind\":\"segment\",\"id\":\"short\",\"dataset\":\"web\",\"window\":\"700ms\",\"where\":{\"event\":{\"field\":" \
    "\"t\","                                                                                                           \
    "\"eq\":\"buy\"}}}"

struct site {
    char dir[64];
    struct rc_config *config;
    struct rc_embedded *embedded;
    const struct rc_config *running;
    struct rc_producer *producer;
    struct rc_stop stop;
    struct rc_process process;
    pthread_t thread;
    rc_status status;
    struct rc_error err;
};

static void must(rc_status status, const struct rc_error *err) {
    if (status != RC_OK)
        fail_msg("%s", err->message);
}

static void *run(void *arg) {
    struct site *site = arg;
    site->status = rc_ingest_run(&site->process, &site->err);
    return NULL;
}

static void start(struct site *site) {
    struct rc_error err;
    must(rc_stop_init(&site->stop, &err), &err);
    must(rc_process_init(&site->process, site->running, NULL, &site->stop, "unit", &err), &err);
    assert_int_equal(pthread_create(&site->thread, NULL, run, site), 0);
    /* A producer that comes before the topic is made would have the broker make it with other partitions. */
    struct rc_admin *admin;
    int32_t n = 0;
    must(rc_admin_open(site->running, &admin, &err), &err);
    for (int64_t until = rc_clock_monotonic_ms() + 20000; n == 0 && rc_clock_monotonic_ms() < until;)
        must(rc_topic_partitions(admin, "web.events", 5000, &n, &err), &err);
    assert_int_equal(n, 2);
    rc_admin_close(admin);
}

static void stop(struct site *site) {
    rc_stop_request(&site->stop);
    pthread_join(site->thread, NULL);
    must(site->status, &site->err);
    rc_process_deinit(&site->process);
    rc_stop_deinit(&site->stop);
}

static void open_broker(struct site *site) {
    struct rc_error err;
    must(rc_embedded_start(site->config, &site->embedded, &site->running, &err), &err);
    must(rc_definitions_restore(site->running, &err), &err);
    struct rc_producer_options options = {.name = "unit", .wake_fd = -1};
    must(rc_producer_open(site->running, &options, &site->producer, &err), &err);
}

static void close_broker(struct site *site) {
    rc_producer_close(site->producer);
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
    const char *sets[] = {set, "checkpoint.interval=100ms", "topics.partitions=2"};
    struct rc_config_sources sources = {.sets = sets, .n_sets = 3};
    must(rc_config_load(&sources, &site->config, &err), &err);
    open_broker(site);
    *state = site;
    return 0;
}

static int tear_down(void **state) {
    struct site *site = *state;
    close_broker(site);
    rc_config_free(site->config);
    int removed = test_folder_remove(site->dir);
    free(site);
    return removed;
}

static void flush(struct site *site) {
    struct rc_error err;
    must(rc_producer_flush(site->producer, 10000, &err), &err);
}

static void apply(struct site *site, const char *key, const char *json, int version) {
    struct rc_definition definition = {
        .json = (char *)(uintptr_t)json, .version = version, .applied_ms = rc_clock_wall_ms(), .applied_by = "unit"};
    struct rc_buf value;
    struct rc_error err;
    rc_buf_init(&value, 1 << 16);
    must(rc_definition_record_add(&value, &definition), &err);
    struct rc_outgoing record = {.topic = "rollcall.definitions",
                                 .key = rc_span_str(key),
                                 .value = rc_buf_span(&value),
                                 .timestamp_ms = RC_NO_TIMESTAMP};
    must(rc_producer_send(site->producer, &record, &err), &err);
    flush(site);
    rc_buf_deinit(&value);
}

static void make_definitions_topic(struct site *site) {
    struct rc_admin *admin;
    struct rc_error err;
    must(rc_admin_open(site->running, &admin, &err), &err);
    struct rc_topic_spec spec = {.name = "rollcall.definitions", .partitions = 1, .compacted = true};
    must(rc_topic_ensure(admin, &spec, NULL, &err), &err);
    rc_admin_close(admin);
}

static void send_to(struct site *site, int32_t partition, const char *person, const char *value) {
    char key[64];
    struct rc_error err;
    snprintf(key, sizeof key, "c:%s", person);
    struct rc_outgoing record = {.topic = "web.events",
                                 .partition = partition < 0 ? rc_person_key_partition(rc_span_str(key), 2) : partition,
                                 .key = rc_span_str(key),
                                 .value = rc_span_str(value),
                                 .null_value = value == NULL,
                                 .timestamp_ms = RC_NO_TIMESTAMP};
    must(rc_producer_send(site->producer, &record, &err), &err);
    flush(site);
}

static int64_t buy(struct site *site, const char *person, const char *id) {
    char value[128];
    int64_t now = rc_clock_wall_ms();
    snprintf(value, sizeof value, "{\"u\":\"%s\",\"ts\":%lld,\"id\":\"%s\",\"t\":\"buy\"}", person, (long long)now, id);
    send_to(site, -1, person, value);
    return now;
}

/* What is on rollcall.segments: one line a record, in order of a person's records. */
struct seen {
    char text[4096];
    const char *person;
    size_t n;
    int64_t version, since_ms;
};

static bool see(void *ctx, const struct rc_message *message) {
    struct seen *seen = ctx;
    struct rc_membership change;
    struct rc_error err;
    must(rc_membership_read(message->value, false, &change, &err), &err);
    if (seen->person && !rc_span_equal(change.person_id, rc_span_str(seen->person)))
        return true;
    struct rc_span more;
    size_t len = strlen(seen->text);
    snprintf(seen->text + len, sizeof seen->text - len, "%.*s %s%s\n", (int)change.target.len, change.target.data,
             change.realized ? "in" : "out", rc_message_header(message, RC_SEGMENTS_MORE_HEADER, &more) ? " +" : "");
    assert_true(change.version > seen->version);
    seen->version = change.version;
    seen->since_ms = change.since_ms;
    seen->n++;
    return true;
}

static struct seen look(struct site *site, const char *person) {
    struct seen seen = {.person = person};
    struct rc_error err;
    char key[64];
    snprintf(key, sizeof key, "c:%s", person);
    must(rc_kafka_read(site->running, "rollcall.segments", rc_person_key_partition(rc_span_str(key), 2),
                       RC_START_BEGINNING, 5000, see, &seen, NULL, &err),
         &err);
    return seen;
}

/* Waits until `n` changes of the person are on the topic. */
static struct seen wait_for(struct site *site, const char *person, size_t n) {
    int64_t until = rc_clock_monotonic_ms() + 20000;
    struct seen seen;
    do {
        seen = look(site, person);
    } while (seen.n < n && rc_clock_monotonic_ms() < until);
    return seen;
}

static void events_become_changes_and_time_does_too(void **state) {
    struct site *site = *state;
    make_definitions_topic(site);
    apply(site, "dataset/web", WEB, 1);
    apply(site, "segment/short", SHORT, 1);
    apply(site, "segment/buyers", BUYERS, 1);
    start(site);
    int64_t at = buy(site, "ann", "1");
    struct seen seen = wait_for(site, "ann", 4);
    /* One decision of three changes, then the exit by time alone, with its true `since`. */
    assert_int_equal(seen.n, 4);
    size_t pluses = 0;
    for (const char *c = seen.text; (c = strchr(c, '+')) != NULL; c++)
        pluses++;
    assert_int_equal(pluses, 2);
    assert_non_null(strstr(seen.text, "_exists.web in"));
    assert_non_null(strstr(seen.text, "buyers in"));
    assert_string_equal(strrchr(seen.text, 's'), "short out\n");
    assert_int_equal(seen.since_ms, at + 700);

    /* A definition that comes later is taken up; a bad one is left out, and nothing else with it. */
    apply(site, "segment/late", "{\"kind\":\"segment\",\"id\":\"late\",\"dataset\":\"web\",\"where\":{\"event\":{}}}",
          1);
    apply(site, "segment/bad", "{\"kind\":\"segment\",\"id\":\"bad\",\"dataset\":\"nowhere\",\"where\":{\"event\":{}}}",
          1);
    for (int64_t until = rc_clock_monotonic_ms() + 20000;
         !strstr(seen.text, "late in") && rc_clock_monotonic_ms() < until;) {
        char id[32];
        snprintf(id, sizeof id, "l%zu", seen.n);
        buy(site, "ann", id);
        test_wait_ms(50);
        seen = look(site, "ann");
    }
    assert_non_null(strstr(seen.text, "late in"));
    stop(site);
}

static bool see_dead(void *ctx, const struct rc_message *message) {
    char *text = ctx;
    struct rc_span reason = {0}, offset = {0}, topic = {0}, own = {0};
    assert_true(rc_message_header(message, RC_DEADLETTER_REASON, &reason));
    assert_true(rc_message_header(message, RC_DEADLETTER_OFFSET, &offset));
    assert_true(rc_message_header(message, RC_DEADLETTER_TOPIC, &topic));
    assert_true(rc_span_equal(topic, rc_span_str("web.events")));
    (void)own;
    snprintf(text + strlen(text), 512 - strlen(text), "%.*s;", (int)reason.len, reason.data);
    return true;
}

static void what_cannot_be_used_goes_to_the_dead_letters(void **state) {
    struct site *site = *state;
    make_definitions_topic(site);
    apply(site, "dataset/web", WEB, 1);
    apply(site, "segment/buyers", BUYERS, 1);
    start(site);
    buy(site, "bob", "1");
    assert_int_equal(wait_for(site, "bob", 2).n, 2);
    int32_t home = rc_person_key_partition(rc_span_str("c:bob"), 2);
    send_to(site, home, "bob", "{\"u\":");
    send_to(site, home, "bob", NULL);
    send_to(site, home, "bob", "{\"u\":\"bob\",\"id\":\"2\"}");
    char value[128];
    snprintf(value, sizeof value, "{\"u\":\"bob\",\"ts\":%lld,\"id\":\"3\",\"t\":\"buy\"}",
             (long long)rc_clock_wall_ms());
    send_to(site, 1 - home, "bob", value);
    buy(site, "eve", "9");
    assert_int_equal(wait_for(site, "eve", 2).n, 2);
    stop(site);
    char text[512] = "";
    struct rc_error err;
    must(rc_kafka_read(site->running, "rollcall.deadletters", home, RC_START_BEGINNING, 5000, see_dead, text, NULL,
                       &err),
         &err);
    assert_string_equal(text, "broken json;missing timestamp;");
    text[0] = '\0';
    must(rc_kafka_read(site->running, "rollcall.deadletters", 1 - home, RC_START_BEGINNING, 5000, see_dead, text, NULL,
                       &err),
         &err);
    assert_string_equal(text, "wrong partition;");
    assert_int_equal(look(site, "bob").n, 2);
}

static void a_restart_goes_on(void **state) {
    struct site *site = *state;
    make_definitions_topic(site);
    apply(site, "dataset/web", WEB, 1);
    apply(site, "segment/buyers", BUYERS, 1);
    apply(site, "segment/short", SHORT, 1);
    start(site);
    buy(site, "cat", "1");
    assert_int_equal(wait_for(site, "cat", 3).n, 3);
    stop(site);
    /* What fell due meanwhile comes at once, with its true instant; what was told is not told again. */
    test_wait_ms(800);
    start(site);
    struct seen seen = wait_for(site, "cat", 4);
    assert_int_equal(seen.n, 4);
    assert_string_equal(strrchr(seen.text, 's'), "short out\n");
    int64_t before = seen.version;
    buy(site, "cat", "2");
    seen = wait_for(site, "cat", 5);
    assert_true(seen.version >> 32 > 1);
    assert_true(seen.version > before);
    stop(site);

    /* Another broker: what was saved under the old one is of no use, and no hindrance. Definitions were kept. */
    close_broker(site);
    open_broker(site);
    start(site);
    buy(site, "cat", "3");
    seen = wait_for(site, "cat", 3);
    assert_non_null(strstr(seen.text, "_exists.web in"));
    stop(site);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(events_become_changes_and_time_does_too),
        TEST(what_cannot_be_used_goes_to_the_dead_letters),
        TEST(a_restart_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
