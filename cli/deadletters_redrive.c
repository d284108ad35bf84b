/* Owns the way back of dead letters to the topics of their datasets. Must not know how they came to be dead.
 *
 * 1. The topic is read once: which are dead, which are marked as sent again (deadletters_index.h).
 * 2. It is read once more; the chosen ones go out, untouched, with their origin in headers (codec/origin.h).
 * 3. When a batch is acknowledged, its marks go out, and are acknowledged.
 *
 * A kill between 2 and 3 leaves records that are sent and not marked: the next run sends them again. They count once,
 * because the origin (or the event id) says that they are the same event; those that are still bad become the same dead
 * letter (same source, same attempts). A mark before its record could lose one: that is the mistake that the order
 * prevents.
 *
 * Only topics of datasets are written to. On a compacted topic of our own, an old record at the end would win over newer ones. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "cli/applied.h"
#include "cli/deadletters_index.h"
#include "cli/json.h"
#include "codec/origin.h"
#include "codec/person_key.h"
#include "codec/registry.h"
#include "consumers/shared/deadletter.h"
#include "kafka/producer.h"
#include "kafka/read.h"
#include "kafka/topics.h"
#include "segment/plan.h"

#define BATCH 500
#define BATCH_BYTES ((size_t)8 << 20)
#define ACK_MS 30000
#define KEY_MAX ((size_t)1 << 20)
#define ARENA_BYTES ((size_t)64 << 10)
#define VERDICT_BYTES 512

/* One letter of the batch. */
struct sent {
    const struct rc_cli_letter *letter;
    int32_t to;
    uint64_t hash; /* of key and value, to find it again when the broker refuses it */
    bool refused;
    char verdict[VERDICT_BYTES]; /* what ingest will make of it, or why it is refused */
};

struct redriving {
    const struct rc_cli *cli;
    bool dry_run, json;
    struct rc_catalog *catalog;
    struct rc_plan *plan;
    struct rc_registry *registry;
    struct rc_decoder **decoders; /* by dataset */
    struct rc_producer *producer;
    char *topic; /* of the dead letters */
    struct rc_arena arena;
    struct rc_buf key;
    struct rc_cli_letter *chosen; /* in order of id; details not read */
    size_t n_chosen;
    struct sent *batch; /* BATCH of them */
    size_t n_batch, batch_bytes;
    struct rc_header *headers; /* of the record at hand; owned */
    size_t headers_capacity;
    size_t done, refused;
    struct rc_error *err;
    bool failed;
};

/* ---- the definitions as they are now ---- */

static bool judge_where(void *ctx, const struct rc_event *event) {
    return rc_plan_dataset_where(ctx, event);
}

static rc_status open_decoders(struct redriving *r, struct rc_error *err) {
    const char *url = rc_config_text(r->cli->config, "registry.url");
    if (*url && rc_registry_open(url, 0, &r->registry, err) != RC_OK)
        return RC_FAIL;
    if (rc_cli_applied_catalog(r->cli, &r->catalog, err) != RC_OK ||
        rc_plan_compile(r->catalog, &r->plan, err) != RC_OK)
        return RC_FAIL;
    r->decoders = rc_calloc(r->catalog->n_datasets + 1, sizeof *r->decoders);
    for (uint32_t d = 0; d < r->catalog->n_datasets; d++) {
        const bool *fields = rc_plan_dataset_where_fields(r->plan, d);
        struct rc_decoder_options options = {.dataset = d,
                                             .where = fields ? judge_where : NULL,
                                             .where_ctx = r->plan,
                                             .where_fields = fields,
                                             .registry = r->registry,
                                             .max_ahead_ms = RC_MAX_AHEAD_MS,
                                             .max_record_bytes = RC_MAX_RECORD_BYTES};
        if (rc_decoder_new(&r->catalog->datasets[d], &options, &r->decoders[d], err) != RC_OK)
            return RC_FAIL;
    }
    return RC_OK;
}

/* Where a record belongs and what will come of it. RC_FAIL only when the broker does not say how many partitions there
 * are; a record that cannot go anywhere is `refused`. */
