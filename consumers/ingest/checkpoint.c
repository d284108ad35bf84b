/* Making state durable, without standing still:
 *   begin    who has changed since the last one is to be saved; input positions, clocks, epoch and output mark are noted as they are now;
 *   put      these persons go into one batch for the local store, and into what is kept for the changelog, a slice in each turn of the loop.
 *            Work goes on in between, so persons may be ahead of what was noted, never behind. Behind the last one a mark is put into the
 *            stream of changes;
 *   send     every change before the mark is acknowledged by Kafka: the persons go to the changelog in pieces, each lane's record behind
 *            its own. So what the changelog holds never claims a change that is not on the output log, and within a partition, where the
 *            idempotent producer keeps order, a lane's record stands for all persons before it;
 *   commit   they are acknowledged too: the batch is committed to the local store, by a thread of its own. Not before: persons that the
 *            local store has and the changelog has not would be written to it by nobody;
 *   offsets  are committed to the group.
 * With exactly_once all persons are put at once, and they and the offsets are in one transaction with the changes: what the next turn sends is
 * of the next one.
 *
 * What a crash at each point repeats:
 *   1. before the batch is committed: the store says what the checkpoint before said. What the changelog has beyond that is taken in at
 *      the next start (restore.c); everything since is done again, and the changes that are on the topic already are recognised
 *      (repeats.h);
 *   2. between store and group: nothing; a start goes by the store's offsets, the group's are for lag and for others.
 * Persons who are ahead of the noted positions are read some events again: docs/decisions/0006 says why that is exact. The numbers that are
 * saved with them are those of the records in the store, not of the moment (rc_population_saved). */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/ingest/internal.h"
#include "consumers/shared/delivery.h"
#include "store/changelog.h"

#define SLICE_PERSONS 32
#define PIECE_RECORDS 250
#define PIECE_BUSY_RECORDS 5000
#define BULK_BUSY_RECORDS 20000
#define DEADLINE_BYTES 64 /* of a person, about */

size_t rc_ingest_bulk_limit(const struct ingest *ingest) {
    return ingest_hurries(ingest) ? BULK_BUSY_RECORDS : ingest->pace.limit;
}

/* ---- begin ---- */

static json_t *describe(struct ingest *ingest, struct lane *lane) {
    int64_t acknowledged = rc_producer_end(ingest->producer, ingest->segments_topic, lane->number);
    if (acknowledged > lane->output_end)
        lane->output_end = acknowledged;
    struct saved_lane saved = {.cluster = ingest->cluster,
                               .epoch = lane->versions.epoch,
                               /* While work is done again that the log holds, the log behind the old mark is still
                                * needed. A first start has a long way to go, and nothing to do again. */
                               .output_end = lane->repeats && !rc_repeats_empty(lane->repeats) ? lane->output_mark
                                                                                               : lane->output_end,
                               .definitions = rc_definitions_seen(ingest->definitions),
                               .n_inputs = lane->n_inputs};
    saved.inputs = rc_calloc(lane->n_inputs + 1, sizeof *saved.inputs);
    for (size_t i = 0; i < lane->n_inputs; i++) {
        const struct input *input = lane->inputs[i];
        saved.inputs[i] = (struct saved_input){.topic = input->topic,
                                               .position = input->position,
                                               .clock_ms = input->clock_ms,
                                               .greatest_ms = input->greatest_ms};
    }
    saved.warming = rc_ingest_shadows_json(lane);
    saved.pass = rc_ingest_pass_json(lane);
    json_t *json = rc_ingest_saved_json(&saved);
    json_decref(saved.warming);
    json_decref(saved.pass);
    free(saved.inputs);
    return json;
}

static void add_offset(struct checkpoint *checkpoint, const struct lane *lane, const struct input *input) {
    if (input->position < 0)
        return;
    char epoch[32];
    snprintf(epoch, sizeof epoch, "epoch=%u", lane->versions.epoch);
    checkpoint->offsets = rc_realloc(checkpoint->offsets, (checkpoint->n_offsets + 1) * sizeof *checkpoint->offsets);
    checkpoint->offsets[checkpoint->n_offsets++] = (struct rc_offset){.topic = rc_strdup(input->topic),
                                                                      .partition = lane->number,
                                                                      .offset = input->position,
                                                                      .metadata = rc_strdup(epoch)};
}

