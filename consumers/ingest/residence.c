/* Where a lane's persons are while they are not in memory: in the local store, with their deadlines in order beside them, and their
 * numbers. Keeps all lanes together under `state.memory_bytes`.
 *
 * The store's keys of a deadline: domain (8 bytes), due instant (8 bytes, so that byte order is time's order), person key. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/ingest/internal.h"
#include "segment/plan.h"

#define DEADLINE_HEAD 16
#define MAX_KEY_BYTES ((size_t)1 << 20)
#define REBUILD_PERSONS 20000 /* in one batch */
#define TRIM_MS 20            /* at most so often, because it looks at every person */
/* Of the memory: what a checkpoint may hold of it. Who is due by time alone waits for one from WAVE_PERCENT of that on, which leaves room for
 * events. With little memory, what is in it is bound enough. */
#define UNSAVED_SHARE 4
#define UNSAVED_LEAST ((size_t)64 << 20)
#define WAVE_PERCENT 88

/* ---- keys ---- */

static void add_big_endian(struct rc_buf *out, uint64_t number) {
    for (int shift = 56; shift >= 0; shift -= 8)
        rc_buf_add_byte(out, (uint8_t)(number >> shift));
}

static uint64_t big_endian(const char *bytes) {
    uint64_t number = 0;
    for (int i = 0; i < 8; i++)
        number = number << 8 | (unsigned char)bytes[i];
    return number;
}

void rc_ingest_deadline_key(struct rc_buf *out, uint64_t domain, int64_t due_ms, struct rc_span person_key) {
    rc_buf_reset(out);
    add_big_endian(out, domain);
    add_big_endian(out, (uint64_t)due_ms ^ UINT64_C(1) << 63);
    rc_buf_add_span(out, person_key);
}

/* ---- what the population asks for ---- */

static rc_status get(void *ctx, struct rc_span person_key, struct rc_buf *out, bool *found, struct rc_error *err) {
    const struct lane *lane = ctx;
    return rc_store_get(lane->ingest->store, RC_STORE_PERSON, lane->number, person_key, out, found, err);
}

struct due_visit {
    uint64_t domain;
    rc_due_fn visit;
    void *ctx;
};

static bool visit_due(void *ctx, struct rc_span key, struct rc_span value) {
    (void)value;
    const struct due_visit *due = ctx;
    if (key.len < DEADLINE_HEAD || big_endian(key.data) != due->domain)
        return false;
    int64_t due_ms = (int64_t)(big_endian(key.data + 8) ^ UINT64_C(1) << 63);
    return due->visit(due->ctx, rc_span_of(key.data + DEADLINE_HEAD, key.len - DEADLINE_HEAD), due_ms);
}

static rc_status due(void *ctx, uint64_t domain, int64_t from_ms, struct rc_span from_key, rc_due_fn visit,
                     void *visit_ctx, struct rc_error *err) {
    const struct lane *lane = ctx;
    struct due_visit one = {domain, visit, visit_ctx};
    struct rc_buf from;
    rc_buf_init(&from, MAX_KEY_BYTES);
    rc_ingest_deadline_key(&from, domain, from_ms, from_key);
    rc_status status =
        rc_store_scan(lane->ingest->store, RC_STORE_DEADLINE, lane->number, rc_buf_span(&from), visit_due, &one, err);
    rc_buf_deinit(&from);
    return status;
}

static rc_status each(void *ctx, struct rc_span from_key, rc_saved_fn visit, void *visit_ctx, struct rc_error *err) {
    const struct lane *lane = ctx;
    return rc_store_scan(lane->ingest->store, RC_STORE_PERSON, lane->number, from_key, visit, visit_ctx, err);
}

static void deadline(void *ctx, struct rc_span person_key, uint64_t domain, int64_t was_ms, int64_t is_ms) {
    struct lane *lane = ctx;
    struct rc_buf *key = &lane->ingest->scratch;
    if (was_ms != INT64_MAX) {
        rc_ingest_deadline_key(key, domain, was_ms, person_key);
        rc_store_delete(lane->batch, RC_STORE_DEADLINE, lane->number, rc_buf_span(key));
    }
    if (is_ms != INT64_MAX) {
        rc_ingest_deadline_key(key, domain, is_ms, person_key);
        rc_store_put(lane->batch, RC_STORE_DEADLINE, lane->number, rc_buf_span(key), rc_span_of("", 0));
    }
}

