/* What materialize is asked about one person: is X in audience A now, and why what is published may differ from what holds. Reads what the
 * loop owns, between two of its turns; changes nothing.
 *
 *   GET /audiences/<audience>?person=ns:id            what was published last
 *   GET /audiences/<audience>/explain?person=ns:id    with the condition over its segments as they are known here
 * Why a segment is true of the person is ingest's to say. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/timezone.h"
#include "codec/person_key.h"
#include "consumers/materialize/audience_person.h"
#include "consumers/materialize/stage.h"

#define ROUTE "/audiences/"
#define EXPLAIN "/explain"

struct asked {
    struct stage *stage;
    struct part *part;
    size_t entry; /* of the rulebook */
    uint32_t name;
    const struct rc_audience_rule *rule;  /* NULL: no rule is in force */
    const struct rc_audience *definition; /* NULL: deleted */
    const char *person_key;
    struct rc_audience_person person;
    const struct rc_audience_standing *standing; /* NULL: never published */
};

/* The instant up to which this partition's changes of segments have been taken in. */
static int64_t clock_of(const struct asked *asked) {
    const struct part *part = asked->part;
    int64_t position, end = -1;
    bool at_end =
        rc_source_position(asked->stage->source, asked->stage->segments_topic, part->number, &position, &end) ==
            RC_OK &&
        (rc_source_at_end(asked->stage->source, asked->stage->segments_topic, part->number, INT64_MAX, NULL) ||
         (end >= 0 && position >= end));
    return at_end ? rc_clock_wall_ms() : part->last_record_ms;
}

static const char *phase_of(const struct part *part) {
    return part->phase == PART_LIVE ? "live" : part->phase == PART_REPEATING ? "catching up" : "restoring";
}

static json_t *head(const struct asked *asked) {
    const struct rc_audience_standing *standing = asked->standing;
    bool published = standing && !standing->withheld, member = published && standing->realized;
    json_t *json =
        json_pack("{s:s, s:s, s:i, s:i, s:s, s:s, s:I, s:b}", "audience", asked->stage->book.entries[asked->entry].id,
                  "person", asked->person_key, "audienceVersion", asked->stage->book.specs[asked->entry].version,
                  "partition", (int)asked->part->number, "state", asked->stage->book.entries[asked->entry].state,
                  "phase", phase_of(asked->part), "clock", (json_int_t)clock_of(asked), "member", member);
    json_object_set_new(json, "since", published ? json_integer(standing->since_ms) : json_null());
    json_object_set_new(json, "version", published ? json_integer(standing->version) : json_null());
    return json;
}

/* ---- why ---- */

static json_t *explain_signal(const struct asked *asked, const char *segment) {
    uint32_t name = rc_names_find(asked->stage->signals, rc_span_str(segment));
    const struct rc_audience_signal *signal =
        name == RC_NO_NAME ? NULL : rc_audience_person_signal(&asked->person, name);
    json_t *json =
        json_pack("{s:s, s:s, s:b}", "head", "segment", "segment", segment, "true", signal && signal->realized);
    if (signal) {
        json_object_set_new(json, "since", json_integer(signal->since_ms));
        json_object_set_new(json, "version", json_integer(signal->version));
    }
    return json;
}

static json_t *explain_condition(const struct asked *asked, const json_t *cond) {
    const json_t *segment = json_object_get(cond, "segment"), *and = json_object_get(cond, "and"),
                 * or = json_object_get(cond, "or"), *not = json_object_get(cond, "not"), *child;
    const json_t *list = and? and : or ;
    size_t i;
    if (segment)
        return explain_signal(asked, json_string_value(segment));
    json_t *children = json_array();
    bool all = true, any = false;
    if (not )
        json_array_append_new(children, explain_condition(asked, not ));
    json_array_foreach(list, i, child) json_array_append_new(children, explain_condition(asked, child));
    json_array_foreach(children, i, child) {
        bool holds = json_is_true(json_object_get(child, "true"));
        all &= holds;
        any |= holds;
    }
    const char *head = not ? "not" : and? "and" : "or";
    return json_pack("{s:s, s:b, s:o}", "head", head, "true", not ? !any : and? all : any, "conditions", children);
}

/* The condition in force, explained; null for a deleted audience. */
static json_t *explain_where(const struct asked *asked) {
    const json_t *serves = asked->stage->book.entries[asked->entry].serves;
    if (!asked->definition)
        return json_null();
    json_t *own = serves ? NULL : rc_audience_where_json(asked->stage->catalog, asked->definition->where);
    json_t *out = explain_condition(asked, own ? own : serves);
    json_decref(own);
    return out;
}

