/* How long it takes from an event to the profile, over all processes: each tells the buckets of its histograms, and these add up exactly. */
#ifndef RC_CLI_STATUS_LATENCY_H
#define RC_CLI_STATUS_LATENCY_H

#include "cli/processes.h"
#include "cli/table.h"

/* The hops: event to segment change, due time to segment change, segment change to membership, membership to store, and all of it. */
void rc_cli_hops_print(const struct rc_cli_processes *processes);
/* One line of JSON each: {"type": "latency", "hop", "count", "p50", "p99"}, seconds, null where nothing was measured. */
void rc_cli_hops_json(const struct rc_cli_processes *processes);

/* Event to profile of one audience: {"count", "p50", "p99"}. In the destination `profiles` where it goes there, else in all of its. Owned by
 * the caller. */
json_t *rc_cli_audience_latency(const struct rc_cli_processes *processes, const char *audience);
/* The same as a cell "p50 / p99". */
void rc_cli_audience_latency_cell(const struct rc_cli_processes *processes, const char *audience,
                                  struct rc_cli_table *table);

#endif