/* A damaged record: the local state goes, and the consumer begins again without it. */
static void failed(void *ctx, const struct rc_error *err) {
    struct lane *lane = ctx;
    if (err->class != RC_CLASS_POISON) {
        rc_ingest_fail(lane->ingest, err);
        return;
    }
    struct rc_error dropped;
    if (rc_ingest_lane_damaged(lane, err, &dropped) != RC_OK)
        rc_ingest_fail(lane->ingest, &dropped);
}

void rc_ingest_residence_forget(struct rc_store_batch *batch, int32_t number) {
    rc_store_delete_partition(batch, RC_STORE_PERSON, number);
    rc_store_delete_partition(batch, RC_STORE_DEADLINE, number);
    rc_store_delete_partition(batch, RC_STORE_META, number);
}

/* ---- the numbers ---- */

static rc_status read_numbers(const struct lane *lane, json_t **out, struct rc_error *err) {
    struct rc_buf text;
    rc_buf_init(&text, (size_t)16 << 20);
    bool found;
    rc_status status = rc_store_get(lane->ingest->store, RC_STORE_META, lane->number, rc_span_str(INGEST_NUMBERS_KEY),
                                    &text, &found, err);
    *out = status == RC_OK && found ? json_loadb(text.data, text.len, 0, NULL) : NULL;
    rc_buf_deinit(&text);
    return status;
}

void rc_ingest_residence_put(struct lane *lane, uint64_t plan_hash, struct rc_store_batch *batch) {
    const struct composition *composition = lane->composition;
    struct rc_saved_numbers numbers = rc_population_saved(lane->population);
    char plan[24];
    snprintf(plan, sizeof plan, "%016llx", (unsigned long long)plan_hash);
    json_t *members = json_object();
    for (uint32_t s = 0; s < composition->catalog->n_segments; s++)
        json_object_set_new(members, composition->catalog->segments[s].id,
                            json_integer((json_int_t)rc_population_saved_members(lane->population, s)));
    json_t *json = json_pack("{s:s, s:I, s:I, s:o}", "plan", plan, "persons", (json_int_t)numbers.persons,
                             "quarantined", (json_int_t)numbers.quarantined, "members", members);
    char *text = json_dumps(json, JSON_COMPACT);
    rc_store_put(batch, RC_STORE_META, lane->number, rc_span_str(INGEST_NUMBERS_KEY), rc_span_str(text));
    free(text);
    json_decref(json);
}

/* ---- opening ---- */

struct rebuilding {
    struct lane *lane;
    size_t n;
    rc_status status;
    struct rc_error *err;
};

static bool rebuild_person(void *ctx, struct rc_span key, struct rc_span record) {
    struct rebuilding *r = ctx;
    r->n++;
    r->status = rc_population_account(r->lane->population, key, record, r->err);
    if (r->status == RC_OK && r->n % REBUILD_PERSONS == 0) {
        r->status = rc_store_commit(r->lane->batch, false, r->err);
        r->lane->batch = rc_store_begin(r->lane->ingest->store);
    }
    return r->status == RC_OK;
}

/* Records without numbers and deadlines: a restore has put them there, or an older build. One pass over all of them. */
static rc_status rebuild(struct lane *lane, size_t *persons, struct rc_error *err) {
    struct rc_store *store = lane->ingest->store;
    struct rebuilding r = {.lane = lane, .err = err, .status = RC_OK};
    int64_t began = rc_clock_monotonic_ms();
    lane->batch = rc_store_begin(store);
    rc_store_delete_partition(lane->batch, RC_STORE_DEADLINE, lane->number);
    rc_status status = rc_store_each(store, RC_STORE_PERSON, lane->number, rc_span_of("", 0), rebuild_person, &r, err);
    struct rc_store_batch *batch = lane->batch;
    lane->batch = NULL;
    *persons = r.n;
    if (status != RC_OK || r.status != RC_OK) {
        rc_store_abort(batch);
        return RC_FAIL;
    }
    if (r.n > 0)
        rc_log(RC_LOG_INFO, "deadlines indexed", rc_f_int("partition", lane->number), rc_f_int("persons", (int64_t)r.n),
               rc_f_int("ms", rc_clock_monotonic_ms() - began));
    return rc_store_commit(batch, false, err);
}

static size_t budget_of(const struct ingest *ingest) {
    size_t lanes = ingest->n_lanes ? ingest->n_lanes : 1;
    return (size_t)rc_config_bytes(ingest->config, "state.memory_bytes") / 10 * 6 / lanes;
}

