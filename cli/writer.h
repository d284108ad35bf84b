/* Writes to the definitions topic: what apply and delete change, and what operators say of definitions (control records). */
#ifndef RC_CLI_WRITER_H
#define RC_CLI_WRITER_H

#include "cli/command.h"
#include "consumers/shared/control.h"
#include "segment/definition.h"

#define CLI_WHO 300

/* Who changes something: --who, else user@host. */
void rc_cli_who(const struct rc_cli *cli, char out[CLI_WHO]);

struct rc_cli_writer;

rc_status rc_cli_writer_open(const struct rc_cli *cli, struct rc_cli_writer **out, struct rc_error *err) RC_MUST_USE;
/* NULL is fine. Gives up what was not finished. */
void rc_cli_writer_close(struct rc_cli_writer *writer);

/* Sends the record of `definition` (its version, applied_ms and applied_by filled in), or with `definition` NULL the tombstone of kind/id. */
rc_status rc_cli_writer_put(struct rc_cli_writer *writer, const char *kind, const char *id,
                            const struct rc_definition *definition, struct rc_error *err) RC_MUST_USE;

/* Sends a control record: all that is said of kind/id from now on. Before the definition that it belongs to, so that whoever takes up the one has
 * the other. */
rc_status rc_cli_writer_put_control(struct rc_cli_writer *writer, const char *kind, const char *id,
                                    const struct rc_control *control, const char *who, struct rc_error *err)
    RC_MUST_USE;

/* Waits until everything is acknowledged by all in-sync replicas; with an embedded broker, which forgets, until the running process has put it
 * into its state.dir as well. Fails: exit 69 when the broker does not answer, exit 75 when the process does not keep it. */
rc_status rc_cli_writer_finish(struct rc_cli_writer *writer, struct rc_error *err) RC_MUST_USE;

/* Changes what is said of an applied definition, whole: reads it, lets `change` alter it (`definition`: as it is applied) and writes it. Nothing
 * is written when `change` fails or alters nothing. Fails with the nearest id when there is no such definition (exit 65). */
typedef rc_status (*rc_cli_control_fn)(void *ctx, const struct rc_definition *definition, struct rc_control *control,
                                       struct rc_error *err);
rc_status rc_cli_control_change(const struct rc_cli *cli, const char *kind, const char *id, rc_cli_control_fn change,
                                void *ctx, struct rc_error *err) RC_MUST_USE;

#endif
