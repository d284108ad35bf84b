/* One record of the definitions topic. The definition's own text is kept byte for byte: numbers as people wrote them
 * ("9.99", not 9.9900000000000002), so the keys that apply adds (version, time, an audience's scheduled, who) are put behind it and taken off again as text. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/timezone.h"
#include "consumers/shared/definitions.h"

static const char mark[] = ",\"version\":";

rc_status rc_definition_record_add(struct rc_buf *out, const struct rc_definition *definition) {
    size_t len = strlen(definition->json);
    while (len > 0 && definition->json[len - 1] != '}')
        len--;
    if (len == 0)
        return RC_FAIL;
    char time[25];
    rc_rfc3339_format(definition->applied_ms, time);
    rc_buf_add(out, definition->json, len - 1);
    rc_buf_printf(out, "%s%d,\"time\":\"%s\",", mark, definition->version, time);
    if (definition->kind && strcmp(definition->kind, "audience") == 0 && definition->scheduled_ms &&
        definition->scheduled_ms != definition->applied_ms) {
        rc_rfc3339_format(definition->scheduled_ms, time);
        rc_buf_printf(out, "\"scheduled\":\"%s\",", time);
    }
    (void)rc_buf_add_str(out, "\"who\":");
    rc_buf_add_json_string(out, rc_span_str(definition->applied_by ? definition->applied_by : ""));
    return rc_buf_add_byte(out, '}');
}

/* Where the last ,"version": stands; text inside JSON strings cannot look like that, because its quotes are escaped. */
static size_t find_mark(struct rc_span value) {
    size_t len = sizeof mark - 1;
    for (size_t at = value.len < len ? 0 : value.len - len + 1; at-- > 0;)
        if (memcmp(value.data + at, mark, len) == 0)
            return at;
    return SIZE_MAX;
}

struct added {
    int version;
    int64_t applied_ms, scheduled_ms;
    const char *who; /* borrowed from the JSON */
};

static rc_status take_time(const json_t *time, int64_t *out_ms) {
    if (!json_is_integer(time))
        return json_is_string(time) ? rc_rfc3339_parse(json_string_value(time), json_string_length(time), out_ms)
                                    : RC_FAIL;
    *out_ms = json_integer_value(time);
    return RC_OK;
}

static rc_status take_added(json_t *json, struct added *out) {
    const json_t *number = json_object_get(json, "version"), *by = json_object_get(json, "who"),
                 *scheduled = json_object_get(json, "scheduled");
    if (json_object_size(json) != (scheduled ? 4u : 3u) || !json_is_integer(number) || !json_is_string(by) ||
        take_time(json_object_get(json, "time"), &out->applied_ms) != RC_OK)
        return RC_FAIL;
    out->scheduled_ms = out->applied_ms;
    out->version = (int)json_integer_value(number);
    out->who = json_string_value(by);
    return scheduled ? take_time(scheduled, &out->scheduled_ms) : RC_OK;
}

rc_status rc_definition_record_read(struct rc_catalog_builder *builder, struct rc_span value, struct rc_error *err) {
    size_t at = find_mark(value);
    json_t *added = NULL;
    char *text = NULL;
    struct added is = {0};
    if (at != SIZE_MAX) {
        text = rc_span_dup(rc_span_of(value.data + at, value.len - at));
        text[0] = '{';
        added = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        free(text);
    }
    rc_status status;
    if (!added || take_added(added, &is) != RC_OK) {
        status = rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                              "not a record of `rollcall apply`: it must end in \"version\", \"time\" and \"who\"; "
                              "apply the definition again");
    } else {
        char *json = rc_alloc(at + 2);
        memcpy(json, value.data, at);
        memcpy(json + at, "}", 2);
        status = rc_catalog_builder_add_scheduled(builder, rc_span_of(json, at + 1), is.version, is.applied_ms,
                                                  is.scheduled_ms, is.who, err);
        free(json);
    }
    json_decref(added);
    return status;
}

static bool same_key(const json_t *a, const json_t *b, const char *key) {
    json_t *x = json_object_get(a, key), *y = json_object_get(b, key);
    return x == y || json_equal(x, y);
}

int64_t rc_definition_scheduled_ms(const struct rc_definition *before, const struct rc_definition *after,
                                   int64_t now_ms) {
    json_t *a = before ? json_loads(before->json, 0, NULL) : NULL, *b = json_loads(after->json, 0, NULL);
    const char *refresh = json_string_value(json_object_get(b, "refresh"));
    bool once = refresh && strcmp(refresh, "once") == 0;
    bool same = a && b && same_key(a, b, "refresh") && same_key(a, b, "at") && same_key(a, b, "timezone") &&
                (!once || same_key(a, b, "where"));
    json_decref(a);
    json_decref(b);
    return same ? before->scheduled_ms : now_ms;
}
