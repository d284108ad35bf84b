/* The admin server over real sockets on free ports, and the process routes on top of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/process.h"

static struct rc_http *http;

static int set_up(void **state) {
    (void)state;
    struct rc_error err;
    return rc_http_open("127.0.0.1:0", &http, &err) == RC_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    rc_http_close(http);
    http = NULL;
    return 0;
}

/* One request; the whole answer, owned by the caller. */
static char *request(int port, const char *first_line) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    char text[1024];
    int n = snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", first_line);
    assert_int_equal(write(fd, text, (size_t)n), n);
    char *answer = calloc(1, 1 << 20);
    size_t len = 0;
    for (ssize_t got; (got = read(fd, answer + len, (1 << 20) - 1 - len)) > 0;)
        len += (size_t)got;
    close(fd);
    return answer;
}

static void expect(const char *first_line, int status, const char *body) {
    char *answer = request(rc_http_port(http), first_line), code[32];
    snprintf(code, sizeof code, "HTTP/1.1 %d ", status);
    if (strncmp(answer, code, strlen(code)) != 0 || !strstr(answer, body))
        fail_msg("%s: expected %d and \"%s\", got\n%s", first_line, status, body, answer);
    free(answer);
}

static void hello(void *ctx, const struct rc_http_request *asked, struct rc_http_reply *reply) {
    const char *name = rc_http_query(asked, "name");
    rc_buf_printf(&reply->body, "%s %s at %s\n", (const char *)ctx, name ? name : "nobody", asked->path);
}

static void teapot(void *ctx, const struct rc_http_request *asked, struct rc_http_reply *reply) {
    (void)ctx, (void)asked;
    reply->status = 418;
    reply->content_type = "application/json";
    rc_buf_add_str(&reply->body, "{}");
}

static void too_much(void *ctx, const struct rc_http_request *asked, struct rc_http_reply *reply) {
    (void)ctx, (void)asked;
    static const char block[1 << 16];
    while (rc_buf_add(&reply->body, block, sizeof block) == RC_OK)
        ;
}

static void test_routes(void **state) {
    (void)state;
    rc_http_route(http, "/hello", hello, "hello");
    rc_http_route(http, "/under/", hello, "under");
    rc_http_route(http, "/under/tea", teapot, NULL);
    rc_http_route(http, "/much", too_much, NULL);
    expect("GET /hello", 200, "hello nobody at /hello");
    expect("GET /hello?name=a%20b", 200, "hello a b at /hello");
    expect("GET /under/x/y", 200, "under nobody at /under/x/y");
    expect("GET /under/tea", 418, "Content-Type: application/json");
    expect("GET /under", 404, "/hello\n");
    expect("GET /nothing", 404, "not found");
    expect("POST /hello", 405, "only GET and HEAD");
    rc_http_route_post(http, "/do", hello, "done");
    expect("POST /do", 200, "done");
    expect("GET /do", 200, "done");
    expect("PUT /do", 405, "only GET, POST and HEAD");
    expect("POST /nothing", 404, "not found");
    expect("HEAD /hello", 200, "Content-Length: 23");
    expect("GET /much", 500, "larger than 64 MiB");
    rc_http_route(http, "/hello", hello, "again");
    expect("GET /hello", 200, "again nobody");
    rc_http_unroute(http, "/hello");
    expect("GET /hello", 404, "not found");
}

static void test_addresses(void **state) {
    (void)state;
    struct rc_http *second = NULL;
    struct rc_error err;
    char taken[64];
    assert_true(rc_http_port(http) > 0);
    assert_string_equal(rc_http_host(http), "127.0.0.1");
    snprintf(taken, sizeof taken, "127.0.0.1:%d", rc_http_port(http));
    assert_int_equal(rc_http_open(taken, &second, &err), RC_FAIL);
    assert_int_equal(err.exit_code, RC_EXIT_UNAVAILABLE);
    assert_non_null(strstr(err.message, taken));
    assert_non_null(strstr(err.message, "in use"));
    static const char *const bad[] = {
        "", "9464", "localhost", "localhost:", "localhost:x", "localhost:70000", "localhost:-1", "127.0.0.1:+1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(rc_http_open(bad[i], &second, &err), RC_FAIL);
        assert_int_equal(err.exit_code, RC_EXIT_CONFIG);
        assert_non_null(strstr(err.message, "http.listen"));
    }
    assert_null(second);
    static const char *const good[] = {"localhost:0", ":0", "0.0.0.0:0"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(rc_http_open(good[i], &second, &err), RC_OK);
        assert_true(rc_http_port(second) > 0);
        assert_true(strlen(rc_http_host(second)) > 0 && strcmp(rc_http_host(second), "0.0.0.0") != 0);
        rc_http_close(second);
    }
    rc_http_close(NULL);
}

