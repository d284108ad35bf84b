/* Per audience, how long it takes from an event to the profile. A histogram an audience, up to a number of them: labels that come from definitions
 * must not grow without a bound. */
#ifndef RC_SINK_LATENCY_H
#define RC_SINK_LATENCY_H

#include <jansson.h>

#include "base/metrics.h"
#include "base/span.h"

/* Audiences with a histogram of their own, for the life of the process: the first that have changes. All further ones share one, under the name
 * RC_SINK_LATENCY_REST. */
#define RC_SINK_LATENCY_AUDIENCES 200
#define RC_SINK_LATENCY_REST "_others"

struct rc_sink_latency;

/* `metrics` and `destination` are borrowed for its life. */
struct rc_sink_latency *rc_sink_latency_new(struct rc_metrics *metrics, const char *destination);
void rc_sink_latency_free(struct rc_sink_latency *latency);

/* One change was applied, so long after its event. The worker's thread. */
void rc_sink_latency_observe(struct rc_sink_latency *latency, struct rc_span audience, int64_t ms);
/* Appends {"audience", "destination", "count", "p50", "p99", "buckets"} of each that has had one to `list`. Any thread. */
void rc_sink_latency_tell(struct rc_sink_latency *latency, json_t *list);

#endif
