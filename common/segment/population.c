/* The persons of one partition: what events bring them, and how they are saved. Who is in memory is in table.c and residence.c; when and how each
 * is decided in decide.c; how they go over to another plan in replan.c. */
#include "segment/population.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "codec/person_key.h"
#include "segment/explain.h"
#include "segment/population_state.h"

/* ---- life ------------------------------------------------------------------------------------------------------------- */

static void use_plan(struct rc_population *p, const struct rc_plan *plan) {
    size_t most = 1;
    p->plan = plan;
    rc_eval_init(&p->eval, plan, &p->strings);
    rc_table_init(p);
    p->clocks = rc_alloc(plan->catalog->n_datasets * sizeof *p->clocks);
    p->domain_clocks = rc_alloc(plan->n_domains * sizeof *p->domain_clocks);
    for (size_t d = 0; d < plan->catalog->n_datasets; d++) {
        p->clocks[d] = INT64_MIN;
        most = plan->dispatch[d].n_triggers > most ? plan->dispatch[d].n_triggers : most;
    }
    for (size_t d = 0; d < plan->n_domains; d++)
        p->domain_clocks[d] = INT64_MIN;
    p->members = rc_calloc(plan->n_segments, sizeof *p->members);
    p->saved_members = rc_calloc(plan->n_segments, sizeof *p->saved_members);
    p->seen = rc_alloc(most);
    rc_residence_init(p);
}

static void forget_plan(struct rc_population *p) {
    rc_residence_deinit(p);
    rc_table_deinit(p);
    free(p->clocks);
    free(p->domain_clocks);
    free(p->members);
    free(p->saved_members);
    free(p->seen);
    rc_eval_deinit(&p->eval);
}

struct rc_population *rc_population_new(const struct rc_plan *plan, rc_change_fn emit, void *ctx) {
    struct rc_population *p = rc_calloc(1, sizeof *p);
    p->emit = emit;
    p->emit_ctx = ctx;
    rc_strings_init(&p->strings);
    rc_buf_init(&p->key, 1 << 20);
    use_plan(p, plan);
    return p;
}

void rc_population_free(struct rc_population *p) {
    if (!p)
        return;
    rc_population_free(p->former);
    free(p->domain_now);
    free(p->replaced_clocks);
    free(p->replaced_at);
    for (size_t i = 0; i < p->n_persons; i++)
        rc_person_free(p->persons[i], p->plan, &p->strings);
    forget_plan(p);
    free(p->persons);
    free(p->slots);
    free(p->dirty);
    free(p->saving);
    free(p->changes);
    free(p->values);
    free(p->look);
    while (p->spare) {
        struct rc_touched *next = p->spare->next;
        free(p->spare->segments);
        free(p->spare);
        p->spare = next;
    }
    rc_buf_deinit(&p->key);
    rc_strings_deinit(&p->strings);
    free(p);
}

/* ---- clocks ----------------------------------------------------------------------------------------------------------- */

void rc_population_set_clock(struct rc_population *p, uint32_t dataset, int64_t clock_ms) {
    rc_table_set_clock(p, dataset, clock_ms);
    rc_replan_clock(p, dataset, clock_ms);
}

static void decide_due(struct rc_population *p, uint32_t domain, struct rc_person *person) {
    rc_decide(p, domain, person, rc_decide_allowed(p, domain, person));
    rc_table_mark_dirty(p, person);
    rc_table_redue(p, domain, person);
}

/* Of somebody who has just been carried over. */
static void decide_all_due(struct rc_population *p, struct rc_person *person) {
    for (uint32_t d = 0; d < p->plan->n_domains; d++)
        if (p->domain_clocks[d] != INT64_MIN && person->domains[d].due_ms <= p->domain_clocks[d])
            decide_due(p, d, person);
}

bool rc_population_advance_events(struct rc_population *p) {
    struct rc_person *carried;
    while (!p->failed && (carried = rc_replan_take_due(p, true)) != NULL)
        decide_all_due(p, carried);
    bool more = rc_replan_is_due(p);
    for (uint32_t d = 0; d < p->plan->n_domains && !p->failed; d++) {
        struct rc_person *person;
        while ((person = rc_table_take_soon(p, d)) != NULL)
            decide_due(p, d, person);
        int64_t clock = p->domain_clocks[d];
        more |= clock != INT64_MIN && (rc_table_next_due(p, d) <= clock || rc_residence_next(p, d) <= clock);
    }
    return more;
}

