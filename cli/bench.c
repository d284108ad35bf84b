/* The command `bench`: which measures, how large, and how their rows are shown. Measuring is bench/measures'; the page is bench_page.c's. */
#include "bench/measures/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/bench_page.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/table.h"

#define DEFAULT_EVENTS 5e6
#define DEFAULT_PERSONS 1e6
#define MAX_MEASURES 32
#define DEFAULT_RATE 1000
#define MAX_RATE 1000000

struct bench_command {
    bool json;
    struct rc_cli_bench_rows rows;
};

/* ---- what comes ---- */

static json_t *number(double value) {
    return isnan(value) ? json_null() : json_real(value);
}

static void take_row(void *ctx, const struct rc_bench_row *row) {
    struct bench_command *command = ctx;
    rc_cli_bench_rows_add(&command->rows, row);
    if (!command->json)
        return;
    char goal[RC_CLI_BENCH_GOAL];
    rc_cli_bench_goal(row, goal);
    rc_cli_json_print(json_pack("{s:s, s:s, s:s?, s:s, s:o, s:o, s:o, s:s, s:b, s:s}", "measure", row->measure, "what",
                                row->what, "beside", row->beside, "unit", row->unit, "product", number(row->product),
                                "limit", number(row->limit), "ratio", number(row->ratio), "goal", goal, "met", row->met,
                                "detail", row->detail));
    fflush(stdout);
}

static void take_failure(void *ctx, const char *measure, const struct rc_error *err) {
    struct bench_command *command = ctx;
    fprintf(stderr, "rollcall bench: %s: %s\n", measure, err->message);
    if (command->json)
        rc_cli_json_print(json_pack("{s:s, s:s}", "measure", measure, "error", err->message));
    rc_cli_bench_rows_fail(&command->rows, measure, err->message);
}

static void say(void *ctx, const char *text) {
    (void)ctx;
    fprintf(stderr, "rollcall bench: %s\n", text);
}

static void print_table(const struct rc_cli_bench_rows *rows) {
    struct rc_cli_table table;
    rc_cli_table_init(
        &table, (const char *const[]){"MEASURE", "WHAT", ">PRODUCT", ">LIMIT", "UNIT", ">RATIO", "GOAL", "MET", NULL});
    for (size_t i = 0; i < rows->n; i++) {
        const struct rc_cli_bench_row *row = &rows->items[i];
        if (row->failure)
            continue;
        rc_cli_table_add(&table, "%s", row->row.measure);
        rc_cli_table_add(&table, "%s", row->row.what);
        for (int k = 0; k < 2; k++) {
            char text[RC_CLI_BENCH_NUMBER];
            rc_cli_table_add(&table, "%s", rc_cli_bench_number(k ? row->row.limit : row->row.product, text));
        }
        rc_cli_table_add(&table, "%s", row->row.unit);
        rc_cli_table_add(&table, isnan(row->row.ratio) ? "-" : "%.2f", row->row.ratio);
        char goal[RC_CLI_BENCH_GOAL];
        rc_cli_bench_goal(&row->row, goal);
        rc_cli_table_add(&table, "%s", goal);
        rc_cli_table_add(&table, "%s", row->row.met ? "yes" : "no");
    }
    rc_cli_table_print(&table, NULL);
}

/* ---- which, and how large ---- */

static rc_status read_measures(const struct rc_cli *cli, const char **names, size_t *n, struct rc_error *err) {
    const struct rc_bench_measure *all = rc_bench_measures();
    for (size_t i = 0; i < cli->args.n_positional; i++) {
        const char *name = cli->args.positional[i];
        bool every = strcmp(name, "all") == 0, found = every;
        for (size_t k = 0; all[k].name; k++)
            if (every || strcmp(all[k].name, name) == 0) {
                found = true;
                names[(*n)++] = all[k].name;
                if (*n == MAX_MEASURES)
                    return rc_cli_usage(cli, err, "too many measures");
            }
        if (!found)
            return rc_cli_usage(cli, err, "there is no measure \"%s\"", name);
    }
    return *n ? RC_OK : rc_cli_usage(cli, err, "name measures, or all");
}

static rc_status read_sizes(const struct rc_cli *cli, struct rc_bench_options *options, struct rc_error *err) {
    double scale = 1;
    int64_t seconds_ms = 0;
    if (rc_cli_number(cli, "scale", &scale, err) != RC_OK)
        return RC_FAIL;
    int64_t events = (int64_t)(DEFAULT_EVENTS * scale), persons = (int64_t)(DEFAULT_PERSONS * scale),
            rate = DEFAULT_RATE;
    if (rc_cli_integer(cli, "events", &events, err) != RC_OK ||
        rc_cli_integer(cli, "persons", &persons, err) != RC_OK || rc_cli_integer(cli, "rate", &rate, err) != RC_OK ||
        rc_cli_duration(cli, "duration", &seconds_ms, err) != RC_OK)
        return RC_FAIL;
    if (events < 1000 || persons < 100 || (seconds_ms && seconds_ms < 1000))
        return rc_cli_usage(cli, err, "at least 1000 events, 100 persons and 1s, or there is nothing to measure");
    options->events = (uint64_t)events;
    options->persons = (uint64_t)persons;
    if (rate < 1 || rate > MAX_RATE)
        return rc_cli_usage(cli, err, "--rate is between 1 and 1000000");
    options->seconds = seconds_ms / 1000;
    options->rate = rate;
    return RC_OK;
}

