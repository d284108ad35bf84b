/* Confluent framing: a magic byte 0, the schema id as 4 bytes big-endian, then the Avro datum. */
#ifndef RC_CODEC_FRAMING_H
#define RC_CODEC_FRAMING_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

#define RC_FRAMING_NO_ID (-1)

static inline rc_status rc_framing_add(struct rc_buf *out, int32_t schema_id) {
    uint32_t id = (uint32_t)schema_id;
    uint8_t head[5] = {0, (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};
    return rc_buf_add(out, head, sizeof head);
}

/* Moves `*in` past the head. RC_FAIL, with `*in` as it was, when there is none. */
static inline rc_status rc_framing_take(struct rc_span *in, int32_t *schema_id) {
    const uint8_t *head = (const uint8_t *)in->data;
    if (in->len < 5 || head[0] != 0)
        return RC_FAIL;
    *schema_id = (int32_t)((uint32_t)head[1] << 24 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 8 | head[4]);
    *in = rc_span_of(in->data + 5, in->len - 5);
    return RC_OK;
}

#endif
