/* The paths that a dataset names, as one tree, so that a record is walked once and what no path names is passed over.
 * Internal to codec/. */
#ifndef RC_CODEC_WANTED_H
#define RC_CODEC_WANTED_H

#include <stdint.h>

#include "codec/dataset.h"

/* A place in the record. A target is an index: below n_fields a field, from there on a path of a source. */
struct rc_want {
    struct rc_want_step *steps; /* names that are wanted below, in no order; owned */
    uint32_t n_steps;
    uint32_t *targets; /* whose values stand here; owned */
    uint32_t n_targets;
    uint32_t *elements; /* arrays of elements (rc_dataset.elements) that stand here; owned */
    uint32_t n_elements;
};

struct rc_want_step {
    struct rc_span name;   /* borrowed from the dataset */
    struct rc_want *below; /* owned */
};

struct rc_wanted {
    struct rc_want root;
    struct rc_want *element_roots; /* n_elements of them: what is wanted of one element; owned */
    uint32_t n_fields, n_elements, n_targets;
    const char **texts; /* n_targets: the path as written, for messages; owned, the texts borrowed */
};

/* Takes in all fields and elements: field f is target f. `dataset` is borrowed. */
void rc_wanted_init(struct rc_wanted *wanted, const struct rc_dataset *dataset);
void rc_wanted_deinit(struct rc_wanted *wanted);

/* Adds a path below `from` (the root, or an element's); its target is the next number. */
void rc_wanted_add(struct rc_wanted *wanted, struct rc_want *from, const struct rc_path *path);

#endif
