/* The guard before an edited segment: a version that would leave nobody in it, or more than twice as many as before, is held until somebody approves
 * it. A slip of the pen is not to empty an audience.
 *
 * When the history of such a version is read in a partition, its members are decided there as well, silently (RC_SEGMENT_COUNTED), so their number is
 * known and kept. Every process tells the numbers of its partitions beside what it tells of itself (`<prefix>.processes`), and adds up everybody's; there
 * is no coordinator. The numbers move while they travel, so two processes may see them on either side of the limit: therefore a version that
 * serves anywhere already is let through everywhere. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "consumers/ingest/internal.h"
#include "consumers/shared/peers.h"

#define LOOK_MS 100
#define TELL_MS 1000

struct guard {
    struct rc_peers *peers;
    int64_t next_look_ms; /* monotonic */
    int64_t next_tell_ms; /* monotonic */
};

bool rc_ingest_guarded(const struct lane *lane, const struct shadow *shadow) {
    const struct served *served = rc_ingest_served(lane, shadow->id);
    return served && served->meaning != 0 && served->version != shadow->version;
}

/* The name under which numbers of this version are told. By its number: a version may be what a former one was, and what was told of that is still
 * on the topic. */
static void version_name(const struct shadow *shadow, char out[RC_SHADOW_NAME + 32]) {
    snprintf(out, RC_SHADOW_NAME + 32, "%s@%d", shadow->id, shadow->version);
}

static void definitions_name(const struct ingest *ingest, char out[24]) {
    snprintf(out, 24, "%016llx", (unsigned long long)ingest->program->versions);
}

/* ---- the own partitions ---- */

/* Decided and counted already? */
static bool is_counted(const struct lane *lane, const struct shadow *shadow, int *out) {
    char name[RC_SHADOW_NAME];
    rc_ingest_shadow_name(lane, shadow->id, name);
    *out = rc_catalog_segment(lane->composition->catalog, name);
    return *out >= 0 && lane->composition->catalog->segments[*out].role == RC_SEGMENT_COUNTED;
}

/* [members, members that the new version would have]; null while they are not known. */
static json_t *numbers_of(const struct lane *lane, const struct shadow *shadow) {
    int old = rc_catalog_segment(lane->composition->catalog, shadow->id), new;
    if (!is_counted(lane, shadow, &new) || old < 0 || !rc_population_settled(lane->population))
        return json_null();
    return json_pack("[I, I]", (json_int_t)rc_population_members(lane->population, (uint32_t)old),
                     (json_int_t)rc_population_members(lane->population, (uint32_t) new));
}

/* With what went over lately (effect.c): {"definitions": "…", "partitions": [n…], "open": {"<version>": {"<n>": [members, would have] | null}}}. A partition that is not open for a version of
 * these definitions serves it. */
static json_t *own_numbers(const struct ingest *ingest) {
    char hash[24];
    definitions_name(ingest, hash);
    json_t *partitions = json_array(), *open = json_object();
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        const struct lane *lane = ingest->lanes[i];
        char partition[16];
        snprintf(partition, sizeof partition, "%d", (int)lane->number);
        if (!lane_works(lane))
            continue;
        json_array_append_new(partitions, json_integer(lane->number));
        for (size_t s = 0; s < lane->n_shadows; s++) {
            char name[RC_SHADOW_NAME + 32];
            if (!rc_ingest_guarded(lane, &lane->shadows[s]))
                continue;
            version_name(&lane->shadows[s], name);
            if (!json_object_get(open, name))
                json_object_set_new(open, name, json_object());
            json_object_set_new(json_object_get(open, name), partition, numbers_of(lane, &lane->shadows[s]));
        }
    }
    return json_pack("{s:s, s:o, s:o, s:o, s:O}", "definitions", hash, "partitions", partitions, "open", open,
                     "effects", rc_ingest_effects_told(ingest), "told", ingest->effects_told);
}

/* ---- everybody's ---- */

struct sum {
    const char *definitions, *name;
    int32_t n;
    bool *known; /* by partition */
    int64_t was, would;
    bool serves; /* in some partition */
};

