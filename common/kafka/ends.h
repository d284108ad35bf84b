/* Private to common/kafka. Questions about the ends of partitions, answered in the background.
 *
 * A thread of its own, because librdkafka 2.0.2 has only a blocking call for them; and a connection of its own,
 * because a broker answers the requests of one connection in turn: behind a waiting fetch, a question would wait for
 * as long. */
#ifndef RC_KAFKA_ENDS_H
#define RC_KAFKA_ENDS_H

#include <stdbool.h>
#include <stdint.h>

#include "kafka/internal.h"

#define RC_ENDS_TIMEOUT_MS 2000

struct rc_ends;

/* `wake_fd`: eventfd written to when an answer waits; -1: none. */
rc_status rc_ends_open(const struct rc_config *config, const char *name, int wake_fd, struct rc_ends **out,
                       struct rc_error *err) RC_MUST_USE;
void rc_ends_close(struct rc_ends *ends);

/* Between a question and the taking of its answer. */
bool rc_ends_busy(const struct rc_ends *ends);

/* Asks for the ends of the partitions in `list` (taken). Only while not busy. `tag` comes back with the answer. */
void rc_ends_ask(struct rc_ends *ends, rd_kafka_topic_partition_list_t *list, uint64_t tag);

struct rc_ends_answer {
    rd_kafka_topic_partition_list_t *list; /* offsets, or an error each; owned by the taker */
    uint64_t tag;
    int64_t asked_ms;                        /* wall clock, before the question went out */
    int64_t asked_mono_ms, answered_mono_ms; /* monotonic */
};
bool rc_ends_take(struct rc_ends *ends, struct rc_ends_answer *out);

/* First offsets: fills the offsets of `list`, waiting for the answer. */
rd_kafka_resp_err_t rc_ends_beginnings(struct rc_ends *ends, rd_kafka_topic_partition_list_t *list);

#endif
