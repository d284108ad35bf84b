/* Persons' records on their way from the changelog into the local store: of each the last one, until they are written, sorted, with their deadlines, as files that the
 * store takes in (store.h). Beside that everybody is counted, so that nothing has to be read again before the lane is opened.
 *
 * One thread fills it, then another one may write it; nothing is shared between two of them. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/alloc.h"
#include "consumers/ingest/internal.h"
#include "segment/person.h"

#define FIRST_SLOTS 1024
#define AHEAD 8
#define BLOCK_OVERHEAD 16 /* of the heap, about */

struct record {
    uint32_t key_len, value_len;
    bool gone;
    char bytes[]; /* key, value */
};

struct slot {
    uint64_t hash;
    struct record *record; /* owned; NULL: free */
};

struct gather {
    struct rc_store *store;
    int32_t number;
    struct slot *slots;
    size_t n_slots, n; /* a power of two */
    size_t bytes;
};

struct gather *rc_ingest_gather_new(struct rc_store *store, int32_t number) {
    struct gather *gather = rc_calloc(1, sizeof *gather);
    *gather = (struct gather){.store = store, .number = number, .n_slots = FIRST_SLOTS};
    gather->slots = rc_calloc(gather->n_slots, sizeof *gather->slots);
    return gather;
}

void rc_ingest_gather_free(struct gather *gather) {
    if (!gather)
        return;
    for (size_t i = 0; i < gather->n_slots; i++)
        free(gather->slots[i].record);
    free(gather->slots);
    free(gather);
}

size_t rc_ingest_gather_bytes(const struct gather *gather) {
    return gather->bytes + gather->n_slots * sizeof *gather->slots;
}

bool rc_ingest_gather_empty(const struct gather *gather) {
    return gather->n == 0;
}

/* ---- taking ---- */

static struct rc_span key_of(const struct record *record) {
    return rc_span_of(record->bytes, record->key_len);
}

static struct rc_span value_of(const struct record *record) {
    return rc_span_of(record->bytes + record->key_len, record->value_len);
}

static size_t size_of(const struct record *record) {
    return sizeof *record + record->key_len + record->value_len + BLOCK_OVERHEAD;
}

static struct slot *find(const struct gather *gather, uint64_t hash, struct rc_span key) {
    size_t at = hash & (gather->n_slots - 1);
    while (gather->slots[at].record &&
           (gather->slots[at].hash != hash || !rc_span_equal(key_of(gather->slots[at].record), key)))
        at = (at + 1) & (gather->n_slots - 1);
    return &gather->slots[at];
}

static void grow(struct gather *gather) {
    struct slot *old = gather->slots;
    size_t n_old = gather->n_slots;
    gather->n_slots *= 2;
    gather->slots = rc_calloc(gather->n_slots, sizeof *gather->slots);
    for (size_t i = 0; i < n_old; i++) {
        size_t at = old[i].hash & (gather->n_slots - 1);
        while (old[i].record && gather->slots[at].record)
            at = (at + 1) & (gather->n_slots - 1);
        if (old[i].record)
            gather->slots[at] = old[i];
    }
    free(old);
}

void rc_ingest_gather_put(struct gather *gather, struct rc_span key, struct rc_span value) {
    if (gather->n * 4 >= gather->n_slots * 3)
        grow(gather);
    uint64_t hash = XXH3_64bits(key.data, key.len);
    struct slot *slot = find(gather, hash, key);
    struct record *record = slot->record;
    if (record)
        gather->bytes -= size_of(record);
    else
        gather->n++;
    if (!record || record->value_len < value.len) {
        free(record);
        record = rc_alloc(sizeof *record + key.len + value.len);
        memcpy(record->bytes, key.data, key.len);
    }
    record->key_len = (uint32_t)key.len;
    record->value_len = (uint32_t)value.len;
    record->gone = value.data == NULL;
    if (value.data)
        memcpy(record->bytes + key.len, value.data, value.len);
    *slot = (struct slot){hash, record};
    gather->bytes += size_of(record);
}

