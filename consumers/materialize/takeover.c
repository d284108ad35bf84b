/* A partition comes: where to go on, and what the own output log says that the local state does not.
 *
 *   - The local state is the latest there is (a restart, also after kill −9): the input after it is decided again, and every change is held
 *     against the output log behind the checkpoint (consumers/shared/repeats.h). → PART_REPEATING
 *   - The local state is older than what the group has committed (others had the partition meanwhile), or there is none: deciding each old
 *     record again would publish the past. So the output log up to the mark that the former owner committed tells what was published, and the
 *     input up to its offset is only learnt (→ PART_LEARNING); from there on as above. When all is done everybody is reviewed, in case
 *     a compacted topic no longer told all of it. Without a committed offset everything is learnt, and the review is all there is.
 * In both cases a new epoch begins, above every version that was ever written, so a former owner that wakes up cannot win. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "codec/person_key.h"
#include "consumers/materialize/stage.h"
#include "kafka/read.h"

#define BROKER_TIMEOUT_MS 10000
#define RETRY_MS 1000
#define DEFINITIONS_WAIT_MS 10000 /* for all partitions that come together */
#define DEFINITIONS_LOOK_MS 20

/* ---- the own output log -------------------------------------------------------------------------------------------------------- */

struct tail_reader {
    struct part *part;
    int64_t adopt_below; /* versions below it go into the persons, the rest into the table of repeats */
    int64_t greatest;
    rc_status status;
    struct rc_error *err;
};

static rc_status load(struct part *part, struct rc_span key, struct rc_error *err) {
    struct stage *stage = part->stage;
    return rc_persons_load(part->persons, key, rc_names_count(stage->signals), rc_names_count(stage->audiences),
                           &stage->person, err);
}

/* Takes what the log says into the person's record, and marks it for review. */
static rc_status adopt(struct part *part, const struct tail_change *change, struct rc_error *err) {
    struct stage *stage = part->stage;
    struct rc_span key = rc_span_of(change->key, change->key_len);
    if (load(part, key, err))
        return RC_FAIL;
    const struct rc_audience_standing *standing = rc_audience_person_standing(&stage->person, change->audience);
    if (standing && standing->version >= change->version)
        return RC_OK;
    rc_audience_tally_add(part->here, &stage->person, -1);
    rc_audience_tally_add(stage->all, &stage->person, -1);
    rc_audience_person_adopt(&stage->person, change->audience, change->realized, change->since_ms, change->version);
    rc_audience_tally_add(part->here, &stage->person, 1);
    rc_audience_tally_add(stage->all, &stage->person, 1);
    stage->person.generation = 0;
    rc_persons_keep(part->persons, key, &stage->person);
    if (!change->realized)
        rc_checkpoint_note_exit(part, key, change->audience, change->version, change->told_ms);
    part->changed = true;
    return RC_OK;
}

/* Puts the change into the table, unless the local state has it (a version that it knows). */
static rc_status remember(struct tail_reader *reader, const struct tail_change *change,
                          const struct rc_message *message) {
    struct part *part = reader->part;
    if (load(part, rc_span_of(change->key, change->key_len), reader->err))
        return RC_FAIL;
    const struct rc_audience_standing *standing = rc_audience_person_standing(&part->stage->person, change->audience);
    if (standing && standing->version >= change->version)
        return RC_OK;
    rc_repeats_seen(part->repeats, message->key, change->realized, change->since_ms, change->version);
    rc_grow(&part->tail, &part->tail_capacity, part->n_tail + 1, sizeof *part->tail);
    part->tail[part->n_tail] = *change;
    part->tail[part->n_tail++].key = rc_span_dup(rc_span_of(change->key, change->key_len));
    return RC_OK;
}

