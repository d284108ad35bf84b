/* One record of the definitions topic. The definition's own text is kept byte for byte: numbers as people wrote them
 * ("9.99", not 9.9900000000000002), so the three keys that apply adds are put behind it and taken off again as text. */
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
    rc_buf_printf(out, "%s%d,\"time\":\"%s\",\"who\":", mark, definition->version, time);
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

static rc_status take_added(json_t *added, int *version, int64_t *applied_ms, const char **who) {
    const json_t *number = json_object_get(added, "version"), *time = json_object_get(added, "time"),
                 *by = json_object_get(added, "who");
    if (!json_is_integer(number) || !json_is_string(by))
        return RC_FAIL;
    if (json_is_integer(time))
        *applied_ms = json_integer_value(time);
    else if (!json_is_string(time) ||
             rc_rfc3339_parse(json_string_value(time), json_string_length(time), applied_ms) != RC_OK)
        return RC_FAIL;
    *version = (int)json_integer_value(number);
    *who = json_string_value(by);
    return RC_OK;
}

rc_status rc_definition_record_read(struct rc_catalog_builder *builder, struct rc_span value, struct rc_error *err) {
    size_t at = find_mark(value);
    json_t *added = NULL;
    char *text = NULL;
    int version = 0;
    int64_t applied_ms = 0;
    const char *who = NULL;
    if (at != SIZE_MAX) {
        text = rc_span_dup(rc_span_of(value.data + at, value.len - at));
        text[0] = '{';
        added = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        free(text);
    }
    rc_status status;
    if (!added || json_object_size(added) != 3 || take_added(added, &version, &applied_ms, &who) != RC_OK) {
        status = rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                              "not a record of `rollcall apply`: it must end in \"version\", \"time\" and \"who\"; "
                              "apply the definition again");
    } else {
        char *json = rc_alloc(at + 2);
        memcpy(json, value.data, at);
        memcpy(json + at, "}", 2);
        status = rc_catalog_builder_add_applied(builder, rc_span_of(json, at + 1), version, applied_ms, who, err);
        free(json);
    }
    json_decref(added);
    return status;
}
