/* One installation of the program: a prefix, a configuration, its consumers as processes. Everything that a user would do with commands is done with
 * commands. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "bench/measures/internal.h"

#define COMMAND_TIMEOUT_MS 60000
#define STOP_TIMEOUT_MS 60000
#define READY_LOOK_MS 5

rc_status rc_bench_site_init(struct site *site, struct bench *bench, struct rc_error *err) {
    *site = (struct site){.bench = bench};
    int number = ++bench->sites;
    snprintf(site->prefix, sizeof site->prefix, "bench-%d", number);
    snprintf(site->folder, sizeof site->folder, "%.*s/%s", BENCH_PATH - 80, bench->folder, site->prefix);
    snprintf(site->config, sizeof site->config, "%.*s/rollcall.conf", BENCH_PATH - 32, site->folder);
    if (mkdir(site->folder, 0777) != 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "%s: %s", site->folder, strerror(errno));
    struct rc_buf text;
    rc_buf_init(&text, 1 << 16);
    rc_buf_printf(&text,
                  "kafka.bootstrap.servers = %s\ntopics.prefix = %s\ngroup.prefix = %s\ntopics.replication = 1\n"
                  "state.memory_bytes = 4GiB\nsink.default = redis://127.0.0.1:%d/0\n",
                  bench->bootstrap, site->prefix, site->prefix, bench->redis_port ? bench->redis_port : 6379);
    rc_status status = rc_bench_write_file(site->config, rc_buf_span(&text), err);
    rc_buf_deinit(&text);
    char schema[BENCH_PATH + 16];
    snprintf(schema, sizeof schema, "%s/event.avsc", site->folder);
    if (status == RC_OK)
        status = rc_bench_write_file(schema, rc_span_str(rc_bench_event_schema), err);
    return status;
}

void rc_bench_site_deinit(struct site *site) {
    if (!site->bench)
        return;
    char prefix[BENCH_NAME + 2];
    snprintf(prefix, sizeof prefix, "%s.", site->prefix);
    rc_bench_topics_delete(site->bench, prefix);
    if (!site->bench->options.keep)
        rc_bench_remove_folder(site->folder);
    site->bench = NULL;
}

const char *rc_bench_site_topic(const struct site *site, const char *name, char out[BENCH_NAME * 2]) {
    snprintf(out, BENCH_NAME * 2, "%s.%s", site->prefix, name);
    return out;
}

const char *rc_bench_site_group(const struct site *site, const char *role, char out[BENCH_NAME * 2]) {
    snprintf(out, BENCH_NAME * 2, "%s-%s", site->prefix, role);
    return out;
}

/* The last line of a log: what a command that failed had to say. */
static void last_line(const char *path, char *out, size_t size) {
    FILE *file = fopen(path, "r");
    out[0] = '\0';
    char line[1024];
    while (file && fgets(line, sizeof line, file))
        if (line[0] != '\n')
            snprintf(out, size, "%.*s", (int)strcspn(line, "\n"), line);
    if (file)
        fclose(file);
}

rc_status rc_bench_site_apply(const struct site *site, const struct rc_buf *definitions, struct rc_error *err) {
    char path[BENCH_PATH + 32], log[BENCH_PATH + 32], said[1024];
    snprintf(path, sizeof path, "%s/definitions.json", site->folder);
    snprintf(log, sizeof log, "%s/apply.log", site->folder);
    if (rc_bench_write_file(path, rc_buf_span(definitions), err) != RC_OK)
        return RC_FAIL;
    const char *const argv[] = {site->bench->options.program, "apply", "-f", path, "--config", site->config, NULL};
    pid_t pid;
    int status = 0;
    if (rc_bench_spawn(site->bench, argv, log, &pid, err) != RC_OK ||
        rc_bench_end(pid, 0, COMMAND_TIMEOUT_MS, NULL, &status, err) != RC_OK)
        return RC_FAIL;
    if (status == 0)
        return RC_OK;
    last_line(log, said, sizeof said);
    return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "rollcall apply failed: %s", said);
}

rc_status rc_bench_site_start(const struct site *site, const char *role, struct process *out, struct rc_error *err) {
    char listen[64], state[BENCH_PATH + 64], instance[BENCH_NAME * 2];
    struct process process = {.role = role, .port = rc_bench_free_port()};
    snprintf(listen, sizeof listen, "http.listen=127.0.0.1:%d", process.port);
    snprintf(state, sizeof state, "state.dir=%s/%s", site->folder, role);
    snprintf(instance, sizeof instance, "group.instance=%s", site->prefix);
    snprintf(process.log, sizeof process.log, "%.*s/%s.log", BENCH_PATH - 32, site->folder, role);
    const char *const argv[] = {site->bench->options.program,
                                role,
                                "--config",
                                site->config,
                                "--set",
                                listen,
                                "--set",
                                state,
                                "--set",
                                instance,
                                NULL};
    if (rc_bench_spawn(site->bench, argv, process.log, &process.pid, err) != RC_OK)
        return RC_FAIL;
    *out = process;
    return RC_OK;
}

rc_status rc_bench_process_ready(const struct bench *bench, const struct process *process, int64_t timeout_s,
                                 struct rc_error *err) {
    char said[1024];
    int64_t until = rc_clock_monotonic_ms() + timeout_s * 1000;
    while (rc_bench_http_status(process->port, "/readyz") != 200) {
        bool ended = rc_bench_ended(process->pid);
        if (ended || rc_clock_monotonic_ms() > until) {
            last_line(process->log, said, sizeof said);
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "rollcall %s %s: %s", process->role,
                                ended ? "ended" : "is not ready", said);
        }
        if (rc_bench_wait(bench, READY_LOOK_MS, err) != RC_OK)
            return RC_FAIL;
    }
    return RC_OK;
}

static void end(struct process *process, int signal) {
    struct rc_error ignored;
    if (process->pid > 0)
        (void)!rc_bench_end(process->pid, signal, STOP_TIMEOUT_MS, NULL, NULL, &ignored);
    process->pid = 0;
}

void rc_bench_process_stop(struct process *process) {
    end(process, SIGTERM);
}

void rc_bench_process_kill(struct process *process) {
    end(process, SIGKILL);
}

void rc_bench_site_lose_disk(const struct site *site, const char *role) {
    char path[BENCH_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", site->folder, role);
    rc_bench_remove_folder(path);
}
