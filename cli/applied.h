/* The definitions that are applied: `<prefix>.definitions`, read to its end; and definitions in files. */
#ifndef RC_CLI_APPLIED_H
#define RC_CLI_APPLIED_H

#include "cli/command.h"
#include "consumers/shared/control.h"
#include "segment/definition.h"

/* Reads the definitions topic: definitions into `builder`, control records into `controls` (both initialised by the caller; `controls` may be
 * NULL). A topic that is not there reads as empty. Fails: exit 69 when no broker answers within CLI_KAFKA_TIMEOUT_MS. */
rc_status rc_cli_applied_read(const struct rc_cli *cli, struct rc_catalog_builder *builder,
                              struct rc_controls *controls, struct rc_error *err) RC_MUST_USE;

/* Reads it and builds the catalog; owned by the caller. */
rc_status rc_cli_applied_catalog(const struct rc_cli *cli, struct rc_catalog **out, struct rc_error *err) RC_MUST_USE;

/* The texts of files with definitions, as read. */
struct rc_cli_text {
    char *file; /* its path, or "stdin"; owned */
    char *text; /* owned */
    size_t len;
};

struct rc_cli_texts {
    struct rc_cli_text *items; /* owned */
    size_t n, capacity;
};

/* Reads `paths`: files, folders (every *.json in them and below, in byte order), "-" for stdin. `out` is zeroed storage; deinit it in any
 * case. Fails (exit 65) naming the path. */
rc_status rc_cli_texts_read(struct rc_cli_texts *out, const char *const *paths, size_t n, struct rc_error *err)
    RC_MUST_USE;
void rc_cli_texts_deinit(struct rc_cli_texts *texts);

/* Adds all their definitions to `builder`, which may hold others: those are replaced. Schema files that they name are read and put in their
 * place. A definition that stands in two of the files is an error. */
rc_status rc_cli_texts_add(const struct rc_cli_texts *texts, struct rc_catalog_builder *builder, struct rc_error *err)
    RC_MUST_USE;

/* The values of -f and the positional arguments behind them: paths of definitions. Owned by the caller. */
const char **rc_cli_paths(const struct rc_cli *cli, size_t *n);

/* "segment", "segments" and so on to the kind as it stands in definitions. Fails (exit 64) with the nearest one. */
rc_status rc_cli_kind(const struct rc_cli *cli, const char *word, const char **out, struct rc_error *err) RC_MUST_USE;

/* All kinds, in the order in which they depend on one another; NULL-terminated. */
extern const char *const rc_cli_kinds[];

/* The definition (kind, id) of `catalog`. Fails (exit 65) with the nearest id of that kind. */
rc_status rc_cli_find_definition(const struct rc_catalog *catalog, const char *kind, const char *id,
                                 const struct rc_definition **out, struct rc_error *err) RC_MUST_USE;

#endif
