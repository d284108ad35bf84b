/* state.dir: made when missing, locked per kind of consumer, and where the process's id is kept. */
#ifndef RC_CLI_STATE_DIR_H
#define RC_CLI_STATE_DIR_H

#include "base/config.h"
#include "base/error.h"

#define CLI_MAX_ROLES 3

/* Locks held on a state.dir. The kernel drops them when the process dies, however it dies. */
struct rc_cli_locks {
    int fds[CLI_MAX_ROLES];
    size_t n;
};

/* Makes the folder (and those above it) and locks it for `roles`. Fails: exit 75 naming the process that has it, exit 78 when it cannot be
 * made or written. */
rc_status rc_cli_state_dir_lock(const char *dir, const char *const *roles, size_t n, struct rc_cli_locks *out,
                                struct rc_error *err) RC_MUST_USE;
void rc_cli_state_dir_unlock(struct rc_cli_locks *locks);

/* group.instance, or the id that is kept in `<state.dir>/instance`; made at random when there is none yet. */
rc_status rc_cli_instance(const struct rc_config *config, char out[201], struct rc_error *err) RC_MUST_USE;

#endif
