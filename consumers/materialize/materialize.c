/* The materialize consumer: opens everything, turns, closes everything in reverse. */
#include "consumers/materialize/materialize.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/materialize/stage.h"
#include "consumers/shared/delivery.h"
#include "consumers/shared/payload.h"

#define MESSAGES_A_TURN 2000
#define BUSY_MESSAGES 500 /* so many in one turn, and more are likely to follow, for BUSY_MS */
#define BUSY_MS 200
#define SWEEP_BUDGET_MS 5
#define GROUPS_CHECK_MS 1000
#define PAUSE_AFTER_MS 500
#define DRAIN_MS 20000
#define RETRY_MS 1000

struct part *rc_stage_part(const struct stage *stage, int32_t number) {
    for (size_t i = 0; i < stage->n_parts; i++)
        if (stage->parts[i]->number == number)
            return stage->parts[i];
    return NULL;
}

rc_status rc_stage_admin(struct stage *stage, struct rc_error *err) {
    return stage->admin ? RC_OK : rc_admin_open(stage->config, &stage->admin, err);
}

static void grow_zeroed(void *array, size_t old, size_t n, size_t size) {
    void **at = array;
    *at = rc_realloc(*at, n * size);
    memset((char *)*at + old * size, 0, (n - old) * size);
}

void rc_stage_grow_tallies(struct stage *stage) {
    size_t old = stage->n_tallies, n = rc_names_count(stage->audiences);
    if (n <= old)
        return;
    n = n < 2 * old ? 2 * old : n;
    grow_zeroed(&stage->all, old, n, sizeof *stage->all);
    grow_zeroed(&stage->last_change_ms, old, n, sizeof *stage->last_change_ms);
    grow_zeroed(&stage->own_topics, old, n, sizeof *stage->own_topics);
    grow_zeroed(&stage->members, old, n, sizeof *stage->members);
    for (size_t i = 0; i < stage->n_parts; i++) {
        grow_zeroed(&stage->parts[i]->here, old, n, sizeof *stage->parts[i]->here);
        grow_zeroed(&stage->parts[i]->waits, old, n, sizeof *stage->parts[i]->waits);
        grow_zeroed(&stage->parts[i]->released, old, n, sizeof *stage->parts[i]->released);
        grow_zeroed(&stage->parts[i]->published_ms, old, n, sizeof *stage->parts[i]->published_ms);
    }
    stage->n_tallies = n;
}

void rc_stage_changed(struct stage *stage, uint32_t audience, int64_t told_ms) {
    if (told_ms > stage->last_change_ms[audience])
        stage->last_change_ms[audience] = told_ms;
}

/* The numbers of the own partitions; owned by the caller. */
static int32_t *part_numbers(const struct stage *stage) {
    int32_t *numbers = rc_calloc(stage->n_parts, sizeof *numbers);
    for (size_t i = 0; i < stage->n_parts; i++)
        numbers[i] = stage->parts[i]->number;
    return numbers;
}

void rc_stage_set_share(struct stage *stage) {
    if (!stage->rules)
        return;
    int32_t *numbers = part_numbers(stage);
    rc_audience_rules_set_share(stage->rules, numbers, stage->n_parts, stage->n_partitions);
    free(numbers);
    rc_publish_look(stage);
}

/* ---- opening --------------------------------------------------------------------------------------------------------------------- */

/* Runs `step` until it works, the process is told to stop, or trying again is of no use. */
static rc_status retry(struct stage *stage, rc_status (*step)(struct stage *, struct rc_error *), const char *what,
                       struct rc_error *err) {
    while (step(stage, err)) {
        if (err->class != RC_CLASS_RETRY)
            return RC_FAIL;
        rc_log_limited(RC_LOG_WARN, "not possible yet, trying again", rc_f_str("step", what), rc_f_err(err));
        if (rc_stop_wait(stage->process->stop, RETRY_MS))
            return RC_FAIL;
    }
    return RC_OK;
}

static rc_status find_topics(struct stage *stage, struct rc_error *err) {
    const char **topics = rc_calloc(stage->catalog->n_datasets, sizeof *topics);
    size_t n = 0;
    /* The originals of re-keyed topics may have any number of partitions. */
    for (size_t i = 0; i < stage->catalog->n_datasets; i++) {
        if (stage->catalog->datasets[i].keyed)
            topics[n++] = stage->catalog->datasets[i].topic;
    }
    rc_status status = rc_topics_count(stage->admin, topics, n, &stage->n_partitions, err);
    free(topics);
    free(stage->cluster);
    stage->cluster = NULL;
    return status || rc_topics_ensure_own(stage->admin, stage->n_partitions, err) ||
                   rc_topic_partitions(stage->admin, stage->segments_topic, 10000, &stage->n_partitions, err) ||
                   rc_admin_cluster_id(stage->admin, 10000, &stage->cluster, err)
               ? RC_FAIL
               : RC_OK;
}

