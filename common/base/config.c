/* Owns loading: where values come from, their order, and whether they are sound. Must not know what a value is used for. The mistake that
 * it prevents: a misspelt or misplaced key that is silently ignored. */
#include "base/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/config_internal.h"
#include "base/config_table.h"
#include "base/nearest.h"

#define MAX_FILE_BYTES (1 << 20)
#define KAFKA "kafka."
#define ENV "ROLLCALL_"

/* Not properties: the file's own name in the environment, and what the test scripts tell each other. */
#define ENV_FILE "ROLLCALL_CONFIG"
#define ENV_TEST "ROLLCALL_TEST_"

#define ROW(name_, type_, fallback_, min_, max_, words_, live_, help_) \
    {.name = name_,                                                    \
     .type = type_,                                                    \
     .fallback = fallback_,                                            \
     .min = min_,                                                      \
     .max = max_,                                                      \
     .words = words_,                                                  \
     .live = live_,                                                    \
     .help = help_},
static const struct rc_config_property table[] = {RC_CONFIG_TABLE(ROW)};
#define N_TABLE (sizeof table / sizeof *table)

const struct rc_config_property *rc_config_properties(size_t *n) {
    *n = N_TABLE;
    return table;
}

const char *rc_config_type_name(enum rc_config_type type) {
    switch (type) {
    case RC_CONFIG_TEXT: return "text";
    case RC_CONFIG_WORD: return "word";
    case RC_CONFIG_INT: return "integer";
    case RC_CONFIG_DURATION: return "duration";
    case RC_CONFIG_BYTES: return "size";
    case RC_CONFIG_BOOL: return "true or false";
    }
    return "?";
}

static long find_row(const char *key) {
    for (size_t i = 0; i < N_TABLE; i++) {
        if (strcmp(table[i].name, key) == 0)
            return (long)i;
    }
    return -1;
}

/* ---- judging one value --------------------------------------------------------------------------------------------------- */

static bool word_is_in(const char *word, const char *words) {
    size_t len = strlen(word);
    for (const char *at = words; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL) {
        size_t here = strcspn(at, "|");
        if (len > 0 && here == len && memcmp(at, word, len) == 0)
            return true;
    }
    return false;
}

static rc_status bad(struct rc_error *err, const char *fmt, ...) RC_PRINTF(2, 3);
static rc_status bad(struct rc_error *err, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "%s", text);
}

static rc_status judge_number(const struct rc_config_property *row, const char *text, int64_t number, const char *unit,
                              struct rc_error *err) {
    if (number >= row->min && number <= row->max)
        return RC_OK;
    return bad(err, "%s is %s; allowed is %lld to %lld%s", row->name, text, (long long)row->min, (long long)row->max,
               unit);
}

/* Rules that one row's type and range cannot say. */
static rc_status judge_special(const struct rc_config_property *row, const char *text, struct rc_error *err) {
    if (strcmp(row->name, "topics.replication") == 0 && strcmp(text, "0") == 0)
        return bad(err, "topics.replication is 0; allowed is 1 or more, or -1 for the broker's default");
    bool is_name = strcmp(row->name, "topics.prefix") == 0 || strcmp(row->name, "group.prefix") == 0 ||
                   (strcmp(row->name, "group.instance") == 0 && *text);
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (is_name && (*text == '\0' || strlen(text) > 200 || strspn(text, allowed) != strlen(text)))
        return bad(err, "%s is \"%s\"; allowed are 1 to 200 letters, digits, dots, _ and -", row->name, text);
    if (strcmp(row->name, "kafka.bootstrap.servers") == 0 && *text == '\0')
        return bad(err, "kafka.bootstrap.servers is empty; expected host:port");
    return RC_OK;
}

