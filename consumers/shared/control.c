/* Control records: their text, and the latest of each definition. See control.h. Must not know what a consumer does about them. */
#include "consumers/shared/control.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/timezone.h"

#define PREFIX "control/"
#define MAX_KEY_BYTES 256

static const char *const ends[] = {NULL, "exit", "keep"}; /* as enum rc_on_end */

/* ---- text ---- */

bool rc_control_is_key(struct rc_span key) {
    return key.len > sizeof PREFIX - 1 && memcmp(key.data, PREFIX, sizeof PREFIX - 1) == 0;
}

rc_status rc_control_key_add(struct rc_buf *out, const char *kind, const char *id) {
    return rc_buf_printf(out, PREFIX "%s/%s", kind, id);
}

static void add_number(struct rc_buf *out, const char *key, int64_t number) {
    if (number)
        rc_buf_printf(out, "\"%s\":%lld,", key, (long long)number);
}

rc_status rc_control_record_add(struct rc_buf *out, const struct rc_control *control, int64_t at_ms, const char *who) {
    char time[25];
    rc_rfc3339_format(at_ms, time);
    rc_buf_add_str(out, "{");
    if (control->approved_version)
        rc_buf_printf(out, "\"approved\":%d,", control->approved_version);
    if (control->paused)
        rc_buf_add_str(out, "\"paused\":true,");
    if (control->cancelled_version)
        rc_buf_printf(out, "\"cancelled\":%d,", control->cancelled_version);
    add_number(out, "cancelledAt", control->cancelled_ms);
    add_number(out, "rate", control->rate);
    add_number(out, "replay", control->replay_ms);
    add_number(out, "replayFrom", control->replay_from_ms);
    add_number(out, "replayAll", control->replay_all_ms);
    add_number(out, "import", control->import_ms);
    if (control->deleted_version)
        rc_buf_printf(out, "\"deleted\":%d,", control->deleted_version);
    if (control->on_end != RC_ON_END_DEFAULT)
        rc_buf_printf(out, "\"onEnd\":\"%s\",", ends[control->on_end]);
    rc_buf_printf(out, "\"time\":\"%s\",\"who\":", time);
    rc_buf_add_json_string(out, rc_span_str(who ? who : ""));
    return rc_buf_add_byte(out, '}');
}

static rc_status damaged(const char *key, const char *expected, struct rc_error *err) {
    return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "not a control record: %s%sexpected %s", key,
                        *key ? " is something else, " : "", expected);
}

static rc_status take_number(const json_t *record, const char *key, int64_t max, int64_t *out, struct rc_error *err) {
    const json_t *value = json_object_get(record, key);
    if (!value)
        return RC_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > max)
        return damaged(key, "a whole number from 0 on", err);
    *out = json_integer_value(value);
    return RC_OK;
}

static rc_status take_version(const json_t *record, const char *key, int *out, struct rc_error *err) {
    int64_t version = 0;
    if (take_number(record, key, INT_MAX, &version, err) != RC_OK)
        return RC_FAIL;
    *out = (int)version;
    return RC_OK;
}

static rc_status take_on_end(const json_t *record, enum rc_on_end *out, struct rc_error *err) {
    const json_t *value = json_object_get(record, "onEnd");
    if (!value)
        return RC_OK;
    const char *text = json_string_value(value);
    for (size_t i = 1; text && i < sizeof ends / sizeof *ends; i++) {
        if (strcmp(text, ends[i]) == 0) {
            *out = (enum rc_on_end)i;
            return RC_OK;
        }
    }
    return damaged("onEnd", "\"exit\" or \"keep\"", err);
}

static rc_status take_paused(const json_t *record, bool *out, struct rc_error *err) {
    const json_t *value = json_object_get(record, "paused");
    if (value && !json_is_boolean(value))
        return damaged("paused", "true or false", err);
    *out = json_is_true(value);
    return RC_OK;
}

