/* The follower of the definitions topic. See definitions.h.
 *
 * It keeps every definition's latest record, and from them makes catalogs. When all of them together are sound, that
 * is the catalog; when not, those that do not fit are found by adding one after the other to what was good before. */
#include "consumers/shared/definitions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "consumers/shared/serving.h"
#include "kafka/embedded.h"
#include "kafka/producer.h"
#include "kafka/read.h"
#include "kafka/topics.h"

/* Definitions applied together arrive within this of one another. */
#define QUIET_MS 25
/* The rest of a change: in a transaction it is there already; without one, its writer may have died in between. */
#define REST_MS 5000
#define BROKER_WAIT_MS 5000

/* The latest record of a key. */
struct item {
    char *key;   /* "segment/x" */
    char *value; /* NULL: deleted */
    size_t value_len;
    char *good; /* the value that the present catalog holds; NULL: none */
    size_t good_len;
    char *problem; /* why `value` is left out; NULL: it is in */
};

struct rc_definitions {
    const struct rc_process *process;
    const char *role;
    char *topic;
    char *keep_file; /* embedded: definitions.jsonl; NULL: none */
    struct rc_kafka_source *source;
    struct item *items;
    size_t n, capacity;
    struct rc_controls controls;
    uint64_t control_changes, serving_changes;
    bool changed; /* records came since the last catalog */
    bool more;    /* the last one is not the end of its change */
    bool first;   /* no catalog was given yet */
    int64_t changed_at_ms;
    /* Offsets. The end that was found at the start may lie behind the last record, where others were compacted away. */
    int64_t seen, next, taken_up;
};

/* ---- items ---- */

static struct item *item_of(struct rc_definitions *definitions, struct rc_span key) {
    for (size_t i = 0; i < definitions->n; i++)
        if (rc_span_equal(rc_span_str(definitions->items[i].key), key))
            return &definitions->items[i];
    rc_grow(&definitions->items, &definitions->capacity, definitions->n + 1, sizeof *definitions->items);
    struct item *item = &definitions->items[definitions->n++];
    *item = (struct item){.key = rc_span_dup(key)};
    return item;
}

static void take(struct rc_definitions *definitions, const struct rc_message *message) {
    struct rc_span more;
    definitions->seen = definitions->next = message->offset + 1;
    if (rc_serving_is_key(message->key)) { /* may come in the midst of a change, and is no part of it */
        definitions->serving_changes +=
            rc_controls_take(&definitions->controls, message->key, message->value, message->null_value);
        return;
    }
    definitions->more = rc_message_header(message, RC_DEFINITIONS_MORE_HEADER, &more);
    if (rc_control_is_key(message->key)) {
        definitions->control_changes +=
            rc_controls_take(&definitions->controls, message->key, message->value, message->null_value);
        return;
    }
    struct item *item = item_of(definitions, message->key);
    free(item->value);
    item->value = message->null_value ? NULL : rc_span_dup(message->value);
    item->value_len = message->null_value ? 0 : message->value.len;
    definitions->changed = true;
    definitions->changed_at_ms = rc_clock_wall_ms();
}

static bool take_at_start(void *ctx, const struct rc_message *message) {
    take(ctx, message);
    return true;
}

/* ---- catalogs ---- */

static rc_status add(struct rc_catalog_builder *builder, const char *value, size_t len, struct rc_error *err) {
    return rc_definition_record_read(builder, rc_span_of(value, len), err);
}

static bool differs(const struct item *item) {
    return !(item->value == item->good || (item->value && item->good && item->value_len == item->good_len &&
                                           memcmp(item->value, item->good, item->good_len) == 0));
}

static void set_good(struct item *item, const char *value, size_t len) {
    char *copy = value ? rc_span_dup(rc_span_of(value, len)) : NULL;
    free(item->good);
    item->good = copy;
    item->good_len = len;
}

