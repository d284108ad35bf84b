/* A client of a Confluent schema registry, over libcurl. Schemas are immutable under their id, so each is asked for
 * once and kept for ever. Thread-safe; a call blocks its thread for at most the timeout. */
#ifndef RC_CODEC_REGISTRY_H
#define RC_CODEC_REGISTRY_H

#include <stdint.h>

#include "base/error.h"

struct rc_registry;

/* `url`: http(s)://[user:password@]host[:port][/path]; not contacted yet. `timeout_ms`: for one request as a whole;
 * 0: 5 s. Fails (FATAL, exit 78) on a URL that libcurl cannot take. Messages never show the URL's user and password. */
rc_status rc_registry_open(const char *url, int64_t timeout_ms, struct rc_registry **out, struct rc_error *err)
    RC_MUST_USE;
void rc_registry_close(struct rc_registry *registry);

/* The Avro schema with this id: `*out` its JSON text, borrowed until close. Errors: RETRY when the registry cannot
 * be reached or answers 5xx, 408 or 429, also 401 and 403 (a wrong password is mended outside, and no record is lost
 * for it); POISON when it says that it does not know the id, or the schema is no Avro. An unknown id is asked for
 * again after 10 s at the earliest. */
rc_status rc_registry_schema(struct rc_registry *registry, int32_t id, const char **out, struct rc_error *err)
    RC_MUST_USE;

/* Registers `schema` (JSON text) under `subject` and gives its id; the same schema keeps its id. Errors as above;
 * FATAL (exit 78) when the registry refuses it (incompatible, invalid). */
rc_status rc_registry_register(struct rc_registry *registry, const char *subject, const char *schema, int32_t *out_id,
                               struct rc_error *err) RC_MUST_USE;

/* The latest schema of a subject with its id; `*out` is owned by the caller. POISON when there is none. */
rc_status rc_registry_latest(struct rc_registry *registry, const char *subject, char **out, int32_t *out_id,
                             struct rc_error *err) RC_MUST_USE;

#endif