static rc_status open_store(struct stage *stage, struct rc_error *err) {
    struct rc_buf path;
    rc_buf_init(&path, 4096);
    (void)rc_buf_printf(&path, "%s/%s", rc_config_text(stage->config, "state.dir"), RC_MATERIALIZE_ROLE);
    struct rc_store_options options = {.path = path.data,
                                       .kind = RC_MATERIALIZE_ROLE,
                                       .format = RC_MATERIALIZE_FORMAT,
                                       .cache_bytes = (size_t)rc_config_bytes(stage->config, "state.memory_bytes") / 4};
    rc_status status = rc_store_open(&options, &stage->store, NULL, err);
    rc_buf_deinit(&path);
    return status;
}

static rc_status open_schema(struct stage *stage, struct rc_error *err) {
    struct rc_registry *registry = NULL;
    stage->confluent = rc_payload_confluent(stage->config);
    if (stage->confluent && rc_registry_open(rc_config_text(stage->config, "registry.url"), 0, &registry, err))
        return RC_FAIL;
    rc_status status = rc_payload_schema_id(stage->config, registry, stage->memberships_topic, RC_MEMBERSHIP_AUDIENCE,
                                            stage->process->stop, &stage->schema_id, err);
    rc_registry_close(registry);
    return status;
}

static rc_status open_group(struct stage *stage, struct rc_error *err) {
    struct rc_buf group;
    rc_buf_init(&group, 1024);
    (void)rc_buf_printf(&group, "%s-" RC_MATERIALIZE_ROLE, rc_config_text(stage->config, "group.prefix"));
    struct rc_source_options options = {.name = RC_MATERIALIZE_ROLE,
                                        .group = group.data,
                                        .instance = stage->process->instance,
                                        .leave = &stage->process->leave,
                                        .assigned = rc_takeover_assigned,
                                        .revoked = rc_takeover_revoked,
                                        .ctx = stage,
                                        .wake_fd = rc_loop_fd(stage->loop)};
    const char *topics[] = {stage->segments_topic};
    rc_status status = rc_source_open(stage->config, &options, &stage->source, err);
    rc_buf_deinit(&group);
    return status || rc_source_subscribe(stage->source, topics, 1, err) ? RC_FAIL : RC_OK;
}

static rc_status open_all(struct stage *stage, struct rc_error *err) {
    struct rc_catalog *catalog = NULL;
    struct rc_producer_options producer = {.name = RC_MATERIALIZE_ROLE, .wake_fd = -1};
    if (rc_loop_open(&stage->loop, err))
        return RC_FAIL;
    rc_answers_open(stage);
    if (rc_stage_admin(stage, err) || open_store(stage, err) || rc_rules_load(stage, err) ||
        rc_definitions_open(stage->process, RC_MATERIALIZE_ROLE, stage->loop, &stage->definitions, err) ||
        rc_definitions_poll(stage->definitions, &catalog, err))
        return RC_FAIL;
    stage->catalog = catalog;
    producer.wake_fd = rc_loop_fd(stage->loop);
    if (retry(stage, find_topics, "topics", err) ||
        rc_delivery_open(stage->process, RC_MATERIALIZE_ROLE, &producer, &stage->producer, err) ||
        open_schema(stage, err) ||
        rc_announcer_open(stage->process, RC_MATERIALIZE_ROLE, stage->producer, &stage->announcer, err))
        return RC_FAIL;
    rc_guard_open(stage);
    if (rc_rules_adopt(stage, NULL, err))
        return RC_FAIL;
    return open_group(stage, err);
}

/* ---- turning --------------------------------------------------------------------------------------------------------------------- */

rc_status rc_stage_follow_definitions(struct stage *stage, struct rc_error *err) {
    struct rc_catalog *catalog = NULL;
    if (rc_definitions_poll(stage->definitions, &catalog, err))
        return RC_FAIL;
    int64_t wall = rc_clock_wall_ms();
    if (catalog || stage->words != rc_rules_words(stage) || wall >= stage->book.next_ms)
        return rc_rules_adopt(stage, catalog, err);
    if (wall >= stage->book.due_ms && rc_rulebook_tick(&stage->book, wall))
        rc_publish_look(stage);
    return RC_OK;
}

