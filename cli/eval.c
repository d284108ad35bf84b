/* rollcall eval: the engine of `ingest` on files, with a virtual clock (pipeline.md §7). No broker, no state on disk. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/applied.h"
#include "cli/commands.h"
#include "cli/explanation.h"
#include "codec/files.h"
#include "codec/person_key.h"
#include "segment/decoders.h"
#include "segment/explain.h"
#include "segment/population.h"

/* One line of output: a change, or a member at an instant. */
struct row {
    int64_t at_ms; /* since, or the instant asked for */
    uint32_t segment;
    bool realized;
    char *namespace, *id; /* owned */
};

/* A person's saved state. */
struct saved {
    char *key, *record; /* owned */
    size_t key_len, record_len;
};

struct evaluation {
    struct rc_catalog *catalog;
    struct rc_plan *plan;
    struct rc_population *population;
    struct rc_decoder **decoders; /* by dataset */
    struct rc_arena arena;        /* lines and events; kept where `keeps_events` */
    struct rc_event *events;      /* --timeline: all, to be sorted; --explain: all, to be named */
    size_t n_events, cap_events;
    int64_t greatest_ms; /* greatest accepted timestamp; INT64_MIN */
    int64_t until_ms;    /* --timeline: changes later than this are not asked for */
    int64_t at_ms;       /* --at: the instant at hand */
    bool timeline, keeps_events, strict;
    int64_t restart_every; /* 0: never */
    size_t n_applied;
    struct saved *saved; /* --restart-every: what a store would hold */
    size_t n_saved, cap_saved;
    struct row *rows;
    size_t n_rows, cap_rows;
};

/* ---- output ----------------------------------------------------------------------------------------------------------- */

static void add_row(struct evaluation *e, int64_t at_ms, uint32_t segment, bool realized, struct rc_span person_key) {
    struct rc_buf scratch;
    struct rc_span namespace, id;
    rc_buf_init(&scratch, person_key.len + 1);
    if (rc_person_key_split(person_key, &scratch, &namespace, &id) != RC_OK)
        abort(); /* the engine's own key */
    rc_grow(&e->rows, &e->cap_rows, e->n_rows + 1, sizeof *e->rows);
    e->rows[e->n_rows++] = (struct row){at_ms, segment, realized, rc_span_dup(namespace), rc_span_dup(id)};
    rc_buf_deinit(&scratch);
}

static void on_change(void *ctx, const struct rc_change *change) {
    struct evaluation *e = ctx;
    if (e->timeline && !change->existence && change->since_ms <= e->until_ms)
        add_row(e, change->since_ms, change->index, change->realized, change->person_key);
}

static void on_member(void *ctx, struct rc_span person_key, uint32_t segment, int64_t since_ms) {
    struct evaluation *e = ctx;
    (void)since_ms;
    add_row(e, e->at_ms, segment, true, person_key);
}

