/* The record of one person: segments as last told, audiences as last published; and its saved form.
 *
 * Saved: format byte, generation, signals, standings, checksum. Numbers are LEB128, times and versions as differences to the entry
 * before, so that an entry mostly takes 5 to 8 bytes. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "consumers/materialize/audience.h"
#include "consumers/materialize/audience_person.h"

#define FORMAT 1

void rc_audience_person_init(struct rc_audience_person *person) {
    *person = (struct rc_audience_person){0};
}

void rc_audience_person_deinit(struct rc_audience_person *person) {
    free(person->signals);
    free(person->standings);
}

void rc_audience_person_reset(struct rc_audience_person *person) {
    person->generation = 0;
    person->n_signals = 0;
    person->n_standings = 0;
}

/* Index of the first signal whose name is not below `name`. */
static size_t signal_at(const struct rc_audience_person *person, uint32_t name) {
    size_t low = 0, high = person->n_signals;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (person->signals[middle].name < name)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t standing_at(const struct rc_audience_person *person, uint32_t audience) {
    size_t low = 0, high = person->n_standings;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (person->standings[middle].audience < audience)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct rc_audience_signal *rc_audience_person_signal(const struct rc_audience_person *person, uint32_t name) {
    size_t at = signal_at(person, name);
    return at < person->n_signals && person->signals[at].name == name ? &person->signals[at] : NULL;
}

struct rc_audience_signal *rc_audience_person_add_signal(struct rc_audience_person *person, uint32_t name) {
    size_t at = signal_at(person, name);
    rc_grow(&person->signals, &person->signals_capacity, person->n_signals + 1, sizeof *person->signals);
    memmove(person->signals + at + 1, person->signals + at, (person->n_signals - at) * sizeof *person->signals);
    person->n_signals++;
    person->signals[at] = (struct rc_audience_signal){.name = name, .version = -1};
    return &person->signals[at];
}

void rc_audience_person_remove_signal(struct rc_audience_person *person, struct rc_audience_signal *signal) {
    size_t at = (size_t)(signal - person->signals);
    person->n_signals--;
    memmove(signal, signal + 1, (person->n_signals - at) * sizeof *signal);
}

struct rc_audience_standing *rc_audience_person_mutable_standing(struct rc_audience_person *person, uint32_t audience) {
    size_t at = standing_at(person, audience);
    return at < person->n_standings && person->standings[at].audience == audience ? &person->standings[at] : NULL;
}

const struct rc_audience_standing *rc_audience_person_standing(const struct rc_audience_person *person,
                                                               uint32_t audience) {
    size_t at = standing_at(person, audience);
    return at < person->n_standings && person->standings[at].audience == audience ? &person->standings[at] : NULL;
}

struct rc_audience_standing *rc_audience_person_add_standing(struct rc_audience_person *person, uint32_t audience) {
    size_t at = standing_at(person, audience);
    rc_grow(&person->standings, &person->standings_capacity, person->n_standings + 1, sizeof *person->standings);
    memmove(person->standings + at + 1, person->standings + at, (person->n_standings - at) * sizeof *person->standings);
    person->n_standings++;
    person->standings[at] = (struct rc_audience_standing){.audience = audience};
    return &person->standings[at];
}

void rc_audience_person_adopt(struct rc_audience_person *person, uint32_t audience, bool realized, int64_t since_ms,
                              int64_t version) {
    struct rc_audience_standing *standing = rc_audience_person_mutable_standing(person, audience);
    if (!standing)
        standing = rc_audience_person_add_standing(person, audience);
    else if (version <= standing->version)
        return;
    standing->realized = realized;
    standing->withheld = false;
    standing->since_ms = since_ms;
    standing->version = version;
}

void rc_audience_person_forget(struct rc_audience_person *person, uint32_t audience) {
    struct rc_audience_standing *standing = rc_audience_person_mutable_standing(person, audience);
    if (!standing || standing->realized || standing->withheld)
        return;
    size_t at = (size_t)(standing - person->standings);
    person->n_standings--;
    memmove(standing, standing + 1, (person->n_standings - at) * sizeof *standing);
}

/* ---- saved form ------------------------------------------------------------------------------------------------------------ */

static void add_times(struct rc_buf *out, int64_t since, int64_t version, int64_t *last_since, int64_t *last_version) {
    /* Wrapping differences: any two 64-bit numbers give each other back. */
    (void)rc_buf_add_zigzag(out, (int64_t)((uint64_t)since - (uint64_t)*last_since));
    (void)rc_buf_add_zigzag(out, (int64_t)((uint64_t)version - (uint64_t)*last_version));
    *last_since = since;
    *last_version = version;
}

rc_status rc_audience_person_save(const struct rc_audience_person *person, struct rc_buf *out) {
    size_t start = out->len;
    int64_t since = 0, version = 0;
    (void)rc_buf_add_byte(out, FORMAT);
    (void)rc_buf_add_varint(out, person->generation);
    (void)rc_buf_add_varint(out, person->n_signals);
    for (size_t i = 0; i < person->n_signals; i++) {
        const struct rc_audience_signal *signal = &person->signals[i];
        (void)rc_buf_add_varint(out, (uint64_t)signal->name << 1 | signal->realized);
        add_times(out, signal->since_ms, signal->version, &since, &version);
    }
    (void)rc_buf_add_varint(out, person->n_standings);
    for (size_t i = 0; i < person->n_standings; i++) {
        const struct rc_audience_standing *standing = &person->standings[i];
        (void)rc_buf_add_varint(out, (uint64_t)standing->audience << 2 | (uint64_t)standing->withheld << 1 |
                                         standing->realized);
        add_times(out, standing->since_ms, standing->version, &since, &version);
    }
    if (out->full)
        return RC_FAIL;
    uint32_t sum = (uint32_t)XXH3_64bits(out->data + start, out->len - start);
    uint8_t bytes[4] = {(uint8_t)sum, (uint8_t)(sum >> 8), (uint8_t)(sum >> 16), (uint8_t)(sum >> 24)};
    return rc_buf_add(out, bytes, sizeof bytes);
}

static bool take_times(struct rc_span *in, int64_t *since, int64_t *version) {
    int64_t ds = 0, dv = 0;
    if (rc_take_zigzag(in, &ds) != RC_OK || rc_take_zigzag(in, &dv) != RC_OK)
        return false;
    *since = (int64_t)((uint64_t)*since + (uint64_t)ds);
    *version = (int64_t)((uint64_t)*version + (uint64_t)dv);
    return true;
}

/* Reads what follows the format byte; false when the bytes say something that cannot be. */
static bool take_body(struct rc_audience_person *person, struct rc_span in, uint32_t n_signals, uint32_t n_audiences) {
    uint64_t n = 0, head = 0;
    int64_t since = 0, version = 0;
    if (rc_take_varint(&in, &person->generation) != RC_OK || rc_take_varint(&in, &n) != RC_OK || n > in.len / 3)
        return false;
    rc_grow(&person->signals, &person->signals_capacity, (size_t)n, sizeof *person->signals);
    for (uint64_t i = 0; i < n; i++) {
        if (rc_take_varint(&in, &head) != RC_OK || !take_times(&in, &since, &version) || head >> 1 >= n_signals)
            return false;
        if (i && head >> 1 <= person->signals[i - 1].name)
            return false;
        person->signals[person->n_signals++] = (struct rc_audience_signal){
            .name = (uint32_t)(head >> 1), .realized = head & 1, .since_ms = since, .version = version};
    }
    if (rc_take_varint(&in, &n) != RC_OK || n > in.len / 3)
        return false;
    rc_grow(&person->standings, &person->standings_capacity, (size_t)n, sizeof *person->standings);
    for (uint64_t i = 0; i < n; i++) {
        if (rc_take_varint(&in, &head) != RC_OK || !take_times(&in, &since, &version) || head >> 2 >= n_audiences)
            return false;
        if (i && head >> 2 <= person->standings[i - 1].audience)
            return false;
        person->standings[person->n_standings++] = (struct rc_audience_standing){.audience = (uint32_t)(head >> 2),
                                                                                 .realized = head & 1,
                                                                                 .withheld = (head >> 1) & 1,
                                                                                 .since_ms = since,
                                                                                 .version = version};
    }
    return in.len == 0;
}

rc_status rc_audience_person_load(struct rc_audience_person *person, struct rc_span record, uint32_t n_signals,
                                  uint32_t n_audiences, struct rc_error *err) {
    rc_audience_person_reset(person);
    if (record.len < 5)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                            "a person's audience record has %zu bytes, at least 5 expected", record.len);
    struct rc_span body = rc_span_of(record.data, record.len - 4);
    const uint8_t *bytes = (const uint8_t *)record.data + body.len;
    uint32_t sum = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    if (sum != (uint32_t)XXH3_64bits(body.data, body.len))
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                            "a person's audience record is damaged: its checksum does not fit");
    uint8_t format = (uint8_t)body.data[0];
    if (format != FORMAT)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                            "a person's audience record has format %u, this build reads %d", format, FORMAT);
    if (!take_body(person, rc_span_of(body.data + 1, body.len - 1), n_signals, n_audiences)) {
        rc_audience_person_reset(person);
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                            "a person's audience record does not make sense although its checksum fits");
    }
    return RC_OK;
}
