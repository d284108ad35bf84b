/* Finds the command, parses its line, runs it, and turns what it says into one line on stderr and an exit code. exit() is called nowhere
 * else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "cli/args.h"
#include "cli/commands.h"

extern char **environ;

static int fail(const struct rc_error *err) {
    fflush(stdout);
    fprintf(stderr, "rollcall: %s\n", err->message);
    return err->exit_code ? (int)err->exit_code : RC_EXIT_INTERNAL;
}

static int unknown_command(const char *name) {
    const char *nearest = rc_cli_nearest_command(name);
    if (nearest)
        fprintf(stderr, "rollcall: unknown command \"%s\"; did you mean %s?\n", name, nearest);
    else
        fprintf(stderr, "rollcall: unknown command \"%s\"; `rollcall help` lists them\n", name);
    return RC_EXIT_USAGE;
}

static int run(const struct rc_cli_command *command, int argc, char **argv) {
    struct rc_cli_option common[CLI_MAX_COMMON];
    rc_cli_common_options(command, common);
    struct rc_error err = {0};
    struct rc_cli cli = {.command = command, .environment = environ};
    if (rc_cli_args_parse(command, common, argc, argv, &cli.args, &err) != RC_OK)
        return fail(&err);
    int code = RC_EXIT_OK;
    if (rc_cli_has(&cli, "help"))
        rc_cli_print_help(command);
    else if (command->run(&cli, &err) != RC_OK)
        code = fail(&err);
    else
        code = cli.exit_code;
    rc_config_free(cli.config);
    rc_cli_args_deinit(&cli.args);
    return code;
}

int main(int argc, char **argv) {
    int code = RC_EXIT_OK;
    if (argc < 2) {
        fprintf(stderr, "rollcall: no command; `rollcall help` lists them\n");
        return RC_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    else if (strcmp(name, "--version") == 0)
        name = "version";
    const struct rc_cli_command *command = rc_cli_find_command(name);
    code = command ? run(command, argc - 2, argv + 2) : unknown_command(name);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("rollcall: stdout");
        code = code ? code : RC_EXIT_INTERNAL;
    }
    return code;
}
