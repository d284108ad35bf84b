/* Values with units: durations and sizes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* An integer and one of the units; white space between them is allowed. A minus sign is not. */
static rc_status parse_with_unit(const char *text, const struct unit *units, size_t n, int64_t *out) {
    if (*text < '0' || *text > '9')
        return RC_FAIL;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno)
        return RC_FAIL;
    while (*end == ' ')
        end++;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(end, units[i].name) == 0) {
            int64_t value;
            if (__builtin_mul_overflow((int64_t)number, units[i].factor, &value))
                return RC_FAIL;
            *out = value;
            return RC_OK;
        }
    }
    return RC_FAIL;
}

rc_status rc_duration_parse(const char *text, int64_t *out_ms) {
    static const struct unit units[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};
    return parse_with_unit(text, units, sizeof units / sizeof *units, out_ms);
}

rc_status rc_bytes_parse(const char *text, int64_t *out_bytes) {
    static const struct unit units[] = {{"", 1},
                                        {"B", 1},
                                        {"KiB", INT64_C(1) << 10},
                                        {"MiB", INT64_C(1) << 20},
                                        {"GiB", INT64_C(1) << 30},
                                        {"TiB", INT64_C(1) << 40}};
    return parse_with_unit(text, units, sizeof units / sizeof *units, out_bytes);
}
