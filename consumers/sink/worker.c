/* A destination's thread: memberships are read, changes go to the store in batches, offsets are committed behind them.
 *
 * When there is little, a change goes out in the turn that reads it; when there is much, batches fill and several are on their way. The
 * amount under way is bounded: past it nothing is read, and what librdkafka has fetched waits in its bounded queue. A store that is
 * away pauses the partitions, while polling keeps the group. */
#include "consumers/sink/worker.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/sink/worker_internal.h"

#define MESSAGES_A_TURN 4000
/* A record of an audience that is not defined waits this long for the definition, which travels on another topic. */
#define HOLD_MS 2000
#define DRAIN_MS 5000
#define VIEW_INTERVAL_MS 500
#define SPARE_BATCHES 32

struct sink_part *rc_sink_worker_part(struct rc_sink_worker *worker, int32_t number) {
    for (size_t i = 0; i < worker->n_parts; i++)
        if (worker->parts[i]->number == number)
            return worker->parts[i];
    return NULL;
}

void rc_sink_worker_set_state(struct rc_sink_worker *worker, const char *state) {
    pthread_mutex_lock(&worker->lock);
    snprintf(worker->state, sizeof worker->state, "%s", state);
    pthread_mutex_unlock(&worker->lock);
}

static void drop_batch(struct rc_sink_worker *worker, struct sink_part *part) {
    if (!part->batch)
        return;
    worker->building -= part->batch->n;
    rc_sink_batch_free(part->batch);
    part->batch = NULL;
}

void rc_sink_worker_drop(struct rc_sink_worker *worker) {
    rc_sink_worker_fill_stop(worker);
    for (size_t i = 0; i < worker->n_parts; i++) {
        drop_batch(worker, worker->parts[i]);
        worker->parts[i]->ready = false;
    }
}

/* ---- applied ------------------------------------------------------------------------------------------------------------------------ */

static void observe(struct rc_sink_worker *worker, const struct rc_sink_batch *batch, size_t written) {
    struct sink_metrics *m = &worker->metrics;
    int64_t now = rc_clock_wall_ms();
    rc_counter_add(m->changes, batch->n);
    rc_counter_add(m->written, written);
    for (size_t i = 0; i < batch->n; i++) {
        const struct rc_membership *change = &batch->changes[i].change;
        if (batch->changes[i].read_again)
            continue;
        rc_histogram_observe_ms(m->hop_latency, now - change->emitted_at_ms);
        if (change->cause == RC_CAUSE_EVENT && change->event_time_ms != RC_NO_EVENT_TIME) {
            rc_histogram_observe_ms(m->event_latency, now - change->event_time_ms);
            rc_sink_latency_observe(worker->latency, change->target, now - change->event_time_ms);
        }
    }
    if (batch->n) {
        pthread_mutex_lock(&worker->lock);
        worker->last_change_ms = now;
        pthread_mutex_unlock(&worker->lock);
    }
}

static void done(void *ctx, struct rc_sink_batch *batch, size_t written) {
    struct rc_sink_worker *worker = ctx;
    struct sink_part *part = rc_sink_worker_part(worker, batch->partition);
    if (part)
        part->applied = batch->next;
    observe(worker, batch, written);
    if (worker->n_spare == SPARE_BATCHES) {
        rc_sink_batch_free(batch);
        return;
    }
    rc_sink_batch_reset(batch);
    rc_grow(&worker->spare, &worker->spare_capacity, worker->n_spare + 1, sizeof(struct rc_sink_batch *));
    worker->spare[worker->n_spare++] = batch;
}

static rc_status submit(struct rc_sink_worker *worker, struct sink_part *part, struct rc_error *err) {
    struct rc_sink_batch *batch = part->batch;
    if (!batch)
        batch = worker->n_spare ? worker->spare[--worker->n_spare] : rc_sink_batch_new();
    worker->building -= batch->n;
    part->batch = NULL;
    batch->partition = part->number;
    batch->expected = part->chain;
    batch->next = part->next;
    part->chain = part->next;
    rc_status status = worker->driver->ops->submit(worker->driver, batch, err);
    /* Stores that apply at once are done at once. */
    return status || worker->driver->ops->progress(worker->driver, done, worker, err) ? RC_FAIL : RC_OK;
}

