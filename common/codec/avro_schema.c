#include "codec/avro_schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "codec/fixed.h"

#define DEPTH_MAX 256
#define FIXED_SIZE_MAX ((json_int_t)1 << 26)

struct rc_avro_schema {
    json_t *json;                /* owned; names and defaults point into it */
    struct rc_avro_node **nodes; /* owned */
    size_t n_nodes, capacity;
    struct rc_avro_node *root;
};

/* Where parsing stands in the schema's own JSON, for messages. */
struct place {
    const struct place *up;
    const char *key; /* or NULL, then `index` */
    size_t index;
};

struct parser {
    struct rc_avro_schema *schema;
    struct rc_error *err;
};

static size_t write_place(const struct place *at, char *out, size_t size) {
    if (!at)
        return 0;
    size_t n = write_place(at->up, out, size);
    if (n >= size)
        return n;
    int more = at->key ? snprintf(out + n, size - n, "%s%s", n ? "." : "", at->key)
                       : snprintf(out + n, size - n, "[%zu]", at->index);
    return n + (size_t)more;
}

static struct rc_avro_node *refuse(struct parser *p, const struct place *at, const char *fmt, ...) RC_PRINTF(3, 4);
static struct rc_avro_node *refuse(struct parser *p, const struct place *at, const char *fmt, ...) {
    char what[512], path[256] = "";
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    write_place(at, path, sizeof path);
    (void)rc_error_set(p->err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "Avro schema%s%s: %s", path[0] ? " at " : "", path,
                       what);
    return NULL;
}

static struct rc_avro_node *add_node(struct parser *p, enum rc_avro_type type) {
    struct rc_avro_schema *s = p->schema;
    struct rc_avro_node *node = rc_calloc(1, sizeof *node);
    node->type = type;
    node->index = s->n_nodes;
    rc_grow(&s->nodes, &s->capacity, s->n_nodes + 1, sizeof *s->nodes);
    s->nodes[s->n_nodes++] = node;
    return node;
}

static const char *const primitives[] = {
    [RC_AVRO_NULL] = "null",   [RC_AVRO_BOOLEAN] = "boolean", [RC_AVRO_INT] = "int",     [RC_AVRO_LONG] = "long",
    [RC_AVRO_FLOAT] = "float", [RC_AVRO_DOUBLE] = "double",   [RC_AVRO_BYTES] = "bytes", [RC_AVRO_STRING] = "string",
};
#define N_PRIMITIVES (sizeof primitives / sizeof *primitives)

static bool is_name(const char *text) {
    bool start = true;
    for (const char *c = text; *c; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';
        bool digit = *c >= '0' && *c <= '9';
        if (*c == '.' && !start)
            start = true;
        else if (letter || (digit && !start))
            start = false;
        else
            return false;
    }
    return !start;
}

/* `name` in `namespace` (may be NULL or empty) as a full name; owned by the caller. */
static char *full_name(const char *name, const char *namespace) {
    if (strchr(name, '.') || !namespace || !*namespace)
        return rc_strdup(name);
    size_t bytes = strlen(namespace) + strlen(name) + 2;
    char *full = rc_alloc(bytes);
    snprintf(full, bytes, "%s.%s", namespace, name);
    return full;
}

static struct rc_avro_node *named(const struct rc_avro_schema *schema, const char *full) {
    for (size_t i = 0; i < schema->n_nodes; i++)
        if (schema->nodes[i]->name && strcmp(schema->nodes[i]->name, full) == 0)
            return schema->nodes[i];
    return NULL;
}

static struct rc_avro_node *parse(struct parser *p, const json_t *json, const char *namespace, const struct place *at,
                                  int depth);

static struct rc_avro_node *parse_name(struct parser *p, const char *name, const char *namespace,
                                       const struct place *at) {
    for (size_t i = 0; i < N_PRIMITIVES; i++)
        if (strcmp(name, primitives[i]) == 0)
            return add_node(p, (enum rc_avro_type)i);
    char *full = full_name(name, namespace);
    struct rc_avro_node *node = named(p->schema, full);
    free(full);
    if (!node)
        node = named(p->schema, name);
    if (!node)
        return refuse(p, at, "there is no type \"%s\" (a named type must stand before its first use)", name);
    return node;
}