static rc_status place(struct redriving *r, const struct rc_record *record, struct sent *out, struct rc_error *err) {
    int32_t n = 0;
    bool bad = false;
    snprintf(out->verdict, sizeof out->verdict, "no dataset reads topic %s", record->topic);
    for (uint32_t d = 0; d < r->catalog->n_datasets; d++) {
        const struct rc_dataset *dataset = &r->catalog->datasets[d];
        if (strcmp(dataset->topic, record->topic) != 0)
            continue;
        if (n == 0 && rc_producer_partitions(r->producer, record->topic, CLI_KAFKA_TIMEOUT_MS, &n, err) != RC_OK)
            return RC_FAIL;
        if (out->to < 0)
            out->to = record->partition % n;
        struct rc_event event;
        struct rc_error why;
        rc_arena_reset(&r->arena);
        switch (rc_decode(r->decoders[d], record, &r->arena, &event, &why)) {
        case RC_DECODED:
            rc_buf_reset(&r->key);
            if (dataset->keyed && rc_person_key_add(&r->key, event.namespace, event.person_id) == RC_OK)
                out->to = rc_person_key_partition(rc_buf_span(&r->key), n);
            snprintf(out->verdict, sizeof out->verdict, "good");
            return RC_OK;
        case RC_IGNORED:
            if (!bad)
                snprintf(out->verdict, sizeof out->verdict, "ignored by the dataset's where");
            break;
        case RC_BAD:
            bad = true;
            snprintf(out->verdict, sizeof out->verdict, "still bad: %.400s", why.message);
            break;
        case RC_AGAIN: snprintf(out->verdict, sizeof out->verdict, "not known: %.400s", why.message); break;
        }
    }
    out->refused = n == 0;
    return RC_OK;
}

/* ---- batches ---- */

static void tell(struct redriving *r, const struct sent *sent) {
    const struct rc_cli_letter *letter = sent->letter;
    const char *state = sent->refused ? "refused" : r->dry_run ? "dry run" : "redriven";
    r->refused += sent->refused;
    r->done += !sent->refused;
    if (r->json) {
        json_t *verdict = json_string(sent->verdict);
        rc_cli_json_print(
            json_pack("{s:o, s:s, s:s, s:o, s:i, s:o}", "id",
                      json_sprintf("%" PRId32 ":%" PRId64, letter->id.partition, letter->id.offset), "state", state,
                      "topic", letter->topic, "partition", sent->refused ? json_null() : json_integer(sent->to),
                      "attempts", (int)letter->attempts + 1, "verdict", verdict ? verdict : json_string("still bad")));
    } else if (sent->refused) {
        printf("%" PRId32 ":%" PRId64 "  refused: %s\n", letter->id.partition, letter->id.offset, sent->verdict);
    } else {
        printf("%" PRId32 ":%" PRId64 "  %s to %s [%" PRId32 "], attempt %" PRId32 ": %s\n", letter->id.partition,
               letter->id.offset, state, letter->topic, sent->to, letter->attempts + 1, sent->verdict);
    }
}

static uint64_t hash_of(struct rc_span key, struct rc_span value) {
    return XXH3_64bits_withSeed(value.data, value.len, XXH3_64bits(key.data, key.len));
}

static bool refused(void *ctx, const char *topic, int32_t partition, struct rc_span key, struct rc_span value,
                    const struct rc_error *err) {
    struct redriving *r = ctx;
    bool found = false;
    for (size_t i = 0; i < r->n_batch; i++) {
        struct sent *sent = &r->batch[i];
        if (strcmp(sent->letter->topic, topic) != 0 || sent->to != partition || sent->hash != hash_of(key, value))
            continue;
        found = sent->refused = true;
        snprintf(sent->verdict, sizeof sent->verdict, "%.500s", err->message);
    }
    return found; /* a mark that is refused is an error: nothing would say any more what was sent */
}

static rc_status finish_batch(struct redriving *r, struct rc_error *err) {
    if (r->n_batch == 0)
        return RC_OK;
    if (!r->dry_run && rc_producer_flush(r->producer, ACK_MS, err) != RC_OK)
        return RC_FAIL;
    for (size_t i = 0; !r->dry_run && i < r->n_batch; i++) {
        const struct rc_cli_letter *letter = r->batch[i].letter;
        struct rc_deadletter mark = {.topic = rc_span_str(letter->topic),
                                     .partition = letter->partition,
                                     .offset = letter->offset,
                                     .timestamp_ms = letter->timestamp_ms,
                                     .attempts = letter->attempts};
        if (!r->batch[i].refused &&
            rc_deadletter_mark(r->producer, r->topic, letter->id.partition, &mark, err) != RC_OK)
            return RC_FAIL;
    }
    if (!r->dry_run && rc_producer_flush(r->producer, ACK_MS, err) != RC_OK)
        return RC_FAIL;
    for (size_t i = 0; i < r->n_batch; i++)
        tell(r, &r->batch[i]);
    fflush(stdout);
    r->n_batch = r->batch_bytes = 0;
    return RC_OK;
}

