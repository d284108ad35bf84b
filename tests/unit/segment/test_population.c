/* Populations under a clock that the test holds: who is told what, when, and what is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "codec/decode.h"
#include "segment/explain.h"
#include "segment/population.h"

#define DATASET                                                                                                       \
    "{'kind':'dataset','id':'web','topic':'t','format':'json','person':{'namespace':'n','id':{'path':'p'}},'"         \
    "timestamp':{'path':'t'},"                                                                                        \
    "'event_id':{'path':'e'},'grace':'%s','fields':{'type':{'path':'type','type':'string'},'price':{'path':'price','" \
    "type':'decimal',"                                                                                                \
    "'min':0},'sku':{'path':'sku','type':'string'}}}"

/* A catalog with its plan, and a population that writes what it emits into `log`: "+s1@100t " realized since 100 by time, "-s1@100e&" exited by
 * an event with more to follow, "exists@100 " known since 100. */
struct world {
    struct rc_catalog *catalog;
    struct rc_plan *plan;
    struct rc_population *population;
    struct rc_decoder *decoder;
    struct rc_arena arena;
    struct rc_buf log;
};

static void on_change(void *ctx, const struct rc_change *change) {
    struct world *w = ctx;
    if (change->existence) {
        rc_buf_printf(&w->log, "exists@%lld%s", (long long)change->since_ms, change->more ? "&" : " ");
        return;
    }
    static const char causes[] = "etbsdcr";
    rc_buf_printf(&w->log, "%c%s@%lld%c%s", change->realized ? '+' : '-', w->catalog->segments[change->index].id,
                  (long long)change->since_ms, causes[change->cause], change->more ? "&" : " ");
}

static char *quoted(const char *text) {
    char *copy = rc_strdup(text);
    for (char *c = copy; *c; c++)
        if (*c == '\'')
            *c = '"';
    return copy;
}

static struct rc_catalog *catalog_of(const char *grace, const char *segments) {
    struct rc_catalog_builder builder;
    struct rc_catalog *catalog = NULL;
    struct rc_error err;
    char text[16384], *json;
    int n = snprintf(text, sizeof text, "[" DATASET "%s%s]", grace, *segments ? "," : "", segments);
    assert_in_range(n, 1, sizeof text - 1);
    json = quoted(text);
    rc_catalog_builder_init(&builder);
    if (rc_catalog_builder_add(&builder, "test", rc_span_str(json), NULL, NULL, &err) != RC_OK ||
        rc_catalog_build(&builder, &catalog, &err) != RC_OK)
        fail_msg("%s", err.message);
    rc_catalog_builder_deinit(&builder);
    free(json);
    return catalog;
}

static struct world *open_world(const char *grace, const char *segments) {
    struct world *w = rc_calloc(1, sizeof *w);
    struct rc_error err;
    w->catalog = catalog_of(grace, segments);
    assert_int_equal(rc_plan_compile(w->catalog, &w->plan, &err), RC_OK);
    w->population = rc_population_new(w->plan, on_change, w);
    assert_int_equal(
        rc_decoder_new(&w->catalog->datasets[0], &(struct rc_decoder_options){.max_ahead_ms = -1}, &w->decoder, &err),
        RC_OK);
    rc_arena_init(&w->arena, 4096);
    rc_buf_init(&w->log, 1 << 20);
    return w;
}

static void close_world(struct world *w) {
    rc_decoder_free(w->decoder);
    rc_population_free(w->population);
    rc_plan_free(w->plan);
    rc_catalog_free(w->catalog);
    rc_arena_deinit(&w->arena);
    rc_buf_deinit(&w->log);
    free(w);
}

static void advance(struct world *w, int64_t clock_ms) {
    rc_population_set_clock(w->population, 0, clock_ms);
    assert_false(rc_population_advance(w->population, 0));
}

