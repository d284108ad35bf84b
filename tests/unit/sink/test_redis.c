/* The Redis driver on a real Redis (started here, on a unix socket in a temporary folder): versions, offsets, wipes, many calls under way.
 * Skipped, loudly, when no redis-server is installed. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "consumers/sink/driver.h"
#include "consumers/sink/profile.h"
#include "consumers/sink/redis_client.h"
#include "tests/unit/wait.h"

struct server {
    pid_t pid;
    char folder[64], url[128];
    struct rc_sink_driver *driver;
    size_t done, written;
};

static const char *program(void) {
    static const char *const places[] = {RC_SOURCE_DIR "/build/bin/redis-server", "/usr/bin/redis-server",
                                         "/usr/local/bin/redis-server"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

static struct rc_sink_driver *driver_of(struct server *server, const char *cluster, bool may_change) {
    struct rc_sink_driver_options options = {.destination = "profiles",
                                             .url = server->url,
                                             .prefix = "rollcall",
                                             .cluster = cluster,
                                             .cluster_may_change = may_change};
    struct rc_sink_driver *driver = NULL;
    struct rc_error err = {0};
    if (rc_sink_redis_new(&options, &driver, &err))
        fail_msg("%s", err.message);
    return driver;
}

static int setup(void **state) {
    struct server *server = calloc(1, sizeof *server);
    struct rc_error err = {0};
    *state = server;
    if (!program())
        return 0;
    snprintf(server->folder, sizeof server->folder, "/tmp/rollcall-redis-XXXXXX");
    assert_non_null(mkdtemp(server->folder));
    snprintf(server->url, sizeof server->url, "unix:%s/socket", server->folder);
    server->pid = fork();
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails in the middle leaves nothing behind */
        if (chdir(server->folder) || !freopen("/dev/null", "w", stdout))
            _exit(1);
        execl(program(), "redis-server", "--port", "0", "--unixsocket", "socket", "--save", "", NULL);
        _exit(127);
    }
    server->driver = driver_of(server, "cluster-1", false);
    for (int i = 0; server->driver->ops->connect(server->driver, &err); i++) {
        if (i == 500)
            fail_msg("%s", err.message);
        test_wait_ms(10);
    }
    return 0;
}

static int teardown(void **state) {
    struct server *server = *state;
    if (server->driver)
        server->driver->ops->free(server->driver);
    if (server->pid) {
        char path[128];
        kill(server->pid, SIGKILL);
        waitpid(server->pid, NULL, 0);
        snprintf(path, sizeof path, "%s/socket", server->folder);
        unlink(path);
        rmdir(server->folder);
    }
    free(server);
    return 0;
}

#define NEED_SERVER(server)                                                \
    if (!(server)->pid) {                                                  \
        print_message("no redis-server: run scripts/bootstrap --tests\n"); \
        skip();                                                            \
    }

static struct rc_sink_batch *batch_of(int32_t partition, int64_t expected, int64_t next) {
    struct rc_sink_batch *batch = rc_sink_batch_new();
    batch->partition = partition;
    batch->expected = expected;
    batch->next = next;
    return batch;
}

static void add(struct rc_sink_batch *batch, const char *key, const char *audience, bool realized, int64_t version,
                bool only_if_there) {
    struct rc_sink_change change = {.person_key = rc_span_str(key),
                                    .change = {.target = rc_span_str(audience),
                                               .realized = realized,
                                               .since_ms = 1767225600123,
                                               .version = version,
                                               .event_time_ms = RC_NO_EVENT_TIME},
                                    .only_if_there = only_if_there};
    rc_sink_batch_add(batch, &change);
}

static void done(void *ctx, struct rc_sink_batch *batch, size_t written) {
    struct server *server = ctx;
    server->done++;
    server->written += written;
    rc_sink_batch_free(batch);
}

/* Until nothing is under way, or trouble. */
static rc_status settle(struct server *server, struct rc_error *err) {
    int64_t until = rc_clock_monotonic_ms() + 10000;
    while (server->driver->ops->pending(server->driver)) {
        struct pollfd wait = {0};
        wait.fd = server->driver->ops->fd(server->driver, &wait.events);
        poll(&wait, 1, 100);
        if (server->driver->ops->progress(server->driver, done, server, err))
            return RC_FAIL;
        assert_true(rc_clock_monotonic_ms() < until);
    }
    return RC_OK;
}

