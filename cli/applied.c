#include "cli/applied.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/nearest.h"
#include "consumers/shared/definitions.h"
#include "kafka/read.h"
#include "kafka/topics.h"

#define MAX_FILE_BYTES ((size_t)16 << 20)
#define MAX_DEPTH 16 /* folders within folders */

const char *const rc_cli_kinds[] = {"dataset", "destination", "policy", "segment", "attribute", "audience", NULL};
#define N_KINDS (sizeof rc_cli_kinds / sizeof *rc_cli_kinds - 1)

/* ---- the topic ------------------------------------------------------------------------------------------------------------- */

struct reading {
    struct rc_catalog_builder *builder;
    struct rc_controls *controls; /* or NULL */
    struct rc_error *err;
    bool failed;
};

static bool take_record(void *ctx, const struct rc_message *message) {
    struct reading *reading = ctx;
    if (rc_control_is_key(message->key)) {
        if (reading->controls)
            rc_controls_take(reading->controls, message->key, message->value, message->null_value);
        return true;
    }
    if (!message->null_value) {
        reading->failed = rc_definition_record_read(reading->builder, message->value, reading->err) != RC_OK;
        if (reading->failed)
            rc_error_prefix(reading->err, "%s, offset %lld", message->topic, (long long)message->offset);
        return !reading->failed;
    }
    char *key = rc_span_dup(message->key), *slash = strchr(key, '/');
    if (slash) {
        *slash = '\0';
        rc_catalog_builder_remove(reading->builder, key, slash + 1);
    }
    free(key);
    return true;
}

rc_status rc_cli_applied_read(const struct rc_cli *cli, struct rc_catalog_builder *builder,
                              struct rc_controls *controls, struct rc_error *err) {
    char *topic = rc_topic_name(cli->config, "definitions");
    struct reading reading = {.builder = builder, .controls = controls, .err = err};
    rc_status status = rc_kafka_read(cli->config, topic, 0, RC_START_BEGINNING, CLI_KAFKA_TIMEOUT_MS, take_record,
                                     &reading, NULL, err);
    free(topic);
    if (status != RC_OK)
        return rc_cli_broker_error(cli, err);
    return reading.failed ? RC_FAIL : RC_OK;
}

rc_status rc_cli_applied_catalog(const struct rc_cli *cli, struct rc_catalog **out, struct rc_error *err) {
    struct rc_catalog_builder builder;
    rc_catalog_builder_init(&builder);
    rc_status status = rc_cli_applied_read(cli, &builder, NULL, err);
    if (status == RC_OK && rc_catalog_build(&builder, out, err) != RC_OK)
        status = rc_error_prefix(err, "the definitions that are applied");
    rc_catalog_builder_deinit(&builder);
    return status;
}

/* ---- files ------------------------------------------------------------------------------------------------------------------ */

static rc_status cannot_read(struct rc_error *err, const char *path, const char *why) {
    return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s: %s", path, why);
}

static rc_status slurp(FILE *in, const char *path, struct rc_buf *out, struct rc_error *err) {
    char block[65536];
    size_t n;
    while ((n = fread(block, 1, sizeof block, in)) > 0) {
        if (rc_buf_add(out, block, n) != RC_OK)
            return cannot_read(err, path, "larger than 16 MiB");
    }
    return ferror(in) ? cannot_read(err, path, strerror(errno)) : RC_OK;
}

static rc_status slurp_path(const char *path, struct rc_buf *out, struct rc_error *err) {
    FILE *in = fopen(path, "re");
    if (!in)
        return cannot_read(err, path, strerror(errno));
    rc_status status = slurp(in, path, out, err);
    fclose(in);
    return status;
}

