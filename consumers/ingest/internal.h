/* Private to consumers/ingest. One event's way: ingest.c (the loop) → feed.c (a record to an event) →
 * segment/population.h → emit.c (a change to a record). lane.c owns a partition number's state from its assignment to
 * its loss; checkpoint.c makes it durable, in the local store (saved.c) and the changelog (changelog.c), from which
 * restore.c brings it back (gather.c: sorted); program.c takes up definitions, composition.c makes each lane's plan of them, backfill.c reads the
 * history of new ones, guard.c holds those that change too much, effect.c notes what they moved; report.c tells, answers.c answers. One thread owns all of it;
 * only `report` is shared with the HTTP thread. */
#ifndef RC_INGEST_INTERNAL_H
#define RC_INGEST_INTERNAL_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/metrics.h"
#include "base/process.h"
#include "codec/decode.h"
#include "codec/reasons.h"
#include "codec/registry.h"
#include "consumers/shared/announce.h"
#include "consumers/shared/definitions.h"
#include "consumers/shared/question.h"
#include "consumers/shared/repeats.h"
#include "kafka/loop.h"
#include "kafka/producer.h"
#include "kafka/source.h"
#include "kafka/topics.h"
#include "segment/population.h"
#include "store/store.h"

#define INGEST_STATE_FORMAT 1

/* clang-format off */
#define INGEST_METRICS(X) \
    X(counter, records, "rollcall_ingest_records_total", "Records read from dataset topics") \
    X(counter, events, "rollcall_ingest_events_total", "Accepted events") \
    X(counter, duplicates, "rollcall_ingest_unneeded_total", "Accepted events that changed no state: duplicates, or nothing needs them") \
    X(counter, ignored, "rollcall_ingest_ignored_total", "Records that are no events of their dataset: null value, or its where is false") \
    X(counter, no_values, "rollcall_ingest_no_value_total", "Bad values of accepted events that count as none (on_bad: no_value)") \
    X(counter, changes, "rollcall_ingest_changes_total", "Changes of segment membership and existence sent") \
    X(counter, known, "rollcall_ingest_repeats_total", "Changes decided again after a restart that the log held already") \
    X(counter, history, "rollcall_ingest_warming_records_total", "Records read again for segments that warm up") \
    X(counter, retries, "rollcall_ingest_retries_total", "Records tried again: the schema registry was away") \
    X(counter, checkpoints, "rollcall_ingest_checkpoints_total", "Checkpoints that became durable") \
    X(counter, restored, "rollcall_ingest_restored_records_total", "Changelog records read to restore state") \
    X(counter, distrusted, "rollcall_ingest_distrusted_total", "Changelogs of partitions that could not be used: damaged, truncated, or hurt by a former owner") \
    X(counter, healed, "rollcall_ingest_healed_records_total", "Records that others wrote into a changelog and that were written over") \
    X(counter, damaged, "rollcall_ingest_damaged_total", "Local states that were damaged and dropped") \
    X(gauge, warming_left, "rollcall_ingest_warming_left_records", "Records still to be read for segments that warm up") \
    X(gauge, warming, "rollcall_ingest_warming_segments", "Segments that warm up in some partition of this process") \
    X(gauge, restore_left, "rollcall_ingest_restore_left_records", "Changelog records still to be read to restore state") \
    X(gauge, lag_records, "rollcall_ingest_lag_records", "Records that wait in the assigned partitions") \
    X(gauge, lag_seconds, "rollcall_ingest_lag_seconds", "Greatest distance of a partition's clock from the wall clock") \
    X(gauge, persons, "rollcall_ingest_persons", "Persons with state") \
    X(gauge, resident, "rollcall_ingest_persons_in_memory", "Persons whose state is in memory; the others' is on disk alone") \
    X(gauge, memory, "rollcall_ingest_state_memory_bytes", "Memory of the state, about") \
    X(gauge, quarantined, "rollcall_ingest_quarantined_persons", "Persons with more events than state.person_events; their memberships stand still") \
    X(gauge, disk, "rollcall_ingest_state_disk_bytes", "Disk of the state, about") \
    X(gauge, partitions, "rollcall_ingest_partitions", "Partition numbers held") \
    X(histogram, event_to_change, "rollcall_ingest_event_to_change_seconds", "Event timestamp to its change sent, while caught up") \
    X(histogram, due_to_change, "rollcall_ingest_due_to_change_seconds", "Due time of a change by time alone to its sending, while caught up") \
    X(histogram, checkpoint, "rollcall_ingest_checkpoint_seconds", "Start of a checkpoint to its being durable")
/* clang-format on */

