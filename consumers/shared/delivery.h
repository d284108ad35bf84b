/* What `delivery` means to a consumer. Knows nothing of what is delivered. */
#ifndef RC_SHARED_DELIVERY_H
#define RC_SHARED_DELIVERY_H

#include "base/process.h"
#include "kafka/producer.h"

bool rc_delivery_exactly_once(const struct rc_config *config);

/* checkpoint.interval. With exactly_once 5 s at most, because a transaction must end before it times out, and 100 ms when it is
 * not set, because a change is seen only when its transaction is committed. */
int64_t rc_delivery_interval_ms(const struct rc_config *config);

/* Opens the producer of a consumer's changes: with transactions named <group.prefix>-<role>-<instance> when exactly_once,
 * and then waits for the broker, and for what a former process of the name left open. RETRY only when told to stop. */
rc_status rc_delivery_open(const struct rc_process *process, const char *role,
                           const struct rc_producer_options *options, struct rc_producer **out, struct rc_error *err)
    RC_MUST_USE;

/* rc_producer_commit, tried again until it is done or the process is told to stop (RETRY then). */
rc_status rc_delivery_commit(const struct rc_process *process, struct rc_producer *producer,
                             const struct rc_kafka_source *source, const struct rc_offset *offsets, size_t n,
                             struct rc_error *err) RC_MUST_USE;

#endif
