/* The pure half: one event after the other from a seed. Sending is synthetic_run.c. */
#include "producers/synthetic.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "codec/person_key.h"

#define DEFAULT_PERSONS UINT64_C(1000000)
#define DEFAULT_LATE_MAX_MS INT64_C(3600000)
#define SKUS 1000

/* The types and countries of bench/definitions.py; weights in percent: a shop has more views than purchases. */
static const struct {
    const char *name;
    int weight;
} TYPES[] = {
    {"commerce.productViews", 30},
    {"web.webpagedetails.pageViews", 20},
    {"commerce.productListAdds", 10},
    {"commerce.checkouts", 4},
    {"commerce.purchases", 6},
    {"custom.type00", 2},
    {"custom.type01", 2},
    {"custom.type02", 2},
    {"custom.type03", 2},
    {"custom.type04", 2},
    {"custom.type05", 2},
    {"custom.type06", 2},
    {"custom.type07", 2},
    {"custom.type08", 2},
    {"custom.type09", 2},
    {"custom.type10", 2},
    {"custom.type11", 2},
    {"custom.type12", 2},
    {"custom.type13", 2},
    {"custom.type14", 2},
};
static const char *const COUNTRIES[] = {"SE", "NO", "DK", "FI", "DE", "FR", "ES", "IT", "PL", "NL",
                                        "BE", "AT", "CH", "GB", "IE", "PT", "US", "CA", "JP", "AU"};
static const char *const DEVICES[] = {"mobile", "desktop", "tablet"};

/* An event that comes again. */
struct repeat {
    uint64_t due; /* index of the event as which it comes */
    int64_t at_ms;
    char *bytes; /* key, then value; owned */
    size_t key_len, value_len;
};

struct rc_synthetic {
    struct rc_synthetic_options options;
    uint64_t random;
    uint64_t count;        /* events handed out */
    uint64_t turn, stride; /* with in_turn: the last person, and how far on the next one is */
    struct repeat
        queue[RC_SYNTHETIC_REPEAT_AFTER + 1]; /* ring: at most one joins an event, each leaves after that many */
    size_t head, waiting;
};

