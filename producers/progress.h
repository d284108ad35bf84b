/* Progress on stderr: one line that is written over on a terminal, a log line every five seconds elsewhere. */
#ifndef RC_PRODUCERS_PROGRESS_H
#define RC_PRODUCERS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

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

/* Before something else is written to stderr. */
void rc_progress_pause(struct rc_progress *progress);

/* Clears the line. */
void rc_progress_end(struct rc_progress *progress, uint64_t count);

#endif
