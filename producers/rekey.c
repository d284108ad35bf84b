#include "producers/rekey.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "codec/origin.h"
#include "codec/person_key.h"
#include "codec/registry.h"
#include "kafka/loop.h"
#include "kafka/topics.h"
#include "segment/population.h"

#define HEADERS_MAX 256
#define KEY_MAX ((size_t)64 << 10)
#define ARENA_BYTES ((size_t)64 << 10)
#define AGAIN_MS 500
#define BLOCKED_PAUSE_MS 20000
#define DRAIN_MS 10000
#define ASK_MS 3000

#define REKEY_METRICS(X)                                                                      \
    X(counter, records, "rollcall_rekey_records_total", "Records copied to a re-keyed topic") \
    X(counter, ignored, "rollcall_rekey_ignored_total",                                       \
      "Records that the dataset does not count: null value, or its where")                    \
    X(counter, dead, "rollcall_rekey_dead_letters_total", "Records without a usable person, or that cannot be decoded")

struct rekey_metrics {
    REKEY_METRICS(RC_METRIC_MEMBER)
};

/* One dataset that is re-keyed. Several may read the same topic. */
struct target {
    const struct rc_dataset *dataset;
    struct rc_decoder *decoder;
    char *topic; /* owned */
};

/* How far one original partition is: `next` was handled, `committed` is what the group knows. */
struct progress {
    char *topic; /* owned */
    int32_t partition;
    int64_t next, committed;
    bool assigned;
};

struct rekey {
    const struct rc_rekey_options *options;
    struct rekey_metrics metrics;
    struct rc_plan *plan; /* for the datasets' `where` */
    struct rc_registry *registry;
    struct target *targets;
    size_t n_targets;
    struct rc_loop *loop;
    struct rc_kafka_source *source;
    struct rc_producer *producer;
    struct rc_arena arena;
    struct rc_buf key;
    struct progress *parts;
    size_t n_parts, parts_capacity;

    struct rc_message held; /* waits for the schema registry, or for the broker to tell of the topic */
    bool holding;
    int64_t again_ms;         /* monotonic: when it is tried again */
    int64_t blocked_since_ms; /* monotonic: nothing may be read since; 0: something may */
    bool paused;              /* all partitions are */

    /* The checkpoint that waits for acknowledgements: what is committed when `mark` has passed. */
    bool marked;
    uint64_t mark;
    int64_t *marked_next; /* per part */
    size_t marked_capacity;
    size_t n_marked;
};

/* ---- names and topics ------------------------------------------------------------------------------------------------ */

bool rc_rekey_needed(const struct rc_catalog *catalog) {
    for (size_t i = 0; i < catalog->n_datasets; i++)
        if (!catalog->datasets[i].keyed)
            return true;
    return false;
}

char *rc_rekey_topic(const struct rc_config *config, const struct rc_dataset *dataset) {
    struct rc_buf name;
    rc_buf_init(&name, 1024);
    (void)!rc_buf_printf(&name, "events.%s", dataset->id);
    char *topic = rc_topic_name(config, name.data);
    rc_buf_deinit(&name);
    return topic;
}

rc_status rc_rekey_ensure_topics(const struct rc_config *config, const struct rc_catalog *catalog, int32_t n_partitions,
                                 struct rc_error *err) {
    if (!rc_rekey_needed(catalog))
        return RC_OK;
    struct rc_admin *admin;
    if (rc_admin_open(config, &admin, err) != RC_OK)
        return RC_FAIL;
    rc_status status = RC_OK;
    for (size_t i = 0; status == RC_OK && i < catalog->n_datasets; i++) {
        if (catalog->datasets[i].keyed)
            continue;
        char *topic = rc_rekey_topic(config, &catalog->datasets[i]);
        struct rc_topic_spec spec = {.name = topic, .partitions = n_partitions};
        status = rc_topic_ensure(admin, &spec, NULL, err);
        free(topic);
    }
    rc_admin_close(admin);
    return status;
}

/* ---- the origin ------------------------------------------------------------------------------------------------------ */

rc_status rc_rekey_origin(const struct rc_dataset *dataset, struct rc_record *record, struct rc_error *err) {
    struct rc_origin origin;
    if (!rc_origin_find(record->headers, record->n_headers, &origin))
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                            "other: no sound headers " RC_ORIGIN_TOPIC ", " RC_ORIGIN_PARTITION ", " RC_ORIGIN_OFFSET
                            "; send events to %s, this topic is Rollcall's own",
                            dataset->topic);
    if (!rc_span_equal(origin.topic, rc_span_str(dataset->topic)))
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                            "other: copied from topic %.*s, but dataset %s reads %s", (int)origin.topic.len,
                            origin.topic.data, dataset->id, dataset->topic);
    record->topic = dataset->topic;
    record->partition = origin.partition;
    record->offset = origin.offset;
    record->key = origin.key;
    return RC_OK;
}

