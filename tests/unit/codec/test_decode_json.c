/* What becomes of JSON records: definitions.md §2, sentence by sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support.h"

/* One dataset with one of everything. */
static const char plain[] =
    "{\"format\": \"json\", \"person\": {\"namespace\": \"ecid\", \"id\": {\"path\": \"id\"}}, \"timestamp\": "
    "{\"path\": \"ts\"},"
    " \"event_id\": {\"path\": \"eid\"}, \"fields\": {"
    "  \"s\": {\"path\": \"s\", \"type\": \"string\"}, \"deep\": {\"path\": \"a.b.c\", \"type\": \"string\"},"
    "  \"dot\": {\"path\": \"a\\\\.b\", \"type\": \"string\"}, \"l\": {\"path\": \"l\", \"type\": \"long\"},"
    "  \"b\": {\"path\": \"b\", \"type\": \"boolean\"}, \"d\": {\"path\": \"d\", \"type\": \"double\"},"
    "  \"m\": {\"path\": \"m\", \"type\": \"decimal\", \"min\": 0}, \"lm\": {\"path\": \"lm\", \"type\": \"long\", "
    "\"min\": 5},"
    "  \"opt\": {\"path\": \"opt\", \"type\": \"long\", \"min\": 0, \"on_bad\": \"no_value\"},"
    "  \"every\": {\"path\": \"items.sku\", \"type\": \"string\", \"on_bad\": \"no_value\"}},"
    " \"elements\": {\"items\": {\"path\": \"items\", \"fields\": {\"sku\": {\"path\": \"sku\", \"type\": \"string\"},"
    "  \"price\": {\"path\": \"p.v\", \"type\": \"decimal\", \"min\": 0}}},"
    "  \"far\": {\"path\": \"orders.lines\", \"fields\": {\"q\": {\"path\": \"q\", \"type\": \"long\"}}}}}";

static const char *decode_with(const char *dataset, const struct rc_decoder_options *options,
                               struct rc_record *record) {
    struct rc_dataset *d = test_dataset(dataset);
    struct rc_decoder *decoder;
    assert_int_equal(rc_decoder_new(d, options, &decoder, NULL), RC_OK);
    const char *line = test_decode(decoder, d, record);
    rc_decoder_free(decoder);
    test_dataset_free(d);
    return line;
}

static const char *decode_bytes(const char *dataset, const char *value, size_t len) {
    struct rc_record record = {.value = rc_span_of(value, len),
                               .timestamp_ms = RC_NO_TIMESTAMP,
                               .topic = "web.events",
                               .partition = 3,
                               .offset = 42};
    return decode_with(dataset, &(struct rc_decoder_options){.max_ahead_ms = -1}, &record);
}

static const char *decode(const char *dataset, const char *value) {
    return decode_bytes(dataset, value, strlen(value));
}

/* `members` are put behind a sound person, timestamp and id; `found` is what is decoded after them (elements left out when there are none). */
static void check(const char *members, const char *found) {
    char record[4096], wanted[4096];
    snprintf(record, sizeof record, "{\"id\": \"p\", \"ts\": 1, \"eid\": \"e\"%s%s}", *members ? ", " : "", members);
    bool whole = strncmp(found, "bad", 3) == 0;
    snprintf(wanted, sizeof wanted, "%s%s%s%s", whole ? "" : "ecid:p @1 #e", whole || !*found ? "" : " ", found,
             whole || strchr(found, '*') ? "" : " items*0 far*0");
    const char *line = decode(plain, record);
    if (strcmp(line, wanted) != 0)
        fail_msg("%s\n  gives  %s\n  wanted %s", record, line, wanted);
}

#define WRONG(field, path, found, type) \
    "bad: bad value: field " field " (path " path "): found " found " where " type " is wanted"
#define RANGE(field, path, type) "bad: bad value: field " field " (path " path "): a number out of the range of " type
#define BELOW(field, path) "bad: bad value: field " field " (path " path "): a number below its min"