/* A producer that stays full pauses the partitions: the group lives on as long as we poll. */
static rc_status balance(struct stage *stage, int64_t monotonic_ms, struct rc_error *err) {
    bool full = rc_producer_full(stage->producer);
    if (!full)
        stage->full_since_ms = 0;
    else if (!stage->full_since_ms)
        stage->full_since_ms = monotonic_ms;
    stage->view_stale |= full; /* the lag grows */
    bool pause = full && monotonic_ms - stage->full_since_ms >= PAUSE_AFTER_MS;
    for (size_t i = 0; i < stage->n_parts; i++) {
        struct part *part = stage->parts[i];
        rc_status status = RC_OK;
        if (pause && !part->paused)
            status = rc_source_pause(stage->source, stage->segments_topic, part->number, err);
        else if (!full && part->paused)
            status = rc_source_resume(stage->source, stage->segments_topic, part->number, err);
        if (status)
            return RC_FAIL;
        part->paused = full && (part->paused || pause);
    }
    return RC_OK;
}

/* Takes messages until the queue is empty (`*drained`), the producer is full, or it is time for other work. */
static rc_status read_messages(struct stage *stage, bool *drained, struct rc_error *err) {
    struct rc_message message;
    *drained = false;
    for (int i = 0; i < MESSAGES_A_TURN; i++) {
        if (i == BUSY_MESSAGES)
            stage->busy_until_ms = rc_clock_monotonic_ms() + BUSY_MS;
        /* Full for less than PAUSE_AFTER_MS: leave the queue alone. Later the partitions are paused, and polling keeps the group. */
        if (rc_producer_full(stage->producer) && !(stage->n_parts && stage->parts[0]->paused))
            return RC_OK;
        switch (rc_source_poll(stage->source, 0, &message, err)) {
        case RC_POLLED_NOTHING: *drained = true; return RC_OK;
        case RC_POLLED_EVENT: stage->view_stale = true; break; /* the end of a partition, perhaps */
        case RC_POLLED_MESSAGE: {
            struct part *part = message.ctx;
            rc_status status = rc_input_take(part, &message, err);
            rc_message_release(&message);
            if (status)
                return RC_FAIL;
            break;
        }
        case RC_POLLED_ERROR:
            if (err->class != RC_CLASS_RETRY)
                return RC_FAIL;
            rc_log_limited(RC_LOG_WARN, "broker trouble, going on", rc_f_err(err));
            break;
        }
    }
    return RC_OK;
}

static rc_status announce(struct stage *stage, struct rc_error *err) {
    if (!stage->announce)
        return RC_OK;
    int32_t *numbers = part_numbers(stage);
    rc_status status = rc_announcer_tell(stage->announcer, numbers, stage->n_parts, err);
    free(numbers);
    stage->announce = false;
    return status;
}

static bool ready(const struct stage *stage) {
    for (size_t i = 0; i < stage->n_parts; i++)
        if (stage->parts[i]->phase != PART_LIVE)
            return false;
    return stage->assigned;
}

/* One turn of the loop; `*idle` when nothing is left to do until something happens or `*until_ms` (wall clock). */
static rc_status turn(struct stage *stage, bool *idle, int64_t *until_ms, struct rc_error *err) {
    int64_t now = rc_clock_monotonic_ms(), wall = rc_clock_wall_ms();
    bool drained = false, sweeping = false, saving = false;
    int64_t until = now + RC_LOOP_NAP_MS * 10;
    if (rc_producer_poll(stage->producer, 0, err) || rc_stage_follow_definitions(stage, err) ||
        balance(stage, now, err) || read_messages(stage, &drained, err))
        return RC_FAIL;
    for (size_t i = 0; i < stage->n_parts; i++) {
        struct part *part = stage->parts[i];
        if ((drained || part->next >= part->boundary) && rc_takeover_progress(part, part->next, err))
            return RC_FAIL;
        if (rc_input_close_old_groups(part, now, err) || rc_sweep_turn(part, SWEEP_BUDGET_MS, err) ||
            rc_publish_turn(part, SWEEP_BUDGET_MS, err) || rc_guard_count(part, SWEEP_BUDGET_MS, err) ||
            rc_checkpoint_bury(part, wall, err))
            return RC_FAIL;
        sweeping |= part->phase == PART_LIVE && rc_sweep_pending(part) && part->sweep_may_start;
        sweeping |= rc_publish_running(part) || part->count.state == COUNT_RUNNING;
        if (part->look && part->next_fill_ms > now && part->next_fill_ms < until)
            until = part->next_fill_ms;
        if (part->phase == PART_LIVE && part->next_burial_ms > wall && part->next_burial_ms - wall < until - now)
            until = now + part->next_burial_ms - wall;
    }
    if (rc_checkpoint_turn(stage, rc_clock_monotonic_ms(), &saving, err))
        return RC_FAIL;
    for (size_t i = 0; i < stage->n_parts; i++)
        if (rc_checkpoint_due(stage->parts[i]) < until)
            until = rc_checkpoint_due(stage->parts[i]);
    rc_questions_turn(stage->questions);
    if (rc_guard_turn(stage, now, err) || announce(stage, err))
        return RC_FAIL;
    if (rc_guard_busy(stage) && until > now + RC_GUARD_LOOK_MS)
        until = now + RC_GUARD_LOOK_MS;
    bool all_live = ready(stage);
    rc_process_set_ready(stage->process, RC_MATERIALIZE_ROLE, all_live);
    if (all_live) {
        rc_admin_close(stage->admin);
        stage->admin = NULL;
    }
    rc_report_turn(stage, now);
    if (stage->view_stale && until > now + 200)
        until = now + 200;
    bool full = rc_producer_full(stage->producer);
    *idle = !saving && (drained || full) && !(sweeping && !full);
    *until_ms = wall + (until > now ? until - now : 1);
    if (rc_definitions_due(stage->definitions) < *until_ms)
        *until_ms = rc_definitions_due(stage->definitions);
    if (stage->book.next_ms < *until_ms)
        *until_ms = stage->book.next_ms;
    if (stage->book.due_ms < *until_ms)
        *until_ms = stage->book.due_ms;
    return RC_OK;
}

