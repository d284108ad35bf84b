#include "cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* Columns that a text takes on a terminal: its code points, which is right for what ids and names mostly are. */
static int width(const char *text) {
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void put(struct rc_cli_table *table, char *cell) {
    if (table->n_rows == 0 || table->filled == table->n_columns) {
        rc_grow(&table->rows, &table->capacity, table->n_rows + 1, sizeof *table->rows);
        memset(table->rows[table->n_rows++], 0, sizeof *table->rows);
        table->filled = 0;
    }
    table->rows[table->n_rows - 1][table->filled++] = cell;
}

void rc_cli_table_init(struct rc_cli_table *table, const char *const *headings) {
    *table = (struct rc_cli_table){0};
    while (headings[table->n_columns] && table->n_columns < CLI_TABLE_COLUMNS)
        table->n_columns++;
    for (size_t c = 0; c < table->n_columns; c++) {
        if (headings[c][0] == '>')
            table->right |= 1U << c;
        put(table, rc_strdup(headings[c] + (headings[c][0] == '>')));
    }
}

void rc_cli_table_add(struct rc_cli_table *table, const char *fmt, ...) {
    char *cell;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&cell, fmt, ap) < 0)
        abort();
    va_end(ap);
    put(table, cell);
}

static void print_row(const struct rc_cli_table *table, char *const *row, const int *widths) {
    for (size_t c = 0; c < table->n_columns; c++) {
        const char *cell = row[c] ? row[c] : "";
        int pad = widths[c] - width(cell);
        bool last = c + 1 == table->n_columns;
        if (table->right & (1U << c))
            printf("%*s%s%s", pad, "", cell, last ? "" : "  ");
        else
            printf("%s%*s", cell, last ? 0 : pad + 2, "");
    }
    putchar('\n');
}

void rc_cli_table_print(struct rc_cli_table *table, const char *empty) {
    int widths[CLI_TABLE_COLUMNS] = {0};
    for (size_t r = 0; r < table->n_rows; r++) {
        for (size_t c = 0; c < table->n_columns; c++) {
            int w = table->rows[r][c] ? width(table->rows[r][c]) : 0;
            widths[c] = w > widths[c] ? w : widths[c];
        }
    }
    if (table->n_rows > 1) {
        for (size_t r = 0; r < table->n_rows; r++)
            print_row(table, table->rows[r], widths);
    } else if (empty) {
        puts(empty);
    }
    for (size_t r = 0; r < table->n_rows; r++) {
        for (size_t c = 0; c < table->n_columns; c++)
            free(table->rows[r][c]);
    }
    free(table->rows);
    *table = (struct rc_cli_table){0};
}
