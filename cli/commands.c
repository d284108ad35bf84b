#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/nearest.h"

#define ROW(name) &rc_cli_command_##name,
const struct rc_cli_command *const rc_cli_commands[] = {RC_COMMANDS(ROW) NULL};

#define N_COMMANDS (sizeof rc_cli_commands / sizeof *rc_cli_commands - 1)

const struct rc_cli_command *rc_cli_find_command(const char *name) {
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(rc_cli_commands[i]->name, name) == 0)
            return rc_cli_commands[i];
    }
    return NULL;
}

const char *rc_cli_nearest_command(const char *name) {
    const char *names[N_COMMANDS];
    for (size_t i = 0; i < N_COMMANDS; i++)
        names[i] = rc_cli_commands[i]->name;
    return rc_nearest_word(name, names, N_COMMANDS);
}

void rc_cli_common_options(const struct rc_cli_command *command, struct rc_cli_option out[CLI_MAX_COMMON]) {
    size_t n = 0;
    if (command->prints_data)
        out[n++] = (struct rc_cli_option){"json", 0, CLI_FLAG, NULL, "One JSON object a line on stdout."};
    if (!command->no_config) {
        out[n++] = (struct rc_cli_option){"config", 0, CLI_ONE, "FILE",
                                          "Configuration file (default: what ROLLCALL_CONFIG names, if anything)."};
        out[n++] =
            (struct rc_cli_option){"set", 0, CLI_ONE, "KEY=VALUE",
                                   "Sets one configuration key; may be repeated. `rollcall help config` lists them."};
    }
    out[n++] = (struct rc_cli_option){"help", 'h', CLI_FLAG, NULL, "Shows this."};
    out[n] = (struct rc_cli_option){0};
}

/* Prints `text` wrapped at `width` columns, each line after the first indented by `indent`. */
static void print_wrapped(const char *text, int indent, int width) {
    int column = indent;
    while (*text) {
        if (*text == '\n') {
            printf("\n%*s", indent, "");
            column = indent;
            text++;
            continue;
        }
        int len = (int)strcspn(text, " \n");
        if (column > indent && column + 1 + len > width) {
            printf("\n%*s", indent, "");
            column = indent;
        }
        if (column > indent) {
            putchar(' ');
            column++;
        }
        printf("%.*s", len, text);
        column += len;
        text += len;
        while (*text == ' ')
            text++;
    }
    putchar('\n');
}

static void print_options(const struct rc_cli_option *options) {
    for (; options && options->name; options++) {
        char left[80];
        int n = 0;
        if (options->letter)
            n += snprintf(left, sizeof left, "-%c, ", options->letter);
        else
            n += snprintf(left, sizeof left, "    ");
        n += snprintf(left + n, sizeof left - (size_t)n, "--%s", options->name);
        if (options->value)
            snprintf(left + n, sizeof left - (size_t)n, " %s%s", options->value,
                     options->kind == CLI_MANY ? "..." : "");
        printf("  %-26s ", left);
        if (strlen(left) > 26)
            printf("\n%29s", "");
        print_wrapped(options->help, 29, 100);
    }
}

void rc_cli_print_help(const struct rc_cli_command *command) {
    printf("rollcall %s: %s\n\nUsage: rollcall %s %s%s[options]\n", command->name, command->summary, command->name,
           command->arguments, *command->arguments ? " " : "");
    if (*command->text) {
        putchar('\n');
        print_wrapped(command->text, 0, 100);
    }
    printf("\nOptions:\n");
    struct rc_cli_option common[CLI_MAX_COMMON];
    rc_cli_common_options(command, common);
    print_options(command->options);
    print_options(common);
    if (*command->examples) {
        printf("\nExamples:\n");
        for (const char *line = command->examples; *line;) {
            int len = (int)strcspn(line, "\n");
            printf("  %.*s\n", len, line);
            line += len + (line[len] == '\n');
        }
    }
}

void rc_cli_print_overview(void) {
    printf("rollcall keeps audiences true in near real time, beside a Kafka cluster.\n\nUsage: rollcall COMMAND "
           "[options]\n\nCommands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        printf("  %-12s %s\n", rc_cli_commands[i]->name, rc_cli_commands[i]->summary);
    printf("\n`rollcall COMMAND --help` tells more; `rollcall help config` lists the configuration keys.\n"
           "Exit codes: 0 done, 64 wrong usage, 65 wrong data, 69 unavailable, 70 internal error, 75 try again later, "
           "78 wrong configuration.\n");
}
