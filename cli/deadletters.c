/* The command: what can be said to it, and the two ways of listing. Reading is in deadletters_index.c, the other verbs have files of their
 * own. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/commands.h"
#include "cli/deadletters_index.h"
#include "cli/json.h"
#include "cli/table.h"
#include "codec/decode.h"

static const char *state_of(const struct rc_cli_letter *letter) {
    return letter->redriven ? "redriven" : "dead";
}

static void print_json(const struct rc_cli_letter *letter) {
    json_t *source = json_pack("{s:s, s:i, s:I}", "topic", letter->topic, "partition", (int)letter->partition, "offset",
                               (json_int_t)letter->offset);
    json_object_set_new(source, "timestamp",
                        letter->timestamp_ms == RC_NO_TIMESTAMP ? json_null() : json_integer(letter->timestamp_ms));
    /* What a person sent may stand in the detail, in whatever bytes it came. */
    json_t *detail = json_string(letter->detail);
    rc_cli_json_print(json_pack("{s:o, s:I, s:s, s:s, s:o, s:o, s:i}", "id",
                                json_sprintf("%" PRId32 ":%" PRId64, letter->id.partition, letter->id.offset), "time",
                                (json_int_t)letter->time_ms, "state", state_of(letter), "reason", letter->reason,
                                "detail", detail ? detail : json_string("(not UTF-8)"), "source", source, "attempts",
                                (int)letter->attempts));
}

static void print_row(const struct rc_cli_letter *letter, struct rc_cli_table *table) {
    char time[25];
    rc_cli_table_add(table, "%" PRId32 ":%" PRId64, letter->id.partition, letter->id.offset);
    rc_cli_table_add(table, "%s", rc_cli_time(letter->time_ms, time));
    rc_cli_table_add(table, "%s", state_of(letter));
    rc_cli_table_add(table, "%s", letter->reason);
    rc_cli_table_add(table, "%s [%" PRId32 "] %" PRId64, letter->topic, letter->partition, letter->offset);
    rc_cli_table_add(table, "%" PRId32, letter->attempts);
    rc_cli_table_add(table, "%s", letter->detail);
}

static void print_letters(const struct rc_cli *cli, const struct rc_cli_letters *letters, size_t first) {
    bool json = rc_cli_has(cli, "json");
    struct rc_cli_table table;
    rc_cli_table_init(&table,
                      (const char *const[]){"ID", "TIME", "STATE", "REASON", "SOURCE", ">ATTEMPTS", "DETAIL", NULL});
    for (size_t i = first; i < letters->n; i++) {
        if (json)
            print_json(&letters->items[i]);
        else
            print_row(&letters->items[i], &table);
    }
    rc_cli_table_print(&table, json ? NULL : "no dead letters");
}

/* ---- the summary ---- */

struct group {
    const char *reason, *topic;
    size_t dead, redriven;
    int64_t last_ms;
};

static int by_reason(const void *a, const void *b) {
    const struct group *x = a, *y = b;
    int order = strcmp(x->reason, y->reason);
    return order ? order : strcmp(x->topic, y->topic);
}