/* Records that were all passed over move the store's offset too, or they would be read again. */
static rc_status submit_moved(struct rc_sink_worker *worker, struct rc_error *err) {
    for (size_t i = 0; worker->connected && i < worker->n_parts; i++) {
        struct sink_part *part = worker->parts[i];
        if (part->ready && !part->batch && part->next != part->chain && part->next > part->applied &&
            submit(worker, part, err))
            return RC_FAIL;
    }
    return RC_OK;
}

static rc_status submit_all(struct rc_sink_worker *worker, struct rc_error *err) {
    for (size_t i = 0; i < worker->n_parts; i++)
        if (worker->parts[i]->ready && worker->parts[i]->batch && submit(worker, worker->parts[i], err))
            return RC_FAIL;
    return RC_OK;
}

/* ---- records ------------------------------------------------------------------------------------------------------------------------- */

size_t rc_sink_worker_under_way(const struct rc_sink_worker *worker) {
    return worker->building + worker->driver->ops->pending(worker->driver);
}

rc_status rc_sink_worker_add(struct rc_sink_worker *worker, struct sink_part *part, const struct rc_sink_change *change,
                             struct rc_error *trouble) {
    if (!part->batch)
        part->batch = worker->n_spare ? worker->spare[--worker->n_spare] : rc_sink_batch_new();
    rc_sink_batch_add(part->batch, change);
    worker->building++;
    return part->batch->n >= RC_SINK_MAX_BATCH ? submit(worker, part, trouble) : RC_OK;
}

static bool passed_over_before(const struct rc_sink_worker *worker, struct rc_span id) {
    for (size_t i = 0; i < worker->n_parts; i++)
        if (rc_attached_passed(&worker->parts[i]->attached, id))
            return true;
    return false;
}

/* Passes over an entry of an audience that is not defined: read again should the definition come. The store has to remember that
 * before its offset moves on; false: it does not yet. */
static bool pass_over(struct rc_sink_worker *worker, struct sink_part *part, struct rc_span id, int64_t offset) {
    if (!rc_attached_passed(&part->attached, id))
        rc_log(RC_LOG_WARN, "a membership of an audience that is not defined is passed over",
               rc_f_str("destination", worker->destination), rc_f_span("audience", id),
               rc_f_int("partition", part->number), rc_f_int("offset", offset));
    bool remembered = rc_attached_pass(&part->attached, id);
    worker->sync_wanted |= !remembered;
    return remembered;
}

enum taken { TAKEN, WAIT, TROUBLE };

/* Takes one record into its partition's batch. WAIT: its audience is not defined yet, or its dead letter is not
 * acknowledged; try again. TROUBLE: of the store. */
static enum taken take(struct rc_sink_worker *worker, const struct rc_message *message, bool patient,
                       struct rc_error *trouble) {
    struct sink_part *part = message->ctx;
    if (!part->ready || message->offset < part->next)
        return TAKEN; /* will be read again from where the store stands, or is behind it */
    struct rc_sink_change change = {0};
    struct rc_span target;
    struct rc_error why = {0};
    bool apply = false;
    if (message->null_value) {
        /* A tombstone keeps the topic small; the profile keeps the exit. */
    } else if (message->null_key || rc_membership_key_split(message->key, &change.person_key, &target) ||
               rc_membership_read(message->value, worker->confluent, &change.change, &why)) {
        const char *text = why.message[0] ? why.message : "other: the key is no `namespace:id|audience`";
        if (rc_sink_worker_bury(worker, message, text) != RC_OK)
            return WAIT;
        rc_counter_inc(worker->metrics.bad);
    } else {
        const struct rc_route_audience *audience = rc_route_set_find(worker->set, target);
        /* Also without a definition, or sent elsewhere now: who is in here still leaves. */
        change.only_if_there = !audience || !audience->here;
        apply = !change.only_if_there || !change.change.realized;
        if (!audience && change.change.realized) {
            bool recent =
                message->timestamp_ms == RC_NO_TIMESTAMP || rc_clock_wall_ms() - message->timestamp_ms < HOLD_MS;
            if (patient && recent && !passed_over_before(worker, target))
                return WAIT;
            if (!pass_over(worker, part, target, message->offset))
                return WAIT;
        } else if (audience && audience->here) {
            /* Who comes late gets this one from worker_fill.c. */
            size_t index = (size_t)(audience - worker->set->audiences);
            apply = rc_attached_at(&part->attached, index) == RC_ATTACHED_LIVE;
        }
        if (!apply)
            rc_counter_inc(worker->metrics.skipped);
    }
    rc_counter_inc(worker->metrics.records);
    part->last_record_ms = message->timestamp_ms;
    part->next = message->offset + 1;
    return !apply || rc_sink_worker_add(worker, part, &change, trouble) == RC_OK ? TAKEN : TROUBLE;
}

