/* Profiles in Redis: hash `<prefix>:profile:<person key>`, changed by one script (redis_script.h), many changes a call, several calls on
 * their way at a time on one connection.
 *
 * The race that it defends against: a reply is lost (Redis or the network goes away), and nobody knows whether the call was applied.
 *   1. The offset is stored by the very call that applies the changes.
 *   2. After any trouble the worker asks for the stored offsets and goes on from there, whatever it had sent.
 *   3. Each call names the offset that it expects, so calls that were sent behind a lost one, or by a former owner of the partition,
 *      change nothing. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/sink/driver.h"
#include "consumers/sink/redis_client.h"
#include "consumers/sink/redis_script.h"

#define SCAN_COUNT "1000"

struct redis {
    struct rc_sink_driver base;
    struct rc_redis_address address;
    char *destination, *cluster;
    char *offsets_key, *audiences_key, *profile_prefix;
    bool cluster_may_change;
    redisContext *context;
    char sha[41];
    bool unsent; /* the output buffer has bytes */

    struct rc_sink_batch **sent; /* ring of calls under way, oldest at `first` */
    size_t first, n_sent, sent_capacity;
    size_t pending;

    /* The call being put together. */
    struct rc_buf text;
    const char **argv;
    size_t *lengths, *starts;
    size_t argv_capacity, lengths_capacity, starts_capacity, argc;
};

static struct redis *redis_of(struct rc_sink_driver *driver) {
    return (struct redis *)driver;
}

static rc_status trouble(struct redis *redis, const char *what, struct rc_error *err) {
    return rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE, "redis of destination %s: %s: %s", redis->destination,
                        what, redis->context ? redis->context->errstr : "not connected");
}

/* ---- commands one by one, with nothing under way ------------------------------------------------------------------------------------ */

static rc_status set_blocking(struct redis *redis, bool blocking, struct rc_error *err) {
    int fd = redis->context->fd, flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK) < 0)
        return rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE, "redis of destination %s: fcntl: %s",
                            redis->destination, strerror(errno));
    redis->context->flags = blocking ? redis->context->flags | REDIS_BLOCK : redis->context->flags & ~REDIS_BLOCK;
    return RC_OK;
}

/* `argv` of NUL-terminated texts. */
static rc_status command(struct redis *redis, int argc, const char **argv, redisReply **out, struct rc_error *err) {
    if (set_blocking(redis, true, err))
        return RC_FAIL;
    if (rc_redis_command(redis->context, argc, argv, NULL, out, err))
        return rc_error_prefix(err, "redis of destination %s", redis->destination);
    if (set_blocking(redis, false, err)) {
        freeReplyObject(*out);
        return RC_FAIL;
    }
    return RC_OK;
}

/* The same, its reply of no interest. */
static rc_status order(struct redis *redis, int argc, const char **argv, struct rc_error *err) {
    redisReply *reply = NULL;
    if (command(redis, argc, argv, &reply, err))
        return RC_FAIL;
    freeReplyObject(reply);
    return RC_OK;
}

static rc_status load_script(struct redis *redis, struct rc_error *err) {
    const char *argv[] = {"SCRIPT", "LOAD", rc_sink_redis_script};
    redisReply *reply = NULL;
    if (command(redis, 3, argv, &reply, err))
        return RC_FAIL;
    bool fits = reply->type == REDIS_REPLY_STRING && reply->len == sizeof redis->sha - 1;
    if (fits)
        memcpy(redis->sha, reply->str, sizeof redis->sha);
    freeReplyObject(reply);
    return fits ? RC_OK : trouble(redis, "SCRIPT LOAD gave no digest", err);
}

static rc_status redis_connect(struct rc_sink_driver *driver, struct rc_error *err) {
    struct redis *redis = redis_of(driver);
    if (rc_redis_connect(&redis->address, &redis->context, err))
        return rc_error_prefix(err, "destination %s", redis->destination);
    if (set_blocking(redis, false, err) || load_script(redis, err)) {
        redisFree(redis->context);
        redis->context = NULL;
        return RC_FAIL;
    }
    return RC_OK;
}

static void redis_disconnect(struct rc_sink_driver *driver) {
    struct redis *redis = redis_of(driver);
    for (size_t i = 0; i < redis->n_sent; i++)
        rc_sink_batch_free(redis->sent[(redis->first + i) % redis->sent_capacity]);
    redis->first = redis->n_sent = redis->pending = 0;
    redis->unsent = false;
    if (redis->context)
        redisFree(redis->context);
    redis->context = NULL;
}

/* ---- offsets and audiences ----------------------------------------------------------------------------------------------------------- */

