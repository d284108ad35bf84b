/* A partition number's life in this process: given by the group → local state brought up to the changelog (restore.c) →
 * state loaded, own output read from the noted end → catching up → live → given back (parked, in case that it comes back untouched).
 *
 * The race that the epoch defends against:
 *   1. A owns partition n and stands still with changes in its producer; 2. the group gives n to B; 3. B decides and
 *      sends; 4. A wakes up, and its
 *   old changes reach the topic behind B's. Receivers keep the highest version, so B's versions must be above A's:
 *   the new owner takes an epoch above all that it finds (its own store, the changelog, the output log, the group's commit metadata)
 *   and commits it before it sends anything. A commit of A fails from then on, because the group fences it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/ingest/internal.h"
#include "consumers/shared/payload.h"
#include "kafka/read.h"

#define READ_TIMEOUT_MS 30000
#define REVOKE_FLUSH_MS 10000
#define RESTORE_MS 5        /* of a turn, while other lanes work */
#define RESTORE_ALONE_MS 50 /* else */
#define RESTORE_AGAIN_MS 200
#define DEFINITIONS_WAIT_MS 10000
#define MAX_KEY_BYTES ((size_t)1 << 20)

/* ---- making and freeing ---- */

static struct lane *lane_new(struct ingest *ingest, int32_t number) {
    struct lane *lane = rc_calloc(1, sizeof *lane);
    lane->ingest = ingest;
    lane->number = number;
    lane->state = LANE_HELD;
    rc_buf_init(&lane->pending_key, MAX_KEY_BYTES);
    rc_buf_init(&lane->pending_value, MAX_KEY_BYTES * 2);
    rc_buf_init(&lane->rewrite_from, MAX_KEY_BYTES);
    rc_grow(&ingest->lanes, &ingest->lanes_capacity, ingest->n_lanes + 1, sizeof(struct lane *));
    ingest->lanes[ingest->n_lanes++] = lane;
    return lane;
}

/* What the lane holds besides its inputs: they may be named by messages that wait. */
static void forget_state(struct lane *lane) {
    rc_population_free(lane->population);
    lane->population = NULL;
    rc_repeats_free(lane->repeats);
    lane->repeats = NULL;
    rc_ingest_restore_drop(lane);
    rc_ingest_composition_forget(lane);
    rc_ingest_composition_release(lane);
    lane->pending = lane->more_due = lane->dirty = false;
    for (size_t i = 0; i < lane->n_inputs; i++) {
        lane->inputs[i]->position = -1;
        lane->inputs[i]->clock_ms = lane->inputs[i]->greatest_ms = INT64_MIN;
    }
}

void rc_ingest_lane_free(struct lane *lane) {
    struct ingest *ingest = lane->ingest;
    for (size_t i = 0; i < ingest->n_lanes; i++)
        if (ingest->lanes[i] == lane)
            ingest->lanes[i] = ingest->lanes[--ingest->n_lanes];
    if (lane->population)
        rc_population_free(lane->population);
    rc_repeats_free(lane->repeats);
    rc_ingest_restore_drop(lane);
    rc_ingest_composition_forget(lane);
    rc_ingest_composition_release(lane);
    rc_ingest_counted_free(lane->counted);
    rc_buf_deinit(&lane->rewrite_from);
    for (size_t i = 0; i < lane->n_inputs; i++) {
        free(lane->inputs[i]->topic);
        free(lane->inputs[i]);
    }
    free(lane->inputs);
    rc_buf_deinit(&lane->pending_key);
    rc_buf_deinit(&lane->pending_value);
    free(lane);
}

static struct lane *lane_of(const struct ingest *ingest, int32_t number) {
    for (size_t i = 0; i < ingest->n_lanes; i++)
        if (ingest->lanes[i]->number == number)
            return ingest->lanes[i];
    return NULL;
}

struct lane *rc_ingest_lane_working(const struct ingest *ingest, int32_t number) {
    struct lane *lane = lane_of(ingest, number);
    return lane && lane_works(lane) ? lane : NULL;
}

