/* The table of a population's persons in memory: found by key, dirty ones listed, and for each domain who is due next. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/alloc.h"
#include "segment/population_state.h"

#define FEWEST_SLOTS 1024
/* Whom an event makes due by then waits in a list: most are decided within the turn that made them due. */
#define SOON_MS 100

/* ---- by key ------------------------------------------------------------------------------------------------------------ */

static uint32_t hash_of(struct rc_span key) {
    return (uint32_t)XXH3_64bits(key.data, key.len);
}

/* The key's slot, or the free one where it belongs. */
static size_t find_slot(const struct rc_population *p, struct rc_span key, uint32_t hash) {
    size_t mask = p->n_slots - 1, at = hash & mask;
    for (; p->slots[at].number; at = (at + 1) & mask) {
        const struct rc_person *person;
        if (p->slots[at].hash != hash)
            continue;
        person = p->persons[p->slots[at].number - 1];
        if (person->key_len == key.len && memcmp(person->key, key.data, key.len) == 0)
            break;
    }
    return at;
}

static void double_slots(struct rc_population *p) {
    size_t n = p->n_slots ? p->n_slots * 2 : FEWEST_SLOTS;
    struct slot *slots = rc_calloc(n, sizeof *slots);
    for (size_t i = 0; i < p->n_slots; i++) {
        size_t at = p->slots[i].hash & (n - 1);
        while (p->slots[i].number && slots[at].number)
            at = (at + 1) & (n - 1);
        if (p->slots[i].number)
            slots[at] = p->slots[i];
    }
    free(p->slots);
    p->slots = slots;
    p->n_slots = n;
}

struct rc_person *rc_table_find(const struct rc_population *p, struct rc_span key) {
    if (p->n_persons == 0)
        return NULL;
    uint32_t number = p->slots[find_slot(p, key, hash_of(key))].number;
    return number ? p->persons[number - 1] : NULL;
}

void rc_table_add(struct rc_population *p, struct rc_person *person) {
    if ((p->n_persons + 1) * 2 > p->n_slots)
        double_slots(p);
    rc_grow(&p->persons, &p->cap_persons, p->n_persons + 1, sizeof(struct rc_person *));
    person->number = (uint32_t)p->n_persons;
    p->persons[p->n_persons++] = person;
    struct rc_span key = rc_span_of(person->key, person->key_len);
    uint32_t hash = hash_of(key);
    p->slots[find_slot(p, key, hash)] = (struct slot){.number = person->number + 1, .hash = hash};
    rc_table_measure(p, person);
}

/* Frees the slot and moves up what was pushed past it (linear probing, deletion without tombstones: Knuth 6.4, algorithm R). */
static void free_slot(struct rc_population *p, size_t hole) {
    size_t mask = p->n_slots - 1;
    for (size_t at = (hole + 1) & mask; p->slots[at].number; at = (at + 1) & mask) {
        size_t home = p->slots[at].hash & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        p->slots[hole] = p->slots[at];
        hole = at;
    }
    p->slots[hole] = (struct slot){0};
}

static size_t slot_of(const struct rc_population *p, const struct rc_person *person) {
    struct rc_span key = rc_span_of(person->key, person->key_len);
    return find_slot(p, key, hash_of(key));
}

/* Not to be saved any more. */
static void unlist(struct rc_population *p, const struct rc_person *person) {
    bool saving = rc_population_pending(p, person);
    struct rc_person **list = saving ? p->saving : p->dirty;
    struct rc_person *last = list[saving ? --p->n_saving : --p->n_dirty];
    list[person->listed] = last;
    last->listed = person->listed;
}

void rc_table_remove(struct rc_population *p, struct rc_person *person) {
    for (uint32_t d = 0; d < p->plan->n_domains; d++) {
        struct queue *queue = &p->queues[d];
        for (size_t i = 0; person->domains[d].soon && i < queue->n_soon; i++)
            if (queue->soon[i] == person) {
                queue->soon[i] = queue->soon[--queue->n_soon];
                break;
            }
        rc_table_set_due(p, d, person, RC_NEVER);
    }
    free_slot(p, slot_of(p, person));
    struct rc_person *last = p->persons[p->n_persons - 1];
    if (last != person) {
        p->slots[slot_of(p, last)].number = person->number + 1;
        p->persons[person->number] = last;
        last->number = person->number;
    }
    p->n_persons--;
    p->person_bytes -= person->bytes;
    if (person->dirty)
        unlist(p, person);
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
    person->round = p->round;
    person->listed = (uint32_t)p->n_dirty;
    rc_grow(&p->dirty, &p->cap_dirty, p->n_dirty + 1, sizeof(struct rc_person *));
    p->dirty[p->n_dirty++] = person;
}

void rc_table_wait_for_save(struct rc_population *p, struct rc_person *person) {
    person->dirty = true;
    person->round = !p->round;
    person->listed = (uint32_t)p->n_saving;
    rc_grow(&p->saving, &p->cap_saving, p->n_saving + 1, sizeof(struct rc_person *));
    p->saving[p->n_saving++] = person;
}

