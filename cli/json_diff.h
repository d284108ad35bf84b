/* Where two JSON values differ, in words that a person can follow back to the file. */
#ifndef RC_CLI_JSON_DIFF_H
#define RC_CLI_JSON_DIFF_H

#include <jansson.h>

/* [{"path": "where.and[1].count.ge", "from": 3, "to": 5}…], in the order of the new value and then of what is gone; "from" is left out
 * where there was nothing before, "to" where there is nothing any more. Objects are compared key by key, arrays place by place. Owned by the
 * caller. */
json_t *rc_cli_json_diff(const json_t *from, const json_t *to);

/* Prints each difference on a line behind `indent`: "path: 3 -> 5", "+ path: 5", "- path: 3". Long values are cut. */
void rc_cli_json_diff_print(const json_t *differences, const char *indent);

#endif
