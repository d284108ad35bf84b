/* The store: atomic batches, ranges by partition, what is said of damage, other builds and other owners. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store.h"
#include "tests/unit/folder.h"

static char folder[64];

static struct rc_store *open_as(const char *kind, int format, bool read_only, int *found, struct rc_error *err) {
    struct rc_store_options options = {
        .path = folder, .kind = kind, .format = format, .read_only = read_only, .cache_bytes = 8 << 20};
    struct rc_store *store = NULL;
    return rc_store_open(&options, &store, found, err) == RC_OK ? store : NULL;
}

static struct rc_store *open_store(void) {
    struct rc_error err;
    struct rc_store *store = open_as("test", 1, false, NULL, &err);
    if (!store)
        fail_msg("%s", err.message);
    return store;
}

static void commit(struct rc_store_batch *batch) {
    struct rc_error err;
    if (rc_store_commit(batch, false, &err) != RC_OK)
        fail_msg("%s", err.message);
}

static bool get(struct rc_store *store, enum rc_store_space space, int32_t partition, const char *key, char *out,
                size_t bytes) {
    struct rc_buf value;
    struct rc_error err;
    bool found;
    rc_buf_init(&value, 1000);
    assert_int_equal(rc_store_get(store, space, partition, rc_span_str(key), &value, &found, &err), RC_OK);
    if (found)
        snprintf(out, bytes, "%.*s", (int)value.len, value.data);
    rc_buf_deinit(&value);
    return found;
}

static void count_done(void *ctx) {
    atomic_fetch_add((atomic_int *)ctx, 1);
}

/* In the order in which they were begun; each tells when it is over, and nothing is lost at the end of the store. */
static void batches_are_committed_in_the_background(void **state) {
    (void)state;
    enum { BATCHES = 40, RECORDS = 500 };
    struct rc_store *store = open_store();
    struct rc_store_write *writes[BATCHES];
    atomic_int done = 0;
    char key[16], value[32], found[32];
    for (int i = 0; i < BATCHES; i++) {
        struct rc_store_batch *batch = rc_store_begin(store);
        for (int k = 0; k < RECORDS; k++) {
            snprintf(key, sizeof key, "%d", k);
            snprintf(value, sizeof value, "%d of %d", k, i);
            rc_store_put(batch, RC_STORE_PERSON, 1, rc_span_str(key), rc_span_str(value));
        }
        writes[i] = rc_store_commit_begin(batch, count_done, &done);
        assert_true(get(store, RC_STORE_PERSON, 1, "0", found, sizeof found) || i < BATCHES); /* reading goes on */
    }
    struct rc_error err;
    for (int i = BATCHES - 1; i >= 0; i--) { /* the last one is over when all are */
        assert_int_equal(rc_store_commit_end(writes[i], &err), RC_OK);
        if (i > 0)
            assert_true(rc_store_commit_over(writes[i - 1]));
    }
    rc_store_close(store);
    assert_int_equal(atomic_load(&done), BATCHES);
    store = open_store();
    for (int k = 0; k < RECORDS; k++) {
        snprintf(key, sizeof key, "%d", k);
        snprintf(value, sizeof value, "%d of %d", k, BATCHES - 1);
        assert_true(get(store, RC_STORE_PERSON, 1, key, found, sizeof found));
        assert_string_equal(found, value);
    }
    rc_store_close(store);
}

static bool add_one(void *ctx, struct rc_span key, struct rc_span value) {
    char *text = ctx;
    snprintf(text + strlen(text), 400 - strlen(text), "%.*s=%.*s ", (int)key.len, key.data, (int)value.len, value.data);
    return true;
}

static void sorted_put(struct rc_store_sorted *sorted, enum rc_store_space space, int32_t partition, const char *key,
                       const char *value) {
    struct rc_error err;
    rc_status status = value ? rc_store_sorted_put(sorted, space, partition, rc_span_str(key), rc_span_str(value), &err)
                             : rc_store_sorted_delete(sorted, space, partition, rc_span_str(key), &err);
    if (status != RC_OK)
        fail_msg("%s", err.message);
}

