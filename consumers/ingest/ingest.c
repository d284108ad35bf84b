/* The ingest consumer's frame: set up in order, turn until told to stop, drain, tear down in reverse.
 *
 * A turn: definitions → records (at most a few milliseconds' worth) → clocks → decisions → delivery reports →
 * checkpoint → sleep until something comes or is due. Time is asked for once a turn, before anything is read. */
#include "consumers/ingest/ingest.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/ingest/internal.h"
#include "consumers/shared/deadletter.h"
#include "consumers/shared/delivery.h"
#include "consumers/shared/payload.h"
#include "kafka/embedded.h"

#define TURN_RECORDS 1000
#define TURN_MS 5
#define ADVANCE_PERSONS 1000
#define ADVANCE_SHORT_PERSONS 250 /* of a lane, between looks at what is new */
#define FIRST_PERSON_BYTES 256    /* a guess, until some have been saved */
#define WAVE_WAIT_MS 20
#define WAVE_ASK_MS 5
#define AGAIN_MS 250
#define WATCH_MS 500 /* how often the broker is asked while something is due within … */
#define WATCH_DUE_MS 5000
#define IDLE_ASK_MS 1000 /* and otherwise, so that a clock is that old at most where nothing is unread */
#define TELL_MS 50
#define REWRITE_MS 50 /* between checkpoints while the changelog is written anew */
#define BEHIND_INTERVALS 5
#define FULL_PAUSE_MS 20000
#define DRAIN_MS 30000
#define ARENA_BYTES ((size_t)64 << 10)

/* ---- setting up ---- */

static bool refused(void *ctx, const char *topic, int32_t partition, struct rc_span key, struct rc_span value,
                    const struct rc_error *err) {
    (void)key;
    struct ingest *ingest = ctx;
    if (strcmp(topic, ingest->deadletters_topic) != 0)
        return false;
    /* The dead letter topic was made by somebody with a smaller max.message.bytes. The record stays where it was
     * read; the log says so. */
    rc_log(RC_LOG_ERROR, "a dead letter was refused by the broker and is only where it was read",
           rc_f_str("topic", topic), rc_f_int("partition", partition), rc_f_int("bytes", (int64_t)value.len),
           rc_f_err(err));
    return true;
}

static rc_status identify(struct ingest *ingest, struct rc_error *err) {
    rc_status status;
    while ((status = rc_admin_cluster_id(ingest->admin, 5000, &ingest->cluster, err)) != RC_OK &&
           err->class == RC_CLASS_RETRY) {
        rc_log_limited(RC_LOG_WARN, "waiting for the broker", rc_f_str("role", "ingest"), rc_f_err(err));
        if (rc_stop_wait(ingest->process->stop, 500))
            break;
    }
    return status;
}

static char *store_path(const struct rc_config *config) {
    const char *dir = rc_config_text(config, "state.dir");
    size_t bytes = strlen(dir) + sizeof "/ingest";
    char *path = rc_alloc(bytes);
    snprintf(path, bytes, "%s/ingest", dir);
    return path;
}

static rc_status open_store(struct ingest *ingest, struct rc_error *err) {
    char *path = store_path(ingest->config);
    struct rc_store_options options = {
        .path = path,
        .kind = "ingest",
        .format = INGEST_STATE_FORMAT,
        .cache_bytes = (size_t)rc_config_bytes(ingest->config, "state.memory_bytes") / 4,
    };
    rc_status status = rc_store_open(&options, &ingest->store, NULL, err);
    free(path);
    return status;
}

static void name_everything(struct ingest *ingest) {
    const char *prefix = rc_config_text(ingest->config, "group.prefix");
    size_t bytes = strlen(prefix) + strlen(ingest->process->instance) + 16;
    ingest->group = rc_alloc(bytes);
    snprintf(ingest->group, bytes, "%s-ingest", prefix);
    ingest->instance = rc_alloc(bytes);
    snprintf(ingest->instance, bytes, "%s-ingest", ingest->process->instance);
    ingest->segments_topic = rc_topic_name(ingest->config, "segments");
    ingest->state_topic = rc_embedded_used(ingest->config) ? NULL : rc_topic_name(ingest->config, "state");
    ingest->deadletters_topic = rc_topic_name(ingest->config, "deadletters");
}

