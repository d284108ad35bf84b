/* Avro object container files: a header with the schema, then blocks of records, each closed by the file's marker.
 *
 * avro-c has a reader for them, but its values come by a schema that has lost its logical types (see avro_schema.h),
 * and `produce` needs those as well as a record's own bytes. Codecs: null and deflate, the two that every Avro
 * implementation has. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/alloc.h"
#include "codec/avro_json.h"
#include "codec/files_internal.h"

#define HEADER_MAX ((size_t)16 << 20)
#define BLOCK_MAX RC_INPUT_WANT_MAX
#define EMPTY_RECORDS_MAX 65536 /* records of no bytes in a block */

static rc_status refuse(const struct rc_reader *reader, struct rc_error *err, const char *what) {
    return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s: %s, after record %" PRId64,
                        rc_input_name(reader->input), what, reader->line);
}

/* A zigzag integer from the input. */
static rc_status take_long(struct rc_reader *reader, int64_t *out, struct rc_error *err) {
    struct rc_span seen;
    if (rc_input_peek(reader->input, 10, &seen, err) != RC_OK)
        return RC_FAIL;
    struct rc_span rest = seen;
    if (rc_take_zigzag(&rest, out) != RC_OK)
        return refuse(reader, err, seen.len < 10 ? "the file ends early" : "damaged: no integer where one is wanted");
    rc_input_skip(reader->input, seen.len - rest.len);
    return RC_OK;
}

/* `len` bytes from the input; borrowed until the next read. */
static rc_status take(struct rc_reader *reader, size_t len, struct rc_span *out, struct rc_error *err) {
    struct rc_span seen;
    if (rc_input_peek(reader->input, len, &seen, err) != RC_OK)
        return RC_FAIL;
    if (seen.len < len)
        return refuse(reader, err, "the file ends early");
    *out = rc_span_of(seen.data, len);
    rc_input_skip(reader->input, len);
    return RC_OK;
}

static rc_status take_text(struct rc_reader *reader, char **out, struct rc_error *err) {
    int64_t len;
    struct rc_span text;
    if (take_long(reader, &len, err) != RC_OK)
        return RC_FAIL;
    if (len < 0 || (uint64_t)len > HEADER_MAX)
        return refuse(reader, err, "damaged: an impossible length in the header");
    if (take(reader, (size_t)len, &text, err) != RC_OK)
        return RC_FAIL;
    *out = rc_span_dup(text);
    return RC_OK;
}

static rc_status take_entry(struct rc_reader *reader, char **codec, struct rc_error *err) {
    struct rc_container *c = &reader->container;
    char *key = NULL, *value = NULL;
    rc_status status = take_text(reader, &key, err);
    if (status == RC_OK)
        status = take_text(reader, &value, err);
    if (status == RC_OK) {
        char **keep = strcmp(key, "avro.schema") == 0 ? &c->schema_text : strcmp(key, "avro.codec") == 0 ? codec : NULL;
        if (keep) {
            free(*keep);
            *keep = value;
            value = NULL;
        }
    }
    free(key);
    free(value);
    return status;
}

static rc_status take_header(struct rc_reader *reader, char **codec, struct rc_error *err) {
    struct rc_span bytes;
    if (take(reader, 4, &bytes, err) != RC_OK || memcmp(bytes.data, "Obj\1", 4) != 0)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                            "%s is no Avro container file: it does not begin with \"Obj\" and 1",
                            rc_input_name(reader->input));
    for (;;) {
        int64_t count, size;
        if (take_long(reader, &count, err) != RC_OK)
            return RC_FAIL;
        if (count == 0)
            break;
        if (count < 0) {
            if (take_long(reader, &size, err) != RC_OK)
                return RC_FAIL;
            count = count == INT64_MIN ? INT64_MAX : -count;
        }
        while (count-- > 0)
            if (take_entry(reader, codec, err) != RC_OK)
                return RC_FAIL;
    }
    if (take(reader, sizeof reader->container.sync, &bytes, err) != RC_OK)
        return RC_FAIL;
    memcpy(reader->container.sync, bytes.data, bytes.len);
    return RC_OK;
}