static rc_status send_one(struct redriving *r, const struct rc_record *record, struct sent *sent, bool null_key,
                          struct rc_error *err) {
    const struct rc_cli_letter *letter = sent->letter;
    struct rc_origin origin = {.topic = rc_span_str(letter->topic),
                               .partition = letter->partition,
                               .offset = letter->offset,
                               .attempts = letter->attempts + 1};
    struct rc_origin_text text;
    size_t n = record->n_headers;
    rc_grow(&r->headers, &r->headers_capacity, n + RC_ORIGIN_HEADERS, sizeof *r->headers);
    n += rc_origin_headers(&origin, &text, r->headers + n);
    struct rc_outgoing out = {.topic = letter->topic,
                              .partition = sent->to,
                              .key = record->key,
                              .value = record->value,
                              .null_key = null_key,
                              .timestamp_ms = letter->timestamp_ms,
                              .headers = r->headers,
                              .n_headers = n};
    struct rc_error why;
    if (rc_producer_send(r->producer, &out, &why) == RC_OK)
        return RC_OK;
    if (why.class != RC_CLASS_POISON) {
        *err = why;
        return RC_FAIL;
    }
    sent->refused = true;
    snprintf(sent->verdict, sizeof sent->verdict, "%.500s", why.message);
    return RC_OK;
}

static const struct rc_cli_letter *find_chosen(const struct redriving *r, const struct rc_message *message) {
    struct rc_cli_letter_id id = {message->partition, message->offset}; /* first member of a letter */
    return bsearch(&id, r->chosen, r->n_chosen, sizeof *r->chosen, rc_cli_letter_id_compare);
}

static rc_status handle(struct redriving *r, const struct rc_cli_letter *letter, const struct rc_message *message,
                        struct rc_error *err) {
    size_t n = rc_message_headers(message, NULL, 0);
    rc_grow(&r->headers, &r->headers_capacity, n + RC_ORIGIN_HEADERS, sizeof *r->headers);
    rc_message_headers(message, r->headers, n);
    struct rc_record record = {.key = message->key,
                               .value = message->value,
                               .null_value = message->null_value,
                               .timestamp_ms = letter->timestamp_ms,
                               .headers = r->headers,
                               .n_headers = rc_deadletter_own_headers(r->headers, n),
                               .topic = letter->topic,
                               .partition = letter->partition,
                               .offset = letter->offset};
    struct sent *sent = &r->batch[r->n_batch++];
    *sent = (struct sent){.letter = letter, .to = -1, .hash = hash_of(record.key, record.value)};
    if (place(r, &record, sent, err) != RC_OK)
        return RC_FAIL;
    if (record.null_value && !sent->refused) {
        sent->refused = true;
        snprintf(sent->verdict, sizeof sent->verdict,
                 "its value was too large for a dead letter and lies only where it was read: %s [%" PRId32
                 "] at offset %" PRId64,
                 letter->topic, letter->partition, letter->offset);
    }
    if (!sent->refused && !r->dry_run && send_one(r, &record, sent, message->null_key, err) != RC_OK)
        return RC_FAIL;
    r->batch_bytes += record.value.len;
    return r->n_batch == BATCH || r->batch_bytes >= BATCH_BYTES ? finish_batch(r, err) : RC_OK;
}

static bool take(void *ctx, const struct rc_message *message) {
    struct redriving *r = ctx;
    const struct rc_cli_letter *letter = find_chosen(r, message);
    r->failed = letter && handle(r, letter, message, r->err) != RC_OK;
    return !r->failed;
}

/* ---- choosing ---- */

static int by_id(const void *a, const void *b) {
    const struct rc_cli_letter *x = a, *y = b;
    return rc_cli_letter_id_compare(&x->id, &y->id);
}

/* Every id that was named is there. */
static rc_status check_ids(const struct rc_cli_letters *letters, const struct rc_cli_letter_filter *filter,
                           struct rc_error *err) {
    for (size_t i = 0; i < filter->n_ids; i++) {
        bool found = false;
        for (size_t k = 0; k < letters->n; k++)
            found |= rc_cli_letter_id_compare(&filter->ids[i], &letters->items[k].id) == 0;
        if (!found)
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_DATA,
                                "there is no dead letter %" PRId32 ":%" PRId64
                                "; `rollcall deadletters list` names those that there are",
                                filter->ids[i].partition, filter->ids[i].offset);
    }
    return RC_OK;
}

