#include <curl/curl.h>
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <microhttpd.h>
#include <stdio.h>

#include "cli/commands.h"
#include "cli/json.h"
#include "kafka/client.h"

static rc_status version(struct cli *cli, struct rc_error *err) {
    if (cli_expect(cli, 0, 0, err) != RC_OK)
        return RC_FAIL;
    char hiredis[32];
    snprintf(hiredis, sizeof hiredis, "%d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
    const char *curl = curl_version_info(CURLVERSION_NOW)->version;
    if (cli_has(cli, "json")) {
        cli_json_print(json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:s, s:s}}", "program", "rollcall", "version",
                                 RC_VERSION, "libraries", "librdkafka", rc_kafka_version(), "jansson",
                                 jansson_version_str(), "libmicrohttpd", MHD_get_version(), "libcurl", curl, "hiredis",
                                 hiredis));
        return RC_OK;
    }
    printf("rollcall %s\nlibrdkafka %s, jansson %s, libmicrohttpd %s, libcurl %s, hiredis %s\n", RC_VERSION,
           rc_kafka_version(), jansson_version_str(), MHD_get_version(), curl, hiredis);
    return RC_OK;
}

const struct cli_command cli_command_version = {
    .name = "version",
    .summary = "Which build this is",
    .arguments = "",
    .text = "Prints the version of rollcall and of the libraries that it runs with.",
    .examples = "rollcall version\nrollcall version --json",
    .prints_data = true,
    .no_config = true,
    .run = version,
};
