#include "cli/past.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "cli/picks.h"
#include "codec/event_pack.h"
#include "codec/person_key.h"
#include "codec/registry.h"
#include "consumers/shared/deadletter.h"
#include "kafka/read.h"
#include "kafka/record.h"
#include "kafka/topics.h"
#include "producers/rekey.h"
#include "producers/spool.h"
#include "segment/decoders.h"

#define MARGIN_MS RC_MAX_AHEAD_MS /* an event's record is at most this much older than the event */
#define MAX_UNITS (1u << 16)
#define MAX_PARTS (1u << 12)     /* of a unit whose persons do not fit into memory at once */
#define ENTRY_BYTES 48           /* a record's place in the order, with the room by which the list grows */
#define MEASURE_EVERY (1u << 16) /* events */
#define MAX_PACKED ((size_t)16 << 20)

/* A topic that is read, and the datasets that come over it. */
struct input {
    char *topic; /* owned */
    uint32_t *datasets;
    size_t n, capacity;
    bool scattered; /* a person's records may be in any partition: a topic that is not keyed and was not re-keyed yet */
    size_t first;   /* its stretches: past->spans[first … first + partitions) */
    int32_t partitions;
    int64_t history_ms; /* everything that is not older has been read; INT64_MIN: all */
};

/* Beside the stretch with the same index. */
struct stretch {
    uint32_t input;
    int64_t first; /* offset that is there first */
    bool counted;  /* read before: its records are in the tally */
    bool begun;    /* within this run */
};

struct rc_past {
    const struct rc_cli *cli;
    struct rc_catalog *catalog; /* borrowed */
    struct rc_past_options options;
    struct rc_plan *plan;
    struct rc_decoder **decoders;
    struct rc_registry *registry; /* NULL: none */
    struct input *inputs;
    size_t n_inputs, inputs_capacity;
    struct rc_read_span *spans; /* of all inputs, partition by partition; `topic` borrowed from the input */
    struct stretch *stretches;
    size_t n_spans;
    int32_t n_partitions;
    uint32_t slices;     /* units to a partition */
    uint32_t max_routes; /* datasets over one topic, at most */
    size_t budget;       /* bytes for the order, and for the persons */
    uint64_t *counts;    /* [instant][segment] */
    struct rc_past_tally tally;
    uint64_t read, expected; /* records, for the progress */

    /* Of the unit that is being read. */
    struct rc_progress *progress; /* borrowed for the run */
    uint32_t unit;
    struct rc_read_span *reading; /* borrowed */
    const size_t *reading_of;     /* which stretch each of them is; borrowed */
    struct rc_spool *spool;
    struct rc_arena arena;
    struct rc_buf key, packed, scratch;
    struct rc_error *err;
    bool failed;
};

/* ---- what is read ---- */

static struct input *find_input(struct rc_past *past, const char *topic) {
    for (size_t i = 0; i < past->n_inputs; i++)
        if (strcmp(past->inputs[i].topic, topic) == 0)
            return &past->inputs[i];
    return NULL;
}

/* A topic that is not keyed is read as ingest reads it, re-keyed; before ingest has done that, as it is. */
static rc_status add_input(struct rc_past *past, struct rc_admin *admin, uint32_t dataset, struct rc_error *err) {
    const struct rc_dataset *definition = &past->catalog->datasets[dataset];
    char *topic = definition->keyed ? rc_strdup(definition->topic) : rc_rekey_topic(past->cli->config, definition);
    int32_t partitions;
    rc_status status = rc_topic_partitions(admin, topic, CLI_KAFKA_TIMEOUT_MS, &partitions, err);
    bool scattered = status == RC_OK && !definition->keyed && partitions == 0;
    if (scattered) {
        free(topic);
        topic = rc_strdup(definition->topic);
        status = rc_topic_partitions(admin, topic, CLI_KAFKA_TIMEOUT_MS, &partitions, err);
    }
    struct input *input = status == RC_OK ? find_input(past, topic) : NULL;
    if (status != RC_OK || input) {
        free(topic);
    } else {
        rc_grow(&past->inputs, &past->inputs_capacity, past->n_inputs + 1, sizeof *past->inputs);
        input = &past->inputs[past->n_inputs++];
        *input = (struct input){.topic = topic, .partitions = partitions, .history_ms = INT64_MIN};
    }
    if (status != RC_OK)
        return RC_FAIL;
    input->scattered |= scattered;
    rc_grow(&input->datasets, &input->capacity, input->n + 1, sizeof *input->datasets);
    input->datasets[input->n++] = dataset;
    if (input->n > past->max_routes)
        past->max_routes = (uint32_t)input->n;
    return RC_OK;
}

