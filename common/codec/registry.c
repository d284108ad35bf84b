#include "codec/registry.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"

#define ANSWER_MAX ((size_t)8 << 20)
#define TIMEOUT_MS 5000
#define UNKNOWN_FOR_MS \
    10000 /* an unknown id is not asked for again before: many bad records are not as many requests */
#define REFERENCES_MAX 64
#define ENTRIES_MAX 1000 /* from then on an unknown id takes the place of another unknown one */

struct entry {
    int32_t id;
    char *schema;     /* owned; NULL: not known, until `retry_ms` */
    char *why;        /* then the message; owned */
    int64_t retry_ms; /* monotonic */
};

struct rc_registry {
    char *url;  /* without a slash at the end and without user and password; owned */
    char *user; /* "user:password", or NULL; owned */
    long timeout_ms;
    pthread_mutex_t lock; /* over all below; held through a request, so one id is asked for once */
    CURL *curl;
    struct entry *entries; /* owned; few */
    size_t n, capacity;
};

static void once(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* Takes user and password out of the URL: they go in a header, and never into a message. */
static rc_status split_url(const char *url, char **out_url, char **out_user, struct rc_error *err) {
    CURLU *parts = curl_url();
    char *text = NULL, *user = NULL, *password = NULL;
    CURLUcode code = curl_url_set(parts, CURLUPART_URL, url, 0);
    if (!code) {
        curl_url_get(parts, CURLUPART_USER, &user, CURLU_URLDECODE);
        curl_url_get(parts, CURLUPART_PASSWORD, &password, CURLU_URLDECODE);
        curl_url_set(parts, CURLUPART_USER, NULL, 0);
        curl_url_set(parts, CURLUPART_PASSWORD, NULL, 0);
        code = curl_url_get(parts, CURLUPART_URL, &text, 0);
    }
    rc_status status = RC_OK;
    if (code || (strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0)) {
        status = rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "registry.url is no http or https URL: %s",
                              code ? curl_url_strerror(code) : text);
    } else {
        *out_url = rc_strdup(text);
        for (size_t n = strlen(*out_url); n && (*out_url)[n - 1] == '/'; n--)
            (*out_url)[n - 1] = '\0';
        *out_user = NULL;
        if (user) {
            size_t bytes = strlen(user) + (password ? strlen(password) : 0) + 2;
            *out_user = rc_alloc(bytes);
            snprintf(*out_user, bytes, "%s:%s", user, password ? password : "");
        }
    }
    curl_free(text);
    curl_free(user);
    curl_free(password);
    curl_url_cleanup(parts);
    return status;
}

rc_status rc_registry_open(const char *url, int64_t timeout_ms, struct rc_registry **out, struct rc_error *err) {
    static pthread_once_t started = PTHREAD_ONCE_INIT;
    pthread_once(&started, once);
    char *plain, *user;
    if (split_url(url, &plain, &user, err) != RC_OK)
        return RC_FAIL;
    struct rc_registry *registry = rc_calloc(1, sizeof *registry);
    registry->url = plain;
    registry->user = user;
    registry->timeout_ms = timeout_ms > 0 ? (long)timeout_ms : TIMEOUT_MS;
    registry->curl = curl_easy_init();
    pthread_mutex_init(&registry->lock, NULL);
    *out = registry;
    return RC_OK;
}

void rc_registry_close(struct rc_registry *registry) {
    if (!registry)
        return;
    curl_easy_cleanup(registry->curl);
    for (size_t i = 0; i < registry->n; i++) {
        free(registry->entries[i].schema);
        free(registry->entries[i].why);
    }
    free(registry->entries);
    free(registry->url);
    if (registry->user) {
        explicit_bzero(registry->user, strlen(registry->user));
        free(registry->user);
    }
    pthread_mutex_destroy(&registry->lock);
    free(registry);
}

static size_t receive(char *data, size_t size, size_t n, void *ctx) {
    return rc_buf_add(ctx, data, size * n) == RC_OK ? size * n : 0;
}

/* One request; with `body` a POST. `*out` is the answer (owned by the caller). What the answer's status means is
 * decided here. */
