#include "cli/targets.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "segment/population.h"

#define ID_BYTES 40

struct closure {
    const struct rc_catalog *from;
    bool *segments, *datasets; /* by index in `from`: wanted */
    uint32_t
        *todo; /* segments whose own references have not been followed: a chain may be as long as there are segments */
    size_t n_todo, n_followed;
};

/* ---- what a target rests on ---- */

static void want_segment(struct closure *closure, uint32_t segment) {
    if (closure->segments[segment])
        return;
    closure->segments[segment] = true;
    closure->todo[closure->n_todo++] = segment;
}

static void want_condition(struct closure *closure, const struct rc_cond *cond) {
    if (cond->head == RC_HEAD_SEGMENT)
        want_segment(closure, cond->segment);
    for (size_t i = 0; i < cond->n_children; i++)
        want_condition(closure, cond->children[i]);
    for (size_t i = 0; i < cond->n_steps; i++)
        if (cond->steps[i].session)
            want_condition(closure, cond->steps[i].session);
}

static void follow(struct closure *closure) {
    for (; closure->n_followed < closure->n_todo; closure->n_followed++) {
        const struct rc_segment *segment = &closure->from->segments[closure->todo[closure->n_followed]];
        for (size_t d = 0; d < segment->n_datasets; d++)
            closure->datasets[segment->datasets[d]] = true;
        want_condition(closure, segment->where);
    }
}

static void want_audience(struct closure *closure, const struct rc_audience_cond *cond) {
    if (cond->head == RC_AUDIENCE_SEGMENT)
        want_segment(closure, cond->segment);
    for (size_t i = 0; i < cond->n_children; i++)
        want_audience(closure, cond->children[i]);
}

/* ---- for whom a target's persons exist ---- */

static void note_datasets(const struct rc_catalog *from, uint32_t segment, bool *out) {
    for (size_t d = 0; d < from->segments[segment].n_datasets; d++)
        out[from->segments[segment].datasets[d]] = true;
}

static void note_named(const struct rc_catalog *from, const struct rc_audience_cond *cond, bool *out) {
    if (cond->head == RC_AUDIENCE_SEGMENT)
        note_datasets(from, cond->segment, out);
    for (size_t i = 0; i < cond->n_children; i++)
        note_named(from, cond->children[i], out);
}

static json_t *dataset_ids(const struct rc_catalog *from, const bool *datasets) {
    json_t *ids = json_array();
    for (size_t d = 0; d < from->n_datasets; d++)
        if (datasets[d])
            json_array_append_new(ids, json_string(from->datasets[d].id));
    return ids;
}

/* ---- the catalog ---- */

static rc_status add(struct rc_catalog_builder *builder, const struct rc_catalog *from, const char *kind,
                     const char *id, struct rc_error *err) {
    const struct rc_definition *d = rc_catalog_definition(from, kind, id);
    return rc_catalog_builder_add_applied(builder, rc_span_str(d->json), d->version > 0 ? d->version : 1, d->applied_ms,
                                          d->applied_by, err);
}

/* A segment that nobody wrote; `where` is taken. */
static rc_status add_made(struct rc_catalog_builder *builder, const char *id, json_t *datasets, json_t *where,
                          struct rc_error *err) {
    json_t *json = json_pack("{s:s, s:s, s:O, s:o}", "kind", "segment", "id", id, "dataset", datasets, "where", where);
    char *text = json_dumps(json, JSON_COMPACT);
    rc_status status = rc_catalog_builder_add_applied(builder, rc_span_str(text), 1, 0, NULL, err);
    free(text);
    json_decref(json);
    return status;
}

/* An id that no segment of `from` has. */
static void free_id(const struct rc_catalog *from, const char *what, size_t index, char out[ID_BYTES]) {
    for (size_t again = 0;; again++) {
        snprintf(out, ID_BYTES, "%s.%zu.%zu", what, index, again);
        if (rc_catalog_segment(from, out) < 0)
            return;
    }
}

static rc_status add_target(struct rc_catalog_builder *builder, const struct closure *closure,
                            const struct rc_cli_target *target, size_t index, struct rc_error *err) {
    const struct rc_catalog *from = closure->from;
    bool *datasets = rc_calloc(from->n_datasets, sizeof *datasets);
    int audience = strcmp(target->kind, "audience") == 0 ? rc_catalog_audience(from, target->id) : -1;
    if (audience >= 0)
        note_named(from, from->audiences[audience].where, datasets);
    else
        note_datasets(from, (uint32_t)rc_catalog_segment(from, target->id), datasets);
    json_t *ids = dataset_ids(from, datasets);
    free(datasets);
    char id[ID_BYTES];
    free_id(from, "everybody", index, id);
    rc_status status = add_made(builder, id, ids, json_pack("{s:[]}", "and"), err);
    if (status == RC_OK && audience >= 0) {
        json_t *json = json_loads(rc_catalog_definition(from, "audience", target->id)->json, 0, NULL);
        free_id(from, "audience", index, id);
        status = add_made(builder, id, ids, json_incref(json_object_get(json, "where")), err);
        json_decref(json);
    }
    json_decref(ids);
    return status == RC_OK ? RC_OK : rc_error_prefix(err, "%s/%s", target->kind, target->id);
}