static void paths(void **state) {
    (void)state;
    check("", "");
    check("\"s\": \"x\"", "s=\"x\"");
    check("\"s\": null", "");
    check("\"s\": []", "");
    check("\"s\": [\"x\", null, [\"y\", [\"z\"]]]", "s=\"x\",\"y\",\"z\"");
    check("\"a\": {\"b\": {\"c\": \"x\"}}", "deep=\"x\"");
    check("\"a\": [{\"b\": [{\"c\": \"x\"}, {\"c\": [\"y\"]}, {}]}, null, 5, {\"b\": null}]", "deep=\"x\",\"y\"");
    check("\"a\": \"scalar\"", "");
    check("\"a\": {\"b\": 7}", "");
    check("\"a.b\": \"x\", \"a\": {\"b\": {}}", "dot=\"x\"");
    check("\"s\": {\"t\": 1}", WRONG("s", "s", "a record", "string"));
    check("\"s\": [{}]", WRONG("s", "s", "a record", "string"));
    check("\"s\": \"x\", \"s\": \"y\"", "s=\"y\""); /* the last of equal keys */
    check("\"unknown\": {\"deep\": [1, 2, {}]}", "");
}

static void strings(void **state) {
    (void)state;
    check("\"s\": \"\"", "s=\"\"");
    check("\"s\": \"a\\u0000b\"", "s=\"a\\u0000b\"");
    check("\"s\": \"\\u00e9\\ud83d\\ude00\"", "s=\"é😀\"");
    check("\"s\": 5", WRONG("s", "s", "an integer", "string"));
    check("\"s\": 5.0", WRONG("s", "s", "a number with a fraction or exponent", "string"));
    check("\"s\": true", WRONG("s", "s", "a boolean", "string"));
}

static void longs(void **state) {
    (void)state;
    check("\"l\": 0", "l=0");
    check("\"l\": -0", "l=0");
    check("\"l\": 9223372036854775807", "l=9223372036854775807");
    check("\"l\": -9223372036854775808", "l=-9223372036854775808");
    check("\"l\": 9223372036854775808", RANGE("l", "l", "long"));
    check("\"l\": -9223372036854775809", RANGE("l", "l", "long"));
    check("\"l\": 1.0", WRONG("l", "l", "a number with a fraction or exponent", "long"));
    check("\"l\": 1e3", WRONG("l", "l", "a number with a fraction or exponent", "long"));
    check("\"l\": \"5\"", WRONG("l", "l", "text", "long"));
    check("\"lm\": 5", "lm=5");
    check("\"lm\": 4", BELOW("lm", "lm"));
    check("\"opt\": 4", "opt=4");
    check("\"opt\": -1", "");
    check("\"opt\": [-1, 2, \"x\", 99999999999999999999, {}, 3]", "opt=2,3");
}

static void booleans(void **state) {
    (void)state;
    check("\"b\": true", "b=1");
    check("\"b\": [false, true]", "b=0,1");
    check("\"b\": 1", WRONG("b", "b", "an integer", "boolean"));
    check("\"b\": \"true\"", WRONG("b", "b", "text", "boolean"));
}

static void fixed_point(void **state) {
    (void)state;
    check("\"d\": 1", "d=1000000");
    check("\"d\": 0.1", "d=100000");
    check("\"d\": 0.0000005", "d=0"); /* the double lies just below the half */
    check("\"d\": 0.0000005000000000001", "d=1");
    check("\"d\": 0.0078125", "d=7812"); /* exactly a half: to even */
    check("\"d\": 0.0234375", "d=23438");
    check("\"d\": -0.0234375", "d=-23438");
    check("\"d\": 8999999999999", "d=8999999999999000000");
    check("\"d\": 9000000000000", RANGE("d", "d", "double"));
    check("\"d\": -9e12", RANGE("d", "d", "double"));
    check("\"d\": 1e400", RANGE("d", "d", "double"));
    check("\"d\": -1e400", RANGE("d", "d", "double"));
    check("\"d\": 1e-400", "d=0");
    check("\"d\": 99999999999999999999", RANGE("d", "d", "double"));
    check("\"d\": \"1\"", WRONG("d", "d", "text", "double"));
    check("\"m\": 0", "m=0");
    check("\"m\": -0.0000004", "m=0"); /* `min` is judged on the rounded value */
    check("\"m\": -0.0000006", BELOW("m", "m"));
}