static rc_status count_partitions(struct rc_past *past, struct rc_admin *admin, struct rc_error *err) {
    const char **topics = rc_calloc(past->catalog->n_datasets + 1, sizeof *topics);
    size_t n = 0;
    for (size_t d = 0; d < past->catalog->n_datasets; d++)
        if (past->catalog->datasets[d].keyed)
            topics[n++] = past->catalog->datasets[d].topic;
    rc_status status = rc_topics_count(admin, topics, n, &past->n_partitions, err);
    free(topics);
    return status;
}

static rc_status look(struct rc_past *past, struct rc_error *err) {
    struct rc_admin *admin;
    if (rc_admin_open(past->cli->config, &admin, err) != RC_OK)
        return RC_FAIL;
    rc_status status = count_partitions(past, admin, err);
    for (uint32_t d = 0; status == RC_OK && d < past->catalog->n_datasets; d++)
        status = add_input(past, admin, d, err);
    rc_admin_close(admin);
    for (size_t i = 0; i < past->n_inputs; i++) {
        past->inputs[i].first = past->n_spans;
        past->n_spans += (size_t)past->inputs[i].partitions;
    }
    past->spans = rc_calloc(past->n_spans, sizeof *past->spans);
    past->stretches = rc_calloc(past->n_spans, sizeof *past->stretches);
    int64_t *first = rc_calloc(past->n_spans, sizeof *first);
    for (size_t i = 0; i < past->n_inputs; i++)
        for (int32_t p = 0; p < past->inputs[i].partitions; p++) {
            past->spans[past->inputs[i].first + (size_t)p] =
                (struct rc_read_span){.topic = past->inputs[i].topic, .partition = p};
            past->stretches[past->inputs[i].first + (size_t)p].input = (uint32_t)i;
        }
    int64_t since = past->options.since_ms == INT64_MIN ? INT64_MIN : past->options.since_ms - MARGIN_MS;
    if (status == RC_OK)
        status = rc_kafka_read_bounds(past->cli->config, past->spans, past->n_spans, since, first, CLI_KAFKA_TIMEOUT_MS,
                                      err);
    for (size_t i = 0; i < past->n_spans; i++)
        past->stretches[i].first = first[i];
    free(first);
    return status;
}

static uint64_t lane_records(const struct rc_past *past, int32_t lane) {
    uint64_t n = 0;
    for (size_t i = 0; i < past->n_inputs; i++) {
        const struct input *input = &past->inputs[i];
        uint64_t all = 0;
        for (int32_t p = 0; p < input->partitions; p++)
            if (input->scattered || p == lane)
                all +=
                    (uint64_t)(past->spans[input->first + (size_t)p].end - past->spans[input->first + (size_t)p].from);
        n += input->scattered ? all / (uint64_t)past->n_partitions : all;
    }
    return n;
}

uint64_t rc_past_records(const struct rc_past *past) {
    uint64_t n = 0;
    for (size_t i = 0; i < past->n_spans; i++)
        n += (uint64_t)(past->spans[i].end - past->spans[i].from);
    return n;
}

rc_status rc_past_records_since(const struct rc_past *past, const bool *datasets, int64_t since_ms, uint64_t *out,
                                struct rc_error *err) {
    struct rc_read_span *spans = rc_calloc(past->n_spans, sizeof *spans);
    size_t n = 0;
    for (size_t i = 0; i < past->n_spans; i++) {
        const struct input *input = &past->inputs[past->stretches[i].input];
        bool wanted = false;
        for (size_t a = 0; a < input->n; a++)
            wanted |= datasets[input->datasets[a]];
        if (wanted)
            spans[n++] = past->spans[i];
    }
    rc_status status =
        rc_kafka_read_bounds(past->cli->config, spans, n, since_ms == INT64_MIN ? INT64_MIN : since_ms - MARGIN_MS,
                             NULL, CLI_KAFKA_TIMEOUT_MS, err);
    uint64_t records = 0;
    for (size_t i = 0; i < n; i++)
        records += (uint64_t)(spans[i].end - spans[i].from);
    free(spans);
    if (status == RC_OK)
        *out = records;
    return status;
}