static void begin_lane(struct ingest *ingest, struct lane *lane) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    rc_ingest_switch_begin(lane);
    rc_population_save_begin(lane->population);
    rc_grow(&checkpoint->lanes, &checkpoint->lanes_capacity, checkpoint->n_lanes + 1, sizeof *checkpoint->lanes);
    checkpoint->lanes[checkpoint->n_lanes++] = (struct checkpoint_lane){
        .lane = lane,
        .json = describe(ingest, lane),
        .plan = rc_population_settled(lane->population) ? rc_plan_hash(lane->composition->plan) : 0};
    for (size_t k = 0; k < lane->n_inputs; k++)
        add_offset(checkpoint, lane, lane->inputs[k]);
    lane->in_checkpoint = true;
    lane->dirty = false;
}

void rc_ingest_checkpoint_begin(struct ingest *ingest) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    bool dirty = false;
    for (size_t i = 0; i < ingest->n_lanes; i++)
        dirty |= lane_works(ingest->lanes[i]) && ingest->lanes[i]->dirty;
    if (checkpoint->under_way || !dirty)
        return;
    checkpoint->under_way = true;
    checkpoint->began_ns = rc_clock_monotonic_ns();
    checkpoint->batch = rc_store_begin(ingest->store);
    rc_buf_init(&checkpoint->records, SIZE_MAX / 2);
    for (size_t i = 0; i < ingest->n_lanes; i++)
        if (lane_works(ingest->lanes[i]) && ingest->lanes[i]->dirty)
            begin_lane(ingest, ingest->lanes[i]);
}

/* ---- put ---- */

struct putting {
    struct checkpoint *checkpoint;
    const struct lane *lane;
};

static void put_person(void *ctx, struct rc_span person_key, struct rc_span record) {
    const struct putting *putting = ctx;
    struct ingest *ingest = putting->lane->ingest;
    rc_store_put(putting->checkpoint->batch, RC_STORE_PERSON, putting->lane->number, person_key, record);
    if (ingest->state_topic)
        rc_ingest_changelog_keep(putting->checkpoint, putting->lane, person_key, record);
    ingest->person_bytes = (ingest->person_bytes * 63 + person_key.len + record.len + DEADLINE_BYTES) / 64;
}

/* The lane's own record and numbers, behind its persons. While all of them are being written anew the changelog gets none: it would claim those
 * that are not there yet. */
static void put_lane(struct ingest *ingest, struct checkpoint_lane *one) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    rc_ingest_residence_put(one->lane, one->plan, checkpoint->batch);
    one->whole = ingest->state_topic && !one->lane->rewriting;
    /* Behind the persons, which hold all that the version needs; before the lane's record, which does not name it as warming any more. */
    rc_ingest_served_put(one->lane, checkpoint, one->whole);
    if (one->whole) {
        char *text = json_dumps(one->json, JSON_COMPACT);
        rc_ingest_changelog_keep(checkpoint, one->lane, rc_span_str(RC_CHANGELOG_LANE_KEY), rc_span_str(text));
        free(text);
    }
    one->records = checkpoint->n_records - one->records_before;
}

/* Puts some of a lane's persons; `*more`: some are left. */
static rc_status put_persons(struct ingest *ingest, struct checkpoint_lane *one, size_t n, bool *more,
                             struct rc_error *err) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    struct lane *lane = one->lane;
    if (!one->begun) {
        one->begun = true;
        one->records_before = checkpoint->n_records;
        /* Before what has changed since: the later record of a person counts. */
        if (lane->rewriting && rc_ingest_changelog_rewrite(lane, checkpoint, err) != RC_OK)
            return RC_FAIL;
        lane->dirty |= lane->rewriting;
    }
    struct putting putting = {.checkpoint = checkpoint, .lane = lane};
    lane->batch = checkpoint->batch;
    *more = rc_population_save_some(lane->population, n, put_person, &putting);
    lane->batch = NULL;
    return RC_OK;
}

