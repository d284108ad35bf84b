/* Audiences from segments: what is known of one person, and what follows from it (definitions.md §4).
 *
 * Pure: no I/O, no clock, no Kafka. A person's record says which segments (and existences, `_exists.<dataset>`) are realized, since when,
 * and what was last published for each audience. A group of segment changes that belong to one decision goes in, audience changes
 * come out, each with its exact `since`.
 *
 *     M(audience, p) = p exists for it (from the first timestamp in any dataset of any segment that it names) and its condition holds
 *
 * The mistakes that this prevents: a passing audience change when two segments flip at one instant (all changes of an instant are
 * taken in before anything is decided); an old record that comes again and undoes a newer one (versions only grow); and a definition that is
 * half in force (each person carries the generation of the rules under which it was last reviewed). */
#ifndef RC_MATERIALIZE_AUDIENCE_H
#define RC_MATERIALIZE_AUDIENCE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "codec/membership.h"
#include "consumers/materialize/names.h"
#include "segment/definition.h"

/* ---- rules: the audiences of a catalog, compiled -------------------------------------------------------------------------- */

enum rc_audience_mode {
    RC_AUDIENCE_LIVE,      /* publishes each change */
    RC_AUDIENCE_SCHEDULED, /* publishes nothing but when rc_audience_publish says so */
    RC_AUDIENCE_FROZEN,    /* publishes nothing, members stay as they are: ended with `keep`, or not to be run at all */
    RC_AUDIENCE_ENDED,     /* nobody is a member any more: ended with `exit` */
};

/* What the shell says of one audience. */
struct rc_audience_spec {
    const struct rc_audience
        *definition; /* borrowed for rc_audience_rules_new; NULL: deleted, `id` and `version` say which */
    const char *id;
    int version;
    const json_t *
        serves; /* the condition in force, of `version`, where the definition's own is not yet; NULL: the definition's. Borrowed */
    enum rc_audience_mode mode;
};

/* One step of a condition, in postfix order. */
struct rc_audience_op {
    enum { RC_AUDIENCE_OP_LEAF, RC_AUDIENCE_OP_NOT, RC_AUDIENCE_OP_AND, RC_AUDIENCE_OP_OR } kind;
    uint32_t arg; /* LEAF: index into `leaves`; AND, OR: the number of operands */
};

/* One audience, ready to be decided. Read-only for others. */
struct rc_audience_rule {
    uint32_t name; /* number in the audience names */
    int version;
    enum rc_audience_mode mode;
    int64_t size_limit;
    struct rc_audience_op *ops; /* owned; empty when deleted */
    size_t n_ops;
    uint32_t *leaves; /* signal names of the segments named; owned */
    size_t n_leaves;
    uint32_t *exists; /* signal names of `_exists.<dataset>`; owned */
    size_t n_exists;
};

struct rc_audience_rules;

/* A condition in its one form, {"and": […]}, {"or": […]}, {"not": …}, {"segment": id}; owned by the caller. */
json_t *rc_audience_where_json(const struct rc_catalog *catalog, const struct rc_audience_cond *cond);

/* Compiles. `signals` names segments and existences, `audiences` audiences; both are added to and borrowed for the rules' life. */
struct rc_audience_rules *rc_audience_rules_new(const struct rc_catalog *catalog, const struct rc_audience_spec *specs,
                                                size_t n_specs, struct rc_names *signals, struct rc_names *audiences);
void rc_audience_rules_free(struct rc_audience_rules *rules);

/* A hash of all that decides: equal for rules under which every person stands the same. Independent of numbers and of order. */
uint64_t rc_audience_rules_digest(const struct rc_audience_rules *rules);

/* The generation is what persons reviewed under these rules carry: it grows whenever the digest changes. 1 at first. */
void rc_audience_rules_set_generation(struct rc_audience_rules *rules, uint64_t generation);
uint64_t rc_audience_rules_generation(const struct rc_audience_rules *rules);
/* All rules, `*n` of them, in the order of the specs; borrowed. */
const struct rc_audience_rule *rc_audience_rules_all(const struct rc_audience_rules *rules, size_t *n);
/* The rule of an audience name, or NULL. */
const struct rc_audience_rule *rc_audience_rules_find(const struct rc_audience_rules *rules, uint32_t audience);

/* Which of the `total` partitions this process owns. Persons are spread evenly by their hash, so each partition has its share of `size_limit`
 * (the shares of all add up to it exactly), and the process the sum of its partitions'. `owned` is copied. Set anew after each rebalance. */
void rc_audience_rules_set_share(struct rc_audience_rules *rules, const int32_t *owned, size_t n_owned, int32_t total);

/* The most members of the audience that this process may realize. */
int64_t rc_audience_rules_limit(const struct rc_audience_rules *rules, const struct rc_audience_rule *rule);

/* ---- persons ------------------------------------------------------------------------------------------------------------- */

/* One segment or existence of a person, as last told. */
struct rc_audience_signal {
    uint32_t name;
    bool realized;
    int64_t since_ms;
    int64_t version;
};

/* What was last published for one audience. An exited one stays until its tombstone. */
struct rc_audience_standing {
    uint32_t audience;
    bool realized;
    bool withheld; /* M is true but `size_limit` forbids to publish it; `since_ms` is M's, `version` 0 */
    int64_t since_ms;
    int64_t version;
};

