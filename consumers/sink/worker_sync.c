/* Where the store stands: after connecting, when partitions or audiences come, and once a second when nothing is under way.
 *
 * The store's own offsets decide where reading goes on (a file has none: there the group's). None, or others than they should be: it was
 * wiped or restored, and is filled again from the compacted topic. Which audiences it has had from their beginning, the store remembers
 * too (attached.h); one that comes late is filled beside (worker_fill.c). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/sink/worker_internal.h"

#define BROKER_TIMEOUT_MS 10000
#define BACK_OFF_FIRST_MS 50
#define BACK_OFF_MOST_MS 5000
#define PROBE_INTERVAL_MS 1000

/* ---- trouble ---------------------------------------------------------------------------------------------------------------------- */

static void forget_fd(struct rc_sink_worker *worker) {
    if (worker->fd >= 0)
        rc_loop_remove(worker->loop, worker->fd);
    worker->fd = -1;
}

void rc_sink_worker_trouble(struct rc_sink_worker *worker, int64_t monotonic_ms, const struct rc_error *why) {
    char state[sizeof worker->state];
    forget_fd(worker);
    worker->driver->ops->disconnect(worker->driver);
    worker->connected = false;
    rc_sink_worker_drop(worker);
    rc_counter_inc(worker->metrics.retries);
    /* The first try comes at once: after a script flush or a wipe the store is there. Later ones at growing distances, with jitter, so that
     * many processes do not come back in step. */
    worker->random = worker->random * 1103515245u + 12345u;
    int64_t jitter = worker->back_off_ms ? (int64_t)(worker->random >> 16) % (worker->back_off_ms / 2 + 1) : 0;
    worker->retry_ms = monotonic_ms + worker->back_off_ms + jitter;
    worker->back_off_ms = worker->back_off_ms ? worker->back_off_ms * 2 : BACK_OFF_FIRST_MS;
    if (worker->back_off_ms > BACK_OFF_MOST_MS)
        worker->back_off_ms = BACK_OFF_MOST_MS;
    rc_log_limited(RC_LOG_WARN, "destination in trouble, trying again", rc_f_str("destination", worker->destination),
                   rc_f_int("in_ms", worker->retry_ms - monotonic_ms), rc_f_err(why));
    snprintf(state, sizeof state, "error: %.480s", why->message);
    rc_sink_worker_set_state(worker, state);
}

/* ---- audiences that come and go ------------------------------------------------------------------------------------------------- */

/* The store's list holds "<partition>/<audience>" for those that it has had from their beginning, "<partition>?<audience>" for those of
 * which something was passed over, and "<partition>/" of a partition that it has had from its beginning. Each partition is told of by
 * whoever owns it. */
static void visit_attached(void *ctx, struct rc_span entry) {
    struct sink_part *part = ctx;
    char prefix[16];
    size_t n = (size_t)snprintf(prefix, sizeof prefix, "%" PRId32, part->number);
    if (entry.len <= n || memcmp(entry.data, prefix, n) != 0 || (entry.data[n] != '/' && entry.data[n] != '?'))
        return;
    if (entry.len == n + 1)
        part->begun = true;
    else
        rc_attached_load(&part->attached, rc_span_of(entry.data + n + 1, entry.len - n - 1), entry.data[n] == '?');
}

static char *entry_of(const struct sink_part *part, const char *audience, bool passed) {
    struct rc_buf entry;
    rc_buf_init(&entry, 1024);
    (void)rc_buf_printf(&entry, "%" PRId32 "%c%s", part->number, passed ? '?' : '/', audience);
    char *text = rc_span_dup(rc_buf_span(&entry));
    rc_buf_deinit(&entry);
    return text;
}

struct telling {
    struct rc_sink_worker *worker;
    struct sink_part *part;
    char **names; /* to be added; owned */
    size_t n, capacity;
    struct rc_error *err;
};

static rc_status add_name(void *ctx, const char *id, bool passed) {
    struct telling *telling = ctx;
    rc_grow(&telling->names, &telling->capacity, telling->n + 1, sizeof *telling->names);
    telling->names[telling->n++] = entry_of(telling->part, id, passed);
    return RC_OK;
}

static rc_status flush_names(void *ctx) {
    struct telling *telling = ctx;
    const struct rc_sink_driver *driver = telling->worker->driver;
    return driver->ops->attach ? driver->ops->attach(telling->worker->driver, (const char *const *)telling->names,
                                                     telling->n, telling->err)
                               : RC_OK;
}

