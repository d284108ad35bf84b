/* Bare librdkafka clients, for the children of the benchmark: nothing of common/kafka, which is part of what is measured. */
#ifndef RC_BENCH_MEASURES_CLIENTS_H
#define RC_BENCH_MEASURES_CLIENTS_H

#include <librdkafka/rdkafka.h>

#include "bench/measures/internal.h"

/* `settings`: name, value, …, NULL; may be NULL. */
rc_status rc_bench_client(const char *bootstrap, rd_kafka_type_t type, const char *const *settings, rd_kafka_t **out,
                          struct rc_error *err) RC_MUST_USE;
/* A consumer that is given all partitions of `topic` from `offset` (RD_KAFKA_OFFSET_…) on. */
rc_status rc_bench_reader(const char *bootstrap, const char *topic, int64_t offset, rd_kafka_t **out,
                          struct rc_error *err) RC_MUST_USE;
/* A producer tuned for many records. */
rc_status rc_bench_writer(const char *bootstrap, rd_kafka_t **out, struct rc_error *err) RC_MUST_USE;
/* First offset and end of each partition. */
rc_status rc_bench_ends(rd_kafka_t *rk, const char *topic, int64_t first[BENCH_PARTITIONS],
                        int64_t end[BENCH_PARTITIONS], struct rc_error *err) RC_MUST_USE;

/* Sends one record, waiting for room in the queue. `timestamp_ms` 0: now. */
rc_status rc_bench_send(rd_kafka_t *rk, rd_kafka_topic_t *topic, int32_t partition, struct rc_span key,
                        struct rc_span value, int64_t timestamp_ms, struct rc_error *err) RC_MUST_USE;
/* Waits until everything is acknowledged. */
rc_status rc_bench_flush(rd_kafka_t *rk, struct rc_error *err) RC_MUST_USE;

/* Makes the i-th event; gives its Kafka timestamp, 0: now. */
typedef int64_t (*rc_bench_event_fn)(void *ctx, uint64_t i, struct rc_buf *key, struct rc_buf *value);
/* Sends n events, each to the partition of its key, and waits until all are acknowledged. */
rc_status rc_bench_fill(const char *bootstrap, const char *topic, uint64_t n, rc_bench_event_fn make, void *ctx,
                        struct rc_error *err) RC_MUST_USE;

/* The number in the id of one of the load's persons, a letter and digits; SIZE_MAX: it is none's. */
size_t rc_bench_person_number(struct rc_span id);
/* Gives what the reader reads to `take`, until `*count`, which that counts, is `enough`, or the time is up (monotonic). */
typedef rc_status (*rc_bench_take_fn)(void *ctx, const rd_kafka_message_t *message, struct rc_error *err);
rc_status rc_bench_read_until(rd_kafka_t *reader, rc_bench_take_fn take, void *ctx, const size_t *count, size_t enough,
                              int64_t until_ns, struct rc_error *err) RC_MUST_USE;

#endif