/* A number that no C type holds matters only where it is wanted. */
static void numbers_beyond_c(void **state) {
    (void)state;
    check("\"x\": 99999999999999999999, \"y\": [1e999, -1e999], \"s\": \"v\"", "s=\"v\"");
    check("\"x\": 1e999, \"s\": \"\\u0000i5\", \"l\": 5", "s=\"\\u0000i5\" l=5");
}

static void tags_cannot_be_forged(void **state) {
    (void)state;
    check("\"x\": 1e999, \"s\": \"\\u0000r\"", "s=\"\\u0000r\"");
    check("\"x\": 1e999, \"s\": \"\\u0000\"", "s=\"\\u0000\"");
    check("\"x\": 1e999, \"s\": \"a\\\"\\u0000 1e999\"", "s=\"a\\\"\\u0000 1e999\"");
    check("\"x\": 01e999", "bad: broken json: invalid token, at byte 39 of 45");
    assert_string_equal(decode(plain, "{\"id\": 18446744073709551615, \"ts\": 1, \"eid\": -99999999999999999999}"),
                        "ecid:18446744073709551615 @1 #-99999999999999999999 items*0 far*0");
}

static void elements(void **state) {
    (void)state;
    check("\"items\": []", "items*0 far*0");
    check("\"items\": null", "items*0 far*0");
    check("\"items\": {\"sku\": \"A\"}", "every=\"A\" items.sku=\"A\"{\"A\"} items*1 far*0");
    check("\"items\": [{\"sku\": \"A\", \"p\": {\"v\": 1.5}}, null, {}, {\"sku\": [\"B\", \"C\"], \"p\": [{\"v\": 1}, "
          "{\"v\": 2}]}]",
          "every=\"A\",\"B\",\"C\" items.sku=\"A\",\"B\",\"C\"{\"A\"||\"B\",\"C\"} "
          "items.price=1500000,1000000,2000000{1500000||1000000,2000000}"
          " items*3 far*0");
    check("\"items\": [{}, {}]", "items*2 far*0");
    check("\"items\": 5", "bad: bad element: elements items (path items): something else than a record");
    check("\"items\": [{}, \"x\"]", "bad: bad element: elements items (path items): something else than a record");
    check("\"items\": [[{}]]", "bad: bad element: elements items (path items): something else than a record");
    check("\"items\": [{\"p\": {\"v\": -1}}]", BELOW("items.price", "p.v"));
    check("\"orders\": [{\"lines\": [{\"q\": 1}, {\"q\": 2}]}, {\"lines\": {\"q\": 3}}, {}, 7, {\"lines\": null}]",
          "far.q=1,2,3{1|2|3} items*0 far*3");
    check("\"orders\": {\"lines\": [1]}",
          "bad: bad element: elements far (path orders.lines): something else than a record");
    /* more than the room that the first ones get */
    check("\"items\": "
          "[{\"sku\":\"0\"},{\"sku\":\"1\"},{\"sku\":\"2\"},{\"sku\":\"3\"},{},{\"sku\":\"5\"},{\"sku\":\"6\"},{"
          "\"sku\":\"7\"},"
          "{\"sku\":\"8\"}]",
          "every=\"0\",\"1\",\"2\",\"3\",\"5\",\"6\",\"7\",\"8\" "
          "items.sku=\"0\",\"1\",\"2\",\"3\",\"5\",\"6\",\"7\",\"8\""
          "{\"0\"|\"1\"|\"2\"|\"3\"||\"5\"|\"6\"|\"7\"|\"8\"} items*9 far*0");
}

