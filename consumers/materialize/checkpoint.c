/* State, output and input offset become durable together (pipeline.md §3.2).
 *
 *   1. A checkpoint begins: what changed since the last one is set apart, with the input offset that it stands for and the end of the
 *      own output as acknowledged so far. Work goes on; what changes from here on belongs to the next one.
 *   2. It goes into a batch, a slice in each turn. Who changes before that is put first, as they were: so the batch is what was when it began.
 *   3. Every change sent before it began is acknowledged by all in-sync replicas (the producer's mark is passed).
 *   4. The batch is committed, by a thread of the store, then the offset is committed to the group.
 * A crash before the store has it repeats from the checkpoint before; what was sent since then stands in the output log behind the end that
 * that one noted, and is adopted from there (takeover.c). So no change is lost, and none comes out twice with two versions.
 *
 * While a wave passes, checkpoints wait for it: saving takes as much as deciding, and can be done when all are told. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/materialize/stage.h"
#include "consumers/shared/delivery.h"

#define HANDOVER_BYTES 768
#define META_STATE "state"
#define META_TALLY "tally"
#define META_CHANGED "changed" /* when each audience changed last; older builds saved none */
#define SLICE_RECORDS 64
#define SLICE_US 1000
#define SLICE_BUSY_US 5000
#define BUSY_INTERVALS 5
/* How often the index of exits is looked at, and how many tombstones at a time. */
#define BURIAL_INTERVAL_MS 1000
#define BURIALS_A_TURN 1000

/* ---- saved values ------------------------------------------------------------------------------------------------------------ */

rc_status rc_checkpoint_read(struct stage *stage, int32_t number, struct saved_part *out, bool *found,
                             struct rc_error *err) {
    rc_buf_reset(&stage->value);
    if (rc_store_get(stage->store, RC_STORE_META, number, rc_span_str(META_STATE), &stage->value, found, err))
        return RC_FAIL;
    if (!*found)
        return RC_OK;
    struct saved_part saved = {0};
    if (sscanf(stage->value.data, "%127s %" SCNd64 " %" SCNd64 " %" SCNu32 " %" SCNu64 " %d %d", saved.cluster,
               &saved.next, &saved.output_end, &saved.epoch, &saved.reviewed, &saved.review_cause,
               &saved.learning) != 7)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                            "the saved state of partition %d cannot be read: \"%s\"; remove the "
                            "folder materialize in state.dir, it is built again from Kafka",
                            (int)number, stage->value.data);
    *out = saved;
    return RC_OK;
}

static void put_state(struct part *part, struct rc_store_batch *batch) {
    struct stage *stage = part->stage;
    rc_buf_reset(&stage->value);
    (void)rc_buf_printf(&stage->value, "%s %" PRId64 " %" PRId64 " %" PRIu32 " %" PRIu64 " %d %d", stage->cluster,
                        part->batch_next, part->batch_output_end, part->versions.epoch, part->reviewed,
                        (int)part->review_cause, part->phase == PART_LEARNING);
    rc_store_put(batch, RC_STORE_META, part->number, rc_span_str(META_STATE), rc_buf_span(&stage->value));
    rc_buf_reset(&stage->value);
    for (size_t i = 0; i < stage->n_tallies; i++) {
        (void)rc_buf_add_zigzag(&stage->value, part->here[i].members);
        (void)rc_buf_add_zigzag(&stage->value, part->here[i].withheld);
    }
    rc_store_put(batch, RC_STORE_META, part->number, rc_span_str(META_TALLY), rc_buf_span(&stage->value));
    rc_buf_reset(&stage->value);
    for (size_t i = 0; i < stage->n_tallies; i++)
        (void)rc_buf_add_zigzag(&stage->value, stage->last_change_ms[i]);
    rc_store_put(batch, RC_STORE_META, part->number, rc_span_str(META_CHANGED), rc_buf_span(&stage->value));
    rc_publish_save(part, batch);
}

static rc_status cannot_be_read(const struct part *part, struct rc_error *err) {
    return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                        "the saved counts of partition %d cannot be read; remove the folder "
                        "materialize in state.dir, it is built again from Kafka",
                        (int)part->number);
}

