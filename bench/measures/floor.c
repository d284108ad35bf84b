#include "bench/measures/floor.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "codec/decode.h"
#include "producers/synthetic.h"
#include "segment/definition.h"

#define SEGMENTS 100
#define SAMPLE 20000
#define FIRST_MS INT64_C(1767225600000)
#define MILLION INT64_C(1000000) /* fixed point of decimals */
#define LONGEST_MS INT64_C(604800000)
#define MAX_EVENTS (BENCH_EVENTS_EACH + 4)

struct seen {
    int64_t at_ms, price;
    char type[32], country[4], sku[12];
    bool needed;
};

struct person {
    struct seen events[MAX_EVENTS];
    size_t n;
};

struct fields {
    size_t type, country, sku, price;
};

static size_t field(const struct rc_dataset *dataset, const char *name) {
    for (size_t i = 0; i < dataset->n_fields; i++)
        if (strcmp(dataset->fields[i].name, name) == 0)
            return i;
    return 0;
}

static void take_text(const struct rc_event *event, size_t at, char *out, size_t size) {
    struct rc_span text = event->fields[at].n ? event->fields[at].values[0].string : rc_span_of("", 0);
    size_t len = text.len < size - 1 ? text.len : size - 1;
    if (len)
        memcpy(out, text.data, len);
    out[len] = '\0';
}

static void take(struct person *person, const struct rc_event *event, const struct fields *fields) {
    if (person->n == MAX_EVENTS)
        return;
    struct seen *seen = &person->events[person->n++];
    *seen = (struct seen){.at_ms = event->timestamp_ms};
    take_text(event, fields->type, seen->type, sizeof seen->type);
    take_text(event, fields->country, seen->country, sizeof seen->country);
    take_text(event, fields->sku, seen->sku, sizeof seen->sku);
    if (event->fields[fields->price].n)
        seen->price = event->fields[fields->price].values[0].number;
}

static int latest_first(const void *a, const void *b) {
    int64_t x = ((const struct seen *)a)->at_ms, y = ((const struct seen *)b)->at_ms;
    return (x < y) - (x > y);
}

static bool had(const struct seen *events, size_t n, const struct bench_segment *segment, const char *sku) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(events[i].type, segment->type) == 0 &&
            (!segment->country || strcmp(events[i].country, segment->country) == 0) && strcmp(events[i].sku, sku) == 0)
            return true;
    return false;
}

/* Marks what the segment needs at `now_ms`; events are sorted, latest first. */
static void mark(struct person *person, const struct bench_segment *segment, int64_t now_ms) {
    int64_t sum = 0;
    int found = 0, wanted = segment->condition == BENCH_SEQUENCE ? 1 : segment->at_least;
    for (size_t i = 0; i < person->n; i++) {
        struct seen *seen = &person->events[i];
        if (seen->at_ms <= now_ms - segment->window_ms)
            break;
        if (strcmp(seen->type, segment->type) != 0 ||
            (segment->country && strcmp(seen->country, segment->country) != 0) ||
            (segment->condition == BENCH_DISTINCT && had(person->events, i, segment, seen->sku)))
            continue;
        if (segment->condition == BENCH_SUM ? sum >= segment->at_least * MILLION : found == wanted)
            break;
        seen->needed = true;
        sum += seen->price;
        found++;
    }
}

static double log2_choose(double s, double n) {
    return (lgamma(s + 1) - lgamma(n + 1) - lgamma(s - n + 1)) / log(2);
}

static size_t person_number(struct rc_span key) {
    size_t number = 0;
    for (size_t i = strlen("ecid:p"); i < key.len; i++)
        number = number * 10 + (size_t)(key.data[i] - '0');
    return number;
}

static rc_status collect(const struct bench *bench, struct person *persons, size_t sample, int64_t events,
                         struct rc_error *err) {
    struct rc_catalog *catalog;
    struct rc_decoder *decoder;
    if (rc_bench_catalog(SEGMENTS, &catalog, err) != RC_OK ||
        rc_decoder_new(&catalog->datasets[0], &(struct rc_decoder_options){.max_ahead_ms = -1}, &decoder, err) != RC_OK)
        return RC_FAIL; /* the child ends here */
    const struct rc_dataset *dataset = &catalog->datasets[0];
    struct fields fields = {field(dataset, "type"), field(dataset, "country"), field(dataset, "sku"),
                            field(dataset, "price")};
    struct rc_synthetic_options options = {.seed = 1, .persons = bench->options.persons, .late = 0.05, .in_turn = true};
    struct rc_synthetic *synthetic = rc_synthetic_new(&options);
    struct rc_buf key, value;
    struct rc_arena arena;
    rc_buf_init(&key, 1 << 12);
    rc_buf_init(&value, 1 << 12);
    rc_arena_init(&arena, 16 << 10);
    rc_status status = RC_OK;
    for (int64_t i = 0; status == RC_OK && i < events; i++) {
        rc_synthetic_next(synthetic, FIRST_MS + i, &key, &value);
        size_t number = person_number(rc_buf_span(&key));
        if (number >= sample)
            continue;
        struct rc_event event;
        struct rc_record record = {.value = rc_buf_span(&value), .timestamp_ms = FIRST_MS + i};
        rc_arena_reset(&arena);
        if (rc_decode(decoder, &record, &arena, &event, err) == RC_DECODED)
            take(&persons[number], &event, &fields);
        else
            status = RC_FAIL;
    }
    rc_arena_deinit(&arena);
    rc_buf_deinit(&key);
    rc_buf_deinit(&value);
    rc_synthetic_free(synthetic);
    rc_decoder_free(decoder);
    rc_catalog_free(catalog);
    return status;
}

static rc_status run(const void *ctx, void *result, struct rc_error *err) {
    const struct bench *bench = ctx;
    struct floor *floor = result;
    size_t sample = bench->options.persons < SAMPLE ? (size_t)bench->options.persons : SAMPLE;
    int64_t events = (int64_t)bench->options.persons * BENCH_EVENTS_EACH, now_ms = FIRST_MS + events;
    struct person *persons = rc_calloc(sample, sizeof *persons);
    if (collect(bench, persons, sample, events, err) != RC_OK)
        return RC_FAIL;
    double span = (double)(events < LONGEST_MS ? events : LONGEST_MS), bits = 0, needed = 0;
    for (size_t p = 0; p < sample; p++) {
        qsort(persons[p].events, persons[p].n, sizeof *persons[p].events, latest_first);
        for (size_t s = 0; s < SEGMENTS; s++) {
            struct bench_segment segment = rc_bench_segment(s);
            mark(&persons[p], &segment, now_ms);
        }
        double n = 0;
        for (size_t i = 0; i < persons[p].n; i++)
            n += persons[p].events[i].needed;
        needed += n;
        bits += log2_choose(span, n);
    }
    floor->needed_per_person = needed / (double)sample;
    floor->bytes_per_person = bits / 8 / (double)sample;
    free(persons);
    return RC_OK;
}

rc_status rc_bench_floor(const struct bench *bench, struct floor *out, struct rc_error *err) {
    return rc_bench_do(bench, run, bench, out, sizeof *out, NULL, err);
}
