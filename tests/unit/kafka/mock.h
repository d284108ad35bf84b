/* A mock cluster and a configuration that points at it, for tests of common/kafka. */
#ifndef RC_TESTS_UNIT_KAFKA_MOCK_H
#define RC_TESTS_UNIT_KAFKA_MOCK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "kafka/producer.h"
#include "kafka/source.h"

struct mock {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *cluster;
    struct rc_config *config;
};

static inline struct rc_config *mock_config(const char *const *sets, size_t n) {
    struct rc_config_sources sources = {.sets = sets, .n_sets = n};
    struct rc_config *config;
    struct rc_error err;
    if (rc_config_load(&sources, &config, &err) != RC_OK)
        fail_msg("%s", err.message);
    return config;
}

/* `more`: one further setting "key=value", or NULL. */
static inline void mock_start(struct mock *mock, const char *more) {
    char text[512], bootstrap[256];
    rc_log_set_level(RC_LOG_OFF);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, NULL);
    mock->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    assert_non_null(mock->rk);
    mock->cluster = rd_kafka_mock_cluster_new(mock->rk, 1);
    assert_non_null(mock->cluster);
    snprintf(bootstrap, sizeof bootstrap, "kafka.bootstrap.servers=%s",
             rd_kafka_mock_cluster_bootstraps(mock->cluster));
    /* The mock takes up no member before the session of the last one has ended. */
    const char *sets[] = {bootstrap, "kafka.fetch.wait.max.ms=10", "kafka.session.timeout.ms=6000", more};
    mock->config = mock_config(sets, more ? 4 : 3);
}

static inline void mock_stop(struct mock *mock) {
    rd_kafka_mock_cluster_destroy(mock->cluster);
    rd_kafka_destroy(mock->rk);
    rc_config_free(mock->config);
}

static inline void mock_topic(struct mock *mock, const char *topic, int partitions) {
    rd_kafka_mock_topic_create(mock->cluster, topic, partitions, 1);
}

static inline struct rc_producer *mock_producer(const struct mock *mock) {
    struct rc_producer_options options = {.name = "test", .wake_fd = -1};
    struct rc_producer *producer;
    struct rc_error err;
    if (rc_producer_open(mock->config, &options, &producer, &err) != RC_OK)
        fail_msg("%s", err.message);
    return producer;
}

static inline void mock_send(struct rc_producer *producer, const char *topic, int32_t partition, const char *key,
                             const char *value) {
    struct rc_outgoing record = {.topic = topic,
                                 .partition = partition,
                                 .key = rc_span_str(key),
                                 .value = rc_span_str(value),
                                 .null_value = value == NULL,
                                 .timestamp_ms = RC_NO_TIMESTAMP};
    struct rc_error err;
    if (rc_producer_send(producer, &record, &err) != RC_OK)
        fail_msg("%s", err.message);
}

static inline void mock_flush(struct rc_producer *producer) {
    struct rc_error err;
    if (rc_producer_flush(producer, 20000, &err) != RC_OK)
        fail_msg("%s", err.message);
}

static inline struct rc_kafka_source *mock_source(const struct mock *mock, const struct rc_source_options *options) {
    struct rc_kafka_source *source;
    struct rc_error err;
    if (rc_source_open(mock->config, options, &source, &err) != RC_OK)
        fail_msg("%s", err.message);
    return source;
}

/* Polls until a message comes; NULL-handle message (false) after `timeout_ms`. */
static inline bool mock_next(struct rc_kafka_source *source, int timeout_ms, struct rc_message *out) {
    int64_t until = rc_clock_monotonic_ms() + timeout_ms;
    while (rc_clock_monotonic_ms() < until) {
        struct rc_error err;
        enum rc_polled polled = rc_source_poll(source, 20, out, &err);
        if (polled == RC_POLLED_MESSAGE)
            return true;
        if (polled == RC_POLLED_ERROR && err.class != RC_CLASS_RETRY)
            fail_msg("%s", err.message);
    }
    return false;
}

#endif
