/* Questions between an HTTP server's thread and a loop: here the test's own thread is the loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "consumers/shared/question.h"

static struct rc_http *http;
static struct rc_config *config;
static struct rc_loop *loop;
static struct rc_process process;
static struct rc_questions *questions;
static struct rc_stop stop = {.fd = -1};
static pthread_t loop_thread; /* answers must come from here */
static int answered;

/* One request beside the test; `answer` is complete once `done`. */
struct client {
    pthread_t thread;
    const char *first_line;
    char answer[4096];
    atomic_bool done;
};

static void *ask(void *ctx) {
    struct client *client = ctx;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)rc_http_port(http)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char text[1024];
    int n = snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", client->first_line);
    size_t len = 0;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 && write(fd, text, (size_t)n) == n)
        for (ssize_t got; (got = read(fd, client->answer + len, sizeof client->answer - 1 - len)) > 0 &&
                          len < sizeof client->answer;)
            len += (size_t)got;
    close(fd);
    atomic_store(&client->done, true);
    return NULL;
}

static void begin(struct client *client, const char *first_line) {
    *client = (struct client){.first_line = first_line};
    assert_int_equal(pthread_create(&client->thread, NULL, ask, client), 0);
}

static void expect(struct client *client, int status, const char *body) {
    char code[32];
    pthread_join(client->thread, NULL);
    snprintf(code, sizeof code, "HTTP/1.1 %d ", status);
    if (strncmp(client->answer, code, strlen(code)) != 0 || !strstr(client->answer, body))
        fail_msg("%s: expected %d and \"%s\", got\n%s", client->first_line, status, body, client->answer);
}

/* Until the loop is woken, `ms` at most. */
static void wait_ms(int ms) {
    for (int64_t until = rc_clock_wall_ms() + ms; rc_clock_wall_ms() < until;)
        if (rc_loop_wait(loop, until))
            return;
}

/* Turns as a loop does, until the client has its answer. */
static void turn_until_done(struct client *client) {
    while (!atomic_load(&client->done)) {
        rc_questions_turn(questions);
        wait_ms(20);
    }
}

static void greet(void *ctx, const struct rc_http_request *request, struct rc_http_reply *reply) {
    assert_true(pthread_equal(pthread_self(), loop_thread));
    const char *person = rc_answer_person(request, reply);
    answered++;
    if (person)
        rc_answer_json(reply, json_pack("{s:s, s:s, s:b}", "greeting", ctx, "to", person, "post", request->post));
}

static void send_away(void *ctx, const struct rc_http_request *request, struct rc_http_reply *reply) {
    (void)request, (void)reply;
    rc_answer_elsewhere(questions, *(const int32_t *)ctx);
}

static int set_up(void **state) {
    (void)state;
    struct rc_error err;
    loop_thread = pthread_self();
    answered = 0;
    static const char *const nowhere[] = {"kafka.bootstrap.servers=127.0.0.1:1"};
    const struct rc_config_sources sources = {.sets = nowhere, .n_sets = 1};
    if (rc_config_load(&sources, &config, &err) != RC_OK || rc_http_open("127.0.0.1:0", &http, &err) != RC_OK ||
        rc_loop_open(&loop, &err) != RC_OK)
        return -1;
    process = (struct rc_process){.config = config, .http = http, .stop = &stop, .instance = "me"};
    questions = rc_questions_open(&process, "ingest", loop);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    rc_questions_close(questions);
    rc_loop_close(loop);
    rc_http_close(http);
    rc_config_free(config);
    return 0;
}

static void test_the_loop_answers(void **state) {
    (void)state;
    struct client client;
    rc_questions_route(questions, "/greet", false, greet, "hello");
    rc_questions_route(questions, "/do", true, greet, "done");
    rc_questions_turn(questions);
    begin(&client, "GET /greet?person=id:a%20b");
    turn_until_done(&client);
    expect(&client, 200, "{\"greeting\":\"hello\",\"to\":\"id:a b\",\"post\":false}");
    begin(&client, "POST /do?person=id:x");
    turn_until_done(&client);
    expect(&client, 200, "\"post\":true");
    begin(&client, "POST /greet?person=id:x");
    turn_until_done(&client);
    expect(&client, 405, "only GET");
    assert_int_equal(answered, 2);
}

static void test_what_is_no_person(void **state) {
    (void)state;
    static const char *const lines[] = {"GET /greet", "GET /greet?person=", "GET /greet?person=nobody",
                                        "GET /greet?person=:x", "GET /greet?person=id:%ff"};
    struct client client;
    rc_questions_route(questions, "/greet", false, greet, "hello");
    rc_questions_turn(questions);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        begin(&client, lines[i]);
        turn_until_done(&client);
        expect(&client, 400, "?person=namespace:id");
    }
}

static void test_not_begun_busy_and_ending(void **state) {
    (void)state;
    struct client client;
    rc_questions_route(questions, "/greet", false, greet, "hello");
    begin(&client, "GET /greet?person=id:x"); /* the loop has not turned yet: nobody waits */
    expect(&client, 503, "starting");
    rc_questions_turn(questions);
    begin(&client, "GET /greet?person=id:x"); /* the loop hangs */
    expect(&client, 503, "busy");
    rc_questions_turn(questions); /* what was given up is not answered */
    assert_int_equal(answered, 0);
    wait_ms(1); /* for what has been given up */
    begin(&client, "GET /greet?person=id:x");
    wait_ms(10000);                /* for the question */
    rc_questions_close(questions); /* does not wait for the limit, and leaves no route */
    expect(&client, 503, "ending");
    questions = rc_questions_open(&process, "ingest", loop);
    begin(&client, "GET /greet?person=id:x");
    expect(&client, 404, "not found");
}

/* No broker answers here: the owner is not known, and that does not take long. */
static void test_elsewhere(void **state) {
    (void)state;
    struct client client;
    static const int32_t number = 3;
    rc_questions_route(questions, "/away", false, send_away, (void *)&number);
    rc_questions_turn(questions);
    begin(&client, "GET /away");
    turn_until_done(&client);
    expect(&client, 503, "no process holds partition 3 yet");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_loop_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_no_person, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_begun_busy_and_ending, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_elsewhere, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
