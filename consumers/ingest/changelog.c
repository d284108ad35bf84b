/* Writing the changelog `<prefix>.state` (records: store/changelog.h). What a checkpoint sends is kept in one buffer from its beginning to
 * its end, a record after the other, persons before the lane's own; and goes out in pieces, so that live changes get through between them.
 * The embedded broker gets none: it forgets everything anyway, and knows no compaction. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "consumers/ingest/internal.h"
#include "consumers/shared/delivery.h"
#include "kafka/read.h"
#include "store/changelog.h"

#define REWRITE_BYTES ((size_t)4 << 20)
#define MARK_TIMEOUT_MS 30000
#define HEAL_TIMEOUT_MS 5000

/* Before each record in the buffer. */
struct head {
    int32_t number;
    uint32_t epoch;
    uint32_t key_len, value_len;
};

static rc_status send(struct ingest *ingest, const struct head *head, struct rc_span key, struct rc_span value,
                      struct rc_error *err) {
    char epoch[16];
    int len = snprintf(epoch, sizeof epoch, "%u", head->epoch);
    struct rc_header header = {.name = rc_span_str(RC_CHANGELOG_EPOCH_HEADER), .value = rc_span_of(epoch, (size_t)len)};
    struct rc_outgoing record = {.topic = ingest->state_topic,
                                 .partition = head->number,
                                 .key = key,
                                 .value = value,
                                 .null_value = value.data == NULL,
                                 .timestamp_ms = RC_NO_TIMESTAMP,
                                 .headers = &header,
                                 .n_headers = 1};
    return rc_producer_send(ingest->producer, &record, err);
}

/* ---- a checkpoint's records ---- */

void rc_ingest_changelog_keep(struct checkpoint *checkpoint, const struct lane *lane, struct rc_span key,
                              struct rc_span value) {
    struct rc_buf *records = &checkpoint->records;
    struct head head = {.number = lane->number,
                        .epoch = lane->versions.epoch,
                        .key_len = (uint32_t)key.len,
                        .value_len = (uint32_t)value.len};
    rc_buf_add(records, &head, sizeof head);
    rc_buf_add_span(records, key);
    rc_buf_add_span(records, value);
    checkpoint->n_records++;
}

rc_status rc_ingest_changelog_send(struct ingest *ingest, struct checkpoint *checkpoint, size_t n,
                                   struct rc_error *err) {
    const struct rc_buf *records = &checkpoint->records;
    for (size_t i = 0; checkpoint->sent < records->len && i < n; i++) {
        struct head head;
        const char *bytes = records->data + checkpoint->sent;
        memcpy(&head, bytes, sizeof head);
        bytes += sizeof head;
        if (send(ingest, &head, rc_span_of(bytes, head.key_len), rc_span_of(bytes + head.key_len, head.value_len),
                 err) != RC_OK)
            return RC_FAIL;
        checkpoint->sent += sizeof head + head.key_len + head.value_len;
    }
    return RC_OK;
}

/* ---- writing all of a lane's persons anew ---- */

struct rewriting {
    struct lane *lane;
    struct checkpoint *checkpoint;
    size_t until;
    bool more;
};

static bool rewrite_person(void *ctx, struct rc_span key, struct rc_span value) {
    struct rewriting *rewriting = ctx;
    struct lane *lane = rewriting->lane;
    if (rewriting->checkpoint->records.len >= rewriting->until) {
        rc_buf_reset(&lane->rewrite_from);
        rc_buf_add_span(&lane->rewrite_from, key);
        rewriting->more = true;
        return false;
    }
    rc_ingest_changelog_keep(rewriting->checkpoint, lane, key, value);
    return true;
}

rc_status rc_ingest_changelog_rewrite(struct lane *lane, struct checkpoint *checkpoint, struct rc_error *err) {
    struct rewriting rewriting = {
        .lane = lane, .checkpoint = checkpoint, .until = checkpoint->records.len + REWRITE_BYTES};
    if (rc_store_scan(lane->ingest->store, RC_STORE_PERSON, lane->number, rc_buf_span(&lane->rewrite_from),
                      rewrite_person, &rewriting, err) != RC_OK)
        return RC_FAIL;
    if (!rewriting.more) {
        lane->rewriting = false;
        rc_log(RC_LOG_INFO, "the state is in the changelog again", rc_f_str("topic", lane->ingest->state_topic),
               rc_f_int("partition", lane->number));
    }
    return RC_OK;
}

/* ---- what others write while the partition is ours ---- */

struct healing {
    struct lane *lane;
    struct rc_buf value;
    size_t n;
    rc_status status;
    struct rc_error *err;
};

