#include "codec/projection.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "codec/fixed.h"
#include "codec/sources.h"

/* What is wrong with a field's value; 0: nothing. */
enum fault { FAULT_NONE, FAULT_TYPE, FAULT_RANGE, FAULT_MIN };

struct rc_projection {
    const struct rc_dataset *dataset;
    struct rc_decoder_options options;
    struct rc_wanted wanted;
    struct rc_sources *sources;
    bool *where_fields;                /* n_fields; owned; NULL without `where` */
    bool *where_elements;              /* n_elements: `where` names a field of it; owned */
    const struct rc_values **no_cells; /* n_fields NULLs, for events without elements; owned */
    uint64_t no_values;

    /* of the record at hand */
    const struct rc_record *record;
    struct rc_arena *arena;
    struct rc_values *fields; /* n_fields, in the arena */
    union rc_value *firsts;   /* n_fields: room for the first value, which mostly is the only one; in the arena */
    struct rc_values *
        *cells; /* n_fields: of an element's field, its values' number in each element; NULL if not; in the arena */
    uint32_t *counts; /* n_elements: elements begun; owned */
    uint32_t *rooms;  /* n_elements: elements that the cells have room for; owned */
    struct {
        uint8_t fault, leaf;
    } * faults;         /* n_fields: the first fault; owned */
    bool *bad_elements; /* n_elements; owned */
    bool faulty;        /* some fault or bad element is set */
    uint32_t dropped;   /* values that "on_bad": "no_value" let go */
};

struct rc_projection *rc_projection_new(const struct rc_dataset *dataset, const struct rc_decoder_options *options) {
    struct rc_projection *p = rc_calloc(1, sizeof *p);
    p->dataset = dataset;
    p->options = *options;
    rc_wanted_init(&p->wanted, dataset);
    p->sources = rc_sources_new(dataset, &p->wanted);
    p->no_cells = rc_calloc(dataset->n_fields, sizeof *p->no_cells);
    p->counts = rc_calloc(dataset->n_elements, sizeof *p->counts);
    p->rooms = rc_calloc(dataset->n_elements, sizeof *p->rooms);
    p->faults = rc_calloc(dataset->n_fields, sizeof *p->faults);
    p->bad_elements = rc_calloc(dataset->n_elements, sizeof *p->bad_elements);
    if (options->where) {
        p->where_fields = rc_calloc(dataset->n_fields, sizeof *p->where_fields);
        p->where_elements = rc_calloc(dataset->n_elements, sizeof *p->where_elements);
        for (size_t f = 0; f < dataset->n_fields; f++) {
            p->where_fields[f] = options->where_fields && options->where_fields[f];
            if (p->where_fields[f] && dataset->fields[f].element != RC_NO_ELEMENT)
                p->where_elements[dataset->fields[f].element] = true;
        }
    }
    return p;
}

void rc_projection_free(struct rc_projection *p) {
    if (!p)
        return;
    rc_sources_free(p->sources);
    rc_wanted_deinit(&p->wanted);
    free(p->where_fields);
    free(p->where_elements);
    free(p->no_cells);
    free(p->counts);
    free(p->rooms);
    free(p->faults);
    free(p->bad_elements);
    free(p);
}

const struct rc_wanted *rc_projection_wanted(const struct rc_projection *p) {
    return &p->wanted;
}

uint64_t rc_projection_no_values(const struct rc_projection *p) {
    return p->no_values;
}

void rc_projection_begin(struct rc_projection *p, const struct rc_record *record, struct rc_arena *arena) {
    size_t n_fields = p->dataset->n_fields, n_elements = p->dataset->n_elements;
    p->record = record;
    p->arena = arena;
    p->fields = rc_arena_alloc(arena, n_fields * (sizeof *p->fields + sizeof *p->firsts));
    p->firsts = (union rc_value *)(p->fields + n_fields);
    memset(p->fields, 0, n_fields * sizeof *p->fields);
    if (p->faulty) {
        memset(p->faults, 0, n_fields * sizeof *p->faults);
        memset(p->bad_elements, 0, n_elements * sizeof *p->bad_elements);
        p->faulty = false;
    }
    p->dropped = 0;
    p->cells = NULL;
    if (n_elements) {
        p->cells = rc_arena_alloc(arena, n_fields * sizeof *p->cells);
        memset(p->cells, 0, n_fields * sizeof *p->cells);
        memset(p->counts, 0, n_elements * sizeof *p->counts);
        memset(p->rooms, 0, n_elements * sizeof *p->rooms);
    }
    rc_sources_begin(p->sources);
}

/* ---- fields
 * ---------------------------------------------------------------------------------------------------------- */

