/* Which persons are in memory, and which on disk alone. A person comes in when an event names them, when their saved deadline comes near,
 * or when they were saved under another plan; a person who has been saved may leave again (clock algorithm: who was not asked for since
 * the hand came by last).
 *
 * Of who is on disk alone it knows their number, how many are members of what, and per domain up to where the ordered deadlines have been
 * looked through. A saved deadline may outlive its reason (a restore puts records over older ones); so it only ever says "look", and
 * one that the person's record does not confirm is forgotten. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "segment/population_state.h"

#define RECORD_LIMIT (256u << 20)
#define LOOKAHEAD_MS 1000 /* deadlines are brought in so much before they are due */
#define BRING_AT_ONCE 500
#define SWEEP_AT_ONCE 500

void rc_residence_init(struct rc_population *p) {
    p->disk = rc_calloc(p->plan->n_domains, sizeof *p->disk);
    for (size_t d = 0; d < p->plan->n_domains; d++) {
        p->disk[d].next_ms = RC_NEVER;
        rc_buf_init(&p->disk[d].next_key, RECORD_LIMIT);
    }
    rc_buf_init(&p->sweep_key, RECORD_LIMIT);
    rc_buf_init(&p->record, RECORD_LIMIT);
    p->complete = true;
}

void rc_residence_deinit(struct rc_population *p) {
    for (size_t d = 0; d < p->plan->n_domains; d++)
        rc_buf_deinit(&p->disk[d].next_key);
    free(p->disk);
    for (size_t i = 0; i < p->n_stale; i++)
        free(p->stale[i].key);
    free(p->stale);
    rc_buf_deinit(&p->sweep_key);
    rc_buf_deinit(&p->record);
}

static void look_from(struct disk_queue *queue, int64_t due_ms, struct rc_span key) {
    queue->next_ms = due_ms;
    rc_buf_reset(&queue->next_key);
    rc_buf_add_span(&queue->next_key, key);
}

void rc_population_back(struct rc_population *p, const struct rc_backing *backing, size_t budget_bytes) {
    p->backing = *backing;
    p->budget = budget_bytes;
}

void rc_population_set_budget(struct rc_population *p, size_t bytes) {
    p->budget = bytes;
}

static void fail(struct rc_population *p, const struct rc_error *err) {
    if (!p->failed)
        p->backing.failed(p->backing.ctx, err);
    p->failed = true;
}

/* ---- deadlines that nobody stands behind ------------------------------------------------------------------------------ */

void rc_residence_push_stale(struct rc_population *p, uint64_t domain, int64_t due_ms, struct rc_span key) {
    rc_grow(&p->stale, &p->cap_stale, p->n_stale + 1, sizeof *p->stale);
    p->stale[p->n_stale++] = (struct stale_due){domain, due_ms, rc_span_dup(key), key.len};
}

void rc_residence_forget_stale(struct rc_population *p) {
    for (size_t i = 0; i < p->n_stale; i++) {
        struct stale_due *stale = &p->stale[i];
        p->backing.deadline(p->backing.ctx, rc_span_of(stale->key, stale->key_len), stale->domain, stale->due_ms,
                            RC_NEVER);
        free(stale->key);
    }
    p->n_stale = 0;
}

/* ---- coming in --------------------------------------------------------------------------------------------------------- */

struct old_dues {
    struct rc_population *p;
    struct rc_span key;
};

static void old_due(void *ctx, uint64_t domain, int64_t due_ms) {
    const struct old_dues *old = ctx;
    if (due_ms != RC_NEVER && rc_plan_find(old->p->plan, RC_NAMED_DOMAIN, domain) == RC_NONE)
        rc_residence_push_stale(old->p, domain, due_ms, old->key);
}

