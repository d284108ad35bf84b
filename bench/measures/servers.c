/* The broker and the Redis of a run: started in its folder on free ports, ended by their ids. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/measures/internal.h"

#define PORT_FIRST 10240
#define PORT_LAST 32767
#define FORMAT_TIMEOUT_MS 60000
#define REDIS_TIMEOUT_MS 20000

/* ---- files ---- */

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *at) {
    (void)stat, (void)kind, (void)at;
    return remove(path);
}

void rc_bench_remove_folder(const char *path) {
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

rc_status rc_bench_write_file(const char *path, struct rc_span text, struct rc_error *err) {
    FILE *file = fopen(path, "wb");
    bool fine = file && fwrite(text.data, 1, text.len, file) == text.len;
    if ((file && fclose(file) != 0) || !fine)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE, "%s: %s", path, strerror(errno));
    return RC_OK;
}

static bool readable(const char *path) {
    return access(path, R_OK) == 0;
}

/* A file of the build: beside the program, a folder above it (build/asan/rollcall), or in ./build. */
static bool find_built(const struct bench *bench, const char *name, char out[BENCH_PATH]) {
    const char *slash = strrchr(bench->options.program, '/');
    int len = slash ? (int)(slash - bench->options.program) : 1;
    const char *folder = slash ? bench->options.program : ".";
    snprintf(out, BENCH_PATH, "%.*s/%s", len, folder, name);
    if (readable(out))
        return true;
    snprintf(out, BENCH_PATH, "%.*s/../%s", len, folder, name);
    if (readable(out))
        return true;
    snprintf(out, BENCH_PATH, "build/%s", name);
    return readable(out);
}

/* ---- ports ---- */

static struct sockaddr_in local(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int rc_bench_free_port(void) {
    for (int tries = 0; tries < 200; tries++) {
        uint32_t number;
        if (getrandom(&number, sizeof number, 0) != sizeof number)
            return 0;
        int port = PORT_FIRST + (int)(number % (PORT_LAST - PORT_FIRST + 1)), one = 1;
        struct sockaddr_in address = local(port);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        bool mine = bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
        close(fd);
        if (mine)
            return port;
    }
    return 0;
}

int rc_bench_http_status(int port, const char *path) {
    char text[256];
    int status = 0;
    struct sockaddr_in address = local(port);
    struct timeval patience = {.tv_sec = 2};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    int len = snprintf(text, sizeof text, "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 && write(fd, text, (size_t)len) == len) {
        ssize_t n = read(fd, text, sizeof text - 1);
        text[n > 0 ? n : 0] = '\0';
        if (sscanf(text, "HTTP/1.%*d %d", &status) != 1)
            status = 0;
    }
    close(fd);
    return status;
}

/* ---- Kafka ---- */

static rc_status find_jars(const struct bench *bench, char out[BENCH_PATH], struct rc_error *err) {
    if (bench->options.kafka_home) {
        snprintf(out, BENCH_PATH, "%s/lib", bench->options.kafka_home);
        if (readable(out))
            return RC_OK;
        snprintf(out, BENCH_PATH, "%s/libs", bench->options.kafka_home); /* as in Apache's own archive */
        if (readable(out))
            return RC_OK;
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE,
                            "--kafka-home %s has no folder lib or libs with Kafka's jars", bench->options.kafka_home);
    }
    if (find_built(bench, "kafka/lib", out))
        return RC_OK;
    return rc_error_set(
        err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE,
        "there are no jars of Kafka to start a broker from; run scripts/bootstrap --tests in the source folder, "
        "which brings them into build/kafka/lib, name a folder by --kafka-home, or a broker that runs by --set "
        "kafka.bootstrap.servers=host:port");
}

static rc_status write_properties(const struct bench *bench, const char *path, int port, int controller,
                                  struct rc_error *err) {
    struct rc_buf text;
    rc_buf_init(&text, 1 << 16);
    rc_buf_printf(
        &text,
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:%d\n"
        "listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d\n"
        "advertised.listeners=PLAINTEXT://127.0.0.1:%d\ncontroller.listener.names=CONTROLLER\nlog.dirs=%s/kafka\n",
        controller, port, controller, port, bench->folder);
    rc_buf_add_str(&text, "auto.create.topics.enable=false\nnum.partitions=4\ndefault.replication.factor=1\n"
                          "offsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\n"
                          "transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n"
                          "transaction.state.log.num.partitions=4\nshare.coordinator.state.topic.replication.factor=1\n"
                          "share.coordinator.state.topic.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n"
                          "log.retention.hours=-1\n");
    rc_status status = rc_bench_write_file(path, rc_buf_span(&text), err);
    rc_buf_deinit(&text);
    return status;
}

