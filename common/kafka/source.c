/* The consumer: its group, its messages, its commits. See source.h for what it promises; what is known of a partition's end
 * is in source_end.c. */
#include "kafka/source.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/priority.h"
#include "kafka/embedded.h"
#include "kafka/internal.h"
#include "kafka/source_internal.h"

#define COMMIT_TIMEOUT_MS 10000
#define SEEK_TIMEOUT_MS 10000

/* A broken client answers __FATAL to everything; what broke it (mostly that it was fenced) says what to do. */
static rd_kafka_resp_err_t cause_of(const struct rc_kafka_source *source, rd_kafka_resp_err_t code) {
    char text[512];
    return code == RD_KAFKA_RESP_ERR__FATAL ? rd_kafka_fatal_error(source->rk, text, sizeof text) : code;
}

/* ---- entries ---- */

struct rc_source_entry *rc_source_entry(const struct rc_kafka_source *source, const char *topic, int32_t partition) {
    for (size_t i = 0; i < source->n; i++)
        if (source->entries[i].partition == partition && strcmp(source->entries[i].topic, topic) == 0)
            return &source->entries[i];
    return NULL;
}

static struct rc_source_entry *find_message(struct rc_kafka_source *source, const rd_kafka_message_t *message) {
    if (source->last < source->n) {
        struct rc_source_entry *entry = &source->entries[source->last];
        if (entry->partition == message->partition && entry->handle == message->rkt)
            return entry;
    }
    for (size_t i = 0; i < source->n; i++) {
        struct rc_source_entry *entry = &source->entries[i];
        if (entry->partition == message->partition && strcmp(entry->topic, rd_kafka_topic_name(message->rkt)) == 0) {
            entry->handle = message->rkt;
            source->last = i;
            return entry;
        }
    }
    return NULL;
}

static void forget_entry(struct rc_kafka_source *source, const char *topic, int32_t partition) {
    struct rc_source_entry *entry = rc_source_entry(source, topic, partition);
    if (!entry)
        return;
    free(entry->topic);
    *entry = source->entries[--source->n];
    source->last = SIZE_MAX;
}

static void add_entry(struct rc_kafka_source *source, const struct rc_source_partition *partition) {
    forget_entry(source, partition->topic, partition->partition);
    rc_grow(&source->entries, &source->capacity, source->n + 1, sizeof *source->entries);
    source->entries[source->n++] = (struct rc_source_entry){
        .topic = rc_strdup(partition->topic),
        .partition = partition->partition,
        .ctx = partition->ctx,
        .position = partition->start >= 0 ? partition->start : -1,
        .heard_end = -1,
        .known_end = -1,
    };
}

static void forget_all(struct rc_kafka_source *source) {
    while (source->n > 0)
        free(source->entries[--source->n].topic);
    source->last = SIZE_MAX;
}

/* ---- starting offsets ---- */

/* COMMITTED becomes the committed offset, or the beginning when there is none. */
static rc_status resolve_starts(struct rc_kafka_source *source, struct rc_source_partition *partitions, size_t n,
                                struct rc_error *err) {
    rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_new((int)n);
    for (size_t i = 0; i < n; i++)
        if (partitions[i].start == RC_START_COMMITTED)
            rd_kafka_topic_partition_list_add(asked, partitions[i].topic, partitions[i].partition);
    rc_status status = RC_OK;
    if (asked->cnt > 0) {
        rd_kafka_resp_err_t code = rd_kafka_committed(source->rk, asked, COMMIT_TIMEOUT_MS);
        if (code)
            status = rc_client_error(err, cause_of(source, code), NULL, "%s: committed offsets cannot be read",
                                     source->name);
        for (size_t i = 0; status == RC_OK && i < n; i++) {
            rd_kafka_topic_partition_t *found =
                partitions[i].start == RC_START_COMMITTED
                    ? rd_kafka_topic_partition_list_find(asked, partitions[i].topic, partitions[i].partition)
                    : NULL;
            if (!found)
                continue;
            if (found->err)
                status = rc_client_error(err, found->err, NULL, "%s: committed offset of %s [%d] cannot be read",
                                         source->name, partitions[i].topic, partitions[i].partition);
            else
                partitions[i].start = found->offset >= 0 ? found->offset : RC_START_BEGINNING;
        }
    }
    rd_kafka_topic_partition_list_destroy(asked);
    return status;
}

