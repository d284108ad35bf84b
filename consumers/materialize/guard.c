/* The guard before an edited audience: a condition that would leave nobody in it, or more than twice as many as it has, is held until somebody approves
 * it. The condition before goes on meanwhile, with everything else of the new definition.
 *
 *   1. A new condition is applied. Everybody goes on by the record of what is in force (consumers/shared/serving.h), so nobody switches by itself.
 *   2. When all of its segments are live in a partition, everybody there is held against it, silently: how many there are, how many there would be.
 *      Each process tells that for its partitions beside what it tells of itself (`<prefix>.processes`).
 *   3. Who holds partition 0 adds up everybody's and writes the verdict into that record: the new one is in force, or it is held, with the numbers. Before
 *      it is in force, what it moves is noted in the audit trail.
 *   4. Everybody reads the record: a new condition is a new generation of the rules, which reviews everybody (sweep.c).
 * The verdict is written once and stays: numbers that move later change nothing, whoever judges then. The mistake that this prevents: a slip of the pen
 * that empties an audience, in some partitions or in all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/materialize/stage.h"
#include "consumers/shared/audit.h"
#include "consumers/shared/peers.h"
#include "consumers/shared/serving.h"

#define PEERS_KEY "audiences"
/* A word that is not read back by then is written again. */
#define PATIENCE_MS 5000
#define VERSION_NAME 96

/* What one partition has and would have, who would enter and leave. */
struct tried {
    bool wanted, known;
    int64_t was, would, enter, leave;
};

struct guard {
    struct rc_peers *peers;
    struct rc_audience_rules *candidates; /* the conditions that are counted; NULL: none */
    size_t n;                             /* of them */
    json_t *names;                        /* "<audience>@<version>" of each, in their order */
    json_t *sent;                         /* by audience: what was written and not read back yet */
    json_t *noted;                        /* by version: the producer's mark behind its entry in the audit trail */
    int64_t sent_ms, next_look_ms;        /* monotonic */
    bool look;                            /* something to judge, or to write */
    bool all;                             /* also of those whose condition does not wait */
};

/* The name under which numbers are told: by version, since a condition may be what a former one was. */
static void version_name(const char *id, int version, char out[VERSION_NAME]) {
    snprintf(out, VERSION_NAME, "%s@%d", id, version);
}

/* ---- what is in force ---- */

/* As the record says, or as was served here last, whichever is later; what was served before a deletion is over. */
static void find_serving(const struct stage *stage, const char *id, struct rc_serving *out) {
    const struct rc_audience_memory *memory = rc_rules_memory(stage, id);
    struct rc_control control;
    rc_serving_find(rc_definitions_controls(stage->definitions), id, out);
    rc_definitions_control(stage->definitions, "audience", id, &control);
    if (!memory || memory->serves <= out->version || memory->serves <= control.deleted_version)
        return;
    json_incref(memory->where);
    json_decref(out->where);
    out->where = memory->where;
    out->version = memory->serves;
}

static void enter(struct stage *stage, const struct rc_catalog *catalog, struct rc_audience_spec *spec,
                  struct rc_audience_entry *entry, struct rc_store_batch *batch) {
    struct rc_serving serving;
    json_t *where = rc_audience_where_json(catalog, spec->definition->where);
    find_serving(stage, entry->id, &serving);
    bool same = !serving.version || serving.version > entry->newest || json_equal(serving.where, where);
    if (!same) {
        entry->serves = json_incref(serving.where);
        entry->held = serving.held == entry->newest;
        entry->held_members = serving.members;
        entry->held_would_have = serving.would_have;
        spec->serves = entry->serves;
        spec->version = serving.version;
    }
    rc_rules_remember(stage, batch, entry->id, spec->version, same ? where : serving.where);
    rc_serving_deinit(&serving);
    json_decref(where);
}

void rc_guard_enter(struct stage *stage, const struct rc_catalog *catalog, struct rc_rulebook *book,
                    struct rc_store_batch *batch) {
    for (size_t i = 0; i < book->n; i++)
        if (book->specs[i].definition)
            enter(stage, catalog, &book->specs[i], &book->entries[i], batch);
}

