/* IANA time zones from the system's TZif files (RFC 8536, version 2+, with the footer's POSIX rule for instants after the
 * last transition). libc offers only one process-wide zone, which is of no use to a program that serves many at once.
 *
 * All instants are milliseconds since the epoch, UTC, as int64. Local dates are proleptic Gregorian, years 1–9999. */
#ifndef RC_BASE_TIMEZONE_H
#define RC_BASE_TIMEZONE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct rc_timezone; /* immutable once loaded; may be shared between threads */

enum rc_calendar_unit { RC_HOUR, RC_DAY, RC_WEEK, RC_MONTH, RC_QUARTER, RC_YEAR };

/* Loads zone `name` ("UTC", "Europe/Stockholm"). Cached for the life of the process: the same name gives the same pointer,
 * borrowed for ever. Fails (POISON) on an unknown name, naming it and the nearest known one where that is cheap. Thread-safe. */
rc_status rc_timezone_load(const char *name, const struct rc_timezone **out, struct rc_error *err) RC_MUST_USE;

const char *rc_timezone_name(const struct rc_timezone *zone);

/* Offset from UTC in force at `at_ms`, in ms (local = UTC + offset). */
int64_t rc_timezone_offset(const struct rc_timezone *zone, int64_t at_ms);

/* Start of the unit that holds `at_ms`, moved by `units` units (negative: earlier). A unit of a day or more starts at the first
 * instant of its local date (weeks on Monday, quarters in January, April, July, October); when the clock skips midnight, at
 * the first instant that carries that date. RC_HOUR is elapsed time: at_ms less its local minutes, seconds and milliseconds,
 * n units away is n · 3,600,000 ms. */
int64_t rc_calendar_start(const struct rc_timezone *zone, enum rc_calendar_unit unit, int64_t at_ms, int64_t units);

/* Least instant > at_ms at which rc_calendar_start(zone, unit, ·, 0) takes another value. */
int64_t rc_calendar_next(const struct rc_timezone *zone, enum rc_calendar_unit unit, int64_t at_ms);

/* Local hour 0–23 and ISO weekday 1 (Monday) – 7. */
int rc_local_hour(const struct rc_timezone *zone, int64_t at_ms);
int rc_local_weekday(const struct rc_timezone *zone, int64_t at_ms);

/* ---- local dates as numbers: days since 1970-01-01 ---- */

int64_t rc_local_date(const struct rc_timezone *zone, int64_t at_ms);

/* First instant at which the local clock shows `ms_of_day` (0 – 86,399,999) of `date` or has passed it: the first of two when that time
 * comes twice, the first instant behind the gap when the clock skips it. */
int64_t rc_local_instant(const struct rc_timezone *zone, int64_t date, int64_t ms_of_day);

/* Day of the month, 1–31. */
int rc_date_day(int64_t date);

/* The date in the month `months` after that of `date` (negative: before) with the day of the month `day`, or that month's last. */
int64_t rc_date_in_month(int64_t date, int64_t months, int day);

/* RFC 3339 with an offset ("2026-01-31T09:15:00.5+01:00", "…Z") to ms, finer digits rounded towards minus infinity.
 * RC_FAIL when `text` is not that or lies outside the years 1–9999. No error text: the caller knows what it was for. */
rc_status rc_rfc3339_parse(const char *text, size_t len, int64_t *out_ms) RC_MUST_USE;

/* Writes "YYYY-MM-DDTHH:MM:SS.mmmZ" and NUL: 25 bytes. */
void rc_rfc3339_format(int64_t at_ms, char out[25]);

/* Local civil time ("2026-01-31 09:15:00[.fff]" or with T, date alone allowed) in `zone` to ms; a time that the clock skips
 * moves forward by the gap, one that comes twice is the first. */
rc_status rc_local_time_parse(const struct rc_timezone *zone, const char *text, size_t len, int64_t *out_ms)
    RC_MUST_USE;

#endif
