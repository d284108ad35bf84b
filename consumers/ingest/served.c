/* What a lane serves and what warms up in it, as it is kept: a version that serves under `segment/<id>` in the local store and the changelog, what warms up
 * in the lane's record of each checkpoint. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "consumers/ingest/internal.h"
#include "store/changelog.h"

static void add_key(struct rc_buf *out, const char *id) {
    rc_buf_reset(out);
    rc_buf_printf(out, "%s%s", RC_CHANGELOG_SEGMENT_PREFIX, id);
}

static char *served_text(const struct served *served) {
    char hash[24];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)served->meaning);
    json_t *record = json_pack("{s:i, s:s, s:b, s:I, s:s}", "version", served->version, "meaning", hash, "backfilled",
                               served->backfilled, "gap_ms", (json_int_t)served->gap_ms, "json", served->json);
    json_object_set_new(record, "told", json_boolean(served->told));
    json_object_set_new(record, "generation", json_integer((json_int_t)served->generation));
    if (served->effect.version)
        json_object_set_new(record, "effect", rc_ingest_effect_json(&served->effect));
    char *text = json_dumps(record, JSON_COMPACT);
    json_decref(record);
    return text;
}

/* One record, for the local store and, when it is `whole`, for the changelog; `text` is taken, NULL: it goes. */
static void put_record(struct lane *lane, struct checkpoint *checkpoint, const char *id, char *text, bool local,
                       bool log) {
    struct rc_buf key;
    rc_buf_init(&key, 256);
    add_key(&key, id);
    if (local && text)
        rc_store_put(checkpoint->batch, RC_STORE_META, lane->number, rc_buf_span(&key), rc_span_str(text));
    else if (local)
        rc_store_delete(checkpoint->batch, RC_STORE_META, lane->number, rc_buf_span(&key));
    if (log)
        rc_ingest_changelog_keep(checkpoint, lane, rc_buf_span(&key), text ? rc_span_str(text) : rc_span_of(NULL, 0));
    rc_buf_deinit(&key);
    free(text);
}

void rc_ingest_served_put(struct lane *lane, struct checkpoint *checkpoint, bool logged) {
    const struct rc_catalog *catalog = lane->ingest->program->catalog;
    for (size_t i = 0; i < lane->n_served; i++) {
        struct served *served = &lane->served[i];
        const struct shadow *shadow = rc_ingest_shadow(lane, served->id);
        bool log = logged && (served->unlogged || !lane->whole);
        if (shadow && shadow->switching)
            continue;
        if (served->leaving)
            put_record(lane, checkpoint, served->id, NULL, true, logged);
        else if (served->unsaved || log)
            put_record(lane, checkpoint, served->id, served_text(served), served->unsaved, log);
        served->unsaved = false;
        served->unlogged &= !log;
    }
    for (size_t i = 0; i < lane->n_shadows; i++) {
        const struct shadow *shadow = &lane->shadows[i];
        if (!shadow->switching)
            continue;
        const struct served *served = rc_ingest_served(lane, shadow->id);
        const struct served next = {.version = shadow->version,
                                    .meaning = shadow->meaning,
                                    .generation = shadow->generation,
                                    .json = rc_catalog_definition(catalog, "segment", shadow->id)->json,
                                    .backfilled = rc_ingest_tells_as_backfill(served, shadow),
                                    .gap_ms = shadow->gap_ms,
                                    .told = served && served->told,
                                    .effect = rc_ingest_effect_of(served, shadow)};
        put_record(lane, checkpoint, shadow->id, served_text(&next), true, logged);
    }
    lane->whole = logged;
}

struct loading {
    struct lane *lane;
    bool damaged;
};

