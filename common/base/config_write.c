/* Owns the configuration as text: the effective one, and the reference that docs/configuration.md is. */
#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "base/config_internal.h"

bool rc_config_kafka_secret(const char *property) {
    return strcmp(property, "sasl.password") == 0 || strcmp(property, "sasl.oauthbearer.client.secret") == 0 ||
           strcmp(property, "sasl.oauthbearer.config") == 0 || strcmp(property, "sasl.jaas.config") == 0 ||
           strcmp(property, "ssl.key.password") == 0 || strcmp(property, "ssl.key.pem") == 0 ||
           strcmp(property, "ssl.keystore.password") == 0;
}

static void write_value(struct rc_buf *out, const char *key, const char *text) {
    size_t len = strlen(text);
    bool quotes = len == 0 || strpbrk(text, "#\"\\") || text[0] == ' ' || text[len - 1] == ' ';
    rc_buf_printf(out, "%s = ", key);
    if (!quotes) {
        rc_buf_printf(out, "%s\n", text);
        return;
    }
    rc_buf_add_byte(out, '"');
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\')
            rc_buf_add_byte(out, '\\');
        rc_buf_add_byte(out, (uint8_t)*c);
    }
    rc_buf_add_str(out, "\"\n");
}

rc_status rc_config_write(const struct rc_config *config, bool secrets, struct rc_buf *out) {
    size_t n;
    const struct rc_config_property *table = rc_config_properties(&n);
    for (size_t i = 0; i < n; i++)
        write_value(out, table[i].name, config->values[i].text);
    for (size_t i = 0; i < config->n_kafka; i++) {
        const struct config_kafka *kafka = &config->kafka[i];
        char key[600];
        snprintf(key, sizeof key, "kafka.%s", kafka->property);
        if (rc_config_kafka_secret(kafka->property) && !secrets)
            rc_buf_printf(out, "# %s is set by %s; --secrets shows it\n", key, kafka->value.origin);
        else
            write_value(out, key, kafka->value.text);
    }
    return out->full ? RC_FAIL : RC_OK;
}

/* A number of ms or bytes in the largest unit that divides it. */
static void write_amount(struct rc_buf *out, enum rc_config_type type, int64_t amount) {
    static const struct {
        const char *name;
        int64_t factor;
    } durations[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}},
      sizes[] = {
          {"TiB", INT64_C(1) << 40}, {"GiB", INT64_C(1) << 30}, {"MiB", INT64_C(1) << 20}, {"KiB", 1024}, {"B", 1}};
    for (size_t i = 0; i < 5; i++) {
        int64_t factor = type == RC_CONFIG_DURATION ? durations[i].factor : sizes[i].factor;
        const char *name = type == RC_CONFIG_DURATION ? durations[i].name : sizes[i].name;
        if (amount % factor == 0) {
            rc_buf_printf(out, "%lld%s", (long long)(amount / factor), name);
            return;
        }
    }
}

static void write_type(struct rc_buf *out, const struct rc_config_property *row) {
    switch (row->type) {
    case RC_CONFIG_WORD:
        for (const char *at = row->words;;) {
            size_t len = strcspn(at, "|");
            rc_buf_printf(out, "`%.*s`", (int)len, at);
            if (at[len] == '\0')
                break;
            rc_buf_add_str(out, ", ");
            at += len + 1;
        }
        break;
    case RC_CONFIG_INT: rc_buf_printf(out, "integer, %lld to %lld", (long long)row->min, (long long)row->max); break;
    case RC_CONFIG_DURATION:
    case RC_CONFIG_BYTES:
        rc_buf_printf(out, "%s, ", rc_config_type_name(row->type));
        write_amount(out, row->type, row->min);
        rc_buf_add_str(out, " to ");
        write_amount(out, row->type, row->max);
        break;
    case RC_CONFIG_TEXT:
    case RC_CONFIG_BOOL: rc_buf_add_str(out, rc_config_type_name(row->type)); break;
    }
}

rc_status rc_config_write_markdown(struct rc_buf *out) {
    rc_buf_add_str(out,
                   "# Configuration\n\n"
                   "<!-- Printed by `rollcall help config --markdown` from common/base/config_table.h; a test checks "
                   "that it is current. -->\n\n"
                   "Defaults < file < environment < `--set key=value` on the command line. `rollcall config` prints "
                   "what is in force, in the form\n"
                   "of the file; it parses back to itself. An unknown key, a value of a wrong type or out of range is "
                   "an error (exit 78) that names\n"
                   "file and line, the variable or the option, and the nearest known key.\n\n"
                   "- **File**: `--config FILE`, else what `ROLLCALL_CONFIG` names, else none. Lines `key = value`; a "
                   "`#` at the start of a line or\n"
                   "  after white space begins a comment; a value may stand in double quotes, in which `\\\"` and "
                   "`\\\\` are escapes. A key twice in a\n"
                   "  file is an error.\n"
                   "- **Environment**: `ROLLCALL_` and the key in upper case with `_` for each dot: "
                   "`ROLLCALL_STATE_MEMORY_BYTES`. Every variable that\n"
                   "  begins with `ROLLCALL_` must be a key (but for `ROLLCALL_CONFIG`, and `ROLLCALL_TEST_*`, which "
                   "the test scripts use).\n"
                   "- **Kafka**: `kafka.<property>` hands any property to librdkafka; its own documentation lists "
                   "them. From the environment,\n"
                   "  `ROLLCALL_KAFKA_A_B` is `kafka.a.b`, and two underscores stand for one in the property's name.\n"
                   "- **Durations** are an integer and one of `ms s m h d w` (a day is 24 h); **sizes** an integer and "
                   "one of `B KiB MiB GiB TiB`.\n"
                   "- `SIGHUP` reads everything again. What is marked *live* is taken up at once; for the rest the log "
                   "names what waits for the next\n"
                   "  start. When the new configuration is wrong, the old one stays and the log says why.\n\n"
                   "| key | value | default | meaning |\n|---|---|---|---|\n");
    size_t n;
    const struct rc_config_property *table = rc_config_properties(&n);
    for (size_t i = 0; i < n; i++) {
        rc_buf_printf(out, "| `%s` | ", table[i].name);
        write_type(out, &table[i]);
        if (*table[i].fallback)
            rc_buf_printf(out, " | `%s` | ", table[i].fallback);
        else
            rc_buf_add_str(out, " | | ");
        for (const char *c = table[i].help; *c; c++)
            rc_buf_printf(out, *c == '|' ? "\\%c" : "%c", *c);
        rc_buf_printf(out, "%s |\n", table[i].live ? " *Live.*" : "");
    }
    return out->full ? RC_FAIL : RC_OK;
}
