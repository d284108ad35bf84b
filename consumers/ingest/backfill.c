/* Reading a segment's history while live traffic goes on. What a new version needs is fed by live traffic from the moment on that its lane knows of
 * it (composition.c); what came before, up to there (its cuts), is read once more by a reader beside, a little in each turn, and taken in for
 * what warms up alone. What both see counts once: state is a set (docs/modules/segment.md).
 *
 * All segments that wait when a lane begins a pass share it; one that comes later has the next one. One lane at a time is read in a process. How
 * far a pass is stands in the lane's record, so whoever has the lane next goes on there. A pass that is over counts from the next checkpoint on, which
 * holds both what it has read and that the new version serves (checkpoint.c); when that is durable the lane goes over.
 *
 * What an operator said (control records) is asked for where it matters, so nothing of it is kept here. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/ingest/internal.h"
#include "kafka/embedded.h"

#define TURN_RECORDS 2000
#define BEHIND_NS INT64_C(1000000) /* of a turn, at most, while live records wait to be read */
#define ASK_TIMEOUT_MS 5000
#define AGAIN_MS 500
#define THROTTLED_MS 20
#define RATE_OVER_MS 2000 /* the rate that is told is one over so long */

/* ---- what operators say ---- */

static struct rc_control control_of(const struct ingest *ingest, const char *kind, const char *id) {
    struct rc_control control = {0};
    if (ingest->definitions)
        rc_definitions_control(ingest->definitions, kind, id, &control);
    return control;
}

bool rc_ingest_backfill_cancelled(const struct ingest *ingest, const char *id, int version) {
    return control_of(ingest, "segment", id).cancelled_version == version;
}

bool rc_ingest_replay_cancelled(const struct ingest *ingest, const char *id, int64_t generation) {
    return control_of(ingest, "segment", id).cancelled_ms >= generation;
}

/* What was said of the replay that the shadow is of; nothing of another. */
static struct rc_control replay_control(const struct ingest *ingest, const struct lane *lane,
                                        const struct shadow *shadow) {
    const struct rc_catalog *catalog = ingest->program->catalog;
    for (size_t d = 0; rc_ingest_is_replay(lane, shadow) && d < catalog->n_datasets; d++)
        if (rc_ingest_replay_of(ingest, catalog->datasets[d].id) == shadow->generation)
            return control_of(ingest, "dataset", catalog->datasets[d].id);
    return (struct rc_control){0};
}

bool rc_ingest_backfill_held(const struct ingest *ingest, const struct lane *lane, const struct shadow *shadow) {
    return control_of(ingest, "segment", shadow->id).paused || replay_control(ingest, lane, shadow).paused;
}

static int64_t lesser_rate(int64_t a, int64_t b) {
    return a == 0 || (b > 0 && b < a) ? b : a;
}

/* The least of what is allowed to those who share the pass; 0: no limit. */
static int64_t rate_of(const struct ingest *ingest, const struct lane *lane) {
    int64_t rate = 0;
    for (size_t i = 0; i < lane->n_shadows; i++) {
        const struct shadow *shadow = &lane->shadows[i];
        if (!shadow->reading)
            continue;
        rate = lesser_rate(rate, control_of(ingest, "segment", shadow->id).rate);
        rate = lesser_rate(rate, replay_control(ingest, lane, shadow).rate);
    }
    return rate;
}

/* ---- passes ---- */

static void *close_source(void *source) {
    rc_source_close(source);
    return NULL;
}

static void await_closing(struct backfill *b) {
    if (b->closes)
        pthread_join(b->closing, NULL);
    b->closes = false;
}

static void drop_ahead(struct backfill *b) {
    while (b->ahead_at < b->n_ahead)
        rc_message_release(&b->ahead[b->ahead_at++]);
    b->ahead_at = b->n_ahead = 0;
}

/* Closing takes longer than live events should wait: a thread does it. */
static void close_reader(struct ingest *ingest) {
    struct backfill *b = &ingest->backfill;
    drop_ahead(b);
    if (b->source) {
        await_closing(b);
        b->closes = pthread_create(&b->closing, NULL, close_source, b->source) == 0;
        if (!b->closes)
            rc_source_close(b->source);
    }
    b->source = NULL;
    b->lane = NULL;
}

