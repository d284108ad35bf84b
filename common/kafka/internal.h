/* Private to common/kafka: the only files of the program that see rdkafka.h. */
#ifndef RC_KAFKA_INTERNAL_H
#define RC_KAFKA_INTERNAL_H

#include <librdkafka/rdkafka.h>
#include <stdarg.h>

#include "base/config.h"
#include "base/error.h"
#include "kafka/client.h"

enum rc_client_kind { RC_CLIENT_CONSUMER, RC_CLIENT_PRODUCER, RC_CLIENT_ADMIN };

/* A configuration for one client: our defaults, then the user's kafka.*, then what the promises rest on. `name`
 * becomes part of client.id. `*out` owned by the caller until given to rd_kafka_new. */
rc_status rc_client_conf(const struct rc_config *config, enum rc_client_kind kind, const char *name,
                         rd_kafka_conf_t **out, struct rc_error *err) RC_MUST_USE;

/* Sets one property that the program itself chose. FATAL when librdkafka refuses it. */
rc_status rc_client_set(rd_kafka_conf_t *conf, const char *property, const char *value, struct rc_error *err)
    RC_MUST_USE;

/* Creates the client; takes `conf` also on failure. */
rc_status rc_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **out, struct rc_error *err)
    RC_MUST_USE;

/* What a librdkafka error means to a caller. */
enum rc_error_class rc_client_class(rd_kafka_resp_err_t code);

/* Fills `err` from a librdkafka code: "<context>: <librdkafka's text>; <advice>". Returns RC_FAIL. `detail` may be
 * NULL: rd_kafka_err2str. */
rc_status rc_client_error(struct rc_error *err, rd_kafka_resp_err_t code, const char *detail, const char *fmt, ...)
    RC_PRINTF(4, 5);
#define rc_client_error(...) rc_error_always(rc_client_error(__VA_ARGS__))

struct rc_admin;

/* rc_admin_open; with `committed` the bounds that it tells end before the first transaction that is still open. */
rc_status rc_admin_open_as(const struct rc_config *config, bool committed, struct rc_admin **out, struct rc_error *err)
    RC_MUST_USE;

/* The whole address of the embedded broker that this process started or found, or NULL. */
const char *rc_embedded_address(void);

/* Its cluster id: unlike librdkafka's, another one at each start. */
const char *rc_embedded_identity(void);

/* Creates a topic on the embedded broker if this process owns it; false when it does not. */
bool rc_embedded_create_topic(const char *topic, int32_t partitions);

#endif
