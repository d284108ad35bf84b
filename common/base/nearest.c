#include "base/nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#define MAX_WORD 128 /* longer words are compared by their first characters */

static int least(int a, int b) {
    return a < b ? a : b;
}

static bool same(char a, char b) {
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Optimal string alignment distance: Levenshtein and swaps of neighbours, three rows of the table at a time. */
static int distance(const char *a, size_t a_len, const char *b, size_t b_len) {
    int rows[3][MAX_WORD + 1];
    int *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b_len; j++)
        last[j] = (int)j;
    for (size_t i = 1; i <= a_len; i++) {
        now[0] = (int)i;
        for (size_t j = 1; j <= b_len; j++) {
            int replace = last[j - 1] + (same(a[i - 1], b[j - 1]) ? 0 : 1);
            now[j] = least(replace, least(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
                now[j] = least(now[j], before[j - 2] + 1);
        }
        int *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[b_len];
}

const char *rc_nearest_word(const char *text, const char *const *words, size_t n) {
    size_t len = strnlen(text, MAX_WORD);
    int best = (int)(len / 3 > 1 ? len / 3 : 1) + 1;
    const char *nearest = NULL;
    for (size_t i = 0; i < n; i++) {
        int d = distance(text, len, words[i], strnlen(words[i], MAX_WORD));
        if (d < best) {
            best = d;
            nearest = words[i];
        }
    }
    return nearest;
}