struct ingest_metrics {
    INGEST_METRICS(RC_METRIC_MEMBER)
    struct rc_counter *dead_letters[RC_REASON_COUNT]; /* registered when first needed */
};

/* ---- definitions in use ---- */

/* The datasets that come over one topic. */
struct route {
    char *topic; /* what is read: the dataset's own, or `<prefix>.events.<dataset>` */
    uint32_t *datasets;
    size_t n;
};

/* The newest definitions. What a lane decides by is its composition. */
struct program {
    struct rc_catalog *catalog;
    struct rc_plan *plan;
    uint64_t *meanings;           /* by segment (meaning.c); owned */
    uint64_t versions;            /* a hash of which version of each segment this is */
    struct rc_decoder **decoders; /* by dataset */
    struct route *routes;
    size_t n_routes;
    int32_t n_partitions;
    bool rekeys; /* some dataset is not keyed */
};

/* What a lane's plan is made of (composition.c). */
struct composition {
    uint64_t name; /* equal names: equal */
    size_t users;
    struct rc_catalog *catalog;
    struct rc_plan *plan;
};

/* A segment as a lane serves it. */
/* What a version that went over moves, until that is in the audit trail (effect.c). */
struct effect {
    int version; /* 0: nothing is to be told */
    int64_t entered, left;
    bool done;    /* everybody has been looked at */
    bool partial; /* a process died meanwhile */
};

struct served {
    char *id;
    int version;
    uint64_t meaning;   /* 0: it is gone, and its members leave it */
    int64_t generation; /* of the replay that its state is of; 0: of none */
    char *json;
    bool backfilled;
    int64_t gap_ms; /* what lies before was not on the topic any more; 0: nothing was missing */
    bool told;      /* that it is live (consumers/shared/live.h) */
    struct effect effect;
    bool unsaved;  /* the local store does not have it so yet */
    bool unlogged; /* nor the changelog */
    bool leaving;  /* the checkpoint under way says that it is gone */
};

/* Up to where a segment's history is to be read from a topic: live traffic from there on has been for it as well. */
struct history_cut {
    char *topic;
    int64_t offset;
};

/* A version that is not served yet. */
struct shadow {
    char *id;
    int version;
    uint64_t meaning;
    int64_t generation; /* of the replay that asks for it, or that new versions belong to; 0: none */
    struct history_cut *cuts;
    size_t n_cuts;
    int64_t gap_ms;
    bool reading;   /* takes part in the pass */
    bool done;      /* its history is read */
    bool switching; /* the checkpoint under way says that it serves */
};
#define RC_SHADOW_NAME 72

/* What a pass reads of a topic. */
struct stretch {
    char *topic;
    int64_t from, at, end; /* offsets */
    bool clipped;          /* it begins where the topic does, behind records that are gone */
};

/* ---- a partition number ---- */

struct lane;
struct restore;    /* restore.c */
struct saved_lane; /* saved.c */

/* One topic's partition of a lane. */
struct input {
    struct lane *lane;
    char *topic;
    int64_t position;    /* next offset to apply; −1: nothing applied yet, from the beginning */
    int64_t greatest_ms; /* greatest Kafka timestamp applied, INT64_MIN: none */
    int64_t clock_ms;    /* INT64_MIN: none */
    int64_t committed;   /* offset last given to the group */
    int64_t waits_at;    /* where its reader waits while the lane is restored */
};

enum lane_state {
    LANE_HELD, /* not all topics' partitions of this number are ours (in the midst of a change of topics): nothing is done */
    LANE_RESTORING, /* `restore` is at work, or definitions are waited for; the inputs flow already, but nothing of them is taken */
    LANE_CATCHING_UP, /* reads what it has missed; `repeats` is in use */
    LANE_LIVE,
    LANE_PARKED, /* given back, kept in memory in case that it comes back untouched */
};

