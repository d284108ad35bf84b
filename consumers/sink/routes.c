#include "consumers/sink/routes.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

static char *text_of(const char *fmt, ...) RC_PRINTF(1, 2);

static char *text_of(const char *fmt, ...) {
    struct rc_buf buf;
    va_list ap;
    rc_buf_init(&buf, 64 * 1024);
    va_start(ap, fmt);
    (void)rc_buf_vprintf(&buf, fmt, ap);
    va_end(ap);
    char *text = rc_span_dup(rc_buf_span(&buf));
    rc_buf_deinit(&buf);
    return text;
}

static const char *type_word(enum rc_destination_type type) {
    switch (type) {
    case RC_DESTINATION_REDIS: return "redis";
    case RC_DESTINATION_HTTP: return "http";
    case RC_DESTINATION_KAFKA: return "kafka";
    case RC_DESTINATION_EMBEDDED: return "embedded";
    case RC_DESTINATION_FILE: return "file";
    }
    return "?";
}

static int compare_audiences(const void *a, const void *b) {
    return strcmp(((const struct rc_route_audience *)a)->id, ((const struct rc_route_audience *)b)->id);
}

static bool goes_to(const struct rc_audience *audience, const char *destination) {
    if (!audience->n_destinations)
        return strcmp(destination, RC_SINK_DEFAULT_DESTINATION) == 0;
    for (size_t i = 0; i < audience->n_destinations; i++)
        if (strcmp(audience->destinations[i], destination) == 0)
            return true;
    return false;
}

static void add_audiences(struct rc_route *route, const struct rc_catalog *catalog) {
    route->n_audiences = catalog->n_audiences;
    route->audiences = rc_calloc(catalog->n_audiences, sizeof *route->audiences);
    for (size_t i = 0; i < catalog->n_audiences; i++) {
        const struct rc_audience *audience = &catalog->audiences[i];
        bool here = goes_to(audience, route->id);
        route->audiences[i] =
            (struct rc_route_audience){.id = audience->id, .version = audience->version, .here = here};
        route->n_here += here;
    }
    qsort(route->audiences, route->n_audiences, sizeof *route->audiences, compare_audiences);
}

static void add_defined(struct rc_routes *routes, const struct rc_catalog *catalog,
                        const struct rc_destination *destination, const char *state_dir) {
    struct rc_route *route = &routes->items[routes->n++];
    *route = (struct rc_route){.id = rc_strdup(destination->id), .type = destination->type, .definition = destination};
    if (destination->url)
        route->url = rc_strdup(destination->url);
    else if (destination->type == RC_DESTINATION_EMBEDDED && strcmp(destination->id, RC_SINK_DEFAULT_DESTINATION) == 0)
        route->url = text_of("embedded:%s/profiles", state_dir);
    else if (destination->type == RC_DESTINATION_EMBEDDED)
        route->url = text_of("embedded:%s/profiles-%s", state_dir, destination->id);
    if (destination->type == RC_DESTINATION_HTTP || destination->type == RC_DESTINATION_KAFKA)
        route->problem = text_of("destinations of type \"%s\" are not there yet", type_word(destination->type));
    else if (!route->url)
        route->problem = text_of("it has no url");
    add_audiences(route, catalog);
}

static void add_default(struct rc_routes *routes, const struct rc_catalog *catalog, const char *url) {
    struct rc_route *route = &routes->items[routes->n++];
    *route = (struct rc_route){.id = rc_strdup(RC_SINK_DEFAULT_DESTINATION), .url = rc_strdup(url)};
    if (strncmp(url, "redis://", 8) == 0 || strncmp(url, "unix:", 5) == 0 || strncmp(url, "redis+unix:", 11) == 0)
        route->type = RC_DESTINATION_REDIS;
    else if (strncmp(url, "embedded:", 9) == 0)
        route->type = RC_DESTINATION_EMBEDDED;
    else if (strncmp(url, "file:", 5) == 0)
        route->type = RC_DESTINATION_FILE;
    else
        route->problem =
            text_of("sink.default begins with \"%.*s\"; expected redis://…, unix:PATH, embedded:DIR or file:PATH",
                    (int)strcspn(url, ":@/"), url);
    add_audiences(route, catalog);
}

static struct rc_route *find_route(struct rc_routes *routes, const char *id) {
    for (size_t i = 0; i < routes->n; i++)
        if (strcmp(routes->items[i].id, id) == 0)
            return &routes->items[i];
    return NULL;
}

static void add_problem(struct rc_routes *routes, char *text) {
    rc_grow(&routes->problems, &routes->problems_capacity, routes->n_problems + 1, sizeof *routes->problems);
    routes->problems[routes->n_problems++] = text;
}

void rc_routes_init(struct rc_routes *routes, const struct rc_catalog *catalog, const char *default_url,
                    const char *state_dir) {
    *routes = (struct rc_routes){0};
    routes->items = rc_calloc(catalog->n_destinations + 1, sizeof *routes->items);
    for (size_t i = 0; i < catalog->n_destinations; i++)
        add_defined(routes, catalog, &catalog->destinations[i], state_dir);
    if (!find_route(routes, RC_SINK_DEFAULT_DESTINATION) && default_url && *default_url)
        add_default(routes, catalog, default_url);
    for (size_t i = 0; i < catalog->n_audiences; i++) {
        const struct rc_audience *audience = &catalog->audiences[i];
        for (size_t k = 0; k < (audience->n_destinations ? audience->n_destinations : 1); k++) {
            const char *id = audience->n_destinations ? audience->destinations[k] : RC_SINK_DEFAULT_DESTINATION;
            const struct rc_route *route = find_route(routes, id);
            if (!route || route->problem)
                add_problem(routes, text_of("audience %s, destination %s: %s", audience->id, id,
                                            route ? route->problem : "there is none, and sink.default is not set"));
        }
    }
}

void rc_routes_deinit(struct rc_routes *routes) {
    for (size_t i = 0; i < routes->n; i++) {
        free(routes->items[i].id);
        free(routes->items[i].url);
        free(routes->items[i].problem);
        free(routes->items[i].audiences);
    }
    for (size_t i = 0; i < routes->n_problems; i++)
        free(routes->problems[i]);
    free(routes->items);
    free(routes->problems);
    *routes = (struct rc_routes){0};
}

struct rc_route_set *rc_route_set_new(const struct rc_route *route) {
    struct rc_route_set *set = rc_calloc(1, sizeof *set);
    set->n = route->n_audiences;
    set->audiences = rc_calloc(set->n, sizeof *set->audiences);
    for (size_t i = 0; i < set->n; i++) {
        set->audiences[i] = route->audiences[i];
        set->audiences[i].id = rc_strdup(route->audiences[i].id);
    }
    return set;
}

void rc_route_set_free(struct rc_route_set *set) {
    if (!set)
        return;
    for (size_t i = 0; i < set->n; i++)
        free((char *)set->audiences[i].id);
    free(set->audiences);
    free(set);
}

const struct rc_route_audience *rc_route_set_find(const struct rc_route_set *set, struct rc_span id) {
    size_t low = 0, high = set->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = rc_span_compare(rc_span_str(set->audiences[middle].id), id);
        if (order == 0)
            return &set->audiences[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
