/* The mistake that this prevents: a snapshot of which one half is older than the other, or that holds half a decision. */
#include "cli/snapshot.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "codec/membership.h"
#include "consumers/shared/payload.h"
#include "kafka/topics.h"

#define MORE_HEADER "more" /* consumers/ingest/ingest.h: the decision goes on with the person's next record */
#define CUT_MS 10000       /* a decision that is open for longer was cut by a crash, and counts */

/* A change of a decision that is not complete yet. */
struct open_change {
    char *key; /* of the record; owned */
    size_t key_len, person_len;
    bool realized;
    int64_t since_ms, version, emitted_ms;
};

struct reading {
    struct rc_cli_snapshot *snapshot;
    rc_cli_wanted_fn wanted;
    void *ctx;
    struct rc_cli_latest *out;
    bool confluent;
    struct open_change *open; /* few; owned */
    size_t n_open, capacity;
    struct rc_error *err;
    bool failed;
};

rc_status rc_cli_snapshot_take(const struct rc_cli *cli, const char *name, struct rc_cli_snapshot *out,
                               struct rc_error *err) {
    struct rc_admin *admin;
    int32_t n = 0;
    *out = (struct rc_cli_snapshot){.cli = cli, .topic = rc_topic_name(cli->config, name)};
    if (rc_admin_open(cli->config, &admin, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_topic_partitions(admin, out->topic, CLI_KAFKA_TIMEOUT_MS, &n, err);
    rc_admin_close(admin);
    out->spans = rc_calloc((size_t)n + 1, sizeof *out->spans);
    out->n = (size_t)n;
    for (int32_t p = 0; p < n; p++)
        out->spans[p] = (struct rc_read_span){.topic = out->topic, .partition = p};
    out->taken_ms = rc_clock_wall_ms();
    if (status == RC_OK)
        status = rc_kafka_read_bounds(cli->config, out->spans, out->n, INT64_MIN, NULL, CLI_KAFKA_TIMEOUT_MS, err);
    return status == RC_OK ? RC_OK : rc_cli_broker_error(cli, err);
}

void rc_cli_snapshot_deinit(struct rc_cli_snapshot *snapshot) {
    free(snapshot->topic);
    free(snapshot->spans);
    *snapshot = (struct rc_cli_snapshot){0};
}

/* The person's open changes are part of a decision that is complete now. */
static void close_decision(struct reading *reading, struct rc_span person) {
    size_t kept = 0;
    for (size_t i = 0; i < reading->n_open; i++) {
        struct open_change *change = &reading->open[i];
        if (!rc_span_equal(rc_span_of(change->key, change->person_len), person)) {
            reading->open[kept++] = *change;
            continue;
        }
        rc_cli_latest_put(reading->out, rc_span_of(change->key, change->key_len), change->realized, change->since_ms,
                          change->version);
        free(change->key);
    }
    reading->n_open = kept;
}

/* At the end: what is still open belongs to a decision that goes on behind it, or was cut by a crash long ago. */
static void end_decisions(struct reading *reading) {
    for (size_t i = 0; i < reading->n_open; i++) {
        struct open_change *change = &reading->open[i];
        if (change->emitted_ms < reading->snapshot->taken_ms - CUT_MS)
            rc_cli_latest_put(reading->out, rc_span_of(change->key, change->key_len), change->realized,
                              change->since_ms, change->version);
        else
            reading->snapshot->left_out++;
        free(change->key);
    }
    free(reading->open);
}

static void keep_open(struct reading *reading, const struct rc_message *message, struct rc_span person,
                      const struct rc_membership *change) {
    rc_grow(&reading->open, &reading->capacity, reading->n_open + 1, sizeof *reading->open);
    reading->open[reading->n_open++] = (struct open_change){.key = rc_span_dup(message->key),
                                                            .key_len = message->key.len,
                                                            .person_len = person.len,
                                                            .realized = change->realized,
                                                            .since_ms = change->since_ms,
                                                            .version = change->version,
                                                            .emitted_ms = change->emitted_at_ms};
}

static bool take_record(void *ctx, const struct rc_message *message) {
    struct reading *reading = ctx;
    struct rc_span person, target, more;
    struct rc_membership change;
    if (message->null_value || rc_membership_key_split(message->key, &person, &target) != RC_OK)
        return true; /* a tombstone follows an exit, which has said so already */
    bool open = rc_message_header(message, MORE_HEADER, &more) && rc_span_equal(more, rc_span_str("1"));
    bool wanted = reading->wanted(reading->ctx, target);
    if (wanted && rc_membership_read(message->value, reading->confluent, &change, reading->err) != RC_OK) {
        rc_error_prefix(reading->err, "%s, partition %d, offset %lld", message->topic, message->partition,
                        (long long)message->offset);
        reading->failed = true;
        return false;
    }
    if (wanted && open)
        keep_open(reading, message, person, &change);
    if (open)
        return true;
    if (reading->n_open)
        close_decision(reading, person);
    if (wanted)
        rc_cli_latest_put(reading->out, message->key, change.realized, change.since_ms, change.version);
    return true;
}

rc_status rc_cli_snapshot_read(struct rc_cli_snapshot *snapshot, size_t p, rc_cli_wanted_fn wanted, void *ctx,
                               struct rc_cli_latest *out, struct rc_error *err) {
    struct reading reading = {.snapshot = snapshot,
                              .wanted = wanted,
                              .ctx = ctx,
                              .out = out,
                              .confluent = rc_payload_confluent(snapshot->cli->config),
                              .err = err};
    rc_status status = rc_kafka_read_spans(snapshot->cli->config, &snapshot->spans[p], 1, CLI_KAFKA_TIMEOUT_MS,
                                           take_record, &reading, err);
    if (status != RC_OK)
        status = rc_cli_broker_error(snapshot->cli, err);
    end_decisions(&reading);
    return status == RC_OK && !reading.failed ? RC_OK : RC_FAIL;
}

json_t *rc_cli_snapshot_json(const struct rc_cli_snapshot *snapshot) {
    json_t *ends = json_object();
    for (size_t p = 0; p < snapshot->n; p++) {
        char number[24];
        snprintf(number, sizeof number, "%zu", p);
        json_object_set_new(ends, number, json_integer(snapshot->spans[p].end));
    }
    return json_pack("{s:s, s:I, s:o}", "topic", snapshot->topic, "asOf", (json_int_t)snapshot->taken_ms, "ends", ends);
}
