/* A population that keeps few persons in memory says what one says that keeps all of them: under any order of events, saving, leaving,
 * restarts and new definitions. */
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

enum { PERSONS = 150, STEPS = 6000, SEEDS = 8 };

/* ---- a disk ---- */

struct saved {
    char *record;
    size_t len;
};

struct deadline {
    uint64_t domain;
    int64_t due_ms;
    int person;
};

struct disk {
    struct saved persons[PERSONS];
    struct deadline *deadlines;
    size_t n, capacity, gets;
    bool damaged;
    bool failed;
    enum rc_error_class failure;
};

static void name_of(int person, char out[16]) {
    snprintf(out, 16, "n:p%03d", person);
}

static int number_of(struct rc_span key) {
    char text[16];
    snprintf(text, sizeof text, "%.*s", (int)key.len, key.data);
    return (int)strtol(text + 3, NULL, 10);
}

static rc_status disk_get(void *ctx, struct rc_span key, struct rc_buf *out, bool *found, struct rc_error *error) {
    (void)error;
    struct disk *disk = ctx;
    const struct saved *saved = &disk->persons[number_of(key)];
    disk->gets++;
    *found = saved->record != NULL;
    rc_buf_reset(out);
    if (*found)
        rc_buf_add(out, saved->record, disk->damaged ? saved->len - 1 : saved->len);
    return RC_OK;
}

static int compare_deadlines(const void *a, const void *b) {
    const struct deadline *x = a, *y = b;
    if (x->domain != y->domain)
        return x->domain < y->domain ? -1 : 1;
    if (x->due_ms != y->due_ms)
        return x->due_ms < y->due_ms ? -1 : 1;
    return (x->person > y->person) - (x->person < y->person);
}

static rc_status disk_due(void *ctx, uint64_t domain, int64_t from_ms, struct rc_span from_key, rc_due_fn visit,
                          void *visit_ctx, struct rc_error *error) {
    (void)error;
    struct disk *disk = ctx;
    struct deadline from = {domain, from_ms, from_key.len ? number_of(from_key) : -1};
    if (disk->n)
        qsort(disk->deadlines, disk->n, sizeof *disk->deadlines, compare_deadlines);
    for (size_t i = 0; i < disk->n; i++) {
        if (disk->deadlines[i].domain != domain || compare_deadlines(&disk->deadlines[i], &from) < 0)
            continue;
        char key[16];
        name_of(disk->deadlines[i].person, key);
        if (!visit(visit_ctx, rc_span_str(key), disk->deadlines[i].due_ms))
            break;
    }
    return RC_OK;
}

static rc_status disk_each(void *ctx, struct rc_span from_key, rc_saved_fn visit, void *visit_ctx,
                           struct rc_error *error) {
    (void)error;
    struct disk *disk = ctx;
    for (int i = from_key.len ? number_of(from_key) : 0; i < PERSONS; i++) {
        char key[16];
        name_of(i, key);
        if (disk->persons[i].record &&
            !visit(visit_ctx, rc_span_str(key), rc_span_of(disk->persons[i].record, disk->persons[i].len)))
            break;
    }
    return RC_OK;
}

static void disk_deadline(void *ctx, struct rc_span key, uint64_t domain, int64_t was_ms, int64_t is_ms) {
    struct disk *disk = ctx;
    struct deadline old = {domain, was_ms, number_of(key)};
    for (size_t i = 0; i < disk->n && was_ms != INT64_MAX; i++)
        if (compare_deadlines(&disk->deadlines[i], &old) == 0)
            disk->deadlines[i--] = disk->deadlines[--disk->n];
    if (is_ms == INT64_MAX)
        return;
    rc_grow(&disk->deadlines, &disk->capacity, disk->n + 1, sizeof *disk->deadlines);
    disk->deadlines[disk->n++] = (struct deadline){domain, is_ms, number_of(key)};
}

static void disk_failed(void *ctx, const struct rc_error *error) {
    struct disk *disk = ctx;
    assert_false(disk->failed); /* told once */
    disk->failed = true;
    disk->failure = error->class;
}

static void disk_put(void *ctx, struct rc_span key, struct rc_span record) {
    struct saved *saved = &((struct disk *)ctx)->persons[number_of(key)];
    free(saved->record);
    saved->record = rc_span_dup(record);
    saved->len = record.len;
}

