/* Making state durable, without standing still, in four steps:
 *   begin    the changed persons, input offsets, epoch and output mark are written into one batch for the local store, and kept for the
 *            changelog; a mark is put into the stream of changes;
 *   send     every change before the mark is acknowledged by Kafka: the persons go to the changelog in pieces, then the lanes' records.
 *            So what the changelog holds never claims a change that is not on the output log, and within a partition, where the
 *            idempotent producer keeps order, a lane's record stands for all persons before it;
 *   commit   they are acknowledged too: the batch is committed to the local store. Not before: persons that the local store has and the
 *            changelog has not would be written to it by nobody;
 *   offsets  are committed to the group.
 * Work goes on meanwhile. With exactly_once the second step and the offsets are in one transaction with the changes.
 *
 * What a crash at each point repeats:
 *   1. before the batch is committed: the store says what the checkpoint before said. What the changelog has beyond that is taken in at
 *      the next start (restore.c); everything since is done again, and the changes that are on the topic already are recognised
 *      (repeats.h);
 *   2. between store and group: nothing; a start goes by the store's offsets, the group's are for lag and for others. */
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

/* ---- begin ---- */

struct putting {
    struct checkpoint *checkpoint;
    const struct lane *lane;
};

static void put_person(void *ctx, struct rc_span person_key, struct rc_span record) {
    const struct putting *putting = ctx;
    const struct lane *lane = putting->lane;
    rc_store_put(putting->checkpoint->batch, RC_STORE_PERSON, lane->number, person_key, record);
    if (lane->ingest->state_topic)
        rc_ingest_changelog_keep(putting->checkpoint, lane, person_key, record);
}

static json_t *describe(struct ingest *ingest, struct lane *lane) {
    int64_t acknowledged = rc_producer_end(ingest->producer, ingest->segments_topic, lane->number);
    if (acknowledged > lane->output_end)
        lane->output_end = acknowledged;
    struct saved_lane saved = {.cluster = ingest->cluster,
                               .epoch = lane->versions.epoch,
                               /* While work is done again, the log behind the old mark is still needed. */
                               .output_end = lane->repeats ? lane->output_mark : lane->output_end,
                               .n_inputs = lane->n_inputs};
    saved.inputs = rc_calloc(lane->n_inputs + 1, sizeof *saved.inputs);
    for (size_t i = 0; i < lane->n_inputs; i++) {
        const struct input *input = lane->inputs[i];
        saved.inputs[i] = (struct saved_input){.topic = input->topic,
                                               .position = input->position,
                                               .clock_ms = input->clock_ms,
                                               .greatest_ms = input->greatest_ms};
    }
    json_t *json = rc_ingest_saved_json(&saved);
    free(saved.inputs);
    return json;
}

/* The lane's own record. While all of its persons are being written anew the changelog gets none: it would claim those that are not there
 * yet. */
static void put_lane(struct ingest *ingest, struct lane *lane, size_t records_before) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    struct checkpoint_lane one = {
        .number = lane->number, .json = describe(ingest, lane), .whole = ingest->state_topic && !lane->rewriting};
    if (one.whole) {
        char *text = json_dumps(one.json, JSON_COMPACT);
        rc_ingest_changelog_keep(checkpoint, lane, rc_span_str(RC_CHANGELOG_LANE_KEY), rc_span_str(text));
        free(text);
    }
    one.records = checkpoint->n_records - records_before;
    rc_grow(&checkpoint->lanes, &checkpoint->lanes_capacity, checkpoint->n_lanes + 1, sizeof *checkpoint->lanes);
    checkpoint->lanes[checkpoint->n_lanes++] = one;
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