static void set_problem(struct rc_definitions *definitions, struct item *item, const struct rc_error *err) {
    if (!item->problem || strcmp(item->problem, err->message) != 0)
        rc_log(RC_LOG_ERROR, "definition left out", rc_f_str("role", definitions->role),
               rc_f_str("definition", item->key), rc_f_err(err));
    free(item->problem);
    item->problem = rc_strdup(err->message);
}

/* A catalog of `values[i]` of every item (NULL: without it). */
static rc_status build(struct rc_definitions *definitions, struct item *with, struct rc_catalog **out,
                       struct rc_error *err) {
    struct rc_catalog_builder builder;
    rc_catalog_builder_init(&builder);
    rc_status status = RC_OK;
    for (size_t i = 0; status == RC_OK && i < definitions->n; i++) {
        struct item *item = &definitions->items[i];
        bool fresh = !with || item == with;
        const char *value = fresh ? item->value : item->good;
        if (value && add(&builder, value, fresh ? item->value_len : item->good_len, err) != RC_OK)
            status = rc_error_prefix(err, "%s", item->key);
    }
    if (status == RC_OK)
        status = rc_catalog_build(&builder, out, err);
    rc_catalog_builder_deinit(&builder);
    return status;
}

/* Takes over what can be taken over, one definition at a time, until nothing more fits. */
static rc_status build_by_steps(struct rc_definitions *definitions, struct rc_catalog **out, struct rc_error *err) {
    bool more = true;
    while (more) {
        more = false;
        for (size_t i = 0; i < definitions->n; i++) {
            struct item *item = &definitions->items[i];
            struct rc_catalog *catalog;
            struct rc_error why;
            if (!differs(item))
                continue;
            if (build(definitions, item, &catalog, &why) != RC_OK) {
                set_problem(definitions, item, &why);
                continue;
            }
            rc_catalog_free(catalog);
            set_good(item, item->value, item->value_len);
            free(item->problem);
            item->problem = NULL;
            more = true;
        }
    }
    struct item none = {0};
    return build(definitions, &none, out, err);
}

static void keep(const struct rc_definitions *definitions);

static rc_status make(struct rc_definitions *definitions, struct rc_catalog **out, struct rc_error *err) {
    struct rc_error why;
    struct rc_catalog *catalog;
    if (build(definitions, NULL, &catalog, &why) == RC_OK) {
        for (size_t i = 0; i < definitions->n; i++) {
            set_good(&definitions->items[i], definitions->items[i].value, definitions->items[i].value_len);
            free(definitions->items[i].problem);
            definitions->items[i].problem = NULL;
        }
    } else if (build_by_steps(definitions, &catalog, err) != RC_OK) {
        return RC_FAIL;
    }
    keep(definitions);
    *out = catalog;
    return RC_OK;
}

/* ---- life ---- */

static rc_status read_all(struct rc_definitions *definitions, int64_t *end, struct rc_error *err) {
    const struct rc_config *config = definitions->process->config;
    struct rc_admin *admin;
    if (rc_admin_open(config, &admin, err) != RC_OK)
        return RC_FAIL;
    struct rc_topic_spec spec = {.name = definitions->topic, .partitions = 1, .compacted = true};
    rc_status status = rc_topic_ensure(admin, &spec, NULL, err);
    rc_admin_close(admin);
    if (status == RC_OK)
        status = rc_kafka_read(config, definitions->topic, 0, RC_START_BEGINNING, BROKER_WAIT_MS, take_at_start,
                               definitions, end, err);
    return status;
}