static void not_json(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "{\"id\"}",
        "{\"id\": \"p\"} x",
        "{\"id\": \"p\"}{}",
        "{'id': 1}",
        "{\"a\": NaN}",
        "{\"a\": Infinity}",
        "{\"a\": 01}",
        "{\"a\": \"\\ud800\"}",
        "{\"a\": \"\\x\"}",
        "{\"a\": \"\n\"}",
        "{\"a\": \"\xff\"}",
        "{\"a\": \"\xc0\x80\"}",
        "{\"a\": \"\xed\xa0\x80\"}",
        "{\"a\": 1,}",
        "\xef\xbb\xbf{}",
        "[1, 2",
        "{\"a\": tru}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *line = decode(plain, bad[i]);
        if (strncmp(line, "bad: broken json: ", 18) != 0)
            fail_msg("%s gives %s", bad[i], line);
    }
    assert_string_equal(decode(plain, "[]"), "bad: broken json: the record is no object");
    assert_string_equal(decode(plain, "\"x\""), "bad: broken json: the record is no object");
    assert_string_equal(decode(plain, "5"), "bad: broken json: the record is no object");
    assert_string_equal(decode(plain, "99999999999999999999"), "bad: broken json: the record is no object");
    assert_string_equal(decode(plain, "null"), "ignored");
    assert_non_null(strstr(decode_bytes(plain, "{\"a\": 1}\0", 9), "bad: broken json"));
    /* messages do not quote the record: it holds persons */
    assert_null(strstr(decode(plain, "{\"id\": secret-person}"), "secret"));
    assert_null(strstr(decode(plain, "{\"id\" secret-person}"), "secret"));

    char *deep = malloc(200001);
    memset(deep, '[', 200000);
    deep[200000] = '\0';
    assert_non_null(strstr(decode(plain, deep), "bad: broken json"));
    for (size_t i = 0; i < 200000 - 5; i += 5)
        memcpy(deep + i, "{\"a\":", 5);
    assert_non_null(strstr(decode(plain, deep), "bad: broken json"));
    free(deep);
}

static const char sources[] =
    "{\"person\": {\"namespace\": {\"first_of\": [{\"path\": \"ns\"}, {\"kafka\": {\"header\": \"ns\"}}]},"
    " \"id\": {\"first_of\": [{\"path\": \"customer\"}, {\"path\": \"cookie\"}, {\"kafka\": \"key\"}]}},"
    " \"timestamp\": {\"first_of\": [{\"path\": \"ts\"}, {\"kafka\": \"timestamp\"}], \"unit\": \"s\"},"
    " \"event_id\": {\"first_of\": [{\"path\": \"eid\"}, {\"first_of\": [{\"path\": \"alt\"}, {\"path\": "
    "\"other\"}]}]}}";

static void check_source(const char *value, const struct rc_record *about, const char *wanted) {
    struct rc_record record = *about;
    record.value = rc_span_str(value);
    const char *line = decode_with(sources, &(struct rc_decoder_options){.max_ahead_ms = -1}, &record);
    if (strcmp(line, wanted) != 0)
        fail_msg("%s\n  gives  %s\n  wanted %s", value, line, wanted);
}

