/* Topics and what is asked about them. The admin API on a real cluster; on the embedded broker, which has none, the
 * process that owns it makes topics, and others have them made by asking for them by name (it then gives them 4
 * partitions). */
#include "kafka/topics.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "codec/decode.h"
#include "kafka/embedded.h"
#include "kafka/internal.h"

#define ADMIN_TIMEOUT_MS 15000
/* Asking costs nothing and is tried again by whoever waits for the broker; a stop must not wait long for it. */
#define ASK_TIMEOUT_MS 5000
#define LEADER_WAIT_MS 50
#define DEFAULT_PARTITIONS 4
/* A dead letter holds a whole record and its headers, however large its topic lets it be. */
#define DEADLETTER_BYTES (INT64_C(64) << 20)
/* An entry of the audit trail holds a whole definition, a little larger than the definition's own record. */
#define AUDIT_BYTES (INT64_C(16) << 20)
#define ALL (-1)
/* A person's state, and how much of a partition is read at a restore although newer records have replaced it. */
#define STATE_BYTES (INT64_C(64) << 20)
#define STATE_SEGMENT_BYTES (INT64_C(64) << 20)

struct rc_admin {
    const struct rc_config *config; /* borrowed */
    rd_kafka_t *rk;                 /* NULL: at rest */
    bool embedded, committed;       /* see rc_admin_open_as */
    char *group;                    /* of `group_rk` */
    rd_kafka_t *group_rk;           /* for committed offsets; NULL until asked */
};

/* The client is there; made again after a rest. */
static rc_status awake(struct rc_admin *admin, struct rc_error *err) {
    rd_kafka_conf_t *conf;
    if (admin->rk)
        return RC_OK;
    if (rc_client_conf(admin->config, RC_CLIENT_ADMIN, "admin", &conf, err) != RC_OK)
        return RC_FAIL;
    if (!admin->committed && rc_client_set(conf, "isolation.level", "read_uncommitted", err) != RC_OK) {
        rd_kafka_conf_destroy(conf);
        return RC_FAIL;
    }
    return rc_client_new(RD_KAFKA_CONSUMER, conf, &admin->rk, err);
}

rc_status rc_admin_open_as(const struct rc_config *config, bool committed, struct rc_admin **out,
                           struct rc_error *err) {
    struct rc_admin *admin = rc_calloc(1, sizeof *admin);
    *admin = (struct rc_admin){.config = config, .committed = committed, .embedded = rc_embedded_used(config)};
    if (awake(admin, err) != RC_OK) {
        free(admin);
        return RC_FAIL;
    }
    *out = admin;
    return RC_OK;
}

rc_status rc_admin_open(const struct rc_config *config, struct rc_admin **out, struct rc_error *err) {
    return rc_admin_open_as(config, false, out, err);
}

void rc_admin_rest(struct rc_admin *admin) {
    if (admin->group_rk)
        rd_kafka_destroy(admin->group_rk);
    if (admin->rk)
        rd_kafka_destroy(admin->rk);
    free(admin->group);
    admin->group_rk = admin->rk = NULL;
    admin->group = NULL;
}

void rc_admin_close(struct rc_admin *admin) {
    if (!admin)
        return;
    rc_admin_rest(admin);
    free(admin);
}

char *rc_topic_name(const struct rc_config *config, const char *name) {
    const char *prefix = rc_config_text(config, "topics.prefix");
    size_t bytes = strlen(prefix) + strlen(name) + 2;
    char *topic = rc_alloc(bytes);
    snprintf(topic, bytes, "%s.%s", prefix, name);
    return topic;
}

/* ---- looking ---- */

rc_status rc_topic_partitions(struct rc_admin *admin, const char *topic, int timeout_ms, int32_t *out,
                              struct rc_error *err) {
    const struct rd_kafka_metadata *metadata;
    if (awake(admin, err) != RC_OK)
        return RC_FAIL;
    /* All topics: asking for one by name may create it. */
    rd_kafka_resp_err_t code = rd_kafka_metadata(admin->rk, 1, NULL, &metadata, timeout_ms);
    if (code)
        return rc_client_error(err, code, NULL, "the topics at %s cannot be listed",
                               rc_config_text(admin->config, "kafka.bootstrap.servers"));
    int32_t found = 0;
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (strcmp(metadata->topics[i].topic, topic) == 0)
            found = metadata->topics[i].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    *out = found;
    return RC_OK;
}

rc_status rc_admin_cluster_id(struct rc_admin *admin, int timeout_ms, char **out, struct rc_error *err) {
    if (awake(admin, err) != RC_OK)
        return RC_FAIL;
    char *id = rd_kafka_clusterid(admin->rk, timeout_ms);
    if (!id)
        return rc_client_error(err, RD_KAFKA_RESP_ERR__TIMED_OUT, NULL, "no broker answers at %s",
                               rc_config_text(admin->config, "kafka.bootstrap.servers"));
    *out = rc_strdup(admin->embedded ? rc_embedded_identity() : id);
    rd_kafka_mem_free(admin->rk, id);
    return RC_OK;
}

