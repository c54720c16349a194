/*
 * A person at a terminal: `podterm dev` behind it, and the real client on a
 * PTY of 100x30 in front. One desk a test program, one terminal a time.
 */
#ifndef PODTERM_TESTS_LIB_DESK_H
#define PODTERM_TESTS_LIB_DESK_H

#include "tests/lib/seat.h"
#include "tests/lib/stack.h"

struct desk {
    struct stack *stack;
    struct stack_bundle bundle; /* one that can run anything */
    char *podterm;              /* the client's path */
    struct seat seat;
};

extern struct desk desk; /* the running test's */

/* For cmocka: of the group; and of a test, whose terminal goes. */
int desk_setup(void **arg);
/* The same with further flags for dev, which outlive it. */
int desk_setup_with(const char *const *more);
int desk_teardown(void **arg);
int desk_leave(void **arg);

/* Name the bundle that clients start from now on. */
void desk_bundle(const struct stack_bundle *b);
/* podterm run [flag] -- sh -c script. flag: with its value behind =, or NULL */
void desk_run(const char *flag, const char *script);
/* A shell in between, as a user has it, that is given this line. */
void desk_shell(const char *line);
/* The session the client told of; until the next call. */
const char *desk_session(void);
/* The client ends with this code, the terminal as it was. */
void desk_expect_end(int status, int ms);

#endif
