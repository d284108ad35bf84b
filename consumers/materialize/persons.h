/* The persons of one partition: a bounded cache of their records over the local store.
 *
 * What was changed stays in memory until a checkpoint has written it (rc_persons_save_some puts it into a batch, rc_persons_saved says that
 * the batch is committed); what is clean may be dropped and comes back from the store. Two tables age the entries: a look-up
 * moves an entry to the young table, and when that has taken half of the budget the old one is dropped. One thread at a time. */
#ifndef RC_MATERIALIZE_PERSONS_H
#define RC_MATERIALIZE_PERSONS_H

#include "base/error.h"
#include "consumers/materialize/audience.h"
#include "store/store.h"

/* Records lie in the store under two bytes of the key's hash and the person key: so that a pass over all of them can be made in
 * slices, between which live traffic goes on. */
#define RC_PERSONS_SLICES 4096

struct rc_persons;

/* `store` is borrowed. `budget_bytes`: about as much memory clean entries may take. */
struct rc_persons *rc_persons_new(struct rc_store *store, int32_t partition, size_t budget_bytes);
void rc_persons_free(struct rc_persons *persons);

/* Fills `out` (empty when the person is not known). `n_signals`, `n_audiences`: counts of the name tables. Fails (FATAL) on a damaged
 * store. Cost: a hash look-up when hot, a store read when not. */
rc_status rc_persons_load(struct rc_persons *persons, struct rc_span key, uint32_t n_signals, uint32_t n_audiences,
                          struct rc_audience_person *out, struct rc_error *err) RC_MUST_USE;

/* Keeps the record; it is dirty until saved. */
void rc_persons_keep(struct rc_persons *persons, struct rc_span key, const struct rc_audience_person *person);

/* Sets apart what is dirty now, to be put into the batch; one batch at a time, borrowed until all is put. What is kept meanwhile is dirty again; a
 * record that has not been put by then is put first, as it was, so that the batch is what was at this moment. */
void rc_persons_save_begin(struct rc_persons *persons, struct rc_store_batch *batch);
/* Puts some of it, `n` records at most; true while some are left. All of it stays in memory until rc_persons_saved. */
bool rc_persons_save_some(struct rc_persons *persons, size_t n);
/* The batch is committed (`true`) or given up. */
void rc_persons_saved(struct rc_persons *persons, bool committed);
/* Whether what is not saved takes more than the budget. */
bool rc_persons_crowded(const struct rc_persons *persons);

size_t rc_persons_dirty(const struct rc_persons *persons);
size_t rc_persons_bytes(const struct rc_persons *persons);

/* Calls `visit` with the key of every person of a slice (0 … RC_PERSONS_SLICES − 1) that the store knows, so not of those who were never
 * saved yet. Spans are borrowed for the call; `visit` may load and keep. False from `visit` stops (no error). */
typedef bool (*rc_persons_visit_fn)(void *ctx, struct rc_span key);
rc_status rc_persons_each(struct rc_persons *persons, uint32_t slice, rc_persons_visit_fn visit, void *ctx,
                          struct rc_error *err) RC_MUST_USE;

#endif