/* Reads nothing from here on; the client stays for the next lane, since making and closing one takes longer than live events should wait. */
static void rest_reader(struct ingest *ingest) {
    struct backfill *b = &ingest->backfill;
    struct rc_error err;
    drop_ahead(b);
    b->lane = NULL;
    if (b->source && rc_source_assign(b->source, NULL, 0, &err) != RC_OK)
        close_reader(ingest);
}

void rc_ingest_backfill_close(struct ingest *ingest) {
    close_reader(ingest);
    await_closing(&ingest->backfill);
}

static void drop_pass(struct lane *lane) {
    if (lane->ingest->backfill.lane == lane)
        rest_reader(lane->ingest);
    for (size_t i = 0; i < lane->n_stretches; i++)
        free(lane->stretches[i].topic);
    free(lane->stretches);
    lane->stretches = NULL;
    lane->n_stretches = 0;
}

void rc_ingest_backfill_forget(struct lane *lane) {
    drop_pass(lane);
}

void rc_ingest_backfill_followed(struct lane *lane) {
    bool reading = false;
    for (size_t i = 0; i < lane->n_shadows; i++)
        reading |= lane->shadows[i].reading;
    if (!reading)
        drop_pass(lane);
}

/* Whether the shadow waits for a pass. */
static bool waits(const struct lane *lane, const struct shadow *shadow) {
    return !shadow->done && !shadow->reading && !rc_ingest_backfill_held(lane->ingest, lane, shadow);
}

static bool has_pass(const struct lane *lane) {
    for (size_t i = 0; i < lane->n_shadows; i++)
        if (lane->shadows[i].reading)
            return true;
    return false;
}

/* The pass of the lane stands still while all that share it are paused. */
static bool goes_on(const struct lane *lane) {
    for (size_t i = 0; i < lane->n_shadows; i++)
        if (lane->shadows[i].reading && !rc_ingest_backfill_held(lane->ingest, lane, &lane->shadows[i]))
            return true;
    return false;
}

static struct stretch *stretch_of(const struct lane *lane, const char *topic) {
    for (size_t i = 0; i < lane->n_stretches; i++)
        if (strcmp(lane->stretches[i].topic, topic) == 0)
            return &lane->stretches[i];
    return NULL;
}

static int64_t lookback_of(const struct lane *lane, const struct shadow *shadow) {
    char name[RC_SHADOW_NAME];
    rc_ingest_shadow_name(lane, shadow->id, name);
    int s = rc_catalog_segment(lane->composition->catalog, name);
    return s < 0 ? -1 : rc_plan_lookback_ms(lane->composition->plan, (uint32_t)s);
}

/* From records of when on the topic has to be read for the shadow; INT64_MIN: all of them. For its window an event is dated at most RC_MAX_AHEAD_MS
 * ahead of its record. A replay wants more of the datasets that it is of: whoever is named there exists, however long ago it was. One of an import
 * does not, where no such replay is outstanding: live traffic has met everybody, the import's records among them. */
static int64_t reads_from(const struct lane *lane, const struct shadow *shadow, const char *topic, int64_t now_ms) {
    const struct ingest *ingest = lane->ingest;
    const struct route *route = rc_ingest_program_route(ingest->program, topic);
    for (size_t i = 0; route && rc_ingest_is_replay(lane, shadow) && i < route->n; i++) {
        const char *dataset = ingest->program->catalog->datasets[route->datasets[i]].id;
        if (rc_ingest_replay_of(ingest, dataset) == shadow->generation) {
            struct rc_control control = control_of(ingest, "dataset", dataset);
            if (control.replay_from_ms > 0)
                return control.replay_from_ms;
            if (rc_ingest_served(lane, shadow->id)->generation < control.replay_all_ms)
                return INT64_MIN;
        }
    }
    int64_t lookback = lookback_of(lane, shadow);
    return lookback < 0 ? INT64_MIN : now_ms - lookback - RC_MAX_AHEAD_MS;
}

