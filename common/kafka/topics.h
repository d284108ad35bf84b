/* Topics: made when they are missing, checked when they are there. One interface for a real cluster (admin API) and
 * the embedded broker (which knows no admin calls: there the process that owns it creates topics directly, others
 * through its metadata requests).
 *
 * The mistake that it prevents: going on with a topic that somebody's broker made with other partition counts or
 * without compaction. */
#ifndef RC_KAFKA_TOPICS_H
#define RC_KAFKA_TOPICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"

struct rc_admin; /* a handle for topics, metadata and groups; one thread at a time */

/* Does not wait for the broker. `config` is borrowed until close. */
rc_status rc_admin_open(const struct rc_config *config, struct rc_admin **out, struct rc_error *err) RC_MUST_USE;
void rc_admin_close(struct rc_admin *admin);

/* Lets the connections go until the next call needs them: for holders that ask now and then. */
void rc_admin_rest(struct rc_admin *admin);

struct rc_topic_spec {
    const char *name;
    int32_t partitions;        /* 0: any number will do, 4 when it must be made */
    bool compacted;            /* cleanup.policy must contain compact */
    bool forever;              /* of a topic that is made: nothing is ever deleted from it */
    int64_t max_message_bytes; /* of a topic that is made; 0: the broker's default */
    int64_t segment_bytes;     /* the same; compaction leaves the newest segment alone */
};

/* Partition count of a topic; 0 when there is none (no error). RETRY (exit 69) when no broker answers within
 * `timeout_ms`. */
rc_status rc_topic_partitions(struct rc_admin *admin, const char *topic, int timeout_ms, int32_t *out,
                              struct rc_error *err) RC_MUST_USE;

/* Makes the topic when it is missing (replication from `topics.replication`, −1: the broker's default), else checks
 * partition count and cleanup.policy; an error (FATAL, exit 78) says what is there, what is wanted and what to do.
 * Somebody else making it at the same moment is no error. Returns when every broker asked knows it. `created` may be
 * NULL. */
rc_status rc_topic_ensure(struct rc_admin *admin, const struct rc_topic_spec *spec, bool *created, struct rc_error *err)
    RC_MUST_USE;

/* The partition count for topics with person keys: that of the existing topics among `dataset_topics` (which must
 * agree; FATAL, exit 78, naming them, when not), else that of an existing <prefix>.segments or <prefix>.memberships,
 * else `topics.partitions`, else 4. */
rc_status rc_topics_count(struct rc_admin *admin, const char *const *dataset_topics, size_t n, int32_t *out,
                          struct rc_error *err) RC_MUST_USE;

/* Makes and checks the installation's own topics (<prefix>.definitions and .audit with 1 partition, .segments, .state,
 * .memberships with `partitions`, .deadletters, .processes with 1). */
rc_status rc_topics_ensure_own(struct rc_admin *admin, int32_t partitions, struct rc_error *err) RC_MUST_USE;

/* Only those that a change of definitions is written to: .definitions and .audit. */
rc_status rc_topics_ensure_written(struct rc_admin *admin, struct rc_error *err) RC_MUST_USE;

/* "<prefix>.<name>", owned by the caller. */
char *rc_topic_name(const struct rc_config *config, const char *name);

/* Id of the cluster, owned by the caller. RETRY (exit 69) when no broker answers within `timeout_ms`. */
rc_status rc_admin_cluster_id(struct rc_admin *admin, int timeout_ms, char **out, struct rc_error *err) RC_MUST_USE;

/* Bounds of a partition: first offset that is there, and the next one to be written (also behind transactions that are
 * still open: a reader gets there when they are settled). Asked afresh; a partition
 * without a leader is waited for, all within `timeout_ms`. */
rc_status rc_admin_bounds(struct rc_admin *admin, const char *topic, int32_t partition, int timeout_ms, int64_t *low,
                          int64_t *high, struct rc_error *err) RC_MUST_USE;

/* Offset of the first record whose timestamp is not before `at_ms`: all in front of it are older. −1 when there is none. Not against the
 * embedded broker, which cannot be asked. */
rc_status rc_admin_offset_at(struct rc_admin *admin, const char *topic, int32_t partition, int64_t at_ms,
                             int timeout_ms, int64_t *out, struct rc_error *err) RC_MUST_USE;

/* Committed offsets of a group: `out[p]` for every partition of the topic, −1 where there is none. `n` partitions. */
rc_status rc_admin_committed(struct rc_admin *admin, const char *group, const char *topic, int32_t n, int64_t *out,
                             struct rc_error *err) RC_MUST_USE;

#endif
