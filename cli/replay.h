/* Asking for a replay: what `replay` and `import` end in. */
#ifndef RC_CLI_REPLAY_H
#define RC_CLI_REPLAY_H

#include "cli/command.h"
#include "segment/definition.h"

/* Refuses (exit 65) where a segment that rests on the dataset needs records that its topic does not hold any more: without them the segment would
 * lose members. `force`: then it is only told on stderr. */
rc_status rc_cli_replay_check(const struct rc_cli *cli, const struct rc_catalog *catalog, const char *dataset,
                              bool force, struct rc_error *err) RC_MUST_USE;

/* Asks every partition to build the state of the dataset's segments anew, from records of `from_ms` on (0: no such bound). `all`: of all of the
 * topic, for everybody whom it names; else of what windows need. What was said of a former replay of it is forgotten, but for its rate. */
rc_status rc_cli_replay_ask(const struct rc_cli *cli, const char *dataset, int64_t from_ms, bool all,
                            struct rc_error *err) RC_MUST_USE;

/* How many segments rest on the dataset, references followed. */
size_t rc_cli_replay_segments(const struct rc_catalog *catalog, const char *dataset);

#endif
