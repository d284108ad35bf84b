#include "consumers/sink/attached.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

void rc_attached_clear(struct rc_attached *attached) {
    for (size_t i = 0; i < attached->n; i++)
        free(attached->items[i].id);
    attached->n = 0;
}

void rc_attached_deinit(struct rc_attached *attached) {
    rc_attached_clear(attached);
    free(attached->items);
    free(attached->standing);
    *attached = (struct rc_attached){0};
}

/* Index of the first entry whose id is not below `id`. */
static size_t place_of(const struct rc_attached *attached, struct rc_span id) {
    size_t low = 0, high = attached->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (rc_span_compare(rc_span_str(attached->items[middle].id), id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct rc_attached_entry *find(const struct rc_attached *attached, struct rc_span id) {
    size_t at = place_of(attached, id);
    return at < attached->n && rc_span_equal(rc_span_str(attached->items[at].id), id) ? &attached->items[at] : NULL;
}

/* The entry, made when there is none. */
static struct rc_attached_entry *entry_of(struct rc_attached *attached, struct rc_span id) {
    struct rc_attached_entry *entry = find(attached, id);
    if (entry)
        return entry;
    size_t at = place_of(attached, id);
    rc_grow(&attached->items, &attached->capacity, attached->n + 1, sizeof *attached->items);
    memmove(attached->items + at + 1, attached->items + at, (attached->n - at) * sizeof *attached->items);
    attached->n++;
    attached->items[at] = (struct rc_attached_entry){.id = rc_span_dup(id)};
    return &attached->items[at];
}

void rc_attached_load(struct rc_attached *attached, struct rc_span id, bool passed) {
    struct rc_attached_entry *entry = entry_of(attached, id);
    if (passed)
        entry->marked = true;
    else
        entry->noted = true;
    entry->state = entry->noted ? RC_ATTACHED_LIVE : RC_ATTACHED_PASSED;
}

static enum rc_attached_state arrival(const struct rc_route_audience *audience, enum rc_attached_state before,
                                      bool fresh) {
    if (fresh || before == RC_ATTACHED_LIVE)
        return RC_ATTACHED_LIVE;
    if (before != RC_ATTACHED_AWAY)
        return before == RC_ATTACHED_FILLING ? RC_ATTACHED_FILLING : RC_ATTACHED_WAITING;
    /* A later version may have gone elsewhere before. */
    return audience->version > 1 ? RC_ATTACHED_WAITING : RC_ATTACHED_LIVE;
}

void rc_attached_follow(struct rc_attached *attached, const struct rc_route_set *set, bool fresh) {
    for (size_t i = 0; i < attached->n; i++) {
        struct rc_attached_entry *entry = &attached->items[i];
        const struct rc_route_audience *audience = rc_route_set_find(set, rc_span_str(entry->id));
        if (!audience && entry->marked)
            entry->state = RC_ATTACHED_PASSED;
        else if (!audience ? entry->state != RC_ATTACHED_PASSED : !audience->here)
            entry->state = RC_ATTACHED_AWAY;
    }
    free(attached->standing);
    attached->standing = rc_calloc(set->n, sizeof *attached->standing);
    for (size_t i = 0; i < set->n; i++) {
        const struct rc_route_audience *audience = &set->audiences[i];
        if (!audience->here)
            continue;
        struct rc_attached_entry *entry = find(attached, rc_span_str(audience->id));
        /* One that was away has been passed over, also when the store has not been told yet. */
        bool returns = entry && entry->state == RC_ATTACHED_AWAY && !fresh;
        enum rc_attached_state state =
            returns ? RC_ATTACHED_WAITING : arrival(audience, entry ? entry->state : RC_ATTACHED_AWAY, fresh);
        entry_of(attached, rc_span_str(audience->id))->state = state;
        attached->standing[i] = (uint8_t)state;
    }
}

bool rc_attached_pass(struct rc_attached *attached, struct rc_span id) {
    struct rc_attached_entry *entry = entry_of(attached, id);
    entry->state = RC_ATTACHED_PASSED;
    return entry->marked;
}

bool rc_attached_passed(const struct rc_attached *attached, struct rc_span id) {
    const struct rc_attached_entry *entry = find(attached, id);
    return entry && entry->state == RC_ATTACHED_PASSED;
}

size_t rc_attached_turn(struct rc_attached *attached, enum rc_attached_state from, enum rc_attached_state to) {
    size_t n = 0;
    for (size_t i = 0; i < attached->n; i++)
        if (attached->items[i].state == from) {
            attached->items[i].state = to;
            n++;
        }
    return n;
}

size_t rc_attached_count(const struct rc_attached *attached, enum rc_attached_state state) {
    size_t n = 0;
    for (size_t i = 0; i < attached->n; i++)
        n += attached->items[i].state == state;
    return n;
}

static rc_status add_missing(struct rc_attached *attached, const struct rc_attached_memory *memory) {
    bool any = false;
    for (size_t i = 0; i < attached->n; i++) {
        const struct rc_attached_entry *entry = &attached->items[i];
        bool live = entry->state == RC_ATTACHED_LIVE && !entry->noted;
        bool passed = entry->state == RC_ATTACHED_PASSED && !entry->marked;
        if ((live || passed) && memory->add(memory->ctx, entry->id, passed))
            return RC_FAIL;
        any |= live || passed;
    }
    if (any && memory->flush(memory->ctx))
        return RC_FAIL;
    for (size_t i = 0; i < attached->n; i++) {
        attached->items[i].noted |= attached->items[i].state == RC_ATTACHED_LIVE;
        attached->items[i].marked |= attached->items[i].state == RC_ATTACHED_PASSED;
    }
    return RC_OK;
}

rc_status rc_attached_remember(struct rc_attached *attached, const struct rc_attached_memory *memory) {
    if (add_missing(attached, memory))
        return RC_FAIL;
    size_t kept = 0;
    rc_status status = RC_OK;
    for (size_t i = 0; i < attached->n; i++) {
        struct rc_attached_entry *entry = &attached->items[i];
        if (status == RC_OK && entry->noted && entry->state != RC_ATTACHED_LIVE) {
            status = memory->remove(memory->ctx, entry->id, false);
            entry->noted = status != RC_OK;
        }
        /* The mark of one that waits or is filled stays: in its first version it would else be taken for complete after a crash. */
        bool done_with = entry->state == RC_ATTACHED_LIVE || entry->state == RC_ATTACHED_AWAY;
        if (status == RC_OK && entry->marked && done_with) {
            status = memory->remove(memory->ctx, entry->id, true);
            entry->marked = status != RC_OK;
        }
        if (entry->state == RC_ATTACHED_AWAY && !entry->noted && !entry->marked)
            free(entry->id);
        else
            attached->items[kept++] = *entry;
    }
    attached->n = kept;
    return status;
}