/* ---- in order ---- */

/* A record by its key: eight bytes behind what all keys begin with decide nearly always, without a look at the record. */
struct ordered {
    uint64_t head;
    const struct record *record;
};

static int by_key(const void *a, const void *b) {
    const struct ordered *x = a, *y = b;
    if (x->head != y->head)
        return x->head < y->head ? -1 : 1;
    size_t least = x->record->key_len < y->record->key_len ? x->record->key_len : y->record->key_len;
    int order = memcmp(x->record->bytes, y->record->bytes, least);
    return order ? order : (x->record->key_len > y->record->key_len) - (x->record->key_len < y->record->key_len);
}

/* Records lie anywhere in memory: those that come next are fetched while this one is looked at. */
static void fetch_ahead(const struct ordered *all, size_t i, size_t n) {
    if (i + AHEAD < n)
        __builtin_prefetch(all[i + AHEAD].record);
}

static size_t common_prefix(const struct ordered *all, size_t n) {
    size_t len = n ? all[0].record->key_len : 0;
    for (size_t i = 1; i < n && len > 0; i++) {
        fetch_ahead(all, i, n);
        const struct record *record = all[i].record;
        len = record->key_len < len ? record->key_len : len;
        while (memcmp(record->bytes, all[0].record->bytes, len) != 0)
            len--;
    }
    return len;
}

/* Owned by the caller. */
static struct ordered *sort(const struct gather *gather) {
    struct ordered *all = rc_calloc(gather->n + 1, sizeof *all);
    size_t n = 0;
    for (size_t i = 0; i < gather->n_slots; i++)
        if (gather->slots[i].record)
            all[n++].record = gather->slots[i].record;
    size_t prefix = common_prefix(all, n);
    for (size_t i = 0; i < n; i++) {
        const struct record *record = all[i].record;
        fetch_ahead(all, i, n);
        for (size_t k = 0; k < sizeof all[i].head; k++)
            all[i].head = all[i].head << 8 | (prefix + k < record->key_len ? (uint8_t)record->bytes[prefix + k] : 0);
    }
    qsort(all, n, sizeof *all, by_key);
    return all;
}

/* ---- counting ---- */

static uint64_t *members_of(struct counted *counted, uint64_t segment) {
    for (size_t i = 0; i < counted->n_members; i++)
        if (counted->members[(counted->hint + i) % counted->n_members].segment == segment) {
            counted->hint = (counted->hint + i) % counted->n_members;
            return &counted->members[counted->hint].n;
        }
    rc_grow(&counted->members, &counted->members_capacity, counted->n_members + 1, sizeof *counted->members);
    counted->members[counted->n_members] = (struct counted_members){.segment = segment};
    return &counted->members[counted->n_members++].n;
}

size_t rc_ingest_counted_members(const struct counted *counted, uint64_t segment) {
    for (size_t i = 0; i < counted->n_members; i++)
        if (counted->members[i].segment == segment)
            return counted->members[i].n;
    return 0;
}

void rc_ingest_counted_free(struct counted *counted) {
    if (!counted)
        return;
    free(counted->members);
    free(counted);
}

struct due {
    uint64_t domain, at; /* `at` so that its order as a number is that of time */
    size_t person;       /* in order of keys */
};

struct looking {
    struct counted *counted;
    struct due *dues;
    size_t n_dues, capacity, person;
};

static void look_at_due(void *ctx, uint64_t domain, int64_t due_ms) {
    struct looking *looking = ctx;
    if (due_ms == INT64_MAX)
        return;
    rc_grow(&looking->dues, &looking->capacity, looking->n_dues + 1, sizeof *looking->dues);
    looking->dues[looking->n_dues++] =
        (struct due){.domain = domain, .at = (uint64_t)due_ms ^ UINT64_C(1) << 63, .person = looking->person};
}