rc_status rc_definitions_open(const struct rc_process *process, const char *role, struct rc_loop *loop,
                              struct rc_definitions **out, struct rc_error *err) {
    struct rc_definitions *definitions = rc_calloc(1, sizeof *definitions);
    definitions->process = process;
    definitions->role = role;
    definitions->topic = rc_topic_name(process->config, "definitions");
    definitions->first = true;
    rc_controls_init(&definitions->controls);
    if (rc_embedded_used(process->config) && strcmp(role, "ingest") == 0) {
        const char *dir = rc_config_text(process->config, "state.dir");
        size_t bytes = strlen(dir) + sizeof "/definitions.jsonl";
        definitions->keep_file = rc_alloc(bytes);
        snprintf(definitions->keep_file, bytes, "%s/definitions.jsonl", dir);
    }
    int64_t end = 0;
    rc_status status;
    while ((status = read_all(definitions, &end, err)) != RC_OK && err->class == RC_CLASS_RETRY) {
        rc_log_limited(RC_LOG_WARN, "waiting for the broker", rc_f_str("role", role), rc_f_err(err));
        if (rc_stop_wait(process->stop, 500))
            break;
    }
    definitions->next = end;
    char name[64];
    snprintf(name, sizeof name, "%s-definitions", role);
    struct rc_source_options options = {.name = name, .wake_fd = rc_loop_fd(loop)};
    struct rc_source_partition partition = {.topic = definitions->topic, .start = end};
    if (status == RC_OK)
        status = rc_source_open(process->config, &options, &definitions->source, err);
    if (status == RC_OK)
        status = rc_source_assign(definitions->source, &partition, 1, err);
    if (status != RC_OK) {
        rc_definitions_close(definitions);
        return RC_FAIL;
    }
    rc_loop_touch(loop);
    *out = definitions;
    return RC_OK;
}

void rc_definitions_close(struct rc_definitions *definitions) {
    if (!definitions)
        return;
    rc_source_close(definitions->source);
    for (size_t i = 0; i < definitions->n; i++) {
        free(definitions->items[i].key);
        free(definitions->items[i].value);
        free(definitions->items[i].good);
        free(definitions->items[i].problem);
    }
    free(definitions->items);
    rc_controls_deinit(&definitions->controls);
    free(definitions->topic);
    free(definitions->keep_file);
    free(definitions);
}

rc_status rc_definitions_poll(struct rc_definitions *definitions, struct rc_catalog **out, struct rc_error *err) {
    uint64_t changes = definitions->control_changes + definitions->serving_changes;
    *out = NULL;
    for (;;) {
        struct rc_message message;
        struct rc_error problem;
        enum rc_polled polled = rc_source_poll(definitions->source, 0, &message, &problem);
        if (polled == RC_POLLED_NOTHING)
            break;
        if (polled == RC_POLLED_MESSAGE) {
            take(definitions, &message);
            rc_message_release(&message);
        } else if (polled == RC_POLLED_ERROR && problem.class != RC_CLASS_RETRY) {
            *err = problem;
            return RC_FAIL;
        }
    }
    if (definitions->control_changes + definitions->serving_changes != changes)
        keep(definitions);
    if (!definitions->changed)
        definitions->taken_up = definitions->next;
    if (!definitions->first && rc_clock_wall_ms() < rc_definitions_due(definitions))
        return RC_OK;
    if (definitions->more && !definitions->first)
        rc_log(RC_LOG_WARN, "the rest of a change of definitions does not come, its beginning is taken up",
               rc_f_str("role", definitions->role));
    if (make(definitions, out, err) != RC_OK)
        return RC_FAIL;
    definitions->changed = definitions->first = definitions->more = false;
    definitions->taken_up = definitions->next;
    return RC_OK;
}

int64_t rc_definitions_seen(const struct rc_definitions *definitions) {
    return definitions->seen;
}

bool rc_definitions_took_up(const struct rc_definitions *definitions, int64_t offset) {
    return definitions->taken_up >= offset;
}

void rc_definitions_control(const struct rc_definitions *definitions, const char *kind, const char *id,
                            struct rc_control *out) {
    rc_controls_find(&definitions->controls, kind, id, out);
}

const struct rc_controls *rc_definitions_controls(const struct rc_definitions *definitions) {
    return &definitions->controls;
}

uint64_t rc_definitions_control_changes(const struct rc_definitions *definitions) {
    return definitions->control_changes;
}

