/* The saved form of a person. Self-describing: what it holds is named by stable hashes, so that a record outlives the plan it was
 * saved under. Layout (varints as in Avro, hashes and checksum 8 bytes little-endian):
 *
 *   'R' 'P' version · plan hash · flags      flags: since format 2; 1: quarantined
 *   n × (dataset, first timestamp)
 *   n × (domain, decided, latest, due)      due: since format 2
 *   n × (segment, since)            memberships
 *   n × (segment, at)               timers
 *   n × (series, form, n × entry)   entry: timestamp (delta), id, [value], [event id, dataset]
 *   XXH3 of all before */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/alloc.h"
#include "segment/person.h"
#include "segment/person_check.h"

#define VERSION 2
#define OLDEST 1
#define FLAG_QUARANTINED 1

/* Timestamps of events lie in the years 1–9999 (definitions.md §2); what a record says otherwise no population has written. */
#define FIRST_MS INT64_C(-62135596800000)
#define LAST_MS INT64_C(253402300799999)

enum form { FORM_TIMES = 0, FORM_NUMBERS = 1, FORM_STRINGS = 2, FORM_ORDERED = 4 /* a flag */ };

/* ---- writing ---------------------------------------------------------------------------------------------------------- */

static void add_hash(struct rc_buf *out, uint64_t hash) {
    rc_buf_add(out, &hash,
               sizeof hash); /* little-endian machines only, as RocksDB's own numbers are not ours to read */
}

static void add_text(struct rc_buf *out, struct rc_span text) {
    rc_buf_add_varint(out, text.len);
    rc_buf_add_span(out, text);
}

static void encode_series(const struct rc_series *series, const struct rc_plan *plan, const struct rc_strings *strings,
                          struct rc_buf *out) {
    const struct rc_series_plan *p = &plan->series[series->plan];
    bool text = p->value_slot != RC_NONE && p->value_type == RC_STRING;
    int form = text ? FORM_STRINGS : series->value ? FORM_NUMBERS : FORM_TIMES;
    add_hash(out, p->hash);
    rc_buf_add_byte(out, (uint8_t)(form | (series->tie ? FORM_ORDERED : 0)));
    rc_buf_add_varint(out, series->n);
    int64_t before = 0;
    for (uint32_t i = 0; i < series->n; i++) {
        rc_buf_add_zigzag(out, (int64_t)((uint64_t)series->ts[i] - (uint64_t)before));
        before = series->ts[i];
        add_hash(out, series->id[i]);
        if (text)
            add_text(out, rc_strings_get(strings, (uint32_t)series->value[i]));
        else if (series->value)
            rc_buf_add_zigzag(out, series->value[i]);
        if (series->tie) {
            add_text(out, rc_strings_get(strings, (uint32_t)series->tie[i]));
            add_hash(out, plan->dataset_hashes[series->tie[i] >> 32]);
        }
    }
}

/* Twins are written one by one: under another plan they may be twins no more. Of a person who is to be looked at anew each segment stands
 * for itself already. */
static void encode_members(const struct rc_person *person, const struct rc_plan *plan, bool redefined,
                           struct rc_buf *out) {
    size_t n = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < person->n_members; i++) {
            for (uint32_t s = person->members[i].segment; s != RC_NONE;
                 s = redefined ? RC_NONE : plan->segments[s].next_twin) {
                n += pass == 0;
                if (pass == 0)
                    continue;
                add_hash(out, plan->segments[s].id_hash);
                rc_buf_add_zigzag(out, person->members[i].since_ms);
            }
        }
        if (pass == 0)
            rc_buf_add_varint(out, n);
    }
}

