/* What a population is made of, for the files that are one thing: population.c (clocks, events, saving), table.c (persons in memory),
 * residence.c (who is in memory and who on disk), replan.c (who is under a former plan) and decide.c (instants). Internal. */
#ifndef RC_SEGMENT_POPULATION_STATE_H
#define RC_SEGMENT_POPULATION_STATE_H

#include "segment/evaluate.h"
#include "segment/population.h"

struct slot {
    uint32_t number; /* of a person, + 1; 0: free */
    uint32_t hash;   /* of the key */
};

struct heap_item {
    int64_t due_ms; /* at most the person's own */
    struct rc_person *person;
};

/* Who of a domain is due next (table.c). */
struct queue {
    struct heap_item *heap; /* of four children each, least due first */
    size_t n_heap, cap_heap;
    struct rc_person **soon; /* in no order */
    size_t n_soon, cap_soon, looked;
    int64_t soon_ms; /* at most the least due of them */
};

/* A change of the instant under decision. */
struct pending_change {
    uint32_t segment;
    bool realized;
    int64_t since_ms;
    enum rc_cause cause;
};

/* How far a domain's deadlines on disk have been looked through: everyone with a saved one before (next_ms, next_key) is in memory. */
struct disk_queue {
    int64_t next_ms; /* RC_NEVER: nobody left */
    struct rc_buf next_key;
};

/* A saved deadline that no person stands behind any more. */
struct stale_due {
    uint64_t domain;
    int64_t due_ms;
    char *key; /* owned */
    size_t key_len;
};