static bool read_tail(void *ctx, const struct rc_message *message) {
    struct tail_reader *reader = ctx;
    struct stage *stage = reader->part->stage;
    struct rc_span key, target;
    struct rc_membership change;
    struct rc_error why;
    if (message->null_key || message->null_value || rc_membership_key_split(message->key, &key, &target))
        return true;
    if (rc_membership_read(message->value, stage->confluent, &change, &why)) {
        rc_log_limited(RC_LOG_WARN, "a record of the own output cannot be read and is passed over",
                       rc_f_str("topic", message->topic), rc_f_int("partition", message->partition),
                       rc_f_int("offset", message->offset), rc_f_err(&why));
        return true;
    }
    struct tail_change seen = {.key = (char *)key.data,
                               .key_len = key.len,
                               .audience = rc_names_intern(stage->audiences, target),
                               .realized = change.realized,
                               .since_ms = change.since_ms,
                               .version = change.version,
                               .told_ms = change.emitted_at_ms};
    rc_stage_grow_tallies(stage);
    rc_stage_changed(stage, seen.audience, seen.told_ms);
    if (change.version > reader->greatest)
        reader->greatest = change.version;
    reader->status = change.version < reader->adopt_below ? adopt(reader->part, &seen, reader->err)
                                                          : remember(reader, &seen, message);
    return reader->status == RC_OK;
}

/* ---- a partition comes --------------------------------------------------------------------------------------------------------- */

static void part_free(struct part *part) {
    if (!part)
        return;
    rc_checkpoint_drop(part);
    rc_persons_free(part->persons);
    rc_groups_free(part->groups);
    rc_repeats_free(part->repeats);
    for (size_t i = 0; i < part->n_tail; i++)
        free(part->tail[i].key);
    for (size_t i = 0; i < part->n_exits; i++)
        free(part->exits[i].key);
    for (size_t i = 0; i < part->n_buried; i++)
        free(part->buried[i].key);
    free(part->tail);
    free(part->exits);
    free(part->batch_exits);
    free(part->buried);
    free(part->here);
    rc_publish_free(part);
    rc_guard_part_free(part);
    free(part);
}

static rc_status drop_local(struct stage *stage, int32_t number, struct rc_error *err) {
    struct rc_store_batch *batch = rc_store_begin(stage->store);
    rc_store_delete_partition(batch, RC_STORE_META, number);
    rc_store_delete_partition(batch, RC_STORE_AUDIENCE, number);
    rc_store_delete_partition(batch, RC_STORE_MEMBER, number);
    return rc_store_commit(batch, false, err);
}

/* What the last owner committed. */
struct handover {
    int64_t offset, mark, version; /* −1: nothing that is of use */
    uint32_t epoch;
};

static struct handover read_handover(const struct rc_offset *committed, int64_t boundary, int64_t output_high) {
    struct handover handover = {.offset = committed->offset, .mark = -1, .version = -1};
    int n = committed->metadata ? sscanf(committed->metadata, "epoch=%" SCNu32 " output=%" SCNd64 " version=%" SCNd64,
                                         &handover.epoch, &handover.mark, &handover.version)
                                : 0;
    if (n < 3 || handover.offset < 0 || handover.offset > boundary || handover.mark > output_high)
        handover.offset = handover.mark = handover.version = -1;
    return handover;
}

static const char *reason_to_discard(const struct part *part, const struct saved_part *saved, int64_t output_high) {
    if (strcmp(saved->cluster, part->stage->cluster) != 0)
        return "it belongs to another cluster";
    if (saved->next > part->boundary || saved->output_end > output_high)
        return "it stands behind the end of the topic, which must have been made anew";
    return NULL;
}

/* Puts the partition on its way: what is learnt, what is repeated, from where the own output is read. */
static void set_course(struct part *part, const struct saved_part *saved, const struct handover *handover, int64_t low,
                       int64_t output_low, int64_t output_high, struct tail_reader *reader, int64_t *from) {
    bool found = saved != NULL;
    part->committed = handover->offset;
    part->version_mark = handover->version;
    part->next = found && saved->next > low ? saved->next : low;
    part->saved_next = part->next;
    *from = found ? saved->output_end : output_low;
    bool latest = found && !saved->learning && handover->offset <= saved->next && low <= saved->next;
    if (latest) {
        part->phase = PART_REPEATING;
        part->reviewed = saved->reviewed;
        part->review_cause = (enum rc_cause)saved->review_cause;
        part->mark = *from;
        reader->adopt_below = 0;
        return;
    }
    bool guided = handover->offset >= part->next && handover->mark >= *from;
    part->phase = PART_LEARNING;
    part->pass.state = PASS_NONE; /* others may have ended it */
    part->trust = guided;
    part->learn_to = guided ? handover->offset : part->boundary;
    part->mark = guided ? handover->mark : output_high;
    reader->adopt_below = guided ? handover->version : INT64_MAX;
    part->review_cause = output_high > output_low ? RC_CAUSE_RESTORE : RC_CAUSE_BACKFILL;
}

