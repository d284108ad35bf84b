/* The sink consumer: follows the definitions and keeps one worker per destination; the workers do the rest. */
#include "consumers/sink/sink.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/shared/announce.h"
#include "consumers/shared/definitions.h"
#include "consumers/shared/payload.h"
#include "consumers/sink/profile_store.h"
#include "consumers/sink/worker.h"
#include "kafka/embedded.h"
#include "kafka/topics.h"

#define ROLE "sink"
#define RETRY_MS 1000
#define FLUSH_MS 5000
#define TURN_MS 200

/* One destination that is served. */
struct served {
    char *id, *identity; /* identity: type, URL and password: another one needs another worker */
    struct rc_sink_worker *worker;
};

struct sink {
    struct rc_process *process;
    const struct rc_config *config;
    char *topic, *cluster;
    struct rc_loop *loop;
    struct rc_admin *admin;
    struct rc_producer *producer;
    struct rc_announcer *announcer;
    struct rc_definitions *definitions;
    struct rc_catalog *catalog;

    pthread_mutex_t lock; /* around what follows: the HTTP thread looks at it */
    struct served *served;
    size_t n_served, served_capacity;
    char **problems;
    size_t n_problems;
};

/* ---- secrets --------------------------------------------------------------------------------------------------------------------------- */

/* The password of a destination; NULL when none is set. Read anew each time, so that a changed file counts with the next definition. */
static rc_status read_secret(const struct rc_destination *destination, char **out, struct rc_error *err) {
    *out = NULL;
    if (!destination)
        return RC_OK;
    const struct rc_secret *secret = &destination->password;
    if (secret->text) {
        *out = rc_strdup(secret->text);
    } else if (secret->env) {
        const char *value = getenv(secret->env);
        if (!value)
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                                "the environment variable %s of its password is not set", secret->env);
        *out = rc_strdup(value);
    } else if (secret->file) {
        char line[4096];
        FILE *file = fopen(secret->file, "re");
        bool read = file && fgets(line, sizeof line, file);
        if (file)
            fclose(file);
        if (!read)
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "the file %s of its password cannot be read",
                                secret->file);
        line[strcspn(line, "\r\n")] = '\0';
        *out = rc_strdup(line);
    }
    return RC_OK;
}

/* The URL without user and password. */
static char *public_url(const char *url) {
    const char *at = strrchr(url, '@'), *slashes = strstr(url, "://");
    if (!at || !slashes || at < slashes)
        return rc_strdup(url);
    struct rc_buf text;
    rc_buf_init(&text, 64 * 1024);
    (void)rc_buf_printf(&text, "%.*s%s", (int)(slashes + 3 - url), url, at + 1);
    char *copy = rc_span_dup(rc_buf_span(&text));
    rc_buf_deinit(&text);
    return copy;
}

/* ---- workers --------------------------------------------------------------------------------------------------------------------------- */

static char *identity_of(const struct rc_route *route, const char *password) {
    struct rc_buf text;
    rc_buf_init(&text, 64 * 1024);
    (void)rc_buf_printf(&text, "%d %s %s", (int)route->type, route->url, password ? password : "");
    char *copy = rc_span_dup(rc_buf_span(&text));
    rc_buf_deinit(&text);
    return copy;
}

static rc_status make_driver(struct sink *sink, const struct rc_route *route, const char *password,
                             struct rc_sink_driver **out, struct rc_error *err) {
    struct rc_sink_driver_options options = {.destination = route->id,
                                             .url = route->url,
                                             .password = password,
                                             .prefix = rc_config_text(sink->config, "topics.prefix"),
                                             .cluster = sink->cluster,
                                             .cluster_may_change = rc_embedded_used(sink->config),
                                             .cache_bytes =
                                                 (size_t)rc_config_bytes(sink->config, "state.memory_bytes") / 8};
    switch (route->type) {
    case RC_DESTINATION_REDIS: return rc_sink_redis_new(&options, out, err);
    case RC_DESTINATION_EMBEDDED: return rc_sink_embedded_new(&options, out, err);
    case RC_DESTINATION_FILE: return rc_sink_file_new(&options, out, err);
    case RC_DESTINATION_HTTP:
    case RC_DESTINATION_KAFKA: break;
    }
    return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "destination %s is of a type that is not there yet",
                        route->id);
}

static struct served *find_served(struct sink *sink, const char *id) {
    for (size_t i = 0; i < sink->n_served; i++)
        if (strcmp(sink->served[i].id, id) == 0)
            return &sink->served[i];
    return NULL;
}

