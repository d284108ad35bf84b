/* Which condition of an audience is in force: a record beside the definitions, key `control/serves/<audience>`, written by materialize (by the process that
 * holds partition 0), read by everybody who materializes:
 *
 *   {"version":N, "where":CONDITION, "held":{"version":N, "members":N, "wouldHave":N}}
 *
 * The definitions topic knows the newest version alone; while that one is held, or not judged yet, the one before goes on, wherever the partition is
 * and whoever has lost its disk. `held` is left out unless a version waits for an approval. Pure. */
#ifndef RC_SHARED_SERVING_H
#define RC_SHARED_SERVING_H

#include <jansson.h>

#include "consumers/shared/control.h"

struct rc_serving {
    int version;     /* 0: nothing is known */
    json_t *where;   /* its condition, by rc_audience_where_json; owned */
    int held;        /* the version that waits for an approval; 0: none */
    int64_t members; /* of the one in force, when the other was held */
    int64_t would_have;
};

/* What is known of the audience: zeroes when nothing is, when it was deleted since, or when the record is none. Deinit it. */
void rc_serving_find(const struct rc_controls *controls, const char *audience, struct rc_serving *out);
void rc_serving_deinit(struct rc_serving *serving);

/* Whether a record of the definitions topic is one of these. */
bool rc_serving_is_key(struct rc_span key);
/* The audience that a control record is about; NULL when it is no such record, or a withdrawn one. */
const char *rc_serving_audience(const struct rc_control_item *item);

/* Appends the key, and the value: one line of JSON, the same for the same. */
rc_status rc_serving_key_add(struct rc_buf *out, const char *audience) RC_MUST_USE;
rc_status rc_serving_record_add(struct rc_buf *out, const struct rc_serving *serving) RC_MUST_USE;

#endif
