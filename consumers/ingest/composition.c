/* What a lane's plan is made of: the datasets and segments as they are defined now; but in the place of a segment that was edited the version
 * that the lane serves still, with the new one beside it, muted, while it warms up (backfill.c); a new segment, muted; and what was deleted, as
 * long as somebody has to leave it. Lanes that stand alike share one. A replay is an edit that changes nothing but the generation of the state:
 * the same segment warms up beside itself, from nothing.
 *
 * What a lane serves is kept with it, in the local store and in the changelog (keys `segment/<id>`), because the definitions topic knows the
 * newest version alone. The mistake that it prevents: a partition goes to a process that reads the newest definitions, and what was served
 * there, half warmed up or just switched over, is decided by another version than what was told.
 *
 * Segments stand in a composition where the newest catalog has them; what else there is stands behind. Datasets are the newest ones'. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/ingest/internal.h"

#define MAX_DEFINITION_BYTES ((size_t)16 << 20)
#define CARRY_PERSONS 16

/* ---- what a lane serves, and what warms up ---- */

struct served *rc_ingest_served(const struct lane *lane, const char *id) {
    const json_t *place = json_object_get(lane->served_index, id);
    return place ? &lane->served[json_integer_value(place)] : NULL;
}

struct shadow *rc_ingest_shadow(const struct lane *lane, const char *id) {
    for (size_t i = 0; i < lane->n_shadows; i++)
        if (strcmp(lane->shadows[i].id, id) == 0)
            return &lane->shadows[i];
    return NULL;
}

static void served_deinit(struct served *served) {
    free(served->id);
    free(served->json);
}

static void shadow_deinit(struct shadow *shadow) {
    for (size_t i = 0; i < shadow->n_cuts; i++)
        free(shadow->cuts[i].topic);
    free(shadow->cuts);
    free(shadow->id);
}

static void note_place(struct lane *lane, size_t place) {
    if (!lane->served_index)
        lane->served_index = json_object();
    json_object_set_new(lane->served_index, lane->served[place].id, json_integer((json_int_t)place));
}

struct served *rc_ingest_serve(struct lane *lane, const struct served *as) {
    struct served *served = rc_ingest_served(lane, as->id), next = *as;
    if (served && !next.effect.version)
        next.effect = served->effect;    /* a version that means the same */
    next.told |= served && served->told; /* a new version comes beside the old one: the segment stays live */
    next.json = rc_strdup(as->json);
    next.unsaved = next.unlogged = true;
    lane->all_told = false;
    if (served) {
        next.id = served->id;
        free(served->json);
        *served = next;
        return served;
    }
    rc_grow(&lane->served, &lane->served_capacity, lane->n_served + 1, sizeof *lane->served);
    next.id = rc_strdup(as->id);
    lane->served[lane->n_served] = next;
    note_place(lane, lane->n_served);
    return &lane->served[lane->n_served++];
}

static void stop_serving(struct lane *lane, struct served *served) {
    json_object_del(lane->served_index, served->id);
    served_deinit(served);
    struct served *last = &lane->served[--lane->n_served];
    if (served == last)
        return;
    *served = *last;
    note_place(lane, (size_t)(served - lane->served));
}

static struct served *serve_newest(struct lane *lane, uint32_t segment, int64_t generation, bool backfilled,
                                   int64_t gap_ms) {
    const struct program *program = lane->ingest->program;
    const struct rc_segment *s = &program->catalog->segments[segment];
    const struct served as = {.id = s->id,
                              .version = s->version,
                              .meaning = program->meanings[segment],
                              .generation = generation,
                              .json = rc_catalog_definition(program->catalog, "segment", s->id)->json,
                              .backfilled = backfilled,
                              .gap_ms = gap_ms};
    return rc_ingest_serve(lane, &as);
}

static void drop_shadow(struct lane *lane, struct shadow *shadow) {
    shadow_deinit(shadow);
    *shadow = lane->shadows[--lane->n_shadows];
}

void rc_ingest_composition_forget(struct lane *lane) {
    for (size_t i = 0; i < lane->n_served; i++)
        served_deinit(&lane->served[i]);
    free(lane->served);
    for (size_t i = 0; i < lane->n_shadows; i++)
        shadow_deinit(&lane->shadows[i]);
    free(lane->shadows);
    json_decref(lane->served_index);
    lane->served_index = NULL;
    lane->served = NULL;
    lane->shadows = NULL;
    lane->n_served = lane->served_capacity = lane->n_shadows = lane->shadows_capacity = 0;
    lane->whole = false;
    rc_ingest_backfill_forget(lane);
}