static struct input *input_of(struct lane *lane, const char *topic) {
    for (size_t i = 0; i < lane->n_inputs; i++)
        if (strcmp(lane->inputs[i]->topic, topic) == 0)
            return lane->inputs[i];
    rc_grow(&lane->inputs, &lane->inputs_capacity, lane->n_inputs + 1, sizeof(struct input *));
    struct input *input = rc_calloc(1, sizeof *input);
    *input = (struct input){.lane = lane,
                            .topic = rc_strdup(topic),
                            .position = -1,
                            .greatest_ms = INT64_MIN,
                            .clock_ms = INT64_MIN,
                            .committed = -1};
    lane->inputs[lane->n_inputs++] = input;
    return input;
}

/* ---- loading ---- */

static rc_status discard(struct lane *lane, const char *why, struct rc_error *err) {
    rc_log(RC_LOG_WARN, "saved state discarded, it is built again from the topics", rc_f_int("partition", lane->number),
           rc_f_str("why", why));
    struct rc_store_batch *batch = rc_store_begin(lane->ingest->store);
    rc_ingest_residence_forget(batch, lane->number);
    if (rc_store_commit(batch, false, err) != RC_OK)
        return RC_FAIL;
    forget_state(lane);
    rc_ingest_counted_free(lane->counted); /* they are gone */
    lane->counted = NULL;
    if (rc_ingest_compose_first(lane, false, err) != RC_OK)
        return RC_FAIL;
    lane->population = rc_population_new(lane->composition->plan, rc_ingest_emit_change, lane);
    lane->output_end = 0;
    lane->fresh = true;
    lane->rewriting = false;
    return rc_ingest_residence_open(lane, err);
}

rc_status rc_ingest_lane_damaged(struct lane *lane, const struct rc_error *why, struct rc_error *err) {
    struct ingest *ingest = lane->ingest;
    rc_log(RC_LOG_ERROR, "the local state of a partition is damaged: it is dropped and restored",
           rc_f_str("state_dir", rc_config_text(ingest->config, "state.dir")), rc_f_int("partition", lane->number),
           rc_f_err(why));
    rc_counter_inc(ingest->metrics.damaged);
    rc_ingest_checkpoint_drop(ingest); /* what is just being committed must not come after */
    struct rc_store_batch *batch = rc_store_begin(ingest->store);
    rc_ingest_residence_forget(batch, lane->number);
    if (rc_store_commit(batch, true, err) != RC_OK)
        return RC_FAIL;
    return rc_error_set(err, RC_CLASS_FENCED, RC_EXIT_INTERNAL,
                        "partition %d: the local state is damaged and removed: %s", lane->number, why->message);
}

/* Whether records that the saved state has not seen are gone from a topic. */
static rc_status gone(struct ingest *ingest, const struct saved_lane *saved, int32_t number,
                      const struct saved_input **out, struct rc_error *err) {
    *out = NULL;
    for (size_t i = 0; i < saved->n_inputs; i++) {
        if (!rc_ingest_program_route(ingest->program, saved->inputs[i].topic) || saved->inputs[i].position < 0)
            continue;
        int64_t low, high;
        if (rc_admin_bounds(ingest->admin, saved->inputs[i].topic, number, READ_TIMEOUT_MS, &low, &high, err) != RC_OK)
            return RC_FAIL;
        if (saved->inputs[i].position < low || saved->inputs[i].position > high)
            *out = &saved->inputs[i];
    }
    return RC_OK;
}

static void take_saved(struct lane *lane, const struct saved_lane *saved) {
    lane->output_end = saved->output_end;
    for (size_t i = 0; i < lane->n_inputs; i++)
        for (size_t k = 0; k < saved->n_inputs; k++) {
            struct input *input = lane->inputs[i];
            if (strcmp(input->topic, saved->inputs[k].topic) != 0)
                continue;
            input->position = saved->inputs[k].position;
            input->greatest_ms = saved->inputs[k].greatest_ms;
            input->clock_ms = saved->inputs[k].clock_ms;
        }
}

