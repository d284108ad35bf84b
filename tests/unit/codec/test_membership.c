/* The straight-line writer and reader of memberships, held against avro-c and the files in schemas/. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <avro.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/membership.h"

static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = calloc(1, 65536);
    assert_true(fread(text, 1, 65535, file) > 0);
    fclose(file);
    return text;
}

static const char *const files[] = {
    [RC_MEMBERSHIP_AUDIENCE] = RC_SOURCE_DIR "/schemas/membership.avsc",
    [RC_MEMBERSHIP_SEGMENT] = RC_SOURCE_DIR "/schemas/segment_membership.avsc",
};

static avro_value_iface_t *iface_of(enum rc_membership_kind kind, avro_schema_t *schema) {
    const char *text = rc_membership_schema(kind);
    assert_int_equal(avro_schema_from_json_length(text, strlen(text), schema), 0);
    return avro_generic_class_from_schema(*schema);
}

static void texts_are_the_files(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        char *text = read_file(files[kind]);
        assert_string_equal(text, rc_membership_schema((enum rc_membership_kind)kind));
        free(text);
    }
}

static void set_string(avro_value_t *record, const char *name, struct rc_span text) {
    avro_value_t field;
    assert_int_equal(avro_value_get_by_name(record, name, &field, NULL), 0);
    char *copy = strndup(text.data, text.len);
    assert_int_equal(avro_value_set_string(&field, copy), 0);
    free(copy);
}

static void set_long(avro_value_t *record, const char *name, int64_t number) {
    avro_value_t field;
    assert_int_equal(avro_value_get_by_name(record, name, &field, NULL), 0);
    if (avro_value_get_type(&field) == AVRO_INT32)
        assert_int_equal(avro_value_set_int(&field, (int32_t)number), 0);
    else if (avro_value_get_type(&field) == AVRO_ENUM)
        assert_int_equal(avro_value_set_enum(&field, (int)number), 0);
    else
        assert_int_equal(avro_value_set_long(&field, number), 0);
}

static avro_value_t branch(avro_value_t *record, const char *name, int which) {
    avro_value_t field, value = {0};
    assert_int_equal(avro_value_get_by_name(record, name, &field, NULL), 0);
    assert_int_equal(avro_value_set_branch(&field, which, &value), 0);
    return value;
}

/* What avro-c writes for `change`. */
static size_t by_avro_c(enum rc_membership_kind kind, const struct rc_membership *change, char *out, size_t size) {
    avro_schema_t schema;
    avro_value_iface_t *iface = iface_of(kind, &schema);
    avro_value_t record;
    avro_generic_value_new(iface, &record);
    set_string(&record, kind == RC_MEMBERSHIP_AUDIENCE ? "audience" : "segment", change->target);
    set_string(&record, "namespace", change->namespace);
    set_string(&record, "personId", change->person_id);
    set_long(&record, "status", change->realized ? 0 : 1);
    set_long(&record, "since", change->since_ms);
    set_long(&record, "version", change->version);
    set_long(&record, "cause", change->cause);
    avro_value_t value = branch(&record, "eventId", change->event_id.len ? 1 : 0);
    if (change->event_id.len) {
        char *copy = strndup(change->event_id.data, change->event_id.len);
        avro_value_set_string(&value, copy);
        free(copy);
    } else {
        avro_value_set_null(&value);
    }
    value = branch(&record, "eventTime", change->event_time_ms != RC_NO_EVENT_TIME);
    if (change->event_time_ms != RC_NO_EVENT_TIME)
        avro_value_set_long(&value, change->event_time_ms);
    else
        avro_value_set_null(&value);
    set_long(&record, "emittedAt", change->emitted_at_ms);
    set_long(&record, kind == RC_MEMBERSHIP_AUDIENCE ? "audienceVersion" : "segmentVersion", change->target_version);
    avro_writer_t writer = avro_writer_memory(out, (int64_t)size);
    assert_int_equal(avro_value_write(writer, &record), 0);
    size_t len = (size_t)avro_writer_tell(writer);
    avro_writer_free(writer);
    avro_value_decref(&record);
    avro_value_iface_decref(iface);
    avro_schema_decref(schema);
    return len;
}

