/* The table of commands, in the order in which `rollcall help` shows them. */
#ifndef RC_CLI_COMMANDS_H
#define RC_CLI_COMMANDS_H

#include "cli/command.h"

#define RC_COMMANDS(X) \
    X(run)             \
    X(ingest)          \
    X(materialize)     \
    X(sink)            \
    X(produce)         \
    X(import)          \
    X(apply)           \
    X(get)             \
    X(describe)        \
    X(delete)          \
    X(undelete)        \
    X(history)         \
    X(rollback)        \
    X(approve)         \
    X(renew)           \
    X(backfill)        \
    X(replay)          \
    X(status)          \
    X(explain)         \
    X(is)              \
    X(members)         \
    X(export)          \
    X(profile)         \
    X(tail)            \
    X(deadletters)     \
    X(release)         \
    X(diff)            \
    X(preview)         \
    X(eval)            \
    X(bench)           \
    X(config)          \
    X(completion)      \
    X(version)         \
    X(help)

#define RC_COMMAND_DECLARE(name) extern const struct rc_cli_command rc_cli_command_##name;
RC_COMMANDS(RC_COMMAND_DECLARE)

/* All commands; NULL-terminated. */
extern const struct rc_cli_command *const rc_cli_commands[];

/* NULL when there is none of that name. */
const struct rc_cli_command *rc_cli_find_command(const char *name);

/* The nearest command's name, or NULL. */
const char *rc_cli_nearest_command(const char *name);

/* Options that every command has, given what it says of itself: --json, --config, --set, --help. Ends with a NULL name. At most
 * CLI_MAX_COMMON. */
#define CLI_MAX_COMMON 5
void rc_cli_common_options(const struct rc_cli_command *command, struct rc_cli_option out[CLI_MAX_COMMON]);

/* Prints the help of a command to stdout. */
void rc_cli_print_help(const struct rc_cli_command *command);
/* Prints the overview to stdout. */
void rc_cli_print_overview(void);

#endif