static void sources_have_exactly_one_value(void **state) {
    (void)state;
    const struct rc_header headers[] = {{{"other", 5}, {"x", 1}}, {{"ns", 2}, {"head", 4}}};
    const struct rc_header twice[] = {{{"ns", 2}, {"one", 3}}, {{"ns", 2}, {"two", 3}}};
    const struct rc_record bare = {.timestamp_ms = RC_NO_TIMESTAMP},
                           full = {.timestamp_ms = 1700000000123,
                                   .key = {"the-key", 7},
                                   .headers = headers,
                                   .n_headers = 2},
                           file = {.timestamp_ms = 1700000000123,
                                   .key = {"the-key", 7},
                                   .headers = headers,
                                   .n_headers = 2,
                                   .from_file = true},
                           doubled = {.timestamp_ms = 0, .key = {"k", 1}, .headers = twice, .n_headers = 2},
                           bytes = {.timestamp_ms = 0, .key = {"\xff", 1}, .headers = headers, .n_headers = 2};
    check_source("{\"ns\": \"a\", \"customer\": \"c\", \"cookie\": \"d\", \"ts\": 7, \"eid\": \"e\"}", &full,
                 "a:c @7000 #e");
    check_source("{\"ns\": \"a\", \"customer\": null, \"cookie\": \"d\", \"ts\": 7, \"eid\": \"e\"}", &full,
                 "a:d @7000 #e");
    check_source("{\"ns\": \"a\", \"customer\": \"\", \"cookie\": \"d\", \"ts\": 7, \"eid\": \"e\"}", &full,
                 "a:d @7000 #e");
    check_source("{\"customer\": [\"\", \"c\"], \"eid\": \"e\"}", &full, "head:c @1700000000123 #e");
    check_source("{\"eid\": \"e\"}", &full, "head:the-key @1700000000123 #e");
    check_source("{\"eid\": 17}", &full, "head:the-key @1700000000123 #17");
    check_source("{\"alt\": \"\", \"other\": \"o\"}", &full, "head:the-key @1700000000123 #o");
    check_source("{\"eid\": -9223372036854775808, \"customer\": 0}", &full,
                 "head:0 @1700000000123 #-9223372036854775808");
    check_source("{\"eid\": \"e\"}", &file, "bad: missing namespace: path ns or the Kafka header ns has no value");
    check_source("{\"ns\": \"a\", \"eid\": \"e\"}", &file,
                 "bad: missing person: path customer or path cookie or the Kafka key has no value");
    check_source("{\"ns\": \"a\", \"customer\": \"c\", \"eid\": \"e\"}", &file,
                 "bad: missing timestamp: path ts or the Kafka timestamp has no value");
    check_source("{\"ns\": \"a\", \"customer\": \"c\", \"eid\": \"e\"}", &bare,
                 "bad: missing timestamp: path ts or the Kafka timestamp has no value");
    check_source("{\"ns\": \"a\", \"customer\": \"c\", \"ts\": 1}", &full,
                 "bad: missing event id: path eid or path alt or path other has no value");
    check_source(
        "{\"ns\": \"a\", \"customer\": [\"c\", \"d\"], \"ts\": 1, \"eid\": \"e\"}", &full,
        "bad: ambiguous person: path customer or path cookie or the Kafka key has 2 values where one is wanted");
    check_source("{\"ns\": \"a\", \"customer\": {}, \"ts\": 1, \"eid\": \"e\"}", &full,
                 "bad: bad person: path customer or path cookie or the Kafka key holds a record where text or an "
                 "integer is wanted");
    check_source("{\"ns\": \"a\", \"customer\": true, \"ts\": 1, \"eid\": \"e\"}", &full,
                 "bad: bad person: path customer or path cookie or the Kafka key holds a boolean where text or an "
                 "integer is wanted");
    check_source("{\"ns\": 1.5, \"customer\": \"c\", \"ts\": 1, \"eid\": \"e\"}", &full,
                 "bad: bad namespace: path ns or the Kafka header ns holds a number with a fraction or exponent where "
                 "text or an integer is "
                 "wanted");
    check_source("{\"customer\": \"c\", \"ts\": 1, \"eid\": \"e\"}", &doubled,
                 "bad: ambiguous namespace: path ns or the Kafka header ns has 2 values where one is wanted");
    check_source("{\"ts\": 1, \"eid\": \"e\"}", &bytes,
                 "bad: bad person: path customer or path cookie or the Kafka key holds bytes that are no text where "
                 "text or an integer is "
                 "wanted");
    /* a source that is no first_of counts empty text as a value */
    assert_string_equal(decode(plain, "{\"id\": [\"\", \"p\"], \"ts\": 1, \"eid\": \"e\"}"),
                        "bad: ambiguous person: path id has 2 values where one is wanted");
    assert_string_equal(decode(plain, "{\"id\": \"\", \"ts\": 1, \"eid\": \"e\"}"),
                        "bad: missing person: path id has empty text");
    assert_string_equal(decode(plain, "{\"id\": [[\"p\"]], \"ts\": [null, 1], \"eid\": \"e\"}"),
                        "ecid:p @1 #e items*0 far*0");
}

