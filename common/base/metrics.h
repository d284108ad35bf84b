/* Metrics: counters, gauges and histograms, updated without locks, written in Prometheus' text format.
 *
 * A series is a name and its labels. Registering takes a lock and gives a pointer that stays valid as long as the registry;
 * registering the same name and labels again gives the same series. Updates through the pointer are single atomic operations:
 * keep the pointer, do not look a series up on the hot path.
 * Names: rollcall_<module>_<what>[_<unit>], counters end in _total, times are in seconds. Person ids are never labels.
 *
 * A module declares its metrics as one X-macro table, e.g.
 *     #define INGEST_METRICS(X) \
 *         X(counter, records, "rollcall_ingest_records_total", "Records read") \
 *         X(histogram, latency, "rollcall_ingest_event_to_change_seconds", "Event timestamp to change emitted")
 *     struct ingest_metrics { INGEST_METRICS(RC_METRIC_MEMBER) };
 *     INGEST_METRICS(RC_METRIC_REGISTER)   // with `metrics` (struct rc_metrics *) and `m` (the struct) in scope; no labels
 */
#ifndef RC_BASE_METRICS_H
#define RC_BASE_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct rc_metrics; /* a registry; thread-safe */

struct rc_label {
    const char *name;  /* a literal */
    const char *value; /* copied */
};

struct rc_counter {
    _Atomic uint64_t value;
};

struct rc_gauge {
    _Atomic double value;
};

#define RC_HISTOGRAM_BUCKETS 22

struct rc_histogram {
    _Atomic uint64_t buckets[RC_HISTOGRAM_BUCKETS + 1]; /* not cumulative; the last one is +Inf */
    _Atomic uint64_t sum_ns;
};

/* Upper bounds of the buckets in seconds: 50 µs … 300 s, about 2 to a doubling where latencies of a healthy pipeline lie. */
extern const double rc_histogram_bounds_s[RC_HISTOGRAM_BUCKETS];

struct rc_metrics *rc_metrics_new(void);
void rc_metrics_free(struct rc_metrics *metrics);

/* `name` and `help` are literals (borrowed for ever); labels may be NULL when n_labels is 0. A name that is registered with two types is
 * a mistake of the program and aborts. Cost: a lock and a search; not for the hot path. */
struct rc_counter *rc_counter_register(struct rc_metrics *metrics, const char *name, const char *help,
                                       const struct rc_label *labels, size_t n_labels);
struct rc_gauge *rc_gauge_register(struct rc_metrics *metrics, const char *name, const char *help,
                                   const struct rc_label *labels, size_t n_labels);
struct rc_histogram *rc_histogram_register(struct rc_metrics *metrics, const char *name, const char *help,
                                           const struct rc_label *labels, size_t n_labels);

/* Takes every series that carries the label `name`=`value` out of the exposition: an audience that was deleted, a partition that went
 * elsewhere. Pointers stay valid; registering again brings the series back with the values that it had. */
void rc_metrics_hide(struct rc_metrics *metrics, const char *label_name, const char *label_value);

/* Appends all series in Prometheus' text format 0.0.4, families in order of registration. */
rc_status rc_metrics_write(struct rc_metrics *metrics, struct rc_buf *out) RC_MUST_USE;

/* ---- updates: lock-free, relaxed --------------------------------------------------------------------------------------- */

static inline void rc_counter_add(struct rc_counter *counter, uint64_t n) {
    atomic_fetch_add_explicit(&counter->value, n, memory_order_relaxed);
}

static inline void rc_counter_inc(struct rc_counter *counter) {
    rc_counter_add(counter, 1);
}

static inline uint64_t rc_counter_get(const struct rc_counter *counter) {
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

static inline void rc_gauge_set(struct rc_gauge *gauge, double value) {
    atomic_store_explicit(&gauge->value, value, memory_order_relaxed);
}

void rc_gauge_add(struct rc_gauge *gauge, double delta);

static inline double rc_gauge_get(const struct rc_gauge *gauge) {
    return atomic_load_explicit(&gauge->value, memory_order_relaxed);
}

/* One observation; a negative one (clocks of two machines) counts as 0. */
void rc_histogram_observe_ns(struct rc_histogram *histogram, int64_t ns);

static inline void rc_histogram_observe_ms(struct rc_histogram *histogram, int64_t ms) {
    rc_histogram_observe_ns(histogram, ms * 1000000);
}

uint64_t rc_histogram_count(const struct rc_histogram *histogram);

/* The q-quantile (0 < q < 1) in seconds, interpolated inside its bucket as Prometheus' histogram_quantile does; NaN when empty. */
double rc_histogram_quantile_s(const struct rc_histogram *histogram, double q);

/* ---- tables -------------------------------------------------------------------------------------------------------------- */

#define RC_METRIC_MEMBER(type, member, name, help) struct rc_##type *member;
#define RC_METRIC_REGISTER(type, member, name, help) m->member = rc_##type##_register(metrics, name, help, NULL, 0);

#endif
