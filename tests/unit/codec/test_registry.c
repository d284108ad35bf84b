/* The registry's client against a small registry in this process, and decoding of framed records through it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>

#include "codec/encode.h"
#include "codec/framing.h"
#include "codec/registry.h"
#include "support.h"

static const char v1[] = "{\"type\":\"record\",\"name\":\"E\",\"fields\":[{\"name\":\"id\",\"type\":\"string\"},{"
                         "\"name\":\"n\",\"type\":\"int\"}]}";
static const char v2[] = "{\"type\":\"record\",\"name\":\"E\",\"fields\":[{\"name\":\"n\",\"type\":\"long\"},{\"name\":"
                         "\"id\",\"type\":\"string\"},"
                         "{\"name\":\"x\",\"type\":\"string\",\"default\":\"none\"}]}";

static struct {
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock;
    char url[64];
    int requests;
    unsigned status; /* not 0: the answer to everything */
    bool garbage;
    char last_path[256], last_body[4096], last_authorization[128];
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static unsigned respond(const char *method, const char *path, char *out, size_t size) {
    if (server.status) {
        snprintf(out, size, "{\"error_code\": 50001, \"message\": \"out of order\"}");
        return server.status;
    }
    if (server.garbage) {
        snprintf(out, size, "<html>");
        return 200;
    }
    const char *schema = strcmp(path, "/base/schemas/ids/1") == 0   ? v1
                         : strcmp(path, "/base/schemas/ids/2") == 0 ? v2
                         : strcmp(path, "/base/schemas/ids/3") == 0 ? "{\"type\":\"nonsense\"}"
                                                                    : NULL;
    json_t *json = NULL;
    if (strcmp(method, "POST") == 0 && strcmp(path, "/base/subjects/a%2Fb%20c-value/versions") == 0)
        json = json_pack("{s:i}", "id", 77);
    else if (strcmp(method, "POST") == 0)
        json = json_pack("{s:i, s:s}", "error_code", 409, "message", "incompatible");
    else if (schema)
        json = json_pack("{s:s}", "schema", schema);
    else if (strcmp(path, "/base/schemas/ids/4") == 0)
        json = json_pack("{s:s, s:s}", "schema", "syntax = \"proto3\";", "schemaType", "PROTOBUF");
    else if (strcmp(path, "/base/schemas/ids/5") == 0)
        json = json_pack("{s:s, s:[{s:s, s:s, s:i}]}", "schema",
                         "{\"type\":\"record\",\"name\":\"E\",\"namespace\":\"ns\",\"fields\":[{\"name\":\"id\","
                         "\"type\":\"string\"},"
                         "{\"name\":\"o\",\"type\":\"other.Inner\"},{\"name\":\"o2\",\"type\":[\"null\",\"other."
                         "Inner\"]},{\"name\":\"n\",\"type\":\"long\"}]}",
                         "references", "name", "other.Inner", "subject", "inner", "version", 3);
    else if (strcmp(path, "/base/subjects/inner/versions/3") == 0)
        json = json_pack("{s:s, s:i}", "schema",
                         "{\"type\":\"record\",\"name\":\"Inner\",\"namespace\":\"other\",\"fields\":[{\"name\":\"v\","
                         "\"type\":\"int\"}]}",
                         "id", 9);
    else if (strcmp(path, "/base/subjects/topic-value/versions/latest") == 0)
        json = json_pack("{s:s, s:i, s:i}", "schema", v2, "id", 2, "version", 5);
    unsigned status = json && json_object_get(json, "error_code") ? 409 : json ? 200 : 404;
    if (!json)
        json = json_pack("{s:i, s:s}", "error_code", 40403, "message", "Schema not found");
    char *text = json_dumps(json, JSON_COMPACT);
    snprintf(out, size, "%s", text);
    free(text);
    json_decref(json);
    return status;
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *connection, const char *path, const char *method,
                              const char *version, const char *data, size_t *len, void **request) {
    (void)ctx;
    (void)version;
    static int begun;
    if (!*request) {
        *request = &begun;
        return MHD_YES;
    }
    pthread_mutex_lock(&server.lock);
    if (*len) {
        snprintf(server.last_body, sizeof server.last_body, "%.*s", (int)*len, data);
        *len = 0;
        pthread_mutex_unlock(&server.lock);
        return MHD_YES;
    }
    const char *authorization = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    snprintf(server.last_authorization, sizeof server.last_authorization, "%s", authorization ? authorization : "");
    snprintf(server.last_path, sizeof server.last_path, "%s", path);
    server.requests++;
    char body[4096];
    unsigned status = respond(method, path, body, sizeof body);
    pthread_mutex_unlock(&server.lock);
    struct MHD_Response *response = MHD_create_response_from_buffer(strlen(body), body, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* Paths as they were sent, not unescaped. */
static size_t keep_escapes(void *ctx, struct MHD_Connection *connection, char *text) {
    (void)ctx;
    (void)connection;
    return strlen(text);
}

static int start(void **state) {
    (void)state;
    server.status = 0;
    server.garbage = false;
    server.requests = 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    server.daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, handle, NULL, MHD_OPTION_SOCK_ADDR,
                                     &address, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_END);
    if (!server.daemon)
        return -1;
    unsigned port = MHD_get_daemon_info(server.daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    snprintf(server.url, sizeof server.url, "http://127.0.0.1:%u/base/", port);
    return 0;
}

static int stop(void **state) {
    (void)state;
    if (server.daemon)
        MHD_stop_daemon(server.daemon);
    server.daemon = NULL;
    return 0;
}

static struct rc_registry *open_registry(const char *url) {
    struct rc_registry *registry;
    struct rc_error err;
    if (rc_registry_open(url, 2000, &registry, &err) != RC_OK)
        fail_msg("%s", err.message);
    return registry;
}

static void schemas_are_asked_for_once(void **state) {
    (void)state;
    struct rc_registry *registry = open_registry(server.url);
    const char *schema = NULL, *again = NULL;
    assert_int_equal(rc_registry_schema(registry, 1, &schema, NULL), RC_OK);
    assert_string_equal(schema, v1);
    assert_int_equal(rc_registry_schema(registry, 1, &again, NULL), RC_OK);
    assert_ptr_equal(schema, again);
    assert_int_equal(server.requests, 1);
    assert_string_equal(server.last_authorization, "");
    server.status = 500; /* what is known needs no registry */
    assert_int_equal(rc_registry_schema(registry, 1, &again, NULL), RC_OK);
    rc_registry_close(registry);
}

static void unknown_ids_are_poison(void **state) {
    (void)state;
    struct rc_registry *registry = open_registry(server.url);
    const char *schema = "untouched";
    struct rc_error err;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rc_registry_schema(registry, 99, &schema, &err), RC_FAIL);
        assert_int_equal(err.class, RC_CLASS_POISON);
        assert_non_null(strstr(err.message, "/schemas/ids/99: Schema not found"));
        assert_string_equal(schema, "untouched");
    }
    assert_int_equal(server.requests, 1); /* not asked for again at once */
    assert_int_equal(rc_registry_schema(registry, -5, &schema, &err), RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_POISON);
    assert_int_equal(rc_registry_schema(registry, 4, &schema, &err), RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_POISON);
    assert_non_null(strstr(err.message, "PROTOBUF, not Avro"));
    for (int32_t id = 100; id < 1300; id++)
        assert_int_equal(rc_registry_schema(registry, id, &schema, NULL), RC_FAIL);
    assert_int_equal(rc_registry_schema(registry, 2, &schema, &err), RC_OK);
    assert_string_equal(schema, v2);
    rc_registry_close(registry);
}

