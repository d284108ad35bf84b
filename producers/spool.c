#include "producers/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"

#define WRITE_BUFFER ((size_t)256 * 1024)

struct entry {
    int64_t at_ms;
    uint64_t offset; /* in the file; adding only grows it, so it also tells the order of adding */
    uint32_t key_len, value_len;
};

struct rc_spool {
    int fd;
    char *dir;             /* owned, for messages */
    struct rc_buf pending; /* not written yet; begins at `flushed` */
    uint64_t flushed;
    struct entry *entries;
    size_t n, capacity;
    uint64_t max_records;
};

rc_status rc_spool_open(uint64_t max_records, struct rc_spool **out, struct rc_error *err) {
    const char *dir = getenv("TMPDIR");
    if (!dir || !*dir)
        dir = "/tmp";
    /* O_TMPFILE gives a file without a name at once; where the file system has none, make one and unlink it. */
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        struct rc_buf path;
        rc_buf_init(&path, PATH_MAX);
        if (rc_buf_printf(&path, "%s/rollcall-XXXXXX", dir) == RC_OK) {
            fd = mkostemp(path.data, O_CLOEXEC);
            if (fd >= 0)
                (void)unlink(path.data);
        }
        rc_buf_deinit(&path);
    }
    if (fd < 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                            "cannot make a temporary file in %s: %s; set TMPDIR to another folder", dir,
                            strerror(errno));
    struct rc_spool *spool = rc_calloc(1, sizeof *spool);
    spool->fd = fd;
    spool->dir = rc_strdup(dir);
    spool->max_records = max_records;
    rc_buf_init(&spool->pending, SIZE_MAX);
    *out = spool;
    return RC_OK;
}

void rc_spool_close(struct rc_spool *spool) {
    if (!spool)
        return;
    (void)close(spool->fd);
    rc_buf_deinit(&spool->pending);
    free(spool->dir);
    free(spool->entries);
    free(spool);
}

static rc_status write_pending(struct rc_spool *spool, struct rc_error *err) {
    size_t done = 0;
    while (done < spool->pending.len) {
        ssize_t n =
            pwrite(spool->fd, spool->pending.data + done, spool->pending.len - done, (off_t)(spool->flushed + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_TEMPORARY,
                                "writing a temporary file in %s: %s; set TMPDIR to a folder with more room", spool->dir,
                                strerror(errno));
        done += (size_t)n;
    }
    spool->flushed += done;
    rc_buf_reset(&spool->pending);
    return RC_OK;
}

rc_status rc_spool_add(struct rc_spool *spool, int64_t at_ms, struct rc_span key, struct rc_span value,
                       struct rc_error *err) {
    if (spool->n >= spool->max_records)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_DATA,
                            "over %llu records cannot be sorted or moved at once; split the files, or leave --sort, "
                            "--shift and --pace out",
                            (unsigned long long)spool->max_records);
    if (key.len > UINT32_MAX || value.len > UINT32_MAX)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "record too large");
    struct entry entry = {.at_ms = at_ms,
                          .offset = spool->flushed + spool->pending.len,
                          .key_len = (uint32_t)key.len,
                          .value_len = (uint32_t)value.len};
    rc_buf_add_span(&spool->pending, key);
    rc_buf_add_span(&spool->pending, value);
    rc_grow(&spool->entries, &spool->capacity, spool->n + 1, sizeof *spool->entries);
    spool->entries[spool->n++] = entry;
    return spool->pending.len >= WRITE_BUFFER ? write_pending(spool, err) : RC_OK;
}

static int by_time(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    if (x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

void rc_spool_sort(struct rc_spool *spool) {
    if (spool->n > 1)
        qsort(spool->entries, spool->n, sizeof *spool->entries, by_time);
}

uint64_t rc_spool_count(const struct rc_spool *spool) {
    return spool->n;
}

int64_t rc_spool_time(const struct rc_spool *spool, uint64_t i) {
    return spool->entries[i].at_ms;
}

void rc_spool_range(const struct rc_spool *spool, int64_t *first_ms, int64_t *last_ms) {
    *first_ms = *last_ms = spool->n ? spool->entries[0].at_ms : 0;
    for (size_t i = 1; i < spool->n; i++) {
        if (spool->entries[i].at_ms < *first_ms)
            *first_ms = spool->entries[i].at_ms;
        if (spool->entries[i].at_ms > *last_ms)
            *last_ms = spool->entries[i].at_ms;
    }
}

rc_status rc_spool_read(struct rc_spool *spool, uint64_t i, struct rc_buf *scratch, struct rc_span *key,
                        struct rc_span *value, struct rc_error *err) {
    if (spool->pending.len && write_pending(spool, err) != RC_OK)
        return RC_FAIL;
    const struct entry *entry = &spool->entries[i];
    size_t len = (size_t)entry->key_len + entry->value_len, done = 0;
    rc_buf_reset(scratch);
    char chunk[4096];
    while (done < len) {
        size_t want = len - done < sizeof chunk ? len - done : sizeof chunk;
        ssize_t n = pread(spool->fd, chunk, want, (off_t)(entry->offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "reading a temporary file in %s: %s", spool->dir,
                                n < 0 ? strerror(errno) : "it ends early");
        if (rc_buf_add(scratch, chunk, (size_t)n) != RC_OK)
            return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "record too large");
        done += (size_t)n;
    }
    *key = rc_span_of(scratch->data, entry->key_len);
    *value = rc_span_of(scratch->data + entry->key_len, entry->value_len);
    return RC_OK;
}
