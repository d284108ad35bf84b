/* Batches of changes, and the form of a profile. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/timezone.h"
#include "consumers/sink/driver.h"

struct rc_sink_batch *rc_sink_batch_new(void) {
    struct rc_sink_batch *batch = rc_calloc(1, sizeof *batch);
    rc_arena_init(&batch->arena, 64 * 1024);
    return batch;
}

void rc_sink_batch_free(struct rc_sink_batch *batch) {
    if (!batch)
        return;
    rc_arena_deinit(&batch->arena);
    free(batch->changes);
    free(batch);
}

void rc_sink_batch_reset(struct rc_sink_batch *batch) {
    rc_arena_reset(&batch->arena);
    batch->n = 0;
}

void rc_sink_batch_add(struct rc_sink_batch *batch, const struct rc_sink_change *change) {
    rc_grow(&batch->changes, &batch->capacity, batch->n + 1, sizeof *batch->changes);
    struct rc_sink_change *copy = &batch->changes[batch->n++];
    *copy = *change;
    copy->person_key = rc_arena_copy(&batch->arena, change->person_key);
    copy->change.target = rc_arena_copy(&batch->arena, change->change.target);
    copy->change.namespace = rc_arena_copy(&batch->arena, change->change.namespace);
    copy->change.person_id = rc_arena_copy(&batch->arena, change->change.person_id);
    copy->change.event_id = rc_arena_copy(&batch->arena, change->change.event_id);
}

rc_status rc_profile_field_add(struct rc_buf *out, struct rc_span audience) {
    return rc_buf_add_str(out, "segmentMembership.") || rc_buf_add_span(out, audience) ? RC_FAIL : RC_OK;
}

rc_status rc_profile_value_add(struct rc_buf *out, bool realized, int64_t since_ms, int64_t version) {
    char since[25];
    rc_rfc3339_format(since_ms, since);
    return rc_buf_printf(out, "{\"status\":\"%s\",\"lastQualificationTime\":\"%s\",\"version\":%" PRId64 "}",
                         realized ? "realized" : "exited", since, version);
}

int64_t rc_profile_value_version(struct rc_span value) {
    static const char key[] = "\"version\":";
    size_t at = value.len;
    if (at == 0 || value.data[--at] != '}')
        return -1;
    int64_t version = 0, scale = 1;
    size_t digits = 0;
    while (at > 0 && value.data[at - 1] >= '0' && value.data[at - 1] <= '9' && digits < 16) {
        version += (value.data[--at] - '0') * scale;
        scale *= 10;
        digits++;
    }
    size_t n = sizeof key - 1;
    return digits && at >= n && memcmp(value.data + at - n, key, n) == 0 ? version : -1;
}