static bool load_served(void *ctx, struct rc_span key, struct rc_span value) {
    struct loading *loading = ctx;
    const size_t prefix = sizeof RC_CHANGELOG_SEGMENT_PREFIX - 1;
    json_t *record = json_loadb(value.data, value.len, 0, NULL);
    const char *json = json_string_value(json_object_get(record, "json")),
               *meaning = json_string_value(json_object_get(record, "meaning"));
    if (!json || !meaning) {
        loading->damaged = true;
    } else {
        char *id = rc_span_dup(rc_span_of(key.data + prefix, key.len - prefix));
        const struct served as = {.id = id,
                                  .version = (int)json_integer_value(json_object_get(record, "version")),
                                  .meaning = strtoull(meaning, NULL, 16),
                                  .generation = json_integer_value(json_object_get(record, "generation")),
                                  .json = (char *)(uintptr_t)json,
                                  .backfilled = json_is_true(json_object_get(record, "backfilled")),
                                  .gap_ms = json_integer_value(json_object_get(record, "gap_ms")),
                                  .told = json_is_true(json_object_get(record, "told")),
                                  .effect = rc_ingest_effect_take(json_object_get(record, "effect"))};
        struct served *served = rc_ingest_serve(loading->lane, &as);
        served->unsaved = served->unlogged = false;
        free(id);
    }
    json_decref(record);
    return !loading->damaged;
}

rc_status rc_ingest_served_load(struct lane *lane, struct rc_error *err) {
    struct loading loading = {.lane = lane};
    if (rc_store_each(lane->ingest->store, RC_STORE_META, lane->number, rc_span_str(RC_CHANGELOG_SEGMENT_PREFIX),
                      load_served, &loading, err) != RC_OK)
        return RC_FAIL;
    if (loading.damaged)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "what is saved of a segment's version does not read");
    return RC_OK;
}

json_t *rc_ingest_shadows_json(const struct lane *lane) {
    json_t *all = json_object();
    for (size_t i = 0; i < lane->n_shadows; i++) {
        const struct shadow *shadow = &lane->shadows[i];
        char hash[24];
        if (shadow->switching)
            continue;
        snprintf(hash, sizeof hash, "%016llx", (unsigned long long)shadow->meaning);
        json_t *cuts = json_object();
        for (size_t k = 0; k < shadow->n_cuts; k++)
            json_object_set_new(cuts, shadow->cuts[k].topic, json_integer((json_int_t)shadow->cuts[k].offset));
        json_object_set_new(all, shadow->id,
                            json_pack("{s:i, s:s, s:I, s:b, s:b, s:I, s:o}", "version", shadow->version, "meaning",
                                      hash, "generation", (json_int_t)shadow->generation, "done", shadow->done,
                                      "reading", shadow->reading, "gap_ms", (json_int_t)shadow->gap_ms, "cuts", cuts));
    }
    return all;
}

void rc_ingest_shadows_take(struct lane *lane, const json_t *json) {
    const char *id, *topic;
    json_t *one, *offset;
    json_object_foreach((json_t *)(uintptr_t)json, id, one) {
        const char *meaning = json_string_value(json_object_get(one, "meaning"));
        json_t *cuts = json_object_get(one, "cuts");
        rc_grow(&lane->shadows, &lane->shadows_capacity, lane->n_shadows + 1, sizeof *lane->shadows);
        struct shadow *shadow = &lane->shadows[lane->n_shadows++];
        *shadow = (struct shadow){.id = rc_strdup(id),
                                  .version = (int)json_integer_value(json_object_get(one, "version")),
                                  .meaning = meaning ? strtoull(meaning, NULL, 16) : RC_MEANING_ENDS,
                                  .generation = json_integer_value(json_object_get(one, "generation")),
                                  .gap_ms = json_integer_value(json_object_get(one, "gap_ms")),
                                  .done = json_is_true(json_object_get(one, "done")),
                                  .reading = json_is_true(json_object_get(one, "reading"))};
        shadow->cuts = rc_calloc(json_object_size(cuts) + 1, sizeof *shadow->cuts);
        json_object_foreach(cuts, topic, offset) shadow->cuts[shadow->n_cuts++] =
            (struct history_cut){rc_strdup(topic), json_integer_value(offset)};
    }
}
