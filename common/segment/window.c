/* Windows (definitions.md §3): the timestamps that a chain of nested windows holds at an instant T. */
#include "segment/plan.h"

static int64_t minus(int64_t a, int64_t b) {
    int64_t r;
    return __builtin_sub_overflow(a, b, &r) ? (b > 0 ? INT64_MIN : INT64_MAX) : r;
}

static struct rc_range window_range(const struct rc_window *w, const struct rc_timezone *zone, int64_t t) {
    switch (w->form) {
    case RC_WINDOW_ALL: break;
    case RC_WINDOW_SLIDING: return (struct rc_range){minus(t, w->last_ms - 1), minus(t, w->except_last_ms)};
    case RC_WINDOW_CALENDAR:
        if (w->complete)
            return (struct rc_range){rc_calendar_start(zone, w->unit, t, -w->count),
                                     rc_calendar_start(zone, w->unit, t, 0) - 1};
        return (struct rc_range){rc_calendar_start(zone, w->unit, t, 1 - w->count), t};
    case RC_WINDOW_FIXED:
        return (struct rc_range){w->from_ms, w->to_ms == INT64_MAX || w->to_ms > t ? t : w->to_ms - 1};
    }
    return (struct rc_range){INT64_MIN, t};
}

struct rc_range rc_chain_range(const struct rc_chain *chain, int64_t t) {
    struct rc_range all = {INT64_MIN, t};
    for (size_t i = 0; i < chain->n; i++) {
        struct rc_range one = window_range(&chain->windows[i], chain->timezone, t);
        if (one.from > all.from)
            all.from = one.from;
        if (one.to < all.to)
            all.to = one.to;
    }
    return all;
}