static void a_registry_away_is_asked_again(void **state) {
    (void)state;
    struct rc_registry *registry = open_registry(server.url);
    const char *schema;
    struct rc_error err;
    static const unsigned later[] = {500, 503, 429, 408, 401, 403};
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        server.status = later[i];
        assert_int_equal(rc_registry_schema(registry, 1, &schema, &err), RC_FAIL);
        assert_int_equal(err.class, RC_CLASS_RETRY);
        assert_int_equal(err.exit_code, RC_EXIT_UNAVAILABLE);
        assert_non_null(strstr(err.message, "out of order"));
    }
    server.status = 0;
    server.garbage = true;
    assert_int_equal(rc_registry_schema(registry, 1, &schema, &err), RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_RETRY);
    server.garbage = false;
    assert_int_equal(rc_registry_schema(registry, 1, &schema, &err), RC_OK);
    stop(NULL);
    assert_int_equal(rc_registry_schema(registry, 2, &schema, &err), RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_RETRY);
    rc_registry_close(registry);
}

static void passwords_are_sent_and_not_told(void **state) {
    (void)state;
    char url[128];
    assert_true(snprintf(url, sizeof url, "http://me:s%%40cret@%s", server.url + strlen("http://")) < (int)sizeof url);
    struct rc_registry *registry = open_registry(url);
    const char *schema;
    struct rc_error err;
    assert_int_equal(rc_registry_schema(registry, 1, &schema, NULL), RC_OK);
    assert_string_equal(server.last_authorization, "Basic bWU6c0BjcmV0"); /* me:s@cret */
    assert_int_equal(rc_registry_schema(registry, 99, &schema, &err), RC_FAIL);
    assert_null(strstr(err.message, "cret"));
    rc_registry_close(registry);
    static const char *const bad[] = {"", "not a url", "ftp://host/", "http://me:secret@"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(rc_registry_open(bad[i], 0, &registry, &err), RC_FAIL);
        assert_int_equal(err.exit_code, RC_EXIT_CONFIG);
        assert_null(strstr(err.message, "secret"));
    }
}

