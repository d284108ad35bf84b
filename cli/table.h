/* Aligned columns on stdout, for people. */
#ifndef RC_CLI_TABLE_H
#define RC_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define CLI_TABLE_COLUMNS 10

struct rc_cli_table {
    size_t n_columns;
    char *(*rows)[CLI_TABLE_COLUMNS]; /* the first is the heading; cells owned */
    size_t n_rows, capacity;
    size_t filled;  /* cells of the last row */
    unsigned right; /* bit c: column c holds numbers, set to the right */
};

/* `headings`: a NULL-terminated list. One that begins with '>' is a column of numbers. */
void rc_cli_table_init(struct rc_cli_table *table, const char *const *headings);
/* Adds a cell to the row at hand; a full row begins the next. */
void rc_cli_table_add(struct rc_cli_table *table, const char *fmt, ...) RC_PRINTF(2, 3);
/* Prints and releases. Nothing but `empty` (may be NULL) when there is no row. */
void rc_cli_table_print(struct rc_cli_table *table, const char *empty);

#endif
