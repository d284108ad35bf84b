/* Going over to another plan, person by person.
 *
 * The population of the old plan stays behind the new one, as its `former`, with everybody in it: their state, who is due next, who waits to be
 * saved. From there each is carried over when somebody asks for them or something is due, and the others a few at a time. So a change of
 * definitions costs live traffic a slice, however many persons there are. Whom a save reaches before that is put as they are: a record says under
 * which plan it was made.
 *
 * Why it makes no difference when that is: whatever changes a person carries them over first. So they are then as they were when the
 * plan was replaced, and are decided as of that instant; what time has brought since follows in order, as with anybody.
 *
 * Every person goes through their saved form: one way to carry state from plan to plan, the one that a restart takes. Who is on disk alone is looked
 * for afterwards (residence.c). */
#include <stdlib.h>

#include "base/alloc.h"
#include "segment/population_state.h"

/* More old plans than that are not kept: who is still under the oldest is carried over at once. */
#define MOST_FORMER 8

/* ---- one person -------------------------------------------------------------------------------------------------------- */

/* Deadlines that were saved in a domain that is no more. */
static void forget_dues(struct rc_population *p, const struct rc_population *former, const struct rc_person *person) {
    for (size_t d = 0; d < former->plan->n_domains && p->backing.deadline; d++)
        if (person->domains[d].saved_due_ms != RC_NEVER && former->domain_now[d] == RC_NONE)
            rc_residence_push_stale(p, former->plan->domains[d].hash, person->domains[d].saved_due_ms,
                                    rc_span_of(person->key, person->key_len));
}

static void copy_saved_dues(const struct rc_population *p, const struct rc_population *former,
                            const struct rc_person *person, struct rc_person *moved) {
    for (uint32_t d = 0; d < p->plan->n_domains; d++)
        moved->domains[d].saved_due_ms = RC_NEVER;
    for (uint32_t d = 0; d < former->plan->n_domains; d++)
        if (former->domain_now[d] != RC_NONE)
            moved->domains[former->domain_now[d]].saved_due_ms = person->domains[d].saved_due_ms;
}

/* As it would have been decided when the plan was replaced. */
static void decide_as_of_then(struct rc_population *p, const struct rc_population *former, struct rc_person *person) {
    for (uint32_t d = 0; d < p->plan->n_domains && !person->quarantine; d++) {
        int64_t to = rc_decide_allowed_at(p, d, person, former->replaced_at[d]);
        if (!person->domains[d].redefined || to == INT64_MIN)
            continue;
        rc_decide(p, d, person, to);
        rc_table_mark_dirty(p, person);
    }
}

static struct rc_person *carry(struct rc_population *p, struct rc_population *former, struct rc_person *person) {
    struct rc_person *moved;
    struct rc_error err;
    rc_decide_settle(former, person);
    rc_buf_reset(&former->record);
    rc_person_encode(person, former->plan, &former->strings, &former->record);
    if (rc_person_decode(p->plan, &p->strings, rc_span_of(person->key, person->key_len), rc_buf_span(&former->record),
                         &moved, &err) != RC_OK)
        abort(); /* our own bytes of a moment ago */
    copy_saved_dues(p, former, person, moved);
    forget_dues(p, former, person);
    moved->used = person->used;
    rc_table_add(p, moved);
    if (rc_population_pending(former, person))
        rc_table_wait_for_save(p, moved);
    else if (person->dirty)
        rc_table_mark_dirty(p, moved);
    rc_table_remove(former, person);
    decide_as_of_then(p, former, moved);
    for (uint32_t d = 0; d < p->plan->n_domains; d++)
        rc_table_redue(p, d, moved);
    return moved;
}

/* ---- former populations ------------------------------------------------------------------------------------------------- */

/* Frees those that nobody is left in. */
static void drop_empty(struct rc_population *p) {
    for (struct rc_population **at = &p->former; *at;) {
        struct rc_population *former = *at;
        if (former->n_persons > 0) {
            at = &former->former;
            continue;
        }
        *at = former->former;
        former->former = NULL;
        rc_population_free(former);
    }
}

static struct rc_population *oldest(struct rc_population *p) {
    struct rc_population *last = p->former;
    while (last && last->former)
        last = last->former;
    return last;
}

/* What the newest plan makes of the former's domains, and when those of the newest were left by it. */
static void relate(const struct rc_population *p, struct rc_population *former) {
    const struct rc_plan *plan = p->plan, *old = former->plan;
    former->domain_now = rc_realloc(former->domain_now, (old->n_domains + 1) * sizeof *former->domain_now);
    for (size_t d = 0; d < old->n_domains; d++)
        former->domain_now[d] = rc_plan_find(plan, RC_NAMED_DOMAIN, old->domains[d].hash);
    former->replaced_at = rc_realloc(former->replaced_at, (plan->n_domains + 1) * sizeof *former->replaced_at);
    for (size_t d = 0; d < plan->n_domains; d++) {
        int64_t *at = &former->replaced_at[d];
        *at = INT64_MAX;
        for (size_t i = 0; i < plan->catalog->n_datasets; i++) {
            uint32_t was =
                plan->domains[d].datasets[i] ? rc_plan_find(old, RC_NAMED_DATASET, plan->dataset_hashes[i]) : RC_NONE;
            int64_t clock = was == RC_NONE ? INT64_MIN : former->replaced_clocks[was];
            if (plan->domains[d].datasets[i] && clock < *at)
                *at = clock;
        }
    }
}

