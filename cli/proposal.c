#include "cli/proposal.h"

#include <stdlib.h>

rc_status rc_cli_proposal_read(struct rc_cli *cli, struct rc_cli_proposal *out, struct rc_error *err) {
    size_t n;
    const char **paths = rc_cli_paths(cli, &n);
    rc_status status = n ? RC_OK : rc_cli_usage(cli, err, "no definitions: name files or folders with -f");
    if (status == RC_OK)
        status = rc_cli_connect(cli, err);
    if (status == RC_OK)
        status = rc_cli_texts_read(&out->texts, paths, n, err);
    free(paths);
    if (status != RC_OK)
        return RC_FAIL;
    out->begun = true;
    if (rc_cli_change_init(cli, &out->texts, &out->change, err) != RC_OK ||
        rc_cli_change_prepare(cli, &out->change, err) != RC_OK)
        return RC_FAIL;
    struct rc_error unused;
    if (rc_catalog_build(&out->change.applied, &out->before, &unused) != RC_OK)
        out->before = NULL;
    return RC_OK;
}

void rc_cli_proposal_deinit(struct rc_cli_proposal *proposal) {
    rc_catalog_free(proposal->before);
    if (proposal->begun)
        rc_cli_change_deinit(&proposal->change);
    rc_cli_texts_deinit(&proposal->texts);
}
