/* Audience definitions compiled to postfix over numbered signals, with an index from each signal to the audiences that it can touch. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "consumers/materialize/audience_rules.h"

/* Index of `name` in the list, added when it is not there. */
static uint32_t add_name(uint32_t **list, size_t *n, size_t *capacity, uint32_t name) {
    for (size_t i = 0; i < *n; i++)
        if ((*list)[i] == name)
            return (uint32_t)i;
    rc_grow(list, capacity, *n + 1, sizeof **list);
    (*list)[*n] = name;
    return (uint32_t)(*n)++;
}

struct compiler {
    const struct rc_catalog *catalog;
    struct rc_names *signals;
    struct rc_audience_rule *rule;
    size_t ops_capacity, leaves_capacity, exists_capacity;
    bool *seen; /* segments whose datasets are taken in already */
    struct rc_buf text;
};

/* The datasets of a segment and of every segment that it refers to: a person exists from the first event in any of them. */
static void add_segment_datasets(struct compiler *c, uint32_t segment);

static void add_references(struct compiler *c, const struct rc_cond *cond) {
    if (!cond)
        return;
    if (cond->head == RC_HEAD_SEGMENT)
        add_segment_datasets(c, cond->segment);
    for (size_t i = 0; i < cond->n_children; i++)
        add_references(c, cond->children[i]);
    for (size_t i = 0; i < cond->n_steps; i++)
        add_references(c, cond->steps[i].session);
}

static void add_segment_datasets(struct compiler *c, uint32_t segment) {
    if (c->seen[segment])
        return;
    c->seen[segment] = true;
    const struct rc_segment *s = &c->catalog->segments[segment];
    for (size_t i = 0; i < s->n_datasets; i++) {
        rc_buf_reset(&c->text);
        /* The ceiling is far above the length of an id. */
        (void)rc_buf_printf(&c->text, "_exists.%s", c->catalog->datasets[s->datasets[i]].id);
        uint32_t name = rc_names_intern(c->signals, rc_buf_span(&c->text));
        add_name(&c->rule->exists, &c->rule->n_exists, &c->exists_capacity, name);
    }
    add_references(c, s->where);
}

static void add_op(struct compiler *c, struct rc_audience_op op) {
    rc_grow(&c->rule->ops, &c->ops_capacity, c->rule->n_ops + 1, sizeof *c->rule->ops);
    c->rule->ops[c->rule->n_ops++] = op;
}

static void add_leaf(struct compiler *c, const char *id) {
    uint32_t name = rc_names_intern(c->signals, rc_span_str(id));
    uint32_t leaf = add_name(&c->rule->leaves, &c->rule->n_leaves, &c->leaves_capacity, name);
    int segment = rc_catalog_segment(c->catalog, id);
    if (segment >= 0) /* deleted, in what goes on until a newer version may: it has no members any more */
        add_segment_datasets(c, (uint32_t)segment);
    add_op(c, (struct rc_audience_op){.kind = RC_AUDIENCE_OP_LEAF, .arg = leaf});
}

static void compile_cond(struct compiler *c, const json_t *cond) {
    const json_t *segment = json_object_get(cond, "segment"), *not = json_object_get(cond, "not"),
                 *and = json_object_get(cond, "and"), * or = json_object_get(cond, "or"), *child;
    size_t i;
    if (segment) {
        add_leaf(c, json_string_value(segment));
        return;
    }
    if (not ) {
        compile_cond(c, not );
        add_op(c, (struct rc_audience_op){.kind = RC_AUDIENCE_OP_NOT, .arg = 1});
        return;
    }
    const json_t *children = and? and : or ;
    json_array_foreach(children, i, child) compile_cond(c, child);
    add_op(c, (struct rc_audience_op){.kind = and? RC_AUDIENCE_OP_AND : RC_AUDIENCE_OP_OR,
                                      .arg = (uint32_t)json_array_size(children)});
}

json_t *rc_audience_where_json(const struct rc_catalog *catalog, const struct rc_audience_cond *cond) {
    if (cond->head == RC_AUDIENCE_SEGMENT)
        return json_pack("{s:s}", "segment", catalog->segments[cond->segment].id);
    if (cond->head == RC_AUDIENCE_NOT)
        return json_pack("{s:o}", "not", rc_audience_where_json(catalog, cond->children[0]));
    json_t *children = json_array();
    for (size_t i = 0; i < cond->n_children; i++)
        json_array_append_new(children, rc_audience_where_json(catalog, cond->children[i]));
    return json_pack("{s:o}", cond->head == RC_AUDIENCE_AND ? "and" : "or", children);
}

static void compile_rule(const struct rc_catalog *catalog, const struct rc_audience_spec *spec,
                         struct rc_names *signals, struct rc_audience_rule *rule) {
    struct compiler c = {.catalog = catalog, .signals = signals, .rule = rule};
    rule->version = spec->version;
    rule->mode = spec->mode;
    rule->size_limit = INT64_MAX;
    if (!spec->definition)
        return;
    rule->size_limit = spec->definition->size_limit;
    c.seen = rc_calloc(catalog->n_segments, sizeof *c.seen);
    rc_buf_init(&c.text, 1024);
    json_t *own = spec->serves ? NULL : rc_audience_where_json(catalog, spec->definition->where);
    compile_cond(&c, own ? own : spec->serves);
    json_decref(own);
    rc_buf_deinit(&c.text);
    free(c.seen);
}

static void index_signal(struct rc_audience_rules *rules, uint32_t signal, uint32_t rule) {
    struct rc_audience_touch *touch = &rules->touched[signal];
    if (touch->n && touch->rules[touch->n - 1] == rule)
        return;
    rc_grow(&touch->rules, &touch->capacity, touch->n + 1, sizeof *touch->rules);
    touch->rules[touch->n++] = rule;
}

