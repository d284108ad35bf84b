/* Owns how an explanation looks. Must not know where it came from. The mistake that it prevents: two commands that explain the same thing in
 * two ways. */
#include "cli/explanation.h"

#include <stdlib.h>
#include <string.h>

#include "cli/json.h"
#include "cli/processes.h"

#define STEP 4 /* columns to a level */
#define QUOTED 110
#define EVENTS 10 /* of a condition; JSON has them all */

struct tree {
    const struct rc_catalog *catalog; /* NULL: nothing is quoted */
    struct rc_buf *out;
};

static void begin_line(const struct tree *tree, int depth) {
    rc_buf_printf(tree->out, "%*s", depth * STEP, "");
}

static void add_time(const struct tree *tree, const char *before, const json_t *instant) {
    char time[25];
    if (json_is_integer(instant))
        rc_buf_printf(tree->out, "%s%s", before, rc_cli_time(json_integer_value(instant), time));
}

/* ---- what the definition says ---- */

/* The definition of a segment as it was written; owned by the caller, NULL when it is not known. */
static json_t *definition_of(const struct tree *tree, const char *id) {
    for (size_t i = 0; tree->catalog && id && i < tree->catalog->n_definitions; i++) {
        const struct rc_definition *one = &tree->catalog->definitions[i];
        if (strcmp(one->kind, "segment") == 0 && strcmp(one->id, id) == 0)
            return json_loads(one->json, 0, NULL);
    }
    return NULL;
}

/* What lies at a path such as where.and[1].not; borrowed from `definition`. */
static const json_t *at_path(const json_t *definition, const char *path) {
    const json_t *at = definition;
    while (at && *path) {
        size_t len = strcspn(path, ".[");
        if (len > 0)
            at = json_object_getn(at, path, len);
        path += len;
        if (*path == '[') {
            char *end;
            at = json_array_get(at, strtoul(path + 1, &end, 10));
            path = *end == ']' ? end + 1 : end;
        }
        path += *path == '.';
    }
    return at;
}

static void quote(const struct tree *tree, const json_t *definition, const char *path) {
    const json_t *condition = at_path(definition, path);
    char *text = json_is_object(condition) ? json_dumps(condition, JSON_REAL_PRECISION(15)) : NULL;
    if (!text) {
        rc_buf_printf(tree->out, "  %s", path);
        return;
    }
    int len = (int)strlen(text);
    len = len > QUOTED ? QUOTED : len;
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) /* not in the middle of a character */
        len--;
    rc_buf_printf(tree->out, "  %.*s%s", len, text, text[len] ? "..." : "");
    free(text);
}

/* ---- conditions ---- */

