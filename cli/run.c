/* ingest, materialize, sink, and run, which is all three: sets up in order, waits for the end, tears down in reverse. The consumers work in
 * threads of their own; this one looks after signals and the configuration. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "cli/commands.h"
#include "cli/state_dir.h"
#include "consumers/ingest/ingest.h"
#include "consumers/materialize/materialize.h"
#include "consumers/shared/definitions.h"
#include "consumers/shared/delivery.h"
#include "consumers/sink/sink.h"
#include "kafka/embedded.h"

#define LOOK_MS 250 /* how soon a SIGHUP is seen */

/* A broker that was away may know a member of a group no longer and fence it although nobody has taken its place. A fenced consumer begins
 * again as after a crash, which is always safe; one whose place really is taken gives up after a few times. */
#define FENCED_STARTS 4
#define FENCED_WAIT_MS 1000
#define FENCED_CALM_MS 60000

typedef rc_status (*consumer_fn)(struct rc_process *process, struct rc_error *err);

static const struct {
    const char *name;
    consumer_fn run;
} roles[CLI_MAX_ROLES] = {{"ingest", rc_ingest_run}, {"materialize", rc_materialize_run}, {"sink", rc_sink_run}};

struct consumer {
    const char *role;
    consumer_fn run;
    struct rc_process *process;
    pthread_t thread;
    rc_status status;
    struct rc_error err;
};

struct runner {
    struct rc_cli *cli;
    const char *names[CLI_MAX_ROLES];
    struct consumer consumers[CLI_MAX_ROLES];
    size_t n;
    bool embedded;
    struct rc_stop stop;
    struct rc_cli_locks locks;
    struct rc_embedded *broker;
    const struct rc_config *config; /* what the consumers get: cli->config, or the embedded broker's copy */
    struct rc_http *http;
    struct rc_process process;
    char instance[201];
};

/* ---- configuration ----------------------------------------------------------------------------------------------------------- */

static rc_status set_default(struct rc_cli *cli, const char *key, const char *value, struct rc_error *err) {
    struct rc_config *config;
    if (rc_config_with(cli->config, key, value, true, &config, err) != RC_OK)
        return RC_FAIL;
    rc_config_free(cli->config);
    cli->config = config;
    return RC_OK;
}

/* The configuration with the defaults that belong to this command. */
static rc_status load(const struct runner *runner, struct rc_cli *cli, struct rc_error *err) {
    if (rc_cli_load_config(cli, err) != RC_OK)
        return RC_FAIL;
    if (runner->n > 1 && set_default(cli, "http.listen", "127.0.0.1:9464", err) != RC_OK)
        return RC_FAIL;
    if (!runner->embedded)
        return RC_OK;
    char store[4400];
    snprintf(store, sizeof store, "embedded:%s/profiles", rc_config_text(cli->config, "state.dir"));
    return set_default(cli, "sink.default", store, err);
}

/* SIGHUP: reads everything again. What is live is taken up, what is not is named; a configuration that is wrong changes nothing. */
static void reload(struct runner *runner) {
    struct rc_cli fresh = *runner->cli;
    struct rc_error err;
    int level = rc_log_threshold;
    fresh.config = NULL;
    if (load(runner, &fresh, &err) != RC_OK) {
        rc_log_set_level((enum rc_log_level)level);
        rc_log(RC_LOG_ERROR, "the new configuration is wrong, the old one stays", rc_f_err(&err));
        rc_config_free(fresh.config);
        return;
    }
    size_t n, waiting = 0;
    const struct rc_config_property *table = rc_config_properties(&n);
    for (size_t i = 0; i < n; i++) {
        const char *key = table[i].name;
        if (table[i].live || rc_config_same(runner->cli->config, fresh.config, key))
            continue;
        waiting++;
        rc_log(RC_LOG_WARN, "configuration changed, takes effect at the next start", rc_f_str("key", key));
    }
    if (!rc_config_same(runner->cli->config, fresh.config, "kafka.")) {
        waiting++;
        rc_log(RC_LOG_WARN, "configuration changed, takes effect at the next start", rc_f_str("key", "kafka.*"));
    }
    atomic_store(&runner->process.leave, rc_config_bool(fresh.config, "group.leave"));
    rc_log(RC_LOG_INFO, "configuration read again", rc_f_int("waiting_for_restart", (int64_t)waiting));
    rc_config_free(fresh.config);
}

/* ---- set up ------------------------------------------------------------------------------------------------------------------- */