static rc_status take_and_submit(struct rc_sink_worker *worker, struct rc_message *message, bool patient,
                                 struct rc_error *trouble) {
    enum taken taken = take(worker, message, patient, trouble);
    if (taken == WAIT) {
        if (!worker->holding)
            worker->held_until_ms = rc_clock_monotonic_ms() + HOLD_MS;
        worker->held = *message;
        worker->holding = true;
        return RC_OK;
    }
    rc_message_release(message);
    return taken == TAKEN ? RC_OK : RC_FAIL;
}

/* Tries the record again that waits for its definition. */
static rc_status unhold(struct rc_sink_worker *worker, int64_t now, struct rc_error *trouble) {
    struct rc_message message = worker->held;
    bool patient = now < worker->held_until_ms;
    worker->holding = false;
    int64_t until = worker->held_until_ms;
    rc_status status = take_and_submit(worker, &message, patient, trouble);
    worker->held_until_ms = until;
    return status;
}

/* A reader beside, for audiences that come late, keeps a share. */
static size_t reading_limit(const struct rc_sink_worker *worker) {
    return worker->filler ? RC_SINK_MAX_PENDING / 4 * 3 : RC_SINK_MAX_PENDING;
}

/* Reads until the queue is empty (`*drained`), enough is under way, or it is time for other work. `trouble`: of the store, `err`: for good. */
static rc_status read_messages(struct rc_sink_worker *worker, bool *drained, struct rc_error *trouble,
                               struct rc_error *err) {
    struct rc_message message;
    size_t most = reading_limit(worker);
    *drained = false;
    for (int i = 0; i < MESSAGES_A_TURN; i++) {
        if (worker->holding || (worker->connected && rc_sink_worker_under_way(worker) >= most))
            return RC_OK;
        if (worker->sync_wanted && worker->connected && rc_sink_worker_under_way(worker))
            return RC_OK; /* first what is under way, then the partitions or audiences that have come */
        switch (rc_source_poll(worker->source, 0, &message, err)) {
        case RC_POLLED_NOTHING: *drained = true; return RC_OK;
        case RC_POLLED_EVENT: break;
        case RC_POLLED_MESSAGE:
            if (take_and_submit(worker, &message, true, trouble))
                return RC_OK;
            break;
        case RC_POLLED_ERROR:
            if (err->class != RC_CLASS_RETRY)
                return RC_FAIL;
            rc_log_limited(RC_LOG_WARN, "broker trouble, going on", rc_f_str("destination", worker->destination),
                           rc_f_err(err));
            break;
        }
    }
    return RC_OK;
}

/* ---- the group ------------------------------------------------------------------------------------------------------------------------- */

static rc_status assigned(void *ctx, struct rc_source_partition *partitions, size_t n, struct rc_error *err) {
    struct rc_sink_worker *worker = ctx;
    (void)err;
    for (size_t i = 0; i < n; i++) {
        struct sink_part *part = rc_calloc(1, sizeof *part);
        *part = (struct sink_part){.number = partitions[i].partition, .committed = -1};
        partitions[i].ctx = part;
        partitions[i].start = RC_START_BEGINNING; /* until the store has said where it stands, nothing is taken */
        rc_grow(&worker->parts, &worker->parts_capacity, worker->n_parts + 1, sizeof *worker->parts);
        worker->parts[worker->n_parts++] = part;
    }
    worker->assigned = true;
    worker->sync_wanted = true;
    return RC_OK;
}

static void part_free(struct sink_part *part) {
    rc_attached_deinit(&part->attached);
    free(part);
}

