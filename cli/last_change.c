/* Reads one partition from its end backwards, a step at a time, each four times as long as the one before. */
#include "cli/last_change.h"

#include <stdlib.h>

#include "base/clock.h"
#include "codec/membership.h"
#include "codec/person_key.h"
#include "consumers/shared/payload.h"
#include "kafka/source.h"
#include "kafka/topics.h"

#define FIRST_STEP 2000 /* records */
#define GROWTH 4

struct search {
    const char *topic; /* borrowed */
    int32_t partition;
    bool confluent;
    struct rc_span person, target;
    int64_t until_ms; /* monotonic */
    json_t *found;    /* owned */
    int64_t version;
};

static void take(struct search *search, const struct rc_message *message) {
    struct rc_span person, target;
    struct rc_membership change;
    struct rc_error ignored;
    if (message->null_value || rc_membership_key_split(message->key, &person, &target) != RC_OK ||
        !rc_span_equal(person, search->person) || !rc_span_equal(target, search->target) ||
        rc_membership_read(message->value, search->confluent, &change, &ignored) != RC_OK ||
        (search->found && change.version < search->version))
        return;
    json_decref(search->found);
    search->version = change.version;
    search->found = json_pack("{s:s, s:I, s:I, s:s, s:s%, s:I, s:i}", "status", change.realized ? "realized" : "exited",
                              "since", (json_int_t)change.since_ms, "version", (json_int_t)change.version, "cause",
                              rc_cause_text(change.cause), "eventId", change.event_id.len ? change.event_id.data : "",
                              change.event_id.len, "emittedAt", (json_int_t)change.emitted_at_ms, "targetVersion",
                              (int)change.target_version);
    if (!change.event_id.len)
        json_object_set_new(search->found, "eventId", json_null());
    json_object_set_new(search->found, "eventTime",
                        change.event_time_ms == RC_NO_EVENT_TIME ? json_null() : json_integer(change.event_time_ms));
}

/* Reads [from, to). False when the time is up before. */
static rc_status read_step(struct search *search, struct rc_kafka_source *source, int64_t from, int64_t to,
                           bool *in_time, struct rc_error *err) {
    struct rc_source_partition part = {.topic = search->topic, .partition = search->partition, .start = from};
    *in_time = true;
    if (rc_source_assign(source, &part, 1, err) != RC_OK)
        return RC_FAIL;
    for (bool done = false; !done && *in_time;) {
        struct rc_message message;
        int64_t position, end;
        switch (rc_source_poll(source, 20, &message, err)) {
        case RC_POLLED_MESSAGE:
            if (message.offset < to)
                take(search, &message);
            done = message.offset + 1 >= to;
            rc_message_release(&message);
            break;
        case RC_POLLED_ERROR:
            if (err->class != RC_CLASS_RETRY)
                return RC_FAIL;
            break;
        case RC_POLLED_NOTHING:
        case RC_POLLED_EVENT: /* what comes to nobody stands behind the last message */
            done = rc_source_position(source, search->topic, search->partition, &position, &end) == RC_OK &&
                   position >= to;
            break;
        }
        *in_time = done || rc_clock_monotonic_ms() < search->until_ms;
    }
    return RC_OK;
}

static rc_status look_back(const struct rc_cli *cli, struct search *search, int64_t low, int64_t high, bool *complete,
                           struct rc_error *err) {
    struct rc_source_options options = {.name = "last-change", .wake_fd = -1};
    struct rc_kafka_source *source;
    if (rc_source_open(cli->config, &options, &source, err) != RC_OK)
        return RC_FAIL;
    rc_status status = RC_OK;
    bool in_time = true;
    for (int64_t to = high, step = FIRST_STEP; status == RC_OK && in_time && !search->found && to > low;
         step *= GROWTH) {
        int64_t from = to - low > step ? to - step : low;
        status = read_step(search, source, from, to, &in_time, err);
        to = from;
        *complete = in_time && from == low;
    }
    rc_source_close(source);
    return status;
}

rc_status rc_cli_last_change(const struct rc_cli *cli, const char *topic, const char *person, const char *target,
                             int budget_ms, json_t **out, bool *complete, struct rc_error *err) {
    char *name = rc_topic_name(cli->config, topic);
    struct search search = {.topic = name,
                            .confluent = rc_payload_confluent(cli->config),
                            .person = rc_span_str(person),
                            .target = rc_span_str(target),
                            .until_ms = rc_clock_monotonic_ms() + budget_ms};
    struct rc_admin *admin;
    int32_t n = 0;
    int64_t low = 0, high = 0;
    if (rc_admin_open(cli->config, &admin, err) != RC_OK) {
        free(name);
        return RC_FAIL;
    }
    rc_status status = rc_topic_partitions(admin, name, CLI_KAFKA_TIMEOUT_MS, &n, err);
    if (status == RC_OK && n > 0) {
        search.partition = rc_person_key_partition(search.person, n);
        status = rc_admin_bounds(admin, name, search.partition, CLI_KAFKA_TIMEOUT_MS, &low, &high, err);
    }
    rc_admin_close(admin);
    *complete = high <= low;
    if (status == RC_OK && high > low)
        status = look_back(cli, &search, low, high, complete, err);
    free(name);
    if (status != RC_OK) {
        json_decref(search.found);
        return rc_cli_broker_error(cli, err);
    }
    *out = search.found;
    return RC_OK;
}
