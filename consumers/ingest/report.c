/* What ingest tells of itself: gauges, and the section of /status. Made by the loop now and then, so that the HTTP
 * thread touches no state. */
#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "consumers/ingest/internal.h"

#define BEHIND_RECORDS 20000
#define REFRESH_MS 500

void rc_ingest_dead_letter_count(struct ingest *ingest, enum rc_reason reason) {
    struct rc_counter **counter = &ingest->metrics.dead_letters[reason];
    if (!*counter) {
        struct rc_label label = {.name = "reason", .value = rc_reason_text(reason)};
        *counter = rc_counter_register(ingest->process->metrics, "rollcall_ingest_dead_letters_total",
                                       "Records to the dead letters", &label, 1);
    }
    rc_counter_inc(*counter);
}

static const char *state_text(const struct ingest *ingest, const struct lane *lane) {
    switch (lane->state) {
    case LANE_HELD: return "waiting";
    case LANE_RESTORING: return "restoring";
    case LANE_CATCHING_UP: return ingest->paused ? "paused" : "catching up";
    case LANE_LIVE: return ingest->paused ? "paused" : "live";
    case LANE_PARKED: return "released";
    }
    return "";
}

struct totals {
    double lag_records, lag_ms, restore_left, warming_left;
    size_t warming, persons, resident, quarantined, bytes;
};

static void add_partitions(struct ingest *ingest, json_t *list, struct totals *totals, int64_t now_ms) {
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        const struct lane *lane = ingest->lanes[i];
        size_t persons = lane->population ? rc_population_persons(lane->population) : 0;
        size_t bytes = lane->population ? rc_population_bytes(lane->population) : 0;
        totals->persons += persons;
        totals->resident += lane->population ? rc_population_resident(lane->population) : 0;
        totals->bytes += bytes;
        totals->quarantined += lane->population ? rc_population_quarantined(lane->population) : 0;
        int64_t restored, to_restore;
        rc_ingest_restore_progress(lane, &restored, &to_restore);
        totals->restore_left += (double)(to_restore - restored);
        for (size_t k = 0; k < lane->n_inputs; k++) {
            const struct input *input = lane->inputs[k];
            int64_t position = input->position, taken, end = -1, known;
            bool at_end = false;
            if (rc_source_position(ingest->source, input->topic, lane->number, &taken, &end) == RC_OK) {
                at_end = rc_source_at_end(ingest->source, input->topic, lane->number, INT64_MAX, &known) ||
                         (end >= 0 && taken >= end);
                if (position < 0 && at_end)
                    position = taken;
            }
            /* Records with an offset that come to nobody (compacted, control) do not wait. */
            int64_t lag = end < 0 ? -1 : at_end || position > end ? 0 : position < 0 ? end : end - position;
            double lag_ms = at_end || input->clock_ms == INT64_MIN ? 0 : (double)(now_ms - input->clock_ms);
            totals->lag_records += lag > 0 ? (double)lag : 0;
            totals->lag_ms = lag_ms > totals->lag_ms ? lag_ms : totals->lag_ms;
            json_t *one = json_pack("{s:s, s:i, s:s, s:b, s:I, s:I, s:f, s:I, s:I, s:I}", "topic", input->topic,
                                    "partition", lane->number, "state", state_text(ingest, lane), "at_end", at_end,
                                    "persons", (json_int_t)persons, "state_bytes", (json_int_t)bytes, "lag_seconds",
                                    lag_ms / 1000, "lag_records", (json_int_t)(lag < 0 ? 0 : lag), "offset",
                                    (json_int_t)position, "end_offset", (json_int_t)end);
            if (input->clock_ms != INT64_MIN)
                json_object_set_new(one, "clock_ms", json_integer(input->clock_ms));
            json_object_set_new(one, "epoch", json_integer(lane->versions.epoch));
            if (lane->restore) {
                json_object_set_new(one, "restored_records", json_integer(restored));
                json_object_set_new(one, "restore_records", json_integer(to_restore));
            }
            json_array_append_new(list, one);
        }
    }
}

