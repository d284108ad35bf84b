/* Golden files: config/good/X.conf is written out as config/good/X.expected and parses back to itself; the first line of
 * config/bad/X.conf says what its error must hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/config.h"
#include "base/nearest.h"

#define FOLDER RC_SOURCE_DIR "/tests/unit/base/config/"

static rc_status check_kafka(const char *property, const char *value, struct rc_error *err) {
    (void)value;
    if (strcmp(property, "refused.property") == 0)
        return rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG, "the check refuses %s", property);
    return RC_OK;
}

static struct rc_config *load(const struct rc_config_sources *sources) {
    struct rc_config *config = NULL;
    struct rc_error err;
    if (rc_config_load(sources, &config, &err) != RC_OK)
        fail_msg("%s", err.message);
    return config;
}

static struct rc_config *load_sets(const char *const *sets, size_t n) {
    return load(&(struct rc_config_sources){.sets = sets, .n_sets = n});
}

static char *slurp(const char *path) {
    FILE *in = fopen(path, "r");
    if (!in)
        fail_msg("%s cannot be opened", path);
    char *text = calloc(1, 1 << 16);
    size_t n = fread(text, 1, (1 << 16) - 1, in);
    text[n] = '\0';
    fclose(in);
    return text;
}

static char *written(const struct rc_config *config) {
    struct rc_buf out;
    rc_buf_init(&out, 1 << 16);
    assert_int_equal(rc_config_write(config, true, &out), RC_OK);
    return out.data;
}

static void visit(const char *folder, void (*each)(const char *path)) {
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (len < 5 || strcmp(entry->d_name + len - 5, ".conf") != 0)
            continue;
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        each(path);
        n++;
    }
    closedir(dir);
    assert_true(n >= 3);
}

static void check_good(const char *path) {
    char *environment[] = {"HOME=/users/anna", NULL};
    struct rc_config *config = load(&(struct rc_config_sources){.file = path, .environment = environment});
    char *text = written(config), expected_path[1024];
    snprintf(expected_path, sizeof expected_path, "%.*sexpected", (int)(strlen(path) - 4), path);
    if (getenv("ROLLCALL_TEST_GOLDEN")) {
        FILE *out = fopen(expected_path, "w");
        fputs(text, out);
        fclose(out);
    }
    char *expected = slurp(expected_path);
    assert_string_equal(text, expected);
    struct rc_config *again = load(&(struct rc_config_sources){.file = expected_path});
    char *text_again = written(again);
    assert_string_equal(text_again, text);
    free(text_again);
    free(expected);
    free(text);
    rc_config_free(again);
    rc_config_free(config);
}

static void test_good_files(void **state) {
    (void)state;
    visit(FOLDER "good", check_good);
}

static void check_bad(const char *path) {
    struct rc_config *config = (void *)1;
    struct rc_error err = {0};
    struct rc_config_sources sources = {.file = path, .check_kafka = check_kafka};
    if (rc_config_load(&sources, &config, &err) == RC_OK)
        fail_msg("%s is taken", path);
    assert_ptr_equal(config, (void *)1);
    assert_int_equal(err.exit_code, RC_EXIT_CONFIG);
    char *text = slurp(path);
    text[strcspn(text, "\n")] = '\0';
    assert_memory_equal(text, "# error: ", 9);
    if (!strstr(err.message, text + 9) || !strstr(err.message, path))
        fail_msg("%s: \"%s\" does not hold \"%s\" and the path", path, err.message, text + 9);
    free(text);
}

static void test_bad_files(void **state) {
    (void)state;
    visit(FOLDER "bad", check_bad);
}

static void test_missing_file(void **state) {
    (void)state;
    struct rc_config *config;
    struct rc_error err;
    struct rc_config_sources sources = {.file = "/nonexistent/rollcall.conf"};
    assert_int_equal(rc_config_load(&sources, &config, &err), RC_FAIL);
    assert_int_equal(err.exit_code, RC_EXIT_CONFIG);
    assert_non_null(strstr(err.message, "/nonexistent/rollcall.conf: No such file"));
}

static void test_defaults(void **state) {
    (void)state;
    struct rc_config *config = load(&(struct rc_config_sources){0});
    assert_string_equal(rc_config_text(config, "kafka.bootstrap.servers"), "localhost:9092");
    assert_string_equal(rc_config_text(config, "topics.prefix"), "rollcall");
    assert_int_equal(rc_config_int(config, "topics.replication"), -1);
    assert_int_equal(rc_config_ms(config, "checkpoint.interval"), 1000);
    assert_int_equal(rc_config_ms(config, "memberships.exit_retention"), INT64_C(30) * 86400000);
    assert_int_equal(rc_config_bytes(config, "state.memory_bytes"), INT64_C(512) << 20);
    assert_false(rc_config_bool(config, "group.leave"));
    assert_string_equal(rc_config_text(config, "delivery"), "at_least_once");
    assert_false(rc_config_is_set(config, "checkpoint.interval")); /* exactly_once has a default of its own */
    assert_false(rc_config_is_set(config, "topics.prefix"));
    struct rc_buf topic;
    rc_buf_init(&topic, 100);
    assert_int_equal(rc_config_topic(config, "memberships", &topic), RC_OK);
    assert_string_equal(topic.data, "rollcall.memberships");
    rc_buf_deinit(&topic);
    rc_config_free(config);
}

