/* memory, restart, restore: one installation that has taken in ten events of each person, then looked at and hurt. idle: another one whose topic is silent. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "bench/measures/clients.h"
#include "bench/measures/floor.h"

#define TOPIC "bench.settled"
#define SEGMENTS 100
#define CATCH_UP_TIMEOUT_S 600
#define IDLE_MAX_MS 20000

struct settled {
    struct site site;
    struct process ingest;
    int64_t resident; /* bytes, after it had come to rest */
    uint64_t persons;
    double cpu_s;
};

static double cpu_of(const struct process *processes, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += rc_bench_cpu_s(processes[i].pid);
    return sum;
}

/* Waits until they have done, and saved, what the load made them do: until they take less than `busy` of a core. */
static rc_status come_to_rest(const struct bench *bench, const struct process *processes, int n, double busy,
                              struct rc_error *err) {
    for (int look = 0; look < CATCH_UP_TIMEOUT_S; look++) {
        double before = cpu_of(processes, n);
        if (rc_bench_wait(bench, 1000, err) != RC_OK)
            return RC_FAIL;
        if (cpu_of(processes, n) - before < busy)
            return RC_OK;
    }
    return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "the processes do not come to rest");
}

static rc_status settle(struct bench *bench, struct settled *settled, struct rc_error *err) {
    char group[BENCH_NAME * 2];
    struct rc_buf definitions;
    rc_buf_init(&definitions, 1 << 22);
    rc_bench_definitions(SEGMENTS, TOPIC, &definitions);
    settled->persons = bench->options.persons;
    rc_status status = rc_bench_load(bench, TOPIC, settled->persons * BENCH_EVENTS_EACH, settled->persons, true, err);
    if (status == RC_OK)
        status = rc_bench_site_init(&settled->site, bench, err);
    if (status == RC_OK)
        status = rc_bench_site_apply(&settled->site, &definitions, err);
    rc_bench_say(bench, "ingest takes them in");
    if (status == RC_OK)
        status = rc_bench_site_start(&settled->site, "ingest", &settled->ingest, err);
    if (status == RC_OK)
        status = rc_bench_await_group(bench, rc_bench_site_group(&settled->site, "ingest", group), TOPIC,
                                      settled->ingest.pid, CATCH_UP_TIMEOUT_S, err);
    if (status == RC_OK)
        status = come_to_rest(bench, &settled->ingest, 1, 0.25, err);
    settled->resident = rc_bench_resident(settled->ingest.pid);
    settled->cpu_s = rc_bench_cpu_s(settled->ingest.pid);
    rc_buf_deinit(&definitions);
    return status;
}

static rc_status need(struct bench *bench, struct rc_error *err) {
    if (bench->settled)
        return RC_OK;
    bench->settled = rc_calloc(1, sizeof *bench->settled);
    if (settle(bench, bench->settled, err) == RC_OK)
        return RC_OK;
    rc_bench_settled_free(bench);
    return RC_FAIL;
}

void rc_bench_settled_free(struct bench *bench) {
    struct settled *settled = bench->settled;
    if (!settled)
        return;
    rc_bench_process_kill(&settled->ingest);
    rc_bench_site_deinit(&settled->site);
    rc_bench_topics_delete(bench, TOPIC);
    free(settled);
    bench->settled = NULL;
}

rc_status rc_bench_memory(struct bench *bench, struct rc_error *err) {
    struct floor floor;
    if (need(bench, err) != RC_OK)
        return RC_FAIL;
    rc_bench_say(bench, "the entropy of what must be kept");
    if (rc_bench_floor(bench, &floor, err) != RC_OK)
        return RC_FAIL;
    const struct settled *settled = bench->settled;
    rc_bench_tell(bench,
                  &(struct figure){.measure = "memory",
                                   .what = "resident bytes per person, 100 segments, 10 events each",
                                   .beside = "entropy of the timestamps that the answers need",
                                   .unit = "bytes",
                                   .product = (double)settled->resident / (double)settled->persons,
                                   .limit = floor.bytes_per_person,
                                   .ratio = NAN,
                                   .kind = RC_BENCH_RATIO_AT_MOST,
                                   .goal = 3},
                  "%.0f MiB resident, all of the process, for %llu persons; %.1f of %d timestamps a person are needed",
                  (double)settled->resident / 1048576, (unsigned long long)settled->persons, floor.needed_per_person,
                  BENCH_EVENTS_EACH);
    return RC_OK;
}

/* Starts the ingest and waits until it is ready. Seconds. */
static rc_status start_again(struct bench *bench, double *out_s, struct rc_error *err) {
    struct settled *settled = bench->settled;
    int64_t began_ns = rc_clock_monotonic_ns();
    if (rc_bench_site_start(&settled->site, "ingest", &settled->ingest, err) != RC_OK ||
        rc_bench_process_ready(bench, &settled->ingest, CATCH_UP_TIMEOUT_S, err) != RC_OK)
        return RC_FAIL;
    *out_s = (double)(rc_clock_monotonic_ns() - began_ns) / 1e9;
    return RC_OK;
}

rc_status rc_bench_restart(struct bench *bench, struct rc_error *err) {
    double taken_s;
    if (need(bench, err) != RC_OK)
        return RC_FAIL;
    struct settled *settled = bench->settled;
    rc_bench_say(bench, "kill -9");
    rc_bench_process_kill(&settled->ingest);
    if (start_again(bench, &taken_s, err) != RC_OK)
        return RC_FAIL;
    rc_bench_tell(bench,
                  &(struct figure){.measure = "restart",
                                   .what = "kill -9 to caught up, state on local disk",
                                   .beside = NULL,
                                   .unit = "s",
                                   .product = taken_s,
                                   .limit = NAN,
                                   .ratio = NAN,
                                   .kind = RC_BENCH_PRODUCT_AT_MOST,
                                   .goal = 2},
                  "%llu persons; %.0f MiB resident then, %.1f CPU-s", (unsigned long long)settled->persons,
                  (double)rc_bench_resident(settled->ingest.pid) / 1048576, rc_bench_cpu_s(settled->ingest.pid));
    return RC_OK;
}

