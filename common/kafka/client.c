/* Configuration of every librdkafka client, and the meaning of librdkafka's errors. Knows nothing of topics or
 * records. The mistake that it prevents: a client somewhere that commits by itself, acknowledges less than all
 * replicas, or resets offsets. */
#include "kafka/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "kafka/embedded.h"

struct property {
    const char *name, *value, *why;
};

/* Chosen by the program, not open to kafka.*: the promises of pipeline.md §3 rest on them. */
static const struct property consumer_fixed[] = {
    {"enable.auto.commit", "false", "offsets are committed after their effects are durable"},
    {"enable.auto.offset.store", "false", "offsets are committed after their effects are durable"},
    {"enable.partition.eof", "true", "the clock of a partition depends on it"},
    {"auto.offset.reset", "error", "records that are gone are an error, never a silent gap"},
    {"partition.assignment.strategy", "range", "partition n of every topic must be with one process"},
    {"allow.auto.create.topics", "false", "topics are made with the right partitions"},
    {"isolation.level", "read_committed", "records of aborted transactions were never said"},
};
static const struct property producer_fixed[] = {
    {"enable.idempotence", "true", "a retry must neither double nor reorder records"},
    {"acks", "all", "acknowledged means: by all in-sync replicas"},
};
static const struct property refused[] = {
    {"request.required.acks", NULL, "acknowledged means: by all in-sync replicas"},
    {"partitioner", NULL, "the program computes each record's partition itself"},
    {"group.id", NULL, "use group.prefix"},
    {"group.instance.id", NULL, "use group.instance"},
    {"message.timeout.ms", NULL, "records are retried until the broker takes them"},
    {"delivery.timeout.ms", NULL, "records are retried until the broker takes them"},
    {"transactional.id", NULL, "use delivery"},
    {"enable.gapless.guarantee", NULL, "a broken client is closed, with a message"},
    {"test.mock.num.brokers", NULL, "use `rollcall run --embedded`"},
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char *fixed_reason(const char *property) {
    for (size_t i = 0; i < COUNT(consumer_fixed); i++)
        if (strcmp(consumer_fixed[i].name, property) == 0)
            return consumer_fixed[i].why;
    for (size_t i = 0; i < COUNT(producer_fixed); i++)
        if (strcmp(producer_fixed[i].name, property) == 0)
            return producer_fixed[i].why;
    for (size_t i = 0; i < COUNT(refused); i++)
        if (strcmp(refused[i].name, property) == 0)
            return refused[i].why;
    return NULL;
}

rc_status rc_kafka_check_property(const char *property, const char *value, struct rc_error *err) {
    const char *why = fixed_reason(property);
    if (why)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "kafka.%s cannot be set: %s", property, why);
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, property, value, text, sizeof text);
    rd_kafka_conf_destroy(conf);
    if (result == RD_KAFKA_CONF_UNKNOWN)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "kafka.%s is no property of librdkafka %s", property,
                            rd_kafka_version_str());
    if (result != RD_KAFKA_CONF_OK)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "kafka.%s: %s", property, text);
    return RC_OK;
}

const char *rc_kafka_version(void) {
    return rd_kafka_version_str();
}

static void log_line(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
    enum rc_log_level to = level <= 3   ? RC_LOG_ERROR
                           : level == 4 ? RC_LOG_WARN
                           : level <= 6 ? RC_LOG_INFO
                                        : RC_LOG_DEBUG;
    /* One kafka.* list serves producers and consumers alike; that a producer ignores fetch.* is no news. Connection
     * failures are repeated for each attempt: the source's and producer's own error lines say it once. */
    if (strcmp(facility, "CONFWARN") == 0 || strcmp(facility, "FAIL") == 0)
        to = RC_LOG_DEBUG;
    rc_log(to, "librdkafka", rc_f_str("client", rk ? rd_kafka_name(rk) : "-"), rc_f_str("facility", facility),
           rc_f_str("text", text));
}

rc_status rc_client_set(rd_kafka_conf_t *conf, const char *property, const char *value, struct rc_error *err) {
    char text[512];
    if (rd_kafka_conf_set(conf, property, value, text, sizeof text) != RD_KAFKA_CONF_OK)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "librdkafka refuses %s = %s: %s", property, value,
                            text);
    return RC_OK;
}

static rc_status set_all(rd_kafka_conf_t *conf, const struct property *properties, size_t n, struct rc_error *err) {
    for (size_t i = 0; i < n; i++)
        if (rc_client_set(conf, properties[i].name, properties[i].value, err) != RC_OK)
            return RC_FAIL;
    return RC_OK;
}

#define QUEUE_SHARE 8 /* of the memory, for what was fetched and is not read yet */
#define QUEUE_MOST_KB 65536
#define QUEUED_BYTES 400 /* of a message of 100 bytes, with librdkafka's own */
#define QUEUED_LEAST 50000
#define QUEUED_MOST 500000

/* How much is fetched ahead. librdkafka 2.0.2 stops fetching when so many messages are queued, and then looks again only when something else wakes the
 * broker's thread, or a second later: a reader of a backlog that is faster than that gets no more than so many a second. */
static rc_status set_queued(const struct rc_config *config, rd_kafka_conf_t *conf, struct rc_error *err) {
    int64_t bytes = rc_config_bytes(config, "state.memory_bytes") / QUEUE_SHARE, messages = bytes / QUEUED_BYTES;
    messages = messages < QUEUED_LEAST ? QUEUED_LEAST : messages > QUEUED_MOST ? QUEUED_MOST : messages;
    char text[32];
    snprintf(text, sizeof text, "%d", bytes / 1024 > QUEUE_MOST_KB ? QUEUE_MOST_KB : (int)(bytes / 1024));
    if (rc_client_set(conf, "queued.max.messages.kbytes", text, err) != RC_OK)
        return RC_FAIL;
    snprintf(text, sizeof text, "%d", (int)messages);
    return rc_client_set(conf, "queued.min.messages", text, err);
}

