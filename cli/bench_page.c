#include "cli/bench_page.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"

static char *copy(const char *text) {
    return text ? rc_strdup(text) : NULL;
}

static struct rc_cli_bench_row *add(struct rc_cli_bench_rows *rows) {
    rc_grow(&rows->items, &rows->capacity, rows->n + 1, sizeof *rows->items);
    rows->items[rows->n] = (struct rc_cli_bench_row){0};
    return &rows->items[rows->n++];
}

void rc_cli_bench_rows_add(struct rc_cli_bench_rows *rows, const struct rc_bench_row *row) {
    struct rc_cli_bench_row *kept = add(rows);
    kept->row = *row;
    kept->row.measure = kept->measure = copy(row->measure);
    kept->row.what = kept->what = copy(row->what);
    kept->row.beside = kept->beside = copy(row->beside);
    kept->row.unit = kept->unit = copy(row->unit);
    kept->row.detail = kept->detail = copy(row->detail);
}

void rc_cli_bench_rows_fail(struct rc_cli_bench_rows *rows, const char *measure, const char *message) {
    struct rc_cli_bench_row *kept = add(rows);
    kept->row.measure = kept->measure = copy(measure);
    kept->failure = copy(message);
}

void rc_cli_bench_rows_deinit(struct rc_cli_bench_rows *rows) {
    for (size_t i = 0; i < rows->n; i++) {
        free(rows->items[i].measure);
        free(rows->items[i].what);
        free(rows->items[i].beside);
        free(rows->items[i].unit);
        free(rows->items[i].detail);
        free(rows->items[i].failure);
    }
    free(rows->items);
    *rows = (struct rc_cli_bench_rows){0};
}

void rc_cli_bench_goal(const struct rc_bench_row *row, char out[RC_CLI_BENCH_GOAL]) {
    if (row->kind == RC_BENCH_PRODUCT_AT_MOST)
        snprintf(out, RC_CLI_BENCH_GOAL, "<= %g %s", row->goal, row->unit);
    else
        snprintf(out, RC_CLI_BENCH_GOAL, "ratio %s %g", row->kind == RC_BENCH_RATIO_AT_LEAST ? ">=" : "<=", row->goal);
}

const char *rc_cli_bench_number(double value, char out[RC_CLI_BENCH_NUMBER]) {
    if (isnan(value)) {
        snprintf(out, RC_CLI_BENCH_NUMBER, "-");
    } else if (value < 100) {
        snprintf(out, RC_CLI_BENCH_NUMBER, value < 10 ? "%.2f" : "%.1f", value);
    } else {
        char digits[32];
        int len = snprintf(digits, sizeof digits, "%.0f", value), at = 0;
        for (int i = 0; i < len; i++) {
            if (i > 0 && (len - i) % 3 == 0)
                out[at++] = ',';
            out[at++] = digits[i];
        }
        out[at] = '\0';
    }
    return out;
}

/* ---- the page ---- */

/* The first value of a "name : value" line of a file of /proc. */
static void of_proc(const char *path, const char *name, char *out, size_t size) {
    char line[512];
    FILE *file = fopen(path, "r");
    snprintf(out, size, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, name, strlen(name)) != 0 || !colon)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(out, size, "%.*s", (int)strcspn(colon, "\n"), colon);
        break;
    }
    if (file)
        fclose(file);
}

static void write_machine(FILE *out, const struct rc_bench_options *options) {
    char cpu[128], memory[128], date[32];
    struct utsname system;
    struct tm day;
    time_t now = (time_t)(rc_clock_wall_ms() / 1000);
    of_proc("/proc/cpuinfo", "model name", cpu, sizeof cpu);
    of_proc("/proc/meminfo", "MemTotal", memory, sizeof memory);
    uname(&system);
    strftime(date, sizeof date, "%Y-%m-%d", gmtime_r(&now, &day));
    fprintf(
        out,
        "Run of %s, rollcall %s: %ld cores of %s, %.0f GiB, %s %s; %llu events, %llu persons, %lld s of latency.\n\n",
        date, RC_VERSION, sysconf(_SC_NPROCESSORS_ONLN), cpu, strtod(memory, NULL) / 1048576, system.sysname,
        system.release, (unsigned long long)options->events, (unsigned long long)options->persons,
        (long long)(options->seconds ? options->seconds : 60));
}

static void write_rows(FILE *out, const struct rc_cli_bench_rows *rows) {
    fprintf(out, "| measure | work | product | beside | limit | unit | ratio | goal | met "
                 "|\n|---|---|--:|---|--:|---|--:|---|---|\n");
    for (size_t i = 0; i < rows->n; i++) {
        const struct rc_bench_row *row = &rows->items[i].row;
        char product[RC_CLI_BENCH_NUMBER], limit[RC_CLI_BENCH_NUMBER], goal[RC_CLI_BENCH_GOAL],
            ratio[RC_CLI_BENCH_NUMBER];
        if (rows->items[i].failure)
            continue;
        rc_cli_bench_goal(row, goal);
        fprintf(out, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", row->measure, row->what,
                rc_cli_bench_number(row->product, product), row->beside ? row->beside : "-",
                rc_cli_bench_number(row->limit, limit), row->unit, rc_cli_bench_number(row->ratio, ratio), goal,
                row->met ? "yes" : "no");
    }
    fprintf(out, "\n");
    for (size_t i = 0; i < rows->n; i++) {
        const struct rc_cli_bench_row *row = &rows->items[i];
        fprintf(out, "- **%s**: %s%s.\n", row->measure, row->failure ? "failed: " : "",
                row->failure ? row->failure : row->detail);
    }
}

rc_status rc_cli_bench_page(const char *path, const struct rc_cli_bench_rows *rows,
                            const struct rc_bench_options *options, struct rc_error *err) {
    FILE *out = fopen(path, "w");
    if (!out)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "%s: %s", path, strerror(errno));
    fprintf(out, "# Performance\n\n<!-- Written by `rollcall bench all --report docs/performance.md`; what is written "
                 "by hand is in "
                 "performance-profile.md. -->\n\n"
                 "Each figure stands beside a limit that was measured in the same run on the same broker and Redis: "
                 "the least that the same\n"
                 "work costs with the same libraries. The ratio is what counts; absolute figures are this machine's.\n"
                 "[performance-profile.md](performance-profile.md) tells how each is measured, where the time goes and "
                 "what was tried.\n\n");
    write_machine(out, options);
    write_rows(out, rows);
    if (fclose(out) != 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "%s: %s", path, strerror(errno));
    return RC_OK;
}