static rc_status open_all(struct ingest *ingest, struct rc_error *err) {
    const struct rc_config *config = ingest->config;
    const char *registry = rc_config_text(config, "registry.url");
    if (rc_admin_open(config, &ingest->admin, err) != RC_OK || identify(ingest, err) != RC_OK ||
        open_store(ingest, err) != RC_OK)
        return RC_FAIL;
    if (*registry && rc_registry_open(registry, 0, &ingest->registry, err) != RC_OK)
        return RC_FAIL;
    if (rc_payload_schema_id(config, ingest->registry, ingest->segments_topic, RC_MEMBERSHIP_SEGMENT,
                             ingest->process->stop, &ingest->schema_id, err) != RC_OK)
        return RC_FAIL;
    struct rc_producer_options producer = {.name = "ingest",
                                           .wake_fd = rc_loop_fd(ingest->loop),
                                           .max_record_bytes = RC_DEADLETTER_MAX_BYTES - ((size_t)1 << 20),
                                           .refused = refused,
                                           .ctx = ingest};
    struct rc_source_options source = {.name = "ingest",
                                       .group = ingest->group,
                                       .instance = ingest->instance,
                                       .leave = &ingest->process->leave,
                                       .assigned = rc_ingest_lanes_assigned,
                                       .revoked = rc_ingest_lanes_revoked,
                                       .ctx = ingest,
                                       .wake_fd = rc_loop_fd(ingest->loop)};
    if (rc_delivery_open(ingest->process, "ingest", &producer, &ingest->producer, err) != RC_OK ||
        rc_definitions_open(ingest->process, "ingest", ingest->loop, &ingest->definitions, err) != RC_OK ||
        rc_source_open(config, &source, &ingest->source, err) != RC_OK)
        return RC_FAIL;
    /* The first program; a broker that goes away in the midst of it is waited for. */
    while (rc_ingest_program_follow(ingest, err) != RC_OK) {
        if (err->class != RC_CLASS_RETRY || rc_stop_wait(ingest->process->stop, 500))
            return RC_FAIL;
        rc_log_limited(RC_LOG_WARN, "definitions cannot be taken up yet, trying again", rc_f_err(err));
        rc_definitions_close(ingest->definitions);
        ingest->definitions = NULL;
        if (rc_definitions_open(ingest->process, "ingest", ingest->loop, &ingest->definitions, err) != RC_OK)
            return RC_FAIL;
    }
    return rc_announcer_open(ingest->process, "ingest", ingest->producer, &ingest->announcer, err);
}

/* ---- reading ---- */

static void set_paused(struct ingest *ingest, bool paused) {
    if (ingest->paused == paused)
        return;
    ingest->paused = paused;
    for (size_t i = 0; i < ingest->n_lanes; i++)
        for (size_t k = 0; lane_works(ingest->lanes[i]) && k < ingest->lanes[i]->n_inputs; k++) {
            struct rc_error err;
            const char *topic = ingest->lanes[i]->inputs[k]->topic;
            rc_status status = paused ? rc_source_pause(ingest->source, topic, ingest->lanes[i]->number, &err)
                                      : rc_source_resume(ingest->source, topic, ingest->lanes[i]->number, &err);
            if (status != RC_OK)
                rc_log(RC_LOG_WARN, paused ? "cannot pause" : "cannot resume", rc_f_err(&err));
        }
}

void rc_ingest_drop_ahead(struct ingest *ingest) {
    while (ingest->ahead_at < ingest->n_ahead)
        rc_message_release(&ingest->ahead[ingest->ahead_at++]);
    ingest->ahead_at = ingest->n_ahead = 0;
    ingest->has_stuck = false;
}

