/* What a file destination remembers beside its file, in PATH.audiences: a set of short texts.
 *
 * Lines `+TEXT .` and `-TEXT .`, the last one about a text counts. Appended and on disk before the call returns; a line that a crash
 * has cut off lacks its end and does not count, and the next one begins on a line of its own. Written anew when most lines are out of
 * date. Several processes may share it: each call holds a lock on the destination's file. */
#ifndef RC_SINK_FILE_LIST_H
#define RC_SINK_FILE_LIST_H

#include <stddef.h>

#include "base/error.h"
#include "base/span.h"

/* `lock_fd`: the destination's file, for flock(2). Calls `visit` with each text that is in the set, in byte order. */
rc_status rc_sink_file_list_read(const char *path, int lock_fd, void (*visit)(void *ctx, struct rc_span text),
                                 void *ctx, struct rc_error *err) RC_MUST_USE;
/* Puts `n` texts in (`sign` '+') or takes them out ('-'). */
rc_status rc_sink_file_list_write(const char *path, int lock_fd, char sign, const char *const *texts, size_t n,
                                  struct rc_error *err) RC_MUST_USE;

#endif
