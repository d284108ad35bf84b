/* history: the audit trail, to read. Reads only. The mistake that it prevents: asking around who changed an audience, and what it was before. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "cli/applied.h"
#include "cli/audit.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/lines.h"
#include "cli/table.h"

#define MAX_EFFECT 512

struct view {
    const struct rc_cli *cli;
    const char *kind, *id; /* NULL: all */
    struct rc_cli_table table;
    size_t n;
};

/* {"onEnd":"exit","membersBefore":12} as "onEnd exit, membersBefore 12". */
static void write_effect(const char *effect, struct rc_buf *out) {
    json_t *object = effect ? json_loads(effect, 0, NULL) : NULL, *value;
    const char *key;
    json_object_foreach(object, key, value) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        rc_buf_printf(out, "%s%s %s", out->len ? ", " : "", key,
                      json_is_string(value) ? json_string_value(value) : text);
        free(text);
    }
    json_decref(object);
}

static void print_row(const struct rc_audit *entry) {
    char time[25];
    struct rc_buf line;
    rc_buf_init(&line, SIZE_MAX);
    /* As text: the definition is shown byte for byte as it was applied. */
    rc_buf_printf(&line, "{\"time\": \"%s\", \"who\": ", rc_cli_time(entry->at_ms, time));
    rc_buf_add_json_string(&line, rc_span_str(entry->who));
    rc_buf_printf(&line, ", \"kind\": \"%s\", \"id\": \"%s\", \"action\": \"%s\", \"version\": %d, ", entry->kind,
                  entry->id, entry->action, entry->version);
    if (entry->effect)
        rc_buf_printf(&line, "\"effect\": %s, ", entry->effect);
    rc_buf_printf(&line, "\"definition\": %s}\n", entry->json);
    fwrite(line.data, 1, line.len, stdout);
    rc_buf_deinit(&line);
}

static bool show_entry(void *ctx, const struct rc_audit *entry) {
    struct view *view = ctx;
    char time[25];
    struct rc_buf effect;
    if ((view->kind && strcmp(entry->kind, view->kind) != 0) || (view->id && strcmp(entry->id, view->id) != 0))
        return true;
    view->n++;
    if (rc_cli_has(view->cli, "json")) {
        print_row(entry);
        return true;
    }
    rc_buf_init(&effect, MAX_EFFECT);
    rc_buf_add_str(&effect, "");
    write_effect(entry->effect, &effect);
    rc_cli_table_add(&view->table, "%s", rc_cli_time(entry->at_ms, time));
    rc_cli_table_add(&view->table, "%s", entry->who);
    rc_cli_table_add(&view->table, "%s/%s", entry->kind, entry->id);
    rc_cli_table_add(&view->table, "%s", entry->action);
    rc_cli_table_add(&view->table, "%d", entry->version);
    rc_cli_table_add(&view->table, "%s", effect.data);
    rc_buf_deinit(&effect);
    return true;
}

static rc_status show_all(const struct rc_cli *cli, const char *kind, const char *id, struct rc_error *err) {
    struct view view = {.cli = cli, .kind = kind, .id = id};
    rc_cli_table_init(&view.table,
                      (const char *const[]){"TIME", "WHO", "DEFINITION", "ACTION", ">VERSION", "EFFECT", NULL});
    rc_status status = rc_cli_audit_read(cli, show_entry, &view, err);
    rc_cli_table_print(&view.table,
                       rc_cli_has(cli, "json") || status != RC_OK ? NULL : "the audit trail holds nothing of that");
    return status;
}

/* ---- one version, or two ---------------------------------------------------------------------------------------------------- */

static rc_status read_version(const struct rc_cli *cli, const char *option, size_t index, int64_t *out,
                              struct rc_error *err) {
    const char *text = rc_cli_value_at(cli, option, index);
    char *end;
    long version = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || *end || version < 1 || version > INT32_MAX)
        return rc_cli_usage(cli, err, "--%s wants %s", option,
                            strcmp(option, "diff") == 0 ? "two versions, such as 2 3" : "a version, such as 2");
    *out = version;
    return RC_OK;
}

