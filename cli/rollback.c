/* rollback and undelete: bring back what a definition said before, as a new version. The mistake that they prevent: a way back that has to be found
 * in somebody's files, in a hurry. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "cli/change.h"
#include "cli/commands.h"
#include "cli/json.h"

#define UNDELETE_DAYS 30

/* ---- rollback ---------------------------------------------------------------------------------------------------------------- */

/* The version that is applied. */
static rc_status present(const struct rc_cli *cli, const char *kind, const char *id, int *version,
                         struct rc_error *err) {
    struct rc_catalog *catalog;
    const struct rc_definition *definition;
    if (rc_cli_applied_catalog(cli, &catalog, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_cli_find_definition(catalog, kind, id, &definition, err);
    if (status == RC_OK)
        *version = definition->version;
    rc_catalog_free(catalog);
    return status;
}

static rc_status wanted(const struct rc_cli *cli, const char *kind, const char *id, int version, int64_t *to,
                        struct rc_error *err) {
    *to = version - 1;
    if (rc_cli_integer(cli, "to", to, err) != RC_OK)
        return RC_FAIL;
    if (rc_cli_has(cli, "to") && (*to < 1 || *to > version))
        return rc_cli_usage(cli, err, "--to %lld: %s/%s has the versions 1 to %d", (long long)*to, kind, id, version);
    if (*to == 0)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                            "%s/%s is at version 1, there is none before it; `rollcall delete %s %s` takes it out of "
                            "force",
                            kind, id, kind, id);
    return RC_OK;
}

static rc_status rollback(struct rc_cli *cli, struct rc_error *err) {
    const char *kind;
    int version;
    int64_t to;
    char *json, from[32], effect[48];
    if (rc_cli_expect(cli, 2, 2, err) != RC_OK || rc_cli_kind(cli, cli->args.positional[0], &kind, err) != RC_OK ||
        rc_cli_connect(cli, err) != RC_OK)
        return RC_FAIL;
    const char *id = cli->args.positional[1];
    if (present(cli, kind, id, &version, err) != RC_OK || wanted(cli, kind, id, version, &to, err) != RC_OK ||
        rc_cli_audit_find(cli, kind, id, (int)to, &json, err) != RC_OK)
        return RC_FAIL;
    snprintf(from, sizeof from, "version %d", (int)to);
    snprintf(effect, sizeof effect, "\"toVersion\":%d", (int)to);
    struct rc_cli_revival revival = {
        .kind = kind, .id = id, .from = from, .json = json, .action = "rolled back", .effect = effect, .cancel = true};
    rc_status status = rc_cli_revive(cli, &revival, err);
    free(json);
    return status;
}

static const struct rc_cli_option rollback_options[] = {
    {"to", 0, CLI_ONE, "VERSION", "The version whose content comes back (default: the one before the present one)."},
    CLI_OPTION_WHO,
    {0},
};

const struct rc_cli_command rc_cli_command_rollback = {
    .name = "rollback",
    .summary = "Brings back what a definition said in an earlier version",
    .arguments = "KIND ID",
    .text =
        "Writes a new version with the content of an earlier one, from the audit trail; only the difference is told "
        "to receivers. An edit whose new version is still warming is cancelled by it: nobody ever hears of it.",
    .options = rollback_options,
    .examples = "rollcall rollback segment cart-abandoners\nrollcall rollback audience win-back --to 3",
    .prints_data = true,
    .run = rollback,
};

/* ---- undelete ---------------------------------------------------------------------------------------------------------------- */

struct last {
    const char *kind, *id;
    bool found, deleted;
    int version;
    int64_t at_ms;
    char *json; /* owned */
};

static bool take_last(void *ctx, const struct rc_audit *entry) {
    struct last *last = ctx;
    if (strcmp(entry->kind, last->kind) != 0 || strcmp(entry->id, last->id) != 0)
        return true;
    if (strcmp(entry->action, RC_AUDIT_TOOK_EFFECT) == 0)
        return true; /* of a version that was there already */
    last->found = true;
    last->deleted = strcmp(entry->action, "deleted") == 0;
    last->version = entry->version;
    last->at_ms = entry->at_ms;
    free(last->json);
    last->json = rc_strdup(entry->json);
    return true;
}

static rc_status check_deleted(const struct last *last, struct rc_error *err) {
    char time[25];
    int64_t age_ms = rc_clock_wall_ms() - last->at_ms;
    if (!last->found)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                            "the audit trail knows no %s \"%s\"; `rollcall history` shows what it knows", last->kind,
                            last->id);
    if (!last->deleted)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s/%s is not deleted (version %d is in force)",
                            last->kind, last->id, last->version);
    if (age_ms > (int64_t)UNDELETE_DAYS * 86400000)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                            "%s/%s was deleted at %s, more than %d days ago; `rollcall history %s %s --show %d` prints "
                            "it as it was, to be applied anew",
                            last->kind, last->id, rc_cli_time(last->at_ms, time), UNDELETE_DAYS, last->kind, last->id,
                            last->version);
    return RC_OK;
}

static rc_status undelete(struct rc_cli *cli, struct rc_error *err) {
    struct last last = {0};
    char from[32];
    if (rc_cli_expect(cli, 2, 2, err) != RC_OK || rc_cli_kind(cli, cli->args.positional[0], &last.kind, err) != RC_OK ||
        rc_cli_connect(cli, err) != RC_OK)
        return RC_FAIL;
    last.id = cli->args.positional[1];
    rc_status status = rc_cli_audit_read(cli, take_last, &last, err);
    if (status == RC_OK)
        status = check_deleted(&last, err);
    if (status == RC_OK) {
        snprintf(from, sizeof from, "version %d", last.version);
        struct rc_cli_revival revival = {
            .kind = last.kind, .id = last.id, .from = from, .json = last.json, .action = "undeleted"};
        status = rc_cli_revive(cli, &revival, err);
    }
    free(last.json);
    return status;
}

static const struct rc_cli_option undelete_options[] = {CLI_OPTION_WHO, {0}};

const struct rc_cli_command rc_cli_command_undelete = {
    .name = "undelete",
    .summary = "Brings back a definition that was deleted in the last 30 days",
    .arguments = "KIND ID",
    .text =
        "Writes it as a new version, as it was when it was deleted, from the audit trail. An audience's members come "
        "back as its segments have them now.",
    .options = undelete_options,
    .examples = "rollcall undelete audience win-back",
    .prints_data = true,
    .run = undelete,
};
