/* What a segment rests on: which series it reads and how far back, what class of state that makes, when a new entry cannot matter to it,
 * and which segments are one and the same. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "segment/evaluate.h"
#include "segment/plan.h"

/* ---- the class of state ------------------------------------------------------------------------------------------------ */

static int64_t unit_ms(enum rc_calendar_unit unit) {
    const int64_t hour = 3600000;
    switch (unit) {
    case RC_HOUR: return hour;
    case RC_DAY: return 25 * hour;
    case RC_WEEK: return 7 * 24 * hour + hour;
    case RC_MONTH: return 31 * 24 * hour + hour;
    case RC_QUARTER: return 92 * 24 * hour + hour;
    case RC_YEAR: return 366 * 24 * hour + hour;
    }
    return RC_NEVER;
}

/* How far back of T the chain can reach, at most; -1: without bound. */
static int64_t chain_lookback(const struct rc_chain *chain) {
    int64_t least = RC_NEVER;
    for (size_t i = 0; i < chain->n; i++) {
        const struct rc_window *w = &chain->windows[i];
        int64_t one = RC_NEVER;
        if (w->form == RC_WINDOW_SLIDING)
            one = w->last_ms;
        else if (w->form == RC_WINDOW_CALENDAR && w->count < INT32_MAX)
            one = unit_ms(w->unit) * (w->count + (w->complete ? 1 : 0));
        if (one < least)
            least = one;
    }
    return least == RC_NEVER ? -1 : least;
}

static bool keeps_few(const struct rc_series_plan *series) {
    return series->keep == RC_KEEP_LATEST_K || series->keep == RC_KEEP_DISTINCT_K || series->keep == RC_KEEP_LATEST ||
           series->keep == RC_KEEP_FIRST;
}

static const char *keep_reason(const struct rc_series_plan *series) {
    switch (series->keep) {
    case RC_KEEP_LATEST_K: return "the latest matches that the count needs";
    case RC_KEEP_DISTINCT_K: return "the latest match of each of the values seen last";
    case RC_KEEP_SAME_K: return "the latest matches of each value";
    case RC_KEEP_SUM: return "the latest matches until their sum passes the threshold";
    case RC_KEEP_MAX:
    case RC_KEEP_MIN: return "matches that no later one surpasses";
    case RC_KEEP_LATEST: return "the last match";
    case RC_KEEP_FIRST: return "the first match";
    case RC_KEEP_SESSIONS: return "first and last timestamp of each session";
    case RC_KEEP_ALL: break;
    }
    return "every match";
}

/* Notes `segment` on the series below `node`, and the worst of what they keep. */
static void visit_series(struct rc_plan *plan, uint32_t node_index, uint32_t segment, struct rc_segment_plan *out,
                         struct rc_buf *why) {
    const struct rc_node *node = &plan->nodes[node_index];
    for (size_t i = 0; i < node->n_children; i++)
        visit_series(plan, node->children[i], segment, out, why);
    uint32_t direct[2] = {node->series, node->sessions};
    const uint32_t *lists[2] = {direct, NULL};
    size_t counts[2] = {2, 0};
    for (size_t s = 0; s <= node->n_steps; s++) {
        if (s > 0) {
            const struct rc_step_plan *step = &node->steps[s - 1];
            if (step->kind == RC_STEP_SESSION)
                visit_series(plan, step->session, segment, out, why);
            lists[1] = step->series;
            counts[1] = step->n_series;
        }
        const uint32_t *list = s == 0 ? lists[0] : lists[1];
        for (size_t i = 0; i < (s == 0 ? counts[0] : counts[1]); i++) {
            if (list[i] == RC_NONE)
                continue;
            struct rc_series_plan *series = &plan->series[list[i]];
            series->warms |= !rc_plan_decides(plan, segment);
            if (out->leader == segment && rc_plan_decides(plan, segment) &&
                (series->n_dependents == 0 || series->dependents[series->n_dependents - 1].segment != segment)) {
                rc_grow(&series->dependents, &series->cap_dependents, series->n_dependents + 1,
                        sizeof *series->dependents);
                series->dependents[series->n_dependents++] = (struct rc_dependent){.segment = segment};
            }
            int64_t lookback = -1;
            for (size_t r = 0; r < series->n_reaches; r++) {
                int64_t one = chain_lookback(&plan->chains[series->reaches[r].chain]);
                if (one < 0) {
                    lookback = -1;
                    break;
                }
                if (one + series->reaches[r].extra_ms > lookback)
                    lookback = one + series->reaches[r].extra_ms;
            }
            enum rc_state_class class = keeps_few(series) ? RC_STATE_BOUNDED
                                        : lookback < 0    ? RC_STATE_ALL_HISTORY
                                                          : RC_STATE_PER_WINDOW;
            if (class > out->state_class || why->len == 0) {
                out->state_class = class > out->state_class ? class : out->state_class;
                rc_buf_reset(why);
                rc_buf_printf(why, "keeps %s%s", keep_reason(series),
                              class == RC_STATE_PER_WINDOW    ? " in the window"
                              : class == RC_STATE_ALL_HISTORY ? ", and no window lets any of it go"
                                                              : "");
                if (series->k)
                    rc_buf_printf(why, " (%u)", series->k);
            }
            if (lookback < 0 || out->lookback_ms < 0)
                out->lookback_ms = -1;
            else if (lookback > out->lookback_ms)
                out->lookback_ms = lookback;
        }
    }
}

/* ---- when a new entry cannot matter ------------------------------------------------------------------------------------- */

