/* For the tests of decoding: a dataset from its JSON (as much of it as decoding needs, unchecked: common/segment does that), and an event
 * as one line of text. */
#ifndef RC_TESTS_UNIT_CODEC_SUPPORT_H
#define RC_TESTS_UNIT_CODEC_SUPPORT_H

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "codec/decode.h"

static inline struct rc_path test_path(const char *text) {
    struct rc_path path = {.text = rc_strdup(text)};
    char *name = rc_alloc(strlen(text) + 1);
    size_t n = 0;
    for (const char *c = text;; c++) {
        if (*c == '.' || *c == '\0') {
            name[n] = '\0';
            path.names = rc_realloc(path.names, (path.n + 1) * sizeof *path.names);
            path.names[path.n++] = rc_strdup(name);
            n = 0;
            if (!*c)
                break;
        } else {
            if (c[0] == '\\' && c[1] == '.')
                c++;
            name[n++] = *c;
        }
    }
    free(name);
    return path;
}

static inline void test_path_free(struct rc_path *path) {
    for (size_t i = 0; i < path->n; i++)
        free(path->names[i]);
    free(path->names);
    free(path->text);
}

static inline struct rc_source test_source(const json_t *json) {
    struct rc_source source = {0};
    const json_t *first_of = json_object_get(json, "first_of"), *kafka = json_object_get(json, "kafka"), *option;
    size_t i;
    if (json_is_string(json)) {
        source.kind = RC_SOURCE_CONSTANT;
        source.text = rc_strdup(json_string_value(json));
    } else if (first_of) {
        source.kind = RC_SOURCE_FIRST_OF;
        source.options = rc_calloc(json_array_size(first_of), sizeof *source.options);
        json_array_foreach(first_of, i, option) source.options[source.n_options++] = test_source(option);
    } else if (json_is_object(kafka)) {
        source.kind = RC_SOURCE_HEADER;
        source.text = rc_strdup(json_string_value(json_object_get(kafka, "header")));
    } else if (kafka) {
        source.kind = strcmp(json_string_value(kafka), "key") == 0 ? RC_SOURCE_KEY : RC_SOURCE_TIMESTAMP;
    } else {
        source.kind = RC_SOURCE_PATH;
        source.path = test_path(json_string_value(json_object_get(json, "path")));
    }
    return source;
}

static inline void test_source_free(struct rc_source *source) {
    free(source->text);
    if (source->kind == RC_SOURCE_PATH)
        test_path_free(&source->path);
    for (size_t i = 0; i < source->n_options; i++)
        test_source_free(&source->options[i]);
    free(source->options);
}

static inline void test_fields(struct rc_dataset *dataset, const json_t *fields, int element) {
    const char *name;
    json_t *json;
    json_object_foreach((json_t *)fields, name, json) {
        dataset->fields = rc_realloc(dataset->fields, (dataset->n_fields + 1) * sizeof *dataset->fields);
        struct rc_field *field = &dataset->fields[dataset->n_fields++];
        const char *type = json_string_value(json_object_get(json, "type"));
        const char *on_bad = json_string_value(json_object_get(json, "on_bad"));
        const json_t *min = json_object_get(json, "min");
        char full[128];
        snprintf(full, sizeof full, "%s%s%s", element >= 0 ? dataset->elements[element].name : "",
                 element >= 0 ? "." : "", name);
        *field = (struct rc_field){.name = rc_strdup(full), .element = element, .bad_is_none = on_bad != NULL};
        field->path = test_path(json_string_value(json_object_get(json, "path")));
        field->type = type[0] == 's'   ? RC_STRING
                      : type[0] == 'l' ? RC_LONG
                      : type[0] == 'b' ? RC_BOOLEAN
                      : type[1] == 'o' ? RC_DOUBLE
                                       : RC_DECIMAL;
        field->has_min = min != NULL;
        field->min = json_integer_value(min) * (field->type == RC_LONG ? 1 : RC_FIXED_SCALE);
    }
}

