/* The records of the definitions topic: a definition's own text comes back byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "consumers/shared/definitions.h"

static const char dataset[] =
    "{\"kind\":\"dataset\",\"id\":\"web\",\"topic\":\"web.events\",\"format\":\"json\","
    "\"person\":{\"namespace\":\"c\",\"id\":{\"path\":\"u\"}},\"timestamp\":{\"path\":\"ts\"},"
    "\"description\":\"a \\\"version\\\":7,\\\"time\\\" } trap\",\"fields\":{\"n\":{\"path\":\"n\",\"type\":"
    "\"decimal\",\"min\":0.1}}}";

static void what_is_written_is_read(void **state) {
    (void)state;
    struct rc_definition definition = {.kind = "dataset",
                                       .id = "web",
                                       .json = (char *)(uintptr_t)dataset,
                                       .version = 12,
                                       .applied_ms = 1767225600123,
                                       .applied_by = "ann \"the\" ,\"version\":99 admin"};
    struct rc_buf value;
    rc_buf_init(&value, 1 << 16);
    assert_int_equal(rc_definition_record_add(&value, &definition), RC_OK);
    json_t *json = json_loadb(value.data, value.len, 0, NULL);
    assert_non_null(json);
    assert_int_equal(json_integer_value(json_object_get(json, "version")), 12);
    assert_string_equal(json_string_value(json_object_get(json, "time")), "2026-01-01T00:00:00.123Z");
    assert_string_equal(json_string_value(json_object_get(json, "who")), definition.applied_by);
    assert_string_equal(json_string_value(json_object_get(json, "id")), "web");
    json_decref(json);

    struct rc_catalog_builder builder;
    struct rc_error err;
    rc_catalog_builder_init(&builder);
    if (rc_definition_record_read(&builder, rc_buf_span(&value), &err) != RC_OK)
        fail_msg("%s", err.message);
    const struct rc_definition *found = rc_catalog_builder_find(&builder, "dataset", "web");
    assert_non_null(found);
    assert_string_equal(found->json, dataset);
    assert_int_equal(found->version, 12);
    assert_int_equal(found->applied_ms, 1767225600123);
    assert_string_equal(found->applied_by, definition.applied_by);
    rc_catalog_builder_deinit(&builder);
    rc_buf_deinit(&value);
}

static void a_schedule_keeps_its_begin(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{\"kind\":\"audience\",\"id\":\"x\",\"where\":{\"segment\":\"s\"},\"refresh\":\"daily\"}",
        "{\"kind\":\"audience\",\"id\":\"x\",\"where\":{\"segment\":\"t\"},\"refresh\":\"daily\",\"name\":\"X\"}",
        "{\"kind\":\"audience\",\"id\":\"x\",\"where\":{\"segment\":\"t\"},\"refresh\":\"daily\",\"at\":\"02:00\"}",
        "{\"kind\":\"audience\",\"id\":\"x\",\"where\":{\"segment\":\"t\"},\"refresh\":\"once\"}",
        "{\"kind\":\"audience\",\"id\":\"x\",\"where\":{\"segment\":\"t\"},\"refresh\":\"once\",\"name\":\"X\"}",
        "{\"kind\":\"audience\",\"id\":\"x\",\"where\":{\"segment\":\"s\"},\"refresh\":\"once\",\"name\":\"X\"}"};
    static const int64_t begins[] = {1000, 1000, 3000, 4000, 4000, 6000};
    struct rc_catalog_builder builder;
    struct rc_error err;
    rc_catalog_builder_init(&builder);
    for (int i = 0; i < 6; i++) {
        const struct rc_definition *before = rc_catalog_builder_find(&builder, "audience", "x");
        struct rc_definition definition = {.kind = (char *)"audience",
                                           .id = (char *)"x",
                                           .json = (char *)(uintptr_t)texts[i],
                                           .version = i + 1,
                                           .applied_ms = (i + 1) * 1000,
                                           .applied_by = (char *)"ann"};
        struct rc_buf value;
        rc_buf_init(&value, 1 << 16);
        definition.scheduled_ms = rc_definition_scheduled_ms(before, &definition, definition.applied_ms);
        assert_int_equal(rc_definition_record_add(&value, &definition), RC_OK);
        if (rc_definition_record_read(&builder, rc_buf_span(&value), &err) != RC_OK)
            fail_msg("%s", err.message);
        const struct rc_definition *found = rc_catalog_builder_find(&builder, "audience", "x");
        assert_string_equal(found->json, texts[i]);
        assert_int_equal(found->scheduled_ms, begins[i]);
        assert_int_equal(found->applied_ms, definition.applied_ms);
        rc_buf_deinit(&value);
    }
    rc_catalog_builder_deinit(&builder);
}

static void what_is_no_record_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "{}",
        "null",
        "{\"kind\":\"dataset\",\"id\":\"web\"}",
        "{\"kind\":\"dataset\",\"id\":\"web\",\"version\":1}",
        "{\"kind\":\"dataset\",\"id\":\"web\",\"version\":1,\"time\":\"yesterday\",\"who\":\"x\"}",
        "{\"kind\":\"dataset\",\"id\":\"web\",\"version\":1,\"time\":\"2026-01-01T00:00:00Z\",\"who\":\"x\"",
        "{\"kind\":\"nonsense\",\"id\":\"web\",\"version\":1,\"time\":\"2026-01-01T00:00:00Z\",\"who\":\"x\"}",
        ",\"version\":1,\"time\":\"2026-01-01T00:00:00Z\",\"who\":\"x\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct rc_catalog_builder builder;
        struct rc_catalog *catalog;
        struct rc_error err;
        rc_catalog_builder_init(&builder);
        rc_status status = rc_definition_record_read(&builder, rc_span_str(bad[i]), &err);
        if (status == RC_OK) { /* what the builder takes at first it judges as a whole */
            status = rc_catalog_build(&builder, &catalog, &err);
            if (status == RC_OK)
                rc_catalog_free(catalog);
        }
        if (status == RC_OK)
            fail_msg("taken: %s", bad[i]);
        assert_int_equal(err.class, RC_CLASS_POISON);
        assert_true(strlen(err.message) > 0);
        rc_catalog_builder_deinit(&builder);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_schedule_keeps_its_begin),
        cmocka_unit_test(what_is_no_record_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
