/* Private to bench/measures. run.c orders the measures; servers.c owns the broker and Redis; child.c processes; site.c one installation of the
 * program with a topics.prefix of its own; topics.c what is asked of the broker; load.c and limits.c the events and the bare clients;
 * definitions.c the segments; a file per measure (or few that share a set-up) does the rest.
 *
 * The parent has one thread and no client: each piece of work is a function run in a forked child, whose result comes back through a pipe and whose
 * CPU time the kernel tells. All children die with the parent. */
#ifndef RC_BENCH_MEASURES_INTERNAL_H
#define RC_BENCH_MEASURES_INTERNAL_H

#include <math.h>
#include <sys/types.h>

#include "base/buf.h"
#include "bench/measures/bench.h"

#define BENCH_PARTITIONS 4
#define BENCH_PATH 512
#define BENCH_NAME 64

struct bench {
    struct rc_bench_options options; /* with the defaults filled in */
    const struct rc_bench_listener *listener;
    char folder[BENCH_PATH];
    char bootstrap[256];
    char redis_server[BENCH_PATH];
    pid_t kafka, redis; /* 0: not started */
    int redis_port;     /* 0: not started */
    int sites;          /* number of installations made: each has its own prefix */
    bool loaded;        /* the topic RC_BENCH_EVENTS holds the load */
    struct settled *settled;
};

/* ---- run.c ---- */

void rc_bench_say(const struct bench *bench, const char *fmt, ...) RC_PRINTF(2, 3);

struct figure {
    const char *measure, *what, *beside, *unit;
    double product, limit; /* limit NAN: none */
    double ratio;          /* NAN: product / limit, if there is one */
    enum rc_bench_goal_kind kind;
    double goal;
};
/* Hands the row to the listener; the rest is the detail's format. */
void rc_bench_tell(const struct bench *bench, const struct figure *figure, const char *fmt, ...) RC_PRINTF(3, 4);

/* ---- child.c ---- */

struct usage {
    double wall_s, cpu_s;
    int64_t peak_bytes; /* greatest resident size */
};

/* Starts a program with its output appended to `log`; argv ends with NULL. The environment is the parent's without ROLLCALL_*. */
rc_status rc_bench_spawn(const struct bench *bench, const char *const *argv, const char *log, pid_t *out,
                         struct rc_error *err) RC_MUST_USE;
/* Sends `signal` (0: none) and waits; kills after `timeout_ms`, which is a failure. `usage` (wall_s stays 0) and `exit_status` (as of waitpid) may be NULL. */
rc_status rc_bench_end(pid_t pid, int signal, int64_t timeout_ms, struct usage *usage, int *exit_status,
                       struct rc_error *err) RC_MUST_USE;
/* Whether it has ended; it stays to be waited for. */
bool rc_bench_ended(pid_t pid);
/* CPU seconds and resident bytes of a running process so far; 0 when it is gone. */
double rc_bench_cpu_s(pid_t pid);
int64_t rc_bench_resident(pid_t pid);

/* Work in a forked child: fills `result` (of `size` bytes) or `err`. */
typedef rc_status (*bench_work_fn)(const void *ctx, void *result, struct rc_error *err);
struct forked {
    pid_t pid;
    int fd;
    int64_t began_ns;
};
rc_status rc_bench_fork(const struct bench *bench, bench_work_fn work, const void *ctx, size_t size, struct forked *out,
                        struct rc_error *err) RC_MUST_USE;
/* Waits for it, or for the stop. `usage` may be NULL. */
rc_status rc_bench_join(const struct bench *bench, struct forked *forked, void *result, size_t size,
                        struct usage *usage, struct rc_error *err) RC_MUST_USE;
/* Both. */
rc_status rc_bench_do(const struct bench *bench, bench_work_fn work, const void *ctx, void *result, size_t size,
                      struct usage *usage, struct rc_error *err) RC_MUST_USE;

/* Sleeps; fails when the stop is requested. */
rc_status rc_bench_wait(const struct bench *bench, int64_t ms, struct rc_error *err) RC_MUST_USE;

/* ---- servers.c ---- */