rc_status rc_ingest_checkpoint_begin(struct ingest *ingest, struct rc_error *err) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    bool dirty = false;
    for (size_t i = 0; i < ingest->n_lanes; i++)
        dirty |= lane_works(ingest->lanes[i]) && ingest->lanes[i]->dirty;
    if (checkpoint->batch || !dirty)
        return RC_OK;
    checkpoint->began_ns = rc_clock_monotonic_ns();
    checkpoint->batch = rc_store_begin(ingest->store);
    rc_buf_init(&checkpoint->records, SIZE_MAX / 2);
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        struct lane *lane = ingest->lanes[i];
        if (!lane_works(lane) || !lane->dirty)
            continue;
        /* Before what has changed since: the later record of a person counts. */
        size_t records_before = checkpoint->n_records;
        if (lane->rewriting && rc_ingest_changelog_rewrite(lane, checkpoint, err) != RC_OK)
            return RC_FAIL;
        struct putting putting = {.checkpoint = checkpoint, .lane = lane};
        lane->batch = checkpoint->batch;
        rc_population_save(lane->population, put_person, &putting);
        lane->batch = NULL;
        rc_ingest_residence_put(lane, checkpoint->batch);
        put_lane(ingest, lane, records_before);
        for (size_t k = 0; k < lane->n_inputs; k++)
            add_offset(checkpoint, lane, lane->inputs[k]);
        lane->in_checkpoint = true;
        lane->dirty = lane->rewriting;
    }
    rc_ingest_notes_put(ingest, checkpoint->batch);
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
    if (checkpoint->batch)
        rc_buf_deinit(&checkpoint->records);
    *checkpoint = (struct checkpoint){0};
    for (size_t i = 0; i < ingest->n_lanes; i++)
        ingest->lanes[i]->in_checkpoint = false;
}

static size_t own_records(const struct checkpoint *checkpoint, const struct lane *lane) {
    for (size_t i = 0; i < checkpoint->n_lanes; i++)
        if (checkpoint->lanes[i].number == lane->number)
            return checkpoint->lanes[i].records;
    return 0;
}

static rc_status commit(struct ingest *ingest, bool wait, struct rc_error *err) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    for (size_t i = 0; i < checkpoint->n_lanes; i++) {
        const struct checkpoint_lane *lane = &checkpoint->lanes[i];
        rc_ingest_saved_put(checkpoint->batch, lane->number, lane->json,
                            lane->whole ? rc_producer_end(ingest->producer, ingest->state_topic, lane->number) : -1);
    }
    rc_status status = rc_store_commit(checkpoint->batch, false, err);
    if (status == RC_OK) {
        struct rc_error why;
        /* The group's offsets are for lag and for others; the next checkpoint covers one that fails. */
        if (!ingest->exactly_once &&
            rc_source_commit(ingest->source, checkpoint->offsets, checkpoint->n_offsets, wait, &why) != RC_OK)
            rc_log_limited(RC_LOG_WARN, "offsets not committed; the next commit covers them", rc_f_err(&why));
        for (size_t i = 0; status == RC_OK && i < ingest->n_lanes; i++)
            if (ingest->state_topic && ingest->lanes[i]->in_checkpoint)
                status = rc_ingest_changelog_heal(ingest->lanes[i], own_records(checkpoint, ingest->lanes[i]), err);
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
    while (checkpoint->sent < checkpoint->records.len)
        if (rc_ingest_changelog_send(ingest, checkpoint, err) != RC_OK)
            return RC_FAIL;
    if (sends)
        checkpoint->mark = rc_producer_mark(ingest->producer);
    return rc_delivery_commit(ingest->process, ingest->producer, ingest->source, checkpoint->offsets,
                              checkpoint->n_offsets, err);
}

rc_status rc_ingest_checkpoint_finish(struct ingest *ingest, bool wait, struct rc_error *err) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    if (checkpoint->batch && ingest->exactly_once && commit_transaction(ingest, err) != RC_OK)
        return RC_FAIL;
    while (checkpoint->batch && rc_producer_passed(ingest->producer, checkpoint->mark)) {
        if (checkpoint->sent == checkpoint->records.len)
            return commit(ingest, wait, err);
        if (rc_ingest_changelog_send(ingest, checkpoint, err) != RC_OK)
            return RC_FAIL;
        checkpoint->mark = rc_producer_mark(ingest->producer);
    }
    return RC_OK;
}

rc_status rc_ingest_checkpoint_now(struct ingest *ingest, int timeout_ms, struct rc_error *err) {
    int64_t until = rc_clock_monotonic_ms() + timeout_ms;
    if (rc_producer_flush(ingest->producer, timeout_ms, err) != RC_OK)
        return RC_FAIL;
    for (bool begun = false;;) {
        if (rc_ingest_checkpoint_finish(ingest, true, err) != RC_OK)
            return RC_FAIL;
        if (!ingest->checkpoint.batch && begun)
            return RC_OK;
        if (!ingest->checkpoint.batch) {
            begun = true;
            if (rc_ingest_checkpoint_begin(ingest, err) != RC_OK)
                return RC_FAIL;
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
    if (!ingest->checkpoint.batch)
        return;
    rc_store_abort(ingest->checkpoint.batch);
    clear(ingest);
}
