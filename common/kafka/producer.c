/* The producer. See producer.h.
 *
 * Marks: each record belongs to the generation that was open when it was sent; rc_producer_mark closes one and opens
 * the next. A mark has passed when no generation up to it has a record outstanding. Delivery reports carry their
 * generation, so acknowledgements may come in any order over partitions. */
#include "kafka/producer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "kafka/internal.h"
#include "kafka/source_internal.h"

#define ABORT_TIMEOUT_MS 3000

/* Outstanding records at which callers are asked to stop; librdkafka's own queue takes some more. */
#define FULL_AT 80000

/* A producer has two clients, for records that are awaited and for many that are not; the second is there from its first use on. What a client
 * sends is in order with itself alone, so another takes over when nothing is under way. */
enum kind { LIVE, BULK, KINDS };

struct topic {
    char *name; /* owned */
    rd_kafka_topic_t *handles[KINDS];
    int32_t partitions; /* 0: not asked yet */
    int64_t *ends;      /* per partition, −1: none; owned */
    int32_t n_ends;
};

/* The live client gets no more while more than CROWD records are under way, and then at most BURST at a time. librdkafka 2.0.2 sends nothing more of
 * an idempotent producer to a partition in which five records or more are unanswered, and while any wait whose linger is over its thread spins; with a
 * linger of 0 that is at once. Who sends little never meets the limit: each record goes at once. */
#define CROWD 32
#define BURST 20000
#define WAITING_MAX_BYTES ((size_t)32 << 20)
/* From this size on a record goes at once, and what waits before it: if it is too large its sender is told. */
#define LARGE_BYTES ((size_t)64 << 10)

/* A record that waits until librdkafka has less under way, or room in its queue. */
struct waiting {
    struct waiting *next;
    size_t topic;
    int32_t partition;
    uint64_t generation;
    bool null_key, null_value;
    size_t key_len, value_len;
    int64_t timestamp_ms;
    rd_kafka_headers_t *headers; /* owned; may be NULL */
    char bytes[];                /* key, value */
};

/* In bulk a partition's records are answered before the next ones are due. */
#define BULK_LINGER_MS "25"

struct rc_producer {
    rd_kafka_t *clients[KINDS]; /* BULK: NULL until it is used */
    rd_kafka_conf_t *bulk_conf; /* owned; until then */
    enum kind kind, wanted;
    char *name;
    rc_refused_fn refused;
    void *ctx;
    int wake_fd;
    struct topic *topics;
    size_t n_topics, topic_capacity;
    struct waiting *first, **last;
    size_t n_waiting, waiting_bytes;
    bool no_room; /* librdkafka's own queue was full */
    /* Outstanding records of generation base + i; the last one is open. */
    size_t *open;
    size_t n_open, open_capacity;
    uint64_t base;
    size_t outstanding;
    uint64_t acked;
    bool failed;
    struct rc_error failure;
    bool transactional;
    enum { CLOSED, OPEN, OFFSETS_SENT } transaction;
};

static void fail(struct rc_producer *producer, const struct rc_error *err) {
    if (producer->failed)
        return;
    producer->failed = true;
    producer->failure = *err;
}

/* ---- generations ---- */

static uint64_t current(const struct rc_producer *producer) {
    return producer->base + producer->n_open - 1;
}

static void close_passed(struct rc_producer *producer) {
    size_t done = 0;
    while (done + 1 < producer->n_open && producer->open[done] == 0)
        done++;
    if (done == 0)
        return;
    memmove(producer->open, producer->open + done, (producer->n_open - done) * sizeof *producer->open);
    producer->n_open -= done;
    producer->base += done;
}

static void done_one(struct rc_producer *producer, uint64_t generation) {
    producer->outstanding--;
    producer->open[generation - producer->base]--;
    close_passed(producer);
}

