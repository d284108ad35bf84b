/* What becomes of Avro records, plainly framed; the JSON side's rules are tested in test_decode_json.c and shared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/avro_plan.h"
#include "codec/encode.h"
#include "support.h"

static const char schema[] =
    "{\"type\": \"record\", \"name\": \"Event\", \"fields\": ["
    " {\"name\": \"eid\", \"type\": \"string\"},"
    " {\"name\": \"skip1\", \"type\": [\"null\", \"bytes\"], \"default\": null},"
    " {\"name\": \"ts\", \"type\": [\"null\", {\"type\": \"long\", \"logicalType\": \"timestamp-micros\"}, "
    "\"string\"], \"default\": null},"
    " {\"name\": \"person\", \"type\": [\"null\", {\"type\": \"record\", \"name\": \"Person\", \"fields\": ["
    "   {\"name\": \"ns\", \"type\": {\"type\": \"enum\", \"name\": \"Ns\", \"symbols\": [\"ecid\", \"email\"]}},"
    "   {\"name\": \"id\", \"type\": [\"string\", \"long\", {\"type\": \"fixed\", \"name\": \"Uuid\", \"size\": 16, "
    "\"logicalType\": \"uuid\"}]}]}],"
    "   \"default\": null},"
    " {\"name\": \"ids\", \"type\": {\"type\": \"map\", \"values\": {\"type\": \"array\", \"items\": \"string\"}}, "
    "\"default\": {}},"
    " {\"name\": \"i\", \"type\": [\"null\", \"int\"], \"default\": null},"
    " {\"name\": \"l\", \"type\": [\"null\", \"long\"], \"default\": null},"
    " {\"name\": \"f\", \"type\": [\"null\", \"float\"], \"default\": null},"
    " {\"name\": \"d\", \"type\": [\"null\", \"double\"], \"default\": null},"
    " {\"name\": \"b\", \"type\": [\"null\", \"boolean\"], \"default\": null},"
    " {\"name\": \"raw\", \"type\": [\"null\", \"bytes\"], \"default\": null},"
    " {\"name\": \"money\", \"type\": [\"null\", {\"type\": \"bytes\", \"logicalType\": \"decimal\", \"precision\": "
    "30, \"scale\": 8}],"
    "   \"default\": null},"
    " {\"name\": \"cents\", \"type\": [\"null\", {\"type\": \"fixed\", \"name\": \"Cents\", \"size\": 5, "
    "\"logicalType\": \"decimal\","
    "   \"precision\": 9, \"scale\": 2}], \"default\": null},"
    " {\"name\": \"local\", \"type\": [\"null\", {\"type\": \"long\", \"logicalType\": \"local-timestamp-millis\"}], "
    "\"default\": null},"
    " {\"name\": \"items\", \"type\": [\"null\", {\"type\": \"array\", \"items\": [\"null\", {\"type\": \"record\", "
    "\"name\": \"Item\","
    "   \"fields\": [{\"name\": \"sku\", \"type\": [\"null\", \"string\"], \"default\": null}, {\"name\": \"n\", "
    "\"type\": \"int\"},"
    "     {\"name\": \"tags\", \"type\": {\"type\": \"array\", \"items\": \"string\"}, \"default\": []}]}]}, \"Item\", "
    "\"int\"],"
    "   \"default\": null},"
    " {\"name\": \"tree\", \"type\": [\"null\", {\"type\": \"record\", \"name\": \"Tree\", \"fields\": [{\"name\": "
    "\"v\", \"type\": \"int\"},"
    "   {\"name\": \"kids\", \"type\": {\"type\": \"array\", \"items\": \"Tree\"}, \"default\": []}]}], \"default\": "
    "null}]}";

static const char rest[] =
    "\"person\": {\"namespace\": {\"first_of\": [{\"path\": \"person.ns\"}, {\"path\": \"ids.ns\"}]},"
    "  \"id\": {\"first_of\": [{\"path\": \"person.id\"}, {\"path\": \"ids.customer\"}]}},"
    " \"timestamp\": {\"path\": \"ts\", \"unit\": \"s\"}, \"event_id\": {\"path\": \"eid\"},"
    " \"fields\": {\"i\": {\"path\": \"i\", \"type\": \"long\"}, \"l\": {\"path\": \"l\", \"type\": \"long\"},"
    "  \"f\": {\"path\": \"f\", \"type\": \"double\"}, \"d\": {\"path\": \"d\", \"type\": \"decimal\"},"
    "  \"b\": {\"path\": \"b\", \"type\": \"boolean\"}, \"raw\": {\"path\": \"raw\", \"type\": \"string\"},"
    "  \"money\": {\"path\": \"money\", \"type\": \"decimal\"}, \"cents\": {\"path\": \"cents\", \"type\": \"double\", "
    "\"min\": 0},"
    "  \"local\": {\"path\": \"local\", \"type\": \"long\"}, \"every\": {\"path\": \"items.sku\", \"type\": "
    "\"string\"},"
    "  \"tags\": {\"path\": \"items.tags\", \"type\": \"string\"}, \"kid\": {\"path\": \"tree.kids.kids.v\", \"type\": "
    "\"long\"},"
    "  \"ns\": {\"path\": \"person.ns\", \"type\": \"string\"}},"
    " \"elements\": {\"items\": {\"path\": \"items\", \"fields\": {\"sku\": {\"path\": \"sku\", \"type\": \"string\"},"
    "  \"n\": {\"path\": \"n\", \"type\": \"long\"}, \"tags\": {\"path\": \"tags\", \"type\": \"string\"}}}}}";

struct fixture {
    struct rc_dataset *dataset;
    struct rc_decoder *decoder;
    struct rc_encoder *encoder;
};

static struct fixture fixture;

static int set_up(void **state) {
    (void)state;
    struct rc_error err;
    struct rc_buf text;
    rc_buf_init(&text, 100000);
    rc_buf_printf(&text, "{\"format\": \"avro\", \"schema\": %s, %s", schema, rest);
    fixture.dataset = test_dataset(text.data);
    rc_buf_deinit(&text);
    if (rc_decoder_new(fixture.dataset, &(struct rc_decoder_options){.max_ahead_ms = -1}, &fixture.decoder, &err) !=
            RC_OK ||
        rc_encoder_new(schema, "test", &fixture.encoder, &err) != RC_OK) {
        fprintf(stderr, "%s\n", err.message);
        return -1;
    }
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    rc_decoder_free(fixture.decoder);
    rc_encoder_free(fixture.encoder);
    test_dataset_free(fixture.dataset);
    return 0;
}

static void encode(const char *json, struct rc_buf *out) {
    json_error_t why;
    struct rc_error err;
    json_t *value = json_loads(json, JSON_ALLOW_NUL, &why);
    if (!value)
        fail_msg("%s: %s", json, why.text);
    if (rc_encode(fixture.encoder, value, out, &err) != RC_OK)
        fail_msg("%s: %s", json, err.message);
    json_decref(value);
}

static const char *decode(struct rc_span value) {
    struct rc_record record = {.value = value, .timestamp_ms = RC_NO_TIMESTAMP, .topic = "web.events"};
    return test_decode(fixture.decoder, fixture.dataset, &record);
}

#define SOUND "\"eid\": \"e\", \"ts\": 1000000, \"person\": {\"ns\": \"email\", \"id\": \"p\"}"
#define BEGIN "email:p @1000 #e"

static void check(const char *json, const char *wanted) {
    struct rc_buf out;
    rc_buf_init(&out, 100000);
    encode(json, &out);
    const char *line = decode(rc_buf_span(&out));
    if (strcmp(line, wanted) != 0)
        fail_msg("%s\n  gives  %s\n  wanted %s", json, line, wanted);
    rc_buf_deinit(&out);
}

static void values(void **state) {
    (void)state;
    check("{" SOUND "}", BEGIN " ns=\"email\" items*0");
    check("{" SOUND ", \"skip1\": \"abc\", \"i\": -5, \"l\": -9223372036854775808, \"b\": true, \"local\": 7}",
          BEGIN " i=-5 l=-9223372036854775808 b=1 local=7 ns=\"email\" items*0");
    check("{" SOUND ", \"f\": 0.1, \"d\": 0.1}", BEGIN " f=100000 d=100000 ns=\"email\" items*0");
    check("{" SOUND ", \"f\": 16777217, \"d\": 8999999999999}",
          BEGIN " f=16777216000000 d=8999999999999000000 ns=\"email\" items*0");
    check("{" SOUND ", \"d\": \"NaN\"}", "bad: bad value: field d (path d): a number out of the range of decimal");
    check("{" SOUND ", \"f\": \"-Infinity\"}", "bad: bad value: field f (path f): a number out of the range of double");
    check("{" SOUND ", \"money\": \"12.34567850\"}",
          BEGIN " money=12345678 ns=\"email\" items*0"); /* a half: to even */
    check("{" SOUND ", \"money\": \"12.34567950\"}", BEGIN " money=12345680 ns=\"email\" items*0");
    check("{" SOUND ", \"money\": \"-0.00000051\"}", BEGIN " money=-1 ns=\"email\" items*0");
    check("{" SOUND ", \"money\": \"9000000000000\"}",
          "bad: bad value: field money (path money): a number out of the range of decimal");
    check("{" SOUND ", \"cents\": \"1.25\"}", BEGIN " cents=1250000 ns=\"email\" items*0");
    check("{" SOUND ", \"cents\": \"-1.25\"}", "bad: bad value: field cents (path cents): a number below its min");
    check("{" SOUND ", \"raw\": \"abc\"}",
          "bad: bad value: field raw (path raw): found bytes that are no text where string is wanted");
}

