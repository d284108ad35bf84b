/* What a command is: a name, a table of options, texts for --help, and a function. One file per command; `rollcall help`, --help and the
 * completion are all printed from these. To add one: a row in RC_COMMANDS (commands.h), and a file that defines its struct. */
#ifndef RC_CLI_COMMAND_H
#define RC_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"

enum rc_cli_option_kind {
    CLI_FLAG, /* --name */
    CLI_ONE,  /* --name VALUE; the last one counts, unless the command reads them all */
    CLI_MANY, /* --name VALUE…: takes everything up to the next option; may be repeated */
};

struct rc_cli_option {
    const char *name; /* long, without the dashes; NULL ends a table */
    char letter;      /* short, or 0 */
    enum rc_cli_option_kind kind;
    const char *value; /* what stands for the value in the help: "FILE" */
    const char *help;
};

/* A parsed command line. All texts borrowed from argv. */
struct rc_cli_args {
    const struct rc_cli_option **names; /* names[i] was given with values[i]; owned */
    const char **values;                /* NULL for a flag; owned */
    size_t n;
    const char **positional; /* owned */
    size_t n_positional;
};

struct rc_cli_command;

/* Everything that a command's function gets. */
struct rc_cli {
    const struct rc_cli_command *command;
    struct rc_cli_args args;
    char *const *environment;
    struct rc_config *config; /* after rc_cli_load_config or rc_cli_connect; owned */
    bool embedded;            /* after rc_cli_connect: it points at a running `run --embedded` */
    int exit_code;            /* of a command that has worked: an answer, not an error; 0 at first */
};

struct rc_cli_command {
    const char *name;
    const char *summary;                 /* one line, for `rollcall help` */
    const char *arguments;               /* what follows the name in the usage line: "KIND ID" or "" */
    const char *text;                    /* paragraphs of help below the usage; may be "" */
    const struct rc_cli_option *options; /* besides the common ones; ends with a NULL name; may be NULL */
    const char *examples;                /* lines, each a command; may be "" */
    bool prints_data;                    /* has --json */
    bool no_config;                      /* has no --config and --set */
    rc_status (*run)(struct rc_cli *cli, struct rc_error *err);
};

/* ---- reading the command line ------------------------------------------------------------------------------------------- */

bool rc_cli_has(const struct rc_cli *cli, const char *option);
/* The last value given, or NULL. */
const char *rc_cli_value(const struct rc_cli *cli, const char *option);
/* All values in order: index from 0, NULL past the end. */
const char *rc_cli_value_at(const struct rc_cli *cli, const char *option, size_t index);
/* The last value as a duration in ms (> 0) / a positive number; `*out` untouched when the option is not given. Exit 64 on nonsense. */
rc_status rc_cli_duration(const struct rc_cli *cli, const char *option, int64_t *out_ms, struct rc_error *err)
    RC_MUST_USE;
/* The last value as an instant: RFC 3339, or a duration, which is how long ago. `*out_ms` likewise. */
rc_status rc_cli_instant(const struct rc_cli *cli, const char *option, int64_t *out_ms, struct rc_error *err)
    RC_MUST_USE;
rc_status rc_cli_number(const struct rc_cli *cli, const char *option, double *out, struct rc_error *err) RC_MUST_USE;
rc_status rc_cli_integer(const struct rc_cli *cli, const char *option, int64_t *out, struct rc_error *err) RC_MUST_USE;
/* Fails (exit 64) unless there are between `min` and `max` positional arguments. */
rc_status rc_cli_expect(const struct rc_cli *cli, size_t min, size_t max, struct rc_error *err) RC_MUST_USE;

/* Fills an error of usage: "<message>; see `rollcall <command> --help`". */
rc_status rc_cli_usage(const struct rc_cli *cli, struct rc_error *err, const char *fmt, ...)
    RC_MUST_USE RC_PRINTF(3, 4);

/* ---- configuration --------------------------------------------------------------------------------------------------------- */

/* Loads the configuration (defaults, --config, environment, --set) into cli->config and sets the log level. */
rc_status rc_cli_load_config(struct rc_cli *cli, struct rc_error *err) RC_MUST_USE;

/* For commands that talk to a running installation: loads, then points at the broker and the store of a `run --embedded` on the same
 * state.dir when there is one and nothing else was asked for. Logs of libraries are kept back unless log.level is set. */
rc_status rc_cli_connect(struct rc_cli *cli, struct rc_error *err) RC_MUST_USE;

/* How long a command waits for a broker before it gives up with exit 69. */
#define CLI_KAFKA_TIMEOUT_MS 8000

/* Puts the setting that has to be mended before an error that says that the broker cannot be reached. Returns RC_FAIL. */
rc_status rc_cli_broker_error(const struct rc_cli *cli, struct rc_error *err) RC_MUST_USE;

#endif