/* Widens the topic's stretch to what the shadow needs of it, up to where live traffic has been for it from the first. */
static rc_status add_stretch(struct lane *lane, struct shadow *shadow, const struct history_cut *cut, int64_t now_ms,
                             struct rc_error *err) {
    struct ingest *ingest = lane->ingest;
    int64_t low, high, from, from_ms = reads_from(lane, shadow, cut->topic, now_ms);
    if (rc_admin_bounds(ingest->admin, cut->topic, lane->number, ASK_TIMEOUT_MS, &low, &high, err) != RC_OK)
        return RC_FAIL;
    from = low;
    if (from_ms != INT64_MIN && !rc_embedded_used(ingest->config)) {
        int64_t at, lookback = lookback_of(lane, shadow);
        if (rc_admin_offset_at(ingest->admin, cut->topic, lane->number, from_ms, ASK_TIMEOUT_MS, &at, err) != RC_OK)
            return RC_FAIL;
        from = at < 0 ? high : at;
        if (from > low && (lookback < 0 || from_ms > now_ms - lookback)) /* as if what is before were gone */
            shadow->gap_ms = from_ms > shadow->gap_ms ? from_ms : shadow->gap_ms;
    }
    from = from < low ? low : from;
    struct stretch *stretch = stretch_of(lane, cut->topic);
    if (!stretch) {
        lane->stretches = rc_realloc(lane->stretches, (lane->n_stretches + 1) * sizeof *lane->stretches);
        stretch = &lane->stretches[lane->n_stretches++];
        *stretch = (struct stretch){.topic = rc_strdup(cut->topic), .from = from, .end = cut->offset};
    }
    stretch->from = from < stretch->from ? from : stretch->from;
    stretch->end = cut->offset > stretch->end ? cut->offset : stretch->end;
    stretch->at = stretch->from;
    stretch->clipped |= low > 0 && from == low;
    return RC_OK;
}

static rc_status begin_pass(struct lane *lane, struct rc_error *err) {
    int64_t now_ms = rc_clock_wall_ms();
    rc_status status = RC_OK;
    drop_pass(lane);
    for (size_t i = 0; status == RC_OK && i < lane->n_shadows; i++) {
        struct shadow *shadow = &lane->shadows[i];
        for (size_t k = 0; status == RC_OK && waits(lane, shadow) && k < shadow->n_cuts; k++)
            status = add_stretch(lane, shadow, &shadow->cuts[k], now_ms, err);
    }
    if (status != RC_OK) {
        rc_admin_rest(lane->ingest->admin); /* else when what has begun is read */
        drop_pass(lane);
        return RC_FAIL;
    }
    for (size_t i = 0; i < lane->n_shadows; i++)
        if (waits(lane, &lane->shadows[i]))
            lane->shadows[i].reading = true;
    int64_t records = 0;
    for (size_t i = 0; i < lane->n_stretches; i++)
        records +=
            lane->stretches[i].end > lane->stretches[i].from ? lane->stretches[i].end - lane->stretches[i].from : 0;
    lane->dirty = true;
    rc_log(RC_LOG_INFO, "reading history", rc_f_int("partition", lane->number), rc_f_int("records", records));
    return RC_OK;
}

static void note_gap(struct lane *lane, const struct stretch *stretch, int64_t first_ms) {
    int64_t now_ms = rc_clock_wall_ms();
    for (size_t i = 0; i < lane->n_shadows; i++) {
        struct shadow *shadow = &lane->shadows[i];
        int64_t lookback = lookback_of(lane, shadow);
        bool reads = false;
        for (size_t k = 0; k < shadow->n_cuts; k++)
            reads |= strcmp(shadow->cuts[k].topic, stretch->topic) == 0;
        if (shadow->reading && reads && (lookback < 0 || first_ms > now_ms - lookback) && first_ms > shadow->gap_ms)
            shadow->gap_ms = first_ms;
    }
}

static void end_pass(struct lane *lane) {
    for (size_t i = 0; i < lane->n_stretches; i++)
        if (lane->stretches[i].clipped) /* nothing was there */
            note_gap(lane, &lane->stretches[i], rc_clock_wall_ms());
    for (size_t i = 0; i < lane->n_shadows; i++) {
        lane->shadows[i].done |= lane->shadows[i].reading;
        lane->shadows[i].reading = false;
    }
    drop_pass(lane);
    rc_admin_rest(lane->ingest->admin);
    lane->dirty = true;
    lane->ingest->backfill.passed = true;
    rc_log(RC_LOG_INFO, "history is read", rc_f_int("partition", lane->number));
}

