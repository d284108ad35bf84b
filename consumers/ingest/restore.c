/* A lane's local state, brought up to what the changelog holds: from where the local store stands, or from the beginning when it has
 * nothing that can be used. In pieces, between which the loop turns, so that other lanes go on, the group is kept and a stop is heard.
 *
 * The race that the order defends against: the former owner stands still with records in its client, the group gives the partition away,
 * and the records land when it wakes up.
 *   1. the new owner writes its mark and waits until it is acknowledged;
 *   2. it reads up to the end, so past its mark: whatever the former owner has written before the mark is taken in;
 *   3. what lands behind the mark carries a lower epoch, and the next reader knows it (store/changelog.h).
 *
 * What comes out is not the state at one instant: persons may be ahead of the positions in the lane's record, never behind. Reading the
 * input again from there is exact all the same (docs/decisions/0006-changelog.md).
 *
 * Persons are gathered in memory, the last record of each, and go into the store sorted (gather.c), by a thread, while the next lane is read. What is killed meanwhile begins
 * again: the lane's own record, which says that its persons are there, comes last. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/ingest/internal.h"
#include "segment/person_check.h"
#include "store/changelog.h"

#define TIMEOUT_MS 30000
#define FETCH_WAIT_MS 10      /* the end is all that is waited for */
#define FETCH_BYTES (8 << 20) /* of one partition at a time: else it waits for the broker as long as it reads */
#define BATCH_BYTES ((size_t)4 << 20)
#define GATHER_SHARE 3 /* of the memory, for persons who are gathered; as much again while others are written */

/* Persons on their way into the store. */
struct writing {
    pthread_t thread;
    bool threaded; /* else it was done at once */
    atomic_bool over;
    struct rc_loop *loop;
    struct gather *gather; /* owned */
    bool over_others;
    struct counted *counted; /* owned */
    rc_status status;
    struct rc_error err;
};

struct restore {
    bool reading; /* the reader is this lane's */
    struct rc_changelog_judge *judge;
    struct rc_store_batch *batch; /* all but persons */
    struct gather *gather;
    size_t gather_limit;     /* bytes */
    struct writing *writing; /* NULL: nothing is being written */
    size_t written;          /* gatherings that are in the store, or on their way */
    struct rc_buf lane;      /* the last one's value; empty: none */
    bool base;               /* the local store has state to go on from */
    int64_t from, at, end;   /* offsets */
    int64_t began_ms;        /* monotonic */
    uint64_t persons;
    bool changed; /* some of the store's persons */
};

static rc_status flush_batch(struct lane *lane, struct rc_error *err) {
    struct rc_store_batch *batch = lane->restore->batch;
    lane->restore->batch = rc_store_begin(lane->ingest->store);
    return rc_store_commit(batch, false, err);
}

/* ---- persons into the store ---- */

static void *write_persons(void *ctx) {
    struct writing *writing = ctx;
    writing->status = rc_ingest_gather_write(writing->gather, writing->over_others, &writing->counted, &writing->err);
    rc_ingest_gather_free(writing->gather);
    writing->gather = NULL;
    atomic_store(&writing->over, true);
    rc_loop_wake(writing->loop);
    return NULL;
}

/* What is gathered begins to be written; nothing else may be by then. */
static rc_status begin_writing(struct lane *lane, struct rc_error *err) {
    struct restore *restore = lane->restore;
    if (flush_batch(lane, err) != RC_OK) /* what it makes void must go first */
        return RC_FAIL;
    struct writing *writing = rc_calloc(1, sizeof *writing);
    writing->loop = lane->ingest->loop;
    writing->gather = restore->gather;
    writing->over_others = restore->base || restore->written > 0;
    restore->gather = rc_ingest_gather_new(lane->ingest->store, lane->number);
    restore->writing = writing;
    restore->written++;
    writing->threaded = pthread_create(&writing->thread, NULL, write_persons, writing) == 0;
    if (!writing->threaded)
        write_persons(writing);
    return RC_OK;
}