bool rc_population_advance(struct rc_population *p, size_t max_persons) {
    size_t done = 0;
    if (p->failed)
        return false;
    rc_population_advance_events(p);
    bool more = rc_residence_sweep(p);
    struct rc_person *carried;
    while ((carried = rc_replan_take_due(p, false)) != NULL) {
        decide_all_due(p, carried);
        if (max_persons && ++done == max_persons)
            return true;
    }
    for (uint32_t d = 0; d < p->plan->n_domains; d++) {
        more |= rc_residence_bring_due(p, d);
        struct rc_person *person;
        while ((person = rc_table_take_due(p, d)) != NULL) {
            decide_due(p, d, person);
            if (max_persons && ++done == max_persons) {
                p->queues[d].looked = 0;
                return true;
            }
        }
    }
    return more;
}

int64_t rc_population_next_due(const struct rc_population *p) {
    int64_t next = rc_replan_next_due(p);
    for (uint32_t d = 0; d < p->plan->n_domains; d++) {
        if (p->domain_clocks[d] == INT64_MIN)
            continue;
        int64_t disk = rc_residence_next(p, d);
        int64_t memory = rc_table_next_due(p, d);
        next = memory < next ? memory : next;
        next = disk < next ? disk : next;
    }
    return next;
}

/* ---- events ----------------------------------------------------------------------------------------------------------- */

struct application {
    struct rc_population *population;
    struct rc_person *person;
    const struct rc_event *event;
    uint64_t id;
    uint64_t tie;  /* interned event id and dataset; held for the application once `named` */
    bool named;    /* most events bring nothing that keeps their id as text */
    bool changed;  /* state has changed */
    bool touching; /* a segment may have */
    bool over;     /* there are more events than a person may have */
    int64_t
        least; /* it is live for what is of this generation or a later one; for the rest it is history, if that warms up */
};

static uint64_t event_tie(struct application *a) {
    if (!a->named)
        a->tie = rc_strings_hold(&a->population->strings, a->event->event_id) | (uint64_t)a->event->dataset << 32;
    a->named = true;
    return a->tie;
}

static int compare_numbers(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Adds one field's values to p->values from `n` on; strings become interned. */
static size_t collect(struct rc_population *p, const struct rc_series_plan *series, struct rc_values values, size_t n) {
    rc_grow(&p->values, &p->cap_values, n + values.n, sizeof *p->values);
    for (uint32_t i = 0; i < values.n; i++)
        p->values[n + i] = series->value_type == RC_STRING
                               ? (int64_t)rc_strings_hold(&p->strings, values.values[i].string)
                               : values.values[i].number;
    return n + values.n;
}

static int compare_texts(const void *a, const void *b, void *strings) {
    return rc_span_compare(rc_strings_get(strings, (uint32_t) * (const int64_t *)a),
                           rc_strings_get(strings, (uint32_t) * (const int64_t *)b));
}

/* Orders the values, texts as texts: their numbers depend on whom the population has met before, what is saved must not. */
static size_t drop_equal(struct rc_population *p, const struct rc_series_plan *series, size_t n) {
    if (n > 1 && series->value_type == RC_STRING)
        qsort_r(p->values, n, sizeof *p->values, compare_texts, &p->strings);
    else if (n > 1)
        qsort(p->values, n, sizeof *p->values, compare_numbers);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && p->values[i] == p->values[kept - 1]) {
            if (series->value_type == RC_STRING)
                rc_strings_release(&p->strings, (uint32_t)p->values[i]);
            continue;
        }
        p->values[kept++] = p->values[i];
    }
    return kept;
}

