/* Finds the default profile store and prints what it holds of one person. Which kind of store it is, is consumers/sink/profile.h's business. The
 * mistake that it prevents: reading another store than the one that the sink writes to. */
#include "consumers/sink/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "cli/applied.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/table.h"
#include "codec/person_key.h"

#define MEMBERSHIP "segmentMembership."
#define ATTRIBUTE "attribute."

/* Where profiles are: --store; else a destination `profiles` that is applied; else sink.default. Without a broker to ask, sink.default it is:
 * a store can be read while Kafka is away. Owned by the caller. */
static char *store_url(const struct rc_cli *cli) {
    const char *store = rc_cli_value(cli, "store");
    if (store)
        return rc_strdup(store);
    struct rc_catalog *catalog;
    struct rc_error ignored;
    char *url = NULL;
    if (!rc_config_is_set(cli->config, "sink.default") && !cli->embedded &&
        rc_cli_applied_catalog(cli, &catalog, &ignored) == RC_OK) {
        int at = rc_catalog_destination(catalog, "profiles");
        if (at >= 0 && catalog->destinations[at].url)
            url = rc_strdup(catalog->destinations[at].url);
        rc_catalog_free(catalog);
    }
    return url ? url : rc_strdup(rc_config_text(cli->config, "sink.default"));
}

static void print_table(json_t *profile) {
    struct rc_cli_table memberships, attributes;
    rc_cli_table_init(&memberships, (const char *const[]){"AUDIENCE", "STATUS", "SINCE", ">VERSION", NULL});
    rc_cli_table_init(&attributes, (const char *const[]){"ATTRIBUTE", "VALUE", NULL});
    const char *key;
    json_t *value;
    json_object_foreach(profile, key, value) {
        if (strncmp(key, MEMBERSHIP, strlen(MEMBERSHIP)) == 0) {
            json_t *version = json_object_get(value, "version");
            rc_cli_table_add(&memberships, "%s", key + strlen(MEMBERSHIP));
            rc_cli_table_add(&memberships, "%s", json_string_value(json_object_get(value, "status")));
            rc_cli_table_add(&memberships, "%s", json_string_value(json_object_get(value, "lastQualificationTime")));
            rc_cli_table_add(&memberships, "%lld", (long long)json_integer_value(version));
        } else {
            char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
            rc_cli_table_add(&attributes, "%s",
                             strncmp(key, ATTRIBUTE, strlen(ATTRIBUTE)) == 0 ? key + strlen(ATTRIBUTE) : key);
            rc_cli_table_add(&attributes, "%s", text ? text : "");
            free(text);
        }
    }
    rc_cli_table_print(&memberships, "no memberships");
    rc_cli_table_print(&attributes, NULL);
}

static rc_status profile(struct rc_cli *cli, struct rc_error *err) {
    if (rc_cli_expect(cli, 1, 1, err) != RC_OK)
        return RC_FAIL;
    const char *person = cli->args.positional[0];
    struct rc_span namespace, id;
    struct rc_buf scratch;
    rc_buf_init(&scratch, 65536);
    rc_status status = rc_person_key_split(rc_span_str(person), &scratch, &namespace, &id);
    rc_buf_deinit(&scratch);
    if (status != RC_OK)
        return rc_cli_usage(
            cli, err,
            "\"%s\" is no person, expected namespace:id (a : or \\ inside the namespace written as \\: or \\\\)",
            person);
    if (rc_cli_connect(cli, err) != RC_OK)
        return RC_FAIL;
    char *url = store_url(cli);
    json_t *found = NULL;
    status = rc_profile_read(url, rc_config_text(cli->config, "topics.prefix"), rc_span_str(person), &found, err);
    free(url);
    if (status != RC_OK)
        return rc_error_prefix(err, "the profile store (sink.default, or --store)");
    if (!found)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "the store has no profile of %s", person);
    if (rc_cli_has(cli, "json")) {
        rc_cli_json_print(found);
        return RC_OK;
    }
    print_table(found);
    json_decref(found);
    return RC_OK;
}

static const struct rc_cli_option options[] = {
    {"store", 0, CLI_ONE, "URL",
     "The store to read: redis://host:port/db or embedded:DIR (default: the destination `profiles`, else "
     "sink.default)."},
    {0},
};

const struct rc_cli_command rc_cli_command_profile = {
    .name = "profile",
    .summary = "What the profile store holds of one person",
    .arguments = "NS:ID",
    .text = "Reads the person's profile from the default profile store. Exit 65 when there is none.",
    .options = options,
    .examples = "rollcall profile shop:1234\nrollcall profile shop:1234 --json --store redis://127.0.0.1:6379/0",
    .prints_data = true,
    .run = profile,
};
