/* Owns the reading of datasets (definitions.md §2). Must not know how records are decoded: whether a path exists in the schema is the
 * decoder's to say. The mistake that it prevents: a dataset that silently reads something else than was meant, because a key was misspelt. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "segment/definition_parse.h"

#define MAX_SOURCE_DEPTH 8
#define DEFAULT_SESSION_TIMEOUT_MS (INT64_C(30) * 60000)

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
static const char digits_and[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";

/* Splits at dots; `\.` is a dot inside a name, any other `\` is itself. */
static rc_status read_path(const struct rc_def_node *node, struct rc_path *out) {
    const char *expected = "a path: names joined by single dots (a dot inside a name is written \\\\.)", *text;
    RC_DEF_TRY(rc_def_text(node, expected, &text));
    char *name = rc_alloc(strlen(text) + 1);
    size_t len = 0, capacity = 0;
    struct rc_path path = {0};
    bool ok = true;
    for (const char *at = text;; at++) {
        if (at[0] == '\\' && at[1] == '.')
            name[len++] = *++at;
        else if (*at && *at != '.')
            name[len++] = *at;
        else {
            ok = ok && len > 0;
            rc_grow(&path.names, &capacity, path.n + 1, sizeof *path.names);
            path.names[path.n++] = rc_span_dup(rc_span_of(name, len));
            len = 0;
            if (!*at)
                break;
        }
    }
    free(name);
    if (!ok) {
        rc_def_texts_free(path.names, path.n);
        return rc_def_unexpected(node, expected);
    }
    path.text = rc_strdup(text);
    *out = path;
    return RC_OK;
}

static rc_status read_kafka(const struct rc_def_node *node, struct rc_source *out) {
    static const char *const words[] = {"key", "timestamp"};
    static const char *const keys[] = {"header"};
    if (json_is_object(node->value)) {
        struct rc_def_node header = rc_def_get(node, "header");
        const char *name;
        RC_DEF_TRY(rc_def_keys(node, keys, RC_DEF_COUNT(keys)));
        RC_DEF_TRY(rc_def_text(&header, "a header's name", &name));
        out->kind = RC_SOURCE_HEADER;
        out->text = rc_strdup(name);
        return RC_OK;
    }
    size_t index;
    if (!json_is_string(node->value))
        return rc_def_unexpected(node, "\"key\", \"timestamp\" or {\"header\": NAME}");
    RC_DEF_TRY(rc_def_choice(node, "part of a Kafka record", words, RC_DEF_COUNT(words), &index));
    out->kind = index == 0 ? RC_SOURCE_KEY : RC_SOURCE_TIMESTAMP;
    return RC_OK;
}

/* `other`: a key that may stand beside the source's own, or NULL. */
static rc_status read_source(const struct rc_def_node *node, int depth, const char *other, struct rc_source *out) {
    static const char *const forms[] = {"path", "first_of", "kafka"};
    const char *words[] = {"path", "first_of", "kafka", other};
    size_t n = 0, form = 0;
    RC_DEF_TRY(rc_def_object(node, "a source: {\"path\": …}, {\"first_of\": […]} or {\"kafka\": …}"));
    if (depth > MAX_SOURCE_DEPTH)
        return rc_def_fail(node, "first_of nested deeper than %d", MAX_SOURCE_DEPTH);
    RC_DEF_TRY(rc_def_keys(node, words, other ? 4 : 3));
    for (size_t i = 0; i < RC_DEF_COUNT(forms); i++)
        if (rc_def_has(node, forms[i]))
            form = i, n++;
    if (n != 1)
        return rc_def_fail(node, "found %s of path, first_of, kafka; expected exactly one", n ? "several" : "none");
    struct rc_def_node below = rc_def_get(node, forms[form]);
    if (form == 0) {
        out->kind = RC_SOURCE_PATH;
        return read_path(&below, &out->path);
    }
    if (form == 2)
        return read_kafka(&below, out);
    RC_DEF_TRY(rc_def_array(&below, "an array of sources"));
    size_t size = json_array_size(below.value);
    if (size == 0)
        return rc_def_unexpected(&below, "at least one source");
    out->kind = RC_SOURCE_FIRST_OF;
    out->options = rc_calloc(size, sizeof *out->options);
    out->n_options = size;
    for (size_t i = 0; i < size; i++) {
        struct rc_def_node item = rc_def_at(&below, i);
        RC_DEF_TRY(read_source(&item, depth + 1, NULL, &out->options[i]));
    }
    return RC_OK;
}