/* ---- following the definitions ---- */

/* Nothing of what the segment rests on has been read here: it serves from the first record on. */
static bool has_missed_nothing(const struct lane *lane, uint32_t segment) {
    for (size_t i = 0; i < lane->n_inputs; i++)
        if (lane->inputs[i]->position > 0 &&
            rc_ingest_segment_reads(lane->ingest->program, segment, lane->inputs[i]->topic))
            return false;
    return true;
}

static void add_shadow(struct lane *lane, uint32_t segment, int64_t generation) {
    const struct program *program = lane->ingest->program;
    const struct rc_segment *s = &program->catalog->segments[segment];
    rc_grow(&lane->shadows, &lane->shadows_capacity, lane->n_shadows + 1, sizeof *lane->shadows);
    struct shadow *shadow = &lane->shadows[lane->n_shadows++];
    *shadow = (struct shadow){
        .id = rc_strdup(s->id), .version = s->version, .meaning = program->meanings[segment], .generation = generation};
    shadow->cuts = rc_calloc(lane->n_inputs + 1, sizeof *shadow->cuts);
    for (size_t i = 0; i < lane->n_inputs; i++)
        if (lane->inputs[i]->position > 0 && rc_ingest_segment_reads(program, segment, lane->inputs[i]->topic))
            shadow->cuts[shadow->n_cuts++] =
                (struct history_cut){rc_strdup(lane->inputs[i]->topic), lane->inputs[i]->position};
}

struct search {
    const char *id;
    bool found;
};

static void is_it(void *ctx, json_t *condition, const char *id) {
    (void)condition;
    struct search *search = ctx;
    search->found |= strcmp(search->id, id) == 0;
}

/* A version that is still served refers to it. */
static bool is_needed(const struct lane *lane, const char *id) {
    struct search search = {id, false};
    for (size_t i = 0; i < lane->n_served && !search.found; i++) {
        if (lane->served[i].meaning == RC_MEANING_ENDS || !strstr(lane->served[i].json, "\"segment\":"))
            continue;
        json_t *json = json_loads(lane->served[i].json, 0, NULL);
        rc_ingest_each_reference(json_object_get(json, "where"), is_it, &search);
        json_decref(json);
    }
    return search.found;
}

static void end_segment(struct lane *lane, struct served *served) {
    const struct rc_catalog *catalog = lane->ingest->program->catalog;
    if (catalog->n_datasets == 0)
        return; /* nobody is read any more who could leave it */
    json_t *json = json_pack("{s:s, s:s, s:s, s:{s:[]}}", "kind", "segment", "id", served->id, "dataset",
                             catalog->datasets[0].id, "where", "or");
    char *text = json_dumps(json, JSON_COMPACT);
    const struct served as = {.id = served->id, .version = served->version, .meaning = RC_MEANING_ENDS, .json = text};
    if (served->told && lane->state == LANE_LIVE) {
        served->told = false;
        rc_ingest_emit_live(lane, served->id, served->version, false);
    }
    rc_ingest_serve(lane, &as);
    free(text);
    json_decref(json);
}

bool rc_ingest_is_replay(const struct lane *lane, const struct shadow *shadow) {
    const struct served *served = rc_ingest_served(lane, shadow->id);
    return served && served->meaning == shadow->meaning;
}

/* Whether there is nothing to warm up of the segment: it serves by its newest definition, and has the state of the replay. */
static bool is_up_to_date(const struct lane *lane, uint32_t segment, int64_t generation) {
    const struct program *program = lane->ingest->program;
    const struct rc_segment *s = &program->catalog->segments[segment];
    const struct served *served = rc_ingest_served(lane, s->id);
    if (!served)
        return has_missed_nothing(lane, segment);
    return served->meaning == program->meanings[segment] &&
           (served->generation >= generation || rc_ingest_replay_cancelled(lane->ingest, s->id, generation));
}

