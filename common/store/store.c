/* The store over RocksDB's C API. See store.h.
 *
 * Key: one byte of space, the partition as 4 bytes big-endian, the caller's key; so a partition of a space is one
 * range. The reserved space 0 holds what the store says of itself: kind and format. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/priority.h"
#include "store/store_internal.h"

#define DEFAULT_CACHE (INT64_C(64) << 20)
#define MIB (INT64_C(1) << 20)
#define ROOM_TO_OPEN (8 * MIB) /* more than the small files that RocksDB writes at open, which are what it dies of */

static const char identity_key[] = "\0identity";

struct rc_store_write {
    struct rc_store_write *next;
    struct rc_store *store;
    struct rc_store_batch *batch;
    void (*done)(void *ctx);
    void *ctx;
    bool over;
    rc_status status;
    struct rc_error err;
};

/* What is put and deleted is kept in pieces, and made RocksDB's batch when it is committed, by the thread that commits. Into RocksDB's own, which is one
 * block that doubles, a put now and then takes as long as copying all before it: 30 ms with some ten megabytes. */
#define PIECE_BYTES ((size_t)256 << 10)
struct piece {
    struct piece *next;
    size_t len, capacity;
    char bytes[]; /* operations: a head, the key, the value */
};
struct operation {
    enum { PUT, DELETE, DELETE_RANGE } what;
    uint32_t key_len;
    size_t value_len; /* of a range: its end */
};

struct rc_store_batch {
    struct rc_store *store;
    struct piece *first, **last;
    size_t bytes, n;
    bool ranges; /* some are deleted */
    struct rc_buf key;
};

/* ---- errors ---- */

rc_status rc_store_failed(struct rc_error *err, const char *path, const char *what, char *text) {
    rc_status status;
    if (strncmp(text, "Corruption", 10) == 0 || strstr(text, "checksum mismatch"))
        status = rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_DATA,
                              "%s: the store is damaged (%s: %s); it is a cache of what Kafka holds: stop, remove the "
                              "folder, start again",
                              path, what, text);
    else if (strstr(text, "No space left"))
        status = rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE,
                              "%s: the disk is full (%s: %s); make room and start again", path, what, text);
    else if (strstr(text, "lock ") || strstr(text, "LOCK:"))
        status = rc_error_set(
            err, RC_CLASS_FATAL, RC_EXIT_TEMPORARY,
            "%s: another process has the store open (%s); give each process its own state.dir, or stop the other one",
            path, text);
    else
        status = rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "%s: %s: %s", path, what, text);
    rocksdb_free(text);
    return status;
}

/* ---- life ---- */

static rc_status make_folders(const char *path, struct rc_error *err) {
    char *whole = rc_strdup(path);
    for (char *at = whole + 1;; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char end = *at;
        *at = '\0';
        if (mkdir(whole, 0777) != 0 && errno != EEXIST) {
            rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "%s: the folder cannot be made: %s; is state.dir right?",
                         whole, strerror(errno));
            free(whole);
            return RC_FAIL;
        }
        *at = end;
        if (!end)
            break;
    }
    free(whole);
    return RC_OK;
}

/* RocksDB writes at open, and where asserts are compiled in (Debian's) it aborts when its manifest finds no room, without a
 * word that helps. So a full disk is noticed before: by taking the room and giving it back, for quotas count as well. */
static rc_status check_room(const char *folder, struct rc_error *err) {
    size_t bytes = strlen(folder) + sizeof "/room";
    char *path = rc_alloc(bytes);
    snprintf(path, bytes, "%s/room", folder);
    int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    int problem = file < 0 ? errno : posix_fallocate(file, 0, ROOM_TO_OPEN);
    if (file >= 0)
        close(file);
    unlink(path);
    free(path);
    if (problem == ENOSPC || problem == EDQUOT || problem == EFBIG)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE,
                            "%s: the disk is full (opening needs %d MiB: %s); make room and start again", folder,
                            (int)(ROOM_TO_OPEN / MIB), strerror(problem));
    return RC_OK; /* whatever else is wrong, RocksDB says it better */
}

