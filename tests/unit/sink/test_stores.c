/* The embedded store and the file, as destinations; and who goes where. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "consumers/sink/driver.h"
#include "consumers/sink/file_list.h"
#include "consumers/sink/profile.h"
#include "consumers/sink/routes.h"
#include "tests/unit/folder.h"

struct folder {
    char path[64], url[128];
    size_t written;
};

static int setup(void **state) {
    struct folder *folder = calloc(1, sizeof *folder);
    snprintf(folder->path, sizeof folder->path, "/tmp/rollcall-sink-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    *state = folder;
    return 0;
}

static int teardown(void **state) {
    struct folder *folder = *state;
    assert_int_equal(test_folder_remove(folder->path), 0);
    free(folder);
    return 0;
}

static void done(void *ctx, struct rc_sink_batch *batch, size_t written) {
    struct folder *folder = ctx;
    folder->written += written;
    rc_sink_batch_free(batch);
}

static void add(struct rc_sink_batch *batch, const char *key, const char *audience, bool realized, int64_t version,
                bool only_if_there) {
    const char *id = strchr(key, ':') + 1;
    struct rc_sink_change change = {.person_key = rc_span_str(key),
                                    .change = {.target = rc_span_str(audience),
                                               .namespace = rc_span_of(key, (size_t)(id - key) - 1),
                                               .person_id = rc_span_str(id),
                                               .realized = realized,
                                               .since_ms = 1767225600123,
                                               .version = version,
                                               .event_time_ms = RC_NO_EVENT_TIME,
                                               .emitted_at_ms = 5,
                                               .target_version = 2},
                                    .only_if_there = only_if_there};
    rc_sink_batch_add(batch, &change);
}

static struct rc_sink_batch *batch_of(int64_t next) {
    struct rc_sink_batch *batch = rc_sink_batch_new();
    batch->expected = RC_SINK_NO_OFFSET;
    batch->next = next;
    return batch;
}

static size_t apply(struct folder *folder, struct rc_sink_driver *driver, struct rc_sink_batch *batch) {
    struct rc_error err = {0};
    folder->written = 0;
    if (driver->ops->submit(driver, batch, &err) || driver->ops->progress(driver, done, folder, &err))
        fail_msg("%s", err.message);
    return folder->written;
}

static struct rc_sink_driver *embedded(struct folder *folder, const char *cluster) {
    struct rc_sink_driver *driver = NULL;
    struct rc_error err = {0};
    snprintf(folder->url, sizeof folder->url, "embedded:%s/profiles", folder->path);
    struct rc_sink_driver_options options = {
        .destination = "profiles", .url = folder->url, .prefix = "rollcall", .cluster = cluster};
    if (rc_sink_embedded_new(&options, &driver, &err) || driver->ops->connect(driver, &err))
        fail_msg("%s", err.message);
    return driver;
}

static void expect_profile(struct folder *folder, const char *key, const char *expected) {
    json_t *profile = NULL;
    struct rc_error err = {0};
    if (rc_profile_read(folder->url, "rollcall", rc_span_str(key), &profile, &err))
        fail_msg("%s", err.message);
    char *text = profile ? json_dumps(profile, JSON_COMPACT) : strdup("none");
    assert_string_equal(text, expected);
    free(text);
    json_decref(profile);
}

static void test_embedded(void **state) {
    struct folder *folder = *state;
    struct rc_sink_driver *driver = embedded(folder, "one");
    struct rc_error err = {0};
    int32_t partition = 0;
    int64_t offset = 0;
    assert_int_equal(driver->ops->offsets(driver, &partition, 1, &offset, &err), RC_OK);
    assert_int_equal(offset, RC_SINK_NO_OFFSET);
    struct rc_sink_batch *batch = batch_of(9);
    add(batch, "id:a", "x", true, 10, false);
    add(batch, "id:a", "x", false, 12, false);
    add(batch, "id:a", "x", true, 11, false);
    add(batch, "id:a", "y", false, 1, true);
    add(batch, "id:a", "x", false, 13, true);
    assert_int_equal(apply(folder, driver, batch), 3);
    /* Read beside the process that has it open. */
    static const char expected[] = "{\"segmentMembership.x\":{\"status\":\"exited\",\"lastQualificationTime\":\"2026-"
                                   "01-01T00:00:00.123Z\",\"version\":13}}";
    expect_profile(folder, "id:a", expected);
    expect_profile(folder, "id:", "none");
    driver->ops->free(driver);
    driver = embedded(folder, "one");
    batch = batch_of(10);
    add(batch, "id:a", "x", true, 13, false);
    assert_int_equal(apply(folder, driver, batch), 0);
    assert_int_equal(driver->ops->offsets(driver, &partition, 1, &offset, &err), RC_OK);
    assert_int_equal(offset, 10);
    expect_profile(folder, "id:a", expected);
    driver->ops->free(driver);
    /* A cluster that forgot everything: so do we. */
    driver = embedded(folder, "two");
    assert_int_equal(driver->ops->offsets(driver, &partition, 1, &offset, &err), RC_OK);
    assert_int_equal(offset, RC_SINK_NO_OFFSET);
    expect_profile(folder, "id:a", "none");
    driver->ops->free(driver);
}

