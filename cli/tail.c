/* Follows the memberships topic, and the segments topic where segments are asked for. Reads without a group, so it takes nothing from anybody and leaves no trace. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/signal.h"
#include "cli/applied.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "codec/membership.h"
#include "codec/person_key.h"
#include "consumers/shared/payload.h"
#include "kafka/read.h"
#include "kafka/topics.h"

#define POLL_MS 200

struct filter {
    const struct rc_cli *cli;
    char *memberships, *segments; /* topics; owned; NULL: not read */
    const char *person;           /* person key, or NULL */
    int status;                   /* 1 realized, 0 exited, −1 both */
    bool json, confluent;
    int64_t since_ms; /* INT64_MIN: no limit */
    int64_t left;     /* changes to print; < 0: no end */
};

/* Whether the option was given with this value, or not at all. */
static bool wants(const struct rc_cli *cli, const char *option, struct rc_span value) {
    const char *wanted = rc_cli_value_at(cli, option, 0);
    for (size_t i = 1; wanted; wanted = rc_cli_value_at(cli, option, i++)) {
        if (rc_span_equal(value, rc_span_str(wanted)))
            return true;
    }
    return !rc_cli_has(cli, option);
}

static void print_change(const struct filter *filter, const struct rc_membership *change, bool segment) {
    const char *status = change->realized ? "realized" : "exited";
    if (filter->json) {
        json_t *line = json_pack("{s:s%, s:s%, s:s%, s:s, s:I, s:I, s:s, s:I, s:i}", segment ? "segment" : "audience",
                                 change->target.data, change->target.len, "namespace", change->namespace.data,
                                 change->namespace.len, "id", change->person_id.data, change->person_id.len, "status",
                                 status, "since", (json_int_t)change->since_ms, "version", (json_int_t)change->version,
                                 "cause", rc_cause_text(change->cause), "emittedAt", (json_int_t)change->emitted_at_ms,
                                 segment ? "segmentVersion" : "audienceVersion", (int)change->target_version);
        if (change->event_id.len)
            json_object_set_new(line, "eventId", json_stringn(change->event_id.data, change->event_id.len));
        if (change->event_time_ms != RC_NO_EVENT_TIME)
            json_object_set_new(line, "eventTime", json_integer(change->event_time_ms));
        rc_cli_json_print(line);
        return;
    }
    char since[25];
    printf("%s  %-8s  %s%-24.*s  %.*s:%.*s  (%s)\n", rc_cli_time(change->since_ms, since), status,
           segment ? "segment/" : "", (int)change->target.len, change->target.data, (int)change->namespace.len,
           change->namespace.data, (int)change->person_id.len, change->person_id.data, rc_cause_text(change->cause));
}

static rc_status take(struct filter *filter, const struct rc_message *message, struct rc_error *err) {
    struct rc_span person, target;
    struct rc_membership change;
    bool segment = filter->segments && strcmp(message->topic, filter->segments) == 0;
    if (message->null_value || message->timestamp_ms < filter->since_ms ||
        rc_membership_key_split(message->key, &person, &target) != RC_OK ||
        !wants(filter->cli, segment ? "segment" : "audience", target) ||
        (filter->person && !rc_span_equal(person, rc_span_str(filter->person))))
        return RC_OK;
    if (rc_membership_read(message->value, filter->confluent, &change, err) != RC_OK)
        return rc_error_prefix(err, "%s, partition %d, offset %lld", message->topic, message->partition,
                               (long long)message->offset);
    if ((filter->status >= 0 && filter->status != (int)change.realized) ||
        !wants(filter->cli, "namespace", change.namespace) ||
        !wants(filter->cli, "cause", rc_span_str(rc_cause_text(change.cause))))
        return RC_OK;
    print_change(filter, &change, segment);
    if (filter->left > 0)
        filter->left--;
    return RC_OK;
}

