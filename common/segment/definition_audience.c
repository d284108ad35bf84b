/* Owns the reading of segments and audiences as wholes (definitions.md §3, §4). Must not know conditions, but where they begin. The mistake
 * that it prevents: an audience that never ends, or ends in a way that nobody chose, because a key was misread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "segment/definition_parse.h"

#define DEFAULT_SIZE_LIMIT 20000000
#define MAX_SIZE_LIMIT INT64_C(1000000000000)

static struct rc_def_scope scope_over(const struct rc_catalog *catalog, const uint32_t *datasets, size_t n) {
    struct rc_def_scope scope = {.catalog = catalog, .datasets = rc_calloc(n, sizeof *scope.datasets), .n_datasets = n};
    for (size_t i = 0; i < n; i++)
        scope.datasets[i] = &catalog->datasets[datasets[i]];
    return scope;
}

rc_status rc_def_segment(const struct rc_def_node *node, const struct rc_catalog *catalog, struct rc_segment *out) {
    static const char *const keys[] = {RC_DEF_COMMON_KEYS, "dataset", "window", "where"};
    struct rc_def_node dataset = rc_def_get(node, "dataset"), window = rc_def_get(node, "window"),
                       where = rc_def_get(node, "where");
    RC_DEF_TRY(rc_def_keys(node, keys, RC_DEF_COUNT(keys)));
    RC_DEF_TRY(rc_def_common(node));
    RC_DEF_TRY(rc_def_datasets(&dataset, catalog, &out->datasets, &out->n_datasets));
    const struct rc_dataset *first = &catalog->datasets[out->datasets[0]];
    out->timezone = first->timezone;
    out->session_timeout_ms = first->session_timeout_ms;
    if (window.value)
        RC_DEF_TRY(rc_def_window(&window, &out->window));
    struct rc_def_scope scope = scope_over(catalog, out->datasets, out->n_datasets);
    rc_status status = rc_def_cond(&where, &scope, (struct rc_def_place){.depth = 1}, &out->where);
    free(scope.datasets);
    return status;
}

rc_status rc_def_attribute(const struct rc_def_node *node, const struct rc_catalog *catalog, struct rc_attribute *out) {
    static const char *const keys[] = {RC_DEF_COMMON_KEYS, "dataset", "value", "window", "destinations"};
    struct rc_def_node dataset = rc_def_get(node, "dataset"), value = rc_def_get(node, "value"),
                       window = rc_def_get(node, "window"), destinations = rc_def_get(node, "destinations");
    RC_DEF_TRY(rc_def_keys(node, keys, RC_DEF_COUNT(keys)));
    RC_DEF_TRY(rc_def_common(node));
    RC_DEF_TRY(rc_def_datasets(&dataset, catalog, &out->datasets, &out->n_datasets));
    out->timezone = catalog->datasets[out->datasets[0]].timezone;
    if (window.value)
        RC_DEF_TRY(rc_def_window(&window, &out->window));
    struct rc_def_scope scope = scope_over(catalog, out->datasets, out->n_datasets);
    rc_status status = rc_def_value(&value, &scope, &out->value);
    free(scope.datasets);
    if (status != RC_OK || !destinations.value)
        return status;
    return rc_def_destinations(&destinations, catalog, &out->destinations, &out->n_destinations);
}

/* ---- audiences ------------------------------------------------------------------------------------------------------- */

struct named { /* the segments that an audience names, each once */
    uint32_t segments[RC_MAX_AUDIENCE_SEGMENTS];
    size_t n;
};

static rc_status read_reference(const struct rc_def_node *node, const struct rc_catalog *catalog, struct named *named,
                                uint32_t *out) {
    RC_DEF_TRY(rc_def_reference(node, catalog, RC_KIND_SEGMENT, out));
    for (size_t i = 0; i < named->n; i++)
        if (named->segments[i] == *out)
            return RC_OK;
    if (named->n == RC_MAX_AUDIENCE_SEGMENTS)
        return rc_def_fail(node, "more than %d segments in one audience: join some of them in a segment of segments",
                           RC_MAX_AUDIENCE_SEGMENTS);
    named->segments[named->n++] = *out;
    return RC_OK;
}

static rc_status read_where(const struct rc_def_node *node, const struct rc_catalog *catalog, int depth,
                            struct named *named, struct rc_audience_cond **out) {
    static const char *const heads[] = {"and", "or", "not", "segment"}; /* as enum rc_audience_head */
    size_t head = 0, n = 0;
    RC_DEF_TRY(rc_def_object(node, "and, or, not over segments, like {\"segment\": \"recent-buyers\"}"));
    if (depth > RC_MAX_CONDITION_DEPTH)
        return rc_def_fail(node, "nested deeper than %d conditions", RC_MAX_CONDITION_DEPTH);
    RC_DEF_TRY(rc_def_keys(node, heads, RC_DEF_COUNT(heads)));
    for (size_t i = 0; i < RC_DEF_COUNT(heads); i++)
        if (rc_def_has(node, heads[i]))
            head = i, n++;
    if (n != 1)
        return rc_def_fail(node, "found %s of and, or, not, segment; expected exactly one", n ? "several" : "none");
    struct rc_audience_cond *cond = *out = rc_calloc(1, sizeof *cond);
    struct rc_def_node below = rc_def_get(node, heads[head]);
    cond->head = (enum rc_audience_head)head;
    if (cond->head == RC_AUDIENCE_SEGMENT)
        return read_reference(&below, catalog, named, &cond->segment);
    if (cond->head != RC_AUDIENCE_NOT)
        RC_DEF_TRY(rc_def_array(&below, "an array of conditions over segments"));
    size_t size = cond->head == RC_AUDIENCE_NOT ? 1 : json_array_size(below.value);
    cond->children = rc_calloc(size, sizeof(struct rc_audience_cond *));
    cond->n_children = size;
    for (size_t i = 0; i < size; i++) {
        struct rc_def_node item = cond->head == RC_AUDIENCE_NOT ? below : rc_def_at(&below, i);
        RC_DEF_TRY(read_where(&item, catalog, depth + 1, named, &cond->children[i]));
    }
    return RC_OK;
}

