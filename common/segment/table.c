/* The table of a population's persons in memory: found by key, dirty ones listed, and for each domain a heap of who is due first. */
#include <stdlib.h>

#include <xxhash.h>

#include "base/alloc.h"
#include "segment/population_state.h"

/* ---- by key ------------------------------------------------------------------------------------------------------------ */

static struct rc_span key_of(const struct rc_person *person) {
    return rc_span_of(person->key, person->key_len);
}

static size_t home_of(const struct rc_population *p, struct rc_span key) {
    return XXH3_64bits(key.data, key.len) & (p->n_slots - 1);
}

static size_t find_slot(const struct rc_population *p, struct rc_span key) {
    size_t at = home_of(p, key);
    for (; p->slots[at]; at = (at + 1) & (p->n_slots - 1))
        if (rc_span_equal(key_of(p->persons[p->slots[at] - 1]), key))
            break;
    return at;
}

struct rc_person *rc_table_find(const struct rc_population *p, struct rc_span key) {
    uint32_t number = p->slots[find_slot(p, key)];
    return number ? p->persons[number - 1] : NULL;
}

void rc_table_add(struct rc_population *p, struct rc_person *person) {
    if ((p->n_persons + 1) * 2 > p->n_slots) {
        free(p->slots);
        p->n_slots *= 2;
        p->slots = rc_calloc(p->n_slots, sizeof *p->slots);
        for (size_t i = 0; i < p->n_persons; i++)
            p->slots[find_slot(p, key_of(p->persons[i]))] = (uint32_t)i + 1;
    }
    rc_grow(&p->persons, &p->cap_persons, p->n_persons + 1, sizeof(struct rc_person *));
    person->number = (uint32_t)p->n_persons;
    p->persons[p->n_persons++] = person;
    p->slots[find_slot(p, key_of(person))] = person->number + 1;
    rc_table_measure(p, person);
}

/* Frees the slot and moves up what was pushed past it (linear probing, deletion without tombstones: Knuth 6.4, algorithm R). */
static void free_slot(struct rc_population *p, size_t hole) {
    size_t mask = p->n_slots - 1;
    for (size_t at = (hole + 1) & mask; p->slots[at]; at = (at + 1) & mask) {
        size_t home = home_of(p, key_of(p->persons[p->slots[at] - 1]));
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        p->slots[hole] = p->slots[at];
        hole = at;
    }
    p->slots[hole] = 0;
}

void rc_table_remove(struct rc_population *p, struct rc_person *person) {
    for (uint32_t d = 0; d < p->plan->n_domains; d++)
        rc_table_set_due(p, d, person, RC_NEVER);
    free_slot(p, find_slot(p, key_of(person)));
    struct rc_person *last = p->persons[p->n_persons - 1];
    if (last != person) {
        p->slots[find_slot(p, key_of(last))] = person->number + 1;
        p->persons[person->number] = last;
        last->number = person->number;
    }
    p->n_persons--;
    p->person_bytes -= person->bytes;
    rc_person_free(person, p->plan, &p->strings);
}

void rc_table_measure(struct rc_population *p, struct rc_person *person) {
    size_t bytes = rc_person_bytes(person, p->plan);
    p->person_bytes += bytes - person->bytes;
    person->bytes = (uint32_t)bytes;
}

void rc_table_mark_dirty(struct rc_population *p, struct rc_person *person) {
    if (person->dirty)
        return;
    person->dirty = true;
    rc_grow(&p->dirty, &p->cap_dirty, p->n_dirty + 1, sizeof(struct rc_person *));
    p->dirty[p->n_dirty++] = person;
}

/* ---- the heap of a domain: who is due first ---------------------------------------------------------------------------- */

static void heap_place(struct heap *heap, uint32_t domain, size_t at, struct rc_person *person) {
    heap->items[at] = person;
    person->domains[domain].heap_at = (uint32_t)at + 1;
}

static void heap_settle(struct heap *heap, uint32_t domain, size_t at, struct rc_person *person) {
    int64_t due = person->domains[domain].due_ms;
    while (at > 0 && heap->items[(at - 1) / 2]->domains[domain].due_ms > due) {
        heap_place(heap, domain, at, heap->items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->n)
            break;
        if (child + 1 < heap->n &&
            heap->items[child + 1]->domains[domain].due_ms < heap->items[child]->domains[domain].due_ms)
            child++;
        if (heap->items[child]->domains[domain].due_ms >= due)
            break;
        heap_place(heap, domain, at, heap->items[child]);
        at = child;
    }
    heap_place(heap, domain, at, person);
}

void rc_table_set_due(struct rc_population *p, uint32_t domain, struct rc_person *person, int64_t due_ms) {
    struct heap *heap = &p->heaps[domain];
    struct rc_person_domain *place = &person->domains[domain];
    if (place->due_ms == due_ms)
        return;
    place->due_ms = due_ms;
    if (place->heap_at && due_ms == RC_NEVER) {
        size_t at = place->heap_at - 1;
        place->heap_at = 0;
        struct rc_person *last = heap->items[--heap->n];
        if (last != person)
            heap_settle(heap, domain, at, last);
    } else if (place->heap_at) {
        heap_settle(heap, domain, place->heap_at - 1, person);
    } else {
        rc_grow(&heap->items, &heap->capacity, heap->n + 1, sizeof(struct rc_person *));
        heap_settle(heap, domain, heap->n++, person);
    }
}

void rc_table_redue(struct rc_population *p, uint32_t domain, struct rc_person *person) {
    rc_table_set_due(p, domain, person, rc_decide_due(p, domain, person));
}