void rc_person_encode(const struct rc_person *person, const struct rc_plan *plan, const struct rc_strings *strings,
                      struct rc_buf *out) {
    size_t start = out->len, n = 0;
    bool redefined = false; /* then the next reader has to look at every segment as well */
    for (size_t d = 0; d < plan->n_domains; d++)
        redefined |= person->domains[d].redefined;
    rc_buf_add(out, "RP", 2);
    rc_buf_add_byte(out, VERSION);
    add_hash(out, redefined ? 0 : plan->hash);
    rc_buf_add_varint(out, person->quarantine ? FLAG_QUARANTINED : 0);
    for (size_t d = 0; d < plan->catalog->n_datasets; d++)
        n += person->first_ms[d] != INT64_MAX;
    rc_buf_add_varint(out, n);
    for (size_t d = 0; d < plan->catalog->n_datasets; d++) {
        if (person->first_ms[d] == INT64_MAX)
            continue;
        add_hash(out, plan->dataset_hashes[d]);
        rc_buf_add_zigzag(out, person->first_ms[d]);
    }
    rc_buf_add_varint(out, plan->n_domains);
    for (size_t d = 0; d < plan->n_domains; d++) {
        add_hash(out, plan->domains[d].hash);
        rc_buf_add_zigzag(out, person->domains[d].decided_ms);
        rc_buf_add_zigzag(out, person->domains[d].latest_ms);
        rc_buf_add_zigzag(out, person->domains[d].due_ms);
    }
    encode_members(person, plan, redefined, out);
    n = 0;
    for (size_t d = 0; d < plan->n_domains; d++)
        n += person->domains[d].n_timers;
    rc_buf_add_varint(out, n);
    for (size_t d = 0; d < plan->n_domains; d++) {
        for (uint32_t i = 0; i < person->domains[d].n_timers; i++) {
            add_hash(out, plan->segments[person->domains[d].timers[i].segment].id_hash);
            rc_buf_add_zigzag(out, person->domains[d].timers[i].at_ms);
        }
    }
    uint32_t n_series = person->quarantine ? 0 : person->n_series; /* of one who is held: the release begins again */
    rc_buf_add_varint(out, n_series);
    for (uint32_t i = 0; i < n_series; i++)
        encode_series(&person->series[i], plan, strings, out);
    add_hash(out, XXH3_64bits(out->data + start, out->len - start));
}

/* ---- reading ---------------------------------------------------------------------------------------------------------- */

static rc_status take_hash(struct rc_span *in, uint64_t *hash) {
    struct rc_span bytes;
    if (rc_take_bytes(in, sizeof *hash, &bytes) != RC_OK)
        return RC_FAIL;
    memcpy(hash, bytes.data, sizeof *hash);
    return RC_OK;
}

static rc_status take_text(struct rc_span *in, struct rc_span *text) {
    uint64_t len;
    return rc_take_varint(in, &len) == RC_OK ? rc_take_bytes(in, len, text) : RC_FAIL;
}

/* One entry of a list of (hash, number). */
static rc_status take_pair(struct rc_span *in, uint64_t *hash, int64_t *number) {
    return take_hash(in, hash) == RC_OK ? rc_take_zigzag(in, number) : RC_FAIL;
}

struct entry {
    int64_t ts;
    uint64_t id;
    int64_t number;
    struct rc_span text, event_id;
    uint32_t dataset; /* RC_NONE: gone from the plan */
};

static rc_status take_entry(const struct rc_plan *plan, struct rc_span *in, int form, int64_t before, struct entry *e) {
    int64_t delta;
    uint64_t dataset;
    if (rc_take_zigzag(in, &delta) != RC_OK || take_hash(in, &e->id) != RC_OK)
        return RC_FAIL;
    e->ts = (int64_t)((uint64_t)before + (uint64_t)delta);
    if ((form & ~FORM_ORDERED) == FORM_STRINGS && take_text(in, &e->text) != RC_OK)
        return RC_FAIL;
    if ((form & ~FORM_ORDERED) == FORM_NUMBERS && rc_take_zigzag(in, &e->number) != RC_OK)
        return RC_FAIL;
    if (form & FORM_ORDERED) {
        if (take_text(in, &e->event_id) != RC_OK || take_hash(in, &dataset) != RC_OK)
            return RC_FAIL;
        e->dataset = rc_plan_find(plan, RC_NAMED_DATASET, dataset);
    }
    return RC_OK;
}

