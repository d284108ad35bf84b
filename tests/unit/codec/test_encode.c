/* The encoder, held against avro-c's reader; and the way back through rc_avro_to_json. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <avro.h>
#include <stdlib.h>
#include <string.h>

#include "codec/avro_json.h"
#include "codec/encode.h"

static struct rc_encoder *encoder_of(const char *schema) {
    struct rc_encoder *encoder;
    struct rc_error err;
    if (rc_encoder_new(schema, "test", &encoder, &err) != RC_OK)
        fail_msg("%s", err.message);
    return encoder;
}

static rc_status encode(const char *schema, const char *value, struct rc_buf *out, struct rc_error *err) {
    struct rc_encoder *encoder = encoder_of(schema);
    json_t *json = json_loads(value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert_non_null(json);
    rc_status status = rc_encode(encoder, json, out, err);
    json_decref(json);
    rc_encoder_free(encoder);
    return status;
}

/* Encodes; reads it with our own way back (`again`: compact JSON) and, when `by_avro_c` is set, with avro-c's (its JSON form). */
static void check(const char *schema, const char *value, const char *again, const char *by_avro_c) {
    struct rc_buf out;
    struct rc_error err;
    rc_buf_init(&out, 100000);
    if (encode(schema, value, &out, &err) != RC_OK)
        fail_msg("%s: %s", value, err.message);

    struct rc_avro_schema *parsed;
    json_t *json;
    struct rc_span in = rc_buf_span(&out);
    assert_int_equal(rc_avro_schema_new(schema, &parsed, NULL), RC_OK);
    if (rc_avro_to_json(parsed, &in, &json, &err) != RC_OK)
        fail_msg("%s: back: %s", value, err.message);
    assert_int_equal(in.len, 0);
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_string_equal(text, again ? again : value);
    free(text);
    json_decref(json);
    rc_avro_schema_free(parsed);

    if (by_avro_c) {
        avro_schema_t theirs;
        if (avro_schema_from_json_length(schema, strlen(schema), &theirs) != 0)
            fail_msg("avro-c: %s", avro_strerror());
        avro_value_iface_t *iface = avro_generic_class_from_schema(theirs);
        avro_value_t record;
        avro_generic_value_new(iface, &record);
        avro_reader_t reader = avro_reader_memory(out.data ? out.data : "", (int64_t)out.len);
        assert_int_equal(avro_value_read(reader, &record), 0);
        char *shown;
        assert_int_equal(avro_value_to_json(&record, 1, &shown), 0);
        assert_string_equal(shown, by_avro_c);
        free(shown);
        avro_reader_free(reader);
        avro_value_decref(&record);
        avro_value_iface_decref(iface);
        avro_schema_decref(theirs);
    }
    rc_buf_deinit(&out);
}

static void refused(const char *schema, const char *value, const char *message) {
    struct rc_buf out;
    struct rc_error err = {0};
    rc_buf_init(&out, 100000);
    rc_buf_add_str(&out, "before");
    assert_int_equal(encode(schema, value, &out, &err), RC_FAIL);
    if (strcmp(err.message, message) != 0)
        fail_msg("%s\n  says   %s\n  wanted %s", value, err.message, message);
    assert_int_equal(err.class, RC_CLASS_POISON);
    assert_int_equal(err.exit_code, RC_EXIT_DATA);
    assert_int_equal(out.len, 6);
    rc_buf_deinit(&out);
}

