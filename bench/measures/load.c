/* The load: the events of producers/synthetic.h on a topic, by a bare producer in a child. Kafka's timestamps are the events' own (but for late ones), as if the
 * topic had been filled while they happened; so a reader that catches up goes through the same clocks again. */
#include <stdlib.h>

#include "base/clock.h"
#include "bench/measures/clients.h"
#include "codec/person_key.h"
#include "producers/synthetic.h"

struct making {
    struct rc_synthetic *synthetic;
    int64_t first_ms;
};

static int64_t make_synthetic(void *ctx, uint64_t i, struct rc_buf *key, struct rc_buf *value) {
    const struct making *making = ctx;
    (void)rc_synthetic_next(making->synthetic, making->first_ms + (int64_t)i, key, value);
    return making->first_ms + (int64_t)i;
}

static rc_status fill(const void *ctx, void *result, struct rc_error *err) {
    (void)result;
    const struct load *load = ctx;
    struct rc_synthetic_options options = {.seed = load->seed,
                                           .persons = load->persons,
                                           .late = 0.05,
                                           .twice = load->in_turn ? 0 : 0.01,
                                           .in_turn = load->in_turn};
    struct making making = {.synthetic = rc_synthetic_new(&options),
                            .first_ms = rc_clock_wall_ms() - (int64_t)load->events};
    rc_status status = rc_bench_fill(load->bootstrap, load->topic, load->events, make_synthetic, &making, err);
    rc_synthetic_free(making.synthetic);
    return status;
}

rc_status rc_bench_load(const struct bench *bench, const char *topic, uint64_t events, uint64_t persons, bool in_turn,
                        struct rc_error *err) {
    struct load load = {.bootstrap = bench->bootstrap,
                        .topic = topic,
                        .events = events,
                        .persons = persons,
                        .seed = 1,
                        .in_turn = in_turn};
    rc_bench_say(bench, "making %llu events of %llu persons", (unsigned long long)events, (unsigned long long)persons);
    if (rc_bench_topic_new(bench, topic, err) != RC_OK)
        return RC_FAIL;
    return rc_bench_do(bench, fill, &load, NULL, 0, NULL, err);
}

static int64_t make_simple(void *ctx, uint64_t i, struct rc_buf *key, struct rc_buf *value) {
    (void)ctx;
    rc_bench_simple_event(i, rc_clock_wall_ms(), key, value);
    return 0;
}

static rc_status fill_simply(const void *ctx, void *result, struct rc_error *err) {
    (void)result;
    const struct load *load = ctx;
    return rc_bench_fill(load->bootstrap, load->topic, load->persons, make_simple, NULL, err);
}

rc_status rc_bench_simple_load(const struct bench *bench, const char *topic, uint64_t persons, struct rc_error *err) {
    struct load load = {.bootstrap = bench->bootstrap, .topic = topic, .persons = persons};
    if (rc_bench_topic_new(bench, topic, err) != RC_OK)
        return RC_FAIL;
    return rc_bench_do(bench, fill_simply, &load, NULL, 0, NULL, err);
}

rc_status rc_bench_shared_load(struct bench *bench, struct rc_error *err) {
    if (bench->loaded)
        return RC_OK;
    if (rc_bench_load(bench, RC_BENCH_EVENTS, bench->options.events, bench->options.persons, false, err) != RC_OK)
        return RC_FAIL;
    bench->loaded = true;
    return RC_OK;
}