/* Can more events make the node true, and never false? */
static bool is_rising(const struct rc_plan *plan, uint32_t node_index) {
    const struct rc_node *node = &plan->nodes[node_index];
    switch (node->head) {
    case RC_HEAD_AND:
    case RC_HEAD_OR:
    case RC_HEAD_SEGMENT:
        for (size_t i = 0; i < node->n_children; i++)
            if (!is_rising(plan, node->children[i]))
                return false;
        return true;
    case RC_HEAD_EVENT:
    case RC_HEAD_DISTINCT: return rc_cmp_only_lower(&node->cond->cmp);
    case RC_HEAD_SUM: return plan->series[node->series].keep == RC_KEEP_SUM && rc_cmp_only_lower(&node->cond->cmp);
    default: return false;
    }
}

/* The least level of `series` at which some condition below the node that looks at it can hold; -1 when one of them knows no such level,
 * INT128's largest when none looks at it. */
static __int128 least_need(const struct rc_plan *plan, uint32_t node_index, uint32_t series) {
    const __int128 none = (__int128)(~(unsigned __int128)0 >> 1);
    const struct rc_node *node = &plan->nodes[node_index];
    __int128 least = none;
    if (node->sessions == series)
        return -1;
    if (node->series == series) {
        bool counted = node->head == RC_HEAD_EVENT || node->head == RC_HEAD_DISTINCT;
        if (!(counted || (node->head == RC_HEAD_SUM && plan->series[series].keep == RC_KEEP_SUM)) ||
            !rc_cmp_only_lower(&node->cond->cmp))
            return -1;
        return rc_cmp_greatest_bound(&node->cond->cmp);
    }
    for (size_t i = 0; i < node->n_children; i++) {
        __int128 need = least_need(plan, node->children[i], series);
        least = need < least ? need : least;
    }
    for (size_t s = 0; s < node->n_steps; s++) {
        const struct rc_step_plan *step = &node->steps[s];
        if (step->kind == RC_STEP_SESSION && least_need(plan, step->session, series) != none)
            return -1;
        for (size_t i = 0; i < step->n_series; i++)
            if (step->series[i] == series)
                return -1;
    }
    return least;
}

static int compare_needs(const void *a, const void *b) {
    const struct rc_dependent *x = a, *y = b;
    if (x->need != y->need)
        return x->need < y->need ? -1 : 1;
    return (x->segment > y->segment) - (x->segment < y->segment);
}

static void order_dependents(struct rc_plan *plan, uint32_t series_index) {
    struct rc_series_plan *series = &plan->series[series_index];
    for (size_t i = 0; i < series->n_dependents; i++) {
        struct rc_dependent *d = &series->dependents[i];
        d->rising = is_rising(plan, plan->segments[d->segment].node);
        d->need = least_need(plan, plan->segments[d->segment].node, series_index);
    }
    if (series->n_dependents)
        qsort(series->dependents, series->n_dependents, sizeof *series->dependents, compare_needs);
}

/* Segments that read alike share a node; the first of them stands for all. */
void rc_plan_find_twins(struct rc_plan *plan) {
    uint32_t *last = rc_alloc((plan->n_nodes + 1) * sizeof *last);
    memset(last, 0xff, (plan->n_nodes + 1) * sizeof *last);
    for (uint32_t s = 0; s < plan->n_segments; s++) {
        struct rc_segment_plan *segment = &plan->segments[s];
        segment->leader = s;
        segment->next_twin = RC_NONE;
        if (segment->node == RC_NONE || !rc_plan_decides(plan, s))
            continue; /* an existence; or nobody stands for it, and it stands for nobody */
        if (last[segment->node] != RC_NONE) {
            segment->leader = plan->segments[last[segment->node]].leader;
            plan->segments[last[segment->node]].next_twin = s;
        }
        last[segment->node] = s;
    }
    free(last);
}

void rc_plan_find_dependents(struct rc_plan *plan) {
    struct rc_buf why;
    rc_buf_init(&why, 4096);
    for (uint32_t s = 0; s < plan->catalog->n_segments; s++) {
        rc_buf_reset(&why);
        visit_series(plan, plan->segments[s].node, s, &plan->segments[s], &why);
        plan->segments[s].reason = rc_strdup(why.len ? why.data : "keeps nothing but that the person exists");
    }
    rc_buf_deinit(&why);
    for (uint32_t i = 0; i < plan->n_series; i++)
        order_dependents(plan, i);
}

/* ---- persons who are new ------------------------------------------------------------------------------------------------ */

/* Is there a segment at or below the node with other datasets than `exists_in`? Then the whole may wait for a person to exist in one of them. */
static bool refers_elsewhere(const struct rc_plan *plan, uint32_t node_index, const bool *exists_in) {
    const struct rc_node *node = &plan->nodes[node_index];
    if (node->head == RC_HEAD_SEGMENT &&
        memcmp(exists_in, node->exists_in, plan->catalog->n_datasets * sizeof(bool)) != 0)
        return true;
    for (size_t i = 0; i < node->n_children; i++)
        if (refers_elsewhere(plan, node->children[i], exists_in))
            return true;
    for (size_t i = 0; i < node->n_steps; i++)
        if (node->steps[i].kind == RC_STEP_SESSION && refers_elsewhere(plan, node->steps[i].session, exists_in))
            return true;
    return false;
}

void rc_plan_find_births(struct rc_plan *plan) {
    for (uint32_t s = 0; s < plan->catalog->n_segments; s++) {
        uint32_t node = plan->segments[s].node;
        plan->segments[s].born_changing =
            rc_eval_empty(plan, node) || refers_elsewhere(plan, node, plan->nodes[node].exists_in);
    }
}
