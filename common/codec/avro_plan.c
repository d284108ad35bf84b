/* Compiles an Avro plan: writer schema × reader schema × wanted paths → instructions.
 *
 * What is wanted travels along as a set of places in the tree of paths, because one array may be wanted both as
 * elements and by a path through it, and the bytes are read once. Parts that nobody wants are compiled as well, once
 * for each pair of types (a recursive type ends there): they are passed over, but a union's branch or an enum's
 * symbol that the reader does not have is an error even so.
 *
 * Source of the rules: Avro 1.11 specification, "Schema Resolution". Looser than it on purpose: names of records,
 * enums and fixed need not agree outside of unions (Java does not compare records' either), and decimals keep the
 * writer's scale. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/nearest.h"
#include "codec/avro_op.h"
#include "codec/fixed.h"

/* A place in the tree of paths that the value at hand stands at. */
struct at {
    enum { AT_PATH, AT_ELEMENTS, AT_ELEMENT } kind; /* ELEMENTS: an array may stand here; ELEMENT: not any more */
    const struct rc_want *want;                     /* PATH */
    uint32_t element;                               /* ELEMENTS, ELEMENT */
};

struct places {
    struct at *items; /* in the scratch arena */
    uint32_t n;
};

struct compiler {
    struct rc_avro_plan *plan;
    struct rc_arena scratch;
    const struct rc_wanted *wanted;
    bool resolved;             /* writer and reader are one schema */
    size_t n_readers;          /* nodes of the reader schema, + 1 for none */
    const struct op **skipped; /* [writer * n_readers + reader]: the op for a pair that nobody wants */
};

static const struct op *compile(struct compiler *c, const struct rc_avro_node *w, const struct rc_avro_node *r,
                                struct places at);

static struct op *new_op(struct compiler *c, enum op_code code) {
    struct op *op = rc_arena_alloc(&c->plan->arena, sizeof *op);
    *op = (struct op){.code = (uint8_t)code};
    return op;
}

static void push(struct compiler *c, const uint32_t **items, uint32_t *n, uint32_t item) {
    uint32_t *more = rc_arena_alloc(&c->plan->arena, (*n + 1) * sizeof *more);
    if (*n)
        memcpy(more, *items, *n * sizeof *more);
    more[*n] = item;
    *items = more;
    ++*n;
}

static void add_place(struct compiler *c, struct places *places, struct at at) {
    struct at *more = rc_arena_alloc(&c->scratch, (places->n + 1) * sizeof *more);
    if (places->n)
        memcpy(more, places->items, places->n * sizeof *more);
    more[places->n++] = at;
    places->items = more;
}

static const struct op *mismatch(struct compiler *c, const struct rc_avro_node *w, const struct rc_avro_node *r,
                                 const char *why) {
    char written[256], wanted[256], text[640];
    snprintf(text, sizeof text, "written as %s, read as %s%s%s", rc_avro_describe(w, written, sizeof written),
             rc_avro_describe(r, wanted, sizeof wanted), why ? ": " : "", why ? why : "");
    struct op *op = new_op(c, OP_MISMATCH);
    op->mismatch = rc_arena_copy(&c->plan->arena, rc_span_str(text)).data;
    return op;
}

/* Notes on `op` what a scalar, or (`record`) a record or map, means to the places it stands at. */
static void mark(struct compiler *c, struct op *op, struct places at, bool record) {
    for (uint32_t i = 0; i < at.n; i++) {
        const struct at *place = &at.items[i];
        if (place->kind == AT_PATH)
            for (uint32_t t = 0; t < place->want->n_targets; t++)
                push(c, &op->targets, &op->n_targets, place->want->targets[t]);
        else if (record)
            push(c, &op->elements, &op->n_elements, place->element);
        else
            push(c, &op->bad_elements, &op->n_bad_elements, place->element);
    }
    op->wanted = op->n_targets || op->n_elements || op->n_bad_elements;
}

