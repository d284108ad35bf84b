/* Writes to the definitions topic: what apply and delete change. */
#ifndef RC_CLI_WRITER_H
#define RC_CLI_WRITER_H

#include "cli/command.h"
#include "segment/definition.h"

struct rc_cli_writer;

rc_status rc_cli_writer_open(const struct rc_cli *cli, struct rc_cli_writer **out, struct rc_error *err) RC_MUST_USE;
/* NULL is fine. Gives up what was not finished. */
void rc_cli_writer_close(struct rc_cli_writer *writer);

/* Sends the record of `definition` (its version, applied_ms and applied_by filled in), or with `definition` NULL the tombstone of kind/id. */
rc_status rc_cli_writer_put(struct rc_cli_writer *writer, const char *kind, const char *id,
                            const struct rc_definition *definition, struct rc_error *err) RC_MUST_USE;

/* Waits until everything is acknowledged by all in-sync replicas; with an embedded broker, which forgets, until the running process has put it
 * into its state.dir as well. Fails: exit 69 when the broker does not answer, exit 75 when the process does not keep it. */
rc_status rc_cli_writer_finish(struct rc_cli_writer *writer, struct rc_error *err) RC_MUST_USE;

#endif