uint64_t rc_definitions_serving_changes(const struct rc_definitions *definitions) {
    return definitions->serving_changes;
}

int64_t rc_definitions_due(const struct rc_definitions *definitions) {
    return definitions->changed ? definitions->changed_at_ms + (definitions->more ? REST_MS : QUIET_MS) : INT64_MAX;
}

char *rc_definitions_problems(const struct rc_definitions *definitions) {
    struct rc_buf text;
    rc_buf_init(&text, 1 << 20);
    rc_buf_add_str(&text, "");
    for (size_t i = 0; i < definitions->n; i++)
        if (definitions->items[i].problem)
            rc_buf_printf(&text, "%s%s: %s", text.len ? "\n" : "", definitions->items[i].key,
                          definitions->items[i].problem);
    char *out = rc_span_dup(rc_buf_span(&text));
    rc_buf_deinit(&text);
    return out;
}

/* ---- what the embedded broker forgets ---- */

/* One line a record, the control records first, as they are written: key, tab, value (JSON holds no tabs or line ends outside its escapes; apply writes one
 * line). */
static bool write_line(FILE *file, const char *key, const char *value) {
    return !value || fprintf(file, "%s\t%s\n", key, value) > 0;
}

static void keep(const struct rc_definitions *definitions) {
    if (!definitions->keep_file)
        return;
    size_t bytes = strlen(definitions->keep_file) + sizeof ".new";
    char *fresh = rc_alloc(bytes);
    snprintf(fresh, bytes, "%s.new", definitions->keep_file);
    FILE *file = fopen(fresh, "w");
    bool good = file != NULL;
    for (size_t i = 0; good && i < definitions->controls.n; i++)
        good = write_line(file, definitions->controls.items[i].key, definitions->controls.items[i].value);
    for (size_t i = 0; good && i < definitions->n; i++)
        good = write_line(file, definitions->items[i].key, definitions->items[i].value);
    if (file)
        good = fclose(file) == 0 && good;
    if (!good || rename(fresh, definitions->keep_file) != 0)
        rc_log(RC_LOG_ERROR, "definitions cannot be kept for the next start", rc_f_str("file", definitions->keep_file),
               rc_f_str("err", strerror(errno)));
    free(fresh);
}

rc_status rc_definitions_restore(const struct rc_config *config, struct rc_error *err) {
    char name[4096];
    snprintf(name, sizeof name, "%s/definitions.jsonl", rc_config_text(config, "state.dir"));
    FILE *file = fopen(name, "r");
    if (!file)
        return errno == ENOENT ? RC_OK
                               : rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "%s: %s", name, strerror(errno));
    char *topic = rc_topic_name(config, "definitions");
    struct rc_admin *admin = NULL;
    struct rc_producer *producer = NULL;
    struct rc_topic_spec spec = {.name = topic, .partitions = 1, .compacted = true};
    struct rc_producer_options options = {.name = "restore", .wake_fd = -1};
    rc_status status = rc_admin_open(config, &admin, err);
    if (status == RC_OK)
        status = rc_topic_ensure(admin, &spec, NULL, err);
    rc_admin_close(admin);
    if (status == RC_OK)
        status = rc_producer_open(config, &options, &producer, err);
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    while (status == RC_OK && (len = getline(&line, &capacity, file)) > 0) {
        if (line[len - 1] == '\n')
            len--;
        char *tab = memchr(line, '\t', (size_t)len);
        if (!tab)
            continue;
        struct rc_outgoing record = {.topic = topic,
                                     .key = rc_span_of(line, (size_t)(tab - line)),
                                     .value = rc_span_of(tab + 1, (size_t)(line + len - tab - 1)),
                                     .timestamp_ms = RC_NO_TIMESTAMP};
        status = rc_producer_send(producer, &record, err);
    }
    if (status == RC_OK)
        status = rc_producer_flush(producer, BROKER_WAIT_MS, err);
    rc_producer_close(producer);
    free(line);
    free(topic);
    fclose(file);
    return status;
}
