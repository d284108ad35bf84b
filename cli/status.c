/* Owns how the parts that running processes tell are put together to one picture. Each process tells of its own partitions; members are
 * added up, the worst state of the parts is the state of the whole. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "cli/applied.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/listing.h"
#include "cli/processes.h"
#include "cli/status_latency.h"
#include "cli/table.h"

#define ANSWER_TIMEOUT_MS 2000

/* One definition (segment, audience, destination) over all processes. */
struct whole {
    char *id; /* owned */
    int version;
    char state[64];
    int parts; /* processes that tell of it */
    int64_t members, last_change_ms, incomplete_until_ms, history_from_ms, serving_version, left, lag_records;
    int64_t held_members, held_would_have;
    int64_t withheld, last_refresh_ms, next_refresh_ms, expires_ms; /* audiences; 0: none */
    bool expires_soon;
    double lag_seconds, progress, rate; /* rate: history read per second */
};

struct wholes {
    struct whole *items; /* owned */
    size_t n, capacity;
};

static struct whole *whole_of(struct wholes *wholes, const char *id) {
    for (size_t i = 0; i < wholes->n; i++) {
        if (strcmp(wholes->items[i].id, id) == 0)
            return &wholes->items[i];
    }
    rc_grow(&wholes->items, &wholes->capacity, wholes->n + 1, sizeof *wholes->items);
    wholes->items[wholes->n] =
        (struct whole){.id = rc_strdup(id), .lag_records = -1, .lag_seconds = -1, .progress = NAN};
    return &wholes->items[wholes->n++];
}

static void wholes_deinit(struct wholes *wholes) {
    for (size_t i = 0; i < wholes->n; i++)
        free(wholes->items[i].id);
    free(wholes->items);
}

/* How much a state matters: "live" and "ready" give way to anything else that a part says, and that to an error. */
static int weight_of(const char *state) {
    if (!*state)
        return 0;
    if (strcmp(state, "live") == 0 || strcmp(state, "ready") == 0)
        return 1;
    return strncmp(state, "error", 5) == 0 ? 3 : 2;
}

static void merge_state(struct whole *whole, const char *state) {
    if (weight_of(state) > weight_of(whole->state))
        snprintf(whole->state, sizeof whole->state, "%s", state);
}

