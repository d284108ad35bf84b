/* Owns the order in which a change of definitions happens. Must not know the words of any command. The mistake that it prevents: something written
 * that was never checked together with what is in force. */
#include "cli/change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "cli/json.h"
#include "consumers/shared/definitions.h"
#include "kafka/topics.h"

const char *const rc_cli_outcomes[] = {"created", "configured", "unchanged"};

/* ---- life ------------------------------------------------------------------------------------------------------------------- */

rc_status rc_cli_change_init(const struct rc_cli *cli, const struct rc_cli_texts *texts, struct rc_cli_change *out,
                             struct rc_error *err) {
    *out = (struct rc_cli_change){.texts = texts, .now_ms = rc_clock_wall_ms()};
    rc_catalog_builder_init(&out->files);
    rc_catalog_builder_init(&out->applied);
    rc_catalog_builder_init(&out->next);
    rc_controls_init(&out->controls);
    rc_cli_who(cli, out->who);
    return rc_cli_texts_add(texts, &out->files, err);
}

/* What depends on what is applied. */
static void forget(struct rc_cli_change *change) {
    rc_plan_free(change->plan);
    rc_catalog_free(change->catalog);
    rc_controls_deinit(&change->controls);
    rc_catalog_builder_deinit(&change->next);
    rc_catalog_builder_deinit(&change->applied);
    change->plan = NULL;
    change->catalog = NULL;
}

void rc_cli_change_deinit(struct rc_cli_change *change) {
    forget(change);
    rc_catalog_builder_deinit(&change->files);
    rc_cli_processes_deinit(&change->processes);
}

/* ---- checking --------------------------------------------------------------------------------------------------------------- */

static rc_status copy_applied(struct rc_cli_change *change, struct rc_error *err) {
    for (size_t i = 0; i < change->applied.n; i++) {
        const struct rc_definition *d = &change->applied.items[i];
        if (rc_catalog_builder_add_applied(&change->next, rc_span_str(d->json), d->version, d->applied_ms,
                                           d->applied_by, err) != RC_OK)
            return RC_FAIL;
    }
    return RC_OK;
}

/* A dataset whose person, timestamp or event_id would change in place is refused. What is applied already may be unsound for this build;
 * then applying better definitions is the way out, so there is nothing to compare with. */
static rc_status check_compatible(const struct rc_cli_change *change, struct rc_error *err) {
    struct rc_catalog *before;
    struct rc_error ignored;
    if (rc_catalog_build(&change->applied, &before, &ignored) != RC_OK)
        return RC_OK;
    rc_status status = rc_catalog_compatible(before, change->catalog, err);
    rc_catalog_free(before);
    return status;
}

enum rc_cli_outcome rc_cli_change_outcome(const struct rc_cli_change *change, const struct rc_definition *definition,
                                          int *version) {
    const struct rc_definition *old = rc_catalog_builder_find(&change->applied, definition->kind, definition->id);
    if (!old) {
        struct rc_control control;
        rc_controls_find(&change->controls, definition->kind, definition->id, &control);
        *version = control.deleted_version + 1; /* versions never begin again */
        return CLI_CREATED;
    }
    bool same = rc_definition_same(old->json, definition->json);
    *version = old->version + !same;
    return same ? CLI_UNCHANGED : CLI_CONFIGURED;
}

/* An audience that is put in force with an end that is past would only be ended. What is brought back may have ended. */
static rc_status check_ends(const struct rc_cli_change *change, struct rc_error *err) {
    for (size_t i = 0; !change->action && i < change->files.n; i++) {
        const struct rc_definition *file = &change->files.items[i];
        char time[25];
        int version;
        if (strcmp(file->kind, "audience") != 0 || rc_cli_change_outcome(change, file, &version) == CLI_UNCHANGED)
            continue;
        int64_t expires_ms = change->catalog->audiences[rc_catalog_audience(change->catalog, file->id)].expires_ms;
        if (expires_ms && expires_ms <= change->now_ms)
            return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                                "%s: %s.expires: found %s, which is past; expected an instant to come, or none for 13 "
                                "months from now on",
                                file->file, file->path, rc_cli_time(expires_ms, time));
    }
    return RC_OK;
}

rc_status rc_cli_change_prepare(const struct rc_cli *cli, struct rc_cli_change *change, struct rc_error *err) {
    forget(change);
    rc_catalog_builder_init(&change->applied);
    rc_catalog_builder_init(&change->next);
    rc_controls_init(&change->controls);
    if (rc_cli_applied_read(cli, &change->applied, &change->controls, err) != RC_OK ||
        copy_applied(change, err) != RC_OK || rc_cli_texts_add(change->texts, &change->next, err) != RC_OK ||
        rc_catalog_build(&change->next, &change->catalog, err) != RC_OK || check_compatible(change, err) != RC_OK ||
        check_ends(change, err) != RC_OK)
        return RC_FAIL;
    return rc_plan_compile(change->catalog, &change->plan, err);
}

