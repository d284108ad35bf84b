#include "codec/files.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "codec/files_internal.h"

static bool ends_with(const char *text, size_t len, const char *end) {
    size_t n = strlen(end);
    return len >= n && strncasecmp(text + len - n, end, n) == 0;
}

static enum rc_file_format format_of(const char *path) {
    size_t len = strlen(path);
    if (ends_with(path, len, ".gz"))
        len -= 3;
    if (ends_with(path, len, ".csv"))
        return RC_FILE_CSV;
    if (ends_with(path, len, ".avro"))
        return RC_FILE_AVRO;
    if (ends_with(path, len, ".jsonl") || ends_with(path, len, ".ndjson") || ends_with(path, len, ".json"))
        return RC_FILE_JSONL;
    return RC_FILE_AUTO;
}

rc_status rc_reader_open(const char *path, enum rc_file_format format, char csv_separator, struct rc_reader **out,
                         struct rc_error *err) {
    struct rc_input *input;
    if (rc_input_open(path, &input, err) != RC_OK)
        return RC_FAIL;
    struct rc_reader *reader = rc_calloc(1, sizeof *reader);
    reader->input = input;
    reader->line = 1;
    rc_buf_init(&reader->raw, RC_FILE_RECORD_MAX);
    reader->format = format == RC_FILE_AUTO ? format_of(path) : format;
    rc_status status = RC_OK;
    if (reader->format == RC_FILE_AUTO) {
        struct rc_span start;
        status = rc_input_peek(input, 4, &start, err);
        reader->format =
            status == RC_OK && start.len >= 4 && memcmp(start.data, "Obj\1", 4) == 0 ? RC_FILE_AVRO : RC_FILE_JSONL;
    }
    if (status == RC_OK && reader->format == RC_FILE_CSV)
        status = rc_csv_open(reader, csv_separator ? csv_separator : ',', err);
    else if (status == RC_OK && reader->format == RC_FILE_AVRO)
        status = rc_container_open(reader, err);
    if (status != RC_OK) {
        rc_reader_close(reader);
        return RC_FAIL;
    }
    *out = reader;
    return RC_OK;
}

void rc_reader_close(struct rc_reader *reader) {
    if (!reader)
        return;
    rc_input_close(reader->input);
    json_decref(reader->json);
    rc_buf_deinit(&reader->raw);
    rc_csv_close(&reader->csv);
    rc_container_close(&reader->container);
    free(reader);
}

static bool blank(struct rc_span line) {
    for (size_t i = 0; i < line.len; i++)
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r')
            return false;
    return true;
}

/* The next line without its end, in `*out`; lines of more than RC_FILE_RECORD_MAX bytes are passed over with
 * RC_FILE_BAD. */
static enum rc_file_next next_line(struct rc_reader *reader, struct rc_span *out, struct rc_error *err) {
    struct rc_span seen;
    rc_buf_reset(&reader->raw);
    for (;;) {
        if (rc_input_peek(reader->input, 1, &seen, err) != RC_OK)
            return RC_FILE_FAIL;
        bool first = reader->raw.len == 0 && !reader->raw.full;
        if (seen.len == 0 && first)
            return RC_FILE_END;
        const char *end = seen.len ? memchr(seen.data, '\n', seen.len) : NULL;
        size_t n = end ? (size_t)(end - seen.data) : seen.len;
        rc_input_skip(reader->input, n + (end != NULL));
        if (end && first) { /* the usual case: all of it lies in the input's buffer */
            *out = rc_span_of(seen.data, n);
            return RC_FILE_RECORD;
        }
        (void)rc_buf_add(&reader->raw, seen.data, n); /* too long: `full` says so below */
        if (!end && seen.len)
            continue;
        if (reader->raw.full) {
            (void)rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s:%" PRId64 ": the line has more than %zu bytes",
                               rc_input_name(reader->input), reader->line, RC_FILE_RECORD_MAX);
            return RC_FILE_BAD;
        }
        *out = rc_buf_span(&reader->raw);
        return RC_FILE_RECORD;
    }
}

static enum rc_file_next next_jsonl(struct rc_reader *reader, struct rc_file_record *out, struct rc_error *err) {
    for (;;) {
        struct rc_span line;
        enum rc_file_next next = next_line(reader, &line, err);
        if (next == RC_FILE_END || next == RC_FILE_FAIL)
            return next;
        int64_t number = reader->line++;
        if (next == RC_FILE_RECORD && blank(line))
            continue;
        if (next == RC_FILE_RECORD) {
            if (line.data[line.len - 1] == '\r')
                line.len--;
            *out = (struct rc_file_record){.number = number, .raw = line};
        }
        return next;
    }
}

enum rc_file_next rc_reader_next(struct rc_reader *reader, struct rc_file_record *out, struct rc_error *err) {
    json_decref(reader->json);
    reader->json = NULL;
    switch (reader->format) {
    case RC_FILE_CSV: return rc_csv_next(reader, out, err);
    case RC_FILE_AVRO: return rc_container_next(reader, out, err);
    default: return next_jsonl(reader, out, err);
    }
}

enum rc_file_format rc_reader_format(const struct rc_reader *reader) {
    return reader->format;
}

const char *rc_reader_schema(const struct rc_reader *reader) {
    return reader->container.schema_text;
}

void rc_reader_progress(const struct rc_reader *reader, int64_t *read_bytes, int64_t *total_bytes) {
    rc_input_progress(reader->input, read_bytes, total_bytes);
}