/* The places that the value named `name` of a record or map stands at. */
static struct places below(struct compiler *c, struct places at, struct rc_span name) {
    struct places out = {0};
    for (uint32_t i = 0; i < at.n; i++) {
        const struct at *place = &at.items[i];
        const struct rc_want *want = place->kind == AT_PATH ? place->want : &c->wanted->element_roots[place->element];
        for (uint32_t s = 0; s < want->n_steps; s++) {
            if (!rc_span_equal(want->steps[s].name, name))
                continue;
            const struct rc_want *next = want->steps[s].below;
            if (next->n_steps || next->n_targets)
                add_place(c, &out, (struct at){.kind = AT_PATH, .want = next});
            for (uint32_t e = 0; e < next->n_elements; e++)
                add_place(c, &out, (struct at){.kind = AT_ELEMENTS, .element = next->elements[e]});
        }
    }
    return out;
}

/* The places that an array's items stand at; an array among elements is none of theirs (see compile_array). */
static struct places items_of(struct compiler *c, struct places at) {
    struct places out = {0};
    for (uint32_t i = 0; i < at.n; i++) {
        struct at place = at.items[i];
        if (place.kind == AT_ELEMENT)
            continue;
        if (place.kind == AT_ELEMENTS)
            place.kind = AT_ELEMENT;
        add_place(c, &out, place);
    }
    return out;
}

/* ---- defaults
 * -------------------------------------------------------------------------------------------------------- */

struct constants {
    struct op_constant *items; /* in the scratch arena */
    uint32_t n;
};

static void add_constant(struct compiler *c, struct constants *out, struct op_constant constant) {
    struct op_constant *more = rc_arena_alloc(&c->scratch, (out->n + 1) * sizeof *more);
    if (out->n)
        memcpy(more, out->items, out->n * sizeof *more);
    more[out->n++] = constant;
    out->items = more;
}

/* Does a default's JSON fit the type? (Not in depth: enough to find a union's branch.) */
static bool fits(const json_t *json, const struct rc_avro_node *r) {
    switch (r->type) {
    case RC_AVRO_NULL: return json_is_null(json);
    case RC_AVRO_BOOLEAN: return json_is_boolean(json);
    case RC_AVRO_INT:
    case RC_AVRO_LONG: return json_is_integer(json);
    case RC_AVRO_FLOAT:
    case RC_AVRO_DOUBLE: return json_is_number(json);
    case RC_AVRO_BYTES:
    case RC_AVRO_STRING:
    case RC_AVRO_ENUM:
    case RC_AVRO_FIXED: return json_is_string(json);
    case RC_AVRO_ARRAY: return json_is_array(json);
    case RC_AVRO_RECORD:
    case RC_AVRO_MAP: return json_is_object(json);
    case RC_AVRO_UNION: return true;
    }
    return false;
}

/* The bytes that a default's text stands for: its code points, 0-255. */
static struct rc_span bytes_of(struct compiler *c, const json_t *json) {
    const unsigned char *s = (const unsigned char *)json_string_value(json), *end = s + json_string_length(json);
    char *out = rc_arena_alloc(&c->plan->arena, json_string_length(json) + 1);
    size_t n = 0;
    for (; s < end; n++) {
        if (*s >= 0xc0 && end - s > 1) {
            out[n] = (char)((*s & 0x1f) << 6 | (s[1] & 0x3f));
            s += 2;
        } else {
            out[n] = (char)*s++;
        }
    }
    return rc_span_of(out, n);
}