/* Feeds what was taken together. One that waits for the registry holds up those behind it. */
static void feed_ahead(struct ingest *ingest) {
    ingest->has_stuck = false;
    while (ingest->ahead_at < ingest->n_ahead && !ingest->failed) {
        struct rc_message *message = &ingest->ahead[ingest->ahead_at];
        struct input *input = message->ctx;
        bool taken = input && lane_works(input->lane); /* what comes while it is restored is read again */
        if (taken && rc_ingest_feed(ingest, input, message) == FED_AGAIN) {
            ingest->has_stuck = true;
            ingest->stuck_retry_ms = rc_clock_monotonic_ms() + AGAIN_MS;
            return;
        }
        rc_message_release(message);
        ingest->ahead_at++;
    }
    rc_ingest_drop_ahead(ingest);
}

/* Tries the record that waits for the registry once more. True when nothing waits any more. */
static bool retry_stuck(struct ingest *ingest) {
    if (ingest->has_stuck && rc_clock_monotonic_ms() >= ingest->stuck_retry_ms)
        feed_ahead(ingest);
    return !ingest->has_stuck;
}

/* Whether records may be taken now. While not, partitions are paused (after a while, because pausing fetches anew)
 * and the group is kept. */
static bool may_read(struct ingest *ingest) {
    bool full = rc_producer_full(ingest->producer) || (ingest->crowded && ingest->checkpoint.under_way);
    int64_t now = rc_clock_monotonic_ms();
    if (!full)
        ingest->full_since_ms = 0;
    else if (ingest->full_since_ms == 0)
        ingest->full_since_ms = now;
    bool stuck = !retry_stuck(ingest);
    set_paused(ingest, stuck || (full && now - ingest->full_since_ms > FULL_PAUSE_MS));
    return !full && !stuck;
}

/* Tells the populations whose events come next. A record's key is its person's, or it says nothing. */
static void expect_ahead(const struct ingest *ingest) {
    struct rc_span keys[RC_EXPECT_MAX];
    for (size_t i = 0, n = 0; i < ingest->n_ahead; i++) {
        const struct input *input = ingest->ahead[i].ctx;
        keys[n++] = ingest->ahead[i].key;
        const struct input *next = i + 1 < ingest->n_ahead ? ingest->ahead[i + 1].ctx : NULL;
        if (next == input && n < RC_EXPECT_MAX)
            continue;
        if (input && lane_works(input->lane))
            rc_population_expect(input->lane->population, keys, n);
        n = 0;
    }
}

/* Takes records, as many as are looked ahead at, and feeds them. MESSAGE: there may be more. A rebalance drops those that were taken before it
 * inside the poll: they are read again by whoever has the partition next. */
static enum rc_polled read_ahead(struct ingest *ingest, struct rc_error *err) {
    enum rc_polled polled = RC_POLLED_MESSAGE;
    for (int n = 0; n < RC_EXPECT_MAX && polled == RC_POLLED_MESSAGE; n++) {
        struct rc_message message;
        polled = rc_source_poll(ingest->source, 0, &message, err);
        if (polled != RC_POLLED_MESSAGE)
            break;
        rc_grow(&ingest->ahead, &ingest->ahead_capacity, ingest->n_ahead + 1, sizeof *ingest->ahead);
        ingest->ahead[ingest->n_ahead++] = message;
    }
    if (ingest->has_stuck) /* partitions are paused; what comes all the same waits behind it */
        return polled;
    expect_ahead(ingest);
    feed_ahead(ingest);
    return polled;
}