/* Removes every profile of this prefix, and the offsets: they are another cluster's, whose versions mean nothing here. */
static rc_status discard(struct redis *redis, struct rc_error *err) {
    char cursor[32] = "0";
    struct rc_buf pattern;
    rc_buf_init(&pattern, 4096);
    (void)rc_buf_printf(&pattern, "%s*", redis->profile_prefix);
    rc_status status = RC_OK;
    do {
        const char *scan[] = {"SCAN", cursor, "MATCH", pattern.data, "COUNT", SCAN_COUNT};
        redisReply *reply = NULL;
        if ((status = command(redis, 6, scan, &reply, err)))
            break;
        if (reply->elements == 2 && reply->element[0]->type == REDIS_REPLY_STRING) {
            snprintf(cursor, sizeof cursor, "%s", reply->element[0]->str);
            for (size_t i = 0; status == RC_OK && i < reply->element[1]->elements; i++) {
                const char *unlink[] = {"UNLINK", reply->element[1]->element[i]->str};
                status = order(redis, 2, unlink, err);
            }
        } else {
            status = trouble(redis, "SCAN gave no list", err);
        }
        freeReplyObject(reply);
    } while (status == RC_OK && strcmp(cursor, "0") != 0);
    rc_buf_deinit(&pattern);
    const char *remove[] = {"DEL", redis->offsets_key, redis->audiences_key};
    return status || order(redis, 3, remove, err) ? RC_FAIL : RC_OK;
}

static rc_status other_cluster(struct redis *redis, const char *found, struct rc_error *err) {
    if (!redis->cluster_may_change)
        return rc_error_set(
            err, RC_CLASS_RETRY, RC_EXIT_CONFIG,
            "redis of destination %s holds the profiles of Kafka cluster %s, this is cluster %s: their versions do not "
            "fit "
            "together; use another topics.prefix or database, or delete the keys %s and %s* if that cluster is gone",
            redis->destination, found, redis->cluster, redis->offsets_key, redis->profile_prefix);
    rc_log(RC_LOG_WARN, "profiles of another cluster are discarded", rc_f_str("destination", redis->destination),
           rc_f_str("theirs", found), rc_f_str("ours", redis->cluster));
    return discard(redis, err);
}

static rc_status redis_offsets(struct rc_sink_driver *driver, const int32_t *partitions, size_t n, int64_t *out,
                               struct rc_error *err) {
    struct redis *redis = redis_of(driver);
    const char *argv[] = {"HGETALL", redis->offsets_key};
    redisReply *reply = NULL;
    if (command(redis, 2, argv, &reply, err))
        return RC_FAIL;
    rc_status status = RC_OK;
    for (size_t i = 0; i < n; i++)
        out[i] = RC_SINK_NO_OFFSET;
    for (size_t i = 0; status == RC_OK && i + 1 < reply->elements; i += 2) {
        const char *field = reply->element[i]->str, *value = reply->element[i + 1]->str;
        if (strcmp(field, "cluster") == 0) {
            if (strcmp(value, redis->cluster) == 0)
                continue;
            status = other_cluster(redis, value, err);
            for (size_t k = 0; k < n; k++)
                out[k] = RC_SINK_NO_OFFSET;
            break;
        }
        char *end;
        long partition = strtol(field, &end, 10);
        for (size_t k = 0; end != field && !*end && k < n; k++)
            if (partitions[k] == partition)
                out[k] = strtoll(value, NULL, 10);
    }
    freeReplyObject(reply);
    return status;
}

static rc_status redis_rewind(struct rc_sink_driver *driver, const int32_t *partitions, const int64_t *offsets,
                              size_t n, struct rc_error *err) {
    struct redis *redis = redis_of(driver);
    for (size_t i = 0; i < n; i++) {
        char field[16], value[32];
        snprintf(field, sizeof field, "%" PRId32, partitions[i]);
        snprintf(value, sizeof value, "%" PRId64, offsets[i]);
        const char *set[] = {"HSET", redis->offsets_key, "cluster", redis->cluster, field, value};
        const char *remove[] = {"HDEL", redis->offsets_key, field};
        if (offsets[i] == RC_SINK_NO_OFFSET ? order(redis, 3, remove, err) : order(redis, 6, set, err))
            return RC_FAIL;
    }
    return RC_OK;
}

static rc_status redis_attached(struct rc_sink_driver *driver, void (*visit)(void *ctx, struct rc_span audience),
                                void *ctx, struct rc_error *err) {
    struct redis *redis = redis_of(driver);
    const char *argv[] = {"SMEMBERS", redis->audiences_key};
    redisReply *reply = NULL;
    if (command(redis, 2, argv, &reply, err))
        return RC_FAIL;
    for (size_t i = 0; i < reply->elements; i++)
        visit(ctx, rc_span_of(reply->element[i]->str, reply->element[i]->len));
    freeReplyObject(reply);
    return RC_OK;
}

