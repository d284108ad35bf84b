#include "cli/json_diff.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define MAX_PATH_BYTES 4096
#define SHOWN_BYTES 160

static void compare(const json_t *from, const json_t *to, struct rc_buf *path, json_t *out);

static void tell(const json_t *from, const json_t *to, const struct rc_buf *path, json_t *out) {
    json_t *difference = json_pack("{s:s%}", "path", path->len ? path->data : "$", path->len ? path->len : (size_t)1);
    if (from)
        json_object_set(difference, "from", (json_t *)(uintptr_t)from);
    if (to)
        json_object_set(difference, "to", (json_t *)(uintptr_t)to);
    json_array_append_new(out, difference);
}

/* Goes one step down, and comes back. */
static void below(const json_t *from, const json_t *to, struct rc_buf *path, json_t *out, const char *key, size_t at) {
    size_t len = path->len;
    if (key)
        rc_buf_printf(path, "%s%s", len ? "." : "", key);
    else
        rc_buf_printf(path, "[%zu]", at);
    compare(from, to, path, out);
    path->len = len;
    path->data[len] = '\0';
}

static void compare_objects(const json_t *from, const json_t *to, struct rc_buf *path, json_t *out) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)to, key, value) {
        below(json_object_get(from, key), value, path, out, key, 0);
    }
    json_object_foreach((json_t *)(uintptr_t)from, key, value) {
        if (!json_object_get(to, key))
            below(value, NULL, path, out, key, 0);
    }
}

static void compare(const json_t *from, const json_t *to, struct rc_buf *path, json_t *out) {
    if (json_is_object(from) && json_is_object(to)) {
        compare_objects(from, to, path, out);
    } else if (json_is_array(from) && json_is_array(to)) {
        size_t before = json_array_size(from), after = json_array_size(to);
        for (size_t i = 0; i < before || i < after; i++)
            below(json_array_get(from, i), json_array_get(to, i), path, out, NULL, i);
    } else if (!from || !to || !json_equal(from, to)) {
        tell(from, to, path, out);
    }
}

json_t *rc_cli_json_diff(const json_t *from, const json_t *to) {
    json_t *out = json_array();
    struct rc_buf path;
    rc_buf_init(&path, MAX_PATH_BYTES);
    rc_buf_add_str(&path, ""); /* so that there is memory to end in NUL */
    compare(from, to, &path, out);
    rc_buf_deinit(&path);
    return out;
}

static void print_value(const json_t *value) {
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    size_t len = text ? strlen(text) : 0;
    printf("%.*s%s", (int)(len < SHOWN_BYTES ? len : SHOWN_BYTES), text ? text : "", len > SHOWN_BYTES ? "…" : "");
    free(text);
}

void rc_cli_json_diff_print(const json_t *differences, const char *indent) {
    size_t i;
    json_t *difference;
    json_array_foreach(differences, i, difference) {
        const json_t *from = json_object_get(difference, "from"), *to = json_object_get(difference, "to");
        printf("%s%s%s: ", indent,
               from && to ? ""
               : to       ? "+ "
                          : "- ",
               json_string_value(json_object_get(difference, "path")));
        print_value(from ? from : to);
        if (from && to) {
            printf(" -> ");
            print_value(to);
        }
        putchar('\n');
    }
}
