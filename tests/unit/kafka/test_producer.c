/* The producer: marks, back-pressure without loss or disorder, records that nobody takes. */
#include "tests/unit/kafka/mock.h"

static void marks_pass_when_everything_before_is_acknowledged(void **state) {
    struct mock *mock = *state;
    mock_topic(mock, "marks", 4);
    struct rc_producer *producer = mock_producer(mock);
    uint64_t none = rc_producer_mark(producer);
    assert_true(rc_producer_passed(producer, none));
    for (int i = 0; i < 40; i++)
        mock_send(producer, "marks", i % 4, "k", "v");
    uint64_t first = rc_producer_mark(producer);
    uint64_t same = rc_producer_mark(producer);
    assert_false(rc_producer_passed(producer, first));
    mock_send(producer, "marks", 0, "k", "v");
    uint64_t second = rc_producer_mark(producer);
    assert_int_equal(rc_producer_outstanding(producer), 41);
    mock_flush(producer);
    assert_true(rc_producer_passed(producer, first));
    assert_true(rc_producer_passed(producer, same));
    assert_true(rc_producer_passed(producer, second));
    assert_int_equal(rc_producer_outstanding(producer), 0);
    assert_int_equal(rc_producer_acked(producer), 41);
    mock_send(producer, "marks", 0, "k", "v");
    assert_false(rc_producer_passed(producer, rc_producer_mark(producer)));
    mock_flush(producer);
    rc_producer_close(producer);
}

static void a_full_queue_keeps_everything_in_order(void **state) {
    (void)state;
    struct mock mock;
    mock_start(&mock, "kafka.queue.buffering.max.messages=100");
    mock_topic(&mock, "full", 2);
    struct rc_producer *producer = mock_producer(&mock);
    int32_t n;
    struct rc_error err;
    assert_int_equal(rc_producer_partitions(producer, "full", 5000, &n, &err), RC_OK);
    assert_int_equal(n, 2);
    rd_kafka_mock_broker_set_down(mock.cluster, 1);
    for (int i = 0; i < 1000; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        mock_send(producer, "full", i % 2, key, "v");
    }
    assert_int_equal(rc_producer_outstanding(producer), 1000);
    assert_int_equal(rc_producer_flush(producer, 200, &err), RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_RETRY);
    assert_true(rc_producer_full(producer));
    uint64_t mark = rc_producer_mark(producer);
    rd_kafka_mock_broker_set_up(mock.cluster, 1);
    mock_flush(producer);
    assert_true(rc_producer_passed(producer, mark));
    assert_false(rc_producer_full(producer));

    struct rc_source_options options = {.name = "test", .wake_fd = -1};
    struct rc_kafka_source *source = mock_source(&mock, &options);
    struct rc_source_partition parts[] = {{"full", 0, RC_START_BEGINNING, NULL}, {"full", 1, RC_START_BEGINNING, NULL}};
    assert_int_equal(rc_source_assign(source, parts, 2, &err), RC_OK);
    int next[] = {0, 1};
    for (int i = 0; i < 1000; i++) {
        struct rc_message message;
        char key[16];
        assert_true(mock_next(source, 10000, &message));
        snprintf(key, sizeof key, "%d", next[message.partition]);
        assert_true(rc_span_equal(message.key, rc_span_str(key)));
        next[message.partition] += 2;
        rc_message_release(&message);
    }
    rc_source_close(source);
    rc_producer_close(producer);
    mock_stop(&mock);
}

