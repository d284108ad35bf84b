/* Owns what `diff` tells before definitions are applied: what would be different, who would enter and who would leave. Must not change
 * anything. The mistake that it prevents: an edit whose effect is seen when everybody has been told of it. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/json_diff.h"
#include "cli/past.h"
#include "cli/picks.h"
#include "cli/proposal.h"
#include "cli/targets.h"
#include "cli/told.h"
#include "consumers/materialize/rulebook.h"

#define DEFAULT_SAMPLE 5
#define MAX_SAMPLE 1000000
#define TOLD_BYTES 160 /* about, of one person's standing in a table */

/* What happens to a segment or an audience. */
struct effect {
    bool existed;    /* before; else it is created */
    bool guarded;    /* it is counted before it is in force: a segment, a condition of an audience */
    bool edited;     /* it says something else itself, not only what it rests on */
    bool recomputed; /* nothing was ever told of it: held against its old definition */
    uint32_t old;    /* then: its segment in the old catalog */
    enum { FOLLOWS, FROZEN, ENDED } mode; /* an audience that has ended keeps or exits its members */
    uint64_t before, after, enter, leave;
    uint64_t records; /* that its backfill reads; segments */
    struct rc_cli_picks entering, leaving;
};

struct diff {
    struct rc_cli *cli;
    struct rc_cli_proposal proposal;
    bool *affected;                              /* by definition of the new catalog; owned */
    struct rc_cli_target *targets, *old_targets; /* owned */
    struct effect *effects;                      /* by target; owned */
    size_t n, n_old;
    struct rc_catalog *catalog, *old_catalog;
    int32_t *target_of, *old_target_of; /* by segment of these catalogs: target, or −1; owned */
    struct rc_past *past, *old_past;    /* old: NULL when nothing needs it */
    struct rc_cli_told told;
    int64_t at_ms, sample;
};

/* ---- what is affected ---- */

struct spread {
    struct diff *d;
    size_t *todo, n;
};

static void affect(struct spread *spread, const struct rc_definition *definition) {
    size_t at = (size_t)(definition - spread->d->proposal.change.catalog->definitions);
    if (spread->d->affected[at])
        return;
    spread->d->affected[at] = true;
    spread->todo[spread->n++] = at;
}

static void affect_referrer(void *ctx, const struct rc_definition *referrer) {
    affect(ctx, referrer);
}

static bool evaluated(const struct rc_definition *d) {
    return strcmp(d->kind, "segment") == 0 || strcmp(d->kind, "audience") == 0;
}

/* Whether two texts of a definition may have different members: names and notes have none. */
static bool only_words_differ(const char *json, const char *other) {
    static const char *const words[] = {"name", "description", "owner", "tags"};
    json_t *a = json_loads(json, 0, NULL), *b = json_loads(other, 0, NULL);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        json_object_del(a, words[i]);
        json_object_del(b, words[i]);
    }
    bool same = json_equal(a, b);
    json_decref(a);
    json_decref(b);
    return same;
}

/* What changes, and everything that rests on it: a segment on its datasets and segments, an audience on its segments. */
static void find_affected(struct diff *d) {
    const struct rc_catalog *catalog = d->proposal.change.catalog;
    struct spread spread = {.d = d, .todo = rc_calloc(catalog->n_definitions, sizeof(size_t))};
    d->affected = rc_calloc(catalog->n_definitions, sizeof *d->affected);
    for (size_t i = 0; i < d->proposal.change.files.n; i++) {
        const struct rc_definition *new = &d->proposal.change.files.items[i];
        const struct rc_definition *old = rc_catalog_builder_find(&d->proposal.change.applied, new->kind, new->id);
        if ((evaluated(new) || strcmp(new->kind, "dataset") == 0) && !(old && only_words_differ(old->json, new->json)))
            affect(&spread, rc_catalog_definition(catalog, new->kind, new->id));
    }
    for (size_t i = 0; i < spread.n; i++) {
        const struct rc_definition *definition = &catalog->definitions[spread.todo[i]];
        rc_catalog_referrers(catalog, definition->kind, definition->id, affect_referrer, &spread);
    }
    free(spread.todo);
}

static const struct rc_audience *audience_of(const struct diff *d, const struct rc_cli_target *target) {
    return strcmp(target->kind, "audience") == 0
               ? &d->proposal.change.catalog->audiences[rc_catalog_audience(d->proposal.change.catalog, target->id)]
               : NULL;
}