static bool exists(const struct asked *asked) {
    for (size_t i = 0; asked->rule && i < asked->rule->n_exists; i++) {
        const struct rc_audience_signal *signal = rc_audience_person_signal(&asked->person, asked->rule->exists[i]);
        if (signal && signal->realized)
            return true;
    }
    return false;
}

/* Why what is published is not what holds. */
static json_t *difference(const struct asked *asked) {
    const char *state = asked->stage->book.entries[asked->entry].state;
    if (asked->rule && asked->standing && asked->standing->withheld)
        return json_sprintf("the size limit of %lld members is reached", (long long)asked->rule->size_limit);
    if (asked->rule && asked->rule->mode != RC_AUDIENCE_LIVE && asked->rule->mode != RC_AUDIENCE_SCHEDULED)
        return json_sprintf("the audience publishes nothing: %s", state);
    if (asked->part->phase != PART_LIVE)
        return json_sprintf("the partition is %s", phase_of(asked->part));
    if (rc_sweep_pending(asked->part))
        return json_string("the audience was changed, and not everybody has been looked at yet");
    if (asked->rule && asked->rule->mode == RC_AUDIENCE_SCHEDULED) {
        int64_t next_ms = asked->stage->book.entries[asked->entry].next_ms;
        char time[25];
        if (next_ms == INT64_MAX)
            return json_string("the audience was refreshed for the last time");
        rc_rfc3339_format(next_ms, time);
        return json_sprintf("the next refresh, at %s, will publish it", time);
    }
    return json_string("the change is on its way");
}

static json_t *explain(const struct asked *asked) {
    bool holds =
        asked->rule && asked->definition && rc_audience_holds(asked->stage->rules, asked->rule, &asked->person);
    bool published = asked->standing && !asked->standing->withheld && asked->standing->realized;
    json_t *json = head(asked);
    json_object_set_new(json, "holds", json_boolean(holds));
    json_object_set_new(json, "exists", json_boolean(exists(asked)));
    if (asked->standing && asked->standing->withheld)
        json_object_set_new(json, "withheldSince", json_integer(asked->standing->since_ms));
    if (holds != published)
        json_object_set_new(json, "why", difference(asked));
    json_object_set_new(json, "condition", explain_where(asked));
    return json;
}

/* ---- being asked ---- */

/* The audience that the path names; false, and the reply says so. `*why`: an explanation is wanted. */
static bool find_audience(struct asked *asked, const char *path, bool *why, struct rc_http_reply *reply) {
    const struct stage *stage = asked->stage;
    const char *id = path + strlen(ROUTE);
    size_t len = strlen(id), suffix = strlen(EXPLAIN);
    *why = len > suffix && strcmp(id + len - suffix, EXPLAIN) == 0;
    struct rc_span name = rc_span_of(id, *why ? len - suffix : len);
    for (size_t i = 0; i < stage->book.n; i++) {
        if (!rc_span_equal(name, rc_span_str(stage->book.entries[i].id)))
            continue;
        asked->entry = i;
        asked->name = rc_names_find(stage->audiences, name);
        asked->rule = asked->name == RC_NO_NAME ? NULL : rc_audience_rules_find(stage->rules, asked->name);
        asked->definition = stage->book.specs[i].definition;
        return true;
    }
    rc_answer_error(reply, 404, "no audience %.*s is in use", (int)name.len, name.data);
    return false;
}

static void answer(void *ctx, const struct rc_http_request *request, struct rc_http_reply *reply) {
    struct stage *stage = ctx;
    struct asked asked = {.stage = stage, .person_key = rc_answer_person(request, reply)};
    struct rc_error err;
    bool why;
    if (!asked.person_key || !find_audience(&asked, request->path, &why, reply))
        return;
    int32_t number = rc_person_key_partition(rc_span_str(asked.person_key), stage->n_partitions);
    asked.part = rc_stage_part(stage, number);
    if (!asked.part) {
        rc_answer_elsewhere(stage->questions, number);
        return;
    }
    rc_audience_person_init(&asked.person);
    if (rc_persons_load(asked.part->persons, rc_span_str(asked.person_key), rc_names_count(stage->signals),
                        rc_names_count(stage->audiences), &asked.person, &err) == RC_OK) {
        asked.standing = asked.name == RC_NO_NAME ? NULL : rc_audience_person_standing(&asked.person, asked.name);
        rc_answer_json(reply, why ? explain(&asked) : head(&asked));
    } else {
        rc_answer_error(reply, 500, "%s", err.message);
    }
    rc_audience_person_deinit(&asked.person);
}

void rc_answers_open(struct stage *stage) {
    stage->questions = rc_questions_open(stage->process, RC_MATERIALIZE_ROLE, stage->loop);
    rc_questions_route(stage->questions, ROUTE, false, answer, stage);
}
