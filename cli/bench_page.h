/* The rows of `bench`, kept until the end, and the page that is made of them. */
#ifndef RC_CLI_BENCH_PAGE_H
#define RC_CLI_BENCH_PAGE_H

#include "bench/measures/bench.h"

/* A row with its texts owned; a measure that failed has only the name and `failure`. */
struct rc_cli_bench_row {
    struct rc_bench_row row;
    char *measure, *what, *beside, *unit, *detail, *failure;
};

struct rc_cli_bench_rows {
    struct rc_cli_bench_row *items;
    size_t n, capacity;
};

void rc_cli_bench_rows_add(struct rc_cli_bench_rows *rows, const struct rc_bench_row *row);
void rc_cli_bench_rows_fail(struct rc_cli_bench_rows *rows, const char *measure, const char *message);
void rc_cli_bench_rows_deinit(struct rc_cli_bench_rows *rows);

/* "ratio >= 0.6" and the like, into `out`. */
#define RC_CLI_BENCH_GOAL 48
void rc_cli_bench_goal(const struct rc_bench_row *row, char out[RC_CLI_BENCH_GOAL]);
/* Three digits that count, "-" for NAN; into `out`, which is returned. */
#define RC_CLI_BENCH_NUMBER 48
const char *rc_cli_bench_number(double value, char out[RC_CLI_BENCH_NUMBER]);

/* Writes the page. What is written by hand stands in another, performance-profile.md, to which it leads. */
rc_status rc_cli_bench_page(const char *path, const struct rc_cli_bench_rows *rows,
                            const struct rc_bench_options *options, struct rc_error *err) RC_MUST_USE;

#endif
