#include "cli/told.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "consumers/shared/payload.h"
#include "kafka/read.h"
#include "kafka/topics.h"

static int compare_target(const struct rc_cli_target *target, const char *kind, struct rc_span id) {
    int c = strcmp(target->kind, kind);
    return c ? c : rc_span_compare(rc_span_str(target->id), id);
}

static int by_target(const void *a, const void *b, void *ctx) {
    const struct rc_cli_target *targets = ctx, *y = &targets[*(const uint32_t *)b];
    return compare_target(&targets[*(const uint32_t *)a], y->kind, rc_span_str(y->id));
}

void rc_cli_told_init(struct rc_cli_told *told, const struct rc_cli *cli, const struct rc_cli_target *targets,
                      size_t n) {
    *told = (struct rc_cli_told){.cli = cli,
                                 .targets = targets,
                                 .n = n,
                                 .order = rc_calloc(n, sizeof(uint32_t)),
                                 .tables = rc_calloc(n, sizeof(struct rc_cli_latest)),
                                 .ever = rc_calloc(n, sizeof(bool))};
    for (uint32_t i = 0; i < n; i++)
        told->order[i] = i;
    if (n > 1)
        qsort_r(told->order, n, sizeof *told->order, by_target, (void *)(uintptr_t)targets);
}

static void empty(struct rc_cli_told *told) {
    for (size_t i = 0; i < told->n; i++)
        rc_cli_latest_deinit(&told->tables[i]);
}

void rc_cli_told_deinit(struct rc_cli_told *told) {
    empty(told);
    free(told->order);
    free(told->tables);
    free(told->ever);
    *told = (struct rc_cli_told){0};
}

/* The target's position, or −1. */
static int64_t find(const struct rc_cli_told *told, const char *kind, struct rc_span id) {
    size_t low = 0, high = told->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = compare_target(&told->targets[told->order[middle]], kind, id);
        if (c == 0)
            return told->order[middle];
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

struct reading {
    struct rc_cli_told *told;
    const char *kind;
    const struct rc_past *past; /* NULL: only looking */
    uint32_t unit;
    uint64_t *counts; /* by partition */
    int32_t n_counts;
    bool confluent, failed;
    struct rc_error *err;
};

static bool take_record(void *ctx, const struct rc_message *message) {
    struct reading *reading = ctx;
    struct rc_span person, id;
    if (rc_membership_key_split(message->key, &person, &id) != RC_OK)
        return true;
    int64_t at = find(reading->told, reading->kind, id);
    if (at < 0)
        return true;
    if (!reading->past) {
        reading->told->ever[at] = true;
        reading->counts[message->partition]++;
        return true;
    }
    if (message->null_value || !rc_past_in_unit(reading->past, reading->unit, person))
        return true; /* a tombstone follows an exit, which has said so already */
    struct rc_membership change;
    if (rc_membership_read(message->value, reading->confluent, &change, reading->err) != RC_OK) {
        rc_error_prefix(reading->err, "%s, partition %d, offset %lld", message->topic, message->partition,
                        (long long)message->offset);
        reading->failed = true;
        return false;
    }
    rc_cli_latest_put(&reading->told->tables[at], person, change.realized, change.since_ms, change.version);
    return true;
}

static rc_status read_topics(struct reading *reading, int32_t partition) {
    static const char *const topics[][2] = {{"segment", "segments"}, {"audience", "memberships"}};
    const struct rc_cli *cli = reading->told->cli;
    rc_status status = RC_OK;
    for (size_t i = 0; status == RC_OK && i < 2; i++) {
        bool wanted = false;
        for (size_t t = 0; t < reading->told->n; t++)
            wanted |= strcmp(reading->told->targets[t].kind, topics[i][0]) == 0;
        if (!wanted)
            continue;
        char *topic = rc_topic_name(cli->config, topics[i][1]);
        reading->kind = topics[i][0];
        status = rc_kafka_read(cli->config, topic, partition, RC_START_BEGINNING, CLI_KAFKA_TIMEOUT_MS, take_record,
                               reading, NULL, reading->err);
        free(topic);
    }
    if (status != RC_OK)
        return rc_cli_broker_error(cli, reading->err);
    return reading->failed ? RC_FAIL : RC_OK;
}

/* The greater of the two topics' partition counts. */
static rc_status count_partitions(const struct rc_cli *cli, int32_t *out, struct rc_error *err) {
    struct rc_admin *admin;
    char *segments = rc_topic_name(cli->config, "segments"), *memberships = rc_topic_name(cli->config, "memberships");
    int32_t a = 0, b = 0;
    rc_status status = rc_admin_open(cli->config, &admin, err);
    if (status == RC_OK) {
        status = rc_topic_partitions(admin, segments, CLI_KAFKA_TIMEOUT_MS, &a, err);
        if (status == RC_OK)
            status = rc_topic_partitions(admin, memberships, CLI_KAFKA_TIMEOUT_MS, &b, err);
        rc_admin_close(admin);
    }
    free(segments);
    free(memberships);
    *out = a > b ? a : b;
    return status == RC_OK ? RC_OK : rc_cli_broker_error(cli, err);
}

rc_status rc_cli_told_scan(struct rc_cli_told *told, uint64_t *most, struct rc_error *err) {
    struct reading reading = {.told = told, .err = err};
    if (count_partitions(told->cli, &reading.n_counts, err) != RC_OK)
        return RC_FAIL;
    reading.counts = rc_calloc((size_t)reading.n_counts, sizeof *reading.counts);
    rc_status status = read_topics(&reading, RC_ALL_PARTITIONS);
    *most = 0;
    for (int32_t p = 0; p < reading.n_counts; p++)
        *most = reading.counts[p] > *most ? reading.counts[p] : *most;
    free(reading.counts);
    return status;
}

rc_status rc_cli_told_read(struct rc_cli_told *told, const struct rc_past *past, uint32_t unit, struct rc_error *err) {
    struct reading reading = {
        .told = told, .past = past, .unit = unit, .confluent = rc_payload_confluent(told->cli->config), .err = err};
    empty(told);
    return read_topics(&reading, (int32_t)(unit % (uint32_t)rc_past_partitions(past)));
}
