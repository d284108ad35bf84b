/* An explanation as a tree to read. One rendering for `eval --explain`, which explains from files, and `explain`, which asks a running
 * process: both have the same JSON (segment/explain.h), the live one with more about what was told and when. */
#ifndef RC_CLI_EXPLANATION_H
#define RC_CLI_EXPLANATION_H

#include <jansson.h>

#include "base/buf.h"
#include "segment/definition.h"

/* Appends the tree of a segment's explanation. `catalog`: where conditions are quoted from; NULL: they are named by their path alone. */
void rc_cli_explanation_segment(const json_t *explanation, const struct rc_catalog *catalog, struct rc_buf *out);

/* The same of an audience's: {"audience", "person", "member", "since", "holds", "why", "state", "lastChange", "condition"}, in which a condition
 * with the head "segment" has its own explanation, or an "error". */
void rc_cli_explanation_audience(const json_t *explanation, const struct rc_catalog *catalog, struct rc_buf *out);

#endif
