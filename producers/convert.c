#include "producers/convert.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/alloc.h"
#include "codec/encode.h"
#include "producers/schema.h"
#include "producers/timing.h"

enum kind {
    KIND_UNUSED,
    KIND_TEXT,
    KIND_LONG,
    KIND_NUMBER,
    KIND_BOOLEAN,
    KIND_INSTANT /* of the Avro schema's unit */
};

/* Where a value goes: the steps from the root, and which of their values are arrays in the Avro schema. */
struct place {
    char **names; /* owned */
    bool *arrays; /* owned */
    size_t n;
};

struct column {
    char *name; /* owned */
    struct place place;
    enum kind kind;
    enum rc_time_unit unit; /* INSTANT */
};

/* One of the places where the dataset finds its timestamp; the first that has a value counts. */
struct time_place {
    struct place place;
    enum rc_time_unit unit; /* as it is written there */
    bool as_text;           /* the Avro schema says string */
};

struct rc_converter {
    const struct rc_dataset *dataset;
    const struct rc_timezone *zone;
    int32_t schema_id;
    bool avro;
    struct rc_schema schema;    /* avro */
    struct rc_encoder *encoder; /* avro; owned */
    struct time_place *times;
    size_t n_times;
    bool kafka_time; /* the timestamp may come from the record's own */
    struct column *columns;
    size_t n_columns, columns_capacity;
    size_t columns_told; /* see rc_converter_unused_column */
};

static void place_deinit(struct place *place) {
    for (size_t i = 0; i < place->n; i++)
        free(place->names[i]);
    free(place->names);
    free(place->arrays);
    *place = (struct place){0};
}

static void place_push(struct place *place, const char *name, size_t len) {
    place->names = rc_realloc(place->names, (place->n + 1) * sizeof *place->names);
    place->arrays = rc_realloc(place->arrays, (place->n + 1) * sizeof *place->arrays);
    place->names[place->n] = rc_span_dup(rc_span_of(name, len));
    place->arrays[place->n++] = false;
}

static void place_push_path(struct place *place, const struct rc_path *path) {
    for (size_t i = 0; i < path->n; i++)
        place_push(place, path->names[i], strlen(path->names[i]));
}

/* Splits a text at its dots; `\.` is a dot inside a name. */
static void place_push_text(struct place *place, const char *text) {
    struct rc_buf name;
    rc_buf_init(&name, SIZE_MAX);
    for (const char *c = text;; c++) {
        if (*c == '.' || *c == '\0') {
            place_push(place, name.data, name.len);
            rc_buf_reset(&name);
            if (*c == '\0')
                break;
        } else {
            if (*c == '\\' && c[1] == '.')
                c++;
            rc_buf_add_byte(&name, (uint8_t)*c);
        }
    }
    rc_buf_deinit(&name);
}

/* ---- sources --------------------------------------------------------------------------------------------------------- */

/* Whether a file's row can fill the source. */
static bool fillable(const struct rc_source *source) {
    if (source->kind == RC_SOURCE_FIRST_OF) {
        for (size_t i = 0; i < source->n_options; i++)
            if (fillable(&source->options[i]))
                return true;
        return false;
    }
    return source->kind == RC_SOURCE_PATH || source->kind == RC_SOURCE_CONSTANT;
}

static void add_time_places(struct rc_converter *converter, const struct rc_source *source) {
    for (size_t i = 0; source->kind == RC_SOURCE_FIRST_OF && i < source->n_options; i++)
        add_time_places(converter, &source->options[i]);
    if (source->kind == RC_SOURCE_TIMESTAMP)
        converter->kafka_time = true;
    if (source->kind != RC_SOURCE_PATH)
        return;
    converter->times = rc_realloc(converter->times, (converter->n_times + 1) * sizeof *converter->times);
    struct time_place *time = &converter->times[converter->n_times++];
    *time = (struct time_place){.unit = converter->dataset->timestamp_unit};
    place_push_path(&time->place, &source->path);
    if (converter->avro) {
        enum rc_schema_kind kind =
            rc_schema_at(&converter->schema, time->place.names, time->place.n, time->place.arrays);
        if (kind == RC_SCHEMA_MILLIS)
            time->unit = RC_UNIT_MS;
        else if (kind == RC_SCHEMA_MICROS)
            time->unit = RC_UNIT_US;
        time->as_text = kind == RC_SCHEMA_TEXT;
    }
}

