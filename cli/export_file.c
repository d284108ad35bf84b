/* Avro's container is written here and not by avro-c, which cannot put metadata into it: the magic, a map of metadata, and blocks of records
 * with a sync marker behind each (https://avro.apache.org/docs/1.11.1/specification/#object-container-files). The mistake that this file
 * prevents: half an export under the name of a whole one. */
#include "cli/export_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"

#define BLOCK ((size_t)64 << 10)
#define LIMIT ((size_t)64 << 20)
#define SYNC 16

struct rc_export_file {
    char *path, *temporary; /* owned; NULL: stdout */
    FILE *out;
    enum rc_export_format format;
    const char *target; /* "audience" or "segment" */
    int64_t as_of_ms;
    struct rc_buf block; /* not written yet */
    int64_t n_block;     /* records in it */
    uint8_t sync[SYNC];
};

#define SCHEMA(name, target)                                                                              \
    "{\"type\": \"record\", \"name\": \"" name "\", \"namespace\": \"rollcall\", \"fields\": ["           \
    "{\"name\": \"" target "\", \"type\": \"string\"}, {\"name\": \"namespace\", \"type\": \"string\"}, " \
    "{\"name\": \"personId\", \"type\": \"string\"}, "                                                    \
    "{\"name\": \"since\", \"type\": {\"type\": \"long\", \"logicalType\": \"timestamp-millis\"}}, "      \
    "{\"name\": \"version\", \"type\": \"long\"}, "                                                       \
    "{\"name\": \"asOf\", \"type\": {\"type\": \"long\", \"logicalType\": \"timestamp-millis\"}}]}"

const char *rc_export_schema(bool segments) {
    return segments ? SCHEMA("SegmentMember", "segment") : SCHEMA("Member", "audience");
}

static rc_status cannot(const struct rc_export_file *file, const char *what, struct rc_error *err) {
    return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_DATA, "cannot %s %s: %s", what, file->path ? file->path : "stdout",
                        strerror(errno));
}

static void add_bytes(struct rc_buf *out, struct rc_span bytes) {
    rc_buf_add_zigzag(out, (int64_t)bytes.len);
    rc_buf_add_span(out, bytes);
}

/* ---- opening --------------------------------------------------------------------------------------------------------- */

static rc_status open_out(struct rc_export_file *file, const char *path, struct rc_error *err) {
    if (!path) {
        file->out = stdout;
        return RC_OK;
    }
    file->path = rc_strdup(path);
    if (asprintf(&file->temporary, "%s.%ld.tmp", path, (long)getpid()) < 0)
        abort();
    file->out = fopen(file->temporary, "wbx");
    return file->out ? RC_OK : cannot(file, "write beside", err);
}

static void begin_avro(struct rc_export_file *file, bool segments, const json_t *snapshot) {
    char *said = json_dumps(snapshot, JSON_COMPACT);
    struct rc_buf *out = &file->block;
    for (size_t got = 0; got < SYNC;) {
        ssize_t n = getrandom(file->sync + got, SYNC - got, 0);
        got += n > 0 ? (size_t)n : 0;
    }
    rc_buf_add(out, "Obj\1", 4);
    rc_buf_add_zigzag(out, 3);
    const char *const metadata[][2] = {
        {"avro.schema", rc_export_schema(segments)}, {"avro.codec", "null"}, {"rollcall.snapshot", said ? said : ""}};
    for (size_t i = 0; i < 3; i++) {
        add_bytes(out, rc_span_str(metadata[i][0]));
        add_bytes(out, rc_span_str(metadata[i][1]));
    }
    rc_buf_add_zigzag(out, 0);
    rc_buf_add(out, file->sync, SYNC);
    free(said);
}

static rc_status write_block(struct rc_export_file *file, struct rc_error *err) {
    const struct rc_buf *block = &file->block;
    bool good = true;
    if (file->format == RC_EXPORT_AVRO && file->n_block) {
        struct rc_buf head;
        rc_buf_init(&head, 64);
        rc_buf_add_zigzag(&head, file->n_block);
        rc_buf_add_zigzag(&head, (int64_t)block->len);
        good = fwrite(head.data, 1, head.len, file->out) == head.len &&
               fwrite(block->data, 1, block->len, file->out) == block->len &&
               fwrite(file->sync, 1, SYNC, file->out) == SYNC;
        rc_buf_deinit(&head);
    } else if (block->len) {
        good = fwrite(block->data, 1, block->len, file->out) == block->len;
    }
    rc_buf_reset(&file->block);
    file->n_block = 0;
    return good ? RC_OK : cannot(file, "write to", err);
}

