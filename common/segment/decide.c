/* Deciding persons, instant by instant.
 *
 * In order: the instants at which one of their events happened or a timer is due. How far is written in one place, rc_decide_allowed: an
 * instant is settled when its millisecond is over by the clock, and either time alone has passed it (less grace) or the person has an
 * event at or after it. Deciding sooner would emit states that never were: the second event of one millisecond may still be on its way. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "segment/population_state.h"

#define SINCE_STEPS 10000 /* instants looked at to find since when a late event has made a change */

/* ---- how far time has come ---------------------------------------------------------------------------------------------- */

static int64_t less(int64_t a, int64_t b) {
    int64_t r;
    return __builtin_sub_overflow(a, b, &r) ? INT64_MIN : r;
}

static int64_t plus(int64_t a, int64_t b) {
    int64_t r;
    return __builtin_add_overflow(a, b, &r) ? RC_NEVER : r;
}

int64_t rc_decide_allowed(const struct rc_population *p, uint32_t domain, const struct rc_person *person) {
    return rc_decide_allowed_at(p, domain, person, p->domain_clocks[domain]);
}

int64_t rc_decide_allowed_at(const struct rc_population *p, uint32_t domain, const struct rc_person *person,
                             int64_t clock_ms) {
    int64_t over = less(clock_ms, 1);
    int64_t by_time = less(over, p->plan->domains[domain].grace_ms), by_event = person->domains[domain].latest_ms;
    if (by_event > over)
        by_event = over;
    return by_time > by_event ? by_time : by_event;
}

int64_t rc_decide_due(const struct rc_population *p, uint32_t domain, const struct rc_person *person) {
    const struct rc_person_domain *place = &person->domains[domain];
    if (person->quarantine)
        return RC_NEVER;
    if (place->redefined || (place->first_ms <= place->decided_ms && place->first_ms != RC_NEVER))
        return INT64_MIN;
    if (place->first_ms == RC_NEVER)
        return RC_NEVER;
    int64_t over = plus(place->first_ms, 1);
    return place->first_ms <= place->latest_ms ? over : plus(over, p->plan->domains[domain].grace_ms);
}

/* ---- what is touched, and what is to be looked at again ----------------------------------------------------------------- */

static void recycle(struct rc_population *p, struct rc_touched *touched) {
    if (!touched)
        return;
    touched->n = 0;
    touched->next = p->spare;
    p->spare = touched;
}

/* An event at `at_ms` may change the segment. Events mostly come in order, so what one instant touches waits in a list of its own;
 * what an event out of order touches goes among the timers. */
void rc_decide_touch(struct rc_population *p, struct rc_person_domain *place, uint32_t segment, int64_t at_ms) {
    struct rc_touched *touched = place->touched;
    if (touched && touched->at_ms != at_ms) {
        rc_timer_lower(place, segment, at_ms);
        return;
    }
    if (!touched) {
        touched = p->spare ? p->spare : rc_calloc(1, sizeof *touched);
        p->spare = p->spare ? touched->next : NULL;
        touched->at_ms = at_ms;
        place->touched = touched;
        if (at_ms < place->first_ms)
            place->first_ms = at_ms;
    }
    if (touched->n == touched->capacity) {
        touched->capacity = touched->capacity ? touched->capacity * 2 : 16;
        touched->segments = rc_realloc(touched->segments, touched->capacity * sizeof *touched->segments);
    }
    touched->segments[touched->n++] = segment;
}

static void find_first(struct rc_person_domain *place) {
    place->first_ms = place->touched ? place->touched->at_ms : RC_NEVER;
    for (uint32_t i = 0; i < place->n_timers; i++)
        if (place->timers[i].at_ms < place->first_ms)
            place->first_ms = place->timers[i].at_ms;
}

void rc_decide_settle(struct rc_population *p, struct rc_person *person) {
    for (size_t d = 0; d < p->plan->n_domains; d++) {
        recycle(p, rc_touched_to_timers(&person->domains[d]));
        find_first(&person->domains[d]);
    }
}

static int compare_looks(const void *a, const void *b) {
    const struct rc_timer *x = a, *y = b;
    if (x->segment != y->segment)
        return x->segment < y->segment ? -1 : 1;
    return (x->at_ms > y->at_ms) - (x->at_ms < y->at_ms);
}

