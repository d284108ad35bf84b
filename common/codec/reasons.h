/* Why a record cannot be used: the fixed list of reasons that dead letters carry (header `reason`), that metrics are
 * labelled with and that `rollcall deadletters list` groups by. A detail with what was found stands beside it, never
 * inside it: labels stay few.
 *
 * New reasons go to the end of the list; the texts never change, because people alert on them. */
#ifndef RC_CODEC_REASONS_H
#define RC_CODEC_REASONS_H

#include "base/span.h"

/* clang-format off */
#define RC_REASONS(X)                                                                                                  \
    X(NONE,                "none")                    /* not bad */                                                    \
    X(TOO_LARGE,           "record too large")        /* past the limit on a record's bytes */                         \
    X(BROKEN_JSON,         "broken json")             /* not JSON, not UTF-8, nested too deep, or no object */         \
    X(BROKEN_AVRO,         "broken avro")             /* ends early, goes on after its end, or holds an impossible value */ \
    X(BROKEN_FRAMING,      "broken framing")          /* Confluent framing: no magic byte, or shorter than five bytes */ \
    X(WRONG_SCHEMA_ID,     "wrong schema id")         /* the registry does not know the id, or it is no Avro schema */ \
    X(SCHEMA_MISMATCH,     "schema mismatch")         /* the writer schema does not resolve against the reader schema */ \
    X(MISSING_NAMESPACE,   "missing namespace")       /* no value, or empty text */                                    \
    X(AMBIGUOUS_NAMESPACE, "ambiguous namespace")     /* several values */                                             \
    X(BAD_NAMESPACE,       "bad namespace")           /* neither text nor an integer */                                \
    X(MISSING_PERSON,      "missing person")                                                                           \
    X(AMBIGUOUS_PERSON,    "ambiguous person")                                                                         \
    X(BAD_PERSON,          "bad person")                                                                               \
    X(MISSING_TIMESTAMP,   "missing timestamp")                                                                        \
    X(AMBIGUOUS_TIMESTAMP, "ambiguous timestamp")                                                                      \
    X(BAD_TIMESTAMP,       "bad timestamp")           /* not of the dataset's unit, or outside the years 1-9999 */     \
    X(FUTURE_TIMESTAMP,    "timestamp in the future") /* further ahead of the record's own timestamp than is allowed */ \
    X(MISSING_EVENT_ID,    "missing event id")                                                                         \
    X(AMBIGUOUS_EVENT_ID,  "ambiguous event id")                                                                       \
    X(BAD_EVENT_ID,        "bad event id")                                                                             \
    X(BAD_VALUE,           "bad value")               /* a field's value of another type, out of range, or below `min` */ \
    X(BAD_ELEMENT,         "bad element")             /* an array of elements that holds something else than records */ \
    X(WRONG_PARTITION,     "wrong partition")         /* `keyed`: the record lies where its person key does not belong */ \
    X(REFUSED,             "refused by destination")  /* the sink: a receiver said no for good */                      \
    X(OTHER,               "other")                   /* only for texts of a later build, see rc_reason_of */
/* clang-format on */

enum rc_reason {
#define RC_REASON_ENUM(name, text) RC_REASON_##name,
    RC_REASONS(RC_REASON_ENUM)
#undef RC_REASON_ENUM
        RC_REASON_COUNT
};

/* The text; static. */
const char *rc_reason_text(enum rc_reason reason);

/* The reason with this text; RC_REASON_OTHER when there is none. */
enum rc_reason rc_reason_of(struct rc_span text);

#endif
