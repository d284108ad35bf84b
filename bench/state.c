/* Bytes per person of each class of condition at its worst, beside the bound that docs/modules/segment.md states.
 *
 *     bench_state [PERSONS]
 *
 * Each person gets 1000 events, one every 864 s for 10 days; windows are 5 days, so that 500 events lie in one. Prints a table in Markdown.
 * `bytes` is what rc_population_bytes says, `heap` what the allocator has handed out for it (a population grows its series by half, so
 * a third of their room may be free); the bound is that of the entries, and of one event that no clock has passed yet, with this room, on
 * top of what a person costs who has none.
 * Exit code 1 when a class passes its bound. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "codec/decode.h"
#include "segment/person.h"

enum { EVENTS = 1000, STEP_MS = 864000, IN_WINDOW = 500, IN_DAY = 100, VALUES = 50 };
enum {
    TIMES = 16,
    NUMBERS = 24,
    ORDERED = 32
}; /* bytes an entry: timestamp and id; a value; what orders equal timestamps */

static const int64_t start_ms = INT64_C(1772323200000);

/* How the price of event i is made. */
enum price { TEN, CENT, SIGNED, FALLING, RISING, RANDOM };

struct class {
    const char *name, *condition; /* ' for " */
    enum price price;
    size_t entries; /* the bound */
    size_t entry_bytes;
    size_t n_series;
    const char *why;
};

#define A "'event':{'field':'type','eq':'a'}"
#define FIVE_DAYS ",'window':'5d'"

static const struct class classes[] = {
    {"existence", "{'not':{'event':{'field':'type','eq':'never'}}}", TEN, 0, TIMES, 0, "a timestamp a dataset"},
    {"`count` ≥ 3", "{'event':{},'count':{'ge':3}" FIVE_DAYS "}", TEN, 3, TIMES, 1, "K"},
    {"`count` ≥ 3, all of time", "{'event':{},'count':{'ge':3}}", TEN, 3, TIMES, 1, "K"},
    {"`count` = 3, all of time", "{'event':{},'count':{'eq':3}}", TEN, 4, TIMES, 1, "K + 1"},
    {"`count` ≥ 100", "{'event':{},'count':{'ge':100}" FIVE_DAYS "}", TEN, 100, TIMES, 1, "K"},
    {"`count` ≥ 3, calendar", "{'event':{},'count':{'ge':3},'window':{'calendar':'week'}}", TEN, 3, TIMES, 1, "K"},
    {"`count` ≥ 3, `except_last` a day", "{'event':{},'count':{'ge':3},'window':{'last':'5d','except_last':'1d'}}", TEN,
     3 + IN_DAY, TIMES, 1, "K + 100 a day"},
    {"`count` ≥ 3, `same`", "{'event':{},'count':{'ge':3},'same':'sku'" FIVE_DAYS "}", TEN, 3 * VALUES, NUMBERS, 1,
     "K × 50 values"},
    {"`distinct` ≥ 10", "{'distinct':'sku','is':{'ge':10}" FIVE_DAYS "}", TEN, 10, NUMBERS, 1, "K"},
    {"`sum` ≥ 100, `min` 0, of tens", "{'sum':'price','is':{'ge':100}" FIVE_DAYS "}", TEN, 11, NUMBERS, 1,
     "until the sum passes 100"},
    {"`sum` ≥ 100, `min` 0, of cents", "{'sum':'price','is':{'ge':100}" FIVE_DAYS "}", CENT, IN_WINDOW, NUMBERS, 1,
     "the window"},
    {"`sum` of any sign", "{'sum':'delta','is':{'ge':100}" FIVE_DAYS "}", SIGNED, IN_WINDOW, NUMBERS, 1, "the window"},
    {"`avg`", "{'avg':'price','is':{'ge':5}" FIVE_DAYS "}", RANDOM, IN_WINDOW, NUMBERS, 1, "the window"},
    {"`max`, values that fall", "{'max':'price','is':{'ge':5}" FIVE_DAYS "}", FALLING, IN_WINDOW, NUMBERS, 1,
     "the window"},
    {"`max`, values at random", "{'max':'price','is':{'ge':5}" FIVE_DAYS "}", RANDOM, IN_WINDOW, NUMBERS, 1,
     "the window (mean: ln 500 = 6)"},
    {"`min`, values that rise", "{'min':'price','is':{'ge':5}" FIVE_DAYS "}", RISING, IN_WINDOW, NUMBERS, 1,
     "the window"},
    {"`latest`", "{'latest':'price','is':{'ge':5}" FIVE_DAYS "}", RANDOM, 1, ORDERED, 1, "one event"},
    {"`first`, all of time", "{'first':'price','is':{'ge':5}}", RANDOM, 1, ORDERED, 1, "one event"},
    {"`first` in a window", "{'first':'price','is':{'ge':5}" FIVE_DAYS "}", RANDOM, IN_WINDOW, ORDERED, 1,
     "the window"},
    {"`sequence`, two steps", "{'sequence':[{" A "},{'none':{'field':'type','eq':'b'},'within':'1h'}]" FIVE_DAYS "}",
     TEN, IN_WINDOW + 1, TIMES, 2, "the window"},
    {"`sequence`, `same`", "{'sequence':[{" A "},{'event':{'field':'type','eq':'b'}}],'same':'sku'" FIVE_DAYS "}", TEN,
     IN_WINDOW, NUMBERS, 2, "the window"},
    {"`session`, each event one", "{'session':{" A "},'count':{'ge':400}" FIVE_DAYS "}", TEN,
     IN_WINDOW + 1 + IN_WINDOW / 2, NUMBERS, 2, "sessions and matches in the window"},
};

