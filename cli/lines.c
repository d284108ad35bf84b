/* Owns the comparison of two texts. Must not know what they are. The mistake that it prevents: a change that is overlooked in two pages of JSON. */
#include "cli/lines.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/span.h"

#define MAX_CELLS ((size_t)4 << 20)

struct lines {
    struct rc_span *items; /* borrowed from the text; the array owned */
    size_t n, capacity;
};

static struct lines split(const char *text) {
    struct lines lines = {0};
    while (*text) {
        size_t len = strcspn(text, "\n");
        rc_grow(&lines.items, &lines.capacity, lines.n + 1, sizeof *lines.items);
        lines.items[lines.n++] = rc_span_of(text, len);
        text += len + (text[len] == '\n');
    }
    return lines;
}

static void print(char sign, struct rc_span line) {
    printf("%c %.*s\n", sign, (int)line.len, line.data);
}

/* common[i * (m + 1) + j]: how many lines the ends of a from i on and of b from j on have in common at most. */
static uint16_t *measure(const struct rc_span *a, size_t n, const struct rc_span *b, size_t m) {
    uint16_t *common = rc_calloc((n + 1) * (m + 1), sizeof *common);
    for (size_t i = n; i-- > 0;)
        for (size_t j = m; j-- > 0;) {
            const uint16_t *below = &common[(i + 1) * (m + 1) + j];
            uint16_t *here = &common[i * (m + 1) + j];
            uint16_t either = below[0] > here[1] ? below[0] : here[1];
            *here = rc_span_equal(a[i], b[j]) ? (uint16_t)(below[1] + 1) : either;
        }
    return common;
}

static void print_middle(const struct rc_span *a, size_t n, const struct rc_span *b, size_t m) {
    bool small = (n + 1) * (m + 1) <= MAX_CELLS && n < UINT16_MAX && m < UINT16_MAX;
    uint16_t *common = small ? measure(a, n, b, m) : NULL;
    size_t i = 0, j = 0;
    while (i < n || j < m) {
        if (common && i < n && j < m && rc_span_equal(a[i], b[j])) {
            print(' ', a[i++]);
            j++;
        } else if (i < n && (j == m || !common || common[(i + 1) * (m + 1) + j] >= common[i * (m + 1) + j + 1])) {
            print('-', a[i++]);
        } else {
            print('+', b[j++]);
        }
    }
    free(common);
}

void rc_cli_lines_print(const char *before, const char *after) {
    struct lines a = split(before), b = split(after);
    size_t head = 0, tail = 0;
    while (head < a.n && head < b.n && rc_span_equal(a.items[head], b.items[head]))
        print(' ', a.items[head++]);
    while (tail < a.n - head && tail < b.n - head && rc_span_equal(a.items[a.n - 1 - tail], b.items[b.n - 1 - tail]))
        tail++;
    print_middle(a.items + head, a.n - head - tail, b.items + head, b.n - head - tail);
    for (size_t i = a.n - tail; i < a.n; i++)
        print(' ', a.items[i]);
    free(a.items);
    free(b.items);
}
