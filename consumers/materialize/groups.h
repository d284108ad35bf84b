/* Decisions that are still arriving: records with the header `more` wait here, per person, until the one without it comes.
 *
 * The race: ingest tells one decision as several records; a checkpoint, a crash or another person's records may fall between them. Deciding on
 * half of a group would publish a state that never was. So the input is done only up to the first record of the oldest open
 * group (rc_groups_oldest); after a crash the records come again, and those that are known already are dropped by their version.
 * A group whose end does not come (its writer died in the middle and went another way after its restart) is closed by age. Pure. */
#ifndef RC_MATERIALIZE_GROUPS_H
#define RC_MATERIALIZE_GROUPS_H

#include <stdint.h>

#include "consumers/materialize/audience.h"

/* A writer that was killed and started again has told its groups once more by then. */
#define RC_GROUPS_PATIENCE_MS 60000
/* Open groups at a time; one more closes the oldest. A writer has one open per partition, and leaves one behind each time it is killed. */
#define RC_GROUPS_MAX 256

struct rc_groups;

struct rc_groups *rc_groups_new(void);
void rc_groups_free(struct rc_groups *groups);

size_t rc_groups_open(const struct rc_groups *groups);
/* Offset of the first record of the oldest open group; INT64_MAX: none is open. */
int64_t rc_groups_oldest(const struct rc_groups *groups);

/* Adds a record to the person's group, opening one when there is none. Everything is copied. */
void rc_groups_add(struct rc_groups *groups, struct rc_span key, const struct rc_audience_input *input, int64_t offset,
                   int64_t now_ms);

/* A whole group, in order of arrival: borrowed until the next call of add, take or take_old. */
struct rc_group {
    struct rc_span key;
    struct rc_audience_input *inputs;
    size_t n;
};

/* Closes the person's group and gives it; false when none is open. */
bool rc_groups_take(struct rc_groups *groups, struct rc_span key, struct rc_group *out);

/* Closes the oldest group when it was opened at or before `opened_ms`, or there are more than RC_GROUPS_MAX. */
bool rc_groups_take_old(struct rc_groups *groups, int64_t opened_ms, struct rc_group *out);

#endif