/* splitmix64 (Steele, Lea, Flood 2014): one addition and three multiplications, and every seed is a good one. */
static uint64_t random_next(struct rc_synthetic *s) {
    uint64_t z = (s->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* In [0, 1). */
static double random_unit(struct rc_synthetic *s) {
    return (double)(random_next(s) >> 11) * 0x1p-53;
}

static uint64_t random_below(struct rc_synthetic *s, uint64_t n) {
    return (uint64_t)(((unsigned __int128)random_next(s) * n) >> 64);
}

static uint64_t common_divisor(uint64_t a, uint64_t b) {
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

struct rc_synthetic *rc_synthetic_new(const struct rc_synthetic_options *options) {
    struct rc_synthetic *s = rc_calloc(1, sizeof *s);
    s->options = *options;
    if (s->options.persons == 0)
        s->options.persons = DEFAULT_PERSONS;
    if (s->options.late_max_ms <= 0)
        s->options.late_max_ms = DEFAULT_LATE_MAX_MS;
    s->random = options->seed;
    /* A stride without a common divisor goes through all of them; that of the golden ratio puts neighbours far apart. */
    s->stride = (uint64_t)((double)s->options.persons * 0.6180339887498949) | 1;
    while (common_divisor(s->stride, s->options.persons) != 1)
        s->stride += 2;
    return s;
}

void rc_synthetic_free(struct rc_synthetic *s) {
    if (!s)
        return;
    for (; s->waiting; s->waiting--) {
        free(s->queue[s->head].bytes);
        s->head = (s->head + 1) % (RC_SYNTHETIC_REPEAT_AFTER + 1);
    }
    free(s);
}

static size_t pick_type(struct rc_synthetic *s) {
    int at = (int)random_below(s, 100);
    size_t i = 0;
    while (at >= TYPES[i].weight)
        at -= TYPES[i++].weight;
    return i;
}

static void add_text(struct rc_buf *out, const char *text, size_t len) {
    rc_buf_add_zigzag(out, (int64_t)len);
    rc_buf_add(out, text, len);
}

/* A ["null", string]; NULL: null. */
static void add_optional(struct rc_buf *out, const char *text, size_t len) {
    rc_buf_add_zigzag(out, text ? 1 : 0);
    if (text)
        add_text(out, text, len);
}

static int64_t make_event(struct rc_synthetic *s, int64_t at_ms, struct rc_buf *key, struct rc_buf *value) {
    double u = random_unit(s);
    uint64_t person = (uint64_t)((double)s->options.persons * u * u * u);
    if (s->options.in_turn)
        person = s->turn = (s->turn + s->stride) % s->options.persons;
    if (random_unit(s) < s->options.late)
        at_ms -= 1 + (int64_t)random_below(s, (uint64_t)s->options.late_max_ms);
    size_t type = pick_type(s);
    bool commerce = type == 0 || (type >= 2 && type <= 4);
    bool priced = type == 4 || type == 0;

    char id[24], event_id[24], sku[16], url[48];
    int id_len = snprintf(id, sizeof id, "p%07" PRIu64, person);
    /* A permutation of the index, so that ids are unique and do not grow in byte order. */
    int event_id_len =
        snprintf(event_id, sizeof event_id, "%016" PRIx64, s->count * UINT64_C(0x9e3779b97f4a7c15) + s->options.seed);
    int sku_len = snprintf(sku, sizeof sku, "sku-%04u", (unsigned)random_below(s, SKUS));
    int url_len = snprintf(url, sizeof url, "/shop/%s%s", commerce ? "product/" : "page/", sku);

    rc_buf_reset(key);
    rc_buf_reset(value);
    (void)!rc_person_key_add(key, rc_span_str("ecid"), rc_span_of(id, (size_t)id_len));

    add_text(value, event_id, (size_t)event_id_len);
    rc_buf_add_zigzag(value, at_ms);
    add_text(value, "ecid", 4);
    add_text(value, id, (size_t)id_len);
    add_text(value, TYPES[type].name, strlen(TYPES[type].name));
    add_optional(value, random_below(s, 10) ? url : NULL, (size_t)url_len);
    add_optional(value, COUNTRIES[random_below(s, sizeof COUNTRIES / sizeof *COUNTRIES)], 2);
    const char *device = DEVICES[random_below(s, sizeof DEVICES / sizeof *DEVICES)];
    add_optional(value, device, strlen(device));
    add_optional(value, commerce ? sku : NULL, (size_t)sku_len);
    rc_buf_add_zigzag(value, commerce ? 1 : 0);
    if (commerce)
        rc_buf_add_zigzag(value, 1 + (int64_t)random_below(s, 3));
    rc_buf_add_zigzag(value, priced ? 1 : 0);
    if (priced) {
        double price = (double)(100 + random_below(s, 19900)) / 100;
        uint8_t bytes[sizeof price]; /* Avro's double is little-endian */
        uint64_t bits;
        memcpy(&bits, &price, sizeof bits);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(bits >> (8 * i));
        rc_buf_add(value, bytes, sizeof bytes);
    }
    return at_ms;
}

int64_t rc_synthetic_next(struct rc_synthetic *s, int64_t at_ms, struct rc_buf *key, struct rc_buf *value) {
    uint64_t index = s->count++;
    if (s->waiting && s->queue[s->head].due <= index) {
        struct repeat *repeat = &s->queue[s->head];
        rc_buf_reset(key);
        rc_buf_reset(value);
        rc_buf_add(key, repeat->bytes, repeat->key_len);
        rc_buf_add(value, repeat->bytes + repeat->key_len, repeat->value_len);
        at_ms = repeat->at_ms;
        free(repeat->bytes);
        s->head = (s->head + 1) % (RC_SYNTHETIC_REPEAT_AFTER + 1);
        s->waiting--;
        return at_ms;
    }
    at_ms = make_event(s, at_ms, key, value);
    if (random_unit(s) < s->options.twice) {
        struct repeat *repeat = &s->queue[(s->head + s->waiting++) % (RC_SYNTHETIC_REPEAT_AFTER + 1)];
        *repeat = (struct repeat){
            .due = index + RC_SYNTHETIC_REPEAT_AFTER, .at_ms = at_ms, .key_len = key->len, .value_len = value->len};
        repeat->bytes = rc_alloc(key->len + value->len);
        memcpy(repeat->bytes, key->data, key->len);
        memcpy(repeat->bytes + key->len, value->data, value->len);
    }
    return at_ms;
}