static void set_options(struct rc_store *store, size_t cache_bytes) {
    size_t bytes = cache_bytes ? cache_bytes : (size_t)DEFAULT_CACHE;
    store->options = rocksdb_options_create();
    store->table = rocksdb_block_based_options_create();
    /* Indexes and filters count towards the cache, so that memory is bounded. They are cut into small blocks, and the cache into few
     * shards: a filter of a megabyte would fit into no shard, and be read from the file for every look-up. */
    rocksdb_lru_cache_options_t *cache = rocksdb_lru_cache_options_create();
    rocksdb_lru_cache_options_set_capacity(cache, bytes / 2);
    rocksdb_lru_cache_options_set_num_shard_bits(cache, 2);
    store->cache = rocksdb_cache_create_lru_opts(cache);
    rocksdb_lru_cache_options_destroy(cache);
    rocksdb_block_based_options_set_block_cache(store->table, store->cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(store->table, 1);
    rocksdb_block_based_options_set_index_type(store->table,
                                               rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(store->table, 1);
    rocksdb_block_based_options_set_metadata_block_size(store->table, 4 * 1024);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(store->table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(store->table, 1);
    rocksdb_block_based_options_set_filter_policy(store->table, rocksdb_filterpolicy_create_bloom(10));
    rocksdb_block_based_options_set_block_size(store->table, 8 * 1024);
    rocksdb_options_set_block_based_table_factory(store->options, store->table);
    rocksdb_options_set_create_if_missing(store->options, 1);
    size_t buffer = bytes / 8 < 4 * MIB ? 4 * MIB : bytes / 8;
    rocksdb_options_set_write_buffer_size(store->options, buffer);
    rocksdb_options_set_max_write_buffer_number(store->options, 3);
    rocksdb_options_set_max_background_jobs(store->options, 2);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(store->options, 1);
    /* A table is handed to the disk while it is written, not all of it at its end: then others who write there, a broker's log, would wait. */
    rocksdb_options_set_bytes_per_sync(store->options, MIB);
    rocksdb_options_set_max_total_wal_size(store->options, 4 * buffer);
    rocksdb_options_set_keep_log_file_num(store->options, 2);
    rocksdb_options_set_max_log_file_size(store->options, MIB);
    rocksdb_options_set_info_log_level(store->options, 2); /* warnings */
    rocksdb_options_set_compression(store->options, rocksdb_lz4_compression);
    rocksdb_options_set_paranoid_checks(store->options, 1);
    /* A torn end of the write-ahead log is what a crash leaves: the batches before it stand. Damage in its middle is
     * damage. */
    rocksdb_options_set_wal_recovery_mode(store->options, rocksdb_tolerate_corrupted_tail_records_recovery);
    store->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(store->read, 1);
    store->scan = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(store->scan, 1);
    rocksdb_readoptions_set_fill_cache(store->scan, 0);
    rocksdb_readoptions_set_readahead_size(store->scan, (size_t)MIB);
    store->write = rocksdb_writeoptions_create();
    store->write_sync = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(store->write_sync, 1);
}

/* Reads or writes what the store says of itself: "<kind>/<format>". */
static rc_status check_identity(struct rc_store *store, const struct rc_store_options *options, int *found_format,
                                struct rc_error *err) {
    char *problem = NULL;
    size_t len;
    char *found = rocksdb_get(store->db, store->read, identity_key, sizeof identity_key - 1, &len, &problem);
    if (problem)
        return rc_store_failed(err, options->path, "reading its identity", problem);
    int format = 0;
    if (found) {
        char text[128];
        snprintf(text, sizeof text, "%.*s", (int)len, found);
        rocksdb_free(found);
        char *slash = strrchr(text, '/'), *end = NULL;
        long number = slash ? strtol(slash + 1, &end, 10) : 0;
        if (number < 1 || number > INT_MAX || *end)
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_DATA,
                                "%s: the store's identity is damaged: remove the folder and start again",
                                options->path);
        *slash = '\0';
        format = (int)number;
        if (strcmp(text, options->kind) != 0)
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                                "%s: this is a store of %s, not of %s; use another folder", options->path, text,
                                options->kind);
        if (format > options->format)
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                                "%s: saved by a later build (format %d, this build reads up to %d); use that build, or "
                                "remove the folder: it is "
                                "built again from Kafka",
                                options->path, format, options->format);
    }
    if (format < options->format && !options->read_only) {
        char text[128];
        int n = snprintf(text, sizeof text, "%s/%d", options->kind, options->format);
        rocksdb_put(store->db, store->write_sync, identity_key, sizeof identity_key - 1, text, (size_t)n, &problem);
        if (problem)
            return rc_store_failed(err, options->path, "writing its identity", problem);
    }
    if (found_format)
        *found_format = format;
    return RC_OK;
}

