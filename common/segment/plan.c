/* Compiles a catalog's segments to the shared graph of plan.h. Equal things are found by a text that describes them whole: two
 * conditions that read alike become one node, two nodes that need the same entries share one series. */
#include "segment/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/alloc.h"
#include "segment/evaluate.h"
#include "segment/names.h"

#define TEXT_LIMIT (16u << 20)
#define K_LIMIT 10000 /* more latest entries than this are kept as "all in the window" */

/* Where a condition stands while it is compiled. */
struct place {
    const struct rc_segment *segment; /* whose condition it is */
    uint32_t domain;
    const struct rc_window
        *windows[40]; /* around the condition; a CONDITION nests 32 deep at most, and the segment has a window */
    size_t n_windows;
    uint32_t session_chain; /* RC_NONE: not inside a session; else the windows that a session must start in */
};

static uint32_t compile_cond(struct rc_plan *plan, const struct rc_cond *cond, struct place place);

/* ---- describing ------------------------------------------------------------------------------------------------------- */

static void describe_window(struct rc_buf *out, const struct rc_window *w) {
    rc_buf_printf(out, "w%d,%lld,%lld,%d,%lld,%d,%lld,%lld;", (int)w->form, (long long)w->last_ms,
                  (long long)w->except_last_ms, (int)w->unit, (long long)w->count, w->complete, (long long)w->from_ms,
                  (long long)w->to_ms);
}

static void describe_cmp(struct rc_buf *out, const struct rc_cmp *cmp) {
    for (size_t i = 0; i < cmp->n; i++)
        rc_buf_printf(out, "c%d,%llx,%llx;", (int)cmp->terms[i].op, (unsigned long long)(cmp->terms[i].value >> 64),
                      (unsigned long long)cmp->terms[i].value);
}

static void describe_datasets(struct rc_buf *out, const struct rc_plan *plan, const bool *datasets) {
    for (size_t d = 0; d < plan->catalog->n_datasets; d++)
        if (datasets[d])
            rc_buf_printf(out, "%s ", plan->catalog->datasets[d].id);
}

/* ---- domains and chains ----------------------------------------------------------------------------------------------- */

static bool *segment_datasets(const struct rc_plan *plan, const struct rc_segment *segment) {
    bool *in = rc_calloc(plan->catalog->n_datasets, sizeof *in);
    for (size_t i = 0; i < segment->n_datasets; i++)
        in[segment->datasets[i]] = true;
    return in;
}

/* Adds the datasets of all segments that `cond` names, and of those that they name. References make no cycles. */
static void add_referred_datasets(const struct rc_plan *plan, const struct rc_cond *cond, bool *in) {
    if (cond->head == RC_HEAD_SEGMENT) {
        const struct rc_segment *other = &plan->catalog->segments[cond->segment];
        for (size_t i = 0; i < other->n_datasets; i++)
            in[other->datasets[i]] = true;
        add_referred_datasets(plan, other->where, in);
    }
    for (size_t i = 0; i < cond->n_children; i++)
        add_referred_datasets(plan, cond->children[i], in);
}

static uint32_t put_domain(struct rc_plan *plan, bool *datasets) {
    struct rc_buf text;
    rc_buf_init(&text, TEXT_LIMIT);
    describe_datasets(&text, plan, datasets);
    uint32_t at = rc_plan_names_put(plan->names, 'D', rc_buf_span(&text), (uint32_t)plan->n_domains);
    if (at == plan->n_domains) {
        struct rc_domain domain = {.datasets = datasets, .hash = XXH3_64bits(text.data, text.len)};
        for (size_t d = 0; d < plan->catalog->n_datasets; d++)
            if (datasets[d] && plan->catalog->datasets[d].grace_ms > domain.grace_ms)
                domain.grace_ms = plan->catalog->datasets[d].grace_ms;
        rc_grow(&plan->domains, &plan->cap_domains, plan->n_domains + 1, sizeof *plan->domains);
        plan->domains[plan->n_domains++] = domain;
    } else {
        free(datasets);
    }
    rc_buf_deinit(&text);
    return at;
}

