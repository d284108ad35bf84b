/* delete: takes a definition out of force. The mistake that it prevents: members of whom nobody said what becomes of them, and definitions that
 * point nowhere. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "cli/change.h"
#include "cli/commands.h"
#include "cli/json.h"

struct deletion {
    const struct rc_cli *cli;
    const char *kind, *id;
    /* worked out */
    int version;
    enum rc_on_end on_end; /* of an audience, else DEFAULT */
    int64_t members;       /* -1: no running process tells */
    struct rc_cli_processes processes;
    bool asked;
};

static void note_referrer(void *ctx, const struct rc_definition *referrer) {
    struct rc_buf *names = ctx;
    rc_buf_printf(names, "%s%s/%s", names->len ? ", " : "", referrer->kind, referrer->id);
}

static rc_status check_free(const struct rc_catalog *catalog, const char *kind, const char *id, struct rc_error *err) {
    struct rc_buf names;
    rc_buf_init(&names, 1024);
    size_t n = rc_catalog_referrers(catalog, kind, id, note_referrer, &names);
    rc_status status = RC_OK;
    if (n > 0)
        status = rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s/%s is used by %s%s; delete or change %s first",
                              kind, id, names.data, names.full ? ", …" : "", n == 1 ? "that" : "those");
    rc_buf_deinit(&names);
    return status;
}

static void ask_members(struct deletion *deletion) {
    struct rc_error ignored; /* the number is left out then */
    if (!deletion->asked && (strcmp(deletion->kind, "audience") == 0 || strcmp(deletion->kind, "segment") == 0) &&
        rc_cli_processes_read(deletion->cli, CLI_LIVE_TIMEOUT_MS, &deletion->processes, &ignored) != RC_OK)
        deletion->processes = (struct rc_cli_processes){0};
    deletion->asked = true;
    deletion->members = rc_cli_live_members(&deletion->processes, deletion->kind, deletion->id);
}

static enum rc_on_end end_of(const struct rc_catalog *catalog, const struct deletion *deletion) {
    if (strcmp(deletion->kind, "audience") != 0)
        return RC_ON_END_DEFAULT;
    int audience = rc_catalog_audience(catalog, deletion->id);
    return catalog->audiences[audience].on_end == RC_ON_END_KEEP ? RC_ON_END_KEEP : RC_ON_END_EXIT;
}

static const char *end_word(enum rc_on_end on_end) {
    return on_end == RC_ON_END_KEEP ? "keep" : "exit";
}

/* A tombstone is swept away in time; the control record stays, and says what the last version was and what was wanted for the members. */
static rc_status write(struct deletion *deletion, struct rc_cli_writer *writer, const struct rc_definition *definition,
                       struct rc_error *err) {
    struct rc_control control = {.deleted_version = definition->version, .on_end = deletion->on_end};
    struct rc_buf effect;
    char who[CLI_WHO];
    rc_cli_who(deletion->cli, who);
    rc_buf_init(&effect, 256);
    rc_buf_add_str(&effect, "{");
    if (deletion->on_end != RC_ON_END_DEFAULT)
        rc_buf_printf(&effect, "\"onEnd\":\"%s\"%s", end_word(deletion->on_end), deletion->members >= 0 ? "," : "");
    if (deletion->members >= 0)
        rc_buf_printf(&effect, "\"membersBefore\":%lld", (long long)deletion->members);
    rc_buf_add_str(&effect, "}");
    struct rc_audit entry = {.at_ms = rc_clock_wall_ms(),
                             .who = who,
                             .kind = deletion->kind,
                             .id = deletion->id,
                             .action = "deleted",
                             .version = definition->version,
                             .effect = effect.len > 2 ? effect.data : NULL,
                             .json = definition->json};
    rc_status status = rc_cli_writer_put_control(writer, deletion->kind, deletion->id, &control, who, err);
    if (status == RC_OK)
        status = rc_cli_writer_put(writer, deletion->kind, deletion->id, NULL, err);
    if (status == RC_OK)
        status = rc_cli_writer_put_audit(writer, &entry, err);
    rc_buf_deinit(&effect);
    return status;
}

static rc_status attempt(void *ctx, struct rc_cli_writer *writer, struct rc_error *err) {
    struct deletion *deletion = ctx;
    struct rc_catalog *catalog;
    const struct rc_definition *definition;
    if (rc_cli_applied_catalog(deletion->cli, &catalog, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_cli_find_definition(catalog, deletion->kind, deletion->id, &definition, err);
    if (status == RC_OK)
        status = check_free(catalog, deletion->kind, deletion->id, err);
    if (status == RC_OK) {
        ask_members(deletion);
        deletion->version = definition->version;
        deletion->on_end = end_of(catalog, deletion);
        status = write(deletion, writer, definition, err);
    }
    rc_catalog_free(catalog);
    return status;
}

static void report(const struct deletion *deletion) {
    bool audience = deletion->on_end != RC_ON_END_DEFAULT;
    if (rc_cli_has(deletion->cli, "json")) {
        json_t *row = json_pack("{s:s, s:s, s:s, s:i}", "kind", deletion->kind, "id", deletion->id, "result", "deleted",
                                "version", deletion->version);
        if (audience)
            json_object_set_new(row, "onEnd", json_string(end_word(deletion->on_end)));
        if (deletion->members >= 0)
            json_object_set_new(row, "members", json_integer(deletion->members));
        rc_cli_json_print(row);
        return;
    }
    printf("%s/%s deleted (version %d)\n", deletion->kind, deletion->id, deletion->version);
    if (audience && deletion->members >= 0)
        printf("    its %lld members %s\n", (long long)deletion->members,
               deletion->on_end == RC_ON_END_KEEP ? "stay as they are" : "are exited");
    else if (audience)
        printf("    its members %s\n", deletion->on_end == RC_ON_END_KEEP ? "stay as they are" : "are exited");
    printf("    `rollcall undelete %s %s` brings it back, within 30 days\n", deletion->kind, deletion->id);
}

static rc_status delete_definition(struct rc_cli *cli, struct rc_error *err) {
    struct deletion deletion = {.cli = cli, .members = -1};
    if (rc_cli_expect(cli, 2, 2, err) != RC_OK ||
        rc_cli_kind(cli, cli->args.positional[0], &deletion.kind, err) != RC_OK || rc_cli_connect(cli, err) != RC_OK)
        return RC_FAIL;
    deletion.id = cli->args.positional[1];
    rc_status status = rc_cli_write(cli, attempt, &deletion, err);
    if (status == RC_OK)
        report(&deletion);
    rc_cli_processes_deinit(&deletion.processes);
    return status;
}

static const struct rc_cli_option options[] = {CLI_OPTION_WHO, {0}};

const struct rc_cli_command rc_cli_command_delete = {
    .name = "delete",
    .summary = "Takes a definition out of force",
    .arguments = "KIND ID",
    .text = "Refused while other definitions refer to it; the message names them. The members of a deleted audience "
            "are exited unless it says "
            "\"on_end\": \"keep\". `rollcall undelete` brings a definition back within 30 days.",
    .options = options,
    .examples = "rollcall delete audience win-back",
    .prints_data = true,
    .run = delete_definition,
};
