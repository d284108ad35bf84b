/* Inside of the materialize consumer: what its files share. Reading order, in the order of the data:
 *   materialize.c  opens everything, the main loop
 *   takeover.c     a partition comes: local state, the own output log, where to start; a partition goes
 *   input.c        record → group → decision → change, and its version
 *   checkpoint.c   state, output and offset become durable together; exits get their tombstones
 *   sweep.c        all persons are held against new rules
 *   publish.c      scheduled audiences are published, and who did not fit comes in when there is room
 *   walk.c         over everybody, slice by slice: what the two have in common
 *   guard.c        a new condition is counted before it is in force, and held when it would change too much
 *   rules.c        the catalog becomes rules, and what must outlive a definition is remembered
 *   report.c       status and metrics
 *   answers.c      what HTTP asks about one person
 * One thread runs all of it; only the status section is read by another. */
#ifndef RC_MATERIALIZE_STAGE_H
#define RC_MATERIALIZE_STAGE_H

#include <pthread.h>

#include "base/process.h"
#include "consumers/materialize/audience.h"
#include "consumers/materialize/groups.h"
#include "consumers/materialize/persons.h"
#include "consumers/materialize/rulebook.h"
#include "consumers/shared/announce.h"
#include "consumers/shared/definitions.h"
#include "consumers/shared/question.h"
#include "consumers/shared/repeats.h"
#include "kafka/loop.h"
#include "kafka/producer.h"
#include "kafka/source.h"
#include "kafka/topics.h"
#include "store/store.h"

#define RC_MATERIALIZE_ROLE "materialize"
#define RC_MATERIALIZE_FORMAT 1
/* Between two looks of the guard at what others tell, while something waits for it. */
#define RC_GUARD_LOOK_MS 100

/* Values of the whole process lie in the store's meta space under this partition number, which no topic has. */
#define RC_MATERIALIZE_GLOBAL INT32_MAX

#define RC_MATERIALIZE_METRICS(X)                                                                                   \
    X(counter, records, "rollcall_materialize_records_total", "Records of the segments topic that were read")       \
    X(counter, repeated, "rollcall_materialize_repeated_total",                                                     \
      "Records that told nothing new: their version was known")                                                     \
    X(counter, changes, "rollcall_materialize_changes_total", "Membership changes that were published")             \
    X(counter, adopted, "rollcall_materialize_adopted_total",                                                       \
      "Changes decided again after a restart that the topic held already")                                          \
    X(counter, withheld, "rollcall_materialize_withheld_total", "Entries that size_limit forbade to publish")       \
    X(counter, publications, "rollcall_materialize_publications_total",                                             \
      "Publications of scheduled audiences, one a partition")                                                       \
    X(counter, tombstones, "rollcall_materialize_tombstones_total", "Tombstones after memberships.exit_retention")  \
    X(counter, cut_groups, "rollcall_materialize_cut_groups_total",                                                 \
      "Decisions whose last record did not come in time")                                                           \
    X(counter, bad, "rollcall_materialize_dead_letters_total", "Records of the segments topic that cannot be read") \
    X(counter, checkpoints, "rollcall_materialize_checkpoints_total", "Checkpoints committed")                      \
    X(gauge, ends_soon, "rollcall_materialize_expiring_audiences", "Audiences that expire within 30 days")          \
    X(gauge, lag_records, "rollcall_materialize_lag_records",                                                       \
      "Records of the segments topic that are not decided yet")                                                     \
    X(gauge, lag_seconds, "rollcall_materialize_lag_seconds", "Age of the last record taken, while there are more") \
    X(gauge, dirty, "rollcall_materialize_unsaved_persons", "Persons changed since the last checkpoint")            \
    X(gauge, cached, "rollcall_materialize_cache_bytes", "Memory that persons take")                                \
    X(gauge, disk, "rollcall_materialize_state_bytes", "Local state on disk")                                       \
    X(histogram, event_latency, "rollcall_materialize_event_to_change_seconds",                                     \
      "Timestamp of the deciding event to change published")                                                        \
    X(histogram, due_latency, "rollcall_materialize_due_to_change_seconds",                                         \
      "Due time of a change by time alone to change published")                                                     \
    X(histogram, hop_latency, "rollcall_materialize_hop_seconds",                                                   \
      "Segment change emitted to membership change published")

