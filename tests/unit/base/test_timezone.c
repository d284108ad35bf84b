/* Time zones, calendars and times as text (common/base/timezone.h). The expected instants were worked out from the zones' rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* after the four that it needs */
#include <cmocka.h>

#include "base/timezone.h"

static struct rc_error err;

static const struct rc_timezone *zone(const char *name) {
    const struct rc_timezone *z = NULL;
    if (rc_timezone_load(name, &z, &err) != RC_OK)
        fail_msg("%s", err.message);
    return z;
}

static int64_t utc(const char *text) {
    int64_t ms = 0;
    if (rc_rfc3339_parse(text, strlen(text), &ms) != RC_OK)
        fail_msg("not RFC 3339: %s", text);
    return ms;
}

static void assert_instant(int64_t actual, const char *expected) {
    char text[25];
    rc_rfc3339_format(actual, text);
    if (actual != utc(expected))
        fail_msg("%s, expected %s", text, expected);
}

static void assert_start(const char *name, enum rc_calendar_unit unit, const char *at, int64_t units,
                         const char *expected) {
    assert_instant(rc_calendar_start(zone(name), unit, utc(at), units), expected);
}

static void assert_next(const char *name, enum rc_calendar_unit unit, const char *at, const char *expected) {
    assert_instant(rc_calendar_next(zone(name), unit, utc(at)), expected);
}

static void assert_offset(const char *name, const char *at, int minutes) {
    assert_int_equal(rc_timezone_offset(zone(name), utc(at)), minutes * INT64_C(60000));
}

static void names(void **state) {
    (void)state;
    assert_ptr_equal(zone("Europe/Stockholm"), zone("Europe/Stockholm"));
    assert_string_equal(rc_timezone_name(zone("UTC")), "UTC");
    const char *bad[] = {"",
                         "/etc/passwd",
                         "../../../etc/passwd",
                         "Europe/../UTC",
                         "Europe",
                         "Europe//Stockholm",
                         "Europe/Stockholm/",
                         "zone.tab",
                         "posixrules.",
                         "tzdata.zi",
                         "europe/stockholm\n",
                         "right/Europe/Stockholm",
                         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct rc_timezone *z = NULL;
        assert_int_equal(rc_timezone_load(bad[i], &z, &err), RC_FAIL);
        assert_null(z);
        assert_int_equal(err.class, RC_CLASS_POISON);
        assert_null(strchr(err.message, '\n'));
    }
    const struct rc_timezone *z = NULL;
    assert_int_equal(rc_timezone_load("Europe/Stokholm", &z, &err), RC_FAIL);
    assert_non_null(strstr(err.message, "did you mean \"Europe/Stockholm\"?"));
}

static void zone_folder_from_the_environment(void **state) {
    (void)state;
    char folder[] = "/tmp/rc-zones-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    setenv("TZDIR", folder, 1);
    /* version 1, no transitions, one type of 1 h, abbreviation "X"; and the same cut short at every byte */
    static const char file[] =
        "TZif\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\2\0\0\x0e\x10\0\0X\0";
    const struct rc_timezone *z = NULL;
    (void)snprintf(path, sizeof path, "%s/Short", folder);
    for (size_t len = 0; len < sizeof file - 1; len++) {
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(file, 1, len, f), len);
        assert_int_equal(fclose(f), 0);
        assert_int_equal(rc_timezone_load("Short", &z, &err), RC_FAIL);
    }
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(file, 1, sizeof file - 1, f), sizeof file - 1);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rc_timezone_load("Short", &z, &err), RC_OK);
    assert_int_equal(rc_timezone_offset(z, 0), 3600000);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    unsetenv("TZDIR");
}