/* Waits for it. */
static rc_status end_writing(struct lane *lane, struct rc_error *err) {
    struct restore *restore = lane->restore;
    struct writing *writing = restore->writing;
    if (writing->threaded)
        pthread_join(writing->thread, NULL);
    rc_status status = writing->status;
    if (status != RC_OK)
        *err = writing->err;
    rc_ingest_counted_free(lane->counted);
    lane->counted = restore->written == 1 ? writing->counted : NULL;
    if (restore->written > 1)
        rc_ingest_counted_free(writing->counted);
    free(writing);
    restore->writing = NULL;
    return status;
}

static bool is_writing(const struct restore *restore) {
    return restore->writing && !atomic_load(&restore->writing->over);
}

static bool see_one(void *ctx, struct rc_span key, struct rc_span value) {
    (void)key, (void)value;
    *(bool *)ctx = true;
    return false;
}

/* The store has nothing of the lane any more. (Where it had nothing, nothing is said: sorted files go where nothing has been.) */
static rc_status forget(struct lane *lane, struct rc_error *err) {
    static const enum rc_store_space spaces[] = {RC_STORE_PERSON, RC_STORE_DEADLINE, RC_STORE_META};
    struct restore *restore = lane->restore;
    bool some = false;
    if (restore->writing && end_writing(lane, err) != RC_OK)
        return RC_FAIL;
    rc_ingest_counted_free(lane->counted);
    lane->counted = NULL;
    rc_ingest_gather_free(restore->gather);
    restore->gather = rc_ingest_gather_new(lane->ingest->store, lane->number);
    restore->written = 0;
    restore->base = false;
    if (flush_batch(lane, err) != RC_OK)
        return RC_FAIL;
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        if (rc_store_scan(lane->ingest->store, spaces[i], lane->number, rc_span_of("", 0), see_one, &some, err) !=
            RC_OK)
            return RC_FAIL;
    if (some)
        rc_ingest_residence_forget(restore->batch, lane->number);
    return some ? flush_batch(lane, err) : RC_OK;
}

/* ---- beginning ---- */

/* What is wrong with the range that is to be read, before reading it. */
static void judge_bounds(struct restore *restore, int64_t wanted, int64_t low, int64_t high) {
    if (wanted > high)
        rc_changelog_judge_missing(restore->judge, high, "it ends before what the local state has seen of it");
    else if (restore->from < low)
        rc_changelog_judge_missing(restore->judge, restore->from,
                                   "records before its beginning are gone; cleanup.policy must be compact alone");
}

rc_status rc_ingest_restore_begin(struct lane *lane, const struct saved_lane *saved, uint32_t group_epoch,
                                  struct rc_error *err) {
    struct ingest *ingest = lane->ingest;
    bool base = saved->found && strcmp(saved->cluster, ingest->cluster) == 0;
    lane->fresh = lane->rewriting = false;
    lane->marked = rc_versions_epoch_above(base ? saved->epoch : 0, -1, group_epoch);
    int64_t low, high;
    if (rc_ingest_changelog_mark(lane, lane->marked, false, err) != RC_OK ||
        rc_admin_bounds(ingest->admin, ingest->state_topic, lane->number, TIMEOUT_MS, &low, &high, err) != RC_OK)
        return RC_FAIL;
    int64_t mark = rc_producer_end(ingest->producer, ingest->state_topic, lane->number) - 1;
    if (base && saved->changelog < 0 && group_epoch <= saved->epoch) {
        /* Saved by a build without a changelog, or while it was being written anew; and the last to own it. */
        lane->rewriting = true;
        return RC_OK;
    }
    if (base && saved->changelog == mark)
        return RC_OK; /* nobody has written since */
    struct restore *restore = rc_calloc(1, sizeof *restore);
    bool goes_on = base && saved->changelog >= 0 && saved->changelog <= high;
    *restore =
        (struct restore){.gather = rc_ingest_gather_new(ingest->store, lane->number),
                         .gather_limit = (size_t)rc_config_bytes(ingest->config, "state.memory_bytes") / GATHER_SHARE,
                         .judge = rc_changelog_judge_new(goes_on ? saved->epoch : 0),
                         .batch = rc_store_begin(ingest->store),
                         .base = base,
                         .from = goes_on ? saved->changelog : 0,
                         .end = high,
                         .began_ms = rc_clock_monotonic_ms()};
    restore->at = restore->from > low ? restore->from : low;
    if (restore->at >= mark && high == mark + 1) /* nothing but the own mark */
        restore->at = high;
    rc_buf_init(&restore->lane, (size_t)16 << 20);
    judge_bounds(restore, base ? saved->changelog : 0, low, high);
    if (saved->found && !base)
        rc_log(RC_LOG_WARN, "local state is of another cluster, it is dropped", rc_f_int("partition", lane->number));
    lane->restore = restore;
    return base ? RC_OK : forget(lane, err);
}

