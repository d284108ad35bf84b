/* `rollcall release`: asks the ingest process that holds the person's partition, and waits until the person's events have been read
 * again. */
#include <curl/curl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/commands.h"
#include "cli/processes.h"

#define ASK_MS 5000
#define LOOK_MS 200
#define MAX_ANSWER ((size_t)64 << 10)

enum answer { RELEASED = 200, UNDER_WAY = 202, NOT_HERE = 404, STILL = 409, NOT_QUARANTINED = 410 };

/* The first process that holds the partition; NULL when none does. `out`: its answer, or why the last one gave none. */
static const struct rc_cli_process *begin(const struct rc_cli_processes *processes, const char *path, long *status,
                                          struct rc_buf *out) {
    *status = 0;
    rc_buf_add_str(out, "no ingest process is running");
    for (size_t i = 0; i < processes->n; i++) {
        const struct rc_cli_process *process = &processes->items[i];
        if (strcmp(rc_cli_json_text(process->record, "role", ""), "ingest") != 0)
            continue;
        rc_buf_reset(out);
        rc_cli_process_ask(process, true, path, ASK_MS, status, out);
        if (*status != NOT_HERE && *status != 0)
            return process;
    }
    return NULL;
}

static rc_status outcome(const char *person, long status, const struct rc_buf *answer, struct rc_error *err) {
    json_t *said = json_loadb(answer->data, answer->len, 0, NULL); /* of a process that cannot answer now */
    const char *text = rc_cli_json_text(said, "error", answer->data);
    int len = (int)strcspn(text, "\n");
    if (status == RELEASED) {
        printf("%s released\n", person);
        json_decref(said);
        return RC_OK;
    }
    int exit_code = status == NOT_QUARANTINED ? RC_EXIT_DATA
                    : status == STILL         ? RC_EXIT_TEMPORARY
                                              : RC_EXIT_UNAVAILABLE;
    rc_error_set(err, RC_CLASS_FATAL, exit_code, "%s: %.*s", person, len, text);
    json_decref(said);
    return RC_FAIL;
}

static rc_status release(struct rc_cli *cli, struct rc_error *err) {
    if (rc_cli_expect(cli, 1, 1, err) != RC_OK)
        return RC_FAIL;
    const char *person = cli->args.positional[0];
    if (!strchr(person, ':'))
        return rc_cli_usage(cli, err, "%s: a person is written namespace:id", person);
    struct rc_cli_processes processes;
    if (rc_cli_connect(cli, err) != RC_OK || rc_cli_processes_read(cli, ASK_MS, &processes, err) != RC_OK)
        return RC_FAIL;
    char *escaped = curl_easy_escape(NULL, person, 0);
    struct rc_buf path, answer;
    rc_buf_init(&path, MAX_ANSWER);
    rc_buf_init(&answer, MAX_ANSWER);
    rc_buf_printf(&path, "/ingest/release?person=%s", escaped);
    curl_free(escaped);
    long status;
    const struct rc_cli_process *process = begin(&processes, path.data, &status, &answer);
    while (process && status == UNDER_WAY) {
        poll(NULL, 0, LOOK_MS);
        rc_buf_reset(&answer);
        rc_cli_process_ask(process, false, path.data, ASK_MS, &status, &answer);
    }
    rc_status result = outcome(person, status, &answer, err);
    rc_buf_deinit(&path);
    rc_buf_deinit(&answer);
    rc_cli_processes_deinit(&processes);
    return result;
}

const struct rc_cli_command rc_cli_command_release = {
    .name = "release",
    .summary = "Lets a quarantined person count again",
    .arguments = "NAMESPACE:ID",
    .text =
        "A person with more events than state.person_events is quarantined: memberships stand still. This reads the "
        "person's events again from the topics, and tells the difference. It ends when that is done. Exit 65: the "
        "person is not quarantined; 75: there are still too many events, or another person is being released; 69: "
        "not everything can be read now.",
    .examples = "rollcall release shop:1234",
    .run = release,
};