static rc_status read_some(struct ingest *ingest, struct rc_error *err) {
    ingest->drained = false;
    bool may = may_read(ingest);
    if (!may && !ingest->paused)
        return RC_OK;
    int64_t until = rc_clock_monotonic_ms() + TURN_MS;
    for (int n = 0; n < TURN_RECORDS && !ingest->failed; n += RC_EXPECT_MAX) {
        enum rc_polled polled = read_ahead(ingest, err);
        if (ingest->has_stuck)
            set_paused(ingest, true);
        if (polled == RC_POLLED_ERROR) {
            if (err->class != RC_CLASS_RETRY)
                return RC_FAIL;
            rc_log_limited(RC_LOG_WARN, "reading", rc_f_err(err));
        }
        if (polled == RC_POLLED_NOTHING && !ingest->has_stuck)
            ingest->drained = may;
        if (polled == RC_POLLED_NOTHING || ingest->has_stuck || rc_producer_full(ingest->producer) ||
            rc_clock_monotonic_ms() >= until)
            return RC_OK;
    }
    return RC_OK;
}

/* ---- deciding ---- */

/* Whether who is due by time alone has to wait: a live change waits behind what is under way, and what is changed has to be saved. Not for ever:
 * live changes alone may keep so many under way. */
static bool wave_waits(const struct ingest *ingest) {
    if (ingest->much_unsaved && ingest->checkpoint.under_way)
        return true;
    return !ingest_hurries(ingest) && rc_producer_outstanding(ingest->producer) >= rc_ingest_bulk_limit(ingest) &&
           rc_clock_monotonic_ms() < ingest->waved_ms + WAVE_WAIT_MS;
}

/* Decides what the clocks allow; true when some lane has more to decide at once. `*later`: some are to be carried over. */
static bool advance(struct ingest *ingest, bool *later) {
    bool more = false, full = rc_producer_full(ingest->producer);
    size_t persons = ingest_hurries(ingest) ? ADVANCE_PERSONS : ADVANCE_SHORT_PERSONS;
    bool waits = wave_waits(ingest);
    if (!waits)
        ingest->waved_ms = rc_clock_monotonic_ms();
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        struct lane *lane = ingest->lanes[i];
        if (!lane_works(lane))
            continue;
        if (!full)
            lane->more_due = waits ? rc_population_advance_events(lane->population)
                                   : rc_population_advance(lane->population, persons);
        more |= lane->more_due;
    }
    ingest->wave = more;
    *later = rc_ingest_carry_turn(ingest, waits || full);
    return more;
}

static int64_t next_due(const struct ingest *ingest) {
    int64_t due = INT64_MAX;
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        if (!lane_works(ingest->lanes[i]))
            continue;
        int64_t one = rc_population_next_due(ingest->lanes[i]->population);
        due = one < due ? one : due;
    }
    return due;
}

/* ---- telling ---- */

static void tell(struct ingest *ingest, int64_t now_ms) {
    int64_t mono = rc_clock_monotonic_ms();
    if (mono < ingest->next_tell_ms)
        return;
    ingest->next_tell_ms = mono + TELL_MS;
    rc_ingest_report_refresh(ingest, now_ms);
    bool ready = ingest->assigned || (ingest->program && ingest->program->n_routes == 0);
    int32_t *numbers = rc_calloc(ingest->n_lanes + 1, sizeof *numbers);
    size_t n = 0;
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        if (lane_works(ingest->lanes[i]))
            numbers[n++] = ingest->lanes[i]->number;
        ready &= ingest->lanes[i]->state == LANE_LIVE || ingest->lanes[i]->state == LANE_HELD;
    }
    for (size_t i = 1; i < n; i++) /* few, and nearly sorted */
        for (size_t k = i; k > 0 && numbers[k] < numbers[k - 1]; k--) {
            int32_t other = numbers[k];
            numbers[k] = numbers[k - 1];
            numbers[k - 1] = other;
        }
    rc_process_set_ready(ingest->process, "ingest", ready);
    struct rc_error err;
    if (ingest->assigned || ready)
        if (rc_announcer_tell(ingest->announcer, numbers, n, &err) != RC_OK)
            rc_ingest_fail(ingest, &err);
    free(numbers);
}

/* ---- the loop ---- */

/* When the next checkpoint begins (monotonic). The more rarely, the more changes of a person are saved as one; so in a backlog it
 * waits longer. In a wave as well: saving takes as much as deciding, and can be done when all are told. And while history is read, of which everybody has
 * many events. */