static rc_status remove_name(void *ctx, const char *id, bool passed) {
    struct telling *telling = ctx;
    const struct rc_sink_driver *driver = telling->worker->driver;
    char *entry = entry_of(telling->part, id, passed);
    rc_status status = driver->ops->detach ? driver->ops->detach(telling->worker->driver, entry, telling->err) : RC_OK;
    free(entry);
    return status;
}

/* What the store remembers becomes what is so. Nothing is under way: what is attached now is complete there. */
static rc_status remember(struct rc_sink_worker *worker, struct sink_part *part, struct rc_error *err) {
    struct telling telling = {.worker = worker, .part = part, .err = err};
    struct rc_attached_memory memory = {.add = add_name, .flush = flush_names, .remove = remove_name, .ctx = &telling};
    rc_status status = RC_OK;
    if (!part->begun)
        status = add_name(&telling, "", false) || flush_names(&telling) ? RC_FAIL : RC_OK;
    part->begun |= status == RC_OK;
    if (status == RC_OK)
        status = rc_attached_remember(&part->attached, &memory);
    for (size_t i = 0; i < telling.n; i++)
        free(telling.names[i]);
    free(telling.names);
    return status;
}

/* ---- partitions that come ------------------------------------------------------------------------------------------------------------ */

static rc_status stored_offset(struct rc_sink_worker *worker, struct sink_part *part, int64_t *out,
                               struct rc_error *err) {
    const struct rc_sink_driver_ops *ops = worker->driver->ops;
    if (ops->offsets)
        return ops->offsets(worker->driver, &part->number, 1, out, err);
    struct rc_offset committed = {.topic = worker->topic, .partition = part->number, .offset = -1};
    if (rc_source_committed(worker->source, &committed, 1, err))
        return RC_FAIL;
    free((char *)committed.metadata);
    *out = committed.offset >= 0 ? committed.offset : RC_SINK_NO_OFFSET;
    return RC_OK;
}

/* What the store remembers of audiences. One that cannot (a pipe): what is there when it begins has been there. */
static rc_status know_attached(struct rc_sink_worker *worker, struct sink_part *part, struct rc_error *err) {
    const struct rc_sink_driver_ops *ops = worker->driver->ops;
    if (ops->attached) {
        rc_attached_clear(&part->attached);
        part->begun = false;
        if (ops->attached(worker->driver, visit_attached, part, err))
            return RC_FAIL;
    }
    part->knows_attached = true;
    return RC_OK;
}

/* Reading goes on at `offset`. */
static rc_status start_part(struct rc_sink_worker *worker, struct sink_part *part, int64_t offset,
                            struct rc_error *err) {
    const struct rc_sink_driver_ops *ops = worker->driver->ops;
    int64_t low = 0, high = 0;
    if ((!worker->admin && rc_admin_open(worker->process->config, &worker->admin, err)) ||
        rc_admin_bounds(worker->admin, worker->topic, part->number, BROKER_TIMEOUT_MS, &low, &high, err))
        return RC_FAIL;
    if (offset > high) {
        rc_log(RC_LOG_WARN, "the store stands behind the end of the topic, which must have been made anew",
               rc_f_str("destination", worker->destination), rc_f_int("partition", part->number),
               rc_f_int("offset", offset), rc_f_int("end", high));
        offset = RC_SINK_NO_OFFSET;
        if (ops->rewind && ops->rewind(worker->driver, &part->number, &offset, 1, err))
            return RC_FAIL;
    }
    if (worker->holding && worker->held.ctx == part) { /* it comes again */
        rc_message_release(&worker->held);
        worker->holding = false;
    }
    part->chain = offset;
    part->next = offset < low ? low : offset;
    part->applied = part->next;
    if (rc_source_seek(worker->source, worker->topic, part->number, part->next, err) ||
        (part->paused && rc_source_resume(worker->source, worker->topic, part->number, err)))
        return RC_FAIL;
    part->paused = false;
    part->ready = true;
    if (offset == RC_SINK_NO_OFFSET && high > low)
        rc_counter_inc(worker->metrics.refills);
    rc_log(RC_LOG_INFO,
           offset == RC_SINK_NO_OFFSET ? "filling a destination from the beginning" : "destination goes on",
           rc_f_str("destination", worker->destination), rc_f_int("partition", part->number),
           rc_f_int("offset", part->next), rc_f_int("end", high));
    return RC_OK;
}

