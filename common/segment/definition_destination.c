/* Owns the reading of destinations and policies (definitions.md §5). Must not know how changes are delivered. The mistake that it prevents:
 * a secret in a definition, from where it would go to a compacted topic that every process reads and `get` prints. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "segment/definition_parse.h"

#define MAX_BATCH_CHANGES 1000000
#define MAX_RATE INT64_C(1000000000)
#define MAX_LABEL_DEPTH RC_MAX_CONDITION_DEPTH

static const char *const types[] = {"redis", "http", "kafka", "embedded", "file"}; /* as enum rc_destination_type */

/* Keys of a type besides those that every destination has. */
#define DESTINATION_KEYS RC_DEF_COMMON_KEYS, "type", "url", "batch", "rate", "marketing_actions", "consent"
#define N_DESTINATION_KEYS 12
static const struct {
    const char *keys[N_DESTINATION_KEYS + 1];
    size_t n;
    const char *schemes[2]; /* how its url begins */
    const char *expected;   /* the url, in words */
    bool url_required;
} forms[] = {
    {{DESTINATION_KEYS, "password"}, 13, {"redis://", "rediss://"}, "a URL like \"redis://127.0.0.1:6379/0\"", true},
    {{DESTINATION_KEYS, "headers"}, 13, {"https://", "http://"}, "a URL like \"https://crm.example/audiences\"", true},
    {{DESTINATION_KEYS, "topic"},
     13,
     {"kafka://", "kafka://"},
     "brokers like \"kafka://host:9092\" (left out: the pipeline's own cluster)",
     false},
    {{DESTINATION_KEYS}, 12, {"embedded:", "embedded:"}, "\"embedded:DIR\" (left out: in the state folder)", false},
    {{DESTINATION_KEYS}, 12, {"file:", "file:"}, "\"file:PATH\"", true},
};

static rc_status read_secret(const struct rc_def_node *node, bool text_allowed, struct rc_secret *out) {
    static const char *const keys[] = {"env", "file"};
    const char *text;
    if (json_is_string(node->value) && text_allowed) {
        if (strlen(json_string_value(node->value)) != json_string_length(node->value))
            return rc_def_unexpected(node, "a text without NUL");
        out->text = rc_strdup(json_string_value(node->value));
        return RC_OK;
    }
    if (json_is_string(node->value))
        return rc_def_fail(node, "found a secret in the definition, expected {\"env\": VARIABLE} or {\"file\": PATH}, "
                                 "which say where it is kept");
    RC_DEF_TRY(rc_def_object(node, text_allowed ? "a text, {\"env\": VARIABLE} or {\"file\": PATH}"
                                                : "{\"env\": VARIABLE} or {\"file\": PATH}"));
    RC_DEF_TRY(rc_def_keys(node, keys, RC_DEF_COUNT(keys)));
    if (json_object_size(node->value) != 1)
        return rc_def_fail(node, "found %s, expected exactly one of env, file",
                           json_object_size(node->value) ? "both" : "neither");
    struct rc_def_node env = rc_def_get(node, "env"), file = rc_def_get(node, "file");
    RC_DEF_TRY(
        rc_def_text(env.value ? &env : &file, env.value ? "the name of an environment variable" : "a path", &text));
    *(env.value ? &out->env : &out->file) = rc_strdup(text);
    return RC_OK;
}

/* Headers that carry secrets by what they are for. */
static bool is_secret_header(const char *name) {
    static const char *const names[] = {"authorization", "proxy-authorization", "cookie", "x-api-key"};
    for (size_t i = 0; i < RC_DEF_COUNT(names); i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return false;
}

static rc_status read_headers(const struct rc_def_node *node, struct rc_destination *out) {
    RC_DEF_TRY(rc_def_object(node, "an object of headers by name"));
    out->headers = rc_calloc(json_object_size(node->value), sizeof *out->headers);
    for (void *at = json_object_iter(node->value); at; at = json_object_iter_next(node->value, at)) {
        struct rc_def_node header = rc_def_get(node, json_object_iter_key(at));
        const char *name = header.key;
        if (!*name || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~") !=
                          strlen(name))
            return rc_def_fail(&header, "this is no name of an HTTP header");
        struct rc_header_setting *to = &out->headers[out->n_headers++];
        to->name = rc_strdup(name);
        RC_DEF_TRY(read_secret(&header, !is_secret_header(name), &to->value));
        if (to->value.text && strpbrk(to->value.text, "\r\n"))
            return rc_def_fail(&header, "a header is one line, found a line break");
    }
    return RC_OK;
}

/* "scheme://user:password@host" */
static bool has_password(const char *url) {
    const char *authority = strstr(url, "://");
    if (!authority)
        return false;
    authority += 3;
    size_t len = strcspn(authority, "/?#");
    const char *at = memrchr(authority, '@', len);
    return at && memchr(authority, ':', (size_t)(at - authority));
}

static rc_status read_url(const struct rc_def_node *node, struct rc_destination *out) {
    const char *text;
    if (!node->value && !forms[out->type].url_required)
        return RC_OK;
    RC_DEF_TRY(rc_def_text(node, forms[out->type].expected, &text));
    bool known = false;
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(forms[out->type].schemes[i]);
        known = known || (strncmp(text, forms[out->type].schemes[i], len) == 0 && text[len]);
    }
    if (has_password(text)) /* before anything that would print it */
        return rc_def_fail(
            node, "found a password in the URL: it would be readable by all who can read definitions; expected %s",
            out->type == RC_DESTINATION_REDIS ? "\"password\": {\"env\": VARIABLE} or {\"file\": PATH} beside the URL"
                                              : "a header with {\"env\": VARIABLE} or {\"file\": PATH}");
    if (!known || strpbrk(text, " \t\r\n"))
        return rc_def_unexpected(node, forms[out->type].expected);
    out->url = rc_strdup(text);
    return RC_OK;
}