void rc_ingest_restore_drop(struct lane *lane) {
    struct restore *restore = lane->restore;
    struct rc_error ignored;
    if (!restore)
        return;
    if (restore->writing && end_writing(lane, &ignored) != RC_OK)
        rc_log(RC_LOG_WARN, "restored persons were not saved; it begins again", rc_f_int("partition", lane->number),
               rc_f_err(&ignored));
    rc_ingest_gather_free(restore->gather);
    rc_changelog_judge_free(restore->judge);
    rc_store_abort(restore->batch);
    rc_buf_deinit(&restore->lane);
    free(restore);
    lane->restore = NULL;
}

/* ---- reading ---- */

/* What can be said against a value without knowing whose it is. */
static const char *damage_of(const struct rc_message *message) {
    static const char not_a_lane[] = "it is no record of a lane",
                      not_a_segment[] = "it is no record of a segment's version",
                      damaged[] = "it is damaged: its checksum does not match";
    struct rc_error err;
    if (message->null_value)
        return NULL;
    if (rc_span_equal(message->key, rc_span_str(RC_CHANGELOG_LANE_KEY))) {
        struct saved_lane saved;
        bool fine = rc_ingest_saved_parse(message->value, &saved);
        rc_ingest_saved_deinit(&saved);
        return fine ? NULL : not_a_lane;
    }
    if (rc_changelog_is_segment(message->key)) {
        json_t *json = json_loadb(message->value.data, message->value.len, 0, NULL);
        json_decref(json);
        return json ? NULL : not_a_segment;
    }
    return rc_person_record_check(message->value, &err) == RC_OK ? NULL : damaged;
}

/* Numbers and deadlines do not fit the persons any more: they are made anew when the lane is opened. */
static void void_numbers(struct lane *lane) {
    if (lane->restore->base && !lane->restore->changed)
        rc_store_delete(lane->restore->batch, RC_STORE_META, lane->number, rc_span_str(INGEST_NUMBERS_KEY));
    lane->restore->changed = true;
}

