/* Scheduled audiences are published: everybody is held against them, slice by slice between live traffic.
 *
 *   1. An instant of a schedule comes (or has come while nobody was there: the last one counts), and the audience's segments are live here.
 *   2. What had been told by then is decided, and everybody who is known is in the store: one checkpoint.
 *   3. All slices: what differs from what was published last goes out, `cause: schedule`. Checkpoints note how far that is.
 *   4. The instant is done here; a checkpoint says so, to the store and to the group.
 * A crash in the midst goes on from the last checkpoint: what was told behind it stands in the output log and is taken from there
 * (takeover.c), so the rest is again just the difference. Which instants are done goes along with the group's offset: a new owner without
 * this one's disk neither publishes at a time of day that is not the audience's, nor leaves one out.
 *
 * The same pass lets in persons whom `size_limit` kept out, when others have left. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/materialize/stage.h"
#include "consumers/shared/live.h"

#define META_SCHEDULE "schedule"
/* What was applied a moment ago may not be known here yet: only what is this old is told to be done. */
#define CLOCK_MARGIN_MS 10000
/* More open schedules are not named one by one; then a new owner takes all of them for open. */
#define OPEN_MAX 64
/* Between two passes that fill up: at least this, and some times what the last one took. */
#define FILL_PAUSE_MS 1000
#define FILL_SHARE 10

bool rc_publish_running(const struct part *part) {
    return part->pass.state == PASS_RUNNING && part->phase == PART_LIVE;
}

void rc_publish_free(struct part *part) {
    free(part->pass.audiences);
    free(part->pass.dues);
    free(part->published_ms);
    free(part->waits);
    free(part->released);
}

/* ---- what is due ----------------------------------------------------------------------------------------------------------------- */

static uint32_t name_of(const struct stage *stage, size_t entry) {
    return rc_names_find(stage->audiences, rc_span_str(stage->book.entries[entry].id));
}

static bool scheduled(const struct rc_audience_entry *entry) {
    return entry->schedule.refresh != RC_REFRESH_CONTINUOUS;
}

bool rc_publish_pending(const struct part *part, size_t entry) {
    const struct stage *stage = part->stage;
    uint32_t audience = name_of(stage, entry);
    if (stage->book.specs[entry].mode == RC_AUDIENCE_LIVE)
        return part->waits[audience] || part->released[audience];
    return stage->book.specs[entry].mode == RC_AUDIENCE_SCHEDULED &&
           stage->book.entries[entry].latest_ms > part->published_ms[audience];
}

int64_t rc_publish_last_ms(const struct stage *stage, size_t entry) {
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < stage->n_parts; i++) {
        int64_t at = stage->parts[i]->published_ms[name_of(stage, entry)];
        least = at < least ? at : least;
    }
    int64_t last = stage->n_parts ? rc_schedule_latest(&stage->book.entries[entry].schedule, least) : 0;
    return last > 0 ? last : 0;
}

void rc_publish_look(struct stage *stage) {
    for (size_t i = 0; i < stage->n_parts; i++)
        stage->parts[i]->look = true;
    stage->view_stale = true;
}

static void add_to_pass(struct part *part, uint32_t audience, int64_t due_ms) {
    struct pass *pass = &part->pass;
    size_t capacity = pass->capacity;
    rc_grow(&pass->audiences, &capacity, pass->n + 1, sizeof *pass->audiences);
    rc_grow(&pass->dues, &pass->capacity, pass->n + 1, sizeof *pass->dues);
    pass->audiences[pass->n] = audience;
    pass->dues[pass->n++] = due_ms;
}

/* Whether ingest has told that all segments of the rule are live in this partition; `person` is the markers' (shared/live.h). */
static bool segments_live(struct stage *stage, const struct rc_audience_rule *rule,
                          const struct rc_audience_person *person) {
    for (size_t i = 0; person->n_signals && i < rule->n_leaves; i++) {
        rc_buf_reset(&stage->scratch);
        const char *segment = rc_names_text(stage->signals, rule->leaves[i]);
        if (rc_live_target_add(&stage->scratch, rc_span_str(segment)))
            return false;
        uint32_t name = rc_names_find(stage->signals, rc_buf_span(&stage->scratch));
        bool live = false;
        for (size_t k = 0; k < person->n_signals; k++)
            live |= person->signals[k].name == name && person->signals[k].realized;
        if (!live)
            return false;
    }
    return true;
}

