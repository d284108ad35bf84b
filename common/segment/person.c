#include "segment/person.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* ---- person ----------------------------------------------------------------------------------------------------------- */

struct rc_person *rc_person_new(const struct rc_plan *plan, struct rc_span key) {
    /* One block: whoever is looked up is in the cache as a whole. */
    size_t n_datasets = plan->catalog->n_datasets;
    size_t first_bytes = n_datasets * sizeof(int64_t), domain_bytes = plan->n_domains * sizeof(struct rc_person_domain);
    struct rc_person *person = rc_alloc(sizeof *person + first_bytes + domain_bytes + key.len);
    *person = (struct rc_person){.key_len = (uint32_t)key.len};
    person->first_ms = (int64_t *)(void *)(person + 1);
    person->domains = (struct rc_person_domain *)(void *)(person->first_ms + n_datasets);
    person->key = (char *)(person->domains + plan->n_domains);
    if (key.len)
        memcpy(person->key, key.data, key.len);
    for (size_t d = 0; d < n_datasets; d++)
        person->first_ms[d] = INT64_MAX;
    for (size_t d = 0; d < plan->n_domains; d++)
        person->domains[d] = (struct rc_person_domain){.first_ms = RC_NEVER,
                                                       .decided_ms = INT64_MIN,
                                                       .latest_ms = INT64_MIN,
                                                       .due_ms = RC_NEVER,
                                                       .saved_due_ms = RC_NEVER,
                                                       .event_ms = RC_NO_EVENT_TIME};
    return person;
}

/* Releases what the strings of entries first … end − 1 hold. */
static void release_entries(const struct rc_series *series, const struct rc_series_plan *plan,
                            struct rc_strings *strings, uint32_t first, uint32_t end) {
    for (uint32_t i = first; i < end; i++) {
        if (plan->value_slot != RC_NONE && plan->value_type == RC_STRING)
            rc_strings_release(strings, (uint32_t)series->value[i]);
        if (series->tie)
            rc_strings_release(strings, (uint32_t)series->tie[i]);
    }
}

static void free_series(struct rc_person *person, const struct rc_plan *plan, struct rc_strings *strings) {
    for (uint32_t i = 0; i < person->n_series; i++) {
        struct rc_series *series = &person->series[i];
        release_entries(series, &plan->series[series->plan], strings, 0, series->n);
        free(series->ts);
    }
    free(person->series);
    person->series = NULL;
    person->n_series = person->cap_series = 0;
}

static void free_instants(struct rc_person_domain *place) {
    free(place->event_id);
    if (place->touched)
        free(place->touched->segments);
    free(place->touched);
    free(place->timers);
    place->event_id = NULL;
    place->event_id_len = place->event_id_cap = 0;
    place->touched = NULL;
    place->timers = NULL;
    place->n_timers = place->cap_timers = 0;
}

void rc_person_empty(struct rc_person *person, const struct rc_plan *plan, struct rc_strings *strings,
                     enum rc_quarantine quarantine) {
    free_series(person, plan, strings);
    for (size_t d = 0; d < plan->n_domains; d++) {
        free_instants(&person->domains[d]);
        person->domains[d].first_ms = RC_NEVER;
    }
    person->quarantine = (uint8_t)quarantine;
}

void rc_person_free(struct rc_person *person, const struct rc_plan *plan, struct rc_strings *strings) {
    if (!person)
        return;
    free_series(person, plan, strings);
    for (size_t d = 0; d < plan->n_domains; d++)
        free_instants(&person->domains[d]);
    free(person->members);
    free(person);
}

static size_t columns(const struct rc_series *series) {
    return 2 + (series->value != NULL) + (series->tie != NULL);
}

