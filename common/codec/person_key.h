/* The person key (pipeline.md §1): the bytes `namespace:id`, a `:` or `\` inside the namespace escaped with `\`; and
 * the partition that the Java client's default partitioner gives it. */
#ifndef RC_CODEC_PERSON_KEY_H
#define RC_CODEC_PERSON_KEY_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

/* Appends the key to `out`. */
rc_status rc_person_key_add(struct rc_buf *out, struct rc_span namespace, struct rc_span person_id) RC_MUST_USE;

/* Splits a key. `namespace` is unescaped into `scratch` when it holds escapes, else both point into `key`. RC_FAIL
 * when there is no unescaped `:` or a part is empty. */
rc_status rc_person_key_split(struct rc_span key, struct rc_buf *scratch, struct rc_span *namespace,
                              struct rc_span *person_id) RC_MUST_USE;

/* murmur2 as in Kafka's Java client (org.apache.kafka.common.utils.Utils#murmur2). */
int32_t rc_person_key_hash(struct rc_span key);

/* The hash made positive as there (toPositive: the sign bit cleared), modulo n_partitions (> 0). */
int32_t rc_person_key_partition(struct rc_span key, int32_t n_partitions);

#endif
