/* Owns how the bytes of a record are shown to a person. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/applied.h"
#include "cli/deadletters_index.h"
#include "cli/json.h"
#include "codec/avro_json.h"
#include "codec/framing.h"
#include "codec/registry.h"
#include "consumers/shared/deadletter.h"
#include "kafka/read.h"
#include "kafka/topics.h"

#define HEX_ROW 16
#define HEX_MAX ((size_t)64 << 10) /* more on a terminal helps nobody; --raw has all */

/* A dead letter as it lies on the topic; all copied. */
struct shown {
    struct rc_cli_letter_id id;
    bool found;
    int64_t time_ms;
    bool null_key, null_value;
    char *key, *value; /* owned */
    size_t key_len, value_len;
    struct rc_header *headers; /* texts owned */
    size_t n_headers;
};

static bool take(void *ctx, const struct rc_message *message) {
    struct shown *shown = ctx;
    if (message->offset != shown->id.offset)
        return false; /* retention has taken it, or it is no record's */
    shown->found = true;
    shown->time_ms = message->timestamp_ms;
    shown->null_key = message->null_key;
    shown->null_value = message->null_value;
    shown->key = rc_span_dup(message->key);
    shown->key_len = message->key.len;
    shown->value = rc_span_dup(message->value);
    shown->value_len = message->value.len;
    shown->n_headers = rc_message_headers(message, NULL, 0);
    shown->headers = rc_calloc(shown->n_headers + 1, sizeof *shown->headers);
    rc_message_headers(message, shown->headers, shown->n_headers);
    for (size_t i = 0; i < shown->n_headers; i++) {
        struct rc_header *header = &shown->headers[i];
        header->name.data = rc_span_dup(header->name);
        header->value.data = rc_span_dup(header->value);
    }
    return false;
}

static void forget(struct shown *shown) {
    for (size_t i = 0; i < shown->n_headers; i++) {
        free((char *)(uintptr_t)shown->headers[i].name.data);
        free((char *)(uintptr_t)shown->headers[i].value.data);
    }
    free(shown->headers);
    free(shown->key);
    free(shown->value);
}

/* ---- bytes as something to read ---- */

/* NULL when the bytes are no text: not UTF-8, or with control characters. */
static json_t *as_text(struct rc_span bytes) {
    for (size_t i = 0; i < bytes.len; i++)
        if (iscntrl((unsigned char)bytes.data[i]) && bytes.data[i] != '\n' && bytes.data[i] != '\t')
            return NULL;
    return json_stringn(bytes.data ? bytes.data : "", bytes.len);
}

static json_t *as_hex(struct rc_span bytes) {
    char *text = rc_alloc(bytes.len * 2 + 1);
    for (size_t i = 0; i < bytes.len; i++)
        snprintf(text + 2 * i, 3, "%02x", (unsigned char)bytes.data[i]);
    text[bytes.len * 2] = '\0';
    json_t *json = json_string(text);
    free(text);
    return json;
}

static void print_hex(struct rc_span bytes) {
    size_t shown = bytes.len < HEX_MAX ? bytes.len : HEX_MAX;
    for (size_t at = 0; at < shown; at += HEX_ROW) {
        printf("  %08zx ", at);
        for (size_t i = at; i < at + HEX_ROW; i++) {
            if (i < shown)
                printf(" %02x", (unsigned char)bytes.data[i]);
            else
                printf("   ");
        }
        printf("  ");
        for (size_t i = at; i < at + HEX_ROW && i < shown; i++)
            putchar(isprint((unsigned char)bytes.data[i]) ? bytes.data[i] : '.');
        putchar('\n');
    }
    if (shown < bytes.len)
        printf("  … %zu bytes more; --raw has all\n", bytes.len - shown);
}

/* The whole value by one schema, or NULL. */
static json_t *by_schema(const char *text, struct rc_span bytes) {
    struct rc_avro_schema *schema;
    struct rc_error err;
    json_t *json = NULL;
    if (!text || rc_avro_schema_new(text, &schema, &err) != RC_OK)
        return NULL;
    if (rc_avro_to_json(schema, &bytes, &json, &err) == RC_OK && bytes.len > 0) {
        json_decref(json);
        json = NULL;
    }
    rc_avro_schema_free(schema);
    return json;
}

/* The Avro value as a dataset of that topic would read it, or NULL. */
static json_t *as_avro(const struct rc_cli *cli, struct rc_span topic, struct rc_span bytes) {
    struct rc_catalog *catalog;
    struct rc_error err;
    json_t *json = NULL;
    if (rc_cli_applied_catalog(cli, &catalog, &err) != RC_OK)
        return NULL;
    const char *url = rc_config_text(cli->config, "registry.url");
    for (size_t i = 0; !json && i < catalog->n_datasets; i++) {
        const struct rc_dataset *dataset = &catalog->datasets[i];
        if (dataset->format != RC_FORMAT_AVRO || !rc_span_equal(topic, rc_span_str(dataset->topic)))
            continue;
        if (dataset->framing == RC_FRAMING_PLAIN) {
            json = by_schema(dataset->schema, bytes);
            continue;
        }
        int32_t id;
        struct rc_span datum = bytes;
        struct rc_registry *registry;
        const char *schema;
        if (!*url || rc_framing_take(&datum, &id) != RC_OK || rc_registry_open(url, 0, &registry, &err) != RC_OK)
            continue;
        if (rc_registry_schema(registry, id, &schema, &err) == RC_OK)
            json = by_schema(schema, datum);
        rc_registry_close(registry);
    }
    rc_catalog_free(catalog);
    return json;
}

