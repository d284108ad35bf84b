/* Owns the putting together of an explanation from those who know: ingest says why a segment is true, materialize what an audience published,
 * and the topics when and why that changed last. Must not evaluate anything itself. The mistake that it prevents: an explanation of something
 * else than what the pipeline holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/applied.h"
#include "cli/commands.h"
#include "cli/event_names.h"
#include "cli/explanation.h"
#include "cli/json.h"
#include "cli/last_change.h"
#include "cli/processes.h"
#include "codec/person_key.h"

#define LOOK_BACK_MS 2000 /* for one last change */
#define NAMES_MS 2000     /* for the ids of all events */
#define MAX_TREE ((size_t)64 << 20)

struct explaining {
    const struct rc_cli *cli;
    const char *person;
    struct rc_catalog *catalog;
    struct rc_cli_processes processes;
};

static void path_of(char *out, size_t size, const char *kinds, const char *id, const char *suffix) {
    snprintf(out, size, "/%s/%s%s", kinds, id, suffix);
}

/* Adds "lastChange": what the topic says; null where its latest records do not tell ("lastChangeOlder": true), or there was none. */
static rc_status add_last_change(const struct explaining *explaining, const char *topic, const char *id, json_t *json,
                                 struct rc_error *err) {
    json_t *change = NULL;
    bool complete = false;
    if (rc_cli_last_change(explaining->cli, topic, explaining->person, id, LOOK_BACK_MS, &change, &complete, err) !=
        RC_OK)
        return RC_FAIL;
    if (!change && !complete)
        json_object_set_new(json, "lastChangeOlder", json_true());
    json_object_set_new(json, "lastChange", change ? change : json_null());
    return RC_OK;
}

static rc_status explain_segment(const struct explaining *explaining, const char *id, json_t **out,
                                 struct rc_error *err) {
    char path[256];
    path_of(path, sizeof path, "segments", id, "/explain");
    if (rc_cli_ask_owner(&explaining->processes, "ingest", path, explaining->person, out, err) != RC_OK)
        return RC_FAIL;
    if (add_last_change(explaining, "segments", id, *out, err) == RC_OK)
        return RC_OK;
    json_decref(*out);
    return RC_FAIL;
}

/* Puts an explanation beside each segment that the condition names; where there is none it says why. */
static void explain_leaves(const struct explaining *explaining, json_t *condition) {
    const char *segment = rc_cli_json_text(condition, "segment", NULL);
    size_t i;
    json_t *child, *explanation;
    struct rc_error err;
    json_array_foreach(json_object_get(condition, "conditions"), i, child) {
        explain_leaves(explaining, child);
    }
    if (!segment)
        return;
    if (explain_segment(explaining, segment, &explanation, &err) == RC_OK)
        json_object_set_new(condition, "explanation", explanation);
    else
        json_object_set_new(condition, "error", json_string(err.message));
}

static rc_status explain_audience(const struct explaining *explaining, const char *id, json_t **out,
                                  struct rc_error *err) {
    char path[256];
    path_of(path, sizeof path, "audiences", id, "/explain");
    if (rc_cli_ask_owner(&explaining->processes, "materialize", path, explaining->person, out, err) != RC_OK)
        return RC_FAIL;
    if (add_last_change(explaining, "memberships", id, *out, err) != RC_OK) {
        json_decref(*out);
        return RC_FAIL;
    }
    explain_leaves(explaining, json_object_get(*out, "condition"));
    return RC_OK;
}

/* ---- which of the two is meant ---- */

enum target { SEGMENT, AUDIENCE };

/* segment/ID, audience/ID, or ID: where both have it the audience is meant, since that explains its segments as well. */
static rc_status find_target(const struct rc_catalog *catalog, const char **id, enum target *target,
                             struct rc_error *err) {
    static const char *const prefixes[] = {"segment/", "audience/"};
    const struct rc_definition *found;
    for (int i = 0; i < 2; i++) {
        if (strncmp(*id, prefixes[i], strlen(prefixes[i])) != 0)
            continue;
        *id += strlen(prefixes[i]);
        *target = i == 0 ? SEGMENT : AUDIENCE;
        return rc_cli_find_definition(catalog, i == 0 ? "segment" : "audience", *id, &found, err);
    }
    bool segment = rc_catalog_segment(catalog, *id) >= 0, audience = rc_catalog_audience(catalog, *id) >= 0;
    if (!segment && !audience)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                            "no segment and no audience %s is applied; `rollcall get` lists them", *id);
    *target = audience ? AUDIENCE : SEGMENT;
    return RC_OK;
}

static rc_status check_person(const struct rc_cli *cli, const char *person, struct rc_error *err) {
    struct rc_span namespace, id;
    struct rc_buf scratch;
    rc_buf_init(&scratch, 65536);
    rc_status status = rc_person_key_split(rc_span_str(person), &scratch, &namespace, &id);
    rc_buf_deinit(&scratch);
    return status == RC_OK ? RC_OK
                           : rc_cli_usage(cli, err,
                                          "\"%s\" is no person, expected namespace:id (a : or \\ inside the namespace "
                                          "written as \\: or \\\\)",
                                          person);
}

