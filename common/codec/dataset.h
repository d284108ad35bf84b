/* What a dataset definition says about its records: where person, timestamp, event id and fields are found.
 * Built by common/segment from JSON (definitions.md §2); used by the codecs to project records to events. */
#ifndef RC_CODEC_DATASET_H
#define RC_CODEC_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "base/timezone.h"

enum rc_type { RC_STRING, RC_LONG, RC_BOOLEAN, RC_DOUBLE, RC_DECIMAL };

/* double and decimal are held in fixed point: value · 10⁶, |value| < 9·10¹². */
#define RC_FIXED_SCALE INT64_C(1000000)
#define RC_FIXED_MAX (INT64_C(9000000000000) * RC_FIXED_SCALE) /* exclusive bound of the magnitude */

/* A path, split at its dots: names[0].names[1]…; `\.` already undone. */
struct rc_path {
    char **names; /* owned */
    size_t n;
    char *text; /* as written, for messages; owned */
};

enum rc_source_kind {
    RC_SOURCE_CONSTANT,
    RC_SOURCE_PATH,
    RC_SOURCE_FIRST_OF,
    RC_SOURCE_KEY,
    RC_SOURCE_TIMESTAMP,
    RC_SOURCE_HEADER
};

struct rc_source {
    enum rc_source_kind kind;
    char *text;                /* CONSTANT: the text; HEADER: the header's name; owned */
    struct rc_path path;       /* PATH */
    struct rc_source *options; /* FIRST_OF: tried in order; owned */
    size_t n_options;
};

enum rc_time_unit { RC_UNIT_MS, RC_UNIT_S, RC_UNIT_US, RC_UNIT_RFC3339 };
enum rc_format { RC_FORMAT_AVRO, RC_FORMAT_JSON };
enum rc_framing { RC_FRAMING_PLAIN, RC_FRAMING_CONFLUENT };

#define RC_NO_ELEMENT (-1)

/* One field. Fields of elements stand in the same list, under their full name ("items.sku"). */
struct rc_field {
    char *name;          /* "total", "items.sku"; owned */
    struct rc_path path; /* from the record's root; of an element's field: from the element */
    enum rc_type type;
    int element; /* index into rc_dataset.elements, or RC_NO_ELEMENT */
    bool has_min;
    int64_t min;      /* fixed point for double and decimal, plain for long */
    bool bad_is_none; /* "on_bad": "no_value" */
    char **labels;    /* owned */
    size_t n_labels;
};

struct rc_element {
    char *name; /* "items"; owned */
    struct rc_path path;
};

struct rc_pred; /* common/segment/definition.h */

struct rc_dataset {
    char *id, *topic;
    enum rc_format format;
    char *schema;      /* the Avro reader schema's JSON text (not the file's name), NULL when there is none; owned */
    char *schema_file; /* as written in the definition, for messages; may be NULL */
    enum rc_framing framing;
    struct rc_source person_namespace, person_id;
    struct rc_source timestamp;
    enum rc_time_unit timestamp_unit;
    bool has_event_id; /* false: topic, partition and offset identify the event */
    struct rc_source event_id;
    int64_t session_timeout_ms, grace_ms;
    char *timezone_name;
    const struct rc_timezone *timezone; /* borrowed for ever */
    bool keyed;
    struct rc_pred *where; /* NULL: every record; owned */
    struct rc_field *fields;
    size_t n_fields;
    struct rc_element *elements;
    size_t n_elements;
};

#endif