static rc_status open_broker(struct runner *runner, struct rc_error *err) {
    runner->config = runner->cli->config;
    if (!runner->embedded)
        return RC_OK;
    if (rc_delivery_exactly_once(runner->config))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                            "delivery is exactly_once, but the embedded broker shows records of transactions that are "
                            "not committed; use "
                            "delivery = at_least_once with --embedded");
    if (rc_embedded_start(runner->cli->config, &runner->broker, &runner->config, err) != RC_OK)
        return RC_FAIL;
    return rc_definitions_restore(runner->config, err);
}

static rc_status set_up(struct runner *runner, struct rc_error *err) {
    const struct rc_config *config = runner->cli->config;
    if (rc_signal_install(&runner->stop, err) != RC_OK ||
        rc_cli_state_dir_lock(rc_config_text(config, "state.dir"), runner->names, runner->n, &runner->locks, err) !=
            RC_OK ||
        rc_cli_instance(config, runner->instance, err) != RC_OK ||
        rc_http_open(rc_config_text(config, "http.listen"), &runner->http, err) != RC_OK ||
        open_broker(runner, err) != RC_OK ||
        rc_process_init(&runner->process, runner->config, runner->http, &runner->stop, runner->instance, err) != RC_OK)
        return RC_FAIL;
    for (size_t i = 0; i < runner->n; i++)
        rc_process_set_ready(&runner->process, runner->names[i], false);
    rc_log(RC_LOG_INFO, "started", rc_f_str("version", RC_VERSION), rc_f_str("command", runner->cli->command->name),
           rc_f_str("instance", runner->instance), rc_f_str("http", rc_http_host(runner->http)),
           rc_f_int("port", rc_http_port(runner->http)),
           rc_f_str("kafka", rc_config_text(runner->config, "kafka.bootstrap.servers")),
           rc_f_str("state_dir", rc_config_text(runner->config, "state.dir")));
    return RC_OK;
}

static void tear_down(struct runner *runner) {
    if (runner->process.sections)
        rc_process_deinit(&runner->process);
    rc_embedded_stop(runner->broker);
    rc_http_close(runner->http);
    rc_cli_state_dir_unlock(&runner->locks);
}

/* ---- the consumers -------------------------------------------------------------------------------------------------------------- */

static void *run_consumer(void *ctx) {
    struct consumer *consumer = ctx;
    char name[16];
    snprintf(name, sizeof name, "%s", consumer->role);
    pthread_setname_np(pthread_self(), name);
    for (int begun = 1;; begun++) {
        int64_t began_ms = rc_clock_monotonic_ms();
        consumer->status = consumer->run(consumer->process, &consumer->err);
        if (consumer->status == RC_OK)
            break;
        rc_log(RC_LOG_ERROR, "consumer failed", rc_f_str("role", consumer->role), rc_f_err(&consumer->err));
        if (rc_clock_monotonic_ms() - began_ms > FENCED_CALM_MS)
            begun = 1;
        if (consumer->err.class != RC_CLASS_FENCED || begun == FENCED_STARTS)
            break;
        rc_log(RC_LOG_WARN, "begins again from its last checkpoint", rc_f_str("role", consumer->role));
        if (rc_stop_wait(consumer->process->stop, FENCED_WAIT_MS)) {
            consumer->status = RC_OK;
            break;
        }
    }
    /* Whether it failed or was told to end: the three belong together, and who restarts the process restarts all of them. */
    rc_stop_request(consumer->process->stop);
    return NULL;
}

static rc_status start(struct runner *runner, size_t *started, struct rc_error *err) {
    for (*started = 0; *started < runner->n; ++*started) {
        struct consumer *consumer = &runner->consumers[*started];
        consumer->process = &runner->process;
        int code = pthread_create(&consumer->thread, NULL, run_consumer, consumer);
        if (code != 0)
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "cannot start a thread: %s", strerror(code));
    }
    return RC_OK;
}

static void watch(struct runner *runner) {
    uint32_t hups = rc_signal_hups();
    int64_t since_ms = rc_clock_monotonic_ms();
    bool said_ready = false;
    /* The signals are looked at once more after the stop: a SIGHUP right before a SIGTERM may have changed group.leave. */
    for (bool stopping = false; !stopping;) {
        stopping = rc_stop_wait(&runner->stop, LOOK_MS);
        if (rc_signal_hups() != hups) {
            hups = rc_signal_hups();
            reload(runner);
        }
        if (!said_ready && rc_process_ready(&runner->process)) {
            said_ready = true;
            rc_log(RC_LOG_INFO, "ready", rc_f_double("after_s", (double)(rc_clock_monotonic_ms() - since_ms) / 1000));
        }
    }
}

