/* Owns dates: which calendar unit holds an instant, when the next begins, and times as text.
 *
 * Must not know: where offsets come from (timezone.c).
 *
 * The mistake that it prevents: "midnight is date − offset". A local midnight may not exist (São Paulo's spring), may come twice
 * (a clock set back over midnight), and a whole date may be missing (Samoa). Everything here walks the periods of constant offset
 * around the date, and inside one of them local time is plain arithmetic. */
#include <stdio.h>
#include <string.h>

#include "base/timezone_zone.h"

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS INT64_C(60000)
#define HOUR_MS INT64_C(3600000)
#define DAY_MS INT64_C(86400000)
/* No offset is further than 26 h from UTC: the instants of a local time lie within this of its number. */
#define REACH_MS (27 * HOUR_MS)
#define MAX_UNITS INT64_C(1000000000)
#define MAX_DAYS INT64_C(1000000000)
/* 0001-01-01T00:00:00Z and 10000-01-01T00:00:00Z */
#define FIRST_MS INT64_C(-62135596800000)
#define END_MS INT64_C(253402300800000)

int64_t rc_days_from_civil(int64_t year, int month, int day) {
    int64_t y = year - (month <= 2);
    int64_t era = rc_floor_div(y, 400);
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

struct rc_civil rc_civil_from_days(int64_t days) {
    int64_t z = days + 719468;
    int64_t era = rc_floor_div(z, 146097);
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int month = (int)(mp < 10 ? mp + 3 : mp - 9);
    return (struct rc_civil){
        .year = yoe + era * 400 + (month <= 2), .month = month, .day = (int)(doy - (153 * mp + 2) / 5 + 1)};
}

static int64_t clamp(int64_t x, int64_t max) {
    return x > max ? max : x < -max ? -max : x;
}

static int64_t local_day(const struct rc_timezone *zone, int64_t at_ms) {
    return rc_floor_div(rc_clamp_ms(at_ms) + rc_timezone_offset(zone, at_ms), DAY_MS);
}

static int weekday_of(int64_t day) { /* 1 Monday – 7; day 0 was a Thursday */
    return (int)((day + 3) - rc_floor_div(day + 3, 7) * 7) + 1;
}

/* First day of the unit (a day or more) that lies `units` units from the one that holds `day`. */
static int64_t unit_day(enum rc_calendar_unit unit, int64_t day, int64_t units) {
    struct rc_civil date = rc_civil_from_days(day);
    int64_t months = date.year * 12 + date.month - 1, n = clamp(units, MAX_UNITS);
    switch (unit) {
    case RC_HOUR: /* not a unit of days; its callers do not come here */
    case RC_DAY: return clamp(day + n, MAX_DAYS);
    case RC_WEEK: return clamp(day - (weekday_of(day) - 1) + n * 7, MAX_DAYS);
    case RC_MONTH: months += n; break;
    case RC_QUARTER: months = rc_floor_div(months, 3) * 3 + n * 3; break;
    case RC_YEAR: months = (date.year + n) * 12; break;
    }
    int64_t year = rc_floor_div(months, 12);
    return clamp(rc_days_from_civil(year, (int)(months - year * 12) + 1, 1), MAX_DAYS);
}

/* First instant at which the local clock shows `local` or has passed it. */
static int64_t first_instant(const struct rc_timezone *zone, int64_t local) {
    int64_t at = local - REACH_MS;
    for (;;) {
        int64_t until, offset = rc_timezone_period(zone, at, &until);
        int64_t start = local - offset > at ? local - offset : at;
        if (start < until)
            return start;
        at = until;
    }
}

/* First instant whose local date is `day` (the first after it when the date does not exist there). */
static int64_t day_start(const struct rc_timezone *zone, int64_t day) {
    return first_instant(zone, day * DAY_MS);
}

int64_t rc_calendar_start(const struct rc_timezone *zone, enum rc_calendar_unit unit, int64_t at_ms, int64_t units) {
    if (unit == RC_HOUR) {
        int64_t at = rc_clamp_ms(at_ms), local = at + rc_timezone_offset(zone, at);
        return at - (local - rc_floor_div(local, HOUR_MS) * HOUR_MS) + clamp(units, MAX_UNITS) * HOUR_MS;
    }
    return day_start(zone, unit_day(unit, local_day(zone, at_ms), units));
}

int64_t rc_calendar_next(const struct rc_timezone *zone, enum rc_calendar_unit unit, int64_t at_ms) {
    int64_t at = rc_clamp_ms(at_ms), present = rc_calendar_start(zone, unit, at, 0);
    /* Inside a period of constant offset the value changes at the next local boundary only; else at the period's end, perhaps. */
    for (;;) {
        int64_t until, offset = rc_timezone_period(zone, at, &until), local = at + offset;
        int64_t boundary = unit == RC_HOUR ? (rc_floor_div(local, HOUR_MS) + 1) * HOUR_MS
                                           : unit_day(unit, rc_floor_div(local, DAY_MS), 1) * DAY_MS;
        at = boundary - offset < until ? boundary - offset : until;
        if (at >= RC_FARTHEST_MS || rc_calendar_start(zone, unit, at, 0) != present)
            return at;
    }
}

int rc_local_hour(const struct rc_timezone *zone, int64_t at_ms) {
    int64_t local = rc_clamp_ms(at_ms) + rc_timezone_offset(zone, at_ms);
    return (int)((local - rc_floor_div(local, DAY_MS) * DAY_MS) / HOUR_MS);
}

int rc_local_weekday(const struct rc_timezone *zone, int64_t at_ms) {
    return weekday_of(local_day(zone, at_ms));
}

int64_t rc_local_date(const struct rc_timezone *zone, int64_t at_ms) {
    return local_day(zone, at_ms);
}

int64_t rc_local_instant(const struct rc_timezone *zone, int64_t date, int64_t ms_of_day) {
    return first_instant(zone, clamp(date, MAX_DAYS) * DAY_MS + ms_of_day);
}

int rc_date_day(int64_t date) {
    return rc_civil_from_days(clamp(date, MAX_DAYS)).day;
}

int64_t rc_date_in_month(int64_t date, int64_t months, int day) {
    int64_t first = unit_day(RC_MONTH, date, months), last = unit_day(RC_MONTH, date, months + 1) - 1;
    return first + day - 1 < last ? first + day - 1 : last;
}

/* ---- text ------------------------------------------------------------------------------------------------------------ */

struct cursor {
    const char *at, *end;
};

static bool take_digits(struct cursor *in, int n, int *out) {
    int value = 0;
    if (in->end - in->at < n)
        return false;
    for (int i = 0; i < n; i++) {
        if (in->at[i] < '0' || in->at[i] > '9')
            return false;
        value = value * 10 + (in->at[i] - '0');
    }
    in->at += n;
    *out = value;
    return true;
}

static bool take_any(struct cursor *in, const char *set) {
    if (in->at == in->end || *in->at == '\0' || !strchr(set, *in->at))
        return false;
    in->at++;
    return true;
}

static bool take_date(struct cursor *in, int64_t *day) {
    int year, month, d;
    if (!take_digits(in, 4, &year) || !take_any(in, "-") || !take_digits(in, 2, &month) || !take_any(in, "-") ||
        !take_digits(in, 2, &d) || year < 1 || month < 1 || month > 12 || d < 1)
        return false;
    int64_t first = rc_days_from_civil(year, month, 1);
    int64_t next = month == 12 ? rc_days_from_civil(year + 1, 1, 1) : rc_days_from_civil(year, month + 1, 1);
    if (d > next - first)
        return false;
    *day = first + d - 1;
    return true;
}

/* HH:MM:SS[.fff…] in ms; what is finer is cut, which rounds towards minus infinity because a fraction counts upwards. */
static bool take_clock(struct cursor *in, bool seconds_optional, int64_t *out) {
    int hour, minute, second = 0, ms = 0;
    if (!take_digits(in, 2, &hour) || !take_any(in, ":") || !take_digits(in, 2, &minute) || hour > 23 || minute > 59)
        return false;
    if (!(seconds_optional && in->at == in->end)) {
        if (!take_any(in, ":") || !take_digits(in, 2, &second) || second > 59)
            return false;
        if (take_any(in, ".")) {
            int scale = 100, digit, n = 0;
            for (; take_digits(in, 1, &digit); scale /= 10, n++)
                ms += digit * scale;
            if (n == 0)
                return false;
        }
    }
    *out = hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS + ms;
    return true;
}

rc_status rc_rfc3339_parse(const char *text, size_t len, int64_t *out_ms) {
    struct cursor in = {text, text + len};
    int64_t day, clock, offset = 0;
    if (len == 0 || !take_date(&in, &day) || !take_any(&in, "Tt") || !take_clock(&in, false, &clock))
        return RC_FAIL;
    if (!take_any(&in, "Zz")) {
        int hour, minute, sign = in.at < in.end && *in.at == '-' ? -1 : 1;
        if (!take_any(&in, "+-") || !take_digits(&in, 2, &hour) || !take_any(&in, ":") ||
            !take_digits(&in, 2, &minute) || hour > 23 || minute > 59)
            return RC_FAIL;
        offset = sign * (hour * HOUR_MS + minute * MINUTE_MS);
    }
    int64_t at = day * DAY_MS + clock - offset;
    if (in.at != in.end || at < FIRST_MS || at >= END_MS)
        return RC_FAIL;
    *out_ms = at;
    return RC_OK;
}

void rc_rfc3339_format(int64_t at_ms, char out[25]) {
    int64_t at = at_ms < FIRST_MS ? FIRST_MS : at_ms >= END_MS ? END_MS - 1 : at_ms;
    int64_t day = rc_floor_div(at, DAY_MS), rest = at - day * DAY_MS;
    struct rc_civil date = rc_civil_from_days(day);
    char text[64];
    (void)snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (int)date.year, date.month, date.day,
                   (int)(rest / HOUR_MS), (int)(rest / MINUTE_MS % 60), (int)(rest / SECOND_MS % 60),
                   (int)(rest % SECOND_MS));
    memcpy(out, text, 24);
    out[24] = '\0';
}

rc_status rc_local_time_parse(const struct rc_timezone *zone, const char *text, size_t len, int64_t *out_ms) {
    struct cursor in = {text, text + len};
    int64_t day, clock = 0;
    if (len == 0 || !take_date(&in, &day))
        return RC_FAIL;
    if (in.at != in.end && (!take_any(&in, "Tt ") || !take_clock(&in, true, &clock) || in.at != in.end))
        return RC_FAIL;
    int64_t local = day * DAY_MS + clock, at = local - REACH_MS, before = 0, found;
    for (;;) {
        int64_t until, offset = rc_timezone_period(zone, at, &until);
        if (local - offset <
            at) { /* the clock jumped over it here (never in the first period): the old offset leads past the gap */
            found = local - before;
            break;
        }
        if (local - offset < until) {
            found = local - offset;
            break;
        }
        before = offset;
        at = until;
    }
    if (found < FIRST_MS || found >= END_MS)
        return RC_FAIL;
    *out_ms = found;
    return RC_OK;
}
