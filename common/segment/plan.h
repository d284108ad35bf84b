/* The compiled form of a catalog's segments: one shared graph in which equal things stand once.
 *
 *   predicate  a condition about one event
 *   series     what is kept per person for one predicate: timestamps, and values where a condition needs them
 *   chain      the windows that nest around a condition, from the outside in
 *   node       a condition about a person, over series and other nodes
 *   domain     a set of datasets that share a clock (definitions.md §2, pipeline.md §2)
 *
 * Internal to common/segment; others use population.h. Immutable once compiled. */
#ifndef RC_SEGMENT_PLAN_H
#define RC_SEGMENT_PLAN_H

#include "segment/population.h"
#include "segment/predicate.h"

#define RC_NONE UINT32_MAX
#define RC_NEVER INT64_MAX

/* ---- windows ---------------------------------------------------------------------------------------------------------- */

struct rc_chain {
    struct rc_window *windows; /* outermost first; owned */
    size_t n;
    const struct rc_timezone *timezone;
    bool plain;         /* the upper edge is T itself: no except_last, complete or to anywhere */
    int64_t sliding_ms; /* the shortest sliding length; RC_NEVER when there is none */
    bool only_sliding;  /* plain, and nothing but sliding windows */
};

/* A closed interval of timestamps; empty when from > to. */
struct rc_range {
    int64_t from, to;
};

/* The timestamps that lie in all windows of the chain at T. */
struct rc_range rc_chain_range(const struct rc_chain *chain, int64_t t);

/* ---- series ----------------------------------------------------------------------------------------------------------- */

/* What may be forgotten without changing any answer at an instant ≥ now (docs/modules/segment.md proves each). */
enum rc_keep {
    RC_KEEP_ALL,        /* every entry that a window can still reach */
    RC_KEEP_LATEST_K,   /* the K latest entries */
    RC_KEEP_SAME_K,     /* the K latest entries of each value */
    RC_KEEP_DISTINCT_K, /* the latest entry of each of the K values seen last */
    RC_KEEP_SUM,        /* the latest entries until their sum passes a limit (values are never negative) */
    RC_KEEP_MAX,        /* entries that no later entry equals or exceeds */
    RC_KEEP_MIN,        /* entries that no later entry equals or undercuts */
    RC_KEEP_LATEST,     /* the entries of the last event */
    RC_KEEP_FIRST,      /* the entries of the first event */
    RC_KEEP_SESSIONS,   /* intervals: first and last timestamp of each run of events */
};

/* A reader of a series: the windows through which it looks, and how much further back. */
struct rc_reach {
    uint32_t chain;
    int64_t extra_ms;
};

/* A segment that rests on a series, and when a new entry cannot matter to it. */
struct rc_dependent {
    uint32_t segment;
    bool rising; /* more events can make it true, never false: a member need not be looked at again */
    __int128
        need; /* no condition on the series can hold below this level of it (entries, or their sum, in fixed point); -1: always look */
};

struct rc_series_plan {
    uint64_t hash;      /* stable identity: the same in every plan that keeps the same thing */
    int64_t generation; /* its segments' */
    uint32_t domain;
    uint32_t predicate;  /* index into rc_plan.predicates */
    uint32_t value_slot; /* RC_NONE: timestamps alone */
    enum rc_type value_type;
    bool by_element;    /* predicate and value are judged element by element */
    bool unique_values; /* equal values of one event count once */
    bool keeps_order;   /* event ids are kept, to order events of equal timestamps */
    bool warms;         /* a segment that warms up needs it: history is for it */
    enum rc_keep keep;
    uint32_t k;
    __int128 limit;           /* KEEP_SUM, in fixed point */
    int64_t timeout_ms;       /* KEEP_SESSIONS */
    bool *in_dataset;         /* by dataset; owned */
    struct rc_reach *reaches; /* owned */
    size_t n_reaches, cap_reaches;
    struct rc_dependent *dependents; /* whose truth rests on it, the least `need` first; owned */
    size_t n_dependents, cap_dependents;
};

/* ---- nodes ------------------------------------------------------------------------------------------------------------ */

struct rc_step_plan {
    enum rc_step_kind kind;
    uint32_t *series; /* EVENT, NONE: one; EACH: one per predicate; owned */
    size_t n_series;
    uint32_t session; /* SESSION: the node of its condition */
    bool closed;
    int64_t within_ms, after_ms;
};

struct rc_node {
    enum rc_head head;          /* SEGMENT: a whole segment: existence, then its condition */
    const struct rc_cond *cond; /* borrowed from the catalog; SEGMENT: NULL */
    uint32_t domain;
    uint32_t chain;
    uint32_t *children; /* owned */
    size_t n_children;
    uint32_t series;   /* what EVENT and the aggregates look at */
    uint32_t sessions; /* SESSION, and SEQUENCE with session steps: the series of sessions; RC_NONE */
    int64_t timeout_ms;
    struct rc_step_plan *steps; /* SEQUENCE; owned */
    size_t n_steps;
    bool *exists_in; /* SEGMENT: by dataset; owned */
    bool in_session; /* evaluated over one session's events */
};

