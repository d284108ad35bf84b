/* Owns what `preview` tells before a segment or an audience is made: how many would be in, who, since when there have been how many. Must not
 * change anything. The mistake that it prevents: a number without a word on how it came about (a sample, a history that ends too early). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/estimate.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/past.h"
#include "cli/picks.h"
#include "cli/proposal.h"
#include "cli/targets.h"
#include "codec/decode.h"
#include "codec/person_key.h"

#define DAY_MS INT64_C(86400000)
#define DEFAULT_DAYS 30
#define FIRST_MS \
    INT64_C(     \
        -62100000000000) /* of an instant that may be asked for: in the years 1 to 9999, with room for a look back */
#define LAST_MS INT64_C(253402214400000)
#define MAX_DAYS 400
#define QUICK_RECORDS 1000000 /* about so many are read unless somebody asks for more */
#define DEFAULT_LIMIT 10
#define MAX_LIMIT 1000000
#define MAX_NAMESPACES 256 /* told one by one; the rest together */
#define BAR 30

struct share {
    char *name; /* owned; NULL: the others */
    uint64_t n;
};

/* What is told of one definition. */
struct subject {
    struct share *namespaces; /* owned */
    size_t n_namespaces, cap_namespaces;
    struct rc_cli_picks picks;
};

struct preview {
    struct rc_cli *cli;
    struct rc_cli_proposal proposal;
    struct rc_cli_target *targets; /* owned */
    struct subject *subjects;      /* the same positions; owned */
    size_t n, cap_targets;
    struct rc_catalog *catalog; /* of the targets */
    int32_t *subject_of;        /* by segment of that catalog: position, or −1 */
    struct rc_past *past;
    int64_t at_ms, since_ms; /* since: INT64_MIN: all */
    int64_t days[MAX_DAYS];
    size_t n_days;
    const struct rc_timezone *zone; /* of the days */
    uint32_t n_units;               /* that were evaluated */
    double fraction;
    const char *search; /* NULL: everybody */
    int64_t limit;
    struct rc_buf scratch;
};

/* ---- what is asked ---- */

static rc_status read_options(struct preview *p, struct rc_error *err) {
    const struct rc_cli *cli = p->cli;
    int64_t since = 0;
    p->limit = DEFAULT_LIMIT;
    p->search = rc_cli_value(cli, "search");
    if (rc_cli_duration(cli, "since", &since, err) != RC_OK || rc_cli_integer(cli, "limit", &p->limit, err) != RC_OK)
        return RC_FAIL;
    if (p->limit < 0 || p->limit > MAX_LIMIT)
        return rc_cli_usage(cli, err, "--limit %lld: expected 0 to %d", (long long)p->limit, MAX_LIMIT);
    if (rc_cli_has(cli, "exact") && rc_cli_has(cli, "sample"))
        return rc_cli_usage(cli, err, "give one of --exact and --sample");
    p->at_ms = rc_clock_wall_ms();
    if (rc_cli_instant(cli, "at", &p->at_ms, err) != RC_OK)
        return RC_FAIL;
    if (p->at_ms < FIRST_MS)
        return rc_cli_usage(cli, err, "--at %s: too long ago", rc_cli_value(cli, "at"));
    p->since_ms = since > 0 ? p->at_ms - since : INT64_MIN;
    int64_t days = since > 0 ? since / DAY_MS : DEFAULT_DAYS;
    p->n_days = (size_t)(days < MAX_DAYS ? days : MAX_DAYS);
    return RC_OK;
}

