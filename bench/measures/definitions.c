/* The definitions of the load: the same as bench/definitions.py prints (a test compares them), so that the program needs no Python to measure itself. */
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "bench/measures/internal.h"

#define HOUR_MS INT64_C(3600000)
#define MINUTE_MS INT64_C(60000)

static const char *const TYPES[] = {
    "commerce.productViews",
    "web.webpagedetails.pageViews",
    "commerce.productListAdds",
    "commerce.checkouts",
    "commerce.purchases",
    "custom.type00",
    "custom.type01",
    "custom.type02",
    "custom.type03",
    "custom.type04",
    "custom.type05",
    "custom.type06",
    "custom.type07",
    "custom.type08",
    "custom.type09",
    "custom.type10",
    "custom.type11",
    "custom.type12",
    "custom.type13",
    "custom.type14",
};
static const char *const COUNTRIES[] = {"SE", "NO", "DK", "FI", "DE", "FR", "ES", "IT", "PL", "NL",
                                        "BE", "AT", "CH", "GB", "IE", "PT", "US", "CA", "JP", "AU"};
static const struct {
    const char *text;
    int64_t ms;
} WINDOWS[] = {{"1h", HOUR_MS}, {"6h", 6 * HOUR_MS}, {"1d", 24 * HOUR_MS}, {"3d", 72 * HOUR_MS}, {"7d", 168 * HOUR_MS}},
  WITHIN[] = {{"30m", 30 * MINUTE_MS}, {"45m", 45 * MINUTE_MS}, {"50m", 50 * MINUTE_MS}};

const char rc_bench_event_schema[] =
    "{\"type\": \"record\", \"name\": \"Event\", \"namespace\": \"rollcall.bench\", \"fields\": [\n"
    "  {\"name\": \"eventId\", \"type\": \"string\"},\n"
    "  {\"name\": \"timestamp\", \"type\": {\"type\": \"long\", \"logicalType\": \"timestamp-millis\"}},\n"
    "  {\"name\": \"namespace\", \"type\": \"string\"},\n"
    "  {\"name\": \"personId\", \"type\": \"string\"},\n"
    "  {\"name\": \"eventType\", \"type\": \"string\"},\n"
    "  {\"name\": \"url\", \"type\": [\"null\", \"string\"], \"default\": null},\n"
    "  {\"name\": \"country\", \"type\": [\"null\", \"string\"], \"default\": null},\n"
    "  {\"name\": \"device\", \"type\": [\"null\", \"string\"], \"default\": null},\n"
    "  {\"name\": \"sku\", \"type\": [\"null\", \"string\"], \"default\": null},\n"
    "  {\"name\": \"quantity\", \"type\": [\"null\", \"int\"], \"default\": null},\n"
    "  {\"name\": \"price\", \"type\": [\"null\", \"double\"], \"default\": null}\n"
    "]}\n";

struct bench_segment rc_bench_segment(size_t i) {
    size_t k = i % 10, r = i / 10;
    struct bench_segment segment = {.window = WINDOWS[r % 5].text,
                                    .window_ms = WINDOWS[r % 5].ms,
                                    .country = k < 8 && r % 2 ? COUNTRIES[i * 7 % 20] : NULL};
    if (k < 4) {
        segment.condition = BENCH_COUNT;
        segment.type = TYPES[(k + r * 4) % 20];
        segment.at_least = (int)(1 + (k + r) % 5);
    } else if (k < 6) {
        segment.condition = BENCH_SUM;
        segment.type = "commerce.purchases";
        segment.at_least = (int)(50 * (1 + (r + k) % 8));
    } else if (k < 8) {
        segment.condition = BENCH_DISTINCT;
        segment.type = "commerce.productViews";
        segment.at_least = (int)(3 + (r + k) % 5);
    } else {
        segment.condition = BENCH_SEQUENCE;
        segment.type = "commerce.productListAdds";
        segment.within = WITHIN[r % 3].text;
        segment.within_ms = WITHIN[r % 3].ms;
    }
    return segment;
}

static void add_predicate(struct rc_buf *out, const struct bench_segment *segment) {
    if (segment->country)
        rc_buf_printf(out,
                      "{\"and\": [{\"field\": \"type\", \"eq\": \"%s\"}, {\"field\": \"country\", \"eq\": \"%s\"}]}",
                      segment->type, segment->country);
    else
        rc_buf_printf(out, "{\"field\": \"type\", \"eq\": \"%s\"}", segment->type);
}

static void add_segment(struct rc_buf *out, size_t i) {
    struct bench_segment segment = rc_bench_segment(i);
    rc_buf_printf(out, ",\n {\"kind\": \"segment\", \"id\": \"b%04zu\", \"dataset\": \"bench\", \"where\": {", i);
    switch (segment.condition) {
    case BENCH_COUNT:
        rc_buf_add_str(out, "\"event\": ");
        add_predicate(out, &segment);
        rc_buf_printf(out, ", \"count\": {\"ge\": %d}", segment.at_least);
        break;
    case BENCH_SUM:
    case BENCH_DISTINCT:
        rc_buf_add_str(out, segment.condition == BENCH_SUM ? "\"sum\": \"price\", \"where\": "
                                                           : "\"distinct\": \"sku\", \"where\": ");
        add_predicate(out, &segment);
        rc_buf_printf(out, ", \"is\": {\"ge\": %d}", segment.at_least);
        break;
    case BENCH_SEQUENCE:
        rc_buf_add_str(out, "\"sequence\": [{\"event\": ");
        add_predicate(out, &segment);
        rc_buf_printf(out, "}, {\"none\": {\"field\": \"type\", \"eq\": \"commerce.purchases\"}, \"within\": \"%s\"}]",
                      segment.within);
        break;
    }
    rc_buf_printf(out, ", \"window\": \"%s\"}}", segment.window);
}

