/* A plan to read Avro records of one writer schema: compiled once, run for every record. What no path names is
 * passed over without being looked at; nothing is allocated but from the record's arena. Internal to codec/. */
#ifndef RC_CODEC_AVRO_PLAN_H
#define RC_CODEC_AVRO_PLAN_H

#include "codec/avro_schema.h"
#include "codec/projection.h"

struct rc_avro_plan; /* immutable; one thread at a time only because of what it is run into */

/* Compiles. `reader`: resolved against after Avro's rules (promotion, defaults, aliases, unions; fields by name),
 * with paths in its names; NULL: none, paths are in the writer's names. Both schemas and `wanted` are borrowed for
 * the plan's life. Never fails: where the schemas do not resolve, the plan says so when a record has a value there. */
struct rc_avro_plan *rc_avro_plan_new(const struct rc_avro_schema *writer, const struct rc_avro_schema *reader,
                                      const struct rc_wanted *wanted);
void rc_avro_plan_free(struct rc_avro_plan *plan);

/* Hands every wanted value of `datum` to `projection`. RC_DECODED when it was read (to be judged), else RC_BAD.
 * Texts point into the datum, the plan's schemas, or `arena`. Cost: linear in the datum, which is bounded also where
 * items have no bytes. */
enum rc_decoded rc_avro_plan_run(const struct rc_avro_plan *plan, struct rc_span datum,
                                 struct rc_projection *projection, struct rc_arena *arena, enum rc_reason *reason,
                                 struct rc_error *err);

/* Fails (FATAL, exit 78) when `path` cannot lead to anything in `schema`, from the places that `from` (may be NULL:
 * the root) leads to; names the step, what stands there, and the nearest known name. */
rc_status rc_avro_check_path(const struct rc_avro_schema *schema, const struct rc_path *from,
                             const struct rc_path *path, struct rc_error *err) RC_MUST_USE;

#endif