rc_status rc_control_record_read(struct rc_span value, struct rc_control *out, struct rc_error *err) {
    json_t *record = json_loadb(value.data, value.len, JSON_REJECT_DUPLICATES, NULL);
    struct rc_control control = {0};
    rc_status status = json_is_object(record) ? RC_OK : damaged("", "a JSON object", err);
    if (status == RC_OK && (take_version(record, "approved", &control.approved_version, err) != RC_OK ||
                            take_paused(record, &control.paused, err) != RC_OK ||
                            take_version(record, "cancelled", &control.cancelled_version, err) != RC_OK ||
                            take_number(record, "cancelledAt", INT64_MAX, &control.cancelled_ms, err) != RC_OK ||
                            take_number(record, "rate", INT64_MAX, &control.rate, err) != RC_OK ||
                            take_number(record, "replay", INT64_MAX, &control.replay_ms, err) != RC_OK ||
                            take_number(record, "replayFrom", INT64_MAX, &control.replay_from_ms, err) != RC_OK ||
                            take_number(record, "replayAll", INT64_MAX, &control.replay_all_ms, err) != RC_OK ||
                            take_number(record, "import", INT64_MAX, &control.import_ms, err) != RC_OK ||
                            take_version(record, "deleted", &control.deleted_version, err) != RC_OK ||
                            take_on_end(record, &control.on_end, err) != RC_OK))
        status = RC_FAIL;
    json_decref(record);
    if (status == RC_OK)
        *out = control;
    return status;
}

/* ---- the latest of each ---- */

void rc_controls_init(struct rc_controls *controls) {
    *controls = (struct rc_controls){.index = json_object()};
}

void rc_controls_deinit(struct rc_controls *controls) {
    for (size_t i = 0; i < controls->n; i++) {
        free(controls->items[i].key);
        free(controls->items[i].value);
    }
    free(controls->items);
    json_decref(controls->index);
    *controls = (struct rc_controls){0};
}

static const struct rc_control_item *find(const struct rc_controls *controls, const char *key, size_t len) {
    const json_t *place = json_object_getn(controls->index, key, len);
    return place ? &controls->items[json_integer_value(place)] : NULL;
}

static struct rc_control_item *item_of(struct rc_controls *controls, struct rc_span key) {
    const struct rc_control_item *found = find(controls, key.data, key.len);
    if (found)
        return &controls->items[found - controls->items];
    rc_grow(&controls->items, &controls->capacity, controls->n + 1, sizeof *controls->items);
    struct rc_control_item *item = &controls->items[controls->n];
    *item = (struct rc_control_item){.key = rc_span_dup(key)};
    (void)json_object_setn_new_nocheck(controls->index, item->key, key.len, json_integer((json_int_t)controls->n++));
    return item;
}

/* On one line, as everything that a state.dir keeps: white space inside JSON's texts is escaped, so none is lost. */
static char *one_line(struct rc_span value) {
    char *text = rc_span_dup(value);
    for (char *c = text; *c; c++)
        if (*c == '\n' || *c == '\r' || *c == '\t')
            *c = ' ';
    return text;
}

static rc_status read_record(struct rc_span key, struct rc_span value, struct rc_control *out, struct rc_error *err) {
    if (key.len >= MAX_KEY_BYTES)
        return damaged("", "a key below 256 bytes", err);
    return rc_control_record_read(value, out, err);
}

bool rc_controls_take(struct rc_controls *controls, struct rc_span key, struct rc_span value, bool null_value) {
    struct rc_control control = {0};
    struct rc_error err;
    if (!null_value && read_record(key, value, &control, &err) != RC_OK) {
        char name[MAX_KEY_BYTES];
        size_t len = key.len < sizeof name ? key.len : sizeof name - 1;
        memcpy(name, key.data, len);
        name[len] = '\0';
        rc_log(RC_LOG_ERROR, "control record ignored", rc_f_str("key", name), rc_f_err(&err));
        return false;
    }
    struct rc_control_item *item = item_of(controls, key);
    char *text = null_value ? NULL : one_line(value);
    bool same = text && item->value ? strcmp(text, item->value) == 0 : text == item->value;
    free(item->value);
    item->value = text;
    item->control = control;
    return !same;
}

static const struct rc_control_item *find_id(const struct rc_controls *controls, const char *kind, const char *id) {
    struct rc_buf key;
    rc_buf_init(&key, MAX_KEY_BYTES);
    const struct rc_control_item *item = NULL;
    if (rc_control_key_add(&key, kind, id) == RC_OK)
        item = find(controls, key.data, key.len);
    rc_buf_deinit(&key);
    return item;
}

void rc_controls_find(const struct rc_controls *controls, const char *kind, const char *id, struct rc_control *out) {
    const struct rc_control_item *item = find_id(controls, kind, id);
    *out = item ? item->control : (struct rc_control){0};
}

const char *rc_controls_text(const struct rc_controls *controls, const char *kind, const char *id) {
    const struct rc_control_item *item = find_id(controls, kind, id);
    return item ? item->value : NULL;
}

const char *rc_control_id(const struct rc_control_item *item, const char *kind) {
    const char *rest = item->key + sizeof PREFIX - 1;
    size_t len = strlen(kind);
    return strncmp(rest, kind, len) == 0 && rest[len] == '/' ? rest + len + 1 : NULL;
}