static int compare_rows(const void *a, const void *b, void *ctx) {
    const struct row *x = a, *y = b;
    const struct rc_segment *segments = ((const struct evaluation *)ctx)->catalog->segments;
    if (x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms ? -1 : 1;
    int c = strcmp(segments[x->segment].id, segments[y->segment].id);
    if (c == 0)
        c = strcmp(x->namespace, y->namespace);
    return c ? c : strcmp(x->id, y->id);
}

static void print_rows(struct evaluation *e) {
    struct rc_buf line;
    rc_buf_init(&line, 1 << 20);
    if (e->n_rows > 1)
        qsort_r(e->rows, e->n_rows, sizeof *e->rows, compare_rows, e);
    for (size_t i = 0; i < e->n_rows; i++) {
        const struct row *row = &e->rows[i];
        rc_buf_reset(&line);
        rc_buf_add_byte(&line, '{');
        if (!e->timeline)
            rc_buf_printf(&line, "\"at\": %lld, ", (long long)row->at_ms);
        rc_buf_printf(&line, "\"segment\": \"%s\", \"namespace\": ", e->catalog->segments[row->segment].id);
        rc_buf_add_json_string(&line, rc_span_str(row->namespace));
        rc_buf_add_str(&line, ", \"id\": ");
        rc_buf_add_json_string(&line, rc_span_str(row->id));
        if (e->timeline)
            rc_buf_printf(&line, ", \"status\": \"%s\", \"since\": %lld", row->realized ? "realized" : "exited",
                          (long long)row->at_ms);
        rc_buf_add_byte(&line, '}');
        puts(line.data);
    }
    rc_buf_deinit(&line);
}

/* ---- input ------------------------------------------------------------------------------------------------------------ */

static void set_clocks(struct evaluation *e, int64_t clock_ms) {
    for (uint32_t d = 0; d < e->catalog->n_datasets; d++)
        rc_population_set_clock(e->population, d, clock_ms);
}

static void save_record(void *ctx, struct rc_span person_key, struct rc_span record) {
    struct evaluation *e = ctx;
    size_t i = 0;
    while (i < e->n_saved && !rc_span_equal(rc_span_of(e->saved[i].key, e->saved[i].key_len), person_key))
        i++;
    if (i == e->n_saved) {
        rc_grow(&e->saved, &e->cap_saved, e->n_saved + 1, sizeof *e->saved);
        e->saved[e->n_saved++] = (struct saved){.key = rc_span_dup(person_key), .key_len = person_key.len};
    }
    free(e->saved[i].record);
    e->saved[i].record = rc_span_dup(record);
    e->saved[i].record_len = record.len;
}

/* Goes on from the saved form of the state alone, as a process does that starts again. */
static rc_status restart(struct evaluation *e, struct rc_error *err) {
    rc_population_save(e->population, save_record, e);
    rc_population_free(e->population);
    e->population = rc_population_new(e->plan, on_change, e);
    for (size_t i = 0; i < e->n_saved; i++) {
        const struct saved *s = &e->saved[i];
        if (rc_population_load(e->population, rc_span_of(s->key, s->key_len), rc_span_of(s->record, s->record_len),
                               err) != RC_OK)
            return RC_FAIL;
    }
    set_clocks(e, e->greatest_ms);
    return RC_OK;
}

static rc_status take_event(struct evaluation *e, const struct rc_event *event, struct rc_error *err) {
    if (event->timestamp_ms > e->greatest_ms)
        e->greatest_ms = event->timestamp_ms;
    if (e->keeps_events) {
        rc_grow(&e->events, &e->cap_events, e->n_events + 1, sizeof *e->events);
        e->events[e->n_events++] = *event;
    }
    if (e->timeline)
        return RC_OK; /* to be sorted first */
    set_clocks(e, e->greatest_ms);
    rc_population_apply(e->population, event);
    e->n_applied++;
    return e->restart_every > 0 && e->n_applied % (size_t)e->restart_every == 0 ? restart(e, err) : RC_OK;
}

/* Names a bad event on stderr; with --strict it ends the run. */
static rc_status report_bad(const struct evaluation *e, const char *path, int64_t line, const struct rc_error *bad,
                            struct rc_error *err) {
    if (e->strict)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s:%lld: %s", path, (long long)line, bad->message);
    fprintf(stderr, "rollcall: %s:%lld: %s; skipped\n", path, (long long)line, bad->message);
    return RC_OK;
}

static rc_status read_file(struct evaluation *e, uint32_t dataset, const char *path, struct rc_error *err) {
    struct rc_reader *reader;
    if (rc_reader_open(path, RC_FILE_JSONL, 0, &reader, err) != RC_OK)
        return RC_FAIL;
    rc_status status = RC_OK;
    struct rc_file_record line;
    struct rc_error bad;
    for (bool more = true; more && status == RC_OK;) {
        switch (rc_reader_next(reader, &line, &bad)) {
        case RC_FILE_END: more = false; continue;
        case RC_FILE_FAIL:
            *err = bad;
            status = RC_FAIL;
            continue;
        case RC_FILE_BAD:
            if (e->strict) {
                *err = bad;
                status = RC_FAIL;
            } else {
                fprintf(stderr, "rollcall: %s; skipped\n", bad.message);
            }
            continue;
        case RC_FILE_RECORD: break;
        }
        if (!e->keeps_events)
            rc_arena_reset(&e->arena);
        struct rc_record record = {.value = rc_arena_copy(&e->arena, line.raw),
                                   .timestamp_ms = RC_NO_TIMESTAMP,
                                   .offset = line.number,
                                   .from_file = true};
        struct rc_event event;
        enum rc_decoded decoded = rc_decode(e->decoders[dataset], &record, &e->arena, &event, &bad);
        if (decoded == RC_DECODED)
            status = take_event(e, &event, err);
        else if (decoded != RC_IGNORED)
            status = report_bad(e, path, line.number, &bad, err);
    }
    rc_reader_close(reader);
    return status;
}

/* "D=FILE", or "FILE" where there is one dataset. A file whose name holds `=` can be given as ./FILE with its dataset before it. */
static rc_status read_events(struct evaluation *e, const struct rc_cli *cli, struct rc_error *err) {
    const char *text;
    for (size_t i = 0; (text = rc_cli_value_at(cli, "events", i)) != NULL; i++) {
        const char *equals = strchr(text, '=');
        int dataset = e->catalog->n_datasets == 1 ? 0 : -1;
        if (equals) {
            char *id = rc_span_dup(rc_span_of(text, (size_t)(equals - text)));
            int named = rc_catalog_dataset(e->catalog, id);
            free(id);
            if (named < 0 && dataset < 0)
                return rc_cli_usage(cli, err, "--events %s: no dataset %.*s among the definitions", text,
                                    (int)(equals - text), text);
            if (named >= 0) {
                dataset = named;
                text = equals + 1;
            }
        }
        if (dataset < 0)
            return rc_cli_usage(cli, err, "--events %s: say which dataset, as DATASET=FILE; there are %zu", text,
                                e->catalog->n_datasets);
        if (read_file(e, (uint32_t)dataset, text, err) != RC_OK)
            return RC_FAIL;
    }
    return RC_OK;
}

/* ---- the two ways ------------------------------------------------------------------------------------------------------ */

static rc_status parse_instant(const struct rc_cli *cli, const char *option, const char *text, int64_t *out,
                               struct rc_error *err) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value == INT64_MAX)
        return rc_cli_usage(cli, err, "--%s %s: expected an instant in milliseconds since the epoch", option, text);
    *out = value;
    return RC_OK;
}

