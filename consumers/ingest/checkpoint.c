/* Making state durable, without standing still: at the beginning the changed persons, input offsets, epoch and output
 * mark are written into one batch, and a mark is put into the stream of changes; once every change before the mark is
 * acknowledged by Kafka the batch is committed to the store, and then the offsets to the group. Work goes on
 * meanwhile.
 *
 * What a crash at each point repeats:
 *   1. before the batch is committed: the store says what the checkpoint before said; everything since is done again,
 *      and the changes that are on the topic already are recognised (repeats.h);
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

static void put_person(void *ctx, struct rc_span person_key, struct rc_span record) {
    void **context = ctx;
    rc_store_put(context[0], RC_STORE_PERSON, ((struct lane *)context[1])->number, person_key, record);
}

static void put_lane(struct ingest *ingest, struct lane *lane, struct rc_store_batch *batch) {
    int64_t acknowledged = rc_producer_end(ingest->producer, ingest->segments_topic, lane->number);
    if (acknowledged > lane->output_end)
        lane->output_end = acknowledged;
    json_t *inputs = json_object();
    for (size_t i = 0; i < lane->n_inputs; i++) {
        const struct input *input = lane->inputs[i];
        json_object_set_new(inputs, input->topic,
                            json_pack("{s:I, s:I, s:I}", "position", (json_int_t)input->position, "clock_ms",
                                      (json_int_t)input->clock_ms, "greatest_ms", (json_int_t)input->greatest_ms));
    }
    json_t *json =
        json_pack("{s:s, s:I, s:I, s:o}", "cluster", ingest->cluster, "epoch", (json_int_t)lane->versions.epoch,
                  "output_end", (json_int_t)lane->output_end, "inputs", inputs);
    char *text = json_dumps(json, JSON_COMPACT);
    rc_store_put(batch, RC_STORE_META, lane->number, rc_span_str("lane"), rc_span_str(text));
    free(text);
    json_decref(json);
}

static void free_offsets(struct checkpoint *checkpoint) {
    for (size_t i = 0; i < checkpoint->n_offsets; i++) {
        free((char *)(uintptr_t)checkpoint->offsets[i].topic);
        free((char *)(uintptr_t)checkpoint->offsets[i].metadata);
    }
    free(checkpoint->offsets);
    checkpoint->offsets = NULL;
    checkpoint->n_offsets = 0;
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
    (void)err;
    struct checkpoint *checkpoint = &ingest->checkpoint;
    bool dirty = false;
    for (size_t i = 0; i < ingest->n_lanes; i++)
        dirty |= lane_works(ingest->lanes[i]) && ingest->lanes[i]->dirty;
    if (checkpoint->batch || !dirty)
        return RC_OK;
    checkpoint->began_ns = rc_clock_monotonic_ns();
    checkpoint->batch = rc_store_begin(ingest->store);
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        struct lane *lane = ingest->lanes[i];
        if (!lane_works(lane) || !lane->dirty)
            continue;
        void *context[] = {checkpoint->batch, lane};
        lane->batch = checkpoint->batch;
        rc_population_save(lane->population, put_person, context);
        lane->batch = NULL;
        rc_ingest_residence_put(lane, checkpoint->batch);
        put_lane(ingest, lane, checkpoint->batch);
        for (size_t k = 0; k < lane->n_inputs; k++)
            add_offset(checkpoint, lane, lane->inputs[k]);
        lane->dirty = false;
    }
    rc_ingest_notes_put(ingest, checkpoint->batch);
    checkpoint->mark = rc_producer_mark(ingest->producer);
    return RC_OK;
}

rc_status rc_ingest_checkpoint_finish(struct ingest *ingest, bool wait, struct rc_error *err) {
    struct checkpoint *checkpoint = &ingest->checkpoint;
    if (!checkpoint->batch)
        return RC_OK;
    if (ingest->exactly_once && rc_delivery_commit(ingest->process, ingest->producer, ingest->source, checkpoint->offsets,
                                                   checkpoint->n_offsets, err) != RC_OK)
        return RC_FAIL;
    if (!rc_producer_passed(ingest->producer, checkpoint->mark))
        return RC_OK;
    struct rc_store_batch *batch = checkpoint->batch;
    checkpoint->batch = NULL;
    rc_status status = rc_store_commit(batch, false, err);
    if (status == RC_OK) {
        struct rc_error why;
        /* The group's offsets are for lag and for others; the next checkpoint covers one that fails. */
        if (!ingest->exactly_once &&
            rc_source_commit(ingest->source, checkpoint->offsets, checkpoint->n_offsets, wait, &why) != RC_OK)
            rc_log_limited(RC_LOG_WARN, "offsets not committed; the next commit covers them", rc_f_err(&why));
        rc_counter_inc(ingest->metrics.checkpoints);
        rc_histogram_observe_ns(ingest->metrics.checkpoint, rc_clock_monotonic_ns() - checkpoint->began_ns);
    }
    free_offsets(checkpoint);
    return status;
}

rc_status rc_ingest_checkpoint_now(struct ingest *ingest, int timeout_ms, struct rc_error *err) {
    if (rc_producer_flush(ingest->producer, timeout_ms, err) != RC_OK ||
        rc_ingest_checkpoint_finish(ingest, true, err) != RC_OK || rc_ingest_checkpoint_begin(ingest, err) != RC_OK)
        return RC_FAIL;
    return rc_ingest_checkpoint_finish(ingest, true, err);
}

void rc_ingest_checkpoint_drop(struct ingest *ingest) {
    rc_store_abort(ingest->checkpoint.batch);
    ingest->checkpoint.batch = NULL;
    free_offsets(&ingest->checkpoint);
}

/* ---- reading it back ---- */

rc_status rc_ingest_saved_load(struct ingest *ingest, int32_t number, struct saved_lane *out, struct rc_error *err) {
    struct rc_buf text;
    rc_buf_init(&text, (size_t)16 << 20);
    bool found;
    if (rc_store_get(ingest->store, RC_STORE_META, number, rc_span_str("lane"), &text, &found, err) != RC_OK) {
        rc_buf_deinit(&text);
        return RC_FAIL;
    }
    *out = (struct saved_lane){0};
    json_t *json = found ? json_loadb(text.data, text.len, 0, NULL) : NULL;
    const char *cluster = json_string_value(json_object_get(json, "cluster"));
    if (cluster) {
        out->found = true;
        out->cluster = rc_strdup(cluster);
        out->epoch = (uint32_t)json_integer_value(json_object_get(json, "epoch"));
        out->output_end = json_integer_value(json_object_get(json, "output_end"));
        json_t *inputs = json_object_get(json, "inputs"), *one;
        out->inputs = rc_calloc(json_object_size(inputs) + 1, sizeof *out->inputs);
        const char *topic;
        json_object_foreach(inputs, topic, one) {
            out->inputs[out->n_inputs++] = (struct saved_input){
                .topic = rc_strdup(topic),
                .position = json_integer_value(json_object_get(one, "position")),
                .clock_ms = json_integer_value(json_object_get(one, "clock_ms")),
                .greatest_ms = json_integer_value(json_object_get(one, "greatest_ms")),
            };
        }
    }
    json_decref(json);
    rc_buf_deinit(&text);
    return RC_OK;
}

void rc_ingest_saved_deinit(struct saved_lane *saved) {
    for (size_t i = 0; i < saved->n_inputs; i++)
        free(saved->inputs[i].topic);
    free(saved->inputs);
    free(saved->cluster);
    *saved = (struct saved_lane){0};
}
