#include "producers/schema.h"

#include <string.h>

/* Collects named types, so that a later mention by name alone is understood. Both the simple and the full name are entered. */
static void collect(json_t *named, json_t *schema, const char *outer) {
    size_t i;
    json_t *item;
    if (json_is_array(schema)) {
        json_array_foreach(schema, i, item) collect(named, item, outer);
        return;
    }
    if (!json_is_object(schema))
        return;
    const char *name = json_string_value(json_object_get(schema, "name"));
    const char *space = json_string_value(json_object_get(schema, "namespace"));
    if (!space)
        space = outer;
    if (name) {
        json_object_set(named, name, schema);
        if (space && !strchr(name, '.')) {
            json_t *full = json_sprintf("%s.%s", space, name);
            json_object_set(named, json_string_value(full), schema);
            json_decref(full);
        }
    }
    json_array_foreach(json_object_get(schema, "fields"), i, item) collect(named, json_object_get(item, "type"), space);
    collect(named, json_object_get(schema, "items"), space);
    collect(named, json_object_get(schema, "values"), space);
    if (!json_is_string(json_object_get(schema, "type")))
        collect(named, json_object_get(schema, "type"), space);
}

rc_status rc_schema_init(struct rc_schema *schema, const char *text, const char *name, struct rc_error *err) {
    json_error_t at;
    json_t *root = json_loads(text, JSON_DECODE_ANY, &at);
    if (!root)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "%s: the Avro schema is not JSON: %s (line %d)", name,
                            at.text, at.line);
    schema->root = root;
    schema->named = json_object();
    collect(schema->named, root, NULL);
    return RC_OK;
}

void rc_schema_deinit(struct rc_schema *schema) {
    json_decref(schema->root);
    json_decref(schema->named);
    *schema = (struct rc_schema){0};
}

/* Resolves names and unions until a type of its own is there: an object, or the name of a primitive. */
static const json_t *settle(const struct rc_schema *schema, const json_t *type) {
    for (int depth = 0; type && depth < 64; depth++) {
        if (json_is_array(type)) {
            const json_t *branch = NULL;
            for (size_t i = 0; i < json_array_size(type) && !branch; i++) {
                const json_t *item = json_array_get(type, i);
                const char *word =
                    json_is_object(item) ? json_string_value(json_object_get(item, "type")) : json_string_value(item);
                if (!word || strcmp(word, "null"))
                    branch = item;
            }
            type = branch;
        } else if (json_is_string(type)) {
            const json_t *found = json_object_get(schema->named, json_string_value(type));
            if (!found)
                return type;
            type = found;
        } else if (json_is_object(type) && !json_is_string(json_object_get(type, "type"))) {
            type = json_object_get(type, "type");
        } else if (json_is_object(type) &&
                   json_object_get(schema->named, json_string_value(json_object_get(type, "type")))) {
            type = json_object_get(type, "type");
        } else {
            return type;
        }
    }
    return NULL;
}

static const char *word_of(const json_t *type) {
    return json_is_object(type) ? json_string_value(json_object_get(type, "type")) : json_string_value(type);
}

static enum rc_schema_kind kind_of(const json_t *type) {
    const char *word = word_of(type);
    const char *logical = json_is_object(type) ? json_string_value(json_object_get(type, "logicalType")) : NULL;
    if (!word)
        return RC_SCHEMA_NONE;
    if (!strcmp(word, "long") && logical) {
        if (!strcmp(logical, "timestamp-millis") || !strcmp(logical, "local-timestamp-millis"))
            return RC_SCHEMA_MILLIS;
        if (!strcmp(logical, "timestamp-micros") || !strcmp(logical, "local-timestamp-micros"))
            return RC_SCHEMA_MICROS;
    }
    if (!strcmp(word, "int") || !strcmp(word, "long"))
        return RC_SCHEMA_INTEGER;
    if (!strcmp(word, "float") || !strcmp(word, "double"))
        return RC_SCHEMA_NUMBER;
    if (!strcmp(word, "boolean"))
        return RC_SCHEMA_BOOLEAN;
    if (!strcmp(word, "string") || !strcmp(word, "enum") || !strcmp(word, "bytes") || !strcmp(word, "fixed"))
        return RC_SCHEMA_TEXT;
    return RC_SCHEMA_NONE;
}

enum rc_schema_kind rc_schema_at(const struct rc_schema *schema, char *const *names, size_t n, bool *arrays) {
    const json_t *type = settle(schema, schema->root);
    for (size_t i = 0; i < n; i++) {
        const char *word = type ? word_of(type) : NULL;
        const json_t *next = NULL;
        if (word && !strcmp(word, "record")) {
            size_t k;
            json_t *field;
            json_array_foreach(json_object_get(type, "fields"), k, field) {
                const char *name = json_string_value(json_object_get(field, "name"));
                if (name && !strcmp(name, names[i]))
                    next = json_object_get(field, "type");
            }
        } else if (word && !strcmp(word, "map")) {
            next = json_object_get(type, "values");
        }
        type = settle(schema, next);
        arrays[i] = false;
        word = type ? word_of(type) : NULL;
        if (word && !strcmp(word, "array")) {
            arrays[i] = true;
            type = settle(schema, json_object_get(type, "items"));
        }
    }
    return type ? kind_of(type) : RC_SCHEMA_NONE;
}
