#include "producers/sender.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "codec/person_key.h"
#include "kafka/embedded.h"
#include "kafka/producer.h"
#include "kafka/topics.h"

#define CHUNK_RECORDS 5000
#define CHUNK_BYTES ((size_t)512 << 10)
#define BROKER_TIMEOUT_MS 10000
#define STOP_GRACE_MS 10000

/* Embedded: a partition holds at most this much that its reader has not committed; the broker trims at RC_EMBEDDED_TRIM_BYTES. The
 * changes that these events will cause need room as well, in partitions of their own, hence the wide margin. */
#define UNREAD_BYTES ((uint64_t)RC_EMBEDDED_TRIM_BYTES / 4)
/* A change's record and its share of a batch's head, rather too much than too little. */
#define CHANGE_BYTES 400
/* What the log format adds to a record of ours. */
#define RECORD_OVERHEAD 70
#define UNREAD_POLL_MS 10
/* Asked after this much, not for each chunk: paced chunks are small, and a question costs a few round trips. */
#define UNREAD_ASK_BYTES (UNREAD_BYTES / 4)

struct rc_sender {
    const struct rc_config *config;
    struct rc_config *found, *tuned; /* owned; what the producer runs with */
    const char *topic;
    const struct rc_stop *stop;
    struct rc_producer *producer;
    int32_t n_partitions;
    size_t chunk_records, chunk_bytes;

    /* embedded */
    struct rc_admin *admin;
    char *groups[2], *topics[2]; /* ingest on the dataset's topic, materialize on segments; owned */
    int64_t *committed;          /* scratch, n_partitions */
    uint64_t sent_records, sent_bytes, bytes_since_asked;
};

static rc_status open_embedded(struct rc_sender *sender, const struct rc_config *config, struct rc_error *err) {
    struct rc_buf group;
    rc_buf_init(&group, 512);
    const char *prefix = rc_config_text(config, "group.prefix");
    (void)!rc_buf_printf(&group, "%s-ingest", prefix);
    sender->groups[0] = rc_strdup(group.data);
    rc_buf_reset(&group);
    (void)!rc_buf_printf(&group, "%s-materialize", prefix);
    sender->groups[1] = rc_strdup(group.data);
    rc_buf_deinit(&group);
    sender->topics[0] = rc_strdup(sender->topic);
    sender->topics[1] = rc_topic_name(config, "segments");
    sender->committed = rc_calloc((size_t)sender->n_partitions, sizeof *sender->committed);
    return rc_admin_open(config, &sender->admin, err);
}

rc_status rc_sender_open(const struct rc_sender_options *options, struct rc_sender **out, struct rc_error *err) {
    struct rc_sender *sender = rc_calloc(1, sizeof *sender);
    sender->topic = options->topic;
    sender->stop = options->stop;
    const struct rc_config *config = options->config;
    if (!rc_embedded_used(config) && rc_embedded_find(config, &sender->found))
        config = sender->found;
    bool embedded = rc_embedded_used(config);
    sender->config = config;
    /* Longer than a chunk takes to make: only the flush sends, or a full batch. */
    rc_status status = rc_config_with(config, "kafka.linger.ms", "1000", true, &sender->tuned, err);
    struct rc_producer_options producer = {.name = "produce", .wake_fd = -1};
    if (status == RC_OK)
        status = rc_producer_open(sender->tuned, &producer, &sender->producer, err);
    if (status == RC_OK)
        status = rc_producer_partitions(sender->producer, sender->topic, BROKER_TIMEOUT_MS, &sender->n_partitions, err);
    if (status == RC_OK && embedded)
        status = open_embedded(sender, config, err);
    if (status != RC_OK) {
        rc_sender_close(sender);
        return status;
    }
    *out = sender;
    return RC_OK;
}

void rc_sender_close(struct rc_sender *sender) {
    if (!sender)
        return;
    if (sender->producer)
        rc_producer_close(sender->producer);
    if (sender->admin)
        rc_admin_close(sender->admin);
    for (size_t i = 0; i < 2; i++) {
        free(sender->groups[i]);
        free(sender->topics[i]);
    }
    free(sender->committed);
    rc_config_free(sender->tuned);
    rc_config_free(sender->found);
    free(sender);
}