/* ---- progress and commits -------------------------------------------------------------------------------------------- */

static struct progress *part_of(struct rekey *rekey, const char *topic, int32_t partition) {
    for (size_t i = 0; i < rekey->n_parts; i++)
        if (rekey->parts[i].partition == partition && !strcmp(rekey->parts[i].topic, topic))
            return &rekey->parts[i];
    rc_grow(&rekey->parts, &rekey->parts_capacity, rekey->n_parts + 1, sizeof *rekey->parts);
    struct progress *part = &rekey->parts[rekey->n_parts++];
    *part = (struct progress){.topic = rc_strdup(topic), .partition = partition, .next = -1, .committed = -1};
    return part;
}

/* Commits `next[i]` of the first `n` parts where that is news. */
static rc_status commit(struct rekey *rekey, const int64_t *next, size_t n, bool wait, struct rc_error *err) {
    struct rc_offset *offsets = rc_calloc(n ? n : 1, sizeof *offsets);
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        struct progress *part = &rekey->parts[i];
        if (!part->assigned || next[i] < 0 || next[i] <= part->committed)
            continue;
        offsets[count++] = (struct rc_offset){.topic = part->topic, .partition = part->partition, .offset = next[i]};
        part->committed = next[i];
    }
    rc_status status = count ? rc_source_commit(rekey->source, offsets, count, wait, err) : RC_OK;
    free(offsets);
    return status;
}

static rc_status commit_all(struct rekey *rekey, struct rc_error *err) {
    int64_t *next = rc_calloc(rekey->n_parts ? rekey->n_parts : 1, sizeof *next);
    for (size_t i = 0; i < rekey->n_parts; i++)
        next[i] = rekey->parts[i].next;
    rc_status status = commit(rekey, next, rekey->n_parts, true, err);
    free(next);
    return status;
}

static rc_status on_assigned(void *ctx, struct rc_source_partition *partitions, size_t n, struct rc_error *err) {
    struct rekey *rekey = ctx;
    (void)err;
    for (size_t i = 0; i < n; i++) {
        struct progress *part = part_of(rekey, partitions[i].topic, partitions[i].partition);
        part->assigned = true;
        part->next = part->committed = -1; /* somebody else may have gone on in the meantime */
    }
    rekey->marked = rekey->paused = false;
    return RC_OK;
}

static void on_revoked(void *ctx, const struct rc_source_partition *partitions, size_t n, bool lost) {
    struct rekey *rekey = ctx;
    struct rc_error err;
    if (rekey->holding)
        rc_message_release(&rekey->held);
    rekey->holding = false;
    if (!lost && (rc_producer_flush(rekey->producer, DRAIN_MS, &err) != RC_OK || commit_all(rekey, &err) != RC_OK))
        rc_log(RC_LOG_WARN, "re-keying: not committed before a rebalance, some records will be copied twice",
               rc_f_err(&err));
    for (size_t i = 0; i < n; i++)
        part_of(rekey, partitions[i].topic, partitions[i].partition)->assigned = false;
    rekey->marked = false;
}

/* Marks what was handled so far, or commits what was marked when all of it is acknowledged. */
static rc_status checkpoint(struct rekey *rekey, bool due, struct rc_error *err) {
    if (rekey->marked && rc_producer_passed(rekey->producer, rekey->mark)) {
        rekey->marked = false;
        if (commit(rekey, rekey->marked_next, rekey->n_marked, false, err) != RC_OK)
            return RC_FAIL;
    }
    if (!due || rekey->marked)
        return RC_OK;
    rc_grow(&rekey->marked_next, &rekey->marked_capacity, rekey->n_parts, sizeof *rekey->marked_next);
    for (size_t i = 0; i < rekey->n_parts; i++)
        rekey->marked_next[i] = rekey->parts[i].next;
    rekey->n_marked = rekey->n_parts;
    rekey->mark = rc_producer_mark(rekey->producer);
    rekey->marked = true;
    return RC_OK;
}

/* ---- records --------------------------------------------------------------------------------------------------------- */

