/* The consumer against the mock cluster: nothing lost, nothing twice, whatever is paused or fails; ends; offsets. */
#include "tests/unit/kafka/mock.h"

#include "kafka/read.h"

static void assign_one(struct rc_kafka_source *source, const char *topic, int32_t partition, int64_t start, void *ctx) {
    struct rc_source_partition one = {.topic = topic, .partition = partition, .start = start, .ctx = ctx};
    struct rc_error err;
    if (rc_source_assign(source, &one, 1, &err) != RC_OK)
        fail_msg("%s", err.message);
}

static void what_is_sent_is_read_whole(void **state) {
    struct mock *mock = *state;
    mock_topic(mock, "whole", 2);
    struct rc_producer *producer = mock_producer(mock);
    struct rc_header headers[] = {{rc_span_str("a"), rc_span_str("1")}, {rc_span_str("b"), rc_span_of("x\0y", 3)}};
    struct rc_outgoing record = {.topic = "whole",
                                 .partition = 1,
                                 .key = rc_span_of("k\0k", 3),
                                 .value = rc_span_str("v"),
                                 .timestamp_ms = 1234567890123,
                                 .headers = headers,
                                 .n_headers = 2};
    struct rc_error err;
    assert_int_equal(rc_producer_send(producer, &record, &err), RC_OK);
    mock_send(producer, "whole", 1, "empty", "");
    mock_send(producer, "whole", 1, "none", NULL);
    mock_flush(producer);
    assert_int_equal(rc_producer_end(producer, "whole", 1), 3);
    assert_int_equal(rc_producer_end(producer, "whole", 0), -1);

    struct rc_source_options options = {.name = "test", .wake_fd = -1};
    struct rc_kafka_source *source = mock_source(mock, &options);
    int mine;
    assign_one(source, "whole", 1, RC_START_BEGINNING, &mine);
    struct rc_message message;
    assert_true(mock_next(source, 5000, &message));
    assert_int_equal(message.offset, 0);
    assert_int_equal(message.timestamp_ms, 1234567890123);
    assert_ptr_equal(message.ctx, &mine);
    assert_true(rc_span_equal(message.key, rc_span_of("k\0k", 3)));
    struct rc_header got[4];
    assert_int_equal(rc_message_headers(&message, got, 4), 2);
    struct rc_span value;
    assert_true(rc_message_header(&message, "b", &value));
    assert_true(rc_span_equal(value, rc_span_of("x\0y", 3)));
    assert_false(rc_message_header(&message, "c", &value));
    rc_message_release(&message);
    assert_true(mock_next(source, 5000, &message));
    assert_false(message.null_value);
    assert_int_equal(message.value.len, 0);
    rc_message_release(&message);
    assert_true(mock_next(source, 5000, &message));
    assert_true(message.null_value);
    rc_message_release(&message);
    rc_source_close(source);
    rc_producer_close(producer);
}

/* Polls until the end is known, asking as a loop does; false after 5 s. */
static bool learn_end(struct rc_kafka_source *source, const char *topic, int64_t *since_ms) {
    int64_t until = rc_clock_monotonic_ms() + 5000;
    while (rc_clock_monotonic_ms() < until) {
        struct rc_message message;
        rc_source_ask_end(source);
        if (mock_next(source, 20, &message))
            rc_message_release(&message);
        if (rc_source_at_end(source, topic, 0, 1000, since_ms))
            return true;
    }
    return false;
}

