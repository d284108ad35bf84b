/* Owns the reading of an audience from the memberships topic: the latest standing of each person, by version. Must not know why somebody is in.
 * The mistake that it prevents: an older record, delivered again, that undoes a newer one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/applied.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/latest.h"
#include "cli/table.h"
#include "codec/membership.h"
#include "codec/person_key.h"
#include "consumers/shared/payload.h"
#include "kafka/read.h"
#include "kafka/topics.h"

struct reading {
    const char *audience;
    const char *namespace; /* only persons of it; NULL: of any */
    int64_t since_ms;      /* only those who came then or later; INT64_MIN: all */
    int64_t limit;         /* as many are printed; −1: all */
    bool confluent;
    bool seen; /* any record of the audience */
    struct rc_cli_latest latest;
    struct rc_error *err;
    bool failed;
};

static bool take_record(void *ctx, const struct rc_message *message) {
    struct reading *reading = ctx;
    struct rc_span person, target;
    if (rc_membership_key_split(message->key, &person, &target) != RC_OK ||
        !rc_span_equal(target, rc_span_str(reading->audience)))
        return true;
    reading->seen = true;
    if (message->null_value)
        return true; /* follows an exit, which has said so already */
    struct rc_membership change;
    if (rc_membership_read(message->value, reading->confluent, &change, reading->err) != RC_OK) {
        rc_error_prefix(reading->err, "%s, partition %d, offset %lld", message->topic, message->partition,
                        (long long)message->offset);
        reading->failed = true;
        return false;
    }
    rc_cli_latest_put(&reading->latest, person, change.realized, change.since_ms, change.version);
    return true;
}

static rc_status read_members(const struct rc_cli *cli, struct reading *reading, struct rc_error *err) {
    char *topic = rc_topic_name(cli->config, "memberships");
    rc_status status = rc_kafka_read(cli->config, topic, RC_ALL_PARTITIONS, RC_START_BEGINNING, CLI_KAFKA_TIMEOUT_MS,
                                     take_record, reading, NULL, err);
    free(topic);
    if (status != RC_OK)
        return rc_cli_broker_error(cli, err);
    return reading->failed ? RC_FAIL : RC_OK;
}

static void print_member(const struct rc_cli *cli, const char *audience, const struct rc_cli_standing *item,
                         struct rc_cli_table *table) {
    struct rc_span namespace = {0}, id = {0};
    struct rc_buf scratch;
    rc_buf_init(&scratch, item->len + 1);
    if (rc_person_key_split(rc_span_of(item->person, item->len), &scratch, &namespace, &id) == RC_OK) {
        char time[25];
        if (rc_cli_has(cli, "json")) {
            rc_cli_json_print(json_pack("{s:s, s:s%, s:s%, s:I, s:I}", "audience", audience, "namespace",
                                        namespace.data, namespace.len, "id", id.data, id.len, "since",
                                        (json_int_t)item->since_ms, "version", (json_int_t)item->version));
        } else {
            rc_cli_table_add(table, "%.*s", (int)namespace.len, namespace.data);
            rc_cli_table_add(table, "%.*s", (int)id.len, id.data);
            rc_cli_table_add(table, "%s", rc_cli_time(item->since_ms, time));
        }
    }
    rc_buf_deinit(&scratch);
}

static bool fits(const struct reading *reading, const struct rc_cli_standing *item) {
    if (!item->realized || item->since_ms < reading->since_ms)
        return false;
    if (!reading->namespace)
        return true;
    struct rc_span namespace, id;
    struct rc_buf scratch;
    rc_buf_init(&scratch, item->len + 1);
    bool same = rc_person_key_split(rc_span_of(item->person, item->len), &scratch, &namespace, &id) == RC_OK &&
                rc_span_equal(namespace, rc_span_str(reading->namespace));
    rc_buf_deinit(&scratch);
    return same;
}

static void print_members(const struct rc_cli *cli, struct reading *reading) {
    size_t count = 0;
    for (size_t i = 0; i < reading->latest.n; i++)
        count += fits(reading, &reading->latest.items[i]);
    if (rc_cli_has(cli, "count")) {
        if (rc_cli_has(cli, "json"))
            rc_cli_json_print(json_pack("{s:s, s:I}", "audience", reading->audience, "members", (json_int_t)count));
        else
            printf("%zu\n", count);
        return;
    }
    rc_cli_latest_sort(&reading->latest);
    struct rc_cli_table table;
    rc_cli_table_init(&table, (const char *const[]){"NAMESPACE", "ID", "SINCE", NULL});
    int64_t left = reading->limit;
    for (size_t i = 0; i < reading->latest.n && left != 0; i++) {
        if (!fits(reading, &reading->latest.items[i]))
            continue;
        print_member(cli, reading->audience, &reading->latest.items[i], &table);
        left--;
    }
    rc_cli_table_print(&table, rc_cli_has(cli, "json") ? NULL : "no members");
}

/* An audience without a single record is either one with no members yet, or a misspelt one. */
static rc_status check_known(const struct rc_cli *cli, const struct reading *reading, struct rc_error *err) {
    if (reading->seen)
        return RC_OK;
    struct rc_catalog *catalog;
    const struct rc_definition *definition;
    if (rc_cli_applied_catalog(cli, &catalog, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_cli_find_definition(catalog, "audience", reading->audience, &definition, err);
    rc_catalog_free(catalog);
    return status;
}

static rc_status members(struct rc_cli *cli, struct rc_error *err) {
    struct reading reading = {
        .namespace = rc_cli_value(cli, "namespace"), .since_ms = INT64_MIN, .limit = -1, .err = err};
    if (rc_cli_expect(cli, 1, 1, err) != RC_OK || rc_cli_instant(cli, "since", &reading.since_ms, err) != RC_OK ||
        rc_cli_integer(cli, "limit", &reading.limit, err) != RC_OK || rc_cli_connect(cli, err) != RC_OK)
        return RC_FAIL;
    reading.audience = cli->args.positional[0];
    reading.confluent = rc_payload_confluent(cli->config);
    rc_status status = read_members(cli, &reading, err);
    if (status == RC_OK)
        status = check_known(cli, &reading, err);
    if (status == RC_OK)
        print_members(cli, &reading);
    rc_cli_latest_deinit(&reading.latest);
    return status;
}

static const struct rc_cli_option options[] = {
    {"namespace", 0, CLI_ONE, "NS", "Only persons of this namespace."},
    {"since", 0, CLI_ONE, "TIME", "Only who came in at this time or later: RFC 3339, or how long ago, such as 2h."},
    {"limit", 0, CLI_ONE, "N", "Prints the first N."},
    {"count", 0, CLI_FLAG, NULL, "Prints only how many there are."},
    {0},
};

const struct rc_cli_command rc_cli_command_members = {
    .name = "members",
    .summary = "Who is in an audience",
    .arguments = "AUDIENCE",
    .text = "Reads the memberships topic from its beginning to its present end and prints who is realized, in byte "
            "order of namespace and id, with "
            "the time since when (JSON: ms since the epoch).",
    .options = options,
    .examples =
        "rollcall members win-back\nrollcall members win-back --count\nrollcall members win-back --namespace shop "
        "--since 24h --limit 20 --json",
    .prints_data = true,
    .run = members,
};
