/* Readers of JSONL, CSV and Avro container files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <avro.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/buf.h"
#include "codec/files.h"

static char folder[] = "/tmp/rc-files-XXXXXX";

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return rmdir(folder);
}

static const char *path_of(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *bytes, size_t len) {
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

/* All that a reader gives, a line each: `3:raw`, `3{json}`, `bad <message>`, `fail <message>`; then closes and removes the file. */
static const char *read_all(const char *name, enum rc_file_format format, char separator) {
    static char all[65536];
    struct rc_reader *reader;
    struct rc_error err;
    struct rc_buf out;
    rc_buf_init(&out, sizeof all - 1);
    rc_buf_add_str(&out, "");
    const char *path = path_of(name);
    size_t cut = strlen(folder) + 1;
    if (rc_reader_open(path, format, separator, &reader, &err) != RC_OK) {
        rc_buf_printf(&out, "open %s", strncmp(err.message, folder, cut - 1) == 0 ? err.message + cut : err.message);
    } else {
        struct rc_file_record record;
        enum rc_file_next next;
        while ((next = rc_reader_next(reader, &record, &err)) != RC_FILE_END) {
            if (next == RC_FILE_RECORD && record.json) {
                char *text = json_dumps(record.json, JSON_COMPACT | JSON_ENCODE_ANY);
                rc_buf_printf(&out, "%" PRId64 "%s\n", record.number, text);
                free(text);
            } else if (next == RC_FILE_RECORD) {
                rc_buf_printf(&out, "%" PRId64 ":%.*s\n", record.number, (int)record.raw.len, record.raw.data);
            } else {
                rc_buf_printf(&out, "%s %s\n", next == RC_FILE_BAD ? "bad" : "fail", err.message + cut);
                if (next == RC_FILE_FAIL)
                    break;
            }
        }
        rc_reader_close(reader);
    }
    unlink(path);
    snprintf(all, sizeof all, "%s", out.data ? out.data : "");
    rc_buf_deinit(&out);
    return all;
}

#define CHECK(name, bytes, wanted)                                    \
    do {                                                              \
        write_file(name, bytes, sizeof bytes - 1);                    \
        assert_string_equal(read_all(name, RC_FILE_AUTO, 0), wanted); \
    } while (0)

static void jsonl(void **state) {
    (void)state;
    CHECK("a.jsonl", "", "");
    CHECK("a.jsonl", "{}", "1:{}\n");
    CHECK("a.jsonl", "{\"a\":1}\r\n\n  \t\r\n{\"b\":2}\nnot json\n", "1:{\"a\":1}\n4:{\"b\":2}\n5:not json\n");
    CHECK("a.json", "\n\n", "");
    CHECK("unknown", "x\ny", "1:x\n2:y\n");
}

static void lines_across_the_buffer(void **state) {
    (void)state;
    char *text = malloc(1000004), *at = text;
    memset(text, 'x', 1000000);
    text[600000] = '\n';
    memcpy(text + 1000000, "\ny\n", 3);
    write_file("long.jsonl", at, 1000003);
    struct rc_reader *reader;
    struct rc_file_record record;
    assert_int_equal(rc_reader_open(path_of("long.jsonl"), RC_FILE_AUTO, 0, &reader, NULL), RC_OK);
    assert_int_equal(rc_reader_next(reader, &record, NULL), RC_FILE_RECORD);
    assert_int_equal(record.raw.len, 600000);
    assert_int_equal(rc_reader_next(reader, &record, NULL), RC_FILE_RECORD);
    assert_int_equal(record.raw.len, 399999);
    assert_int_equal(record.number, 2);
    assert_int_equal(rc_reader_next(reader, &record, NULL), RC_FILE_RECORD);
    assert_int_equal(record.raw.len, 1);
    int64_t read, total;
    rc_reader_progress(reader, &read, &total);
    assert_int_equal(read, 1000003);
    assert_int_equal(total, 1000003);
    assert_int_equal(rc_reader_next(reader, &record, NULL), RC_FILE_END);
    rc_reader_close(reader);
    unlink(path_of("long.jsonl"));
    free(text);
}

