/* How much of what can wait is done: how many of its records are under way at a time, and how much of the loop's time it has. As much as lets the
 * broker acknowledge within a few milliseconds more than it needs anyway, because that is what a live change waits behind: the records before it,
 * the turn, and on a small machine whoever else wants a processor, the broker's threads and librdkafka's as well. Found by measuring, as TCP Vegas finds its
 * window (Brakmo, Peterson 1995): a round is the time from a point in the stream of records to the acknowledgement of all before it. While it takes
 * longer than when little is under way, by more than the target, limit and share fall, else they rise. */
#include "base/clock.h"
#include "consumers/ingest/internal.h"

#define FIRST_RECORDS 1000
#define LEAST_RECORDS 250
#define MOST_RECORDS 20000
#define TARGET_NS INT64_C(2500000)
#define STEP 8          /* the limit moves by a part of so many in a round */
#define FORGETTING 1000 /* and the least time grows by one of so many: the way to the broker may have become longer */
#define LEAST_SHARE 0.0625
#define SLICE_NS INT64_C(1000000) /* of a turn, for all that can wait */
#define SLICE_BUSY_NS \
    INT64_C(20000000) /* while records wait anyway, or there must be room first: for each kind of it */
#define MOST_REST_NS INT64_C(20000000)
#define SILENT_NS INT64_C(50000000) /* nothing that is sent waits: then the share rises by time */

void rc_ingest_pace_init(struct pace *pace) {
    *pace = (struct pace){.limit = FIRST_RECORDS, .least_ns = INT64_MAX, .share = 1};
}

static void more(struct pace *pace) {
    pace->share += pace->share / STEP;
    if (pace->share > 1)
        pace->share = 1;
}

static void less(struct pace *pace) {
    pace->share -= pace->share / STEP;
    if (pace->share < LEAST_SHARE)
        pace->share = LEAST_SHARE;
}

void rc_ingest_pace_round(struct pace *pace, int64_t took_ns) {
    if (pace->least_ns != INT64_MAX)
        pace->least_ns += pace->least_ns / FORGETTING;
    if (took_ns < pace->least_ns)
        pace->least_ns = took_ns;
    bool late = took_ns - pace->least_ns > TARGET_NS;
    if (!late)
        more(pace);
    else if (pace->worked)
        less(pace);
    if (!pace->held)
        return; /* it says nothing of the limit */
    if (late)
        pace->limit -= pace->limit / STEP;
    else
        pace->limit += pace->limit / STEP;
    if (pace->limit < LEAST_RECORDS)
        pace->limit = LEAST_RECORDS;
    if (pace->limit > MOST_RECORDS)
        pace->limit = MOST_RECORDS;
}

/* How many kinds of work that can wait have something to do. */
static int kinds_at_work(const struct ingest *ingest) {
    bool former = false;
    for (size_t i = 0; i < ingest->n_lanes; i++)
        former |= ingest->lanes[i]->n_former > 0;
    return former + (ingest->backfill.lane != NULL) + (ingest->checkpoint.under_way && !ingest->checkpoint.put);
}

void rc_ingest_pace_begin(struct ingest *ingest) {
    struct pace *pace = &ingest->pace;
    int kinds = kinds_at_work(ingest);
    pace->spent_ns = 0;
    if (ingest_hurries(ingest))
        pace->slice_ns = SLICE_BUSY_NS;
    else if (rc_clock_monotonic_ns() < pace->rest_until_ns)
        pace->slice_ns = 0;
    else
        pace->slice_ns = SLICE_NS / (kinds > 0 ? kinds : 1);
}

void rc_ingest_pace_turn(struct ingest *ingest) {
    struct pace *pace = &ingest->pace;
    size_t under_way = rc_producer_outstanding(ingest->producer);
    int64_t now_ns = rc_clock_monotonic_ns();
    if (pace->measuring && rc_producer_passed(ingest->producer, pace->mark)) {
        pace->measuring = false;
        pace->ended_ns = now_ns;
        rc_ingest_pace_round(pace, now_ns - pace->began_ns);
    }
    uint64_t sent = rc_producer_acked(ingest->producer) + under_way;
    if (!pace->measuring && under_way > 0 && sent > pace->sent) {
        pace->mark = rc_producer_mark(ingest->producer);
        pace->began_ns = now_ns;
        pace->measuring = true;
        pace->held = pace->worked = false;
    } else if (!pace->measuring && now_ns > pace->ended_ns + SILENT_NS) {
        pace->ended_ns = now_ns;
        more(pace);
    }
    pace->sent = sent;
    pace->held |= !ingest_hurries(ingest) && under_way >= pace->limit;
}

void rc_ingest_pace_spent(struct ingest *ingest, int64_t began_ns) {
    ingest->pace.spent_ns += rc_clock_monotonic_ns() - began_ns;
    ingest->pace.worked = true;
}

void rc_ingest_pace_end(struct ingest *ingest) {
    struct pace *pace = &ingest->pace;
    /* Nor does a checkpoint that a wave waits for. */
    if (pace->spent_ns == 0 || ingest_hurries(ingest) || ingest->much_unsaved)
        return;
    int64_t rest_ns = (int64_t)((double)pace->spent_ns * (1 - pace->share) / pace->share);
    pace->rest_until_ns = rc_clock_monotonic_ns() + (rest_ns < MOST_REST_NS ? rest_ns : MOST_REST_NS);
}

int64_t rc_ingest_pace_rests_until(const struct ingest *ingest, int64_t now_ms) {
    int64_t left_ns = ingest->pace.rest_until_ns - rc_clock_monotonic_ns();
    return left_ns <= 0 || ingest_hurries(ingest) ? now_ms : (rc_clock_wall_us() + left_ns / 1000 + 999) / 1000;
}
