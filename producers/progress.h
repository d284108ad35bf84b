/* Progress on stderr: one line that is written over on a terminal, a log line every five seconds elsewhere. */
#ifndef RC_PRODUCERS_PROGRESS_H
#define RC_PRODUCERS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct rc_progress {
    bool quiet, terminal, open; /* open: the terminal's cursor stands behind a line */
    int64_t total_bytes;        /* of the files; 0: not known */
    int64_t read_bytes;         /* the caller keeps it up to date */
    int64_t started_ms, shown_ms;
    uint64_t shown_count;
};

void rc_progress_init(struct rc_progress *progress, bool quiet, int64_t total_bytes);

/* Whether it is time to show something; cheap, to be asked for each record (`count` of them so far). */
bool rc_progress_due(const struct rc_progress *progress, uint64_t count);

/* `what`: "reading", "sending". `total`: records in all; 0: the share of bytes read is shown instead, where that is known. */
void rc_progress_show(struct rc_progress *progress, const char *what, uint64_t count, uint64_t total);

/* Says something about a single row, which belongs to the command's result: written whatever `log.level` and `quiet` are. The progress
 * line makes way. */
void rc_progress_tell(struct rc_progress *progress, const char *fmt, ...) RC_PRINTF(2, 3);

/* Clears the line. */
void rc_progress_clear(struct rc_progress *progress);

/* Clears the line, and logs how many were sent. */
void rc_progress_end(struct rc_progress *progress, uint64_t count);

#endif