static rc_status read_changed(struct part *part, struct rc_error *err) {
    struct stage *stage = part->stage;
    bool found = false;
    rc_buf_reset(&stage->value);
    if (rc_store_get(stage->store, RC_STORE_META, part->number, rc_span_str(META_CHANGED), &stage->value, &found, err))
        return RC_FAIL;
    struct rc_span in = rc_buf_span(&stage->value);
    for (size_t i = 0; found && in.len && i < stage->n_tallies; i++) {
        int64_t changed_ms;
        if (rc_take_zigzag(&in, &changed_ms))
            return cannot_be_read(part, err);
        rc_stage_changed(stage, (uint32_t)i, changed_ms);
    }
    return RC_OK;
}

rc_status rc_checkpoint_read_tallies(struct part *part, struct rc_error *err) {
    struct stage *stage = part->stage;
    bool found = false;
    rc_buf_reset(&stage->value);
    if (rc_store_get(stage->store, RC_STORE_META, part->number, rc_span_str(META_TALLY), &stage->value, &found, err))
        return RC_FAIL;
    struct rc_span in = rc_buf_span(&stage->value);
    for (size_t i = 0; found && in.len && i < stage->n_tallies; i++)
        if (rc_take_zigzag(&in, &part->here[i].members) || rc_take_zigzag(&in, &part->here[i].withheld))
            return cannot_be_read(part, err);
    return read_changed(part, err);
}

/* ---- exits that will need a tombstone ----------------------------------------------------------------------------------------- */

static void add_exit(struct pending_exit **list, size_t *n, size_t *capacity, struct pending_exit exit) {
    rc_grow(list, capacity, *n + 1, sizeof **list);
    (*list)[(*n)++] = exit;
}

static void clear_exits(struct pending_exit *list, size_t *n) {
    for (size_t i = 0; i < *n; i++)
        free(list[i].key);
    *n = 0;
}

void rc_checkpoint_note_exit(struct part *part, struct rc_span key, uint32_t audience, int64_t version,
                             int64_t told_ms) {
    int64_t due = told_ms + part->stage->exit_retention_ms;
    add_exit(&part->exits, &part->n_exits, &part->exits_capacity,
             (struct pending_exit){
                 .key = rc_span_dup(key), .key_len = key.len, .audience = audience, .version = version, .due_ms = due});
    if (due < part->next_burial_ms)
        part->next_burial_ms = due;
    part->changed = true;
}

/* Key in the index: due time and audience big-endian, so that the order of keys is the order of time; then the person key. */
static struct rc_span index_key(struct stage *stage, const struct pending_exit *exit) {
    rc_buf_reset(&stage->scratch);
    for (int shift = 56; shift >= 0; shift -= 8)
        (void)rc_buf_add_byte(&stage->scratch, (uint8_t)((uint64_t)exit->due_ms >> shift));
    for (int shift = 24; shift >= 0; shift -= 8)
        (void)rc_buf_add_byte(&stage->scratch, (uint8_t)(exit->audience >> shift));
    (void)rc_buf_add(&stage->scratch, exit->key, exit->key_len);
    return rc_buf_span(&stage->scratch);
}

/* Puts some of those that were noted when the batch began; true while some are left. */
static bool put_exits(struct part *part, size_t n) {
    struct stage *stage = part->stage;
    for (; part->n_put_exits < part->n_batch_exits && n > 0; n--) {
        const struct pending_exit *exit = &part->batch_exits[part->n_put_exits++];
        rc_buf_reset(&stage->value);
        (void)rc_buf_add_zigzag(&stage->value, exit->version);
        rc_store_put(part->batch, RC_STORE_MEMBER, part->number, index_key(stage, exit), rc_buf_span(&stage->value));
        free(exit->key);
    }
    return part->n_put_exits < part->n_batch_exits;
}

static void set_exits_apart(struct part *part) {
    struct pending_exit *list = part->batch_exits;
    size_t capacity = part->batch_exits_capacity;
    part->batch_exits = part->exits;
    part->n_batch_exits = part->n_exits;
    part->batch_exits_capacity = part->exits_capacity;
    part->n_put_exits = 0;
    part->exits = list;
    part->exits_capacity = capacity;
    part->n_exits = 0;
    for (size_t i = 0; i < part->n_buried; i++)
        rc_store_delete(part->batch, RC_STORE_MEMBER, part->number, index_key(part->stage, &part->buried[i]));
    clear_exits(part->buried, &part->n_buried);
}

struct due_exits {
    int64_t now_ms, next_ms;
    struct pending_exit *items;
    size_t n, capacity;
};