uint64_t rc_producer_mark(struct rc_producer *producer) {
    uint64_t mark = current(producer);
    rc_grow(&producer->open, &producer->open_capacity, producer->n_open + 1, sizeof *producer->open);
    producer->open[producer->n_open++] = 0;
    close_passed(producer);
    return mark;
}

bool rc_producer_passed(const struct rc_producer *producer, uint64_t mark) {
    return mark < producer->base;
}

/* ---- delivery ---- */

static struct topic *topic_of(struct rc_producer *producer, const rd_kafka_topic_t *handle) {
    for (size_t i = 0; i < producer->n_topics; i++)
        if (producer->topics[i].handles[LIVE] == handle || producer->topics[i].handles[BULK] == handle)
            return &producer->topics[i];
    return NULL;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
    struct rc_producer *producer = opaque;
    done_one(producer, (uint64_t)(uintptr_t)message->_private);
    if (!message->err) {
        producer->acked++;
        struct topic *topic = topic_of(producer, message->rkt);
        if (topic && message->partition >= 0) {
            if (message->partition >= topic->n_ends) {
                topic->ends = rc_realloc(topic->ends, ((size_t)message->partition + 1) * sizeof *topic->ends);
                while (topic->n_ends <= message->partition)
                    topic->ends[topic->n_ends++] = -1;
            }
            if (message->offset >= topic->ends[message->partition])
                topic->ends[message->partition] = message->offset + 1;
        }
        return;
    }
    struct rc_error err;
    const char *topic_name = rd_kafka_topic_name(message->rkt);
    char text[512];
    rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(rk, text, sizeof text);
    if (fatal) {
        rc_client_error(&err, fatal, text, "%s: the producer is broken", producer->name);
        if (err.class != RC_CLASS_FENCED)
            err.class = RC_CLASS_FATAL;
        fail(producer, &err);
        return;
    }
    rc_client_error(&err, message->err, NULL, "%s: a record for %s [%d] (key of %zu bytes, value of %zu) was not taken",
                    producer->name, topic_name, message->partition, message->key_len, message->len);
    if (err.class == RC_CLASS_POISON && producer->refused &&
        producer->refused(producer->ctx, topic_name, message->partition, rc_span_of(message->key, message->key_len),
                          rc_span_of(message->payload, message->len), &err))
        return;
    /* It is lost to this producer. The next start repeats it from the last checkpoint. */
    if (err.class == RC_CLASS_RETRY)
        err.class = producer->transactional ? RC_CLASS_FENCED : RC_CLASS_FATAL;
    fail(producer, &err);
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque) {
    struct rc_producer *producer = opaque;
    if (code != RD_KAFKA_RESP_ERR__FATAL) {
        rc_log_limited(RC_LOG_WARN, "broker error", rc_f_str("producer", producer->name), rc_f_str("err", reason));
        return;
    }
    char text[512];
    rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(rk, text, sizeof text);
    struct rc_error err;
    rc_client_error(&err, fatal, text, "%s: the producer is broken", producer->name);
    if (err.class != RC_CLASS_FENCED)
        err.class = RC_CLASS_FATAL;
    fail(producer, &err);
}

/* ---- life ---- */

/* Takes `conf`. */
static rc_status open_client(struct rc_producer *producer, enum kind kind, rd_kafka_conf_t *conf,
                             struct rc_error *err) {
    if (rc_client_new(RD_KAFKA_PRODUCER, conf, &producer->clients[kind], err) != RC_OK)
        return RC_FAIL;
    if (producer->wake_fd >= 0) {
        static const uint64_t one = 1;
        rd_kafka_queue_t *queue = rd_kafka_queue_get_main(producer->clients[kind]);
        rd_kafka_queue_io_event_enable(queue, producer->wake_fd, &one, sizeof one);
        rd_kafka_queue_destroy(queue);
    }
    return RC_OK;
}

