#include "segment/explain.h"

#include <stdio.h>

#include <xxhash.h>

#include "segment/evaluate.h"

#define MAX_INSTANTS 100000 /* looked at for the next change of the whole segment */

struct explanation {
    struct rc_eval *eval;
    const struct rc_explain_sources *sources;
    struct rc_buf *out;
    struct rc_span key;
};

uint64_t rc_event_hash(const struct rc_plan *plan, uint32_t dataset, struct rc_span event_id) {
    return XXH3_64bits_withSeed(event_id.data, event_id.len, plan->dataset_hashes[dataset]);
}

static const char *head_name(enum rc_head head) {
    static const char *const names[] = {"and", "or",       "not",    "event", "sum",      "min",     "max",
                                        "avg", "distinct", "latest", "first", "sequence", "session", "segment"};
    return names[head];
}

static const char *cmp_name(int op) {
    static const char *const names[] = {"eq", "ne", "lt", "le", "gt", "ge"};
    return names[op];
}

/* A number in fixed point as a JSON number without needless digits. */
static void add_fixed(struct rc_buf *out, __int128 value) {
    bool negative = value < 0;
    unsigned __int128 magnitude = negative ? -(unsigned __int128)value : (unsigned __int128)value;
    char digits[64];
    size_t at = sizeof digits;
    uint32_t fraction = (uint32_t)(magnitude % RC_FIXED_SCALE);
    magnitude /= RC_FIXED_SCALE;
    do {
        digits[--at] = (char)('0' + (int)(magnitude % 10));
        magnitude /= 10;
    } while (magnitude);
    rc_buf_printf(out, "%s%.*s", negative ? "-" : "", (int)(sizeof digits - at), digits + at);
    if (fraction) {
        char text[16];
        int n = 6;
        while (fraction % 10 == 0) {
            fraction /= 10;
            n--;
        }
        snprintf(text, sizeof text, ".%0*u", n, fraction);
        rc_buf_add_str(out, text);
    }
}

static void add_instant(struct rc_buf *out, const char *name, int64_t at_ms) {
    if (at_ms == RC_NEVER)
        rc_buf_printf(out, ", \"%s\": null", name);
    else
        rc_buf_printf(out, ", \"%s\": %lld", name, (long long)at_ms);
}

/* ---- events ----------------------------------------------------------------------------------------------------------- */

/* The entries of a series with from <= timestamp <= to, each event once. Gives how many of the oldest are left out. */
static uint32_t add_entries(struct explanation *x, const struct rc_series *series, int64_t from, int64_t to,
                            bool *any) {
    if (!series)
        return 0;
    uint32_t first = rc_series_lower(series, from), end = rc_series_upper(series, to);
    uint32_t most = x->sources->max_events,
             left_out = most && end > first && end - first > most ? end - first - most : 0;
    first += left_out;
    for (uint32_t i = first; i < end; i++) {
        if (i > first && series->ts[i] == series->ts[i - 1] && series->id[i] == series->id[i - 1])
            continue;
        size_t before = x->out->len;
        if (*any)
            rc_buf_add_str(x->out, ", ");
        struct rc_evidence evidence = {series->ts[i], series->id[i]};
        if (!x->sources->name || !x->sources->name(x->sources->ctx, x->key, evidence, x->out))
            rc_buf_printf(x->out, "{\"timestamp\": %lld, \"hash\": \"%016llx\"}", (long long)evidence.timestamp_ms,
                          (unsigned long long)evidence.id_hash);
        *any |= x->out->len > before;
    }
    return left_out;
}

static void add_left_out(struct rc_buf *out, const char *what, size_t n) {
    if (n)
        rc_buf_printf(out, ", \"%sLeftOut\": %zu", what, n);
}

static void add_events_of_range(struct explanation *x, const bool *datasets, int64_t from, int64_t to, bool *any) {
    if (!x->sources->events)
        return;
    size_t before = x->out->len;
    if (*any)
        rc_buf_add_str(x->out, ", ");
    size_t start = x->out->len;
    x->sources->events(x->sources->ctx, x->key, datasets, from, to, x->out);
    if (x->out->len == start)
        x->out->len = before;
    else
        *any = true;
}

/* ---- conditions ------------------------------------------------------------------------------------------------------- */

/* `cond` is the condition as it stands in the segment that is explained: a node that several have in common names but one of theirs. */
static void explain_node(struct explanation *x, uint32_t index, const struct rc_cond *cond, struct rc_scope scope);

