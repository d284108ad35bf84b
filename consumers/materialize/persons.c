/* Two hash tables with chains, and two lists: of what is dirty, and of what is being saved. A save begins by changing their roles, which takes no time
 * whatever is in them. Entries are single blocks: head, key, record. */
#include "consumers/materialize/persons.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"

#define RECORD_LIMIT (16u << 20)

struct entry {
    struct entry *next; /* in its bucket */
    uint64_t hash;
    uint32_t key_len, record_len, capacity; /* capacity: bytes for key and record */
    uint32_t place[2];                      /* in each of the lists, + 1; 0: not there */
    char bytes[];
};

struct table {
    struct entry **buckets;
    size_t n_buckets; /* power of two */
    size_t n, bytes;
};

struct list {
    struct entry **entries; /* NULL: was put, and is dirty again */
    size_t n, capacity;
};

struct rc_persons {
    struct rc_store *store;
    int32_t partition;
    size_t budget;
    struct table young, old;
    struct list lists[2];
    int dirty;  /* which of them: changed since the last save began; the other: in a batch that is not committed yet */
    size_t put; /* so many of the other are in it */
    struct rc_store_batch *batch; /* borrowed; NULL: all is put */
    struct rc_buf record;         /* saved form being built or read */
    struct rc_buf key;            /* key in the store */
};

static void table_init(struct table *table) {
    *table = (struct table){.n_buckets = 1024};
    table->buckets = rc_calloc(table->n_buckets, sizeof *table->buckets);
}

static void table_deinit(struct table *table) {
    for (size_t i = 0; i < table->n_buckets; i++)
        for (struct entry *entry = table->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            free(entry);
        }
    free(table->buckets);
}

static size_t entry_bytes(const struct entry *entry) {
    return sizeof *entry + entry->capacity + sizeof(void *);
}

static void table_add(struct table *table, struct entry *entry) {
    if (table->n >= table->n_buckets) {
        size_t n_buckets = table->n_buckets * 2;
        struct entry **buckets = rc_calloc(n_buckets, sizeof *buckets);
        for (size_t i = 0; i < table->n_buckets; i++)
            for (struct entry *moved = table->buckets[i], *next; moved; moved = next) {
                next = moved->next;
                moved->next = buckets[moved->hash & (n_buckets - 1)];
                buckets[moved->hash & (n_buckets - 1)] = moved;
            }
        free(table->buckets);
        table->buckets = buckets;
        table->n_buckets = n_buckets;
    }
    struct entry **bucket = &table->buckets[entry->hash & (table->n_buckets - 1)];
    entry->next = *bucket;
    *bucket = entry;
    table->n++;
    table->bytes += entry_bytes(entry);
}

/* The link that points at the entry of the key, or at NULL. */
static struct entry **table_find(const struct table *table, struct rc_span key, uint64_t hash) {
    struct entry **link = &table->buckets[hash & (table->n_buckets - 1)];
    while (*link && ((*link)->hash != hash || !rc_span_equal(rc_span_of((*link)->bytes, (*link)->key_len), key)))
        link = &(*link)->next;
    return link;
}

static struct entry *table_take(struct table *table, struct rc_span key, uint64_t hash) {
    struct entry **link = table_find(table, key, hash);
    struct entry *entry = *link;
    if (entry) {
        *link = entry->next;
        table->n--;
        table->bytes -= entry_bytes(entry);
    }
    return entry;
}

struct rc_persons *rc_persons_new(struct rc_store *store, int32_t partition, size_t budget_bytes) {
    struct rc_persons *persons = rc_calloc(1, sizeof *persons);
    persons->store = store;
    persons->partition = partition;
    persons->budget = budget_bytes;
    table_init(&persons->young);
    table_init(&persons->old);
    rc_buf_init(&persons->record, RECORD_LIMIT);
    rc_buf_init(&persons->key, 1u << 20);
    return persons;
}

void rc_persons_free(struct rc_persons *persons) {
    if (!persons)
        return;
    table_deinit(&persons->young);
    table_deinit(&persons->old);
    free(persons->lists[0].entries);
    free(persons->lists[1].entries);
    rc_buf_deinit(&persons->record);
    rc_buf_deinit(&persons->key);
    free(persons);
}

static uint32_t slice_of(uint64_t hash) {
    return (uint32_t)(hash >> 52); /* the top 12 bits: RC_PERSONS_SLICES */
}