struct lane {
    struct ingest *ingest;
    int32_t number;
    enum lane_state state;
    struct rc_population *population;
    struct composition *composition; /* what the population decides by; NULL: none */
    struct composition **former;     /* that some of its persons are under still */
    size_t n_former, former_capacity;
    struct served *served;
    size_t n_served, served_capacity;
    json_t *served_index; /* id to place */
    struct shadow *shadows;
    size_t n_shadows, shadows_capacity;
    struct stretch *stretches; /* of the pass; without one, none */
    size_t n_stretches;
    bool whole; /* the changelog holds everything of `served` but what is `unlogged` */
    struct rc_versions versions;
    struct rc_repeats *repeats; /* NULL once live */
    struct input **inputs;
    size_t n_inputs, inputs_capacity;
    int64_t output_end;  /* where a successor has to begin reading the own output */
    int64_t output_mark; /* the same while `repeats` is there: where this owner began */
    int64_t given_ms;    /* monotonic */
    int64_t opened_ms;   /* wall clock */
    bool dirty;          /* something changed since the last checkpoint began */
    bool in_checkpoint;  /* the checkpoint under way holds something of it */
    /* The changelog (restore.c, changelog.c); all of it unused where there is none. */
    struct restore *restore; /* NULL: nothing to restore */
    struct counted *counted; /* what the store's records say, when they were just restored; NULL: not known */
    uint32_t marked;         /* greatest epoch that it names */
    bool fresh;              /* what it holds is void: it must say so before anything else is written */
    bool restored;           /* the local state came from it, all of it */
    bool rewriting;          /* all persons of the local store must be written to it, and are from `rewrite_from` on */
    struct rc_buf rewrite_from;   /* a person key */
    int64_t changelog_end;        /* behind the last own record of it, as of the last checkpoint */
    bool more_due;                /* the last advance stopped at its limit */
    size_t quarantined;           /* as logged last */
    bool all_told;                /* that what is served is live */
    bool settled;                 /* everybody is decided under this plan, and that is noted */
    struct rc_store_batch *batch; /* where deadlines go while persons are put; borrowed */
    /* The change that is held until it is known whether another of the same decision is sent (see emit.c). */
    bool pending;
    struct rc_buf pending_key, pending_value;
};

/* A checkpoint under way (checkpoint.c has the steps). */
struct checkpoint_lane {
    struct lane *lane;
    json_t *json;                   /* its own record, as it was at the beginning; owned */
    uint64_t plan;                  /* the plan under which everybody was decided then; 0: not everybody was */
    bool begun;                     /* its persons are being put */
    bool whole;                     /* the changelog stands for it */
    size_t records_before, records; /* kept for the changelog */
};
struct checkpoint {
    bool under_way;
    struct rc_store_batch *batch; /* NULL: given to the store */
    struct rc_store_write *write; /* is being committed; NULL: not yet */
    bool put;                     /* everything is in the batch */
    size_t put_lanes;             /* of so many lanes */
    struct rc_buf records;        /* for the changelog, up to `sent` on their way */
    size_t sent, n_records;
    uint64_t mark; /* the next step waits for it */
    struct checkpoint_lane *lanes;
    size_t n_lanes, lanes_capacity;
    struct rc_offset *offsets; /* topics and metadata owned */
    size_t n_offsets;
    int64_t began_ns;
};

/* How much of what can wait is done (pace.c). */
struct pace {
    size_t limit;     /* records under way before what can wait has to */
    int64_t least_ns; /* that an acknowledgement takes when little is under way */
    /* The round: from a record's sending to the acknowledgement of all before it. */
    bool measuring, held, worked; /* held: the limit was reached meanwhile; worked: something that can wait was done */
    uint64_t mark, sent;          /* sent: records, up to the last turn */
    int64_t began_ns, ended_ns;
    /* Work that can wait: history, who goes over to a new plan, a checkpoint's persons. */
    double share;          /* of the loop's time */
    int64_t slice_ns;      /* of this turn, for each kind of it; 0: it rests */
    int64_t spent_ns;      /* in this turn */
    int64_t rest_until_ns; /* monotonic */
};

struct release; /* release.c */
struct guard;   /* guard.c */

/* The reader of history. */
struct backfill {
    struct rc_kafka_source *source; /* NULL: none */
    pthread_t closing;              /* closes the one before */
    bool closes;
    struct lane *lane; /* whose; borrowed */
    struct rc_message ahead
        [RC_EXPECT_MAX]; /* taken together; those from `ahead_at` on are not fed yet, the first of them may wait for the
                                             * schema registry */
    size_t ahead_at, n_ahead;
    int64_t next_try_ms; /* monotonic */
    double tokens;       /* records that the rate allows */
    int64_t filled_ms;   /* monotonic */
    uint64_t records, rate_from;
    double rate; /* records per second, as told */
    int64_t rate_from_ms;
    uint64_t control_changes; /* as followed last */
    bool passed;              /* a pass has ended since the last checkpoint began: the next one says what serves */
};

struct ingest {
    struct rc_process *process;
    const struct rc_config *config;
    struct rc_loop *loop;
    struct rc_admin *admin;
    struct rc_definitions *definitions;
    struct rc_registry *registry; /* NULL: none */
    struct rc_store *store;
    struct rc_kafka_source *source;
    struct rc_producer *producer;
    struct rc_announcer *announcer;
    char *cluster; /* id */
    char *group, *instance;
    char *segments_topic, *deadletters_topic;
    char *state_topic; /* the changelog; NULL: none (embedded broker) */
    int32_t deadletter_partitions;
    int32_t schema_id;
    int64_t checkpoint_ms;
    bool exactly_once; /* a checkpoint is a transaction */