static void describe_chain(struct rc_buf *out, const struct place *place) {
    rc_buf_printf(out, "%s:", rc_timezone_name(place->segment->timezone));
    for (size_t i = 0; i < place->n_windows; i++)
        describe_window(out, place->windows[i]);
}

static uint32_t put_chain(struct rc_plan *plan, const struct place *place) {
    struct rc_buf text;
    rc_buf_init(&text, TEXT_LIMIT);
    describe_chain(&text, place);
    uint32_t at = rc_plan_names_put(plan->names, 'C', rc_buf_span(&text), (uint32_t)plan->n_chains);
    rc_buf_deinit(&text);
    if (at < plan->n_chains)
        return at;
    struct rc_chain chain = {
        .n = place->n_windows, .timezone = place->segment->timezone, .plain = true, .sliding_ms = RC_NEVER};
    chain.windows = rc_calloc(chain.n, sizeof *chain.windows);
    chain.only_sliding = true;
    for (size_t i = 0; i < chain.n; i++) {
        const struct rc_window *w = place->windows[i];
        chain.windows[i] = *w;
        if (w->form == RC_WINDOW_SLIDING && w->last_ms < chain.sliding_ms)
            chain.sliding_ms = w->last_ms;
        chain.plain &= !(w->form == RC_WINDOW_SLIDING && w->except_last_ms > 0) &&
                       !(w->form == RC_WINDOW_CALENDAR && w->complete) &&
                       !(w->form == RC_WINDOW_FIXED && w->to_ms != INT64_MAX);
        chain.only_sliding &= w->form == RC_WINDOW_SLIDING || w->form == RC_WINDOW_ALL;
    }
    chain.only_sliding &= chain.plain;
    rc_grow(&plan->chains, &plan->cap_chains, plan->n_chains + 1, sizeof *plan->chains);
    plan->chains[plan->n_chains++] = chain;
    return at;
}

/* ---- predicates and series -------------------------------------------------------------------------------------------- */

static uint32_t put_predicate(struct rc_plan *plan, const struct rc_pred *pred) {
    struct rc_predicate *predicate = rc_predicate_new(&plan->slots, pred);
    struct rc_buf text;
    rc_buf_init(&text, TEXT_LIMIT);
    rc_predicate_describe(&text, &plan->slots, predicate);
    uint32_t at = rc_plan_names_put(plan->names, 'P', rc_buf_span(&text), (uint32_t)plan->n_predicates);
    rc_buf_deinit(&text);
    if (at < plan->n_predicates) {
        rc_predicate_free(predicate);
        return at;
    }
    rc_grow(&plan->predicates, &plan->cap_predicates, plan->n_predicates + 1, sizeof(struct rc_predicate *));
    plan->predicates[plan->n_predicates++] = predicate;
    return at;
}

static void add_reach(struct rc_series_plan *series, uint32_t chain, int64_t extra_ms) {
    for (size_t i = 0; i < series->n_reaches; i++) {
        if (series->reaches[i].chain == chain) {
            if (series->reaches[i].extra_ms < extra_ms)
                series->reaches[i].extra_ms = extra_ms;
            return;
        }
    }
    rc_grow(&series->reaches, &series->cap_reaches, series->n_reaches + 1, sizeof *series->reaches);
    series->reaches[series->n_reaches++] = (struct rc_reach){chain, extra_ms};
}

