/* Owns the way of a definition onto the topic. The mistake that it prevents: an `apply` that says "created" about something that a kill a moment
 * later would undo. */
#include "cli/writer.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "cli/applied.h"
#include "consumers/shared/definitions.h"
#include "kafka/producer.h"
#include "kafka/topics.h"

#define MAX_RECORD ((size_t)8 << 20)
#define MAX_CONTROL ((size_t)4 << 10)
#define MAX_KEY 256
#define KEPT_MS 5000
#define NAP_NS 10000000 /* 10 ms */

struct written {
    char *key;   /* owned */
    char *value; /* owned; NULL: a tombstone */
    size_t len;
};

struct rc_cli_writer {
    const struct rc_cli *cli;
    struct rc_producer *producer;
    char *topic;
    struct written *written; /* owned */
    size_t n, capacity;
};

rc_status rc_cli_writer_open(const struct rc_cli *cli, struct rc_cli_writer **out, struct rc_error *err) {
    struct rc_producer_options options = {.name = "definitions", .wake_fd = -1, .max_record_bytes = MAX_RECORD};
    struct rc_producer *producer;
    if (rc_producer_open(cli->config, &options, &producer, err) != RC_OK)
        return RC_FAIL;
    struct rc_cli_writer *writer = rc_calloc(1, sizeof *writer);
    writer->cli = cli;
    writer->producer = producer;
    writer->topic = rc_topic_name(cli->config, "definitions");
    *out = writer;
    return RC_OK;
}

void rc_cli_writer_close(struct rc_cli_writer *writer) {
    if (!writer)
        return;
    rc_producer_close(writer->producer);
    for (size_t i = 0; i < writer->n; i++) {
        free(writer->written[i].key);
        free(writer->written[i].value);
    }
    free(writer->written);
    free(writer->topic);
    free(writer);
}

void rc_cli_who(const struct rc_cli *cli, char out[CLI_WHO]) {
    char host[128] = "localhost";
    gethostname(host, sizeof host - 1);
    const struct passwd *user = getpwuid(geteuid());
    if (rc_cli_value(cli, "who"))
        snprintf(out, CLI_WHO, "%s", rc_cli_value(cli, "who"));
    else if (user)
        snprintf(out, CLI_WHO, "%s@%s", user->pw_name, host);
    else
        snprintf(out, CLI_WHO, "%u@%s", (unsigned)geteuid(), host);
}

/* `value` NULL: a tombstone. */
static rc_status put(struct rc_cli_writer *writer, const char *key, const struct rc_buf *value, struct rc_error *err) {
    struct rc_outgoing record = {.topic = writer->topic,
                                 .key = rc_span_str(key),
                                 .value = value ? rc_buf_span(value) : rc_span_str(NULL),
                                 .null_value = !value,
                                 .timestamp_ms = RC_NO_TIMESTAMP};
    if (rc_producer_send(writer->producer, &record, err) != RC_OK)
        return RC_FAIL;
    rc_grow(&writer->written, &writer->capacity, writer->n + 1, sizeof *writer->written);
    writer->written[writer->n++] = (struct written){
        .key = rc_strdup(key), .value = value ? rc_span_dup(rc_buf_span(value)) : NULL, .len = value ? value->len : 0};
    return RC_OK;
}

rc_status rc_cli_writer_put(struct rc_cli_writer *writer, const char *kind, const char *id,
                            const struct rc_definition *definition, struct rc_error *err) {
    char key[MAX_KEY];
    struct rc_buf value;
    snprintf(key, sizeof key, "%s/%s", kind, id);
    if (!definition)
        return put(writer, key, NULL, err);
    rc_buf_init(&value, MAX_RECORD);
    rc_status status = rc_definition_record_add(&value, definition) == RC_OK
                           ? put(writer, key, &value, err)
                           : rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s is larger than 8 MiB", key);
    rc_buf_deinit(&value);
    return status;
}

rc_status rc_cli_writer_put_control(struct rc_cli_writer *writer, const char *kind, const char *id,
                                    const struct rc_control *control, const char *who, struct rc_error *err) {
    struct rc_buf key, value;
    rc_buf_init(&key, MAX_KEY);
    rc_buf_init(&value, MAX_CONTROL);
    rc_status status = rc_control_key_add(&key, kind, id) == RC_OK &&
                               rc_control_record_add(&value, control, rc_clock_wall_ms(), who) == RC_OK
                           ? put(writer, key.data, &value, err)
                           : rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                                          "what is said of %s/%s is larger than 4 KiB; shorten --who", kind, id);
    rc_buf_deinit(&key);
    rc_buf_deinit(&value);
    return status;
}

