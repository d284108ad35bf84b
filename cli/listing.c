/* Owns which definitions are listed, and in what order. Must not know how a list is printed. The mistake that it prevents: an audience overlooked
 * because a filter silently did not apply. */
#include "cli/listing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/nearest.h"
#include "base/timezone.h"
#include "consumers/materialize/rulebook.h"

#define ANSWER_TIMEOUT_MS 2000

const struct rc_cli_option rc_cli_listing_options[] = {
    {"state", 0, CLI_ONE, "STATE",
     "Segments, audiences: in this state: ready, in-progress, error, paused, held, cancelled, expired."},
    {"owner", 0, CLI_ONE, "NAME", "With this owner."},
    {"tag", 0, CLI_ONE, "TAG", "With this tag; may be repeated: with all of them."},
    {"name-contains", 0, CLI_ONE, "TEXT", "With this in the id or the name, in any case of letters."},
    {"refresh", 0, CLI_ONE, "WORD",
     "Audiences: refreshed so: continuous, once, every, \"every 4h\", daily, weekly, monthly."},
    {"modified-since", 0, CLI_ONE, "TIME", "Applied since then: an instant like 2026-10-01T00:00:00Z, or 7d ago."},
    {"refreshed-since", 0, CLI_ONE, "TIME", "Audiences: published, or if continuous changed, since then."},
    {"expires-before", 0, CLI_ONE, "TIME", "Audiences: that end before then: an instant, or 30d from now."},
    {"dataset", 0, CLI_ONE, "ID", "Segments, attributes: over this dataset."},
    {"segment", 0, CLI_ONE, "ID", "Segments, audiences: that name this segment."},
    {"destination", 0, CLI_ONE, "ID", "Audiences, attributes: that are sent there."},
    {"sort", 0, CLI_ONE, "KEY", "In the order of id, name, state, members, refreshed, modified, owner or expires."},
    {"reverse", 0, CLI_FLAG, NULL, "The other way round."},
    {0},
};

/* ---- joining ----------------------------------------------------------------------------------------------------------------- */

/* The state of a whole is the worst of its parts. */
static int badness(const char *state) {
    static const char *const order[] = {"", "ready", "live", "expired", "paused", "cancelled", "deleted"};
    if (strncmp(state, "error", 5) == 0)
        return 100;
    for (int i = 0; i < (int)(sizeof order / sizeof *order); i++)
        if (strcmp(state, order[i]) == 0)
            return i;
    return 50; /* on the way: warming, in progress, held, … */
}

const char *rc_cli_held_note(const char *kind, const char *id, int version, int64_t members, int64_t would_have,
                             char *out, size_t size) {
    snprintf(out, size, "version %d would have %lld members instead of %lld: `rollcall approve %s %s`, or roll back",
             version, (long long)would_have, (long long)members, kind, id);
    return out;
}

static void merge_part(struct rc_cli_listed *listed, const json_t *part) {
    const char *state = rc_cli_json_text(part, "state", "");
    int64_t refreshed = rc_cli_json_int(part, "last_refresh_ms", rc_cli_json_int(part, "last_change_ms", 0)),
            next = rc_cli_json_int(part, "next_refresh_ms", 0);
    if (badness(state) > badness(listed->state))
        snprintf(listed->state, sizeof listed->state, "%s", state);
    listed->members = (listed->members > 0 ? listed->members : 0) + rc_cli_json_int(part, "members", 0);
    listed->refreshed_ms = refreshed > listed->refreshed_ms ? refreshed : listed->refreshed_ms;
    if (next && (!listed->next_ms || next < listed->next_ms))
        listed->next_ms = next;
    if (strcmp(state, "held") == 0)
        rc_cli_held_note(listed->definition->kind, listed->definition->id, listed->definition->version,
                         rc_cli_json_int(part, "held_members", 0), rc_cli_json_int(part, "held_would_have", 0),
                         listed->warning, sizeof listed->warning);
    else if (json_object_get(part, "warning"))
        snprintf(listed->warning, sizeof listed->warning, "%s", rc_cli_json_text(part, "warning", ""));
}

static const char *list_of(const char *kind) {
    return strcmp(kind, "segment") == 0 ? "segments" : strcmp(kind, "audience") == 0 ? "audiences" : NULL;
}