rc_status rc_store_open(const struct rc_store_options *options, struct rc_store **out, int *found_format,
                        struct rc_error *err) {
    if (!options->read_only && (make_folders(options->path, err) != RC_OK || check_room(options->path, err) != RC_OK))
        return RC_FAIL;
    struct rc_store *store = rc_calloc(1, sizeof *store);
    store->path = rc_strdup(options->path);
    pthread_mutex_init(&store->writer.lock, NULL);
    pthread_cond_init(&store->writer.work, NULL);
    pthread_cond_init(&store->writer.over, NULL);
    store->writer.last = &store->writer.first;
    set_options(store, options->cache_bytes);
    if (!options->read_only)
        rc_store_sorted_sweep(options->path);
    char *problem = NULL;
    store->db = options->read_only ? rocksdb_open_for_read_only(store->options, options->path, 0, &problem)
                                   : rocksdb_open(store->options, options->path, &problem);
    if (problem) {
        store->db = NULL;
        rc_status status = rc_store_failed(err, options->path, "opening", problem);
        rc_store_close(store);
        return status;
    }
    if (check_identity(store, options, found_format, err) != RC_OK) {
        rc_store_close(store);
        return RC_FAIL;
    }
    *out = store;
    return RC_OK;
}

static void stop_writer(struct rc_store *store) {
    pthread_mutex_lock(&store->writer.lock);
    store->writer.stop = true;
    pthread_cond_signal(&store->writer.work);
    pthread_mutex_unlock(&store->writer.lock);
    if (store->writer.running)
        pthread_join(store->writer.thread, NULL);
    pthread_mutex_destroy(&store->writer.lock);
    pthread_cond_destroy(&store->writer.work);
    pthread_cond_destroy(&store->writer.over);
}

void rc_store_close(struct rc_store *store) {
    if (!store)
        return;
    stop_writer(store);
    if (store->db)
        rocksdb_close(store->db);
    rocksdb_readoptions_destroy(store->read);
    rocksdb_readoptions_destroy(store->scan);
    rocksdb_writeoptions_destroy(store->write);
    rocksdb_writeoptions_destroy(store->write_sync);
    rocksdb_options_destroy(store->options);
    rocksdb_block_based_options_destroy(store->table);
    rocksdb_cache_destroy(store->cache);
    free(store->path);
    free(store);
}

bool rc_store_damaged(const struct rc_error *err) {
    return err->class == RC_CLASS_FATAL && err->exit_code == RC_EXIT_DATA;
}

rc_status rc_store_destroy(const char *path, struct rc_error *err) {
    rocksdb_options_t *options = rocksdb_options_create();
    char *problem = NULL;
    rocksdb_destroy_db(options, path, &problem);
    rocksdb_options_destroy(options);
    return problem ? rc_store_failed(err, path, "removing", problem) : RC_OK;
}

/* ---- keys ---- */

static void head_of(char head[RC_STORE_HEAD], enum rc_store_space space, int32_t partition) {
    uint32_t n = (uint32_t)partition;
    head[0] = (char)space;
    head[1] = (char)(n >> 24);
    head[2] = (char)(n >> 16);
    head[3] = (char)(n >> 8);
    head[4] = (char)n;
}