static rc_status judge(const struct rc_config_property *row, const char *text, int64_t *number, struct rc_error *err) {
    char *end;
    *number = 0;
    switch (row->type) {
    case RC_CONFIG_TEXT: break;
    case RC_CONFIG_WORD:
        if (!word_is_in(text, row->words))
            return bad(err, "%s is \"%s\"; expected one of %s", row->name, text, row->words);
        break;
    case RC_CONFIG_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return bad(err, "%s is \"%s\"; expected true or false", row->name, text);
        *number = *text == 't';
        break;
    case RC_CONFIG_INT:
        errno = 0;
        *number = strtoll(text, &end, 10);
        if (errno || end == text || *end || *text == ' ' || *text == '+')
            return bad(err, "%s is \"%s\"; expected an integer", row->name, text);
        if (judge_number(row, text, *number, "", err) != RC_OK)
            return RC_FAIL;
        break;
    case RC_CONFIG_DURATION:
        if (rc_duration_parse(text, number) != RC_OK)
            return bad(err, "%s is \"%s\"; expected an integer and one of ms s m h d w, such as 500ms", row->name,
                       text);
        if (judge_number(row, text, *number, " ms", err) != RC_OK)
            return RC_FAIL;
        break;
    case RC_CONFIG_BYTES:
        if (rc_bytes_parse(text, number) != RC_OK)
            return bad(err, "%s is \"%s\"; expected an integer and one of B KiB MiB GiB TiB, such as 512MiB", row->name,
                       text);
        if (judge_number(row, text, *number, " bytes", err) != RC_OK)
            return RC_FAIL;
        break;
    }
    return judge_special(row, text, err);
}

/* ---- holding values -------------------------------------------------------------------------------------------------------- */

static void value_assign(struct config_value *value, const char *text, const char *origin, int64_t number, bool set) {
    char *new_text = rc_strdup(text), *new_origin = rc_strdup(origin);
    free(value->text);
    free(value->origin);
    *value = (struct config_value){.text = new_text, .origin = new_origin, .number = number, .set = set};
}

/* Where `property` stands, or would stand. */
static size_t kafka_place(const struct rc_config *config, const char *property, bool *found) {
    size_t i = 0;
    int order = 1;
    while (i < config->n_kafka && (order = strcmp(config->kafka[i].property, property)) < 0)
        i++;
    *found = i < config->n_kafka && order == 0;
    return i;
}

static void kafka_assign(struct rc_config *config, const char *property, const char *text, const char *origin) {
    bool found;
    size_t at = kafka_place(config, property, &found);
    if (!found) {
        rc_grow(&config->kafka, &config->kafka_capacity, config->n_kafka + 1, sizeof *config->kafka);
        memmove(config->kafka + at + 1, config->kafka + at, (config->n_kafka - at) * sizeof *config->kafka);
        config->kafka[at] = (struct config_kafka){.property = rc_strdup(property)};
        config->n_kafka++;
    }
    value_assign(&config->kafka[at].value, text, origin, 0, true);
}

static const struct config_value *find_value(const struct rc_config *config, const char *key) {
    long row = find_row(key);
    if (row >= 0)
        return &config->values[row];
    if (strncmp(key, KAFKA, strlen(KAFKA)) == 0) {
        bool found;
        size_t at = kafka_place(config, key + strlen(KAFKA), &found);
        if (found)
            return &config->kafka[at].value;
    }
    return NULL;
}

static rc_status unknown_key(const char *key, struct rc_error *err) {
    const char *names[N_TABLE];
    for (size_t i = 0; i < N_TABLE; i++)
        names[i] = table[i].name;
    const char *nearest = rc_nearest_word(key, names, N_TABLE);
    if (nearest)
        return bad(err, "unknown key \"%s\"; did you mean %s?", key, nearest);
    return bad(err, "unknown key \"%s\"; `rollcall help config` lists all", key);
}

/* Sets one key. The message of a failure says what is wrong, not where: the caller knows. */
static rc_status assign(struct rc_config *config, const char *key, const char *text, const char *origin,
                        struct rc_error *err) {
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return bad(err, "the value of %s holds a control character", key);
    }
    long row = find_row(key);
    if (row >= 0) {
        int64_t number;
        if (judge(&table[row], text, &number, err) != RC_OK)
            return RC_FAIL;
        value_assign(&config->values[row], text, origin, number, true);
        return RC_OK;
    }
    if (strncmp(key, KAFKA, strlen(KAFKA)) != 0 || key[strlen(KAFKA)] == '\0')
        return unknown_key(key, err);
    const char *property = key + strlen(KAFKA);
    if (config->check_kafka && config->check_kafka(property, text, err) != RC_OK) {
        if (err)
            err->exit_code = RC_EXIT_CONFIG;
        return RC_FAIL;
    }
    kafka_assign(config, property, text, origin);
    return RC_OK;
}

/* ---- the file ---------------------------------------------------------------------------------------------------------------- */

static char *trim(char *text) {
    while (*text == ' ' || *text == '\t')
        text++;
    size_t len = strlen(text);
    while (len && strchr(" \t\r", text[len - 1]))
        text[--len] = '\0';
    return text;
}