static void offsets(void **state) {
    (void)state;
    assert_offset("UTC", "2026-07-01T00:00:00Z", 0);
    assert_offset("Europe/Stockholm", "2026-03-29T00:59:59.999Z", 60);
    assert_offset("Europe/Stockholm", "2026-03-29T01:00:00Z", 120);
    assert_offset("Europe/Stockholm", "2026-10-25T00:59:59.999Z", 120);
    assert_offset("Europe/Stockholm", "2026-10-25T01:00:00Z", 60);
    assert_offset("Asia/Kolkata", "2026-01-01T00:00:00Z", 330);
    assert_offset("Asia/Kathmandu", "2026-01-01T00:00:00Z", 345);
    assert_offset("Australia/Lord_Howe", "2026-01-01T00:00:00Z", 660);
    assert_offset("Australia/Lord_Howe", "2026-07-01T00:00:00Z", 630);
    assert_offset("Pacific/Kiritimati", "2026-07-01T00:00:00Z", 840);
    /* "negative daylight saving": winter is the exception */
    assert_offset("Europe/Dublin", "2026-07-01T00:00:00Z", 60);
    assert_offset("Europe/Dublin", "2026-12-01T00:00:00Z", 0);
    /* before the first transition: local mean time; whole seconds are lost in no direction */
    assert_int_equal(rc_timezone_offset(zone("Europe/Stockholm"), utc("1800-01-01T00:00:00Z")), (72 * 60 + 12) * 1000);
}

static void beyond_the_table(void **state) {
    (void)state;
    assert_offset("Europe/Stockholm", "2100-03-28T00:59:59.999Z", 60);
    assert_offset("Europe/Stockholm", "2100-03-28T01:00:00Z", 120);
    assert_offset("Europe/Stockholm", "2100-10-31T01:00:00Z", 60);
    assert_offset("Europe/Stockholm", "9999-07-01T00:00:00Z", 120);
    assert_offset("Europe/Stockholm", "9999-12-31T23:59:59Z", 60);
    assert_offset("Australia/Lord_Howe", "2500-01-01T00:00:00Z", 660);
    assert_offset("Australia/Lord_Howe", "2500-07-01T00:00:00Z", 630);
    assert_offset("America/New_York", "2101-03-13T06:59:59Z", -300);
    assert_offset("America/New_York", "2101-03-13T07:00:00Z", -240);
    assert_offset("Europe/Dublin", "2300-07-01T00:00:00Z", 60);
    assert_offset("Europe/Dublin", "2300-12-01T00:00:00Z", 0);
    assert_offset("America/Nuuk", "2300-07-01T00:00:00Z", -60);
    assert_offset("America/Nuuk", "2300-12-01T00:00:00Z", -120);
    assert_offset("America/Sao_Paulo", "2300-12-01T00:00:00Z", -180);
    assert_start("Europe/Stockholm", RC_DAY, "2444-07-15T12:00:00Z", 0, "2444-07-14T22:00:00Z");
    assert_next("Europe/Stockholm", RC_DAY, "2444-07-15T12:00:00Z", "2444-07-15T22:00:00Z");
}

static void days(void **state) {
    (void)state;
    assert_start("UTC", RC_DAY, "2026-05-05T23:59:59.999Z", 0, "2026-05-05T00:00:00Z");
    assert_start("UTC", RC_DAY, "2026-05-05T00:00:00Z", 0, "2026-05-05T00:00:00Z");
    assert_start("UTC", RC_DAY, "2026-05-05T00:00:00Z", -6, "2026-04-29T00:00:00Z");
    assert_start("UTC", RC_DAY, "1969-12-31T23:59:59.999Z", 0, "1969-12-31T00:00:00Z");
    /* the day of 23 hours, the day of 25 hours, and over them */
    assert_start("Europe/Stockholm", RC_DAY, "2026-03-29T12:00:00Z", 0, "2026-03-28T23:00:00Z");
    assert_next("Europe/Stockholm", RC_DAY, "2026-03-29T12:00:00Z", "2026-03-29T22:00:00Z");
    assert_start("Europe/Stockholm", RC_DAY, "2026-03-30T12:00:00Z", -2, "2026-03-27T23:00:00Z");
    assert_start("Europe/Stockholm", RC_DAY, "2026-10-25T22:59:59.999Z", 0, "2026-10-24T22:00:00Z");
    assert_next("Europe/Stockholm", RC_DAY, "2026-10-25T22:59:59.999Z", "2026-10-25T23:00:00Z");
    /* leap days */
    assert_start("UTC", RC_DAY, "2024-03-01T00:00:00Z", -1, "2024-02-29T00:00:00Z");
    assert_start("UTC", RC_DAY, "2100-03-01T00:00:00Z", -1, "2100-02-28T00:00:00Z");
    assert_start("UTC", RC_DAY, "2000-03-01T00:00:00Z", -1, "2000-02-29T00:00:00Z");
    assert_start("Asia/Kolkata", RC_DAY, "2026-01-01T18:29:59.999Z", 0, "2025-12-31T18:30:00Z");
    assert_start("Asia/Kolkata", RC_DAY, "2026-01-01T18:30:00Z", 0, "2026-01-01T18:30:00Z");
}

