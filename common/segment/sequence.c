/* Sequences (definitions.md §3, "Sequences"): is there a run?
 *
 * Step by step over the units. After each unit we hold, for every end that a run so far can have, the latest start of its first unit that
 * such a run can have: the latest is the best for `span`, and nothing else of the past matters to what follows. An absence between two
 * units is a question to one ordered column: is there an entry strictly between? */
#include "segment/evaluate.h"

#include <stdlib.h>
#include <string.h>

/* One match of a unit; `origin` is the best start of the first unit among the runs that end with it. */
struct match {
    int64_t start, end, origin;
};

struct matches {
    struct match *items; /* in the arena */
    size_t n;
};

/* Ordered timestamps, those of one value of `same` where there is one. */
struct times {
    const int64_t *at;
    size_t n;
};

struct run {
    struct rc_eval *eval;
    const struct rc_node *node;
    struct rc_range window; /* S: where units lie */
    struct rc_scope scope;  /* A: where absences are looked for */
    bool same;
    int64_t value; /* the common value */
};

static struct times times_of(const struct run *run, uint32_t series_index, int64_t from, int64_t to) {
    const struct rc_series *series = rc_person_series(run->eval->person, series_index);
    if (!series || from > to)
        return (struct times){NULL, 0};
    uint32_t first = rc_series_lower(series, from), end = rc_series_upper(series, to);
    if (end <= first)
        return (struct times){NULL, 0};
    if (!run->same)
        return (struct times){series->ts + first, end - first};
    int64_t *at = rc_arena_alloc(&run->eval->arena, (size_t)(end - first) * sizeof *at);
    size_t n = 0;
    for (uint32_t i = first; i < end; i++)
        if (series->value[i] == run->value)
            at[n++] = series->ts[i];
    return (struct times){at, n};
}

