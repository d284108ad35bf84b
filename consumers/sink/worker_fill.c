/* Audiences that come late to a destination: a second reader brings them their members, from the beginning of the compacted topic.
 *
 * Meanwhile the first reader goes on for everybody else, and leaves the changes of those audiences alone. When the second has come to
 * where the first stands, everything before that place has been read for them, and the first takes their changes from there on: first the
 * members, then the changes, each in order. What is read goes into the first one's batches, so that it is bounded with them.
 *
 * The crash that it defends against: the store remembers an audience as attached only once all of that is applied (worker_sync.c). Killed
 * before, the next start begins again; versions make it a repeat. The same after any trouble of the store. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "consumers/sink/worker_internal.h"

#define MESSAGES_A_TURN 2000
#define FETCH_WAIT_MS 50

void rc_sink_worker_fill_stop(struct rc_sink_worker *worker) {
    rc_source_close(worker->filler);
    worker->filler = NULL;
    for (size_t i = 0; i < worker->n_parts; i++) {
        struct sink_part *part = worker->parts[i];
        part->filling = false;
        if (rc_attached_turn(&part->attached, RC_ATTACHED_FILLING, RC_ATTACHED_WAITING))
            rc_attached_follow(&part->attached, worker->set, false);
    }
}

rc_status rc_sink_worker_fill_start(struct rc_sink_worker *worker, struct rc_error *err) {
    for (size_t i = 0; worker->filler && i < worker->n_parts; i++)
        if (worker->parts[i]->filling)
            return RC_OK; /* the next one takes up who has come since */
    rc_source_close(worker->filler);
    worker->filler = NULL;
    struct rc_source_partition *partitions = rc_calloc(worker->n_parts, sizeof *partitions);
    size_t n = 0, audiences = 0;
    for (size_t i = 0; i < worker->n_parts; i++) {
        struct sink_part *part = worker->parts[i];
        size_t waiting = rc_attached_turn(&part->attached, RC_ATTACHED_WAITING, RC_ATTACHED_FILLING);
        if (!waiting)
            continue;
        rc_attached_follow(&part->attached, worker->set, false);
        part->filling = true;
        part->filled = 0;
        audiences = waiting > audiences ? waiting : audiences;
        partitions[n++] = (struct rc_source_partition){
            .topic = worker->topic, .partition = part->number, .start = RC_START_BEGINNING, .ctx = part};
        rc_counter_inc(worker->metrics.fills);
    }
    struct rc_source_options options = {
        .name = "sink-fill", .wake_fd = rc_loop_fd(worker->loop), .fetch_wait_ms = FETCH_WAIT_MS};
    rc_status status = RC_OK;
    if (n && (rc_source_open(worker->process->config, &options, &worker->filler, err) ||
              rc_source_assign(worker->filler, partitions, n, err))) {
        rc_sink_worker_fill_stop(worker);
        status = RC_FAIL;
    } else if (n) {
        rc_log(RC_LOG_INFO, "audiences come late to a destination: their members are read",
               rc_f_str("destination", worker->destination), rc_f_int("partitions", (int64_t)n),
               rc_f_int("audiences", (int64_t)audiences));
    }
    worker->fill_waits = false;
    free(partitions);
    return status;
}

/* Everything before the place where the first reader stands has been read for those that came. */
static void arrive(struct rc_sink_worker *worker, struct sink_part *part) {
    size_t n = rc_attached_turn(&part->attached, RC_ATTACHED_FILLING, RC_ATTACHED_LIVE);
    rc_attached_follow(&part->attached, worker->set, false);
    part->filling = false;
    worker->sync_wanted = true; /* the store is to remember it, once all of it is applied */
    rc_log(RC_LOG_INFO, "audiences have come to a destination", rc_f_str("destination", worker->destination),
           rc_f_int("partition", part->number), rc_f_int("offset", part->next), rc_f_int("audiences", (int64_t)n));
}

static rc_status take(struct rc_sink_worker *worker, struct sink_part *part, const struct rc_message *message,
                      struct rc_error *trouble) {
    struct rc_sink_change change = {.read_again = true};
    struct rc_span target;
    struct rc_error why;
    /* What cannot be read is in the dead letters already. */
    if (message->null_value || message->null_key ||
        rc_membership_key_split(message->key, &change.person_key, &target) ||
        rc_membership_read(message->value, worker->confluent, &change.change, &why))
        return RC_OK;
    const struct rc_route_audience *audience = rc_route_set_find(worker->set, target);
    if (!audience ||
        rc_attached_at(&part->attached, (size_t)(audience - worker->set->audiences)) != RC_ATTACHED_FILLING)
        return RC_OK;
    return rc_sink_worker_add(worker, part, &change, trouble);
}

static rc_status take_message(struct rc_sink_worker *worker, const struct rc_message *message,
                              struct rc_error *trouble) {
    struct sink_part *part = message->ctx;
    if (!part->filling)
        return RC_OK;
    if (message->offset < part->next && take(worker, part, message, trouble))
        return RC_FAIL;
    part->filled = message->offset + 1;
    if (part->filled >= part->next)
        arrive(worker, part);
    return RC_OK;
}

/* Offsets may have gaps: an end is reached without its last offset ever being seen. */
static void look_for_ends(struct rc_sink_worker *worker) {
    for (size_t i = 0; i < worker->n_parts; i++) {
        struct sink_part *part = worker->parts[i];
        int64_t position = -1, end = -1;
        if (part->filling &&
            rc_source_position(worker->filler, worker->topic, part->number, &position, &end) == RC_OK &&
            position >= part->next)
            arrive(worker, part);
    }
}

/* A reader that cannot go on (records were removed under it) is made anew. */
static void begin_again(struct rc_sink_worker *worker, const struct rc_error *why) {
    rc_log_limited(RC_LOG_WARN, "reading for audiences that come late begins again",
                   rc_f_str("destination", worker->destination), rc_f_err(why));
    rc_sink_worker_fill_stop(worker);
    worker->sync_wanted = true;
}

rc_status rc_sink_worker_fill_turn(struct rc_sink_worker *worker, struct rc_error *trouble) {
    struct rc_message message;
    struct rc_error why = {0};
    worker->fill_waits = false;
    for (int i = 0; worker->filler && i < MESSAGES_A_TURN; i++) {
        /* First what is under way, then who has come. */
        if (rc_sink_worker_under_way(worker) >= RC_SINK_MAX_PENDING || worker->sync_wanted)
            return RC_OK;
        rc_status status = RC_OK;
        switch (rc_source_poll(worker->filler, 0, &message, &why)) {
        case RC_POLLED_MESSAGE:
            status = take_message(worker, &message, trouble);
            rc_message_release(&message);
            break;
        case RC_POLLED_EVENT: look_for_ends(worker); break;
        case RC_POLLED_NOTHING:
            look_for_ends(worker);
            worker->fill_waits = true;
            return RC_OK;
        case RC_POLLED_ERROR:
            if (why.class == RC_CLASS_RETRY)
                rc_log_limited(RC_LOG_WARN, "broker trouble, going on", rc_f_str("destination", worker->destination),
                               rc_f_err(&why));
            else
                begin_again(worker, &why);
            break;
        }
        if (status)
            return RC_FAIL;
    }
    return RC_OK;
}
