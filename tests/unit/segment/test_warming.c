/* A population that learns of definitions late and reads their history beside live traffic ends as one that knew them from the first event on:
 * under any interleaving of live events, history, saving, kills and switching over, person by person. On the way nobody is told of what only warms up, and of what stays
 * nothing changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "codec/decode.h"
#include "segment/population.h"
#include "tests/unit/segment/definition_fixture.h"

enum { PERSONS = 12, STEPS = 700, SEEDS = 300, IDS = 5, TOLD = 1 << 18 };

#define DATASETS                                                                                              \
    "[{'kind':'dataset','id':'web','topic':'t','format':'json','person':{'namespace':'n','id':{'path':'p'}}," \
    "'timestamp':{'path':'t'},'event_id':{'path':'e'},'grace':'20ms','session_timeout':'300ms',"              \
    "'fields':{'type':{'path':'type','type':'string'},'n':{'path':'n','type':'long','min':0},"                \
    "'m':{'path':'n','type':'long'}}},"                                                                       \
    "{'kind':'dataset','id':'shop','topic':'u','format':'json','person':{'namespace':'n','id':{'path':'p'}}," \
    "'timestamp':{'path':'t'},'event_id':{'path':'e'},'fields':{'type':{'path':'type','type':'string'}}}]"

/* One of each kind of state, and windows that overlap. */
static const char *const variants[] = {
    "'dataset':'web','where':{'event':{'field':'type','eq':'a'},'count':{'ge':3},'window':'4s'}",
    "'dataset':'web','where':{'event':{'field':'type','eq':'a'},'count':{'ge':5},'window':'1s'}",
    "'dataset':'web','where':{'event':{'field':'type','eq':'a'},'count':{'ge':2}}",
    "'dataset':'web','where':{'event':{'field':'type','eq':'a'},'count':{'eq':2},'window':{'last':'5s','except_last':'"
    "1s'}}",
    "'dataset':'web','where':{'not':{'event':{'field':'type','eq':'b'},'window':'3s'}}",
    "'dataset':'shop','where':{'event':{'field':'type','eq':'a'},'window':'5s'}",
    "'dataset':'web','where':{'sequence':[{'event':{'field':'type','eq':'a'}},"
    "{'event':{'field':'type','eq':'b'},'within':'1s'}],'window':'6s'}",
    "'dataset':'web','where':{'sequence':[{'none':{'field':'type','eq':'b'},'within':'2s'},{'event':{'field':'type','"
    "eq':'a'}}]}",
    "'dataset':'web','where':{'sum':'n','is':{'gt':20},'window':'6s'}",
    "'dataset':'web','where':{'avg':'m','is':{'gt':5},'window':'8s'}",
    "'dataset':'web','where':{'distinct':'n','is':{'ge':4},'window':'5s'}",
    "'dataset':'web','where':{'event':{},'count':{'ge':3},'same':'n','window':'9s'}",
    "'dataset':'web','where':{'max':'n','is':{'ge':8},'window':'3s'}",
    "'dataset':'web','where':{'min':'n','is':{'le':1},'window':'4s'}",
    "'dataset':'web','where':{'latest':'type','is':{'eq':'b'}}",
    "'dataset':'web','where':{'first':'n','is':{'ge':5},'window':'5s'}",
    "'dataset':'web','where':{'session':{'event':{'field':'type','eq':'a'},'count':{'ge':2}},'count':{'ge':2}},'window'"
    ":'9s'",
    "'dataset':['web','shop'],'where':{'and':[{'event':{'and':[{'field':'_dataset','eq':'web'},{'field':'type','eq':'a'"
    "}]},"
    "'window':'2s'},{'not':{'event':{'and':[{'field':'_dataset','eq':'shop'},{'field':'type','eq':'b'}]},'window':'4s'}"
    "}]}",
    "'dataset':'web','where':{'event':{'field':'type','eq':'b'},'window':{'calendar':'hour','count':1}}",
};
enum { VARIANTS = sizeof variants / sizeof *variants, NOTHING = -1 };

