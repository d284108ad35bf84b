/* Control records: what an operator says about a definition without changing it. They travel on the definitions topic
 * beside the definitions, key `control/<kind>/<id>`, the latest counts as a whole; value:
 *
 *   {"approved":N, "paused":bool, "cancelled":N, "cancelledAt":MS, "rate":N, "replay":MS, "replayFrom":MS, "replayAll":MS, "import":MS,
 *    "deleted":N, "onEnd":"exit"|"keep", "time":…, "who":…}
 *
 * Every key may be left out, keys that this build does not know are left alone. `delete` leaves one behind, so that
 * the last version is known for ever, and what was wanted for the members.
 *
 * The mistake that it prevents: an approval, a pause or a deletion that a process which was down never hears of. */
#ifndef RC_SHARED_CONTROL_H
#define RC_SHARED_CONTROL_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"
#include "segment/definition.h"

/* Zeroes where nothing was said. */
struct rc_control {
    int approved_version;  /* this version may take effect, however much it changes */
    bool paused;           /* the backfill of the definition stands still; of a dataset: its replay */
    int cancelled_version; /* the backfill of this version was given up */
    int64_t cancelled_ms;  /* replays that were asked for until then were given up; 0: none */
    int64_t rate;          /* the most records per second that its backfill reads; 0: as configured */
    int64_t
        replay_ms; /* of a dataset: when its state was last asked to be built anew, and the name of that; grows; 0: never */
    int64_t replay_from_ms; /* from records of that time on; 0: no such bound */
    int64_t
        replay_all_ms; /* the last replay that reads all of the topic; one behind it reads what windows need; 0: none */
    int64_t
        import_ms; /* of a dataset: the last import that was announced; its records wait for a later replay; 0: none */
    int deleted_version;   /* the last version before the definition was deleted; the next one continues above it */
    enum rc_on_end on_end; /* what was wanted for a deleted audience's members; never DEFAULT once deleted */
};

/* Every definition's control record. Life: init → take… → deinit. */
struct rc_control_item {
    char *key; /* "control/segment/x"; owned */
    struct rc_control control;
    char *value; /* as read, on one line; NULL: withdrawn; owned */
};

struct rc_controls {
    struct rc_control_item *items; /* owned */
    size_t n, capacity;
    void *index; /* key to the place in items; owned */
};

void rc_controls_init(struct rc_controls *controls);
void rc_controls_deinit(struct rc_controls *controls);

/* Whether a record of the definitions topic is a control record. */
bool rc_control_is_key(struct rc_span key);

/* Takes a record; with `null_value` what was said is withdrawn. A damaged value is logged and leaves what was said
 * before (false is returned, as for a value that was there already). */
bool rc_controls_take(struct rc_controls *controls, struct rc_span key, struct rc_span value, bool null_value);

/* What was said of the definition: zeroes when nothing was. */
void rc_controls_find(const struct rc_controls *controls, const char *kind, const char *id, struct rc_control *out);

/* The record itself, one line of JSON, of a (kind, id) that need not be a definition's; NULL: none, or withdrawn. Borrowed until the next take. */
const char *rc_controls_text(const struct rc_controls *controls, const char *kind, const char *id);

/* The id of what a record's key is about when it is a `kind`, else NULL. Borrowed from the key. */
const char *rc_control_id(const struct rc_control_item *item, const char *kind);

/* ---- the records ---- */

/* Appends the key of (kind, id). */
rc_status rc_control_key_add(struct rc_buf *out, const char *kind, const char *id) RC_MUST_USE;

/* Appends the value: one line of JSON. `who` may be NULL. */
rc_status rc_control_record_add(struct rc_buf *out, const struct rc_control *control, int64_t at_ms, const char *who)
    RC_MUST_USE;

/* Reads a value. POISON with what is wrong; `*out` is unchanged then. */
rc_status rc_control_record_read(struct rc_span value, struct rc_control *out, struct rc_error *err) RC_MUST_USE;

#endif