static void print_summary(const struct rc_cli *cli, const struct rc_cli_letters *letters, size_t first) {
    struct group *groups = NULL;
    size_t n = 0, capacity = 0;
    for (size_t i = first; i < letters->n; i++) {
        const struct rc_cli_letter *letter = &letters->items[i];
        size_t at = 0;
        while (at < n && (groups[at].reason != letter->reason || groups[at].topic != letter->topic))
            at++;
        if (at == n) {
            rc_grow(&groups, &capacity, n + 1, sizeof *groups);
            groups[n++] = (struct group){.reason = letter->reason, .topic = letter->topic};
        }
        groups[at].dead += !letter->redriven;
        groups[at].redriven += letter->redriven;
        groups[at].last_ms = letter->time_ms;
    }
    if (n)
        qsort(groups, n, sizeof *groups, by_reason);
    bool json = rc_cli_has(cli, "json");
    struct rc_cli_table table;
    rc_cli_table_init(&table, (const char *const[]){"REASON", "TOPIC", ">DEAD", ">REDRIVEN", "LAST", NULL});
    for (size_t i = 0; i < n; i++) {
        if (json) {
            rc_cli_json_print(json_pack("{s:s, s:s, s:I, s:I, s:I}", "reason", groups[i].reason, "topic",
                                        groups[i].topic, "dead", (json_int_t)groups[i].dead, "redriven",
                                        (json_int_t)groups[i].redriven, "last", (json_int_t)groups[i].last_ms));
            continue;
        }
        char time[25];
        rc_cli_table_add(&table, "%s", groups[i].reason);
        rc_cli_table_add(&table, "%s", groups[i].topic);
        rc_cli_table_add(&table, "%zu", groups[i].dead);
        rc_cli_table_add(&table, "%zu", groups[i].redriven);
        rc_cli_table_add(&table, "%s", rc_cli_time(groups[i].last_ms, time));
    }
    rc_cli_table_print(&table, json ? NULL : "no dead letters");
    free(groups);
}

/* Keeps those in the state that --state names. */
static void keep_state(struct rc_cli_letters *letters, const char *state) {
    size_t n = 0;
    for (size_t i = 0; i < letters->n; i++) {
        if (!state || strcmp(state, state_of(&letters->items[i])) == 0)
            letters->items[n++] = letters->items[i];
        else
            free(letters->items[i].detail);
    }
    letters->n = n;
}