/* ---- units ---- */

int32_t rc_past_partitions(const struct rc_past *past) {
    return past->n_partitions;
}

uint32_t rc_past_units(const struct rc_past *past) {
    return (uint32_t)past->n_partitions * past->slices;
}

void rc_past_split(struct rc_past *past, uint32_t slices) {
    uint32_t most = MAX_UNITS / (uint32_t)past->n_partitions;
    if (slices > most)
        slices = most;
    if (slices > past->slices)
        past->slices = slices;
}

/* The upper half of the hash: the lower one parts a unit whose persons do not fit into memory. */
static bool in_slice(const struct rc_past *past, uint32_t unit, uint64_t hash) {
    return (hash >> 32) % past->slices == unit / (uint32_t)past->n_partitions;
}

bool rc_past_in_unit(const struct rc_past *past, uint32_t unit, struct rc_span person_key) {
    return rc_person_key_partition(person_key, past->n_partitions) == (int32_t)(unit % (uint32_t)past->n_partitions) &&
           in_slice(past, unit, rc_cli_person_hash(person_key));
}

static void split_by_records(struct rc_past *past) {
    uint64_t most = 0, fit = past->budget / ENTRY_BYTES;
    for (int32_t p = 0; p < past->n_partitions; p++) {
        uint64_t n = lane_records(past, p) * past->max_routes;
        most = n > most ? n : most;
    }
    past->slices = 1;
    rc_past_split(past, most / fit + 1 < MAX_UNITS ? (uint32_t)(most / fit + 1) : MAX_UNITS);
}

/* ---- opening ---- */

rc_status rc_past_open(const struct rc_cli *cli, struct rc_catalog *catalog, const struct rc_past_options *options,
                       struct rc_past **out, struct rc_error *err) {
    struct rc_past *past = rc_calloc(1, sizeof *past);
    *past = (struct rc_past){.cli = cli, .catalog = catalog, .options = *options};
    past->budget = (size_t)rc_config_bytes(cli->config, "state.memory_bytes") / 2;
    rc_arena_init(&past->arena, (size_t)256 << 10);
    rc_buf_init(&past->key, RC_MAX_RECORD_BYTES);
    rc_buf_init(&past->packed, MAX_PACKED);
    rc_buf_init(&past->scratch, MAX_PACKED);
    for (size_t d = 0; !options->grace && d < catalog->n_datasets; d++)
        catalog->datasets[d].grace_ms = 0;
    const char *registry = rc_config_text(cli->config, "registry.url");
    rc_status status = rc_plan_compile(catalog, &past->plan, err);
    if (status == RC_OK && *registry)
        status = rc_registry_open(registry, 0, &past->registry, err);
    struct rc_decoder_options decoding = {
        .registry = past->registry, .max_ahead_ms = RC_MAX_AHEAD_MS, .max_record_bytes = RC_MAX_RECORD_BYTES};
    if (status == RC_OK)
        status = rc_plan_decoders_new(past->plan, catalog, &decoding, &past->decoders, err);
    if (status == RC_OK)
        status = look(past, err);
    if (status != RC_OK) {
        rc_past_close(past);
        return rc_cli_broker_error(cli, err);
    }
    split_by_records(past);
    past->counts = rc_calloc((options->n_instants + 1) * catalog->n_segments, sizeof *past->counts);
    *out = past;
    return RC_OK;
}

void rc_past_close(struct rc_past *past) {
    if (!past)
        return;
    rc_plan_decoders_free(past->decoders, past->catalog);
    if (past->registry)
        rc_registry_close(past->registry);
    rc_plan_free(past->plan);
    for (size_t i = 0; i < past->n_inputs; i++) {
        free(past->inputs[i].topic);
        free(past->inputs[i].datasets);
    }
    free(past->inputs);
    free(past->spans);
    free(past->stretches);
    free(past->counts);
    rc_arena_deinit(&past->arena);
    rc_buf_deinit(&past->key);
    rc_buf_deinit(&past->packed);
    rc_buf_deinit(&past->scratch);
    free(past);
}