rc_status rc_bench_servers_start(struct bench *bench, bool redis, struct rc_error *err) RC_MUST_USE;
void rc_bench_servers_stop(struct bench *bench);
/* A port that nobody listens on, below those that the kernel gives to outgoing connections. 0: none found. */
int rc_bench_free_port(void);
/* The HTTP status of GET path at 127.0.0.1:port; 0 when there is no answer. */
int rc_bench_http_status(int port, const char *path);
void rc_bench_remove_folder(const char *path);
rc_status rc_bench_write_file(const char *path, struct rc_span text, struct rc_error *err) RC_MUST_USE;

/* ---- topics.c: asked by a child ---- */

rc_status rc_bench_topic_new(const struct bench *bench, const char *topic, struct rc_error *err) RC_MUST_USE;
/* Removes the topics whose names begin with `prefix`. What cannot be removed stays: the broker is the run's own. */
void rc_bench_topics_delete(const struct bench *bench, const char *prefix);
/* Records that the topic's offsets span. Fails (UNAVAILABLE) when there is no such topic. */
rc_status rc_bench_topic_records(const struct bench *bench, const char *topic, int64_t *out, struct rc_error *err)
    RC_MUST_USE;
/* Waits until the group has committed `topic` to its end. Fails when `pid` ends first or after `timeout_s`. */
rc_status rc_bench_await_group(const struct bench *bench, const char *group, const char *topic, pid_t pid,
                               int64_t timeout_s, struct rc_error *err) RC_MUST_USE;

/* ---- definitions.c ---- */

enum bench_condition { BENCH_COUNT, BENCH_SUM, BENCH_DISTINCT, BENCH_SEQUENCE };
struct bench_segment {
    enum bench_condition condition;
    const char *type;
    const char *country; /* NULL: any */
    int at_least;        /* COUNT, SUM, DISTINCT */
    const char *within;  /* SEQUENCE: no purchase in this time */
    const char *window;
    int64_t window_ms, within_ms;
};
/* The i-th segment of bench/definitions.py. */
struct bench_segment rc_bench_segment(size_t i);
/* The dataset over `topic` and n segments as a JSON array; the schema is the file `event.avsc` beside it. */
void rc_bench_definitions(size_t n, const char *topic, struct rc_buf *out);
/* The dataset, a segment of those who have done something in the window, and its audience, both named `seen`. */
void rc_bench_simple_definitions(const char *topic, const char *window, struct rc_buf *out);
/* An event that makes person number `person` a member of it. */
void rc_bench_simple_event(uint64_t person, int64_t at_ms, struct rc_buf *key, struct rc_buf *value);
/* The segment that `backfill` adds to them: who has done it BENCH_OFTEN_COUNT times in 30 days. */
#define BENCH_OFTEN "often"
#define BENCH_OFTEN_COUNT 2
void rc_bench_often_definition(struct rc_buf *out);
/* Another one like it, over events of another type. */
#define BENCH_OFTEN_BEFORE "often-before"
void rc_bench_often_before_definition(struct rc_buf *out);
/* Whether the event counts for it; `*event` then names it (its time and id), never 0. */
bool rc_bench_often_counts(struct rc_span value, uint64_t *event);
struct rc_catalog;
/* The same compiled, over RC_BENCH_EVENTS. Owned by the caller. */
rc_status rc_bench_catalog(size_t segments, struct rc_catalog **out, struct rc_error *err) RC_MUST_USE;
/* The text of event.avsc. */
extern const char rc_bench_event_schema[];

/* ---- load.c ---- */

#define RC_BENCH_EVENTS "bench.events"
struct load { /* what the child that fills a topic is told */
    const char *bootstrap;
    const char *topic;
    uint64_t events, persons, seed;
    bool in_turn; /* each person equally often, instead of floor(N·u³) */
};
/* Makes the topic and fills it with events that lie 1 ms apart, the last one now. */
rc_status rc_bench_load(const struct bench *bench, const char *topic, uint64_t events, uint64_t persons, bool in_turn,
                        struct rc_error *err) RC_MUST_USE;
/* Makes the topic and fills it with one simple event (rc_bench_simple_event) of each of the persons, now. */
rc_status rc_bench_simple_load(const struct bench *bench, const char *topic, uint64_t persons, struct rc_error *err)
    RC_MUST_USE;
