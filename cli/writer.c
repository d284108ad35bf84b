/* Owns the way of a change onto the topics. The mistakes that it prevents: an `apply` that says "created" about something that a kill a moment
 * later would undo; a consumer that takes up half of what belongs together; two who write over each other. */
#include "cli/writer.h"

#include <poll.h>
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
#include "kafka/read.h"
#include "kafka/topics.h"

#define MAX_RECORD ((size_t)8 << 20)
#define MAX_AUDIT (MAX_RECORD + ((size_t)1 << 20))
#define MAX_CONTROL ((size_t)4 << 10)
#define MAX_KEY 256
#define KEPT_MS 5000
/* A broker that has answered by then is not given up lightly: what became of the change would not be known. */
#define COMMIT_MS 30000
#define NAP_NS 10000000 /* 10 ms */
#define ATTEMPTS 8
#define TRANSACTIONS_TOPIC "__transaction_state"
#define TRANSACTION_WAIT_MS 30000 /* on a busy cluster that has that topic */

enum rank { CONTROL, DEFINITION, AUDIT }; /* in the order in which they are written */

struct outgoing {
    enum rank rank;
    char *key;   /* owned */
    char *value; /* owned; NULL: a tombstone */
    size_t len;
};

struct rc_cli_writer {
    const struct rc_cli *cli;
    struct rc_producer *producer;
    bool transactional;
    char *topic, *audit_topic; /* owned */
    struct outgoing *out;      /* owned */
    size_t n, capacity;
};

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

/* ---- life -------------------------------------------------------------------------------------------------------------------- */

static void writer_close(struct rc_cli_writer *writer) {
    rc_producer_close(writer->producer);
    for (size_t i = 0; i < writer->n; i++) {
        free(writer->out[i].key);
        free(writer->out[i].value);
    }
    free(writer->out);
    free(writer->topic);
    free(writer->audit_topic);
    free(writer);
}

static rc_status open_producer(struct rc_cli_writer *writer, bool transactional, struct rc_error *err) {
    struct rc_producer_options options = {.name = "definitions",
                                          .wake_fd = -1,
                                          .max_record_bytes = MAX_AUDIT,
                                          .transaction = transactional ? writer->topic : NULL};
    writer->transactional = transactional;
    return rc_producer_open(writer->cli->config, &options, &writer->producer, err);
}

/* Whether the cluster could not make the topic of its transactions so far: mostly because the default for its replicas is three, and there
 * are fewer brokers. */