/* The next key that does not begin with `key`; empty when there is none. */
static void successor(struct rc_buf *key) {
    while (key->len > 0 && (unsigned char)key->data[key->len - 1] == 0xff)
        key->len--;
    if (key->len > 0)
        key->data[key->len - 1]++;
}

void rc_store_key(struct rc_buf *out, enum rc_store_space space, int32_t partition, struct rc_span key) {
    char head[RC_STORE_HEAD];
    head_of(head, space, partition);
    rc_buf_reset(out);
    rc_buf_add(out, head, RC_STORE_HEAD);
    rc_buf_add_span(out, key);
}

/* ---- batches ---- */

struct rc_store_batch *rc_store_begin(struct rc_store *store) {
    struct rc_store_batch *batch = rc_calloc(1, sizeof *batch);
    batch->store = store;
    batch->last = &batch->first;
    rc_buf_init(&batch->key, SIZE_MAX / 2);
    return batch;
}

/* Room for so many bytes behind each other. */
static char *room(struct rc_store_batch *batch, size_t bytes) {
    struct piece *piece = *batch->last;
    if (!piece || bytes > piece->capacity - piece->len) {
        size_t capacity = bytes > PIECE_BYTES ? bytes : PIECE_BYTES;
        if (piece)
            batch->last = &piece->next;
        piece = rc_alloc(sizeof *piece + capacity);
        *piece = (struct piece){.capacity = capacity};
        *batch->last = piece;
    }
    piece->len += bytes;
    return piece->bytes + piece->len - bytes;
}

static void add(struct rc_store_batch *batch, int what, struct rc_span key, struct rc_span value) {
    struct operation head = {.what = what, .key_len = (uint32_t)key.len, .value_len = value.len};
    char *to = room(batch, sizeof head + key.len + value.len);
    memcpy(to, &head, sizeof head);
    memcpy(to + sizeof head, key.data, key.len);
    if (value.len)
        memcpy(to + sizeof head + key.len, value.data, value.len);
    batch->bytes += key.len + value.len;
    batch->n++;
    batch->ranges |= what == DELETE_RANGE;
}

void rc_store_put(struct rc_store_batch *batch, enum rc_store_space space, int32_t partition, struct rc_span key,
                  struct rc_span value) {
    rc_store_key(&batch->key, space, partition, key);
    add(batch, PUT, rc_buf_span(&batch->key), value);
}

void rc_store_delete(struct rc_store_batch *batch, enum rc_store_space space, int32_t partition, struct rc_span key) {
    rc_store_key(&batch->key, space, partition, key);
    add(batch, DELETE, rc_buf_span(&batch->key), rc_span_of("", 0));
}

void rc_store_delete_partition(struct rc_store_batch *batch, enum rc_store_space space, int32_t partition) {
    char first[RC_STORE_HEAD];
    head_of(first, space, partition);
    rc_store_key(&batch->key, space, partition, rc_span_of("", 0));
    successor(&batch->key);
    add(batch, DELETE_RANGE, rc_span_of(first, RC_STORE_HEAD), rc_buf_span(&batch->key));
}

size_t rc_store_batch_bytes(const struct rc_store_batch *batch) {
    return batch->bytes;
}

void rc_store_abort(struct rc_store_batch *batch) {
    if (!batch)
        return;
    while (batch->first) {
        struct piece *piece = batch->first;
        batch->first = piece->next;
        free(piece);
    }
    rc_buf_deinit(&batch->key);
    free(batch);
}

/* An operation where it lies in its piece; the value behind the key. */
struct entry {
    struct operation op;
    const char *key;
    size_t at; /* in the batch: of two with one key the later counts */
};