/* ---- reading ---- */

static rc_status open_reader(struct lane *lane, struct rc_error *err) {
    struct ingest *ingest = lane->ingest;
    struct rc_source_options options = {.name = "backfill", .wake_fd = rc_loop_fd(ingest->loop), .stands_back = true};
    struct rc_source_partition *parts = rc_calloc(lane->n_stretches + 1, sizeof *parts);
    size_t n = 0;
    rc_status status = RC_OK;
    for (size_t i = 0; status == RC_OK && i < lane->n_stretches; i++) {
        struct stretch *stretch = &lane->stretches[i];
        int64_t low, high;
        if (stretch->at >= stretch->end)
            continue;
        status = rc_admin_bounds(ingest->admin, stretch->topic, lane->number, ASK_TIMEOUT_MS, &low, &high, err);
        if (status == RC_OK && stretch->at < low) { /* retention was faster */
            stretch->at = low;
            stretch->clipped = true;
        }
        parts[n++] = (struct rc_source_partition){
            .topic = stretch->topic, .partition = lane->number, .start = stretch->at, .ctx = stretch};
    }
    rc_admin_rest(ingest->admin);
    struct backfill *b = &ingest->backfill;
    if (status == RC_OK && !b->source)
        status = rc_source_open(ingest->config, &options, &b->source, err);
    if (status == RC_OK)
        status = rc_source_assign(b->source, parts, n, err);
    free(parts);
    if (status != RC_OK) {
        close_reader(ingest);
        return RC_FAIL;
    }
    b->lane = lane;
    b->tokens = 0;
    b->filled_ms = rc_clock_monotonic_ms();
    return RC_OK;
}

/* Records with an offset that come to nobody (compacted, control) end a stretch as well. What is taken and not fed yet, because it waits for the
 * schema registry or for its turn, does not, though the reader has passed it. */
static bool all_read(const struct ingest *ingest, struct lane *lane) {
    const struct backfill *b = &ingest->backfill;
    bool all = true;
    if (b->lane == lane && b->ahead_at < b->n_ahead)
        return false;
    for (size_t i = 0; i < lane->n_stretches; i++) {
        struct stretch *stretch = &lane->stretches[i];
        int64_t position, high;
        if (stretch->at < stretch->end && b->lane == lane &&
            rc_source_position(b->source, stretch->topic, lane->number, &position, &high) == RC_OK &&
            (position >= stretch->end || rc_source_at_end(b->source, stretch->topic, lane->number, INT64_MAX, NULL)))
            stretch->at = stretch->end;
        all &= stretch->at >= stretch->end;
    }
    return all;
}

static bool replays(const struct lane *lane) {
    for (size_t i = 0; i < lane->n_shadows; i++)
        if (lane->shadows[i].reading && rc_ingest_is_replay(lane, &lane->shadows[i]))
            return true;
    return false;
}

/* False: the record waits for the schema registry. `all`: a replay reads it. */
static bool take(struct lane *lane, const struct rc_message *message, bool all) {
    struct stretch *stretch = message->ctx;
    if (message->offset < stretch->end) {
        if (stretch->clipped)
            note_gap(lane, stretch,
                     message->timestamp_ms == RC_NO_TIMESTAMP ? rc_clock_wall_ms() : message->timestamp_ms);
        stretch->clipped = false;
        if (rc_ingest_feed_history(lane->ingest, lane, message, all) == FED_AGAIN)
            return false;
        lane->ingest->backfill.records++;
        rc_counter_inc(lane->ingest->metrics.history);
    }
    stretch->at = message->offset + 1;
    lane->dirty = true;
    return true;
}

static bool may_take(struct ingest *ingest, int64_t rate) {
    struct backfill *b = &ingest->backfill;
    if (rate == 0)
        return true;
    int64_t now = rc_clock_monotonic_ms();
    b->tokens = fmin(b->tokens + (double)(now - b->filled_ms) * (double)rate / 1000, (double)rate / 10 + 1);
    b->filled_ms = now;
    return b->tokens >= 1;
}

static void fail_softly(struct ingest *ingest, const struct rc_error *err) {
    rc_log_limited(RC_LOG_WARN, "history cannot be read, trying again", rc_f_err(err));
    close_reader(ingest);
    ingest->backfill.next_try_ms = rc_clock_monotonic_ms() + AGAIN_MS;
}

