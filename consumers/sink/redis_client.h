/* A connection to Redis: URL, authentication, database; commands one by one with a deadline. Over hiredis. */
#ifndef RC_SINK_REDIS_CLIENT_H
#define RC_SINK_REDIS_CLIENT_H

#include <hiredis/hiredis.h>

#include "base/error.h"

#define RC_REDIS_TIMEOUT_MS 5000

struct rc_redis_address {
    char *host; /* NULL: a unix socket */
    int port;
    char *path;     /* of the unix socket */
    char *user;     /* may be NULL */
    char *password; /* may be NULL */
    int database;
};

/* redis://[[user]:password@]host[:port][/database], unix:PATH[?db=N] or redis+unix:PATH. User and password are percent-decoded. `password`:
 * when not NULL, instead of the URL's. Fails (FATAL, exit 78) with what is expected; the message does not show the password. */
rc_status rc_redis_address_parse(const char *url, const char *password, struct rc_redis_address *out,
                                 struct rc_error *err) RC_MUST_USE;
void rc_redis_address_deinit(struct rc_redis_address *address);
/* "redis://host:port/db", for messages: without secrets. Owned by the caller. */
char *rc_redis_address_text(const struct rc_redis_address *address);

/* Connects, authenticates, selects the database; blocking, bounded by RC_REDIS_TIMEOUT_MS a step. Fails: RETRY (exit 69), also when the
 * password is wrong: it is mended outside. */
rc_status rc_redis_connect(const struct rc_redis_address *address, redisContext **out, struct rc_error *err)
    RC_MUST_USE;

/* One command, its reply owned by the caller (freeReplyObject). An error reply is a failure: RETRY, the message holds it. */
rc_status rc_redis_command(redisContext *context, int argc, const char **argv, const size_t *lengths, redisReply **out,
                           struct rc_error *err) RC_MUST_USE;

#endif
