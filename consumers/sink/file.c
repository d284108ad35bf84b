/* A file of JSON lines: one change a line, appended, on disk (fdatasync) before its offset is committed.
 *
 * A file cannot be written together with an offset, so after a crash the last changes may come again, with the same version. A line that a
 * crash has cut off is cut away at the next start: it was not committed. Which audiences it has had from their beginning stands in
 * PATH.audiences (file_list.h); a pipe or a terminal has no past, and remembers nothing. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "consumers/sink/driver.h"
#include "consumers/sink/file_list.h"

struct file {
    struct rc_sink_driver base;
    char *destination, *path, *list_path;
    int fd;
    struct rc_buf lines;
    struct rc_sink_batch *done;
};

static struct file *file_of(struct rc_sink_driver *driver) {
    return (struct file *)driver;
}

static rc_status trouble(const struct file *file, const char *what, struct rc_error *err) {
    return rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_UNAVAILABLE, "destination %s: %s: %s: %s", file->destination,
                        file->path, what, strerror(errno));
}

/* Cuts the file behind its last newline. */
static rc_status mend(struct file *file, struct rc_error *err) {
    char block[4096];
    off_t end = lseek(file->fd, 0, SEEK_END);
    while (end > 0) {
        off_t from = end > (off_t)sizeof block ? end - (off_t)sizeof block : 0;
        ssize_t n = pread(file->fd, block, (size_t)(end - from), from);
        if (n <= 0)
            return trouble(file, "read", err);
        const char *newline = memrchr(block, '\n', (size_t)n);
        if (newline) {
            end = from + (newline - block) + 1;
            break;
        }
        end = from;
    }
    return end < 0 || ftruncate(file->fd, end) ? trouble(file, "truncate", err) : RC_OK;
}