/* A segment over the lanes of this process. */
struct segment_sum {
    size_t members;
    int serving; /* the least version that is served; 0: none somewhere */
    bool warms, replays, paused, cancelled, held;
    int64_t was, would;    /* members by the version that serves and by the one that is held */
    int64_t read, records; /* of its history */
    int64_t until_ms;      /* its window reaches behind what the topics still hold until then */
    int64_t history_ms;    /* what it would need of before is gone for ever; 0: nothing */
};

static void add_lane(const struct ingest *ingest, const struct lane *lane, uint32_t s, struct segment_sum *sum) {
    const struct rc_segment *segment = &ingest->program->catalog->segments[s];
    const struct served *served = rc_ingest_served(lane, segment->id);
    const struct shadow *shadow = rc_ingest_shadow(lane, segment->id);
    int serving = served ? served->version : 0;
    sum->members += rc_population_members(lane->population, s); /* the newest ones stand first in every composition */
    sum->serving = sum->serving < 0 || serving < sum->serving ? serving : sum->serving;
    if (served && served->gap_ms > 0) {
        int64_t lookback = rc_plan_lookback_ms(ingest->program->plan, s);
        int64_t until = lookback < 0 ? 0 : served->gap_ms + lookback;
        sum->until_ms = until > sum->until_ms ? until : sum->until_ms;
        if (lookback < 0 && served->gap_ms > sum->history_ms)
            sum->history_ms = served->gap_ms;
    }
    if (shadow) {
        int64_t read, records;
        rc_ingest_backfill_progress(lane, shadow, &read, &records);
        sum->read += read;
        sum->records += records;
        sum->warms |= !rc_ingest_is_replay(lane, shadow);
        sum->replays |= rc_ingest_is_replay(lane, shadow);
        sum->paused |= rc_ingest_backfill_held(ingest, lane, shadow);
        if (!sum->held && shadow->done)
            sum->held = rc_ingest_guard_judge(ingest, lane, shadow, &sum->was, &sum->would) == RC_GUARD_HOLDS;
    } else if (!served || served->meaning != ingest->program->meanings[s]) {
        sum->cancelled = true;
    }
}

static void add_warming(const struct ingest *ingest, const struct segment_sum *sum, json_t *one) {
    int64_t left = sum->records - sum->read;
    json_object_set_new(one, "serving_version", sum->serving > 0 ? json_integer(sum->serving) : json_null());
    json_object_set_new(one, "read_records", json_integer(sum->read));
    json_object_set_new(one, "history_records", json_integer(sum->records));
    json_object_set_new(one, "progress", json_real(sum->records ? (double)sum->read / (double)sum->records : 1));
    json_object_set_new(one, "rate", json_real(ingest->backfill.rate));
    json_object_set_new(one, "eta_seconds",
                        ingest->backfill.rate > 0 ? json_real((double)left / ingest->backfill.rate) : json_null());
}

static void add_segments(const struct ingest *ingest, json_t *list, struct totals *totals, int64_t now_ms) {
    const struct rc_catalog *catalog = ingest->program->catalog;
    for (uint32_t s = 0; s < catalog->n_segments; s++) {
        struct segment_sum sum = {.serving = -1};
        for (size_t i = 0; i < ingest->n_lanes; i++)
            if (ingest->lanes[i]->population)
                add_lane(ingest, ingest->lanes[i], s, &sum);
        const char *state = sum.paused      ? "paused"
                            : sum.held      ? "held"
                            : sum.warms     ? "warming"
                            : sum.replays   ? "replaying"
                            : sum.cancelled ? "cancelled"
                                            : "live";
        json_t *one = json_pack("{s:s, s:i, s:s, s:I}", "id", catalog->segments[s].id, "version",
                                catalog->segments[s].version, "state", state, "members", (json_int_t)sum.members);
        if (sum.warms || sum.replays || sum.cancelled)
            add_warming(ingest, &sum, one);
        if (sum.held) {
            json_object_set_new(one, "held_members", json_integer(sum.was));
            json_object_set_new(one, "held_would_have", json_integer(sum.would));
        }
        if (sum.until_ms > now_ms)
            json_object_set_new(one, "incomplete_until_ms", json_integer(sum.until_ms));
        if (sum.history_ms > 0)
            json_object_set_new(one, "history_from_ms", json_integer(sum.history_ms));
        totals->warming += sum.warms || sum.replays;
        double left = (double)(sum.records - sum.read); /* those who read together read the same records */
        totals->warming_left = left > totals->warming_left ? left : totals->warming_left;
        json_array_append_new(list, one);
    }
}

