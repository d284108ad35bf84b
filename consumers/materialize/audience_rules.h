/* Inside of rc_audience_rules, shared by its compiler (audience_rules.c) and by the deciding (audience.c) only. */
#ifndef RC_MATERIALIZE_AUDIENCE_RULES_H
#define RC_MATERIALIZE_AUDIENCE_RULES_H

#include "consumers/materialize/audience.h"

/* The audiences that a signal can touch. */
struct rc_audience_touch {
    uint32_t *rules; /* indices; owned */
    size_t n, capacity;
};

struct rc_audience_rules {
    const struct rc_names *signals, *audiences;
    uint64_t generation;
    struct rc_audience_rule *rules;
    size_t n;
    struct rc_audience_touch *touched; /* by signal name; names given later touch nothing */
    size_t n_touched;
    uint32_t *by_name; /* by audience name: index + 1; 0: none */
    size_t n_names;
    int32_t *owned; /* partitions; owned */
    size_t n_owned;
    int32_t total;

    /* Scratch of one decision. */
    uint8_t *stack;     /* evaluation, as deep as the longest condition */
    uint8_t *leaves;    /* truth of each leaf */
    uint64_t *stamps;   /* by rule: the pass that has it in `affected` */
    uint32_t *affected; /* rules to decide in this pass */
    uint64_t pass;
};

#endif
