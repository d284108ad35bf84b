/* Prints the versions of this build, and of the libraries that decide how it behaves on the wire. */
#include <jansson.h>
#include <stdio.h>

#include "cli/commands.h"
#include "cli/json.h"
#include "kafka/client.h"

static rc_status version(struct rc_cli *cli, struct rc_error *err) {
    if (rc_cli_expect(cli, 0, 0, err) != RC_OK)
        return RC_FAIL;
    if (rc_cli_has(cli, "json"))
        rc_cli_json_print(json_pack("{s:s, s:s, s:{s:s, s:s}}", "program", "rollcall", "version", RC_VERSION,
                                    "libraries", "librdkafka", rc_kafka_version(), "jansson", jansson_version_str()));
    else
        printf("rollcall %s\nlibrdkafka %s, jansson %s\n", RC_VERSION, rc_kafka_version(), jansson_version_str());
    return RC_OK;
}

const struct rc_cli_command rc_cli_command_version = {
    .name = "version",
    .summary = "Which build this is",
    .arguments = "",
    .text = "Prints the version of rollcall and of the libraries that it runs with.",
    .examples = "rollcall version\nrollcall version --json",
    .prints_data = true,
    .no_config = true,
    .run = version,
};
