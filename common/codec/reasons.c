#include "codec/reasons.h"

static const char *const texts[RC_REASON_COUNT] = {
#define RC_REASON_TEXT(name, text) [RC_REASON_##name] = text,
    RC_REASONS(RC_REASON_TEXT)
#undef RC_REASON_TEXT
};

const char *rc_reason_text(enum rc_reason reason) {
    return texts[reason];
}

enum rc_reason rc_reason_of(struct rc_span text) {
    for (unsigned i = 0; i < RC_REASON_COUNT; i++)
        if (rc_span_equal(text, rc_span_str(texts[i])))
            return (enum rc_reason)i;
    return RC_REASON_OTHER;
}
