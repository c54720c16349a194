/* Processes that tests of base/proc.h start and see end. */
#ifndef PODTERM_TESTS_LIB_SPAWNED_H
#define PODTERM_TESTS_LIB_SPAWNED_H

#include <sys/types.h>

#define SPAWNED_MS 5000 /* how long an end may take */

extern char *const spawned_sleeper[]; /* the arguments of one */

/* A sleep of a minute; its pidfd. */
int spawned_sleep(pid_t *pid);
/* It ends by itself: the wait status. */
int spawned_wait(int pid_fd);
/* Kill it, and close its pidfd. */
void spawned_end(int pid_fd);

#endif
