/* apply and delete: what changes the definitions. Everything is checked against everything that is applied before anything changes; a change
 * is one record on the definitions topic, acknowledged before it is told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "cli/applied.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/writer.h"
#include "kafka/topics.h"
#include "segment/population.h"

static const char *const class_names[] = {"bounded", "per window", "all history"};

/* What apply works out before it changes anything. */
struct change {
    struct rc_catalog_builder applied; /* as it is */
    struct rc_catalog_builder next;    /* as it will be */
    struct rc_catalog_builder files;   /* what the files say */
    struct rc_catalog *catalog;        /* built from `next` */
    struct rc_plan *plan;
    char who[CLI_WHO];
    int64_t now_ms;
};

static void change_init(struct change *change) {
    *change = (struct change){.now_ms = rc_clock_wall_ms()};
    rc_catalog_builder_init(&change->applied);
    rc_catalog_builder_init(&change->next);
    rc_catalog_builder_init(&change->files);
}

static void change_deinit(struct change *change) {
    rc_plan_free(change->plan);
    rc_catalog_free(change->catalog);
    rc_catalog_builder_deinit(&change->files);
    rc_catalog_builder_deinit(&change->next);
    rc_catalog_builder_deinit(&change->applied);
}

static rc_status copy_applied(struct change *change, struct rc_error *err) {
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
static rc_status check_compatible(const struct change *change, struct rc_error *err) {
    struct rc_catalog *before;
    struct rc_error ignored;
    if (rc_catalog_build(&change->applied, &before, &ignored) != RC_OK)
        return RC_OK;
    rc_status status = rc_catalog_compatible(before, change->catalog, err);
    rc_catalog_free(before);
    return status;
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
static rc_status count_partitions(struct rc_admin *admin, const struct rc_cli *cli, const struct rc_catalog *catalog,
                                  int32_t *out, struct rc_error *err) {
    const char **topics = rc_calloc(catalog->n_datasets, sizeof *topics);
    size_t n = 0;
    for (size_t i = 0; i < catalog->n_datasets; i++) {
        if (catalog->datasets[i].keyed)
            topics[n++] = catalog->datasets[i].topic;
    }
    rc_status status = rc_topics_count(admin, topics, n, out, err);
    free(topics);
    return status == RC_OK ? RC_OK : rc_cli_broker_error(cli, err);
}

/* ---- apply ------------------------------------------------------------------------------------------------------------------ */

enum outcome { CREATED, CONFIGURED, UNCHANGED };
static const char *const outcome_names[] = {"created", "configured", "unchanged"};

static enum outcome outcome_of(const struct change *change, const struct rc_definition *definition, int *version) {
    const struct rc_definition *old = rc_catalog_builder_find(&change->applied, definition->kind, definition->id);
    if (!old) {
        *version = 1;
        return CREATED;
    }
    bool same = rc_definition_same(old->json, definition->json);
    *version = old->version + !same;
    return same ? UNCHANGED : CONFIGURED;
}

static void report(const struct rc_cli *cli, const struct change *change, const struct rc_definition *definition) {
    int version;
    enum outcome outcome = outcome_of(change, definition, &version);
    const char *class = NULL, *reason = NULL;
    if (strcmp(definition->kind, "segment") == 0) {
        int segment = rc_catalog_segment(change->catalog, definition->id);
        class = class_names[rc_plan_state_class(change->plan, (uint32_t)segment, &reason)];
    }
    bool dry = rc_cli_has(cli, "dry-run");
    if (rc_cli_has(cli, "json")) {
        rc_cli_json_print(json_pack("{s:s, s:s, s:s, s:i, s:b, s:s*, s:s*}", "kind", definition->kind, "id",
                                    definition->id, "result", outcome_names[outcome], "version", version, "dryRun", dry,
                                    "state", class, "reason", reason));
        return;
    }
    printf("%s/%s %s%s (version %d)\n", definition->kind, definition->id, outcome_names[outcome],
           dry ? " (dry run)" : "", version);
    if (class)
        printf("    state: %s: %s\n", class, reason);
}

static rc_status write_changes(const struct rc_cli *cli, const struct change *change, struct rc_error *err) {
    struct rc_cli_writer *writer;
    if (rc_cli_writer_open(cli, &writer, err) != RC_OK)
        return RC_FAIL;
    rc_status status = RC_OK;
    /* What others refer to goes first, so that a reader who stops in between finds nothing that points nowhere. */
    for (const char *const *kind = rc_cli_kinds; status == RC_OK && *kind; kind++) {
        for (size_t i = 0; status == RC_OK && i < change->files.n; i++) {
            struct rc_definition definition = change->files.items[i];
            if (strcmp(definition.kind, *kind) != 0 ||
                outcome_of(change, &definition, &definition.version) == UNCHANGED)
                continue;
            definition.applied_ms = change->now_ms;
            definition.applied_by = (char *)change->who;
            status = rc_cli_writer_put(writer, definition.kind, definition.id, &definition, err);
        }
    }
    if (status == RC_OK)
        status = rc_cli_writer_finish(writer, err);
    rc_cli_writer_close(writer);
    return status;
}

/* Everything that can be wrong with the definitions is found here; nothing is changed. The files by themselves come first: a misspelt key
 * should not wait for a broker. */
static rc_status prepare(struct rc_cli *cli, const struct rc_cli_texts *texts, struct change *change,
                         struct rc_error *err) {
    rc_cli_who(cli, change->who);
    if (rc_cli_texts_add(texts, &change->files, err) != RC_OK ||
        rc_cli_applied_read(cli, &change->applied, NULL, err) != RC_OK || copy_applied(change, err) != RC_OK ||
        rc_cli_texts_add(texts, &change->next, err) != RC_OK ||
        rc_catalog_build(&change->next, &change->catalog, err) != RC_OK || check_compatible(change, err) != RC_OK)
        return RC_FAIL;
    return rc_plan_compile(change->catalog, &change->plan, err);
}

static rc_status apply_change(const struct rc_cli *cli, const struct change *change, struct rc_error *err) {
    struct rc_admin *admin;
    int32_t partitions = 0;
    if (rc_admin_open(cli->config, &admin, err) != RC_OK)
        return RC_FAIL;
    rc_status status = count_partitions(admin, cli, change->catalog, &partitions, err);
    if (status == RC_OK && !rc_cli_has(cli, "dry-run")) {
        status = rc_topics_ensure_own(admin, partitions, err);
        if (status == RC_OK)
            status = ensure_dataset_topics(admin, cli, change->catalog, partitions, err);
    }
    rc_admin_close(admin);
    if (status == RC_OK && !rc_cli_has(cli, "dry-run"))
        status = write_changes(cli, change, err);
    return status == RC_OK ? RC_OK : rc_cli_broker_error(cli, err);
}

static rc_status apply(struct rc_cli *cli, struct rc_error *err) {
    size_t n_paths;
    const char **paths = rc_cli_paths(cli, &n_paths);
    struct rc_cli_texts texts = {0};
    struct change change;
    change_init(&change);
    rc_status status = n_paths ? RC_OK : rc_cli_usage(cli, err, "nothing to apply, name files or folders with -f");
    if (status == RC_OK)
        status = rc_cli_connect(cli, err);
    if (status == RC_OK)
        status = rc_cli_texts_read(&texts, paths, n_paths, err);
    if (status == RC_OK)
        status = prepare(cli, &texts, &change, err);
    if (status == RC_OK)
        status = apply_change(cli, &change, err);
    for (size_t i = 0; status == RC_OK && i < change.files.n; i++)
        report(cli, &change, &change.files.items[i]);
    change_deinit(&change);
    rc_cli_texts_deinit(&texts);
    free(paths);
    return status;
}

/* ---- delete ------------------------------------------------------------------------------------------------------------------ */

static void note_referrer(void *ctx, const struct rc_definition *referrer) {
    struct rc_buf *names = ctx;
    rc_buf_printf(names, "%s%s/%s", names->len ? ", " : "", referrer->kind, referrer->id);
}

static rc_status check_free(const struct rc_catalog *catalog, const char *kind, const char *id, struct rc_error *err) {
    struct rc_buf names;
    rc_buf_init(&names, 1024);
    size_t n = rc_catalog_referrers(catalog, kind, id, note_referrer, &names);
    rc_status status = RC_OK;
    if (n > 0)
        status = rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s/%s is used by %s%s; delete or change %s first",
                              kind, id, names.data, names.full ? ", …" : "", n == 1 ? "that" : "those");
    rc_buf_deinit(&names);
    return status;
}

static rc_status delete_definition(struct rc_cli *cli, struct rc_error *err) {
    const char *kind;
    if (rc_cli_expect(cli, 2, 2, err) != RC_OK || rc_cli_kind(cli, cli->args.positional[0], &kind, err) != RC_OK ||
        rc_cli_connect(cli, err) != RC_OK)
        return RC_FAIL;
    const char *id = cli->args.positional[1];
    struct rc_catalog *catalog;
    const struct rc_definition *definition;
    if (rc_cli_applied_catalog(cli, &catalog, err) != RC_OK)
        return RC_FAIL;
    struct rc_cli_writer *writer = NULL;
    rc_status status = rc_cli_find_definition(catalog, kind, id, &definition, err);
    if (status == RC_OK)
        status = check_free(catalog, kind, id, err);
    if (status == RC_OK)
        status = rc_cli_writer_open(cli, &writer, err);
    if (status == RC_OK)
        status = rc_cli_writer_put(writer, kind, id, NULL, err);
    if (status == RC_OK)
        status = rc_cli_writer_finish(writer, err);
    rc_cli_writer_close(writer);
    if (status == RC_OK && rc_cli_has(cli, "json"))
        rc_cli_json_print(json_pack("{s:s, s:s, s:s}", "kind", kind, "id", id, "result", "deleted"));
    else if (status == RC_OK)
        printf("%s/%s deleted\n", kind, id);
    rc_catalog_free(catalog);
    return status;
}

static const struct rc_cli_option apply_options[] = {
    {"file", 'f', CLI_MANY, "PATH",
     "Files with one definition or an array of them, folders (every *.json in them and below), or - for stdin."},
    {"dry-run", 0, CLI_FLAG, NULL,
     "Checks everything, also against what is applied, tells what would happen and changes nothing."},
    {"who", 0, CLI_ONE, "NAME", "Who applies, for the record (default: user@host)."},
    {0},
};

const struct rc_cli_command rc_cli_command_apply = {
    .name = "apply",
    .summary = "Puts definitions in force: datasets, segments, audiences, destinations",
    .arguments = "-f PATH...",
    .text = "Checks all definitions together with those that are applied already, and changes nothing unless all of "
            "them are sound. Then creates the "
            "topics that are missing and writes what is new or different to the definitions topic; running consumers "
            "take it up without a "
            "restart. Tells for each definition whether it was created, configured (a new version) or unchanged, and "
            "for each segment what state "
            "it needs and why.",
    .options = apply_options,
    .examples = "rollcall apply -f examples/ecom\nrollcall apply --dry-run -f segments.json "
                "audiences.json\nmake-segments | rollcall apply -f -",
    .prints_data = true,
    .run = apply,
};

const struct rc_cli_command rc_cli_command_delete = {
    .name = "delete",
    .summary = "Takes a definition out of force",
    .arguments = "KIND ID",
    .text = "Refused while other definitions refer to it; the message names them. The members of a deleted audience "
            "are exited unless it says "
            "\"on_end\": \"keep\".",
    .examples = "rollcall delete audience win-back",
    .prints_data = true,
    .run = delete_definition,
};