static void the_end_is_known_only_after_it_was_said(void **state) {
    struct mock *mock = *state;
    mock_topic(mock, "end", 1);
    struct rc_producer *producer = mock_producer(mock);
    struct rc_source_options options = {.name = "test", .wake_fd = -1};
    struct rc_kafka_source *source = mock_source(mock, &options);
    assign_one(source, "end", 0, RC_START_BEGINNING, NULL);
    assert_false(rc_source_at_end(source, "end", 0, INT64_MAX, NULL));
    int64_t before = rc_clock_wall_ms(), since = 0;
    assert_true(learn_end(source, "end", &since));
    assert_true(since >= before && since <= rc_clock_wall_ms());

    /* Standing still, even after the question was asked, makes it void. */
    rc_source_ask_end(source);
    rc_source_stood_still(source);
    assert_false(rc_source_at_end(source, "end", 0, INT64_MAX, NULL));
    assert_true(learn_end(source, "end", &since));

    /* A record that is in the log and was not taken keeps the end away. */
    for (int i = 0; i < 10; i++)
        mock_send(producer, "end", 0, "k", "v");
    mock_flush(producer);
    rc_source_stood_still(source);
    struct rc_message message;
    assert_true(mock_next(source, 5000, &message));
    assert_int_equal(message.offset, 0);
    rc_message_release(&message);
    rc_source_ask_end(source);
    for (int64_t n = 1; n < 10; n++) {
        assert_false(rc_source_at_end(source, "end", 0, INT64_MAX, NULL));
        assert_true(mock_next(source, 5000, &message));
        assert_int_equal(message.offset, n);
        rc_message_release(&message);
    }
    assert_true(learn_end(source, "end", &since));
    int64_t position, end;
    assert_int_equal(rc_source_position(source, "end", 0, &position, &end), RC_OK);
    assert_int_equal(position, 10);
    assert_int_equal(end, 10);
    rc_source_close(source);
    rc_producer_close(producer);
}

/* Pauses, resumes and seeks while records come in: every offset once and in order (but for those sought back to). */
static void pausing_under_load_skips_nothing(void **state) {
    struct mock *mock = *state;
    enum { PARTITIONS = 3, EACH = 6000 };
    mock_topic(mock, "load", PARTITIONS);
    struct rc_producer *producer = mock_producer(mock);
    struct rc_source_options options = {.name = "test", .wake_fd = -1};
    struct rc_kafka_source *source = mock_source(mock, &options);
    struct rc_source_partition parts[PARTITIONS];
    for (int p = 0; p < PARTITIONS; p++)
        parts[p] = (struct rc_source_partition){.topic = "load", .partition = p, .start = RC_START_BEGINNING};
    struct rc_error err;
    assert_int_equal(rc_source_assign(source, parts, PARTITIONS, &err), RC_OK);
    int64_t next[PARTITIONS] = {0};
    bool paused[PARTITIONS] = {false};
    unsigned seed = 42;
    int sent = 0, taken = 0, pauses = 0, seeks = 0;
    int64_t until = rc_clock_monotonic_ms() + 60000;
    while (taken < PARTITIONS * EACH && rc_clock_monotonic_ms() < until) {
        for (int i = 0; i < 50 && sent < PARTITIONS * EACH; i++, sent++)
            mock_send(producer, "load", sent % PARTITIONS, "k", "a value of some bytes");
        assert_int_equal(rc_producer_poll(producer, 0, &err), RC_OK);
        if (rand_r(&seed) % 4 == 0) {
            int p = (int)(rand_r(&seed) % PARTITIONS);
            paused[p] = !paused[p];
            pauses++;
            assert_int_equal(paused[p] ? rc_source_pause(source, "load", p, &err)
                                       : rc_source_resume(source, "load", p, &err),
                             RC_OK);
        }
        if (sent == PARTITIONS * EACH)
            for (int p = 0; p < PARTITIONS; p++)
                if (paused[p]) {
                    paused[p] = false;
                    assert_int_equal(rc_source_resume(source, "load", p, &err), RC_OK);
                }
        struct rc_message message;
        for (int i = 0; i < 100 && mock_next(source, 2, &message); i++) {
            if (message.offset != next[message.partition])
                fail_msg("partition %d: offset %lld came, %lld was next", message.partition, (long long)message.offset,
                         (long long)next[message.partition]);
            next[message.partition]++;
            taken++;
            int32_t p = message.partition;
            rc_message_release(&message);
            if (seeks < 20 && !paused[p] && next[p] > 10 && rand_r(&seed) % 500 == 0) {
                seeks++;
                next[p] -= 5;
                taken -= 5;
                if (rc_source_seek(source, "load", p, next[p], &err) != RC_OK)
                    fail_msg("%s", err.message);
            }
        }
    }
    assert_int_equal(taken, PARTITIONS * EACH);
    assert_true(pauses > 20);
    assert_true(seeks > 2);
    rc_source_close(source);
    rc_producer_close(producer);
}

