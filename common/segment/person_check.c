/* See person_check.h; the layout is person_record.c's: 'R' 'P' version … XXH3 of all before. */
#include "segment/person_check.h"

#include <string.h>

#include <xxhash.h>

rc_status rc_person_record_check(struct rc_span record, struct rc_error *err) {
    const size_t head = 3, tail = sizeof(uint64_t);
    if (record.len < head + tail || memcmp(record.data, "RP", 2) != 0)
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "saved person: not a record of a person (%zu bytes)",
                            record.len);
    uint64_t checksum;
    memcpy(&checksum, record.data + record.len - tail, tail);
    if (checksum != XXH3_64bits(record.data, record.len - tail))
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "saved person: checksum does not match its %zu bytes",
                            record.len);
    return RC_OK;
}