/* Opens a schema relative to the folder of the file that names it. */
static rc_status read_schema(void *ctx, const char *file, const char *schema_path, char **out_text,
                             struct rc_error *err) {
    (void)ctx;
    const char *slash = strrchr(file, '/');
    char *path;
    int n = *schema_path == '/' || !slash ? asprintf(&path, "%s", schema_path)
                                          : asprintf(&path, "%.*s/%s", (int)(slash - file), file, schema_path);
    if (n < 0)
        abort();
    struct rc_buf text;
    rc_buf_init(&text, MAX_FILE_BYTES);
    rc_status status = slurp_path(path, &text, err);
    if (status == RC_OK)
        *out_text = rc_span_dup(rc_buf_span(&text));
    rc_buf_deinit(&text);
    free(path);
    return status;
}

static rc_status take_file(struct rc_cli_texts *texts, const char *path, struct rc_error *err) {
    struct rc_buf text;
    rc_buf_init(&text, MAX_FILE_BYTES);
    bool is_stdin = strcmp(path, "-") == 0;
    rc_status status = is_stdin ? slurp(stdin, "stdin", &text, err) : slurp_path(path, &text, err);
    if (status == RC_OK) {
        rc_grow(&texts->items, &texts->capacity, texts->n + 1, sizeof *texts->items);
        texts->items[texts->n++] = (struct rc_cli_text){
            .file = rc_strdup(is_stdin ? "stdin" : path), .text = rc_span_dup(rc_buf_span(&text)), .len = text.len};
    }
    rc_buf_deinit(&text);
    return status;
}

static int wanted(const struct dirent *entry) {
    if (entry->d_name[0] == '.')
        return 0;
    size_t len = strlen(entry->d_name);
    return entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN || entry->d_type == DT_LNK ||
           (len > 5 && strcmp(entry->d_name + len - 5, ".json") == 0);
}

static int in_byte_order(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static rc_status take_path(struct rc_cli_texts *texts, const char *path, int depth, struct rc_error *err);

static rc_status take_folder(struct rc_cli_texts *texts, const char *path, int depth, struct rc_error *err) {
    struct dirent **entries;
    int n = depth < MAX_DEPTH ? scandir(path, &entries, wanted, in_byte_order) : -1;
    if (n < 0)
        return cannot_read(err, path, depth < MAX_DEPTH ? strerror(errno) : "folders too deep");
    rc_status status = RC_OK;
    for (int i = 0; i < n; i++) {
        char *below;
        if (asprintf(&below, "%s/%s", path, entries[i]->d_name) < 0)
            abort();
        if (status == RC_OK)
            status = take_path(texts, below, depth + 1, err);
        free(below);
        free(entries[i]);
    }
    free(entries);
    return status;
}

/* What the user named (depth 0) is taken whatever its name is; what lies in a folder counts when it ends in .json. */
static rc_status take_path(struct rc_cli_texts *texts, const char *path, int depth, struct rc_error *err) {
    struct stat about;
    if (depth == 0 && strcmp(path, "-") == 0)
        return take_file(texts, path, err);
    if (stat(path, &about) != 0)
        return cannot_read(err, path, strerror(errno));
    if (S_ISDIR(about.st_mode))
        return take_folder(texts, path, depth, err);
    size_t len = strlen(path);
    if (depth > 0 && (len < 5 || strcmp(path + len - 5, ".json") != 0))
        return RC_OK;
    return take_file(texts, path, err);
}

rc_status rc_cli_texts_read(struct rc_cli_texts *out, const char *const *paths, size_t n, struct rc_error *err) {
    for (size_t i = 0; i < n; i++) {
        size_t before = out->n;
        if (take_path(out, paths[i], 0, err) != RC_OK)
            return RC_FAIL;
        if (out->n == before)
            return cannot_read(err, paths[i], "no *.json file in it");
    }
    return RC_OK;
}

void rc_cli_texts_deinit(struct rc_cli_texts *texts) {
    for (size_t i = 0; i < texts->n; i++) {
        free(texts->items[i].file);
        free(texts->items[i].text);
    }
    free(texts->items);
    *texts = (struct rc_cli_texts){0};
}

/* A definition twice in one apply is most likely a mistake, and which one counts would depend on the order of names. */
static rc_status refuse_repeats(const struct rc_catalog_builder *one, const struct rc_catalog_builder *before,
                                struct rc_error *err) {
    for (size_t i = 0; i < one->n; i++) {
        const struct rc_definition *here = &one->items[i],
                                   *there = rc_catalog_builder_find(before, here->kind, here->id);
        if (there)
            return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s: %s/%s stands in %s as well; keep one of them",
                                here->file, here->kind, here->id, there->file);
    }
    return RC_OK;
}