static struct rc_span slice_prefix(uint32_t slice, char prefix[2]) {
    prefix[0] = (char)(slice >> 8);
    prefix[1] = (char)slice;
    return rc_span_of(prefix, 2);
}

static struct rc_span store_key(struct rc_persons *persons, struct rc_span key, uint64_t hash) {
    char prefix[2];
    rc_buf_reset(&persons->key);
    (void)rc_buf_add_span(&persons->key, slice_prefix(slice_of(hash), prefix));
    (void)rc_buf_add_span(&persons->key, key);
    return rc_buf_span(&persons->key);
}

static struct entry *entry_new(struct rc_span key, uint64_t hash, struct rc_span record) {
    size_t capacity = key.len + record.len + record.len / 4;
    struct entry *entry = rc_alloc(sizeof *entry + capacity);
    *entry = (struct entry){
        .hash = hash, .key_len = (uint32_t)key.len, .record_len = (uint32_t)record.len, .capacity = (uint32_t)capacity};
    memcpy(entry->bytes, key.data, key.len);
    if (record.len)
        memcpy(entry->bytes + key.len, record.data, record.len);
    return entry;
}

/* What is clean in the old table is dropped, and the young one becomes the old one. */
static void rotate(struct rc_persons *persons) {
    struct table old = persons->old;
    persons->old = persons->young;
    table_init(&persons->young);
    for (size_t i = 0; i < old.n_buckets; i++)
        for (struct entry *entry = old.buckets[i], *next; entry; entry = next) {
            next = entry->next;
            if (entry->place[0] || entry->place[1])
                table_add(&persons->young, entry);
            else
                free(entry);
        }
    free(old.buckets);
}

/* Before an entry is added: the young table may have taken its half. */
static void age(struct rc_persons *persons) {
    if (persons->young.bytes > persons->budget / 2)
        rotate(persons);
}

/* The entry of the key, moved to the young table; NULL when memory has none. */
static struct entry *hot(struct rc_persons *persons, struct rc_span key, uint64_t hash) {
    struct entry *entry = *table_find(&persons->young, key, hash);
    if (entry)
        return entry;
    entry = table_take(&persons->old, key, hash);
    if (entry)
        table_add(&persons->young, entry);
    return entry;
}

rc_status rc_persons_load(struct rc_persons *persons, struct rc_span key, uint32_t n_signals, uint32_t n_audiences,
                          struct rc_audience_person *out, struct rc_error *err) {
    uint64_t hash = XXH3_64bits(key.data, key.len);
    struct entry *entry = hot(persons, key, hash);
    if (entry)
        return rc_audience_person_load(out, rc_span_of(entry->bytes + entry->key_len, entry->record_len), n_signals,
                                       n_audiences, err);
    bool found = false;
    if (rc_store_get(persons->store, RC_STORE_AUDIENCE, persons->partition, store_key(persons, key, hash),
                     &persons->record, &found, err))
        return RC_FAIL;
    if (!found) {
        rc_audience_person_reset(out);
        return RC_OK;
    }
    if (rc_audience_person_load(out, rc_buf_span(&persons->record), n_signals, n_audiences, err)) {
        if (err)
            err->class = RC_CLASS_FATAL;
        return RC_FAIL;
    }
    age(persons);
    table_add(&persons->young, entry_new(key, hash, rc_buf_span(&persons->record)));
    return RC_OK;
}

static void mark_dirty(struct rc_persons *persons, struct entry *entry) {
    struct list *list = &persons->lists[persons->dirty];
    if (entry->place[persons->dirty])
        return;
    rc_grow(&list->entries, &list->capacity, list->n + 1, sizeof(struct entry *));
    list->entries[list->n++] = entry;
    entry->place[persons->dirty] = (uint32_t)list->n;
}

static void put(struct rc_persons *persons, const struct entry *entry) {
    rc_store_put(persons->batch, RC_STORE_AUDIENCE, persons->partition,
                 store_key(persons, rc_span_of(entry->bytes, entry->key_len), entry->hash),
                 rc_span_of(entry->bytes + entry->key_len, entry->record_len));
}

/* Before the entry changes: what the batch is to hold of it goes into it now. */
static void put_as_it_was(struct rc_persons *persons, struct entry *entry) {
    int saving = !persons->dirty;
    if (!persons->batch || entry->place[saving] <= persons->put)
        return;
    put(persons, entry);
    persons->lists[saving].entries[entry->place[saving] - 1] = NULL;
    entry->place[saving] = 0;
}

