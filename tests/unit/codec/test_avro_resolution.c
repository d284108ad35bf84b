/* Writer schema against reader schema: Avro's rules, as far as an event can show them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/avro_plan.h"
#include "codec/encode.h"
#include "support.h"

#define PERSON                                                                                                     \
    "\"person\": {\"namespace\": \"n\", \"id\": {\"kafka\": \"key\"}}, \"timestamp\": {\"kafka\": \"timestamp\"}," \
    " \"event_id\": {\"kafka\": \"key\"}"

/* Encodes `json` by `writer`, decodes it with `reader` (NULL: none) for a dataset with these fields; the event without its head. */
static const char *resolve(const char *writer, const char *reader, const char *dataset, const char *json) {
    static char line[4096];
    struct rc_error err;
    struct rc_encoder *encoder;
    struct rc_avro_schema *w = NULL, *r = NULL;
    struct rc_buf datum;
    char text[4096];
    snprintf(text, sizeof text, "{" PERSON ", %s}", dataset);
    struct rc_dataset *d = test_dataset(text);
    json_t *value = json_loads(json, 0, NULL);
    rc_buf_init(&datum, 100000);
    assert_non_null(value);
    if (rc_encoder_new(writer, "writer", &encoder, &err) != RC_OK || rc_encode(encoder, value, &datum, &err) != RC_OK ||
        rc_avro_schema_new(writer, &w, &err) != RC_OK || (reader && rc_avro_schema_new(reader, &r, &err) != RC_OK))
        fail_msg("%s", err.message);

    const struct rc_decoder_options options = {.max_ahead_ms = -1};
    const struct rc_record record = {.value = rc_buf_span(&datum), .key = {"p", 1}, .timestamp_ms = 1};
    struct rc_projection *projection = rc_projection_new(d, &options);
    struct rc_avro_plan *plan = rc_avro_plan_new(w, r, rc_projection_wanted(projection));
    struct rc_arena arena;
    struct rc_event event;
    struct rc_buf out;
    enum rc_reason reason;
    rc_arena_init(&arena, 4096);
    rc_buf_init(&out, sizeof line - 1);
    rc_projection_begin(projection, &record, &arena);
    enum rc_decoded decoded = rc_avro_plan_run(plan, record.value, projection, &arena, &reason, &err);
    if (decoded == RC_DECODED)
        decoded = rc_projection_end(projection, &event, &reason, &err);
    if (decoded == RC_DECODED) {
        test_add_event(&out, d, &event);
        snprintf(line, sizeof line, "%s", out.data + strlen("n:p @1 #p"));
    } else {
        snprintf(line, sizeof line, "%s", err.message);
    }
    rc_buf_deinit(&out);
    rc_arena_deinit(&arena);
    rc_avro_plan_free(plan);
    rc_projection_free(projection);
    rc_avro_schema_free(w);
    rc_avro_schema_free(r);
    rc_encoder_free(encoder);
    rc_buf_deinit(&datum);
    json_decref(value);
    test_dataset_free(d);
    return line;
}

#define RECORD(fields) "{\"type\": \"record\", \"name\": \"R\", \"fields\": [" fields "]}"
#define FIELD(name, type) "{\"name\": \"" name "\", \"type\": " type "}"
#define DEFAULT(name, type, value) "{\"name\": \"" name "\", \"type\": " type ", \"default\": " value "}"
#define X(type) "\"fields\": {\"x\": {\"path\": \"x\", \"type\": \"" type "\"}}"

/* One field x, written and read with these types. */
static void check(const char *written, const char *read, const char *type, const char *value, const char *wanted) {
    char writer[1024], reader[1024], dataset[256], json[512];
    snprintf(writer, sizeof writer, RECORD("{\"name\": \"x\", \"type\": %s}"), written);
    snprintf(reader, sizeof reader, RECORD("{\"name\": \"x\", \"type\": %s}"), read);
    snprintf(dataset, sizeof dataset, "\"fields\": {\"x\": {\"path\": \"x\", \"type\": \"%s\"}}", type);
    snprintf(json, sizeof json, "{\"x\": %s}", value);
    const char *line = resolve(writer, reader, dataset, json);
    if (strcmp(line, wanted) != 0)
        fail_msg("%s as %s: %s gives %s, wanted %s", written, read, value, line, wanted);
}