static rc_status file_connect(struct rc_sink_driver *driver, struct rc_error *err) {
    struct file *file = file_of(driver);
    struct stat about;
    file->fd = open(file->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (file->fd < 0)
        return trouble(file, "open", err);
    if (fstat(file->fd, &about))
        return trouble(file, "stat", err);
    return S_ISREG(about.st_mode) ? mend(file, err) : RC_OK; /* a pipe or a terminal has no past */
}

static void file_disconnect(struct rc_sink_driver *driver) {
    struct file *file = file_of(driver);
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
    rc_sink_batch_free(file->done);
    file->done = NULL;
}

static rc_status file_attached(struct rc_sink_driver *driver, void (*visit)(void *ctx, struct rc_span entry), void *ctx,
                               struct rc_error *err) {
    const struct file *file = file_of(driver);
    return rc_sink_file_list_read(file->list_path, file->fd, visit, ctx, err);
}

static rc_status file_attach(struct rc_sink_driver *driver, const char *const *entries, size_t n,
                             struct rc_error *err) {
    const struct file *file = file_of(driver);
    return rc_sink_file_list_write(file->list_path, file->fd, '+', entries, n, err);
}

static rc_status file_detach(struct rc_sink_driver *driver, const char *entry, struct rc_error *err) {
    const struct file *file = file_of(driver);
    return rc_sink_file_list_write(file->list_path, file->fd, '-', &entry, 1, err);
}

static void add_line(struct rc_buf *out, const struct rc_membership *change) {
    (void)rc_buf_add_str(out, "{\"audience\":");
    (void)rc_buf_add_json_string(out, change->target);
    (void)rc_buf_add_str(out, ",\"namespace\":");
    (void)rc_buf_add_json_string(out, change->namespace);
    (void)rc_buf_add_str(out, ",\"personId\":");
    (void)rc_buf_add_json_string(out, change->person_id);
    (void)rc_buf_printf(out, ",\"status\":\"%s\",\"since\":%lld,\"version\":%lld,\"cause\":\"%s\",\"eventId\":",
                        change->realized ? "realized" : "exited", (long long)change->since_ms,
                        (long long)change->version, rc_cause_text(change->cause));
    if (change->event_id.len)
        (void)rc_buf_add_json_string(out, change->event_id);
    else
        (void)rc_buf_add_str(out, "null");
    if (change->event_time_ms == RC_NO_EVENT_TIME)
        (void)rc_buf_add_str(out, ",\"eventTime\":null");
    else
        (void)rc_buf_printf(out, ",\"eventTime\":%lld", (long long)change->event_time_ms);
    (void)rc_buf_printf(out, ",\"emittedAt\":%lld,\"audienceVersion\":%d}\n", (long long)change->emitted_at_ms,
                        (int)change->target_version);
}

static rc_status file_submit(struct rc_sink_driver *driver, struct rc_sink_batch *batch, struct rc_error *err) {
    struct file *file = file_of(driver);
    file->done = batch;
    rc_buf_reset(&file->lines);
    for (size_t i = 0; i < batch->n; i++)
        if (!batch->changes[i].only_if_there) /* a file does not know who is in it */
            add_line(&file->lines, &batch->changes[i].change);
    for (size_t at = 0; at < file->lines.len;) {
        ssize_t n = write(file->fd, file->lines.data + at, file->lines.len - at);
        if (n < 0 && errno != EINTR)
            return trouble(file, "write", err);
        at += n > 0 ? (size_t)n : 0;
    }
    if (file->lines.len && fdatasync(file->fd) && errno != EINVAL && errno != EROFS) /* pipes and terminals cannot */
        return trouble(file, "fdatasync", err);
    return RC_OK;
}

static rc_status file_progress(struct rc_sink_driver *driver, rc_sink_done_fn done, void *ctx, struct rc_error *err) {
    struct file *file = file_of(driver);
    (void)err;
    struct rc_sink_batch *batch = file->done;
    file->done = NULL;
    if (batch)
        done(ctx, batch, batch->n);
    return RC_OK;
}

static size_t file_pending(const struct rc_sink_driver *driver) {
    const struct file *file = (const struct file *)driver;
    return file->done ? file->done->n : 0;
}

static int file_fd(const struct rc_sink_driver *driver, short *events) {
    (void)driver;
    *events = 0;
    return -1;
}

static void file_free(struct rc_sink_driver *driver) {
    struct file *file = file_of(driver);
    file_disconnect(driver);
    rc_buf_deinit(&file->lines);
    free(file->destination);
    free(file->path);
    free(file->list_path);
    free(file);
}

static const struct rc_sink_driver_ops file_ops = {
    .type = "file",
    .connect = file_connect,
    .disconnect = file_disconnect,
    .attached = file_attached,
    .attach = file_attach,
    .detach = file_detach,
    .submit = file_submit,
    .progress = file_progress,
    .pending = file_pending,
    .fd = file_fd,
    .free = file_free,
};

static const struct rc_sink_driver_ops stream_ops = {
    .type = "file",
    .connect = file_connect,
    .disconnect = file_disconnect,
    .submit = file_submit,
    .progress = file_progress,
    .pending = file_pending,
    .fd = file_fd,
    .free = file_free,
};

static char *list_path_of(const char *path) {
    struct rc_buf text;
    rc_buf_init(&text, 64 * 1024);
    (void)rc_buf_printf(&text, "%s.audiences", path);
    char *copy = rc_span_dup(rc_buf_span(&text));
    rc_buf_deinit(&text);
    return copy;
}

rc_status rc_sink_file_new(const struct rc_sink_driver_options *options, struct rc_sink_driver **out,
                           struct rc_error *err) {
    const char *path = strncmp(options->url, "file:", 5) == 0 ? options->url + 5 : options->url;
    if (strncmp(path, "//", 2) == 0)
        path += 2;
    if (!*path)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                            "destination %s: \"%s\" names no file; expected file:PATH", options->destination,
                            options->url);
    struct stat about;
    bool stream = stat(path, &about) == 0 && !S_ISREG(about.st_mode);
    struct file *file = rc_calloc(1, sizeof *file);
    file->base.ops = stream ? &stream_ops : &file_ops;
    file->destination = rc_strdup(options->destination);
    file->path = rc_strdup(path);
    file->list_path = list_path_of(path);
    file->fd = -1;
    rc_buf_init(&file->lines, 1u << 30);
    *out = &file->base;
    return RC_OK;
}