static bool collect_due(void *ctx, struct rc_span key, struct rc_span value) {
    struct due_exits *due = ctx;
    const uint8_t *bytes = (const uint8_t *)key.data;
    struct pending_exit exit = {0};
    uint64_t at = 0;
    if (key.len < 13 || rc_take_zigzag(&value, &exit.version))
        return true;
    for (int i = 0; i < 8; i++)
        at = at << 8 | bytes[i];
    for (int i = 8; i < 12; i++)
        exit.audience = exit.audience << 8 | bytes[i];
    exit.due_ms = (int64_t)at;
    if (exit.due_ms > due->now_ms || due->n == BURIALS_A_TURN) {
        due->next_ms = exit.due_ms;
        return false;
    }
    exit.key_len = key.len - 12;
    exit.key = rc_span_dup(rc_span_of(key.data + 12, exit.key_len));
    add_exit(&due->items, &due->n, &due->capacity, exit);
    return true;
}

static rc_status send_tombstone(struct stage *stage, const char *topic, int32_t partition, struct rc_error *err) {
    struct rc_outgoing record = {.topic = topic,
                                 .partition = partition,
                                 .key = rc_buf_span(&stage->key),
                                 .null_value = true,
                                 .timestamp_ms = RC_NO_TIMESTAMP};
    return rc_producer_send(stage->producer, &record, err);
}

/* The tombstone of one exit, unless the person has come back since. */
static rc_status bury(struct part *part, const struct pending_exit *exit, struct rc_error *err) {
    struct stage *stage = part->stage;
    struct rc_span key = rc_span_of(exit->key, exit->key_len);
    struct rc_audience_person *person = &stage->person;
    if (rc_persons_load(part->persons, key, rc_names_count(stage->signals), rc_names_count(stage->audiences), person,
                        err))
        return RC_FAIL;
    const struct rc_audience_standing *standing = rc_audience_person_standing(person, exit->audience);
    if (!standing || standing->realized || standing->version != exit->version)
        return RC_OK;
    rc_buf_reset(&stage->key);
    if (rc_membership_key_add(&stage->key, key, rc_span_str(rc_names_text(stage->audiences, exit->audience))))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "a person key of %zu bytes is too long", key.len);
    if (send_tombstone(stage, stage->memberships_topic, part->number, err))
        return RC_FAIL;
    rc_counter_inc(stage->metrics.tombstones);
    rc_audience_person_forget(person, exit->audience);
    rc_persons_keep(part->persons, key, person);
    return RC_OK;
}

rc_status rc_checkpoint_bury(struct part *part, int64_t now_ms, struct rc_error *err) {
    /* A tombstone may only follow what is known to be the last word: not while work is being repeated, and not what is still in a batch. */
    if (part->phase != PART_LIVE || now_ms < part->next_burial_ms || part->n_buried || part->n_exits ||
        rc_checkpoint_under_way(part))
        return RC_OK;
    struct due_exits due = {.now_ms = now_ms, .next_ms = INT64_MAX};
    rc_status status =
        rc_store_each(part->stage->store, RC_STORE_MEMBER, part->number, rc_span_of(NULL, 0), collect_due, &due, err);
    for (size_t i = 0; i < due.n; i++) {
        if (status == RC_OK && (status = bury(part, &due.items[i], err)) == RC_OK) {
            add_exit(&part->buried, &part->n_buried, &part->buried_capacity, due.items[i]);
            part->changed = true;
        } else {
            free(due.items[i].key);
        }
    }
    free(due.items);
    if (due.next_ms < now_ms + BURIAL_INTERVAL_MS)
        due.next_ms = now_ms + BURIAL_INTERVAL_MS;
    part->next_burial_ms = due.next_ms;
    return status;
}

/* ---- checkpoints --------------------------------------------------------------------------------------------------------------- */

bool rc_checkpoint_under_way(const struct part *part) {
    return part->batch || part->write;
}

static void begin(struct part *part) {
    struct stage *stage = part->stage;
    int64_t open_group = rc_groups_oldest(part->groups);
    int64_t end = rc_producer_end(stage->producer, stage->memberships_topic, part->number);
    if (end > part->output_end)
        part->output_end = end;
    part->batch_next = open_group < part->next ? open_group : part->next;
    /* While work is repeated, the log behind the old mark is still needed. */
    part->batch_output_end = part->phase == PART_LIVE ? part->output_end : part->mark;
    part->batch_version = ((int64_t)part->versions.epoch << 32) + part->versions.counter;
    /* One of while the partition was learnt does not hold who was learnt after it, and nobody decides for them but the sweep. */
    part->batch_for_sweep = part->phase == PART_LIVE && part->reviewed != rc_audience_rules_generation(stage->rules);
    part->batch_for_pass = part->pass.state == PASS_SAVING;
    part->batch_for_count = part->count.state == COUNT_SAVING;
    part->batch = rc_store_begin(stage->store);
    part->put = false;
    put_state(part, part->batch);
    set_exits_apart(part);
    rc_persons_save_begin(part->persons, part->batch);
    part->batch_mark = rc_producer_mark(stage->producer);
    part->changed = part->wanted_now = false;
    part->saved_ms = rc_clock_monotonic_ms();
}

