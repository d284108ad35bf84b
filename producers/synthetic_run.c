/* The impure half of the synthetic load: times from the clock, events onto a topic. */
#include "base/clock.h"
#include "producers/progress.h"
#include "producers/sender.h"
#include "producers/synthetic.h"

#define DEFAULT_STEP_US INT64_C(1000)
#define EVENT_MAX 4096

/* Without a rate the events' times are spread by `step_us` from `first_ms` on. */
static int64_t spread_time(const struct rc_synthetic_run_options *options, int64_t step_us, uint64_t i) {
    return options->first_ms + (int64_t)(i * (uint64_t)step_us / 1000);
}

rc_status rc_synthetic_run(const struct rc_synthetic_run_options *options, uint64_t *sent, struct rc_error *err) {
    struct rc_synthetic_run_options load = *options;
    int64_t step_us = load.step_us > 0 ? load.step_us : DEFAULT_STEP_US;
    if (load.first_ms == 0)
        load.first_ms = rc_clock_wall_ms() - (int64_t)(load.events * (uint64_t)step_us / 1000);
    struct rc_sender *sender;
    struct rc_sender_options sender_options = {.config = load.config, .topic = load.topic, .stop = load.stop};
    if (rc_sender_open(&sender_options, &sender, err) != RC_OK)
        return RC_FAIL;
    struct rc_synthetic *synthetic = rc_synthetic_new(&load.load);
    struct rc_progress progress;
    rc_progress_init(&progress, load.quiet, 0);
    struct rc_buf key, value;
    rc_buf_init(&key, EVENT_MAX);
    rc_buf_init(&value, EVENT_MAX);

    rc_status status = RC_OK;
    int64_t start_us = rc_clock_monotonic_ns() / 1000;
    for (uint64_t i = 0; status == RC_OK && i < load.events && !rc_stop_requested(load.stop); i++) {
        int64_t at_ms = load.rate > 0 ? 0 : spread_time(&load, step_us, i);
        if (load.rate > 0) {
            int64_t due_us = start_us + (int64_t)((double)i * 1e6 / load.rate);
            int64_t now_us = rc_clock_monotonic_ns() / 1000;
            if (now_us < due_us) {
                status = rc_sender_flush(sender, err);
                while (status == RC_OK && (now_us = rc_clock_monotonic_ns() / 1000) < due_us &&
                       !rc_stop_requested(load.stop))
                    (void)rc_stop_wait(load.stop, (due_us - now_us + 999) / 1000);
            }
            at_ms = rc_clock_wall_ms();
        }
        if (status != RC_OK)
            break;
        (void)rc_synthetic_next(synthetic, at_ms, &key, &value);
        if (rc_sender_wants_flush(sender))
            status = rc_sender_flush(sender, err);
        if (status == RC_OK)
            status = rc_sender_send(sender, rc_buf_span(&key), rc_buf_span(&value), err);
        if (rc_progress_due(&progress, i))
            rc_progress_show(&progress, "sending", i, load.events);
    }
    struct rc_error late;
    if (rc_sender_flush(sender, &late) != RC_OK && status == RC_OK) {
        *err = late;
        status = RC_FAIL;
    }
    *sent = rc_sender_acked(sender);
    rc_progress_end(&progress, *sent);
    rc_synthetic_free(synthetic);
    rc_buf_deinit(&key);
    rc_buf_deinit(&value);
    rc_sender_close(sender);
    return status;
}