static rc_status copy(struct rekey *rekey, const struct target *target, const struct rc_message *message,
                      const struct rc_record *record, const struct rc_event *event, bool *again, struct rc_error *err) {
    int32_t n;
    rc_buf_reset(&rekey->key);
    if (rc_person_key_add(&rekey->key, event->namespace, event->person_id) != RC_OK)
        return rekey->options->dead(rekey->options->ctx, rekey->producer, message,
                                    "bad person: namespace and id are too long", err);
    if (rc_producer_partitions(rekey->producer, target->topic, ASK_MS, &n, err) != RC_OK) {
        *again = err->class == RC_CLASS_RETRY;
        return *again ? RC_OK : RC_FAIL;
    }
    struct rc_header headers[HEADERS_MAX + RC_ORIGIN_HEADERS];
    size_t n_headers = record->n_headers;
    for (size_t i = 0; i < n_headers; i++)
        headers[i] = record->headers[i];
    /* A record that was sent again from the dead letters stands for the one that it was. */
    struct rc_origin origin;
    struct rc_origin_text text;
    if (!rc_origin_find(headers, n_headers, &origin) || !rc_span_equal(origin.topic, rc_span_str(message->topic)))
        origin = (struct rc_origin){.topic = rc_span_str(message->topic),
                                    .partition = message->partition,
                                    .offset = message->offset,
                                    .attempts = 1};
    else
        n_headers = rc_origin_strip(headers, n_headers);
    origin.has_key = !message->null_key;
    origin.key = message->key;
    n_headers += rc_origin_headers(&origin, &text, headers + n_headers);
    struct rc_outgoing out = {.topic = target->topic,
                              .partition = rc_person_key_partition(rc_buf_span(&rekey->key), n),
                              .key = rc_buf_span(&rekey->key),
                              .value = message->value,
                              .timestamp_ms = message->timestamp_ms,
                              .headers = headers,
                              .n_headers = n_headers};
    rc_counter_inc(rekey->metrics.records);
    return rc_producer_send(rekey->producer, &out, err);
}

/* `*again`: the same record must come once more, later. */
static rc_status handle(struct rekey *rekey, const struct rc_message *message, bool *again, struct rc_error *err) {
    struct rc_header headers[HEADERS_MAX];
    size_t n_headers = rc_message_headers(message, headers, HEADERS_MAX);
    struct rc_record record = {.key = message->key,
                               .value = message->value,
                               .null_value = message->null_value,
                               .timestamp_ms = message->timestamp_ms,
                               .headers = headers,
                               .n_headers = n_headers < HEADERS_MAX ? n_headers : HEADERS_MAX,
                               .topic = message->topic,
                               .partition = message->partition,
                               .offset = message->offset};
    for (size_t i = 0; i < rekey->n_targets; i++) {
        struct target *target = &rekey->targets[i];
        if (strcmp(target->dataset->topic, message->topic))
            continue;
        struct rc_event event;
        struct rc_error bad;
        rc_arena_reset(&rekey->arena);
        rc_status status = RC_OK;
        switch (n_headers > HEADERS_MAX ? RC_BAD : rc_decode(target->decoder, &record, &rekey->arena, &event, &bad)) {
        case RC_DECODED: status = copy(rekey, target, message, &record, &event, again, err); break;
        case RC_IGNORED: rc_counter_inc(rekey->metrics.ignored); break;
        case RC_AGAIN:
            rc_log_limited(RC_LOG_WARN, "re-keying waits for the schema registry", rc_f_err(&bad));
            *again = true;
            return RC_OK;
        case RC_BAD:
            rc_counter_inc(rekey->metrics.dead);
            status = rekey->options->dead(rekey->options->ctx, rekey->producer, message,
                                          n_headers > HEADERS_MAX ? "other: over 256 headers" : bad.message, err);
            break;
        }
        if (status != RC_OK || *again)
            return status;
    }
    return RC_OK;
}

/* Handles a message (taken). It is held when it must come once more. */
static rc_status take(struct rekey *rekey, struct rc_message *message, struct rc_error *err) {
    bool again = false;
    rc_status status = handle(rekey, message, &again, err);
    rekey->holding = status == RC_OK && again;
    if (rekey->holding) {
        rekey->held = *message;
        rekey->again_ms = rc_clock_monotonic_ms() + AGAIN_MS;
        return RC_OK;
    }
    if (status == RC_OK)
        part_of(rekey, message->topic, message->partition)->next = message->offset + 1;
    rc_message_release(message);
    return status;
}

