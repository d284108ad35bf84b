/* A compacted topic of memberships as of one instant: the ends of all its partitions are asked for at one moment, and each partition is read up
 * to there and no further. What counts of a person and audience is the highest version; a change that is part of a decision of which the
 * rest lies behind the end does not count yet. One partition at a time, so memory holds a part of the persons. */
#ifndef RC_CLI_SNAPSHOT_H
#define RC_CLI_SNAPSHOT_H

#include <jansson.h>

#include "cli/command.h"
#include "cli/latest.h"
#include "kafka/read.h"

struct rc_cli_snapshot {
    const struct rc_cli *cli;
    char *topic;                /* owned */
    int64_t taken_ms;           /* every change acknowledged before it is in */
    struct rc_read_span *spans; /* one a partition; owned */
    size_t n;
    size_t left_out; /* changes of decisions that were not complete, so far */
};

/* `name`: "memberships" or "segments". Fails (exit 69) when the broker does not answer. `out` is zeroed storage; deinit it in any case. */
rc_status rc_cli_snapshot_take(const struct rc_cli *cli, const char *name, struct rc_cli_snapshot *out,
                               struct rc_error *err) RC_MUST_USE;
void rc_cli_snapshot_deinit(struct rc_cli_snapshot *snapshot);

/* Whether the audience or segment is wanted. */
typedef bool (*rc_cli_wanted_fn)(void *ctx, struct rc_span target);

/* Reads partition `p` of it into `out`, by record key (person key|target). */
rc_status rc_cli_snapshot_read(struct rc_cli_snapshot *snapshot, size_t p, rc_cli_wanted_fn wanted, void *ctx,
                               struct rc_cli_latest *out, struct rc_error *err) RC_MUST_USE;

/* {"topic", "asOf", "ends": {partition: offset}}; owned by the caller. */
json_t *rc_cli_snapshot_json(const struct rc_cli_snapshot *snapshot);

#endif