static rc_status take(struct lane *lane, const struct rc_message *message, struct rc_error *err) {
    struct restore *restore = lane->restore;
    struct rc_changelog_record record = {.offset = message->offset,
                                         .key = message->key,
                                         .value = message->value,
                                         .null_value = message->null_value,
                                         .damage = damage_of(message)};
    if (!rc_message_header(message, RC_CHANGELOG_EPOCH_HEADER, &record.epoch))
        record.epoch = rc_span_of("", 0);
    switch (rc_changelog_judge_take(restore->judge, &record)) {
    case RC_CHANGELOG_SKIP: break;
    case RC_CHANGELOG_PERSON:
        rc_ingest_gather_put(restore->gather, message->key, message->value);
        restore->persons++;
        void_numbers(lane);
        break;
    case RC_CHANGELOG_GONE:
        rc_ingest_gather_put(restore->gather, message->key, rc_span_of(NULL, 0));
        void_numbers(lane);
        break;
    case RC_CHANGELOG_SEGMENT:
        if (message->null_value)
            rc_store_delete(restore->batch, RC_STORE_META, lane->number, message->key);
        else
            rc_store_put(restore->batch, RC_STORE_META, lane->number, message->key, message->value);
        break;
    case RC_CHANGELOG_LANE:
        rc_buf_reset(&restore->lane);
        rc_buf_add_span(&restore->lane, message->value);
        break;
    case RC_CHANGELOG_FRESH:
        rc_buf_reset(&restore->lane);
        restore->persons = 0;
        if (forget(lane, err) != RC_OK)
            return RC_FAIL;
        break;
    }
    rc_counter_inc(lane->ingest->metrics.restored);
    return rc_store_batch_bytes(restore->batch) < BATCH_BYTES ? RC_OK : flush_batch(lane, err);
}

/* The reader goes from lane to lane: opening one takes as long as reading some ten thousand records. */
static rc_status open_reader(struct lane *lane, struct rc_error *err) {
    struct ingest *ingest = lane->ingest;
    struct rc_source_options options = {.name = "restore",
                                        .wake_fd = rc_loop_fd(ingest->loop),
                                        .fetch_wait_ms = FETCH_WAIT_MS,
                                        .fetch_bytes = FETCH_BYTES};
    struct rc_source_partition partition = {
        .topic = ingest->state_topic, .partition = lane->number, .start = lane->restore->at};
    if (!ingest->restorer && rc_source_open(ingest->config, &options, &ingest->restorer, err) != RC_OK)
        return RC_FAIL;
    if (rc_source_assign(ingest->restorer, &partition, 1, err) != RC_OK)
        return RC_FAIL;
    for (size_t i = 0; i < ingest->n_lanes; i++)
        if (ingest->lanes[i]->restore)
            ingest->lanes[i]->restore->reading = ingest->lanes[i] == lane;
    rc_log(RC_LOG_INFO, "restoring from the changelog", rc_f_str("topic", ingest->state_topic),
           rc_f_int("partition", lane->number), rc_f_int("from", lane->restore->from),
           rc_f_int("to", lane->restore->end));
    return RC_OK;
}

void rc_ingest_restore_rest(struct ingest *ingest) {
    for (size_t i = 0; i < ingest->n_lanes; i++)
        if (ingest->lanes[i]->restore && ingest->lanes[i]->restore->at < ingest->lanes[i]->restore->end)
            return;
    rc_source_close(ingest->restorer);
    ingest->restorer = NULL;
}

/* ---- the end ---- */

/* The lane's record of the changelog becomes the local one. False when it is of another cluster. */
static bool take_lane(struct lane *lane) {
    struct restore *restore = lane->restore;
    struct saved_lane saved;
    bool ours =
        rc_ingest_saved_parse(rc_buf_span(&restore->lane), &saved) && strcmp(saved.cluster, lane->ingest->cluster) == 0;
    if (ours) {
        json_t *json = rc_ingest_saved_json(&saved);
        rc_ingest_saved_put(restore->batch, lane->number, json, restore->end);
        json_decref(json);
    }
    rc_ingest_saved_deinit(&saved);
    return ours;
}

