/* Conditions about a person, over series. Every window is an interval of timestamps at T, so every question is asked of an ordered
 * column between two positions. Sequences are in sequence.c. */
#include "segment/evaluate.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

void rc_eval_init(struct rc_eval *eval, const struct rc_plan *plan, const struct rc_strings *strings) {
    *eval = (struct rc_eval){.plan = plan, .strings = strings};
    eval->memos = rc_calloc(plan->n_nodes, sizeof *eval->memos);
    eval->chain_memos = rc_calloc(plan->n_chains, sizeof *eval->chain_memos);
    rc_arena_init(&eval->arena, 64 << 10);
}

void rc_eval_deinit(struct rc_eval *eval) {
    free(eval->memos);
    free(eval->chain_memos);
    rc_arena_deinit(&eval->arena);
}

void rc_eval_at(struct rc_eval *eval, const struct rc_person *person, int64_t t) {
    eval->person = person;
    eval->t = t;
    rc_arena_reset(&eval->arena);
    if (++eval->stamp == 0) { /* wrapped: old memos could pass for new ones */
        memset(eval->memos, 0, eval->plan->n_nodes * sizeof *eval->memos);
        memset(eval->chain_memos, 0, eval->plan->n_chains * sizeof *eval->chain_memos);
        eval->stamp = 1;
    }
}

/* ---- columns ---------------------------------------------------------------------------------------------------------- */

