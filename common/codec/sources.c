#include "codec/sources.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define YEAR_1_MS INT64_C(-62135596800000)
#define YEAR_9999_MS INT64_C(253402300799999)

/* The values of a source: how many, and the first; the same again without empty text (what first_of goes by). */
struct found {
    uint32_t n, n_filled;
    struct rc_leaf first, first_filled;
};

struct source {
    enum rc_source_kind kind;
    struct rc_span text;    /* CONSTANT, HEADER; borrowed */
    uint32_t slot;          /* PATH */
    struct source *options; /* FIRST_OF; owned */
    size_t n_options;
    const struct rc_source *as_written;
};

enum { NAMESPACE, PERSON, TIMESTAMP, EVENT_ID, N_SOURCES };

struct rc_sources {
    const struct rc_dataset *dataset;
    struct source sources[N_SOURCES];
    struct found *slots; /* one a path; owned */
    uint32_t n_slots, first_target;
};

static void compile(struct rc_sources *s, struct source *out, const struct rc_source *in, struct rc_wanted *wanted) {
    *out = (struct source){.kind = in->kind, .text = rc_span_str(in->text), .as_written = in};
    if (in->kind == RC_SOURCE_PATH) {
        out->slot = s->n_slots++;
        rc_wanted_add(wanted, &wanted->root, &in->path);
    } else if (in->kind == RC_SOURCE_FIRST_OF) {
        out->n_options = in->n_options;
        out->options = rc_calloc(in->n_options, sizeof *out->options);
        for (size_t i = 0; i < in->n_options; i++)
            compile(s, &out->options[i], &in->options[i], wanted);
    }
}

struct rc_sources *rc_sources_new(const struct rc_dataset *dataset, struct rc_wanted *wanted) {
    struct rc_sources *s = rc_calloc(1, sizeof *s);
    s->dataset = dataset;
    s->first_target = wanted->n_targets;
    compile(s, &s->sources[NAMESPACE], &dataset->person_namespace, wanted);
    compile(s, &s->sources[PERSON], &dataset->person_id, wanted);
    compile(s, &s->sources[TIMESTAMP], &dataset->timestamp, wanted);
    if (dataset->has_event_id)
        compile(s, &s->sources[EVENT_ID], &dataset->event_id, wanted);
    s->slots = rc_calloc(s->n_slots, sizeof *s->slots);
    return s;
}

static void deinit(struct source *source) {
    for (size_t i = 0; i < source->n_options; i++)
        deinit(&source->options[i]);
    free(source->options);
}

void rc_sources_free(struct rc_sources *s) {
    for (int i = 0; i < N_SOURCES; i++)
        deinit(&s->sources[i]);
    free(s->slots);
    free(s);
}

void rc_sources_begin(struct rc_sources *s) {
    for (uint32_t i = 0; i < s->n_slots; i++)
        s->slots[i].n = s->slots[i].n_filled = 0;
}

static void add(struct found *found, const struct rc_leaf *leaf) {
    if (found->n++ == 0)
        found->first = *leaf;
    if (leaf->kind == RC_LEAF_TEXT && leaf->text.len == 0)
        return;
    if (found->n_filled++ == 0)
        found->first_filled = *leaf;
}

void rc_sources_value(struct rc_sources *s, uint32_t target, const struct rc_leaf *leaf) {
    add(&s->slots[target - s->first_target], leaf);
}

static void add_text(struct found *found, struct rc_span text) {
    add(found, &(struct rc_leaf){.kind = rc_is_utf8(text) ? RC_LEAF_TEXT : RC_LEAF_BYTES, .text = text});
}

/* Where the values of `source` are: in its slot, or in `scratch`. */
static const struct found *look(const struct rc_sources *s, const struct source *source, const struct rc_record *record,
                                struct found *scratch) {
    scratch->n = scratch->n_filled = 0;
    switch (source->kind) {
    case RC_SOURCE_PATH: return &s->slots[source->slot];
    case RC_SOURCE_CONSTANT: add_text(scratch, source->text); break;
    case RC_SOURCE_KEY:
        if (!record->from_file && record->key.len)
            add_text(scratch, record->key);
        break;
    case RC_SOURCE_TIMESTAMP:
        if (!record->from_file && record->timestamp_ms != RC_NO_TIMESTAMP)
            add(scratch, &(struct rc_leaf){.kind = RC_LEAF_TIME_MS, .number = record->timestamp_ms});
        break;
    case RC_SOURCE_HEADER:
        for (size_t i = 0; !record->from_file && i < record->n_headers; i++)
            if (rc_span_equal(record->headers[i].name, source->text))
                add_text(scratch, record->headers[i].value);
        break;
    case RC_SOURCE_FIRST_OF:
        for (size_t i = 0; i < source->n_options; i++) {
            struct found inner;
            const struct found *found = look(s, &source->options[i], record, &inner);
            if (found->n_filled) {
                scratch->n = scratch->n_filled = found->n_filled;
                scratch->first = scratch->first_filled = found->first_filled;
                break;
            }
        }
        break;
    }
    return scratch;
}

