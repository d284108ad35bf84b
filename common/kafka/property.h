/* librdkafka's properties, as far as the configuration has to know of them. */
#ifndef RC_KAFKA_PROPERTY_H
#define RC_KAFKA_PROPERTY_H

#include "base/error.h"

/* Whether librdkafka knows the property and takes the value. Fails (FATAL, exit 78) with its reason and, for an unknown name, the nearest
 * one that it knows. Opens nothing. For rc_config_sources.check_kafka. */
rc_status rc_kafka_property_check(const char *property, const char *value, struct rc_error *err) RC_MUST_USE;

/* "2.0.2"; static. */
const char *rc_kafka_library_version(void);

#endif
