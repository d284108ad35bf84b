#include "producers/produce.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "codec/decode.h"
#include "codec/files.h"
#include "codec/person_key.h"
#include "codec/registry.h"
#include "producers/convert.h"
#include "producers/progress.h"
#include "producers/sender.h"
#include "producers/spool.h"
#include "producers/timing.h"
#include "segment/population.h"

/* definitions.md §6. */
#define RECORD_MAX ((size_t)1 << 20)
#define KEY_MAX ((size_t)64 << 10)
#define ARENA_BYTES ((size_t)64 << 10)
#define AHEAD_MAX_MS INT64_C(86400000)
/* Index of 24 bytes each: 4.8 GB of it is where somebody should split the file. */
#define SPOOL_MAX_RECORDS UINT64_C(200000000)
/* From the moment that the map is fixed to the first event, so that the first one is sent in time as well. */
#define PACE_LEAD_MS 20
/* A slow broker may be caught up with, but not by more than this. */
#define RATE_BACKLOG_US INT64_C(1000000)

struct run {
    const struct rc_produce_options *options;
    struct rc_produce_result *result;
    const struct rc_dataset *dataset;
    struct rc_plan *plan; /* only when the dataset has a `where` */
    struct rc_registry *registry;
    struct rc_decoder *decoder;
    struct rc_converter *converter;
    struct rc_sender *sender;
    struct rc_spool *spool; /* NULL: rows are sent as they are read */
    struct rc_progress progress;
    bool moved; /* shift or pace: times are rewritten */
    struct rc_timing timing;

    struct rc_arena arena;             /* one row's event */
    struct rc_buf key, value, scratch; /* one row's */

    /* Where a chunk may end: not between two events of one person and millisecond. */
    int64_t last_at_ms;
    struct rc_buf last_key;
    int64_t rate_start_us; /* 0: nothing was sent yet */
    uint64_t sent;
};

/* A row that is ready: what the decoder says of it, and the bytes (borrowed from the run's buffers or from the reader). */
struct ready {
    int64_t at_ms;
    struct rc_span value;
    json_t *tree; /* owned; NULL when the raw bytes are sent */
};

/* ---- set-up ---------------------------------------------------------------------------------------------------------- */

static bool judge_where(void *ctx, const struct rc_event *event) {
    return rc_plan_dataset_where(ctx, event);
}

static rc_status open_decoder(struct run *run, uint32_t index, struct rc_error *err) {
    struct rc_decoder_options options = {.dataset = index,
                                         .registry = run->registry,
                                         .max_ahead_ms = run->moved ? -1 : AHEAD_MAX_MS,
                                         .max_record_bytes = RECORD_MAX};
    if (run->dataset->where) {
        if (rc_plan_compile(run->options->catalog, &run->plan, err) != RC_OK)
            return RC_FAIL;
        options.where = judge_where;
        options.where_ctx = run->plan;
        options.where_fields = rc_plan_dataset_where_fields(run->plan, index);
    }
    return rc_decoder_new(run->dataset, &options, &run->decoder, err);
}

/* Confluent framing: the schema gets its id under the subject that Confluent's own clients use. */
static rc_status open_registry(struct run *run, int32_t *schema_id, struct rc_error *err) {
    *schema_id = RC_FRAMING_NO_ID;
    if (run->dataset->format != RC_FORMAT_AVRO || run->dataset->framing != RC_FRAMING_CONFLUENT)
        return RC_OK;
    const char *url = rc_config_text(run->options->config, "registry.url");
    if (!*url)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                            "dataset %s has \"framing\": \"confluent\"; set registry.url to the schema registry",
                            run->dataset->id);
    if (!run->dataset->schema)
        return RC_OK; /* the converter says what is wrong */
    if (rc_registry_open(url, 0, &run->registry, err) != RC_OK)
        return RC_FAIL;
    struct rc_buf subject;
    rc_buf_init(&subject, 1024);
    (void)!rc_buf_printf(&subject, "%s-value", run->dataset->topic);
    rc_status status = rc_registry_register(run->registry, subject.data, run->dataset->schema, schema_id, err);
    rc_buf_deinit(&subject);
    return status;
}