/* A record lives no longer than its transaction does. */
static rc_status set_transactional(rd_kafka_conf_t *conf, const char *id, struct rc_error *err) {
    char timeout[32];
    size_t size = sizeof timeout;
    if (rd_kafka_conf_get(conf, "transaction.timeout.ms", timeout, &size) != RD_KAFKA_CONF_OK)
        snprintf(timeout, sizeof timeout, "10000");
    return rc_client_set(conf, "transactional.id", id, err) != RC_OK
               ? RC_FAIL
               : rc_client_set(conf, "message.timeout.ms", timeout, err);
}

rc_status rc_producer_open(const struct rc_config *config, const struct rc_producer_options *options,
                           struct rc_producer **out, struct rc_error *err) {
    rd_kafka_conf_t *conf;
    if (rc_client_conf(config, RC_CLIENT_PRODUCER, options->name, &conf, err) != RC_OK)
        return RC_FAIL;
    char bytes[32];
    snprintf(bytes, sizeof bytes, "%zu",
             options->max_record_bytes ? options->max_record_bytes : ((size_t)1 << 20) + ((size_t)1 << 16));
    if (rc_client_set(conf, "message.max.bytes", bytes, err) != RC_OK ||
        (options->transaction && set_transactional(conf, options->transaction, err) != RC_OK)) {
        rd_kafka_conf_destroy(conf);
        return RC_FAIL;
    }
    struct rc_producer *producer = rc_calloc(1, sizeof *producer);
    producer->name = rc_strdup(options->name);
    producer->refused = options->refused;
    producer->ctx = options->ctx;
    producer->wake_fd = options->wake_fd;
    producer->last = &producer->first;
    rc_grow(&producer->open, &producer->open_capacity, 1, sizeof *producer->open);
    producer->open[0] = 0;
    producer->n_open = 1;
    producer->transactional = options->transaction != NULL;
    rd_kafka_conf_set_opaque(conf, producer);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_error_cb(conf, on_error);
    if (!producer->transactional)
        producer->bulk_conf = rd_kafka_conf_dup(conf);
    if (open_client(producer, LIVE, conf, err) != RC_OK) {
        if (producer->bulk_conf)
            rd_kafka_conf_destroy(producer->bulk_conf);
        free(producer->open);
        free(producer->name);
        free(producer);
        return RC_FAIL;
    }
    *out = producer;
    return RC_OK;
}