static int compare_events(const void *a, const void *b) {
    const struct rc_event *x = a, *y = b;
    return (x->timestamp_ms > y->timestamp_ms) - (x->timestamp_ms < y->timestamp_ms);
}

static rc_status run_timeline(struct evaluation *e, const struct rc_cli *cli, struct rc_error *err) {
    if (read_events(e, cli, err) != RC_OK)
        return RC_FAIL;
    e->until_ms = e->greatest_ms;
    if (rc_cli_value(cli, "until") &&
        parse_instant(cli, "until", rc_cli_value(cli, "until"), &e->until_ms, err) != RC_OK)
        return RC_FAIL;
    if (e->n_events == 0)
        return RC_OK;
    qsort(e->events, e->n_events, sizeof *e->events, compare_events);
    for (size_t i = 0; i < e->n_events && e->events[i].timestamp_ms <= e->until_ms; i++) {
        set_clocks(e, e->events[i].timestamp_ms);
        rc_population_apply(e->population, &e->events[i]);
    }
    set_clocks(e, e->until_ms < INT64_MAX ? e->until_ms + 1 : e->until_ms);
    rc_population_advance(e->population, 0);
    print_rows(e);
    return RC_OK;
}

static int compare_instants(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static rc_status run_at(struct evaluation *e, const struct rc_cli *cli, struct rc_error *err) {
    int64_t *instants = NULL;
    size_t n = 0, capacity = 0;
    const char *text;
    rc_status status = RC_OK;
    for (; status == RC_OK && (text = rc_cli_value_at(cli, "at", n)) != NULL; n += status == RC_OK) {
        rc_grow(&instants, &capacity, n + 1, sizeof *instants);
        status = parse_instant(cli, "at", text, &instants[n], err);
    }
    if (status == RC_OK)
        status = read_events(e, cli, err);
    if (status == RC_OK && n > 1)
        qsort(instants, n, sizeof *instants, compare_instants);
    if (status == RC_OK && n > 0 && instants[0] < e->greatest_ms)
        status = rc_cli_usage(cli, err, "--at %lld: before the greatest timestamp of the events, %lld",
                              (long long)instants[0], (long long)e->greatest_ms);
    for (size_t i = 0; status == RC_OK && i < n; i++) {
        if (i > 0 && instants[i] == instants[i - 1])
            continue;
        e->at_ms = instants[i];
        set_clocks(e, instants[i] + 1);
        rc_population_advance(e->population, 0);
        rc_population_each_member(e->population, on_member, e);
    }
    if (status == RC_OK)
        print_rows(e);
    free(instants);
    return status;
}

/* ---- explaining -------------------------------------------------------------------------------------------------------- */

static bool is_person(const struct rc_event *event, struct rc_span person_key) {
    struct rc_buf key;
    rc_buf_init(&key, RC_FILE_RECORD_MAX);
    bool same = rc_person_key_add(&key, event->namespace, event->person_id) == RC_OK &&
                rc_span_equal(rc_buf_span(&key), person_key);
    rc_buf_deinit(&key);
    return same;
}

/* By time, deliveries of one event beside each other. */
static int compare_evidence(const void *a, const void *b) {
    const struct rc_event *x = a, *y = b;
    int c = compare_events(x, y);
    if (c == 0)
        c = (x->dataset > y->dataset) - (x->dataset < y->dataset);
    if (c == 0)
        c = rc_span_compare(x->event_id, y->event_id);
    if (c == 0)
        c = rc_span_compare(x->namespace, y->namespace);
    return c ? c : rc_span_compare(x->person_id, y->person_id);
}

/* Orders the events, and leaves one of those that were delivered several times. */
static void order_evidence(struct evaluation *e) {
    size_t kept = 0;
    if (e->n_events > 1)
        qsort(e->events, e->n_events, sizeof *e->events, compare_evidence);
    for (size_t i = 0; i < e->n_events; i++)
        if (kept == 0 || compare_evidence(&e->events[kept - 1], &e->events[i]) != 0)
            e->events[kept++] = e->events[i];
    e->n_events = kept;
}

static void add_event(const struct evaluation *e, const struct rc_event *event, struct rc_buf *out) {
    rc_buf_printf(out, "{\"dataset\": \"%s\", \"timestamp\": %lld, \"id\": ", e->catalog->datasets[event->dataset].id,
                  (long long)event->timestamp_ms);
    rc_buf_add_json_string(out, event->event_id);
    rc_buf_add_byte(out, '}');
}

static bool name_event(void *ctx, struct rc_span person_key, struct rc_evidence evidence, struct rc_buf *out) {
    const struct evaluation *e = ctx;
    for (size_t i = 0; i < e->n_events; i++) {
        const struct rc_event *event = &e->events[i];
        if (event->timestamp_ms == evidence.timestamp_ms &&
            rc_event_hash(e->plan, event->dataset, event->event_id) == evidence.id_hash &&
            is_person(event, person_key)) {
            add_event(e, event, out);
            return true;
        }
    }
    return false;
}

static void name_events(void *ctx, struct rc_span person_key, const bool *datasets, int64_t from_ms, int64_t to_ms,
                        struct rc_buf *out) {
    const struct evaluation *e = ctx;
    bool any = false;
    for (size_t i = 0; i < e->n_events; i++) {
        const struct rc_event *event = &e->events[i];
        if (!datasets[event->dataset] || event->timestamp_ms < from_ms || event->timestamp_ms > to_ms ||
            !is_person(event, person_key))
            continue;
        if (any)
            rc_buf_add_str(out, ", ");
        add_event(e, event, out);
        any = true;
    }
}

static void print_tree(const struct evaluation *e, const struct rc_buf *json) {
    json_t *explanation = json_loadb(json->data, json->len, 0, NULL);
    struct rc_buf tree;
    rc_buf_init(&tree, (size_t)256 << 20);
    rc_cli_explanation_segment(explanation, e->catalog, &tree);
    fputs(tree.data, stdout);
    rc_buf_deinit(&tree);
    json_decref(explanation);
}

static rc_status run_explain(struct evaluation *e, const struct rc_cli *cli, struct rc_error *err) {
    const char *id = rc_cli_value(cli, "explain");
    int segment = rc_catalog_segment(e->catalog, id);
    if (segment < 0)
        return rc_cli_usage(cli, err, "--explain %s: no segment %s among the definitions", id, id);
    if (rc_cli_value_at(cli, "at", 1))
        return rc_cli_usage(cli, err, "--explain takes one --at MS");
    if (parse_instant(cli, "at", rc_cli_value(cli, "at"), &e->at_ms, err) != RC_OK || read_events(e, cli, err) != RC_OK)
        return RC_FAIL;
    if (e->at_ms < e->greatest_ms)
        return rc_cli_usage(cli, err, "--at %lld: before the greatest timestamp of the events, %lld",
                            (long long)e->at_ms, (long long)e->greatest_ms);
    set_clocks(e, e->at_ms + 1);
    rc_population_advance(e->population, 0);
    order_evidence(e);
    struct rc_explain_sources sources = {.name = name_event, .events = name_events, .ctx = e};
    struct rc_buf out;
    rc_buf_init(&out, (size_t)256 << 20);
    rc_status status = rc_population_explain(e->population, rc_span_str(cli->args.positional[0]), (uint32_t)segment,
                                             e->at_ms, &sources, &out);
    if (status != RC_OK)
        rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "the explanation is larger than 256 MiB");
    else if (rc_cli_has(cli, "tree"))
        print_tree(e, &out);
    else
        puts(out.data);
    rc_buf_deinit(&out);
    return status;
}