static void add_value(const struct tree *tree, const json_t *node) {
    const json_t *value = json_object_get(node, "value"), *least = json_object_get(node, "valueAtLeast"), *bound;
    const char *op;
    if (value || least) {
        char *text = json_dumps(value ? value : least, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        rc_buf_printf(tree->out, "  %s%s", least ? "at least " : "", text && strcmp(text, "null") != 0 ? text : "none");
        free(text);
    }
    const json_t *is = json_object_get(node, "is");
    bool first = true;
    json_object_foreach((json_t *)is, op, bound) {
        char *text = json_dumps(bound, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        rc_buf_printf(tree->out, "%s%s %s", first ? " (" : ", ", op, text ? text : "");
        free(text);
        first = false;
    }
    if (!first)
        rc_buf_add_byte(tree->out, ')');
}

static void add_events(const struct tree *tree, const json_t *node, int depth) {
    const json_t *events = json_object_get(node, "events"), *event;
    size_t n = json_array_size(events), first = n > EVENTS ? n - EVENTS : 0, i;
    int64_t left_out = rc_cli_json_int(node, "eventsLeftOut", 0) + (int64_t)first;
    if (left_out > 0) {
        begin_line(tree, depth);
        rc_buf_printf(tree->out, "%lld earlier events\n", (long long)left_out);
    }
    for (i = first; i < n; i++) {
        event = json_array_get(events, i);
        begin_line(tree, depth);
        add_time(tree, "", json_object_get(event, "timestamp"));
        const char *id = rc_cli_json_text(event, "id", NULL), *dataset = rc_cli_json_text(event, "dataset", NULL);
        if (id)
            rc_buf_printf(tree->out, "  %s", id);
        else
            rc_buf_printf(tree->out, "  hash %s", rc_cli_json_text(event, "hash", "?"));
        rc_buf_printf(tree->out, "%s%s\n", dataset ? "  " : "", dataset ? dataset : "");
    }
}

static void add_node(const struct tree *tree, const json_t *node, const json_t *definition, int depth);

static void add_children(const struct tree *tree, const json_t *node, const json_t *definition, int depth) {
    size_t i;
    const json_t *child;
    json_array_foreach(json_object_get(node, "conditions"), i, child) {
        add_node(tree, child, definition, depth);
    }
}

static void add_sessions(const struct tree *tree, const json_t *node, const json_t *definition, int depth) {
    size_t i;
    const json_t *session;
    int64_t left_out = rc_cli_json_int(node, "sessionsLeftOut", 0);
    if (left_out) {
        begin_line(tree, depth);
        rc_buf_printf(tree->out, "%lld earlier sessions\n", (long long)left_out);
    }
    json_array_foreach(json_object_get(node, "sessions"), i, session) {
        begin_line(tree, depth);
        rc_buf_printf(tree->out, "[%s] session", json_is_true(json_object_get(session, "counts")) ? "x" : " ");
        add_time(tree, "  ", json_object_get(session, "first"));
        add_time(tree, " to ", json_object_get(session, "last"));
        rc_buf_printf(tree->out, "%s%s\n", json_is_true(json_object_get(session, "over")) ? "" : ", not over",
                      json_is_true(json_object_get(session, "inScope")) ? "" : ", began before the window");
        if (json_object_get(session, "condition"))
            add_node(tree, json_object_get(session, "condition"), definition, depth + 1);
        add_events(tree, session, depth + 1);
    }
}

static void add_steps(const struct tree *tree, const json_t *node, const json_t *definition, int depth) {
    size_t i;
    const json_t *step;
    json_array_foreach(json_object_get(node, "steps"), i, step) {
        begin_line(tree, depth);
        rc_buf_printf(tree->out, "step %zu: %s\n", i + 1, rc_cli_json_text(step, "step", "?"));
        add_sessions(tree, step, definition, depth + 1);
        add_events(tree, step, depth + 1);
    }
}

static bool only_combines(const char *head) {
    return strcmp(head, "and") == 0 || strcmp(head, "or") == 0 || strcmp(head, "not") == 0;
}

static void add_node(const struct tree *tree, const json_t *node, const json_t *definition, int depth) {
    const char *head = rc_cli_json_text(node, "head", "?"), *segment = rc_cli_json_text(node, "segment", NULL);
    begin_line(tree, depth);
    rc_buf_printf(tree->out, "[%s] %s", json_is_true(json_object_get(node, "true")) ? "x" : " ", head);
    if (segment) {
        rc_buf_printf(tree->out, " %s", segment);
        if (json_is_false(json_object_get(node, "exists")))
            rc_buf_add_str(tree->out, "  the person has had no event yet");
        add_time(tree, "  the person exists since ", json_object_get(node, "existsSince"));
    }
    add_value(tree, node);
    add_time(tree, "  may change at ", json_object_get(node, "mayChangeAt"));
    if (!segment && !only_combines(head))
        quote(tree, definition, rc_cli_json_text(node, "path", ""));
    rc_buf_add_byte(tree->out, '\n');
    json_t *own = segment ? definition_of(tree, segment) : NULL;
    add_children(tree, node, segment ? own : definition, depth + 1);
    add_sessions(tree, node, definition, depth + 1);
    add_steps(tree, node, definition, depth + 1);
    if (!segment)
        add_events(tree, node, depth + 1);
    json_decref(own);
}

/* ---- heads ---- */

static void add_fact(const struct tree *tree, int depth, const char *name) {
    begin_line(tree, depth);
    rc_buf_printf(tree->out, "%-12s ", name);
}

static void add_last_change(const struct tree *tree, const json_t *change, int depth) {
    if (!json_is_object(change))
        return;
    add_fact(tree, depth, "last change");
    rc_buf_printf(tree->out, "%s since", rc_cli_json_text(change, "status", "?"));
    add_time(tree, " ", json_object_get(change, "since"));
    rc_buf_printf(tree->out, ", cause %s", rc_cli_json_text(change, "cause", "?"));
    if (json_is_string(json_object_get(change, "eventId")))
        rc_buf_printf(tree->out, " %s", rc_cli_json_text(change, "eventId", ""));
    add_time(tree, " of ", json_object_get(change, "eventTime"));
    add_time(tree, ", told ", json_object_get(change, "emittedAt"));
    rc_buf_add_byte(tree->out, '\n');
}

/* "P is a member of S since …" */
static void add_verdict(const struct tree *tree, const json_t *explanation, const char *what, int depth) {
    begin_line(tree, depth);
    bool member = json_is_true(json_object_get(explanation, "member"));
    rc_buf_printf(tree->out, "%s is %s %s", rc_cli_json_text(explanation, "person", "?"),
                  member ? "a member of" : "not a member of", what);
    if (member)
        add_time(tree, " since ", json_object_get(explanation, "since"));
    rc_buf_add_byte(tree->out, '\n');
}

static void add_next(const struct tree *tree, const json_t *explanation, int depth) {
    const json_t *not_before = json_object_get(explanation, "nextNotBefore");
    add_fact(tree, depth, "next change");
    if (json_is_true(json_object_get(explanation, "quarantined")))
        rc_buf_add_str(tree->out, "none before `rollcall release`");
    else if (json_is_integer(json_object_get(explanation, "next")))
        add_time(tree, "", json_object_get(explanation, "next"));
    else if (json_is_integer(not_before))
        add_time(tree, "not by time alone before ", not_before);
    else
        rc_buf_add_str(tree->out, "none by time alone");
    rc_buf_add_byte(tree->out, '\n');
}

/* Whether the version that is explained is the one in the catalog: an edit may be warming up beside what serves. */
static bool serves_newest(const struct rc_catalog *catalog, const json_t *explanation) {
    const json_t *version = json_object_get(explanation, "segmentVersion");
    int at = catalog ? rc_catalog_segment(catalog, rc_cli_json_text(explanation, "segment", "")) : -1;
    return !json_is_integer(version) || (at >= 0 && catalog->segments[at].version == json_integer_value(version));
}

static void add_segment(const struct tree *tree, const json_t *explanation, int depth) {
    add_verdict(tree, explanation, rc_cli_json_text(explanation, "segment", "?"), depth);
    if (json_is_true(json_object_get(explanation, "quarantined"))) {
        add_fact(tree, depth, "quarantined");
        rc_buf_add_str(tree->out,
                       "more events than state.person_events: memberships stand still, and no event is kept\n");
    }
    const json_t *told = json_object_get(explanation, "told");
    bool was = json_is_true(json_object_get(told, "member"));
    if (told && was != json_is_true(json_object_get(explanation, "member"))) {
        add_fact(tree, depth, "told");
        rc_buf_printf(tree->out, "%s; the change is about to be told\n", was ? "a member" : "not a member");
    }
    add_fact(tree, depth, "as of");
    add_time(tree, "", json_object_get(explanation, "at"));
    const char *state = rc_cli_json_text(explanation, "state", NULL);
    rc_buf_printf(tree->out, "%s%s\n", state ? ", " : "", state ? state : "");
    add_last_change(tree, json_object_get(explanation, "lastChange"), depth);
    add_next(tree, explanation, depth);
    struct tree quoting = *tree;
    if (!serves_newest(tree->catalog, explanation))
        quoting.catalog = NULL; /* what serves was written otherwise */
    if (json_is_object(json_object_get(explanation, "condition")))
        add_node(&quoting, json_object_get(explanation, "condition"), NULL, depth);
}

void rc_cli_explanation_segment(const json_t *explanation, const struct rc_catalog *catalog, struct rc_buf *out) {
    struct tree tree = {.catalog = catalog, .out = out};
    add_segment(&tree, explanation, 0);
}

static void add_combination(const struct tree *tree, const json_t *node, int depth) {
    const char *head = rc_cli_json_text(node, "head", "?");
    size_t i;
    const json_t *child;
    begin_line(tree, depth);
    rc_buf_printf(tree->out, "[%s] %s", json_is_true(json_object_get(node, "true")) ? "x" : " ", head);
    if (strcmp(head, "segment") == 0)
        rc_buf_printf(tree->out, " %s", rc_cli_json_text(node, "segment", "?"));
    rc_buf_add_byte(tree->out, '\n');
    json_array_foreach(json_object_get(node, "conditions"), i, child) {
        add_combination(tree, child, depth + 1);
    }
    const char *error = rc_cli_json_text(node, "error", NULL);
    if (error) {
        begin_line(tree, depth + 1);
        rc_buf_printf(tree->out, "%s\n", error);
    }
    if (json_is_object(json_object_get(node, "explanation")))
        add_segment(tree, json_object_get(node, "explanation"), depth + 1);
}

void rc_cli_explanation_audience(const json_t *explanation, const struct rc_catalog *catalog, struct rc_buf *out) {
    struct tree tree = {.catalog = catalog, .out = out};
    add_verdict(&tree, explanation, rc_cli_json_text(explanation, "audience", "?"), 0);
    const char *why = rc_cli_json_text(explanation, "why", NULL);
    if (why) {
        add_fact(&tree, 0, "but");
        rc_buf_printf(out, "the condition %s: %s\n",
                      json_is_true(json_object_get(explanation, "holds")) ? "holds" : "does not hold", why);
    }
    add_fact(&tree, 0, "audience");
    rc_buf_printf(out, "version %lld, %s\n", (long long)rc_cli_json_int(explanation, "audienceVersion", 0),
                  rc_cli_json_text(explanation, "state", "?"));
    if (json_is_false(json_object_get(explanation, "exists"))) {
        add_fact(&tree, 0, "person");
        rc_buf_add_str(out, "no event yet in any dataset of the segments: no member, whatever the condition says\n");
    }
    add_fact(&tree, 0, "as of");
    add_time(&tree, "", json_object_get(explanation, "clock"));
    rc_buf_printf(out, ", %s\n", rc_cli_json_text(explanation, "phase", "?"));
    add_last_change(&tree, json_object_get(explanation, "lastChange"), 0);
    if (json_is_object(json_object_get(explanation, "condition")))
        add_combination(&tree, json_object_get(explanation, "condition"), 0);
}