/* An event with an id made of type and time. */
static bool happen_to(struct world *w, const char *person, int64_t at_ms, const char *type, const char *more) {
    char json[256];
    int n = snprintf(json, sizeof json, "{\"p\":\"%s\",\"t\":%lld,\"e\":\"%s%lld\",\"type\":\"%s\"%s}", person,
                     (long long)at_ms, type, (long long)at_ms, type, more);
    struct rc_record record = {.value = rc_span_of(json, (size_t)n), .timestamp_ms = RC_NO_TIMESTAMP};
    struct rc_event event;
    struct rc_error err;
    rc_arena_reset(&w->arena);
    if (rc_decode(w->decoder, &record, &w->arena, &event, &err) != RC_DECODED)
        fail_msg("%s", err.message);
    return rc_population_apply(w->population, &event);
}

static bool happen(struct world *w, int64_t at_ms, const char *type, const char *more) {
    return happen_to(w, "p", at_ms, type, more);
}

/* What was emitted since the last call. */
static void said(struct world *w, const char *expected) {
    assert_string_equal(w->log.data ? w->log.data : "", expected);
    rc_buf_reset(&w->log);
}

#define COUNT(id, type, k, window)                                                                 \
    "{'kind':'segment','id':'" id "','dataset':'web','where':{'event':{'field':'type','eq':'" type \
    "'},'count':{'ge':" #k "},'window':'" window "'}}"

/* ---- time ------------------------------------------------------------------------------------------------------------- */

static void leaves_at_the_millisecond(void **state) {
    (void)state;
    struct world *w = open_world("0s", COUNT("s", "view", 2, "100ms"));
    advance(w, 1000);
    happen(w, 1000, "view", "");
    happen(w, 1010, "view", ""); /* ahead of the clock: it counts nowhere yet */
    advance(w, 1010);
    said(w, "exists@1000 ");
    advance(w, 1011);
    said(w, "+s@1010e ");
    assert_int_equal(rc_population_next_due(w->population), 1101);
    advance(w, 1100);
    said(w, "");
    advance(w, 1101);
    said(w, "-s@1100t ");
    assert_int_equal(rc_population_next_due(w->population), INT64_MAX);
    close_world(w);
}

static void a_millisecond_is_seen_whole(void **state) {
    (void)state;
    struct world *w = open_world("0s", "{'kind':'segment','id':'s','dataset':'web','where':{'and':[{'event':{'field':'"
                                       "type','eq':'cart'},'window':'1s'},"
                                       "{'not':{'event':{'field':'type','eq':'buy'},'window':'1s'}}]}}");
    advance(w, 5000);
    happen(w, 5000, "cart", "");
    advance(w, 5000);
    happen(w, 5000, "buy", "");
    advance(w, 5001);
    said(w, "exists@5000 ");
    advance(w, 7000);
    said(w, "");
    close_world(w);
}

static void grace_holds_back_time_and_not_events(void **state) {
    (void)state;
    struct world *w = open_world("50ms", COUNT("s", "view", 1, "100ms"));
    advance(w, 1001);
    happen(w, 1000, "view", "");
    advance(w, 1001);
    said(w, "+s@1000e&exists@1000 ");
    advance(w, 1150);
    said(w, "");
    happen(w, 1099, "view", ""); /* late by the clock, in time for the grace: no exit at 1100 */
    advance(w, 1249);
    said(w, "");
    advance(w, 1250);
    said(w, "-s@1199t ");
    close_world(w);
}

static void own_events_prove_time(void **state) {
    (void)state;
    struct world *w = open_world("1h", COUNT("s", "view", 1, "100ms"));
    advance(w, 10000);
    happen(w, 1000, "view", "");
    advance(w, 10000);
    said(w, "+s@1000e&exists@1000 ");
    happen(w, 2000, "other", ""); /* a person's later event says that 1100 is over for them */
    advance(w, 10000);
    said(w, "-s@1100t ");
    close_world(w);
}