rc_status rc_admin_bounds(struct rc_admin *admin, const char *topic, int32_t partition, int timeout_ms, int64_t *low,
                          int64_t *high, struct rc_error *err) {
    int64_t first, next, until_ms = rc_clock_monotonic_ms() + timeout_ms;
    rd_kafka_resp_err_t code;
    if (awake(admin, err) != RC_OK)
        return RC_FAIL;
    for (;;) {
        int64_t left_ms = until_ms - rc_clock_monotonic_ms();
        code = rd_kafka_query_watermark_offsets(admin->rk, topic, partition, &first, &next,
                                                left_ms > 0 ? (int)left_ms : 0);
        /* A topic that was just made, or a broker that was just started: its leader is on the way. */
        if ((code != RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION && code != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) ||
            left_ms <= LEADER_WAIT_MS)
            break;
        (void)poll(NULL, 0, LEADER_WAIT_MS);
    }
    if (code)
        return rc_client_error(err, code, NULL, "the bounds of %s [%d] cannot be asked for", topic, partition);
    *low = first;
    *high = next;
    return RC_OK;
}

rc_status rc_admin_offset_at(struct rc_admin *admin, const char *topic, int32_t partition, int64_t at_ms,
                             int timeout_ms, int64_t *out, struct rc_error *err) {
    if (awake(admin, err) != RC_OK)
        return RC_FAIL;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *asked = rd_kafka_topic_partition_list_add(list, topic, partition);
    asked->offset = at_ms > 0 ? at_ms : 0; /* negative ones have other meanings there */
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(admin->rk, list, timeout_ms);
    if (!code)
        code = asked->err;
    *out = code || asked->offset < 0 ? -1 : asked->offset;
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        return rc_client_error(err, code, NULL, "the offset of a time in %s [%d] cannot be asked for", topic,
                               partition);
    return RC_OK;
}

rc_status rc_admin_committed(struct rc_admin *admin, const char *group, const char *topic, int32_t n, int64_t *out,
                             struct rc_error *err) {
    if (!admin->group || strcmp(admin->group, group) != 0) {
        rd_kafka_conf_t *conf;
        if (rc_client_conf(admin->config, RC_CLIENT_ADMIN, "admin", &conf, err) != RC_OK)
            return RC_FAIL;
        if (rc_client_set(conf, "group.id", group, err) != RC_OK) {
            rd_kafka_conf_destroy(conf);
            return RC_FAIL;
        }
        rd_kafka_t *rk;
        if (rc_client_new(RD_KAFKA_CONSUMER, conf, &rk, err) != RC_OK)
            return RC_FAIL;
        if (admin->group_rk)
            rd_kafka_destroy(admin->group_rk);
        free(admin->group);
        admin->group_rk = rk;
        admin->group = rc_strdup(group);
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n);
    for (int32_t p = 0; p < n; p++)
        rd_kafka_topic_partition_list_add(list, topic, p);
    rd_kafka_resp_err_t code = rd_kafka_committed(admin->group_rk, list, ADMIN_TIMEOUT_MS);
    rc_status status = code ? rc_client_error(err, code, NULL, "the offsets of group %s cannot be read", group) : RC_OK;
    for (int32_t p = 0; status == RC_OK && p < n; p++)
        out[p] = list->elems[p].offset >= 0 ? list->elems[p].offset : -1;
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

/* ---- making ---- */

/* Waits for the one event of an admin call. */
static rd_kafka_event_t *wait_event(rd_kafka_queue_t *queue, rc_status *status, const char *what,
                                    struct rc_error *err) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ADMIN_TIMEOUT_MS + 1000);
    if (!event)
        *status = rc_client_error(err, RD_KAFKA_RESP_ERR__TIMED_OUT, NULL, "%s", what);
    else if (rd_kafka_event_error(event))
        *status = rc_client_error(err, rd_kafka_event_error(event), rd_kafka_event_error_string(event), "%s", what);
    return event;
}

static void set_bytes(rd_kafka_NewTopic_t *topic, const char *name, int64_t bytes) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)bytes);
    if (bytes > 0)
        rd_kafka_NewTopic_set_config(topic, name, text);
}

