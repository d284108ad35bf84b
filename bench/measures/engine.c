/* engine: decoding and the segment engine alone, in memory, without broker, output or store. Beside it the bare consumer. */
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "bench/measures/internal.h"
#include "codec/decode.h"
#include "producers/synthetic.h"
#include "segment/population.h"

#define CHUNK 50000
#define SEGMENTS 100
#define FIRST_MS INT64_C(1767225600000)
#define ADVANCE_EVERY 1000

struct alone {
    uint64_t events, changes, bad;
    double decode_s, apply_s; /* CPU; apply_s: decoding and applying */
    double bytes_per_person;
};

static double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static rc_status give_schema(void *ctx, const char *file, const char *schema_path, char **out_text,
                             struct rc_error *err) {
    (void)ctx, (void)file, (void)schema_path, (void)err;
    *out_text = rc_strdup(rc_bench_event_schema);
    return RC_OK;
}

rc_status rc_bench_catalog(size_t segments, struct rc_catalog **out, struct rc_error *err) {
    struct rc_buf text;
    rc_buf_init(&text, 1 << 22);
    rc_bench_definitions(segments, RC_BENCH_EVENTS, &text);
    struct rc_catalog_builder builder;
    rc_catalog_builder_init(&builder);
    rc_status status =
        rc_catalog_builder_add(&builder, "the load's definitions", rc_buf_span(&text), give_schema, NULL, err);
    if (status == RC_OK)
        status = rc_catalog_build(&builder, out, err);
    rc_catalog_builder_deinit(&builder);
    rc_buf_deinit(&text);
    return status;
}

static void count(void *ctx, const struct rc_change *change) {
    (void)change;
    ++*(uint64_t *)ctx;
}

/* A chunk of waiting events: values, and keys, one behind the other. */
struct chunk {
    struct rc_buf bytes, keys;
    size_t ends[CHUNK], key_ends[CHUNK];
    size_t n;
    int64_t first_ms;
};

static void make(struct chunk *chunk, struct rc_synthetic *synthetic, size_t n, int64_t first_ms) {
    struct rc_buf key, value;
    rc_buf_init(&key, 1 << 12);
    rc_buf_init(&value, 1 << 12);
    rc_buf_reset(&chunk->bytes);
    rc_buf_reset(&chunk->keys);
    for (chunk->n = 0; chunk->n < n; chunk->n++) {
        rc_synthetic_next(synthetic, first_ms + (int64_t)chunk->n, &key, &value);
        rc_buf_add_span(&chunk->bytes, rc_buf_span(&value));
        rc_buf_add_span(&chunk->keys, rc_buf_span(&key));
        chunk->ends[chunk->n] = chunk->bytes.len;
        chunk->key_ends[chunk->n] = chunk->keys.len;
    }
    chunk->first_ms = first_ms;
    rc_buf_deinit(&key);
    rc_buf_deinit(&value);
}

/* As ingest does when many records wait. */
static void expect(const struct chunk *chunk, size_t from, struct rc_population *population) {
    struct rc_span keys[RC_EXPECT_MAX];
    size_t n = 0;
    for (size_t at = from ? chunk->key_ends[from - 1] : 0; n < RC_EXPECT_MAX && from + n < chunk->n; n++) {
        keys[n] = rc_span_of(chunk->keys.data + at, chunk->key_ends[from + n] - at);
        at = chunk->key_ends[from + n];
    }
    rc_population_expect(population, keys, n);
}

/* Decodes the chunk, and applies it when there is a population. CPU seconds. */
static double go_through(const struct chunk *chunk, struct rc_decoder *decoder, struct rc_population *population,
                         struct rc_arena *arena, uint64_t *bad) {
    double began = cpu_s();
    size_t from = 0;
    for (size_t i = 0; i < chunk->n; i++) {
        struct rc_event event;
        struct rc_error why;
        struct rc_record record = {.value = rc_span_of(chunk->bytes.data + from, chunk->ends[i] - from),
                                   .timestamp_ms = chunk->first_ms + (int64_t)i};
        from = chunk->ends[i];
        if (population && i % RC_EXPECT_MAX == 0)
            expect(chunk, i, population);
        rc_arena_reset(arena);
        if (rc_decode(decoder, &record, arena, &event, &why) != RC_DECODED) {
            ++*bad;
            continue;
        }
        if (!population)
            continue;
        rc_population_set_clock(population, 0, record.timestamp_ms);
        (void)rc_population_apply(population, &event);
        if (i % ADVANCE_EVERY == ADVANCE_EVERY - 1)
            (void)rc_population_advance(population, 0);
    }
    return cpu_s() - began;
}