static const char *all_of(struct rc_store *store, enum rc_store_space space, int32_t partition) {
    static char text[400];
    struct rc_error err;
    text[0] = '\0';
    assert_int_equal(rc_store_each(store, space, partition, rc_span_str(""), add_one, text, &err), RC_OK);
    return text;
}

static size_t files_of(const char *prefix) {
    DIR *dir = opendir(folder);
    size_t n = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(dir);
    return n;
}

/* Files of sorted records stand over what was there, and under what comes; they are there whole, also after a kill, or not at all. */
static void sorted_records_become_part_of_it(void **state) {
    (void)state;
    struct rc_store *store = open_store();
    struct rc_error err;
    struct rc_store_batch *batch = rc_store_begin(store);
    rc_store_put(batch, RC_STORE_PERSON, 1, rc_span_str("a"), rc_span_str("old"));
    rc_store_put(batch, RC_STORE_PERSON, 1, rc_span_str("b"), rc_span_str("old"));
    rc_store_put(batch, RC_STORE_PERSON, 1, rc_span_str("d"), rc_span_str("old"));
    rc_store_put(batch, RC_STORE_PERSON, 2, rc_span_str("a"), rc_span_str("other"));
    commit(batch);
    for (int round = 0; round < 2; round++) { /* given up, committed */
        struct rc_store_sorted *sorted = rc_store_sorted_begin(store);
        sorted_put(sorted, RC_STORE_DEADLINE, 1, "due", "");
        sorted_put(sorted, RC_STORE_PERSON, 1, "a", "new");
        sorted_put(sorted, RC_STORE_PERSON, 1, "b", NULL);
        sorted_put(sorted, RC_STORE_PERSON, 1, "c", "new");
        assert_string_equal(all_of(store, RC_STORE_PERSON, 1), "a=old b=old d=old ");
        if (round == 0)
            rc_store_sorted_abort(sorted);
        else
            assert_int_equal(rc_store_sorted_commit(sorted, &err), RC_OK);
        assert_int_equal(files_of("sorted-"), 0);
    }
    assert_int_equal(rc_store_sorted_commit(rc_store_sorted_begin(store), &err), RC_OK); /* nothing */
    assert_string_equal(all_of(store, RC_STORE_PERSON, 1), "a=new c=new d=old ");
    assert_string_equal(all_of(store, RC_STORE_PERSON, 2), "a=other ");
    assert_string_equal(all_of(store, RC_STORE_DEADLINE, 1), "due= ");
    batch = rc_store_begin(store);
    rc_store_put(batch, RC_STORE_PERSON, 1, rc_span_str("c"), rc_span_str("newer"));
    rc_store_delete_partition(batch, RC_STORE_DEADLINE, 1);
    commit(batch);
    rc_store_close(store);
    char left[256];
    snprintf(left, sizeof left, "%s/sorted-3", folder);
    fclose(fopen(left, "w")); /* as of a process that was killed */
    store = open_store();
    assert_int_equal(files_of("sorted-"), 0);
    assert_string_equal(all_of(store, RC_STORE_PERSON, 1), "a=new c=newer d=old ");
    assert_string_equal(all_of(store, RC_STORE_DEADLINE, 1), "");
    rc_store_close(store);
}