static int by_key(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    size_t len = x->op.key_len < y->op.key_len ? x->op.key_len : y->op.key_len;
    int order = memcmp(x->key, y->key, len);
    if (order == 0)
        order = (x->op.key_len > y->op.key_len) - (x->op.key_len < y->op.key_len);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

static struct entry *collect(const struct rc_store_batch *batch) {
    struct entry *entries = rc_alloc((batch->n + 1) * sizeof *entries);
    size_t n = 0;
    for (const struct piece *piece = batch->first; piece; piece = piece->next)
        for (const char *at = piece->bytes; at < piece->bytes + piece->len; n++) {
            struct entry *entry = &entries[n];
            memcpy(&entry->op, at, sizeof entry->op);
            entry->at = n;
            entry->key = at + sizeof entry->op;
            at = entry->key + entry->op.key_len + entry->op.value_len;
        }
    return entries;
}

/* Releases the batch. In the order of its keys, unless a range is deleted between others: what RocksDB's memtable, a skip list, does with a key is find its
 * place, which behind the key before it is near. A batch's keys come in no order, and to a place that is anywhere each step is a miss. */
static rocksdb_writebatch_t *take(struct rc_store_batch *batch) {
    rocksdb_writebatch_t *taken = rocksdb_writebatch_create();
    struct entry *entries = collect(batch);
    if (!batch->ranges)
        qsort(entries, batch->n, sizeof *entries, by_key);
    for (size_t i = 0; i < batch->n; i++) {
        const struct operation *op = &entries[i].op;
        const char *key = entries[i].key, *value = key + op->key_len;
        switch (op->what) {
        case PUT: rocksdb_writebatch_put(taken, key, op->key_len, value, op->value_len); break;
        case DELETE: rocksdb_writebatch_delete(taken, key, op->key_len); break;
        case DELETE_RANGE: rocksdb_writebatch_delete_range(taken, key, op->key_len, value, op->value_len); break;
        }
    }
    free(entries);
    rc_store_abort(batch);
    return taken;
}

rc_status rc_store_commit(struct rc_store_batch *batch, bool sync, struct rc_error *err) {
    struct rc_store *store = batch->store;
    char *problem = NULL;
    rocksdb_writebatch_t *taken = take(batch);
    rocksdb_write(store->db, sync ? store->write_sync : store->write, taken, &problem);
    rocksdb_writebatch_destroy(taken);
    return problem ? rc_store_failed(err, store->path, "writing", problem) : RC_OK;
}

/* ---- commits in the background ---- */

/* RocksDB's own threads, that flush and compact, are made when a commit first needs them: they stand back as well. */
static void *write_batches(void *arg) {
    struct rc_store *store = arg;
    rc_priority_stand_back();
    pthread_mutex_lock(&store->writer.lock);
    for (;;) {
        struct rc_store_write *write = store->writer.first;
        if (!write && store->writer.stop)
            break;
        if (!write) {
            pthread_cond_wait(&store->writer.work, &store->writer.lock);
            continue;
        }
        store->writer.first = write->next;
        if (!store->writer.first)
            store->writer.last = &store->writer.first;
        pthread_mutex_unlock(&store->writer.lock);
        struct rc_error err;
        rc_status status = rc_store_commit(write->batch, false, &err);
        void (*done)(void *ctx) = write->done;
        void *ctx = write->ctx;
        pthread_mutex_lock(&store->writer.lock);
        write->status = status;
        if (status != RC_OK)
            write->err = err;
        write->over = true; /* from here on it may be gone */
        pthread_cond_broadcast(&store->writer.over);
        if (done)
            done(ctx);
    }
    pthread_mutex_unlock(&store->writer.lock);
    return NULL;
}

struct rc_store_write *rc_store_commit_begin(struct rc_store_batch *batch, void (*done)(void *ctx), void *ctx) {
    struct rc_store *store = batch->store;
    struct rc_store_write *write = rc_calloc(1, sizeof *write);
    *write = (struct rc_store_write){.store = store, .batch = batch, .done = done, .ctx = ctx};
    pthread_mutex_lock(&store->writer.lock);
    bool started = store->writer.running || pthread_create(&store->writer.thread, NULL, write_batches, store) == 0;
    store->writer.running = started;
    if (started) {
        *store->writer.last = write;
        store->writer.last = &write->next;
        pthread_cond_signal(&store->writer.work);
    }
    pthread_mutex_unlock(&store->writer.lock);
    if (!started) { /* no thread to be had: then here */
        write->status = rc_store_commit(batch, false, &write->err);
        write->over = true;
    }
    return write;
}

bool rc_store_commit_over(struct rc_store_write *write) {
    pthread_mutex_lock(&write->store->writer.lock);
    bool over = write->over;
    pthread_mutex_unlock(&write->store->writer.lock);
    return over;
}

rc_status rc_store_commit_end(struct rc_store_write *write, struct rc_error *err) {
    struct rc_store *store = write->store;
    pthread_mutex_lock(&store->writer.lock);
    while (!write->over)
        pthread_cond_wait(&store->writer.over, &store->writer.lock);
    pthread_mutex_unlock(&store->writer.lock);
    rc_status status = write->status;
    if (status != RC_OK)
        *err = write->err;
    free(write);
    return status;
}

/* ---- reading ---- */

rc_status rc_store_get(struct rc_store *store, enum rc_store_space space, int32_t partition, struct rc_span key,
                       struct rc_buf *out, bool *found, struct rc_error *err) {
    struct rc_buf whole;
    rc_buf_init(&whole, SIZE_MAX / 2);
    rc_store_key(&whole, space, partition, key);
    char *problem = NULL;
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned(store->db, store->read, whole.data, whole.len, &problem);
    rc_buf_deinit(&whole);
    if (problem)
        return rc_store_failed(err, store->path, "reading", problem);
    *found = slice != NULL;
    if (!slice)
        return RC_OK;
    size_t len;
    const char *value = rocksdb_pinnableslice_value(slice, &len);
    rc_buf_reset(out);
    rc_status status = rc_buf_add(out, value, len);
    rocksdb_pinnableslice_destroy(slice);
    return status == RC_OK ? RC_OK
                           : rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                                          "%s: a value of %zu bytes is over the caller's limit of %zu", store->path,
                                          len, out->limit);
}