static void disk_free(struct disk *disk) {
    for (int i = 0; i < PERSONS; i++)
        free(disk->persons[i].record);
    free(disk->deadlines);
}

static struct rc_backing backing_of(struct disk *disk) {
    return (struct rc_backing){.ctx = disk,
                               .get = disk_get,
                               .due = disk_due,
                               .each = disk_each,
                               .deadline = disk_deadline,
                               .failed = disk_failed};
}

/* ---- two populations ---- */

/* What each person was told, without the causes: those of what was pending at a restart are not kept. Where definitions change, only of
 * the segments that stay, and where events are late without since: how much is found of what was before depends on what was pruned. */
struct told {
    struct rc_buf persons[PERSONS];
    bool only_staying, late;
};

static bool stays(const char *segment) {
    return strcmp(segment, "often") == 0 || strcmp(segment, "quiet") == 0;
}

static const struct rc_catalog *told_catalog;

static void on_change(void *ctx, const struct rc_change *change) {
    struct told *told = ctx;
    const char *id =
        change->existence ? told_catalog->datasets[change->index].id : told_catalog->segments[change->index].id;
    if (told->only_staying && !change->existence && !stays(id))
        return;
    rc_buf_printf(&told->persons[number_of(change->person_key)], "%c%s@%lld ", change->realized ? '+' : '-', id,
                  (long long)(told->late ? 0 : change->since_ms));
}

#define WEB_HERE                                                                                                       \
    "{'kind':'dataset','id':'web','topic':'t','format':'json','person':{'namespace':'n','id':{'path':'p'}},"           \
    "'timestamp':{'path':'t'},'event_id':{'path':'e'},'grace':'20ms','fields':{'type':{'path':'type','type':'string'}" \
    "}}"
#define SHOP_HERE                                                                                             \
    "{'kind':'dataset','id':'shop','topic':'u','format':'json','person':{'namespace':'n','id':{'path':'p'}}," \
    "'timestamp':{'path':'t'},'event_id':{'path':'e'},'grace':'0s','fields':{'type':{'path':'type','type':'string'}}}"
/* Counts, absence, a sequence, a calendar window; of one dataset, of the other, of both. */
static const char *const definitions[] = {
    "[" WEB_HERE "," SHOP_HERE ","
    "{'kind':'segment','id':'often','dataset':'web','where':{'event':{'field':'type','eq':'a'},'count':{'ge':2},'"
    "window':'700ms'}},"
    "{'kind':'segment','id':'quiet','dataset':'web','where':{'not':{'event':{'field':'type','eq':'b'},'window':'3s'}}},"
    "{'kind':'segment','id':'bought','dataset':'shop','where':{'event':{'field':'type','eq':'a'},'window':'5s'}},"
    "{'kind':'segment','id':'both','dataset':['web','shop'],'where':{'and':["
    "{'event':{'and':[{'field':'_dataset','eq':'web'},{'field':'type','eq':'a'}]},'window':'2s'},"
    "{'not':{'event':{'and':[{'field':'_dataset','eq':'shop'},{'field':'type','eq':'b'}]},'window':'4s'}}]}}]",
    "[" WEB_HERE "," SHOP_HERE ","
    "{'kind':'segment','id':'often','dataset':'web','where':{'event':{'field':'type','eq':'a'},'count':{'ge':2},'"
    "window':'700ms'}},"
    "{'kind':'segment','id':'quiet','dataset':'web','where':{'not':{'event':{'field':'type','eq':'b'},'window':'3s'}}},"
    "{'kind':'segment','id':'then','dataset':'web','where':{'sequence':[{'event':{'field':'type','eq':'a'}},"
    "{'event':{'field':'type','eq':'b'},'within':'1s'}],'window':'6s'}}]",
};

enum { MOST_PLANS = 64 };

/* Definitions that are replaced, and may be in use still. */
struct former {
    struct rc_catalog *catalog;
    struct rc_plan *plan;
};

struct twin {
    struct rc_population *whole, *part; /* the same persons: all in memory; few in memory */
    struct told told_whole, told_part;
    struct disk disk;
    struct rc_catalog *catalog;
    struct rc_plan *plan;
    struct rc_decoder *decoders[2];
    struct former former[MOST_PLANS];
    size_t n_former;
    struct rc_arena arena;
    int64_t clock_ms;
    unsigned seed;
    size_t most; /* bytes of `part`, after leaving */
};

