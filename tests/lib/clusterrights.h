/*
 * The shipped rights (tests/lib/clusteruser.h) one by one, and a bed's
 * controller without one of them.
 */
#ifndef PODTERM_TESTS_LIB_CLUSTERRIGHTS_H
#define PODTERM_TESTS_LIB_CLUSTERRIGHTS_H

#include "tests/lib/clusterbed.h"

struct clusterright {
    const char *verb, *resource, *group;
    void (*test)(void); /* the test's own */
};

typedef void clusterrights_take(const char *verb, const char *resource,
                                const char *group);

/* Read them; forget them. */
void clusterrights_load(void);
void clusterrights_free(void);
/* Give each to take; how many there are. */
size_t clusterrights_each(clusterrights_take *take);
/* The one object a right is for, or NULL: for all. */
const char *clusterrights_name(const struct clusterright *r);
/* From now on (when the API server has heard of it) the bed's controller has
 * all but this one (NULL = all). */
void clusterrights_set(struct clusterbed *bed,
                       const struct clusterright *without);

#endif