static void take_clocks(struct rc_population *p, const struct rc_population *former) {
    for (uint32_t d = 0; d < p->plan->catalog->n_datasets; d++) {
        uint32_t was = rc_plan_find(former->plan, RC_NAMED_DATASET, p->plan->dataset_hashes[d]);
        if (was != RC_NONE)
            rc_population_set_clock(p, d, former->clocks[was]);
    }
}

void rc_replan_clock(struct rc_population *p, uint32_t dataset, int64_t clock_ms) {
    for (struct rc_population *former = p->former; former; former = former->former) {
        uint32_t was = rc_plan_find(former->plan, RC_NAMED_DATASET, p->plan->dataset_hashes[dataset]);
        if (was != RC_NONE)
            rc_table_set_clock(former, was, clock_ms);
    }
}

void rc_population_replan(struct rc_population *p, const struct rc_plan *plan) {
    size_t n = 0;
    for (const struct rc_population *former = p->former; former; former = former->former)
        n++;
    for (struct rc_population *last = n < MOST_FORMER ? NULL : oldest(p); last && last->n_persons > 0;)
        (void)carry(p, last, last->persons[last->n_persons - 1]);
    drop_empty(p);
    struct rc_population *former = rc_population_new(plan, p->emit, p->emit_ctx), swap = *p;
    rc_residence_move(former, p);
    *p = *former;
    *former = swap;
    p->eval.strings = &p->strings;
    former->eval.strings = &former->strings;
    p->former = former;
    former->replaced_clocks = rc_alloc((former->plan->catalog->n_datasets + 1) * sizeof *former->replaced_clocks);
    for (size_t d = 0; d < former->plan->catalog->n_datasets; d++)
        former->replaced_clocks[d] = former->clocks[d];
    take_clocks(p, former);
    for (; former; former = former->former)
        relate(p, former);
    drop_empty(p);
}

/* ---- who is carried over when ------------------------------------------------------------------------------------------- */

struct rc_person *rc_replan_find(struct rc_population *p, struct rc_span key) {
    for (struct rc_population *former = p->former; former; former = former->former) {
        struct rc_person *person = rc_table_find(former, key);
        if (!person)
            continue;
        person = carry(p, former, person);
        drop_empty(p);
        return person;
    }
    return NULL;
}

bool rc_replan_holds(const struct rc_population *p, struct rc_span key) {
    for (const struct rc_population *former = p->former; former; former = former->former)
        if (rc_table_find(former, key))
            return true;
    return false;
}

struct rc_person *rc_replan_take_due(struct rc_population *p, bool only_touched) {
    for (struct rc_population *former = p->former; former; former = former->former)
        for (uint32_t d = 0; d < former->plan->n_domains; d++) {
            struct rc_person *person = only_touched ? rc_table_take_soon(former, d) : rc_table_take_due(former, d);
            if (!person)
                continue;
            former->queues[d].looked = 0;
            person = carry(p, former, person);
            drop_empty(p);
            return person;
        }
    return NULL;
}

bool rc_replan_is_due(const struct rc_population *p) {
    for (const struct rc_population *former = p->former; former; former = former->former)
        for (uint32_t d = 0; d < former->plan->n_domains; d++)
            if (former->domain_clocks[d] != INT64_MIN && rc_table_next_due(former, d) <= former->domain_clocks[d])
                return true;
    return false;
}

int64_t rc_replan_next_due(const struct rc_population *p) {
    int64_t next = RC_NEVER;
    for (const struct rc_population *former = p->former; former; former = former->former)
        for (uint32_t d = 0; d < former->plan->n_domains; d++)
            if (former->domain_clocks[d] != INT64_MIN && rc_table_next_due(former, d) < next)
                next = rc_table_next_due(former, d);
    return next;
}

bool rc_replan_settled(const struct rc_population *p) {
    for (const struct rc_population *former = p->former; former; former = former->former) {
        if (former->plan->hash != p->plan->hash)
            return false;
        for (uint32_t d = 0; d < former->plan->n_domains; d++)
            if (rc_table_next_due(former, d) == INT64_MIN)
                return false;
    }
    return true;
}

bool rc_population_carry(struct rc_population *p, size_t max_persons) {
    struct rc_population *last;
    for (size_t n = 0; !p->failed && (last = oldest(p)) != NULL && (max_persons == 0 || n < max_persons); n++) {
        (void)carry(p, last, last->persons[last->n_persons - 1]);
        drop_empty(p);
    }
    return p->former != NULL;
}

bool rc_population_uses(const struct rc_population *p, const struct rc_plan *plan) {
    for (p = p->former; p; p = p->former)
        if (p->plan == plan)
            return true;
    return false;
}