static rc_status own_defaults(const struct rc_config *config, enum rc_client_kind kind, rd_kafka_conf_t *conf,
                              struct rc_error *err) {
    static const struct property all[] = {
        {"reconnect.backoff.ms", "50", NULL},
        {"reconnect.backoff.max.ms", "1000", NULL},
        {"socket.nagle.disable", "true", NULL},
        {"socket.keepalive.enable", "true", NULL},
    };
    /* The session is how long the partitions of a process that vanished stay unread. A broker that is away for longer makes
     * librdkafka give its own membership up: rc_source_commit and run_consumer (cli/run.c) say what follows. */
    static const struct property consumer[] = {
        {"fetch.wait.max.ms", "500", NULL},       {"fetch.error.backoff.ms", "100", NULL},
        {"session.timeout.ms", "10000", NULL},    {"heartbeat.interval.ms", "1000", NULL},
        {"max.poll.interval.ms", "300000", NULL},
    };
    static const struct property producer[] = {
        {"linger.ms", "0", NULL},
        {"message.timeout.ms", "0", NULL},
        {"queue.buffering.max.messages", "100000", NULL},
        {"queue.buffering.max.kbytes", "65536", NULL},
        {"retry.backoff.ms", "50", NULL},
        /* Readers of committed records wait so long for a transaction whose owner is gone. */
        {"transaction.timeout.ms", "10000", NULL},
    };
    if (set_all(conf, all, COUNT(all), err) != RC_OK)
        return RC_FAIL;
    if (kind == RC_CLIENT_PRODUCER)
        return set_all(conf, producer, COUNT(producer), err);
    if (set_all(conf, consumer, COUNT(consumer), err) != RC_OK)
        return RC_FAIL;
    if (set_queued(config, conf, err) != RC_OK)
        return RC_FAIL;
    /* The mock cluster wakes no waiting fetch: what is produced meanwhile waits for the fetch's end. */
    if (rc_embedded_used(config))
        return rc_client_set(conf, "fetch.wait.max.ms", "10", err);
    return RC_OK;
}

rc_status rc_client_conf(const struct rc_config *config, enum rc_client_kind kind, const char *name,
                         rd_kafka_conf_t **out, struct rc_error *err) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, log_line);
    char client[256];
    snprintf(client, sizeof client, "%s-%s", rc_config_text(config, "group.prefix"), name);
    if (rc_client_set(conf, "client.id", client, err) != RC_OK || own_defaults(config, kind, conf, err) != RC_OK)
        goto fail;

    const char *property, *value;
    for (size_t i = 0; rc_config_kafka(config, i, &property, &value); i++) {
        char text[512];
        if (rd_kafka_conf_set(conf, property, value, text, sizeof text) != RD_KAFKA_CONF_OK) {
            rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "kafka.%s = %s (%s): %s", property, value,
                         rc_config_origin(config, property), text);
            goto fail;
        }
    }
    if ((kind == RC_CLIENT_PRODUCER && set_all(conf, producer_fixed, COUNT(producer_fixed), err) != RC_OK) ||
        (kind != RC_CLIENT_PRODUCER && set_all(conf, consumer_fixed, COUNT(consumer_fixed), err) != RC_OK))
        goto fail;
    *out = conf;
    return RC_OK;
fail:
    rd_kafka_conf_destroy(conf);
    return RC_FAIL;
}

rc_status rc_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **out, struct rc_error *err) {
    char text[512];
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof text);
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                            "the Kafka client cannot be set up: %s; look at the kafka.* properties", text);
    }
    *out = rk;
    return RC_OK;
}

enum rc_error_class rc_client_class(rd_kafka_resp_err_t code) {
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR: return RC_CLASS_NONE;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP: return RC_CLASS_POISON;
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST: return RC_CLASS_FENCED;
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE: return RC_CLASS_FATAL;
    default: return RC_CLASS_RETRY;
    }
}

static const char *advice(rd_kafka_resp_err_t code) {
    switch (code) {
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
        return "; is kafka.bootstrap.servers right, and does the broker run? (tried again by itself)";
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR__SSL: return "; look at kafka.security.protocol, kafka.sasl.* and kafka.ssl.*";
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        return "; the broker's ACLs must allow it for this user";
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
        return "; kafka.transaction.timeout.ms must not be above the brokers' transaction.max.timeout.ms";
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
        return "; another process with the same group.instance has taken over: give each process its own state.dir or "
               "group.instance";
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE: return "; the topic's max.message.bytes is smaller than the record";
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
        return "; records were removed (retention, or a trim by the embedded broker) before they were read. To go on "
               "without them, stop, "
               "remove this consumer's folder below state.dir and start again: state is then built from the records "
               "that are left";
    default: return "";
    }
}

#undef rc_client_error
rc_status rc_client_error(struct rc_error *err, rd_kafka_resp_err_t code, const char *detail, const char *fmt, ...) {
    char context[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(context, sizeof context, fmt, ap);
    va_end(ap);
    enum rc_error_class class = rc_client_class(code);
    enum rc_exit exit_code = class == RC_CLASS_RETRY    ? RC_EXIT_UNAVAILABLE
                             : class == RC_CLASS_FENCED ? RC_EXIT_TEMPORARY
                             : class == RC_CLASS_POISON ? RC_EXIT_DATA
                                                        : RC_EXIT_UNAVAILABLE;
    return rc_error_set(err, class, exit_code, "%s: %s (%s)%s", context, detail ? detail : rd_kafka_err2str(code),
                        rd_kafka_err2name(code), advice(code));
}