static rc_status commit(struct rc_sink_worker *worker, bool wait, struct rc_error *err) {
    struct rc_offset *offsets = rc_calloc(worker->n_parts, sizeof *offsets);
    size_t n = 0;
    for (size_t i = 0; i < worker->n_parts; i++) {
        struct sink_part *part = worker->parts[i];
        if (!part->ready || part->applied == part->committed)
            continue;
        offsets[n++] = (struct rc_offset){.topic = worker->topic, .partition = part->number, .offset = part->applied};
        part->committed = part->applied;
    }
    rc_status status = n ? rc_source_commit(worker->source, offsets, n, wait, err) : RC_OK;
    free(offsets);
    return status;
}

/* Waits until nothing is under way, at most DRAIN_MS. */
static void drain(struct rc_sink_worker *worker) {
    struct rc_error why = {.class = RC_CLASS_RETRY, .message = "no answer within the time for draining"};
    int64_t until = rc_clock_monotonic_ms() + DRAIN_MS;
    if (!worker->connected)
        return;
    rc_status status = submit_all(worker, &why) || submit_moved(worker, &why) ? RC_FAIL : RC_OK;
    while (status == RC_OK && worker->driver->ops->pending(worker->driver) && rc_clock_monotonic_ms() < until) {
        struct pollfd wait = {.events = POLLIN};
        wait.fd = worker->driver->ops->fd(worker->driver, &wait.events);
        if (wait.fd >= 0)
            poll(&wait, 1, 100);
        status = worker->driver->ops->progress(worker->driver, done, worker, &why);
    }
    if (status || worker->driver->ops->pending(worker->driver))
        rc_sink_worker_trouble(worker, rc_clock_monotonic_ms(), &why);
}

static void revoked(void *ctx, const struct rc_source_partition *partitions, size_t n, bool lost) {
    struct rc_sink_worker *worker = ctx;
    struct rc_error why = {0};
    rc_sink_worker_fill_stop(worker); /* begins again with the partitions that come or stay */
    if (!lost) {
        drain(worker);
        if (commit(worker, true, &why))
            rc_log(RC_LOG_WARN, "offsets not committed; the store knows them",
                   rc_f_str("destination", worker->destination), rc_f_err(&why));
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < worker->n_parts; k++) {
            struct sink_part *part = worker->parts[k];
            if (part->number != partitions[i].partition)
                continue;
            drop_batch(worker, part);
            part_free(part);
            worker->parts[k] = worker->parts[--worker->n_parts];
            break;
        }
    }
    rc_loop_touch(worker->loop);
}

/* ---- the thread ------------------------------------------------------------------------------------------------------------------------ */

static void take_new_set(struct rc_sink_worker *worker) {
    pthread_mutex_lock(&worker->lock);
    struct rc_route_set *set = worker->next_set;
    worker->next_set = NULL;
    pthread_mutex_unlock(&worker->lock);
    if (!set)
        return;
    rc_route_set_free(worker->set);
    worker->set = set;
    for (size_t i = 0; i < worker->n_parts; i++)
        rc_attached_follow(&worker->parts[i]->attached, set, false);
    worker->sync_wanted = true;
}

/* While the store is away nothing need be fetched. */
static rc_status pause_waiting(struct rc_sink_worker *worker, struct rc_error *err) {
    for (size_t i = 0; !worker->connected && i < worker->n_parts; i++) {
        struct sink_part *part = worker->parts[i];
        if (!part->paused && rc_source_pause(worker->source, worker->topic, part->number, err))
            return RC_FAIL;
        part->paused = true;
    }
    return RC_OK;
}

static rc_status commit_in_time(struct rc_sink_worker *worker, int64_t now, struct rc_error *trouble,
                                struct rc_error *err) {
    if (now < worker->commit_ms + worker->interval_ms)
        return RC_OK;
    worker->commit_ms = now;
    if (submit_moved(worker, trouble))
        return RC_OK;
    struct rc_error why = {0};
    if (commit(worker, false, &why) && (why.class == RC_CLASS_FATAL || why.class == RC_CLASS_FENCED)) {
        *err = why;
        return RC_FAIL;
    }
    return RC_OK;
}

