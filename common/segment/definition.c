/* Owns the way from JSON texts to a catalog: collecting definitions, and building them together in the order in which they need each other.
 * Must not know what the keys of any kind mean (definition_*.c). The mistake that it prevents: half a set of definitions taken up; either
 * all are sound, or nothing changes. */
#include "segment/definition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "segment/definition_parse.h"
#include "segment/definition_relations.h"

/* One definition as JSON, an inlined schema included. */
#define MAX_DEFINITION_BYTES (8 << 20)
#define MAX_FULL_NAME_BYTES 128

static void full_name(const char *kind, const char *id, char out[MAX_FULL_NAME_BYTES]) {
    (void)snprintf(out, MAX_FULL_NAME_BYTES, "%s/%s", kind, id);
}

/* ---- reading one ----------------------------------------------------------------------------------------------------- */

rc_status rc_def_common(const struct rc_def_node *node) {
    static const char *const texts[] = {"name", "description", "owner"};
    for (size_t i = 0; i < RC_DEF_COUNT(texts); i++) {
        struct rc_def_node text = rc_def_get(node, texts[i]);
        if (text.value && !json_is_string(text.value))
            return rc_def_unexpected(&text, "a text");
    }
    struct rc_def_node tags = rc_def_get(node, "tags");
    if (!tags.value || json_is_string(tags.value))
        return RC_OK;
    RC_DEF_TRY(rc_def_array(&tags, "a text, or an array of texts"));
    for (size_t i = 0; i < json_array_size(tags.value); i++) {
        struct rc_def_node tag = rc_def_at(&tags, i);
        if (!json_is_string(tag.value))
            return rc_def_unexpected(&tag, "a text");
    }
    return RC_OK;
}

/* Replaces a schema that names a file by what the file holds. */
static rc_status inline_schema(const struct rc_def_node *node, rc_read_schema_fn read_schema, void *ctx,
                               struct rc_definition *out) {
    struct rc_def_node schema = rc_def_get(node, "schema");
    const char *path;
    char *text = NULL;
    if (!json_is_string(schema.value))
        return RC_OK;
    RC_DEF_TRY(rc_def_text(&schema, "the name of a schema's file", &path));
    if (!read_schema)
        return rc_def_unexpected(&schema, "an Avro schema as an object or array (a file's name works in a file only)");
    struct rc_error why = {0};
    if (read_schema(ctx, node->document->file, path, &text, &why) != RC_OK)
        return rc_def_fail(&schema, "%s", why.message);
    json_t *value = rc_def_parse(path, rc_span_str(text), &why);
    free(text);
    if (!value)
        return rc_def_fail(&schema, "%s", why.message);
    out->schema_file = rc_strdup(path);
    (void)json_object_set_new(node->value, "schema", value);
    return RC_OK;
}

/* What must be known of a definition before it can stand beside others: kind, id, and itself as one line. */
static rc_status read_definition(const struct rc_def_node *node, rc_read_schema_fn read_schema, void *ctx,
                                 struct rc_definition *out) {
    struct rc_def_node kind = rc_def_get(node, "kind"), id = rc_def_get(node, "id");
    size_t index;
    const char *text;
    RC_DEF_TRY(rc_def_object(node, "a definition: an object with kind and id"));
    RC_DEF_TRY(rc_def_choice(&kind, "kind", rc_kind_names, RC_KINDS, &index));
    RC_DEF_TRY(rc_def_id(&id, &text));
    if (index == RC_KIND_DATASET)
        RC_DEF_TRY(inline_schema(node, read_schema, ctx, out));
    out->kind = rc_strdup(rc_kind_names[index]);
    out->id = rc_strdup(text);
    out->json = rc_def_write_text(node->value, MAX_DEFINITION_BYTES);
    if (!out->json)
        return rc_def_fail(node, "larger than %d bytes", MAX_DEFINITION_BYTES);
    out->file = rc_strdup(node->document->file);
    out->path = rc_def_path(node);
    return RC_OK;
}

/* ---- the builder ----------------------------------------------------------------------------------------------------- */

void rc_catalog_builder_init(struct rc_catalog_builder *builder) {
    *builder = (struct rc_catalog_builder){.index = json_object()};
}

void rc_catalog_builder_deinit(struct rc_catalog_builder *builder) {
    for (size_t i = 0; i < builder->n; i++)
        rc_def_definition_deinit(&builder->items[i]);
    free(builder->items);
    json_decref(builder->index);
    *builder = (struct rc_catalog_builder){0};
}

static int builder_place(const struct rc_catalog_builder *builder, const char *kind, const char *id) {
    char name[MAX_FULL_NAME_BYTES];
    full_name(kind, id, name);
    json_t *found = json_object_get(builder->index, name);
    return found ? (int)json_integer_value(found) : -1;
}

