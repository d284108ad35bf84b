/* Which predicates an event can satisfy, and what else an event sets off in a dataset. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/alloc.h"
#include "segment/plan.h"

/* ---- building --------------------------------------------------------------------------------------------------------- */

static int compare_guards(const void *a, const void *b) {
    const struct rc_guard *x = a, *y = b;
    if (x->slot != y->slot)
        return x->slot < y->slot ? -1 : 1;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

static void add_guards(struct rc_plan *plan, struct rc_dispatch *dispatch, uint32_t dataset, uint32_t trigger) {
    uint32_t slot = 0;
    const struct rc_predicate *predicate = plan->predicates[dispatch->triggers[trigger].predicate];
    const struct rc_clause *guard = rc_predicate_guard(&plan->slots, predicate, &slot);
    if (!guard) {
        rc_grow(&dispatch->always, &dispatch->cap_always, dispatch->n_always + 1, sizeof *dispatch->always);
        dispatch->always[dispatch->n_always++] = trigger;
        return;
    }
    if (plan->slots.items[slot].field[dataset] < 0)
        return; /* the dataset has no such field: the predicate cannot hold here */
    for (size_t i = 0; i < guard->n_operands; i++) {
        struct rc_span value = guard->operands[i].string;
        rc_grow(&dispatch->guards, &dispatch->cap_guards, dispatch->n_guards + 1, sizeof *dispatch->guards);
        dispatch->guards[dispatch->n_guards++] = (struct rc_guard){
            .slot = slot, .hash = XXH3_64bits(value.data, value.len), .value = value, .trigger = trigger};
    }
    for (size_t i = 0; i < dispatch->n_guard_slots; i++)
        if (dispatch->guard_slots[i] == slot)
            return;
    rc_grow(&dispatch->guard_slots, &dispatch->cap_guard_slots, dispatch->n_guard_slots + 1,
            sizeof *dispatch->guard_slots);
    dispatch->guard_slots[dispatch->n_guard_slots++] = slot;
}

/* `some` on an array looks at its elements even where it names none of their fields: then all of them stand for the array. */
static void name_array(const struct rc_plan *plan, uint32_t dataset, int array, bool *named) {
    const struct rc_dataset *d = &plan->catalog->datasets[dataset];
    for (size_t f = 0; f < d->n_fields; f++)
        if (array >= 0 && d->fields[f].element == array && named[f])
            return;
    for (size_t f = 0; f < d->n_fields; f++)
        named[f] |= array >= 0 && d->fields[f].element == array;
}

static void name_fields(const struct rc_plan *plan, uint32_t dataset, const struct rc_predicate *predicate,
                        bool *named) {
    for (size_t i = 0; i < predicate->n_children; i++)
        name_fields(plan, dataset, predicate->children[i], named);
    if (predicate->kind == RC_PRED_SOME)
        name_array(plan, dataset, plan->slots.items[predicate->slot].element[dataset], named);
    if (predicate->kind != RC_PRED_TEST)
        return;
    const struct rc_slot *slot = &plan->slots.items[predicate->slot];
    if (slot->field && slot->field[dataset] >= 0)
        named[slot->field[dataset]] = true;
    for (size_t i = 0; i < predicate->clauses->n; i++) {
        enum rc_op op = predicate->clauses->items[i].op;
        const struct rc_slot *other = &plan->slots.items[predicate->others[i]];
        if ((op == RC_OP_EQ_FIELD || op == RC_OP_NE_FIELD) && other->field && other->field[dataset] >= 0)
            named[other->field[dataset]] = true;
    }
}

void rc_dispatch_build(struct rc_plan *plan, uint32_t dataset) {
    struct rc_dispatch *dispatch = &plan->dispatch[dataset];
    uint32_t *trigger_of = rc_alloc(plan->n_predicates * sizeof *trigger_of);
    memset(trigger_of, 0xff, plan->n_predicates * sizeof *trigger_of);
    for (uint32_t s = 0; s < plan->n_series; s++) {
        const struct rc_series_plan *series = &plan->series[s];
        if (!series->in_dataset[dataset])
            continue;
        if (trigger_of[series->predicate] == RC_NONE) {
            rc_grow(&dispatch->triggers, &dispatch->cap_triggers, dispatch->n_triggers + 1, sizeof *dispatch->triggers);
            dispatch->triggers[dispatch->n_triggers] = (struct rc_trigger){.predicate = series->predicate};
            trigger_of[series->predicate] = (uint32_t)dispatch->n_triggers++;
        }
        struct rc_trigger *trigger = &dispatch->triggers[trigger_of[series->predicate]];
        rc_grow(&trigger->series, &trigger->cap_series, trigger->n_series + 1, sizeof *trigger->series);
        trigger->series[trigger->n_series++] = s;
    }
    free(trigger_of);
    for (uint32_t t = 0; t < dispatch->n_triggers; t++)
        add_guards(plan, dispatch, dataset, t);
    if (dispatch->n_guards)
        qsort(dispatch->guards, dispatch->n_guards, sizeof *dispatch->guards, compare_guards);
    for (uint32_t s = 0; s < plan->n_segments; s++) {
        uint32_t existence;
        if (plan->segments[s].leader != s || !rc_plan_decides(plan, s))
            continue;
        if (s < plan->catalog->n_segments && plan->domains[plan->segments[s].domain].datasets[dataset] &&
            plan->catalog->segments[s].generation > dispatch->generation)
            dispatch->generation = plan->catalog->segments[s].generation;
        bool born = rc_plan_is_existence(plan, s, &existence)
                        ? existence == dataset
                        : plan->segments[s].born_changing && plan->domains[plan->segments[s].domain].datasets[dataset];
        if (!born)
            continue;
        rc_grow(&dispatch->born, &dispatch->cap_born, dispatch->n_born + 1, sizeof *dispatch->born);
        dispatch->born[dispatch->n_born++] = s;
    }
    const struct rc_dataset *source = &plan->catalog->datasets[dataset];
    if (!source->where)
        return;
    dispatch->where = rc_predicate_new(&plan->slots, source->where);
    dispatch->where_fields = rc_calloc(source->n_fields, sizeof(bool));
    name_fields(plan, dataset, dispatch->where, dispatch->where_fields);
}

void rc_dispatch_deinit(struct rc_dispatch *dispatch) {
    for (size_t t = 0; t < dispatch->n_triggers; t++)
        free(dispatch->triggers[t].series);
    free(dispatch->triggers);
    free(dispatch->guards);
    free(dispatch->guard_slots);
    free(dispatch->always);
    free(dispatch->born);
    rc_predicate_free(dispatch->where);
    free(dispatch->where_fields);
}

/* ---- asking ------------------------------------------------------------------------------------------------------------ */

static void found_once(uint8_t *seen, const struct rc_dispatch *dispatch, uint32_t trigger, rc_trigger_fn found,
                       void *ctx) {
    if (seen[trigger])
        return;
    seen[trigger] = 1;
    found(ctx, &dispatch->triggers[trigger]);
}

void rc_plan_dispatch(const struct rc_plan *plan, const struct rc_event *event, uint8_t *seen, rc_trigger_fn found,
                      void *ctx) {
    const struct rc_dispatch *dispatch = &plan->dispatch[event->dataset];
    for (size_t i = 0; i < dispatch->n_always; i++)
        found(ctx, &dispatch->triggers[dispatch->always[i]]);
    if (dispatch->n_guards == 0)
        return;
    memset(seen, 0, dispatch->n_triggers);
    for (size_t i = 0; i < dispatch->n_guard_slots; i++) {
        uint32_t slot = dispatch->guard_slots[i];
        struct rc_values values = rc_slot_values(&plan->slots, slot, event, NULL, NULL);
        for (uint32_t v = 0; v < values.n; v++) {
            struct rc_span text = values.values[v].string;
            struct rc_guard key = {.slot = slot, .hash = XXH3_64bits(text.data, text.len)};
            size_t lo = 0, hi = dispatch->n_guards;
            while (lo < hi) {
                size_t mid = lo + (hi - lo) / 2;
                if (compare_guards(&dispatch->guards[mid], &key) < 0)
                    lo = mid + 1;
                else
                    hi = mid;
            }
            for (; lo < dispatch->n_guards && compare_guards(&dispatch->guards[lo], &key) == 0; lo++)
                if (rc_span_equal(dispatch->guards[lo].value, text))
                    found_once(seen, dispatch, dispatch->guards[lo].trigger, found, ctx);
        }
    }
}

bool rc_plan_dataset_where(const struct rc_plan *plan, const struct rc_event *event) {
    const struct rc_predicate *where = plan->dispatch[event->dataset].where;
    return !where || rc_predicate_matches(&plan->slots, where, event, NULL);
}

const bool *rc_plan_dataset_where_fields(const struct rc_plan *plan, uint32_t dataset) {
    return plan->dispatch[dataset].where_fields;
}
