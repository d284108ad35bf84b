/* Prints the effective configuration. What the keys mean is base/config_table.h's business. The mistake that it prevents: guessing which of four
 * sources a value came from. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "cli/commands.h"
#include "cli/json.h"

static void print_json(const struct rc_config *config, bool secrets) {
    size_t n;
    const struct rc_config_property *table = rc_config_properties(&n);
    for (size_t i = 0; i < n; i++) {
        const char *key = table[i].name;
        json_t *value;
        switch (table[i].type) {
        case RC_CONFIG_INT: value = json_integer(rc_config_int(config, key)); break;
        case RC_CONFIG_DURATION: value = json_integer(rc_config_ms(config, key)); break;
        case RC_CONFIG_BYTES: value = json_integer(rc_config_bytes(config, key)); break;
        case RC_CONFIG_BOOL: value = json_boolean(rc_config_bool(config, key)); break;
        default: value = json_string(rc_config_text(config, key));
        }
        rc_cli_json_print(
            json_pack("{s:s, s:o?, s:s}", "key", key, "value", value, "from", rc_config_origin(config, key)));
    }
    const char *property, *text;
    for (size_t i = 0; rc_config_kafka(config, i, &property, &text); i++) {
        char key[600];
        snprintf(key, sizeof key, "kafka.%s", property);
        if (strcmp(key, "kafka.bootstrap.servers") != 0)
            rc_cli_json_print(json_pack("{s:s, s:s?, s:s}", "key", key, "value",
                                        rc_config_kafka_secret(property) && !secrets ? NULL : text, "from",
                                        rc_config_origin(config, key)));
    }
}

static rc_status config(struct rc_cli *cli, struct rc_error *err) {
    if (rc_cli_expect(cli, 0, 0, err) != RC_OK || rc_cli_load_config(cli, err) != RC_OK)
        return RC_FAIL;
    if (rc_cli_has(cli, "json")) {
        print_json(cli->config, rc_cli_has(cli, "secrets"));
        return RC_OK;
    }
    struct rc_buf text;
    rc_buf_init(&text, 4 << 20);
    rc_status status = rc_config_write(cli->config, rc_cli_has(cli, "secrets"), &text);
    if (status == RC_OK)
        fwrite(text.data, 1, text.len, stdout);
    else
        rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "the configuration is larger than 4 MiB");
    rc_buf_deinit(&text);
    return status;
}

static const struct rc_cli_option options[] = {
    {"secrets", 0, CLI_FLAG, NULL,
     "Prints passwords and keys among kafka.* too; without it a comment stands for each."},
    {0},
};

const struct rc_cli_command rc_cli_command_config = {
    .name = "config",
    .summary = "The configuration that is in force",
    .arguments = "",
    .text = "Checks the configuration and prints what results from defaults, file, environment and --set, in the form "
            "of the file: it parses back "
            "to itself. With --json, durations are in ms, sizes in bytes, and each key says where its value comes "
            "from. `rollcall help config` "
            "explains the keys.",
    .options = options,
    .examples = "rollcall config\nrollcall config --config rollcall.conf --set checkpoint.interval=500ms",
    .prints_data = true,
    .run = config,
};