static struct rc_leaf default_leaf(struct compiler *c, const json_t *json, const struct rc_avro_node *r) {
    struct rc_leaf leaf = {.kind = RC_LEAF_BYTES};
    switch (r->type) {
    case RC_AVRO_BOOLEAN: return (struct rc_leaf){.kind = RC_LEAF_BOOLEAN, .number = json_is_true(json)};
    case RC_AVRO_INT:
    case RC_AVRO_LONG:
        leaf.kind = r->logical == RC_AVRO_TIMESTAMP_MILLIS   ? RC_LEAF_TIME_MS
                    : r->logical == RC_AVRO_TIMESTAMP_MICROS ? RC_LEAF_TIME_US
                    : r->logical == RC_AVRO_TIMESTAMP_NANOS  ? RC_LEAF_TIME_NS
                                                             : RC_LEAF_LONG;
        leaf.number = json_integer_value(json);
        return leaf;
    case RC_AVRO_FLOAT: return (struct rc_leaf){.kind = RC_LEAF_DOUBLE, .real = (double)(float)json_number_value(json)};
    case RC_AVRO_DOUBLE: return (struct rc_leaf){.kind = RC_LEAF_DOUBLE, .real = json_number_value(json)};
    case RC_AVRO_STRING:
    case RC_AVRO_ENUM:
        leaf.kind = RC_LEAF_TEXT;
        leaf.text = rc_span_of(json_string_value(json), json_string_length(json));
        return leaf;
    case RC_AVRO_BYTES:
    case RC_AVRO_FIXED:
        leaf.text = bytes_of(c, json);
        if (r->logical == RC_AVRO_DECIMAL) {
            int64_t number;
            bool held = rc_fixed_of_decimal((const uint8_t *)leaf.text.data, leaf.text.len, r->scale, &number) == RC_OK;
            leaf.kind = held ? RC_LEAF_DECIMAL : RC_LEAF_TOO_LARGE;
            if (held)
                leaf.number = number;
        }
        return leaf;
    default: return leaf;
    }
}

static void expand(struct compiler *c, const json_t *json, const struct rc_avro_node *r, struct places at,
                   struct constants *out) {
    if (at.n == 0 || json_is_null(json))
        return;
    if (r->type == RC_AVRO_UNION) {
        for (size_t i = 0; i < r->n_branches; i++)
            if (fits(json, r->branches[i])) {
                expand(c, json, r->branches[i], at, out);
                return;
            }
        return;
    }
    if (!fits(json, r))
        return; /* a default that is none of its type: as if it had no value */
    if (r->type == RC_AVRO_ARRAY) {
        for (uint32_t i = 0; i < at.n; i++)
            if (at.items[i].kind == AT_ELEMENT)
                add_constant(c, out, (struct op_constant){.kind = CONSTANT_BAD_ELEMENT, .to = at.items[i].element});
        struct places inside = items_of(c, at);
        const json_t *item;
        size_t i;
        json_array_foreach(json, i, item) expand(c, item, r->items, inside, out);
        return;
    }

    bool record = r->type == RC_AVRO_RECORD || r->type == RC_AVRO_MAP;
    struct rc_leaf leaf = record ? (struct rc_leaf){.kind = RC_LEAF_RECORD} : default_leaf(c, json, r);
    for (uint32_t i = 0; i < at.n; i++) {
        if (at.items[i].kind == AT_PATH) {
            for (uint32_t t = 0; t < at.items[i].want->n_targets; t++)
                add_constant(
                    c, out,
                    (struct op_constant){.kind = CONSTANT_VALUE, .to = at.items[i].want->targets[t], .leaf = leaf});
        } else {
            add_constant(c, out,
                         (struct op_constant){.kind = record ? CONSTANT_ELEMENT : CONSTANT_BAD_ELEMENT,
                                              .to = at.items[i].element});
        }
    }
    if (r->type == RC_AVRO_RECORD) {
        for (size_t i = 0; i < r->n_fields; i++) {
            const json_t *value = json_object_get(json, r->fields[i].name);
            if (!value)
                value = r->fields[i].default_value;
            if (value)
                expand(c, value, r->fields[i].type, below(c, at, rc_span_str(r->fields[i].name)), out);
        }
    } else if (r->type == RC_AVRO_MAP) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)json, key, value) expand(c, value, r->items, below(c, at, rc_span_str(key)), out);
    }
}

/* ---- resolution
 * ------------------------------------------------------------------------------------------------------ */

static bool same_name(const struct rc_avro_node *w, const struct rc_avro_node *r, bool qualified) {
    if (qualified) {
        for (size_t i = 0; i < r->n_aliases; i++)
            if (strcmp(w->name, r->aliases[i]) == 0)
                return true;
        return strcmp(w->name, r->name) == 0;
    }
    const char *wd = strrchr(w->name, '.'), *rd = strrchr(r->name, '.');
    return strcmp(wd ? wd + 1 : w->name, rd ? rd + 1 : r->name) == 0;
}