static rc_status open_part(struct part *part, const struct rc_offset *committed, int64_t *start, struct rc_error *err) {
    struct stage *stage = part->stage;
    struct saved_part saved = {0};
    bool found = false;
    int64_t low = 0, output_low = 0, output_high = 0, from = 0;
    if (rc_stage_admin(stage, err) ||
        rc_admin_bounds(stage->admin, stage->segments_topic, part->number, BROKER_TIMEOUT_MS, &low, &part->boundary,
                        err) ||
        rc_admin_bounds(stage->admin, stage->memberships_topic, part->number, BROKER_TIMEOUT_MS, &output_low,
                        &output_high, err) ||
        rc_checkpoint_read(stage, part->number, &saved, &found, err))
        return RC_FAIL;
    const char *discard = found ? reason_to_discard(part, &saved, output_high) : NULL;
    if (discard) {
        rc_log(RC_LOG_WARN, "local state is not used and is built again from Kafka",
               rc_f_int("partition", part->number), rc_f_str("reason", discard));
        if (drop_local(stage, part->number, err))
            return RC_FAIL;
        found = false;
    }
    if (found && (rc_checkpoint_read_tallies(part, err) || rc_publish_load(part, err)))
        return RC_FAIL;
    for (size_t i = 0; i < stage->n_tallies; i++) {
        stage->all[i].members += part->here[i].members;
        stage->all[i].withheld += part->here[i].withheld;
    }
    struct handover handover = read_handover(committed, part->boundary, output_high);
    struct tail_reader reader = {.part = part, .greatest = -1, .err = err};
    set_course(part, found ? &saved : NULL, &handover, low, output_low, output_high, &reader, &from);
    if (handover.offset >= 0)
        rc_publish_take_over(part, committed->metadata);
    *start = part->next;
    part->repeats = rc_repeats_new();
    part->output_end = from;
    if (output_high > from && (rc_kafka_read_written(stage->config, stage->memberships_topic, part->number, from,
                                                     BROKER_TIMEOUT_MS, read_tail, &reader, &part->output_end, err) ||
                               reader.status))
        return RC_FAIL;
    part->versions.epoch = rc_versions_epoch_above(saved.epoch, reader.greatest, handover.epoch);
    part->changed = part->wanted_now = true; /* the new epoch is saved before long */
    rc_log(RC_LOG_INFO, "partition taken", rc_f_str("topic", stage->segments_topic),
           rc_f_int("partition", part->number), rc_f_int("offset", part->next),
           rc_f_int("decided_from", part->phase == PART_LEARNING ? part->learn_to : part->next),
           rc_f_int("end", part->boundary), rc_f_int("to_repeat", (int64_t)part->n_tail),
           rc_f_int("epoch", part->versions.epoch));
    return RC_OK;
}

/* Takes the part out of everything that counts it. */
static void forget_part(struct part *part) {
    struct stage *stage = part->stage;
    for (size_t i = 0; i < stage->n_tallies; i++) {
        stage->all[i].members -= part->here[i].members;
        stage->all[i].withheld -= part->here[i].withheld;
    }
    size_t at = 0;
    while (stage->parts[at] != part)
        at++;
    stage->parts[at] = stage->parts[--stage->n_parts];
    part_free(part);
}

/* Follows the definitions until they are read as far as the former owner had read them: by an older view, who has left an audience that is
 * gone would be told to be back. `until_ms` (monotonic) bounds it, where that offset does not come. RETRY: told to stop. */
static rc_status reach_definitions(struct stage *stage, int32_t number, const char *metadata, int64_t until_ms,
                                   struct rc_error *err) {
    int64_t offset = 0;
    const char *at = metadata ? strstr(metadata, " definitions=") : NULL;
    if (!at || sscanf(at, " definitions=%" SCNd64, &offset) != 1)
        return RC_OK;
    while (!rc_definitions_took_up(stage->definitions, offset)) {
        if (rc_clock_monotonic_ms() >= until_ms) {
            rc_log(RC_LOG_WARN,
                   "the definitions that a former owner had read do not come, and are not waited for any longer: was "
                   "their topic made anew?",
                   rc_f_int("partition", number), rc_f_int("up_to", offset));
            return RC_OK;
        }
        rc_log_limited(RC_LOG_INFO, "a partition waits: its former owner had read more of the definitions",
                       rc_f_int("partition", number), rc_f_int("up_to", offset));
        if (rc_stop_wait(stage->process->stop, DEFINITIONS_LOOK_MS))
            return rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_TEMPORARY, "told to stop");
        if (rc_stage_follow_definitions(stage, err))
            return RC_FAIL;
    }
    return RC_OK;
}

