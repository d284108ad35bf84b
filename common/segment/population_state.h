/* What a population is made of, for the two files that are one thing: population.c (persons, clocks, events, saving) and decide.c
 * (instants). Internal. */
#ifndef RC_SEGMENT_POPULATION_STATE_H
#define RC_SEGMENT_POPULATION_STATE_H

#include "segment/evaluate.h"
#include "segment/population.h"

struct heap {
    struct rc_person **items; /* least due first */
    size_t n, capacity;
};

/* A change of the instant under decision. */
struct pending_change {
    uint32_t segment;
    bool realized;
    int64_t since_ms;
    enum rc_cause cause;
};

struct rc_population {
    const struct rc_plan *plan;
    rc_change_fn emit;
    void *emit_ctx;
    struct rc_strings strings;
    struct rc_eval eval;
    struct rc_person **persons; /* by number; owned */
    size_t n_persons, cap_persons;
    uint32_t *slots; /* open addressing over keys: number + 1 */
    size_t n_slots;
    uint32_t *dirty; /* numbers of persons to save */
    size_t n_dirty, cap_dirty;
    struct heap *heaps;     /* by domain */
    int64_t *clocks;        /* by dataset */
    int64_t *domain_clocks; /* by domain: the least of its datasets' */
    size_t *members;        /* by segment */
    struct pending_change *changes;
    size_t n_changes, cap_changes;
    struct rc_touched *spare; /* lists to use again */
    struct rc_timer *look;    /* what the instant under decision looks at */
    size_t cap_look;
    uint8_t *seen; /* working memory of the dispatch */
    int64_t *values;
    size_t cap_values;
    struct rc_buf key; /* working memory */
};

/* ---- decide.c ----------------------------------------------------------------------------------------------------------- */

/* The greatest instant that is settled for the person at the domain's clock. */
int64_t rc_decide_allowed(const struct rc_population *p, uint32_t domain, const struct rc_person *person);

/* The clock at which the person's earliest instant can be decided; INT64_MIN: at once; RC_NEVER. */
int64_t rc_decide_due(const struct rc_population *p, uint32_t domain, const struct rc_person *person);

/* An event at `at_ms` may change the segment: looks at it when that instant is decided. */
void rc_decide_touch(struct rc_population *p, struct rc_person_domain *place, uint32_t segment, int64_t at_ms);

/* Makes timers of what is touched, so that the person can be saved. */
void rc_decide_settle(struct rc_population *p, struct rc_person *person);

/* Decides every instant of the person up to `to`, in order, and emits what they bring. */
void rc_decide(struct rc_population *p, uint32_t domain, struct rc_person *person, int64_t to);

#endif
