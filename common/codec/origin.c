#include "codec/origin.h"

#include <inttypes.h>
#include <stdio.h>

const struct rc_header *rc_header_find(const struct rc_header *headers, size_t n, const char *name) {
    for (size_t i = n; i > 0; i--)
        if (rc_span_equal(headers[i - 1].name, rc_span_str(name)))
            return &headers[i - 1];
    return NULL;
}

bool rc_header_number(const struct rc_header *headers, size_t n, const char *name, int64_t max, int64_t *out) {
    const struct rc_header *header = rc_header_find(headers, n, name);
    if (!header || header->value.len == 0 || header->value.len > 19)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < header->value.len; i++) {
        char c = header->value.data[i];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (uint64_t)(c - '0');
    }
    if (value > (uint64_t)max)
        return false;
    *out = (int64_t)value;
    return true;
}

bool rc_origin_find(const struct rc_header *headers, size_t n, struct rc_origin *out) {
    const struct rc_header *topic = rc_header_find(headers, n, RC_ORIGIN_TOPIC);
    int64_t partition, offset, attempts = 1;
    if (!topic || !rc_header_number(headers, n, RC_ORIGIN_PARTITION, INT32_MAX, &partition) ||
        !rc_header_number(headers, n, RC_ORIGIN_OFFSET, INT64_MAX, &offset))
        return false;
    (void)rc_header_number(headers, n, RC_ORIGIN_ATTEMPTS, INT32_MAX - 1, &attempts);
    const struct rc_header *key = rc_header_find(headers, n, RC_ORIGIN_KEY);
    *out = (struct rc_origin){.topic = topic->value,
                              .partition = (int32_t)partition,
                              .offset = offset,
                              .has_key = key != NULL,
                              .key = key ? key->value : rc_span_of(NULL, 0),
                              .attempts = attempts > 1 ? (int32_t)attempts : 1};
    return true;
}

size_t rc_origin_strip(struct rc_header *headers, size_t n) {
    static const char *const names[] = {RC_ORIGIN_TOPIC, RC_ORIGIN_PARTITION, RC_ORIGIN_OFFSET, RC_ORIGIN_KEY,
                                        RC_ORIGIN_ATTEMPTS};
    const struct rc_header *topic = rc_header_find(headers, n, RC_ORIGIN_TOPIC);
    if (!topic)
        return n;
    size_t kept = (size_t)(topic - headers);
    for (size_t i = kept; i < n; i++) {
        bool ours = false;
        for (size_t k = 0; k < sizeof names / sizeof *names; k++)
            ours |= rc_span_equal(headers[i].name, rc_span_str(names[k]));
        if (!ours)
            headers[kept++] = headers[i];
    }
    return kept;
}

size_t rc_origin_headers(const struct rc_origin *origin, struct rc_origin_text *text,
                         struct rc_header out[RC_ORIGIN_HEADERS]) {
    size_t n = 0;
    snprintf(text->partition, sizeof text->partition, "%" PRId32, origin->partition);
    snprintf(text->offset, sizeof text->offset, "%" PRId64, origin->offset);
    snprintf(text->attempts, sizeof text->attempts, "%" PRId32, origin->attempts);
    out[n++] = (struct rc_header){rc_span_str(RC_ORIGIN_TOPIC), origin->topic};
    out[n++] = (struct rc_header){rc_span_str(RC_ORIGIN_PARTITION), rc_span_str(text->partition)};
    out[n++] = (struct rc_header){rc_span_str(RC_ORIGIN_OFFSET), rc_span_str(text->offset)};
    if (origin->has_key)
        out[n++] = (struct rc_header){rc_span_str(RC_ORIGIN_KEY), origin->key};
    if (origin->attempts > 1)
        out[n++] = (struct rc_header){rc_span_str(RC_ORIGIN_ATTEMPTS), rc_span_str(text->attempts)};
    return n;
}
