#include "base/log.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/timezone.h"

#define MAX_LINE 8192 /* bytes; what is longer is cut and marked, so that one line stays one write */

_Atomic int rc_log_threshold = RC_LOG_INFO;
static _Atomic int log_fd = STDERR_FILENO;

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

struct line {
    char data[MAX_LINE];
    size_t len;
    bool cut;
};

void rc_log_set_level(enum rc_log_level level) {
    atomic_store_explicit(&rc_log_threshold, (int)level, memory_order_relaxed);
}

rc_status rc_log_level_parse(const char *word, enum rc_log_level *out) {
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++) {
        if (strcmp(word, level_names[i]) == 0) {
            *out = (enum rc_log_level)i;
            return RC_OK;
        }
    }
    return RC_FAIL;
}

void rc_log_set_fd(int fd) {
    atomic_store(&log_fd, fd);
}

/* Appends, leaving room for a closing quote, the mark of a cut and the newline. */
static void add(struct line *line, const char *data, size_t len) {
    static const size_t room = sizeof line->data - 32;
    if (line->cut || len > room - line->len) {
        line->cut = true;
        return;
    }
    memcpy(line->data + line->len, data, len);
    line->len += len;
}

static void add_str(struct line *line, const char *text) {
    add(line, text, strlen(text));
}

static bool is_bare(struct rc_span text) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f)
            return false;
    }
    return text.len > 0;
}

/* As it is when nothing in it can be misread, else in double quotes with Go's and logfmt's escapes. */
static void add_value(struct line *line, struct rc_span text) {
    if (is_bare(text)) {
        add(line, text.data, text.len);
        return;
    }
    add(line, "\"", 1);
    for (size_t i = 0; i < text.len && !line->cut; i++) {
        unsigned char c = (unsigned char)text.data[i];
        char escaped[8];
        switch (c) {
        case '"': add_str(line, "\\\""); break;
        case '\\': add_str(line, "\\\\"); break;
        case '\n': add_str(line, "\\n"); break;
        case '\r': add_str(line, "\\r"); break;
        case '\t': add_str(line, "\\t"); break;
        default:
            if (c < ' ' || c == 0x7f) {
                snprintf(escaped, sizeof escaped, "\\u%04x", c);
                add_str(line, escaped);
            } else {
                add(line, (const char *)&text.data[i], 1);
            }
        }
    }
    /* The closing quote always fits: add() keeps 32 bytes back. */
    line->data[line->len++] = '"';
}

static void add_field(struct line *line, const struct rc_log_field *field) {
    char number[64];
    add(line, " ", 1);
    add_str(line, field->key);
    add(line, "=", 1);
    if (line->cut)
        return;
    switch (field->kind) {
    case RC_LOG_KIND_STR: add_value(line, field->text); break;
    case RC_LOG_KIND_BOOL: add_str(line, field->number ? "true" : "false"); break;
    case RC_LOG_KIND_INT:
        snprintf(number, sizeof number, "%lld", (long long)field->number);
        add_str(line, number);
        break;
    case RC_LOG_KIND_DOUBLE:
        snprintf(number, sizeof number, "%.6g", field->real);
        add_str(line, number);
        break;
    }
}

void rc_log_write(enum rc_log_level level, const char *msg, const struct rc_log_field *fields) {
    int saved_errno = errno; /* a log line must not disturb the error that it tells of */
    struct line line;
    line.len = 0;
    line.cut = false;
    char time[25];
    rc_rfc3339_format(rc_clock_wall_ms(), time);
    add_str(&line, "time=");
    add_str(&line, time);
    add_str(&line, " level=");
    add_str(&line, level_names[level]);
    add_str(&line, " msg=");
    add_value(&line, rc_span_str(msg));
    for (const struct rc_log_field *field = fields; field->key && !line.cut; field++)
        add_field(&line, field);
    if (line.cut) {
        memcpy(line.data + line.len, " cut=true", 9);
        line.len += 9;
    }
    line.data[line.len++] = '\n';
    for (size_t done = 0; done < line.len;) {
        ssize_t n = write(atomic_load_explicit(&log_fd, memory_order_relaxed), line.data + done, line.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; /* stderr is gone: nowhere to say so */
        done += (size_t)n;
    }
    errno = saved_errno;
}

bool rc_log_limit_pass(struct rc_log_limit *limit, int64_t *suppressed) {
    int64_t now = rc_clock_monotonic_ms();
    int64_t next = atomic_load_explicit(&limit->next_ms, memory_order_relaxed);
    /* Of several threads at the same moment one wins the exchange; the others are kept back. */
    if (now < next || !atomic_compare_exchange_strong(&limit->next_ms, &next, now + 1000)) {
        atomic_fetch_add_explicit(&limit->suppressed, 1, memory_order_relaxed);
        return false;
    }
    *suppressed = atomic_exchange_explicit(&limit->suppressed, 0, memory_order_relaxed);
    return true;
}
