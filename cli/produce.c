/* The options of `produce`, and which definitions it goes by; the work is producers/'. The mistake that it prevents: options that contradict each
 * other and half of which would be ignored. */
#include "producers/produce.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/timezone.h"
#include "cli/applied.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "producers/synthetic.h"

static void print_result(const struct rc_cli *cli, const struct rc_produce_result *result) {
    if (rc_cli_has(cli, "json"))
        rc_cli_json_print(json_pack("{s:I, s:I, s:I, s:I, s:b}", "rows", (json_int_t)result->rows, "sent",
                                    (json_int_t)result->sent, "bad", (json_int_t)result->bad, "ignored",
                                    (json_int_t)result->ignored, "stopped", result->stopped));
    else
        printf("%llu events sent, %llu bad, %llu ignored%s\n", (unsigned long long)result->sent,
               (unsigned long long)result->bad, (unsigned long long)result->ignored,
               result->stopped ? "; stopped early" : "");
}

/* The definitions to go by: those of -f alone, else those that are applied. */
static rc_status load_catalog(const struct rc_cli *cli, struct rc_catalog **out, struct rc_error *err) {
    if (!rc_cli_has(cli, "file"))
        return rc_cli_applied_catalog(cli, out, err);
    const char *paths[64];
    size_t n = 0;
    while (n < 64 && (paths[n] = rc_cli_value_at(cli, "file", n)) != NULL)
        n++;
    struct rc_cli_texts texts = {0};
    struct rc_catalog_builder builder;
    rc_catalog_builder_init(&builder);
    rc_status status = rc_cli_texts_read(&texts, paths, n, err);
    if (status == RC_OK)
        status = rc_cli_texts_add(&texts, &builder, err);
    if (status == RC_OK)
        status = rc_catalog_build(&builder, out, err);
    rc_catalog_builder_deinit(&builder);
    rc_cli_texts_deinit(&texts);
    return status;
}

static rc_status read_options(const struct rc_cli *cli, struct rc_produce_options *options, struct rc_error *err) {
    const char *shift = rc_cli_value(cli, "shift");
    if (shift && strcmp(shift, "now") != 0)
        return rc_cli_usage(cli, err, "--shift is \"%s\", expected now", shift);
    if (shift && rc_cli_has(cli, "pace"))
        return rc_cli_usage(cli, err, "--shift and --pace both move the timestamps; take one of them");
    if (rc_cli_has(cli, "rate") && rc_cli_has(cli, "pace"))
        return rc_cli_usage(cli, err, "--rate and --pace both set the speed; take one of them");
    options->shift_now = shift != NULL;
    options->sort = rc_cli_has(cli, "sort");
    options->strict = rc_cli_has(cli, "strict");
    options->quiet = rc_cli_has(cli, "quiet");
    options->time_zone = rc_cli_value(cli, "time-zone");
    const struct rc_timezone *zone;
    if (options->time_zone && rc_timezone_load(options->time_zone, &zone, err) != RC_OK) {
        err->exit_code = RC_EXIT_USAGE;
        return rc_error_prefix(err, "--time-zone");
    }
    if (rc_cli_number(cli, "rate", &options->rate, err) != RC_OK)
        return RC_FAIL;
    return rc_cli_duration(cli, "pace", &options->pace_ms, err);
}

static rc_status produce_files(struct rc_cli *cli, const struct rc_stop *stop, struct rc_error *err) {
    static const char *const standard_input[] = {"-"};
    struct rc_produce_options options = {.config = cli->config, .stop = stop, .dataset = rc_cli_value(cli, "dataset")};
    if (!options.dataset)
        return rc_cli_usage(cli, err, "--dataset says to which dataset's topic");
    options.files = cli->args.n_positional ? cli->args.positional : standard_input;
    options.n_files = cli->args.n_positional ? cli->args.n_positional : 1;
    struct rc_catalog *catalog;
    const struct rc_definition *definition;
    if (read_options(cli, &options, err) != RC_OK || load_catalog(cli, &catalog, err) != RC_OK)
        return RC_FAIL;
    options.catalog = catalog;
    struct rc_produce_result result = {0};
    rc_status status = rc_cli_find_definition(catalog, "dataset", options.dataset, &definition, err);
    if (status == RC_OK) {
        status = rc_produce_run(&options, &result, err);
        if (status != RC_OK)
            status = rc_cli_broker_error(cli, err);
        print_result(cli, &result);
    }
    rc_catalog_free(catalog);
    return status;
}

