/* The form: dataset, timestamp, person, event id; the lengths of the arrays of elements; then field by field how many values there are and
 * the values, of a field of elements also how many are each element's. It lives as long as one run of the program. */
#include "codec/event_pack.h"

/* ---- writing ---- */

static void add_text(struct rc_buf *out, struct rc_span text) {
    rc_buf_add_varint(out, text.len);
    rc_buf_add_span(out, text);
}

rc_status rc_event_pack(const struct rc_event *event, const struct rc_dataset *datasets, struct rc_buf *out) {
    const struct rc_dataset *dataset = &datasets[event->dataset];
    rc_buf_add_varint(out, event->dataset);
    rc_buf_add_zigzag(out, event->timestamp_ms);
    add_text(out, event->namespace);
    add_text(out, event->person_id);
    add_text(out, event->event_id);
    for (size_t e = 0; e < dataset->n_elements; e++)
        rc_buf_add_varint(out, event->n_elements[e]);
    for (size_t f = 0; f < dataset->n_fields; f++) {
        const struct rc_field *field = &dataset->fields[f];
        struct rc_values all = event->fields[f];
        rc_buf_add_varint(out, all.n);
        for (uint32_t i = 0; i < all.n; i++) {
            if (field->type == RC_STRING)
                add_text(out, all.values[i].string);
            else
                rc_buf_add_zigzag(out, all.values[i].number);
        }
        for (uint32_t k = 0; field->element != RC_NO_ELEMENT && k < event->n_elements[field->element]; k++)
            rc_buf_add_varint(out, event->cells[f][k].n);
    }
    return out->full ? RC_FAIL : RC_OK;
}

/* ---- reading ---- */

static rc_status take_number(struct rc_span *in, uint64_t most, uint32_t *out) {
    uint64_t value;
    if (rc_take_varint(in, &value) != RC_OK || value > most)
        return RC_FAIL;
    *out = (uint32_t)value;
    return RC_OK;
}

static rc_status take_text(struct rc_span *in, struct rc_span *out) {
    uint64_t len;
    return rc_take_varint(in, &len) == RC_OK && len <= in->len ? rc_take_bytes(in, len, out) : RC_FAIL;
}

static rc_status take_values(struct rc_span *in, enum rc_type type, struct rc_arena *arena, struct rc_values *out) {
    uint32_t n;
    if (take_number(in, in->len, &n) != RC_OK) /* a value takes a byte at least */
        return RC_FAIL;
    union rc_value *values = rc_arena_alloc(arena, (n + 1) * sizeof *values);
    for (uint32_t i = 0; i < n; i++) {
        rc_status status = type == RC_STRING ? take_text(in, &values[i].string) : rc_take_zigzag(in, &values[i].number);
        if (status != RC_OK)
            return RC_FAIL;
    }
    *out = (struct rc_values){.values = values, .n = n};
    return RC_OK;
}

/* Parts a field's values among its elements. */
static rc_status take_cells(struct rc_span *in, struct rc_values all, uint32_t n_elements, struct rc_arena *arena,
                            const struct rc_values **out) {
    struct rc_values *cells = rc_arena_alloc(arena, (n_elements + 1) * sizeof *cells);
    uint32_t used = 0;
    for (uint32_t k = 0; k < n_elements; k++) {
        if (take_number(in, all.n - used, &cells[k].n) != RC_OK)
            return RC_FAIL;
        cells[k].values = all.values + used;
        used += cells[k].n;
    }
    *out = cells;
    return used == all.n ? RC_OK : RC_FAIL;
}

rc_status rc_event_unpack(struct rc_span in, const struct rc_dataset *datasets, size_t n_datasets,
                          struct rc_arena *arena, struct rc_event *out) {
    struct rc_event event;
    if (n_datasets == 0 || take_number(&in, n_datasets - 1, &event.dataset) != RC_OK ||
        rc_take_zigzag(&in, &event.timestamp_ms) != RC_OK || take_text(&in, &event.namespace) != RC_OK ||
        take_text(&in, &event.person_id) != RC_OK || take_text(&in, &event.event_id) != RC_OK)
        return RC_FAIL;
    const struct rc_dataset *dataset = &datasets[event.dataset];
    uint32_t *n_elements = rc_arena_alloc(arena, (dataset->n_elements + 1) * sizeof *n_elements);
    for (size_t e = 0; e < dataset->n_elements; e++)
        if (take_number(&in, UINT32_MAX, &n_elements[e]) != RC_OK)
            return RC_FAIL;
    struct rc_values *fields = rc_arena_alloc(arena, (dataset->n_fields + 1) * sizeof *fields);
    const struct rc_values **cells = rc_arena_alloc(arena, (dataset->n_fields + 1) * sizeof *cells);
    for (size_t f = 0; f < dataset->n_fields; f++) {
        const struct rc_field *field = &dataset->fields[f];
        cells[f] = NULL;
        if (take_values(&in, field->type, arena, &fields[f]) != RC_OK)
            return RC_FAIL;
        if (field->element == RC_NO_ELEMENT)
            continue;
        /* Every element has a count, of a byte at least. */
        if (n_elements[field->element] > in.len ||
            take_cells(&in, fields[f], n_elements[field->element], arena, &cells[f]) != RC_OK)
            return RC_FAIL;
    }
    if (in.len > 0)
        return RC_FAIL;
    event.fields = fields;
    event.cells = cells;
    event.n_elements = n_elements;
    *out = event;
    return RC_OK;
}