/* The series that is like `want` (predicate, value, keep … filled), made when it is new; what its users need is joined. */
static uint32_t put_series(struct rc_plan *plan, const struct place *place, const struct rc_pred *pred,
                           const struct rc_field_ref *value, struct rc_series_plan want, uint32_t chain,
                           int64_t extra_ms) {
    want.domain = place->domain;
    want.generation = place->segment->generation;
    want.predicate = put_predicate(plan, pred);
    want.value_slot = value ? rc_slots_field(&plan->slots, value) : RC_NONE;
    want.value_type = value ? value->type : RC_LONG;
    want.in_dataset = segment_datasets(plan, place->segment);
    struct rc_buf text;
    rc_buf_init(&text, TEXT_LIMIT);
    describe_datasets(&text, plan, plan->domains[want.domain].datasets);
    rc_buf_add_byte(&text, '|');
    describe_datasets(&text, plan, want.in_dataset);
    rc_buf_add_byte(&text, '|');
    rc_predicate_describe(&text, &plan->slots, plan->predicates[want.predicate]);
    rc_buf_printf(&text, "|%s,%d,%d,%d,%d,%d,%lld|", value ? value->name : "", (int)want.value_type, want.by_element,
                  want.unique_values, want.keeps_order, (int)want.keep, (long long)want.timeout_ms);
    if (want.keep == RC_KEEP_LATEST_K && !plan->chains[chain].plain)
        describe_chain(&text, place);
    if (place->segment->generation)
        rc_buf_printf(&text, "@%lld", (long long)place->segment->generation);
    uint32_t at = rc_plan_names_put(plan->names, 'S', rc_buf_span(&text), (uint32_t)plan->n_series);
    if (at == plan->n_series) {
        want.hash = XXH3_64bits(text.data, text.len);
        rc_grow(&plan->series, &plan->cap_series, plan->n_series + 1, sizeof *plan->series);
        plan->series[plan->n_series++] = want;
    } else {
        struct rc_series_plan *have = &plan->series[at];
        free(want.in_dataset);
        have->k = want.k > have->k ? want.k : have->k;
        have->limit = want.limit > have->limit ? want.limit : have->limit;
    }
    rc_buf_deinit(&text);
    /* Inside a session what counts is how far back a session may have started. */
    add_reach(&plan->series[at], place->session_chain == RC_NONE ? chain : place->session_chain, extra_ms);
    return at;
}

/* How many latest entries decide a comparison of their number: one more than the greatest bound, or the bound itself for `ge`.
 * 0: it depends on none (then one is kept, for simplicity); K_LIMIT + 1: too many to bound. */
static uint32_t entries_needed(const struct rc_cmp *cmp) {
    __int128 most = 1;
    for (size_t i = 0; i < cmp->n; i++) {
        __int128 value = cmp->terms[i].value;
        __int128 whole = value / RC_FIXED_SCALE;
        if (value < 0)
            continue;
        bool fraction = value % RC_FIXED_SCALE != 0;
        __int128 need = cmp->terms[i].op == RC_CMP_GE && !fraction ? whole : whole + 1;
        if (need > most)
            most = need;
    }
    return most > K_LIMIT ? K_LIMIT + 1 : (uint32_t)most;
}

static bool never_negative(const struct rc_plan *plan, const struct rc_segment *segment,
                           const struct rc_field_ref *field) {
    for (size_t i = 0; i < segment->n_datasets; i++) {
        const struct rc_dataset *dataset = &plan->catalog->datasets[segment->datasets[i]];
        for (size_t f = 0; f < dataset->n_fields; f++)
            if (strcmp(dataset->fields[f].name, field->name) == 0 &&
                !(dataset->fields[f].has_min && dataset->fields[f].min >= 0))
                return false;
    }
    return true;
}

