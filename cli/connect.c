/* Owns how a command comes to its configuration. The mistake that it prevents: a command in a second terminal that talks to another
 * broker than the `run --embedded` beside it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "cli/command.h"
#include "kafka/client.h"
#include "kafka/embedded.h"

rc_status rc_cli_load_config(struct rc_cli *cli, struct rc_error *err) {
    const char *sets[256];
    size_t n = 0;
    for (const char *set; (set = rc_cli_value_at(cli, "set", n)) != NULL; n++) {
        if (n == sizeof sets / sizeof *sets)
            return rc_cli_usage(cli, err, "more than %zu --set; use a file", sizeof sets / sizeof *sets);
        sets[n] = set;
    }
    struct rc_config_sources sources = {.file = rc_cli_value(cli, "config"),
                                        .environment = cli->environment,
                                        .sets = sets,
                                        .n_sets = n,
                                        .check_kafka = rc_kafka_check_property};
    struct rc_config *config;
    if (rc_config_load(&sources, &config, err) != RC_OK)
        return RC_FAIL;
    rc_config_free(cli->config);
    cli->config = config;
    enum rc_log_level level;
    if (rc_log_level_parse(rc_config_text(config, "log.level"), &level) == RC_OK)
        rc_log_set_level(level);
    return RC_OK;
}

rc_status rc_cli_connect(struct rc_cli *cli, struct rc_error *err) {
    if (rc_cli_load_config(cli, err) != RC_OK)
        return RC_FAIL;
    /* A person at a terminal gets one line about what went wrong, not also what libraries said on the way there. */
    if (!rc_config_is_set(cli->config, "log.level"))
        rc_log_set_level(RC_LOG_OFF);
    struct rc_config *found;
    if (!rc_embedded_find(cli->config, &found))
        return RC_OK;
    rc_config_free(cli->config);
    cli->config = found;
    cli->embedded = true;
    char store[4400];
    snprintf(store, sizeof store, "embedded:%s/profiles", rc_config_text(found, "state.dir"));
    struct rc_config *with_store;
    if (rc_config_with(found, "sink.default", store, true, &with_store, err) != RC_OK)
        return RC_FAIL;
    rc_config_free(cli->config);
    cli->config = with_store;
    return RC_OK;
}

rc_status rc_cli_broker_error(const struct rc_cli *cli, struct rc_error *err) {
    if (err->exit_code == RC_EXIT_UNAVAILABLE && !strstr(err->message, "kafka.bootstrap.servers")) {
        const char *servers = rc_config_text(cli->config, "kafka.bootstrap.servers");
        rc_error_prefix(err, "kafka.bootstrap.servers = %s (%s)", servers,
                        rc_config_origin(cli->config, "kafka.bootstrap.servers"));
    }
    return RC_FAIL;
}
