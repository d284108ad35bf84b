/* What the files of the store share. */
#ifndef RC_STORE_STORE_INTERNAL_H
#define RC_STORE_STORE_INTERNAL_H

#include <pthread.h>
#include <rocksdb/c.h>

#include "store/store.h"

#define RC_STORE_HEAD 5 /* of a key: space and partition */

struct rc_store {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read, *scan;
    rocksdb_writeoptions_t *write, *write_sync;
    char *path;
    /* The thread that commits; there from its first work on. */
    struct {
        bool running, stop;
        pthread_t thread;
        pthread_mutex_t lock; /* the rest of this, and each write's `over` */
        pthread_cond_t work, over;
        struct rc_store_write *first, **last;
    } writer;
};

/* RocksDB's status as text → ours; takes `text`. */
rc_status rc_store_failed(struct rc_error *err, const char *path, const char *what, char *text) RC_MUST_USE;
/* RocksDB's key: `out` is reset first. */
void rc_store_key(struct rc_buf *out, enum rc_store_space space, int32_t partition, struct rc_span key);
/* Removes what sorted.c has left in the folder when it was killed. */
void rc_store_sorted_sweep(const char *folder);

#endif
