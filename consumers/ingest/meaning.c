/* What a definition means to what is kept: by its condition, by what it refers to, and by the replay whose state it is to have. Two versions that mean the
 * same need no history. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/alloc.h"
#include "consumers/ingest/internal.h"

void rc_ingest_each_reference(json_t *value, rc_reference_fn visit, void *ctx) {
    size_t i;
    const char *key;
    json_t *below;
    const char *id = json_string_value(json_object_get(value, "segment"));
    if (id) {
        visit(ctx, value, id);
        return;
    }
    json_array_foreach(value, i, below) rc_ingest_each_reference(below, visit, ctx);
    json_object_foreach(value, key, below) rc_ingest_each_reference(below, visit, ctx);
}

struct meaning {
    const struct rc_catalog *catalog;
    uint64_t *known;
};

static uint64_t meaning_of(const struct meaning *m, uint32_t segment);

static void put_meaning(void *ctx, json_t *condition, const char *id) {
    const struct meaning *m = ctx;
    int other = rc_catalog_segment(m->catalog, id);
    char text[24];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)(other < 0 ? 0 : meaning_of(m, (uint32_t)other)));
    json_object_set_new(condition, "segment", json_string(text));
}

/* A hash of all that its membership depends on but the datasets: its condition, window and datasets' names, and those of what it refers to. */
static uint64_t meaning_of(const struct meaning *m, uint32_t segment) {
    if (m->known[segment])
        return m->known[segment];
    json_t *json =
        json_loads(rc_catalog_definition(m->catalog, "segment", m->catalog->segments[segment].id)->json, 0, NULL);
    json_t *core = json_pack("{s:O, s:O, s:O*}", "dataset", json_object_get(json, "dataset"), "where",
                             json_object_get(json, "where"), "window", json_object_get(json, "window"));
    rc_ingest_each_reference(json_object_get(core, "where"), put_meaning, (void *)(uintptr_t)m);
    char *text = json_dumps(core, JSON_COMPACT | JSON_SORT_KEYS);
    uint64_t hash = XXH3_64bits(text, strlen(text));
    free(text);
    json_decref(core);
    json_decref(json);
    return m->known[segment] = hash == RC_MEANING_ENDS ? 1 : hash;
}

uint64_t *rc_ingest_meanings(const struct rc_catalog *catalog) {
    struct meaning m = {catalog, rc_calloc(catalog->n_segments + 1, sizeof(uint64_t))};
    for (uint32_t s = 0; s < catalog->n_segments; s++)
        meaning_of(&m, s);
    return m.known;
}

uint64_t rc_ingest_versions(const struct rc_catalog *catalog) {
    uint64_t sum = 0; /* of hashes: the order of definitions does not matter */
    for (size_t s = 0; s < catalog->n_segments; s++)
        sum += XXH3_64bits_withSeed(catalog->segments[s].id, strlen(catalog->segments[s].id),
                                    (uint64_t)catalog->segments[s].version);
    return sum;
}

bool rc_ingest_each_referred(const struct rc_cond *cond, rc_segment_fn visit, void *ctx) {
    if (cond->head == RC_HEAD_SEGMENT && !visit(ctx, cond->segment))
        return false;
    for (size_t i = 0; i < cond->n_children; i++)
        if (!rc_ingest_each_referred(cond->children[i], visit, ctx))
            return false;
    return true;
}

int64_t rc_ingest_replay_of(const struct ingest *ingest, const char *dataset) {
    struct rc_control control = {0};
    if (ingest->definitions)
        rc_definitions_control(ingest->definitions, "dataset", dataset, &control);
    return control.replay_ms > control.cancelled_ms ? control.replay_ms : 0;
}

int64_t *rc_ingest_replays_of(const struct ingest *ingest) {
    const struct rc_catalog *catalog = ingest->program->catalog;
    int64_t *replays = rc_calloc(catalog->n_datasets + 1, sizeof *replays);
    for (size_t d = 0; d < catalog->n_datasets; d++)
        replays[d] = rc_ingest_replay_of(ingest, catalog->datasets[d].id);
    return replays;
}

int64_t rc_ingest_generation_of(const struct rc_catalog *catalog, const int64_t *replays, uint32_t segment) {
    int64_t last = 0;
    for (uint32_t d = 0; d < catalog->n_datasets; d++)
        if (replays[d] > last && rc_catalog_rests_on(catalog, segment, d))
            last = replays[d];
    return last;
}

bool rc_ingest_segment_reads(const struct program *program, uint32_t segment, const char *topic) {
    const struct route *route = rc_ingest_program_route(program, topic);
    for (size_t i = 0; route && i < route->n; i++)
        if (rc_catalog_rests_on(program->catalog, segment, route->datasets[i]))
            return true;
    return false;
}