static void explain_children(struct explanation *x, const struct rc_node *node, const struct rc_cond *cond,
                             struct rc_scope scope) {
    rc_buf_add_str(x->out, ", \"conditions\": [");
    for (size_t i = 0; i < node->n_children; i++) {
        if (i)
            rc_buf_add_str(x->out, ", ");
        explain_node(x, node->children[i], cond->children[i], scope);
    }
    rc_buf_add_byte(x->out, ']');
}

static void add_cmp(struct rc_buf *out, const struct rc_cmp *cmp) {
    rc_buf_add_str(out, ", \"is\": {");
    for (size_t i = 0; i < cmp->n; i++) {
        rc_buf_printf(out, "%s\"%s\": ", i ? ", " : "", cmp_name((int)cmp->terms[i].op));
        add_fixed(out, cmp->terms[i].value);
    }
    rc_buf_add_byte(out, '}');
}

/* The number that the condition compares, where it is one number. What is kept may be less than what there is (the K latest, a sum up to
 * its threshold): then it is told as a lower bound. */
static void add_value(struct explanation *x, const struct rc_node *node, const struct rc_series *series, uint32_t first,
                      uint32_t end) {
    const struct rc_series_plan *plan = &x->eval->plan->series[node->series];
    __int128 sum = 0, least = 0, most = 0;
    uint32_t distinct = 0;
    for (uint32_t i = first; i < end && series->value; i++) {
        __int128 value = plan->value_type == RC_LONG ? (__int128)series->value[i] * RC_FIXED_SCALE : series->value[i];
        bool seen = false;
        sum += value;
        least = i == first || value < least ? value : least;
        most = i == first || value > most ? value : most;
        for (uint32_t k = first; k < i && !seen; k++)
            seen = series->value[k] == series->value[i];
        distinct += !seen;
    }
    uint32_t n = end - first;
    bool pruned = (plan->keep == RC_KEEP_LATEST_K && n >= plan->k) ||
                  (plan->keep == RC_KEEP_DISTINCT_K && distinct >= plan->k) ||
                  (plan->keep == RC_KEEP_SUM && sum > plan->limit);
    __int128 value;
    switch (node->head) {
    case RC_HEAD_EVENT:
        if (node->cond->has_field)
            return;
        value = (__int128)n * RC_FIXED_SCALE;
        break;
    case RC_HEAD_DISTINCT: value = (__int128)distinct * RC_FIXED_SCALE; break;
    case RC_HEAD_SUM: value = sum; break;
    case RC_HEAD_AVG: value = n ? sum / n : 0; break;
    case RC_HEAD_MIN: value = least; break;
    case RC_HEAD_MAX: value = most; break;
    default: return;
    }
    bool none = n == 0 && (node->head == RC_HEAD_AVG || node->head == RC_HEAD_MIN || node->head == RC_HEAD_MAX);
    rc_buf_printf(x->out, ", \"%s\": ", pruned ? "valueAtLeast" : "value");
    if (none)
        rc_buf_add_str(x->out, "null");
    else
        add_fixed(x->out, value);
}

static void explain_leaf(struct explanation *x, const struct rc_node *node, struct rc_scope scope) {
    const struct rc_series *series = rc_person_series(x->eval->person, node->series);
    struct rc_range range = rc_eval_range(x->eval, node->chain, scope);
    uint32_t first = rc_series_lower(series, range.from), end = rc_series_upper(series, range.to);
    bool any = false;
    if (end < first)
        end = first;
    if (node->head == RC_HEAD_LATEST && end > first) { /* earlier ones may be there still, it does not rest on them */
        range.from = series->ts[end - 1];
    } else if (node->head == RC_HEAD_FIRST && end > first) {
        range.to = series->ts[first];
    } else if (node->head != RC_HEAD_LATEST && node->head != RC_HEAD_FIRST) {
        static const struct rc_series empty;
        add_value(x, node, series ? series : &empty, first, end);
        add_cmp(x->out, &node->cond->cmp);
    }
    if (node->cond->has_field)
        rc_buf_printf(x->out, ", \"field\": \"%s\"", node->cond->field.name);
    rc_buf_add_str(x->out, ", \"events\": [");
    uint32_t left_out = add_entries(x, series, range.from, range.to, &any);
    rc_buf_add_byte(x->out, ']');
    add_left_out(x->out, "events", left_out);
}