struct rc_audience_rules *rc_audience_rules_new(const struct rc_catalog *catalog, const struct rc_audience_spec *specs,
                                                size_t n_specs, struct rc_names *signals, struct rc_names *audiences) {
    struct rc_audience_rules *rules = rc_calloc(1, sizeof *rules);
    rules->signals = signals;
    rules->audiences = audiences;
    rules->generation = 1;
    rules->n = n_specs;
    rules->rules = rc_calloc(n_specs, sizeof *rules->rules);
    size_t ops = 0, leaves = 0;
    for (size_t i = 0; i < n_specs; i++) {
        struct rc_audience_rule *rule = &rules->rules[i];
        rule->name = rc_names_intern(audiences, rc_span_str(specs[i].id));
        compile_rule(catalog, &specs[i], signals, rule);
        ops = rule->n_ops > ops ? rule->n_ops : ops;
        leaves = rule->n_leaves > leaves ? rule->n_leaves : leaves;
    }
    rules->stack = rc_calloc(ops, sizeof *rules->stack);
    rules->leaves = rc_calloc(leaves, sizeof *rules->leaves);
    rules->stamps = rc_calloc(n_specs, sizeof *rules->stamps);
    rules->affected = rc_calloc(n_specs, sizeof *rules->affected);
    rules->n_touched = rc_names_count(signals);
    rules->touched = rc_calloc(rules->n_touched, sizeof *rules->touched);
    rules->n_names = rc_names_count(audiences);
    rules->by_name = rc_calloc(rules->n_names, sizeof *rules->by_name);
    for (size_t i = 0; i < n_specs; i++) {
        const struct rc_audience_rule *rule = &rules->rules[i];
        rules->by_name[rule->name] = (uint32_t)i + 1;
        for (size_t k = 0; k < rule->n_leaves; k++)
            index_signal(rules, rule->leaves[k], (uint32_t)i);
        for (size_t k = 0; k < rule->n_exists; k++)
            index_signal(rules, rule->exists[k], (uint32_t)i);
    }
    return rules;
}

void rc_audience_rules_free(struct rc_audience_rules *rules) {
    if (!rules)
        return;
    for (size_t i = 0; i < rules->n; i++) {
        free(rules->rules[i].ops);
        free(rules->rules[i].leaves);
        free(rules->rules[i].exists);
    }
    for (size_t i = 0; i < rules->n_touched; i++)
        free(rules->touched[i].rules);
    free(rules->rules);
    free(rules->touched);
    free(rules->by_name);
    free(rules->stack);
    free(rules->leaves);
    free(rules->stamps);
    free(rules->affected);
    free(rules->owned);
    free(rules);
}

static uint64_t mix(uint64_t hash, const void *data, size_t len) {
    return XXH3_64bits_withSeed(data, len, hash);
}

static uint64_t mix_names(uint64_t hash, const struct rc_names *names, const uint32_t *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *text = rc_names_text(names, list[i]);
        hash = mix(hash, text, strlen(text) + 1);
    }
    return mix(hash, &n, sizeof n);
}

uint64_t rc_audience_rules_digest(const struct rc_audience_rules *rules) {
    uint64_t digest = 0;
    for (size_t i = 0; i < rules->n; i++) {
        const struct rc_audience_rule *rule = &rules->rules[i];
        int64_t head[] = {rule->mode, rule->size_limit};
        uint64_t hash = mix_names(0, rules->audiences, &rule->name, 1);
        hash = mix(hash, head, sizeof head);
        hash = mix_names(hash, rules->signals, rule->leaves, rule->n_leaves);
        hash = mix_names(hash, rules->signals, rule->exists, rule->n_exists);
        for (size_t k = 0; k < rule->n_ops; k++) {
            uint32_t op[] = {(uint32_t)rule->ops[k].kind, rule->ops[k].arg};
            hash = mix(hash, op, sizeof op);
        }
        digest += hash; /* a sum: the order of the audiences does not matter */
    }
    return digest;
}

void rc_audience_rules_set_generation(struct rc_audience_rules *rules, uint64_t generation) {
    rules->generation = generation;
}

const struct rc_audience_rule *rc_audience_rules_all(const struct rc_audience_rules *rules, size_t *n) {
    *n = rules->n;
    return rules->rules;
}

uint64_t rc_audience_rules_generation(const struct rc_audience_rules *rules) {
    return rules->generation;
}

const struct rc_audience_rule *rc_audience_rules_find(const struct rc_audience_rules *rules, uint32_t audience) {
    return audience < rules->n_names && rules->by_name[audience] ? &rules->rules[rules->by_name[audience] - 1] : NULL;
}

void rc_audience_rules_set_share(struct rc_audience_rules *rules, const int32_t *owned, size_t n_owned, int32_t total) {
    free(rules->owned);
    rules->owned = rc_calloc(n_owned, sizeof *rules->owned);
    for (size_t i = 0; i < n_owned; i++)
        rules->owned[i] = owned[i];
    rules->n_owned = n_owned;
    rules->total = total;
}

int64_t rc_audience_rules_limit(const struct rc_audience_rules *rules, const struct rc_audience_rule *rule) {
    if (!rules->total || rule->size_limit == INT64_MAX)
        return rule->size_limit;
    __int128 limit = rule->size_limit, share = 0;
    for (size_t i = 0; i < rules->n_owned; i++)
        share += limit * (rules->owned[i] + 1) / rules->total - limit * rules->owned[i] / rules->total;
    return (int64_t)share;
}