/* What a count or an aggregate needs to keep. */
static uint32_t put_leaf_series(struct rc_plan *plan, const struct rc_cond *cond, const struct place *place,
                                uint32_t chain) {
    bool plain = plan->chains[chain].plain && place->session_chain == RC_NONE;
    struct rc_series_plan want = {.keep = RC_KEEP_ALL};
    uint32_t k = entries_needed(&cond->cmp);
    bool counted = cond->head == RC_HEAD_EVENT;
    want.by_element = !counted && cond->field.element;
    want.unique_values = counted || cond->head == RC_HEAD_DISTINCT;
    switch (cond->head) {
    case RC_HEAD_EVENT:
        if (cond->has_field && plain && k <= K_LIMIT)
            want.keep = RC_KEEP_SAME_K;
        else if (!cond->has_field && place->session_chain == RC_NONE && k <= K_LIMIT)
            want.keep = RC_KEEP_LATEST_K;
        break;
    case RC_HEAD_DISTINCT:
        if (plain && k <= K_LIMIT)
            want.keep = RC_KEEP_DISTINCT_K;
        break;
    case RC_HEAD_SUM:
        if (plain && never_negative(plan, place->segment, &cond->field)) {
            want.keep = RC_KEEP_SUM;
            want.limit = rc_cmp_greatest_bound(&cond->cmp);
        }
        break;
    case RC_HEAD_MAX: want.keep = plain ? RC_KEEP_MAX : RC_KEEP_ALL; break;
    case RC_HEAD_MIN: want.keep = plain ? RC_KEEP_MIN : RC_KEEP_ALL; break;
    case RC_HEAD_LATEST:
        want.keeps_order = true;
        want.keep = plain ? RC_KEEP_LATEST : RC_KEEP_ALL;
        break;
    case RC_HEAD_FIRST:
        want.keeps_order = true;
        want.keep = plain && plan->chains[chain].n == 0 ? RC_KEEP_FIRST : RC_KEEP_ALL;
        break;
    default: break;
    }
    if (want.keep == RC_KEEP_LATEST_K || want.keep == RC_KEEP_SAME_K || want.keep == RC_KEEP_DISTINCT_K)
        want.k = k;
    return put_series(plan, place, cond->where, cond->has_field ? &cond->field : NULL, want, chain, 0);
}

static uint32_t put_sessions(struct rc_plan *plan, const struct place *place, uint32_t chain) {
    struct rc_series_plan want = {.keep = RC_KEEP_SESSIONS, .timeout_ms = place->segment->session_timeout_ms};
    return put_series(plan, place, NULL, NULL, want, chain, want.timeout_ms);
}

/* ---- nodes ------------------------------------------------------------------------------------------------------------ */

static void node_deinit(struct rc_node *node) {
    for (size_t i = 0; i < node->n_steps; i++)
        free(node->steps[i].series);
    free(node->steps);
    free(node->children);
    free(node->exists_in);
}

/* The node that is like `node`, made when it is new. Takes what `node` owns. */
static uint32_t put_node(struct rc_plan *plan, struct rc_node node) {
    struct rc_buf text;
    rc_buf_init(&text, TEXT_LIMIT);
    rc_buf_printf(&text, "%d|%u|%u|%u|%u|%lld|%d|", (int)node.head, node.domain, node.chain, node.series, node.sessions,
                  (long long)node.timeout_ms, node.in_session);
    if (node.head == RC_HEAD_SEGMENT)
        describe_datasets(&text, plan, node.exists_in);
    for (size_t i = 0; i < node.n_children; i++)
        rc_buf_printf(&text, "n%u", node.children[i]);
    for (size_t i = 0; i < node.n_steps; i++) {
        const struct rc_step_plan *step = &node.steps[i];
        rc_buf_printf(&text, "/%d,%u,%d,%lld,%lld", (int)step->kind, step->session, step->closed,
                      (long long)step->within_ms, (long long)step->after_ms);
        for (size_t k = 0; k < step->n_series; k++)
            rc_buf_printf(&text, "s%u", step->series[k]);
    }
    if (node.cond) {
        describe_cmp(&text, &node.cond->cmp);
        rc_buf_printf(&text, "|%d%d%lld|", node.cond->has_field, node.cond->closed, (long long)node.cond->span_ms);
        /* The operators of latest and first as a TEST on the field: the same text for the same operators. */
        if (node.head == RC_HEAD_LATEST || node.head == RC_HEAD_FIRST) {
            uint32_t slot = rc_slots_field(&plan->slots, &node.cond->field);
            struct rc_predicate test = {.kind = RC_PRED_TEST, .slot = slot, .clauses = &node.cond->is};
            rc_predicate_describe(&text, &plan->slots, &test);
        }
    }
    uint32_t at = rc_plan_names_put(plan->names, 'N', rc_buf_span(&text), (uint32_t)plan->n_nodes);
    rc_buf_deinit(&text);
    if (at < plan->n_nodes) {
        node_deinit(&node);
        return at;
    }
    rc_grow(&plan->nodes, &plan->cap_nodes, plan->n_nodes + 1, sizeof *plan->nodes);
    plan->nodes[plan->n_nodes++] = node;
    return at;
}