/* The values that the event adds to the series: of the event, or of those of its elements that satisfy the predicate by themselves. */
static size_t event_values(struct application *a, const struct rc_series_plan *series,
                           const struct rc_predicate *predicate) {
    struct rc_population *p = a->population;
    const struct rc_slots *slots = &p->plan->slots;
    union rc_value scratch;
    size_t n = 0;
    if (!series->by_element)
        return collect(p, series, rc_slot_values(slots, series->value_slot, a->event, NULL, &scratch), 0);
    int array = slots->items[series->value_slot].element[a->event->dataset];
    for (uint32_t k = 0; array >= 0 && k < a->event->n_elements[array]; k++) {
        struct rc_focus focus = {.array = array, .item = k};
        if (rc_predicate_matches(slots, predicate, a->event, &focus))
            n = collect(p, series, rc_slot_values(slots, series->value_slot, a->event, &focus, &scratch), n);
    }
    return n;
}

/* How much there is in a series at most, in fixed point: entries, or their sum where a sum is what its readers ask for. */
static __int128 level_of(const struct rc_series_plan *plan, const struct rc_series *series) {
    if (plan->keep != RC_KEEP_SUM)
        return (__int128)series->n * RC_FIXED_SCALE;
    __int128 sum = 0;
    for (uint32_t i = 0; i < series->n; i++)
        sum += plan->value_type == RC_LONG ? (__int128)series->value[i] * RC_FIXED_SCALE : series->value[i];
    return sum;
}

/* Marks the segments that a new entry of the series can change. */
static void touch_dependents(struct application *a, uint32_t index) {
    const struct rc_series_plan *series = &a->population->plan->series[index];
    struct rc_person_domain *place = &a->person->domains[series->domain];
    __int128 level = level_of(series, rc_person_series(a->person, index));
    for (size_t i = 0; i < series->n_dependents && series->dependents[i].need <= level; i++) {
        const struct rc_dependent *d = &series->dependents[i];
        if (d->rising && rc_person_realized(a->person, d->segment))
            continue;
        rc_decide_touch(a->population, place, d->segment, a->event->timestamp_ms);
        a->touching = true;
    }
}

static void apply_series(struct application *a, uint32_t index, const struct rc_predicate *predicate) {
    struct rc_population *p = a->population;
    const struct rc_series_plan *series = &p->plan->series[index];
    size_t n = 0;
    if (series->value_slot != RC_NONE) {
        n = event_values(a, series, predicate);
        if (series->unique_values)
            n = drop_equal(p, series, n);
        if (n == 0)
            return;
    }
    uint64_t tie = series->keeps_order ? event_tie(a) : 0;
    if (!rc_person_insert(a->person, p->plan, &p->strings, index, a->event->timestamp_ms, a->id, tie, p->values, n))
        return;
    a->changed = true;
    a->over |= p->event_limit > 0 && rc_person_series(a->person, index)->n > p->event_limit;
    if (series->generation >= a->least)
        touch_dependents(a, index);
}

static void apply_trigger(void *ctx, const struct rc_trigger *trigger) {
    struct application *a = ctx;
    const struct rc_plan *plan = a->population->plan;
    const struct rc_predicate *predicate = plan->predicates[trigger->predicate];
    int whole = -1; /* does the predicate hold for the event as a whole? not known yet */
    for (size_t i = 0; i < trigger->n_series; i++) {
        if (plan->series[trigger->series[i]].generation < a->least && !plan->series[trigger->series[i]].warms)
            continue;
        if (!plan->series[trigger->series[i]].by_element) {
            if (whole < 0)
                whole = rc_predicate_matches(&plan->slots, predicate, a->event, NULL);
            if (!whole)
                continue;
        }
        apply_series(a, trigger->series[i], predicate);
    }
}

/* Before an event goes in, what the person's earlier instants owe is decided without it: pruning that the event brings about must
 * not touch what they still need. Of one ahead of the clock, up to the clock: it is mostly a hair ahead, and without this a member whom
 * no event can change and no timer is waiting for would be decided never again, and nothing of theirs be forgotten. */
static void decide_before(struct rc_population *p, struct rc_person *person, const struct rc_event *event) {
    for (uint32_t d = 0; d < p->plan->n_domains; d++) {
        int64_t clock = p->domain_clocks[d];
        if (!p->plan->domains[d].datasets[event->dataset] || clock == INT64_MIN)
            continue;
        struct rc_person_domain *place = &person->domains[d];
        int64_t before = (event->timestamp_ms < clock ? event->timestamp_ms : clock) - 1;
        if (before <= place->decided_ms)
            continue;
        if (place->redefined || place->first_ms <= before) {
            rc_decide(p, d, person, before);
            rc_table_mark_dirty(p, person);
        }
        place->decided_ms = before; /* nothing is left to decide there, and pruning may go so far */
    }
}

