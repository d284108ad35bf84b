/* Over everybody in a partition, slice by slice, between live traffic: what a review (sweep.c), a publication (publish.c) and a count (guard.c)
 * have in common. Who is not in the store yet is not met: each begins behind a checkpoint. */
#include "base/clock.h"
#include "consumers/materialize/stage.h"

struct walk {
    struct part *part;
    struct rc_audience_desk desk;
    rc_walk_verb verb;
    rc_status status;
    struct rc_error *err;
};

static bool visit(void *ctx, struct rc_span key) {
    struct walk *walk = ctx;
    struct part *part = walk->part;
    struct stage *stage = part->stage;
    walk->status = rc_persons_load(part->persons, key, rc_names_count(stage->signals), rc_names_count(stage->audiences),
                                   &stage->person, walk->err);
    if (walk->status)
        return false;
    stage->deciding_key = key;
    if (walk->verb(part, &walk->desk, &stage->person))
        rc_persons_keep(part->persons, key, &stage->person);
    walk->status = rc_input_end(part, walk->err);
    if (stage->failed) {
        *walk->err = stage->failure;
        walk->status = RC_FAIL;
    }
    return walk->status == RC_OK;
}

rc_status rc_walk(struct part *part, uint32_t *slice, int64_t budget_ms, rc_walk_verb verb, struct rc_error *err) {
    struct stage *stage = part->stage;
    int64_t until = rc_clock_monotonic_ms() + budget_ms;
    struct walk walk = {.part = part, .desk = rc_input_desk(part), .verb = verb, .err = err};
    stage->told_ms = 0;
    while (*slice < RC_PERSONS_SLICES && !rc_producer_full(stage->producer)) {
        if (rc_persons_each(part->persons, *slice, visit, &walk, err) || walk.status)
            return RC_FAIL;
        ++*slice;
        if (rc_clock_monotonic_ms() >= until)
            break;
    }
    return RC_OK;
}
