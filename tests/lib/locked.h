/*
 * A child locked in as the unpacker is, or as told (agent/lockdown.h), and
 * what it has: a tree to write to, an archive to read, a pipe to tell by.
 */
#ifndef PODTERM_TESTS_LIB_LOCKED_H
#define PODTERM_TESTS_LIB_LOCKED_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define FILE_BYTES (1 << 20)
#define MEMORY_BYTES (64ul << 20)
/* agent/lockdown.c: no limit of memory there */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SHADOW true
#else
#define HAS_SHADOW false
#endif
#define LOCK_FAILED 99

struct locked {
    char *dir; /* tree/ and archive are in it */
    int tree_fd, archive_fd, pipe_fds[2];
    pid_t parent;               /* of the child: ourselves */
    int (*lock)(struct err *e); /* NULL: as the unpacker */
};

extern struct locked locked; /* the running test's */

/* A cmocka setup and teardown. */
int locked_setup(void **state);
int locked_teardown(void **state);

/* The wait status of a child that locked itself in and then did as told; its
 * exit code is 0 when that worked. */
int locked_child(long (*attack)(void));
bool locked_worked(long (*attack)(void));

struct locked_try {
    const char *name;
    long (*attack)(void);
};
#define LOCKED_TRY(f)                                                          \
    {                                                                          \
#f, f                                                                  \
    }
/* How many of them worked; each is named. */
int locked_tries(const struct locked_try *rows, size_t count);
/* What nobody may who was locked in: other processes, and the kernel. */
extern const struct locked_try locked_common[];
extern const size_t locked_common_count;

/* openat2(2), the one way in which files can be opened there; openat(2) where
 * the kernel has none. */
long locked_open(int at, const char *path, int flags, int mode);

#endif