static void persons_and_times(void **state) {
    (void)state;
    check("{\"eid\": \"e\", \"ts\": -1, \"person\": {\"ns\": \"ecid\", \"id\": 42}}",
          "ecid:42 @-1 #e ns=\"ecid\" items*0");
    check("{\"eid\": \"e\", \"ts\": {\"string\": \"12\"}, \"person\": {\"ns\": \"ecid\", \"id\": 42}}",
          "ecid:42 @12000 #e ns=\"ecid\" items*0");
    check("{\"eid\": \"e\", \"ts\": 1999, \"ids\": {\"x\": [\"no\"], \"customer\": [\"c\"], \"ns\": [\"n\"]}}",
          "n:c @1 #e items*0");
    check("{\"eid\": \"e\", \"ts\": 1999, \"ids\": {\"customer\": [\"c\", \"d\"], \"ns\": [\"n\"]}}",
          "bad: ambiguous person: path person.id or path ids.customer has 2 values where one is wanted");
    check("{\"eid\": \"e\", \"ts\": 1999, \"ids\": {\"customer\": [], \"ns\": [\"n\"]}}",
          "bad: missing person: path person.id or path ids.customer has no value");
    check("{\"eid\": \"\", \"ts\": 1, \"person\": {\"ns\": \"ecid\", \"id\": \"p\"}}",
          "bad: missing event id: path eid has empty text");
    check("{\"eid\": \"e\", \"person\": {\"ns\": \"ecid\", \"id\": \"p\"}}",
          "bad: missing timestamp: path ts has no value");
    check("{\"eid\": \"e\", \"ts\": 253402300800000000, \"person\": {\"ns\": \"ecid\", \"id\": \"p\"}}",
          "bad: bad timestamp: path ts holds a timestamp that is not an integer in seconds within the years 1 to 9999");
    /* the branch is chosen by hand: "string" would take the text */
    struct rc_buf out;
    rc_buf_init(&out, 1000);
    rc_buf_add(&out,
               "\2e"
               "\0"
               "\2\4"
               "\2"
               "\0"
               "\4"
               "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"
               "\0"
               "\0\0\0\0\0\0\0\0\0\0\0",
               2 + 1 + 2 + 1 + 1 + 1 + 16 + 1 + 11);
    assert_string_equal(decode(rc_buf_span(&out)),
                        "ecid:00112233-4455-6677-8899-aabbccddeeff @0 #e ns=\"ecid\" items*0");
    rc_buf_deinit(&out);
}

