/* Reading one profile from an open embedded store. Thread-safe beside its writer. */
#ifndef RC_SINK_PROFILE_STORE_H
#define RC_SINK_PROFILE_STORE_H

#include <jansson.h>

#include "base/error.h"
#include "base/span.h"
#include "store/store.h"

/* As rc_profile_read. */
rc_status rc_profile_read_store(struct rc_store *store, struct rc_span person_key, json_t **out, struct rc_error *err)
    RC_MUST_USE;

#endif