static void a_trim_under_the_reader_is_fatal(void **state) {
    struct mock *mock = *state;
    mock_topic(mock, "trim", 1);
    struct rc_producer *producer = mock_producer(mock);
    char *big = calloc(1, 200001);
    memset(big, 'x', 200000);
    for (int i = 0; i < 60; i++) { /* 12 MB: the mock cluster keeps 5 MiB */
        mock_send(producer, "trim", 0, "k", big);
        mock_flush(producer);
    }
    struct rc_source_options options = {.name = "test", .wake_fd = -1};
    struct rc_kafka_source *source = mock_source(mock, &options);
    assign_one(source, "trim", 0, 0, NULL);
    bool fatal = false;
    int64_t until = rc_clock_monotonic_ms() + 10000;
    while (!fatal && rc_clock_monotonic_ms() < until) {
        struct rc_message message;
        struct rc_error err;
        enum rc_polled polled = rc_source_poll(source, 50, &message, &err);
        assert_int_not_equal(polled, RC_POLLED_MESSAGE);
        if (polled == RC_POLLED_ERROR && err.class == RC_CLASS_FATAL) {
            fatal = true;
            assert_non_null(strstr(err.message, "trim [0]"));
            assert_non_null(strstr(err.message, "removed"));
        }
    }
    assert_true(fatal);
    rc_source_close(source);
    /* From the beginning that is left, it can be read. */
    source = mock_source(mock, &options);
    assign_one(source, "trim", 0, RC_START_BEGINNING, NULL);
    struct rc_message message;
    assert_true(mock_next(source, 5000, &message));
    assert_true(message.offset > 0);
    rc_message_release(&message);
    rc_source_close(source);
    rc_producer_close(producer);
    free(big);
}

