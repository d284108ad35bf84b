/* A population: the persons of one partition, their segment state, and the instants at which time alone may change it.
 *
 * Pure: no I/O, no clock of its own, no Kafka. Time is a number that the caller passes in. The same code serves `ingest` (one
 * population per partition, clocks after pipeline.md §2) and `eval` (a virtual clock).
 *
 * What it promises: after rc_population_advance with clocks C, every change of M(s, p, ·) up to the instants that C allows has
 * been emitted, in order of `since` per person, and what was emitted last for (s, p) is M there. An instant t of a segment is decided
 * once its clock is past it (> t): either time alone (clock − grace > t) or the person's own latest event (at t) says so. So all events
 * of one person and millisecond are seen together, however the caller's batches fall.
 *
 * Life: new → (load…) → { set_clock, apply, advance, save, replan, carry }… → free. One thread at a time. */
#ifndef RC_SEGMENT_POPULATION_H
#define RC_SEGMENT_POPULATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"
#include "codec/event.h"
#include "codec/membership.h" /* enum rc_cause */
#include "segment/definition.h"

struct rc_plan; /* compiled definitions; immutable, may be shared by populations and threads */

/* Compiles the catalog's segments. `catalog` is borrowed for the plan's life. Cost: linear in the definitions. */
rc_status rc_plan_compile(const struct rc_catalog *catalog, struct rc_plan **out, struct rc_error *err) RC_MUST_USE;
void rc_plan_free(struct rc_plan *plan);

/* The class of state that a segment needs (definitions.md §6): one word, and the reason as a sentence. Borrowed from the plan. */
enum rc_state_class { RC_STATE_BOUNDED, RC_STATE_PER_WINDOW, RC_STATE_ALL_HISTORY };
enum rc_state_class rc_plan_state_class(const struct rc_plan *plan, uint32_t segment, const char **reason);

/* Longest look-back of a segment in ms from which on its answer needs no older event; -1: all of history. */
int64_t rc_plan_lookback_ms(const struct rc_plan *plan, uint32_t segment);

/* Judges dataset `dataset`'s own `where` (true when it has none). For the decoder's options. */
bool rc_plan_dataset_where(const struct rc_plan *plan, const struct rc_event *event);
/* Which fields of the dataset its `where` names: n_fields flags, borrowed from the plan; NULL when there is no `where`. */
const bool *rc_plan_dataset_where_fields(const struct rc_plan *plan, uint32_t dataset);

/* One change of membership in a segment, or of existence in a dataset. Spans are borrowed for the call. */
struct rc_change {
    struct rc_span person_key; /* namespace:id, escaped */
    bool existence;            /* true: `index` is a dataset (pseudo-segment _exists.<dataset>), else a segment */
    uint32_t index;
    bool realized;
    int64_t since_ms;
    enum rc_cause cause;
    struct rc_span event_id; /* of the deciding event; empty when none */
    int64_t event_time_ms;   /* of it; RC_NO_EVENT_TIME when none */
    bool more;               /* another change of this person follows that belongs to the same decision */
};

typedef void (*rc_change_fn)(void *ctx, const struct rc_change *change);

struct rc_population;

/* `plan` is borrowed until the population is freed, or replanned and does not use it any more. `emit` is called from apply, advance and carry, and
 * after a replan from whatever looks for a person. */
struct rc_population *rc_population_new(const struct rc_plan *plan, rc_change_fn emit, void *ctx);
void rc_population_free(struct rc_population *population);

/* The clock of one dataset's partition (pipeline.md §2) in ms; never goes back (a smaller value changes nothing). Starts at
 * INT64_MIN: nothing can be decided. Datasets without a topic partition here should be set to follow the others. */
void rc_population_set_clock(struct rc_population *population, uint32_t dataset, int64_t clock_ms);

/* A hint: events of these persons come next, at most RC_EXPECT_MAX. What memory holds of them is fetched into the processor's cache for all
 * of them side by side, where one event after the other would wait for one line after the other (group prefetching: Chen, Ailamaki,
 * Gibbons, Mowry: Improving hash join performance through prefetching, 2004). Changes nothing. */
#define RC_EXPECT_MAX 32
void rc_population_expect(const struct rc_population *population, const struct rc_span *person_keys, size_t n);

/* Takes in one event; duplicates and any order are harmless. Decides (and emits) what that person's earlier instants owe. The event is
 * copied as far as it is needed. Returns false when the event changed no state (a duplicate, or nothing needs it). */
