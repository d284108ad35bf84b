/* The load: the events of producers/synthetic.h on a topic, by a bare producer in a child. Kafka's timestamps are the events' own (but for late ones), as if the
 * topic had been filled while they happened; so a reader that catches up goes through the same clocks again. */
#include <stdlib.h>

#include "base/clock.h"
#include "bench/measures/clients.h"
#include "codec/person_key.h"
#include "producers/synthetic.h"

static rc_status fill(const void *ctx, void *result, struct rc_error *err) {
    (void)result;
    const struct load *load = ctx;
    struct rc_synthetic_options options = {.seed = load->seed,
                                           .persons = load->persons,
                                           .late = 0.05,
                                           .twice = load->in_turn ? 0 : 0.01,
                                           .in_turn = load->in_turn};
    rd_kafka_t *rk;
    if (rc_bench_writer(load->bootstrap, &rk, err) != RC_OK)
        return RC_FAIL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, load->topic, NULL);
    struct rc_synthetic *synthetic = rc_synthetic_new(&options);
    struct rc_buf key, value;
    rc_buf_init(&key, 1 << 12);
    rc_buf_init(&value, 1 << 12);
    int64_t first_ms = rc_clock_wall_ms() - (int64_t)load->events;
    rc_status status = RC_OK;
    for (uint64_t i = 0; status == RC_OK && i < load->events; i++) {
        int64_t at_ms = first_ms + (int64_t)i;
        (void)rc_synthetic_next(synthetic, at_ms, &key, &value);
        status = rc_bench_send(rk, topic, rc_person_key_partition(rc_buf_span(&key), BENCH_PARTITIONS),
                               rc_buf_span(&key), rc_buf_span(&value), at_ms, err);
        if (i % 1024 == 0)
            rd_kafka_poll(rk, 0);
    }
    if (status == RC_OK)
        status = rc_bench_flush(rk, err);
    rc_buf_deinit(&key);
    rc_buf_deinit(&value);
    rc_synthetic_free(synthetic);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(rk);
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

static rc_status fill_simply(const void *ctx, void *result, struct rc_error *err) {
    (void)result;
    const struct load *load = ctx;
    rd_kafka_t *rk;
    if (rc_bench_writer(load->bootstrap, &rk, err) != RC_OK)
        return RC_FAIL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, load->topic, NULL);
    struct rc_buf key, value;
    rc_buf_init(&key, 1 << 12);
    rc_buf_init(&value, 1 << 12);
    rc_status status = RC_OK;
    for (uint64_t i = 0; status == RC_OK && i < load->persons; i++) {
        rc_bench_simple_event(i, rc_clock_wall_ms(), &key, &value);
        status = rc_bench_send(rk, topic, rc_person_key_partition(rc_buf_span(&key), BENCH_PARTITIONS),
                               rc_buf_span(&key), rc_buf_span(&value), 0, err);
        if (i % 1024 == 0)
            rd_kafka_poll(rk, 0);
    }
    if (status == RC_OK)
        status = rc_bench_flush(rk, err);
    rc_buf_deinit(&key);
    rc_buf_deinit(&value);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(rk);
    return status;
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