#define INT "\"int\""
#define LONG "\"long\""
#define FLOAT "\"float\""
#define DOUBLE "\"double\""
#define STRING "\"string\""
#define BYTES "\"bytes\""
#define MISMATCH(w, r) "schema mismatch: written as " w ", read as " r ", at byte 0"

static void promotion(void **state) {
    (void)state;
    check(INT, LONG, "long", "5", " x=5");
    check(INT, FLOAT, "double", "16777217", " x=16777216000000");
    check(INT, DOUBLE, "double", "16777217", " x=16777217000000");
    check(LONG, FLOAT, "double", "16777217", " x=16777216000000");
    check(LONG, DOUBLE, "double", "8999999999999", " x=8999999999999000000");
    check(LONG, DOUBLE, "long", "5",
          "bad value: field x (path x): found a number with a fraction or exponent where long is wanted");
    check(FLOAT, DOUBLE, "double", "0.1", " x=100000");
    check(STRING, BYTES, "string", "\"a\"",
          "bad value: field x (path x): found bytes that are no text where string is wanted");
    check(BYTES, STRING, "string", "\"a\"", " x=\"a\"");
    check(LONG, INT, "long", "5", MISMATCH("long", "int"));
    check(DOUBLE, FLOAT, "double", "5", MISMATCH("double", "float"));
    check(STRING, LONG, "long", "\"a\"", MISMATCH("string", "long"));
    check("\"boolean\"", INT, "long", "true", MISMATCH("boolean", "int"));
    check(INT, "{\"type\": \"array\", \"items\": \"int\"}", "long", "5", MISMATCH("int", "array"));
}

static void logical_types(void **state) {
    (void)state;
    static const char writer[] =
        RECORD("{\"name\": \"ts\", \"type\": {\"type\": \"long\", \"logicalType\": \"timestamp-micros\"}}"),
                      reader[] = RECORD(
                          "{\"name\": \"ts\", \"type\": {\"type\": \"long\", \"logicalType\": \"timestamp-millis\"}}");
    static const char dataset[] = "\"fields\": {\"ts\": {\"path\": \"ts\", \"type\": \"long\"}}";
    assert_string_equal(resolve(writer, reader, dataset, "{\"ts\": 1500}"), " ts=1500");
    static const char money[] = "{\"type\": \"bytes\", \"logicalType\": \"decimal\", \"precision\": 9, \"scale\": 2}";
    check(money, money, "decimal", "\"1.25\"", " x=1250000");
    check(money, "{\"type\": \"bytes\", \"logicalType\": \"decimal\", \"precision\": 9, \"scale\": 4}", "decimal",
          "\"1.25\"", " x=1250000");
    check(money, BYTES, "decimal", "\"1.25\"",
          "bad value: field x (path x): found bytes that are no text where decimal is wanted");
    check(
        "{\"type\": \"bytes\", \"logicalType\": \"decimal\", \"precision\": 2, \"scale\": 4}", BYTES, "decimal",
        "\"a\"",
        "bad value: field x (path x): found bytes that are no text where decimal is wanted"); /* void: more places than digits */
}