/* Every segment and audience of the files. */
static rc_status find_targets(struct preview *p, struct rc_error *err) {
    for (size_t i = 0; i < p->proposal.change.files.n; i++) {
        const struct rc_definition *d = &p->proposal.change.files.items[i];
        if (strcmp(d->kind, "segment") != 0 && strcmp(d->kind, "audience") != 0)
            continue;
        rc_grow(&p->targets, &p->cap_targets, p->n + 1, sizeof *p->targets);
        p->targets[p->n++] = (struct rc_cli_target){.kind = d->kind, .id = d->id};
    }
    if (p->n == 0)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "nothing to preview: no segment and no audience in %s",
                            rc_cli_value(p->cli, "file"));
    p->subjects = rc_calloc(p->n, sizeof *p->subjects);
    for (size_t i = 0; i < p->n; i++)
        p->subjects[i].picks.limit = (size_t)p->limit;
    if (rc_cli_targets_build(p->proposal.change.catalog, p->targets, p->n, &p->catalog, err) != RC_OK)
        return RC_FAIL;
    p->subject_of = rc_calloc(p->catalog->n_segments, sizeof *p->subject_of);
    memset(p->subject_of, 0xff, p->catalog->n_segments * sizeof *p->subject_of);
    for (size_t i = 0; i < p->n; i++)
        p->subject_of[p->targets[i].segment] = (int32_t)i;
    p->zone = p->catalog->segments[p->targets[0].segment].timezone;
    rc_day_ends(p->zone, p->at_ms, p->n_days, p->days);
    return RC_OK;
}

/* ---- evaluating ---- */

static bool holds_text(struct rc_span in, const char *text) {
    size_t len = strlen(text);
    for (size_t i = 0; i + len <= in.len; i++)
        if (strncasecmp(in.data + i, text, len) == 0)
            return true;
    return false;
}

static void count_namespace(struct subject *subject, struct rc_span namespace) {
    size_t i = 0;
    while (i < subject->n_namespaces && subject->namespaces[i].name &&
           !rc_span_equal(rc_span_str(subject->namespaces[i].name), namespace))
        i++;
    if (i == subject->n_namespaces) {
        rc_grow(&subject->namespaces, &subject->cap_namespaces, i + 1, sizeof *subject->namespaces);
        subject->namespaces[subject->n_namespaces++] =
            (struct share){.name = i < MAX_NAMESPACES ? rc_span_dup(namespace) : NULL};
    }
    subject->namespaces[i].n++;
}

static void on_member(void *ctx, struct rc_span person_key, uint32_t segment, int64_t since_ms) {
    struct preview *p = ctx;
    if (p->subject_of[segment] < 0)
        return;
    struct subject *subject = &p->subjects[p->subject_of[segment]];
    struct rc_span namespace = {0}, id = {0};
    rc_buf_reset(&p->scratch);
    if (rc_person_key_split(person_key, &p->scratch, &namespace, &id) == RC_OK)
        count_namespace(subject, namespace);
    if (!p->search || holds_text(id, p->search) || holds_text(person_key, p->search))
        rc_cli_picks_offer(&subject->picks, person_key, since_ms);
}

/* How many units are looked at: what was asked for, or as many as are read quickly. */
static rc_status choose_sample(struct preview *p, struct rc_error *err) {
    uint32_t units = rc_past_units(p->past), slices = units / (uint32_t)rc_past_partitions(p->past);
    uint64_t records = rc_past_records(p->past);
    int64_t asked = 0;
    if (rc_cli_integer(p->cli, "sample", &asked, err) != RC_OK)
        return RC_FAIL;
    if (rc_cli_has(p->cli, "sample") && (asked < 1 || asked > rc_past_partitions(p->past)))
        return rc_cli_usage(p->cli, err, "--sample %lld: expected 1 to %d, the number of partitions", (long long)asked,
                            rc_past_partitions(p->past));
    p->n_units = units;
    if (asked > 0)
        p->n_units = (uint32_t)asked * slices;
    else if (!rc_cli_has(p->cli, "exact") && records > QUICK_RECORDS)
        p->n_units = (uint32_t)((uint64_t)units * QUICK_RECORDS / records);
    if (p->n_units == 0)
        p->n_units = 1;
    p->fraction = (double)p->n_units / units;
    return RC_OK;
}

static rc_status evaluate(struct preview *p, struct rc_error *err) {
    struct rc_past_options options = {
        .at_ms = p->at_ms, .instants = p->days, .n_instants = p->n_days, .since_ms = p->since_ms};
    if (rc_past_open(p->cli, p->catalog, &options, &p->past, err) != RC_OK || choose_sample(p, err) != RC_OK)
        return RC_FAIL;
    struct rc_progress progress;
    rc_progress_init(&progress, false, 0);
    rc_status status = RC_OK;
    uint32_t units = rc_past_units(p->past);
    rc_past_expect(p->past, p->n_units);
    for (uint32_t i = 0; status == RC_OK && i < p->n_units; i++)
        status = rc_past_run(p->past, (uint32_t)((uint64_t)i * units / p->n_units), &progress, on_member, p, err);
    rc_progress_clear(&progress);
    return status;
}

