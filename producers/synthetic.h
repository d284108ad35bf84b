/* The load of the benchmarks: `rollcall produce --synthetic`.
 *
 * Avro events of about 120 bytes (bench/event.avsc), persons drawn as floor(N·u³) so that few are hot and many are cold, some late,
 * some sent twice, all of it decided by the seed alone. The events themselves are pure (rc_synthetic_next: no I/O, no clock), so a
 * test or a benchmark can make the very same ones. */
#ifndef RC_PRODUCERS_SYNTHETIC_H
#define RC_PRODUCERS_SYNTHETIC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/config.h"
#include "base/error.h"
#include "base/signal.h"

struct rc_synthetic_options {
    uint64_t seed;
    uint64_t persons;    /* N; 0: 1,000,000 */
    bool in_turn;        /* persons in turn, each once in N events, instead of floor(N·u³): all equally often */
    double late;         /* share of events whose time lies behind, 0…1; performance.md: 0.05 */
    double twice;        /* share of events that are sent a second time, 0…1; performance.md: 0.01 */
    int64_t late_max_ms; /* how far behind a late one is, at most; 0: one hour */
};

struct rc_synthetic; /* the stream's state: the random numbers and what is still to be sent twice */

struct rc_synthetic *rc_synthetic_new(const struct rc_synthetic_options *options);
void rc_synthetic_free(struct rc_synthetic *synthetic);

/* Puts the next event into `key` (ns:id) and `value` (a plain Avro datum of bench/event.avsc); both are reset first. `at_ms`: the time of
 * an event that is neither late nor a repetition; it should not go back. Returns the time that the event carries. A repetition comes
 * RC_SYNTHETIC_REPEAT_AFTER events behind its first, byte for byte the same. Allocates only while the buffers grow. */
int64_t rc_synthetic_next(struct rc_synthetic *synthetic, int64_t at_ms, struct rc_buf *key, struct rc_buf *value);
#define RC_SYNTHETIC_REPEAT_AFTER 500

/* Sends `events` of them (repetitions count) to `topic`. */
struct rc_synthetic_run_options {
    struct rc_synthetic_options load;
    const struct rc_config *config; /* borrowed: kafka.* */
    const char *topic;
    uint64_t events;
    double rate; /* per second; 0: as fast as it goes */
    int64_t
        first_ms; /* without a rate: the time of the first event; 0: so that the last one is now. With a rate events carry the time of
                         their sending */
    int64_t step_us; /* without a rate: from one event to the next, in microseconds; 0: 1000 */
    bool quiet;      /* no progress on stderr */
    const struct rc_stop *stop;
};
rc_status rc_synthetic_run(const struct rc_synthetic_run_options *options, uint64_t *sent, struct rc_error *err)
    RC_MUST_USE;

#endif