static enum fault number_of(const struct rc_leaf *leaf, int64_t *out) {
    switch (leaf->kind) {
    case RC_LEAF_LONG:
    case RC_LEAF_TIME_MS:
    case RC_LEAF_TIME_US:
    case RC_LEAF_TIME_NS: return rc_fixed_of_long(leaf->number, out) == RC_OK ? FAULT_NONE : FAULT_RANGE;
    case RC_LEAF_DOUBLE: return rc_fixed_of_double(leaf->real, out) == RC_OK ? FAULT_NONE : FAULT_RANGE;
    case RC_LEAF_DECIMAL: *out = leaf->number; return FAULT_NONE;
    case RC_LEAF_BIG:
    case RC_LEAF_TOO_LARGE: return FAULT_RANGE;
    default: return FAULT_TYPE;
    }
}

static enum fault value_of(const struct rc_field *field, const struct rc_leaf *leaf, union rc_value *out) {
    switch (field->type) {
    case RC_STRING:
        if (leaf->kind != RC_LEAF_TEXT)
            return FAULT_TYPE;
        out->string = leaf->text;
        return FAULT_NONE;
    case RC_BOOLEAN:
        if (leaf->kind != RC_LEAF_BOOLEAN)
            return FAULT_TYPE;
        out->number = leaf->number;
        return FAULT_NONE;
    case RC_LONG:
        if (leaf->kind == RC_LEAF_BIG)
            return FAULT_RANGE;
        if (leaf->kind != RC_LEAF_LONG && leaf->kind != RC_LEAF_TIME_MS && leaf->kind != RC_LEAF_TIME_US &&
            leaf->kind != RC_LEAF_TIME_NS)
            return FAULT_TYPE;
        out->number = leaf->number;
        break;
    case RC_DOUBLE:
    case RC_DECIMAL: {
        enum fault fault = number_of(leaf, &out->number);
        if (fault)
            return fault;
        break;
    }
    }
    return field->has_min && out->number < field->min ? FAULT_MIN : FAULT_NONE;
}

static void add_value(struct rc_projection *p, uint32_t f, union rc_value value) {
    struct rc_values *values = &p->fields[f];
    union rc_value *items = (union rc_value *)values->values;
    if (values->n == 0) {
        values->values = items = &p->firsts[f];
    } else if ((values->n & (values->n - 1)) == 0) { /* full: room is 1, 2, 4, … */
        items = rc_arena_alloc(p->arena, 2 * (size_t)values->n * sizeof *items);
        memcpy(items, values->values, values->n * sizeof *items);
        values->values = items;
    }
    items[values->n++] = value;
}

void rc_projection_value(struct rc_projection *p, uint32_t target, const struct rc_leaf *leaf) {
    if (target >= p->dataset->n_fields) {
        rc_sources_value(p->sources, target, leaf);
        return;
    }
    const struct rc_field *field = &p->dataset->fields[target];
    union rc_value value;
    enum fault fault = value_of(field, leaf, &value);
    if (fault == FAULT_NONE) {
        add_value(p, target, value);
        if (field->element != RC_NO_ELEMENT)
            p->cells[target][p->counts[field->element] - 1].n++;
    } else if (field->bad_is_none) {
        p->dropped++;
    } else if (!p->faults[target].fault) {
        p->faults[target].fault = (uint8_t)fault;
        p->faults[target].leaf = (uint8_t)leaf->kind;
        p->faulty = true;
    }
}

/* ---- elements
 * -------------------------------------------------------------------------------------------------------- */

void rc_projection_element(struct rc_projection *p, uint32_t element) {
    uint32_t k = p->counts[element]++;
    if (k == p->rooms[element]) {
        uint32_t room = k ? 2 * k : 4;
        for (size_t f = 0; f < p->dataset->n_fields; f++) {
            if (p->dataset->fields[f].element != (int)element)
                continue;
            struct rc_values *cells = rc_arena_alloc(p->arena, room * sizeof *cells);
            if (k)
                memcpy(cells, p->cells[f], k * sizeof *cells);
            p->cells[f] = cells;
        }
        p->rooms[element] = room;
    }
    for (size_t f = 0; f < p->dataset->n_fields; f++)
        if (p->dataset->fields[f].element == (int)element)
            p->cells[f][k] = (struct rc_values){0};
}

void rc_projection_bad_element(struct rc_projection *p, uint32_t element) {
    p->bad_elements[element] = true;
    p->faulty = true;
}

/* The values of an element's field lie in order, so each cell begins where the one before ends. */
static void place_cells(struct rc_projection *p) {
    for (size_t f = 0; f < p->dataset->n_fields; f++) {
        int element = p->dataset->fields[f].element;
        if (element == RC_NO_ELEMENT)
            continue;
        const union rc_value *at = p->fields[f].values;
        for (uint32_t k = 0; k < p->counts[element]; k++) {
            struct rc_values *cell = &p->cells[f][k];
            cell->values = cell->n ? at : NULL;
            at = cell->n ? at + cell->n : at;
        }
    }
}