static rc_status redis_attach(struct rc_sink_driver *driver, const char *const *audiences, size_t n,
                              struct rc_error *err) {
    struct redis *redis = redis_of(driver);
    const char **argv = rc_alloc((n + 2) * sizeof *argv);
    argv[0] = "SADD";
    argv[1] = redis->audiences_key;
    memcpy(argv + 2, audiences, n * sizeof *argv);
    rc_status status = n ? order(redis, (int)n + 2, argv, err) : RC_OK;
    free(argv);
    return status;
}

static rc_status redis_detach(struct rc_sink_driver *driver, const char *audience, struct rc_error *err) {
    struct redis *redis = redis_of(driver);
    const char *argv[] = {"SREM", redis->audiences_key, audience};
    return order(redis, 3, argv, err);
}

/* ---- calls --------------------------------------------------------------------------------------------------------------------------- */

/* Begins a new element of the call; its text is what is added to redis->text until the next one. */
static void next_element(struct redis *redis) {
    rc_grow(&redis->starts, &redis->starts_capacity, redis->argc + 1, sizeof *redis->starts);
    redis->starts[redis->argc++] = redis->text.len;
}

static void add_text(struct redis *redis, const char *text) {
    next_element(redis);
    (void)rc_buf_add_str(&redis->text, text);
}

static void add_number(struct redis *redis, int64_t number) {
    next_element(redis);
    (void)rc_buf_printf(&redis->text, "%" PRId64, number);
}

static void put_together(struct redis *redis, const struct rc_sink_batch *batch) {
    rc_buf_reset(&redis->text);
    redis->argc = 0;
    add_text(redis, "EVALSHA");
    add_text(redis, redis->sha);
    add_number(redis, (int64_t)batch->n + 1);
    add_text(redis, redis->offsets_key);
    for (size_t i = 0; i < batch->n; i++) {
        add_text(redis, redis->profile_prefix);
        (void)rc_buf_add_span(&redis->text, batch->changes[i].person_key);
    }
    add_text(redis, redis->cluster);
    add_number(redis, batch->partition);
    if (batch->expected == RC_SINK_NO_OFFSET)
        add_text(redis, "");
    else
        add_number(redis, batch->expected);
    add_number(redis, batch->next);
    for (size_t i = 0; i < batch->n; i++) {
        const struct rc_membership *change = &batch->changes[i].change;
        next_element(redis);
        (void)rc_profile_field_add(&redis->text, change->target);
        next_element(redis);
        (void)rc_profile_value_add(&redis->text, change->realized, change->since_ms, change->version);
        add_number(redis, batch->changes[i].only_if_there ? -change->version : change->version);
    }
    rc_grow(&redis->argv, &redis->argv_capacity, redis->argc, sizeof *redis->argv);
    rc_grow(&redis->lengths, &redis->lengths_capacity, redis->argc, sizeof *redis->lengths);
    for (size_t i = 0; i < redis->argc; i++) {
        redis->argv[i] = redis->text.data + redis->starts[i];
        redis->lengths[i] = (i + 1 < redis->argc ? redis->starts[i + 1] : redis->text.len) - redis->starts[i];
    }
}

static rc_status flush(struct redis *redis, struct rc_error *err) {
    int done = 0;
    if (redis->unsent && redisBufferWrite(redis->context, &done) != REDIS_OK)
        return trouble(redis, "write", err);
    redis->unsent = redis->unsent && !done;
    return RC_OK;
}

static rc_status redis_submit(struct rc_sink_driver *driver, struct rc_sink_batch *batch, struct rc_error *err) {
    struct redis *redis = redis_of(driver);
    if (redis->n_sent == redis->sent_capacity) {
        /* Straighten the ring into a greater one. */
        size_t capacity = redis->sent_capacity ? 2 * redis->sent_capacity : 16;
        struct rc_sink_batch **sent = rc_alloc(capacity * sizeof(struct rc_sink_batch *));
        for (size_t i = 0; i < redis->n_sent; i++)
            sent[i] = redis->sent[(redis->first + i) % redis->sent_capacity];
        free(redis->sent);
        redis->sent = sent;
        redis->sent_capacity = capacity;
        redis->first = 0;
    }
    redis->sent[(redis->first + redis->n_sent++) % redis->sent_capacity] = batch;
    redis->pending += batch->n;
    if (!redis->context)
        return trouble(redis, "submit", err);
    put_together(redis, batch);
    if (redis->text.full)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                            "a call to redis of destination %s would be larger than %zu bytes", redis->destination,
                            redis->text.limit);
    if (redisAppendCommandArgv(redis->context, (int)redis->argc, redis->argv, redis->lengths) != REDIS_OK)
        return trouble(redis, "EVALSHA", err);
    redis->unsent = true;
    return flush(redis, err);
}

