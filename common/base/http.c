/* Owns the listening socket, the routes and libmicrohttpd, whose thread runs all handlers. Knows nothing of what is served. The mistake that
 * it prevents: an admin request that holds up, or outlives, what it asks about. */
#include "base/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"

#define MAX_BODY (UINT64_C(64) << 20)
#define TIMEOUT_S 10 /* a client that sends nothing is let go */
#define CONNECTIONS 64

struct route {
    char *path; /* owned */
    rc_http_handler handler;
    void *ctx;
    bool post;
};

struct rc_http {
    struct MHD_Daemon *daemon;
    char host[256];
    int port;
    pthread_mutex_t lock; /* routes; held while a handler runs, so that unroute can promise that none is */
    struct route *routes;
    size_t n_routes, capacity;
};

static rc_status bad_address(struct rc_error *err, const char *listen) {
    return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                        "http.listen is \"%s\"; expected host:port, such as 127.0.0.1:9464", listen);
}

/* "host:port" or "[v6]:port" into its parts. */
static rc_status split_address(const char *listen_at, char *host, size_t size, char *port, size_t port_size,
                               struct rc_error *err) {
    const char *colon = strrchr(listen_at, ':');
    if (!colon)
        return bad_address(err, listen_at);
    const char *from = listen_at, *to = colon;
    if (*from == '[' && to > from && to[-1] == ']') {
        from++;
        to--;
    }
    char *end;
    long number = strtol(colon + 1, &end, 10);
    if ((size_t)(to - from) >= size || end == colon + 1 || *end || number < 0 || number > 65535 || colon[1] == '+')
        return bad_address(err, listen_at);
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = '\0';
    snprintf(port, port_size, "%ld", number);
    return RC_OK;
}

static int bind_first(const struct addrinfo *list, int *why) {
    *why = 0;
    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        int one = 1;
        if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
            bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, CONNECTIONS) == 0)
            return fd;
        *why = errno;
        if (fd >= 0)
            close(fd);
    }
    return -1;
}

static rc_status open_socket(const char *listen_at, char *host, size_t size, int *out_fd, int *out_port,
                             struct rc_error *err) {
    char port[16];
    if (split_address(listen_at, host, size, port, sizeof port, err) != RC_OK)
        return RC_FAIL;
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list;
    if (*host == '\0')
        hints.ai_family = AF_INET;
    int code = getaddrinfo(*host ? host : NULL, port, &hints, &list);
    if (code != 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "http.listen is \"%s\": %s", listen_at,
                            gai_strerror(code));
    int why, fd = bind_first(list, &why);
    freeaddrinfo(list);
    if (fd < 0)
        return rc_error_set(
            err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE,
            "cannot listen at http.listen = %s: %s; take another with --set http.listen=127.0.0.1:0 (any free port)",
            listen_at, strerror(why));
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound = {.v6 = {0}};
    socklen_t len = sizeof bound;
    if (getsockname(fd, &bound.any, &len) != 0) {
        why = errno;
        close(fd);
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "getsockname: %s", strerror(why));
    }
    *out_port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
    *out_fd = fd;
    return RC_OK;
}

/* ---- routes -------------------------------------------------------------------------------------------------------------- */

/* The route whose path is `path`, or the longest one that ends in `/` and begins it. Under the lock. */
static const struct route *find_route(const struct rc_http *http, const char *path) {
    const struct route *best = NULL;
    for (size_t i = 0; i < http->n_routes; i++) {
        const struct route *route = &http->routes[i];
        size_t len = strlen(route->path);
        if (strcmp(route->path, path) == 0)
            return route;
        if (route->path[len - 1] == '/' && strncmp(route->path, path, len) == 0 && (!best || len > strlen(best->path)))
            best = route;
    }
    return best;
}

static void not_found(const struct rc_http *http, struct rc_http_reply *reply) {
    reply->status = MHD_HTTP_NOT_FOUND;
    rc_buf_add_str(&reply->body, "not found; there is:\n");
    for (size_t i = 0; i < http->n_routes; i++)
        rc_buf_printf(&reply->body, "%s\n", http->routes[i].path);
}

static void add_route(struct rc_http *http, const char *path, rc_http_handler handler, void *ctx, bool post) {
    pthread_mutex_lock(&http->lock);
    for (size_t i = 0; i < http->n_routes; i++) {
        if (strcmp(http->routes[i].path, path) == 0) {
            http->routes[i].handler = handler;
            http->routes[i].ctx = ctx;
            http->routes[i].post = post;
            pthread_mutex_unlock(&http->lock);
            return;
        }
    }
    rc_grow(&http->routes, &http->capacity, http->n_routes + 1, sizeof *http->routes);
    http->routes[http->n_routes++] =
        (struct route){.path = rc_strdup(path), .handler = handler, .ctx = ctx, .post = post};
    pthread_mutex_unlock(&http->lock);
}

