/* Owns questions about several definitions at once: who refers to whom, cycles, and whether one set of them may follow another.
 * Must not know JSON, but to compare two texts. The mistake that it prevents: a dataset whose person is found in another place from now on,
 * over state that was kept for the old one. */
#include "segment/definition_relations.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "segment/definition_parse.h"

#define MAX_SHOWN_CYCLE_BYTES 600

/* ---- references ------------------------------------------------------------------------------------------------------ */

typedef void (*segment_fn)(void *ctx, uint32_t segment, const char *path);

static void each_reference(const struct rc_cond *cond, segment_fn visit, void *ctx) {
    if (cond->head == RC_HEAD_SEGMENT)
        visit(ctx, cond->segment, cond->path);
    for (size_t i = 0; i < cond->n_children; i++)
        each_reference(cond->children[i], visit, ctx);
    for (size_t i = 0; i < cond->n_steps; i++)
        if (cond->steps[i].session)
            each_reference(cond->steps[i].session, visit, ctx);
}

struct edges { /* what one segment refers to */
    uint32_t *to;
    const char **paths; /* borrowed from the conditions */
    size_t n, capacity, paths_capacity;
};

static void add_edge(void *ctx, uint32_t segment, const char *path) {
    struct edges *edges = ctx;
    rc_grow(&edges->to, &edges->capacity, edges->n + 1, sizeof *edges->to);
    rc_grow(&edges->paths, &edges->paths_capacity, edges->n + 1, sizeof *edges->paths);
    edges->to[edges->n] = segment;
    edges->paths[edges->n++] = path;
}

struct visit { /* a segment on the way that is being walked, and the edge to follow next */
    uint32_t segment;
    size_t edge;
};

static rc_status tell_cycle(const struct rc_catalog *catalog, const struct visit *way, size_t n, uint32_t again,
                            const char *path, struct rc_error *err) {
    struct rc_buf text;
    size_t from = 0;
    rc_buf_init(&text, MAX_SHOWN_CYCLE_BYTES);
    while (way[from].segment != again)
        from++;
    for (size_t i = from; i < n; i++)
        (void)rc_buf_printf(&text, "%s → ", catalog->segments[way[i].segment].id);
    (void)rc_buf_printf(&text, "%s", catalog->segments[again].id);
    const struct rc_definition *at =
        rc_catalog_definition(catalog, "segment", catalog->segments[way[n - 1].segment].id);
    (void)rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                       "%s: %s.%s.segment: segment \"%s\" depends on itself: %s; expected references without a cycle",
                       at->file, at->path, path, catalog->segments[again].id, text.data);
    rc_buf_deinit(&text);
    return RC_FAIL;
}

/* Depth-first, with a stack of our own: a chain of references may be as long as there are segments. */
static rc_status walk(const struct rc_catalog *catalog, const struct edges *edges, uint32_t start, char *state,
                      struct visit *way, struct rc_error *err) {
    enum { NEW, ON_THE_WAY, DONE };
    size_t n = 0;
    if (state[start] != NEW)
        return RC_OK;
    way[n++] = (struct visit){.segment = start};
    state[start] = ON_THE_WAY;
    while (n) {
        struct visit *at = &way[n - 1];
        const struct edges *out = &edges[at->segment];
        if (at->edge == out->n) {
            state[at->segment] = DONE;
            n--;
            continue;
        }
        uint32_t to = out->to[at->edge];
        const char *path = out->paths[at->edge++];
        if (state[to] == ON_THE_WAY)
            return tell_cycle(catalog, way, n, to, path, err);
        if (state[to] == NEW) {
            state[to] = ON_THE_WAY;
            way[n++] = (struct visit){.segment = to};
        }
    }
    return RC_OK;
}

rc_status rc_def_no_cycles(const struct rc_catalog *catalog, struct rc_error *err) {
    size_t n = catalog->n_segments;
    struct edges *edges = rc_calloc(n, sizeof *edges);
    struct visit *way = rc_calloc(n, sizeof *way);
    char *state = rc_calloc(n, 1);
    rc_status status = RC_OK;
    for (size_t i = 0; i < n; i++)
        each_reference(catalog->segments[i].where, add_edge, &edges[i]);
    for (size_t i = 0; i < n && status == RC_OK; i++)
        status = walk(catalog, edges, (uint32_t)i, state, way, err);
    for (size_t i = 0; i < n; i++) {
        free(edges[i].to);
        free(edges[i].paths);
    }
    free(edges);
    free(way);
    free(state);
    return status;
}

/* ---- who names whom -------------------------------------------------------------------------------------------------- */

struct search {
    uint32_t segment;
    bool found;
};

static void look(void *ctx, uint32_t segment, const char *path) {
    (void)path;
    struct search *search = ctx;
    search->found = search->found || search->segment == segment;
}

static bool audience_names(const struct rc_audience_cond *cond, uint32_t segment) {
    if (cond->head == RC_AUDIENCE_SEGMENT)
        return cond->segment == segment;
    for (size_t i = 0; i < cond->n_children; i++)
        if (audience_names(cond->children[i], segment))
            return true;
    return false;
}

static bool among(const uint32_t *list, size_t n, uint32_t index) {
    for (size_t i = 0; i < n; i++)
        if (list[i] == index)
            return true;
    return false;
}

