/* The dead letters that are on the topic, told apart and with their states: what list, its summary and redrive choose from. */
#ifndef RC_CLI_DEADLETTERS_INDEX_H
#define RC_CLI_DEADLETTERS_INDEX_H

#include "cli/command.h"

/* Where a dead letter lies on `<prefix>.deadletters`. */
struct rc_cli_letter_id {
    int32_t partition;
    int64_t offset;
};

struct rc_cli_letter {
    struct rc_cli_letter_id id;
    int64_t time_ms;              /* when it became one */
    const char *reason, *topic;   /* borrowed from the letters */
    int32_t partition;            /* this and what follows: of the source */
    int64_t offset, timestamp_ms; /* RC_NO_TIMESTAMP: none */
    int32_t attempts;
    char *detail; /* owned; NULL unless asked for */
    bool redriven;
};

/* Which ones; a field that is not set takes all. All borrowed. */
struct rc_cli_letter_filter {
    const char *reason, *topic;
    int64_t since_ms, until_ms;         /* since ≤ time < until; INT64_MIN and INT64_MAX: open */
    int32_t partition;                  /* of the source; < 0: any */
    const struct rc_cli_letter_id *ids; /* NULL: any */
    size_t n_ids;
    bool details; /* read them */
};

struct rc_cli_letters {
    struct rc_cli_letter *items; /* owned; in order of time, then of id */
    size_t n;
    size_t foreign; /* records of the topic that are neither dead letters nor marks */
    char **names;   /* of reasons and topics; owned */
    size_t n_names, names_capacity;
};

/* Reads the topic once, to its end as it is now. `out` is zeroed storage; deinit it in any case. Costs about 150 bytes a letter that passes
 * the filter, and its detail. Fails with exit 69 when no broker answers. */
rc_status rc_cli_letters_read(const struct rc_cli *cli, const struct rc_cli_letter_filter *filter,
                              struct rc_cli_letters *out, struct rc_error *err) RC_MUST_USE;
void rc_cli_letters_deinit(struct rc_cli_letters *letters);

/* "PARTITION:OFFSET". Exit 64 on anything else. */
rc_status rc_cli_letter_id_parse(const struct rc_cli *cli, const char *text, struct rc_cli_letter_id *out,
                                 struct rc_error *err) RC_MUST_USE;

int rc_cli_letter_id_compare(const void *a, const void *b);

/* The filter that the options say. --dataset needs the catalog: *topic is owned by the caller then (or NULL). */
rc_status rc_cli_letter_filter_read(const struct rc_cli *cli, struct rc_cli_letter_filter *out, char **topic,
                                    struct rc_error *err) RC_MUST_USE;

/* The parts of the command; each prints to stdout. */
rc_status rc_cli_deadletters_show(struct rc_cli *cli, const char *id, struct rc_error *err) RC_MUST_USE;
rc_status rc_cli_deadletters_redrive(struct rc_cli *cli, const char *const *texts, size_t n, struct rc_error *err)
    RC_MUST_USE;

#endif
