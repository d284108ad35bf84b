/* What ingest is asked about one person: is X in segment S now, and why. Reads what the loop owns, between two of its turns; changes
 * nothing, but that somebody on disk alone comes into memory, as for an event, and may leave again.
 *
 *   GET /segments/<segment>?person=ns:id            the membership as it was told last
 *   GET /segments/<segment>/explain?person=ns:id    the conditions behind it
 * The mistake that it prevents: an explanation that takes so long that live events wait for it. It names the latest events of a condition, and
 * looks a bounded number of instants ahead. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "codec/person_key.h"
#include "consumers/ingest/internal.h"
#include "segment/explain.h"

#define ROUTE "/segments/"
#define EXPLAIN "/explain"
#define MAX_EVENTS 100
#define MAX_INSTANTS 2000

/* The segment that the path names; −1, and the reply says so. `*explain`: its explanation is wanted. */
static int find_segment(const struct ingest *ingest, const char *path, bool *explain, struct rc_http_reply *reply) {
    const char *id = path + strlen(ROUTE);
    size_t len = strlen(id), suffix = strlen(EXPLAIN);
    *explain = len > suffix && strcmp(id + len - suffix, EXPLAIN) == 0;
    char *name = rc_span_dup(rc_span_of(id, *explain ? len - suffix : len));
    int segment = rc_catalog_segment(ingest->program->catalog, name);
    if (segment < 0)
        rc_answer_error(reply, 404, "no segment %s is in use", name);
    free(name);
    return segment;
}

static void add_standing(json_t *json, const struct rc_person_standing *standing) {
    json_object_set_new(json, "member", json_boolean(standing->member));
    json_object_set_new(json, "since", standing->member ? json_integer(standing->since_ms) : json_null());
    if (standing->quarantined)
        json_object_set_new(json, "quarantined", json_true());
}

/* What both answers begin with. */
static json_t *head(const struct lane *lane, const char *person, int segment,
                    const struct rc_person_standing *standing) {
    /* The newest definitions' segments stand first in every composition; this one says which version serves here. */
    const struct rc_segment *definition = &lane->composition->catalog->segments[segment];
    bool clock = standing->clock_ms != INT64_MIN;
    return json_pack("{s:s, s:s, s:i, s:i, s:s, s:b, s:o}", "segment", definition->id, "person", person,
                     "segmentVersion", definition->version, "partition", (int)lane->number, "state",
                     definition->role == RC_SEGMENT_WARMS ? "warming"
                     : lane->state == LANE_LIVE           ? "live"
                                                          : "catching up",
                     "known", standing->known, "clock", clock ? json_integer(standing->clock_ms) : json_null());
}

/* One object of two texts of objects. */
static void join(struct rc_buf *out, json_t *first, const struct rc_buf *second) {
    char *text = json_dumps(first, JSON_COMPACT);
    json_decref(first);
    rc_buf_printf(out, "%.*s, %s\n", text ? (int)strlen(text) - 1 : 1, text ? text : "{", second->data + 1);
    free(text);
}

static void explain(const struct lane *lane, const char *person, int segment, const struct rc_person_standing *standing,
                    struct rc_http_reply *reply) {
    static const struct rc_explain_sources sources = {.max_events = MAX_EVENTS, .max_instants = MAX_INSTANTS};
    if (standing->decided_ms == INT64_MIN) {
        rc_answer_error(reply, 503, "the partition has no clock yet, nothing is decided; try again");
        return;
    }
    json_t *json = head(lane, person, segment, standing), *told = json_object();
    struct rc_buf explanation;
    rc_buf_init(&explanation, reply->body.limit / 2);
    add_standing(told, standing);
    json_object_set_new(json, "told", told);
    json_object_del(json, "segment"); /* the explanation names both */
    json_object_del(json, "person");
    if (rc_population_explain(lane->population, rc_span_str(person), (uint32_t)segment, standing->decided_ms, &sources,
                              &explanation) == RC_OK) {
        reply->content_type = "application/json";
        join(&reply->body, json, &explanation);
    } else {
        rc_answer_error(reply, 500, "the explanation is larger than %zu bytes", explanation.limit);
        json_decref(json);
    }
    rc_buf_deinit(&explanation);
}

static void answer(void *ctx, const struct rc_http_request *request, struct rc_http_reply *reply) {
    struct ingest *ingest = ctx;
    bool why = false;
    const char *person = rc_answer_person(request, reply);
    int segment = person && ingest->program ? find_segment(ingest, request->path, &why, reply) : -1;
    if (segment < 0) {
        if (person && !ingest->program)
            rc_answer_error(reply, 503, "no definitions are in use yet");
        return;
    }
    int32_t number = rc_person_key_partition(rc_span_str(person), ingest->program->n_partitions);
    struct lane *lane = rc_ingest_lane_working(ingest, number);
    if (!lane) {
        rc_answer_elsewhere(ingest->questions, number);
        return;
    }
    struct rc_person_standing standing;
    rc_population_standing(lane->population, rc_span_str(person), (uint32_t)segment, &standing);
    if (why) {
        explain(lane, person, segment, &standing, reply);
    } else {
        json_t *json = head(lane, person, segment, &standing);
        add_standing(json, &standing);
        rc_answer_json(reply, json);
    }
}

void rc_ingest_answers_open(struct ingest *ingest) {
    ingest->questions = rc_questions_open(ingest->process, "ingest", ingest->loop);
    rc_questions_route(ingest->questions, ROUTE, false, answer, ingest);
    rc_ingest_release_open(ingest);
}