/* Where sessions are cut rests on every event of the datasets, so those of the sessions in scope are named all. So are those of a session
 * that runs into the window from before it: that none of its events begins a session in the window rests on the earlier ones. */
static void explain_sessions(struct explanation *x, const struct rc_node *node, struct rc_scope scope, uint32_t inner,
                             const struct rc_cond *cond, bool closed) {
    const struct rc_series *series = rc_person_series(x->eval->person, node->sessions);
    const bool *datasets = x->eval->plan->series[node->sessions].in_dataset;
    struct rc_range range = rc_eval_range(x->eval, node->chain, scope);
    size_t n;
    struct rc_session *sessions =
        rc_eval_sessions(x->eval, series, node->timeout_ms, (struct rc_range){INT64_MIN, range.to}, &n);
    bool any = false;
    size_t begin = 0, most = x->sources->max_events, left_out = 0;
    while (begin < n && sessions[begin].to < range.from)
        begin++;
    if (most && n - begin > most)
        left_out = n - begin - most;
    rc_buf_add_str(x->out, ", \"sessions\": [");
    for (size_t i = begin + left_out; i < n; i++) {
        struct rc_scope inside = {.from = sessions[i].from, .to = sessions[i].to, .session = true};
        bool in_scope = sessions[i].from >= range.from, over = x->eval->t > sessions[i].to + node->timeout_ms;
        bool counts = in_scope && (over || !closed) && rc_eval_scoped(x->eval, inner, inside).value, any_event = false;
        rc_buf_printf(x->out, "%s{\"first\": %lld, \"last\": %lld, \"inScope\": %s, \"over\": %s, \"counts\": %s",
                      any ? ", " : "", (long long)sessions[i].from, (long long)sessions[i].to,
                      in_scope ? "true" : "false", over ? "true" : "false", counts ? "true" : "false");
        if (in_scope) {
            rc_buf_add_str(x->out, ", \"condition\": ");
            explain_node(x, inner, cond, inside);
        }
        rc_buf_add_str(x->out, ", \"events\": [");
        add_events_of_range(x, datasets, sessions[i].from, sessions[i].to, &any_event);
        rc_buf_add_str(x->out, "]}");
        any = true;
    }
    rc_buf_add_byte(x->out, ']');
    add_left_out(x->out, "sessions", left_out);
}

static void explain_sequence(struct explanation *x, const struct rc_node *node, const struct rc_cond *cond,
                             struct rc_scope scope) {
    static const char *const kinds[] = {"event", "each", "session", "none"};
    rc_buf_add_str(x->out, ", \"steps\": [");
    for (size_t s = 0; s < node->n_steps; s++) {
        const struct rc_step_plan *step = &node->steps[s];
        bool any = false;
        rc_buf_printf(x->out, "%s{\"step\": \"%s\"", s ? ", " : "", kinds[step->kind]);
        if (step->kind == RC_STEP_SESSION) {
            explain_sessions(x, node, scope, step->session, cond->steps[s].session, step->closed);
        } else {
            rc_buf_add_str(x->out, ", \"events\": [");
            uint32_t left_out = 0;
            for (size_t i = 0; i < step->n_series; i++)
                left_out +=
                    add_entries(x, rc_person_series(x->eval->person, step->series[i]), scope.from, scope.to, &any);
            rc_buf_add_byte(x->out, ']');
            add_left_out(x->out, "events", left_out);
        }
        rc_buf_add_byte(x->out, '}');
    }
    rc_buf_add_byte(x->out, ']');
}

static void explain_existence(struct explanation *x, const struct rc_node *node) {
    int64_t first = INT64_MAX;
    bool any = false;
    for (size_t d = 0; d < x->eval->plan->catalog->n_datasets; d++)
        if (node->exists_in[d] && x->eval->person->first_ms[d] < first)
            first = x->eval->person->first_ms[d];
    bool exists = first <= x->eval->t;
    rc_buf_printf(x->out, ", \"exists\": %s", exists ? "true" : "false");
    if (!exists)
        return;
    rc_buf_printf(x->out, ", \"existsSince\": %lld, \"events\": [", (long long)first);
    add_events_of_range(x, node->exists_in, first, first, &any);
    rc_buf_add_byte(x->out, ']');
}

static void begin_node(struct explanation *x, const struct rc_node *node, const char *path, struct rc_truth truth) {
    rc_buf_printf(x->out, "{\"head\": \"%s\"", head_name(node->head));
    if (path)
        rc_buf_printf(x->out, ", \"path\": \"%s\"", path);
    rc_buf_printf(x->out, ", \"true\": %s", truth.value ? "true" : "false");
    add_instant(x->out, "mayChangeAt", truth.next_ms);
}