static bool condition_differs(const struct rc_definition *old, const struct rc_definition *new) {
    json_t *before = json_loads(old->json, 0, NULL), *after = json_loads(new->json, 0, NULL);
    bool differs = !json_equal(json_object_get(before, "where"), json_object_get(after, "where"));
    json_decref(before);
    json_decref(after);
    return differs;
}

static void find_targets(struct diff *d) {
    const struct rc_catalog *catalog = d->proposal.change.catalog;
    d->targets = rc_calloc(catalog->n_definitions, sizeof *d->targets);
    d->effects = rc_calloc(catalog->n_definitions, sizeof *d->effects);
    for (size_t i = 0; i < catalog->n_definitions; i++) {
        const struct rc_definition *definition = &catalog->definitions[i];
        if (!d->affected[i] || !evaluated(definition))
            continue;
        struct rc_cli_target *target = &d->targets[d->n];
        struct effect *effect = &d->effects[d->n++];
        *target = (struct rc_cli_target){.kind = definition->kind, .id = definition->id};
        const struct rc_definition *old =
            rc_catalog_builder_find(&d->proposal.change.applied, target->kind, target->id);
        effect->existed = old != NULL;
        effect->edited = old && !only_words_differ(old->json, definition->json);
        effect->guarded =
            effect->edited && (strcmp(target->kind, "segment") == 0 || condition_differs(old, definition));
        effect->entering.limit = effect->leaving.limit = (size_t)d->sample;
        const struct rc_audience *audience = audience_of(d, target);
        if (audience && (audience->paused || rc_audience_expiry_ms(audience) <= d->at_ms))
            effect->mode = audience->on_end == RC_ON_END_EXIT ? ENDED : FROZEN;
    }
}

/* ---- evaluating ---- */

static int32_t *positions(const struct rc_catalog *catalog) {
    int32_t *of = rc_calloc(catalog->n_segments, sizeof *of);
    memset(of, 0xff, catalog->n_segments * sizeof *of);
    return of;
}

/* What exists and was never told of: its old definition is what it is held against. */
static rc_status find_old(struct diff *d, struct rc_error *err) {
    d->old_targets = rc_calloc(d->n, sizeof *d->old_targets);
    size_t *of = rc_calloc(d->n, sizeof *of);
    for (size_t i = 0; i < d->n; i++) {
        if (d->told.ever[i] || !d->effects[i].existed || !d->proposal.before)
            continue;
        d->effects[i].recomputed = true;
        of[d->n_old] = i;
        d->old_targets[d->n_old++] = (struct rc_cli_target){.kind = d->targets[i].kind, .id = d->targets[i].id};
    }
    rc_status status = RC_OK;
    if (d->n_old > 0)
        status = rc_cli_targets_build(d->proposal.before, d->old_targets, d->n_old, &d->old_catalog, err);
    if (status == RC_OK && d->n_old > 0) {
        d->old_target_of = positions(d->old_catalog);
        for (size_t i = 0; i < d->n_old; i++)
            d->old_target_of[d->old_targets[i].segment] = (int32_t)of[i];
    }
    free(of);
    return status;
}

static rc_status open_pasts(struct diff *d, struct rc_error *err) {
    struct rc_past_options options = {.at_ms = d->at_ms, .since_ms = INT64_MIN, .grace = true};
    uint64_t most;
    if (rc_cli_targets_build(d->proposal.change.catalog, d->targets, d->n, &d->catalog, err) != RC_OK)
        return RC_FAIL;
    d->target_of = positions(d->catalog);
    for (size_t i = 0; i < d->n; i++)
        d->target_of[d->targets[i].segment] = (int32_t)i;
    rc_cli_told_init(&d->told, d->cli, d->targets, d->n);
    if (rc_cli_told_scan(&d->told, &most, err) != RC_OK || find_old(d, err) != RC_OK ||
        rc_past_open(d->cli, d->catalog, &options, &d->past, err) != RC_OK ||
        (d->n_old > 0 && rc_past_open(d->cli, d->old_catalog, &options, &d->old_past, err) != RC_OK))
        return RC_FAIL;
    if (d->old_past && rc_past_partitions(d->old_past) != rc_past_partitions(d->past))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                            "the topics of the applied datasets have %d partitions, those of the new ones %d",
                            rc_past_partitions(d->old_past), rc_past_partitions(d->past));
    uint64_t fit = (uint64_t)rc_config_bytes(d->cli->config, "state.memory_bytes") / 4 / TOLD_BYTES;
    uint32_t slices = most / fit + 1 < UINT32_MAX ? (uint32_t)(most / fit + 1) : UINT32_MAX;
    rc_past_split(d->past, slices);
    if (d->old_past) {
        /* Both must part the persons alike. */
        uint32_t own = rc_past_units(d->past), old = rc_past_units(d->old_past);
        uint32_t more = (own > old ? own : old) / (uint32_t)rc_past_partitions(d->past);
        rc_past_split(d->past, more);
        rc_past_split(d->old_past, more);
    }
    return RC_OK;
}

