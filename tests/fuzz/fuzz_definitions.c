/* Any bytes as a file of definitions: they are refused with a message, or they build a catalog that stands every question.
 * Round trip: what was taken goes through the form in which it stands on the definitions topic, and builds again, to the same text. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "segment/definition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static rc_status read_schema(void *ctx, const char *file, const char *path, char **out, struct rc_error *err) {
    (void)ctx;
    if (path[0] == '!')
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "%s: no such file beside %s", path, file);
    *out = rc_strdup("{\"type\": \"record\", \"name\": \"e\", \"fields\": []}");
    return RC_OK;
}

static void must(int truth) {
    if (!truth)
        abort();
}

static void must_tell(const struct rc_error *err) {
    must(err->class == RC_CLASS_POISON && err->message[0] && !strchr(err->message, '\n'));
}

static void ask(const struct rc_catalog *catalog) {
    struct rc_error err;
    must(rc_catalog_compatible(catalog, catalog, &err) == RC_OK);
    for (size_t i = 0; i < catalog->n_definitions; i++) {
        const struct rc_definition *d = &catalog->definitions[i];
        must(rc_catalog_definition(catalog, d->kind, d->id) == d);
        must(rc_catalog_referrers(catalog, d->kind, d->id, NULL, NULL) < catalog->n_definitions);
        must(rc_definition_same(d->json, d->json));
    }
}

static void round_trip(const struct rc_catalog *catalog) {
    struct rc_catalog_builder again;
    struct rc_catalog *copy = NULL;
    struct rc_error err;
    rc_catalog_builder_init(&again);
    for (size_t i = 0; i < catalog->n_definitions; i++)
        must(rc_catalog_builder_add_applied(&again, rc_span_str(catalog->definitions[i].json), 2, 3, "fuzz", &err) ==
             RC_OK);
    must(rc_catalog_build(&again, &copy, &err) == RC_OK);
    must(copy->n_definitions == catalog->n_definitions && copy->n_segments == catalog->n_segments);
    for (size_t i = 0; i < copy->n_definitions; i++)
        must(strcmp(copy->definitions[i].json, catalog->definitions[i].json) == 0);
    rc_catalog_free(copy);
    rc_catalog_builder_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct rc_catalog_builder builder;
    struct rc_catalog *catalog = NULL;
    struct rc_error err = {0};
    rc_catalog_builder_init(&builder);
    if (rc_catalog_builder_add(&builder, "fuzz.json", rc_span_of(data, size), read_schema, NULL, &err) != RC_OK)
        must_tell(&err);
    else if (rc_catalog_build(&builder, &catalog, &err) != RC_OK)
        must_tell(&err);
    else {
        ask(catalog);
        round_trip(catalog);
    }
    rc_catalog_free(catalog);
    rc_catalog_builder_deinit(&builder);
    return 0;
}