static rc_status put_some(struct ingest *ingest, bool all, struct rc_error *err) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    if (ingest->failed) {
        *err = ingest->failure;
        return RC_FAIL; /* a population whose disk has failed puts nobody */
    }
    int64_t began_ns = rc_clock_monotonic_ns(), until_ns = began_ns + ingest->pace.slice_ns;
    if (!all && ingest->pace.slice_ns == 0)
        return RC_OK; /* it rests */
    while (checkpoint->put_lanes < checkpoint->n_lanes) {
        struct checkpoint_lane *one = &checkpoint->lanes[checkpoint->put_lanes];
        bool more = false;
        if (put_persons(ingest, one, all ? 0 : SLICE_PERSONS, &more, err) != RC_OK)
            return RC_FAIL;
        if (!more) {
            put_lane(ingest, one);
            checkpoint->put_lanes++;
        }
        if (!all && checkpoint->put_lanes < checkpoint->n_lanes && rc_clock_monotonic_ns() >= until_ns)
            break;
    }
    rc_ingest_pace_spent(ingest, began_ns);
    if (checkpoint->put_lanes < checkpoint->n_lanes)
        return RC_OK;
    checkpoint->put = true;
    checkpoint->mark = rc_producer_mark(ingest->producer);
    return RC_OK;
}

/* ---- the other steps ---- */

/* Forgets what is kept; the batch is the caller's. */
static void clear(struct ingest *ingest) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    for (size_t i = 0; i < checkpoint->n_offsets; i++) {
        free((char *)(uintptr_t)checkpoint->offsets[i].topic);
        free((char *)(uintptr_t)checkpoint->offsets[i].metadata);
    }
    free(checkpoint->offsets);
    for (size_t i = 0; i < checkpoint->n_lanes; i++)
        json_decref(checkpoint->lanes[i].json);
    free(checkpoint->lanes);
    if (checkpoint->under_way)
        rc_buf_deinit(&checkpoint->records);
    *checkpoint = (struct checkpoint){0};
    for (size_t i = 0; i < ingest->n_lanes; i++)
        ingest->lanes[i]->in_checkpoint = false;
}

/* In the thread that commits. */
static void wake(void *ctx) {
    rc_loop_wake(ctx);
}

static void commit(struct ingest *ingest) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    for (size_t i = 0; i < checkpoint->n_lanes; i++) {
        const struct checkpoint_lane *one = &checkpoint->lanes[i];
        int32_t number = one->lane->number;
        rc_ingest_saved_put(checkpoint->batch, number, one->json,
                            one->whole ? rc_producer_end(ingest->producer, ingest->state_topic, number) : -1);
    }
    rc_buf_deinit(&checkpoint->records); /* the batch is about to be in memory twice */
    checkpoint->write = rc_store_commit_begin(checkpoint->batch, wake, ingest->loop);
    checkpoint->batch = NULL;
}

static rc_status committed(struct ingest *ingest, bool wait, struct rc_error *err) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    rc_status status = rc_store_commit_end(checkpoint->write, err);
    checkpoint->write = NULL;
    if (status == RC_OK) {
        struct rc_error why;
        /* The group's offsets are for lag and for others; the next checkpoint covers one that fails. */
        if (!ingest->exactly_once &&
            rc_source_commit(ingest->source, checkpoint->offsets, checkpoint->n_offsets, wait, &why) != RC_OK)
            rc_log_limited(RC_LOG_WARN, "offsets not committed; the next commit covers them", rc_f_err(&why));
        for (size_t i = 0; status == RC_OK && i < checkpoint->n_lanes; i++)
            if (ingest->state_topic)
                status = rc_ingest_changelog_heal(checkpoint->lanes[i].lane, checkpoint->lanes[i].records, err);
        for (size_t i = 0; status == RC_OK && i < checkpoint->n_lanes; i++)
            status = rc_ingest_switch_committed(checkpoint->lanes[i].lane, err);
        rc_counter_inc(ingest->metrics.checkpoints);
        rc_histogram_observe_ns(ingest->metrics.checkpoint, rc_clock_monotonic_ns() - checkpoint->began_ns);
    }
    clear(ingest);
    return status;
}

