#include "segment/names.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/alloc.h"

struct entry {
    char *text; /* NULL: free; owned */
    size_t len;
    uint64_t hash;
    uint32_t number;
    char space;
};

struct rc_plan_names {
    struct entry *slots;
    size_t n_slots, n_used;
};

struct rc_plan_names *rc_plan_names_new(void) {
    struct rc_plan_names *names = rc_calloc(1, sizeof *names);
    names->n_slots = 256;
    names->slots = rc_calloc(names->n_slots, sizeof *names->slots);
    return names;
}

void rc_plan_names_free(struct rc_plan_names *names) {
    if (!names)
        return;
    for (size_t i = 0; i < names->n_slots; i++)
        free(names->slots[i].text);
    free(names->slots);
    free(names);
}

static struct entry *find(const struct rc_plan_names *names, char space, struct rc_span text, uint64_t hash) {
    size_t at = hash & (names->n_slots - 1);
    for (;; at = (at + 1) & (names->n_slots - 1)) {
        struct entry *e = &names->slots[at];
        if (!e->text || (e->hash == hash && e->space == space && rc_span_equal(rc_span_of(e->text, e->len), text)))
            return e;
    }
}

uint32_t rc_plan_names_put(struct rc_plan_names *names, char space, struct rc_span text, uint32_t fresh) {
    if ((names->n_used + 1) * 2 > names->n_slots) {
        struct rc_plan_names larger = {.n_slots = names->n_slots * 2, .n_used = names->n_used};
        larger.slots = rc_calloc(larger.n_slots, sizeof *larger.slots);
        for (size_t i = 0; i < names->n_slots; i++) {
            struct entry *e = &names->slots[i];
            if (e->text)
                *find(&larger, e->space, rc_span_of(e->text, e->len), e->hash) = *e;
        }
        free(names->slots);
        *names = larger;
    }
    uint64_t hash = XXH3_64bits_withSeed(text.data, text.len, (unsigned char)space);
    struct entry *e = find(names, space, text, hash);
    if (!e->text) {
        *e = (struct entry){.text = rc_span_dup(text), .len = text.len, .hash = hash, .number = fresh, .space = space};
        names->n_used++;
    }
    return e->number;
}

uint32_t rc_plan_names_get(const struct rc_plan_names *names, char space, struct rc_span text) {
    const struct entry *e = find(names, space, text, XXH3_64bits_withSeed(text.data, text.len, (unsigned char)space));
    return e->text ? e->number : UINT32_MAX;
}
