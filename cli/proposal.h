/* Definitions in files, held against those that are applied: what `apply` would put in force. Everything that can be wrong with them is found
 * here, and nothing is changed. */
#ifndef RC_CLI_PROPOSAL_H
#define RC_CLI_PROPOSAL_H

#include "cli/applied.h"

struct rc_cli_proposal {
    struct rc_catalog_builder files;   /* what the files say */
    struct rc_catalog_builder applied; /* as it is */
    struct rc_controls controls;       /* what operators said */
    struct rc_catalog_builder next;    /* as it would be */
    struct rc_catalog *before;         /* built from `applied`; NULL when this build cannot use it */
    struct rc_catalog *catalog;        /* built from `next` */
};

void rc_cli_proposal_init(struct rc_cli_proposal *proposal);
void rc_cli_proposal_deinit(struct rc_cli_proposal *proposal);

/* Reads what is applied and puts `texts` on top. The files by themselves come first: a misspelt key should not wait for a broker. Fails on
 * unsound definitions, and where a dataset's person, timestamp or event_id would change in place (exit 65), or without a broker (69). */
rc_status rc_cli_proposal_make(const struct rc_cli *cli, const struct rc_cli_texts *texts,
                               struct rc_cli_proposal *proposal, struct rc_error *err) RC_MUST_USE;

/* The same for the command's -f, after connecting. Exit 64 when there is none. */
rc_status rc_cli_proposal_of(struct rc_cli *cli, struct rc_cli_proposal *proposal, struct rc_error *err) RC_MUST_USE;

enum rc_cli_outcome { RC_CLI_CREATED, RC_CLI_CONFIGURED, RC_CLI_UNCHANGED };

/* What would become of a definition of the files, and the version that it would have. */
enum rc_cli_outcome rc_cli_proposal_outcome(const struct rc_cli_proposal *proposal,
                                            const struct rc_definition *definition, int *version);

#endif
