/* The embedded broker: found by others, one to a state.dir, topics made without an admin API, a group without
 * waiting. */
#include "tests/unit/kafka/mock.h"

#include <unistd.h>

#include "kafka/client.h"
#include "kafka/embedded.h"
#include "kafka/loop.h"
#include "kafka/topics.h"
#include "tests/unit/wait.h"

struct group {
    size_t assigned, revoked;
};

static rc_status on_assigned(void *ctx, struct rc_source_partition *partitions, size_t n, struct rc_error *err) {
    (void)partitions, (void)err;
    ((struct group *)ctx)->assigned = n;
    return RC_OK;
}

static void on_revoked(void *ctx, const struct rc_source_partition *partitions, size_t n, bool lost) {
    (void)partitions;
    assert_false(lost);
    ((struct group *)ctx)->revoked += n;
}

static void it_is_found_and_used(void **state) {
    (void)state;
    rc_log_set_level(RC_LOG_OFF);
    char dir[] = "/tmp/rollcall-test-XXXXXX", set[128], file[64];
    assert_non_null(mkdtemp(dir));
    snprintf(set, sizeof set, "state.dir=%s", dir);
    snprintf(file, sizeof file, "%s/embedded.json", dir);
    const char *sets[] = {set};
    struct rc_config *config = mock_config(sets, 1);
    struct rc_config *found = NULL;
    assert_false(rc_embedded_find(config, &found));
    struct rc_embedded *embedded, *second;
    const struct rc_config *running;
    struct rc_error err;
    if (rc_embedded_start(config, &embedded, &running, &err) != RC_OK)
        fail_msg("%s", err.message);
    assert_true(rc_embedded_used(running));
    assert_false(rc_embedded_used(config));
    assert_string_equal(rc_config_text(running, "kafka.bootstrap.servers"), rc_embedded_bootstrap(embedded));
    const struct rc_config *other;
    assert_int_equal(rc_embedded_start(config, &second, &other, &err), RC_FAIL);
    assert_int_equal(err.exit_code, RC_EXIT_TEMPORARY);
    assert_non_null(strstr(err.message, dir));
    assert_true(rc_embedded_find(config, &found));
    assert_true(rc_embedded_used(found));

    struct rc_admin *admin;
    assert_int_equal(rc_admin_open(running, &admin, &err), RC_OK);
    struct rc_topic_spec spec = {.name = "web", .partitions = 3, .compacted = true};
    if (rc_topic_ensure(admin, &spec, NULL, &err) != RC_OK)
        fail_msg("%s", err.message);
    spec.partitions = 5;
    assert_int_equal(rc_topic_ensure(admin, &spec, NULL, &err), RC_FAIL);
    assert_int_equal(err.exit_code, RC_EXIT_CONFIG);
    assert_non_null(strstr(err.message, "web has 3 partitions, but 5"));
    int32_t n;
    const char *topics[] = {"web", "not-there"};
    assert_int_equal(rc_topics_count(admin, topics, 2, &n, &err), RC_OK);
    assert_int_equal(n, 3);
    assert_int_equal(rc_topics_ensure_own(admin, n, &err), RC_OK);
    assert_int_equal(rc_topic_partitions(admin, "rollcall.segments", 5000, &n, &err), RC_OK);
    assert_int_equal(n, 3);
    assert_int_equal(rc_topic_partitions(admin, "not-there", 5000, &n, &err), RC_OK);
    assert_int_equal(n, 0);
    char *cluster;
    assert_int_equal(rc_admin_cluster_id(admin, 5000, &cluster, &err), RC_OK);
    assert_true(strlen(cluster) > 0);

    /* A member takes all partitions at once, and those of a topic that appears later. */
    struct group group = {0};
    struct rc_loop *loop;
    assert_int_equal(rc_loop_open(&loop, &err), RC_OK);
    struct rc_source_options options = {.name = "test",
                                        .group = "g",
                                        .instance = "i",
                                        .assigned = on_assigned,
                                        .revoked = on_revoked,
                                        .ctx = &group,
                                        .wake_fd = rc_loop_fd(loop)};
    struct rc_kafka_source *source;
    assert_int_equal(rc_source_open(running, &options, &source, &err), RC_OK);
    assert_int_equal(rc_source_subscribe(source, topics, 2, &err), RC_OK);
    struct rc_message message;
    assert_false(mock_next(source, 200, &message));
    assert_int_equal(group.assigned, 3);
    struct rc_topic_spec late = {.name = "not-there", .partitions = 2};
    assert_int_equal(rc_topic_ensure(admin, &late, NULL, &err), RC_OK);
    assert_false(mock_next(source, 500, &message));
    assert_int_equal(group.revoked, 3);
    assert_int_equal(group.assigned, 5);

    /* What comes wakes the loop. */
    struct rc_producer_options producing = {.name = "test", .wake_fd = -1};
    struct rc_producer *producer;
    assert_int_equal(rc_producer_open(running, &producing, &producer, &err), RC_OK);
    mock_send(producer, "web", 2, "k", "v");
    mock_flush(producer);
    bool came = false;
    for (int i = 0; !came && i < 50; i++) {
        assert_true(rc_loop_wait(loop, rc_clock_wall_ms() + 300));
        came = mock_next(source, 5, &message);
    }
    assert_true(came);
    rc_message_release(&message);
    struct rc_offset offset = {"web", 2, 1, NULL};
    assert_int_equal(rc_source_commit(source, &offset, 1, true, &err), RC_OK);
    int64_t committed[3];
    assert_int_equal(rc_admin_committed(admin, "g", "web", 3, committed, &err), RC_OK);
    assert_int_equal(committed[2], 1);
    assert_int_equal(committed[0], -1);
    int64_t low, high;
    rc_admin_rest(admin); /* every call wakes it */
    assert_int_equal(rc_admin_bounds(admin, "web", 2, 5000, &low, &high, &err), RC_OK);
    rc_admin_rest(admin);
    free(cluster);
    assert_int_equal(rc_admin_cluster_id(admin, 5000, &cluster, &err), RC_OK);
    rc_admin_rest(admin);
    assert_int_equal(rc_admin_committed(admin, "g", "web", 3, committed, &err), RC_OK);
    rc_admin_rest(admin);
    assert_int_equal(rc_topic_ensure(admin, &late, NULL, &err), RC_OK);
    rc_admin_rest(admin);
    assert_int_equal(rc_admin_bounds(admin, "web", 2, 5000, &low, &high, &err), RC_OK);
    assert_int_equal(low, 0);
    assert_int_equal(high, 1);

    rc_producer_close(producer);
    rc_source_close(source);
    assert_int_equal(group.revoked, 8);
    rc_loop_close(loop);
    rc_admin_close(admin);
    free(cluster);
    rc_config_free(found);
    rc_embedded_stop(embedded);
    assert_int_equal(access(file, F_OK), -1);
    rc_config_free(config);
    rmdir(dir);
}

