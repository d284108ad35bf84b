#include "base/estimate.h"

#include <math.h>

#define Z95 1.959963984540054 /* the normal distribution's quantile for 95 %, two-sided */

struct rc_estimate rc_estimate_total(uint64_t found, double fraction) {
    if (fraction >= 1)
        return (struct rc_estimate){found, found, found};
    /* With x = N·fraction and c = z²·(1 − fraction) the bounds solve (found − x)² = c·x. */
    double m = (double)found, c = Z95 * Z95 * (1 - fraction);
    double middle = m + c / 2, reach = sqrt(m * c + c * c / 4);
    double low = floor((middle - reach) / fraction), high = ceil((middle + reach) / fraction);
    return (struct rc_estimate){
        .value = (uint64_t)llround(m / fraction),
        .low = low > m ? (uint64_t)low : found, /* those who were found are there */
        .high = (uint64_t)high,
    };
}

void rc_day_ends(const struct rc_timezone *zone, int64_t at_ms, size_t n, int64_t *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = rc_calendar_start(zone, RC_DAY, at_ms, -(int64_t)(n - 1 - i)) - 1;
}
