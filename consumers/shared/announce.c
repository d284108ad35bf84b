/* A consumer's record in <prefix>.processes. */
#include "consumers/shared/announce.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/timezone.h"
#include "consumers/shared/delivery.h"
#include "kafka/topics.h"

#define FAREWELL_MS 3000

struct rc_announcer {
    const struct rc_process *process;
    struct rc_producer *producer;
    struct rc_producer *own; /* with exactly_once: who runs where is no part of a transaction */
    char *topic, *key;
    const char *role;
    char since[25];
    json_t *more; /* owned */
    char *said;   /* the last value; NULL: none */
};

rc_status rc_announcer_open(const struct rc_process *process, const char *role, struct rc_producer *producer,
                            struct rc_announcer **out, struct rc_error *err) {
    struct rc_announcer *announcer = rc_calloc(1, sizeof *announcer);
    struct rc_producer_options options = {.name = "announcer", .wake_fd = -1};
    if (rc_delivery_exactly_once(process->config) &&
        rc_producer_open(process->config, &options, &announcer->own, err) != RC_OK) {
        free(announcer);
        return RC_FAIL;
    }
    announcer->process = process;
    announcer->producer = announcer->own ? announcer->own : producer;
    announcer->role = role;
    announcer->topic = rc_topic_name(process->config, "processes");
    size_t bytes = strlen(process->instance) + strlen(role) + 2;
    announcer->key = rc_alloc(bytes);
    snprintf(announcer->key, bytes, "%s-%s", process->instance, role);
    rc_rfc3339_format(rc_clock_wall_ms(), announcer->since);
    *out = announcer;
    return RC_OK;
}

static rc_status say(struct rc_announcer *announcer, const char *value, struct rc_error *err) {
    struct rc_outgoing record = {.topic = announcer->topic,
                                 .key = rc_span_str(announcer->key),
                                 .value = rc_span_str(value),
                                 .null_value = value == NULL,
                                 .timestamp_ms = RC_NO_TIMESTAMP};
    return rc_producer_send(announcer->producer, &record, err);
}

void rc_announcer_add(struct rc_announcer *announcer, const char *key, const json_t *value) {
    if (!announcer->more)
        announcer->more = json_object();
    json_object_set(announcer->more, key, (json_t *)(uintptr_t)value);
}

rc_status rc_announcer_tell(struct rc_announcer *announcer, const int32_t *partitions, size_t n, struct rc_error *err) {
    const struct rc_http *http = announcer->process->http;
    json_t *json =
        json_pack("{s:s, s:s, s:s?, s:i, s:s}", "instance", announcer->key, "role", announcer->role, "host",
                  http ? rc_http_host(http) : NULL, "port", http ? rc_http_port(http) : 0, "since", announcer->since);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer(partitions[i]));
    json_object_set_new(json, "partitions", list);
    json_object_update(json, announcer->more);
    char *value = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    rc_status status = announcer->own ? rc_producer_poll(announcer->own, 0, err) : RC_OK;
    if (status == RC_OK && (!announcer->said || strcmp(announcer->said, value) != 0))
        status = say(announcer, value, err);
    if (status == RC_OK) {
        free(announcer->said);
        announcer->said = value;
    } else {
        free(value);
    }
    return status;
}

struct rc_producer *rc_announcer_producer(struct rc_announcer *announcer) {
    return announcer->producer;
}

void rc_announcer_close(struct rc_announcer *announcer) {
    if (!announcer)
        return;
    struct rc_error err;
    /* Not told: nothing to take back. When the tombstone cannot be sent, the record stays, and nobody answers on its
     * port. */
    if (announcer->said) {
        rc_status status = say(announcer, NULL, &err);
        if (status == RC_OK && announcer->own && rc_producer_flush(announcer->own, FAREWELL_MS, &err) != RC_OK)
            rc_log(RC_LOG_WARN, "the farewell was not acknowledged", rc_f_err(&err));
    }
    rc_producer_close(announcer->own);
    free(announcer->said);
    json_decref(announcer->more);
    free(announcer->topic);
    free(announcer->key);
    free(announcer);
}