static size_t apply(struct server *server, struct rc_sink_batch *batch) {
    struct rc_error err = {0};
    server->written = 0;
    if (server->driver->ops->submit(server->driver, batch, &err) || settle(server, &err))
        fail_msg("%s", err.message);
    return server->written;
}

static char *profile_of(struct server *server, const char *key) {
    json_t *profile = NULL;
    struct rc_error err = {0};
    if (rc_profile_read(server->url, "rollcall", rc_span_str(key), &profile, &err))
        fail_msg("%s", err.message);
    char *text = profile ? json_dumps(profile, JSON_COMPACT | JSON_SORT_KEYS) : strdup("none");
    json_decref(profile);
    return text;
}

static void expect_profile(struct server *server, const char *key, const char *expected) {
    char *text = profile_of(server, key);
    assert_string_equal(text, expected);
    free(text);
}

static int64_t offset_of(struct server *server, int32_t partition) {
    int64_t offset = 0;
    struct rc_error err = {0};
    if (server->driver->ops->offsets(server->driver, &partition, 1, &offset, &err))
        fail_msg("%s", err.message);
    return offset;
}

static void flush_all(struct server *server, const char *what) {
    struct rc_redis_address address;
    redisContext *context = NULL;
    redisReply *reply = NULL;
    struct rc_error err = {0};
    const char *argv[] = {what, "FLUSH"};
    if (rc_redis_address_parse(server->url, NULL, &address, &err) || rc_redis_connect(&address, &context, &err) ||
        rc_redis_command(context, strcmp(what, "SCRIPT") == 0 ? 2 : 1, argv, NULL, &reply, &err))
        fail_msg("%s", err.message);
    freeReplyObject(reply);
    redisFree(context);
    rc_redis_address_deinit(&address);
}

static void test_versions_decide(void **state) {
    struct server *server = *state;
    NEED_SERVER(server);
    struct rc_sink_batch *batch = batch_of(3, RC_SINK_NO_OFFSET, 4);
    add(batch, "id:a", "one", true, 10, false);
    add(batch, "id:a", "one", false, 12, false);
    add(batch, "id:a", "one", true, 11, false);  /* late */
    add(batch, "id:a", "one", false, 12, false); /* again */
    add(batch, "id:b", "one", true, (INT64_C(1) << 53) - 1, false);
    add(batch, "id:b", "one", false, (INT64_C(1) << 53) - 2, false);
    add(batch, "id:c", "two", false, 1, true); /* not there */
    add(batch, "id:a", "one", false, 13, true);
    assert_int_equal(apply(server, batch), 4);
    expect_profile(server, "id:a",
                   "{\"segmentMembership.one\":{\"lastQualificationTime\":\"2026-01-01T00:00:00.123Z\",\"status\":"
                   "\"exited\",\"version\":13}}");
    expect_profile(server, "id:b",
                   "{\"segmentMembership.one\":{\"lastQualificationTime\":\"2026-01-01T00:00:00.123Z\",\"status\":"
                   "\"realized\",\"version\":"
                   "9007199254740991}}");
    expect_profile(server, "id:c", "none");
    assert_int_equal(offset_of(server, 3), 4);
    assert_int_equal(offset_of(server, 0), RC_SINK_NO_OFFSET);
}

static void test_values_have_the_fixed_form(void **state) {
    struct server *server = *state;
    NEED_SERVER(server);
    struct rc_buf value;
    rc_buf_init(&value, 1000);
    rc_profile_value_add(&value, true, 1767225600123, (INT64_C(5) << 32) + 7);
    assert_string_equal(
        value.data,
        "{\"status\":\"realized\",\"lastQualificationTime\":\"2026-01-01T00:00:00.123Z\",\"version\":21474836487}");
    assert_int_equal(rc_profile_value_version(rc_buf_span(&value)), (INT64_C(5) << 32) + 7);
    assert_int_equal(rc_profile_value_version(rc_span_str("{\"version\":7} ")), -1);
    assert_int_equal(rc_profile_value_version(rc_span_str("7}")), -1);
    assert_int_equal(rc_profile_value_version(rc_span_str("")), -1);
    rc_buf_deinit(&value);
}