static rc_status take_reply(struct redis *redis, const redisReply *reply, rc_sink_done_fn done, void *ctx,
                            struct rc_error *err) {
    if (reply->type != REDIS_REPLY_INTEGER)
        return rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE, "redis of destination %s: EVALSHA: %s",
                            redis->destination,
                            reply->type == REDIS_REPLY_ERROR ? reply->str : "a reply that is no number");
    if (!redis->n_sent)
        return rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE,
                            "redis of destination %s gave a reply that nobody asked for", redis->destination);
    struct rc_sink_batch *batch = redis->sent[redis->first];
    redis->first = (redis->first + 1) % redis->sent_capacity;
    redis->n_sent--;
    redis->pending -= batch->n;
    done(ctx, batch, (size_t)reply->integer);
    return RC_OK;
}

static rc_status redis_progress(struct rc_sink_driver *driver, rc_sink_done_fn done, void *ctx, struct rc_error *err) {
    struct redis *redis = redis_of(driver);
    if (!redis->context)
        return trouble(redis, "read", err);
    if (flush(redis, err))
        return RC_FAIL;
    struct pollfd readable = {.fd = redis->context->fd, .events = POLLIN};
    if (poll(&readable, 1, 0) > 0 && redisBufferRead(redis->context) != REDIS_OK)
        return trouble(redis, "read", err);
    for (;;) {
        void *reply = NULL;
        if (redisGetReplyFromReader(redis->context, &reply) != REDIS_OK)
            return trouble(redis, "reply", err);
        if (!reply)
            return RC_OK;
        rc_status status = take_reply(redis, reply, done, ctx, err);
        freeReplyObject(reply);
        if (status)
            return RC_FAIL;
    }
}

static size_t redis_pending(const struct rc_sink_driver *driver) {
    return ((const struct redis *)driver)->pending;
}

static int redis_fd(const struct rc_sink_driver *driver, short *events) {
    const struct redis *redis = (const struct redis *)driver;
    *events = (short)(POLLIN | (redis->unsent ? POLLOUT : 0));
    return redis->context ? redis->context->fd : -1;
}

static void redis_free(struct rc_sink_driver *driver) {
    struct redis *redis = redis_of(driver);
    redis_disconnect(driver);
    rc_redis_address_deinit(&redis->address);
    rc_buf_deinit(&redis->text);
    free(redis->argv);
    free(redis->lengths);
    free(redis->starts);
    free(redis->sent);
    free(redis->destination);
    free(redis->cluster);
    free(redis->offsets_key);
    free(redis->audiences_key);
    free(redis->profile_prefix);
    free(redis);
}

static const struct rc_sink_driver_ops redis_ops = {
    .type = "redis",
    .connect = redis_connect,
    .disconnect = redis_disconnect,
    .offsets = redis_offsets,
    .rewind = redis_rewind,
    .attached = redis_attached,
    .attach = redis_attach,
    .detach = redis_detach,
    .submit = redis_submit,
    .progress = redis_progress,
    .pending = redis_pending,
    .fd = redis_fd,
    .free = redis_free,
};

static char *key_of(const char *prefix, const char *middle, const char *end) {
    struct rc_buf text;
    rc_buf_init(&text, 4096);
    (void)rc_buf_printf(&text, "%s:%s%s", prefix, middle, end);
    char *copy = rc_span_dup(rc_buf_span(&text));
    rc_buf_deinit(&text);
    return copy;
}

rc_status rc_sink_redis_new(const struct rc_sink_driver_options *options, struct rc_sink_driver **out,
                            struct rc_error *err) {
    struct rc_redis_address address;
    if (rc_redis_address_parse(options->url, options->password, &address, err))
        return rc_error_prefix(err, "destination %s", options->destination);
    struct redis *redis = rc_calloc(1, sizeof *redis);
    redis->base.ops = &redis_ops;
    redis->address = address;
    redis->destination = rc_strdup(options->destination);
    redis->cluster = rc_strdup(options->cluster);
    redis->cluster_may_change = options->cluster_may_change;
    char *mine = key_of("sink", options->destination, "");
    redis->offsets_key = key_of(options->prefix, mine, ":offsets");
    redis->audiences_key = key_of(options->prefix, mine, ":audiences");
    free(mine);
    redis->profile_prefix = key_of(options->prefix, "profile:", "");
    rc_buf_init(&redis->text, 512u << 20);
    *out = &redis->base;
    return RC_OK;
}