/* A whole segment; `path`: where it is referred to, NULL for the one that is explained. */
static void explain_segment(struct explanation *x, uint32_t index, const struct rc_segment *segment, const char *path) {
    const struct rc_node *node = &x->eval->plan->nodes[index];
    struct rc_scope scope = {.from = INT64_MIN, .to = x->eval->t};
    begin_node(x, node, path, rc_eval_scoped(x->eval, index, scope));
    rc_buf_printf(x->out, ", \"segment\": \"%s\"", segment->id);
    explain_existence(x, node);
    rc_buf_add_str(x->out, ", \"conditions\": [");
    explain_node(x, node->children[0], segment->where, scope);
    rc_buf_add_str(x->out, "]}");
}

static void explain_node(struct explanation *x, uint32_t index, const struct rc_cond *cond, struct rc_scope scope) {
    const struct rc_node *node = &x->eval->plan->nodes[index];
    if (node->head == RC_HEAD_SEGMENT) {
        explain_segment(x, index, &x->eval->plan->catalog->segments[cond->segment], cond->path);
        return;
    }
    begin_node(x, node, cond->path, rc_eval_scoped(x->eval, index, scope));
    switch (node->head) {
    case RC_HEAD_AND:
    case RC_HEAD_OR:
    case RC_HEAD_NOT: explain_children(x, node, cond, scope); break;
    case RC_HEAD_SEQUENCE: explain_sequence(x, node, cond, scope); break;
    case RC_HEAD_SESSION:
        add_cmp(x->out, &node->cond->cmp);
        explain_sessions(x, node, scope, node->children[0], cond->children[0], node->cond->closed);
        break;
    default: explain_leaf(x, node, scope); break;
    }
    rc_buf_add_byte(x->out, '}');
}

/* The next instant at which time alone changes the segment's own truth. `not_before`: the looking ended at that instant; RC_NEVER when it
 * came to an end. */
static int64_t next_change(struct rc_eval *eval, const struct rc_person *person, uint32_t node, int64_t t,
                           uint32_t max_instants, int64_t *not_before) {
    rc_eval_at(eval, person, t);
    struct rc_truth now = rc_eval_node(eval, node), then = now;
    *not_before = RC_NEVER;
    for (uint32_t i = 0; then.next_ms != RC_NEVER; i++) {
        t = then.next_ms;
        if (i == max_instants) {
            *not_before = t;
            return RC_NEVER;
        }
        rc_eval_at(eval, person, t);
        then = rc_eval_node(eval, node);
        if (then.value != now.value)
            return t;
    }
    return RC_NEVER;
}

rc_status rc_explain_person(struct rc_eval *eval, const struct rc_person *person, uint32_t segment, int64_t at_ms,
                            const struct rc_explain_sources *sources, struct rc_buf *out) {
    const struct rc_plan *plan = eval->plan;
    uint32_t node = plan->segments[segment].node;
    const struct rc_realized *realized = rc_person_realized(person, plan->segments[segment].leader);
    struct explanation x = {
        .eval = eval, .sources = sources, .out = out, .key = rc_span_of(person->key, person->key_len)};
    int64_t not_before, next = next_change(eval, person, node, at_ms,
                                           sources->max_instants ? sources->max_instants : MAX_INSTANTS, &not_before);
    rc_eval_at(eval, person, at_ms);
    bool member = person->quarantine ? realized != NULL : rc_eval_node(eval, node).value;
    rc_buf_printf(out, "{\"segment\": \"%s\", \"person\": ", plan->catalog->segments[segment].id);
    rc_buf_add_json_string(out, x.key);
    rc_buf_printf(out, ", \"at\": %lld, \"member\": %s", (long long)at_ms, member ? "true" : "false");
    if (realized && member)
        rc_buf_printf(out, ", \"since\": %lld", (long long)realized->since_ms);
    if (person->quarantine)
        rc_buf_add_str(out, ", \"quarantined\": true"); /* no event is kept: the conditions say nothing */
    add_instant(out, "next", next);
    if (not_before != RC_NEVER)
        add_instant(out, "nextNotBefore", not_before);
    rc_buf_add_str(out, ", \"condition\": ");
    explain_segment(&x, node, &plan->catalog->segments[segment], NULL);
    return rc_buf_add_byte(out, '}');
}
