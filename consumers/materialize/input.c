/* A record of the segments topic becomes part of a decision, and a decision becomes changes on the memberships topic.
 *
 * One change is always kept back until the next one of the same decision is sent or the decision is over: the header `more` must be true of what is on the
 * topic, and while work is repeated some changes of a decision may be there already. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "codec/membership.h"
#include "codec/person_key.h"
#include "consumers/materialize/stage.h"
#include "consumers/shared/deadletter.h"
#include "consumers/shared/live.h"

#define MORE_HEADER \
    "more" /* consumers/ingest/ingest.h: the decision goes on with the person's next record; told on in the same way */

struct rc_audience_desk rc_input_desk(struct part *part) {
    struct stage *stage = part->stage;
    return (struct rc_audience_desk){.rules = stage->rules,
                                     .here = part->here,
                                     .all = stage->all,
                                     .emit = rc_input_emit,
                                     .ctx = part,
                                     .waits = part->waits,
                                     .trust = part->trust};
}

/* ---- out --------------------------------------------------------------------------------------------------------------------- */

static rc_status encode(struct stage *stage, struct rc_buf *out, const struct rc_membership *change,
                        struct rc_error *err) {
    rc_buf_reset(out);
    if (rc_membership_add(out, change, stage->schema_id))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                            "a change of audience %.*s does not fit into %zu bytes", (int)change->target.len,
                            change->target.data, out->limit);
    return RC_OK;
}

static rc_status send_to(struct stage *stage, const char *topic, int32_t partition, struct rc_span key,
                         struct rc_span value, bool more, struct rc_error *err) {
    struct rc_header header = {.name = rc_span_str(MORE_HEADER), .value = rc_span_str("1")};
    struct rc_outgoing record = {.topic = topic,
                                 .partition = partition,
                                 .key = key,
                                 .value = value,
                                 .timestamp_ms = RC_NO_TIMESTAMP,
                                 .headers = &header,
                                 .n_headers = more};
    return rc_producer_send(stage->producer, &record, err);
}

/* To the audience's own topic, when it has one. Its partitions need not be as many as ours. */
static rc_status send_to_own(struct stage *stage, uint32_t audience, struct rc_span key, struct rc_span value,
                             struct rc_error *err) {
    const char *topic = stage->own_topics[audience];
    struct rc_span person_key, target;
    int32_t n = 0;
    if (!topic)
        return RC_OK;
    if (rc_membership_key_split(key, &person_key, &target))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "a key of %zu bytes cannot be split", key.len);
    if (rc_producer_partitions(stage->producer, topic, 10000, &n, err))
        return RC_FAIL;
    return send_to(stage, topic, rc_person_key_partition(person_key, n), key, value, false, err);
}

/* What was kept back goes out. */
static rc_status send_kept(struct part *part, bool more, struct rc_error *err) {
    struct kept *kept = &part->stage->kept;
    if (!kept->is)
        return RC_OK;
    kept->is = false;
    return send_to(part->stage, part->stage->memberships_topic, part->number, rc_buf_span(&kept->key),
                   rc_buf_span(&kept->value), more, err) ||
                   send_to_own(part->stage, kept->audience, rc_buf_span(&kept->key), rc_buf_span(&kept->value), err)
               ? RC_FAIL
               : RC_OK;
}

static void observe(struct stage *stage, const struct rc_membership *change) {
    struct materialize_metrics *m = &stage->metrics;
    rc_counter_inc(m->changes);
    if (change->cause == RC_CAUSE_EVENT && change->event_time_ms != RC_NO_EVENT_TIME)
        rc_histogram_observe_ms(m->event_latency, change->emitted_at_ms - change->event_time_ms);
    else if (change->cause == RC_CAUSE_TIME)
        rc_histogram_observe_ms(m->due_latency, change->emitted_at_ms - change->since_ms);
    if (stage->told_ms)
        rc_histogram_observe_ms(m->hop_latency, change->emitted_at_ms - stage->told_ms);
}

/* stage->key holds the record's key. */
static rc_status publish(struct part *part, struct rc_span person_key, uint32_t audience,
                         const struct rc_membership *change, struct rc_error *err) {
    struct stage *stage = part->stage;
    struct kept *kept = &stage->kept;
    if (send_kept(part, true, err) || encode(stage, &kept->value, change, err))
        return RC_FAIL;
    rc_buf_reset(&kept->key);
    (void)rc_buf_add_span(&kept->key, rc_buf_span(&stage->key)); /* as large as that one */
    kept->audience = audience;
    kept->is = true;
    observe(stage, change);
    if (!change->realized)
        rc_checkpoint_note_exit(part, person_key, audience, change->version, change->emitted_at_ms);
    return RC_OK;
}

