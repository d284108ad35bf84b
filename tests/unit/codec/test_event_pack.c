/* An event that is put aside as bytes and taken back is the event that it was; damaged bytes are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/event_pack.h"
#include "support.h"

static const char rest[] =
    "{\"format\": \"json\", \"person\": {\"namespace\": {\"path\": \"ns\"}, \"id\": {\"path\": \"user\"}},"
    " \"timestamp\": {\"path\": \"ts\"}, \"event_id\": {\"path\": \"id\"},"
    " \"fields\": {\"type\": {\"path\": \"type\", \"type\": \"string\"}, \"tags\": {\"path\": \"tags\", \"type\": "
    "\"string\"}, \"n\": {\"path\": \"n\", \"type\": \"long\"}, \"b\": {\"path\": \"b\", \"type\": \"boolean\"},"
    "  \"d\": {\"path\": \"d\", \"type\": \"double\"}},"
    " \"elements\": {\"items\": {\"path\": \"items\", \"fields\": {\"sku\": {\"path\": \"sku\", \"type\": \"string\"},"
    "  \"q\": {\"path\": \"q\", \"type\": \"long\"}}},"
    "  \"none\": {\"path\": \"other\", \"fields\": {\"x\": {\"path\": \"x\", \"type\": \"long\"}}}}}";

static const char *const records[] = {
    "{\"ns\": \"email\", \"user\": \"p\", \"ts\": 1000, \"id\": \"e1\"}",
    "{\"ns\": \"a:b\", \"user\": \"\\u00e5\\u0000x\", \"ts\": -5, \"id\": \"\\u0001\", \"type\": \"\", \"n\": "
    "-9223372036854775808, \"b\": false, \"d\": -0.5}",
    "{\"ns\": \"e\", \"user\": \"p\", \"ts\": 253402300799999, \"id\": \"e\", \"tags\": [\"x\", \"y\", \"\"], \"n\": "
    "[1, 9223372036854775807], \"items\": [{\"sku\": [\"A\", \"B\"], \"q\": 3}, {}, {\"q\": [4, 5]}], \"other\": {}}",
};

struct fixture {
    struct rc_dataset *dataset;
    struct rc_decoder *decoder;
    struct rc_arena arena;
    struct rc_buf packed, text;
    struct rc_event event;
};

static void set_up(struct fixture *f, const char *record) {
    struct rc_error err;
    f->dataset = test_dataset(rest);
    rc_arena_init(&f->arena, 4096);
    rc_buf_init(&f->packed, 1 << 16);
    rc_buf_init(&f->text, 1 << 16);
    assert_int_equal(rc_decoder_new(f->dataset, &(struct rc_decoder_options){.max_ahead_ms = -1}, &f->decoder, &err),
                     RC_OK);
    struct rc_record in = {.value = rc_span_str(record), .timestamp_ms = RC_NO_TIMESTAMP, .topic = "t"};
    if (rc_decode(f->decoder, &in, &f->arena, &f->event, &err) != RC_DECODED)
        fail_msg("%s: %s", record, err.message);
    assert_int_equal(rc_event_pack(&f->event, f->dataset, &f->packed), RC_OK);
}

static void tear_down(struct fixture *f) {
    rc_decoder_free(f->decoder);
    test_dataset_free(f->dataset);
    rc_arena_deinit(&f->arena);
    rc_buf_deinit(&f->packed);
    rc_buf_deinit(&f->text);
}

static void an_event_comes_back_as_it_was(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        struct fixture f;
        struct rc_event back;
        struct rc_buf wanted;
        set_up(&f, records[i]);
        rc_buf_init(&wanted, 1 << 16);
        test_add_event(&wanted, f.dataset, &f.event);
        assert_int_equal(rc_event_unpack(rc_buf_span(&f.packed), f.dataset, 1, &f.arena, &back), RC_OK);
        test_add_event(&f.text, f.dataset, &back);
        assert_string_equal(f.text.data, wanted.data);
        assert_int_equal(back.dataset, 0);
        assert_null(back.cells[0]);
        rc_buf_deinit(&wanted);
        tear_down(&f);
    }
}

/* Every beginning of it, and it with another byte behind, are refused, whatever they hold. */
static void other_bytes_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        struct fixture f;
        struct rc_event back = {.timestamp_ms = 77};
        set_up(&f, records[i]);
        for (size_t len = 0; len < f.packed.len; len++) {
            char *copy = rc_alloc(len + 1); /* so that a sanitizer sees each byte read too many */
            memcpy(copy, f.packed.data, len);
            copy = rc_realloc(copy, len ? len : 1);
            assert_int_equal(rc_event_unpack(rc_span_of(copy, len), f.dataset, 1, &f.arena, &back), RC_FAIL);
            free(copy);
        }
        rc_buf_add_byte(&f.packed, 0);
        assert_int_equal(rc_event_unpack(rc_buf_span(&f.packed), f.dataset, 1, &f.arena, &back), RC_FAIL);
        f.packed.data[0] = 1; /* a dataset that is not there */
        assert_int_equal(rc_event_unpack(rc_span_of(f.packed.data, f.packed.len - 1), f.dataset, 1, &f.arena, &back),
                         RC_FAIL);
        assert_int_equal(back.timestamp_ms, 77);
        tear_down(&f);
    }
}

static void a_full_buffer_is_told(void **state) {
    (void)state;
    struct fixture f;
    struct rc_buf small;
    set_up(&f, records[2]);
    rc_buf_init(&small, f.packed.len - 1);
    assert_int_equal(rc_event_pack(&f.event, f.dataset, &small), RC_FAIL);
    rc_buf_deinit(&small);
    tear_down(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_comes_back_as_it_was),
        cmocka_unit_test(other_bytes_are_refused),
        cmocka_unit_test(a_full_buffer_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