static void catching_up_tells_every_flip_in_order(void **state) {
    (void)state;
    struct world *w = open_world("0s", COUNT("s", "view", 1, "100ms"));
    for (int64_t t = 1000; t <= 1600; t += 300) {
        rc_population_set_clock(w->population, 0, t);
        happen(w, t, "view", "");
    }
    advance(w, 5000);
    said(w, "+s@1000e&exists@1000 -s@1100t +s@1300e -s@1400t +s@1600e -s@1700t ");
    close_world(w);
}

static void changes_of_one_instant_are_one_group(void **state) {
    (void)state;
    struct world *w = open_world(
        "0s", COUNT("a", "view", 1, "100ms") "," COUNT("b", "view", 1, "200ms") "," COUNT("c", "view", 1, "100ms"));
    advance(w, 1001);
    happen(w, 1000, "view", "");
    advance(w, 1001);
    said(w, "+a@1000e&+c@1000e&+b@1000e&exists@1000 ");
    advance(w, 9000);
    said(w, "-a@1100t&-c@1100t -b@1200t ");
    close_world(w);
}

/* ---- late events and duplicates ---------------------------------------------------------------------------------------- */

static void late_events_tell_the_net_difference(void **state) {
    (void)state;
    struct world *w = open_world("0s", COUNT("s", "view", 2, "1000ms"));
    advance(w, 2001);
    happen(w, 2000, "view", "");
    advance(w, 2500);
    said(w, "exists@2000 ");
    happen(w, 1500, "view", "");
    advance(w, 2500);
    said(w, "+s@2000e&exists@1500 "); /* since the later of the two, and known for longer than was thought */
    happen(w, 1500, "view", "");
    advance(w, 2501);
    said(w, "-s@2500t "); /* the duplicate has changed nothing */
    close_world(w);
}

static void duplicates_change_nothing(void **state) {
    (void)state;
    struct world *w = open_world("0s", COUNT("s", "view", 2, "1000ms"));
    advance(w, 3000);
    assert_true(happen(w, 2000, "view", ""));
    assert_false(happen(w, 2000, "view", ""));
    advance(w, 3000);
    said(w, "exists@2000 ");
    close_world(w);
}

/* ---- saving ------------------------------------------------------------------------------------------------------------ */

struct kept {
    char *key, *record;
    size_t key_len, len;
    int n;
};

static void keep(void *ctx, struct rc_span key, struct rc_span record) {
    struct kept *kept = ctx;
    free(kept->key);
    free(kept->record);
    *kept = (struct kept){rc_span_dup(key), rc_span_dup(record), key.len, record.len, kept->n + 1};
}

static void saved_state_goes_on(void **state) {
    (void)state;
    struct world *w = open_world("0s", COUNT("s", "view", 2, "100ms"));
    struct kept kept = {0};
    struct rc_error err;
    advance(w, 1000);
    happen(w, 1000, "view", "");
    happen(w, 1005, "view", ""); /* undecided when it is saved */
    rc_population_save(w->population, keep, &kept);
    assert_int_equal(kept.n, 1);
    rc_population_save(w->population, keep, &kept);
    assert_int_equal(kept.n, 1); /* clean */
    rc_population_free(w->population);
    w->population = rc_population_new(w->plan, on_change, w);
    assert_int_equal(
        rc_population_load(w->population, rc_span_of(kept.key, kept.key_len), rc_span_of(kept.record, kept.len), &err),
        RC_OK);
    assert_false(happen(w, 1000, "view", "")); /* told again after the restart */
    advance(w, 2000);
    said(w, "exists@1000 +s@1005t -s@1100t ");
    free(kept.key);
    free(kept.record);
    close_world(w);
}