static rc_status read_person(const struct rc_def_node *node, struct rc_dataset *out) {
    static const char *const keys[] = {"namespace", "id"};
    struct rc_def_node namespace = rc_def_get(node, "namespace"), id = rc_def_get(node, "id");
    RC_DEF_TRY(rc_def_object(node, "an object with namespace and id"));
    RC_DEF_TRY(rc_def_keys(node, keys, RC_DEF_COUNT(keys)));
    if (json_is_object(namespace.value))
        RC_DEF_TRY(read_source(&namespace, 1, NULL, &out->person_namespace));
    else {
        const char *text;
        RC_DEF_TRY(rc_def_text(&namespace, "a namespace's name, or a source of it", &text));
        out->person_namespace.kind = RC_SOURCE_CONSTANT;
        out->person_namespace.text = rc_strdup(text);
    }
    if (!id.value)
        return rc_def_unexpected(&id, "a source: {\"path\": …}, {\"first_of\": […]} or {\"kafka\": …}");
    return read_source(&id, 1, NULL, &out->person_id);
}

static rc_status read_timestamp(const struct rc_def_node *node, struct rc_dataset *out) {
    static const char *const units[] = {"ms", "s", "us", "rfc3339"}; /* as enum rc_time_unit */
    size_t unit = RC_UNIT_MS;
    RC_DEF_TRY(read_source(node, 1, "unit", &out->timestamp));
    struct rc_def_node at = rc_def_get(node, "unit");
    if (at.value)
        RC_DEF_TRY(rc_def_choice(&at, "unit of time", units, RC_DEF_COUNT(units), &unit));
    out->timestamp_unit = (enum rc_time_unit)unit;
    return RC_OK;
}

/* ---- fields ---------------------------------------------------------------------------------------------------------- */

static rc_status check_name(const struct rc_def_node *node) {
    const char *name = node->key;
    if (!*name || !strchr(letters, *name) || strspn(name, digits_and) != strlen(name))
        return rc_def_fail(node, "\"%s\" is no name for a field, expected a letter, then letters, digits and _", name);
    return RC_OK;
}

static rc_status read_min(const struct rc_def_node *node, struct rc_field *out) {
    if (!rc_def_is_number(out->type))
        return rc_def_fail(node, "\"min\" is for numbers, but the field is a %s", rc_def_type_name(out->type));
    out->has_min = true;
    if (out->type != RC_LONG)
        return rc_def_fixed(node, &out->min);
    return rc_def_integer(node, INT64_MIN, INT64_MAX, &out->min);
}

/* `node` is the field's definition, its key the name; `out` has its element. */
static rc_status read_field(const struct rc_def_node *node, const char *element, struct rc_field *out) {
    static const char *const keys[] = {"path", "type", "min", "on_bad", "labels"};
    static const char *const types[] = {"string", "long", "boolean", "double", "decimal"}; /* as enum rc_type */
    static const char *const on_bad_words[] = {"no_value"};
    size_t index;
    RC_DEF_TRY(check_name(node));
    RC_DEF_TRY(rc_def_object(node, "a field: {\"path\": …, \"type\": …}"));
    RC_DEF_TRY(rc_def_keys(node, keys, RC_DEF_COUNT(keys)));
    struct rc_def_node path = rc_def_get(node, "path"), type = rc_def_get(node, "type"), min = rc_def_get(node, "min"),
                       on_bad = rc_def_get(node, "on_bad"), labels = rc_def_get(node, "labels");
    struct rc_buf name;
    rc_buf_init(&name, SIZE_MAX / 2);
    (void)rc_buf_printf(&name, "%s%s%s", element ? element : "", element ? "." : "", node->key);
    out->name = rc_span_dup(rc_buf_span(&name));
    rc_buf_deinit(&name);
    RC_DEF_TRY(read_path(&path, &out->path));
    RC_DEF_TRY(rc_def_choice(&type, "type", types, RC_DEF_COUNT(types), &index));
    out->type = (enum rc_type)index;
    if (min.value)
        RC_DEF_TRY(read_min(&min, out));
    if (on_bad.value) {
        RC_DEF_TRY(rc_def_choice(&on_bad, "word", on_bad_words, RC_DEF_COUNT(on_bad_words), &index));
        out->bad_is_none = true;
    }
    return labels.value ? rc_def_texts(&labels, "an array of data-usage labels", &out->labels, &out->n_labels) : RC_OK;
}