static bool promotes(enum rc_avro_type w, enum rc_avro_type r) {
    switch (w) {
    case RC_AVRO_INT: return r == RC_AVRO_LONG || r == RC_AVRO_FLOAT || r == RC_AVRO_DOUBLE;
    case RC_AVRO_LONG: return r == RC_AVRO_FLOAT || r == RC_AVRO_DOUBLE;
    case RC_AVRO_FLOAT: return r == RC_AVRO_DOUBLE;
    case RC_AVRO_STRING: return r == RC_AVRO_BYTES;
    case RC_AVRO_BYTES: return r == RC_AVRO_STRING;
    default: return false;
    }
}

/* The branch of reader union `r` that takes values of `w` (no union): the first of its type and full name, else of
 * its type and short name, else of its type, else the first that it promotes to. */
static const struct rc_avro_node *choose(const struct rc_avro_node *w, const struct rc_avro_node *r) {
    for (int pass = w->name ? 0 : 2; pass < 4; pass++)
        for (size_t i = 0; i < r->n_branches; i++) {
            const struct rc_avro_node *branch = r->branches[i];
            if (pass == 3 ? promotes(w->type, branch->type)
                          : w->type == branch->type && (pass == 2 || same_name(w, branch, pass == 0)))
                return branch;
        }
    return NULL;
}

static enum op_meaning meaning(const struct rc_avro_node *w, const struct rc_avro_node *r) {
    switch (r->type) {
    case RC_AVRO_INT:
    case RC_AVRO_LONG: {
        enum rc_avro_logical logical =
            w->logical ? w->logical : r->logical; /* the writer knows the unit of what it wrote */
        return logical == RC_AVRO_TIMESTAMP_MILLIS   ? MEANS_MS
               : logical == RC_AVRO_TIMESTAMP_MICROS ? MEANS_US
               : logical == RC_AVRO_TIMESTAMP_NANOS  ? MEANS_NS
                                                     : MEANS_NUMBER;
    }
    case RC_AVRO_FLOAT: return w->type == RC_AVRO_FLOAT ? MEANS_NUMBER : MEANS_FLOAT;
    case RC_AVRO_DOUBLE: return w->type == RC_AVRO_DOUBLE || w->type == RC_AVRO_FLOAT ? MEANS_NUMBER : MEANS_DOUBLE;
    case RC_AVRO_STRING: return MEANS_TEXT;
    case RC_AVRO_BYTES: return r->logical == RC_AVRO_DECIMAL ? MEANS_DECIMAL : MEANS_BYTES;
    case RC_AVRO_FIXED:
        return r->logical == RC_AVRO_DECIMAL ? MEANS_DECIMAL : r->logical == RC_AVRO_UUID ? MEANS_UUID : MEANS_BYTES;
    default: return MEANS_NUMBER;
    }
}

static const struct op *compile_scalar(struct compiler *c, const struct rc_avro_node *w, const struct rc_avro_node *r,
                                       struct places at) {
    static const enum op_code codes[] = {
        [RC_AVRO_NULL] = OP_NOTHING, [RC_AVRO_BOOLEAN] = OP_BOOLEAN, [RC_AVRO_INT] = OP_INT,
        [RC_AVRO_LONG] = OP_LONG,    [RC_AVRO_FLOAT] = OP_FLOAT,     [RC_AVRO_DOUBLE] = OP_DOUBLE,
        [RC_AVRO_BYTES] = OP_BYTES,  [RC_AVRO_STRING] = OP_BYTES,    [RC_AVRO_ENUM] = OP_ENUM,
        [RC_AVRO_FIXED] = OP_FIXED,
    };
    struct op *op = new_op(c, codes[w->type]);
    const struct rc_avro_node *as = r ? r : w;
    op->meaning = (uint8_t)meaning(w, as);
    op->scale = (uint16_t)(w->logical == RC_AVRO_DECIMAL ? w->scale : as->scale);
    op->size = w->size;
    if (w->type == RC_AVRO_FIXED) {
        if (r && r->size != w->size)
            return mismatch(c, w, r, "of another size");
    } else if (w->type == RC_AVRO_ENUM) {
        struct rc_span *symbols = rc_arena_alloc(&c->plan->arena, w->n_symbols * sizeof *symbols);
        for (size_t i = 0; i < w->n_symbols; i++) {
            symbols[i] = r ? rc_span_str(r->default_symbol) : w->symbols[i];
            for (size_t k = 0; r && k < r->n_symbols; k++)
                if (rc_span_equal(r->symbols[k], w->symbols[i]))
                    symbols[i] = r->symbols[k];
        }
        op->names = symbols;
        op->n = (uint32_t)w->n_symbols;
        op->mismatch = as->name;
    }
    if (w->type != RC_AVRO_NULL)
        mark(c, op, at, false);
    return op;
}