static int64_t checkpoint_due(const struct ingest *ingest) {
    int64_t interval = ingest->checkpoint_ms;
    if ((ingest->behind || ingest->wave || ingest->backfill.lane) && !ingest->exactly_once)
        interval *= BEHIND_INTERVALS;
    for (size_t i = 0; i < ingest->n_lanes; i++) /* then one follows the other */
        if (lane_works(ingest->lanes[i]) && ingest->lanes[i]->rewriting && interval > REWRITE_MS)
            interval = REWRITE_MS;
    return ingest->last_checkpoint_ms + interval;
}

static rc_status checkpoint_turn(struct ingest *ingest, struct rc_error *err) {
    if (rc_ingest_checkpoint_finish(ingest, false, err) != RC_OK)
        return RC_FAIL;
    int64_t now = rc_clock_monotonic_ms();
    rc_ingest_residence_trim(ingest);
    bool at_once = ingest->crowded || ingest->backfill.passed || (ingest->much_unsaved && !ingest->behind);
    if (ingest->checkpoint.under_way || (now < checkpoint_due(ingest) && !at_once))
        return RC_OK;
    rc_ingest_checkpoint_begin(ingest);
    ingest->backfill.passed = false;
    ingest->last_checkpoint_ms = now;
    /* What is sent from here on belongs to the next transaction. */
    return ingest->exactly_once ? rc_ingest_checkpoint_finish(ingest, false, err) : RC_OK;
}

/* When the loop has to turn again although nothing wakes it, behind the turn that began at `now_ms`. */
static int64_t sleep_until(const struct ingest *ingest, bool more, bool later, bool asked, int64_t now_ms) {
    bool puts = ingest->checkpoint.under_way && !ingest->checkpoint.put;
    if ((more || later) && !puts &&
        (wave_waits(ingest) || rc_producer_full(ingest->producer) || (ingest->crowded && ingest->checkpoint.under_way)))
        return now_ms + 1; /* the checkpoint, or an acknowledgement, makes room */
    if (more || (!ingest->drained && !ingest->paused && !rc_producer_full(ingest->producer)))
        return now_ms;
    int64_t rests = later || puts ? rc_ingest_pace_rests_until(ingest, now_ms) : INT64_MAX;
    if (rests <= now_ms)
        return now_ms;
    int64_t until = next_due(ingest);
    if (asked || until <= now_ms) /* what is due waits for an answer or a record, which wake the loop … */
        until = now_ms + 50;
    if (asked && !rc_source_asking(ingest->source)) /* … or for the question, which came too soon after the last */
        until = now_ms + 1;
    int64_t idle = now_ms + ingest->next_ask_ms + IDLE_ASK_MS - rc_clock_monotonic_ms();
    until = idle < until ? idle : until;
    int64_t definitions = rc_definitions_due(ingest->definitions);
    until = definitions < until ? definitions : until;
    bool dirty = false;
    for (size_t i = 0; i < ingest->n_lanes; i++)
        dirty |= ingest->lanes[i]->dirty;
    int64_t checkpoint = now_ms + checkpoint_due(ingest) - rc_clock_monotonic_ms();
    if (dirty && !ingest->checkpoint.under_way && checkpoint < until)
        until = checkpoint;
    for (size_t i = 0; i < ingest->n_lanes; i++)
        if (ingest->lanes[i]->state == LANE_RESTORING && now_ms + AGAIN_MS < until)
            until = now_ms + AGAIN_MS;
    if (ingest->has_stuck && now_ms + AGAIN_MS < until)
        until = now_ms + AGAIN_MS;
    int64_t backfill = rc_ingest_backfill_due(ingest, now_ms);
    until = backfill < until ? backfill : until;
    return rests < until ? rests : until;
}