rc_status rc_residence_take(struct rc_population *p, struct rc_span key, struct rc_span record, struct rc_person **out,
                            struct rc_error *err) {
    struct rc_person *person;
    if (rc_person_decode(p->plan, &p->strings, key, record, &person, err) != RC_OK)
        return RC_FAIL;
    rc_table_add(p, person);
    bool redefined = false;
    for (uint32_t d = 0; d < p->plan->n_domains; d++) {
        redefined |= person->domains[d].redefined;
        rc_table_redue(p, d, person);
    }
    if (redefined && p->backing.deadline) {
        struct rc_record_head head;
        struct old_dues old = {p, key};
        struct rc_record_visitor visitor = {.ctx = &old, .due = old_due};
        if (rc_person_record_scan(record, &visitor, &head, err) != RC_OK)
            return RC_FAIL;
    }
    person->used = true;
    *out = person;
    return RC_OK;
}

struct rc_person *rc_residence_find(struct rc_population *p, struct rc_span key) {
    struct rc_person *person = rc_table_find(p, key);
    if (!person && p->former)
        person = rc_replan_find(p, key);
    if (person)
        person->used = true;
    if (person || p->complete)
        return person;
    bool found = false;
    struct rc_error err;
    if (p->backing.get(p->backing.ctx, key, &p->record, &found, &err) != RC_OK ||
        (found && rc_residence_take(p, key, rc_buf_span(&p->record), &person, &err) != RC_OK)) {
        fail(p, &err);
        return NULL;
    }
    return person;
}

static bool over(const struct rc_population *p, size_t bytes) {
    return p->budget > 0 && rc_population_bytes(p) > bytes;
}

static bool over_budget(const struct rc_population *p) {
    return over(p, p->budget);
}

/* Room that is left for those who are due, so that a wave that does not fit into memory passes through it in portions. */
static bool crowded(const struct rc_population *p) {
    return over(p, p->budget + p->budget / 4);
}

struct bringing {
    struct rc_population *p;
    uint32_t domain;
    int64_t until_ms;
    size_t n;
    bool more;
};

static bool bring(void *ctx, struct rc_span key, int64_t due_ms) {
    struct bringing *b = ctx;
    struct rc_population *p = b->p;
    b->more = due_ms <= (over_budget(p) ? p->domain_clocks[b->domain] : b->until_ms);
    if (!b->more || b->n == BRING_AT_ONCE || crowded(p) || p->failed) {
        look_from(&p->disk[b->domain], due_ms, key);
        return false;
    }
    b->n++;
    if (rc_table_find(p, key) || rc_replan_holds(p, key))
        return true;
    const struct rc_person *person = rc_residence_find(p, key);
    if (!p->failed && (!person || person->domains[b->domain].saved_due_ms != due_ms))
        rc_residence_push_stale(p, p->plan->domains[b->domain].hash, due_ms, key);
    return true;
}

int64_t rc_residence_next(const struct rc_population *p, uint32_t domain) {
    int64_t next = p->disk[domain].next_ms;
    return next == RC_NEVER || next < INT64_MIN + LOOKAHEAD_MS ? next : next - LOOKAHEAD_MS;
}

bool rc_residence_bring_due(struct rc_population *p, uint32_t domain) {
    int64_t clock = p->domain_clocks[domain];
    if (p->failed || clock == INT64_MIN || rc_residence_next(p, domain) > clock)
        return false;
    struct disk_queue *queue = &p->disk[domain];
    struct bringing b = {.p = p, .domain = domain, .until_ms = clock + LOOKAHEAD_MS};
    struct rc_buf from;
    rc_buf_init(&from, RECORD_LIMIT);
    rc_buf_add_span(&from, rc_buf_span(&queue->next_key));
    int64_t from_ms = queue->next_ms;
    look_from(queue, RC_NEVER, rc_span_of("", 0));
    struct rc_error err;
    if (p->backing.due(p->backing.ctx, p->plan->domains[domain].hash, from_ms, rc_buf_span(&from), bring, &b, &err) !=
        RC_OK)
        fail(p, &err);
    rc_buf_deinit(&from);
    return b.more && queue->next_ms != RC_NEVER;
}