/* ---- */

static void closure_init(struct closure *closure, const struct rc_catalog *from) {
    *closure = (struct closure){.from = from,
                                .segments = rc_calloc(from->n_segments, sizeof(bool)),
                                .datasets = rc_calloc(from->n_datasets, sizeof(bool)),
                                .todo = rc_calloc(from->n_segments, sizeof(uint32_t))};
}

static void closure_deinit(struct closure *closure) {
    free(closure->segments);
    free(closure->datasets);
    free(closure->todo);
}

static void want_target(struct closure *closure, const struct rc_cli_target *target) {
    if (strcmp(target->kind, "audience") == 0)
        want_audience(closure, closure->from->audiences[rc_catalog_audience(closure->from, target->id)].where);
    else
        want_segment(closure, (uint32_t)rc_catalog_segment(closure->from, target->id));
    follow(closure);
}

static void fill_target(const struct rc_catalog *from, const struct rc_catalog *made, struct rc_cli_target *target,
                        size_t index) {
    char id[ID_BYTES];
    free_id(from, "everybody", index, id);
    target->everybody = (uint32_t)rc_catalog_segment(made, id);
    free_id(from, "audience", index, id);
    bool audience = strcmp(target->kind, "audience") == 0;
    target->segment = (uint32_t)rc_catalog_segment(made, audience ? id : target->id);
    struct closure own;
    closure_init(&own, from);
    want_target(&own, target);
    target->rests_on = rc_calloc(made->n_datasets, sizeof *target->rests_on);
    for (size_t d = 0; d < from->n_datasets; d++)
        if (own.datasets[d])
            target->rests_on[rc_catalog_dataset(made, from->datasets[d].id)] = true;
    closure_deinit(&own);
}

static rc_status build(const struct rc_catalog *from, struct rc_cli_target *targets, size_t n, struct rc_catalog **out,
                       struct rc_error *err) {
    struct closure closure;
    closure_init(&closure, from);
    for (size_t i = 0; i < n; i++)
        want_target(&closure, &targets[i]);
    struct rc_catalog_builder builder;
    rc_catalog_builder_init(&builder);
    rc_status status = RC_OK;
    for (size_t d = 0; status == RC_OK && d < from->n_datasets; d++)
        if (closure.datasets[d])
            status = add(&builder, from, "dataset", from->datasets[d].id, err);
    for (size_t s = 0; status == RC_OK && s < from->n_segments; s++)
        if (closure.segments[s])
            status = add(&builder, from, "segment", from->segments[s].id, err);
    for (size_t i = 0; status == RC_OK && i < n; i++)
        status = add_target(&builder, &closure, &targets[i], i, err);
    if (status == RC_OK)
        status = rc_catalog_build(&builder, out, err);
    for (size_t i = 0; status == RC_OK && i < n; i++)
        fill_target(from, *out, &targets[i], i);
    rc_catalog_builder_deinit(&builder);
    closure_deinit(&closure);
    return status;
}

/* By itself: where several share what is kept, it is kept for as long as any of them needs it. */
static rc_status find_lookback(const struct rc_catalog *from, struct rc_cli_target *target, struct rc_error *err) {
    struct rc_cli_target alone = {.kind = target->kind, .id = target->id};
    struct rc_catalog *catalog = NULL;
    struct rc_plan *plan = NULL;
    rc_status status = build(from, &alone, 1, &catalog, err);
    if (status == RC_OK)
        status = rc_plan_compile(catalog, &plan, err);
    if (status == RC_OK)
        target->lookback_ms = rc_plan_lookback_ms(plan, alone.segment);
    rc_plan_free(plan);
    rc_catalog_free(catalog);
    rc_cli_targets_deinit(&alone, 1);
    return status;
}

rc_status rc_cli_targets_build(const struct rc_catalog *from, struct rc_cli_target *targets, size_t n,
                               struct rc_catalog **out, struct rc_error *err) {
    for (size_t i = 0; i < n; i++)
        if (find_lookback(from, &targets[i], err) != RC_OK)
            return RC_FAIL;
    return build(from, targets, n, out, err);
}

void rc_cli_targets_deinit(struct rc_cli_target *targets, size_t n) {
    for (size_t i = 0; i < n; i++) {
        free(targets[i].rests_on);
        targets[i].rests_on = NULL;
    }
}
