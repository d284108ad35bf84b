/* Parsing a command line against a command's table of options. */
#ifndef RC_CLI_ARGS_H
#define RC_CLI_ARGS_H

#include "cli/command.h"

/* Parses argv[0..argc), which begins behind the command's name. Understands --name VALUE, --name=VALUE, -n VALUE, -nVALUE, and --, after
 * which nothing is an option. Fails (exit 64) naming the option and the nearest known one. `common` must live as long as the arguments. */
rc_status cli_args_parse(const struct cli_command *command, const struct cli_option *common, int argc,
                         char *const *argv, struct cli_args *out, struct rc_error *err) RC_MUST_USE;
void cli_args_deinit(struct cli_args *args);

#endif