size_t rc_person_bytes(const struct rc_person *person, const struct rc_plan *plan) {
    size_t bytes = sizeof *person + person->key_len + person->cap_series * sizeof *person->series +
                   person->cap_members * sizeof *person->members + plan->catalog->n_datasets * sizeof *person->first_ms;
    for (size_t d = 0; d < plan->n_domains; d++)
        bytes += sizeof *person->domains + person->domains[d].event_id_cap +
                 person->domains[d].cap_timers * sizeof *person->domains->timers;
    for (uint32_t i = 0; i < person->n_series; i++)
        bytes += person->series[i].capacity * columns(&person->series[i]) * sizeof(int64_t);
    return bytes;
}

/* ---- series ----------------------------------------------------------------------------------------------------------- */

/* Position of the series with that plan index, or where it would stand. */
static uint32_t find_series(const struct rc_person *person, uint32_t plan) {
    uint32_t lo = 0, hi = person->n_series;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (person->series[mid].plan < plan)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct rc_series *rc_person_series(const struct rc_person *person, uint32_t plan) {
    uint32_t at = find_series(person, plan);
    return at < person->n_series && person->series[at].plan == plan ? &person->series[at] : NULL;
}

static void grow_small(void *items, uint32_t *capacity, uint32_t need, size_t size) {
    if (need <= *capacity)
        return;
    uint32_t cap = *capacity < 4 ? *capacity + 1 : *capacity + *capacity / 2;
    cap = cap < need ? need : cap;
    void **slot = items;
    *slot = rc_realloc(*slot, cap * size);
    *capacity = cap;
}

static struct rc_series *series_for(struct rc_person *person, uint32_t plan) {
    uint32_t at = find_series(person, plan);
    if (at < person->n_series && person->series[at].plan == plan)
        return &person->series[at];
    grow_small(&person->series, &person->cap_series, person->n_series + 1, sizeof *person->series);
    memmove(person->series + at + 1, person->series + at, (person->n_series - at) * sizeof *person->series);
    person->series[at] = (struct rc_series){.plan = plan};
    person->n_series++;
    return &person->series[at];
}

static bool has_values(const struct rc_series_plan *plan) {
    return plan->value_slot != RC_NONE || plan->keep == RC_KEEP_SESSIONS;
}

static void reserve(struct rc_series *series, const struct rc_series_plan *plan, uint32_t need) {
    if (need <= series->capacity)
        return;
    uint32_t cap = series->capacity < 4 ? need : series->capacity + series->capacity / 2;
    cap = cap < need ? need : cap;
    struct rc_series old = *series;
    size_t n_columns = 2 + (size_t)has_values(plan) + plan->keeps_order;
    int64_t *block = rc_alloc(n_columns * cap * sizeof *block);
    series->ts = block;
    series->id = (uint64_t *)(block + cap);
    series->value = has_values(plan) ? block + 2 * (size_t)cap : NULL;
    series->tie = plan->keeps_order ? (uint64_t *)(block + (n_columns - 1) * cap) : NULL;
    series->capacity = cap;
    if (old.n) {
        memcpy(series->ts, old.ts, old.n * sizeof *old.ts);
        memcpy(series->id, old.id, old.n * sizeof *old.id);
        if (series->value)
            memcpy(series->value, old.value, old.n * sizeof *old.value);
        if (series->tie)
            memcpy(series->tie, old.tie, old.n * sizeof *old.tie);
    }
    free(old.ts);
}

static void move_entries(struct rc_series *series, uint32_t to, uint32_t from, uint32_t n) {
    memmove(series->ts + to, series->ts + from, n * sizeof *series->ts);
    memmove(series->id + to, series->id + from, n * sizeof *series->id);
    if (series->value)
        memmove(series->value + to, series->value + from, n * sizeof *series->value);
    if (series->tie)
        memmove(series->tie + to, series->tie + from, n * sizeof *series->tie);
}

struct rc_series *rc_person_restore_series(struct rc_person *person, const struct rc_plan *plan, uint32_t series_index,
                                           uint32_t n) {
    struct rc_series *series = series_for(person, series_index);
    reserve(series, &plan->series[series_index], n);
    return series;
}

/* ---- pruning ---------------------------------------------------------------------------------------------------------- */

/* Drops the entries that `drop` marks; only those below `end` are looked at. */
static void drop_marked(struct rc_series *series, const struct rc_series_plan *plan, struct rc_strings *strings,
                        const bool *drop, uint32_t end) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < series->n; i++) {
        if (i < end && drop[i])
            release_entries(series, plan, strings, i, i + 1);
        else
            move_entries(series, kept++, i, 1);
    }
    series->n = kept;
}

