#include "consumers/materialize/groups.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct open_group {
    char *key; /* owned */
    size_t key_len;
    int64_t first_offset, opened_ms;
    struct rc_audience_input *inputs; /* owned, with their event ids */
    size_t n, capacity;
};

/* In the order in which they were opened: there are few, so they are searched one by one. */
struct rc_groups {
    struct open_group *items;
    size_t n, capacity;
    struct open_group taken; /* what the last take gave */
};

static void group_deinit(struct open_group *group) {
    for (size_t i = 0; i < group->n; i++)
        free((char *)group->inputs[i].event_id.data);
    free(group->inputs);
    free(group->key);
    *group = (struct open_group){0};
}

struct rc_groups *rc_groups_new(void) {
    return rc_calloc(1, sizeof(struct rc_groups));
}

void rc_groups_free(struct rc_groups *groups) {
    if (!groups)
        return;
    for (size_t i = 0; i < groups->n; i++)
        group_deinit(&groups->items[i]);
    group_deinit(&groups->taken);
    free(groups->items);
    free(groups);
}

size_t rc_groups_open(const struct rc_groups *groups) {
    return groups->n;
}

int64_t rc_groups_oldest(const struct rc_groups *groups) {
    return groups->n ? groups->items[0].first_offset : INT64_MAX;
}

static size_t find(const struct rc_groups *groups, struct rc_span key) {
    size_t i = 0;
    while (i < groups->n && !rc_span_equal(rc_span_of(groups->items[i].key, groups->items[i].key_len), key))
        i++;
    return i;
}

void rc_groups_add(struct rc_groups *groups, struct rc_span key, const struct rc_audience_input *input, int64_t offset,
                   int64_t now_ms) {
    size_t at = find(groups, key);
    if (at == groups->n) {
        rc_grow(&groups->items, &groups->capacity, groups->n + 1, sizeof *groups->items);
        groups->items[groups->n++] = (struct open_group){
            .key = rc_span_dup(key), .key_len = key.len, .first_offset = offset, .opened_ms = now_ms};
    }
    struct open_group *group = &groups->items[at];
    rc_grow(&group->inputs, &group->capacity, group->n + 1, sizeof *group->inputs);
    group->inputs[group->n] = *input;
    group->inputs[group->n++].event_id = rc_span_of(rc_span_dup(input->event_id), input->event_id.len);
}

static void give(struct rc_groups *groups, size_t at, struct rc_group *out) {
    group_deinit(&groups->taken);
    groups->taken = groups->items[at];
    groups->n--;
    memmove(&groups->items[at], &groups->items[at + 1], (groups->n - at) * sizeof *groups->items);
    *out = (struct rc_group){.key = rc_span_of(groups->taken.key, groups->taken.key_len),
                             .inputs = groups->taken.inputs,
                             .n = groups->taken.n};
}

bool rc_groups_take(struct rc_groups *groups, struct rc_span key, struct rc_group *out) {
    size_t at = find(groups, key);
    if (at == groups->n)
        return false;
    give(groups, at, out);
    return true;
}

bool rc_groups_take_old(struct rc_groups *groups, int64_t opened_ms, struct rc_group *out) {
    if (!groups->n || (groups->items[0].opened_ms > opened_ms && groups->n <= RC_GROUPS_MAX))
        return false;
    give(groups, 0, out);
    return true;
}
