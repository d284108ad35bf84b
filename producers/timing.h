/* Where an event's time comes from and goes to: reading the texts that files hold, `--shift now`, `--pace`.
 *
 * Pure: no clock, no I/O. All instants are milliseconds since the epoch, UTC. The mistake it prevents: two places that round a mapped
 * time differently, so that an event carries one millisecond and is sent in another. */
#ifndef RC_PRODUCERS_TIMING_H
#define RC_PRODUCERS_TIMING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"
#include "codec/dataset.h"

/* Reads a time as files hold it: an integer (in `unit`; ms for RFC3339 datasets), RFC 3339 with an offset, or a local date and time without
 * an offset, in `zone`. RC_FAIL when it is none of these or lies outside the years 1–9999. */
rc_status rc_timing_parse(struct rc_span text, enum rc_time_unit unit, const struct rc_timezone *zone, int64_t *out_ms)
    RC_MUST_USE;

enum rc_timing_mode { RC_TIMING_KEEP, RC_TIMING_SHIFT, RC_TIMING_PACE };

/* The map from a file's times to the times that are sent. Linear and monotone: what is in order stays in order. */
struct rc_timing {
    enum rc_timing_mode mode;
    enum rc_time_unit unit;    /* the form that the dataset writes: a mapped time is rounded down to what it can say */
    int64_t first_ms, last_ms; /* the file's least and greatest time */
    int64_t start_ms;          /* PACE: where first_ms goes; SHIFT: where last_ms goes */
    int64_t span_ms;           /* PACE: first_ms…last_ms is squeezed (or stretched) into this */
};

/* SHIFT: at + (start − last). PACE: start + (at − first) · span / (last − first), rounded down; all at `start` when first = last. KEEP:
 * unchanged. Then rounded down to whole seconds for unit s. */
int64_t rc_timing_map(const struct rc_timing *timing, int64_t at_ms);

/* Appends the time as the dataset writes it: integer in ms, s or us, or RFC 3339 text (without quotes). */
rc_status rc_timing_write(struct rc_buf *out, enum rc_time_unit unit, int64_t at_ms) RC_MUST_USE;

#endif