bool rc_cli_listed_fill(const struct rc_catalog *catalog, const struct rc_definition *definition,
                        const struct rc_cli_processes *processes, struct rc_cli_listed *out) {
    const char *list = list_of(definition->kind);
    bool told = false;
    *out =
        (struct rc_cli_listed){.definition = definition, .body = json_loads(definition->json, 0, NULL), .members = -1};
    if (strcmp(definition->kind, "audience") == 0) {
        int64_t expires = rc_audience_expiry_ms(&catalog->audiences[rc_catalog_audience(catalog, definition->id)]);
        out->expires_ms = expires == INT64_MAX ? 0 : expires;
    }
    for (size_t p = 0; list && p < processes->n; p++) {
        size_t i;
        const json_t *part;
        json_array_foreach(json_object_get(processes->items[p].section, list), i, part) {
            if (strcmp(rc_cli_json_text(part, "id", ""), definition->id) != 0)
                continue;
            merge_part(out, part);
            told = true;
        }
    }
    return told;
}

/* What nobody tells of although its consumer runs is still to be taken up. */
static bool consumer_runs(const struct rc_cli_processes *processes, const char *kind) {
    const char *role = strcmp(kind, "segment") == 0 ? "ingest" : "materialize";
    for (size_t p = 0; p < processes->n; p++)
        if (processes->items[p].section && strcmp(rc_cli_json_text(processes->items[p].record, "role", ""), role) == 0)
            return true;
    return false;
}

const char *rc_cli_listed_text(const struct rc_cli_listed *listed, const char *key) {
    return rc_cli_json_text(listed->body, key, "");
}

const char *rc_cli_listed_tags(const struct rc_cli_listed *listed, char *out, size_t size) {
    const json_t *tags = json_object_get(listed->body, "tags"), *tag;
    size_t i, len = 0;
    snprintf(out, size, "%s", json_is_string(tags) ? json_string_value(tags) : "");
    json_array_foreach(tags, i, tag) {
        int n = snprintf(out + len, size - len, "%s%s", len ? ", " : "", json_string_value(tag));
        len = n > 0 && len + (size_t)n < size ? len + (size_t)n : size - 1;
    }
    return out;
}

/* ---- filters ----------------------------------------------------------------------------------------------------------------- */

struct filter {
    const struct rc_cli *cli;
    const struct rc_catalog *catalog;
    int64_t modified_ms, refreshed_ms, expires_ms; /* 0: any */
    json_t *referring;                             /* "kind/id" of what names all that is asked for; NULL: any; owned */
};

static bool has_tag(const struct rc_cli_listed *listed, const char *wanted) {
    const json_t *tags = json_object_get(listed->body, "tags"), *tag;
    size_t i;
    if (json_is_string(tags))
        return strcmp(json_string_value(tags), wanted) == 0;
    json_array_foreach(tags, i, tag) if (strcmp(json_string_value(tag), wanted) == 0) return true;
    return false;
}

static bool has_tags(const struct filter *filter, const struct rc_cli_listed *listed) {
    const char *tag;
    for (size_t i = 0; (tag = rc_cli_value_at(filter->cli, "tag", i)) != NULL; i++)
        if (!has_tag(listed, tag))
            return false;
    return true;
}

static bool is_in_state(const char *wanted, const char *state) {
    int bad = badness(state);
    if (strcmp(wanted, "error") == 0)
        return bad == 100;
    if (strcmp(wanted, "ready") == 0)
        return strcmp(state, "ready") == 0 || strcmp(state, "live") == 0;
    return strcmp(wanted, "in-progress") == 0 ? bad == 50 : strcmp(wanted, state) == 0;
}

/* "every" stands for every interval. */
static bool is_refreshed(const char *wanted, const struct rc_cli_listed *listed) {
    const char *refresh = rc_cli_json_text(listed->body, "refresh", "continuous");
    bool every = strcmp(wanted, "every") == 0 && strncmp(refresh, "every ", 6) == 0;
    return every || strcmp(wanted, refresh) == 0;
}

static bool refers(const struct filter *filter, const struct rc_cli_listed *listed) {
    char name[256];
    snprintf(name, sizeof name, "%s/%s", listed->definition->kind, listed->definition->id);
    return !filter->referring || json_object_get(filter->referring, name);
}

static bool is_wanted(const struct filter *filter, const struct rc_cli_listed *listed) {
    const struct rc_cli *cli = filter->cli;
    const char *state = rc_cli_value(cli, "state"), *owner = rc_cli_value(cli, "owner"),
               *part = rc_cli_value(cli, "name-contains"), *refresh = rc_cli_value(cli, "refresh");
    if (state && !is_in_state(state, listed->state))
        return false;
    if (owner && strcmp(rc_cli_listed_text(listed, "owner"), owner) != 0)
        return false;
    if (part && !strcasestr(listed->definition->id, part) && !strcasestr(rc_cli_listed_text(listed, "name"), part))
        return false;
    if (refresh && !is_refreshed(refresh, listed))
        return false;
    if (listed->definition->applied_ms < filter->modified_ms || listed->refreshed_ms < filter->refreshed_ms)
        return false;
    if (filter->expires_ms && (!listed->expires_ms || listed->expires_ms >= filter->expires_ms))
        return false;
    return has_tags(filter, listed) && refers(filter, listed);
}

