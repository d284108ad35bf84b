/* Owns the reading of windows and comparisons (definitions.md §3). Must not know what is counted in them. The mistake that it prevents:
 * `count` without a unit, or an excepted span that leaves nothing, read as something else than was meant. */
#include <string.h>

#include "segment/definition_parse.h"

/* More units than this reach before the year 1 from any instant that there is. */
#define MAX_UNITS 100000000

static rc_status read_calendar(const struct rc_def_node *node, struct rc_window *out) {
    static const char *const keys[] = {"calendar", "count", "complete"};
    static const char *const units[] = {"hour",  "day",     "week",
                                        "month", "quarter", "year"}; /* as enum rc_calendar_unit */
    struct rc_def_node unit = rc_def_get(node, keys[0]), count = rc_def_get(node, keys[1]),
                       complete = rc_def_get(node, keys[2]);
    struct rc_window w = {.form = RC_WINDOW_CALENDAR, .count = 1};
    size_t index;
    RC_DEF_TRY(rc_def_keys(node, keys, RC_DEF_COUNT(keys)));
    RC_DEF_TRY(rc_def_choice(&unit, "calendar unit", units, RC_DEF_COUNT(units), &index));
    if (count.value)
        RC_DEF_TRY(rc_def_integer(&count, 1, MAX_UNITS, &w.count));
    if (complete.value)
        RC_DEF_TRY(rc_def_bool(&complete, &w.complete));
    w.unit = (enum rc_calendar_unit)index;
    *out = w;
    return RC_OK;
}

static rc_status read_last(const struct rc_def_node *node, struct rc_window *out) {
    static const char *const keys[] = {"last", "except_last"};
    struct rc_def_node last = rc_def_get(node, keys[0]), except = rc_def_get(node, keys[1]);
    struct rc_window w = {.form = RC_WINDOW_SLIDING};
    RC_DEF_TRY(rc_def_keys(node, keys, RC_DEF_COUNT(keys)));
    RC_DEF_TRY(rc_def_duration(&last, &w.last_ms));
    RC_DEF_TRY(rc_def_duration(&except, &w.except_last_ms));
    if (w.except_last_ms >= w.last_ms)
        return rc_def_fail(&except, "found \"%s\", expected a duration shorter than \"last\" (\"%s\")",
                           json_string_value(except.value), json_string_value(last.value));
    *out = w;
    return RC_OK;
}

static rc_status read_fixed(const struct rc_def_node *node, struct rc_window *out) {
    static const char *const keys[] = {"from", "to"};
    struct rc_def_node from = rc_def_get(node, keys[0]), to = rc_def_get(node, keys[1]);
    struct rc_window w = {.form = RC_WINDOW_FIXED, .from_ms = INT64_MIN, .to_ms = INT64_MAX};
    RC_DEF_TRY(rc_def_keys(node, keys, RC_DEF_COUNT(keys)));
    if (from.value)
        RC_DEF_TRY(rc_def_instant(&from, &w.from_ms));
    if (to.value)
        RC_DEF_TRY(rc_def_instant(&to, &w.to_ms));
    *out = w;
    return RC_OK;
}

rc_status rc_def_window(const struct rc_def_node *node, struct rc_window *out) {
    if (json_is_string(node->value)) {
        struct rc_window w = {.form = RC_WINDOW_SLIDING};
        RC_DEF_TRY(rc_def_duration(node, &w.last_ms));
        *out = w;
        return RC_OK;
    }
    RC_DEF_TRY(rc_def_object(
        node, "a window: a duration like \"30d\", or an object with last and except_last, calendar, or from and to"));
    if (rc_def_has(node, "calendar"))
        return read_calendar(node, out);
    if (rc_def_has(node, "last") || rc_def_has(node, "except_last"))
        return read_last(node, out);
    if (rc_def_has(node, "from") || rc_def_has(node, "to"))
        return read_fixed(node, out);
    static const char *const keys[] = {"last", "except_last", "calendar", "count", "complete", "from", "to"};
    RC_DEF_TRY(rc_def_keys(node, keys, RC_DEF_COUNT(keys)));
    return rc_def_fail(
        node,
        "says no span, expected last and except_last, calendar, or from and to (leave \"window\" out for all time)");
}

/* ---- comparisons ----------------------------------------------------------------------------------------------------- */

static const char *const cmp_ops[] = {"eq", "ne", "lt", "le", "gt", "ge"}; /* as RC_CMP_EQ … */

rc_status rc_def_cmp(const struct rc_def_node *node, struct rc_cmp *out) {
    RC_DEF_TRY(rc_def_object(node, "a comparison like {\"ge\": 3}"));
    RC_DEF_TRY(rc_def_keys(node, cmp_ops, RC_DEF_COUNT(cmp_ops)));
    size_t n = json_object_size(node->value);
    if (n < 1 || n > 2)
        return rc_def_fail(node, "found %zu comparisons, expected one or two of eq, ne, lt, le, gt, ge", n);
    struct rc_cmp cmp = {0};
    for (size_t op = 0; op < RC_DEF_COUNT(cmp_ops); op++) {
        struct rc_def_node operand = rc_def_get(node, cmp_ops[op]);
        if (!operand.value)
            continue;
        __int128 value;
        RC_DEF_TRY(rc_def_decimal(&operand, &value));
        cmp.terms[cmp.n].op = (int)op;
        cmp.terms[cmp.n++].value = value;
    }
    *out = cmp;
    return RC_OK;
}

bool rc_def_cmp_holds(const struct rc_cmp *cmp, __int128 value) {
    for (size_t i = 0; i < cmp->n; i++) {
        __int128 bound = cmp->terms[i].value;
        bool holds = false;
        switch (cmp->terms[i].op) {
        case RC_CMP_EQ: holds = value == bound; break;
        case RC_CMP_NE: holds = value != bound; break;
        case RC_CMP_LT: holds = value < bound; break;
        case RC_CMP_LE: holds = value <= bound; break;
        case RC_CMP_GT: holds = value > bound; break;
        case RC_CMP_GE: holds = value >= bound; break;
        }
        if (!holds)
            return false;
    }
    return true;
}