/* Whether some path of the source is written as `text`. */
static bool source_names(const struct rc_source *source, const char *text) {
    if (source->kind == RC_SOURCE_PATH)
        return !strcmp(source->path.text, text);
    for (size_t i = 0; source->kind == RC_SOURCE_FIRST_OF && i < source->n_options; i++)
        if (source_names(&source->options[i], text))
            return true;
    return false;
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

rc_status rc_converter_new(const struct rc_dataset *dataset, const struct rc_converter_options *options,
                           struct rc_converter **out, struct rc_error *err) {
    const struct {
        const char *what;
        const struct rc_source *source;
        bool needed;
    } sources[] = {{"person id", &dataset->person_id, true},
                   {"person namespace", &dataset->person_namespace, true},
                   {"event id", &dataset->event_id, dataset->has_event_id}};
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        if (sources[i].needed && !fillable(sources[i].source))
            return rc_error_set(
                err, RC_CLASS_FATAL, RC_EXIT_USAGE,
                "dataset %s: its %s comes from the Kafka record's key or headers, which files do not have; "
                "give the source a path as well (\"first_of\"), or send with a program of your own",
                dataset->id, sources[i].what);
    struct rc_converter *converter = rc_calloc(1, sizeof *converter);
    converter->dataset = dataset;
    converter->zone = options->zone ? options->zone : dataset->timezone;
    converter->schema_id = options->schema_id;
    converter->avro = dataset->format == RC_FORMAT_AVRO;
    if (converter->avro) {
        const char *name = dataset->schema_file ? dataset->schema_file : dataset->id;
        rc_status status = RC_OK;
        if (!dataset->schema)
            status = rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                                  "dataset %s: format avro, but no \"schema\" to write records with", dataset->id);
        if (status == RC_OK)
            status = rc_schema_init(&converter->schema, dataset->schema, name, err);
        if (status == RC_OK)
            status = rc_encoder_new(dataset->schema, name, &converter->encoder, err);
        if (status != RC_OK) {
            rc_converter_free(converter);
            return status;
        }
    }
    add_time_places(converter, &dataset->timestamp);
    *out = converter;
    return RC_OK;
}

void rc_converter_free(struct rc_converter *converter) {
    if (!converter)
        return;
    for (size_t i = 0; i < converter->n_times; i++)
        place_deinit(&converter->times[i].place);
    for (size_t i = 0; i < converter->n_columns; i++) {
        free(converter->columns[i].name);
        place_deinit(&converter->columns[i].place);
    }
    free(converter->times);
    free(converter->columns);
    rc_encoder_free(converter->encoder);
    rc_schema_deinit(&converter->schema);
    free(converter);
}

bool rc_converter_takes_raw(struct rc_converter *converter, enum rc_file_format format, const char *file_schema) {
    if (format == RC_FILE_JSONL)
        return !converter->avro;
    if (format != RC_FILE_AVRO || !converter->avro || !file_schema || converter->dataset->framing != RC_FRAMING_PLAIN)
        return false;
    json_t *schema = json_loads(file_schema, JSON_DECODE_ANY, NULL);
    bool same = schema && json_equal(schema, converter->schema.root);
    json_decref(schema);
    return same;
}

/* ---- columns --------------------------------------------------------------------------------------------------------- */

static enum kind kind_of_type(enum rc_type type) {
    switch (type) {
    case RC_LONG: return KIND_LONG;
    case RC_BOOLEAN: return KIND_BOOLEAN;
    case RC_DOUBLE:
    case RC_DECIMAL: return KIND_NUMBER;
    case RC_STRING: break;
    }
    return KIND_TEXT;
}

static void field_place(const struct rc_dataset *dataset, const struct rc_field *field, struct place *place) {
    if (field->element != RC_NO_ELEMENT)
        place_push_path(place, &dataset->elements[field->element].path);
    place_push_path(place, &field->path);
}

/* Whether the field's value lies at exactly this place. */
static bool field_is_at(const struct rc_dataset *dataset, const struct rc_field *field, const struct place *place) {
    struct place own = {0};
    field_place(dataset, field, &own);
    bool same = own.n == place->n;
    for (size_t i = 0; same && i < own.n; i++)
        same = !strcmp(own.names[i], place->names[i]);
    place_deinit(&own);
    return same;
}

