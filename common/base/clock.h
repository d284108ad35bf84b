/* The two clocks of the machine. Logic takes time as a parameter; only the outermost loops ask here.
 * Wall: UTC milliseconds since the epoch, may jump. Monotonic: since some start, never jumps, runs on while a process is stopped
 * (SIGSTOP shows as a gap, which is how the main loops notice it). */
#ifndef RC_BASE_CLOCK_H
#define RC_BASE_CLOCK_H

#include <stdint.h>

int64_t rc_clock_wall_ms(void);
int64_t rc_clock_wall_us(void);
int64_t rc_clock_monotonic_ms(void);
int64_t rc_clock_monotonic_ns(void);

#endif