/* The index in writer record `w` of what reader field `f` reads, or -1. */
static int written_field(const struct rc_avro_node *w, const struct rc_avro_field *f) {
    int index = rc_avro_field_index(w, rc_span_str(f->name));
    for (size_t i = 0; index < 0 && i < f->n_aliases; i++)
        index = rc_avro_field_index(w, rc_span_str(f->aliases[i]));
    return index;
}

static const struct op *compile_record(struct compiler *c, struct op *op, const struct rc_avro_node *w,
                                       const struct rc_avro_node *r, struct places at) {
    mark(c, op, at, true);
    op->n = (uint32_t)w->n_fields;
    op->children = rc_arena_alloc(&c->plan->arena, w->n_fields * sizeof *op->children);
    memset(op->children, 0, w->n_fields * sizeof *op->children);

    struct constants constants = {0};
    for (size_t i = 0; r && i < r->n_fields; i++) {
        const struct rc_avro_field *field = &r->fields[i];
        int index = written_field(w, field);
        struct places inside = below(c, at, rc_span_str(field->name));
        if (index >= 0) {
            if (!op->children[index])
                op->children[index] = compile(c, w->fields[index].type, field->type, inside);
        } else if (field->default_value) {
            expand(c, field->default_value, field->type, inside, &constants);
        } else {
            char why[256];
            snprintf(why, sizeof why, "the writer has no field \"%s\", which has no default", field->name);
            *op = *mismatch(c, w, r, why);
            return op;
        }
    }
    for (size_t i = 0; i < w->n_fields; i++) {
        struct places inside = r ? (struct places){0} : below(c, at, rc_span_str(w->fields[i].name));
        if (!op->children[i])
            op->children[i] = compile(c, w->fields[i].type, NULL, inside);
        op->wanted |= op->children[i]->wanted;
    }
    if (constants.n) {
        struct op_constant *kept = rc_arena_alloc(&c->plan->arena, constants.n * sizeof *kept);
        memcpy(kept, constants.items, constants.n * sizeof *kept);
        op->constants = kept;
        op->n_constants = constants.n;
        op->wanted = true;
    }
    return op;
}

static const struct op *compile_map(struct compiler *c, struct op *op, const struct rc_avro_node *w,
                                    const struct rc_avro_node *r, struct places at) {
    mark(c, op, at, true);
    struct rc_span *names = NULL;
    uint32_t n = 0;
    const struct rc_avro_node *items = r ? r->items : NULL;
    for (uint32_t i = 0; i < at.n; i++) {
        const struct rc_want *want =
            at.items[i].kind == AT_PATH ? at.items[i].want : &c->wanted->element_roots[at.items[i].element];
        for (uint32_t s = 0; s < want->n_steps; s++) {
            bool known = false;
            for (uint32_t k = 0; k < n; k++)
                known |= rc_span_equal(names[k], want->steps[s].name);
            if (known)
                continue;
            struct rc_span *more = rc_arena_alloc(&c->plan->arena, (n + 1) * sizeof *more);
            if (n)
                memcpy(more, names, n * sizeof *more);
            names = more;
            names[n++] = want->steps[s].name;
        }
    }
    op->n = n;
    op->names = names;
    op->children = rc_arena_alloc(&c->plan->arena, (n + 1) * sizeof *op->children);
    for (uint32_t k = 0; k < n; k++)
        op->children[k] = compile(c, w->items, items, below(c, at, names[k]));
    op->children[n] = compile(c, w->items, items, (struct places){0});
    op->wanted |= n > 0;
    return op;
}

