/* `rollcall backfill`: how far the reading of history is for segments that are new or edited, and what an operator says of it. What is said is a
 * control record on the definitions topic, so that it outlives every process; how far it is, the ingest processes tell. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/processes.h"
#include "cli/table.h"
#include "cli/writer.h"

#define ANSWER_TIMEOUT_MS 2000

/* ---- list ------------------------------------------------------------------------------------------------------------------- */

/* One segment over all ingest processes. */
struct reading {
    const json_t *first; /* of those that tell of it */
    int64_t read, records, serving;
    double rate;
    const char *state;
};

static void add_part(struct reading *reading, const json_t *part) {
    const char *state = rc_cli_json_text(part, "state", "live");
    if (strcmp(state, "live") == 0)
        return;
    int64_t serving = rc_cli_json_int(part, "serving_version", 0);
    reading->serving = reading->first && reading->serving < serving ? reading->serving : serving;
    reading->first = part;
    reading->state = state;
    reading->read += rc_cli_json_int(part, "read_records", 0);
    reading->records += rc_cli_json_int(part, "history_records", 0);
    reading->rate += rc_cli_json_real(part, "rate", 0);
}

static void print_reading(const struct rc_cli *cli, const struct reading *reading, struct rc_cli_table *table) {
    double share = reading->records ? (double)reading->read / (double)reading->records : 1;
    double left = reading->rate > 0 ? (double)(reading->records - reading->read) / reading->rate : -1;
    const char *id = rc_cli_json_text(reading->first, "id", "");
    int64_t version = rc_cli_json_int(reading->first, "version", 0);
    if (rc_cli_has(cli, "json")) {
        rc_cli_json_print(json_pack(
            "{s:s, s:I, s:o, s:s, s:I, s:I, s:f, s:f, s:o}", "segment", id, "version", (json_int_t)version,
            "servingVersion", reading->serving ? json_integer((json_int_t)reading->serving) : json_null(), "state",
            reading->state, "readRecords", (json_int_t)reading->read, "historyRecords", (json_int_t)reading->records,
            "progress", share, "rate", reading->rate, "etaSeconds", left < 0 ? json_null() : json_real(left)));
        return;
    }
    char seconds[32];
    rc_cli_table_add(table, "%s", id);
    rc_cli_table_add(table, "%lld", (long long)version);
    if (reading->serving)
        rc_cli_table_add(table, "%lld", (long long)reading->serving);
    else
        rc_cli_table_add(table, "-");
    rc_cli_table_add(table, "%s", reading->state);
    rc_cli_table_add(table, "%lld", (long long)reading->read);
    rc_cli_table_add(table, "%lld", (long long)reading->records);
    rc_cli_table_add(table, "%.1f %%", share * 100);
    rc_cli_table_add(table, "%.0f/s", reading->rate);
    rc_cli_table_add(table, "%s", rc_cli_seconds(left, seconds));
}

static rc_status list(struct rc_cli *cli, struct rc_error *err) {
    struct rc_cli_processes processes = {0};
    if (rc_cli_expect(cli, 1, 1, err) != RC_OK || rc_cli_connect(cli, err) != RC_OK ||
        rc_cli_processes_read(cli, ANSWER_TIMEOUT_MS, &processes, err) != RC_OK)
        return RC_FAIL;
    struct rc_cli_table table;
    rc_cli_table_init(&table, (const char *const[]){"SEGMENT", ">VERSION", ">SERVING", "STATE", ">READ", ">OF", ">DONE",
                                                    ">RATE", ">LEFT", NULL});
    bool answers = false;
    json_t *seen = json_object();
    for (size_t p = 0; p < processes.n; p++) {
        size_t i, k;
        const json_t *one, *other;
        const struct rc_cli_process *process = &processes.items[p];
        if (!process->section || strcmp(rc_cli_json_text(process->record, "role", ""), "ingest") != 0)
            continue;
        answers = true;
        json_array_foreach(json_object_get(process->section, "segments"), i, one) {
            struct reading reading = {0};
            const char *id = rc_cli_json_text(one, "id", "");
            if (json_object_get(seen, id))
                continue;
            json_object_set_new(seen, id, json_true());
            for (size_t q = p; q < processes.n; q++)
                json_array_foreach(json_object_get(processes.items[q].section, "segments"), k, other) {
                    if (strcmp(rc_cli_json_text(other, "id", ""), id) == 0)
                        add_part(&reading, other);
                }
            if (reading.first)
                print_reading(cli, &reading, &table);
        }
    }
    json_decref(seen);
    rc_cli_table_print(&table, rc_cli_has(cli, "json") ? NULL : "no history is being read");
    rc_cli_processes_deinit(&processes);
    return answers ? RC_OK
                   : rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE,
                                  "no ingest process answers; is one running with this configuration?");
}