static rc_status set_up(struct run *run, struct rc_error *err) {
    const struct rc_produce_options *options = run->options;
    int index = rc_catalog_dataset(options->catalog, options->dataset);
    if (index < 0)
        return rc_error_set(
            err, RC_CLASS_FATAL, RC_EXIT_DATA,
            "no dataset \"%s\": apply its definition first (rollcall apply -f FILE), or name it with -f FILE",
            options->dataset);
    run->dataset = &options->catalog->datasets[index];
    run->moved = options->shift_now || options->pace_ms > 0;
    if (options->rate > 0 && options->pace_ms > 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_USAGE,
                            "--rate and --pace exclude each other: with --pace the times say when to send");
    struct rc_converter_options converter = {0};
    if (options->time_zone && rc_timezone_load(options->time_zone, &converter.zone, err) != RC_OK) {
        err->exit_code = RC_EXIT_USAGE;
        return rc_error_prefix(err, "--time-zone");
    }
    if (open_registry(run, &converter.schema_id, err) != RC_OK ||
        rc_converter_new(run->dataset, &converter, &run->converter, err) != RC_OK)
        return RC_FAIL;
    if (options->import_ms && !rc_converter_has_time(run->converter))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_USAGE,
                            "dataset %s takes its timestamps from Kafka's own, which are the time of sending: what is "
                            "imported could not be of the past",
                            run->dataset->id);
    if ((options->sort || run->moved) && !rc_converter_has_time(run->converter))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_USAGE,
                            "dataset %s takes its timestamps from Kafka's own, which are the time of sending: --sort, "
                            "--shift and --pace "
                            "have nothing to work on",
                            run->dataset->id);
    if (open_decoder(run, (uint32_t)index, err) != RC_OK)
        return RC_FAIL;
    if ((options->sort || run->moved) && rc_spool_open(SPOOL_MAX_RECORDS, &run->spool, err) != RC_OK)
        return RC_FAIL;
    if (options->dry)
        return RC_OK;
    struct rc_sender_options sender = {.config = options->config,
                                       .topic = run->dataset->topic,
                                       .import_ms = options->import_ms,
                                       .stop = options->stop};
    return rc_sender_open(&sender, &run->sender, err);
}

static void tear_down(struct run *run) {
    rc_sender_close(run->sender);
    rc_spool_close(run->spool);
    rc_decoder_free(run->decoder);
    rc_converter_free(run->converter);
    rc_registry_close(run->registry);
    rc_plan_free(run->plan);
    rc_arena_deinit(&run->arena);
    rc_buf_deinit(&run->key);
    rc_buf_deinit(&run->value);
    rc_buf_deinit(&run->scratch);
    rc_buf_deinit(&run->last_key);
}

/* ---- one row --------------------------------------------------------------------------------------------------------- */

/* Decodes the record as ingest will: fills run->key and the time. */
static enum rc_decoded judge(struct run *run, struct rc_span value, int64_t number, int64_t *at_ms,
                             struct rc_error *err) {
    struct rc_record record = {.value = value,
                               .timestamp_ms = run->moved ? RC_NO_TIMESTAMP : rc_clock_wall_ms(),
                               .topic = run->dataset->topic,
                               .offset = number};
    struct rc_event event;
    rc_arena_reset(&run->arena);
    enum rc_decoded decoded = rc_decode(run->decoder, &record, &run->arena, &event, err);
    if (decoded != RC_DECODED)
        return decoded;
    rc_buf_reset(&run->key);
    if (rc_person_key_add(&run->key, event.namespace, event.person_id) != RC_OK) {
        (void)rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "bad person: namespace and id are over %zu bytes",
                           run->key.limit);
        return RC_BAD;
    }
    *at_ms = event.timestamp_ms;
    return RC_DECODED;
}

static enum rc_decoded prepare(struct run *run, enum rc_file_format format, bool raw, const struct rc_file_record *row,
                               struct ready *out, struct rc_error *err) {
    *out = (struct ready){.value = row->raw};
    if (raw && !run->moved) {
        enum rc_decoded decoded = judge(run, row->raw, row->number, &out->at_ms, err);
        /* A bad one may only hold a local time, which the way over the tree mends. */
        if (decoded != RC_BAD || format != RC_FILE_JSONL)
            return decoded;
    }
    if (rc_convert_row(run->converter, format, row, &out->tree, err) != RC_OK)
        return RC_BAD;
    rc_buf_reset(&run->value);
    enum rc_decoded decoded = RC_BAD;
    if (rc_convert_value(run->converter, out->tree, &run->value, err) == RC_OK)
        decoded = judge(run, rc_buf_span(&run->value), row->number, &out->at_ms, err);
    if (decoded != RC_DECODED) {
        json_decref(out->tree);
        return decoded;
    }
    out->value = rc_buf_span(&run->value);
    return RC_DECODED;
}

/* ---- sending --------------------------------------------------------------------------------------------------------- */

static bool stopped(struct run *run) {
    if (rc_stop_requested(run->options->stop))
        run->result->stopped = true;
    return run->result->stopped;
}