/* Some megabytes, and a value larger than a piece of it: each operation counts, in its order. */
static void a_batch_of_any_size_keeps_its_order(void **state) {
    (void)state;
    enum { RECORDS = 20000, LARGE = 1 << 20 };
    struct rc_store *store = open_store();
    struct rc_store_batch *batch = rc_store_begin(store);
    char *large = calloc(1, LARGE), key[16], value[200] = {0}, found[8];
    memset(large, 'x', LARGE - 1);
    rc_store_put(batch, RC_STORE_META, 7, rc_span_str("gone"), rc_span_str("1"));
    rc_store_delete_partition(batch, RC_STORE_META, 7);
    rc_store_put(batch, RC_STORE_META, 7, rc_span_str("stays"), rc_span_str("1"));
    for (int i = 0; i < RECORDS; i++) {
        snprintf(key, sizeof key, "%d", i);
        snprintf(value, sizeof value, "%0150d", i);
        rc_store_put(batch, RC_STORE_PERSON, 7, rc_span_str(key), rc_span_str("before"));
        rc_store_put(batch, RC_STORE_PERSON, 7, rc_span_str(key), rc_span_str(value));
        if (i % 2)
            rc_store_delete(batch, RC_STORE_PERSON, 7, rc_span_str(key));
        if (i == RECORDS / 2)
            rc_store_put(batch, RC_STORE_META, 7, rc_span_str("large"), rc_span_str(large));
    }
    commit(batch);
    struct rc_buf got;
    struct rc_error err;
    bool there;
    rc_buf_init(&got, 2 * LARGE);
    for (int i = 0; i < RECORDS; i += 997) {
        snprintf(key, sizeof key, "%d", i);
        snprintf(value, sizeof value, "%0150d", i);
        assert_int_equal(rc_store_get(store, RC_STORE_PERSON, 7, rc_span_str(key), &got, &there, &err), RC_OK);
        assert_int_equal(there, i % 2 == 0);
        assert_true(!there || rc_span_equal(rc_buf_span(&got), rc_span_str(value)));
    }
    assert_int_equal(rc_store_get(store, RC_STORE_META, 7, rc_span_str("large"), &got, &there, &err), RC_OK);
    assert_true(there && rc_span_equal(rc_buf_span(&got), rc_span_str(large)));
    assert_false(get(store, RC_STORE_META, 7, "gone", found, sizeof found));
    assert_true(get(store, RC_STORE_META, 7, "stays", found, sizeof found));
    rc_buf_deinit(&got);
    free(large);
    rc_store_close(store);
}

static bool add_record(void *ctx, struct rc_span key, struct rc_span value) {
    rc_buf_add_span(ctx, key);
    rc_buf_add_byte(ctx, '=');
    rc_buf_add_span(ctx, value);
    return true;
}

static const enum rc_store_space spaces[] = {RC_STORE_DEADLINE, RC_STORE_META, RC_STORE_PERSON};

static void add_all(struct rc_store *store, struct rc_buf *out) {
    struct rc_error err;
    for (size_t s = 0; s < 3; s++)
        for (int32_t p = 0; p < 3; p++) {
            rc_buf_printf(out, "|%zu %d|", s, p);
            assert_int_equal(rc_store_each(store, spaces[s], p, rc_span_str(""), add_record, out, &err), RC_OK);
        }
}

/* Random puts and deletes, of keys that begin with one another and have any bytes: all of them in one batch, beside the same one at a time. In every other
 * round ranges are deleted between them. */