/* ---- reading a unit ---- */

static void count_bad(struct rc_past *past, const struct stretch *stretch, enum rc_reason reason) {
    past->tally.bad[reason] += !stretch->counted;
}

static rc_status keep(struct rc_past *past, const struct stretch *stretch, const struct rc_event *event,
                      int32_t partition, struct rc_error *err) {
    bool anywhere = past->inputs[stretch->input].scattered && !past->catalog->datasets[event->dataset].keyed;
    rc_buf_reset(&past->key);
    if (rc_person_key_add(&past->key, event->namespace, event->person_id) != RC_OK) {
        count_bad(past, stretch, RC_REASON_BAD_PERSON);
        return RC_OK;
    }
    int32_t lane = rc_person_key_partition(rc_buf_span(&past->key), past->n_partitions);
    if (!anywhere && lane != partition) {
        count_bad(past, stretch, RC_REASON_WRONG_PARTITION);
        return RC_OK;
    }
    past->tally.events += !stretch->counted;
    if (lane != (int32_t)(past->unit % (uint32_t)past->n_partitions) ||
        !in_slice(past, past->unit, rc_cli_person_hash(rc_buf_span(&past->key))))
        return RC_OK;
    if (rc_spool_count(past->spool) >= 2 * past->budget / ENTRY_BYTES)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_DATA,
                            "partition %d holds more events of a few persons than memory does; raise "
                            "state.memory_bytes (now %lld), or read less with --since",
                            lane, (long long)rc_config_bytes(past->cli->config, "state.memory_bytes"));
    rc_buf_reset(&past->packed);
    if (rc_event_pack(event, past->catalog->datasets, &past->packed) != RC_OK)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_INTERNAL, "an event is larger than %zu bytes", MAX_PACKED);
    return rc_spool_add(past->spool, event->timestamp_ms, rc_span_of(NULL, 0), rc_buf_span(&past->packed), err);
}

static rc_status take_event(struct rc_past *past, struct stretch *stretch, const struct rc_message *message,
                            struct rc_record *record, uint32_t index, bool *used, struct rc_error *err) {
    const struct rc_dataset *dataset = &past->catalog->datasets[index];
    struct rc_event event;
    struct rc_error why;
    const char *detail;
    if (!dataset->keyed && !past->inputs[stretch->input].scattered && rc_rekey_origin(dataset, record, &why) != RC_OK) {
        *used = true;
        count_bad(past, stretch, rc_deadletter_reason(why.message, &detail));
        return RC_OK;
    }
    switch (rc_decode(past->decoders[index], record, &past->arena, &event, &why)) {
    case RC_DECODED: *used = true; return keep(past, stretch, &event, message->partition, err);
    case RC_IGNORED: return RC_OK;
    case RC_BAD:
        *used = true;
        count_bad(past, stretch, rc_decoder_reason(past->decoders[index]));
        return RC_OK;
    case RC_AGAIN: break;
    }
    *err = why;
    return rc_error_prefix(err, "%s, partition %d, offset %lld", message->topic, message->partition,
                           (long long)message->offset);
}

/* Where a reader comes too late for what was there, or is told to leave it out, history begins later. */
static void note_beginning(struct rc_past *past, size_t span, const struct rc_message *message) {
    struct stretch *stretch = &past->stretches[span];
    struct input *input = &past->inputs[stretch->input];
    int64_t from = INT64_MIN;
    if (stretch->begun)
        return;
    stretch->begun = true;
    if (past->spans[span].from > stretch->first)
        from = past->options.since_ms;
    else if (stretch->first > 0)
        from = message && message->timestamp_ms != RC_NO_TIMESTAMP ? message->timestamp_ms : past->options.at_ms;
    if (from > input->history_ms)
        input->history_ms = from;
}

