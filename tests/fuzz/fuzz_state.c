/* Any bytes as the saved record of a person, under a plan with every kind of series.
 *
 * They are refused with a message, the population as if they had never come; or they are taken, and then: explaining, applying events,
 * advancing and saving hold; what is saved loads, and is saved again as the same bytes; and who goes on from the saved bytes has
 * the same memberships at every clock as who goes on in memory. The last is asked of records of another plan alone: then every
 * segment is looked at first, so that memberships and timers follow from what is kept, which those of a mutated record need not.
 *
 * The input is two bytes that choose the events, then the record; its magic, version and checksum are put right, so that the parser
 * behind them is reached. Parts of a record are named by hashes that no mutation would guess: the mutator here puts in those of the
 * plan, and starts from real saved states. `fuzz_state --seeds=DIR` writes some of these and ends. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/alloc.h"
#include "codec/decode.h"
#include "segment/explain.h"
#include "segment/person.h"

#define check(truth) ((truth) ? (void)0 : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #truth), abort()))

enum { HEAD = 3, HASH = 8, TAIL = 8, N_DATASETS = 2, STEPS = 8, SEEDS = 16 };

static const int64_t start_ms = INT64_C(1772481600000); /* 2026-03-02T20:00:00Z */
#define DAY_MS INT64_C(86400000)
static const char key[] = "n:p";

#define DATASET(id, fields)                                                                                          \
    "{'kind':'dataset','id':'" id "','topic':'" id "','format':'json','person':{'namespace':'n','id':{'path':'p'}}," \
    "'timestamp':{'path':'t'},'event_id':{'path':'e'},'session_timeout':'30m','timezone':'Europe/"                   \
    "Stockholm','fields':{" fields "}}"
#define SEGMENT(id, more) ",{'kind':'segment','id':'" id "'," more "}"
#define WEB "'dataset':'web',"

/* clang-format off */
static const char definitions[] = "["
    DATASET("web", "'type':{'path':'type','type':'string'},'price':{'path':'price','type':'decimal','min':0},"
                   "'delta':{'path':'delta','type':'decimal'},'n':{'path':'n','type':'long'},"
                   "'b':{'path':'b','type':'boolean'},'skus':{'path':'skus','type':'string'}") ","
    DATASET("crm", "'tier':{'path':'tier','type':'string'},'type':{'path':'type','type':'string'}")
    SEGMENT("latest-k", WEB "'window':'1d','where':{'event':{'field':'type','eq':'a'},'count':{'ge':3}}")
    SEGMENT("twin", WEB "'window':'1d','where':{'event':{'field':'type','eq':'a'},'count':{'ge':3}}")
    SEGMENT("exactly", WEB "'where':{'event':{'field':'type','eq':'b'},'count':{'eq':2}}")
    SEGMENT("excepted", WEB "'window':{'last':'1d','except_last':'1h'},"
                            "'where':{'event':{'field':'type','eq':'a'},'count':{'ge':2}}")
    SEGMENT("calendar", WEB "'window':{'calendar':'day','count':2},"
                            "'where':{'event':{'field':'type','eq':'b'},'count':{'le':2}}")
    SEGMENT("complete", WEB "'window':{'calendar':'week','count':1,'complete':true},'where':{'event':{}}")
    SEGMENT("fixed", WEB "'window':{'from':'2026-03-03T00:00:00Z','to':'2026-03-05T00:00:00Z'},'where':{'event':{}}")
    SEGMENT("same", WEB "'window':'2d','where':{'event':{},'count':{'ge':2},'same':'skus'}")
    SEGMENT("same-number", WEB "'window':'2d','where':{'event':{},'count':{'eq':2},'same':'n'}")
    SEGMENT("distinct", WEB "'window':'2d','where':{'distinct':'skus','is':{'ge':3}}")
    SEGMENT("distinct-number", WEB "'where':{'distinct':'n','is':{'eq':2}}")
    SEGMENT("sum", WEB "'window':'2d','where':{'sum':'price','is':{'ge':100}}")
    SEGMENT("sum-signed", WEB "'window':'2d','where':{'sum':'delta','is':{'gt':5,'lt':50}}")
    SEGMENT("avg", WEB "'window':'2d','where':{'avg':'n','is':{'ge':3}}")
    SEGMENT("max", WEB "'window':'1d','where':{'max':'delta','is':{'ge':10}}")
    SEGMENT("min", WEB "'window':'1d','where':{'min':'n','is':{'lt':2}}")
    SEGMENT("latest", "'dataset':['web','crm'],'where':{'latest':'tier','is':{'in':['gold','silver']}}")
    SEGMENT("latest-flag", WEB "'window':'12h','where':{'latest':'b','is':{'eq':true}}")
    SEGMENT("first", WEB "'where':{'first':'skus','is':{'eq':'x'}}")
    SEGMENT("first-lately", WEB "'window':'1d','where':{'first':'n','is':{'ge':2}}")
    SEGMENT("sequence", WEB "'window':'2d','where':{'sequence':[{'none':{'field':'type','eq':'c'},'within':'1h'},"
                            "{'event':{'field':'type','eq':'a'}},{'none':{'field':'type','eq':'b'}},"
                            "{'each':[{'field':'type','eq':'c'},{'field':'b','eq':true}],'within':'6h'},"
                            "{'none':{'field':'type','eq':'b'},'within':'2h'}],'span':'12h'}")
    SEGMENT("sequence-same", WEB "'where':{'sequence':[{'event':{'field':'type','eq':'a'}},"
                                 "{'event':{'field':'type','eq':'b'},'after':'1m'},"
                                 "{'none':{'field':'type','eq':'c'}}],'same':'skus'}")
    SEGMENT("sessions", WEB "'window':'3d','where':{'session':{'and':[{'event':{'field':'type','eq':'a'}},"
                            "{'sum':'price','is':{'lt':60}}]},'count':{'ge':2},'closed':true}")
    SEGMENT("session-steps", "'dataset':['web','crm'],'where':{'sequence':["
                             "{'session':{'event':{'field':'type','eq':'a'}}},"
                             "{'session':{'first':'type','is':{'eq':'b'}},'closed':true,'within':'1d'},"
                             "{'none':{'field':'type','eq':'c'},'within':'1h'}]}")
    SEGMENT("lapsed", "'dataset':['web','crm'],'where':{'not':{'event':{},'window':'1d'}}")
    SEGMENT("reference", WEB "'where':{'and':[{'segment':'sum'},{'not':{'segment':'latest'}}]}")
    "]";