static void midnights_that_are_none(void **state) {
    (void)state;
    /* São Paulo, 2018-11-04: 00:00 became 01:00; the date begins at the change */
    assert_start("America/Sao_Paulo", RC_DAY, "2018-11-04T12:00:00Z", 0, "2018-11-04T03:00:00Z");
    assert_start("America/Sao_Paulo", RC_DAY, "2018-11-05T12:00:00Z", -1, "2018-11-04T03:00:00Z");
    assert_next("America/Sao_Paulo", RC_DAY, "2018-11-04T02:59:59.999Z", "2018-11-04T03:00:00Z");
    assert_next("America/Sao_Paulo", RC_DAY, "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z");
    /* and back, 2018-02-18: 00:00 became 23:00 of the 17th, which lasts 25 hours */
    assert_start("America/Sao_Paulo", RC_DAY, "2018-02-18T02:30:00Z", 0, "2018-02-17T02:00:00Z");
    assert_next("America/Sao_Paulo", RC_DAY, "2018-02-18T01:00:00Z", "2018-02-18T03:00:00Z");
    /* St. John's, 1988-10-30: at 00:01 back by two hours to 22:01 of the 29th: the 30th begins, ends, and begins again */
    assert_start("America/St_Johns", RC_DAY, "1988-10-30T12:00:00Z", 0, "1988-10-30T01:30:00Z");
    assert_next("America/St_Johns", RC_DAY, "1988-10-29T12:00:00Z", "1988-10-30T01:30:00Z");
    assert_next("America/St_Johns", RC_DAY, "1988-10-30T01:30:30Z", "1988-10-30T01:31:00Z");
    assert_start("America/St_Johns", RC_DAY, "1988-10-30T01:31:00Z", 0, "1988-10-29T01:30:00Z");
    assert_next("America/St_Johns", RC_DAY, "1988-10-30T01:31:00Z", "1988-10-30T03:30:00Z");
    /* Samoa had no 2011-12-30: a unit that would start on it starts with the 31st */
    assert_start("Pacific/Apia", RC_DAY, "2011-12-31T12:00:00Z", -1, "2011-12-30T10:00:00Z");
    assert_start("Pacific/Apia", RC_DAY, "2011-12-31T12:00:00Z", -2, "2011-12-30T10:00:00Z");
    assert_start("Pacific/Apia", RC_DAY, "2011-12-31T12:00:00Z", -3, "2011-12-29T10:00:00Z");
    assert_next("Pacific/Apia", RC_DAY, "2011-12-29T12:00:00Z", "2011-12-30T10:00:00Z");
}

