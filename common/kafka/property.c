#include "kafka/property.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/nearest.h"

/* The nearest name among what a fresh configuration (and its topic part) dumps, copied into `out`; false when none is near. */
static bool nearest_property(const char *property, char *out, size_t size) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_topic_conf_t *topic = rd_kafka_topic_conf_new();
    size_t n, n_topic;
    const char **dump = rd_kafka_conf_dump(conf, &n);
    const char **topic_dump = rd_kafka_topic_conf_dump(topic, &n_topic);
    const char **names = rc_calloc(n / 2 + n_topic / 2, sizeof *names);
    size_t n_names = 0;
    for (size_t i = 0; i + 1 < n; i += 2)
        names[n_names++] = dump[i];
    for (size_t i = 0; i + 1 < n_topic; i += 2)
        names[n_names++] = topic_dump[i];
    const char *nearest = rc_nearest_word(property, names, n_names);
    if (nearest)
        snprintf(out, size, "%s", nearest);
    free(names);
    rd_kafka_conf_dump_free(dump, n);
    rd_kafka_conf_dump_free(topic_dump, n_topic);
    rd_kafka_conf_destroy(conf);
    rd_kafka_topic_conf_destroy(topic);
    return nearest != NULL;
}

rc_status rc_kafka_property_check(const char *property, const char *value, struct rc_error *err) {
    char why[512] = "", nearest[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, property, value, why, sizeof why);
    rd_kafka_conf_destroy(conf);
    if (result == RD_KAFKA_CONF_OK)
        return RC_OK;
    if (result == RD_KAFKA_CONF_UNKNOWN && nearest_property(property, nearest, sizeof nearest))
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "unknown key \"kafka.%s\": librdkafka has no such property; did you mean kafka.%s?",
                            property, nearest);
    return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "kafka.%s: librdkafka says: %s", property, why);
}

const char *rc_kafka_library_version(void) {
    return rd_kafka_version_str();
}