static void build_view(struct rc_sink_worker *worker, int64_t now) {
    if (now < worker->view_ms + VIEW_INTERVAL_MS)
        return;
    int64_t lag = 0;
    double seconds = 0;
    json_t *rows = json_array();
    for (size_t i = 0; i < worker->n_parts; i++) {
        struct sink_part *part = worker->parts[i];
        int64_t position = 0, end = -1;
        json_t *row = json_pack("{s:s, s:i, s:s, s:s, s:I}", "topic", worker->topic, "partition", (int)part->number,
                                "destination", worker->destination, "state", !part->ready ? "waiting" : "live",
                                "offset", (json_int_t)part->applied);
        if (part->filling) {
            json_object_set_new(row, "filling",
                                json_integer((json_int_t)rc_attached_count(&part->attached, RC_ATTACHED_FILLING)));
            json_object_set_new(row, "filled_offset", json_integer(part->filled));
        }
        if (rc_source_position(worker->source, worker->topic, part->number, &position, &end) == RC_OK && end >= 0) {
            /* Behind the last change lie offsets that nobody is given: the ends of transactions. */
            bool all = position >= end && rc_sink_worker_under_way(worker) == 0;
            int64_t behind = end > part->applied && !all ? end - part->applied : 0;
            double late =
                behind && part->last_record_ms > 0 ? (double)(rc_clock_wall_ms() - part->last_record_ms) / 1e3 : 0;
            lag += behind;
            seconds = late > seconds ? late : seconds;
            json_object_set_new(row, "end_offset", json_integer(end));
            json_object_set_new(row, "lag_records", json_integer(behind));
            json_object_set_new(row, "lag_seconds", json_real(late));
        }
        json_array_append_new(rows, row);
    }
    rc_gauge_set(worker->metrics.lag, (double)lag);
    rc_gauge_set(worker->metrics.lag_seconds, seconds);
    rc_gauge_set(worker->metrics.pending, (double)rc_sink_worker_under_way(worker));
    pthread_mutex_lock(&worker->lock);
    json_t *old = worker->partitions;
    worker->partitions = rows;
    worker->lag_records = lag;
    worker->lag_seconds = seconds;
    worker->view_ms = now;
    pthread_mutex_unlock(&worker->lock);
    json_decref(old);
}

static void watch_store(struct rc_sink_worker *worker) {
    short events = 0;
    int fd = worker->connected ? worker->driver->ops->fd(worker->driver, &events) : -1;
    if (worker->fd >= 0 && worker->fd != fd)
        rc_loop_remove(worker->loop, worker->fd);
    if (fd >= 0)
        rc_loop_add(worker->loop, fd, events);
    worker->fd = fd;
}

/* Whether nothing can be done until something happens. */
static bool is_idle(const struct rc_sink_worker *worker, bool drained) {
    size_t under_way = rc_sink_worker_under_way(worker);
    bool sync = worker->sync_wanted && worker->connected;
    if (worker->connected && (under_way >= reading_limit(worker) || (sync && under_way)))
        return true; /* the store's answers come first */
    return (drained || worker->holding) && (!worker->filler || worker->fill_waits) && !sync;
}

static rc_status turn(struct rc_sink_worker *worker, bool *idle, struct rc_error *err) {
    struct rc_error trouble = {0};
    bool drained = false;
    int64_t now = rc_clock_monotonic_ms();
    take_new_set(worker);
    if (rc_sink_worker_sync(worker, now, err) || pause_waiting(worker, err))
        return RC_FAIL;
    bool sync_first = worker->sync_wanted && worker->connected;
    if (worker->holding && !sync_first && unhold(worker, now, &trouble) == RC_FAIL) {
        /* falls through to the trouble below */
    } else if (read_messages(worker, &drained, &trouble, err)) {
        return RC_FAIL;
    }
    if (worker->connected && trouble.class == RC_CLASS_NONE && rc_sink_worker_fill_turn(worker, &trouble) == RC_OK) {
        /* An empty queue: nothing more comes soon enough to wait for. And what waits for all of it to be applied would wait for ever
         * for a batch that is not full. */
        bool now_or_never = drained || worker->holding || worker->sync_wanted;
        if (!now_or_never || submit_all(worker, &trouble) == RC_OK)
            (void)worker->driver->ops->progress(worker->driver, done, worker, &trouble);
    }
    if (trouble.class == RC_CLASS_NONE && commit_in_time(worker, now, &trouble, err))
        return RC_FAIL;
    if (trouble.class == RC_CLASS_FATAL) {
        *err = trouble;
        return RC_FAIL;
    }
    if (trouble.class != RC_CLASS_NONE)
        rc_sink_worker_trouble(worker, now, &trouble);
    build_view(worker, now);
    *idle = is_idle(worker, drained);
    return RC_OK;
}