/* ---- counting ---- */

static bool is_approved(const struct stage *stage, const struct rc_audience_entry *entry) {
    struct rc_control control;
    rc_definitions_control(stage->definitions, "audience", entry->id, &control);
    return control.approved_version >= entry->newest;
}

void rc_guard_adopt(struct stage *stage) {
    struct guard *guard = stage->guard;
    struct rc_audience_spec *specs = rc_calloc(stage->book.n, sizeof *specs);
    json_t *names = json_array();
    size_t n = 0;
    for (size_t i = 0; i < stage->book.n; i++) {
        const struct rc_audience_entry *entry = &stage->book.entries[i];
        char name[VERSION_NAME];
        if (!entry->serves || (entry->held && !is_approved(stage, entry)))
            continue;
        specs[n] = stage->book.specs[i];
        specs[n].serves = NULL;
        specs[n++].version = entry->newest;
        version_name(entry->id, entry->newest, name);
        json_array_append_new(names, json_string(name));
    }
    rc_audience_rules_free(guard->candidates);
    guard->candidates = n ? rc_audience_rules_new(stage->catalog, specs, n, stage->signals, stage->audiences) : NULL;
    bool others = !json_equal(names, guard->names);
    guard->n = n;
    json_decref(guard->names);
    guard->names = names;
    guard->look = guard->all = true;
    for (size_t i = 0; others && i < stage->n_parts; i++)
        rc_guard_part_free(stage->parts[i]);
    free(specs);
}

void rc_guard_part_free(struct part *part) {
    free(part->count.tried);
    part->count = (struct count){0};
}

/* What can be counted in the partition by now, and is not yet. */
static rc_status want(struct part *part, bool *any, struct rc_error *err) {
    struct guard *guard = part->stage->guard;
    struct count *count = &part->count;
    bool *ready = rc_calloc(guard->n, sizeof *ready);
    rc_status status = rc_publish_ready(part, guard->candidates, ready, err);
    *any = false;
    for (size_t i = 0; status == RC_OK && i < guard->n; i++) {
        count->tried[i].wanted = ready[i] && !count->tried[i].known;
        *any |= count->tried[i].wanted;
        if (count->tried[i].wanted)
            count->tried[i] = (struct tried){.wanted = true};
    }
    free(ready);
    return status;
}

static bool try_all(struct part *part, const struct rc_audience_desk *desk, struct rc_audience_person *person) {
    const struct guard *guard = part->stage->guard;
    size_t n;
    const struct rc_audience_rule *rules = rc_audience_rules_all(guard->candidates, &n);
    (void)desk;
    for (size_t i = 0; i < n; i++) {
        struct tried *tried = &part->count.tried[i];
        if (!tried->wanted)
            continue;
        const struct rc_audience_standing *standing = rc_audience_person_standing(person, rules[i].name);
        bool is = standing && standing->realized, would = rc_audience_holds(guard->candidates, &rules[i], person);
        tried->would += would;
        tried->enter += would && !is;
        tried->leave += is && !would;
    }
    return false;
}

static void end_count(struct part *part) {
    struct stage *stage = part->stage;
    struct count *count = &part->count;
    size_t n;
    const struct rc_audience_rule *rules = rc_audience_rules_all(stage->guard->candidates, &n);
    for (size_t i = 0; i < n; i++) {
        if (!count->tried[i].wanted)
            continue;
        count->tried[i].was = part->here[rules[i].name].members;
        count->tried[i].known = true;
        rc_log(RC_LOG_INFO, "new condition counted",
               rc_f_str("audience", rc_names_text(stage->audiences, rules[i].name)),
               rc_f_int("version", rules[i].version), rc_f_int("partition", part->number),
               rc_f_int("members", count->tried[i].was), rc_f_int("would_have", count->tried[i].would));
    }
    count->state = COUNT_NONE;
    count->slice = 0;
    count->look = true; /* what became live meanwhile */
    stage->guard->look = true;
}

