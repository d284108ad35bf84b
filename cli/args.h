/* Parsing a command line against a command's table of options. */
#ifndef RC_CLI_ARGS_H
#define RC_CLI_ARGS_H

#include "cli/command.h"

/* Parses argv[0..argc), which begins behind the command's name. Understands --name VALUE, --name=VALUE, -n VALUE, -nVALUE, and --, after
 * which nothing is an option. Fails (exit 64) naming the option and the nearest known one. `common` must live as long as the arguments. */
rc_status rc_cli_args_parse(const struct rc_cli_command *command, const struct rc_cli_option *common, int argc,
                            char *const *argv, struct rc_cli_args *out, struct rc_error *err) RC_MUST_USE;
void rc_cli_args_deinit(struct rc_cli_args *args);

#endif
