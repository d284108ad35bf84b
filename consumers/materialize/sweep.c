/* Everybody is held against the rules: after new definitions, and after a partition was learnt.
 *
 * Slice by slice over the store, a few milliseconds at a time, so that live traffic goes on in between. Who is touched by live traffic
 * first is reviewed then; each person carries the generation under which that was done. It starts only after a checkpoint, so that
 * everybody who was there when the rules changed is in the store; and it is done anew after a crash, which costs time only. */
#include "base/clock.h"
#include "base/log.h"
#include "consumers/materialize/stage.h"

bool rc_sweep_pending(const struct part *part) {
    return part->reviewed != rc_audience_rules_generation(part->stage->rules);
}

static bool review(struct part *part, const struct rc_audience_desk *desk, struct rc_audience_person *person) {
    return rc_audience_review(desk, person, part->review_cause, rc_clock_wall_ms());
}

rc_status rc_sweep_turn(struct part *part, int64_t budget_ms, struct rc_error *err) {
    struct stage *stage = part->stage;
    if (part->phase != PART_LIVE || !rc_sweep_pending(part))
        return RC_OK;
    if (!part->sweep_may_start) {
        if (!rc_checkpoint_under_way(part))
            part->changed = part->wanted_now = true;
        return RC_OK;
    }
    if (rc_walk(part, &part->sweep_slice, budget_ms, review, err))
        return RC_FAIL;
    part->changed = true;
    if (part->sweep_slice < RC_PERSONS_SLICES)
        return RC_OK;
    part->reviewed = rc_audience_rules_generation(stage->rules);
    part->review_cause = RC_CAUSE_DEFINITION;
    part->sweep_may_start = false;
    part->sweep_slice = 0;
    part->wanted_now = true;
    stage->view_stale = true;
    rc_log(RC_LOG_INFO, "all persons reviewed", rc_f_int("partition", part->number),
           rc_f_int("generation", (int64_t)part->reviewed));
    return RC_OK;
}
