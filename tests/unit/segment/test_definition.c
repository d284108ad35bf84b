/* The language of definitions, datasets and segments: what is taken and how it is understood, and what every mistake is answered with. */
#include "tests/unit/segment/definition_fixture.h"

/* ---- files ----------------------------------------------------------------------------------------------------------- */

static void files(void **state) {
    (void)state;
    static const struct bad bad[] = {
        {"{'kind':'segment',\n 'id':}", "defs.json:2:"},
        {"", "defs.json:1:0: not JSON"},
        {"'x'", "not JSON"},
        {"{'kind':'segment','kind':'dataset'}", "duplicate object key"},
        {"{'kind':'segment','id':'a','where':9999999999999999999999}", "not JSON: too big integer"},
        {"[1]", "defs.json: $[0]: found 1, expected a definition"},
        {"{}", "defs.json: $.kind: missing, expected \"dataset\", \"segment\", \"audience\""},
        {"{'kind':7}", "$.kind: found 7, expected \"dataset\""},
        {"{'kind':'segmnt','id':'a'}",
         "$.kind: unknown kind \"segmnt\", expected one of dataset, segment, audience, destination, attribute, "
         "policy; did you mean \"segment\"?"},
        {"[{'kind':'policy'}]", "$[0].id: missing, expected an id"},
        {"{'kind':'policy','id':'Ab'}", "$.id: found \"Ab\", expected an id"},
        {"{'kind':'policy','id':'-a'}", "expected an id"},
        {"{'kind':'policy','id':''}", "expected an id"},
        {"{'kind':'policy','id':'a\\u0000b'}", "expected an id"},
        {"{'kind':'policy','id':'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}", "expected an id"},
        {"[" WEB "," WEB "]", "$[1]: dataset \"web\" is defined twice in this file, first at $[0]"},
        {"{" WEB_KEYS ",'owner':3}", "$.owner: found 3, expected a text"},
        {"{" WEB_KEYS ",'tags':['a',3]}", "$.tags[1]: found 3, expected a text"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        must_fail(try_build(bad[i].text), bad[i].text, bad[i].expected);
    rc_catalog_free(build("[]"));
    struct rc_catalog *catalog =
        build("[" WEB ",{'kind':'segment','id':'web','name':'','description':'d','owner':'o','tags':['a','b'],"
              "'dataset':'web','where':{'and':[]}},{'kind':'audience','id':'0','tags':'a','where':{'segment':'web'}}]");
    assert_int_equal(catalog->n_definitions, 3);
    assert_int_equal(rc_catalog_segment(catalog, "web"), 0);
    assert_int_equal(rc_catalog_audience(catalog, "0"), 0);
    assert_int_equal(rc_catalog_audience(catalog, "web"), -1);
    assert_string_equal(catalog->definitions[2].json,
                        "{\"kind\":\"audience\",\"id\":\"0\",\"tags\":\"a\",\"where\":{\"segment\":\"web\"}}");
    assert_string_equal(catalog->definitions[2].path, "$[2]");
    rc_catalog_free(catalog);
}

/* ---- datasets -------------------------------------------------------------------------------------------------------- */

static void dataset(void **state) {
    (void)state;
    struct rc_catalog *catalog = build("{'kind':'dataset','id':'d','topic':'t.1','format':'avro','schema':{'type':'"
                                       "record','name':'e','fields':[{'name':'x','type':'double',"
                                       "'default':1.0}]},'framing':'confluent','person':{'namespace':{'first_of':[{'"
                                       "path':'a.b\\\\.c'},{'kafka':{'header':'ns'}}]},"
                                       "'id':{'kafka':'key'}},'timestamp':{'path':'t','unit':'rfc3339'},'event_id':{'"
                                       "path':'e'},'session_timeout':'1w','timezone':"
                                       "'Asia/"
                                       "Kolkata','grace':'250ms','keyed':false,'where':{'field':'n','ge':1.5},'fields':"
                                       "{'n':{'path':'n','type':'double','min':-0.5,"
                                       "'on_bad':'no_value','labels':['C2','own']}},'elements':{'items':{'path':'i','"
                                       "fields':{'q':{'path':'q','type':'long','min':-3}}}}}");
    const struct rc_dataset *d = &catalog->datasets[0];
    assert_string_equal(d->topic, "t.1");
    assert_int_equal(d->format, RC_FORMAT_AVRO);
    assert_int_equal(d->framing, RC_FRAMING_CONFLUENT);
    assert_string_equal(
        d->schema,
        "{\"type\":\"record\",\"name\":\"e\",\"fields\":[{\"name\":\"x\",\"type\":\"double\",\"default\":1.0}]}");
    assert_int_equal(d->person_namespace.kind, RC_SOURCE_FIRST_OF);
    assert_int_equal(d->person_namespace.n_options, 2);
    assert_int_equal(d->person_namespace.options[0].path.n, 2);
    assert_string_equal(d->person_namespace.options[0].path.names[1], "b.c");
    assert_int_equal(d->person_namespace.options[1].kind, RC_SOURCE_HEADER);
    assert_string_equal(d->person_namespace.options[1].text, "ns");
    assert_int_equal(d->person_id.kind, RC_SOURCE_KEY);
    assert_int_equal(d->timestamp_unit, RC_UNIT_RFC3339);
    assert_true(d->has_event_id);
    assert_int_equal(d->session_timeout_ms, 7 * DAY);
    assert_int_equal(d->grace_ms, 250);
    assert_string_equal(rc_timezone_name(d->timezone), "Asia/Kolkata");
    assert_false(d->keyed);
    assert_int_equal(d->where->kind, RC_PRED_TEST);
    assert_int_equal(d->where->clauses.items[0].operands[0].number, 1500000);
    assert_int_equal(d->n_fields, 2);
    assert_string_equal(d->fields[0].name, "n");
    assert_true(d->fields[0].has_min && d->fields[0].bad_is_none);
    assert_int_equal(d->fields[0].min, -500000);
    assert_string_equal(d->fields[0].labels[1], "own");
    assert_int_equal(d->fields[0].element, RC_NO_ELEMENT);
    assert_string_equal(d->fields[1].name, "items.q");
    assert_int_equal(d->fields[1].element, 0);
    assert_int_equal(d->fields[1].min, -3);
    assert_string_equal(d->elements[0].path.text, "i");
    rc_catalog_free(catalog);

    catalog = build("{" WEB_KEYS "}");
    d = &catalog->datasets[0];
    assert_int_equal(d->person_namespace.kind, RC_SOURCE_CONSTANT);
    assert_string_equal(d->person_namespace.text, "ecid");
    assert_int_equal(d->timestamp_unit, RC_UNIT_MS);
    assert_int_equal(d->session_timeout_ms, 1800 * SECOND);
    assert_int_equal(d->grace_ms, 0);
    assert_string_equal(d->timezone_name, "UTC");
    assert_true(d->keyed);
    assert_false(d->has_event_id);
    rc_catalog_free(catalog);
}

static void bad_datasets(void **state) {
    (void)state;
    static const struct bad bad[] = {
        {",'topik':'x'", "defs.json: $.topik: unknown key \"topik\", expected one of kind, id, name, description, "
                         "owner, tags, topic, format,"},
        {",'topik':'x'", "did you mean \"topic\"?"},
        {",'framing':'confluent'", "$.framing: framing \"confluent\" is for format avro"},
        {",'framing':'plan'", "did you mean \"plain\"?"},
        {",'event_id':'id'", "$.event_id: found \"id\", expected a source"},
        {",'event_id':{}", "$.event_id: found none of path, first_of, kafka"},
        {",'event_id':{'path':'a','kafka':'key'}", "$.event_id: found several of path, first_of, kafka"},
        {",'event_id':{'path':'a..b'}", "$.event_id.path: found \"a..b\", expected a path"},
        {",'event_id':{'path':''}", "$.event_id.path: found \"\", expected a path"},
        {",'event_id':{'path':'.a'}", "expected a path"},
        {",'event_id':{'path':'a','unit':'ms'}", "$.event_id.unit: unknown key \"unit\""},
        {",'event_id':{'first_of':[]}", "$.event_id.first_of: found an empty array, expected at least one source"},
        {",'event_id':{'first_of':[{'path':'a'},{'pth':'b'}]}", "$.event_id.first_of[1].pth: unknown key \"pth\""},
        {",'event_id':{'kafka':'keys'}", "$.event_id.kafka: unknown part of a Kafka record \"keys\", expected one of "
                                         "key, timestamp; did you mean \"key\"?"},
        {",'event_id':{'kafka':{'header':''}}", "$.event_id.kafka.header: found \"\", expected a header's name"},
        {",'session_timeout':30", "$.session_timeout: found 30, expected a duration"},
        {",'session_timeout':'30 m'", "expected a duration"},
        {",'session_timeout':'-1m'", "expected a duration"},
        {",'session_timeout':'1.5h'", "expected a duration"},
        {",'session_timeout':'m'", "expected a duration"},
        {",'session_timeout':'1y'", "expected a duration"},
        {",'session_timeout':'99999999999999999999999999w'", "at most 10,000 years"},
        {",'session_timeout':'9223372036854775807ms'", "at most 10,000 years"},
        {",'grace':null", "$.grace: found null, expected a duration"},
        {",'timezone':'Europe/Stokholm'", "$.timezone: unknown time zone \"Europe/Stokholm\""},
        {",'timezone':'../../etc/passwd'", "$.timezone: unknown time zone"},
        {",'keyed':'true'", "$.keyed: found \"true\", expected true or false"},
        {",'where':{'field':'x','eq':1}",
         "$.where.field: unknown field \"x\", expected one of _dataset, _namespace, _hour, _weekday"},
        {",'fields':[]", "$.fields: found an empty array, expected an object of fields"},
        {",'fields':{'_x':{'path':'x','type':'long'}}", "$.fields._x: \"_x\" is no name for a field"},
        {",'fields':{'a.b':{'path':'x','type':'long'}}", "$.fields[\"a.b\"]: \"a.b\" is no name for a field"},
        {",'fields':{'\\n':{'path':'x','type':'long'}}", "is no name for a field"},
        {",'fields':{'a':'x'}", "$.fields.a: found \"x\", expected a field"},
        {",'fields':{'a':{'type':'long'}}", "$.fields.a.path: missing, expected a path"},
        {",'fields':{'a':{'path':'x'}}",
         "$.fields.a.type: missing, expected \"string\", \"long\", \"boolean\", \"double\" or \"decimal\""},
        {",'fields':{'a':{'path':'x','type':'int'}}",
         "$.fields.a.type: unknown type \"int\", expected one of string, long, boolean, double, decimal"},
        {",'fields':{'a':{'path':'x','type':'string','min':0}}",
         "$.fields.a.min: \"min\" is for numbers, but the field is a string"},
        {",'fields':{'a':{'path':'x','type':'long','min':0.5}}", "$.fields.a.min: found 0.5, expected an integer"},
        {",'fields':{'a':{'path':'x','type':'decimal','min':0.0000001}}",
         "$.fields.a.min: found 1e-07, expected a number with at most 6 decimals"},
        {",'fields':{'a':{'path':'x','type':'long','on_bad':'none'}}",
         "$.fields.a.on_bad: unknown word \"none\", expected no_value"},
        {",'fields':{'a':{'path':'x','type':'long','labels':'C1'}}",
         "$.fields.a.labels: found \"C1\", expected an array of data-usage labels"},
        {",'elements':{'items':{'fields':{}}}", "$.elements.items.path: missing"},
        {",'elements':{'items':{'path':'i','fields':{'a':{'path':'x','type':'long','lables':[]}}}}",
         "$.elements.items.fields.a.lables: unknown key"},
    };
    struct rc_buf text;
    rc_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rc_buf_reset(&text);
        assert_int_equal(rc_buf_printf(&text, "{" WEB_KEYS "%s}", bad[i].text), RC_OK);
        must_fail(try_build(text.data), text.data, bad[i].expected);
    }
    rc_buf_deinit(&text);
    static const struct bad whole[] = {
        {"{'kind':'dataset','id':'d'}", "$.topic: missing, expected a topic's name"},
        {"{'kind':'dataset','id':'d','topic':'a b'}", "$.topic: found \"a b\", expected a topic's name"},
        {"{'kind':'dataset','id':'d','topic':'t'}", "$.format: missing, expected \"avro\" or \"json\""},
        {"{'kind':'dataset','id':'d','topic':'t','format':'avro'}", "$.schema: missing, expected an Avro schema"},
        {"{'kind':'dataset','id':'d','topic':'t','format':'avro','schema':3}",
         "$.schema: found 3, expected an Avro schema"},
        {"{'kind':'dataset','id':'d','topic':'t','format':'avro','schema':'a.avsc'}",
         "$.schema: found \"a.avsc\", expected an Avro schema as an object"},
        {"{'kind':'dataset','id':'d','topic':'t','format':'json'}",
         "$.person: missing, expected an object with namespace and id"},
        {"{'kind':'dataset','id':'d','topic':'t','format':'json','person':{'id':{'path':'a'}}}",
         "$.person.namespace: missing"},
        {"{'kind':'dataset','id':'d','topic':'t','format':'json','person':{'namespace':''}}",
         "$.person.namespace: found \"\""},
        {"{'kind':'dataset','id':'d','topic':'t','format':'json','person':{'namespace':'n','id':'x'}}",
         "$.person.id: found \"x\", expected a source"},
        {"{'kind':'dataset','id':'d','topic':'t','format':'json','person':{'namespace':'n','id':{'path':'x'}}}",
         "$.timestamp: missing, expected a source"},
        {"{'kind':'dataset','id':'d','topic':'t','format':'json','person':{'namespace':'n','id':{'path':'x'}},'"
         "timestamp':{'path':'t','unit':'ns'}}",
         "$.timestamp.unit: unknown unit of time \"ns\", expected one of ms, s, us, rfc3339"},
    };
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        must_fail(try_build(whole[i].text), whole[i].text, whole[i].expected);
}

static rc_status read_schema(void *ctx, const char *file, const char *path, char **out, struct rc_error *e) {
    assert_string_equal(file, "folder/defs.json");
    if (strcmp(path, "event.avsc") != 0)
        return rc_error_set(e, RC_CLASS_POISON, RC_EXIT_DATA, "folder/%s: no such file", path);
    *out = rc_strdup(ctx);
    return RC_OK;
}

static void schema_files(void **state) {
    (void)state;
    struct rc_catalog_builder builder;
    struct rc_catalog *catalog = NULL;
    rc_catalog_builder_init(&builder);
    char schema[] = "{\"type\": \"record\", \"name\": \"e\", \"fields\": []}", broken[] = "{\"type\":\n}";
    const char *definition = "{'kind':'dataset','id':'d','topic':'t','schema':'%s','format':'avro','person':{'"
                             "namespace':'n','id':{'path':'x'}},"
                             "'timestamp':{'path':'t'}}";
    char *quoted = json_of(definition), text[512];
    (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(strstr(quoted, "%s") - quoted), quoted, "event.avsc",
                   strstr(quoted, "%s") + 2);
    assert_int_equal(rc_catalog_builder_add(&builder, "folder/defs.json", rc_span_str(text), read_schema, schema, &err),
                     RC_OK);
    /* what goes to the definitions topic stands alone */
    assert_non_null(strstr(builder.items[0].json,
                           "\"schema\":{\"type\":\"record\",\"name\":\"e\",\"fields\":[]},\"format\":\"avro\""));
    assert_int_equal(rc_catalog_build(&builder, &catalog, &err), RC_OK);
    assert_string_equal(catalog->datasets[0].schema, "{\"type\":\"record\",\"name\":\"e\",\"fields\":[]}");
    assert_string_equal(catalog->datasets[0].schema_file, "event.avsc");
    struct rc_catalog_builder again;
    rc_catalog_builder_init(&again);
    assert_int_equal(rc_catalog_builder_add_applied(&again, rc_span_str(builder.items[0].json), 7, 1234, "me", &err),
                     RC_OK);
    rc_catalog_free(catalog);
    assert_int_equal(rc_catalog_build(&again, &catalog, &err), RC_OK);
    assert_int_equal(catalog->definitions[0].version, 7);
    assert_int_equal(catalog->definitions[0].applied_ms, 1234);
    assert_string_equal(catalog->definitions[0].applied_by, "me");
    assert_string_equal(catalog->definitions[0].json, builder.items[0].json);
    rc_catalog_free(catalog);
    rc_catalog_builder_deinit(&again);
    /* a schema that is none, and one that is not there: nothing is added */
    assert_int_equal(rc_catalog_builder_add(&builder, "folder/defs.json", rc_span_str(text), read_schema, broken, &err),
                     RC_FAIL);
    assert_non_null(strstr(err.message, "folder/defs.json: $.schema: event.avsc:2:"));
    (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(strstr(quoted, "%s") - quoted), quoted, "other.avsc",
                   strstr(quoted, "%s") + 2);
    assert_int_equal(rc_catalog_builder_add(&builder, "folder/defs.json", rc_span_str(text), read_schema, schema, &err),
                     RC_FAIL);
    assert_non_null(strstr(err.message, "folder/defs.json: $.schema: folder/other.avsc: no such file"));
    assert_int_equal(builder.n, 1);
    free(quoted);
    rc_catalog_builder_deinit(&builder);
}

/* ---- segments -------------------------------------------------------------------------------------------------------- */

static void segment(void **state) {
    (void)state;
    struct rc_catalog *catalog =
        build("[{'kind':'segment','id':'s','dataset':['web','calls'],'window':{'last':'24h','except_last':'30m'},"
              "'where':{'and':[{'event':{'field':'agent','exists':true}},{'segment':'t'}]}},"
              "{'kind':'segment','id':'t','dataset':'calls','where':{'or':[]}}," CALLS "," WEB "]");
    const struct rc_segment *s = &catalog->segments[0];
    assert_int_equal(s->n_datasets, 2);
    assert_string_equal(catalog->datasets[s->datasets[0]].id, "web");
    assert_string_equal(rc_timezone_name(s->timezone), "Europe/Stockholm");
    assert_int_equal(s->session_timeout_ms, 1200 * SECOND);
    assert_int_equal(s->window.form, RC_WINDOW_SLIDING);
    assert_int_equal(s->window.last_ms, DAY);
    assert_int_equal(s->window.except_last_ms, 1800 * SECOND);
    assert_int_equal(s->version, 1);
    assert_string_equal(s->where->path, "where");
    assert_string_equal(s->where->children[1]->path, "where.and[1]");
    assert_int_equal(s->where->children[1]->segment, 1);
    assert_string_equal(s->where->children[0]->where->field.name, "agent");
    rc_catalog_free(catalog);

    static const struct bad bad[] = {
        {"{'kind':'segment','id':'s','where':{'and':[]}}", "$[1].dataset: missing, expected a dataset's id"},
        {"{'kind':'segment','id':'s','dataset':'web'}", "$[1].where: missing, expected a condition about a person"},
        {"{'kind':'segment','id':'s','dataset':[],'where':{'and':[]}}",
         "$[1].dataset: found an empty array, expected at least one"},
        {"{'kind':'segment','id':'s','dataset':'wbe','where':{'and':[]}}",
         "$[1].dataset: unknown dataset \"wbe\", expected one of web, calls; did you mean \"web\"?"},
        {"{'kind':'segment','id':'s','dataset':['web','web'],'where':{'and':[]}}",
         "$[1].dataset[1]: dataset \"web\" stands here twice"},
        {"{'kind':'segment','id':'s','dataset':'web','windows':'1d','where':{'and':[]}}", "did you mean \"window\"?"},
        {"{'kind':'segment','id':'s','dataset':['web','calls'],'where':{'event':{'field':'qty','eq':1}}}",
         "$[1].where.event.field: field \"qty\" is a long in dataset \"web\" and a decimal in dataset \"calls\""},
        {"{'kind':'segment','id':'s','dataset':'calls','where':{'event':{'field':'url','eq':'x'}}}",
         "$[1].where.event.field: unknown field \"url\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[4096];
        (void)snprintf(text, sizeof text, "[" WEB ",%s," CALLS "]", bad[i].text);
        must_fail(try_build(text), text, bad[i].expected);
    }
    /* `type` is in both, of one type; `qty` may differ as long as it is not named */
    rc_catalog_free(
        build("[" WEB "," CALLS
              ",{'kind':'segment','id':'s','dataset':['web','calls'],'where':{'event':{'field':'type','eq':'x'}}}]"));
}

static void windows(void **state) {
    (void)state;
    struct rc_catalog *catalog =
        good_where("{'and':[{'event':{},'window':'90m'},{'event':{},'window':{'calendar':'quarter'}},"
                   "{'event':{},'window':{'calendar':'hour','count':7,'complete':true}},"
                   "{'event':{},'window':{'from':'2026-01-01T00:00:00+01:00'}},"
                   "{'event':{},'window':{'from':'2026-01-01T00:00:00Z','to':'2026-04-01T00:00:00Z'}}],'window':'0s'}");
    const struct rc_cond *c = catalog->segments[1].where;
    assert_int_equal(c->window.form, RC_WINDOW_SLIDING);
    assert_int_equal(c->window.last_ms, 0);
    assert_int_equal(c->children[0]->window.last_ms, 5400 * SECOND);
    assert_int_equal(c->children[1]->window.unit, RC_QUARTER);
    assert_int_equal(c->children[1]->window.count, 1);
    assert_false(c->children[1]->window.complete);
    assert_int_equal(c->children[2]->window.unit, RC_HOUR);
    assert_int_equal(c->children[2]->window.count, 7);
    assert_true(c->children[2]->window.complete);
    assert_int_equal(c->children[3]->window.from_ms, 1767222000 * SECOND);
    assert_true(c->children[3]->window.to_ms == INT64_MAX);
    assert_int_equal(c->children[4]->window.form, RC_WINDOW_FIXED);
    rc_catalog_free(catalog);
    static const struct bad bad[] = {
        {"7", "$[3].where.window: found 7, expected a window: a duration like \"30d\""},
        {"'30'", "$[3].where.window: found \"30\", expected a duration"},
        {"{}", "$[3].where.window: says no span"},
        {"{'count':2}", "$[3].where.window: says no span"},
        {"{'lst':'1d'}", "unknown key \"lst\""},
        {"{'last':'1d'}", "$[3].where.window.except_last: missing"},
        {"{'last':'1h','except_last':'60m'}",
         "$[3].where.window.except_last: found \"60m\", expected a duration shorter than \"last\" (\"1h\")"},
        {"{'last':'1h','except_last':'1m','calendar':'day'}", "$[3].where.window.last: unknown key"},
        {"{'calendar':'days'}", "$[3].where.window.calendar: unknown calendar unit \"days\", expected one of hour, "
                                "day, week, month, quarter, year; did you mean \"day\"?"},
        {"{'calendar':'day','count':0}", "$[3].where.window.count: found 0, expected an integer from 1"},
        {"{'calendar':'day','count':1.0}", "$[3].where.window.count: found 1.0, expected an integer"},
        {"{'calendar':'day','complete':1}", "$[3].where.window.complete: found 1, expected true or false"},
        {"{'from':'2026-01-01'}", "$[3].where.window.from: found \"2026-01-01\", expected an instant"},
        {"{'to':1767222000}", "$[3].where.window.to: found 1767222000, expected an instant"},
        {"{'to':'2026-01-01T00:00:00Z','calendar':'day'}",
         "$[3].where.window.to: unknown key \"to\", expected one of calendar, count, complete"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char where[512];
        (void)snprintf(where, sizeof where, "{'event':{},'window':%s}", bad[i].text);
        must_fail(with_where(where), where, bad[i].expected);
    }
}

static void conditions(void **state) {
    (void)state;
    struct rc_catalog *catalog =
        good_where("{'or':[{'not':{'event':{'field':'type','eq':'x'}}},"
                   "{'event':{},'count':{'lt':5,'ge':2.5},'same':'items.sku'},"
                   "{'sum':'items.price','where':{'field':'items.sku','eq':'A'},'is':{'ge':-9.99}},"
                   "{'avg':'qty','is':{'ne':9223372036854775807}},"
                   "{'distinct':'member','is':{'eq':1e2}},"
                   "{'latest':'type','where':{'field':'url','exists':true},'is':{'in':['A','B'],'ignore_case':true}},"
                   "{'first':'_hour','is':{'ge':7}},"
                   "{'session':{'event':{}},'count':{'eq':0},'closed':true},"
                   "{'session':{'sequence':[{'event':{}}]}},"
                   "{'segment':'other'}]}");
    struct rc_cond **c = catalog->segments[1].where->children;
    assert_int_equal(c[0]->children[0]->cmp.n, 1);
    assert_true(c[0]->children[0]->cmp.terms[0].value == ONE && c[0]->children[0]->cmp.terms[0].op == RC_CMP_GE);
    assert_false(c[0]->children[0]->has_field);
    assert_int_equal(c[1]->cmp.n, 2);
    assert_int_equal(c[1]->where->kind, RC_PRED_TRUE);
    assert_string_equal(c[1]->field.name, "items.sku");
    assert_string_equal(c[1]->field.element, "items");
    for (size_t i = 0; i < 2; i++)
        assert_true(c[1]->cmp.terms[i].op == RC_CMP_LT ? c[1]->cmp.terms[i].value == 5 * ONE
                                                       : c[1]->cmp.terms[i].value == 2500000);
    assert_true(c[2]->cmp.terms[0].value == -9990000);
    assert_int_equal(c[2]->where->field.type, RC_STRING);
    assert_true(c[3]->cmp.terms[0].value == (__int128)INT64_MAX * RC_FIXED_SCALE);
    assert_null(c[3]->where);
    assert_true(c[4]->cmp.terms[0].value == 100 * ONE);
    assert_int_equal(c[5]->is.n, 1);
    assert_true(c[5]->is.ignore_case);
    assert_int_equal(c[5]->is.items[0].n_operands, 2);
    assert_true(rc_span_equal(c[5]->is.items[0].operands[1].string, rc_span_str("b")));
    assert_int_equal(c[6]->field.kind, RC_FIELD_HOUR);
    assert_true(c[7]->closed && c[7]->cmp.terms[0].value == 0);
    assert_string_equal(c[7]->children[0]->path, "where.or[7].session");
    assert_false(c[8]->closed);
    assert_int_equal(c[9]->segment, 0);
    rc_catalog_free(catalog);
    static const struct bad bad[] = {
        {"[]", "$[3].where: found an empty array, expected a condition about a person"},
        {"{}", "$[3].where: says no condition, expected one of and, or, not, event"},
        {"{'window':'1d'}", "$[3].where: says no condition"},
        {"{'evnt':{}}", "$[3].where.evnt: unknown key \"evnt\", expected one of and, or, not, event, sum"},
        {"{'evnt':{}}", "did you mean \"event\"?"},
        {"{'window':'1d','events':{}}", "$[3].where.events: unknown key \"events\""},
        {"{'field':'type','eq':'x'}", "$[3].where.field: a test on an event's field stands inside a condition about a "
                                      "person: write {\"event\": {\"field\""},
        {"{'event':{},'sum':'total','is':{'ge':1}}",
         "$[3].where: found both \"event\" and \"sum\", expected exactly one head"},
        {"{'and':{}}", "$[3].where.and: found an object, expected an array of conditions"},
        {"{'and':[{'event':{}},{'or':[{'event':{'fild':'type','eq':'x'}}]}]}",
         "defs.json: $[3].where.and[1].or[0].event.fild: unknown key \"fild\", expected one of field, and, or, not, "
         "some; did you mean \"field\"?"},
        {"{'and':[],'count':{'ge':1}}", "$[3].where.count: unknown key \"count\", expected one of and, window"},
        {"{'not':[]}", "$[3].where.not: found an empty array, expected a condition"},
        {"{'event':{},'count':3}", "$[3].where.count: found 3, expected a comparison like {\"ge\": 3}"},
        {"{'event':{},'count':{}}", "$[3].where.count: found 0 comparisons, expected one or two"},
        {"{'event':{},'count':{'ge':1,'le':2,'ne':3}}", "$[3].where.count: found 3 comparisons"},
        {"{'event':{},'count':{'gte':1}}",
         "$[3].where.count.gte: unknown key \"gte\", expected one of eq, ne, lt, le, gt, ge; did you mean \"gt\"?"},
        {"{'event':{},'count':{'ge':'1'}}",
         "$[3].where.count.ge: found \"1\", expected a number with at most 6 decimals"},
        {"{'event':{},'count':{'ge':0.1234567}}",
         "$[3].where.count.ge: found 0.1234567, expected a number with at most 6 decimals"},
        {"{'event':{},'count':{'ge':1e300}}",
         "$[3].where.count.ge: found 1e+300, expected a number whose magnitude is below 2^63"},
        {"{'event':{},'count':{'ge':0},'same':'url'}", "$[3].where.count: 0 satisfies it"},
        {"{'event':{},'count':{'lt':5},'same':'url'}", "$[3].where.count: 0 satisfies it"},
        {"{'event':{},'count':{'ne':5,'gt':-1},'same':'url'}", "$[3].where.count: 0 satisfies it"},
        {"{'event':{},'same':'urls'}", "$[3].where.same: unknown field \"urls\""},
        {"{'sum':'total'}", "$[3].where.is: missing, expected a comparison"},
        {"{'sum':'type','is':{'ge':1}}", "$[3].where.sum: field \"type\" is a string, but \"sum\" is for numbers"},
        {"{'min':'member','is':{'ge':1}}", "$[3].where.min: field \"member\" is a boolean"},
        {"{'avg':'items','is':{'ge':1}}", "$[3].where.avg: unknown field \"items\""},
        {"{'sum':'totals','is':{'ge':1}}", "did you mean \"total\"?"},
        {"{'sum':'total','is':{'ge':1},'count':{'ge':1}}",
         "$[3].where.count: unknown key \"count\", expected one of sum, where, is, window"},
        {"{'distinct':'url','is':{'contains':'x'}}",
         "$[3].where.is.contains: unknown key \"contains\", expected one of eq, ne, lt"},
        {"{'latest':'type','is':{}}", "$[3].where.is: no operator"},
        {"{'latest':'type','is':{'ignore_case':true}}", "$[3].where.is: no operator"},
        {"{'latest':'type','is':{'eq_field':'url'}}",
         "$[3].where.is.eq_field: \"eq_field\" cannot stand in the \"is\" of latest and first"},
        {"{'first':'type','is':{'ne_field':'url'}}", "$[3].where.is.ne_field: \"ne_field\" cannot stand"},
        {"{'first':'type','is':'gold'}", "$[3].where.is: found \"gold\", expected operators"},
        {"{'session':{'session':{'event':{}}}}", "$[3].where.session.session: a session inside a session"},
        {"{'session':{'and':[{'not':{'session':{'event':{}}}}]}}",
         "$[3].where.session.and[0].not.session: a session inside a session"},
        {"{'session':{'event':{}},'closed':'yes'}", "$[3].where.closed: found \"yes\", expected true or false"},
        {"{'segment':'otter'}",
         "$[3].where.segment: unknown segment \"otter\", expected one of other, s; did you mean \"other\"?"},
        {"{'segment':'other','window':'1d'}", "$[3].where.window: a reference to a segment takes no window"},
        {"{'segment':'s'}", "$[3].where.segment: segment \"s\" depends on itself: s → s"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        must_fail(with_where(bad[i].text), bad[i].text, bad[i].expected);
    /* 0 does not satisfy these */
    rc_catalog_free(good_where(
        "{'and':[{'event':{},'count':{'ne':0},'same':'url'},{'event':{},'count':{'lt':5,'gt':0},'same':'url'}]}"));
}

static void tests_on_fields(void **state) {
    (void)state;
    struct rc_catalog *catalog = good_where(
        "{'event':{'and':[{'field':'type','ne':'ÄB','not_in':[],'ignore_case':true,'matches':'*\\\\\\\\Q'},"
        "{'field':'total','ge':9.99,'lt':1e18,'gt':-1e18},{'field':'qty','in':[1,-9223372036854775808]},"
        "{'field':'score','eq':0.000001},{'field':'member','eq':false,'exists':false},"
        "{'some':'items','where':{'field':'items.sku','eq_field':'type','ne_field':'_namespace'}},"
        "{'or':[{'not':{}}]},{'field':'url','contains_any':['a','b'],'contains_all':['c'],'eq':'a\\u0000b'}]}}");
    struct rc_pred **p = catalog->segments[1].where->where->children;
    assert_int_equal(p[0]->clauses.n, 3);
    assert_int_equal(p[0]->clauses.items[0].op, RC_OP_NE);
    assert_true(rc_span_equal(p[0]->clauses.items[0].operands[0].string, rc_span_str("Äb"))); /* ASCII letters only */
    assert_int_equal(p[0]->clauses.items[1].n_operands, 0);
    assert_true(rc_span_equal(p[0]->clauses.items[2].operands[0].string, rc_span_str("*\\\\q")));
    assert_int_equal(p[1]->clauses.items[0].operands[0].number, 9990000);
    assert_int_equal(p[1]->clauses.items[1].operands[0].number,
                     RC_FIXED_MAX); /* as far as a value can go, and no value does */
    assert_int_equal(p[1]->clauses.items[2].operands[0].number, -RC_FIXED_MAX);
    assert_int_equal(p[2]->clauses.items[0].op, RC_OP_EQ);
    assert_true(p[2]->clauses.items[0].operands[1].number == INT64_MIN);
    assert_int_equal(p[3]->clauses.items[0].operands[0].number, 1);
    assert_int_equal(p[4]->clauses.items[0].operands[0].number, 0);
    assert_int_equal(p[4]->clauses.items[1].op, RC_OP_EXISTS);
    assert_int_equal(p[5]->kind, RC_PRED_SOME);
    assert_string_equal(p[5]->element, "items");
    assert_string_equal(p[5]->children[0]->clauses.items[0].other.name, "type");
    assert_int_equal(p[5]->children[0]->clauses.items[1].other.kind, RC_FIELD_NAMESPACE);
    assert_int_equal(p[6]->children[0]->children[0]->kind, RC_PRED_TRUE);
    assert_int_equal(p[7]->clauses.items[2].operands[0].string.len, 3);
    rc_catalog_free(catalog);
    static const struct bad bad[] = {
        {"'x'", "$[3].where.event: found \"x\", expected a condition about an event"},
        {"{'eq':'x'}", "$[3].where.event.field: missing, expected the name of the field"},
        {"{'feild':'type','eq':'x'}", "$[3].where.event.feild: unknown key \"feild\""},
        {"{'field':'type'}", "$[3].where.event: no operator"},
        {"{'field':'type','equals':'x'}",
         "$[3].where.event.equals: unknown key \"equals\", expected one of field, eq, in"},
        {"{'field':'type','start_with':'x'}", "did you mean \"starts_with\"?"},
        {"{'field':7,'eq':'x'}", "$[3].where.event.field: found 7, expected a field's name"},
        {"{'field':'tpye','eq':'x'}", "$[3].where.event.field: unknown field \"tpye\", expected one of type, url, "
                                      "total, qty, score, member, items.sku, "
                                      "items.price, _dataset, _namespace, _hour, _weekday; did you mean \"type\"?"},
        {"{'field':'sku','eq':'x'}", "$[3].where.event.field: unknown field \"sku\""},
        {"{'field':'type','and':[]}", "$[3].where.event: found several of field, and, or, not, some"},
        {"{'and':[],'or':[]}", "$[3].where.event: found several"},
        {"{'and':[{'field':'type'}]}", "$[3].where.event.and[0]: no operator"},
        {"{'not':{'field':'type','eq':3}}", "$[3].where.event.not.eq: found 3, expected a string, as the field is one"},
        {"{'field':'type','in':'x'}", "$[3].where.event.in: found \"x\", expected an array of operands"},
        {"{'field':'type','eq':['x']}", "$[3].where.event.eq: found an array, expected a string"},
        {"{'field':'type','in':['x',null]}", "$[3].where.event.in[1]: found null, expected a string"},
        {"{'field':'type','lt':'x'}", "$[3].where.event.lt: \"lt\" is for numbers, but the field is a string"},
        {"{'field':'qty','contains':'x'}",
         "$[3].where.event.contains: \"contains\" is for strings, but the field is a long"},
        {"{'field':'member','ge':true}", "\"ge\" is for numbers, but the field is a boolean"},
        {"{'field':'qty','eq':1.0}", "$[3].where.event.eq: found 1.0, expected an integer, as the field is a long"},
        {"{'field':'qty','eq':'1'}", "$[3].where.event.eq: found \"1\", expected an integer"},
        {"{'field':'qty','eq':true}", "found true, expected an integer"},
        {"{'field':'total','eq':0.0000005}", "found 5e-07, expected a number with at most 6 decimals"},
        {"{'field':'score','in':[1,2.1234567]}",
         "$[3].where.event.in[1]: found 2.1234567, expected a number with at most 6 decimals"},
        {"{'field':'member','eq':1}",
         "$[3].where.event.eq: found 1, expected true or false, as the field is a boolean"},
        {"{'field':'type','exists':1}", "$[3].where.event.exists: found 1, expected true or false"},
        {"{'field':'type','eq':'x','ignore_case':1}", "$[3].where.event.ignore_case: found 1, expected true or false"},
        {"{'field':'type','eq_field':'qty'}", "$[3].where.event.eq_field: field \"qty\" is a long, expected a string"},
        {"{'field':'score','ne_field':'total'}",
         "$[3].where.event.ne_field: field \"total\" is a decimal, expected a double"},
        {"{'field':'type','eq_field':'urll'}", "$[3].where.event.eq_field: unknown field \"urll\""},
        {"{'some':'item','where':{}}",
         "$[3].where.event.some: unknown element \"item\", expected items; did you mean \"items\"?"},
        {"{'some':'items'}", "$[3].where.event.where: missing, expected a condition about an element"},
        {"{'some':'items','where':{},'count':1}", "$[3].where.event.count: unknown key"},
        {"{'where':{}}", "$[3].where.event.where: unknown key \"where\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char where[1024];
        (void)snprintf(where, sizeof where, "{'event':%s}", bad[i].text);
        must_fail(with_where(where), where, bad[i].expected);
    }
}

/* Words from outside that are longer than a message: cut, never lost or overrun. */
static void long_names(void **state) {
    (void)state;
    struct rc_buf text;
    rc_buf_init(&text, 1 << 20);
    (void)rc_buf_add_str(&text, "[{" WEB_KEYS ",'fields':{'");
    for (int i = 0; i < 3000; i++)
        (void)rc_buf_add_byte(&text, 'x');
    (void)rc_buf_add_str(&text, "':{'path':'x','type':'long'}}},{'kind':'segment','id':'s','dataset':'web','where':"
                                "{'event':{'field':'y','eq':1}}}]");
    must_fail(try_build(text.data), "a long field",
              "$[1].where.event.field: unknown field \"y\", expected one of _dataset, _namespace, _hour, _weekday, …");
    *strstr(text.data, "xxx") = '-';
    must_fail(try_build(text.data), "a long bad field", "-xxxxxxxx");
    rc_buf_deinit(&text);
}

static void sequences(void **state) {
    (void)state;
    struct rc_catalog *catalog = good_where(
        "{'sequence':[{'none':{},'within':'1h'},{'session':{'event':{}},'closed':true},{'none':{'field':'type','eq':'x'"
        "}},"
        "{'each':[{},{'field':'type','eq':'y'}],'within':'1d','after':'1h'},{'none':{},'within':'2h'}],'span':'3d'}");
    const struct rc_cond *c = catalog->segments[1].where;
    assert_int_equal(c->n_steps, 5);
    assert_int_equal(c->span_ms, 3 * DAY);
    assert_int_equal(c->steps[0].kind, RC_STEP_NONE);
    assert_int_equal(c->steps[0].within_ms, HOUR);
    assert_true(c->steps[1].closed);
    assert_string_equal(c->steps[1].session->path, "where.sequence[1].session");
    assert_int_equal(c->steps[2].within_ms, RC_NO_DURATION);
    assert_int_equal(c->steps[3].n_preds, 2);
    assert_int_equal(c->steps[3].after_ms, HOUR);
    rc_catalog_free(catalog);
    rc_catalog_free(good_where("{'sequence':[{'event':{}}],'same':'items.sku'}"));
    static const struct bad bad[] = {
        {"{'sequence':{}}", "$[3].where.sequence: found an object, expected an array of steps"},
        {"{'sequence':[]}", "$[3].where.sequence: has no step that matches something"},
        {"{'sequence':[{'none':{}}]}", "$[3].where.sequence: has no step that matches something"},
        {"{'sequence':[{'none':{}},{'none':{}},{'event':{}}]}", "$[3].where.sequence[1]: two absences in a row"},
        {"{'sequence':[{'event':{},'within':'1h'}]}",
         "$[3].where.sequence[0].within: the first step that matches something has no step before"},
        {"{'sequence':[{'none':{}},{'event':{},'after':'1h'}]}", "$[3].where.sequence[1].after: the first step"},
        {"{'sequence':[{'event':{}},{'none':{},'within':'1h'},{'event':{}}]}",
         "$[3].where.sequence[1].within: an absence between two steps"},
        {"{'sequence':[{'event':{}},{'none':{},'after':'1h'}]}",
         "$[3].where.sequence[1].after: an absence takes no \"after\""},
        {"{'sequence':[{'event':{}},{'each':[]}]}",
         "$[3].where.sequence[1].each: found an empty array, expected at least one"},
        {"{'sequence':[{'event':{},'each':[{}]}]}", "$[3].where.sequence[0]: found both \"event\" and \"each\""},
        {"{'sequence':[{'event':{}},{'within':'1h'}]}", "$[3].where.sequence[1]: says no step"},
        {"{'sequence':[{'evnt':{}}]}",
         "$[3].where.sequence[0].evnt: unknown key \"evnt\", expected one of event, each, session, none"},
        {"{'sequence':['x']}", "$[3].where.sequence[0]: found \"x\", expected a step"},
        {"{'sequence':[{'event':{}},{'event':{},'closed':true}]}",
         "$[3].where.sequence[1].closed: unknown key \"closed\""},
        {"{'sequence':[{'event':{}},{'event':{},'within':'x'}]}",
         "$[3].where.sequence[1].within: found \"x\", expected a duration"},
        {"{'sequence':[{'event':{}}],'span':7}", "$[3].where.span: found 7, expected a duration"},
        {"{'sequence':[{'session':{'event':{}}}],'same':'url'}",
         "$[3].where.sequence[0].session: a session step together with \"same\""},
        {"{'session':{'sequence':[{'session':{'event':{}}}]}}",
         "$[3].where.session.sequence[0].session: a session step inside a session"},
        {"{'sequence':[{'session':{'session':{'event':{}}}}]}",
         "$[3].where.sequence[0].session.session: a session inside a session"},
        {"{'sequence':[{'event':{}}],'count':{'ge':1}}", "$[3].where.count: unknown key \"count\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        must_fail(with_where(bad[i].text), bad[i].text, bad[i].expected);
}

static void cycles(void **state) {
    (void)state;
    must_fail(
        try_build("[" WEB ",{'kind':'segment','id':'a','dataset':'web','where':{'not':{'segment':'b'}}},"
                  "{'kind':'segment','id':'b','dataset':'web','where':{'or':[{'event':{}},{'segment':'c'}]}},"
                  "{'kind':'segment','id':'c','dataset':'web','where':{'sequence':[{'session':{'segment':'b'}}]}}]"),
        "cycle", "defs.json: $[3].where.sequence[0].session.segment: segment \"b\" depends on itself: b → c → b");
    /* two ways to one segment are no cycle, and a reference may name a later one */
    rc_catalog_free(
        build("[" WEB ",{'kind':'segment','id':'a','dataset':'web','where':{'and':[{'segment':'b'},{'segment':'c'}]}},"
              "{'kind':'segment','id':'b','dataset':'web','where':{'segment':'c'}},"
              "{'kind':'segment','id':'c','dataset':'web','where':{'event':{}}}]"));
}

static void limits(void **state) {
    (void)state;
    struct rc_buf text;
    rc_buf_init(&text, 1 << 24);
    for (int n = 31; n <= 32; n++) { /* n nots and an event below */
        rc_buf_reset(&text);
        for (int i = 0; i < n; i++)
            (void)rc_buf_add_str(&text, "{'not':");
        (void)rc_buf_add_str(&text, "{'event':{}}");
        for (int i = 0; i < n; i++)
            (void)rc_buf_add_str(&text, "}");
        if (n == 31)
            rc_catalog_free(good_where(text.data));
        else
            must_fail(with_where(text.data), text.data, "nested deeper than 32 conditions");
    }
    for (int n = 499; n <= 500; n++) { /* one or, n events with one test each */
        rc_buf_reset(&text);
        (void)rc_buf_add_str(&text, "{'or':[");
        for (int i = 0; i < n; i++)
            (void)rc_buf_printf(&text, "%s{'event':{'field':'type','eq':'t%d'}}", i ? "," : "", i);
        (void)rc_buf_add_str(&text, "]}");
        if (n == 499)
            rc_catalog_free(good_where(text.data));
        else
            must_fail(with_where(text.data), "500 events", "more than 1000 nodes");
    }
    for (int n = 10000; n <= 10001; n++) {
        rc_buf_reset(&text);
        (void)rc_buf_add_str(&text, "[" WEB);
        for (int i = 0; i < n; i++)
            (void)rc_buf_printf(&text, ",{'kind':'segment','id':'s%d','dataset':'web','where':{'%s':%s%d%s}}", i,
                                i ? "segment" : "and", i ? "'s" : "[] ,'window':'", i ? i - 1 : 1, i ? "'" : "d'");
        (void)rc_buf_add_str(&text, "]");
        if (n == 10000)
            rc_catalog_free(build(text.data));
        else
            must_fail(try_build(text.data), "10,001 segments",
                      "segment \"s10000\" is one too many, expected at most 10000 segments");
    }
    for (int n = 20; n <= 21; n++) {
        rc_buf_reset(&text);
        (void)rc_buf_add_str(&text, "[" WEB);
        for (int i = 0; i < n; i++)
            (void)rc_buf_printf(&text, ",{'kind':'segment','id':'s%d','dataset':'web','where':{'event':{}}}", i);
        (void)rc_buf_add_str(&text, ",{'kind':'audience','id':'a','where':{'or':[{'segment':'s0'}");
        for (int i = 0; i < n; i++)
            (void)rc_buf_printf(&text, ",{'segment':'s%d'}", i);
        (void)rc_buf_add_str(&text, "]}}]");
        if (n == 20)
            rc_catalog_free(build(text.data));
        else
            must_fail(try_build(text.data), "21 segments",
                      "$[22].where.or[21].segment: more than 20 segments in one audience");
    }
    /* what is nested without end is refused before it can exhaust the stack */
    rc_buf_reset(&text);
    for (int i = 0; i < 100000; i++)
        (void)rc_buf_add_str(&text, "[");
    must_fail(try_build(text.data), "100,000 brackets", "not JSON: maximum parsing depth reached");
    rc_buf_deinit(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),        cmocka_unit_test(dataset),         cmocka_unit_test(bad_datasets),
        cmocka_unit_test(schema_files), cmocka_unit_test(segment),         cmocka_unit_test(windows),
        cmocka_unit_test(conditions),   cmocka_unit_test(tests_on_fields), cmocka_unit_test(long_names),
        cmocka_unit_test(sequences),    cmocka_unit_test(cycles),          cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