/* BEGINNING becomes the first offset that is there, asked for in one request: librdkafka would ask partition by
 * partition, each time behind a fetch that waits for the partitions that are known already. What cannot be resolved
 * now is left to it. */
static void resolve_beginnings(struct rc_kafka_source *source, struct rc_source_partition *partitions, size_t n) {
    rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_new((int)n);
    for (size_t i = 0; i < n; i++)
        if (partitions[i].start == RC_START_BEGINNING)
            rd_kafka_topic_partition_list_add(asked, partitions[i].topic, partitions[i].partition);
    if (asked->cnt > 0 && rc_ends_beginnings(source->ends, asked) == RD_KAFKA_RESP_ERR_NO_ERROR)
        for (size_t i = 0; i < n; i++) {
            rd_kafka_topic_partition_t *found =
                partitions[i].start == RC_START_BEGINNING
                    ? rd_kafka_topic_partition_list_find(asked, partitions[i].topic, partitions[i].partition)
                    : NULL;
            if (found && !found->err && found->offset >= 0)
                partitions[i].start = found->offset;
        }
    rd_kafka_topic_partition_list_destroy(asked);
}

static int64_t rd_offset(int64_t start) {
    return start == RC_START_BEGINNING ? RD_KAFKA_OFFSET_BEGINNING
           : start == RC_START_END     ? RD_KAFKA_OFFSET_END
                                       : start;
}

/* ---- rebalance ---- */

static void fail(struct rc_kafka_source *source, const struct rc_error *err) {
    if (source->failed)
        return;
    source->failed = true;
    source->failure = *err;
}

static struct rc_source_partition *to_partitions(const rd_kafka_topic_partition_list_t *list,
                                                 struct rc_kafka_source *source) {
    struct rc_source_partition *partitions = rc_calloc((size_t)list->cnt + 1, sizeof *partitions);
    for (int i = 0; i < list->cnt; i++) {
        struct rc_source_entry *entry = rc_source_entry(source, list->elems[i].topic, list->elems[i].partition);
        partitions[i] = (struct rc_source_partition){.topic = list->elems[i].topic,
                                                     .partition = list->elems[i].partition,
                                                     .start = RC_START_COMMITTED,
                                                     .ctx = entry ? entry->ctx : NULL};
    }
    return partitions;
}

/* Gives `list` to librdkafka, starting where the caller says. */
static void on_assigned(struct rc_kafka_source *source, rd_kafka_topic_partition_list_t *list) {
    struct rc_source_partition *partitions = to_partitions(list, source);
    size_t n = (size_t)list->cnt;
    struct rc_error err;
    rc_status status = RC_OK;
    if (source->assigned && !source->closing)
        status = source->assigned(source->ctx, partitions, n, &err);
    if (status == RC_OK)
        status = resolve_starts(source, partitions, n, &err);
    if (status != RC_OK) {
        fail(source, &err);
        rd_kafka_assign(source->rk, NULL);
        free(partitions);
        return;
    }
    resolve_beginnings(source, partitions, n);
    for (size_t i = 0; i < n; i++) {
        list->elems[i].offset = rd_offset(partitions[i].start);
        add_entry(source, &partitions[i]);
    }
    rc_source_new_generation(source);
    rd_kafka_resp_err_t code = rd_kafka_assign(source->rk, list);
    if (code) {
        rc_client_error(&err, cause_of(source, code), NULL, "%s: the group's partitions cannot be taken", source->name);
        fail(source, &err);
    }
    free(partitions);
}

static void on_revoked(struct rc_kafka_source *source, rd_kafka_topic_partition_list_t *list) {
    struct rc_source_partition *partitions = to_partitions(list, source);
    bool lost = rd_kafka_assignment_lost(source->rk);
    if (source->revoked)
        source->revoked(source->ctx, partitions, (size_t)list->cnt, lost);
    /* librdkafka keeps a pause over a rebalance, but the caller's new partition knows nothing of it. */
    rd_kafka_resume_partitions(source->rk, list);
    for (int i = 0; i < list->cnt; i++)
        forget_entry(source, list->elems[i].topic, list->elems[i].partition);
    rc_source_new_generation(source);
    rd_kafka_assign(source->rk, NULL);
    free(partitions);
}