static void unions(void **state) {
    (void)state;
    check("[\"null\", \"int\"]", LONG, "long", "5", " x=5");
    check("[\"null\", \"int\"]", LONG, "long", "null", "schema mismatch: written as null, read as long, at byte 1");
    check(INT, "[\"null\", \"long\"]", "long", "5", " x=5");
    check(INT, "[\"null\", \"double\", \"int\"]", "long", "5",
          " x=5"); /* the same type comes before one that it promotes to */
    check("[\"string\", \"int\"]", "[\"int\", \"string\"]", "string", "\"s\"", " x=\"s\"");
    check("[\"string\", \"int\"]", "[\"null\", \"string\"]", "string", "\"s\"", " x=\"s\"");
    check("[\"string\", \"int\"]", "[\"null\", \"string\"]", "string", "5",
          "schema mismatch: written as int, read as union of null and string, at byte 1");
    static const char two[] =
        "[{\"type\": \"record\", \"name\": \"a.A\", \"fields\": [{\"name\": \"v\", \"type\": \"int\"}]},"
        " {\"type\": \"record\", \"name\": \"a.B\", \"fields\": [{\"name\": \"w\", \"type\": \"int\"}]}]";
    static const char swapped[] =
        "[{\"type\": \"record\", \"name\": \"z.B\", \"fields\": [{\"name\": \"w\", \"type\": \"long\"}]},"
        " {\"type\": \"record\", \"name\": \"N\", \"aliases\": [\"a.A\"], \"fields\": [{\"name\": \"v\", \"type\": "
        "\"long\"}]}]";
    char writer[1024], reader[1024];
    snprintf(writer, sizeof writer, RECORD("{\"name\": \"x\", \"type\": %s}"), two);
    snprintf(reader, sizeof reader, RECORD("{\"name\": \"x\", \"type\": %s}"), swapped);
    static const char dataset[] =
        "\"fields\": {\"v\": {\"path\": \"x.v\", \"type\": \"long\"}, \"w\": {\"path\": \"x.w\", \"type\": \"long\"}}";
    assert_string_equal(resolve(writer, reader, dataset, "{\"x\": {\"v\": 1}}"), " v=1");
    assert_string_equal(resolve(writer, reader, dataset, "{\"x\": {\"w\": 2}}"), " w=2");
}

static void enums(void **state) {
    (void)state;
    check("{\"type\": \"enum\", \"name\": \"E\", \"symbols\": [\"A\", \"B\"]}",
          "{\"type\": \"enum\", \"name\": \"E\", \"symbols\": [\"B\", \"A\"]}", "string", "\"A\"", " x=\"A\"");
    check("{\"type\": \"enum\", \"name\": \"E\", \"symbols\": [\"A\", \"B\"]}",
          "{\"type\": \"enum\", \"name\": \"E\", \"symbols\": [\"B\"]}", "string", "\"A\"",
          "schema mismatch: enum E as read has neither the symbol written nor a default, at byte 1");
    check("{\"type\": \"enum\", \"name\": \"E\", \"symbols\": [\"A\", \"B\"]}",
          "{\"type\": \"enum\", \"name\": \"E\", \"symbols\": [\"B\", \"other\"], \"default\": \"other\"}", "string",
          "\"A\"", " x=\"other\"");
    check("{\"type\": \"fixed\", \"name\": \"F\", \"size\": 2}", "{\"type\": \"fixed\", \"name\": \"F\", \"size\": 3}",
          "string", "\"ab\"", "schema mismatch: written as fixed F, read as fixed F: of another size, at byte 0");
}

