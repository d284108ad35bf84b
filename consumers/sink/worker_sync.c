/* Where the store stands: after connecting, when partitions or audiences come, and once a second when nothing is under way.
 *
 * The store's own offsets decide where reading goes on (a file has none: there the group's). None, or others than they should be: it was
 * wiped or restored, and is filled again from the compacted topic. An audience that comes to this destination later than its start
 * gets its members by reading again from the beginning; versions make the rest of that a repeat. */
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

/* ---- audiences that come ------------------------------------------------------------------------------------------------------------ */

static bool is_attached(const struct sink_part *part, const char *audience) {
    for (size_t i = 0; i < part->n_attached; i++)
        if (strcmp(part->attached[i], audience) == 0)
            return true;
    return false;
}

static void note_attached(struct sink_part *part, struct rc_span audience) {
    rc_grow(&part->attached, &part->attached_capacity, part->n_attached + 1, sizeof *part->attached);
    part->attached[part->n_attached++] = rc_span_dup(audience);
}

/* The store's list holds "<partition>/<audience>": each partition is told of by whoever owns it. */
static void visit_attached(void *ctx, struct rc_span entry) {
    struct sink_part *part = ctx;
    char prefix[16];
    int n = snprintf(prefix, sizeof prefix, "%" PRId32 "/", part->number);
    if (entry.len > (size_t)n && memcmp(entry.data, prefix, (size_t)n) == 0)
        note_attached(part, rc_span_of(entry.data + n, entry.len - (size_t)n));
}

static char *entry_of(const struct sink_part *part, const char *audience) {
    struct rc_buf entry;
    rc_buf_init(&entry, 1024);
    (void)rc_buf_printf(&entry, "%" PRId32 "/%s", part->number, audience);
    char *text = rc_span_dup(rc_buf_span(&entry));
    rc_buf_deinit(&entry);
    return text;
}

/* Audiences that do not go here any more: should one come back, it has to be read anew. */
static rc_status detach(struct rc_sink_worker *worker, struct sink_part *part, struct rc_error *err) {
    const struct rc_sink_driver_ops *ops = worker->driver->ops;
    for (size_t i = 0; i < part->n_attached;) {
        const struct rc_route_audience *audience = rc_route_set_find(worker->set, rc_span_str(part->attached[i]));
        if (audience && audience->here) {
            i++;
            continue;
        }
        char *entry = entry_of(part, part->attached[i]);
        rc_status status = ops->detach ? ops->detach(worker->driver, entry, err) : RC_OK;
        free(entry);
        if (status)
            return RC_FAIL;
        free(part->attached[i]);
        part->attached[i] = part->attached[--part->n_attached];
    }
    return RC_OK;
}

/* Offset from which the records of an audience that comes now have to be read; INT64_MAX: from where we are. */
static int64_t start_of(const struct rc_sink_worker *worker, const struct sink_part *part,
                        const struct rc_route_audience *audience) {
    for (size_t i = 0; i < worker->n_unknown; i++)
        if (worker->unknown[i].partition == part->number && strcmp(worker->unknown[i].id, audience->id) == 0)
            return worker->unknown[i].offset;
    /* A first version has published nothing that we passed over unknowingly. A later one may have gone elsewhere before. */
    return audience->version > 1 ? RC_SINK_NO_OFFSET : INT64_MAX;
}

/* Takes in the audiences that are new to this partition. `*offset` goes back as far as they need. */
static rc_status attach(struct rc_sink_worker *worker, struct sink_part *part, int64_t *offset, struct rc_error *err) {
    const struct rc_sink_driver_ops *ops = worker->driver->ops;
    const char **names = rc_calloc(worker->set->n, sizeof *names);
    size_t n = 0;
    int64_t from = *offset;
    for (size_t i = 0; i < worker->set->n; i++) {
        const struct rc_route_audience *audience = &worker->set->audiences[i];
        if (!audience->here || is_attached(part, audience->id))
            continue;
        int64_t start = start_of(worker, part, audience);
        if (from != RC_SINK_NO_OFFSET && start < from) /* RC_SINK_NO_OFFSET is below every offset */
            from = start;
        names[n++] = entry_of(part, audience->id);
    }
    rc_status status = RC_OK;
    if (from != *offset) {
        rc_log(RC_LOG_INFO, "an audience comes to a destination: its members are read",
               rc_f_str("destination", worker->destination), rc_f_int("partition", part->number),
               rc_f_int("offset", from));
        status = ops->rewind ? ops->rewind(worker->driver, &part->number, &from, 1, err) : RC_OK;
    }
    /* First the offset, then the list: a crash between the two reads again, never too little. */
    if (status == RC_OK && n && ops->attach)
        status = ops->attach(worker->driver, names, n, err);
    for (size_t i = 0; i < n; i++) {
        if (status == RC_OK)
            note_attached(part, rc_span_str(strchr(names[i], '/') + 1));
        free((char *)names[i]);
    }
    free(names);
    if (status == RC_OK)
        *offset = from;
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

static rc_status know_attached(struct rc_sink_worker *worker, struct sink_part *part, bool fresh,
                               struct rc_error *err) {
    const struct rc_sink_driver_ops *ops = worker->driver->ops;
    for (size_t i = 0; i < part->n_attached; i++)
        free(part->attached[i]);
    part->n_attached = 0;
    if (ops->attached && ops->attached(worker->driver, visit_attached, part, err))
        return RC_FAIL;
    /* A store that cannot remember: what is there at the start has been there. */
    for (size_t i = 0; !ops->attached && !fresh && i < worker->set->n; i++)
        if (worker->set->audiences[i].here)
            note_attached(part, rc_span_str(worker->set->audiences[i].id));
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

static rc_status bring_in(struct rc_sink_worker *worker, struct sink_part *part, struct rc_error *err) {
    int64_t offset = part->chain, before;
    if (!part->ready && stored_offset(worker, part, &offset, err))
        return RC_FAIL;
    if (!part->knows_attached && know_attached(worker, part, offset == RC_SINK_NO_OFFSET, err))
        return RC_FAIL;
    before = offset;
    if (detach(worker, part, err) || attach(worker, part, &offset, err))
        return RC_FAIL;
    return part->ready && offset == before ? RC_OK : start_part(worker, part, offset, err);
}

/* What was passed over for want of a definition, and has been read again. */
static void forget_unknown(struct rc_sink_worker *worker) {
    size_t kept = 0;
    for (size_t i = 0; i < worker->n_unknown; i++) {
        if (rc_route_set_find(worker->set, rc_span_str(worker->unknown[i].id)))
            free(worker->unknown[i].id);
        else
            worker->unknown[kept++] = worker->unknown[i];
    }
    worker->n_unknown = kept;
}

static rc_status bring_all_in(struct rc_sink_worker *worker, struct rc_error *err) {
    for (size_t i = 0; i < worker->n_parts; i++)
        if (bring_in(worker, worker->parts[i], err))
            return RC_FAIL;
    forget_unknown(worker);
    rc_admin_close(worker->admin); /* a client has threads that wake; partitions come seldom */
    worker->admin = NULL;
    worker->sync_wanted = false;
    worker->back_off_ms = 0;
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
