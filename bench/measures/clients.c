#include "bench/measures/clients.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "codec/person_key.h"

#define FLUSH_MS 120000

/* What librdkafka has to say is in the errors of the calls. */
static void keep_silent(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
    (void)rk, (void)level, (void)facility, (void)text;
}

rc_status rc_bench_client(const char *bootstrap, rd_kafka_type_t type, const char *const *settings, rd_kafka_t **out,
                          struct rc_error *err) {
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, keep_silent);
    rd_kafka_conf_res_t set = rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, text, sizeof text);
    for (size_t i = 0; set == RD_KAFKA_CONF_OK && settings && settings[i]; i += 2)
        set = rd_kafka_conf_set(conf, settings[i], settings[i + 1], text, sizeof text);
    rd_kafka_t *rk = set == RD_KAFKA_CONF_OK ? rd_kafka_new(type, conf, text, sizeof text) : NULL;
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "no Kafka client: %s", text);
    }
    *out = rk;
    return RC_OK;
}

rc_status rc_bench_reader(const char *bootstrap, const char *topic, int64_t offset, rd_kafka_t **out,
                          struct rc_error *err) {
    static const char *const settings[] = {
        "group.id", "bench-reader", "enable.auto.commit", "false", "auto.offset.reset", "earliest", NULL};
    rd_kafka_t *rk;
    if (rc_bench_client(bootstrap, RD_KAFKA_CONSUMER, settings, &rk, err) != RC_OK)
        return RC_FAIL;
    rd_kafka_poll_set_consumer(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(BENCH_PARTITIONS);
    for (int32_t p = 0; p < BENCH_PARTITIONS; p++)
        rd_kafka_topic_partition_list_add(list, topic, p)->offset = offset;
    rd_kafka_resp_err_t code = rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code) {
        rd_kafka_destroy(rk);
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "%s cannot be read: %s", topic,
                            rd_kafka_err2str(code));
    }
    *out = rk;
    return RC_OK;
}

rc_status rc_bench_writer(const char *bootstrap, rd_kafka_t **out, struct rc_error *err) {
    static const char *const settings[] = {"linger.ms",
                                           "20",
                                           "batch.num.messages",
                                           "10000",
                                           "queue.buffering.max.messages",
                                           "500000",
                                           "queue.buffering.max.kbytes",
                                           "262144",
                                           NULL};
    return rc_bench_client(bootstrap, RD_KAFKA_PRODUCER, settings, out, err);
}

rc_status rc_bench_send(rd_kafka_t *rk, rd_kafka_topic_t *topic, int32_t partition, struct rc_span key,
                        struct rc_span value, int64_t timestamp_ms, struct rc_error *err) {
    for (;;) {
        rd_kafka_resp_err_t code =
            timestamp_ms
                ? rd_kafka_producev(rk, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(partition),
                                    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key.data, key.len),
                                    RD_KAFKA_V_VALUE((void *)(uintptr_t)value.data, value.len),
                                    RD_KAFKA_V_TIMESTAMP(timestamp_ms), RD_KAFKA_V_END)
            : rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)value.data, value.len,
                               key.data, key.len, NULL) == 0
                ? RD_KAFKA_RESP_ERR_NO_ERROR
                : rd_kafka_last_error();
        if (!code)
            return RC_OK;
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "a record for %s cannot be sent: %s",
                                rd_kafka_topic_name(topic), rd_kafka_err2str(code));
        rd_kafka_poll(rk, 10);
    }
}

rc_status rc_bench_flush(rd_kafka_t *rk, struct rc_error *err) {
    rd_kafka_resp_err_t code = rd_kafka_flush(rk, FLUSH_MS);
    if (code)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "records are not acknowledged after %d s: %s",
                            FLUSH_MS / 1000, rd_kafka_err2str(code));
    return RC_OK;
}

rc_status rc_bench_fill(const char *bootstrap, const char *topic_name, uint64_t n, rc_bench_event_fn make, void *ctx,
                        struct rc_error *err) {
    rd_kafka_t *rk;
    if (rc_bench_writer(bootstrap, &rk, err) != RC_OK)
        return RC_FAIL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, topic_name, NULL);
    struct rc_buf key, value;
    rc_buf_init(&key, 1 << 12);
    rc_buf_init(&value, 1 << 12);
    rc_status status = RC_OK;
    for (uint64_t i = 0; status == RC_OK && i < n; i++) {
        int64_t at_ms = make(ctx, i, &key, &value);
        status = rc_bench_send(rk, topic, rc_person_key_partition(rc_buf_span(&key), BENCH_PARTITIONS),
                               rc_buf_span(&key), rc_buf_span(&value), at_ms, err);
        if (i % 1024 == 0)
            rd_kafka_poll(rk, 0);
    }
    if (status == RC_OK)
        status = rc_bench_flush(rk, err);
    rc_buf_deinit(&key);
    rc_buf_deinit(&value);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(rk);
    return status;
}

size_t rc_bench_person_number(struct rc_span id) {
    size_t number = 0;
    if (id.len < 2)
        return SIZE_MAX;
    for (size_t i = 1; i < id.len; i++) {
        if (id.data[i] < '0' || id.data[i] > '9')
            return SIZE_MAX;
        number = number * 10 + (size_t)(id.data[i] - '0');
    }
    return number;
}

rc_status rc_bench_read_until(rd_kafka_t *reader, rc_bench_take_fn take, void *ctx, const size_t *count, size_t enough,
                              int64_t until_ns, struct rc_error *err) {
    rc_status status = RC_OK;
    while (status == RC_OK && *count < enough && rc_clock_monotonic_ns() < until_ns) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, 50);
        if (!message)
            continue;
        status = take(ctx, message, err);
        rd_kafka_message_destroy(message);
    }
    return status;
}
