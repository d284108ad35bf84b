#include "cli/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/timezone.h"
#include "segment/definition_json.h"

void rc_cli_json_print(json_t *value) {
    char *text = value ? rc_def_write_text(value, SIZE_MAX) : NULL;
    if (!text)
        abort(); /* what is printed is built here, from valid UTF-8 */
    puts(text);
    free(text);
    json_decref(value);
}

char *rc_cli_json_pretty(const char *json) {
    json_t *value = json_loads(json, 0, NULL);
    char *text = value ? json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(value);
    return text ? text : rc_strdup(json);
}

const char *rc_cli_time(int64_t at_ms, char out[25]) {
    if (at_ms > 0)
        rc_rfc3339_format(at_ms, out);
    else
        snprintf(out, 25, "-");
    return out;
}

const char *rc_cli_seconds(double seconds, char out[32]) {
    if (isnan(seconds) || seconds < 0)
        snprintf(out, 32, "-");
    else if (seconds > 0 && seconds < 0.001)
        snprintf(out, 32, "%.0f us", seconds * 1e6);
    else if (seconds > 0 && seconds < 1)
        snprintf(out, 32, "%.3g ms", seconds * 1e3);
    else if (seconds < 120)
        snprintf(out, 32, "%.3g s", seconds);
    else if (seconds < 7200)
        snprintf(out, 32, "%.0f m", seconds / 60);
    else if (seconds < 172800)
        snprintf(out, 32, "%.0f h", seconds / 3600);
    else
        snprintf(out, 32, "%.0f d", seconds / 86400);
    return out;
}
