/* The mistake that this prevents: an average of medians. */
#include "cli/status_latency.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/metrics.h"
#include "cli/json.h"

#define PROFILES "profiles" /* the default destination (consumers/sink/routes.h) */

struct hop {
    const char *name, *text, *role, *latency; /* where it is told: the role's section, "latency" */
};

static const struct hop hops[] = {
    {"event_to_segment", "event to segment change", "ingest", "event_to_change"},
    {"due_to_segment", "due time to segment change", "ingest", "due_to_change"},
    {"segment_to_membership", "segment change to membership", "materialize", "hop"},
    {"membership_to_store", "membership to store", "sink", "hop"},
    {"event_to_store", "event to store, all of it", "sink", "event_to_store"},
};

static void add(struct rc_histogram *sum, const json_t *latency) {
    const json_t *buckets = json_object_get(latency, "buckets");
    for (size_t i = 0; i <= RC_HISTOGRAM_BUCKETS; i++)
        sum->buckets[i] += (uint64_t)json_integer_value(json_array_get(buckets, i));
}

static void add_hop(const struct rc_cli_processes *processes, const struct hop *hop, struct rc_histogram *sum) {
    for (size_t p = 0; p < processes->n; p++)
        if (strcmp(rc_cli_json_text(processes->items[p].record, "role", ""), hop->role) == 0)
            add(sum, json_object_get(json_object_get(processes->items[p].section, "latency"), hop->latency));
}

static json_t *number_or_null(double value) {
    return isnan(value) ? json_null() : json_real(value);
}

static json_t *as_json(const struct rc_histogram *sum) {
    return json_pack("{s:I, s:o, s:o}", "count", (json_int_t)rc_histogram_count(sum), "p50",
                     number_or_null(rc_histogram_quantile_s(sum, 0.5)), "p99",
                     number_or_null(rc_histogram_quantile_s(sum, 0.99)));
}

void rc_cli_hops_json(const struct rc_cli_processes *processes) {
    for (size_t i = 0; i < sizeof hops / sizeof *hops; i++) {
        struct rc_histogram sum = {0};
        add_hop(processes, &hops[i], &sum);
        json_t *line = json_pack("{s:s, s:s}", "type", "latency", "hop", hops[i].name);
        json_t *latency = as_json(&sum);
        json_object_update_missing(line, latency);
        json_decref(latency);
        rc_cli_json_print(line);
    }
}

/* Of what lies behind the last bucket only that is known. */
static const char *quantile(const struct rc_histogram *sum, double q, char out[32]) {
    double seconds = rc_histogram_quantile_s(sum, q);
    char text[32];
    snprintf(out, 32, "%s%.28s", seconds >= rc_histogram_bounds_s[RC_HISTOGRAM_BUCKETS - 1] ? "> " : "",
             rc_cli_seconds(seconds, text));
    return out;
}

void rc_cli_hops_print(const struct rc_cli_processes *processes) {
    struct rc_cli_table table;
    rc_cli_table_init(&table, (const char *const[]){"HOP", ">MEASURED", ">p50", ">p99", NULL});
    for (size_t i = 0; i < sizeof hops / sizeof *hops; i++) {
        struct rc_histogram sum = {0};
        char text[32];
        add_hop(processes, &hops[i], &sum);
        rc_cli_table_add(&table, "%s", hops[i].text);
        rc_cli_table_add(&table, "%llu", (unsigned long long)rc_histogram_count(&sum));
        rc_cli_table_add(&table, "%s", quantile(&sum, 0.5, text));
        rc_cli_table_add(&table, "%s", quantile(&sum, 0.99, text));
    }
    putchar('\n');
    rc_cli_table_print(&table, NULL);
}

/* ---- an audience ----------------------------------------------------------------------------------------------------- */

static void add_audience(const struct rc_cli_processes *processes, const char *audience, bool only_profiles,
                         struct rc_histogram *sum) {
    for (size_t p = 0; p < processes->n; p++) {
        size_t i;
        const json_t *row;
        json_array_foreach(json_object_get(processes->items[p].section, "audience_latency"), i, row) {
            if (strcmp(rc_cli_json_text(row, "audience", ""), audience) == 0 &&
                (!only_profiles || strcmp(rc_cli_json_text(row, "destination", ""), PROFILES) == 0))
                add(sum, row);
        }
    }
}

static void of_audience(const struct rc_cli_processes *processes, const char *audience, struct rc_histogram *sum) {
    add_audience(processes, audience, true, sum);
    if (rc_histogram_count(sum) == 0)
        add_audience(processes, audience, false, sum);
}

json_t *rc_cli_audience_latency(const struct rc_cli_processes *processes, const char *audience) {
    struct rc_histogram sum = {0};
    of_audience(processes, audience, &sum);
    return as_json(&sum);
}

void rc_cli_audience_latency_cell(const struct rc_cli_processes *processes, const char *audience,
                                  struct rc_cli_table *table) {
    struct rc_histogram sum = {0};
    char p50[32], p99[32];
    of_audience(processes, audience, &sum);
    if (rc_histogram_count(&sum) == 0)
        rc_cli_table_add(table, "-");
    else
        rc_cli_table_add(table, "%s / %s", quantile(&sum, 0.5, p50), quantile(&sum, 0.99, p99));
}