static void put_some(struct part *part, size_t n) {
    bool exits = put_exits(part, n), persons = rc_persons_save_some(part->persons, n);
    part->put = !exits && !persons;
}

void rc_checkpoint_drop(struct part *part) {
    struct rc_error err;
    if (part->write && rc_store_commit_end(part->write, &err))
        rc_log(RC_LOG_ERROR, "the last checkpoint was not saved", rc_f_int("partition", part->number), rc_f_err(&err));
    part->write = NULL;
    rc_store_abort(part->batch);
    part->batch = NULL;
    for (; part->n_put_exits < part->n_batch_exits; part->n_put_exits++)
        free(part->batch_exits[part->n_put_exits].key);
}

/* What a new owner needs to know. It begins just at the offset: it learns what lies before, takes versions below the mark for what was
 * published by then, and decides the rest again. While we do that ourselves, only the new epoch is told. False: nothing to tell yet. */
static bool hand_over(struct part *part, char *metadata, size_t bytes, struct rc_offset *out) {
    if (part->phase == PART_LIVE) {
        part->committed = part->batch_next;
        part->mark = part->batch_output_end;
        part->version_mark = part->batch_version;
    }
    if (part->committed < 0)
        return false;
    snprintf(metadata, bytes, "epoch=%" PRIu32 " output=%" PRId64 " version=%" PRId64 " definitions=%" PRId64,
             part->versions.epoch, part->mark, part->version_mark, rc_definitions_seen(part->stage->definitions));
    rc_publish_hand_over(part, metadata, bytes);
    *out = (struct rc_offset){.topic = part->stage->segments_topic,
                              .partition = part->number,
                              .offset = part->committed,
                              .metadata = metadata};
    return true;
}

/* In the thread that commits. */
static void wake(void *ctx) {
    rc_loop_wake(ctx);
}

/* `wait`: for the broker's answer to the offset. */
static rc_status committed(struct part *part, bool wait, struct rc_error *err) {
    struct stage *stage = part->stage;
    rc_status status = rc_store_commit_end(part->write, err);
    part->write = NULL;
    rc_persons_saved(part->persons, status == RC_OK);
    if (status)
        return RC_FAIL;
    rc_counter_inc(stage->metrics.checkpoints);
    if (part->batch_for_sweep)
        part->sweep_may_start = true;
    if (part->batch_for_pass && part->pass.state == PASS_SAVING)
        part->pass.state = PASS_RUNNING;
    if (part->batch_for_count && part->count.state == COUNT_SAVING)
        part->count.state = COUNT_RUNNING;
    part->saved_next = part->batch_next;
    char metadata[HANDOVER_BYTES];
    struct rc_offset offset;
    if (stage->exactly_once || !hand_over(part, metadata, sizeof metadata, &offset))
        return RC_OK;
    struct rc_error why;
    if (rc_source_commit(stage->source, &offset, 1, wait, &why)) {
        if (why.class == RC_CLASS_FENCED || why.class == RC_CLASS_FATAL) {
            *err = why;
            return RC_FAIL;
        }
        rc_log_limited(RC_LOG_WARN, "offset not committed, the next checkpoint does it",
                       rc_f_int("partition", part->number), rc_f_err(&why));
    }
    return RC_OK;
}

/* Takes the one under way as far as what is put and acknowledged allows. `wait`: all is put at once, and it waits for the store and the broker. */
static rc_status finish(struct part *part, bool wait, struct rc_error *err) {
    struct stage *stage = part->stage;
    if (part->batch && !part->put && wait)
        put_some(part, SIZE_MAX);
    if (part->batch && part->put && rc_producer_passed(stage->producer, part->batch_mark)) {
        part->write = rc_store_commit_begin(part->batch, wake, stage->loop);
        part->batch = NULL;
    }
    return part->write && (wait || rc_store_commit_over(part->write)) ? committed(part, wait, err) : RC_OK;
}