static void drop_front(struct rc_series *series, const struct rc_series_plan *plan, struct rc_strings *strings,
                       uint32_t n) {
    if (n == 0)
        return;
    release_entries(series, plan, strings, 0, n);
    move_entries(series, 0, n, series->n - n);
    series->n -= n;
}

static uint32_t first_at_least(const struct rc_series *series, int64_t at) {
    uint32_t lo = 0, hi = series->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (series->ts[mid] < at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Marks below `end` what a condition on values cannot need, from the newest entry to the oldest. */
static void mark_by_value(const struct rc_series *series, const struct rc_series_plan *plan, bool *drop, uint32_t end) {
    uint32_t distinct = 0;
    __int128 sum = 0;
    int64_t best = 0;
    for (uint32_t i = end; i-- > 0;) {
        uint32_t newer = 0; /* kept entries of the same value among the newer ones */
        switch (plan->keep) {
        case RC_KEEP_SAME_K:
        case RC_KEEP_DISTINCT_K:
            for (uint32_t k = i + 1; k < end; k++)
                newer += !drop[k] && series->value[k] == series->value[i];
            if (plan->keep == RC_KEEP_SAME_K) {
                drop[i] = newer >= plan->k;
            } else {
                drop[i] = newer > 0 || distinct >= plan->k;
                distinct += !drop[i];
            }
            break;
        case RC_KEEP_SUM:
            drop[i] = sum > plan->limit;
            sum += plan->value_type == RC_LONG ? (__int128)series->value[i] * RC_FIXED_SCALE : series->value[i];
            break;
        case RC_KEEP_MAX:
            drop[i] = i + 1 < end && series->value[i] <= best;
            if (i + 1 == end || series->value[i] > best)
                best = series->value[i];
            break;
        default: /* RC_KEEP_MIN */
            drop[i] = i + 1 < end && series->value[i] >= best;
            if (i + 1 == end || series->value[i] < best)
                best = series->value[i];
            break;
        }
    }
}

/* Marks all but the entries of the last (first) event below `end`. Of equal timestamps all are kept: their order is the evaluator's. */
static void mark_by_order(const struct rc_series *series, bool last, bool *drop, uint32_t end) {
    for (uint32_t i = 0; i < end; i++)
        drop[i] = series->ts[i] != series->ts[last ? end - 1 : 0];
}

/* Joins what is decided into runs without a gap longer than the timeout. */
static void join_sessions(struct rc_series *series, int64_t timeout_ms, int64_t decided_ms) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < series->n; i++) {
        int64_t reach;
        bool joins = kept > 0 && series->ts[i] <= decided_ms &&
                     !__builtin_add_overflow(series->value[kept - 1], timeout_ms, &reach) && series->ts[i] <= reach;
        if (!joins) {
            move_entries(series, kept++, i, 1);
        } else if (series->value[i] > series->value[kept - 1]) {
            series->value[kept - 1] = series->value[i];
        }
    }
    series->n = kept;
}

/* The least timestamp that some reader can still see, and the greatest below which latest entries may be counted. */
static struct rc_range reach_of(const struct rc_plan *plan, const struct rc_series_plan *series, int64_t decided_ms) {
    struct rc_range reach = {INT64_MAX, decided_ms};
    for (size_t i = 0; i < series->n_reaches; i++) {
        struct rc_range one = rc_chain_range(&plan->chains[series->reaches[i].chain], decided_ms);
        int64_t from;
        if (__builtin_sub_overflow(one.from, series->reaches[i].extra_ms, &from))
            from = INT64_MIN;
        reach.from = from < reach.from ? from : reach.from;
        reach.to = one.to < reach.to ? one.to : reach.to;
    }
    return reach;
}