static void test_unexpected_offset_changes_nothing(void **state) {
    struct server *server = *state;
    NEED_SERVER(server);
    struct rc_error err = {0};
    struct rc_sink_batch *batch = batch_of(0, RC_SINK_NO_OFFSET, 5);
    add(batch, "id:x", "one", true, 1, false);
    assert_int_equal(apply(server, batch), 1);
    flush_all(server, "FLUSHALL");
    /* Three calls in a chain: the store was wiped before the first, so none of them may be applied. */
    for (int64_t at = 5; at < 8; at++) {
        batch = batch_of(0, at, at + 1);
        add(batch, "id:x", "one", true, at, false);
        assert_int_equal(server->driver->ops->submit(server->driver, batch, &err), RC_OK);
    }
    assert_int_equal(settle(server, &err), RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_RETRY);
    assert_non_null(strstr(err.message, "OFFSET"));
    server->driver->ops->disconnect(server->driver);
    assert_int_equal(server->driver->ops->connect(server->driver, &err), RC_OK);
    expect_profile(server, "id:x", "none");
    assert_int_equal(offset_of(server, 0), RC_SINK_NO_OFFSET);
}

static void test_script_flush_is_an_ordinary_trouble(void **state) {
    struct server *server = *state;
    NEED_SERVER(server);
    struct rc_error err = {0};
    flush_all(server, "SCRIPT");
    struct rc_sink_batch *batch = batch_of(1, RC_SINK_NO_OFFSET, 1);
    add(batch, "id:s", "one", true, 1, false);
    assert_int_equal(server->driver->ops->submit(server->driver, batch, &err), RC_OK);
    assert_int_equal(settle(server, &err), RC_FAIL);
    assert_non_null(strstr(err.message, "NOSCRIPT"));
    server->driver->ops->disconnect(server->driver);
    assert_int_equal(server->driver->ops->connect(server->driver, &err), RC_OK);
    batch = batch_of(1, RC_SINK_NO_OFFSET, 1);
    add(batch, "id:s", "one", true, 1, false);
    assert_int_equal(apply(server, batch), 1);
}

static void test_many_calls_under_way(void **state) {
    struct server *server = *state;
    NEED_SERVER(server);
    struct rc_error err = {0};
    server->done = server->written = 0;
    for (int64_t at = 0; at < 300; at++) {
        struct rc_sink_batch *batch = batch_of(2, at ? at : RC_SINK_NO_OFFSET, at + 1);
        for (int i = 0; i < 100; i++) {
            char key[32];
            snprintf(key, sizeof key, "id:m%d", i);
            add(batch, key, "one", at % 2, at + 1, false);
        }
        assert_int_equal(server->driver->ops->submit(server->driver, batch, &err), RC_OK);
    }
    if (settle(server, &err))
        fail_msg("%s", err.message);
    assert_int_equal(server->done, 300);
    assert_int_equal(server->written, 30000);
    assert_int_equal(offset_of(server, 2), 300);
}

static void collect(void *ctx, struct rc_span audience) {
    size_t *n = ctx;
    assert_true(audience.len == 5);
    (*n)++;
}

static void test_rewind_and_attached(void **state) {
    struct server *server = *state;
    NEED_SERVER(server);
    struct rc_error err = {0};
    const char *names[] = {"0/one", "0/two"};
    int32_t partitions[] = {0, 1};
    int64_t offsets[] = {7, RC_SINK_NO_OFFSET};
    size_t n = 0;
    assert_int_equal(server->driver->ops->attach(server->driver, names, 2, &err), RC_OK);
    assert_int_equal(server->driver->ops->attach(server->driver, names, 1, &err), RC_OK);
    assert_int_equal(server->driver->ops->attached(server->driver, collect, &n, &err), RC_OK);
    assert_int_equal(n, 2);
    assert_int_equal(server->driver->ops->detach(server->driver, "0/two", &err), RC_OK);
    assert_int_equal(server->driver->ops->attached(server->driver, collect, &n, &err), RC_OK);
    assert_int_equal(n, 3);
    assert_int_equal(server->driver->ops->rewind(server->driver, partitions, offsets, 2, &err), RC_OK);
    assert_int_equal(offset_of(server, 0), 7);
    assert_int_equal(offset_of(server, 1), RC_SINK_NO_OFFSET);
}

