/* Owns what a name in a definition stands for: fields over several datasets, elements, other definitions. Must not know where names stand.
 * The mistake that it prevents: a field that means text in one dataset and a number in another being compared with either. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "segment/definition_parse.h"

static const struct {
    const char *name;
    enum rc_field_kind kind;
    enum rc_type type;
} reserved[] = {
    {"_dataset", RC_FIELD_DATASET, RC_STRING},
    {"_namespace", RC_FIELD_NAMESPACE, RC_STRING},
    {"_hour", RC_FIELD_HOUR, RC_LONG},
    {"_weekday", RC_FIELD_WEEKDAY, RC_LONG},
};

const char *const rc_kind_names[RC_KINDS] = {"dataset", "segment", "audience", "destination", "attribute", "policy"};

const char *rc_def_type_name(enum rc_type type) {
    static const char *const names[] = {"string", "long", "boolean", "double", "decimal"};
    return names[type];
}

bool rc_def_is_number(enum rc_type type) {
    return type == RC_LONG || type == RC_DOUBLE || type == RC_DECIMAL;
}

/* ---- other definitions ----------------------------------------------------------------------------------------------- */

int rc_def_find(const void *index, const char *kind, const char *id) {
    json_t *found = json_object_get(json_object_get((const json_t *)index, kind), id);
    return found ? (int)json_integer_value(found) : -1;
}

rc_status rc_def_reference(const struct rc_def_node *node, const struct rc_catalog *catalog, enum rc_kind kind,
                           uint32_t *out) {
    const char *kind_name = rc_kind_names[kind], *id = json_string_value(node->value);
    /* Before it is asked whether that can be an id: a segment that warms up has a name that none can be. */
    int found = id ? rc_def_find(catalog->index, kind_name, id) : -1;
    if (found >= 0) {
        *out = (uint32_t)found;
        return RC_OK;
    }
    RC_DEF_TRY(rc_def_id(node, &id));
    json_t *known = json_object_get(catalog->index, kind_name);
    size_t n = 0;
    const char **words = rc_calloc(json_object_size(known), sizeof *words);
    for (void *at = json_object_iter(known); at; at = json_object_iter_next(known, at))
        words[n++] = json_object_iter_key(at);
    (void)rc_def_unknown_word(node, kind_name, id, words, n);
    free(words);
    return RC_FAIL;
}

rc_status rc_def_datasets(const struct rc_def_node *node, const struct rc_catalog *catalog, uint32_t **out, size_t *n) {
    if (!json_is_array(node->value)) {
        if (!json_is_string(node->value))
            return rc_def_unexpected(node, "a dataset's id, or an array of them");
        uint32_t one;
        RC_DEF_TRY(rc_def_reference(node, catalog, RC_KIND_DATASET, &one));
        *out = rc_alloc(sizeof **out);
        (*out)[0] = one;
        *n = 1;
        return RC_OK;
    }
    size_t size = json_array_size(node->value);
    if (size == 0)
        return rc_def_unexpected(node, "at least one dataset's id");
    uint32_t *list = rc_calloc(size, sizeof *list);
    for (size_t i = 0; i < size; i++) {
        struct rc_def_node item = rc_def_at(node, i);
        rc_status status = rc_def_reference(&item, catalog, RC_KIND_DATASET, &list[i]);
        for (size_t j = 0; status == RC_OK && j < i; j++)
            if (list[j] == list[i])
                status = rc_def_fail(&item, "dataset \"%s\" stands here twice, expected each once",
                                     json_string_value(item.value));
        if (status != RC_OK) {
            free(list);
            return RC_FAIL;
        }
    }
    *out = list;
    *n = size;
    return RC_OK;
}

rc_status rc_def_destinations(const struct rc_def_node *node, const struct rc_catalog *catalog, char ***out,
                              size_t *n) {
    RC_DEF_TRY(rc_def_array(node, "an array of destinations' ids"));
    size_t size = json_array_size(node->value);
    for (size_t i = 0; i < size; i++) {
        struct rc_def_node item = rc_def_at(node, i);
        const char *id;
        uint32_t index;
        RC_DEF_TRY(rc_def_id(&item, &id));
        if (strcmp(id, "profiles") != 0)
            RC_DEF_TRY(rc_def_reference(&item, catalog, RC_KIND_DESTINATION, &index));
        for (size_t j = 0; j < i; j++)
            if (strcmp(json_string_value(json_array_get(node->value, j)), id) == 0)
                return rc_def_fail(&item, "destination \"%s\" stands here twice, expected each once", id);
    }
    return rc_def_texts(node, "an array of destinations' ids", out, n);
}

