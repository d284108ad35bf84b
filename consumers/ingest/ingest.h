/* The ingest consumer: dataset topics → segment state per person → `<prefix>.segments`.
 *
 * Reads all dataset topics of the installation (group `<group.prefix>-ingest`), partition n of each in one process;
 * keeps a population per partition number; emits changes of segments and of existence; dead letters what cannot be
 * used. */
#ifndef RC_INGEST_INGEST_H
#define RC_INGEST_INGEST_H

#include "base/error.h"
#include "base/process.h"

/* Header on a change's record whose decision goes on with another record of the same person: `more: 1`. */
#define RC_SEGMENTS_MORE_HEADER "more"

/* Runs until process->stop is requested, then drains: changes acknowledged, state saved, offsets committed. Blocks.
 * Adds its status section ("ingest"), metrics and readiness to `process`. Fails: FATAL (exit 69, 70, 78) with what to
 * do. */
rc_status rc_ingest_run(struct rc_process *process, struct rc_error *err) RC_MUST_USE;

#endif
