/* The running processes of an installation: found through `<prefix>.processes`, asked through their /status. */
#ifndef RC_CLI_PROCESSES_H
#define RC_CLI_PROCESSES_H

#include <jansson.h>

#include "base/buf.h"
#include "cli/command.h"

struct rc_cli_process {
    char *key;       /* the record's key; owned */
    json_t *record;  /* what it said of itself: role, host, port, partitions, since; owned */
    json_t *section; /* its role's section of /status; NULL when it does not answer; owned */
    json_t *status;  /* the whole answer; owned, may be NULL */
    char *problem;   /* why it does not answer, or NULL; owned */
};

struct rc_cli_processes {
    struct rc_cli_process *items; /* owned; ordered by role, then key */
    size_t n, capacity;
};

/* Reads the topic and asks every process (at most `timeout_ms` for all of them together). One that does not answer is in the list with
 * its problem; with 0 none is asked, the records alone are read. Fails only when the topic cannot be read. `out` is zeroed storage. */
rc_status rc_cli_processes_read(const struct rc_cli *cli, int timeout_ms, struct rc_cli_processes *out,
                                struct rc_error *err) RC_MUST_USE;
void rc_cli_processes_deinit(struct rc_cli_processes *processes);

/* Members of an object; 0, NULL or `fallback` when they are missing or of another type. Texts borrowed. */
int64_t rc_cli_json_int(const json_t *object, const char *key, int64_t fallback);
double rc_cli_json_real(const json_t *object, const char *key, double fallback);
const char *rc_cli_json_text(const json_t *object, const char *key, const char *fallback);

/* Asks one process for something of its own: `path` with its query, by GET or POST. `*status`: the HTTP status, 0 when it does not answer;
 * the answer (or why there is none) is appended to `out`. */
void rc_cli_process_ask(const struct rc_cli_process *process, bool post, const char *path, int timeout_ms, long *status,
                        struct rc_buf *out);

/* Asks the process of `role` that holds the person's partition: GET `path`?person=…, one after the other until one takes it for its own. Fails:
 * exit 69 when none does, 75 when it is busy, 65 with what it says otherwise. `*out`: the answer; owned by the caller. */
rc_status rc_cli_ask_owner(const struct rc_cli_processes *processes, const char *role, const char *path,
                           const char *person, json_t **out, struct rc_error *err) RC_MUST_USE;

#endif