static bool text_among(char *const *list, size_t n, const char *text) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], text) == 0)
            return true;
    return false;
}

/* Whether definition `from` names (kind, id), which is the `index`th of its kind. */
static bool names(const struct rc_catalog *catalog, const struct rc_definition *from, const char *kind, const char *id,
                  uint32_t index) {
    int place = rc_def_find(catalog->index, from->kind, from->id);
    bool dataset = strcmp(kind, "dataset") == 0, segment = strcmp(kind, "segment") == 0,
         destination = strcmp(kind, "destination") == 0;
    if (strcmp(from->kind, "segment") == 0) {
        const struct rc_segment *s = &catalog->segments[place];
        struct search search = {.segment = index};
        if (segment)
            each_reference(s->where, look, &search);
        return search.found || (dataset && among(s->datasets, s->n_datasets, index));
    }
    if (strcmp(from->kind, "audience") == 0) {
        const struct rc_audience *a = &catalog->audiences[place];
        return (segment && audience_names(a->where, index)) ||
               (destination && text_among(a->destinations, a->n_destinations, id));
    }
    if (strcmp(from->kind, "attribute") == 0) {
        const struct rc_attribute *a = &catalog->attributes[place];
        return (dataset && among(a->datasets, a->n_datasets, index)) ||
               (destination && text_among(a->destinations, a->n_destinations, id));
    }
    return false;
}

size_t rc_catalog_referrers(const struct rc_catalog *catalog, const char *kind, const char *id, rc_referrer_fn visit,
                            void *ctx) {
    int index = rc_def_find(catalog->index, kind, id);
    size_t n = 0;
    /* `profiles` may be named without being defined (sink.default stands for it); nothing else can */
    if (index < 0)
        return 0;
    for (size_t i = 0; i < catalog->n_definitions; i++)
        if (names(catalog, &catalog->definitions[i], kind, id, (uint32_t)index)) {
            n++;
            if (visit)
                visit(ctx, &catalog->definitions[i]);
        }
    return n;
}

/* ---- one set after another ------------------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_source(const struct rc_source *a, const struct rc_source *b) {
    if (a->kind != b->kind || !same_text(a->text, b->text) || !same_text(a->path.text, b->path.text) ||
        a->n_options != b->n_options)
        return false;
    for (size_t i = 0; i < a->n_options; i++)
        if (!same_source(&a->options[i], &b->options[i]))
            return false;
    return true;
}

rc_status rc_catalog_compatible(const struct rc_catalog *before, const struct rc_catalog *after, struct rc_error *err) {
    for (size_t i = 0; i < after->n_datasets; i++) {
        const struct rc_dataset *now = &after->datasets[i];
        int index = rc_catalog_dataset(before, now->id);
        if (index < 0)
            continue;
        const struct rc_dataset *was = &before->datasets[index];
        const char *key = NULL;
        if (!same_source(&was->person_namespace, &now->person_namespace) ||
            !same_source(&was->person_id, &now->person_id))
            key = "person";
        else if (!same_source(&was->timestamp, &now->timestamp) || was->timestamp_unit != now->timestamp_unit)
            key = "timestamp";
        else if (was->has_event_id != now->has_event_id || !same_source(&was->event_id, &now->event_id))
            key = "event_id";
        if (!key)
            continue;
        const struct rc_definition *at = rc_catalog_definition(after, "dataset", now->id);
        return rc_error_set(
            err, RC_CLASS_POISON, RC_EXIT_DATA,
            "%s: %s.%s: \"%s\" of dataset \"%s\" cannot change in place, because what is known of its persons was read "
            "with the "
            "old one: define a dataset with another id on the same topic, point the segments to it, then delete \"%s\"",
            at->file, at->path, key, key, now->id, now->id);
    }
    return RC_OK;
}

bool rc_definition_same(const char *json, const char *other_json) {
    json_t *a = rc_def_parse("", rc_span_str(json), NULL), *b = rc_def_parse("", rc_span_str(other_json), NULL);
    bool same = a && b && json_equal(a, b);
    json_decref(a);
    json_decref(b);
    return same;
}

char *rc_definition_with_text(const char *json, const char *key, const char *value) {
    json_t *definition = rc_def_parse("", rc_span_str(json), NULL);
    (void)json_object_set_new(definition, key, json_string(value));
    char *text = definition ? rc_def_write_text(definition, SIZE_MAX) : NULL;
    json_decref(definition);
    return text ? text : rc_strdup(json);
}

/* ---- what a segment rests on ------------------------------------------------------------------------------------------ */

static bool refers_to_one_on(const struct rc_catalog *catalog, const struct rc_cond *cond, uint32_t dataset) {
    if (cond->head == RC_HEAD_SEGMENT && rc_catalog_rests_on(catalog, cond->segment, dataset))
        return true;
    for (size_t i = 0; i < cond->n_children; i++)
        if (refers_to_one_on(catalog, cond->children[i], dataset))
            return true;
    return false;
}

bool rc_catalog_rests_on(const struct rc_catalog *catalog, uint32_t segment, uint32_t dataset) {
    const struct rc_segment *s = &catalog->segments[segment];
    for (size_t i = 0; i < s->n_datasets; i++)
        if (s->datasets[i] == dataset)
            return true;
    return refers_to_one_on(catalog, s->where, dataset);
}
