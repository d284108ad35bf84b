/* One record of a dataset topic to the events that it is, for every dataset that comes over this topic.
 *
 * An imported record (codec/origin.h) comes live long after what it tells of happened. Where its import was announced (a control record of the dataset),
 * state of replays before it does not know it, so that nobody is told of half an import; the replay that ends the import reads it as history, and to the state
 * that comes of that, as to an installation that has heard of no import, it is an event like any other. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "codec/person_key.h"
#include "consumers/ingest/internal.h"
#include "consumers/shared/deadletter.h"
#include "kafka/record.h"
#include "producers/rekey.h"

void rc_ingest_fail(struct ingest *ingest, const struct rc_error *err) {
    if (ingest->failed)
        return;
    ingest->failed = true;
    ingest->failure = *err;
}

static void bury(struct ingest *ingest, const struct rc_message *message, const struct rc_error *why) {
    const char *detail;
    rc_ingest_dead_letter_count(ingest, rc_deadletter_reason(why->message, &detail));
    rc_log_limited(RC_LOG_WARN, "record to the dead letters", rc_f_str("topic", message->topic),
                   rc_f_int("partition", message->partition), rc_f_int("offset", message->offset),
                   rc_f_str("reason", rc_reason_text(rc_deadletter_reason(why->message, &detail))));
    struct rc_error err;
    if (rc_deadletter_send(ingest->producer, ingest->deadletters_topic, ingest->deadletter_partitions, message,
                           why->message, &err) != RC_OK)
        rc_ingest_fail(ingest, &err);
}

/* True when the person belongs into the partition that the record came from. */
static bool right_partition(struct ingest *ingest, const struct rc_event *event, const struct rc_message *message,
                            struct rc_error *why) {
    rc_buf_reset(&ingest->key);
    if (rc_person_key_add(&ingest->key, event->namespace, event->person_id) != RC_OK) {
        rc_error_set(why, RC_CLASS_POISON, RC_EXIT_DATA, "%s: the person key is longer than %zu bytes",
                     rc_reason_text(RC_REASON_BAD_PERSON), ingest->key.limit);
        return false;
    }
    int32_t wanted = rc_person_key_partition(rc_buf_span(&ingest->key), ingest->program->n_partitions);
    if (wanted == message->partition)
        return true;
    rc_error_set(why, RC_CLASS_POISON, RC_EXIT_DATA,
                 "%s: the person key belongs into partition %d of %d (murmur2), the record is in %d; produce with the "
                 "person key as record key and "
                 "partitioner=murmur2_random, or give the dataset \"keyed\": false",
                 rc_reason_text(RC_REASON_WRONG_PARTITION), wanted, ingest->program->n_partitions, message->partition);
    return false;
}

/* Time comes with the records: a partition has been read up to a record's own timestamp, so the events of the record
 * find a clock that is not behind them. Never beyond the wall clock. */
static void advance_clock(struct input *input, const struct route *route, int64_t record_ms) {
    if (record_ms == RC_NO_TIMESTAMP || record_ms <= input->greatest_ms)
        return;
    input->greatest_ms = record_ms;
    int64_t wall_ms = rc_clock_wall_ms(), clock_ms = record_ms < wall_ms ? record_ms : wall_ms;
    if (clock_ms <= input->clock_ms)
        return;
    input->clock_ms = clock_ms;
    for (size_t i = 0; route && i < route->n; i++)
        rc_population_set_clock(input->lane->population, route->datasets[i], clock_ms);
}

/* The number of the record's import, where that was announced; else 0. */
static int64_t import_of(const struct ingest *ingest, const struct rc_dataset *dataset,
                         const struct rc_record *record) {
    int64_t import;
    struct rc_control control;
    if (record->n_headers == 0 ||
        !rc_header_number(record->headers, record->n_headers, RC_IMPORT_HEADER, INT64_MAX, &import))
        return 0;
    rc_definitions_control(ingest->definitions, "dataset", dataset->id, &control);
    return import <= control.import_ms ? import : 0;
}