static void follow_segment(struct lane *lane, uint32_t s, int64_t generation) {
    const struct program *program = lane->ingest->program;
    const struct rc_segment *segment = &program->catalog->segments[s];
    const struct served *served = rc_ingest_served(lane, segment->id);
    struct shadow *shadow = rc_ingest_shadow(lane, segment->id);
    bool same = served && served->meaning == program->meanings[s], up_to_date = is_up_to_date(lane, s, generation);
    if (same && served->version != segment->version) /* another name, or owner: of no weight */
        serve_newest(lane, s, served->generation, served->backfilled, served->gap_ms);
    else if (!served && up_to_date)
        serve_newest(lane, s, generation, false, 0);
    bool given_up = !same && rc_ingest_backfill_cancelled(lane->ingest, segment->id, segment->version);
    bool warms = !up_to_date && !given_up;
    if (shadow && (!warms || shadow->meaning != program->meanings[s] || shadow->generation != generation)) {
        drop_shadow(lane, shadow);
        shadow = NULL;
    }
    if (warms && !shadow)
        add_shadow(lane, s, generation);
    else if (shadow)
        shadow->version = segment->version;
}

/* Brings what the lane serves and warms up to what is defined. */
static void follow(struct lane *lane) {
    const struct rc_catalog *catalog = lane->ingest->program->catalog;
    int64_t *replays = rc_ingest_replays_of(lane->ingest);
    for (size_t i = lane->n_shadows; i-- > 0;)
        if (rc_catalog_segment(catalog, lane->shadows[i].id) < 0)
            drop_shadow(lane, &lane->shadows[i]);
    for (uint32_t s = 0; s < catalog->n_segments; s++)
        follow_segment(lane, s, rc_ingest_generation_of(catalog, replays, s));
    free(replays);
    for (size_t i = 0; i < lane->n_served; i++)
        if (lane->served[i].meaning != RC_MEANING_ENDS && rc_catalog_segment(catalog, lane->served[i].id) < 0 &&
            !is_needed(lane, lane->served[i].id))
            end_segment(lane, &lane->served[i]);
    rc_ingest_backfill_followed(lane);
}

/* ---- making it ---- */

static void put_name(void *ctx, json_t *condition, const char *id) {
    const struct lane *lane = ctx;
    char name[RC_SHADOW_NAME];
    if (rc_ingest_shadow(lane, id)) {
        rc_ingest_shadow_name(lane, id, name);
        json_object_set_new(condition, "segment", json_string(name));
    }
}

void rc_ingest_shadow_name(const struct lane *lane, const char *id, char out[RC_SHADOW_NAME]) {
    snprintf(out, RC_SHADOW_NAME, "%s%s", id, rc_ingest_served(lane, id) ? "~" : "");
}

static rc_status add_newest(struct lane *lane, struct rc_catalog_builder *builder, uint32_t segment, const char *name,
                            struct rc_error *err) {
    const struct shadow *shadow = rc_ingest_shadow(lane, lane->ingest->program->catalog->segments[segment].id);
    bool counted = shadow && shadow->done && rc_ingest_guarded(lane, shadow);
    const struct rc_catalog *catalog = lane->ingest->program->catalog;
    const struct rc_segment *s = &catalog->segments[segment];
    json_t *json = json_loads(rc_catalog_definition(catalog, "segment", s->id)->json, 0, NULL);
    rc_ingest_each_reference(json_object_get(json, "where"), put_name, lane);
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
    rc_status status = rc_catalog_builder_add_segment(builder, rc_span_str(text), name, s->version,
                                                      counted ? RC_SEGMENT_COUNTED : RC_SEGMENT_WARMS,
                                                      shadow ? shadow->generation : 0, err);
    free(text);
    json_decref(json);
    return status;
}

static rc_status add_served(struct rc_catalog_builder *builder, const struct served *served, struct rc_error *err) {
    enum rc_segment_role role = served->meaning == RC_MEANING_ENDS ? RC_SEGMENT_ENDS
                                : served->backfilled               ? RC_SEGMENT_BACKFILLED
                                                                   : RC_SEGMENT_SERVES;
    return rc_catalog_builder_add_segment(builder, rc_span_str(served->json), served->id, served->version, role,
                                          served->generation, err);
}