static bool take_record(void *ctx, const struct rc_message *message) {
    struct rc_past *past = ctx;
    size_t span = past->reading_of[(struct rc_read_span *)message->ctx - past->reading];
    struct stretch *stretch = &past->stretches[span];
    struct input *input = &past->inputs[stretch->input];
    note_beginning(past, span, message);
    if (rc_progress_due(past->progress, ++past->read))
        rc_progress_show(past->progress, "reading", past->read, past->expected > past->read ? past->expected : 0);
    if (past->options.since_ms != INT64_MIN && message->timestamp_ms != RC_NO_TIMESTAMP &&
        message->timestamp_ms < past->options.since_ms - MARGIN_MS) {
        if (past->options.since_ms > input->history_ms)
            input->history_ms = past->options.since_ms;
        return true;
    }
    struct rc_header headers[RC_RECORD_HEADERS];
    struct rc_record record = rc_message_record(message, headers);
    bool used = false;
    rc_arena_reset(&past->arena);
    for (size_t i = 0; !past->failed && i < input->n; i++)
        past->failed = take_event(past, stretch, message, &record, input->datasets[i], &used, past->err) != RC_OK;
    past->tally.records += !stretch->counted;
    past->tally.ignored += !stretch->counted && !used;
    return !past->failed;
}

static rc_status read_unit(struct rc_past *past, struct rc_error *err) {
    int32_t lane = (int32_t)(past->unit % (uint32_t)past->n_partitions);
    struct rc_read_span *spans = rc_calloc(past->n_spans, sizeof *spans);
    size_t *which = rc_calloc(past->n_spans, sizeof *which), n = 0;
    for (size_t i = 0; i < past->n_spans; i++)
        if (past->inputs[past->stretches[i].input].scattered || past->spans[i].partition == lane) {
            which[n] = i;
            spans[n++] = past->spans[i];
        }
    past->reading = spans;
    past->reading_of = which;
    past->err = err;
    past->failed = false;
    rc_status status = rc_kafka_read_spans(past->cli->config, spans, n, CLI_KAFKA_TIMEOUT_MS, take_record, past, err);
    if (past->failed)
        status = RC_FAIL;
    for (size_t i = 0; status == RC_OK && i < n; i++) {
        note_beginning(past, which[i], NULL);
        past->stretches[which[i]].counted = true;
    }
    free(spans);
    free(which);
    return status;
}

/* ---- deciding a unit ---- */

struct decision {
    struct rc_past *past;
    struct rc_population *population;
    uint64_t *counts; /* of this part, as past->counts */
    size_t next;      /* instant */
    uint64_t since_measured;
};

static void no_change(void *ctx, const struct rc_change *change) {
    (void)ctx, (void)change;
}

static void set_clocks(const struct decision *d, int64_t clock_ms) {
    for (uint32_t i = 0; i < d->past->catalog->n_datasets; i++)
        rc_population_set_clock(d->population, i, clock_ms);
}

/* Everything up to `at_ms` is decided, and counted as instant `i`. */
static void decide_at(struct decision *d, int64_t at_ms, size_t i) {
    size_t n = d->past->catalog->n_segments;
    set_clocks(d, at_ms + 1);
    rc_population_advance(d->population, 0);
    for (uint32_t s = 0; s < n; s++)
        d->counts[i * n + s] = rc_population_members(d->population, s);
}

/* Measuring goes over all persons, so it is done as seldom as their number allows. */
static bool too_large(struct decision *d) {
    if (++d->since_measured < MEASURE_EVERY + rc_population_persons(d->population) / 4)
        return false;
    d->since_measured = 0;
    rc_population_measure(d->population);
    return rc_population_bytes(d->population) > d->past->budget;
}

static bool in_part(struct rc_past *past, const struct rc_event *event, uint32_t part, uint32_t parts) {
    if (parts == 1)
        return true;
    rc_buf_reset(&past->key);
    return rc_person_key_add(&past->key, event->namespace, event->person_id) == RC_OK &&
           (rc_cli_person_hash(rc_buf_span(&past->key)) & 0xffffffff) % parts == part;
}