static rc_status conclude(struct lane *lane, struct rc_error *err) {
    struct restore *restore = lane->restore;
    struct ingest *ingest = lane->ingest;
    int64_t offset = restore->from;
    const char *why = "its positions are of another cluster";
    bool trusted = rc_changelog_judge_trusts(restore->judge, &offset, &why);
    if (trusted && restore->lane.len > 0)
        trusted = lane->restored = take_lane(lane);
    lane->restored &= !restore->base;
    uint32_t seen = rc_changelog_judge_epoch(restore->judge);
    if (seen > lane->marked)
        lane->marked = seen;
    lane->rewriting = !trusted && restore->base;
    lane->fresh = !trusted;
    if (!trusted) {
        rc_log(RC_LOG_WARN,
               restore->base ? "the changelog cannot be used: the local state is, and is written to it anew"
                             : "the changelog cannot be used: the state is built again from the topics",
               rc_f_str("topic", ingest->state_topic), rc_f_int("partition", lane->number), rc_f_int("offset", offset),
               rc_f_str("why", why));
        rc_counter_inc(ingest->metrics.distrusted);
    }
    if (!trusted && !restore->base && forget(lane, err) != RC_OK)
        return RC_FAIL;
    if (flush_batch(lane, err) != RC_OK)
        return RC_FAIL;
    rc_log(RC_LOG_INFO, "restored from the changelog", rc_f_str("topic", ingest->state_topic),
           rc_f_int("partition", lane->number), rc_f_int("records", restore->end - restore->from),
           rc_f_int("persons", (int64_t)restore->persons),
           rc_f_int("unusable", (int64_t)rc_changelog_judge_wounds(restore->judge)),
           rc_f_int("ms", rc_clock_monotonic_ms() - restore->began_ms));
    rc_ingest_restore_drop(lane);
    return RC_OK;
}

/* More than may be gathered. */
static bool is_much(const struct restore *restore) {
    return rc_ingest_gather_bytes(restore->gather) > restore->gather_limit;
}

/* All is read: the last persons are written, then the lane's own record. */
static rc_status finish(struct lane *lane, bool *more, struct rc_error *err) {
    struct restore *restore = lane->restore;
    if (is_writing(restore))
        return RC_OK;
    if (restore->writing && end_writing(lane, err) != RC_OK)
        return RC_FAIL;
    if (rc_ingest_gather_empty(restore->gather))
        return conclude(lane, err);
    *more = true; /* of the next lane */
    return begin_writing(lane, err);
}

bool rc_ingest_restore_waits(const struct lane *lane) {
    const struct restore *restore = lane->restore;
    return restore && is_writing(restore) && (restore->at >= restore->end || is_much(restore));
}

rc_status rc_ingest_restore_step(struct lane *lane, int budget_ms, bool *more, struct rc_error *err) {
    struct restore *restore = lane->restore;
    *more = false;
    if (!restore->reading && restore->at < restore->end && open_reader(lane, err) != RC_OK)
        return RC_FAIL;
    int64_t until = rc_clock_monotonic_ms() + budget_ms;
    for (int n = 1; restore->at < restore->end; n++) {
        struct rc_message message;
        switch (rc_source_poll(lane->ingest->restorer, 0, &message, err)) {
        case RC_POLLED_NOTHING: return RC_OK;
        case RC_POLLED_ERROR: return RC_FAIL;
        case RC_POLLED_EVENT: {
            int64_t position, end;
            if (rc_source_position(lane->ingest->restorer, lane->ingest->state_topic, lane->number, &position, &end) ==
                    RC_OK &&
                position > restore->at)
                restore->at = position;
            break;
        }
        case RC_POLLED_MESSAGE: {
            rc_status status = message.offset < restore->end ? take(lane, &message, err) : RC_OK;
            restore->at = message.offset + 1;
            rc_message_release(&message);
            if (status != RC_OK)
                return RC_FAIL;
            break;
        }
        }
        if (n % 64 == 0 && rc_clock_monotonic_ms() >= until) {
            *more = true;
            return RC_OK;
        }
        if (is_much(restore)) {
            if (is_writing(restore))
                return RC_OK;
            if ((restore->writing && end_writing(lane, err) != RC_OK) || begin_writing(lane, err) != RC_OK)
                return RC_FAIL;
        }
    }
    return finish(lane, more, err);
}

void rc_ingest_restore_progress(const struct lane *lane, int64_t *done, int64_t *all) {
    const struct restore *restore = lane->restore;
    *done = restore ? restore->at - restore->from : 0;
    *all = restore ? restore->end - restore->from : 0;
}
