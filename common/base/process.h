/* What a consumer is given by the program that runs it, and what it tells in return: one `struct rc_process` a process, shared by the
 * three consumers when `run` holds them all. Built and torn down by cli/; consumers only use it.
 *
 * A consumer's life: rc_<role>_run(process, …) blocks until the stop is requested, drains, and returns. It
 *   - reads process->config (immutable), registers its metrics in process->metrics,
 *   - polls process->stop.fd, or looks at rc_stop_requested, at least every 100 ms,
 *   - adds a status section by rc_process_status_add, and removes it before it returns,
 *   - says when it is ready by rc_process_set_ready (assigned, restored, caught up enough to serve), which /readyz shows. */
#ifndef RC_BASE_PROCESS_H
#define RC_BASE_PROCESS_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/config.h"
#include "base/error.h"
#include "base/http.h"
#include "base/metrics.h"
#include "base/signal.h"

struct rc_process {
    const struct rc_config *config; /* borrowed for the process's life */
    struct rc_metrics *metrics;
    struct rc_http *http; /* for routes of a consumer's own, "/<role>/…"; may be NULL in tests */
    struct rc_stop *stop;
    const char *instance;         /* group.instance, or the id kept in state.dir; [a-z0-9-]+ */
    atomic_bool leave;            /* group.leave as it is now: a SIGHUP may change it */
    struct rc_sections *sections; /* private to process.c */
};

rc_status rc_process_init(struct rc_process *process, const struct rc_config *config, struct rc_http *http,
                          struct rc_stop *stop, const char *instance, struct rc_error *err) RC_MUST_USE;
void rc_process_deinit(struct rc_process *process);

/* A section of /status: called in the HTTP thread (and about once a second by the announcer of rollcall.processes), returns a new JSON
 * object, owned by the caller; never blocks for longer than a short lock. What `rollcall status` understands in it (all optional):
 *   "partitions": [{"topic", "partition", "state": "live|restoring|paused|…", "offset", "end_offset", "lag_records", "lag_seconds",
 *                   "clock_ms", "persons", "state_bytes"}],
 *   "segments":   [{"id", "version", "state": "warming|live", "members", "incomplete_until_ms", "progress"}],
 *   "audiences":  [{"id", "version", "state", "members", "last_change_ms"}],
 *   "destinations": [{"id", "type", "state", "lag_records", "lag_seconds", "last_change_ms"}],
 *   "latency":    {"event_to_change": {"p50", "p99"}, "due_to_change": …, "event_to_store": …, "hop": …} in seconds,
 *   "audience_latency": [{"audience", "destination", "p50", "p99", …}]: event to profile,
 *   "counters":   {"records", "events", "changes", "retries", "dead_letters": {reason: n}},
 *   "errors":     ["…"].
 * The numbers are this process's part; status adds them up over processes. */
typedef json_t *(*rc_status_fn)(void *ctx);
/* `role` is a literal: "ingest", "materialize", "sink". */
void rc_process_status_add(struct rc_process *process, const char *role, rc_status_fn status, void *ctx);
/* When it returns no call of the section is running any more. */
void rc_process_status_remove(struct rc_process *process, const char *role);

/* The whole of /status: {"program", "version", "instance", "pid", "since_ms", "now_ms", "roles": {role: section}}. Owned by the caller. */
json_t *rc_process_status(struct rc_process *process);

/* Not ready at first. Never waits. */
void rc_process_set_ready(struct rc_process *process, const char *role, bool ready);

/* Whether every role that is known is ready; false while none is. */
bool rc_process_ready(const struct rc_process *process);

/* {"count": n, "p50": s, "p99": s, "buckets": [n…]} of a histogram, p null where empty; for the "latency" of a status section. The buckets are
 * there so that the histograms of several processes can be added up (rc_histogram_bounds_s has their bounds). Owned by the caller. */
json_t *rc_process_latency(const struct rc_histogram *histogram);

#endif
