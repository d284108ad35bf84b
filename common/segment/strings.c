#include "segment/strings.h"

#include <stdlib.h>

#include <xxhash.h>

#include "base/alloc.h"

struct rc_string_entry {
    char *text; /* NULL: free */
    uint32_t len;
    uint32_t users; /* free: number + 1 of the next free entry */
    uint64_t hash;
};

void rc_strings_init(struct rc_strings *strings) {
    *strings = (struct rc_strings){0};
}

void rc_strings_deinit(struct rc_strings *strings) {
    for (size_t i = 0; i < strings->n; i++)
        free(strings->entries[i].text);
    free(strings->entries);
    free(strings->slots);
    *strings = (struct rc_strings){0};
}

static void rehash(struct rc_strings *strings, size_t n_slots) {
    free(strings->slots);
    strings->slots = rc_calloc(n_slots, sizeof *strings->slots);
    strings->n_slots = n_slots;
    for (size_t i = 0; i < strings->n; i++) {
        if (!strings->entries[i].text)
            continue;
        size_t at = strings->entries[i].hash & (n_slots - 1);
        while (strings->slots[at])
            at = (at + 1) & (n_slots - 1);
        strings->slots[at] = (uint32_t)i + 1;
    }
}

/* The slot that holds `text`, or the free one where it would go. */
static size_t find(const struct rc_strings *strings, struct rc_span text, uint64_t hash) {
    size_t at = hash & (strings->n_slots - 1);
    for (; strings->slots[at]; at = (at + 1) & (strings->n_slots - 1)) {
        const struct rc_string_entry *entry = &strings->entries[strings->slots[at] - 1];
        if (entry->hash == hash && rc_span_equal(rc_span_of(entry->text, entry->len), text))
            break;
    }
    return at;
}

uint32_t rc_strings_hold(struct rc_strings *strings, struct rc_span text) {
    if ((strings->n_used + 1) * 2 > strings->n_slots)
        rehash(strings, strings->n_slots ? strings->n_slots * 2 : 64);
    uint64_t hash = XXH3_64bits(text.data, text.len);
    size_t at = find(strings, text, hash);
    if (strings->slots[at]) {
        strings->entries[strings->slots[at] - 1].users++;
        return strings->slots[at] - 1;
    }
    uint32_t number;
    if (strings->free_list) {
        number = strings->free_list - 1;
        strings->free_list = strings->entries[number].users;
    } else {
        rc_grow(&strings->entries, &strings->capacity, strings->n + 1, sizeof *strings->entries);
        number = (uint32_t)strings->n++;
    }
    strings->entries[number] =
        (struct rc_string_entry){.text = rc_span_dup(text), .len = (uint32_t)text.len, .users = 1, .hash = hash};
    strings->slots[at] = number + 1;
    strings->n_used++;
    strings->bytes += text.len;
    return number;
}

void rc_strings_share(struct rc_strings *strings, uint32_t number) {
    strings->entries[number].users++;
}

void rc_strings_release(struct rc_strings *strings, uint32_t number) {
    struct rc_string_entry *entry = &strings->entries[number];
    if (--entry->users)
        return;
    /* Linear probing without tombstones: close the gap by moving back what may not find its way over it. */
    size_t mask = strings->n_slots - 1;
    size_t gap = find(strings, rc_span_of(entry->text, entry->len), entry->hash);
    for (size_t at = (gap + 1) & mask; strings->slots[at]; at = (at + 1) & mask) {
        size_t home = strings->entries[strings->slots[at] - 1].hash & mask;
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            strings->slots[gap] = strings->slots[at];
            gap = at;
        }
    }
    strings->slots[gap] = 0;
    strings->n_used--;
    strings->bytes -= entry->len;
    free(entry->text);
    *entry = (struct rc_string_entry){.users = strings->free_list};
    strings->free_list = number + 1;
}

struct rc_span rc_strings_get(const struct rc_strings *strings, uint32_t number) {
    const struct rc_string_entry *entry = &strings->entries[number];
    return rc_span_of(entry->text, entry->len);
}