static rc_status set_paused(struct rekey *rekey, bool paused, struct rc_error *err) {
    if (rekey->paused == paused)
        return RC_OK;
    rekey->paused = paused;
    for (size_t i = 0; i < rekey->n_parts; i++) {
        struct progress *part = &rekey->parts[i];
        if (part->assigned && (paused ? rc_source_pause(rekey->source, part->topic, part->partition, err)
                                      : rc_source_resume(rekey->source, part->topic, part->partition, err)) != RC_OK)
            return RC_FAIL;
    }
    return RC_OK;
}

/* Whether records may be taken now. What lasts pauses the partitions: then polling keeps the group, and brings none. */
static rc_status may_read(struct rekey *rekey, bool *out, struct rc_error *err) {
    int64_t now = rc_clock_monotonic_ms();
    struct rc_message message = rekey->held;
    if (rekey->holding && now >= rekey->again_ms && take(rekey, &message, err) != RC_OK)
        return RC_FAIL;
    *out = !rekey->holding && !rc_producer_full(rekey->producer);
    if (*out)
        rekey->blocked_since_ms = 0;
    else if (rekey->blocked_since_ms == 0)
        rekey->blocked_since_ms = now;
    return set_paused(rekey, !*out && now - rekey->blocked_since_ms > BLOCKED_PAUSE_MS, err);
}

