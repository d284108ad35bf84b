/* The mistake that this prevents: two processes that write one local store. */
#include "cli/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

static rc_status unusable(struct rc_error *err, const char *path, const char *why) {
    return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                        "%s: %s; state.dir must be a folder that this user can write", path, why);
}

static rc_status make_folders(const char *dir, struct rc_error *err) {
    char *path = rc_strdup(dir);
    rc_status status = RC_OK;
    for (char *slash = path; status == RC_OK && slash; slash = strchr(slash, '/')) {
        while (*slash == '/')
            slash++;
        char *end = strchr(slash, '/');
        if (end)
            *end = '\0';
        if (*path && mkdir(path, 0777) != 0 && errno != EEXIST)
            status = unusable(err, path, strerror(errno));
        if (!end)
            break;
        *end = '/';
        slash = end;
    }
    free(path);
    return status;
}

/* Who holds the lock writes its pid into the file. */
static void read_holder(int fd, char *out, size_t size) {
    ssize_t n = pread(fd, out, size - 1, 0);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    if (!*out)
        snprintf(out, size, "?");
}

static rc_status lock_role(const char *dir, const char *role, int *out, struct rc_error *err) {
    char *path;
    if (asprintf(&path, "%s/%s.lock", dir, role) < 0)
        abort();
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    rc_status status = fd >= 0 ? RC_OK : unusable(err, path, strerror(errno));
    if (status == RC_OK && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        char holder[32];
        read_holder(fd, holder, sizeof holder);
        status = rc_error_set(
            err, RC_CLASS_RETRY, RC_EXIT_TEMPORARY,
            "state.dir %s is in use by process %s (%s); stop that one, or give this one its own: --set state.dir=DIR",
            dir, holder, role);
    }
    if (status == RC_OK) {
        char pid[32];
        int len = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
        /* The pid is for messages only: without it the lock holds all the same. */
        if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)len, 0) != len)
            status = unusable(err, path, strerror(errno));
    }
    free(path);
    if (status != RC_OK) {
        if (fd >= 0)
            close(fd);
        return RC_FAIL;
    }
    *out = fd;
    return RC_OK;
}

rc_status rc_cli_state_dir_lock(const char *dir, const char *const *roles, size_t n, struct rc_cli_locks *out,
                                struct rc_error *err) {
    struct rc_cli_locks locks = {.n = 0};
    rc_status status = make_folders(dir, err);
    for (size_t i = 0; status == RC_OK && i < n; i++) {
        status = lock_role(dir, roles[i], &locks.fds[i], err);
        locks.n += status == RC_OK;
    }
    if (status != RC_OK) {
        rc_cli_state_dir_unlock(&locks);
        return RC_FAIL;
    }
    *out = locks;
    return RC_OK;
}

void rc_cli_state_dir_unlock(struct rc_cli_locks *locks) {
    for (size_t i = 0; i < locks->n; i++)
        close(locks->fds[i]);
    locks->n = 0;
}

rc_status rc_cli_instance(const struct rc_config *config, char out[201], struct rc_error *err) {
    const char *configured = rc_config_text(config, "group.instance");
    if (*configured) {
        snprintf(out, 201, "%s", configured);
        return RC_OK;
    }
    char *path;
    if (asprintf(&path, "%s/instance", rc_config_text(config, "state.dir")) < 0)
        abort();
    rc_status status = RC_OK;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    /* Consumers that share the folder may start at the same moment: one of them makes the id. */
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        status = unusable(err, path, strerror(errno));
    } else {
        char text[64];
        read_holder(fd, text, sizeof text);
        if (strlen(text) != 12) {
            unsigned char random[6];
            if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
                abort();
            for (size_t i = 0; i < sizeof random; i++)
                snprintf(text + 2 * i, 3, "%02x", random[i]);
            text[12] = '\n';
            if (ftruncate(fd, 0) != 0 || pwrite(fd, text, 13, 0) != 13)
                status = unusable(err, path, strerror(errno));
            text[12] = '\0';
        }
        snprintf(out, 201, "%s", text);
    }
    if (fd >= 0)
        close(fd);
    free(path);
    return status;
}
