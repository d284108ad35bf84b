/* Owns the reading of conditions about one event: P and its TESTs (definitions.md §3). Must not know persons, windows or counts.
 * The mistake that it prevents: an operand that can never equal a value of the field because it has another type. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "segment/definition_parse.h"

enum on { ON_ALL, ON_NUMBERS, ON_STRINGS };
enum operand { ONE, LIST, FIELD, TRUTH };

static const struct {
    const char *name;
    enum rc_op op;
    enum on on;
    enum operand operand;
} operators[] = {
    {"eq", RC_OP_EQ, ON_ALL, ONE},
    {"in", RC_OP_EQ, ON_ALL, LIST},
    {"lt", RC_OP_LT, ON_NUMBERS, ONE},
    {"le", RC_OP_LE, ON_NUMBERS, ONE},
    {"gt", RC_OP_GT, ON_NUMBERS, ONE},
    {"ge", RC_OP_GE, ON_NUMBERS, ONE},
    {"contains", RC_OP_CONTAINS, ON_STRINGS, ONE},
    {"starts_with", RC_OP_STARTS_WITH, ON_STRINGS, ONE},
    {"ends_with", RC_OP_ENDS_WITH, ON_STRINGS, ONE},
    {"contains_any", RC_OP_CONTAINS, ON_STRINGS, LIST},
    {"contains_all", RC_OP_CONTAINS_ALL, ON_STRINGS, LIST},
    {"matches", RC_OP_MATCHES, ON_STRINGS, ONE},
    {"ne", RC_OP_NE, ON_ALL, ONE},
    {"not_in", RC_OP_NE, ON_ALL, LIST},
    {"not_contains", RC_OP_NOT_CONTAINS, ON_STRINGS, ONE},
    {"exists", RC_OP_EXISTS, ON_ALL, TRUTH},
    /* the last two: with_fields tells whether they may stand */
    {"eq_field", RC_OP_EQ_FIELD, ON_ALL, FIELD},
    {"ne_field", RC_OP_NE_FIELD, ON_ALL, FIELD},
};
#define N_OPERATORS RC_DEF_COUNT(operators)
#define N_FIELD_OPERATORS 2
#define MAX_OTHERS 2

static bool fits(enum on on, enum rc_type type) {
    return on == ON_ALL || (on == ON_NUMBERS ? rc_def_is_number(type) : type == RC_STRING);
}

static rc_status read_string(const struct rc_def_node *node, bool fold, union rc_value *out) {
    if (!json_is_string(node->value))
        return rc_def_unexpected(node, "a string, as the field is one");
    size_t len = json_string_length(node->value); /* NUL may stand in it, as in any value of an event */
    char *copy = rc_alloc(len + 1);
    memcpy(copy, json_string_value(node->value), len + 1);
    for (size_t i = 0; fold && i < len; i++)
        if (copy[i] >= 'A' && copy[i] <= 'Z')
            copy[i] = (char)(copy[i] - 'A' + 'a');
    out->string = rc_span_of(copy, len);
    return RC_OK;
}

static rc_status read_operand(const struct rc_def_node *node, enum rc_type type, bool fold, union rc_value *out) {
    bool truth;
    switch (type) {
    case RC_STRING: return read_string(node, fold, out);
    case RC_BOOLEAN:
        if (!json_is_boolean(node->value))
            return rc_def_unexpected(node, "true or false, as the field is a boolean");
        RC_DEF_TRY(rc_def_bool(node, &truth));
        out->number = truth;
        return RC_OK;
    case RC_LONG:
        if (!json_is_integer(node->value))
            return rc_def_unexpected(node, "an integer, as the field is a long");
        out->number = json_integer_value(node->value);
        return RC_OK;
    case RC_DOUBLE:
    case RC_DECIMAL:
        if (!json_is_number(node->value))
            return rc_def_unexpected(node, "a number with at most 6 decimals, as the field is one");
        return rc_def_fixed(node, &out->number);
    }
    return RC_FAIL;
}