/* ---- what is said ----------------------------------------------------------------------------------------------------------- */

enum order { PAUSE, RESUME, CANCEL, RATE, N_ORDERS };
static const char *const orders[] = {"pause", "resume", "cancel", "rate"};
static const char *const said[] = {"paused", "goes on", "cancelled", "rate set"};

struct saying {
    enum order order;
    int64_t rate;
};

static rc_status say(void *ctx, const struct rc_definition *definition, struct rc_control *control,
                     struct rc_error *err) {
    (void)err;
    const struct saying *saying = ctx;
    switch (saying->order) {
    case PAUSE: control->paused = true; break;
    case RESUME:
        control->paused = false;
        control->cancelled_version = 0;
        control->cancelled_ms = 0;
        break;
    case CANCEL:
        control->cancelled_version = definition->version;
        control->cancelled_ms = rc_clock_wall_ms();
        if (control->cancelled_ms < control->replay_ms)
            control->cancelled_ms = control->replay_ms;
        break;
    case RATE: control->rate = saying->rate; break;
    case N_ORDERS: break;
    }
    return RC_OK;
}

static rc_status tell(struct rc_cli *cli, enum order order, struct rc_error *err) {
    struct saying saying = {.order = order};
    size_t wanted = order == RATE ? 3 : 2;
    if (rc_cli_expect(cli, wanted, wanted, err) != RC_OK)
        return RC_FAIL;
    const char *id = cli->args.positional[1], *kind = "segment";
    const char dataset[] = "dataset/";
    if (strncmp(id, dataset, sizeof dataset - 1) == 0) {
        kind = "dataset";
        id += sizeof dataset - 1;
    }
    if (order == RATE) {
        char *end;
        const char *text = cli->args.positional[2];
        saying.rate = strtoll(text, &end, 10);
        if (*end || end == text || saying.rate < 0)
            return rc_cli_usage(cli, err, "\"%s\" is no rate, expected records per second, or 0 for no limit", text);
    }
    if (rc_cli_connect(cli, err) != RC_OK || rc_cli_control_change(cli, kind, id, say, &saying, err) != RC_OK)
        return RC_FAIL;
    if (rc_cli_has(cli, "json"))
        rc_cli_json_print(json_pack("{s:s, s:s}", kind, id, "result", said[order]));
    else
        printf("%s/%s: %s\n", kind, id, said[order]);
    return RC_OK;
}

static rc_status backfill(struct rc_cli *cli, struct rc_error *err) {
    const char *word = cli->args.n_positional ? cli->args.positional[0] : NULL;
    if (!word || strcmp(word, "list") == 0)
        return word ? list(cli, err) : rc_cli_usage(cli, err, "what? expected list, pause, resume, cancel or rate");
    for (enum order order = PAUSE; order < N_ORDERS; order++)
        if (strcmp(word, orders[order]) == 0)
            return tell(cli, order, err);
    return rc_cli_usage(cli, err, "\"%s\" is none of list, pause, resume, cancel and rate", word);
}

static const struct rc_cli_option options[] = {CLI_OPTION_WHO, {0}};

const struct rc_cli_command rc_cli_command_backfill = {
    .name = "backfill",
    .summary = "How far new segments' history is read; pause, cancel, slow down",
    .arguments =
        "list | pause SEGMENT | resume SEGMENT | cancel SEGMENT | rate SEGMENT RECORDS; or dataset/ID for SEGMENT",
    .text = "A segment that is new or edited reads its history from the datasets' topics, beside live traffic; the "
            "version before serves until all of "
            "it is read. `list` shows those that are at it. A paused one stands still and does not take over; segments "
            "that read together stop when all "
            "of them are paused. `rate` sets how many records a second each ingest process reads for it at most (0: no "
            "limit); of those that read together "
            "the least counts. A cancelled version is given up: the version before stays, until another one is "
            "applied, or `resume` begins "
            "anew. With dataset/ID all of it is said of the dataset's replay (`rollcall replay`): of partitions that "
            "have gone over already a cancelled one takes nothing back. All of it is kept, whatever is restarted, and "
            "noted in the audit trail (`rollcall history`).",
    .options = options,
    .examples =
        "rollcall backfill list\nrollcall backfill rate cart-abandoners 20000\nrollcall backfill pause cart-abandoners",
    .prints_data = true,
    .run = backfill,
};