static void primitives(void **state) {
    (void)state;
    check("\"null\"", "null", NULL, "null");
    check("\"boolean\"", "true", NULL, "true");
    check("\"boolean\"", "false", NULL, "false");
    check("\"int\"", "-2147483648", NULL, "-2147483648");
    check("\"int\"", "2147483647", NULL, "2147483647");
    check("\"long\"", "-9223372036854775808", NULL, "-9223372036854775808");
    check("\"long\"", "9223372036854775807", NULL, "9223372036854775807");
    check("\"float\"", "0.5", NULL, "0.5");
    check("\"double\"", "0.25", NULL, "0.25");
    check("\"double\"", "3", "3.0", "3.0");
    check("\"double\"", "\"NaN\"", NULL, NULL);
    check("\"double\"", "\"-Infinity\"", NULL, NULL);
    check("\"float\"", "\"Infinity\"", NULL, NULL);
    check("\"string\"", "\"\"", NULL, "\"\"");
    check("\"string\"", "\"é\\u0000x\"", NULL, NULL);
    check("\"bytes\"", "\"\\u0001ÿa\"", NULL, "\"\\u0001\\u00FFa\"");
    check("{\"type\": \"fixed\", \"name\": \"f\", \"size\": 2}", "\"ab\"", NULL, "\"ab\"");
    check("{\"type\": \"enum\", \"name\": \"e\", \"symbols\": [\"A\", \"B\"]}", "\"B\"", NULL, "\"B\"");
    refused("\"int\"", "2147483648", "test: the record: 2147483648 does not fit into an int of 32 bits");
    refused("\"int\"", "1.0", "test: the record: found a number with a fraction or exponent where int is wanted");
    refused("\"long\"", "\"1\"", "test: the record: found text where long is wanted");
    refused("\"string\"", "1", "test: the record: found an integer where string is wanted");
    refused("\"boolean\"", "null", "test: the record: found null where boolean is wanted");
    refused("\"bytes\"", "\"€\"", "test: the record: bytes are wanted: text of code points 0 to 255");
    refused("\"double\"", "\"nan\"", "test: the record: found text where double is wanted");
    refused("{\"type\": \"fixed\", \"name\": \"f\", \"size\": 2}", "\"abc\"",
            "test: the record: found 3 bytes where 2 are wanted");
    refused("{\"type\": \"enum\", \"name\": \"e\", \"symbols\": [\"view\", \"buy\"]}", "\"veiw\"",
            "test: the record: \"veiw\" is no symbol of e; did you mean \"view\"?");
}

static void logical_types(void **state) {
    (void)state;
    static const char ms[] = "{\"type\": \"long\", \"logicalType\": \"timestamp-millis\"}",
                      us[] = "{\"type\": \"long\", \"logicalType\": \"timestamp-micros\"}",
                      money[] = "{\"type\": \"bytes\", \"logicalType\": \"decimal\", \"precision\": 9, \"scale\": 2}",
                      small[] = "{\"type\": \"fixed\", \"name\": \"m\", \"size\": 4, \"logicalType\": \"decimal\", "
                                "\"precision\": 9, \"scale\": 2}",
                      id[] = "{\"type\": \"fixed\", \"name\": \"u\", \"size\": 16, \"logicalType\": \"uuid\"}";
    check(ms, "1700000000123", NULL, "1700000000123");
    check(ms, "\"1970-01-01T00:00:01.5Z\"", "1500", "1500");
    check(us, "\"1970-01-01T00:00:01.5Z\"", "1500000", "1500000");
    check(money, "12.5", "\"12.50\"", "\"\\u0004\\u00E2\"");
    check(money, "\"-0.01\"", NULL, "\"\\u00FF\"");
    check(money, "3", "\"3.00\"", NULL);
    check(money, "0.1", "\"0.10\"", NULL);
    check(small, "-1", "\"-1.00\"", "\"\\u00FF\\u00FF\\u00FF\\u009C\"");
    check(id, "\"00112233-4455-6677-8899-AABBCCddeeff\"", "\"00112233-4455-6677-8899-aabbccddeeff\"", NULL);
    check("{\"type\": \"string\", \"logicalType\": \"uuid\"}", "\"any text\"", NULL, NULL);
    check("{\"type\": \"int\", \"logicalType\": \"date\"}", "19000", NULL, "19000");
    refused(ms, "\"yesterday\"", "test: the record: found text that is no RFC 3339 time with an offset");
    refused(money, "0.001", "test: the record: found what is no decimal of 9 digits with 2 places");
    refused(money, "\"12345678.00\"", "test: the record: found what is no decimal of 9 digits with 2 places");
    refused(money, "true", "test: the record: found a boolean where bytes (decimal) is wanted");
    refused(id, "\"x\"", "test: the record: found text that is no uuid");
}

static const char order[] =
    "{\"type\": \"record\", \"name\": \"Order\", \"namespace\": \"shop\", \"fields\": ["
    " {\"name\": \"id\", \"type\": \"string\"},"
    " {\"name\": \"note\", \"type\": [\"null\", \"string\"]},"
    " {\"name\": \"kind\", \"type\": {\"type\": \"enum\", \"name\": \"Kind\", \"symbols\": [\"web\", \"shop\"]}, "
    "\"default\": \"web\"},"
    " {\"name\": \"items\", \"type\": {\"type\": \"array\", \"items\": {\"type\": \"record\", \"name\": \"Item\", "
    "\"fields\": ["
    "   {\"name\": \"sku\", \"type\": \"string\"}, {\"name\": \"price\", \"type\": [\"null\", \"double\", \"long\"], "
    "\"default\": null}]}},"
    "   \"default\": []},"
    " {\"name\": \"tags\", \"type\": {\"type\": \"map\", \"values\": \"int\"}, \"default\": {\"x\": 1}}]}";

