/* Definitions evaluated over what the dataset topics hold: by the engine of `ingest`, beside the pipeline. No consumer group, no writing, up to
 * the ends as they are at the start.
 *
 * Persons are evaluated unit by unit, one unit in memory at a time. A unit is the persons of one partition number, or where a partition holds
 * more than memory does, an equal share of them by another hash. Either way its persons are chosen by a hash of their key, so a unit is a
 * random sample of all persons. In a unit the events are put in order of their time first (on disk), so that M is known at each of the
 * instants that are asked for, whatever order the records have.
 *
 * The mistake that it prevents: a number that is told before somebody decides, and that another engine would give. */
#ifndef RC_CLI_PAST_H
#define RC_CLI_PAST_H

#include "cli/command.h"
#include "codec/reasons.h"
#include "producers/progress.h"
#include "segment/population.h"

struct rc_past;

struct rc_past_options {
    int64_t at_ms;           /* M is wanted at this instant, */
    const int64_t *instants; /* and at these: ascending, all before at_ms; borrowed until close */
    size_t n_instants;
    int64_t since_ms; /* records whose Kafka timestamp is before this are left out; INT64_MIN: none */
    bool grace;       /* changes by time alone wait for the datasets' grace, as in ingest; else M itself */
};

/* Looks at the topics; reads nothing yet. `catalog` is borrowed until close (its grace may be set to 0). Fails (exit 69) without a broker,
 * (78) where topics or settings do not fit. */
rc_status rc_past_open(const struct rc_cli *cli, struct rc_catalog *catalog, const struct rc_past_options *options,
                       struct rc_past **out, struct rc_error *err) RC_MUST_USE;
void rc_past_close(struct rc_past *past); /* NULL is fine */

/* How many partition numbers, and units: unit u is of partition u % partitions. */
int32_t rc_past_partitions(const struct rc_past *past);
uint32_t rc_past_units(const struct rc_past *past);
/* More units than asked for, before anything has run: at least `units` to a partition. */
void rc_past_split(struct rc_past *past, uint32_t slices);
bool rc_past_in_unit(const struct rc_past *past, uint32_t unit, struct rc_span person_key);

/* Records in all partitions. */
uint64_t rc_past_records(const struct rc_past *past);
/* Records of these datasets (flags, by index in the catalog) whose Kafka timestamp is not before `since_ms`, less a day: what a backfill
 * reads. */
rc_status rc_past_records_since(const struct rc_past *past, const bool *datasets, int64_t since_ms, uint64_t *out,
                                struct rc_error *err) RC_MUST_USE;

/* How many units are going to be run, for the progress. */
void rc_past_expect(struct rc_past *past, uint32_t n_units);

/* Reads and evaluates one unit, adds it to the counts, and calls `visit` for each person and segment (rc_population_each_member) with M
 * true at at_ms, once. A unit is run once. Fails: 69 when the broker stays away, 65 where memory does not do, saying what to change. */
rc_status rc_past_run(struct rc_past *past, uint32_t unit, struct rc_progress *progress, rc_member_fn visit, void *ctx,
                      struct rc_error *err) RC_MUST_USE;

/* Persons of the units run so far for whom the segment was true at instants[i]; i = n_instants: at at_ms. */
uint64_t rc_past_count(const struct rc_past *past, size_t i, uint32_t segment);

/* From which instant on everything of the dataset that is not older has been read: INT64_MIN: all that ever was there. */
int64_t rc_past_history(const struct rc_past *past, uint32_t dataset);

/* What was read, each record once however often it was gone over. */
struct rc_past_tally {
    uint64_t records, events, ignored;
    uint64_t bad[RC_REASON_COUNT]; /* by reason: dead letters */
    uint64_t quarantined;          /* persons with more events than state.person_events: their membership is not M */
};
const struct rc_past_tally *rc_past_tally(const struct rc_past *past);

#endif
