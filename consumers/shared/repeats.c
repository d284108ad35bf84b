/* The table of what the own output log holds. See repeats.h. */
#include "consumers/shared/repeats.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"

/* A change that is held back; its texts are owned. */
struct held {
    struct rc_membership change;
    char *target, *namespace, *person_id, *event_id;
};

struct entry {
    char *key; /* owned */
    size_t key_len;
    uint64_t hash;
    int64_t since_ms, version; /* the latest in the log */
    bool realized;
    struct held *held; /* owned; NULL: none */
};

struct rc_repeats {
    struct entry *entries;
    size_t n, capacity;
    uint32_t *slots; /* index + 1 of an entry, 0: free; open addressing */
    size_t n_slots;
    int64_t greatest;
};

struct rc_repeats *rc_repeats_new(void) {
    struct rc_repeats *repeats = rc_calloc(1, sizeof *repeats);
    repeats->greatest = -1;
    return repeats;
}

static void drop_held(struct entry *entry) {
    if (!entry->held)
        return;
    free(entry->held->target);
    free(entry->held->namespace);
    free(entry->held->person_id);
    free(entry->held->event_id);
    free(entry->held);
    entry->held = NULL;
}

static void forget(struct rc_repeats *repeats) {
    for (size_t i = 0; i < repeats->n; i++) {
        drop_held(&repeats->entries[i]);
        free(repeats->entries[i].key);
    }
    free(repeats->entries);
    free(repeats->slots);
    repeats->entries = NULL;
    repeats->slots = NULL;
    repeats->n = repeats->capacity = repeats->n_slots = 0;
}

void rc_repeats_free(struct rc_repeats *repeats) {
    if (!repeats)
        return;
    forget(repeats);
    free(repeats);
}

bool rc_repeats_empty(const struct rc_repeats *repeats) {
    return repeats->n == 0;
}

int64_t rc_repeats_greatest(const struct rc_repeats *repeats) {
    return repeats->greatest;
}

/* The slot of the key: where it is, or the free one where it belongs. */
static size_t slot_of(const struct rc_repeats *repeats, struct rc_span key, uint64_t hash) {
    size_t mask = repeats->n_slots - 1;
    size_t at = (size_t)hash & mask;
    while (repeats->slots[at]) {
        const struct entry *entry = &repeats->entries[repeats->slots[at] - 1];
        if (entry->hash == hash && rc_span_equal(rc_span_of(entry->key, entry->key_len), key))
            break;
        at = (at + 1) & mask;
    }
    return at;
}

static struct entry *find(const struct rc_repeats *repeats, struct rc_span key) {
    if (repeats->n == 0)
        return NULL;
    size_t slot = slot_of(repeats, key, XXH3_64bits(key.data, key.len));
    return repeats->slots[slot] ? &repeats->entries[repeats->slots[slot] - 1] : NULL;
}

static void make_room(struct rc_repeats *repeats) {
    if ((repeats->n + 1) * 2 <= repeats->n_slots)
        return;
    free(repeats->slots);
    repeats->n_slots = repeats->n_slots ? repeats->n_slots * 2 : 1024;
    repeats->slots = rc_calloc(repeats->n_slots, sizeof *repeats->slots);
    for (size_t i = 0; i < repeats->n; i++) {
        struct entry *entry = &repeats->entries[i];
        repeats->slots[slot_of(repeats, rc_span_of(entry->key, entry->key_len), entry->hash)] = (uint32_t)i + 1;
    }
}

void rc_repeats_seen(struct rc_repeats *repeats, struct rc_span key, bool realized, int64_t since_ms, int64_t version) {
    if (version > repeats->greatest)
        repeats->greatest = version;
    make_room(repeats);
    uint64_t hash = XXH3_64bits(key.data, key.len);
    size_t slot = slot_of(repeats, key, hash);
    if (!repeats->slots[slot]) {
        rc_grow(&repeats->entries, &repeats->capacity, repeats->n + 1, sizeof *repeats->entries);
        repeats->entries[repeats->n] = (struct entry){.key = rc_span_dup(key),
                                                      .key_len = key.len,
                                                      .hash = hash,
                                                      .since_ms = since_ms,
                                                      .version = version,
                                                      .realized = realized};
        repeats->slots[slot] = (uint32_t)++repeats->n;
        return;
    }
    struct entry *entry = &repeats->entries[repeats->slots[slot] - 1];
    /* A former owner that wakes up writes lower versions behind higher ones: the version says what counts, not the
     * place. */
    if (version >= entry->version) {
        entry->since_ms = since_ms;
        entry->realized = realized;
        entry->version = version;
    }
}

static void hold(struct entry *entry, const struct rc_membership *change) {
    drop_held(entry);
    struct held *held = rc_calloc(1, sizeof *held);
    held->change = *change;
    held->target = rc_span_dup(change->target);
    held->namespace = rc_span_dup(change->namespace);
    held->person_id = rc_span_dup(change->person_id);
    held->event_id = rc_span_dup(change->event_id);
    held->change.target.data = held->target;
    held->change.namespace.data = held->namespace;
    held->change.person_id.data = held->person_id;
    held->change.event_id.data = held->event_id;
    entry->held = held;
}

/* Its instant is the person's first timestamp, whenever it is decided. */
static bool is_existence(const struct rc_membership *change) {
    const char prefix[] = "_exists.";
    return change->target.len >= sizeof prefix - 1 && memcmp(change->target.data, prefix, sizeof prefix - 1) == 0;
}

enum rc_repeat rc_repeats_judge(struct rc_repeats *repeats, const struct rc_membership *change, struct rc_span key,
                                int64_t fresh_version, int64_t *version) {
    struct entry *entry = find(repeats, key);
    if (!entry) {
        /* Not in the log at all: nothing of it can come again while catching up, so it needs no entry. */
        *version = fresh_version;
        return RC_REPEAT_NEW;
    }
    /* What somebody is told of because of definitions is decided at another instant when it is decided again: the same change. */
    bool restated =
        (change->cause == RC_CAUSE_BACKFILL || change->cause == RC_CAUSE_DEFINITION) && !is_existence(change);
    if (entry->realized == change->realized && (entry->since_ms == change->since_ms || restated)) {
        drop_held(entry);
        *version = entry->version;
        return RC_REPEAT_KNOWN;
    }
    if (change->since_ms <= entry->since_ms) {
        hold(entry, change);
        return RC_REPEAT_HELD;
    }
    drop_held(entry);
    rc_repeats_seen(repeats, key, change->realized, change->since_ms, fresh_version);
    *version = fresh_version;
    return RC_REPEAT_NEW;
}

void rc_repeats_settle(struct rc_repeats *repeats, rc_repeats_send_fn send, void *ctx) {
    for (size_t i = 0; i < repeats->n; i++) {
        struct entry *entry = &repeats->entries[i];
        if (entry->held)
            send(ctx, rc_span_of(entry->key, entry->key_len), &entry->held->change);
    }
    forget(repeats);
}
