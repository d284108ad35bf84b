/* Inside of a destination's worker: worker.c (thread, Kafka, batches), worker_sync.c (the store: where it stands, what it knows),
 * worker_fill.c (audiences that come late) and worker_dead.c (records that cannot be used). */
#ifndef RC_SINK_WORKER_INTERNAL_H
#define RC_SINK_WORKER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "consumers/sink/attached.h"
#include "consumers/sink/latency.h"
#include "consumers/sink/worker.h"
#include "kafka/loop.h"
#include "kafka/producer.h"
#include "kafka/source.h"
#include "kafka/topics.h"

/* Changes under way or being put together; past it nothing more is read. */
#define RC_SINK_MAX_PENDING 8192
#define RC_SINK_MAX_BATCH 512

#define RC_SINK_METRICS(X)                                                                                        \
    X(counter, records, "rollcall_sink_records_total", "Records of the memberships topic that were read")         \
    X(counter, changes, "rollcall_sink_changes_total", "Changes applied or found to be known")                    \
    X(counter, written, "rollcall_sink_written_total", "Changes that were news to the store")                     \
    X(counter, skipped, "rollcall_sink_skipped_total", "Records of audiences that do not go to this destination") \
    X(counter, bad, "rollcall_sink_bad_total", "Records of the memberships topic that went to the dead letters")  \
    X(counter, retries, "rollcall_sink_retries_total",                                                            \
      "Times that the store was in trouble and work went on from its offsets")                                    \
    X(counter, refills, "rollcall_sink_refills_total",                                                            \
      "Partitions that the store did not know, filled from their beginning")                                      \
    X(counter, fills, "rollcall_sink_fills_total",                                                                \
      "Times that a partition was read again for audiences that came late to the destination")                    \
    X(gauge, pending, "rollcall_sink_pending_changes", "Changes sent to the store and not acknowledged yet")      \
    X(gauge, lag, "rollcall_sink_lag_records", "Records of the memberships topic that are not applied yet")       \
    X(gauge, lag_seconds, "rollcall_sink_lag_seconds", "Age of the last record taken, while there are more")      \
    X(histogram, event_latency, "rollcall_sink_event_to_profile_seconds",                                         \
      "Timestamp of the deciding event to profile changed")                                                       \
    X(histogram, hop_latency, "rollcall_sink_change_to_profile_seconds",                                          \
      "Membership change published to profile changed")

struct sink_metrics {
    RC_SINK_METRICS(RC_METRIC_MEMBER)
};

struct sink_part {
    int32_t number;
    bool ready;      /* the store has said where it stands, and the source reads from there */
    int64_t next;    /* offset of the next record to take */
    int64_t chain;   /* offset that the store has once everything submitted is applied; RC_SINK_NO_OFFSET: none */
    int64_t applied; /* offset up to which the store has acknowledged */
    int64_t committed;
    int64_t last_record_ms;
    bool paused;
    struct rc_sink_batch *batch; /* being put together; NULL: none */
    struct rc_attached attached; /* audiences: what is taken, what comes late */
    bool knows_attached;         /* what the store remembers was read into it */
    bool begun;                  /* the store remembers that it has had the partition from its beginning */
    bool filling;                /* audiences that come late are read from the beginning up to `next` */
    int64_t filled;              /* offset of the next record to take for them */
};

struct rc_sink_worker {
    struct rc_process *process;
    char *destination, *url, *topic;
    bool confluent;
    int64_t interval_ms;
    struct rc_sink_driver *driver;
    pthread_t thread;
    _Atomic bool stopping, assigned, synced, failed;
    struct rc_loop *loop;
    struct rc_admin *admin;
    struct rc_kafka_source *source;
    struct sink_metrics metrics;
    struct rc_sink_latency *latency; /* by audience */

    /* The worker's thread only. */
    struct sink_part **parts;
    size_t n_parts, parts_capacity;
    struct rc_route_set *set;
    bool connected;
    int fd;           /* in the loop; −1: none */
    bool sync_wanted; /* partitions or audiences have come */
    int64_t retry_ms; /* monotonic: when to connect again */
    int64_t back_off_ms;
    int64_t probe_ms;       /* monotonic: when to ask the store where it stands */
    int64_t commit_ms;      /* monotonic: last commit */
    size_t building;        /* changes in batches that are being put together */
    struct rc_message held; /* waits for the definition of its audience */
    bool holding;
    int64_t held_until_ms;          /* monotonic */
    struct rc_producer *burier;     /* of dead letters; NULL until one is needed */
    int64_t bury_ms;                /* monotonic: when to try again */
    struct rc_kafka_source *filler; /* reads again for audiences that come late; NULL: none does */
    bool fill_waits;                /* there is nothing to read for it just now */
    struct rc_sink_batch **spare;
    size_t n_spare, spare_capacity;
    uint32_t random;

    /* Shared with other threads. */
    pthread_mutex_t lock;
    struct rc_route_set *next_set;
    struct rc_error failure;
    char state[512];
    int64_t last_change_ms, lag_records, view_ms;
    double lag_seconds;
    json_t *partitions; /* rows of status */
};

/* worker.c */
struct sink_part *rc_sink_worker_part(struct rc_sink_worker *worker, int32_t number);
void rc_sink_worker_set_state(struct rc_sink_worker *worker, const char *state);
/* Gives up everything under way; the partitions are not ready any more. */
void rc_sink_worker_drop(struct rc_sink_worker *worker);

/* Adds a change to what is sent next of the partition; RC_FAIL: `trouble` of the store. */
rc_status rc_sink_worker_add(struct rc_sink_worker *worker, struct sink_part *part, const struct rc_sink_change *change,
                             struct rc_error *trouble) RC_MUST_USE;
size_t rc_sink_worker_under_way(const struct rc_sink_worker *worker);

/* worker_fill.c */
/* Begins to read again for the audiences that wait, unless it is being done already. */
rc_status rc_sink_worker_fill_start(struct rc_sink_worker *worker, struct rc_error *err) RC_MUST_USE;
/* Takes a share of it. RC_FAIL: `trouble` of the store. */
rc_status rc_sink_worker_fill_turn(struct rc_sink_worker *worker, struct rc_error *trouble) RC_MUST_USE;
/* Gives it up; the audiences wait again. */
void rc_sink_worker_fill_stop(struct rc_sink_worker *worker);

/* worker_dead.c */
/* Sends the dead letter of a record that cannot be used, and returns when it is acknowledged; `text` as rc_deadletter_send
 * has it. RC_FAIL (it has said so in the log): the same record is to come again, later. */
rc_status rc_sink_worker_bury(struct rc_sink_worker *worker, const struct rc_message *message, const char *text)
    RC_MUST_USE;

/* worker_sync.c */
/* Connects when it is time, brings partitions and audiences in, and looks whether the store is where it should be. Fails only for good. */
rc_status rc_sink_worker_sync(struct rc_sink_worker *worker, int64_t monotonic_ms, struct rc_error *err) RC_MUST_USE;
/* The store is in trouble: everything under way is dropped, and it is connected again after a while. */
void rc_sink_worker_trouble(struct rc_sink_worker *worker, int64_t monotonic_ms, const struct rc_error *why);

#endif
