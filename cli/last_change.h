/* The last change that was published of one person and segment or audience: the record itself, with its cause and event. State does not keep
 * them, the compacted topic does; it is read backwards in growing steps, since what people ask about is mostly young. */
#ifndef RC_CLI_LAST_CHANGE_H
#define RC_CLI_LAST_CHANGE_H

#include <jansson.h>

#include "cli/command.h"

/* `topic`: "segments" or "memberships"; `target`: the segment's or audience's id. `*out` (owned by the caller): {"status", "since", "version",
 * "cause", "eventId", "eventTime", "emittedAt", "targetVersion"}; NULL when the latest records, as many as `budget_ms` allows, hold none. Then
 * `*complete` says whether all of the partition was read. Fails when the topic cannot be read. */
rc_status rc_cli_last_change(const struct rc_cli *cli, const char *topic, const char *person, const char *target,
                             int budget_ms, json_t **out, bool *complete, struct rc_error *err) RC_MUST_USE;

#endif