/* ---- fields and elements --------------------------------------------------------------------------------------------- */

static const struct rc_field *dataset_field(const struct rc_dataset *dataset, const char *name) {
    for (size_t i = 0; i < dataset->n_fields; i++)
        if (strcmp(dataset->fields[i].name, name) == 0)
            return &dataset->fields[i];
    return NULL;
}

static rc_status unknown_field(const struct rc_def_node *node, const struct rc_def_scope *scope, const char *name) {
    size_t n = 0, capacity = RC_DEF_COUNT(reserved);
    for (size_t d = 0; d < scope->n_datasets; d++)
        capacity += scope->datasets[d]->n_fields;
    const char **words = rc_calloc(capacity, sizeof *words);
    for (size_t d = 0; d < scope->n_datasets; d++)
        for (size_t f = 0; f < scope->datasets[d]->n_fields; f++) {
            const char *word = scope->datasets[d]->fields[f].name;
            bool known = false;
            for (size_t i = 0; i < n && !known; i++)
                known = strcmp(words[i], word) == 0;
            if (!known)
                words[n++] = word;
        }
    for (size_t i = 0; i < RC_DEF_COUNT(reserved); i++)
        words[n++] = reserved[i].name;
    (void)rc_def_unknown_word(node, "field", name, words, n);
    free(words);
    return RC_FAIL;
}

rc_status rc_def_field(const struct rc_def_node *node, const struct rc_def_scope *scope, struct rc_field_ref *out) {
    const char *name;
    RC_DEF_TRY(rc_def_text(node, "a field's name", &name));
    for (size_t i = 0; i < RC_DEF_COUNT(reserved); i++)
        if (strcmp(reserved[i].name, name) == 0) {
            *out = (struct rc_field_ref){.name = rc_strdup(name), .kind = reserved[i].kind, .type = reserved[i].type};
            return RC_OK;
        }
    const struct rc_field *field = NULL;
    const struct rc_dataset *of = NULL;
    for (size_t d = 0; d < scope->n_datasets; d++) {
        const struct rc_dataset *dataset = scope->datasets[d];
        const struct rc_field *here = dataset_field(dataset, name);
        if (field && here && field->type != here->type)
            return rc_def_fail(node,
                               "field \"%s\" is a %s in dataset \"%s\" and a %s in dataset \"%s\", expected one type "
                               "in all datasets of the "
                               "segment: give one of them another name in its dataset",
                               name, rc_def_type_name(field->type), of->id, rc_def_type_name(here->type), dataset->id);
        if (!field && here)
            field = here, of = dataset;
    }
    if (!field)
        return unknown_field(node, scope, name);
    out->name = rc_strdup(name);
    out->kind = RC_FIELD_PLAIN;
    out->type = field->type;
    out->element = field->element == RC_NO_ELEMENT ? NULL : rc_strdup(of->elements[field->element].name);
    return RC_OK;
}

rc_status rc_def_element(const struct rc_def_node *node, const struct rc_def_scope *scope, char **out) {
    const char *name;
    RC_DEF_TRY(rc_def_text(node, "the name of an array of elements", &name));
    size_t n = 0, capacity = 0;
    for (size_t d = 0; d < scope->n_datasets; d++)
        capacity += scope->datasets[d]->n_elements;
    const char **words = rc_calloc(capacity, sizeof *words);
    rc_status status = RC_FAIL;
    for (size_t d = 0; d < scope->n_datasets; d++)
        for (size_t e = 0; e < scope->datasets[d]->n_elements; e++) {
            words[n] = scope->datasets[d]->elements[e].name;
            if (strcmp(words[n++], name) == 0)
                status = RC_OK;
        }
    if (status == RC_OK)
        *out = rc_strdup(name);
    else
        (void)rc_def_unknown_word(node, "element", name, words, n);
    free(words);
    return status;
}
