/* The record of what is in force. See serving.h. */
#include "consumers/shared/serving.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define KIND "serves"
#define MAX_DEPTH 64 /* definitions.md allows 32 */

/* Of the one form that rc_audience_where_json gives. */
static bool is_condition(const json_t *where, int depth) {
    const json_t *list = json_object_get(where, "and"), *child;
    size_t i;
    if (depth > MAX_DEPTH || json_object_size(where) != 1)
        return false;
    if (json_object_get(where, "segment"))
        return json_is_string(json_object_get(where, "segment"));
    if (json_object_get(where, "not"))
        return is_condition(json_object_get(where, "not"), depth + 1);
    if (!list)
        list = json_object_get(where, "or");
    json_array_foreach(list, i, child) if (!is_condition(child, depth + 1)) return false;
    return json_is_array(list);
}

void rc_serving_find(const struct rc_controls *controls, const char *audience, struct rc_serving *out) {
    struct rc_control control;
    const char *text = rc_controls_text(controls, KIND, audience);
    json_t *record = text ? json_loads(text, 0, NULL) : NULL, *held = json_object_get(record, "held");
    *out = (struct rc_serving){.version = (int)json_integer_value(json_object_get(record, "version")),
                               .where = json_incref(json_object_get(record, "where")),
                               .held = (int)json_integer_value(json_object_get(held, "version")),
                               .members = json_integer_value(json_object_get(held, "members")),
                               .would_have = json_integer_value(json_object_get(held, "wouldHave"))};
    json_decref(record);
    rc_controls_find(controls, "audience", audience, &control);
    if (!is_condition(out->where, 0) || out->version <= control.deleted_version) {
        rc_serving_deinit(out);
        *out = (struct rc_serving){0};
    }
}

void rc_serving_deinit(struct rc_serving *serving) {
    json_decref(serving->where);
    serving->where = NULL;
}

bool rc_serving_is_key(struct rc_span key) {
    static const char prefix[] = "control/" KIND "/";
    return key.len > sizeof prefix - 1 && memcmp(key.data, prefix, sizeof prefix - 1) == 0;
}

const char *rc_serving_audience(const struct rc_control_item *item) {
    return item->value ? rc_control_id(item, KIND) : NULL;
}

rc_status rc_serving_key_add(struct rc_buf *out, const char *audience) {
    return rc_control_key_add(out, KIND, audience);
}

rc_status rc_serving_record_add(struct rc_buf *out, const struct rc_serving *serving) {
    json_t *record = json_pack("{s:i, s:O}", "version", serving->version, "where", serving->where);
    if (serving->held)
        json_object_set_new(record, "held",
                            json_pack("{s:i, s:I, s:I}", "version", serving->held, "members",
                                      (json_int_t)serving->members, "wouldHave", (json_int_t)serving->would_have));
    char *text = json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS);
    rc_status status = rc_buf_add_str(out, text);
    free(text);
    json_decref(record);
    return status;
}
