#include "codec/membership.h"

static const char *const cause_texts[RC_CAUSE_COUNT] = {
    [RC_CAUSE_EVENT] = "event",           [RC_CAUSE_TIME] = "time",
    [RC_CAUSE_BACKFILL] = "backfill",     [RC_CAUSE_SCHEDULE] = "schedule",
    [RC_CAUSE_DEFINITION] = "definition", [RC_CAUSE_CONSENT] = "consent",
    [RC_CAUSE_RESTORE] = "restore",
};

const char *rc_cause_text(enum rc_cause cause) {
    return cause_texts[cause];
}

/* The symbols of the enum `status`, in the schemas' order. */
enum { STATUS_REALIZED, STATUS_EXITED, STATUS_COUNT };

#define VERSION_LIMIT (INT64_C(1) << 53) /* a version goes through JSON and Redis' Lua as a double */

static rc_status add_text(struct rc_buf *out, struct rc_span text) {
    rc_buf_add_zigzag(out, (int64_t)text.len);
    return rc_buf_add_span(out, text);
}

static rc_status add_nullable_text(struct rc_buf *out, struct rc_span text) {
    if (text.len == 0)
        return rc_buf_add_zigzag(out, 0);
    rc_buf_add_zigzag(out, 1);
    return add_text(out, text);
}

static rc_status add_nullable_time(struct rc_buf *out, int64_t at_ms) {
    if (at_ms == RC_NO_EVENT_TIME)
        return rc_buf_add_zigzag(out, 0);
    rc_buf_add_zigzag(out, 1);
    return rc_buf_add_zigzag(out, at_ms);
}

rc_status rc_membership_add(struct rc_buf *out, const struct rc_membership *change, int32_t schema_id) {
    if (schema_id != RC_FRAMING_NO_ID)
        rc_framing_add(out, schema_id);
    add_text(out, change->target);
    add_text(out, change->namespace);
    add_text(out, change->person_id);
    rc_buf_add_zigzag(out, change->realized ? STATUS_REALIZED : STATUS_EXITED);
    rc_buf_add_zigzag(out, change->since_ms);
    rc_buf_add_zigzag(out, change->version);
    rc_buf_add_zigzag(out, change->cause);
    add_nullable_text(out, change->event_id);
    add_nullable_time(out, change->event_time_ms);
    rc_buf_add_zigzag(out, change->emitted_at_ms);
    return rc_buf_add_zigzag(
        out, change->target_version); /* a full buffer refuses all that follows: the last answer speaks for all */
}

/* Where reading stands. After the first thing that is wrong, `wrong` names its field and every further read gives
 * nothing. */
struct taker {
    struct rc_span in;
    const char *wrong; /* the field, or NULL */
    const char *why;
};

static int64_t refuse(struct taker *from, const char *field, const char *why) {
    if (!from->wrong) {
        from->wrong = field;
        from->why = why;
    }
    return 0;
}

static int64_t take_long(struct taker *from, const char *field, int64_t least, int64_t most) {
    int64_t value;
    if (from->wrong)
        return 0;
    if (rc_take_zigzag(&from->in, &value) != RC_OK)
        return refuse(from, field, "is no complete integer");
    if (value < least || value > most)
        return refuse(from, field, "is out of range");
    return value;
}

static struct rc_span take_text(struct taker *from, const char *field) {
    struct rc_span text = rc_span_of(NULL, 0);
    int64_t len = take_long(from, field, 0, INT32_MAX);
    if (!from->wrong && rc_take_bytes(&from->in, (size_t)len, &text) != RC_OK)
        refuse(from, field, "is longer than the record");
    return text;
}

static struct rc_span take_some_text(struct taker *from, const char *field) {
    struct rc_span text = take_text(from, field);
    if (!from->wrong && text.len == 0)
        refuse(from, field, "is empty");
    return text;
}

static struct rc_span take_nullable_text(struct taker *from, const char *field) {
    return take_long(from, field, 0, 1) ? take_text(from, field) : rc_span_of(NULL, 0);
}

static int64_t take_nullable_time(struct taker *from, const char *field) {
    return take_long(from, field, 0, 1) ? take_long(from, field, INT64_MIN + 1, INT64_MAX) : RC_NO_EVENT_TIME;
}

rc_status rc_membership_read(struct rc_span value, bool confluent, struct rc_membership *out, struct rc_error *err) {
    struct taker from = {.in = value};
    int32_t schema_id;
    if (confluent && rc_framing_take(&from.in, &schema_id) != RC_OK)
        return rc_error_set(
            err, RC_CLASS_POISON, RC_EXIT_DATA,
            "membership record of %zu bytes is not in Confluent framing; was it written without registry.url?",
            value.len);
    struct rc_membership read = {0};
    read.target = take_some_text(&from, "audience or segment");
    read.namespace = take_some_text(&from, "namespace");
    read.person_id = take_some_text(&from, "personId");
    read.realized = take_long(&from, "status", 0, STATUS_COUNT - 1) == STATUS_REALIZED;
    read.since_ms = take_long(&from, "since", INT64_MIN + 1, INT64_MAX);
    read.version = take_long(&from, "version", 0, VERSION_LIMIT - 1);
    read.cause = (enum rc_cause)take_long(&from, "cause", 0, RC_CAUSE_COUNT - 1);
    read.event_id = take_nullable_text(&from, "eventId");
    read.event_time_ms = take_nullable_time(&from, "eventTime");
    read.emitted_at_ms = take_long(&from, "emittedAt", INT64_MIN + 1, INT64_MAX);
    read.target_version = (int32_t)take_long(&from, "audienceVersion or segmentVersion", INT32_MIN, INT32_MAX);
    if (from.wrong)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "membership record: %s %s, at byte %zu of %zu",
                            from.wrong, from.why, value.len - from.in.len, value.len);
    *out = read;
    return RC_OK;
}

rc_status rc_membership_key_add(struct rc_buf *out, struct rc_span person_key, struct rc_span target) {
    rc_buf_add_span(out, person_key);
    rc_buf_add_byte(out, '|');
    return rc_buf_add_span(out, target);
}

rc_status rc_membership_key_split(struct rc_span key, struct rc_span *person_key, struct rc_span *target) {
    const char *bar = key.len ? memrchr(key.data, '|', key.len) : NULL;
    if (!bar || bar == key.data || bar + 1 == key.data + key.len)
        return RC_FAIL;
    *person_key = rc_span_of(key.data, (size_t)(bar - key.data));
    *target = rc_span_of(bar + 1, (size_t)(key.data + key.len - bar - 1));
    return RC_OK;
}