/* Collects in p->look the segments to look at by instant t, each once with its earliest reason, ordered. */
static size_t collect_looks(struct rc_population *p, struct rc_person_domain *place, int64_t t) {
    size_t n = 0, kept = 0;
    struct rc_touched *touched = place->touched && place->touched->at_ms <= t ? place->touched : NULL;
    rc_grow(&p->look, &p->cap_look, place->n_timers + (touched ? touched->n : 0), sizeof *p->look);
    for (uint32_t i = 0; i < place->n_timers; i++)
        if (place->timers[i].at_ms <= t)
            p->look[n++] = place->timers[i];
    if (touched) {
        for (uint32_t i = 0; i < touched->n; i++)
            p->look[n++] = (struct rc_timer){touched->segments[i], touched->at_ms};
        recycle(p, touched);
        place->touched = NULL;
        qsort(p->look, n, sizeof *p->look, compare_looks);
    }
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || p->look[i].segment != p->look[kept - 1].segment)
            p->look[kept++] = p->look[i];
    return kept;
}

/* ---- deciding ----------------------------------------------------------------------------------------------------------- */

static struct rc_truth truth_at(struct rc_population *p, const struct rc_person *person, uint32_t segment, int64_t t) {
    uint32_t dataset;
    if (rc_plan_is_existence(p->plan, segment, &dataset)) {
        int64_t first = person->first_ms[dataset];
        return (struct rc_truth){first <= t, first <= t || first == INT64_MAX ? RC_NEVER : first};
    }
    if (p->eval.person != person || p->eval.t != t)
        rc_eval_at(&p->eval, person, t);
    return rc_eval_node(&p->eval, p->plan->segments[segment].node);
}

static void add_change(struct rc_population *p, uint32_t segment, bool realized, int64_t since_ms,
                       enum rc_cause cause) {
    rc_grow(&p->changes, &p->cap_changes, p->n_changes + 1, sizeof *p->changes);
    p->changes[p->n_changes++] = (struct pending_change){segment, realized, since_ms, cause};
}

static void count(struct rc_population *p, const struct rc_person *person, uint32_t segment, bool was, bool is) {
    size_t more = (size_t)(is && !was) - (size_t)(!is && was);
    p->members[segment] += more;
    if (rc_population_pending(p, person))
        p->saved_members[segment] += more;
}

/* A change of a segment is one of all its twins. */
static void note_change(struct rc_population *p, struct rc_person *person, uint32_t leader, bool realized,
                        int64_t since_ms, enum rc_cause cause) {
    bool was = rc_person_realized(person, leader) != NULL;
    rc_person_set_realized(person, leader, realized, since_ms);
    for (uint32_t s = leader; s != RC_NONE; s = p->plan->segments[s].next_twin) {
        count(p, person, s, was, realized);
        add_change(p, s, realized, since_ms, cause);
    }
}

/* Emits what the instant has brought, all as one decision. */
static void emit_changes(struct rc_population *p, uint32_t domain, const struct rc_person *person) {
    const struct rc_person_domain *place = &person->domains[domain];
    for (size_t i = 0; i < p->n_changes; i++) {
        const struct pending_change *c = &p->changes[i];
        struct rc_change change = {
            .person_key = rc_span_of(person->key, person->key_len),
            .index = c->segment,
            .realized = c->realized,
            .since_ms = c->since_ms,
            .cause = c->cause,
            .event_time_ms = RC_NO_EVENT_TIME,
            .more = i + 1 < p->n_changes,
        };
        change.existence = rc_plan_is_existence(p->plan, c->segment, &change.index);
        if (c->cause == RC_CAUSE_EVENT && place->event_id) {
            change.event_id = rc_span_of(place->event_id, place->event_id_len);
            change.event_time_ms = place->event_ms;
        }
        p->emit(p->emit_ctx, &change);
    }
    p->n_changes = 0;
}

/* Since when the segment has the value it has at `to`, as far as what is kept shows it, looking from `from` on. */
static int64_t since_when(struct rc_population *p, const struct rc_person *person, uint32_t segment, int64_t from,
                          int64_t to, bool value) {
    int64_t since = to;
    bool before = !value;
    int64_t t = from;
    for (int step = 0; step < SINCE_STEPS && t <= to; step++) {
        struct rc_truth truth = truth_at(p, person, segment, t);
        if (truth.value == value && before != value)
            since = t;
        before = truth.value;
        if (truth.next_ms > to)
            return before == value ? since : to;
        t = truth.next_ms;
    }
    return since;
}

/* Looks at a segment at the instant `to`, its past included since `from`: only the net difference counts. */
static void decide_net(struct rc_population *p, struct rc_person *person, uint32_t segment, int64_t from, int64_t to,
                       enum rc_cause cause) {
    uint32_t dataset;
    const struct rc_realized *now = rc_person_realized(person, segment);
    struct rc_truth truth = truth_at(p, person, segment, to);
    if (rc_plan_is_existence(p->plan, segment, &dataset)) {
        int64_t first = person->first_ms[dataset];
        if (truth.value && (!now || now->since_ms != first))
            note_change(p, person, segment, true, first, cause);
    } else if (truth.value != (now != NULL)) {
        note_change(p, person, segment, truth.value, since_when(p, person, segment, from, to, truth.value), cause);
    }
    rc_timer_set(&person->domains[p->plan->segments[segment].domain], segment, truth.next_ms);
}