static void records(void **state) {
    (void)state;
    check(order, "{\"id\": \"o1\"}", "{\"id\":\"o1\",\"note\":null,\"kind\":\"web\",\"items\":[],\"tags\":{\"x\":1}}",
          "{\"id\": \"o1\", \"note\": null, \"kind\": \"web\", \"items\": [], \"tags\": {\"x\": 1}}");
    check(
        order,
        "{\"tags\": {}, \"id\": \"o\", \"note\": \"n\", \"items\": [{\"sku\": \"A\", \"price\": 2}, {\"sku\": \"B\"}]}",
        "{\"id\":\"o\",\"note\":\"n\",\"kind\":\"web\",\"items\":[{\"sku\":\"A\",\"price\":2.0},{\"sku\":\"B\","
        "\"price\":null}],\"tags\":{}}",
        "{\"id\": \"o\", \"note\": {\"string\": \"n\"}, \"kind\": \"web\", \"items\": [{\"sku\": \"A\", \"price\": "
        "{\"double\": 2.0}}, "
        "{\"sku\": \"B\", \"price\": null}], \"tags\": {}}");
    refused(order, "{}", "test: id: no value, and the schema has no default");
    refused(order, "{\"id\": \"o\", \"items\": [{\"sku\": \"A\"}, {\"sku\": 5}]}",
            "test: items[1].sku: found an integer where string is wanted");
    refused(order, "{\"id\": \"o\", \"itms\": []}",
            "test: the record: shop.Order has no field \"itms\"; did you mean \"items\"?");
    refused(order, "{\"id\": \"o\", \"tags\": {\"a\": \"x\"}}", "test: tags.a: found text where int is wanted");
    refused(order, "[]", "test: the record: found an array where record shop.Order is wanted");
    refused(order, "{\"id\": \"o\", \"items\": {}}", "test: items: found an object where array is wanted");
}

static void unions(void **state) {
    (void)state;
    static const char wide[] = "[\"null\", \"int\", \"string\", {\"type\": \"map\", \"values\": \"int\"}, {\"type\": "
                               "\"record\", \"name\": \"a.R\","
                               " \"fields\": [{\"name\": \"x\", \"type\": \"int\"}]}]";
    check(wide, "null", NULL, "null");
    check(wide, "5", NULL, "{\"int\": 5}");
    check(wide, "\"s\"", NULL, "{\"string\": \"s\"}");
    check(wide, "{\"x\":5}", NULL, "{\"map\": {\"x\": 5}}");
    check(wide, "{\"a.R\": {\"x\": 5}}", "{\"x\":5}", NULL);
    check(wide, "{\"string\": \"s\"}", "\"s\"", NULL);
    refused(wide, "true",
            "test: the record: found a boolean where union of null, int, string, map and record a.R is wanted");
    refused("[\"null\", \"int\"]", "3000000000", "test: the record: 3000000000 does not fit into an int of 32 bits");
    refused("[\"null\", \"int\"]", "{\"int\": \"x\"}", "test: the record: found text where int is wanted");
}

static void recursion(void **state) {
    (void)state;
    static const char list[] =
        "{\"type\": \"record\", \"name\": \"List\", \"fields\": [{\"name\": \"v\", \"type\": \"int\"},"
        " {\"name\": \"next\", \"type\": [\"null\", \"List\"], \"default\": null}]}";
    check(list, "{\"v\": 1, \"next\": {\"v\": 2}}", "{\"v\":1,\"next\":{\"v\":2,\"next\":null}}",
          "{\"v\": 1, \"next\": {\"List\": {\"v\": 2, \"next\": null}}}");
}

