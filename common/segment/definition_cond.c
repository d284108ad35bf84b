/* Owns the reading of conditions about a person (definitions.md §3), but for the steps of sequences (definition_sequence.c).
 * Must not know how a condition is computed. The mistake that it prevents: a condition that can be read in two ways, or that means something
 * else than it says (a window on a reference, two heads in one object). */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "segment/definition_parse.h"

/* Heads, the other keys that may stand with each, and whether it takes a field of numbers only. */
#define MAX_KEYS 5
static const struct {
    const char *name;
    enum rc_head head;
    const char *keys[MAX_KEYS]; /* the head itself first; NULL ends them */
    bool numbers;
} heads[] = {
    {"and", RC_HEAD_AND, {"and", "window"}, false},
    {"or", RC_HEAD_OR, {"or", "window"}, false},
    {"not", RC_HEAD_NOT, {"not", "window"}, false},
    {"event", RC_HEAD_EVENT, {"event", "count", "same", "window"}, false},
    {"sum", RC_HEAD_SUM, {"sum", "where", "is", "window"}, true},
    {"min", RC_HEAD_MIN, {"min", "where", "is", "window"}, true},
    {"max", RC_HEAD_MAX, {"max", "where", "is", "window"}, true},
    {"avg", RC_HEAD_AVG, {"avg", "where", "is", "window"}, true},
    {"distinct", RC_HEAD_DISTINCT, {"distinct", "where", "is", "window"}, false},
    {"latest", RC_HEAD_LATEST, {"latest", "where", "is", "window"}, false},
    {"first", RC_HEAD_FIRST, {"first", "where", "is", "window"}, false},
    {"sequence", RC_HEAD_SEQUENCE, {"sequence", "same", "span", "window"}, false},
    {"session", RC_HEAD_SESSION, {"session", "count", "closed", "window"}, false},
    {"segment", RC_HEAD_SEGMENT, {"segment"}, false},
};
#define N_HEADS RC_DEF_COUNT(heads)
#define ONE ((__int128)RC_FIXED_SCALE)

rc_status rc_def_count_node(const struct rc_def_node *node, struct rc_def_scope *scope) {
    if (++scope->nodes > RC_MAX_SEGMENT_NODES)
        return rc_def_fail(
            node,
            "more than %d nodes (conditions, steps and tests) in one definition: split it into segments that refer to "
            "each other",
            RC_MAX_SEGMENT_NODES);
    return RC_OK;
}

static rc_status find_head(const struct rc_def_node *node, size_t *out) {
    size_t n = 0;
    const char *words[N_HEADS];
    for (size_t i = 0; i < N_HEADS; i++) {
        words[i] = heads[i].name;
        if (!rc_def_has(node, words[i]))
            continue;
        if (n++)
            return rc_def_fail(node, "found both \"%s\" and \"%s\", expected exactly one head: join them with \"and\"",
                               heads[*out].name, words[i]);
        *out = i;
    }
    if (n)
        return RC_OK;
    for (void *at = json_object_iter(node->value); at; at = json_object_iter_next(node->value, at)) {
        struct rc_def_node key = rc_def_get(node, json_object_iter_key(at));
        static const char *const others[] = {"window", "count", "same", "where", "is", "span", "closed"};
        bool other = false;
        for (size_t i = 0; i < RC_DEF_COUNT(others); i++)
            other = other || strcmp(others[i], key.key) == 0;
        if (strcmp(key.key, "field") == 0)
            return rc_def_fail(&key, "a test on an event's field stands inside a condition about a person: write "
                                     "{\"event\": {\"field\": …}}");
        if (!other)
            return rc_def_unknown_word(&key, "key", key.key, words, N_HEADS);
    }
    return rc_def_fail(node, "says no condition, expected one of and, or, not, event, sum, min, max, avg, distinct, "
                             "latest, first, sequence, "
                             "session, segment");
}

static rc_status read_children(const struct rc_def_node *node, struct rc_def_scope *scope, struct rc_def_place place,
                               struct rc_cond *out) {
    RC_DEF_TRY(rc_def_array(node, "an array of conditions"));
    size_t n = json_array_size(node->value);
    out->children = rc_calloc(n, sizeof(struct rc_cond *));
    out->n_children = n;
    for (size_t i = 0; i < n; i++) {
        struct rc_def_node item = rc_def_at(node, i);
        RC_DEF_TRY(rc_def_cond(&item, scope, place, &out->children[i]));
    }
    return RC_OK;
}