static void csv(void **state) {
    (void)state;
    CHECK("a.csv", "id,name\n1,Ann\n2,\n", "2{\"id\":\"1\",\"name\":\"Ann\"}\n3{\"id\":\"2\",\"name\":\"\"}\n");
    CHECK("a.csv", "\xef\xbb\xbfid,name\r\n1,Ann\r\n\r\n2,Bo",
          "2{\"id\":\"1\",\"name\":\"Ann\"}\n4{\"id\":\"2\",\"name\":\"Bo\"}\n");
    CHECK("a.csv", "a,b\n\"x, \"\"y\"\"\n2\",\"\"\n\"\",z\n",
          "2{\"a\":\"x, \\\"y\\\"\\n2\",\"b\":\"\"}\n4{\"a\":\"\",\"b\":\"z\"}\n");
    CHECK("a.csv", "a\n\"\"\n\nx\n\"y\"\r\n", "2{\"a\":\"\"}\n4{\"a\":\"x\"}\n5{\"a\":\"y\"}\n");
    CHECK("a.csv", ",b\n0,x\"y\"\n", "2{\"\":\"0\",\"b\":\"x\\\"y\\\"\"}\n");
    CHECK("a.csv", "a,b\n1\n1,2,3\n\xff,1\n4,5\n",
          "bad a.csv:2: 1 columns, the header has 2\nbad a.csv:3: 3 columns, the header has 2\nbad a.csv:4: column "
          "\"a\" is not UTF-8\n"
          "5{\"a\":\"4\",\"b\":\"5\"}\n");
    CHECK(
        "a.csv", "a,b\n\"x\"y,1\n2,3\n",
        "bad a.csv:2: text follows a closing quote (quotes inside a field are doubled)\n3{\"a\":\"2\",\"b\":\"3\"}\n");
    CHECK("a.csv", "a,b\n1,\"open\n2,3\n", "bad a.csv:2: a quote is not closed before the end of the file\n");
    CHECK("a.csv", "", "open a.csv:1: a CSV file begins with a line of column names, this one does not");
    CHECK("a.csv", "\n1\n", "open a.csv:1: a CSV file begins with a line of column names, this one does not");
    CHECK("a.csv", "a,a\n", "open a.csv:1: two columns have the name \"a\"");
    write_file("b.txt", "a;b\n1;2,5\n", 10);
    assert_string_equal(read_all("b.txt", RC_FILE_CSV, ';'), "2{\"a\":\"1\",\"b\":\"2,5\"}\n");
}

static void gzipped(void **state) {
    (void)state;
    gzFile file = gzopen(path_of("a.csv.gz"), "wb");
    assert_non_null(file);
    gzputs(file, "a,b\n1,2\n");
    gzclose(file);
    assert_string_equal(read_all("a.csv.gz", RC_FILE_AUTO, 0), "2{\"a\":\"1\",\"b\":\"2\"}\n");

    file = gzopen(path_of("whole.gz"), "wb");
    for (int i = 0; i < 20000; i++)
        gzprintf(file, "{\"n\": %d, \"x\": %d}\n", i, i * 7919 % 10007);
    gzclose(file);
    FILE *whole = fopen(path_of("whole.gz"), "rb");
    static char bytes[1 << 20];
    size_t len = fread(bytes, 1, sizeof bytes, whole);
    fclose(whole);
    unlink(path_of("whole.gz"));
    write_file("cut.jsonl.gz", bytes, len / 2);
    const char *path = path_of("cut.jsonl.gz");
    struct rc_reader *reader;
    struct rc_file_record record;
    struct rc_error err;
    assert_int_equal(rc_reader_open(path, RC_FILE_AUTO, 0, &reader, &err), RC_OK);
    enum rc_file_next next;
    while ((next = rc_reader_next(reader, &record, &err)) == RC_FILE_RECORD)
        ;
    assert_int_equal(next, RC_FILE_FAIL);
    assert_non_null(strstr(err.message, "the gzip data ends early"));
    rc_reader_close(reader);
    unlink(path);
}

static const char schema[] = "{\"type\":\"record\",\"name\":\"E\",\"fields\":[{\"name\":\"id\",\"type\":\"string\"},{"
                             "\"name\":\"ts\",\"type\":{\"type\":\"long\","
                             "\"logicalType\":\"timestamp-millis\"}},{\"name\":\"money\",\"type\":[\"null\",{\"type\":"
                             "\"bytes\",\"logicalType\":\"decimal\",\"precision\":9,"
                             "\"scale\":2}]}]}";