/* Any event of a person proves that their time has come so far; the one that may have changed a segment is named as the cause. */
static void note_event(struct rc_population *p, struct rc_person *person, const struct application *a) {
    const struct rc_event *event = a->event;
    for (uint32_t d = 0; d < p->plan->n_domains; d++) {
        if (!p->plan->domains[d].datasets[event->dataset])
            continue;
        struct rc_person_domain *place = &person->domains[d];
        if (event->timestamp_ms > place->latest_ms)
            place->latest_ms = event->timestamp_ms;
        if (a->touching)
            rc_person_note_event(place, event->event_id, event->timestamp_ms);
    }
}

/* Whether a series is too long although what is past is forgotten. */
static bool too_many(struct rc_population *p, struct rc_person *person) {
    rc_person_prune(person, p->plan, &p->strings);
    for (uint32_t i = 0; i < person->n_series; i++)
        if (person->series[i].n > p->event_limit)
            return true;
    return false;
}

static void empty(struct rc_population *p, struct rc_person *person, enum rc_quarantine quarantine) {
    rc_person_empty(person, p->plan, &p->strings, quarantine);
    for (uint32_t d = 0; d < p->plan->n_domains; d++)
        rc_table_redue(p, d, person);
    rc_table_mark_dirty(p, person);
}

static void freeze(struct rc_population *p, struct rc_person *person) {
    bool newly = person->quarantine == RC_QUARANTINE_NONE;
    p->quarantined += newly;
    p->saved_quarantined += newly && rc_population_pending(p, person);
    empty(p, person, RC_QUARANTINE_FROZEN);
}

/* Not of somebody who was just born, nor of somebody known by history alone. */
static bool existence_told(const struct rc_population *p, const struct rc_person *person, uint32_t dataset) {
    return rc_person_realized(person, (uint32_t)p->plan->catalog->n_segments + dataset) != NULL;
}

static bool apply_live(struct rc_population *p, const struct rc_event *event, int64_t least) {
    const struct rc_dispatch *dispatch = &p->plan->dispatch[event->dataset];
    rc_buf_reset(&p->key);
    if (rc_person_key_add(&p->key, event->namespace, event->person_id) != RC_OK)
        return false;
    struct rc_person *person = rc_residence_find(p, rc_buf_span(&p->key));
    if (p->failed)
        return false;
    if (!person) {
        person = rc_person_new(p->plan, rc_buf_span(&p->key));
        person->used = true;
        rc_table_add(p, person);
        p->total++;
    }
    if (person->quarantine == RC_QUARANTINE_FROZEN)
        return false;
    if (person->quarantine == RC_QUARANTINE_NONE)
        decide_before(p, person, event);
    struct application a = {.population = p, .person = person, .event = event, .least = least};
    a.id = rc_event_hash(p->plan, event->dataset, event->event_id);
    rc_plan_dispatch(p->plan, event, p->seen, apply_trigger, &a);
    int64_t *first_ms = &person->first_ms[event->dataset];
    bool first = event->timestamp_ms < *first_ms;
    if (first) {
        *first_ms = event->timestamp_ms;
        a.changed = true;
    }
    if (first || !existence_told(p, person, event->dataset)) {
        for (size_t i = 0; i < dispatch->n_born; i++)
            rc_decide_touch(p, &person->domains[p->plan->segments[dispatch->born[i]].domain], dispatch->born[i],
                            *first_ms);
        a.touching = true;
    }
    note_event(p, person, &a);
    if (a.changed)
        rc_table_mark_dirty(p, person);
    if (a.over && too_many(p, person))
        freeze(p, person);
    for (uint32_t d = 0; d < p->plan->n_domains; d++)
        if (p->plan->domains[d].datasets[event->dataset])
            rc_table_touch(p, d, person);
    if (a.named)
        rc_strings_release(&p->strings, (uint32_t)a.tie);
    return a.changed;
}

bool rc_population_apply(struct rc_population *p, const struct rc_event *event) {
    return apply_live(p, event, 0);
}