/* ---- clocks ----------------------------------------------------------------------------------------------------------- */

void rc_table_set_clock(struct rc_population *p, uint32_t dataset, int64_t clock_ms) {
    if (clock_ms <= p->clocks[dataset])
        return;
    p->clocks[dataset] = clock_ms;
    for (size_t d = 0; d < p->plan->n_domains; d++) {
        const struct rc_domain *domain = &p->plan->domains[d];
        if (!domain->datasets[dataset])
            continue;
        int64_t clock = INT64_MAX;
        for (size_t i = 0; i < p->plan->catalog->n_datasets; i++)
            if (domain->datasets[i] && p->clocks[i] < clock)
                clock = p->clocks[i];
        p->domain_clocks[d] = clock;
    }
}

/* ---- ahead of their events --------------------------------------------------------------------------------------------- */

#define LINE 64
#define PREFETCH_MOST 512 /* bytes of one block; the head of a long column is enough to begin with */

/* Inline by force: what changes nothing need not be called, as the compiler sees it. */
#define FETCHES __attribute__((always_inline)) static inline

FETCHES void prefetch(const void *block, size_t bytes) {
    for (size_t i = 0; i < bytes && i < PREFETCH_MOST; i += LINE)
        __builtin_prefetch((const char *)block + i);
}

FETCHES void prefetch_domains(const struct rc_population *p, const struct rc_person *person) {
    prefetch(person->series, person->n_series * sizeof *person->series);
    prefetch(person->members, person->n_members * sizeof *person->members);
    for (size_t d = 0; d < p->plan->n_domains; d++)
        prefetch(person->domains[d].timers, person->domains[d].n_timers * sizeof *person->domains[d].timers);
}

/* Each step needs what the one before has fetched. */
FETCHES void fetch(const struct rc_population *p, struct rc_person *const *persons, size_t n) {
    size_t head = sizeof(struct rc_person) + p->plan->catalog->n_datasets * sizeof(int64_t) +
                  p->plan->n_domains * sizeof(struct rc_person_domain) + LINE; /* and the key */
    for (size_t i = 0; i < n; i++)
        prefetch(persons[i], head);
    for (size_t i = 0; i < n; i++)
        prefetch_domains(p, persons[i]);
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < persons[i]->n_series; k++)
            __builtin_prefetch(persons[i]->series[k].ts);
}

void rc_table_expect(const struct rc_population *p, struct rc_person *const *persons, size_t n) {
    fetch(p, persons, n);
}

void rc_population_expect(const struct rc_population *p, const struct rc_span *person_keys, size_t n) {
    uint32_t hashes[RC_EXPECT_MAX];
    uint32_t numbers[RC_EXPECT_MAX];
    struct rc_person *persons[RC_EXPECT_MAX];
    size_t mask = p->n_slots - 1, found = 0;
    if (p->n_persons == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        hashes[i] = hash_of(person_keys[i]);
        __builtin_prefetch(&p->slots[hashes[i] & mask]);
    }
    for (size_t i = 0; i < n; i++) {
        size_t at = hashes[i] & mask;
        while (p->slots[at].number && p->slots[at].hash != hashes[i])
            at = (at + 1) & mask;
        if (!p->slots[at].number)
            continue;
        numbers[found] = p->slots[at].number - 1;
        __builtin_prefetch(&p->persons[numbers[found++]]);
    }
    for (size_t i = 0; i < found; i++)
        persons[i] = p->persons[numbers[i]];
    fetch(p, persons, found);
}

/* ---- who is due next ---------------------------------------------------------------------------------------------------
 *
 * A heap of deadlines, and in front of it a list of those whom an event has made due within SOON_MS. Most events make their person due at once
 * and change the deadline little or not: so the heap is touched once, after the decision, or not at all. And they need not wait behind a wave of
 * those who are due by time alone, even where the clock is some milliseconds behind the event. Somebody in the heap may be due earlier than
 * their place there says only while they are in the list; their place may be too early at any time. */

static void heap_put(struct queue *queue, uint32_t domain, size_t at, struct heap_item item) {
    queue->heap[at] = item;
    item.person->domains[domain].heap_at = (uint32_t)at + 1;
}

/* Brings an item to its place, from `at` on. */
static void heap_settle(struct queue *queue, uint32_t domain, size_t at, struct heap_item item) {
    while (at > 0 && queue->heap[(at - 1) / 4].due_ms > item.due_ms) {
        heap_put(queue, domain, at, queue->heap[(at - 1) / 4]);
        at = (at - 1) / 4;
    }
    for (;;) {
        size_t first = 4 * at + 1, least = first, end = first + 4 < queue->n_heap ? first + 4 : queue->n_heap;
        if (first >= queue->n_heap)
            break;
        for (size_t child = first + 1; child < end; child++)
            if (queue->heap[child].due_ms < queue->heap[least].due_ms)
                least = child;
        if (queue->heap[least].due_ms >= item.due_ms)
            break;
        heap_put(queue, domain, at, queue->heap[least]);
        at = least;
    }
    heap_put(queue, domain, at, item);
}

