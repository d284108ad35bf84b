/* Definitions as a list: what is applied, joined with what running processes tell of it, narrowed down and put in order. */
#ifndef RC_CLI_LISTING_H
#define RC_CLI_LISTING_H

#include <jansson.h>

#include "cli/applied.h"
#include "cli/processes.h"

/* One definition. What is not known is 0, −1 for members, "" for the state. */
struct rc_cli_listed {
    const struct rc_definition *definition; /* borrowed from the catalog */
    json_t *body;                           /* its JSON; owned */
    char state[96];                         /* over all processes: the worst of what they say */
    int64_t members;
    int64_t refreshed_ms; /* an audience's last publication; of a continuous one, its last change */
    int64_t next_ms;      /* its next one by its schedule */
    int64_t expires_ms;   /* an audience's end */
    char warning[384];    /* what somebody should do about it */
};

struct rc_cli_listing {
    struct rc_cli_listed *items; /* owned */
    size_t n;
    bool told; /* some running process tells of the kind that is listed */
};

/* Lists the definitions of `kind` (NULL: all) as the options of `get` want it (rc_cli_listing_options). Segments and audiences are asked for at the
 * running processes; none has to run. Fails: exit 64 on options that do not fit, exit 65 on ids that are not applied. */
rc_status rc_cli_listing_read(const struct rc_cli *cli, const struct rc_catalog *catalog, const char *kind,
                              struct rc_cli_listing *out, struct rc_error *err) RC_MUST_USE;
void rc_cli_listing_deinit(struct rc_cli_listing *listing);

/* Joins one definition with what `processes` (may be empty) tell of it. Its `body` is owned by the caller. True when one tells. */
bool rc_cli_listed_fill(const struct rc_catalog *catalog, const struct rc_definition *definition,
                        const struct rc_cli_processes *processes, struct rc_cli_listed *out);

/* Why a version is held, and the ways out. `out` is returned. */
const char *rc_cli_held_note(const char *kind, const char *id, int version, int64_t members, int64_t would_have,
                             char *out, size_t size);

/* A text at the top of a definition, or "". Its tags as one text: "a, b". Borrowed; `out` is returned. */
const char *rc_cli_listed_text(const struct rc_cli_listed *listed, const char *key);
const char *rc_cli_listed_tags(const struct rc_cli_listed *listed, char *out, size_t size);

extern const struct rc_cli_option rc_cli_listing_options[];

#endif