static bool is_time(int64_t ms) {
    return ms >= FIRST_MS && ms <= LAST_MS;
}

/* Can a field hold that? Sums are pruned in the faith that nothing negative is in them. */
static bool is_value(const struct rc_series_plan *plan, int64_t number) {
    if (plan->keep == RC_KEEP_SUM && number < 0)
        return false;
    if (plan->value_type == RC_BOOLEAN)
        return number == 0 || number == 1;
    return plan->value_type == RC_LONG || (number > -RC_FIXED_MAX && number < RC_FIXED_MAX);
}

/* Is that the order in which a series stands? Sessions' intervals have nothing in common. */
static bool follows(bool sessions, const struct entry *before, const struct entry *e) {
    if (sessions)
        return e->ts > before->number;
    return e->ts > before->ts || (e->ts == before->ts && e->id >= before->id);
}

/* Reads one series; what this plan does not keep is read over. */
static rc_status decode_series(const struct rc_plan *plan, struct rc_strings *strings, struct rc_span *in,
                               struct rc_person *person) {
    uint64_t hash, n;
    struct rc_span form_byte;
    const size_t least_entry = 1 + sizeof(uint64_t);
    if (take_hash(in, &hash) != RC_OK || rc_take_bytes(in, 1, &form_byte) != RC_OK || rc_take_varint(in, &n) != RC_OK ||
        n > in->len / least_entry)
        return RC_FAIL;
    int form = (unsigned char)form_byte.data[0];
    uint32_t index = rc_plan_find(plan, RC_NAMED_SERIES, hash);
    bool sessions = index != RC_NONE && plan->series[index].keep == RC_KEEP_SESSIONS;
    if (index != RC_NONE) {
        const struct rc_series_plan *p = &plan->series[index];
        if (rc_person_series(person, index)) /* twice: there is room for the first one only */
            return RC_FAIL;
        int want = p->value_slot != RC_NONE && p->value_type == RC_STRING    ? FORM_STRINGS
                   : p->value_slot != RC_NONE || p->keep == RC_KEEP_SESSIONS ? FORM_NUMBERS
                                                                             : FORM_TIMES;
        if (form != (want | (p->keeps_order ? FORM_ORDERED : 0)))
            return RC_FAIL;
    }
    struct rc_series *series = index == RC_NONE ? NULL : rc_person_restore_series(person, plan, index, (uint32_t)n);
    struct entry e = {0};
    for (uint64_t i = 0; i < n; i++) {
        struct entry before = e;
        if (take_entry(plan, in, form, before.ts, &e) != RC_OK || !is_time(e.ts) ||
            (i > 0 && !follows(sessions, &before, &e)) || (sessions && (e.number < e.ts || !is_time(e.number))))
            return RC_FAIL;
        if (series && !sessions && (form & FORM_NUMBERS) && !is_value(&plan->series[index], e.number))
            return RC_FAIL;
        if (!series || ((form & FORM_ORDERED) && e.dataset == RC_NONE))
            continue;
        uint32_t at = series->n++;
        series->ts[at] = e.ts;
        series->id[at] = e.id;
        if (series->value)
            series->value[at] = form & FORM_STRINGS ? (int64_t)rc_strings_hold(strings, e.text) : e.number;
        if (series->tie)
            series->tie[at] = rc_strings_hold(strings, e.event_id) | (uint64_t)e.dataset << 32;
    }
    return RC_OK;
}

static rc_status decode_datasets(const struct rc_plan *plan, struct rc_span *in, struct rc_person *person) {
    uint64_t n, hash;
    int64_t first;
    if (rc_take_varint(in, &n) != RC_OK)
        return RC_FAIL;
    for (uint64_t i = 0; i < n; i++) {
        if (take_pair(in, &hash, &first) != RC_OK || !is_time(first))
            return RC_FAIL;
        uint32_t d = rc_plan_find(plan, RC_NAMED_DATASET, hash);
        if (d != RC_NONE)
            person->first_ms[d] = first;
    }
    return RC_OK;
}

