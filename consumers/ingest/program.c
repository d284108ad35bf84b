/* Definitions in use: a catalog compiled to a plan, decoders and topics; how a running process goes over to another
 * one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "consumers/ingest/internal.h"
#include "consumers/shared/deadletter.h"
#include "producers/rekey.h"
#include "segment/decoders.h"

static char *input_topic(const struct ingest *ingest, const struct rc_dataset *dataset) {
    if (dataset->keyed)
        return rc_strdup(dataset->topic);
    char name[128];
    snprintf(name, sizeof name, "events.%s", dataset->id);
    return rc_topic_name(ingest->config, name);
}

static void add_routes(struct ingest *ingest, struct program *program) {
    size_t capacity = 0;
    for (uint32_t d = 0; d < program->catalog->n_datasets; d++) {
        char *topic = input_topic(ingest, &program->catalog->datasets[d]);
        struct route *route = (struct route *)(uintptr_t)rc_ingest_program_route(program, topic);
        if (route) {
            free(topic);
        } else {
            rc_grow(&program->routes, &capacity, program->n_routes + 1, sizeof *program->routes);
            route = &program->routes[program->n_routes++];
            *route = (struct route){.topic = topic};
        }
        route->datasets = rc_realloc(route->datasets, (route->n + 1) * sizeof *route->datasets);
        route->datasets[route->n++] = d;
        program->rekeys |= !program->catalog->datasets[d].keyed;
    }
}

/* Every topic that is read or written is there, with one partition count. */
static rc_status check_topics(struct ingest *ingest, struct program *program, struct rc_error *err) {
    size_t n = program->catalog->n_datasets;
    const char **keyed = rc_calloc(n + 1, sizeof *keyed);
    size_t n_keyed = 0;
    for (size_t d = 0; d < n; d++)
        if (program->catalog->datasets[d].keyed)
            keyed[n_keyed++] = program->catalog->datasets[d].topic;
    rc_status status = rc_topics_count(ingest->admin, keyed, n_keyed, &program->n_partitions, err);
    free(keyed);
    if (status == RC_OK)
        status = rc_topics_ensure_own(ingest->admin, program->n_partitions, err);
    for (size_t i = 0; status == RC_OK && i < program->n_routes; i++) {
        struct rc_topic_spec spec = {.name = program->routes[i].topic, .partitions = program->n_partitions};
        status = rc_topic_ensure(ingest->admin, &spec, NULL, err);
    }
    /* The originals of re-keyed topics may have any number of partitions. */
    for (size_t d = 0; status == RC_OK && d < n; d++) {
        struct rc_topic_spec spec = {.name = program->catalog->datasets[d].topic};
        if (!program->catalog->datasets[d].keyed)
            status = rc_topic_ensure(ingest->admin, &spec, NULL, err);
    }
    if (status == RC_OK)
        status =
            rc_topic_partitions(ingest->admin, ingest->deadletters_topic, 15000, &ingest->deadletter_partitions, err);
    return status;
}

rc_status rc_ingest_program_new(struct ingest *ingest, struct rc_catalog *catalog, struct program **out,
                                struct rc_error *err) {
    struct program *program = rc_calloc(1, sizeof *program);
    program->catalog = catalog;
    add_routes(ingest, program);
    program->meanings = rc_ingest_meanings(catalog);
    program->versions = rc_ingest_versions(catalog);
    rc_status status = rc_plan_compile(catalog, &program->plan, err);
    struct rc_decoder_options decoding = {
        .registry = ingest->registry, .max_ahead_ms = RC_MAX_AHEAD_MS, .max_record_bytes = RC_MAX_RECORD_BYTES};
    if (status == RC_OK)
        status = rc_plan_decoders_new(program->plan, catalog, &decoding, &program->decoders, err);
    if (status == RC_OK)
        status = check_topics(ingest, program, err);
    rc_admin_rest(ingest->admin);
    if (status != RC_OK) {
        rc_ingest_program_free(program);
        return RC_FAIL;
    }
    *out = program;
    return RC_OK;
}

void rc_ingest_program_free(struct program *program) {
    if (!program)
        return;
    rc_plan_decoders_free(program->decoders, program->catalog);
    rc_plan_free(program->plan);
    rc_catalog_free(program->catalog);
    free(program->meanings);
    for (size_t i = 0; i < program->n_routes; i++) {
        free(program->routes[i].topic);
        free(program->routes[i].datasets);
    }
    free(program->routes);
    free(program);
}

const struct route *rc_ingest_program_route(const struct program *program, const char *topic) {
    for (size_t i = 0; i < program->n_routes; i++)
        if (strcmp(program->routes[i].topic, topic) == 0)
            return &program->routes[i];
    return NULL;
}

/* ---- re-keying ---- */

