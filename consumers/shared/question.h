/* Questions over HTTP that only a consumer's loop can answer: its state belongs to one thread and has no locks.
 *
 * The HTTP thread hands the request over, wakes the loop and waits; the loop answers between two of its turns. A loop that does not come
 * round in time is not waited for (503), and neither is one that has not begun or is ending, so nobody's answer hangs on a consumer that
 * restores or drains. One question at a time, and an answer must be short work: the loop does nothing else meanwhile. */
#ifndef RC_SHARED_QUESTION_H
#define RC_SHARED_QUESTION_H

#include "base/process.h"
#include "kafka/loop.h"

struct rc_questions;

/* How long the HTTP thread waits for the loop. */
#define RC_QUESTION_WAIT_MS 2000

/* Called in the loop. Fills the reply as an HTTP handler does; everything is borrowed for the call. */
typedef void (*rc_answer_fn)(void *ctx, const struct rc_http_request *request, struct rc_http_reply *reply);

/* `role`: that of the consumer, a literal. `process`, `loop`: borrowed until rc_questions_close. Never fails; without an HTTP server there are no
 * questions. */
struct rc_questions *rc_questions_open(const struct rc_process *process, const char *role, struct rc_loop *loop);
/* Whoever waits is told that the process ends. NULL is fine. */
void rc_questions_close(struct rc_questions *questions);

/* `path` as in rc_http_route. `post`: it may be asked for by POST as well. `ctx` is borrowed until rc_questions_close. */
void rc_questions_route(struct rc_questions *questions, const char *path, bool post, rc_answer_fn answer, void *ctx);

/* Answers what waits. Once a turn of the loop; the first call begins the answering. Cost where nothing waits: a lock. */
void rc_questions_turn(struct rc_questions *questions);

/* ---- for answers ---- */

/* Says what is wrong: `{"error": …}` with an HTTP status. */
void rc_answer_error(struct rc_http_reply *reply, int status, const char *fmt, ...) RC_PRINTF(3, 4);
/* The reply is JSON: the value is written into it and released (taken). */
void rc_answer_json(struct rc_http_reply *reply, json_t *value);
/* The person key that is asked about, or NULL, and the reply says what is wrong with it. Borrowed for the call. */
const char *rc_answer_person(const struct rc_http_request *request, struct rc_http_reply *reply);
/* Another process of the same role may hold the partition: 421 with `{"error", "partition", "owner": {"instance", "host", "port"}}` where
 * rollcall.processes names one (looked up in the HTTP thread after the answer, and remembered for a moment), else 503: it is on its
 * way. */
void rc_answer_elsewhere(struct rc_questions *questions, int32_t partition);

#endif