static void damage_is_noticed(void **state) {
    (void)state;
    struct world *w = open_world("0s", COUNT("s", "view", 2, "100ms"));
    struct kept kept = {0};
    struct rc_error err;
    advance(w, 1000);
    happen(w, 1000, "view", "");
    rc_population_save(w->population, keep, &kept);
    struct rc_population *other = rc_population_new(w->plan, on_change, w);
    for (size_t i = 0; i < kept.len; i++) {
        kept.record[i] ^= 0x20;
        assert_int_equal(rc_population_load(other, rc_span_str("n:p"), rc_span_of(kept.record, kept.len), &err),
                         RC_FAIL);
        assert_int_equal(rc_population_load(other, rc_span_str("n:p"), rc_span_of(kept.record, i), &err), RC_FAIL);
        kept.record[i] ^= 0x20;
    }
    assert_int_equal(rc_population_persons(other), 0);
    assert_int_equal(rc_population_load(other, rc_span_str("n:p"), rc_span_of(kept.record, kept.len), &err), RC_OK);
    rc_population_free(other);
    free(kept.key);
    free(kept.record);
    close_world(w);
}

/* ---- definitions that change -------------------------------------------------------------------------------------------- */

static void replan_tells_only_the_difference(void **state) {
    (void)state;
    struct world *w = open_world("0s", COUNT("same", "view", 1, "10s") "," COUNT("edited", "view", 2, "10s") "," COUNT(
                                           "gone", "view", 1, "10s"));
    advance(w, 1001);
    happen(w, 1000, "view", "");
    advance(w, 1100);
    said(w, "+same@1000e&+gone@1000e&exists@1000 ");
    struct rc_catalog *catalog = catalog_of(
        "0s", COUNT("new", "view", 1, "10s") "," COUNT("edited", "view", 1, "10s") "," COUNT("same", "view", 1, "10s"));
    struct rc_plan *plan;
    struct rc_error err;
    assert_int_equal(rc_plan_compile(catalog, &plan, &err), RC_OK);
    rc_population_replan(w->population, plan);
    struct rc_plan *old_plan = w->plan;
    struct rc_catalog *old_catalog = w->catalog;
    w->plan = plan;
    w->catalog = catalog;
    assert_true(rc_population_uses(w->population, old_plan));
    assert_false(rc_population_settled(w->population));
    assert_false(rc_population_carry(w->population, 1));
    assert_true(rc_population_settled(w->population));
    assert_false(rc_population_uses(w->population, old_plan));
    rc_plan_free(old_plan);
    rc_catalog_free(old_catalog);
    said(w, "+new@1000d&+edited@1000d ");
    assert_int_equal(rc_population_members(w->population, 0), 1);
    assert_int_equal(rc_population_members(w->population, 2), 1);
    advance(w, 20000);
    said(w, "-new@11000t&-edited@11000t&-same@11000t ");
    close_world(w);
}

/* An event within a run that is joined into one interval just before it would have gone in beside it. */
static void late_event_within_a_session_is_in_its_interval(void **state) {
    (void)state;
    struct world *w =
        open_world("0s", "{'kind':'segment','id':'s','dataset':'web','where':{'session':{'event':{'field':"
                         "'type','eq':'view'}},'count':{'ge':1}}}");
    advance(w, 1001);
    happen(w, 1000, "view", "");
    advance(w, 1201);
    happen(w, 1200, "view", "");
    advance(w, 1300);
    happen(w, 1100, "view", "");
    advance(w, 1400);
    rc_population_replan(w->population, w->plan); /* reads each person's record */
    assert_false(rc_population_carry(w->population, 0));
    assert_int_equal(rc_population_members(w->population, 0), 1);
    close_world(w);
}

/* ---- too many events ----------------------------------------------------------------------------------------------------- */

