/* Status and metrics. The view is built by the stage's thread when something changed, a few times a second at most, and handed over
 * whole: the HTTP thread never looks at what is being worked on. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "consumers/materialize/stage.h"

#define VIEW_INTERVAL_MS 200

void rc_report_open(struct stage *stage) {
    struct rc_metrics *metrics = stage->process->metrics;
    struct materialize_metrics *m = &stage->metrics;
    RC_MATERIALIZE_METRICS(RC_METRIC_REGISTER)
    pthread_mutex_init(&stage->view_lock, NULL);
    stage->view_stale = true;
    rc_process_status_add(stage->process, RC_MATERIALIZE_ROLE, rc_report_status, stage);
}

void rc_report_close(struct stage *stage) {
    rc_process_status_remove(stage->process, RC_MATERIALIZE_ROLE);
    pthread_mutex_destroy(&stage->view_lock);
    json_decref(stage->view);
    free(stage->members);
}

json_t *rc_report_status(void *ctx) {
    struct stage *stage = ctx;
    pthread_mutex_lock(&stage->view_lock);
    json_t *view = stage->view ? json_deep_copy(stage->view) : json_object();
    pthread_mutex_unlock(&stage->view_lock);
    return view;
}

static const char *phase_word(const struct part *part) {
    if (part->phase == PART_LEARNING)
        return "restoring";
    if (part->phase == PART_REPEATING)
        return "catching up";
    return part->paused ? "paused" : "live";
}

static json_t *partitions_view(struct stage *stage) {
    json_t *list = json_array();
    int64_t records = 0;
    double oldest = 0;
    for (size_t i = 0; i < stage->n_parts; i++) {
        struct part *part = stage->parts[i];
        int64_t position = part->next, end = -1;
        /* Where the source stands is behind `next` by what nobody is given: the ends of transactions. */
        if (rc_source_position(stage->source, stage->segments_topic, part->number, &position, &end))
            end = -1;
        if (position < part->next)
            position = part->next;
        json_t *row = json_pack("{s:s, s:i, s:s, s:I}", "topic", stage->segments_topic, "partition", (int)part->number,
                                "state", phase_word(part), "offset", (json_int_t)part->next);
        if (end >= 0) {
            int64_t lag = end > position ? end - position : 0;
            json_object_set_new(row, "end_offset", json_integer(end));
            json_object_set_new(row, "lag_records", json_integer(lag));
            double seconds =
                lag && part->last_record_ms > 0 ? (double)(rc_clock_wall_ms() - part->last_record_ms) / 1e3 : 0;
            json_object_set_new(row, "lag_seconds", json_real(seconds));
            records += lag;
            oldest = seconds > oldest ? seconds : oldest;
        }
        json_object_set_new(row, "committed", json_integer(part->saved_next));
        if (rc_sweep_pending(part))
            json_object_set_new(row, "reviewed", json_real((double)part->sweep_slice / RC_PERSONS_SLICES));
        json_array_append_new(list, row);
    }
    rc_gauge_set(stage->metrics.lag_records, (double)records);
    rc_gauge_set(stage->metrics.lag_seconds, oldest);
    return list;
}

static void show_members(struct stage *stage, uint32_t audience, const char *id) {
    if (!stage->members[audience]) {
        struct rc_label label = {.name = "audience", .value = id};
        stage->members[audience] = rc_gauge_register(stage->process->metrics, "rollcall_materialize_members",
                                                     "Members of the audience in this process's partitions", &label, 1);
    }
    rc_gauge_set(stage->members[audience], (double)stage->all[audience].members);
}

/* "held" while its new condition needs an approval; "in progress" while that is counted, or the audience is being published here or waits for that. */
static const char *state_of(const struct stage *stage, size_t entry, uint32_t audience) {
    if (stage->all[audience].withheld)
        return "error: size limit";
    enum rc_audience_mode mode = stage->book.specs[entry].mode;
    if (stage->book.entries[entry].serves && (mode == RC_AUDIENCE_LIVE || mode == RC_AUDIENCE_SCHEDULED))
        return stage->book.entries[entry].held ? "held" : "in progress";
    for (size_t i = 0; i < stage->n_parts; i++)
        if (rc_publish_pending(stage->parts[i], entry))
            return "in progress";
    return stage->book.entries[entry].state;
}

static void add_time(json_t *row, const char *key, int64_t at_ms) {
    if (at_ms > 0 && at_ms != INT64_MAX)
        json_object_set_new(row, key, json_integer(at_ms));
}

