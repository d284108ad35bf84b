/* What a command's -f would put in force, and what is in force: a change (cli/change.h) that is looked at and never done. */
#ifndef RC_CLI_PROPOSAL_H
#define RC_CLI_PROPOSAL_H

#include "cli/change.h"

struct rc_cli_proposal {
    struct rc_cli_texts texts;
    struct rc_cli_change change; /* prepared: `files`, `applied` and `catalog` are there */
    bool begun;                  /* `change` is */
    struct rc_catalog *before;   /* built from `applied`; NULL when this build cannot use it */
};

/* Connects, reads the files and what is applied, and checks them together as apply does. `out` is zeroed storage; deinit it in any case. Fails:
 * exit 64 without -f, 65 on what apply would refuse, 69 without a broker. */
rc_status rc_cli_proposal_read(struct rc_cli *cli, struct rc_cli_proposal *out, struct rc_error *err) RC_MUST_USE;
void rc_cli_proposal_deinit(struct rc_cli_proposal *proposal);

#endif