static void set_clocks(struct lane *lane) {
    for (size_t i = 0; i < lane->n_inputs; i++) {
        const struct route *route = rc_ingest_program_route(lane->ingest->program, lane->inputs[i]->topic);
        for (size_t d = 0; route && d < route->n; d++)
            rc_population_set_clock(lane->population, route->datasets[d], lane->inputs[i]->clock_ms);
    }
}

/* The population as the lane's saved versions of segments make it; its persons are in the store. */
static rc_status make_population(struct lane *lane, const struct saved_lane *saved, struct rc_error *err) {
    if (saved->found && rc_ingest_served_load(lane, err) != RC_OK)
        return RC_FAIL;
    lane->whole = saved->found && !lane->rewriting && !lane->fresh;
    rc_ingest_shadows_take(lane, saved->warming);
    rc_ingest_pass_take(lane, saved->pass);
    if (rc_ingest_compose_first(lane, saved->found && !saved->warming, err) != RC_OK)
        return RC_FAIL;
    lane->population = rc_population_new(lane->composition->plan, rc_ingest_emit_change, lane);
    return rc_ingest_residence_open(lane, err);
}

/* Saved persons and offsets, as far as they can be used. `others`: somebody else has owned the partition since they
 * were saved. */
static rc_status load(struct lane *lane, const struct saved_lane *saved, bool others, int64_t committed,
                      struct rc_error *err) {
    struct ingest *ingest = lane->ingest;
    if (!saved->found) {
        if (committed > 0)
            rc_log(RC_LOG_WARN, "no saved state, but the group has been here: reading from the beginning",
                   rc_f_int("partition", lane->number));
        return make_population(lane, saved, err);
    }
    if (strcmp(saved->cluster, ingest->cluster) != 0)
        return discard(lane, "it is of another cluster", err);
    const struct saved_input *lost;
    if (gone(ingest, saved, lane->number, &lost, err) != RC_OK)
        return RC_FAIL;
    if (lost && others)
        return discard(lane, "another process has gone on from it, and records since are gone", err);
    if (lost)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE,
                            "%s [%d]: the records behind the saved offset were removed before they were read "
                            "(retention), or the topic was made anew. To "
                            "go on with the records that are left, stop, remove %s/ingest, and start again",
                            lost->topic, lane->number, rc_config_text(ingest->config, "state.dir"));
    int64_t began = rc_clock_monotonic_ms();
    take_saved(lane, saved);
    if (make_population(lane, saved, err) != RC_OK) {
        struct rc_error why = *err;
        return why.class == RC_CLASS_POISON ? rc_ingest_lane_damaged(lane, &why, err) : RC_FAIL;
    }
    set_clocks(lane);
    rc_log(RC_LOG_INFO, "state loaded", rc_f_int("partition", lane->number),
           rc_f_int("persons", (int64_t)rc_population_persons(lane->population)),
           rc_f_int("ms", rc_clock_monotonic_ms() - began));
    return RC_OK;
}

/* ---- the own output ---- */

struct adopting {
    struct lane *lane;
    bool confluent;
};

static bool adopt(void *ctx, const struct rc_message *message) {
    struct adopting *adopting = ctx;
    struct rc_membership change;
    struct rc_error err;
    if (message->null_value)
        return true;
    if (rc_membership_read(message->value, adopting->confluent, &change, &err) != RC_OK) {
        rc_log_limited(RC_LOG_WARN, "a record of the own output cannot be read", rc_f_str("topic", message->topic),
                       rc_f_int("partition", message->partition), rc_f_int("offset", message->offset), rc_f_err(&err));
        return true;
    }
    rc_repeats_seen(adopting->lane->repeats, message->key, change.realized, change.since_ms, change.version);
    return true;
}

static rc_status read_output(struct lane *lane, struct rc_error *err) {
    struct ingest *ingest = lane->ingest;
    rc_repeats_free(lane->repeats);
    lane->repeats = rc_repeats_new();
    lane->output_mark = lane->output_end;
    struct adopting adopting = {.lane = lane, .confluent = rc_payload_confluent(ingest->config)};
    return rc_kafka_read_written(ingest->config, ingest->segments_topic, lane->number, lane->output_end,
                                 READ_TIMEOUT_MS, adopt, &adopting, &lane->output_end, err);
}

