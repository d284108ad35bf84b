/* The audit trail: every change of a definition, for ever. The topic `<prefix>.audit` (one partition, never compacted, never trimmed), key
 * `kind/id`, value one line of JSON:
 *
 *   {"time":…, "who":…, "kind":…, "id":…, "action":"created", "version":3, "effect":{…}, "definition":{…}}
 *
 * The definition stands last and byte for byte as it was applied. An embedded broker forgets, so beside it the trail is the file
 * `<state.dir>/audit.jsonl` instead, one value a line. */
#ifndef RC_CLI_AUDIT_H
#define RC_CLI_AUDIT_H

#include "base/buf.h"
#include "cli/command.h"

struct rc_cli_audit {
    int64_t at_ms;
    const char *who, *kind, *id;
    const char *action; /* created, configured, deleted, rolled back, undeleted, renewed, approved, paused, … */
    int version;
    const char *effect; /* what was known of it at the time: a JSON object; NULL: nothing */
    const char *json;   /* the whole definition */
};

/* Appends the value of an entry. */
rc_status rc_cli_audit_add(struct rc_buf *out, const struct rc_cli_audit *entry) RC_MUST_USE;

/* Reads a value and gives it to `fn`, texts borrowed for the call. POISON with what is wrong; else what `fn` returned is in `*more`. */
typedef bool (*rc_cli_audit_fn)(void *ctx, const struct rc_cli_audit *entry);
rc_status rc_cli_audit_parse(struct rc_span value, rc_cli_audit_fn fn, void *ctx, bool *more, struct rc_error *err)
    RC_MUST_USE;

/* Gives every entry to `fn`, oldest first, until it returns false. An entry that is damaged is logged and left out. */
rc_status rc_cli_audit_read(const struct rc_cli *cli, rc_cli_audit_fn fn, void *ctx, struct rc_error *err) RC_MUST_USE;

/* The definition (kind, id) as its version `version` had it (0: the last one there was). `*out` owned by the caller; exit 65 when the trail
 * does not hold it, saying from which version on it does. */
rc_status rc_cli_audit_find(const struct rc_cli *cli, const char *kind, const char *id, int version, char **out,
                            struct rc_error *err) RC_MUST_USE;

/* Beside an embedded broker: appends values to the file, each with its line end, and makes them durable. */
rc_status rc_cli_audit_keep(const struct rc_cli *cli, struct rc_span lines, struct rc_error *err) RC_MUST_USE;

#endif