static rc_status read_refresh(const struct rc_def_node *node, struct rc_audience *out) {
    static const char *const words[] = {"continuous", "once",   "every 4h",
                                        "daily",      "weekly", "monthly"}; /* as enum rc_refresh */
    const char *text = json_string_value(node->value);
    size_t index;
    if (text && strncmp(text, "every ", 6) == 0) {
        json_t *duration = json_string(text + 6);
        struct rc_def_node at = *node;
        at.value = duration;
        rc_status status = rc_def_duration(&at, &out->every_ms);
        json_decref(duration);
        if (status == RC_OK && out->every_ms == 0)
            return rc_def_unexpected(node, "a duration above 0 after \"every\"");
        out->refresh = RC_REFRESH_EVERY;
        return status;
    }
    RC_DEF_TRY(rc_def_choice(node, "refresh", words, RC_DEF_COUNT(words), &index));
    out->refresh = (enum rc_refresh)index;
    return RC_OK;
}

static rc_status read_at(const struct rc_def_node *node, int *out) {
    const char *t = json_string_value(node->value);
    bool digits = t && strlen(t) == 5 && t[0] >= '0' && t[0] <= '2' && t[1] >= '0' && t[1] <= '9' && t[2] == ':' &&
                  t[3] >= '0' && t[3] <= '5' && t[4] >= '0' && t[4] <= '9';
    int hour = digits ? (t[0] - '0') * 10 + t[1] - '0' : 24;
    if (hour > 23)
        return rc_def_unexpected(node, "a time of day from \"00:00\" to \"23:59\"");
    *out = hour * 60 + (t[3] - '0') * 10 + t[4] - '0';
    return RC_OK;
}

static rc_status read_schedule(const struct rc_def_node *node, struct rc_audience *out) {
    struct rc_def_node refresh = rc_def_get(node, "refresh"), at = rc_def_get(node, "at"),
                       zone = rc_def_get(node, "timezone"), expires = rc_def_get(node, "expires");
    const char *name = "UTC";
    struct rc_error why;
    out->at_minute = -1;
    if (refresh.value)
        RC_DEF_TRY(read_refresh(&refresh, out));
    if (at.value)
        RC_DEF_TRY(read_at(&at, &out->at_minute));
    if (zone.value)
        RC_DEF_TRY(rc_def_text(&zone, "a time zone's name like \"Europe/Stockholm\"", &name));
    if (rc_timezone_load(name, &out->timezone, &why) != RC_OK)
        return rc_def_fail(&zone, "%s", why.message);
    return expires.value ? rc_def_instant(&expires, &out->expires_ms) : RC_OK;
}

/* A topic of its own: what is written there must not come back as an event. */
static rc_status read_topic(const struct rc_def_node *node, const struct rc_catalog *catalog, char **out) {
    RC_DEF_TRY(rc_def_topic(node, out));
    for (size_t i = 0; i < catalog->n_datasets; i++)
        if (strcmp(catalog->datasets[i].topic, *out) == 0)
            return rc_def_fail(node, "topic \"%s\" is dataset \"%s\"'s, expected one that holds no events", *out,
                               catalog->datasets[i].id);
    return RC_OK;
}

rc_status rc_def_audience(const struct rc_def_node *node, const struct rc_catalog *catalog, struct rc_audience *out) {
    static const char *const keys[] = {RC_DEF_COMMON_KEYS, "where",        "refresh", "at",     "timezone", "expires",
                                       "size_limit",       "destinations", "topic",   "paused", "on_end"};
    static const char *const ends[] = {"exit", "keep"};
    struct rc_def_node where = rc_def_get(node, "where"), limit = rc_def_get(node, "size_limit"),
                       destinations = rc_def_get(node, "destinations"), topic = rc_def_get(node, "topic"),
                       paused = rc_def_get(node, "paused"), on_end = rc_def_get(node, "on_end");
    struct named named = {0};
    RC_DEF_TRY(rc_def_keys(node, keys, RC_DEF_COUNT(keys)));
    RC_DEF_TRY(rc_def_common(node));
    RC_DEF_TRY(read_where(&where, catalog, 1, &named, &out->where));
    if (named.n == 0)
        return rc_def_fail(
            &where, "names no segment, expected at least one: an audience has the persons of its segments' datasets");
    RC_DEF_TRY(read_schedule(node, out));
    out->size_limit = DEFAULT_SIZE_LIMIT;
    if (limit.value)
        RC_DEF_TRY(rc_def_integer(&limit, 1, MAX_SIZE_LIMIT, &out->size_limit));
    if (destinations.value)
        RC_DEF_TRY(rc_def_destinations(&destinations, catalog, &out->destinations, &out->n_destinations));
    if (topic.value)
        RC_DEF_TRY(read_topic(&topic, catalog, &out->topic));
    if (paused.value)
        RC_DEF_TRY(rc_def_bool(&paused, &out->paused));
    if (on_end.value) {
        size_t index;
        RC_DEF_TRY(rc_def_choice(&on_end, "end", ends, RC_DEF_COUNT(ends), &index));
        out->on_end = index == 0 ? RC_ON_END_EXIT : RC_ON_END_KEEP;
    }
    return RC_OK;
}
