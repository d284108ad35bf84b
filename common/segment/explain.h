/* Why a person is, or is not, a member: every condition of a segment with its truth, its value against its threshold, the events it rests
 * on, and the next instant at which time alone changes it. Reads state, changes none.
 *
 * The events that are named are enough: taken by themselves they give every condition the truth that is told. */
#ifndef RC_SEGMENT_EXPLAIN_H
#define RC_SEGMENT_EXPLAIN_H

#include "base/buf.h"
#include "segment/population.h"

/* An event, as far as it is known. State holds timestamps and hashes of event ids; whoever has the events can name them. */
struct rc_evidence {
    int64_t timestamp_ms;
    uint64_t id_hash; /* rc_event_hash of its dataset and id */
};

/* Appends the event as a JSON object to `out`, or returns false when it is not known: then timestamp and hash are written. */
typedef bool (*rc_evidence_fn)(void *ctx, struct rc_span person_key, struct rc_evidence evidence, struct rc_buf *out);

/* Appends every event of the person with from <= timestamp <= to in the given datasets (flags by index) to `out` as a comma-separated list;
 * what decides sessions and existence. */
typedef void (*rc_events_fn)(void *ctx, struct rc_span person_key, const bool *datasets, int64_t from_ms, int64_t to_ms,
                             struct rc_buf *out);

struct rc_explain_sources {
    rc_evidence_fn name; /* NULL: timestamps and hashes alone */
    rc_events_fn events; /* NULL: intervals alone */
    void *ctx;
    /* For whoever must not take long; 0: as many as there are. What is left out is said to be (`eventsLeftOut`, `sessionsLeftOut`). */
    uint32_t max_events; /* of one condition, the latest ones; as many sessions of it */
    uint32_t
        max_instants; /* looked at for the next change of the whole segment; past them `nextNotBefore` says how far it looked */
};

/* How a person stands in a segment, without a reason. */
struct rc_person_standing {
    bool known;         /* has had an event, or a record is there */
    bool quarantined;   /* frozen, or being released */
    bool member;        /* as it was told last */
    int64_t since_ms;   /* of a member */
    int64_t clock_ms;   /* the segment's clock; INT64_MIN: there is none yet, so nothing has been decided */
    int64_t decided_ms; /* the instant up to which the clock allows this person to be decided; INT64_MIN likewise */
};
void rc_population_standing(struct rc_population *population, struct rc_span person_key, uint32_t segment,
                            struct rc_person_standing *out);

/* The stable hash by which state knows an event. */
uint64_t rc_event_hash(const struct rc_plan *plan, uint32_t dataset, struct rc_span event_id);

/* Appends the explanation of `segment` for the person at `at_ms` (not before what is decided) as one line of JSON. A person who is not
 * known is explained as one without events. `sources` must be given; its members may be NULL. RC_FAIL when it does not fit into `out`. */
rc_status rc_population_explain(struct rc_population *population, struct rc_span person_key, uint32_t segment,
                                int64_t at_ms, const struct rc_explain_sources *sources, struct rc_buf *out)
    RC_MUST_USE;

#endif