static void heap_set(struct queue *queue, uint32_t domain, struct rc_person *person, int64_t due_ms) {
    struct rc_person_domain *place = &person->domains[domain];
    size_t at = place->heap_at ? place->heap_at - 1 : queue->n_heap;
    if (due_ms == RC_NEVER) {
        if (!place->heap_at)
            return;
        place->heap_at = 0;
        struct heap_item last = queue->heap[--queue->n_heap];
        if (last.person != person)
            heap_settle(queue, domain, at, last);
        return;
    }
    if (place->heap_at && queue->heap[at].due_ms == due_ms)
        return;
    if (!place->heap_at) {
        rc_grow(&queue->heap, &queue->cap_heap, queue->n_heap + 1, sizeof *queue->heap);
        queue->n_heap++;
    }
    heap_settle(queue, domain, at, (struct heap_item){due_ms, person});
}

static bool is_soon(const struct rc_population *p, uint32_t domain, int64_t due_ms) {
    return p->domain_clocks[domain] != INT64_MIN && due_ms <= p->domain_clocks[domain] + SOON_MS;
}

void rc_table_set_due(struct rc_population *p, uint32_t domain, struct rc_person *person, int64_t due_ms) {
    person->domains[domain].due_ms = due_ms;
    heap_set(&p->queues[domain], domain, person, due_ms);
}

void rc_table_touch(struct rc_population *p, uint32_t domain, struct rc_person *person) {
    struct queue *queue = &p->queues[domain];
    struct rc_person_domain *place = &person->domains[domain];
    int64_t due_ms = rc_decide_due(p, domain, person);
    if (!is_soon(p, domain, due_ms)) {
        rc_table_set_due(p, domain, person, due_ms);
        return;
    }
    place->due_ms = due_ms;
    if (due_ms < queue->soon_ms || queue->n_soon == 0)
        queue->soon_ms = due_ms;
    if (place->soon)
        return;
    place->soon = true;
    rc_grow(&queue->soon, &queue->cap_soon, queue->n_soon + 1, sizeof(struct rc_person *));
    queue->soon[queue->n_soon++] = person;
}

void rc_table_redue(struct rc_population *p, uint32_t domain, struct rc_person *person) {
    rc_table_set_due(p, domain, person, rc_decide_due(p, domain, person));
}

int64_t rc_table_next_due(const struct rc_population *p, uint32_t domain) {
    const struct queue *queue = &p->queues[domain];
    int64_t heap = queue->n_heap ? queue->heap[0].due_ms : RC_NEVER;
    return queue->n_soon && queue->soon_ms < heap ? queue->soon_ms : heap;
}

/* The next one of the list who is due; the others who still belong there stay. */
struct rc_person *rc_table_take_soon(struct rc_population *p, uint32_t domain) {
    if (p->domain_clocks[domain] == INT64_MIN)
        return NULL;
    struct queue *queue = &p->queues[domain];
    while (queue->looked < queue->n_soon) {
        struct rc_person *person = queue->soon[queue->looked];
        struct rc_person_domain *place = &person->domains[domain];
        if (place->due_ms > p->domain_clocks[domain] && is_soon(p, domain, place->due_ms)) {
            queue->looked++;
            continue;
        }
        queue->soon[queue->looked] = queue->soon[--queue->n_soon];
        place->soon = false;
        if (place->due_ms <= p->domain_clocks[domain])
            return person;
    }
    queue->looked = 0;
    queue->soon_ms = RC_NEVER;
    for (size_t i = 0; i < queue->n_soon; i++)
        if (queue->soon[i]->domains[domain].due_ms < queue->soon_ms)
            queue->soon_ms = queue->soon[i]->domains[domain].due_ms;
    return NULL;
}

struct rc_person *rc_table_take_due(struct rc_population *p, uint32_t domain) {
    struct queue *queue = &p->queues[domain];
    int64_t clock = p->domain_clocks[domain];
    struct rc_person *person = rc_table_take_soon(p, domain);
    while (!person && clock != INT64_MIN && queue->n_heap && queue->heap[0].due_ms <= clock) {
        struct rc_person *first = queue->heap[0].person;
        int64_t due_ms = first->domains[domain].due_ms;
        if (due_ms <= clock)
            person = first; /* stays where it is until its new due is set */
        else
            heap_set(queue, domain, first, due_ms);
    }
    return person;
}

void rc_table_init(struct rc_population *p) {
    p->queues = rc_calloc(p->plan->n_domains, sizeof *p->queues);
}

void rc_table_deinit(struct rc_population *p) {
    for (size_t d = 0; d < p->plan->n_domains; d++) {
        free(p->queues[d].heap);
        free(p->queues[d].soon);
    }
    free(p->queues);
}