static rc_status collect(struct lane *lane, struct rc_catalog_builder *builder, struct rc_error *err) {
    const struct rc_catalog *catalog = lane->ingest->program->catalog;
    for (size_t i = 0; i < catalog->n_definitions; i++) {
        const struct rc_definition *d = &catalog->definitions[i];
        if (strcmp(d->kind, "dataset") == 0 && rc_catalog_builder_add_applied(builder, rc_span_str(d->json), d->version,
                                                                              d->applied_ms, NULL, err) != RC_OK)
            return RC_FAIL;
    }
    for (uint32_t s = 0; s < catalog->n_segments; s++) {
        const struct served *served = rc_ingest_served(lane, catalog->segments[s].id);
        rc_status status =
            served ? add_served(builder, served, err) : add_newest(lane, builder, s, catalog->segments[s].id, err);
        if (status != RC_OK)
            return RC_FAIL;
    }
    for (size_t i = 0; i < lane->n_served; i++)
        if (rc_catalog_segment(catalog, lane->served[i].id) < 0 && add_served(builder, &lane->served[i], err) != RC_OK)
            return RC_FAIL;
    for (size_t i = 0; i < lane->n_shadows; i++) {
        char name[RC_SHADOW_NAME];
        const char *id = lane->shadows[i].id;
        rc_ingest_shadow_name(lane, id, name);
        if (rc_ingest_served(lane, id) &&
            add_newest(lane, builder, (uint32_t)rc_catalog_segment(catalog, id), name, err) != RC_OK)
            return RC_FAIL;
    }
    return RC_OK;
}

/* Two compositions with the same name are the same. */
static uint64_t name_of(const struct rc_catalog_builder *builder) {
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    for (size_t i = 0; i < builder->n; i++) {
        const struct rc_definition *d = &builder->items[i];
        XXH3_64bits_update(state, d->id, strlen(d->id) + 1);
        XXH3_64bits_update(state, d->json, strlen(d->json) + 1);
        XXH3_64bits_update(state, &d->version, sizeof d->version);
        XXH3_64bits_update(state, &d->role, sizeof d->role);
        XXH3_64bits_update(state, &d->generation, sizeof d->generation);
    }
    uint64_t name = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return name;
}

static void composition_let_go(struct ingest *ingest, struct composition *composition) {
    if (!composition || --composition->users > 0)
        return;
    for (size_t i = 0; i < ingest->n_compositions; i++)
        if (ingest->compositions[i] == composition)
            ingest->compositions[i] = ingest->compositions[--ingest->n_compositions];
    rc_plan_free(composition->plan);
    rc_catalog_free(composition->catalog);
    free(composition);
}

/* Former ones go when nobody of the population is under them any more. */
static void let_unused_go(struct lane *lane) {
    for (size_t i = lane->n_former; i-- > 0;) {
        if (lane->population && rc_population_uses(lane->population, lane->former[i]->plan))
            continue;
        composition_let_go(lane->ingest, lane->former[i]);
        lane->former[i] = lane->former[--lane->n_former];
    }
}

void rc_ingest_composition_release(struct lane *lane) {
    composition_let_go(lane->ingest, lane->composition);
    lane->composition = NULL;
    for (size_t i = 0; i < lane->n_former; i++)
        composition_let_go(lane->ingest, lane->former[i]);
    free(lane->former);
    lane->former = NULL;
    lane->n_former = lane->former_capacity = 0;
}

/* From here on the population decides by `next`, which is taken. */
static void go_over(struct lane *lane, struct composition *next) {
    if (lane->population) {
        rc_population_replan(lane->population, next->plan);
        rc_grow(&lane->former, &lane->former_capacity, lane->n_former + 1, sizeof *lane->former);
        lane->former[lane->n_former++] = lane->composition;
        lane->composition = NULL;
        let_unused_go(lane);
    }
    composition_let_go(lane->ingest, lane->composition);
    lane->composition = next;
    lane->settled = false;
}