rc_status rc_input_send_anew(struct part *part, struct rc_span person_key, uint32_t audience,
                             const struct rc_membership *change, int64_t *version, struct rc_error *err) {
    struct stage *stage = part->stage;
    struct rc_membership fresh = *change;
    struct rc_versions versions = part->versions;
    fresh.version = rc_versions_next(&versions);
    fresh.emitted_at_ms = rc_clock_wall_ms();
    rc_buf_reset(&stage->key);
    if (rc_membership_key_add(&stage->key, person_key, change->target))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "a person key of %zu bytes is too long",
                            person_key.len);
    if (publish(part, person_key, audience, &fresh, err) || rc_input_end(part, err))
        return RC_FAIL;
    part->versions = versions;
    *version = fresh.version;
    return RC_OK;
}

rc_status rc_input_end(struct part *part, struct rc_error *err) {
    return send_kept(part, false, err);
}

static void fail(struct stage *stage, const struct rc_error *err) {
    if (!stage->failed)
        stage->failure = *err;
    stage->failed = true;
}

int64_t rc_input_emit(void *ctx, const struct rc_audience_change *change) {
    struct part *part = ctx;
    struct stage *stage = part->stage;
    struct rc_error err = {0};
    uint32_t audience = change->rule->name;
    struct rc_versions versions = part->versions;
    struct rc_membership out = {.target = rc_span_str(rc_names_text(stage->audiences, audience)),
                                .realized = change->realized,
                                .since_ms = change->since_ms,
                                .version = rc_versions_next(&versions),
                                .cause = change->cause,
                                .event_id = change->event_id,
                                .event_time_ms = change->event_time_ms,
                                .emitted_at_ms = rc_clock_wall_ms(),
                                .target_version = change->rule->version};
    rc_buf_reset(&stage->key);
    if (rc_person_key_split(stage->deciding_key, &stage->scratch, &out.namespace, &out.person_id) ||
        rc_membership_key_add(&stage->key, stage->deciding_key, out.target)) {
        rc_error_set(&err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "a person key of %zu bytes cannot be split",
                     stage->deciding_key.len);
        fail(stage, &err);
        return 0;
    }
    stage->view_stale = true;
    if (!out.realized && stage->all[audience].withheld)
        rc_publish_look(stage); /* there is room again */
    if (part->repeats) {
        int64_t known = 0;
        switch (rc_repeats_judge(part->repeats, &out, rc_buf_span(&stage->key), out.version, &known)) {
        case RC_REPEAT_KNOWN:
            /* The crash may have come between the two topics: the own one gets it again, with the same version. (Not when one transaction
             * held both.) */
            out.version = known;
            rc_counter_inc(stage->metrics.adopted);
            if (!stage->exactly_once &&
                (encode(stage, &stage->value, &out, &err) ||
                 send_to_own(stage, audience, rc_buf_span(&stage->key), rc_buf_span(&stage->value), &err)))
                fail(stage, &err);
            if (!out.realized)
                rc_checkpoint_note_exit(part, stage->deciding_key, audience, known, out.emitted_at_ms);
            return known;
        case RC_REPEAT_HELD: return 0;
        case RC_REPEAT_NEW: break;
        }
    }
    part->versions = versions;
    rc_stage_changed(stage, audience, out.emitted_at_ms);
    if (publish(part, stage->deciding_key, audience, &out, &err))
        fail(stage, &err);
    return out.version;
}

/* ---- in ---------------------------------------------------------------------------------------------------------------------- */

static rc_status decide(struct part *part, struct rc_span key, struct rc_audience_input *inputs, size_t n,
                        struct rc_error *err) {
    struct stage *stage = part->stage;
    struct rc_audience_person *person = &stage->person;
    if (rc_persons_load(part->persons, key, rc_names_count(stage->signals), rc_names_count(stage->audiences), person,
                        err))
        return RC_FAIL;
    bool changed;
    if (part->phase == PART_LEARNING) {
        changed = rc_audience_learn(person, inputs, n);
    } else {
        stage->deciding_key = key;
        struct rc_audience_desk desk = rc_input_desk(part);
        changed = rc_audience_decide(&desk, person, inputs, n, part->review_cause, rc_clock_wall_ms());
    }
    if (stage->failed) {
        *err = stage->failure;
        return RC_FAIL;
    }
    if (rc_input_end(part, err))
        return RC_FAIL;
    if (changed)
        rc_persons_keep(part->persons, key, person);
    else
        rc_counter_add(stage->metrics.repeated, n);
    part->changed = true;
    return RC_OK;
}

