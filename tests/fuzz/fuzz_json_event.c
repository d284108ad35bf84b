/* Any bytes as a JSON record of a dataset with one of everything: no crash, the same answer twice, and an accepted event keeps what event.h
 * promises. */
#include "tests/fuzz/event_invariants.h"

static const char dataset_text[] =
    "{\"person\": {\"namespace\": {\"first_of\": [{\"path\": \"ns\"}, {\"kafka\": {\"header\": \"h\"}}]},"
    " \"id\": {\"first_of\": [{\"path\": \"id\"}, {\"path\": \"a.id\"}]}},"
    " \"timestamp\": {\"path\": \"ts\", \"unit\": \"us\"}, \"event_id\": {\"path\": \"eid\"},"
    " \"fields\": {\"s\": {\"path\": \"s\", \"type\": \"string\"}, \"l\": {\"path\": \"l\", \"type\": \"long\", "
    "\"min\": 1},"
    "  \"b\": {\"path\": \"b\", \"type\": \"boolean\"}, \"d\": {\"path\": \"d\", \"type\": \"double\", \"on_bad\": "
    "\"no_value\"},"
    "  \"m\": {\"path\": \"a.m\", \"type\": \"decimal\"}, \"every\": {\"path\": \"items.s\", \"type\": \"string\", "
    "\"on_bad\": \"no_value\"}},"
    " \"elements\": {\"items\": {\"path\": \"items\", \"fields\": {\"s\": {\"path\": \"s\", \"type\": \"string\"},"
    "   \"d\": {\"path\": \"x.d\", \"type\": \"decimal\"}}},"
    "  \"far\": {\"path\": \"a.items\", \"fields\": {\"s\": {\"path\": \"s\", \"type\": \"long\", \"on_bad\": "
    "\"no_value\"}}}}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct rc_dataset *dataset;
    static struct rc_decoder *decoder;
    static const struct rc_header header = {{"h", 1}, {"head", 4}};
    if (!decoder) {
        dataset = test_dataset(dataset_text);
        const struct rc_decoder_options options = {.max_ahead_ms = INT64_C(3600000)};
        check(rc_decoder_new(dataset, &options, &decoder, NULL) == RC_OK);
    }
    const struct rc_record record = {
        .value = rc_span_of(data, size), .headers = &header, .n_headers = 1, .topic = "t", .timestamp_ms = 1000};
    check_record(decoder, dataset, &record);
    return 0;
}