/* Takes records, as many as are looked ahead at. A record's key is its person's, or it says nothing. */
static enum rc_polled take_ahead(struct backfill *b, struct rc_error *err) {
    struct rc_span keys[RC_EXPECT_MAX];
    enum rc_polled polled = RC_POLLED_MESSAGE;
    b->ahead_at = b->n_ahead = 0;
    while (b->n_ahead < RC_EXPECT_MAX && polled == RC_POLLED_MESSAGE) {
        polled = rc_source_poll(b->source, 0, &b->ahead[b->n_ahead], err);
        if (polled == RC_POLLED_MESSAGE) {
            keys[b->n_ahead] = b->ahead[b->n_ahead].key;
            b->n_ahead++;
        }
    }
    rc_population_expect(b->lane->population, keys, b->n_ahead);
    return polled;
}

/* True when there is more to read at once. */
static bool read_some(struct ingest *ingest, struct lane *lane) {
    struct backfill *b = &ingest->backfill;
    int64_t slice_ns = ingest->pace.slice_ns < BEHIND_NS ? ingest->pace.slice_ns : BEHIND_NS;
    int64_t until_ns = rc_clock_monotonic_ns() + slice_ns;
    int64_t rate = rate_of(ingest, lane);
    bool all = replays(lane);
    for (int n = 0; n < TURN_RECORDS && may_take(ingest, rate); n++) {
        if (b->ahead_at == b->n_ahead) {
            struct rc_error err;
            if (n > 0 && rc_clock_monotonic_ns() >= until_ns)
                return true;
            enum rc_polled polled = take_ahead(b, &err);
            if (polled == RC_POLLED_ERROR && err.class != RC_CLASS_RETRY) {
                fail_softly(ingest, &err);
                return false;
            }
            if (polled == RC_POLLED_NOTHING && b->n_ahead == 0)
                return false; /* what comes wakes the loop */
            if (b->n_ahead == 0)
                continue;
        }
        if (!take(lane, &b->ahead[b->ahead_at], all)) {
            b->next_try_ms = rc_clock_monotonic_ms() + AGAIN_MS;
            return false;
        }
        rc_message_release(&b->ahead[b->ahead_at++]);
        b->tokens -= rate > 0;
    }
    return rate == 0;
}

/* ---- a turn ---- */

static struct lane *lane_to_begin(struct ingest *ingest) {
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        struct lane *lane = ingest->lanes[i];
        for (size_t s = 0; lane_works(lane) && !has_pass(lane) && s < lane->n_shadows; s++)
            if (waits(lane, &lane->shadows[s]))
                return lane;
    }
    return NULL;
}

static struct lane *lane_to_read(struct ingest *ingest) {
    struct lane *first = NULL;
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        struct lane *lane = ingest->lanes[i];
        if (lane_works(lane) && has_pass(lane) && goes_on(lane) &&
            (ingest->backfill.lane == lane || !first ||
             (ingest->backfill.lane != first && lane->number < first->number)))
            first = lane;
    }
    return first;
}

static void tell_rate(struct ingest *ingest) {
    struct backfill *b = &ingest->backfill;
    int64_t now = rc_clock_monotonic_ms();
    if (now - b->rate_from_ms < RATE_OVER_MS)
        return;
    b->rate = b->rate_from_ms ? (double)(b->records - b->rate_from) * 1000 / (double)(now - b->rate_from_ms) : 0;
    b->rate_from_ms = now;
    b->rate_from = b->records;
}

/* Control records change what composes a lane (cancel), and nothing else tells of them. */
static rc_status follow_control(struct ingest *ingest, struct rc_error *err) {
    uint64_t changes = rc_definitions_control_changes(ingest->definitions);
    if (changes == ingest->backfill.control_changes)
        return RC_OK;
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        if (rc_ingest_switch_pending(ingest->lanes[i]))
            return RC_OK; /* at the next turn behind the checkpoint */
        ingest->lanes[i]->dirty |= lane_works(ingest->lanes[i]) && ingest->lanes[i]->n_shadows > 0;
    }
    for (size_t i = 0; i < ingest->n_lanes; i++)
        if (ingest->lanes[i]->population && rc_ingest_compose(ingest->lanes[i], err) != RC_OK)
            return RC_FAIL;
    ingest->backfill.control_changes = changes;
    return RC_OK;
}