static void weeks_months_quarters_years(void **state) {
    (void)state;
    /* 2026-01-01 is a Thursday: its week began on Monday, 2025-12-29 */
    assert_start("UTC", RC_WEEK, "2026-01-01T00:00:00Z", 0, "2025-12-29T00:00:00Z");
    assert_start("UTC", RC_WEEK, "2026-01-04T23:59:59.999Z", 0, "2025-12-29T00:00:00Z");
    assert_start("UTC", RC_WEEK, "2026-01-05T00:00:00Z", 0, "2026-01-05T00:00:00Z");
    assert_start("UTC", RC_WEEK, "2026-01-05T00:00:00Z", -2, "2025-12-22T00:00:00Z");
    assert_start("UTC", RC_WEEK, "1970-01-01T00:00:00Z", 0, "1969-12-29T00:00:00Z");
    assert_next("UTC", RC_WEEK, "2025-12-31T00:00:00Z", "2026-01-05T00:00:00Z");
    assert_start("Europe/Stockholm", RC_WEEK, "2026-04-01T00:00:00Z", 0, "2026-03-29T22:00:00Z");
    assert_start("Europe/Stockholm", RC_MONTH, "2026-03-31T21:59:59.999Z", 0, "2026-02-28T23:00:00Z");
    assert_start("Europe/Stockholm", RC_MONTH, "2026-03-31T22:00:00Z", 0, "2026-03-31T22:00:00Z");
    assert_start("UTC", RC_MONTH, "2026-03-31T00:00:00Z", -1, "2026-02-01T00:00:00Z");
    assert_start("UTC", RC_MONTH, "2026-01-31T00:00:00Z", -13, "2024-12-01T00:00:00Z");
    assert_start("UTC", RC_MONTH, "2026-12-31T00:00:00Z", 1, "2027-01-01T00:00:00Z");
    assert_next("UTC", RC_MONTH, "2024-02-29T23:00:00Z", "2024-03-01T00:00:00Z");
    assert_start("UTC", RC_QUARTER, "2026-03-31T00:00:00Z", 0, "2026-01-01T00:00:00Z");
    assert_start("UTC", RC_QUARTER, "2026-04-01T00:00:00Z", -1, "2026-01-01T00:00:00Z");
    assert_start("UTC", RC_QUARTER, "2026-02-01T00:00:00Z", -1, "2025-10-01T00:00:00Z");
    assert_next("Asia/Kolkata", RC_QUARTER, "2026-11-11T00:00:00Z", "2026-12-31T18:30:00Z");
    assert_start("UTC", RC_YEAR, "2024-12-31T23:59:59.999Z", 0, "2024-01-01T00:00:00Z");
    assert_start("UTC", RC_YEAR, "2024-12-31T23:59:59.999Z", -1, "2023-01-01T00:00:00Z");
    assert_next("America/New_York", RC_YEAR, "2024-12-31T23:59:59.999Z", "2025-01-01T05:00:00Z");
}

static void hours(void **state) {
    (void)state;
    assert_start("UTC", RC_HOUR, "2026-01-01T10:59:59.999Z", 0, "2026-01-01T10:00:00Z");
    assert_start("UTC", RC_HOUR, "2026-01-01T10:00:00Z", -23, "2025-12-31T11:00:00Z");
    assert_start("Asia/Kolkata", RC_HOUR, "2026-01-01T10:45:00Z", 0, "2026-01-01T10:30:00Z");
    assert_start("Asia/Kolkata", RC_HOUR, "2026-01-01T10:15:00Z", -1, "2026-01-01T08:30:00Z");
    assert_next("Asia/Kolkata", RC_HOUR, "2026-01-01T10:30:00Z", "2026-01-01T11:30:00Z");
    /* Stockholm's hour that comes twice: hours are elapsed */
    assert_start("Europe/Stockholm", RC_HOUR, "2026-10-25T01:30:00Z", 0, "2026-10-25T01:00:00Z");
    assert_start("Europe/Stockholm", RC_HOUR, "2026-10-25T01:30:00Z", -2, "2026-10-24T23:00:00Z");
    /* Lord Howe's half hour: on 2026-04-04T15:00Z 02:00 becomes 01:30; on 2026-10-03T15:30Z 02:00 becomes 02:30 */
    assert_start("Australia/Lord_Howe", RC_HOUR, "2026-04-04T14:59:59.999Z", 0, "2026-04-04T14:00:00Z");
    assert_start("Australia/Lord_Howe", RC_HOUR, "2026-04-04T15:00:00Z", 0, "2026-04-04T14:30:00Z");
    assert_start("Australia/Lord_Howe", RC_HOUR, "2026-04-04T15:29:59.999Z", -1, "2026-04-04T13:30:00Z");
    assert_next("Australia/Lord_Howe", RC_HOUR, "2026-04-04T14:10:00Z", "2026-04-04T15:00:00Z");
    assert_next("Australia/Lord_Howe", RC_HOUR, "2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z");
    assert_start("Australia/Lord_Howe", RC_HOUR, "2026-10-03T15:29:59.999Z", 0, "2026-10-03T14:30:00Z");
    assert_start("Australia/Lord_Howe", RC_HOUR, "2026-10-03T15:30:00Z", 0, "2026-10-03T15:00:00Z");
    assert_next("Australia/Lord_Howe", RC_HOUR, "2026-10-03T15:00:00Z", "2026-10-03T15:30:00Z");
    assert_next("Australia/Lord_Howe", RC_HOUR, "2026-10-03T15:30:00Z", "2026-10-03T16:00:00Z");
    assert_int_equal(rc_local_hour(zone("Asia/Kolkata"), utc("2026-01-01T18:29:59.999Z")), 23);
    assert_int_equal(rc_local_hour(zone("Asia/Kolkata"), utc("2026-01-01T18:30:00Z")), 0);
    assert_int_equal(rc_local_hour(zone("UTC"), -1), 23);
    assert_int_equal(rc_local_weekday(zone("UTC"), 0), 4);
    assert_int_equal(rc_local_weekday(zone("UTC"), utc("2026-03-29T23:00:00Z")), 7);
    assert_int_equal(rc_local_weekday(zone("Europe/Stockholm"), utc("2026-03-29T23:00:00Z")), 1);
    assert_int_equal(rc_local_weekday(zone("UTC"), utc("0001-01-01T00:00:00Z")), 1);
}

