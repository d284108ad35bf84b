/* Lists definitions as they are applied. Must not know what a definition means. The mistake that it prevents: taking a file on disk for what is in
 * force. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/json.h"
#include "cli/listing.h"
#include "cli/table.h"

static json_t *as_json(const struct rc_definition *definition) {
    char time[25];
    json_t *body = json_loads(definition->json, 0, NULL);
    return json_pack("{s:s, s:s, s:i, s:s, s:s*, s:o*}", "kind", definition->kind, "id", definition->id, "version",
                     definition->version, "time", rc_cli_time(definition->applied_ms, time), "who",
                     definition->applied_by, "definition", body);
}

static json_t *time_or_null(int64_t at_ms) {
    char time[25];
    return at_ms > 0 ? json_string(rc_cli_time(at_ms, time)) : json_null();
}

/* A segment or audience also tells how it fares; null where no running process says. */
static json_t *as_live_json(const struct rc_cli_listed *listed) {
    json_t *row = as_json(listed->definition);
    (void)json_object_set_new(row, "state", *listed->state ? json_string(listed->state) : json_null());
    (void)json_object_set_new(row, "members", listed->members >= 0 ? json_integer(listed->members) : json_null());
    if (strcmp(listed->definition->kind, "audience") == 0) {
        (void)json_object_set_new(row, "lastRefreshed", time_or_null(listed->refreshed_ms));
        (void)json_object_set_new(row, "nextRefresh", time_or_null(listed->next_ms));
        (void)json_object_set_new(row, "expires", time_or_null(listed->expires_ms));
    }
    return row;
}

static void print_one(const struct rc_cli *cli, const struct rc_definition *definition) {
    if (rc_cli_has(cli, "json")) {
        rc_cli_json_print(as_json(definition));
        return;
    }
    char *text = rc_cli_json_pretty(definition->json);
    puts(text);
    free(text);
}

static const char *or_dash(const char *text) {
    return *text ? text : "-";
}

static void add_plain(struct rc_cli_table *table, const struct rc_cli_listed *listed) {
    const struct rc_definition *definition = listed->definition;
    char time[25];
    rc_cli_table_add(table, "%s", definition->kind);
    rc_cli_table_add(table, "%s", definition->id);
    rc_cli_table_add(table, "%d", definition->version);
    rc_cli_table_add(table, "%s", rc_cli_time(definition->applied_ms, time));
    rc_cli_table_add(table, "%s", definition->applied_by ? definition->applied_by : "-");
    rc_cli_table_add(table, "%s", rc_cli_listed_text(listed, "name"));
}

static void add_live(struct rc_cli_table *table, const struct rc_cli_listed *listed, bool audience) {
    char time[25], tags[256];
    rc_cli_table_add(table, "%s", listed->definition->id);
    rc_cli_table_add(table, "%s", or_dash(rc_cli_listed_text(listed, "name")));
    rc_cli_table_add(table, "%s", or_dash(listed->state));
    if (listed->members >= 0)
        rc_cli_table_add(table, "%lld", (long long)listed->members);
    else
        rc_cli_table_add(table, "-");
    if (audience)
        rc_cli_table_add(table, "%s", rc_cli_time(listed->refreshed_ms, time));
    rc_cli_table_add(table, "%s", rc_cli_time(listed->definition->applied_ms, time));
    rc_cli_table_add(table, "%s", or_dash(rc_cli_listed_text(listed, "owner")));
    rc_cli_table_add(table, "%s", or_dash(rc_cli_listed_tags(listed, tags, sizeof tags)));
    if (audience)
        rc_cli_table_add(table, "%s", rc_cli_time(listed->expires_ms, time));
}

static const char *const plain_headings[] = {"KIND", "ID", ">VERSION", "APPLIED", "BY", "NAME", NULL};
static const char *const segment_headings[] = {"ID",    "NAME", "STATE", ">MEMBERS", "LAST MODIFIED",
                                               "OWNER", "TAGS", NULL};
static const char *const audience_headings[] = {
    "ID", "NAME", "STATE", ">MEMBERS", "LAST REFRESHED", "LAST MODIFIED", "OWNER", "TAGS", "EXPIRES", NULL};

static void print_table(const struct rc_cli_listing *listing, const char *kind, bool any) {
    bool audience = kind && strcmp(kind, "audience") == 0, segment = kind && strcmp(kind, "segment") == 0;
    struct rc_cli_table table;
    rc_cli_table_init(&table, audience ? audience_headings : segment ? segment_headings : plain_headings);
    for (size_t i = 0; i < listing->n; i++) {
        if (audience || segment)
            add_live(&table, &listing->items[i], audience);
        else
            add_plain(&table, &listing->items[i]);
    }
    rc_cli_table_print(&table, any ? "nothing that is applied is like that"
                                   : "nothing is applied; `rollcall apply -f PATH` does it");
    if ((audience || segment) && listing->n && !listing->told)
        printf("state and members are not known: no %s is running\n", audience ? "materialize" : "ingest");
}

static rc_status print_list(const struct rc_cli *cli, const struct rc_catalog *catalog, const char *kind,
                            struct rc_error *err) {
    struct rc_cli_listing listing;
    if (rc_cli_listing_read(cli, catalog, kind, &listing, err) != RC_OK)
        return RC_FAIL;
    bool live = kind && (strcmp(kind, "segment") == 0 || strcmp(kind, "audience") == 0);
    for (size_t i = 0; rc_cli_has(cli, "json") && i < listing.n; i++)
        rc_cli_json_print(live ? as_live_json(&listing.items[i]) : as_json(listing.items[i].definition));
    if (!rc_cli_has(cli, "json"))
        print_table(&listing, kind, catalog->n_definitions > 0);
    rc_cli_listing_deinit(&listing);
    return RC_OK;
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
        status = print_list(cli, catalog, kind, err);
    }
    rc_catalog_free(catalog);
    return status;
}

const struct rc_cli_command rc_cli_command_get = {
    .name = "get",
    .summary = "The definitions that are in force",
    .arguments = "[KIND [ID]]",
    .text =
        "Lists all definitions, those of a kind, or prints one of them as it was applied. Kinds: dataset, "
        "destination, policy, segment, attribute, audience. Lists of segments and audiences also tell state, members, "
        "last refresh and end, as running processes have them; the options narrow a list down and put it in order, "
        "several at once: what fits all of them.",
    .options = rc_cli_listing_options,
    .examples =
        "rollcall get\nrollcall get segments\nrollcall get audience win-back\nrollcall get audiences --state error\n"
        "rollcall get audiences --owner anna --tag crm --sort members --reverse\nrollcall get audiences "
        "--expires-before 30d",
    .prints_data = true,
    .run = get,
};
