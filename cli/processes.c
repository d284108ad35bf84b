/* The mistake that this prevents: a status that hangs on the one process that is dead. All are asked at once, with one limit. */
#include "cli/processes.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "codec/person_key.h"
#include "kafka/read.h"
#include "kafka/topics.h"

#define MAX_ANSWER ((size_t)64 << 20)
#define OWNER_TIMEOUT_MS 3000

int64_t rc_cli_json_int(const json_t *object, const char *key, int64_t fallback) {
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value)
           : json_is_real(value)  ? (int64_t)json_real_value(value)
                                  : fallback;
}

double rc_cli_json_real(const json_t *object, const char *key, double fallback) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

const char *rc_cli_json_text(const json_t *object, const char *key, const char *fallback) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : fallback;
}

static void process_deinit(struct rc_cli_process *process) {
    free(process->key);
    free(process->problem);
    json_decref(process->record);
    json_decref(process->section);
    json_decref(process->status);
}

void rc_cli_processes_deinit(struct rc_cli_processes *processes) {
    for (size_t i = 0; i < processes->n; i++)
        process_deinit(&processes->items[i]);
    free(processes->items);
    *processes = (struct rc_cli_processes){0};
}

/* The last record of a key counts; a tombstone takes it away. */
static bool take_record(void *ctx, const struct rc_message *message) {
    struct rc_cli_processes *processes = ctx;
    char *key = rc_span_dup(message->key);
    for (size_t i = 0; i < processes->n; i++) {
        if (strcmp(processes->items[i].key, key) == 0) {
            process_deinit(&processes->items[i]);
            processes->items[i] = processes->items[--processes->n];
            break;
        }
    }
    json_t *record = message->null_value ? NULL : json_loadb(message->value.data, message->value.len, 0, NULL);
    if (!json_is_object(record)) {
        json_decref(record);
        free(key);
        return true;
    }
    rc_grow(&processes->items, &processes->capacity, processes->n + 1, sizeof *processes->items);
    processes->items[processes->n++] = (struct rc_cli_process){.key = key, .record = record};
    return true;
}

/* ---- asking ---------------------------------------------------------------------------------------------------------------- */

/* One address: a process that holds several consumers is asked once. */
struct question {
    const char *host;
    int64_t port;
    CURL *handle;
    struct rc_buf answer;
    CURLcode code;
    long status;
    bool done;
};

static size_t take_bytes(char *data, size_t size, size_t n, void *ctx) {
    struct question *question = ctx;
    return rc_buf_add(&question->answer, data, size * n) == RC_OK ? size * n : 0;
}

static CURL *open_handle(const char *host, int64_t port, const char *path, int timeout_ms) {
    struct rc_buf url;
    rc_buf_init(&url, MAX_ANSWER);
    bool v6 = strchr(host, ':') != NULL;
    rc_buf_printf(&url, "http://%s%s%s:%lld%s", v6 ? "[" : "", host, v6 ? "]" : "", (long long)port, path);
    CURL *handle = curl_easy_init();
    if (!handle)
        abort();
    curl_easy_setopt(handle, CURLOPT_URL, url.data); /* copied */
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_PROXY, "");
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    rc_buf_deinit(&url);
    return handle;
}

static void ask(CURLM *multi, struct question *question, int timeout_ms) {
    rc_buf_init(&question->answer, MAX_ANSWER);
    question->handle = open_handle(question->host, question->port, "/status", timeout_ms);
    question->code = CURLE_OPERATION_TIMEDOUT;
    curl_easy_setopt(question->handle, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(question->handle, CURLOPT_WRITEDATA, question);
    curl_easy_setopt(question->handle, CURLOPT_PRIVATE, question);
    curl_multi_add_handle(multi, question->handle);
}

static void collect(CURLM *multi) {
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(multi, &left)) != NULL) {
        char *private = NULL;
        if (message->msg != CURLMSG_DONE ||
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private) != CURLE_OK)
            continue;
        struct question *question = (void *)private;
        question->code = message->data.result;
        question->done = true;
        curl_easy_getinfo(question->handle, CURLINFO_RESPONSE_CODE, &question->status);
    }
}

