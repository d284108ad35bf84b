/* The definitions topic as a consumer sees it: all of it before anything else is read, then followed live.
 *
 * One record a definition: key `kind/id`, value the JSON as applied with three keys behind its own: "version", "time"
 * (RFC 3339), "who"; a tombstone deletes. What `apply` writes and what everybody reads goes through the two functions
 * at the end.
 *
 * Definitions that were applied together are taken together (a header says that more is to come, a short silence ends
 * a batch), so an audience may arrive before its segment. What does not fit is logged, counted and left out; what was good before stays.
 *
 * Control records (control.h) travel on the same topic and are no part of the catalog. */
#ifndef RC_SHARED_DEFINITIONS_H
#define RC_SHARED_DEFINITIONS_H

#include "base/process.h"
#include "consumers/shared/control.h"
#include "kafka/loop.h"
#include "segment/definition.h"

struct rc_definitions;

/* Makes the topic when it is missing and reads it to its end, waiting for the broker until the process is told to
 * stop (then RETRY). `loop`: woken by new records; borrowed. `role`: for logs. Against the embedded broker the role
 * "ingest" also keeps what it reads in `<state.dir>/definitions.jsonl`, because that broker forgets. */
rc_status rc_definitions_open(const struct rc_process *process, const char *role, struct rc_loop *loop,
                              struct rc_definitions **out, struct rc_error *err) RC_MUST_USE;
void rc_definitions_close(struct rc_definitions *definitions);

/* What operators said of a definition: zeroes when nothing was. News come with rc_definitions_poll, but make no new
 * catalog by themselves; they are there no later than the catalog of the definitions that were written with them. */
void rc_definitions_control(const struct rc_definitions *definitions, const char *kind, const char *id,
                            struct rc_control *out);

/* All of them: for who looks for what was deleted. Borrowed until the next poll. */
const struct rc_controls *rc_definitions_controls(const struct rc_definitions *definitions);

/* Grows with each control record that said something new: who looks again only when it has, misses none. */
uint64_t rc_definitions_control_changes(const struct rc_definitions *definitions);
/* The same of what is said to be in force (serving.h), which is not counted there. */
uint64_t rc_definitions_serving_changes(const struct rc_definitions *definitions);

/* Looks for news; never blocks. `*out` becomes a new catalog (owned by the caller) when something changed since the
 * last one that was returned (the first call after open always returns one, maybe empty), else NULL. */
rc_status rc_definitions_poll(struct rc_definitions *definitions, struct rc_catalog **out, struct rc_error *err)
    RC_MUST_USE;

/* Offset behind the last record that was read: who has taken up what lies before it knows all that is known here. It grows with the topic. */
int64_t rc_definitions_seen(const struct rc_definitions *definitions);
/* Whether what lies before the offset is taken up: the catalogs that poll returned and the control records say it. */
bool rc_definitions_took_up(const struct rc_definitions *definitions, int64_t offset);

/* Wall-clock ms at which poll wants to be called although nothing wakes the loop; INT64_MAX: none. */
int64_t rc_definitions_due(const struct rc_definitions *definitions);

/* Definitions that are left out at present, as one text a line for status ("segment/x: why"), owned by the caller. */
char *rc_definitions_problems(const struct rc_definitions *definitions);

/* For `run --embedded`, after rc_embedded_start and before any consumer: puts what `<state.dir>/definitions.jsonl`
 * keeps onto the topic. */
rc_status rc_definitions_restore(const struct rc_config *config, struct rc_error *err) RC_MUST_USE;

/* ---- the records ---- */

/* Header "1" on every record of a change but its last definition: a follower waits for that one, so it never takes up half of what was applied
 * together, however the records come over the network. */
#define RC_DEFINITIONS_MORE_HEADER "more"

/* Appends the value for a definition (json, version, applied_ms, applied_by). */
rc_status rc_definition_record_add(struct rc_buf *out, const struct rc_definition *definition) RC_MUST_USE;

/* For `scheduled_ms` of a definition that takes the place of `before` (NULL: of none) at `now_ms`: an audience whose schedule stays as it was
 * keeps its time of day. A schedule is refresh, at and timezone; of `once` also where, because another question is another answer. */
int64_t rc_definition_scheduled_ms(const struct rc_definition *before, const struct rc_definition *after,
                                   int64_t now_ms);

/* Reads a record's value and adds it to the builder. POISON with what is wrong. */
rc_status rc_definition_record_read(struct rc_catalog_builder *builder, struct rc_span value, struct rc_error *err)
    RC_MUST_USE;

#endif