static void close_client(const struct rc_producer *producer, enum kind kind) {
    rd_kafka_t *rk = producer->clients[kind];
    if (!rk)
        return;
    if (producer->wake_fd >= 0) {
        rd_kafka_queue_t *queue = rd_kafka_queue_get_main(rk);
        rd_kafka_queue_io_event_enable(queue, -1, NULL, 0);
        rd_kafka_queue_destroy(queue);
    }
    rd_kafka_purge(rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(rk, 1000);
    for (size_t i = 0; i < producer->n_topics; i++)
        if (producer->topics[i].handles[kind])
            rd_kafka_topic_destroy(producer->topics[i].handles[kind]);
    rd_kafka_destroy(rk);
}

void rc_producer_close(struct rc_producer *producer) {
    if (!producer)
        return;
    producer->refused = NULL;
    /* Readers wait for a transaction that is left open, so it is not left to time out. */
    if (producer->transaction != CLOSED) {
        rd_kafka_error_t *error = rd_kafka_abort_transaction(producer->clients[LIVE], ABORT_TIMEOUT_MS);
        if (error)
            rd_kafka_error_destroy(error);
    }
    close_client(producer, LIVE);
    close_client(producer, BULK);
    if (producer->bulk_conf)
        rd_kafka_conf_destroy(producer->bulk_conf);
    while (producer->first) {
        struct waiting *record = producer->first;
        producer->first = record->next;
        if (record->headers)
            rd_kafka_headers_destroy(record->headers);
        free(record);
    }
    for (size_t i = 0; i < producer->n_topics; i++) {
        free(producer->topics[i].name);
        free(producer->topics[i].ends);
    }
    free(producer->topics);
    free(producer->open);
    free(producer->name);
    free(producer);
}

/* ---- transactions ---- */

/* Takes `error`. What the transaction does not survive is FENCED: begin again. */
static rc_status transaction_error(struct rc_producer *producer, rd_kafka_error_t *error, const char *what,
                                   struct rc_error *err) {
    if (!error)
        return RC_OK;
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    bool again = rd_kafka_error_is_retriable(error) && !rd_kafka_error_txn_requires_abort(error);
    rc_client_error(err, code, rd_kafka_error_string(error), "%s: %s", producer->name, what);
    rd_kafka_error_destroy(error);
    if (again) {
        err->class = RC_CLASS_RETRY;
        return RC_FAIL;
    }
    if (err->class != RC_CLASS_FATAL || code == RD_KAFKA_RESP_ERR__FATAL ||
        code == RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER)
        err->class = RC_CLASS_FENCED;
    fail(producer, err);
    return RC_FAIL;
}

static rc_status begin(struct rc_producer *producer, struct rc_error *err) {
    if (!producer->transactional || producer->transaction != CLOSED)
        return RC_OK;
    if (transaction_error(producer, rd_kafka_begin_transaction(producer->clients[LIVE]), "no transaction can be begun",
                          err) != RC_OK)
        return RC_FAIL;
    producer->transaction = OPEN;
    return RC_OK;
}

rc_status rc_producer_init(struct rc_producer *producer, int timeout_ms, struct rc_error *err) {
    return transaction_error(producer, rd_kafka_init_transactions(producer->clients[LIVE], timeout_ms),
                             "no transactions can be had yet", err);
}

bool rc_producer_uncommitted(const struct rc_producer *producer) {
    return producer->transaction != CLOSED;
}

static rc_status send_offsets(struct rc_producer *producer, const struct rc_kafka_source *source,
                              const struct rc_offset *offsets, size_t n, int timeout_ms, struct rc_error *err) {
    rd_kafka_topic_partition_list_t *list = rc_source_offsets(offsets, n, true);
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(source->rk);
    rd_kafka_error_t *error =
        list->cnt ? rd_kafka_send_offsets_to_transaction(producer->clients[LIVE], list, group, timeout_ms) : NULL;
    if (group)
        rd_kafka_consumer_group_metadata_destroy(group);
    rd_kafka_topic_partition_list_destroy(list);
    return transaction_error(producer, error, "the offsets of a transaction are refused", err);
}

rc_status rc_producer_commit(struct rc_producer *producer, const struct rc_kafka_source *source,
                             const struct rc_offset *offsets, size_t n, int timeout_ms, struct rc_error *err) {
    if (producer->failed) {
        *err = producer->failure;
        return RC_FAIL;
    }
    if (producer->transaction == CLOSED && n == 0)
        return RC_OK;
    if (begin(producer, err) != RC_OK || rc_producer_flush(producer, timeout_ms, err) != RC_OK)
        return RC_FAIL;
    if (producer->transaction == OPEN) {
        if (n && send_offsets(producer, source, offsets, n, timeout_ms, err) != RC_OK)
            return RC_FAIL;
        producer->transaction = OFFSETS_SENT;
    }
    if (transaction_error(producer, rd_kafka_commit_transaction(producer->clients[LIVE], timeout_ms),
                          "a transaction was not committed", err) != RC_OK)
        return RC_FAIL;
    producer->transaction = CLOSED;
    return RC_OK;
}

/* ---- sending ---- */

static rc_status find_topic(struct rc_producer *producer, const char *name, size_t *out, struct rc_error *err) {
    for (size_t i = 0; i < producer->n_topics; i++)
        if (strcmp(producer->topics[i].name, name) == 0) {
            *out = i;
            return RC_OK;
        }
    rd_kafka_topic_t *handle = rd_kafka_topic_new(producer->clients[LIVE], name, NULL);
    if (!handle)
        return rc_client_error(err, rd_kafka_last_error(), NULL, "%s: topic %s cannot be used", producer->name, name);
    rc_grow(&producer->topics, &producer->topic_capacity, producer->n_topics + 1, sizeof *producer->topics);
    producer->topics[producer->n_topics] = (struct topic){.name = rc_strdup(name), .handles = {handle}};
    *out = producer->n_topics++;
    return RC_OK;
}

/* One call to librdkafka. On failure `headers` stay the caller's. */
static rd_kafka_resp_err_t hand_over(struct rc_producer *producer, struct topic *topic, int32_t partition,
                                     const void *key, size_t key_len, const void *value, size_t value_len,
                                     int64_t timestamp_ms, rd_kafka_headers_t *headers, uint64_t generation) {
    rd_kafka_topic_t **handle = &topic->handles[producer->kind];
    if (!*handle) /* the live client has checked the name */
        *handle = rd_kafka_topic_new(producer->clients[producer->kind], topic->name, NULL);
    if (!*handle)
        return rd_kafka_last_error();
    rd_kafka_vu_t arguments[8];
    size_t n = 0;
    arguments[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = *handle};
    arguments[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition};
    arguments[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY};
    arguments[n++] =
        (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {.ptr = (void *)(uintptr_t)key, .size = key_len}};
    arguments[n++] =
        (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {.ptr = (void *)(uintptr_t)value, .size = value_len}};
    arguments[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)generation};
    if (timestamp_ms != RC_NO_TIMESTAMP)
        arguments[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = timestamp_ms};
    if (headers)
        arguments[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers};
    rd_kafka_error_t *error = rd_kafka_produceva(producer->clients[producer->kind], arguments, n);
    if (!error)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    rd_kafka_error_destroy(error);
    return code;
}