static rc_status load_markers(struct part *part, struct rc_error *err) {
    struct stage *stage = part->stage;
    rc_buf_reset(&stage->key);
    if (rc_live_person_add(&stage->key, part->number, stage->n_partitions))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "the key of partition %d's markers does not fit",
                            (int)part->number);
    return rc_persons_load(part->persons, rc_buf_span(&stage->key), rc_names_count(stage->signals),
                           rc_names_count(stage->audiences), &stage->person, err);
}

rc_status rc_publish_ready(struct part *part, const struct rc_audience_rules *rules, bool *ready,
                           struct rc_error *err) {
    size_t n;
    const struct rc_audience_rule *all = rc_audience_rules_all(rules, &n);
    if (load_markers(part, err))
        return RC_FAIL;
    for (size_t i = 0; i < n; i++)
        ready[i] = segments_live(part->stage, &all[i], &part->stage->person);
    return RC_OK;
}

rc_status rc_publish_set_waits(struct part *part, struct rc_error *err) {
    struct stage *stage = part->stage;
    size_t n;
    const struct rc_audience_rule *rules = rc_audience_rules_all(stage->rules, &n);
    if (load_markers(part, err))
        return RC_FAIL;
    for (size_t i = 0; i < n; i++) {
        uint32_t audience = rules[i].name;
        bool waits = !segments_live(stage, &rules[i], &stage->person);
        if (part->waits[audience] && !waits && rules[i].mode == RC_AUDIENCE_LIVE)
            part->released[audience] = part->look = true;
        part->changed |= part->waits[audience] != waits;
        part->waits[audience] = waits;
    }
    return RC_OK;
}

/* Continuous ones that waited for a segment: nobody was held against them meanwhile. */
static void collect_released(struct part *part) {
    size_t n;
    const struct rc_audience_rule *rules = rc_audience_rules_all(part->stage->rules, &n);
    for (size_t i = 0; i < n; i++)
        if (part->released[rules[i].name] && rules[i].mode == RC_AUDIENCE_LIVE && !part->waits[rules[i].name])
            add_to_pass(part, rules[i].name, 0);
}

static void collect_due(struct part *part) {
    struct stage *stage = part->stage;
    for (size_t i = 0; i < stage->book.n; i++) {
        const struct rc_audience_entry *entry = &stage->book.entries[i];
        uint32_t audience = name_of(stage, i);
        if (!scheduled(entry) || entry->latest_ms <= part->published_ms[audience])
            continue;
        if (stage->book.specs[i].mode != RC_AUDIENCE_SCHEDULED) {
            /* What falls into a pause is left out; what is published once waits for its end. */
            if (entry->schedule.refresh != RC_REFRESH_ONCE) {
                part->published_ms[audience] = entry->latest_ms;
                part->changed = true;
            }
            continue;
        }
        /* What is published once is published by the condition that it was applied with. */
        if (!part->waits[audience] && !(entry->serves && entry->schedule.refresh == RC_REFRESH_ONCE))
            add_to_pass(part, audience, entry->latest_ms);
    }
}

/* Those that withhold persons and have room again. */
static void collect_room(struct part *part) {
    struct stage *stage = part->stage;
    size_t n;
    const struct rc_audience_rule *rules = rc_audience_rules_all(stage->rules, &n);
    for (size_t i = 0; i < n; i++)
        if (rules[i].mode == RC_AUDIENCE_LIVE && part->here[rules[i].name].withheld &&
            stage->all[rules[i].name].members < rc_audience_rules_limit(stage->rules, &rules[i]))
            add_to_pass(part, rules[i].name, 0);
}

static rc_status look(struct part *part, struct rc_error *err) {
    struct pass *pass = &part->pass;
    pass->n = 0;
    if (rc_publish_set_waits(part, err))
        return RC_FAIL;
    part->look = false;
    collect_released(part);
    pass->fills = pass->n > 0;
    pass->cause = RC_CAUSE_BACKFILL;
    if (!pass->n) {
        collect_due(part);
        pass->cause = RC_CAUSE_SCHEDULE;
    }
    if (!pass->n) {
        if (rc_clock_monotonic_ms() < part->next_fill_ms) {
            part->look = true;
            return RC_OK;
        }
        pass->fills = true;
        pass->cause = RC_CAUSE_DEFINITION;
        collect_room(part);
    }
    if (!pass->n)
        return RC_OK;
    pass->state = PASS_CATCHING_UP;
    pass->wanted_ms = rc_clock_wall_ms();
    pass->goal = -1;
    pass->slice = 0;
    pass->started_ms = 0;
    part->stage->view_stale = true;
    return RC_OK;
}

