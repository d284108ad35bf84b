/* What the tests of definitions share: definitions written with ' for ", and building them. */
#ifndef RC_TESTS_UNIT_SEGMENT_DEFINITION_FIXTURE_H
#define RC_TESTS_UNIT_SEGMENT_DEFINITION_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* after the four that it needs */
#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "segment/definition.h"

#define SECOND INT64_C(1000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define ONE ((__int128)RC_FIXED_SCALE)

static struct rc_error err;

#define WEB_KEYS                                                                                                       \
    "'kind':'dataset','id':'web','topic':'web.events','format':'json','person':{'namespace':'ecid','id':{'path':'id'}" \
    "},"                                                                                                               \
    "'timestamp':{'path':'ts'}"
#define WEB                                                                                                  \
    "{" WEB_KEYS ",'event_id':{'path':'e'},'timezone':'Europe/Stockholm','session_timeout':'20m','fields':{" \
    "'type':{'path':'type','type':'string'},'url':{'path':'page.url','type':'string'},"                      \
    "'total':{'path':'total','type':'decimal','min':0},'qty':{'path':'qty','type':'long'},"                  \
    "'score':{'path':'score','type':'double'},'member':{'path':'member','type':'boolean'}},"                 \
    "'elements':{'items':{'path':'order.items','fields':{'sku':{'path':'sku','type':'string'},"              \
    "'price':{'path':'price','type':'decimal'}}}}}"
#define CALLS                                                                                                          \
    "{'kind':'dataset','id':'calls','topic':'calls','format':'json','person':{'namespace':'crm','id':{'path':'id'}},"  \
    "'timestamp':{'path':'ts'},'fields':{'agent':{'path':'agent','type':'string'},'type':{'path':'t','type':'string'}" \
    ","                                                                                                                \
    "'qty':{'path':'q','type':'decimal'}}}"

/* Text with ' for " as JSON; owned by the caller. */
static inline char *json_of(const char *text) {
    char *json = rc_strdup(text);
    for (char *c = json; *c; c++)
        if (*c == '\'')
            *c = '"';
    return json;
}

static inline rc_status add(struct rc_catalog_builder *builder, const char *file, const char *text) {
    char *json = json_of(text);
    rc_status status = rc_catalog_builder_add(builder, file, rc_span_str(json), NULL, NULL, &err);
    free(json);
    return status;
}

/* Builds one file's definitions; NULL and `err` on failure. */
static inline struct rc_catalog *try_build(const char *text) {
    struct rc_catalog_builder builder;
    struct rc_catalog *catalog = NULL;
    rc_catalog_builder_init(&builder);
    err.message[0] = '\0';
    if (add(&builder, "defs.json", text) == RC_OK && rc_catalog_build(&builder, &catalog, &err) != RC_OK)
        assert_null(catalog);
    rc_catalog_builder_deinit(&builder);
    return catalog;
}

static inline struct rc_catalog *build(const char *text) {
    struct rc_catalog *catalog = try_build(text);
    if (!catalog)
        fail_msg("%s\n%s", err.message, text);
    return catalog;
}

/* A segment with this condition over web. */
static inline struct rc_catalog *with_where(const char *where) {
    struct rc_buf text;
    rc_buf_init(&text, 1 << 22);
    assert_int_equal(rc_buf_printf(&text,
                                   "[" WEB "," CALLS
                                   ",{'kind':'segment','id':'other','dataset':'web','where':{'event':{}}},"
                                   "{'kind':'segment','id':'s','dataset':'web','where':%s}]",
                                   where),
                     RC_OK);
    struct rc_catalog *catalog = try_build(text.data);
    rc_buf_deinit(&text);
    return catalog;
}

static inline struct rc_catalog *good_where(const char *where) {
    struct rc_catalog *catalog = with_where(where);
    if (!catalog)
        fail_msg("%s\n%s", err.message, where);
    return catalog;
}

static inline void must_fail(struct rc_catalog *catalog, const char *what, const char *expected) {
    if (catalog)
        fail_msg("taken, expected \"%s\": %s", expected, what);
    if (!strstr(err.message, expected))
        fail_msg("found    %s\nexpected %s\nin       %s", err.message, expected, what);
    assert_int_equal(err.class, RC_CLASS_POISON);
    assert_int_equal(err.exit_code, RC_EXIT_DATA);
    assert_null(strchr(err.message, '\n'));
}

struct bad {
    const char *text, *expected;
};

#endif