/* ---- saved under another plan ------------------------------------------------------------------------------------------ */

static bool sweep_one(void *ctx, struct rc_span key, struct rc_span record) {
    struct bringing *b = ctx;
    struct rc_population *p = b->p;
    if (b->n == SWEEP_AT_ONCE || over_budget(p)) {
        rc_buf_reset(&p->sweep_key);
        rc_buf_add_span(&p->sweep_key, key);
        b->more = true;
        return false;
    }
    b->n++;
    if (rc_table_find(p, key) || rc_replan_holds(p, key))
        return true;
    struct rc_record_head head;
    struct rc_error err;
    struct rc_person *person;
    const struct rc_record_visitor nothing = {0};
    if (rc_person_record_scan(record, &nothing, &head, &err) != RC_OK ||
        (head.plan_hash != p->plan->hash && rc_residence_take(p, key, record, &person, &err) != RC_OK)) {
        fail(p, &err);
        return false;
    }
    return true;
}

bool rc_residence_sweep(struct rc_population *p) {
    if (!p->sweeping || p->failed)
        return false;
    for (size_t d = 0; d < p->plan->n_domains; d++)
        if (p->domain_clocks[d] == INT64_MIN)
            return false; /* nothing could be decided of them yet */
    struct bringing b = {.p = p};
    struct rc_buf from;
    rc_buf_init(&from, RECORD_LIMIT);
    rc_buf_add_span(&from, rc_buf_span(&p->sweep_key));
    struct rc_error err;
    if (p->backing.each(p->backing.ctx, rc_buf_span(&from), sweep_one, &b, &err) != RC_OK)
        fail(p, &err);
    rc_buf_deinit(&from);
    p->sweeping = b.more || p->failed;
    return b.more;
}

bool rc_population_settled(const struct rc_population *p) {
    for (uint32_t d = 0; d < p->plan->n_domains; d++)
        if (rc_table_next_due(p, d) == INT64_MIN)
            return false;
    return !p->sweeping && rc_replan_settled(p);
}

/* ---- what is on disk at the start ------------------------------------------------------------------------------------- */

void rc_population_resume(struct rc_population *p, size_t persons, bool other_plan) {
    p->total = persons;
    p->complete = persons == 0;
    for (size_t d = 0; d < p->plan->n_domains && persons > 0; d++)
        look_from(&p->disk[d], INT64_MIN, rc_span_of("", 0));
    p->sweeping = other_plan && persons > 0;
    rc_buf_reset(&p->sweep_key);
}

void rc_population_set_members(struct rc_population *p, uint32_t segment, size_t members) {
    p->members[segment] = members;
}

struct accounting {
    struct rc_population *p;
    struct rc_span key;
};

static void account_due(void *ctx, uint64_t domain, int64_t due_ms) {
    const struct accounting *a = ctx;
    if (due_ms != RC_NEVER)
        a->p->backing.deadline(a->p->backing.ctx, a->key, domain, RC_NEVER, due_ms);
}

static void account_member(void *ctx, uint64_t segment) {
    const struct accounting *a = ctx;
    uint32_t s = rc_plan_find(a->p->plan, RC_NAMED_SEGMENT, segment);
    if (s != RC_NONE)
        a->p->members[s]++;
}

rc_status rc_population_account(struct rc_population *p, struct rc_span person_key, struct rc_span record,
                                struct rc_error *err) {
    struct rc_record_head head;
    struct accounting a = {p, person_key};
    struct rc_record_visitor visitor = {.ctx = &a, .due = account_due, .member = account_member};
    if (rc_person_record_scan(record, &visitor, &head, err) != RC_OK)
        return RC_FAIL;
    p->quarantined += head.quarantined;
    return RC_OK;
}

