/* Owns the registry and its text form. Knows nothing of what is measured, nor of HTTP. Updates never take the lock: it guards only the
 * lists, which registration and exposition walk. The mistake that it prevents: a scrape that stalls the data plane. */
#include "base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

enum metric_type { TYPE_COUNTER, TYPE_GAUGE, TYPE_HISTOGRAM };
static const char *const type_names[] = {"counter", "gauge", "histogram"};

/* 50 µs … 300 s. Fine (≤ ×2) from 0.5 ms to 250 ms, where event → change and due → change lie; 100 ms is a bound because a promise
 * is (pipeline.md §3.4). */
const double rc_histogram_bounds_s[RC_HISTOGRAM_BUCKETS] = {
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0075,
    0.01,    0.02,   0.03,    0.05,   0.1,   0.25,   0.5,   1,     5,     30,    300,
};

struct series {
    char *labels; /* `a="b",c="d"`, escaped, or ""; owned */
    bool hidden;
    union {
        struct rc_counter counter;
        struct rc_gauge gauge;
        struct rc_histogram histogram;
    };
    struct series *next; /* owned; in order of registration */
};

struct family {
    const char *name, *help;
    enum metric_type type;
    struct series *first, **last;
    struct family *next;
};

struct rc_metrics {
    pthread_mutex_t lock;
    struct family *first, **last;
};

struct rc_metrics *rc_metrics_new(void) {
    struct rc_metrics *metrics = rc_calloc(1, sizeof *metrics);
    pthread_mutex_init(&metrics->lock, NULL);
    metrics->last = &metrics->first;
    return metrics;
}

void rc_metrics_free(struct rc_metrics *metrics) {
    if (!metrics)
        return;
    for (struct family *family = metrics->first, *next; family; family = next) {
        next = family->next;
        for (struct series *series = family->first, *after; series; series = after) {
            after = series->next;
            free(series->labels);
            free(series);
        }
        free(family);
    }
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

static void add_label_value(struct rc_buf *out, const char *value) {
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            rc_buf_printf(out, "\\%c", *value);
        else if (*value == '\n')
            rc_buf_add_str(out, "\\n");
        else
            rc_buf_add_byte(out, (uint8_t)*value);
    }
}

static char *label_text(const struct rc_label *labels, size_t n_labels) {
    struct rc_buf text;
    rc_buf_init(&text, 16384);
    for (size_t i = 0; i < n_labels; i++) {
        rc_buf_printf(&text, "%s%s=\"", i ? "," : "", labels[i].name);
        add_label_value(&text, labels[i].value);
        rc_buf_add_byte(&text, '"');
    }
    char *owned = rc_span_dup(rc_buf_span(&text));
    rc_buf_deinit(&text);
    return owned;
}

static struct family *find_family(struct rc_metrics *metrics, const char *name, const char *help,
                                  enum metric_type type) {
    for (struct family *family = metrics->first; family; family = family->next) {
        if (strcmp(family->name, name) != 0)
            continue;
        if (family->type != type) {
            fprintf(stderr, "level=fatal msg=\"metric registered with two types\" name=%s types=%s,%s\n", name,
                    type_names[family->type], type_names[type]);
            abort();
        }
        return family;
    }
    struct family *family = rc_calloc(1, sizeof *family);
    family->name = name;
    family->help = help;
    family->type = type;
    family->last = &family->first;
    *metrics->last = family;
    metrics->last = &family->next;
    return family;
}

static struct series *find_series(struct rc_metrics *metrics, const char *name, const char *help, enum metric_type type,
                                  const struct rc_label *labels, size_t n_labels) {
    char *text = label_text(labels, n_labels);
    pthread_mutex_lock(&metrics->lock);
    struct family *family = find_family(metrics, name, help, type);
    struct series *series = family->first;
    while (series && strcmp(series->labels, text) != 0)
        series = series->next;
    if (series) {
        series->hidden = false;
        free(text);
    } else {
        series = rc_calloc(1, sizeof *series);
        series->labels = text;
        *family->last = series;
        family->last = &series->next;
    }
    pthread_mutex_unlock(&metrics->lock);
    return series;
}

struct rc_counter *rc_counter_register(struct rc_metrics *metrics, const char *name, const char *help,
                                       const struct rc_label *labels, size_t n_labels) {
    return &find_series(metrics, name, help, TYPE_COUNTER, labels, n_labels)->counter;
}

struct rc_gauge *rc_gauge_register(struct rc_metrics *metrics, const char *name, const char *help,
                                   const struct rc_label *labels, size_t n_labels) {
    return &find_series(metrics, name, help, TYPE_GAUGE, labels, n_labels)->gauge;
}

struct rc_histogram *rc_histogram_register(struct rc_metrics *metrics, const char *name, const char *help,
                                           const struct rc_label *labels, size_t n_labels) {
    return &find_series(metrics, name, help, TYPE_HISTOGRAM, labels, n_labels)->histogram;
}

/* Whether `labels` (`a="b",c="d"`) holds `pair` (`c="d"`) as one of its labels: between commas, and not inside a value, where a quote
 * would be escaped. */
static bool has_label(const char *labels, const char *pair) {
    size_t len = strlen(pair);
    for (const char *at = strstr(labels, pair); at; at = strstr(at + 1, pair)) {
        bool starts = at == labels || (at[-1] == ',' && at - labels >= 2 && at[-2] == '"');
        bool ends = at[len] == '\0' || at[len] == ',';
        if (starts && ends)
            return true;
    }
    return false;
}

