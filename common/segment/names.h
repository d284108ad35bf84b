/* A map from texts to numbers, for finding out while compiling whether the same thing stands there already. Internal. */
#ifndef RC_SEGMENT_NAMES_H
#define RC_SEGMENT_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

struct rc_plan_names;

struct rc_plan_names *rc_plan_names_new(void);
void rc_plan_names_free(struct rc_plan_names *names);

/* The number kept for (`space`, `text`); when there is none yet, `fresh` is kept and given back. */
uint32_t rc_plan_names_put(struct rc_plan_names *names, char space, struct rc_span text, uint32_t fresh);
/* The number kept for (`space`, `text`), or UINT32_MAX. */
uint32_t rc_plan_names_get(const struct rc_plan_names *names, char space, struct rc_span text);

#endif