static rc_status produce_synthetic(struct rc_cli *cli, const struct rc_stop *stop, struct rc_error *err) {
    struct rc_synthetic_run_options options = {
        .load = {.late = 0.05, .twice = 0.01}, .config = cli->config, .quiet = rc_cli_has(cli, "quiet"), .stop = stop};
    int64_t seed = 1, persons = 0, events = 1000000;
    options.topic = rc_cli_value(cli, "topic");
    if (!options.topic)
        return rc_cli_usage(cli, err, "--synthetic wants --topic");
    if (cli->args.n_positional)
        return rc_cli_usage(cli, err, "--synthetic reads no files");
    if (rc_cli_integer(cli, "seed", &seed, err) != RC_OK || rc_cli_integer(cli, "persons", &persons, err) != RC_OK ||
        rc_cli_integer(cli, "events", &events, err) != RC_OK || rc_cli_number(cli, "rate", &options.rate, err) != RC_OK)
        return RC_FAIL;
    options.load.seed = (uint64_t)seed;
    options.load.persons = (uint64_t)persons;
    options.events = (uint64_t)events;
    uint64_t sent = 0;
    rc_status status = rc_synthetic_run(&options, &sent, err);
    if (status != RC_OK)
        status = rc_cli_broker_error(cli, err);
    print_result(cli, &(struct rc_produce_result){.rows = sent, .sent = sent, .stopped = rc_stop_requested(stop)});
    return status;
}

static rc_status produce(struct rc_cli *cli, struct rc_error *err) {
    struct rc_stop stop;
    if (rc_cli_connect(cli, err) != RC_OK || rc_stop_init(&stop, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_signal_install(&stop, err);
    if (status == RC_OK)
        status = rc_cli_has(cli, "synthetic") ? produce_synthetic(cli, &stop, err) : produce_files(cli, &stop, err);
    rc_stop_deinit(&stop);
    return status;
}

static const struct rc_cli_option options_table[] = {
    {"dataset", 'd', CLI_ONE, "ID",
     "The dataset whose topic the events go to, and whose definition says how a record looks."},
    {"file", 'f', CLI_ONE, "PATH", "Definitions to go by instead of those that are applied; may be repeated."},
    {"rate", 0, CLI_ONE, "N", "At most N events a second."},
    {"shift", 0, CLI_ONE, "now", "Moves all timestamps by one amount so that the last is now."},
    {"sort", 0, CLI_FLAG, NULL, "Sends the events in order of their time."},
    {"pace", 0, CLI_ONE, "DURATION",
     "Squeezes all of the file's time into the coming DURATION (such as 2m) and sends each event at its new time. "
     "Sorts."},
    {"time-zone", 0, CLI_ONE, "ZONE",
     "IANA name of the zone of local times without an offset (default: the dataset's)."},
    {"strict", 0, CLI_FLAG, NULL, "Ends with exit 65 at the first bad row; without it bad rows are named and skipped."},
    {"quiet", 'q', CLI_FLAG, NULL, "Shows no progress."},
    {"synthetic", 0, CLI_FLAG, NULL, "Sends the synthetic load of the benchmarks instead of files."},
    {"topic", 0, CLI_ONE, "NAME", "With --synthetic: the topic."},
    {"events", 0, CLI_ONE, "N", "With --synthetic: how many (default 1000000)."},
    {"persons", 0, CLI_ONE, "N", "With --synthetic: of how many persons (default 1000000)."},
    {"seed", 0, CLI_ONE, "N", "With --synthetic: what decides all of it (default 1)."},
    {0},
};

const struct rc_cli_command rc_cli_command_produce = {
    .name = "produce",
    .summary = "Sends events from files to a dataset's topic",
    .arguments = "--dataset ID [FILE...]",
    .text = "Reads CSV (with a header), JSONL or Avro container files, each also gzipped; without files, or for -, "
            "stdin. Every row is made into the "
            "record that the dataset's definition describes, and checked by the code that ingest uses. Waits until the "
            "brokers have everything. "
            "Progress goes to stderr.",
    .options = options_table,
    .examples = "rollcall produce --dataset web events.jsonl\nrollcall produce --dataset ecom --pace 2m ecom.csv.gz\n"
                "zcat old.jsonl.gz | rollcall produce --dataset web --shift now",
    .prints_data = true,
    .run = produce,
};
