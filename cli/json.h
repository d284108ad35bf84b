/* JSON on stdout: one object a line. */
#ifndef RC_CLI_JSON_H
#define RC_CLI_JSON_H

#include <jansson.h>
#include <stdint.h>

/* Prints one line and releases `value` (taken). A number with a fraction is the shortest text that reads back the same. */
void rc_cli_json_print(json_t *value);

/* JSON text as people read it: indented, numbers in their short form. Text that is none comes back as it is. Owned by the caller. */
char *rc_cli_json_pretty(const char *json);

/* ms since the epoch as RFC 3339 text; "-" for 0 and less. Into `out`, which is returned. */
const char *rc_cli_time(int64_t at_ms, char out[25]);

/* An amount of seconds as a person reads it: "850 us", "12 ms", "3.4 s", "5 m", "2 h", "-" when negative. */
const char *rc_cli_seconds(double seconds, char out[32]);

#endif