/* The program that runs, by its own path: what is measured is what was asked. */
static rc_status own_path(char out[4096], struct rc_error *err) {
    ssize_t n = readlink("/proc/self/exe", out, 4095);
    if (n <= 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "/proc/self/exe cannot be read");
    out[n] = '\0';
    return RC_OK;
}

static rc_status bench(struct rc_cli *cli, struct rc_error *err) {
    const char *names[MAX_MEASURES + 1];
    size_t n = 0;
    char program[4096];
    struct rc_stop stop;
    struct rc_bench_options options = {.program = program,
                                       .kafka_home = rc_cli_value(cli, "kafka-home"),
                                       .redis_server = rc_cli_value(cli, "redis-server"),
                                       .keep = rc_cli_has(cli, "keep"),
                                       .stop = &stop};
    if (read_measures(cli, names, &n, err) != RC_OK || read_sizes(cli, &options, err) != RC_OK ||
        rc_cli_load_config(cli, err) != RC_OK || own_path(program, err) != RC_OK || rc_stop_init(&stop, err) != RC_OK)
        return RC_FAIL;
    /* Only when asked for here: a broker that the environment names is nobody's test bed. */
    if (strcmp(rc_config_origin(cli->config, "kafka.bootstrap.servers"), "--set") == 0)
        options.bootstrap = rc_config_text(cli->config, "kafka.bootstrap.servers");
    struct bench_command command = {.json = rc_cli_has(cli, "json")};
    struct rc_bench_listener listener = {.row = take_row, .failed = take_failure, .says = say, .ctx = &command};
    rc_status status = rc_signal_install(&stop, err);
    if (status == RC_OK)
        status = rc_bench_run(&options, names, n, &listener, err);
    if (!command.json)
        print_table(&command.rows);
    struct rc_error why;
    const char *report = rc_cli_value(cli, "report");
    if (report && command.rows.n > 0 && rc_cli_bench_page(report, &command.rows, &options, &why) != RC_OK &&
        status == RC_OK) {
        *err = why;
        status = RC_FAIL;
    }
    rc_cli_bench_rows_deinit(&command.rows);
    rc_stop_deinit(&stop);
    return status;
}

static const struct rc_cli_option options_table[] = {
    {"report", 0, CLI_ONE, "FILE", "Also writes the figures as a page (Markdown), such as docs/performance.md."},
    {"scale", 0, CLI_ONE, "F", "Multiplies the sizes of the load: 0.1 takes a tenth of the events and persons."},
    {"events", 0, CLI_ONE, "N", "Events of the waiting topic (default 5000000)."},
    {"persons", 0, CLI_ONE, "N", "Persons (default 1000000)."},
    {"duration", 0, CLI_ONE, "TIME", "How long latency and exits are watched (default 60s)."},
    {"rate", 0, CLI_ONE, "N", "Live events a second of backfill (default 1000)."},
    {"kafka-home", 0, CLI_ONE, "DIR",
     "Folder with lib/ or libs/ of Kafka's jars (default: what scripts/bootstrap --tests has brought)."},
    {"redis-server", 0, CLI_ONE, "FILE",
     "The Redis server to start (default: that of scripts/bootstrap, else from PATH)."},
    {"keep", 0, CLI_FLAG, NULL, "Leaves the folder with logs and data."},
    {0},
};

const struct rc_cli_command rc_cli_command_bench = {
    .name = "bench",
    .summary = "Measures the program on this machine, each figure beside its limit",
    .arguments = "MEASURE...|all",
    .text =
        "Starts a broker (Java) and a Redis of its own in a temporary folder, runs this program's consumers against "
        "them, and measures in the same run the least that the same work costs with the same libraries. The ratio of "
        "the two is the figure. Measures: throughput, engine, segments, persons, latency, exits, wave, audiences, "
        "backfill, sink, memory, restart, restore, idle; docs/performance.md says what each is. With --set "
        "kafka.bootstrap.servers=host:port a "
        "broker that runs is used instead; topics that begin with bench are made there and removed.",
    .options = options_table,
    .examples = "rollcall bench throughput latency\nrollcall bench all --scale 0.1\n"
                "rollcall bench all --report docs/performance.md",
    .prints_data = true,
    .run = bench,
};