/* --rate: ends the chunk and waits when the next record is not due yet. */
static rc_status hold_rate(struct run *run, struct rc_error *err) {
    int64_t now = rc_clock_monotonic_ns() / 1000;
    if (run->rate_start_us == 0)
        run->rate_start_us = now;
    int64_t due = run->rate_start_us + (int64_t)((double)run->sent * 1e6 / run->options->rate);
    if (now - due > RATE_BACKLOG_US)
        run->rate_start_us += now - due - RATE_BACKLOG_US;
    if (now >= due)
        return RC_OK;
    if (rc_sender_flush(run->sender, err) != RC_OK)
        return RC_FAIL;
    while ((now = rc_clock_monotonic_ns() / 1000) < due && !stopped(run))
        (void)rc_stop_wait(run->options->stop, (due - now + 999) / 1000);
    return RC_OK;
}

/* --pace: sends what is due, as one chunk, and waits for the next time. */
static rc_status hold_pace(struct run *run, int64_t at_ms, struct rc_error *err) {
    int64_t now = rc_clock_wall_ms();
    if (now >= at_ms)
        return RC_OK;
    if (rc_sender_flush(run->sender, err) != RC_OK)
        return RC_FAIL;
    while ((now = rc_clock_wall_ms()) < at_ms && !stopped(run))
        (void)rc_stop_wait(run->options->stop, at_ms - now);
    return RC_OK;
}

static rc_status send_one(struct run *run, int64_t at_ms, struct rc_span key, struct rc_span value,
                          struct rc_error *err) {
    bool sorted = run->options->sort || run->options->pace_ms > 0;
    bool same =
        run->sent > 0 && at_ms == run->last_at_ms && (sorted || rc_span_equal(key, rc_buf_span(&run->last_key)));
    if (!same) {
        if (run->options->pace_ms > 0 && hold_pace(run, at_ms, err) != RC_OK)
            return RC_FAIL;
        if (run->options->rate > 0 && hold_rate(run, err) != RC_OK)
            return RC_FAIL;
        if (run->sender && rc_sender_wants_flush(run->sender) && rc_sender_flush(run->sender, err) != RC_OK)
            return RC_FAIL;
        if (stopped(run))
            return RC_OK;
    }
    if (run->sender && rc_sender_send(run->sender, key, value, err) != RC_OK)
        return RC_FAIL;
    run->last_at_ms = at_ms;
    if (!sorted) {
        rc_buf_reset(&run->last_key);
        rc_buf_add_span(&run->last_key, key);
    }
    run->sent++;
    return RC_OK;
}

/* ---- reading --------------------------------------------------------------------------------------------------------- */

static rc_status bad_row(struct run *run, const char *file, int64_t number, struct rc_error *err) {
    run->result->bad++;
    if (number >= 0)
        (void)rc_error_prefix(err, "%s:%" PRId64, file, number);
    if (run->options->strict) {
        err->class = RC_CLASS_FATAL;
        err->exit_code = RC_EXIT_DATA;
        return RC_FAIL;
    }
    rc_progress_tell(&run->progress, "%s; skipped", err->message);
    return RC_OK;
}

/* Keeps a ready row for later, or sends it. */
static rc_status pass_on(struct run *run, const struct ready *ready, struct rc_error *err) {
    if (!run->spool)
        return send_one(run, ready->at_ms, rc_buf_span(&run->key), ready->value, err);
    struct rc_span keep = ready->value;
    /* What will get another time is kept as JSON, in which it can be changed; an Avro datum could not. */
    if (run->moved && run->dataset->format == RC_FORMAT_AVRO) {
        char *text = json_dumps(ready->tree, JSON_COMPACT);
        if (!text)
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "a record cannot be written as JSON");
        rc_status status = rc_spool_add(run->spool, ready->at_ms, rc_buf_span(&run->key), rc_span_str(text), err);
        free(text);
        return status;
    }
    return rc_spool_add(run->spool, ready->at_ms, rc_buf_span(&run->key), keep, err);
}

static rc_status read_file(struct run *run, const char *path, struct rc_error *err) {
    struct rc_reader *reader;
    if (rc_reader_open(path, RC_FILE_AUTO, 0, &reader, err) != RC_OK)
        return RC_FAIL;
    const char *name = strcmp(path, "-") ? path : "stdin";
    enum rc_file_format format = rc_reader_format(reader);
    bool raw = rc_converter_takes_raw(run->converter, format, rc_reader_schema(reader));
    rc_status status = RC_OK;
    int64_t before = run->progress.read_bytes;
    while (status == RC_OK && !stopped(run)) {
        struct rc_file_record row;
        enum rc_file_next next = rc_reader_next(reader, &row, err);
        if (next == RC_FILE_END)
            break;
        if (next == RC_FILE_FAIL) {
            status = RC_FAIL;
            break;
        }
        run->result->rows++;
        if (next == RC_FILE_BAD) {
            status = bad_row(run, name, -1, err);
            continue;
        }
        struct ready ready;
        switch (prepare(run, format, raw, &row, &ready, err)) {
        case RC_DECODED:
            status = pass_on(run, &ready, err);
            json_decref(ready.tree);
            break;
        case RC_IGNORED: run->result->ignored++; break;
        case RC_BAD: status = bad_row(run, name, row.number, err); break;
        case RC_AGAIN: status = RC_FAIL; break;
        }
        for (const char *column; (column = rc_converter_unused_column(run->converter)) != NULL;)
            rc_progress_tell(&run->progress, "%s: column %s is left out, the schema has no such path", name, column);
        if (rc_progress_due(&run->progress, run->result->rows)) {
            int64_t bytes, total;
            rc_reader_progress(reader, &bytes, &total);
            run->progress.read_bytes = before + bytes;
            rc_progress_show(&run->progress, run->spool ? "reading" : "sending", run->result->rows, 0);
        }
    }
    int64_t bytes, total;
    rc_reader_progress(reader, &bytes, &total);
    run->progress.read_bytes = before + bytes;
    rc_reader_close(reader);
    return status;
}