uint32_t rc_series_lower(const struct rc_series *series, int64_t at) {
    uint32_t lo = 0, hi = series ? series->n : 0;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (series->ts[mid] < at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

uint32_t rc_series_upper(const struct rc_series *series, int64_t at) {
    return at == INT64_MAX ? (series ? series->n : 0) : rc_series_lower(series, at + 1);
}

struct rc_range rc_eval_range(struct rc_eval *eval, uint32_t chain, struct rc_scope scope) {
    struct rc_chain_memo *memo = &eval->chain_memos[chain];
    if (memo->stamp != eval->stamp)
        *memo = (struct rc_chain_memo){eval->stamp, rc_chain_range(&eval->plan->chains[chain], eval->t)};
    struct rc_range range = memo->range;
    if (range.from < scope.from)
        range.from = scope.from;
    if (range.to > scope.to)
        range.to = scope.to;
    return range;
}

static int64_t later(int64_t a, int64_t b) {
    int64_t r;
    return __builtin_add_overflow(a, b, &r) ? RC_NEVER : r;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Least ts + delay > t over the entries. */
static int64_t next_aged(const struct rc_series *series, int64_t t, int64_t delay) {
    uint32_t at = delay > 0 && t < INT64_MIN + delay ? 0 : rc_series_upper(series, t - delay);
    return series && at < series->n ? later(series->ts[at], delay) : RC_NEVER;
}

int64_t rc_series_next(const struct rc_eval *eval, const struct rc_series *series, uint32_t chain_index,
                       int64_t delay_ms) {
    if (!series || series->n == 0)
        return RC_NEVER;
    const struct rc_chain *chain = &eval->plan->chains[chain_index];
    int64_t next = next_aged(series, eval->t, 0);
    if (delay_ms != RC_NEVER)
        next = least(next, next_aged(series, eval->t, delay_ms));
    for (size_t i = 0; i < chain->n; i++) {
        const struct rc_window *w = &chain->windows[i];
        if (w->form == RC_WINDOW_SLIDING) {
            next = least(next, next_aged(series, eval->t, w->last_ms));
            if (w->except_last_ms > 0)
                next = least(next, next_aged(series, eval->t, w->except_last_ms));
        } else if (w->form == RC_WINDOW_CALENDAR && series->ts[series->n - 1] >= rc_chain_range(chain, eval->t).from) {
            /* what has left through the lower edge never comes back: no boundary can matter to it */
            next = least(next, rc_calendar_next(chain->timezone, w->unit, eval->t));
        }
    }
    return next;
}

/* ---- comparisons ------------------------------------------------------------------------------------------------------ */

static bool term_holds(const struct rc_cmp *cmp, size_t i, __int128 value, __int128 bound) {
    switch (cmp->terms[i].op) {
    case RC_CMP_EQ: return value == bound;
    case RC_CMP_NE: return value != bound;
    case RC_CMP_LT: return value < bound;
    case RC_CMP_LE: return value <= bound;
    case RC_CMP_GT: return value > bound;
    case RC_CMP_GE: return value >= bound;
    }
    return false;
}

bool rc_cmp_holds(const struct rc_cmp *cmp, __int128 fixed) {
    for (size_t i = 0; i < cmp->n; i++)
        if (!term_holds(cmp, i, fixed, cmp->terms[i].value))
            return false;
    return true;
}

__int128 rc_cmp_greatest_bound(const struct rc_cmp *cmp) {
    __int128 most = 0;
    for (size_t i = 0; i < cmp->n; i++)
        if (cmp->terms[i].value > most)
            most = cmp->terms[i].value;
    return most;
}

static bool average_holds(const struct rc_cmp *cmp, __int128 sum, int64_t count) {
    for (size_t i = 0; i < cmp->n; i++)
        if (!term_holds(cmp, i, sum, cmp->terms[i].value * count))
            return false;
    return true;
}

static bool count_holds(const struct rc_cmp *cmp, size_t count) {
    return rc_cmp_holds(cmp, (__int128)count * RC_FIXED_SCALE);
}

/* A value of the series in fixed point. */
static __int128 fixed_value(const struct rc_series_plan *plan, int64_t value) {
    return plan->value_type == RC_LONG ? (__int128)value * RC_FIXED_SCALE : value;
}

/* ---- leaves ----------------------------------------------------------------------------------------------------------- */

static int compare_numbers(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The values of entries first … end − 1, sorted; in the arena. */
static int64_t *sorted_values(struct rc_eval *eval, const struct rc_series *series, uint32_t first, uint32_t end) {
    int64_t *values = rc_arena_alloc(&eval->arena, (size_t)(end - first) * sizeof *values);
    memcpy(values, series->value + first, (size_t)(end - first) * sizeof *values);
    qsort(values, end - first, sizeof *values, compare_numbers);
    return values;
}

static bool same_count(struct rc_eval *eval, const struct rc_cmp *cmp, const struct rc_series *series, uint32_t first,
                       uint32_t end) {
    if (first >= end)
        return false;
    int64_t *values = sorted_values(eval, series, first, end);
    size_t n = end - first;
    for (size_t i = 0, k; i < n; i = k) {
        for (k = i + 1; k < n && values[k] == values[i]; k++) {}
        if (count_holds(cmp, k - i))
            return true;
    }
    return false;
}

static size_t distinct_count(struct rc_eval *eval, const struct rc_series *series, uint32_t first, uint32_t end) {
    if (first >= end)
        return 0;
    int64_t *values = sorted_values(eval, series, first, end);
    size_t count = 1;
    for (size_t i = 1; i < end - first; i++)
        count += values[i] != values[i - 1];
    return count;
}

/* Does the entry at `a` come after the one at `b`, both with values of one series that keeps order? Equal timestamps: the greater
 * event id, then dataset id, in byte order. */
static bool comes_after(const struct rc_eval *eval, const struct rc_series *series, uint32_t a, uint32_t b) {
    if (series->ts[a] != series->ts[b])
        return series->ts[a] > series->ts[b];
    int c = rc_span_compare(rc_strings_get(eval->strings, (uint32_t)series->tie[a]),
                            rc_strings_get(eval->strings, (uint32_t)series->tie[b]));
    if (c != 0)
        return c > 0;
    const struct rc_dataset *datasets = eval->plan->catalog->datasets;
    return strcmp(datasets[series->tie[a] >> 32].id, datasets[series->tie[b] >> 32].id) > 0;
}

/* The operators on the values of the last (or first) event among entries first … end − 1. */
static bool ordered_holds(struct rc_eval *eval, const struct rc_node *node, const struct rc_series *series,
                          uint32_t first, uint32_t end) {
    if (first >= end)
        return false;
    bool last = node->head == RC_HEAD_LATEST;
    uint32_t best = last ? end - 1 : first;
    for (uint32_t i = best; i >= first && i < end && series->ts[i] == series->ts[best]; i += last ? UINT32_MAX : 1)
        if (last ? comes_after(eval, series, i, best) : comes_after(eval, series, best, i))
            best = i;
    enum rc_type type = eval->plan->series[node->series].value_type;
    union rc_value *values = rc_arena_alloc(&eval->arena, (size_t)(end - first) * sizeof *values);
    uint32_t n = 0;
    for (uint32_t i = first; i < end; i++) {
        if (series->ts[i] != series->ts[best] || series->tie[i] != series->tie[best])
            continue;
        if (type == RC_STRING)
            values[n++].string = rc_strings_get(eval->strings, (uint32_t)series->value[i]);
        else
            values[n++].number = series->value[i];
    }
    return rc_clauses_hold(&node->cond->is, type, (struct rc_values){values, n});
}

static bool aggregate_holds(const struct rc_eval *eval, const struct rc_node *node, const struct rc_series *series,
                            uint32_t first, uint32_t end) {
    const struct rc_series_plan *plan = &eval->plan->series[node->series];
    const struct rc_cmp *cmp = &node->cond->cmp;
    __int128 sum = 0, least_value = 0, most_value = 0;
    for (uint32_t i = first; i < end; i++) {
        __int128 value = fixed_value(plan, series->value[i]);
        sum += value;
        least_value = i == first || value < least_value ? value : least_value;
        most_value = i == first || value > most_value ? value : most_value;
    }
    if (node->head == RC_HEAD_SUM)
        return rc_cmp_holds(cmp, sum);
    if (first >= end)
        return false;
    if (node->head == RC_HEAD_AVG)
        return average_holds(cmp, sum, end - first);
    return rc_cmp_holds(cmp, node->head == RC_HEAD_MIN ? least_value : most_value);
}

bool rc_cmp_only_lower(const struct rc_cmp *cmp) {
    for (size_t i = 0; i < cmp->n; i++)
        if (cmp->terms[i].op != RC_CMP_GE && cmp->terms[i].op != RC_CMP_GT)
            return false;
    return true;
}

/* When may a leaf change? Where entries only leave as time goes by and the comparison wants many, it cannot become true by time alone
 * but for entries of the future, and a plain count falls exactly when the entry leaves that makes it enough. */
static int64_t leaf_next(const struct rc_eval *eval, const struct rc_node *node, const struct rc_series *series,
                         uint32_t end, bool value) {
    const struct rc_chain *chain = &eval->plan->chains[node->chain];
    if (!series || series->n == 0)
        return RC_NEVER;
    bool counts = node->head == RC_HEAD_EVENT || node->head == RC_HEAD_DISTINCT ||
                  (node->head == RC_HEAD_SUM && eval->plan->series[node->series].keep == RC_KEEP_SUM);
    if (!node->in_session && chain->only_sliding && counts && rc_cmp_only_lower(&node->cond->cmp)) {
        int64_t future = next_aged(series, eval->t, 0);
        if (!value || chain->sliding_ms == RC_NEVER)
            return future;
        if (node->head == RC_HEAD_EVENT && !node->cond->has_field &&
            eval->plan->series[node->series].keep == RC_KEEP_LATEST_K) {
            uint32_t enough = 0;
            while (enough <= end && !count_holds(&node->cond->cmp, enough))
                enough++;
            return enough == 0 ? future : least(future, later(series->ts[end - enough], chain->sliding_ms));
        }
    }
    return rc_series_next(eval, series, node->chain, RC_NEVER);
}

static struct rc_truth eval_leaf(struct rc_eval *eval, const struct rc_node *node, struct rc_scope scope) {
    const struct rc_series *series = rc_person_series(eval->person, node->series);
    struct rc_range range = rc_eval_range(eval, node->chain, scope);
    uint32_t first = rc_series_lower(series, range.from), end = rc_series_upper(series, range.to);
    if (end < first)
        end = first;
    bool value;
    switch (node->head) {
    case RC_HEAD_EVENT:
        value = node->cond->has_field ? same_count(eval, &node->cond->cmp, series, first, end)
                                      : count_holds(&node->cond->cmp, end - first);
        break;
    case RC_HEAD_DISTINCT: value = count_holds(&node->cond->cmp, distinct_count(eval, series, first, end)); break;
    case RC_HEAD_LATEST:
    case RC_HEAD_FIRST: value = ordered_holds(eval, node, series, first, end); break;
    default: value = aggregate_holds(eval, node, series, first, end); break;
    }
    return (struct rc_truth){value, leaf_next(eval, node, series, end, value)};
}

/* ---- sessions --------------------------------------------------------------------------------------------------------- */

struct rc_session *rc_eval_sessions(struct rc_eval *eval, const struct rc_series *series, int64_t timeout_ms,
                                    struct rc_range range, size_t *n) {
    *n = 0;
    if (!series || series->n == 0)
        return NULL;
    struct rc_session *sessions = rc_arena_alloc(&eval->arena, series->n * sizeof *sessions);
    struct rc_session run = {0};
    bool open = false;
    for (uint32_t i = 0; i < series->n && series->ts[i] <= eval->t; i++) {
        int64_t to = series->value[i] < eval->t ? series->value[i] : eval->t;
        if (open && series->ts[i] <= later(run.to, timeout_ms)) {
            run.to = to > run.to ? to : run.to;
            continue;
        }
        if (open && run.from >= range.from && run.from <= range.to)
            sessions[(*n)++] = run;
        run = (struct rc_session){series->ts[i], to};
        open = true;
    }
    if (open && run.from >= range.from && run.from <= range.to)
        sessions[(*n)++] = run;
    return sessions;
}

/* When may the set of sessions in scope, or which of them are over, change? */
static int64_t sessions_next(const struct rc_eval *eval, const struct rc_series *series, uint32_t chain,
                             int64_t timeout_ms) {
    if (!series || series->n == 0)
        return RC_NEVER;
    int64_t next = rc_series_next(eval, series, chain, RC_NEVER), over = later(timeout_ms, 1);
    for (uint32_t i = 0; i < series->n; i++) {
        int64_t at = later(series->value[i], over);
        if (at > eval->t)
            next = least(next, at);
    }
    return next;
}

static struct rc_truth eval_session(struct rc_eval *eval, const struct rc_node *node, struct rc_scope scope) {
    const struct rc_series *series = rc_person_series(eval->person, node->sessions);
    size_t n, count = 0;
    struct rc_session *sessions =
        rc_eval_sessions(eval, series, node->timeout_ms, rc_eval_range(eval, node->chain, scope), &n);
    int64_t next = sessions_next(eval, series, node->chain, node->timeout_ms);
    for (size_t i = 0; i < n; i++) {
        struct rc_scope inside = {.from = sessions[i].from, .to = sessions[i].to, .session = true};
        struct rc_truth truth = rc_eval_scoped(eval, node->children[0], inside);
        next = least(next, truth.next_ms);
        if (truth.value && (!node->cond->closed || eval->t > later(sessions[i].to, node->timeout_ms)))
            count++;
    }
    return (struct rc_truth){count_holds(&node->cond->cmp, count), next};
}

/* ---- the tree --------------------------------------------------------------------------------------------------------- */

/* All children, or one: a false `and` stays false until its last false child may change, a true one until its first child may. */
static struct rc_truth eval_junction(struct rc_eval *eval, const struct rc_node *node, struct rc_scope scope) {
    bool decisive = node->head == RC_HEAD_OR; /* the value of a child that settles the matter */
    struct rc_truth all = {!decisive, RC_NEVER}, settled = {decisive, INT64_MIN};
    bool found = false;
    for (size_t i = 0; i < node->n_children; i++) {
        struct rc_truth one = rc_eval_scoped(eval, node->children[i], scope);
        if (one.value == decisive) {
            found = true;
            if (one.next_ms > settled.next_ms)
                settled.next_ms = one.next_ms;
            if (settled.next_ms == RC_NEVER)
                break;
        } else {
            all.next_ms = least(all.next_ms, one.next_ms);
        }
    }
    return found ? settled : all;
}

static struct rc_truth eval_segment(struct rc_eval *eval, const struct rc_node *node, struct rc_scope scope) {
    int64_t first = INT64_MAX;
    for (size_t d = 0; d < eval->plan->catalog->n_datasets; d++)
        if (node->exists_in[d])
            first = least(first, eval->person->first_ms[d]);
    if (first > eval->t)
        return (struct rc_truth){false, first};
    return rc_eval_scoped(eval, node->children[0], scope);
}

static struct rc_truth eval_any(struct rc_eval *eval, const struct rc_node *node, struct rc_scope scope) {
    switch (node->head) {
    case RC_HEAD_AND:
    case RC_HEAD_OR: return eval_junction(eval, node, scope);
    case RC_HEAD_NOT: {
        struct rc_truth truth = rc_eval_scoped(eval, node->children[0], scope);
        truth.value = !truth.value;
        return truth;
    }
    case RC_HEAD_SEGMENT: return eval_segment(eval, node, scope);
    case RC_HEAD_SEQUENCE: return rc_eval_sequence(eval, node, scope);
    case RC_HEAD_SESSION: return eval_session(eval, node, scope);
    default: return eval_leaf(eval, node, scope);
    }
}

struct rc_truth rc_eval_scoped(struct rc_eval *eval, uint32_t node_index, struct rc_scope scope) {
    const struct rc_node *node = &eval->plan->nodes[node_index];
    struct rc_memo *memo = &eval->memos[node_index];
    if (scope.session && node->head != RC_HEAD_SEGMENT)
        return eval_any(eval, node, scope);
    scope =
        (struct rc_scope){.from = INT64_MIN, .to = eval->t}; /* a segment is about all events, wherever it is named */
    if (memo->stamp != eval->stamp) {
        struct rc_truth truth = eval_any(eval, node, scope);
        *memo = (struct rc_memo){eval->stamp, truth};
    }
    return memo->truth;
}

struct rc_truth rc_eval_node(struct rc_eval *eval, uint32_t node) {
    return rc_eval_scoped(eval, node, (struct rc_scope){.from = INT64_MIN, .to = eval->t});
}

bool rc_eval_empty(const struct rc_plan *plan, uint32_t node) {
    struct rc_strings strings;
    struct rc_eval eval;
    rc_strings_init(&strings);
    rc_eval_init(&eval, plan, &strings);
    struct rc_person *person = rc_person_new(plan, rc_span_str("nobody"));
    for (size_t d = 0; d < plan->catalog->n_datasets; d++)
        person->first_ms[d] = 0;
    rc_eval_at(&eval, person, 1);
    struct rc_truth truth = rc_eval_node(&eval, node);
    rc_person_free(person, plan, &strings);
    rc_eval_deinit(&eval);
    rc_strings_deinit(&strings);
    return truth.value || truth.next_ms != RC_NEVER;
}