/* ---- the pass -------------------------------------------------------------------------------------------------------------------- */

/* Everything that was on the topic when the pass was wanted is decided. Under load an end is never reached, but one that was heard is passed. */
static bool caught_up(struct part *part) {
    struct stage *stage = part->stage;
    struct pass *pass = &part->pass;
    int64_t since = 0, position = 0, end = -1;
    if (rc_source_at_end(stage->source, stage->segments_topic, part->number, INT64_MAX, &since) &&
        since >= pass->wanted_ms)
        return true;
    rc_source_ask_end(stage->source);
    if (pass->goal < 0) {
        rc_source_refresh_ends(stage->source);
        if (rc_source_position(stage->source, stage->segments_topic, part->number, &position, &end) == RC_OK &&
            end > position)
            pass->goal = end;
    }
    return pass->goal >= 0 && part->next >= pass->goal;
}

static bool publish(struct part *part, const struct rc_audience_desk *desk, struct rc_audience_person *person) {
    return rc_audience_publish(desk, person, part->pass.audiences, part->pass.n, part->pass.cause, rc_clock_wall_ms());
}

static void end_pass(struct part *part) {
    struct stage *stage = part->stage;
    struct pass *pass = &part->pass;
    int64_t took = rc_clock_monotonic_ms() - pass->started_ms;
    for (size_t i = 0; i < pass->n; i++) {
        uint32_t audience = pass->audiences[i];
        part->released[audience] = false;
        if (pass->fills)
            continue;
        if (pass->dues[i] > part->published_ms[audience])
            part->published_ms[audience] = pass->dues[i];
        rc_counter_inc(stage->metrics.publications);
        rc_log(RC_LOG_INFO, "audience published", rc_f_str("audience", rc_names_text(stage->audiences, audience)),
               rc_f_int("partition", part->number), rc_f_int("due", pass->dues[i]), rc_f_int("took_ms", took),
               rc_f_int("members", part->here[audience].members));
    }
    part->next_fill_ms = rc_clock_monotonic_ms() + FILL_PAUSE_MS + took * FILL_SHARE;
    pass->state = PASS_NONE;
    pass->slice = 0;
    part->look = true; /* what became due meanwhile */
    part->changed = part->wanted_now = true;
    stage->view_stale = true;
}

static rc_status run_pass(struct part *part, int64_t budget_ms, struct rc_error *err) {
    if (rc_walk(part, &part->pass.slice, budget_ms, publish, err))
        return RC_FAIL;
    part->changed = true;
    if (part->pass.slice == RC_PERSONS_SLICES)
        end_pass(part);
    return RC_OK;
}

rc_status rc_publish_turn(struct part *part, int64_t budget_ms, struct rc_error *err) {
    struct pass *pass = &part->pass;
    if (part->phase != PART_LIVE || rc_sweep_pending(part))
        return RC_OK;
    if (pass->state == PASS_NONE && part->look && look(part, err))
        return RC_FAIL;
    if (pass->state == PASS_CATCHING_UP && caught_up(part)) {
        pass->state = PASS_SAVING;
        part->batch_for_pass = false; /* one under way does not hold everybody who is known now */
    }
    if (pass->state == PASS_SAVING && !rc_checkpoint_under_way(part))
        part->changed = part->wanted_now = true;
    if (pass->state != PASS_RUNNING)
        return RC_OK;
    if (!pass->started_ms)
        pass->started_ms = rc_clock_monotonic_ms();
    return run_pass(part, budget_ms, err);
}

/* ---- what outlives the process --------------------------------------------------------------------------------------------------- */

void rc_publish_save(struct part *part, struct rc_store_batch *batch) {
    struct stage *stage = part->stage;
    const struct pass *pass = &part->pass;
    bool running = pass->state == PASS_RUNNING && !pass->fills;
    rc_buf_reset(&stage->value);
    (void)rc_buf_add_zigzag(&stage->value, part->clock_ms);
    (void)rc_buf_add_varint(&stage->value, running ? pass->n : 0);
    (void)rc_buf_add_varint(&stage->value, pass->slice);
    for (size_t i = 0; running && i < pass->n; i++) {
        (void)rc_buf_add_varint(&stage->value, pass->audiences[i]);
        (void)rc_buf_add_zigzag(&stage->value, pass->dues[i]);
    }
    /* The lowest bit: everybody is still to be held against it. */
    for (size_t i = 0; i < stage->n_tallies; i++)
        (void)rc_buf_add_varint(&stage->value,
                                (uint64_t)part->published_ms[i] << 1 | (part->waits[i] || part->released[i]));
    rc_store_put(batch, RC_STORE_META, part->number, rc_span_str(META_SCHEDULE), rc_buf_span(&stage->value));
}

