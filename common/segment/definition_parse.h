/* What the definition_*.c files share: how definitions become structures, and how these are released. Internal to them.
 *
 * A parser fills a structure that is already part of the catalog under construction and was zeroed before; when it fails, the catalog is
 * released whole, so a half-filled structure must be one that its release function can take. */
#ifndef RC_SEGMENT_DEFINITION_PARSE_H
#define RC_SEGMENT_DEFINITION_PARSE_H

#include "segment/definition.h"
#include "segment/definition_json.h"

/* Limits of definitions.md §6. */
#define RC_MAX_CONDITION_DEPTH 32
#define RC_MAX_SEGMENT_NODES 1000
#define RC_MAX_SEGMENTS 10000
#define RC_MAX_AUDIENCE_SEGMENTS 20

/* What a condition can name: the fields and elements of these datasets, and the catalog's segments. */
struct rc_def_scope {
    const struct rc_catalog *catalog;
    const struct rc_dataset **datasets; /* borrowed */
    size_t n_datasets;
    size_t nodes; /* conditions, steps and predicates read so far */
};

/* Kinds of definitions, as they stand in "kind". */
enum rc_kind {
    RC_KIND_DATASET,
    RC_KIND_SEGMENT,
    RC_KIND_AUDIENCE,
    RC_KIND_DESTINATION,
    RC_KIND_ATTRIBUTE,
    RC_KIND_POLICY
};
#define RC_KINDS 6
extern const char *const rc_kind_names[RC_KINDS];

/* The keys that may stand on every kind. */
#define RC_DEF_COMMON_KEYS "kind", "id", "name", "description", "owner", "tags"
rc_status rc_def_common(const struct rc_def_node *node) RC_MUST_USE;

/* ---- names (definition_names.c) -------------------------------------------------------------------------------------- */

/* Index of `id` among its kind, or -1. */
int rc_def_find(const void *index, const char *kind, const char *id);
/* Resolves an id; the error names the nearest known one. */
rc_status rc_def_reference(const struct rc_def_node *node, const struct rc_catalog *catalog, enum rc_kind kind,
                           uint32_t *out) RC_MUST_USE;
/* One dataset's id or an array of them ("dataset"). *out owned by the caller. */
rc_status rc_def_datasets(const struct rc_def_node *node, const struct rc_catalog *catalog, uint32_t **out, size_t *n)
    RC_MUST_USE;
/* An array of destinations' ids, each once. `profiles` is always known: `sink.default` stands for it. */
rc_status rc_def_destinations(const struct rc_def_node *node, const struct rc_catalog *catalog, char ***out, size_t *n)
    RC_MUST_USE;

rc_status rc_def_field(const struct rc_def_node *node, const struct rc_def_scope *scope, struct rc_field_ref *out)
    RC_MUST_USE;
rc_status rc_def_element(const struct rc_def_node *node, const struct rc_def_scope *scope, char **out) RC_MUST_USE;
const char *rc_def_type_name(enum rc_type type);
bool rc_def_is_number(enum rc_type type);

/* ---- parts ----------------------------------------------------------------------------------------------------------- */

/* `depth` counts from 1. `*out` is set first and filled then. */
rc_status rc_def_pred(const struct rc_def_node *node, struct rc_def_scope *scope, int depth, struct rc_pred **out)
    RC_MUST_USE;
/* The operators that stand in `node` on a field of `type`, besides the keys in `others`. `with_fields`: eq_field and ne_field may. */
rc_status rc_def_clauses(const struct rc_def_node *node, const struct rc_def_scope *scope, enum rc_type type,
                         bool with_fields, const char *const *others, size_t n_others, struct rc_clauses *out)
    RC_MUST_USE;

struct rc_def_place { /* where a condition stands */
    int depth;        /* from 1 */
    bool in_session;
};
rc_status rc_def_cond(const struct rc_def_node *node, struct rc_def_scope *scope, struct rc_def_place place,
                      struct rc_cond **out) RC_MUST_USE;
/* An attribute's value: as `event` and the aggregates, without a comparison. */
rc_status rc_def_value(const struct rc_def_node *node, struct rc_def_scope *scope, struct rc_cond **out) RC_MUST_USE;
rc_status rc_def_cmp(const struct rc_def_node *node, struct rc_cmp *out) RC_MUST_USE;
bool rc_def_cmp_holds(const struct rc_cmp *cmp, __int128 value);
rc_status rc_def_window(const struct rc_def_node *node, struct rc_window *out) RC_MUST_USE;
/* definition_sequence.c: the `sequence` head's steps and span; the condition's `same` has been read. */
rc_status rc_def_sequence(const struct rc_def_node *node, struct rc_def_scope *scope, struct rc_def_place place,
                          struct rc_cond *out) RC_MUST_USE;
rc_status rc_def_count_node(const struct rc_def_node *node, struct rc_def_scope *scope) RC_MUST_USE;

/* ---- kinds ----------------------------------------------------------------------------------------------------------- */

rc_status rc_def_dataset(const struct rc_def_node *node, struct rc_dataset *out) RC_MUST_USE;
/* Its `where` names the dataset's own fields, so it is read when these are known. */
rc_status rc_def_dataset_where(const struct rc_def_node *node, const struct rc_catalog *catalog, struct rc_dataset *out)
    RC_MUST_USE;
rc_status rc_def_segment(const struct rc_def_node *node, const struct rc_catalog *catalog, struct rc_segment *out)
    RC_MUST_USE;
rc_status rc_def_audience(const struct rc_def_node *node, const struct rc_catalog *catalog, struct rc_audience *out)
    RC_MUST_USE;
rc_status rc_def_destination(const struct rc_def_node *node, struct rc_destination *out) RC_MUST_USE;
rc_status rc_def_attribute(const struct rc_def_node *node, const struct rc_catalog *catalog, struct rc_attribute *out)
    RC_MUST_USE;
rc_status rc_def_policy(const struct rc_def_node *node, struct rc_policy *out) RC_MUST_USE;
/* `[A-Za-z0-9._-]{1,249}`, as Kafka has it. */
rc_status rc_def_topic(const struct rc_def_node *node, char **out) RC_MUST_USE;

/* ---- release (definition_free.c) ------------------------------------------------------------------------------------- */

void rc_def_pred_free(struct rc_pred *pred);
void rc_def_cond_free(struct rc_cond *cond);
void rc_def_texts_free(char **texts, size_t n);
void rc_def_definition_deinit(struct rc_definition *definition);

#endif
