/* Owns what makes two records of the topic one dead letter (source and attempts), and which are sent again already (a mark). Must not know
 * what a record means. */
#include "cli/deadletters_index.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/nearest.h"
#include "base/timezone.h"
#include "cli/applied.h"
#include "consumers/shared/deadletter.h"
#include "kafka/read.h"
#include "kafka/topics.h"

struct reading {
    const struct rc_cli_letter_filter *filter;
    struct rc_cli_letters *out;
    size_t capacity;
    uint32_t *slots;           /* open addressing: index into items + 1; owned */
    size_t n_slots;            /* a power of two */
    struct rc_header *headers; /* of the record at hand; owned */
    size_t headers_capacity;
};

int rc_cli_letter_id_compare(const void *a, const void *b) {
    const struct rc_cli_letter_id *x = a, *y = b;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int by_time(const void *a, const void *b) {
    const struct rc_cli_letter *x = a, *y = b;
    if (x->time_ms != y->time_ms)
        return x->time_ms < y->time_ms ? -1 : 1;
    return rc_cli_letter_id_compare(&x->id, &y->id);
}

/* Reasons and topics are few: a list will do. NULL for what is not UTF-8: we have never written that. */
static const char *intern(struct rc_cli_letters *letters, struct rc_span name) {
    for (size_t i = 0; i < letters->n_names; i++)
        if (rc_span_equal(rc_span_str(letters->names[i]), name))
            return letters->names[i];
    json_t *text = json_stringn(name.data ? name.data : "", name.len);
    json_decref(text);
    if (!text)
        return NULL;
    rc_grow(&letters->names, &letters->names_capacity, letters->n_names + 1, sizeof *letters->names);
    return letters->names[letters->n_names++] = rc_span_dup(name);
}

static uint64_t hash(const char *topic, int32_t partition, int64_t offset, int32_t attempts) {
    const int64_t key[] = {(int64_t)(intptr_t)topic, partition, offset, attempts};
    return XXH3_64bits(key, sizeof key);
}

/* The slot of that dead letter, or the free one where it belongs. `topic` is interned. */
static uint32_t *find(const struct reading *reading, const char *topic, const struct rc_deadletter *letter) {
    size_t at = hash(topic, letter->partition, letter->offset, letter->attempts) & (reading->n_slots - 1);
    for (;; at = (at + 1) & (reading->n_slots - 1)) {
        uint32_t *slot = &reading->slots[at];
        if (*slot == 0)
            return slot;
        const struct rc_cli_letter *item = &reading->out->items[*slot - 1];
        if (item->topic == topic && item->partition == letter->partition && item->offset == letter->offset &&
            item->attempts == letter->attempts)
            return slot;
    }
}

static void grow(struct reading *reading) {
    reading->n_slots = reading->n_slots ? reading->n_slots * 2 : 1024;
    free(reading->slots);
    reading->slots = rc_calloc(reading->n_slots, sizeof *reading->slots);
    for (size_t i = 0; i < reading->out->n; i++) {
        const struct rc_cli_letter *item = &reading->out->items[i];
        struct rc_deadletter letter = {
            .partition = item->partition, .offset = item->offset, .attempts = item->attempts};
        *find(reading, item->topic, &letter) = (uint32_t)i + 1;
    }
}

static bool wanted(const struct rc_cli_letter_filter *filter, const struct rc_message *message,
                   const struct rc_deadletter *letter) {
    struct rc_cli_letter_id id = {message->partition, message->offset};
    if (filter->ids && !bsearch(&id, filter->ids, filter->n_ids, sizeof id, rc_cli_letter_id_compare))
        return false;
    return (!filter->reason || rc_span_equal(letter->reason, rc_span_str(filter->reason))) &&
           message->timestamp_ms >= filter->since_ms && message->timestamp_ms < filter->until_ms;
}

static bool take(void *ctx, const struct rc_message *message) {
    struct reading *reading = ctx;
    struct rc_cli_letters *out = reading->out;
    const struct rc_cli_letter_filter *filter = reading->filter;
    struct rc_deadletter letter;
    size_t n = rc_message_headers(message, NULL, 0);
    rc_grow(&reading->headers, &reading->headers_capacity, n + 1, sizeof *reading->headers);
    rc_message_headers(message, reading->headers, n);
    const char *topic = NULL, *reason = NULL;
    if (rc_deadletter_read(reading->headers, n, &letter)) {
        topic = intern(out, letter.topic);
        reason = intern(out, letter.reason);
    }
    if (!topic || !reason) {
        out->foreign++;
        return true;
    }
    if ((filter->topic && !rc_span_equal(letter.topic, rc_span_str(filter->topic))) ||
        (filter->partition >= 0 && filter->partition != letter.partition) ||
        (!letter.mark && !wanted(filter, message, &letter)))
        return true;
    if ((out->n + 1) * 2 > reading->n_slots)
        grow(reading);
    uint32_t *slot = find(reading, topic, &letter);
    if (*slot == 0) {
        rc_grow(&out->items, &reading->capacity, out->n + 1, sizeof *out->items);
        /* A mark may be alone: what it marks was filtered out, or has gone by the topic's retention. */
        out->items[out->n++] = (struct rc_cli_letter){.id = {-1, -1},
                                                      .topic = topic,
                                                      .partition = letter.partition,
                                                      .offset = letter.offset,
                                                      .attempts = letter.attempts};
        *slot = (uint32_t)out->n;
    }
    struct rc_cli_letter *item = &out->items[*slot - 1];
    if (letter.mark) {
        item->redriven = true;
    } else if (item->id.partition < 0) {
        item->id = (struct rc_cli_letter_id){message->partition, message->offset};
        item->time_ms = message->timestamp_ms;
        item->timestamp_ms = letter.timestamp_ms;
        item->reason = reason;
        item->detail = filter->details ? rc_span_dup(letter.detail) : NULL;
    }
    return true;
}

rc_status rc_cli_letters_read(const struct rc_cli *cli, const struct rc_cli_letter_filter *filter,
                              struct rc_cli_letters *out, struct rc_error *err) {
    struct reading reading = {.filter = filter, .out = out};
    char *topic = rc_topic_name(cli->config, "deadletters");
    rc_status status = rc_kafka_read(cli->config, topic, RC_ALL_PARTITIONS, RC_START_BEGINNING, CLI_KAFKA_TIMEOUT_MS,
                                     take, &reading, NULL, err);
    free(topic);
    free(reading.slots);
    free(reading.headers);
    if (status != RC_OK)
        return rc_cli_broker_error(cli, err);
    size_t n = 0;
    for (size_t i = 0; i < out->n; i++)
        if (out->items[i].id.partition >= 0)
            out->items[n++] = out->items[i];
    out->n = n;
    if (n)
        qsort(out->items, n, sizeof *out->items, by_time);
    return RC_OK;
}

void rc_cli_letters_deinit(struct rc_cli_letters *letters) {
    for (size_t i = 0; i < letters->n; i++)
        free(letters->items[i].detail);
    for (size_t i = 0; i < letters->n_names; i++)
        free(letters->names[i]);
    free(letters->items);
    free(letters->names);
    *letters = (struct rc_cli_letters){0};
}

/* ---- the command line ---- */

rc_status rc_cli_letter_id_parse(const struct rc_cli *cli, const char *text, struct rc_cli_letter_id *out,
                                 struct rc_error *err) {
    char *colon, *end;
    errno = 0;
    long partition = strtol(text, &colon, 10);
    long long offset = *colon == ':' ? strtoll(colon + 1, &end, 10) : -1;
    if (colon == text || *colon != ':' || end == colon + 1 || *end || errno || partition < 0 || partition > INT32_MAX ||
        offset < 0)
        return rc_cli_usage(cli, err, "\"%s\" is no dead letter, expected PARTITION:OFFSET as `list` shows it", text);
    *out = (struct rc_cli_letter_id){(int32_t)partition, offset};
    return RC_OK;
}

/* An instant: RFC 3339, or a duration before now. */
static rc_status check_reason(const struct rc_cli *cli, const char *reason, struct rc_error *err) {
    const char *words[RC_REASON_COUNT];
    for (unsigned i = 0; i < RC_REASON_COUNT; i++)
        words[i] = rc_reason_text((enum rc_reason)i);
    if (!reason || rc_reason_of(rc_span_str(reason)) != RC_REASON_OTHER ||
        strcmp(reason, rc_reason_text(RC_REASON_OTHER)) == 0)
        return RC_OK;
    const char *nearest = rc_nearest_word(reason, words, RC_REASON_COUNT);
    return rc_cli_usage(cli, err, "--reason is \"%s\", which there is not%s%s%s", reason,
                        nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

rc_status rc_cli_letter_filter_read(const struct rc_cli *cli, struct rc_cli_letter_filter *out, char **topic,
                                    struct rc_error *err) {
    const char *dataset = rc_cli_value(cli, "dataset");
    int64_t partition = -1;
    *topic = NULL;
    *out = (struct rc_cli_letter_filter){.reason = rc_cli_value(cli, "reason"),
                                         .topic = rc_cli_value(cli, "topic"),
                                         .since_ms = INT64_MIN,
                                         .until_ms = INT64_MAX};
    if (dataset && out->topic)
        return rc_cli_usage(cli, err, "--dataset and --topic exclude each other");
    if (check_reason(cli, out->reason, err) != RC_OK || rc_cli_instant(cli, "since", &out->since_ms, err) != RC_OK ||
        rc_cli_instant(cli, "until", &out->until_ms, err) != RC_OK ||
        rc_cli_integer(cli, "partition", &partition, err) != RC_OK)
        return RC_FAIL;
    if (partition > INT32_MAX)
        return rc_cli_usage(cli, err, "--partition is too large");
    out->partition = (int32_t)partition;
    if (!dataset)
        return RC_OK;
    struct rc_catalog *catalog;
    const struct rc_definition *definition;
    if (rc_cli_applied_catalog(cli, &catalog, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_cli_find_definition(catalog, "dataset", dataset, &definition, err);
    for (size_t i = 0; status == RC_OK && i < catalog->n_datasets; i++)
        if (strcmp(catalog->datasets[i].id, dataset) == 0)
            out->topic = *topic = rc_strdup(catalog->datasets[i].topic);
    rc_catalog_free(catalog);
    return status;
}
