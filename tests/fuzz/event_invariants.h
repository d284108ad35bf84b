/* What holds for every record that is decoded, whatever its bytes. For the fuzz targets. */
#ifndef RC_TESTS_FUZZ_EVENT_INVARIANTS_H
#define RC_TESTS_FUZZ_EVENT_INVARIANTS_H

#include "codec/leaf.h"
#include "tests/unit/codec/support.h"

/* Aborts, as libFuzzer wants it, in every build. */
#define check(truth) ((truth) ? (void)0 : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #truth), abort()))

static inline void check_field(const struct rc_dataset *dataset, const struct rc_event *event, size_t f) {
    const struct rc_field *field = &dataset->fields[f];
    const struct rc_values *values = &event->fields[f];
    for (uint32_t i = 0; i < values->n; i++) {
        if (field->type == RC_STRING) {
            check(rc_is_utf8(values->values[i].string));
            continue;
        }
        int64_t number = values->values[i].number;
        check(!field->has_min || number >= field->min);
        check(field->type != RC_BOOLEAN || number == 0 || number == 1);
        check((field->type != RC_DOUBLE && field->type != RC_DECIMAL) ||
              (number < RC_FIXED_MAX && number > -RC_FIXED_MAX));
    }
    if (field->element == RC_NO_ELEMENT) {
        check(event->cells[f] == NULL);
        return;
    }
    uint32_t n = 0; /* the cells are the field's values, cut */
    for (uint32_t k = 0; k < event->n_elements[field->element]; k++) {
        check(event->cells[f] != NULL);
        check(event->cells[f][k].n == 0 || event->cells[f][k].values == values->values + n);
        n += event->cells[f][k].n;
    }
    check(n == values->n);
}

/* Decodes the record twice. Returns the reason when it was bad, RC_REASON_NONE otherwise. */
static inline enum rc_reason check_record(struct rc_decoder *decoder, const struct rc_dataset *dataset,
                                          const struct rc_record *record) {
    struct rc_arena arena;
    struct rc_buf lines[2];
    enum rc_decoded decoded = RC_IGNORED;
    enum rc_reason reason = RC_REASON_NONE;
    rc_arena_init(&arena, 1024);
    for (int i = 0; i < 2; i++) {
        struct rc_event event;
        struct rc_error err = {0};
        rc_buf_init(&lines[i], (size_t)64 << 20);
        decoded = rc_decode(decoder, record, &arena, &event, &err);
        if (decoded == RC_DECODED) {
            check(event.namespace.len > 0 && rc_is_utf8(event.namespace));
            check(event.person_id.len > 0 && rc_is_utf8(event.person_id));
            check(event.event_id.len > 0 && rc_is_utf8(event.event_id));
            check(event.timestamp_ms >= INT64_C(-62135596800000) && event.timestamp_ms <= INT64_C(253402300799999));
            for (size_t f = 0; f < dataset->n_fields; f++)
                check_field(dataset, &event, f);
            test_add_event(&lines[i], dataset, &event);
        } else if (decoded == RC_BAD) {
            reason = rc_decoder_reason(decoder);
            const char *text = rc_reason_text(reason);
            check(err.class == RC_CLASS_POISON);
            check(strncmp(err.message, text, strlen(text)) == 0);
            rc_buf_add_str(&lines[i], err.message);
        } else {
            check(decoded == RC_IGNORED);
        }
    }
    check(rc_span_equal(rc_buf_span(&lines[0]), rc_buf_span(&lines[1])));
    rc_buf_deinit(&lines[0]);
    rc_buf_deinit(&lines[1]);
    rc_arena_deinit(&arena);
    return reason;
}

#endif
