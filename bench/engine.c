/* The segment engine alone: decode and apply waiting events in memory, no broker, no output, no store.
 *
 *     bench_engine DEFINITIONS.json [EVENTS [PERSONS]]
 *
 * Prints one JSON object: nanoseconds of CPU per event for decoding alone and for decoding and applying, their difference, changes per event,
 * bytes per person. Figures of one run can be compared with one another; on a shared machine absolute ones say little. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "codec/decode.h"
#include "producers/synthetic.h"
#include "segment/population.h"

struct load {
    struct rc_buf bytes; /* all values, one behind the other */
    struct rc_buf keys;  /* of their persons, likewise */
    size_t *ends, *key_ends;
    size_t n;
    int64_t first_ms;
};

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void make_load(struct load *load, size_t n, uint64_t persons) {
    struct rc_synthetic_options options = {.seed = 1, .persons = persons, .late = 0.05, .twice = 0.01};
    struct rc_synthetic *synthetic = rc_synthetic_new(&options);
    struct rc_buf key, value;
    rc_buf_init(&key, 1 << 16);
    rc_buf_init(&value, 1 << 16);
    rc_buf_init(&load->bytes, (size_t)64 << 30);
    rc_buf_init(&load->keys, (size_t)64 << 30);
    load->ends = rc_alloc(n * sizeof *load->ends);
    load->key_ends = rc_alloc(n * sizeof *load->key_ends);
    load->n = n;
    load->first_ms = INT64_C(1767225600000);
    for (size_t i = 0; i < n; i++) {
        rc_synthetic_next(synthetic, load->first_ms + (int64_t)i, &key, &value);
        rc_buf_add_span(&load->bytes, rc_buf_span(&value));
        rc_buf_add_span(&load->keys, rc_buf_span(&key));
        load->ends[i] = load->bytes.len;
        load->key_ends[i] = load->keys.len;
    }
    rc_buf_deinit(&key);
    rc_buf_deinit(&value);
    rc_synthetic_free(synthetic);
}

static rc_status read_schema(void *ctx, const char *file, const char *schema_path, char **out_text,
                             struct rc_error *err) {
    (void)ctx;
    char path[4096];
    const char *slash = strrchr(file, '/');
    snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash - file + 1) : 0, file, schema_path);
    FILE *f = fopen(path, "rb");
    if (!f)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_DATA, "%s: cannot be read", path);
    char *text = rc_calloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    text[n] = '\0';
    fclose(f);
    *out_text = text;
    return RC_OK;
}

static rc_status load_catalog(const char *path, struct rc_catalog **out, struct rc_error *err) {
    char *text;
    if (read_schema(NULL, "", path, &text, err) != RC_OK)
        return RC_FAIL;
    struct rc_catalog_builder builder;
    rc_catalog_builder_init(&builder);
    rc_status status = rc_catalog_builder_add(&builder, path, rc_span_str(text), read_schema, NULL, err);
    if (status == RC_OK)
        status = rc_catalog_build(&builder, out, err);
    rc_catalog_builder_deinit(&builder);
    free(text);
    return status;
}

static void count_change(void *ctx, const struct rc_change *change) {
    (void)change;
    ++*(size_t *)ctx;
}

/* As ingest does when many records wait. */
static void expect(const struct load *load, size_t from, struct rc_population *population) {
    struct rc_span keys[RC_EXPECT_MAX];
    size_t n = 0;
    for (size_t at = from ? load->key_ends[from - 1] : 0; n < RC_EXPECT_MAX && from + n < load->n; n++) {
        keys[n] = rc_span_of(load->keys.data + at, load->key_ends[from + n] - at);
        at = load->key_ends[from + n];
    }
    rc_population_expect(population, keys, n);
}

/* Decodes all events; applies them when there is a population. Returns CPU seconds. */
static double run(const struct load *load, struct rc_decoder *decoder, struct rc_population *population) {
    struct rc_arena arena;
    struct rc_error err;
    struct rc_event event;
    rc_arena_init(&arena, 64 << 10);
    double began = cpu_seconds();
    size_t from = 0, bad = 0;
    for (size_t i = 0; i < load->n; i++) {
        struct rc_record record = {.value = rc_span_of(load->bytes.data + from, load->ends[i] - from),
                                   .timestamp_ms = load->first_ms + (int64_t)i};
        from = load->ends[i];
        if (population && i % RC_EXPECT_MAX == 0)
            expect(load, i, population);
        rc_arena_reset(&arena);
        if (rc_decode(decoder, &record, &arena, &event, &err) != RC_DECODED) {
            bad++;
            continue;
        }
        if (!population)
            continue;
        rc_population_set_clock(population, 0, record.timestamp_ms);
        rc_population_apply(population, &event);
        if (i % 1000 == 999)
            rc_population_advance(population, 0);
    }
    double seconds = cpu_seconds() - began;
    rc_arena_deinit(&arena);
    if (bad)
        fprintf(stderr, "%zu events could not be decoded: %s\n", bad, err.message);
    return seconds;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: %s DEFINITIONS.json [EVENTS [PERSONS]]\n", argv[0]);
        return RC_EXIT_USAGE;
    }
    size_t events = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    uint64_t persons = argc > 3 ? strtoull(argv[3], NULL, 10) : 100000;
    struct rc_error err;
    struct rc_catalog *catalog;
    struct rc_plan *plan;
    struct rc_decoder *decoder;
    if (load_catalog(argv[1], &catalog, &err) != RC_OK || rc_plan_compile(catalog, &plan, &err) != RC_OK ||
        rc_decoder_new(&catalog->datasets[0], &(struct rc_decoder_options){.max_ahead_ms = -1}, &decoder, &err) !=
            RC_OK) {
        fprintf(stderr, "%s\n", err.message);
        return err.exit_code;
    }
    struct load load;
    size_t changes = 0;
    make_load(&load, events, persons);
    struct rc_population *population = rc_population_new(plan, count_change, &changes);
    double decode = run(&load, decoder, NULL), both = run(&load, decoder, population), n = (double)events;
    rc_population_measure(population);
    printf("{\"segments\": %zu, \"events\": %zu, \"persons\": %zu, \"decode_ns\": %.0f, \"decode_and_apply_ns\": %.0f, "
           "\"apply_ns\": %.0f, "
           "\"changes_per_event\": %.3f, \"bytes_per_person\": %.0f}\n",
           catalog->n_segments, events, rc_population_persons(population), decode / n * 1e9, both / n * 1e9,
           (both - decode) / n * 1e9, (double)changes / n,
           (double)rc_population_bytes(population) / (double)rc_population_persons(population));
    rc_population_free(population);
    rc_decoder_free(decoder);
    rc_plan_free(plan);
    rc_catalog_free(catalog);
    rc_buf_deinit(&load.bytes);
    rc_buf_deinit(&load.keys);
    free(load.ends);
    free(load.key_ends);
    return 0;
}