static const struct rc_membership changes[] = {
    {.target = {"cart-abandoners", 15},
     .namespace = {"ecid", 4},
     .person_id = {"p1", 2},
     .realized = true,
     .since_ms = 1710720000000,
     .version = 4294967297,
     .cause = RC_CAUSE_EVENT,
     .event_id = {"e1", 2},
     .event_time_ms = 1710720000000,
     .emitted_at_ms = 1710720000007,
     .target_version = 3},
    {.target = {"_exists.web", 11},
     .namespace = {"a:b\\", 4},
     .person_id = {"ü|:", 4},
     .realized = false,
     .since_ms = -1,
     .version = (INT64_C(1) << 53) - 1,
     .cause = RC_CAUSE_TIME,
     .event_time_ms = RC_NO_EVENT_TIME,
     .emitted_at_ms = 0,
     .target_version = 1},
    {.target = {"s", 1},
     .namespace = {"n", 1},
     .person_id = {"i", 1},
     .realized = true,
     .since_ms = INT64_MAX,
     .version = 0,
     .cause = RC_CAUSE_RESTORE,
     .event_id = {"x", 1},
     .event_time_ms = RC_NO_EVENT_TIME,
     .emitted_at_ms = INT64_MIN + 1,
     .target_version = INT32_MIN},
};

static void assert_same(const struct rc_membership *a, const struct rc_membership *b) {
    assert_true(rc_span_equal(a->target, b->target));
    assert_true(rc_span_equal(a->namespace, b->namespace));
    assert_true(rc_span_equal(a->person_id, b->person_id));
    assert_int_equal(a->realized, b->realized);
    assert_int_equal(a->since_ms, b->since_ms);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->cause, b->cause);
    assert_true(rc_span_equal(a->event_id, b->event_id));
    assert_int_equal(a->event_time_ms, b->event_time_ms);
    assert_int_equal(a->emitted_at_ms, b->emitted_at_ms);
    assert_int_equal(a->target_version, b->target_version);
}

static void bytes_are_those_of_avro_c(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        for (int kind = 0; kind < 2; kind++) {
            char wanted[1024];
            size_t len = by_avro_c((enum rc_membership_kind)kind, &changes[i], wanted, sizeof wanted);
            struct rc_buf out;
            rc_buf_init(&out, 1024);
            assert_int_equal(rc_membership_add(&out, &changes[i], RC_FRAMING_NO_ID), RC_OK);
            assert_int_equal(out.len, len);
            assert_memory_equal(out.data, wanted, len);
            struct rc_membership read;
            assert_int_equal(rc_membership_read(rc_buf_span(&out), false, &read, NULL), RC_OK);
            assert_same(&read, &changes[i]);
            rc_buf_deinit(&out);
        }
}

static void framing(void **state) {
    (void)state;
    struct rc_buf out;
    rc_buf_init(&out, 1024);
    assert_int_equal(rc_membership_add(&out, &changes[0], 0x01020304), RC_OK);
    assert_memory_equal(out.data, "\0\1\2\3\4", 5);
    struct rc_membership read;
    struct rc_error err;
    assert_int_equal(rc_membership_read(rc_buf_span(&out), true, &read, NULL), RC_OK);
    assert_same(&read, &changes[0]);
    assert_int_equal(rc_membership_read(rc_span_of("\1abcdef", 7), true, &read, &err), RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_POISON);
    assert_non_null(strstr(err.message, "not in Confluent framing"));
    rc_buf_deinit(&out);
}

static void every_cut_is_noticed(void **state) {
    (void)state;
    struct rc_buf out;
    rc_buf_init(&out, 1024);
    assert_int_equal(rc_membership_add(&out, &changes[0], RC_FRAMING_NO_ID), RC_OK);
    for (size_t len = 0; len < out.len; len++) {
        char *exact = malloc(len ? len : 1); /* so that a sanitizer sees a read past the end */
        memcpy(exact, out.data, len);
        struct rc_membership read = {.version = 77};
        struct rc_error err;
        assert_int_equal(rc_membership_read(rc_span_of(exact, len), false, &read, &err), RC_FAIL);
        assert_int_equal(read.version, 77);
        assert_int_equal(err.class, RC_CLASS_POISON);
        free(exact);
    }
    rc_buf_add_str(&out, "fields of a later build");
    struct rc_membership read;
    assert_int_equal(rc_membership_read(rc_buf_span(&out), false, &read, NULL), RC_OK);
    rc_buf_deinit(&out);
}