struct materialize_metrics {
    RC_MATERIALIZE_METRICS(RC_METRIC_MEMBER)
};

/* An exit that was published and will need a tombstone. */
struct pending_exit {
    char *key; /* owned */
    size_t key_len;
    uint32_t audience;
    int64_t version, due_ms;
};

/* A change in the own output log behind the last checkpoint. */
struct tail_change {
    char *key; /* person key; owned */
    size_t key_len;
    uint32_t audience;
    bool realized;
    int64_t since_ms, version, told_ms;
};

/* A pass over all persons that publishes some audiences: scheduled ones that are due, or those that have room again. Persons touched
 * meanwhile are as they are when the pass comes to them. */
struct pass {
    enum {
        PASS_NONE,
        PASS_CATCHING_UP, /* until what had been told when it became due is decided */
        PASS_SAVING,      /* until everybody who was there by then is in the store */
        PASS_RUNNING,
    } state;
    enum rc_cause cause;
    uint32_t *audiences; /* by name; owned */
    int64_t *dues;       /* the instant of each one's schedule; owned; unused in one that fills up */
    size_t n, capacity;
    bool fills;         /* lets in who was withheld */
    int64_t wanted_ms;  /* wall: when it was begun */
    int64_t goal;       /* input offset that ends PASS_CATCHING_UP; −1: not known yet */
    uint32_t slice;     /* the next one */
    int64_t started_ms; /* monotonic: when PASS_RUNNING began */
};

/* Counting, silently, what new conditions would have. */
struct count {
    enum {
        COUNT_NONE,
        COUNT_SAVING, /* until everybody who was there is in the store */
        COUNT_RUNNING,
    } state;
    uint32_t slice;      /* the next one */
    struct tried *tried; /* by candidate of the guard; owned */
    bool look;           /* something may have become live */
};

/* The last change of the decision that is being made, until it is known whether another one follows. */
struct kept {
    bool is;
    uint32_t audience;
    struct rc_buf key, value;
};

enum part_phase {
    PART_LEARNING,  /* takes signals in without deciding, up to `learn_to` */
    PART_REPEATING, /* decides again what the output log may hold already, up to `boundary` */
    PART_LIVE,
};

struct part {
    struct stage *stage;
    int32_t number;
    enum part_phase phase;
    int64_t learn_to;  /* where deciding begins: the offset that the former owner committed, or `boundary` */
    int64_t boundary;  /* end of the input when the partition came */
    bool trust;        /* learnt: who is touched is not reviewed before everybody is */
    int64_t committed; /* offset that the group has; −1: none */
    int64_t next;      /* offset of the next record */
    struct rc_persons *persons;
    struct rc_groups *groups;
    struct rc_audience_tally *here; /* by audience name, n_tallies of the stage */
    struct rc_versions versions;
    struct rc_repeats *repeats; /* PART_REPEATING only */
    struct tail_change *tail;
    size_t n_tail, tail_capacity;

    /* Reviewing everybody. */
    uint64_t reviewed;          /* generation under which all persons were reviewed; saved */
    enum rc_cause review_cause; /* RESTORE, BACKFILL after learning, else DEFINITION */
    bool sweep_may_start;       /* everybody who is to be reviewed is in the store */
    uint32_t sweep_slice;

    /* Publishing what is scheduled. */
    int64_t
        *published_ms; /* by audience name, n_tallies: the instant up to which its schedule is done here; 0: never */
    bool *waits;       /* by audience name: one of its segments is not live here yet (shared/live.h) */
    bool *released;    /* by audience name: all are live now, and everybody is still to be held against it */
    int64_t clock_ms;  /* as handed over: all schedules but those named open are done up to here; 0: not told */
    struct pass pass;
    bool look; /* something may be due */
    struct count count;
    int64_t next_fill_ms; /* monotonic: not before */