static void on_old_member(void *ctx, struct rc_span person_key, uint32_t segment, int64_t since_ms) {
    struct diff *d = ctx;
    if (d->old_target_of[segment] >= 0)
        rc_cli_latest_put(&d->told.tables[d->old_target_of[segment]], person_key, true, since_ms, 0);
}

static void on_new_member(void *ctx, struct rc_span person_key, uint32_t segment, int64_t since_ms) {
    struct diff *d = ctx;
    int32_t at = d->target_of[segment];
    if (at < 0 || d->effects[at].mode != FOLLOWS)
        return;
    struct effect *effect = &d->effects[at];
    struct rc_cli_standing *standing = rc_cli_latest_find(&d->told.tables[at], person_key);
    effect->after++;
    if (standing && standing->realized) {
        standing->marked = true;
        return;
    }
    effect->enter++;
    rc_cli_picks_offer(&effect->entering, person_key, since_ms);
}

/* Who was in and has not been met: they leave, unless the audience stands still. */
static void settle_unit(struct diff *d) {
    for (size_t i = 0; i < d->n; i++) {
        struct effect *effect = &d->effects[i];
        for (size_t k = 0; k < d->told.tables[i].n; k++) {
            const struct rc_cli_standing *standing = &d->told.tables[i].items[k];
            if (!standing->realized)
                continue;
            effect->before++;
            effect->after += effect->mode == FROZEN;
            if (standing->marked || effect->mode == FROZEN)
                continue;
            effect->leave++;
            rc_cli_picks_offer(&effect->leaving, rc_span_of(standing->person, standing->len), standing->since_ms);
        }
    }
}

static rc_status evaluate(struct diff *d, struct rc_error *err) {
    if (d->n == 0)
        return RC_OK;
    if (open_pasts(d, err) != RC_OK)
        return RC_FAIL;
    struct rc_progress progress;
    rc_progress_init(&progress, false, 0);
    rc_status status = RC_OK;
    rc_past_expect(d->past, rc_past_units(d->past));
    if (d->old_past)
        rc_past_expect(d->old_past, rc_past_units(d->old_past));
    for (uint32_t unit = 0; status == RC_OK && unit < rc_past_units(d->past); unit++) {
        status = rc_cli_told_read(&d->told, d->past, unit, err);
        if (status == RC_OK && d->old_past)
            status = rc_past_run(d->old_past, unit, &progress, on_old_member, d, err);
        if (status == RC_OK)
            status = rc_past_run(d->past, unit, &progress, on_new_member, d, err);
        if (status == RC_OK)
            settle_unit(d);
    }
    rc_progress_clear(&progress);
    for (size_t i = 0; status == RC_OK && i < d->n; i++) {
        int64_t lookback = d->targets[i].lookback_ms;
        if (strcmp(d->targets[i].kind, "segment") == 0)
            status = rc_past_records_since(d->past, d->targets[i].rests_on,
                                           lookback < 0 ? INT64_MIN : d->at_ms - lookback, &d->effects[i].records, err);
    }
    return status;
}

/* ---- telling ---- */

/* What a person should look at twice, or NULL: what the guard looks at (pipeline.md §5). */
static const char *drastic(const struct effect *effect) {
    if (!effect->existed || effect->before == 0 || effect->mode != FOLLOWS)
        return NULL;
    return effect->after == 0                   ? "it would be empty"
           : effect->after > 2 * effect->before ? "it would more than double"
                                                : NULL;
}

/* Whether the guard holds it: what is edited itself. What rests on a segment that is held waits with it. */
static bool held(const struct diff *d, size_t i) {
    return d->effects[i].guarded && drastic(&d->effects[i]);
}

