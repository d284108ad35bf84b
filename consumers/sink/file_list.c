#include "consumers/sink/file_list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"

/* Lines from which on it may be written anew. */
#define LINES_MANY 1000

struct line {
    char *text; /* sign and text; owned */
    size_t order;
};

struct list {
    struct line *lines;
    size_t n, capacity;
};

static rc_status trouble(const char *path, const char *what, struct rc_error *err) {
    return rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE, "%s: %s: %s", path, what, strerror(errno));
}

static void list_deinit(struct list *list) {
    for (size_t i = 0; i < list->n; i++)
        free(list->lines[i].text);
    free(list->lines);
}

/* By text, then by order. */
static int compare(const void *a, const void *b) {
    const struct line *x = a, *y = b;
    int order = strcmp(x->text + 1, y->text + 1);
    return order ? order : x->order < y->order ? -1 : 1;
}

/* The lines that are whole, sorted. */
static rc_status load(const char *path, struct list *list, struct rc_error *err) {
    FILE *in = fopen(path, "re");
    if (!in)
        return errno == ENOENT ? RC_OK : trouble(path, "open", err);
    char *text = NULL;
    size_t capacity = 0;
    ssize_t len;
    while ((len = getline(&text, &capacity, in)) >= 0) {
        if (len < 5 || strcmp(text + len - 3, " .\n") != 0 || (text[0] != '+' && text[0] != '-'))
            continue;
        rc_grow(&list->lines, &list->capacity, list->n + 1, sizeof *list->lines);
        list->lines[list->n] = (struct line){.text = rc_span_dup(rc_span_of(text, (size_t)len - 3)), .order = list->n};
        list->n++;
    }
    bool failed = ferror(in);
    free(text);
    fclose(in);
    if (failed)
        return trouble(path, "read", err);
    if (list->n)
        qsort(list->lines, list->n, sizeof *list->lines, compare);
    return RC_OK;
}

static bool counts(const struct list *list, size_t at) {
    bool last = at + 1 == list->n || strcmp(list->lines[at].text + 1, list->lines[at + 1].text + 1) != 0;
    return last && list->lines[at].text[0] == '+';
}

static rc_status write_out(const char *path, int flags, struct rc_span bytes, struct rc_error *err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
    if (fd < 0)
        return trouble(path, "open", err);
    rc_status status = RC_OK;
    for (size_t at = 0; status == RC_OK && at < bytes.len;) {
        ssize_t n = write(fd, bytes.data + at, bytes.len - at);
        if (n < 0 && errno != EINTR)
            status = trouble(path, "write", err);
        at += n > 0 ? (size_t)n : 0;
    }
    if (status == RC_OK && fdatasync(fd))
        status = trouble(path, "fdatasync", err);
    close(fd);
    return status;
}

static rc_status write_anew(const char *path, const struct list *list, struct rc_error *err) {
    struct rc_buf bytes, other;
    rc_buf_init(&bytes, 1u << 30);
    rc_buf_init(&other, 8192);
    for (size_t i = 0; i < list->n; i++)
        if (counts(list, i))
            (void)rc_buf_printf(&bytes, "%s .\n", list->lines[i].text);
    (void)rc_buf_printf(&other, "%s.new", path);
    rc_status status = write_out(other.data, O_TRUNC, rc_buf_span(&bytes), err);
    if (status == RC_OK && rename(other.data, path))
        status = trouble(path, "rename", err);
    rc_buf_deinit(&bytes);
    rc_buf_deinit(&other);
    return status;
}

rc_status rc_sink_file_list_read(const char *path, int lock_fd, void (*visit)(void *ctx, struct rc_span text),
                                 void *ctx, struct rc_error *err) {
    struct list list = {0};
    if (flock(lock_fd, LOCK_EX))
        return trouble(path, "lock", err);
    rc_status status = load(path, &list, err);
    size_t n = 0;
    for (size_t i = 0; status == RC_OK && i < list.n; i++)
        if (counts(&list, i)) {
            visit(ctx, rc_span_str(list.lines[i].text + 1));
            n++;
        }
    if (status == RC_OK && list.n > LINES_MANY && list.n > 4 * n)
        status = write_anew(path, &list, err);
    flock(lock_fd, LOCK_UN);
    list_deinit(&list);
    return status;
}

rc_status rc_sink_file_list_write(const char *path, int lock_fd, char sign, const char *const *texts, size_t n,
                                  struct rc_error *err) {
    struct rc_buf bytes;
    rc_buf_init(&bytes, 1u << 30);
    (void)rc_buf_add_byte(&bytes, '\n');
    for (size_t i = 0; i < n; i++)
        (void)rc_buf_printf(&bytes, "%c%s .\n", sign, texts[i]);
    rc_status status = flock(lock_fd, LOCK_EX) ? trouble(path, "lock", err) : RC_OK;
    if (status == RC_OK) {
        status = write_out(path, O_APPEND, rc_buf_span(&bytes), err);
        flock(lock_fd, LOCK_UN);
    }
    rc_buf_deinit(&bytes);
    return status;
}