static rc_status start_kafka(struct bench *bench, struct rc_error *err) {
    char jars[BENCH_PATH], path[BENCH_PATH + 32], classes[BENCH_PATH + 8], log[BENCH_PATH + 32], cluster[32];
    if (find_jars(bench, jars, err) != RC_OK)
        return RC_FAIL;
    int port = rc_bench_free_port(), controller = rc_bench_free_port(), status = 0;
    snprintf(path, sizeof path, "%s/server.properties", bench->folder);
    snprintf(classes, sizeof classes, "%s/*", jars);
    snprintf(log, sizeof log, "%s/broker.log", bench->folder);
    /* 16 bytes in base64 without the padding; any will do, so long as no other cluster has it. */
    snprintf(cluster, sizeof cluster, "rollcallbench%09u", (unsigned)getpid());
    if (write_properties(bench, path, port, controller, err) != RC_OK)
        return RC_FAIL;
    pid_t format;
    const char *const quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn";
    const char *const make[] = {"java",
                                "-Xmx256m",
                                "-XX:TieredStopAtLevel=1",
                                quiet,
                                "-cp",
                                classes,
                                "kafka.tools.StorageTool",
                                "format",
                                "-t",
                                cluster,
                                "-c",
                                path,
                                NULL};
    if (rc_bench_spawn(bench, make, log, &format, err) != RC_OK ||
        rc_bench_end(format, 0, FORMAT_TIMEOUT_MS, NULL, &status, err) != RC_OK)
        return RC_FAIL;
    if (status != 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE,
                            "Kafka's storage could not be prepared (is java in PATH?); with --keep %s tells more", log);
    const char *const serve[] = {"java", "-Xmx1g", "-Xms256m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
                                 quiet,  "-cp",    classes,    "kafka.Kafka",  path,
                                 NULL};
    snprintf(bench->bootstrap, sizeof bench->bootstrap, "127.0.0.1:%d", port);
    return rc_bench_spawn(bench, serve, log, &bench->kafka, err);
}

/* ---- Redis ---- */

static rc_status start_redis(struct bench *bench, struct rc_error *err) {
    char port[16], log[BENCH_PATH + 32], program[BENCH_PATH];
    bench->redis_port = rc_bench_free_port();
    snprintf(port, sizeof port, "%d", bench->redis_port);
    snprintf(log, sizeof log, "%s/redis.log", bench->folder);
    if (bench->options.redis_server)
        snprintf(program, sizeof program, "%s", bench->options.redis_server);
    else if (!find_built(bench, "bin/redis-server", program))
        snprintf(program, sizeof program, "redis-server");
    const char *const argv[] = {program,  "--port", port,           "--bind", "127.0.0.1",   "--dir", bench->folder,
                                "--save", "",       "--appendonly", "no",     "--daemonize", "no",    NULL};
    if (rc_bench_spawn(bench, argv, log, &bench->redis, err) != RC_OK)
        return RC_FAIL;
    struct sockaddr_in address = local(bench->redis_port);
    for (int64_t until = rc_clock_monotonic_ms() + REDIS_TIMEOUT_MS; rc_clock_monotonic_ms() < until;) {
        if (rc_bench_ended(bench->redis))
            break;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool up = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
        close(fd);
        if (up)
            return RC_OK;
        if (rc_bench_wait(bench, 20, err) != RC_OK)
            return RC_FAIL;
    }
    return rc_error_set(
        err, RC_CLASS_FATAL, RC_EXIT_UNAVAILABLE,
        "%s does not run as a Redis server; scripts/bootstrap --tests brings one, or name one by --redis-server",
        program);
}

rc_status rc_bench_servers_start(struct bench *bench, bool redis, struct rc_error *err) {
    if (!bench->bootstrap[0]) {
        if (bench->options.bootstrap)
            snprintf(bench->bootstrap, sizeof bench->bootstrap, "%s", bench->options.bootstrap);
        else if (start_kafka(bench, err) != RC_OK)
            return RC_FAIL;
        if (rc_bench_topic_new(bench, "bench.hello", err) != RC_OK) /* waits until the broker answers */
            return RC_FAIL;
    }
    return redis && !bench->redis ? start_redis(bench, err) : RC_OK;
}

void rc_bench_servers_stop(struct bench *bench) {
    struct rc_error ignored;
    if (bench->options.bootstrap && bench->bootstrap[0])
        rc_bench_topics_delete(bench, "bench");
    if (bench->redis > 0)
        (void)!rc_bench_end(bench->redis, SIGKILL, 10000, NULL, NULL, &ignored);
    if (bench->kafka > 0)
        (void)!rc_bench_end(bench->kafka, SIGKILL, 10000, NULL, NULL, &ignored); /* nobody reads its data again */
    bench->redis = bench->kafka = 0;
}
