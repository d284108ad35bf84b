/* Reads, for one event after the other, the stretch of the person's partition that begins just before the event's timestamp. What comes by for
 * another event is taken too, so events beside each other cost one reading. The mistake that it prevents: reading a month of a topic for a
 * name. */
#include "cli/event_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/clock.h"
#include "codec/decode.h"
#include "codec/person_key.h"
#include "codec/registry.h"
#include "kafka/read.h"
#include "kafka/record.h"
#include "kafka/topics.h"
#include "producers/rekey.h"
#include "segment/decoders.h"
#include "segment/explain.h"
#include "segment/population.h"

#define STRETCH 20000  /* records looked at for one event, in each topic */
#define BEFORE_MS 2000 /* clocks of producers and brokers */
#define TIMEOUT_MS 1000

struct wanted {
    json_t *event; /* borrowed from the explanation */
    int64_t timestamp_ms;
    uint64_t hash;
    bool found, tried;
};

struct naming {
    const struct rc_cli *cli;
    const struct rc_catalog *catalog;
    struct rc_span person;
    struct rc_plan *plan;
    struct rc_registry *registry; /* NULL: none */
    struct rc_decoder **decoders;
    struct rc_arena arena;
    struct rc_buf key;
    struct wanted *wanted; /* latest first */
    size_t n, capacity, left;
    struct rc_read_span *spans; /* one a topic */
    char **topics;              /* by dataset; owned */
    int64_t until_ms;           /* monotonic */
};

static void collect(struct naming *naming, json_t *node) {
    size_t i;
    const char *key;
    json_t *below;
    const char *hash = json_string_value(json_object_get(node, "hash"));
    if (hash) {
        rc_grow(&naming->wanted, &naming->capacity, naming->n + 1, sizeof *naming->wanted);
        naming->wanted[naming->n++] =
            (struct wanted){.event = node,
                            .timestamp_ms = json_integer_value(json_object_get(node, "timestamp")),
                            .hash = strtoull(hash, NULL, 16)};
        return;
    }
    json_array_foreach(node, i, below) {
        collect(naming, below);
    }
    json_object_foreach(node, key, below) {
        collect(naming, below);
    }
}

static int latest_first(const void *a, const void *b) {
    const struct wanted *x = a, *y = b;
    return (x->timestamp_ms < y->timestamp_ms) - (x->timestamp_ms > y->timestamp_ms);
}

/* ---- reading ---- */

static bool is_person(struct naming *naming, const struct rc_event *event) {
    rc_buf_reset(&naming->key);
    return rc_person_key_add(&naming->key, event->namespace, event->person_id) == RC_OK &&
           rc_span_equal(rc_buf_span(&naming->key), naming->person);
}

static void take_event(struct naming *naming, uint32_t dataset, const struct rc_event *event) {
    for (size_t i = 0; i < naming->n; i++) {
        struct wanted *wanted = &naming->wanted[i];
        if (wanted->found || wanted->timestamp_ms != event->timestamp_ms ||
            rc_event_hash(naming->plan, dataset, event->event_id) != wanted->hash)
            continue;
        wanted->found = true; /* the same one may stand in several conditions */
        naming->left--;
        json_object_set_new(wanted->event, "dataset", json_string(naming->catalog->datasets[dataset].id));
        json_object_set_new(wanted->event, "id", json_stringn(event->event_id.data, event->event_id.len));
        json_object_del(wanted->event, "hash");
    }
}

static bool take_record(void *ctx, const struct rc_message *message) {
    struct naming *naming = ctx;
    for (uint32_t d = 0; d < naming->catalog->n_datasets; d++) {
        struct rc_header headers[RC_RECORD_HEADERS];
        struct rc_event event;
        struct rc_error ignored;
        const struct rc_dataset *dataset = &naming->catalog->datasets[d];
        if (strcmp(naming->topics[d], message->topic) != 0)
            continue;
        struct rc_record record = rc_message_record(message, headers);
        rc_arena_reset(&naming->arena);
        if ((dataset->keyed || rc_rekey_origin(dataset, &record, &ignored) == RC_OK) &&
            rc_decode(naming->decoders[d], &record, &naming->arena, &event, &ignored) == RC_DECODED &&
            is_person(naming, &event))
            take_event(naming, d, &event);
    }
    return naming->left > 0 && rc_clock_monotonic_ms() < naming->until_ms;
}

