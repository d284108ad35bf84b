/* Sleeping and waking: the main loop of a consumer waits here for whatever comes first of a message, a delivery
 * report, a signal or a point in time. librdkafka's queues write to the loop's eventfd, so an idle process uses no
 * CPU, and latency is not bound to a poll interval.
 *
 * The mistake that it prevents: taking one's own standstill (SIGSTOP, a suspended machine, a long stall) for the
 * passing of time. A wait lasts RC_LOOP_NAP_MS at most, and rc_loop_wait says when more than RC_LOOP_GAP_MS went by
 * between two calls. */
#ifndef RC_KAFKA_LOOP_H
#define RC_KAFKA_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define RC_LOOP_NAP_MS 400
#define RC_LOOP_GAP_MS 1000

struct rc_loop;

rc_status rc_loop_open(struct rc_loop **out, struct rc_error *err) RC_MUST_USE;
void rc_loop_close(struct rc_loop *loop);

/* The eventfd to hand to sources and producers (`wake_fd` in their options). Borrowed for the loop's life. */
int rc_loop_fd(const struct rc_loop *loop);

/* Makes the present or the next rc_loop_wait return at once. Safe from other threads and from signal handlers. */
void rc_loop_wake(struct rc_loop *loop);

/* Also wakes when `fd` becomes readable (or writable, as `events` of poll(2) says). At most 16. */
void rc_loop_add(struct rc_loop *loop, int fd, short events);
void rc_loop_remove(struct rc_loop *loop, int fd);
/* True when the last wait ended with something to do on `fd`. */
bool rc_loop_ready(const struct rc_loop *loop, int fd);

/* Waits until something happens or the wall clock reaches `until_ms` (a past instant: only looks). Queues must have
 * been read until they were empty before: librdkafka wakes when a queue stops being empty. Returns false when the
 * process stood still: more than RC_LOOP_GAP_MS since the call before; the caller then calls rc_source_stood_still on
 * its sources. */
bool rc_loop_wait(struct rc_loop *loop, int64_t until_ms) RC_MUST_USE;

/* For long steps between two waits (loading state): the time up to now is no standstill. */
void rc_loop_touch(struct rc_loop *loop);

#endif
