/* The tree of wanted paths: built once per dataset, read by both codecs. */
#include "codec/wanted.h"

#include <stdlib.h>

#include "base/alloc.h"

static struct rc_want *step(struct rc_want *from, struct rc_span name) {
    for (uint32_t i = 0; i < from->n_steps; i++)
        if (rc_span_equal(from->steps[i].name, name))
            return from->steps[i].below;
    from->steps = rc_realloc(from->steps, (from->n_steps + 1) * sizeof *from->steps);
    struct rc_want *below = rc_calloc(1, sizeof *below);
    from->steps[from->n_steps++] = (struct rc_want_step){.name = name, .below = below};
    return below;
}

static struct rc_want *walk(struct rc_want *from, const struct rc_path *path) {
    for (size_t i = 0; i < path->n; i++)
        from = step(from, rc_span_str(path->names[i]));
    return from;
}

static void push(uint32_t **items, uint32_t *n, uint32_t item) {
    *items = rc_realloc(*items, (*n + 1) * sizeof **items);
    (*items)[(*n)++] = item;
}

void rc_wanted_add(struct rc_wanted *wanted, struct rc_want *from, const struct rc_path *path) {
    uint32_t target = wanted->n_targets++;
    struct rc_want *at = walk(from, path);
    push(&at->targets, &at->n_targets, target);
    wanted->texts = rc_realloc(wanted->texts, wanted->n_targets * sizeof *wanted->texts);
    wanted->texts[target] = path->text;
}

void rc_wanted_init(struct rc_wanted *wanted, const struct rc_dataset *dataset) {
    *wanted = (struct rc_wanted){.n_fields = (uint32_t)dataset->n_fields, .n_elements = (uint32_t)dataset->n_elements};
    wanted->element_roots = rc_calloc(dataset->n_elements, sizeof *wanted->element_roots);
    for (uint32_t e = 0; e < dataset->n_elements; e++) {
        struct rc_want *at = walk(&wanted->root, &dataset->elements[e].path);
        push(&at->elements, &at->n_elements, e);
    }
    for (size_t f = 0; f < dataset->n_fields; f++) {
        const struct rc_field *field = &dataset->fields[f];
        rc_wanted_add(wanted, field->element == RC_NO_ELEMENT ? &wanted->root : &wanted->element_roots[field->element],
                      &field->path);
    }
}

static void deinit(struct rc_want *want) {
    for (uint32_t i = 0; i < want->n_steps; i++) {
        deinit(want->steps[i].below);
        free(want->steps[i].below);
    }
    free(want->steps);
    free(want->targets);
    free(want->elements);
}

void rc_wanted_deinit(struct rc_wanted *wanted) {
    deinit(&wanted->root);
    for (uint32_t e = 0; e < wanted->n_elements; e++)
        deinit(&wanted->element_roots[e]);
    free(wanted->element_roots);
    free(wanted->texts);
}