/* Undoes quotes and cuts a comment off, in place. NULL when quotes are not closed or something follows them. */
static char *unquote(char *text) {
    if (*text != '"') {
        for (char *c = text; *c; c++) {
            if (*c == '#' && (c == text || c[-1] == ' ' || c[-1] == '\t')) {
                *c = '\0';
                break;
            }
        }
        return trim(text);
    }
    char *out = text, *in = text + 1;
    while (*in && *in != '"') {
        if (*in == '\\' && (in[1] == '"' || in[1] == '\\'))
            in++;
        *out++ = *in++;
    }
    if (*in != '"')
        return NULL;
    in = trim(in + 1);
    if (*in && *in != '#')
        return NULL;
    *out = '\0';
    return text;
}

static rc_status load_line(struct rc_config *config, char *line, const char *file, const char *origin,
                           struct rc_error *err) {
    line = trim(line);
    if (*line == '\0' || *line == '#')
        return RC_OK;
    char *equals = strchr(line, '=');
    if (!equals)
        return bad(err, "expected `key = value`, found \"%.80s\"", line);
    *equals = '\0';
    char *key = trim(line);
    char *text = unquote(trim(equals + 1));
    if (*key == '\0')
        return bad(err, "expected a key before `=`");
    if (!text)
        return bad(err, "the quotes of the value of %s are not closed, or something follows them", key);
    const struct config_value *before = find_value(config, key);
    size_t len = strlen(file);
    if (before && strncmp(before->origin, file, len) == 0 && before->origin[len] == ':')
        return bad(err, "%s was set before, at %s", key, before->origin);
    return assign(config, key, text, origin, err);
}

static rc_status read_file(const char *file, char **out, size_t *out_len, struct rc_error *err) {
    FILE *in = fopen(file, "re");
    if (!in)
        return bad(err, "%s: %s", file, strerror(errno));
    char *data = rc_alloc(MAX_FILE_BYTES + 1);
    size_t len = fread(data, 1, MAX_FILE_BYTES + 1, in);
    bool failed = ferror(in) != 0;
    int why = errno;
    fclose(in);
    if (failed || len > MAX_FILE_BYTES) {
        free(data);
        return bad(err, "%s: %s", file, failed ? strerror(why) : "larger than 1 MiB");
    }
    data[len] = '\0';
    *out = data;
    *out_len = len;
    return RC_OK;
}

static rc_status load_file(struct rc_config *config, const char *file, struct rc_error *err) {
    char *data = NULL;
    size_t len = 0;
    if (read_file(file, &data, &len, err) != RC_OK)
        return RC_FAIL;
    rc_status status = RC_OK;
    int number = 0;
    for (char *line = data, *next; status == RC_OK && line; line = next) {
        char *end = memchr(line, '\n', (size_t)(data + len - line));
        next = end ? end + 1 : NULL;
        if (end)
            *end = '\0';
        number++;
        char origin[4400];
        snprintf(origin, sizeof origin, "%s:%d", file, number);
        bool has_nul = strlen(line) != (size_t)((end ? end : data + len) - line);
        status = has_nul ? bad(err, "a NUL byte") : load_line(config, line, file, origin, err);
        if (status != RC_OK)
            rc_error_prefix(err, "%s", origin);
    }
    free(data);
    return status;
}

/* ---- the environment ---------------------------------------------------------------------------------------------------------- */

/* The key that a variable's name (after ROLLCALL_) stands for. A row of the table whose name, with `_` for dots, is the same; else
 * kafka.* with dots for `_` and `_` for `__`. False when it can be none. */
static bool env_key(const char *name, char *key, size_t size) {
    for (size_t i = 0; i < N_TABLE; i++) {
        const char *a = table[i].name, *b = name;
        while (*a && *b &&
               ((*a == '.' && *b == '_') || (*a == '_' && *b == '_') || (*a >= 'a' && *a <= 'z' && *a - 32 == *b) ||
                (*a == *b && *a != '.' && (*a < 'a' || *a > 'z')))) {
            a++;
            b++;
        }
        if (*a == '\0' && *b == '\0') {
            snprintf(key, size, "%s", table[i].name);
            return true;
        }
    }
    size_t len = 0;
    for (const char *c = name; *c && len + 1 < size; c++) {
        if (*c == '_' && c[1] == '_') {
            key[len++] = '_';
            c++;
        } else if (*c == '_') {
            key[len++] = '.';
        } else if (*c >= 'A' && *c <= 'Z') {
            key[len++] = (char)(*c + 32);
        } else {
            key[len++] = *c;
        }
    }
    key[len] = '\0';
    return strncmp(key, KAFKA, strlen(KAFKA)) == 0;
}