static rc_status read_batch(const struct rc_def_node *node, struct rc_destination *out) {
    static const char *const keys[] = {"max_changes", "max_wait"};
    struct rc_def_node changes = rc_def_get(node, keys[0]), wait = rc_def_get(node, keys[1]);
    RC_DEF_TRY(rc_def_object(node, "an object with max_changes and max_wait"));
    RC_DEF_TRY(rc_def_keys(node, keys, RC_DEF_COUNT(keys)));
    if (changes.value)
        RC_DEF_TRY(rc_def_integer(&changes, 1, MAX_BATCH_CHANGES, &out->batch_max_changes));
    return wait.value ? rc_def_duration(&wait, &out->batch_max_wait_ms) : RC_OK;
}

rc_status rc_def_destination(const struct rc_def_node *node, struct rc_destination *out) {
    struct rc_def_node type = rc_def_get(node, "type"), url = rc_def_get(node, "url"),
                       batch = rc_def_get(node, "batch"), rate = rc_def_get(node, "rate"),
                       actions = rc_def_get(node, "marketing_actions"), consent = rc_def_get(node, "consent"),
                       headers = rc_def_get(node, "headers"), topic = rc_def_get(node, "topic"),
                       password = rc_def_get(node, "password");
    size_t index;
    const char *text;
    out->batch_max_wait_ms = RC_NO_DURATION;
    RC_DEF_TRY(rc_def_choice(&type, "type", types, RC_DEF_COUNT(types), &index));
    out->type = (enum rc_destination_type)index;
    RC_DEF_TRY(rc_def_keys(node, forms[index].keys, forms[index].n));
    RC_DEF_TRY(rc_def_common(node));
    RC_DEF_TRY(read_url(&url, out));
    if (out->type == RC_DESTINATION_KAFKA)
        RC_DEF_TRY(rc_def_topic(&topic, &out->topic));
    if (headers.value)
        RC_DEF_TRY(read_headers(&headers, out));
    if (password.value)
        RC_DEF_TRY(read_secret(&password, false, &out->password));
    if (batch.value)
        RC_DEF_TRY(read_batch(&batch, out));
    if (rate.value)
        RC_DEF_TRY(rc_def_integer(&rate, 1, MAX_RATE, &out->rate));
    if (actions.value)
        RC_DEF_TRY(rc_def_texts(&actions, "an array of marketing actions", &out->marketing_actions,
                                &out->n_marketing_actions));
    if (consent.value) {
        RC_DEF_TRY(rc_def_text(&consent, "the name of a consent, like \"marketing.email\"", &text));
        out->consent = rc_strdup(text);
    }
    return RC_OK;
}

/* ---- policies -------------------------------------------------------------------------------------------------------- */

static rc_status read_deny(const struct rc_def_node *node, int depth, struct rc_label_cond **out) {
    static const char *const heads[] = {"and", "or"}; /* as enum rc_label_head */
    const char *label;
    if (!json_is_object(node->value)) {
        RC_DEF_TRY(rc_def_text(node, "a data-usage label, {\"and\": […]} or {\"or\": […]}", &label));
        *out = rc_calloc(1, sizeof **out);
        (*out)->head = RC_LABEL_IS;
        (*out)->label = rc_strdup(label);
        return RC_OK;
    }
    if (depth > MAX_LABEL_DEPTH)
        return rc_def_fail(node, "nested deeper than %d conditions", MAX_LABEL_DEPTH);
    RC_DEF_TRY(rc_def_keys(node, heads, RC_DEF_COUNT(heads)));
    if (json_object_size(node->value) != 1)
        return rc_def_fail(node, "found %s, expected exactly one of and, or",
                           json_object_size(node->value) ? "both" : "neither");
    struct rc_def_node below = rc_def_get(node, rc_def_has(node, "and") ? "and" : "or");
    RC_DEF_TRY(rc_def_array(&below, "an array of labels and conditions over them"));
    struct rc_label_cond *cond = *out = rc_calloc(1, sizeof *cond);
    cond->head = rc_def_has(node, "and") ? RC_LABEL_AND : RC_LABEL_OR;
    cond->n_children = json_array_size(below.value);
    cond->children = rc_calloc(cond->n_children, sizeof(struct rc_label_cond *));
    for (size_t i = 0; i < cond->n_children; i++) {
        struct rc_def_node item = rc_def_at(&below, i);
        RC_DEF_TRY(read_deny(&item, depth + 1, &cond->children[i]));
    }
    return RC_OK;
}

rc_status rc_def_policy(const struct rc_def_node *node, struct rc_policy *out) {
    static const char *const keys[] = {RC_DEF_COMMON_KEYS, "enabled", "marketing_action", "deny"};
    struct rc_def_node enabled = rc_def_get(node, "enabled"), action = rc_def_get(node, "marketing_action"),
                       deny = rc_def_get(node, "deny");
    const char *text;
    RC_DEF_TRY(rc_def_keys(node, keys, RC_DEF_COUNT(keys)));
    RC_DEF_TRY(rc_def_common(node));
    out->enabled = true;
    if (enabled.value)
        RC_DEF_TRY(rc_def_bool(&enabled, &out->enabled));
    RC_DEF_TRY(rc_def_text(&action, "the name of a marketing action, like \"email_targeting\"", &text));
    out->marketing_action = rc_strdup(text);
    return read_deny(&deny, 1, &out->deny);
}