bool rc_population_apply(struct rc_population *population, const struct rc_event *event);

/* Takes in an event of the past, for what warms up (RC_SEGMENT_WARMS) alone: nothing that serves is looked at again, nothing is decided, and no time
 * passes for the person. Somebody whom nobody has met so far exists from then on, untold until they are decided anew (rc_population_replan)
 * or an event comes live. Without `all`, an event that nothing which warms up needs brings nobody into memory, and nobody to life. False when it
 * changed nothing. */
bool rc_population_apply_history(struct rc_population *population, const struct rc_event *event, bool all);

/* Takes in an event that comes live and is of the past: it was imported. It is an event like any other for what serves in generation `import` or
 * a later one; for what warms up it is history, and the rest knows nothing of it until it is of such a generation itself. */
bool rc_population_apply_import(struct rc_population *population, const struct rc_event *event, int64_t import);

/* Decides everything that the clocks allow: first for everybody whom an event has just touched, then for at most `max_persons` others (0: no
 * limit). Returns true when more is due. */
bool rc_population_advance(struct rc_population *population, size_t max_persons);
/* The first of these alone: who is due by time only waits. Returns true when such are due. */
bool rc_population_advance_events(struct rc_population *population);

/* Least clock value at which something more can be decided, as ms of the wall clock if all clocks followed it; INT64_MAX: nothing. */
int64_t rc_population_next_due(const struct rc_population *population);

size_t rc_population_persons(const struct rc_population *population);  /* in memory and on disk */
size_t rc_population_resident(const struct rc_population *population); /* in memory */
/* Resident, about: persons as they were when they were saved last, or measured. */
size_t rc_population_bytes(const struct rc_population *population);
void rc_population_measure(struct rc_population *population);
size_t rc_population_dirty(const struct rc_population *population); /* persons that the next save puts */
size_t rc_population_members(const struct rc_population *population, uint32_t segment);

/* Saving: each person changed since the last clean visit, once, as a self-describing, versioned, checksummed record; then clean. */
typedef void (*rc_record_fn)(void *ctx, struct rc_span person_key, struct rc_span record);
void rc_population_save(struct rc_population *population, rc_record_fn put, void *ctx);

/* The same in slices, with anything in between. begin: everybody changed since the last one is to be put, and the last one must be over;
 * save_some: at most `max_persons` of them (0: all) as they are by now, so ahead of begin, never behind it. True when some are left. */
void rc_population_save_begin(struct rc_population *population);
bool rc_population_save_some(struct rc_population *population, size_t max_persons, rc_record_fn put, void *ctx)
    RC_MUST_USE;
/* What all records come to that have been put when the last slice is: the numbers to save with them. */
struct rc_saved_numbers {
    size_t persons, quarantined;
};
struct rc_saved_numbers rc_population_saved(const struct rc_population *population);
size_t rc_population_saved_members(const struct rc_population *population, uint32_t segment);

/* Takes in a saved record (also one saved under another plan: what the plan shares is kept, the rest dropped, and what is new is empty).
 * Fails on bytes that are damaged (POISON) or of a later format (FATAL), naming what is wrong; then the person is as if never loaded. */
rc_status rc_population_load(struct rc_population *population, struct rc_span person_key, struct rc_span record,
                             struct rc_error *err) RC_MUST_USE;

/* Goes over to another plan, keeping all state that the plans share (a segment that is unchanged emits nothing). New and edited
 * segments start from what shared state knows, which is all if the old plan held them as WARMS and their history was read; their difference comes
 * when the person is carried over, cause DEFINITION, or BACKFILL for those that are BACKFILLED. Segments that are gone emit nothing; those that END
 * exit their members. The call itself costs nothing that grows with the persons: whoever has an event, is looked for or is due is carried over
 * then, and the others by rc_population_carry; what is emitted of somebody is the same whenever that is (replan.c). Until it has returned false the
 * old plan is used. */
void rc_population_replan(struct rc_population *population, const struct rc_plan *plan);
/* Carries over and decides at most `max_persons` (0: all) of those who are still under a former plan. True while some are left. */
bool rc_population_carry(struct rc_population *population, size_t max_persons);
/* Whether somebody is still under the plan, which was replaced. */
bool rc_population_uses(const struct rc_population *population, const struct rc_plan *plan);

