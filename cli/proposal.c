#include "cli/proposal.h"

#include <stdlib.h>

void rc_cli_proposal_init(struct rc_cli_proposal *proposal) {
    *proposal = (struct rc_cli_proposal){.catalog = NULL};
    rc_catalog_builder_init(&proposal->files);
    rc_catalog_builder_init(&proposal->applied);
    rc_catalog_builder_init(&proposal->next);
    rc_controls_init(&proposal->controls);
}

void rc_cli_proposal_deinit(struct rc_cli_proposal *proposal) {
    rc_catalog_free(proposal->catalog);
    rc_catalog_free(proposal->before);
    rc_controls_deinit(&proposal->controls);
    rc_catalog_builder_deinit(&proposal->next);
    rc_catalog_builder_deinit(&proposal->applied);
    rc_catalog_builder_deinit(&proposal->files);
}

static rc_status copy_applied(struct rc_cli_proposal *proposal, struct rc_error *err) {
    for (size_t i = 0; i < proposal->applied.n; i++) {
        const struct rc_definition *d = &proposal->applied.items[i];
        if (rc_catalog_builder_add_applied(&proposal->next, rc_span_str(d->json), d->version, d->applied_ms,
                                           d->applied_by, err) != RC_OK)
            return RC_FAIL;
    }
    return RC_OK;
}

rc_status rc_cli_proposal_make(const struct rc_cli *cli, const struct rc_cli_texts *texts,
                               struct rc_cli_proposal *proposal, struct rc_error *err) {
    if (rc_cli_texts_add(texts, &proposal->files, err) != RC_OK ||
        rc_cli_applied_read(cli, &proposal->applied, &proposal->controls, err) != RC_OK ||
        copy_applied(proposal, err) != RC_OK || rc_cli_texts_add(texts, &proposal->next, err) != RC_OK ||
        rc_catalog_build(&proposal->next, &proposal->catalog, err) != RC_OK)
        return RC_FAIL;
    /* What is applied already may be unsound for this build; then applying better definitions is the way out, so there is nothing to
     * compare with. */
    struct rc_error ignored;
    if (rc_catalog_build(&proposal->applied, &proposal->before, &ignored) != RC_OK) {
        proposal->before = NULL;
        return RC_OK;
    }
    return rc_catalog_compatible(proposal->before, proposal->catalog, err);
}

rc_status rc_cli_proposal_of(struct rc_cli *cli, struct rc_cli_proposal *proposal, struct rc_error *err) {
    size_t n;
    const char **paths = rc_cli_paths(cli, &n);
    struct rc_cli_texts texts = {0};
    rc_status status = n ? RC_OK : rc_cli_usage(cli, err, "no definitions: name files or folders with -f");
    if (status == RC_OK)
        status = rc_cli_connect(cli, err);
    if (status == RC_OK)
        status = rc_cli_texts_read(&texts, paths, n, err);
    if (status == RC_OK)
        status = rc_cli_proposal_make(cli, &texts, proposal, err);
    rc_cli_texts_deinit(&texts);
    free(paths);
    return status;
}

enum rc_cli_outcome rc_cli_proposal_outcome(const struct rc_cli_proposal *proposal,
                                            const struct rc_definition *definition, int *version) {
    const struct rc_definition *old = rc_catalog_builder_find(&proposal->applied, definition->kind, definition->id);
    if (!old) {
        struct rc_control control;
        rc_controls_find(&proposal->controls, definition->kind, definition->id, &control);
        *version = control.deleted_version + 1;
        return RC_CLI_CREATED;
    }
    bool same = rc_definition_same(old->json, definition->json);
    *version = old->version + !same;
    return same ? RC_CLI_UNCHANGED : RC_CLI_CONFIGURED;
}