    struct program *program;           /* NULL: not yet */
    struct composition **compositions; /* in use by some lane */
    size_t n_compositions, compositions_capacity;
    char *problem; /* why the newest definitions were not taken up; NULL: they were */

    struct lane **lanes; /* by no order */
    size_t n_lanes, lanes_capacity;
    bool assigned; /* the group has answered at least once since the topics changed */

    struct checkpoint checkpoint;
    int64_t last_checkpoint_ms; /* monotonic; when it began */
    bool behind;                /* many records wait */

    /* Records that were taken together and are not fed yet. None between turns, unless the first of them waits for the
     * schema registry. */
    struct rc_message *ahead;
    size_t ahead_at, n_ahead, ahead_capacity;
    bool has_stuck;
    int64_t stuck_retry_ms; /* monotonic */
    bool paused;            /* all partitions are */
    int64_t full_since_ms;  /* monotonic; 0: the producer has room */
    bool crowded;           /* memory is over its budget, or far too much is unsaved: a checkpoint first */
    struct pace pace;
    int64_t waved_ms;     /* monotonic; when who was due by time alone was decided last */
    bool wave;            /* some who are due are left */
    bool much_unsaved;    /* who is due by time alone waits for a checkpoint */
    size_t person_bytes;  /* that a person takes in a checkpoint, about */
    int64_t next_trim_ms; /* monotonic */

    int64_t next_tell_ms;             /* monotonic */
    int64_t next_restore_ms;          /* monotonic */
    struct rc_kafka_source *restorer; /* reads the changelog of one lane after the other; NULL: none is to be read */
    bool drained;                     /* the last turn read until the queue was empty */
    int64_t next_ask_ms;              /* monotonic */

    struct rc_questions *questions; /* what HTTP asks of the loop */
    struct release *release;
    struct backfill backfill;
    struct guard *guard;
    json_t *effects_told;  /* names of what is in the audit trail */
    json_t *effects_noted; /* by name: the producer's mark behind its entry */

    struct rc_arena arena;
    struct rc_buf key, scratch, value;
    struct ingest_metrics metrics;

    /* The re-keying thread (producers/rekey.h) for datasets that are not keyed. */
    struct {
        bool running;
        pthread_t thread;
        struct rc_stop stop;
        _Atomic bool failed;
        struct rc_error failure;
    } rekey;

    bool failed; /* an error inside a callback that cannot return one */
    struct rc_error failure;

    /* What /status shows; made by the loop, read by the HTTP thread. */
    pthread_mutex_t report_lock;
    json_t *report;      /* NULL: none yet */
    int64_t reported_ms; /* monotonic */
};

/* The first failure inside a callback; the loop ends with it. */
void rc_ingest_fail(struct ingest *ingest, const struct rc_error *err);

/* ---- program.c ---- */

/* Compiles a catalog (taken also on failure), makes and checks its topics. */
rc_status rc_ingest_program_new(struct ingest *ingest, struct rc_catalog *catalog, struct program **out,
                                struct rc_error *err) RC_MUST_USE;
void rc_ingest_program_free(struct program *program);
const struct route *rc_ingest_program_route(const struct program *program, const char *topic);
/* Puts the program into use: populations go over, the group's topics change. */
rc_status rc_ingest_program_adopt(struct ingest *ingest, struct program *program, struct rc_error *err) RC_MUST_USE;
/* Looks at the definitions topic; a program that cannot be used is logged and the old one stays (unless there is
 * none: an error). */
rc_status rc_ingest_program_follow(struct ingest *ingest, struct rc_error *err) RC_MUST_USE;
void rc_ingest_rekey_stop(struct ingest *ingest);

/* ---- meaning.c ---- */

#define RC_MEANING_ENDS 0 /* the meaning of a segment that is gone */

/* Of every segment a hash of what its membership depends on, references followed; never 0. Owned by the caller. */
uint64_t *rc_ingest_meanings(const struct rc_catalog *catalog);
uint64_t rc_ingest_versions(const struct rc_catalog *catalog);
/* Which replay of the dataset counts; 0: none. */
int64_t rc_ingest_replay_of(const struct ingest *ingest, const char *dataset);
int64_t *rc_ingest_replays_of(const struct ingest *ingest); /* by dataset; owned by the caller */
/* Which replay's state the newest version of a segment is to have: the last one of any dataset that it rests on. */
int64_t rc_ingest_generation_of(const struct rc_catalog *catalog, const int64_t *replays, uint32_t segment);
/* Does the segment of the newest catalog rest on what comes over the topic? */
bool rc_ingest_segment_reads(const struct program *program, uint32_t segment, const char *topic);
/* Every reference to a segment below `value`. */
typedef void (*rc_reference_fn)(void *ctx, json_t *condition, const char *id);
void rc_ingest_each_reference(json_t *value, rc_reference_fn visit, void *ctx);
/* The same of a compiled condition; false: `visit` has said so, which is enough. */
typedef bool (*rc_segment_fn)(void *ctx, uint32_t segment);
bool rc_ingest_each_referred(const struct rc_cond *cond, rc_segment_fn visit, void *ctx);