static rc_status create(struct rc_admin *admin, const struct rc_topic_spec *spec, int32_t partitions, bool *created,
                        struct rc_error *err) {
    char text[512];
    int64_t replication = rc_config_int(admin->config, "topics.replication");
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(spec->name, partitions, (int)replication, text, sizeof text);
    if (!topic)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "topic %s cannot be made: %s", spec->name, text);
    if (spec->compacted)
        rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "compact");
    if (spec->forever) {
        rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "delete");
        rd_kafka_NewTopic_set_config(topic, "retention.ms", "-1");
        rd_kafka_NewTopic_set_config(topic, "retention.bytes", "-1");
    }
    set_bytes(topic, "max.message.bytes", spec->max_message_bytes);
    set_bytes(topic, "segment.bytes", spec->segment_bytes);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(admin->rk);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(admin->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_AdminOptions_set_request_timeout(options, ADMIN_TIMEOUT_MS, text, sizeof text);
    rd_kafka_AdminOptions_set_operation_timeout(options, ADMIN_TIMEOUT_MS, text, sizeof text);
    rd_kafka_CreateTopics(admin->rk, &topic, 1, options, queue);
    char what[320];
    snprintf(what, sizeof what, "topic %s cannot be made", spec->name);
    rc_status status = RC_OK;
    rd_kafka_event_t *event = wait_event(queue, &status, what, err);
    if (status == RC_OK) {
        size_t n;
        const rd_kafka_topic_result_t **results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
        rd_kafka_resp_err_t code = n ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR_NO_ERROR;
        *created = code == RD_KAFKA_RESP_ERR_NO_ERROR;
        if (code && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            status = rc_client_error(err, code, rd_kafka_topic_result_error_string(results[0]), "%s", what);
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(topic);
    return status;
}

static rc_status create_embedded(struct rc_admin *admin, const struct rc_topic_spec *spec, int32_t partitions,
                                 struct rc_error *err) {
    if (rc_embedded_create_topic(spec->name, partitions))
        return RC_OK;
    /* In another process: a client that may create by asking. */
    rd_kafka_conf_t *conf;
    if (rc_client_conf(admin->config, RC_CLIENT_PRODUCER, "create", &conf, err) != RC_OK)
        return RC_FAIL;
    rd_kafka_t *rk;
    if (rc_client_set(conf, "allow.auto.create.topics", "true", err) != RC_OK) {
        rd_kafka_conf_destroy(conf);
        return RC_FAIL;
    }
    if (rc_client_new(RD_KAFKA_PRODUCER, conf, &rk, err) != RC_OK)
        return RC_FAIL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, spec->name, NULL);
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 0, topic, &metadata, ASK_TIMEOUT_MS);
    if (!code)
        rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(rk);
    return code ? rc_client_error(err, code, NULL, "topic %s cannot be made", spec->name) : RC_OK;
}

/* ---- checking ---- */

static rc_status check_policy(struct rc_admin *admin, const char *topic, struct rc_error *err) {
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(admin->rk);
    char what[320];
    snprintf(what, sizeof what, "the settings of topic %s cannot be read", topic);
    rd_kafka_DescribeConfigs(admin->rk, &resource, 1, NULL, queue);
    rc_status status = RC_OK;
    rd_kafka_event_t *event = wait_event(queue, &status, what, err);
    if (status == RC_OK) {
        size_t n, entries = 0;
        const rd_kafka_ConfigResource_t **results =
            rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &n);
        rd_kafka_resp_err_t code = n ? rd_kafka_ConfigResource_error(results[0]) : RD_KAFKA_RESP_ERR__FAIL;
        if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
            rc_log(RC_LOG_WARN, "cleanup.policy cannot be checked: not allowed", rc_f_str("topic", topic));
        else if (code)
            status =
                rc_client_error(err, code, n ? rd_kafka_ConfigResource_error_string(results[0]) : NULL, "%s", what);
        const rd_kafka_ConfigEntry_t **configs = code ? NULL : rd_kafka_ConfigResource_configs(results[0], &entries);
        for (size_t i = 0; i < entries; i++) {
            const char *value = rd_kafka_ConfigEntry_value(configs[i]);
            if (strcmp(rd_kafka_ConfigEntry_name(configs[i]), "cleanup.policy") == 0 && value &&
                !strstr(value, "compact"))
                status = rc_error_set(
                    err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                    "topic %s has cleanup.policy=%s, but must be compacted, or it forgets; set cleanup.policy=compact "
                    "(kafka-configs --alter), or remove the topic if it holds nothing",
                    topic, value);
        }
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_ConfigResource_destroy(resource);
    return status;
}

