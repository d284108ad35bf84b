#include "base/priority.h"

#include <errno.h>
#include <sys/resource.h>

#define NICE 10

/* On Linux nice values are those of threads, and 0 is the calling one. */
void rc_priority_stand_back(void) {
    errno = 0;
    int nice = getpriority(PRIO_PROCESS, 0);
    if (errno == 0)
        (void)setpriority(PRIO_PROCESS, 0, nice + NICE);
}
