#include "cli/args.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/nearest.h"
#include "base/timezone.h"

#define MAX_OPTIONS 64

/* The option that `text` (len bytes) names among both tables, or NULL. */
static const struct rc_cli_option *find_long(const struct rc_cli_option *own, const struct rc_cli_option *common,
                                             const char *text, size_t len) {
    const struct rc_cli_option *tables[] = {own, common};
    for (size_t t = 0; t < 2; t++) {
        for (const struct rc_cli_option *o = tables[t]; o && o->name; o++) {
            if (strlen(o->name) == len && memcmp(o->name, text, len) == 0)
                return o;
        }
    }
    return NULL;
}

static const struct rc_cli_option *find_short(const struct rc_cli_option *own, const struct rc_cli_option *common,
                                              char letter) {
    const struct rc_cli_option *tables[] = {own, common};
    for (size_t t = 0; t < 2; t++) {
        for (const struct rc_cli_option *o = tables[t]; o && o->name; o++) {
            if (o->letter == letter)
                return o;
        }
    }
    return NULL;
}

static rc_status usage(const struct rc_cli_command *command, struct rc_error *err, const char *fmt, ...)
    RC_PRINTF(3, 4);
static rc_status usage(const struct rc_cli_command *command, struct rc_error *err, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_USAGE, "%s; see `rollcall %s --help`", text, command->name);
}

static rc_status unknown(const struct rc_cli_command *command, const struct rc_cli_option *common, const char *text,
                         struct rc_error *err) {
    const char *names[MAX_OPTIONS];
    size_t n = 0;
    const struct rc_cli_option *tables[] = {command->options, common};
    for (size_t t = 0; t < 2; t++) {
        for (const struct rc_cli_option *o = tables[t]; o && o->name && n < MAX_OPTIONS; o++)
            names[n++] = o->name;
    }
    char word[128];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(text + strspn(text, "-"), "="), text + strspn(text, "-"));
    const char *nearest = rc_nearest_word(word, names, n);
    if (nearest)
        return usage(command, err, "unknown option %s (did you mean --%s?)", text, nearest);
    return usage(command, err, "unknown option %s", text);
}

static void add(struct rc_cli_args *args, const struct rc_cli_option *option, const char *value) {
    args->names[args->n] = option;
    args->values[args->n++] = value;
}

static bool is_option(const char *text) {
    return text[0] == '-' && text[1] != '\0';
}

rc_status rc_cli_args_parse(const struct rc_cli_command *command, const struct rc_cli_option *common, int argc,
                            char *const *argv, struct rc_cli_args *out, struct rc_error *err) {
    size_t room = (size_t)argc + 1;
    struct rc_cli_args args = {.names = rc_calloc(room, sizeof *args.names),
                               .values = rc_calloc(room, sizeof *args.values),
                               .positional = rc_calloc(room, sizeof *args.positional)};
    rc_status status = RC_OK;
    for (int i = 0; status == RC_OK && i < argc; i++) {
        const char *text = argv[i];
        if (!is_option(text)) {
            args.positional[args.n_positional++] = text;
            continue;
        }
        if (strcmp(text, "--") == 0) {
            while (++i < argc)
                args.positional[args.n_positional++] = argv[i];
            break;
        }
        const char *value = NULL;
        const struct rc_cli_option *option;
        if (text[1] == '-') {
            size_t len = strcspn(text + 2, "=");
            option = find_long(command->options, common, text + 2, len);
            value = text[2 + len] == '=' ? text + 3 + len : NULL;
        } else {
            option = find_short(command->options, common, text[1]);
            value = text[2] ? text + 2 : NULL;
        }
        if (!option) {
            status = unknown(command, common, text, err);
        } else if (option->kind == CLI_FLAG) {
            if (value)
                status = usage(command, err, "--%s takes no value", option->name);
            else
                add(&args, option, NULL);
        } else {
            if (!value && i + 1 < argc && strcmp(argv[i + 1], "--") != 0)
                value = argv[++i];
            if (!value) {
                status = usage(command, err, "--%s wants %s", option->name, option->value);
                break;
            }
            add(&args, option, value);
            while (option->kind == CLI_MANY && i + 1 < argc && !is_option(argv[i + 1]))
                add(&args, option, argv[++i]);
        }
    }
    if (status != RC_OK) {
        rc_cli_args_deinit(&args);
        return RC_FAIL;
    }
    *out = args;
    return RC_OK;
}

