/* Prints help from the tables of commands and of the configuration; no text of its own that could lag behind them. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "cli/commands.h"
#include "cli/table.h"

static rc_status print_configuration(struct rc_cli *cli, struct rc_error *err) {
    if (rc_cli_has(cli, "markdown")) {
        struct rc_buf text;
        rc_buf_init(&text, 1 << 20);
        rc_status status = rc_config_write_markdown(&text);
        if (status == RC_OK)
            fwrite(text.data, 1, text.len, stdout);
        rc_buf_deinit(&text);
        return status == RC_OK
                   ? RC_OK
                   : rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "the reference is larger than 1 MiB");
    }
    printf("Configuration: defaults < --config FILE < ROLLCALL_* environment < --set KEY=VALUE.\n"
           "kafka.<property> hands any property to librdkafka. `rollcall config` shows what is in force.\n\n");
    size_t n;
    const struct rc_config_property *table = rc_config_properties(&n);
    for (size_t i = 0; i < n; i++) {
        printf("%s (%s%s%s)", table[i].name, table[i].words ? table[i].words : rc_config_type_name(table[i].type),
               *table[i].fallback ? ", default " : "", table[i].fallback);
        printf("%s\n    %s\n", table[i].live ? " [live]" : "", table[i].help);
    }
    return RC_OK;
}

static rc_status help(struct rc_cli *cli, struct rc_error *err) {
    if (rc_cli_expect(cli, 0, 1, err) != RC_OK)
        return RC_FAIL;
    const char *topic = cli->args.n_positional ? cli->args.positional[0] : NULL;
    if (topic && strcmp(topic, "config") == 0)
        return print_configuration(cli, err);
    if (rc_cli_has(cli, "markdown"))
        return rc_cli_usage(cli, err, "--markdown goes with `rollcall help config`");
    if (!topic) {
        rc_cli_print_overview();
        return RC_OK;
    }
    const struct rc_cli_command *command = rc_cli_find_command(topic);
    if (!command) {
        const char *nearest = rc_cli_nearest_command(topic);
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_USAGE,
                            nearest ? "no command \"%s\"; did you mean %s?" : "no command \"%s\"%s", topic,
                            nearest ? nearest : "; `rollcall help` lists them");
    }
    rc_cli_print_help(command);
    return RC_OK;
}

static const struct rc_cli_option options[] = {
    {"markdown", 0, CLI_FLAG, NULL, "With `config`: as docs/configuration.md."},
    {0},
};

const struct rc_cli_command rc_cli_command_help = {
    .name = "help",
    .summary = "Help on commands, and on configuration",
    .arguments = "[COMMAND | config]",
    .text = "",
    .options = options,
    .examples = "rollcall help apply\nrollcall help config",
    .no_config = true,
    .run = help,
};
