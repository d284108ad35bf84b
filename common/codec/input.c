#include "codec/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/alloc.h"

#define BUFFER_BYTES ((size_t)256 << 10)

struct rc_input {
    gzFile file;
    char *name;    /* owned */
    int64_t total; /* bytes of the file, -1: not known */
    char *buffer;  /* owned */
    size_t at, len, capacity;
    bool ended;
};

rc_status rc_input_open(const char *path, struct rc_input **out, struct rc_error *err) {
    bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "stdin" : path;
    int fd = standard ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (fd < 0 || fstat(fd, &about) != 0) {
        int why = errno;
        if (fd >= 0)
            close(fd);
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s: %s", name, strerror(why));
    }
    if (S_ISDIR(about.st_mode)) {
        close(fd);
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s is a folder, a file is wanted", name);
    }
    gzFile file = gzdopen(fd, "rb");
    if (!file) {
        close(fd);
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s: zlib cannot open it", name);
    }
    gzbuffer(file, 128 << 10);
    struct rc_input *input = rc_calloc(1, sizeof *input);
    input->file = file;
    input->name = rc_strdup(name);
    input->total = S_ISREG(about.st_mode) ? about.st_size : -1;
    input->capacity = BUFFER_BYTES;
    input->buffer = rc_alloc(input->capacity);
    *out = input;
    return RC_OK;
}

void rc_input_close(struct rc_input *input) {
    if (!input)
        return;
    gzclose(input->file);
    free(input->name);
    free(input->buffer);
    free(input);
}

const char *rc_input_name(const struct rc_input *input) {
    return input->name;
}

static rc_status fill(struct rc_input *input, struct rc_error *err) {
    int n = gzread(input->file, input->buffer + input->len, (unsigned)(input->capacity - input->len));
    int code = Z_OK;
    if (n <= 0) {
        const char *why = gzerror(input->file, &code);
        if (n < 0 || code == Z_BUF_ERROR) { /* zlib gives Z_BUF_ERROR, and no bytes, for data that ends early */
            if (code == Z_ERRNO)
                why = strerror(errno);
            else if (code == Z_BUF_ERROR)
                why = "the gzip data ends early";
            return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s: %s, after %lld bytes", input->name, why,
                                (long long)gzoffset(input->file));
        }
        input->ended = true;
        return RC_OK;
    }
    input->len += (size_t)n;
    return RC_OK;
}

rc_status rc_input_peek(struct rc_input *input, size_t want, struct rc_span *out, struct rc_error *err) {
    if (want > RC_INPUT_WANT_MAX)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s: a block of %zu bytes is more than can be read",
                            input->name, want);
    while (input->len - input->at < want && !input->ended) {
        if (input->at) {
            memmove(input->buffer, input->buffer + input->at, input->len - input->at);
            input->len -= input->at;
            input->at = 0;
        }
        if (want > input->capacity) {
            input->capacity = want;
            input->buffer = rc_realloc(input->buffer, want);
        }
        if (fill(input, err) != RC_OK)
            return RC_FAIL;
    }
    *out = rc_span_of(input->buffer + input->at, input->len - input->at);
    return RC_OK;
}

void rc_input_skip(struct rc_input *input, size_t n) {
    input->at += n;
}

void rc_input_progress(const struct rc_input *input, int64_t *read_bytes, int64_t *total_bytes) {
    *read_bytes = gzoffset(input->file);
    *total_bytes = input->total;
}
