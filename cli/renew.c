/* renew: moves the end of an audience's life. The mistake that it prevents: an audience that ends because nobody found the file that it was applied
 * from. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/timezone.h"
#include "cli/change.h"
#include "cli/commands.h"

#define DEFAULT_MONTHS 13
#define MAX_MONTHS 12000

/* 31 January and a month is the last day of February, not a day in March. */
static int64_t add_months(int64_t at_ms, long months) {
    time_t seconds = (time_t)(at_ms / 1000);
    struct tm date;
    if (!gmtime_r(&seconds, &date))
        return at_ms;
    int day = date.tm_mday;
    date.tm_mon += (int)months;
    seconds = timegm(&date);
    if (gmtime_r(&seconds, &date) && date.tm_mday != day)
        seconds -= (time_t)date.tm_mday * 86400;
    return (int64_t)seconds * 1000 + at_ms % 1000;
}

/* "13mo", "2y", or a duration. */
static rc_status read_for(const struct rc_cli *cli, const char *text, int64_t now_ms, int64_t *out,
                          struct rc_error *err) {
    char *unit;
    long n = strtol(text, &unit, 10);
    int64_t ms;
    bool months = unit != text && strcmp(unit, "mo") == 0, years = unit != text && strcmp(unit, "y") == 0;
    if ((months || years) && n > 0 && n <= MAX_MONTHS / (years ? 12 : 1)) {
        *out = add_months(now_ms, years ? n * 12 : n);
        return RC_OK;
    }
    if (months || years || rc_duration_parse(text, &ms) != RC_OK || ms <= 0)
        return rc_cli_usage(cli, err,
                            "--for is \"%s\", expected an integer above 0 and one of y mo w d h, such as 13mo", text);
    *out = now_ms + ms;
    return RC_OK;
}

static rc_status read_end(const struct rc_cli *cli, int64_t now_ms, int64_t *out, struct rc_error *err) {
    const char *until = rc_cli_value(cli, "until"), *length = rc_cli_value(cli, "for");
    if (until && length)
        return rc_cli_usage(cli, err, "--until and --for say the same thing twice; give one of them");
    if (!until && !length) {
        *out = add_months(now_ms, DEFAULT_MONTHS);
        return RC_OK;
    }
    if (length)
        return read_for(cli, length, now_ms, out, err);
    if (rc_rfc3339_parse(until, strlen(until), out) != RC_OK)
        return rc_cli_usage(cli, err, "--until is \"%s\", expected an instant like 2027-10-01T00:00:00Z", until);
    if (*out <= now_ms)
        return rc_cli_usage(cli, err, "--until is %s, which is past", until);
    return RC_OK;
}

static rc_status renew(struct rc_cli *cli, struct rc_error *err) {
    int64_t until_ms = 0, now_ms = rc_clock_wall_ms();
    char time[25], from[64], effect[64];
    struct rc_catalog *catalog;
    const struct rc_definition *definition;
    if (rc_cli_expect(cli, 1, 1, err) != RC_OK || read_end(cli, now_ms, &until_ms, err) != RC_OK ||
        rc_cli_connect(cli, err) != RC_OK || rc_cli_applied_catalog(cli, &catalog, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_cli_find_definition(catalog, "audience", cli->args.positional[0], &definition, err);
    if (status == RC_OK) {
        rc_rfc3339_format(until_ms, time);
        snprintf(from, sizeof from, "version %d until %s", definition->version, time);
        snprintf(effect, sizeof effect, "\"expires\":\"%s\"", time);
        char *json = rc_definition_with_text(definition->json, "expires", time);
        struct rc_cli_revival revival = {.kind = "audience",
                                         .id = definition->id,
                                         .from = from,
                                         .json = json,
                                         .action = "renewed",
                                         .effect = effect};
        status = rc_cli_revive(cli, &revival, err);
        free(json);
    }
    rc_catalog_free(catalog);
    return status;
}

static const struct rc_cli_option options[] = {
    {"until", 0, CLI_ONE, "TIME", "The instant at which it expires, such as 2027-10-01T00:00:00Z."},
    {"for", 0, CLI_ONE, "TIME", "How long it lives from now on: y mo w d h, such as 6mo (default: 13mo)."},
    CLI_OPTION_WHO,
    {0},
};

const struct rc_cli_command rc_cli_command_renew = {
    .name = "renew",
    .summary = "Lets an audience live on",
    .arguments = "AUDIENCE",
    .text =
        "An audience expires at its \"expires\", without one 13 months after it was last applied; `rollcall status` "
        "warns a month before. This writes a new version that differs in \"expires\" only; of one that has expired "
        "already, members come back as its segments have them now.",
    .options = options,
    .examples = "rollcall renew win-back\nrollcall renew win-back --for 6mo\nrollcall renew win-back --until "
                "2027-10-01T00:00:00Z",
    .prints_data = true,
    .run = renew,
};