/* ---- events ------------------------------------------------------------------------------------------------------------ */

static double price_of(enum price how, int i) {
    switch (how) {
    case TEN: return 10;
    case CENT: return 0.01;
    case SIGNED: return i % 2 ? 7 : -5;
    case FALLING: return EVENTS - i;
    case RISING: return i + 1;
    case RANDOM: break;
    }
    return (double)((uint32_t)i * UINT32_C(2654435761) >> 8) / 100;
}

struct world {
    struct rc_catalog *catalog;
    struct rc_plan *plan;
    struct rc_decoder *decoder;
    struct rc_population *population;
    struct rc_arena arena;
};

static void give(struct world *w, const struct class *class, size_t person, int i, const char *type) {
    char json[256];
    double price = price_of(class->price, i);
    int64_t ts = start_ms + (int64_t)i * STEP_MS;
    int n = snprintf(
        json, sizeof json, "{\"p\":\"%zu\",\"t\":%lld,\"e\":\"%zu-%d\",\"type\":\"%s\",\"sku\":\"sku-%d\",\"%s\":%.2f}",
        person, (long long)ts, person, i, type, i % VALUES, class->price == SIGNED ? "delta" : "price", price);
    struct rc_record record = {.value = rc_span_of(json, (size_t)n), .timestamp_ms = RC_NO_TIMESTAMP};
    struct rc_event event;
    struct rc_error err;
    rc_arena_reset(&w->arena);
    if (rc_decode(w->decoder, &record, &w->arena, &event, &err) != RC_DECODED) {
        fprintf(stderr, "%s\n", err.message);
        exit(RC_EXIT_INTERNAL);
    }
    rc_population_apply(w->population, &event);
}

static void ignore(void *ctx, const struct rc_change *change) {
    (void)ctx;
    (void)change;
}

/* ---- measuring --------------------------------------------------------------------------------------------------------- */

struct measured {
    size_t bytes, heap, saved, entries; /* per person */
};

struct saving {
    const struct rc_plan *plan;
    size_t bytes, entries;
};

static void count_record(void *ctx, struct rc_span key, struct rc_span record) {
    struct saving *saving = ctx;
    struct rc_strings strings;
    struct rc_person *person;
    struct rc_error err;
    saving->bytes += record.len;
    rc_strings_init(&strings);
    if (rc_person_decode(saving->plan, &strings, key, record, &person, &err) != RC_OK)
        abort(); /* our own bytes of a moment ago */
    for (uint32_t i = 0; i < person->n_series; i++)
        saving->entries += person->series[i].n;
    rc_person_free(person, saving->plan, &strings);
    rc_strings_deinit(&strings);
}