/* Leaves those that are to be sent, the oldest `limit`, in order of id. */
static void choose(struct redriving *r, struct rc_cli_letters *letters, bool named, int64_t limit) {
    size_t n = 0, passed = 0;
    bool again = rc_cli_has(r->cli, "again");
    for (size_t i = 0; i < letters->n; i++) {
        struct rc_cli_letter *letter = &letters->items[i];
        if (letter->redriven && !again) {
            passed++;
            if (named)
                fprintf(stderr, "%" PRId32 ":%" PRId64 " was sent again already; --again sends it once more\n",
                        letter->id.partition, letter->id.offset);
        } else if ((int64_t)n < limit) {
            letters->items[n++] = *letter;
        }
    }
    if (passed && !named)
        fprintf(stderr, "%zu were sent again already and are left out; --again sends them once more\n", passed);
    letters->n = n;
    if (n)
        qsort(letters->items, n, sizeof *letters->items, by_id);
    r->chosen = letters->items;
    r->n_chosen = n;
}

static rc_status send_chosen(struct redriving *r, struct rc_error *err) {
    struct rc_producer_options options = {
        .name = "redrive", .wake_fd = -1, .max_record_bytes = RC_DEADLETTER_MAX_BYTES, .refused = refused, .ctx = r};
    r->err = err;
    if (open_decoders(r, err) != RC_OK || rc_producer_open(r->cli->config, &options, &r->producer, err) != RC_OK)
        return RC_FAIL;
    if (rc_kafka_read(r->cli->config, r->topic, RC_ALL_PARTITIONS, RC_START_BEGINNING, CLI_KAFKA_TIMEOUT_MS, take, r,
                      NULL, err) != RC_OK ||
        r->failed || finish_batch(r, err) != RC_OK)
        return rc_cli_broker_error(r->cli, err);
    fprintf(stderr, "%zu %s, %zu refused\n", r->done, r->dry_run ? "would be sent again" : "sent again", r->refused);
    return r->refused == 0 ? RC_OK
                           : rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_DATA,
                                          "%zu of %zu dead letters cannot be sent again; stdout says why", r->refused,
                                          r->done + r->refused);
}

static void close_all(struct redriving *r) {
    for (size_t d = 0; r->decoders && d < r->catalog->n_datasets; d++)
        rc_decoder_free(r->decoders[d]);
    free(r->decoders);
    rc_producer_close(r->producer);
    rc_registry_close(r->registry);
    rc_plan_free(r->plan);
    rc_catalog_free(r->catalog);
    rc_arena_deinit(&r->arena);
    rc_buf_deinit(&r->key);
    free(r->headers);
    free(r->batch);
    free(r->topic);
}

static rc_status read_ids(const struct rc_cli *cli, const char *const *texts, size_t n, struct rc_cli_letter_id *out,
                          struct rc_error *err) {
    for (size_t i = 0; i < n; i++)
        if (rc_cli_letter_id_parse(cli, texts[i], &out[i], err) != RC_OK)
            return RC_FAIL;
    if (n)
        qsort(out, n, sizeof *out, rc_cli_letter_id_compare);
    return RC_OK;
}

rc_status rc_cli_deadletters_redrive(struct rc_cli *cli, const char *const *texts, size_t n, struct rc_error *err) {
    struct rc_cli_letter_id *ids = rc_calloc(n + 1, sizeof *ids);
    struct rc_cli_letter_filter filter;
    struct rc_cli_letters letters = {0};
    char *topic = NULL;
    int64_t limit = INT64_MAX;
    rc_status status = read_ids(cli, texts, n, ids, err);
    if (status == RC_OK)
        status = rc_cli_integer(cli, "limit", &limit, err);
    if (status == RC_OK)
        status = rc_cli_letter_filter_read(cli, &filter, &topic, err);
    if (status == RC_OK) {
        filter.ids = n ? ids : NULL;
        filter.n_ids = n;
        status = rc_cli_letters_read(cli, &filter, &letters, err);
    }
    if (status == RC_OK)
        status = check_ids(&letters, &filter, err);
    if (status == RC_OK) {
        struct redriving r = {.cli = cli,
                              .dry_run = rc_cli_has(cli, "dry-run"),
                              .json = rc_cli_has(cli, "json"),
                              .topic = rc_topic_name(cli->config, "deadletters"),
                              .batch = rc_calloc(BATCH, sizeof *r.batch)};
        rc_arena_init(&r.arena, ARENA_BYTES);
        rc_buf_init(&r.key, KEY_MAX);
        choose(&r, &letters, n > 0, limit);
        if (r.n_chosen)
            status = send_chosen(&r, err);
        else
            fprintf(stderr, "nothing to send again\n");
        close_all(&r);
    }
    rc_cli_letters_deinit(&letters);
    free(topic);
    free(ids);
    return status;
}