static void check_time(const char *unit, const char *ts, const char *wanted) {
    char dataset[512], record[512], line[512];
    snprintf(dataset, sizeof dataset,
             "{\"person\": {\"namespace\": \"n\", \"id\": {\"path\": \"id\"}}, \"timestamp\": {\"path\": \"ts\", "
             "\"unit\": \"%s\"},"
             " \"event_id\": {\"path\": \"id\"}}",
             unit);
    snprintf(record, sizeof record, "{\"id\": \"p\", \"ts\": %s}", ts);
    snprintf(line, sizeof line, "n:p @%s #p", wanted ? wanted : "");
    const char *found = decode(dataset, record);
    if (wanted ? strcmp(found, line) != 0 : strncmp(found, "bad: bad timestamp: ", 20) != 0)
        fail_msg("%s %s gives %s, wanted %s", unit, ts, found, wanted ? wanted : "a bad timestamp");
}

static void timestamps(void **state) {
    (void)state;
    check_time("ms", "0", "0");
    check_time("ms", "\"1700000000123\"", "1700000000123");
    check_time("ms", "\"-0001\"", "-1");
    check_time("ms", "-62135596800000", "-62135596800000");
    check_time("ms", "-62135596800001", NULL);
    check_time("ms", "253402300799999", "253402300799999");
    check_time("ms", "253402300800000", NULL);
    check_time("ms", "9223372036854775807", NULL);
    check_time("ms", "99999999999999999999", NULL);
    check_time("ms", "\"99999999999999999999\"", NULL);
    check_time("ms", "\"-99999999999999999999\"", NULL);
    check_time("ms", "1.0", NULL);
    check_time("ms", "1.7e12", NULL);
    check_time("ms", "true", NULL);
    check_time("ms", "{}", NULL);
    check_time("ms", "\"\\u0000\"", NULL);
    check_time("ms", "\"+1\"", NULL);
    check_time("ms", "\"1 \"", NULL);
    check_time("ms", "\" 1\"", NULL);
    check_time("ms", "\"-\"", NULL);
    check_time("ms", "\"0x10\"", NULL);
    check_time("ms", "\"2026-01-01T00:00:00Z\"", NULL);
    check_time("s", "1700000000", "1700000000000");
    check_time("s", "\"-1\"", "-1000");
    check_time("s", "253402300799", "253402300799000");
    check_time("s", "253402300800", NULL);
    check_time("s", "9223372036854775807", NULL);
    check_time("us", "1999", "1");
    check_time("us", "-1", "-1");
    check_time("us", "-1000", "-1");
    check_time("us", "-1001", "-2");
    check_time("us", "253402300799999999", "253402300799999");
    check_time("us", "253402300800000000", NULL);
    check_time("us", "-62135596800000000", "-62135596800000");
    check_time("us", "-62135596800000001", NULL);
    check_time("rfc3339", "\"1970-01-01T00:00:00.0019Z\"", "1");
    check_time("rfc3339", "\"1969-12-31T23:59:59.9999Z\"", "-1");
    check_time("rfc3339", "\"2026-01-31T09:15:00.5+01:00\"", "1769847300500");
    check_time("rfc3339", "\"2026-01-31T09:15:00\"", NULL);
    check_time("rfc3339", "1700000000000", NULL);
    check_time("rfc3339", "\"1700000000000\"", NULL);
}

static void position_identifies(void **state) {
    (void)state;
    static const char dataset[] =
        "{\"person\": {\"namespace\": \"n\", \"id\": {\"path\": \"id\"}}, \"timestamp\": {\"path\": \"ts\"}}";
    static const char value[] = "{\"id\": \"p\", \"ts\": 5}";
    assert_string_equal(decode(dataset, value), "n:p @5 #web.events:00000000000000000003:00000000000000000042");
    struct rc_record record = {.value = rc_span_str(value), .offset = INT64_MAX, .from_file = true};
    assert_string_equal(decode_with(dataset, &(struct rc_decoder_options){0}, &record), "n:p @5 #09223372036854775807");
    record = (struct rc_record){.value = rc_span_str(value), .timestamp_ms = RC_NO_TIMESTAMP};
    assert_string_equal(decode_with(dataset, &(struct rc_decoder_options){0}, &record),
                        "n:p @5 #:00000000000000000000:00000000000000000000");
}