static void registering(void **state) {
    (void)state;
    struct rc_registry *registry = open_registry(server.url);
    int32_t id = 0;
    struct rc_error err;
    assert_int_equal(rc_registry_register(registry, "a/b c-value", v1, &id, &err), RC_OK);
    assert_int_equal(id, 77);
    json_t *body = json_loads(server.last_body, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(body, "schema")), v1);
    json_decref(body);
    assert_int_equal(rc_registry_register(registry, "other", v1, &id, &err), RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_FATAL);
    assert_non_null(strstr(err.message, "subject other"));
    assert_non_null(strstr(err.message, "incompatible"));
    char *latest;
    assert_int_equal(rc_registry_latest(registry, "topic-value", &latest, &id, &err), RC_OK);
    assert_string_equal(latest, v2);
    assert_int_equal(id, 2);
    free(latest);
    assert_int_equal(rc_registry_latest(registry, "none", &latest, &id, &err), RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_POISON);
    rc_registry_close(registry);
}

static const char dataset_text[] = "{\"format\": \"avro\", \"framing\": \"confluent\", \"schema\": %s, \"person\": "
                                   "{\"namespace\": \"n\", \"id\": {\"path\": \"id\"}},"
                                   " \"timestamp\": {\"kafka\": \"timestamp\"}, \"event_id\": {\"path\": \"id\"}, "
                                   "\"fields\": {\"n\": {\"path\": \"n\", \"type\": \"long\"}}}";

static const char *decode_framed(struct rc_decoder *decoder, const struct rc_dataset *d, int32_t id, const char *schema,
                                 const char *json) {
    struct rc_encoder *encoder;
    struct rc_buf value;
    rc_buf_init(&value, 1000);
    (void)rc_framing_add(&value, id);
    if (schema) {
        json_t *parsed = json_loads(json, 0, NULL);
        assert_int_equal(rc_encoder_new(schema, "w", &encoder, NULL), RC_OK);
        assert_int_equal(rc_encode(encoder, parsed, &value, NULL), RC_OK);
        rc_encoder_free(encoder);
        json_decref(parsed);
    }
    struct rc_record record = {.value = rc_buf_span(&value), .timestamp_ms = 5};
    const char *line = test_decode(decoder, d, &record);
    rc_buf_deinit(&value);
    return line;
}

