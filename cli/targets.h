/* Segments and audiences to be evaluated: a catalog that holds them, what they rest on, and nothing else.
 *
 * An audience becomes a segment of that catalog (its condition is one: and, or, not over segments, over the datasets of all segments that it
 * names), and beside each target stands a segment that is true of everybody who exists for it. So one engine counts both, and what it is asked
 * for is all that it computes. */
#ifndef RC_CLI_TARGETS_H
#define RC_CLI_TARGETS_H

#include "segment/definition.h"

struct rc_cli_target {
    const char *kind, *id; /* "segment" or "audience"; the caller's */
    uint32_t segment;      /* index in the catalog that was made */
    uint32_t everybody;    /* the same: persons who exist for it */
    int64_t lookback_ms;   /* how far back its answers go at most; −1: all of history */
    bool *rests_on;        /* by dataset of that catalog: whether its events can matter; owned */
};

/* Fills the rest of the targets, which must all be in `from`. `*out` is owned by the caller. Fails as building a catalog
 * does: a name that is too long, too many segments. */
rc_status rc_cli_targets_build(const struct rc_catalog *from, struct rc_cli_target *targets, size_t n,
                               struct rc_catalog **out, struct rc_error *err) RC_MUST_USE;
/* Releases what the targets own, not the array. */
void rc_cli_targets_deinit(struct rc_cli_target *targets, size_t n);

#endif
