/* Open addressing over an array of texts; deletes nothing, so probing needs no tombstones. */
#include "consumers/materialize/names.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/alloc.h"

struct entry {
    char *text; /* owned */
    size_t len;
    uint64_t hash;
};

struct rc_names {
    struct entry *entries;
    size_t n, capacity;
    uint32_t *slots; /* number + 1; 0: free */
    size_t n_slots;  /* a power of two, at least twice n */
};

struct rc_names *rc_names_new(void) {
    struct rc_names *names = rc_calloc(1, sizeof *names);
    names->n_slots = 64;
    names->slots = rc_calloc(names->n_slots, sizeof *names->slots);
    return names;
}

void rc_names_free(struct rc_names *names) {
    if (!names)
        return;
    for (size_t i = 0; i < names->n; i++)
        free(names->entries[i].text);
    free(names->entries);
    free(names->slots);
    free(names);
}

/* The slot that holds the text, or the free one where it belongs. */
static size_t slot_of(const struct rc_names *names, struct rc_span text, uint64_t hash) {
    size_t mask = names->n_slots - 1;
    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        uint32_t number = names->slots[i];
        if (!number)
            return i;
        const struct entry *entry = &names->entries[number - 1];
        if (entry->hash == hash && rc_span_equal(rc_span_of(entry->text, entry->len), text))
            return i;
    }
}

static void grow(struct rc_names *names) {
    free(names->slots);
    names->n_slots *= 2;
    names->slots = rc_calloc(names->n_slots, sizeof *names->slots);
    size_t mask = names->n_slots - 1;
    for (size_t n = 0; n < names->n; n++) {
        size_t i = (size_t)names->entries[n].hash & mask;
        while (names->slots[i])
            i = (i + 1) & mask;
        names->slots[i] = (uint32_t)n + 1;
    }
}

uint32_t rc_names_find(const struct rc_names *names, struct rc_span text) {
    uint32_t number = names->slots[slot_of(names, text, XXH3_64bits(text.data, text.len))];
    return number ? number - 1 : RC_NO_NAME;
}

uint32_t rc_names_intern(struct rc_names *names, struct rc_span text) {
    uint64_t hash = XXH3_64bits(text.data, text.len);
    size_t slot = slot_of(names, text, hash);
    if (names->slots[slot])
        return names->slots[slot] - 1;
    if (2 * (names->n + 1) > names->n_slots) {
        grow(names);
        slot = slot_of(names, text, hash);
    }
    rc_grow(&names->entries, &names->capacity, names->n + 1, sizeof *names->entries);
    names->entries[names->n] = (struct entry){.text = rc_span_dup(text), .len = text.len, .hash = hash};
    names->slots[slot] = (uint32_t)++names->n;
    return (uint32_t)names->n - 1;
}

const char *rc_names_text(const struct rc_names *names, uint32_t number) {
    return names->entries[number].text;
}

uint32_t rc_names_count(const struct rc_names *names) {
    return (uint32_t)names->n;
}
