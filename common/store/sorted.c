/* Files of sorted records, which RocksDB takes in as they are. A file holds one space of one partition, so it lies beside all others, and goes where nothing
 * has to be merged. Until it is taken in it is a file in the store's folder that RocksDB does not know; a process that is killed leaves it there, and the next
 * open removes it. */
#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/store_internal.h"

#define NAME "sorted-"

struct rc_store_sorted {
    struct rc_store *store;
    rocksdb_envoptions_t *environment;
    rocksdb_options_t *
        options; /* the store's, without compression: who writes so much at once is in a hurry, and a later compaction does it */
    rocksdb_sstfilewriter_t *writer; /* of the last file; NULL: none is open */
    char **paths;                    /* owned, as all in it */
    size_t n, capacity;
    enum rc_store_space space; /* of the last file */
    int32_t partition;
    struct rc_buf key;
};

void rc_store_sorted_sweep(const char *folder) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (strncmp(entry->d_name, NAME, sizeof NAME - 1) == 0)
            unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
}

struct rc_store_sorted *rc_store_sorted_begin(struct rc_store *store) {
    struct rc_store_sorted *sorted = rc_calloc(1, sizeof *sorted);
    sorted->store = store;
    sorted->environment = rocksdb_envoptions_create();
    sorted->options = rocksdb_options_create_copy(store->options);
    rocksdb_options_set_compression(sorted->options, rocksdb_no_compression);
    rc_buf_init(&sorted->key, SIZE_MAX / 2);
    return sorted;
}

static rc_status finish_file(struct rc_store_sorted *sorted, struct rc_error *err) {
    char *problem = NULL;
    if (!sorted->writer)
        return RC_OK;
    rocksdb_sstfilewriter_finish(sorted->writer, &problem);
    rocksdb_sstfilewriter_destroy(sorted->writer);
    sorted->writer = NULL;
    return problem ? rc_store_failed(err, sorted->store->path, "writing sorted records", problem) : RC_OK;
}

static rc_status begin_file(struct rc_store_sorted *sorted, struct rc_error *err) {
    static atomic_uint numbers;
    const char *folder = sorted->store->path;
    size_t bytes = strlen(folder) + sizeof "/" NAME "4294967295";
    char *path = rc_alloc(bytes), *problem = NULL;
    snprintf(path, bytes, "%s/" NAME "%u", folder, atomic_fetch_add(&numbers, 1));
    rc_grow(&sorted->paths, &sorted->capacity, sorted->n + 1, sizeof *sorted->paths);
    sorted->paths[sorted->n++] = path;
    sorted->writer = rocksdb_sstfilewriter_create(sorted->environment, sorted->options);
    rocksdb_sstfilewriter_open(sorted->writer, path, &problem);
    return problem ? rc_store_failed(err, folder, "writing sorted records", problem) : RC_OK;
}

/* The right file is open, and the key is made. */
static rc_status turn_to(struct rc_store_sorted *sorted, enum rc_store_space space, int32_t partition,
                         struct rc_span key, struct rc_error *err) {
    rc_store_key(&sorted->key, space, partition, key);
    if (sorted->writer && sorted->space == space && sorted->partition == partition)
        return RC_OK;
    sorted->space = space;
    sorted->partition = partition;
    return finish_file(sorted, err) || begin_file(sorted, err) ? RC_FAIL : RC_OK;
}

rc_status rc_store_sorted_put(struct rc_store_sorted *sorted, enum rc_store_space space, int32_t partition,
                              struct rc_span key, struct rc_span value, struct rc_error *err) {
    char *problem = NULL;
    if (turn_to(sorted, space, partition, key, err))
        return RC_FAIL;
    rocksdb_sstfilewriter_put(sorted->writer, sorted->key.data, sorted->key.len, value.data ? value.data : "",
                              value.len, &problem);
    return problem ? rc_store_failed(err, sorted->store->path, "writing sorted records", problem) : RC_OK;
}

rc_status rc_store_sorted_delete(struct rc_store_sorted *sorted, enum rc_store_space space, int32_t partition,
                                 struct rc_span key, struct rc_error *err) {
    char *problem = NULL;
    if (turn_to(sorted, space, partition, key, err))
        return RC_FAIL;
    rocksdb_sstfilewriter_delete(sorted->writer, sorted->key.data, sorted->key.len, &problem);
    return problem ? rc_store_failed(err, sorted->store->path, "writing sorted records", problem) : RC_OK;
}

void rc_store_sorted_abort(struct rc_store_sorted *sorted) {
    if (!sorted)
        return;
    if (sorted->writer)
        rocksdb_sstfilewriter_destroy(sorted->writer);
    for (size_t i = 0; i < sorted->n; i++) {
        unlink(sorted->paths[i]); /* what was taken in has another name */
        free(sorted->paths[i]);
    }
    free(sorted->paths);
    rocksdb_envoptions_destroy(sorted->environment);
    rocksdb_options_destroy(sorted->options);
    rc_buf_deinit(&sorted->key);
    free(sorted);
}

rc_status rc_store_sorted_commit(struct rc_store_sorted *sorted, struct rc_error *err) {
    rc_status status = finish_file(sorted, err);
    if (status == RC_OK && sorted->n > 0) {
        char *problem = NULL;
        rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
        rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
        rocksdb_ingest_external_file(sorted->store->db, (const char *const *)sorted->paths, sorted->n, options,
                                     &problem);
        rocksdb_ingestexternalfileoptions_destroy(options);
        if (problem)
            status = rc_store_failed(err, sorted->store->path, "taking sorted records in", problem);
    }
    rc_store_sorted_abort(sorted);
    return status;
}
