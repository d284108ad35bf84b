/* `rollcall produce`: events of files (CSV, JSONL, Avro container files, each also gzipped, or stdin) onto a dataset's topic.
 *
 * Every row becomes the record that the dataset's definition describes, is decoded again with the very decoder that ingest uses, and is
 * sent with the person key, to the partition that the Java client's default partitioner gives it. So nothing that this command
 * accepts ends in the dead letters for what it says; a row that would is named on stderr and skipped. */
#ifndef RC_PRODUCERS_PRODUCE_H
#define RC_PRODUCERS_PRODUCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"
#include "base/signal.h"
#include "segment/definition.h"

struct rc_produce_options {
    const struct rc_config *config;   /* borrowed: kafka.*, group.prefix, topics.prefix, state.dir */
    const struct rc_catalog *catalog; /* borrowed: what rollcall.definitions or `-f PATH` say */
    const char *dataset;              /* --dataset */
    const char *const *files;         /* "-": stdin; the form is told by the name, else by the first bytes; borrowed */
    size_t n_files;
    double rate;                /* --rate: records per second, at most; 0: as fast as it goes */
    bool shift_now;             /* --shift now: timestamps move by one amount so that the last is now */
    bool sort;                  /* --sort: by time; rows of one time stay in the order of the files */
    int64_t pace_ms;            /* --pace: see producers/timing.h; implies sort, stands before shift; 0: not */
    const char *time_zone;      /* --time-zone: of local times without an offset; NULL: the dataset's `timezone` */
    int64_t import_ms;          /* import: its number, see codec/origin.h; 0: not one */
    bool dry;                   /* import --dry-run: everything but sending */
    bool strict;                /* --strict: the first bad row ends the run with exit 65 */
    bool quiet;                 /* no progress on stderr (bad rows are named all the same) */
    const struct rc_stop *stop; /* when requested: send nothing more, flush, return */
};

struct rc_produce_result {
    uint64_t rows;    /* read */
    uint64_t sent;    /* acknowledged by all in-sync replicas; dry: that would be sent */
    uint64_t bad;     /* named on stderr and skipped */
    uint64_t ignored; /* left out by the dataset's own `where` */
    bool stopped;     /* ended early by `stop` */
};

/* Reads, converts and sends everything, and waits until all of it is acknowledged. `result` is filled in any case. Fails: DATA (65) on
 * a file that cannot be read or, with `strict`, on a bad row; USAGE (64) on options that do not fit the dataset; UNAVAILABLE (69)
 * when the broker cannot be reached. */
rc_status rc_produce_run(const struct rc_produce_options *options, struct rc_produce_result *result,
                         struct rc_error *err) RC_MUST_USE;

#endif
