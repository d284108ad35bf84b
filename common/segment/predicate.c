#include "segment/predicate.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* ---- slots ------------------------------------------------------------------------------------------------------------ */

void rc_slots_init(struct rc_slots *slots, const struct rc_catalog *catalog) {
    *slots = (struct rc_slots){.catalog = catalog};
}

void rc_slots_deinit(struct rc_slots *slots) {
    for (size_t i = 0; i < slots->n; i++) {
        free(slots->items[i].name);
        free(slots->items[i].field);
        free(slots->items[i].element);
    }
    free(slots->items);
    *slots = (struct rc_slots){0};
}

static int find_field(const struct rc_dataset *dataset, const char *name, enum rc_type type) {
    for (size_t f = 0; f < dataset->n_fields; f++)
        if (strcmp(dataset->fields[f].name, name) == 0)
            return dataset->fields[f].type == type ? (int)f : -1;
    return -1;
}

static int find_element(const struct rc_dataset *dataset, const char *name) {
    for (size_t e = 0; e < dataset->n_elements; e++)
        if (strcmp(dataset->elements[e].name, name) == 0)
            return (int)e;
    return -1;
}

static uint32_t add_slot(struct rc_slots *slots, struct rc_slot slot) {
    rc_grow(&slots->items, &slots->capacity, slots->n + 1, sizeof *slots->items);
    slots->items[slots->n] = slot;
    return (uint32_t)slots->n++;
}

uint32_t rc_slots_field(struct rc_slots *slots, const struct rc_field_ref *ref) {
    for (size_t i = 0; i < slots->n; i++)
        if ((slots->items[i].field || slots->items[i].kind != RC_FIELD_PLAIN) && slots->items[i].type == ref->type &&
            strcmp(slots->items[i].name, ref->name) == 0)
            return (uint32_t)i;
    struct rc_slot slot = {.name = rc_strdup(ref->name), .kind = ref->kind, .type = ref->type};
    if (ref->kind == RC_FIELD_PLAIN) {
        size_t n = slots->catalog->n_datasets;
        slot.field = rc_calloc(n, sizeof *slot.field);
        slot.element = rc_calloc(n, sizeof *slot.element);
        for (size_t d = 0; d < n; d++) {
            const struct rc_dataset *dataset = &slots->catalog->datasets[d];
            slot.field[d] = find_field(dataset, ref->name, ref->type);
            slot.element[d] = slot.field[d] < 0 ? -1 : dataset->fields[slot.field[d]].element;
        }
    }
    return add_slot(slots, slot);
}

uint32_t rc_slots_element(struct rc_slots *slots, const char *name) {
    for (size_t i = 0; i < slots->n; i++)
        if (slots->items[i].kind == RC_FIELD_PLAIN && !slots->items[i].field && strcmp(slots->items[i].name, name) == 0)
            return (uint32_t)i;
    struct rc_slot slot = {.name = rc_strdup(name), .kind = RC_FIELD_PLAIN};
    size_t n = slots->catalog->n_datasets;
    slot.element = rc_calloc(n, sizeof *slot.element);
    for (size_t d = 0; d < n; d++)
        slot.element[d] = find_element(&slots->catalog->datasets[d], name);
    return add_slot(slots, slot);
}

/* ---- compile ---------------------------------------------------------------------------------------------------------- */

struct rc_predicate *rc_predicate_new(struct rc_slots *slots, const struct rc_pred *pred) {
    struct rc_predicate *predicate = rc_calloc(1, sizeof *predicate);
    predicate->kind = pred ? pred->kind : RC_PRED_TRUE;
    if (!pred)
        return predicate;
    predicate->n_children = pred->n_children;
    predicate->children = rc_calloc(pred->n_children, sizeof(struct rc_predicate *));
    for (size_t i = 0; i < pred->n_children; i++)
        predicate->children[i] = rc_predicate_new(slots, pred->children[i]);
    if (pred->kind == RC_PRED_SOME)
        predicate->slot = rc_slots_element(slots, pred->element);
    if (pred->kind == RC_PRED_TEST) {
        predicate->slot = rc_slots_field(slots, &pred->field);
        predicate->clauses = &pred->clauses;
        predicate->others = rc_calloc(pred->clauses.n, sizeof *predicate->others);
        for (size_t i = 0; i < pred->clauses.n; i++)
            if (pred->clauses.items[i].op == RC_OP_EQ_FIELD || pred->clauses.items[i].op == RC_OP_NE_FIELD)
                predicate->others[i] = rc_slots_field(slots, &pred->clauses.items[i].other);
    }
    return predicate;
}

