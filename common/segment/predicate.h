/* Conditions about one event, compiled: field names become positions, equal predicates become one.
 * definitions.md §3, "Conditions: about one event". Pure functions of one event (or one element of it). */
#ifndef RC_SEGMENT_PREDICATE_H
#define RC_SEGMENT_PREDICATE_H

#include <stdbool.h>

#include "base/buf.h"
#include "segment/definition.h"

/* A field or an array of elements, by its position in each dataset (-1: the dataset has none of that name and type). */
struct rc_slot {
    char *name;
    enum rc_field_kind kind;
    enum rc_type type;
    int *field;   /* by dataset; owned; NULL for reserved fields and arrays */
    int *element; /* by dataset: the array that the field belongs to, or the array itself; -1: none */
};

struct rc_slots {
    const struct rc_catalog *catalog; /* borrowed */
    struct rc_slot *items;            /* owned */
    size_t n, capacity;
};

void rc_slots_init(struct rc_slots *slots, const struct rc_catalog *catalog);
void rc_slots_deinit(struct rc_slots *slots);
/* The slot of a field, made when it is new. */
uint32_t rc_slots_field(struct rc_slots *slots, const struct rc_field_ref *ref);
/* The slot of an array of elements. */
uint32_t rc_slots_element(struct rc_slots *slots, const char *name);

struct rc_predicate {
    enum rc_pred_kind kind;
    struct rc_predicate **children; /* owned */
    size_t n_children;
    uint32_t slot;                    /* TEST: field; SOME: array */
    const struct rc_clauses *clauses; /* TEST; borrowed from the catalog */
    uint32_t *others;                 /* TEST: slot of each clause's other field (0 when it has none); owned */
};

/* Compiles; `pred` NULL means every event. Borrows from the catalog for the predicate's life. */
struct rc_predicate *rc_predicate_new(struct rc_slots *slots, const struct rc_pred *pred);
void rc_predicate_free(struct rc_predicate *predicate);

/* Appends a text that two predicates share exactly when they are the same. */
void rc_predicate_describe(struct rc_buf *out, const struct rc_slots *slots, const struct rc_predicate *predicate);

/* The element that is looked at by itself. A NULL focus looks at the whole event. */
struct rc_focus {
    const struct rc_focus *outer; /* an element of another array that is looked at as well; NULL: none */
    int array;                    /* index of the array in the event's dataset */
    uint32_t item;                /* which of its elements */
};

bool rc_predicate_matches(const struct rc_slots *slots, const struct rc_predicate *predicate,
                          const struct rc_event *event, const struct rc_focus *focus);

/* The values of a field in the event, or in the element in focus when the field is of that array. Reserved fields use `scratch`. */
struct rc_values rc_slot_values(const struct rc_slots *slots, uint32_t slot, const struct rc_event *event,
                                const struct rc_focus *focus, union rc_value *scratch);

/* The operators of one TEST on given values; eq_field and ne_field, which need the event, are passed over. */
bool rc_clauses_hold(const struct rc_clauses *clauses, enum rc_type type, struct rc_values values);

/* Finds a test that the event must pass for `predicate` to hold, of the form "field equals one of these texts" on the event as a whole: the
 * handle by which predicates are indexed. NULL when there is none. */
const struct rc_clause *rc_predicate_guard(const struct rc_slots *slots, const struct rc_predicate *predicate,
                                           uint32_t *slot);

#endif