static rd_kafka_headers_t *make_headers(const struct rc_header *headers, size_t n) {
    if (n == 0)
        return NULL;
    rd_kafka_headers_t *made = rd_kafka_headers_new(n);
    for (size_t i = 0; i < n; i++)
        rd_kafka_header_add(made, headers[i].name.data, (ssize_t)headers[i].name.len, headers[i].value.data,
                            (ssize_t)headers[i].value.len);
    return made;
}

static void keep(struct rc_producer *producer, size_t topic, const struct rc_outgoing *record,
                 rd_kafka_headers_t *headers) {
    struct waiting *waiting = rc_alloc(sizeof *waiting + record->key.len + record->value.len);
    *waiting = (struct waiting){
        .topic = topic,
        .partition = record->partition,
        .generation = current(producer),
        .null_key = record->null_key,
        .null_value = record->null_value,
        .key_len = record->key.len,
        .value_len = record->value.len,
        .timestamp_ms = record->timestamp_ms,
        .headers = headers,
    };
    if (record->key.len)
        memcpy(waiting->bytes, record->key.data, record->key.len);
    if (record->value.len)
        memcpy(waiting->bytes + record->key.len, record->value.data, record->value.len);
    *producer->last = waiting;
    producer->last = &waiting->next;
    producer->n_waiting++;
    producer->waiting_bytes += record->key.len + record->value.len;
}

static size_t under_way(const struct rc_producer *producer) {
    return producer->outstanding - producer->n_waiting;
}

/* librdkafka tells an empty key from none by the pointer. */
static const void *pointer(bool null, const char *data) {
    return null ? NULL : data ? data : "";
}

/* Whether records may be handed over now. */
static bool may_go(struct rc_producer *producer) {
    if (producer->kind != producer->wanted && under_way(producer) == 0)
        producer->kind = producer->wanted;
    return producer->kind == producer->wanted && (producer->kind == BULK || under_way(producer) < CROWD);
}