static rc_status make(struct lane *lane, struct composition **out, struct rc_error *err) {
    struct ingest *ingest = lane->ingest;
    struct rc_catalog_builder builder;
    rc_catalog_builder_init(&builder);
    rc_status status = collect(lane, &builder, err);
    uint64_t name = status == RC_OK ? name_of(&builder) : 0;
    for (size_t i = 0; status == RC_OK && i < ingest->n_compositions; i++)
        if (ingest->compositions[i]->name == name) {
            *out = ingest->compositions[i];
            (*out)->users++;
            rc_catalog_builder_deinit(&builder);
            return RC_OK;
        }
    struct composition *made = rc_calloc(1, sizeof *made);
    *made = (struct composition){.name = name, .users = 1};
    if (status == RC_OK)
        status = rc_catalog_build(&builder, &made->catalog, err);
    if (status == RC_OK)
        status = rc_plan_compile(made->catalog, &made->plan, err);
    rc_catalog_builder_deinit(&builder);
    if (status != RC_OK) {
        rc_catalog_free(made->catalog);
        free(made);
        return RC_FAIL;
    }
    rc_grow(&ingest->compositions, &ingest->compositions_capacity, ingest->n_compositions + 1,
            sizeof(struct composition *));
    ingest->compositions[ingest->n_compositions++] = made;
    *out = made;
    return RC_OK;
}

rc_status rc_ingest_compose(struct lane *lane, struct rc_error *err) {
    struct composition *next;
    struct rc_error why;
    follow(lane);
    if (make(lane, &next, &why) != RC_OK) {
        /* A dataset was edited so that a former version cannot be decided by it any more. */
        rc_log(RC_LOG_WARN,
               "versions of segments that served until now do not fit the datasets any more: the new ones "
               "serve at once, with what is known",
               rc_f_int("partition", lane->number), rc_f_err(&why));
        for (uint32_t s = 0; s < lane->ingest->program->catalog->n_segments; s++) {
            const struct served *served = rc_ingest_served(lane, lane->ingest->program->catalog->segments[s].id);
            serve_newest(lane, s, served ? served->generation : 0, false, 0);
        }
        follow(lane);
        if (make(lane, &next, err) != RC_OK)
            return RC_FAIL;
    }
    lane->dirty = true;
    if (next == lane->composition) {
        composition_let_go(lane->ingest, next);
        return RC_OK;
    }
    go_over(lane, next);
    return RC_OK;
}

rc_status rc_ingest_compose_first(struct lane *lane, bool adopts, struct rc_error *err) {
    for (uint32_t s = 0; adopts && s < lane->ingest->program->catalog->n_segments; s++)
        serve_newest(lane, s, 0, false, 0);
    return rc_ingest_compose(lane, err);
}

/* ---- going over, person by person ---- */

bool rc_ingest_carry_turn(struct ingest *ingest, bool waits) {
    int64_t began_ns = rc_clock_monotonic_ns(), until_ns = began_ns + ingest->pace.slice_ns;
    bool left = false, worked = false;
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        struct lane *lane = ingest->lanes[i];
        if (!lane_works(lane) || lane->n_former == 0)
            continue;
        bool more = true;
        while (more && !waits && !ingest->failed && rc_clock_monotonic_ns() < until_ns) {
            more = rc_population_carry(lane->population, CARRY_PERSONS);
            worked = true;
        }
        let_unused_go(lane);
        left |= lane->n_former > 0;
    }
    if (worked)
        rc_ingest_pace_spent(ingest, began_ns);
    return left && !ingest->failed;
}

/* ---- switching over ---- */

struct judging {
    const struct lane *lane;
    const char *subject; /* whose referrers are looked for */
    bool refers;
};

/* The newest version of the segment serves, or will with the next checkpoint. */
static bool is_or_will_be(void *ctx, uint32_t segment) {
    const struct lane *lane = ((const struct judging *)ctx)->lane;
    const char *id = lane->ingest->program->catalog->segments[segment].id;
    const struct served *served = rc_ingest_served(lane, id);
    const struct shadow *shadow = rc_ingest_shadow(lane, id);
    return shadow ? shadow->switching : served && served->meaning == lane->ingest->program->meanings[segment];
}

static bool is_not_subject(void *ctx, uint32_t segment) {
    const struct judging *j = ctx;
    return strcmp(j->lane->ingest->program->catalog->segments[segment].id, j->subject) != 0;
}

/* What refers to one another goes over together: a segment means what those mean that it names. */
static bool may_switch(const struct lane *lane, const struct shadow *shadow) {
    const struct rc_catalog *catalog = lane->ingest->program->catalog;
    struct judging j = {.lane = lane, .subject = shadow->id};
    int own = rc_catalog_segment(catalog, shadow->id);
    if (own < 0 || !rc_ingest_each_referred(catalog->segments[own].where, is_or_will_be, &j))
        return false;
    for (uint32_t s = 0; s < catalog->n_segments; s++)
        if (rc_ingest_served(lane, catalog->segments[s].id) &&
            !rc_ingest_each_referred(catalog->segments[s].where, is_not_subject, &j) && !is_or_will_be(&j, s))
            return false;
    return true;
}

