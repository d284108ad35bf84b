/* What the pipeline has told about segments and audiences: the compacted topics, by highest version. The tables hold the persons of one unit
 * (cli/past.h) at a time. The mistake that it prevents: a difference against what ought to have been told. */
#ifndef RC_CLI_TOLD_H
#define RC_CLI_TOLD_H

#include "cli/latest.h"
#include "cli/past.h"
#include "cli/targets.h"

struct rc_cli_told {
    const struct rc_cli *cli;
    const struct rc_cli_target *targets; /* borrowed */
    size_t n;
    uint32_t *order;              /* positions of the targets by kind and id; owned */
    struct rc_cli_latest *tables; /* by target; owned */
    bool *ever;                   /* by target: whether anything was ever told of it; owned */
};

/* `targets` is borrowed until deinit. */
void rc_cli_told_init(struct rc_cli_told *told, const struct rc_cli *cli, const struct rc_cli_target *targets,
                      size_t n);
void rc_cli_told_deinit(struct rc_cli_told *told);

/* Goes over everything once: fills `ever`, and `*most`: the greatest number of records about the targets in one partition. */
rc_status rc_cli_told_scan(struct rc_cli_told *told, uint64_t *most, struct rc_error *err) RC_MUST_USE;

/* Fills the tables with the persons of one unit. */
rc_status rc_cli_told_read(struct rc_cli_told *told, const struct rc_past *past, uint32_t unit, struct rc_error *err)
    RC_MUST_USE;

#endif