/* ---- a person with too many events (definitions.md §6) ----
 *
 * Past the limit the person is quarantined: memberships stand still, and events are not kept, until the person is held, given all events
 * again that are still on the topic (in any order, among present ones), and released. Saved while held, a person is quarantined again. */

/* Most events of one person that some segment still needs; 0 (at first): no limit. */
void rc_population_limit_events(struct rc_population *population, size_t events);
/* How many persons are quarantined or held; to be set at the start where they are not loaded or accounted. */
size_t rc_population_quarantined(const struct rc_population *population);
void rc_population_set_quarantined(struct rc_population *population, size_t persons);
/* From now on the person's events are kept. False when they are not quarantined. */
bool rc_population_hold(struct rc_population *population, struct rc_span person_key);
/* Their events are complete: the next advance tells the difference (cause RESTORE). False when they are not held (any more). */
bool rc_population_release(struct rc_population *population, struct rc_span person_key);

/* ---- more persons than memory holds (residence.c) ----
 *
 * A backed population reads persons from where their saved records are, when it needs them, and lets those go again that are not in
 * use. All persons count, wherever they are. */

typedef bool (*rc_saved_fn)(void *ctx, struct rc_span person_key, struct rc_span record); /* false: enough */
typedef bool (*rc_due_fn)(void *ctx, struct rc_span person_key, int64_t due_ms);          /* false: enough */

/* INT64_MAX as a due instant: none. A domain is named by a stable hash. */
struct rc_backing {
    void *ctx;
    /* The saved record of a person. */
    rc_status (*get)(void *ctx, struct rc_span person_key, struct rc_buf *out, bool *found, struct rc_error *err);
    /* Visits the saved deadlines of a domain from (from_ms, from_key) on, ordered by both. */
    rc_status (*due)(void *ctx, uint64_t domain, int64_t from_ms, struct rc_span from_key, rc_due_fn visit,
                     void *visit_ctx, struct rc_error *err);
    /* Visits the saved records from `from_key` on, ordered by key. */
    rc_status (*each)(void *ctx, struct rc_span from_key, rc_saved_fn visit, void *visit_ctx, struct rc_error *err);
    /* Called by save (and account): the deadline at `was_ms` is replaced by one at `is_ms`, in the same batch as the record. */
    void (*deadline)(void *ctx, struct rc_span person_key, uint64_t domain, int64_t was_ms, int64_t is_ms);
    /* The first failure of the others, or a damaged record (POISON). From then on nothing is applied, decided or saved. */
    void (*failed)(void *ctx, const struct rc_error *err);
};

/* To be called before anything else; the backing's ctx must outlive the population. `budget_bytes`: what rc_population_evict keeps to and
 * above which nobody is brought in ahead of an event; 0: no limit. */
void rc_population_back(struct rc_population *population, const struct rc_backing *backing, size_t budget_bytes);
void rc_population_set_budget(struct rc_population *population, size_t bytes);

/* `persons` have saved records, and nobody is in memory yet. `other_plan`: some may have been saved under another plan; they are brought in
 * bit by bit and decided anew, as after replan. */
void rc_population_resume(struct rc_population *population, size_t persons, bool other_plan);
/* How many of them are members. */
void rc_population_set_members(struct rc_population *population, uint32_t segment, size_t members);
/* Where the numbers and deadlines are not known: counts one saved record's memberships and tells its deadlines. */
rc_status rc_population_account(struct rc_population *population, struct rc_span person_key, struct rc_span record,
                                struct rc_error *err) RC_MUST_USE;

/* Whether everybody has been decided under this plan. */
bool rc_population_settled(const struct rc_population *population);
/* Names the plan: populations with the same number decide alike. */
uint64_t rc_plan_hash(const struct rc_plan *plan);

/* Lets persons go from memory, down to the budget. To be called only while all that save has put is committed. Returns how many. */
size_t rc_population_evict(struct rc_population *population);

/* Calls `visit` for every segment that the person is a member of, with `since`. False when the person is not known. */
typedef void (*rc_member_fn)(void *ctx, struct rc_span person_key, uint32_t segment, int64_t since_ms);
bool rc_population_person(struct rc_population *population, struct rc_span person_key, rc_member_fn visit, void *ctx);
/* The same for all persons in memory but those under a former plan. */
void rc_population_each_member(const struct rc_population *population, rc_member_fn visit, void *ctx);

#endif