static int64_t greater(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* Published is what all parts have published: the least. */
static void merge_schedule(struct whole *whole, const json_t *part) {
    int64_t last = rc_cli_json_int(part, "last_refresh_ms", 0);
    whole->last_refresh_ms = whole->parts == 1 || last < whole->last_refresh_ms ? last : whole->last_refresh_ms;
    whole->next_refresh_ms = greater(whole->next_refresh_ms, rc_cli_json_int(part, "next_refresh_ms", 0));
    whole->expires_ms = greater(whole->expires_ms, rc_cli_json_int(part, "expires_ms", 0));
    whole->withheld += rc_cli_json_int(part, "withheld", 0);
    whole->expires_soon |= json_object_get(part, "warning") != NULL;
}

static void merge_part(struct whole *whole, const json_t *part) {
    whole->parts++;
    merge_schedule(whole, part);
    whole->version = (int)greater(whole->version, rc_cli_json_int(part, "version", 0));
    merge_state(whole, rc_cli_json_text(part, "state", ""));
    whole->members += rc_cli_json_int(part, "members", 0);
    whole->last_change_ms = greater(whole->last_change_ms, rc_cli_json_int(part, "last_change_ms", 0));
    whole->incomplete_until_ms = greater(whole->incomplete_until_ms, rc_cli_json_int(part, "incomplete_until_ms", 0));
    whole->history_from_ms = greater(whole->history_from_ms, rc_cli_json_int(part, "history_from_ms", 0));
    whole->serving_version = greater(whole->serving_version, rc_cli_json_int(part, "serving_version", 0));
    whole->held_members = greater(whole->held_members, rc_cli_json_int(part, "held_members", 0));
    whole->held_would_have = greater(whole->held_would_have, rc_cli_json_int(part, "held_would_have", 0));
    whole->left += rc_cli_json_int(part, "history_records", 0) - rc_cli_json_int(part, "read_records", 0);
    whole->rate += rc_cli_json_real(part, "rate", 0);
    int64_t lag = rc_cli_json_int(part, "lag_records", -1);
    if (lag >= 0)
        whole->lag_records = (whole->lag_records < 0 ? 0 : whole->lag_records) + lag;
    whole->lag_seconds = fmax(whole->lag_seconds, rc_cli_json_real(part, "lag_seconds", -1));
    whole->progress = fmin(whole->progress, rc_cli_json_real(part, "progress", NAN));
}

/* All entries of the list `name` in all sections. */
static void collect(const struct rc_cli_processes *processes, const char *name, struct wholes *out) {
    for (size_t p = 0; p < processes->n; p++) {
        size_t i;
        const json_t *part;
        json_array_foreach(json_object_get(processes->items[p].section, name), i, part) {
            const char *id = rc_cli_json_text(part, "id", NULL);
            if (id)
                merge_part(whole_of(out, id), part);
        }
    }
}

/* What is defined, whether somebody tells of it or not. */
static void add_defined(const struct rc_catalog *catalog, const char *kind, const char *role,
                        const struct rc_cli_processes *processes, struct wholes *out) {
    bool running = false;
    for (size_t p = 0; p < processes->n; p++)
        running = running || (processes->items[p].section &&
                              strcmp(rc_cli_json_text(processes->items[p].record, "role", ""), role) == 0);
    for (size_t i = 0; i < catalog->n_definitions; i++) {
        if (strcmp(catalog->definitions[i].kind, kind) != 0)
            continue;
        struct whole *whole = whole_of(out, catalog->definitions[i].id);
        if (whole->version == 0)
            whole->version = catalog->definitions[i].version;
        if (whole->parts == 0)
            snprintf(whole->state, sizeof whole->state, running ? "not taken up yet" : "no %s is running", role);
    }
}

static int by_id(const void *a, const void *b) {
    return strcmp(((const struct whole *)a)->id, ((const struct whole *)b)->id);
}

/* ---- lines of JSON ---------------------------------------------------------------------------------------------------------- */

static json_t *ms_or_null(int64_t at_ms) {
    return at_ms > 0 ? json_integer(at_ms) : json_null();
}

static void json_wholes(const char *type, const struct wholes *wholes, const struct rc_cli_processes *processes) {
    bool members = strcmp(type, "destination") != 0;
    for (size_t i = 0; i < wholes->n; i++) {
        const struct whole *whole = &wholes->items[i];
        json_t *line = json_pack("{s:s, s:s, s:i, s:s}", "type", type, "id", whole->id, "version", whole->version,
                                 "state", whole->state);
        if (members)
            json_object_set_new(line, "members", json_integer(whole->members));
        json_object_set_new(line, "lastChange", ms_or_null(whole->last_change_ms));
        if (strcmp(type, "audience") == 0) {
            json_object_set_new(line, "lastRefresh", ms_or_null(whole->last_refresh_ms));
            json_object_set_new(line, "nextRefresh", ms_or_null(whole->next_refresh_ms));
            json_object_set_new(line, "expires", ms_or_null(whole->expires_ms));
            json_object_set_new(line, "expiresSoon", json_boolean(whole->expires_soon));
            json_object_set_new(line, "withheld", json_integer(whole->withheld));
        }
        if (strcmp(whole->state, "held") == 0)
            json_object_set_new(line, "held",
                                json_pack("{s:I, s:I}", "members", (json_int_t)whole->held_members, "wouldHave",
                                          (json_int_t)whole->held_would_have));
        if (members)
            json_object_set_new(line, "servingVersion", ms_or_null(whole->serving_version));
        if (strcmp(type, "segment") == 0) {
            json_object_set_new(line, "incompleteUntil", ms_or_null(whole->incomplete_until_ms));
            json_object_set_new(line, "historyFrom", ms_or_null(whole->history_from_ms));
            json_object_set_new(line, "progress", isnan(whole->progress) ? json_null() : json_real(whole->progress));
            json_object_set_new(line, "leftRecords", isnan(whole->progress) ? json_null() : json_integer(whole->left));
            json_object_set_new(line, "etaSeconds",
                                whole->left > 0 && whole->rate > 0 ? json_real((double)whole->left / whole->rate)
                                                                   : json_null());
        }
        if (strcmp(type, "audience") == 0)
            json_object_set_new(line, "latency", rc_cli_audience_latency(processes, whole->id));
        if (!members) {
            json_object_set_new(line, "lagRecords",
                                whole->lag_records < 0 ? json_null() : json_integer(whole->lag_records));
            json_object_set_new(line, "lagSeconds",
                                whole->lag_seconds < 0 ? json_null() : json_real(whole->lag_seconds));
        }
        rc_cli_json_print(line);
    }
}

static void json_process(const struct rc_cli_process *process) {
    json_t *line = json_object();
    json_object_set_new(line, "type", json_string("process"));
    json_object_set_new(line, "process", json_string(process->key));
    json_object_update_missing(line, process->record);
    json_object_set_new(line, "answers", json_boolean(process->section != NULL));
    if (process->problem)
        json_object_set_new(line, "problem", json_string(process->problem));
    static const char *const kept[] = {"ready", "latency", "counters", "errors"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        json_t *value = json_deep_copy(json_object_get(process->section, kept[i]));
        const char *name;
        json_t *latency;
        json_object_foreach(i == 1 ? value : NULL, name, latency) {
            json_object_del(latency, "buckets");
        }
        if (value)
            json_object_set_new(line, kept[i], value);
    }
    rc_cli_json_print(line);
    size_t i;
    json_t *partition;
    json_array_foreach(json_object_get(process->section, "partitions"), i, partition) {
        json_t *part = json_object();
        json_object_set_new(part, "type", json_string("partition"));
        json_object_set_new(part, "process", json_string(process->key));
        json_object_set_new(part, "role", json_string(rc_cli_json_text(process->record, "role", "")));
        json_object_update_missing(part, partition);
        rc_cli_json_print(part);
    }
}

/* ---- tables ------------------------------------------------------------------------------------------------------------------ */

static void print_processes(const struct rc_cli_processes *processes) {
    struct rc_cli_table table;
    rc_cli_table_init(&table,
                      (const char *const[]){"CONSUMER", "INSTANCE", "ADDRESS", "STATE", ">PARTITIONS", "SINCE", NULL});
    for (size_t i = 0; i < processes->n; i++) {
        const struct rc_cli_process *process = &processes->items[i];
        const json_t *ready = json_object_get(process->section, "ready");
        rc_cli_table_add(&table, "%s", rc_cli_json_text(process->record, "role", "?"));
        rc_cli_table_add(&table, "%s", process->key);
        rc_cli_table_add(&table, "%s:%lld", rc_cli_json_text(process->record, "host", "?"),
                         (long long)rc_cli_json_int(process->record, "port", 0));
        rc_cli_table_add(&table, "%s",
                         !process->section     ? "does not answer"
                         : json_is_true(ready) ? "ready"
                                               : "not ready");
        rc_cli_table_add(&table, "%zu", json_array_size(json_object_get(process->record, "partitions")));
        rc_cli_table_add(&table, "%s", rc_cli_json_text(process->record, "since", "-"));
    }
    rc_cli_table_print(&table, NULL);
}

/* With how far it has come, where that is told. */
static void add_state(struct rc_cli_table *table, const json_t *part) {
    const char *state = rc_cli_json_text(part, "state", "-");
    int64_t all = rc_cli_json_int(part, "restore_records", 0), done = rc_cli_json_int(part, "restored_records", 0);
    if (all > 0)
        rc_cli_table_add(table, "%s %lld%%", state, (long long)(done * 100 / all));
    else
        rc_cli_table_add(table, "%s", state);
}

static void print_partitions(const struct rc_cli_processes *processes) {
    struct rc_cli_table table;
    rc_cli_table_init(&table, (const char *const[]){"CONSUMER", "TOPIC", ">PARTITION", "STATE", ">OFFSET", ">LAG",
                                                    ">LAG TIME", ">PERSONS", NULL});
    for (size_t p = 0; p < processes->n; p++) {
        size_t i;
        const json_t *part;
        json_array_foreach(json_object_get(processes->items[p].section, "partitions"), i, part) {
            char lag[32];
            int64_t records = rc_cli_json_int(part, "lag_records", -1), persons = rc_cli_json_int(part, "persons", -1);
            rc_cli_table_add(&table, "%s", rc_cli_json_text(processes->items[p].record, "role", "?"));
            rc_cli_table_add(&table, "%s", rc_cli_json_text(part, "topic", "-"));
            rc_cli_table_add(&table, "%lld", (long long)rc_cli_json_int(part, "partition", -1));
            add_state(&table, part);
            rc_cli_table_add(&table, "%lld", (long long)rc_cli_json_int(part, "offset", -1));
            if (records < 0)
                rc_cli_table_add(&table, "-");
            else
                rc_cli_table_add(&table, "%lld", (long long)records);
            rc_cli_table_add(&table, "%s", rc_cli_seconds(rc_cli_json_real(part, "lag_seconds", -1), lag));
            if (persons < 0)
                rc_cli_table_add(&table, "-");
            else
                rc_cli_table_add(&table, "%lld", (long long)persons);
        }
    }
    putchar('\n');
    rc_cli_table_print(&table, "no partitions are held by anybody");
}

static const char *held_note(const char *kind, const struct whole *whole, char *out, size_t size) {
    return rc_cli_held_note(kind, whole->id, whole->version, whole->held_members, whole->held_would_have, out, size);
}

static void print_segments(const struct wholes *wholes) {
    struct rc_cli_table table;
    rc_cli_table_init(&table, (const char *const[]){"SEGMENT", ">VERSION", "STATE", ">MEMBERS", "NOTE", NULL});
    for (size_t i = 0; i < wholes->n; i++) {
        const struct whole *whole = &wholes->items[i];
        char time[25], note[384];
        rc_cli_table_add(&table, "%s", whole->id);
        rc_cli_table_add(&table, "%d", whole->version);
        rc_cli_table_add(&table, "%s", whole->state);
        rc_cli_table_add(&table, "%lld", (long long)whole->members);
        if (strcmp(whole->state, "held") == 0)
            rc_cli_table_add(&table, "%s", held_note("segment", whole, note, sizeof note));
        else if (whole->incomplete_until_ms > 0)
            rc_cli_table_add(&table, "incomplete until %s", rc_cli_time(whole->incomplete_until_ms, time));
        else if (whole->history_from_ms > 0)
            rc_cli_table_add(&table, "counts from %s on: what was before is gone from the topics",
                             rc_cli_time(whole->history_from_ms, time));
        else if (!isnan(whole->progress) && whole->progress < 1 && whole->rate > 0)
            rc_cli_table_add(&table, "%.0f %% of its history is read, %lld records are left, about %.0f s",
                             whole->progress * 100, (long long)whole->left, (double)whole->left / whole->rate);
        else if (!isnan(whole->progress) && whole->progress < 1)
            rc_cli_table_add(&table, "%.0f %% of its history is read", whole->progress * 100);
        else
            rc_cli_table_add(&table, "%s", "");
    }
    putchar('\n');
    rc_cli_table_print(&table, "no segments");
}

static void print_audiences(const struct wholes *wholes, const struct rc_cli_processes *processes) {
    struct rc_cli_table table;
    rc_cli_table_init(&table, (const char *const[]){"AUDIENCE", ">VERSION", "STATE", ">MEMBERS", "LAST CHANGE",
                                                    "EVENT TO PROFILE p50 / p99", "LAST REFRESH", "NEXT REFRESH",
                                                    "EXPIRES", "NOTE", NULL});
    for (size_t i = 0; i < wholes->n; i++) {
        const struct whole *whole = &wholes->items[i];
        char time[25], note[384];
        rc_cli_table_add(&table, "%s", whole->id);
        rc_cli_table_add(&table, "%d", whole->version);
        rc_cli_table_add(&table, "%s", whole->state);
        rc_cli_table_add(&table, "%lld", (long long)whole->members);
        rc_cli_table_add(&table, "%s", rc_cli_time(whole->last_change_ms, time));
        rc_cli_audience_latency_cell(processes, whole->id, &table);
        rc_cli_table_add(&table, "%s", rc_cli_time(whole->last_refresh_ms, time));
        rc_cli_table_add(&table, "%s", rc_cli_time(whole->next_refresh_ms, time));
        rc_cli_table_add(&table, "%s", rc_cli_time(whole->expires_ms, time));
        if (strcmp(whole->state, "held") == 0)
            rc_cli_table_add(&table, "%s", held_note("audience", whole, note, sizeof note));
        else if (whole->withheld)
            rc_cli_table_add(&table, "%lld more would be members", (long long)whole->withheld);
        else
            rc_cli_table_add(&table, "%s", whole->expires_soon ? "expires soon" : "");
    }
    putchar('\n');
    rc_cli_table_print(&table, "no audiences");
}

static void print_destinations(const struct wholes *wholes) {
    struct rc_cli_table table;
    rc_cli_table_init(&table, (const char *const[]){"DESTINATION", "STATE", ">LAG", ">LAG TIME", "LAST CHANGE", NULL});
    for (size_t i = 0; i < wholes->n; i++) {
        const struct whole *whole = &wholes->items[i];
        char time[25], lag[32];
        rc_cli_table_add(&table, "%s", whole->id);
        rc_cli_table_add(&table, "%s", whole->state);
        if (whole->lag_records < 0)
            rc_cli_table_add(&table, "-");
        else
            rc_cli_table_add(&table, "%lld", (long long)whole->lag_records);
        rc_cli_table_add(&table, "%s", rc_cli_seconds(whole->lag_seconds, lag));
        rc_cli_table_add(&table, "%s", rc_cli_time(whole->last_change_ms, time));
    }
    if (wholes->n)
        putchar('\n');
    rc_cli_table_print(&table, NULL);
}

static void print_errors(const struct rc_cli_processes *processes) {
    bool headed = false;
    for (size_t p = 0; p < processes->n; p++) {
        const struct rc_cli_process *process = &processes->items[p];
        if (process->problem) {
            printf("%s  %s: %s\n", headed ? "" : "\nERRORS\n", process->key, process->problem);
            headed = true;
        }
        size_t i;
        const json_t *text;
        json_array_foreach(json_object_get(process->section, "errors"), i, text) {
            printf("%s  %s: %s\n", headed ? "" : "\nERRORS\n", process->key,
                   json_is_string(text) ? json_string_value(text) : "?");
            headed = true;
        }
        const char *reason;
        json_t *count;
        json_object_foreach(json_object_get(json_object_get(process->section, "counters"), "dead_letters"), reason,
                            count) {
            if (json_integer_value(count) == 0)
                continue;
            printf("%s  %s: %lld dead letters: %s\n", headed ? "" : "\nERRORS\n", process->key,
                   (long long)json_integer_value(count), reason);
            headed = true;
        }
    }
}

/* ------------------------------------------------------------------------------------------------------------------------------ */

static void print_all(const struct rc_cli *cli, const struct rc_cli_processes *processes,
                      const struct rc_catalog *catalog) {
    struct wholes segments = {0}, audiences = {0}, destinations = {0};
    collect(processes, "segments", &segments);
    collect(processes, "audiences", &audiences);
    collect(processes, "destinations", &destinations);
    add_defined(catalog, "segment", "ingest", processes, &segments);
    add_defined(catalog, "audience", "materialize", processes, &audiences);
    struct wholes *all[] = {&segments, &audiences, &destinations};
    for (size_t i = 0; i < 3; i++) {
        if (all[i]->n)
            qsort(all[i]->items, all[i]->n, sizeof *all[i]->items, by_id);
    }
    if (rc_cli_has(cli, "json")) {
        for (size_t i = 0; i < processes->n; i++)
            json_process(&processes->items[i]);
        rc_cli_hops_json(processes);
        json_wholes("segment", &segments, processes);
        json_wholes("audience", &audiences, processes);
        json_wholes("destination", &destinations, processes);
    } else {
        print_processes(processes);
        print_partitions(processes);
        rc_cli_hops_print(processes);
        print_segments(&segments);
        print_audiences(&audiences, processes);
        print_destinations(&destinations);
        print_errors(processes);
    }
    for (size_t i = 0; i < 3; i++)
        wholes_deinit(all[i]);
}

static rc_status status(struct rc_cli *cli, struct rc_error *err) {
    if (rc_cli_expect(cli, 0, 0, err) != RC_OK || rc_cli_connect(cli, err) != RC_OK)
        return RC_FAIL;
    struct rc_cli_processes processes = {0};
    struct rc_catalog *catalog;
    if (rc_cli_applied_catalog(cli, &catalog, err) != RC_OK)
        return RC_FAIL;
    rc_status result = rc_cli_processes_read(cli, ANSWER_TIMEOUT_MS, &processes, err);
    if (result == RC_OK) {
        size_t answering = 0;
        for (size_t i = 0; i < processes.n; i++)
            answering += processes.items[i].section != NULL;
        print_all(cli, &processes, catalog);
        if (answering == 0)
            result = rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE,
                                  "no process of this installation answers (%zu known); `rollcall run`, or ingest, "
                                  "materialize and sink, start them",
                                  processes.n);
    }
    rc_cli_processes_deinit(&processes);
    rc_catalog_free(catalog);
    return result;
}

const struct rc_cli_command rc_cli_command_status = {
    .name = "status",
    .summary = "Every consumer, partition, segment and audience",
    .arguments = "",
    .text =
        "Finds the running processes, asks each, and shows state, lag in records and in time, members, the last "
        "change and errors, and how long it takes from the event to the profile, hop by hop and per audience. A "
        "segment that has not "
        "seen all of its window yet is `incomplete until` the time when it has. With --json each line has a "
        "`type`: process, partition, "
        "latency, segment, audience or destination; times are in ms since the epoch. Exit 69 when no process answers.",
    .examples = "rollcall status\nrollcall status --json",
    .prints_data = true,
    .run = status,
};