static void no_schema(void **state) {
    (void)state;
    static const struct {
        const char *schema, *message;
    } cases[] = {
        {"", "test: Avro schema is no JSON: "},
        {"\"Strin\"", "test: Avro schema: there is no type \"Strin\""},
        {"{}", "test: Avro schema: \"type\" is missing"},
        {"5", "test: Avro schema: a schema is a name"},
        {"[]", "test: Avro schema: a union has no branches"},
        {"[\"int\", \"int\"]", "test: Avro schema at [1]: a union has two branches of the same type"},
        {"[\"int\", [\"null\"]]", "test: Avro schema at [1]: a union stands directly in a union"},
        {"{\"type\": \"array\"}", "test: Avro schema: type array has no \"items\""},
        {"{\"type\": \"record\", \"fields\": []}", "test: Avro schema: \"name\" is missing"},
        {"{\"type\": \"record\", \"name\": \"a b\", \"fields\": []}",
         "test: Avro schema: \"name\" is missing or no Avro name"},
        {"{\"type\": \"record\", \"name\": \"R\"}", "test: Avro schema: record R has no array \"fields\""},
        {"{\"type\": \"record\", \"name\": \"R\", \"fields\": [{\"name\": \"a\", \"type\": \"int\"}, {\"name\": \"b\", "
         "\"type\": [\"null\", \"X\"]}]}",
         "test: Avro schema at fields[1].type[1]: there is no type \"X\""},
        {"{\"type\": \"record\", \"name\": \"R\", \"fields\": [{\"name\": \"a\", \"type\": \"int\"}, {\"name\": \"a\", "
         "\"type\": \"int\"}]}",
         "test: Avro schema at fields[1]: field \"a\" stands twice"},
        {"{\"type\": \"record\", \"name\": \"R\", \"fields\": [{\"name\": \"a\"}]}",
         "test: Avro schema at fields[0]: field \"a\" has no \"type\""},
        {"{\"type\": \"enum\", \"name\": \"E\", \"symbols\": []}", "test: Avro schema: enum E has no \"symbols\""},
        {"{\"type\": \"fixed\", \"name\": \"F\", \"size\": -1}", "test: Avro schema: fixed F has no \"size\""},
        {"[{\"type\": \"fixed\", \"name\": \"F\", \"size\": 1}, {\"type\": \"fixed\", \"name\": \"F\", \"size\": 2}]",
         "test: Avro schema at [1]: type \"F\" is defined twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rc_encoder *encoder = NULL;
        struct rc_error err;
        assert_int_equal(rc_encoder_new(cases[i].schema, "test", &encoder, &err), RC_FAIL);
        if (strncmp(err.message, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("%s says %s", cases[i].schema, err.message);
        assert_int_equal(err.exit_code, RC_EXIT_CONFIG);
        assert_null(encoder);
    }
}

static void a_full_buffer(void **state) {
    (void)state;
    struct rc_buf out;
    struct rc_error err;
    rc_buf_init(&out, 4);
    assert_int_equal(encode("[\"null\", \"string\"]", "\"too long\"", &out, &err), RC_FAIL);
    assert_string_equal(err.message, "test: the record takes more than 4 bytes");
    assert_int_equal(encode("[\"null\", \"string\"]", "\"ok\"", &out, &err), RC_OK);
    rc_buf_deinit(&out);
}

static void what_is_no_datum(void **state) {
    (void)state;
    static const struct {
        const char *schema;
        struct rc_span datum;
        const char *message;
    } cases[] = {
        {"\"string\"",
         {"\x06"
          "ab",
          3},
         "the text goes beyond the record's end"},
        {"\"string\"", {"\x02\xff", 2}, "the text is not UTF-8"},
        {"\"boolean\"", {"\2", 1}, "no boolean"},
        {"\"int\"", {"\x80\x80\x80\x80\x20", 5}, "an int of more than 32 bits"},
        {"\"long\"", {"\x80", 1}, "the record ends inside an integer"},
        {"[\"null\"]", {"\2", 1}, "no branch of the union"},
        {"{\"type\": \"array\", \"items\": \"null\"}",
         {"\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 9},
         "an impossible number of items"},
        {"{\"type\": \"record\", \"name\": \"R\", \"fields\": [{\"name\": \"a\", \"type\": {\"type\": \"array\", "
         "\"items\": \"int\"}}]}",
         {"\x04\x02", 2},
         "a[1]: the record ends inside an integer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rc_avro_schema *schema;
        json_t *json = NULL;
        struct rc_error err;
        struct rc_span in = cases[i].datum;
        assert_int_equal(rc_avro_schema_new(cases[i].schema, &schema, NULL), RC_OK);
        assert_int_equal(rc_avro_to_json(schema, &in, &json, &err), RC_FAIL);
        if (strncmp(err.message, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("%s says %s", cases[i].schema, err.message);
        assert_null(json);
        assert_int_equal(in.len, cases[i].datum.len);
        rc_avro_schema_free(schema);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(primitives),    cmocka_unit_test(logical_types),    cmocka_unit_test(records),
        cmocka_unit_test(unions),        cmocka_unit_test(recursion),        cmocka_unit_test(no_schema),
        cmocka_unit_test(a_full_buffer), cmocka_unit_test(what_is_no_datum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