static void stop_served(struct sink *sink, size_t at) {
    pthread_mutex_lock(&sink->lock);
    struct served served = sink->served[at];
    sink->served[at] = sink->served[--sink->n_served];
    pthread_mutex_unlock(&sink->lock);
    rc_sink_worker_stop(served.worker);
    free(served.id);
    free(served.identity);
}

static rc_status start_served(struct sink *sink, const struct rc_route *route, const char *password,
                              struct rc_error *err) {
    struct rc_sink_driver *driver = NULL;
    if (make_driver(sink, route, password, &driver, err))
        return RC_FAIL;
    char *url = public_url(route->url);
    struct rc_sink_worker_options options = {.process = sink->process,
                                             .destination = route->id,
                                             .url = url,
                                             .topic = sink->topic,
                                             .confluent = rc_payload_confluent(sink->config),
                                             .interval_ms = rc_config_ms(sink->config, "checkpoint.interval")};
    struct rc_sink_worker *worker = NULL;
    rc_status status = rc_sink_worker_start(&options, driver, rc_route_set_new(route), &worker, err);
    if (status == RC_OK) {
        rc_log(RC_LOG_INFO, "destination", rc_f_str("destination", route->id), rc_f_str("url", url),
               rc_f_int("audiences", (int64_t)route->n_here));
        pthread_mutex_lock(&sink->lock);
        rc_grow(&sink->served, &sink->served_capacity, sink->n_served + 1, sizeof *sink->served);
        sink->served[sink->n_served++] =
            (struct served){.id = rc_strdup(route->id), .identity = identity_of(route, password), .worker = worker};
        pthread_mutex_unlock(&sink->lock);
    }
    free(url);
    return status;
}

/* Brings one destination to what its definition says now. One that nobody uses any more is served too, also after a restart: who was
 * sent there still leaves. */
static rc_status serve(struct sink *sink, const struct rc_route *route, struct rc_error *err) {
    char *password = NULL;
    if (read_secret(route->definition, &password, err))
        return RC_FAIL;
    char *identity = identity_of(route, password);
    struct served *served = find_served(sink, route->id);
    rc_status status = RC_OK;
    if (served && strcmp(served->identity, identity) != 0) {
        stop_served(sink, (size_t)(served - sink->served));
        served = NULL;
    }
    if (served)
        rc_sink_worker_update(served->worker, rc_route_set_new(route));
    else
        status = start_served(sink, route, password, err);
    free(identity);
    free(password);
    return status;
}

static void set_problems(struct sink *sink, char **problems, size_t n) {
    pthread_mutex_lock(&sink->lock);
    char **old = sink->problems;
    size_t n_old = sink->n_problems;
    sink->problems = problems;
    sink->n_problems = n;
    pthread_mutex_unlock(&sink->lock);
    for (size_t i = 0; i < n_old; i++)
        free(old[i]);
    free(old);
}

static void adopt(struct sink *sink, struct rc_catalog *catalog) {
    struct rc_routes routes;
    struct rc_buf text;
    rc_buf_init(&text, 64 * 1024);
    rc_routes_init(&routes, catalog, rc_config_text(sink->config, "sink.default"),
                   rc_config_text(sink->config, "state.dir"));
    char **problems = rc_calloc(routes.n_problems + routes.n, sizeof *problems);
    size_t n = 0;
    for (; n < routes.n_problems; n++)
        problems[n] = rc_strdup(routes.problems[n]);
    for (size_t i = 0; i < sink->n_served;) { /* gone, or of a type that is not served */
        bool wanted = false;
        for (size_t k = 0; k < routes.n; k++)
            wanted |= !routes.items[k].problem && strcmp(routes.items[k].id, sink->served[i].id) == 0;
        if (wanted)
            i++;
        else
            stop_served(sink, i);
    }
    for (size_t i = 0; i < routes.n; i++) {
        struct rc_error why = {0};
        if (routes.items[i].problem || serve(sink, &routes.items[i], &why) == RC_OK)
            continue;
        rc_buf_reset(&text);
        (void)rc_buf_printf(&text, "destination %s: %s", routes.items[i].id, why.message);
        problems[n++] = rc_span_dup(rc_buf_span(&text));
    }
    for (size_t i = 0; i < n; i++)
        rc_log(RC_LOG_ERROR, "not delivered", rc_f_str("err", problems[i]));
    set_problems(sink, problems, n);
    rc_routes_deinit(&routes);
    rc_buf_deinit(&text);
    rc_catalog_free(sink->catalog);
    sink->catalog = catalog;
}