static rc_status run(const void *ctx, void *result, struct rc_error *err) {
    const struct bench *bench = ctx;
    struct alone *alone = result;
    struct rc_catalog *catalog;
    struct rc_plan *plan;
    struct rc_decoder *decoder;
    if (rc_bench_catalog(SEGMENTS, &catalog, err) != RC_OK || rc_plan_compile(catalog, &plan, err) != RC_OK ||
        rc_decoder_new(&catalog->datasets[0], &(struct rc_decoder_options){.max_ahead_ms = -1}, &decoder, err) != RC_OK)
        return RC_FAIL; /* the child ends here */
    struct rc_synthetic_options options = {.seed = 1, .persons = bench->options.persons, .late = 0.05, .twice = 0.01};
    struct rc_synthetic *synthetic = rc_synthetic_new(&options);
    struct rc_population *population = rc_population_new(plan, count, &alone->changes);
    struct chunk *chunk = rc_calloc(1, sizeof *chunk);
    struct rc_arena arena;
    uint64_t bad_again = 0;
    rc_buf_init(&chunk->bytes, (size_t)CHUNK << 12);
    rc_buf_init(&chunk->keys, (size_t)CHUNK << 12);
    rc_arena_init(&arena, 64 << 10);
    while (alone->events < bench->options.events) {
        uint64_t left = bench->options.events - alone->events;
        make(chunk, synthetic, left < CHUNK ? left : CHUNK, FIRST_MS + (int64_t)alone->events);
        alone->decode_s += go_through(chunk, decoder, NULL, &arena, &alone->bad);
        alone->apply_s += go_through(chunk, decoder, population, &arena, &bad_again);
        alone->events += chunk->n;
    }
    rc_population_measure(population);
    alone->bytes_per_person = (double)rc_population_bytes(population) / (double)rc_population_persons(population);
    rc_arena_deinit(&arena);
    rc_buf_deinit(&chunk->bytes);
    rc_buf_deinit(&chunk->keys);
    free(chunk);
    rc_population_free(population);
    rc_synthetic_free(synthetic);
    rc_decoder_free(decoder);
    rc_plan_free(plan);
    rc_catalog_free(catalog);
    if (alone->bad)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "%llu events of the load could not be decoded",
                            (unsigned long long)alone->bad);
    return RC_OK;
}

rc_status rc_bench_engine(struct bench *bench, struct rc_error *err) {
    struct alone alone;
    struct consumed seen;
    struct usage reading;
    if (rc_bench_shared_load(bench, err) != RC_OK)
        return RC_FAIL;
    rc_bench_say(bench, "the engine alone");
    if (rc_bench_do(bench, run, bench, &alone, sizeof alone, NULL, err) != RC_OK ||
        rc_bench_bare_consume(bench, RC_BENCH_EVENTS, &seen, &reading, err) != RC_OK)
        return RC_FAIL;
    double n = (double)alone.events;
    rc_bench_tell(
        bench,
        &(struct figure){.measure = "engine",
                         .what = "decode and segment engine in memory, 100 segments",
                         .beside = "a bare consumer of the events",
                         .unit = "events/CPU-s",
                         .product = n / alone.apply_s,
                         .limit = (double)seen.records / reading.cpu_s,
                         .ratio = NAN,
                         .kind = RC_BENCH_RATIO_AT_LEAST,
                         .goal = 0.35},
        "%.0f ns an event, of which decoding takes %.0f; %.2f changes an event; the engine counts %.0f bytes a person",
        alone.apply_s / n * 1e9, alone.decode_s / n * 1e9, (double)alone.changes / n, alone.bytes_per_person);
    return RC_OK;
}