static rc_status knows_transactions(const struct rc_cli *cli, bool *out, struct rc_error *err) {
    struct rc_admin *admin;
    int32_t partitions;
    if (rc_admin_open(cli->config, &admin, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_topic_partitions(admin, TRANSACTIONS_TOPIC, CLI_KAFKA_TIMEOUT_MS, &partitions, err);
    rc_admin_close(admin);
    if (status == RC_OK)
        *out = partitions > 0;
    return status;
}

/* A change is a transaction where the cluster gives one. Where it cannot, it is written all the same, as a batch: a consumer takes what comes
 * together together, and only a crash in the midst can leave half of it. */
static rc_status begin(struct rc_cli_writer *writer, struct rc_error *err) {
    const struct rc_cli *cli = writer->cli;
    bool knows;
    if (open_producer(writer, !cli->embedded, err) != RC_OK)
        return RC_FAIL;
    if (!writer->transactional)
        return RC_OK;
    if (knows_transactions(cli, &knows, err) != RC_OK)
        return RC_FAIL; /* nobody answers */
    if (rc_producer_init(writer->producer, knows ? TRANSACTION_WAIT_MS : CLI_KAFKA_TIMEOUT_MS, err) == RC_OK)
        return RC_OK;
    if (err->class != RC_CLASS_RETRY || knows || knows_transactions(cli, &knows, err) != RC_OK)
        return RC_FAIL;
    if (knows) /* it has begun to make that topic */
        return rc_producer_init(writer->producer, TRANSACTION_WAIT_MS, err);
    fprintf(
        stderr,
        "rollcall: the cluster gives no transactions (its transaction.state.log.replication.factor may be greater than "
        "its number of brokers); the definitions are written without one\n");
    rc_producer_close(writer->producer);
    writer->producer = NULL;
    return open_producer(writer, false, err);
}

static rc_status writer_open(const struct rc_cli *cli, struct rc_cli_writer **out, struct rc_error *err) {
    struct rc_cli_writer *writer = rc_calloc(1, sizeof *writer);
    *writer = (struct rc_cli_writer){.cli = cli,
                                     .topic = rc_topic_name(cli->config, "definitions"),
                                     .audit_topic = rc_topic_name(cli->config, "audit")};
    if (begin(writer, err) != RC_OK) {
        writer_close(writer);
        return RC_FAIL;
    }
    *out = writer;
    return RC_OK;
}

/* ---- what is put ------------------------------------------------------------------------------------------------------------- */

/* `value` NULL: a tombstone. */
static void put(struct rc_cli_writer *writer, enum rank rank, const char *key, const struct rc_buf *value) {
    rc_grow(&writer->out, &writer->capacity, writer->n + 1, sizeof *writer->out);
    writer->out[writer->n++] = (struct outgoing){.rank = rank,
                                                 .key = rc_strdup(key),
                                                 .value = value ? rc_span_dup(rc_buf_span(value)) : NULL,
                                                 .len = value ? value->len : 0};
}

static rc_status too_large(const char *kind, const char *id, const char *what, struct rc_error *err) {
    return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s/%s: %s", kind, id, what);
}

rc_status rc_cli_writer_put(struct rc_cli_writer *writer, const char *kind, const char *id,
                            const struct rc_definition *definition, struct rc_error *err) {
    char key[MAX_KEY];
    struct rc_buf value;
    snprintf(key, sizeof key, "%s/%s", kind, id);
    rc_buf_init(&value, MAX_RECORD);
    rc_status status = RC_OK;
    if (definition && rc_definition_record_add(&value, definition) != RC_OK)
        status = too_large(kind, id, "larger than 8 MiB", err);
    else
        put(writer, DEFINITION, key, definition ? &value : NULL);
    rc_buf_deinit(&value);
    return status;
}

rc_status rc_cli_writer_put_control(struct rc_cli_writer *writer, const char *kind, const char *id,
                                    const struct rc_control *control, const char *who, struct rc_error *err) {
    struct rc_buf key, value;
    rc_buf_init(&key, MAX_KEY);
    rc_buf_init(&value, MAX_CONTROL);
    rc_status status = RC_OK;
    if (rc_control_key_add(&key, kind, id) != RC_OK ||
        rc_control_record_add(&value, control, rc_clock_wall_ms(), who) != RC_OK)
        status = too_large(kind, id, "what is said of it is larger than 4 KiB; shorten --who", err);
    else
        put(writer, CONTROL, key.data, &value);
    rc_buf_deinit(&key);
    rc_buf_deinit(&value);
    return status;
}

rc_status rc_cli_writer_put_audit(struct rc_cli_writer *writer, const struct rc_audit *entry, struct rc_error *err) {
    char key[MAX_KEY];
    struct rc_buf value;
    snprintf(key, sizeof key, "%s/%s", entry->kind, entry->id);
    rc_buf_init(&value, MAX_AUDIT);
    rc_status status = RC_OK;
    if (rc_audit_add(&value, entry) != RC_OK)
        status = too_large(entry->kind, entry->id, "its entry in the audit trail is larger than 9 MiB", err);
    else
        put(writer, AUDIT, key, &value);
    rc_buf_deinit(&value);
    return status;
}

/* ---- what an embedded broker forgets ------------------------------------------------------------------------------------ */

/* One line a definition: key, tab, value (consumers/shared/definitions.c). */
static bool is_kept(const char *path, const struct outgoing *written) {
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
        while (writer->out[i].rank != AUDIT && !is_kept(path, &writer->out[i])) {
            if (rc_clock_monotonic_ms() > until)
                return rc_error_set(
                    err, RC_CLASS_RETRY, RC_EXIT_TEMPORARY,
                    "%s was sent, but the running process has not written it to %s yet; see its log, or try again",
                    writer->out[i].key, path);
            nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
        }
    }
    return RC_OK;
}

/* ---- writing ----------------------------------------------------------------------------------------------------------------- */

static rc_status send(struct rc_cli_writer *writer, const struct outgoing *out, bool more, struct rc_error *err) {
    struct rc_header header = {.name = rc_span_str(RC_DEFINITIONS_MORE_HEADER), .value = rc_span_str("1")};
    struct rc_outgoing record = {.topic = out->rank == AUDIT ? writer->audit_topic : writer->topic,
                                 .key = rc_span_str(out->key),
                                 .value = rc_span_of(out->value, out->len),
                                 .null_value = !out->value,
                                 .timestamp_ms = RC_NO_TIMESTAMP,
                                 .headers = &header,
                                 .n_headers = more};
    return rc_producer_send(writer->producer, &record, err);
}

static size_t last_definition(const struct rc_cli_writer *writer) {
    for (size_t i = writer->n; i-- > 0;)
        if (writer->out[i].rank == DEFINITION)
            return i;
    return SIZE_MAX;
}

static rc_status send_all(struct rc_cli_writer *writer, struct rc_error *err) {
    size_t last = last_definition(writer);
    for (int rank = CONTROL; rank <= AUDIT; rank++) {
        for (size_t i = 0; i < writer->n; i++) {
            const struct outgoing *out = &writer->out[i];
            bool more = rank == CONTROL ? last != SIZE_MAX : rank == DEFINITION && i != last;
            if ((int)out->rank != rank || (rank == AUDIT && writer->cli->embedded))
                continue;
            if (send(writer, out, more, err) != RC_OK)
                return RC_FAIL;
        }
    }
    return RC_OK;
}

static rc_status keep_audit(const struct rc_cli_writer *writer, struct rc_error *err) {
    struct rc_buf lines;
    rc_buf_init(&lines, SIZE_MAX);
    for (size_t i = 0; i < writer->n; i++)
        if (writer->out[i].rank == AUDIT)
            rc_buf_printf(&lines, "%s\n", writer->out[i].value);
    rc_status status = rc_audit_keep(writer->cli->config, rc_buf_span(&lines), err);
    rc_buf_deinit(&lines);
    return status;
}

static bool seen(void *ctx, const struct rc_message *message) {
    (void)ctx;
    (void)message;
    return false;
}

/* A commit is told before readers see it. Whoever asks after `apply` has returned must get the new answer. */
static rc_status wait_visible(const struct rc_cli_writer *writer, const char *topic, struct rc_error *err) {
    int64_t end = rc_producer_end(writer->producer, topic, 0);
    return end <= 0 ? RC_OK
                    : rc_kafka_read_written(writer->cli->config, topic, 0, end - 1, CLI_KAFKA_TIMEOUT_MS, seen, NULL,
                                            NULL, err);
}

static rc_status commit(struct rc_cli_writer *writer, struct rc_error *err) {
    if (!writer->transactional)
        return rc_producer_flush(writer->producer, CLI_KAFKA_TIMEOUT_MS, err);
    int64_t until = rc_clock_monotonic_ms() + COMMIT_MS;
    rc_status status;
    do
        status = rc_producer_commit(writer->producer, NULL, NULL, 0, COMMIT_MS, err);
    while (status != RC_OK && err->class == RC_CLASS_RETRY && rc_clock_monotonic_ms() < until);
    if (status != RC_OK && err->class == RC_CLASS_RETRY)
        rc_error_prefix(err, "whether the change was made is not known, `rollcall history` tells");
    return status;
}

static rc_status ensure_topics(const struct rc_cli_writer *writer, struct rc_error *err) {
    struct rc_admin *admin;
    if (rc_admin_open(writer->cli->config, &admin, err) != RC_OK)
        return RC_FAIL;
    rc_status status = rc_topics_ensure_written(admin, err);
    rc_admin_close(admin);
    return status;
}

static rc_status finish(struct rc_cli_writer *writer, struct rc_error *err) {
    if (writer->n == 0)
        return RC_OK;
    if (ensure_topics(writer, err) != RC_OK || send_all(writer, err) != RC_OK)
        return RC_FAIL;
    if (writer->cli->embedded)
        return rc_producer_flush(writer->producer, CLI_KAFKA_TIMEOUT_MS, err) != RC_OK ||
                       wait_kept(writer, err) != RC_OK
                   ? RC_FAIL
                   : keep_audit(writer, err);
    return commit(writer, err) != RC_OK || wait_visible(writer, writer->topic, err) != RC_OK
               ? RC_FAIL
               : wait_visible(writer, writer->audit_topic, err);
}

rc_status rc_cli_write(const struct rc_cli *cli, rc_cli_write_fn fn, void *ctx, struct rc_error *err) {
    for (int attempt = 1;; attempt++) {
        struct rc_cli_writer *writer = NULL;
        rc_status status = writer_open(cli, &writer, err);
        if (status == RC_OK) {
            status = fn(ctx, writer, err);
            if (status == RC_OK && finish(writer, err) != RC_OK)
                status = rc_cli_broker_error(cli, err);
            writer_close(writer);
        }
        if (status == RC_OK || err->class != RC_CLASS_FENCED)
            return status;
        if (attempt == ATTEMPTS)
            break;
        poll(NULL, 0, (int)(rc_clock_monotonic_ms() % 50 + 20 * attempt)); /* out of step with the other */
    }
    err->exit_code = RC_EXIT_TEMPORARY;
    return rc_error_prefix(err,
                           "others change definitions at the same time and were faster %d times; nothing was "
                           "changed, try again",
                           ATTEMPTS);
}

/* ---- control records -------------------------------------------------------------------------------------------------------- */

static rc_status note_control(struct rc_cli_writer *writer, const struct rc_definition *definition, const char *who,
                              const struct rc_control *before, const struct rc_control *after, struct rc_error *err) {
    char effect[64];
    struct rc_audit entry = {.at_ms = rc_clock_wall_ms(),
                             .who = who,
                             .kind = definition->kind,
                             .id = definition->id,
                             .json = definition->json};
    bool revived = (before->cancelled_version == definition->version && !after->cancelled_version) ||
                   (before->cancelled_ms && !after->cancelled_ms);
    const struct {
        bool differs;
        const char *action;
        int version;
    } notes[] = {
        {after->approved_version != before->approved_version, "approved", after->approved_version},
        {after->paused && !before->paused, "paused", definition->version},
        {revived || (!after->paused && before->paused), "resumed", definition->version},
        {after->cancelled_ms > before->cancelled_ms ||
             (after->cancelled_version && after->cancelled_version != before->cancelled_version),
         "cancelled", definition->version},
        {after->import_ms != before->import_ms, "import begun", definition->version},
        {after->replay_ms != before->replay_ms, "replayed", definition->version},
        {after->rate != before->rate, "rate set", definition->version},
    };
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        if (!notes[i].differs)
            continue;
        entry.action = notes[i].action;
        entry.version = notes[i].version;
        snprintf(effect, sizeof effect, "{\"recordsPerSecond\":%lld}", (long long)after->rate);
        entry.effect = after->rate != before->rate && strcmp(entry.action, "rate set") == 0 ? effect : NULL;
        if (rc_cli_writer_put_audit(writer, &entry, err) != RC_OK)
            return RC_FAIL;
    }
    return RC_OK;
}

