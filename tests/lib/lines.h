/*
 * Numbered lines, "1\r\n2\r\n…", as a program of a test prints them: each
 * must be the successor of the one before, so that nothing can be lost,
 * doubled or changed unseen.
 */
#ifndef PODTERM_TESTS_LIB_LINES_H
#define PODTERM_TESTS_LIB_LINES_H

#include <stddef.h>
#include <stdint.h>

/* What prints them, for ever, a hundred a second. */
#define LINES_LOOP "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done"

struct lines {     /* zeroed = none came yet */
    unsigned last; /* number of the last whole line */
    char part[16];
    size_t len;
};

/* What came; fails the test at the first wrong byte. */
void lines_take(struct lines *l, const uint8_t *bytes, size_t len);

#endif