/* rc_calendar_next is the least instant at which rc_calendar_start changes: no earlier one, and it does change. */
static void next_agrees_with_start(void **state) {
    (void)state;
    const char *const zones[] = {"UTC",
                                 "Europe/Stockholm",
                                 "America/Sao_Paulo",
                                 "America/St_Johns",
                                 "Australia/Lord_Howe",
                                 "Pacific/Apia",
                                 "Asia/Kathmandu",
                                 "Africa/Casablanca",
                                 "Europe/Dublin",
                                 "America/Nuuk",
                                 "Antarctica/Troll"};
    uint64_t seed = 88172645463325252u;
    for (size_t z = 0; z < sizeof zones / sizeof *zones; z++)
        for (int i = 0; i < 2000; i++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            const struct rc_timezone *tz = zone(zones[z]);
            int64_t at = (int64_t)(seed % 9000000000000u) - 2000000000000; /* 1906–2191 */
            enum rc_calendar_unit unit = (enum rc_calendar_unit)(seed % 6);
            int64_t start = rc_calendar_start(tz, unit, at, 0), next = rc_calendar_next(tz, unit, at);
            assert_true(start <= at && at < next);
            assert_true(rc_calendar_start(tz, unit, next, 0) != start);
            assert_int_equal(rc_calendar_start(tz, unit, next - 1, 0), start);
            assert_int_equal(rc_calendar_start(tz, unit, at + (next - at) / 2, 0), start);
        }
}

static void far_instants_do_not_overflow(void **state) {
    (void)state;
    const int64_t instants[] = {INT64_MIN, INT64_MIN / 2, -253402300800000, 253402300799999, INT64_MAX / 2, INT64_MAX};
    for (size_t i = 0; i < sizeof instants / sizeof *instants; i++)
        for (int unit = RC_HOUR; unit <= RC_YEAR; unit++) {
            const struct rc_timezone *tz = zone("Europe/Stockholm");
            (void)rc_calendar_start(tz, (enum rc_calendar_unit)unit, instants[i], INT64_MAX);
            (void)rc_calendar_start(tz, (enum rc_calendar_unit)unit, instants[i], INT64_MIN);
            (void)rc_calendar_next(tz, (enum rc_calendar_unit)unit, instants[i]);
            assert_in_range(rc_local_hour(tz, instants[i]), 0, 23);
            assert_in_range(rc_local_weekday(tz, instants[i]), 1, 7);
        }
}

