/* Definitions as data: datasets, segments, audiences, destinations (definitions.md §2–§5), parsed, checked whole and resolved.
 *
 * A catalog is built from JSON texts in one go: either everything in it is sound, or nothing is and the error names file, JSON
 * path, what was found, what was expected and the nearest known word. Immutable afterwards; pure data, no I/O. */
#ifndef RC_SEGMENT_DEFINITION_H
#define RC_SEGMENT_DEFINITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/timezone.h"
#include "codec/event.h"

/* ---- conditions about one event -------------------------------------------------------------------------------------- */

enum rc_op {
    RC_OP_EQ, /* `in` is EQ with several operands */
    RC_OP_LT,
    RC_OP_LE,
    RC_OP_GT,
    RC_OP_GE,
    RC_OP_CONTAINS, /* `contains_any` is CONTAINS with several operands */
    RC_OP_CONTAINS_ALL,
    RC_OP_STARTS_WITH,
    RC_OP_ENDS_WITH,
    RC_OP_MATCHES,
    RC_OP_EQ_FIELD,
    RC_OP_NE_FIELD,
    RC_OP_NE, /* `not_in` is NE with several operands */
    RC_OP_NOT_CONTAINS,
    RC_OP_EXISTS, /* operand: number 1 true, 0 false */
};

/* Fields that every event has besides its dataset's own. */
enum rc_field_kind { RC_FIELD_PLAIN, RC_FIELD_DATASET, RC_FIELD_NAMESPACE, RC_FIELD_HOUR, RC_FIELD_WEEKDAY };

/* A field by name, resolved against the datasets of the segment that names it. */
struct rc_field_ref {
    char *name; /* "type", "items.sku", "_hour"; owned */
    enum rc_field_kind kind;
    enum rc_type type;
    char *element; /* "items" for a field of elements, else NULL; owned */
};

/* One operator with its operands (of the field's type; with ignore_case already folded to lower case). */
struct rc_clause {
    enum rc_op op;
    union rc_value *operands; /* owned, strings too */
    size_t n_operands;
    struct rc_field_ref other; /* EQ_FIELD, NE_FIELD */
};

/* The operators that stand in one TEST (or in the `is` of latest and first). */
struct rc_clauses {
    struct rc_clause *items; /* owned */
    size_t n;
    bool ignore_case;
};

enum rc_pred_kind { RC_PRED_TRUE /* {} */, RC_PRED_AND, RC_PRED_OR, RC_PRED_NOT, RC_PRED_SOME, RC_PRED_TEST };

struct rc_pred {
    enum rc_pred_kind kind;
    struct rc_pred **children; /* AND, OR: any number; NOT, SOME: one; owned */
    size_t n_children;
    char *element;             /* SOME: the array's name */
    struct rc_field_ref field; /* TEST */
    struct rc_clauses clauses; /* TEST */
};

/* ---- conditions about a person --------------------------------------------------------------------------------------- */

enum rc_window_form { RC_WINDOW_ALL, RC_WINDOW_SLIDING, RC_WINDOW_CALENDAR, RC_WINDOW_FIXED };

struct rc_window {
    enum rc_window_form form;
    int64_t last_ms, except_last_ms; /* SLIDING: T − last < ts ≤ T − except_last */
    enum rc_calendar_unit unit;      /* CALENDAR */
    int64_t count;
    bool complete;
    int64_t from_ms, to_ms; /* FIXED: from ≤ ts < to; INT64_MIN, INT64_MAX where left out */
};

/* A comparison with one or two terms; both must hold. Values in fixed point (6 decimals), 128 bits: sums go far. */
struct rc_cmp {
    size_t n; /* 1 or 2 */
    struct {
        enum { RC_CMP_EQ, RC_CMP_NE, RC_CMP_LT, RC_CMP_LE, RC_CMP_GT, RC_CMP_GE } op;
        __int128 value;
    } terms[2];
};

enum rc_head {
    RC_HEAD_AND,
    RC_HEAD_OR,
    RC_HEAD_NOT,
    RC_HEAD_EVENT,
    RC_HEAD_SUM,
    RC_HEAD_MIN,
    RC_HEAD_MAX,
    RC_HEAD_AVG,
    RC_HEAD_DISTINCT,
    RC_HEAD_LATEST,
    RC_HEAD_FIRST,
    RC_HEAD_SEQUENCE,
    RC_HEAD_SESSION,
    RC_HEAD_SEGMENT,
};

