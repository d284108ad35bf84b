/* Rows of files become the records that the dataset describes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "codec/decode.h"
#include "producers/convert.h"
#include "segment/definition.h"

#define JSON_DATASET                                                                                              \
    "{\"kind\":\"dataset\",\"id\":\"web\",\"topic\":\"web.events\",\"format\":\"json\","                          \
    "\"person\":{\"namespace\":\"crm\",\"id\":{\"first_of\":[{\"path\":\"user.id\"},{\"path\":\"cookie\"}]}},"    \
    "\"timestamp\":{\"path\":\"time\"},"                                                                          \
    "\"fields\":{\"type\":{\"path\":\"event.type\",\"type\":\"string\"},\"count\":{\"path\":\"count\",\"type\":"  \
    "\"long\"},"                                                                                                  \
    "\"total\":{\"path\":\"order.total\",\"type\":\"decimal\"},\"vip\":{\"path\":\"vip\",\"type\":\"boolean\"}}," \
    "\"elements\":{\"items\":{\"path\":\"lines\",\"fields\":{\"sku\":{\"path\":\"SKU\",\"type\":\"string\"}}}}}"

#define AVRO_SCHEMA                                                                                                    \
    "{\"type\":\"record\",\"name\":\"E\",\"fields\":["                                                                 \
    "{\"name\":\"id\",\"type\":\"string\"},"                                                                           \
    "{\"name\":\"time\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}},"                           \
    "{\"name\":\"order\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"O\",\"fields\":["                          \
    "{\"name\":\"total\",\"type\":\"double\"},{\"name\":\"paid\",\"type\":[\"null\",\"boolean\"],\"default\":null}]}]" \
    ",\"default\":null},"                                                                                              \
    "{\"name\":\"lines\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"L\",\"fields\":["      \
    "{\"name\":\"sku\",\"type\":\"string\"},{\"name\":\"n\",\"type\":\"int\",\"default\":1}]}},\"default\":[]}]}"
#define AVRO_DATASET                                                                                                \
    "{\"kind\":\"dataset\",\"id\":\"web\",\"topic\":\"web.events\",\"format\":\"avro\",\"schema\":" AVRO_SCHEMA "," \
    "\"person\":{\"namespace\":\"crm\",\"id\":{\"path\":\"id\"}},\"timestamp\":{\"path\":\"time\"},"                \
    "\"fields\":{\"total\":{\"path\":\"order.total\",\"type\":\"double\"}},"                                        \
    "\"elements\":{\"items\":{\"path\":\"lines\",\"fields\":{\"sku\":{\"path\":\"sku\",\"type\":\"string\"}}}}}"

struct fixture {
    struct rc_catalog *catalog;
    struct rc_converter *converter;
    struct rc_decoder *decoder;
    struct rc_arena arena;
    struct rc_buf value;
};

static rc_status open_with(struct fixture *f, const char *definition, const char *zone, struct rc_error *err) {
    struct rc_catalog_builder builder;
    rc_catalog_builder_init(&builder);
    *f = (struct fixture){0};
    if (rc_catalog_builder_add(&builder, "test.json", rc_span_str(definition), NULL, NULL, err) != RC_OK ||
        rc_catalog_build(&builder, &f->catalog, err) != RC_OK)
        fail_msg("%s", err->message);
    rc_catalog_builder_deinit(&builder);
    struct rc_converter_options options = {.schema_id = RC_FRAMING_NO_ID};
    if (zone)
        assert_int_equal(rc_timezone_load(zone, &options.zone, err), RC_OK);
    rc_arena_init(&f->arena, 4096);
    rc_buf_init(&f->value, 1 << 20);
    rc_status status = rc_converter_new(&f->catalog->datasets[0], &options, &f->converter, err);
    if (status != RC_OK)
        return status;
    struct rc_decoder_options decoder = {.max_ahead_ms = -1};
    if (rc_decoder_new(&f->catalog->datasets[0], &decoder, &f->decoder, err) != RC_OK)
        fail_msg("%s", err->message);
    return RC_OK;
}

static void open_good(struct fixture *f, const char *definition, const char *zone) {
    struct rc_error err;
    if (open_with(f, definition, zone, &err) != RC_OK)
        fail_msg("%s", err.message);
}

static void close_all(struct fixture *f) {
    if (f->decoder)
        rc_decoder_free(f->decoder);
    rc_converter_free(f->converter);
    rc_catalog_free(f->catalog);
    rc_arena_deinit(&f->arena);
    rc_buf_deinit(&f->value);
}

/* A CSV row, as an object of texts. */
static json_t *csv(struct fixture *f, const char *cells, struct rc_error *err) {
    struct rc_file_record row = {.number = 2, .json = json_loads(cells, 0, NULL)};
    assert_non_null(row.json);
    json_t *tree = NULL;
    if (rc_convert_row(f->converter, RC_FILE_CSV, &row, &tree, err) != RC_OK)
        tree = NULL;
    json_decref(row.json);
    return tree;
}