static void test_order_of_sources(void **state) {
    (void)state;
    char *environment[] = {"PATH=/bin", "ROLLCALL_LOG_LEVEL=error", "ROLLCALL_CHECKPOINT_INTERVAL=3s", NULL};
    const char *sets[] = {"log.level=off", "log.level=warn"};
    struct rc_config_sources sources = {
        .file = FOLDER "good/values.conf", .environment = environment, .sets = sets, .n_sets = 2};
    struct rc_config *config = load(&sources);
    assert_string_equal(rc_config_text(config, "log.level"), "warn");    /* file < environment < set, the last set */
    assert_int_equal(rc_config_ms(config, "checkpoint.interval"), 3000); /* file < environment */
    assert_string_equal(rc_config_text(config, "topics.prefix"), "sandbox.anna"); /* file */
    assert_string_equal(rc_config_text(config, "group.prefix"), "rollcall");      /* default */
    assert_string_equal(rc_config_origin(config, "log.level"), "--set log.level");
    assert_string_equal(rc_config_origin(config, "checkpoint.interval"), "ROLLCALL_CHECKPOINT_INTERVAL");
    assert_non_null(strstr(rc_config_origin(config, "topics.prefix"), "values.conf:3"));
    assert_string_equal(rc_config_origin(config, "group.prefix"), "default");
    rc_config_free(config);
}

static void test_file_from_environment(void **state) {
    (void)state;
    char *environment[] = {"ROLLCALL_CONFIG=" FOLDER "good/crlf.conf", NULL};
    struct rc_config *config = load(&(struct rc_config_sources){.environment = environment});
    assert_string_equal(rc_config_text(config, "log.level"), "warn");
    rc_config_free(config);
}

static void test_environment_names(void **state) {
    (void)state;
    char *environment[] = {"ROLLCALL_KAFKA_BOOTSTRAP_SERVERS=b:1",
                           "ROLLCALL_KAFKA_SESSION_TIMEOUT_MS=6000",
                           "ROLLCALL_KAFKA_A__B_C=x",
                           "ROLLCALL_STATE_MEMORY_BYTES=64MiB",
                           "ROLLCALL_MEMBERSHIPS_EXIT_RETENTION=2d",
                           "ROLLCALL_TEST_WHATEVER=1",
                           "ROLLCALLX=1",
                           NULL};
    struct rc_config *config = load(&(struct rc_config_sources){.environment = environment});
    assert_string_equal(rc_config_text(config, "kafka.bootstrap.servers"), "b:1");
    assert_int_equal(rc_config_bytes(config, "state.memory_bytes"), 64 << 20);
    assert_int_equal(rc_config_ms(config, "memberships.exit_retention"), 2 * 86400000);
    const char *property, *value;
    static const char *const expected[][2] = {
        {"a_b.c", "x"}, {"bootstrap.servers", "b:1"}, {"session.timeout.ms", "6000"}};
    for (size_t i = 0; i < 3; i++) {
        assert_true(rc_config_kafka(config, i, &property, &value));
        assert_string_equal(property, expected[i][0]);
        assert_string_equal(value, expected[i][1]);
    }
    assert_false(rc_config_kafka(config, 3, &property, &value));
    rc_config_free(config);
}