static const struct op *compile_array(struct compiler *c, struct op *op, const struct rc_avro_node *w,
                                      const struct rc_avro_node *r, struct places at) {
    for (uint32_t i = 0; i < at.n; i++)
        if (at.items[i].kind == AT_ELEMENT)
            push(c, &op->bad_elements, &op->n_bad_elements, at.items[i].element);
    op->children = rc_arena_alloc(&c->plan->arena, sizeof *op->children);
    op->children[0] = compile(c, w->items, r ? r->items : NULL, items_of(c, at));
    op->wanted = op->children[0]->wanted || op->n_bad_elements;
    op->passable = !op->wanted && (!r || c->resolved);
    return op;
}

static const struct op *compile_union(struct compiler *c, struct op *op, const struct rc_avro_node *w,
                                      const struct rc_avro_node *r, struct places at) {
    op->n = (uint32_t)w->n_branches;
    op->children = rc_arena_alloc(&c->plan->arena, w->n_branches * sizeof *op->children);
    for (size_t i = 0; i < w->n_branches; i++) {
        op->children[i] = compile(c, w->branches[i], r, at);
        op->wanted |= op->children[i]->wanted;
    }
    return op;
}

/* `r` NULL: the reader has nothing there, or there is no reader schema (then `at` is in the writer's names). */
static const struct op *compile(struct compiler *c, const struct rc_avro_node *w, const struct rc_avro_node *r,
                                struct places at) {
    const struct op **known = at.n ? NULL : &c->skipped[w->index * c->n_readers + (r ? r->index + 1 : 0)];
    if (known && *known)
        return *known;
    const struct op *made = NULL;
    struct op *op = NULL;
    if (w->type == RC_AVRO_UNION) {
        op = new_op(c, OP_UNION);
    } else if (r && r->type == RC_AVRO_UNION) {
        const struct rc_avro_node *branch = choose(w, r);
        made = branch ? compile(c, w, branch, at) : mismatch(c, w, r, NULL);
    } else if (r && r->type != w->type && !promotes(w->type, r->type)) {
        made = mismatch(c, w, r, NULL);
    } else if (w->type == RC_AVRO_RECORD) {
        op = new_op(c, OP_RECORD);
    } else if (w->type == RC_AVRO_ARRAY) {
        op = new_op(c, OP_ARRAY);
    } else if (w->type == RC_AVRO_MAP) {
        op = new_op(c, OP_MAP);
    } else {
        made = compile_scalar(c, w, r, at);
    }
    if (known)
        *known = op ? op : made; /* before what is inside: a recursive type comes back to itself */
    if (!op)
        return made;
    switch (op->code) {
    case OP_UNION: return compile_union(c, op, w, r, at);
    case OP_RECORD: return compile_record(c, op, w, r, at);
    case OP_ARRAY: return compile_array(c, op, w, r, at);
    default: return compile_map(c, op, w, r, at);
    }
}

struct rc_avro_plan *rc_avro_plan_new(const struct rc_avro_schema *writer, const struct rc_avro_schema *reader,
                                      const struct rc_wanted *wanted) {
    struct rc_avro_plan *plan = rc_calloc(1, sizeof *plan);
    rc_arena_init(&plan->arena, 4096);
    struct compiler c = {
        .plan = plan,
        .wanted = wanted,
        .resolved = writer == reader,
        .n_readers = (reader ? rc_avro_schema_nodes(reader) : 0) + 1,
    };
    rc_arena_init(&c.scratch, 4096);
    c.skipped = rc_calloc(rc_avro_schema_nodes(writer) * c.n_readers, sizeof *c.skipped);
    struct places root = {0};
    add_place(&c, &root, (struct at){.kind = AT_PATH, .want = &wanted->root});
    plan->root = compile(&c, rc_avro_schema_root(writer), reader ? rc_avro_schema_root(reader) : NULL, root);
    free(c.skipped);
    rc_arena_deinit(&c.scratch);
    return plan;
}

void rc_avro_plan_free(struct rc_avro_plan *plan) {
    if (!plan)
        return;
    rc_arena_deinit(&plan->arena);
    free(plan);
}