/* ---- the judgement
 * --------------------------------------------------------------------------------------------------- */

static const char *type_name(enum rc_type type) {
    static const char *const names[] = {"string", "long", "boolean", "double", "decimal"};
    return names[type];
}

static enum rc_decoded refuse_field(const struct rc_projection *p, size_t f, enum rc_reason *reason,
                                    struct rc_error *err) {
    const struct rc_field *field = &p->dataset->fields[f];
    const char *found = rc_leaf_name((enum rc_leaf_kind)p->faults[f].leaf), *type = type_name(field->type);
    switch ((enum fault)p->faults[f].fault) {
    case FAULT_RANGE:
        return rc_refuse(reason, RC_REASON_BAD_VALUE, err, "field %s (path %s): a number out of the range of %s",
                         field->name, field->path.text, type);
    case FAULT_MIN:
        return rc_refuse(reason, RC_REASON_BAD_VALUE, err, "field %s (path %s): a number below its min", field->name,
                         field->path.text);
    default:
        return rc_refuse(reason, RC_REASON_BAD_VALUE, err, "field %s (path %s): found %s where %s is wanted",
                         field->name, field->path.text, found, type);
    }
}

/* Looks for faults among the fields that `where` names, or (where false) among all. */
static enum rc_decoded judge_faults(const struct rc_projection *p, bool where, enum rc_reason *reason,
                                    struct rc_error *err) {
    for (size_t e = 0; e < p->dataset->n_elements; e++)
        if (p->bad_elements[e] && (!where || p->where_elements[e]))
            return rc_refuse(reason, RC_REASON_BAD_ELEMENT, err, "elements %s (path %s): something else than a record",
                             p->dataset->elements[e].name, p->dataset->elements[e].path.text);
    for (size_t f = 0; f < p->dataset->n_fields; f++)
        if (p->faults[f].fault && (!where || p->where_fields[f]))
            return refuse_field(p, f, reason, err);
    return RC_DECODED;
}

enum rc_decoded rc_projection_end(struct rc_projection *p, struct rc_event *out, enum rc_reason *reason,
                                  struct rc_error *err) {
    struct rc_event event = {
        .dataset = p->options.dataset,
        .fields = p->fields,
        .cells = p->cells ? (const struct rc_values *const *)p->cells : p->no_cells,
    };
    if (p->cells) {
        place_cells(p);
        uint32_t *counts = rc_arena_alloc(p->arena, p->dataset->n_elements * sizeof *counts);
        memcpy(counts, p->counts, p->dataset->n_elements * sizeof *counts);
        event.n_elements = counts;
    }

    if (p->options.where) { /* first, and on the fields that it names alone: a foreign record is never bad */
        struct rc_event seen = event;
        enum rc_reason ignored;
        (void)!rc_sources_judge(p->sources, p->record, p->arena, &seen, &ignored, NULL);
        if (p->faulty && judge_faults(p, true, reason, err) != RC_DECODED)
            return RC_BAD;
        struct rc_values *all = p->fields;
        seen.fields = rc_arena_alloc(p->arena, p->dataset->n_fields * sizeof *seen.fields);
        for (size_t f = 0; f < p->dataset->n_fields; f++)
            ((struct rc_values *)seen.fields)[f] = p->where_fields[f] ? all[f] : (struct rc_values){0};
        if (!p->options.where(p->options.where_ctx, &seen))
            return RC_IGNORED;
    }

    if (rc_sources_judge(p->sources, p->record, p->arena, &event, reason, err) != RC_DECODED)
        return RC_BAD;
    if (p->options.max_ahead_ms >= 0 && !p->record->from_file && p->record->timestamp_ms != RC_NO_TIMESTAMP) {
        int64_t ahead;
        if (__builtin_sub_overflow(event.timestamp_ms, p->record->timestamp_ms, &ahead))
            ahead = p->record->timestamp_ms < 0 ? INT64_MAX : INT64_MIN;
        if (ahead > p->options.max_ahead_ms)
            return rc_refuse(reason, RC_REASON_FUTURE_TIMESTAMP, err,
                             "%" PRId64 " ms ahead of the record's own timestamp, at most %" PRId64 " are allowed",
                             ahead, p->options.max_ahead_ms);
    }
    if (p->faulty && judge_faults(p, false, reason, err) != RC_DECODED)
        return RC_BAD;
    p->no_values += p->dropped;
    *out = event;
    return RC_DECODED;
}
