/* Configuration: defaults < file < ROLLCALL_* environment < --set (pipeline.md §7).
 *
 * One table (config_table.h) names every property with its type, default, range and help; the getters, the messages, `rollcall config`,
 * `rollcall help config` and docs/configuration.md all come from it. A configuration is built once and is immutable from then on, so
 * threads share it without locks; SIGHUP builds another one and keeps the old when the new one is wrong.
 *
 * File: lines `key = value`; `#` starts a comment line (or a comment after white space); a value may stand in double quotes with \" and \\.
 * Environment: ROLLCALL_ and the key in upper case with `_` for each dot: ROLLCALL_STATE_DIR. Keys that themselves hold a `_`
 * are found through the table: ROLLCALL_STATE_MEMORY_BYTES. ROLLCALL_KAFKA_X_Y is kafka.x.y, and `__` stands for a `_`. ROLLCALL_CONFIG
 * names the file when --config does not. Any other ROLLCALL_* variable is an error.
 *
 * The mistake that this prevents: a misspelt key that is silently ignored. */
#ifndef RC_BASE_CONFIG_H
#define RC_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct rc_config; /* immutable once loaded; share freely between threads */

enum rc_config_type {
    RC_CONFIG_TEXT,
    RC_CONFIG_WORD,     /* one of a fixed list */
    RC_CONFIG_INT,      /* 64 bits */
    RC_CONFIG_DURATION, /* integer and unit ms s m h d w; in ms */
    RC_CONFIG_BYTES,    /* integer and unit B KiB MiB GiB TiB; in bytes */
    RC_CONFIG_BOOL,     /* true, false */
};

/* One property. */
struct rc_config_property {
    const char *name;
    enum rc_config_type type;
    const char *fallback; /* the default as text; "" may mean unset, help says so */
    int64_t min, max;     /* INT, DURATION, BYTES */
    const char *words;    /* WORD: "a|b|c" */
    bool live;            /* taken up on SIGHUP; others at the next start */
    const char *help;
};

struct rc_config_sources {
    const char *file;         /* NULL: ROLLCALL_CONFIG's, or none */
    char *const *environment; /* NULL-terminated "NAME=value"; NULL: none looked at */
    const char *const *sets;  /* "key=value", later ones win */
    size_t n_sets;
    /* Judges a kafka.<property> (given without the prefix) and its value: base knows no librdkafka, the caller lends its judgement.
     * Fills `err` with what is wrong, without saying where. NULL: any property is taken as it is. */
    rc_status (*check_kafka)(const char *property, const char *value, struct rc_error *err);
};

/* Loads and checks everything. Fails (FATAL, exit 78) naming file:line, variable or --set, what was found, what is allowed, the nearest
 * known key. `*out` owned by the caller. */
rc_status rc_config_load(const struct rc_config_sources *sources, struct rc_config **out, struct rc_error *err)
    RC_MUST_USE;
void rc_config_free(struct rc_config *config);

/* A copy of `config` with one property changed, as if by --set but only where nothing else set it when `weak` is true (how a command gives
 * itself another default). Fails like load. */
rc_status rc_config_with(const struct rc_config *config, const char *key, const char *value, bool weak,
                         struct rc_config **out, struct rc_error *err) RC_MUST_USE;

/* Getters: a key that the table does not have, or has with another type, is a mistake of the program and aborts.
 * Texts are borrowed from `config`. */
const char *rc_config_text(const struct rc_config *config, const char *key); /* TEXT and WORD */
int64_t rc_config_int(const struct rc_config *config, const char *key);
int64_t rc_config_ms(const struct rc_config *config, const char *key);    /* DURATION */
int64_t rc_config_bytes(const struct rc_config *config, const char *key); /* BYTES */
bool rc_config_bool(const struct rc_config *config, const char *key);
/* Whether anything but the default said so. */
bool rc_config_is_set(const struct rc_config *config, const char *key);
/* Who said so: "default", "FILE:LINE", "ROLLCALL_…", "--set", or the command; borrowed. Takes kafka.* keys as well. */
const char *rc_config_origin(const struct rc_config *config, const char *key);

/* Whether both say the same of `key`; "kafka." stands for all of the pass-through together. */
bool rc_config_same(const struct rc_config *a, const struct rc_config *b, const char *key);

/* The kafka.<property> pass-through, `kafka.bootstrap.servers` among them: property without the prefix, and its value, in the order of
 * their names. Index from 0; false past the end. */
bool rc_config_kafka(const struct rc_config *config, size_t index, const char **property, const char **value);

/* "<topics.prefix>.<name>", e.g. "rollcall.memberships", appended to `out`. */
rc_status rc_config_topic(const struct rc_config *config, const char *name, struct rc_buf *out) RC_MUST_USE;

/* Appends the effective configuration in the file's form; it parses back to itself. Secrets (passwords, keys of kafka.sasl.*, kafka.ssl.*)
 * are written only when `secrets` is true, else as a comment. */
rc_status rc_config_write(const struct rc_config *config, bool secrets, struct rc_buf *out) RC_MUST_USE;

/* Whether the value of kafka.<property> is a password or a key, not to be shown unasked. */
bool rc_config_kafka_secret(const char *property);

/* The table. */
const struct rc_config_property *rc_config_properties(size_t *n);
const char *rc_config_type_name(enum rc_config_type type);

/* Appends docs/configuration.md. */
rc_status rc_config_write_markdown(struct rc_buf *out) RC_MUST_USE;

/* "1s", "500ms", "30d" to ms; "512MiB" to bytes. RC_FAIL on anything else or past 64 bits. */
rc_status rc_duration_parse(const char *text, int64_t *out_ms) RC_MUST_USE;
rc_status rc_bytes_parse(const char *text, int64_t *out_bytes) RC_MUST_USE;

#endif
