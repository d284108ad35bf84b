/* What is kept of one person: first timestamps, series, memberships as they were last emitted, and the instants at which each segment
 * must be looked at again. Internal to common/segment.
 *
 * A series is a set of (timestamp, event) that only grows by union and shrinks by a pruning that commutes with union, so the order of
 * arrival, duplicates and replays cannot change what it comes to (docs/modules/segment.md). */
#ifndef RC_SEGMENT_PERSON_H
#define RC_SEGMENT_PERSON_H

#include "base/buf.h"
#include "segment/plan.h"
#include "segment/strings.h"

/* Columns of equal length, in one allocation, ordered by (ts, id, value). */
struct rc_series {
    uint32_t plan; /* index into rc_plan.series */
    uint32_t n, capacity;
    int64_t *ts;    /* owned block; SESSIONS: first timestamps */
    uint64_t *id;   /* hash of dataset and event id */
    int64_t *value; /* number, or number of an interned string; SESSIONS: last timestamps; NULL: timestamps alone */
    uint64_t *tie;  /* interned event id and dataset << 32; NULL unless keeps_order */
};

struct rc_realized {
    uint32_t segment;
    int64_t since_ms;
};

struct rc_timer {
    uint32_t segment;
    int64_t at_ms; /* look again at this instant; at or before `decided_ms`: a late event asks for it */
};

/* Segments that the events of one instant have touched and that are not decided yet. */
struct rc_touched {
    int64_t at_ms;
    uint32_t *segments; /* owned; the same one may stand twice */
    uint32_t n, capacity;
    struct rc_touched *next; /* while it waits to be used again */
};

/* A person's place in one domain. */
struct rc_person_domain {
    struct rc_timer *timers; /* ordered by segment; owned */
    uint32_t n_timers, cap_timers;
    struct rc_touched *touched; /* NULL: none; owned */
    int64_t first_ms;           /* earliest of timers and touched; RC_NEVER. May be too early, never too late */
    int64_t decided_ms;         /* every instant up to here has been decided; INT64_MIN: none */
    int64_t latest_ms;          /* greatest timestamp of their events */
    int64_t due_ms;             /* clock value at which something can be decided; RC_NEVER */
    int64_t saved_due_ms;       /* due_ms as it was saved last; RC_NEVER: none was */
    uint32_t heap_at;           /* position in the domain's heap + 1; 0: not in it */
    bool soon;                  /* in the list of those who are due soon */
    char *event_id;             /* id of the event that touched a segment last; NULL: none; owned */
    uint32_t event_id_len, event_id_cap;
    int64_t event_ms; /* its timestamp */
    bool redefined;   /* loaded from another plan: every segment must be looked at, cause DEFINITION */
};

/* Somebody with more events than a person may have (definitions.md §6). */
enum rc_quarantine {
    RC_QUARANTINE_NONE,
    RC_QUARANTINE_FROZEN, /* memberships stand still, events are not kept */
    RC_QUARANTINE_HELD,   /* being released: events are kept, nothing is decided until they are complete */
};

struct rc_person {
    struct rc_series *series; /* ordered by plan index; owned */
    uint32_t n_series, cap_series;
    struct rc_realized *members; /* realized ones, ordered by segment; owned */
    uint32_t n_members, cap_members;
    bool dirty;         /* changed since it was saved */
    bool round;         /* the population's, when it became dirty */
    uint8_t quarantine; /* enum rc_quarantine */
    bool released;      /* what `redefined` brings has cause RESTORE */
    bool used;          /* asked for since the last look at who may leave memory */
    uint32_t number;    /* position in the population */
    uint32_t listed;    /* while dirty: position in the list of those to save */
    uint32_t bytes;     /* as measured last */
    uint32_t key_len;
    char *key;         /* this and the next two lie behind the person, in the same block */
    int64_t *first_ms; /* by dataset; INT64_MAX: never seen */
    struct rc_person_domain *domains;
};

struct rc_person *rc_person_new(const struct rc_plan *plan, struct rc_span key);
void rc_person_free(struct rc_person *person, const struct rc_plan *plan, struct rc_strings *strings);
size_t rc_person_bytes(const struct rc_person *person, const struct rc_plan *plan);

/* The person's series of that plan index, or NULL. */
const struct rc_series *rc_person_series(const struct rc_person *person, uint32_t plan);

/* Adds one event's entries: `values` (n of them; for a series of timestamps alone n is ignored). Values of strings are taken over (held). Returns
 * false, and lets go of the values, when the event is there already or can never matter. Prunes by what is decided. */
bool rc_person_insert(struct rc_person *person, const struct rc_plan *plan, struct rc_strings *strings, uint32_t series,
                      int64_t ts, uint64_t id, uint64_t tie, const int64_t *values, size_t n_values);

/* Forgets what no instant after decided_ms can need. */
void rc_person_prune(struct rc_person *person, const struct rc_plan *plan, struct rc_strings *strings);

/* The membership entry / timer of a segment, or NULL. */
const struct rc_realized *rc_person_realized(const struct rc_person *person, uint32_t segment);
void rc_person_set_realized(struct rc_person *person, uint32_t segment, bool realized, int64_t since_ms);
/* Sets when to look at the segment again; RC_NEVER takes the timer away. `first_ms` is lowered, never raised. */
void rc_timer_set(struct rc_person_domain *place, uint32_t segment, int64_t at_ms);
/* Sets it to the lesser of what it is and `at_ms`. */
void rc_timer_lower(struct rc_person_domain *place, uint32_t segment, int64_t at_ms);
/* Notes the event that has touched a segment last: it is named as the cause of what is decided at its instant. */
void rc_person_note_event(struct rc_person_domain *place, struct rc_span event_id, int64_t event_ms);
/* Turns what is touched into timers, and gives back the empty list. */
struct rc_touched *rc_touched_to_timers(struct rc_person_domain *place);

/* An empty series with room for `n` entries, to be filled in order by the reader of a record. Borrowed until the next change. */
struct rc_series *rc_person_restore_series(struct rc_person *person, const struct rc_plan *plan, uint32_t series,
                                           uint32_t n);

/* Saved form, versioned and checksummed. What it says of dues is what the domains' due_ms say. */
void rc_person_encode(const struct rc_person *person, const struct rc_plan *plan, const struct rc_strings *strings,
                      struct rc_buf *out);
/* Fills a new person. POISON, and the person freed, on damaged bytes; FATAL on those of a later format. */
rc_status rc_person_decode(const struct rc_plan *plan, struct rc_strings *strings, struct rc_span key,
                           struct rc_span record, struct rc_person **out, struct rc_error *err) RC_MUST_USE;

/* Forgets everything but memberships and first timestamps; the person is frozen, or held. */
void rc_person_empty(struct rc_person *person, const struct rc_plan *plan, struct rc_strings *strings,
                     enum rc_quarantine quarantine);

/* What a record says without being decoded: its checksum is right, what its head says, and by visits (each may be NULL) each domain's due
 * instant and each membership, named by hash. POISON on damaged bytes (FATAL: of a later format). */
struct rc_record_head {
    uint64_t plan_hash; /* of the plan it was saved under; 0: to be looked at anew */
    bool quarantined;
};
struct rc_record_visitor {
    void *ctx;
    void (*due)(void *ctx, uint64_t domain, int64_t due_ms);
    void (*member)(void *ctx, uint64_t segment);
};
rc_status rc_person_record_scan(struct rc_span record, const struct rc_record_visitor *visitor,
                                struct rc_record_head *head, struct rc_error *err) RC_MUST_USE;

#endif