/* ---- what was put aside ---------------------------------------------------------------------------------------------- */

static rc_status send_spooled(struct run *run, struct rc_error *err) {
    const struct rc_produce_options *options = run->options;
    struct rc_spool *spool = run->spool;
    if (options->sort || options->pace_ms > 0)
        rc_spool_sort(spool);
    if (run->moved) {
        struct rc_timing *timing = &run->timing;
        timing->mode = options->pace_ms > 0 ? RC_TIMING_PACE : RC_TIMING_SHIFT;
        timing->unit = rc_converter_unit(run->converter);
        timing->span_ms = options->pace_ms;
        rc_spool_range(spool, &timing->first_ms, &timing->last_ms);
        timing->start_ms = rc_clock_wall_ms() + (options->pace_ms > 0 ? PACE_LEAD_MS : 0);
    }
    uint64_t n = rc_spool_count(spool);
    for (uint64_t i = 0; i < n && !stopped(run); i++) {
        struct rc_span key, value;
        if (rc_spool_read(spool, i, &run->scratch, &key, &value, err) != RC_OK)
            return RC_FAIL;
        int64_t at_ms = rc_spool_time(spool, i);
        if (run->moved) {
            at_ms = rc_timing_map(&run->timing, at_ms);
            json_t *tree = json_loadb(value.data, value.len, 0, NULL);
            rc_status status = rc_convert_time(run->converter, tree, at_ms, err);
            rc_buf_reset(&run->value);
            if (status == RC_OK)
                status = rc_convert_value(run->converter, tree, &run->value, err);
            json_decref(tree);
            if (status != RC_OK)
                return rc_error_prefix(err, "writing a new time");
            value = rc_buf_span(&run->value);
        }
        if (send_one(run, at_ms, key, value, err) != RC_OK)
            return RC_FAIL;
        if (rc_progress_due(&run->progress, run->sent))
            rc_progress_show(&run->progress, "sending", run->sent, n);
    }
    return RC_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------- */

/* Bytes of all files, 0 when one of them is not a plain file. */
static int64_t size_of_files(const struct rc_produce_options *options) {
    int64_t total = 0;
    for (size_t i = 0; i < options->n_files; i++) {
        struct stat st;
        if (!strcmp(options->files[i], "-") || stat(options->files[i], &st) != 0 || !S_ISREG(st.st_mode))
            return 0;
        total += st.st_size;
    }
    return total;
}

rc_status rc_produce_run(const struct rc_produce_options *options, struct rc_produce_result *result,
                         struct rc_error *err) {
    *result = (struct rc_produce_result){0};
    struct run run = {.options = options, .result = result};
    rc_arena_init(&run.arena, ARENA_BYTES);
    rc_buf_init(&run.key, KEY_MAX);
    rc_buf_init(&run.value, RC_FILE_RECORD_MAX);
    rc_buf_init(&run.scratch, 2 * RC_FILE_RECORD_MAX);
    rc_buf_init(&run.last_key, KEY_MAX);
    rc_status status = set_up(&run, err);
    rc_progress_init(&run.progress, options->quiet, size_of_files(options));
    for (size_t i = 0; status == RC_OK && i < options->n_files && !stopped(&run); i++)
        status = read_file(&run, options->files[i], err);
    if (status == RC_OK && run.spool && !stopped(&run))
        status = send_spooled(&run, err);
    if (run.sender) {
        /* Also after a failure: what was taken is sent, so that the counts say what is on the topic. */
        struct rc_error late;
        if (rc_sender_flush(run.sender, &late) != RC_OK && status == RC_OK) {
            *err = late;
            status = RC_FAIL;
        }
        result->sent = rc_sender_acked(run.sender);
        rc_progress_end(&run.progress, result->sent);
    } else if (status == RC_OK) { /* dry */
        result->sent = run.sent;
        rc_progress_clear(&run.progress);
    }
    tear_down(&run);
    return status;
}