static int64_t wait_until(const struct rc_sink_worker *worker) {
    int64_t now = rc_clock_monotonic_ms(), until = now + RC_LOOP_NAP_MS;
    if (worker->holding)
        until = now + 20;
    else if (!worker->connected && worker->assigned && worker->retry_ms < until)
        until = worker->retry_ms;
    return rc_clock_wall_ms() + (until > now ? until - now : 0);
}

static rc_status open_kafka(struct rc_sink_worker *worker, struct rc_error *err) {
    struct rc_buf group, name;
    rc_buf_init(&group, 1024);
    rc_buf_init(&name, 1024);
    (void)rc_buf_printf(&group, "%s-sink-%s", rc_config_text(worker->process->config, "group.prefix"),
                        worker->destination);
    (void)rc_buf_printf(&name, "sink-%s", worker->destination);
    struct rc_source_options options = {.name = name.data,
                                        .group = group.data,
                                        .instance = worker->process->instance,
                                        .leave = &worker->process->leave,
                                        .assigned = assigned,
                                        .revoked = revoked,
                                        .ctx = worker,
                                        .wake_fd = rc_loop_fd(worker->loop)};
    const char *topics[] = {worker->topic};
    rc_status status = rc_source_open(worker->process->config, &options, &worker->source, err) ||
                               rc_source_subscribe(worker->source, topics, 1, err)
                           ? RC_FAIL
                           : RC_OK;
    rc_buf_deinit(&group);
    rc_buf_deinit(&name);
    return status;
}

static void *run(void *ctx) {
    struct rc_sink_worker *worker = ctx;
    struct rc_error err = {0};
    rc_status status = open_kafka(worker, &err);
    while (status == RC_OK && !worker->stopping) {
        bool idle = false;
        status = turn(worker, &idle, &err);
        watch_store(worker);
        if (status == RC_OK && !rc_loop_wait(worker->loop, idle ? wait_until(worker) : 0))
            rc_source_stood_still(worker->source);
    }
    if (worker->holding)
        rc_message_release(&worker->held);
    worker->holding = false;
    rc_sink_worker_fill_stop(worker);
    if (status) {
        pthread_mutex_lock(&worker->lock);
        worker->failure = err;
        snprintf(worker->state, sizeof worker->state, "error: %.480s", err.message);
        pthread_mutex_unlock(&worker->lock);
        worker->failed = true;
    }
    rc_source_close(worker->source); /* gives the partitions back: revoked drains and commits */
    worker->source = NULL;
    return NULL;
}

/* ---- from other threads ------------------------------------------------------------------------------------------------------------------ */

static void worker_free(struct rc_sink_worker *worker) {
    worker->driver->ops->free(worker->driver);
    for (size_t i = 0; i < worker->n_parts; i++) {
        drop_batch(worker, worker->parts[i]);
        part_free(worker->parts[i]);
    }
    for (size_t i = 0; i < worker->n_spare; i++)
        rc_sink_batch_free(worker->spare[i]);
    rc_route_set_free(worker->set);
    rc_route_set_free(worker->next_set);
    rc_admin_close(worker->admin);
    rc_producer_close(worker->burier);
    rc_loop_close(worker->loop);
    json_decref(worker->partitions);
    rc_sink_latency_free(worker->latency);
    pthread_mutex_destroy(&worker->lock);
    free(worker->parts);
    free(worker->spare);
    free(worker->destination);
    free(worker->url);
    free(worker->topic);
    free(worker);
}

static void register_metrics(struct rc_sink_worker *worker) {
    struct rc_metrics *metrics = worker->process->metrics;
    struct sink_metrics *m = &worker->metrics;
    struct rc_label label = {.name = "destination", .value = worker->destination};
#define REGISTER(type, member, name, help) m->member = rc_##type##_register(metrics, name, help, &label, 1);
    RC_SINK_METRICS(REGISTER)
#undef REGISTER
    worker->latency = rc_sink_latency_new(metrics, worker->destination);
}