static void wait_for_answers(CURLM *multi, int timeout_ms) {
    int64_t until = rc_clock_monotonic_ms() + timeout_ms;
    int running = 1;
    while (curl_multi_perform(multi, &running) == CURLM_OK && running > 0 && rc_clock_monotonic_ms() < until)
        curl_multi_poll(multi, NULL, 0, 100, NULL);
    collect(multi);
}

static void set_answer(struct rc_cli_process *process, const struct question *question) {
    json_t *status = NULL;
    if (question->done && question->code == CURLE_OK && question->status == 200)
        status = json_loadb(question->answer.data, question->answer.len, 0, NULL);
    if (status) {
        process->status = status;
        const char *role = rc_cli_json_text(process->record, "role", "");
        process->section = json_incref(json_object_get(json_object_get(status, "roles"), role));
        if (!process->section)
            process->problem = rc_strdup("another process answers at its address");
        return;
    }
    char why[256];
    if (question->code != CURLE_OK)
        snprintf(why, sizeof why, "%s", curl_easy_strerror(question->code));
    else if (question->status != 200)
        snprintf(why, sizeof why, "HTTP status %ld", question->status);
    else
        snprintf(why, sizeof why, "its answer is not JSON");
    process->problem = rc_strdup(why);
}

static void ask_all(struct rc_cli_processes *processes, int timeout_ms) {
    struct question *questions = rc_calloc(processes->n, sizeof *questions);
    size_t *which = rc_calloc(processes->n, sizeof *which);
    size_t n = 0;
    CURLM *multi = curl_multi_init();
    if (!multi)
        abort();
    for (size_t i = 0; i < processes->n; i++) {
        const char *host = rc_cli_json_text(processes->items[i].record, "host", "127.0.0.1");
        int64_t port = rc_cli_json_int(processes->items[i].record, "port", 0);
        size_t q = 0;
        while (q < n && !(questions[q].port == port && strcmp(questions[q].host, host) == 0))
            q++;
        which[i] = q;
        if (q < n)
            continue;
        questions[n++] = (struct question){.host = host, .port = port};
        ask(multi, &questions[q], timeout_ms);
    }
    wait_for_answers(multi, timeout_ms);
    for (size_t i = 0; i < processes->n; i++)
        set_answer(&processes->items[i], &questions[which[i]]);
    for (size_t q = 0; q < n; q++) {
        curl_multi_remove_handle(multi, questions[q].handle);
        curl_easy_cleanup(questions[q].handle);
        rc_buf_deinit(&questions[q].answer);
    }
    curl_multi_cleanup(multi);
    free(which);
    free(questions);
}

static size_t append_bytes(char *data, size_t size, size_t n, void *out) {
    return rc_buf_add(out, data, size * n) == RC_OK ? size * n : 0;
}

void rc_cli_process_ask(const struct rc_cli_process *process, bool post, const char *path, int timeout_ms, long *status,
                        struct rc_buf *out) {
    CURL *handle = open_handle(rc_cli_json_text(process->record, "host", "127.0.0.1"),
                               rc_cli_json_int(process->record, "port", 0), path, timeout_ms);
    *status = 0;
    if (post)
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, append_bytes);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, out);
    CURLcode code = curl_easy_perform(handle);
    if (code == CURLE_OK)
        curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, status);
    else
        rc_buf_add_str(out, curl_easy_strerror(code));
    curl_easy_cleanup(handle);
}