/* The group's offset is of another store than this one, which begins: a crash must not go on from there. */
static rc_status take_back_offset(struct rc_sink_worker *worker, const struct sink_part *part, struct rc_error *err) {
    struct rc_offset offset = {.topic = worker->topic, .partition = part->number, .offset = part->next};
    return rc_source_commit(worker->source, &offset, 1, true, err);
}

static rc_status bring_in(struct rc_sink_worker *worker, struct sink_part *part, struct rc_error *err) {
    const struct rc_sink_driver_ops *ops = worker->driver->ops;
    if (part->ready)
        return remember(worker, part, err);
    int64_t offset = 0;
    bool known = part->knows_attached;
    if (stored_offset(worker, part, &offset, err) || (!known && know_attached(worker, part, err)))
        return RC_FAIL;
    bool begins = !ops->offsets && ops->attached && !part->begun && offset != RC_SINK_NO_OFFSET;
    if (begins)
        offset = RC_SINK_NO_OFFSET;
    rc_attached_follow(&part->attached, worker->set, offset == RC_SINK_NO_OFFSET || (!known && !ops->attached));
    return start_part(worker, part, offset, err) || (begins && take_back_offset(worker, part, err)) ||
                   remember(worker, part, err)
               ? RC_FAIL
               : RC_OK;
}

static rc_status bring_all_in(struct rc_sink_worker *worker, struct rc_error *err) {
    for (size_t i = 0; i < worker->n_parts; i++)
        if (bring_in(worker, worker->parts[i], err))
            return RC_FAIL;
    rc_admin_close(worker->admin); /* a client has threads that wake; partitions come seldom */
    worker->admin = NULL;
    worker->sync_wanted = false;
    worker->back_off_ms = 0;
    if (rc_sink_worker_fill_start(worker, err))
        return RC_FAIL;
    rc_sink_worker_set_state(worker, "live");
    if (worker->assigned)
        worker->synced = true;
    return RC_OK;
}

/* ---- is it still the store that we know? ----------------------------------------------------------------------------------------------- */

static rc_status probe(struct rc_sink_worker *worker, struct rc_error *err) {
    rc_status status = RC_OK;
    int32_t *numbers = rc_calloc(worker->n_parts, sizeof *numbers);
    int64_t *offsets = rc_calloc(worker->n_parts, sizeof *offsets);
    for (size_t i = 0; i < worker->n_parts; i++)
        numbers[i] = worker->parts[i]->number;
    status = worker->driver->ops->offsets(worker->driver, numbers, worker->n_parts, offsets, err);
    for (size_t i = 0; status == RC_OK && i < worker->n_parts; i++)
        if (worker->parts[i]->ready && worker->parts[i]->chain != offsets[i])
            status = rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE,
                                  "destination %s is at offset %" PRId64 " of partition %" PRId32 ", not at %" PRId64
                                  ": it was wiped, restored from an older copy, or somebody else writes to it",
                                  worker->destination, offsets[i], numbers[i], worker->parts[i]->chain);
    free(numbers);
    free(offsets);
    return status;
}

rc_status rc_sink_worker_sync(struct rc_sink_worker *worker, int64_t monotonic_ms, struct rc_error *err) {
    const struct rc_sink_driver_ops *ops = worker->driver->ops;
    struct rc_error why = {0};
    rc_status status = RC_OK;
    if (!worker->connected) {
        if (monotonic_ms < worker->retry_ms || !worker->assigned)
            return RC_OK;
        status = ops->connect(worker->driver, &why);
        worker->connected = status == RC_OK;
        worker->sync_wanted = true;
        for (size_t i = 0; i < worker->n_parts; i++)
            worker->parts[i]->knows_attached = worker->parts[i]->knows_attached && !ops->attached;
        worker->probe_ms = monotonic_ms + PROBE_INTERVAL_MS;
        rc_loop_touch(worker->loop);
    }
    /* Commands one by one would get the replies of what is under way. */
    if (status == RC_OK && worker->sync_wanted && !ops->pending(worker->driver) && !worker->building) {
        status = bring_all_in(worker, &why);
        rc_loop_touch(worker->loop);
    }
    if (status == RC_OK && ops->offsets && monotonic_ms >= worker->probe_ms && !ops->pending(worker->driver) &&
        !worker->building) {
        status = probe(worker, &why);
        worker->probe_ms = monotonic_ms + PROBE_INTERVAL_MS;
    }
    if (status == RC_OK)
        return RC_OK;
    if (why.class == RC_CLASS_FATAL) {
        *err = why;
        return RC_FAIL;
    }
    rc_sink_worker_trouble(worker, monotonic_ms, &why);
    return RC_OK;
}