void rc_ingest_switch_begin(struct lane *lane) {
    bool taken_back = lane->n_shadows > 0;
    int64_t ignored;
    for (size_t i = 0; i < lane->n_shadows; i++)
        lane->shadows[i].switching =
            lane->shadows[i].done && !rc_ingest_backfill_held(lane->ingest, lane, &lane->shadows[i]) &&
            rc_ingest_guard_judge(lane->ingest, lane, &lane->shadows[i], &ignored, &ignored) == RC_GUARD_PASSES;
    while (taken_back) {
        taken_back = false;
        for (size_t i = 0; i < lane->n_shadows; i++)
            if (lane->shadows[i].switching && !may_switch(lane, &lane->shadows[i]))
                taken_back = !(lane->shadows[i].switching = false);
    }
    bool settled = rc_population_settled(lane->population);
    for (size_t i = 0; i < lane->n_served; i++)
        lane->served[i].leaving = settled && lane->served[i].meaning == RC_MEANING_ENDS &&
                                  rc_catalog_segment(lane->ingest->program->catalog, lane->served[i].id) < 0;
}

bool rc_ingest_switch_pending(const struct lane *lane) {
    bool pending = false;
    for (size_t i = 0; i < lane->n_shadows; i++)
        pending |= lane->shadows[i].switching;
    for (size_t i = 0; i < lane->n_served; i++)
        pending |= lane->served[i].leaving;
    return pending;
}

bool rc_ingest_tells_as_backfill(const struct served *before, const struct shadow *shadow) {
    return !before || before->meaning == RC_MEANING_ENDS || before->meaning == shadow->meaning;
}

struct effect rc_ingest_effect_of(const struct served *served, const struct shadow *shadow) {
    if (served && served->version == shadow->version)
        return served->effect;
    return (struct effect){.version = shadow->version};
}

rc_status rc_ingest_switch_committed(struct lane *lane, struct rc_error *err) {
    const struct rc_catalog *catalog = lane->ingest->program->catalog;
    if (!rc_ingest_switch_pending(lane))
        return RC_OK;
    for (size_t i = lane->n_shadows; i-- > 0;) {
        struct shadow *shadow = &lane->shadows[i];
        if (!shadow->switching)
            continue;
        const struct served *served = rc_ingest_served(lane, shadow->id);
        rc_log(RC_LOG_INFO, "segment warmed up, it serves", rc_f_int("partition", lane->number),
               rc_f_str("segment", shadow->id), rc_f_int("version", shadow->version));
        struct effect effect = rc_ingest_effect_of(served, shadow);
        struct served *now = serve_newest(lane, (uint32_t)rc_catalog_segment(catalog, shadow->id), shadow->generation,
                                          rc_ingest_tells_as_backfill(served, shadow), shadow->gap_ms);
        now->effect = effect;
        now->unsaved = now->unlogged = false; /* the checkpoint said so */
        drop_shadow(lane, shadow);
    }
    for (size_t i = lane->n_served; i-- > 0;) {
        if (!lane->served[i].leaving)
            continue;
        rc_log(RC_LOG_INFO, "everybody has left a segment that is gone", rc_f_int("partition", lane->number),
               rc_f_str("segment", lane->served[i].id));
        stop_serving(lane, &lane->served[i]);
    }
    return rc_ingest_compose(lane, err);
}

/* Behind the members: everybody has been decided under what is served, so what the segment has to tell of them stands before this word. */
void rc_ingest_tell_live(struct ingest *ingest) {
    for (size_t l = 0; l < ingest->n_lanes; l++) {
        struct lane *lane = ingest->lanes[l];
        if (lane->state != LANE_LIVE || lane->all_told || !rc_population_settled(lane->population))
            continue;
        lane->all_told = true;
        for (size_t i = 0; i < lane->n_served; i++) {
            struct served *served = &lane->served[i];
            rc_ingest_effect_settled(served);
            lane->dirty |= served->unsaved;
            if (!served->told && served->meaning != RC_MEANING_ENDS) {
                rc_ingest_emit_live(lane, served->id, served->version, true);
                served->told = served->unsaved = served->unlogged = true;
            }
        }
    }
}
