/* What the readers of the three file formats share. Internal to files*.c. */
#ifndef RC_CODEC_FILES_INTERNAL_H
#define RC_CODEC_FILES_INTERNAL_H

#include "base/buf.h"
#include "codec/avro_schema.h"
#include "codec/files.h"
#include "codec/input.h"

struct rc_csv {
    char separator;
    char **columns; /* owned */
    size_t n_columns;
    struct rc_buf row; /* the fields' text, one behind the other */
    size_t *ends;      /* where in `row` each field ends; owned */
    size_t n_ends, ends_capacity;
};

struct rc_container {
    char *schema_text; /* owned */
    struct rc_avro_schema *schema;
    bool deflated;
    char sync[16];
    struct rc_buf block;  /* the block at hand, inflated */
    struct rc_span left;  /* what is left of it */
    int64_t records_left; /* in it */
};

struct rc_reader {
    struct rc_input *input; /* owned */
    enum rc_file_format format;
    int64_t line;      /* of the byte that is read next, from 1; Avro: records so far */
    json_t *json;      /* of the record given last; owned */
    struct rc_buf raw; /* JSONL: the line given last, when it did not lie in one piece */
    struct rc_csv csv;
    struct rc_container container;
};

rc_status rc_csv_open(struct rc_reader *reader, char separator, struct rc_error *err) RC_MUST_USE;
enum rc_file_next rc_csv_next(struct rc_reader *reader, struct rc_file_record *out, struct rc_error *err);
void rc_csv_close(struct rc_csv *csv);

rc_status rc_container_open(struct rc_reader *reader, struct rc_error *err) RC_MUST_USE;
enum rc_file_next rc_container_next(struct rc_reader *reader, struct rc_file_record *out, struct rc_error *err);
void rc_container_close(struct rc_container *container);

#endif