static enum rc_cause cause_of(const struct rc_plan *plan, const struct rc_person *person, uint32_t segment) {
    uint32_t dataset;
    if (person->released)
        return RC_CAUSE_RESTORE;
    bool history =
        plan->segments[segment].role == RC_SEGMENT_BACKFILLED || rc_plan_is_existence(plan, segment, &dataset);
    return history ? RC_CAUSE_BACKFILL : RC_CAUSE_DEFINITION;
}

/* Definitions have changed, or the person was released from quarantine: every segment is looked at. Until here each stood for itself among the person's memberships; from now on
 * twins are kept as one. */
static void decide_redefined(struct rc_population *p, uint32_t domain, struct rc_person *person, int64_t to) {
    struct rc_person_domain *place = &person->domains[domain];
    int64_t from = place->decided_ms == INT64_MIN || place->decided_ms > to ? to : place->decided_ms;
    for (uint32_t leader = 0; leader < p->plan->n_segments; leader++) {
        if (p->plan->segments[leader].domain != domain || p->plan->segments[leader].leader != leader ||
            !rc_plan_decides(p->plan, leader))
            continue;
        uint32_t dataset;
        struct rc_truth truth = truth_at(p, person, leader, to);
        int64_t since = RC_NEVER;
        bool exists = truth.value && rc_plan_is_existence(p->plan, leader, &dataset);
        if (exists)
            since = person->first_ms[dataset];
        for (uint32_t s = leader; s != RC_NONE; s = p->plan->segments[s].next_twin) {
            const struct rc_realized *was = rc_person_realized(person, s);
            count(p, person, s, was != NULL, truth.value);
            if (exists && was && was->since_ms != since) { /* for longer than was told */
                add_change(p, s, true, since, cause_of(p->plan, person, s));
                continue;
            }
            if (truth.value == (was != NULL)) {
                since = was && since == RC_NEVER ? was->since_ms : since;
                continue;
            }
            int64_t changed = exists ? since : since_when(p, person, leader, from, to, truth.value);
            add_change(p, s, truth.value, changed, cause_of(p->plan, person, s));
            since = since == RC_NEVER ? changed : since;
        }
        for (uint32_t s = p->plan->segments[leader].next_twin; s != RC_NONE; s = p->plan->segments[s].next_twin)
            rc_person_set_realized(person, s, false, 0);
        rc_person_set_realized(person, leader, truth.value, since);
        rc_timer_set(place, leader, truth.next_ms);
    }
}

/* Looks at every segment that `t` or an earlier instant asks for. */
static void decide_instant(struct rc_population *p, uint32_t domain, struct rc_person *person, int64_t t) {
    struct rc_person_domain *place = &person->domains[domain];
    size_t n = collect_looks(p, place, t);
    for (size_t i = 0; i < n; i++) {
        struct rc_timer look = p->look[i];
        bool late = look.at_ms <= place->decided_ms;
        enum rc_cause cause = late || place->event_ms == t ? RC_CAUSE_EVENT : RC_CAUSE_TIME;
        if (late) {
            decide_net(p, person, look.segment, look.at_ms, t, cause);
            continue;
        }
        struct rc_truth truth = truth_at(p, person, look.segment, t);
        if (truth.value != (rc_person_realized(person, look.segment) != NULL))
            note_change(p, person, look.segment, truth.value, t, cause);
        rc_timer_set(place, look.segment, truth.next_ms);
    }
    find_first(place);
    emit_changes(p, domain, person);
}

void rc_decide(struct rc_population *p, uint32_t domain, struct rc_person *person, int64_t to) {
    struct rc_person_domain *place = &person->domains[domain];
    p->eval.person = NULL; /* state may have changed since the last turn */
    if (place->redefined && to != INT64_MIN) {
        place->redefined = false;
        int64_t at = to > place->decided_ms ? to : place->decided_ms;
        decide_redefined(p, domain, person, at);
        place->decided_ms = at;
        find_first(place);
        emit_changes(p, domain, person);
        bool others = false;
        for (size_t d = 0; d < p->plan->n_domains; d++)
            others |= person->domains[d].redefined;
        person->released &= others;
    }
    while (place->first_ms != RC_NEVER && (place->first_ms <= to || place->first_ms <= place->decided_ms)) {
        int64_t t = place->first_ms > place->decided_ms ? place->first_ms : place->decided_ms;
        decide_instant(p, domain, person, t);
        place->decided_ms = t;
    }
}