static void limits(void **state) {
    (void)state;
    static const char value[] = "{\"id\": \"p\", \"ts\": 86400101, \"eid\": \"e\", \"l\": \"bad\"}";
    const struct rc_decoder_options options = {.max_ahead_ms = 86400000, .max_record_bytes = 60};
    struct rc_record record = {.value = rc_span_str(value), .timestamp_ms = 100};
    assert_string_equal(
        decode_with(plain, &options, &record),
        "bad: timestamp in the future: 86400001 ms ahead of the record's own timestamp, at most 86400000 are allowed");
    record.timestamp_ms = 101;
    assert_non_null(strstr(decode_with(plain, &options, &record), "bad value"));
    record.timestamp_ms = RC_NO_TIMESTAMP;
    assert_non_null(strstr(decode_with(plain, &options, &record), "bad value"));
    record.timestamp_ms = INT64_MIN + 1;
    assert_non_null(
        strstr(decode_with(plain, &options, &record), "timestamp in the future")); /* the difference has no 64 bits */
    record.timestamp_ms = INT64_MAX;
    assert_non_null(strstr(decode_with(plain, &options, &record), "bad value"));
    record.timestamp_ms = 100;
    record.from_file = true; /* in eval only the last two limits apply */
    assert_non_null(strstr(decode_with(plain, &options, &record), "bad value"));
    char large[128];
    memset(large, ' ', sizeof large);
    memcpy(large, value, strlen(value));
    record = (struct rc_record){.value = rc_span_of(large, 61), .timestamp_ms = 86400101};
    assert_string_equal(decode_with(plain, &options, &record),
                        "bad: record too large: 61 bytes, at most 60 are allowed");
    record.value.len = 60;
    assert_non_null(strstr(decode_with(plain, &options, &record), "bad value"));
    record.null_value = true;
    assert_string_equal(decode_with(plain, &options, &record), "ignored");
}

/* `where`: s = "mine"; counts what it was shown. */
struct where {
    const struct rc_dataset *dataset;
    int calls;
    bool saw_others;
};

static bool is_mine(void *ctx, const struct rc_event *event) {
    struct where *w = ctx;
    w->calls++;
    for (size_t f = 1; f < w->dataset->n_fields; f++)
        w->saw_others |= event->fields[f].n > 0;
    return event->fields[0].n && rc_span_equal(event->fields[0].values[0].string, rc_span_str("mine"));
}