/* Reads name, namespace and aliases of a record, enum or fixed. `*inner` is the namespace for what stands inside;
 * owned by the caller. */
static rc_status parse_naming(struct parser *p, const json_t *json, const char *namespace, const struct place *at,
                              struct rc_avro_node *node, char **inner) {
    const char *name = json_string_value(json_object_get(json, "name"));
    if (!name || !is_name(name)) {
        refuse(p, at, "\"name\" is missing or no Avro name");
        return RC_FAIL;
    }
    const char *own = json_string_value(json_object_get(json, "namespace"));
    char *full = full_name(name, own ? own : namespace);
    if (named(p->schema, full)) {
        refuse(p, at, "type \"%s\" is defined twice", full);
        free(full);
        return RC_FAIL;
    }
    node->name = full;
    const char *dot = strrchr(full, '.');
    *inner = dot ? rc_span_dup(rc_span_of(full, (size_t)(dot - full))) : rc_strdup("");

    const json_t *aliases = json_object_get(json, "aliases"), *alias;
    size_t i;
    node->aliases = rc_calloc(json_array_size(aliases) + 1, sizeof *node->aliases);
    json_array_foreach(aliases, i, alias) if (json_is_string(alias)) node->aliases[node->n_aliases++] =
        full_name(json_string_value(alias), *inner);
    return RC_OK;
}

static rc_status parse_fields(struct parser *p, const json_t *json, const char *namespace, const struct place *at,
                              struct rc_avro_node *node, int depth) {
    const json_t *fields = json_object_get(json, "fields"), *item;
    if (!json_is_array(fields)) {
        refuse(p, at, "record %s has no array \"fields\"", node->name);
        return RC_FAIL;
    }
    node->fields = rc_calloc(json_array_size(fields) + 1, sizeof *node->fields);
    size_t i;
    json_array_foreach(fields, i, item) {
        const struct place list = {.up = at, .key = "fields"}, here = {.up = &list, .index = i};
        const char *name = json_string_value(json_object_get(item, "name"));
        if (!name || !*name) {
            refuse(p, &here, "a field of record %s has no \"name\"", node->name);
            return RC_FAIL;
        }
        if (rc_avro_field_index(node, rc_span_str(name)) >= 0) {
            refuse(p, &here, "field \"%s\" stands twice in record %s", name, node->name);
            return RC_FAIL;
        }
        const json_t *type = json_object_get(item, "type");
        const struct place inside = {.up = &here, .key = "type"};
        if (!type) {
            refuse(p, &here, "field \"%s\" has no \"type\"", name);
            return RC_FAIL;
        }
        struct rc_avro_field *field = &node->fields[node->n_fields];
        field->type = parse(p, type, namespace, &inside, depth + 1);
        if (!field->type)
            return RC_FAIL;
        field->name = name;
        field->default_value = json_object_get(item, "default");
        const json_t *aliases = json_object_get(item, "aliases"), *alias;
        size_t k;
        field->aliases = rc_calloc(json_array_size(aliases) + 1, sizeof *field->aliases);
        json_array_foreach(aliases, k, alias) if (json_is_string(alias)) field->aliases[field->n_aliases++] =
            json_string_value(alias);
        node->n_fields++;
    }
    return RC_OK;
}

static rc_status parse_symbols(struct parser *p, const json_t *json, const struct place *at,
                               struct rc_avro_node *node) {
    const json_t *symbols = json_object_get(json, "symbols"), *symbol;
    if (json_array_size(symbols) == 0) {
        refuse(p, at, "enum %s has no \"symbols\"", node->name);
        return RC_FAIL;
    }
    node->symbols = rc_calloc(json_array_size(symbols), sizeof *node->symbols);
    size_t i;
    json_array_foreach(symbols, i, symbol) {
        if (!json_is_string(symbol)) {
            refuse(p, at, "symbol %zu of enum %s is no text", i, node->name);
            return RC_FAIL;
        }
        node->symbols[node->n_symbols++] = rc_span_of(json_string_value(symbol), json_string_length(symbol));
    }
    node->default_symbol = json_string_value(json_object_get(json, "default"));
    return RC_OK;
}

