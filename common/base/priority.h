/* Work that nobody waits for must not take the processor from work that somebody does. */
#ifndef RC_BASE_PRIORITY_H
#define RC_BASE_PRIORITY_H

/* The calling thread, and every thread that it makes from now on, stands back behind the process's others where there are fewer processors
 * than work (Linux: nice + 10, which takes no right; there is no way back). Where the system refuses, nothing changes. */
void rc_priority_stand_back(void);

#endif