static void records(void **state) {
    (void)state;
    static const char writer[] =
        RECORD(FIELD("gone", "{\"type\": \"map\", \"values\": [\"null\", \"string\"]}") ", " FIELD("b", INT) ", " FIELD(
            "old", STRING) ", " FIELD("a", INT));
    static const char reader[] = RECORD(
        FIELD("a", LONG) ", {\"name\": \"new\", \"aliases\": [\"older\", \"old\"], \"type\": \"string\"}, " DEFAULT(
            "added", "[\"null\", \"int\"]", "null") ", " DEFAULT("more", INT, "7") ", " FIELD("b", DOUBLE));
    static const char dataset[] =
        "\"fields\": {\"a\": {\"path\": \"a\", \"type\": \"long\"}, \"b\": {\"path\": \"b\", \"type\": \"decimal\"},"
        " \"new\": {\"path\": \"new\", \"type\": \"string\"}, \"added\": {\"path\": \"added\", \"type\": \"long\"},"
        " \"more\": {\"path\": \"more\", \"type\": \"long\"}}";
    assert_string_equal(
        resolve(writer, reader, dataset, "{\"gone\": {\"k\": \"v\", \"l\": null}, \"b\": 2, \"old\": \"o\", \"a\": 1}"),
        " a=1 b=2000000 new=\"o\" more=7");
    assert_string_equal(
        resolve(RECORD(FIELD("a", INT)), RECORD(FIELD("a", INT) ", " FIELD("b", INT)), X("long"), "{\"a\": 1}"),
        "schema mismatch: written as record R, read as record R: the writer has no field \"b\", which has no default, "
        "at byte 0");
    /* what nobody wants must resolve as well */
    assert_string_equal(resolve(RECORD(FIELD("a", INT) ", " FIELD("x", LONG)),
                                RECORD(FIELD("a", STRING) ", " FIELD("x", LONG)), X("long"), "{\"a\": 1, \"x\": 2}"),
                        "schema mismatch: written as int, read as string, at byte 0");
    /* without a reader schema the writer's names count */
    assert_string_equal(resolve(RECORD(FIELD("a", INT) ", " FIELD("x", LONG)), NULL, X("long"), "{\"a\": 1, \"x\": 2}"),
                        " x=2");
    assert_string_equal(resolve(RECORD(FIELD("a", INT)), NULL, X("long"), "{\"a\": 1}"), "");
}

static void defaults(void **state) {
    (void)state;
    static const char item[] = "{\"type\": \"record\", \"name\": \"I\", \"fields\": [{\"name\": \"s\", \"type\": "
                               "\"string\", \"default\": \"none\"},"
                               " {\"name\": \"q\", \"type\": \"int\"}]}";
    char reader[2048];
    snprintf(
        reader, sizeof reader,
        RECORD(FIELD(
            "a",
            INT) ", {\"name\": \"items\", \"type\": {\"type\": \"array\", \"items\": %s}, \"default\": [{\"s\": \"A\", "
                 "\"q\": 1},"
                 " {\"q\": 2}]}, " DEFAULT(
                     "d",
                     "{\"type\": \"bytes\", \"logicalType\": \"decimal\", \"precision\": 9,"
                     " \"scale\": 2}",
                     "\"\\u00ff\"") ", " DEFAULT("m",
                                                 "{\"type\": \"map\","
                                                 " \"values\": \"boolean\"}",
                                                 "{\"k\": true}") ", " DEFAULT("f", FLOAT,
                                                                               "0.5") ", " DEFAULT("n",
                                                                                                   "{\"type\": "
                                                                                                   "\"record\", "
                                                                                                   "\"name\": \"N\", "
                                                                                                   "\"fields\": "
                                                                                                   "[{\"name\": \"v\", "
                                                                                                   "\"type\": "
                                                                                                   "\"long\"}]}",
                                                                                                   "{\"v\": 9}")),
        item);
    static const char dataset[] = "\"fields\": {\"d\": {\"path\": \"d\", \"type\": \"decimal\"}, \"k\": {\"path\": "
                                  "\"m.k\", \"type\": \"boolean\"},"
                                  " \"f\": {\"path\": \"f\", \"type\": \"double\"}, \"v\": {\"path\": \"n.v\", "
                                  "\"type\": \"long\"}, \"all\": {\"path\": \"items.s\", \"type\": \"string\"}},"
                                  " \"elements\": {\"items\": {\"path\": \"items\", \"fields\": {\"s\": {\"path\": "
                                  "\"s\", \"type\": \"string\"}, \"q\": {\"path\": \"q\", \"type\": \"long\"}}}}";
    assert_string_equal(resolve(RECORD(FIELD("a", INT)), reader, dataset, "{\"a\": 1}"),
                        " d=-10000 k=1 f=500000 v=9 all=\"A\",\"none\" items.s=\"A\",\"none\"{\"A\"|\"none\"} "
                        "items.q=1,2{1|2} items*2");
    /* a field that the writer's items lack, inside elements */
    static const char writer[] = RECORD(
        "{\"name\": \"items\", \"type\": {\"type\": \"array\", \"items\": {\"type\": \"record\", \"name\": \"I\","
        " \"fields\": [{\"name\": \"q\", \"type\": \"int\"}]}}}");
    snprintf(reader, sizeof reader, RECORD("{\"name\": \"items\", \"type\": {\"type\": \"array\", \"items\": %s}}"),
             item);
    static const char small[] =
        "\"elements\": {\"items\": {\"path\": \"items\", \"fields\": {\"s\": {\"path\": \"s\", \"type\": \"string\"},"
        " \"q\": {\"path\": \"q\", \"type\": \"long\"}}}}";
    assert_string_equal(resolve(writer, reader, small, "{\"items\": [{\"q\": 1}, {\"q\": 2}]}"),
                        " items.s=\"none\",\"none\"{\"none\"|\"none\"} items.q=1,2{1|2} items*2");
}

