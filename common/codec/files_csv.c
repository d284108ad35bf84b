/* CSV with a header (RFC 4180): fields in quotes may hold separators, doubled quotes and line ends. Lines end in LF
 * or CRLF. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "codec/files_internal.h"

enum state { FIELD_START, PLAIN, QUOTED, AFTER_QUOTE };

static void end_field(struct rc_csv *csv) {
    rc_grow(&csv->ends, &csv->ends_capacity, csv->n_ends + 1, sizeof *csv->ends);
    csv->ends[csv->n_ends++] = csv->row.len;
}

/* Takes a CR that stood before the line's end off the last field. */
static void drop_return(struct rc_csv *csv, enum state state) {
    size_t start = csv->n_ends ? csv->ends[csv->n_ends - 1] : 0;
    if (state == PLAIN && csv->row.len > start && csv->row.data[csv->row.len - 1] == '\r')
        csv->row.data[--csv->row.len] = '\0';
}

/* Reads one row into csv->row and csv->ends. RECORD also for an empty line (no ends). `*start` is its first line. */
static enum rc_file_next next_row(struct rc_reader *reader, int64_t *start, struct rc_error *err) {
    struct rc_csv *csv = &reader->csv;
    enum state state = FIELD_START;
    bool any = false, stray = false; /* something stands between a closing quote and the separator */
    rc_buf_reset(&csv->row);
    csv->n_ends = 0;
    *start = reader->line;
    for (;;) {
        struct rc_span seen;
        if (rc_input_peek(reader->input, 1, &seen, err) != RC_OK)
            return RC_FILE_FAIL;
        if (seen.len == 0) {
            if (!any)
                return RC_FILE_END;
            if (state == QUOTED) {
                (void)rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                                   "%s:%" PRId64 ": a quote is not closed before the end of the file",
                                   rc_input_name(reader->input), *start);
                return RC_FILE_BAD;
            }
            drop_return(csv, state);
            end_field(csv);
            break;
        }
        size_t i = 0;
        bool row_ended = false;
        for (; i < seen.len && !row_ended; i++) {
            char c = seen.data[i];
            any = true;
            reader->line += c == '\n';
            if (state == QUOTED) {
                if (c == '"')
                    state = AFTER_QUOTE;
                else
                    (void)rc_buf_add_byte(&csv->row, (uint8_t)c);
            } else if (c == '\n') {
                drop_return(csv, state);
                row_ended = true;
            } else if (c == csv->separator) {
                end_field(csv);
                state = FIELD_START;
            } else if (c == '"' && state != PLAIN) {
                if (state == AFTER_QUOTE)
                    (void)rc_buf_add_byte(&csv->row, '"');
                state = QUOTED;
            } else {
                stray |= state == AFTER_QUOTE && c != '\r';
                if (state != AFTER_QUOTE) {
                    (void)rc_buf_add_byte(&csv->row, (uint8_t)c);
                    state = PLAIN;
                }
            }
        }
        rc_input_skip(reader->input, i);
        if (row_ended) {
            if (csv->n_ends || csv->row.len || state != FIELD_START)
                end_field(csv);
            if (csv->n_ends == 1 && csv->row.len == 0 && state == PLAIN)
                csv->n_ends = 0; /* only a CR: an empty line */
            break;
        }
    }
    if (csv->row.full || stray) {
        (void)rc_error_set(
            err, RC_CLASS_POISON, RC_EXIT_DATA, "%s:%" PRId64 ": %s", rc_input_name(reader->input), *start,
            stray ? "text follows a closing quote (quotes inside a field are doubled)" : "the row is too long");
        return RC_FILE_BAD;
    }
    return RC_FILE_RECORD;
}

static struct rc_span field(const struct rc_csv *csv, size_t i) {
    size_t start = i ? csv->ends[i - 1] : 0;
    return rc_span_of(csv->row.data ? csv->row.data + start : "", csv->ends[i] - start);
}

rc_status rc_csv_open(struct rc_reader *reader, char separator, struct rc_error *err) {
    struct rc_csv *csv = &reader->csv;
    const char *name = rc_input_name(reader->input);
    int64_t line;
    struct rc_span start;
    csv->separator = separator;
    rc_buf_init(&csv->row, RC_FILE_RECORD_MAX);
    if (rc_input_peek(reader->input, 3, &start, err) != RC_OK)
        return RC_FAIL;
    if (start.len >= 3 && memcmp(start.data, "\xef\xbb\xbf", 3) == 0) /* spreadsheets write a byte order mark */
        rc_input_skip(reader->input, 3);
    enum rc_file_next next = next_row(reader, &line, err);
    if (next == RC_FILE_FAIL || next == RC_FILE_BAD)
        return RC_FAIL;
    if (next == RC_FILE_END || csv->n_ends == 0)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                            "%s:1: a CSV file begins with a line of column names, this one does not", name);
    csv->columns = rc_calloc(csv->n_ends, sizeof *csv->columns);
    for (size_t i = 0; i < csv->n_ends; i++) {
        csv->columns[i] = rc_span_dup(field(csv, i));
        csv->n_columns++;
        json_t *valid = json_string(csv->columns[i]);
        json_decref(valid);
        if (!valid)
            return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s:1: the name of column %zu is not UTF-8", name,
                                i + 1);
        for (size_t k = 0; k < i; k++)
            if (strcmp(csv->columns[k], csv->columns[i]) == 0)
                return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s:1: two columns have the name \"%s\"", name,
                                    csv->columns[i]);
    }
    return RC_OK;
}

enum rc_file_next rc_csv_next(struct rc_reader *reader, struct rc_file_record *out, struct rc_error *err) {
    struct rc_csv *csv = &reader->csv;
    int64_t line;
    do {
        enum rc_file_next next = next_row(reader, &line, err);
        if (next != RC_FILE_RECORD)
            return next;
    } while (csv->n_ends == 0);
    if (csv->n_ends != csv->n_columns) {
        (void)rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s:%" PRId64 ": %zu columns, the header has %zu",
                           rc_input_name(reader->input), line, csv->n_ends, csv->n_columns);
        return RC_FILE_BAD;
    }
    json_t *json = json_object();
    for (size_t i = 0; i < csv->n_columns; i++) {
        struct rc_span text = field(csv, i);
        json_t *value = json_stringn(text.data, text.len);
        if (!value) {
            json_decref(json);
            (void)rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s:%" PRId64 ": column \"%s\" is not UTF-8",
                               rc_input_name(reader->input), line, csv->columns[i]);
            return RC_FILE_BAD;
        }
        json_object_set_new(json, csv->columns[i], value);
    }
    reader->json = json;
    *out = (struct rc_file_record){.number = line, .json = json};
    return RC_FILE_RECORD;
}

void rc_csv_close(struct rc_csv *csv) {
    for (size_t i = 0; i < csv->n_columns; i++)
        free(csv->columns[i]);
    free(csv->columns);
    free(csv->ends);
    rc_buf_deinit(&csv->row);
}
