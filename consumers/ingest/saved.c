/* What the local store holds of a lane: its persons, and one record of positions, clocks, epoch and marks. The same record, byte for byte
 * but for the mark in the changelog, stands in the changelog under the key `lane`. */
#include <jansson.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "consumers/ingest/internal.h"
#include "store/changelog.h"

json_t *rc_ingest_saved_json(const struct saved_lane *saved) {
    json_t *inputs = json_object();
    for (size_t i = 0; i < saved->n_inputs; i++)
        json_object_set_new(inputs, saved->inputs[i].topic,
                            json_pack("{s:I, s:I, s:I}", "position", (json_int_t)saved->inputs[i].position, "clock_ms",
                                      (json_int_t)saved->inputs[i].clock_ms, "greatest_ms",
                                      (json_int_t)saved->inputs[i].greatest_ms));
    return json_pack("{s:s, s:I, s:I, s:I, s:o, s:O*, s:O*}", "cluster", saved->cluster, "epoch",
                     (json_int_t)saved->epoch, "output_end", (json_int_t)saved->output_end, "definitions",
                     (json_int_t)saved->definitions, "inputs", inputs, "warming", saved->warming, "pass", saved->pass);
}

void rc_ingest_saved_put(struct rc_store_batch *batch, int32_t number, json_t *json, int64_t changelog) {
    json_object_set_new(json, "changelog", json_integer(changelog));
    char *text = json_dumps(json, JSON_COMPACT);
    rc_store_put(batch, RC_STORE_META, number, rc_span_str(RC_CHANGELOG_LANE_KEY), rc_span_str(text));
    free(text);
}

bool rc_ingest_saved_parse(struct rc_span text, struct saved_lane *out) {
    *out = (struct saved_lane){.changelog = -1};
    json_t *json = text.len ? json_loadb(text.data, text.len, 0, NULL) : NULL;
    const char *cluster = json_string_value(json_object_get(json, "cluster"));
    if (cluster) {
        const json_t *changelog = json_object_get(json, "changelog");
        out->found = true;
        out->cluster = rc_strdup(cluster);
        out->epoch = (uint32_t)json_integer_value(json_object_get(json, "epoch"));
        out->output_end = json_integer_value(json_object_get(json, "output_end"));
        out->definitions = json_integer_value(json_object_get(json, "definitions"));
        out->changelog = json_is_integer(changelog) ? json_integer_value(changelog) : -1;
        json_t *inputs = json_object_get(json, "inputs"), *one;
        out->inputs = rc_calloc(json_object_size(inputs) + 1, sizeof *out->inputs);
        const char *topic;
        json_object_foreach(inputs, topic, one) {
            out->inputs[out->n_inputs++] = (struct saved_input){
                .topic = rc_strdup(topic),
                .position = json_integer_value(json_object_get(one, "position")),
                .clock_ms = json_integer_value(json_object_get(one, "clock_ms")),
                .greatest_ms = json_integer_value(json_object_get(one, "greatest_ms")),
            };
        }
        out->warming = json_incref(json_object_get(json, "warming"));
        out->pass = json_incref(json_object_get(json, "pass"));
    }
    json_decref(json);
    return cluster != NULL;
}

rc_status rc_ingest_saved_load(struct ingest *ingest, int32_t number, struct saved_lane *out, struct rc_error *err) {
    struct rc_buf text;
    rc_buf_init(&text, (size_t)16 << 20);
    bool found;
    rc_status status =
        rc_store_get(ingest->store, RC_STORE_META, number, rc_span_str(RC_CHANGELOG_LANE_KEY), &text, &found, err);
    if (status == RC_OK)
        rc_ingest_saved_parse(found ? rc_buf_span(&text) : rc_span_of("", 0), out);
    rc_buf_deinit(&text);
    return status;
}

void rc_ingest_saved_deinit(struct saved_lane *saved) {
    for (size_t i = 0; i < saved->n_inputs; i++)
        free(saved->inputs[i].topic);
    free(saved->inputs);
    free(saved->cluster);
    json_decref(saved->warming);
    json_decref(saved->pass);
    *saved = (struct saved_lane){.changelog = -1};
}
