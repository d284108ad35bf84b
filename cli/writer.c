/* Owns the way of a definition onto the topic. The mistake that it prevents: an `apply` that says "created" about something that a kill a moment
 * later would undo. */
#include "cli/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "consumers/shared/definitions.h"
#include "kafka/producer.h"
#include "kafka/topics.h"

#define MAX_RECORD ((size_t)8 << 20)
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

rc_status rc_cli_writer_put(struct rc_cli_writer *writer, const char *kind, const char *id,
                            const struct rc_definition *definition, struct rc_error *err) {
    char key[256];
    struct rc_buf value;
    snprintf(key, sizeof key, "%s/%s", kind, id);
    rc_buf_init(&value, MAX_RECORD);
    rc_status status = RC_OK;
    if (definition && rc_definition_record_add(&value, definition) != RC_OK)
        status = rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s is larger than 8 MiB", key);
    struct rc_outgoing record = {.topic = writer->topic,
                                 .key = rc_span_str(key),
                                 .value = rc_buf_span(&value),
                                 .null_value = !definition,
                                 .timestamp_ms = RC_NO_TIMESTAMP};
    if (status == RC_OK)
        status = rc_producer_send(writer->producer, &record, err);
    if (status == RC_OK) {
        rc_grow(&writer->written, &writer->capacity, writer->n + 1, sizeof *writer->written);
        writer->written[writer->n++] = (struct written){
            .key = rc_strdup(key), .value = definition ? rc_span_dup(rc_buf_span(&value)) : NULL, .len = value.len};
    }
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
