/* Rows of files to the records that a dataset's definition describes.
 *
 * Owns: which column goes to which path and type, the form of timestamps, JSON or Avro on the outside. Pure: no I/O, no clock. Must
 * not know where rows come from or records go to. The mistake that it prevents: a text that looks like a number becoming one
 * because it looks so; the dataset's field types, or the Avro schema, alone decide.
 *
 * A CSV column belongs, in this order: to the path that the dataset names so (a source's or a field's), to the field of that name, to the
 * path that its name spells. On a JSON topic columns that no definition names stay text; on an Avro topic the schema says what
 * a column is, and columns that it does not have are left out. An empty cell is no value. */
#ifndef RC_PRODUCERS_CONVERT_H
#define RC_PRODUCERS_CONVERT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"
#include "codec/dataset.h"
#include "codec/files.h"
#include "codec/framing.h"

struct rc_converter;

struct rc_converter_options {
    const struct rc_timezone *zone; /* of local times without an offset; NULL: the dataset's */
    int32_t schema_id;              /* of confluent framing, else RC_FRAMING_NO_ID */
};

/* `dataset` is borrowed for the converter's life. Fails (FATAL, exit 78) on an Avro dataset without a usable schema, and (USAGE) when person or
 * event id come from the Kafka record alone, which files do not have. */
rc_status rc_converter_new(const struct rc_dataset *dataset, const struct rc_converter_options *options,
                           struct rc_converter **out, struct rc_error *err) RC_MUST_USE;
void rc_converter_free(struct rc_converter *converter);

/* Whether `row.raw` may be sent as it is when it decodes: JSONL to a JSON topic, Avro of the very schema (`file_schema`) to a plain Avro
 * topic. */
bool rc_converter_takes_raw(struct rc_converter *converter, enum rc_file_format format, const char *file_schema);

/* A row as a tree in the dataset's shape: CSV texts typed and put under their paths, times in the dataset's form (local ones made
 * absolute). `*out` owned by the caller (json_decref). POISON, with column or path, on a text that its type does not take. */
rc_status rc_convert_row(struct rc_converter *converter, enum rc_file_format format, const struct rc_file_record *row,
                         json_t **out, struct rc_error *err) RC_MUST_USE;

/* Writes another time into the tree, where the dataset reads it. Fails when there is no value to be replaced. */
rc_status rc_convert_time(const struct rc_converter *converter, json_t *tree, int64_t at_ms, struct rc_error *err)
    RC_MUST_USE;

/* What a written time can say at its coarsest: RC_UNIT_S when one of the places is in seconds. For struct rc_timing. */
enum rc_time_unit rc_converter_unit(const struct rc_converter *converter);

/* Whether the dataset's timestamps stand in the record at all (not in Kafka's own timestamp only). */
bool rc_converter_has_time(const struct rc_converter *converter);

/* Appends the tree as a record's value: JSON text, or an Avro datum with its framing. */
rc_status rc_convert_value(const struct rc_converter *converter, const json_t *tree, struct rc_buf *out,
                           struct rc_error *err) RC_MUST_USE;

/* Names of columns seen so far that go nowhere (Avro); each is returned once, then NULL. Borrowed for the converter's life. */
const char *rc_converter_unused_column(struct rc_converter *converter);

#endif
