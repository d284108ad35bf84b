/* Owns the picture of one definition: text, state class, topics, labels, referrers, and what running processes say of it. Reads only. The mistake
 * that it prevents: having to put that picture together from four other commands. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/audit.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/listing.h"
#include "kafka/topics.h"
#include "segment/population.h"

#define STATUS_TIMEOUT_MS 2000
#define HISTORY_ENTRIES 5

static const char *const class_names[] = {"bounded", "per window", "all history"};

static bool is_kind(const struct rc_definition *definition, const char *kind) {
    return strcmp(definition->kind, kind) == 0;
}

static void append_text(json_t *list, const char *text) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (strcmp(json_string_value(json_array_get(list, i)), text) == 0)
            return;
    }
    json_array_append_new(list, json_string(text));
}

/* The topics that the definition has to do with, and for a dataset its labels. */
static json_t *topics_of(const struct rc_cli *cli, const struct rc_catalog *catalog,
                         const struct rc_definition *definition) {
    json_t *topics = json_array();
    const char *own = NULL;
    if (is_kind(definition, "dataset")) {
        append_text(topics, catalog->datasets[rc_catalog_dataset(catalog, definition->id)].topic);
        return topics;
    }
    if (is_kind(definition, "segment")) {
        const struct rc_segment *segment = &catalog->segments[rc_catalog_segment(catalog, definition->id)];
        for (size_t i = 0; i < segment->n_datasets; i++)
            append_text(topics, catalog->datasets[segment->datasets[i]].topic);
        own = "segments";
    } else if (is_kind(definition, "audience")) {
        own = "memberships";
    }
    if (own) {
        char *topic = rc_topic_name(cli->config, own);
        append_text(topics, topic);
        free(topic);
    }
    return topics;
}

static json_t *labels_of(const struct rc_catalog *catalog, const struct rc_definition *definition) {
    json_t *labels = json_array();
    if (!is_kind(definition, "dataset"))
        return labels;
    const struct rc_dataset *dataset = &catalog->datasets[rc_catalog_dataset(catalog, definition->id)];
    for (size_t f = 0; f < dataset->n_fields; f++) {
        for (size_t l = 0; l < dataset->fields[f].n_labels; l++)
            append_text(labels, dataset->fields[f].labels[l]);
    }
    return labels;
}

static void note_referrer(void *ctx, const struct rc_definition *referrer) {
    char *text;
    if (asprintf(&text, "%s/%s", referrer->kind, referrer->id) < 0)
        abort();
    append_text(ctx, text);
    free(text);
}

/* What running processes say of it: one object a process that holds a part of it. */
static json_t *live_of(const struct rc_cli_processes *processes, const struct rc_definition *definition) {
    static const struct {
        const char *kind, *list;
    } lists[] = {{"segment", "segments"}, {"audience", "audiences"}, {"destination", "destinations"}};
    const char *name = "";
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        if (is_kind(definition, lists[i].kind))
            name = lists[i].list;
    }
    json_t *live = json_array();
    for (size_t p = 0; p < processes->n; p++) {
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(processes->items[p].section, name), i, item) {
            if (strcmp(rc_cli_json_text(item, "id", ""), definition->id) != 0)
                continue;
            json_t *part = json_copy(item);
            json_object_set_new(part, "process", json_string(processes->items[p].key));
            json_array_append_new(live, part);
        }
    }
    return live;
}

static void set_time(json_t *all, const char *key, int64_t at_ms) {
    char time[25];
    if (at_ms > 0)
        json_object_set_new(all, key, json_string(rc_cli_time(at_ms, time)));
}

/* The whole over all processes. */
static void add_whole(json_t *all, const struct rc_cli_listed *whole) {
    if (*whole->state)
        json_object_set_new(all, "liveState", json_string(whole->state));
    if (whole->members >= 0)
        json_object_set_new(all, "members", json_integer(whole->members));
    if (is_kind(whole->definition, "audience"))
        set_time(all, "lastRefreshed", whole->refreshed_ms);
    set_time(all, "nextRefresh", whole->next_ms);
    set_time(all, "expires", whole->expires_ms);
    if (*whole->warning)
        json_object_set_new(all, "warning", json_string(whole->warning));
}