static void quarantine_freezes_and_release_is_exact(void **state) {
    (void)state;
    struct world *w = open_world(
        "0s", COUNT("many", "view", 5, "10s") "," COUNT("twin", "view", 5, "10s") "," COUNT("buyer", "buy", 1, "10s"));
    rc_population_limit_events(w->population, 4);
    advance(w, 1000);
    for (int i = 0; i < 4; i++)
        happen(w, 1000 + i, "view", "");
    happen(w, 1004, "buy", "");
    advance(w, 1100);
    said(w, "exists@1000 +buyer@1004e ");
    assert_int_equal(rc_population_quarantined(w->population), 0);
    happen(w, 1101, "view", ""); /* the fifth */
    advance(w, 1200);
    said(w, "");
    assert_int_equal(rc_population_quarantined(w->population), 1);
    assert_false(happen(w, 1201, "view", ""));
    advance(w, 20000);
    said(w, ""); /* the buyer would have left */
    assert_int_equal(rc_population_members(w->population, 2), 1);

    /* It is saved so. */
    struct kept kept = {0};
    struct rc_error err;
    rc_population_save(w->population, keep, &kept);
    rc_population_free(w->population);
    w->population = rc_population_new(w->plan, on_change, w);
    assert_int_equal(
        rc_population_load(w->population, rc_span_of(kept.key, kept.key_len), rc_span_of(kept.record, kept.len), &err),
        RC_OK);
    assert_int_equal(rc_population_quarantined(w->population), 1);
    advance(w, 20001);
    assert_false(happen(w, 20000, "view", ""));
    said(w, "");

    /* Released with all events, old and present ones in any order, and a limit that has room for them. */
    assert_true(rc_population_hold(w->population, rc_span_str("n:p")));
    rc_population_limit_events(w->population, 10);
    happen(w, 20001, "view", "");
    for (int i = 0; i < 4; i++)
        happen(w, 1000 + i, "view", "");
    for (int i = 0; i < 4; i++)
        happen(w, 19000 + i, "view", "");
    advance(w, 20002);
    said(w, "");
    assert_true(rc_population_release(w->population, rc_span_str("n:p")));
    assert_false(rc_population_release(w->population, rc_span_str("n:p")));
    assert_int_equal(rc_population_quarantined(w->population), 0);
    advance(w, 20003);
    said(w, "+many@20001r&+twin@20001r&-buyer@20000r ");
    advance(w, 40000);
    said(w, "-many@29000t&-twin@29000t ");
    free(kept.key);
    free(kept.record);
    close_world(w);
}

/* ---- what is kept -------------------------------------------------------------------------------------------------------- */

static size_t record_bytes(struct world *w) {
    struct kept kept = {0};
    rc_population_save(w->population, keep, &kept);
    assert_int_equal(kept.n, 1);
    free(kept.key);
    free(kept.record);
    return kept.len;
}

/* Each condition that is said to be bounded keeps no more after 10,000 events than after 100. */
static void bounded_is_bounded(void **state) {
    (void)state;
    static const char *const conditions[] = {
        "{'event':{},'count':{'ge':3},'window':'7d'}",
        "{'event':{},'count':{'eq':3}}",
        "{'event':{},'count':{'ge':3}}", /* a member for ever: nobody need look at them again */
        "{'distinct':'sku','is':{'ge':4},'window':'7d'}",
        "{'latest':'sku','is':{'eq':'sku7'}}",
        "{'first':'sku','is':{'eq':'sku7'}}",
        "{'sum':'price','is':{'ge':50},'window':'7d'}",
        "{'max':'price','is':{'ge':5}}",
    };
    for (size_t i = 0; i < 2 * (sizeof conditions / sizeof *conditions); i++) {
        char segment[512], more[64];
        int ahead = i % 2; /* the clock follows each event, or is there before it */
        snprintf(segment, sizeof segment, "{'kind':'segment','id':'s','dataset':'web','where':%s}", conditions[i / 2]);
        struct world *w = open_world("0s", segment);
        size_t few = 0, few_resident = 0;
        advance(w, 999);
        for (int n = 0; n < 10000; n++) {
            snprintf(more, sizeof more, ",\"sku\":\"sku%d\",\"price\":%d.5", n % 10, 10 + n % 7);
            if (!ahead)
                advance(w, 1000 + n);
            happen(w, 1000 + n, "view", more);
            if (ahead)
                advance(w, 1000 + n);
            if (n == 99) {
                advance(w, 1001 + n);
                few = record_bytes(w);
                rc_population_measure(w->population);
                few_resident = rc_population_bytes(w->population);
            }
        }
        rc_population_measure(w->population);
        size_t resident = rc_population_bytes(w->population), many = record_bytes(w);
        if (resident > few_resident + 256)
            fail_msg("%s keeps more and more: %zu bytes, then %zu", conditions[i / 2], few_resident, resident);
        assert_in_range(few, 1, 1000);
        if (many > few + 64) /* one event that is not decided yet, and its timer */
            fail_msg("%s saves more and more: %zu bytes, then %zu", conditions[i / 2], few, many);
        close_world(w);
    }
}

