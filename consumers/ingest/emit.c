/* A change of the engine to a record of `<prefix>.segments`.
 *
 * One change is always kept back until the next one of the same decision is known to be sent or the decision is over:
 * the header `more` must be true of what is on the topic, and while a lane catches up some changes of a decision may
 * be there already (repeats.h). */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "codec/person_key.h"
#include "consumers/ingest/ingest.h"
#include "consumers/ingest/internal.h"
#include "consumers/shared/live.h"

static void send_pending(struct lane *lane, bool more) {
    if (!lane->pending)
        return;
    struct ingest *ingest = lane->ingest;
    struct rc_header header = {.name = rc_span_str(RC_SEGMENTS_MORE_HEADER), .value = rc_span_str("1")};
    struct rc_outgoing record = {
        .topic = ingest->segments_topic,
        .partition = lane->number,
        .key = rc_buf_span(&lane->pending_key),
        .value = rc_buf_span(&lane->pending_value),
        .timestamp_ms = RC_NO_TIMESTAMP,
        .headers = &header,
        .n_headers = more ? 1 : 0,
    };
    struct rc_error err;
    if (rc_producer_send(ingest->producer, &record, &err) != RC_OK)
        rc_ingest_fail(ingest, &err);
    else
        rc_counter_inc(ingest->metrics.changes);
    lane->pending = false;
}

/* Keeps the change as the pending one, with its version. `key` may be the lane's own pending key's source only in
 * other memory. */
static void keep(struct lane *lane, struct rc_span key, const struct rc_membership *change) {
    struct ingest *ingest = lane->ingest;
    rc_buf_reset(&lane->pending_key);
    rc_buf_reset(&lane->pending_value);
    struct rc_error err;
    if (rc_buf_add_span(&lane->pending_key, key) != RC_OK ||
        rc_membership_add(&lane->pending_value, change, ingest->schema_id) != RC_OK) {
        rc_error_set(&err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                     "a change with a key of %zu bytes does not fit into a record", key.len);
        rc_ingest_fail(ingest, &err);
        return;
    }
    lane->pending = true;
}

static void observe(const struct lane *lane, const struct rc_change *change, int64_t now_us) {
    if (lane->state != LANE_LIVE)
        return;
    const struct ingest_metrics *metrics = &lane->ingest->metrics;
    if (change->cause == RC_CAUSE_EVENT && change->event_time_ms != RC_NO_EVENT_TIME)
        rc_histogram_observe_ns(metrics->event_to_change, (now_us - change->event_time_ms * 1000) * 1000);
    else if (change->cause == RC_CAUSE_TIME)
        rc_histogram_observe_ns(metrics->due_to_change, (now_us - change->since_ms * 1000) * 1000);
}

void rc_ingest_emit_change(void *ctx, const struct rc_change *change) {
    struct lane *lane = ctx;
    struct ingest *ingest = lane->ingest;
    const struct rc_catalog *catalog = lane->composition->catalog;
    lane->dirty = true;
    if (!change->existence && catalog->segments[change->index].role == RC_SEGMENT_COUNTED) {
        if (!change->more) /* what was kept back is the last that is told of the decision */
            send_pending(lane, false);
        return;
    }

    char existence[80];
    struct rc_span target;
    int version = 1;
    if (change->existence) {
        int len = snprintf(existence, sizeof existence, "_exists.%s", catalog->datasets[change->index].id);
        target = rc_span_of(existence, (size_t)len);
    } else {
        target = rc_span_str(catalog->segments[change->index].id);
        version = catalog->segments[change->index].version;
    }
    int64_t now_us = rc_clock_wall_us();
    struct rc_membership membership = {
        .target = target,
        .realized = change->realized,
        .since_ms = change->since_ms,
        .cause = change->cause,
        .event_id = change->event_id,
        .event_time_ms = change->event_time_ms,
        .emitted_at_ms = now_us / 1000,
        .target_version = version,
    };
    rc_buf_reset(&ingest->scratch);
    rc_buf_reset(&ingest->key);
    struct rc_error err;
    if (rc_person_key_split(change->person_key, &ingest->scratch, &membership.namespace, &membership.person_id) !=
            RC_OK ||
        rc_membership_key_add(&ingest->key, change->person_key, target) != RC_OK) {
        rc_error_set(&err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "the engine gave a person key that is none");
        rc_ingest_fail(ingest, &err);
        return;
    }
    if (!change->existence && (change->cause == RC_CAUSE_DEFINITION || change->cause == RC_CAUSE_BACKFILL))
        rc_ingest_effect_count(lane, catalog->segments[change->index].id, change->realized);
    bool send = true;
    struct rc_versions before = lane->versions;
    int64_t fresh = rc_versions_next(&lane->versions);
    membership.version = fresh;
    if (lane->repeats && rc_repeats_judge(lane->repeats, &membership, rc_buf_span(&ingest->key), fresh,
                                          &membership.version) != RC_REPEAT_NEW) {
        lane->versions = before;
        send = false;
        rc_counter_inc(ingest->metrics.known);
    }
    if (send) {
        send_pending(lane, true);
        keep(lane, rc_buf_span(&ingest->key), &membership);
        observe(lane, change, now_us);
    }
    if (!change->more)
        send_pending(lane, false);
}

void rc_ingest_emit_live(struct lane *lane, const char *segment, int version, bool live) {
    struct ingest *ingest = lane->ingest;
    struct rc_buf person, target, key;
    struct rc_error err;
    int64_t now_ms = rc_clock_wall_ms();
    rc_buf_init(&person, 64);
    rc_buf_init(&target, 256);
    rc_buf_init(&key, 512);
    struct rc_membership change = {.realized = live,
                                   .since_ms = now_ms,
                                   .version = rc_versions_next(&lane->versions),
                                   .cause = RC_CAUSE_BACKFILL,
                                   .event_time_ms = RC_NO_EVENT_TIME,
                                   .emitted_at_ms = now_ms,
                                   .target_version = version};
    if (rc_live_person_add(&person, lane->number, ingest->program->n_partitions) != RC_OK ||
        rc_live_target_add(&target, rc_span_str(segment)) != RC_OK ||
        rc_membership_key_add(&key, rc_buf_span(&person), rc_buf_span(&target)) != RC_OK ||
        rc_person_key_split(rc_buf_span(&person), &ingest->scratch, &change.namespace, &change.person_id) != RC_OK) {
        rc_error_set(&err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "the word that segment %s is live does not fit", segment);
        rc_ingest_fail(ingest, &err);
    } else {
        change.target = rc_buf_span(&target);
        keep(lane, rc_buf_span(&key), &change);
        send_pending(lane, false);
    }
    lane->dirty = true;
    rc_buf_deinit(&person);
    rc_buf_deinit(&target);
    rc_buf_deinit(&key);
}

static void settled(void *ctx, struct rc_span key, const struct rc_membership *change) {
    struct lane *lane = ctx;
    struct rc_membership fresh = *change;
    fresh.version = rc_versions_next(&lane->versions);
    fresh.emitted_at_ms = rc_clock_wall_ms();
    keep(lane, key, &fresh);
    send_pending(lane, false);
}

void rc_ingest_emit_settled(struct lane *lane) {
    lane->dirty = true;
    rc_repeats_settle(lane->repeats, settled, lane);
}