rc_status rc_bench_restore(struct bench *bench, struct rc_error *err) {
    double taken_s;
    int64_t records;
    struct consumed seen;
    char topic[BENCH_NAME * 2];
    if (need(bench, err) != RC_OK)
        return RC_FAIL;
    struct settled *settled = bench->settled;
    rc_bench_site_topic(&settled->site, "state", topic);
    if (rc_bench_topic_records(bench, topic, &records, err) != RC_OK)
        return rc_error_prefix(err, "there is no changelog to restore from");
    rc_bench_say(bench, "the disk is lost");
    rc_bench_process_kill(&settled->ingest);
    rc_bench_site_lose_disk(&settled->site, "ingest");
    if (start_again(bench, &taken_s, err) != RC_OK || rc_bench_bare_consume(bench, topic, &seen, NULL, err) != RC_OK)
        return RC_FAIL;
    rc_bench_tell(bench,
                  &(struct figure){.measure = "restore",
                                   .what = "start without the disk to ready",
                                   .beside = "a bare consumer reads the same changelog",
                                   .unit = "s",
                                   .product = taken_s,
                                   .limit = seen.wall_s,
                                   .ratio = NAN,
                                   .kind = RC_BENCH_RATIO_AT_MOST,
                                   .goal = 2},
                  "%llu persons; %lld changelog records, %.0f MiB; %.1f CPU-s", (unsigned long long)settled->persons,
                  (long long)seen.records, (double)(seen.key_bytes + seen.value_bytes) / 1048576,
                  rc_bench_cpu_s(settled->ingest.pid));
    return RC_OK;
}

/* ---- idle ---- */

static rc_status sit(struct bench *bench, struct site *site, const char *topic, struct rc_error *err) {
    static const char *const roles[] = {"ingest", "materialize", "sink"};
    struct process processes[3] = {0};
    char group[BENCH_NAME * 2], segments[BENCH_NAME * 2], memberships[BENCH_NAME * 2];
    int64_t span_ms = bench->options.seconds * 1000 < IDLE_MAX_MS ? bench->options.seconds * 1000 : IDLE_MAX_MS;
    rc_status status = RC_OK;
    for (int i = 0; status == RC_OK && i < 3; i++)
        status = rc_bench_site_start(site, roles[i], &processes[i], err);
    if (status == RC_OK)
        status = rc_bench_await_group(bench, rc_bench_site_group(site, "ingest", group), topic, processes[0].pid,
                                      CATCH_UP_TIMEOUT_S, err);
    if (status == RC_OK)
        status = rc_bench_await_group(bench, rc_bench_site_group(site, "materialize", group),
                                      rc_bench_site_topic(site, "segments", segments), processes[1].pid,
                                      CATCH_UP_TIMEOUT_S, err);
    for (int i = 0; status == RC_OK && i < 3; i++)
        status = rc_bench_process_ready(bench, &processes[i], CATCH_UP_TIMEOUT_S, err);
    if (status == RC_OK)
        status = come_to_rest(bench, processes, 3, 0.02, err);
    int64_t arrived = 0;
    if (status == RC_OK)
        status = rc_bench_topic_records(bench, rc_bench_site_topic(site, "memberships", memberships), &arrived, err);
    double before[3];
    for (int i = 0; i < 3; i++)
        before[i] = rc_bench_cpu_s(processes[i].pid);
    int64_t began_ns = rc_clock_monotonic_ns();
    rc_bench_say(bench, "%lld s of silence", (long long)span_ms / 1000);
    if (status == RC_OK)
        status = rc_bench_wait(bench, span_ms, err);
    double percent[3], all = 0, span = (double)(rc_clock_monotonic_ns() - began_ns) / 1e9;
    for (int i = 0; i < 3; i++)
        all += percent[i] = (rc_bench_cpu_s(processes[i].pid) - before[i]) / span * 100;
    if (status == RC_OK)
        rc_bench_tell(bench,
                      &(struct figure){.measure = "idle",
                                       .what = "CPU of the three processes, silent topic",
                                       .beside = NULL,
                                       .unit = "% of a core",
                                       .product = all,
                                       .limit = NAN,
                                       .ratio = NAN,
                                       .kind = RC_BENCH_PRODUCT_AT_MOST,
                                       .goal = 0.5},
                      "ingest %.2f, materialize %.2f, sink %.2f; %lld memberships", percent[0], percent[1], percent[2],
                      (long long)arrived);
    for (int i = 0; i < 3; i++)
        rc_bench_process_stop(&processes[i]);
    return status;
}

rc_status rc_bench_idle(struct bench *bench, struct rc_error *err) {
    static const char topic[] = "bench.idle";
    struct site site;
    struct rc_buf definitions;
    if (rc_bench_simple_load(bench, topic, bench->options.persons, err) != RC_OK ||
        rc_bench_site_init(&site, bench, err) != RC_OK)
        return RC_FAIL;
    rc_buf_init(&definitions, 1 << 20);
    rc_bench_simple_definitions(topic, "7d", &definitions);
    rc_bench_settled_free(bench); /* it has deadlines of its own */
    rc_status status = rc_bench_site_apply(&site, &definitions, err);
    if (status == RC_OK)
        status = sit(bench, &site, topic, err);
    rc_bench_site_deinit(&site);
    rc_bench_topics_delete(bench, topic);
    rc_buf_deinit(&definitions);
    return status;
}