struct happening {
    int64_t clock_ms, at_ms;
    uint32_t dataset;
    int person, n;
    char type;
    bool imported;
};

struct told {
    char *text[PERSONS];
    size_t len[PERSONS];
};

/* A population with all around it. */
struct side {
    struct rc_catalog *catalog;
    struct rc_plan *plan;
    struct rc_population *population;
    struct rc_decoder *decoders[2];
    struct side *former; /* definitions that somebody may be under still */
    struct told told;
    bool stays[IDS]; /* of what is told it is kept */
    bool replays;
};

struct saved_person {
    char *record;
    size_t len;
};

enum stage { BEFORE, WARMING, COUNTING, AFTER };

struct checkpoint {
    struct saved_person persons[PERSONS];
    size_t told[PERSONS];
    enum stage stage;
    int step, read, cut;
};

struct trial {
    unsigned seed;
    bool late;
    bool replays;                /* nothing is edited: all state is wrong, and built anew from history */
    bool imports;                /* nor is it wrong, but what was imported is passed over until then */
    int before[IDS], after[IDS]; /* variants, or NOTHING */
    struct happening events[STEPS];
    struct side knew, learns;
    enum stage stage;
    int step, read, cut; /* next event; history read so far; up to where it is to be read */
    int from, stop; /* where history begins; a little behind the switch, before what is live hides what history said */
    struct checkpoint saved;
    struct rc_arena arena;
};

static unsigned any(struct trial *t, unsigned n) {
    return (unsigned)rand_r(&t->seed) % n;
}

/* ---- definitions ---- */

static void add_segment(struct rc_catalog_builder *builder, const char *name, int variant, enum rc_segment_role role,
                        int64_t generation) {
    char text[1024];
    snprintf(text, sizeof text, "{'kind':'segment','id':'%.2s',%s}",
             name, /* of `x0~` as well: its text is that of x0 */
             variant == NOTHING ? "'dataset':'web','where':{'or':[]}" : variants[variant]);
    char *json = json_of(text);
    if (rc_catalog_builder_add_segment(builder, rc_span_str(json), name, 1, role, generation, &err) != RC_OK)
        fail_msg("%s", err.message);
    free(json);
}

static struct rc_catalog *catalog_of(const struct trial *t, enum stage stage) {
    struct rc_catalog_builder builder;
    rc_catalog_builder_init(&builder);
    assert_int_equal(add(&builder, "datasets", DATASETS), RC_OK);
    for (int i = 0; i < IDS; i++) {
        char name[16];
        snprintf(name, sizeof name, "x%d", i);
        int was = t->before[i], is = t->after[i];
        if (stage == BEFORE && was != NOTHING)
            add_segment(&builder, name, was, RC_SEGMENT_SERVES, 0);
        if (stage == AFTER && is != NOTHING)
            add_segment(&builder, name, is, was == NOTHING || t->replays ? RC_SEGMENT_BACKFILLED : RC_SEGMENT_SERVES,
                        t->replays);
        bool beside = stage == WARMING || stage == COUNTING;
        if (beside && was != NOTHING)
            add_segment(&builder, name, is == NOTHING ? NOTHING : was,
                        is == NOTHING ? RC_SEGMENT_ENDS : RC_SEGMENT_SERVES, 0);
        if (beside && is != NOTHING && (is != was || t->replays)) {
            snprintf(name, sizeof name, "x%d%s", i, was == NOTHING ? "" : "~");
            add_segment(&builder, name, is, stage == COUNTING && was != NOTHING ? RC_SEGMENT_COUNTED : RC_SEGMENT_WARMS,
                        t->replays);
        }
    }
    struct rc_catalog *catalog;
    if (rc_catalog_build(&builder, &catalog, &err) != RC_OK)
        fail_msg("%s", err.message);
    rc_catalog_builder_deinit(&builder);
    return catalog;
}

/* ---- a side ---- */

