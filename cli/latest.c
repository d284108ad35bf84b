#include "cli/latest.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"

void rc_cli_latest_deinit(struct rc_cli_latest *latest) {
    for (size_t i = 0; i < latest->n; i++)
        free(latest->items[i].person);
    free(latest->items);
    free(latest->slots);
    *latest = (struct rc_cli_latest){0};
}

/* The slot that holds the person, or the free one where it belongs. */
static uint32_t *find(const struct rc_cli_latest *latest, struct rc_span person) {
    size_t at = XXH3_64bits(person.data, person.len) & (latest->n_slots - 1);
    for (;; at = (at + 1) & (latest->n_slots - 1)) {
        uint32_t *slot = &latest->slots[at];
        if (*slot == 0)
            return slot;
        const struct rc_cli_standing *item = &latest->items[*slot - 1];
        if (rc_span_equal(rc_span_of(item->person, item->len), person))
            return slot;
    }
}

static void grow(struct rc_cli_latest *latest) {
    latest->n_slots = latest->n_slots ? latest->n_slots * 2 : 1024;
    free(latest->slots);
    latest->slots = rc_calloc(latest->n_slots, sizeof *latest->slots);
    for (size_t i = 0; i < latest->n; i++)
        *find(latest, rc_span_of(latest->items[i].person, latest->items[i].len)) = (uint32_t)i + 1;
}

void rc_cli_latest_put(struct rc_cli_latest *latest, struct rc_span person, bool realized, int64_t since_ms,
                       int64_t version) {
    if ((latest->n + 1) * 2 > latest->n_slots)
        grow(latest);
    uint32_t *slot = find(latest, person);
    if (*slot == 0) {
        rc_grow(&latest->items, &latest->capacity, latest->n + 1, sizeof *latest->items);
        latest->items[latest->n++] =
            (struct rc_cli_standing){.person = rc_span_dup(person), .len = (uint32_t)person.len, .version = INT64_MIN};
        *slot = (uint32_t)latest->n;
    }
    struct rc_cli_standing *item = &latest->items[*slot - 1];
    if (version < item->version)
        return;
    item->realized = realized;
    item->since_ms = since_ms;
    item->version = version;
}

struct rc_cli_standing *rc_cli_latest_find(const struct rc_cli_latest *latest, struct rc_span person) {
    uint32_t slot = latest->n_slots ? *find(latest, person) : 0;
    return slot ? &latest->items[slot - 1] : NULL;
}

static int by_person(const void *a, const void *b) {
    const struct rc_cli_standing *x = a, *y = b;
    return rc_span_compare(rc_span_of(x->person, x->len), rc_span_of(y->person, y->len));
}

void rc_cli_latest_sort(struct rc_cli_latest *latest) {
    if (latest->n)
        qsort(latest->items, latest->n, sizeof *latest->items, by_person);
}
