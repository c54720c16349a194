/* A program run to its end, what it said kept: over pipes or on a PTY. */
#ifndef PODTERM_TESTS_LIB_CHILD_H
#define PODTERM_TESTS_LIB_CHILD_H

#include <stdbool.h>
#include <stddef.h>

#define CHILD_MS 60000 /* then it is killed and the test fails */

struct child {
    const char *const *argv; /* [0] is a path, or found on PATH */
    const char *const *env;  /* "NAME=value": added to ours; NULL = none */
    const char *cwd;         /* NULL = ours */
    int cols, rows;          /* > 0: on a PTY of that size */
    /* Called with all that came so far, after each read; master_fd is the
     * PTY, or -1. NULL = nothing. */
    void (*came)(void *arg, const char *out, int master_fd);
    void *arg;
    /* afterwards, until child_fini: */
    int code;   /* exit code, or 128 + signal */
    char *out;  /* on a PTY both, else standard output */
    size_t len; /* of out */
    char *err;
};

void child_run(struct child *c);
void child_fini(struct child *c);
/* Run and expect this exit code; what it said is printed otherwise. */
void child_expect(struct child *c, int code);

#endif
