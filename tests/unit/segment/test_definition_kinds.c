/* Audiences, destinations, attributes and policies; sets of definitions that are merged, compared and asked; and the definitions that ship. */
#include "tests/unit/segment/definition_fixture.h"

#include <glob.h>

/* ---- the other kinds ------------------------------------------------------------------------------------------------- */

#define SEGMENT "{'kind':'segment','id':'s','dataset':'web','where':{'event':{}}}"

static void audience(void **state) {
    (void)state;
    struct rc_catalog *catalog = build(
        "[" WEB "," SEGMENT
        ",{'kind':'audience','id':'a','where':{'and':[{'segment':'s'},{'not':{'segment':'s'}}]},'refresh':'every 4h',"
        "'at':'02:30','timezone':'Europe/"
        "Stockholm','expires':'2027-10-01T00:00:00Z','size_limit':5,'destinations':['d','profiles'],"
        "'topic':'t','paused':true,'on_end':'keep'},{'kind':'audience','id':'b','where':{'or':[{'segment':'s'}]}},"
        "{'kind':'destination','id':'d','type':'embedded'}]");
    const struct rc_audience *a = &catalog->audiences[0], *b = &catalog->audiences[1];
    assert_int_equal(a->where->children[1]->head, RC_AUDIENCE_NOT);
    assert_int_equal(a->refresh, RC_REFRESH_EVERY);
    assert_int_equal(a->every_ms, 4 * HOUR);
    assert_int_equal(a->at_minute, 150);
    assert_string_equal(rc_timezone_name(a->timezone), "Europe/Stockholm");
    assert_int_equal(a->expires_ms, 1822348800 * SECOND);
    assert_int_equal(a->size_limit, 5);
    assert_true(a->paused);
    assert_int_equal(a->on_end, RC_ON_END_KEEP);
    assert_int_equal(a->n_destinations, 2);
    assert_string_equal(a->topic, "t");
    assert_int_equal(b->refresh, RC_REFRESH_CONTINUOUS);
    assert_int_equal(b->at_minute, -1);
    assert_int_equal(b->size_limit, 20000000);
    assert_int_equal(b->expires_ms, 0);
    assert_string_equal(rc_timezone_name(b->timezone), "UTC");
    rc_catalog_free(catalog);
    static const struct bad bad[] = {
        {"", "$[2].where: missing, expected and, or, not over segments"},
        {",'where':{'event':{}}", "$[2].where.event: unknown key \"event\", expected one of and, or, not, segment"},
        {",'where':{'segment':'s','window':'1d'}", "$[2].where.window: unknown key"},
        {",'where':{}", "$[2].where: found none of and, or, not, segment"},
        {",'where':{'segment':'s','not':{'segment':'s'}}", "$[2].where: found several"},
        {",'where':{'and':[]}", "$[2].where: names no segment"},
        {",'where':{'segment':'x'}", "$[2].where.segment: unknown segment \"x\", expected s"},
        {",'where':{'segment':'s'},'refresh':'hourly'",
         "$[2].refresh: unknown refresh \"hourly\", expected one of continuous, once, every 4h, daily"},
        {",'where':{'segment':'s'},'refresh':'every 4'", "$[2].refresh: found \"4\", expected a duration"},
        {",'where':{'segment':'s'},'refresh':'every 0s'", "expected a duration above 0"},
        {",'where':{'segment':'s'},'at':'24:00'", "$[2].at: found \"24:00\", expected a time of day"},
        {",'where':{'segment':'s'},'at':'2:00'", "expected a time of day"},
        {",'where':{'segment':'s'},'timezone':'X'", "$[2].timezone: unknown time zone \"X\""},
        {",'where':{'segment':'s'},'expires':'soon'", "$[2].expires: found \"soon\", expected an instant"},
        {",'where':{'segment':'s'},'size_limit':0", "$[2].size_limit: found 0, expected an integer from 1"},
        {",'where':{'segment':'s'},'destinations':'d'", "$[2].destinations: found \"d\", expected an array"},
        {",'where':{'segment':'s'},'destinations':['crm']",
         "$[2].destinations[0]: unknown destination \"crm\": there is none"},
        {",'where':{'segment':'s'},'destinations':['profiles','profiles']",
         "$[2].destinations[1]: destination \"profiles\" stands here twice"},
        {",'where':{'segment':'s'},'on_end':'stay'", "$[2].on_end: unknown end \"stay\", expected one of exit, keep"},
        {",'where':{'segment':'s'},'paused':1", "$[2].paused: found 1"},
        {",'where':{'segment':'s'},'paused':'yes'", "$[2].paused: found \"yes\", expected true or false"},
        {",'where':{'segment':'s'},'refresh':'every -4h'", "expected a duration"},
        {",'where':{'segment':'s'},'refresh':'every 0h'", "found \"every 0h\", expected a duration above 0"},
        {",'where':{'segment':'s'},'refresh':'every'", "unknown refresh \"every\""},
        {",'where':{'segment':'s'},'refresh':'Daily'", "did you mean \"daily\"?"},
        {",'where':{'segment':'s'},'refresh':4", "$[2].refresh: found 4, expected \"continuous\""},
        {",'where':{'segment':'s'},'at':'23:60'", "expected a time of day"},
        {",'where':{'segment':'s'},'at':'29:00'", "expected a time of day"},
        {",'where':{'segment':'s'},'at':120", "$[2].at: found 120, expected a time of day"},
        {",'where':{'segment':'s'},'timezone':'Europe/Stockhom'", "unknown time zone \"Europe/Stockhom\""},
        {",'where':{'segment':'s'},'timezone':1", "$[2].timezone: found 1, expected a time zone's name"},
        {",'where':{'segment':'s'},'expires':'2027-10-01'", "$[2].expires: found \"2027-10-01\", expected an instant"},
        {",'where':{'segment':'s'},'expires':1822348800000", "expected an instant as RFC 3339 has it"},
        {",'where':{'segment':'s'},'size_limit':'many'", "$[2].size_limit: found \"many\", expected an integer"},
        {",'where':{'segment':'s'},'size_limit':1.5", "$[2].size_limit: found 1.5, expected an integer"},
        {",'where':{'segment':'s'},'on_end':true", "$[2].on_end: found true, expected \"exit\" or \"keep\""},
        {",'where':{'segment':'s'},'topic':'no spaces'", "$[2].topic: found \"no spaces\""},
        {",'where':{'segment':'s'},'topic':'web.events'", "$[2].topic: topic \"web.events\" is dataset \"web\"'s"},
        {",'where':{'segment':'s'},'owner':7", "$[2].owner: found 7, expected a text"},
        {",'where':{'segment':'s'},'tags':[7]", "$[2].tags[0]: found 7, expected a text"},
        {",'where':{'segment':'s'},'tag':'a'", "$[2].tag: unknown key \"tag\""},
        {",'where':{'segment':'s'},'size_limt':5", "did you mean \"size_limit\"?"},
        {",'where':{'segment':'s'},'dataset':'web'", "$[2].dataset: unknown key"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[4096];
        (void)snprintf(text, sizeof text, "[" WEB "," SEGMENT ",{'kind':'audience','id':'a'%s}]", bad[i].text);
        must_fail(try_build(text), text, bad[i].expected);
    }
}

static void destinations(void **state) {
    (void)state;
    struct rc_catalog *catalog =
        build("[{'kind':'destination','id':'profiles','type':'redis','url':'redis://127.0.0.1:6379/"
              "0','password':{'file':'/run/secret'}},"
              "{'kind':'destination','id':'crm','type':'http','url':'https://crm.example/"
              "audiences','headers':{'Authorization':{'env':'CRM_TOKEN'},"
              "'X-Source':'rollcall'},'batch':{'max_changes':500,'max_wait':'5ms'},'rate':1000,'marketing_actions':['"
              "email_targeting'],"
              "'consent':'marketing.email'},{'kind':'destination','id':'k','type':'kafka','topic':'out'},"
              "{'kind':'destination','id':'f','type':'file','url':'file:out.jsonl'},{'kind':'destination','id':'e','"
              "type':'embedded','url':'embedded:dir'}]");
    const struct rc_destination *d = catalog->destinations;
    assert_int_equal(catalog->n_destinations, 5);
    assert_string_equal(d[0].url, "redis://127.0.0.1:6379/0");
    assert_string_equal(d[0].password.file, "/run/secret");
    assert_int_equal(d[0].batch_max_wait_ms, RC_NO_DURATION);
    assert_int_equal(d[1].type, RC_DESTINATION_HTTP);
    assert_int_equal(d[1].n_headers, 2);
    assert_string_equal(d[1].headers[0].value.env, "CRM_TOKEN");
    assert_string_equal(d[1].headers[1].value.text, "rollcall");
    assert_int_equal(d[1].batch_max_changes, 500);
    assert_int_equal(d[1].batch_max_wait_ms, 5);
    assert_int_equal(d[1].rate, 1000);
    assert_string_equal(d[1].marketing_actions[0], "email_targeting");
    assert_string_equal(d[1].consent, "marketing.email");
    assert_string_equal(d[2].topic, "out");
    assert_null(d[2].url);
    assert_int_equal(rc_catalog_destination(catalog, "f"), 3);
    rc_catalog_free(catalog);
    static const struct bad bad[] = {
        {"", "$.type: missing, expected \"redis\", \"http\", \"kafka\", \"embedded\" or \"file\""},
        {",'type':'postgres'", "$.type: unknown type \"postgres\", expected one of redis, http, kafka, embedded, file"},
        {",'type':'redis'", "$.url: missing, expected a URL like \"redis://"},
        {",'type':'redis','url':'localhost:6379'", "$.url: found \"localhost:6379\", expected a URL like"},
        {",'type':'redis','url':'redis://u:hunter2@h/0'", "$.url: found a password in the URL"},
        {",'type':'redis','url':'redis://h','password':'hunter2'",
         "$.password: found a secret in the definition, expected {\"env\": VARIABLE}"},
        {",'type':'redis','url':'redis://h','headers':{}", "$.headers: unknown key \"headers\""},
        {",'type':'http','url':'https://h','headers':{'authorization':'Bearer hunter2'}",
         "$.headers.authorization: found a secret in the definition"},
        {",'type':'http','url':'https://h','headers':{'X':{'evn':'A'}}",
         "$.headers.X.evn: unknown key \"evn\", expected one of env, file; did you mean \"env\"?"},
        {",'type':'http','url':'https://h','headers':{'X':{}}",
         "$.headers.X: found neither, expected exactly one of env, file"},
        {",'type':'http','url':'https://h','headers':{'X':'a\\r\\nb'}", "$.headers.X: a header is one line"},
        {",'type':'http','url':'https://h','headers':{'X y':'a'}", "this is no name of an HTTP header"},
        {",'type':'http','url':'https://h','batch':{'max_changes':0}",
         "$.batch.max_changes: found 0, expected an integer from 1"},
        {",'type':'http','url':'https://h','batch':{'max_wait':5}", "$.batch.max_wait: found 5, expected a duration"},
        {",'type':'http','url':'https://h','rate':0", "$.rate: found 0"},
        {",'type':'http','url':'https://h','marketing_actions':'a'",
         "$.marketing_actions: found \"a\", expected an array"},
        {",'type':'kafka'", "$.topic: missing, expected a topic's name"},
        {",'type':'file','url':'out.jsonl'", "$.url: found \"out.jsonl\", expected \"file:PATH\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[1024];
        (void)snprintf(text, sizeof text, "{'kind':'destination','id':'d'%s}", bad[i].text);
        must_fail(try_build(text), text, bad[i].expected);
        assert_null(strstr(err.message, "hunter2"));
    }
}

static void attributes_and_policies(void **state) {
    (void)state;
    struct rc_catalog *catalog = build("[" WEB ",{'kind':'attribute','id':'orders_90d','dataset':'web','value':{'event'"
                                       ":{'field':'type','eq':'purchase'}},'window':'90d',"
                                       "'destinations':['profiles']},{'kind':'attribute','id':'last','dataset':'web','"
                                       "value':{'latest':'url','where':{}}},"
                                       "{'kind':'policy','id':'p','enabled':false,'marketing_action':'export_to_third_"
                                       "party','deny':{'or':['C2',{'and':['C3','I1']}]}}]");
    assert_int_equal(catalog->attributes[0].window.last_ms, 90 * DAY);
    assert_int_equal(catalog->attributes[0].value->head, RC_HEAD_EVENT);
    assert_int_equal(catalog->attributes[1].value->head, RC_HEAD_LATEST);
    assert_string_equal(catalog->attributes[1].value->field.name, "url");
    assert_false(catalog->policies[0].enabled);
    assert_string_equal(catalog->policies[0].deny->children[1]->children[1]->label, "I1");
    rc_catalog_free(catalog);
    static const struct bad bad[] = {
        {"{'kind':'attribute','id':'orders_90d','dataset':'web'}", "$[1].value: missing, expected a value"},
        {"{'kind':'attribute','id':'o','dataset':'web','value':{}}", "$[1].value: says no value"},
        {"{'kind':'attribute','id':'o','dataset':'web','value':{'and':[]}}",
         "$[1].value.and: unknown key \"and\", expected one of event, sum"},
        {"{'kind':'attribute','id':'o','dataset':'web','value':{'sum':'total','is':{'ge':1}}}",
         "$[1].value.is: unknown key \"is\", expected one of sum, where"},
        {"{'kind':'attribute','id':'o','dataset':'web','value':{'sum':'type'}}",
         "$[1].value.sum: field \"type\" is a string"},
        {"{'kind':'attribute','id':'o','dataset':'web','value':{'event':{}},'destinations':['x']}",
         "$[1].destinations[0]: unknown destination"},
        {"{'kind':'policy','id':'p','deny':'C1'}", "$[1].marketing_action: missing"},
        {"{'kind':'policy','id':'p','marketing_action':'a'}", "$[1].deny: missing, expected a data-usage label"},
        {"{'kind':'policy','id':'p','marketing_action':'a','deny':{'not':'C1'}}",
         "$[1].deny.not: unknown key \"not\", expected one of and, or"},
        {"{'kind':'policy','id':'p','marketing_action':'a','deny':{'or':['C1',2]}}",
         "$[1].deny.or[1]: found 2, expected a data-usage label"},
        {"{'kind':'policy','id':'p','marketing_action':'a','deny':'C1','enabled':1}", "$[1].enabled: found 1"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[4096];
        (void)snprintf(text, sizeof text, "[" WEB ",%s]", bad[i].text);
        must_fail(try_build(text), text, bad[i].expected);
    }
}

/* ---- several sets ---------------------------------------------------------------------------------------------------- */

static void merging(void **state) {
    (void)state;
    struct rc_catalog_builder builder;
    struct rc_catalog *catalog = NULL;
    rc_catalog_builder_init(&builder);
    assert_int_equal(add(&builder, "a.json",
                         "[" WEB "," SEGMENT ",{'kind':'segment','id':'t','dataset':'web','where':{'segment':'s'}}]"),
                     RC_OK);
    assert_int_equal(add(&builder, "b.json", "{'kind':'segment','id':'s','dataset':'web','where':{'and':[]}}"), RC_OK);
    assert_int_equal(builder.n, 3);
    assert_string_equal(builder.items[1].file, "b.json");
    assert_string_equal(rc_catalog_builder_find(&builder, "segment", "s")->file, "b.json");
    assert_null(rc_catalog_builder_find(&builder, "audience", "s"));
    assert_int_equal(rc_catalog_build(&builder, &catalog, &err), RC_OK);
    assert_int_equal(catalog->segments[0].where->head, RC_HEAD_AND);
    assert_string_equal(rc_catalog_definition(catalog, "segment", "t")->id, "t");
    assert_null(rc_catalog_definition(catalog, "segment", "u"));
    rc_catalog_free(catalog);
    catalog = NULL;
    /* a bad file adds nothing of itself */
    assert_int_equal(
        add(&builder, "c.json",
            "[{'kind':'segment','id':'u','dataset':'web','where':{'and':[]}},{'kind':'segment','id':'U'}]"),
        RC_FAIL);
    assert_int_equal(builder.n, 3);
    assert_false(rc_catalog_builder_remove(&builder, "segment", "u"));
    assert_true(rc_catalog_builder_remove(&builder, "segment", "s"));
    assert_int_equal(builder.n, 2);
    assert_string_equal(rc_catalog_builder_find(&builder, "segment", "t")->id, "t");
    assert_int_equal(rc_catalog_build(&builder, &catalog, &err), RC_FAIL);
    assert_null(catalog);
    assert_non_null(strstr(err.message, "a.json: $[2].where.segment: unknown segment \"s\""));
    assert_int_equal(
        rc_catalog_builder_add_applied(
            &builder,
            rc_span_str("{\"kind\":\"segment\",\"id\":\"s\",\"dataset\":\"web\",\"where\":{\"event\":{\"x\":1}}}"), 3,
            5, NULL, &err),
        RC_OK);
    assert_int_equal(rc_catalog_build(&builder, &catalog, &err), RC_FAIL);
    assert_non_null(strstr(err.message, "applied segment/s: $.where.event.x: unknown key"));
    assert_int_equal(rc_catalog_builder_add_applied(&builder, rc_span_str("[]"), 3, 5, NULL, &err), RC_FAIL);
    rc_catalog_builder_deinit(&builder);
}

static void note_referrer(void *ctx, const struct rc_definition *referrer) {
    char *text = ctx;
    (void)snprintf(text + strlen(text), 128 - strlen(text), "%s/%s ", referrer->kind, referrer->id);
}

static void assert_referrers(const struct rc_catalog *catalog, const char *kind, const char *id, size_t n,
                             const char *expected) {
    char text[128] = "";
    assert_int_equal(rc_catalog_referrers(catalog, kind, id, note_referrer, text), n);
    assert_string_equal(text, expected);
}

static void referrers(void **state) {
    (void)state;
    struct rc_catalog *catalog =
        build("[" WEB "," CALLS "," SEGMENT ",{'kind':'segment','id':'t','dataset':['calls','web'],'where':{'not':{'"
              "sequence':[{'session':{'segment':'s'}}]}}},"
              "{'kind':'audience','id':'a','where':{'not':{'segment':'s'}},'destinations':['d']},{'kind':'destination',"
              "'id':'d','type':'embedded'},"
              "{'kind':'attribute','id':'x','dataset':'calls','value':{'event':{}},'destinations':['d']}]");
    assert_referrers(catalog, "dataset", "web", 2, "segment/s segment/t ");
    assert_referrers(catalog, "dataset", "calls", 2, "segment/t attribute/x ");
    assert_referrers(catalog, "segment", "s", 2, "segment/t audience/a ");
    assert_referrers(catalog, "segment", "t", 0, "");
    assert_referrers(catalog, "destination", "d", 2, "audience/a attribute/x ");
    assert_referrers(catalog, "audience", "a", 0, "");
    assert_referrers(catalog, "audience", "nobody", 0, "");
    assert_int_equal(rc_catalog_referrers(catalog, "dataset", "web", NULL, NULL), 2);
    rc_catalog_free(catalog);
}

static void compatibility(void **state) {
    (void)state;
    static const struct {
        const char *after, *expected; /* NULL: may follow */
    } cases[] = {
        {WEB, NULL},
        {CALLS, NULL},
        {"[]", NULL},
        {"{" WEB_KEYS ",'event_id':{'path':'e'},'grace':'5s','fields':{}}", NULL},
        {"{" WEB_KEYS "}", "defs.json: $.event_id: \"event_id\" of dataset \"web\" cannot change in place"},
        {"{" WEB_KEYS ",'event_id':{'kafka':'key'}}", "define a dataset with another id"},
        {"{'kind':'dataset','id':'web','topic':'t','format':'json','person':{'namespace':'ecid','id':{'path':'id2'}},'"
         "timestamp':{'path':'ts'},"
         "'event_id':{'path':'e'}}",
         "$.person: \"person\" of dataset \"web\" cannot change"},
        {"{'kind':'dataset','id':'web','topic':'t','format':'json','person':{'namespace':'crm','id':{'path':'id'}},'"
         "timestamp':{'path':'ts'},"
         "'event_id':{'path':'e'}}",
         "$.person:"},
        {"{'kind':'dataset','id':'web','topic':'t','format':'json','person':{'namespace':'ecid','id':{'path':'id'}},'"
         "timestamp':{'path':'ts',"
         "'unit':'s'},'event_id':{'path':'e'}}",
         "$.timestamp:"},
    };
    struct rc_catalog *before = build(WEB);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rc_catalog *after = build(cases[i].after);
        err.message[0] = '\0';
        rc_status status = rc_catalog_compatible(before, after, &err);
        assert_int_equal(status, cases[i].expected ? RC_FAIL : RC_OK);
        if (cases[i].expected && !strstr(err.message, cases[i].expected))
            fail_msg("%s, expected %s", err.message, cases[i].expected);
        rc_catalog_free(after);
    }
    rc_catalog_free(before);
    assert_true(rc_definition_same("{\"a\":1,\"b\":[1,2.5]}", " { \"b\" : [1, 2.50], \"a\":1 }"));
    assert_false(rc_definition_same("{\"a\":1}", "{\"a\":2}"));
    assert_false(rc_definition_same("{\"a\":[1,2]}", "{\"a\":[2,1]}"));
    assert_false(rc_definition_same("{", "{"));
}

/* ---- files that ship ------------------------------------------------------------------------------------------------- */

static rc_status read_beside(void *ctx, const char *file, const char *path, char **out, struct rc_error *e) {
    (void)ctx;
    char name[1024];
    const char *slash = strrchr(file, '/');
    (void)snprintf(name, sizeof name, "%.*s%s", slash ? (int)(slash - file + 1) : 0, file, path);
    FILE *f = fopen(name, "rb");
    if (!f)
        return rc_error_set(e, RC_CLASS_POISON, RC_EXIT_DATA, "%s: cannot be opened", name);
    *out = rc_calloc(1, 1 << 20);
    (void)!fread(*out, 1, (1 << 20) - 1, f);
    (void)fclose(f);
    return RC_OK;
}

static void add_file(struct rc_catalog_builder *builder, const char *name) {
    static char text[1 << 20];
    FILE *f = fopen(name, "rb");
    assert_non_null(f);
    size_t len = fread(text, 1, sizeof text, f);
    (void)fclose(f);
    if (rc_catalog_builder_add(builder, name, rc_span_of(text, len), read_beside, NULL, &err) != RC_OK)
        fail_msg("%s", err.message);
}

/* Loads all files that match, each alone or all together; gives the number of definitions. */
static size_t load(const char *pattern, bool together) {
    glob_t files;
    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    struct rc_catalog_builder builder;
    size_t n = 0;
    rc_catalog_builder_init(&builder);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        add_file(&builder, files.gl_pathv[i]);
        if (together && i + 1 < files.gl_pathc)
            continue;
        struct rc_catalog *catalog = NULL;
        if (rc_catalog_build(&builder, &catalog, &err) != RC_OK)
            fail_msg("%s", err.message);
        n += catalog->n_definitions;
        rc_catalog_free(catalog);
        rc_catalog_builder_deinit(&builder);
        rc_catalog_builder_init(&builder);
    }
    rc_catalog_builder_deinit(&builder);
    globfree(&files);
    return n;
}

static void conformance_cases(void **state) {
    (void)state;
    assert_true(load(RC_SOURCE_DIR "/tests/conformance/cases/*/defs.json", false) >= 108 * 2);
}

static void examples(void **state) {
    (void)state;
    assert_true(load(RC_SOURCE_DIR "/examples/segments/*.json", true) >= 46 + 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(audience),          cmocka_unit_test(destinations), cmocka_unit_test(attributes_and_policies),
        cmocka_unit_test(merging),           cmocka_unit_test(referrers),    cmocka_unit_test(compatibility),
        cmocka_unit_test(conformance_cases), cmocka_unit_test(examples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
