/*
 * A walk goes RMTREE_LEVELS down. A directory below that is moved up into
 * one that is made in the tree's top for it, where the next walk finds it: so
 * every walk shortens the tree. Nothing of a usual size is ever moved.
 */
#include "controller/rmtree.h"

#include "base/loop.h"
#include "base/own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOLDS_MAX 100000 /* names tried for a directory of our own */

struct level {
    DIR *dir;
    char name[NAME_MAX + 1]; /* in the level above */
};

struct walk {
    const _Atomic int64_t *until_ms;
    struct level at[RMTREE_LEVELS]; /* at[0] is the top */
    int depth;
    int hold_fd; /* takes what is moved up; -1 = none yet */
    char hold[24];
    unsigned long moved;
    bool has_removed; /* or moved */
    int error;        /* errno of what failed last; 0 = nothing did */
};

static bool is_late(const struct walk *w)
{
    return w->until_ms && loop_now_ms() >= atomic_load(w->until_ms);
}

/* 0 = gone; -1 with errno, ENOTEMPTY for a directory with something in it. */
static int drop(int parent_fd, const char *name)
{
    if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (errno == EEXIST)
        errno = ENOTEMPTY;
    return -1;
}

/*
 * A directory its writer closed to us is opened again first. Root needs none
 * of that, so that it never changes a mode by a name that others may swap.
 */
static int open_dir(int parent_fd, const char *name)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    own_fd int fd = openat(parent_fd, name, flags);

    if (geteuid() == 0)
        return own_fd_give(&fd);
    if (fd < 0 && errno == EACCES && fchmodat(parent_fd, name, 0700, 0) == 0)
        fd = openat(parent_fd, name, flags);
    if (fd < 0 || fchmod(fd, 0700) < 0)
        return -1;
    return own_fd_give(&fd);
}

/* Takes fd. */
static int enter(struct walk *w, int fd, const char *name)
{
    struct level *to = &w->at[w->depth];

    to->dir = fdopendir(fd);
    if (!to->dir) {
        close(fd);
        return -1;
    }
    snprintf(to->name, sizeof to->name, "%s", name);
    w->depth++;
    return 0;
}

static void leave(struct walk *w)
{
    struct level *from = &w->at[--w->depth];

    closedir(from->dir);
    if (w->depth == 0)
        return; /* the top's name is not ours to judge */
    if (drop(dirfd(w->at[w->depth - 1].dir), from->name) == 0)
        w->has_removed = true;
    else if (errno != ENOTEMPTY) /* of what is in it we know already */
        w->error = errno;
}

static int hold_make(struct walk *w)
{
    int top_fd = dirfd(w->at[0].dir);

    for (int i = 0; i < HOLDS_MAX; i++) {
        snprintf(w->hold, sizeof w->hold, ".up-%d", i);
        if (mkdirat(top_fd, w->hold, 0700) == 0) {
            w->hold_fd = open_dir(top_fd, w->hold);
            return w->hold_fd < 0 ? -1 : 0;
        }
        if (errno != EEXIST)
            return -1;
    }
    return -1;
}

static int move_up(struct walk *w, int parent_fd, const char *name)
{
    char fresh[24];

    if (w->hold_fd < 0 && hold_make(w) < 0)
        return -1;
    snprintf(fresh, sizeof fresh, "%lu", w->moved++);
    if (renameat(parent_fd, name, w->hold_fd, fresh) < 0)
        return -1;
    w->has_removed = true;
    return 0;
}

static int take(struct walk *w, const char *name)
{
    int parent_fd = dirfd(w->at[w->depth - 1].dir);
    own_fd int fd = -1;

    if (drop(parent_fd, name) == 0) {
        w->has_removed = true;
        return 0;
    }
    if (errno != ENOTEMPTY)
        return -1;
    fd = open_dir(parent_fd, name); /* who moves it must be able to write */
    if (fd < 0)
        return -1;
    return w->depth == RMTREE_LEVELS ? move_up(w, parent_fd, name)
                                     : enter(w, own_fd_give(&fd), name);
}

static bool is_passed_over(const struct walk *w, const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
           (w->depth == 1 && w->hold_fd >= 0 && strcmp(name, w->hold) == 0);
}

/* One walk through the tree at fd, which it takes. */
static void walk(struct walk *w, int fd)
{
    struct dirent *entry;
    own_fd int top_fd = -1;

    w->depth = w->error = 0;
    w->moved = 0;
    w->has_removed = false;
    w->hold_fd = -1;
    top_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (enter(w, fd, "") < 0)
        w->error = errno;
    while (w->depth > 0) {
        entry = is_late(w) ? NULL : readdir(w->at[w->depth - 1].dir);
        if (!entry)
            leave(w);
        else if (!is_passed_over(w, entry->d_name) &&
                 take(w, entry->d_name) < 0)
            w->error = errno;
    }
    if (w->hold_fd >= 0)
        unlinkat(top_fd, w->hold, AT_REMOVEDIR); /* if nothing came there */
    own_fd_release(&w->hold_fd);
}

int rmtree(int parent_fd, const char *name, const _Atomic int64_t *until_ms,
           struct err *e)
{
    struct walk w = {.until_ms = until_ms};

    while (drop(parent_fd, name) < 0) {
        int fd = errno == ENOTEMPTY ? open_dir(parent_fd, name) : -1;

        if (fd < 0)
            return err_sys(e, "%s", name);
        walk(&w, fd);
        if (is_late(&w))
            return 1;
        if (!w.has_removed) { /* nor would another */
            errno = w.error ? w.error : ENOTEMPTY;
            return err_sys(e, "%s", name);
        }
    }
    return 0;
}