/* Visits what begins with the first `prefix_len` bytes of `first`, from `first` on; takes `first`. */
static rc_status visit_from(struct rc_store *store, const rocksdb_readoptions_t *options, struct rc_buf *first,
                            size_t prefix_len, rc_store_visit_fn visit, void *ctx, struct rc_error *err) {
    rocksdb_iterator_t *at = rocksdb_create_iterator(store->db, options);
    for (rocksdb_iter_seek(at, first->data, first->len); rocksdb_iter_valid(at); rocksdb_iter_next(at)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(at, &key_len);
        if (key_len < prefix_len || memcmp(key, first->data, prefix_len) != 0)
            break;
        const char *value = rocksdb_iter_value(at, &value_len);
        if (!visit(ctx, rc_span_of(key + RC_STORE_HEAD, key_len - RC_STORE_HEAD), rc_span_of(value, value_len)))
            break;
    }
    char *problem = NULL;
    rocksdb_iter_get_error(at, &problem);
    rocksdb_iter_destroy(at);
    rc_buf_deinit(first);
    return problem ? rc_store_failed(err, store->path, "reading", problem) : RC_OK;
}

rc_status rc_store_each(struct rc_store *store, enum rc_store_space space, int32_t partition, struct rc_span prefix,
                        rc_store_visit_fn visit, void *ctx, struct rc_error *err) {
    struct rc_buf first;
    rc_buf_init(&first, SIZE_MAX / 2);
    rc_store_key(&first, space, partition, prefix);
    return visit_from(store, store->scan, &first, first.len, visit, ctx, err);
}

rc_status rc_store_scan(struct rc_store *store, enum rc_store_space space, int32_t partition, struct rc_span from,
                        rc_store_visit_fn visit, void *ctx, struct rc_error *err) {
    struct rc_buf first;
    rc_buf_init(&first, SIZE_MAX / 2);
    rc_store_key(&first, space, partition, from);
    return visit_from(store, store->read, &first, RC_STORE_HEAD, visit, ctx, err);
}

uint64_t rc_store_bytes(struct rc_store *store) {
    uint64_t files = 0, memory = 0;
    rocksdb_property_int(store->db, "rocksdb.live-sst-files-size", &files);
    rocksdb_property_int(store->db, "rocksdb.cur-size-all-mem-tables", &memory);
    return files + memory;
}