static char *text_of(const char *path) {
    static char text[4096];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void collect(void *ctx, struct rc_span text) {
    char *all = ctx;
    snprintf(all + strlen(all), 256 - strlen(all), "%.*s ", (int)text.len, text.data);
}

static void expect_list(const char *path, int lock, const char *expected) {
    char all[256] = "";
    struct rc_error err;
    assert_int_equal(rc_sink_file_list_read(path, lock, collect, all, &err), RC_OK);
    assert_string_equal(all, expected);
}

static void write_list(const char *path, int lock, char sign, const char *text) {
    struct rc_error err;
    assert_int_equal(rc_sink_file_list_write(path, lock, sign, &text, 1, &err), RC_OK);
}

/* What a file remembers: the last line about a text counts, one that was cut off does not, and the list does not grow for ever. */
static void test_file_list(void **state) {
    struct folder *folder = *state;
    char path[128];
    struct stat about;
    struct rc_error err;
    const char *two[] = {"0/buyers", "0/buyers-2"};
    snprintf(path, sizeof path, "%s/out.jsonl.audiences", folder->path);
    int lock = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(lock >= 0);
    expect_list(path, lock, "");
    assert_int_equal(rc_sink_file_list_write(path, lock, '+', two, 2, &err), RC_OK);
    write_list(path, lock, '-', "0/buyers");
    write_list(path, lock, '+', "3?ghost");
    expect_list(path, lock, "0/buyers-2 3?ghost ");

    /* A crash cuts "+0/late-2 ." short: neither "late" nor "late-2" is there, and the next line stands by itself. */
    FILE *torn = fopen(path, "a");
    assert_non_null(torn);
    fputs("\n+0/late", torn);
    fclose(torn);
    expect_list(path, lock, "0/buyers-2 3?ghost ");
    write_list(path, lock, '+', "0/next");
    expect_list(path, lock, "0/buyers-2 0/next 3?ghost ");

    for (int i = 0; i < 600; i++) {
        write_list(path, lock, '-', "0/next");
        write_list(path, lock, '+', "0/next");
    }
    expect_list(path, lock, "0/buyers-2 0/next 3?ghost ");
    assert_int_equal(stat(path, &about), 0);
    assert_true(about.st_size < 100);
    expect_list(path, lock, "0/buyers-2 0/next 3?ghost ");
    close(lock);
}

static void test_file(void **state) {
    struct folder *folder = *state;
    struct rc_sink_driver *driver = NULL;
    struct rc_error err = {0};
    char path[96];
    snprintf(path, sizeof path, "%s/out.jsonl", folder->path);
    snprintf(folder->url, sizeof folder->url, "file:%s", path);
    FILE *torn = fopen(path, "w");
    fputs("{\"whole\":1}\n{\"torn\":", torn);
    fclose(torn);
    struct rc_sink_driver_options options = {
        .destination = "f", .url = folder->url, .prefix = "rollcall", .cluster = "c"};
    if (rc_sink_file_new(&options, &driver, &err) || driver->ops->connect(driver, &err))
        fail_msg("%s", err.message);
    assert_string_equal(text_of(path), "{\"whole\":1}\n");
    struct rc_sink_batch *batch = batch_of(1);
    add(batch, "id:\"a\"", "x", true, 10, false);
    add(batch, "id:b", "x", false, 10, true);
    apply(folder, driver, batch);
    assert_string_equal(
        text_of(path),
        "{\"whole\":1}\n{\"audience\":\"x\",\"namespace\":\"id\",\"personId\":\"\\\"a\\\"\",\"status\":\"realized\","
        "\"since\":"
        "1767225600123,\"version\":10,\"cause\":\"event\",\"eventId\":null,\"eventTime\":null,\"emittedAt\":5,"
        "\"audienceVersion\":2}\n");
    driver->ops->free(driver);
    snprintf(folder->url, sizeof folder->url, "file:%s/none/out.jsonl", folder->path);
    assert_int_equal(rc_sink_file_new(&options, &driver, &err), RC_OK);
    assert_int_equal(driver->ops->connect(driver, &err), RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_RETRY);
    driver->ops->free(driver);
}

static const char definitions[] =
    "[{\"kind\":\"dataset\",\"id\":\"web\",\"topic\":\"web.events\",\"format\":\"json\",\"person\":{\"namespace\":"
    "\"u\",\"id\":{\"path\":\"u\"}},"
    "\"timestamp\":{\"path\":\"ts\"},\"fields\":{\"type\":{\"path\":\"t\",\"type\":\"string\"}}},"
    "{\"kind\":\"segment\",\"id\":\"a\",\"dataset\":\"web\",\"where\":{\"event\":{}}},"
    "{\"kind\":\"destination\",\"id\":\"crm\",\"type\":\"http\",\"url\":\"https://crm.example/x\"},"
    "{\"kind\":\"destination\",\"id\":\"copy\",\"type\":\"file\",\"url\":\"file:/tmp/x\"},"
    "{\"kind\":\"audience\",\"id\":\"plain\",\"where\":{\"segment\":\"a\"}},"
    "{\"kind\":\"audience\",\"id\":\"copied\",\"where\":{\"segment\":\"a\"},\"destinations\":[\"copy\"]},"
    "{\"kind\":\"audience\",\"id\":\"sent\",\"where\":{\"segment\":\"a\"},\"destinations\":[\"crm\",\"copy\"]}%s]";

static struct rc_catalog *catalog_of(const char *more) {
    char text[4096];
    struct rc_catalog_builder builder;
    struct rc_catalog *catalog = NULL;
    struct rc_error err = {0};
    snprintf(text, sizeof text, definitions, more);
    rc_catalog_builder_init(&builder);
    if (rc_catalog_builder_add(&builder, "test", rc_span_str(text), NULL, NULL, &err) ||
        rc_catalog_build(&builder, &catalog, &err))
        fail_msg("%s", err.message);
    rc_catalog_builder_deinit(&builder);
    return catalog;
}

static const struct rc_route *route_of(const struct rc_routes *routes, const char *id) {
    for (size_t i = 0; i < routes->n; i++)
        if (strcmp(routes->items[i].id, id) == 0)
            return &routes->items[i];
    return NULL;
}

static void test_routes(void **state) {
    (void)state;
    struct rc_catalog *catalog = catalog_of("");
    struct rc_routes routes;
    rc_routes_init(&routes, catalog, "redis://h/0", "/state");
    assert_int_equal(routes.n, 3);
    const struct rc_route *profiles = route_of(&routes, "profiles"), *crm = route_of(&routes, "crm"),
                          *copy = route_of(&routes, "copy");
    assert_int_equal(profiles->type, RC_DESTINATION_REDIS);
    assert_int_equal(profiles->n_here, 1);
    assert_int_equal(copy->n_here, 2);
    assert_non_null(strstr(crm->problem, "not there yet"));
    assert_int_equal(routes.n_problems, 1);
    assert_non_null(strstr(routes.problems[0], "audience sent, destination crm"));
    struct rc_route_set *set = rc_route_set_new(copy);
    assert_true(rc_route_set_find(set, rc_span_str("sent"))->here);
    assert_false(rc_route_set_find(set, rc_span_str("plain"))->here);
    assert_null(rc_route_set_find(set, rc_span_str("plai")));
    rc_route_set_free(set);
    rc_routes_deinit(&routes);
    rc_routes_init(&routes, catalog, "mysql://h", "/state");
    assert_non_null(strstr(route_of(&routes, "profiles")->problem, "mysql"));
    assert_int_equal(routes.n_problems, 2);
    rc_routes_deinit(&routes);
    rc_catalog_free(catalog);
    /* A definition of that name wins. */
    catalog = catalog_of(",{\"kind\":\"destination\",\"id\":\"profiles\",\"type\":\"embedded\"}");
    rc_routes_init(&routes, catalog, "redis://h/0", "/state");
    assert_string_equal(route_of(&routes, "profiles")->url, "embedded:/state/profiles");
    rc_routes_deinit(&routes);
    rc_catalog_free(catalog);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_embedded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_list, setup, teardown),
        cmocka_unit_test(test_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