/* From live to bulk and back under load: each partition has every record, in order; marks and ends are of both. */
static void bulk_keeps_the_order(void **state) {
    enum { RECORDS = 6000, ROUND = 500, PARTITIONS = 3 };
    struct mock *mock = *state;
    mock_topic(mock, "bulk", PARTITIONS);
    struct rc_producer *producer = mock_producer(mock);
    struct rc_error err;
    uint64_t mark = 0;
    for (int i = 0; i < RECORDS; i++) {
        char key[16];
        if (i % ROUND == 0) {
            mark = rc_producer_mark(producer);
            rc_producer_set_bulk(producer, i / ROUND % 2 == 1);
        }
        snprintf(key, sizeof key, "%d", i);
        mock_send(producer, "bulk", i % PARTITIONS, key, "v");
        if (i % 7 == 0)
            assert_int_equal(rc_producer_poll(producer, i % 100 == 0 ? 1 : 0, &err), RC_OK);
    }
    mock_flush(producer);
    assert_true(rc_producer_passed(producer, mark));
    assert_int_equal(rc_producer_acked(producer), RECORDS);
    for (int i = 0; i < PARTITIONS; i++)
        assert_int_equal(rc_producer_end(producer, "bulk", i), RECORDS / PARTITIONS);

    struct rc_source_options options = {.name = "test", .wake_fd = -1};
    struct rc_kafka_source *source = mock_source(mock, &options);
    struct rc_source_partition parts[PARTITIONS];
    int next[PARTITIONS];
    for (int i = 0; i < PARTITIONS; i++) {
        parts[i] = (struct rc_source_partition){"bulk", i, RC_START_BEGINNING, NULL};
        next[i] = i;
    }
    assert_int_equal(rc_source_assign(source, parts, PARTITIONS, &err), RC_OK);
    for (int i = 0; i < RECORDS; i++) {
        struct rc_message message;
        char key[16];
        assert_true(mock_next(source, 10000, &message));
        snprintf(key, sizeof key, "%d", next[message.partition]);
        assert_true(rc_span_equal(message.key, rc_span_str(key)));
        next[message.partition] += PARTITIONS;
        rc_message_release(&message);
    }
    rc_source_close(source);
    rc_producer_close(producer);
}

struct refusal {
    int n;
    bool deal;
    char topic[32];
    size_t value_len;
};

static bool on_refused(void *ctx, const char *topic, int32_t partition, struct rc_span key, struct rc_span value,
                       const struct rc_error *err) {
    (void)partition, (void)key;
    struct refusal *refusal = ctx;
    assert_int_equal(err->class, RC_CLASS_POISON);
    refusal->n++;
    refusal->value_len = value.len;
    snprintf(refusal->topic, sizeof refusal->topic, "%s", topic);
    return refusal->deal;
}