/* A container as avro-c writes it. */
static size_t write_container(const char *name, const char *codec, int n, char *bytes, size_t size) {
    avro_schema_t parsed;
    avro_file_writer_t writer;
    assert_int_equal(avro_schema_from_json_length(schema, strlen(schema), &parsed), 0);
    char path[256];
    snprintf(path, sizeof path, "%s", path_of(name));
    assert_int_equal(avro_file_writer_create_with_codec(path, parsed, &writer, codec, 1000), 0);
    avro_value_iface_t *iface = avro_generic_class_from_schema(parsed);
    for (int i = 0; i < n; i++) {
        avro_value_t value, field, branch;
        char id[16];
        snprintf(id, sizeof id, "e%d", i);
        avro_generic_value_new(iface, &value);
        avro_value_get_by_name(&value, "id", &field, NULL);
        avro_value_set_string(&field, id);
        avro_value_get_by_name(&value, "ts", &field, NULL);
        avro_value_set_long(&field, 1000 * i);
        avro_value_get_by_name(&value, "money", &field, NULL);
        avro_value_set_branch(&field, i % 2, &branch);
        if (i % 2)
            avro_value_set_bytes(&branch, (void *)(uintptr_t) "\x00\x85", 2);
        else
            avro_value_set_null(&branch);
        assert_int_equal(avro_file_writer_append_value(writer, &value), 0);
        avro_value_decref(&value);
    }
    avro_file_writer_close(writer);
    avro_value_iface_decref(iface);
    avro_schema_decref(parsed);
    FILE *file = fopen(path, "rb");
    size_t len = fread(bytes, 1, size, file);
    fclose(file);
    return len;
}

static void containers(void **state) {
    (void)state;
    static char bytes[1 << 20];
    static const char *const codecs[] = {"null", "deflate"};
    for (int c = 0; c < 2; c++) {
        write_container("a.avro", codecs[c], 3, bytes, sizeof bytes);
        assert_string_equal(read_all("a.avro", RC_FILE_AUTO, 0),
                            "1{\"id\":\"e0\",\"ts\":0,\"money\":null}\n2{\"id\":\"e1\",\"ts\":1000,\"money\":"
                            "\"\\u0000\xc2\x85\"}\n" /* avro-c's header has lost the decimal */
                            "3{\"id\":\"e2\",\"ts\":2000,\"money\":null}\n");
        size_t len = write_container("b.avro", codecs[c], 500, bytes, sizeof bytes); /* several blocks */
        const char *path = path_of("b.avro");
        struct rc_reader *reader;
        struct rc_file_record record;
        struct rc_error err;
        assert_int_equal(rc_reader_open(path, RC_FILE_AUTO, 0, &reader, &err), RC_OK);
        assert_int_equal(rc_reader_format(reader), RC_FILE_AVRO);
        int n = 0;
        while (rc_reader_next(reader, &record, &err) == RC_FILE_RECORD) {
            assert_int_equal(json_integer_value(json_object_get(record.json, "ts")), 1000 * n);
            assert_true(record.raw.len > 3);
            n++;
        }
        assert_int_equal(n, 500);
        rc_reader_close(reader);

        /* cut anywhere: an error, or fewer records where a block ends */
        for (size_t cut = 0; cut < len; cut += cut < 400 ? 1 : 37) {
            write_file("b.avro", bytes, cut);
            if (rc_reader_open(path, RC_FILE_AVRO, 0, &reader, &err) != RC_OK)
                continue;
            enum rc_file_next next;
            while ((next = rc_reader_next(reader, &record, &err)) == RC_FILE_RECORD)
                ;
            assert_true(next == RC_FILE_FAIL || next == RC_FILE_END);
            rc_reader_close(reader);
        }
        /* any byte changed: no crash */
        for (size_t at = 0; at < len; at += at < 500 ? 1 : 53) {
            bytes[at] = (char)(bytes[at] ^ 0x55);
            write_file("b.avro", bytes, len);
            bytes[at] = (char)(bytes[at] ^ 0x55);
            if (rc_reader_open(path, RC_FILE_AVRO, 0, &reader, &err) != RC_OK)
                continue;
            enum rc_file_next next;
            do {
                next = rc_reader_next(reader, &record, &err);
            } while (next == RC_FILE_RECORD || next == RC_FILE_BAD);
            rc_reader_close(reader);
        }
        unlink(path);
    }
}

