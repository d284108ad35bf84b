/* Owns the snapshot of memberships for others to load: what is read, in which order, and what is said of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/applied.h"
#include "cli/commands.h"
#include "cli/export_file.h"
#include "cli/json.h"
#include "cli/snapshot.h"
#include "codec/membership.h"
#include "codec/person_key.h"

static bool wanted(void *ctx, struct rc_span target) {
    const struct rc_cli *cli = ctx;
    for (size_t i = 0; i < cli->args.n_positional; i++)
        if (rc_span_equal(target, rc_span_str(cli->args.positional[i])))
            return true;
    return cli->args.n_positional == 0 && target.len > 0 && target.data[0] != '_'; /* not the existences */
}

static rc_status read_format(const struct rc_cli *cli, enum rc_export_format *out, struct rc_error *err) {
    static const char *const words[] = {"jsonl", "csv", "avro"};
    const char *word = rc_cli_value(cli, "format");
    *out = RC_EXPORT_JSONL;
    if (!word)
        return RC_OK;
    for (int i = 0; i < 3; i++) {
        if (strcmp(word, words[i]) == 0) {
            *out = (enum rc_export_format)i;
            return RC_OK;
        }
    }
    return rc_cli_usage(cli, err, "--format is \"%s\", expected jsonl, csv or avro", word);
}

/* A misspelt id must not give an empty file. */
static rc_status check_ids(const struct rc_cli *cli, const char *kind, struct rc_error *err) {
    struct rc_catalog *catalog;
    const struct rc_definition *definition;
    if (rc_cli_applied_catalog(cli, &catalog, err) != RC_OK)
        return RC_FAIL;
    rc_status status = RC_OK;
    for (size_t i = 0; status == RC_OK && i < cli->args.n_positional; i++)
        status = rc_cli_find_definition(catalog, kind, cli->args.positional[i], &definition, err);
    rc_catalog_free(catalog);
    return status;
}

static rc_status write_members(struct rc_cli_latest *latest, struct rc_export_file *file, int64_t *members,
                               struct rc_error *err) {
    struct rc_buf scratch;
    rc_buf_init(&scratch, (size_t)1 << 20);
    rc_status status = RC_OK;
    rc_cli_latest_sort(latest);
    for (size_t i = 0; status == RC_OK && i < latest->n; i++) {
        const struct rc_cli_standing *item = &latest->items[i];
        struct rc_export_row row = {.since_ms = item->since_ms, .version = item->version};
        struct rc_span person;
        if (!item->realized ||
            rc_membership_key_split(rc_span_of(item->person, item->len), &person, &row.target) != RC_OK ||
            rc_person_key_split(person, &scratch, &row.namespace, &row.person_id) != RC_OK)
            continue;
        status = rc_export_add(file, &row, err);
        ++*members;
    }
    rc_buf_deinit(&scratch);
    return status;
}

/* What was exported, on stdout; or on stderr, where the members are on stdout. */
static void tell(const struct rc_cli *cli, const struct rc_cli_snapshot *snapshot, int64_t members) {
    json_t *said = rc_cli_snapshot_json(snapshot);
    FILE *to = rc_cli_value(cli, "out") ? stdout : stderr;
    json_object_set_new(said, "members", json_integer(members));
    json_object_set_new(said, "leftOut", json_integer((json_int_t)snapshot->left_out));
    if (rc_cli_has(cli, "json")) {
        char *text = json_dumps(said, JSON_COMPACT);
        fprintf(to, "%s\n", text ? text : "");
        free(text);
    } else {
        char time[25];
        fprintf(to, "%lld members as of %s\n", (long long)members, rc_cli_time(snapshot->taken_ms, time));
    }
    json_decref(said);
}

static rc_status export_to(const struct rc_cli *cli, struct rc_cli_snapshot *snapshot, enum rc_export_format format,
                           struct rc_error *err) {
    struct rc_export_file *file = NULL;
    json_t *said = rc_cli_snapshot_json(snapshot);
    int64_t members = 0;
    rc_status status = rc_export_open(rc_cli_value(cli, "out"), format, rc_cli_has(cli, "segments"), said, &file, err);
    json_decref(said);
    for (size_t p = 0; status == RC_OK && p < snapshot->n; p++) {
        struct rc_cli_latest latest = {0};
        status = rc_cli_snapshot_read(snapshot, p, wanted, (void *)cli, &latest, err);
        if (status == RC_OK)
            status = write_members(&latest, file, &members, err);
        rc_cli_latest_deinit(&latest);
    }
    if (status != RC_OK) {
        rc_export_abort(file);
        return RC_FAIL;
    }
    if (rc_export_commit(file, err) != RC_OK)
        return RC_FAIL;
    tell(cli, snapshot, members);
    return RC_OK;
}

static rc_status export(struct rc_cli *cli, struct rc_error *err) {
    enum rc_export_format format;
    bool segments = rc_cli_has(cli, "segments");
    struct rc_cli_snapshot snapshot = {0};
    if (rc_cli_expect(cli, 0, SIZE_MAX, err) != RC_OK || read_format(cli, &format, err) != RC_OK ||
        rc_cli_connect(cli, err) != RC_OK || check_ids(cli, segments ? "segment" : "audience", err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_cli_snapshot_take(cli, segments ? "segments" : "memberships", &snapshot, err);
    if (status == RC_OK)
        status = export_to(cli, &snapshot, format, err);
    rc_cli_snapshot_deinit(&snapshot);
    return status;
}

static const struct rc_cli_option options[] = {
    {"format", 0, CLI_ONE, "FORMAT", "jsonl (default), csv or avro (an object container, schemas/member.avsc)."},
    {"out", 0, CLI_ONE, "FILE", "Where to; the file is there whole or not at all. Without it: stdout."},
    {"segments", 0, CLI_FLAG, NULL, "The ids are segments, not audiences."},
    {0},
};

const struct rc_cli_command rc_cli_command_export = {
    .name = "export",
    .summary = "Snapshot of the members of audiences, as JSONL, CSV or Avro",
    .arguments = "[AUDIENCE...]",
    .text = "Writes who is in these audiences (without one: in all) as of one instant, which stands in every row "
            "(`asOf`): the ends of all partitions of the memberships topic are asked for at one moment and read up to, "
            "so every change that was acknowledged before is in, and none half. In order of partition, person, id. "
            "How many, the instant and the ends are told on stdout, or on stderr where the members go to stdout; with "
            "--json as one object {topic, asOf, ends, members, leftOut}.",
    .options = options,
    .examples = "rollcall export win-back --format csv --out win-back.csv\nrollcall export --segments cart-abandoners "
                "--format avro --out abandoners.avro --json",
    .prints_data = true,
    .run = export,
};
