/* The audit trail (consumers/shared/audit.h), to read. */
#ifndef RC_CLI_AUDIT_H
#define RC_CLI_AUDIT_H

#include "cli/command.h"
#include "consumers/shared/audit.h"

/* Reads a value and gives it to `fn`, texts borrowed for the call. POISON with what is wrong; else what `fn` returned is in `*more`. */
typedef bool (*rc_cli_audit_fn)(void *ctx, const struct rc_audit *entry);
rc_status rc_cli_audit_parse(struct rc_span value, rc_cli_audit_fn fn, void *ctx, bool *more, struct rc_error *err)
    RC_MUST_USE;

/* Gives every entry to `fn`, oldest first, until it returns false. An entry that is damaged is logged and left out, and so is
 * one that says again what took effect. */
rc_status rc_cli_audit_read(const struct rc_cli *cli, rc_cli_audit_fn fn, void *ctx, struct rc_error *err) RC_MUST_USE;

/* The definition (kind, id) as its version `version` had it (0: the last one there was). `*out` owned by the caller; exit 65 when the trail
 * does not hold it, saying from which version on it does. */
rc_status rc_cli_audit_find(const struct rc_cli *cli, const char *kind, const char *id, int version, char **out,
                            struct rc_error *err) RC_MUST_USE;

#endif
