/* How a configuration is held; for the config_*.c files alone. */
#ifndef RC_BASE_CONFIG_INTERNAL_H
#define RC_BASE_CONFIG_INTERNAL_H

#include "base/config.h"

struct config_value {
    char *text;     /* owned */
    char *origin;   /* "default", "rollcall.conf:3", "ROLLCALL_LOG_LEVEL", "--set log.level"; owned */
    int64_t number; /* INT, DURATION (ms), BYTES, BOOL */
    bool set;       /* something other than the default said so */
};

struct config_kafka {
    char *property; /* without "kafka."; owned */
    struct config_value value;
};

struct rc_config {
    struct config_value *values; /* one for each row of the table; owned */
    struct config_kafka *kafka;  /* sorted by property; kafka.bootstrap.servers is in `values`; owned */
    size_t n_kafka, kafka_capacity;
    rc_status (*check_kafka)(const char *property, const char *value, struct rc_error *err);
};

#endif