/* ---- leaving ----------------------------------------------------------------------------------------------------------- */

/* Not who would be brought in again at once; nor, if there is room, are events forgotten that are about to be named as a cause. */
static bool may_leave(const struct rc_population *p, const struct rc_person *person, int64_t slack_ms) {
    for (size_t d = 0; d < p->plan->n_domains; d++) {
        int64_t soon = p->domain_clocks[d] == INT64_MIN ? INT64_MIN : p->domain_clocks[d] + slack_ms;
        if ((person->domains[d].redefined && !person->quarantine) || person->domains[d].due_ms <= soon)
            return false;
    }
    return !person->dirty;
}

static void leave(struct rc_population *p, struct rc_person *person) {
    for (size_t d = 0; d < p->plan->n_domains; d++)
        if (person->domains[d].saved_due_ms != RC_NEVER && person->domains[d].saved_due_ms <= p->disk[d].next_ms)
            look_from(&p->disk[d], person->domains[d].saved_due_ms, rc_span_of("", 0));
    p->complete = false;
    rc_table_remove(p, person);
}

/* Two rounds of the hand; true when there is room then. */
static bool make_room(struct rc_population *p, int64_t slack_ms, size_t *n) {
    size_t target = p->budget - p->budget / 10;
    for (size_t steps = 2 * p->n_persons; steps > 0 && p->n_persons > 0 && rc_population_bytes(p) > target; steps--) {
        if (p->hand >= p->n_persons)
            p->hand = 0;
        struct rc_person *person = p->persons[p->hand];
        if (person->used || !may_leave(p, person, slack_ms)) {
            person->used = false;
            p->hand++;
            continue;
        }
        leave(p, person); /* another takes its place */
        ++*n;
    }
    return !over_budget(p);
}

size_t rc_population_evict(struct rc_population *p) {
    size_t n = 0;
    if (p->backing.get && !p->failed && over_budget(p) && !make_room(p, LOOKAHEAD_MS, &n))
        make_room(p, 0, &n);
    return n;
}

/* ---- saving ------------------------------------------------------------------------------------------------------------- */

void rc_residence_saved(struct rc_population *p, struct rc_person *person) {
    rc_table_measure(p, person);
    if (!p->backing.deadline)
        return;
    for (size_t d = 0; d < p->plan->n_domains; d++) {
        struct rc_person_domain *place = &person->domains[d];
        if (place->saved_due_ms == place->due_ms)
            continue;
        p->backing.deadline(p->backing.ctx, rc_span_of(person->key, person->key_len), p->plan->domains[d].hash,
                            place->saved_due_ms, place->due_ms);
        place->saved_due_ms = place->due_ms;
    }
}

/* ---- from plan to plan -------------------------------------------------------------------------------------------------- */

void rc_residence_move(struct rc_population *next, struct rc_population *old) {
    next->backing = old->backing;
    next->budget = old->budget;
    next->failed = old->failed;
    next->event_limit = old->event_limit;
    next->quarantined = old->quarantined;
    for (uint32_t s = 0; s < next->plan->n_segments; s++) {
        uint32_t was = rc_plan_find(old->plan, RC_NAMED_SEGMENT, next->plan->segments[s].id_hash);
        if (was != RC_NONE) {
            next->members[s] = old->members[was];
            next->saved_members[s] = old->saved_members[was];
        }
    }
    next->saved_total = old->saved_total;
    next->saved_quarantined = old->saved_quarantined;
    struct stale_due *stale = old->stale;
    for (size_t i = 0; i < old->n_stale; i++)
        rc_residence_push_stale(next, stale[i].domain, stale[i].due_ms, rc_span_of(stale[i].key, stale[i].key_len));
    size_t total = old->total;
    bool complete = old->complete;
    if (complete)
        next->total = total;
    else
        rc_population_resume(next, total, old->sweeping || next->plan->hash != old->plan->hash);
}
