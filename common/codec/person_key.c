#include "codec/person_key.h"

#include <string.h>

rc_status rc_person_key_add(struct rc_buf *out, struct rc_span namespace, struct rc_span person_id) {
    size_t plain = 0; /* start of the run that needs no escape */
    for (size_t i = 0; i < namespace.len; i++)
        if (namespace.data[i] == ':' || namespace.data[i] == '\\') {
            rc_buf_add(out, namespace.data + plain, i - plain);
            rc_buf_add_byte(out, '\\');
            plain = i;
        }
    rc_buf_add(out, namespace.data + plain, namespace.len - plain);
    rc_buf_add_byte(out, ':');
    return rc_buf_add_span(out,
                           person_id); /* a full buffer refuses all that follows, so the last answer speaks for all */
}

rc_status rc_person_key_split(struct rc_span key, struct rc_buf *scratch, struct rc_span *namespace,
                              struct rc_span *person_id) {
    bool escaped = false;
    size_t colon = 0;
    while (colon < key.len && key.data[colon] != ':') {
        if (key.data[colon] == '\\') {
            escaped = true;
            colon++; /* the next one stands for itself */
        }
        colon++;
    }
    if (colon == 0 || colon + 1 >= key.len)
        return RC_FAIL;

    if (!escaped) {
        *namespace = rc_span_of(key.data, colon);
    } else {
        size_t start = scratch->len;
        for (size_t i = 0; i < colon; i++) {
            if (key.data[i] == '\\')
                i++;
            if (rc_buf_add_byte(scratch, (uint8_t)key.data[i]) != RC_OK)
                return RC_FAIL;
        }
        *namespace = rc_span_of(scratch->data + start, scratch->len - start);
    }
    *person_id = rc_span_of(key.data + colon + 1, key.len - colon - 1);
    return RC_OK;
}

/* MurmurHash2 by Austin Appleby, 32 bit, with the seed of Kafka's Java client. */
static uint32_t murmur2(struct rc_span key) {
    const uint32_t m = 0x5bd1e995;
    const uint8_t *data = (const uint8_t *)key.data;
    size_t len = key.len;
    uint32_t h = UINT32_C(0x9747b28c) ^ (uint32_t)len;
    for (; len >= 4; data += 4, len -= 4) {
        uint32_t k = (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
        k *= m;
        k ^= k >> 24;
        k *= m;
        h *= m;
        h ^= k;
    }
    if (len >= 3)
        h ^= (uint32_t)data[2] << 16;
    if (len >= 2)
        h ^= (uint32_t)data[1] << 8;
    if (len >= 1) {
        h ^= data[0];
        h *= m;
    }
    h ^= h >> 13;
    h *= m;
    h ^= h >> 15;
    return h;
}

int32_t rc_person_key_hash(struct rc_span key) {
    return (int32_t)murmur2(key);
}

int32_t rc_person_key_partition(struct rc_span key, int32_t n_partitions) {
    return (int32_t)(murmur2(key) & 0x7fffffff) % n_partitions;
}
