/*
 * A session on a bed of tests/lib/clusterbed.h with its owner's connection,
 * and all that its program has said there.
 */
#ifndef PODTERM_TESTS_LIB_CLUSTERTALK_H
#define PODTERM_TESTS_LIB_CLUSTERTALK_H

#include "tests/lib/clusterbed.h"

#define CLUSTERTALK_SAID_MAX (1 << 20) /* bytes */

struct clustertalk {
    struct clusterbed *bed; /* borrowed */
    struct stack_session ss;
    struct stack_link link;
    struct buf said;
    uint64_t typed; /* bytes since it began */
};

/* Created as who (more: as for stack_create) and attached; until its program
 * has said this, or its end when text is NULL. */
void clustertalk_begin(struct clustertalk *t, struct clusterbed *b,
                       const char *who, const struct stack_bundle *bundle,
                       const char *more, const char *text);
/* clusterbed_expect, of this one. */
void clustertalk_expect(struct clustertalk *t, const char *text);
/* A line ends with its newline. */
void clustertalk_type(struct clustertalk *t, const char *line);
/* Another connection goes on where the last one was. */
void clustertalk_again(struct clustertalk *t);
/* DELETE by who made it, which the connection is told. */
void clustertalk_delete(struct clustertalk *t);
/* Cuts the connection, if it is still there. */
void clustertalk_fini(struct clustertalk *t);

#endif