static void a_batch_says_what_its_operations_say(void **state) {
    (void)state;
    enum { OPERATIONS = 3000, ROUNDS = 6 };
    struct rc_store *store = open_store();
    snprintf(folder + strlen(folder), sizeof folder - strlen(folder), "2");
    struct rc_store *other = open_store();
    folder[strlen(folder) - 1] = '\0';
    struct rc_buf seen, expected;
    rc_buf_init(&seen, 64 << 20);
    rc_buf_init(&expected, 64 << 20);
    unsigned seed = 11;
    for (int round = 0; round < ROUNDS; round++) {
        struct rc_store_batch *whole = rc_store_begin(store);
        for (int i = 0; i < OPERATIONS; i++) {
            struct rc_store_batch *one = rc_store_begin(other), *const both[] = {whole, one};
            char key[20] = "namespace:", value[32];
            size_t len = 10 + (size_t)rand_r(&seed) % 5;
            for (size_t k = 10; k < len; k++)
                key[k] = "\0ab\xff"[rand_r(&seed) % 4];
            snprintf(value, sizeof value, "%d", i);
            enum rc_store_space space = spaces[rand_r(&seed) % 3];
            int32_t partition = rand_r(&seed) % 3;
            bool deletes = rand_r(&seed) % 4 == 0, range = round % 2 && rand_r(&seed) % 500 == 0;
            for (size_t b = 0; b < 2; b++)
                if (range)
                    rc_store_delete_partition(both[b], space, partition);
                else if (deletes)
                    rc_store_delete(both[b], space, partition, rc_span_of(key, len));
                else
                    rc_store_put(both[b], space, partition, rc_span_of(key, len), rc_span_str(value));
            commit(one);
        }
        commit(whole);
        rc_buf_reset(&seen);
        rc_buf_reset(&expected);
        add_all(store, &seen);
        add_all(other, &expected);
        assert_true(expected.len > 10000);
        assert_true(rc_span_equal(rc_buf_span(&seen), rc_buf_span(&expected)));
    }
    rc_store_close(store);
    rc_store_close(other);
    rc_buf_deinit(&seen);
    rc_buf_deinit(&expected);
}

static void batches_are_whole_or_not_at_all(void **state) {
    (void)state;
    struct rc_store *store = open_store();
    struct rc_store_batch *batch = rc_store_begin(store);
    rc_store_put(batch, RC_STORE_PERSON, 3, rc_span_str("a"), rc_span_str("1"));
    rc_store_put(batch, RC_STORE_META, 3, rc_span_str("offset"), rc_span_str(""));
    assert_true(rc_store_batch_bytes(batch) > 0);
    char text[32];
    assert_false(get(store, RC_STORE_PERSON, 3, "a", text, sizeof text));
    commit(batch);
    assert_true(get(store, RC_STORE_PERSON, 3, "a", text, sizeof text));
    assert_string_equal(text, "1");
    assert_true(get(store, RC_STORE_META, 3, "offset", text, sizeof text));
    assert_string_equal(text, "");
    assert_false(get(store, RC_STORE_PERSON, 2, "a", text, sizeof text));
    assert_false(get(store, RC_STORE_META, 3, "a", text, sizeof text));
    batch = rc_store_begin(store);
    rc_store_put(batch, RC_STORE_PERSON, 3, rc_span_str("a"), rc_span_str("2"));
    rc_store_abort(batch);
    assert_true(get(store, RC_STORE_PERSON, 3, "a", text, sizeof text));
    assert_string_equal(text, "1");
    rc_store_close(store);
    store = open_store();
    assert_true(get(store, RC_STORE_PERSON, 3, "a", text, sizeof text));
    batch = rc_store_begin(store);
    rc_store_delete(batch, RC_STORE_PERSON, 3, rc_span_str("a"));
    commit(batch);
    assert_false(get(store, RC_STORE_PERSON, 3, "a", text, sizeof text));
    rc_store_close(store);
}

struct seen {
    char text[256];
    int stop_after;
};

static bool see(void *ctx, struct rc_span key, struct rc_span value) {
    struct seen *seen = ctx;
    size_t len = strlen(seen->text);
    snprintf(seen->text + len, sizeof seen->text - len, "%.*s=%.*s ", (int)key.len, key.data, (int)value.len,
             value.data);
    return --seen->stop_after != 0;
}

static const char *all(struct rc_store *store, int32_t partition, const char *prefix, struct seen *seen) {
    struct rc_error err;
    seen->text[0] = '\0';
    assert_int_equal(rc_store_each(store, RC_STORE_PERSON, partition, rc_span_str(prefix), see, seen, &err), RC_OK);
    return seen->text;
}

