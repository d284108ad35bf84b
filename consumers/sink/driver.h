/* What a kind of destination has to be able to do: the door between a destination's worker (worker.c: Kafka, order, retry) and its store
 * (redis.c, embedded.c, file.c).
 *
 * A store keeps, next to the profiles, how far it has applied each partition of the memberships topic, changed together with them. So a
 * store that was wiped, or restored from an older copy, says so by itself, and is filled again from there. One thread; calls
 * other than submit and progress may block for a few seconds. Any failure makes the worker drop what is under way, connect again and go on
 * from the offsets that the store then names. */
#ifndef RC_SINK_DRIVER_H
#define RC_SINK_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/span.h"
#include "codec/membership.h"

#define RC_SINK_NO_OFFSET (-1)

/* One change of membership, for one destination. */
struct rc_sink_change {
    struct rc_span person_key;
    struct rc_membership change;
    bool read_again;    /* for an audience that came late: its age says nothing about latency */
    bool only_if_there; /* the audience is not (any more) for this destination: only an entry that is there is ended */
};

/* Changes of one partition in order, and what they bring the store's offset from and to. */
struct rc_sink_batch {
    int32_t partition;
    int64_t expected;               /* the offset that the store must have before; RC_SINK_NO_OFFSET: none */
    int64_t next;                   /* the offset that it has afterwards */
    struct rc_arena arena;          /* holds everything below */
    struct rc_sink_change *changes; /* owned */
    size_t n, capacity;
};

struct rc_sink_batch *rc_sink_batch_new(void);
void rc_sink_batch_free(struct rc_sink_batch *batch);
/* Empty again, memory kept. */
void rc_sink_batch_reset(struct rc_sink_batch *batch);
/* Copies the change into the batch. */
void rc_sink_batch_add(struct rc_sink_batch *batch, const struct rc_sink_change *change);

struct rc_sink_driver;

/* A batch is applied for good: `written` of its changes were news. The batch goes back to the worker. */
typedef void (*rc_sink_done_fn)(void *ctx, struct rc_sink_batch *batch, size_t written);

struct rc_sink_driver_ops {
    const char *type;

    /* Connects; afterwards the other calls may be made. */
    rc_status (*connect)(struct rc_sink_driver *driver, struct rc_error *err);
    /* Gives up the connection and what is under way; batches under way go back through `dropped` (NULL: freed). */
    void (*disconnect)(struct rc_sink_driver *driver);

    /* The applied offset of each of `n` partitions, RC_SINK_NO_OFFSET where there is none. Fails when the store belongs to another cluster. */
    rc_status (*offsets)(struct rc_sink_driver *driver, const int32_t *partitions, size_t n, int64_t *out,
                         struct rc_error *err);
    /* Sets them, whatever they were. */
    rc_status (*rewind)(struct rc_sink_driver *driver, const int32_t *partitions, const int64_t *offsets, size_t n,
                        struct rc_error *err);

    /* A list that the store remembers: calls `visit` with each text that `attach` was given, unless `detach` took it off. All three are
     * NULL when it cannot remember. Texts are printable and short (worker_sync.c). */
    rc_status (*attached)(struct rc_sink_driver *driver, void (*visit)(void *ctx, struct rc_span entry), void *ctx,
                          struct rc_error *err);
    rc_status (*attach)(struct rc_sink_driver *driver, const char *const *entries, size_t n, struct rc_error *err);
    rc_status (*detach)(struct rc_sink_driver *driver, const char *entry, struct rc_error *err);

    /* Sends the batch on its way and keeps it until it is done. */
    rc_status (*submit)(struct rc_sink_driver *driver, struct rc_sink_batch *batch, struct rc_error *err);
    /* Hands back what is done, in order. Never blocks. */
    rc_status (*progress)(struct rc_sink_driver *driver, rc_sink_done_fn done, void *ctx, struct rc_error *err);
    /* Changes under way. */
    size_t (*pending)(const struct rc_sink_driver *driver);
    /* What to wait for, as of poll(2); −1: nothing. */
    int (*fd)(const struct rc_sink_driver *driver, short *events);

    void (*free)(struct rc_sink_driver *driver);
};

/* First member of every driver. */
struct rc_sink_driver {
    const struct rc_sink_driver_ops *ops;
};

/* What drivers are made from. Texts are copied. */
struct rc_sink_driver_options {
    const char *destination; /* its id */
    const char *url;
    const char *password; /* NULL: the URL's, if any */
    const char *prefix;   /* topics.prefix */
    const char *cluster;  /* id of the Kafka cluster */
    bool
        cluster_may_change; /* against the embedded broker: what another cluster left is discarded instead of being an error */
    size_t cache_bytes; /* embedded */
};

rc_status rc_sink_redis_new(const struct rc_sink_driver_options *options, struct rc_sink_driver **out,
                            struct rc_error *err) RC_MUST_USE;
rc_status rc_sink_embedded_new(const struct rc_sink_driver_options *options, struct rc_sink_driver **out,
                               struct rc_error *err) RC_MUST_USE;
rc_status rc_sink_file_new(const struct rc_sink_driver_options *options, struct rc_sink_driver **out,
                           struct rc_error *err) RC_MUST_USE;

/* The store of an embedded driver, for reading beside it; valid until the driver is freed. NULL before it is connected. */
struct rc_store *rc_sink_embedded_store(struct rc_sink_driver *driver);

/* ---- the form of a profile, the same in every store -------------------------------------------------------------------------------- */

/* "segmentMembership.<audience>". */
rc_status rc_profile_field_add(struct rc_buf *out, struct rc_span audience);
/* {"status":"realized","lastQualificationTime":"2026-01-31T09:15:00.000Z","version":4294967296}, the version last, because the check
 * of versions reads it from there. */
rc_status rc_profile_value_add(struct rc_buf *out, bool realized, int64_t since_ms, int64_t version);
/* The version of such a value, −1 when it is none. */
int64_t rc_profile_value_version(struct rc_span value);

#endif