/* One domain's entry. Before format 2 nothing was said of dues: at once. */
static rc_status take_domain(int version, struct rc_span *in, uint64_t *hash, struct rc_person_domain *place) {
    place->saved_due_ms = INT64_MIN;
    return take_pair(in, hash, &place->decided_ms) == RC_OK && rc_take_zigzag(in, &place->latest_ms) == RC_OK &&
                   (version < 2 || rc_take_zigzag(in, &place->saved_due_ms) == RC_OK)
               ? RC_OK
               : RC_FAIL;
}

/* A domain that the record does not know starts where the furthest one stands, so that what is kept in it can be pruned. */
static rc_status decode_domains(const struct rc_plan *plan, int version, bool redefined, struct rc_span *in,
                                struct rc_person *person) {
    uint64_t n, hash;
    const int64_t unknown = INT64_MAX;
    int64_t furthest = INT64_MIN;
    struct rc_person_domain saved;
    for (size_t d = 0; d < plan->n_domains; d++)
        person->domains[d].decided_ms = unknown;
    if (rc_take_varint(in, &n) != RC_OK)
        return RC_FAIL;
    for (uint64_t i = 0; i < n; i++) {
        if (take_domain(version, in, &hash, &saved) != RC_OK ||
            (saved.decided_ms != INT64_MIN && saved.decided_ms < FIRST_MS - 1) || saved.decided_ms == unknown ||
            (saved.latest_ms != INT64_MIN && !is_time(saved.latest_ms)))
            return RC_FAIL;
        furthest = saved.decided_ms > furthest ? saved.decided_ms : furthest;
        uint32_t d = rc_plan_find(plan, RC_NAMED_DOMAIN, hash);
        if (d != RC_NONE) {
            person->domains[d].decided_ms = saved.decided_ms;
            person->domains[d].latest_ms = saved.latest_ms;
            person->domains[d].saved_due_ms = saved.saved_due_ms;
        }
    }
    for (size_t d = 0; d < plan->n_domains; d++) {
        person->domains[d].redefined = redefined;
        int64_t *decided_ms = &person->domains[d].decided_ms;
        if (*decided_ms == unknown || (redefined && *decided_ms == INT64_MIN))
            *decided_ms = furthest;
    }
    return RC_OK;
}

static rc_status decode_members(const struct rc_plan *plan, bool redefined, struct rc_span *in,
                                struct rc_person *person) {
    uint64_t n, hash;
    int64_t since;
    if (rc_take_varint(in, &n) != RC_OK)
        return RC_FAIL;
    for (uint64_t i = 0; i < n; i++) {
        if (take_pair(in, &hash, &since) != RC_OK)
            return RC_FAIL;
        uint32_t s = rc_plan_find(plan, RC_NAMED_SEGMENT, hash);
        if (s != RC_NONE && rc_plan_decides(plan, s) && (redefined || plan->segments[s].leader == s))
            rc_person_set_realized(person, s, true, since);
    }
    return RC_OK;
}

static rc_status decode_timers(const struct rc_plan *plan, struct rc_span *in, struct rc_person *person) {
    uint64_t n, hash;
    int64_t at;
    if (rc_take_varint(in, &n) != RC_OK)
        return RC_FAIL;
    for (uint64_t i = 0; i < n; i++) {
        if (take_pair(in, &hash, &at) != RC_OK || at < FIRST_MS)
            return RC_FAIL;
        uint32_t s = rc_plan_find(plan, RC_NAMED_SEGMENT, hash);
        if (s != RC_NONE &&
            rc_plan_decides(plan, s)) /* of twins another one may have been the first when it was saved */
            rc_timer_lower(&person->domains[plan->segments[s].domain], plan->segments[s].leader, at);
    }
    return RC_OK;
}