bool rc_population_apply_import(struct rc_population *p, const struct rc_event *event, int64_t import) {
    return p->plan->dispatch[event->dataset].generation >= import ? apply_live(p, event, import)
                                                                  : rc_population_apply_history(p, event, true);
}

/* Whether the event is for something that warms up. */
static void look_for_warming(void *ctx, const struct rc_trigger *trigger) {
    struct application *a = ctx;
    const struct rc_plan *plan = a->population->plan;
    for (size_t i = 0; i < trigger->n_series && !a->touching; i++) {
        const struct rc_series_plan *series = &plan->series[trigger->series[i]];
        a->touching =
            series->warms && (series->by_element ||
                              rc_predicate_matches(&plan->slots, plan->predicates[trigger->predicate], a->event, NULL));
    }
}

/* Somebody known by history alone: what there was before now is not decided for them. */
static struct rc_person *bring_to_life(struct rc_population *p) {
    struct rc_person *person = rc_person_new(p->plan, rc_buf_span(&p->key));
    person->used = true;
    rc_table_add(p, person);
    p->total++;
    for (uint32_t d = 0; d < p->plan->n_domains; d++)
        if (p->domain_clocks[d] != INT64_MIN)
            person->domains[d].decided_ms = rc_decide_allowed(p, d, person);
    return person;
}

bool rc_population_apply_history(struct rc_population *p, const struct rc_event *event, bool all) {
    struct application a = {.population = p, .event = event, .least = INT64_MAX};
    rc_plan_dispatch(p->plan, event, p->seen, look_for_warming, &a);
    if (!a.touching && !all)
        return false;
    rc_buf_reset(&p->key);
    if (rc_person_key_add(&p->key, event->namespace, event->person_id) != RC_OK)
        return false;
    a.person = rc_residence_find(p, rc_buf_span(&p->key));
    if (p->failed)
        return false;
    if (!a.person)
        a.person = bring_to_life(p);
    if (a.person->quarantine == RC_QUARANTINE_FROZEN)
        return false;
    if (event->timestamp_ms < a.person->first_ms[event->dataset]) {
        a.person->first_ms[event->dataset] = event->timestamp_ms;
        a.changed = true;
    }
    a.touching = false;
    a.id = rc_event_hash(p->plan, event->dataset, event->event_id);
    rc_plan_dispatch(p->plan, event, p->seen, apply_trigger, &a);
    if (a.changed)
        rc_table_mark_dirty(p, a.person);
    if (a.over && too_many(p, a.person))
        freeze(p, a.person);
    if (a.named)
        rc_strings_release(&p->strings, (uint32_t)a.tie);
    return a.changed;
}

/* ---- saving and loading ------------------------------------------------------------------------------------------------ */

static void list_changed(struct rc_population *p) {
    if (p->saving_at < p->n_saving)
        abort(); /* the header says: one at a time */
    struct rc_person **empty = p->saving;
    size_t capacity = p->cap_saving;
    p->saving = p->dirty;
    p->n_saving = p->n_dirty;
    p->cap_saving = p->cap_dirty;
    p->saving_at = 0;
    p->dirty = empty;
    p->n_dirty = 0;
    p->cap_dirty = capacity;
    p->round = !p->round;
}

void rc_population_save_begin(struct rc_population *p) {
    for (struct rc_population *one = p; one; one = one->former)
        list_changed(one);
    p->saved_total = p->total;
    p->saved_quarantined = p->quarantined;
    memcpy(p->saved_members, p->members, p->plan->n_segments * sizeof *p->members);
}

static void save_one(struct rc_population *p, struct rc_person *person, rc_record_fn put, void *ctx) {
    rc_decide_settle(p, person);
    rc_person_prune(person, p->plan, &p->strings);
    for (uint32_t d = 0; d < p->plan->n_domains; d++)
        rc_table_redue(p, d, person);
    rc_buf_reset(&p->record);
    rc_person_encode(person, p->plan, &p->strings, &p->record);
    put(ctx, rc_span_of(person->key, person->key_len), rc_buf_span(&p->record));
    rc_residence_saved(p, person);
    person->dirty = false;
}

