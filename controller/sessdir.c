#include "controller/sessdir.h"

#include "base/mem.h"
#include "base/ours.h"
#include "base/own.h"
#include "controller/report.h"
#include "controller/rmtree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SESSDIR_OPEN (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

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
        sessdir_remove(dir, NULL, &ignored);
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

/* Whoever gets its uids next must not find a way into what is left. */
static int close_dir(int above_fd, const char *base)
{
    own_fd int fd = openat(above_fd, base, SESSDIR_OPEN);

    return fd < 0 ? -1 : fchmod(fd, 0700);
}

char *sessdir_hide(const char *dir, struct err *e)
{
    const char *base = strrchr(dir, '/') + 1;
    /* without its slash, which would follow a link */
    own_mem char *above = mem_strn(dir, (size_t)(base - dir - 1));
    own_mem char *gone = mem_printf("%s/" SESSDIR_GONE "%s", above, base);
    own_fd int fd = open(above, SESSDIR_OPEN);

    if (fd < 0) {
        err_sys(e, "%s", above);
        return NULL;
    }
    if (strncmp(base, SESSDIR_GONE, strlen(SESSDIR_GONE)) == 0)
        return mem_str(dir);
    if (((geteuid() == 0 && close_dir(fd, base) < 0) ||
         renameat(fd, base, fd, strrchr(gone, '/') + 1) < 0) &&
        errno != ENOENT) {
        err_sys(e, "%s", dir);
        return NULL;
    }
    return mem_str(gone);
}

int sessdir_remove(const char *dir, const _Atomic int64_t *until_ms,
                   struct err *e)
{
    own_mem char *gone = sessdir_hide(dir, e);
    char *slash = gone ? strrchr(gone, '/') : NULL;
    own_fd int fd = -1;

    if (!gone)
        return -1;
    *slash = '\0';
    fd = open(gone, SESSDIR_OPEN);
    if (fd < 0)
        return err_sys(e, "%s", gone);
    return rmtree(fd, slash + 1, until_ms, e);
}
