/* Owns the histograms by audience. The mistake that it prevents: ten thousand audiences with 23 series each in one exposition. */
#include "consumers/sink/latency.h"

#include <pthread.h>
#include <stdlib.h>

#include <xxhash.h>

#include "base/alloc.h"
#include "base/process.h"

#define SLOTS 512 /* a power of two, more than twice the audiences */

struct entry {
    char *audience; /* owned */
    struct rc_histogram *histogram;
};

struct rc_sink_latency {
    struct rc_metrics *metrics;
    const char *destination;
    pthread_mutex_t lock; /* held by the worker to change, by others to read */
    struct entry entries[RC_SINK_LATENCY_AUDIENCES + 1];
    size_t n;
    uint16_t slots[SLOTS]; /* open addressing: index + 1; the worker's alone */
    struct rc_histogram *rest;
};

static struct rc_histogram *add(struct rc_sink_latency *latency, const char *audience) {
    struct rc_label labels[] = {{"audience", audience}, {"destination", latency->destination}};
    struct rc_histogram *histogram = rc_histogram_register(
        latency->metrics, "rollcall_sink_audience_event_to_profile_seconds",
        "Timestamp of the deciding event to profile changed, by audience", labels, sizeof labels / sizeof *labels);
    pthread_mutex_lock(&latency->lock);
    latency->entries[latency->n++] = (struct entry){rc_strdup(audience), histogram};
    pthread_mutex_unlock(&latency->lock);
    return histogram;
}

struct rc_sink_latency *rc_sink_latency_new(struct rc_metrics *metrics, const char *destination) {
    struct rc_sink_latency *latency = rc_calloc(1, sizeof *latency);
    latency->metrics = metrics;
    latency->destination = destination;
    pthread_mutex_init(&latency->lock, NULL);
    return latency;
}

void rc_sink_latency_free(struct rc_sink_latency *latency) {
    if (!latency)
        return;
    for (size_t i = 0; i < latency->n; i++)
        free(latency->entries[i].audience);
    pthread_mutex_destroy(&latency->lock);
    free(latency);
}

/* The slot of the audience, or the free one where it belongs. */
static uint16_t *slot_of(struct rc_sink_latency *latency, struct rc_span audience) {
    for (size_t at = XXH3_64bits(audience.data, audience.len) % SLOTS;; at = (at + 1) % SLOTS) {
        uint16_t *slot = &latency->slots[at];
        if (*slot == 0 || rc_span_equal(rc_span_str(latency->entries[*slot - 1].audience), audience))
            return slot;
    }
}

void rc_sink_latency_observe(struct rc_sink_latency *latency, struct rc_span audience, int64_t ms) {
    uint16_t *slot = slot_of(latency, audience);
    struct rc_histogram *histogram;
    if (*slot) {
        histogram = latency->entries[*slot - 1].histogram;
    } else if (latency->n - (latency->rest != NULL) < RC_SINK_LATENCY_AUDIENCES) {
        char *name = rc_span_dup(audience);
        histogram = add(latency, name);
        *slot = (uint16_t)latency->n;
        free(name);
    } else {
        if (!latency->rest)
            latency->rest = add(latency, RC_SINK_LATENCY_REST);
        histogram = latency->rest;
    }
    rc_histogram_observe_ms(histogram, ms);
}

void rc_sink_latency_tell(struct rc_sink_latency *latency, json_t *list) {
    pthread_mutex_lock(&latency->lock);
    for (size_t i = 0; i < latency->n; i++) {
        json_t *row = rc_process_latency(latency->entries[i].histogram);
        json_object_set_new(row, "audience", json_string(latency->entries[i].audience));
        json_object_set_new(row, "destination", json_string(latency->destination));
        json_array_append_new(list, row);
    }
    pthread_mutex_unlock(&latency->lock);
}
