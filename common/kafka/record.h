/* A message as a decoder takes it. The mistake that it prevents: two readers of a dataset topic that see different events in one record. */
#ifndef RC_KAFKA_RECORD_H
#define RC_KAFKA_RECORD_H

#include "codec/origin.h"
#include "kafka/source.h"

#define RC_RECORD_HEADERS (256 + RC_ORIGIN_HEADERS)

/* The record of `message`, borrowed from it and from `headers`, which has room for RC_RECORD_HEADERS: more are not looked at. What was sent
 * again from the dead letters has the partition and offset where it first lay: it is still the event that it was. */
struct rc_record rc_message_record(const struct rc_message *message, struct rc_header *headers);

#endif
