/* Every schedule against a wall clock: two years minute by minute in zones with all kinds of gaps. The model looks at the C library's local
 * time once a minute, as a person at a clock on the wall would, and knows nothing of offsets or of instants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "consumers/materialize/schedule.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS INT64_C(3600000)
#define YEARS_2_MIN (2 * 366 * 24 * 60)

static const struct rc_timezone *zone_of(const char *name) {
    const struct rc_timezone *zone;
    struct rc_error err;
    if (rc_timezone_load(name, &zone, &err))
        fail_msg("%s", err.message);
    return zone;
}

static int64_t ms(const char *rfc3339) {
    int64_t at = 0;
    assert_int_equal(rc_rfc3339_parse(rfc3339, strlen(rfc3339), &at), RC_OK);
    return at;
}

static void use_libc_zone(const char *name) {
    setenv("TZ", name, 1);
    tzset();
}

/* ---- the model ------------------------------------------------------------------------------------------------------------------ */

/* A time on the wall, as a number that orders it: YYYYMMDDHHMM. */
static int64_t wall(int64_t at_ms) {
    time_t seconds = (time_t)(at_ms / 1000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    return (((tm.tm_year + 1900) * INT64_C(100) + tm.tm_mon + 1) * 100 + tm.tm_mday) * 10000 + tm.tm_hour * 100 +
           tm.tm_min;
}

static int month_days(int64_t year, int64_t month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
}

/* The date YYYYMMDD some days later. */
static int64_t days_later(int64_t date, int days) {
    int64_t year = date / 10000, month = date / 100 % 100, day = date % 100 + days;
    while (day > month_days(year, month)) {
        day -= month_days(year, month);
        if (++month > 12)
            month = 1, year++;
    }
    return (year * 100 + month) * 100 + day;
}

static int64_t month_later(int64_t date, int64_t day) {
    int64_t year = date / 10000, month = date / 100 % 100 + 1;
    if (month > 12)
        month = 1, year++;
    return (year * 100 + month) * 100 + (day < month_days(year, month) ? day : month_days(year, month));
}

struct model {
    enum rc_refresh refresh;
    int64_t target; /* the time on the wall that is waited for */
    int64_t day;    /* of the month of the first */
    bool over;
};

/* Looks at the clock: true when it is time. */
static bool look(struct model *model, int64_t at_ms) {
    if (model->over || wall(at_ms) < model->target)
        return false;
    int64_t date = model->target / 10000, clock = model->target % 10000;
    switch (model->refresh) {
    case RC_REFRESH_DAILY: date = days_later(date, 1); break;
    case RC_REFRESH_WEEKLY: date = days_later(date, 7); break;
    case RC_REFRESH_MONTHLY: date = month_later(date, model->day); break;
    default: model->over = true;
    }
    model->target = date * 10000 + clock;
    return true;
}

/* ---- two years ------------------------------------------------------------------------------------------------------------------- */

static void compare(const char *name, enum rc_refresh refresh, const char *from, int at_minute) {
    struct rc_schedule schedule = {
        .refresh = refresh, .at_minute = at_minute, .timezone = zone_of(name), .anchor_ms = ms(from)};
    use_libc_zone(name);
    int64_t start = schedule.anchor_ms, expected = rc_schedule_next(&schedule, start - 1);
    struct model model = {.refresh = refresh};
    model.target = wall(start);
    if (at_minute >= 0) {
        int64_t clock = at_minute / 60 * 100 + at_minute % 60, date = model.target / 10000;
        model.target = (clock < model.target % 10000 ? days_later(date, 1) : date) * 10000 + clock;
    }
    model.day = model.target / 10000 % 100;
    int fired = 0;
    for (int64_t at = start; at < start + YEARS_2_MIN * MINUTE_MS; at += MINUTE_MS) {
        bool due = look(&model, at);
        /* A date that the zone skips brings two targets at one instant. */
        while (due && !model.over && wall(at) >= model.target)
            look(&model, at);
        if (due != (at == expected))
            fail_msg("%s, refresh %d from %s at minute %d: at %lld (%lld on the wall) the clock says %d, the schedule "
                     "expects %lld",
                     name, (int)refresh, from, at_minute, (long long)at, (long long)wall(at), due, (long long)expected);
        if (!due)
            continue;
        fired++;
        assert_int_equal(rc_schedule_latest(&schedule, at), at);
        assert_int_equal(rc_schedule_latest(&schedule, at + MINUTE_MS - 1), at);
        expected = rc_schedule_next(&schedule, at);
        assert_true(expected > at);
        assert_int_equal(rc_schedule_next(&schedule, expected - 1), expected);
        assert_int_equal(rc_schedule_latest(&schedule, expected - 1), at);
    }
    int least = refresh == RC_REFRESH_DAILY     ? 730
                : refresh == RC_REFRESH_WEEKLY  ? 104
                : refresh == RC_REFRESH_MONTHLY ? 24
                                                : 1;
    assert_true(fired >= least);
}

static const char *const zones[] = {"UTC",
                                    "Europe/Stockholm",  /* a gap at 02:00, 02:00–03:00 twice */
                                    "America/Sao_Paulo", /* until 2019: midnight is skipped, 23:00–24:00 twice */
                                    "America/New_York",
                                    "Australia/Lord_Howe", /* half an hour */
                                    "Pacific/Apia",        /* a whole date is skipped in 2011 */
                                    "Asia/Kathmandu"};

static void test_every_calendar_schedule_for_two_years(void **state) {
    (void)state;
    static const enum rc_refresh refreshes[] = {RC_REFRESH_DAILY, RC_REFRESH_WEEKLY, RC_REFRESH_MONTHLY,
                                                RC_REFRESH_ONCE};
    static const char *const starts[] = {"2011-01-31T05:17:00Z", "2017-10-28T01:30:00Z", "2023-03-30T23:59:00Z"};
    static const int times[] = {-1, 0, 2 * 60 + 30, 23 * 60 + 59};
    for (size_t z = 0; z < sizeof zones / sizeof *zones; z++)
        for (size_t r = 0; r < 4; r++)
            for (size_t s = 0; s < 3; s++)
                compare(zones[z], refreshes[r], starts[s], times[(z + r + s) % 4]);
}

static void test_every_is_elapsed_time(void **state) {
    (void)state;
    static const int64_t every[] = {MINUTE_MS, 4 * HOUR_MS, 7 * HOUR_MS, 36 * HOUR_MS};
    for (size_t i = 0; i < 4; i++) {
        struct rc_schedule schedule = {.refresh = RC_REFRESH_EVERY,
                                       .every_ms = every[i],
                                       .at_minute = i == 1 ? 150 : -1,
                                       .timezone = zone_of("Europe/Stockholm"),
                                       .anchor_ms = ms("2024-01-15T08:20:00Z")};
        int64_t first = i == 1 ? ms("2024-01-16T01:30:00Z") : schedule.anchor_ms, next = first;
        assert_int_equal(rc_schedule_latest(&schedule, first - 1), INT64_MIN);
        for (int64_t at = first - every[i]; at < first + YEARS_2_MIN * MINUTE_MS; at += MINUTE_MS) {
            if (at == next)
                next += every[i];
            if (rc_schedule_next(&schedule, at) != next)
                fail_msg("every %lld ms: after %lld", (long long)every[i], (long long)at);
        }
    }
    struct rc_schedule vast = {.refresh = RC_REFRESH_EVERY,
                               .every_ms = INT64_MAX / 2,
                               .at_minute = -1,
                               .timezone = zone_of("UTC"),
                               .anchor_ms = INT64_C(1700000000000)};
    assert_int_equal(rc_schedule_next(&vast, vast.anchor_ms), vast.anchor_ms + INT64_MAX / 2);
    assert_int_equal(rc_schedule_next(&vast, vast.anchor_ms + INT64_MAX / 2), INT64_MAX);
}

/* ---- instants that are easily got wrong, worked out by hand -------------------------------------------------------------------- */

static void expect(enum rc_refresh refresh, const char *zone, const char *anchor, int at_minute,
                   const char *const *instants, size_t n) {
    struct rc_schedule schedule = {
        .refresh = refresh, .at_minute = at_minute, .timezone = zone_of(zone), .anchor_ms = ms(anchor)};
    int64_t at = INT64_MIN;
    for (size_t i = 0; i < n; i++) {
        char text[25];
        at = rc_schedule_next(&schedule, at);
        rc_rfc3339_format(at, text);
        assert_string_equal(text, instants[i]);
    }
}
#define EXPECT(refresh, zone, anchor, at_minute, ...)                            \
    expect(refresh, zone, anchor, at_minute, (const char *const[]){__VA_ARGS__}, \
           sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void test_a_time_that_is_skipped(void **state) {
    (void)state;
    EXPECT(RC_REFRESH_DAILY, "Europe/Stockholm", "2024-03-30T01:30:00Z", -1, "2024-03-30T01:30:00.000Z",
           "2024-03-31T01:00:00.000Z", "2024-04-01T00:30:00.000Z");
}

static void test_a_time_that_comes_twice(void **state) {
    (void)state;
    EXPECT(RC_REFRESH_DAILY, "Europe/Stockholm", "2024-10-26T00:00:00Z", 150, "2024-10-26T00:30:00.000Z",
           "2024-10-27T00:30:00.000Z", "2024-10-28T01:30:00.000Z");
    /* First published at the second of the two: it does not come again before the next day. */
    EXPECT(RC_REFRESH_DAILY, "Europe/Stockholm", "2024-10-27T01:30:00Z", -1, "2024-10-27T01:30:00.000Z",
           "2024-10-28T01:30:00.000Z");
    /* Applied between the two, for 02:30: the first is over. */
    EXPECT(RC_REFRESH_DAILY, "Europe/Stockholm", "2024-10-27T00:45:00Z", 150, "2024-10-28T01:30:00.000Z");
}

static void test_ends_of_months(void **state) {
    (void)state;
    EXPECT(RC_REFRESH_MONTHLY, "UTC", "2023-12-31T02:00:00.250Z", -1, "2023-12-31T02:00:00.250Z",
           "2024-01-31T02:00:00.250Z", "2024-02-29T02:00:00.250Z", "2024-03-31T02:00:00.250Z",
           "2024-04-30T02:00:00.250Z", "2024-05-31T02:00:00.250Z");
    EXPECT(RC_REFRESH_MONTHLY, "UTC", "2024-02-29T12:00:00Z", 0, "2024-03-01T00:00:00.000Z",
           "2024-04-01T00:00:00.000Z");
    EXPECT(RC_REFRESH_MONTHLY, "UTC", "2024-12-30T12:00:00Z", -1, "2024-12-30T12:00:00.000Z",
           "2025-01-30T12:00:00.000Z", "2025-02-28T12:00:00.000Z", "2025-03-30T12:00:00.000Z");
    EXPECT(RC_REFRESH_WEEKLY, "UTC", "2024-02-22T12:00:00Z", -1, "2024-02-22T12:00:00.000Z", "2024-02-29T12:00:00.000Z",
           "2024-03-07T12:00:00.000Z");
}

static void test_once_and_continuous(void **state) {
    (void)state;
    struct rc_schedule schedule = {
        .refresh = RC_REFRESH_ONCE, .at_minute = -1, .timezone = zone_of("UTC"), .anchor_ms = 5000};
    assert_int_equal(rc_schedule_next(&schedule, 4999), 5000);
    assert_int_equal(rc_schedule_next(&schedule, 5000), INT64_MAX);
    assert_int_equal(rc_schedule_latest(&schedule, 4999), INT64_MIN);
    assert_int_equal(rc_schedule_latest(&schedule, INT64_MAX), 5000);
    schedule.refresh = RC_REFRESH_CONTINUOUS;
    assert_int_equal(rc_schedule_next(&schedule, 0), INT64_MAX);
    assert_int_equal(rc_schedule_latest(&schedule, INT64_MAX), INT64_MIN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_calendar_schedule_for_two_years),
        cmocka_unit_test(test_every_is_elapsed_time),
        cmocka_unit_test(test_a_time_that_is_skipped),
        cmocka_unit_test(test_a_time_that_comes_twice),
        cmocka_unit_test(test_ends_of_months),
        cmocka_unit_test(test_once_and_continuous),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