/* clang-format on */

static struct rc_catalog *catalog;
static struct rc_plan *plan;
static struct rc_decoder *decoders[N_DATASETS];
static struct rc_arena arena;

static void set_up(void) {
    struct rc_catalog_builder builder;
    struct rc_error err;
    char *text = rc_strdup(definitions);
    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    rc_catalog_builder_init(&builder);
    if (rc_catalog_builder_add(&builder, "fuzz", rc_span_str(text), NULL, NULL, &err) != RC_OK ||
        rc_catalog_build(&builder, &catalog, &err) != RC_OK || rc_plan_compile(catalog, &plan, &err) != RC_OK) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    for (size_t d = 0; d < N_DATASETS; d++)
        check(rc_decoder_new(&catalog->datasets[d], &(struct rc_decoder_options){.max_ahead_ms = -1}, &decoders[d],
                             &err) == RC_OK);
    rc_catalog_builder_deinit(&builder);
    rc_arena_init(&arena, 4096);
    free(text);
}

/* ---- events, chosen by a number --------------------------------------------------------------------------------------- */

static uint32_t draw(uint64_t *state, uint32_t below) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33) % below;
}

/* Times around `at_ms`, equal ones among them; ids that repeat. */
static void apply_one(struct rc_population *population, uint64_t *state, int64_t at_ms) {
    static const char *const types[] = {"a", "b", "c", "d"}, *const skus[] = {"x", "y", "z", "xx", "yy"},
                             *const tiers[] = {"gold", "silver", "none"};
    char json[512];
    uint32_t d = draw(state, 4) == 0;
    int64_t ts = at_ms + ((int64_t)draw(state, 97) - 90) * INT64_C(600000);
    int n = snprintf(json, sizeof json, "{\"p\":\"p\",\"t\":%lld,\"e\":\"e%u\",\"type\":\"%s\",\"tier\":\"%s\"",
                     (long long)ts, draw(state, 40), types[draw(state, 4)], tiers[draw(state, 3)]);
    if (draw(state, 2))
        n += snprintf(json + n, sizeof json - (size_t)n, ",\"price\":%u.5,\"delta\":%d,\"b\":%s", draw(state, 40),
                      (int)draw(state, 60) - 30, draw(state, 2) ? "true" : "false");
    if (draw(state, 2))
        n += snprintf(json + n, sizeof json - (size_t)n, ",\"n\":%u,\"skus\":[\"%s\",\"%s\"]", draw(state, 5),
                      skus[draw(state, 5)], skus[draw(state, 5)]);
    n += snprintf(json + n, sizeof json - (size_t)n, "}");
    struct rc_record record = {.value = rc_span_of(json, (size_t)n), .timestamp_ms = RC_NO_TIMESTAMP};
    struct rc_event event;
    struct rc_error err;
    rc_arena_reset(&arena);
    check(rc_decode(decoders[d], &record, &arena, &event, &err) == RC_DECODED);
    event.dataset = d;
    rc_population_apply(population, &event);
}