static rc_status list(struct rc_cli *cli, struct rc_error *err) {
    struct rc_cli_letter_filter filter;
    struct rc_cli_letters letters = {0};
    const char *state = rc_cli_value(cli, "state");
    char *topic;
    int64_t limit = INT64_MAX;
    if (state && strcmp(state, "dead") != 0 && strcmp(state, "redriven") != 0)
        return rc_cli_usage(cli, err, "--state is \"%s\", expected dead or redriven", state);
    if (rc_cli_integer(cli, "limit", &limit, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_cli_letter_filter_read(cli, &filter, &topic, err);
    filter.details = !rc_cli_has(cli, "summary");
    if (status == RC_OK)
        status = rc_cli_letters_read(cli, &filter, &letters, err);
    if (status == RC_OK) {
        keep_state(&letters, state);
        size_t first = (int64_t)letters.n > limit ? letters.n - (size_t)limit : 0;
        if (rc_cli_has(cli, "summary"))
            print_summary(cli, &letters, first);
        else
            print_letters(cli, &letters, first);
        if (first)
            fprintf(stderr, "%zu older ones left out by --limit\n", first);
        if (letters.foreign)
            fprintf(stderr, "%zu records on the topic are no dead letters: somebody else writes to it\n",
                    letters.foreign);
    }
    rc_cli_letters_deinit(&letters);
    free(topic);
    return status;
}

/* ---- the command line ---- */

/* Which verb an option goes with; those that are not here go with list and redrive. */
static const struct {
    const char *option, *verb;
} belongs[] = {{"summary", "list"}, {"state", "list"}, {"raw", "show"}, {"dry-run", "redrive"}, {"again", "redrive"}};

static rc_status check_options(const struct rc_cli *cli, const char *verb, struct rc_error *err) {
    for (size_t i = 0; i < sizeof belongs / sizeof *belongs; i++)
        if (rc_cli_has(cli, belongs[i].option) && strcmp(belongs[i].verb, verb) != 0)
            return rc_cli_usage(cli, err, "--%s goes with `rollcall deadletters %s`", belongs[i].option,
                                belongs[i].verb);
    static const char *const filters[] = {"reason", "dataset", "topic", "since", "until", "partition", "limit"};
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (rc_cli_has(cli, filters[i]) && (strcmp(verb, "show") == 0 || cli->args.n_positional > 1))
            return rc_cli_usage(cli, err, "--%s chooses among dead letters, and does not go with PARTITION:OFFSET",
                                filters[i]);
    return RC_OK;
}

static rc_status deadletters(struct rc_cli *cli, struct rc_error *err) {
    const char *const *positional = cli->args.positional;
    size_t n = cli->args.n_positional;
    if (rc_cli_expect(cli, 1, SIZE_MAX, err) != RC_OK)
        return RC_FAIL;
    bool lists = strcmp(positional[0], "list") == 0, shows = strcmp(positional[0], "show") == 0;
    if (!lists && !shows && strcmp(positional[0], "redrive") != 0)
        return rc_cli_usage(cli, err, "\"%s\" is not list, show or redrive", positional[0]);
    if (shows && n != 2)
        return rc_cli_usage(cli, err, "show wants one PARTITION:OFFSET, as list shows it");
    if (lists && rc_cli_expect(cli, 1, 1, err) != RC_OK)
        return RC_FAIL;
    if (check_options(cli, positional[0], err) != RC_OK || rc_cli_connect(cli, err) != RC_OK)
        return RC_FAIL;
    if (lists)
        return list(cli, err);
    return shows ? rc_cli_deadletters_show(cli, positional[1], err)
                 : rc_cli_deadletters_redrive(cli, positional + 1, n - 1, err);
}

static const struct rc_cli_option options[] = {
    {"reason", 0, CLI_ONE, "REASON", "Only those with this reason, such as \"broken json\"."},
    {"dataset", 'd', CLI_ONE, "ID", "Only those from this dataset's topic."},
    {"topic", 0, CLI_ONE, "TOPIC", "Only those from this topic."},
    {"partition", 0, CLI_ONE, "N", "Only those from this partition of their topic."},
    {"since", 0, CLI_ONE, "TIME",
     "Only those that became one at TIME or later: RFC 3339, or how long ago, such as 2h."},
    {"until", 0, CLI_ONE, "TIME", "Only those that became one before TIME."},
    {"limit", 0, CLI_ONE, "N", "list: the newest N. redrive: the oldest N."},
    {"state", 0, CLI_ONE, "STATE", "list: only dead, or only redriven ones."},
    {"summary", 0, CLI_FLAG, NULL, "list: how many there are of each reason and topic."},
    {"raw", 0, CLI_FLAG, NULL, "show: the value's bytes and nothing else."},
    {"dry-run", 0, CLI_FLAG, NULL, "redrive: says what would be sent where, and what would come of it; sends nothing."},
    {"again", 0, CLI_FLAG, NULL, "redrive: also those that were sent again before."},
    {0},
};

const struct rc_cli_command rc_cli_command_deadletters = {
    .name = "deadletters",
    .summary = "Records that could not be used: list, show, send again",
    .arguments = "list | show PARTITION:OFFSET | redrive [PARTITION:OFFSET...]",
    .text =
        "list prints them, oldest first, each with the id by which the others know it. show prints one, its headers "
        "and its value: decoded by the "
        "dataset's schema where that can be done, else as text, else in hexadecimal.\n\n"
        "redrive writes the untouched records back to the topics of their datasets, into the partitions where they "
        "belong by the definitions as they "
        "are now: those chosen by id or by the filters, without either all that are dead. It is for after the "
        "definition or the schema was mended. "
        "An event counts once, however often it is sent again; what is still bad comes back with its attempts "
        "counted. What was sent again is "
        "marked, and not sent another time without --again; a redrive that was interrupted is simply run again. Exit "
        "65 when some cannot be sent.",
    .options = options,
    .examples = "rollcall deadletters list --summary\nrollcall deadletters list --dataset web --since 2h\nrollcall "
                "deadletters show 2:41 --raw > record\nrollcall deadletters redrive --reason 'bad value' --dry-run",
    .prints_data = true,
    .run = deadletters,
};