struct readable {
    const char *format; /* "none", "avro", "text" or "hex" */
    json_t *json;       /* owned */
};

static struct readable read_bytes(const struct rc_cli *cli, const struct rc_span *topic, bool null,
                                  struct rc_span bytes) {
    json_t *json;
    if (null)
        return (struct readable){"none", json_null()};
    if (topic && (json = as_avro(cli, *topic, bytes)) != NULL)
        return (struct readable){"avro", json};
    if ((json = as_text(bytes)) != NULL)
        return (struct readable){"text", json};
    return (struct readable){"hex", as_hex(bytes)};
}

/* ---- printing ---- */

static void print_part(const char *name, const struct readable *part, struct rc_span bytes) {
    if (strcmp(part->format, "none") == 0) {
        printf("%s: none\n", name);
        return;
    }
    printf("%s (%zu bytes%s):\n", name, bytes.len, strcmp(part->format, "avro") == 0 ? ", avro" : "");
    if (strcmp(part->format, "text") == 0) {
        printf("  %s\n", json_string_value(part->json));
    } else if (strcmp(part->format, "hex") == 0) {
        print_hex(bytes);
    } else {
        char *text = json_dumps(part->json, JSON_INDENT(2) | JSON_ENCODE_ANY);
        printf("%s\n", text ? text : "");
        free(text);
    }
}

static void print_shown(const struct rc_cli *cli, const struct shown *shown) {
    struct rc_span key = rc_span_of(shown->key, shown->key_len), value = rc_span_of(shown->value, shown->value_len);
    struct rc_deadletter letter;
    bool sound = rc_deadletter_read(shown->headers, shown->n_headers, &letter);
    struct readable keys = read_bytes(cli, NULL, shown->null_key, key),
                    values = read_bytes(cli, sound ? &letter.topic : NULL, shown->null_value, value);
    json_t *headers = json_array();
    for (size_t i = 0; i < shown->n_headers; i++) {
        struct readable one = read_bytes(cli, NULL, false, shown->headers[i].value);
        json_t *header = json_object();
        json_t *name = as_text(shown->headers[i].name);
        json_object_set_new(header, "name", name ? name : as_hex(shown->headers[i].name));
        json_object_set(header, "value", one.json);
        if (strcmp(one.format, "hex") == 0)
            json_object_set_new(header, "format", json_string("hex"));
        json_decref(one.json);
        json_array_append_new(headers, header);
    }
    if (rc_cli_has(cli, "json")) {
        rc_cli_json_print(json_pack("{s:o, s:I, s:O, s:s, s:O, s:s, s:O}", "id",
                                    json_sprintf("%" PRId32 ":%" PRId64, shown->id.partition, shown->id.offset), "time",
                                    (json_int_t)shown->time_ms, "headers", headers, "keyFormat", keys.format, "key",
                                    keys.json, "valueFormat", values.format, "value", values.json));
    } else {
        char time[25];
        printf("%" PRId32 ":%" PRId64 ", %s\n", shown->id.partition, shown->id.offset,
               rc_cli_time(shown->time_ms, time));
        size_t i;
        json_t *header;
        json_array_foreach(headers, i, header) printf("  %s: %s\n", json_string_value(json_object_get(header, "name")),
                                                      json_string_value(json_object_get(header, "value")));
        print_part("key", &keys, key);
        print_part("value", &values, value);
    }
    json_decref(headers);
    json_decref(keys.json);
    json_decref(values.json);
}

rc_status rc_cli_deadletters_show(struct rc_cli *cli, const char *id, struct rc_error *err) {
    struct shown shown = {0};
    if (rc_cli_letter_id_parse(cli, id, &shown.id, err) != RC_OK)
        return RC_FAIL;
    char *topic = rc_topic_name(cli->config, "deadletters");
    rc_status status = rc_kafka_read(cli->config, topic, shown.id.partition, shown.id.offset, CLI_KAFKA_TIMEOUT_MS,
                                     take, &shown, NULL, err);
    if (status != RC_OK)
        status = rc_cli_broker_error(cli, err);
    else if (!shown.found)
        status = rc_error_set(
            err, RC_CLASS_FATAL, RC_EXIT_DATA,
            "there is no dead letter %s on %s; `rollcall deadletters list` names those that there are", id, topic);
    else if (rc_cli_has(cli, "raw"))
        fwrite(shown.value, 1, shown.value_len, stdout);
    else
        print_shown(cli, &shown);
    forget(&shown);
    free(topic);
    return status;
}
