/* The follower of `<prefix>.processes`. See peers.h. */
#include "consumers/shared/peers.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "kafka/source.h"
#include "kafka/topics.h"

struct rc_peers {
    const struct rc_config *config;
    struct rc_loop *loop;
    const char *key;
    char *topic;
    struct rc_kafka_source *source; /* NULL: nobody wants to know */
    json_t *told;
};

struct rc_peers *rc_peers_new(const struct rc_config *config, struct rc_loop *loop, const char *key) {
    struct rc_peers *peers = rc_calloc(1, sizeof *peers);
    *peers = (struct rc_peers){
        .config = config, .loop = loop, .key = key, .topic = rc_topic_name(config, "processes"), .told = json_object()};
    return peers;
}

void rc_peers_free(struct rc_peers *peers) {
    if (!peers)
        return;
    rc_source_close(peers->source);
    json_decref(peers->told);
    free(peers->topic);
    free(peers);
}

static void take(struct rc_peers *peers, const struct rc_message *message) {
    char *name = rc_span_dup(message->key);
    json_t *record = message->null_value ? NULL : json_loadb(message->value.data, message->value.len, 0, NULL);
    json_t *value = json_object_get(record, peers->key); /* without: another role's, or a process that is gone */
    if (value)
        json_object_set(peers->told, name, value);
    else
        json_object_del(peers->told, name);
    json_decref(record);
    free(name);
}

static rc_status follow(struct rc_peers *peers, struct rc_error *err) {
    struct rc_source_options options = {.name = "peers", .wake_fd = rc_loop_fd(peers->loop)};
    struct rc_source_partition partition = {.topic = peers->topic, .start = RC_START_BEGINNING};
    return rc_source_open(peers->config, &options, &peers->source, err) ||
                   rc_source_assign(peers->source, &partition, 1, err)
               ? RC_FAIL
               : RC_OK;
}

static rc_status listen(struct rc_peers *peers, struct rc_error *err) {
    if (!peers->source && follow(peers, err))
        return RC_FAIL;
    for (;;) {
        struct rc_message message;
        switch (rc_source_poll(peers->source, 0, &message, err)) {
        case RC_POLLED_NOTHING: return RC_OK;
        case RC_POLLED_EVENT: break;
        case RC_POLLED_ERROR:
            if (err->class != RC_CLASS_RETRY)
                return RC_FAIL;
            break;
        case RC_POLLED_MESSAGE:
            take(peers, &message);
            rc_message_release(&message);
            break;
        }
    }
}

void rc_peers_listen(struct rc_peers *peers) {
    struct rc_error err;
    if (listen(peers, &err) == RC_OK)
        return;
    rc_log_limited(RC_LOG_WARN, "what other processes count is not known, trying again", rc_f_err(&err));
    rc_source_close(peers->source);
    peers->source = NULL;
}

void rc_peers_rest(struct rc_peers *peers) {
    rc_source_close(peers->source);
    peers->source = NULL;
    json_object_clear(peers->told);
}

json_t *rc_peers_told(const struct rc_peers *peers) {
    return peers->told;
}
