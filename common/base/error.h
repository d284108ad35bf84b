/* Errors: what happened, where, and what the caller may do about it.
 *
 * A function that can fail returns `rc_status` (must be used) and fills the caller's `struct rc_error`. On failure its
 * outputs are unchanged. Whoever decides what to do with the error logs it, once; nobody below logs it as well. */
#ifndef RC_BASE_ERROR_H
#define RC_BASE_ERROR_H

/* What the caller may do (after librdkafka's retriable / abortable / fatal split). */
enum rc_error_class {
    RC_CLASS_NONE = 0,
    RC_CLASS_RETRY,  /* may succeed later by itself: broker away, store busy */
    RC_CLASS_POISON, /* this one input is bad and will always be: dead letter it and go on */
    RC_CLASS_FENCED, /* another owner has taken over: stop writing, give up the partition */
    RC_CLASS_FATAL,  /* nothing to be done here: stop with a message */
};

/* Process exit codes, after sysexits(3). */
enum rc_exit {
    RC_EXIT_OK = 0,
    RC_EXIT_USAGE = 64,
    RC_EXIT_DATA = 65,
    RC_EXIT_UNAVAILABLE = 69,
    RC_EXIT_INTERNAL = 70,
    RC_EXIT_TEMPORARY = 75,
    RC_EXIT_CONFIG = 78,
};

#define RC_MUST_USE __attribute__((warn_unused_result))
#define RC_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

typedef enum rc_status { RC_OK = 0, RC_FAIL = -1 } rc_status;

struct rc_error {
    enum rc_error_class class;
    enum rc_exit exit_code; /* what a command ends with when it gives up on this error */
    char message[2048];     /* names file, path, offset, what was found, what to do; cut at the end if longer */
};

/* Fills `err` (may be NULL) and returns RC_FAIL, so that a leaf can `return rc_error_set(err, …);`. */
rc_status rc_error_set(struct rc_error *err, enum rc_error_class class, enum rc_exit exit_code, const char *fmt, ...)
    RC_PRINTF(4, 5);

/* Puts "context: " before the message that is there. Returns RC_FAIL. */
rc_status rc_error_prefix(struct rc_error *err, const char *fmt, ...) RC_PRINTF(2, 3);

/* So that compilers and analyzers know it too: behind a `return rc_error_set(…)` the caller's outputs are not looked at. */
static inline rc_status rc_error_always(rc_status fail) {
    (void)fail;
    return RC_FAIL;
}
#define rc_error_set(...) rc_error_always(rc_error_set(__VA_ARGS__))
#define rc_error_prefix(...) rc_error_always(rc_error_prefix(__VA_ARGS__))

#endif