rc_status rc_container_open(struct rc_reader *reader, struct rc_error *err) {
    struct rc_container *c = &reader->container;
    char *codec = NULL;
    reader->line = 0;
    rc_buf_init(&c->block, BLOCK_MAX);
    rc_status status = take_header(reader, &codec, err);
    if (status == RC_OK) {
        c->deflated = codec && strcmp(codec, "deflate") == 0;
        if (codec && !c->deflated && strcmp(codec, "null") != 0)
            status = rc_error_set(
                err, RC_CLASS_POISON, RC_EXIT_DATA,
                "%s is compressed with codec \"%.32s\"; null and deflate can be read (avro-tools recodec changes it)",
                rc_input_name(reader->input), codec);
        else if (!c->schema_text)
            status = rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s: the header holds no avro.schema",
                                  rc_input_name(reader->input));
        else if ((status = rc_avro_schema_new(c->schema_text, &c->schema, err)) != RC_OK)
            status = rc_error_prefix(err, "%s", rc_input_name(reader->input));
    }
    free(codec);
    return status;
}

/* Raw deflate, without zlib's or gzip's own header. */
static rc_status inflate_block(struct rc_reader *reader, struct rc_span packed, struct rc_error *err) {
    struct rc_buf *out = &reader->container.block;
    z_stream z = {.next_in = (Bytef *)(uintptr_t)packed.data, .avail_in = (uInt)packed.len};
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
        return refuse(reader, err, "zlib cannot start");
    int code;
    do {
        unsigned char chunk[16384];
        z.next_out = chunk;
        z.avail_out = sizeof chunk;
        code = inflate(&z, Z_NO_FLUSH);
        if (code != Z_OK && code != Z_STREAM_END)
            break;
        if (rc_buf_add(out, chunk, sizeof chunk - z.avail_out) != RC_OK)
            break;
    } while (code != Z_STREAM_END);
    inflateEnd(&z);
    return code == Z_STREAM_END && !out->full ? RC_OK : refuse(reader, err, "a block cannot be inflated");
}

static enum rc_file_next next_block(struct rc_reader *reader, struct rc_error *err) {
    struct rc_container *c = &reader->container;
    struct rc_span seen, bytes;
    int64_t count, size;
    if (rc_input_peek(reader->input, 1, &seen, err) != RC_OK)
        return RC_FILE_FAIL;
    if (seen.len == 0)
        return RC_FILE_END;
    if (take_long(reader, &count, err) != RC_OK || take_long(reader, &size, err) != RC_OK)
        return RC_FILE_FAIL;
    if (count < 0 || size < 0 || (uint64_t)size > BLOCK_MAX - 16) {
        (void)refuse(reader, err, "damaged: an impossible block");
        return RC_FILE_FAIL;
    }
    if (take(reader, (size_t)size + sizeof c->sync, &bytes, err) != RC_OK)
        return RC_FILE_FAIL;
    if (memcmp(bytes.data + size, c->sync, sizeof c->sync) != 0) {
        (void)refuse(reader, err, "damaged: a block does not end with the file's marker");
        return RC_FILE_FAIL;
    }
    bytes.len = (size_t)size;
    rc_buf_reset(&c->block);
    rc_status status = c->deflated ? inflate_block(reader, bytes, err) : rc_buf_add_span(&c->block, bytes);
    if (status != RC_OK)
        return RC_FILE_FAIL;
    if ((uint64_t)count > c->block.len + EMPTY_RECORDS_MAX) {
        (void)refuse(reader, err, "damaged: a block of more records than bytes");
        return RC_FILE_FAIL;
    }
    c->left = rc_buf_span(&c->block);
    c->records_left = count;
    return RC_FILE_RECORD;
}

enum rc_file_next rc_container_next(struct rc_reader *reader, struct rc_file_record *out, struct rc_error *err) {
    struct rc_container *c = &reader->container;
    while (c->records_left == 0) {
        enum rc_file_next next = next_block(reader, err);
        if (next != RC_FILE_RECORD)
            return next;
    }
    struct rc_span before = c->left;
    int64_t number = ++reader->line;
    json_t *json;
    struct rc_error why = {0};
    if (rc_avro_to_json(c->schema, &c->left, &json, &why) !=
        RC_OK) { /* where the next record of the block begins cannot be known */
        (void)rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                           "%s, record %" PRId64 ": %s; the %" PRId64 " records after it in its block are lost",
                           rc_input_name(reader->input), number, why.message, c->records_left - 1);
        reader->line += c->records_left - 1;
        c->records_left = 0;
        return RC_FILE_BAD;
    }
    c->records_left--;
    reader->json = json;
    *out = (struct rc_file_record){
        .number = number, .raw = rc_span_of(before.data, before.len - c->left.len), .json = json};
    return RC_FILE_RECORD;
}

void rc_container_close(struct rc_container *c) {
    free(c->schema_text);
    rc_avro_schema_free(c->schema);
    rc_buf_deinit(&c->block);
}
