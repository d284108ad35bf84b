/* Which audiences a destination has had from their beginning, in one partition of the memberships topic; and which come late.
 *
 * Pure: the worker tells what the store remembers, which audiences go to the destination now, and how far the filling is; this
 * says whose changes are taken as they come, and what the store has to remember.
 *
 * The mistake that it prevents: an audience counts as attached although some of its changes were passed over, by this process or
 * one before it. So whatever is passed over is remembered before it is, and what is attached is remembered after it is complete. */
#ifndef RC_SINK_ATTACHED_H
#define RC_SINK_ATTACHED_H

#include "consumers/sink/routes.h"

enum rc_attached_state {
    RC_ATTACHED_AWAY,    /* does not go here */
    RC_ATTACHED_LIVE,    /* the store has had everything; changes are taken as they come */
    RC_ATTACHED_WAITING, /* comes late; its changes are left alone until a filling takes it up */
    RC_ATTACHED_FILLING, /* its changes are read again; those that come meanwhile are left to that */
    RC_ATTACHED_PASSED,  /* not defined, and records of it were passed over */
};

struct rc_attached_entry {
    char *id;
    enum rc_attached_state state;
    bool noted;  /* the store remembers it as live */
    bool marked; /* the store remembers that it was passed over */
};

struct rc_attached {
    struct rc_attached_entry *items; /* ordered by id */
    size_t n, capacity;
    uint8_t *standing; /* enum rc_attached_state of each audience of the set followed last */
};

void rc_attached_deinit(struct rc_attached *attached);
/* Nothing is known any more. */
void rc_attached_clear(struct rc_attached *attached);

/* Takes in what the store remembers: the audience is live (`passed` false), or was passed over. */
void rc_attached_load(struct rc_attached *attached, struct rc_span id, bool passed);

/* Other audiences from now on. Who comes is live at once when it is in its first version and never was passed over (nothing of it
 * can have been missed), or when everything is read from the beginning (`fresh`); else it waits. */
void rc_attached_follow(struct rc_attached *attached, const struct rc_route_set *set, bool fresh);

/* A record of an audience that is not defined is about to be passed over. True: the store remembers that already. */
bool rc_attached_pass(struct rc_attached *attached, struct rc_span id);
/* Whether that was done for the audience. */
bool rc_attached_passed(const struct rc_attached *attached, struct rc_span id);

/* Turns every entry of one state into another; returns how many. */
size_t rc_attached_turn(struct rc_attached *attached, enum rc_attached_state from, enum rc_attached_state to);
size_t rc_attached_count(const struct rc_attached *attached, enum rc_attached_state state);

/* State of the audience at `index` of the set followed last. */
static inline enum rc_attached_state rc_attached_at(const struct rc_attached *attached, size_t index) {
    return (enum rc_attached_state)attached->standing[index];
}

/* What the store has to be told: for each entry that it remembers otherwise `add` or `remove` (`passed`: as in rc_attached_load).
 * All of `add` first, so that a crash in between leaves too much to do, never too little. Stops at the first failure; what was done
 * counts as done. */
struct rc_attached_memory {
    rc_status (*add)(void *ctx, const char *id, bool passed);
    rc_status (*flush)(void *ctx); /* everything that was added is to be remembered now */
    rc_status (*remove)(void *ctx, const char *id, bool passed);
    void *ctx;
};
rc_status rc_attached_remember(struct rc_attached *attached, const struct rc_attached_memory *memory) RC_MUST_USE;

#endif