enum rc_step_kind { RC_STEP_EVENT, RC_STEP_EACH, RC_STEP_SESSION, RC_STEP_NONE };

#define RC_NO_DURATION (-1)

struct rc_cond;

struct rc_step {
    enum rc_step_kind kind;
    struct rc_pred **preds; /* EVENT, NONE: one; EACH: one or more; owned */
    size_t n_preds;
    struct rc_cond *session;     /* SESSION: the condition on its events; owned */
    bool closed;                 /* SESSION */
    int64_t within_ms, after_ms; /* RC_NO_DURATION when left out */
};

struct rc_cond {
    enum rc_head head;
    struct rc_window window;
    char *path;                /* JSON path below the definition, for explain: "where.and[1]"; owned */
    struct rc_cond **children; /* AND, OR: any number; NOT, SESSION: one; owned */
    size_t n_children;
    struct rc_pred *where; /* EVENT: P; aggregates: `where`; NULL: every event; owned */
    bool has_field;        /* aggregates: always; EVENT and SEQUENCE: `same` is there */
    struct rc_field_ref field;
    struct rc_cmp cmp;     /* EVENT, SESSION: count; SUM MIN MAX AVG DISTINCT: is */
    struct rc_clauses is;  /* LATEST, FIRST */
    struct rc_step *steps; /* SEQUENCE; owned */
    size_t n_steps;
    int64_t span_ms;  /* SEQUENCE; RC_NO_DURATION when left out */
    bool closed;      /* SESSION */
    uint32_t segment; /* SEGMENT: index into the catalog's segments */
};

/* What a segment is to a population. Other than SERVES only in catalogs that `ingest` makes for itself, while definitions change. */
enum rc_segment_role {
    RC_SEGMENT_SERVES,
    RC_SEGMENT_BACKFILLED, /* serves; is new, and its history has been read: its first members are told with cause BACKFILL */
    RC_SEGMENT_WARMS,   /* what it needs is kept, but it is neither decided nor told */
    RC_SEGMENT_COUNTED, /* is ready: decided as if it served, but nobody is to be told */
    RC_SEGMENT_ENDS,    /* is gone from the definitions: its members leave it */
};

struct rc_segment {
    char *id;
    enum rc_segment_role role;
    int64_t generation; /* as in struct rc_definition */
    int version;        /* as applied; 1 in files */
    int64_t applied_ms; /* 0 in files */
    uint32_t *datasets; /* indices into the catalog's datasets, in the order written; owned */
    size_t n_datasets;
    const struct rc_timezone *timezone; /* the first dataset's; borrowed for ever */
    int64_t session_timeout_ms;         /* the first dataset's */
    struct rc_window window;            /* the segment's own */
    struct rc_cond *where;              /* owned */
};

/* ---- audiences and destinations -------------------------------------------------------------------------------------- */

enum rc_audience_head { RC_AUDIENCE_AND, RC_AUDIENCE_OR, RC_AUDIENCE_NOT, RC_AUDIENCE_SEGMENT };

struct rc_audience_cond {
    enum rc_audience_head head;
    struct rc_audience_cond **children; /* owned */
    size_t n_children;
    uint32_t segment; /* SEGMENT: index into the catalog's segments */
};

enum rc_refresh {
    RC_REFRESH_CONTINUOUS,
    RC_REFRESH_ONCE,
    RC_REFRESH_EVERY,
    RC_REFRESH_DAILY,
    RC_REFRESH_WEEKLY,
    RC_REFRESH_MONTHLY
};
enum rc_on_end { RC_ON_END_DEFAULT, RC_ON_END_EXIT, RC_ON_END_KEEP };

struct rc_audience {
    char *id;
    int version;
    int64_t applied_ms;
    int64_t scheduled_ms;           /* when its present schedule was first applied */
    struct rc_audience_cond *where; /* owned */
    enum rc_refresh refresh;
    int64_t every_ms; /* EVERY */
    int at_minute;    /* minute of the day of "at", or -1 */
    const struct rc_timezone *timezone;
    int64_t expires_ms; /* 0: the default */
    int64_t size_limit;
    bool paused;
    enum rc_on_end on_end;
    char **destinations; /* ids; owned */
    size_t n_destinations;
    char *topic; /* own topic, or NULL */
};