static void on_change(void *ctx, const struct rc_change *change) {
    struct side *side = ctx;
    if (change->existence)
        return;
    const struct rc_segment *segment = &side->catalog->segments[change->index];
    assert_int_not_equal(segment->role, RC_SEGMENT_WARMS);
    if (segment->role == RC_SEGMENT_COUNTED)
        return; /* ingest tells nobody */
    assert_true(segment->role != RC_SEGMENT_ENDS || !change->realized);
    assert_true(change->cause != RC_CAUSE_BACKFILL ||
                (segment->role == RC_SEGMENT_BACKFILLED && (change->realized || side->replays)));
    if (!side->stays[segment->id[1] - '0'])
        return;
    int person = change->person_key.data[change->person_key.len - 1] - 'a';
    assert_true(side->told.len[person] + 64 < TOLD);
    side->told.len[person] += (size_t)snprintf(side->told.text[person] + side->told.len[person], 64, "%c%s@%lld ",
                                               change->realized ? '+' : '-', segment->id, (long long)change->since_ms);
}

static void use(struct side *side, struct rc_catalog *catalog) {
    side->catalog = catalog;
    assert_int_equal(rc_plan_compile(catalog, &side->plan, &err), RC_OK);
    for (int d = 0; d < 2; d++)
        assert_int_equal(rc_decoder_new(&catalog->datasets[d],
                                        &(struct rc_decoder_options){.dataset = (uint32_t)d, .max_ahead_ms = -1},
                                        &side->decoders[d], &err),
                         RC_OK);
}

/* Definitions that nobody is under any more go. */
static void forget_unused(struct side *side, bool all) {
    for (struct side **at = &side->former; *at;) {
        struct side *former = *at;
        if (!all && rc_population_uses(side->population, former->plan)) {
            at = &former->former;
            continue;
        }
        *at = former->former;
        rc_plan_free(former->plan);
        rc_catalog_free(former->catalog);
        free(former);
    }
}

static void forget(struct side *side) {
    forget_unused(side, true);
    rc_decoder_free(side->decoders[0]);
    rc_decoder_free(side->decoders[1]);
    rc_plan_free(side->plan);
    rc_catalog_free(side->catalog);
}

static void start(struct trial *t, struct side *side, enum stage stage) {
    use(side, catalog_of(t, stage));
    side->population = rc_population_new(side->plan, on_change, side);
}

static void set_clock(struct side *side, int64_t clock_ms) {
    for (uint32_t d = 0; d < 2; d++)
        rc_population_set_clock(side->population, d, clock_ms);
}

static void decide(struct side *side, int64_t clock_ms) {
    set_clock(side, clock_ms);
    while (rc_population_advance(side->population, 0)) {}
}

/* Everybody at once, or each when their turn comes (carry_some). */
static void go_over(struct trial *t, struct side *side, enum stage stage) {
    struct side *old = rc_calloc(1, sizeof *old);
    *old = *side;
    side->former = old;
    rc_decoder_free(old->decoders[0]);
    rc_decoder_free(old->decoders[1]);
    use(side, catalog_of(t, stage));
    rc_population_replan(side->population, side->plan);
    if (any(t, 3) == 0)
        assert_false(rc_population_carry(side->population, 0));
    forget_unused(side, false);
}

static void carry_some(struct trial *t) {
    if (t->learns.former && !rc_population_carry(t->learns.population, 1 + any(t, 4)))
        forget_unused(&t->learns, false);
}

static void happen(struct trial *t, struct side *side, const struct happening *h, bool history) {
    char json[160];
    int n = snprintf(json, sizeof json, "{\"p\":\"%c\",\"t\":%lld,\"e\":\"%d%c%d\",\"type\":\"%c\",\"n\":%d}",
                     'a' + h->person, (long long)h->at_ms, h->n, h->type, h->person, h->type, h->n);
    struct rc_record record = {.value = rc_span_of(json, (size_t)n), .timestamp_ms = RC_NO_TIMESTAMP};
    struct rc_event event;
    rc_arena_reset(&t->arena);
    if (rc_decode(side->decoders[h->dataset], &record, &t->arena, &event, &err) != RC_DECODED)
        fail_msg("%s", err.message);
    if (history)
        rc_population_apply_history(side->population, &event, t->replays);
    else if (h->imported && side == &t->learns)
        rc_population_apply_import(side->population, &event, 1);
    else
        rc_population_apply(side->population, &event);
}

