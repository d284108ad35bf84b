/* `rollcall replay`: the state of a dataset's segments is built anew from what its topic holds. What is asked for is a control record, so it outlives
 * every process; how far it is, `rollcall backfill list` tells. The mistake that it prevents: a state rebuilt from a topic that has forgotten half of what
 * the state knows. */
#include "cli/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "cli/applied.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/writer.h"
#include "kafka/read.h"
#include "kafka/topics.h"
#include "segment/population.h"

/* ---- what rests on a dataset -------------------------------------------------------------------------------------------------- */

size_t rc_cli_replay_segments(const struct rc_catalog *catalog, const char *dataset) {
    int d = rc_catalog_dataset(catalog, dataset);
    size_t n = 0;
    for (uint32_t s = 0; d >= 0 && s < catalog->n_segments; s++)
        n += rc_catalog_rests_on(catalog, s, (uint32_t)d);
    return n;
}

/* The segment that looks back furthest; false: there is none. `*lookback_ms` −1: over all of history. */
static bool furthest(const struct rc_catalog *catalog, uint32_t dataset, uint32_t *out, int64_t *lookback_ms,
                     struct rc_error *err) {
    struct rc_plan *plan;
    bool found = false;
    if (rc_plan_compile(catalog, &plan, err) != RC_OK)
        return false;
    for (uint32_t s = 0; s < catalog->n_segments; s++) {
        int64_t one = rc_plan_lookback_ms(plan, s);
        if (!rc_catalog_rests_on(catalog, s, dataset) ||
            (found && one >= 0 && (*lookback_ms < 0 || one <= *lookback_ms)))
            continue;
        found = true;
        *out = s;
        *lookback_ms = one;
    }
    rc_plan_free(plan);
    return found;
}

/* ---- what the topic has forgotten --------------------------------------------------------------------------------------------- */

static char *topic_of(const struct rc_cli *cli, const struct rc_dataset *dataset) {
    char name[128];
    if (dataset->keyed)
        return rc_strdup(dataset->topic);
    snprintf(name, sizeof name, "events.%s", dataset->id);
    return rc_topic_name(cli->config, name);
}

