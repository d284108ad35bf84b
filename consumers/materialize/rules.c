/* The catalog becomes rules; and what must outlive a definition, a restart or a crash is kept in the store: the numbers of names, the
 * generation of the rules, and how an audience ends when its definition is gone. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/timezone.h"
#include "consumers/materialize/stage.h"

#define META_RULES "rules"
#define META_SIGNAL "name/signal/"
#define META_AUDIENCE "name/audience/"
#define META_MEMORY "audience/"
#define RETRY_MS 1000

/* ---- names --------------------------------------------------------------------------------------------------------------------- */

struct name_reader {
    struct rc_names *names;
    bool broken; /* the numbers have a gap */
};

static bool read_name(void *ctx, struct rc_span key, struct rc_span value) {
    struct name_reader *reader = ctx;
    uint32_t number = 0;
    if (key.len < 8 || sscanf(key.data + key.len - 8, "%8" SCNx32, &number) != 1 ||
        number != rc_names_count(reader->names) || rc_names_intern(reader->names, value) != number)
        reader->broken = true;
    return !reader->broken;
}

static rc_status load_names(struct stage *stage, const char *prefix, struct rc_names *names, uint32_t *saved,
                            struct rc_error *err) {
    struct name_reader reader = {.names = names};
    if (rc_store_each(stage->store, RC_STORE_META, RC_MATERIALIZE_GLOBAL, rc_span_str(prefix), read_name, &reader, err))
        return RC_FAIL;
    if (reader.broken)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL,
                            "the saved names (%s) do not fit together; remove the folder materialize in "
                            "state.dir, it is built again from Kafka",
                            prefix);
    *saved = rc_names_count(names);
    return RC_OK;
}

static void put_names(struct rc_store_batch *batch, const char *prefix, const struct rc_names *names, uint32_t from) {
    char key[64];
    for (uint32_t i = from; i < rc_names_count(names); i++) {
        snprintf(key, sizeof key, "%s%08" PRIx32, prefix, i);
        rc_store_put(batch, RC_STORE_META, RC_MATERIALIZE_GLOBAL, rc_span_str(key),
                     rc_span_str(rc_names_text(names, i)));
    }
}

rc_status rc_rules_save_names(struct stage *stage, struct rc_error *err) {
    uint32_t signals = rc_names_count(stage->signals), audiences = rc_names_count(stage->audiences);
    if (signals == stage->saved_signals && audiences == stage->saved_audiences)
        return RC_OK;
    struct rc_store_batch *batch = rc_store_begin(stage->store);
    put_names(batch, META_SIGNAL, stage->signals, stage->saved_signals);
    put_names(batch, META_AUDIENCE, stage->audiences, stage->saved_audiences);
    if (rc_store_commit(batch, false, err))
        return RC_FAIL;
    stage->saved_signals = signals;
    stage->saved_audiences = audiences;
    return RC_OK;
}

/* ---- memories ------------------------------------------------------------------------------------------------------------------ */

static struct rc_audience_memory *add_memory(struct stage *stage, const struct rc_audience_memory *memory) {
    rc_grow(&stage->memories, &stage->memories_capacity, stage->n_memories + 1, sizeof *stage->memories);
    json_object_set_new(stage->memory_index, memory->id, json_integer((json_int_t)stage->n_memories));
    stage->memories[stage->n_memories] = *memory;
    return &stage->memories[stage->n_memories++];
}

/* "<version> <keep> <version in force> <its condition>"; an older build left the last two out. */
static bool read_memory(void *ctx, struct rc_span key, struct rc_span value) {
    struct stage *stage = ctx;
    struct rc_audience_memory memory = {0};
    int keep = 0, where = 0;
    char *text = rc_span_dup(value);
    int n = sscanf(text, "%d %d %d %n", &memory.version, &keep, &memory.serves, &where);
    memory.where = n == 3 && where ? json_loads(text + where, 0, NULL) : NULL;
    memory.serves = memory.where ? memory.serves : 0;
    free(text);
    if (n < 2)
        return true;
    memory.keep = keep;
    memory.id = rc_span_dup(rc_span_of(key.data + strlen(META_MEMORY), key.len - strlen(META_MEMORY)));
    add_memory(stage, &memory);
    return true;
}

static struct rc_audience_memory *memory_of(const struct stage *stage, const char *id) {
    const json_t *place = json_object_get(stage->memory_index, id);
    return place ? &stage->memories[json_integer_value(place)] : NULL;
}

const struct rc_audience_memory *rc_rules_memory(const struct stage *stage, const char *id) {
    return memory_of(stage, id);
}

static void save_memory(struct stage *stage, struct rc_store_batch *batch, const struct rc_audience_memory *memory) {
    char *where = memory->where ? json_dumps(memory->where, JSON_COMPACT) : NULL;
    rc_buf_reset(&stage->key);
    rc_buf_reset(&stage->value);
    (void)rc_buf_printf(&stage->key, META_MEMORY "%s", memory->id);
    (void)rc_buf_printf(&stage->value, "%d %d", memory->version, memory->keep);
    if (where)
        (void)rc_buf_printf(&stage->value, " %d %s", memory->serves, where);
    rc_store_put(batch, RC_STORE_META, RC_MATERIALIZE_GLOBAL, rc_buf_span(&stage->key), rc_buf_span(&stage->value));
    free(where);
}

