/* The instants of a schedule are numbered from 0. An instant is worked out from its number and the first one's date, never from the one
 * before: a publication at 03:00 because 02:00 was skipped, or on the 28th because there is no 31st, moves no later one. */
#include "consumers/materialize/schedule.h"

#define DAY_MS INT64_C(86400000)

struct rc_schedule rc_schedule_of(const struct rc_audience *audience) {
    return (struct rc_schedule){.refresh = audience->refresh,
                                .every_ms = audience->every_ms,
                                .at_minute = audience->at_minute,
                                .timezone = audience->timezone,
                                .anchor_ms = audience->scheduled_ms};
}

/* What all instants follow from. */
struct first {
    int64_t at_ms;
    int64_t date, ms_of_day; /* local */
};

static struct first first_of(const struct rc_schedule *schedule) {
    struct first first = {.date = rc_local_date(schedule->timezone, schedule->anchor_ms)};
    if (schedule->at_minute < 0) {
        first.at_ms = schedule->anchor_ms;
        first.ms_of_day =
            schedule->anchor_ms + rc_timezone_offset(schedule->timezone, schedule->anchor_ms) - first.date * DAY_MS;
        return first;
    }
    first.ms_of_day = (int64_t)schedule->at_minute * 60000;
    while ((first.at_ms = rc_local_instant(schedule->timezone, first.date, first.ms_of_day)) < schedule->anchor_ms)
        first.date++;
    return first;
}

/* Instant number `n`; INT64_MAX: there is none. */
static int64_t instant(const struct rc_schedule *schedule, const struct first *first, int64_t n) {
    int64_t date = first->date, elapsed, at;
    switch (schedule->refresh) {
    case RC_REFRESH_CONTINUOUS: return INT64_MAX;
    case RC_REFRESH_ONCE: return n ? INT64_MAX : first->at_ms;
    case RC_REFRESH_EVERY:
        if (__builtin_mul_overflow(n, schedule->every_ms, &elapsed) ||
            __builtin_add_overflow(first->at_ms, elapsed, &at))
            return INT64_MAX;
        return at;
    case RC_REFRESH_DAILY: date += n; break;
    case RC_REFRESH_WEEKLY: date += 7 * n; break;
    case RC_REFRESH_MONTHLY: date = rc_date_in_month(date, n, rc_date_day(date)); break;
    }
    at = n ? rc_local_instant(schedule->timezone, date, first->ms_of_day) : first->at_ms;
    return at > first->at_ms ? at : first->at_ms;
}

/* A number whose instant is not above `after_ms`, and not far below. */
static int64_t guess(const struct rc_schedule *schedule, const struct first *first, int64_t after_ms) {
    int64_t days = rc_local_date(schedule->timezone, after_ms) - first->date, n = 0;
    switch (schedule->refresh) {
    case RC_REFRESH_EVERY: n = (after_ms - first->at_ms) / schedule->every_ms; break;
    case RC_REFRESH_DAILY: n = days - 2; break;
    case RC_REFRESH_WEEKLY: n = days / 7 - 1; break;
    case RC_REFRESH_MONTHLY: n = days / 31 - 1; break;
    case RC_REFRESH_CONTINUOUS:
    case RC_REFRESH_ONCE: break;
    }
    return n > 0 ? n : 0;
}

/* The least number whose instant is above `after_ms`. */
static int64_t number_above(const struct rc_schedule *schedule, const struct first *first, int64_t after_ms) {
    if (first->at_ms > after_ms)
        return 0;
    int64_t n = guess(schedule, first, after_ms), at;
    while ((at = instant(schedule, first, n)) <= after_ms && at != INT64_MAX)
        n++;
    return n;
}

int64_t rc_schedule_next(const struct rc_schedule *schedule, int64_t after_ms) {
    if (schedule->refresh == RC_REFRESH_CONTINUOUS)
        return INT64_MAX;
    struct first first = first_of(schedule);
    return instant(schedule, &first, number_above(schedule, &first, after_ms));
}

int64_t rc_schedule_latest(const struct rc_schedule *schedule, int64_t at_ms) {
    if (schedule->refresh == RC_REFRESH_CONTINUOUS)
        return INT64_MIN;
    struct first first = first_of(schedule);
    int64_t n = number_above(schedule, &first, at_ms);
    return n ? instant(schedule, &first, n - 1) : INT64_MIN;
}