static rc_status request(struct rc_registry *r, const char *path, const char *body, json_t **out,
                         struct rc_error *err) {
    struct rc_buf url, answer;
    rc_buf_init(&url, 8192);
    rc_buf_init(&answer, ANSWER_MAX);
    rc_buf_printf(&url, "%s%s", r->url, path);
    struct curl_slist *headers =
        curl_slist_append(NULL, "Accept: application/vnd.schemaregistry.v1+json, application/json");
    if (body)
        headers = curl_slist_append(headers, "Content-Type: application/vnd.schemaregistry.v1+json");

    curl_easy_reset(r->curl); /* keeps the connection */
    curl_easy_setopt(r->curl, CURLOPT_URL, url.data);
    curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(r->curl, CURLOPT_TIMEOUT_MS, r->timeout_ms);
    curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(r->curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(r->curl, CURLOPT_MAXREDIRS, 3L);
    curl_easy_setopt(r->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(r->curl, CURLOPT_USERAGENT, "rollcall/" RC_VERSION);
    if (r->user) {
        curl_easy_setopt(r->curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(r->curl, CURLOPT_USERPWD, r->user);
    }
    if (body)
        curl_easy_setopt(r->curl, CURLOPT_POSTFIELDS, body);
    CURLcode code = curl_easy_perform(r->curl);
    curl_slist_free_all(headers);

    rc_status status = RC_OK;
    long http = 0;
    curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &http);
    json_t *json = code ? NULL : json_loadb(answer.data ? answer.data : "", answer.len, 0, NULL);
    const char *said = json_string_value(json_object_get(json, "message"));
    if (code) {
        status = rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE, "schema registry %s: %s", r->url,
                              curl_easy_strerror(code));
    } else if (http == 404) {
        status = rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "schema registry %s: %s: %s", r->url, path,
                              said ? said : "not found");
    } else if (http == 409 || http == 422) {
        status =
            rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "schema registry %s refuses the schema (HTTP %ld): %s",
                         r->url, http, said ? said : "no reason given");
    } else if (http != 200) {
        status =
            rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE, "schema registry %s answers HTTP %ld%s%s%s", r->url,
                         http, said ? ": " : "", said ? said : "",
                         http == 401 || http == 403 ? " (give user and password as http://user:password@host)" : "");
    } else if (!json) {
        status = rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE,
                              "schema registry %s answers what is no JSON; is it the right URL?", r->url);
    }
    if (status == RC_OK)
        *out = json;
    else
        json_decref(json);
    rc_buf_deinit(&url);
    rc_buf_deinit(&answer);
    return status;
}

/* Appends a subject's name as one segment of a path. */
static rc_status add_escaped(struct rc_buf *out, const char *text) {
    char *escaped = curl_easy_escape(NULL, text, 0);
    rc_status status = rc_buf_add_str(out, escaped ? escaped : "");
    curl_free(escaped);
    return status;
}

static rc_status get_version(struct rc_registry *r, const char *subject, int64_t version, json_t **out,
                             struct rc_error *err) {
    struct rc_buf path;
    rc_buf_init(&path, 4096);
    rc_buf_add_str(&path, "/subjects/");
    add_escaped(&path, subject);
    if (version < 0)
        rc_buf_add_str(&path, "/versions/latest");
    else
        rc_buf_printf(&path, "/versions/%" PRId64, version);
    rc_status status = request(r, path.data, NULL, out, err);
    rc_buf_deinit(&path);
    return status;
}

/* Puts the types that `json` uses from other subjects in the places where it first names them, so that the schema
 * stands for itself. `defined`: names already written out. */
struct inlining {
    struct rc_registry *registry;
    json_t *references; /* full name → schema; owned */
    json_t *defined;    /* full name → true; owned */
    int left;           /* references that may still be asked for */
};

