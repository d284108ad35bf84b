/* A consumer of Kafka: as member of a group (partitions come and go by rebalance) or of given partitions.
 *
 * Messages are taken one by one (rd_kafka_consumer_poll): librdkafka 2.0.2's consume_batch* skips offsets around
 * pause, resume and seek. Offsets are never stored or committed automatically: the caller commits what has become
 * durable. A gap under a reader (retention or a trim took records that were not read yet) is a FATAL error, never a
 * silent jump.
 *
 * Steps of a group member, all of them inside rc_source_poll, on the caller's thread:
 *   1. the group gives partitions → `assigned`: the caller names for each where to start (its own store knows best);
 *   2. messages flow;
 *   3. the group takes them back → `revoked`: the caller makes effects durable and commits, before anybody else can
 *      start; with `lost` somebody else may have started already: nothing may be committed any more. */
#ifndef RC_KAFKA_SOURCE_H
#define RC_KAFKA_SOURCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"
#include "base/span.h"
#include "codec/decode.h"

struct rc_kafka_source; /* (rc_source is a dataset's: codec/dataset.h) */

/* Where to start. Any value ≥ 0 is an offset. */
#define RC_START_COMMITTED (-1001) /* the group's committed offset; the beginning when there is none */
#define RC_START_BEGINNING (-2)
#define RC_START_END (-1)

struct rc_source_partition {
    const char *topic; /* borrowed for the call */
    int32_t partition;
    int64_t start; /* an offset or RC_START_…; COMMITTED when not touched */
    void *ctx;     /* the caller's; comes back with every message of the partition; NULL when not touched */
};

/* May change `start` and `ctx`. On failure the source's poll returns the error. */
typedef rc_status (*rc_assigned_fn)(void *ctx, struct rc_source_partition *partitions, size_t n, struct rc_error *err);
typedef void (*rc_revoked_fn)(void *ctx, const struct rc_source_partition *partitions, size_t n, bool lost);

struct rc_source_options {
    const char *name;  /* for logs and as part of client.id: "ingest", "definitions" */
    const char *group; /* whole group id; NULL: no group, rc_source_assign is used */
    /* group.instance.id: a restart takes its partitions back at once; NULL: a member without a name. Left out against
     * the embedded broker, which knows none. */
    const char *instance;
    /* Whether a named member gives its partitions up for good when it closes; looked at then, borrowed until then. NULL or
     * false: its place is kept until the session times out. */
    const atomic_bool *leave;
    rc_assigned_fn assigned; /* groups only; may be NULL */
    rc_revoked_fn revoked;   /* groups only; may be NULL */
    void *ctx;
    int wake_fd; /* eventfd that is written to when there is something to poll (rc_loop_fd); -1: none */
    /* How long the broker may hold a fetch that finds nothing, which is also how late the end of a partition is told
     * when nobody is given its last records; 0: kafka.fetch.wait.max.ms, 500. */
    int fetch_wait_ms;
    bool stands_back; /* its threads do (base/priority.h): nobody waits for what it reads */
    /* For who reads a long way and is slower than the broker: how much of a partition one fetch asks for at most, and fetching goes on as soon as there is
     * room again; 0: kafka.fetch.message.max.bytes, 1 MiB, and up to a second later. */
    int fetch_bytes;
};

/* Does not wait for the broker. `config` is borrowed for the call. Fails (FATAL, exit 78) on properties that
 * librdkafka refuses. */
rc_status rc_source_open(const struct rc_config *config, const struct rc_source_options *options,
                         struct rc_kafka_source **out, struct rc_error *err) RC_MUST_USE;

/* Gives the partitions back (calls `revoked` first), leaves the group if it has no name or `leave` says so, and releases
 * everything. */
void rc_source_close(struct rc_kafka_source *source);

/* Sets the topics of the group member; may be called again with others (a rebalance follows). */
rc_status rc_source_subscribe(struct rc_kafka_source *source, const char *const *topics, size_t n, struct rc_error *err)
    RC_MUST_USE;

/* Without a group: reads these partitions (all earlier ones are let go). */
rc_status rc_source_assign(struct rc_kafka_source *source, const struct rc_source_partition *partitions, size_t n,
                           struct rc_error *err) RC_MUST_USE;

