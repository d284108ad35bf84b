/* When a scheduled audience is published (definitions.md §4): the instants of `once`, `every`, `daily`, `weekly`, `monthly`.
 *
 * A schedule begins at its anchor, the instant at which it was applied. Without `at` that is its first instant, and gives the time of day;
 * with `at` the first instant is the first such time of day from the anchor on. From there on
 *   every D   D of elapsed time further each time, whatever the clocks do
 *   daily     each local date, weekly every 7th, monthly each month on the day of the month of the first, or on the month's last day
 *             where it is shorter,
 * at the local time of day of the first one: at the first of two when it comes twice, at the first instant behind the gap when the clock
 * skips it. Pure: no clock. */
#ifndef RC_MATERIALIZE_SCHEDULE_H
#define RC_MATERIALIZE_SCHEDULE_H

#include <stdint.h>

#include "segment/definition.h"

struct rc_schedule {
    enum rc_refresh refresh;
    int64_t every_ms; /* EVERY */
    int at_minute;    /* minute of the local day, −1: the anchor's time of day */
    const struct rc_timezone *timezone;
    int64_t anchor_ms;
};

/* The schedule of an audience. */
struct rc_schedule rc_schedule_of(const struct rc_audience *audience);

/* The least instant above `after_ms`; INT64_MAX: none comes (`once` is over; `continuous` has none at all). Cost: a few look-ups of the
 * time zone. */
int64_t rc_schedule_next(const struct rc_schedule *schedule, int64_t after_ms);

/* The greatest instant not above `at_ms`; INT64_MIN: none yet. */
int64_t rc_schedule_latest(const struct rc_schedule *schedule, int64_t at_ms);

#endif
