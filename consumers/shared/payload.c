/* Framing of what Rollcall writes. */
#include "consumers/shared/payload.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "codec/framing.h"

bool rc_payload_confluent(const struct rc_config *config) {
    return strcmp(rc_config_text(config, "payload.framing"), "confluent") == 0;
}

rc_status rc_payload_schema_id(const struct rc_config *config, struct rc_registry *registry, const char *topic,
                               enum rc_membership_kind kind, const struct rc_stop *stop, int32_t *out,
                               struct rc_error *err) {
    if (!rc_payload_confluent(config)) {
        *out = RC_FRAMING_NO_ID;
        return RC_OK;
    }
    if (!registry)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                            "payload.framing is confluent, but registry.url is not set");
    char subject[300];
    snprintf(subject, sizeof subject, "%s-value", topic);
    while (rc_registry_register(registry, subject, rc_membership_schema(kind), out, err) != RC_OK) {
        if (err->class != RC_CLASS_RETRY)
            return RC_FAIL;
        rc_log_limited(RC_LOG_WARN, "waiting for the schema registry", rc_f_str("subject", subject), rc_f_err(err));
        if (rc_stop_wait(stop, 500))
            return RC_FAIL;
    }
    return RC_OK;
}