/* Feeds the events of a part in order of time. `*fits`: false when memory did not do; then nothing has come of it. */
static rc_status feed(struct decision *d, uint32_t part, uint32_t parts, bool *fits, struct rc_error *err) {
    struct rc_past *past = d->past;
    const struct rc_past_options *options = &past->options;
    uint64_t n = rc_spool_count(past->spool);
    for (uint64_t i = 0; i < n && rc_spool_time(past->spool, i) <= options->at_ms; i++) {
        struct rc_span key, value;
        struct rc_event event;
        int64_t at_ms = rc_spool_time(past->spool, i);
        for (; d->next < options->n_instants && options->instants[d->next] < at_ms; d->next++)
            decide_at(d, options->instants[d->next], d->next);
        rc_arena_reset(&past->arena);
        if (rc_spool_read(past->spool, i, &past->scratch, &key, &value, err) != RC_OK)
            return RC_FAIL;
        if (rc_event_unpack(value, past->catalog->datasets, past->catalog->n_datasets, &past->arena, &event) != RC_OK)
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "an event was damaged on its way over the disk");
        if (!in_part(past, &event, part, parts))
            continue;
        set_clocks(d, at_ms);
        rc_population_apply(d->population, &event);
        if (too_large(d)) {
            *fits = false;
            return RC_OK;
        }
    }
    for (; d->next < options->n_instants; d->next++)
        decide_at(d, options->instants[d->next], d->next);
    decide_at(d, options->at_ms, options->n_instants);
    return RC_OK;
}

/* Decides the persons of one part, in two halves when they do not fit into memory at once. */
static rc_status decide(struct rc_past *past, uint32_t part, uint32_t parts, rc_member_fn visit, void *ctx,
                        struct rc_error *err) {
    size_t n_counts = (past->options.n_instants + 1) * past->catalog->n_segments;
    struct decision d = {.past = past,
                         .population = rc_population_new(past->plan, no_change, NULL),
                         .counts = rc_calloc(n_counts, sizeof *d.counts)};
    rc_population_limit_events(d.population, (size_t)rc_config_int(past->cli->config, "state.person_events"));
    bool fits = true;
    rc_status status = feed(&d, part, parts, &fits, err);
    if (status == RC_OK && fits) {
        for (size_t i = 0; i < n_counts; i++)
            past->counts[i] += d.counts[i];
        past->tally.quarantined += rc_population_quarantined(d.population);
        rc_population_each_member(d.population, visit, ctx);
    }
    rc_population_free(d.population);
    free(d.counts);
    if (status != RC_OK || fits)
        return status;
    if (parts >= MAX_PARTS)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_DATA,
                            "a few persons need more memory than state.memory_bytes allows (%lld); raise it, or read "
                            "less with --since",
                            (long long)rc_config_bytes(past->cli->config, "state.memory_bytes"));
    return decide(past, part, 2 * parts, visit, ctx, err) == RC_OK
               ? decide(past, part + parts, 2 * parts, visit, ctx, err)
               : RC_FAIL;
}

void rc_past_expect(struct rc_past *past, uint32_t n_units) {
    /* A unit of a partition that is parted reads all of it. */
    past->expected = rc_past_records(past) / (uint64_t)past->n_partitions * n_units;
}

rc_status rc_past_run(struct rc_past *past, uint32_t unit, struct rc_progress *progress, rc_member_fn visit, void *ctx,
                      struct rc_error *err) {
    past->unit = unit;
    past->progress = progress;
    if (rc_spool_open(UINT64_MAX, &past->spool, err) != RC_OK)
        return RC_FAIL;
    rc_status status = read_unit(past, err);
    if (status == RC_OK) {
        rc_spool_sort(past->spool);
        status = decide(past, 0, 1, visit, ctx, err);
    } else {
        status = rc_cli_broker_error(past->cli, err);
    }
    rc_spool_close(past->spool);
    past->spool = NULL;
    return status;
}

/* ---- what came of it ---- */

uint64_t rc_past_count(const struct rc_past *past, size_t i, uint32_t segment) {
    return past->counts[i * past->catalog->n_segments + segment];
}

int64_t rc_past_history(const struct rc_past *past, uint32_t dataset) {
    for (size_t i = 0; i < past->n_inputs; i++)
        for (size_t d = 0; d < past->inputs[i].n; d++)
            if (past->inputs[i].datasets[d] == dataset)
                return past->inputs[i].history_ms;
    return INT64_MIN;
}

const struct rc_past_tally *rc_past_tally(const struct rc_past *past) {
    return &past->tally;
}
