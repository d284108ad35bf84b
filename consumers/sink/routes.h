/* Which audiences go to which destinations: worked out from the catalog and `sink.default`. Pure. */
#ifndef RC_SINK_ROUTES_H
#define RC_SINK_ROUTES_H

#include "segment/definition.h"

/* The destination of audiences that name none (definitions.md §5). */
#define RC_SINK_DEFAULT_DESTINATION "profiles"

struct rc_route_audience {
    const char *id;
    int version;
    bool here; /* it goes to this destination */
};

struct rc_route {
    char *id;
    enum rc_destination_type type;
    char *url;                               /* NULL: not given */
    const struct rc_destination *definition; /* borrowed from the catalog; NULL: made from sink.default */
    char *problem;                           /* why it cannot be served; NULL: it can */
    /* All audiences of the catalog, ordered by id, with those marked that go here. */
    struct rc_route_audience *audiences;
    size_t n_audiences, n_here;
};

struct rc_routes {
    struct rc_route *items;
    size_t n;
    char **problems; /* texts for status: audiences that name a destination that is not served */
    size_t n_problems, problems_capacity;
};

/* `default_url`: sink.default. `state_dir`: where an embedded destination without a URL lies. `catalog` is borrowed. */
void rc_routes_init(struct rc_routes *routes, const struct rc_catalog *catalog, const char *default_url,
                    const char *state_dir);
void rc_routes_deinit(struct rc_routes *routes);

/* The audiences of a route as a value of its own, for a worker's thread. */
struct rc_route_set {
    struct rc_route_audience *audiences; /* owned, texts too; ordered by id */
    size_t n;
};
struct rc_route_set *rc_route_set_new(const struct rc_route *route);
void rc_route_set_free(struct rc_route_set *set);
/* The audience, or NULL: there is no such definition. */
const struct rc_route_audience *rc_route_set_find(const struct rc_route_set *set, struct rc_span id);

#endif
