/* The materialize consumer: `<prefix>.segments` → audiences → `<prefix>.memberships`.
 *
 * Reads every change of segment membership and of existence (group `<group.prefix>-materialize`), keeps per person what is known, decides
 * the audiences that a change can touch (consumers/materialize/audience.h) and publishes what changed, in order per person. */
#ifndef RC_MATERIALIZE_MATERIALIZE_H
#define RC_MATERIALIZE_MATERIALIZE_H

#include "base/error.h"
#include "base/process.h"

/* Runs until process->stop is requested, then drains: state saved, changes acknowledged, offsets committed. Blocks. Adds its status
 * section ("materialize"), metrics and readiness to `process`. Fails: FATAL (exit 69, 70, 78) with what to do. */
rc_status rc_materialize_run(struct rc_process *process, struct rc_error *err) RC_MUST_USE;

#endif
