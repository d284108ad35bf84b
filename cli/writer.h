/* Writes to the definitions topic: definitions, what operators say of them (control records), and the audit trail of both. What one command
 * changes is one transaction, of which readers see all or nothing; beside an embedded broker, which knows none, it is sent at once.
 *
 * Who begins puts whoever began before out of action, so nothing that was read after the beginning can have been changed by others when it is
 * written: of two at the same time, the first begins again from what the second has written. */
#ifndef RC_CLI_WRITER_H
#define RC_CLI_WRITER_H

#include "cli/audit.h"
#include "cli/command.h"
#include "consumers/shared/control.h"
#include "segment/definition.h"

#define CLI_WHO 300

/* Who changes something: --who, else user@host. */
void rc_cli_who(const struct rc_cli *cli, char out[CLI_WHO]);
/* The row for --who in a command's table of options. */
#define CLI_OPTION_WHO \
    { "who", 0, CLI_ONE, "NAME", "Who changes it, for the record (default: user@host)." }

struct rc_cli_writer;

/* Reads what is there, decides, and puts what is to be written; called again from the beginning when others were faster. */
typedef rc_status (*rc_cli_write_fn)(void *ctx, struct rc_cli_writer *writer, struct rc_error *err);

/* Lets `fn` work and writes what it has put, if anything, in this order: control records, definitions in the order put, the trail. Returns when it
 * is acknowledged by all in-sync replicas and everybody who reads now sees it; with an embedded broker, which forgets, when the running
 * process has put it into its state.dir. Fails: as `fn`; exit 69 when the broker does not answer; exit 75 when others are always faster, or when
 * the process does not keep it. */
rc_status rc_cli_write(const struct rc_cli *cli, rc_cli_write_fn fn, void *ctx, struct rc_error *err) RC_MUST_USE;

/* The record of `definition` (its version, applied_ms and applied_by filled in), or with `definition` NULL the tombstone of kind/id. */
rc_status rc_cli_writer_put(struct rc_cli_writer *writer, const char *kind, const char *id,
                            const struct rc_definition *definition, struct rc_error *err) RC_MUST_USE;

/* A control record: all that is said of kind/id from now on. */
rc_status rc_cli_writer_put_control(struct rc_cli_writer *writer, const char *kind, const char *id,
                                    const struct rc_control *control, const char *who, struct rc_error *err)
    RC_MUST_USE;

/* An entry of the audit trail. */
rc_status rc_cli_writer_put_audit(struct rc_cli_writer *writer, const struct rc_audit *entry, struct rc_error *err)
    RC_MUST_USE;

/* Changes what is said of an applied definition, whole: reads it, lets `change` alter it (`definition`: as it is applied) and writes it, with an
 * entry in the trail for each difference. Nothing is written when `change` fails or alters nothing. Fails with the nearest id when there is no such
 * definition (exit 65). `change` may be called again. */
typedef rc_status (*rc_cli_control_fn)(void *ctx, const struct rc_definition *definition, struct rc_control *control,
                                       struct rc_error *err);
rc_status rc_cli_control_change(const struct rc_cli *cli, const char *kind, const char *id, rc_cli_control_fn change,
                                void *ctx, struct rc_error *err) RC_MUST_USE;

#endif