/* ---- topics ---------------------------------------------------------------------------------------------------------------- */

static rc_status ensure_dataset_topics(struct rc_admin *admin, const struct rc_cli *cli,
                                       const struct rc_catalog *catalog, int32_t partitions, struct rc_error *err) {
    for (size_t i = 0; i < catalog->n_datasets; i++) {
        const struct rc_dataset *dataset = &catalog->datasets[i];
        bool created;
        struct rc_topic_spec spec = {.name = dataset->topic, .partitions = dataset->keyed ? partitions : 0};
        if (rc_topic_ensure(admin, &spec, &created, err) != RC_OK)
            return rc_error_prefix(err, "dataset/%s", dataset->id);
        if (created && !rc_cli_has(cli, "json"))
            printf("topic %s created\n", dataset->topic);
        if (dataset->keyed)
            continue;
        char *rekeyed;
        if (asprintf(&rekeyed, "%s.events.%s", rc_config_text(cli->config, "topics.prefix"), dataset->id) < 0)
            abort();
        spec = (struct rc_topic_spec){.name = rekeyed, .partitions = partitions};
        rc_status status = rc_topic_ensure(admin, &spec, NULL, err);
        free(rekeyed);
        if (status != RC_OK)
            return rc_error_prefix(err, "dataset/%s", dataset->id);
    }
    return RC_OK;
}

/* How many partitions all topics with person keys have, or will have. Changes nothing. */
static rc_status count_partitions(struct rc_admin *admin, const struct rc_catalog *catalog, int32_t *out,
                                  struct rc_error *err) {
    const char **topics = rc_calloc(catalog->n_datasets, sizeof *topics);
    size_t n = 0;
    for (size_t i = 0; i < catalog->n_datasets; i++) {
        if (catalog->datasets[i].keyed)
            topics[n++] = catalog->datasets[i].topic;
    }
    rc_status status = rc_topics_count(admin, topics, n, out, err);
    free(topics);
    return status;
}

static rc_status ensure_topics(const struct rc_cli *cli, const struct rc_cli_change *change, struct rc_error *err) {
    struct rc_admin *admin;
    int32_t partitions = 0;
    if (rc_admin_open(cli->config, &admin, err) != RC_OK)
        return RC_FAIL;
    rc_status status = count_partitions(admin, change->catalog, &partitions, err);
    if (status == RC_OK && !change->dry)
        status = rc_topics_ensure_own(admin, partitions, err);
    if (status == RC_OK && !change->dry)
        status = ensure_dataset_topics(admin, cli, change->catalog, partitions, err);
    rc_admin_close(admin);
    return status == RC_OK ? RC_OK : rc_cli_broker_error(cli, err);
}

/* ---- writing ---------------------------------------------------------------------------------------------------------------- */

int64_t rc_cli_live_members(const struct rc_cli_processes *processes, const char *kind, const char *id) {
    const char *list = strcmp(kind, "segment") == 0 ? "segments" : "audiences";
    int64_t members = -1;
    for (size_t p = 0; p < processes->n; p++) {
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(processes->items[p].section, list), i, item) {
            if (strcmp(rc_cli_json_text(item, "id", ""), id) == 0)
                members = (members > 0 ? members : 0) + rc_cli_json_int(item, "members", 0);
        }
    }
    return members;
}

static bool has_members(const struct rc_definition *definition) {
    return strcmp(definition->kind, "segment") == 0 || strcmp(definition->kind, "audience") == 0;
}

/* What is known of the effect when a definition changes: how many members it had until now. */
static char *effect_of(const struct rc_cli *cli, struct rc_cli_change *change, const struct rc_definition *definition,
                       enum rc_cli_outcome outcome) {
    int64_t members = -1;
    char *text, number[64] = "";
    if (outcome == CLI_CONFIGURED && has_members(definition)) {
        struct rc_error ignored; /* nothing can be said then */
        if (!change->asked && rc_cli_processes_read(cli, CLI_LIVE_TIMEOUT_MS, &change->processes, &ignored) != RC_OK)
            change->processes = (struct rc_cli_processes){0};
        change->asked = true;
        members = rc_cli_live_members(&change->processes, definition->kind, definition->id);
    }
    if (members >= 0)
        snprintf(number, sizeof number, "\"membersBefore\":%lld", (long long)members);
    if (!*number && !change->effect)
        return NULL;
    if (asprintf(&text, "{%s%s%s}", change->effect ? change->effect : "", *number && change->effect ? "," : "",
                 number) < 0)
        abort();
    return text;
}

