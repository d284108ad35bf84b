/* Records from files: JSONL, CSV with a header, Avro object container files; gzip is seen through. For `produce` and
 * `eval`.
 *
 * One record at a time, memory bounded by the largest record (RC_FILE_RECORD_MAX). What makes a single record
 * unusable is reported for that record and reading goes on; only what makes the rest of the file unreadable is a
 * failure. */
#ifndef RC_CODEC_FILES_H
#define RC_CODEC_FILES_H

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"
#include "base/span.h"

/* AUTO: by the name (.jsonl .ndjson .json .csv .avro, each also with .gz), else by the first bytes ("Obj\1": Avro),
 * else JSONL. */
enum rc_file_format { RC_FILE_AUTO, RC_FILE_JSONL, RC_FILE_CSV, RC_FILE_AVRO };

#define RC_FILE_RECORD_MAX ((size_t)64 << 20)

struct rc_reader;

struct rc_file_record {
    /* JSONL, CSV: the line on which it starts, from 1 (a CSV's header is line 1); Avro: the record's number from 1. */
    int64_t number;
    /* JSONL: the line without its end; Avro: the datum's bytes; CSV: empty. Borrowed until the next call. */
    struct rc_span raw;
    /* CSV: {column: text}, in column order; Avro: the record (timestamps as integers in their own unit, decimals as
     * decimal text, bytes as text of code points 0-255, unions as their value); JSONL: NULL. Borrowed until the next
     * call; may be changed, json_incref to keep it. */
    json_t *json;
};

enum rc_file_next {
    RC_FILE_RECORD, /* `out` is filled */
    RC_FILE_END,
    RC_FILE_BAD,  /* this record cannot be used, `err` (POISON) names file and line; go on with the next */
    RC_FILE_FAIL, /* the file cannot be read further: `err` names file and place */
};

/* `path`: "-" is stdin. `csv_separator`: 0 for ','. Fails: exit 66-like conditions (no such file, not readable, no
 * header) as POISON, exit 65, with the path. */
rc_status rc_reader_open(const char *path, enum rc_file_format format, char csv_separator, struct rc_reader **out,
                         struct rc_error *err) RC_MUST_USE;
void rc_reader_close(struct rc_reader *reader);

/* The next record. Empty lines of JSONL are counted and passed over. */
enum rc_file_next rc_reader_next(struct rc_reader *reader, struct rc_file_record *out, struct rc_error *err)
    RC_MUST_USE;

enum rc_file_format rc_reader_format(const struct rc_reader *reader);

/* Avro: the file's schema as JSON text; else NULL. Borrowed until close. */
const char *rc_reader_schema(const struct rc_reader *reader);

/* Bytes of the file read so far and in all (compressed ones, if it is); the total is -1 for stdin and pipes. For
 * progress. */
void rc_reader_progress(const struct rc_reader *reader, int64_t *read_bytes, int64_t *total_bytes);

#endif
