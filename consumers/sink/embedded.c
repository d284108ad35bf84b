/* Profiles in a local store (RocksDB), so that a first run needs no server: the same fields and values as in Redis.
 *
 * One record a field: key = person key, NUL, field. A batch of changes and the offset are one atomic write. The folder belongs to this
 * destination alone: what another cluster has left in it is discarded. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "consumers/sink/driver.h"
#include "store/store.h"

#define FORMAT 1
#define PARTITION 0 /* profiles are looked up without knowing a partition */
#define META_CLUSTER "cluster"

struct embedded {
    struct rc_sink_driver base;
    char *destination, *path, *cluster;
    size_t cache_bytes;
    struct rc_store *store;
    struct rc_sink_batch *done; /* applied, not handed back yet */
    size_t written;
    struct rc_buf key, value, old;
};

static struct embedded *embedded_of(struct rc_sink_driver *driver) {
    return (struct embedded *)driver;
}

static struct rc_span offset_key(struct embedded *embedded, int32_t partition) {
    rc_buf_reset(&embedded->key);
    (void)rc_buf_printf(&embedded->key, "offset/%" PRId32, partition);
    return rc_buf_span(&embedded->key);
}

static rc_status check_cluster(struct embedded *embedded, struct rc_error *err) {
    bool found = false;
    if (rc_store_get(embedded->store, RC_STORE_META, PARTITION, rc_span_str(META_CLUSTER), &embedded->old, &found, err))
        return RC_FAIL;
    if (found && rc_span_equal(rc_buf_span(&embedded->old), rc_span_str(embedded->cluster)))
        return RC_OK;
    struct rc_store_batch *batch = rc_store_begin(embedded->store);
    if (found) {
        rc_log(RC_LOG_WARN, "profiles of another cluster are discarded", rc_f_str("destination", embedded->destination),
               rc_f_span("theirs", rc_buf_span(&embedded->old)), rc_f_str("ours", embedded->cluster));
        rc_store_delete_partition(batch, RC_STORE_PROFILE, PARTITION);
        rc_store_delete_partition(batch, RC_STORE_META, PARTITION);
        rc_store_delete_partition(batch, RC_STORE_MEMBER, PARTITION);
    }
    rc_store_put(batch, RC_STORE_META, PARTITION, rc_span_str(META_CLUSTER), rc_span_str(embedded->cluster));
    return rc_store_commit(batch, true, err);
}

static rc_status embedded_connect(struct rc_sink_driver *driver, struct rc_error *err) {
    struct embedded *embedded = embedded_of(driver);
    if (!embedded->store) {
        struct rc_store_options options = {
            .path = embedded->path, .kind = "profiles", .format = FORMAT, .cache_bytes = embedded->cache_bytes};
        if (rc_store_open(&options, &embedded->store, NULL, err))
            return rc_error_prefix(err, "destination %s", embedded->destination);
    }
    return check_cluster(embedded, err);
}

static void embedded_disconnect(struct rc_sink_driver *driver) {
    /* The store stays open: it is read beside us. */
    struct embedded *embedded = embedded_of(driver);
    rc_sink_batch_free(embedded->done);
    embedded->done = NULL;
}

static rc_status embedded_offsets(struct rc_sink_driver *driver, const int32_t *partitions, size_t n, int64_t *out,
                                  struct rc_error *err) {
    struct embedded *embedded = embedded_of(driver);
    for (size_t i = 0; i < n; i++) {
        bool found = false;
        if (rc_store_get(embedded->store, RC_STORE_META, PARTITION, offset_key(embedded, partitions[i]), &embedded->old,
                         &found, err))
            return RC_FAIL;
        out[i] = found ? strtoll(embedded->old.data, NULL, 10) : RC_SINK_NO_OFFSET;
    }
    return RC_OK;
}

