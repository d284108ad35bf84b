/* `rollcall import`: history from files that never was on the topic. It goes onto the topic, marked as imported, where serving state passes over it; when all of
 * it is there, a replay takes it in and tells the differences. The mistake that it prevents: a year of old events told again one by one, as if it
 * happened now. */
#include <stdio.h>

#include "base/clock.h"
#include "base/timezone.h"
#include "cli/applied.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/replay.h"
#include "cli/writer.h"
#include "producers/produce.h"

/* For the announcement to reach every ingest process before the first record; one that it does not reach tells as of late events. */
#define HEARD_MS 1000

static rc_status read_options(const struct rc_cli *cli, struct rc_produce_options *options, struct rc_error *err) {
    static const char *const standard_input[] = {"-"};
    const struct rc_timezone *zone;
    options->dataset = rc_cli_value(cli, "dataset");
    if (!options->dataset)
        return rc_cli_usage(cli, err, "--dataset says to which dataset's topic");
    options->files = cli->args.n_positional ? cli->args.positional : standard_input;
    options->n_files = cli->args.n_positional ? cli->args.n_positional : 1;
    options->import_ms = 1; /* dry: some number */
    options->dry = rc_cli_has(cli, "dry-run");
    options->strict = rc_cli_has(cli, "strict");
    options->quiet = rc_cli_has(cli, "quiet");
    options->time_zone = rc_cli_value(cli, "time-zone");
    if (options->time_zone && rc_timezone_load(options->time_zone, &zone, err) != RC_OK) {
        err->exit_code = RC_EXIT_USAGE;
        return rc_error_prefix(err, "--time-zone");
    }
    return options->dry ? RC_OK : rc_cli_number(cli, "rate", &options->rate, err);
}

static void print_result(const struct rc_cli *cli, const struct rc_produce_result *result, bool takes_effect) {
    if (rc_cli_has(cli, "json"))
        rc_cli_json_print(json_pack("{s:I, s:I, s:I, s:I, s:b, s:b}", "rows", (json_int_t)result->rows, "sent",
                                    (json_int_t)result->sent, "bad", (json_int_t)result->bad, "ignored",
                                    (json_int_t)result->ignored, "stopped", result->stopped, "replay", takes_effect));
    else
        printf("%llu events %s, %llu bad, %llu ignored%s\n", (unsigned long long)result->sent,
               rc_cli_has(cli, "dry-run") ? "would be imported" : "imported", (unsigned long long)result->bad,
               (unsigned long long)result->ignored,
               takes_effect ? "; they are taken in by a replay, `rollcall backfill list` tells how far it is" : "");
}

/* Serving state, which is of replays before, passes over records of this import from here on. */
static rc_status announce(void *ctx, const struct rc_definition *definition, struct rc_control *control,
                          struct rc_error *err) {
    (void)definition, (void)err;
    int64_t now_ms = rc_clock_wall_ms();
    int64_t before = control->replay_ms > control->import_ms ? control->replay_ms : control->import_ms;
    control->import_ms = *(int64_t *)ctx = now_ms > before ? now_ms : before + 1;
    return RC_OK;
}

/* What to do about records that are on the topic and that nothing counts yet. */
static void tell_half(const struct rc_dataset *dataset, uint64_t sent) {
    fprintf(stderr,
            "rollcall: %llu events are on the topic and count with the next replay: %s, or `rollcall replay --dataset "
            "%s` takes in these alone\n",
            (unsigned long long)sent,
            dataset->has_event_id ? "import the same files again"
                                  : "the dataset has no event_id, so import only what is missing",
            dataset->id);
}

static rc_status import_files(struct rc_cli *cli, const struct rc_catalog *catalog, struct rc_produce_options *options,
                              struct rc_error *err) {
    const struct rc_definition *definition;
    struct rc_produce_result result = {0};
    if (rc_cli_find_definition(catalog, "dataset", options->dataset, &definition, err) != RC_OK)
        return RC_FAIL;
    const struct rc_dataset *dataset = &catalog->datasets[rc_catalog_dataset(catalog, options->dataset)];
    if (!options->dry) {
        if (rc_cli_replay_check(cli, catalog, options->dataset, rc_cli_has(cli, "force"), err) != RC_OK ||
            rc_cli_control_change(cli, "dataset", options->dataset, announce, &options->import_ms, err) != RC_OK)
            return RC_FAIL;
        (void)rc_stop_wait(options->stop, HEARD_MS);
    }
    rc_status status = rc_produce_run(options, &result, err);
    if (status != RC_OK)
        status = rc_cli_broker_error(cli, err);
    bool whole = status == RC_OK && !result.stopped && result.sent > 0 && !options->dry;
    if (whole && rc_cli_replay_ask(cli, options->dataset, 0, false, err) != RC_OK) {
        whole = false;
        status = RC_FAIL;
    }
    print_result(cli, &result, whole);
    if (!whole && !options->dry && result.sent > 0)
        tell_half(dataset, result.sent);
    return status;
}

static rc_status import(struct rc_cli *cli, struct rc_error *err) {
    struct rc_stop stop;
    struct rc_catalog *catalog;
    struct rc_produce_options options = {.stop = &stop};
    if (read_options(cli, &options, err) != RC_OK || rc_cli_connect(cli, err) != RC_OK ||
        rc_stop_init(&stop, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_signal_install(&stop, err);
    options.config = cli->config;
    if (status == RC_OK)
        status = rc_cli_applied_catalog(cli, &catalog, err);
    if (status == RC_OK) {
        options.catalog = catalog;
        status = import_files(cli, catalog, &options, err);
        rc_catalog_free(catalog);
    }
    rc_stop_deinit(&stop);
    return status;
}

static const struct rc_cli_option options_table[] = {
    {"dataset", 'd', CLI_ONE, "ID",
     "The dataset whose topic the events go to, and whose definition says how a record looks."},
    {"dry-run", 0, CLI_FLAG, NULL, "Reads and checks all of it, and sends nothing."},
    {"rate", 0, CLI_ONE, "N", "At most N events a second onto the topic."},
    {"time-zone", 0, CLI_ONE, "ZONE",
     "IANA name of the zone of local times without an offset (default: the dataset's)."},
    {"strict", 0, CLI_FLAG, NULL, "Ends with exit 65 at the first bad row; without it bad rows are named and skipped."},
    {"force", 0, CLI_FLAG, NULL,
     "Also where the topic does not hold all any more that segments look back on, so that they may lose members that "
     "are not in the files either."},
    {"quiet", 'q', CLI_FLAG, NULL, "Shows no progress."},
    CLI_OPTION_WHO,
    {0},
};

const struct rc_cli_command rc_cli_command_import = {
    .name = "import",
    .summary = "Takes in history from files that never was on a dataset's topic",
    .arguments = "--dataset ID [FILE...]",
    .text =
        "Reads CSV (with a header), JSONL or Avro container files, each also gzipped; without files, or for -, "
        "stdin: as `rollcall produce` does, with the same checks. The events go onto the topic, marked as "
        "imported, so that state can be built from the topic for ever; what serves passes over them. When all of "
        "them are there, a replay of the dataset takes them in beside live traffic and tells each person's "
        "membership at most once, as it is then (cause backfill): nothing of what was true in between. An import that "
        "ends early takes no effect until the next replay. Events that are on the topic already are the same "
        "events when the dataset has an event_id.",
    .options = options_table,
    .examples = "rollcall import --dataset web 2025.jsonl.gz\nrollcall import --dataset ecom --dry-run "
                "--time-zone Europe/Stockholm old.csv\nrollcall backfill list",
    .prints_data = true,
    .run = import,
};