rc_status rc_topic_ensure(struct rc_admin *admin, const struct rc_topic_spec *spec, bool *created,
                          struct rc_error *err) {
    int32_t found;
    bool made = false;
    if (rc_topic_partitions(admin, spec->name, ASK_TIMEOUT_MS, &found, err) != RC_OK)
        return RC_FAIL;
    if (found == 0) {
        int32_t wanted = spec->partitions > 0 ? spec->partitions : DEFAULT_PARTITIONS;
        rc_status status =
            admin->embedded ? create_embedded(admin, spec, wanted, err) : create(admin, spec, wanted, &made, err);
        if (status != RC_OK)
            return RC_FAIL;
        int64_t until = rc_clock_monotonic_ms() + ADMIN_TIMEOUT_MS;
        while (found == 0) {
            if (rc_topic_partitions(admin, spec->name, ASK_TIMEOUT_MS, &found, err) != RC_OK)
                return RC_FAIL;
            if (found == 0 && rc_clock_monotonic_ms() > until)
                return rc_client_error(err, RD_KAFKA_RESP_ERR__TIMED_OUT, NULL, "topic %s was made but does not appear",
                                       spec->name);
            if (found == 0)
                rd_kafka_poll(admin->rk, 20);
        }
        if (made)
            rc_log(RC_LOG_INFO, "topic made", rc_f_str("topic", spec->name), rc_f_int("partitions", found));
    }
    if (spec->partitions > 0 && found != spec->partitions)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                            "topic %s has %d partitions, but %d are needed: all topics with person keys have the same "
                            "number, so that partition n "
                            "of each holds the same persons. Make the topic anew with %d, or use another topics.prefix",
                            spec->name, found, spec->partitions, spec->partitions);
    if (spec->compacted && !made && !admin->embedded && check_policy(admin, spec->name, err) != RC_OK)
        return RC_FAIL;
    if (created)
        *created = made;
    return RC_OK;
}

rc_status rc_topics_count(struct rc_admin *admin, const char *const *dataset_topics, size_t n, int32_t *out,
                          struct rc_error *err) {
    int32_t count = 0;
    const char *first = NULL;
    for (size_t i = 0; i < n; i++) {
        int32_t found;
        if (rc_topic_partitions(admin, dataset_topics[i], ASK_TIMEOUT_MS, &found, err) != RC_OK)
            return RC_FAIL;
        if (found > 0 && count > 0 && found != count)
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                                "dataset topics must have the same number of partitions, but %s has %d and %s has %d; "
                                "make one of them anew, or give "
                                "its dataset \"keyed\": false, so that it is re-keyed",
                                first, count, dataset_topics[i], found);
        if (found > 0 && count == 0) {
            count = found;
            first = dataset_topics[i];
        }
    }
    static const char *const own[] = {"segments", "memberships"};
    for (size_t i = 0; count == 0 && i < sizeof own / sizeof own[0]; i++) {
        char *topic = rc_topic_name(admin->config, own[i]);
        rc_status status = rc_topic_partitions(admin, topic, ASK_TIMEOUT_MS, &count, err);
        free(topic);
        if (status != RC_OK)
            return RC_FAIL;
    }
    if (count == 0)
        count = (int32_t)rc_config_int(admin->config, "topics.partitions");
    *out = count > 0 ? count : DEFAULT_PARTITIONS;
    return RC_OK;
}

struct own_topic {
    const char *name;
    int32_t partitions; /* ALL: as many as there are partitions of persons; 0: any number */
    bool compacted, forever;
    int64_t bytes, segment_bytes;
};

static rc_status ensure_own(struct rc_admin *admin, const struct own_topic *own, size_t n, int32_t partitions,
                            struct rc_error *err) {
    for (size_t i = 0; i < n; i++) {
        if (own[i].forever && admin->embedded)
            continue; /* it keeps nothing for ever: the trail beside it is a file (cli/audit.h) */
        char *topic = rc_topic_name(admin->config, own[i].name);
        struct rc_topic_spec spec = {.name = topic,
                                     .partitions = own[i].partitions == ALL ? partitions : own[i].partitions,
                                     .compacted = own[i].compacted,
                                     .forever = own[i].forever,
                                     .max_message_bytes = own[i].bytes,
                                     .segment_bytes = own[i].segment_bytes};
        rc_status status = rc_topic_ensure(admin, &spec, NULL, err);
        free(topic);
        if (status != RC_OK)
            return RC_FAIL;
    }
    return RC_OK;
}

static const struct own_topic own_topics[] = {
    {"definitions", 1, true, false, 0, 0},   {"audit", 1, false, true, AUDIT_BYTES, 0},
    {"segments", ALL, true, false, 0, 0},    {"state", ALL, true, false, STATE_BYTES, STATE_SEGMENT_BYTES},
    {"memberships", ALL, true, false, 0, 0}, {"deadletters", 0, false, false, DEADLETTER_BYTES, 0},
    {"processes", 1, true, false, 0, 0},
};

rc_status rc_topics_ensure_own(struct rc_admin *admin, int32_t partitions, struct rc_error *err) {
    return ensure_own(admin, own_topics, sizeof own_topics / sizeof *own_topics, partitions, err);
}

rc_status rc_topics_ensure_written(struct rc_admin *admin, struct rc_error *err) {
    return ensure_own(admin, own_topics, 2, 0, err);
}