rc_status rc_cli_texts_add(const struct rc_cli_texts *texts, struct rc_catalog_builder *builder, struct rc_error *err) {
    struct rc_catalog_builder seen;
    rc_catalog_builder_init(&seen);
    rc_status status = RC_OK;
    for (size_t i = 0; status == RC_OK && i < texts->n; i++) {
        const struct rc_cli_text *text = &texts->items[i];
        struct rc_span span = rc_span_of(text->text, text->len);
        struct rc_catalog_builder one;
        rc_catalog_builder_init(&one);
        status = rc_catalog_builder_add(&one, text->file, span, read_schema, NULL, err);
        if (status == RC_OK)
            status = refuse_repeats(&one, &seen, err);
        rc_catalog_builder_deinit(&one);
        if (status == RC_OK)
            status = rc_catalog_builder_add(&seen, text->file, span, read_schema, NULL, err);
        if (status == RC_OK)
            status = rc_catalog_builder_add(builder, text->file, span, read_schema, NULL, err);
    }
    rc_catalog_builder_deinit(&seen);
    return status;
}

const char **rc_cli_paths(const struct rc_cli *cli, size_t *n) {
    size_t n_files = 0;
    while (rc_cli_value_at(cli, "file", n_files))
        n_files++;
    *n = n_files + cli->args.n_positional;
    const char **paths = rc_calloc(*n, sizeof *paths);
    for (size_t i = 0; i < *n; i++)
        paths[i] = i < n_files ? rc_cli_value_at(cli, "file", i) : cli->args.positional[i - n_files];
    return paths;
}

/* ---- words ------------------------------------------------------------------------------------------------------------------- */

rc_status rc_cli_kind(const struct rc_cli *cli, const char *word, const char **out, struct rc_error *err) {
    size_t len = strlen(word);
    for (size_t i = 0; i < N_KINDS; i++) {
        size_t kind_len = strlen(rc_cli_kinds[i]);
        bool plural = len == kind_len + 1 && word[kind_len] == 's' && memcmp(word, rc_cli_kinds[i], kind_len) == 0;
        if (plural || strcmp(word, rc_cli_kinds[i]) == 0 ||
            (strcmp(word, "policies") == 0 && strcmp(rc_cli_kinds[i], "policy") == 0)) {
            *out = rc_cli_kinds[i];
            return RC_OK;
        }
    }
    const char *nearest = rc_nearest_word(word, rc_cli_kinds, N_KINDS);
    if (nearest)
        return rc_cli_usage(cli, err, "unknown kind \"%s\" (did you mean %s?)", word, nearest);
    return rc_cli_usage(
        cli, err, "unknown kind \"%s\", expected one of dataset, destination, policy, segment, attribute, audience",
        word);
}

rc_status rc_cli_find_definition(const struct rc_catalog *catalog, const char *kind, const char *id,
                                 const struct rc_definition **out, struct rc_error *err) {
    *out = rc_catalog_definition(catalog, kind, id);
    if (*out)
        return RC_OK;
    const char **ids = rc_calloc(catalog->n_definitions, sizeof *ids);
    size_t n = 0;
    for (size_t i = 0; i < catalog->n_definitions; i++) {
        if (strcmp(catalog->definitions[i].kind, kind) == 0)
            ids[n++] = catalog->definitions[i].id;
    }
    const char *nearest = rc_nearest_word(id, ids, n);
    if (nearest)
        rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "no %s \"%s\" is applied; did you mean %s?", kind, id,
                     nearest);
    else
        rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "no %s \"%s\" is applied; `rollcall get %ss` lists them", kind,
                     id, strcmp(kind, "policy") == 0 ? "policie" : kind);
    free(ids);
    return RC_FAIL;
}