static void prune_series(struct rc_series *series, const struct rc_plan *plan, struct rc_strings *strings,
                         int64_t decided_ms) {
    const struct rc_series_plan *p = &plan->series[series->plan];
    if (series->n == 0 || decided_ms == INT64_MIN)
        return;
    struct rc_range reach = reach_of(plan, p, decided_ms);
    if (p->keep == RC_KEEP_SESSIONS) {
        join_sessions(series, p->timeout_ms, decided_ms);
        uint32_t gone = 0;
        while (gone < series->n && series->value[gone] < reach.from)
            gone++;
        drop_front(series, p, strings, gone);
        return;
    }
    drop_front(series, p, strings, first_at_least(series, reach.from));
    uint32_t end = reach.to == INT64_MAX ? series->n : first_at_least(series, reach.to + 1);
    if (p->keep == RC_KEEP_ALL || end < 2)
        return;
    if (p->keep == RC_KEEP_LATEST_K) {
        drop_front(series, p, strings, end > p->k ? end - p->k : 0);
        return;
    }
    bool *drop = rc_calloc(end, sizeof *drop);
    if (p->keep == RC_KEEP_LATEST || p->keep == RC_KEEP_FIRST)
        mark_by_order(series, p->keep == RC_KEEP_LATEST, drop, end);
    else
        mark_by_value(series, p, drop, end);
    drop_marked(series, p, strings, drop, end);
    free(drop);
}

void rc_person_prune(struct rc_person *person, const struct rc_plan *plan, struct rc_strings *strings) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < person->n_series; i++) {
        struct rc_series *series = &person->series[i];
        prune_series(series, plan, strings, person->domains[plan->series[series->plan].domain].decided_ms);
        if (series->n == 0)
            free(series->ts);
        else
            person->series[kept++] = *series;
    }
    person->n_series = kept;
}

/* ---- insertion -------------------------------------------------------------------------------------------------------- */

/* Whether the event is in the series, of which `at` is the first entry not before it. */
static bool is_there(const struct rc_series *series, bool sessions, uint32_t at, int64_t ts, uint64_t id) {
    /* A session's interval that holds the timestamp holds the event. */
    if (sessions && at > 0 && series->value[at - 1] >= ts)
        return true;
    for (uint32_t i = at; i < series->n && series->ts[i] == ts; i++)
        if (sessions || series->id[i] == id)
            return true;
    return false;
}

bool rc_person_insert(struct rc_person *person, const struct rc_plan *plan, struct rc_strings *strings,
                      uint32_t series_index, int64_t ts, uint64_t id, uint64_t tie, const int64_t *values,
                      size_t n_values) {
    const struct rc_series_plan *p = &plan->series[series_index];
    struct rc_series *series = series_for(person, series_index);
    bool sessions = p->keep == RC_KEEP_SESSIONS;
    uint32_t n = p->value_slot == RC_NONE ? 1 : (uint32_t)n_values;
    uint32_t at = first_at_least(series, ts);
    bool known = n == 0 || is_there(series, sessions, at, ts, id);
    if (!known && series->n + n > series->capacity && series->n > 0) { /* before it grows, see what can go */
        prune_series(series, plan, strings, person->domains[p->domain].decided_ms);
        at = first_at_least(series, ts);
        known = is_there(series, sessions, at, ts, id); /* an interval that has been joined may hold it */
    }
    if (known) {
        if (p->value_slot != RC_NONE && p->value_type == RC_STRING)
            for (size_t i = 0; i < n_values; i++)
                rc_strings_release(strings, (uint32_t)values[i]);
        return false;
    }
    reserve(series, p, series->n + n);
    while (at < series->n && series->ts[at] == ts && series->id[at] < id)
        at++;
    move_entries(series, at + n, at, series->n - at);
    for (uint32_t i = 0; i < n; i++) {
        series->ts[at + i] = ts;
        series->id[at + i] = sessions ? 0 : id;
        if (series->value)
            series->value[at + i] = sessions ? ts : values[i];
        if (series->tie) {
            series->tie[at + i] = tie;
            rc_strings_share(strings, (uint32_t)tie);
        }
    }
    series->n += n;
    return true;
}