static void put_offset(struct embedded *embedded, struct rc_store_batch *batch, int32_t partition, int64_t offset) {
    struct rc_span key = offset_key(embedded, partition);
    if (offset == RC_SINK_NO_OFFSET) {
        rc_store_delete(batch, RC_STORE_META, PARTITION, key);
        return;
    }
    rc_buf_reset(&embedded->value);
    (void)rc_buf_printf(&embedded->value, "%" PRId64, offset);
    rc_store_put(batch, RC_STORE_META, PARTITION, key, rc_buf_span(&embedded->value));
}

static rc_status embedded_rewind(struct rc_sink_driver *driver, const int32_t *partitions, const int64_t *offsets,
                                 size_t n, struct rc_error *err) {
    struct embedded *embedded = embedded_of(driver);
    struct rc_store_batch *batch = rc_store_begin(embedded->store);
    for (size_t i = 0; i < n; i++)
        put_offset(embedded, batch, partitions[i], offsets[i]);
    return rc_store_commit(batch, false, err);
}

struct attached_visit {
    void (*visit)(void *ctx, struct rc_span audience);
    void *ctx;
};

static bool visit_attached(void *ctx, struct rc_span key, struct rc_span value) {
    const struct attached_visit *visit = ctx;
    (void)value;
    visit->visit(visit->ctx, key);
    return true;
}

static rc_status embedded_attached(struct rc_sink_driver *driver, void (*visit)(void *ctx, struct rc_span audience),
                                   void *ctx, struct rc_error *err) {
    struct attached_visit attached = {.visit = visit, .ctx = ctx};
    return rc_store_each(embedded_of(driver)->store, RC_STORE_MEMBER, PARTITION, rc_span_of(NULL, 0), visit_attached,
                         &attached, err);
}

static rc_status embedded_attach(struct rc_sink_driver *driver, const char *const *audiences, size_t n,
                                 struct rc_error *err) {
    struct rc_store_batch *batch = rc_store_begin(embedded_of(driver)->store);
    for (size_t i = 0; i < n; i++)
        rc_store_put(batch, RC_STORE_MEMBER, PARTITION, rc_span_str(audiences[i]), rc_span_str("1"));
    return rc_store_commit(batch, false, err);
}

static rc_status embedded_detach(struct rc_sink_driver *driver, const char *audience, struct rc_error *err) {
    struct rc_store_batch *batch = rc_store_begin(embedded_of(driver)->store);
    rc_store_delete(batch, RC_STORE_MEMBER, PARTITION, rc_span_str(audience));
    return rc_store_commit(batch, false, err);
}

/* A batch may hold several changes of one entry; the store shows only what is committed. So the versions that this batch has put are
 * looked for in the batch itself, from its end: batches are short, and mostly the first look at the key ends the search. */
static bool put_in_batch(const struct rc_sink_batch *batch, size_t before, const bool *written, int64_t *version) {
    const struct rc_sink_change *change = &batch->changes[before];
    for (size_t i = before; i-- > 0;)
        if (written[i] && rc_span_equal(batch->changes[i].person_key, change->person_key) &&
            rc_span_equal(batch->changes[i].change.target, change->change.target)) {
            *version = batch->changes[i].change.version;
            return true;
        }
    return false;
}

static rc_status apply(struct embedded *embedded, struct rc_store_batch *writes, const struct rc_sink_batch *batch,
                       size_t at, bool *written, struct rc_error *err) {
    const struct rc_sink_change *change = &batch->changes[at];
    int64_t known = -1;
    rc_buf_reset(&embedded->key);
    (void)rc_buf_add_span(&embedded->key, change->person_key);
    (void)rc_buf_add_byte(&embedded->key, 0);
    (void)rc_profile_field_add(&embedded->key, change->change.target);
    bool found = put_in_batch(batch, at, written, &known);
    if (!found) {
        if (rc_store_get(embedded->store, RC_STORE_PROFILE, PARTITION, rc_buf_span(&embedded->key), &embedded->old,
                         &found, err))
            return RC_FAIL;
        known = found ? rc_profile_value_version(rc_buf_span(&embedded->old)) : -1;
    }
    if ((change->only_if_there && !found) || (found && known >= change->change.version))
        return RC_OK;
    rc_buf_reset(&embedded->value);
    (void)rc_profile_value_add(&embedded->value, change->change.realized, change->change.since_ms,
                               change->change.version);
    rc_store_put(writes, RC_STORE_PROFILE, PARTITION, rc_buf_span(&embedded->key), rc_buf_span(&embedded->value));
    written[at] = true;
    embedded->written++;
    return RC_OK;
}