/* ---- the epoch in the group ---- */

/* Greatest epoch that the group's commits name, and greatest committed offset. */
static rc_status agreed(struct lane *lane, uint32_t *epoch, int64_t *committed, struct rc_error *err) {
    struct rc_offset *offsets = rc_calloc(lane->n_inputs + 1, sizeof *offsets);
    for (size_t i = 0; i < lane->n_inputs; i++)
        offsets[i] = (struct rc_offset){.topic = lane->inputs[i]->topic, .partition = lane->number, .offset = -1};
    rc_status status = rc_source_committed(lane->ingest->source, offsets, lane->n_inputs, err);
    *epoch = 0;
    *committed = -1;
    for (size_t i = 0; status == RC_OK && i < lane->n_inputs; i++) {
        unsigned found;
        if (offsets[i].metadata && sscanf(offsets[i].metadata, "epoch=%u", &found) == 1 && found > *epoch)
            *epoch = found;
        if (offsets[i].offset > *committed)
            *committed = offsets[i].offset;
        free((char *)(uintptr_t)offsets[i].metadata);
    }
    free(offsets);
    return status;
}

static rc_status agree(struct lane *lane, struct rc_error *err) {
    char metadata[32];
    snprintf(metadata, sizeof metadata, "epoch=%u", lane->versions.epoch);
    struct rc_offset *offsets = rc_calloc(lane->n_inputs + 1, sizeof *offsets);
    for (size_t i = 0; i < lane->n_inputs; i++)
        offsets[i] = (struct rc_offset){.topic = lane->inputs[i]->topic,
                                        .partition = lane->number,
                                        .offset = lane->inputs[i]->position > 0 ? lane->inputs[i]->position : 0,
                                        .metadata = metadata};
    rc_status status = rc_source_commit(lane->ingest->source, offsets, lane->n_inputs, true, err);
    free(offsets);
    return status;
}

/* ---- taking a partition ---- */

/* What has to be said in the changelog before anything of the new owner stands there. The epoch may be greater than
 * that of the mark that is set: the output log has been read only now. */
static rc_status announce(struct lane *lane, const struct saved_lane *saved, struct rc_error *err) {
    struct ingest *ingest = lane->ingest;
    if (!ingest->state_topic)
        return RC_OK;
    if (lane->rewriting) {
        /* From here on the local state is the only one: it must not be held against what the changelog says meanwhile,
         * even after a loss of power. */
        struct saved_lane own = *saved;
        own.epoch = lane->versions.epoch;
        json_t *json = rc_ingest_saved_json(&own);
        struct rc_store_batch *batch = rc_store_begin(ingest->store);
        rc_ingest_saved_put(batch, lane->number, json, -1);
        json_decref(json);
        if (rc_store_commit(batch, true, err) != RC_OK)
            return RC_FAIL;
        rc_buf_reset(&lane->rewrite_from);
        lane->fresh = lane->dirty = true;
    }
    if (lane->versions.epoch > lane->marked &&
        rc_ingest_changelog_mark(lane, lane->versions.epoch, false, err) != RC_OK)
        return RC_FAIL;
    if (lane->fresh && rc_ingest_changelog_mark(lane, lane->versions.epoch, true, err) != RC_OK)
        return RC_FAIL;
    lane->fresh = false;
    return RC_OK;
}