static unsigned any(struct twin *t, unsigned n) {
    return (unsigned)rand_r(&t->seed) % n;
}

static void use(struct twin *t, const char *text) {
    t->catalog = build(text);
    told_catalog = t->catalog;
    assert_int_equal(rc_plan_compile(t->catalog, &t->plan, &err), RC_OK);
    for (int d = 0; d < 2; d++)
        assert_int_equal(rc_decoder_new(&t->catalog->datasets[d], &(struct rc_decoder_options){.max_ahead_ms = -1},
                                        &t->decoders[d], &err),
                         RC_OK);
}

static void forget(struct rc_catalog *catalog, struct rc_plan *plan, struct rc_decoder *decoders[2]) {
    rc_decoder_free(decoders[0]);
    rc_decoder_free(decoders[1]);
    rc_plan_free(plan);
    rc_catalog_free(catalog);
}

/* Definitions that nobody is under any more go. */
static void forget_unused(struct twin *t) {
    for (size_t i = t->n_former; i-- > 0;) {
        struct former *former = &t->former[i];
        if (rc_population_uses(t->part, former->plan))
            continue;
        rc_plan_free(former->plan);
        rc_catalog_free(former->catalog);
        *former = t->former[--t->n_former];
    }
}

static void carry_all(struct twin *t) {
    assert_false(rc_population_carry(t->whole, 0));
    assert_false(rc_population_carry(t->part, 0));
    forget_unused(t);
    assert_int_equal(t->n_former, 0);
}

static struct twin *open_twin(unsigned seed) {
    struct twin *t = rc_calloc(1, sizeof *t);
    t->seed = seed;
    t->clock_ms = 1700000000000;
    rc_arena_init(&t->arena, 4096);
    for (int i = 0; i < PERSONS; i++) {
        rc_buf_init(&t->told_whole.persons[i], 1 << 20);
        rc_buf_init(&t->told_part.persons[i], 1 << 20);
    }
    use(t, definitions[0]);
    t->whole = rc_population_new(t->plan, on_change, &t->told_whole);
    t->part = rc_population_new(t->plan, on_change, &t->told_part);
    struct rc_backing backing = backing_of(&t->disk);
    rc_population_back(t->part, &backing, 40000);
    return t;
}

static void close_twin(struct twin *t) {
    carry_all(t);
    rc_population_free(t->whole);
    rc_population_free(t->part);
    forget(t->catalog, t->plan, t->decoders);
    disk_free(&t->disk);
    rc_arena_deinit(&t->arena);
    for (int i = 0; i < PERSONS; i++) {
        rc_buf_deinit(&t->told_whole.persons[i]);
        rc_buf_deinit(&t->told_part.persons[i]);
    }
    free(t);
}

static void set_clocks(struct twin *t) {
    for (uint32_t d = 0; d < 2; d++) {
        rc_population_set_clock(t->whole, d, t->clock_ms);
        rc_population_set_clock(t->part, d, t->clock_ms);
    }
}

static void advance_both(struct twin *t) {
    set_clocks(t);
    while (rc_population_advance(t->whole, 0)) {}
    for (int turns = 0; rc_population_advance(t->part, 0); turns++) {
        assert_true(turns < 1000);
        if (rc_population_evict(t->part) ==
            0) { /* over the budget: save, and let go; nobody does who is under a former plan */
            (void)rc_population_carry(t->part, 5);
            rc_population_save(t->part, disk_put, &t->disk);
            rc_population_evict(t->part);
        }
    }
}

static bool apply_to(struct twin *t, struct rc_population *population, uint32_t dataset, int person, int64_t at_ms,
                     char type) {
    char json[160];
    int n = snprintf(json, sizeof json, "{\"p\":\"p%03d\",\"t\":%lld,\"e\":\"%d%c%lld\",\"type\":\"%c\"}", person,
                     (long long)at_ms, person, type, (long long)at_ms, type);
    struct rc_record record = {.value = rc_span_of(json, (size_t)n), .timestamp_ms = RC_NO_TIMESTAMP};
    struct rc_event event;
    rc_arena_reset(&t->arena);
    if (rc_decode(t->decoders[dataset], &record, &t->arena, &event, &err) != RC_DECODED)
        fail_msg("%s", err.message);
    event.dataset = dataset;
    return rc_population_apply(population, &event);
}