static rc_status embedded_submit(struct rc_sink_driver *driver, struct rc_sink_batch *batch, struct rc_error *err) {
    struct embedded *embedded = embedded_of(driver);
    struct rc_store_batch *writes = rc_store_begin(embedded->store);
    bool *written = rc_calloc(batch->n, sizeof *written);
    rc_status status = RC_OK;
    embedded->written = 0;
    embedded->done = batch;
    for (size_t i = 0; status == RC_OK && i < batch->n; i++)
        status = apply(embedded, writes, batch, i, written, err);
    free(written);
    if (status) {
        rc_store_abort(writes);
        return RC_FAIL;
    }
    put_offset(embedded, writes, batch->partition, batch->next);
    return rc_store_commit(writes, false, err);
}

static rc_status embedded_progress(struct rc_sink_driver *driver, rc_sink_done_fn done, void *ctx,
                                   struct rc_error *err) {
    struct embedded *embedded = embedded_of(driver);
    (void)err;
    struct rc_sink_batch *batch = embedded->done;
    embedded->done = NULL;
    if (batch)
        done(ctx, batch, embedded->written);
    return RC_OK;
}

static size_t embedded_pending(const struct rc_sink_driver *driver) {
    const struct embedded *embedded = (const struct embedded *)driver;
    return embedded->done ? embedded->done->n : 0;
}

static int embedded_fd(const struct rc_sink_driver *driver, short *events) {
    (void)driver;
    *events = 0;
    return -1;
}

static void embedded_free(struct rc_sink_driver *driver) {
    struct embedded *embedded = embedded_of(driver);
    embedded_disconnect(driver);
    rc_store_close(embedded->store);
    rc_buf_deinit(&embedded->key);
    rc_buf_deinit(&embedded->value);
    rc_buf_deinit(&embedded->old);
    free(embedded->destination);
    free(embedded->path);
    free(embedded->cluster);
    free(embedded);
}

static const struct rc_sink_driver_ops embedded_ops = {
    .type = "embedded",
    .connect = embedded_connect,
    .disconnect = embedded_disconnect,
    .offsets = embedded_offsets,
    .rewind = embedded_rewind,
    .attached = embedded_attached,
    .attach = embedded_attach,
    .detach = embedded_detach,
    .submit = embedded_submit,
    .progress = embedded_progress,
    .pending = embedded_pending,
    .fd = embedded_fd,
    .free = embedded_free,
};

rc_status rc_sink_embedded_new(const struct rc_sink_driver_options *options, struct rc_sink_driver **out,
                               struct rc_error *err) {
    const char *path = strncmp(options->url, "embedded:", 9) == 0 ? options->url + 9 : "";
    if (strncmp(path, "//", 2) == 0)
        path += 2;
    if (!*path)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                            "destination %s: \"%s\" is no embedded store; expected embedded:DIR", options->destination,
                            options->url);
    struct embedded *embedded = rc_calloc(1, sizeof *embedded);
    embedded->base.ops = &embedded_ops;
    embedded->destination = rc_strdup(options->destination);
    embedded->path = rc_strdup(path);
    embedded->cluster = rc_strdup(options->cluster);
    embedded->cache_bytes = options->cache_bytes;
    rc_buf_init(&embedded->key, 2u << 20);
    rc_buf_init(&embedded->value, 4096);
    rc_buf_init(&embedded->old, 16u << 20);
    *out = &embedded->base;
    return RC_OK;
}

struct rc_store *rc_sink_embedded_store(struct rc_sink_driver *driver) {
    return driver->ops == &embedded_ops ? embedded_of(driver)->store : NULL;
}
