/* The file that an export writes: members as JSONL, CSV or an Avro object container, to stdout or to a file that is there whole or not at
 * all (a temporary file beside it, renamed at the end). */
#ifndef RC_CLI_EXPORT_FILE_H
#define RC_CLI_EXPORT_FILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/span.h"

enum rc_export_format { RC_EXPORT_JSONL, RC_EXPORT_CSV, RC_EXPORT_AVRO };

struct rc_export_file;

struct rc_export_row {
    struct rc_span target; /* audience or segment */
    struct rc_span namespace, person_id;
    int64_t since_ms, version;
};

/* `path`: NULL is stdout. `segments`: rows are about segments, not audiences. `snapshot`: what rc_cli_snapshot_json says, borrowed for the call; its
 * "asOf" stands in every row, all of it in an Avro file's metadata as `rollcall.snapshot`. Fails (exit 65) when the file cannot be made. */
rc_status rc_export_open(const char *path, enum rc_export_format format, bool segments, const json_t *snapshot,
                         struct rc_export_file **out, struct rc_error *err) RC_MUST_USE;
rc_status rc_export_add(struct rc_export_file *file, const struct rc_export_row *row, struct rc_error *err) RC_MUST_USE;
/* Writes what is left, makes it durable and gives it its name; frees. On failure nothing is left behind. */
rc_status rc_export_commit(struct rc_export_file *file, struct rc_error *err) RC_MUST_USE;
/* Leaves nothing behind; frees. NULL is fine. */
void rc_export_abort(struct rc_export_file *file);

/* The schema of an Avro export, as in schemas/member.avsc and schemas/segment_member.avsc but for the texts of doc. */
const char *rc_export_schema(bool segments);

#endif
