/* Lists definitions as they are applied. Must not know what a definition means. The mistake that it prevents: taking a file on disk for what is in
 * force. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/applied.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/table.h"

static int by_kind_and_id(const void *a, const void *b) {
    const struct rc_definition *x = *(const struct rc_definition *const *)a,
                               *y = *(const struct rc_definition *const *)b;
    size_t i = 0, j = 0;
    while (rc_cli_kinds[i] && strcmp(rc_cli_kinds[i], x->kind) != 0)
        i++;
    while (rc_cli_kinds[j] && strcmp(rc_cli_kinds[j], y->kind) != 0)
        j++;
    return i != j ? (i > j) - (i < j) : strcmp(x->id, y->id);
}

static json_t *as_json(const struct rc_definition *definition) {
    char time[25];
    json_t *body = json_loads(definition->json, 0, NULL);
    return json_pack("{s:s, s:s, s:i, s:s, s:s*, s:o*}", "kind", definition->kind, "id", definition->id, "version",
                     definition->version, "time", rc_cli_time(definition->applied_ms, time), "who",
                     definition->applied_by, "definition", body);
}

static void print_one(const struct rc_cli *cli, const struct rc_definition *definition) {
    if (rc_cli_has(cli, "json")) {
        rc_cli_json_print(as_json(definition));
        return;
    }
    json_t *body = json_loads(definition->json, 0, NULL);
    char *text = body ? json_dumps(body, JSON_INDENT(2)) : NULL;
    puts(text ? text : definition->json);
    free(text);
    json_decref(body);
}

static void print_list(const struct rc_cli *cli, const struct rc_catalog *catalog, const char *kind) {
    const struct rc_definition **list = rc_calloc(catalog->n_definitions, sizeof *list);
    size_t n = 0;
    for (size_t i = 0; i < catalog->n_definitions; i++) {
        if (!kind || strcmp(catalog->definitions[i].kind, kind) == 0)
            list[n++] = &catalog->definitions[i];
    }
    qsort(list, n, sizeof *list, by_kind_and_id);
    struct rc_cli_table table;
    rc_cli_table_init(&table, (const char *const[]){"KIND", "ID", ">VERSION", "APPLIED", "BY", "NAME", NULL});
    for (size_t i = 0; i < n; i++) {
        if (rc_cli_has(cli, "json")) {
            rc_cli_json_print(as_json(list[i]));
            continue;
        }
        char time[25];
        json_t *body = json_loads(list[i]->json, 0, NULL);
        const char *name = json_string_value(json_object_get(body, "name"));
        rc_cli_table_add(&table, "%s", list[i]->kind);
        rc_cli_table_add(&table, "%s", list[i]->id);
        rc_cli_table_add(&table, "%d", list[i]->version);
        rc_cli_table_add(&table, "%s", rc_cli_time(list[i]->applied_ms, time));
        rc_cli_table_add(&table, "%s", list[i]->applied_by ? list[i]->applied_by : "-");
        rc_cli_table_add(&table, "%s", name ? name : "");
        json_decref(body);
    }
    rc_cli_table_print(&table, rc_cli_has(cli, "json") ? NULL : "nothing is applied; `rollcall apply -f PATH` does it");
    free(list);
}

static rc_status get(struct rc_cli *cli, struct rc_error *err) {
    const char *kind = NULL;
    if (rc_cli_expect(cli, 0, 2, err) != RC_OK ||
        (cli->args.n_positional && rc_cli_kind(cli, cli->args.positional[0], &kind, err) != RC_OK) ||
        rc_cli_connect(cli, err) != RC_OK)
        return RC_FAIL;
    struct rc_catalog *catalog;
    if (rc_cli_applied_catalog(cli, &catalog, err) != RC_OK)
        return RC_FAIL;
    rc_status status = RC_OK;
    if (cli->args.n_positional == 2) {
        const struct rc_definition *definition;
        status = rc_cli_find_definition(catalog, kind, cli->args.positional[1], &definition, err);
        if (status == RC_OK)
            print_one(cli, definition);
    } else {
        print_list(cli, catalog, kind);
    }
    rc_catalog_free(catalog);
    return status;
}

const struct rc_cli_command rc_cli_command_get = {
    .name = "get",
    .summary = "The definitions that are in force",
    .arguments = "[KIND [ID]]",
    .text = "Lists all definitions, those of a kind, or prints one of them as it was applied. Kinds: dataset, "
            "destination, policy, segment, attribute, "
            "audience.",
    .examples = "rollcall get\nrollcall get segments\nrollcall get audience win-back",
    .prints_data = true,
    .run = get,
};