rc_status rc_guard_count(struct part *part, int64_t budget_ms, struct rc_error *err) {
    struct stage *stage = part->stage;
    struct count *count = &part->count;
    bool any = false;
    if (!stage->guard->n || part->phase != PART_LIVE || rc_sweep_pending(part))
        return RC_OK;
    if (!count->tried) {
        count->tried = rc_calloc(stage->guard->n, sizeof *count->tried);
        count->look = true;
    }
    if (count->state == COUNT_NONE) {
        if (!count->look)
            return RC_OK;
        count->look = false;
        if (want(part, &any, err))
            return RC_FAIL;
        if (!any)
            return RC_OK;
        count->state = COUNT_SAVING;
        part->batch_for_count = false; /* one under way does not hold everybody who is known now */
    }
    if (count->state == COUNT_SAVING) {
        if (!rc_checkpoint_under_way(part))
            part->changed = part->wanted_now = true;
        return RC_OK;
    }
    if (rc_walk(part, &count->slice, budget_ms, try_all, err))
        return RC_FAIL;
    if (count->slice == RC_PERSONS_SLICES)
        end_count(part);
    return RC_OK;
}

/* ---- telling ---- */

static json_t *numbers_of(const struct tried *tried) {
    return json_pack("[I, I, I, I]", (json_int_t)tried->was, (json_int_t)tried->would, (json_int_t)tried->enter,
                     (json_int_t)tried->leave);
}

/* {"<audience>@<version>": {"<partition>": [members, would have, enter, leave]}} */
static json_t *own_numbers(const struct stage *stage) {
    json_t *own = json_object();
    for (size_t c = 0; c < stage->guard->n; c++) {
        json_t *numbers = json_object();
        for (size_t i = 0; i < stage->n_parts; i++) {
            const struct part *part = stage->parts[i];
            char partition[16];
            snprintf(partition, sizeof partition, "%d", (int)part->number);
            if (part->count.tried && part->count.tried[c].known)
                json_object_set_new(numbers, partition, numbers_of(&part->count.tried[c]));
        }
        json_object_set_new(own, json_string_value(json_array_get(stage->guard->names, c)), numbers);
    }
    return own;
}

/* ---- judging ---- */

struct sum {
    bool *known; /* by partition */
    int32_t n;
    int64_t was, would, enter, leave;
};

static void add_up(struct sum *sum, json_t *numbers) {
    const char *text;
    json_t *pair;
    json_object_foreach(numbers, text, pair) {
        long partition = strtol(text, NULL, 10);
        if (partition < 0 || partition >= sum->n || sum->known[partition])
            continue;
        sum->known[partition] = true;
        sum->was += json_integer_value(json_array_get(pair, 0));
        sum->would += json_integer_value(json_array_get(pair, 1));
        sum->enter += json_integer_value(json_array_get(pair, 2));
        sum->leave += json_integer_value(json_array_get(pair, 3));
    }
}

/* Everybody's numbers of one version; false while some partition has told none. */
static bool add_up_all(const struct stage *stage, json_t *own, const char *name, struct sum *sum) {
    const char *key;
    json_t *told;
    bool all = true;
    *sum = (struct sum){.n = stage->n_partitions};
    sum->known = rc_calloc((size_t)sum->n + 1, sizeof *sum->known);
    add_up(sum, json_object_get(own, name));
    json_object_foreach(rc_peers_told(stage->guard->peers), key, told) add_up(sum, json_object_get(told, name));
    for (int32_t p = 0; p < sum->n; p++)
        all &= sum->known[p];
    free(sum->known);
    sum->known = NULL;
    return all;
}