/* ---- what can happen to the one that learns ---- */

static void put(void *ctx, struct rc_span key, struct rc_span record) {
    struct saved_person *saved = &((struct checkpoint *)ctx)->persons[key.data[key.len - 1] - 'a'];
    free(saved->record);
    *saved = (struct saved_person){rc_span_dup(record), record.len};
}

static void save(struct trial *t) {
    rc_population_save(t->learns.population, put, &t->saved);
    memcpy(t->saved.told, t->learns.told.len, sizeof t->saved.told);
    t->saved.stage = t->stage;
    t->saved.step = t->step;
    t->saved.read = t->read;
    t->saved.cut = t->cut;
}

/* It dies, and another goes on from what was saved. What it told since counts as not told: that is the output log's part. */
static void die(struct trial *t) {
    struct side *side = &t->learns;
    rc_population_free(side->population);
    forget(side);
    t->stage = t->saved.stage;
    t->step = t->saved.step;
    t->read = t->saved.read;
    t->cut = t->saved.cut;
    memcpy(side->told.len, t->saved.told, sizeof t->saved.told);
    start(t, side, t->stage);
    for (int i = 0; i < PERSONS; i++) {
        char key[] = {'n', ':', (char)('a' + i), '\0'};
        const struct saved_person *saved = &t->saved.persons[i];
        if (saved->record && rc_population_load(side->population, rc_span_str(key),
                                                rc_span_of(saved->record, saved->len), &err) != RC_OK)
            fail_msg("%s", err.message);
    }
    if (t->step > 0)
        decide(side, t->events[t->step - 1].clock_ms);
}

/* The definitions become known here: history is what came before, as far back as the windows reach. */
static void learn(struct trial *t) {
    int64_t lookback = 0, now_ms = t->events[t->step].clock_ms;
    t->stage = WARMING;
    go_over(t, &t->learns, WARMING);
    for (uint32_t s = 0; s < t->learns.catalog->n_segments && lookback >= 0; s++) {
        int64_t one = rc_plan_lookback_ms(t->learns.plan, s);
        if (t->learns.catalog->segments[s].role == RC_SEGMENT_WARMS)
            lookback = one < 0 ? -1 : one > lookback ? one : lookback;
    }
    t->cut = t->step;
    t->from = 0;
    while (!t->replays && lookback >= 0 && t->from < t->cut && t->events[t->from].clock_ms < now_ms - lookback)
        t->from++;
    t->read = t->from;
}

/* Members by the one who learns; SIZE_MAX: there is no such segment. */
static size_t count(const struct trial *t, int i, const char *suffix) {
    char name[8];
    snprintf(name, sizeof name, "x%d%s", i, suffix);
    int segment = rc_catalog_segment(t->learns.catalog, name);
    return segment < 0 ? SIZE_MAX : rc_population_members(t->learns.population, (uint32_t)segment);
}

/* What the process does between two events. */
static void do_something(struct trial *t) {
    switch (any(t, 7)) {
    case 0: save(t); break;
    case 3: carry_some(t); break;
    case 1:
        if (any(t, 8) == 0)
            die(t);
        break;
    case 2:
        if (t->stage == BEFORE && t->step > STEPS / 4 && any(t, 20) == 0)
            learn(t);
        break;
    default:
        if (t->stage != WARMING && t->stage != COUNTING)
            break;
        for (unsigned n = any(t, 6); n > 0 && t->read < t->cut; n--)
            happen(t, &t->learns, &t->events[t->read++], true);
        if (t->read < t->cut || any(t, 4) > 0)
            break;
        if (t->stage == WARMING && any(t, 2)) {
            t->stage = COUNTING;
            go_over(t, &t->learns, COUNTING);
        } else { /* saved first, and that it serves with it */
            size_t counted[IDS];
            int64_t now_ms = t->events[t->step - 1].clock_ms;
            decide(&t->learns, now_ms); /* what time has brought since they were carried over */
            for (int i = 0; i < IDS; i++)
                counted[i] = count(t, i, "~");
            bool was_counted = t->stage == COUNTING && rc_population_settled(t->learns.population);
            t->stage = AFTER;
            save(t);
            go_over(t, &t->learns, AFTER);
            if (was_counted) {
                assert_false(rc_population_carry(t->learns.population, 0));
                decide(&t->learns, now_ms);
            }
            for (int i = 0; i < IDS && was_counted; i++)
                if (counted[i] != SIZE_MAX && counted[i] != count(t, i, "") &&
                    !t->late) /* late ones wait to be decided */
                    fail_msg("x%d: %zu were counted, %zu are members", i, counted[i], count(t, i, ""));
            t->stop = t->step + (int)any(t, 30);
        }
    }
}