static void add_live(const struct rc_cli *cli, const struct rc_catalog *catalog, const struct rc_definition *definition,
                     json_t *all) {
    struct rc_cli_processes processes = {0};
    struct rc_cli_listed whole;
    struct rc_error ignored; /* status tells why; here it only means that nothing live can be said */
    if (rc_cli_processes_read(cli, STATUS_TIMEOUT_MS, &processes, &ignored) != RC_OK)
        processes = (struct rc_cli_processes){0};
    json_object_set_new(all, "live", live_of(&processes, definition));
    (void)rc_cli_listed_fill(catalog, definition, &processes, &whole);
    add_whole(all, &whole);
    json_decref(whole.body);
    rc_cli_processes_deinit(&processes);
}

/* ---- what became of it ------------------------------------------------------------------------------------------------------- */

struct past {
    const struct rc_definition *definition;
    json_t *entries; /* the last ones, oldest first */
};

static bool take_entry(void *ctx, const struct rc_audit *entry) {
    struct past *past = ctx;
    char time[25];
    if (!is_kind(past->definition, entry->kind) || strcmp(entry->id, past->definition->id) != 0)
        return true;
    if (json_array_size(past->entries) == HISTORY_ENTRIES)
        (void)json_array_remove(past->entries, 0);
    json_array_append_new(past->entries,
                          json_pack("{s:s, s:s, s:s, s:i}", "time", rc_cli_time(entry->at_ms, time), "who", entry->who,
                                    "action", entry->action, "version", entry->version));
    return true;
}

static rc_status add_history(const struct rc_cli *cli, const struct rc_definition *definition, json_t *all,
                             struct rc_error *err) {
    struct past past = {.definition = definition, .entries = json_array()};
    rc_status status = rc_cli_audit_read(cli, take_entry, &past, err);
    json_object_set_new(all, "history", past.entries);
    return status;
}

/* ---- text -------------------------------------------------------------------------------------------------------------------- */

static void print_list(const char *heading, const json_t *list) {
    size_t i;
    const json_t *item;
    if (json_array_size(list) == 0)
        return;
    printf("%-12s", heading);
    json_array_foreach(list, i, item) printf("%s%s", i ? ", " : "", json_string_value(item));
    putchar('\n');
}

static void print_live(const json_t *live) {
    size_t i;
    const json_t *part;
    if (json_array_size(live) == 0) {
        printf("%-12s%s\n", "Live:", "no running process tells of it");
        return;
    }
    json_array_foreach(live, i, part) {
        char time[25];
        printf("%-12s%s: %s, version %lld, %lld members", i ? "" : "Live:", rc_cli_json_text(part, "process", "?"),
               rc_cli_json_text(part, "state", "?"), (long long)rc_cli_json_int(part, "version", 0),
               (long long)rc_cli_json_int(part, "members", 0));
        if (rc_cli_json_int(part, "incomplete_until_ms", 0) > 0)
            printf(", incomplete until %s", rc_cli_time(rc_cli_json_int(part, "incomplete_until_ms", 0), time));
        if (rc_cli_json_int(part, "history_from_ms", 0) > 0)
            printf(", counts from %s on: what was before is gone from the topics",
                   rc_cli_time(rc_cli_json_int(part, "history_from_ms", 0), time));
        if (json_object_get(part, "progress"))
            printf(", %.0f %% of its history is read", rc_cli_json_real(part, "progress", 0) * 100);
        if (rc_cli_json_int(part, "last_change_ms", 0) > 0)
            printf(", last change %s", rc_cli_time(rc_cli_json_int(part, "last_change_ms", 0), time));
        putchar('\n');
    }
}

static void print_line(const char *heading, const char *text) {
    if (*text)
        printf("%-12s%s\n", heading, text);
}

static void print_whole(const json_t *all) {
    static const char *const lines[][2] = {
        {"Refreshed:", "lastRefreshed"}, {"Next:", "nextRefresh"}, {"Expires:", "expires"}, {"Warning:", "warning"}};
    const char *state = rc_cli_json_text(all, "liveState", "");
    if (*state)
        printf("%-12s%s, %lld members\n", "Now:", state, (long long)rc_cli_json_int(all, "members", 0));
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        print_line(lines[i][0], rc_cli_json_text(all, lines[i][1], ""));
}

static void print_history(const json_t *entries) {
    size_t i;
    const json_t *entry;
    json_array_foreach(entries, i, entry)
        printf("%-12s%s version %lld %s by %s\n", i ? "" : "History:", rc_cli_json_text(entry, "time", "-"),
               (long long)rc_cli_json_int(entry, "version", 0), rc_cli_json_text(entry, "action", "-"),
               rc_cli_json_text(entry, "who", "-"));
}