static void add_up(struct sum *sum, const json_t *told) {
    size_t i;
    const json_t *partition, *open = json_object_get(json_object_get(told, "open"), sum->name);
    const char *definitions = json_string_value(json_object_get(told, "definitions"));
    if (!definitions || strcmp(definitions, sum->definitions) != 0)
        return; /* not as far yet, or further */
    json_array_foreach(json_object_get(told, "partitions"), i, partition) {
        char text[24];
        int64_t number = json_integer_value(partition);
        snprintf(text, sizeof text, "%lld", (long long)number);
        const json_t *numbers = json_object_get(open, text);
        sum->serves |= !numbers;
        if (!json_is_array(numbers) || number < 0 || number >= sum->n || sum->known[number])
            continue;
        sum->known[number] = true;
        sum->was += json_integer_value(json_array_get(numbers, 0));
        sum->would += json_integer_value(json_array_get(numbers, 1));
    }
}

enum rc_guard_verdict rc_ingest_guard_judge(const struct ingest *ingest, const struct lane *lane,
                                            const struct shadow *shadow, int64_t *was, int64_t *would) {
    struct rc_control control = {0};
    *was = *would = 0; /* may be one and the same */
    rc_definitions_control(ingest->definitions, "segment", shadow->id, &control);
    if (!rc_ingest_guarded(lane, shadow) || control.approved_version >= shadow->version)
        return RC_GUARD_PASSES;
    char name[RC_SHADOW_NAME + 32], definitions[24];
    version_name(shadow, name);
    definitions_name(ingest, definitions);
    struct sum sum = {.definitions = definitions, .name = name, .n = ingest->program->n_partitions};
    sum.known = rc_calloc((size_t)sum.n + 1, sizeof *sum.known);
    json_t *own = own_numbers(ingest), *told;
    const char *key;
    add_up(&sum, own);
    json_object_foreach(rc_peers_told(ingest->guard->peers), key, told) if (strcmp(key, ingest->instance) != 0)
        add_up(&sum, told);
    json_decref(own);
    bool all = true;
    for (int32_t p = 0; p < sum.n; p++)
        all &= sum.known[p];
    free(sum.known);
    *was = sum.was;
    *would = sum.would;
    if (sum.serves)
        return RC_GUARD_PASSES;
    if (!all)
        return RC_GUARD_WAITS;
    bool too_much = sum.was > 0 && (sum.would == 0 || sum.would > 2 * sum.was);
    return too_much ? RC_GUARD_HOLDS : RC_GUARD_PASSES;
}

/* ---- a turn ---- */

void rc_ingest_guard_open(struct ingest *ingest) {
    ingest->guard = rc_calloc(1, sizeof *ingest->guard);
    ingest->guard->peers = rc_peers_new(ingest->config, ingest->loop, "versions");
    ingest->effects_told = json_array();
    ingest->effects_noted = json_object();
}

void rc_ingest_guard_close(struct ingest *ingest) {
    if (!ingest->guard)
        return;
    rc_peers_free(ingest->guard->peers);
    json_decref(ingest->effects_told);
    json_decref(ingest->effects_noted);
    free(ingest->guard);
}

struct rc_peers *rc_ingest_guard_peers(const struct ingest *ingest) {
    return ingest->guard->peers;
}

void rc_ingest_guard_turn(struct ingest *ingest) {
    struct guard *guard = ingest->guard;
    int64_t now = rc_clock_monotonic_ms();
    if (now < guard->next_look_ms || !ingest->program || ingest->failed)
        return;
    guard->next_look_ms = now + LOOK_MS;
    bool waits = false;
    struct rc_error err;
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        struct lane *lane = ingest->lanes[i];
        bool recompose = false;
        for (size_t s = 0; lane_works(lane) && s < lane->n_shadows; s++) {
            const struct shadow *shadow = &lane->shadows[s];
            int ignored;
            bool guarded = shadow->done && rc_ingest_guarded(lane, shadow);
            waits |= guarded;
            recompose |= guarded && !is_counted(lane, shadow, &ignored);
            lane->dirty |= shadow->done && !rc_ingest_backfill_held(ingest, lane, shadow); /* a checkpoint goes over */
        }
        if (recompose && !rc_ingest_switch_pending(lane) && rc_ingest_compose(lane, &err) != RC_OK) {
            rc_ingest_fail(ingest, &err);
            return;
        }
    }
    bool effects = rc_ingest_effects_open(ingest);
    if (waits || effects)
        rc_peers_listen(guard->peers);
    else
        rc_peers_rest(guard->peers);
    if (now < guard->next_tell_ms)
        return;
    guard->next_tell_ms = now + TELL_MS;
    json_t *own = own_numbers(ingest);
    rc_announcer_add(ingest->announcer, "versions", own);
    if (effects && rc_ingest_effects_turn(ingest, own, &err))
        rc_ingest_fail(ingest, &err);
    json_decref(own);
}
