/* How definitions depend on each other, as far as building needs it. The public part stands in definition.h. Internal. */
#ifndef RC_SEGMENT_DEFINITION_RELATIONS_H
#define RC_SEGMENT_DEFINITION_RELATIONS_H

#include "segment/definition.h"

/* Fails when a segment depends on its own membership; the error shows the way round. */
rc_status rc_def_no_cycles(const struct rc_catalog *catalog, struct rc_error *err) RC_MUST_USE;

#endif