/* What the record of the audience is to say. True, and `*sum` says what it moves, when a new condition was counted and is let through. */
static bool judge(const struct stage *stage, size_t at, json_t *own, struct rc_serving *out, struct sum *sum) {
    const struct rc_audience_entry *entry = &stage->book.entries[at];
    const struct rc_audience_spec *spec = &stage->book.specs[at];
    char name[VERSION_NAME];
    bool passes = false, approved = is_approved(stage, entry);
    *out = (struct rc_serving){.version = spec->version};
    if (entry->held)
        *out = (struct rc_serving){spec->version, NULL, entry->newest, entry->held_members, entry->held_would_have};
    version_name(entry->id, entry->newest, name);
    if (entry->serves && (!entry->held || approved) && add_up_all(stage, own, name, sum)) {
        int64_t limit = spec->definition->size_limit, past = sum->would > limit ? sum->would - limit : 0;
        sum->would -= past;
        sum->enter -= past < sum->enter ? past : sum->enter;
        passes = approved || sum->was == 0 || (sum->would > 0 && sum->would <= 2 * sum->was);
        *out = (struct rc_serving){spec->version, NULL, entry->newest, sum->was, sum->would};
    }
    if (passes || !entry->serves)
        *out = (struct rc_serving){.version = entry->newest,
                                   .where = rc_audience_where_json(stage->catalog, spec->definition->where)};
    else
        out->where = json_incref(entry->serves);
    return passes;
}

/* ---- writing ---- */

/* Notes in the audit trail what a new condition moves, before it is in force; `*done` once that is durable. So it is noted once, but for a crash in
 * between. */
static rc_status note_effect(struct stage *stage, size_t at, const struct sum *sum, bool *done, struct rc_error *err) {
    struct guard *guard = stage->guard;
    const struct rc_audience_entry *entry = &stage->book.entries[at];
    struct rc_producer *producer = rc_announcer_producer(stage->announcer);
    char name[VERSION_NAME], effect[128];
    version_name(entry->id, entry->newest, name);
    const json_t *noted = json_object_get(guard->noted, name);
    *done = noted && rc_producer_passed(producer, (uint64_t)json_integer_value(noted));
    if (noted)
        return RC_OK;
    snprintf(effect, sizeof effect, "{\"entered\":%lld,\"left\":%lld,\"members\":%lld}", (long long)sum->enter,
             (long long)sum->leave, (long long)sum->would);
    struct rc_audit audit = {.at_ms = rc_clock_wall_ms(),
                             .who = "rollcall",
                             .kind = "audience",
                             .id = entry->id,
                             .action = RC_AUDIT_TOOK_EFFECT,
                             .version = entry->newest,
                             .effect = effect,
                             .json = rc_catalog_definition(stage->catalog, "audience", entry->id)->json};
    rc_status status = rc_audit_send(stage->config, producer, &audit, err);
    json_object_set_new(guard->noted, name, json_integer((json_int_t)rc_producer_mark(producer)));
    return status;
}

/* Writes what a record is to say (NULL: it is withdrawn), unless it says so, or is just being written. */
static rc_status write_word(struct stage *stage, const char *audience, const struct rc_serving *serving,
                            struct rc_error *err) {
    struct guard *guard = stage->guard;
    const char *present = rc_controls_text(rc_definitions_controls(stage->definitions), "serves", audience);
    rc_buf_reset(&stage->key);
    rc_buf_reset(&stage->value);
    if (rc_serving_key_add(&stage->key, audience) || (serving && rc_serving_record_add(&stage->value, serving)))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "the condition of audience %s does not fit",
                            audience);
    const char *text = serving ? stage->value.data : "";
    const char *sent = json_string_value(json_object_get(guard->sent, audience));
    if (strcmp(present ? present : "", text) == 0) {
        json_object_del(guard->sent, audience);
        return RC_OK;
    }
    if (sent && strcmp(sent, text) == 0)
        return RC_OK;
    char *topic = rc_topic_name(stage->config, "definitions");
    struct rc_outgoing record = {.topic = topic,
                                 .key = rc_buf_span(&stage->key),
                                 .value = rc_buf_span(&stage->value),
                                 .null_value = !serving,
                                 .timestamp_ms = RC_NO_TIMESTAMP};
    rc_status status = rc_producer_send(rc_announcer_producer(stage->announcer), &record, err);
    free(topic);
    json_object_set_new(guard->sent, audience, json_string(text));
    return status;
}