/* ---- messages
 * -------------------------------------------------------------------------------------------------------- */

static size_t describe(const struct rc_source *source, char *out, size_t size) {
    int n = 0;
    switch (source->kind) {
    case RC_SOURCE_PATH: n = snprintf(out, size, "path %s", source->path.text); break;
    case RC_SOURCE_KEY: n = snprintf(out, size, "the Kafka key"); break;
    case RC_SOURCE_TIMESTAMP: n = snprintf(out, size, "the Kafka timestamp"); break;
    case RC_SOURCE_HEADER: n = snprintf(out, size, "the Kafka header %s", source->text); break;
    case RC_SOURCE_CONSTANT: n = snprintf(out, size, "the text of the definition"); break;
    case RC_SOURCE_FIRST_OF:
        for (size_t i = 0; i < source->n_options && (size_t)n + 5 < size; i++) {
            n += i ? snprintf(out + n, size - (size_t)n, " or ") : 0;
            n += (int)describe(&source->options[i], out + n, size - (size_t)n);
        }
        return (size_t)n;
    }
    return (size_t)n < size ? (size_t)n : size - 1;
}

/* The three reasons of each source lie side by side: missing, ambiguous, bad. */
static const enum rc_reason reasons[N_SOURCES][3] = {
    [NAMESPACE] = {RC_REASON_MISSING_NAMESPACE, RC_REASON_AMBIGUOUS_NAMESPACE, RC_REASON_BAD_NAMESPACE},
    [PERSON] = {RC_REASON_MISSING_PERSON, RC_REASON_AMBIGUOUS_PERSON, RC_REASON_BAD_PERSON},
    [TIMESTAMP] = {RC_REASON_MISSING_TIMESTAMP, RC_REASON_AMBIGUOUS_TIMESTAMP, RC_REASON_BAD_TIMESTAMP},
    [EVENT_ID] = {RC_REASON_MISSING_EVENT_ID, RC_REASON_AMBIGUOUS_EVENT_ID, RC_REASON_BAD_EVENT_ID},
};

static enum rc_decoded refuse(const struct rc_sources *s, int which, const struct found *found, enum rc_reason *reason,
                              struct rc_error *err) {
    char source[512];
    if (err)
        describe(s->sources[which].as_written, source, sizeof source);
    if (found->n == 0 || (found->n == 1 && found->n_filled == 0))
        return rc_refuse(reason, reasons[which][0], err, "%s has %s", source, found->n ? "empty text" : "no value");
    if (found->n > 1)
        return rc_refuse(reason, reasons[which][1], err, "%s has %" PRIu32 " values where one is wanted", source,
                         found->n);
    if (which == TIMESTAMP) {
        static const char *const units[] = {
            [RC_UNIT_MS] = "an integer in milliseconds",
            [RC_UNIT_S] = "an integer in seconds",
            [RC_UNIT_US] = "an integer in microseconds",
            [RC_UNIT_RFC3339] = "an RFC 3339 time with an offset",
        };
        return rc_refuse(reason, reasons[which][2], err, "%s holds %s that is not %s within the years 1 to 9999",
                         source, rc_leaf_name(found->first.kind), units[s->dataset->timestamp_unit]);
    }
    return rc_refuse(reason, reasons[which][2], err, "%s holds %s where text or an integer is wanted", source,
                     rc_leaf_name(found->first.kind));
}

/* ---- values
 * ---------------------------------------------------------------------------------------------------------- */

static struct rc_span decimal_text(struct rc_arena *arena, int64_t number) {
    char *text = rc_arena_alloc(arena, 24);
    return rc_span_of(text, (size_t)snprintf(text, 24, "%" PRId64, number));
}

static rc_status text_of(const struct found *found, struct rc_arena *arena, struct rc_span *out) {
    if (found->n != 1)
        return RC_FAIL;
    switch (found->first.kind) {
    case RC_LEAF_BIG:
    case RC_LEAF_TEXT:
        if (found->first.text.len == 0)
            return RC_FAIL;
        *out = found->first.text;
        return RC_OK;
    case RC_LEAF_LONG:
    case RC_LEAF_TIME_MS:
    case RC_LEAF_TIME_US:
    case RC_LEAF_TIME_NS: *out = decimal_text(arena, found->first.number); return RC_OK;
    default: return RC_FAIL;
    }
}

