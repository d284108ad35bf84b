/* M(s, p, T): the truth of a node for one person at one instant, and the first later instant at which time alone may change it.
 * definitions.md §3. Reads state, changes none. Internal to common/segment. */
#ifndef RC_SEGMENT_EVALUATE_H
#define RC_SEGMENT_EVALUATE_H

#include "base/arena.h"
#include "segment/person.h"

/* A truth, and the least T' > T at which it may differ with no event arriving; RC_NEVER. It may be early, it is never late. */
struct rc_truth {
    bool value;
    int64_t next_ms;
};

struct rc_memo {
    uint32_t stamp;
    struct rc_truth truth;
};

struct rc_chain_memo {
    uint32_t stamp;
    struct rc_range range;
};

/* Working memory, kept from one evaluation to the next. */
struct rc_eval {
    const struct rc_plan *plan;
    const struct rc_strings *strings;
    const struct rc_person *person;
    int64_t t;
    uint32_t stamp;                    /* of (person, t); memos with another stamp are stale */
    struct rc_memo *memos;             /* by node; owned */
    struct rc_chain_memo *chain_memos; /* by chain; owned */
    struct rc_arena arena;
};

/* All events up to T, or one session's. */
struct rc_scope {
    int64_t from, to; /* timestamps of A; INT64_MIN … T outside sessions */
    bool session;
};

void rc_eval_init(struct rc_eval *eval, const struct rc_plan *plan, const struct rc_strings *strings);
void rc_eval_deinit(struct rc_eval *eval);

/* Turns to a person and an instant. Call again after the person's state has changed. */
void rc_eval_at(struct rc_eval *eval, const struct rc_person *person, int64_t t);

/* Truth of a node at the instant turned to; equal nodes are computed once per turn. */
struct rc_truth rc_eval_node(struct rc_eval *eval, uint32_t node);

/* May the node be true, or become so by time alone, for a person who exists and has no match? */
bool rc_eval_empty(const struct rc_plan *plan, uint32_t node);

/* ---- for sequence.c and explain.c ---------------------------------------------------------------------------------------- */

struct rc_truth rc_eval_scoped(struct rc_eval *eval, uint32_t node, struct rc_scope scope);
struct rc_range rc_eval_range(struct rc_eval *eval, uint32_t chain, struct rc_scope scope);
/* Index of the first timestamp >= `at` / > `at`. */
uint32_t rc_series_lower(const struct rc_series *series, int64_t at);
uint32_t rc_series_upper(const struct rc_series *series, int64_t at);
/* Least instant > t at which an entry enters or leaves the chain's windows, an entry of the future comes, or is `delay_ms` old
 * (RC_NEVER: no such delay). */
int64_t rc_series_next(const struct rc_eval *eval, const struct rc_series *series, uint32_t chain, int64_t delay_ms);

/* Sessions of a series as they are at T, those that start in the range, in time order. */
struct rc_session {
    int64_t from, to; /* first and last timestamp */
};
struct rc_session *rc_eval_sessions(struct rc_eval *eval, const struct rc_series *series, int64_t timeout_ms,
                                    struct rc_range range, size_t *n);

bool rc_cmp_holds(const struct rc_cmp *cmp, __int128 fixed);
/* True only of enough: every term is a lower bound. */
bool rc_cmp_only_lower(const struct rc_cmp *cmp);
/* The greatest value that it compares with; 0 when all are negative. */
__int128 rc_cmp_greatest_bound(const struct rc_cmp *cmp);

struct rc_explain_sources;
rc_status rc_explain_person(struct rc_eval *eval, const struct rc_person *person, uint32_t segment, int64_t at_ms,
                            const struct rc_explain_sources *sources, struct rc_buf *out) RC_MUST_USE;

struct rc_truth rc_eval_sequence(struct rc_eval *eval, const struct rc_node *node, struct rc_scope scope);

#endif