static void class_is_told(void **state) {
    (void)state;
    static const struct {
        const char *condition;
        enum rc_state_class class;
    } cases[] = {
        {"{'event':{},'count':{'ge':3},'window':'7d'}", RC_STATE_BOUNDED},
        {"{'event':{},'count':{'ge':3}}", RC_STATE_BOUNDED},
        {"{'avg':'price','is':{'ge':3},'window':'7d'}", RC_STATE_PER_WINDOW},
        {"{'avg':'price','is':{'ge':3}}", RC_STATE_ALL_HISTORY},
        {"{'sequence':[{'event':{}},{'none':{},'within':'1h'}],'window':'1d'}", RC_STATE_PER_WINDOW},
        {"{'session':{'event':{}},'count':{'ge':2}}", RC_STATE_ALL_HISTORY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char segment[512];
        const char *reason;
        snprintf(segment, sizeof segment, "{'kind':'segment','id':'s','dataset':'web','where':%s}", cases[i].condition);
        struct world *w = open_world("0s", segment);
        assert_int_equal(rc_plan_state_class(w->plan, 0, &reason), cases[i].class);
        assert_true(strlen(reason) > 5);
        close_world(w);
    }
}

/* ---- explaining ----------------------------------------------------------------------------------------------------------- */

static void explains(void **state) {
    (void)state;
    struct world *w = open_world("0s", COUNT("s", "view", 2, "100ms"));
    struct rc_buf out;
    struct rc_explain_sources none = {0};
    rc_buf_init(&out, 1 << 20);
    advance(w, 1000);
    happen(w, 1000, "view", "");
    happen(w, 1005, "view", "");
    advance(w, 1006);
    assert_int_equal(rc_population_explain(w->population, rc_span_str("n:p"), 0, 1005, &none, &out), RC_OK);
    assert_non_null(strstr(out.data, "\"member\": true, \"since\": 1005, \"next\": 1100"));
    assert_non_null(strstr(out.data, "\"timestamp\": 1000"));
    rc_buf_reset(&out);
    assert_int_equal(rc_population_explain(w->population, rc_span_str("n:nobody"), 0, 1005, &none, &out), RC_OK);
    assert_non_null(strstr(out.data, "\"member\": false, \"next\": null"));
    assert_non_null(strstr(out.data, "\"exists\": false"));
    rc_buf_deinit(&out);
    close_world(w);
}

static void tell_interval(void *ctx, struct rc_span person_key, const bool *datasets, int64_t from, int64_t to,
                          struct rc_buf *out) {
    (void)ctx, (void)person_key, (void)datasets;
    rc_buf_printf(out, "[%lld, %lld]", (long long)from, (long long)to);
}

/* Sessions end after 30 minutes. Without the event of minute 890 those of 905 and 930 would make a session that begins in the window: the
 * explanation rests on it too, and not on the session of minute 800, which is over before the window. */
static void explains_that_a_session_began_before_the_window(void **state) {
    (void)state;
    const int64_t minute_ms = 60000;
    static const char *const conditions[] = {
        "{'session':{'event':{}},'count':{'ge':1}}",
        "{'sequence':[{'none':{'field':'type','eq':'buy'}},{'session':{'and':[]}}]}",
    };
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
        char segment[512];
        snprintf(segment, sizeof segment, "{'kind':'segment','id':'s','dataset':'web','window':'100m','where':%s}",
                 conditions[i]);
        struct world *w = open_world("0s", segment);
        struct rc_buf out;
        struct rc_explain_sources sources = {.events = tell_interval};
        rc_buf_init(&out, 1 << 20);
        happen(w, 800 * minute_ms, "view", "");
        happen(w, 890 * minute_ms, "view", "");
        happen(w, 905 * minute_ms, "view", "");
        happen(w, 930 * minute_ms, "buy", "");
        advance(w, 1000 * minute_ms + 1);
        assert_int_equal(rc_population_explain(w->population, rc_span_str("n:p"), 0, 1000 * minute_ms, &sources, &out),
                         RC_OK);
        assert_non_null(strstr(out.data, "\"member\": false"));
        assert_non_null(strstr(out.data, "\"sessions\": [{\"first\": 53400000, \"last\": 55800000, \"inScope\": false, "
                                         "\"over\": true, \"counts\": false, \"events\": [[53400000, 55800000]]}]"));
        rc_buf_deinit(&out);
        close_world(w);
    }
}

