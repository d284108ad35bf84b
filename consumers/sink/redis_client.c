#include "consumers/sink/redis_client.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

#define EXPECTED "expected redis://[[user]:password@]host[:port][/database] or unix:PATH[?db=N]"

static int hex(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char *decoded(const char *text, size_t len) {
    char *out = rc_alloc(len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        bool escaped = text[i] == '%' && i + 2 < len && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0;
        out[n++] = escaped ? (char)(hex(text[i + 1]) * 16 + hex(text[i + 2])) : text[i];
        i += escaped ? 2 : 0;
    }
    out[n] = '\0';
    return out;
}

static bool number(const char *text, size_t len, int most, int *out) {
    int value = 0;
    if (len == 0 || len > 6)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (text[i] - '0');
    }
    *out = value;
    return value <= most;
}

static rc_status parse_unix(const char *path, struct rc_redis_address *out, struct rc_error *err) {
    if (strncmp(path, "//", 2) == 0)
        path += 2;
    const char *query = strchr(path, '?');
    size_t len = query ? (size_t)(query - path) : strlen(path);
    if (!len ||
        (query && (strncmp(query, "?db=", 4) != 0 || !number(query + 4, strlen(query + 4), 65535, &out->database))))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "unix:%s is no address of a Redis; " EXPECTED, path);
    out->path = rc_span_dup(rc_span_of(path, len));
    return RC_OK;
}

static rc_status parse_tcp(const char *rest, struct rc_redis_address *out, struct rc_error *err) {
    const char *slash = strchr(rest, '/');
    size_t authority = slash ? (size_t)(slash - rest) : strlen(rest);
    /* The last @ parts them: a password may hold one that nobody escaped. */
    const char *at = memrchr(rest, '@', authority);
    if (at) {
        const char *colon = memchr(rest, ':', (size_t)(at - rest));
        const char *user_end = colon ? colon : at;
        if (user_end > rest)
            out->user = decoded(rest, (size_t)(user_end - rest));
        if (colon)
            out->password = decoded(colon + 1, (size_t)(at - colon - 1));
        authority -= (size_t)(at + 1 - rest);
        rest = at + 1;
    }
    const char *host = rest, *host_end = rest + authority, *port = NULL;
    if (authority && *rest == '[') { /* an IPv6 address */
        host_end = memchr(rest, ']', authority);
        if (!host_end)
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                                "the address of a Redis has a [ without ]; " EXPECTED);
        host = rest + 1;
        port = host_end + 1 < rest + authority && host_end[1] == ':' ? host_end + 2 : NULL;
    } else {
        const char *colon = memchr(rest, ':', authority);
        if (colon) {
            host_end = colon;
            port = colon + 1;
        }
    }
    out->port = 6379;
    if (port && !number(port, (size_t)(rest + authority - port), 65535, &out->port))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                            "the address of a Redis has the port \"%.*s\"; " EXPECTED, (int)(rest + authority - port),
                            port);
    if (slash && slash[1] && !number(slash + 1, strlen(slash + 1), 65535, &out->database))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                            "the address of a Redis has the database \"%s\"; " EXPECTED, slash + 1);
    out->host = host_end > host ? rc_span_dup(rc_span_of(host, (size_t)(host_end - host))) : rc_strdup("127.0.0.1");
    return RC_OK;
}

rc_status rc_redis_address_parse(const char *url, const char *password, struct rc_redis_address *out,
                                 struct rc_error *err) {
    struct rc_redis_address address = {0};
    rc_status status;
    if (strncmp(url, "redis://", 8) == 0)
        status = parse_tcp(url + 8, &address, err);
    else if (strncmp(url, "unix:", 5) == 0)
        status = parse_unix(url + 5, &address, err);
    else if (strncmp(url, "redis+unix:", 11) == 0)
        status = parse_unix(url + 11, &address, err);
    else
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                            "the address of a Redis begins with \"%.*s\"; " EXPECTED, (int)strcspn(url, ":@/"), url);
    if (status) {
        rc_redis_address_deinit(&address);
        return RC_FAIL;
    }
    if (password) {
        free(address.password);
        address.password = rc_strdup(password);
    }
    *out = address;
    return RC_OK;
}

void rc_redis_address_deinit(struct rc_redis_address *address) {
    free(address->host);
    free(address->path);
    free(address->user);
    free(address->password);
    *address = (struct rc_redis_address){0};
}

char *rc_redis_address_text(const struct rc_redis_address *address) {
    struct rc_buf text;
    rc_buf_init(&text, 8192);
    if (address->path)
        (void)rc_buf_printf(&text, "unix:%s?db=%d", address->path, address->database);
    else
        (void)rc_buf_printf(&text, "redis://%s:%d/%d", address->host, address->port, address->database);
    char *copy = rc_span_dup(rc_buf_span(&text));
    rc_buf_deinit(&text);
    return copy;
}

rc_status rc_redis_command(redisContext *context, int argc, const char **argv, const size_t *lengths, redisReply **out,
                           struct rc_error *err) {
    redisReply *reply = redisCommandArgv(context, argc, argv, lengths);
    if (!reply)
        return rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE, "%s: %s", argv[0], context->errstr);
    if (reply->type == REDIS_REPLY_ERROR) {
        rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE, "%s: %s", argv[0], reply->str);
        freeReplyObject(reply);
        return RC_FAIL;
    }
    *out = reply;
    return RC_OK;
}

static rc_status greet(const struct rc_redis_address *address, redisContext *context, struct rc_error *err) {
    redisReply *reply = NULL;
    if (address->password) {
        const char *argv[] = {"AUTH", address->user ? address->user : address->password, address->password};
        if (rc_redis_command(context, address->user ? 3 : 2, argv, NULL, &reply, err))
            return RC_FAIL;
        freeReplyObject(reply);
    }
    if (address->database) {
        char text[16];
        snprintf(text, sizeof text, "%d", address->database);
        const char *argv[] = {"SELECT", text};
        if (rc_redis_command(context, 2, argv, NULL, &reply, err))
            return RC_FAIL;
        freeReplyObject(reply);
    }
    return RC_OK;
}

rc_status rc_redis_connect(const struct rc_redis_address *address, redisContext **out, struct rc_error *err) {
    struct timeval timeout = {.tv_sec = RC_REDIS_TIMEOUT_MS / 1000};
    redisContext *context = address->path ? redisConnectUnixWithTimeout(address->path, timeout)
                                          : redisConnectWithTimeout(address->host, address->port, timeout);
    char *where = rc_redis_address_text(address);
    rc_status status = RC_OK;
    if (!context || context->err)
        status =
            rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE, "%s", context ? context->errstr : "out of memory");
    else if (redisSetTimeout(context, timeout) != REDIS_OK)
        status = rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE, "%s", context->errstr);
    else
        status = greet(address, context, err);
    if (status) {
        rc_error_prefix(err, "%s", where);
        if (context)
            redisFree(context);
    } else {
        if (address->host)
            redisEnableKeepAlive(context); /* a unix socket has none, and hiredis takes that for a broken connection */
        *out = context;
    }
    free(where);
    return status;
}