static void recursive_schemas(void **state) {
    (void)state;
    static const char writer[] =
        "{\"type\": \"record\", \"name\": \"T\", \"fields\": [{\"name\": \"x\", \"type\": \"int\"},"
        " {\"name\": \"next\", \"type\": [\"null\", \"T\"], \"default\": null}]}";
    static const char reader[] = "{\"type\": \"record\", \"name\": \"T\", \"fields\": [{\"name\": \"next\", \"type\": "
                                 "[\"null\", \"T\"], \"default\": null},"
                                 " {\"name\": \"x\", \"type\": \"long\"}]}";
    static const char dataset[] = "\"fields\": {\"x\": {\"path\": \"next.next.x\", \"type\": \"long\"}}";
    static const char list[] = "{\"x\": 1, \"next\": {\"x\": 2, \"next\": {\"x\": 3, \"next\": {\"x\": 4}}}}";
    assert_string_equal(resolve(writer, reader, dataset, list), " x=3");
    assert_string_equal(resolve(writer, NULL, dataset, list), " x=3");
    static const char narrow[] =
        "{\"type\": \"record\", \"name\": \"T\", \"fields\": [{\"name\": \"next\", \"type\": [\"null\", \"T\"]},"
        " {\"name\": \"x\", \"type\": \"string\"}]}";
    assert_string_equal(resolve(writer, narrow, "\"fields\": {}", list),
                        "schema mismatch: written as int, read as string, at byte 0");
}

static void maps(void **state) {
    (void)state;
    static const char writer[] = RECORD(
        "{\"name\": \"m\", \"type\": {\"type\": \"map\", \"values\": [\"int\", {\"type\": \"record\", \"name\": \"V\","
        " \"fields\": [{\"name\": \"s\", \"type\": \"string\"}]}]}}");
    static const char dataset[] =
        "\"fields\": {\"s\": {\"path\": \"m.a\\\\.b.s\", \"type\": \"string\"}, \"i\": {\"path\": \"m.i\", \"type\": "
        "\"long\"}},"
        " \"elements\": {\"e\": {\"path\": \"m.a\\\\.b\", \"fields\": {\"s\": {\"path\": \"s\", \"type\": "
        "\"string\"}}},"
        " \"m\": {\"path\": \"m\", \"fields\": {\"i\": {\"path\": \"i\", \"type\": \"long\"}}}}";
    assert_string_equal(resolve(writer, writer, dataset, "{\"m\": {\"z\": 1, \"a.b\": {\"s\": \"x\"}, \"i\": 5}}"),
                        " s=\"x\" i=5 e.s=\"x\"{\"x\"} m.i=5{5} e*1 m*1");
    assert_string_equal(resolve(writer, writer, dataset, "{\"m\": {\"a.b\": 5}}"),
                        "bad element: elements e (path m.a\\.b): something else than a record");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promotion),
        cmocka_unit_test(logical_types),
        cmocka_unit_test(unions),
        cmocka_unit_test(enums),
        cmocka_unit_test(records),
        cmocka_unit_test(defaults),
        cmocka_unit_test(recursive_schemas),
        cmocka_unit_test(maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