static void happen(struct twin *t, uint32_t dataset, int person, int64_t at_ms, char type) {
    bool whole = apply_to(t, t->whole, dataset, person, at_ms, type),
         part = apply_to(t, t->part, dataset, person, at_ms, type);
    if (!t->told_whole.late)
        assert_int_equal(whole, part);
}

static void save_part(struct twin *t) {
    rc_population_save(t->part, disk_put, &t->disk);
    rc_population_evict(t->part);
    size_t bytes = rc_population_bytes(t->part);
    t->most = bytes > t->most ? bytes : t->most;
}

/* The process dies between two checkpoints: nothing was pending. */
static void restart_part(struct twin *t) {
    save_part(t);
    size_t members[8] = {0}, persons = rc_population_persons(t->part);
    for (uint32_t s = 0; s < t->catalog->n_segments; s++)
        members[s] = rc_population_members(t->part, s);
    bool settled = rc_population_settled(t->part);
    rc_population_free(t->part);
    t->part = rc_population_new(t->plan, on_change, &t->told_part);
    forget_unused(t);
    struct rc_backing backing = backing_of(&t->disk);
    rc_population_back(t->part, &backing, any(t, 2) ? 20000 : 40000);
    if (any(t, 2)) {
        for (uint32_t s = 0; s < t->catalog->n_segments; s++)
            rc_population_set_members(t->part, s, members[s]);
    } else { /* numbers and deadlines are lost: after a restore */
        t->disk.n = 0;
        for (int i = 0; i < PERSONS; i++) {
            char key[16];
            name_of(i, key);
            struct saved *saved = &t->disk.persons[i];
            if (saved->record &&
                rc_population_account(t->part, rc_span_str(key), rc_span_of(saved->record, saved->len), &err) != RC_OK)
                fail_msg("%s", err.message);
        }
    }
    rc_population_resume(t->part, persons, !settled);
    set_clocks(t);
}

/* All in memory go over at once, few in memory bit by bit. */
static void replan_both(struct twin *t, const char *text) {
    assert_true(t->n_former < MOST_PLANS);
    t->former[t->n_former++] = (struct former){t->catalog, t->plan};
    rc_decoder_free(t->decoders[0]);
    rc_decoder_free(t->decoders[1]);
    use(t, text);
    rc_population_replan(t->whole, t->plan);
    assert_false(rc_population_carry(t->whole, 0));
    rc_population_replan(t->part, t->plan);
    forget_unused(t);
}

static void carry_some(struct twin *t) {
    if (t->n_former > 0 && any(t, 3) == 0 && !rc_population_carry(t->part, 1 + any(t, 10)))
        forget_unused(t);
}

static void compare(struct twin *t, int step) {
    for (int i = 0; i < PERSONS; i++) {
        const char *whole = t->told_whole.persons[i].data, *part = t->told_part.persons[i].data;
        if (strcmp(whole ? whole : "", part ? part : "") != 0)
            fail_msg("step %d, person %d:\nall in memory: %s\nfew in memory: %s", step, i, whole ? whole : "",
                     part ? part : "");
        rc_buf_reset(&t->told_whole.persons[i]);
        rc_buf_reset(&t->told_part.persons[i]);
    }
    assert_int_equal(rc_population_persons(t->whole), rc_population_persons(t->part));
    for (uint32_t s = 0; s < t->catalog->n_segments; s++)
        if (!t->told_whole.only_staying || stays(t->catalog->segments[s].id))
            assert_int_equal(rc_population_members(t->whole, s), rc_population_members(t->part, s));
}

static void few_in_memory_say_what_all_say(void **state) {
    (void)state;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct twin *t = open_twin(seed);
        t->told_whole.only_staying = t->told_part.only_staying = seed % 2;
        t->told_whole.late = t->told_part.late = seed % 4 / 2;
        for (int step = 0; step < STEPS; step++) {
            t->clock_ms += any(t, 50) == 0 ? 2000 : any(t, 30);
            advance_both(t);
            if (any(t, 8) == 0)
                save_part(t);
            if (any(t, 60) == 0)
                restart_part(t);
            if (t->told_whole.only_staying && any(t, 300) == 0) {
                replan_both(t, definitions[any(t, 2)]);
                advance_both(t);
            }
            carry_some(t);
            if (any(t, 20) == 0) {
                carry_all(t);
                advance_both(t);
                compare(t, step);
            }
            int64_t late = !t->told_whole.late ? 0 : any(t, 10) == 0 ? any(t, 4000) : any(t, 3);
            happen(t, any(t, 2), (int)any(t, PERSONS), t->clock_ms - late, any(t, 3) ? 'a' : 'b');
        }
        assert_true(t->disk.gets > STEPS / 20); /* they did come and go */
        assert_false(t->disk.failed);
        close_twin(t);
    }
}