/* ---- telling ---- */

struct finding {
    struct rc_estimate members, persons;
    int64_t lookback_ms;   /* −1: all of history */
    int64_t history_ms;    /* INT64_MIN: all of it was read */
    int64_t complete_from; /* the first instant at which M rests on everything that it needs; INT64_MAX: never */
    int64_t size_limit;    /* 0: a segment */
};

static struct finding find(const struct preview *p, size_t i) {
    const struct rc_cli_target *target = &p->targets[i];
    struct finding f = {
        .members = rc_estimate_total(rc_past_count(p->past, p->n_days, target->segment), p->fraction),
        .persons = rc_estimate_total(rc_past_count(p->past, p->n_days, target->everybody), p->fraction),
        .lookback_ms = target->lookback_ms,
        .history_ms = INT64_MIN,
        .complete_from = INT64_MIN,
    };
    for (uint32_t d = 0; d < p->catalog->n_datasets; d++)
        if (target->rests_on[d] && rc_past_history(p->past, d) > f.history_ms)
            f.history_ms = rc_past_history(p->past, d);
    if (f.history_ms != INT64_MIN)
        f.complete_from = f.lookback_ms < 0 ? INT64_MAX : f.history_ms + f.lookback_ms;
    if (strcmp(target->kind, "audience") == 0)
        f.size_limit =
            p->proposal.change.catalog->audiences[rc_catalog_audience(p->proposal.change.catalog, target->id)]
                .size_limit;
    return f;
}

static uint64_t scaled(const struct preview *p, uint64_t found) {
    return rc_estimate_total(found, p->fraction).value;
}

static double share_of(uint64_t part, uint64_t all) {
    return all ? (double)part / (double)all : 0;
}

/* The local date of an instant: "2026-11-30". */
static const char *date_of(const struct preview *p, int64_t at_ms, char out[25]) {
    rc_rfc3339_format(at_ms + rc_timezone_offset(p->zone, at_ms), out);
    out[10] = '\0';
    return out;
}

static int by_number(const void *a, const void *b) {
    const struct share *x = a, *y = b;
    return (x->n < y->n) - (x->n > y->n);
}

static json_t *json_or_null(int64_t ms, int64_t none) {
    return ms == none ? json_null() : json_integer(ms);
}

static json_t *bad_json(const struct rc_past_tally *tally) {
    json_t *bad = json_object();
    for (int r = 0; r < RC_REASON_COUNT; r++)
        if (tally->bad[r])
            json_object_set_new(bad, rc_reason_text((enum rc_reason)r), json_integer((json_int_t)tally->bad[r]));
    return bad;
}

static json_t *trend_json(const struct preview *p, size_t i, const struct finding *f) {
    json_t *trend = json_array();
    for (size_t k = 0; k < p->n_days; k++) {
        char date[25];
        json_array_append_new(
            trend,
            json_pack("{s:s, s:I, s:I, s:I, s:b}", "day", date_of(p, p->days[k], date), "at", (json_int_t)p->days[k],
                      "members", (json_int_t)scaled(p, rc_past_count(p->past, k, p->targets[i].segment)), "persons",
                      (json_int_t)scaled(p, rc_past_count(p->past, k, p->targets[i].everybody)), "complete",
                      p->days[k] >= f->complete_from));
    }
    return trend;
}

static json_t *history_json(const struct preview *p, size_t i) {
    json_t *history = json_array();
    for (uint32_t d = 0; d < p->catalog->n_datasets; d++)
        if (p->targets[i].rests_on[d])
            json_array_append_new(history, json_pack("{s:s, s:o}", "dataset", p->catalog->datasets[d].id, "from",
                                                     json_or_null(rc_past_history(p->past, d), INT64_MIN)));
    return history;
}

