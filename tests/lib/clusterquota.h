/* A quota that leaves no room in a bed's namespace, for a while. */
#ifndef PODTERM_TESTS_LIB_CLUSTERQUOTA_H
#define PODTERM_TESTS_LIB_CLUSTERQUOTA_H

#include "tests/lib/clusterbed.h"

/* None of these ("pods", "count/jobs.batch") may be made any more, from when
 * this returns until it is lifted. One at a time. */
void clusterquota_none_of(struct clusterbed *b, const char *what);
void clusterquota_lift(struct clusterbed *b);

#endif