rc_status rc_sender_send(struct rc_sender *sender, struct rc_span key, struct rc_span value, struct rc_error *err) {
    while (rc_producer_full(sender->producer)) {
        if (rc_stop_requested(sender->stop))
            return rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE,
                                "stopped while the broker took no more records");
        if (rc_producer_poll(sender->producer, 100, err) != RC_OK)
            return RC_FAIL;
    }
    struct rc_outgoing record = {.topic = sender->topic,
                                 .partition = rc_person_key_partition(key, sender->n_partitions),
                                 .key = key,
                                 .value = value,
                                 .timestamp_ms = RC_NO_TIMESTAMP};
    if (rc_producer_send(sender->producer, &record, err) != RC_OK)
        return RC_FAIL;
    sender->chunk_records++;
    sender->chunk_bytes += key.len + value.len + RECORD_OVERHEAD;
    return RC_OK;
}

bool rc_sender_wants_flush(const struct rc_sender *sender) {
    return sender->chunk_records >= CHUNK_RECORDS || sender->chunk_bytes >= CHUNK_BYTES;
}

/* The greatest number of bytes, about, that some reader of the way has not committed in one partition. */
static rc_status unread(struct rc_sender *sender, uint64_t *out, struct rc_error *err) {
    uint64_t most = 0;
    for (size_t t = 0; t < 2; t++) {
        uint64_t each = t ? CHANGE_BYTES : sender->sent_bytes / (sender->sent_records ? sender->sent_records : 1);
        if (rc_admin_committed(sender->admin, sender->groups[t], sender->topics[t], sender->n_partitions,
                               sender->committed, err) != RC_OK)
            return RC_FAIL;
        for (int32_t p = 0; p < sender->n_partitions; p++) {
            int64_t low, high;
            if (rc_admin_bounds(sender->admin, sender->topics[t], p, BROKER_TIMEOUT_MS, &low, &high, err) != RC_OK)
                return RC_FAIL;
            /* Nothing committed yet: the reader has not come so far, everything is unread. */
            int64_t from = sender->committed[p] < 0 ? low : sender->committed[p];
            uint64_t bytes = high > from ? (uint64_t)(high - from) * each : 0;
            if (bytes > most)
                most = bytes;
        }
    }
    *out = most;
    return RC_OK;
}

static rc_status wait_for_readers(struct rc_sender *sender, struct rc_error *err) {
    while (!rc_stop_requested(sender->stop)) {
        uint64_t bytes;
        if (unread(sender, &bytes, err) != RC_OK) {
            if (err->class != RC_CLASS_RETRY)
                return RC_FAIL;
            rc_log_limited(RC_LOG_WARN, "cannot see how far the consumers are", rc_f_err(err));
        } else if (bytes < UNREAD_BYTES) {
            return RC_OK;
        }
        (void)rc_stop_wait(sender->stop, UNREAD_POLL_MS);
    }
    return RC_OK;
}

rc_status rc_sender_flush(struct rc_sender *sender, struct rc_error *err) {
    int64_t give_up_ms = INT64_MAX;
    while (rc_producer_outstanding(sender->producer) > 0) {
        if (rc_producer_flush(sender->producer, 1000, err) != RC_OK && err->class != RC_CLASS_RETRY)
            return RC_FAIL;
        if (rc_producer_outstanding(sender->producer) == 0)
            break;
        if (rc_stop_requested(sender->stop)) {
            int64_t now = rc_clock_monotonic_ms();
            if (give_up_ms == INT64_MAX)
                give_up_ms = now + STOP_GRACE_MS;
            else if (now >= give_up_ms)
                return rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE,
                                    "stopped while %zu records were not acknowledged by %s",
                                    rc_producer_outstanding(sender->producer), sender->topic);
        }
    }
    sender->sent_records += sender->chunk_records;
    sender->sent_bytes += sender->chunk_bytes;
    sender->bytes_since_asked += sender->chunk_bytes;
    sender->chunk_records = sender->chunk_bytes = 0;
    if (!sender->admin || sender->bytes_since_asked < UNREAD_ASK_BYTES)
        return RC_OK;
    sender->bytes_since_asked = 0;
    return wait_for_readers(sender, err);
}

uint64_t rc_sender_acked(const struct rc_sender *sender) {
    return rc_producer_acked(sender->producer);
}