static void errors_of_the_broker_are_survived(void **state) {
    struct mock *mock = *state;
    mock_topic(mock, "errors", 1);
    struct rc_producer *producer = mock_producer(mock);
    struct rc_source_options options = {.name = "test", .wake_fd = -1};
    struct rc_kafka_source *source = mock_source(mock, &options);
    assign_one(source, "errors", 0, RC_START_BEGINNING, NULL);
    rd_kafka_mock_push_request_errors(mock->cluster, 0 /* Produce */, 4, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                      RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR__TRANSPORT,
                                      RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
    rd_kafka_mock_push_request_errors(mock->cluster, 1 /* Fetch */, 3, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                      RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR);
    for (int i = 0; i < 500; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        mock_send(producer, "errors", 0, key, "v");
    }
    mock_flush(producer);
    for (int i = 0; i < 500; i++) {
        struct rc_message message;
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        assert_true(mock_next(source, 15000, &message));
        assert_true(rc_span_equal(message.key, rc_span_str(key)));
        assert_int_equal(message.offset, i);
        rc_message_release(&message);
    }
    rc_source_close(source);
    rc_producer_close(producer);
}

struct group {
    size_t assigned, revoked;
    int64_t start;
    int tag;
};

static rc_status on_assigned(void *ctx, struct rc_source_partition *partitions, size_t n, struct rc_error *err) {
    (void)err;
    struct group *group = ctx;
    group->assigned += n;
    for (size_t i = 0; i < n; i++) {
        partitions[i].ctx = &group->tag;
        partitions[i].start = group->start;
    }
    return RC_OK;
}

static void on_revoked(void *ctx, const struct rc_source_partition *partitions, size_t n, bool lost) {
    (void)partitions, (void)lost;
    ((struct group *)ctx)->revoked += n;
}

static void a_group_member_starts_where_it_says(void **state) {
    struct mock *mock = *state;
    mock_topic(mock, "grouped", 2);
    struct rc_producer *producer = mock_producer(mock);
    for (int i = 0; i < 20; i++)
        mock_send(producer, "grouped", i % 2, "k", "v");
    mock_flush(producer);
    struct group group = {.start = 7};
    struct rc_source_options options = {
        .name = "test", .group = "g", .assigned = on_assigned, .revoked = on_revoked, .ctx = &group, .wake_fd = -1};
    struct rc_kafka_source *source = mock_source(mock, &options);
    struct rc_error err;
    const char *topics[] = {"grouped"};
    assert_int_equal(rc_source_subscribe(source, topics, 1, &err), RC_OK);
    for (int i = 0; i < 6; i++) {
        struct rc_message message;
        assert_true(mock_next(source, 15000, &message));
        assert_true(message.offset >= 7);
        assert_ptr_equal(message.ctx, &group.tag);
        rc_message_release(&message);
    }
    assert_int_equal(group.assigned, 2);
    struct rc_offset offsets[] = {{"grouped", 0, 9, "epoch=3"}, {"grouped", 1, 10, NULL}};
    assert_int_equal(rc_source_commit(source, offsets, 2, true, &err), RC_OK);
    struct rc_offset found[] = {{"grouped", 0, -1, NULL}, {"grouped", 1, -1, NULL}};
    assert_int_equal(rc_source_committed(source, found, 2, &err), RC_OK);
    assert_int_equal(found[0].offset, 9);
    assert_string_equal(found[0].metadata, "epoch=3");
    assert_int_equal(found[1].offset, 10);
    free((char *)(uintptr_t)found[0].metadata);
    free((char *)(uintptr_t)found[1].metadata);
    rc_source_close(source);
    assert_int_equal(group.revoked, 2);

    /* The next one says nothing: it starts at the committed offsets. */
    group = (struct group){.start = RC_START_COMMITTED};
    source = mock_source(mock, &options);
    assert_int_equal(rc_source_subscribe(source, topics, 1, &err), RC_OK);
    struct rc_message message;
    assert_true(mock_next(source, 15000, &message));
    assert_int_equal(message.partition, 0);
    assert_int_equal(message.offset, 9);
    rc_message_release(&message);
    assert_false(mock_next(source, 300, &message));
    rc_source_close(source);
    rc_producer_close(producer);
}

static bool count(void *ctx, const struct rc_message *message) {
    (void)message;
    return ++*(int *)ctx < 1000000;
}

static void bounded_reading_ends_at_the_end(void **state) {
    struct mock *mock = *state;
    mock_topic(mock, "bounded", 3);
    struct rc_producer *producer = mock_producer(mock);
    for (int i = 0; i < 300; i++)
        mock_send(producer, "bounded", i % 3, "k", "v");
    mock_flush(producer);
    struct rc_error err;
    int n = 0;
    assert_int_equal(
        rc_kafka_read(mock->config, "bounded", RC_ALL_PARTITIONS, RC_START_BEGINNING, 5000, count, &n, NULL, &err),
        RC_OK);
    assert_int_equal(n, 300);
    n = 0;
    int64_t end = -1;
    assert_int_equal(rc_kafka_read(mock->config, "bounded", 1, 40, 5000, count, &n, &end, &err), RC_OK);
    assert_int_equal(n, 60);
    assert_int_equal(end, 100);
    n = 0;
    assert_int_equal(
        rc_kafka_read(mock->config, "not-there", RC_ALL_PARTITIONS, RC_START_BEGINNING, 5000, count, &n, NULL, &err),
        RC_OK);
    assert_int_equal(n, 0);
    n = 999999; /* the function says stop at the first record */
    assert_int_equal(rc_kafka_read(mock->config, "bounded", 0, RC_START_BEGINNING, 5000, count, &n, NULL, &err), RC_OK);
    assert_int_equal(n, 1000000);
    rc_producer_close(producer);
}

static int set_up(void **state) {
    static struct mock mock;
    mock_start(&mock, NULL);
    *state = &mock;
    return 0;
}

static int tear_down(void **state) {
    mock_stop(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent_is_read_whole),        cmocka_unit_test(the_end_is_known_only_after_it_was_said),
        cmocka_unit_test(pausing_under_load_skips_nothing),  cmocka_unit_test(a_trim_under_the_reader_is_fatal),
        cmocka_unit_test(errors_of_the_broker_are_survived), cmocka_unit_test(a_group_member_starts_where_it_says),
        cmocka_unit_test(bounded_reading_ends_at_the_end),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