/* ---- saving in slices, and dying in between ------------------------------------------------------------------------------ */

struct happened {
    int64_t clock_ms, at_ms;
    uint32_t dataset;
    int person;
    char type;
};

/* `disk` (first, because its functions get this as their context) is what is committed, `making` what the save under way has put so far. */
struct sliced {
    struct disk disk, making;
    struct twin *twin;
    bool under_way;
    size_t at, position, noted; /* of the log: applied, committed, noted when the save under way began */
    uint64_t plan, noted_plan;
    size_t persons, quarantined, members[8];
    struct happened log[STEPS];
    size_t n;
    size_t commits, slices, crashes;
};

static void making_put(void *ctx, struct rc_span key, struct rc_span record) {
    disk_put(&((struct sliced *)ctx)->making, key, record);
}

static void making_deadline(void *ctx, struct rc_span key, uint64_t domain, int64_t was_ms, int64_t is_ms) {
    struct sliced *s = ctx;
    assert_true(s->under_way);
    disk_deadline(&s->making, key, domain, was_ms, is_ms);
}

static struct rc_backing sliced_backing(struct sliced *s) {
    struct rc_backing backing = backing_of(&s->disk);
    backing.ctx = s;
    backing.deadline = making_deadline;
    return backing;
}

static struct disk copy_of(const struct disk *disk) {
    struct disk copy = *disk;
    copy.deadlines = rc_calloc(disk->capacity + 1, sizeof *copy.deadlines);
    if (disk->n)
        memcpy(copy.deadlines, disk->deadlines, disk->n * sizeof *copy.deadlines);
    for (int i = 0; i < PERSONS; i++)
        if (disk->persons[i].record)
            copy.persons[i].record = rc_span_dup(rc_span_of(disk->persons[i].record, disk->persons[i].len));
    return copy;
}

static void slices_begin(struct sliced *s) {
    struct twin *t = s->twin;
    s->making = copy_of(&s->disk);
    s->under_way = true;
    s->noted = s->at;
    s->noted_plan = rc_population_settled(t->part) ? rc_plan_hash(t->plan) : 0;
    rc_population_save_begin(t->part);
}

/* The numbers that go with the records are those of the records. */
static void check_numbers(struct sliced *s) {
    struct twin *t = s->twin;
    struct disk ignored = {0};
    struct rc_population *counted = rc_population_new(t->plan, on_change, &t->told_part);
    struct rc_backing backing = backing_of(&ignored);
    rc_population_back(counted, &backing, 0);
    size_t persons = 0;
    for (int i = 0; i < PERSONS; i++) {
        char key[16];
        name_of(i, key);
        const struct saved *saved = &s->disk.persons[i];
        persons += saved->record != NULL;
        if (saved->record &&
            rc_population_account(counted, rc_span_str(key), rc_span_of(saved->record, saved->len), &err) != RC_OK)
            fail_msg("%s", err.message);
    }
    assert_int_equal(s->persons, persons);
    assert_int_equal(s->quarantined, rc_population_quarantined(counted));
    for (uint32_t i = 0; i < t->catalog->n_segments; i++)
        assert_int_equal(s->members[i], rc_population_members(counted, i));
    if (s->disk.n)
        qsort(s->disk.deadlines, s->disk.n, sizeof *s->disk.deadlines, compare_deadlines);
    if (ignored.n)
        qsort(ignored.deadlines, ignored.n, sizeof *ignored.deadlines, compare_deadlines);
    for (size_t i = 0, k = 0; i < ignored.n; i++, k++) { /* more may be there, which nobody stands behind */
        while (k < s->disk.n && compare_deadlines(&s->disk.deadlines[k], &ignored.deadlines[i]) < 0)
            k++;
        assert_true(k < s->disk.n && compare_deadlines(&s->disk.deadlines[k], &ignored.deadlines[i]) == 0);
    }
    rc_population_free(counted);
    disk_free(&ignored);
}

