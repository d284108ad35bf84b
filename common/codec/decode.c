/* A decoder: the limits that hold for every record, framing, and the choice of codec. */
#include "codec/decode.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "codec/avro_plan.h"
#include "codec/decode_json.h"
#include "codec/framing.h"
#include "codec/registry.h"

/* What was made of a writer schema. */
struct writer {
    int32_t id;
    struct rc_avro_schema *schema; /* owned; NULL: it is no Avro schema */
    struct rc_avro_plan *plan;     /* owned */
};

struct rc_decoder {
    const struct rc_dataset *dataset;
    struct rc_decoder_options options;
    struct rc_projection *projection;
    struct rc_avro_schema *reader; /* owned; NULL: none */
    struct rc_avro_plan *plain;    /* the plan for plain framing; owned */
    struct writer *writers;        /* owned; ids are few, the one met last stands first */
    size_t n_writers, writers_capacity;
    enum rc_reason reason;
};

static rc_status check_source(const struct rc_decoder *d, const struct rc_source *source, const char *key,
                              struct rc_error *err) {
    if (source->kind == RC_SOURCE_PATH && rc_avro_check_path(d->reader, NULL, &source->path, err) != RC_OK)
        return rc_error_prefix(err, "%s", key);
    for (size_t i = 0; source->kind == RC_SOURCE_FIRST_OF && i < source->n_options; i++)
        if (check_source(d, &source->options[i], key, err) != RC_OK)
            return RC_FAIL;
    return RC_OK;
}

/* Every path must be possible in the reader schema. */
static rc_status check_paths(const struct rc_decoder *d, struct rc_error *err) {
    const struct rc_dataset *dataset = d->dataset;
    if (check_source(d, &dataset->person_namespace, "person.namespace", err) != RC_OK ||
        check_source(d, &dataset->person_id, "person.id", err) != RC_OK ||
        check_source(d, &dataset->timestamp, "timestamp", err) != RC_OK ||
        (dataset->has_event_id && check_source(d, &dataset->event_id, "event_id", err) != RC_OK))
        return RC_FAIL;
    for (size_t e = 0; e < dataset->n_elements; e++)
        if (rc_avro_check_path(d->reader, NULL, &dataset->elements[e].path, err) != RC_OK)
            return rc_error_prefix(err, "elements %s", dataset->elements[e].name);
    for (size_t f = 0; f < dataset->n_fields; f++) {
        const struct rc_field *field = &dataset->fields[f];
        const struct rc_path *from = field->element == RC_NO_ELEMENT ? NULL : &dataset->elements[field->element].path;
        if (rc_avro_check_path(d->reader, from, &field->path, err) != RC_OK)
            return rc_error_prefix(err, "field %s", field->name);
    }
    return RC_OK;
}

static rc_status compile_avro(struct rc_decoder *d, struct rc_error *err) {
    const struct rc_dataset *dataset = d->dataset;
    const char *file = dataset->schema_file ? dataset->schema_file : "schema";
    if (dataset->schema) {
        if (rc_avro_schema_new(dataset->schema, &d->reader, err) != RC_OK)
            return rc_error_prefix(err, "dataset %s: %s", dataset->id, file);
        if (check_paths(d, err) != RC_OK)
            return rc_error_prefix(err, "dataset %s: %s", dataset->id, file);
    }
    if (dataset->framing == RC_FRAMING_PLAIN) {
        if (!d->reader)
            return rc_error_set(
                err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                "dataset %s: format avro with plain framing needs \"schema\": the records do not name theirs",
                dataset->id);
        d->plain = rc_avro_plan_new(d->reader, d->reader, rc_projection_wanted(d->projection));
    } else if (!d->options.registry) {
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                            "dataset %s: framing confluent needs the configuration key registry.url", dataset->id);
    }
    return RC_OK;
}

rc_status rc_decoder_new(const struct rc_dataset *dataset, const struct rc_decoder_options *options,
                         struct rc_decoder **out, struct rc_error *err) {
    struct rc_decoder *d = rc_calloc(1, sizeof *d);
    d->dataset = dataset;
    d->options = *options;
    d->projection = rc_projection_new(dataset, options);
    if (dataset->format == RC_FORMAT_AVRO && !options->as_json && compile_avro(d, err) != RC_OK) {
        rc_decoder_free(d);
        return RC_FAIL;
    }
    *out = d;
    return RC_OK;
}