static void find_column(const struct rc_converter *converter, struct column *column) {
    const struct rc_dataset *dataset = converter->dataset;
    const struct rc_field *by_path = NULL, *by_name = NULL;
    place_push_text(&column->place, column->name);
    bool time = source_names(&dataset->timestamp, column->name);
    bool source = time || source_names(&dataset->person_id, column->name) ||
                  source_names(&dataset->person_namespace, column->name) ||
                  (dataset->has_event_id && source_names(&dataset->event_id, column->name));
    for (size_t i = 0; i < dataset->n_fields; i++) {
        if (!by_path && field_is_at(dataset, &dataset->fields[i], &column->place))
            by_path = &dataset->fields[i];
        if (!strcmp(dataset->fields[i].name, column->name))
            by_name = &dataset->fields[i];
    }
    if (!source && !by_path && by_name) {
        place_deinit(&column->place);
        field_place(dataset, by_name, &column->place);
    }
    const struct rc_field *field = by_path ? by_path : source ? NULL : by_name;
    /* A time stays text until settle_time has seen it: the same texts are understood whatever type the dataset gives its field. */
    column->kind = field && !time ? kind_of_type(field->type) : KIND_TEXT;
    if (!converter->avro)
        return;
    column->unit = RC_UNIT_MS;
    switch (rc_schema_at(&converter->schema, column->place.names, column->place.n, column->place.arrays)) {
    case RC_SCHEMA_NONE: column->kind = KIND_UNUSED; break;
    case RC_SCHEMA_TEXT: column->kind = KIND_TEXT; break;
    case RC_SCHEMA_INTEGER: column->kind = KIND_LONG; break;
    case RC_SCHEMA_NUMBER: column->kind = KIND_NUMBER; break;
    case RC_SCHEMA_BOOLEAN: column->kind = KIND_BOOLEAN; break;
    case RC_SCHEMA_MILLIS: column->kind = KIND_INSTANT; break;
    case RC_SCHEMA_MICROS:
        column->kind = KIND_INSTANT;
        column->unit = RC_UNIT_US;
        break;
    }
    if (time && column->kind != KIND_UNUSED)
        column->kind = KIND_TEXT;
}

/* The column of that name; `hint` is where it most likely stands: the same place as in the row before. */
static const struct column *column_of(struct rc_converter *converter, const char *name, size_t hint) {
    if (hint < converter->n_columns && !strcmp(converter->columns[hint].name, name))
        return &converter->columns[hint];
    for (size_t i = 0; i < converter->n_columns; i++)
        if (!strcmp(converter->columns[i].name, name))
            return &converter->columns[i];
    rc_grow(&converter->columns, &converter->columns_capacity, converter->n_columns + 1, sizeof *converter->columns);
    struct column *column = &converter->columns[converter->n_columns++];
    *column = (struct column){.name = rc_strdup(name)};
    find_column(converter, column);
    return column;
}

const char *rc_converter_unused_column(struct rc_converter *converter) {
    while (converter->columns_told < converter->n_columns) {
        const struct column *column = &converter->columns[converter->columns_told++];
        if (column->kind == KIND_UNUSED)
            return column->name;
    }
    return NULL;
}

/* ---- cells ----------------------------------------------------------------------------------------------------------- */

/* JSON's grammar of a number, so that "0x10", "nan", " 5" and "+5" are none. */
static bool is_number(const char *text, bool *integer) {
    const char *c = text;
    *integer = true;
    if (*c == '-')
        c++;
    if (*c == '0')
        c++;
    else if (*c >= '1' && *c <= '9')
        c += strspn(c, "0123456789");
    else
        return *integer = false;
    if (*c == '.') {
        *integer = false;
        size_t digits = strspn(++c, "0123456789");
        if (digits == 0)
            return false;
        c += digits;
    }
    if (*c == 'e' || *c == 'E') {
        *integer = false;
        c++;
        if (*c == '+' || *c == '-')
            c++;
        size_t digits = strspn(c, "0123456789");
        if (digits == 0)
            return false;
        c += digits;
    }
    *integer = *integer && *c == '\0';
    return *c == '\0';
}

