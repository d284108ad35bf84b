/* Whether the bytes of a saved person are the bytes that were saved, without decoding them: for records that come back over a network or
 * from a disk and are only passed on. */
#ifndef RC_SEGMENT_PERSON_CHECK_H
#define RC_SEGMENT_PERSON_CHECK_H

#include "base/error.h"
#include "base/span.h"

/* POISON, saying what is wrong, when it is no record of a person or its checksum does not match. */
rc_status rc_person_record_check(struct rc_span record, struct rc_error *err) RC_MUST_USE;

#endif