void rc_predicate_free(struct rc_predicate *predicate) {
    if (!predicate)
        return;
    for (size_t i = 0; i < predicate->n_children; i++)
        rc_predicate_free(predicate->children[i]);
    free(predicate->children);
    free(predicate->others);
    free(predicate);
}

void rc_predicate_describe(struct rc_buf *out, const struct rc_slots *slots, const struct rc_predicate *predicate) {
    rc_buf_printf(out, "%d", (int)predicate->kind);
    if (predicate->kind == RC_PRED_SOME || predicate->kind == RC_PRED_TEST)
        rc_buf_printf(out, " %s", slots->items[predicate->slot].name);
    if (predicate->kind == RC_PRED_TEST) {
        const struct rc_slot *slot = &slots->items[predicate->slot];
        rc_buf_printf(out, ":%d%s", (int)slot->type, predicate->clauses->ignore_case ? "i" : "");
        for (size_t i = 0; i < predicate->clauses->n; i++) {
            const struct rc_clause *clause = &predicate->clauses->items[i];
            rc_buf_printf(out, " %d", (int)clause->op);
            if (clause->op == RC_OP_EQ_FIELD || clause->op == RC_OP_NE_FIELD)
                rc_buf_printf(out, "=%s", slots->items[predicate->others[i]].name);
            for (size_t k = 0; k < clause->n_operands; k++) {
                if (slot->type == RC_STRING && clause->op != RC_OP_EXISTS)
                    rc_buf_add_json_string(out, clause->operands[k].string);
                else
                    rc_buf_printf(out, ",%lld", (long long)clause->operands[k].number);
            }
        }
    }
    rc_buf_add_byte(out, '(');
    for (size_t i = 0; i < predicate->n_children; i++)
        rc_predicate_describe(out, slots, predicate->children[i]);
    rc_buf_add_byte(out, ')');
}

/* ---- operators on values ---------------------------------------------------------------------------------------------- */

static unsigned char fold(unsigned char c, bool ignore_case) {
    return ignore_case && c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c;
}

/* `text` equals `operand`; with ignore_case both are folded. */
static bool same_bytes(const char *text, const char *operand, size_t len, bool ignore_case) {
    if (!ignore_case)
        return len == 0 || memcmp(text, operand, len) == 0;
    for (size_t i = 0; i < len; i++)
        if (fold((unsigned char)text[i], true) != fold((unsigned char)operand[i], true))
            return false;
    return true;
}

static bool contains(struct rc_span text, struct rc_span operand, bool ignore_case) {
    if (!ignore_case)
        return operand.len == 0 || memmem(text.data, text.len, operand.data, operand.len) != NULL;
    for (size_t i = 0; i + operand.len <= text.len; i++)
        if (same_bytes(text.data + i, operand.data, operand.len, true))
            return true;
    return false;
}

/* Bytes of the code point at `s` (a byte that is no UTF-8 start counts as one). */
static size_t code_point(const char *s, size_t len) {
    unsigned char c = (unsigned char)*s;
    size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
    return n < len ? n : len;
}

/* The whole of `text` against `glob`: `*` any run, `?` one code point, `\` escapes (alone at the end it is itself).
 * The usual two-pointer walk: on a mismatch go back to the last `*` and let it take one more byte. */
static bool glob_matches(struct rc_span text, struct rc_span glob, bool ignore_case) {
    size_t t = 0, g = 0, star = SIZE_MAX, star_text = 0;
    while (t < text.len) {
        if (g < glob.len && glob.data[g] == '*') {
            star = g++;
            star_text = t;
            continue;
        }
        if (g < glob.len && glob.data[g] == '?') {
            t += code_point(text.data + t, text.len - t);
            g++;
            continue;
        }
        if (g < glob.len) {
            size_t literal = glob.data[g] == '\\' && g + 1 < glob.len ? g + 1 : g;
            if (fold((unsigned char)glob.data[literal], ignore_case) ==
                fold((unsigned char)text.data[t], ignore_case)) {
                g = literal + 1;
                t++;
                continue;
            }
        }
        if (star == SIZE_MAX)
            return false;
        g = star + 1;
        star_text += code_point(text.data + star_text, text.len - star_text);
        t = star_text;
    }
    while (g < glob.len && glob.data[g] == '*')
        g++;
    return g == glob.len;
}