    /* Checkpoints. */
    bool changed;       /* something to save */
    bool wanted_now;    /* do not wait for the interval */
    int64_t saved_ms;   /* monotonic: begin of the last one */
    int64_t saved_next; /* input offset in the last committed one */
    int64_t output_end; /* of the own output, as acknowledged */
    int64_t mark;       /* in the own output: what is decided while not yet live may stand behind it already */
    int64_t
        version_mark; /* versions below it follow from input before `committed`; of the handover while not yet live */
    struct rc_store_batch
        *batch; /* is being put, or waits for its acknowledgements; NULL: none, or given to the store */
    bool put;   /* everything is in it */
    struct rc_store_write *write; /* is being committed; NULL: not yet */
    uint64_t batch_mark;
    int64_t batch_next, batch_output_end, batch_version;
    bool batch_for_sweep; /* it began when the partition was live, and after the present rules came */
    bool batch_for_pass;  /* it began after what the pass waits for was decided */
    bool batch_for_count; /* it began after the count was wanted */

    struct pending_exit *exits; /* not in a batch yet */
    size_t n_exits, exits_capacity;
    struct pending_exit *batch_exits; /* those that the batch is to hold, up to `n_put_exits` in it */
    size_t n_batch_exits, batch_exits_capacity, n_put_exits;
    struct pending_exit *buried; /* tombstones sent: their index entries are to be deleted */
    size_t n_buried, buried_capacity;
    int64_t next_burial_ms; /* wall: when the index is to be looked at again */

    int64_t last_record_ms; /* Kafka timestamp of the last record, for the lag */
    bool paused;
};

struct stage {
    struct rc_process *process;
    const struct rc_config *config;
    char *segments_topic, *memberships_topic, *deadletters_topic, *cluster;
    int32_t n_partitions;
    int64_t interval_ms, exit_retention_ms;
    bool exactly_once; /* changes, offsets: one transaction for all partitions */
    int32_t schema_id;
    bool confluent;

    struct rc_loop *loop;
    struct rc_admin *admin; /* open while partitions or definitions come, see rc_stage_admin */
    struct rc_kafka_source *source;
    struct rc_producer *producer;
    struct rc_announcer *announcer;
    struct rc_definitions *definitions;
    struct rc_store *store;
    struct rc_questions *questions; /* what HTTP asks of the loop */

    struct rc_names *signals, *audiences;
    uint32_t saved_signals, saved_audiences; /* names that the store has */

    struct rc_catalog *catalog;
    struct rc_audience_memory *memories;
    size_t n_memories, memories_capacity;
    json_t *memory_index; /* by id: the place in memories */
    struct rc_rulebook book;
    struct rc_audience_rules *rules;
    struct guard *guard;
    uint64_t words;                /* what was said beside the definitions by then */
    char **own_topics;             /* by audience name: own topic, NULL for none */
    struct rc_audience_tally *all; /* by audience name */
    int64_t *last_change_ms;       /* by audience name */
    size_t n_tallies;

    struct part **parts;
    size_t n_parts, parts_capacity;
    bool assigned;         /* the group has spoken at least once */
    bool announce;         /* the partitions changed since they were announced */
    int64_t full_since_ms; /* monotonic; 0: the producer has room */
    int64_t busy_until_ms; /* monotonic: many records came at once, a moment ago */

    /* The decision that is being made. */
    struct part *deciding;
    struct rc_span deciding_key;
    int64_t told_ms; /* emittedAt of the record that completes it, 0: none */
    bool failed;
    struct rc_error failure; /* of an emit */

    struct kept kept;

    struct rc_audience_person person; /* scratch */
    struct rc_buf key, value, scratch;

    struct materialize_metrics metrics;
    struct rc_gauge **members; /* by audience name; NULL where not registered */
    pthread_mutex_t view_lock;
    json_t *view; /* what the status section shows; replaced whole */
    bool view_stale;
    int64_t view_ms; /* monotonic */
};