/* Uses what the local store has. */
static rc_status take_up(struct lane *lane, uint32_t group_epoch, int64_t committed, struct rc_error *err) {
    struct ingest *ingest = lane->ingest;
    struct saved_lane saved;
    if (rc_ingest_saved_load(ingest, lane->number, &saved, err) != RC_OK)
        return RC_FAIL;
    forget_state(lane);
    lane->output_end = 0;
    rc_status status = load(lane, &saved, lane->restored || group_epoch > saved.epoch, committed, err);
    if (status == RC_OK)
        status = read_output(lane, err);
    if (status == RC_OK) {
        uint32_t stored = saved.found && strcmp(saved.cluster, ingest->cluster) == 0 ? saved.epoch : 0;
        uint32_t epoch = rc_versions_epoch_above(stored, rc_repeats_greatest(lane->repeats), group_epoch);
        lane->versions = (struct rc_versions){.epoch = epoch > lane->marked ? epoch : lane->marked};
        status = announce(lane, &saved, err);
    }
    rc_ingest_saved_deinit(&saved);
    if (status != RC_OK || agree(lane, err) != RC_OK)
        return RC_FAIL;
    if (ingest->state_topic)
        lane->changelog_end = rc_producer_end(ingest->producer, ingest->state_topic, lane->number);
    rc_ingest_counted_free(lane->counted);
    lane->counted = NULL;
    lane->state = LANE_CATCHING_UP;
    lane->opened_ms = rc_clock_wall_ms();
    rc_log(RC_LOG_INFO, "partition taken", rc_f_int("partition", lane->number), rc_f_int("epoch", lane->versions.epoch),
           rc_f_int("persons", (int64_t)rc_population_persons(lane->population)),
           rc_f_int("output_read", lane->output_end - lane->output_mark));
    return RC_OK;
}

/* Whether the definitions are read as far as the former owner had read them. The mistake that it prevents: what is new to this process, which
 * is a moment behind, would be ended in this partition, or go back to its former version, and everybody would be told. An offset that does not
 * come (the topic was made anew) is waited for no longer than DEFINITIONS_WAIT_MS. */
static bool definitions_reach(const struct lane *lane, const struct saved_lane *saved) {
    const struct ingest *ingest = lane->ingest;
    if (!saved->found || strcmp(saved->cluster, ingest->cluster) != 0 ||
        rc_definitions_took_up(ingest->definitions, saved->definitions))
        return true;
    if (rc_clock_monotonic_ms() < lane->given_ms + DEFINITIONS_WAIT_MS) {
        rc_log_limited(RC_LOG_INFO, "a partition waits: its former owner had read more of the definitions",
                       rc_f_int("partition", lane->number), rc_f_int("up_to", saved->definitions));
        return false;
    }
    rc_log(RC_LOG_WARN,
           "the definitions that a former owner had read do not come, and are not waited for any longer: was their "
           "topic made anew?",
           rc_f_int("partition", lane->number), rc_f_int("up_to", saved->definitions));
    return true;
}

/* Where the readers of a lane wait that is restored: at the end, as a number. The race, were it RC_START_END:
 *   1. librdkafka 2.0.2 asks the broker where the end is, and when it knows no leader yet, or has just found it, asks
 *      again by a timer of 500 ms; 2. the lane is restored and the reader sent to where its state stands (start_inputs);
 *   3. no seek stops that timer: its answer moves the reader on to the end, past what was not read. */
static rc_status find_ends(struct lane *lane, struct rc_error *err) {
    for (size_t i = 0; i < lane->n_inputs; i++) {
        int64_t low;
        if (rc_admin_bounds(lane->ingest->admin, lane->inputs[i]->topic, lane->number, READ_TIMEOUT_MS, &low,
                            &lane->inputs[i]->waits_at, err) != RC_OK)
            return RC_FAIL;
    }
    return RC_OK;
}

