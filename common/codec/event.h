/* An event: one record, projected to what definitions can name. All memory is borrowed from the arena that the decoder was
 * given, or from the record's own bytes: valid until both go. */
#ifndef RC_CODEC_EVENT_H
#define RC_CODEC_EVENT_H

#include <stdint.h>

#include "codec/dataset.h"

/* A value of a field. The type is the field's. */
union rc_value {
    struct rc_span string; /* STRING */
    int64_t number;        /* LONG: itself; BOOLEAN: 0 or 1; DOUBLE, DECIMAL: fixed point, 6 decimals */
};

struct rc_values {
    const union rc_value *values;
    uint32_t n;
};

struct rc_event {
    uint32_t dataset; /* index of the dataset in its catalog */
    struct rc_span namespace, person_id;
    int64_t timestamp_ms;
    struct rc_span event_id;
    /* fields[f]: every value of field f (rc_dataset.fields), over all elements for a field of elements, in order. */
    const struct rc_values *fields;
    /* cells[f][k]: the values of field f in element k of its array; NULL for fields that are not of elements. */
    const struct rc_values *const *cells;
    /* n_elements[e]: the number of elements in array e (rc_dataset.elements). */
    const uint32_t *n_elements;
};

#endif