/* materialize.c */
/* Opens `stage->admin` if need be. It is closed when all partitions are live: a client has threads that wake. */
rc_status rc_stage_admin(struct stage *stage, struct rc_error *err) RC_MUST_USE;
struct part *rc_stage_part(const struct stage *stage, int32_t number);
/* All arrays by audience name get room for every name. */
void rc_stage_grow_tallies(struct stage *stage);
/* A change of the audience was told at `told_ms`; the latest counts. */
void rc_stage_changed(struct stage *stage, uint32_t audience, int64_t told_ms);
void rc_stage_set_share(struct stage *stage);
/* Looks for new definitions and words, and takes them up; once a turn, and while a partition waits for them. */
rc_status rc_stage_follow_definitions(struct stage *stage, struct rc_error *err) RC_MUST_USE;

/* takeover.c */
rc_status rc_takeover_assigned(void *ctx, struct rc_source_partition *partitions, size_t n, struct rc_error *err)
    RC_MUST_USE;
void rc_takeover_revoked(void *ctx, const struct rc_source_partition *partitions, size_t n, bool lost);
/* Looks whether the partition is past where its phase ends, and takes it to the next one. `next`: the record about to be taken, or
 * where reading stands. */
rc_status rc_takeover_progress(struct part *part, int64_t next, struct rc_error *err) RC_MUST_USE;

/* input.c */
rc_status rc_input_take(struct part *part, const struct rc_message *message, struct rc_error *err) RC_MUST_USE;
rc_status rc_input_close_old_groups(struct part *part, int64_t now_ms, struct rc_error *err) RC_MUST_USE;
/* Publishes one change of the person `stage->deciding_key`; rc_audience_emit_fn with a part as context. The last one is kept back until the next, or
 * rc_input_end. */
int64_t rc_input_emit(void *ctx, const struct rc_audience_change *change);
/* The person's decision is over: every call that decides is followed by it. */
rc_status rc_input_end(struct part *part, struct rc_error *err) RC_MUST_USE;
/* Sends a change under a new version, a decision of its own. */
rc_status rc_input_send_anew(struct part *part, struct rc_span person_key, uint32_t audience,
                             const struct rc_membership *change, int64_t *version, struct rc_error *err) RC_MUST_USE;
struct rc_audience_desk rc_input_desk(struct part *part);

/* checkpoint.c */
void rc_checkpoint_note_exit(struct part *part, struct rc_span key, uint32_t audience, int64_t version,
                             int64_t told_ms);
/* One has begun that is not committed yet. */
bool rc_checkpoint_under_way(const struct part *part);
/* Begins and goes on with what is due, a slice at a time; with exactly_once all partitions at once. `*more`: there is more to do at once. */
rc_status rc_checkpoint_turn(struct stage *stage, int64_t monotonic_ms, bool *more, struct rc_error *err) RC_MUST_USE;
/* When the next one is to begin, monotonic; INT64_MAX: nothing is to be saved, or one is under way. */
int64_t rc_checkpoint_due(const struct part *part);
/* What is under way is given up; waits for the store. */
void rc_checkpoint_drop(struct part *part);
/* All of it now, waiting up to `timeout_ms` for acknowledgements. */
rc_status rc_checkpoint_whole(struct part *part, int timeout_ms, struct rc_error *err) RC_MUST_USE;
rc_status rc_checkpoint_bury(struct part *part, int64_t now_ms, struct rc_error *err) RC_MUST_USE;
/* The saved values of a partition; *found false when there are none. */
struct saved_part {
    char cluster[128];
    int64_t next, output_end;
    uint32_t epoch;
    uint64_t reviewed;
    int review_cause;
    int learning; /* it was saved in the middle of learning */
};
rc_status rc_checkpoint_read(struct stage *stage, int32_t number, struct saved_part *out, bool *found,
                             struct rc_error *err) RC_MUST_USE;
rc_status rc_checkpoint_read_tallies(struct part *part, struct rc_error *err) RC_MUST_USE;

/* sweep.c */
bool rc_sweep_pending(const struct part *part);
/* Reviews persons for about `budget_ms`. */
rc_status rc_sweep_turn(struct part *part, int64_t budget_ms, struct rc_error *err) RC_MUST_USE;