static void builder_note(struct rc_catalog_builder *builder, size_t place) {
    char name[MAX_FULL_NAME_BYTES];
    full_name(builder->items[place].kind, builder->items[place].id, name);
    (void)json_object_set_new(builder->index, name, json_integer((json_int_t)place));
}

/* Takes over `item`. A definition that was there keeps its place, so that indices stay as they were. */
static void builder_put(struct rc_catalog_builder *builder, struct rc_definition *item) {
    int place = builder_place(builder, item->kind, item->id);
    if (place >= 0) {
        rc_def_definition_deinit(&builder->items[place]);
        builder->items[place] = *item;
        return;
    }
    rc_grow(&builder->items, &builder->capacity, builder->n + 1, sizeof *builder->items);
    builder->items[builder->n] = *item;
    builder_note(builder, builder->n++);
}

static rc_status read_all(const struct rc_def_node *root, rc_read_schema_fn read_schema, void *ctx,
                          struct rc_definition *items, size_t n) {
    json_t *seen = json_object();
    rc_status status = RC_OK;
    for (size_t i = 0; i < n && status == RC_OK; i++) {
        struct rc_def_node node = json_is_array(root->value) ? rc_def_at(root, i) : *root;
        char name[MAX_FULL_NAME_BYTES];
        status = read_definition(&node, read_schema, ctx, &items[i]);
        if (status != RC_OK)
            break;
        items[i].version = 1;
        full_name(items[i].kind, items[i].id, name);
        json_t *before = json_object_get(seen, name);
        if (before)
            status =
                rc_def_fail(&node, "%s \"%s\" is defined twice in this file, first at %s: give one of them another id",
                            items[i].kind, items[i].id, items[json_integer_value(before)].path);
        (void)json_object_set_new(seen, name, json_integer((json_int_t)i));
    }
    json_decref(seen);
    return status;
}

rc_status rc_catalog_builder_add(struct rc_catalog_builder *builder, const char *file, struct rc_span json,
                                 rc_read_schema_fn read_schema, void *ctx, struct rc_error *err) {
    struct rc_error own;
    struct rc_def_document document = {.file = file, .root = "$", .err = err ? err : &own};
    json_t *value = rc_def_parse(file, json, document.err);
    if (!value)
        return RC_FAIL;
    struct rc_def_node root = rc_def_root(&document, value);
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    struct rc_definition *items = rc_calloc(n, sizeof *items);
    rc_status status = read_all(&root, read_schema, ctx, items, n);
    for (size_t i = 0; i < n; i++)
        if (status == RC_OK)
            builder_put(builder, &items[i]);
        else
            rc_def_definition_deinit(&items[i]);
    free(items);
    json_decref(value);
    return status;
}

rc_status rc_catalog_builder_add_applied(struct rc_catalog_builder *builder, struct rc_span json, int version,
                                         int64_t applied_ms, const char *applied_by, struct rc_error *err) {
    return rc_catalog_builder_add_scheduled(builder, json, version, applied_ms, applied_ms, applied_by, err);
}

rc_status rc_catalog_builder_add_scheduled(struct rc_catalog_builder *builder, struct rc_span json, int version,
                                           int64_t applied_ms, int64_t scheduled_ms, const char *applied_by,
                                           struct rc_error *err) {
    struct rc_error own;
    struct rc_def_document document = {.file = "applied definition", .root = "$", .err = err ? err : &own};
    struct rc_definition item = {.version = version, .applied_ms = applied_ms, .scheduled_ms = scheduled_ms};
    json_t *value = rc_def_parse(document.file, json, document.err);
    if (!value)
        return RC_FAIL;
    struct rc_def_node root = rc_def_root(&document, value);
    rc_status status = read_definition(&root, NULL, NULL, &item);
    json_decref(value);
    if (status != RC_OK) {
        rc_def_definition_deinit(&item);
        return RC_FAIL;
    }
    char name[MAX_FULL_NAME_BYTES + 16];
    (void)snprintf(name, sizeof name, "applied %s/%s", item.kind, item.id);
    free(item.file);
    item.file = rc_strdup(name);
    item.applied_by = applied_by ? rc_strdup(applied_by) : NULL;
    builder_put(builder, &item);
    return RC_OK;
}

rc_status rc_catalog_builder_add_segment(struct rc_catalog_builder *builder, struct rc_span json, const char *name,
                                         int version, enum rc_segment_role role, int64_t generation,
                                         struct rc_error *err) {
    struct rc_definition item = {.version = version, .role = role, .generation = generation};
    json_t *value = rc_def_parse("segment in use", json, err);
    if (!value)
        return RC_FAIL;
    item.kind = rc_strdup(rc_kind_names[RC_KIND_SEGMENT]);
    item.id = rc_strdup(name);
    item.json = rc_def_write_text(value, MAX_DEFINITION_BYTES);
    item.file = rc_strdup("segment in use");
    item.path = rc_strdup("$");
    json_decref(value);
    if (!item.json) {
        rc_def_definition_deinit(&item);
        return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA, "segment %s: larger than %d bytes", name,
                            MAX_DEFINITION_BYTES);
    }
    builder_put(builder, &item);
    return RC_OK;
}

