/* What is known of a partition's end, and why time may rest on it: `known_end` was heard from the broker in answer to
 * a question that was asked at `known_at`. Once the reader has passed known_end, every record that was in the log at
 * known_at has been taken. An answer counts only for the generation in which the question was asked: standing still,
 * a broker error or a new assignment start a new one. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "kafka/internal.h"
#include "kafka/source_internal.h"

#define OUTAGE_MS 1000
#define HOLD_MAX_MS 10000

void rc_source_new_generation(struct rc_kafka_source *source) {
    source->generation++;
    for (size_t i = 0; i < source->n; i++)
        source->entries[i].known_end = -1;
}

/* ---- asking ---- */

void rc_source_ask_end(struct rc_kafka_source *source) {
    if (source->n == 0 || rc_ends_busy(source->ends))
        return;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)source->n);
    for (size_t i = 0; i < source->n; i++)
        rd_kafka_topic_partition_list_add(list, source->entries[i].topic, source->entries[i].partition);
    rc_ends_ask(source->ends, list, source->generation);
}

bool rc_source_asking(const struct rc_kafka_source *source) {
    return rc_ends_busy(source->ends);
}

/* While a broker was away or stood still, producers have kept what they could not send, and come back with it some
 * time later: their pauses between attempts grow with the outage. An answer that "nothing is unread" right after it
 * is true and of no use. So for as long again as it lasted, time rests on the records alone. True when the answer
 * counts. */
static bool outage_over(struct rc_kafka_source *source, const struct rc_ends_answer *answer, bool failed) {
    if (failed || answer->answered_mono_ms - answer->asked_mono_ms > OUTAGE_MS) {
        if (source->outage_mono_ms == 0)
            source->outage_mono_ms = answer->asked_mono_ms;
        rc_source_new_generation(source);
        return false;
    }
    if (source->outage_mono_ms > 0) {
        int64_t lasted = answer->answered_mono_ms - source->outage_mono_ms;
        source->hold_mono_ms = answer->answered_mono_ms + (lasted < HOLD_MAX_MS ? lasted : HOLD_MAX_MS);
        source->outage_mono_ms = 0;
        rc_log(RC_LOG_WARN, "the broker was away; changes by time alone wait for what producers have kept",
               rc_f_str("source", source->name), rc_f_int("outage_ms", lasted),
               rc_f_int("wait_ms", source->hold_mono_ms - answer->answered_mono_ms));
    }
    return answer->answered_mono_ms >= source->hold_mono_ms;
}

void rc_source_take_answer(struct rc_kafka_source *source) {
    struct rc_ends_answer answer;
    if (!rc_ends_take(source->ends, &answer))
        return;
    bool failed = false;
    for (int i = 0; i < answer.list->cnt; i++)
        failed |= answer.list->elems[i].err == RD_KAFKA_RESP_ERR__TIMED_OUT ||
                  answer.list->elems[i].err == RD_KAFKA_RESP_ERR__TRANSPORT ||
                  answer.list->elems[i].err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
    bool present = answer.tag == source->generation;
    bool counts = present && outage_over(source, &answer, failed);
    for (int i = 0; present && i < answer.list->cnt; i++) {
        const rd_kafka_topic_partition_t *told = &answer.list->elems[i];
        struct rc_source_entry *entry = rc_source_entry(source, told->topic, told->partition);
        if (told->err) {
            rc_log_limited(RC_LOG_WARN, "the end of a partition cannot be asked for", rc_f_str("source", source->name),
                           rc_f_str("topic", told->topic), rc_f_int("partition", told->partition),
                           rc_f_str("err", rd_kafka_err2str(told->err)));
        } else if (entry && told->offset >= 0) {
            if (counts) {
                entry->known_end = told->offset;
                entry->known_at_ms = answer.asked_ms;
                entry->known_at_mono_ms = answer.asked_mono_ms;
            }
            if (told->offset > entry->heard_end)
                entry->heard_end = told->offset;
            /* An empty partition has no message and no end-of-partition event to tell where the reader stands. */
            if (entry->position < 0 && told->offset == 0)
                entry->position = 0;
        }
    }
    rd_kafka_topic_partition_list_destroy(answer.list);
}

/* ---- hearing ---- */

static void hear_end(struct rc_kafka_source *source, struct rc_source_entry *entry) {
    int64_t low, high;
    if (rd_kafka_get_watermark_offsets(source->rk, entry->topic, entry->partition, &low, &high) ==
            RD_KAFKA_RESP_ERR_NO_ERROR &&
        high > entry->heard_end)
        entry->heard_end = high;
}

void rc_source_note_empty(struct rc_kafka_source *source) {
    for (size_t i = 0; i < source->n; i++) {
        struct rc_source_entry *entry = &source->entries[i];
        if (!entry->moved)
            continue;
        entry->moved = false;
        hear_end(source, entry);
        /* The messages came after the queue was last seen empty, and with them what the broker said of the end. */
        if (source->empty_at_ms > 0 && entry->heard_end >= 0 && entry->position >= entry->heard_end &&
            source->empty_at_ms > entry->known_at_ms && entry->known_end >= 0) {
            entry->known_end = entry->position;
            entry->known_at_ms = source->empty_at_ms;
            entry->known_at_mono_ms = source->empty_at_mono_ms;
        }
    }
    source->empty_at_ms = rc_clock_wall_ms();
    source->empty_at_mono_ms = rc_clock_monotonic_ms();
}

/* ---- telling ---- */

bool rc_source_at_end(struct rc_kafka_source *source, const char *topic, int32_t partition, int64_t fresh_ms,
                      int64_t *since_ms) {
    const struct rc_source_entry *entry = rc_source_entry(source, topic, partition);
    if (!entry || entry->known_end < 0 || entry->position < entry->known_end ||
        rc_clock_monotonic_ms() - entry->known_at_mono_ms > fresh_ms)
        return false;
    if (since_ms)
        *since_ms = entry->known_at_ms;
    return true;
}

void rc_source_stood_still(struct rc_kafka_source *source) {
    rc_source_new_generation(source);
}

void rc_source_refresh_ends(struct rc_kafka_source *source) {
    for (size_t i = 0; i < source->n; i++)
        hear_end(source, &source->entries[i]);
}

rc_status rc_source_position(struct rc_kafka_source *source, const char *topic, int32_t partition, int64_t *position,
                             int64_t *end) {
    const struct rc_source_entry *entry = rc_source_entry(source, topic, partition);
    if (!entry)
        return RC_FAIL;
    *position = entry->position;
    *end = entry->heard_end;
    return RC_OK;
}