static void print_json(const struct preview *p, size_t i) {
    const struct rc_past_tally *tally = rc_past_tally(p->past);
    struct finding f = find(p, i);
    struct subject *subject = &p->subjects[i];
    json_t *namespaces = json_array();
    for (size_t k = 0; k < subject->n_namespaces; k++)
        json_array_append_new(namespaces, json_pack("{s:s?, s:I}", "namespace", subject->namespaces[k].name, "members",
                                                    (json_int_t)scaled(p, subject->namespaces[k].n)));
    json_t *out =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:b}", "kind", p->targets[i].kind, "id", p->targets[i].id,
                  "at", (json_int_t)p->at_ms, "members", (json_int_t)f.members.value, "low", (json_int_t)f.members.low,
                  "high", (json_int_t)f.members.high, "persons", (json_int_t)f.persons.value, "share",
                  share_of(f.members.value, f.persons.value), "exact", p->fraction >= 1);
    json_object_set_new(out, "sampled",
                        json_pack("{s:i, s:i, s:f, s:I, s:I}", "units", (int)p->n_units, "of",
                                  (int)rc_past_units(p->past), "fraction", p->fraction, "members",
                                  (json_int_t)rc_past_count(p->past, p->n_days, p->targets[i].segment), "persons",
                                  (json_int_t)rc_past_count(p->past, p->n_days, p->targets[i].everybody)));
    json_object_set_new(out, "namespaces", namespaces);
    if (f.size_limit) {
        json_object_set_new(out, "sizeLimit", json_integer(f.size_limit));
        json_object_set_new(out, "overLimit", json_boolean(f.members.value > (uint64_t)f.size_limit));
    }
    json_object_set_new(out, "lookback", json_or_null(f.lookback_ms, -1));
    json_object_set_new(out, "history", history_json(p, i));
    json_object_set_new(out, "complete", json_boolean(p->at_ms >= f.complete_from));
    json_object_set_new(out, "sample", rc_cli_picks_json(&subject->picks));
    if (p->search)
        json_object_set_new(out, "found", json_integer((json_int_t)subject->picks.offered));
    json_object_set_new(out, "timezone", json_string(rc_timezone_name(p->zone)));
    json_object_set_new(out, "trend", trend_json(p, i, &f));
    json_object_set_new(out, "records", json_integer((json_int_t)tally->records));
    json_object_set_new(out, "events", json_integer((json_int_t)tally->events));
    json_object_set_new(out, "ignored", json_integer((json_int_t)tally->ignored));
    json_object_set_new(out, "bad", bad_json(tally));
    json_object_set_new(out, "quarantined", json_integer((json_int_t)tally->quarantined));
    rc_cli_json_print(out);
}

/* A length of time as a person reads it: "30 days", "90 min". */
static const char *length_of(int64_t ms, char out[40]) {
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{DAY_MS, "days"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}, {1, "ms"}};
    size_t u = 0;
    while (u + 1 < sizeof units / sizeof *units && ms % units[u].ms != 0)
        u++;
    snprintf(out, 40, "%lld %s", (long long)(ms / units[u].ms), units[u].unit);
    return out;
}

static void print_history(const struct preview *p, size_t i, const struct finding *f) {
    char time[25], lookback[40];
    if (f->history_ms == INT64_MIN)
        return;
    for (uint32_t d = 0; d < p->catalog->n_datasets; d++) {
        int64_t from = rc_past_history(p->past, d);
        if (p->targets[i].rests_on[d] && from != INT64_MIN)
            printf("    history: %s of %s from %s on\n", p->since_ms == from ? "read" : "the topic holds that",
                   p->catalog->datasets[d].id, rc_cli_time(from, time));
    }
    const char *effect = p->at_ms >= f->complete_from ? "enough for that; marked days rest on less than they need"
                                                      : "INCOMPLETE: that is more than was read";
    if (f->lookback_ms < 0)
        printf("    it looks back over all time: INCOMPLETE\n");
    else
        printf("    it looks back %s: %s\n", length_of(f->lookback_ms, lookback), effect);
    printf("    only persons seen since then are counted\n");
}