/* ---- status and profiles ------------------------------------------------------------------------------------------------------------------ */

static json_t *status_section(void *ctx) {
    struct sink *sink = ctx;
    json_t *view = json_object(), *partitions = json_array(), *destinations = json_array(), *errors = json_array();
    json_t *latencies = json_array();
    pthread_mutex_lock(&sink->lock);
    for (size_t i = 0; i < sink->n_served; i++) {
        json_t *row = rc_sink_worker_status(sink->served[i].worker, partitions, latencies);
        const char *state = json_string_value(json_object_get(row, "state"));
        if (strncmp(state, "error", 5) == 0)
            json_array_append_new(errors, json_sprintf("destination %s: %s", sink->served[i].id, state));
        /* The default destination's latency stands for the sink's. */
        if (strcmp(sink->served[i].id, RC_SINK_DEFAULT_DESTINATION) == 0 || sink->n_served == 1)
            json_object_set(view, "latency", json_object_get(row, "latency"));
        json_array_append_new(destinations, row);
    }
    for (size_t i = 0; i < sink->n_problems; i++)
        json_array_append_new(errors, json_string(sink->problems[i]));
    pthread_mutex_unlock(&sink->lock);
    json_object_set_new(view, "partitions", partitions);
    json_object_set_new(view, "destinations", destinations);
    json_object_set_new(view, "audience_latency", latencies);
    json_object_set_new(view, "errors", errors);
    return view;
}

/* GET /profile?person=namespace:id — from the default destination's store, when it is the local one. */
static void serve_profile(void *ctx, const struct rc_http_request *request, struct rc_http_reply *reply) {
    struct sink *sink = ctx;
    const char *person = rc_http_query(request, "person");
    struct rc_error err = {0};
    json_t *profile = NULL;
    rc_status status = RC_FAIL;
    reply->content_type = "application/json";
    pthread_mutex_lock(&sink->lock);
    struct rc_store *store = NULL;
    for (size_t i = 0; i < sink->n_served; i++)
        if (strcmp(sink->served[i].id, RC_SINK_DEFAULT_DESTINATION) == 0)
            store = rc_sink_worker_store(sink->served[i].worker);
    if (store && person)
        status = rc_profile_read_store(store, rc_span_str(person), &profile, &err);
    pthread_mutex_unlock(&sink->lock);
    char *text = profile ? json_dumps(profile, JSON_COMPACT) : NULL;
    if (!person)
        reply->status = 400;
    else if (!store || status)
        reply->status = 503;
    else if (!profile)
        reply->status = 404;
    (void)rc_buf_add_str(&reply->body, text      ? text
                                       : !person ? "{\"error\":\"the argument person=namespace:id is missing\"}"
                                       : reply->status == 503
                                           ? "{\"error\":\"there is no local profile store here that can be read\"}"
                                           : "{\"error\":\"no profile\"}");
    (void)rc_buf_add_str(&reply->body, "\n");
    free(text);
    json_decref(profile);
}

/* ---- the loop ---------------------------------------------------------------------------------------------------------------------------- */

static rc_status find_topics(struct sink *sink, struct rc_error *err) {
    const char **topics = rc_calloc(sink->catalog->n_datasets, sizeof *topics);
    size_t n_keyed = 0;
    /* The originals of re-keyed topics may have any number of partitions. */
    for (size_t i = 0; i < sink->catalog->n_datasets; i++) {
        if (sink->catalog->datasets[i].keyed)
            topics[n_keyed++] = sink->catalog->datasets[i].topic;
    }
    int32_t n = 0;
    rc_status status = rc_topics_count(sink->admin, topics, n_keyed, &n, err);
    free(topics);
    free(sink->cluster);
    sink->cluster = NULL;
    return status || rc_topics_ensure_own(sink->admin, n, err) ||
                   rc_admin_cluster_id(sink->admin, 10000, &sink->cluster, err)
               ? RC_FAIL
               : RC_OK;
}

