/* The sink consumer: `<prefix>.memberships` → the destinations of each audience (pipeline.md §6).
 *
 * Every destination has its own consumer group (`<group.prefix>-sink-<destination>`), thread, queue and retry, so that one that is slow or
 * away delays no other. `sink.default` (a URL) stands for a destination `profiles` that audiences without `destinations` use. */
#ifndef RC_SINK_SINK_H
#define RC_SINK_SINK_H

#include "base/error.h"
#include "base/process.h"

/* Runs until process->stop is requested, then drains: what was read is applied and its offsets are committed. Blocks. Adds its status
 * section ("sink"), metrics and readiness to `process`, and serves `/profile?person=<namespace:id>` from the embedded store when there is
 * one. Fails: FATAL (exit 69, 70, 78) with what to do. A destination that is away is no failure: it is retried and shown in status. */
rc_status rc_sink_run(struct rc_process *process, struct rc_error *err) RC_MUST_USE;

#endif
