/* The decoders of a plan's datasets: each judges its dataset's own `where` by the plan. */
#ifndef RC_SEGMENT_DECODERS_H
#define RC_SEGMENT_DECODERS_H

#include "codec/decode.h"
#include "segment/population.h"

/* One for every dataset of the plan's catalog, in its order. `like`: what all have in common (registry and limits); dataset and `where` are
 * filled in here. Borrows plan and catalog for their life; `*out` owned by the caller. Fails (FATAL, exit 78) naming the dataset. */
rc_status rc_plan_decoders_new(const struct rc_plan *plan, const struct rc_catalog *catalog,
                               const struct rc_decoder_options *like, struct rc_decoder ***out, struct rc_error *err)
    RC_MUST_USE;
/* NULL is fine. */
void rc_plan_decoders_free(struct rc_decoder **decoders, const struct rc_catalog *catalog);

#endif