static rc_status read_child(const struct rc_def_node *node, struct rc_def_scope *scope, struct rc_def_place place,
                            struct rc_cond *out) {
    out->children = rc_calloc(1, sizeof(struct rc_cond *));
    out->n_children = 1;
    return rc_def_cond(node, scope, place, &out->children[0]);
}

/* `count` of events and sessions. */
static rc_status read_count(const struct rc_def_node *node, struct rc_cond *out) {
    struct rc_def_node count = rc_def_get(node, "count");
    out->cmp.n = 1;
    out->cmp.terms[0].op = RC_CMP_GE;
    out->cmp.terms[0].value = ONE;
    return count.value ? rc_def_cmp(&count, &out->cmp) : RC_OK;
}

static rc_status read_same(const struct rc_def_node *node, const struct rc_def_scope *scope, struct rc_cond *out) {
    struct rc_def_node same = rc_def_get(node, "same");
    if (!same.value)
        return RC_OK;
    out->has_field = true;
    return rc_def_field(&same, scope, &out->field);
}

static rc_status read_event(const struct rc_def_node *node, struct rc_def_scope *scope, struct rc_cond *out) {
    struct rc_def_node event = rc_def_get(node, "event");
    RC_DEF_TRY(rc_def_pred(&event, scope, 1, &out->where));
    RC_DEF_TRY(read_count(node, out));
    RC_DEF_TRY(read_same(node, scope, out));
    if (out->has_field && rc_def_cmp_holds(&out->cmp, 0)) {
        struct rc_def_node count = rc_def_get(node, "count");
        return rc_def_fail(
            &count,
            "0 satisfies it, and with \"same\" every value that was never seen would do; expected a comparison that 0 "
            "does not satisfy, like {\"ge\": 2}");
    }
    return RC_OK;
}

/* The field and `where` of an aggregate. */
static rc_status read_aggregate(const struct rc_def_node *node, struct rc_def_scope *scope, size_t head,
                                struct rc_cond *out) {
    struct rc_def_node field = rc_def_get(node, heads[head].name), where = rc_def_get(node, "where");
    out->has_field = true;
    RC_DEF_TRY(rc_def_field(&field, scope, &out->field));
    if (heads[head].numbers && !rc_def_is_number(out->field.type))
        return rc_def_fail(&field, "field \"%s\" is a %s, but \"%s\" is for numbers (long, double, decimal)",
                           out->field.name, rc_def_type_name(out->field.type), heads[head].name);
    return where.value ? rc_def_pred(&where, scope, 1, &out->where) : RC_OK;
}

static rc_status read_is(const struct rc_def_node *node, struct rc_def_scope *scope, size_t head, struct rc_cond *out) {
    struct rc_def_node is = rc_def_get(node, "is");
    bool operators = heads[head].head == RC_HEAD_LATEST || heads[head].head == RC_HEAD_FIRST;
    if (!operators)
        return rc_def_cmp(&is, &out->cmp);
    RC_DEF_TRY(rc_def_object(&is, "operators like {\"eq\": \"gold\"}"));
    return rc_def_clauses(&is, scope, out->field.type, false, NULL, 0, &out->is);
}

static rc_status read_session(const struct rc_def_node *node, struct rc_def_scope *scope, struct rc_def_place place,
                              struct rc_cond *out) {
    struct rc_def_node session = rc_def_get(node, "session"), closed = rc_def_get(node, "closed");
    if (place.in_session)
        return rc_def_fail(&session, "a session inside a session: a session has no sessions of its own");
    RC_DEF_TRY(read_count(node, out));
    if (closed.value)
        RC_DEF_TRY(rc_def_bool(&closed, &out->closed));
    return read_child(&session, scope, (struct rc_def_place){.depth = place.depth, .in_session = true}, out);
}