static void slices_some(struct sliced *s, size_t most) {
    struct twin *t = s->twin;
    s->slices++;
    if (rc_population_save_some(t->part, most, making_put, s))
        return;
    struct rc_saved_numbers numbers = rc_population_saved(t->part);
    s->persons = numbers.persons;
    s->quarantined = numbers.quarantined;
    for (uint32_t i = 0; i < t->catalog->n_segments; i++)
        s->members[i] = rc_population_saved_members(t->part, i);
    s->position = s->noted;
    s->plan = s->noted_plan;
    s->under_way = false;
    s->commits++;
    disk_free(&s->disk);
    s->disk = s->making;
    s->making = (struct disk){0};
    bool counted_by_old_plan = t->told_whole.only_staying; /* segments that are new since begin are counted from zero */
    if (!counted_by_old_plan)
        check_numbers(s);
    rc_population_evict(t->part);
}

static void finish_slices(struct sliced *s) {
    while (s->under_way)
        slices_some(s, 0);
}

static void advance_sliced(struct sliced *s) {
    for (int turns = 0; rc_population_advance(s->twin->part, 0); turns++) {
        assert_true(turns < 1000);
        if (!s->under_way && rc_population_evict(s->twin->part) > 0)
            continue;
        (void)rc_population_carry(s->twin->part, 5);
        if (!s->under_way) /* over the budget: save, and let go */
            slices_begin(s);
        finish_slices(s);
    }
}

/* What is not committed is gone; from the noted position on everything happens again. */
static void die_and_go_on(struct sliced *s) {
    struct twin *t = s->twin;
    s->crashes++;
    if (s->under_way)
        disk_free(&s->making);
    s->making = (struct disk){0};
    s->under_way = false;
    rc_population_free(t->part);
    t->part = rc_population_new(t->plan, on_change, &t->told_part);
    forget_unused(t);
    struct rc_backing backing = sliced_backing(s);
    rc_population_back(t->part, &backing, 40000);
    for (uint32_t i = 0; i < t->catalog->n_segments && !t->told_whole.only_staying; i++)
        rc_population_set_members(t->part, i, s->members[i]);
    rc_population_resume(t->part, s->persons, s->plan != rc_plan_hash(t->plan));
    s->at = s->position;
    for (size_t i = s->at > 0 ? s->at - 1 : 0; i < s->n; i++) { /* from the clock that was noted */
        const struct happened *h = &s->log[i];
        for (uint32_t d = 0; d < 2; d++)
            rc_population_set_clock(t->part, d, h->clock_ms);
        advance_sliced(s);
        if (i < s->at)
            continue;
        (void)apply_to(t, t->part, h->dataset, h->person, h->at_ms, h->type);
        s->at = i + 1;
    }
}

/* The last word on each segment of a person. `whole` may have said more. */
static void compare_last(struct sliced *s, int step) {
    struct twin *t = s->twin;
    carry_all(t);
    set_clocks(t);
    while (rc_population_advance(t->whole, 0)) {}
    advance_sliced(s);
    static const char *const targets[] = {"web", "shop", "often", "quiet", "bought", "both"};
    for (int i = 0; i < PERSONS; i++)
        for (size_t k = 0; k < sizeof targets / sizeof *targets; k++) {
            char marks[2][64] = {"", ""};
            const struct rc_buf *told[2] = {&t->told_whole.persons[i], &t->told_part.persons[i]};
            for (int side = 0; side < 2; side++)
                for (const char *at = told[side]->data; at && *at; at = strchr(at, ' ') + 1) {
                    const char *name = at + 1;
                    size_t len = strlen(targets[k]);
                    if (strncmp(name, targets[k], len) == 0 && name[len] == '@')
                        snprintf(marks[side], sizeof marks[side], "%.*s", (int)(strchr(at, ' ') - at), at);
                    /* Nothing is ever told that was not so. */
                    if (side == 1 && strncmp(name, targets[k], len) == 0 && name[len] == '@' && !t->told_whole.late &&
                        !strstr(told[0]->data ? told[0]->data : "", marks[1]))
                        fail_msg("step %d, person %d: %s was told, never so in memory: %s", step, i, marks[1],
                                 told[0]->data);
                }
            /* What late events make of the past may have been told by one alone, and be over. */
            bool in[2] = {marks[0][0] == '+', marks[1][0] == '+'};
            if (t->told_whole.late ? in[0] != in[1] : strcmp(marks[0], marks[1]) != 0)
                fail_msg("step %d, person %d: in memory the last is %s, saved in slices %s", step, i, marks[0],
                         marks[1]);
        }
    assert_int_equal(rc_population_persons(t->whole), rc_population_persons(t->part));
    for (uint32_t i = 0; i < t->catalog->n_segments && !t->told_whole.only_staying; i++)
        assert_int_equal(rc_population_members(t->whole, i), rc_population_members(t->part, i));
}

