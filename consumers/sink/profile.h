/* Reading profiles: what the store of a destination holds for one person, whichever store it is.
 *
 * URLs: `redis://[user[:password]@]host[:port][/db]`, `unix:PATH[?db=N]` and `embedded:DIR`. An embedded store that a running process has
 * open is read as of its last write (RocksDB, read-only, its log included); the running process also answers at
 * `/profile?person=…` of its admin server, with the same JSON. */
#ifndef RC_SINK_PROFILE_H
#define RC_SINK_PROFILE_H

#include <jansson.h>

#include "base/error.h"
#include "base/span.h"

/* Reads the profile of `person_key` (namespace:id, escaped as in pipeline.md §1) from the store at `url`; `prefix` is `topics.prefix`.
 * `*out` is a new JSON object, owned by the caller: one key a field of the profile ("segmentMembership.<audience>"), its value parsed;
 * NULL when the store has no such person. Fails: RETRY (exit 69) when the store cannot be reached, FATAL (exit 78) on a URL that is none
 * of the above. Never logs the person. */
rc_status rc_profile_read(const char *url, const char *prefix, struct rc_span person_key, json_t **out,
                          struct rc_error *err) RC_MUST_USE;

#endif