/* A whole segment in a domain: existence in its datasets, and its condition through its window. */
static uint32_t compile_segment(struct rc_plan *plan, const struct rc_segment *segment, uint32_t domain) {
    struct place place = {.segment = segment, .domain = domain, .session_chain = RC_NONE};
    if (segment->window.form != RC_WINDOW_ALL)
        place.windows[place.n_windows++] = &segment->window;
    uint32_t child = compile_cond(plan, segment->where, place);
    struct rc_node node = {
        .head = RC_HEAD_SEGMENT, .domain = domain, .series = RC_NONE, .sessions = RC_NONE, .n_children = 1};
    node.chain = put_chain(plan, &place);
    node.children = rc_calloc(1, sizeof *node.children);
    node.children[0] = child;
    node.exists_in = segment_datasets(plan, segment);
    return put_node(plan, node);
}

static void compile_steps(struct rc_plan *plan, const struct rc_cond *cond, const struct place *place,
                          struct rc_node *node) {
    const struct rc_field_ref *same = cond->has_field ? &cond->field : NULL;
    node->n_steps = cond->n_steps;
    node->steps = rc_calloc(cond->n_steps, sizeof *node->steps);
    for (size_t i = 0; i < cond->n_steps; i++) {
        const struct rc_step *step = &cond->steps[i];
        struct rc_step_plan *out = &node->steps[i];
        *out = (struct rc_step_plan){.kind = step->kind,
                                     .closed = step->closed,
                                     .within_ms = step->within_ms,
                                     .after_ms = step->after_ms,
                                     .session = RC_NONE};
        if (step->kind == RC_STEP_SESSION) {
            struct place inside = *place;
            inside.n_windows = 0;
            inside.session_chain = node->chain;
            node->sessions = put_sessions(plan, place, node->chain);
            uint32_t session = compile_cond(plan, step->session, inside);
            node->steps[i].session = session;
            continue;
        }
        /* An absence before the first unit looks further back than the window does. */
        int64_t extra = step->kind == RC_STEP_NONE && i == 0 && step->within_ms > 0 ? step->within_ms : 0;
        out->n_series = step->n_preds;
        out->series = rc_calloc(step->n_preds, sizeof *out->series);
        struct rc_series_plan want = {.keep = RC_KEEP_ALL, .unique_values = true};
        for (size_t k = 0; k < step->n_preds; k++)
            out->series[k] = put_series(plan, place, step->preds[k], same, want, node->chain, extra);
    }
}