static void go_on(struct trial *t) {
    const struct happening *h = &t->events[t->step];
    decide(&t->learns, h->clock_ms);
    if (any(t, 8) == 0)
        carry_some(t);
    bool wrong = t->replays && !t->imports && t->stage == BEFORE;
    bool lost = wrong && any(t, 3) == 0;
    if (!lost)
        happen(t, &t->learns, h, false);
    if (wrong && !lost && any(t, 4) == 0) { /* what never was, of somebody who is there */
        struct happening false_one = *h;
        false_one.n += 10;
        false_one.type = any(t, 2) ? 'a' : 'b';
        happen(t, &t->learns, &false_one, false);
    }
    t->step++;
}

/* ---- comparing ---- */

static void note_member(void *ctx, struct rc_span key, uint32_t segment, int64_t since_ms) {
    (void)since_ms;
    struct side *side = ctx;
    const char *id = side->catalog->segments[segment].id;
    int person = key.data[key.len - 1] - 'a';
    side->told.text[person][TOLD - 1 - (id[1] - '0') - 1] = '+';
}

/* What was told of one segment; the order among those of one instant is free. Owned by the caller. */
static char *told_of(const struct side *side, int person, int id) {
    char *out = rc_calloc(side->told.len[person] + 1, 1), *to = out;
    const char *at = side->told.text[person], *end = at + side->told.len[person];
    while (at < end) {
        const char *behind = (const char *)memchr(at, ' ', (size_t)(end - at)) + 1;
        if (at[2] == '0' + id)
            to = mempcpy(to, at, (size_t)(behind - at));
        at = behind;
    }
    return out;
}

static void compare(struct trial *t, unsigned seed) {
    struct side *sides[] = {&t->knew, &t->learns};
    for (int i = 0; i < 2; i++) {
        for (int p = 0; p < PERSONS; p++)
            memset(sides[i]->told.text[p] + TOLD - 1 - IDS, '-', IDS);
        rc_population_each_member(sides[i]->population, note_member, sides[i]);
    }
    for (int p = 0; p < PERSONS; p++) {
        const char *knew = t->knew.told.text[p], *learns = t->learns.told.text[p];
        if (memcmp(knew + TOLD - 1 - IDS, learns + TOLD - 1 - IDS, IDS) != 0)
            fail_msg("seed %u, person %c: %.*s and %.*s (x4 … x0)", seed, 'a' + p, IDS, knew + TOLD - 1 - IDS, IDS,
                     learns + TOLD - 1 - IDS);
        for (int i = 0; i < IDS && !t->late; i++) {
            char *a = told_of(&t->knew, p, i), *b = told_of(&t->learns, p, i);
            if (strcmp(a, b) != 0)
                fail_msg("seed %u, person %c: of x%d, which stays, was told\n%s\nand\n%s", seed, 'a' + p, i, a, b);
            free(a);
            free(b);
        }
    }
    int now = 0;
    for (int i = 0; i < IDS; i++) {
        if (t->after[i] == NOTHING)
            continue;
        char id[16];
        snprintf(id, sizeof id, "x%d", i);
        int a = rc_catalog_segment(t->knew.catalog, id), b = rc_catalog_segment(t->learns.catalog, id);
        assert_int_equal(rc_population_members(t->knew.population, (uint32_t)a),
                         rc_population_members(t->learns.population, (uint32_t)b));
        now++;
    }
    assert_int_equal(now, t->learns.catalog->n_segments);
}