static rc_status open_lane(struct lane *lane, struct rc_error *err) {
    struct ingest *ingest = lane->ingest;
    uint32_t epoch;
    int64_t committed;
    if (agreed(lane, &epoch, &committed, err) != RC_OK)
        return RC_FAIL;
    if (lane->population && lane->versions.epoch > 0 && epoch == lane->versions.epoch) {
        /* It comes back and nobody else had it: go on where it stopped. Inputs that are new start from their
         * beginning. */
        lane->state = lane->repeats ? LANE_CATCHING_UP : LANE_LIVE;
        rc_log(RC_LOG_INFO, "partition kept", rc_f_int("partition", lane->number), rc_f_int("epoch", epoch));
        return RC_OK;
    }
    lane->versions.epoch = lane->marked = 0;
    lane->fresh = lane->rewriting = lane->restored = false;
    rc_ingest_counted_free(lane->counted);
    lane->counted = NULL;
    if (!ingest->state_topic)
        return take_up(lane, epoch, committed, err);
    forget_state(lane);
    struct saved_lane saved;
    lane->given_ms = rc_clock_monotonic_ms();
    if (find_ends(lane, err) != RC_OK || rc_ingest_saved_load(ingest, lane->number, &saved, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_ingest_restore_begin(lane, &saved, epoch, err);
    bool ready = status == RC_OK && !lane->restore && definitions_reach(lane, &saved);
    rc_ingest_saved_deinit(&saved);
    if (status != RC_OK)
        return RC_FAIL;
    if (ready)
        return take_up(lane, epoch, committed, err);
    lane->state = LANE_RESTORING;
    return RC_OK;
}

static rc_status open_patiently(struct lane *lane, struct rc_error *err) {
    rc_status status;
    while ((status = open_lane(lane, err)) != RC_OK && err->class == RC_CLASS_RETRY) {
        rc_log_limited(RC_LOG_WARN, "partition cannot be taken yet, trying again", rc_f_int("partition", lane->number),
                       rc_f_err(err));
        if (rc_stop_wait(lane->ingest->process->stop, 200))
            break;
    }
    return status;
}

/* The inputs of a lane that was given some time ago: from where its state stands. */
static rc_status start_inputs(struct lane *lane, struct rc_error *err) {
    for (size_t i = 0; i < lane->n_inputs; i++) {
        const struct input *input = lane->inputs[i];
        if (rc_source_seek(lane->ingest->source, input->topic, lane->number,
                           input->position >= 0 ? input->position : RC_START_BEGINNING, err) != RC_OK)
            return RC_FAIL;
    }
    return RC_OK;
}

static rc_status go_on_restoring(struct lane *lane, int budget_ms, bool *more, struct rc_error *err) {
    if (lane->restore && rc_ingest_restore_step(lane, budget_ms, more, err) != RC_OK)
        return RC_FAIL;
    struct saved_lane saved;
    if (lane->restore)
        return RC_OK;
    if (rc_ingest_saved_load(lane->ingest, lane->number, &saved, err) != RC_OK)
        return RC_FAIL;
    bool ready = definitions_reach(lane, &saved);
    rc_ingest_saved_deinit(&saved);
    if (!ready)
        return RC_OK;
    uint32_t epoch;
    int64_t committed;
    if (agreed(lane, &epoch, &committed, err) != RC_OK || take_up(lane, epoch, committed, err) != RC_OK)
        return RC_FAIL;
    if (start_inputs(lane, err) != RC_OK) {
        lane->state = LANE_RESTORING;
        return RC_FAIL;
    }
    *more = true;
    return RC_OK;
}

bool rc_ingest_lanes_restore(struct ingest *ingest) {
    struct lane *first = NULL;
    bool work = false, more = false;
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        work |= lane_works(ingest->lanes[i]);
        if (!first && ingest->lanes[i]->state == LANE_RESTORING && !rc_ingest_restore_waits(ingest->lanes[i]))
            first = ingest->lanes[i]; /* while one is written the next one is read */
    }
    if (!first)
        rc_ingest_restore_rest(ingest);
    if (!first || ingest->failed || rc_clock_monotonic_ms() < ingest->next_restore_ms)
        return false;
    struct rc_error err;
    if (go_on_restoring(first, work ? RESTORE_MS : RESTORE_ALONE_MS, &more, &err) == RC_OK) {
        rc_ingest_restore_rest(ingest);
        return more;
    }
    if (err.class != RC_CLASS_RETRY) {
        rc_ingest_fail(ingest, &err);
        return false;
    }
    rc_log_limited(RC_LOG_WARN, "partition cannot be restored yet, trying again", rc_f_int("partition", first->number),
                   rc_f_err(&err));
    ingest->next_restore_ms = rc_clock_monotonic_ms() + RESTORE_AGAIN_MS;
    return false;
}

/* ---- assignment ---- */

/* Removes what is no input any more, and parked lanes that went elsewhere. */
static void drop_strangers(struct ingest *ingest, const struct rc_source_partition *partitions, size_t n) {
    for (size_t i = ingest->n_lanes; i-- > 0;) {
        struct lane *lane = ingest->lanes[i];
        bool given = false;
        for (size_t k = 0; k < n; k++)
            given |= partitions[k].partition == lane->number;
        if (!given) {
            rc_ingest_lane_free(lane);
            continue;
        }
        for (size_t k = lane->n_inputs; k-- > 0;) {
            if (rc_ingest_program_route(ingest->program, lane->inputs[k]->topic))
                continue;
            free(lane->inputs[k]->topic);
            free(lane->inputs[k]);
            lane->inputs[k] = lane->inputs[--lane->n_inputs];
        }
    }
}

rc_status rc_ingest_lanes_assigned(void *ctx, struct rc_source_partition *partitions, size_t n, struct rc_error *err) {
    struct ingest *ingest = ctx;
    drop_strangers(ingest, partitions, n);
    for (size_t i = 0; i < n; i++)
        if (!lane_of(ingest, partitions[i].partition))
            lane_new(ingest, partitions[i].partition);
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        struct lane *lane = ingest->lanes[i];
        size_t given = 0;
        for (size_t k = 0; k < n; k++)
            given += partitions[k].partition == lane->number &&
                     rc_ingest_program_route(ingest->program, partitions[k].topic) != NULL;
        for (size_t k = 0; k < ingest->program->n_routes; k++)
            input_of(lane, ingest->program->routes[k].topic);
        if (given < ingest->program->n_routes) {
            lane->state = LANE_HELD;
            rc_log(RC_LOG_INFO, "partition waits for its other topics", rc_f_int("partition", lane->number));
        } else if (open_patiently(lane, err) != RC_OK) {
            return RC_FAIL;
        }
    }
    for (size_t i = 0; i < n; i++) {
        struct lane *lane = lane_of(ingest, partitions[i].partition);
        bool restoring = lane->state == LANE_RESTORING; /* its inputs start later */
        if (!rc_ingest_program_route(ingest->program, partitions[i].topic) || !(lane_works(lane) || restoring)) {
            partitions[i].start = RC_START_END;
            partitions[i].ctx = NULL;
            continue;
        }
        struct input *input = input_of(lane, partitions[i].topic);
        partitions[i].ctx = input;
        partitions[i].start = restoring ? input->waits_at : input->position >= 0 ? input->position : RC_START_BEGINNING;
    }
    rc_admin_rest(ingest->admin);
    ingest->assigned = true;
    ingest->next_ask_ms = 0;
    rc_loop_touch(ingest->loop);
    return RC_OK;
}