static void look_at_member(void *ctx, uint64_t segment) {
    struct looking *looking = ctx;
    ++*members_of(looking->counted, segment);
}

/* False when some record does not read as one. */
static bool look_at_all(const struct gather *gather, const struct ordered *all, struct looking *looking) {
    struct counted *counted = looking->counted;
    struct rc_record_visitor visitor = {.ctx = looking, .due = look_at_due, .member = look_at_member};
    for (size_t i = 0; i < gather->n; i++) {
        struct rc_record_head head;
        struct rc_error err;
        fetch_ahead(all, i, gather->n);
        if (all[i].record->gone)
            continue;
        looking->person = i;
        if (rc_person_record_scan(value_of(all[i].record), &visitor, &head, &err) != RC_OK)
            return false;
        if (counted->persons++ == 0)
            counted->plan = head.plan_hash;
        else if (counted->plan != head.plan_hash)
            counted->plan = 0;
        counted->quarantined += head.quarantined;
    }
    return true;
}

/* ---- writing ---- */

static int by_due(const void *a, const void *b) {
    const struct due *x = a, *y = b;
    if (x->domain != y->domain)
        return x->domain < y->domain ? -1 : 1;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (x->person > y->person) - (x->person < y->person);
}

static rc_status write_dues(const struct gather *gather, const struct ordered *all, struct looking *looking,
                            struct rc_store_sorted *sorted, struct rc_error *err) {
    struct rc_buf key;
    rc_status status = RC_OK;
    rc_buf_init(&key, SIZE_MAX / 2);
    if (looking->n_dues)
        qsort(looking->dues, looking->n_dues, sizeof *looking->dues, by_due);
    for (size_t i = 0; status == RC_OK && i < looking->n_dues; i++) {
        const struct due *due = &looking->dues[i];
        rc_ingest_deadline_key(&key, due->domain, (int64_t)(due->at ^ UINT64_C(1) << 63),
                               key_of(all[due->person].record));
        status =
            rc_store_sorted_put(sorted, RC_STORE_DEADLINE, gather->number, rc_buf_span(&key), rc_span_of("", 0), err);
    }
    rc_buf_deinit(&key);
    return status;
}

static rc_status write_persons(const struct gather *gather, const struct ordered *all, bool over_others,
                               struct rc_store_sorted *sorted, struct rc_error *err) {
    rc_status status = RC_OK;
    for (size_t i = 0; status == RC_OK && i < gather->n; i++) {
        const struct record *record = all[i].record;
        fetch_ahead(all, i, gather->n);
        if (!record->gone)
            status =
                rc_store_sorted_put(sorted, RC_STORE_PERSON, gather->number, key_of(record), value_of(record), err);
        else if (over_others)
            status = rc_store_sorted_delete(sorted, RC_STORE_PERSON, gather->number, key_of(record), err);
    }
    return status;
}

rc_status rc_ingest_gather_write(const struct gather *gather, bool over_others, struct counted **counted,
                                 struct rc_error *err) {
    struct looking looking = {.counted = rc_calloc(1, sizeof *looking.counted)};
    struct rc_store_sorted *sorted = rc_store_sorted_begin(gather->store);
    struct ordered *all = sort(gather);
    bool alone = !over_others && look_at_all(gather, all, &looking);
    rc_status status = alone ? write_dues(gather, all, &looking, sorted, err) : RC_OK;
    if (status == RC_OK)
        status = write_persons(gather, all, over_others, sorted, err);
    if (status == RC_OK)
        status = rc_store_sorted_commit(sorted, err);
    else
        rc_store_sorted_abort(sorted);
    free(all);
    free(looking.dues);
    if (!alone || status != RC_OK) {
        rc_ingest_counted_free(looking.counted);
        looking.counted = NULL;
    }
    *counted = looking.counted;
    return status;
}