static void rfc3339(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00.1z", 100},
        {"1970-01-01T00:00:00.0019999Z", 1},
        {"1969-12-31T23:59:59.9999Z", -1},
        {"1969-12-31T23:59:59.9989Z", -2},
        {"2026-01-31T09:15:00.5+01:00", 1769847300500},
        {"1970-01-01T00:00:00-00:00", 0},
        {"1970-01-01T00:00:00-23:59", 86340000},
        {"0001-01-01T00:00:00Z", -62135596800000},
        {"9999-12-31T23:59:59.999Z", 253402300799999},
        {"2000-02-29T00:00:00Z", 951782400000},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(utc(good[i].text), good[i].ms);
    const char *bad[] = {"",
                         "2026-01-01",
                         "2026-01-01T00:00:00",
                         "2026-01-01 00:00:00Z",
                         "2026-01-01T00:00Z",
                         "2026-01-01T00:00:00.Z",
                         "2026-1-01T00:00:00Z",
                         "2026-02-29T00:00:00Z",
                         "2100-02-29T00:00:00Z",
                         "2026-13-01T00:00:00Z",
                         "2026-00-01T00:00:00Z",
                         "2026-01-00T00:00:00Z",
                         "2026-01-32T00:00:00Z",
                         "2026-01-01T24:00:00Z",
                         "2026-01-01T00:60:00Z",
                         "2026-01-01T00:00:60Z",
                         "2026-01-01T00:00:00+0100",
                         "2026-01-01T00:00:00+24:00",
                         "2026-01-01T00:00:00+01:60",
                         "2026-01-01T00:00:00Zx",
                         "0000-12-31T23:59:59Z",
                         "0001-01-01T00:00:00+00:01",
                         "9999-12-31T23:59:59-00:01",
                         "-2026-01-01T00:00:00Z",
                         "20260101T000000Z",
                         "+2026-01-01T00:00:00Z",
                         "2026-01-01T00:00:00,5Z"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t ms = 7;
        if (rc_rfc3339_parse(bad[i], strlen(bad[i]), &ms) == RC_OK)
            fail_msg("taken: %s", bad[i]);
        assert_int_equal(ms, 7);
    }
    char text[25];
    rc_rfc3339_format(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999Z");
    rc_rfc3339_format(1769847300500, text);
    assert_string_equal(text, "2026-01-31T08:15:00.500Z");
    rc_rfc3339_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
    rc_rfc3339_format(INT64_MIN, text);
    assert_string_equal(text, "0001-01-01T00:00:00.000Z");
}

static void local_times(void **state) {
    (void)state;
    static const struct {
        const char *zone, *text, *utc;
    } good[] = {
        {"Europe/Stockholm", "2026-01-31 09:15:00", "2026-01-31T08:15:00Z"},
        {"Europe/Stockholm", "2026-01-31T09:15:00.1234", "2026-01-31T08:15:00.123Z"},
        {"Europe/Stockholm", "2026-07-31 09:15", "2026-07-31T07:15:00Z"},
        {"Europe/Stockholm", "2026-07-31", "2026-07-30T22:00:00Z"},
        {"Europe/Stockholm", "2026-03-29 01:59:59.999", "2026-03-29T00:59:59.999Z"},
        {"Europe/Stockholm", "2026-03-29 02:30:00", "2026-03-29T01:30:00Z"}, /* skipped: becomes 03:30 */
        {"Europe/Stockholm", "2026-03-29 03:00:00", "2026-03-29T01:00:00Z"},
        {"Europe/Stockholm", "2026-10-25 02:30:00", "2026-10-25T00:30:00Z"}, /* twice: the first */
        {"Europe/Stockholm", "2026-10-25 03:00:00", "2026-10-25T02:00:00Z"},
        {"America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z"},
        {"Asia/Kolkata", "2026-01-01 05:30:00", "2026-01-01T00:00:00Z"},
        {"Australia/Lord_Howe", "2026-10-04 02:15:00", "2026-10-03T15:45:00Z"},
        {"Pacific/Apia", "2011-12-30 12:00:00", "2011-12-30T22:00:00Z"},
        {"UTC", "2024-02-29 23:59:59", "2024-02-29T23:59:59Z"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t ms = 0;
        assert_int_equal(rc_local_time_parse(zone(good[i].zone), good[i].text, strlen(good[i].text), &ms), RC_OK);
        assert_instant(ms, good[i].utc);
    }
    const char *bad[] = {"",
                         "2026",
                         "2026-01-31 ",
                         "2026-01-31 9:15:00",
                         "2026-01-31 09:15:00Z",
                         "2026-02-30 00:00:00",
                         "2026-01-31x09:15:00"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t ms = 0;
        assert_int_equal(rc_local_time_parse(zone("UTC"), bad[i], strlen(bad[i]), &ms), RC_FAIL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(zone_folder_from_the_environment),
        cmocka_unit_test(offsets),
        cmocka_unit_test(beyond_the_table),
        cmocka_unit_test(days),
        cmocka_unit_test(midnights_that_are_none),
        cmocka_unit_test(weeks_months_quarters_years),
        cmocka_unit_test(hours),
        cmocka_unit_test(next_agrees_with_start),
        cmocka_unit_test(far_instants_do_not_overflow),
        cmocka_unit_test(rfc3339),
        cmocka_unit_test(local_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
