/* Stopping: one flag and one file descriptor that wakes every loop that polls it.
 *
 * A signal handler does two things that are safe there: it sets a flag and writes to an eventfd. Nobody reads the stop eventfd, so it
 * stays readable and all threads that poll it wake. The second SIGTERM or SIGINT ends the process at once (exit 143, 130).
 * SIGHUP counts; the main thread of a command watches the count and re-reads the configuration (base/process.h).
 * The mistake that this prevents: a loop that sleeps through SIGTERM because its flag was looked at before the wait began. */
#ifndef RC_BASE_SIGNAL_H
#define RC_BASE_SIGNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* A request to stop, as a consumer sees it. Any thread may look at it or make it. */
struct rc_stop {
    _Atomic bool requested;
    int fd; /* eventfd, readable once a stop is requested; poll it together with what the loop waits for. -1: none */
};

rc_status rc_stop_init(struct rc_stop *stop, struct rc_error *err) RC_MUST_USE;
void rc_stop_deinit(struct rc_stop *stop);

/* Asks for the stop. Async-signal-safe. */
void rc_stop_request(struct rc_stop *stop);

static inline bool rc_stop_requested(const struct rc_stop *stop) {
    return atomic_load_explicit(&stop->requested, memory_order_acquire);
}

/* Waits until a stop is requested or `timeout_ms` have passed (< 0: for ever). True when a stop is requested. */
bool rc_stop_wait(const struct rc_stop *stop, int64_t timeout_ms);

/* Installs the handlers for SIGTERM, SIGINT and SIGHUP (and ignores SIGPIPE), which work on `stop`: borrowed until the process ends.
 * Once per process. */
rc_status rc_signal_install(struct rc_stop *stop, struct rc_error *err) RC_MUST_USE;

/* How many SIGHUPs have come. */
uint32_t rc_signal_hups(void);

#endif