/* Number of times < at. */
static size_t before(struct times times, int64_t at) {
    size_t lo = 0, hi = times.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (times.at[mid] < at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Is there a time in [from, to]? */
static bool any_in(struct times times, int64_t from, int64_t to) {
    size_t i = before(times, from);
    return from <= to && i < times.n && times.at[i] <= to;
}

static int64_t plus(int64_t a, int64_t b) {
    int64_t r;
    return __builtin_add_overflow(a, b, &r) ? (b > 0 ? INT64_MAX : INT64_MIN) : r;
}

/* ---- the matches of a unit -------------------------------------------------------------------------------------------- */

static struct matches event_matches(const struct run *run, const struct rc_step_plan *step) {
    struct times times = times_of(run, step->series[0], run->window.from, run->window.to);
    struct matches out = {rc_arena_alloc(&run->eval->arena, times.n * sizeof *out.items), 0};
    for (size_t i = 0; i < times.n; i++)
        if (i == 0 || times.at[i] != times.at[i - 1])
            out.items[out.n++] = (struct match){.start = times.at[i], .end = times.at[i]};
    return out;
}

static int compare_times(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Can one event for every predicate be chosen from [from, to] so that the least is at `from` and the greatest at `to`? Choices are
 * free of each other, so all that can go wrong is that one predicate alone would have to serve both ends. */
static bool each_fits(const struct times *times, size_t n, int64_t from, int64_t to) {
    size_t at_from = 0, at_to = 0, only_from = 0, only_to = 0;
    for (size_t p = 0; p < n; p++) {
        if (!any_in(times[p], from, to))
            return false;
        if (any_in(times[p], from, from)) {
            at_from++;
            only_from = p;
        }
        if (any_in(times[p], to, to)) {
            at_to++;
            only_to = p;
        }
    }
    if (from == to)
        return at_from == n;
    return at_from > 0 && at_to > 0 && !(at_from == 1 && at_to == 1 && only_from == only_to);
}

static struct matches each_matches(const struct run *run, const struct rc_step_plan *step) {
    struct rc_arena *arena = &run->eval->arena;
    struct times *times = rc_arena_alloc(arena, step->n_series * sizeof *times);
    size_t total = 0;
    for (size_t p = 0; p < step->n_series; p++) {
        times[p] = times_of(run, step->series[p], run->window.from, run->window.to);
        if (times[p].n == 0)
            return (struct matches){NULL, 0};
        total += times[p].n;
    }
    int64_t *points = rc_arena_alloc(arena, total * sizeof *points);
    size_t n = 0;
    for (size_t p = 0; p < step->n_series; p++)
        for (size_t i = 0; i < times[p].n; i++)
            points[n++] = times[p].at[i];
    qsort(points, n, sizeof *points, compare_times);
    size_t distinct = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || points[i] != points[distinct - 1])
            points[distinct++] = points[i];
    struct matches out = {NULL, 0};
    size_t capacity = 0;
    for (size_t a = 0; a < distinct; a++) {
        for (size_t b = a; b < distinct; b++) {
            if (!each_fits(times, step->n_series, points[a], points[b]))
                continue;
            if (out.n == capacity) {
                capacity = capacity ? capacity * 2 : 16;
                struct match *more = rc_arena_alloc(arena, capacity * sizeof *more);
                if (out.n)
                    memcpy(more, out.items, out.n * sizeof *more);
                out.items = more;
            }
            out.items[out.n++] = (struct match){.start = points[a], .end = points[b]};
        }
    }
    return out;
}

static struct matches session_matches(const struct run *run, const struct rc_step_plan *step, int64_t *next_ms) {
    struct rc_eval *eval = run->eval;
    const struct rc_series *series = rc_person_series(eval->person, run->node->sessions);
    size_t n;
    struct rc_session *sessions = rc_eval_sessions(eval, series, run->node->timeout_ms, run->window, &n);
    struct matches out = {rc_arena_alloc(&eval->arena, n * sizeof *out.items), 0};
    for (size_t i = 0; i < n; i++) {
        struct rc_truth truth = rc_eval_scoped(
            eval, step->session, (struct rc_scope){.from = sessions[i].from, .to = sessions[i].to, .session = true});
        if (truth.next_ms < *next_ms)
            *next_ms = truth.next_ms;
        if (truth.value && (!step->closed || eval->t > plus(sessions[i].to, run->node->timeout_ms)))
            out.items[out.n++] = (struct match){.start = sessions[i].from, .end = sessions[i].to};
    }
    return out;
}

static struct matches unit_matches(const struct run *run, const struct rc_step_plan *step, int64_t *next_ms) {
    switch (step->kind) {
    case RC_STEP_EVENT: return event_matches(run, step);
    case RC_STEP_EACH: return each_matches(run, step);
    default: return session_matches(run, step, next_ms);
    }
}

/* ---- absences --------------------------------------------------------------------------------------------------------- */

static bool absent_before(const struct run *run, const struct rc_step_plan *step, int64_t start) {
    if (step->within_ms == RC_NO_DURATION)
        return !any_in(times_of(run, step->series[0], run->window.from, run->window.to), run->window.from, start - 1);
    int64_t from = plus(start, -step->within_ms);
    if (from < run->scope.from)
        from = run->scope.from;
    return !any_in(times_of(run, step->series[0], from, start - 1), from, start - 1);
}

static bool absent_after(const struct run *run, const struct rc_step_plan *step, int64_t end) {
    int64_t to = run->scope.to;
    if (step->within_ms != RC_NO_DURATION) {
        int64_t until = plus(end, step->within_ms);
        if (run->eval->t < until)
            return false;
        to = until < to ? until : to;
    }
    return !any_in(times_of(run, step->series[0], plus(end, 1), to), plus(end, 1), to);
}

/* ---- the run ---------------------------------------------------------------------------------------------------------- */

static int compare_ends(const void *a, const void *b) {
    const struct match *x = a, *y = b;
    return (x->end > y->end) - (x->end < y->end);
}

/* Keeps those matches that a run can reach from `so_far`, with the best origin of each. */
static struct matches extend(const struct run *run, struct matches so_far, const struct rc_step_plan *absence,
                             const struct rc_step_plan *step, struct matches unit) {
    struct times between = {NULL, 0};
    if (absence)
        between = times_of(run, absence->series[0], run->scope.from, run->scope.to);
    size_t kept = 0;
    for (size_t i = 0; i < unit.n; i++) {
        struct match m = unit.items[i];
        bool found = false;
        /* Ends that qualify: within the bounds, and after the last absent event before this start. */
        int64_t from = step->within_ms == RC_NO_DURATION ? INT64_MIN : plus(m.start, -step->within_ms);
        int64_t to = step->after_ms == RC_NO_DURATION ? m.start - 1 : plus(m.start, -step->after_ms - 1);
        if (to >= m.start)
            to = m.start - 1;
        size_t earlier = before(between, m.start);
        if (earlier > 0 && between.at[earlier - 1] > from)
            from = between.at[earlier - 1];
        size_t lo = 0, hi = so_far.n;
        while (lo < hi) {
            size_t mid = lo + (hi - lo) / 2;
            if (so_far.items[mid].end < from)
                lo = mid + 1;
            else
                hi = mid;
        }
        for (; lo < so_far.n && so_far.items[lo].end <= to; lo++) {
            if (!found || so_far.items[lo].origin > m.origin)
                m.origin = so_far.items[lo].origin;
            found = true;
            if (run->node->cond->span_ms == RC_NO_DURATION)
                break; /* without a span one run is as good as another */
        }
        if (found)
            unit.items[kept++] = m;
    }
    unit.n = kept;
    return unit;
}

static bool run_exists(const struct run *run, int64_t *next_ms) {
    const struct rc_node *node = run->node;
    struct matches so_far = {NULL, 0};
    const struct rc_step_plan *absence = NULL;
    bool first = true;
    for (size_t s = 0; s < node->n_steps; s++) {
        const struct rc_step_plan *step = &node->steps[s];
        if (step->kind == RC_STEP_NONE) {
            absence = step;
            continue;
        }
        struct matches unit = unit_matches(run, step, next_ms);
        if (first) {
            size_t kept = 0;
            for (size_t i = 0; i < unit.n; i++) {
                if (absence && !absent_before(run, absence, unit.items[i].start))
                    continue;
                unit.items[kept] = unit.items[i];
                unit.items[kept].origin = unit.items[i].start;
                kept++;
            }
            unit.n = kept;
        } else {
            unit = extend(run, so_far, absence, step, unit);
        }
        first = false;
        absence = NULL;
        so_far = unit;
        if (so_far.n == 0 && node->sessions == RC_NONE)
            return false;
        if (so_far.n > 1 && step->kind == RC_STEP_EACH) /* events and sessions come in the order of their ends */
            qsort(so_far.items, so_far.n, sizeof *so_far.items, compare_ends);
    }
    for (size_t i = 0; i < so_far.n; i++) {
        const struct match *m = &so_far.items[i];
        if (node->cond->span_ms != RC_NO_DURATION && m->end - m->origin > node->cond->span_ms)
            continue;
        if (!absence || absent_after(run, absence, m->end))
            return true;
    }
    return false;
}

/* The values that the first unit's events hold: a run can have no other common one. */
static const struct rc_series *value_source(const struct rc_eval *eval, const struct rc_node *node) {
    for (size_t s = 0; s < node->n_steps; s++)
        if (node->steps[s].kind != RC_STEP_NONE)
            return rc_person_series(eval->person, node->steps[s].series[0]);
    return NULL;
}

static bool any_value(struct run *run, int64_t *next_ms) {
    const struct rc_series *series = value_source(run->eval, run->node);
    uint32_t first = rc_series_lower(series, run->window.from), end = rc_series_upper(series, run->window.to);
    if (end <= first)
        return false;
    size_t n = end - first;
    int64_t *values = rc_arena_alloc(&run->eval->arena, n * sizeof *values);
    memcpy(values, series->value + first, n * sizeof *values);
    qsort(values, n, sizeof *values, compare_times);
    run->same = true;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && values[i] == values[i - 1])
            continue;
        run->value = values[i];
        if (run_exists(run, next_ms))
            return true;
    }
    return false;
}