static void slices_and_crashes_say_what_memory_says(void **state) {
    (void)state;
    size_t slices = 0, commits = 0, crashes = 0;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct twin *t = open_twin(seed);
        struct sliced *s = rc_calloc(1, sizeof *s);
        s->twin = t;
        struct rc_backing backing = sliced_backing(s);
        rc_population_back(t->part, &backing, 40000);
        t->told_whole.only_staying = t->told_part.only_staying = seed % 2;
        t->told_whole.late = t->told_part.late = seed % 4 / 2;
        for (int step = 0; step < STEPS; step++) {
            t->clock_ms += any(t, 50) == 0 ? 2000 : any(t, 30);
            set_clocks(t);
            while (rc_population_advance(t->whole, 0)) {}
            if (any(t, 4) == 0) /* a wave waits, and is interleaved with everything else */
                (void)rc_population_advance_events(t->part);
            else
                (void)rc_population_advance(t->part, any(t, 5));
            if (!s->under_way && any(t, 8) == 0)
                slices_begin(s);
            else if (s->under_way && any(t, 2))
                slices_some(s, 1 + any(t, 6));
            if (any(t, 100) == 0)
                die_and_go_on(s);
            if (t->told_whole.only_staying && any(t, 300) == 0)
                replan_both(t, definitions[any(t, 2)]);
            carry_some(t);
            if (any(t, 20) == 0) {
                finish_slices(s); /* evicts, so that persons come and go */
                compare_last(s, step);
            }
            int64_t late = !t->told_whole.late ? 0 : any(t, 10) == 0 ? any(t, 4000) : any(t, 3);
            struct happened h = {t->clock_ms, t->clock_ms - late, any(t, 2), (int)any(t, PERSONS),
                                 any(t, 3) ? 'a' : 'b'};
            s->log[s->n++] = h;
            (void)apply_to(t, t->whole, h.dataset, h.person, h.at_ms, h.type);
            (void)apply_to(t, t->part, h.dataset, h.person, h.at_ms, h.type);
            s->at = s->n;
        }
        finish_slices(s);
        assert_false(s->disk.failed);
        slices += s->slices;
        commits += s->commits;
        crashes += s->crashes;
        disk_free(&s->disk);
        close_twin(t);
        free(s);
    }
    assert_true(crashes > 10 && commits > 100 && slices > 3 * commits);
}

/* A damaged record is told once, by its class, and nothing is applied, decided or saved after it. */
static void damage_stops_everything(void **state) {
    (void)state;
    struct twin *t = open_twin(1);
    happen(t, 0, 7, t->clock_ms, 'a');
    t->clock_ms += 10;
    advance_both(t);
    restart_part(t);
    size_t len = t->disk.persons[7].len;
    t->disk.damaged = true;
    struct rc_population *whole = t->whole; /* only the backed one from here */
    t->whole = t->part;
    happen(t, 0, 7, t->clock_ms, 'a');
    assert_true(t->disk.failed);
    assert_int_equal(t->disk.failure, RC_CLASS_POISON);
    happen(t, 0, 8, t->clock_ms, 'a');
    set_clocks(t);
    assert_false(rc_population_advance(t->part, 0));
    rc_population_save(t->part, disk_put, &t->disk);
    assert_null(t->disk.persons[8].record);
    assert_int_equal(t->disk.persons[7].len, len);
    t->whole = whole;
    close_twin(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_in_memory_say_what_all_say),
        cmocka_unit_test(slices_and_crashes_say_what_memory_says),
        cmocka_unit_test(damage_stops_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