/* Whom an event touches is told before those who are due by time alone, also where the event was ahead of the clock. */
static void a_wave_waits_for_live_events(void **state) {
    (void)state;
    enum { WAVE = 20 };
    struct world *w = open_world("0s", COUNT("s", "view", 1, "1000ms"));
    char name[16];
    advance(w, 1000);
    for (int i = 0; i < WAVE; i++) {
        snprintf(name, sizeof name, "w%d", i);
        happen_to(w, name, 1000, "view", "");
    }
    advance(w, 1990);
    assert_int_equal(rc_population_members(w->population, 0), WAVE);
    rc_buf_reset(&w->log);
    happen_to(w, "live", 2030, "view", "");
    rc_population_set_clock(w->population, 0, 2031);
    assert_true(rc_population_advance_events(w->population));
    said(w, "+s@2030e&exists@2030 ");
    assert_true(rc_population_advance(w->population, 3));
    said(w, "-s@2000t -s@2000t -s@2000t ");
    happen_to(w, "late", 1950, "view", "");
    happen_to(w, "next", 2030, "view", "");
    assert_true(rc_population_advance(w->population, 1)); /* one of the wave, whatever else there is */
    said(w, "+s@1950e&exists@1950 +s@2030e&exists@2030 -s@2000t ");
    assert_false(rc_population_advance(w->population, 0));
    assert_int_equal(rc_population_members(w->population, 0), 3);
    assert_false(rc_population_advance_events(w->population));
    close_world(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_at_the_millisecond),
        cmocka_unit_test(a_millisecond_is_seen_whole),
        cmocka_unit_test(grace_holds_back_time_and_not_events),
        cmocka_unit_test(own_events_prove_time),
        cmocka_unit_test(catching_up_tells_every_flip_in_order),
        cmocka_unit_test(changes_of_one_instant_are_one_group),
        cmocka_unit_test(late_events_tell_the_net_difference),
        cmocka_unit_test(duplicates_change_nothing),
        cmocka_unit_test(saved_state_goes_on),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(replan_tells_only_the_difference),
        cmocka_unit_test(late_event_within_a_session_is_in_its_interval),
        cmocka_unit_test(quarantine_freezes_and_release_is_exact),
        cmocka_unit_test(bounded_is_bounded),
        cmocka_unit_test(class_is_told),
        cmocka_unit_test(a_wave_waits_for_live_events),
        cmocka_unit_test(explains),
        cmocka_unit_test(explains_that_a_session_began_before_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