static void logical_types_of_a_container(void **state) {
    (void)state;
    struct rc_buf out;
    rc_buf_init(&out, 10000);
    rc_buf_add_str(&out, "Obj\1");
    (void)rc_buf_add_zigzag(&out, -1); /* the header's map as a block that tells its size */
    (void)rc_buf_add_zigzag(&out, 1000);
    (void)rc_buf_add_zigzag(&out, 11);
    rc_buf_add_str(&out, "avro.schema");
    (void)rc_buf_add_zigzag(&out, (int64_t)strlen(schema));
    rc_buf_add_str(&out, schema);
    rc_buf_add(&out,
               "\0"
               "0123456789abcdef"
               "\4\x10"
               "\2a\4\2\4\0\x85"
               "\2",
               1 + 16 + 2 + 7 + 1);
    rc_buf_add(&out, "0123456789abcdef", 16);
    write_file("d.avro", out.data, out.len);
    assert_string_equal(read_all("d.avro", RC_FILE_AUTO, 0),
                        "1{\"id\":\"a\",\"ts\":2,\"money\":\"1.33\"}\n"
                        "bad d.avro, record 2: id: the text goes beyond the record's end; the 0 records after it in "
                        "its block are lost\n");
    rc_buf_deinit(&out);
}

static void containers_without_a_name(void **state) {
    (void)state;
    static char bytes[1 << 16];
    write_container("data", "null", 1, bytes, sizeof bytes);
    assert_string_equal(read_all("data", RC_FILE_AUTO, 0), "1{\"id\":\"e0\",\"ts\":0,\"money\":null}\n");
    write_container("data", "null", 1, bytes, sizeof bytes);
    struct rc_reader *reader;
    assert_int_equal(rc_reader_open(path_of("data"), RC_FILE_AUTO, 0, &reader, NULL), RC_OK);
    assert_non_null(strstr(rc_reader_schema(reader), "\"E\""));
    rc_reader_close(reader);
    unlink(path_of("data"));
    CHECK("x.avro", "no container", "open x.avro is no Avro container file: it does not begin with \"Obj\" and 1");
    CHECK("x.avro",
          "Obj\1\2\x14"
          "avro.codec\x0c"
          "snappy\0xxxxxxxxxxxxxxxx",
          "open x.avro is compressed with codec \"snappy\"; null and deflate can be read (avro-tools recodec changes "
          "it)");
    CHECK("x.avro", "Obj\1\0xxxxxxxxxxxxxxxx", "open x.avro: the header holds no avro.schema");
    CHECK("x.avro",
          "Obj\1\2\x16"
          "avro.schema\x08"
          "\"in\"\0xxxxxxxxxxxxxxxx",
          "open x.avro: Avro schema: there is no type \"in\" (a named type must "
          "stand before its first use)");
    CHECK("x.avro",
          "Obj\1\2\x16"
          "avro.schema\x0a"
          "\"int\"\0xxxxxxxxxxxxxxxx"
          "\4\4\2\x80"
          "xxxxxxxxxxxxxxxx"
          "\2\2\6"
          "xxxxxxxxxxxxxxxx",
          "11\nbad x.avro, record 2: the record ends inside an integer, or it has more than 64 bits; the 0 records "
          "after it in its block are lost\n"
          "33\n");
}

static void no_file(void **state) {
    (void)state;
    assert_string_equal(read_all("none.jsonl", RC_FILE_AUTO, 0), "open none.jsonl: No such file or directory");
    struct rc_reader *reader;
    struct rc_error err;
    assert_int_equal(rc_reader_open(folder, RC_FILE_AUTO, 0, &reader, &err), RC_FAIL);
    assert_non_null(strstr(err.message, "is a folder"));
    assert_int_equal(err.exit_code, RC_EXIT_DATA);
}

static void standard_input(void **state) {
    (void)state;
    int ends[2], kept = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "a\nb\n", 4), 4);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    struct rc_reader *reader;
    struct rc_file_record record;
    struct rc_error err;
    assert_int_equal(rc_reader_open("-", RC_FILE_AUTO, 0, &reader, &err), RC_OK);
    assert_int_equal(rc_reader_next(reader, &record, &err), RC_FILE_RECORD);
    assert_int_equal(rc_reader_next(reader, &record, &err), RC_FILE_RECORD);
    assert_int_equal(record.number, 2);
    int64_t read, total;
    rc_reader_progress(reader, &read, &total);
    assert_int_equal(total, -1);
    assert_int_equal(rc_reader_next(reader, &record, &err), RC_FILE_END);
    rc_reader_close(reader);
    dup2(kept, STDIN_FILENO);
    close(kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jsonl),
        cmocka_unit_test(lines_across_the_buffer),
        cmocka_unit_test(csv),
        cmocka_unit_test(gzipped),
        cmocka_unit_test(containers),
        cmocka_unit_test(logical_types_of_a_container),
        cmocka_unit_test(containers_without_a_name),
        cmocka_unit_test(no_file),
        cmocka_unit_test(standard_input),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
