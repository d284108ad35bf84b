#include "producers/sender.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "codec/origin.h"
#include "codec/person_key.h"
#include "kafka/embedded.h"
#include "kafka/producer.h"
#include "kafka/topics.h"

#define CHUNK_RECORDS 5000
#define CHUNK_BYTES ((size_t)512 << 10)
#define BROKER_TIMEOUT_MS 10000
#define STOP_GRACE_MS 10000

/* Embedded: what a reader has not committed in one partition stays below this; the broker trims at RC_EMBEDDED_TRIM_BYTES, committed or not.
 * The dataset's share is the smaller one: the events that wait there will cause changes, which need room as well. Readers are further
 * than their commits say by up to checkpoint.interval, so the true distance is smaller still. */
#define UNREAD_EVENTS ((uint64_t)RC_EMBEDDED_TRIM_BYTES / 4)
#define UNREAD_CHANGES ((uint64_t)RC_EMBEDDED_TRIM_BYTES / 2)
/* A change's record and its share of a batch's head, rather too much than too little. */
#define CHANGE_BYTES 300
/* What the log format adds to a record of ours. */
#define RECORD_OVERHEAD 70
#define UNREAD_POLL_MS 10
/* Asked when one partition has got this much since: a question costs a few round trips, and paced chunks are small. */
#define UNREAD_ASK_BYTES (UNREAD_EVENTS / 2)

struct rc_sender {
    const struct rc_config *config;
    struct rc_config *found, *tuned; /* owned; what the producer runs with */
    const char *topic;
    char import[24]; /* the header's value */
    const struct rc_stop *stop;
    struct rc_producer *producer;
    int32_t n_partitions;
    size_t chunk_records, chunk_bytes;

    /* embedded */
    struct rc_admin *admins[2];  /* one a group: a handle keeps the connection of its last one */
    char *groups[2], *topics[2]; /* ingest on the dataset's topic, materialize on segments; owned */
    int64_t *committed;          /* scratch, n_partitions */
    uint64_t sent_records, sent_bytes;
    uint64_t *since_asked; /* bytes by partition; owned */
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
    sender->since_asked = rc_calloc((size_t)sender->n_partitions, sizeof *sender->since_asked);
    return rc_admin_open(config, &sender->admins[0], err) == RC_OK ? rc_admin_open(config, &sender->admins[1], err)
                                                                   : RC_FAIL;
}

static rc_status wait_for_readers(struct rc_sender *sender, struct rc_error *err);

rc_status rc_sender_open(const struct rc_sender_options *options, struct rc_sender **out, struct rc_error *err) {
    struct rc_sender *sender = rc_calloc(1, sizeof *sender);
    sender->topic = options->topic;
    sender->stop = options->stop;
    if (options->import_ms)
        snprintf(sender->import, sizeof sender->import, "%lld", (long long)options->import_ms);
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
    /* Runs that follow one another must not add up. */
    if (status == RC_OK && embedded)
        status = wait_for_readers(sender, err);
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
    for (size_t i = 0; i < 2; i++) {
        if (sender->admins[i])
            rc_admin_close(sender->admins[i]);
        free(sender->groups[i]);
        free(sender->topics[i]);
    }
    free(sender->committed);
    free(sender->since_asked);
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
    struct rc_header header = {.name = rc_span_str(RC_IMPORT_HEADER), .value = rc_span_str(sender->import)};
    struct rc_outgoing record = {.topic = sender->topic,
                                 .partition = rc_person_key_partition(key, sender->n_partitions),
                                 .key = key,
                                 .value = value,
                                 .timestamp_ms = RC_NO_TIMESTAMP,
                                 .headers = &header,
                                 .n_headers = *sender->import != 0};
    if (rc_producer_send(sender->producer, &record, err) != RC_OK)
        return RC_FAIL;
    sender->chunk_records++;
    sender->chunk_bytes += key.len + value.len + RECORD_OVERHEAD;
    if (sender->since_asked)
        sender->since_asked[record.partition] += key.len + value.len + RECORD_OVERHEAD;
    return RC_OK;
}

bool rc_sender_wants_flush(const struct rc_sender *sender) {
    return sender->chunk_records >= CHUNK_RECORDS || sender->chunk_bytes >= CHUNK_BYTES;
}

/* Whether some reader of the way has more before it in some partition than it may. */
static rc_status behind(struct rc_sender *sender, bool *out, struct rc_error *err) {
    *out = false;
    for (size_t t = 0; t < 2; t++) {
        uint64_t each = t ? CHANGE_BYTES : sender->sent_bytes / (sender->sent_records ? sender->sent_records : 1);
        uint64_t most = t ? UNREAD_CHANGES : UNREAD_EVENTS;
        if (rc_admin_committed(sender->admins[t], sender->groups[t], sender->topics[t], sender->n_partitions,
                               sender->committed, err) != RC_OK)
            return RC_FAIL;
        for (int32_t p = 0; p < sender->n_partitions; p++) {
            int64_t low = 0, high = t ? -1 : rc_producer_end(sender->producer, sender->topic, p);
            /* Of the dataset's topic our own last offset is enough: who else sends to it looks after itself. */
            if ((high < 0 || sender->committed[p] < 0) &&
                rc_admin_bounds(sender->admins[t], sender->topics[t], p, BROKER_TIMEOUT_MS, &low, &high, err) != RC_OK)
                return RC_FAIL;
            /* Nothing committed yet: the reader has not come so far, everything is unread. */
            int64_t from = sender->committed[p] < 0 ? low : sender->committed[p];
            if (high > from && (uint64_t)(high - from) * each > most)
                *out = true;
        }
    }
    return RC_OK;
}

static rc_status wait_for_readers(struct rc_sender *sender, struct rc_error *err) {
    while (!rc_stop_requested(sender->stop)) {
        bool wait;
        if (behind(sender, &wait, err) != RC_OK) {
            if (err->class != RC_CLASS_RETRY)
                return RC_FAIL;
            rc_log_limited(RC_LOG_WARN, "cannot see how far the consumers are", rc_f_err(err));
        } else if (!wait) {
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
    sender->chunk_records = sender->chunk_bytes = 0;
    bool ask = false;
    for (int32_t p = 0; sender->since_asked && p < sender->n_partitions; p++)
        ask |= sender->since_asked[p] >= UNREAD_ASK_BYTES;
    if (!ask)
        return RC_OK;
    memset(sender->since_asked, 0, (size_t)sender->n_partitions * sizeof *sender->since_asked);
    return wait_for_readers(sender, err);
}

uint64_t rc_sender_acked(const struct rc_sender *sender) {
    return rc_producer_acked(sender->producer);
}
