/* State on local disk (RocksDB): records by partition, and small values beside them, changed together in atomic
 * batches.
 *
 * It knows nothing of what the bytes mean. Keys are (space, partition, key): `space` is a byte that the caller
 * chooses per kind of record, so that all records of a partition lie together and can be read or dropped as one
 * range.
 *
 * What survives: a committed batch survives the death of the process; with `sync` also of the machine. A batch is
 * there whole or not at all. The store is a cache of what Kafka holds: losing it costs time, not truth. */
#ifndef RC_STORE_STORE_H
#define RC_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

struct rc_store;

/* Spaces in use. A new kind of record takes a new byte. */
enum rc_store_space {
    RC_STORE_PERSON = 'p',   /* key: person key; a person's segment state (ingest) */
    RC_STORE_DEADLINE = 'd', /* key: domain, due instant, person key; no value (ingest) */
    RC_STORE_META = 'm',     /* key: a name: input offsets, epoch, clock, output marks */
    RC_STORE_AUDIENCE = 'a', /* key: person key; what materialize holds per person */
    RC_STORE_PROFILE = 'f',  /* key: person key; profiles of the embedded sink */
    RC_STORE_MEMBER = 'b',   /* key: free, for the sink's own use */
};

struct rc_store_options {
    const char *path; /* folder; made when missing (not when read_only) */
    const char *kind; /* "ingest", "materialize", "profiles": opening another kind's folder is an error */
    int format; /* version of what the caller saves; a store with a greater one is refused: "saved by a later build" */
    bool read_only;     /* sees what was there at open (a process that writes may have it open) */
    size_t cache_bytes; /* block cache and write buffers together; 0: 64 MiB */
};

/* `found_format` (may be NULL): the format that the store had, 0 when it is new; after open it says
 * `options->format`. Fails: FATAL exit 75 when another process has it open; FATAL exit 78 saved by a later build or
 * of another kind; FATAL exit 69 the disk is full; FATAL exit 65 damaged, naming the file that is, and what to do
 * (remove the folder: it is built again from Kafka). */
rc_status rc_store_open(const struct rc_store_options *options, struct rc_store **out, int *found_format,
                        struct rc_error *err) RC_MUST_USE;
void rc_store_close(struct rc_store *store);

/* True when the error says that the store is damaged (FATAL, exit 65): what is in it must not be used. */
bool rc_store_damaged(const struct rc_error *err);
/* Removes a store that nobody has open, whatever state it is in. */
rc_status rc_store_destroy(const char *path, struct rc_error *err) RC_MUST_USE;

/* ---- batches: begin, then put and delete, then commit or abort. Not visible before commit. ---- */

struct rc_store_batch;

struct rc_store_batch *rc_store_begin(struct rc_store *store);
void rc_store_put(struct rc_store_batch *batch, enum rc_store_space space, int32_t partition, struct rc_span key,
                  struct rc_span value);
void rc_store_delete(struct rc_store_batch *batch, enum rc_store_space space, int32_t partition, struct rc_span key);
/* Deletes all records of a space in a partition. */
void rc_store_delete_partition(struct rc_store_batch *batch, enum rc_store_space space, int32_t partition);
size_t rc_store_batch_bytes(const struct rc_store_batch *batch);
/* Both release the batch. `sync`: fsync the log before returning. */
rc_status rc_store_commit(struct rc_store_batch *batch, bool sync, struct rc_error *err) RC_MUST_USE;
void rc_store_abort(struct rc_store_batch *batch);

/* A commit in a thread of the store's own, in the order in which they were begun, while the caller does other things. `done` is called
 * there, when it is over. The rest of the store may be used meanwhile; what is in the batch may be seen from any moment on. */
struct rc_store_write;
struct rc_store_write *rc_store_commit_begin(struct rc_store_batch *batch, void (*done)(void *ctx), void *ctx);
/* Whether it is over. */
bool rc_store_commit_over(struct rc_store_write *write);
/* Waits for it, says what came of it, and frees it. */
rc_status rc_store_commit_end(struct rc_store_write *write, struct rc_error *err) RC_MUST_USE;

/* ---- many records at once, sorted ----
 * They go into files that become part of the store as they are: without its log, and without being sorted and merged by it. What is in a file replaces what the
 * store has of the same keys by then. ---- */

struct rc_store_sorted;

struct rc_store_sorted *rc_store_sorted_begin(struct rc_store *store);
/* Keys in ascending order, all of a space and partition behind each other. To be called by one thread at a time, any. */
rc_status rc_store_sorted_put(struct rc_store_sorted *sorted, enum rc_store_space space, int32_t partition,
                              struct rc_span key, struct rc_span value, struct rc_error *err) RC_MUST_USE;
rc_status rc_store_sorted_delete(struct rc_store_sorted *sorted, enum rc_store_space space, int32_t partition,
                                 struct rc_span key, struct rc_error *err) RC_MUST_USE;
/* Makes all of it part of the store, or nothing; it is on the disk then. Releases it. */
rc_status rc_store_sorted_commit(struct rc_store_sorted *sorted, struct rc_error *err) RC_MUST_USE;
void rc_store_sorted_abort(struct rc_store_sorted *sorted);

/* ---- reading ---- */

/* Fills `out` (reset first). *found false when there is none. */
rc_status rc_store_get(struct rc_store *store, enum rc_store_space space, int32_t partition, struct rc_span key,
                       struct rc_buf *out, bool *found, struct rc_error *err) RC_MUST_USE;

/* Calls `visit` for each record whose key begins with `prefix` (empty: all), in byte order of keys; spans borrowed
 * for the call. False from `visit` stops it (no error). Damage met on the way is an error that names it. */
typedef bool (*rc_store_visit_fn)(void *ctx, struct rc_span key, struct rc_span value);
rc_status rc_store_each(struct rc_store *store, enum rc_store_space space, int32_t partition, struct rc_span prefix,
                        rc_store_visit_fn visit, void *ctx, struct rc_error *err) RC_MUST_USE;

/* The same for the records of a partition from key `from` on; for short looks (what is read stays in the cache). */
rc_status rc_store_scan(struct rc_store *store, enum rc_store_space space, int32_t partition, struct rc_span from,
                        rc_store_visit_fn visit, void *ctx, struct rc_error *err) RC_MUST_USE;

/* Bytes on disk, about. */
uint64_t rc_store_bytes(struct rc_store *store);

#endif