static void the_loop_tells_standing_still(void **state) {
    (void)state;
    struct rc_loop *loop;
    struct rc_error err;
    assert_int_equal(rc_loop_open(&loop, &err), RC_OK);
    rc_loop_wake(loop);
    int64_t began = rc_clock_monotonic_ms();
    assert_true(rc_loop_wait(loop, rc_clock_wall_ms() + 300));
    assert_true(rc_clock_monotonic_ms() - began < 200);
    assert_true(rc_loop_wait(loop, 0));
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    rc_loop_add(loop, fds[0], 1 /* POLLIN */);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_true(rc_loop_wait(loop, rc_clock_wall_ms() + 300));
    assert_true(rc_loop_ready(loop, fds[0]));
    rc_loop_remove(loop, fds[0]);
    assert_false(rc_loop_ready(loop, fds[0]));
    close(fds[0]);
    close(fds[1]);
    test_wait_ms(RC_LOOP_GAP_MS + 50); /* the subject itself: this process does not turn */
    assert_false(rc_loop_wait(loop, 0));
    assert_true(rc_loop_wait(loop, 0));
    test_wait_ms(RC_LOOP_GAP_MS + 50);
    rc_loop_touch(loop);
    assert_true(rc_loop_wait(loop, 0));
    rc_loop_close(loop);
}

static void properties_are_judged(void **state) {
    (void)state;
    struct rc_error err;
    assert_int_equal(rc_kafka_check_property("security.protocol", "ssl", &err), RC_OK);
    assert_int_equal(rc_kafka_check_property("linger.ms", "5", &err), RC_OK);
    assert_int_equal(rc_kafka_check_property("lingr.ms", "5", &err), RC_FAIL);
    assert_non_null(strstr(err.message, "lingr.ms"));
    assert_int_equal(rc_kafka_check_property("linger.ms", "soon", &err), RC_FAIL);
    static const char *const fixed[] = {"enable.auto.commit", "acks",     "request.required.acks",
                                        "partitioner",        "group.id", "auto.offset.reset"};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        assert_int_equal(rc_kafka_check_property(fixed[i], "1", &err), RC_FAIL);
        assert_non_null(strstr(err.message, "cannot be set"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_found_and_used),
        cmocka_unit_test(the_loop_tells_standing_still),
        cmocka_unit_test(properties_are_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