/* ---- trials ---- */

static void invent(struct trial *t) {
    int64_t clock_ms = 1700000000000;
    for (int i = 0; i < IDS; i++) {
        t->before[i] = any(t, 3) ? (int)any(t, VARIANTS) : NOTHING;
        t->after[i] = any(t, 3) == 0 ? t->before[i] : any(t, 5) ? (int)any(t, VARIANTS) : NOTHING;
        if (t->replays)
            t->after[i] = t->before[i] = (int)any(t, VARIANTS);
        t->knew.stays[i] = t->learns.stays[i] = t->before[i] == t->after[i] && !t->replays;
    }
    for (int i = 0; i < STEPS; i++) {
        clock_ms += any(t, 40) == 0 ? 900 : any(t, 40);
        t->events[i] = (struct happening){
            .clock_ms = clock_ms,
            .at_ms = clock_ms - (t->late && any(t, 5) == 0 ? any(t, 900) : 0),
            .dataset = any(t, 4) == 0,
            .person = (int)any(t, PERSONS),
            .type = any(t, 3) ? 'a' : 'b',
            .n = (int)any(t, 10),
            .imported = t->imports && i > STEPS / 5 && any(t, 3) == 0,
        };
        if (t->events[i].imported)
            t->events[i].at_ms -= any(t, 9000);
    }
}

static void try(bool replays, bool imports) {
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct trial *t = rc_calloc(1, sizeof *t);
        t->seed = seed;
        t->late = seed % 3 == 0 || imports;
        t->imports = imports;
        t->replays = t->knew.replays = t->learns.replays = replays;
        rc_arena_init(&t->arena, 4096);
        for (int p = 0; p < PERSONS; p++) {
            t->knew.told.text[p] = rc_calloc(TOLD, 1);
            t->learns.told.text[p] = rc_calloc(TOLD, 1);
        }
        invent(t);
        start(t, &t->knew, AFTER);
        start(t, &t->learns, BEFORE);
        while (t->stage != AFTER || (t->step < t->stop && t->step < STEPS)) {
            if (t->stage == BEFORE && t->step == STEPS - 20)
                learn(t);
            for (unsigned n = 1 + any(t, 3); n > 0; n--)
                do_something(t);
            if (t->step < STEPS && !(t->stage == BEFORE && t->step == STEPS - 20))
                go_on(t);
        }
        for (int i = 0; i < t->step; i++) {
            decide(&t->knew, t->events[i].clock_ms);
            happen(t, &t->knew, &t->events[i], false);
        }
        int64_t end_ms = t->events[t->step - 1].clock_ms + any(t, 700);
        decide(&t->knew, end_ms);
        decide(&t->learns, end_ms);
        assert_false(rc_population_carry(t->learns.population, 0));
        decide(&t->learns, end_ms);
        compare(t, seed);
        for (int p = 0; p < PERSONS; p++) {
            free(t->knew.told.text[p]);
            free(t->learns.told.text[p]);
            free(t->saved.persons[p].record);
        }
        rc_population_free(t->knew.population);
        rc_population_free(t->learns.population);
        forget(&t->knew);
        forget(&t->learns);
        rc_arena_deinit(&t->arena);
        free(t);
    }
}

static void learning_late_is_having_known(void **state) {
    (void)state;
    try(false, false);
}

/* Before it events were lost, others came that are not on the topic, and persons nobody had met: the end is that of a population to which nothing happened. */
static void a_replay_mends_what_was_wrong(void **state) {
    (void)state;
    try(true, false);
}

/* What is imported comes long after it happened, of persons who may be new, and counts from the replay on that follows, whether it is read before that, beside it or
 * behind. */
static void an_import_ends_as_having_known(void **state) {
    (void)state;
    try(true, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(learning_late_is_having_known),
                                       cmocka_unit_test(a_replay_mends_what_was_wrong),
                                       cmocka_unit_test(an_import_ends_as_having_known)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