/* ---- the command ------------------------------------------------------------------------------------------------------- */

static rc_status prepare(struct evaluation *e, const struct rc_cli *cli, struct rc_error *err) {
    struct rc_cli_texts texts = {0};
    struct rc_catalog_builder builder;
    size_t n;
    const char **paths = rc_cli_paths(cli, &n);
    n -= cli->args.n_positional; /* the person of --explain is no path */
    rc_catalog_builder_init(&builder);
    rc_status status = rc_cli_texts_read(&texts, paths, n, err);
    if (status == RC_OK)
        status = rc_cli_texts_add(&texts, &builder, err);
    if (status == RC_OK)
        status = rc_catalog_build(&builder, &e->catalog, err);
    rc_catalog_builder_deinit(&builder);
    rc_cli_texts_deinit(&texts);
    free(paths);
    if (status != RC_OK)
        return RC_FAIL;
    for (size_t d = 0; d < e->catalog->n_datasets; d++)
        e->catalog->datasets[d].grace_ms = 0; /* nothing is in flight in a file */
    if (rc_plan_compile(e->catalog, &e->plan, err) != RC_OK)
        return RC_FAIL;
    e->population = rc_population_new(e->plan, on_change, e);
    struct rc_decoder_options decoding = {.max_ahead_ms = -1, .as_json = true};
    return rc_plan_decoders_new(e->plan, e->catalog, &decoding, &e->decoders, err);
}

