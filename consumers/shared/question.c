/* Owns the hand-over between the HTTP thread and a loop. The mistake that it prevents: a request that reads what the loop is changing. */
#include "consumers/shared/question.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "codec/person_key.h"
#include "kafka/read.h"
#include "kafka/topics.h"

#define OWNERS_AGE_MS 2000     /* who holds what is remembered so long */
#define OWNERS_TIMEOUT_MS 1000 /* the HTTP server does nothing else meanwhile */

struct route {
    struct rc_questions *questions;
    char *path;
    rc_answer_fn answer;
    void *ctx;
    struct route *next;
};

struct rc_questions {
    const struct rc_process *process;
    const char *role;
    struct rc_loop *loop;
    struct route *routes; /* owned */
    pthread_mutex_t lock; /* all of the following */
    pthread_cond_t answered;
    bool begun, ended;
    const struct route *asked; /* NULL: no question */
    const struct rc_http_request *request;
    struct rc_http_reply *reply;
    int32_t elsewhere; /* partition that the answer was about; −1: it was answered */
    /* The HTTP thread's alone: */
    json_t *owners;    /* the last records of rollcall.processes, by key */
    int64_t owners_ms; /* monotonic */
};

/* ---- the HTTP thread ---- */

static bool take_owner(void *ctx, const struct rc_message *message) {
    json_t *owners = ctx;
    json_t *record = message->null_value ? NULL : json_loadb(message->value.data, message->value.len, 0, NULL);
    char *key = rc_span_dup(message->key);
    if (json_is_object(record))
        json_object_set(owners, key, record);
    else
        json_object_del(owners, key);
    json_decref(record);
    free(key);
    return true;
}

static void read_owners(struct rc_questions *questions) {
    int64_t now = rc_clock_monotonic_ms();
    if (questions->owners && now - questions->owners_ms < OWNERS_AGE_MS)
        return;
    char *topic = rc_topic_name(questions->process->config, "processes");
    json_t *owners = json_object();
    struct rc_error ignored;
    /* What cannot be read is not known; the question is answered all the same. */
    if (rc_kafka_read(questions->process->config, topic, RC_ALL_PARTITIONS, RC_START_BEGINNING, OWNERS_TIMEOUT_MS,
                      take_owner, owners, NULL, &ignored) != RC_OK)
        json_object_clear(owners);
    free(topic);
    json_decref(questions->owners);
    questions->owners = owners;
    questions->owners_ms = rc_clock_monotonic_ms();
}

static bool holds(const json_t *record, const char *role, int32_t partition) {
    const char *own = json_string_value(json_object_get(record, "role"));
    size_t i;
    const json_t *one;
    if (!own || strcmp(own, role) != 0)
        return false;
    json_array_foreach(json_object_get(record, "partitions"), i, one) {
        if (json_integer_value(one) == partition)
            return true;
    }
    return false;
}

/* Whether the record is about this very process. */
static bool is_own(const struct rc_questions *questions, const char *key) {
    size_t len = strlen(questions->process->instance);
    return strncmp(key, questions->process->instance, len) == 0 && key[len] == '-' &&
           strcmp(key + len + 1, questions->role) == 0;
}

static void name_owner(struct rc_questions *questions, int32_t partition, struct rc_http_reply *reply) {
    read_owners(questions);
    const char *key;
    json_t *record;
    json_object_foreach(questions->owners, key, record) {
        if (!holds(record, questions->role, partition) || is_own(questions, key))
            continue;
        reply->status = 421;
        rc_answer_json(reply, json_pack("{s:s, s:i, s:{s:s, s:O?, s:O?}}", "error",
                                        "another process holds the person's partition: ask its owner", "partition",
                                        (int)partition, "owner", "instance", key, "host",
                                        json_object_get(record, "host"), "port", json_object_get(record, "port")));
        return;
    }
    rc_answer_error(reply, 503, "no process holds partition %d yet; try again", (int)partition);
}