static json_t *counters(const struct ingest *ingest) {
    const struct ingest_metrics *metrics = &ingest->metrics;
    json_t *dead = json_object();
    for (int reason = 0; reason < RC_REASON_COUNT; reason++)
        if (metrics->dead_letters[reason])
            json_object_set_new(dead, rc_reason_text((enum rc_reason)reason),
                                json_integer((json_int_t)rc_counter_get(metrics->dead_letters[reason])));
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "records", (json_int_t)rc_counter_get(metrics->records),
                     "events", (json_int_t)rc_counter_get(metrics->events), "ignored",
                     (json_int_t)rc_counter_get(metrics->ignored), "changes",
                     (json_int_t)rc_counter_get(metrics->changes), "retries",
                     (json_int_t)rc_counter_get(metrics->retries), "dead_letters", dead);
}

static json_t *errors(const struct ingest *ingest) {
    json_t *list = json_array();
    if (ingest->problem)
        json_array_append_new(list, json_string(ingest->problem));
    char *left_out = rc_definitions_problems(ingest->definitions);
    char *rest = left_out;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        if (*line)
            json_array_append_new(list, json_string(line));
    free(left_out);
    if (ingest->has_stuck)
        json_array_append_new(list, json_string("a record waits for the schema registry"));
    return list;
}

void rc_ingest_report_refresh(struct ingest *ingest, int64_t now_ms) {
    int64_t mono = rc_clock_monotonic_ms();
    if (!ingest->program || (ingest->reported_ms && mono - ingest->reported_ms < REFRESH_MS))
        return;
    ingest->reported_ms = mono;
    rc_source_refresh_ends(ingest->source);
    struct totals totals = {0};
    json_t *partitions = json_array(), *segments = json_array();
    add_partitions(ingest, partitions, &totals, now_ms);
    add_segments(ingest, segments, &totals, now_ms);
    const struct ingest_metrics *metrics = &ingest->metrics;
    ingest->behind = totals.lag_records > BEHIND_RECORDS;
    rc_gauge_set(metrics->lag_records, totals.lag_records);
    rc_gauge_set(metrics->lag_seconds, totals.lag_ms / 1000);
    rc_gauge_set(metrics->warming, (double)totals.warming);
    rc_gauge_set(metrics->warming_left, totals.warming_left);
    rc_gauge_set(metrics->restore_left, totals.restore_left);
    rc_gauge_set(metrics->persons, (double)totals.persons);
    rc_gauge_set(metrics->resident, (double)totals.resident);
    rc_gauge_set(metrics->quarantined, (double)totals.quarantined);
    rc_gauge_set(metrics->memory, (double)totals.bytes);
    rc_gauge_set(metrics->disk, (double)rc_store_bytes(ingest->store));
    rc_gauge_set(metrics->partitions, (double)ingest->n_lanes);
    json_t *report =
        json_pack("{s:o, s:o, s:{s:o, s:o}, s:o, s:o}", "partitions", partitions, "segments", segments, "latency",
                  "event_to_change", rc_process_latency(metrics->event_to_change), "due_to_change",
                  rc_process_latency(metrics->due_to_change), "counters", counters(ingest), "errors", errors(ingest));
    pthread_mutex_lock(&ingest->report_lock);
    json_t *old = ingest->report;
    ingest->report = report;
    pthread_mutex_unlock(&ingest->report_lock);
    json_decref(old);
}

json_t *rc_ingest_report_get(void *ctx) {
    struct ingest *ingest = ctx;
    pthread_mutex_lock(&ingest->report_lock);
    json_t *copy = ingest->report ? json_deep_copy(ingest->report) : json_object();
    pthread_mutex_unlock(&ingest->report_lock);
    return copy;
}
