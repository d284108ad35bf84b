/* Producers against the embedded broker: what is sent arrives, where it belongs and as often as it should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>
#include <pthread.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "codec/origin.h"
#include "codec/person_key.h"
#include "kafka/embedded.h"
#include "kafka/producer.h"
#include "kafka/read.h"
#include "kafka/topics.h"
#include "producers/produce.h"
#include "producers/rekey.h"
#include "producers/sender.h"
#include "producers/synthetic.h"

#define PARTITIONS 4

struct fixture {
    char dir[64];
    struct rc_config *config;
    const struct rc_config *run_config;
    struct rc_embedded *embedded;
    struct rc_stop stop;
};

static void check(rc_status status, const struct rc_error *err) {
    if (status != RC_OK)
        fail_msg("%s", err->message);
}

static int set_up(void **state) {
    struct rc_error err;
    struct fixture *f = rc_calloc(1, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/rollcall-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    char set[128];
    snprintf(set, sizeof set, "state.dir=%s", f->dir);
    const char *sets[] = {set, "checkpoint.interval=50ms"};
    struct rc_config_sources sources = {.sets = sets, .n_sets = 2};
    rc_log_set_level(RC_LOG_ERROR);
    check(rc_config_load(&sources, &f->config, &err), &err);
    check(rc_stop_init(&f->stop, &err), &err);
    check(rc_embedded_start(f->config, &f->embedded, &f->run_config, &err), &err);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    rc_embedded_stop(f->embedded);
    rc_stop_deinit(&f->stop);
    rc_config_free(f->config);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static void make_topic(struct fixture *f, const char *name, int32_t partitions) {
    struct rc_error err;
    struct rc_admin *admin;
    check(rc_admin_open(f->run_config, &admin, &err), &err);
    check(rc_topic_ensure(admin, &(struct rc_topic_spec){.name = name, .partitions = partitions}, NULL, &err), &err);
    rc_admin_close(admin);
}

static struct rc_catalog *catalog_of(const char *json) {
    struct rc_error err;
    struct rc_catalog_builder builder;
    struct rc_catalog *catalog;
    rc_catalog_builder_init(&builder);
    check(rc_catalog_builder_add(&builder, "test.json", rc_span_str(json), NULL, NULL, &err), &err);
    check(rc_catalog_build(&builder, &catalog, &err), &err);
    rc_catalog_builder_deinit(&builder);
    return catalog;
}

/* ---- sender and synthetic load --------------------------------------------------------------------------------------- */

struct seen {
    uint64_t records, wrong_partition;
};

static bool see_partition(void *ctx, const struct rc_message *message) {
    struct seen *seen = ctx;
    seen->records++;
    seen->wrong_partition += rc_person_key_partition(message->key, PARTITIONS) != message->partition;
    return true;
}

static void test_synthetic_load_lies_where_it_belongs(void **state) {
    struct fixture *f = *state;
    struct rc_error err;
    make_topic(f, "bench.events", PARTITIONS);
    struct rc_synthetic_run_options options = {.load = {.seed = 1, .persons = 1000, .late = 0.05, .twice = 0.01},
                                               .config = f->run_config,
                                               .topic = "bench.events",
                                               .events = 1500,
                                               .quiet = true,
                                               .stop = &f->stop};
    uint64_t sent = 0;
    check(rc_synthetic_run(&options, &sent, &err), &err);
    assert_int_equal(sent, 1500);
    struct seen seen = {0};
    check(rc_kafka_read(f->run_config, "bench.events", RC_ALL_PARTITIONS, RC_START_BEGINNING, 10000, see_partition,
                        &seen, NULL, &err),
          &err);
    assert_int_equal(seen.records, 1500);
    assert_int_equal(seen.wrong_partition, 0);
}

/* ---- produce --------------------------------------------------------------------------------------------------------- */

#define WEB                                                                                                        \
    "{\"kind\":\"dataset\",\"id\":\"web\",\"topic\":\"web.events\",\"format\":\"json\",\"person\":{\"namespace\":" \
    "\"crm\",\"id\":"                                                                                              \
    "{\"path\":\"user\"}},\"timestamp\":{\"path\":\"time\"},\"fields\":{\"n\":{\"path\":\"n\",\"type\":\"long\"}}}"