static void elements(void **state) {
    (void)state;
    check("{" SOUND ", \"items\": []}", BEGIN " ns=\"email\" items*0");
    check("{" SOUND ", \"items\": [null, {\"sku\": \"A\", \"n\": 1}, {\"n\": 2}, null, {\"sku\": \"C\", \"n\": 3, "
          "\"tags\": [\"x\", \"y\"]}]}",
          BEGIN
          " every=\"A\",\"C\" tags=\"x\",\"y\" ns=\"email\" items.sku=\"A\",\"C\"{\"A\"||\"C\"} items.n=1,2,3{1|2|3}"
          " items.tags=\"x\",\"y\"{||\"x\",\"y\"} items*3");
    check("{" SOUND ", \"items\": {\"sku\": \"A\", \"n\": 1}}",
          BEGIN " every=\"A\" ns=\"email\" items.sku=\"A\"{\"A\"} items.n=1{1} items*1");
    check("{" SOUND ", \"items\": 5}", "bad: bad element: elements items (path items): something else than a record");
    check("{" SOUND ", \"tree\": {\"v\": 1, \"kids\": [{\"v\": 2, \"kids\": [{\"v\": 3}, {\"v\": 4, \"kids\": [{\"v\": "
          "9}]}]}, {\"v\": 5}, "
          "{\"v\": 6, \"kids\": [{\"v\": 7}]}]}}",
          BEGIN " kid=3,4,7 ns=\"email\" items*0");
}