static rc_status reject(struct part *part, const struct rc_message *message, const char *text, struct rc_error *err) {
    struct stage *stage = part->stage;
    rc_counter_inc(stage->metrics.bad);
    rc_log_limited(RC_LOG_WARN, "a record cannot be used and goes to the dead letters",
                   rc_f_str("topic", message->topic), rc_f_int("partition", message->partition),
                   rc_f_int("offset", message->offset), rc_f_str("err", text));
    int32_t n = 0;
    if (rc_producer_partitions(stage->producer, stage->deadletters_topic, 10000, &n, err))
        return RC_FAIL;
    return rc_deadletter_send(stage->producer, stage->deadletters_topic, n, message, text, err);
}

/* Reads the record. RC_FAIL with POISON when it is no change of a segment. */
static rc_status read_input(struct part *part, const struct rc_message *message, struct rc_span *person_key,
                            struct rc_audience_input *input, int64_t *emitted_ms, struct rc_error *err) {
    struct stage *stage = part->stage;
    struct rc_span target;
    if (message->null_key || rc_membership_key_split(message->key, person_key, &target))
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "bad key: a key `namespace:id|segment` was expected");
    if (message->null_value) {
        /* A segment nobody has heard of need not be forgotten. */
        uint32_t name = rc_names_find(stage->signals, target);
        *input = (struct rc_audience_input){
            .name = name, .gone = true, .since_ms = INT64_MIN, .event_time_ms = RC_NO_EVENT_TIME};
        return RC_OK;
    }
    struct rc_membership change;
    if (rc_membership_read(message->value, stage->confluent, &change, err))
        return RC_FAIL;
    *input = (struct rc_audience_input){.name = rc_names_intern(stage->signals, target),
                                        .realized = change.realized,
                                        .since_ms = change.since_ms,
                                        .version = change.version,
                                        .cause = change.cause,
                                        .event_id = change.event_id,
                                        .event_time_ms = change.event_time_ms};
    *emitted_ms = change.emitted_at_ms;
    return RC_OK;
}

rc_status rc_input_take(struct part *part, const struct rc_message *message, struct rc_error *err) {
    struct stage *stage = part->stage;
    struct rc_span key = {0}, more;
    struct rc_audience_input input;
    struct rc_error why = {0};
    /* Also without the end of the queue: the first record to be decided may follow the last one to be learnt at once. (The source stands
     * behind this record already, so "at the end" would be true of it before it is decided.) */
    if (part->phase == PART_LEARNING && message->offset >= part->learn_to) {
        part->phase = PART_REPEATING;
        if (rc_publish_set_waits(part, err))
            return RC_FAIL;
        if (message->offset >= part->boundary && rc_takeover_progress(part, message->offset, err))
            return RC_FAIL;
    }
    rc_counter_inc(stage->metrics.records);
    part->last_record_ms = message->timestamp_ms;
    part->changed = true;
    stage->view_stale = true;
    stage->told_ms = 0;
    if (read_input(part, message, &key, &input, &stage->told_ms, &why)) {
        if (reject(part, message, why.message, err))
            return RC_FAIL;
    } else if (rc_message_header(message, MORE_HEADER, &more) && rc_span_equal(more, rc_span_str("1"))) {
        rc_groups_add(part->groups, key, &input, message->offset, rc_clock_monotonic_ms());
    } else if (rc_groups_open(part->groups)) {
        struct rc_group group;
        rc_groups_add(part->groups, key, &input, message->offset, rc_clock_monotonic_ms());
        if (rc_groups_take(part->groups, key, &group) && decide(part, group.key, group.inputs, group.n, err))
            return RC_FAIL;
    } else if (!(input.gone && input.name == RC_NO_NAME) && decide(part, key, &input, 1, err)) {
        return RC_FAIL;
    }
    if (rc_live_is_person(key))
        part->look = part->count.look = true;
    part->next = message->offset + 1;
    return RC_OK;
}

rc_status rc_input_close_old_groups(struct part *part, int64_t now_ms, struct rc_error *err) {
    struct rc_group group;
    while (rc_groups_take_old(part->groups, now_ms - RC_GROUPS_PATIENCE_MS, &group)) {
        rc_counter_inc(part->stage->metrics.cut_groups);
        rc_log_limited(RC_LOG_WARN, "the last record of a decision did not come: decided on what is there",
                       rc_f_str("topic", part->stage->segments_topic), rc_f_int("partition", part->number),
                       rc_f_int("records", (int64_t)group.n));
        part->stage->told_ms = 0;
        if (decide(part, group.key, group.inputs, group.n, err))
            return RC_FAIL;
    }
    return RC_OK;
}