/* A logical type that its own rules make void is ignored, as the Avro specification says. */
static void parse_logical(const json_t *json, struct rc_avro_node *node) {
    const char *logical = json_string_value(json_object_get(json, "logicalType"));
    if (!logical)
        return;
    if (node->type == RC_AVRO_LONG) {
        if (strcmp(logical, "timestamp-millis") == 0)
            node->logical = RC_AVRO_TIMESTAMP_MILLIS;
        else if (strcmp(logical, "timestamp-micros") == 0)
            node->logical = RC_AVRO_TIMESTAMP_MICROS;
        else if (strcmp(logical, "timestamp-nanos") == 0)
            node->logical = RC_AVRO_TIMESTAMP_NANOS;
    } else if (strcmp(logical, "uuid") == 0) {
        if (node->type == RC_AVRO_STRING || (node->type == RC_AVRO_FIXED && node->size == 16))
            node->logical = RC_AVRO_UUID;
    } else if (strcmp(logical, "decimal") == 0 && (node->type == RC_AVRO_BYTES || node->type == RC_AVRO_FIXED)) {
        const json_t *scale = json_object_get(json, "scale"), *precision = json_object_get(json, "precision");
        json_int_t s = scale ? json_integer_value(scale) : 0, digits = json_integer_value(precision);
        if ((scale && !json_is_integer(scale)) || s < 0 || s > RC_FIXED_SCALE_MAX || digits < 1 || s > digits ||
            digits > INT32_MAX)
            return;
        node->logical = RC_AVRO_DECIMAL;
        node->scale = (unsigned)s;
        node->precision = (unsigned)digits;
    }
}

static struct rc_avro_node *parse_union(struct parser *p, const json_t *json, const char *namespace,
                                        const struct place *at, int depth) {
    struct rc_avro_node *node = add_node(p, RC_AVRO_UNION);
    if (json_array_size(json) == 0)
        return refuse(p, at, "a union has no branches");
    node->branches = rc_calloc(json_array_size(json), sizeof *node->branches);
    const json_t *branch;
    size_t i;
    json_array_foreach(json, i, branch) {
        const struct place here = {.up = at, .index = i};
        const struct rc_avro_node *of = parse(p, branch, namespace, &here, depth + 1);
        if (!of)
            return NULL;
        if (of->type == RC_AVRO_UNION)
            return refuse(p, &here, "a union stands directly in a union");
        for (size_t k = 0; k < node->n_branches; k++)
            if (node->branches[k]->type == of->type && (!of->name || strcmp(node->branches[k]->name, of->name) == 0))
                return refuse(p, &here, "a union has two branches of the same type");
        node->branches[node->n_branches++] = of;
    }
    return node;
}

static struct rc_avro_node *parse_complex(struct parser *p, const json_t *json, const char *type, const char *namespace,
                                          const struct place *at, int depth) {
    struct rc_avro_node *node = NULL;
    if (strcmp(type, "array") == 0 || strcmp(type, "map") == 0) {
        const char *key = type[0] == 'a' ? "items" : "values";
        node = add_node(p, type[0] == 'a' ? RC_AVRO_ARRAY : RC_AVRO_MAP);
        const struct place inside = {.up = at, .key = key};
        const json_t *items = json_object_get(json, key);
        if (!items)
            return refuse(p, at, "type %s has no \"%s\"", type, key);
        node->items = parse(p, items, namespace, &inside, depth + 1);
        return node->items ? node : NULL;
    }

    rc_status status = RC_OK;
    char *inner = NULL;
    if (strcmp(type, "record") == 0 || strcmp(type, "error") == 0) {
        node = add_node(p, RC_AVRO_RECORD);
        status = parse_naming(p, json, namespace, at, node, &inner);
        if (status == RC_OK)
            status = parse_fields(p, json, inner, at, node, depth);
    } else if (strcmp(type, "enum") == 0) {
        node = add_node(p, RC_AVRO_ENUM);
        status = parse_naming(p, json, namespace, at, node, &inner);
        if (status == RC_OK)
            status = parse_symbols(p, json, at, node);
    } else if (strcmp(type, "fixed") == 0) {
        node = add_node(p, RC_AVRO_FIXED);
        status = parse_naming(p, json, namespace, at, node, &inner);
        const json_t *size = json_object_get(json, "size");
        if (status == RC_OK &&
            (!json_is_integer(size) || json_integer_value(size) < 0 || json_integer_value(size) > FIXED_SIZE_MAX)) {
            refuse(p, at, "fixed %s has no \"size\" of 0 to %lld bytes", node->name, (long long)FIXED_SIZE_MAX);
            status = RC_FAIL;
        }
        node->size = (size_t)json_integer_value(size);
        parse_logical(json, node);
    } else {
        node = parse_name(p, type, namespace, at);
        if (node && !node->name) /* a primitive: a node of its own, so it may carry a logical type */
            parse_logical(json, node);
    }
    free(inner);
    return status == RC_OK ? node : NULL;
}