static void framed_records(void **state) {
    (void)state;
    struct rc_registry *registry = open_registry(server.url);
    char text[2048];
    snprintf(text, sizeof text, dataset_text, v2);
    struct rc_dataset *d = test_dataset(text);
    struct rc_decoder *decoder;
    const struct rc_decoder_options options = {.registry = registry, .max_ahead_ms = -1};
    assert_int_equal(rc_decoder_new(d, &options, &decoder, NULL), RC_OK);
    for (int i = 0; i < 3; i++) { /* writers in turn */
        assert_string_equal(decode_framed(decoder, d, 1, v1, "{\"id\": \"a\", \"n\": 4}"), "n:a @5 #a n=4");
        assert_string_equal(decode_framed(decoder, d, 2, v2, "{\"id\": \"b\", \"n\": 5, \"x\": \"y\"}"),
                            "n:b @5 #b n=5");
    }
    assert_int_equal(server.requests, 2);
    assert_string_equal(
        decode_framed(
            decoder, d, 5,
            "{\"type\":\"record\",\"name\":\"E\",\"fields\":[{\"name\":\"id\",\"type\":\"string\"},"
            "{\"name\":\"o\",\"type\":\"int\"},{\"name\":\"o2\",\"type\":\"int\"},{\"name\":\"v\",\"type\":\"int\"},"
            "{\"name\":\"n\",\"type\":\"long\"}]}",
            "{\"id\": \"r\", \"o\": 1, \"o2\": 1, \"v\": 8, \"n\": 6}"),
        "n:r @5 #r n=6"); /* a schema with a reference, used twice */
    assert_non_null(strstr(decode_framed(decoder, d, 99, NULL, ""), "bad: wrong schema id: "));
    assert_int_equal(rc_decoder_reason(decoder), RC_REASON_WRONG_SCHEMA_ID);
    for (int i = 0; i < 2; i++)
        assert_non_null(
            strstr(decode_framed(decoder, d, 3, NULL, ""), "bad: wrong schema id: schema 3 of the registry"));
    assert_non_null(strstr(decode_framed(decoder, d, 4, NULL, ""), "bad: wrong schema id: "));
    assert_non_null(strstr(decode_framed(decoder, d, 1, NULL, ""), "bad: broken avro: "));
    struct rc_record record = {.value = {"\0\0\0\1", 4}, .timestamp_ms = 5};
    assert_non_null(strstr(test_decode(decoder, d, &record), "bad: broken framing: 4 bytes"));
    record.value = rc_span_str("{\"id\": 1}");
    assert_non_null(strstr(test_decode(decoder, d, &record), "bad: broken framing: "));
    server.status = 503;
    assert_non_null(strstr(decode_framed(decoder, d, 6, NULL, ""), "again: "));
    assert_string_equal(decode_framed(decoder, d, 1, v1, "{\"id\": \"a\", \"n\": 4}"), "n:a @5 #a n=4");
    rc_decoder_free(decoder);
    test_dataset_free(d);
    rc_registry_close(registry);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(schemas_are_asked_for_once, start, stop),
        cmocka_unit_test_setup_teardown(unknown_ids_are_poison, start, stop),
        cmocka_unit_test_setup_teardown(a_registry_away_is_asked_again, start, stop),
        cmocka_unit_test_setup_teardown(passwords_are_sent_and_not_told, start, stop),
        cmocka_unit_test_setup_teardown(registering, start, stop),
        cmocka_unit_test_setup_teardown(framed_records, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
