/* Where a record first lay, when it stands somewhere else now: as a copy of the re-keyer (producers/rekey.h), or sent
 * again from the dead letters (cli/deadletters_redrive.c). Both put headers behind the record's own:
 *
 *     rollcall.topic      the original topic, as text
 *     rollcall.partition  the original partition, in decimal
 *     rollcall.offset     the original offset, in decimal
 *     rollcall.key        a copy under another key: the original key's bytes, where there was one
 *     rollcall.attempts   sent again: which attempt this is, in decimal; 2 and up
 *
 * A dataset without `event_id` knows its events by their position, so whoever reads events goes by the original's:
 * a record that is copied or sent twice is one event.
 *
 * The mistake that it prevents: two readers of these headers that disagree about what is the same event. */
#ifndef RC_CODEC_ORIGIN_H
#define RC_CODEC_ORIGIN_H

#include "codec/decode.h"

#define RC_ORIGIN_TOPIC "rollcall.topic"
#define RC_ORIGIN_PARTITION "rollcall.partition"
#define RC_ORIGIN_OFFSET "rollcall.offset"
#define RC_ORIGIN_KEY "rollcall.key"
#define RC_ORIGIN_ATTEMPTS "rollcall.attempts"

struct rc_origin {
    struct rc_span topic;
    int32_t partition;
    int64_t offset;
    bool has_key;
    struct rc_span key;
    int32_t attempts; /* 1: not sent again */
};

/* Reads the last header of each name; spans borrowed from `headers`. False, with `out` as it was, when topic,
 * partition and offset are not all there and sound. */
bool rc_origin_find(const struct rc_header *headers, size_t n, struct rc_origin *out);

/* Moves the record's own headers to the front, in order, and returns how many they are: whatever stands in front of
 * the last `rollcall.topic`, and what has another name behind it. `n` when there is none. */
size_t rc_origin_strip(struct rc_header *headers, size_t n);

/* Headers for an origin, at most RC_ORIGIN_HEADERS; returns how many. `text` holds the numbers and has to live as
 * long as the headers. `attempts` is left out when it is 1. */
#define RC_ORIGIN_HEADERS 5
struct rc_origin_text {
    char partition[16], offset[24], attempts[16];
};
size_t rc_origin_headers(const struct rc_origin *origin, struct rc_origin_text *text,
                         struct rc_header out[RC_ORIGIN_HEADERS]);

/* On a record that was imported, history that comes onto the topic long after it happened: in decimal the number of its import, ms since the epoch.
 * consumers/ingest/feed.c says what that means. */
#define RC_IMPORT_HEADER "rollcall.import"

/* A header's decimal number, 0 … max; false when there is none, or it is something else. The last one of the name. */
bool rc_header_number(const struct rc_header *headers, size_t n, const char *name, int64_t max, int64_t *out);

/* The last header of that name, or NULL. */
const struct rc_header *rc_header_find(const struct rc_header *headers, size_t n, const char *name);

#endif
