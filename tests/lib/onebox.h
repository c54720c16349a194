/*
 * What the tests of a whole agent share: one box a test and the owner's
 * connection to it, programs whose every byte is known, and their report.
 */
#ifndef PODTERM_TESTS_LIB_ONEBOX_H
#define PODTERM_TESTS_LIB_ONEBOX_H

#include "tests/lib/agentbox.h"

#include <stddef.h>
#include <stdint.h>

#define MS 5000
#define QUIET_MS 150   /* long enough to see that nothing comes */
#define LEAVES_MS 4000 /* from the end to the agent's leaving */

/* A program that says what it reads, a line at a time. */
#define ECHO_LINES                                                             \
    "stty -echo; echo ready; while read -r l; do echo \"<$l>\"; done"
/* One that writes that many numbered lines of 8 bytes, then ends with 3. */
#define NUMBERS(lines)                                                         \
    "stty raw -echo; seq -f %07.0f 1 " #lines " | cat; exit 3"

extern struct agentbox *box; /* the running test's */

/* Ends it; a cmocka teardown. */
int box_teardown(void **state);
/* agentbox_new, and its owner's connection. */
struct agentlink *box_owner(const char *script, const char *over);
/* The owner's connection anew, from this offset: dial until somebody answers,
 * the agent may be on its way back. */
struct agentlink *box_again(uint64_t from);
/* The owner's connection ends, then the agent; its report, the caller's. */
struct json *box_ends(struct agentlink *l, const char *reason);

/* A number of a report, which must have it. */
int64_t report_number(const struct json *report, const char *name);

/* For agentlink's take: the bytes must be those of NUMBERS. */
void numbers_take(void *arg, uint64_t offset, const uint8_t *p, size_t len);
/* Take messages in until the output has come to this offset, or fail. */
void agentlink_to(struct agentlink *l, uint64_t offset, int ms);

#endif