enum fed rc_ingest_feed(struct ingest *ingest, struct input *input, const struct rc_message *message) {
    struct lane *lane = input->lane;
    const struct program *program = ingest->program;
    const struct route *route = rc_ingest_program_route(program, message->topic);
    struct rc_header headers[RC_RECORD_HEADERS];
    struct rc_record record = rc_message_record(message, headers);
    struct rc_message original = *message; /* the dead letter of a re-keyed copy is the original's */
    bool used = false;
    rc_arena_reset(&ingest->arena);
    for (size_t i = 0; route && i < route->n; i++) {
        struct rc_event event;
        struct rc_error why;
        const struct rc_dataset *dataset = &program->catalog->datasets[route->datasets[i]];
        /* A re-keyed record stands for the original: its key, and where it lay, which tells events without an event
         * id apart. */
        if (!dataset->keyed && rc_rekey_origin(dataset, &record, &why) != RC_OK) {
            used = true;
            bury(ingest, message, &why);
            continue;
        }
        original.topic = record.topic;
        original.key = record.key;
        original.null_key = record.key.data == NULL;
        struct rc_decoder *decoder = program->decoders[route->datasets[i]];
        uint64_t no_values = rc_decoder_no_values(decoder);
        switch (rc_decode(decoder, &record, &ingest->arena, &event, &why)) {
        case RC_DECODED:
            used = true;
            if (rc_decoder_no_values(decoder) != no_values)
                rc_counter_add(ingest->metrics.no_values, rc_decoder_no_values(decoder) - no_values);
            if (!right_partition(ingest, &event, message, &why)) {
                bury(ingest, &original, &why);
            } else {
                rc_counter_inc(ingest->metrics.events);
                int64_t import = import_of(ingest, dataset, &record);
                bool new = import ? rc_population_apply_import(lane->population, &event, import)
                                  : rc_population_apply(lane->population, &event);
                if (!new)
                    rc_counter_inc(ingest->metrics.duplicates);
            }
            break;
        case RC_IGNORED: break;
        case RC_BAD:
            used = true;
            bury(ingest, &original, &why);
            break;
        case RC_AGAIN:
            rc_log_limited(RC_LOG_WARN, "a record waits for the schema registry", rc_f_str("topic", message->topic),
                           rc_f_int("partition", message->partition), rc_f_int("offset", message->offset),
                           rc_f_err(&why));
            rc_counter_inc(ingest->metrics.retries);
            return FED_AGAIN;
        }
    }
    rc_counter_inc(ingest->metrics.records);
    if (!used)
        rc_counter_inc(ingest->metrics.ignored);
    input->position = message->offset + 1;
    advance_clock(input, route, message->timestamp_ms);
    lane->dirty = true;
    return FED;
}

/* The record once more, for one of its datasets: what is wrong with it was told the first time. */
static enum rc_decoded decode_again(struct ingest *ingest, uint32_t dataset, struct rc_record *record,
                                    struct rc_event *out) {
    struct rc_error why;
    const struct rc_dataset *about = &ingest->program->catalog->datasets[dataset];
    if (!about->keyed && rc_rekey_origin(about, record, &why) != RC_OK)
        return RC_BAD;
    return rc_decode(ingest->program->decoders[dataset], record, &ingest->arena, out, &why);
}

enum fed rc_ingest_feed_again(struct ingest *ingest, struct lane *lane, const struct rc_message *message,
                              struct rc_span person_key) {
    const struct route *route = rc_ingest_program_route(ingest->program, message->topic);
    struct rc_header headers[RC_RECORD_HEADERS];
    struct rc_record record = rc_message_record(message, headers);
    rc_arena_reset(&ingest->arena);
    for (size_t i = 0; route && i < route->n; i++) {
        struct rc_event event;
        enum rc_decoded decoded = decode_again(ingest, route->datasets[i], &record, &event);
        if (decoded == RC_AGAIN)
            return FED_AGAIN;
        if (decoded != RC_DECODED)
            continue;
        rc_buf_reset(&ingest->key);
        if (rc_person_key_add(&ingest->key, event.namespace, event.person_id) == RC_OK &&
            rc_span_equal(rc_buf_span(&ingest->key), person_key))
            rc_population_apply(lane->population, &event);
    }
    return FED;
}

enum fed rc_ingest_feed_history(struct ingest *ingest, struct lane *lane, const struct rc_message *message, bool all) {
    const struct route *route = rc_ingest_program_route(ingest->program, message->topic);
    struct rc_header headers[RC_RECORD_HEADERS];
    struct rc_record record = rc_message_record(message, headers);
    rc_arena_reset(&ingest->arena);
    for (size_t i = 0; route && i < route->n; i++) {
        struct rc_event event;
        struct rc_error why;
        enum rc_decoded decoded = decode_again(ingest, route->datasets[i], &record, &event);
        if (decoded == RC_AGAIN)
            return FED_AGAIN;
        if (decoded == RC_DECODED && right_partition(ingest, &event, message, &why))
            rc_population_apply_history(lane->population, &event, all);
    }
    return FED;
}