static void open_world(struct world *w, const struct class *class) {
    static const char dataset[] =
        "{'kind':'dataset','id':'web','topic':'t','format':'json','person':{'namespace':'n','id':{'path':'p'}},"
        "'timestamp':{'path':'t'},'event_id':{'path':'e'},'session_timeout':'10m','fields':{'type':{'path':'type',"
        "'type':'string'},'sku':{'path':'sku','type':'string'},'price':{'path':'price','type':'decimal','min':0},"
        "'delta':{'path':'delta','type':'decimal'}}}";
    char text[4096];
    struct rc_catalog_builder builder;
    struct rc_error err;
    snprintf(text, sizeof text, "[%s,{'kind':'segment','id':'s','dataset':'web','where':%s}]", dataset,
             class->condition);
    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    rc_catalog_builder_init(&builder);
    if (rc_catalog_builder_add(&builder, class->name, rc_span_str(text), NULL, NULL, &err) != RC_OK ||
        rc_catalog_build(&builder, &w->catalog, &err) != RC_OK ||
        rc_plan_compile(w->catalog, &w->plan, &err) != RC_OK ||
        rc_decoder_new(&w->catalog->datasets[0], &(struct rc_decoder_options){.max_ahead_ms = -1}, &w->decoder, &err) !=
            RC_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(err.exit_code);
    }
    rc_catalog_builder_deinit(&builder);
    rc_arena_init(&w->arena, 4096);
}

static void close_world(struct world *w) {
    rc_decoder_free(w->decoder);
    rc_plan_free(w->plan);
    rc_catalog_free(w->catalog);
    rc_arena_deinit(&w->arena);
}

/* Feeds `events` of the type to each person, with the clock following. Type NULL: a and b in turn. */
static struct measured measure(struct world *w, const struct class *class, size_t persons, int events,
                               const char *type) {
    size_t before = mallinfo2().uordblks;
    w->population = rc_population_new(w->plan, ignore, NULL);
    for (int i = 0; i < events; i++) {
        for (size_t p = 0; p < persons; p++)
            give(w, class, p, i, type ? type : i % 2 ? "b" : "a");
        rc_population_set_clock(w->population, 0, start_ms + (int64_t)i * STEP_MS + 1);
        rc_population_advance(w->population, 0);
    }
    struct saving saving = {.plan = w->plan};
    rc_population_measure(w->population);
    struct measured m = {.bytes = rc_population_bytes(w->population) / persons,
                         .heap = (mallinfo2().uordblks - before) / persons};
    rc_population_save(w->population, count_record, &saving);
    m.saved = saving.bytes / persons;
    m.entries = saving.entries / persons;
    rc_population_free(w->population);
    return m;
}

int main(int argc, char **argv) {
    size_t persons = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;
    if (persons == 0) {
        fprintf(stderr, "usage: %s [PERSONS]\n", argv[0]);
        return RC_EXIT_USAGE;
    }
    bool within = true;
    printf("| condition | bound: entries | kept | × bytes | bound: bytes | bytes | heap | saved |\n");
    printf("|---|---|---|---|---|---|---|---|\n");
    for (size_t c = 0; c < sizeof classes / sizeof *classes; c++) {
        const struct class *class = &classes[c];
        struct world w;
        open_world(&w, class);
        struct measured none = measure(&w, class, persons, 1, "other"), all = measure(&w, class, persons, EVENTS, NULL);
        size_t entries =
            class->entries + (class->n_series > 0); /* the event that no clock has passed yet comes on top */
        size_t room = entries + entries / 2 + 1;    /* series grow by half */
        size_t texts = class->entry_bytes == ORDERED ? room * 50 : 0; /* event ids, interned */
        if (strstr(class->condition, "sku"))
            texts += VALUES * 64 / persons; /* values, interned, shared by all persons */
        size_t per_series = 2 * sizeof(struct rc_series) + sizeof(struct rc_timer) + sizeof(struct rc_realized);
        size_t bound = none.bytes + room * class->entry_bytes + texts + class->n_series * per_series + 64;
        bool good = all.entries <= entries && all.bytes <= bound;
        printf("| %s | %zu: %s | %zu | %zu | %zu | %zu%s | %zu | %zu |\n", class->name, class->entries, class->why,
               all.entries, class->entry_bytes, bound, all.bytes, good ? "" : " **past it**", all.heap, all.saved);
        within &= good;
        close_world(&w);
    }
    return within ? 0 : 1;
}
