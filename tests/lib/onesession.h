/*
 * One stack and one session that runs, for tests that come to its doors: it
 * is ann's, vic may watch, and its program only sleeps.
 */
#ifndef PODTERM_TESTS_LIB_ONESESSION_H
#define PODTERM_TESTS_LIB_ONESESSION_H

#include "tests/lib/direct.h"

extern struct stack *stack;
extern struct stack_session ann;
extern struct direct agent; /* hers */

/* cmocka's, for the group. */
int onesession_setup(void **state);
int onesession_teardown(void **state);

#endif
