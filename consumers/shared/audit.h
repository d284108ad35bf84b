/* The audit trail: every change of a definition, for ever. The topic `<prefix>.audit` (one partition, never compacted, never trimmed), key
 * `kind/id`, value one line of JSON:
 *
 *   {"time":…, "who":…, "kind":…, "id":…, "action":"created", "version":3, "effect":{…}, "definition":{…}}
 *
 * The definition stands last and byte for byte as it was applied. An embedded broker forgets, so beside it the trail is the file
 * `<state.dir>/audit.jsonl` instead, one value a line. Commands write what was changed, consumers what came of it (RC_AUDIT_TOOK_EFFECT: once for a
 * version, but after a crash perhaps twice; readers take the first). */
#ifndef RC_SHARED_AUDIT_H
#define RC_SHARED_AUDIT_H

#include "base/buf.h"
#include "base/config.h"
#include "base/error.h"
#include "kafka/producer.h"

/* The action of an entry that says what a change led to; `who` is the program. */
#define RC_AUDIT_TOOK_EFFECT "took effect"

struct rc_audit {
    int64_t at_ms;
    const char *who, *kind, *id;
    const char *action; /* created, configured, deleted, rolled back, undeleted, renewed, approved, paused, … */
    int version;
    const char *effect; /* what was known of it at the time: a JSON object; NULL: nothing */
    const char *json;   /* the whole definition */
};

/* Appends the value of an entry. */
rc_status rc_audit_add(struct rc_buf *out, const struct rc_audit *entry) RC_MUST_USE;

/* Beside an embedded broker: appends values to the file, each with its line end, and makes them durable. */
rc_status rc_audit_keep(const struct rc_config *config, struct rc_span lines, struct rc_error *err) RC_MUST_USE;

/* Sends an entry to the topic, or keeps it in the file beside an embedded broker (where it is durable then). */
rc_status rc_audit_send(const struct rc_config *config, struct rc_producer *producer, const struct rc_audit *entry,
                        struct rc_error *err) RC_MUST_USE;

/* The file. Owned by the caller. */
char *rc_audit_file(const struct rc_config *config);

#endif