static void test_another_cluster(void **state) {
    struct server *server = *state;
    NEED_SERVER(server);
    struct rc_error err = {0};
    struct rc_sink_batch *batch = batch_of(0, RC_SINK_NO_OFFSET, 5);
    int32_t partition = 0;
    int64_t offset = 0;
    add(batch, "id:x", "one", true, 1, false);
    assert_int_equal(apply(server, batch), 1);
    server->driver->ops->free(server->driver);
    server->driver = driver_of(server, "cluster-2", false);
    assert_int_equal(server->driver->ops->connect(server->driver, &err), RC_OK);
    assert_int_equal(server->driver->ops->offsets(server->driver, &partition, 1, &offset, &err), RC_FAIL);
    assert_non_null(strstr(err.message, "cluster-1"));
    expect_profile(server, "id:x",
                   "{\"segmentMembership.one\":{\"lastQualificationTime\":\"2026-01-01T00:00:00.123Z\",\"status\":"
                   "\"realized\",\"version\":1}}");
    server->driver->ops->free(server->driver);
    server->driver = driver_of(server, "cluster-2", true);
    assert_int_equal(server->driver->ops->connect(server->driver, &err), RC_OK);
    assert_int_equal(offset_of(server, 0), RC_SINK_NO_OFFSET);
    expect_profile(server, "id:x", "none");
}

static void test_server_gone(void **state) {
    struct server *server = *state;
    NEED_SERVER(server);
    struct rc_error err = {0};
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    struct rc_sink_batch *batch = batch_of(0, RC_SINK_NO_OFFSET, 5);
    add(batch, "id:x", "one", true, 1, false);
    assert_true(server->driver->ops->submit(server->driver, batch, &err) == RC_FAIL || settle(server, &err) == RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_RETRY);
    server->driver->ops->disconnect(server->driver);
    assert_int_equal(server->driver->ops->connect(server->driver, &err), RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_RETRY);
    server->pid = 0;
}

static void test_addresses(void **state) {
    (void)state;
    struct rc_redis_address a;
    struct rc_error err = {0};
    assert_int_equal(rc_redis_address_parse("redis://127.0.0.1:6380/3", NULL, &a, &err), RC_OK);
    assert_string_equal(a.host, "127.0.0.1");
    assert_int_equal(a.port, 6380);
    assert_int_equal(a.database, 3);
    assert_null(a.password);
    rc_redis_address_deinit(&a);
    assert_int_equal(rc_redis_address_parse("redis://me:p%40ss@host", NULL, &a, &err), RC_OK);
    assert_string_equal(a.user, "me");
    assert_string_equal(a.password, "p@ss");
    assert_string_equal(a.host, "host");
    assert_int_equal(a.port, 6379);
    char *text = rc_redis_address_text(&a);
    assert_string_equal(text, "redis://host:6379/0");
    free(text);
    rc_redis_address_deinit(&a);
    assert_int_equal(rc_redis_address_parse("redis://:x@[::1]:7000", "better", &a, &err), RC_OK);
    assert_string_equal(a.host, "::1");
    assert_string_equal(a.password, "better");
    assert_null(a.user);
    rc_redis_address_deinit(&a);
    assert_int_equal(rc_redis_address_parse("unix:/run/redis.sock?db=2", NULL, &a, &err), RC_OK);
    assert_string_equal(a.path, "/run/redis.sock");
    assert_int_equal(a.database, 2);
    rc_redis_address_deinit(&a);
    static const char *const wrong[] = {"http://x", "redis://h:port", "redis://h:70000", "redis://h/db",
                                        "unix:",    "redis://[::1",   "127.0.0.1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(rc_redis_address_parse(wrong[i], NULL, &a, &err), RC_FAIL);
        assert_int_equal(err.exit_code, RC_EXIT_CONFIG);
    }
    assert_int_equal(rc_redis_address_parse("redis://me:secret@h:port", NULL, &a, &err), RC_FAIL);
    assert_null(strstr(err.message, "secret"));
}

int main(void) {
    signal(SIGPIPE, SIG_IGN); /* as the program does */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_versions_decide, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values_have_the_fixed_form, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unexpected_offset_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_script_flush_is_an_ordinary_trouble, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_calls_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rewind_and_attached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_cluster, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_gone, setup, teardown),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