static json_t *jsonl(struct fixture *f, const char *line) {
    struct rc_error err;
    struct rc_file_record row = {.number = 1, .raw = rc_span_str(line)};
    json_t *tree = NULL;
    if (rc_convert_row(f->converter, RC_FILE_JSONL, &row, &tree, &err) != RC_OK)
        fail_msg("%s", err.message);
    return tree;
}

static void assert_tree(json_t *tree, const char *expected) {
    assert_non_null(tree);
    json_t *want = json_loads(expected, 0, NULL);
    assert_non_null(want);
    if (!json_equal(tree, want)) {
        char *text = json_dumps(tree, JSON_COMPACT);
        fail_msg("got %s, want %s", text, expected);
    }
    json_decref(want);
    json_decref(tree);
}

/* Writes the tree and reads it as ingest would: the time. */
static int64_t accepted_time(struct fixture *f, json_t *tree) {
    struct rc_error err;
    rc_buf_reset(&f->value);
    if (rc_convert_value(f->converter, tree, &f->value, &err) != RC_OK)
        fail_msg("%s", err.message);
    struct rc_record record = {.value = rc_buf_span(&f->value), .timestamp_ms = RC_NO_TIMESTAMP, .topic = "t"};
    struct rc_event event;
    if (rc_decode(f->decoder, &record, &f->arena, &event, &err) != RC_DECODED)
        fail_msg("%s", err.message);
    return event.timestamp_ms;
}

static void test_columns_by_path_name_and_text(void **state) {
    (void)state;
    struct fixture f;
    struct rc_error err;
    open_good(&f, JSON_DATASET, NULL);
    /* user.id: the source's path; type: a field's name; order.total: a field's path; items.sku: a field of elements; note: nobody's. */
    assert_tree(
        csv(&f,
            "{\"user.id\":\"0042\",\"type\":\"view\",\"order.total\":\"19.5\",\"count\":\"7\",\"vip\":\"TRUE\",\"items."
            "sku\":\"A\","
            "\"note\":\"12\",\"time\":\"1700000000000\",\"cookie\":\"\"}",
            &err),
        "{\"user\":{\"id\":\"0042\"},\"event\":{\"type\":\"view\"},\"order\":{\"total\":19.5},\"count\":7,\"vip\":true,"
        "\"lines\":{\"SKU\":\"A\"},\"note\":\"12\",\"time\":1700000000000}");
    close_all(&f);
}