/* Moves what waits, as far as there is room: when little is under way, or all of it (`all`: somebody waits for it). */
static void move_waiting(struct rc_producer *producer, bool all) {
    if (!may_go(producer) && !all)
        return;
    for (size_t moved = 0; producer->first && (all || moved < BURST); moved++) {
        struct waiting *record = producer->first;
        rd_kafka_resp_err_t code = hand_over(
            producer, &producer->topics[record->topic], record->partition, record->null_key ? NULL : record->bytes,
            record->null_key ? 0 : record->key_len, record->null_value ? NULL : record->bytes + record->key_len,
            record->null_value ? 0 : record->value_len, record->timestamp_ms, record->headers, record->generation);
        producer->no_room = code == RD_KAFKA_RESP_ERR__QUEUE_FULL;
        if (producer->no_room)
            return;
        if (code) {
            struct rc_error err;
            rc_client_error(&err, code, NULL, "%s: a record of %zu bytes for %s [%d] cannot be sent", producer->name,
                            record->key_len + record->value_len, producer->topics[record->topic].name,
                            record->partition);
            bool dealt = err.class == RC_CLASS_POISON && producer->refused &&
                         producer->refused(producer->ctx, producer->topics[record->topic].name, record->partition,
                                           rc_span_of(record->bytes, record->key_len),
                                           rc_span_of(record->bytes + record->key_len, record->value_len), &err);
            if (!dealt) {
                if (err.class == RC_CLASS_RETRY)
                    err.class = RC_CLASS_FATAL;
                fail(producer, &err);
                return;
            }
            done_one(producer, record->generation);
            if (record->headers)
                rd_kafka_headers_destroy(record->headers);
        }
        producer->first = record->next;
        if (!producer->first)
            producer->last = &producer->first;
        producer->n_waiting--;
        producer->waiting_bytes -= record->key_len + record->value_len;
        free(record);
    }
}

rc_status rc_producer_send(struct rc_producer *producer, const struct rc_outgoing *record, struct rc_error *err) {
    if (producer->failed) {
        *err = producer->failure;
        return RC_FAIL;
    }
    size_t index;
    if (find_topic(producer, record->topic, &index, err) != RC_OK || begin(producer, err) != RC_OK)
        return RC_FAIL;
    struct topic *topic = &producer->topics[index];
    rd_kafka_headers_t *headers = make_headers(record->headers, record->n_headers);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__QUEUE_FULL;
    bool large = record->key.len + record->value.len >= LARGE_BYTES;
    if (large && producer->first)
        move_waiting(producer, true);
    if (!producer->first && (may_go(producer) || large)) {
        code = hand_over(producer, topic, record->partition, pointer(record->null_key, record->key.data),
                         record->null_key ? 0 : record->key.len, pointer(record->null_value, record->value.data),
                         record->null_value ? 0 : record->value.len, record->timestamp_ms, headers, current(producer));
        producer->no_room = code == RD_KAFKA_RESP_ERR__QUEUE_FULL;
    }
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        keep(producer, index, record, headers);
    else if (code) {
        if (headers)
            rd_kafka_headers_destroy(headers);
        char text[512];
        rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(producer->clients[producer->kind], text, sizeof text);
        rc_client_error(err, fatal ? fatal : code, fatal ? text : NULL,
                        "%s: a record of %zu bytes for %s [%d] cannot be sent", producer->name,
                        record->key.len + record->value.len, record->topic, record->partition);
        if (fatal) {
            if (err->class != RC_CLASS_FENCED)
                err->class = RC_CLASS_FATAL;
            fail(producer, err);
        } else if (code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC) {
            err->class = RC_CLASS_POISON;
        }
        return RC_FAIL;
    }
    producer->outstanding++;
    producer->open[producer->n_open - 1]++;
    return RC_OK;
}

bool rc_producer_full(const struct rc_producer *producer) {
    return producer->no_room || producer->outstanding >= FULL_AT || producer->waiting_bytes >= WAITING_MAX_BYTES;
}

