/* The admin plane: a small HTTP server (libmicrohttpd) with its own thread for /metrics, /healthz, /readyz and /status.
 *
 * It never blocks the data plane: handlers run in the server's thread and read atomics, or take a short lock of their own. */
#ifndef RC_BASE_HTTP_H
#define RC_BASE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct rc_http;

struct rc_http_request {
    const char *path; /* decoded, without the query; borrowed for the call */
    bool post;        /* the method; a body is thrown away */
    void *connection; /* for rc_http_query */
};

struct rc_http_reply {
    int status;               /* 200 at first */
    const char *content_type; /* a literal; text/plain; charset=utf-8 at first */
    struct rc_buf body;       /* append here; ceiling 64 MiB */
};

typedef void (*rc_http_handler)(void *ctx, const struct rc_http_request *request, struct rc_http_reply *reply);

/* Listens at "host:port"; port 0 takes any free one; an empty host is every address. Answers 404 with the list of routes to what no
 * route fits, 405 to methods other than GET and HEAD (and POST where a route takes it). Fails FATAL, exit 78 on a malformed address, 69 when it is in use. */
rc_status rc_http_open(const char *listen, struct rc_http **out, struct rc_error *err) RC_MUST_USE;

/* Waits for running handlers, then closes. NULL is fine. */
void rc_http_close(struct rc_http *http);

/* Serves `path` by `handler`; a path that ends in `/` serves all below it. May be called at any time; the same path again replaces. `path`
 * is copied, `ctx` borrowed until rc_http_close or rc_http_unroute. */
void rc_http_route(struct rc_http *http, const char *path, rc_http_handler handler, void *ctx);
/* The same for a path that may be asked for by POST as well: it does something. */
void rc_http_route_post(struct rc_http *http, const char *path, rc_http_handler handler, void *ctx);
/* Removes a route; when it returns no call of its handler is running any more. */
void rc_http_unroute(struct rc_http *http, const char *path);

/* The value of a query argument (decoded), or NULL. Borrowed for the call. */
const char *rc_http_query(const struct rc_http_request *request, const char *name);

/* Where it listens: the host as given (the machine's name when every address), the port as it is. */
const char *rc_http_host(const struct rc_http *http);
int rc_http_port(const struct rc_http *http);

#endif