static bool equal_values(enum rc_type type, union rc_value a, union rc_value b, bool ignore_case) {
    if (type != RC_STRING)
        return a.number == b.number;
    return a.string.len == b.string.len && same_bytes(a.string.data, b.string.data, a.string.len, ignore_case);
}

static bool any_operand(const struct rc_clause *clause, enum rc_type type, union rc_value v, bool ignore_case) {
    for (size_t i = 0; i < clause->n_operands; i++)
        if (equal_values(type, v, clause->operands[i], ignore_case))
            return true;
    return false;
}

static bool contains_any(const struct rc_clause *clause, union rc_value v, bool ignore_case) {
    for (size_t i = 0; i < clause->n_operands; i++)
        if (contains(v.string, clause->operands[i].string, ignore_case))
            return true;
    return false;
}

static bool is_positive(enum rc_op op) {
    return op <= RC_OP_MATCHES;
}

/* A positive operator on one value. */
static bool holds_for(const struct rc_clause *clause, enum rc_type type, union rc_value v, bool ignore_case) {
    const union rc_value *operand = clause->operands;
    switch (clause->op) {
    case RC_OP_EQ: return any_operand(clause, type, v, ignore_case);
    case RC_OP_LT: return v.number < operand->number;
    case RC_OP_LE: return v.number <= operand->number;
    case RC_OP_GT: return v.number > operand->number;
    case RC_OP_GE: return v.number >= operand->number;
    case RC_OP_CONTAINS: return contains_any(clause, v, ignore_case);
    case RC_OP_CONTAINS_ALL:
        for (size_t i = 0; i < clause->n_operands; i++)
            if (!contains(v.string, operand[i].string, ignore_case))
                return false;
        return true;
    case RC_OP_STARTS_WITH:
        return v.string.len >= operand->string.len &&
               same_bytes(v.string.data, operand->string.data, operand->string.len, ignore_case);
    case RC_OP_ENDS_WITH:
        return v.string.len >= operand->string.len &&
               same_bytes(v.string.data + (v.string.len - operand->string.len), operand->string.data,
                          operand->string.len, ignore_case);
    case RC_OP_MATCHES: return glob_matches(v.string, operand->string, ignore_case);
    default: return false;
    }
}

static bool shares_value(enum rc_type type, struct rc_values a, struct rc_values b, bool ignore_case) {
    for (uint32_t i = 0; i < a.n; i++)
        for (uint32_t k = 0; k < b.n; k++)
            if (equal_values(type, a.values[i], b.values[k], ignore_case))
                return true;
    return false;
}

/* A negative operator, or `exists`: judged over all values. */
static bool holds_over_all(const struct rc_clause *clause, enum rc_type type, struct rc_values values,
                           bool ignore_case) {
    if (clause->op == RC_OP_EXISTS)
        return (values.n > 0) == (clause->operands[0].number != 0);
    for (uint32_t i = 0; i < values.n; i++)
        if (clause->op == RC_OP_NE ? any_operand(clause, type, values.values[i], ignore_case)
                                   : contains_any(clause, values.values[i], ignore_case))
            return false;
    return true;
}

static bool names_field(enum rc_op op) {
    return op == RC_OP_EQ_FIELD || op == RC_OP_NE_FIELD;
}

bool rc_clauses_hold(const struct rc_clauses *clauses, enum rc_type type, struct rc_values values) {
    bool positives = false;
    for (size_t c = 0; c < clauses->n; c++) {
        enum rc_op op = clauses->items[c].op;
        if (is_positive(op))
            positives = true;
        else if (!names_field(op) && !holds_over_all(&clauses->items[c], type, values, clauses->ignore_case))
            return false;
    }
    if (!positives)
        return true;
    for (uint32_t i = 0; i < values.n; i++) {
        bool all = true;
        for (size_t c = 0; c < clauses->n && all; c++)
            if (is_positive(clauses->items[c].op))
                all = holds_for(&clauses->items[c], type, values.values[i], clauses->ignore_case);
        if (all)
            return true;
    }
    return false;
}

/* ---- predicates on events --------------------------------------------------------------------------------------------- */