static void partitions_are_ranges(void **state) {
    (void)state;
    struct rc_store *store = open_store();
    struct rc_store_batch *batch = rc_store_begin(store);
    static const int32_t partitions[] = {0, 1, 255, 256, -1, INT32_MAX};
    for (size_t i = 0; i < sizeof partitions / sizeof partitions[0]; i++) {
        char value[16];
        snprintf(value, sizeof value, "%zu", i);
        rc_store_put(batch, RC_STORE_PERSON, partitions[i], rc_span_str("n:b"), rc_span_str(value));
        rc_store_put(batch, RC_STORE_PERSON, partitions[i], rc_span_str("n:a"), rc_span_str(value));
        rc_store_put(batch, RC_STORE_PERSON, partitions[i], rc_span_str("m:a"), rc_span_str(value));
    }
    commit(batch);
    struct seen seen = {.stop_after = -1};
    assert_string_equal(all(store, 255, "", &seen), "m:a=2 n:a=2 n:b=2 ");
    assert_string_equal(all(store, 256, "n:", &seen), "n:a=3 n:b=3 ");
    assert_string_equal(all(store, -1, "n:", &seen), "n:a=4 n:b=4 ");
    assert_string_equal(all(store, 2, "", &seen), "");
    seen.stop_after = 1;
    assert_string_equal(all(store, 0, "", &seen), "m:a=0 ");
    batch = rc_store_begin(store);
    rc_store_delete_partition(batch, RC_STORE_PERSON, 255);
    rc_store_delete_partition(batch, RC_STORE_PERSON, -1);
    commit(batch);
    seen.stop_after = -1;
    assert_string_equal(all(store, 255, "", &seen), "");
    assert_string_equal(all(store, -1, "", &seen), "");
    assert_string_equal(all(store, 256, "n:a", &seen), "n:a=3 ");
    assert_string_equal(all(store, INT32_MAX, "n:a", &seen), "n:a=5 ");
    assert_true(rc_store_bytes(store) > 0);
    rc_store_close(store);
}

static void kind_and_format_are_checked(void **state) {
    (void)state;
    struct rc_error err;
    int found = -1;
    struct rc_store *store = open_as("test", 2, false, &found, &err);
    assert_non_null(store);
    assert_int_equal(found, 0);
    rc_store_close(store);
    assert_null(open_as("test", 1, false, NULL, &err));
    assert_int_equal(err.class, RC_CLASS_FATAL);
    assert_int_equal(err.exit_code, RC_EXIT_CONFIG);
    assert_non_null(strstr(err.message, "saved by a later build"));
    assert_non_null(strstr(err.message, folder));
    assert_null(open_as("profiles", 2, false, NULL, &err));
    assert_non_null(strstr(err.message, "store of test, not of profiles"));
    store = open_as("test", 3, false, &found, &err);
    assert_int_equal(found, 2);
    rc_store_close(store);
}

static void one_process_writes_others_may_read(void **state) {
    (void)state;
    struct rc_error err;
    assert_null(open_as("test", 1, true, NULL, &err)); /* nothing there to be read */
    struct rc_store *store = open_store();
    struct rc_store_batch *batch = rc_store_begin(store);
    rc_store_put(batch, RC_STORE_PERSON, 0, rc_span_str("k"), rc_span_str("v"));
    commit(batch);
    assert_null(open_as("test", 1, false, NULL, &err));
    assert_int_equal(err.exit_code, RC_EXIT_TEMPORARY);
    assert_non_null(strstr(err.message, "another process"));
    struct rc_store *reader = open_as("test", 1, true, NULL, &err);
    assert_non_null(reader);
    char text[8];
    assert_true(get(reader, RC_STORE_PERSON, 0, "k", text, sizeof text));
    rc_store_close(reader);
    rc_store_close(store);
}