/* `*more`: there is work left that turns the loop at once; `*later`: some that can wait. */
static rc_status turn(struct ingest *ingest, int64_t now_ms, bool *asked, bool *more, bool *later,
                      struct rc_error *err) {
    if (rc_ingest_program_follow(ingest, err) != RC_OK)
        return RC_FAIL;
    rc_ingest_pace_begin(ingest);
    if (read_some(ingest, err) != RC_OK)
        return RC_FAIL;
    bool restoring = rc_ingest_lanes_restore(ingest);
    *asked = rc_ingest_lanes_set_clocks(ingest, now_ms);
    *more = advance(ingest, later) || restoring;
    if (!*more && !*later)
        rc_ingest_lanes_settle(ingest);
    rc_questions_turn(ingest->questions);
    *more |= rc_ingest_release_turn(ingest);
    *later |= rc_ingest_backfill_turn(ingest);
    rc_ingest_guard_turn(ingest);
    /* At most once a millisecond; and now and then before something is due, so that an outage of the broker is
     * noticed. */
    int64_t mono = rc_clock_monotonic_ms();
    int64_t again = *asked                                     ? (*more || *later ? WAVE_ASK_MS : 0)
                    : next_due(ingest) < now_ms + WATCH_DUE_MS ? WATCH_MS
                                                               : IDLE_ASK_MS;
    if (mono >= ingest->next_ask_ms + again) {
        rc_source_ask_end(ingest->source);
        ingest->next_ask_ms = mono + 1;
    }
    if (!ingest->failed && rc_producer_poll(ingest->producer, 0, err) != RC_OK)
        return RC_FAIL;
    rc_producer_set_bulk(ingest->producer, ingest->behind);
    rc_ingest_pace_turn(ingest);
    if (atomic_load(&ingest->rekey.failed))
        rc_ingest_fail(ingest, &ingest->rekey.failure);
    rc_ingest_tell_live(ingest);
    tell(ingest, now_ms);
    if (ingest->failed) {
        *err = ingest->failure;
        return RC_FAIL;
    }
    rc_status status = checkpoint_turn(ingest, err);
    rc_ingest_pace_end(ingest);
    return status;
}

static rc_status run(struct ingest *ingest, struct rc_error *err) {
    struct rc_stop *stop = ingest->process->stop;
    if (stop->fd >= 0)
        rc_loop_add(ingest->loop, stop->fd, POLLIN);
    rc_loop_touch(ingest->loop);
    while (!rc_stop_requested(stop)) {
        bool asked, more, later;
        int64_t now_ms = rc_clock_wall_ms();
        if (turn(ingest, now_ms, &asked, &more, &later, err) != RC_OK)
            return RC_FAIL;
        if (!rc_loop_wait(ingest->loop, sleep_until(ingest, more, later, asked, now_ms))) {
            rc_log(RC_LOG_WARN, "the process stood still; the ends of partitions are asked for anew before time passes",
                   rc_f_str("role", "ingest"));
            rc_source_stood_still(ingest->source);
        }
    }
    rc_log(RC_LOG_INFO, "draining", rc_f_str("role", "ingest"));
    return rc_ingest_checkpoint_now(ingest, DRAIN_MS, err);
}

/* ---- tearing down ---- */

/* A process that ends gives its memory back as a whole; a million persons one by one take two seconds. They stay in reach, so that nobody who looks
 * for leaks takes them for one. */
static void leave_persons(const struct ingest *ingest) {
    static struct rc_population **left;
    static size_t n, capacity;
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        rc_grow(&left, &capacity, n + 1, sizeof(struct rc_population *));
        left[n++] = ingest->lanes[i]->population;
        ingest->lanes[i]->population = NULL;
    }
}