enum rc_destination_type {
    RC_DESTINATION_REDIS,
    RC_DESTINATION_HTTP,
    RC_DESTINATION_KAFKA,
    RC_DESTINATION_EMBEDDED,
    RC_DESTINATION_FILE
};

/* A value that is not to stand in a definition: where it is found instead. One of the three is set, the others are NULL. */
struct rc_secret {
    char *text; /* as written: for what is no secret */
    char *env;  /* name of the environment variable that holds it */
    char *file; /* path of the file that holds it */
};

struct rc_header_setting {
    char *name;
    struct rc_secret value;
};

struct rc_destination {
    char *id;
    int version;
    int64_t applied_ms;
    enum rc_destination_type type;
    char *
        url; /* redis[s]://…, http[s]://…, kafka://BROKERS, embedded:DIR, file:PATH; NULL: the default of embedded and kafka */
    char *topic;                       /* KAFKA */
    struct rc_header_setting *headers; /* HTTP; owned */
    size_t n_headers;
    struct rc_secret password; /* REDIS; nothing set when there is none */
    int64_t batch_max_changes; /* 0: the sink's default */
    int64_t batch_max_wait_ms; /* RC_NO_DURATION: the sink's default */
    int64_t rate;              /* changes per second, 0: no limit */
    char **marketing_actions;  /* owned */
    size_t n_marketing_actions;
    char *consent; /* the choice that a person must have said `y` to, or NULL */
};

/* ---- attributes and policies (definitions.md §5) --------------------------------------------------------------------- */

struct rc_attribute {
    char *id;
    int version;
    int64_t applied_ms;
    uint32_t *datasets; /* indices into the catalog's datasets; owned */
    size_t n_datasets;
    const struct rc_timezone *timezone; /* the first dataset's */
    struct rc_window window;
    struct rc_cond *value; /* EVENT: the count; SUM … FIRST: the value; `cmp` and `is` are empty; owned */
    char **destinations;
    size_t n_destinations;
};

enum rc_label_head { RC_LABEL_AND, RC_LABEL_OR, RC_LABEL_IS };

struct rc_label_cond {
    enum rc_label_head head;
    struct rc_label_cond **children; /* owned */
    size_t n_children;
    char *label; /* IS */
};

struct rc_policy {
    char *id;
    int version;
    int64_t applied_ms;
    bool enabled;
    char *marketing_action;
    struct rc_label_cond *deny; /* owned */
};

/* ---- the catalog ----------------------------------------------------------------------------------------------------- */

/* The text of one definition, and everything about it that is not language. */
struct rc_definition {
    char *kind, *id; /* "segment", "cart-abandoners"; owned */
    char *json; /* the definition as one line of JSON, keys in the order written, without what `apply` adds; owned */
    char *file; /* where it came from, for messages; owned */
    char *path; /* JSON path in that file: "$", or "$[3]" in an array of definitions; owned */
    char *schema_file; /* a dataset's "schema" as written, when it named a file; else NULL; owned */
    int version;
    enum rc_segment_role role; /* of a segment */
    int64_t
        generation; /* of a segment: its state was built by so manieth a replay; what another generation kept is not its own */
    int64_t applied_ms;
    int64_t scheduled_ms; /* an audience's: when its present schedule was first applied; else as applied_ms */
    char *applied_by;     /* NULL in files */
};

struct rc_catalog {
    struct rc_dataset *datasets;
    size_t n_datasets;
    struct rc_segment *segments; /* in the order given; a reference may name a later one */
    size_t n_segments;
    struct rc_audience *audiences;
    size_t n_audiences;
    struct rc_destination *destinations;
    size_t n_destinations;
    struct rc_attribute *attributes;
    size_t n_attributes;
    struct rc_policy *policies;
    size_t n_policies;
    struct rc_definition *definitions; /* all of them, in the order given */
    size_t n_definitions;
    void *index; /* "kind/id" to the place among its kind; owned */
};

/* Collects definitions, then checks them together. Life: init → add… → build → deinit. A later definition of the same kind and
 * id replaces an earlier one when it comes from another add (a file twice in one add is an error). */
struct rc_catalog_builder {
    struct rc_definition *items; /* owned */
    size_t n, capacity;
    void *index; /* "kind/id" to the place in items; owned */
};

void rc_catalog_builder_init(struct rc_catalog_builder *builder);
void rc_catalog_builder_deinit(struct rc_catalog_builder *builder);

