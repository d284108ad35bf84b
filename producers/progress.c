#include "producers/progress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#define TERMINAL_EVERY_MS 250
#define LOG_EVERY_MS 5000

void rc_progress_init(struct rc_progress *progress, bool quiet, int64_t total_bytes) {
    *progress = (struct rc_progress){.quiet = quiet, .terminal = isatty(STDERR_FILENO), .total_bytes = total_bytes};
    progress->started_ms = progress->shown_ms = rc_clock_monotonic_ms();
}

bool rc_progress_due(const struct rc_progress *progress, uint64_t count) {
    if (progress->quiet || (count & 31) != 0)
        return false;
    return rc_clock_monotonic_ms() - progress->shown_ms >= (progress->terminal ? TERMINAL_EVERY_MS : LOG_EVERY_MS);
}

void rc_progress_show(struct rc_progress *progress, const char *what, uint64_t count, uint64_t total) {
    int64_t now = rc_clock_monotonic_ms();
    int64_t passed = now - progress->shown_ms;
    uint64_t since =
        count >= progress->shown_count ? count - progress->shown_count : count; /* another phase counts anew */
    double rate = passed > 0 ? (double)since * 1000 / (double)passed : 0;
    double share = -1;
    if (total > 0)
        share = (double)count / (double)total * 100;
    else if (progress->total_bytes > 0)
        share = (double)progress->read_bytes / (double)progress->total_bytes * 100;
    progress->shown_ms = now;
    progress->shown_count = count;
    if (progress->terminal) {
        if (share >= 0)
            fprintf(stderr, "\r%s: %" PRIu64 " records, %.0f/s, %.0f %%   ", what, count, rate, share);
        else
            fprintf(stderr, "\r%s: %" PRIu64 " records, %.0f/s   ", what, count, rate);
        progress->open = true;
    } else {
        struct rc_log_field fields[] = {rc_f_int("records", (int64_t)count),
                                        rc_f_int("per_second", (int64_t)rate),
                                        rc_f_int("percent", (int64_t)share),
                                        {0}};
        if (share < 0)
            fields[2].key = NULL;
        rc_log_write(RC_LOG_INFO, what, fields);
    }
}

void rc_progress_tell(struct rc_progress *progress, const char *fmt, ...) {
    struct rc_buf text;
    rc_buf_init(&text, 8192);
    va_list ap;
    va_start(ap, fmt);
    rc_buf_vprintf(&text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "%srollcall: %s\n", progress->open ? "\n" : "", text.data ? text.data : "");
    rc_buf_deinit(&text);
    progress->open = false;
}

void rc_progress_clear(struct rc_progress *progress) {
    if (progress->open)
        fprintf(stderr, "\r%*s\r", 70, "");
    progress->open = false;
}

void rc_progress_end(struct rc_progress *progress, uint64_t count) {
    rc_progress_clear(progress);
    int64_t ms = rc_clock_monotonic_ms() - progress->started_ms;
    rc_log(RC_LOG_INFO, "sent", rc_f_int("records", (int64_t)count), rc_f_int("ms", ms),
           rc_f_int("per_second", ms > 0 ? (int64_t)((double)count * 1000 / (double)ms) : 0));
}