/* Sets up: definitions, processes, and which of the two kinds is asked about. `explaining` is to be finished in any case. */
static rc_status prepare(struct rc_cli *cli, struct explaining *explaining, const char **id, enum target *target,
                         struct rc_error *err) {
    *explaining = (struct explaining){.cli = cli};
    if (rc_cli_expect(cli, 2, 2, err) != RC_OK)
        return RC_FAIL;
    *id = cli->args.positional[0];
    explaining->person = cli->args.positional[1];
    if (check_person(cli, explaining->person, err) != RC_OK || rc_cli_connect(cli, err) != RC_OK ||
        rc_cli_applied_catalog(cli, &explaining->catalog, err) != RC_OK ||
        find_target(explaining->catalog, id, target, err) != RC_OK)
        return RC_FAIL;
    return rc_cli_processes_read(cli, 0, &explaining->processes, err);
}

static void finish(struct explaining *explaining) {
    rc_cli_processes_deinit(&explaining->processes);
    rc_catalog_free(explaining->catalog);
}

/* ---- the commands ---- */

static rc_status explain(struct rc_cli *cli, struct rc_error *err) {
    struct explaining explaining;
    const char *id = NULL;
    enum target target = SEGMENT;
    json_t *json = NULL;
    rc_status status = prepare(cli, &explaining, &id, &target, err);
    if (status == RC_OK)
        status = target == SEGMENT ? explain_segment(&explaining, id, &json, err)
                                   : explain_audience(&explaining, id, &json, err);
    if (status == RC_OK)
        rc_cli_event_names(cli, explaining.catalog, explaining.person, json, NAMES_MS);
    if (status == RC_OK && rc_cli_has(cli, "json")) {
        rc_cli_json_print(json);
    } else if (status == RC_OK) {
        struct rc_buf tree;
        rc_buf_init(&tree, MAX_TREE);
        if (target == SEGMENT)
            rc_cli_explanation_segment(json, explaining.catalog, &tree);
        else
            rc_cli_explanation_audience(json, explaining.catalog, &tree);
        fwrite(tree.data, 1, tree.len, stdout);
        rc_buf_deinit(&tree);
        json_decref(json);
    }
    finish(&explaining);
    return status;
}

const struct rc_cli_command rc_cli_command_explain = {
    .name = "explain",
    .summary = "Why a person is in a segment or audience, or is not",
    .arguments = "SEGMENT|AUDIENCE NS:ID",
    .text =
        "Asks the ingest process that holds the person: each condition with its value against its threshold, the "
        "events it rests on, when and why the membership changed last, and when it changes next by time alone. For an "
        "audience also what materialize has published, and why that differs from the condition if it does. [x] stands "
        "before what is true. The last change is looked for among the latest records of the topic, and the ids of "
        "events around their "
        "time on the dataset's, for 2 s each at most; an event that is not found there is named by its hash. "
        "Where a segment and an audience have the same id, the audience is meant; segment/ID says otherwise. "
        "Exit 65: no such segment or audience; 69: no process that holds the person answers; 75: it is busy.",
    .examples = "rollcall explain win-back shop:1234\nrollcall explain segment/cart-abandoners shop:1234 --json",
    .prints_data = true,
    .run = explain,
};

static rc_status is(struct rc_cli *cli, struct rc_error *err) {
    struct explaining explaining;
    const char *id = NULL;
    enum target target = SEGMENT;
    char path[256];
    json_t *json = NULL;
    rc_status status = prepare(cli, &explaining, &id, &target, err);
    if (status == RC_OK) {
        path_of(path, sizeof path, target == SEGMENT ? "segments" : "audiences", id, "");
        status = rc_cli_ask_owner(&explaining.processes, target == SEGMENT ? "ingest" : "materialize", path,
                                  explaining.person, &json, err);
    }
    bool member = status == RC_OK && json_is_true(json_object_get(json, "member"));
    if (status == RC_OK && rc_cli_has(cli, "json"))
        rc_cli_json_print(json_incref(json));
    else if (status == RC_OK)
        puts(member ? "yes" : "no");
    json_decref(json);
    finish(&explaining);
    cli->exit_code = member ? 0 : 1;
    return status;
}

const struct rc_cli_command rc_cli_command_is = {
    .name = "is",
    .summary = "Whether a person is in a segment or audience now",
    .arguments = "SEGMENT|AUDIENCE NS:ID",
    .text = "Asks the process that holds the person and prints yes or no: for a segment as it was told last, for an "
            "audience (which is meant where both have the id) as it was published last. Exit 0: yes; 1: no; 65, 69, 75 "
            "as `rollcall explain`.",
    .examples = "rollcall is cart-abandoners shop:1234\nrollcall is win-back shop:1234 --json",
    .prints_data = true,
    .run = is,
};