/* ---- composition.c ---- */

/* Is the shadow what serves already, with its state built anew? */
bool rc_ingest_is_replay(const struct lane *lane, const struct shadow *shadow);
/* `as`: what the lane serves from now on, of which `id` and `json` are copied. Borrowed until the next one. */
struct served *rc_ingest_serve(struct lane *lane, const struct served *as);
/* A new segment, or the same one with state from a replay: what it tells is no difference between two definitions. */
bool rc_ingest_tells_as_backfill(const struct served *before, const struct shadow *shadow);
/* What a new version moves is told; what the same one finds when its dataset is read anew is no change of a definition. */
struct effect rc_ingest_effect_of(const struct served *served, const struct shadow *shadow);
/* Tells of what is live and has not been told of. */
void rc_ingest_tell_live(struct ingest *ingest);
struct served *rc_ingest_served(const struct lane *lane, const char *id); /* NULL: it is not served */
struct shadow *rc_ingest_shadow(const struct lane *lane, const char *id); /* NULL: nothing of it warms up */
void rc_ingest_shadow_name(const struct lane *lane, const char *id, char out[RC_SHADOW_NAME]); /* in the composition */

/* Brings the lane to what is defined: what can serve at once does, the rest warms up or ends; the population, if there is one, goes over to the plan
 * that comes of it. Positions must be set. */
rc_status rc_ingest_compose(struct lane *lane, struct rc_error *err) RC_MUST_USE;
/* The same before there is a population. `adopts`: what is saved says nothing of versions (an older build): the newest serve. */
rc_status rc_ingest_compose_first(struct lane *lane, bool adopts, struct rc_error *err) RC_MUST_USE;
void rc_ingest_composition_forget(struct lane *lane);  /* what it serves and warms up */
void rc_ingest_composition_release(struct lane *lane); /* behind the population */
/* Once a turn: carries over persons who are under a former composition, for a slice of time. True while some are left. `waits`: nothing may be told
 * now but live changes. */
bool rc_ingest_carry_turn(struct ingest *ingest, bool waits);

/* Going over, in three steps around a checkpoint: what is ready is marked; the checkpoint says that it serves (rc_ingest_served_put, `logged`: in the changelog too);
 * it is durable. Between the first and the last nothing else may change what the lane is composed of. */
void rc_ingest_switch_begin(struct lane *lane);
bool rc_ingest_switch_pending(const struct lane *lane);
rc_status rc_ingest_switch_committed(struct lane *lane, struct rc_error *err) RC_MUST_USE;

/* ---- served.c ---- */

void rc_ingest_served_put(struct lane *lane, struct checkpoint *checkpoint, bool logged);
rc_status rc_ingest_served_load(struct lane *lane, struct rc_error *err) RC_MUST_USE;
json_t *rc_ingest_shadows_json(const struct lane *lane); /* owned by the caller */
void rc_ingest_shadows_take(struct lane *lane, const json_t *json);

/* ---- guard.c ---- */

enum rc_guard_verdict {
    RC_GUARD_PASSES,
    RC_GUARD_WAITS, /* not every partition has counted yet */
    RC_GUARD_HOLDS,
};
void rc_ingest_guard_open(struct ingest *ingest);
void rc_ingest_guard_close(struct ingest *ingest);
void rc_ingest_guard_turn(struct ingest *ingest);
/* Is the shadow an edit, that is to be counted before it serves? */
bool rc_ingest_guarded(const struct lane *lane, const struct shadow *shadow);
/* Whether it may serve. `*was`, `*would`: members of both versions, as far as they are counted. */
enum rc_guard_verdict rc_ingest_guard_judge(const struct ingest *ingest, const struct lane *lane,
                                            const struct shadow *shadow, int64_t *was, int64_t *would);

/* What others tell; for effect.c. */
struct rc_peers;
struct rc_peers *rc_ingest_guard_peers(const struct ingest *ingest);

/* ---- effect.c ---- */

