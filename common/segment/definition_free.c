/* Owns the release of everything that a catalog holds. Takes half-filled structures (zeroed where not filled), because a definition that turns
 * out to be wrong is released as far as it was read. */
#include <stdlib.h>

#include "segment/definition_parse.h"

void rc_def_texts_free(char **texts, size_t n) {
    for (size_t i = 0; i < n; i++)
        free(texts[i]);
    free(texts);
}

static void path_deinit(struct rc_path *path) {
    rc_def_texts_free(path->names, path->n);
    free(path->text);
}

static void source_deinit(struct rc_source *source) {
    free(source->text);
    path_deinit(&source->path);
    for (size_t i = 0; i < source->n_options; i++)
        source_deinit(&source->options[i]);
    free(source->options);
}

static void field_ref_deinit(struct rc_field_ref *ref) {
    free(ref->name);
    free(ref->element);
}

static bool has_texts(const struct rc_clause *clause, enum rc_type type) {
    return type == RC_STRING && clause->op != RC_OP_EXISTS;
}

static void clauses_deinit(struct rc_clauses *clauses, enum rc_type type) {
    for (size_t i = 0; i < clauses->n; i++) {
        struct rc_clause *clause = &clauses->items[i];
        for (size_t k = 0; k < clause->n_operands && has_texts(clause, type); k++)
            free((char *)(uintptr_t)clause->operands[k].string.data);
        free(clause->operands);
        field_ref_deinit(&clause->other);
    }
    free(clauses->items);
}

void rc_def_pred_free(struct rc_pred *pred) {
    if (!pred)
        return;
    for (size_t i = 0; i < pred->n_children; i++)
        rc_def_pred_free(pred->children[i]);
    free(pred->children);
    free(pred->element);
    clauses_deinit(&pred->clauses, pred->field.type);
    field_ref_deinit(&pred->field);
    free(pred);
}

static void step_deinit(struct rc_step *step) {
    for (size_t i = 0; i < step->n_preds; i++)
        rc_def_pred_free(step->preds[i]);
    free(step->preds);
    rc_def_cond_free(step->session);
}

void rc_def_cond_free(struct rc_cond *cond) {
    if (!cond)
        return;
    for (size_t i = 0; i < cond->n_children; i++)
        rc_def_cond_free(cond->children[i]);
    for (size_t i = 0; i < cond->n_steps; i++)
        step_deinit(&cond->steps[i]);
    free(cond->children);
    free(cond->steps);
    free(cond->path);
    rc_def_pred_free(cond->where);
    clauses_deinit(&cond->is, cond->field.type);
    field_ref_deinit(&cond->field);
    free(cond);
}

void rc_dataset_deinit(struct rc_dataset *dataset) {
    free(dataset->id);
    free(dataset->topic);
    free(dataset->schema);
    free(dataset->schema_file);
    free(dataset->timezone_name);
    source_deinit(&dataset->person_namespace);
    source_deinit(&dataset->person_id);
    source_deinit(&dataset->timestamp);
    source_deinit(&dataset->event_id);
    rc_def_pred_free(dataset->where);
    for (size_t i = 0; i < dataset->n_fields; i++) {
        free(dataset->fields[i].name);
        path_deinit(&dataset->fields[i].path);
        rc_def_texts_free(dataset->fields[i].labels, dataset->fields[i].n_labels);
    }
    free(dataset->fields);
    for (size_t i = 0; i < dataset->n_elements; i++) {
        free(dataset->elements[i].name);
        path_deinit(&dataset->elements[i].path);
    }
    free(dataset->elements);
    *dataset = (struct rc_dataset){0};
}

static void segment_deinit(struct rc_segment *segment) {
    free(segment->id);
    free(segment->datasets);
    rc_def_cond_free(segment->where);
}

static void audience_cond_free(struct rc_audience_cond *cond) {
    if (!cond)
        return;
    for (size_t i = 0; i < cond->n_children; i++)
        audience_cond_free(cond->children[i]);
    free(cond->children);
    free(cond);
}

static void audience_deinit(struct rc_audience *audience) {
    free(audience->id);
    audience_cond_free(audience->where);
    rc_def_texts_free(audience->destinations, audience->n_destinations);
    free(audience->topic);
}

static void secret_deinit(struct rc_secret *secret) {
    free(secret->text);
    free(secret->env);
    free(secret->file);
}

static void destination_deinit(struct rc_destination *destination) {
    free(destination->id);
    free(destination->url);
    free(destination->topic);
    for (size_t i = 0; i < destination->n_headers; i++) {
        free(destination->headers[i].name);
        secret_deinit(&destination->headers[i].value);
    }
    free(destination->headers);
    secret_deinit(&destination->password);
    rc_def_texts_free(destination->marketing_actions, destination->n_marketing_actions);
    free(destination->consent);
}

static void attribute_deinit(struct rc_attribute *attribute) {
    free(attribute->id);
    free(attribute->datasets);
    rc_def_cond_free(attribute->value);
    rc_def_texts_free(attribute->destinations, attribute->n_destinations);
}

static void label_cond_free(struct rc_label_cond *cond) {
    if (!cond)
        return;
    for (size_t i = 0; i < cond->n_children; i++)
        label_cond_free(cond->children[i]);
    free(cond->children);
    free(cond->label);
    free(cond);
}

static void policy_deinit(struct rc_policy *policy) {
    free(policy->id);
    free(policy->marketing_action);
    label_cond_free(policy->deny);
}

void rc_def_definition_deinit(struct rc_definition *definition) {
    free(definition->kind);
    free(definition->id);
    free(definition->json);
    free(definition->file);
    free(definition->path);
    free(definition->schema_file);
    free(definition->applied_by);
    *definition = (struct rc_definition){0};
}

void rc_catalog_free(struct rc_catalog *catalog) {
    if (!catalog)
        return;
    for (size_t i = 0; i < catalog->n_datasets; i++)
        rc_dataset_deinit(&catalog->datasets[i]);
    for (size_t i = 0; i < catalog->n_segments; i++)
        segment_deinit(&catalog->segments[i]);
    for (size_t i = 0; i < catalog->n_audiences; i++)
        audience_deinit(&catalog->audiences[i]);
    for (size_t i = 0; i < catalog->n_destinations; i++)
        destination_deinit(&catalog->destinations[i]);
    for (size_t i = 0; i < catalog->n_attributes; i++)
        attribute_deinit(&catalog->attributes[i]);
    for (size_t i = 0; i < catalog->n_policies; i++)
        policy_deinit(&catalog->policies[i]);
    for (size_t i = 0; i < catalog->n_definitions; i++)
        rc_def_definition_deinit(&catalog->definitions[i]);
    free(catalog->datasets);
    free(catalog->segments);
    free(catalog->audiences);
    free(catalog->destinations);
    free(catalog->attributes);
    free(catalog->policies);
    free(catalog->definitions);
    json_decref(catalog->index);
    free(catalog);
}
