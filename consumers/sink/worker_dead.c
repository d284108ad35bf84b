/* Records of the memberships topic that cannot be read: to the dead letters, one by one, each acknowledged before its
 * offset counts as applied. They come so seldom that a producer is made only for the first; each destination sends its
 * own, and those of one record are the same dead letter (same source, same attempts). */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "consumers/shared/deadletter.h"
#include "consumers/sink/worker_internal.h"

#define ACK_MS 3000
#define AGAIN_MS 1000

static rc_status send_one(struct rc_sink_worker *worker, const struct rc_message *message, const char *text,
                          struct rc_error *err) {
    struct rc_producer_options options = {.name = "sink-dead", .wake_fd = -1};
    if (!worker->burier && rc_producer_open(worker->process->config, &options, &worker->burier, err) != RC_OK)
        return RC_FAIL;
    char *topic = rc_topic_name(worker->process->config, "deadletters");
    int32_t n = 0;
    rc_status status = rc_producer_partitions(worker->burier, topic, ACK_MS, &n, err);
    if (status == RC_OK)
        status = rc_deadletter_send(worker->burier, topic, n, message, text, err);
    if (status == RC_OK)
        status = rc_producer_flush(worker->burier, ACK_MS, err);
    free(topic);
    return status;
}

rc_status rc_sink_worker_bury(struct rc_sink_worker *worker, const struct rc_message *message, const char *text) {
    struct rc_error err;
    if (rc_clock_monotonic_ms() < worker->bury_ms)
        return RC_FAIL;
    rc_status status = send_one(worker, message, text, &err);
    const char *detail;
    rc_log_limited(RC_LOG_WARN,
                   status == RC_OK ? "record to the dead letters" : "a dead letter is not acknowledged, trying again",
                   rc_f_str("destination", worker->destination), rc_f_str("topic", message->topic),
                   rc_f_int("partition", message->partition), rc_f_int("offset", message->offset),
                   rc_f_str("reason", rc_reason_text(rc_deadletter_reason(text, &detail))),
                   rc_f_str("err", status == RC_OK ? "" : err.message));
    if (status == RC_OK)
        return RC_OK;
    rc_producer_close(worker->burier); /* with what it still holds: the record comes again */
    worker->burier = NULL;
    worker->bury_ms = rc_clock_monotonic_ms() + AGAIN_MS;
    return RC_FAIL;
}