void rc_ingest_lanes_revoked(void *ctx, const struct rc_source_partition *partitions, size_t n, bool lost) {
    (void)partitions, (void)n;
    struct ingest *ingest = ctx;
    struct rc_error err;
    rc_ingest_drop_ahead(ingest);
    ingest->paused = false;
    if (!lost && !ingest->failed && rc_ingest_checkpoint_now(ingest, REVOKE_FLUSH_MS, &err) != RC_OK) {
        if (err.class == RC_CLASS_RETRY)
            rc_log(RC_LOG_WARN, "partitions are given back before the last changes were acknowledged", rc_f_err(&err));
        else
            rc_ingest_fail(ingest, &err);
    }
    if (!ingest->failed && ingest->exactly_once && rc_producer_uncommitted(ingest->producer)) {
        /* What was sent is in the transaction that is open, and must not be committed with offsets of a later one. */
        rc_error_set(&err, RC_CLASS_FENCED, RC_EXIT_TEMPORARY, "partitions were lost with a transaction open");
        rc_ingest_fail(ingest, &err);
    }
    /* What is in a checkpoint that did not get through counts as saved to its population: it is read from the store
     * again. And nothing more of it is sent: somebody else may own the partition. */
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        struct lane *lane = ingest->lanes[i];
        if (lane->in_checkpoint || lane->state == LANE_RESTORING)
            forget_state(lane);
        lane->state = lane_works(lane) ? LANE_PARKED : lane->state == LANE_RESTORING ? LANE_HELD : lane->state;
    }
    rc_ingest_checkpoint_drop(ingest);
    rc_log(RC_LOG_INFO, "partitions given back", rc_f_int("partitions", (int64_t)ingest->n_lanes),
           rc_f_bool("lost", lost));
    rc_loop_touch(ingest->loop);
}

