/* Records to events: JSON (by jansson) and Avro (by a plan compiled from the schemas).
 *
 * A decoder is compiled once per dataset. What definitions.md §2 says of sources, paths, types, `min`, `on_bad`,
 * `where` and bad events is decided here and nowhere else; whether an event is accepted depends on its own record
 * alone. */
#ifndef RC_CODEC_DECODE_H
#define RC_CODEC_DECODE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "codec/event.h"
#include "codec/reasons.h"

struct rc_header {
    struct rc_span name, value;
};

#define RC_NO_TIMESTAMP INT64_MIN

/* Limits on a record (definitions.md §6): whoever decides whether it is accepted goes by these. */
#define RC_MAX_AHEAD_MS INT64_C(86400000)
#define RC_MAX_RECORD_BYTES ((size_t)1 << 20)

/* A record as it came. All spans borrowed for the call. */
struct rc_record {
    struct rc_span key;
    struct rc_span value;
    bool null_value;      /* a tombstone: ignored and counted */
    int64_t timestamp_ms; /* the record's own Kafka timestamp, or RC_NO_TIMESTAMP */
    const struct rc_header *headers;
    size_t n_headers;
    const char *topic; /* for the identity of events without an event id; NULL in eval */
    int32_t partition;
    int64_t offset; /* eval: the line number */
    bool from_file; /* eval: sources {"kafka": …} have no value; identity is the line number padded to 20 digits */
};

enum rc_decoded {
    RC_DECODED, /* `out` is an accepted event */
    RC_IGNORED, /* null value, or the dataset's `where` is false */
    RC_BAD,     /* `err` says why: dead letter */
    RC_AGAIN,   /* the schema registry cannot be asked now (class RETRY): stop, try the same record later */
};

/* Judges the dataset's `where` on an event of which only the fields in rc_decoder_options.where_fields (and person
 * and time, where they could be had) are filled. */
typedef bool (*rc_where_fn)(void *ctx, const struct rc_event *event);

struct rc_registry; /* codec/registry.h */

struct rc_decoder_options {
    uint32_t dataset;  /* index written to the events */
    rc_where_fn where; /* NULL: every record */
    void *where_ctx;   /* borrowed for the decoder's life */
    /* n_fields flags: what `where` names; copied. For `some` on an array: its fields, all of them when it names none. */
    const bool *where_fields;
    struct rc_registry *registry; /* borrowed; needed for framing confluent */
    int64_t max_ahead_ms;         /* timestamps further than this ahead of the record's own are bad; < 0: no limit */
    size_t max_record_bytes;      /* 0: no limit */
    bool as_json; /* records are JSON whatever the dataset's format says: `eval` reads JSONL for all datasets */
};

struct rc_decoder;

/* Compiles a decoder, for one thread at a time; `dataset` is borrowed for its life. Fails (FATAL, exit 78) on a
 * schema that does not parse or paths that cannot exist in it, naming dataset, field, path and the nearest known
 * name. */
rc_status rc_decoder_new(const struct rc_dataset *dataset, const struct rc_decoder_options *options,
                         struct rc_decoder **out, struct rc_error *err) RC_MUST_USE;
void rc_decoder_free(struct rc_decoder *decoder);

/* Decodes one record. `out` is filled on RC_DECODED only. Cost: linear in the record; allocates only from the arena
 * for Avro. `err->message` of a bad one reads "<reason>: <detail>", the reason one of the fixed list in
 * codec/reasons.h. */
enum rc_decoded rc_decode(struct rc_decoder *decoder, const struct rc_record *record, struct rc_arena *arena,
                          struct rc_event *out, struct rc_error *err) RC_MUST_USE;

/* Why the last record was RC_BAD: the label of a metric and of the dead letter. RC_REASON_NONE before the first. */
enum rc_reason rc_decoder_reason(const struct rc_decoder *decoder);

/* Values dropped so far because their field says "on_bad": "no_value" and the event was accepted; only grows. For a
 * metric. */
uint64_t rc_decoder_no_values(const struct rc_decoder *decoder);

#endif