/* publish.c */
/* Looks what is due, and publishes for about `budget_ms`. */
rc_status rc_publish_turn(struct part *part, int64_t budget_ms, struct rc_error *err) RC_MUST_USE;
bool rc_publish_running(const struct part *part);
/* Which audiences wait for their segments: after new rules, and when a segment has become live. */
rc_status rc_publish_set_waits(struct part *part, struct rc_error *err) RC_MUST_USE;
/* Something may be due, in all partitions. */
void rc_publish_look(struct stage *stage);
/* What the batch must hold of it, and reading that back. */
void rc_publish_save(struct part *part, struct rc_store_batch *batch);
rc_status rc_publish_load(struct part *part, struct rc_error *err) RC_MUST_USE;
/* What a new owner must know, behind what `metadata` (NUL-terminated, `bytes` of room) holds already; and taking it over. */
void rc_publish_hand_over(struct part *part, char *metadata, size_t bytes);
void rc_publish_take_over(struct part *part, const char *metadata);
/* Whether the audience (of that entry of the book) is being published in the partition, or waits for that. */
bool rc_publish_pending(const struct part *part, size_t entry);
/* The instant of its schedule that was published last in all partitions; 0: not in all of them. */
int64_t rc_publish_last_ms(const struct stage *stage, size_t entry);
void rc_publish_free(struct part *part);
/* For each of the rules whether all segments that it names are live in the partition. */
rc_status rc_publish_ready(struct part *part, const struct rc_audience_rules *rules, bool *ready, struct rc_error *err)
    RC_MUST_USE;

/* walk.c */
/* What is done with one person; true when the record has changed. */
typedef bool (*rc_walk_verb)(struct part *part, const struct rc_audience_desk *desk, struct rc_audience_person *person);
/* Goes on from `*slice`, until RC_PERSONS_SLICES are done, the time is up, or the producer is full. */
rc_status rc_walk(struct part *part, uint32_t *slice, int64_t budget_ms, rc_walk_verb verb, struct rc_error *err)
    RC_MUST_USE;

/* guard.c */
void rc_guard_open(struct stage *stage);
void rc_guard_close(struct stage *stage);
/* Puts into the book which condition of each audience is in force, and remembers that. */
void rc_guard_enter(struct stage *stage, const struct rc_catalog *catalog, struct rc_rulebook *book,
                    struct rc_store_batch *batch);
/* The book is in force: what waits in it is counted from now on. */
void rc_guard_adopt(struct stage *stage);
/* Counts on in one partition. */
rc_status rc_guard_count(struct part *part, int64_t budget_ms, struct rc_error *err) RC_MUST_USE;
/* Tells the own numbers, and, with partition 0, judges everybody's. */
rc_status rc_guard_turn(struct stage *stage, int64_t monotonic_ms, struct rc_error *err) RC_MUST_USE;
/* A count is under way, or a word is to be written, in the next moments. */
bool rc_guard_busy(const struct stage *stage);
void rc_guard_part_free(struct part *part);

/* rules.c */
rc_status rc_rules_load(struct stage *stage, struct rc_error *err) RC_MUST_USE;
/* Takes `catalog` (NULL: the present one again, because time has passed). */
rc_status rc_rules_adopt(struct stage *stage, struct rc_catalog *catalog, struct rc_error *err) RC_MUST_USE;
/* Grows with everything that is said beside the definitions: approvals, what is in force. */
uint64_t rc_rules_words(const struct stage *stage);
/* Remembers which condition of an audience is in force; `where` is borrowed. */
void rc_rules_remember(struct stage *stage, struct rc_store_batch *batch, const char *id, int version, json_t *where);
/* What is remembered of it; NULL: nothing. */
const struct rc_audience_memory *rc_rules_memory(const struct stage *stage, const char *id);
/* Writes names that the store has not. */
rc_status rc_rules_save_names(struct stage *stage, struct rc_error *err) RC_MUST_USE;
void rc_rules_free(struct stage *stage);

/* answers.c */
/* Opens the questions, and their routes. Closed by rc_questions_close. */
void rc_answers_open(struct stage *stage);

/* report.c */
void rc_report_open(struct stage *stage);
void rc_report_close(struct stage *stage);
void rc_report_turn(struct stage *stage, int64_t monotonic_ms);
json_t *rc_report_status(void *ctx);

#endif
