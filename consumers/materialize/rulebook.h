/* Which audiences are in force, and how: the catalog, what is remembered of deleted ones, and the clock (an audience expires).
 *
 * Pure: the shell saves what is to be remembered and gives it back. */
#ifndef RC_MATERIALIZE_RULEBOOK_H
#define RC_MATERIALIZE_RULEBOOK_H

#include "consumers/materialize/audience.h"
#include "consumers/materialize/schedule.h"

/* Months after its last apply at which an audience without `expires` expires. */
#define RC_AUDIENCE_LIFE_MONTHS 13
/* How long before its end it is warned of: a month of 30 days. */
#define RC_AUDIENCE_WARNING_MS (INT64_C(30) * 86400000)

/* What has to be known of an audience after its definition is gone. */
struct rc_audience_memory {
    char *id; /* owned by the caller */
    int version;
    bool keep;     /* on_end: keep */
    int serves;    /* the version whose condition was in force last; 0: not known */
    json_t *where; /* its condition; owned by the caller */
};

struct rc_audience_entry {
    const char *id;                        /* borrowed from the catalog or the memories */
    int newest;                            /* version of the definition; the spec's while it does not wait */
    json_t *serves;                        /* what the spec borrows, while a newer version waits; owned */
    int64_t held_members, held_would_have; /* numbers with which the newest version is held */
    bool held;                             /* it needs an approval; false while it is being counted as well */
    const char *topic;                     /* own topic, or NULL; borrowed from the catalog */
    char *state;                           /* "ready", "paused", "expired", "deleted", "error: …"; owned */
    struct rc_schedule schedule;           /* `continuous`: none */
    int64_t latest_ms;                     /* the schedule's last instant that has come; 0: none */
    int64_t next_ms;                       /* the one after it; INT64_MAX: none */
    int64_t expires_ms;                    /* INT64_MAX: never */
    bool ends_soon;                        /* within RC_AUDIENCE_WARNING_MS */
};

/* One page: entry i belongs to spec i. */
struct rc_rulebook {
    struct rc_audience_spec *specs;    /* owned; strings borrowed */
    struct rc_audience_entry *entries; /* owned */
    size_t n;
    int64_t next_ms; /* when time alone changes a mode, or a warning is due; INT64_MAX: never */
    int64_t due_ms;  /* when a schedule's next instant comes; INT64_MAX: none does */
};

/* Works out every audience's mode at `now_ms`. `catalog` and `memories` are borrowed for the rulebook's life. */
void rc_rulebook_init(struct rc_rulebook *book, const struct rc_catalog *catalog,
                      const struct rc_audience_memory *memories, size_t n_memories, int64_t now_ms);
void rc_rulebook_deinit(struct rc_rulebook *book);

/* Schedules go on to `now_ms`: true when an instant of any has come since the last time. */
bool rc_rulebook_tick(struct rc_rulebook *book, int64_t now_ms);

/* Freezes one audience with the state "error: <why>" (`why` is copied). */
void rc_rulebook_refuse(struct rc_rulebook *book, size_t index, const char *why);

/* The instant at which an audience expires. */
int64_t rc_audience_expiry_ms(const struct rc_audience *audience);

#endif