void rc_cli_args_deinit(struct rc_cli_args *args) {
    free(args->names);
    free(args->values);
    free(args->positional);
    *args = (struct rc_cli_args){0};
}

bool rc_cli_has(const struct rc_cli *cli, const char *option) {
    for (size_t i = 0; i < cli->args.n; i++) {
        if (strcmp(cli->args.names[i]->name, option) == 0)
            return true;
    }
    return false;
}

const char *rc_cli_value(const struct rc_cli *cli, const char *option) {
    const char *value = NULL;
    for (size_t i = 0; i < cli->args.n; i++) {
        if (strcmp(cli->args.names[i]->name, option) == 0)
            value = cli->args.values[i];
    }
    return value;
}

const char *rc_cli_value_at(const struct rc_cli *cli, const char *option, size_t index) {
    for (size_t i = 0; i < cli->args.n; i++) {
        if (strcmp(cli->args.names[i]->name, option) == 0 && index-- == 0)
            return cli->args.values[i];
    }
    return NULL;
}

rc_status rc_cli_duration(const struct rc_cli *cli, const char *option, int64_t *out_ms, struct rc_error *err) {
    const char *text = rc_cli_value(cli, option);
    int64_t ms;
    if (!text)
        return RC_OK;
    if (rc_duration_parse(text, &ms) != RC_OK || ms <= 0)
        return rc_cli_usage(cli, err, "--%s is \"%s\", expected an integer above 0 and one of ms s m h d w, such as 2m",
                            option, text);
    *out_ms = ms;
    return RC_OK;
}

rc_status rc_cli_instant(const struct rc_cli *cli, const char *option, int64_t *out, struct rc_error *err) {
    const char *text = rc_cli_value(cli, option);
    int64_t ms;
    if (!text)
        return RC_OK;
    if (rc_duration_parse(text, &ms) == RC_OK)
        *out = rc_clock_wall_ms() - ms;
    else if (rc_rfc3339_parse(text, strlen(text), out) != RC_OK)
        return rc_cli_usage(cli, err,
                            "--%s is \"%s\", expected a time such as 2026-01-31T09:15:00Z, or how long ago, such as 2h",
                            option, text);
    return RC_OK;
}

rc_status rc_cli_number(const struct rc_cli *cli, const char *option, double *out, struct rc_error *err) {
    const char *text = rc_cli_value(cli, option);
    if (!text)
        return RC_OK;
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || !(number > 0) || isinf(number))
        return rc_cli_usage(cli, err, "--%s is \"%s\", expected a number above 0", option, text);
    *out = number;
    return RC_OK;
}

rc_status rc_cli_integer(const struct rc_cli *cli, const char *option, int64_t *out, struct rc_error *err) {
    const char *text = rc_cli_value(cli, option);
    if (!text)
        return RC_OK;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end || errno || number < 0)
        return rc_cli_usage(cli, err, "--%s is \"%s\", expected an integer not below 0", option, text);
    *out = number;
    return RC_OK;
}

rc_status rc_cli_expect(const struct rc_cli *cli, size_t min, size_t max, struct rc_error *err) {
    if (cli->args.n_positional < min)
        return rc_cli_usage(cli, err, "rollcall %s wants %s", cli->command->name, cli->command->arguments);
    if (cli->args.n_positional > max)
        return rc_cli_usage(cli, err, "\"%s\" is one argument too many", cli->args.positional[max]);
    return RC_OK;
}

rc_status rc_cli_usage(const struct rc_cli *cli, struct rc_error *err, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_USAGE, "%s; see `rollcall %s --help`", text, cli->command->name);
}
