/* Whether a path can lead to anything in an Avro schema: a definition's typing mistake is told when it is applied,
 * not by silence. */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/nearest.h"
#include "codec/avro_plan.h"

struct search {
    const struct rc_path *paths[2];     /* the place to start from (or NULL), then the path */
    size_t deepest;                     /* step at which the furthest way ended, in paths[1] */
    const struct rc_avro_node *stopped; /* what stands there */
};

static bool leads(struct search *s, const struct rc_avro_node *node, int which, size_t step) {
    if (which == 0 && (!s->paths[0] || step == s->paths[0]->n))
        return leads(s, node, 1, 0);
    const struct rc_path *path = s->paths[which];
    if (node->type == RC_AVRO_UNION) {
        bool any = false;
        for (size_t i = 0; i < node->n_branches && !any; i++)
            any = leads(s, node->branches[i], which, step);
        return any;
    }
    if (step == path->n)
        return true;
    switch (node->type) {
    case RC_AVRO_ARRAY: return leads(s, node->items, which, step);
    case RC_AVRO_MAP: return leads(s, node->items, which, step + 1);
    case RC_AVRO_RECORD: {
        int field = rc_avro_field_index(node, rc_span_str(path->names[step]));
        if (field >= 0)
            return leads(s, node->fields[field].type, which, step + 1);
        break;
    }
    default: break;
    }
    if (which == 1 && node->type != RC_AVRO_NULL &&
        (!s->stopped || step > s->deepest || s->stopped->type != RC_AVRO_RECORD)) {
        s->deepest = step;
        s->stopped = node;
    }
    return false;
}

rc_status rc_avro_check_path(const struct rc_avro_schema *schema, const struct rc_path *from,
                             const struct rc_path *path, struct rc_error *err) {
    struct search s = {.paths = {from, path}};
    if (leads(&s, rc_avro_schema_root(schema), 0, 0))
        return RC_OK;
    char what[256] = "";
    if (!s.stopped) /* `from` itself leads nowhere, which its own check tells */
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "path \"%s\" leads nowhere in the schema", path->text);
    const char *found = rc_avro_describe(s.stopped, what, sizeof what);
    if (s.stopped->type != RC_AVRO_RECORD)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                            "path \"%s\": \"%s\" is wanted of a value that is %s, not a record", path->text,
                            path->names[s.deepest], found);
    const char **names = rc_calloc(s.stopped->n_fields, sizeof *names);
    for (size_t i = 0; i < s.stopped->n_fields; i++)
        names[i] = s.stopped->fields[i].name;
    const char *nearest = rc_nearest_word(path->names[s.deepest], names, s.stopped->n_fields);
    (void)rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "path \"%s\": %s has no field \"%s\"%s%s%s", path->text,
                       found, path->names[s.deepest], nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                       nearest ? "\"?" : "");
    free(names);
    return RC_FAIL;
}