static rc_status unknown_variable(const char *variable, struct rc_error *err) {
    char names[N_TABLE][80];
    const char *list[N_TABLE + 1];
    for (size_t i = 0; i < N_TABLE; i++) {
        snprintf(names[i], sizeof names[i], ENV "%s", table[i].name);
        for (char *c = names[i] + strlen(ENV); *c; c++)
            *c = *c == '.' ? '_' : (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
        list[i] = names[i];
    }
    list[N_TABLE] = ENV_FILE;
    const char *nearest = rc_nearest_word(variable, list, N_TABLE + 1);
    if (nearest)
        return bad(err, "unknown variable %s in the environment; did you mean %s?", variable, nearest);
    return bad(err, "unknown variable %s in the environment; `rollcall help config` lists all keys", variable);
}

static rc_status load_environment(struct rc_config *config, char *const *environment, struct rc_error *err) {
    for (; environment && *environment; environment++) {
        const char *entry = *environment, *equals = strchr(entry, '=');
        if (strncmp(entry, ENV, strlen(ENV)) != 0 || !equals)
            continue;
        char variable[512], key[512];
        snprintf(variable, sizeof variable, "%.*s", (int)(equals - entry), entry);
        if (strcmp(variable, ENV_FILE) == 0 || strncmp(variable, ENV_TEST, strlen(ENV_TEST)) == 0)
            continue;
        if (!env_key(variable + strlen(ENV), key, sizeof key))
            return unknown_variable(variable, err);
        if (assign(config, key, equals + 1, variable, err) != RC_OK)
            return rc_error_prefix(err, "%s", variable);
    }
    return RC_OK;
}

static const char *variable_of(char *const *environment, const char *name) {
    size_t len = strlen(name);
    for (; environment && *environment; environment++) {
        if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=' && (*environment)[len + 1])
            return *environment + len + 1;
    }
    return NULL;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------------ */

static rc_status load_sets(struct rc_config *config, const char *const *sets, size_t n, struct rc_error *err) {
    for (size_t i = 0; i < n; i++) {
        const char *equals = strchr(sets[i], '=');
        if (!equals || equals == sets[i])
            return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_USAGE, "--set %s: expected key=value", sets[i]);
        char key[512];
        snprintf(key, sizeof key, "%.*s", (int)(equals - sets[i]), sets[i]);
        char origin[600];
        snprintf(origin, sizeof origin, "--set %s", key);
        if (assign(config, trim(key), equals + 1, origin, err) != RC_OK)
            return rc_error_prefix(err, "--set");
    }
    return RC_OK;
}

static struct rc_config *config_new(void) {
    struct rc_config *config = rc_calloc(1, sizeof *config);
    config->values = rc_calloc(N_TABLE, sizeof *config->values);
    for (size_t i = 0; i < N_TABLE; i++) {
        struct rc_error err;
        int64_t number;
        if (judge(&table[i], table[i].fallback, &number, &err) != RC_OK) {
            fprintf(stderr, "level=fatal msg=\"a default in config_table.h is not sound\" err=\"%s\"\n", err.message);
            abort();
        }
        value_assign(&config->values[i], table[i].fallback, "default", number, false);
    }
    return config;
}

/* The one default that depends on the machine's user. */
static void settle_state_dir(struct rc_config *config, char *const *environment) {
    struct config_value *value = &config->values[find_row("state.dir")];
    if (*value->text)
        return;
    const char *state = variable_of(environment, "XDG_STATE_HOME"), *home = variable_of(environment, "HOME");
    char dir[4200];
    if (state && *state == '/')
        snprintf(dir, sizeof dir, "%s/rollcall", state);
    else if (home)
        snprintf(dir, sizeof dir, "%s/.local/state/rollcall", home);
    else
        snprintf(dir, sizeof dir, "./rollcall-state");
    value_assign(value, dir, value->origin, 0, value->set);
}

rc_status rc_config_load(const struct rc_config_sources *sources, struct rc_config **out, struct rc_error *err) {
    struct rc_config *config = config_new();
    config->check_kafka = sources->check_kafka;
    const char *file = sources->file ? sources->file : variable_of(sources->environment, ENV_FILE);
    if ((file && load_file(config, file, err) != RC_OK) ||
        load_environment(config, sources->environment, err) != RC_OK ||
        load_sets(config, sources->sets, sources->n_sets, err) != RC_OK) {
        rc_config_free(config);
        return RC_FAIL;
    }
    settle_state_dir(config, sources->environment);
    *out = config;
    return RC_OK;
}

void rc_config_free(struct rc_config *config) {
    if (!config)
        return;
    for (size_t i = 0; i < N_TABLE; i++) {
        free(config->values[i].text);
        free(config->values[i].origin);
    }
    for (size_t i = 0; i < config->n_kafka; i++) {
        free(config->kafka[i].property);
        free(config->kafka[i].value.text);
        free(config->kafka[i].value.origin);
    }
    free(config->values);
    free(config->kafka);
    free(config);
}

rc_status rc_config_with(const struct rc_config *config, const char *key, const char *value, bool weak,
                         struct rc_config **out, struct rc_error *err) {
    struct rc_config *copy = config_new();
    copy->check_kafka = config->check_kafka;
    for (size_t i = 0; i < N_TABLE; i++) {
        const struct config_value *old = &config->values[i];
        value_assign(&copy->values[i], old->text, old->origin, old->number, old->set);
    }
    for (size_t i = 0; i < config->n_kafka; i++)
        kafka_assign(copy, config->kafka[i].property, config->kafka[i].value.text, config->kafka[i].value.origin);
    const struct config_value *now = find_value(copy, key);
    if (!(weak && now && now->set)) {
        if (assign(copy, key, value, "command", err) != RC_OK) {
            rc_config_free(copy);
            return RC_FAIL;
        }
        if (weak && find_row(key) >= 0)
            copy->values[find_row(key)].set = false;
    }
    *out = copy;
    return RC_OK;
}

/* ---- getters ---------------------------------------------------------------------------------------------------------------------- */

static const struct config_value *get(const struct rc_config *config, const char *key, enum rc_config_type type) {
    long row = find_row(key);
    bool fits = row >= 0 && (table[row].type == type || (type == RC_CONFIG_TEXT && table[row].type == RC_CONFIG_WORD));
    if (!fits) {
        fprintf(stderr, "level=fatal msg=\"no such configuration key of that type\" key=%s type=\"%s\"\n", key,
                rc_config_type_name(type));
        abort();
    }
    return &config->values[row];
}

const char *rc_config_text(const struct rc_config *config, const char *key) {
    return get(config, key, RC_CONFIG_TEXT)->text;
}

int64_t rc_config_int(const struct rc_config *config, const char *key) {
    return get(config, key, RC_CONFIG_INT)->number;
}

int64_t rc_config_ms(const struct rc_config *config, const char *key) {
    return get(config, key, RC_CONFIG_DURATION)->number;
}

int64_t rc_config_bytes(const struct rc_config *config, const char *key) {
    return get(config, key, RC_CONFIG_BYTES)->number;
}

bool rc_config_bool(const struct rc_config *config, const char *key) {
    return get(config, key, RC_CONFIG_BOOL)->number != 0;
}

bool rc_config_is_set(const struct rc_config *config, const char *key) {
    const struct config_value *value = find_value(config, key);
    return value && value->set;
}

const char *rc_config_origin(const struct rc_config *config, const char *key) {
    const struct config_value *value = find_value(config, key);
    return value ? value->origin : "default";
}

static bool same_kafka(const struct rc_config *a, const struct rc_config *b) {
    bool same = a->n_kafka == b->n_kafka;
    for (size_t i = 0; same && i < a->n_kafka; i++)
        same = strcmp(a->kafka[i].property, b->kafka[i].property) == 0 &&
               strcmp(a->kafka[i].value.text, b->kafka[i].value.text) == 0;
    return same;
}

bool rc_config_same(const struct rc_config *a, const struct rc_config *b, const char *key) {
    if (strcmp(key, KAFKA) == 0)
        return same_kafka(a, b);
    const struct config_value *x = find_value(a, key), *y = find_value(b, key);
    return x == y || (x && y && strcmp(x->text, y->text) == 0);
}

bool rc_config_kafka(const struct rc_config *config, size_t index, const char **property, const char **value) {
    static const char servers[] = "bootstrap.servers";
    bool found;
    size_t place = kafka_place(config, servers, &found);
    if (index == place) {
        *property = servers;
        *value = rc_config_text(config, "kafka.bootstrap.servers");
        return true;
    }
    size_t at = index < place ? index : index - 1;
    if (at >= config->n_kafka)
        return false;
    *property = config->kafka[at].property;
    *value = config->kafka[at].value.text;
    return true;
}

rc_status rc_config_topic(const struct rc_config *config, const char *name, struct rc_buf *out) {
    return rc_buf_printf(out, "%s.%s", rc_config_text(config, "topics.prefix"), name);
}