/* A change that a definition caused was told. */
void rc_ingest_effect_count(const struct lane *lane, const char *segment, bool realized);
/* Everybody has been looked at. */
void rc_ingest_effect_settled(struct served *served);
json_t *rc_ingest_effect_json(const struct effect *effect); /* owned by the caller */
struct effect rc_ingest_effect_take(const json_t *json);
/* {"<segment>@<version>": {"<partition>": [entered, left, partial] | null}}; owned by the caller. */
json_t *rc_ingest_effects_told(const struct ingest *ingest);
bool rc_ingest_effects_open(const struct ingest *ingest);
/* Adds up what all have told, `own` among it, and notes what is complete. */
rc_status rc_ingest_effects_turn(struct ingest *ingest, const json_t *own, struct rc_error *err) RC_MUST_USE;

/* ---- backfill.c ---- */

/* Once a turn; true when there is more to do at once. Failures go to rc_ingest_fail. */
bool rc_ingest_backfill_turn(struct ingest *ingest);
/* When it wants the next turn although nothing wakes the loop. */
int64_t rc_ingest_backfill_due(const struct ingest *ingest, int64_t now_ms);
void rc_ingest_backfill_close(struct ingest *ingest);
bool rc_ingest_backfill_cancelled(const struct ingest *ingest, const char *id, int version);
bool rc_ingest_replay_cancelled(const struct ingest *ingest, const char *id, int64_t generation);
/* Whether an operator holds the segment: it is not read for it alone, and it does not go over. */
bool rc_ingest_backfill_held(const struct ingest *ingest, const struct lane *lane, const struct shadow *shadow);
void rc_ingest_backfill_forget(struct lane *lane);    /* the pass */
void rc_ingest_backfill_followed(struct lane *lane);  /* shadows have gone */
json_t *rc_ingest_pass_json(const struct lane *lane); /* owned by the caller */
void rc_ingest_pass_take(struct lane *lane, const json_t *json);
/* Records read, and to be read in all (at most, before its pass has begun). */
void rc_ingest_backfill_progress(const struct lane *lane, const struct shadow *shadow, int64_t *done, int64_t *all);

/* ---- lane.c ---- */

rc_status rc_ingest_lanes_assigned(void *ctx, struct rc_source_partition *partitions, size_t n, struct rc_error *err)
    RC_MUST_USE;
void rc_ingest_lanes_revoked(void *ctx, const struct rc_source_partition *partitions, size_t n, bool lost);
void rc_ingest_lane_free(struct lane *lane);
/* The lane of a number, if it works; else NULL. */
struct lane *rc_ingest_lane_working(const struct ingest *ingest, int32_t number);
/* Goes on restoring, one lane at a time; true when there is more to do at once. Failures go to rc_ingest_fail. */
bool rc_ingest_lanes_restore(struct ingest *ingest);
/* The lane's saved state cannot be used (`why` says what was found where): names it and drops it. Always RC_FAIL: FENCED,
 * so that the consumer begins again, and restores it. */
rc_status rc_ingest_lane_damaged(struct lane *lane, const struct rc_error *why, struct rc_error *err) RC_MUST_USE;
/* Sets the clocks from what is known; true when some lane waits for the end of a partition to be asked for. */
bool rc_ingest_lanes_set_clocks(struct ingest *ingest, int64_t now_ms);
/* Catching up → live where everything of the former owner has been read. */
void rc_ingest_lanes_settle(struct ingest *ingest);
static inline bool lane_works(const struct lane *lane) {
    return lane->state == LANE_CATCHING_UP || lane->state == LANE_LIVE;
}

/* ---- feed.c ---- */

enum fed { FED, FED_AGAIN };
/* Applies one record of an input. FED_AGAIN: not applied, try later. Failures go to rc_ingest_fail. */
/* Lets go of records that are not fed yet; whoever has their partitions next reads them again. */
void rc_ingest_drop_ahead(struct ingest *ingest);

enum fed rc_ingest_feed(struct ingest *ingest, struct input *input, const struct rc_message *message);
/* Applies those of the record's events that are the person's once more; anything else was dealt with when it came first. FED_AGAIN: it waits for
 * the schema registry. */
enum fed rc_ingest_feed_again(struct ingest *ingest, struct lane *lane, const struct rc_message *message,
                              struct rc_span person_key);
/* Applies the record's events for what warms up alone (backfill.c); with `all` everybody whom they name exists. FED_AGAIN: not applied, try later. */
enum fed rc_ingest_feed_history(struct ingest *ingest, struct lane *lane, const struct rc_message *message, bool all);

/* ---- emit.c ---- */

void rc_ingest_emit_change(void *ctx, const struct rc_change *change); /* ctx: the lane */
/* Sends what is held back by rc_repeats (the lane has caught up). */
void rc_ingest_emit_settled(struct lane *lane);
/* Tells that a segment is live in the lane's partition, or is not any more (consumers/shared/live.h). Between two decisions only. */
void rc_ingest_emit_live(struct lane *lane, const char *segment, int version, bool live);

