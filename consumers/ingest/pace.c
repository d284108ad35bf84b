/* How much of what can wait (who is due by time alone, the changelog) is under way at a time: as much as the broker acknowledges within a few
 * milliseconds more than it needs anyway, because that is what a live change waits behind. Found by measuring, as TCP Vegas finds its window
 * (Brakmo, Peterson 1995): a round is the time from a point in the stream of records to the acknowledgement of all before it. While it takes longer
 * than when little is under way, by more than the target, the limit falls, else it rises. */
#include "base/clock.h"
#include "consumers/ingest/internal.h"

#define FIRST_RECORDS 1000
#define LEAST_RECORDS 250
#define MOST_RECORDS 20000
#define TARGET_NS INT64_C(2500000)
#define STEP 8          /* the limit moves by a part of so many in a round */
#define FORGETTING 1000 /* and the least time grows by one of so many: the way to the broker may have become longer */

void rc_ingest_pace_init(struct pace *pace) {
    *pace = (struct pace){.limit = FIRST_RECORDS, .least_ns = INT64_MAX};
}

void rc_ingest_pace_round(struct pace *pace, int64_t took_ns) {
    if (pace->least_ns != INT64_MAX)
        pace->least_ns += pace->least_ns / FORGETTING;
    if (took_ns < pace->least_ns)
        pace->least_ns = took_ns;
    if (!pace->held)
        return; /* it says nothing of the limit */
    if (took_ns - pace->least_ns > TARGET_NS)
        pace->limit -= pace->limit / STEP;
    else
        pace->limit += pace->limit / STEP;
    if (pace->limit < LEAST_RECORDS)
        pace->limit = LEAST_RECORDS;
    if (pace->limit > MOST_RECORDS)
        pace->limit = MOST_RECORDS;
}

void rc_ingest_pace_turn(struct ingest *ingest) {
    struct pace *pace = &ingest->pace;
    size_t under_way = rc_producer_outstanding(ingest->producer);
    if (pace->measuring && rc_producer_passed(ingest->producer, pace->mark)) {
        rc_ingest_pace_round(pace, rc_clock_monotonic_ns() - pace->began_ns);
        pace->measuring = false;
    }
    if (!pace->measuring && under_way > 0) {
        pace->mark = rc_producer_mark(ingest->producer);
        pace->began_ns = rc_clock_monotonic_ns();
        pace->measuring = true;
        pace->held = false;
    }
    pace->held |= !ingest_hurries(ingest) && under_way >= pace->limit;
}
