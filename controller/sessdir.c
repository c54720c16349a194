#include "controller/sessdir.h"

#include "base/mem.h"
#include "base/ours.h"
#include "base/own.h"
#include "controller/report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SESSDIR_OPEN (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define SESSDIR_DEPTH_MAX 512 /* directories inside each other, removed */

static int give_dir(int fd, const char *path, mode_t mode, uid_t uid, gid_t gid,
                    const struct sessdir_owner *o, struct err *e)
{
    if (fd < 0 || (o->is_root && fchown(fd, uid, gid) < 0) ||
        fchmod(fd, mode) < 0)
        return err_sys(e, "%s", path);
    return 0;
}

/* A fresh one. */
static int make_dir(const char *path, mode_t mode, uid_t uid, gid_t gid,
                    const struct sessdir_owner *o, struct err *e)
{
    own_fd int fd = -1;

    if (mkdir(path, 0700) < 0)
        return err_sys(e, "%s", path);
    fd = open(path, SESSDIR_OPEN);
    return give_dir(fd, path, mode, uid, gid, o, e);
}

int sessdir_setup(const char *state_dir, bool is_root, struct err *e)
{
    const struct sessdir_owner root = {.is_root = is_root};
    own_mem char *sessions = mem_printf("%s/sessions", state_dir);
    own_mem char *cache = mem_printf("%s/cache", state_dir);
    own_fd int fd = ours_dir(sessions, 0711, e);
    own_fd int cache_fd = -1;

    if (fd < 0 || give_dir(fd, sessions, 0711, 0, 0, &root, e) < 0)
        return -1;
    /* as root it is out of the agents' reach: controller/archive.h */
    cache_fd = ours_dir(cache, 0700, e);
    return cache_fd < 0 ? -1 : 0;
}

static int make_file(const char *dir, const char *name, mode_t mode,
                     const char *text, uid_t uid, gid_t gid,
                     const struct sessdir_owner *o, struct err *e)
{
    own_mem char *path = mem_printf("%s/%s", dir, name);
    size_t len = strlen(text), done = 0;
    own_fd int fd =
        open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);

    if (fd < 0)
        return err_sys(e, "%s", path);
    while (done < len) {
        ssize_t n = write(fd, text + done, len - done);

        if (n <= 0)
            return err_sys(e, "%s", path);
        done += (size_t)n;
    }
    if (o->is_root && fchown(fd, uid, gid) < 0)
        return err_sys(e, "%s", path);
    return 0;
}

/* Empty, with room for the report: a disk that is full at the session's end
 * does not keep it from being told. */
static int make_report(const char *dir, uid_t uid, gid_t gid,
                       const struct sessdir_owner *o, struct err *e)
{
    own_mem char *path = mem_printf("%s/end.json", dir);
    own_fd int fd = -1;

    if (make_file(dir, "end.json", 0600, "", uid, gid, o, e) < 0)
        return -1;
    fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, REPORT_MAX) < 0 &&
                   errno != EOPNOTSUPP))
        return err_sys(e, "%s", path);
    return 0;
}

static int fill(const char *dir, const struct sessdir_owner *o,
                const char *spec, const char *trust, struct err *e)
{
    own_mem char *agent = mem_printf("%s/agent", dir);
    own_mem char *ipc = mem_printf("%s/ipc", dir);
    own_mem char *bundle = mem_printf("%s/bundle", dir);
    uid_t uid = o->agent, gid = o->runner;

    if (make_dir(agent, 0700, uid, gid, o, e) < 0 ||
        make_dir(ipc, 0755, uid, gid, o, e) < 0 ||
        make_dir(bundle, 0755, uid, gid, o, e) < 0 ||
        make_file(agent, "spec.json", 0600, spec, uid, gid, o, e) < 0 ||
        make_report(agent, uid, gid, o, e) < 0)
        return -1;
    return make_file(dir, "trust", 0600, trust, 0, 0, o, e);
}