static json_t *cell_value(const struct rc_converter *converter, const struct column *column, const char *text) {
    bool integer;
    int64_t ms;
    switch (column->kind) {
    case KIND_TEXT: return json_string(text);
    case KIND_BOOLEAN:
        if (!strcasecmp(text, "true") || !strcmp(text, "1"))
            return json_true();
        if (!strcasecmp(text, "false") || !strcmp(text, "0"))
            return json_false();
        return NULL;
    case KIND_LONG:
    case KIND_NUMBER:
        if (!is_number(text, &integer) || (column->kind == KIND_LONG && !integer))
            return NULL;
        errno = 0;
        if (integer) {
            long long value = strtoll(text, NULL, 10);
            if (errno == 0)
                return json_integer(value);
            if (column->kind == KIND_LONG)
                return NULL;
            errno = 0;
        }
        double real = strtod(text, NULL);
        return json_real(real); /* NULL for an infinity: text beyond what a double holds */
    case KIND_INSTANT:
        if (is_number(text, &integer) && integer) {
            errno = 0;
            long long value = strtoll(text, NULL, 10);
            return errno == 0 ? json_integer(value) : NULL;
        }
        if (rc_timing_parse(rc_span_str(text), column->unit, converter->zone, &ms) != RC_OK)
            return NULL;
        return json_integer(column->unit == RC_UNIT_US ? ms * 1000 : ms);
    case KIND_UNUSED: break;
    }
    return NULL;
}

static const char *kind_name(enum kind kind) {
    static const char *const names[] = {[KIND_UNUSED] = "nothing",        [KIND_TEXT] = "text",
                                        [KIND_LONG] = "a 64-bit integer", [KIND_NUMBER] = "a number",
                                        [KIND_BOOLEAN] = "true or false", [KIND_INSTANT] = "a time"};
    return names[kind];
}

/* Takes `value`. False when something that is not a record already stands on the way. */
static bool put(json_t *tree, const struct place *place, json_t *value) {
    json_t *at = tree;
    for (size_t i = 0; i + 1 < place->n; i++) {
        json_t *next = json_object_get(at, place->names[i]);
        if (!next) {
            next = json_object();
            json_object_set_new(at, place->names[i], place->arrays[i] ? json_pack("[o]", next) : next);
        } else if (json_is_array(next)) {
            next = json_array_get(next, 0);
        }
        if (!json_is_object(next)) {
            json_decref(value);
            return false;
        }
        at = next;
    }
    const char *last = place->names[place->n - 1];
    if (json_object_get(at, last)) {
        json_decref(value);
        return false;
    }
    if (place->arrays[place->n - 1])
        value = json_pack("[o]", value);
    return json_object_set_new(at, last, value) == 0;
}

static rc_status convert_cells(struct rc_converter *converter, json_t *cells, json_t *tree, struct rc_error *err) {
    const char *name;
    json_t *cell;
    size_t i = 0;
    json_object_foreach(cells, name, cell) {
        const struct column *column = column_of(converter, name, i++);
        const char *text = json_string_value(cell);
        if (column->kind == KIND_UNUSED || !text || !*text)
            continue;
        json_t *value = cell_value(converter, column, text);
        if (!value)
            return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "column %s: found \"%.80s\", expected %s", name,
                                text, kind_name(column->kind));
        if (!put(tree, &column->place, value))
            return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                                "column %s: another column already stands at its path or above it", name);
    }
    return RC_OK;
}

/* ---- times ----------------------------------------------------------------------------------------------------------- */

/* The record that holds the value of `place`, or NULL. An array on the way is stepped through when it has one item. */
static json_t *holder_of(json_t *tree, const struct place *place, json_t **value) {
    json_t *at = tree;
    for (size_t i = 0; i < place->n; i++) {
        if (json_is_array(at) && json_array_size(at) == 1)
            at = json_array_get(at, 0);
        json_t *next = json_object_get(at, place->names[i]);
        if (!next)
            return NULL;
        if (i + 1 == place->n) {
            *value = next;
            return at;
        }
        at = next;
    }
    return NULL;
}

/* The first place with a value: not null, no empty text. */
static const struct time_place *time_of(const struct rc_converter *converter, json_t *tree, json_t **holder,
                                        json_t **value) {
    for (size_t i = 0; i < converter->n_times; i++) {
        *holder = holder_of(tree, &converter->times[i].place, value);
        if (*holder && !json_is_null(*value) && !(json_is_string(*value) && json_string_length(*value) == 0))
            return &converter->times[i];
    }
    return NULL;
}

static void write_time(const struct rc_converter *converter, const struct time_place *time, json_t *holder,
                       bool was_text, int64_t at_ms) {
    const char *name = time->place.names[time->place.n - 1];
    bool as_text = time->unit == RC_UNIT_RFC3339 || (converter->avro ? time->as_text : was_text);
    struct rc_buf text;
    rc_buf_init(&text, 64);
    (void)!rc_timing_write(&text, time->unit, at_ms);
    json_t *value = as_text ? json_stringn(text.data, text.len) : json_integer(strtoll(text.data, NULL, 10));
    json_object_set_new(holder, name, value);
    rc_buf_deinit(&text);
}