static void print_text(const json_t *all, const char *json) {
    const json_t *definition = json_object_get(all, "definition");
    char *body = rc_cli_json_pretty(json), tags[256];
    struct rc_cli_listed listed = {.body = json_object_get(all, "definition")};
    printf("%-12s%s\n", "Kind:", rc_cli_json_text(all, "kind", ""));
    printf("%-12s%s\n", "Id:", rc_cli_json_text(all, "id", ""));
    printf("%-12s%lld, applied %s by %s\n", "Version:", (long long)rc_cli_json_int(all, "version", 0),
           rc_cli_json_text(all, "time", "-"), rc_cli_json_text(all, "who", "-"));
    print_line("Name:", rc_cli_json_text(definition, "name", ""));
    print_line("About:", rc_cli_json_text(definition, "description", ""));
    print_line("Owner:", rc_cli_json_text(definition, "owner", ""));
    print_line("Tags:", rc_cli_listed_tags(&listed, tags, sizeof tags));
    if (json_object_get(all, "state"))
        printf("%-12s%s: %s\n", "State:", rc_cli_json_text(all, "state", ""), rc_cli_json_text(all, "reason", ""));
    print_list("Topics:", json_object_get(all, "topics"));
    print_list("Labels:", json_object_get(all, "labels"));
    print_list("Used by:", json_object_get(all, "usedBy"));
    print_whole(all);
    if (json_object_get(all, "live"))
        print_live(json_object_get(all, "live"));
    print_history(json_object_get(all, "history"));
    printf("Definition:\n%s\n", body);
    free(body);
}

static rc_status build(const struct rc_cli *cli, const struct rc_catalog *catalog,
                       const struct rc_definition *definition, json_t **out, struct rc_error *err) {
    char time[25];
    json_t *used_by = json_array();
    rc_catalog_referrers(catalog, definition->kind, definition->id, note_referrer, used_by);
    json_t *all = json_pack("{s:s, s:s, s:i, s:s, s:s*, s:o, s:o, s:o, s:o*}", "kind", definition->kind, "id",
                            definition->id, "version", definition->version, "time",
                            rc_cli_time(definition->applied_ms, time), "who", definition->applied_by, "topics",
                            topics_of(cli, catalog, definition), "labels", labels_of(catalog, definition), "usedBy",
                            used_by, "definition", json_loads(definition->json, 0, NULL));
    if (is_kind(definition, "segment")) {
        struct rc_plan *plan;
        if (rc_plan_compile(catalog, &plan, err) != RC_OK) {
            json_decref(all);
            return RC_FAIL;
        }
        const char *reason;
        uint32_t segment = (uint32_t)rc_catalog_segment(catalog, definition->id);
        json_object_set_new(all, "state", json_string(class_names[rc_plan_state_class(plan, segment, &reason)]));
        json_object_set_new(all, "reason", json_string(reason));
        rc_plan_free(plan);
    }
    if (!is_kind(definition, "dataset") && !is_kind(definition, "policy"))
        add_live(cli, catalog, definition, all);
    rc_status status = add_history(cli, definition, all, err);
    if (status == RC_OK)
        *out = all;
    else
        json_decref(all);
    return status;
}

static rc_status describe(struct rc_cli *cli, struct rc_error *err) {
    const char *kind;
    if (rc_cli_expect(cli, 2, 2, err) != RC_OK || rc_cli_kind(cli, cli->args.positional[0], &kind, err) != RC_OK ||
        rc_cli_connect(cli, err) != RC_OK)
        return RC_FAIL;
    struct rc_catalog *catalog;
    if (rc_cli_applied_catalog(cli, &catalog, err) != RC_OK)
        return RC_FAIL;
    const struct rc_definition *definition;
    json_t *all = NULL;
    rc_status status = rc_cli_find_definition(catalog, kind, cli->args.positional[1], &definition, err);
    if (status == RC_OK)
        status = build(cli, catalog, definition, &all, err);
    if (status == RC_OK && rc_cli_has(cli, "json")) {
        rc_cli_json_print(all);
    } else if (status == RC_OK) {
        print_text(all, definition->json);
        json_decref(all);
    }
    rc_catalog_free(catalog);
    return status;
}

const struct rc_cli_command rc_cli_command_describe = {
    .name = "describe",
    .summary = "All that is known of one definition",
    .arguments = "KIND ID",
    .text = "The definition with its version, who applied it and when; the state that a segment needs and why; topics, "
            "data-usage labels, what refers to "
            "it; what running processes say of it, together and each; and the last entries of its history.",
    .examples = "rollcall describe segment cart-abandoners\nrollcall describe audience win-back --json",
    .prints_data = true,
    .run = describe,
};