/* Whether records of that time on, or of before, are gone from some partition. */
static rc_status is_clipped(const struct rc_cli *cli, const char *topic, int64_t since_ms, bool *out,
                            struct rc_error *err) {
    struct rc_admin *admin;
    int32_t n = 0;
    if (rc_admin_open(cli->config, &admin, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_topic_partitions(admin, topic, CLI_KAFKA_TIMEOUT_MS, &n, err);
    rc_admin_close(admin);
    *out = false;
    if (status != RC_OK || n <= 0)
        return status;
    struct rc_read_span *spans = rc_calloc((size_t)n, sizeof *spans);
    int64_t *first = rc_calloc((size_t)n, sizeof *first);
    for (int32_t p = 0; p < n; p++)
        spans[p] = (struct rc_read_span){.topic = topic, .partition = p};
    status = rc_kafka_read_bounds(cli->config, spans, (size_t)n, since_ms, first, CLI_KAFKA_TIMEOUT_MS, err);
    for (int32_t p = 0; status == RC_OK && p < n; p++)
        *out |= first[p] > 0 && spans[p].from <= first[p];
    free(spans);
    free(first);
    return status;
}

rc_status rc_cli_replay_check(const struct rc_cli *cli, const struct rc_catalog *catalog, const char *dataset,
                              bool force, struct rc_error *err) {
    int d = rc_catalog_dataset(catalog, dataset);
    uint32_t segment = 0;
    int64_t lookback_ms = 0;
    bool clipped;
    if (d < 0 || !furthest(catalog, (uint32_t)d, &segment, &lookback_ms, err))
        return RC_OK;
    char *topic = topic_of(cli, &catalog->datasets[d]);
    int64_t since_ms = lookback_ms < 0 ? INT64_MIN : rc_clock_wall_ms() - lookback_ms;
    rc_status status = is_clipped(cli, topic, since_ms, &clipped, err);
    if (status == RC_OK && clipped && !force)
        status = rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                              "the topic %s does not hold all that segment %s looks back on any more (retention), and "
                              "its present state may: built "
                              "anew it would lose members. With --force it is done all the same; `rollcall status` "
                              "then tells until when the segment is incomplete",
                              topic, catalog->segments[segment].id);
    else if (status == RC_OK && clipped)
        fprintf(
            stderr,
            "rollcall: the topic %s does not hold all that segment %s looks back on any more: it may lose members\n",
            topic, catalog->segments[segment].id);
    free(topic);
    return status;
}

/* ---- asking -------------------------------------------------------------------------------------------------------------------- */

struct asked {
    int64_t from_ms;
    bool all;
};

static rc_status ask(void *ctx, const struct rc_definition *definition, struct rc_control *control,
                     struct rc_error *err) {
    const struct asked *what = ctx;
    (void)definition, (void)err;
    int64_t now_ms = rc_clock_wall_ms();
    int64_t before = control->replay_ms > control->cancelled_ms ? control->replay_ms : control->cancelled_ms;
    before = control->import_ms > before ? control->import_ms : before;
    control->replay_ms = now_ms > before ? now_ms : before + 1;
    control->replay_from_ms = what->from_ms;
    if (what->all)
        control->replay_all_ms = control->replay_ms;
    control->paused = false;
    return RC_OK;
}

rc_status rc_cli_replay_ask(const struct rc_cli *cli, const char *dataset, int64_t from_ms, bool all,
                            struct rc_error *err) {
    struct asked what = {.from_ms = from_ms, .all = all};
    return rc_cli_control_change(cli, "dataset", dataset, ask, &what, err);
}

static rc_status run(struct rc_cli *cli, const struct rc_catalog *catalog, struct rc_error *err) {
    const char *dataset = rc_cli_value(cli, "dataset");
    const struct rc_definition *definition;
    int64_t from_ms = 0;
    if (rc_cli_instant(cli, "from", &from_ms, err) != RC_OK ||
        rc_cli_find_definition(catalog, "dataset", dataset, &definition, err) != RC_OK)
        return RC_FAIL;
    if (from_ms > 0 && cli->embedded)
        return rc_cli_usage(cli, err, "the embedded broker cannot be asked for records of a time; leave --from out");
    if (from_ms == 0 && rc_cli_replay_check(cli, catalog, dataset, rc_cli_has(cli, "force"), err) != RC_OK)
        return RC_FAIL;
    if (rc_cli_replay_ask(cli, dataset, from_ms, from_ms == 0, err) != RC_OK)
        return RC_FAIL;
    size_t segments = rc_cli_replay_segments(catalog, dataset);
    if (rc_cli_has(cli, "json"))
        rc_cli_json_print(json_pack("{s:s, s:s, s:I, s:o}", "dataset", dataset, "result", "replayed", "segments",
                                    (json_int_t)segments, "from", from_ms ? json_integer(from_ms) : json_null()));
    else if (segments == 0)
        printf("dataset/%s: no segment rests on it, there is nothing to build anew\n", dataset);
    else
        printf("dataset/%s: the state of %zu segment%s is built anew; `rollcall backfill list` tells how far it is\n",
               dataset, segments, segments == 1 ? "" : "s");
    return RC_OK;
}

static rc_status replay(struct rc_cli *cli, struct rc_error *err) {
    struct rc_catalog *catalog;
    if (rc_cli_expect(cli, 0, 0, err) != RC_OK)
        return RC_FAIL;
    if (!rc_cli_value(cli, "dataset"))
        return rc_cli_usage(cli, err, "--dataset says of which dataset");
    if (rc_cli_connect(cli, err) != RC_OK || rc_cli_applied_catalog(cli, &catalog, err) != RC_OK)
        return RC_FAIL;
    rc_status status = run(cli, catalog, err);
    rc_catalog_free(catalog);
    return status;
}

static const struct rc_cli_option options[] = {
    {"dataset", 'd', CLI_ONE, "ID", "The dataset whose segments' state is built anew."},
    {"from", 0, CLI_ONE, "TIME",
     "Only from records of this time on: RFC 3339, or how long ago, e.g. 7d. What came before then counts no more; "
     "`rollcall status` tells until when segments that look back further are incomplete."},
    {"force", 0, CLI_FLAG, NULL,
     "Also where the topic does not hold all any more that segments look back on, so that they may lose members."},
    CLI_OPTION_WHO,
    {0},
};

const struct rc_cli_command rc_cli_command_replay = {
    .name = "replay",
    .summary = "Builds the state of a dataset's segments anew from its topic",
    .arguments = "--dataset ID [--from TIME]",
    .text = "For state that is wrong or incomplete: after a dataset was edited (its fields, `where` or session timeout "
            "count for what was read since then only), or after a mistake. Every segment that rests on the dataset is "
            "got ready anew from the topic's records, "
            "from nothing, beside live traffic; it serves as it is meanwhile. Then only the differences are told, with "
            "cause backfill. `rollcall backfill list` shows how far "
            "it is; `rollcall backfill pause | resume | cancel | rate dataset/ID` say how it goes on. All of it is "
            "kept, whatever is restarted, and noted in the audit trail (`rollcall history`).",
    .options = options,
    .examples = "rollcall replay --dataset web\nrollcall replay --dataset web --from 30d\n"
                "rollcall backfill rate dataset/web 20000",
    .prints_data = true,
    .run = replay,
};
