/* A bump allocator for what lives as long as one batch: allocate many times, release all at once.
 * Memory from it is borrowed until the next rc_arena_reset. */
#ifndef RC_BASE_ARENA_H
#define RC_BASE_ARENA_H

#include <stddef.h>

#include "base/span.h"

struct rc_arena_block;

struct rc_arena {
    struct rc_arena_block *blocks; /* newest first; owned */
    char *at, *end;                /* free part of the newest block */
    size_t block_bytes;            /* size of an ordinary block */
};

/* `block_bytes`: size of a block; larger requests get one of their own. */
void rc_arena_init(struct rc_arena *arena, size_t block_bytes);
void rc_arena_deinit(struct rc_arena *arena);

/* Forgets all that was handed out; keeps one block, so a steady load allocates nothing. */
void rc_arena_reset(struct rc_arena *arena);

/* `bytes` of memory aligned for any type, not zeroed. */
void *rc_arena_alloc(struct rc_arena *arena, size_t bytes) __attribute__((returns_nonnull));

/* A NUL-terminated copy of `span` in the arena. */
struct rc_span rc_arena_copy(struct rc_arena *arena, struct rc_span span);

#endif