/* Reads until the queue is empty, nothing more may be read, or the stop is requested. */
static rc_status drain_source(struct rekey *rekey, struct rc_error *err) {
    while (!rc_stop_requested(rekey->options->stop)) {
        struct rc_message message;
        bool may;
        if (may_read(rekey, &may, err) != RC_OK)
            return RC_FAIL;
        if (!may && !rekey->paused)
            return RC_OK;
        switch (rc_source_poll(rekey->source, 0, &message, err)) {
        case RC_POLLED_NOTHING: return RC_OK;
        case RC_POLLED_EVENT: break;
        case RC_POLLED_ERROR:
            if (err->class != RC_CLASS_RETRY)
                return RC_FAIL;
            rc_log_limited(RC_LOG_WARN, "re-keying: reading fails, trying on", rc_f_err(err));
            break;
        case RC_POLLED_MESSAGE:
            if (take(rekey, &message, err) != RC_OK)
                return RC_FAIL;
            break;
        }
        if (rc_producer_poll(rekey->producer, 0, err) != RC_OK)
            return RC_FAIL;
    }
    return RC_OK;
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

static bool judge_where(void *ctx, const struct rc_event *event) {
    return rc_plan_dataset_where(ctx, event);
}

static rc_status open_targets(struct rekey *rekey, struct rc_error *err) {
    const struct rc_catalog *catalog = rekey->options->catalog;
    const struct rc_config *config = rekey->options->process->config;
    const char *url = rc_config_text(config, "registry.url");
    if (*url && rc_registry_open(url, 0, &rekey->registry, err) != RC_OK)
        return RC_FAIL;
    if (rc_plan_compile(catalog, &rekey->plan, err) != RC_OK)
        return RC_FAIL;
    rekey->targets = rc_calloc(catalog->n_datasets ? catalog->n_datasets : 1, sizeof *rekey->targets);
    for (size_t i = 0; i < catalog->n_datasets; i++) {
        const struct rc_dataset *dataset = &catalog->datasets[i];
        if (dataset->keyed)
            continue;
        struct rc_decoder_options options = {.dataset = (uint32_t)i,
                                             .registry = rekey->registry,
                                             .max_ahead_ms = RC_MAX_AHEAD_MS,
                                             .max_record_bytes = RC_MAX_RECORD_BYTES};
        if (dataset->where) {
            options.where = judge_where;
            options.where_ctx = rekey->plan;
            options.where_fields = rc_plan_dataset_where_fields(rekey->plan, (uint32_t)i);
        }
        struct target *target = &rekey->targets[rekey->n_targets];
        if (rc_decoder_new(dataset, &options, &target->decoder, err) != RC_OK)
            return RC_FAIL;
        target->dataset = dataset;
        target->topic = rc_rekey_topic(config, dataset);
        rekey->n_targets++;
    }
    return RC_OK;
}

static rc_status open_kafka(struct rekey *rekey, struct rc_error *err) {
    const struct rc_config *config = rekey->options->process->config;
    if (rc_loop_open(&rekey->loop, err) != RC_OK)
        return RC_FAIL;
    if (rekey->options->stop->fd >= 0)
        rc_loop_add(rekey->loop, rekey->options->stop->fd, POLLIN);
    struct rc_producer_options producer = {.name = "rekey", .wake_fd = rc_loop_fd(rekey->loop)};
    if (rc_producer_open(config, &producer, &rekey->producer, err) != RC_OK)
        return RC_FAIL;
    struct rc_buf group;
    rc_buf_init(&group, 512);
    (void)!rc_buf_printf(&group, "%s-rekey", rc_config_text(config, "group.prefix"));
    struct rc_source_options source = {.name = "rekey",
                                       .group = group.data,
                                       .instance = rekey->options->process->instance,
                                       .leave = &rekey->options->process->leave,
                                       .assigned = on_assigned,
                                       .revoked = on_revoked,
                                       .ctx = rekey,
                                       .wake_fd = rc_loop_fd(rekey->loop)};
    rc_status status = rc_source_open(config, &source, &rekey->source, err);
    rc_buf_deinit(&group);
    if (status != RC_OK)
        return status;
    const char **topics = rc_calloc(rekey->n_targets ? rekey->n_targets : 1, sizeof *topics);
    size_t n = 0;
    for (size_t i = 0; i < rekey->n_targets; i++) {
        size_t k = 0;
        while (k < n && strcmp(topics[k], rekey->targets[i].dataset->topic))
            k++;
        if (k == n)
            topics[n++] = rekey->targets[i].dataset->topic;
    }
    status = rc_source_subscribe(rekey->source, topics, n, err);
    free(topics);
    return status;
}

static rc_status loop(struct rekey *rekey, struct rc_error *err) {
    int64_t interval_ms = rc_config_ms(rekey->options->process->config, "checkpoint.interval");
    int64_t due_ms = rc_clock_wall_ms() + interval_ms;
    while (!rc_stop_requested(rekey->options->stop)) {
        if (drain_source(rekey, err) != RC_OK)
            return RC_FAIL;
        if (rc_producer_poll(rekey->producer, 0, err) != RC_OK)
            return RC_FAIL;
        int64_t now = rc_clock_wall_ms();
        bool due = now >= due_ms || due_ms > now + interval_ms; /* the second: the wall clock went back */
        if (due)
            due_ms = now + interval_ms;
        if (checkpoint(rekey, due, err) != RC_OK)
            return RC_FAIL;
        /* A standstill of ours means nothing here: no time is decided by this loop. */
        (void)!rc_loop_wait(rekey->loop, rekey->holding && now + AGAIN_MS < due_ms ? now + AGAIN_MS : due_ms);
    }
    if (rc_producer_flush(rekey->producer, DRAIN_MS, err) != RC_OK)
        return RC_FAIL;
    return commit_all(rekey, err);
}

rc_status rc_rekey_run(const struct rc_rekey_options *options, struct rc_error *err) {
    struct rekey rekey = {.options = options};
    struct rc_metrics *metrics = options->process->metrics;
    struct rekey_metrics *m = &rekey.metrics;
    REKEY_METRICS(RC_METRIC_REGISTER)
    rc_arena_init(&rekey.arena, ARENA_BYTES);
    rc_buf_init(&rekey.key, KEY_MAX);
    rc_status status = rc_rekey_ensure_topics(options->process->config, options->catalog, options->n_partitions, err);
    if (status == RC_OK)
        status = open_targets(&rekey, err);
    if (status == RC_OK)
        status = open_kafka(&rekey, err);
    if (status == RC_OK)
        status = loop(&rekey, err);
    if (status != RC_OK)
        (void)rc_error_prefix(err, "re-keying");
    if (rekey.holding)
        rc_message_release(&rekey.held);
    rekey.holding = false;
    if (rekey.source)
        rc_source_close(rekey.source);
    if (rekey.producer)
        rc_producer_close(rekey.producer);
    if (rekey.loop)
        rc_loop_close(rekey.loop);
    for (size_t i = 0; i < rekey.n_targets; i++) {
        rc_decoder_free(rekey.targets[i].decoder);
        free(rekey.targets[i].topic);
    }
    for (size_t i = 0; i < rekey.n_parts; i++)
        free(rekey.parts[i].topic);
    free(rekey.targets);
    free(rekey.parts);
    free(rekey.marked_next);
    rc_registry_close(rekey.registry);
    rc_plan_free(rekey.plan);
    rc_arena_deinit(&rekey.arena);
    rc_buf_deinit(&rekey.key);
    return status;
}