/* Owned by the caller. */
static inline struct rc_dataset *test_dataset(const char *text) {
    json_error_t why;
    json_t *json = json_loads(text, 0, &why);
    if (!json) {
        fprintf(stderr, "test dataset: %s at %d\n", why.text, why.position);
        abort();
    }
    struct rc_dataset *d = rc_calloc(1, sizeof *d);
    const json_t *person = json_object_get(json, "person"), *timestamp = json_object_get(json, "timestamp");
    const json_t *event_id = json_object_get(json, "event_id"), *elements = json_object_get(json, "elements");
    const json_t *schema = json_object_get(json, "schema");
    const char *unit = json_string_value(json_object_get(timestamp, "unit"));
    const char *format = json_string_value(json_object_get(json, "format"));
    d->id = rc_strdup("web");
    d->topic = rc_strdup("web.events");
    d->format = format && strcmp(format, "avro") == 0 ? RC_FORMAT_AVRO : RC_FORMAT_JSON;
    d->framing = json_object_get(json, "framing") ? RC_FRAMING_CONFLUENT : RC_FRAMING_PLAIN;
    d->schema = schema ? json_dumps(schema, JSON_ENCODE_ANY) : NULL;
    d->schema_file = rc_strdup("event.avsc");
    d->person_namespace = test_source(json_object_get(person, "namespace"));
    d->person_id = test_source(json_object_get(person, "id"));
    d->timestamp = test_source(timestamp);
    d->timestamp_unit = !unit || strcmp(unit, "ms") == 0 ? RC_UNIT_MS
                        : strcmp(unit, "s") == 0         ? RC_UNIT_S
                        : strcmp(unit, "us") == 0        ? RC_UNIT_US
                                                         : RC_UNIT_RFC3339;
    d->has_event_id = event_id != NULL;
    if (event_id)
        d->event_id = test_source(event_id);
    test_fields(d, json_object_get(json, "fields"), RC_NO_ELEMENT);
    const char *name;
    json_t *element;
    json_object_foreach((json_t *)elements, name, element) {
        d->elements = rc_realloc(d->elements, (d->n_elements + 1) * sizeof *d->elements);
        d->elements[d->n_elements].name = rc_strdup(name);
        d->elements[d->n_elements++].path = test_path(json_string_value(json_object_get(element, "path")));
        test_fields(d, json_object_get(element, "fields"), (int)d->n_elements - 1);
    }
    json_decref(json);
    return d;
}

static inline void test_dataset_free(struct rc_dataset *d) {
    test_source_free(&d->person_namespace);
    test_source_free(&d->person_id);
    test_source_free(&d->timestamp);
    if (d->has_event_id)
        test_source_free(&d->event_id);
    for (size_t i = 0; i < d->n_fields; i++) {
        free(d->fields[i].name);
        test_path_free(&d->fields[i].path);
    }
    for (size_t i = 0; i < d->n_elements; i++) {
        free(d->elements[i].name);
        test_path_free(&d->elements[i].path);
    }
    free(d->fields);
    free(d->elements);
    free(d->id);
    free(d->topic);
    free(d->schema);
    free(d->schema_file);
    free(d);
}

static inline void test_add_values(struct rc_buf *out, const struct rc_field *field, const struct rc_values *values) {
    for (uint32_t i = 0; i < values->n; i++) {
        if (i)
            rc_buf_add_byte(out, ',');
        if (field->type == RC_STRING)
            rc_buf_add_json_string(out, values->values[i].string);
        else
            rc_buf_printf(out, "%" PRId64, values->values[i].number);
    }
}

/* `ecid:p1 @1000 #e1 type="view" qty=1,2 items{sku="A"|sku="B"}`; fields without values are left out. */
static inline void test_add_event(struct rc_buf *out, const struct rc_dataset *d, const struct rc_event *event) {
    rc_buf_add_span(out, event->namespace);
    rc_buf_add_byte(out, ':');
    rc_buf_add_span(out, event->person_id);
    rc_buf_printf(out, " @%" PRId64 " #", event->timestamp_ms);
    rc_buf_add_span(out, event->event_id);
    for (size_t f = 0; f < d->n_fields; f++) {
        const struct rc_field *field = &d->fields[f];
        if (event->fields[f].n == 0)
            continue;
        rc_buf_printf(out, " %s=", field->name);
        test_add_values(out, field, &event->fields[f]);
        if (field->element == RC_NO_ELEMENT)
            continue;
        rc_buf_add_str(out, "{");
        for (uint32_t k = 0; k < event->n_elements[field->element]; k++) {
            if (k)
                rc_buf_add_byte(out, '|');
            test_add_values(out, field, &event->cells[f][k]);
        }
        rc_buf_add_str(out, "}");
    }
    for (size_t e = 0; e < d->n_elements; e++)
        rc_buf_printf(out, " %s*%" PRIu32, d->elements[e].name, event->n_elements[e]);
}

/* What becomes of a record, as a line: the event, "ignored", "bad: <message>" or "again: <message>". In `line`, a static buffer. */
static inline const char *test_decode(struct rc_decoder *decoder, const struct rc_dataset *d,
                                      const struct rc_record *record) {
    static char line[8192];
    struct rc_arena arena;
    struct rc_buf out;
    struct rc_event event;
    struct rc_error err = {0};
    rc_arena_init(&arena, 4096);
    rc_buf_init(&out, sizeof line - 1);
    switch (rc_decode(decoder, record, &arena, &event, &err)) {
    case RC_DECODED: test_add_event(&out, d, &event); break;
    case RC_IGNORED: rc_buf_add_str(&out, "ignored"); break;
    case RC_BAD: rc_buf_printf(&out, "bad: %s", err.message); break;
    case RC_AGAIN: rc_buf_printf(&out, "again: %s", err.message); break;
    }
    snprintf(line, sizeof line, "%s", out.data ? out.data : "");
    rc_buf_deinit(&out);
    rc_arena_deinit(&arena);
    return line;
}

#endif
