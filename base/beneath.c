#include "base/beneath.h"

#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* openat2 gives up where any process renamed anything while it went through a
 * ".."; a try takes about a microsecond. */
#define BENEATH_TRIES 1000
#define BENEATH_NOSYMFOLLOW 0x2000 /* ST_NOSYMFOLLOW; not in glibc 2.36 */

/* --- one component --- */

struct part {
    char name[NAME_MAX + 1];
    const char *rest; /* behind it, its slashes too */
    bool is_last;     /* but for slashes */
};

static int part_take(const char *path, struct part *p)
{
    size_t len;

    path += strspn(path, "/");
    len = strcspn(path, "/");
    if (len > NAME_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(p->name, path, len);
    p->name[len] = 0;
    p->rest = path + len;
    p->is_last = p->rest[strspn(p->rest, "/")] == 0;
    return 0;
}

static bool part_is_dots(const struct part *p)
{
    return strcmp(p->name, ".") == 0 || strcmp(p->name, "..") == 0;
}

/* --- the walk --- */

struct beneath {
    int fds[BENEATH_DEPTH_MAX + 1]; /* gone into; the first is the caller's */
    int depth;                      /* of the last, where we are */
    int links;                      /* followed so far */
    bool may_follow;
    int flags; /* of the last component */
    mode_t mode;
};

static int beneath_fail(int error)
{
    errno = error;
    return -1;
}

static int beneath_here(const struct beneath *b)
{
    return b->fds[b->depth];
}

static int beneath_enter(struct beneath *b, int fd)
{
    if (b->depth == BENEATH_DEPTH_MAX) {
        close(fd);
        return beneath_fail(ENAMETOOLONG);
    }
    b->fds[++b->depth] = fd;
    return 0;
}

static void beneath_leave(struct beneath *b)
{
    close(b->fds[b->depth--]);
}

static int beneath_dots(struct beneath *b, const struct part *p)
{
    /* they take the right to search here, as any name does */
    own_fd int here =
        openat(beneath_here(b), ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (here < 0)
        return -1;
    if (p->name[1] != '.')
        return 0;
    if (b->depth == 0)
        return beneath_fail(EXDEV);
    beneath_leave(b);
    return 0;
}

/* What the link is to, through the descriptor of the link itself: nobody can
 * put another in its place. The caller's, or NULL with errno. */
static char *beneath_target(struct beneath *b, int link_fd)
{
    char text[PATH_MAX];
    struct statfs fs;
    ssize_t n;

    if (++b->links > BENEATH_LINKS_MAX || !b->may_follow ||
        fstatfs(link_fd, &fs) < 0 || fs.f_type == PROC_SUPER_MAGIC ||
        (fs.f_flags & BENEATH_NOSYMFOLLOW)) {
        errno = ELOOP;
        return NULL;
    }
    n = readlinkat(link_fd, "", text, sizeof(text));
    if (n < 0)
        return NULL;
    if (n == 0 || n == sizeof(text) || text[0] == '/') {
        errno = n == 0 ? ENOENT : text[0] == '/' ? EXDEV : ENAMETOOLONG;
        return NULL;
    }
    return mem_strn(text, (size_t)n);
}

static bool beneath_is_link(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISLNK(st.st_mode);
}

/* A directory by name. Not by O_DIRECTORY and O_NOFOLLOW at once: gVisor
 * follows a link then. */
static int beneath_dir(struct beneath *b, const char *name, int flags,
                       mode_t mode, char **target)
{
    own_fd int found =
        openat(beneath_here(b), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (found < 0 || fstat(found, &st) < 0)
        return -1;
    if (S_ISLNK(st.st_mode) && !(flags & O_NOFOLLOW)) {
        *target = beneath_target(b, found);
        return -1;
    }
    if (!S_ISDIR(st.st_mode))
        return beneath_fail(ENOTDIR);
    if (flags & O_PATH)
        return own_fd_give(&found);
    return openat(found, ".", flags | O_CLOEXEC, mode);
}

/* Open one name where we are. -1 with *target: it is a link, to there. */
static int beneath_name(struct beneath *b, const char *name, int flags,
                        mode_t mode, char **target)
{
    own_fd int fd = -1, link_fd = -1;
    int saved;

    if (flags & O_DIRECTORY)
        return beneath_dir(b, name, flags, mode, target);
    fd = openat(beneath_here(b), name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
    saved = errno;
    if (flags & O_NOFOLLOW)
        return own_fd_give(&fd);
    if (fd >= 0 && !((flags & O_PATH) && beneath_is_link(fd)))
        return own_fd_give(&fd);
    if (fd < 0 && errno != ELOOP)
        return -1;
    link_fd = openat(beneath_here(b), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (link_fd < 0 || !beneath_is_link(link_fd))
        return beneath_fail(fd < 0 ? saved : EAGAIN);
    *target = beneath_target(b, link_fd);
    return -1;
}

/* A slash behind the last name asks for a directory, and follows a link
 * whatever else was asked for. */
static int beneath_last(struct beneath *b, const struct part *p, char **target)
{
    int flags = b->flags;

    if (*p->rest && (flags & O_CREAT))
        return beneath_fail(EISDIR);
    if (*p->rest)
        flags = (flags & ~O_NOFOLLOW) | O_DIRECTORY;
    return beneath_name(b, p->name, flags, b->mode, target);
}

static int beneath_walk(struct beneath *b, const char *path)
{
    own_mem char *text = NULL; /* that a link led to, and the rest */
    struct part p;

    for (;;) {
        own_mem char *target = NULL;
        int fd;

        if (part_take(path, &p) < 0)
            return -1;
        path = p.rest;
        if (part_is_dots(&p)) {
            if (beneath_dots(b, &p) < 0)
                return -1;
            if (p.is_last)
                return openat(beneath_here(b), ".", b->flags | O_CLOEXEC,
                              b->mode);
            continue;
        }
        fd = p.is_last
                 ? beneath_last(b, &p, &target)
                 : beneath_name(b, p.name, O_PATH | O_DIRECTORY, 0, &target);
        if (target) {
            char *more = mem_printf("%s%s", target, p.rest);

            free(text);
            path = text = more;
            continue;
        }
        if (fd < 0 || p.is_last)
            return fd;
        if (beneath_enter(b, fd) < 0)
            return -1;
    }
}

static int beneath_by_hand(int dir_fd, const char *path, int flags, mode_t mode,
                           enum beneath_links links)
{
    struct beneath b = {.fds = {dir_fd},
                        .may_follow = links == BENEATH_LINKS,
                        .flags = flags,
                        .mode = mode};
    int fd, saved;

    if (!path[0])
        return beneath_fail(ENOENT);
    if (strlen(path) >= PATH_MAX)
        return beneath_fail(ENAMETOOLONG);
    if (path[0] == '/')
        return beneath_fail(EXDEV);
    fd = beneath_walk(&b, path);
    saved = errno;
    while (b.depth > 0)
        beneath_leave(&b);
    errno = saved;
    return fd;
}

int beneath_open(int dir_fd, const char *path, int flags, mode_t mode,
                 enum beneath_links links)
{
    struct open_how how = {
        .flags = (unsigned)(flags | O_CLOEXEC),
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS |
                   (links == BENEATH_LINKS ? 0 : RESOLVE_NO_SYMLINKS),
    };
    int fd, tries = 0;

    do {
        fd = (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
    } while (fd < 0 && errno == EAGAIN && ++tries < BENEATH_TRIES);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return beneath_by_hand(dir_fd, path, flags, mode, links);
    return fd;
}

bool beneath_is_native(void)
{
    /* too short an open_how: no file is looked at */
    return syscall(SYS_openat2, -1, "", NULL, 0) < 0 && errno == EINVAL;
}