/* An instant, or so long before (`sign` −1) or after now. */
static rc_status read_time(const struct rc_cli *cli, const char *option, int sign, int64_t *out, struct rc_error *err) {
    const char *text = rc_cli_value(cli, option);
    int64_t ms;
    if (!text || rc_rfc3339_parse(text, strlen(text), out) == RC_OK)
        return RC_OK;
    if (rc_duration_parse(text, &ms) != RC_OK)
        return rc_cli_usage(cli, err,
                            "--%s is \"%s\", expected an instant like 2026-10-01T00:00:00Z or a duration "
                            "like 7d",
                            option, text);
    *out = rc_clock_wall_ms() + sign * ms;
    return RC_OK;
}

static void note_referrer(void *ctx, const struct rc_definition *referrer) {
    char name[256];
    snprintf(name, sizeof name, "%s/%s", referrer->kind, referrer->id);
    (void)json_object_set_new(ctx, name, json_true());
}

/* An audience without destinations is sent to `profiles`. */
static void add_default_destination(const struct rc_catalog *catalog, const char *destination, json_t *names) {
    for (size_t i = 0; strcmp(destination, "profiles") == 0 && i < catalog->n_audiences; i++)
        if (catalog->audiences[i].n_destinations == 0)
            note_referrer(names, rc_catalog_definition(catalog, "audience", catalog->audiences[i].id));
}

/* Narrows down to what names (kind, the option's value). */
static rc_status read_reference(struct filter *filter, const char *kind, struct rc_error *err) {
    const char *id = rc_cli_value(filter->cli, kind);
    const struct rc_definition *definition;
    if (!id)
        return RC_OK;
    bool implied = strcmp(kind, "destination") == 0 && strcmp(id, "profiles") == 0;
    if (!implied && rc_cli_find_definition(filter->catalog, kind, id, &definition, err) != RC_OK)
        return RC_FAIL;
    json_t *names = json_object();
    rc_catalog_referrers(filter->catalog, kind, id, note_referrer, names);
    if (implied)
        add_default_destination(filter->catalog, id, names);
    const char *name;
    void *next;
    json_t *value;
    json_object_foreach_safe(names, next, name, value) {
        if (filter->referring && !json_object_get(filter->referring, name))
            (void)json_object_del(names, name);
    }
    json_decref(filter->referring);
    filter->referring = names;
    return RC_OK;
}

static rc_status check_word(const struct rc_cli *cli, const char *option, const char *const *words, size_t n,
                            struct rc_error *err) {
    const char *word = rc_cli_value(cli, option);
    if (!word)
        return RC_OK;
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, words[i]) == 0)
            return RC_OK;
    const char *nearest = rc_nearest_word(word, words, n);
    if (nearest)
        return rc_cli_usage(cli, err, "--%s is \"%s\" (did you mean %s?)", option, word, nearest);
    return rc_cli_usage(cli, err, "--%s is \"%s\", which is none of its words", option, word);
}

/* Options that say nothing about the kind that is listed are refused: an empty list would look like an answer. */
static rc_status check_kind(const struct rc_cli *cli, const char *kind, struct rc_error *err) {
    static const struct {
        const char *option, *kinds;
    } of[] = {{"state", "segment audience"},        {"refresh", "audience"},          {"refreshed-since", "audience"},
              {"expires-before", "audience"},       {"dataset", "segment attribute"}, {"segment", "segment audience"},
              {"destination", "audience attribute"}};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        if (rc_cli_has(cli, of[i].option) && (!kind || !strstr(of[i].kinds, kind)))
            return rc_cli_usage(cli, err, "--%s narrows down a list of %ss; ask `rollcall get %ss --%s …`",
                                of[i].option, strrchr(of[i].kinds, ' ') ? strrchr(of[i].kinds, ' ') + 1 : of[i].kinds,
                                strrchr(of[i].kinds, ' ') ? strrchr(of[i].kinds, ' ') + 1 : of[i].kinds, of[i].option);
    }
    return RC_OK;
}

static const char *const sort_keys[] = {"id", "name", "state", "members", "refreshed", "modified", "owner", "expires"};
enum sort_key { BY_ID, BY_NAME, BY_STATE, BY_MEMBERS, BY_REFRESHED, BY_MODIFIED, BY_OWNER, BY_EXPIRES };
#define N_SORT_KEYS (sizeof sort_keys / sizeof *sort_keys)