rc_status rc_producer_poll(struct rc_producer *producer, int timeout_ms, struct rc_error *err) {
    rd_kafka_poll(producer->clients[producer->kind], timeout_ms);
    rd_kafka_t *other = producer->clients[producer->kind == LIVE ? BULK : LIVE];
    if (other) /* it has no reports, but may have lost its connection */
        rd_kafka_poll(other, 0);
    if (!producer->failed)
        move_waiting(producer, false);
    if (!producer->failed)
        return RC_OK;
    *err = producer->failure;
    return RC_FAIL;
}

/* Opens the second client; its records go out all the same when it cannot be had. */
static bool open_bulk(struct rc_producer *producer) {
    rd_kafka_conf_t *conf = producer->bulk_conf;
    producer->bulk_conf = NULL;
    if (!conf)
        return false; /* transactions; or it was tried before */
    struct rc_error err;
    rc_status status = rc_client_set(conf, "linger.ms", BULK_LINGER_MS, &err);
    if (status != RC_OK)
        rd_kafka_conf_destroy(conf);
    else
        status = open_client(producer, BULK, conf, &err);
    if (status != RC_OK)
        rc_log(RC_LOG_WARN, "no second client for the records of a backlog, which go out with those of live events",
               rc_f_str("producer", producer->name), rc_f_err(&err));
    return status == RC_OK;
}

void rc_producer_set_bulk(struct rc_producer *producer, bool bulk) {
    producer->wanted = bulk && (producer->clients[BULK] || open_bulk(producer)) ? BULK : LIVE;
}

size_t rc_producer_outstanding(const struct rc_producer *producer) {
    return producer->outstanding;
}

uint64_t rc_producer_acked(const struct rc_producer *producer) {
    return producer->acked;
}

rc_status rc_producer_flush(struct rc_producer *producer, int timeout_ms, struct rc_error *err) {
    int64_t until = rc_clock_monotonic_ms() + timeout_ms;
    for (;;) {
        if (rc_producer_poll(producer, 0, err) != RC_OK)
            return RC_FAIL;
        move_waiting(producer, true);
        if (producer->failed)
            continue; /* poll tells */
        if (producer->outstanding == 0)
            return RC_OK;
        int64_t left = until - rc_clock_monotonic_ms();
        if (left <= 0)
            return rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE,
                                "%s: %zu records are not acknowledged after %d ms; do all in-sync replicas run?",
                                producer->name, producer->outstanding, timeout_ms);
        /* rd_kafka_flush also cuts a linger short. */
        rd_kafka_flush(producer->clients[producer->kind], left > 100 ? 100 : (int)left);
    }
}

int64_t rc_producer_end(const struct rc_producer *producer, const char *topic, int32_t partition) {
    for (size_t i = 0; i < producer->n_topics; i++)
        if (strcmp(producer->topics[i].name, topic) == 0)
            return partition < producer->topics[i].n_ends ? producer->topics[i].ends[partition] : -1;
    return -1;
}

rc_status rc_producer_partitions(struct rc_producer *producer, const char *topic, int timeout_ms, int32_t *out,
                                 struct rc_error *err) {
    for (size_t i = 0; i < producer->n_topics; i++)
        if (producer->topics[i].partitions > 0 && strcmp(producer->topics[i].name, topic) == 0) {
            *out = producer->topics[i].partitions;
            return RC_OK;
        }
    /* All topics are listed, because asking for one by name may create it. */
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(producer->clients[LIVE], 1, NULL, &metadata, timeout_ms);
    if (code)
        return rc_client_error(err, code, NULL, "%s: the topics cannot be listed", producer->name);
    int32_t found = 0;
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (strcmp(metadata->topics[i].topic, topic) == 0)
            found = metadata->topics[i].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    if (found == 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE,
                            "there is no topic %s; `rollcall apply` creates the topics of datasets", topic);
    size_t index;
    if (find_topic(producer, topic, &index, err) != RC_OK)
        return RC_FAIL;
    producer->topics[index].partitions = found;
    *out = found;
    return RC_OK;
}
