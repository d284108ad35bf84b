/* Re-keying: the records of a topic that is not partitioned by the person key (`"keyed": false`) onto `<prefix>.events.<dataset>`,
 * which is.
 *
 * Key: the person key. Value and timestamp: untouched. Headers: the record's own, then three that keep where it came from:
 *
 *     rollcall.topic      the original topic, as text
 *     rollcall.partition  the original partition, in decimal
 *     rollcall.offset     the original offset, in decimal
 *
 * Whoever decodes a record of the re-keyed topic takes these three for the event's position when the dataset has no `event_id`, so that a
 * record that is copied twice (a crash between acknowledgement and commit) is still one event.
 *
 * Delivery: at least once. An offset is committed only after the copies of all records before it, and their dead letters, are acknowledged by
 * all in-sync replicas. What has no usable person goes to the dead letters; everything else that is wrong with a record is left to ingest,
 * which sees the same bytes. Records with a null value are dropped and counted: ingest ignores them. */
#ifndef RC_PRODUCERS_REKEY_H
#define RC_PRODUCERS_REKEY_H

#include <stdbool.h>

#include "base/error.h"
#include "base/process.h"
#include "segment/definition.h"

#define RC_REKEY_HEADER_TOPIC "rollcall.topic"
#define RC_REKEY_HEADER_PARTITION "rollcall.partition"
#define RC_REKEY_HEADER_OFFSET "rollcall.offset"

struct rc_rekey_options {
    struct rc_process *process;       /* borrowed: configuration, metrics, the request to stop */
    const struct rc_catalog *catalog; /* borrowed for the call; only datasets with keyed = false are read */
    const struct rc_stop *stop;       /* when requested: flush, commit, return (another one than the process's, or the same) */
};

/* True when the catalog has a dataset that needs it. */
bool rc_rekey_needed(const struct rc_catalog *catalog);

/* Runs until `stop`; a thread of ingest calls it, and again with the new catalog when definitions change. Fails as the Kafka door does: RETRY
 * when the broker stays away, FENCED, FATAL. */
rc_status rc_rekey_run(const struct rc_rekey_options *options, struct rc_error *err) RC_MUST_USE;

#endif