/* A committed batch survives the death of the process. */
static void a_killed_process_loses_nothing_that_was_committed(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rc_error err;
        struct rc_store *store = open_as("test", 1, false, NULL, &err);
        for (int i = 0; store && i < 100; i++) {
            char key[16];
            struct rc_store_batch *batch = rc_store_begin(store);
            snprintf(key, sizeof key, "%03d", i);
            rc_store_put(batch, RC_STORE_PERSON, 0, rc_span_str(key), rc_span_str("v"));
            rc_store_put(batch, RC_STORE_META, 0, rc_span_str("last"), rc_span_str(key));
            if (rc_store_commit(batch, false, &err) != RC_OK)
                _exit(2);
        }
        kill(getpid(), 9);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    struct rc_store *store = open_store();
    char text[8];
    assert_true(get(store, RC_STORE_META, 0, "last", text, sizeof text));
    assert_string_equal(text, "099");
    assert_true(get(store, RC_STORE_PERSON, 0, "000", text, sizeof text));
    rc_store_close(store);
}

/* Overwrites bytes in the middle of every table file. */
static int damage_tables(void) {
    DIR *dir = opendir(folder);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[512];
        if (!strstr(entry->d_name, ".sst"))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        int fd = open(path, O_WRONLY);
        n += pwrite(fd, "damaged damaged damaged", 23, 2000) == 23;
        close(fd);
    }
    closedir(dir);
    return n;
}

static void damage_is_named(void **state) {
    (void)state;
    struct rc_store *store = open_store();
    struct rc_store_batch *batch = rc_store_begin(store);
    unsigned seed = 7;
    for (int i = 0; i < 20000; i++) {
        char key[32], value[64];
        snprintf(key, sizeof key, "%08d", i);
        for (size_t k = 0; k < sizeof value; k++)
            value[k] = (char)rand_r(&seed);
        rc_store_put(batch, RC_STORE_PERSON, 0, rc_span_str(key), rc_span_of(value, sizeof value));
    }
    commit(batch);
    rc_store_close(store);
    store = open_store(); /* the log becomes a table */
    rc_store_close(store);
    assert_true(damage_tables() > 0);
    struct rc_error err;
    store = open_as("test", 1, false, NULL, &err);
    rc_status status = RC_FAIL;
    if (store) {
        struct seen seen = {.stop_after = -1};
        status = rc_store_each(store, RC_STORE_PERSON, 0, rc_span_str(""), see, &seen, &err);
        rc_store_close(store);
    }
    assert_int_equal(status, RC_FAIL);
    assert_int_equal(err.class, RC_CLASS_FATAL);
    assert_non_null(strstr(err.message, "damaged"));
    assert_non_null(strstr(err.message, folder));
    assert_non_null(strstr(err.message, "remove the folder"));
}

static void a_full_disk_is_named(void **state) {
    (void)state;
    rc_store_close(open_store());
    /* No file may grow: to a program that is what a disk without room looks like, but for the number of the error. */
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    struct rc_error err;
    struct rc_store *store = open_as("test", 1, false, NULL, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_null(store);
    assert_int_equal(err.class, RC_CLASS_FATAL);
    assert_int_equal(err.exit_code, RC_EXIT_UNAVAILABLE);
    assert_non_null(strstr(err.message, "the disk is full"));
    assert_non_null(strstr(err.message, folder));
    assert_non_null(strstr(err.message, "make room"));
    rc_store_close(open_store()); /* and nothing was harmed */
}

static int fresh_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/rollcall-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(folder + strlen(folder), sizeof folder - strlen(folder), "/a/b");
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    folder[strlen(folder) - strlen("/a/b")] = '\0';
    return test_folder_remove(folder);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        TEST(a_batch_of_any_size_keeps_its_order),
        TEST(a_batch_says_what_its_operations_say),
        TEST(batches_are_whole_or_not_at_all),
        TEST(batches_are_committed_in_the_background),
        TEST(sorted_records_become_part_of_it),
        TEST(partitions_are_ranges),
        TEST(kind_and_format_are_checked),
        TEST(one_process_writes_others_may_read),
        TEST(a_killed_process_loses_nothing_that_was_committed),
        TEST(damage_is_named),
        TEST(a_full_disk_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