struct rc_values rc_slot_values(const struct rc_slots *slots, uint32_t slot_index, const struct rc_event *event,
                                const struct rc_focus *focus, union rc_value *scratch) {
    const struct rc_slot *slot = &slots->items[slot_index];
    const struct rc_dataset *dataset = &slots->catalog->datasets[event->dataset];
    switch (slot->kind) {
    case RC_FIELD_DATASET: scratch->string = rc_span_str(dataset->id); return (struct rc_values){scratch, 1};
    case RC_FIELD_NAMESPACE: scratch->string = event->namespace; return (struct rc_values){scratch, 1};
    case RC_FIELD_HOUR:
        scratch->number = rc_local_hour(dataset->timezone, event->timestamp_ms);
        return (struct rc_values){scratch, 1};
    case RC_FIELD_WEEKDAY:
        scratch->number = rc_local_weekday(dataset->timezone, event->timestamp_ms);
        return (struct rc_values){scratch, 1};
    case RC_FIELD_PLAIN: break;
    }
    int field = slot->field[event->dataset];
    if (field < 0)
        return (struct rc_values){0};
    for (; focus; focus = focus->outer)
        if (slot->element[event->dataset] == focus->array)
            return event->cells[field][focus->item];
    return event->fields[field];
}

static bool test_matches(const struct rc_slots *slots, const struct rc_predicate *predicate,
                         const struct rc_event *event, const struct rc_focus *focus) {
    const struct rc_clauses *clauses = predicate->clauses;
    enum rc_type type = slots->items[predicate->slot].type;
    union rc_value scratch, other_scratch;
    struct rc_values values = rc_slot_values(slots, predicate->slot, event, focus, &scratch);
    for (size_t i = 0; i < clauses->n; i++) {
        enum rc_op op = clauses->items[i].op;
        if (!names_field(op))
            continue;
        struct rc_values other = rc_slot_values(slots, predicate->others[i], event, focus, &other_scratch);
        if (shares_value(type, values, other, clauses->ignore_case) != (op == RC_OP_EQ_FIELD))
            return false;
    }
    return rc_clauses_hold(clauses, type, values);
}

static bool some_matches(const struct rc_slots *slots, const struct rc_predicate *predicate,
                         const struct rc_event *event, const struct rc_focus *focus) {
    int array = slots->items[predicate->slot].element[event->dataset];
    if (array < 0)
        return false;
    for (const struct rc_focus *f = focus; f; f = f->outer)
        if (f->array == array)
            return rc_predicate_matches(slots, predicate->children[0], event, focus);
    for (uint32_t k = 0; k < event->n_elements[array]; k++)
        if (rc_predicate_matches(slots, predicate->children[0], event,
                                 &(struct rc_focus){.outer = focus, .array = array, .item = k}))
            return true;
    return false;
}

bool rc_predicate_matches(const struct rc_slots *slots, const struct rc_predicate *predicate,
                          const struct rc_event *event, const struct rc_focus *focus) {
    switch (predicate->kind) {
    case RC_PRED_TRUE: return true;
    case RC_PRED_AND:
        for (size_t i = 0; i < predicate->n_children; i++)
            if (!rc_predicate_matches(slots, predicate->children[i], event, focus))
                return false;
        return true;
    case RC_PRED_OR:
        for (size_t i = 0; i < predicate->n_children; i++)
            if (rc_predicate_matches(slots, predicate->children[i], event, focus))
                return true;
        return false;
    case RC_PRED_NOT: return !rc_predicate_matches(slots, predicate->children[0], event, focus);
    case RC_PRED_SOME: return some_matches(slots, predicate, event, focus);
    case RC_PRED_TEST: return test_matches(slots, predicate, event, focus);
    }
    return false;
}

const struct rc_clause *rc_predicate_guard(const struct rc_slots *slots, const struct rc_predicate *predicate,
                                           uint32_t *slot) {
    if (predicate->kind == RC_PRED_AND) {
        for (size_t i = 0; i < predicate->n_children; i++) {
            const struct rc_clause *found = rc_predicate_guard(slots, predicate->children[i], slot);
            if (found)
                return found;
        }
        return NULL;
    }
    if (predicate->kind != RC_PRED_TEST || predicate->clauses->ignore_case)
        return NULL;
    const struct rc_slot *field = &slots->items[predicate->slot];
    if (field->kind != RC_FIELD_PLAIN || field->type != RC_STRING)
        return NULL;
    for (size_t i = 0; i < predicate->clauses->n; i++) {
        if (predicate->clauses->items[i].op == RC_OP_EQ) {
            *slot = predicate->slot;
            return &predicate->clauses->items[i];
        }
    }
    return NULL;
}
