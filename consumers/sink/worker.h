/* The worker of one destination: a thread with its own consumer group, store, queue and retry, so that a slow destination delays no other. */
#ifndef RC_SINK_WORKER_H
#define RC_SINK_WORKER_H

#include <jansson.h>

#include "base/process.h"
#include "consumers/sink/driver.h"
#include "consumers/sink/routes.h"

struct rc_sink_worker;

struct rc_sink_worker_options {
    struct rc_process *process;
    const char *destination; /* its id */
    const char *url;         /* for status; without secrets */
    const char *topic;       /* <prefix>.memberships */
    bool confluent;
    int64_t interval_ms; /* between commits */
};

/* Starts the thread. `driver` and `set` are taken. */
rc_status rc_sink_worker_start(const struct rc_sink_worker_options *options, struct rc_sink_driver *driver,
                               struct rc_route_set *set, struct rc_sink_worker **out, struct rc_error *err) RC_MUST_USE;

/* Drains what was read (bounded), commits, ends the thread, and frees. */
void rc_sink_worker_stop(struct rc_sink_worker *worker);

/* Other audiences from now on; `set` is taken. Any thread. */
void rc_sink_worker_update(struct rc_sink_worker *worker, struct rc_route_set *set);

/* Its row of "destinations" in status; its rows of "partitions" and of "audience_latency" are appended to `partitions` and `latencies`. Any
 * thread. */
json_t *rc_sink_worker_status(struct rc_sink_worker *worker, json_t *partitions, json_t *latencies);

/* Whether the group has given its partitions and the store has said where they stand. Any thread. */
bool rc_sink_worker_ready(struct rc_sink_worker *worker);

/* Whether the worker has ended by itself: `err` says why. Any thread. */
bool rc_sink_worker_failed(struct rc_sink_worker *worker, struct rc_error *err);

/* The partitions that it holds: at most `max` numbers; returns how many there are. Any thread. */
size_t rc_sink_worker_partitions(struct rc_sink_worker *worker, int32_t *out, size_t max);

/* The local store behind it, or NULL; for reading, until the worker is stopped. */
struct rc_store *rc_sink_worker_store(struct rc_sink_worker *worker);

#endif
