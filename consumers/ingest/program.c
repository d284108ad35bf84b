/* Definitions in use: a catalog compiled to a plan, decoders and topics; how a running process goes over to another
 * one. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
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

/* ---- how far back a segment's answers go ---- */

const struct segment_note *rc_ingest_note_of(const struct ingest *ingest, const char *id) {
    for (size_t i = 0; i < ingest->n_notes; i++)
        if (strcmp(ingest->notes[i].id, id) == 0)
            return &ingest->notes[i];
    return NULL;
}

static void note(struct ingest *ingest, const char *id, int version, int64_t until_ms) {
    struct segment_note *found = (struct segment_note *)(uintptr_t)rc_ingest_note_of(ingest, id);
    if (!found) {
        rc_grow(&ingest->notes, &ingest->notes_capacity, ingest->n_notes + 1, sizeof *ingest->notes);
        found = &ingest->notes[ingest->n_notes++];
        found->id = rc_strdup(id);
    }
    found->version = version;
    found->incomplete_until_ms = until_ms;
}

/* True when something of the segment's datasets has been read already, so that a new segment has missed it. */
static bool has_read(const struct ingest *ingest, const struct program *program, const struct rc_segment *segment) {
    for (size_t d = 0; d < segment->n_datasets; d++)
        for (size_t r = 0; r < program->n_routes; r++)
            for (size_t i = 0; i < program->routes[r].n; i++) {
                if (program->routes[r].datasets[i] != segment->datasets[d])
                    continue;
                for (size_t l = 0; l < ingest->n_lanes; l++)
                    for (size_t k = 0; k < ingest->lanes[l]->n_inputs; k++)
                        if (strcmp(ingest->lanes[l]->inputs[k]->topic, program->routes[r].topic) == 0 &&
                            ingest->lanes[l]->inputs[k]->position > 0)
                            return true;
            }
    return false;
}

static void take_notes(struct ingest *ingest, const struct program *program, bool had_state) {
    int64_t now = rc_clock_wall_ms();
    for (uint32_t s = 0; s < program->catalog->n_segments; s++) {
        const struct rc_segment *segment = &program->catalog->segments[s];
        const struct segment_note *known = rc_ingest_note_of(ingest, segment->id);
        if (known && known->version == segment->version)
            continue;
        int64_t until = 0;
        if (had_state || has_read(ingest, program, segment)) {
            int64_t lookback = rc_plan_lookback_ms(program->plan, s);
            until = lookback < 0 ? INT64_MAX : now + lookback;
        }
        note(ingest, segment->id, segment->version, until);
    }
}

void rc_ingest_notes_put(const struct ingest *ingest, struct rc_store_batch *batch) {
    json_t *json = json_object();
    for (size_t i = 0; i < ingest->n_notes; i++)
        json_object_set_new(json, ingest->notes[i].id,
                            json_pack("{s:i, s:I}", "version", ingest->notes[i].version, "incomplete_until_ms",
                                      (json_int_t)ingest->notes[i].incomplete_until_ms));
    json_object_set_new(json, "cluster", json_string(ingest->cluster));
    char *text = json_dumps(json, JSON_COMPACT);
    rc_store_put(batch, RC_STORE_META, -1, rc_span_str("segments"), rc_span_str(text));
    free(text);
    json_decref(json);
}

rc_status rc_ingest_notes_load(struct ingest *ingest, struct rc_error *err) {
    struct rc_buf text;
    rc_buf_init(&text, (size_t)16 << 20);
    bool found;
    rc_status status = rc_store_get(ingest->store, RC_STORE_META, -1, rc_span_str("segments"), &text, &found, err);
    json_t *json = status == RC_OK && found ? json_loadb(text.data, text.len, 0, NULL) : NULL;
    const char *cluster = json_string_value(json_object_get(json, "cluster"));
    if (cluster && strcmp(cluster, ingest->cluster) == 0) {
        const char *id;
        json_t *one;
        json_object_foreach(json, id, one) {
            if (json_is_object(one))
                note(ingest, id, (int)json_integer_value(json_object_get(one, "version")),
                     json_integer_value(json_object_get(one, "incomplete_until_ms")));
        }
    }
    json_decref(json);
    rc_buf_deinit(&text);
    return status;
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

/* Whether the store had state before this start: then segments that it does not know have missed what came before. */
static bool visit_any(void *ctx, struct rc_span key, struct rc_span value) {
    (void)key, (void)value;
    *(bool *)ctx = true;
    return false;
}

rc_status rc_ingest_program_adopt(struct ingest *ingest, struct program *program, struct rc_error *err) {
    struct program *old = ingest->program;
    bool had_state = false;
    for (int32_t p = 0; !old && !had_state && p < program->n_partitions; p++)
        if (rc_store_each(ingest->store, RC_STORE_PERSON, p, rc_span_of("", 0), visit_any, &had_state, err) != RC_OK)
            return RC_FAIL;
    take_notes(ingest, program, had_state && ingest->n_notes > 0);
    bool resubscribe = !same_topics(old, program);
    rc_ingest_rekey_stop(ingest);
    ingest->program = program;
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        struct lane *lane = ingest->lanes[i];
        if (lane->population) {
            rc_population_replan(lane->population, program->plan);
            lane->dirty = true;
        }
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
