/* What came of a version that went over: how many entered and left at it, noted in the audit trail when all partitions have.
 *
 *   1. A version goes over in a partition: who enters and leaves is counted as it is told (emit.c), until everybody has been looked at. The counts stand in
 *      the record of what is served; a process that dies in between counts on from there, and what it told since its last checkpoint may be missing: `partial`.
 *   2. Each process tells its partitions' counts beside its guard's numbers; null where the version has yet to go over.
 *   3. Who holds the least partition that has counted adds up, writes the entry and, once that is durable, tells that it is told; then everybody forgets.
 * A partition that serves the version without having gone over (there was no history, so nobody to tell) moves nobody. A crash between the entry and the word of it writes
 * the entry twice, and readers take the first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "consumers/ingest/internal.h"
#include "consumers/shared/audit.h"
#include "consumers/shared/peers.h"

/* Names of what was told, the latest. */
#define TOLD_MAX 100

static void effect_name(const char *id, int version, char out[RC_SHADOW_NAME + 32]) {
    snprintf(out, RC_SHADOW_NAME + 32, "%s@%d", id, version);
}

/* ---- counting ---- */

void rc_ingest_effect_count(const struct lane *lane, const char *segment, bool realized) {
    struct served *served = rc_ingest_served(lane, segment);
    if (!served || !served->effect.version || served->effect.done)
        return;
    served->effect.entered += realized;
    served->effect.left += !realized;
}

void rc_ingest_effect_settled(struct served *served) {
    if (!served->effect.version || served->effect.done)
        return;
    served->effect.done = served->unsaved = served->unlogged = true;
}

json_t *rc_ingest_effect_json(const struct effect *effect) {
    return json_pack("{s:i, s:I, s:I, s:b, s:b}", "version", effect->version, "entered", (json_int_t)effect->entered,
                     "left", (json_int_t)effect->left, "done", effect->done, "partial", effect->partial);
}

struct effect rc_ingest_effect_take(const json_t *json) {
    struct effect effect = {.version = (int)json_integer_value(json_object_get(json, "version")),
                            .entered = json_integer_value(json_object_get(json, "entered")),
                            .left = json_integer_value(json_object_get(json, "left")),
                            .done = json_is_true(json_object_get(json, "done")),
                            .partial = json_is_true(json_object_get(json, "partial"))};
    effect.partial |= effect.version && !effect.done;
    return effect;
}

/* ---- telling ---- */

static void tell_one(json_t *effects, const struct lane *lane, const char *id, int version, json_t *value) {
    char name[RC_SHADOW_NAME + 32], partition[16];
    effect_name(id, version, name);
    snprintf(partition, sizeof partition, "%d", (int)lane->number);
    if (!json_object_get(effects, name))
        json_object_set_new(effects, name, json_object());
    json_object_set_new(json_object_get(effects, name), partition, value);
}

json_t *rc_ingest_effects_told(const struct ingest *ingest) {
    json_t *effects = json_object();
    for (size_t l = 0; l < ingest->n_lanes; l++) {
        const struct lane *lane = ingest->lanes[l];
        for (size_t i = 0; lane_works(lane) && i < lane->n_served; i++) {
            const struct effect *effect = &lane->served[i].effect;
            if (effect->version)
                tell_one(effects, lane, lane->served[i].id, effect->version,
                         effect->done ? json_pack("[I, I, b]", (json_int_t)effect->entered, (json_int_t)effect->left,
                                                  effect->partial)
                                      : json_null());
        }
        for (size_t i = 0; lane_works(lane) && i < lane->n_shadows; i++)
            tell_one(effects, lane, lane->shadows[i].id, lane->shadows[i].version, json_null());
    }
    return effects;
}

bool rc_ingest_effects_open(const struct ingest *ingest) {
    bool open = false;
    for (size_t l = 0; l < ingest->n_lanes; l++)
        for (size_t i = 0; lane_works(ingest->lanes[l]) && i < ingest->lanes[l]->n_served; i++)
            open |= ingest->lanes[l]->served[i].effect.version != 0;
    return open;
}

/* ---- adding up ---- */

enum part_effect { UNKNOWN, NOBODY, OPEN, COUNTED };

struct total {
    const char *name, *definitions;
    enum part_effect *parts; /* by partition */
    int32_t n;
    int64_t entered, left;
    bool partial, told;
};