static void add_dataset(struct rc_buf *out, const char *topic) {
    rc_buf_printf(
        out,
        "{\"kind\": \"dataset\", \"id\": \"bench\", \"topic\": \"%s\", \"format\": \"avro\", \"schema\": "
        "\"event.avsc\", \"framing\": \"plain\", \"person\": {\"namespace\": {\"path\": \"namespace\"}, \"id\": "
        "{\"path\": \"personId\"}}, \"timestamp\": {\"path\": \"timestamp\", \"unit\": \"ms\"}, \"event_id\": "
        "{\"path\": \"eventId\"}, \"keyed\": true,\n  \"fields\": {",
        topic);
    rc_buf_add_str(
        out,
        "\"type\": {\"path\": \"eventType\", \"type\": \"string\"}, \"country\": {\"path\": \"country\", \"type\": "
        "\"string\"}, \"device\": {\"path\": \"device\", \"type\": \"string\"}, \"sku\": {\"path\": \"sku\", "
        "\"type\": \"string\"}, \"quantity\": {\"path\": \"quantity\", \"type\": \"long\"}, \"price\": "
        "{\"path\": \"price\", \"type\": \"decimal\", \"min\": 0}}}");
}

void rc_bench_definitions(size_t n, const char *topic, struct rc_buf *out) {
    rc_buf_add_str(out, "[");
    add_dataset(out, topic);
    for (size_t i = 0; i < n; i++)
        add_segment(out, i);
    rc_buf_add_str(out, "]\n");
}

void rc_bench_simple_definitions(const char *topic, const char *window, struct rc_buf *out) {
    rc_buf_add_str(out, "[");
    add_dataset(out, topic);
    rc_buf_printf(
        out,
        ",\n {\"kind\": \"segment\", \"id\": \"seen\", \"dataset\": \"bench\", \"where\": {\"event\": {\"field\": "
        "\"type\", \"eq\": \"%s\"}, \"count\": {\"ge\": 1}, \"window\": \"%s\"}},\n {\"kind\": \"audience\", \"id\": "
        "\"seen\", \"where\": {\"segment\": \"seen\"}}]\n",
        TYPES[0], window);
}

static void often_definition(const char *id, const char *type, struct rc_buf *out) {
    rc_buf_printf(out,
                  "[{\"kind\": \"segment\", \"id\": \"%s\", \"dataset\": \"bench\", \"where\": {\"event\": {\"field\": "
                  "\"type\", \"eq\": \"%s\"}, \"count\": {\"ge\": %d}, \"window\": \"30d\"}}]\n",
                  id, type, BENCH_OFTEN_COUNT);
}

void rc_bench_often_definition(struct rc_buf *out) {
    often_definition(BENCH_OFTEN, TYPES[0], out);
}

void rc_bench_often_before_definition(struct rc_buf *out) {
    often_definition(BENCH_OFTEN_BEFORE, TYPES[1], out);
}

static bool take_text(struct rc_span *in, struct rc_span *text) {
    int64_t len;
    return rc_take_zigzag(in, &len) == RC_OK && len >= 0 && rc_take_bytes(in, (uint64_t)len, text) == RC_OK;
}

bool rc_bench_often_counts(struct rc_span value, uint64_t *event) {
    struct rc_span id, namespace, person, type;
    int64_t at_ms;
    if (!take_text(&value, &id) || rc_take_zigzag(&value, &at_ms) != RC_OK || !take_text(&value, &namespace) ||
        !take_text(&value, &person) || !take_text(&value, &type) || !rc_span_equal(type, rc_span_str(TYPES[0])))
        return false;
    *event = XXH3_64bits_withSeed(id.data, id.len, (uint64_t)at_ms) | 1;
    return true;
}

void rc_bench_simple_event(uint64_t person, int64_t at_ms, struct rc_buf *key, struct rc_buf *value) {
    char id[24], event_id[32];
    int id_len = snprintf(id, sizeof id, "p%07llu", (unsigned long long)person);
    int event_id_len = snprintf(event_id, sizeof event_id, "%016llx", (unsigned long long)person);
    rc_buf_reset(key);
    rc_buf_reset(value);
    rc_buf_printf(key, "ecid:%s", id);
    rc_buf_add_zigzag(value, event_id_len);
    rc_buf_add(value, event_id, (size_t)event_id_len);
    rc_buf_add_zigzag(value, at_ms);
    rc_buf_add_zigzag(value, 4);
    rc_buf_add_str(value, "ecid");
    rc_buf_add_zigzag(value, id_len);
    rc_buf_add(value, id, (size_t)id_len);
    rc_buf_add_zigzag(value, (int64_t)strlen(TYPES[0]));
    rc_buf_add_str(value, TYPES[0]);
    for (int null_fields = 0; null_fields < 6; null_fields++)
        rc_buf_add_zigzag(value, 0);
}