static void serve(void *ctx, const struct rc_http_request *request, struct rc_http_reply *reply) {
    struct route *route = ctx;
    struct rc_questions *questions = route->questions;
    int32_t elsewhere = -1;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RC_QUESTION_WAIT_MS / 1000;
    pthread_mutex_lock(&questions->lock);
    if (questions->begun && !questions->ended) {
        questions->asked = route;
        questions->request = request;
        questions->reply = reply;
        questions->elsewhere = -1;
        rc_loop_wake(questions->loop);
        while (questions->asked && !questions->ended &&
               pthread_cond_timedwait(&questions->answered, &questions->lock, &until) == 0) {}
        if (questions->asked)
            rc_answer_error(reply, 503, questions->ended ? "the process is ending" : "the process is busy, try again");
        else
            elsewhere = questions->elsewhere;
        questions->asked = NULL;
    } else {
        rc_answer_error(reply, 503, questions->ended ? "the process is ending" : "the process is starting, try again");
    }
    pthread_mutex_unlock(&questions->lock);
    if (elsewhere >= 0)
        name_owner(questions, elsewhere, reply);
}

/* ---- the loop ---- */

struct rc_questions *rc_questions_open(const struct rc_process *process, const char *role, struct rc_loop *loop) {
    struct rc_questions *questions = rc_calloc(1, sizeof *questions);
    questions->process = process;
    questions->role = role;
    questions->loop = loop;
    pthread_mutex_init(&questions->lock, NULL);
    pthread_cond_init(&questions->answered, NULL);
    return questions;
}

void rc_questions_close(struct rc_questions *questions) {
    if (!questions)
        return;
    pthread_mutex_lock(&questions->lock);
    questions->ended = true;
    pthread_cond_signal(&questions->answered);
    pthread_mutex_unlock(&questions->lock);
    while (questions->routes) {
        struct route *route = questions->routes;
        questions->routes = route->next;
        rc_http_unroute(questions->process->http, route->path);
        free(route->path);
        free(route);
    }
    json_decref(questions->owners);
    pthread_mutex_destroy(&questions->lock);
    pthread_cond_destroy(&questions->answered);
    free(questions);
}

void rc_questions_route(struct rc_questions *questions, const char *path, bool post, rc_answer_fn answer, void *ctx) {
    if (!questions->process->http)
        return;
    struct route *route = rc_calloc(1, sizeof *route);
    *route = (struct route){questions, rc_strdup(path), answer, ctx, questions->routes};
    questions->routes = route;
    if (post)
        rc_http_route_post(questions->process->http, path, serve, route);
    else
        rc_http_route(questions->process->http, path, serve, route);
}

void rc_questions_turn(struct rc_questions *questions) {
    pthread_mutex_lock(&questions->lock);
    questions->begun = true;
    if (questions->asked) {
        questions->asked->answer(questions->asked->ctx, questions->request, questions->reply);
        questions->asked = NULL;
        pthread_cond_signal(&questions->answered);
    }
    pthread_mutex_unlock(&questions->lock);
}

/* ---- answers ---- */

void rc_answer_json(struct rc_http_reply *reply, json_t *value) {
    char *text = json_dumps(value, JSON_COMPACT);
    json_decref(value);
    reply->content_type = "application/json";
    rc_buf_reset(&reply->body);
    rc_buf_printf(&reply->body, "%s\n", text ? text : "{}");
    free(text);
}

void rc_answer_error(struct rc_http_reply *reply, int status, const char *fmt, ...) {
    struct rc_buf text;
    rc_buf_init(&text, 4096);
    va_list ap;
    va_start(ap, fmt);
    rc_buf_vprintf(&text, fmt, ap);
    va_end(ap);
    reply->status = status;
    rc_answer_json(reply, json_pack("{s:s%}", "error", text.data ? text.data : "", text.len));
    rc_buf_deinit(&text);
}

const char *rc_answer_person(const struct rc_http_request *request, struct rc_http_reply *reply) {
    const char *person = rc_http_query(request, "person");
    struct rc_buf scratch;
    struct rc_span namespace, id;
    rc_buf_init(&scratch, (size_t)1 << 20);
    bool good = person && rc_person_key_split(rc_span_str(person), &scratch, &namespace, &id) == RC_OK;
    json_t *text = good ? json_string(person) : NULL; /* none when it is not UTF-8 */
    good = text != NULL;
    json_decref(text);
    rc_buf_deinit(&scratch);
    if (!good)
        rc_answer_error(reply, 400,
                        "which person? ?person=namespace:id, with a : or \\ inside the namespace as \\: or \\\\");
    return good ? person : NULL;
}

void rc_answer_elsewhere(struct rc_questions *questions, int32_t partition) {
    questions->elsewhere = partition;
}