rc_status rc_export_open(const char *path, enum rc_export_format format, bool segments, const json_t *snapshot,
                         struct rc_export_file **out, struct rc_error *err) {
    struct rc_export_file *file = rc_calloc(1, sizeof *file);
    file->format = format;
    file->target = segments ? "segment" : "audience";
    file->as_of_ms = json_integer_value(json_object_get(snapshot, "asOf"));
    rc_buf_init(&file->block, LIMIT);
    rc_status status = open_out(file, path, err);
    if (status == RC_OK && format == RC_EXPORT_AVRO) {
        begin_avro(file, segments, snapshot);
        status = write_block(file, err);
    } else if (format == RC_EXPORT_CSV) {
        rc_buf_printf(&file->block, "%s,namespace,personId,since,version,asOf\n", file->target);
    }
    if (status != RC_OK) {
        rc_export_abort(file);
        return RC_FAIL;
    }
    *out = file;
    return RC_OK;
}

/* ---- rows ------------------------------------------------------------------------------------------------------------ */

/* RFC 4180: quoted where it must be. */
static void add_cell(struct rc_buf *out, struct rc_span text) {
    bool quote = false;
    for (size_t i = 0; i < text.len; i++)
        quote |= strchr(",\"\r\n", text.data[i]) != NULL;
    if (quote)
        rc_buf_add_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '"')
            rc_buf_add_byte(out, '"');
        rc_buf_add_byte(out, (uint8_t)text.data[i]);
    }
    if (quote)
        rc_buf_add_byte(out, '"');
}

static void add_json(const struct rc_export_file *file, const struct rc_export_row *row, struct rc_buf *out) {
    rc_buf_printf(out, "{\"%s\":", file->target);
    rc_buf_add_json_string(out, row->target);
    rc_buf_add_str(out, ",\"namespace\":");
    rc_buf_add_json_string(out, row->namespace);
    rc_buf_add_str(out, ",\"personId\":");
    rc_buf_add_json_string(out, row->person_id);
    rc_buf_printf(out, ",\"since\":%lld,\"version\":%lld,\"asOf\":%lld}\n", (long long)row->since_ms,
                  (long long)row->version, (long long)file->as_of_ms);
}

rc_status rc_export_add(struct rc_export_file *file, const struct rc_export_row *row, struct rc_error *err) {
    struct rc_buf *out = &file->block;
    switch (file->format) {
    case RC_EXPORT_JSONL: add_json(file, row, out); break;
    case RC_EXPORT_CSV:
        add_cell(out, row->target);
        rc_buf_add_byte(out, ',');
        add_cell(out, row->namespace);
        rc_buf_add_byte(out, ',');
        add_cell(out, row->person_id);
        rc_buf_printf(out, ",%lld,%lld,%lld\n", (long long)row->since_ms, (long long)row->version,
                      (long long)file->as_of_ms);
        break;
    case RC_EXPORT_AVRO:
        add_bytes(out, row->target);
        add_bytes(out, row->namespace);
        add_bytes(out, row->person_id);
        rc_buf_add_zigzag(out, row->since_ms);
        rc_buf_add_zigzag(out, row->version);
        rc_buf_add_zigzag(out, file->as_of_ms);
        break;
    }
    file->n_block++;
    return out->len >= BLOCK ? write_block(file, err) : RC_OK;
}

/* ---- the end --------------------------------------------------------------------------------------------------------- */

void rc_export_abort(struct rc_export_file *file) {
    if (!file)
        return;
    if (file->path && file->out) {
        fclose(file->out);
        unlink(file->temporary);
    }
    free(file->path);
    free(file->temporary);
    rc_buf_deinit(&file->block);
    free(file);
}

rc_status rc_export_commit(struct rc_export_file *file, struct rc_error *err) {
    rc_status status = write_block(file, err);
    if (status == RC_OK && (fflush(file->out) != 0 || (file->path && fsync(fileno(file->out)) != 0)))
        status = cannot(file, "write to", err);
    if (status == RC_OK && file->path && rename(file->temporary, file->path) != 0)
        status = cannot(file, "give its name to", err);
    if (status == RC_OK && file->path) {
        fclose(file->out); /* all of it is on the disk already */
        file->out = NULL;
    }
    rc_export_abort(file);
    return status;
}