/* False when the bytes say something that cannot be. */
static bool take_saved(struct part *part, struct rc_span in) {
    struct stage *stage = part->stage;
    uint64_t n = 0, slice = 0, audience = 0;
    int64_t at = 0;
    if (rc_take_zigzag(&in, &part->clock_ms) || rc_take_varint(&in, &n) || rc_take_varint(&in, &slice) ||
        slice > RC_PERSONS_SLICES)
        return false;
    for (uint64_t i = 0; i < n; i++) {
        if (rc_take_varint(&in, &audience) || rc_take_zigzag(&in, &at) || audience >= stage->n_tallies)
            return false;
        add_to_pass(part, (uint32_t)audience, at);
    }
    if (n) {
        part->pass.state = PASS_RUNNING;
        part->pass.cause = RC_CAUSE_SCHEDULE;
        part->pass.slice = (uint32_t)slice;
    }
    for (size_t i = 0; in.len && i < stage->n_tallies; i++) {
        uint64_t both = 0;
        if (rc_take_varint(&in, &both))
            return false;
        part->published_ms[i] = (int64_t)(both >> 1);
        part->waits[i] = both & 1;
    }
    return true;
}

rc_status rc_publish_load(struct part *part, struct rc_error *err) {
    struct stage *stage = part->stage;
    bool found = false;
    rc_buf_reset(&stage->value);
    if (rc_store_get(stage->store, RC_STORE_META, part->number, rc_span_str(META_SCHEDULE), &stage->value, &found, err))
        return RC_FAIL;
    if (found && !take_saved(part, rc_buf_span(&stage->value)))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                            "the saved schedules of partition %d cannot be read; remove the folder "
                            "materialize in state.dir, it is built again from Kafka",
                            (int)part->number);
    return RC_OK;
}

static uint32_t mark_of(const char *audience) {
    return (uint32_t)XXH3_64bits(audience, strlen(audience));
}

void rc_publish_hand_over(struct part *part, char *metadata, size_t bytes) {
    struct stage *stage = part->stage;
    if (part->phase == PART_LIVE)
        part->clock_ms = rc_clock_wall_ms() - CLOCK_MARGIN_MS;
    if (part->clock_ms <= 0)
        return;
    struct rc_buf text;
    rc_buf_init(&text, 64 + OPEN_MAX * 9);
    (void)rc_buf_printf(&text, " schedule=%" PRId64 " open=", part->clock_ms);
    for (size_t i = 0; i < stage->book.n; i++) {
        const struct rc_audience_entry *entry = &stage->book.entries[i];
        if (scheduled(entry) && entry->latest_ms && entry->latest_ms <= part->clock_ms &&
            entry->latest_ms > part->published_ms[name_of(stage, i)])
            (void)rc_buf_printf(&text, "%08" PRIx32 ",", mark_of(entry->id));
    }
    size_t len = strlen(metadata);
    if (!text.full && len + text.len < bytes)
        memcpy(metadata + len, text.data, text.len + 1);
    rc_buf_deinit(&text);
}

void rc_publish_take_over(struct part *part, const char *metadata) {
    struct stage *stage = part->stage;
    const char *at = metadata ? strstr(metadata, " schedule=") : NULL, *open = at ? strstr(at, " open=") : NULL;
    int64_t now = rc_clock_wall_ms();
    if (!open || sscanf(at, " schedule=%" SCNd64, &part->clock_ms) != 1)
        return;
    if (part->clock_ms > now)
        part->clock_ms = now;
    for (size_t i = 0; i < stage->book.n; i++) {
        char mark[16];
        uint32_t audience = name_of(stage, i);
        snprintf(mark, sizeof mark, "%08" PRIx32 ",", mark_of(stage->book.entries[i].id));
        if (!strstr(open, mark) && part->published_ms[audience] < part->clock_ms)
            part->published_ms[audience] = part->clock_ms;
    }
}