/* The load that throughput, segments and others share, made once. */
rc_status rc_bench_shared_load(struct bench *bench, struct rc_error *err) RC_MUST_USE;

/* ---- limits.c ---- */

struct consumed {
    int64_t records, key_bytes, value_bytes;
    uint64_t sum;  /* of one byte of each value: so that each is touched */
    double wall_s; /* from the first call to the last record */
};
/* A bare consumer reads the topic from beginning to end. */
rc_status rc_bench_bare_consume(const struct bench *bench, const char *topic, struct consumed *out, struct usage *usage,
                                struct rc_error *err) RC_MUST_USE;
/* A bare producer sends `records` records of these sizes to a topic of its own and waits for their acknowledgement. */
rc_status rc_bench_bare_produce(const struct bench *bench, int64_t records, size_t key_bytes, size_t value_bytes,
                                struct usage *usage, struct rc_error *err) RC_MUST_USE;

/* ---- site.c ---- */

struct site {
    const struct bench *bench;
    char prefix[BENCH_NAME]; /* of topics and groups */
    char folder[BENCH_PATH];
    char config[BENCH_PATH];
};
struct process {
    pid_t pid;
    int port; /* http.listen */
    const char *role;
    char log[BENCH_PATH];
};
rc_status rc_bench_site_init(struct site *site, struct bench *bench, struct rc_error *err) RC_MUST_USE;
/* Removes its folder and its topics. */
void rc_bench_site_deinit(struct site *site);
/* "<prefix>.<name>" or "<prefix>-<name>" into `out`, which is returned. */
const char *rc_bench_site_topic(const struct site *site, const char *name, char out[BENCH_NAME * 2]);
const char *rc_bench_site_group(const struct site *site, const char *role, char out[BENCH_NAME * 2]);
rc_status rc_bench_site_apply(const struct site *site, const struct rc_buf *definitions, struct rc_error *err)
    RC_MUST_USE;
/* `role`: a literal. */
rc_status rc_bench_site_start(const struct site *site, const char *role, struct process *out, struct rc_error *err)
    RC_MUST_USE;
/* Waits for /readyz. */
rc_status rc_bench_process_ready(const struct bench *bench, const struct process *process, int64_t timeout_s,
                                 struct rc_error *err) RC_MUST_USE;
/* SIGTERM, and waits. Nothing for a process that was never started. */
void rc_bench_process_stop(struct process *process);
void rc_bench_process_kill(struct process *process);
/* Removes the local state of a role. */
void rc_bench_site_lose_disk(const struct site *site, const char *role);

/* ---- the measures ---- */

rc_status rc_bench_throughput(struct bench *bench, struct rc_error *err) RC_MUST_USE;
rc_status rc_bench_engine(struct bench *bench, struct rc_error *err) RC_MUST_USE;
rc_status rc_bench_segments(struct bench *bench, struct rc_error *err) RC_MUST_USE;
rc_status rc_bench_persons(struct bench *bench, struct rc_error *err) RC_MUST_USE;
rc_status rc_bench_latency(struct bench *bench, struct rc_error *err) RC_MUST_USE;
rc_status rc_bench_exits(struct bench *bench, struct rc_error *err) RC_MUST_USE;
rc_status rc_bench_wave(struct bench *bench, struct rc_error *err) RC_MUST_USE;
rc_status rc_bench_audiences(struct bench *bench, struct rc_error *err) RC_MUST_USE;
rc_status rc_bench_backfill(struct bench *bench, struct rc_error *err) RC_MUST_USE;
rc_status rc_bench_sink(struct bench *bench, struct rc_error *err) RC_MUST_USE;
rc_status rc_bench_memory(struct bench *bench, struct rc_error *err) RC_MUST_USE;
rc_status rc_bench_restart(struct bench *bench, struct rc_error *err) RC_MUST_USE;
rc_status rc_bench_restore(struct bench *bench, struct rc_error *err) RC_MUST_USE;
rc_status rc_bench_idle(struct bench *bench, struct rc_error *err) RC_MUST_USE;
/* The installation that memory, restart, restore and idle share. */
void rc_bench_settled_free(struct bench *bench);

/* The q-quantile (0…1) of n numbers, which are sorted by it. */
double rc_bench_quantile(double *numbers, size_t n, double q);

#endif