bool rc_ingest_backfill_turn(struct ingest *ingest) {
    struct backfill *b = &ingest->backfill;
    struct rc_error err;
    tell_rate(ingest);
    if (!ingest->program || ingest->failed)
        return false;
    if (follow_control(ingest, &err) != RC_OK) {
        rc_ingest_fail(ingest, &err);
        return false;
    }
    if (ingest->has_stuck || ingest->paused || rc_producer_full(ingest->producer) ||
        (ingest->crowded && ingest->checkpoint.under_way) || rc_clock_monotonic_ms() < b->next_try_ms)
        return false;
    struct lane *begins = lane_to_begin(ingest);
    if (begins) {
        if (begin_pass(begins, &err) != RC_OK) {
            fail_softly(ingest, &err);
            return false;
        }
        return true;
    }
    struct lane *lane = lane_to_read(ingest);
    if (b->lane && b->lane != lane)
        rest_reader(ingest);
    if (!lane) {
        close_reader(ingest);
        return false;
    }
    if (all_read(ingest, lane)) {
        end_pass(lane);
        return true;
    }
    if (!b->lane && open_reader(lane, &err) != RC_OK) {
        fail_softly(ingest, &err);
        return false;
    }
    if (ingest->pace.slice_ns == 0)
        return true; /* it rests */
    int64_t began_ns = rc_clock_monotonic_ns();
    bool more = read_some(ingest, lane);
    rc_ingest_pace_spent(ingest, began_ns);
    if (b->lane == lane && all_read(ingest, lane)) {
        end_pass(lane);
        return true;
    }
    return more;
}

int64_t rc_ingest_backfill_due(const struct ingest *ingest, int64_t now_ms) {
    for (size_t i = 0; i < ingest->n_lanes; i++)
        if (lane_works(ingest->lanes[i]) && has_pass(ingest->lanes[i]))
            return now_ms + (ingest->backfill.next_try_ms > rc_clock_monotonic_ms() ? AGAIN_MS : THROTTLED_MS);
    return INT64_MAX;
}

/* ---- saved, and told ---- */

json_t *rc_ingest_pass_json(const struct lane *lane) {
    json_t *json = json_object();
    for (size_t i = 0; i < lane->n_stretches; i++) {
        const struct stretch *stretch = &lane->stretches[i];
        json_object_set_new(json, stretch->topic,
                            json_pack("[I, I, I, b]", (json_int_t)stretch->from, (json_int_t)stretch->at,
                                      (json_int_t)stretch->end, stretch->clipped));
    }
    return json;
}

void rc_ingest_pass_take(struct lane *lane, const json_t *json) {
    const char *topic;
    json_t *one;
    drop_pass(lane);
    json_object_foreach((json_t *)(uintptr_t)json, topic, one) {
        lane->stretches = rc_realloc(lane->stretches, (lane->n_stretches + 1) * sizeof *lane->stretches);
        lane->stretches[lane->n_stretches++] = (struct stretch){.topic = rc_strdup(topic),
                                                                .from = json_integer_value(json_array_get(one, 0)),
                                                                .at = json_integer_value(json_array_get(one, 1)),
                                                                .end = json_integer_value(json_array_get(one, 2)),
                                                                .clipped = json_is_true(json_array_get(one, 3))};
    }
}

void rc_ingest_backfill_progress(const struct lane *lane, const struct shadow *shadow, int64_t *done, int64_t *all) {
    int64_t behind = 0, whole = 0;
    for (size_t k = 0; k < shadow->n_cuts; k++) {
        const struct stretch *stretch = shadow->reading ? stretch_of(lane, shadow->cuts[k].topic) : NULL;
        if (stretch && stretch->end > stretch->from) {
            whole += stretch->end - stretch->from;
            behind += stretch->at - stretch->from;
        } else if (!stretch) {
            whole +=
                shadow->cuts[k].offset; /* at most; what the window needs of it is found out when the pass begins */
            behind += shadow->done ? shadow->cuts[k].offset : 0;
        }
    }
    *done = behind;
    *all = whole;
}