void rc_persons_keep(struct rc_persons *persons, struct rc_span key, const struct rc_audience_person *person) {
    uint64_t hash = XXH3_64bits(key.data, key.len);
    rc_buf_reset(&persons->record);
    /* The ceiling is far above what 10,000 segments and audiences take. */
    if (rc_audience_person_save(person, &persons->record))
        abort();
    struct rc_span record = rc_buf_span(&persons->record);
    struct entry *entry = hot(persons, key, hash);
    if (entry)
        put_as_it_was(persons, entry);
    if (entry && key.len + record.len <= entry->capacity) {
        memcpy(entry->bytes + key.len, record.data, record.len);
        entry->record_len = (uint32_t)record.len;
        mark_dirty(persons, entry);
        return;
    }
    struct entry *fresh = entry_new(key, hash, record);
    if (entry) {
        table_take(&persons->young, key, hash);
        for (int i = 0; i < 2; i++) {
            fresh->place[i] = entry->place[i];
            if (fresh->place[i])
                persons->lists[i].entries[fresh->place[i] - 1] = fresh;
        }
        free(entry);
    }
    mark_dirty(persons, fresh);
    age(persons);
    table_add(&persons->young, fresh);
}

void rc_persons_save_begin(struct rc_persons *persons, struct rc_store_batch *batch) {
    persons->dirty = !persons->dirty; /* rc_persons_saved has left that list empty */
    persons->put = 0;
    persons->batch = batch;
}

bool rc_persons_save_some(struct rc_persons *persons, size_t n) {
    const struct list *saving = &persons->lists[!persons->dirty];
    for (; persons->put < saving->n && n > 0; n--) {
        const struct entry *entry = saving->entries[persons->put++];
        if (entry)
            put(persons, entry);
    }
    bool more = persons->put < saving->n;
    if (!more)
        persons->batch = NULL;
    return more;
}

void rc_persons_saved(struct rc_persons *persons, bool committed) {
    struct list *saving = &persons->lists[!persons->dirty];
    for (size_t i = 0; i < saving->n; i++) {
        if (!saving->entries[i])
            continue;
        saving->entries[i]->place[!persons->dirty] = 0;
        if (!committed)
            mark_dirty(persons, saving->entries[i]);
    }
    saving->n = 0;
    persons->batch = NULL;
    /* What a great wave has changed is clean now, and may be more than the budget. */
    for (int i = 0; committed && i < 2 && rc_persons_bytes(persons) > persons->budget; i++)
        rotate(persons);
}

bool rc_persons_crowded(const struct rc_persons *persons) {
    return rc_persons_bytes(persons) > persons->budget;
}

size_t rc_persons_dirty(const struct rc_persons *persons) {
    return persons->lists[persons->dirty].n;
}

size_t rc_persons_bytes(const struct rc_persons *persons) {
    return persons->young.bytes + persons->old.bytes;
}

/* ---- slices ---------------------------------------------------------------------------------------------------------------- */

/* Keys of a slice, copied, because `visit` may change what they are read from. */
struct keys {
    struct rc_buf bytes;
    size_t *ends;
    size_t n, capacity;
};

static void add_key(struct keys *keys, struct rc_span key) {
    (void)rc_buf_add_span(&keys->bytes, key);
    rc_grow(&keys->ends, &keys->capacity, keys->n + 1, sizeof *keys->ends);
    keys->ends[keys->n++] = keys->bytes.len;
}

static bool add_stored(void *ctx, struct rc_span key, struct rc_span value) {
    (void)value;
    add_key(ctx, rc_span_of(key.data + 2, key.len - 2));
    return true;
}

rc_status rc_persons_each(struct rc_persons *persons, uint32_t slice, rc_persons_visit_fn visit, void *ctx,
                          struct rc_error *err) {
    char prefix[2];
    struct keys keys = {0};
    rc_buf_init(&keys.bytes, SIZE_MAX / 2);
    rc_status status = rc_store_each(persons->store, RC_STORE_AUDIENCE, persons->partition, slice_prefix(slice, prefix),
                                     add_stored, &keys, err);
    for (size_t i = 0; status == RC_OK && i < keys.n; i++) {
        size_t start = i ? keys.ends[i - 1] : 0;
        if (!visit(ctx, rc_span_of(keys.bytes.data + start, keys.ends[i] - start)))
            break;
    }
    rc_buf_deinit(&keys.bytes);
    free(keys.ends);
    return status;
}