static struct rc_avro_node *parse(struct parser *p, const json_t *json, const char *namespace, const struct place *at,
                                  int depth) {
    if (depth > DEPTH_MAX)
        return refuse(p, at, "nested deeper than %d", DEPTH_MAX);
    if (json_is_string(json))
        return parse_name(p, json_string_value(json), namespace, at);
    if (json_is_array(json))
        return parse_union(p, json, namespace, at, depth);
    if (!json_is_object(json))
        return refuse(p, at, "a schema is a name, an object or an array");
    const json_t *type = json_object_get(json, "type");
    if (json_is_string(type))
        return parse_complex(p, json, json_string_value(type), namespace, at, depth);
    if (!type)
        return refuse(p, at, "\"type\" is missing");
    const struct place inside = {.up = at, .key = "type"};
    return parse(p, type, namespace, &inside, depth + 1);
}

rc_status rc_avro_schema_new(const char *text, struct rc_avro_schema **out, struct rc_error *err) {
    json_error_t why;
    json_t *json = json_loads(text, JSON_DECODE_ANY, &why);
    if (!json)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "Avro schema is no JSON: line %d, column %d: %s",
                            why.line, why.column, why.text);
    struct rc_avro_schema *schema = rc_calloc(1, sizeof *schema);
    schema->json = json;
    struct parser p = {.schema = schema, .err = err};
    schema->root = parse(&p, json, NULL, NULL, 0);
    if (!schema->root) {
        rc_avro_schema_free(schema);
        return RC_FAIL;
    }
    *out = schema;
    return RC_OK;
}

void rc_avro_schema_free(struct rc_avro_schema *schema) {
    if (!schema)
        return;
    for (size_t i = 0; i < schema->n_nodes; i++) {
        struct rc_avro_node *node = schema->nodes[i];
        for (size_t k = 0; node->fields && k <= node->n_fields; k++) /* one more: the field at which parsing failed */
            free(node->fields[k].aliases);
        for (size_t k = 0; k < node->n_aliases; k++)
            free(node->aliases[k]);
        free(node->aliases);
        free(node->fields);
        free(node->symbols);
        free(node->branches);
        free(node->name);
        free(node);
    }
    free(schema->nodes);
    json_decref(schema->json);
    free(schema);
}

const struct rc_avro_node *rc_avro_schema_root(const struct rc_avro_schema *schema) {
    return schema->root;
}

size_t rc_avro_schema_nodes(const struct rc_avro_schema *schema) {
    return schema->n_nodes;
}

const char *rc_avro_describe(const struct rc_avro_node *node, char *scratch, size_t size) {
    switch (node->type) {
    case RC_AVRO_RECORD: snprintf(scratch, size, "record %s", node->name); return scratch;
    case RC_AVRO_ENUM: snprintf(scratch, size, "enum %s", node->name); return scratch;
    case RC_AVRO_FIXED: snprintf(scratch, size, "fixed %s", node->name); return scratch;
    case RC_AVRO_ARRAY: return "array";
    case RC_AVRO_MAP: return "map";
    case RC_AVRO_UNION: {
        size_t n = (size_t)snprintf(scratch, size, "union of ");
        for (size_t i = 0; i < node->n_branches && n < size; i++) {
            char one[128];
            const char *between = i == 0 ? "" : i + 1 == node->n_branches ? " and " : ", ";
            n += (size_t)snprintf(scratch + n, size - n, "%s%s", between,
                                  rc_avro_describe(node->branches[i], one, sizeof one));
        }
        return scratch;
    }
    default: return primitives[node->type];
    }
}

int rc_avro_field_index(const struct rc_avro_node *record, struct rc_span name) {
    for (size_t i = 0; i < record->n_fields; i++)
        if (rc_span_equal(rc_span_str(record->fields[i].name), name))
            return (int)i;
    return -1;
}