static json_t *write_out(struct inlining *in, json_t *json, const char *namespace) {
    if (json_is_string(json)) {
        const char *name = json_string_value(json);
        char full[1024];
        snprintf(full, sizeof full, "%s%s%s", namespace && *namespace ? namespace : "",
                 namespace && *namespace ? "." : "", name);
        const char *known = strchr(name, '.') || !json_object_get(in->references, full) ? name : full;
        json_t *schema = json_object_get(in->references, known);
        if (!schema || json_object_get(in->defined, known))
            return json_incref(json);
        json_object_set_new(in->defined, known, json_true());
        return write_out(in, schema, NULL);
    }
    if (json_is_array(json)) {
        json_t *copy = json_array(), *item;
        size_t i;
        json_array_foreach(json, i, item) json_array_append_new(copy, write_out(in, item, namespace));
        return copy;
    }
    if (!json_is_object(json))
        return json_incref(json);
    const char *own = json_string_value(json_object_get(json, "namespace")),
               *name = json_string_value(json_object_get(json, "name"));
    const char *dot = name ? strrchr(name, '.') : NULL;
    char *inner = dot ? rc_span_dup(rc_span_of(name, (size_t)(dot - name)))
                      : rc_strdup(own         ? own
                                  : namespace ? namespace
                                              : "");
    json_t *copy = json_copy(json);
    static const char *const places[] = {"type", "items", "values"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        json_t *below = json_object_get(json, places[i]);
        if (below)
            json_object_set_new(copy, places[i], write_out(in, below, inner));
    }
    json_t *fields = json_object_get(json, "fields"), *field;
    if (json_is_array(fields)) {
        json_t *written = json_array();
        size_t i;
        json_array_foreach(fields, i, field) {
            json_t *one = json_copy(field), *type = json_object_get(field, "type");
            if (type)
                json_object_set_new(one, "type", write_out(in, type, inner));
            json_array_append_new(written, one);
        }
        json_object_set_new(copy, "fields", written);
    }
    free(inner);
    return copy;
}

static rc_status fetch_references(struct inlining *in, const json_t *answer, struct rc_error *err) {
    const json_t *list = json_object_get(answer, "references"), *reference;
    size_t i;
    json_array_foreach(list, i, reference) {
        const char *name = json_string_value(json_object_get(reference, "name"));
        const char *subject = json_string_value(json_object_get(reference, "subject"));
        json_int_t version = json_integer_value(json_object_get(reference, "version"));
        if (!name || !subject || json_object_get(in->references, name))
            continue;
        if (in->left-- == 0)
            return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "schema registry: more than %d references",
                                REFERENCES_MAX);
        json_t *got;
        if (get_version(in->registry, subject, version, &got, err) != RC_OK)
            return RC_FAIL;
        const char *text = json_string_value(json_object_get(got, "schema"));
        json_t *schema = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
        rc_status status = RC_OK;
        if (schema) {
            json_object_set_new(in->references, name, schema);
            status = fetch_references(in, got, err);
        }
        json_decref(got);
        if (status != RC_OK)
            return RC_FAIL;
    }
    return RC_OK;
}

/* The schema in an answer, owned by the caller. */
static rc_status schema_of(struct rc_registry *r, const json_t *answer, const char *what, char **out,
                           struct rc_error *err) {
    const char *type = json_string_value(json_object_get(answer, "schemaType"));
    const char *text = json_string_value(json_object_get(answer, "schema"));
    if (!text || (type && strcmp(type, "AVRO") != 0))
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "schema registry %s: %s is %s, not Avro", r->url, what,
                            text ? type : "no schema");
    if (json_array_size(json_object_get(answer, "references")) == 0) {
        *out = rc_strdup(text);
        return RC_OK;
    }
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    if (!json)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "schema registry %s: %s is no JSON", r->url, what);
    struct inlining in = {.registry = r, .references = json_object(), .defined = json_object(), .left = REFERENCES_MAX};
    rc_status status = fetch_references(&in, answer, err);
    if (status == RC_OK) {
        json_t *whole = write_out(&in, json, NULL);
        *out = json_dumps(whole, JSON_ENCODE_ANY | JSON_COMPACT);
        json_decref(whole);
    }
    json_decref(in.references);
    json_decref(in.defined);
    json_decref(json);
    return status;
}