static void log_verdict(const struct rc_audience_entry *entry, const struct rc_serving *word) {
    if (word->held == entry->newest && !entry->held)
        rc_log(RC_LOG_WARN, "audience held: its new condition waits for `rollcall approve`",
               rc_f_str("audience", entry->id), rc_f_int("version", word->held), rc_f_int("members", word->members),
               rc_f_int("would_have", word->would_have));
}

static bool publishes(const struct stage *stage, size_t at) {
    enum rc_audience_mode mode = stage->book.specs[at].mode;
    return mode == RC_AUDIENCE_LIVE || mode == RC_AUDIENCE_SCHEDULED;
}

static rc_status judge_all(struct stage *stage, json_t *own, struct rc_error *err) {
    for (size_t i = 0; i < stage->book.n; i++) {
        struct rc_serving word;
        struct sum sum;
        bool noted = true;
        if (!stage->book.specs[i].definition || (!stage->guard->all && !stage->book.entries[i].serves))
            continue;
        bool passes = judge(stage, i, own, &word, &sum);
        bool new = !json_object_get(stage->guard->sent, stage->book.entries[i].id);
        rc_status status = passes && publishes(stage, i) ? note_effect(stage, i, &sum, &noted, err) : RC_OK;
        if (status == RC_OK && noted)
            status = write_word(stage, stage->book.entries[i].id, &word, err);
        if (new &&json_object_get(stage->guard->sent, stage->book.entries[i].id))
            log_verdict(&stage->book.entries[i], &word);
        rc_serving_deinit(&word);
        if (status)
            return RC_FAIL;
    }
    const struct rc_controls *controls = rc_definitions_controls(stage->definitions);
    for (size_t i = 0; i < controls->n; i++) {
        const char *id = rc_serving_audience(&controls->items[i]);
        if (id && rc_catalog_audience(stage->catalog, id) < 0 && write_word(stage, id, NULL, err))
            return RC_FAIL;
    }
    stage->guard->all = false;
    return RC_OK;
}

/* ---- a turn ---- */

void rc_guard_open(struct stage *stage) {
    stage->guard = rc_calloc(1, sizeof *stage->guard);
    stage->guard->peers = rc_peers_new(stage->config, stage->loop, PEERS_KEY);
    stage->guard->names = json_array();
    stage->guard->sent = json_object();
    stage->guard->noted = json_object();
}

void rc_guard_close(struct stage *stage) {
    struct guard *guard = stage->guard;
    if (!guard)
        return;
    rc_peers_free(guard->peers);
    rc_audience_rules_free(guard->candidates);
    json_decref(guard->names);
    json_decref(guard->sent);
    json_decref(guard->noted);
    free(guard);
    stage->guard = NULL;
}

bool rc_guard_busy(const struct stage *stage) {
    return stage->guard->n || stage->guard->look || json_object_size(stage->guard->sent);
}

rc_status rc_guard_turn(struct stage *stage, int64_t monotonic_ms, struct rc_error *err) {
    struct guard *guard = stage->guard;
    if (!rc_guard_busy(stage) || (monotonic_ms < guard->next_look_ms && !guard->look))
        return RC_OK;
    guard->next_look_ms = monotonic_ms + RC_GUARD_LOOK_MS;
    guard->look = false;
    json_t *own = own_numbers(stage);
    rc_announcer_add(stage->announcer, PEERS_KEY, own);
    stage->announce = true;
    const struct part *first = rc_stage_part(stage, 0);
    rc_status status = RC_OK;
    if (first && first->phase == PART_LIVE) {
        if (guard->n && stage->n_parts < (size_t)stage->n_partitions)
            rc_peers_listen(guard->peers);
        else
            rc_peers_rest(guard->peers);
        if (monotonic_ms > guard->sent_ms + PATIENCE_MS) {
            guard->all |= json_object_size(guard->sent) > 0;
            json_object_clear(guard->sent);
            guard->sent_ms = monotonic_ms;
        }
        status = judge_all(stage, own, err);
    } else {
        rc_peers_rest(guard->peers);
        json_object_clear(guard->sent);
        guard->all = true;
    }
    json_decref(own);
    return status;
}