static void what_the_broker_refuses_is_told(void **state) {
    struct mock *mock = *state;
    mock_topic(mock, "refused", 1);
    for (int deal = 1; deal >= 0; deal--) {
        struct refusal refusal = {.deal = deal};
        struct rc_producer_options options = {.name = "test", .wake_fd = -1, .refused = on_refused, .ctx = &refusal};
        struct rc_producer *producer;
        struct rc_error err;
        assert_int_equal(rc_producer_open(mock->config, &options, &producer, &err), RC_OK);
        rd_kafka_mock_push_request_errors(mock->cluster, 0, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
        mock_send(producer, "refused", 0, "k", "value");
        if (deal) {
            mock_flush(producer);
        } else {
            assert_int_equal(rc_producer_flush(producer, 10000, &err), RC_FAIL);
            assert_int_equal(err.class, RC_CLASS_POISON);
            assert_non_null(strstr(err.message, "refused [0]"));
        }
        assert_int_equal(refusal.n, 1);
        assert_string_equal(refusal.topic, "refused");
        assert_int_equal(refusal.value_len, 5);
        rc_producer_close(producer);
    }
}

static void what_can_never_be_sent_is_said_at_once(void **state) {
    struct mock *mock = *state;
    mock_topic(mock, "never", 1);
    struct rc_producer *producer = mock_producer(mock);
    char *big = calloc(1, 3000000);
    memset(big, 'x', 2999999);
    struct rc_outgoing record = {
        .topic = "never", .value = rc_span_str(big), .null_key = true, .timestamp_ms = RC_NO_TIMESTAMP};
    struct rc_error err;
    assert_int_equal(rc_producer_send(producer, &record, &err), RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_POISON);
    assert_non_null(strstr(err.message, "never [0]"));
    int32_t n;
    assert_int_equal(rc_producer_partitions(producer, "no-such-topic", 5000, &n, &err), RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_FATAL);
    assert_non_null(strstr(err.message, "no-such-topic"));
    mock_send(producer, "never", 0, "k", "small");
    mock_flush(producer);
    rc_producer_close(producer);
    free(big);
}

/* What the mock cluster can tell: when a transaction is open, and what a failure means. (It keeps no offsets of transactions, and shows
 * aborted records: tests/integration/test_exactly_once.py.) */
static struct rc_producer *transactional(struct mock *mock, const char *id) {
    struct rc_producer_options options = {.name = "test", .wake_fd = -1, .transaction = id};
    struct rc_producer *producer;
    struct rc_error err;
    assert_int_equal(rc_producer_open(mock->config, &options, &producer, &err), RC_OK);
    assert_int_equal(rc_producer_init(producer, 10000, &err), RC_OK);
    return producer;
}

static void a_transaction_holds_changes_and_offsets(void **state) {
    struct mock *mock = *state;
    mock_topic(mock, "input", 1);
    mock_topic(mock, "output", 1);
    struct rc_producer *producer = transactional(mock, "one");
    struct rc_source_options options = {.name = "test", .group = "transacting", .wake_fd = -1};
    struct rc_kafka_source *source = mock_source(mock, &options);
    struct rc_offset offset = {.topic = "input", .partition = 0, .offset = 42, .metadata = "epoch=7"};
    struct rc_error err;
    assert_false(rc_producer_uncommitted(producer));
    assert_int_equal(rc_producer_commit(producer, source, NULL, 0, 5000, &err), RC_OK); /* nothing: no transaction */
    for (int round = 0; round < 3; round++) {
        mock_send(producer, "output", 0, "k", "v");
        assert_true(rc_producer_uncommitted(producer));
        offset.offset = 42 + round;
        assert_int_equal(rc_producer_commit(producer, source, &offset, 1, 5000, &err), RC_OK);
        assert_false(rc_producer_uncommitted(producer));
        assert_int_equal(rc_producer_outstanding(producer), 0);
    }
    rc_producer_close(producer);
    rc_source_close(source);
}

static void a_transaction_that_fails_means_to_begin_again(void **state) {
    struct mock *mock = *state;
    mock_topic(mock, "lost", 1);
    struct rc_source_options options = {.name = "test", .group = "losing", .wake_fd = -1};
    struct rc_kafka_source *source = mock_source(mock, &options);
    struct rc_offset offset = {.topic = "lost", .partition = 0, .offset = 1};
    struct rc_error err;
    static const rd_kafka_resp_err_t codes[] = {RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
                                                RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
                                                RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct rc_producer *producer = transactional(mock, "losing");
        mock_send(producer, "lost", 0, "k", "v");
        rd_kafka_mock_push_request_errors(mock->cluster, 28 /* TxnOffsetCommit */, 1, codes[i]);
        assert_int_equal(rc_producer_commit(producer, source, &offset, 1, 5000, &err), RC_FAIL);
        assert_int_equal(err.class, RC_CLASS_FENCED);
        assert_true(rc_producer_uncommitted(producer));
        /* Nothing more can be sent with it. */
        struct rc_outgoing record = {.topic = "lost", .null_key = true, .timestamp_ms = RC_NO_TIMESTAMP};
        assert_int_equal(rc_producer_send(producer, &record, &err), RC_FAIL);
        assert_int_equal(err.class, RC_CLASS_FENCED);
        rc_producer_close(producer);
    }
    rc_source_close(source);
}

static void a_commit_that_is_late_is_tried_again(void **state) {
    struct mock *mock = *state;
    mock_topic(mock, "late", 1);
    struct rc_producer *producer = transactional(mock, "late");
    struct rc_source_options options = {.name = "test", .group = "late", .wake_fd = -1};
    struct rc_kafka_source *source = mock_source(mock, &options);
    struct rc_offset offset = {.topic = "late", .partition = 0, .offset = 5};
    struct rc_error err;
    mock_send(producer, "late", 0, "k", "v");
    mock_flush(producer);
    rd_kafka_mock_broker_set_down(mock->cluster, 1);
    assert_int_equal(rc_producer_commit(producer, source, &offset, 1, 300, &err), RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_RETRY);
    rd_kafka_mock_broker_set_up(mock->cluster, 1);
    assert_int_equal(rc_producer_commit(producer, source, &offset, 1, 10000, &err), RC_OK);
    assert_false(rc_producer_uncommitted(producer));
    rc_producer_close(producer);
    rc_source_close(source);
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
        cmocka_unit_test(marks_pass_when_everything_before_is_acknowledged),
        cmocka_unit_test(a_full_queue_keeps_everything_in_order),
        cmocka_unit_test(bulk_keeps_the_order),
        cmocka_unit_test(what_the_broker_refuses_is_told),
        cmocka_unit_test(what_can_never_be_sent_is_said_at_once),
        cmocka_unit_test(a_transaction_holds_changes_and_offsets),
        cmocka_unit_test(a_transaction_that_fails_means_to_begin_again),
        cmocka_unit_test(a_commit_that_is_late_is_tried_again),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