static struct entry *find(struct rc_registry *r, int32_t id) {
    struct entry *unknown = NULL;
    for (size_t i = 0; i < r->n; i++) {
        if (r->entries[i].id == id)
            return &r->entries[i];
        if (!r->entries[i].schema)
            unknown = &r->entries[i];
    }
    if (unknown && r->n >= ENTRIES_MAX) {
        free(unknown->why);
        *unknown = (struct entry){.id = id};
        return unknown;
    }
    rc_grow(&r->entries, &r->capacity, r->n + 1, sizeof *r->entries);
    r->entries[r->n] = (struct entry){.id = id};
    return &r->entries[r->n++];
}

static rc_status schema_locked(struct rc_registry *r, int32_t id, const char **out, struct rc_error *err) {
    for (size_t i = 0; i < r->n; i++) {
        struct entry *entry = &r->entries[i];
        if (entry->id != id)
            continue;
        if (entry->schema) {
            *out = entry->schema;
            return RC_OK;
        }
        if (rc_clock_monotonic_ms() < entry->retry_ms)
            return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s", entry->why);
    }

    char path[64], what[64], *schema = NULL;
    json_t *answer;
    struct rc_error why = {0};
    snprintf(path, sizeof path, "/schemas/ids/%" PRId32, id);
    snprintf(what, sizeof what, "schema %" PRId32, id);
    rc_status status = request(r, path, NULL, &answer, &why);
    if (status == RC_OK) {
        status = schema_of(r, answer, what, &schema, &why);
        json_decref(answer);
    }
    if (status == RC_OK || why.class == RC_CLASS_POISON) {
        struct entry *entry = find(r, id);
        free(entry->why);
        entry->schema = schema;
        entry->why = schema ? NULL : rc_strdup(why.message);
        entry->retry_ms = rc_clock_monotonic_ms() + UNKNOWN_FOR_MS;
        *out = schema ? schema : *out;
    }
    if (status != RC_OK && err)
        *err = why;
    return status;
}

rc_status rc_registry_schema(struct rc_registry *r, int32_t id, const char **out, struct rc_error *err) {
    if (id < 0) /* our own ids are never negative: no need to ask */
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "schema id %" PRId32 " is negative", id);
    pthread_mutex_lock(&r->lock);
    rc_status status = schema_locked(r, id, out, err);
    pthread_mutex_unlock(&r->lock);
    return status;
}

rc_status rc_registry_register(struct rc_registry *r, const char *subject, const char *schema, int32_t *out_id,
                               struct rc_error *err) {
    struct rc_buf path;
    rc_buf_init(&path, 4096);
    rc_buf_add_str(&path, "/subjects/");
    add_escaped(&path, subject);
    rc_buf_add_str(&path, "/versions");
    json_t *wrapped = json_pack("{s:s}", "schema", schema), *answer = NULL;
    char *body = json_dumps(wrapped, JSON_COMPACT);
    json_decref(wrapped);

    pthread_mutex_lock(&r->lock);
    rc_status status = request(r, path.data, body ? body : "{}", &answer, err);
    pthread_mutex_unlock(&r->lock);
    if (status == RC_OK) {
        const json_t *id = json_object_get(answer, "id");
        if (json_is_integer(id))
            *out_id = (int32_t)json_integer_value(id);
        else
            status = rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE,
                                  "schema registry %s: no id in the answer for subject %s", r->url, subject);
        json_decref(answer);
    } else {
        (void)rc_error_prefix(err, "subject %s", subject);
    }
    free(body);
    rc_buf_deinit(&path);
    return status;
}

rc_status rc_registry_latest(struct rc_registry *r, const char *subject, char **out, int32_t *out_id,
                             struct rc_error *err) {
    json_t *answer;
    pthread_mutex_lock(&r->lock);
    rc_status status = get_version(r, subject, -1, &answer, err);
    char *schema = NULL;
    if (status == RC_OK) {
        status = schema_of(r, answer, subject, &schema, err);
        if (status == RC_OK) {
            *out = schema;
            *out_id = (int32_t)json_integer_value(json_object_get(answer, "id"));
        }
        json_decref(answer);
    }
    pthread_mutex_unlock(&r->lock);
    return status;
}