static rc_status decode_all(const struct rc_plan *plan, struct rc_strings *strings, int version, struct rc_span in,
                            struct rc_person *person) {
    uint64_t plan_hash, flags = 0, n;
    if (take_hash(&in, &plan_hash) != RC_OK || (version >= 2 && rc_take_varint(&in, &flags) != RC_OK) ||
        flags > FLAG_QUARANTINED)
        return RC_FAIL;
    bool redefined = plan_hash != plan->hash;
    if (decode_datasets(plan, &in, person) != RC_OK || decode_domains(plan, version, redefined, &in, person) != RC_OK ||
        decode_members(plan, redefined, &in, person) != RC_OK || decode_timers(plan, &in, person) != RC_OK ||
        rc_take_varint(&in, &n) != RC_OK)
        return RC_FAIL;
    for (uint64_t i = 0; i < n; i++)
        if (decode_series(plan, strings, &in, person) != RC_OK)
            return RC_FAIL;
    if (flags & FLAG_QUARANTINED)
        rc_person_empty(person, plan, strings, RC_QUARANTINE_FROZEN);
    return in.len == 0 ? RC_OK : RC_FAIL;
}

/* Checks head and checksum; leaves what is between them. */
static rc_status open_record(struct rc_span record, int *version, struct rc_span *body, struct rc_error *err) {
    if (rc_person_record_check(record, err) != RC_OK)
        return RC_FAIL;
    *version = (unsigned char)record.data[2];
    if (*version > VERSION)
        return rc_error_set(
            err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
            "saved person: saved by a later build (format %d, this build reads formats %d to %d); use that "
            "build, or remove the state",
            *version, OLDEST, VERSION);
    if (*version < OLDEST)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "saved person: there is no format %d", *version);
    const size_t head = 3, tail = sizeof(uint64_t);
    *body = rc_span_of(record.data + head, record.len - head - tail);
    return RC_OK;
}

static rc_status unreadable(struct rc_span record, struct rc_error *err) {
    return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "saved person: its %zu bytes do not read as a record",
                        record.len);
}

rc_status rc_person_decode(const struct rc_plan *plan, struct rc_strings *strings, struct rc_span key,
                           struct rc_span record, struct rc_person **out, struct rc_error *err) {
    int version;
    struct rc_span body;
    if (open_record(record, &version, &body, err) != RC_OK)
        return RC_FAIL;
    struct rc_person *person = rc_person_new(plan, key);
    if (decode_all(plan, strings, version, body, person) != RC_OK) {
        rc_person_free(person, plan, strings);
        return unreadable(record, err);
    }
    *out = person;
    return RC_OK;
}

static rc_status scan(int version, struct rc_span in, const struct rc_record_visitor *visitor,
                      struct rc_record_head *head) {
    uint64_t n, hash, flags = 0;
    int64_t number;
    if (take_hash(&in, &head->plan_hash) != RC_OK || (version >= 2 && rc_take_varint(&in, &flags) != RC_OK) ||
        rc_take_varint(&in, &n) != RC_OK)
        return RC_FAIL;
    head->quarantined = flags & FLAG_QUARANTINED;
    for (uint64_t i = 0; i < n; i++) /* first timestamps */
        if (take_pair(&in, &hash, &number) != RC_OK)
            return RC_FAIL;
    if (rc_take_varint(&in, &n) != RC_OK)
        return RC_FAIL;
    for (uint64_t i = 0; i < n; i++) {
        struct rc_person_domain place;
        if (take_domain(version, &in, &hash, &place) != RC_OK)
            return RC_FAIL;
        if (visitor->due)
            visitor->due(visitor->ctx, hash, place.saved_due_ms);
    }
    if (rc_take_varint(&in, &n) != RC_OK)
        return RC_FAIL;
    for (uint64_t i = 0; i < n && visitor->member; i++) {
        if (take_pair(&in, &hash, &number) != RC_OK)
            return RC_FAIL;
        visitor->member(visitor->ctx, hash);
    }
    return RC_OK;
}

rc_status rc_person_record_scan(struct rc_span record, const struct rc_record_visitor *visitor,
                                struct rc_record_head *head, struct rc_error *err) {
    int version;
    struct rc_span body;
    if (open_record(record, &version, &body, err) != RC_OK)
        return RC_FAIL;
    return scan(version, body, visitor, head) == RC_OK ? RC_OK : unreadable(record, err);
}
