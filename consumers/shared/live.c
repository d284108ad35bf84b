#include "consumers/shared/live.h"

#include <string.h>

static const char person_prefix[] = RC_LIVE_NAMESPACE ":";

rc_status rc_live_person_add(struct rc_buf *out, int32_t partition) {
    return rc_buf_printf(out, "%s%d", person_prefix, (int)partition);
}

bool rc_live_is_person(struct rc_span person_key) {
    const size_t len = sizeof person_prefix - 1;
    return person_key.len > len && memcmp(person_key.data, person_prefix, len) == 0;
}

rc_status rc_live_target_add(struct rc_buf *out, struct rc_span segment) {
    return rc_buf_printf(out, RC_LIVE_PREFIX "%.*s", (int)segment.len, segment.data);
}