static rc_status read_filter(const struct rc_cli *cli, const struct rc_catalog *catalog, const char *kind,
                             struct filter *out, struct rc_error *err) {
    static const char *const states[] = {"ready", "in-progress", "error", "paused", "held", "cancelled", "expired"};
    *out = (struct filter){.cli = cli, .catalog = catalog};
    if (check_kind(cli, kind, err) != RC_OK ||
        check_word(cli, "state", states, sizeof states / sizeof *states, err) != RC_OK ||
        check_word(cli, "sort", sort_keys, N_SORT_KEYS, err) != RC_OK ||
        read_time(cli, "modified-since", -1, &out->modified_ms, err) != RC_OK ||
        read_time(cli, "refreshed-since", -1, &out->refreshed_ms, err) != RC_OK ||
        read_time(cli, "expires-before", 1, &out->expires_ms, err) != RC_OK ||
        read_reference(out, "dataset", err) != RC_OK || read_reference(out, "segment", err) != RC_OK)
        return RC_FAIL;
    return read_reference(out, "destination", err);
}

/* ---- order ------------------------------------------------------------------------------------------------------------------- */

static size_t place_of(const char *kind) {
    size_t i = 0;
    while (rc_cli_kinds[i] && strcmp(rc_cli_kinds[i], kind) != 0)
        i++;
    return i;
}

static int compare_numbers(int64_t a, int64_t b) {
    return (a > b) - (a < b);
}

struct order {
    enum sort_key key;
    bool reverse;
};

static int compare(const void *a, const void *b, void *ctx) {
    const struct rc_cli_listed *x = a, *y = b;
    const struct order *order = ctx;
    size_t i = place_of(x->definition->kind), j = place_of(y->definition->kind);
    int by = 0;
    if (i != j)
        return (i > j) - (i < j);
    switch (order->key) {
    case BY_ID: break;
    case BY_NAME: by = strcasecmp(rc_cli_listed_text(x, "name"), rc_cli_listed_text(y, "name")); break;
    case BY_STATE: by = strcmp(x->state, y->state); break;
    case BY_MEMBERS: by = compare_numbers(x->members, y->members); break;
    case BY_REFRESHED: by = compare_numbers(x->refreshed_ms, y->refreshed_ms); break;
    case BY_MODIFIED: by = compare_numbers(x->definition->applied_ms, y->definition->applied_ms); break;
    case BY_OWNER: by = strcasecmp(rc_cli_listed_text(x, "owner"), rc_cli_listed_text(y, "owner")); break;
    case BY_EXPIRES: by = compare_numbers(x->expires_ms, y->expires_ms); break;
    }
    if (by == 0)
        by = strcmp(x->definition->id, y->definition->id);
    return order->reverse ? -by : by;
}

static void sort(const struct rc_cli *cli, struct rc_cli_listing *listing) {
    struct order order = {.key = BY_ID, .reverse = rc_cli_has(cli, "reverse")};
    for (size_t i = 0; rc_cli_has(cli, "sort") && i < N_SORT_KEYS; i++)
        if (strcmp(rc_cli_value(cli, "sort"), sort_keys[i]) == 0)
            order.key = (enum sort_key)i;
    if (listing->n)
        qsort_r(listing->items, listing->n, sizeof *listing->items, compare, &order);
}

/* ------------------------------------------------------------------------------------------------------------------------------ */

rc_status rc_cli_listing_read(const struct rc_cli *cli, const struct rc_catalog *catalog, const char *kind,
                              struct rc_cli_listing *out, struct rc_error *err) {
    struct rc_cli_processes processes = {0};
    struct filter filter;
    bool asked = kind && list_of(kind);
    if (read_filter(cli, catalog, kind, &filter, err) != RC_OK ||
        (asked && rc_cli_processes_read(cli, ANSWER_TIMEOUT_MS, &processes, err) != RC_OK)) {
        json_decref(filter.referring);
        return RC_FAIL;
    }
    bool runs = asked && consumer_runs(&processes, kind);
    struct rc_cli_listing listing = {.items = rc_calloc(catalog->n_definitions, sizeof *listing.items), .told = runs};
    for (size_t i = 0; i < catalog->n_definitions; i++) {
        struct rc_cli_listed *listed = &listing.items[listing.n];
        if (kind && strcmp(catalog->definitions[i].kind, kind) != 0)
            continue;
        bool told = rc_cli_listed_fill(catalog, &catalog->definitions[i], &processes, listed);
        if (!told && runs)
            snprintf(listed->state, sizeof listed->state, "not taken up yet");
        if (is_wanted(&filter, listed))
            listing.n++;
        else
            json_decref(listed->body);
    }
    sort(cli, &listing);
    json_decref(filter.referring);
    rc_cli_processes_deinit(&processes);
    *out = listing;
    return RC_OK;
}

void rc_cli_listing_deinit(struct rc_cli_listing *listing) {
    for (size_t i = 0; i < listing->n; i++)
        json_decref(listing->items[i].body);
    free(listing->items);
    *listing = (struct rc_cli_listing){0};
}