/* They lie all over memory. */
static void expect_saving(const struct rc_population *p) {
    size_t left = p->n_saving - p->saving_at;
    rc_table_expect(p, p->saving + p->saving_at, left < RC_EXPECT_MAX ? left : RC_EXPECT_MAX);
}

bool rc_population_save_some(struct rc_population *p, size_t max_persons, rc_record_fn put, void *ctx) {
    if (p->failed)
        return false;
    rc_residence_forget_stale(p); /* first: the same deadline may be saved anew */
    size_t n = 0;
    for (struct rc_population *one = p; one; one = one->former)
        for (; one->saving_at < one->n_saving; n++) {
            if (max_persons && n == max_persons)
                return true;
            if (n % RC_EXPECT_MAX == 0)
                expect_saving(one);
            save_one(one, one->saving[one->saving_at++], put, ctx);
        }
    return false;
}

static void put_all(struct rc_population *p, rc_record_fn put, void *ctx) {
    while (rc_population_save_some(p, 0, put, ctx)) {}
}

void rc_population_save(struct rc_population *p, rc_record_fn put, void *ctx) {
    if (p->failed)
        return;
    put_all(p, put, ctx);
    rc_population_save_begin(p);
    put_all(p, put, ctx);
}

struct rc_saved_numbers rc_population_saved(const struct rc_population *p) {
    return (struct rc_saved_numbers){.persons = p->saved_total, .quarantined = p->saved_quarantined};
}

size_t rc_population_saved_members(const struct rc_population *p, uint32_t segment) {
    return p->saved_members[segment];
}

/* The next segment of which the same membership makes a member; RC_NONE. */
static uint32_t next_member(const struct rc_population *p, const struct rc_person *person, uint32_t segment) {
    bool alone = person->domains[p->plan->segments[segment].domain].redefined; /* then twins stand for themselves */
    return alone ? RC_NONE : p->plan->segments[segment].next_twin;
}

rc_status rc_population_load(struct rc_population *p, struct rc_span person_key, struct rc_span record,
                             struct rc_error *err) {
    struct rc_person *person;
    if (rc_table_find(p, person_key))
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "saved person: the same person twice");
    if (rc_residence_take(p, person_key, record, &person, err) != RC_OK)
        return RC_FAIL;
    p->total++;
    p->quarantined += person->quarantine != RC_QUARANTINE_NONE;
    for (uint32_t i = 0; i < person->n_members; i++)
        for (uint32_t s = person->members[i].segment; s != RC_NONE; s = next_member(p, person, s))
            p->members[s]++;
    return RC_OK;
}

/* ---- quarantine -------------------------------------------------------------------------------------------------------- */

void rc_population_limit_events(struct rc_population *p, size_t events) {
    p->event_limit = events;
}

size_t rc_population_quarantined(const struct rc_population *p) {
    return p->quarantined;
}

void rc_population_set_quarantined(struct rc_population *p, size_t persons) {
    p->quarantined = persons;
}

bool rc_population_hold(struct rc_population *p, struct rc_span person_key) {
    struct rc_person *person = rc_residence_find(p, person_key);
    if (!person || !person->quarantine)
        return false;
    empty(p, person, RC_QUARANTINE_HELD);
    for (uint32_t d = 0; d < p->plan->n_domains; d++) {
        int64_t over = p->domain_clocks[d] == INT64_MIN ? INT64_MIN : rc_decide_allowed(p, d, person);
        if (over > person->domains[d].decided_ms)
            person->domains[d].decided_ms = over;
    }
    return true;
}

/* As decide_redefined wants it: each segment for itself among the memberships. */
static void stand_alone(const struct rc_population *p, struct rc_person *person) {
    for (uint32_t s = 0; s < p->plan->n_segments; s++) {
        const struct rc_segment_plan *segment = &p->plan->segments[s];
        const struct rc_realized *leader = rc_person_realized(person, segment->leader);
        if (segment->leader != s && leader && !person->domains[segment->domain].redefined)
            rc_person_set_realized(person, s, true, leader->since_ms);
    }
}

