/* Owns what the consumers of a process share, and the routes that tell of it: /metrics, /healthz, /readyz, /status. Knows no consumer by
 * name. The mistake that it prevents: a status that outlives the consumer whose memory it reads. */
#include "base/process.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"

#define MAX_ROLES 8

struct section {
    const char *_Atomic role; /* a literal; NULL: free */
    _Atomic bool ready;
    rc_status_fn status; /* under the lock */
    void *ctx;
};

struct rc_sections {
    /* Held while a status function runs, so that remove can promise that none does. Readiness goes without it: a consumer that says
     * that it is ready must not wait for a scrape. */
    pthread_mutex_t lock;
    struct section roles[MAX_ROLES];
    int64_t since_ms;
};

/* The role's slot; taken when there is none yet. */
static struct section *section_of(struct rc_process *process, const char *role) {
    for (size_t i = 0; i < MAX_ROLES; i++) {
        struct section *section = &process->sections->roles[i];
        const char *here = NULL;
        if (atomic_compare_exchange_strong(&section->role, &here, role) || strcmp(here, role) == 0)
            return section;
    }
    abort(); /* more kinds of consumers than there are */
}

static void serve_metrics(void *ctx, const struct rc_http_request *request, struct rc_http_reply *reply) {
    (void)request;
    struct rc_process *process = ctx;
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    if (rc_metrics_write(process->metrics, &reply->body) != RC_OK)
        reply->status = 500;
}

static void serve_health(void *ctx, const struct rc_http_request *request, struct rc_http_reply *reply) {
    (void)ctx, (void)request;
    rc_buf_add_str(&reply->body, "ok\n");
}

static void serve_ready(void *ctx, const struct rc_http_request *request, struct rc_http_reply *reply) {
    (void)request;
    struct rc_process *process = ctx;
    bool any = false;
    for (size_t i = 0; i < MAX_ROLES; i++) {
        const char *role = atomic_load(&process->sections->roles[i].role);
        if (!role)
            continue;
        any = true;
        rc_buf_printf(&reply->body, "%s %s\n", role,
                      atomic_load(&process->sections->roles[i].ready) ? "ready" : "not ready");
    }
    bool stopping = process->stop && rc_stop_requested(process->stop);
    if (stopping)
        rc_buf_add_str(&reply->body, "stopping\n");
    else if (!any)
        rc_buf_add_str(&reply->body, "starting\n");
    reply->status = rc_process_ready(process) && !stopping ? 200 : 503;
}

json_t *rc_process_status(struct rc_process *process) {
    json_t *roles = json_object();
    pthread_mutex_lock(&process->sections->lock);
    for (size_t i = 0; i < MAX_ROLES; i++) {
        struct section *section = &process->sections->roles[i];
        const char *role = atomic_load(&section->role);
        if (!role)
            continue;
        json_t *status = section->status ? section->status(section->ctx) : NULL;
        if (!status)
            status = json_object();
        json_object_set_new(status, "ready", json_boolean(atomic_load(&section->ready)));
        json_object_set_new(roles, role, status);
    }
    pthread_mutex_unlock(&process->sections->lock);
    json_t *all = json_object();
    json_object_set_new(all, "program", json_string("rollcall"));
    json_object_set_new(all, "version", json_string(RC_VERSION));
    json_object_set_new(all, "instance", json_string(process->instance));
    json_object_set_new(all, "pid", json_integer(getpid()));
    json_object_set_new(all, "since_ms", json_integer(process->sections->since_ms));
    json_object_set_new(all, "now_ms", json_integer(rc_clock_wall_ms()));
    json_object_set_new(all, "roles", roles);
    return all;
}

static void serve_status(void *ctx, const struct rc_http_request *request, struct rc_http_reply *reply) {
    (void)request;
    json_t *status = rc_process_status(ctx);
    char *text = json_dumps(status, JSON_COMPACT);
    json_decref(status);
    reply->content_type = "application/json";
    if (text) {
        rc_buf_add_str(&reply->body, text);
        rc_buf_add_byte(&reply->body, '\n');
    } else {
        reply->status = 500;
    }
    free(text);
}

rc_status rc_process_init(struct rc_process *process, const struct rc_config *config, struct rc_http *http,
                          struct rc_stop *stop, const char *instance, struct rc_error *err) {
    (void)err;
    struct rc_sections *sections = rc_calloc(1, sizeof *sections);
    pthread_mutex_init(&sections->lock, NULL);
    sections->since_ms = rc_clock_wall_ms();
    *process = (struct rc_process){.config = config,
                                   .metrics = rc_metrics_new(),
                                   .http = http,
                                   .stop = stop,
                                   .instance = instance,
                                   .leave = config && rc_config_bool(config, "group.leave"),
                                   .sections = sections};
    if (http) {
        rc_http_route(http, "/metrics", serve_metrics, process);
        rc_http_route(http, "/healthz", serve_health, process);
        rc_http_route(http, "/readyz", serve_ready, process);
        rc_http_route(http, "/status", serve_status, process);
    }
    return RC_OK;
}

void rc_process_deinit(struct rc_process *process) {
    if (process->http) {
        rc_http_unroute(process->http, "/metrics");
        rc_http_unroute(process->http, "/healthz");
        rc_http_unroute(process->http, "/readyz");
        rc_http_unroute(process->http, "/status");
    }
    rc_metrics_free(process->metrics);
    pthread_mutex_destroy(&process->sections->lock);
    free(process->sections);
    *process = (struct rc_process){0};
}

void rc_process_status_add(struct rc_process *process, const char *role, rc_status_fn status, void *ctx) {
    pthread_mutex_lock(&process->sections->lock);
    struct section *section = section_of(process, role);
    section->status = status;
    section->ctx = ctx;
    pthread_mutex_unlock(&process->sections->lock);
}

void rc_process_status_remove(struct rc_process *process, const char *role) {
    pthread_mutex_lock(&process->sections->lock);
    struct section *section = section_of(process, role);
    section->status = NULL;
    section->ctx = NULL;
    atomic_store(&section->ready, false);
    pthread_mutex_unlock(&process->sections->lock);
}

void rc_process_set_ready(struct rc_process *process, const char *role, bool ready) {
    atomic_store(&section_of(process, role)->ready, ready);
}

bool rc_process_ready(const struct rc_process *process) {
    bool any = false;
    for (size_t i = 0; i < MAX_ROLES; i++) {
        struct section *section = &process->sections->roles[i];
        if (!atomic_load(&section->role))
            continue;
        if (!atomic_load(&section->ready))
            return false;
        any = true;
    }
    return any;
}

json_t *rc_process_latency(const struct rc_histogram *histogram) {
    json_t *latency = json_object();
    double p50 = rc_histogram_quantile_s(histogram, 0.5), p99 = rc_histogram_quantile_s(histogram, 0.99);
    json_object_set_new(latency, "count", json_integer((json_int_t)rc_histogram_count(histogram)));
    json_object_set_new(latency, "p50", isnan(p50) ? json_null() : json_real(p50));
    json_object_set_new(latency, "p99", isnan(p99) ? json_null() : json_real(p99));
    json_t *buckets = json_array();
    for (size_t i = 0; i <= RC_HISTOGRAM_BUCKETS; i++)
        json_array_append_new(
            buckets, json_integer((json_int_t)atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed)));
    json_object_set_new(latency, "buckets", buckets);
    return latency;
}