/* `node` is the object of fields, or nothing. */
static rc_status read_fields(const struct rc_def_node *node, int element, struct rc_dataset *out) {
    if (!node->value)
        return RC_OK;
    RC_DEF_TRY(rc_def_object(node, "an object of fields by name"));
    size_t capacity = out->n_fields;
    rc_grow(&out->fields, &capacity, out->n_fields + json_object_size(node->value), sizeof *out->fields);
    for (void *at = json_object_iter(node->value); at; at = json_object_iter_next(node->value, at)) {
        struct rc_def_node field = rc_def_get(node, json_object_iter_key(at));
        struct rc_field *to = &out->fields[out->n_fields++]; /* counted first: half-filled, it must be released */
        *to = (struct rc_field){.element = element};
        RC_DEF_TRY(read_field(&field, element == RC_NO_ELEMENT ? NULL : out->elements[element].name, to));
    }
    return RC_OK;
}

static rc_status read_elements(const struct rc_def_node *node, struct rc_dataset *out) {
    static const char *const keys[] = {"path", "fields"};
    RC_DEF_TRY(rc_def_object(node, "an object of arrays by name"));
    out->elements = rc_calloc(json_object_size(node->value), sizeof *out->elements);
    for (void *at = json_object_iter(node->value); at; at = json_object_iter_next(node->value, at)) {
        struct rc_def_node item = rc_def_get(node, json_object_iter_key(at)), path = rc_def_get(&item, "path"),
                           fields = rc_def_get(&item, "fields");
        struct rc_element *to = &out->elements[out->n_elements++];
        RC_DEF_TRY(check_name(&item));
        RC_DEF_TRY(rc_def_object(&item, "an array of elements: {\"path\": …, \"fields\": {…}}"));
        RC_DEF_TRY(rc_def_keys(&item, keys, RC_DEF_COUNT(keys)));
        to->name = rc_strdup(item.key);
        RC_DEF_TRY(read_path(&path, &to->path));
        RC_DEF_TRY(read_fields(&fields, (int)out->n_elements - 1, out));
    }
    return RC_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------- */

rc_status rc_def_topic(const struct rc_def_node *node, char **out) {
    const char *expected = "a topic's name: letters, digits, . _ -, at most 249 characters", *text;
    RC_DEF_TRY(rc_def_text(node, expected, &text));
    size_t len = strlen(text);
    if (len > 249 || strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != len ||
        strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return rc_def_unexpected(node, expected);
    *out = rc_strdup(text);
    return RC_OK;
}

static rc_status read_format(const struct rc_def_node *node, struct rc_dataset *out) {
    static const char *const formats[] = {"avro", "json"}, *const framings[] = {"plain",
                                                                                "confluent"}; /* as their enums */
    struct rc_def_node format = rc_def_get(node, "format"), framing = rc_def_get(node, "framing"),
                       schema = rc_def_get(node, "schema");
    size_t index;
    RC_DEF_TRY(rc_def_choice(&format, "format", formats, RC_DEF_COUNT(formats), &index));
    out->format = (enum rc_format)index;
    if (framing.value) {
        RC_DEF_TRY(rc_def_choice(&framing, "framing", framings, RC_DEF_COUNT(framings), &index));
        out->framing = (enum rc_framing)index;
        if (out->framing == RC_FRAMING_CONFLUENT && out->format != RC_FORMAT_AVRO)
            return rc_def_fail(&framing, "framing \"confluent\" is for format avro");
    }
    if (!schema.value)
        return out->format == RC_FORMAT_AVRO
                   ? rc_def_unexpected(&schema, "an Avro schema (a file's name, or inline), as the format is avro")
                   : RC_OK;
    /* A file's name has been replaced by its content when the definition was added. With format json it is kept, and not used. */
    if (!json_is_object(schema.value) && !json_is_array(schema.value))
        return rc_def_unexpected(&schema, "an Avro schema as an object or array (a file's name works in a file only)");
    out->schema = rc_def_write_text(schema.value, SIZE_MAX / 2);
    return RC_OK;
}

static rc_status read_times(const struct rc_def_node *node, struct rc_dataset *out) {
    struct rc_def_node timeout = rc_def_get(node, "session_timeout"), grace = rc_def_get(node, "grace"),
                       zone = rc_def_get(node, "timezone");
    const char *name = "UTC";
    out->session_timeout_ms = DEFAULT_SESSION_TIMEOUT_MS;
    if (timeout.value)
        RC_DEF_TRY(rc_def_duration(&timeout, &out->session_timeout_ms));
    if (grace.value)
        RC_DEF_TRY(rc_def_duration(&grace, &out->grace_ms));
    if (zone.value)
        RC_DEF_TRY(rc_def_text(&zone, "a time zone's name like \"Europe/Stockholm\"", &name));
    struct rc_error why;
    if (rc_timezone_load(name, &out->timezone, &why) != RC_OK)
        return rc_def_fail(&zone, "%s", why.message);
    out->timezone_name = rc_strdup(name);
    return RC_OK;
}

rc_status rc_def_dataset(const struct rc_def_node *node, struct rc_dataset *out) {
    static const char *const keys[] = {
        RC_DEF_COMMON_KEYS, "topic",    "format", "schema", "framing", "person", "timestamp", "event_id",
        "session_timeout",  "timezone", "grace",  "keyed",  "where",   "fields", "elements"};
    struct rc_def_node topic = rc_def_get(node, "topic"), person = rc_def_get(node, "person"),
                       timestamp = rc_def_get(node, "timestamp"), event_id = rc_def_get(node, "event_id"),
                       keyed = rc_def_get(node, "keyed"), fields = rc_def_get(node, "fields"),
                       elements = rc_def_get(node, "elements");
    RC_DEF_TRY(rc_def_keys(node, keys, RC_DEF_COUNT(keys)));
    RC_DEF_TRY(rc_def_common(node));
    RC_DEF_TRY(rc_def_topic(&topic, &out->topic));
    RC_DEF_TRY(read_format(node, out));
    RC_DEF_TRY(read_person(&person, out));
    RC_DEF_TRY(read_timestamp(&timestamp, out));
    out->has_event_id = event_id.value != NULL;
    if (out->has_event_id)
        RC_DEF_TRY(read_source(&event_id, 1, NULL, &out->event_id));
    RC_DEF_TRY(read_times(node, out));
    out->keyed = true;
    if (keyed.value)
        RC_DEF_TRY(rc_def_bool(&keyed, &out->keyed));
    RC_DEF_TRY(read_fields(&fields, RC_NO_ELEMENT, out));
    return elements.value ? read_elements(&elements, out) : RC_OK;
}

rc_status rc_def_dataset_where(const struct rc_def_node *node, const struct rc_catalog *catalog,
                               struct rc_dataset *out) {
    struct rc_def_node where = rc_def_get(node, "where");
    if (!where.value)
        return RC_OK;
    const struct rc_dataset *datasets[] = {out};
    struct rc_def_scope scope = {.catalog = catalog, .datasets = datasets, .n_datasets = 1};
    return rc_def_pred(&where, &scope, 1, &out->where);
}