static rc_status take_part(struct stage *stage, struct rc_source_partition *partition, int64_t patience_ms,
                           struct rc_error *err) {
    struct rc_offset committed = {.topic = stage->segments_topic, .partition = partition->partition, .offset = -1};
    if (rc_source_committed(stage->source, &committed, 1, err))
        return RC_FAIL;
    if (reach_definitions(stage, partition->partition, committed.metadata, patience_ms, err)) {
        free((char *)committed.metadata);
        return RC_FAIL;
    }
    struct part *part = rc_calloc(1, sizeof *part);
    part->stage = stage;
    part->number = partition->partition;
    size_t budget = (size_t)rc_config_bytes(stage->config, "state.memory_bytes") / 2;
    part->persons = rc_persons_new(stage->store, part->number, budget / (size_t)stage->n_partitions);
    part->groups = rc_groups_new();
    part->here = rc_calloc(stage->n_tallies, sizeof *part->here);
    part->waits = rc_calloc(stage->n_tallies, sizeof *part->waits);
    part->released = rc_calloc(stage->n_tallies, sizeof *part->released);
    part->published_ms = rc_calloc(stage->n_tallies, sizeof *part->published_ms);
    rc_grow(&stage->parts, &stage->parts_capacity, stage->n_parts + 1, sizeof *stage->parts);
    stage->parts[stage->n_parts++] = part;
    rc_status status = open_part(part, &committed, &partition->start, err);
    free((char *)committed.metadata);
    partition->ctx = part;
    if (status)
        forget_part(part);
    return status;
}

rc_status rc_takeover_assigned(void *ctx, struct rc_source_partition *partitions, size_t n, struct rc_error *err) {
    struct stage *stage = ctx;
    int64_t patience_ms = rc_clock_monotonic_ms() + DEFINITIONS_WAIT_MS;
    stage->assigned = stage->announce = stage->view_stale = true;
    for (size_t i = 0; i < n; i++)
        while (take_part(stage, &partitions[i], patience_ms, err)) {
            if (err->class != RC_CLASS_RETRY || rc_stop_wait(stage->process->stop, RETRY_MS))
                return RC_FAIL;
            rc_log_limited(RC_LOG_WARN, "partition not taken yet, trying again",
                           rc_f_int("partition", partitions[i].partition), rc_f_err(err));
        }
    rc_loop_touch(stage->loop);
    rc_stage_set_share(stage);
    return RC_OK;
}

/* ---- a partition goes ---------------------------------------------------------------------------------------------------------- */

void rc_takeover_revoked(void *ctx, const struct rc_source_partition *partitions, size_t n, bool lost) {
    struct stage *stage = ctx;
    struct rc_error err;
    stage->announce = stage->view_stale = true;
    for (size_t i = 0; i < n; i++) {
        struct part *part = rc_stage_part(stage, partitions[i].partition);
        if (!part)
            continue;
        bool saved = !lost && !stage->failed && rc_checkpoint_whole(part, BROKER_TIMEOUT_MS, &err) == RC_OK;
        if (!saved && !lost && !stage->failed)
            rc_log(RC_LOG_WARN, "last checkpoint of a partition not made; the next owner repeats from the one before",
                   rc_f_int("partition", part->number), rc_f_err(&err));
        if (!saved && !stage->failed && stage->exactly_once && rc_producer_uncommitted(stage->producer)) {
            /* What the partition has sent is in the transaction that is open, and must not be committed with the next offsets. */
            stage->failed = true;
            rc_error_set(&stage->failure, RC_CLASS_FENCED, RC_EXIT_TEMPORARY,
                         "partition %d was lost with a transaction open", (int)part->number);
        }
        rc_log(RC_LOG_INFO, "partition given back", rc_f_str("topic", stage->segments_topic),
               rc_f_int("partition", part->number), rc_f_bool("lost", lost));
        forget_part(part);
    }
    rc_loop_touch(stage->loop);
    rc_stage_set_share(stage);
}