static rc_status read_clause(const struct rc_def_node *node, const struct rc_def_scope *scope, size_t index,
                             enum rc_type type, bool fold, struct rc_clause *out) {
    enum operand operand = operators[index].operand;
    char expected[96];
    out->op = operators[index].op;
    if (!fits(operators[index].on, type))
        return rc_def_fail(node, "\"%s\" is for %s, but the field is a %s", operators[index].name,
                           operators[index].on == ON_NUMBERS ? "numbers" : "strings", rc_def_type_name(type));
    if (operand == FIELD) {
        RC_DEF_TRY(rc_def_field(node, scope, &out->other));
        if (out->other.type != type)
            return rc_def_fail(node, "field \"%s\" is a %s, expected a %s, as the field it is compared with",
                               out->other.name, rc_def_type_name(out->other.type), rc_def_type_name(type));
        return RC_OK;
    }
    if (operand == LIST) {
        (void)snprintf(expected, sizeof expected, "an array of operands (\"%s\" takes several)", operators[index].name);
        RC_DEF_TRY(rc_def_array(node, expected));
        size_t n = json_array_size(node->value);
        out->operands = rc_calloc(n, sizeof *out->operands);
        for (size_t i = 0; i < n; i++, out->n_operands++) {
            struct rc_def_node item = rc_def_at(node, i);
            RC_DEF_TRY(read_operand(&item, type, fold, &out->operands[i]));
        }
        return RC_OK;
    }
    out->operands = rc_calloc(1, sizeof *out->operands);
    RC_DEF_TRY(read_operand(node, operand == TRUTH ? RC_BOOLEAN : type, fold, &out->operands[0]));
    out->n_operands = 1;
    return RC_OK;
}

static size_t find_operator(const char *key, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(operators[i].name, key) == 0)
            return i;
    return n;
}

rc_status rc_def_clauses(const struct rc_def_node *node, const struct rc_def_scope *scope, enum rc_type type,
                         bool with_fields, const char *const *others, size_t n_others, struct rc_clauses *out) {
    size_t n = with_fields ? N_OPERATORS : N_OPERATORS - N_FIELD_OPERATORS, n_words = 0;
    const char *words[MAX_OTHERS + N_OPERATORS + 1];
    for (size_t i = 0; i < n_others && i < MAX_OTHERS; i++)
        words[n_words++] = others[i];
    for (size_t i = 0; i < n; i++)
        words[n_words++] = operators[i].name;
    words[n_words++] = "ignore_case";
    if (!with_fields && (rc_def_has(node, "eq_field") || rc_def_has(node, "ne_field"))) {
        struct rc_def_node field = rc_def_get(node, rc_def_has(node, "eq_field") ? "eq_field" : "ne_field");
        return rc_def_fail(&field, "\"%s\" cannot stand in the \"is\" of latest and first; write it in \"where\"",
                           field.key);
    }
    RC_DEF_TRY(rc_def_keys(node, words, n_words));
    if (rc_def_has(node, "ignore_case")) {
        struct rc_def_node fold = rc_def_get(node, "ignore_case");
        RC_DEF_TRY(rc_def_bool(&fold, &out->ignore_case));
    }
    out->items = rc_calloc(N_OPERATORS, sizeof *out->items);
    for (void *at = json_object_iter(node->value); at; at = json_object_iter_next(node->value, at)) {
        struct rc_def_node operand = rc_def_get(node, json_object_iter_key(at));
        size_t found = find_operator(operand.key, n);
        if (found < n) /* counted before it is filled: half-filled, it must be released */
            RC_DEF_TRY(read_clause(&operand, scope, found, type, out->ignore_case, &out->items[out->n++]));
    }
    if (out->n == 0)
        return rc_def_fail(node, "no operator, expected at least one of eq, ne, in, exists, …");
    return RC_OK;
}

static rc_status read_list(const struct rc_def_node *node, struct rc_def_scope *scope, int depth, struct rc_pred *out) {
    RC_DEF_TRY(rc_def_array(node, "an array of conditions about an event"));
    size_t n = json_array_size(node->value);
    out->children = rc_calloc(n, sizeof(struct rc_pred *));
    out->n_children = n;
    for (size_t i = 0; i < n; i++) {
        struct rc_def_node item = rc_def_at(node, i);
        RC_DEF_TRY(rc_def_pred(&item, scope, depth + 1, &out->children[i]));
    }
    return RC_OK;
}

