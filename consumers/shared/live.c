#include "consumers/shared/live.h"

#include <stdio.h>
#include <string.h>

#include "codec/person_key.h"

static const char person_prefix[] = RC_LIVE_NAMESPACE ":";

rc_status rc_live_person_add(struct rc_buf *out, int32_t partition, int32_t n_partitions) {
    char key[64];
    int len = 0;
    for (uint32_t k = 0; k < UINT32_MAX; k++) {
        len = snprintf(key, sizeof key, "%s%d.%u", person_prefix, (int)partition, (unsigned)k);
        if (rc_person_key_partition(rc_span_of(key, (size_t)len), n_partitions) == partition)
            break;
    }
    return rc_buf_add(out, key, (size_t)len);
}

bool rc_live_is_person(struct rc_span person_key) {
    const size_t len = sizeof person_prefix - 1;
    return person_key.len > len && memcmp(person_key.data, person_prefix, len) == 0;
}

rc_status rc_live_target_add(struct rc_buf *out, struct rc_span segment) {
    return rc_buf_printf(out, RC_LIVE_PREFIX "%.*s", (int)segment.len, segment.data);
}
