/* approve: lets the present version of a segment or audience take effect, however many persons it moves. The mistake that it prevents: an edit that
 * empties an audience because of a slip, with nobody asked. */
#include <stdio.h>
#include <string.h>

#include "cli/applied.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/writer.h"

struct approval {
    int version;
    bool already;
};

static rc_status change(void *ctx, const struct rc_definition *definition, struct rc_control *control,
                        struct rc_error *err) {
    struct approval *approval = ctx;
    (void)err;
    approval->version = definition->version;
    approval->already = control->approved_version == definition->version;
    control->approved_version = definition->version;
    return RC_OK;
}

static rc_status approve(struct rc_cli *cli, struct rc_error *err) {
    const char *kind;
    struct approval approval;
    if (rc_cli_expect(cli, 2, 2, err) != RC_OK || rc_cli_kind(cli, cli->args.positional[0], &kind, err) != RC_OK)
        return RC_FAIL;
    const char *id = cli->args.positional[1];
    if (strcmp(kind, "segment") != 0 && strcmp(kind, "audience") != 0)
        return rc_cli_usage(cli, err, "a %s needs no approval; segments and audiences do", kind);
    if (rc_cli_connect(cli, err) != RC_OK || rc_cli_control_change(cli, kind, id, change, &approval, err) != RC_OK)
        return RC_FAIL;
    const char *result = approval.already ? "unchanged" : "approved";
    if (rc_cli_has(cli, "json"))
        rc_cli_json_print(
            json_pack("{s:s, s:s, s:s, s:i}", "kind", kind, "id", id, "result", result, "version", approval.version));
    else
        printf("%s/%s %s (version %d)\n", kind, id, approval.already ? "was approved already" : result,
               approval.version);
    return RC_OK;
}

static const struct rc_cli_option options[] = {CLI_OPTION_WHO, {0}};

const struct rc_cli_command rc_cli_command_approve = {
    .name = "approve",
    .summary = "Lets a version take effect that is held because it changes much",
    .arguments = "KIND ID",
    .text =
        "A new version of a segment or audience that would empty it, or more than double its members, is held until it "
        "is approved, while the version before goes on. Of an audience its own condition is looked at. What follows "
        "for "
        "an audience from an edit of a segment that it names is not held: `rollcall diff` tells. The approval counts "
        "for the present version only. `rollcall apply --force` gives it with the change.",
    .options = options,
    .examples = "rollcall approve segment cart-abandoners",
    .prints_data = true,
    .run = approve,
};
