/* The latest standing of many persons: what a compacted topic says, read from its beginning. A table in memory, one entry a person. */
#ifndef RC_CLI_LATEST_H
#define RC_CLI_LATEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

struct rc_cli_standing {
    char *person; /* the person key; owned */
    uint32_t len;
    bool realized;
    int64_t since_ms, version;
    bool marked; /* the caller's */
};

struct rc_cli_latest {
    struct rc_cli_standing *items; /* owned; in no order until sorted */
    size_t n, capacity;
    uint32_t *slots; /* open addressing: index into items + 1; owned */
    size_t n_slots;  /* a power of two */
};

void rc_cli_latest_deinit(struct rc_cli_latest *latest);

/* Takes a standing in, unless one with a higher version is there. `latest` starts as zeroes. */
void rc_cli_latest_put(struct rc_cli_latest *latest, struct rc_span person, bool realized, int64_t since_ms,
                       int64_t version);

/* The person's standing, or NULL. Borrowed until the next put. Not after sorting. */
struct rc_cli_standing *rc_cli_latest_find(const struct rc_cli_latest *latest, struct rc_span person);

/* Orders the items by person key, in byte order. Nothing can be put any more. */
void rc_cli_latest_sort(struct rc_cli_latest *latest);

#endif