/* The partitions of a topic, each from where its reading begins: its present end, the first record of a time, or the first one that is there. */
static rc_status add_topic(const struct filter *filter, const char *topic, struct rc_source_partition **parts,
                           size_t *n, size_t *capacity, struct rc_error *err) {
    const struct rc_cli *cli = filter->cli;
    struct rc_admin *admin;
    int32_t count = 0;
    if (rc_admin_open(cli->config, &admin, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_topic_partitions(admin, topic, CLI_KAFKA_TIMEOUT_MS, &count, err);
    rc_admin_close(admin);
    if (status == RC_OK && count == 0)
        return rc_error_set(
            err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE,
            "kafka.bootstrap.servers = %s has no topic %s yet; `rollcall apply` creates it (is topics.prefix right?)",
            rc_config_text(cli->config, "kafka.bootstrap.servers"), topic);
    struct rc_read_span *spans = rc_calloc((size_t)count + 1, sizeof *spans);
    for (int32_t p = 0; p < count; p++)
        spans[p] = (struct rc_read_span){.topic = topic, .partition = p};
    if (status == RC_OK)
        status =
            rc_kafka_read_bounds(cli->config, spans, (size_t)count, filter->since_ms, NULL, CLI_KAFKA_TIMEOUT_MS, err);
    bool past = rc_cli_has(cli, "from-beginning") || filter->since_ms != INT64_MIN;
    for (int32_t p = 0; status == RC_OK && p < count; p++) {
        rc_grow(parts, capacity, *n + 1, sizeof **parts);
        (*parts)[(*n)++] =
            (struct rc_source_partition){.topic = topic, .partition = p, .start = past ? spans[p].from : spans[p].end};
    }
    free(spans);
    return status == RC_OK ? RC_OK : rc_cli_broker_error(cli, err);
}

/* Ends are asked for at once, so that nothing which comes while the reader starts is passed over. */
static rc_status assign(const struct filter *filter, struct rc_kafka_source *source, struct rc_error *err) {
    struct rc_source_partition *parts = NULL;
    size_t n = 0, capacity = 0;
    rc_status status = RC_OK;
    if (filter->memberships)
        status = add_topic(filter, filter->memberships, &parts, &n, &capacity, err);
    if (status == RC_OK && filter->segments)
        status = add_topic(filter, filter->segments, &parts, &n, &capacity, err);
    if (status == RC_OK)
        status = rc_source_assign(source, parts, n, err);
    free(parts);
    return status;
}

static rc_status follow(struct rc_kafka_source *source, struct filter *filter, const struct rc_stop *stop,
                        struct rc_error *err) {
    while (!rc_stop_requested(stop) && filter->left != 0 && !ferror(stdout)) {
        struct rc_message message;
        rc_status status = RC_OK;
        switch (rc_source_poll(source, POLL_MS, &message, err)) {
        case RC_POLLED_MESSAGE:
            status = take(filter, &message, err);
            rc_message_release(&message);
            break;
        case RC_POLLED_ERROR: status = err->class == RC_CLASS_RETRY ? RC_OK : RC_FAIL; break;
        case RC_POLLED_NOTHING:
        case RC_POLLED_EVENT: break;
        }
        if (status != RC_OK)
            return RC_FAIL;
        fflush(stdout);
    }
    return RC_OK;
}

/* A cause that is none would wait for ever. */
static rc_status check_causes(const struct rc_cli *cli, struct rc_error *err) {
    const char *cause;
    for (size_t i = 0; (cause = rc_cli_value_at(cli, "cause", i)) != NULL; i++) {
        bool known = false;
        for (int c = 0; c < RC_CAUSE_COUNT; c++)
            known |= strcmp(cause, rc_cause_text((enum rc_cause)c)) == 0;
        if (!known)
            return rc_cli_usage(cli, err,
                                "--cause is \"%s\", expected event, time, backfill, schedule, definition, consent or "
                                "restore",
                                cause);
    }
    return RC_OK;
}

static rc_status read_filter(const struct rc_cli *cli, struct filter *filter, struct rc_error *err) {
    const char *status = rc_cli_value(cli, "status");
    *filter = (struct filter){.cli = cli,
                              .person = rc_cli_value(cli, "person"),
                              .status = -1,
                              .json = rc_cli_has(cli, "json"),
                              .since_ms = INT64_MIN,
                              .left = -1};
    if (status && strcmp(status, "realized") != 0 && strcmp(status, "exited") != 0)
        return rc_cli_usage(cli, err, "--status is \"%s\", expected realized or exited", status);
    if (status)
        filter->status = *status == 'r';
    struct rc_span namespace, id;
    struct rc_buf scratch;
    rc_buf_init(&scratch, 4096);
    bool bad = filter->person && rc_person_key_split(rc_span_str(filter->person), &scratch, &namespace, &id) != RC_OK;
    rc_buf_deinit(&scratch);
    if (bad)
        return rc_cli_usage(cli, err, "--person is \"%s\", expected namespace:id", filter->person);
    if (check_causes(cli, err) != RC_OK || rc_cli_instant(cli, "since", &filter->since_ms, err) != RC_OK ||
        rc_cli_integer(cli, "max", &filter->left, err) != RC_OK)
        return RC_FAIL;
    return rc_cli_integer(cli, "count", &filter->left, err);
}

static rc_status tail(struct rc_cli *cli, struct rc_error *err) {
    struct filter filter;
    struct rc_stop stop;
    if (rc_cli_expect(cli, 0, 0, err) != RC_OK || read_filter(cli, &filter, err) != RC_OK ||
        rc_cli_connect(cli, err) != RC_OK || rc_stop_init(&stop, err) != RC_OK)
        return RC_FAIL;
    filter.confluent = rc_payload_confluent(cli->config);
    if (rc_cli_has(cli, "segment"))
        filter.segments = rc_topic_name(cli->config, "segments");
    if (rc_cli_has(cli, "audience") || !filter.segments)
        filter.memberships = rc_topic_name(cli->config, "memberships");
    struct rc_source_options options = {.name = "tail", .wake_fd = -1};
    struct rc_kafka_source *source = NULL;
    rc_status status = rc_signal_install(&stop, err);
    if (status == RC_OK)
        status = rc_source_open(cli->config, &options, &source, err);
    if (status == RC_OK)
        status = assign(&filter, source, err);
    if (status == RC_OK)
        status = follow(source, &filter, &stop, err);
    if (source)
        rc_source_close(source);
    free(filter.memberships);
    free(filter.segments);
    rc_stop_deinit(&stop);
    return status;
}

static const struct rc_cli_option options_table[] = {
    {"audience", 0, CLI_ONE, "ID", "Only changes of this audience; may be repeated."},
    {"segment", 0, CLI_ONE, "ID",
     "Changes of this segment, instead of (or beside) those of audiences; may be repeated."},
    {"person", 0, CLI_ONE, "NS:ID", "Only changes of this person."},
    {"namespace", 0, CLI_ONE, "NS", "Only changes of persons of this namespace; may be repeated."},
    {"status", 0, CLI_ONE, "STATUS", "Only realized, or only exited."},
    {"cause", 0, CLI_ONE, "CAUSE",
     "Only changes of this cause (event, time, backfill, schedule, definition, consent, restore); may be repeated."},
    {"since", 0, CLI_ONE, "TIME",
     "Begins with what was written at this time (RFC 3339, or how long ago, such as 2h), as far as the topic holds "
     "it."},
    {"from-beginning", 0, CLI_FLAG, NULL, "Begins with what the topic holds; without it, with what comes from now on."},
    {"count", 0, CLI_ONE, "N", "Ends after N changes."},
    {"max", 0, CLI_ONE, "N", "The same as --count."},
    {0},
};

const struct rc_cli_command rc_cli_command_tail = {
    .name = "tail",
    .summary = "Changes of memberships as they happen",
    .arguments = "",
    .text = "Prints each change of the memberships topic (with --segment: of the segments topic) until it is "
            "interrupted. Times are those at which the membership changed (`since`); JSON has them in ms since the "
            "epoch. Filters of different kinds must all fit.",
    .options = options_table,
    .examples = "rollcall tail\nrollcall tail --audience win-back --status realized --json\nrollcall tail "
                "--from-beginning --person shop:1234\nrollcall tail --segment cart-abandoners --cause time --since 2h",
    .prints_data = true,
    .run = tail,
};