/* ---- checkpoint.c ---- */

/* Whether nothing is live, because many records wait or nothing is read: then what there is to do is done in great portions. */
static inline bool ingest_hurries(const struct ingest *ingest) {
    return ingest->behind || ingest->crowded;
}
/* Records under way above which nothing more is sent that can wait (who is due by time alone, the changelog), so that a live change does not
 * wait behind all of it. */
size_t rc_ingest_bulk_limit(const struct ingest *ingest);
/* Begins one when something changed; nothing is waited for. One at a time: does nothing while one is under way. */
void rc_ingest_checkpoint_begin(struct ingest *ingest);
/* Takes the one under way as far as what is acknowledged allows, a slice at a time. `wait`: all persons at once, and it waits for the disk and
 * the group's answer. */
rc_status rc_ingest_checkpoint_finish(struct ingest *ingest, bool wait, struct rc_error *err) RC_MUST_USE;
/* Flush, begin, finish: when the partitions are about to go, or the process. */
rc_status rc_ingest_checkpoint_now(struct ingest *ingest, int timeout_ms, struct rc_error *err) RC_MUST_USE;
void rc_ingest_checkpoint_drop(struct ingest *ingest);

/* ---- pace.c ---- */

void rc_ingest_pace_init(struct pace *pace);
/* Takes in that a round has taken so long. */
void rc_ingest_pace_round(struct pace *pace, int64_t took_ns);
/* Once a turn, before its work: how long a slice is. */
void rc_ingest_pace_begin(struct ingest *ingest);
/* Once a turn, behind rc_producer_poll: ends the round whose records are acknowledged, and begins one when something was sent. */
void rc_ingest_pace_turn(struct ingest *ingest);
/* Once a turn, behind its work: for how long what can wait rests now. */
void rc_ingest_pace_end(struct ingest *ingest);
/* What can wait does a slice in a turn: `began_ns` (monotonic) + pace.slice_ns is its end, and this says that it is over. */
void rc_ingest_pace_spent(struct ingest *ingest, int64_t began_ns);
/* When what can wait goes on (wall clock, ms); not before `now_ms`. */
int64_t rc_ingest_pace_rests_until(const struct ingest *ingest, int64_t now_ms);

/* ---- changelog.c ---- */

/* Adds a record to what is to be sent. */
void rc_ingest_changelog_keep(struct checkpoint *checkpoint, const struct lane *lane, struct rc_span key,
                              struct rc_span value);
/* Sends at most `n` of them, from `sent` on. */
rc_status rc_ingest_changelog_send(struct ingest *ingest, struct checkpoint *checkpoint, size_t n, struct rc_error *err)
    RC_MUST_USE;
/* Adds some of the lane's committed persons; ends `rewriting` with the last one. */
rc_status rc_ingest_changelog_rewrite(struct lane *lane, struct checkpoint *checkpoint, struct rc_error *err)
    RC_MUST_USE;
/* Looks whether somebody else has written since the checkpoint before: `own` records are this one's. Persons that were
 * written over are sent again from the local store, which must have been committed. */
rc_status rc_ingest_changelog_heal(struct lane *lane, size_t own, struct rc_error *err) RC_MUST_USE;
/* Writes an owner's mark and waits until it is acknowledged (RETRY: it is not). `fresh`: what is there is void. */
rc_status rc_ingest_changelog_mark(struct lane *lane, uint32_t epoch, bool fresh, struct rc_error *err) RC_MUST_USE;

/* ---- restore.c ---- */

/* Marks the changelog as the lane's, and sets `restore` when something has to be read. `saved`: what the local store
 * has; `group_epoch`: as agreed in the group. */
rc_status rc_ingest_restore_begin(struct lane *lane, const struct saved_lane *saved, uint32_t group_epoch,
                                  struct rc_error *err) RC_MUST_USE;
/* Reads for at most `budget_ms`. `more`: there is something to do at once. When all is read `restore` is NULL, the local
 * store holds the state, and the lane's `fresh` and `rewriting` say what the changelog needs. RETRY: call again. */
rc_status rc_ingest_restore_step(struct lane *lane, int budget_ms, bool *more, struct rc_error *err) RC_MUST_USE;
/* Whether nothing can be done until what was read is written; the loop is woken then. */
bool rc_ingest_restore_waits(const struct lane *lane);
void rc_ingest_restore_drop(struct lane *lane);
/* Closes the reader when no lane has anything left to read. */
void rc_ingest_restore_rest(struct ingest *ingest);
/* Offsets of the changelog read, and to be read in all; 0 when nothing is being restored. */
void rc_ingest_restore_progress(const struct lane *lane, int64_t *done, int64_t *all);