/* In the re-keying thread, with its own producer; ingest->metrics is the main thread's. */
static rc_status rekey_dead(void *ctx, struct rc_producer *producer, const struct rc_message *message, const char *text,
                            struct rc_error *err) {
    struct ingest *ingest = ctx;
    const char *detail;
    struct rc_label label = {.name = "reason", .value = rc_reason_text(rc_deadletter_reason(text, &detail))};
    rc_counter_inc(rc_counter_register(ingest->process->metrics, "rollcall_ingest_dead_letters_total",
                                       "Records to the dead letters", &label, 1));
    return rc_deadletter_send(producer, ingest->deadletters_topic, ingest->deadletter_partitions, message, text, err);
}

static void *rekey(void *arg) {
    struct ingest *ingest = arg;
    struct rc_rekey_options options = {.process = ingest->process,
                                       .catalog = ingest->program->catalog,
                                       .n_partitions = ingest->program->n_partitions,
                                       .dead = rekey_dead,
                                       .ctx = ingest,
                                       .stop = &ingest->rekey.stop};
    while (!rc_stop_requested(&ingest->rekey.stop)) {
        struct rc_error err;
        if (rc_rekey_run(&options, &err) == RC_OK)
            continue;
        if (err.class == RC_CLASS_RETRY) {
            rc_log_limited(RC_LOG_WARN, "re-keying is interrupted, trying again", rc_f_err(&err));
            rc_stop_wait(&ingest->rekey.stop, 1000);
            continue;
        }
        ingest->rekey.failure = err;
        atomic_store(&ingest->rekey.failed, true);
        rc_loop_wake(ingest->loop);
        break;
    }
    return NULL;
}

void rc_ingest_rekey_stop(struct ingest *ingest) {
    if (!ingest->rekey.running)
        return;
    rc_stop_request(&ingest->rekey.stop);
    pthread_join(ingest->rekey.thread, NULL);
    rc_stop_deinit(&ingest->rekey.stop);
    ingest->rekey.running = false;
}

static rc_status rekey_start(struct ingest *ingest, struct rc_error *err) {
    if (!ingest->program->rekeys)
        return RC_OK;
    if (rc_stop_init(&ingest->rekey.stop, err) != RC_OK)
        return RC_FAIL;
    atomic_store(&ingest->rekey.stop.requested, false);
    if (pthread_create(&ingest->rekey.thread, NULL, rekey, ingest) != 0) {
        rc_stop_deinit(&ingest->rekey.stop);
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "no thread for re-keying");
    }
    ingest->rekey.running = true;
    return RC_OK;
}

/* ---- going over ---- */

static bool same_topics(const struct program *a, const struct program *b) {
    if (!a || a->n_routes != b->n_routes)
        return false;
    for (size_t i = 0; i < b->n_routes; i++)
        if (!rc_ingest_program_route(a, b->routes[i].topic))
            return false;
    return true;
}

rc_status rc_ingest_program_adopt(struct ingest *ingest, struct program *program, struct rc_error *err) {
    struct program *old = ingest->program;
    bool resubscribe = !same_topics(old, program);
    rc_ingest_rekey_stop(ingest);
    ingest->program = program;
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        if (ingest->lanes[i]->population && rc_ingest_compose(ingest->lanes[i], err) != RC_OK)
            return RC_FAIL;
    }
    rc_ingest_program_free(old);
    if (rekey_start(ingest, err) != RC_OK)
        return RC_FAIL;
    rc_log(RC_LOG_INFO, "definitions in use", rc_f_int("datasets", (int64_t)program->catalog->n_datasets),
           rc_f_int("segments", (int64_t)program->catalog->n_segments), rc_f_int("partitions", program->n_partitions));
    if (!resubscribe)
        return RC_OK;
    const char **topics = rc_calloc(program->n_routes + 1, sizeof *topics);
    for (size_t i = 0; i < program->n_routes; i++)
        topics[i] = program->routes[i].topic;
    ingest->assigned = false;
    rc_status status = rc_source_subscribe(ingest->source, topics, program->n_routes, err);
    free(topics);
    return status;
}

rc_status rc_ingest_program_follow(struct ingest *ingest, struct rc_error *err) {
    struct rc_catalog *catalog;
    for (size_t i = 0; i < ingest->n_lanes; i++) /* what a checkpoint under way says must stay true until it is done */
        if (rc_ingest_switch_pending(ingest->lanes[i]))
            return RC_OK;
    if (rc_definitions_poll(ingest->definitions, &catalog, err) != RC_OK)
        return RC_FAIL;
    if (!catalog)
        return RC_OK;
    struct rc_error why;
    struct program *program;
    rc_status status = RC_OK;
    if (ingest->program && ingest->program->catalog->n_datasets > 0)
        status = rc_catalog_compatible(ingest->program->catalog, catalog, &why);
    if (status != RC_OK)
        rc_catalog_free(catalog);
    else
        status = rc_ingest_program_new(ingest, catalog, &program, &why);
    if (status != RC_OK) {
        if (!ingest->program) {
            *err = why;
            return RC_FAIL;
        }
        rc_log(RC_LOG_ERROR, "new definitions cannot be used, the old ones stay", rc_f_err(&why));
        free(ingest->problem);
        ingest->problem = rc_strdup(why.message);
        return RC_OK;
    }
    free(ingest->problem);
    ingest->problem = NULL;
    return rc_ingest_program_adopt(ingest, program, err);
}
