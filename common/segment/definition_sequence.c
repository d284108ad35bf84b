/* Owns the reading of a sequence's steps (definitions.md §3, Sequences). Must not know how runs are found. The mistake that it prevents: an
 * absence whose bounds are unclear: `within` between two units, two absences in a row, no unit at all. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "segment/definition_parse.h"

static const struct {
    const char *name;
    enum rc_step_kind kind;
    const char *keys[4];
    size_t n_keys;
} steps[] = {
    {"event", RC_STEP_EVENT, {"event", "within", "after"}, 3},
    {"each", RC_STEP_EACH, {"each", "within", "after"}, 3},
    {"session", RC_STEP_SESSION, {"session", "closed", "within", "after"}, 4},
    {"none", RC_STEP_NONE, {"none", "within"}, 2},
};
#define N_STEPS RC_DEF_COUNT(steps)

static rc_status find_kind(const struct rc_def_node *node, size_t *out) {
    const char *words[N_STEPS];
    size_t n = 0;
    RC_DEF_TRY(rc_def_object(node, "a step, like {\"event\": {\"field\": \"type\", \"eq\": \"purchase\"}}"));
    for (size_t i = 0; i < N_STEPS; i++) {
        words[i] = steps[i].name;
        if (!rc_def_has(node, words[i]))
            continue;
        if (n++)
            return rc_def_fail(node, "found both \"%s\" and \"%s\", expected exactly one in a step", steps[*out].name,
                               words[i]);
        *out = i;
    }
    if (n)
        return RC_OK;
    for (void *at = json_object_iter(node->value); at; at = json_object_iter_next(node->value, at)) {
        struct rc_def_node key = rc_def_get(node, json_object_iter_key(at));
        if (strcmp(key.key, "within") != 0 && strcmp(key.key, "after") != 0 && strcmp(key.key, "closed") != 0)
            return rc_def_unknown_word(&key, "key", key.key, words, N_STEPS);
    }
    return rc_def_fail(node, "says no step, expected one of event, each, session, none");
}

static rc_status read_step(const struct rc_def_node *node, struct rc_def_scope *scope, struct rc_def_place place,
                           bool same, struct rc_step *out) {
    size_t kind = 0;
    out->within_ms = out->after_ms = RC_NO_DURATION;
    RC_DEF_TRY(find_kind(node, &kind));
    RC_DEF_TRY(rc_def_count_node(node, scope));
    out->kind = steps[kind].kind;
    struct rc_def_node below = rc_def_get(node, steps[kind].name), within = rc_def_get(node, "within"),
                       after = rc_def_get(node, "after"), closed = rc_def_get(node, "closed");
    if (out->kind == RC_STEP_NONE && after.value)
        return rc_def_fail(&after, "an absence takes no \"after\"; expected none, within");
    RC_DEF_TRY(rc_def_keys(node, steps[kind].keys, steps[kind].n_keys));
    if (within.value)
        RC_DEF_TRY(rc_def_duration(&within, &out->within_ms));
    if (after.value)
        RC_DEF_TRY(rc_def_duration(&after, &out->after_ms));
    if (out->kind == RC_STEP_SESSION) {
        if (place.in_session)
            return rc_def_fail(&below, "a session step inside a session: a session has no sessions of its own");
        if (same)
            return rc_def_fail(&below, "a session step together with \"same\": \"same\" is about single events");
        if (closed.value)
            RC_DEF_TRY(rc_def_bool(&closed, &out->closed));
        return rc_def_cond(&below, scope, (struct rc_def_place){.depth = place.depth, .in_session = true},
                           &out->session);
    }
    size_t n = 1;
    if (out->kind == RC_STEP_EACH) {
        RC_DEF_TRY(rc_def_array(&below, "an array of conditions about an event"));
        n = json_array_size(below.value);
        if (n == 0)
            return rc_def_unexpected(&below, "at least one condition about an event");
    }
    out->preds = rc_calloc(n, sizeof(struct rc_pred *));
    out->n_preds = n;
    for (size_t i = 0; i < n; i++) {
        struct rc_def_node item = out->kind == RC_STEP_EACH ? rc_def_at(&below, i) : below;
        RC_DEF_TRY(rc_def_pred(&item, scope, 1, &out->preds[i]));
    }
    return RC_OK;
}

/* What can be said of the steps together only. `node` is the array. */
static rc_status check_steps(const struct rc_def_node *node, const struct rc_cond *cond) {
    size_t first = cond->n_steps, last = 0;
    for (size_t i = 0; i < cond->n_steps; i++)
        if (cond->steps[i].kind != RC_STEP_NONE) {
            first = first == cond->n_steps ? i : first;
            last = i;
        }
    if (first == cond->n_steps)
        return rc_def_fail(
            node,
            "has no step that matches something, expected at least one of event, each, session (for an absence alone, "
            "write {\"not\": {\"event\": …}})");
    for (size_t i = 0; i < cond->n_steps; i++) {
        const struct rc_step *step = &cond->steps[i];
        struct rc_def_node at = rc_def_at(node, i), within = rc_def_get(&at, "within"),
                           after = rc_def_get(&at, "after");
        bool none = step->kind == RC_STEP_NONE;
        if (i == first && (within.value || after.value))
            return rc_def_fail(within.value ? &within : &after,
                               "the first step that matches something has no step before it to count from");
        if (none && i && cond->steps[i - 1].kind == RC_STEP_NONE)
            return rc_def_fail(&at, "two absences in a row: write one, {\"none\": {\"or\": […]}}");
        if (none && within.value && i > first && i < last)
            return rc_def_fail(&within, "an absence between two steps lasts from the one to the other and takes no "
                                        "\"within\"; put \"within\" on "
                                        "the step after it");
    }
    return RC_OK;
}

rc_status rc_def_sequence(const struct rc_def_node *node, struct rc_def_scope *scope, struct rc_def_place place,
                          struct rc_cond *out) {
    struct rc_def_node list = rc_def_get(node, "sequence"), span = rc_def_get(node, "span");
    if (span.value)
        RC_DEF_TRY(rc_def_duration(&span, &out->span_ms));
    RC_DEF_TRY(rc_def_array(&list, "an array of steps"));
    size_t n = json_array_size(list.value);
    out->steps = rc_calloc(n, sizeof *out->steps);
    for (size_t i = 0; i < n; i++) {
        struct rc_def_node item = rc_def_at(&list, i);
        out->n_steps++; /* counted before it is filled: half-filled, it must be released */
        RC_DEF_TRY(read_step(&item, scope, place, out->has_field, &out->steps[i]));
    }
    return check_steps(&list, out);
}