rc_status rc_sink_worker_start(const struct rc_sink_worker_options *options, struct rc_sink_driver *driver,
                               struct rc_route_set *set, struct rc_sink_worker **out, struct rc_error *err) {
    struct rc_sink_worker *worker = rc_calloc(1, sizeof *worker);
    worker->process = options->process;
    worker->destination = rc_strdup(options->destination);
    worker->url = rc_strdup(options->url);
    worker->topic = rc_strdup(options->topic);
    worker->confluent = options->confluent;
    worker->interval_ms = options->interval_ms;
    worker->driver = driver;
    worker->set = set;
    worker->fd = -1;
    worker->random = (uint32_t)rc_clock_monotonic_ns();
    pthread_mutex_init(&worker->lock, NULL);
    snprintf(worker->state, sizeof worker->state, "starting");
    register_metrics(worker);
    rc_status status = rc_loop_open(&worker->loop, err);
    if (status == RC_OK && pthread_create(&worker->thread, NULL, run, worker) != 0)
        status =
            rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "no thread for destination %s", options->destination);
    if (status) {
        worker_free(worker);
        return RC_FAIL;
    }
    *out = worker;
    return RC_OK;
}

void rc_sink_worker_stop(struct rc_sink_worker *worker) {
    if (!worker)
        return;
    worker->stopping = true;
    rc_loop_wake(worker->loop);
    pthread_join(worker->thread, NULL);
    worker_free(worker);
}

void rc_sink_worker_update(struct rc_sink_worker *worker, struct rc_route_set *set) {
    pthread_mutex_lock(&worker->lock);
    rc_route_set_free(worker->next_set);
    worker->next_set = set;
    pthread_mutex_unlock(&worker->lock);
    rc_loop_wake(worker->loop);
}

json_t *rc_sink_worker_status(struct rc_sink_worker *worker, json_t *partitions, json_t *latencies) {
    rc_sink_latency_tell(worker->latency, latencies);
    pthread_mutex_lock(&worker->lock);
    json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:I, s:f, s:I, s:I}", "id", worker->destination, "type",
                            worker->driver->ops->type, "url", worker->url, "state", worker->state, "lag_records",
                            (json_int_t)worker->lag_records, "lag_seconds", worker->lag_seconds, "changes",
                            (json_int_t)rc_counter_get(worker->metrics.changes), "retries",
                            (json_int_t)rc_counter_get(worker->metrics.retries));
    if (worker->last_change_ms)
        json_object_set_new(row, "last_change_ms", json_integer(worker->last_change_ms));
    if (worker->partitions) {
        json_t *copy = json_deep_copy(worker->partitions);
        json_array_extend(partitions, copy);
        json_decref(copy);
    }
    pthread_mutex_unlock(&worker->lock);
    json_object_set_new(row, "latency",
                        json_pack("{s:o, s:o}", "event_to_store", rc_process_latency(worker->metrics.event_latency),
                                  "hop", rc_process_latency(worker->metrics.hop_latency)));
    return row;
}

bool rc_sink_worker_ready(struct rc_sink_worker *worker) {
    return worker->assigned && worker->synced;
}

bool rc_sink_worker_failed(struct rc_sink_worker *worker, struct rc_error *err) {
    if (!worker->failed)
        return false;
    pthread_mutex_lock(&worker->lock);
    *err = worker->failure;
    pthread_mutex_unlock(&worker->lock);
    return true;
}

size_t rc_sink_worker_partitions(struct rc_sink_worker *worker, int32_t *out, size_t max) {
    pthread_mutex_lock(&worker->lock);
    size_t n = worker->partitions ? json_array_size(worker->partitions) : 0;
    for (size_t i = 0; i < n && i < max; i++)
        out[i] = (int32_t)json_integer_value(json_object_get(json_array_get(worker->partitions, i), "partition"));
    pthread_mutex_unlock(&worker->lock);
    return n;
}

struct rc_store *rc_sink_worker_store(struct rc_sink_worker *worker) {
    return worker->synced ? rc_sink_embedded_store(worker->driver) : NULL;
}