struct rc_population {
    const struct rc_plan *plan;
    rc_change_fn emit;
    void *emit_ctx;
    struct rc_strings strings;
    struct rc_eval eval;
    struct rc_person **persons; /* by number; owned */
    size_t n_persons, cap_persons;
    struct slot *slots; /* open addressing over keys */
    size_t n_slots;
    size_t event_limit;       /* of one person; 0: none */
    size_t quarantined;       /* persons who have passed it, in memory and on disk */
    size_t person_bytes;      /* of those in memory, as measured last */
    struct rc_person **dirty; /* to save; borrowed */
    size_t n_dirty, cap_dirty;
    struct rc_person **saving; /* whom the save under way has yet to put, from saving_at on; borrowed */
    size_t n_saving, cap_saving, saving_at;
    bool round; /* changes with each save: who is dirty since another one waits in `saving` */
    size_t saved_total, saved_quarantined; /* what the saved records come to once `saving` is put */
    size_t *saved_members;                 /* by segment */
    /* residence.c */
    struct rc_backing backing; /* all NULL: everybody is in memory */
    size_t budget;             /* bytes; 0: none */
    size_t total;              /* persons in memory and on disk */
    bool complete;             /* everybody is in memory */
    bool failed;               /* the disk did; nothing may be saved any more */
    size_t hand;               /* where the look at who may leave goes on */
    struct disk_queue *disk;   /* by domain */
    bool sweeping;             /* persons saved under another plan are looked for, from sweep_key on */
    struct rc_buf sweep_key;
    struct stale_due *stale;
    size_t n_stale, cap_stale;
    /* replan.c */
    struct rc_population
        *former; /* whom the plan before has left, and whom the one before that; owned; NULL: everybody is here */
    uint32_t *domain_now;     /* of a former one, by domain: which it is in the newest plan; RC_NONE */
    int64_t *replaced_clocks; /* of a former one, by dataset: the clocks when its plan was replaced */
    int64_t *replaced_at;     /* the same by the newest plan's domains */
    struct rc_buf record;     /* working memory */
    struct queue *queues;     /* by domain */
    int64_t *clocks;          /* by dataset */
    int64_t *domain_clocks;   /* by domain: the least of its datasets' */
    size_t *members;          /* by segment; twins are counted each */
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

/* Whether the save under way has yet to put the person, so that what changes of them still goes into it. */
static inline bool rc_population_pending(const struct rc_population *p, const struct rc_person *person) {
    return person->dirty && person->round != p->round;
}

/* ---- table.c ------------------------------------------------------------------------------------------------------------ */

struct rc_person *rc_table_find(const struct rc_population *p, struct rc_span key); /* NULL: not in memory */
void rc_table_add(struct rc_population *p, struct rc_person *person);               /* taken over */
void rc_table_remove(struct rc_population *p, struct rc_person *person);            /* freed */
void rc_table_measure(struct rc_population *p, struct rc_person *person);
/* What memory holds of them will be asked for next. */
void rc_table_expect(const struct rc_population *p, struct rc_person *const *persons, size_t n);
void rc_table_mark_dirty(struct rc_population *p, struct rc_person *person);
/* The save under way has yet to put the person. */
void rc_table_wait_for_save(struct rc_population *p, struct rc_person *person);
void rc_table_set_clock(struct rc_population *p, uint32_t dataset, int64_t clock_ms); /* of this plan alone */
void rc_table_set_due(struct rc_population *p, uint32_t domain, struct rc_person *person, int64_t due_ms);
void rc_table_redue(struct rc_population *p, uint32_t domain, struct rc_person *person);
void rc_table_touch(struct rc_population *p, uint32_t domain, struct rc_person *person); /* the same, after an event */
/* Somebody who is due by the domain's clock, or NULL; to be decided and set anew before the next call. take_soon: of those whom an event
 * has touched; take_due: of all. */
struct rc_person *rc_table_take_soon(struct rc_population *p, uint32_t domain);
struct rc_person *rc_table_take_due(struct rc_population *p, uint32_t domain);
int64_t rc_table_next_due(const struct rc_population *p, uint32_t domain); /* RC_NEVER: nobody; may be too early */
void rc_table_init(struct rc_population *p);
void rc_table_deinit(struct rc_population *p);

/* ---- residence.c -------------------------------------------------------------------------------------------------------- */

/* The person, brought into memory where needed; NULL: there is none, or p->failed. */
struct rc_person *rc_residence_find(struct rc_population *p, struct rc_span key);
/* Takes a saved record into memory. */
rc_status rc_residence_take(struct rc_population *p, struct rc_span key, struct rc_span record, struct rc_person **out,
                            struct rc_error *err) RC_MUST_USE;
/* Brings in who is due in the domain soon, and some of who was saved under another plan; true when there is more at once. */
bool rc_residence_bring_due(struct rc_population *p, uint32_t domain);
bool rc_residence_sweep(struct rc_population *p);
/* The clock at which rc_residence_bring_due has something to do; RC_NEVER. */
int64_t rc_residence_next(const struct rc_population *p, uint32_t domain);
/* Tells the deadlines of a person who is being saved, as far as they differ from those saved before. */
void rc_residence_saved(struct rc_population *p, struct rc_person *person);
void rc_residence_forget_stale(struct rc_population *p);
void rc_residence_push_stale(struct rc_population *p, uint64_t domain, int64_t due_ms, struct rc_span key);
/* Goes over from another plan's population. */
void rc_residence_move(struct rc_population *next, struct rc_population *old);
void rc_residence_init(struct rc_population *p);
void rc_residence_deinit(struct rc_population *p);

/* ---- replan.c ----------------------------------------------------------------------------------------------------------- */

/* The person, carried over from a former plan; NULL: nobody under one. */
struct rc_person *rc_replan_find(struct rc_population *p, struct rc_span key);
bool rc_replan_holds(const struct rc_population *p, struct rc_span key); /* whether there is such a person */
/* Carries over somebody who is due, or whom an event has made so; NULL: nobody is. */
struct rc_person *rc_replan_take_due(struct rc_population *p, bool only_touched);
bool rc_replan_is_due(const struct rc_population *p);
int64_t rc_replan_next_due(const struct rc_population *p); /* RC_NEVER: nobody; may be too early */
void rc_replan_clock(struct rc_population *p, uint32_t dataset, int64_t clock_ms);
/* Whether all that are under former plans have been decided as the newest one does. */
bool rc_replan_settled(const struct rc_population *p);

/* ---- decide.c ----------------------------------------------------------------------------------------------------------- */

/* The greatest instant that is settled for the person at the domain's clock. */
int64_t rc_decide_allowed(const struct rc_population *p, uint32_t domain, const struct rc_person *person);

/* The same at another clock than the present one. */
int64_t rc_decide_allowed_at(const struct rc_population *p, uint32_t domain, const struct rc_person *person,
                             int64_t clock_ms);

/* The clock at which the person's earliest instant can be decided; INT64_MIN: at once; RC_NEVER. */
int64_t rc_decide_due(const struct rc_population *p, uint32_t domain, const struct rc_person *person);

/* An event at `at_ms` may change the segment: looks at it when that instant is decided. */
void rc_decide_touch(struct rc_population *p, struct rc_person_domain *place, uint32_t segment, int64_t at_ms);

/* Makes timers of what is touched, and their earliest instant exact, so that the person can be saved. */
void rc_decide_settle(struct rc_population *p, struct rc_person *person);

/* Decides every instant of the person up to `to`, in order, and emits what they bring. */
void rc_decide(struct rc_population *p, uint32_t domain, struct rc_person *person, int64_t to);

#endif