/* ---- memberships and timers ------------------------------------------------------------------------------------------- */

static uint32_t find_member(const struct rc_person *person, uint32_t segment) {
    uint32_t lo = 0, hi = person->n_members;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (person->members[mid].segment < segment)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct rc_realized *rc_person_realized(const struct rc_person *person, uint32_t segment) {
    uint32_t at = find_member(person, segment);
    return at < person->n_members && person->members[at].segment == segment ? &person->members[at] : NULL;
}

void rc_person_set_realized(struct rc_person *person, uint32_t segment, bool realized, int64_t since_ms) {
    uint32_t at = find_member(person, segment);
    bool there = at < person->n_members && person->members[at].segment == segment;
    if (!realized) {
        if (there) {
            memmove(person->members + at, person->members + at + 1,
                    (person->n_members - at - 1) * sizeof *person->members);
            person->n_members--;
        }
        return;
    }
    if (!there) {
        grow_small(&person->members, &person->cap_members, person->n_members + 1, sizeof *person->members);
        memmove(person->members + at + 1, person->members + at, (person->n_members - at) * sizeof *person->members);
        person->n_members++;
    }
    person->members[at] = (struct rc_realized){segment, since_ms};
}

static uint32_t find_timer(const struct rc_person_domain *place, uint32_t segment) {
    uint32_t lo = 0, hi = place->n_timers;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (place->timers[mid].segment < segment)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void rc_timer_set(struct rc_person_domain *place, uint32_t segment, int64_t at_ms) {
    uint32_t at = find_timer(place, segment);
    bool there = at < place->n_timers && place->timers[at].segment == segment;
    if (at_ms == RC_NEVER) {
        if (there) {
            memmove(place->timers + at, place->timers + at + 1, (place->n_timers - at - 1) * sizeof *place->timers);
            place->n_timers--;
        }
        return;
    }
    if (!there) {
        grow_small(&place->timers, &place->cap_timers, place->n_timers + 1, sizeof *place->timers);
        memmove(place->timers + at + 1, place->timers + at, (place->n_timers - at) * sizeof *place->timers);
        place->n_timers++;
    }
    place->timers[at] = (struct rc_timer){segment, at_ms};
    if (at_ms < place->first_ms)
        place->first_ms = at_ms;
}

void rc_timer_lower(struct rc_person_domain *place, uint32_t segment, int64_t at_ms) {
    uint32_t at = find_timer(place, segment);
    if (at >= place->n_timers || place->timers[at].segment != segment || place->timers[at].at_ms > at_ms)
        rc_timer_set(place, segment, at_ms);
}

void rc_person_note_event(struct rc_person_domain *place, struct rc_span event_id, int64_t event_ms) {
    if (event_id.len > place->event_id_cap) {
        place->event_id = rc_realloc(place->event_id, event_id.len);
        place->event_id_cap = (uint32_t)event_id.len;
    }
    if (event_id.len)
        memcpy(place->event_id, event_id.data, event_id.len);
    place->event_id_len = (uint32_t)event_id.len;
    place->event_ms = event_ms;
}

struct rc_touched *rc_touched_to_timers(struct rc_person_domain *place) {
    struct rc_touched *touched = place->touched;
    for (uint32_t i = 0; touched && i < touched->n; i++)
        rc_timer_lower(place, touched->segments[i], touched->at_ms);
    if (touched)
        touched->n = 0;
    place->touched = NULL;
    return touched;
}