/* ---- gather.c ---- */

/* What a lane's records say together; as the numbers of residence.c. */
struct counted_members {
    uint64_t segment; /* a hash of its id */
    uint64_t n;
};
struct counted {
    size_t persons, quarantined;
    uint64_t plan; /* under which all were saved; 0: not all under one */
    struct counted_members *members;
    size_t n_members, members_capacity, hint;
};
size_t rc_ingest_counted_members(const struct counted *counted, uint64_t segment);
void rc_ingest_counted_free(struct counted *counted);

struct gather;
struct gather *rc_ingest_gather_new(struct rc_store *store, int32_t number);
void rc_ingest_gather_free(struct gather *gather);
/* The person's record from now on; a value without data: there is none. Copies. */
void rc_ingest_gather_put(struct gather *gather, struct rc_span key, struct rc_span value);
size_t rc_ingest_gather_bytes(const struct gather *gather);
bool rc_ingest_gather_empty(const struct gather *gather);
/* Makes all of it part of the store; may be called by another thread. `over_others`: the store may have records of the lane. If not, their deadlines are
 * written as well and `*counted` (owned by the caller) is what they say together; else, and where a record does not read as one, it is NULL. */
rc_status rc_ingest_gather_write(const struct gather *gather, bool over_others, struct counted **counted,
                                 struct rc_error *err) RC_MUST_USE;

/* ---- saved.c ---- */

/* What the store holds for a lane besides its persons. */
struct saved_input {
    char *topic;
    int64_t position, clock_ms, greatest_ms;
};
struct saved_lane {
    bool found;
    char *cluster;
    uint32_t epoch;
    int64_t output_end;
    int64_t definitions; /* rc_definitions_seen of the owner; 0: a build that did not say */
    int64_t changelog;   /* offset up to which the persons are those of the changelog; −1: it lacks some */
    struct saved_input *inputs;
    size_t n_inputs;
    json_t *warming; /* what warms up (composition.c); NULL: saved by a build that knew of none; owned */
    json_t *pass;    /* owned */
};
/* Fills `out` (found false, and false, when the text is none). */
bool rc_ingest_saved_parse(struct rc_span text, struct saved_lane *out);
/* The record without `changelog`; owned by the caller. */
json_t *rc_ingest_saved_json(const struct saved_lane *saved);
/* Puts it into the local store, with `changelog`, which is added to `json`. */
void rc_ingest_saved_put(struct rc_store_batch *batch, int32_t number, json_t *json, int64_t changelog);

rc_status rc_ingest_saved_load(struct ingest *ingest, int32_t number, struct saved_lane *out, struct rc_error *err)
    RC_MUST_USE;
void rc_ingest_saved_deinit(struct saved_lane *saved);

/* ---- residence.c ---- */

#define INGEST_NUMBERS_KEY \
    "population" /* in RC_STORE_META: persons, members, plan; whoever puts persons by another way deletes it */

/* Backs the lane's new population with what the store holds. POISON: a record is damaged. */
rc_status rc_ingest_residence_open(struct lane *lane, struct rc_error *err) RC_MUST_USE;
/* The store's key of a deadline (`out` is reset first). */
void rc_ingest_deadline_key(struct rc_buf *out, uint64_t domain, int64_t due_ms, struct rc_span person_key);
/* Deletes all that the store holds of the partition. */
void rc_ingest_residence_forget(struct rc_store_batch *batch, int32_t number);
/* Puts the numbers of what is saved. `plan`: as in struct checkpoint_lane. */
void rc_ingest_residence_put(struct lane *lane, uint64_t plan, struct rc_store_batch *batch);
/* Lets persons leave memory where it is over the budget and all is saved; sets `crowded` and `much_unsaved`. Once a turn. */
void rc_ingest_residence_trim(struct ingest *ingest);

/* ---- answers.c ---- */

/* Opens the questions, and the routes of them all. Closed by rc_questions_close. */
void rc_ingest_answers_open(struct ingest *ingest);

/* ---- release.c ---- */

void rc_ingest_release_open(struct ingest *ingest);
void rc_ingest_release_close(struct ingest *ingest);
/* Once a turn; true while events are being read again. */
bool rc_ingest_release_turn(struct ingest *ingest);

/* ---- report.c ---- */

void rc_ingest_report_refresh(struct ingest *ingest, int64_t now_ms);
json_t *rc_ingest_report_get(void *ctx);
void rc_ingest_dead_letter_count(struct ingest *ingest, enum rc_reason reason);

#endif