static void print_trend(const struct preview *p, size_t i, const struct finding *f) {
    uint64_t most = f->members.value;
    if (p->n_days == 0)
        return;
    for (size_t k = 0; k < p->n_days; k++) {
        uint64_t n = scaled(p, rc_past_count(p->past, k, p->targets[i].segment));
        most = n > most ? n : most;
    }
    printf("    members at the end of each day (%s)%s:\n", rc_timezone_name(p->zone),
           f->complete_from > p->days[0] ? ", * incomplete" : "");
    for (size_t k = 0; k <= p->n_days; k++) {
        char date[25];
        bool last = k == p->n_days;
        uint64_t n = last ? f->members.value : scaled(p, rc_past_count(p->past, k, p->targets[i].segment));
        int bar = most ? (int)((double)n / (double)most * BAR + 0.5) : 0;
        const char *now = rc_cli_has(p->cli, "at") ? "then" : "now";
        printf("      %-10s %c %12llu  %.*s\n", last ? now : date_of(p, p->days[k], date),
               (last ? p->at_ms : p->days[k]) < f->complete_from ? '*' : ' ', (unsigned long long)n, bar,
               "##############################");
    }
}

static void print_sample(const struct preview *p, struct subject *subject) {
    const struct rc_cli_picks *picks = &subject->picks;
    if (p->search)
        printf("    %llu of the members that were looked at hold \"%s\"%s\n", (unsigned long long)picks->offered,
               p->search, picks->n < picks->offered ? ", among them" : "");
    else if (picks->n)
        printf("    some of them:\n");
    for (size_t k = 0; k < picks->n; k++) {
        char time[25];
        printf("      %s since %s\n", picks->items[k].key, rc_cli_time(picks->items[k].since_ms, time));
    }
}

static void print_sampling(const struct preview *p, const struct finding *f) {
    uint32_t units = rc_past_units(p->past), slices = units / (uint32_t)rc_past_partitions(p->past);
    if (p->fraction >= 1) {
        printf("    counted: every person\n");
        return;
    }
    uint64_t below = f->members.value - f->members.low, above = f->members.high - f->members.value;
    printf("    estimated from %u of %u %s, about %.3g %% of persons: ± %llu at 95 %% (%llu to %llu); --exact counts "
           "all\n",
           p->n_units, units, slices == 1 ? "partitions" : "parts of the persons", p->fraction * 100,
           (unsigned long long)(below > above ? below : above), (unsigned long long)f->members.low,
           (unsigned long long)f->members.high);
}

static void print_text(const struct preview *p, size_t i) {
    struct finding f = find(p, i);
    struct subject *subject = &p->subjects[i];
    char time[25];
    bool now = !rc_cli_has(p->cli, "at");
    printf("%s%s/%s\n    %llu of %llu persons would be members %s%s (%.3g %%)\n", i ? "\n" : "", p->targets[i].kind,
           p->targets[i].id, (unsigned long long)f.members.value, (unsigned long long)f.persons.value,
           now ? "now" : "at ", now ? "" : rc_cli_time(p->at_ms, time),
           share_of(f.members.value, f.persons.value) * 100);
    print_sampling(p, &f);
    if (f.size_limit)
        printf("    size_limit %lld: %s\n", (long long)f.size_limit,
               f.members.value > (uint64_t)f.size_limit ? "EXCEEDED, the rest would not be realized" : "fits");
    print_history(p, i, &f);
    for (size_t k = 0; k < subject->n_namespaces; k++)
        printf("    namespace %s: %llu\n", subject->namespaces[k].name ? subject->namespaces[k].name : "(all others)",
               (unsigned long long)scaled(p, subject->namespaces[k].n));
    print_sample(p, subject);
    print_trend(p, i, &f);
}

static void print_tally(const struct preview *p) {
    const struct rc_past_tally *tally = rc_past_tally(p->past);
    printf("\n%llu records read", (unsigned long long)tally->records);
    if (tally->ignored)
        printf(", %llu ignored", (unsigned long long)tally->ignored);
    for (int r = 0; r < RC_REASON_COUNT; r++)
        if (tally->bad[r])
            printf(", %llu bad (%s)", (unsigned long long)tally->bad[r], rc_reason_text((enum rc_reason)r));
    if (tally->quarantined)
        printf(", %llu persons with more than state.person_events events stand still",
               (unsigned long long)tally->quarantined);
    printf("; nothing was changed\n");
}