static void what_the_schema_does_not_allow(void **state) {
    (void)state;
    struct rc_buf out;
    struct rc_membership change = changes[0], read;
    struct rc_error err;
    rc_buf_init(&out, 1024);
    change.cause = (enum rc_cause)RC_CAUSE_COUNT;
    assert_int_equal(rc_membership_add(&out, &change, RC_FRAMING_NO_ID), RC_OK);
    assert_int_equal(rc_membership_read(rc_buf_span(&out), false, &read, &err), RC_FAIL);
    assert_non_null(strstr(err.message, "cause is out of range"));
    rc_buf_reset(&out);
    change = changes[0];
    change.version = INT64_C(1) << 53;
    assert_int_equal(rc_membership_add(&out, &change, RC_FRAMING_NO_ID), RC_OK);
    assert_int_equal(rc_membership_read(rc_buf_span(&out), false, &read, &err), RC_FAIL);
    assert_non_null(strstr(err.message, "version is out of range"));
    rc_buf_deinit(&out);
    rc_buf_init(&out, 20);
    assert_int_equal(rc_membership_add(&out, &changes[0], RC_FRAMING_NO_ID), RC_FAIL);
    rc_buf_deinit(&out);
}

static void keys(void **state) {
    (void)state;
    struct rc_buf out;
    struct rc_span person, target;
    rc_buf_init(&out, 100);
    assert_int_equal(rc_membership_key_add(&out, rc_span_str("ecid:a|b"), rc_span_str("vip")), RC_OK);
    assert_string_equal(out.data, "ecid:a|b|vip");
    assert_int_equal(rc_membership_key_split(rc_buf_span(&out), &person, &target), RC_OK);
    assert_true(rc_span_equal(person, rc_span_str("ecid:a|b")));
    assert_true(rc_span_equal(target, rc_span_str("vip")));
    static const char *const none[] = {"", "|", "a|", "|b", "ab"};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(rc_membership_key_split(rc_span_str(none[i]), &person, &target), RC_FAIL);
    rc_buf_deinit(&out);
}

static void causes_are_the_symbols(void **state) {
    (void)state;
    json_t *schema = json_loads(rc_membership_schema(RC_MEMBERSHIP_AUDIENCE), 0, NULL);
    json_t *fields = json_object_get(schema, "fields"), *field;
    size_t i;
    json_array_foreach(fields, i, field) {
        if (strcmp(json_string_value(json_object_get(field, "name")), "cause") != 0)
            continue;
        json_t *symbols = json_object_get(json_object_get(field, "type"), "symbols");
        assert_int_equal(json_array_size(symbols), RC_CAUSE_COUNT);
        for (size_t k = 0; k < RC_CAUSE_COUNT; k++)
            assert_string_equal(json_string_value(json_array_get(symbols, k)), rc_cause_text((enum rc_cause)k));
    }
    json_decref(schema);
}

static void other_schemas_parse(void **state) {
    (void)state;
    static const char *const others[] = {RC_SOURCE_DIR "/schemas/attribute.avsc",
                                         RC_SOURCE_DIR "/schemas/consent.avsc"};
    for (size_t i = 0; i < 2; i++) {
        char *text = read_file(others[i]);
        avro_schema_t schema;
        assert_int_equal(avro_schema_from_json_length(text, strlen(text), &schema), 0);
        avro_schema_decref(schema);
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_the_files),
        cmocka_unit_test(bytes_are_those_of_avro_c),
        cmocka_unit_test(framing),
        cmocka_unit_test(every_cut_is_noticed),
        cmocka_unit_test(what_the_schema_does_not_allow),
        cmocka_unit_test(keys),
        cmocka_unit_test(causes_are_the_symbols),
        cmocka_unit_test(other_schemas_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