static rc_status read_one(const struct rc_def_node *node, struct rc_def_scope *scope, int depth, struct rc_pred *out) {
    out->children = rc_calloc(1, sizeof(struct rc_pred *));
    out->n_children = 1;
    return rc_def_pred(node, scope, depth + 1, &out->children[0]);
}

static rc_status read_test(const struct rc_def_node *node, const struct rc_def_scope *scope, struct rc_pred *out) {
    static const char *const others[] = {"field"};
    struct rc_def_node field = rc_def_get(node, "field");
    out->kind = RC_PRED_TEST;
    RC_DEF_TRY(rc_def_field(&field, scope, &out->field));
    return rc_def_clauses(node, scope, out->field.type, true, others, RC_DEF_COUNT(others), &out->clauses);
}

static rc_status read_some(const struct rc_def_node *node, struct rc_def_scope *scope, int depth, struct rc_pred *out) {
    static const char *const keys[] = {"some", "where"};
    struct rc_def_node name = rc_def_get(node, "some"), where = rc_def_get(node, "where");
    out->kind = RC_PRED_SOME;
    RC_DEF_TRY(rc_def_keys(node, keys, RC_DEF_COUNT(keys)));
    RC_DEF_TRY(rc_def_element(&name, scope, &out->element));
    if (!where.value)
        return rc_def_unexpected(&where, "a condition about an element");
    return read_one(&where, scope, depth, out);
}

static rc_status fill(const struct rc_def_node *node, struct rc_def_scope *scope, int depth, struct rc_pred *out) {
    static const char *const heads[] = {"field", "and", "or", "not", "some"};
    size_t n_heads = 0, head = 0;
    if (json_object_size(node->value) == 0) {
        out->kind = RC_PRED_TRUE;
        return RC_OK;
    }
    for (size_t i = 0; i < RC_DEF_COUNT(heads); i++)
        if (rc_def_has(node, heads[i]))
            head = i, n_heads++;
    if (n_heads > 1)
        return rc_def_fail(node,
                           "found several of field, and, or, not, some; expected exactly one: join them with \"and\"");
    if (n_heads == 0) {
        for (void *at = json_object_iter(node->value); at; at = json_object_iter_next(node->value, at)) {
            struct rc_def_node key = rc_def_get(node, json_object_iter_key(at));
            if (find_operator(key.key, N_OPERATORS) == N_OPERATORS && strcmp(key.key, "ignore_case") != 0)
                return rc_def_unknown_word(&key, "key", key.key, heads, RC_DEF_COUNT(heads));
        }
        struct rc_def_node field = rc_def_get(node, "field");
        return rc_def_unexpected(&field, "the name of the field that the operators test");
    }
    struct rc_def_node below = rc_def_get(node, heads[head]);
    switch (head) {
    case 0: return read_test(node, scope, out);
    case 4: return read_some(node, scope, depth, out);
    default: break;
    }
    RC_DEF_TRY(rc_def_keys(node, &heads[head], 1));
    out->kind = head == 1 ? RC_PRED_AND : head == 2 ? RC_PRED_OR : RC_PRED_NOT;
    return head == 3 ? read_one(&below, scope, depth, out) : read_list(&below, scope, depth, out);
}

rc_status rc_def_pred(const struct rc_def_node *node, struct rc_def_scope *scope, int depth, struct rc_pred **out) {
    RC_DEF_TRY(
        rc_def_object(node, "a condition about an event, like {\"field\": \"type\", \"eq\": \"purchase\"} or {}"));
    if (depth > RC_MAX_CONDITION_DEPTH)
        return rc_def_fail(node, "nested deeper than %d conditions: split it into segments that refer to each other",
                           RC_MAX_CONDITION_DEPTH);
    RC_DEF_TRY(rc_def_count_node(node, scope));
    *out = rc_calloc(1, sizeof **out);
    return fill(node, scope, depth, *out);
}