bool rc_catalog_builder_remove(struct rc_catalog_builder *builder, const char *kind, const char *id) {
    int place = builder_place(builder, kind, id);
    if (place < 0)
        return false;
    char name[MAX_FULL_NAME_BYTES];
    full_name(kind, id, name);
    (void)json_object_del(builder->index, name);
    rc_def_definition_deinit(&builder->items[place]);
    builder->n--;
    for (size_t i = (size_t)place; i < builder->n; i++) {
        builder->items[i] = builder->items[i + 1];
        builder_note(builder, i);
    }
    return true;
}

const struct rc_definition *rc_catalog_builder_find(const struct rc_catalog_builder *builder, const char *kind,
                                                    const char *id) {
    int place = builder_place(builder, kind, id);
    return place < 0 ? NULL : &builder->items[place];
}

/* ---- building -------------------------------------------------------------------------------------------------------- */

struct building {
    struct rc_catalog *catalog;
    json_t **values; /* of catalog->definitions, parsed */
    struct rc_error *err;
};

static enum rc_kind kind_of(const struct rc_definition *definition) {
    size_t kind = 0;
    while (strcmp(rc_kind_names[kind], definition->kind) != 0)
        kind++;
    return (enum rc_kind)kind;
}

static char *copy(const char *text) {
    return text ? rc_strdup(text) : NULL;
}

/* Copies the definitions, makes room for each kind, and lets everything be found by its id. */
static rc_status lay_out(const struct rc_catalog_builder *builder, struct building *b) {
    struct rc_catalog *catalog = b->catalog;
    size_t counts[RC_KINDS] = {0}, in_role = 0; /* in_role: those that do not count, because nobody has defined them */
    json_t *kinds[RC_KINDS], *places = json_object();
    catalog->index = json_object();
    (void)json_object_set_new(catalog->index, "definition", places);
    for (size_t k = 0; k < RC_KINDS; k++) {
        kinds[k] = json_object();
        (void)json_object_set_new(catalog->index, rc_kind_names[k], kinds[k]);
    }
    catalog->definitions = rc_calloc(builder->n, sizeof *catalog->definitions);
    b->values = rc_calloc(builder->n, sizeof(json_t *));
    for (size_t i = 0; i < builder->n; i++) {
        const struct rc_definition *from = &builder->items[i];
        struct rc_definition *to = &catalog->definitions[catalog->n_definitions++];
        enum rc_kind kind = kind_of(from);
        char name[MAX_FULL_NAME_BYTES];
        *to = (struct rc_definition){.kind = copy(from->kind),
                                     .id = copy(from->id),
                                     .json = copy(from->json),
                                     .file = copy(from->file),
                                     .path = copy(from->path),
                                     .schema_file = copy(from->schema_file),
                                     .version = from->version,
                                     .role = from->role,
                                     .generation = from->generation,
                                     .applied_ms = from->applied_ms,
                                     .scheduled_ms = from->scheduled_ms,
                                     .applied_by = copy(from->applied_by)};
        b->values[i] = rc_def_parse(to->file, rc_span_str(to->json), b->err);
        if (!b->values[i])
            return RC_FAIL;
        in_role += from->role != RC_SEGMENT_SERVES && from->role != RC_SEGMENT_BACKFILLED;
        if (kind == RC_KIND_SEGMENT && counts[kind] == RC_MAX_SEGMENTS + in_role)
            return rc_error_set(b->err, RC_CLASS_POISON, RC_EXIT_DATA,
                                "%s: %s: segment \"%s\" is one too many, expected at most %d segments", to->file,
                                to->path, to->id, RC_MAX_SEGMENTS);
        (void)json_object_set_new(kinds[kind], to->id, json_integer((json_int_t)counts[kind]++));
        full_name(to->kind, to->id, name);
        (void)json_object_set_new(places, name, json_integer((json_int_t)i));
    }
#define MAKE_ROOM(array, kind)                                        \
    catalog->array = rc_calloc(counts[kind], sizeof *catalog->array); \
    catalog->n_##array = counts[kind]
    MAKE_ROOM(datasets, RC_KIND_DATASET);
    MAKE_ROOM(segments, RC_KIND_SEGMENT);
    MAKE_ROOM(audiences, RC_KIND_AUDIENCE);
    MAKE_ROOM(destinations, RC_KIND_DESTINATION);
    MAKE_ROOM(attributes, RC_KIND_ATTRIBUTE);
    MAKE_ROOM(policies, RC_KIND_POLICY);
#undef MAKE_ROOM
    return RC_OK;
}