struct sent_events {
    int64_t n[100], time[100], at[100]; /* as sent: the number, the event's time, the record's own */
    size_t count;
};

static bool take_event(void *ctx, const struct rc_message *message) {
    struct sent_events *events = ctx;
    json_t *json = json_loadb(message->value.data, message->value.len, 0, NULL);
    assert_non_null(json);
    assert_in_range(events->count, 0, 99);
    events->n[events->count] = json_integer_value(json_object_get(json, "n"));
    events->time[events->count] = json_integer_value(json_object_get(json, "time"));
    events->at[events->count++] = message->timestamp_ms;
    json_decref(json);
    return true;
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

/* Rows out of order, two bad ones, two of one millisecond after the squeeze. */
static const char ROWS[] = "user,time,n\n"
                           "a,2024-01-03 00:00:00,4\n"
                           "a,2024-01-01 00:00:00,1\n"
                           ",2024-01-01 00:00:00,99\n"
                           "a,2024-01-02 00:00:00,2\n"
                           "a,2024-01-02 00:00:01,3\n"
                           "a,whenever,98\n";

static void produce(struct fixture *f, struct rc_produce_options *options, struct rc_produce_result *result) {
    struct rc_error err;
    char path[128];
    snprintf(path, sizeof path, "%s/rows.csv", f->dir);
    write_file(path, ROWS);
    make_topic(f, "web.events", PARTITIONS);
    struct rc_catalog *catalog = catalog_of(WEB);
    const char *files[] = {path};
    options->config = f->run_config;
    options->catalog = catalog;
    options->dataset = "web";
    options->files = files;
    options->n_files = 1;
    options->quiet = true;
    options->stop = &f->stop;
    rc_status status = rc_produce_run(options, result, &err);
    rc_catalog_free(catalog);
    unlink(path);
    if (options->strict) {
        assert_int_equal(status, RC_FAIL);
        assert_int_equal(err.exit_code, RC_EXIT_DATA);
        assert_non_null(strstr(err.message, "rows.csv:4"));
        return;
    }
    check(status, &err);
}

static struct sent_events read_back(struct fixture *f) {
    struct rc_error err;
    struct sent_events events = {0};
    check(rc_kafka_read(f->run_config, "web.events", RC_ALL_PARTITIONS, RC_START_BEGINNING, 10000, take_event, &events,
                        NULL, &err),
          &err);
    return events;
}

static void test_produce_sorts_and_names_bad_rows(void **state) {
    struct fixture *f = *state;
    struct rc_produce_options options = {.sort = true};
    struct rc_produce_result result;
    rc_log_set_level(RC_LOG_OFF);
    produce(f, &options, &result);
    assert_int_equal(result.rows, 6);
    assert_int_equal(result.sent, 4);
    assert_int_equal(result.bad, 2);
    struct sent_events events = read_back(f);
    assert_int_equal(events.count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(events.n[i], i + 1);
    assert_int_equal(events.time[0], 1704067200000);
}

static void test_produce_shift(void **state) {
    struct fixture *f = *state;
    struct rc_produce_options options = {.shift_now = true};
    struct rc_produce_result result;
    rc_log_set_level(RC_LOG_OFF);
    int64_t before = rc_clock_wall_ms();
    produce(f, &options, &result);
    struct sent_events events = read_back(f);
    assert_int_equal(events.count, 4);
    assert_int_equal(events.n[0], 4); /* the file's order */
    assert_in_range(events.time[0], before, rc_clock_wall_ms());
    assert_int_equal(events.time[0] - events.time[1], 2 * 86400000);
}

static void test_produce_pace(void **state) {
    struct fixture *f = *state;
    struct rc_produce_options options = {.pace_ms = 300};
    struct rc_produce_result result;
    rc_log_set_level(RC_LOG_OFF);
    produce(f, &options, &result);
    struct sent_events events = read_back(f);
    assert_int_equal(events.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(events.n[i], i + 1);
        assert_in_range(events.at[i] - events.time[i], 0, 5000); /* never before its time */
    }
    assert_int_equal(events.time[3] - events.time[0], 300);
    assert_int_equal(events.time[1] - events.time[0], 150);
    assert_int_equal(events.time[2], events.time[1]);
}

static void test_produce_strict(void **state) {
    struct fixture *f = *state;
    struct rc_produce_options options = {.strict = true};
    struct rc_produce_result result;
    produce(f, &options, &result);
    assert_int_equal(result.bad, 1);
    assert_int_equal(result.sent, 2); /* what was taken before is there */
}

/* ---- re-keying ------------------------------------------------------------------------------------------------------- */

#define CALLS                                                                                                         \
    "{\"kind\":\"dataset\",\"id\":\"calls\",\"topic\":\"calls.raw\",\"format\":\"json\",\"keyed\":false,\"person\":{" \
    "\"namespace\":"                                                                                                  \
    "{\"kafka\":{\"header\":\"ns\"}},\"id\":{\"kafka\":\"key\"}},\"timestamp\":{\"path\":\"time\"}}"
#define RECORDS 200
#define BAD_EVERY 50

struct rekeyed {
    struct rc_catalog *catalog;
    uint64_t copies, positions; /* positions: how many different originals */
    bool seen[3][RECORDS];
};

struct runner {
    struct rc_rekey_options options;
    struct rc_error err;
    rc_status status;
    _Atomic uint64_t dead;
};

static rc_status on_dead(void *ctx, struct rc_producer *producer, const struct rc_message *message, const char *text,
                         struct rc_error *err) {
    struct runner *runner = ctx;
    (void)producer, (void)err;
    assert_string_equal(message->topic, "calls.raw");
    assert_non_null(strstr(text, "person"));
    runner->dead++;
    return RC_OK;
}

static void *run_rekey(void *ctx) {
    struct runner *runner = ctx;
    runner->status = rc_rekey_run(&runner->options, &runner->err);
    return NULL;
}

static bool take_copy(void *ctx, const struct rc_message *message) {
    struct rekeyed *rekeyed = ctx;
    struct rc_header headers[16];
    struct rc_error err;
    struct rc_record record = {.key = message->key,
                               .value = message->value,
                               .timestamp_ms = message->timestamp_ms,
                               .headers = headers,
                               .n_headers = rc_message_headers(message, headers, 16),
                               .topic = message->topic,
                               .partition = message->partition,
                               .offset = message->offset};
    assert_int_equal(rc_person_key_partition(message->key, PARTITIONS), message->partition);
    assert_int_equal(strncmp(message->key.data, "phone:", 6), 0);
    assert_int_equal(message->timestamp_ms, 1700000000000);
    check(rc_rekey_origin(&rekeyed->catalog->datasets[0], &record, &err), &err);
    assert_string_equal(record.topic, "calls.raw");
    assert_true(rc_span_equal(record.key, rc_span_of(message->key.data + 6, message->key.len - 6)));
    assert_in_range(record.partition, 0, 2);
    assert_in_range(record.offset, 0, RECORDS - 1);
    rekeyed->copies++;
    rekeyed->positions += !rekeyed->seen[record.partition][record.offset];
    rekeyed->seen[record.partition][record.offset] = true;
    return true;
}

static void test_rekey(void **state) {
    struct fixture *f = *state;
    struct rc_error err;
    make_topic(f, "calls.raw", 3);
    struct rc_producer *producer;
    check(
        rc_producer_open(f->run_config, &(struct rc_producer_options){.name = "test", .wake_fd = -1}, &producer, &err),
        &err);
    uint64_t bad = 0;
    for (int i = 0; i < RECORDS; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i % 37);
        struct rc_header header = {rc_span_str("ns"), rc_span_str("phone")};
        struct rc_outgoing record = {.topic = "calls.raw",
                                     .partition = i % 3,
                                     .key = rc_span_str(key),
                                     .null_key = i % BAD_EVERY == 0,
                                     .value = rc_span_str("{\"time\":1700000000000}"),
                                     .timestamp_ms = 1700000000000,
                                     .headers = &header,
                                     .n_headers = 1};
        bad += record.null_key;
        check(rc_producer_send(producer, &record, &err), &err);
    }
    check(rc_producer_flush(producer, 10000, &err), &err);
    rc_producer_close(producer);

    struct rekeyed rekeyed = {.catalog = catalog_of(CALLS)};
    assert_true(rc_rekey_needed(rekeyed.catalog));
    struct rc_process process;
    check(rc_process_init(&process, f->run_config, NULL, &f->stop, "test", &err), &err);
    struct runner runner = {.options = {.process = &process,
                                        .catalog = rekeyed.catalog,
                                        .n_partitions = PARTITIONS,
                                        .dead = on_dead,
                                        .ctx = &runner,
                                        .stop = &f->stop}};
    struct rc_counter *copied = rc_counter_register(process.metrics, "rollcall_rekey_records_total", "", NULL, 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_rekey, &runner), 0);
    for (int i = 0; i < 3000 && rc_counter_get(copied) + runner.dead < RECORDS; i++)
        (void)rc_stop_wait(&f->stop, 10);
    rc_stop_request(&f->stop);
    pthread_join(thread, NULL);
    check(runner.status, &runner.err);
    assert_int_equal(runner.dead, bad);

    char *topic = rc_rekey_topic(f->run_config, &rekeyed.catalog->datasets[0]);
    assert_string_equal(topic, "rollcall.events.calls");
    check(rc_kafka_read(f->run_config, topic, RC_ALL_PARTITIONS, RC_START_BEGINNING, 10000, take_copy, &rekeyed, NULL,
                        &err),
          &err);
    assert_int_equal(rekeyed.copies, RECORDS - bad);
    assert_int_equal(rekeyed.positions, RECORDS - bad);

    /* All of it is committed: nothing is left for the next owner. */
    struct rc_admin *admin;
    int64_t committed[3], total = 0;
    check(rc_admin_open(f->run_config, &admin, &err), &err);
    check(rc_admin_committed(admin, "rollcall-rekey", "calls.raw", 3, committed, &err), &err);
    for (int p = 0; p < 3; p++)
        total += committed[p];
    assert_int_equal(total, RECORDS);
    rc_admin_close(admin);
    free(topic);
    rc_process_deinit(&process);
    rc_catalog_free(rekeyed.catalog);
}