/* ---- past the boundary --------------------------------------------------------------------------------------------------------- */

struct settling {
    struct part *part;
    rc_status status;
    struct rc_error *err;
};

/* A change that was held back and is not what the log says: it is told now. */
static void send_held(void *ctx, struct rc_span key, const struct rc_membership *change) {
    struct settling *settling = ctx;
    struct part *part = settling->part;
    struct stage *stage = part->stage;
    struct rc_span person_key, target;
    int64_t version = 0;
    if (settling->status || rc_membership_key_split(key, &person_key, &target))
        return;
    uint32_t audience = rc_names_intern(stage->audiences, target);
    if (load(part, person_key, settling->err)) {
        settling->status = RC_FAIL;
        return;
    }
    const struct rc_audience_standing *standing = rc_audience_person_standing(&stage->person, audience);
    if (!standing || standing->realized != change->realized || standing->withheld)
        return; /* another decision followed, which was told */
    if (rc_input_send_anew(part, person_key, audience, change, &version, settling->err)) {
        settling->status = RC_FAIL;
        return;
    }
    rc_audience_person_adopt(&stage->person, audience, change->realized, change->since_ms, version);
    rc_persons_keep(part->persons, person_key, &stage->person);
}

/* Everything that the log held is now either decided again, or it came from something that does not repeat itself (rules that came in
 * between, a limit): there the log is right about what was published, and a review says what should be. */
static rc_status review_tail(struct part *part, struct rc_error *err) {
    struct stage *stage = part->stage;
    for (size_t i = 0; i < part->n_tail; i++)
        if (adopt(part, &part->tail[i], err))
            return RC_FAIL;
    struct rc_audience_desk desk = rc_input_desk(part);
    for (size_t i = 0; i < part->n_tail; i++) {
        struct rc_span key = rc_span_of(part->tail[i].key, part->tail[i].key_len);
        if (load(part, key, err))
            return RC_FAIL;
        stage->deciding_key = key;
        stage->told_ms = 0;
        if (rc_audience_review(&desk, &stage->person, RC_CAUSE_RESTORE, rc_clock_wall_ms()))
            rc_persons_keep(part->persons, key, &stage->person);
        if (stage->failed) {
            *err = stage->failure;
            return RC_FAIL;
        }
        if (rc_input_end(part, err))
            return RC_FAIL;
    }
    for (size_t i = 0; i < part->n_tail; i++)
        free(part->tail[i].key);
    part->n_tail = 0;
    return RC_OK;
}

/* Offsets may have gaps: an end can be reached without its last offset ever being seen. */
static bool reached(struct part *part, int64_t next, int64_t end) {
    struct stage *stage = part->stage;
    if (next >= end || rc_source_at_end(stage->source, stage->segments_topic, part->number, INT64_MAX, NULL))
        return true;
    rc_source_ask_end(stage->source);
    return false;
}

rc_status rc_takeover_progress(struct part *part, int64_t next, struct rc_error *err) {
    struct stage *stage = part->stage;
    /* A group that is still open at an end changes nothing here: it was not decided before, and what is known is the person's state
     * before it. */
    if (part->phase == PART_LEARNING && reached(part, next, part->learn_to)) {
        part->phase = PART_REPEATING;
        if (rc_publish_set_waits(part, err))
            return RC_FAIL;
    }
    if (part->phase != PART_REPEATING || !reached(part, next, part->boundary))
        return RC_OK;
    struct settling settling = {.part = part, .status = RC_OK, .err = err};
    rc_repeats_settle(part->repeats, send_held, &settling);
    rc_repeats_free(part->repeats);
    part->repeats = NULL;
    part->trust = false;
    if (settling.status || review_tail(part, err))
        return RC_FAIL;
    part->phase = PART_LIVE;
    part->changed = part->wanted_now = part->look = true;
    if (rc_publish_set_waits(part, err))
        return RC_FAIL;
    stage->view_stale = true;
    rc_log(RC_LOG_INFO, "partition caught up", rc_f_str("topic", stage->segments_topic),
           rc_f_int("partition", part->number), rc_f_int("offset", next));
    return RC_OK;
}
