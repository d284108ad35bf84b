/* `rollcall release`: a quarantined person's events are read again from the topics, and the person counts again.
 *
 *   1. it is asked for (consumers/shared/question.h): the person is held, so events that come from now on are kept;
 *   2. a reader of its own goes over the partition's topics from their beginning up to where the lane stood, a little in each turn; what is
 *      the person's is applied again (what both readers see counts once);
 *   3. at the end the person is released, and the difference is told.
 * One person at a time. Whatever comes between (the partition goes, the process dies, the schema registry is away) leaves the person quarantined, and the release is
 * asked for again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "codec/person_key.h"
#include "consumers/ingest/internal.h"

#define TURN_RECORDS 500
#define TURN_MS 2

struct cut {
    char *topic;
    int64_t end; /* the lane has read so far */
    bool done;
};

struct release {
    int status; /* of the answer */
    char outcome[256];
    /* under way: */
    char *person; /* NULL: none */
    int32_t number;
    struct rc_kafka_source *source;
    struct cut *cuts;
    size_t n_cuts;
    uint64_t records;
};

static void say(struct release *release, int status, const char *text) {
    release->status = status;
    snprintf(release->outcome, sizeof release->outcome, "%.*s", (int)sizeof release->outcome - 1, text);
}

/* ---- reading ---- */

static void end(struct release *release) {
    rc_source_close(release->source);
    release->source = NULL;
    for (size_t i = 0; i < release->n_cuts; i++)
        free(release->cuts[i].topic);
    free(release->cuts);
    release->cuts = NULL;
    release->n_cuts = 0;
    free(release->person);
    release->person = NULL;
}

static void finish(struct release *release, int status, const char *text) {
    say(release, status, text);
    rc_log(RC_LOG_INFO, "release of a quarantined person", rc_f_int("partition", release->number),
           rc_f_int("records", (int64_t)release->records), rc_f_str("outcome", text));
    end(release);
}

static rc_status open_reader(struct ingest *ingest, const struct lane *lane, struct rc_error *err) {
    struct release *release = ingest->release;
    struct rc_source_options options = {.name = "release", .wake_fd = rc_loop_fd(ingest->loop)};
    if (rc_source_open(ingest->config, &options, &release->source, err) != RC_OK)
        return RC_FAIL;
    release->cuts = rc_calloc(lane->n_inputs + 1, sizeof *release->cuts);
    struct rc_source_partition *parts = rc_calloc(lane->n_inputs + 1, sizeof *parts);
    for (size_t i = 0; i < lane->n_inputs; i++) {
        if (lane->inputs[i]->position <= 0)
            continue;
        parts[release->n_cuts] = (struct rc_source_partition){
            .topic = lane->inputs[i]->topic, .partition = lane->number, .start = RC_START_BEGINNING};
        release->cuts[release->n_cuts++] =
            (struct cut){.topic = rc_strdup(lane->inputs[i]->topic), .end = lane->inputs[i]->position};
    }
    rc_status status = rc_source_assign(release->source, parts, release->n_cuts, err);
    free(parts);
    return status;
}

/* A cut is reached by a record behind it, or where the broker says that nothing is left. */
static bool all_read(const struct release *release) {
    bool all = true;
    for (size_t i = 0; i < release->n_cuts; i++) {
        int64_t position, high;
        struct cut *cut = &release->cuts[i];
        if (!cut->done && rc_source_position(release->source, cut->topic, release->number, &position, &high) == RC_OK)
            cut->done =
                position >= cut->end || rc_source_at_end(release->source, cut->topic, release->number, INT64_MAX, NULL);
        all &= cut->done;
    }
    return all;
}

static void read_again(struct ingest *ingest, struct lane *lane) {
    struct release *release = ingest->release;
    int64_t until = rc_clock_monotonic_ms() + TURN_MS;
    for (int n = 0; n < TURN_RECORDS; n++) {
        struct rc_message message;
        struct rc_error err;
        enum rc_polled polled = rc_source_poll(release->source, 0, &message, &err);
        if (polled == RC_POLLED_NOTHING) {
            if (all_read(release)) {
                bool released = rc_population_release(lane->population, rc_span_str(release->person));
                lane->dirty = true;
                finish(release, released ? 200 : 409,
                       released ? "released"
                                : "still quarantined: the topics hold more of their events than state.person_events");
            }
            return;
        }
        if (polled == RC_POLLED_ERROR && err.class != RC_CLASS_RETRY) {
            finish(release, 503, err.message);
            return;
        }
        if (polled != RC_POLLED_MESSAGE)
            continue;
        release->records++;
        enum fed fed = rc_ingest_feed_again(ingest, lane, &message, rc_span_str(release->person));
        rc_message_release(&message);
        if (fed == FED_AGAIN) { /* it may be the person's */
            finish(release, 503,
                   "the schema registry does not answer for a record of the topics; ask again when it does");
            return;
        }
        if (n % 64 == 63 && rc_clock_monotonic_ms() >= until)
            return;
    }
}

bool rc_ingest_release_turn(struct ingest *ingest) {
    struct release *release = ingest->release;
    if (!release->person)
        return false;
    struct lane *lane = rc_ingest_lane_working(ingest, release->number);
    if (!lane)
        finish(release, 503, "the partition went elsewhere meanwhile; ask again");
    else if (!ingest->has_stuck)
        read_again(ingest, lane);
    return release->person != NULL;
}

/* ---- being asked ---- */

static void begin(struct ingest *ingest, const char *person) {
    struct release *release = ingest->release;
    const struct program *program = ingest->program;
    int32_t number = program ? rc_person_key_partition(rc_span_str(person), program->n_partitions) : -1;
    struct lane *lane = rc_ingest_lane_working(ingest, number);
    struct rc_error err;
    if (!lane) {
        say(release, 404, "the person's partition is not read by this process");
    } else if (release->person) {
        say(release, 409, "another person is being released, try again later");
    } else if (!rc_population_hold(lane->population, rc_span_str(person))) {
        say(release, 410, "the person is not quarantined");
    } else {
        lane->dirty = true;
        release->person = rc_strdup(person);
        release->number = number;
        release->records = 0;
        if (open_reader(ingest, lane, &err) == RC_OK) {
            say(release, 202, "the person's events are being read again");
        } else {
            say(release, 503, err.message);
            end(release);
        }
    }
}

/* POST begins, GET tells how it went. */
static void answer(void *ctx, const struct rc_http_request *request, struct rc_http_reply *reply) {
    struct ingest *ingest = ctx;
    const char *person = rc_http_query(request, "person");
    if (request->post && person)
        begin(ingest, person);
    reply->status = request->post && !person ? 400 : ingest->release->status;
    rc_buf_printf(&reply->body, "%s\n",
                  request->post && !person ? "which person? ?person=namespace:id" : ingest->release->outcome);
}

void rc_ingest_release_open(struct ingest *ingest) {
    ingest->release = rc_calloc(1, sizeof *ingest->release);
    say(ingest->release, 404, "nobody has been released by this process");
    rc_questions_route(ingest->questions, "/ingest/release", true, answer, ingest);
}

void rc_ingest_release_close(struct ingest *ingest) {
    if (!ingest->release)
        return;
    end(ingest->release);
    free(ingest->release);
}
