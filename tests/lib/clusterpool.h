/* How many warm pods a bed's pool has, watched over time. */
#ifndef PODTERM_TESTS_LIB_CLUSTERPOOL_H
#define PODTERM_TESTS_LIB_CLUSTERPOOL_H

#include "tests/lib/clusterbed.h"

#define CLUSTERPOOL_MAX 32
#define CLUSTERPOOL_LOOK_MS 200

struct clusterpool { /* pods that belong to nobody, and are not leaving */
    int here, ready;
    char uids[CLUSTERPOOL_MAX][64]; /* of those */
};

void clusterpool_look(struct clusterbed *b, struct clusterpool *p);
bool clusterpool_holds(const struct clusterpool *p, const char *uid);

/*
 * Watch until want are ready and then for settled_ms more, in which it must
 * stay so. At no time it may be above for two polls (of who fills it) running.
 */
void clusterpool_until(struct clusterbed *b, int poll_ms, int want,
                       int settled_ms);

/* Whether it was above at any time from the one to the other, whoever does what
 * meanwhile: a thread looks. The end fails the test where it was, or where
 * nobody could look; drop only ends it (NULL: nothing). */
struct clusterpool_watch;
struct clusterpool_watch *clusterpool_begin(struct clusterbed *b, int poll_ms,
                                            int target);
void clusterpool_end(struct clusterpool_watch *w);
void clusterpool_drop(struct clusterpool_watch *w);

#endif
