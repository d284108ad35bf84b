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

struct slice {
    struct part *part;
    struct rc_audience_desk desk;
    rc_status status;
    struct rc_error *err;
};

static bool review(void *ctx, struct rc_span key) {
    struct slice *slice = ctx;
    struct part *part = slice->part;
    struct stage *stage = part->stage;
    slice->status = rc_persons_load(part->persons, key, rc_names_count(stage->signals),
                                    rc_names_count(stage->audiences), &stage->person, slice->err);
    if (slice->status)
        return false;
    stage->deciding_key = key;
    if (rc_audience_review(&slice->desk, &stage->person, part->review_cause, rc_clock_wall_ms()))
        rc_persons_keep(part->persons, key, &stage->person);
    if (stage->failed) {
        *slice->err = stage->failure;
        slice->status = RC_FAIL;
    }
    return slice->status == RC_OK;
}

rc_status rc_sweep_turn(struct part *part, int64_t budget_ms, struct rc_error *err) {
    struct stage *stage = part->stage;
    if (part->phase != PART_LIVE || !rc_sweep_pending(part))
        return RC_OK;
    if (!part->sweep_may_start) {
        if (!part->batch)
            part->changed = part->wanted_now = true;
        return RC_OK;
    }
    int64_t until = rc_clock_monotonic_ms() + budget_ms;
    struct slice slice = {.part = part, .desk = rc_input_desk(part), .err = err};
    stage->told_ms = 0;
    while (part->sweep_slice < RC_PERSONS_SLICES && !rc_producer_full(stage->producer)) {
        if (rc_persons_each(part->persons, part->sweep_slice, review, &slice, err) || slice.status)
            return RC_FAIL;
        part->sweep_slice++;
        if (rc_clock_monotonic_ms() >= until)
            break;
    }
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
