/* Records put aside until all of them are known: for --sort, --shift and --pace, which need the last time before the first record can go.
 *
 * The bytes lie in an unlinked temporary file ($TMPDIR, else /tmp), so a file larger than memory can be sorted, and a crash leaves
 * nothing behind; in memory is an index of 24 bytes a record. */
#ifndef RC_PRODUCERS_SPOOL_H
#define RC_PRODUCERS_SPOOL_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

struct rc_spool;

/* `max_records`: the ceiling of the index. Fails (FATAL, exit 70) when no temporary file can be made. */
rc_status rc_spool_open(uint64_t max_records, struct rc_spool **out, struct rc_error *err) RC_MUST_USE;
void rc_spool_close(struct rc_spool *spool);

/* Appends a record. Fails on a full disk or past the ceiling, saying so. */
rc_status rc_spool_add(struct rc_spool *spool, int64_t at_ms, struct rc_span key, struct rc_span value,
                       struct rc_error *err) RC_MUST_USE;

/* Orders by time; equal times stay in the order of adding. */
void rc_spool_sort(struct rc_spool *spool);

uint64_t rc_spool_count(const struct rc_spool *spool);
/* Time of record `i` in the present order. */
int64_t rc_spool_time(const struct rc_spool *spool, uint64_t i);
/* Least and greatest time; 0 and 0 when empty. */
void rc_spool_range(const struct rc_spool *spool, int64_t *first_ms, int64_t *last_ms);

/* Reads record `i` into `scratch`; key and value point into it. */
rc_status rc_spool_read(struct rc_spool *spool, uint64_t i, struct rc_buf *scratch, struct rc_span *key,
                        struct rc_span *value, struct rc_error *err) RC_MUST_USE;

#endif
