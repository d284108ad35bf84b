/* A change of definitions, from texts to what is in force: read what is applied, put the texts in it, check all of it together, make the topics that
 * are missing, write what is new or different with its entries in the audit trail. apply, rollback, undelete and renew are this. */
#ifndef RC_CLI_CHANGE_H
#define RC_CLI_CHANGE_H

#include "cli/applied.h"
#include "cli/processes.h"
#include "cli/writer.h"
#include "segment/population.h"

enum rc_cli_outcome { CLI_CREATED, CLI_CONFIGURED, CLI_UNCHANGED };
extern const char *const rc_cli_outcomes[];

struct rc_cli_change {
    /* what is wanted */
    const struct rc_cli_texts *texts; /* borrowed */
    const char *action;               /* for the trail; NULL: "created", "configured" */
    const char *effect;               /* what the trail says of the effect besides; JSON members, or NULL */
    bool dry;                         /* check only */
    bool force;                       /* the new versions are approved with it */
    bool cancel;                      /* the versions that are replaced need not be got ready any more */
    /* worked out */
    struct rc_catalog_builder files;   /* what the texts say */
    struct rc_catalog_builder applied; /* as it is */
    struct rc_catalog_builder next;    /* as it will be */
    struct rc_controls controls;
    struct rc_catalog *catalog; /* built from `next` */
    struct rc_plan *plan;
    char who[CLI_WHO];
    int64_t now_ms;
    struct rc_cli_processes processes; /* asked when the first effect is told */
    bool asked;
};

/* Reads the texts: a misspelt key does not wait for a broker. Deinit in any case. */
rc_status rc_cli_change_init(const struct rc_cli *cli, const struct rc_cli_texts *texts, struct rc_cli_change *out,
                             struct rc_error *err) RC_MUST_USE;
void rc_cli_change_deinit(struct rc_cli_change *change);

/* Everything that can be wrong with the definitions is found here; nothing is changed. May be done again; running it does so as well. */
rc_status rc_cli_change_prepare(const struct rc_cli *cli, struct rc_cli_change *change, struct rc_error *err)
    RC_MUST_USE;

/* Does it, or with `dry` only checks. Either everything is written, or nothing. */
rc_status rc_cli_change_run(const struct rc_cli *cli, struct rc_cli_change *change, struct rc_error *err) RC_MUST_USE;

/* What becomes of one of `files`, with its version afterwards. */
enum rc_cli_outcome rc_cli_change_outcome(const struct rc_cli_change *change, const struct rc_definition *definition,
                                          int *version);

/* Puts one definition in force (again) and tells it: what rollback, undelete and renew do. `from` names its origin in messages. */
struct rc_cli_revival {
    const char *kind, *id, *from, *json;
    const char *action, *effect; /* as in rc_cli_change */
    bool cancel;
};
rc_status rc_cli_revive(const struct rc_cli *cli, const struct rc_cli_revival *revival, struct rc_error *err)
    RC_MUST_USE;

/* Members of a segment or audience as running processes have it, over all of them; -1 when none tells of it. */
int64_t rc_cli_live_members(const struct rc_cli_processes *processes, const char *kind, const char *id);

/* How long the processes get to say it: a change does not wait for a process that hangs. */
#define CLI_LIVE_TIMEOUT_MS 1000

#endif
