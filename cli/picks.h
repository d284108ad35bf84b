/* A few persons out of many, chosen by a hash of their key: as good as at random, and the same ones in every run. Bounded: it holds
 * two times its limit at most. */
#ifndef RC_CLI_PICKS_H
#define RC_CLI_PICKS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

struct rc_cli_pick {
    uint64_t hash;
    char *key; /* the person key; owned */
    size_t len;
    int64_t since_ms;
};

struct rc_cli_picks {
    struct rc_cli_pick *items; /* owned */
    size_t n, capacity;
    size_t limit;     /* how many are wanted */
    uint64_t offered; /* how many there were to choose from */
};

void rc_cli_picks_deinit(struct rc_cli_picks *picks);

void rc_cli_picks_offer(struct rc_cli_picks *picks, struct rc_span person_key, int64_t since_ms);

/* Cuts down to the limit and orders by person key, in byte order. */
void rc_cli_picks_settle(struct rc_cli_picks *picks);

/* [{"namespace", "id", "since"}…]; settle first. Owned by the caller. */
json_t *rc_cli_picks_json(const struct rc_cli_picks *picks);

/* The hash by which persons are spread, other than the one that gives them their partition. */
uint64_t rc_cli_person_hash(struct rc_span person_key);

#endif