/* The changelog's records and the offsets are part of the transaction that the changes are in. Nothing else may be sent
 * before it is committed. */
static rc_status commit_transaction(struct ingest *ingest, struct rc_error *err) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    bool sends = checkpoint->sent < checkpoint->records.len;
    if (sends && rc_ingest_changelog_send(ingest, checkpoint, SIZE_MAX, err) != RC_OK)
        return RC_FAIL;
    if (sends)
        checkpoint->mark = rc_producer_mark(ingest->producer);
    return rc_delivery_commit(ingest->process, ingest->producer, ingest->source, checkpoint->offsets,
                              checkpoint->n_offsets, err);
}

/* Sends pieces while there is room; one in any case when what was sent before is acknowledged, for live changes alone may take all the room. */
static rc_status send_some(struct ingest *ingest, struct rc_error *err) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    while (checkpoint->sent < checkpoint->records.len &&
           (rc_producer_passed(ingest->producer, checkpoint->mark) ||
            (checkpoint->sent > 0 && rc_producer_outstanding(ingest->producer) < rc_ingest_bulk_limit(ingest)))) {
        size_t piece = ingest_hurries(ingest) ? PIECE_BUSY_RECORDS : PIECE_RECORDS;
        if (rc_ingest_changelog_send(ingest, checkpoint, piece, err) != RC_OK)
            return RC_FAIL;
        checkpoint->mark = rc_producer_mark(ingest->producer);
    }
    return RC_OK;
}

rc_status rc_ingest_checkpoint_finish(struct ingest *ingest, bool wait, struct rc_error *err) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    if (!checkpoint->under_way)
        return RC_OK;
    if (!checkpoint->put && put_some(ingest, wait || ingest->exactly_once, err) != RC_OK)
        return RC_FAIL;
    if (checkpoint->put && !checkpoint->write) {
        if (ingest->exactly_once && commit_transaction(ingest, err) != RC_OK)
            return RC_FAIL;
        if (send_some(ingest, err) != RC_OK)
            return RC_FAIL;
        if (checkpoint->sent == checkpoint->records.len && rc_producer_passed(ingest->producer, checkpoint->mark))
            commit(ingest);
    }
    if (checkpoint->write && (wait || rc_store_commit_over(checkpoint->write)))
        return committed(ingest, wait, err);
    return RC_OK;
}

rc_status rc_ingest_checkpoint_now(struct ingest *ingest, int timeout_ms, struct rc_error *err) {
    int64_t until = rc_clock_monotonic_ms() + timeout_ms;
    if (rc_producer_flush(ingest->producer, timeout_ms, err) != RC_OK)
        return RC_FAIL;
    for (bool begun = false;;) {
        if (rc_ingest_checkpoint_finish(ingest, true, err) != RC_OK)
            return RC_FAIL;
        if (!ingest->checkpoint.under_way && begun)
            return RC_OK;
        if (!ingest->checkpoint.under_way) {
            begun = true;
            rc_ingest_checkpoint_begin(ingest);
            continue;
        }
        if (rc_clock_monotonic_ms() > until)
            return rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE,
                                "the state is not saved after %d ms; do all in-sync replicas run?", timeout_ms);
        if (rc_producer_poll(ingest->producer, 10, err) != RC_OK)
            return RC_FAIL;
    }
}

void rc_ingest_checkpoint_drop(struct ingest *ingest) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    if (!checkpoint->under_way)
        return;
    struct rc_error err;
    if (checkpoint->write && rc_store_commit_end(checkpoint->write, &err) != RC_OK)
        rc_log(RC_LOG_ERROR, "the last checkpoint was not saved", rc_f_err(&err));
    checkpoint->write = NULL;
    rc_store_abort(checkpoint->batch);
    clear(ingest);
}
