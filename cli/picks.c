#include "cli/picks.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "codec/person_key.h"

uint64_t rc_cli_person_hash(struct rc_span person_key) {
    return XXH3_64bits(person_key.data, person_key.len);
}

void rc_cli_picks_deinit(struct rc_cli_picks *picks) {
    for (size_t i = 0; i < picks->n; i++)
        free(picks->items[i].key);
    free(picks->items);
    *picks = (struct rc_cli_picks){.limit = picks->limit};
}

static int by_key(const void *a, const void *b) {
    const struct rc_cli_pick *x = a, *y = b;
    return rc_span_compare(rc_span_of(x->key, x->len), rc_span_of(y->key, y->len));
}

static int by_hash(const void *a, const void *b) {
    const struct rc_cli_pick *x = a, *y = b;
    return x->hash != y->hash ? (x->hash < y->hash ? -1 : 1) : by_key(a, b);
}

static void cut(struct rc_cli_picks *picks) {
    if (picks->n <= picks->limit)
        return;
    qsort(picks->items, picks->n, sizeof *picks->items, by_hash);
    while (picks->n > picks->limit)
        free(picks->items[--picks->n].key);
}

void rc_cli_picks_offer(struct rc_cli_picks *picks, struct rc_span person_key, int64_t since_ms) {
    picks->offered++;
    if (picks->limit == 0)
        return;
    rc_grow(&picks->items, &picks->capacity, picks->n + 1, sizeof *picks->items);
    picks->items[picks->n++] = (struct rc_cli_pick){.hash = rc_cli_person_hash(person_key),
                                                    .key = rc_span_dup(person_key),
                                                    .len = person_key.len,
                                                    .since_ms = since_ms};
    if (picks->n >= 2 * picks->limit)
        cut(picks);
}

void rc_cli_picks_settle(struct rc_cli_picks *picks) {
    cut(picks);
    if (picks->n)
        qsort(picks->items, picks->n, sizeof *picks->items, by_key);
}

json_t *rc_cli_picks_json(const struct rc_cli_picks *picks) {
    json_t *all = json_array();
    struct rc_buf scratch;
    rc_buf_init(&scratch, (size_t)1 << 20);
    for (size_t i = 0; i < picks->n; i++) {
        const struct rc_cli_pick *pick = &picks->items[i];
        struct rc_span namespace, id;
        rc_buf_reset(&scratch);
        if (rc_person_key_split(rc_span_of(pick->key, pick->len), &scratch, &namespace, &id) == RC_OK)
            json_array_append_new(all, json_pack("{s:s%, s:s%, s:I}", "namespace", namespace.data, namespace.len, "id",
                                                 id.data, id.len, "since", (json_int_t)pick->since_ms));
    }
    rc_buf_deinit(&scratch);
    return all;
}