static void move_clocks(struct rc_population *population, int64_t clock_ms) {
    for (uint32_t d = 0; d < N_DATASETS; d++)
        rc_population_set_clock(population, d, clock_ms);
    rc_population_advance(population, 0);
}

/* Events and the going of time; returns the clock. */
static int64_t go_on(struct rc_population *population, uint64_t *state, int64_t clock_ms, int steps) {
    for (int i = 0; i < steps; i++) {
        uint32_t what = draw(state, 4);
        if (what < 3)
            apply_one(population, state, clock_ms);
        if (what > 1)
            move_clocks(population, clock_ms += draw(state, 50) * INT64_C(600000));
    }
    move_clocks(population, clock_ms += 1);
    return clock_ms;
}

/* ---- what a population says and keeps ---------------------------------------------------------------------------------- */

static void on_change(void *ctx, const struct rc_change *change) {
    (void)ctx;
    check(change->index < catalog->n_segments && rc_span_equal(change->person_key, rc_span_str(key)));
}

static void on_member(void *ctx, struct rc_span person_key, uint32_t segment, int64_t since_ms) {
    (void)person_key;
    (void)
        since_ms; /* after a late event it is told as far as what is kept shows it, and memory may keep more for longer */
    rc_buf_printf(ctx, "%u ", segment);
}

static void on_record(void *ctx, struct rc_span person_key, struct rc_span record) {
    check(rc_span_equal(person_key, rc_span_str(key)));
    rc_buf_reset(ctx);
    rc_buf_add_span(ctx, record);
}

struct world {
    struct rc_population *population;
    struct rc_buf saved;
};

static void open_world(struct world *w) {
    rc_buf_init(&w->saved, (size_t)64 << 20);
    w->population = rc_population_new(plan, on_change, NULL);
}

static void close_world(struct world *w) {
    rc_population_free(w->population);
    rc_buf_deinit(&w->saved);
}

static void explain_all(struct rc_population *population, int64_t at_ms) {
    const struct rc_explain_sources sources = {0};
    struct rc_buf out;
    rc_buf_init(&out, (size_t)16 << 20);
    for (uint32_t s = 0; s < catalog->n_segments; s++) {
        rc_buf_reset(&out);
        if (rc_population_explain(population, rc_span_str(key), s, at_ms, &sources, &out) != RC_OK)
            check(out.full);
    }
    rc_buf_deinit(&out);
}

static void check_read_back(struct rc_span record) {
    struct rc_strings strings;
    struct rc_person *person;
    struct rc_error err;
    struct rc_buf again;
    rc_strings_init(&strings);
    rc_buf_init(&again, (size_t)64 << 20);
    check(rc_person_decode(plan, &strings, rc_span_str(key), record, &person, &err) == RC_OK);
    for (size_t d = 0; d < plan->n_domains; d++) /* the population's to say: it stands in its queues */
        person->domains[d].due_ms = person->domains[d].saved_due_ms;
    rc_person_encode(person, plan, &strings, &again);
    check(rc_span_equal(rc_buf_span(&again), record));
    rc_person_free(person, plan, &strings);
    rc_strings_deinit(&strings);
    rc_buf_deinit(&again);
}

static void check_same_members(struct rc_population *a, struct rc_population *b) {
    struct rc_buf x, y;
    rc_buf_init(&x, 1 << 20);
    rc_buf_init(&y, 1 << 20);
    rc_population_person(a, rc_span_str(key), on_member, &x);
    rc_population_person(b, rc_span_str(key), on_member, &y);
    check(rc_span_equal(rc_buf_span(&x), rc_buf_span(&y)));
    rc_buf_deinit(&x);
    rc_buf_deinit(&y);
}

