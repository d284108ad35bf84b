/* See delivery.h. */
#include "consumers/shared/delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"

#define EXACTLY_ONCE_INTERVAL_MS 100
#define EXACTLY_ONCE_MAX_MS 5000 /* half of transaction.timeout.ms */
#define TRY_MS 1000
#define STOPPED_TRIES 10
#define PAUSE_MS 100

bool rc_delivery_exactly_once(const struct rc_config *config) {
    return strcmp(rc_config_text(config, "delivery"), "exactly_once") == 0;
}

int64_t rc_delivery_interval_ms(const struct rc_config *config) {
    int64_t interval_ms = rc_config_ms(config, "checkpoint.interval");
    if (!rc_delivery_exactly_once(config))
        return interval_ms;
    if (!rc_config_is_set(config, "checkpoint.interval"))
        return EXACTLY_ONCE_INTERVAL_MS;
    return interval_ms < EXACTLY_ONCE_MAX_MS ? interval_ms : EXACTLY_ONCE_MAX_MS;
}

static char *transaction_name(const struct rc_process *process, const char *role) {
    const char *prefix = rc_config_text(process->config, "group.prefix");
    size_t bytes = strlen(prefix) + strlen(role) + strlen(process->instance) + 3;
    char *name = rc_alloc(bytes);
    snprintf(name, bytes, "%s-%s-%s", prefix, role, process->instance);
    return name;
}

rc_status rc_delivery_open(const struct rc_process *process, const char *role,
                           const struct rc_producer_options *options, struct rc_producer **out, struct rc_error *err) {
    if (!rc_delivery_exactly_once(process->config))
        return rc_producer_open(process->config, options, out, err);
    struct rc_producer_options transactional = *options;
    struct rc_producer *producer = NULL;
    char *name = transaction_name(process, role);
    transactional.transaction = name;
    rc_status status = rc_producer_open(process->config, &transactional, &producer, err);
    free(name);
    while (status == RC_OK && (status = rc_producer_init(producer, TRY_MS, err)) != RC_OK) {
        if (err->class != RC_CLASS_RETRY || rc_stop_wait(process->stop, PAUSE_MS))
            break;
        rc_log_limited(RC_LOG_WARN, "waiting for transactions", rc_f_str("role", role), rc_f_err(err));
        status = RC_OK;
    }
    if (status == RC_OK)
        *out = producer;
    else
        rc_producer_close(producer);
    return status;
}

rc_status rc_delivery_commit(const struct rc_process *process, struct rc_producer *producer,
                             const struct rc_kafka_source *source, const struct rc_offset *offsets, size_t n,
                             struct rc_error *err) {
    rc_status status;
    int tries = 0; /* since the process was told to stop */
    while ((status = rc_producer_commit(producer, source, offsets, n, TRY_MS, err)) != RC_OK &&
           err->class == RC_CLASS_RETRY) {
        rc_log_limited(RC_LOG_WARN, "a transaction is not committed yet, trying again", rc_f_err(err));
        if (rc_stop_wait(process->stop, PAUSE_MS) && ++tries == STOPPED_TRIES)
            break;
    }
    return status;
}