void rc_http_route(struct rc_http *http, const char *path, rc_http_handler handler, void *ctx) {
    add_route(http, path, handler, ctx, false);
}

void rc_http_route_post(struct rc_http *http, const char *path, rc_http_handler handler, void *ctx) {
    add_route(http, path, handler, ctx, true);
}

void rc_http_unroute(struct rc_http *http, const char *path) {
    pthread_mutex_lock(&http->lock);
    for (size_t i = 0; i < http->n_routes; i++) {
        if (strcmp(http->routes[i].path, path) == 0) {
            free(http->routes[i].path);
            http->routes[i] = http->routes[--http->n_routes];
            break;
        }
    }
    pthread_mutex_unlock(&http->lock);
}

/* ---- answering ----------------------------------------------------------------------------------------------------------- */

static enum MHD_Result send_reply(struct MHD_Connection *connection, struct rc_http_reply *reply) {
    if (reply->body.full) {
        rc_buf_reset(&reply->body);
        rc_buf_add_str(&reply->body, "the answer is larger than 64 MiB\n");
        reply->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
        reply->content_type = "text/plain; charset=utf-8";
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(reply->body.len, reply->body.data, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_len, void **state) {
    (void)version, (void)upload;
    static char seen_headers;
    if (*state == NULL) {
        *state = &seen_headers; /* libmicrohttpd calls once for the headers; answering then would cut a body off */
        return MHD_YES;
    }
    if (*upload_len) {
        *upload_len = 0;
        return MHD_YES;
    }
    struct rc_http *http = ctx;
    struct rc_http_reply reply = {.status = MHD_HTTP_OK, .content_type = "text/plain; charset=utf-8"};
    rc_buf_init(&reply.body, MAX_BODY);
    struct rc_http_request request = {
        .path = url, .post = strcmp(method, MHD_HTTP_METHOD_POST) == 0, .connection = connection};
    bool get = strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    pthread_mutex_lock(&http->lock);
    const struct route *route = find_route(http, url);
    if (!get && !(request.post && (!route || route->post))) {
        reply.status = MHD_HTTP_METHOD_NOT_ALLOWED;
        rc_buf_printf(&reply.body, "only GET%s and HEAD\n", route && route->post ? ", POST" : "");
    } else if (route) {
        route->handler(route->ctx, &request, &reply);
    } else {
        not_found(http, &reply);
    }
    pthread_mutex_unlock(&http->lock);
    enum MHD_Result result = send_reply(connection, &reply);
    rc_buf_deinit(&reply.body);
    return result;
}

const char *rc_http_query(const struct rc_http_request *request, const char *name) {
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

/* ---- life ------------------------------------------------------------------------------------------------------------------ */

static void silent(void *ctx, const char *fmt, va_list ap) {
    (void)ctx, (void)fmt, (void)ap; /* clients that hang up are no news */
}

rc_status rc_http_open(const char *listen_at, struct rc_http **out, struct rc_error *err) {
    char host[256] = "";
    int fd = -1, port = 0;
    if (open_socket(listen_at, host, sizeof host, &fd, &port, err) != RC_OK)
        return RC_FAIL;
    struct rc_http *http = rc_calloc(1, sizeof *http);
    pthread_mutex_init(&http->lock, NULL);
    http->port = port;
    bool any = *host == '\0' || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    if (!any || gethostname(http->host, sizeof http->host - 1) != 0)
        snprintf(http->host, sizeof http->host, "%s", any ? "127.0.0.1" : host);
    http->daemon = MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, http,
                                    MHD_OPTION_EXTERNAL_LOGGER, silent, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
                                    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S, MHD_OPTION_CONNECTION_LIMIT,
                                    (unsigned)CONNECTIONS, MHD_OPTION_END);
    if (!http->daemon) {
        close(fd);
        rc_http_close(http);
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "cannot start the HTTP server at %s", listen_at);
    }
    *out = http;
    return RC_OK;
}

void rc_http_close(struct rc_http *http) {
    if (!http)
        return;
    if (http->daemon)
        MHD_stop_daemon(http->daemon);
    for (size_t i = 0; i < http->n_routes; i++)
        free(http->routes[i].path);
    free(http->routes);
    pthread_mutex_destroy(&http->lock);
    free(http);
}

const char *rc_http_host(const struct rc_http *http) {
    return http->host;
}

int rc_http_port(const struct rc_http *http) {
    return http->port;
}