static void test_cells_that_do_not_fit(void **state) {
    (void)state;
    struct fixture f;
    struct rc_error err;
    open_good(&f, JSON_DATASET, NULL);
    const char *bad[][2] = {{"count", "7.0"}, {"count", " 7"},          {"count", "9223372036854775808"},
                            {"count", "0x7"}, {"order.total", "nan"},   {"order.total", "1,5"},
                            {"vip", "yes"},   {"order.total", "1e999"}, {"total", "+1"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char cells[200];
        snprintf(cells, sizeof cells, "{\"%s\":\"%s\"}", bad[i][0], bad[i][1]);
        assert_null(csv(&f, cells, &err));
        assert_int_equal(err.class, RC_CLASS_POISON);
        assert_non_null(strstr(err.message, bad[i][0]));
        assert_non_null(strstr(err.message, bad[i][1]));
    }
    assert_null(csv(&f, "{\"a\":\"1\",\"a.b\":\"2\"}", &err));
    assert_non_null(strstr(err.message, "a.b"));
    close_all(&f);
}

static void test_local_times(void **state) {
    (void)state;
    struct fixture f;
    struct rc_error err;
    open_good(&f, JSON_DATASET, "Europe/Stockholm");
    json_t *tree = csv(&f, "{\"cookie\":\"c\",\"time\":\"2024-03-13 10:21:14\"}", &err);
    assert_int_equal(accepted_time(&f, tree), 1710321674000);
    assert_tree(tree, "{\"cookie\":\"c\",\"time\":1710321674000}");
    tree = jsonl(&f, "{\"cookie\":\"c\",\"time\":\"2024-03-13T10:21:14Z\"}");
    assert_tree(tree, "{\"cookie\":\"c\",\"time\":1710325274000}");
    assert_tree(jsonl(&f, "{\"time\":\"1700000000000\"}"), "{\"time\":\"1700000000000\"}"); /* datasets read that */
    assert_tree(jsonl(&f, "{\"time\":\"soon\"}"), "{\"time\":\"soon\"}"); /* the decoder says what is wrong */
    assert_tree(csv(&f, "{\"time\":\"1700000000000\"}", &err), "{\"time\":1700000000000}");
    close_all(&f);
}

static void test_rewriting_keeps_the_form(void **state) {
    (void)state;
    const struct {
        const char *unit, *before, *after;
        int64_t at_ms;
    } cases[] = {
        {"ms", "{\"time\":1}", "{\"time\":1700000000123}", 1700000000123},
        {"ms", "{\"time\":\"1\"}", "{\"time\":\"1700000000123\"}", 1700000000123},
        {"s", "{\"time\":1}", "{\"time\":1700000000}", 1700000000000},
        {"us", "{\"time\":1}", "{\"time\":1700000000123000}", 1700000000123},
        {"rfc3339", "{\"time\":\"2024-01-01T00:00:00Z\"}", "{\"time\":\"2023-11-14T22:13:20.123Z\"}", 1700000000123}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char definition[600];
        snprintf(definition, sizeof definition,
                 "{\"kind\":\"dataset\",\"id\":\"web\",\"topic\":\"t\",\"format\":\"json\",\"person\":{\"namespace\":"
                 "\"n\",\"id\":{\"path\":"
                 "\"id\"}},\"timestamp\":{\"path\":\"time\",\"unit\":\"%s\"}}",
                 cases[i].unit);
        struct fixture f;
        struct rc_error err;
        open_good(&f, definition, NULL);
        assert_true(rc_converter_has_time(f.converter));
        json_t *tree = jsonl(&f, cases[i].before);
        assert_int_equal(rc_convert_time(f.converter, tree, cases[i].at_ms, &err), RC_OK);
        assert_tree(json_incref(tree), cases[i].after);
        json_object_set_new(tree, "id", json_string("p"));
        assert_int_equal(accepted_time(&f, tree), cases[i].at_ms);
        json_decref(tree);
        tree = jsonl(&f, "{\"other\":1}");
        assert_int_equal(rc_convert_time(f.converter, tree, 5, &err), RC_FAIL);
        json_decref(tree);
        close_all(&f);
    }
}

static void test_avro_by_the_schema(void **state) {
    (void)state;
    struct fixture f;
    struct rc_error err;
    open_good(&f, AVRO_DATASET, "Europe/Stockholm");
    json_t *tree = csv(&f,
                       "{\"id\":\"7\",\"time\":\"2024-03-13 "
                       "10:21:14\",\"total\":\"20\",\"order.paid\":\"0\",\"items.sku\":\"A\",\"lines.n\":\"3\","
                       "\"nowhere\":\"x\"}",
                       &err);
    assert_tree(json_incref(tree), "{\"id\":\"7\",\"time\":1710321674000000,\"order\":{\"total\":20,\"paid\":false},"
                                   "\"lines\":[{\"sku\":\"A\",\"n\":3}]}");
    assert_int_equal(accepted_time(&f, tree), 1710321674000);
    assert_int_equal(rc_convert_time(f.converter, tree, 1700000000123, &err), RC_OK);
    assert_int_equal(accepted_time(&f, tree), 1700000000123);
    json_decref(tree);
    assert_string_equal(rc_converter_unused_column(f.converter), "nowhere");
    assert_null(rc_converter_unused_column(f.converter));
    /* JSONL goes by the schema as well, and what the schema does not have is an error, not a loss. */
    tree = jsonl(&f, "{\"id\":\"7\",\"time\":1710321674000000}");
    assert_int_equal(accepted_time(&f, tree), 1710321674000);
    json_object_set_new(tree, "extra", json_integer(1));
    rc_buf_reset(&f.value);
    assert_int_equal(rc_convert_value(f.converter, tree, &f.value, &err), RC_FAIL);
    assert_non_null(strstr(err.message, "extra"));
    json_decref(tree);
    close_all(&f);
}

static void test_raw(void **state) {
    (void)state;
    struct fixture f;
    open_good(&f, JSON_DATASET, NULL);
    assert_true(rc_converter_takes_raw(f.converter, RC_FILE_JSONL, NULL));
    assert_false(rc_converter_takes_raw(f.converter, RC_FILE_CSV, NULL));
    assert_false(rc_converter_takes_raw(f.converter, RC_FILE_AVRO, AVRO_SCHEMA));
    close_all(&f);
    open_good(&f, AVRO_DATASET, NULL);
    assert_false(rc_converter_takes_raw(f.converter, RC_FILE_JSONL, NULL));
    assert_true(rc_converter_takes_raw(f.converter, RC_FILE_AVRO, AVRO_SCHEMA));
    assert_false(rc_converter_takes_raw(f.converter, RC_FILE_AVRO, "\"string\""));
    close_all(&f);
}

static void test_what_files_do_not_have(void **state) {
    (void)state;
    struct fixture f;
    struct rc_error err;
    const char *definition = "{\"kind\":\"dataset\",\"id\":\"web\",\"topic\":\"t\",\"format\":\"json\",\"person\":{"
                             "\"namespace\":\"n\",\"id\":"
                             "{\"kafka\":\"key\"}},\"timestamp\":{\"kafka\":\"timestamp\"}}";
    assert_int_equal(open_with(&f, definition, NULL, &err), RC_FAIL);
    assert_int_equal(err.exit_code, RC_EXIT_USAGE);
    assert_non_null(strstr(err.message, "person id"));
    close_all(&f);
    definition = "{\"kind\":\"dataset\",\"id\":\"web\",\"topic\":\"t\",\"format\":\"json\",\"person\":{\"namespace\":"
                 "\"n\",\"id\":"
                 "{\"first_of\":[{\"kafka\":\"key\"},{\"path\":\"id\"}]}},\"timestamp\":{\"kafka\":\"timestamp\"}}";
    open_good(&f, definition, NULL);
    assert_false(rc_converter_has_time(f.converter));
    close_all(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_by_path_name_and_text),
        cmocka_unit_test(test_cells_that_do_not_fit),
        cmocka_unit_test(test_local_times),
        cmocka_unit_test(test_rewriting_keeps_the_form),
        cmocka_unit_test(test_avro_by_the_schema),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_what_files_do_not_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