static bool same_control(const struct rc_control *a, const struct rc_control *b) {
    return a->approved_version == b->approved_version && a->paused == b->paused &&
           a->cancelled_version == b->cancelled_version && a->cancelled_ms == b->cancelled_ms && a->rate == b->rate &&
           a->replay_ms == b->replay_ms && a->replay_from_ms == b->replay_from_ms &&
           a->replay_all_ms == b->replay_all_ms && a->import_ms == b->import_ms &&
           a->deleted_version == b->deleted_version && a->on_end == b->on_end;
}

struct control_change {
    const char *kind, *id;
    rc_cli_control_fn change;
    void *ctx;
};

static rc_status change_control(const struct control_change *c, struct rc_cli_writer *writer,
                                const struct rc_catalog *catalog, const struct rc_controls *controls,
                                struct rc_error *err) {
    const struct rc_definition *definition;
    struct rc_control before, after;
    char who[CLI_WHO];
    if (rc_cli_find_definition(catalog, c->kind, c->id, &definition, err) != RC_OK)
        return RC_FAIL;
    rc_controls_find(controls, c->kind, c->id, &before);
    after = before;
    rc_cli_who(writer->cli, who);
    if (c->change(c->ctx, definition, &after, err) != RC_OK ||
        note_control(writer, definition, who, &before, &after, err) != RC_OK)
        return RC_FAIL;
    return !same_control(&before, &after) ? rc_cli_writer_put_control(writer, c->kind, c->id, &after, who, err) : RC_OK;
}

static rc_status try_control(void *ctx, struct rc_cli_writer *writer, struct rc_error *err) {
    struct rc_catalog_builder builder;
    struct rc_controls controls;
    struct rc_catalog *catalog = NULL;
    rc_catalog_builder_init(&builder);
    rc_controls_init(&controls);
    rc_status status = rc_cli_applied_read(writer->cli, &builder, &controls, err);
    if (status == RC_OK)
        status = rc_catalog_build(&builder, &catalog, err);
    if (status == RC_OK)
        status = change_control(ctx, writer, catalog, &controls, err);
    rc_catalog_free(catalog);
    rc_controls_deinit(&controls);
    rc_catalog_builder_deinit(&builder);
    return status;
}

rc_status rc_cli_control_change(const struct rc_cli *cli, const char *kind, const char *id, rc_cli_control_fn change,
                                void *ctx, struct rc_error *err) {
    struct control_change c = {.kind = kind, .id = id, .change = change, .ctx = ctx};
    return rc_cli_write(cli, try_control, &c, err);
}
