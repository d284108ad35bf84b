/* What all users of the door share: which librdkafka properties a user may set, and what its errors mean to us. */
#ifndef RC_KAFKA_CLIENT_H
#define RC_KAFKA_CLIENT_H

#include "base/error.h"

/* Judges a kafka.<property> of the configuration (rc_config_sources.check_kafka): librdkafka must know it and take
 * the value, and it must not be one of those that Rollcall's promises rest on (enable.auto.commit, acks, partitioner,
 * …). Says which and why. */
rc_status rc_kafka_check_property(const char *property, const char *value, struct rc_error *err) RC_MUST_USE;

/* librdkafka's version, for `rollcall version`; static. */
const char *rc_kafka_version(void);

#endif
