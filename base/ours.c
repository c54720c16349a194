#include "base/ours.h"

#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static int ours_judge(const char *path, const struct stat *st, mode_t type,
                      struct err *e)
{
    if (S_ISLNK(st->st_mode))
        return err_set(e, ERR_SYSTEM,
                       "%s is a symbolic link, which is not followed: remove "
                       "it, or choose another place",
                       path);
    if ((st->st_mode & S_IFMT) != type)
        return err_set(e, ERR_SYSTEM,
                       "%s is not a %s: move it away, or choose another place",
                       path, type == S_IFDIR ? "directory" : "regular file");
    if (st->st_uid != geteuid())
        return err_set(e, ERR_SYSTEM,
                       "%s belongs to uid %u, not to us (uid %u), and is not "
                       "used: move it away, or choose another place",
                       path, (unsigned)st->st_uid, (unsigned)geteuid());
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return err_set(e, ERR_SYSTEM,
                       "%s has mode %04o, others may write it: if nobody else "
                       "has, chmod go-w it; or choose another place",
                       path, (unsigned)st->st_mode & 07777);
    return 0;
}

/* open(2) failed: say why in our words where it is for what lies there. */
static int ours_not_opened(const char *path, mode_t type, struct err *e)
{
    const int why = errno;
    struct stat st;

    if ((why == ELOOP || why == ENOTDIR || why == ENXIO || why == EISDIR) &&
        lstat(path, &st) == 0 && ours_judge(path, &st, type, e) < 0)
        return -1;
    errno = why;
    return err_sys(e, "%s", path);
}

static int ours_judge_fd(const char *path, int fd, mode_t type, struct err *e)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_sys(e, "%s", path);
    return ours_judge(path, &st, type, e);
}

int ours_dir(const char *path, mode_t mode, struct err *e)
{
    own_mem char *name = mem_str(path);
    size_t len = strlen(name);
    own_fd int fd = -1;

    while (len > 1 && name[len - 1] == '/') /* it would follow a link */
        name[--len] = '\0';
    if (mkdir(name, 0700) < 0 && errno != EEXIST)
        return err_sys(e, "%s", name);
    fd = open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return ours_not_opened(name, S_IFDIR, e);
    if (ours_judge_fd(name, fd, S_IFDIR, e) < 0)
        return -1;
    if (fchmod(fd, mode) < 0)
        return err_sys(e, "%s", name);
    return own_fd_give(&fd);
}

int ours_open(const char *path, int flags, struct err *e)
{
    /* not to hang on a fifo somebody put there */
    own_fd int fd = open(
        path, flags | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
        0600);

    if (fd < 0)
        return ours_not_opened(path, S_IFREG, e);
    if (ours_judge_fd(path, fd, S_IFREG, e) < 0)
        return -1;
    return own_fd_give(&fd);
}

int ours_file(const char *path, struct err *e)
{
    struct stat st;

    if (lstat(path, &st) == 0)
        return ours_judge(path, &st, S_IFREG, e);
    return errno == ENOENT ? 0 : err_sys(e, "%s", path);
}