static rc_status show_version(const struct rc_cli *cli, const char *kind, const char *id, struct rc_error *err) {
    int64_t version = 0;
    char *json;
    if (read_version(cli, "show", 0, &version, err) != RC_OK ||
        rc_cli_audit_find(cli, kind, id, (int)version, &json, err) != RC_OK)
        return RC_FAIL;
    if (rc_cli_has(cli, "json")) {
        puts(json);
    } else {
        char *text = rc_cli_json_pretty(json);
        puts(text);
        free(text);
    }
    free(json);
    return RC_OK;
}

static rc_status show_difference(const struct rc_cli *cli, const char *kind, const char *id, struct rc_error *err) {
    int64_t versions[2] = {0, 0};
    char *json[2] = {NULL, NULL}, *text[2] = {NULL, NULL};
    rc_status status = RC_OK;
    if (rc_cli_value_at(cli, "diff", 2))
        return rc_cli_usage(cli, err, "--diff wants two versions, such as 2 3");
    for (size_t i = 0; status == RC_OK && i < 2; i++) {
        status = read_version(cli, "diff", i, &versions[i], err);
        if (status == RC_OK)
            status = rc_cli_audit_find(cli, kind, id, (int)versions[i], &json[i], err);
        if (status == RC_OK)
            text[i] = rc_cli_json_pretty(json[i]);
    }
    if (status == RC_OK) {
        printf("--- %s/%s version %d\n+++ %s/%s version %d\n", kind, id, (int)versions[0], kind, id, (int)versions[1]);
        rc_cli_lines_print(text[0], text[1]);
    }
    for (size_t i = 0; i < 2; i++) {
        free(json[i]);
        free(text[i]);
    }
    return status;
}

static rc_status history(struct rc_cli *cli, struct rc_error *err) {
    const char *kind = NULL, *id = NULL;
    if (rc_cli_expect(cli, 0, 2, err) != RC_OK ||
        (cli->args.n_positional && rc_cli_kind(cli, cli->args.positional[0], &kind, err) != RC_OK))
        return RC_FAIL;
    if (cli->args.n_positional == 2)
        id = cli->args.positional[1];
    bool show = rc_cli_has(cli, "show"), diff = rc_cli_has(cli, "diff");
    if (show && diff)
        return rc_cli_usage(cli, err, "--show and --diff are two questions; ask one of them");
    if ((show || diff) && !id)
        return rc_cli_usage(cli, err, "--%s wants the definition as well: KIND ID", show ? "show" : "diff");
    if (rc_cli_connect(cli, err) != RC_OK)
        return RC_FAIL;
    if (show)
        return show_version(cli, kind, id, err);
    return diff ? show_difference(cli, kind, id, err) : show_all(cli, kind, id, err);
}

static const struct rc_cli_option options[] = {
    {"show", 0, CLI_ONE, "VERSION", "Prints the definition as that version had it."},
    {"diff", 0, CLI_MANY, "VERSION", "Prints what differs between two versions: --diff 2 3."},
    {0},
};

const struct rc_cli_command rc_cli_command_history = {
    .name = "history",
    .summary = "Who changed which definition, when, and how",
    .arguments = "[KIND [ID]]",
    .text =
        "The audit trail: every change of a definition, and what operators said of it, oldest first. It is kept for "
        "ever in <topics.prefix>.audit (beside an embedded broker: in state.dir). The effect is what was known when "
        "the change was made; how many entered and left is an entry of its own, \"took effect\". With --json each "
        "entry holds the whole definition.",
    .options = options,
    .examples = "rollcall history\nrollcall history segment cart-abandoners\nrollcall history segment cart-abandoners "
                "--show 2\nrollcall history segment cart-abandoners --diff 2 3",
    .prints_data = true,
    .run = history,
};