static void finish(struct evaluation *e) {
    if (e->catalog)
        rc_plan_decoders_free(e->decoders, e->catalog);
    rc_population_free(e->population);
    rc_plan_free(e->plan);
    rc_catalog_free(e->catalog);
    for (size_t i = 0; i < e->n_rows; i++) {
        free(e->rows[i].namespace);
        free(e->rows[i].id);
    }
    for (size_t i = 0; i < e->n_saved; i++) {
        free(e->saved[i].key);
        free(e->saved[i].record);
    }
    free(e->saved);
    free(e->rows);
    free(e->events);
    rc_arena_deinit(&e->arena);
}

static rc_status run(struct rc_cli *cli, struct rc_error *err) {
    size_t persons = rc_cli_has(cli, "explain") ? 1 : 0;
    if (rc_cli_expect(cli, persons, persons, err) != RC_OK)
        return RC_FAIL;
    if (!rc_cli_value(cli, "file") || !rc_cli_has(cli, "events"))
        return rc_cli_usage(cli, err, "eval needs definitions (-f PATH) and events (--events [DATASET=]FILE)");
    if (rc_cli_has(cli, "timeline") == rc_cli_has(cli, "at"))
        return rc_cli_usage(cli, err, "give exactly one of --timeline and --at MS");
    if (rc_cli_has(cli, "until") && !rc_cli_has(cli, "timeline"))
        return rc_cli_usage(cli, err, "--until goes with --timeline");
    if (rc_cli_has(cli, "restart-every") && rc_cli_has(cli, "timeline"))
        return rc_cli_usage(cli, err, "--restart-every goes with --at");
    if (rc_cli_has(cli, "explain") && !rc_cli_has(cli, "at"))
        return rc_cli_usage(cli, err, "--explain SEGMENT NAMESPACE:ID goes with --at MS");
    struct evaluation e = {
        .greatest_ms = INT64_MIN, .timeline = rc_cli_has(cli, "timeline"), .strict = rc_cli_has(cli, "strict")};
    e.keeps_events = e.timeline || persons > 0;
    if (rc_cli_integer(cli, "restart-every", &e.restart_every, err) != RC_OK)
        return RC_FAIL;
    rc_arena_init(&e.arena, 256 << 10);
    rc_status status = prepare(&e, cli, err);
    if (status == RC_OK)
        status = e.timeline ? run_timeline(&e, cli, err) : persons ? run_explain(&e, cli, err) : run_at(&e, cli, err);
    finish(&e);
    return status;
}