static json_t *effect_json(const struct diff *d, size_t i) {
    const struct effect *effect = &d->effects[i];
    const struct rc_audience *audience = audience_of(d, &d->targets[i]);
    json_t *out = json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:s?, s:b, s:s}", "before", (json_int_t)effect->before,
                            "after", (json_int_t)effect->after, "enter", (json_int_t)effect->enter, "leave",
                            (json_int_t)effect->leave, "entering", rc_cli_picks_json(&effect->entering), "leaving",
                            rc_cli_picks_json(&effect->leaving), "drastic", drastic(effect), "held", held(d, i),
                            "against", effect->recomputed ? "the old definition" : "what was told");
    if (audience) {
        json_object_set_new(out, "sizeLimit", json_integer(audience->size_limit));
        json_object_set_new(out, "overLimit", json_boolean(effect->after > (uint64_t)audience->size_limit));
        json_object_set_new(out, "ended", json_boolean(effect->mode != FOLLOWS));
    } else {
        json_object_set_new(out, "backfillRecords", json_integer((json_int_t)effect->records));
        int64_t lookback = d->targets[i].lookback_ms;
        json_object_set_new(out, "lookback", lookback < 0 ? json_null() : json_integer(lookback));
    }
    return out;
}

static void print_picks(const char *what, uint64_t n, const struct rc_cli_picks *picks) {
    if (picks->n == 0)
        return;
    printf("    %s:", what);
    for (size_t i = 0; i < picks->n; i++)
        printf("%s %s", i ? "," : "", picks->items[i].key);
    printf("%s\n", n > picks->n ? ", …" : "");
}

static void print_effect(const struct diff *d, size_t i) {
    const struct effect *effect = &d->effects[i];
    const struct rc_audience *audience = audience_of(d, &d->targets[i]);
    printf("    members %llu -> %llu: %llu enter, %llu leave%s\n", (unsigned long long)effect->before,
           (unsigned long long)effect->after, (unsigned long long)effect->enter, (unsigned long long)effect->leave,
           effect->recomputed ? " (against its old definition: nothing was told of it yet)" : "");
    print_picks("enter", effect->enter, &effect->entering);
    print_picks("leave", effect->leave, &effect->leaving);
    if (effect->mode != FOLLOWS)
        printf("    it has ended: %s\n",
               effect->mode == ENDED ? "its members are exited" : "its members stay as they are");
    if (audience && effect->mode == FOLLOWS && audience->refresh != RC_REFRESH_CONTINUOUS)
        printf("    published at its next schedule\n");
    if (audience && effect->after > (uint64_t)audience->size_limit)
        printf("    OVER its size_limit of %lld: the rest is not realized\n", (long long)audience->size_limit);
    if (held(d, i))
        printf("    HELD until it is approved, since %s: `rollcall approve %s %s`, or `rollcall apply --force`\n",
               drastic(effect), d->targets[i].kind, d->targets[i].id);
    else if (drastic(effect))
        printf("    ATTENTION: %s\n", drastic(effect));
    if (!audience)
        printf("    backfill: %llu records\n", (unsigned long long)effect->records);
}

static int64_t target_at(const struct diff *d, const char *kind, const char *id) {
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->targets[i].kind, kind) == 0 && strcmp(d->targets[i].id, id) == 0)
            return (int64_t)i;
    return -1;
}

static json_t *changes_of(const struct diff *d, const struct rc_definition *definition) {
    const struct rc_definition *old =
        rc_catalog_builder_find(&d->proposal.change.applied, definition->kind, definition->id);
    json_t *from = old ? json_loads(old->json, 0, NULL) : NULL, *to = json_loads(definition->json, 0, NULL);
    json_t *changes = from && to ? rc_cli_json_diff(from, to) : json_array();
    json_decref(from);
    json_decref(to);
    return changes;
}

static void print_one(const struct diff *d, const struct rc_definition *definition, const char *result, int version,
                      json_t *changes) {
    int64_t at = target_at(d, definition->kind, definition->id);
    if (rc_cli_has(d->cli, "json")) {
        rc_cli_json_print(json_pack("{s:s, s:s, s:s, s:i, s:o, s:o*}", "kind", definition->kind, "id", definition->id,
                                    "result", result, "version", version, "changes", changes, "effect",
                                    at < 0 ? NULL : effect_json(d, (size_t)at)));
        return;
    }
    printf("%s/%s %s (version %d)\n", definition->kind, definition->id, result, version);
    rc_cli_json_diff_print(changes, "    ");
    json_decref(changes);
    if (at >= 0)
        print_effect(d, (size_t)at);
}