static uint32_t compile_cond(struct rc_plan *plan, const struct rc_cond *cond, struct place place) {
    if (cond->head == RC_HEAD_SEGMENT)
        return compile_segment(plan, &plan->catalog->segments[cond->segment], place.domain);
    if (cond->window.form != RC_WINDOW_ALL)
        place.windows[place.n_windows++] = &cond->window;
    struct rc_node node = {
        .head = cond->head, .cond = cond, .domain = place.domain, .series = RC_NONE, .sessions = RC_NONE};
    node.chain = put_chain(plan, &place);
    node.in_session = place.session_chain != RC_NONE;
    node.timeout_ms = place.segment->session_timeout_ms;
    struct place inside = place;
    switch (cond->head) {
    case RC_HEAD_SESSION:
        node.sessions = put_sessions(plan, &place, node.chain);
        inside.n_windows = 0;
        inside.session_chain = node.chain;
        /* fall through */
    case RC_HEAD_AND:
    case RC_HEAD_OR:
    case RC_HEAD_NOT:
        node.n_children = cond->n_children;
        node.children = rc_calloc(cond->n_children, sizeof *node.children);
        for (size_t i = 0; i < cond->n_children; i++)
            node.children[i] = compile_cond(plan, cond->children[i], inside);
        break;
    case RC_HEAD_SEQUENCE: compile_steps(plan, cond, &place, &node); break;
    default: node.series = put_leaf_series(plan, cond, &place, node.chain); break;
    }
    return put_node(plan, node);
}

/* ---- the plan --------------------------------------------------------------------------------------------------------- */

static uint64_t definitions_hash(const struct rc_catalog *catalog) {
    uint64_t sum = 0; /* of hashes: the order of definitions does not matter */
    for (size_t i = 0; i < catalog->n_definitions; i++) {
        const struct rc_definition *d = &catalog->definitions[i];
        bool decided = d->role == RC_SEGMENT_SERVES || d->role == RC_SEGMENT_BACKFILLED;
        /* Beside the version that serves, whose text may change places with its own. */
        if (d->role == RC_SEGMENT_COUNTED)
            sum += XXH3_64bits_withSeed(d->json, strlen(d->json), RC_SEGMENT_COUNTED + (uint64_t)d->generation);
        if (strcmp(d->kind, "dataset") == 0 || (strcmp(d->kind, "segment") == 0 && decided))
            sum += XXH3_64bits_withSeed(d->json, strlen(d->json), (uint64_t)d->generation);
    }
    return sum;
}

static void compile_segments(struct rc_plan *plan) {
    const struct rc_catalog *catalog = plan->catalog;
    for (uint32_t s = 0; s < catalog->n_segments; s++) {
        const struct rc_segment *segment = &catalog->segments[s];
        bool *datasets = segment_datasets(plan, segment);
        add_referred_datasets(plan, segment->where, datasets);
        struct rc_segment_plan *out = &plan->segments[s];
        out->role = segment->role;
        out->domain = put_domain(plan, datasets);
        out->node = compile_segment(plan, segment, out->domain);
        out->id_hash = XXH3_64bits_withSeed(segment->id, strlen(segment->id), 's');
        if (out->role ==
            RC_SEGMENT_COUNTED) { /* who is in it is not in the version that comes after it under this name */
            const char *json = rc_catalog_definition(catalog, "segment", segment->id)->json;
            out->id_hash ^= XXH3_64bits(json, strlen(json));
        }
    }
    for (uint32_t d = 0; d < catalog->n_datasets; d++)
        plan->segments[catalog->n_segments + d].node = RC_NONE;
    rc_plan_find_twins(plan);
    rc_plan_find_dependents(plan);
    for (uint32_t d = 0; d < catalog->n_datasets; d++) {
        const char *id = catalog->datasets[d].id;
        bool *alone = rc_calloc(catalog->n_datasets, sizeof *alone);
        alone[d] = true;
        struct rc_segment_plan *out = &plan->segments[catalog->n_segments + d];
        out->domain = put_domain(plan, alone);
        out->id_hash = XXH3_64bits_withSeed(id, strlen(id), 'e');
        plan->dataset_hashes[d] = XXH3_64bits(id, strlen(id));
    }
}

