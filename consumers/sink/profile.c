#include "consumers/sink/profile.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "consumers/sink/profile_store.h"
#include "consumers/sink/redis_client.h"

/* Adds one field, its value parsed; a value that is no JSON is told as text. */
static void add_field(json_t *profile, struct rc_span field, struct rc_span value) {
    char *name = rc_span_dup(field);
    json_t *parsed = json_loadb(value.data, value.len, JSON_DECODE_ANY, NULL);
    json_object_set_new(profile, name, parsed ? parsed : json_stringn(value.data, value.len));
    free(name);
}

struct fields {
    json_t *profile; /* NULL until there is a field */
    size_t skip;     /* bytes of the key before the field */
};

static bool visit_field(void *ctx, struct rc_span key, struct rc_span value) {
    struct fields *fields = ctx;
    if (!fields->profile)
        fields->profile = json_object();
    add_field(fields->profile, rc_span_of(key.data + fields->skip, key.len - fields->skip), value);
    return true;
}

rc_status rc_profile_read_store(struct rc_store *store, struct rc_span person_key, json_t **out, struct rc_error *err) {
    struct rc_buf prefix;
    rc_buf_init(&prefix, 2u << 20);
    (void)rc_buf_add_span(&prefix, person_key);
    (void)rc_buf_add_byte(&prefix, 0);
    struct fields fields = {.skip = prefix.len};
    rc_status status = rc_store_each(store, RC_STORE_PROFILE, 0, rc_buf_span(&prefix), visit_field, &fields, err);
    rc_buf_deinit(&prefix);
    if (status) {
        json_decref(fields.profile);
        return RC_FAIL;
    }
    *out = fields.profile;
    return RC_OK;
}

static rc_status read_embedded(const char *path, struct rc_span person_key, json_t **out, struct rc_error *err) {
    struct rc_store_options options = {.path = path, .kind = "profiles", .format = 1, .read_only = true};
    struct rc_store *store = NULL;
    if (rc_store_open(&options, &store, NULL, err))
        return RC_FAIL;
    rc_status status = rc_profile_read_store(store, person_key, out, err);
    rc_store_close(store);
    return status;
}

static rc_status read_redis(const char *url, const char *prefix, struct rc_span person_key, json_t **out,
                            struct rc_error *err) {
    struct rc_redis_address address;
    redisContext *context = NULL;
    redisReply *reply = NULL;
    if (rc_redis_address_parse(url, NULL, &address, err))
        return RC_FAIL;
    rc_status status = rc_redis_connect(&address, &context, err);
    rc_redis_address_deinit(&address);
    if (status)
        return RC_FAIL;
    struct rc_buf key;
    rc_buf_init(&key, 2u << 20);
    (void)rc_buf_printf(&key, "%s:profile:", prefix);
    (void)rc_buf_add_span(&key, person_key);
    const char *argv[] = {"HGETALL", key.data};
    const size_t lengths[] = {7, key.len};
    status = rc_redis_command(context, 2, argv, lengths, &reply, err);
    if (status == RC_OK) {
        json_t *profile = reply->elements ? json_object() : NULL;
        for (size_t i = 0; i + 1 < reply->elements; i += 2)
            add_field(profile, rc_span_of(reply->element[i]->str, reply->element[i]->len),
                      rc_span_of(reply->element[i + 1]->str, reply->element[i + 1]->len));
        freeReplyObject(reply);
        *out = profile;
    }
    rc_buf_deinit(&key);
    redisFree(context);
    return status;
}

rc_status rc_profile_read(const char *url, const char *prefix, struct rc_span person_key, json_t **out,
                          struct rc_error *err) {
    if (strncmp(url, "embedded:", 9) == 0) {
        const char *path = url + 9;
        return read_embedded(strncmp(path, "//", 2) == 0 ? path + 2 : path, person_key, out, err);
    }
    return read_redis(url, prefix, person_key, out, err);
}