/* Fills the structure of one definition, the `nth` of its kind; `stage` 1: a dataset's `where`. */
static rc_status read_one(const struct rc_def_node *node, const struct rc_definition *from, enum rc_kind kind,
                          size_t nth, int stage, struct rc_catalog *catalog) {
#define NAMED(array)                                 \
    struct rc_##array *to = &catalog->array##s[nth]; \
    to->id = rc_strdup(from->id);                    \
    to->version = from->version;                     \
    to->applied_ms = from->applied_ms
    switch (kind) {
    case RC_KIND_DATASET: {
        struct rc_dataset *to = &catalog->datasets[nth];
        if (stage == 1)
            return rc_def_dataset_where(node, catalog, to);
        to->id = rc_strdup(from->id);
        to->schema_file = copy(from->schema_file);
        return rc_def_dataset(node, to);
    }
    case RC_KIND_SEGMENT: {
        NAMED(segment);
        to->role = from->role;
        to->generation = from->generation;
        return rc_def_segment(node, catalog, to);
    }
    case RC_KIND_AUDIENCE: {
        NAMED(audience);
        to->scheduled_ms = from->scheduled_ms;
        return rc_def_audience(node, catalog, to);
    }
    case RC_KIND_DESTINATION: {
        NAMED(destination);
        return rc_def_destination(node, to);
    }
    case RC_KIND_ATTRIBUTE: {
        NAMED(attribute);
        return rc_def_attribute(node, catalog, to);
    }
    case RC_KIND_POLICY: {
        struct rc_policy *to = &catalog->policies[nth];
        to->id = rc_strdup(from->id);
        to->version = from->version;
        to->applied_ms = from->applied_ms;
        return rc_def_policy(node, to);
    }
    }
#undef NAMED
    return RC_FAIL;
}

/* Reads all definitions of the kinds from..to. */
static rc_status read_kinds(struct building *b, enum rc_kind from, enum rc_kind to, int stage) {
    for (size_t i = 0; i < b->catalog->n_definitions; i++) {
        const struct rc_definition *definition = &b->catalog->definitions[i];
        enum rc_kind kind = kind_of(definition);
        if (kind < from || kind > to)
            continue;
        struct rc_def_document document = {.file = definition->file, .root = definition->path, .err = b->err};
        struct rc_def_node node = rc_def_root(&document, b->values[i]);
        int nth = rc_def_find(b->catalog->index, definition->kind, definition->id);
        RC_DEF_TRY(read_one(&node, definition, kind, (size_t)nth, stage, b->catalog));
    }
    return RC_OK;
}

static rc_status build(const struct rc_catalog_builder *builder, struct building *b) {
    RC_DEF_TRY(lay_out(builder, b));
    RC_DEF_TRY(read_kinds(b, RC_KIND_DATASET, RC_KIND_DATASET, 0));
    RC_DEF_TRY(read_kinds(b, RC_KIND_DATASET, RC_KIND_DATASET, 1));
    RC_DEF_TRY(read_kinds(b, RC_KIND_SEGMENT, RC_KIND_POLICY, 0));
    return rc_def_no_cycles(b->catalog, b->err);
}

rc_status rc_catalog_build(const struct rc_catalog_builder *builder, struct rc_catalog **out, struct rc_error *err) {
    struct rc_error own;
    struct building b = {.catalog = rc_calloc(1, sizeof *b.catalog), .err = err ? err : &own};
    rc_status status = build(builder, &b);
    for (size_t i = 0; b.values && i < builder->n; i++)
        json_decref(b.values[i]);
    free(b.values);
    if (status == RC_OK)
        *out = b.catalog;
    else
        rc_catalog_free(b.catalog);
    return status;
}

/* ---- looking up ------------------------------------------------------------------------------------------------------ */

int rc_catalog_dataset(const struct rc_catalog *catalog, const char *id) {
    return rc_def_find(catalog->index, "dataset", id);
}

int rc_catalog_segment(const struct rc_catalog *catalog, const char *id) {
    return rc_def_find(catalog->index, "segment", id);
}

int rc_catalog_audience(const struct rc_catalog *catalog, const char *id) {
    return rc_def_find(catalog->index, "audience", id);
}

int rc_catalog_destination(const struct rc_catalog *catalog, const char *id) {
    return rc_def_find(catalog->index, "destination", id);
}

const struct rc_definition *rc_catalog_definition(const struct rc_catalog *catalog, const char *kind, const char *id) {
    char name[MAX_FULL_NAME_BYTES];
    full_name(kind, id, name);
    int place = rc_def_find(catalog->index, "definition", name);
    return place < 0 ? NULL : &catalog->definitions[place];
}
