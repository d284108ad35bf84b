/* Private to the source and to the producer, whose transactions hold the offsets of a consumer: what a consumer is. */
#ifndef RC_KAFKA_SOURCE_INTERNAL_H
#define RC_KAFKA_SOURCE_INTERNAL_H

#include <librdkafka/rdkafka.h>

#include "kafka/ends.h"
#include "kafka/source.h"

struct rc_source_entry {
    char *topic; /* owned */
    int32_t partition;
    void *ctx;
    const rd_kafka_topic_t *handle; /* of the messages of this partition, once one has come: compared, never used */
    int64_t position;               /* next offset to take; −1: not known yet */
    int64_t heard_end;              /* the end as last heard, −1: not yet */
    bool moved;                     /* messages were taken since the queue was last empty */
    int64_t known_end;              /* −1: nothing is known in this generation */
    int64_t known_at_ms;            /* wall clock */
    int64_t known_at_mono_ms;
};

struct rc_kafka_source {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    char *name;
    bool grouped, static_member;
    const atomic_bool *leave;
    rc_assigned_fn assigned;
    rc_revoked_fn revoked;
    void *ctx;
    int wake_fd;
    struct rc_source_entry *entries;
    size_t n, capacity;
    size_t last; /* entry of the last message: they come in runs */
    uint64_t generation;
    int64_t empty_at_ms, empty_at_mono_ms; /* when the queue was last seen empty */
    bool failed;                           /* a rebalance callback failed; `failure` says how */
    struct rc_error failure;
    bool closing;
    struct rc_ends *ends;
    int64_t outage_mono_ms; /* since when the broker has not answered within a second; 0: it does */
    int64_t hold_mono_ms;   /* until when answers do not count, after an outage */
    /* Against the embedded broker: the topics subscribed to, whose partitions are all ours (see take_all). */
    bool alone;
    char **topics;
    size_t n_topics;
    bool settled;              /* all of them exist and are assigned */
    int64_t looked_at_mono_ms; /* when the broker was asked for them last */
};

struct rc_source_entry *rc_source_entry(const struct rc_kafka_source *source, const char *topic, int32_t partition);

/* librdkafka's list of them; with `skip_none` only those that hold an offset, and their metadata. Owned by the caller. */
rd_kafka_topic_partition_list_t *rc_source_offsets(const struct rc_offset *offsets, size_t n, bool skip_none);

/* What is known about ends becomes void. */
void rc_source_new_generation(struct rc_kafka_source *source);
/* Takes in an answer about ends, if one has come. */
void rc_source_take_answer(struct rc_kafka_source *source);
/* The queue is empty: what the fetches' answers said of the ends holds for what has been taken. */
void rc_source_note_empty(struct rc_kafka_source *source);

#endif
