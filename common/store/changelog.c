/* See changelog.h. */
#include "store/changelog.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define RING 256
#define MAX_EPOCH (1u << 21)
#define BUCKETS 4096
#define MAX_WOUNDS 1000000 /* past that nothing but `fresh` heals */

static const char epoch_prefix[] = "epoch/";
static const char woke_up[] = "it was written by a former owner of the partition that woke up";

/* A key whose last record cannot be used. */
struct wound {
    char *key; /* owned; NULL: healed */
    size_t len;
    int64_t offset;
    const char *why;
    uint32_t next; /* in its bucket: index + 1, 0: none */
};

struct rc_changelog_judge {
    uint32_t marker;   /* the greatest so far */
    uint32_t greatest; /* of headers too */
    bool base;         /* the reader had state */
    bool persons, lane;
    int64_t first_person; /* offset */
    int64_t missing_at;   /* −1: nothing is missing */
    const char *missing;
    struct wound *wounds;
    size_t n_wounds, capacity, n_open;
    uint32_t buckets[BUCKETS];
    uint64_t n_bad;
};

void rc_changelog_marker_key(struct rc_buf *out, uint32_t epoch) {
    rc_buf_printf(out, "%s%u", epoch_prefix, epoch % RING);
}

void rc_changelog_marker_value(struct rc_buf *out, uint32_t epoch) {
    rc_buf_printf(out, "%u", epoch);
}

/* Decimal, above 0, and such that versions stay below 2⁵³. */
static bool take_epoch(struct rc_span text, uint32_t *out) {
    uint64_t number = 0;
    if (text.len == 0 || text.len > 10)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (number == 0 || number >= MAX_EPOCH)
        return false;
    *out = (uint32_t)number;
    return true;
}

/* ---- wounds ---- */

static uint32_t *bucket_of(struct rc_changelog_judge *judge, struct rc_span key) {
    uint32_t hash = 2166136261u; /* FNV-1a: few keys, and nobody's choice */
    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ (uint8_t)key.data[i]) * 16777619u;
    return &judge->buckets[hash % BUCKETS];
}

static struct wound *find(struct rc_changelog_judge *judge, struct rc_span key) {
    for (uint32_t at = judge->n_open ? *bucket_of(judge, key) : 0; at; at = judge->wounds[at - 1].next) {
        struct wound *wound = &judge->wounds[at - 1];
        if (wound->key && rc_span_equal(rc_span_of(wound->key, wound->len), key))
            return wound;
    }
    return NULL;
}

static void add_wound(struct rc_changelog_judge *judge, const struct rc_changelog_record *record, const char *why) {
    judge->n_bad++;
    if (find(judge, record->key))
        return;
    if (judge->n_wounds == MAX_WOUNDS) {
        rc_changelog_judge_missing(judge, record->offset, why);
        return;
    }
    uint32_t *bucket = bucket_of(judge, record->key);
    rc_grow(&judge->wounds, &judge->capacity, judge->n_wounds + 1, sizeof *judge->wounds);
    judge->wounds[judge->n_wounds++] = (struct wound){
        .key = rc_span_dup(record->key), .len = record->key.len, .offset = record->offset, .why = why, .next = *bucket};
    *bucket = (uint32_t)judge->n_wounds;
    judge->n_open++;
}

static void heal(struct rc_changelog_judge *judge, struct rc_span key) {
    struct wound *wound = find(judge, key);
    if (!wound)
        return;
    free(wound->key);
    wound->key = NULL;
    judge->n_open--;
}

static void heal_all(struct rc_changelog_judge *judge) {
    for (size_t i = 0; i < judge->n_wounds; i++)
        free(judge->wounds[i].key);
    judge->n_wounds = judge->n_open = 0;
    memset(judge->buckets, 0, sizeof judge->buckets);
}

/* ---- judging ---- */

struct rc_changelog_judge *rc_changelog_judge_new(uint32_t epoch) {
    struct rc_changelog_judge *judge = rc_calloc(1, sizeof *judge);
    judge->marker = judge->greatest = epoch;
    judge->base = epoch > 0;
    judge->missing_at = -1;
    return judge;
}

void rc_changelog_judge_free(struct rc_changelog_judge *judge) {
    if (!judge)
        return;
    heal_all(judge);
    free(judge->wounds);
    free(judge);
}