static void expect_error(const struct rc_config_sources *sources, enum rc_exit exit_code, const char *text) {
    struct rc_config *config;
    struct rc_error err;
    assert_int_equal(rc_config_load(sources, &config, &err), RC_FAIL);
    assert_int_equal(err.exit_code, exit_code);
    if (!strstr(err.message, text))
        fail_msg("\"%s\" does not hold \"%s\"", err.message, text);
}

static void test_wrong_environment(void **state) {
    (void)state;
    char *unknown[] = {"ROLLCALL_STATE_DRI=/x", NULL}, *value[] = {"ROLLCALL_LOG_LEVEL=loud", NULL};
    char *refused[] = {"ROLLCALL_KAFKA_REFUSED_PROPERTY=1", NULL};
    expect_error(&(struct rc_config_sources){.environment = unknown}, RC_EXIT_CONFIG,
                 "unknown variable ROLLCALL_STATE_DRI in the environment; did you mean ROLLCALL_STATE_DIR?");
    expect_error(&(struct rc_config_sources){.environment = value}, RC_EXIT_CONFIG,
                 "ROLLCALL_LOG_LEVEL: log.level is \"loud\"");
    expect_error(&(struct rc_config_sources){.environment = refused, .check_kafka = check_kafka}, RC_EXIT_CONFIG,
                 "ROLLCALL_KAFKA_REFUSED_PROPERTY: the check refuses");
}

static void test_wrong_sets(void **state) {
    (void)state;
    const char *no_value[] = {"log.level"}, *unknown[] = {"log.levle=info"}, *range[] = {"topics.partitions=-1"};
    expect_error(&(struct rc_config_sources){.sets = no_value, .n_sets = 1}, RC_EXIT_USAGE, "expected key=value");
    expect_error(&(struct rc_config_sources){.sets = unknown, .n_sets = 1}, RC_EXIT_CONFIG,
                 "--set: unknown key \"log.levle\"; did you mean log.level?");
    expect_error(&(struct rc_config_sources){.sets = range, .n_sets = 1}, RC_EXIT_CONFIG, "allowed is 0 to 10000");
}

static void test_state_dir(void **state) {
    (void)state;
    char *xdg[] = {"HOME=/users/anna", "XDG_STATE_HOME=/state", NULL}, *home[] = {"HOME=/users/anna", NULL};
    const char *sets[] = {"state.dir=/var/lib/rollcall"};
    struct rc_config *config = load(&(struct rc_config_sources){.environment = xdg});
    assert_string_equal(rc_config_text(config, "state.dir"), "/state/rollcall");
    rc_config_free(config);
    config = load(&(struct rc_config_sources){.environment = home});
    assert_string_equal(rc_config_text(config, "state.dir"), "/users/anna/.local/state/rollcall");
    assert_false(rc_config_is_set(config, "state.dir"));
    rc_config_free(config);
    config = load(&(struct rc_config_sources){.environment = xdg, .sets = sets, .n_sets = 1});
    assert_string_equal(rc_config_text(config, "state.dir"), "/var/lib/rollcall");
    rc_config_free(config);
}

static void test_with(void **state) {
    (void)state;
    const char *sets[] = {"http.listen=0.0.0.0:80", "kafka.linger.ms=3"};
    struct rc_config *config = load_sets(sets, 2), *weak, *strong, *fresh = load_sets(NULL, 0), *filled,
                     *bad = (void *)1;
    struct rc_error err;
    assert_int_equal(rc_config_with(config, "http.listen", "127.0.0.1:9464", true, &weak, &err), RC_OK);
    assert_string_equal(rc_config_text(weak, "http.listen"), "0.0.0.0:80");
    assert_int_equal(rc_config_with(config, "kafka.bootstrap.servers", "here:1", false, &strong, &err), RC_OK);
    assert_string_equal(rc_config_text(strong, "kafka.bootstrap.servers"), "here:1");
    const char *property, *value;
    assert_true(rc_config_kafka(strong, 1, &property, &value));
    assert_string_equal(property, "linger.ms");
    assert_int_equal(rc_config_with(fresh, "http.listen", "127.0.0.1:9464", true, &filled, &err), RC_OK);
    assert_string_equal(rc_config_text(filled, "http.listen"), "127.0.0.1:9464");
    assert_false(rc_config_is_set(filled, "http.listen"));
    assert_int_equal(rc_config_with(fresh, "log.level", "loud", false, &bad, &err), RC_FAIL);
    assert_ptr_equal(bad, (void *)1);
    assert_true(rc_config_same(config, weak, "http.listen"));
    assert_true(rc_config_same(config, weak, "kafka."));
    assert_false(rc_config_same(config, fresh, "kafka."));
    assert_false(rc_config_same(config, fresh, "http.listen"));
    rc_config_free(config);
    rc_config_free(weak);
    rc_config_free(strong);
    rc_config_free(fresh);
    rc_config_free(filled);
}

