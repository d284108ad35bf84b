#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#undef rc_error_set
#undef rc_error_prefix

rc_status rc_error_set(struct rc_error *err, enum rc_error_class class, enum rc_exit exit_code, const char *fmt, ...) {
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        err->class = class;
        err->exit_code = exit_code;
        vsnprintf(err->message, sizeof err->message, fmt, ap);
        va_end(ap);
    }
    return RC_FAIL;
}

rc_status rc_error_prefix(struct rc_error *err, const char *fmt, ...) {
    if (err) {
        char old[sizeof err->message];
        memcpy(old, err->message, sizeof old);
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(err->message, sizeof err->message, fmt, ap);
        va_end(ap);
        size_t room = n >= 0 && (size_t)n < sizeof err->message ? sizeof err->message - (size_t)n : 0;
        if (room > 3)
            snprintf(err->message + n, room, ": %.*s", (int)(room - 3), old);
    }
    return RC_FAIL;
}