/* When it was published, will be, and ends. */
static void add_schedule(struct stage *stage, json_t *row, size_t entry) {
    const struct rc_audience_entry *e = &stage->book.entries[entry];
    enum rc_audience_mode mode = stage->book.specs[entry].mode;
    if (mode == RC_AUDIENCE_SCHEDULED)
        add_time(row, "next_refresh_ms", e->next_ms);
    if (e->schedule.refresh != RC_REFRESH_CONTINUOUS)
        add_time(row, "last_refresh_ms", rc_publish_last_ms(stage, entry));
    add_time(row, "expires_ms", e->expires_ms);
    if (e->ends_soon)
        json_object_set_new(row, "warning", json_string("expires soon; `rollcall renew` sets a later time"));
}

/* What is in force while the newest version is not. */
static void add_serving(const struct stage *stage, json_t *row, size_t at) {
    const struct rc_audience_entry *entry = &stage->book.entries[at];
    if (!entry->serves)
        return;
    json_object_set_new(row, "serving_version", json_integer(stage->book.specs[at].version));
    if (!entry->held)
        return;
    json_object_set_new(row, "held_members", json_integer(entry->held_members));
    json_object_set_new(row, "held_would_have", json_integer(entry->held_would_have));
}

static json_t *audiences_view(struct stage *stage, json_t *errors) {
    json_t *list = json_array();
    size_t soon = 0;
    for (size_t i = 0; i < stage->book.n; i++) {
        const struct rc_audience_entry *entry = &stage->book.entries[i];
        uint32_t name = rc_names_find(stage->audiences, rc_span_str(entry->id));
        struct rc_audience_tally tally = stage->all[name];
        const char *state = entry->state;
        if (strcmp(state, "deleted") == 0 && !tally.members && !tally.withheld) {
            if (stage->members[name])
                rc_metrics_hide(stage->process->metrics, "audience", entry->id);
            stage->members[name] = NULL;
            continue;
        }
        state = state_of(stage, i, name);
        show_members(stage, name, entry->id);
        json_t *row = json_pack("{s:s, s:i, s:s, s:I}", "id", entry->id, "version", entry->newest, "state", state,
                                "members", (json_int_t)tally.members);
        if (tally.withheld)
            json_object_set_new(row, "withheld", json_integer(tally.withheld));
        add_time(row, "last_change_ms", stage->last_change_ms[name]);
        add_schedule(stage, row, i);
        add_serving(stage, row, i);
        soon += entry->ends_soon;
        if (strncmp(state, "error", 5) == 0)
            json_array_append_new(errors, json_sprintf("audience %s: %s", entry->id, state));
        json_array_append_new(list, row);
    }
    rc_gauge_set(stage->metrics.ends_soon, (double)soon);
    return list;
}

static void add_problems(struct stage *stage, json_t *errors) {
    char *problems = rc_definitions_problems(stage->definitions);
    for (char *rest = problems, *line; problems && (line = strsep(&rest, "\n"));)
        if (*line)
            json_array_append_new(errors, json_string(line));
    free(problems);
}

static void set_gauges(struct stage *stage) {
    size_t dirty = 0, cached = 0;
    for (size_t i = 0; i < stage->n_parts; i++) {
        dirty += rc_persons_dirty(stage->parts[i]->persons);
        cached += rc_persons_bytes(stage->parts[i]->persons);
    }
    rc_gauge_set(stage->metrics.dirty, (double)dirty);
    rc_gauge_set(stage->metrics.cached, (double)cached);
    rc_gauge_set(stage->metrics.disk, (double)rc_store_bytes(stage->store));
}

void rc_report_turn(struct stage *stage, int64_t monotonic_ms) {
    if (!stage->view_stale || monotonic_ms < stage->view_ms + VIEW_INTERVAL_MS)
        return;
    const struct materialize_metrics *m = &stage->metrics;
    json_t *view = json_object(), *errors = json_array();
    json_object_set_new(view, "partitions", partitions_view(stage));
    json_object_set_new(view, "audiences", audiences_view(stage, errors));
    json_object_set_new(view, "latency",
                        json_pack("{s:o, s:o, s:o}", "event_to_change", rc_process_latency(m->event_latency),
                                  "due_to_change", rc_process_latency(m->due_latency), "hop",
                                  rc_process_latency(m->hop_latency)));
    json_object_set_new(view, "counters",
                        json_pack("{s:I, s:I}", "records", (json_int_t)rc_counter_get(m->records), "changes",
                                  (json_int_t)rc_counter_get(m->changes)));
    add_problems(stage, errors);
    json_object_set_new(view, "errors", errors);
    set_gauges(stage);
    pthread_mutex_lock(&stage->view_lock);
    json_t *old = stage->view;
    stage->view = view;
    pthread_mutex_unlock(&stage->view_lock);
    json_decref(old);
    stage->view_stale = false;
    stage->view_ms = monotonic_ms;
}
