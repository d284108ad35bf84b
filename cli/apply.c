/* apply: puts definitions in force. What it does is a change (change.h); here are its words. The mistake that it prevents: an apply of which one
 * cannot tell what it did. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/change.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/replay.h"

static const char *const class_names[] = {"bounded", "per window", "all history"};

/* Whether a dataset's events mean something else than before to segments that have read some of them: what is known of those stays as it was. */
static bool wants_replay(const struct rc_cli_change *change, const struct rc_definition *definition) {
    static const char *const keys[] = {"fields", "elements", "where", "session_timeout", "timezone", "schema", NULL};
    const struct rc_definition *old = rc_catalog_builder_find(&change->applied, definition->kind, definition->id);
    if (!old || strcmp(definition->kind, "dataset") != 0 ||
        rc_cli_replay_segments(change->catalog, definition->id) == 0)
        return false;
    json_t *was = json_loads(old->json, 0, NULL), *is = json_loads(definition->json, 0, NULL);
    bool differs = false;
    for (size_t i = 0; keys[i]; i++) {
        const json_t *a = json_object_get(was, keys[i]), *b = json_object_get(is, keys[i]);
        differs |= a && b ? !json_equal(a, b) : a != b;
    }
    json_decref(was);
    json_decref(is);
    return differs;
}

static void report(const struct rc_cli *cli, const struct rc_cli_change *change,
                   const struct rc_definition *definition) {
    int version;
    enum rc_cli_outcome outcome = rc_cli_change_outcome(change, definition, &version);
    const char *class = NULL, *reason = NULL;
    if (strcmp(definition->kind, "segment") == 0) {
        int segment = rc_catalog_segment(change->catalog, definition->id);
        class = class_names[rc_plan_state_class(change->plan, (uint32_t)segment, &reason)];
    }
    bool replay = wants_replay(change, definition);
    if (rc_cli_has(cli, "json")) {
        json_t *line = json_pack("{s:s, s:s, s:s, s:i, s:b, s:s*, s:s*}", "kind", definition->kind, "id",
                                 definition->id, "result", rc_cli_outcomes[outcome], "version", version, "dryRun",
                                 change->dry, "state", class, "reason", reason);
        if (replay)
            json_object_set_new(line, "wantsReplay", json_true());
        rc_cli_json_print(line);
        return;
    }
    printf("%s/%s %s%s (version %d)\n", definition->kind, definition->id, rc_cli_outcomes[outcome],
           change->dry ? " (dry run)" : "", version);
    if (class)
        printf("    state: %s: %s\n", class, reason);
    if (replay)
        printf("    counts for what is read from now on; `rollcall replay --dataset %s` counts what was read before "
               "anew\n",
               definition->id);
}

static rc_status apply_texts(const struct rc_cli *cli, const struct rc_cli_texts *texts, struct rc_error *err) {
    struct rc_cli_change change;
    rc_status status = rc_cli_change_init(cli, texts, &change, err);
    change.dry = rc_cli_has(cli, "dry-run");
    change.force = rc_cli_has(cli, "force");
    if (status == RC_OK)
        status = rc_cli_change_run(cli, &change, err);
    for (size_t i = 0; status == RC_OK && i < change.files.n; i++)
        report(cli, &change, &change.files.items[i]);
    rc_cli_change_deinit(&change);
    return status;
}

static rc_status apply(struct rc_cli *cli, struct rc_error *err) {
    size_t n_paths;
    const char **paths = rc_cli_paths(cli, &n_paths);
    struct rc_cli_texts texts = {0};
    rc_status status = n_paths ? RC_OK : rc_cli_usage(cli, err, "nothing to apply, name files or folders with -f");
    if (status == RC_OK)
        status = rc_cli_connect(cli, err);
    if (status == RC_OK)
        status = rc_cli_texts_read(&texts, paths, n_paths, err);
    if (status == RC_OK)
        status = apply_texts(cli, &texts, err);
    rc_cli_texts_deinit(&texts);
    free(paths);
    return status;
}

static const struct rc_cli_option options[] = {
    {"file", 'f', CLI_MANY, "PATH",
     "Files with one definition or an array of them, folders (every *.json in them and below), or - for stdin."},
    {"dry-run", 0, CLI_FLAG, NULL,
     "Checks everything, also against what is applied, tells what would happen and changes nothing."},
    {"force", 0, CLI_FLAG, NULL,
     "Approves the new versions in the same step: those of segments take effect even where they would empty them, or "
     "more than double their members."},
    CLI_OPTION_WHO,
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
            "it needs and why. What is written is written all or nothing, and noted in the audit trail (`rollcall "
            "history`).",
    .options = options,
    .examples = "rollcall apply -f examples/ecom\nrollcall apply --dry-run -f segments.json "
                "audiences.json\nmake-segments | rollcall apply -f -",
    .prints_data = true,
    .run = apply,
};