static void remember(struct stage *stage, struct rc_store_batch *batch, const char *id, int version, bool keep) {
    struct rc_audience_memory *memory = memory_of(stage, id);
    if (memory && memory->version == version && memory->keep == keep)
        return;
    if (!memory)
        memory = add_memory(stage, &(struct rc_audience_memory){.id = rc_strdup(id)});
    memory->version = version;
    memory->keep = keep;
    save_memory(stage, batch, memory);
}

void rc_rules_remember(struct stage *stage, struct rc_store_batch *batch, const char *id, int version, json_t *where) {
    struct rc_audience_memory *memory = memory_of(stage, id); /* there: remember_all comes first */
    if (memory->serves == version && json_equal(memory->where, where))
        return;
    memory->serves = version;
    json_incref(where);
    json_decref(memory->where);
    memory->where = where;
    save_memory(stage, batch, memory);
}

/* What is in force, and what was deleted while this process was down, or before it ever had the members: `delete` leaves behind how that ends. */
static void remember_all(struct stage *stage, struct rc_store_batch *batch, const struct rc_catalog *catalog) {
    const struct rc_controls *controls = rc_definitions_controls(stage->definitions);
    for (size_t i = 0; i < catalog->n_audiences; i++) {
        const struct rc_audience *audience = &catalog->audiences[i];
        remember(stage, batch, audience->id, audience->version, audience->on_end == RC_ON_END_KEEP);
    }
    for (size_t i = 0; i < controls->n; i++) {
        const struct rc_control *control = &controls->items[i].control;
        const char *id = rc_control_id(&controls->items[i], "audience");
        if (id && control->deleted_version && rc_catalog_audience(catalog, id) < 0)
            remember(stage, batch, id, control->deleted_version, control->on_end == RC_ON_END_KEEP);
    }
}

rc_status rc_rules_load(struct stage *stage, struct rc_error *err) {
    stage->signals = rc_names_new();
    stage->audiences = rc_names_new();
    stage->memory_index = json_object();
    return load_names(stage, META_SIGNAL, stage->signals, &stage->saved_signals, err) ||
                   load_names(stage, META_AUDIENCE, stage->audiences, &stage->saved_audiences, err) ||
                   rc_store_each(stage->store, RC_STORE_META, RC_MATERIALIZE_GLOBAL, rc_span_str(META_MEMORY),
                                 read_memory, stage, err)
               ? RC_FAIL
               : RC_OK;
}

/* ---- own topics ---------------------------------------------------------------------------------------------------------------- */

/* Makes the topic if need be and learns its partitions, so that nothing need be asked when a change is sent. */
static rc_status prepare_topic(struct stage *stage, const char *topic, struct rc_error *err) {
    struct rc_topic_spec spec = {.name = topic, .partitions = 0};
    int32_t present = 0, n = 0;
    if (rc_stage_admin(stage, err) || rc_topic_partitions(stage->admin, topic, 10000, &present, err))
        return RC_FAIL;
    if (!present)
        spec.partitions = stage->n_partitions;
    return rc_topic_ensure(stage->admin, &spec, NULL, err) ||
                   rc_producer_partitions(stage->producer, topic, 10000, &n, err)
               ? RC_FAIL
               : RC_OK;
}

static rc_status prepare_topics(struct stage *stage, struct rc_rulebook *book, struct rc_error *err) {
    for (size_t i = 0; i < book->n; i++) {
        const char *topic = book->entries[i].topic;
        if (!topic || book->specs[i].mode == RC_AUDIENCE_FROZEN)
            continue;
        struct rc_error why = {0};
        while (prepare_topic(stage, topic, &why)) {
            if (why.class != RC_CLASS_RETRY) {
                rc_rulebook_refuse(book, i, why.message);
                break;
            }
            rc_log_limited(RC_LOG_WARN, "topic of an audience not ready, trying again",
                           rc_f_str("audience", book->entries[i].id), rc_f_err(&why));
            if (rc_stop_wait(stage->process->stop, RETRY_MS)) {
                *err = why;
                return RC_FAIL;
            }
        }
    }
    return RC_OK;
}

/* ---- rules --------------------------------------------------------------------------------------------------------------------- */

static const struct rc_audience_entry *entry_of(const struct rc_rulebook *book, const char *id) {
    for (size_t i = 0; i < book->n; i++)
        if (strcmp(book->entries[i].id, id) == 0)
            return &book->entries[i];
    return NULL;
}