static void rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *opaque) {
    struct rc_kafka_source *source = opaque;
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        on_assigned(source, list);
    } else if (code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        on_revoked(source, list);
    } else {
        rc_log(RC_LOG_ERROR, "rebalance failed", rc_f_str("source", source->name),
               rc_f_str("err", rd_kafka_err2str(code)));
        rd_kafka_assign(rk, NULL);
    }
}

/* ---- alone ---- The embedded broker takes seconds over each change of a group, and holds only this process's
 * consumers: one to a group. So there the member takes all partitions of its topics itself, with the same steps as in
 * a group. */

static void give_all_back(struct rc_kafka_source *source) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)source->n);
    for (size_t i = 0; i < source->n; i++)
        rd_kafka_topic_partition_list_add(list, source->entries[i].topic, source->entries[i].partition);
    if (list->cnt > 0)
        on_revoked(source, list);
    rd_kafka_topic_partition_list_destroy(list);
}

static void take_all(struct rc_kafka_source *source) {
    int64_t now = rc_clock_monotonic_ms();
    if (source->settled || now - source->looked_at_mono_ms < 100)
        return;
    source->looked_at_mono_ms = now;
    const struct rd_kafka_metadata *metadata;
    if (rd_kafka_metadata(source->rk, 1, NULL, &metadata, RC_ENDS_TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    size_t found = 0;
    for (size_t i = 0; i < source->n_topics; i++)
        for (int j = 0; j < metadata->topic_cnt; j++)
            if (strcmp(metadata->topics[j].topic, source->topics[i]) == 0 && metadata->topics[j].partition_cnt > 0) {
                found++;
                rd_kafka_topic_partition_list_add_range(list, source->topics[i], 0,
                                                        metadata->topics[j].partition_cnt - 1);
            }
    rd_kafka_metadata_destroy(metadata);
    source->settled = found == source->n_topics;
    bool changed = (size_t)list->cnt != source->n;
    for (int i = 0; !changed && i < list->cnt; i++)
        changed = !rc_source_entry(source, list->elems[i].topic, list->elems[i].partition);
    if (changed) {
        give_all_back(source);
        on_assigned(source, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

static void subscribe_alone(struct rc_kafka_source *source, const char *const *topics, size_t n) {
    for (size_t i = 0; i < source->n_topics; i++)
        free(source->topics[i]);
    source->topics = rc_realloc(source->topics, (n + 1) * sizeof *source->topics);
    for (size_t i = 0; i < n; i++)
        source->topics[i] = rc_strdup(topics[i]);
    source->n_topics = n;
    source->settled = false;
    source->looked_at_mono_ms = 0;
}

/* ---- life ---- */

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque) {
    struct rc_kafka_source *source = opaque;
    char text[512];
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        rd_kafka_resp_err_t cause = rd_kafka_fatal_error(rk, text, sizeof text);
        struct rc_error err;
        rc_client_error(&err, cause, text, "%s", source->name);
        if (err.class == RC_CLASS_RETRY)
            err.class = RC_CLASS_FATAL;
        fail(source, &err);
        return;
    }
    rc_source_new_generation(source);
    rc_log_limited(RC_LOG_WARN, "broker error", rc_f_str("source", source->name), rc_f_str("err", reason));
}

static void on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *opaque) {
    (void)rk, (void)list;
    const struct rc_kafka_source *source = opaque;
    if (code && code != RD_KAFKA_RESP_ERR__NO_OFFSET)
        rc_log_limited(RC_LOG_WARN, "offsets not committed; the next commit covers them",
                       rc_f_str("source", source->name), rc_f_str("err", rd_kafka_err2str(code)));
}

struct making {
    rd_kafka_conf_t *conf;
    rd_kafka_t **out;
    rc_status status;
    struct rc_error *err;
};

static void *make_standing_back(void *arg) {
    struct making *making = arg;
    rc_priority_stand_back();
    making->status = rc_client_new(RD_KAFKA_CONSUMER, making->conf, making->out, making->err);
    return NULL;
}

/* librdkafka's threads have the priority of the thread that makes the client. */
static rc_status make_client(rd_kafka_conf_t *conf, bool stands_back, rd_kafka_t **out, struct rc_error *err) {
    struct making making = {.conf = conf, .out = out, .status = RC_FAIL, .err = err};
    pthread_t thread;
    if (!stands_back || pthread_create(&thread, NULL, make_standing_back, &making) != 0)
        return rc_client_new(RD_KAFKA_CONSUMER, conf, out, err);
    pthread_join(thread, NULL);
    return making.status;
}

/* When its queue is full librdkafka 2.0.2 stops fetching, and the broker's thread looks again when something wakes it, or after a second. Asking for
 * metadata does wake it. */
#define LOOK_AGAIN_MS "20"

static bool is_set(const struct rc_config *config, const char *name) {
    const char *property, *value;
    for (size_t i = 0; rc_config_kafka(config, i, &property, &value); i++)
        if (strcmp(property, name) == 0)
            return true;
    return false;
}

/* What the user has set stands. */
static rc_status set_eager(const struct rc_config *config, rd_kafka_conf_t *conf, int fetch_bytes,
                           struct rc_error *err) {
    static const char fetch[] = "fetch.message.max.bytes", refresh[] = "topic.metadata.refresh.interval.ms";
    char text[16];
    snprintf(text, sizeof text, "%d", fetch_bytes);
    bool sized = is_set(config, fetch) || is_set(config, "max.partition.fetch.bytes");
    if (!sized && rc_client_set(conf, fetch, text, err) != RC_OK)
        return RC_FAIL;
    return is_set(config, refresh) ? RC_OK : rc_client_set(conf, refresh, LOOK_AGAIN_MS, err);
}

rc_status rc_source_open(const struct rc_config *config, const struct rc_source_options *options,
                         struct rc_kafka_source **out, struct rc_error *err) {
    rd_kafka_conf_t *conf;
    if (rc_client_conf(config, RC_CLIENT_CONSUMER, options->name, &conf, err) != RC_OK)
        return RC_FAIL;
    bool embedded = rc_embedded_used(config);
    const char *instance = options->group && !embedded ? options->instance : NULL;
    /* Without a group a name is needed all the same: librdkafka assigns through its group code. Nothing joins or
     * commits. */
    char reader[256];
    snprintf(reader, sizeof reader, "%s-reader", rc_config_text(config, "group.prefix"));
    char fetch_wait[16];
    snprintf(fetch_wait, sizeof fetch_wait, "%d", options->fetch_wait_ms);
    if (rc_client_set(conf, "group.id", options->group ? options->group : reader, err) != RC_OK ||
        (instance && rc_client_set(conf, "group.instance.id", instance, err) != RC_OK) ||
        (options->fetch_wait_ms > 0 && rc_client_set(conf, "fetch.wait.max.ms", fetch_wait, err) != RC_OK) ||
        (options->fetch_bytes > 0 && set_eager(config, conf, options->fetch_bytes, err) != RC_OK)) {
        rd_kafka_conf_destroy(conf);
        return RC_FAIL;
    }
    struct rc_kafka_source *source = rc_calloc(1, sizeof *source);
    *source = (struct rc_kafka_source){
        .name = rc_strdup(options->name),
        .grouped = options->group != NULL,
        .static_member = instance != NULL,
        .leave = options->leave,
        .assigned = options->assigned,
        .revoked = options->revoked,
        .ctx = options->ctx,
        .wake_fd = options->wake_fd,
        .alone = options->group != NULL && embedded,
        .last = SIZE_MAX,
        .generation = 1,
    };
    rd_kafka_conf_set_opaque(conf, source);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_offset_commit_cb(conf, on_commit);
    if (options->group && !embedded)
        rd_kafka_conf_set_rebalance_cb(conf, rebalance);
    if (make_client(conf, options->stands_back, &source->rk, err) != RC_OK) {
        free(source->name);
        free(source);
        return RC_FAIL;
    }
    rd_kafka_poll_set_consumer(source->rk);
    source->queue = rd_kafka_queue_get_consumer(source->rk);
    if (options->wake_fd >= 0) {
        static const uint64_t one = 1;
        rd_kafka_queue_io_event_enable(source->queue, options->wake_fd, &one, sizeof one);
    }
    if (rc_ends_open(config, options->name, options->wake_fd, &source->ends, err) != RC_OK) {
        rc_source_close(source);
        return RC_FAIL;
    }
    *out = source;
    return RC_OK;
}

/* A named member keeps its place when it closes; to give it up it unsubscribes first (librdkafka sends no LeaveGroup
 * for named members on close). The wait ends when the partitions are given back and the request is out. */
static void leave_group(struct rc_kafka_source *source) {
    if (!source->static_member || !source->leave || !atomic_load(source->leave))
        return;
    rd_kafka_unsubscribe(source->rk);
    int64_t until = rc_clock_monotonic_ms() + 3000;
    while (source->n > 0 && rc_clock_monotonic_ms() < until) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(source->rk, 50);
        if (message)
            rd_kafka_message_destroy(message);
    }
    rd_kafka_message_t *message = rd_kafka_consumer_poll(source->rk, 100);
    if (message)
        rd_kafka_message_destroy(message);
}

void rc_source_close(struct rc_kafka_source *source) {
    if (!source)
        return;
    source->closing = true;
    if (source->alone)
        give_all_back(source);
    else if (source->grouped)
        leave_group(source);
    if (source->wake_fd >= 0)
        rd_kafka_queue_io_event_enable(source->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(source->queue);
    rd_kafka_consumer_close(source->rk);
    rd_kafka_destroy(source->rk);
    rc_ends_close(source->ends);
    forget_all(source);
    for (size_t i = 0; i < source->n_topics; i++)
        free(source->topics[i]);
    free(source->topics);
    free(source->entries);
    free(source->name);
    free(source);
}

rc_status rc_source_subscribe(struct rc_kafka_source *source, const char *const *topics, size_t n,
                              struct rc_error *err) {
    if (source->alone) {
        subscribe_alone(source, topics, n);
        return RC_OK;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    for (size_t i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(list, topics[i], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = n ? rd_kafka_subscribe(source->rk, list) : rd_kafka_unsubscribe(source->rk);
    rd_kafka_topic_partition_list_destroy(list);
    return code ? rc_client_error(err, code, NULL, "%s: cannot subscribe", source->name) : RC_OK;
}

rc_status rc_source_assign(struct rc_kafka_source *source, const struct rc_source_partition *partitions, size_t n,
                           struct rc_error *err) {
    struct rc_source_partition *own = rc_calloc(n + 1, sizeof *own);
    if (n)
        memcpy(own, partitions, n * sizeof *own);
    rc_status status = resolve_starts(source, own, n, err);
    if (status == RC_OK)
        resolve_beginnings(source, own, n);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    if (status == RC_OK) {
        forget_all(source);
        for (size_t i = 0; i < n; i++) {
            rd_kafka_topic_partition_list_add(list, own[i].topic, own[i].partition)->offset = rd_offset(own[i].start);
            add_entry(source, &own[i]);
        }
        rc_source_new_generation(source);
        rd_kafka_resp_err_t code = rd_kafka_assign(source->rk, list);
        if (code)
            status = rc_client_error(err, code, NULL, "%s: cannot read the partitions", source->name);
    }
    rd_kafka_topic_partition_list_destroy(list);
    free(own);
    return status;
}

/* ---- messages ---- */

static enum rc_polled take_error(struct rc_kafka_source *source, rd_kafka_message_t *message, struct rc_error *err) {
    enum rc_polled polled = RC_POLLED_ERROR;
    rd_kafka_resp_err_t code = message->err;
    struct rc_source_entry *entry = message->rkt ? find_message(source, message) : NULL;
    if (code == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (entry && message->offset >= 0) {
            /* Control records and compacted ones at the end have offsets but come to nobody: the end may lie behind
             * the last message. */
            if (message->offset > entry->position)
                entry->position = message->offset;
            if (message->offset > entry->heard_end)
                entry->heard_end = message->offset;
            entry->moved = true;
        }
        polled = RC_POLLED_EVENT;
    } else if (message->rkt) {
        rc_source_new_generation(source);
        rc_client_error(err, code, rd_kafka_message_errstr(message), "%s: reading %s [%d] at offset %lld", source->name,
                        rd_kafka_topic_name(message->rkt), message->partition, (long long)message->offset);
    } else {
        char text[512];
        bool fatal = code == RD_KAFKA_RESP_ERR__FATAL; /* says that there is one; which one must be asked for */
        rd_kafka_resp_err_t cause = fatal ? rd_kafka_fatal_error(source->rk, text, sizeof text) : code;
        rc_source_new_generation(source);
        rc_client_error(err, cause, fatal ? text : rd_kafka_message_errstr(message), "%s", source->name);
        if (fatal && err->class == RC_CLASS_RETRY)
            err->class = RC_CLASS_FATAL;
    }
    rd_kafka_message_destroy(message);
    return polled;
}

enum rc_polled rc_source_poll(struct rc_kafka_source *source, int timeout_ms, struct rc_message *out,
                              struct rc_error *err) {
    rc_source_take_answer(source);
    if (source->alone && !source->settled)
        take_all(source);
    if (source->failed) {
        *err = source->failure;
        return RC_POLLED_ERROR;
    }
    rd_kafka_message_t *message = rd_kafka_consumer_poll(source->rk, timeout_ms);
    if (source->failed) {
        if (message)
            rd_kafka_message_destroy(message);
        *err = source->failure;
        return RC_POLLED_ERROR;
    }
    if (!message) {
        rc_source_note_empty(source);
        return RC_POLLED_NOTHING;
    }
    if (message->err)
        return take_error(source, message, err);
    struct rc_source_entry *entry = find_message(source, message);
    if (!entry) {
        /* Fetched before its partition was given back. */
        rd_kafka_message_destroy(message);
        return RC_POLLED_EVENT;
    }
    entry->position = message->offset + 1;
    entry->moved = true;
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(message, &type);
    *out = (struct rc_message){
        .topic = entry->topic,
        .partition = message->partition,
        .offset = message->offset,
        .timestamp_ms = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || timestamp < 0 ? RC_NO_TIMESTAMP : timestamp,
        .key = rc_span_of(message->key, message->key_len),
        .value = rc_span_of(message->payload, message->len),
        .null_key = message->key == NULL,
        .null_value = message->payload == NULL,
        .ctx = entry->ctx,
        .handle = message,
    };
    return RC_POLLED_MESSAGE;
}

void rc_message_release(struct rc_message *message) {
    if (message->handle)
        rd_kafka_message_destroy(message->handle);
    message->handle = NULL;
}

size_t rc_message_headers(const struct rc_message *message, struct rc_header *out, size_t max) {
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(message->handle, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    size_t n = 0;
    const char *name;
    const void *value;
    size_t len;
    while (rd_kafka_header_get_all(headers, n, &name, &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (n < max)
            out[n] = (struct rc_header){.name = rc_span_str(name), .value = rc_span_of(value, len)};
        n++;
    }
    return n;
}

bool rc_message_header(const struct rc_message *message, const char *name, struct rc_span *out) {
    rd_kafka_headers_t *headers;
    const void *value;
    size_t len;
    if (rd_kafka_message_headers(message->handle, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        rd_kafka_header_get_last(headers, name, &value, &len) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    *out = rc_span_of(value, len);
    return true;
}

static rc_status on_one(struct rc_kafka_source *source, const char *topic, int32_t partition, const char *what,
                        rd_kafka_resp_err_t (*call)(rd_kafka_t *, rd_kafka_topic_partition_list_t *),
                        struct rc_error *err) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition);
    rd_kafka_resp_err_t code = call(source->rk, list);
    if (!code)
        code = list->elems[0].err;
    rd_kafka_topic_partition_list_destroy(list);
    return code ? rc_client_error(err, cause_of(source, code), NULL, "%s: cannot %s %s [%d]", source->name, what, topic,
                                  partition)
                : RC_OK;
}

rc_status rc_source_pause(struct rc_kafka_source *source, const char *topic, int32_t partition, struct rc_error *err) {
    return on_one(source, topic, partition, "pause", rd_kafka_pause_partitions, err);
}

rc_status rc_source_resume(struct rc_kafka_source *source, const char *topic, int32_t partition, struct rc_error *err) {
    return on_one(source, topic, partition, "resume", rd_kafka_resume_partitions, err);
}

rc_status rc_source_seek(struct rc_kafka_source *source, const char *topic, int32_t partition, int64_t offset,
                         struct rc_error *err) {
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    /* librdkafka 2.0.2 waits as many microseconds as it was given milliseconds: ask again, it is the same seek. */
    int64_t until = rc_clock_monotonic_ms() + SEEK_TIMEOUT_MS;
    while (code == RD_KAFKA_RESP_ERR__TIMED_OUT && rc_clock_monotonic_ms() < until) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, topic, partition)->offset = rd_offset(offset);
        rd_kafka_error_t *error = rd_kafka_seek_partitions(source->rk, list, SEEK_TIMEOUT_MS);
        code = error ? rd_kafka_error_code(error) : list->elems[0].err;
        if (error)
            rd_kafka_error_destroy(error);
        rd_kafka_topic_partition_list_destroy(list);
    }
    if (code)
        return rc_client_error(err, code, NULL, "%s: cannot go to offset %lld of %s [%d]", source->name,
                               (long long)offset, topic, partition);
    struct rc_source_entry *entry = rc_source_entry(source, topic, partition);
    if (entry) {
        entry->position = offset >= 0 ? offset : -1;
        entry->known_end = -1;
    }
    return RC_OK;
}

/* ---- commits ---- */

rd_kafka_topic_partition_list_t *rc_source_offsets(const struct rc_offset *offsets, size_t n, bool skip_none) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    for (size_t i = 0; i < n; i++) {
        if (skip_none && offsets[i].offset < 0)
            continue;
        rd_kafka_topic_partition_t *one =
            rd_kafka_topic_partition_list_add(list, offsets[i].topic, offsets[i].partition);
        one->offset = offsets[i].offset;
        if (skip_none && offsets[i].metadata) {
            one->metadata = rc_strdup(offsets[i].metadata);
            one->metadata_size = strlen(offsets[i].metadata);
        }
    }
    return list;
}

rc_status rc_source_commit(struct rc_kafka_source *source, const struct rc_offset *offsets, size_t n, bool wait,
                           struct rc_error *err) {
    /* librdkafka would keep the request until the broker is back. After a session's time without a broker it takes another
     * member id, and the kept request, still under the old one, would then be answered with FENCED_INSTANCE_ID, which breaks
     * the client for good. */
    if (!wait && source->outage_mono_ms > 0) {
        on_commit(source->rk, RD_KAFKA_RESP_ERR__WAIT_COORD, NULL, source);
        return RC_OK;
    }
    rd_kafka_topic_partition_list_t *list = rc_source_offsets(offsets, n, true);
    rd_kafka_resp_err_t code = list->cnt ? rd_kafka_commit(source->rk, list, !wait) : RD_KAFKA_RESP_ERR_NO_ERROR;
    rc_status status = RC_OK;
    if (code)
        status = rc_client_error(err, cause_of(source, code), NULL, "%s: cannot commit offsets", source->name);
    for (int i = 0; wait && status == RC_OK && i < list->cnt; i++)
        if (list->elems[i].err)
            status = rc_client_error(err, list->elems[i].err, NULL, "%s: cannot commit the offset of %s [%d]",
                                     source->name, list->elems[i].topic, list->elems[i].partition);
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

rc_status rc_source_committed(struct rc_kafka_source *source, struct rc_offset *offsets, size_t n,
                              struct rc_error *err) {
    rd_kafka_topic_partition_list_t *list = rc_source_offsets(offsets, n, false);
    rd_kafka_resp_err_t code = rd_kafka_committed(source->rk, list, COMMIT_TIMEOUT_MS);
    rc_status status = RC_OK;
    if (code)
        status =
            rc_client_error(err, cause_of(source, code), NULL, "%s: committed offsets cannot be read", source->name);
    for (int i = 0; status == RC_OK && i < list->cnt; i++)
        if (list->elems[i].err)
            status = rc_client_error(err, list->elems[i].err, NULL, "%s: committed offset of %s [%d] cannot be read",
                                     source->name, list->elems[i].topic, list->elems[i].partition);
    for (size_t i = 0; status == RC_OK && i < n; i++) {
        const rd_kafka_topic_partition_t *one = &list->elems[i];
        offsets[i].offset = one->offset >= 0 ? one->offset : -1;
        offsets[i].metadata = one->metadata_size ? rc_span_dup(rc_span_of(one->metadata, one->metadata_size)) : NULL;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}