static void look_for(struct naming *naming, struct wanted *wanted) {
    struct rc_error ignored;
    size_t n = naming->catalog->n_datasets;
    wanted->tried = true;
    if (rc_kafka_read_bounds(naming->cli->config, naming->spans, n, wanted->timestamp_ms - BEFORE_MS, NULL, TIMEOUT_MS,
                             &ignored) != RC_OK)
        return;
    for (size_t d = 0; d < n; d++) {
        struct rc_read_span *span = &naming->spans[d];
        for (size_t e = 0; e < d; e++)
            if (strcmp(naming->topics[e], naming->topics[d]) == 0) /* read for the other one */
                span->end = span->from;
        if (span->end - span->from > STRETCH)
            span->end = span->from + STRETCH;
    }
    (void)!rc_kafka_read_spans(naming->cli->config, naming->spans, n, TIMEOUT_MS, take_record, naming, &ignored);
}

/* ---- setting up ---- */

static rc_status prepare(struct naming *naming, struct rc_error *err) {
    const struct rc_cli *cli = naming->cli;
    const char *registry = rc_config_text(cli->config, "registry.url");
    size_t n = naming->catalog->n_datasets;
    struct rc_admin *admin;
    int32_t partitions = 0;
    naming->topics = rc_calloc(n + 1, sizeof *naming->topics);
    naming->spans = rc_calloc(n + 1, sizeof *naming->spans);
    for (size_t d = 0; d < n; d++) {
        const struct rc_dataset *dataset = &naming->catalog->datasets[d];
        char name[80];
        snprintf(name, sizeof name, "events.%s", dataset->id);
        naming->topics[d] = dataset->keyed ? rc_strdup(dataset->topic) : rc_topic_name(cli->config, name);
    }
    if (rc_plan_compile(naming->catalog, &naming->plan, err) != RC_OK ||
        (*registry && rc_registry_open(registry, 0, &naming->registry, err) != RC_OK))
        return RC_FAIL;
    struct rc_decoder_options decoding = {.registry = naming->registry, .max_ahead_ms = -1};
    if (rc_plan_decoders_new(naming->plan, naming->catalog, &decoding, &naming->decoders, err) != RC_OK ||
        rc_admin_open(cli->config, &admin, err) != RC_OK)
        return RC_FAIL;
    rc_status status = n ? rc_topic_partitions(admin, naming->topics[0], TIMEOUT_MS, &partitions, err) : RC_OK;
    rc_admin_close(admin);
    if (status != RC_OK || partitions == 0)
        return RC_FAIL;
    for (size_t d = 0; d < n; d++)
        naming->spans[d] = (struct rc_read_span){.topic = naming->topics[d],
                                                 .partition = rc_person_key_partition(naming->person, partitions)};
    return RC_OK;
}

static void finish(struct naming *naming) {
    rc_plan_decoders_free(naming->decoders, naming->catalog);
    if (naming->registry)
        rc_registry_close(naming->registry);
    rc_plan_free(naming->plan);
    for (size_t d = 0; naming->topics && d < naming->catalog->n_datasets; d++)
        free(naming->topics[d]);
    free(naming->topics);
    free(naming->spans);
    free(naming->wanted);
    rc_arena_deinit(&naming->arena);
    rc_buf_deinit(&naming->key);
}

void rc_cli_event_names(const struct rc_cli *cli, const struct rc_catalog *catalog, const char *person,
                        json_t *explanation, int budget_ms) {
    struct naming naming = {
        .cli = cli, .catalog = catalog, .person = rc_span_str(person), .until_ms = rc_clock_monotonic_ms() + budget_ms};
    struct rc_error ignored;
    rc_arena_init(&naming.arena, (size_t)64 << 10);
    rc_buf_init(&naming.key, (size_t)1 << 20);
    collect(&naming, explanation);
    naming.left = naming.n;
    if (naming.n && prepare(&naming, &ignored) == RC_OK) {
        qsort(naming.wanted, naming.n, sizeof *naming.wanted, latest_first);
        for (size_t i = 0; i < naming.n && naming.left && rc_clock_monotonic_ms() < naming.until_ms; i++) {
            /* What lies at the same place has been looked for already. */
            bool near = i > 0 && naming.wanted[i - 1].tried &&
                        naming.wanted[i - 1].timestamp_ms - naming.wanted[i].timestamp_ms < BEFORE_MS / 2;
            if (!naming.wanted[i].found && !near)
                look_for(&naming, &naming.wanted[i]);
        }
    }
    finish(&naming);
}