static void tell(struct preview *p) {
    for (size_t i = 0; i < p->n; i++) {
        struct subject *subject = &p->subjects[i];
        rc_cli_picks_settle(&subject->picks);
        if (subject->n_namespaces)
            qsort(subject->namespaces, subject->n_namespaces, sizeof *subject->namespaces, by_number);
        if (rc_cli_has(p->cli, "json"))
            print_json(p, i);
        else
            print_text(p, i);
    }
    if (!rc_cli_has(p->cli, "json"))
        print_tally(p);
}

/* ---- the command ---- */

static void finish(struct preview *p) {
    rc_past_close(p->past);
    for (size_t i = 0; p->subjects && i < p->n; i++) {
        rc_cli_picks_deinit(&p->subjects[i].picks);
        for (size_t k = 0; k < p->subjects[i].n_namespaces; k++)
            free(p->subjects[i].namespaces[k].name);
        free(p->subjects[i].namespaces);
    }
    free(p->subjects);
    free(p->subject_of);
    rc_cli_targets_deinit(p->targets, p->n);
    free(p->targets);
    rc_catalog_free(p->catalog);
    rc_cli_proposal_deinit(&p->proposal);
    rc_buf_deinit(&p->scratch);
}

static rc_status preview(struct rc_cli *cli, struct rc_error *err) {
    struct preview p = {.cli = cli};
    rc_buf_init(&p.scratch, RC_MAX_RECORD_BYTES);
    rc_status status = read_options(&p, err);
    if (status == RC_OK)
        status = rc_cli_proposal_read(cli, &p.proposal, err);
    if (status == RC_OK)
        status = find_targets(&p, err);
    if (status == RC_OK)
        status = evaluate(&p, err);
    if (status == RC_OK)
        tell(&p);
    finish(&p);
    return status;
}

static const struct rc_cli_option options[] = {
    {"file", 'f', CLI_MANY, "PATH",
     "Files or folders with segments and audiences (each is previewed), and with what they refer to unless it is "
     "applied already; - for stdin."},
    {"since", 0, CLI_ONE, "DURATION",
     "Reads only so much of the topics' history, e.g. 30d, and tells the trend over it (default: all of it, the trend "
     "over 30 days)."},
    {"at", 0, CLI_ONE, "TIME",
     "Tells it as of this instant: RFC 3339, or how long ago, e.g. 2026-01-31T09:15:00Z or 7d (default: now)."},
    {"exact", 0, CLI_FLAG, NULL, "Counts every person, however long that takes."},
    {"sample", 0, CLI_ONE, "PARTITIONS",
     "Looks at the persons of so many partitions (default: of as many as about a million records make)."},
    {"search", 0, CLI_ONE, "TEXT", "Shows members whose key holds this text, in upper or lower case."},
    {"limit", 0, CLI_ONE, "N", "Shows so many members at most (default 10)."},
    {0},
};

const struct rc_cli_command rc_cli_command_preview = {
    .name = "preview",
    .summary = "How many would be in a segment or an audience, before it is made",
    .arguments = "-f PATH...",
    .text = "Evaluates segments and audiences over the history of their datasets' topics, with the engine of ingest, "
            "and changes nothing. Tells how many persons would be members now, their share of all, their namespaces, "
            "some of them, whether the audience keeps to its size_limit, and how many members there were at the end of "
            "each day.\nPersons are spread over partitions by a hash, so the persons of some partitions are a random "
            "sample: where the topics hold more than about a million records, only some partitions are read, and the "
            "numbers are scaled up, with their interval at 95 %. Uses memory up to state.memory_bytes, and $TMPDIR "
            "for the events of a partition.",
    .options = options,
    .examples = "rollcall preview -f win-back.json\nrollcall preview -f segments/ --since 90d --exact --json\nrollcall "
                "preview -f win-back.json --search @example.com --limit 50",
    .prints_data = true,
    .run = preview,
};
