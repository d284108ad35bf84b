/* Re-keying: the records of a topic that is not partitioned by the person key (`"keyed": false`) onto `<prefix>.events.<dataset>`,
 * which is.
 *
 * Key: the person key. Value and timestamp: untouched. Headers: the record's own, then those that keep where it came from
 * (codec/origin.h), `rollcall.key` among them.
 *
 * Whoever decodes a record of the re-keyed topic puts them back first (rc_rekey_origin): so sources like {"kafka": "key"} see what they saw,
 * and a dataset without `event_id` has the original's position for an identity, under which a record that is copied twice (a crash
 * between acknowledgement and commit) is one event.
 *
 * Delivery: at least once. An offset is committed only after the copies of all records before it, and their dead letters, are acknowledged by
 * all in-sync replicas. A record that cannot be decoded goes to the dead letters here, under its own topic, partition and offset.
 * Records that the dataset does not count (null value, its `where`) are left out and counted. */
#ifndef RC_PRODUCERS_REKEY_H
#define RC_PRODUCERS_REKEY_H

#include <stdbool.h>

#include "base/error.h"
#include "base/process.h"
#include "codec/decode.h"
#include "kafka/producer.h"
#include "kafka/source.h"
#include "segment/definition.h"

/* Sends the dead letter of `message` with `producer`; `text` is "<reason>: <detail>". The caller's, because the dead letters' form belongs
 * to consumers/shared. */
typedef rc_status (*rc_rekey_dead_fn)(void *ctx, struct rc_producer *producer, const struct rc_message *message,
                                      const char *text, struct rc_error *err);

struct rc_rekey_options {
    struct rc_process *process;       /* borrowed: configuration and metrics */
    const struct rc_catalog *catalog; /* borrowed for the call; only datasets with keyed = false are read */
    int32_t
        n_partitions; /* of topics with person keys in this installation: the re-keyed topics are made with as many */
    rc_rekey_dead_fn dead;
    void *ctx;
    const struct rc_stop
        *stop; /* when requested: flush, commit, return (another one than the process's, or the same) */
};

/* True when the catalog has a dataset that needs it. */
bool rc_rekey_needed(const struct rc_catalog *catalog);

/* "<prefix>.events.<dataset>", owned by the caller. */
char *rc_rekey_topic(const struct rc_config *config, const struct rc_dataset *dataset);

/* Makes the re-keyed topics where they are missing, checks them where they are there. rc_rekey_run does it as well. */
rc_status rc_rekey_ensure_topics(const struct rc_config *config, const struct rc_catalog *catalog, int32_t n_partitions,
                                 struct rc_error *err) RC_MUST_USE;

/* Runs until `stop`; a thread of ingest calls it, and again with the new catalog when definitions change. Group `<group.prefix>-rekey`. Fails as
 * the Kafka door does: RETRY when the broker stays away, FENCED, FATAL. */
rc_status rc_rekey_run(const struct rc_rekey_options *options, struct rc_error *err) RC_MUST_USE;

/* Puts the origin of a re-keyed record back: topic, partition, offset and key become the original's. `record` holds what came from the
 * re-keyed topic, headers included. RC_FAIL, with `record` as it was, when the headers are not there or not sound: somebody else has
 * written to the topic (POISON). */
rc_status rc_rekey_origin(const struct rc_dataset *dataset, struct rc_record *record, struct rc_error *err) RC_MUST_USE;

#endif
