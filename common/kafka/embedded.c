/* The embedded broker: a mock cluster in this process, and the file by which other processes find it. */
#include "kafka/embedded.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "kafka/internal.h"
#include "kafka/topics.h"

struct rc_embedded {
    rd_kafka_t *rk; /* the handle that the cluster hangs on; used for nothing else */
    rd_kafka_mock_cluster_t *cluster;
    char *file; /* embedded.json */
    struct rc_config *config;
};

/* A process has one embedded broker or none; every client opened with its address must know what it cannot do.
 * Written once, at start, before there are threads. */
static char address[256];
static char identity[64]; /* of this start: what was saved under another one is of no use */
static struct rc_embedded *own;

const char *rc_embedded_address(void) {
    return address[0] ? address : NULL;
}

const char *rc_embedded_identity(void) {
    return identity;
}

bool rc_embedded_used(const struct rc_config *config) {
    return address[0] && strcmp(rc_config_text(config, "kafka.bootstrap.servers"), address) == 0;
}

bool rc_embedded_create_topic(const char *topic, int32_t partitions) {
    if (!own)
        return false;
    /* An error means that it exists. */
    rd_kafka_mock_topic_create(own->cluster, topic, partitions, 1);
    return true;
}

static char *file_name(const struct rc_config *config) {
    const char *dir = rc_config_text(config, "state.dir");
    size_t bytes = strlen(dir) + sizeof "/embedded.json";
    char *name = rc_alloc(bytes);
    snprintf(name, bytes, "%s/embedded.json", dir);
    return name;
}

/* The address in the file when the process that wrote it still runs; NULL otherwise. Owned by the caller. */
static char *running(const char *file, int64_t *pid, char *cluster, size_t cluster_bytes) {
    json_t *json = json_load_file(file, 0, NULL);
    if (!json)
        return NULL;
    const char *bootstrap = json_string_value(json_object_get(json, "bootstrap"));
    *pid = json_integer_value(json_object_get(json, "pid"));
    bool runs = bootstrap && *pid > 0 && (kill((pid_t)*pid, 0) == 0 || errno == EPERM);
    char *found = runs ? rc_strdup(bootstrap) : NULL;
    const char *id = json_string_value(json_object_get(json, "cluster"));
    snprintf(cluster, cluster_bytes, "%s", id ? id : "");
    json_decref(json);
    return found;
}

static rc_status write_file(const struct rc_embedded *embedded, struct rc_error *err) {
    size_t bytes = strlen(embedded->file) + sizeof ".new";
    char *fresh = rc_alloc(bytes);
    snprintf(fresh, bytes, "%s.new", embedded->file);
    json_t *json = json_pack("{s:s, s:I, s:s}", "bootstrap", address, "pid", (json_int_t)getpid(), "cluster", identity);
    rc_status status = RC_OK;
    if (json_dump_file(json, fresh, 0) != 0 || rename(fresh, embedded->file) != 0)
        status = rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "%s cannot be written: %s; is state.dir writable?",
                              embedded->file, strerror(errno));
    json_decref(json);
    free(fresh);
    return status;
}

rc_status rc_embedded_start(const struct rc_config *config, struct rc_embedded **out,
                            const struct rc_config **run_config, struct rc_error *err) {
    const char *dir = rc_config_text(config, "state.dir");
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "state.dir %s cannot be made: %s", dir,
                            strerror(errno));
    char *file = file_name(config);
    int64_t pid = 0;
    char ignored[sizeof identity];
    char *other = running(file, &pid, ignored, sizeof ignored);
    if (other) {
        rc_error_set(err, RC_CLASS_RETRY, RC_EXIT_TEMPORARY,
                     "state.dir %s is in use by process %lld, which runs an embedded broker; stop it, or give this one "
                     "another state.dir",
                     dir, (long long)pid);
        free(other);
        free(file);
        return RC_FAIL;
    }
    struct rc_embedded *embedded = rc_calloc(1, sizeof *embedded);
    embedded->file = file;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, NULL);
    if (rc_client_new(RD_KAFKA_PRODUCER, conf, &embedded->rk, err) != RC_OK)
        goto fail;
    embedded->cluster = rd_kafka_mock_cluster_new(embedded->rk, 1);
    if (!embedded->cluster) {
        rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_INTERNAL, "the embedded broker cannot be started");
        goto fail;
    }
    snprintf(address, sizeof address, "%s", rd_kafka_mock_cluster_bootstraps(embedded->cluster));
    snprintf(identity, sizeof identity, "embedded-%lld-%d", (long long)rc_clock_wall_us(), (int)getpid());
    if (rc_config_with(config, "kafka.bootstrap.servers", address, false, &embedded->config, err) != RC_OK ||
        write_file(embedded, err) != RC_OK)
        goto fail;
    own = embedded;
    rc_log(RC_LOG_INFO, "embedded broker started", rc_f_str("address", address));
    *run_config = embedded->config;
    *out = embedded;
    return RC_OK;
fail:
    address[0] = '\0';
    if (embedded->cluster)
        rd_kafka_mock_cluster_destroy(embedded->cluster);
    if (embedded->rk)
        rd_kafka_destroy(embedded->rk);
    rc_config_free(embedded->config);
    free(embedded->file);
    free(embedded);
    return RC_FAIL;
}

void rc_embedded_stop(struct rc_embedded *embedded) {
    if (!embedded)
        return;
    unlink(embedded->file);
    own = NULL;
    address[0] = '\0';
    rd_kafka_mock_cluster_destroy(embedded->cluster);
    rd_kafka_destroy(embedded->rk);
    rc_config_free(embedded->config);
    free(embedded->file);
    free(embedded);
}

const char *rc_embedded_bootstrap(const struct rc_embedded *embedded) {
    (void)embedded;
    return address;
}

bool rc_embedded_find(const struct rc_config *config, struct rc_config **out) {
    if (rc_config_is_set(config, "kafka.bootstrap.servers"))
        return false;
    char *file = file_name(config);
    int64_t pid;
    char cluster[sizeof identity];
    char *found = running(file, &pid, cluster, sizeof cluster);
    free(file);
    if (!found)
        return false;
    struct rc_error err;
    struct rc_config *pointed;
    bool done = rc_config_with(config, "kafka.bootstrap.servers", found, false, &pointed, &err) == RC_OK;
    if (done) {
        snprintf(address, sizeof address, "%s", found);
        snprintf(identity, sizeof identity, "%s", cluster);
        *out = pointed;
    }
    free(found);
    return done;
}