static void test_secrets_are_not_written(void **state) {
    (void)state;
    const char *sets[] = {"kafka.sasl.password=hunter2"};
    struct rc_config *config = load_sets(sets, 1);
    struct rc_buf out;
    rc_buf_init(&out, 1 << 16);
    assert_int_equal(rc_config_write(config, false, &out), RC_OK);
    assert_null(strstr(out.data, "hunter2"));
    assert_non_null(strstr(out.data, "# kafka.sasl.password is set by --set"));
    rc_buf_deinit(&out);
    rc_config_free(config);
}

static void test_durations_and_sizes(void **state) {
    (void)state;
    int64_t out = -1;
    static const struct {
        const char *text;
        int64_t value;
    } durations[] = {{"0ms", 0},
                     {"500ms", 500},
                     {"1s", 1000},
                     {"2 m", 120000},
                     {"3h", 3 * 3600000},
                     {"30d", INT64_C(30) * 86400000},
                     {"2w", INT64_C(14) * 86400000}};
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        assert_int_equal(rc_duration_parse(durations[i].text, &out), RC_OK);
        assert_int_equal(out, durations[i].value);
    }
    static const char *const bad[] = {"",
                                      "s",
                                      "1",
                                      "-1s",
                                      "+1s",
                                      " 1s",
                                      "1.5s",
                                      "1S",
                                      "1sec",
                                      "1s ",
                                      "9223372036854775807s",
                                      "99999999999999999999ms"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        out = 7;
        assert_int_equal(rc_duration_parse(bad[i], &out), RC_FAIL);
        assert_int_equal(out, 7);
    }
    assert_int_equal(rc_bytes_parse("512MiB", &out), RC_OK);
    assert_int_equal(out, INT64_C(512) << 20);
    assert_int_equal(rc_bytes_parse("17", &out), RC_OK);
    assert_int_equal(out, 17);
    assert_int_equal(rc_bytes_parse("1TiB", &out), RC_OK);
    assert_int_equal(out, INT64_C(1) << 40);
    assert_int_equal(rc_bytes_parse("512MB", &out), RC_FAIL);
    assert_int_equal(rc_bytes_parse("9999999TiB", &out), RC_FAIL);
}

static void test_nearest_word(void **state) {
    (void)state;
    static const char *const words[] = {"dataset", "segment", "audience", "destination"};
    assert_string_equal(rc_nearest_word("segmnet", words, 4), "segment");
    assert_string_equal(rc_nearest_word("Audience", words, 4), "audience");
    assert_string_equal(rc_nearest_word("datasets", words, 4), "dataset");
    assert_null(rc_nearest_word("policy", words, 4));
    assert_null(rc_nearest_word("", words, 4));
    assert_null(rc_nearest_word("x", NULL, 0));
}

/* docs/configuration.md is printed from the table and must be current. */
static void test_documentation(void **state) {
    (void)state;
    struct rc_buf out;
    rc_buf_init(&out, 1 << 20);
    assert_int_equal(rc_config_write_markdown(&out), RC_OK);
    char *text = slurp(RC_SOURCE_DIR "/docs/configuration.md");
    if (strcmp(text, out.data) != 0)
        fail_msg("docs/configuration.md is not current: rollcall help config --markdown > docs/configuration.md");
    free(text);
    rc_buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_files),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_order_of_sources),
        cmocka_unit_test(test_file_from_environment),
        cmocka_unit_test(test_environment_names),
        cmocka_unit_test(test_wrong_environment),
        cmocka_unit_test(test_wrong_sets),
        cmocka_unit_test(test_state_dir),
        cmocka_unit_test(test_with),
        cmocka_unit_test(test_secrets_are_not_written),
        cmocka_unit_test(test_durations_and_sizes),
        cmocka_unit_test(test_nearest_word),
        cmocka_unit_test(test_documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
