/* Inside of rc_audience_person, shared by its record (audience_person.c) and by the deciding (audience.c) only. Pointers are borrowed
 * until the next add or remove. */
#ifndef RC_MATERIALIZE_AUDIENCE_PERSON_H
#define RC_MATERIALIZE_AUDIENCE_PERSON_H

#include "consumers/materialize/audience.h"

/* The signal, or NULL. */
struct rc_audience_signal *rc_audience_person_signal(const struct rc_audience_person *person, uint32_t name);
/* Adds one that is not there: not realized, version −1. */
struct rc_audience_signal *rc_audience_person_add_signal(struct rc_audience_person *person, uint32_t name);
void rc_audience_person_remove_signal(struct rc_audience_person *person, struct rc_audience_signal *signal);

/* The standing, or NULL. */
struct rc_audience_standing *rc_audience_person_mutable_standing(struct rc_audience_person *person, uint32_t audience);
/* Adds one that is not there: not realized, version 0. */
struct rc_audience_standing *rc_audience_person_add_standing(struct rc_audience_person *person, uint32_t audience);

#endif