/* Runs what is set up. The first failure is the one that is told. */
static rc_status run_all(struct runner *runner, struct rc_error *err) {
    size_t started;
    rc_status status = start(runner, &started, err);
    if (status == RC_OK)
        watch(runner);
    rc_stop_request(&runner->stop);
    rc_log(RC_LOG_INFO, "stopping");
    for (size_t i = 0; i < started; i++) {
        pthread_join(runner->consumers[i].thread, NULL);
        if (status == RC_OK && runner->consumers[i].status != RC_OK) {
            status = RC_FAIL;
            *err = runner->consumers[i].err;
        }
    }
    return status;
}

/* Runs the consumer `only`, or all of them when NULL. */
static rc_status run_roles(struct rc_cli *cli, const char *only, bool embedded, struct rc_error *err) {
    struct runner runner = {.cli = cli, .embedded = embedded};
    for (size_t i = 0; i < CLI_MAX_ROLES; i++) {
        if (only && strcmp(only, roles[i].name) != 0)
            continue;
        runner.names[runner.n] = roles[i].name;
        runner.consumers[runner.n++] = (struct consumer){.role = roles[i].name, .run = roles[i].run};
    }
    if (rc_cli_expect(cli, 0, 0, err) != RC_OK || load(&runner, cli, err) != RC_OK ||
        rc_stop_init(&runner.stop, err) != RC_OK)
        return RC_FAIL;
    rc_status status = set_up(&runner, err);
    if (status == RC_OK)
        status = run_all(&runner, err);
    tear_down(&runner);
    rc_log(RC_LOG_INFO, "stopped");
    rc_stop_deinit(&runner.stop);
    return status;
}

static rc_status run_ingest(struct rc_cli *cli, struct rc_error *err) {
    return run_roles(cli, "ingest", false, err);
}

static rc_status run_materialize(struct rc_cli *cli, struct rc_error *err) {
    return run_roles(cli, "materialize", false, err);
}

static rc_status run_sink(struct rc_cli *cli, struct rc_error *err) {
    return run_roles(cli, "sink", false, err);
}

static rc_status run(struct rc_cli *cli, struct rc_error *err) {
    return run_roles(cli, NULL, rc_cli_has(cli, "embedded"), err);
}

#define SIGNALS                                                                                               \
    " SIGTERM drains and ends with exit 0, a second one ends at once; SIGHUP reads the configuration again. " \
    "/metrics, /healthz, /readyz and "                                                                        \
    "/status are served at http.listen."

static const struct rc_cli_option run_options[] = {
    {"embedded", 0, CLI_FLAG, NULL,
     "Brings an in-process broker and a local profile store, so nothing else need be installed. Definitions are kept "
     "in state.dir; events are "
     "forgotten at the end. Commands in a second terminal find it through state.dir."},
    {0},
};

const struct rc_cli_command rc_cli_command_run = {
    .name = "run",
    .summary = "All three consumers in one process",
    .arguments = "[--embedded]",
    .text =
        "Runs ingest, materialize and sink in one process, with http.listen 127.0.0.1:9464 unless it is set." SIGNALS,
    .options = run_options,
    .examples =
        "rollcall run --set kafka.bootstrap.servers=broker:9092\nrollcall run --embedded --set state.dir=./state",
    .run = run,
};

const struct rc_cli_command rc_cli_command_ingest = {
    .name = "ingest",
    .summary = "Consumer: dataset topics to changes of segments",
    .arguments = "",
    .text = "Reads the dataset topics, keeps the segment state of each person and writes every change of a "
            "segment." SIGNALS,
    .examples = "rollcall ingest --config rollcall.conf",
    .run = run_ingest,
};

const struct rc_cli_command rc_cli_command_materialize = {
    .name = "materialize",
    .summary = "Consumer: changes of segments to changes of audiences",
    .arguments = "",
    .text = "Reads the changes of segments and writes every change of an audience to the memberships topic." SIGNALS,
    .examples = "rollcall materialize --config rollcall.conf",
    .run = run_materialize,
};

const struct rc_cli_command rc_cli_command_sink = {
    .name = "sink",
    .summary = "Consumer: changes of audiences to profile stores and destinations",
    .arguments = "",
    .text = "Reads the memberships topic and keeps every destination of each audience up to date." SIGNALS,
    .examples = "rollcall sink --config rollcall.conf --set sink.default=redis://127.0.0.1:6379/0",
    .run = run_sink,
};