bool rc_changelog_is_segment(struct rc_span key) {
    const size_t len = sizeof RC_CHANGELOG_SEGMENT_PREFIX - 1;
    return key.len > len && memcmp(key.data, RC_CHANGELOG_SEGMENT_PREFIX, len) == 0 && !memchr(key.data, ':', key.len);
}

static bool is_marker(struct rc_span key) {
    const size_t len = sizeof epoch_prefix - 1;
    return key.len > len && memcmp(key.data, epoch_prefix, len) == 0;
}

static enum rc_changelog_verdict take_marker(struct rc_changelog_judge *judge, const struct rc_changelog_record *record,
                                             bool fresh) {
    uint32_t epoch;
    if (!take_epoch(record->value, &epoch)) {
        judge->n_bad += !record->null_value;
        return RC_CHANGELOG_SKIP;
    }
    bool former = epoch < judge->marker;
    if (!former)
        judge->marker = epoch;
    if (epoch > judge->greatest)
        judge->greatest = epoch;
    /* The owner's own mark has been replaced by it, with compaction: who knows what it made void? */
    if (fresh && former)
        rc_changelog_judge_missing(judge, record->offset, woke_up);
    if (!fresh || former)
        return RC_CHANGELOG_SKIP;
    heal_all(judge);
    judge->base = judge->persons = judge->lane = false;
    judge->missing_at = -1;
    return RC_CHANGELOG_FRESH;
}

enum rc_changelog_verdict rc_changelog_judge_take(struct rc_changelog_judge *judge,
                                                  const struct rc_changelog_record *record) {
    bool person = record->key.len > 0 && memchr(record->key.data, ':', record->key.len) != NULL;
    bool lane = !person && rc_span_equal(record->key, rc_span_str(RC_CHANGELOG_LANE_KEY));
    bool segment = !person && rc_changelog_is_segment(record->key);
    bool fresh = !person && rc_span_equal(record->key, rc_span_str(RC_CHANGELOG_FRESH_KEY));
    if (fresh || (!person && is_marker(record->key)))
        return take_marker(judge, record, fresh);
    if (!person && !lane && !segment)
        return RC_CHANGELOG_SKIP;
    if (person && !judge->persons) {
        judge->persons = true;
        judge->first_person = record->offset;
    }
    uint32_t epoch;
    const char *damage = record->damage;
    if (!take_epoch(record->epoch, &epoch))
        damage = "it does not say whose it is (header epoch)";
    else if (epoch < judge->marker)
        damage = woke_up;
    if (damage) {
        add_wound(judge, record, damage);
        return RC_CHANGELOG_SKIP;
    }
    if (epoch > judge->greatest)
        judge->greatest = epoch;
    heal(judge, record->key);
    if (lane) {
        judge->lane = !record->null_value;
        return record->null_value ? RC_CHANGELOG_SKIP : RC_CHANGELOG_LANE;
    }
    if (segment)
        return RC_CHANGELOG_SEGMENT;
    return record->null_value ? RC_CHANGELOG_GONE : RC_CHANGELOG_PERSON;
}

void rc_changelog_judge_missing(struct rc_changelog_judge *judge, int64_t offset, const char *why) {
    if (judge->missing_at >= 0)
        return;
    judge->missing_at = offset;
    judge->missing = why;
}

bool rc_changelog_judge_trusts(const struct rc_changelog_judge *judge, int64_t *offset, const char **why) {
    const struct wound *first = NULL;
    for (size_t i = 0; i < judge->n_wounds && !first; i++)
        if (judge->wounds[i].key)
            first = &judge->wounds[i];
    if (judge->missing_at >= 0) {
        *offset = judge->missing_at;
        *why = judge->missing;
        return false;
    }
    if (first) {
        *offset = first->offset;
        *why = first->why;
        return false;
    }
    if (judge->persons && !judge->lane && !judge->base) {
        *offset = judge->first_person;
        *why = "persons are there from here on, but no record that says up to where they were read";
        return false;
    }
    return true;
}

uint32_t rc_changelog_judge_epoch(const struct rc_changelog_judge *judge) {
    return judge->greatest;
}

uint64_t rc_changelog_judge_wounds(const struct rc_changelog_judge *judge) {
    return judge->n_bad;
}