struct rc_audience_person {
    uint64_t generation;                /* of the rules under which it was reviewed; 0: never */
    struct rc_audience_signal *signals; /* ordered by name; owned */
    size_t n_signals, signals_capacity;
    struct rc_audience_standing *standings; /* ordered by audience; owned */
    size_t n_standings, standings_capacity;
};

void rc_audience_person_init(struct rc_audience_person *person);
void rc_audience_person_deinit(struct rc_audience_person *person);
/* Forgets all, keeps the memory. */
void rc_audience_person_reset(struct rc_audience_person *person);

/* Appends the saved form: versioned and checksummed. Fails when `out` is full. */
rc_status rc_audience_person_save(const struct rc_audience_person *person, struct rc_buf *out) RC_MUST_USE;

/* Reads the saved form. `n_signals` and `n_audiences` are the counts of the name tables that it was saved with, or more. Fails (POISON) on
 * bytes that are damaged or of a later format; `person` is then empty. */
rc_status rc_audience_person_load(struct rc_audience_person *person, struct rc_span record, uint32_t n_signals,
                                  uint32_t n_audiences, struct rc_error *err) RC_MUST_USE;

/* The standing of an audience, or NULL. */
const struct rc_audience_standing *rc_audience_person_standing(const struct rc_audience_person *person,
                                                               uint32_t audience);

/* Takes in what the output log says was published; nothing when it is not newer than what is known. For restoring. */
void rc_audience_person_adopt(struct rc_audience_person *person, uint32_t audience, bool realized, int64_t since_ms,
                              int64_t version);

/* Forgets an exited standing (its tombstone is out). */
void rc_audience_person_forget(struct rc_audience_person *person, uint32_t audience);

/* ---- deciding -------------------------------------------------------------------------------------------------------------- */

/* One record of the segments topic. */
struct rc_audience_input {
    uint32_t name; /* signal */
    bool gone;     /* a tombstone: an exited signal is forgotten, a realized one stays */
    bool realized;
    int64_t since_ms;
    int64_t version;
    enum rc_cause cause;
    struct rc_span event_id; /* empty: none; borrowed for the call */
    int64_t event_time_ms;   /* RC_NO_EVENT_TIME: none */
};

/* One change of membership in an audience. Borrowed for the call. */
struct rc_audience_change {
    const struct rc_audience_rule *rule;
    bool realized;
    int64_t since_ms;
    enum rc_cause cause;
    struct rc_span event_id;
    int64_t event_time_ms;
};

/* Publishes one change and gives the version that it carries. */
typedef int64_t (*rc_audience_emit_fn)(void *ctx, const struct rc_audience_change *change);

/* Members and withheld persons of one audience. */
struct rc_audience_tally {
    int64_t members, withheld;
};

/* What deciding works with. */
struct rc_audience_desk {
    struct rc_audience_rules *rules; /* holds the scratch memory of deciding: one thread at a time */
    struct rc_audience_tally *here;  /* of this partition, by audience name; to be saved with the persons */
    struct rc_audience_tally *all;   /* of all partitions of this process; decides about `size_limit` */
    rc_audience_emit_fn emit;
    void *ctx;
    const bool *waits; /* by audience name: left alone, because not all of its segments are known yet; NULL: none */
    bool
        trust; /* rc_audience_decide reviews nobody: what was published is right for what is known, and a review follows */
};

/* Takes in a group of changes of one person that belong to one decision, and publishes what follows: instant by instant in order of
 * `since`, all changes of an instant before it is decided. Inputs whose version is not above the known one are dropped. A person who was
 * not yet reviewed under these rules is reviewed first (with `review_cause`). `now_ms` is the instant of the decision: `since` where what is
 * known does not tell. Returns false when nothing changed in the record. `inputs` is reordered. */
bool rc_audience_decide(const struct rc_audience_desk *desk, struct rc_audience_person *person,
                        struct rc_audience_input *inputs, size_t n, enum rc_cause review_cause, int64_t now_ms);

/* Takes the inputs in without deciding anything: for catching up with a compacted topic, whose records do not stand in the order of what
 * happened. The person is to be reviewed afterwards (its generation is set to 0). Returns false when nothing changed. */
bool rc_audience_learn(struct rc_audience_person *person, const struct rc_audience_input *inputs, size_t n);

/* Holds everything published against the rules and publishes the difference, with `cause`; with RC_CAUSE_RESTORE also what has the right
 * status with an instant that is too early. Returns false when the person had been
 * reviewed under these rules already. */
bool rc_audience_review(const struct rc_audience_desk *desk, struct rc_audience_person *person, enum rc_cause cause,
                        int64_t now_ms);

/* Holds the listed audiences (by name), scheduled ones too, against what was published for the person, and publishes the difference. Returns
 * whether the record changed. Cost: one evaluation an audience. */
bool rc_audience_publish(const struct rc_audience_desk *desk, struct rc_audience_person *person,
                         const uint32_t *audiences, size_t n, enum rc_cause cause, int64_t now_ms);

/* Whether M is true for the person as known now. */
bool rc_audience_holds(const struct rc_audience_rules *rules, const struct rc_audience_rule *rule,
                       const struct rc_audience_person *person);

/* Adds (sign 1) or takes away (−1) the person's standings: when a partition comes or goes, or its tallies are counted anew. */
void rc_audience_tally_add(struct rc_audience_tally *tallies, const struct rc_audience_person *person, int sign);

#endif
