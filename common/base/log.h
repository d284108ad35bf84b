/* Logging: one logfmt line a call, on stderr.
 *
 *     rc_log(RC_LOG_INFO, "partition assigned", rc_f_str("topic", topic), rc_f_int("partition", partition));
 *     → time=2026-01-31T09:15:00.123Z level=info msg="partition assigned" topic=web.events partition=3
 *
 * A line is written by one write(2), so lines of several threads never mix. A call below the level costs one relaxed load: its
 * fields are not evaluated. Thread-safe. Person ids, record values and secrets are never logged (pipeline.md §8): there is no field
 * type for a person, and a topic, partition and offset say where a record can be looked up.
 * The mistake that this prevents: a line that a machine cannot read because a value held a space, a quote or a newline. */
#ifndef RC_BASE_LOG_H
#define RC_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/span.h"

enum rc_log_level { RC_LOG_DEBUG, RC_LOG_INFO, RC_LOG_WARN, RC_LOG_ERROR, RC_LOG_OFF };

/* Lines below this level are dropped. Starts at RC_LOG_INFO; set from `log.level` at start and on SIGHUP. */
extern _Atomic int rc_log_threshold;

static inline bool rc_log_on(enum rc_log_level level) {
    return (int)level >= atomic_load_explicit(&rc_log_threshold, memory_order_relaxed);
}

void rc_log_set_level(enum rc_log_level level);

/* "debug", "info", "warn", "error", "off" to a level. RC_FAIL on another word. */
rc_status rc_log_level_parse(const char *word, enum rc_log_level *out) RC_MUST_USE;

/* Where lines go: a file descriptor, 2 at first. For tests and for commands that keep stderr for people. */
void rc_log_set_fd(int fd);

/* ---- fields ---------------------------------------------------------------------------------------------------------- */

enum rc_log_kind { RC_LOG_KIND_STR, RC_LOG_KIND_INT, RC_LOG_KIND_DOUBLE, RC_LOG_KIND_BOOL };

struct rc_log_field {
    const char *key; /* [a-z0-9_.]+, a literal; NULL ends the list */
    enum rc_log_kind kind;
    struct rc_span text; /* STR; borrowed for the call */
    int64_t number;      /* INT, BOOL */
    double real;         /* DOUBLE */
};

static inline struct rc_log_field rc_f_str(const char *key, const char *text) {
    return (struct rc_log_field){.key = key, .kind = RC_LOG_KIND_STR, .text = rc_span_str(text)};
}

static inline struct rc_log_field rc_f_span(const char *key, struct rc_span text) {
    return (struct rc_log_field){.key = key, .kind = RC_LOG_KIND_STR, .text = text};
}

static inline struct rc_log_field rc_f_int(const char *key, int64_t number) {
    return (struct rc_log_field){.key = key, .kind = RC_LOG_KIND_INT, .number = number};
}

static inline struct rc_log_field rc_f_double(const char *key, double real) {
    return (struct rc_log_field){.key = key, .kind = RC_LOG_KIND_DOUBLE, .real = real};
}

static inline struct rc_log_field rc_f_bool(const char *key, bool truth) {
    return (struct rc_log_field){.key = key, .kind = RC_LOG_KIND_BOOL, .number = truth};
}

/* The message of an error, under the key `err`. */
static inline struct rc_log_field rc_f_err(const struct rc_error *err) {
    return rc_f_str("err", err->message);
}

/* Writes one line. `msg` is what happened, the same words each time (what varies goes into fields). The list ends at a NULL key. */
void rc_log_write(enum rc_log_level level, const char *msg, const struct rc_log_field *fields);

#define rc_log(level, msg, ...)                                                                                   \
    do {                                                                                                          \
        if (rc_log_on(level))                                                                                     \
            rc_log_write((level), (msg), (const struct rc_log_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}}); \
    } while (0)

/* At most one line a second from this place in the code (per process); the next line that passes says how many were kept back in
 * `suppressed`. For what bad input can make happen a million times: the metric has the count, the log has examples. */
struct rc_log_limit {
    _Atomic int64_t next_ms; /* monotonic ms before which lines are kept back */
    _Atomic int64_t suppressed;
};

/* Whether a line may pass now; `*suppressed` is how many were kept back since the last one. */
bool rc_log_limit_pass(struct rc_log_limit *limit, int64_t *suppressed);

#define rc_log_limited(level, msg, ...)                                                                              \
    do {                                                                                                             \
        static struct rc_log_limit rc_log_limit_;                                                                    \
        int64_t rc_log_suppressed_ = 0;                                                                              \
        if (rc_log_on(level) && rc_log_limit_pass(&rc_log_limit_, &rc_log_suppressed_))                              \
            rc_log_write((level), (msg),                                                                             \
                         (const struct rc_log_field[]){                                                              \
                             __VA_ARGS__ __VA_OPT__(, ) rc_f_int("suppressed", rc_log_suppressed_), {.key = NULL}}); \
    } while (0)

#endif