/* Everything that any partition has sent belongs to one transaction, so they are saved together: changes and offsets are committed, and
 * then the batches. A crash in between leaves the store one transaction behind, which is the crash before 3 above. */
static rc_status finish_together(struct stage *stage, struct rc_error *err) {
    if (stage->failed) {
        *err = stage->failure;
        return RC_FAIL;
    }
    if (rc_rules_save_names(stage, err))
        return RC_FAIL;
    struct rc_offset *offsets = rc_calloc(stage->n_parts + 1, sizeof *offsets);
    char(*metadata)[HANDOVER_BYTES] = rc_calloc(stage->n_parts + 1, sizeof *metadata);
    size_t n = 0;
    for (size_t i = 0; i < stage->n_parts; i++) {
        if (stage->parts[i]->changed)
            begin(stage->parts[i]);
        if (stage->parts[i]->batch && hand_over(stage->parts[i], metadata[n], sizeof metadata[n], &offsets[n]))
            n++;
    }
    rc_status status = rc_delivery_commit(stage->process, stage->producer, stage->source, offsets, n, err);
    free(metadata);
    free(offsets);
    for (size_t i = 0; status == RC_OK && i < stage->n_parts; i++)
        status = finish(stage->parts[i], true, err);
    return status;
}

int64_t rc_checkpoint_due(const struct part *part) {
    const struct stage *stage = part->stage;
    if (!part->changed || rc_checkpoint_under_way(part))
        return INT64_MAX;
    if (part->wanted_now)
        return INT64_MIN;
    int64_t due = part->saved_ms + stage->interval_ms, last = part->saved_ms + BUSY_INTERVALS * stage->interval_ms;
    if (stage->exactly_once || stage->busy_until_ms <= due || rc_persons_crowded(part->persons))
        return due;
    return stage->busy_until_ms < last ? stage->busy_until_ms : last;
}

static rc_status turn_together(struct stage *stage, int64_t monotonic_ms, struct rc_error *err) {
    for (size_t i = 0; i < stage->n_parts; i++)
        if (rc_checkpoint_due(stage->parts[i]) <= monotonic_ms)
            return finish_together(stage, err);
    return RC_OK;
}

/* The one that is being put, or else the one that has waited longest; NULL: nothing is to be put. */
static struct part *next_to_put(const struct stage *stage, int64_t monotonic_ms) {
    struct part *next = NULL;
    for (size_t i = 0; i < stage->n_parts; i++) {
        struct part *part = stage->parts[i];
        if (part->batch && !part->put)
            return part;
        if (rc_checkpoint_due(part) <= monotonic_ms && (!next || part->saved_ms < next->saved_ms))
            next = part;
    }
    return next;
}

rc_status rc_checkpoint_turn(struct stage *stage, int64_t monotonic_ms, bool *more, struct rc_error *err) {
    *more = false;
    if (stage->exactly_once)
        return turn_together(stage, monotonic_ms, err);
    for (size_t i = 0; i < stage->n_parts; i++)
        if (finish(stage->parts[i], false, err))
            return RC_FAIL;
    int64_t slice_us = monotonic_ms < stage->busy_until_ms ? SLICE_BUSY_US : SLICE_US;
    int64_t until_ns = rc_clock_monotonic_ns() + slice_us * 1000;
    struct part *part;
    while ((part = next_to_put(stage, monotonic_ms))) {
        if (!part->batch && rc_rules_save_names(stage, err))
            return RC_FAIL;
        if (!part->batch)
            begin(part);
        do
            put_some(part, SLICE_RECORDS);
        while (!part->put && rc_clock_monotonic_ns() < until_ns);
        if (finish(part, false, err))
            return RC_FAIL;
        *more = rc_clock_monotonic_ns() >= until_ns;
        if (*more)
            return RC_OK;
    }
    return RC_OK;
}

rc_status rc_checkpoint_whole(struct part *part, int timeout_ms, struct rc_error *err) {
    if (part->stage->exactly_once)
        return finish_together(part->stage, err);
    if (rc_producer_flush(part->stage->producer, timeout_ms, err))
        return RC_FAIL;
    if (finish(part, true, err))
        return RC_FAIL;
    if (!part->changed)
        return RC_OK;
    if (rc_rules_save_names(part->stage, err))
        return RC_FAIL;
    begin(part);
    if (rc_producer_flush(part->stage->producer, timeout_ms, err))
        return RC_FAIL;
    return finish(part, true, err);
}