static void where_is_judged_first(void **state) {
    (void)state;
    struct rc_dataset *d = test_dataset(plain);
    bool *named = calloc(d->n_fields, sizeof *named);
    named[0] = true;
    struct where where = {.dataset = d};
    struct rc_decoder *decoder;
    const struct rc_decoder_options options = {
        .where = is_mine, .where_ctx = &where, .where_fields = named, .max_ahead_ms = 10};
    assert_int_equal(rc_decoder_new(d, &options, &decoder, NULL), RC_OK);
    free(named); /* copied */
    static const struct {
        const char *value, *wanted;
    } cases[] = {
        {"{\"id\": \"p\", \"ts\": 1, \"eid\": \"e\", \"s\": \"mine\", \"l\": 5}",
         "ecid:p @1 #e s=\"mine\" l=5 items*0 far*0"},
        {"{\"id\": \"p\", \"ts\": 1, \"eid\": \"e\", \"s\": \"theirs\"}", "ignored"},
        {"{\"s\": \"theirs\", \"l\": \"x\", \"items\": 5}", "ignored"},
        {"{\"s\": \"theirs\", \"id\": [1, 2], \"ts\": \"never\", \"l\": 1.5}", "ignored"},
        {"{\"s\": \"theirs\", \"id\": \"p\", \"ts\": 99999}", "ignored"},
        {"{}", "ignored"},
        {"{\"s\": \"mine\"}", "bad: missing person: path id has no value"},
        {"{\"s\": \"mine\", \"id\": \"p\"}", "bad: missing timestamp: path ts has no value"},
        {"{\"s\": \"mine\", \"id\": \"p\", \"ts\": 1}", "bad: missing event id: path eid has no value"},
        {"{\"s\": \"mine\", \"id\": \"p\", \"ts\": 1, \"eid\": \"e\", \"l\": \"x\"}", WRONG("l", "l", "text", "long")},
        {"{\"s\": \"mine\", \"id\": \"p\", \"ts\": 1, \"eid\": \"e\", \"items\": 5}",
         "bad: bad element: elements items (path items): something else than a record"},
        {"{\"s\": 5}", WRONG("s", "s", "an integer", "string")},
        {"not json", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rc_record record = {.value = rc_span_str(cases[i].value), .timestamp_ms = 0};
        const char *line = test_decode(decoder, d, &record);
        if (cases[i].wanted ? strcmp(line, cases[i].wanted) != 0 : strncmp(line, "bad: broken json", 16) != 0)
            fail_msg("%s gives %s", cases[i].value, line);
    }
    assert_false(where.saw_others);
    assert_int_equal(where.calls, 11);
    rc_decoder_free(decoder);
    test_dataset_free(d);
}

static void dropped_values_are_counted(void **state) {
    (void)state;
    struct rc_dataset *d = test_dataset(plain);
    struct rc_decoder *decoder;
    assert_int_equal(rc_decoder_new(d, &(struct rc_decoder_options){.max_ahead_ms = -1}, &decoder, NULL), RC_OK);
    assert_int_equal(rc_decoder_reason(decoder), RC_REASON_NONE);
    struct rc_record record = {.value =
                                   rc_span_str("{\"id\": \"p\", \"ts\": 1, \"eid\": \"e\", \"opt\": [-1, \"x\", 5]}")};
    assert_string_equal(test_decode(decoder, d, &record), "ecid:p @1 #e opt=5 items*0 far*0");
    assert_int_equal(rc_decoder_no_values(decoder), 2);
    record.value = rc_span_str("{\"id\": \"p\", \"ts\": 1, \"eid\": \"e\", \"opt\": -1, \"l\": \"bad\"}");
    assert_string_equal(test_decode(decoder, d, &record), WRONG("l", "l", "text", "long"));
    assert_int_equal(rc_decoder_no_values(decoder), 2);
    assert_int_equal(rc_decoder_reason(decoder), RC_REASON_BAD_VALUE);
    record.value =
        rc_span_str("{\"id\": \"p\", \"ts\": 1, \"eid\": \"e\"}"); /* faults do not stay for the next record */
    assert_string_equal(test_decode(decoder, d, &record), "ecid:p @1 #e items*0 far*0");
    rc_decoder_free(decoder);
    test_dataset_free(d);
}

static void reasons_have_texts(void **state) {
    (void)state;
    for (unsigned i = 0; i < RC_REASON_COUNT; i++) {
        const char *text = rc_reason_text((enum rc_reason)i);
        assert_non_null(text);
        assert_int_equal(rc_reason_of(rc_span_str(text)), i);
    }
    assert_int_equal(rc_reason_of(rc_span_str("of a later build")), RC_REASON_OTHER);
    assert_string_equal(rc_reason_text(RC_REASON_FUTURE_TIMESTAMP), "timestamp in the future");
    assert_string_equal(rc_reason_text(RC_REASON_TOO_LARGE), "record too large");
    assert_string_equal(rc_reason_text(RC_REASON_WRONG_PARTITION), "wrong partition");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(strings),
        cmocka_unit_test(longs),
        cmocka_unit_test(booleans),
        cmocka_unit_test(fixed_point),
        cmocka_unit_test(numbers_beyond_c),
        cmocka_unit_test(tags_cannot_be_forged),
        cmocka_unit_test(elements),
        cmocka_unit_test(not_json),
        cmocka_unit_test(sources_have_exactly_one_value),
        cmocka_unit_test(timestamps),
        cmocka_unit_test(position_identifies),
        cmocka_unit_test(limits),
        cmocka_unit_test(where_is_judged_first),
        cmocka_unit_test(dropped_values_are_counted),
        cmocka_unit_test(reasons_have_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
