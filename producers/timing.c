#include "producers/timing.h"

#include <inttypes.h>

/* 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999Z: definitions.md §2 accepts nothing outside. */
#define TIME_MIN_MS INT64_C(-62135596800000)
#define TIME_MAX_MS INT64_C(253402300799999)

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

/* A decimal integer with an optional sign and nothing else. */
static bool integer_parse(struct rc_span text, int64_t *out) {
    size_t i = 0;
    bool negative = text.len > 0 && text.data[0] == '-';
    if (negative)
        i = 1;
    if (i == text.len || text.len - i > 19)
        return false;
    uint64_t value = 0;
    for (; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (value > (uint64_t)INT64_MAX)
        return false;
    *out = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

rc_status rc_timing_parse(struct rc_span text, enum rc_time_unit unit, const struct rc_timezone *zone,
                          int64_t *out_ms) {
    int64_t value, ms;
    if (integer_parse(text, &value)) {
        if (unit == RC_UNIT_S && __builtin_mul_overflow(value, INT64_C(1000), &ms))
            return RC_FAIL;
        if (unit == RC_UNIT_US)
            ms = floor_div(value, 1000);
        else if (unit != RC_UNIT_S)
            ms = value;
    } else if (rc_rfc3339_parse(text.data, text.len, &ms) != RC_OK &&
               rc_local_time_parse(zone, text.data, text.len, &ms) != RC_OK) {
        return RC_FAIL;
    }
    if (ms < TIME_MIN_MS || ms > TIME_MAX_MS)
        return RC_FAIL;
    *out_ms = ms;
    return RC_OK;
}

int64_t rc_timing_map(const struct rc_timing *timing, int64_t at_ms) {
    int64_t out = at_ms;
    if (timing->mode == RC_TIMING_KEEP)
        return out; /* what the file says is not touched, so nothing is rounded either */
    if (timing->mode == RC_TIMING_SHIFT) {
        out = at_ms + (timing->start_ms - timing->last_ms);
    } else {
        int64_t length = timing->last_ms - timing->first_ms;
        /* 128 bits: ten thousand years in ms times a day in ms does not fit into 64. */
        __int128 scaled = length > 0 ? (__int128)(at_ms - timing->first_ms) * timing->span_ms / length : 0;
        out = timing->start_ms + (int64_t)scaled;
    }
    if (timing->unit == RC_UNIT_S)
        out = floor_div(out, 1000) * 1000;
    return out;
}

rc_status rc_timing_write(struct rc_buf *out, enum rc_time_unit unit, int64_t at_ms) {
    if (unit == RC_UNIT_RFC3339) {
        char text[25];
        rc_rfc3339_format(at_ms, text);
        return rc_buf_add_str(out, text);
    }
    if (unit == RC_UNIT_S)
        return rc_buf_printf(out, "%" PRId64, floor_div(at_ms, 1000));
    return rc_buf_printf(out, "%" PRId64, unit == RC_UNIT_US ? at_ms * 1000 : at_ms);
}
