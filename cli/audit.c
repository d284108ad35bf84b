/* Owns the audit trail's text, and where it lies. Must not know what a change is. The mistake that it prevents: a definition of which nobody can
 * say any more who changed it, and what it was before. */
#include "cli/audit.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/timezone.h"
#include "kafka/read.h"
#include "kafka/topics.h"

/* What stands before the definition (consumers/shared/audit.c). The first time that it stands outside a text: what comes before it holds no key of that
 * name, and quotes inside texts are escaped. */
static const char mark[] = ",\"definition\":";

static const char *text_of(const json_t *head, const char *key) {
    return json_string_value(json_object_get(head, key));
}

static rc_status take_head(const json_t *head, struct rc_audit *out) {
    const json_t *version = json_object_get(head, "version");
    const char *time = text_of(head, "time");
    out->who = text_of(head, "who");
    out->kind = text_of(head, "kind");
    out->id = text_of(head, "id");
    out->action = text_of(head, "action");
    if (!time || rc_rfc3339_parse(time, strlen(time), &out->at_ms) != RC_OK || !json_is_integer(version) || !out->who ||
        !out->kind || !out->id || !out->action)
        return RC_FAIL;
    out->version = (int)json_integer_value(version);
    return RC_OK;
}

rc_status rc_cli_audit_parse(struct rc_span value, rc_cli_audit_fn fn, void *ctx, bool *more, struct rc_error *err) {
    const char *at = value.len ? memmem(value.data, value.len, mark, sizeof mark - 1) : NULL;
    struct rc_audit entry = {0};
    json_t *head = NULL;
    if (at) {
        char *text = rc_span_dup(rc_span_of(value.data, (size_t)(at - value.data) + 1));
        text[at - value.data] = '}';
        head = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        free(text);
    }
    rc_status status = head ? take_head(head, &entry) : RC_FAIL;
    if (status == RC_OK) {
        const char *json = at + sizeof mark - 1;
        char *definition = rc_span_dup(rc_span_of(json, (size_t)(value.data + value.len - json) - 1));
        char *effect = json_dumps(json_object_get(head, "effect"), JSON_COMPACT);
        entry.json = definition;
        entry.effect = effect;
        *more = fn(ctx, &entry);
        free(definition);
        free(effect);
    } else {
        rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "not an entry of the audit trail");
    }
    json_decref(head);
    return status;
}

/* ---- reading ---- */

struct reading {
    rc_cli_audit_fn fn;
    void *ctx;
    json_t *effects; /* "kind/id@version" of what took effect */
};

/* What took effect is told once, though a crash may have written it twice. */
static bool fold(void *ctx, const struct rc_audit *entry) {
    const struct reading *reading = ctx;
    char name[192];
    snprintf(name, sizeof name, "%s/%s@%d", entry->kind, entry->id, entry->version);
    bool effect = strcmp(entry->action, RC_AUDIT_TOOK_EFFECT) == 0;
    if (effect && json_object_get(reading->effects, name))
        return true;
    if (effect)
        json_object_set_new(reading->effects, name, json_true());
    return reading->fn(reading->ctx, entry);
}

static bool take_value(struct reading *reading, struct rc_span value, int64_t place) {
    struct rc_error err;
    bool more = true;
    if (rc_cli_audit_parse(value, fold, reading, &more, &err) != RC_OK)
        rc_log(RC_LOG_ERROR, "audit entry left out", rc_f_int("place", place), rc_f_err(&err));
    return more;
}

static bool take_record(void *ctx, const struct rc_message *message) {
    return message->null_value || take_value(ctx, message->value, message->offset);
}

static rc_status read_kept(const struct rc_cli *cli, struct reading *reading, struct rc_error *err) {
    char *path = rc_audit_file(cli->config), *line = NULL;
    size_t capacity = 0;
    ssize_t len = 0;
    FILE *file = fopen(path, "re");
    rc_status status = RC_OK;
    if (!file && errno != ENOENT)
        status = rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "%s: %s", path, strerror(errno));
    bool more = file != NULL;
    for (int64_t place = 1; more && (len = getline(&line, &capacity, file)) > 0; place++) {
        len -= line[len - 1] == '\n';
        more = take_value(reading, rc_span_of(line, (size_t)len), place);
    }
    free(line);
    if (file)
        fclose(file);
    free(path);
    return status;
}

static rc_status read_topic(const struct rc_cli *cli, struct reading *reading, struct rc_error *err) {
    char *topic = rc_topic_name(cli->config, "audit");
    rc_status status =
        rc_kafka_read(cli->config, topic, 0, RC_START_BEGINNING, CLI_KAFKA_TIMEOUT_MS, take_record, reading, NULL, err);
    free(topic);
    return status == RC_OK ? RC_OK : rc_cli_broker_error(cli, err);
}

rc_status rc_cli_audit_read(const struct rc_cli *cli, rc_cli_audit_fn fn, void *ctx, struct rc_error *err) {
    struct reading reading = {.fn = fn, .ctx = ctx, .effects = json_object()};
    rc_status status = cli->embedded ? read_kept(cli, &reading, err) : read_topic(cli, &reading, err);
    json_decref(reading.effects);
    return status;
}

struct search {
    const char *kind, *id;
    int version, first;
    char *json;
};

static bool look(void *ctx, const struct rc_audit *entry) {
    struct search *search = ctx;
    if (strcmp(entry->kind, search->kind) != 0 || strcmp(entry->id, search->id) != 0)
        return true;
    if (!search->first)
        search->first = entry->version;
    if (!search->version || entry->version == search->version) {
        free(search->json);
        search->json = rc_strdup(entry->json);
    }
    return true;
}

rc_status rc_cli_audit_find(const struct rc_cli *cli, const char *kind, const char *id, int version, char **out,
                            struct rc_error *err) {
    struct search search = {.kind = kind, .id = id, .version = version};
    rc_status status = rc_cli_audit_read(cli, look, &search, err);
    if (status == RC_OK && search.json) {
        *out = search.json;
        return RC_OK;
    }
    free(search.json);
    if (status != RC_OK)
        return RC_FAIL;
    if (!search.first)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                            "the audit trail knows no %s \"%s\"; `rollcall history` shows what it knows", kind, id);
    return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                        "the audit trail of %s/%s begins with version %d and holds no version %d; `rollcall history %s "
                        "%s` shows what it holds",
                        kind, id, search.first, version, kind, id);
}