/* An integer's decimal text: an optional minus and digits, nothing else. */
static rc_status parse_integer(struct rc_span text, int64_t *out) {
    bool negative = text.len && text.data[0] == '-';
    int64_t value = 0;
    size_t i = negative;
    if (i == text.len)
        return RC_FAIL;
    for (; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return RC_FAIL;
        int digit = text.data[i] - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            return RC_FAIL;
    }
    *out = value;
    return RC_OK;
}

static int64_t floor_divide(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

static rc_status time_of(const struct rc_dataset *dataset, const struct found *found, int64_t *out) {
    if (found->n != 1)
        return RC_FAIL;
    const struct rc_leaf *leaf = &found->first;
    int64_t t;
    switch (leaf->kind) {
    case RC_LEAF_TIME_MS: t = leaf->number; break;
    case RC_LEAF_TIME_US: t = floor_divide(leaf->number, 1000); break;
    case RC_LEAF_TIME_NS: t = floor_divide(leaf->number, 1000000); break;
    case RC_LEAF_LONG:
    case RC_LEAF_TEXT:
        if (dataset->timestamp_unit == RC_UNIT_RFC3339) {
            if (leaf->kind != RC_LEAF_TEXT || rc_rfc3339_parse(leaf->text.data, leaf->text.len, &t) != RC_OK)
                return RC_FAIL;
            break;
        }
        if (leaf->kind == RC_LEAF_LONG)
            t = leaf->number;
        else if (parse_integer(leaf->text, &t) != RC_OK)
            return RC_FAIL;
        if (dataset->timestamp_unit == RC_UNIT_US)
            t = floor_divide(t, 1000);
        else if (dataset->timestamp_unit == RC_UNIT_S && __builtin_mul_overflow(t, 1000, &t))
            return RC_FAIL;
        break;
    default: return RC_FAIL;
    }
    if (t < YEAR_1_MS || t > YEAR_9999_MS)
        return RC_FAIL;
    *out = t;
    return RC_OK;
}

static char *add_padded(char *at, uint64_t number) {
    for (int i = 19; i >= 0; i--, number /= 10)
        at[i] = (char)('0' + number % 10);
    return at + 20;
}

/* Without an event id a record is known by its position, in a form whose byte order is that of the numbers. */
static struct rc_span position(const struct rc_record *record, struct rc_arena *arena) {
    struct rc_span topic = record->from_file ? rc_span_of(NULL, 0) : rc_span_str(record->topic);
    char *text = rc_arena_alloc(arena, topic.len + 42), *at = text;
    if (!record->from_file) {
        if (topic.len)
            memcpy(at, topic.data, topic.len);
        at += topic.len;
        *at++ = ':';
        at = add_padded(at, (uint64_t)(record->partition > 0 ? record->partition : 0));
        *at++ = ':';
    }
    at = add_padded(at, (uint64_t)(record->offset > 0 ? record->offset : 0));
    return rc_span_of(text, (size_t)(at - text));
}

enum rc_decoded rc_sources_judge(struct rc_sources *s, const struct rc_record *record, struct rc_arena *arena,
                                 struct rc_event *event, enum rc_reason *reason, struct rc_error *err) {
    struct found scratch;
    const struct found *found;

    if (s->sources[NAMESPACE].kind == RC_SOURCE_CONSTANT) {
        event->namespace = s->sources[NAMESPACE].text;
    } else {
        found = look(s, &s->sources[NAMESPACE], record, &scratch);
        if (text_of(found, arena, &event->namespace) != RC_OK)
            return refuse(s, NAMESPACE, found, reason, err);
    }

    found = look(s, &s->sources[PERSON], record, &scratch);
    if (text_of(found, arena, &event->person_id) != RC_OK)
        return refuse(s, PERSON, found, reason, err);

    found = look(s, &s->sources[TIMESTAMP], record, &scratch);
    if (time_of(s->dataset, found, &event->timestamp_ms) != RC_OK)
        return refuse(s, TIMESTAMP, found, reason, err);

    if (!s->dataset->has_event_id) {
        event->event_id = position(record, arena);
        return RC_DECODED;
    }
    found = look(s, &s->sources[EVENT_ID], record, &scratch);
    if (text_of(found, arena, &event->event_id) != RC_OK)
        return refuse(s, EVENT_ID, found, reason, err);
    return RC_DECODED;
}