bool rc_population_release(struct rc_population *p, struct rc_span person_key) {
    struct rc_person *person = rc_residence_find(p, person_key);
    if (!person || person->quarantine != RC_QUARANTINE_HELD)
        return false;
    person->quarantine = RC_QUARANTINE_NONE;
    person->released = true;
    p->quarantined--;
    p->saved_quarantined -= rc_population_pending(p, person);
    stand_alone(p, person);
    for (uint32_t d = 0; d < p->plan->n_domains; d++) {
        person->domains[d].redefined = true;
        rc_table_redue(p, d, person);
    }
    rc_table_mark_dirty(p, person);
    return true;
}

/* ---- looking in -------------------------------------------------------------------------------------------------------- */

size_t rc_population_persons(const struct rc_population *p) {
    return p->total;
}

size_t rc_population_resident(const struct rc_population *p) {
    size_t n = 0;
    for (; p; p = p->former)
        n += p->n_persons;
    return n;
}

size_t rc_population_bytes(const struct rc_population *p) {
    size_t bytes = 0;
    for (; p; p = p->former)
        bytes += p->n_slots * sizeof *p->slots + p->cap_persons * sizeof *p->persons + p->strings.bytes +
                 p->strings.n * 40 + p->person_bytes;
    return bytes;
}

void rc_population_measure(struct rc_population *p) {
    for (; p; p = p->former)
        for (size_t i = 0; i < p->n_persons; i++)
            rc_table_measure(p, p->persons[i]);
}

size_t rc_population_dirty(const struct rc_population *p) {
    size_t n = 0;
    for (; p; p = p->former)
        n += p->n_dirty + p->n_saving - p->saving_at;
    return n;
}

size_t rc_population_members(const struct rc_population *p, uint32_t segment) {
    return p->members[segment];
}

static void visit_members(const struct rc_population *p, const struct rc_person *person, rc_member_fn visit,
                          void *ctx) {
    for (uint32_t i = 0; i < person->n_members; i++) {
        const struct rc_realized *member = &person->members[i];
        for (uint32_t s = member->segment; s < p->plan->catalog->n_segments; s = next_member(p, person, s))
            visit(ctx, rc_span_of(person->key, person->key_len), s, member->since_ms);
    }
}

bool rc_population_person(struct rc_population *p, struct rc_span person_key, rc_member_fn visit, void *ctx) {
    const struct rc_person *person = rc_residence_find(p, person_key);
    if (person)
        visit_members(p, person, visit, ctx);
    return person != NULL;
}

void rc_population_each_member(const struct rc_population *p, rc_member_fn visit, void *ctx) {
    for (size_t i = 0; i < p->n_persons; i++)
        visit_members(p, p->persons[i], visit, ctx);
}

void rc_population_standing(struct rc_population *p, struct rc_span person_key, uint32_t segment,
                            struct rc_person_standing *out) {
    const struct rc_person *person = rc_residence_find(p, person_key);
    const struct rc_segment_plan *plan = &p->plan->segments[segment];
    *out = (struct rc_person_standing){.known = person != NULL, .clock_ms = p->domain_clocks[plan->domain]};
    out->decided_ms = INT64_MIN;
    if (out->clock_ms > INT64_MIN + 1 + p->plan->domains[plan->domain].grace_ms)
        out->decided_ms = out->clock_ms - 1 - p->plan->domains[plan->domain].grace_ms;
    if (!person)
        return;
    const struct rc_person_domain *place = &person->domains[plan->domain];
    const struct rc_realized *realized = rc_person_realized(person, place->redefined ? segment : plan->leader);
    out->quarantined = person->quarantine != RC_QUARANTINE_NONE;
    out->member = realized != NULL;
    out->since_ms = realized ? realized->since_ms : 0;
    if (out->clock_ms != INT64_MIN)
        out->decided_ms = rc_decide_allowed(p, plan->domain, person);
    if (place->decided_ms > out->decided_ms)
        out->decided_ms = place->decided_ms;
}

rc_status rc_population_explain(struct rc_population *p, struct rc_span person_key, uint32_t segment, int64_t at_ms,
                                const struct rc_explain_sources *sources, struct rc_buf *out) {
    struct rc_person *person = rc_residence_find(p, person_key), *nobody = NULL;
    if (!person)
        person = nobody = rc_person_new(p->plan, person_key);
    rc_status status = rc_explain_person(&p->eval, person, segment, at_ms, sources, out);
    p->eval.person = NULL;
    rc_person_free(nobody, p->plan, &p->strings);
    return status;
}
