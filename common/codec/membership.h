/* The records of rollcall.memberships and rollcall.segments: a person's change of membership, as Avro binary.
 *
 * The schemas are schemas/membership.avsc and schemas/segment_membership.avsc; this is a straight-line writer and
 * reader for just them (one line a field), because a change is written on the hot path and its schema is ours. A
 * test holds it, byte for byte, against avro-c's generic value with those files, so the two cannot drift apart. */
#ifndef RC_CODEC_MEMBERSHIP_H
#define RC_CODEC_MEMBERSHIP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"
#include "codec/framing.h"

/* Why a change was made; in the order of the enum in the schemas. */
enum rc_cause {
    RC_CAUSE_EVENT,
    RC_CAUSE_TIME,
    RC_CAUSE_BACKFILL,
    RC_CAUSE_SCHEDULE,
    RC_CAUSE_DEFINITION,
    RC_CAUSE_CONSENT,
    RC_CAUSE_RESTORE
};
#define RC_CAUSE_COUNT 7

/* "event", "time", …; static. */
const char *rc_cause_text(enum rc_cause cause);

#define RC_NO_EVENT_TIME INT64_MIN

/* One change. Written, its spans are borrowed for the call; read, they point into the bytes that were read. */
struct rc_membership {
    struct rc_span target;               /* audience id, or segment id ("_exists.<dataset>" for existence) */
    struct rc_span namespace, person_id; /* unescaped, as in the event */
    bool realized;                       /* status: realized, or exited */
    int64_t since_ms;
    int64_t version; /* 0 … 2^53 - 1 */
    enum rc_cause cause;
    struct rc_span event_id; /* the deciding event's; empty: none (Avro null) */
    int64_t event_time_ms;   /* RC_NO_EVENT_TIME: none */
    int64_t emitted_at_ms;
    int32_t target_version; /* audienceVersion or segmentVersion: the version of the definition */
};

/* Which of the two records. Their bytes are laid out alike; only schema and schema id differ. */
enum rc_membership_kind { RC_MEMBERSHIP_AUDIENCE, RC_MEMBERSHIP_SEGMENT };

/* The schema's JSON text, as in schemas/ (for registering it, and for container files); static. */
const char *rc_membership_schema(enum rc_membership_kind kind);

/* Appends the record's value. `schema_id`: RC_FRAMING_NO_ID for plain, else Confluent framing with it. Fails when
 * `out` is full. */
rc_status rc_membership_add(struct rc_buf *out, const struct rc_membership *change, int32_t schema_id) RC_MUST_USE;

/* Reads a record's value: plain, or with `confluent` set framed (the id is not looked at: the writer is this
 * program, and fields are only ever appended, so bytes after the last known field belong to a later build and are
 * ignored; see schemas/README.md). Fails (POISON) on anything else that the schema does not allow, naming field and
 * byte offset. */
rc_status rc_membership_read(struct rc_span value, bool confluent, struct rc_membership *out, struct rc_error *err)
    RC_MUST_USE;

/* The record key: the person key, '|' and the target. The target holds no '|', so the last one parts them. */
rc_status rc_membership_key_add(struct rc_buf *out, struct rc_span person_key, struct rc_span target) RC_MUST_USE;
rc_status rc_membership_key_split(struct rc_span key, struct rc_span *person_key, struct rc_span *target) RC_MUST_USE;

#endif