/* A message. All spans borrowed until rc_message_release. */
struct rc_message {
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; /* RC_NO_TIMESTAMP when it has none */
    struct rc_span key, value;
    bool null_key, null_value;
    void *ctx;    /* of the partition */
    void *handle; /* librdkafka's */
};

enum rc_polled {
    RC_POLLED_MESSAGE, /* `out` is filled; release it */
    RC_POLLED_NOTHING, /* the queue is empty */
    RC_POLLED_EVENT,   /* something was handled inside (a rebalance, an end of partition, an answer): poll again */
    RC_POLLED_ERROR,   /* `err`: RETRY: librdkafka is at it, go on polling; FENCED and FATAL: stop */
};

/* Takes the next message. `timeout_ms` 0: only looks. */
enum rc_polled rc_source_poll(struct rc_kafka_source *source, int timeout_ms, struct rc_message *out,
                              struct rc_error *err) RC_MUST_USE;
void rc_message_release(struct rc_message *message);

/* The headers, in order, at most `max`; returns how many there are. Spans borrowed until release. */
size_t rc_message_headers(const struct rc_message *message, struct rc_header *out, size_t max);
/* Value of the last header of that name; false when there is none. */
bool rc_message_header(const struct rc_message *message, const char *name, struct rc_span *out);

/* Stops and restarts the flow of a partition without losing any: what was fetched already is fetched again after
 * resume. The group membership lives on as long as the caller polls. */
rc_status rc_source_pause(struct rc_kafka_source *source, const char *topic, int32_t partition, struct rc_error *err)
    RC_MUST_USE;
rc_status rc_source_resume(struct rc_kafka_source *source, const char *topic, int32_t partition, struct rc_error *err)
    RC_MUST_USE;
rc_status rc_source_seek(struct rc_kafka_source *source, const char *topic, int32_t partition, int64_t offset,
                         struct rc_error *err) RC_MUST_USE;

/* ---- the end of a partition (pipeline.md §2) ---- */

/* True when the broker has said, since this process last stood still and not longer ago than `fresh_ms`, that there
 * is nothing behind the last message that the caller took. Only meaningful after polling until RC_POLLED_NOTHING:
 * messages that wait in the queue are behind it too. `since_ms` (may be NULL): the instant on the wall clock up to
 * which that is known (no record that was in the log by then is unread). No network traffic. */
bool rc_source_at_end(struct rc_kafka_source *source, const char *topic, int32_t partition, int64_t fresh_ms,
                      int64_t *since_ms);

/* Asks the broker afresh for the ends of all assigned partitions, in the background; the answer wakes the loop and
 * shows in at_end. Does nothing while a question is on its way. */
void rc_source_ask_end(struct rc_kafka_source *source);
bool rc_source_asking(const struct rc_kafka_source *source); /* whether one is */

/* Everything that is known about ends becomes void, answers under way too. Called by the loop after a gap. Broker
 * errors and new assignments do it by themselves. */
void rc_source_stood_still(struct rc_kafka_source *source);

/* Takes over the ends that the latest fetches' answers told, for partitions that are behind (note of
 * rc_source_position): for reports. */
void rc_source_refresh_ends(struct rc_kafka_source *source);

/* Offset of the next message to take, and the end as last heard (−1: not known). RC_FAIL when the partition is not
 * assigned. */
rc_status rc_source_position(struct rc_kafka_source *source, const char *topic, int32_t partition, int64_t *position,
                             int64_t *end) RC_MUST_USE;

/* ---- commits ---- */

struct rc_offset {
    const char *topic; /* borrowed */
    int32_t partition;
    int64_t offset;       /* the next one to read; −1: none */
    const char *metadata; /* borrowed; may be NULL */
};

/* Commits to the group. `wait`: until the broker has answered (bounded by its request timeout), else in the
 * background (errors are logged; the next commit covers them). FENCED: the member is no longer in the group. */
rc_status rc_source_commit(struct rc_kafka_source *source, const struct rc_offset *offsets, size_t n, bool wait,
                           struct rc_error *err) RC_MUST_USE;

/* The group's committed offsets for these partitions: fills `offset`, and `metadata` with memory owned by the caller
 * (or NULL). */
rc_status rc_source_committed(struct rc_kafka_source *source, struct rc_offset *offsets, size_t n, struct rc_error *err)
    RC_MUST_USE;

#endif