/* When may the answer change? When an entry of any step enters or leaves the window, when a closing absence is old enough, when a session
 * enters, leaves or is over. */
static int64_t sequence_next(const struct rc_eval *eval, const struct rc_node *node) {
    const struct rc_step_plan *last = &node->steps[node->n_steps - 1];
    int64_t closing = last->kind == RC_STEP_NONE && last->within_ms != RC_NO_DURATION ? last->within_ms : RC_NEVER;
    int64_t next = RC_NEVER;
    for (size_t s = 0; s < node->n_steps; s++) {
        for (size_t i = 0; i < node->steps[s].n_series; i++) {
            const struct rc_series *series = rc_person_series(eval->person, node->steps[s].series[i]);
            int64_t at = rc_series_next(eval, series, node->chain, closing);
            next = at < next ? at : next;
        }
    }
    const struct rc_series *sessions =
        node->sessions == RC_NONE ? NULL : rc_person_series(eval->person, node->sessions);
    if (!sessions)
        return next;
    int64_t at = rc_series_next(eval, sessions, node->chain, RC_NEVER);
    next = at < next ? at : next;
    for (uint32_t i = 0; i < sessions->n; i++) {
        int64_t over = plus(plus(sessions->value[i], node->timeout_ms), 1);
        int64_t closes = closing == RC_NEVER ? RC_NEVER : plus(sessions->value[i], closing);
        if (over > eval->t && over < next)
            next = over;
        if (closes > eval->t && closes < next)
            next = closes;
    }
    return next;
}

struct rc_truth rc_eval_sequence(struct rc_eval *eval, const struct rc_node *node, struct rc_scope scope) {
    struct run run = {.eval = eval, .node = node, .window = rc_eval_range(eval, node->chain, scope), .scope = scope};
    struct rc_truth truth = {false, sequence_next(eval, node)};
    truth.value = node->cond->has_field ? any_value(&run, &truth.next_ms) : run_exists(&run, &truth.next_ms);
    return truth;
}