static void tell(struct diff *d) {
    static const char *const results[] = {"created", "changed", "unchanged"};
    const struct rc_catalog *catalog = d->proposal.change.catalog;
    for (size_t i = 0; i < d->n; i++) {
        rc_cli_picks_settle(&d->effects[i].entering);
        rc_cli_picks_settle(&d->effects[i].leaving);
    }
    for (size_t i = 0; i < d->proposal.change.files.n; i++) {
        const struct rc_definition *definition = &d->proposal.change.files.items[i];
        int version;
        enum rc_cli_outcome outcome = rc_cli_change_outcome(&d->proposal.change, definition, &version);
        print_one(d, definition, results[outcome], version, changes_of(d, definition));
    }
    for (size_t i = 0; i < catalog->n_definitions; i++) {
        const struct rc_definition *definition = &catalog->definitions[i];
        if (d->affected[i] && evaluated(definition) &&
            !rc_catalog_builder_find(&d->proposal.change.files, definition->kind, definition->id))
            print_one(d, definition, "affected", definition->version, json_array());
    }
}

/* ---- the command ---- */

static void finish(struct diff *d) {
    rc_past_close(d->past);
    rc_past_close(d->old_past);
    rc_cli_told_deinit(&d->told);
    for (size_t i = 0; i < d->n; i++) {
        rc_cli_picks_deinit(&d->effects[i].entering);
        rc_cli_picks_deinit(&d->effects[i].leaving);
    }
    rc_cli_targets_deinit(d->targets, d->n);
    rc_cli_targets_deinit(d->old_targets, d->n_old);
    free(d->targets);
    free(d->old_targets);
    free(d->effects);
    free(d->target_of);
    free(d->old_target_of);
    free(d->affected);
    rc_catalog_free(d->catalog);
    rc_catalog_free(d->old_catalog);
    rc_cli_proposal_deinit(&d->proposal);
}

static rc_status diff(struct rc_cli *cli, struct rc_error *err) {
    struct diff d = {.cli = cli, .at_ms = rc_clock_wall_ms(), .sample = DEFAULT_SAMPLE};
    rc_status status = rc_cli_integer(cli, "sample", &d.sample, err);
    if (status == RC_OK && (d.sample < 0 || d.sample > MAX_SAMPLE))
        status = rc_cli_usage(cli, err, "--sample %lld: expected 0 to %d", (long long)d.sample, MAX_SAMPLE);
    if (status == RC_OK)
        status = rc_cli_proposal_read(cli, &d.proposal, err);
    if (status == RC_OK) {
        find_affected(&d);
        find_targets(&d);
        status = evaluate(&d, err);
    }
    if (status == RC_OK)
        tell(&d);
    finish(&d);
    return status;
}

static const struct rc_cli_option options[] = {
    {"file", 'f', CLI_MANY, "PATH",
     "Files with one definition or an array of them, folders (every *.json in them and below), or - for stdin."},
    {"sample", 0, CLI_ONE, "N", "Names so many persons who would enter, and as many who would leave (default 5)."},
    {0},
};

const struct rc_cli_command rc_cli_command_diff = {
    .name = "diff",
    .summary = "What applying definitions would change, and who would enter and leave",
    .arguments = "-f PATH...",
    .text = "Holds definitions against those that are applied, and changes nothing. Tells for each whether it would be "
            "created, changed or stay, and where it differs; and for each segment and audience that is affected, also "
            "through a segment or dataset that it uses: how many persons would enter and leave, some of them, whether "
            "the change would be held until it is approved, and how many records the backfill has to read.\nThe new "
            "definitions are evaluated over all that the datasets' topics hold, and held against what has been told "
            "up to now: on a quiet topic that is what `apply` then leads to, but for what time alone changes in "
            "between. Uses memory up to state.memory_bytes, and $TMPDIR for the events of a partition.",
    .options = options,
    .examples = "rollcall diff -f segments.json\nrollcall diff -f definitions/ --sample 20 --json",
    .prints_data = true,
    .run = diff,
};