void rc_metrics_hide(struct rc_metrics *metrics, const char *label_name, const char *label_value) {
    struct rc_label label = {.name = label_name, .value = label_value};
    char *pair = label_text(&label, 1);
    pthread_mutex_lock(&metrics->lock);
    for (struct family *family = metrics->first; family; family = family->next) {
        for (struct series *series = family->first; series; series = series->next)
            series->hidden = series->hidden || has_label(series->labels, pair);
    }
    pthread_mutex_unlock(&metrics->lock);
    free(pair);
}

void rc_gauge_add(struct rc_gauge *gauge, double delta) {
    double old = atomic_load_explicit(&gauge->value, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&gauge->value, &old, old + delta, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

void rc_histogram_observe_ns(struct rc_histogram *histogram, int64_t ns) {
    if (ns < 0)
        ns = 0;
    double seconds = (double)ns / 1e9;
    /* Binary search: the first bound that is not below the value. */
    size_t low = 0, high = RC_HISTOGRAM_BUCKETS;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (rc_histogram_bounds_s[middle] < seconds)
            low = middle + 1;
        else
            high = middle;
    }
    atomic_fetch_add_explicit(&histogram->buckets[low], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_ns, (uint64_t)ns, memory_order_relaxed);
}

uint64_t rc_histogram_count(const struct rc_histogram *histogram) {
    uint64_t count = 0;
    for (size_t i = 0; i <= RC_HISTOGRAM_BUCKETS; i++)
        count += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
    return count;
}

double rc_histogram_quantile_s(const struct rc_histogram *histogram, double q) {
    uint64_t buckets[RC_HISTOGRAM_BUCKETS + 1], count = 0;
    for (size_t i = 0; i <= RC_HISTOGRAM_BUCKETS; i++)
        count += buckets[i] = atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
    if (count == 0)
        return NAN;
    double rank = q * (double)count;
    double below = 0;
    for (size_t i = 0; i < RC_HISTOGRAM_BUCKETS; i++) {
        double here = (double)buckets[i];
        if (here > 0 && below + here >= rank) {
            double lower = i ? rc_histogram_bounds_s[i - 1] : 0;
            return lower + (rc_histogram_bounds_s[i] - lower) * (rank - below) / here;
        }
        below += here;
    }
    return rc_histogram_bounds_s[RC_HISTOGRAM_BUCKETS - 1];
}

static void add_number(struct rc_buf *out, double value) {
    if (isnan(value))
        rc_buf_add_str(out, "NaN");
    else if (isinf(value))
        rc_buf_add_str(out, value > 0 ? "+Inf" : "-Inf");
    else if (value == floor(value) && fabs(value) < 1e15)
        rc_buf_printf(out, "%.0f", value);
    else
        rc_buf_printf(out, "%.9g", value);
}

static void add_histogram(struct rc_buf *out, const char *name, const struct series *series) {
    const char *labels = series->labels, *comma = *labels ? "," : "";
    uint64_t count = 0;
    for (size_t i = 0; i <= RC_HISTOGRAM_BUCKETS; i++) {
        count += atomic_load_explicit(&series->histogram.buckets[i], memory_order_relaxed);
        rc_buf_printf(out, "%s_bucket{%s%sle=\"", name, labels, comma);
        if (i < RC_HISTOGRAM_BUCKETS)
            rc_buf_printf(out, "%g", rc_histogram_bounds_s[i]);
        else
            rc_buf_add_str(out, "+Inf");
        rc_buf_printf(out, "\"} %llu\n", (unsigned long long)count);
    }
    const char *open = *labels ? "{" : "", *close = *labels ? "}" : "";
    double sum = (double)atomic_load_explicit(&series->histogram.sum_ns, memory_order_relaxed) / 1e9;
    rc_buf_printf(out, "%s_sum%s%s%s %.9g\n", name, open, labels, close, sum);
    rc_buf_printf(out, "%s_count%s%s%s %llu\n", name, open, labels, close, (unsigned long long)count);
}

static void add_series(struct rc_buf *out, const struct family *family, const struct series *series) {
    if (family->type == TYPE_HISTOGRAM) {
        add_histogram(out, family->name, series);
        return;
    }
    rc_buf_add_str(out, family->name);
    if (*series->labels)
        rc_buf_printf(out, "{%s}", series->labels);
    rc_buf_add_byte(out, ' ');
    if (family->type == TYPE_COUNTER)
        rc_buf_printf(out, "%llu", (unsigned long long)rc_counter_get(&series->counter));
    else
        add_number(out, rc_gauge_get(&series->gauge));
    rc_buf_add_byte(out, '\n');
}

rc_status rc_metrics_write(struct rc_metrics *metrics, struct rc_buf *out) {
    pthread_mutex_lock(&metrics->lock);
    for (const struct family *family = metrics->first; family; family = family->next) {
        bool headed = false;
        for (const struct series *series = family->first; series; series = series->next) {
            if (series->hidden)
                continue;
            if (!headed)
                rc_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
                              type_names[family->type]);
            headed = true;
            add_series(out, family, series);
        }
    }
    pthread_mutex_unlock(&metrics->lock);
    return out->full ? RC_FAIL : RC_OK;
}
