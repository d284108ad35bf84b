/* The ids of the events that an explanation rests on. State knows an event by its timestamp and a hash; the dataset topics have the records, and
 * mostly they lie there about where the clock stood at the event's time. */
#ifndef RC_CLI_EVENT_NAMES_H
#define RC_CLI_EVENT_NAMES_H

#include <jansson.h>

#include "cli/command.h"
#include "segment/definition.h"

/* Adds "dataset" and "id" to the events ({"timestamp", "hash"}) anywhere in `explanation` that are found within `budget_ms`, the latest ones first.
 * What is not found keeps its hash; a topic that cannot be read is none of the explanation's failures. `catalog` is what is applied. */
void rc_cli_event_names(const struct rc_cli *cli, const struct rc_catalog *catalog, const char *person,
                        json_t *explanation, int budget_ms);

#endif
