#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct rc_arena_block {
    struct rc_arena_block *next;
    size_t bytes;
    max_align_t data[];
};

void rc_arena_init(struct rc_arena *arena, size_t block_bytes) {
    *arena = (struct rc_arena){.block_bytes = block_bytes};
}

static void free_blocks(struct rc_arena_block *block) {
    while (block) {
        struct rc_arena_block *next = block->next;
        free(block);
        block = next;
    }
}

void rc_arena_deinit(struct rc_arena *arena) {
    free_blocks(arena->blocks);
    *arena = (struct rc_arena){.block_bytes = arena->block_bytes};
}

void rc_arena_reset(struct rc_arena *arena) {
    if (!arena->blocks)
        return;
    struct rc_arena_block *keep = NULL;
    for (struct rc_arena_block *b = arena->blocks, *next; b; b = next) {
        next = b->next;
        if (!keep && b->bytes == arena->block_bytes)
            keep = b;
        else
            free(b);
    }
    arena->blocks = keep;
    arena->at = arena->end = NULL;
    if (keep) {
        keep->next = NULL;
        arena->at = (char *)keep->data;
        arena->end = arena->at + keep->bytes;
    }
}

void *rc_arena_alloc(struct rc_arena *arena, size_t bytes) {
    size_t aligned = (bytes + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if ((size_t)(arena->end - arena->at) < aligned || !arena->at) {
        size_t size = aligned > arena->block_bytes ? aligned : arena->block_bytes;
        struct rc_arena_block *block = rc_alloc(sizeof *block + size);
        block->bytes = size;
        block->next = arena->blocks;
        arena->blocks = block;
        arena->at = (char *)block->data;
        arena->end = arena->at + size;
    }
    void *p = arena->at;
    arena->at += aligned;
    return p;
}

struct rc_span rc_arena_copy(struct rc_arena *arena, struct rc_span span) {
    char *copy = rc_arena_alloc(arena, span.len + 1);
    if (span.len)
        memcpy(copy, span.data, span.len);
    copy[span.len] = '\0';
    return rc_span_of(copy, span.len);
}