static rc_status open_all(struct sink *sink, struct rc_error *err) {
    struct rc_producer_options producer = {.name = ROLE, .wake_fd = -1};
    if (rc_loop_open(&sink->loop, err) || rc_admin_open(sink->config, &sink->admin, err) ||
        rc_definitions_open(sink->process, ROLE, sink->loop, &sink->definitions, err) ||
        rc_definitions_poll(sink->definitions, &sink->catalog, err))
        return RC_FAIL;
    while (find_topics(sink, err)) {
        if (err->class != RC_CLASS_RETRY || rc_stop_wait(sink->process->stop, RETRY_MS))
            return RC_FAIL;
        rc_log_limited(RC_LOG_WARN, "topics not ready, trying again", rc_f_err(err));
    }
    producer.wake_fd = rc_loop_fd(sink->loop);
    if (rc_producer_open(sink->config, &producer, &sink->producer, err) ||
        rc_announcer_open(sink->process, ROLE, sink->producer, &sink->announcer, err))
        return RC_FAIL;
    rc_admin_close(sink->admin); /* a client has threads that wake: not one more than is needed */
    sink->admin = NULL;
    struct rc_catalog *catalog = sink->catalog;
    sink->catalog = NULL;
    adopt(sink, catalog);
    return RC_OK;
}

/* The partitions of the first worker stand for all: the groups are dealt alike. */
static rc_status announce(struct sink *sink, struct rc_error *err) {
    size_t n = sink->n_served ? rc_sink_worker_partitions(sink->served[0].worker, NULL, 0) : 0, most = n;
    int32_t *numbers = rc_calloc(most, sizeof *numbers);
    n = sink->n_served ? rc_sink_worker_partitions(sink->served[0].worker, numbers, most) : 0;
    rc_status status = rc_announcer_tell(sink->announcer, numbers, n < most ? n : most, err);
    free(numbers);
    return status;
}

static bool ready(struct sink *sink) {
    bool all = true;
    for (size_t i = 0; i < sink->n_served; i++)
        if (strcmp(sink->served[i].id, RC_SINK_DEFAULT_DESTINATION) == 0 || sink->n_served == 1)
            all &= rc_sink_worker_ready(sink->served[i].worker);
    return all;
}

static rc_status work(struct sink *sink, struct rc_error *err) {
    while (!rc_stop_requested(sink->process->stop)) {
        struct rc_catalog *catalog = NULL;
        if (rc_definitions_poll(sink->definitions, &catalog, err))
            return RC_FAIL;
        if (catalog)
            adopt(sink, catalog);
        for (size_t i = 0; i < sink->n_served; i++)
            if (rc_sink_worker_failed(sink->served[i].worker, err))
                return rc_error_prefix(err, "destination %s", sink->served[i].id);
        if (rc_producer_poll(sink->producer, 0, err) || announce(sink, err))
            return RC_FAIL;
        rc_process_set_ready(sink->process, ROLE, ready(sink));
        int64_t until = rc_clock_wall_ms() + TURN_MS, due = rc_definitions_due(sink->definitions);
        if (!rc_loop_wait(sink->loop, due < until ? due : until))
            rc_loop_touch(sink->loop);
    }
    return RC_OK;
}

static void close_all(struct sink *sink) {
    struct rc_error err;
    rc_process_set_ready(sink->process, ROLE, false);
    if (sink->process->http)
        rc_http_unroute(sink->process->http, "/profile");
    while (sink->n_served)
        stop_served(sink, 0);
    rc_process_status_remove(sink->process, ROLE);
    rc_announcer_close(sink->announcer);
    if (sink->producer && rc_producer_flush(sink->producer, FLUSH_MS, &err))
        rc_log(RC_LOG_WARN, "not everything was acknowledged before the end", rc_f_err(&err));
    rc_producer_close(sink->producer);
    rc_definitions_close(sink->definitions);
    rc_catalog_free(sink->catalog);
    rc_admin_close(sink->admin);
    rc_loop_close(sink->loop);
    set_problems(sink, NULL, 0);
    pthread_mutex_destroy(&sink->lock);
    free(sink->served);
    free(sink->topic);
    free(sink->cluster);
    free(sink);
}

rc_status rc_sink_run(struct rc_process *process, struct rc_error *err) {
    struct sink *sink = rc_calloc(1, sizeof *sink);
    sink->process = process;
    sink->config = process->config;
    sink->topic = rc_topic_name(sink->config, "memberships");
    pthread_mutex_init(&sink->lock, NULL);
    rc_process_status_add(process, ROLE, status_section, sink);
    if (process->http)
        rc_http_route(process->http, "/profile", serve_profile, sink);
    rc_status status = open_all(sink, err);
    if (status == RC_OK)
        status = work(sink, err);
    /* Told to stop while waiting for something to come up: that is an end in order. */
    else if (rc_stop_requested(process->stop) && err->class == RC_CLASS_RETRY)
        status = RC_OK;
    close_all(sink);
    return status;
}