static void every_cut_is_broken(void **state) {
    (void)state;
    struct rc_buf out;
    rc_buf_init(&out, 10000);
    encode("{" SOUND ", \"skip1\": \"abc\", \"ids\": {\"x\": [\"a\", \"b\"], \"customer\": [\"c\"]}, \"i\": 5, \"l\": "
           "600000, \"f\": 1.5, \"d\": 2.5,"
           " \"b\": true, \"money\": \"1.5\", \"cents\": \"2.5\", \"local\": 1,"
           " \"items\": [{\"sku\": \"A\", \"n\": 1, \"tags\": [\"t\"]}], \"tree\": {\"v\": 1, \"kids\": [{\"v\": 2}]}}",
           &out);
    assert_string_equal(
        decode(rc_buf_span(&out)), BEGIN
        " i=5 l=600000 f=1500000 d=2500000 b=1 money=1500000 cents=2500000 local=1 every=\"A\" tags=\"t\" ns=\"email\""
        " items.sku=\"A\"{\"A\"} items.n=1{1} items.tags=\"t\"{\"t\"} items*1");
    for (size_t len = 0; len < out.len; len++) {
        char *exact = malloc(len ? len : 1); /* so that a sanitizer sees a read past the end */
        memcpy(exact, out.data, len);
        const char *line = decode(rc_span_of(exact, len));
        if (strncmp(line, "bad: broken avro: ", 18) != 0)
            fail_msg("%zu of %zu bytes give %s", len, out.len, line);
        free(exact);
    }
    rc_buf_add_byte(&out, 0);
    assert_non_null(strstr(decode(rc_buf_span(&out)), "bad: broken avro: 1 bytes follow the record's end"));
    rc_buf_deinit(&out);
}

/* Any byte changed in any way: no crash, and never an error of another kind than the record's own. */
static void every_byte_changed(void **state) {
    (void)state;
    struct rc_buf out;
    rc_buf_init(&out, 10000);
    encode("{" SOUND ", \"ids\": {\"x\": [\"a\"], \"customer\": [\"c\"]}, \"i\": 5, \"items\": [{\"sku\": \"A\", "
           "\"n\": 1}], \"tree\": {\"v\": 1}}",
           &out);
    for (size_t at = 0; at < out.len; at++)
        for (unsigned byte = 0; byte < 256; byte++) {
            char *exact = malloc(out.len);
            memcpy(exact, out.data, out.len);
            exact[at] = (char)byte;
            const char *line = decode(rc_span_of(exact, out.len));
            assert_null(strstr(line, "mismatch"));
            assert_null(strstr(line, "again"));
            free(exact);
        }
    rc_buf_deinit(&out);
}

/* A dataset of one field over one schema, for odd bytes. */
static const char *decode_raw(const char *type, const char *bytes, size_t len) {
    static char line[4096];
    char text[2048];
    snprintf(
        text, sizeof text,
        "{\"format\": \"avro\", \"schema\": {\"type\": \"record\", \"name\": \"R\", \"fields\": [{\"name\": \"x\", "
        "\"type\": %s}]},"
        " \"person\": {\"namespace\": \"n\", \"id\": {\"kafka\": \"key\"}}, \"timestamp\": {\"kafka\": \"timestamp\"},"
        " \"event_id\": {\"kafka\": \"key\"}, \"fields\": {\"x\": {\"path\": \"x\", \"type\": \"string\", \"on_bad\": "
        "\"no_value\"}}}",
        type);
    struct rc_dataset *d = test_dataset(text);
    struct rc_decoder *decoder;
    struct rc_error err;
    if (rc_decoder_new(d, &(struct rc_decoder_options){.max_ahead_ms = -1}, &decoder, &err) != RC_OK)
        fail_msg("%s", err.message);
    struct rc_record record = {.value = rc_span_of(bytes, len), .key = {"p", 1}, .timestamp_ms = 1};
    assert_true(snprintf(line, sizeof line, "%s", test_decode(decoder, d, &record)) < (int)sizeof line);
    rc_decoder_free(decoder);
    test_dataset_free(d);
    return line;
}