static void log_states(const struct rc_rulebook *before, const struct rc_rulebook *now) {
    for (size_t i = 0; i < now->n; i++) {
        const struct rc_audience_entry *entry = &now->entries[i], *old = entry_of(before, entry->id);
        if (entry->ends_soon && !(old && old->ends_soon && old->expires_ms == entry->expires_ms)) {
            char time[25];
            rc_rfc3339_format(entry->expires_ms, time);
            rc_log(RC_LOG_WARN, "audience expires soon; `rollcall renew` sets a later time",
                   rc_f_str("audience", entry->id), rc_f_str("expires", time));
        }
        if (old && strcmp(old->state, entry->state) == 0)
            continue;
        bool bad = strncmp(entry->state, "error", 5) == 0;
        rc_log(bad ? RC_LOG_ERROR : RC_LOG_INFO, "audience", rc_f_str("audience", entry->id),
               rc_f_int("version", now->specs[i].version), rc_f_str("state", entry->state));
    }
}

/* The generation under which these rules go: the saved one when they decide as before, else the next. */
static rc_status number_rules(struct stage *stage, struct rc_audience_rules *rules, struct rc_store_batch *batch,
                              struct rc_error *err) {
    uint64_t generation = 0, saved = 0, digest = rc_audience_rules_digest(rules);
    bool found = false;
    rc_buf_reset(&stage->value);
    if (rc_store_get(stage->store, RC_STORE_META, RC_MATERIALIZE_GLOBAL, rc_span_str(META_RULES), &stage->value, &found,
                     err))
        return RC_FAIL;
    if (!found || sscanf(stage->value.data, "%" SCNu64 " %" SCNx64, &generation, &saved) != 2 || saved != digest)
        generation++;
    rc_audience_rules_set_generation(rules, generation);
    rc_buf_reset(&stage->value);
    (void)rc_buf_printf(&stage->value, "%" PRIu64 " %" PRIx64, generation, digest);
    rc_store_put(batch, RC_STORE_META, RC_MATERIALIZE_GLOBAL, rc_span_str(META_RULES), rc_buf_span(&stage->value));
    return RC_OK;
}

static void set_own_topics(struct stage *stage) {
    rc_stage_grow_tallies(stage);
    for (size_t i = 0; i < stage->n_tallies; i++) {
        free(stage->own_topics[i]);
        stage->own_topics[i] = NULL;
    }
    for (size_t i = 0; i < stage->book.n; i++) {
        uint32_t name = rc_names_find(stage->audiences, rc_span_str(stage->book.entries[i].id));
        if (stage->book.entries[i].topic)
            stage->own_topics[name] = rc_strdup(stage->book.entries[i].topic);
    }
}

uint64_t rc_rules_words(const struct stage *stage) {
    return rc_definitions_control_changes(stage->definitions) + rc_definitions_serving_changes(stage->definitions);
}

rc_status rc_rules_adopt(struct stage *stage, struct rc_catalog *catalog, struct rc_error *err) {
    struct rc_catalog *present = catalog ? catalog : stage->catalog;
    struct rc_store_batch *batch = rc_store_begin(stage->store);
    remember_all(stage, batch, present);
    struct rc_rulebook book;
    rc_rulebook_init(&book, present, stage->memories, stage->n_memories, rc_clock_wall_ms());
    rc_guard_enter(stage, present, &book, batch);
    struct rc_audience_rules *rules = NULL;
    rc_status status = prepare_topics(stage, &book, err);
    if (status == RC_OK) {
        rules = rc_audience_rules_new(present, book.specs, book.n, stage->signals, stage->audiences);
        status = number_rules(stage, rules, batch, err);
    }
    if (status == RC_OK)
        status = rc_store_commit(batch, false, err);
    else
        rc_store_abort(batch);
    if (status) {
        rc_audience_rules_free(rules);
        rc_rulebook_deinit(&book);
        rc_catalog_free(catalog);
        return RC_FAIL;
    }
    bool renewed = !stage->rules || rc_audience_rules_generation(rules) != rc_audience_rules_generation(stage->rules);
    log_states(&stage->book, &book);
    rc_audience_rules_free(stage->rules);
    rc_rulebook_deinit(&stage->book);
    if (catalog)
        rc_catalog_free(stage->catalog);
    stage->catalog = present;
    stage->book = book;
    stage->rules = rules;
    stage->words = rc_rules_words(stage);
    rc_guard_adopt(stage);
    set_own_topics(stage);
    rc_stage_set_share(stage); /* looks for what is due as well */
    stage->view_stale = true;
    for (size_t i = 0; i < stage->n_parts; i++)
        if (rc_publish_set_waits(stage->parts[i], err))
            return RC_FAIL;
    for (size_t i = 0; renewed && i < stage->n_parts; i++) {
        struct part *part = stage->parts[i];
        part->sweep_may_start = false;
        part->sweep_slice = 0;
        part->batch_for_sweep = false; /* one under way does not hold everybody that is known now */
    }
    return RC_OK;
}

void rc_rules_free(struct stage *stage) {
    rc_audience_rules_free(stage->rules);
    rc_rulebook_deinit(&stage->book);
    rc_catalog_free(stage->catalog);
    for (size_t i = 0; i < stage->n_memories; i++) {
        free(stage->memories[i].id);
        json_decref(stage->memories[i].where);
    }
    free(stage->memories);
    json_decref(stage->memory_index);
    for (size_t i = 0; i < stage->n_tallies; i++)
        free(stage->own_topics[i]);
    free(stage->own_topics);
    rc_names_free(stage->signals);
    rc_names_free(stage->audiences);
}