struct rc_segment_plan {
    uint32_t node;
    uint32_t leader;    /* the first segment with the same node: it is kept and decided for all of them */
    uint32_t next_twin; /* the next segment with the same node; RC_NONE */
    uint32_t domain;
    uint64_t id_hash;          /* of its id; of one that is counted beside another, of its meaning too */
    enum rc_segment_role role; /* SERVES for existences */
    bool born_changing;        /* may be true, or become true by time alone, for a person without a match */
    enum rc_state_class state_class;
    char *reason;        /* owned */
    int64_t lookback_ms; /* -1: all of history */
};

struct rc_domain {
    bool *datasets; /* by dataset; owned */
    uint64_t hash;
    int64_t grace_ms;
};

/* ---- dispatch: which predicates an event can satisfy --------------------------------------------------------------------- */

/* A predicate with the series that it feeds in one dataset. */
struct rc_trigger {
    uint32_t predicate;
    uint32_t *series; /* owned */
    size_t n_series, cap_series;
};

/* "Field `slot` holds text `value`" leads to trigger `trigger`. Sorted by (slot, hash). */
struct rc_guard {
    uint32_t slot;
    uint64_t hash;
    struct rc_span value; /* borrowed from the catalog */
    uint32_t trigger;
};

struct rc_dispatch {
    struct rc_trigger *triggers;
    size_t n_triggers, cap_triggers;
    struct rc_guard *guards;
    size_t n_guards, cap_guards;
    uint32_t *guard_slots; /* distinct slots of the guards */
    size_t n_guard_slots, cap_guard_slots;
    uint32_t *always; /* triggers without a guard */
    size_t n_always, cap_always;
    uint32_t *born; /* segments to look at when a person is first seen in this dataset */
    size_t n_born, cap_born;
    int64_t generation;         /* the last one of what is decided with the dataset */
    struct rc_predicate *where; /* the dataset's own */
    bool *where_fields;
};

struct rc_plan {
    const struct rc_catalog *catalog; /* borrowed */
    uint64_t hash; /* two plans with the same hash decide the same; what warms up or ends is not in it */
    struct rc_slots slots;
    struct rc_predicate **predicates;
    size_t n_predicates, cap_predicates;
    struct rc_chain *chains;
    size_t n_chains, cap_chains;
    struct rc_series_plan *series;
    size_t n_series, cap_series;
    struct rc_node *nodes;
    size_t n_nodes, cap_nodes;
    struct rc_domain *domains;
    size_t n_domains, cap_domains;
    struct rc_segment_plan
        *segments; /* n = catalog->n_segments + n_datasets: behind the segments stand the datasets' existences */
    size_t n_segments;
    struct rc_dispatch *dispatch; /* by dataset */
    uint64_t *dataset_hashes;     /* of the ids */
    struct rc_plan_names *names;  /* texts of what stands once, to their positions */
};

/* Position of the series, segment (or existence), dataset or domain with that stable hash; RC_NONE when this plan has none. Saved
 * state names things by hash, since positions change from plan to plan. */
enum rc_named { RC_NAMED_SERIES, RC_NAMED_SEGMENT, RC_NAMED_DATASET, RC_NAMED_DOMAIN };
uint32_t rc_plan_find(const struct rc_plan *plan, enum rc_named what, uint64_t hash);

/* Does the plan decide the segment? What only warms up is not. */
static inline bool rc_plan_decides(const struct rc_plan *plan, uint32_t segment) {
    return plan->segments[segment].role != RC_SEGMENT_WARMS;
}

/* Is pseudo-segment `segment` the existence in a dataset? Then which. */
static inline bool rc_plan_is_existence(const struct rc_plan *plan, uint32_t segment, uint32_t *dataset) {
    if (segment < plan->catalog->n_segments)
        return false;
    *dataset = segment - (uint32_t)plan->catalog->n_segments;
    return true;
}

/* ---- steps of rc_plan_compile, each in the file that its name tells ---------------------------------------------------------- */

/* dependents.c: leader and next_twin of every segment; dependents of every series, state class, reason and look-back of every segment;
 * born_changing of every segment. In this order, once nodes and series stand. */
void rc_plan_find_twins(struct rc_plan *plan);
void rc_plan_find_dependents(struct rc_plan *plan);
void rc_plan_find_births(struct rc_plan *plan);

/* dispatch.c: fills plan->dispatch[dataset]. */
void rc_dispatch_build(struct rc_plan *plan, uint32_t dataset);
void rc_dispatch_deinit(struct rc_dispatch *dispatch);

/* Calls `found` for every trigger whose guard the event passes (and those without one), each once. */
typedef void (*rc_trigger_fn)(void *ctx, const struct rc_trigger *trigger);
void rc_plan_dispatch(const struct rc_plan *plan, const struct rc_event *event, uint8_t *seen, rc_trigger_fn found,
                      void *ctx);

#endif