void rc_decoder_free(struct rc_decoder *d) {
    if (!d)
        return;
    rc_projection_free(d->projection);
    rc_avro_plan_free(d->plain);
    for (size_t i = 0; i < d->n_writers; i++) {
        rc_avro_plan_free(d->writers[i].plan);
        rc_avro_schema_free(d->writers[i].schema);
    }
    free(d->writers);
    rc_avro_schema_free(d->reader);
    free(d);
}

/* The plan for writer schema `id`: RC_DECODED with `*out`, RC_BAD or RC_AGAIN. */
static enum rc_decoded find_plan(struct rc_decoder *d, int32_t id, const struct rc_avro_plan **out,
                                 struct rc_error *err) {
    for (size_t i = 0; i < d->n_writers; i++) {
        if (d->writers[i].id != id)
            continue;
        struct writer found = d->writers[i];
        if (i) {
            d->writers[i] = d->writers[0];
            d->writers[0] = found;
        }
        if (!found.schema)
            return rc_refuse(&d->reason, RC_REASON_WRONG_SCHEMA_ID, err,
                             "schema %" PRId32 " of the registry is no Avro schema", id);
        *out = found.plan;
        return RC_DECODED;
    }

    const char *text;
    struct rc_error why = {0};
    if (rc_registry_schema(d->options.registry, id, &text, &why) != RC_OK) {
        if (why.class == RC_CLASS_POISON)
            return rc_refuse(&d->reason, RC_REASON_WRONG_SCHEMA_ID, err, "%s", why.message);
        if (err)
            *err = why;
        return RC_AGAIN;
    }
    struct writer made = {.id = id};
    if (rc_avro_schema_new(text, &made.schema, &why) == RC_OK)
        made.plan = rc_avro_plan_new(made.schema, d->reader, rc_projection_wanted(d->projection));
    rc_grow(&d->writers, &d->writers_capacity, d->n_writers + 1, sizeof *d->writers);
    d->writers[d->n_writers++] = made;
    if (!made.schema)
        return rc_refuse(&d->reason, RC_REASON_WRONG_SCHEMA_ID, err, "schema %" PRId32 " of the registry: %s", id,
                         why.message);
    *out = made.plan;
    return RC_DECODED;
}

static enum rc_decoded read_avro(struct rc_decoder *d, struct rc_span value, struct rc_arena *arena,
                                 struct rc_error *err) {
    const struct rc_avro_plan *plan = d->plain;
    if (d->dataset->framing == RC_FRAMING_CONFLUENT) {
        int32_t id;
        if (rc_framing_take(&value, &id) != RC_OK)
            return rc_refuse(&d->reason, RC_REASON_BROKEN_FRAMING, err,
                             "%zu bytes that do not begin with 0 and a schema id", value.len);
        enum rc_decoded found = find_plan(d, id, &plan, err);
        if (found != RC_DECODED)
            return found;
    }
    return rc_avro_plan_run(plan, value, d->projection, arena, &d->reason, err);
}

enum rc_decoded rc_decode(struct rc_decoder *d, const struct rc_record *record, struct rc_arena *arena,
                          struct rc_event *out, struct rc_error *err) {
    if (record->null_value)
        return RC_IGNORED;
    if (d->options.max_record_bytes && !record->from_file && record->value.len > d->options.max_record_bytes)
        return rc_refuse(&d->reason, RC_REASON_TOO_LARGE, err, "%zu bytes, at most %zu are allowed", record->value.len,
                         d->options.max_record_bytes);
    rc_projection_begin(d->projection, record, arena);
    enum rc_decoded read = d->dataset->format == RC_FORMAT_JSON || d->options.as_json
                               ? rc_decode_json(d->projection, record->value, arena, &d->reason, err)
                               : read_avro(d, record->value, arena, err);
    if (read != RC_DECODED)
        return read;
    return rc_projection_end(d->projection, out, &d->reason, err);
}

enum rc_reason rc_decoder_reason(const struct rc_decoder *d) {
    return d->reason;
}

uint64_t rc_decoder_no_values(const struct rc_decoder *d) {
    return rc_projection_no_values(d->projection);
}