#define RAW(type, bytes) decode_raw(type, bytes, sizeof bytes - 1)

static void odd_bytes(void **state) {
    (void)state;
    assert_string_equal(RAW("\"string\"", "\4ab"), "n:p @1 #p x=\"ab\"");
    assert_string_equal(RAW("\"string\"", "\4\xc3("), "n:p @1 #p"); /* no UTF-8 is no text */
    assert_string_equal(RAW("\"string\"", "\1"),
                        "bad: broken avro: a length goes beyond the record's end, at byte 1 of 1");
    assert_string_equal(RAW("\"string\"", "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
                        "bad: broken avro: a length goes beyond the record's end, at byte 10 of 10");
    assert_string_equal(RAW("\"boolean\"", "\2"),
                        "bad: broken avro: a boolean that is neither 0 nor 1, at byte 1 of 1");
    assert_string_equal(RAW("\"int\"", "\x80\x80\x80\x80\x10"),
                        "bad: broken avro: an int of more than 32 bits, at byte 5 of 5");
    assert_string_equal(RAW("\"long\"", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x03"),
                        "bad: broken avro: an integer of more than 64 bits, at byte 0 of 10");
    assert_string_equal(RAW("[\"null\", \"int\"]", "\4"),
                        "bad: broken avro: a union has no such branch, at byte 1 of 1");
    assert_string_equal(RAW("[\"null\", \"int\"]", "\1"),
                        "bad: broken avro: a union has no such branch, at byte 1 of 1");
    assert_string_equal(RAW("{\"type\": \"enum\", \"name\": \"E\", \"symbols\": [\"A\"]}", "\2"),
                        "bad: broken avro: an enum has no such symbol, at byte 1 of 1");
    assert_string_equal(RAW("\"null\"", ""), "n:p @1 #p");
    assert_string_equal(RAW("\"null\"", "\0"), "bad: broken avro: 1 bytes follow the record's end, at byte 0 of 1");
    /* blocks with their size in bytes, several of them */
    assert_string_equal(RAW("{\"type\": \"array\", \"items\": \"string\"}", "\1\4\2a\2\2b\3\x8\2c\2d\0"),
                        "n:p @1 #p x=\"a\",\"b\",\"c\",\"d\"");
    assert_string_equal(RAW("{\"type\": \"array\", \"items\": \"string\"}", "\1\x40\2a\0"),
                        "bad: broken avro: a block goes beyond the record's end, at byte 2 of 5");
    assert_string_equal(RAW("{\"type\": \"array\", \"items\": \"null\"}", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0"),
                        "bad: broken avro: an impossible number of items, at byte 10 of 11");
    assert_string_equal(RAW("{\"type\": \"array\", \"items\": \"null\"}", "\xfe\xff\xff\xff\x0f\0"),
                        "bad: broken avro: more items than the record has bytes for, at byte 5 of 6");
    assert_string_equal(RAW("{\"type\": \"array\", \"items\": \"null\"}", "\xc8\1\0"), "n:p @1 #p");
    assert_string_equal(RAW("{\"type\": \"map\", \"values\": \"string\"}", "\2\2k\2v\0"),
                        "n:p @1 #p"); /* a map where a value is wanted */
    assert_string_equal(RAW("{\"type\": \"fixed\", \"name\": \"F\", \"size\": 0}", ""), "n:p @1 #p");
}

static void recursion_is_bounded(void **state) {
    (void)state;
    static const char type[] =
        "{\"type\": \"record\", \"name\": \"L\", \"fields\": [{\"name\": \"next\", \"type\": [\"null\", \"L\"]}]}";
    char *deep = malloc(100001);
    memset(deep, 2, 100000);
    deep[100000] = 0;
    assert_non_null(strstr(decode_raw(type, deep, 100001), "bad: broken avro: nested too deep"));
    memset(deep, 2, 1000);
    deep[1000] = 0;
    assert_string_equal(decode_raw(type, deep, 1001), "n:p @1 #p");
    free(deep);
}

static void paths_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *field, *message;
    } cases[] = {
        {"\"person\": {\"namespace\": \"n\", \"id\": {\"path\": \"person.idd\"}}, \"timestamp\": {\"path\": \"ts\"}",
         "dataset web: event.avsc: person.id: path \"person.idd\": record Person has no field \"idd\"; did you mean "
         "\"id\"?"},
        {"\"person\": {\"namespace\": \"n\", \"id\": {\"path\": \"ids.any.thing\"}}, \"timestamp\": {\"path\": \"ts\"}",
         "dataset web: event.avsc: person.id: path \"ids.any.thing\": \"thing\" is wanted of a value that is string, "
         "not a record"},
        {"\"person\": {\"namespace\": \"n\", \"id\": {\"path\": \"eid\"}}, \"timestamp\": {\"first_of\": [{\"path\": "
         "\"ts\"}, {\"path\": \"tss\"}]}",
         "dataset web: event.avsc: timestamp: path \"tss\": record Event has no field \"tss\"; did you mean \"ts\"?"},
        {"\"person\": {\"namespace\": \"n\", \"id\": {\"path\": \"eid\"}}, \"timestamp\": {\"path\": \"ts\"},"
         " \"fields\": {\"q\": {\"path\": \"items.nn\", \"type\": \"long\"}}",
         "dataset web: event.avsc: field q: path \"items.nn\": record Item has no field \"nn\""},
        {"\"person\": {\"namespace\": \"n\", \"id\": {\"path\": \"eid\"}}, \"timestamp\": {\"path\": \"ts\"},"
         " \"elements\": {\"items\": {\"path\": \"items\", \"fields\": {\"q\": {\"path\": \"skuu\", \"type\": "
         "\"long\"}}}}",
         "dataset web: event.avsc: field items.q: path \"skuu\": record Item has no field \"skuu\"; did you mean "
         "\"sku\"?"},
        {"\"person\": {\"namespace\": \"n\", \"id\": {\"path\": \"eid\"}}, \"timestamp\": {\"path\": \"ts\"},"
         " \"elements\": {\"items\": {\"path\": \"itemz\", \"fields\": {}}}",
         "dataset web: event.avsc: elements items: path \"itemz\": record Event has no field \"itemz\"; did you mean "
         "\"items\"?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rc_buf text;
        struct rc_error err;
        struct rc_decoder *decoder;
        rc_buf_init(&text, 100000);
        rc_buf_printf(&text, "{\"format\": \"avro\", \"schema\": %s, %s}", schema, cases[i].field);
        struct rc_dataset *d = test_dataset(text.data);
        assert_int_equal(rc_decoder_new(d, &(struct rc_decoder_options){0}, &decoder, &err), RC_FAIL);
        if (strncmp(err.message, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("%s\nwanted %s", err.message, cases[i].message);
        assert_int_equal(err.exit_code, RC_EXIT_CONFIG);
        test_dataset_free(d);
        rc_buf_deinit(&text);
    }
}

static void eval_reads_json(void **state) {
    (void)state;
    struct rc_decoder *decoder;
    assert_int_equal(rc_decoder_new(fixture.dataset, &(struct rc_decoder_options){.as_json = true}, &decoder, NULL),
                     RC_OK);
    struct rc_record record = {
        .value = rc_span_str("{\"eid\": \"e\", \"ts\": 5, \"person\": {\"ns\": \"n\", \"id\": \"p\"}, \"i\": 3}"),
        .from_file = true};
    assert_string_equal(test_decode(decoder, fixture.dataset, &record), "n:p @5000 #e i=3 ns=\"n\" items*0");
    rc_decoder_free(decoder);
}

static void no_schema_no_decoder(void **state) {
    (void)state;
    struct rc_dataset *d = test_dataset("{\"format\": \"avro\", \"person\": {\"namespace\": \"n\", \"id\": {\"path\": "
                                        "\"id\"}}, \"timestamp\": {\"path\": \"ts\"}}");
    struct rc_decoder *decoder;
    struct rc_error err;
    assert_int_equal(rc_decoder_new(d, &(struct rc_decoder_options){0}, &decoder, &err), RC_FAIL);
    assert_non_null(strstr(err.message, "needs \"schema\""));
    d->framing = RC_FRAMING_CONFLUENT;
    assert_int_equal(rc_decoder_new(d, &(struct rc_decoder_options){0}, &decoder, &err), RC_FAIL);
    assert_non_null(strstr(err.message, "registry.url"));
    test_dataset_free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(persons_and_times),
        cmocka_unit_test(elements),
        cmocka_unit_test(every_cut_is_broken),
        cmocka_unit_test(every_byte_changed),
        cmocka_unit_test(odd_bytes),
        cmocka_unit_test(recursion_is_bounded),
        cmocka_unit_test(paths_are_checked),
        cmocka_unit_test(eval_reads_json),
        cmocka_unit_test(no_schema_no_decoder),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