/* Whether the process has said that it holds the person's partition, as far as the records tell how many there are. */
static bool may_hold(const struct rc_cli_processes *processes, const struct rc_cli_process *process, const char *role,
                     const char *person) {
    int64_t n = 0;
    size_t i;
    const json_t *number;
    for (size_t p = 0; p < processes->n; p++) {
        if (strcmp(rc_cli_json_text(processes->items[p].record, "role", ""), role) != 0)
            continue;
        json_array_foreach(json_object_get(processes->items[p].record, "partitions"), i, number) {
            n = json_integer_value(number) >= n ? json_integer_value(number) + 1 : n;
        }
    }
    json_array_foreach(json_object_get(process->record, "partitions"), i, number) {
        if (json_integer_value(number) == rc_person_key_partition(rc_span_str(person), (int32_t)n))
            return true;
    }
    return false;
}

/* The processes of a role, those who are likely to hold the person first. */
static const struct rc_cli_process **candidates(const struct rc_cli_processes *processes, const char *role,
                                                const char *person, size_t *n) {
    const struct rc_cli_process **list = rc_calloc(processes->n + 1, sizeof *list);
    *n = 0;
    for (int likely = 1; likely >= 0; likely--)
        for (size_t i = 0; i < processes->n; i++)
            if (strcmp(rc_cli_json_text(processes->items[i].record, "role", ""), role) == 0 &&
                may_hold(processes, &processes->items[i], role, person) == (likely == 1))
                list[(*n)++] = &processes->items[i];
    return list;
}

rc_status rc_cli_ask_owner(const struct rc_cli_processes *processes, const char *role, const char *path,
                           const char *person, json_t **out, struct rc_error *err) {
    enum { TRY_ANOTHER = 421, BUSY = 503 };
    size_t n;
    const struct rc_cli_process **list = candidates(processes, role, person, &n);
    char *escaped = curl_easy_escape(NULL, person, 0);
    struct rc_buf url, answer;
    json_t *json = NULL;
    long status = 0;
    bool busy = false;
    rc_buf_init(&url, MAX_ANSWER);
    rc_buf_init(&answer, MAX_ANSWER);
    rc_buf_printf(&url, "%s?person=%s", path, escaped);
    curl_free(escaped);
    for (size_t i = 0; i < n && !json; i++) {
        rc_buf_reset(&answer);
        rc_cli_process_ask(list[i], false, url.data, OWNER_TIMEOUT_MS, &status, &answer);
        busy |= status == BUSY;
        if (status != 0 && status != TRY_ANOTHER && status != BUSY)
            json = json_loadb(answer.data, answer.len, 0, NULL);
    }
    free(list);
    rc_buf_deinit(&url);
    rc_buf_deinit(&answer);
    if (json && status == 200) {
        *out = json;
        return RC_OK;
    }
    if (json)
        rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s",
                     rc_cli_json_text(json, "error", "an answer that is none"));
    else if (busy)
        rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_TEMPORARY,
                     "the %s process that holds the person is starting or busy; try again", role);
    else
        rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE,
                     "no %s process that holds the person answers (%zu known)", role, n);
    json_decref(json);
    return RC_FAIL;
}

static int by_role(const void *a, const void *b) {
    const struct rc_cli_process *x = a, *y = b;
    int order = strcmp(rc_cli_json_text(x->record, "role", ""), rc_cli_json_text(y->record, "role", ""));
    return order ? order : strcmp(x->key, y->key);
}

rc_status rc_cli_processes_read(const struct rc_cli *cli, int timeout_ms, struct rc_cli_processes *out,
                                struct rc_error *err) {
    char *topic = rc_topic_name(cli->config, "processes");
    struct rc_cli_processes processes = {0};
    rc_status status = rc_kafka_read(cli->config, topic, RC_ALL_PARTITIONS, RC_START_BEGINNING, CLI_KAFKA_TIMEOUT_MS,
                                     take_record, &processes, NULL, err);
    free(topic);
    if (status != RC_OK) {
        rc_cli_processes_deinit(&processes);
        return rc_cli_broker_error(cli, err);
    }
    if (processes.n) {
        if (timeout_ms > 0)
            ask_all(&processes, timeout_ms);
        qsort(processes.items, processes.n, sizeof *processes.items, by_role);
    }
    *out = processes;
    return RC_OK;
}