static rc_status fill(const struct rc_def_node *node, struct rc_def_scope *scope, struct rc_def_place place,
                      struct rc_cond *out) {
    size_t head = 0, n_keys = 0;
    RC_DEF_TRY(find_head(node, &head));
    while (n_keys < MAX_KEYS && heads[head].keys[n_keys])
        n_keys++;
    out->head = heads[head].head;
    struct rc_def_node below = rc_def_get(node, heads[head].name), window = rc_def_get(node, "window");
    if (out->head == RC_HEAD_SEGMENT && window.value)
        return rc_def_fail(&window, "a reference to a segment takes no window: the segment that it names has its own");
    RC_DEF_TRY(rc_def_keys(node, heads[head].keys, n_keys));
    if (window.value)
        RC_DEF_TRY(rc_def_window(&window, &out->window));
    struct rc_def_place inner = {.depth = place.depth + 1, .in_session = place.in_session};
    switch (out->head) {
    case RC_HEAD_AND:
    case RC_HEAD_OR: return read_children(&below, scope, inner, out);
    case RC_HEAD_NOT: return read_child(&below, scope, inner, out);
    case RC_HEAD_EVENT: return read_event(node, scope, out);
    case RC_HEAD_SUM:
    case RC_HEAD_MIN:
    case RC_HEAD_MAX:
    case RC_HEAD_AVG:
    case RC_HEAD_DISTINCT:
    case RC_HEAD_LATEST:
    case RC_HEAD_FIRST: RC_DEF_TRY(read_aggregate(node, scope, head, out)); return read_is(node, scope, head, out);
    case RC_HEAD_SEQUENCE: RC_DEF_TRY(read_same(node, scope, out)); return rc_def_sequence(node, scope, inner, out);
    case RC_HEAD_SESSION: return read_session(node, scope, inner, out);
    case RC_HEAD_SEGMENT: return rc_def_reference(&below, scope->catalog, RC_KIND_SEGMENT, &out->segment);
    }
    return RC_FAIL;
}

static struct rc_cond *new_cond(const struct rc_def_node *node) {
    struct rc_cond *cond = rc_calloc(1, sizeof *cond);
    cond->span_ms = RC_NO_DURATION;
    cond->path = rc_def_path_below_root(node);
    return cond;
}

rc_status rc_def_cond(const struct rc_def_node *node, struct rc_def_scope *scope, struct rc_def_place place,
                      struct rc_cond **out) {
    RC_DEF_TRY(rc_def_object(
        node, "a condition about a person, like {\"event\": {\"field\": \"type\", \"eq\": \"purchase\"}}"));
    if (place.depth > RC_MAX_CONDITION_DEPTH)
        return rc_def_fail(node, "nested deeper than %d conditions: split it into segments that refer to each other",
                           RC_MAX_CONDITION_DEPTH);
    RC_DEF_TRY(rc_def_count_node(node, scope));
    *out = new_cond(node);
    return fill(node, scope, place, *out);
}

rc_status rc_def_value(const struct rc_def_node *node, struct rc_def_scope *scope, struct rc_cond **out) {
    const char *words[N_HEADS];
    size_t n = 0, found = N_HEADS;
    RC_DEF_TRY(rc_def_object(node, "a value, like {\"event\": {}} or {\"sum\": \"total\"}"));
    for (size_t i = 0; i < N_HEADS; i++) {
        if (heads[i].head < RC_HEAD_EVENT || heads[i].head > RC_HEAD_FIRST)
            continue;
        words[n++] = heads[i].name;
        if (!rc_def_has(node, heads[i].name))
            continue;
        if (found < N_HEADS)
            return rc_def_fail(node, "found both \"%s\" and \"%s\", expected exactly one", heads[found].name,
                               heads[i].name);
        found = i;
    }
    if (found == N_HEADS) {
        if (json_object_size(node->value) == 0)
            return rc_def_fail(node,
                               "says no value, expected one of event, sum, min, max, avg, distinct, latest, first");
        struct rc_def_node key = rc_def_get(node, json_object_iter_key(json_object_iter(node->value)));
        return rc_def_unknown_word(&key, "key", key.key, words, n);
    }
    *out = new_cond(node);
    (*out)->head = heads[found].head;
    const char *const keys[] = {heads[found].name, "where"};
    struct rc_def_node event = rc_def_get(node, "event");
    RC_DEF_TRY(rc_def_keys(node, keys, heads[found].head == RC_HEAD_EVENT ? 1 : 2));
    return event.value ? rc_def_pred(&event, scope, 1, &(*out)->where) : read_aggregate(node, scope, found, *out);
}