/* Brings a time into the form that the dataset reads; what cannot be read is left, the decoder says what is wrong with it.
 * `keep_digits`: decimal text of an integer may stay text (JSON datasets read it), else it becomes an integer. */
static void settle_time(const struct rc_converter *converter, json_t *tree, bool keep_digits) {
    json_t *holder, *value;
    const struct time_place *time = time_of(converter, tree, &holder, &value);
    if (!time || !(json_is_integer(value) || json_is_string(value)))
        return;
    char digits[24];
    struct rc_span text = rc_span_of(json_string_value(value), json_string_length(value));
    if (json_is_integer(value))
        text = rc_span_of(digits,
                          (size_t)snprintf(digits, sizeof digits, "%" JSON_INTEGER_FORMAT, json_integer_value(value)));
    bool integer = false;
    if (text.len > 0 && memchr(text.data, '\0', text.len) == NULL)
        (void)is_number(text.data, &integer);
    bool fits;
    if (converter->avro)
        fits = json_is_integer(value) && !time->as_text && time->unit != RC_UNIT_RFC3339;
    else if (time->unit == RC_UNIT_RFC3339)
        fits = json_is_string(value) && !integer;
    else
        fits = json_is_integer(value) || (keep_digits && integer);
    int64_t ms;
    if (time->unit == RC_UNIT_RFC3339 && fits)
        fits = rc_rfc3339_parse(text.data, text.len, &ms) == RC_OK;
    if (!fits && rc_timing_parse(text, time->unit, converter->zone, &ms) == RC_OK)
        write_time(converter, time, holder, false, ms);
}

rc_status rc_convert_time(const struct rc_converter *converter, json_t *tree, int64_t at_ms, struct rc_error *err) {
    json_t *holder, *value;
    const struct time_place *time = time_of(converter, tree, &holder, &value);
    if (!time)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "no timestamp in the record that could be moved");
    write_time(converter, time, holder, json_is_string(value), at_ms);
    return RC_OK;
}

enum rc_time_unit rc_converter_unit(const struct rc_converter *converter) {
    for (size_t i = 0; i < converter->n_times; i++)
        if (converter->times[i].unit == RC_UNIT_S)
            return RC_UNIT_S;
    return converter->n_times ? converter->times[0].unit : RC_UNIT_MS;
}

bool rc_converter_has_time(const struct rc_converter *converter) {
    return converter->n_times > 0 && !converter->kafka_time;
}

/* ---- rows ------------------------------------------------------------------------------------------------------------ */

rc_status rc_convert_row(struct rc_converter *converter, enum rc_file_format format, const struct rc_file_record *row,
                         json_t **out, struct rc_error *err) {
    json_t *tree;
    if (format == RC_FILE_CSV) {
        tree = json_object();
        if (convert_cells(converter, row->json, tree, err) != RC_OK) {
            json_decref(tree);
            return RC_FAIL;
        }
    } else if (format == RC_FILE_AVRO) {
        tree = json_incref(row->json);
    } else {
        json_error_t at;
        tree = json_loadb(row->raw.data, row->raw.len, 0, &at);
        if (!tree)
            return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "broken json: %s (column %d)", at.text, at.column);
    }
    if (!json_is_object(tree)) {
        json_decref(tree);
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "broken json: a record is a JSON object");
    }
    settle_time(converter, tree, format != RC_FILE_CSV);
    *out = tree;
    return RC_OK;
}

static int add_text(const char *text, size_t len, void *out) {
    return rc_buf_add(out, text, len) == RC_OK ? 0 : -1;
}

rc_status rc_convert_value(const struct rc_converter *converter, const json_t *tree, struct rc_buf *out,
                           struct rc_error *err) {
    size_t before = out->len;
    if (!converter->avro) {
        if (json_dump_callback(tree, add_text, out, JSON_COMPACT) == 0)
            return RC_OK;
        out->len = before;
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "record too large: its JSON is over %zu bytes",
                            out->limit);
    }
    if (converter->schema_id != RC_FRAMING_NO_ID && rc_framing_add(out, converter->schema_id) != RC_OK)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "record too large");
    if (rc_encode(converter->encoder, tree, out, err) != RC_OK) {
        out->len = before;
        return RC_FAIL;
    }
    return RC_OK;
}