/* What operators said of the version before goes on, but for what this change says itself. */
static rc_status put_control(const struct rc_cli_change *change, struct rc_cli_writer *writer,
                             const struct rc_definition *definition, struct rc_error *err) {
    struct rc_control control;
    rc_controls_find(&change->controls, definition->kind, definition->id, &control);
    if (!has_members(definition) || !(change->force || change->cancel))
        return RC_OK;
    if (change->force)
        control.approved_version = definition->version;
    if (change->cancel)
        control.cancelled_version = definition->version - 1;
    return rc_cli_writer_put_control(writer, definition->kind, definition->id, &control, change->who, err);
}

static rc_status put_one(const struct rc_cli *cli, struct rc_cli_change *change, struct rc_cli_writer *writer,
                         struct rc_definition definition, struct rc_error *err) {
    enum rc_cli_outcome outcome = rc_cli_change_outcome(change, &definition, &definition.version);
    if (outcome == CLI_UNCHANGED)
        return RC_OK;
    definition.applied_ms = change->now_ms;
    definition.scheduled_ms = rc_definition_scheduled_ms(
        rc_catalog_builder_find(&change->applied, definition.kind, definition.id), &definition, change->now_ms);
    definition.applied_by = change->who;
    char *effect = effect_of(cli, change, &definition, outcome);
    struct rc_audit entry = {.at_ms = change->now_ms,
                             .who = change->who,
                             .kind = definition.kind,
                             .id = definition.id,
                             .action = change->action ? change->action : rc_cli_outcomes[outcome],
                             .version = definition.version,
                             .effect = effect,
                             .json = definition.json};
    rc_status status = put_control(change, writer, &definition, err);
    if (status == RC_OK)
        status = rc_cli_writer_put(writer, definition.kind, definition.id, &definition, err);
    if (status == RC_OK)
        status = rc_cli_writer_put_audit(writer, &entry, err);
    if (status == RC_OK && change->force && has_members(&definition)) {
        entry.action = "approved";
        entry.effect = NULL;
        status = rc_cli_writer_put_audit(writer, &entry, err);
    }
    free(effect);
    return status;
}

/* What others refer to goes first, so that a reader who stops in between finds nothing that points nowhere. */
static rc_status put_all(const struct rc_cli *cli, struct rc_cli_change *change, struct rc_cli_writer *writer,
                         struct rc_error *err) {
    for (const char *const *kind = rc_cli_kinds; *kind; kind++)
        for (size_t i = 0; i < change->files.n; i++)
            if (strcmp(change->files.items[i].kind, *kind) == 0 &&
                put_one(cli, change, writer, change->files.items[i], err) != RC_OK)
                return RC_FAIL;
    return RC_OK;
}

struct attempt {
    const struct rc_cli *cli;
    struct rc_cli_change *change;
};

static rc_status attempt_change(void *ctx, struct rc_cli_writer *writer, struct rc_error *err) {
    struct attempt *attempt = ctx;
    if (rc_cli_change_prepare(attempt->cli, attempt->change, err) != RC_OK ||
        ensure_topics(attempt->cli, attempt->change, err) != RC_OK)
        return RC_FAIL;
    return put_all(attempt->cli, attempt->change, writer, err);
}

rc_status rc_cli_change_run(const struct rc_cli *cli, struct rc_cli_change *change, struct rc_error *err) {
    struct attempt attempt = {.cli = cli, .change = change};
    if (!change->dry)
        return rc_cli_write(cli, attempt_change, &attempt, err);
    return rc_cli_change_prepare(cli, change, err) != RC_OK ? RC_FAIL : ensure_topics(cli, change, err);
}

/* ---- one definition again --------------------------------------------------------------------------------------------------- */

rc_status rc_cli_revive(const struct rc_cli *cli, const struct rc_cli_revival *revival, struct rc_error *err) {
    struct rc_cli_text text = {.file = (char *)(uintptr_t)revival->from,
                               .text = (char *)(uintptr_t)revival->json,
                               .len = strlen(revival->json)};
    struct rc_cli_texts texts = {.items = &text, .n = 1};
    struct rc_cli_change change;
    rc_status status = rc_cli_change_init(cli, &texts, &change, err);
    change.action = revival->action;
    change.effect = revival->effect;
    change.cancel = revival->cancel;
    if (status == RC_OK)
        status = rc_cli_change_run(cli, &change, err);
    if (status == RC_OK) {
        int version;
        enum rc_cli_outcome outcome = rc_cli_change_outcome(&change, &change.files.items[0], &version);
        const char *result = outcome == CLI_UNCHANGED ? "unchanged" : revival->action;
        if (rc_cli_has(cli, "json"))
            rc_cli_json_print(json_pack("{s:s, s:s, s:s, s:i}", "kind", revival->kind, "id", revival->id, "result",
                                        result, "version", version));
        else
            printf("%s/%s %s (version %d, as %s)\n", revival->kind, revival->id, result, version, revival->from);
    }
    rc_cli_change_deinit(&change);
    return status;
}
