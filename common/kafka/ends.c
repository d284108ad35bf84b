/* See ends.h. */
#include "kafka/ends.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

struct rc_ends {
    rd_kafka_conf_t *conf; /* of the client; NULL once that is there */
    rd_kafka_t *rk;        /* made at the first question: many readers never ask, and an idle client is not free */
    int wake_fd;
    bool busy; /* the asking thread's own */
    bool started;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock: */
    bool stop;
    rd_kafka_topic_partition_list_t *question; /* to be asked; NULL: none */
    uint64_t tag;
    struct rc_ends_answer answer; /* list NULL: none */
};

rc_status rc_ends_open(const struct rc_config *config, const char *name, int wake_fd, struct rc_ends **out,
                       struct rc_error *err) {
    char client[128];
    snprintf(client, sizeof client, "%s-ends", name);
    rd_kafka_conf_t *conf;
    if (rc_client_conf(config, RC_CLIENT_ADMIN, client, &conf, err) != RC_OK)
        return RC_FAIL;
    struct rc_ends *ends = rc_calloc(1, sizeof *ends);
    ends->conf = conf;
    ends->wake_fd = wake_fd;
    pthread_mutex_init(&ends->lock, NULL);
    pthread_cond_init(&ends->changed, NULL);
    *out = ends;
    return RC_OK;
}

/* Only on the asking thread. False when there is no client to be had; the next question tries again. */
static bool make_client(struct rc_ends *ends) {
    struct rc_error err;
    if (ends->rk)
        return true;
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(ends->conf);
    if (rc_client_new(RD_KAFKA_CONSUMER, conf, &ends->rk, &err) != RC_OK) {
        rc_log_limited(RC_LOG_ERROR, "no client to ask for the ends of partitions with", rc_f_err(&err));
        return false;
    }
    rd_kafka_conf_destroy(ends->conf);
    ends->conf = NULL;
    return true;
}

void rc_ends_close(struct rc_ends *ends) {
    if (!ends)
        return;
    if (ends->started) {
        pthread_mutex_lock(&ends->lock);
        ends->stop = true;
        pthread_cond_signal(&ends->changed);
        pthread_mutex_unlock(&ends->lock);
        pthread_join(ends->thread, NULL);
    }
    if (ends->question)
        rd_kafka_topic_partition_list_destroy(ends->question);
    if (ends->answer.list)
        rd_kafka_topic_partition_list_destroy(ends->answer.list);
    pthread_mutex_destroy(&ends->lock);
    pthread_cond_destroy(&ends->changed);
    if (ends->rk)
        rd_kafka_destroy(ends->rk);
    if (ends->conf)
        rd_kafka_conf_destroy(ends->conf);
    free(ends);
}

static void wake(const struct rc_ends *ends) {
    if (ends->wake_fd < 0)
        return;
    uint64_t one = 1;
    ssize_t written = write(ends->wake_fd, &one, sizeof one);
    (void)written;
}

static void *run(void *arg) {
    struct rc_ends *ends = arg;
    pthread_mutex_lock(&ends->lock);
    while (!ends->stop) {
        if (!ends->question) {
            pthread_cond_wait(&ends->changed, &ends->lock);
            continue;
        }
        struct rc_ends_answer answer = {.list = ends->question, .tag = ends->tag};
        ends->question = NULL;
        pthread_mutex_unlock(&ends->lock);
        /* The times come first: what is in the log after them may be missing from the answer. */
        answer.asked_ms = rc_clock_wall_ms();
        answer.asked_mono_ms = rc_clock_monotonic_ms();
        rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(ends->rk, answer.list, RC_ENDS_TIMEOUT_MS);
        answer.answered_mono_ms = rc_clock_monotonic_ms();
        for (int i = 0; code && i < answer.list->cnt; i++)
            answer.list->elems[i].err = code;
        pthread_mutex_lock(&ends->lock);
        ends->answer = answer;
        wake(ends);
    }
    pthread_mutex_unlock(&ends->lock);
    return NULL;
}

bool rc_ends_busy(const struct rc_ends *ends) {
    return ends->busy;
}

void rc_ends_ask(struct rc_ends *ends, rd_kafka_topic_partition_list_t *list, uint64_t tag) {
    if (!make_client(ends)) {
        rd_kafka_topic_partition_list_destroy(list);
        return;
    }
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = RD_KAFKA_OFFSET_END;
    ends->busy = true;
    pthread_mutex_lock(&ends->lock);
    ends->question = list;
    ends->tag = tag;
    pthread_cond_signal(&ends->changed);
    pthread_mutex_unlock(&ends->lock);
    if (!ends->started)
        ends->started = pthread_create(&ends->thread, NULL, run, ends) == 0;
}

bool rc_ends_take(struct rc_ends *ends, struct rc_ends_answer *out) {
    if (!ends->busy)
        return false;
    pthread_mutex_lock(&ends->lock);
    struct rc_ends_answer answer = ends->answer;
    ends->answer.list = NULL;
    pthread_mutex_unlock(&ends->lock);
    if (!answer.list)
        return false;
    ends->busy = false;
    *out = answer;
    return true;
}

rd_kafka_resp_err_t rc_ends_beginnings(struct rc_ends *ends, rd_kafka_topic_partition_list_t *list) {
    if (!make_client(ends))
        return RD_KAFKA_RESP_ERR__FAIL;
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
    return rd_kafka_offsets_for_times(ends->rk, list, RC_ENDS_TIMEOUT_MS);
}
