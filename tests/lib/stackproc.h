/*
 * The processes of one stack, told from all others of this machine: by the
 * stack's directory in their command line or, in a cage, among their mounts.
 */
#ifndef PODTERM_TESTS_LIB_STACKPROC_H
#define PODTERM_TESTS_LIB_STACKPROC_H

#include "tests/lib/stack.h"

#include <stdbool.h>
#include <sys/types.h>

enum stack_part {
    PART_KEEPER,
    PART_SUPERVISOR, /* podterm-agent, the one that restarts the other */
    PART_MAIN,
    PART_BWRAP,
    PART_SHIM,
    PART_PROGRAM, /* the bundle's own first process */
};

/* The process that has this part in the session; 0 = there is none now. */
pid_t stackproc_find(const struct stack *s, const char *sid,
                     enum stack_part part);
/* A child of this process with this word in its command line; 0 = none. */
pid_t stackproc_child(pid_t parent, const char *word);
/* Every process of the session, caged ones and bubblewrap among them. */
int stackproc_session(const struct stack *s, const char *sid, pid_t *out,
                      int cap);
/* Every process of the stack but dev itself. */
int stackproc_all(const struct stack *s, pid_t *out, int cap);
/* Nothing of the session (NULL: of the stack) is left within ms; else fails
 * and names what is. */
void stackproc_wait_none(const struct stack *s, const char *sid, int ms);
/* Command line with blanks between the words; false = there is no such
 * process. */
bool stackproc_cmdline(pid_t pid, char *out, size_t size);
/* What dev and each of them waits in, thread by thread, to stderr: for a test
 * that waited in vain. The kernel's stack is told to root alone. */
void stackproc_show(const struct stack *s);
/* Open descriptors of a process. */
int stackproc_fds(pid_t pid);
/* inotify watches of a process, over all its descriptors. */
int stackproc_watches(pid_t pid);
/* Private_Clean + Private_Dirty, KiB. */
int stackproc_private_kib(pid_t pid);

#endif