static void see(struct total *total, int64_t partition, enum part_effect what, const json_t *counts) {
    if (partition < 0 || partition >= total->n || total->parts[partition] >= what)
        return;
    total->parts[partition] = what;
    if (what != COUNTED)
        return;
    total->entered += json_integer_value(json_array_get(counts, 0));
    total->left += json_integer_value(json_array_get(counts, 1));
    total->partial |= json_is_true(json_array_get(counts, 2));
}

static void add_process(struct total *total, const json_t *versions) {
    const json_t *name, *partition;
    const char *text, *definitions = json_string_value(json_object_get(versions, "definitions"));
    json_t *counts;
    size_t i;
    json_array_foreach(json_object_get(versions, "told"), i, name) total->told |=
        strcmp(json_string_value(name), total->name) == 0;
    json_object_foreach(json_object_get(json_object_get(versions, "effects"), total->name), text, counts)
        see(total, strtol(text, NULL, 10), json_is_array(counts) ? COUNTED : OPEN, counts);
    if (!definitions || strcmp(definitions, total->definitions) != 0)
        return; /* may not have heard of the version */
    json_array_foreach(json_object_get(versions, "partitions"), i, partition)
        see(total, json_integer_value(partition), NOBODY, NULL);
}

static void add_all(struct total *total, const struct ingest *ingest, const json_t *own) {
    const char *key;
    json_t *told;
    add_process(total, own);
    json_object_foreach(rc_peers_told(rc_ingest_guard_peers(ingest)), key, told) add_process(total, told);
}

static bool is_complete(const struct total *total) {
    for (int32_t p = 0; p < total->n; p++)
        if (total->parts[p] == UNKNOWN || total->parts[p] == OPEN)
            return false;
    return true;
}

/* The least partition that has counted: its owner writes. */
static int32_t writer_of(const struct total *total) {
    int32_t p = 0;
    while (p < total->n && total->parts[p] != COUNTED)
        p++;
    return p;
}

/* ---- writing ---- */

static rc_status write_entry(struct ingest *ingest, const struct served *served, const struct total *total,
                             struct rc_error *err) {
    struct rc_producer *producer = rc_announcer_producer(ingest->announcer);
    const json_t *mark = json_object_get(ingest->effects_noted, total->name);
    char effect[128];
    if (mark) {
        if (rc_producer_passed(producer, (uint64_t)json_integer_value(mark))) {
            if (json_array_size(ingest->effects_told) == TOLD_MAX)
                (void)json_array_remove(ingest->effects_told, 0);
            json_array_append_new(ingest->effects_told, json_string(total->name));
            json_object_del(ingest->effects_noted, total->name);
        }
        return RC_OK;
    }
    snprintf(effect, sizeof effect, "{\"entered\":%lld,\"left\":%lld%s}", (long long)total->entered,
             (long long)total->left, total->partial ? ",\"atLeast\":true" : "");
    struct rc_audit entry = {.at_ms = rc_clock_wall_ms(),
                             .who = "rollcall",
                             .kind = "segment",
                             .id = served->id,
                             .action = RC_AUDIT_TOOK_EFFECT,
                             .version = served->effect.version,
                             .effect = effect,
                             .json = served->json};
    rc_status status = rc_audit_send(ingest->config, producer, &entry, err);
    json_object_set_new(ingest->effects_noted, total->name, json_integer((json_int_t)rc_producer_mark(producer)));
    return status;
}

static rc_status settle_one(struct ingest *ingest, struct lane *lane, struct served *served, const json_t *own,
                            struct rc_error *err) {
    char name[RC_SHADOW_NAME + 32];
    effect_name(served->id, served->effect.version, name);
    struct total total = {.name = name,
                          .definitions = json_string_value(json_object_get(own, "definitions")),
                          .n = ingest->program->n_partitions};
    total.parts = rc_calloc((size_t)total.n + 1, sizeof *total.parts);
    add_all(&total, ingest, own);
    rc_status status = RC_OK;
    if (total.told) {
        served->effect = (struct effect){0};
        served->unsaved = served->unlogged = lane->dirty = true;
    } else if (is_complete(&total) && writer_of(&total) == lane->number) {
        status = write_entry(ingest, served, &total, err);
    }
    free(total.parts);
    return status;
}

rc_status rc_ingest_effects_turn(struct ingest *ingest, const json_t *own, struct rc_error *err) {
    for (size_t l = 0; l < ingest->n_lanes; l++) {
        struct lane *lane = ingest->lanes[l];
        for (size_t i = 0; lane_works(lane) && i < lane->n_served; i++)
            if (lane->served[i].effect.version && lane->served[i].effect.done &&
                settle_one(ingest, lane, &lane->served[i], own, err))
                return RC_FAIL;
    }
    return RC_OK;
}