static bool heal_record(void *ctx, const struct rc_message *message) {
    struct healing *healing = ctx;
    struct lane *lane = healing->lane;
    struct ingest *ingest = lane->ingest;
    struct head head = {.number = lane->number, .epoch = lane->versions.epoch};
    char own[16];
    int len = snprintf(own, sizeof own, "%u", head.epoch);
    struct rc_span epoch;
    bool ours = rc_message_header(message, RC_CHANGELOG_EPOCH_HEADER, &epoch) &&
                rc_span_equal(epoch, rc_span_of(own, (size_t)len));
    bool segment = rc_changelog_is_segment(message->key);
    if (ours || !(segment || memchr(message->key.data ? message->key.data : "", ':', message->key.len)))
        return true; /* the lane's own record is written again by the next checkpoint */
    bool found;
    healing->status = rc_store_get(ingest->store, segment ? RC_STORE_META : RC_STORE_PERSON, lane->number, message->key,
                                   &healing->value, &found, healing->err);
    if (healing->status == RC_OK)
        healing->status =
            send(ingest, &head, message->key, found ? rc_buf_span(&healing->value) : rc_span_of(NULL, 0), healing->err);
    healing->n++;
    return healing->status == RC_OK;
}

rc_status rc_ingest_changelog_heal(struct lane *lane, size_t own, struct rc_error *err) {
    struct ingest *ingest = lane->ingest;
    int64_t before = lane->changelog_end;
    int64_t end = rc_producer_end(ingest->producer, ingest->state_topic, lane->number);
    lane->changelog_end = end;
    /* A transaction's own mark takes an offset too; but there the broker fences a former owner. */
    if (ingest->exactly_once || end - before <= (int64_t)own)
        return RC_OK;
    struct healing healing = {.lane = lane, .status = RC_OK, .err = err};
    rc_buf_init(&healing.value, SIZE_MAX / 2);
    struct rc_error why;
    if (rc_kafka_read(ingest->config, ingest->state_topic, lane->number, before, HEAL_TIMEOUT_MS, heal_record, &healing,
                      NULL, &why) != RC_OK) {
        rc_log(RC_LOG_WARN, "others have written into the changelog; looking again at the next checkpoint",
               rc_f_str("topic", ingest->state_topic), rc_f_int("partition", lane->number), rc_f_err(&why));
        lane->changelog_end = before;
    }
    rc_buf_deinit(&healing.value);
    if (healing.status != RC_OK || lane->changelog_end == before)
        return healing.status;
    rc_log(RC_LOG_WARN, "others have written into the changelog; their records are written over",
           rc_f_str("topic", ingest->state_topic), rc_f_int("partition", lane->number), rc_f_int("from", before),
           rc_f_int("to", end), rc_f_int("records", (int64_t)healing.n));
    rc_counter_add(ingest->metrics.healed, healing.n);
    lane->changelog_end += (int64_t)healing.n;
    return RC_OK;
}

/* ---- owners ---- */

rc_status rc_ingest_changelog_mark(struct lane *lane, uint32_t epoch, bool fresh, struct rc_error *err) {
    struct ingest *ingest = lane->ingest;
    /* It is a transaction of its own: what other lanes have sent goes with their offsets. */
    if (ingest->exactly_once && rc_ingest_checkpoint_now(ingest, MARK_TIMEOUT_MS, err) != RC_OK)
        return RC_FAIL;
    struct rc_buf key, value;
    rc_buf_init(&key, 64);
    rc_buf_init(&value, 64);
    if (fresh)
        rc_buf_add_str(&key, RC_CHANGELOG_FRESH_KEY);
    else
        rc_changelog_marker_key(&key, epoch);
    rc_changelog_marker_value(&value, epoch);
    struct head head = {.number = lane->number, .epoch = epoch};
    rc_status status = send(ingest, &head, rc_buf_span(&key), rc_buf_span(&value), err);
    rc_buf_deinit(&key);
    rc_buf_deinit(&value);
    if (status == RC_OK && ingest->exactly_once)
        status = rc_delivery_commit(ingest->process, ingest->producer, ingest->source, NULL, 0, err);
    uint64_t mark = rc_producer_mark(ingest->producer);
    int64_t until = rc_clock_monotonic_ms() + MARK_TIMEOUT_MS;
    while (status == RC_OK && !rc_producer_passed(ingest->producer, mark)) {
        status = rc_producer_poll(ingest->producer, 10, err);
        if (status == RC_OK && (rc_clock_monotonic_ms() > until || rc_stop_requested(ingest->process->stop)))
            status = rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE,
                                  "%s [%d]: the new owner's mark is not acknowledged; do all in-sync replicas run?",
                                  ingest->state_topic, lane->number);
    }
    return status;
}