static rc_status work(struct stage *stage, struct rc_error *err) {
    while (!rc_stop_requested(stage->process->stop)) {
        bool idle = false;
        int64_t until_ms = 0;
        if (turn(stage, &idle, &until_ms, err))
            return RC_FAIL;
        if (!rc_loop_wait(stage->loop, idle ? until_ms : 0))
            rc_source_stood_still(stage->source);
    }
    return RC_OK;
}

/* ---- closing --------------------------------------------------------------------------------------------------------------------- */

static void close_all(struct stage *stage, bool in_order) {
    struct rc_error err;
    rc_process_set_ready(stage->process, RC_MATERIALIZE_ROLE, false);
    rc_questions_close(stage->questions);
    stage->failed |= !in_order;     /* what is half done must not be saved */
    rc_source_close(stage->source); /* gives the partitions back: revoked saves them */
    rc_guard_close(stage);
    rc_announcer_close(stage->announcer);
    if (stage->producer && rc_producer_flush(stage->producer, DRAIN_MS, &err))
        rc_log(RC_LOG_WARN, "not everything was acknowledged before the end", rc_f_err(&err));
    rc_producer_close(stage->producer);
    rc_definitions_close(stage->definitions);
    rc_report_close(stage);
    rc_rules_free(stage);
    rc_store_close(stage->store);
    rc_admin_close(stage->admin);
    rc_loop_close(stage->loop);
    free(stage->parts);
    free(stage->all);
    free(stage->last_change_ms);
    rc_audience_person_deinit(&stage->person);
    rc_buf_deinit(&stage->key);
    rc_buf_deinit(&stage->value);
    rc_buf_deinit(&stage->kept.key);
    rc_buf_deinit(&stage->kept.value);
    rc_buf_deinit(&stage->scratch);
    free(stage->segments_topic);
    free(stage->memberships_topic);
    free(stage->deadletters_topic);
    free(stage->cluster);
    free(stage);
}

rc_status rc_materialize_run(struct rc_process *process, struct rc_error *err) {
    struct stage *stage = rc_calloc(1, sizeof *stage);
    stage->process = process;
    stage->config = process->config;
    stage->segments_topic = rc_topic_name(stage->config, "segments");
    stage->memberships_topic = rc_topic_name(stage->config, "memberships");
    stage->deadletters_topic = rc_topic_name(stage->config, "deadletters");
    stage->interval_ms = rc_delivery_interval_ms(stage->config);
    stage->exactly_once = rc_delivery_exactly_once(stage->config);
    stage->exit_retention_ms = rc_config_ms(stage->config, "memberships.exit_retention");
    rc_audience_person_init(&stage->person);
    rc_buf_init(&stage->key, 1u << 20);
    rc_buf_init(&stage->value, 8u << 20);
    rc_buf_init(&stage->kept.key, 1u << 20);
    rc_buf_init(&stage->kept.value, 8u << 20);
    rc_buf_init(&stage->scratch, 1u << 20);
    rc_report_open(stage);
    rc_status status = open_all(stage, err);
    if (status == RC_OK)
        status = work(stage, err);
    close_all(stage, status == RC_OK);
    /* Told to stop while waiting for the broker: that is an end in order. What is not saved is done again. */
    return status != RC_OK && rc_stop_requested(process->stop) && err->class == RC_CLASS_RETRY ? RC_OK : status;
}