/* ---- clocks ---- */

/* The clock of one input, by what is known now (pipeline.md §2): up to the instant for which the broker has said that
 * nothing is unread; else the greatest record timestamp applied. A reader at the end, as far as it knows from what it
 * was sent, may close the millisecond of its last record. */
static int64_t clock_of(struct ingest *ingest, struct input *input, int64_t now_ms, bool *wants_end) {
    int64_t known_ms, position, end, clock = input->clock_ms;
    bool waits = false;
    for (size_t i = ingest->ahead_at; i < ingest->n_ahead; i++)
        waits |= ingest->ahead[i].ctx == input;
    if (input->greatest_ms > clock)
        clock = input->greatest_ms;
    if (!waits && rc_source_position(ingest->source, input->topic, input->lane->number, &position, &end) == RC_OK) {
        bool there = ingest->drained && position >= 0 && position >= end;
        if (there && end >= 0 && input->greatest_ms != INT64_MIN && input->greatest_ms + 1 > clock)
            clock = input->greatest_ms + 1;
        if (rc_source_at_end(ingest->source, input->topic, input->lane->number, INT64_MAX, &known_ms)) {
            if (known_ms > clock)
                clock = known_ms;
        } else if (position < 0) {
            there = true; /* nothing is known yet: ask */
        }
        *wants_end |= there;
    }
    return clock < now_ms ? clock : now_ms;
}

bool rc_ingest_lanes_set_clocks(struct ingest *ingest, int64_t now_ms) {
    bool ask = false;
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        struct lane *lane = ingest->lanes[i];
        if (!lane_works(lane))
            continue;
        bool all_at_end = true;
        for (size_t k = 0; k < lane->n_inputs; k++) {
            struct input *input = lane->inputs[k];
            bool at_end = false;
            int64_t clock = clock_of(ingest, input, now_ms, &at_end);
            all_at_end &= at_end;
            if (clock <= input->clock_ms)
                continue;
            input->clock_ms = clock;
            const struct route *route = rc_ingest_program_route(ingest->program, input->topic);
            for (size_t d = 0; route && d < route->n; d++)
                rc_population_set_clock(lane->population, route->datasets[d], clock);
        }
        ask |= all_at_end && (lane->state == LANE_CATCHING_UP || rc_population_next_due(lane->population) <= now_ms);
    }
    return ask;
}

void rc_ingest_lanes_settle(struct ingest *ingest) {
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        struct lane *lane = ingest->lanes[i];
        if (lane->state != LANE_CATCHING_UP || lane->more_due || !ingest->drained)
            continue;
        bool caught_up = true;
        for (size_t k = 0; k < lane->n_inputs; k++) {
            int64_t known_ms;
            caught_up &= rc_source_at_end(ingest->source, lane->inputs[k]->topic, lane->number, INT64_MAX, &known_ms) &&
                         known_ms >= lane->opened_ms && lane->inputs[k]->clock_ms >= lane->opened_ms;
        }
        if (!caught_up)
            continue;
        rc_ingest_emit_settled(lane);
        rc_repeats_free(lane->repeats);
        lane->repeats = NULL;
        lane->state = LANE_LIVE;
        rc_log(RC_LOG_INFO, "partition caught up", rc_f_int("partition", lane->number),
               rc_f_int("ms", rc_clock_wall_ms() - lane->opened_ms));
    }
}