static json_t *ingest_status(void *ctx) {
    return json_pack("{s:i}", "calls", ++*(int *)ctx);
}

static void test_process(void **state) {
    (void)state;
    struct rc_process process;
    struct rc_error err;
    struct rc_stop stop;
    int calls = 0;
    assert_int_equal(rc_stop_init(&stop, &err), RC_OK);
    assert_int_equal(rc_process_init(&process, NULL, http, &stop, "abc", &err), RC_OK);
    expect("GET /healthz", 200, "ok");
    expect("GET /readyz", 503, "starting");
    rc_counter_inc(rc_counter_register(process.metrics, "rollcall_test_total", "Test", NULL, 0));
    expect("GET /metrics", 200, "rollcall_test_total 1\n");
    expect("GET /metrics", 200, "version=0.0.4");
    rc_process_status_add(&process, "ingest", ingest_status, &calls);
    rc_process_set_ready(&process, "sink", true);
    expect("GET /readyz", 503, "ingest not ready\nsink ready\n");
    assert_false(rc_process_ready(&process));
    rc_process_set_ready(&process, "ingest", true);
    assert_true(rc_process_ready(&process));
    expect("GET /readyz", 200, "ingest ready");
    expect("GET /status", 200, "\"instance\":\"abc\"");
    expect("GET /status", 200, "\"roles\":{\"ingest\":{\"calls\":2,\"ready\":true},\"sink\":{\"ready\":true}}");
    rc_process_status_remove(&process, "ingest");
    expect("GET /status", 200, "\"ingest\":{\"ready\":false}");
    assert_int_equal(calls, 2);
    rc_process_set_ready(&process, "ingest", true);
    rc_stop_request(&stop);
    expect("GET /readyz", 503, "stopping");
    struct rc_histogram *h = rc_histogram_register(process.metrics, "h_seconds", "H", NULL, 0);
    json_t *latency = rc_process_latency(h);
    assert_true(json_is_null(json_object_get(latency, "p50")));
    json_decref(latency);
    rc_histogram_observe_ms(h, 10);
    latency = rc_process_latency(h);
    assert_int_equal(json_integer_value(json_object_get(latency, "count")), 1);
    assert_true(json_real_value(json_object_get(latency, "p99")) > 0.0075);
    json_decref(latency);
    rc_process_deinit(&process);
    expect("GET /metrics", 404, "not found");
    rc_stop_deinit(&stop);
}

static void test_stop_wait(void **state) {
    (void)state;
    struct rc_stop stop;
    struct rc_error err;
    assert_int_equal(rc_stop_init(&stop, &err), RC_OK);
    assert_false(rc_stop_wait(&stop, 0));
    assert_false(rc_stop_wait(&stop, 5));
    rc_stop_request(&stop);
    rc_stop_request(&stop);
    assert_true(rc_stop_wait(&stop, -1)); /* returns at once, as often as it is asked */
    assert_true(rc_stop_wait(&stop, -1));
    rc_stop_deinit(&stop);
}

/* In a child: the first SIGTERM sets the flag, the second ends it with 143; SIGHUP counts. */
static int child_with_signals(int times) {
    pid_t pid = fork();
    if (pid == 0) {
        struct rc_stop stop;
        struct rc_error err;
        if (rc_stop_init(&stop, &err) != RC_OK || rc_signal_install(&stop, &err) != RC_OK)
            _exit(1);
        raise(SIGHUP);
        raise(SIGHUP);
        if (rc_signal_hups() != 2 || rc_stop_requested(&stop))
            _exit(2);
        for (int i = 0; i < times; i++)
            raise(SIGTERM);
        _exit(rc_stop_wait(&stop, -1) ? 0 : 3);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_signals(void **state) {
    (void)state;
    assert_int_equal(child_with_signals(1), 0);
    assert_int_equal(child_with_signals(2), 143);
}

static void test_clocks(void **state) {
    (void)state;
    int64_t a = rc_clock_monotonic_ns(), b = rc_clock_monotonic_ns();
    assert_true(b >= a);
    assert_true(rc_clock_wall_ms() > INT64_C(1577836800000)); /* after 2020 */
    assert_true(llabs(rc_clock_wall_us() / 1000 - rc_clock_wall_ms()) < 60000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_routes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_process, set_up, tear_down),
        cmocka_unit_test(test_stop_wait),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
