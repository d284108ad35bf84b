#include "segment/decoders.h"

#include <stdlib.h>

#include "base/alloc.h"

static bool judge_where(void *ctx, const struct rc_event *event) {
    return rc_plan_dataset_where(ctx, event);
}

rc_status rc_plan_decoders_new(const struct rc_plan *plan, const struct rc_catalog *catalog,
                               const struct rc_decoder_options *like, struct rc_decoder ***out, struct rc_error *err) {
    struct rc_decoder **decoders = rc_calloc(catalog->n_datasets + 1, sizeof *decoders);
    for (uint32_t d = 0; d < catalog->n_datasets; d++) {
        const struct rc_dataset *dataset = &catalog->datasets[d];
        struct rc_decoder_options options = *like;
        options.dataset = d;
        options.where_fields = rc_plan_dataset_where_fields(plan, d);
        options.where = options.where_fields ? judge_where : NULL;
        options.where_ctx = (void *)(uintptr_t)plan;
        rc_status status = RC_OK;
        if (dataset->framing == RC_FRAMING_CONFLUENT && !options.registry && !options.as_json)
            status = rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_CONFIG,
                                  "dataset %s has framing confluent, but registry.url is not set", dataset->id);
        else if (rc_decoder_new(dataset, &options, &decoders[d], err) != RC_OK)
            status = rc_error_prefix(err, "dataset %s", dataset->id);
        if (status != RC_OK) {
            rc_plan_decoders_free(decoders, catalog);
            return RC_FAIL;
        }
    }
    *out = decoders;
    return RC_OK;
}

void rc_plan_decoders_free(struct rc_decoder **decoders, const struct rc_catalog *catalog) {
    for (size_t d = 0; decoders && d < catalog->n_datasets; d++)
        rc_decoder_free(decoders[d]);
    free(decoders);
}
