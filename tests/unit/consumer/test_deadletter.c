/* Dead letters over a mock cluster: of a record, of one that was sent again, of a record that has such headers of its own;
 * and marks. */
#include "tests/unit/kafka/mock.h"

#include "codec/origin.h"
#include "consumers/shared/deadletter.h"
#include "kafka/read.h"

#define MAX_HEADERS 24
#define SOURCE_MS 1700000000000

static struct mock mock;

static int set_up(void **state) {
    (void)state;
    mock_start(&mock, NULL);
    mock_topic(&mock, "web", 4);
    mock_topic(&mock, "dead", 2);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    mock_stop(&mock);
    return 0;
}

static struct rc_header header(const char *name, const char *value) {
    return (struct rc_header){rc_span_str(name), rc_span_str(value)};
}

/* What is on the topic of dead letters, one line each. */
struct seen {
    char text[2048];
    int n;
    struct rc_deadletter last; /* spans void */
    int64_t time_ms;
};

static void add(struct seen *seen, struct rc_span text, const char *end) {
    snprintf(seen->text + strlen(seen->text), sizeof seen->text - strlen(seen->text), "%.*s%s", (int)text.len,
             text.data ? text.data : "", end);
}

static bool take(void *ctx, const struct rc_message *message) {
    struct seen *seen = ctx;
    struct rc_header headers[MAX_HEADERS];
    size_t n = rc_message_headers(message, headers, MAX_HEADERS);
    assert_in_range(n, 0, MAX_HEADERS);
    seen->n++;
    seen->time_ms = message->timestamp_ms;
    if (!rc_deadletter_read(headers, n, &seen->last)) {
        add(seen, rc_span_str("foreign"), "\n");
        return true;
    }
    size_t own = rc_deadletter_own_headers(headers, n);
    if (seen->last.mark) {
        add(seen, rc_span_str("mark"), " ");
        assert_true(message->null_key && message->null_value);
    } else {
        add(seen, seen->last.reason, " ");
        add(seen, message->key, "=");
        add(seen, message->value, " ");
        for (size_t i = 0; i < own; i++)
            add(seen, headers[i].name, " ");
    }
    add(seen, seen->last.topic, "");
    snprintf(seen->text + strlen(seen->text), 64, " %d %lld %d\n", seen->last.partition, (long long)seen->last.offset,
             seen->last.attempts);
    return true;
}

/* Sends a record with headers, buries it, and gives what lies on the topic of dead letters. */
struct burying {
    struct rc_producer *producer;
    const char *text;
};

static bool bury(void *ctx, const struct rc_message *message) {
    struct burying *burying = ctx;
    struct rc_error err;
    if (rc_deadletter_send(burying->producer, "dead", 2, message, burying->text, &err) != RC_OK)
        fail_msg("%s", err.message);
    return true;
}

static struct seen look(void) {
    struct seen seen = {0};
    struct rc_error err;
    if (rc_kafka_read(mock.config, "dead", RC_ALL_PARTITIONS, RC_START_BEGINNING, 10000, take, &seen, NULL, &err) !=
        RC_OK)
        fail_msg("%s", err.message);
    return seen;
}

static struct seen send_and_bury(const struct rc_header *headers, size_t n, const char *text) {
    struct rc_producer *producer = mock_producer(&mock);
    struct rc_outgoing record = {.topic = "web",
                                 .partition = 3,
                                 .key = rc_span_str("k"),
                                 .value = rc_span_str("v"),
                                 .timestamp_ms = SOURCE_MS,
                                 .headers = headers,
                                 .n_headers = n};
    struct rc_error err;
    if (rc_producer_send(producer, &record, &err) != RC_OK)
        fail_msg("%s", err.message);
    mock_flush(producer);
    struct burying burying = {.producer = producer, .text = text};
    if (rc_kafka_read(mock.config, "web", 3, RC_START_BEGINNING, 10000, bury, &burying, NULL, &err) != RC_OK)
        fail_msg("%s", err.message);
    mock_flush(producer);
    rc_producer_close(producer);
    return look();
}

static void a_record(void **state) {
    (void)state;
    struct rc_header own[] = {header("trace", "7"), header("reason", "mine"), header("redriven", "mine")};
    int64_t before = rc_clock_wall_ms();
    struct seen seen = send_and_bury(own, 3, "bad value: n is -1");
    assert_string_equal(seen.text, "bad value k=v trace reason redriven web 3 0 1\n");
    assert_true(seen.last.timestamp_ms == SOURCE_MS);
    /* The topic's retention goes by the dead letter's own age. */
    assert_true(seen.time_ms >= before);
}

static void one_that_was_sent_again(void **state) {
    (void)state;
    struct rc_origin origin = {.topic = rc_span_str("web"), .partition = 1, .offset = 41, .attempts = 4};
    struct rc_origin_text text;
    struct rc_header headers[1 + RC_ORIGIN_HEADERS] = {header("trace", "7")};
    size_t n = 1 + rc_origin_headers(&origin, &text, headers + 1);
    struct seen seen = send_and_bury(headers, n, "missing person: no value");
    assert_string_equal(seen.text, "missing person k=v trace web 1 41 4\n");
}

/* Copied here from elsewhere: it has no other place than this one. */
static void a_stranger_origin_is_its_own(void **state) {
    (void)state;
    struct rc_origin origin = {.topic = rc_span_str("far"), .partition = 1, .offset = 41, .attempts = 4};
    struct rc_origin_text text;
    struct rc_header headers[RC_ORIGIN_HEADERS];
    size_t n = rc_origin_headers(&origin, &text, headers);
    struct seen seen = send_and_bury(headers, n, "missing person: no value");
    assert_string_equal(seen.text, "missing person k=v rollcall.topic rollcall.partition rollcall.offset "
                                   "rollcall.attempts web 3 0 1\n");
}

static void marks_and_what_others_write(void **state) {
    (void)state;
    struct rc_producer *producer = mock_producer(&mock);
    struct rc_deadletter letter = {
        .topic = rc_span_str("web"), .partition = 3, .offset = 17, .timestamp_ms = RC_NO_TIMESTAMP, .attempts = 2};
    struct rc_error err;
    assert_int_equal(rc_deadletter_mark(producer, "dead", 1, &letter, &err), RC_OK);
    mock_flush(producer);
    mock_send(producer, "dead", 1, "k", "no headers");
    mock_flush(producer);
    rc_producer_close(producer);
    struct seen seen = look();
    assert_string_equal(seen.text, "mark web 3 17 2\nforeign\n");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_record),
        TEST(one_that_was_sent_again),
        TEST(a_stranger_origin_is_its_own),
        TEST(marks_and_what_others_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
