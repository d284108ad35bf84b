/* The framing of the records that Rollcall writes: `payload.framing`, and with "confluent" the schema's id in the
 * registry. */
#ifndef RC_SHARED_PAYLOAD_H
#define RC_SHARED_PAYLOAD_H

#include "base/config.h"
#include "base/signal.h"
#include "codec/membership.h"
#include "codec/registry.h"

/* RC_FRAMING_NO_ID when plain; else registers the schema under "<topic>-value" (waiting for the registry until
 * `stop`) and gives its id. */
rc_status rc_payload_schema_id(const struct rc_config *config, struct rc_registry *registry, const char *topic,
                               enum rc_membership_kind kind, const struct rc_stop *stop, int32_t *out,
                               struct rc_error *err) RC_MUST_USE;
bool rc_payload_confluent(const struct rc_config *config);

#endif