static void close_all(struct ingest *ingest) {
    rc_ingest_rekey_stop(ingest);
    rc_ingest_drop_ahead(ingest);
    if (ingest->announcer) {
        struct rc_error err;
        rc_announcer_close(ingest->announcer);
        if (!ingest->failed && rc_producer_flush(ingest->producer, 3000, &err) != RC_OK)
            rc_log(RC_LOG_WARN, "the farewell was not acknowledged", rc_f_err(&err));
    }
    rc_questions_close(ingest->questions);
    rc_ingest_release_close(ingest);
    rc_ingest_backfill_close(ingest);
    rc_ingest_guard_close(ingest);
    rc_source_close(ingest->source);
    rc_ingest_checkpoint_drop(ingest);
    rc_definitions_close(ingest->definitions);
    rc_producer_close(ingest->producer);
    if (rc_stop_requested(ingest->process->stop))
        leave_persons(ingest);
    while (ingest->n_lanes > 0)
        rc_ingest_lane_free(ingest->lanes[0]);
    rc_ingest_restore_rest(ingest);
    free(ingest->lanes);
    free(ingest->ahead);
    rc_ingest_program_free(ingest->program);
    rc_store_close(ingest->store);
    if (ingest->registry)
        rc_registry_close(ingest->registry);
    rc_admin_close(ingest->admin);
    rc_loop_close(ingest->loop);
    free(ingest->compositions);
    free(ingest->problem);
    free(ingest->cluster);
    free(ingest->group);
    free(ingest->instance);
    free(ingest->segments_topic);
    free(ingest->deadletters_topic);
    free(ingest->state_topic);
    json_decref(ingest->report);
    rc_arena_deinit(&ingest->arena);
    rc_buf_deinit(&ingest->key);
    rc_buf_deinit(&ingest->scratch);
    rc_buf_deinit(&ingest->value);
    pthread_mutex_destroy(&ingest->report_lock);
    free(ingest);
}

static rc_status live(struct rc_process *process, struct rc_error *err) {
    struct ingest *ingest = rc_calloc(1, sizeof *ingest);
    ingest->process = process;
    ingest->config = process->config;
    ingest->checkpoint_ms = rc_delivery_interval_ms(process->config);
    ingest->exactly_once = rc_delivery_exactly_once(process->config);
    ingest->person_bytes = FIRST_PERSON_BYTES;
    rc_ingest_pace_init(&ingest->pace);
    pthread_mutex_init(&ingest->report_lock, NULL);
    rc_arena_init(&ingest->arena, ARENA_BYTES);
    rc_buf_init(&ingest->key, (size_t)1 << 20);
    rc_buf_init(&ingest->scratch, (size_t)1 << 20);
    rc_buf_init(&ingest->value, (size_t)1 << 20);
    struct rc_metrics *metrics = process->metrics;
    struct ingest_metrics *m = &ingest->metrics;
    INGEST_METRICS(RC_METRIC_REGISTER)
    name_everything(ingest);
    rc_status status = rc_loop_open(&ingest->loop, err);
    if (status == RC_OK) {
        rc_process_status_add(process, "ingest", rc_ingest_report_get, ingest);
        rc_ingest_answers_open(ingest);
        rc_ingest_guard_open(ingest);
        status = open_all(ingest, err);
        if (status == RC_OK)
            status = run(ingest, err);
        /* Told to stop while it still waited for something: that is no failure. */
        else if (err->class == RC_CLASS_RETRY && rc_stop_requested(process->stop))
            status = RC_OK;
        ingest->failed |= status != RC_OK;
        rc_process_set_ready(process, "ingest", false);
        rc_process_status_remove(process, "ingest");
    }
    close_all(ingest);
    return status;
}

/* A store in which something is damaged goes as a whole. Then the consumer begins again, and restores what it needs. */
static void drop_store(const struct rc_process *process, struct rc_error *err) {
    char *path = store_path(process->config);
    struct rc_error why = *err;
    rc_log(RC_LOG_ERROR, "the local state is damaged: it is dropped and restored", rc_f_str("path", path),
           rc_f_err(&why));
    if (rc_store_destroy(path, err) == RC_OK)
        rc_error_set(err, RC_CLASS_FENCED, RC_EXIT_INTERNAL, "the local state is damaged and removed: %s", why.message);
    free(path);
}

rc_status rc_ingest_run(struct rc_process *process, struct rc_error *err) {
    rc_status status = live(process, err);
    if (status != RC_OK && rc_store_damaged(err))
        drop_store(process, err);
    return status;
}