rc_status rc_plan_compile(const struct rc_catalog *catalog, struct rc_plan **out, struct rc_error *err) {
    (void)err; /* a catalog that was built is sound; nothing below can fail on it */
    struct rc_plan *plan = rc_calloc(1, sizeof *plan);
    plan->catalog = catalog;
    plan->hash = definitions_hash(catalog);
    plan->names = rc_plan_names_new();
    rc_slots_init(&plan->slots, catalog);
    plan->n_segments = catalog->n_segments + catalog->n_datasets;
    plan->segments = rc_calloc(plan->n_segments, sizeof *plan->segments);
    plan->dispatch = rc_calloc(catalog->n_datasets, sizeof *plan->dispatch);
    plan->dataset_hashes = rc_calloc(catalog->n_datasets, sizeof *plan->dataset_hashes);
    compile_segments(plan);
    rc_plan_find_births(plan);
    for (uint32_t d = 0; d < catalog->n_datasets; d++)
        rc_dispatch_build(plan, d);
    for (uint32_t i = 0; i < plan->n_series; i++)
        rc_plan_names_put(plan->names, (char)RC_NAMED_SERIES, rc_span_of(&plan->series[i].hash, sizeof(uint64_t)), i);
    for (uint32_t i = 0; i < plan->n_segments; i++)
        rc_plan_names_put(plan->names, (char)RC_NAMED_SEGMENT, rc_span_of(&plan->segments[i].id_hash, sizeof(uint64_t)),
                          i);
    for (uint32_t i = 0; i < catalog->n_datasets; i++)
        rc_plan_names_put(plan->names, (char)RC_NAMED_DATASET, rc_span_of(&plan->dataset_hashes[i], sizeof(uint64_t)),
                          i);
    for (uint32_t i = 0; i < plan->n_domains; i++)
        rc_plan_names_put(plan->names, (char)RC_NAMED_DOMAIN, rc_span_of(&plan->domains[i].hash, sizeof(uint64_t)), i);
    *out = plan;
    return RC_OK;
}

uint32_t rc_plan_find(const struct rc_plan *plan, enum rc_named what, uint64_t hash) {
    return rc_plan_names_get(plan->names, (char)what, rc_span_of(&hash, sizeof hash));
}

void rc_plan_free(struct rc_plan *plan) {
    if (!plan)
        return;
    for (size_t i = 0; i < plan->n_predicates; i++)
        rc_predicate_free(plan->predicates[i]);
    for (size_t i = 0; i < plan->n_chains; i++)
        free(plan->chains[i].windows);
    for (size_t i = 0; i < plan->n_series; i++) {
        free(plan->series[i].in_dataset);
        free(plan->series[i].reaches);
        free(plan->series[i].dependents);
    }
    for (size_t i = 0; i < plan->n_nodes; i++)
        node_deinit(&plan->nodes[i]);
    for (size_t i = 0; i < plan->n_domains; i++)
        free(plan->domains[i].datasets);
    for (size_t i = 0; i < plan->n_segments; i++)
        free(plan->segments[i].reason);
    for (size_t d = 0; d < plan->catalog->n_datasets; d++)
        rc_dispatch_deinit(&plan->dispatch[d]);
    rc_slots_deinit(&plan->slots);
    rc_plan_names_free(plan->names);
    free(plan->predicates);
    free(plan->chains);
    free(plan->series);
    free(plan->nodes);
    free(plan->domains);
    free(plan->segments);
    free(plan->dispatch);
    free(plan->dataset_hashes);
    free(plan);
}

enum rc_state_class rc_plan_state_class(const struct rc_plan *plan, uint32_t segment, const char **reason) {
    *reason = plan->segments[segment].reason;
    return plan->segments[segment].state_class;
}

uint64_t rc_plan_hash(const struct rc_plan *plan) {
    return plan->hash;
}

int64_t rc_plan_lookback_ms(const struct rc_plan *plan, uint32_t segment) {
    return plan->segments[segment].lookback_ms;
}