static void put_right(uint8_t *record, size_t len, bool other_plan) {
    memcpy(record, "RP", 2);
    if (record[2] != 1)
        record[2] = 2;
    if (other_plan)
        memset(record + HEAD, 0, HASH);
    uint64_t checksum = XXH3_64bits(record, len - TAIL);
    memcpy(record + len - TAIL, &checksum, TAIL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct rc_error err = {0};
    if (!plan)
        set_up();
    if (size < 2)
        return -1;
    uint64_t state = (uint64_t)data[0] << 8 | data[1], same_state;
    size_t len = size - 2;
    uint8_t *record = rc_alloc(len + 1);
    if (len)
        memcpy(record, data + 2, len);
    bool other_plan = data[1] & 1;
    if (len >= HEAD + HASH + TAIL)
        put_right(record, len, other_plan);

    struct world memory, disk;
    open_world(&memory);
    if (rc_population_load(memory.population, rc_span_str(key), rc_span_of(record, len), &err) != RC_OK) {
        check(err.class == RC_CLASS_POISON && err.message[0] && !strchr(err.message, '\n'));
        check(rc_population_persons(memory.population) == 0);
    } else {
        open_world(&disk);
        int64_t clock = start_ms + draw(&state, 500) * INT64_C(600000);
        explain_all(memory.population, clock);
        move_clocks(memory.population, clock);
        clock = go_on(memory.population, &state, clock, STEPS);
        explain_all(memory.population, clock);
        rc_population_save(memory.population, on_record, &memory.saved);
        if (memory.saved.len) {
            check_read_back(rc_buf_span(&memory.saved));
            check(rc_population_load(disk.population, rc_span_str(key), rc_buf_span(&memory.saved), &err) == RC_OK);
            move_clocks(disk.population, clock);
            for (int step = 0; step < STEPS; step++) {
                if (other_plan)
                    check_same_members(memory.population, disk.population);
                same_state = state;
                go_on(disk.population, &same_state, clock, 1);
                clock = go_on(memory.population, &state, clock, 1);
            }
            for (int day = 0; day < 30; day++) { /* every window has passed by then */
                move_clocks(disk.population, clock += DAY_MS);
                move_clocks(memory.population, clock);
                if (other_plan)
                    check_same_members(memory.population, disk.population);
            }
        }
        close_world(&disk);
    }
    close_world(&memory);
    free(record);
    return 0;
}

/* ---- mutation --------------------------------------------------------------------------------------------------------- */

/* A real saved state, behind the two bytes that choose events. Returns its size; 0: it does not fit. */
static size_t real_state(uint8_t *out, size_t room, unsigned seed) {
    struct world w;
    uint64_t state = seed;
    open_world(&w);
    move_clocks(w.population, start_ms);
    go_on(w.population, &state, start_ms, (int)(seed % 8 * 8 + 1));
    rc_population_save(w.population, on_record, &w.saved);
    size_t size = w.saved.len && w.saved.len + 2 <= room ? w.saved.len + 2 : 0;
    if (size) {
        out[0] = (uint8_t)(seed >> 8);
        out[1] = (uint8_t)seed;
        memcpy(out + 2, w.saved.data, w.saved.len);
    }
    close_world(&w);
    return size;
}

static uint64_t some_hash(uint64_t *state) {
    switch (draw(state, 6)) {
    case 0: return plan->hash;
    case 1: return plan->dataset_hashes[draw(state, N_DATASETS)];
    case 2: return plan->domains[draw(state, (uint32_t)plan->n_domains)].hash;
    case 3: return plan->segments[draw(state, (uint32_t)plan->n_segments)].id_hash;
    default: return plan->series[draw(state, (uint32_t)plan->n_series)].hash;
    }
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    uint64_t state = seed, hash;
    if (!plan)
        set_up();
    uint32_t what = draw(&state, 16);
    if (what == 0) {
        size_t real = real_state(data, max_size, seed);
        if (real)
            return real;
    }
    if (what < 4 && size > 2 + sizeof hash) { /* a name that the plan knows, over some other bytes */
        hash = some_hash(&state);
        memcpy(data + 2 + draw(&state, (uint32_t)(size - 2 - sizeof hash)), &hash, sizeof hash);
        return size;
    }
    if (what < 6 && size > 8) { /* a part twice */
        size_t from = 2 + draw(&state, (uint32_t)(size - 2)), n = 1 + draw(&state, (uint32_t)(size - from));
        if (size + n <= max_size) {
            memmove(data + from + n, data + from, size - from);
            return size + n;
        }
    }
    return LLVMFuzzerMutate(data, size, max_size);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    if (*argc != 2 || strncmp((*argv)[1], "--seeds=", 8) != 0)
        return 0;
    static uint8_t out[1 << 20];
    set_up();
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/saved-%02u", (*argv)[1] + 8, seed);
        size_t size = real_state(out, sizeof out, seed);
        FILE *f = fopen(path, "wb");
        check(f && fwrite(out, 1, size, f) == size && fclose(f) == 0);
    }
    exit(0);
}