int sessdir_make(const char *dir, const struct sessdir_owner *o,
                 const char *spec, const char *trust, struct err *e)
{
    struct err ignored = {0};

    if (make_dir(dir, o->is_root ? 0710 : 0700, 0, o->runner, o, e) < 0)
        return -1;
    if (fill(dir, o, spec, trust, e) < 0) {
        sessdir_remove(dir, &ignored);
        return -1;
    }
    return 0;
}

int sessdir_read(const char *dir, const char *name, struct buf *out,
                 struct err *e)
{
    own_mem char *path = mem_printf("%s/%s", dir, name);
    own_fd int fd =
        open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    char bytes[4096];

    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? err_set(e, ERR_ABSENT, "no %s", name)
                   : err_set(e, ERR_INPUT, "%s cannot be read", name);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(e, ERR_INPUT, "%s is no regular file", name);
    buf_clear(out);
    for (;;) {
        ssize_t n = read(fd, bytes, sizeof bytes);

        if (n < 0)
            return err_sys(e, "%s", name);
        if (n == 0)
            return 0;
        if (buf_append(out, bytes, (size_t)n) < 0)
            return err_set(e, ERR_INPUT, "%s is longer than %zu bytes", name,
                           out->max);
    }
}

struct sessdir_owner sessdir_owner_of(const char *dir)
{
    own_mem char *agent = mem_printf("%s/agent", dir);
    struct sessdir_owner o = {.is_root = true};
    struct stat st;

    if (lstat(dir, &st) == 0 && S_ISDIR(st.st_mode))
        o.runner = st.st_gid;
    if (lstat(agent, &st) == 0 && S_ISDIR(st.st_mode))
        o.agent = st.st_uid;
    return o;
}

static int remove_at(int parent_fd, const char *name, int depth);

static int empty_dir(int fd, int depth)
{
    DIR *dir = fdopendir(fd); /* takes fd */
    struct dirent *entry;
    int failed = 0;

    if (!dir) {
        close(fd);
        return -1;
    }
    while ((entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 &&
            strcmp(entry->d_name, "..") != 0 &&
            remove_at(dirfd(dir), entry->d_name, depth) < 0)
            failed = -1;
    closedir(dir);
    return failed;
}

/*
 * A directory its writer closed to us is opened again first. Root needs none
 * of that, so that it never changes a mode by a name that others may swap.
 */
static int open_dir(int parent_fd, const char *name)
{
    int fd = openat(parent_fd, name, SESSDIR_OPEN);

    if (geteuid() == 0)
        return fd;
    if (fd < 0 && errno == EACCES && fchmodat(parent_fd, name, 0700, 0) == 0)
        fd = openat(parent_fd, name, SESSDIR_OPEN);
    if (fd >= 0 && fchmod(fd, 0700) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int remove_at(int parent_fd, const char *name, int depth)
{
    int fd;

    if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if ((errno != EISDIR && errno != EPERM) || depth == SESSDIR_DEPTH_MAX)
        return -1;
    fd = open_dir(parent_fd, name);
    if (fd < 0)
        return -1;
    empty_dir(fd, depth + 1);
    return unlinkat(parent_fd, name, AT_REMOVEDIR);
}

int sessdir_remove(const char *dir, struct err *e)
{
    const char *base = strrchr(dir, '/') + 1;
    /* without its slash, which would follow a link */
    own_mem char *above = mem_strn(dir, (size_t)(base - dir - 1));
    bool is_gone = strncmp(base, SESSDIR_GONE, strlen(SESSDIR_GONE)) == 0;
    own_mem char *gone = mem_printf("%s%s", is_gone ? "" : SESSDIR_GONE, base);
    own_fd int fd = open(above, SESSDIR_OPEN);

    if (fd < 0)
        return err_sys(e, "%s", above);
    if (!is_gone && renameat(fd, base, fd, gone) < 0 && errno != ENOENT)
        return err_sys(e, "%s", dir);
    if (remove_at(fd, gone, 0) < 0)
        return err_sys(e, "%s", dir);
    return 0;
}