static void test_rekey_origin_refuses(void **state) {
    (void)state;
    struct rc_catalog *catalog = catalog_of(CALLS);
    struct rc_error err;
    struct rc_header good[] = {{rc_span_str(RC_ORIGIN_TOPIC), rc_span_str("calls.raw")},
                               {rc_span_str(RC_ORIGIN_PARTITION), rc_span_str("2")},
                               {rc_span_str(RC_ORIGIN_OFFSET), rc_span_str("17")}};
    const char *values[][3] = {{"other", "2", "17"},
                               {"calls.raw", "-1", "17"},
                               {"calls.raw", "2", "x"},
                               {"calls.raw", "2", ""},
                               {"calls.raw", "2147483648", "1"}};
    struct rc_record record = {.headers = good, .n_headers = 3, .offset = 5};
    assert_int_equal(rc_rekey_origin(&catalog->datasets[0], &record, &err), RC_OK);
    assert_int_equal(record.offset, 17);
    assert_int_equal(record.partition, 2);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct rc_header bad[3];
        for (size_t k = 0; k < 3; k++)
            bad[k] = (struct rc_header){good[k].name, rc_span_str(values[i][k])};
        record = (struct rc_record){.headers = bad, .n_headers = 3, .offset = 5};
        assert_int_equal(rc_rekey_origin(&catalog->datasets[0], &record, &err), RC_FAIL);
        assert_int_equal(record.offset, 5);
    }
    record = (struct rc_record){.offset = 5};
    assert_int_equal(rc_rekey_origin(&catalog->datasets[0], &record, &err), RC_FAIL);
    rc_catalog_free(catalog);
}

int main(void) {
#define WITH_BROKER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_BROKER(test_synthetic_load_lies_where_it_belongs),
        WITH_BROKER(test_produce_sorts_and_names_bad_rows),
        WITH_BROKER(test_produce_shift),
        WITH_BROKER(test_produce_pace),
        WITH_BROKER(test_produce_strict),
        WITH_BROKER(test_rekey),
        cmocka_unit_test(test_rekey_origin_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