/* Gives the population what is saved; says how many persons there are, and under which plan all were decided. */
static size_t take_numbers(struct lane *lane, const json_t *numbers, uint64_t *plan) {
    const struct rc_catalog *catalog = lane->composition->catalog;
    const char *text = json_string_value(json_object_get(numbers, "plan"));
    const json_t *members = json_object_get(numbers, "members");
    *plan = text ? strtoull(text, NULL, 16) : 0;
    rc_population_set_quarantined(lane->population,
                                  (size_t)json_integer_value(json_object_get(numbers, "quarantined")));
    for (uint32_t s = 0; s < catalog->n_segments; s++)
        rc_population_set_members(lane->population, s,
                                  (size_t)json_integer_value(json_object_get(members, catalog->segments[s].id)));
    return (size_t)json_integer_value(json_object_get(numbers, "persons"));
}

static size_t take_counted(struct lane *lane, uint64_t *plan) {
    const struct counted *counted = lane->counted;
    const struct rc_plan *own = lane->composition->plan;
    *plan = counted->persons ? counted->plan : rc_plan_hash(own);
    rc_population_set_quarantined(lane->population, counted->quarantined);
    for (uint32_t s = 0; s < own->n_segments; s++)
        rc_population_set_members(lane->population, s, rc_ingest_counted_members(counted, own->segments[s].id_hash));
    return counted->persons;
}

rc_status rc_ingest_residence_open(struct lane *lane, struct rc_error *err) {
    const struct counted *counted = lane->counted;
    uint64_t plan = 0;
    const struct rc_backing backing = {
        .ctx = lane, .get = get, .due = due, .each = each, .deadline = deadline, .failed = failed};
    json_t *numbers;
    if (read_numbers(lane, &numbers, err) != RC_OK)
        return RC_FAIL;
    rc_population_back(lane->population, &backing, budget_of(lane->ingest));
    rc_population_limit_events(lane->population, (size_t)rc_config_int(lane->ingest->config, "state.person_events"));
    size_t persons = numbers ? take_numbers(lane, numbers, &plan) : counted ? take_counted(lane, &plan) : 0;
    rc_status status = numbers || counted ? RC_OK : rebuild(lane, &persons, err);
    json_decref(numbers);
    if (status == RC_OK)
        rc_population_resume(lane->population, persons, plan != rc_plan_hash(lane->composition->plan));
    return status;
}

/* ---- keeping to the budget ---- */

void rc_ingest_residence_trim(struct ingest *ingest) {
    size_t share = budget_of(ingest), dirty = 0;
    bool look = !ingest->checkpoint.under_way && rc_clock_monotonic_ms() >= ingest->next_trim_ms;
    ingest->crowded = false;
    for (size_t i = 0; i < ingest->n_lanes; i++) {
        struct lane *lane = ingest->lanes[i];
        if (!lane->population)
            continue;
        rc_population_set_budget(lane->population, share);
        if (look && rc_population_bytes(lane->population) > share) {
            rc_population_evict(lane->population);
            ingest->next_trim_ms = rc_clock_monotonic_ms() + TRIM_MS;
        }
        size_t quarantined = rc_population_quarantined(lane->population);
        if (quarantined > lane->quarantined)
            rc_log(
                RC_LOG_WARN,
                "a person has more events than state.person_events and is quarantined: memberships stand still until "
                "`rollcall release`",
                rc_f_int("partition", lane->number), rc_f_int("quarantined", (int64_t)quarantined));
        lane->quarantined = quarantined;
        bool settled = rc_population_settled(lane->population);
        lane->dirty |= settled && !lane->settled; /* so that it is noted */
        lane->settled = settled;
        dirty += rc_population_dirty(lane->population);
        ingest->crowded |= rc_population_bytes(lane->population) > share + share / 4;
    }
    /* A batch is held in memory, and what goes to the changelog once more. */
    size_t unsaved = dirty * ingest->person_bytes * 2,
           limit = (size_t)rc_config_bytes(ingest->config, "state.memory_bytes") / UNSAVED_SHARE;
    limit = limit < UNSAVED_LEAST ? UNSAVED_LEAST : limit;
    ingest->much_unsaved = unsaved > limit / 100 * WAVE_PERCENT;
    ingest->crowded |= unsaved > limit;
}
