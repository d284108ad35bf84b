/* The broker of `rollcall run --embedded`: librdkafka's mock cluster, in this process.
 *
 * It forgets everything when it stops, trims a partition at 5 MiB or 100,000 message sets even if unread, wakes no
 * waiting fetch, knows no compaction, admin calls or static members (pipeline.md §6). Its address stands in
 * `<state.dir>/embedded.json`, so that commands in a second terminal find it. */
#ifndef RC_KAFKA_EMBEDDED_H
#define RC_KAFKA_EMBEDDED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"

struct rc_embedded;

#define RC_EMBEDDED_TRIM_BYTES (5 * 1024 * 1024)
#define RC_EMBEDDED_TRIM_SETS 100000

/* Starts it and writes embedded.json. `config` is borrowed for the call; `*run_config` is a copy of it that points at
 * this broker (kafka.bootstrap.servers), owned by the embedded broker until it stops: everything else is opened with
 * that one. Fails (exit 75) when another process that still runs owns `state.dir`. */
rc_status rc_embedded_start(const struct rc_config *config, struct rc_embedded **out,
                            const struct rc_config **run_config, struct rc_error *err) RC_MUST_USE;
/* Removes embedded.json too. After everything that was opened with its config has been closed. */
void rc_embedded_stop(struct rc_embedded *embedded);

/* host:port, borrowed. */
const char *rc_embedded_bootstrap(const struct rc_embedded *embedded);

/* For commands beside it: when `<state.dir>/embedded.json` names a process that runs, `*out` becomes a copy of
 * `config` that points at its broker (owned by the caller) and true is returned; else false and `*out` as it was. A
 * config that names kafka.bootstrap.servers itself is left alone. */
bool rc_embedded_find(const struct rc_config *config, struct rc_config **out) RC_MUST_USE;

/* True when `config` points at an embedded broker that this process started or found. */
bool rc_embedded_used(const struct rc_config *config);

#endif