/* ---- what an embedded broker forgets ------------------------------------------------------------------------------------ */

/* One line a definition: key, tab, value (consumers/shared/definitions.c). */
static bool is_kept(const char *path, const struct written *written) {
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t capacity = 0, key_len = strlen(written->key);
    ssize_t len;
    bool found = false, same = false;
    while (file && !found && (len = getline(&line, &capacity, file)) > 0) {
        if ((size_t)len <= key_len || memcmp(line, written->key, key_len) != 0 || line[key_len] != '\t')
            continue;
        found = true;
        struct rc_span kept = rc_span_of(line + key_len + 1, (size_t)len - key_len - 1);
        kept.len -= kept.len && kept.data[kept.len - 1] == '\n';
        same = written->value && rc_span_equal(kept, rc_span_of(written->value, written->len));
    }
    free(line);
    if (file)
        fclose(file);
    return written->value ? same : !found;
}

static rc_status wait_kept(const struct rc_cli_writer *writer, struct rc_error *err) {
    char path[4400];
    snprintf(path, sizeof path, "%s/definitions.jsonl", rc_config_text(writer->cli->config, "state.dir"));
    int64_t until = rc_clock_monotonic_ms() + KEPT_MS;
    for (size_t i = 0; i < writer->n; i++) {
        while (!is_kept(path, &writer->written[i])) {
            if (rc_clock_monotonic_ms() > until)
                return rc_error_set(
                    err, RC_CLASS_RETRY, RC_EXIT_TEMPORARY,
                    "%s was sent, but the running process has not written it to %s yet; see its log, or try again",
                    writer->written[i].key, path);
            nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
        }
    }
    return RC_OK;
}

rc_status rc_cli_writer_finish(struct rc_cli_writer *writer, struct rc_error *err) {
    if (rc_producer_flush(writer->producer, CLI_KAFKA_TIMEOUT_MS, err) != RC_OK)
        return rc_cli_broker_error(writer->cli, err);
    return writer->cli->embedded ? wait_kept(writer, err) : RC_OK;
}

/* ---- control records -------------------------------------------------------------------------------------------------------- */

static rc_status write_control(const struct rc_cli *cli, const char *kind, const char *id,
                               const struct rc_control *control, struct rc_error *err) {
    struct rc_cli_writer *writer;
    char who[CLI_WHO];
    rc_cli_who(cli, who);
    if (rc_cli_writer_open(cli, &writer, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_cli_writer_put_control(writer, kind, id, control, who, err);
    if (status == RC_OK)
        status = rc_cli_writer_finish(writer, err);
    rc_cli_writer_close(writer);
    return status;
}

static bool same_control(const struct rc_control *a, const struct rc_control *b) {
    return a->approved_version == b->approved_version && a->paused == b->paused &&
           a->cancelled_version == b->cancelled_version && a->rate == b->rate &&
           a->deleted_version == b->deleted_version && a->on_end == b->on_end;
}

rc_status rc_cli_control_change(const struct rc_cli *cli, const char *kind, const char *id, rc_cli_control_fn change,
                                void *ctx, struct rc_error *err) {
    struct rc_catalog_builder builder;
    struct rc_controls controls;
    struct rc_catalog *catalog = NULL;
    const struct rc_definition *definition;
    struct rc_control before, after;
    rc_catalog_builder_init(&builder);
    rc_controls_init(&controls);
    rc_status status = rc_cli_applied_read(cli, &builder, &controls, err);
    if (status == RC_OK)
        status = rc_catalog_build(&builder, &catalog, err);
    if (status == RC_OK)
        status = rc_cli_find_definition(catalog, kind, id, &definition, err);
    if (status == RC_OK) {
        rc_controls_find(&controls, kind, id, &before);
        after = before;
        status = change(ctx, definition, &after, err);
    }
    if (status == RC_OK && !same_control(&before, &after))
        status = write_control(cli, kind, id, &after, err);
    rc_catalog_free(catalog);
    rc_controls_deinit(&controls);
    rc_catalog_builder_deinit(&builder);
    return status;
}