static const struct rc_cli_option options[] = {
    {"file", 'f', CLI_MANY, "PATH", "Definitions: files or folders of *.json."},
    {"events", 0, CLI_MANY, "[DATASET=]FILE",
     "JSONL files of events, one or more for each dataset (.gz too; - is stdin)."},
    {"timeline", 0, CLI_FLAG, NULL, "Prints every change of membership, ordered by since, segment, namespace, id."},
    {"until", 0, CLI_ONE, "MS", "With --timeline: the last instant (default: the greatest timestamp of the events)."},
    {"at", 0, CLI_ONE, "MS", "Prints the members at this instant; may be repeated."},
    {"explain", 0, CLI_ONE, "SEGMENT",
     "With --at MS and NAMESPACE:ID: why that person is a member then, or not: each condition, its value, the events "
     "it rests on, and when "
     "it next changes by time alone."},
    {"tree", 0, CLI_FLAG, NULL, "With --explain: as a tree to read, as `rollcall explain` prints it, instead of JSON."},
    {"restart-every", 0, CLI_ONE, "N",
     "With --at: saves all state after every N events and goes on from what was saved alone, as a restart does. The "
     "answer is the same; "
     "this shows it."},
    {"strict", 0, CLI_FLAG, NULL, "Ends with exit code 65 at the first bad event, instead of naming it and going on."},
    {0},
};

const struct rc_cli_command rc_cli_command_eval = {
    .name = "eval",
    .summary = "evaluates definitions on files of events, without a broker",
    .arguments = "[NAMESPACE:ID]",
    .text = "Runs the engine of `ingest` on JSONL files with a virtual clock. With --timeline the events are sorted by "
            "time first; with "
            "--at they are fed in the order of the files, as they would arrive. `grace` is ignored. Instants are "
            "milliseconds since the epoch.",
    .options = options,
    .examples = "rollcall eval -f definitions/ --events web=web.jsonl --timeline\n"
                "rollcall eval -f definitions.json --events events.jsonl --at 1774760100000\n"
                "rollcall eval -f definitions.json --events events.jsonl --explain buyers --at 1774760100000 "
                "email:a@example.com",
    .no_config = true,
    .run = run,
};