/* Adds the definitions in `json` (one object, or an array of them). `file` names the source in messages; relative "schema" paths
 * are opened relative to its folder by `read_schema` (NULL: a definition's schema must be inline JSON, as it is on the definitions
 * topic: apply replaces a file's name by its content, "schema" then is an object or array). Fails: POISON, exit 65. */
typedef rc_status (*rc_read_schema_fn)(void *ctx, const char *file, const char *schema_path, char **out_text,
                                       struct rc_error *err);
rc_status rc_catalog_builder_add(struct rc_catalog_builder *builder, const char *file, struct rc_span json,
                                 rc_read_schema_fn read_schema, void *ctx, struct rc_error *err) RC_MUST_USE;

/* Adds one definition as read from the definitions topic; its schedule began when it was applied, or at `scheduled_ms`. */
rc_status rc_catalog_builder_add_applied(struct rc_catalog_builder *builder, struct rc_span json, int version,
                                         int64_t applied_ms, const char *applied_by, struct rc_error *err) RC_MUST_USE;
rc_status rc_catalog_builder_add_scheduled(struct rc_catalog_builder *builder, struct rc_span json, int version,
                                           int64_t applied_ms, int64_t scheduled_ms, const char *applied_by,
                                           struct rc_error *err) RC_MUST_USE;

/* Adds a segment in the given role and generation under the given name, which may be one that no id can be (with a '~'); `json` says "id" as it
 * likes. References to such names are followed. */
rc_status rc_catalog_builder_add_segment(struct rc_catalog_builder *builder, struct rc_span json, const char *name,
                                         int version, enum rc_segment_role role, int64_t generation,
                                         struct rc_error *err) RC_MUST_USE;

/* Takes a definition out; false when there is none. What refers to it is found by the next build, as an error. */
bool rc_catalog_builder_remove(struct rc_catalog_builder *builder, const char *kind, const char *id);

/* The definition as it stands in the builder or the catalog, or NULL. Borrowed until the next add, remove or deinit / until free. */
const struct rc_definition *rc_catalog_builder_find(const struct rc_catalog_builder *builder, const char *kind,
                                                    const char *id);
const struct rc_definition *rc_catalog_definition(const struct rc_catalog *catalog, const char *kind, const char *id);

/* Checks everything together and builds. The builder may be used further. `*out` owned by the caller. */
rc_status rc_catalog_build(const struct rc_catalog_builder *builder, struct rc_catalog **out, struct rc_error *err)
    RC_MUST_USE;
void rc_catalog_free(struct rc_catalog *catalog);

/* Index of the definition, or -1. */
int rc_catalog_dataset(const struct rc_catalog *catalog, const char *id);
int rc_catalog_segment(const struct rc_catalog *catalog, const char *id);
int rc_catalog_audience(const struct rc_catalog *catalog, const char *id);
int rc_catalog_destination(const struct rc_catalog *catalog, const char *id);

/* Calls `visit` for every definition that names (kind, id) directly: what `delete` must refuse for. Returns their number. */
typedef void (*rc_referrer_fn)(void *ctx, const struct rc_definition *referrer);
size_t rc_catalog_referrers(const struct rc_catalog *catalog, const char *kind, const char *id, rc_referrer_fn visit,
                            void *ctx);

/* Whether the segment's truth rests on the dataset: it reads it, or refers to a segment that does. */
bool rc_catalog_rests_on(const struct rc_catalog *catalog, uint32_t segment, uint32_t dataset);

/* Whether an installation that runs `before` can go over to `after` (pipeline.md §5): a dataset that is in both must keep its person,
 * timestamp and event_id. The error (POISON, exit 65) says what to do instead. */
rc_status rc_catalog_compatible(const struct rc_catalog *before, const struct rc_catalog *after, struct rc_error *err)
    RC_MUST_USE;

/* Whether two definitions (JSON texts) say the same: equal as JSON, whatever the order of keys and the spaces. */
bool rc_definition_same(const char *json, const char *other_json);

/* The definition (JSON text) with the text `value` at its top-level `key`, one line; owned by the caller. */
char *rc_definition_with_text(const char *json, const char *key, const char *value);

/* Releases what the dataset owns, and zeroes it. Catalogs do this themselves. */
void rc_dataset_deinit(struct rc_dataset *dataset);

#endif
