#include "agent/bundle.h"

#include "agent/fetch.h"
#include "agent/manifest.h"
#include "agent/unpack.h"
#include "base/cache.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/minisign.h"
#include "base/own.h"
#include "base/seal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUNDLE_FRESH ".new-" /* name of a tree that is not whole yet */

/* Shared by the worker, which runs the job, and the loop, which may cancel:
 * the flag is the only thing both touch. The job frees itself at its end. */
struct bundle {
    struct bundle_conf conf;
    struct loop *loop;
    atomic_bool is_cancelled;
    const char *running; /* name of the stage under way */
    int64_t told_ms;
    /* outcome */
    char **argv;
    struct err e;
};

/* --- telling --- */

struct bundle_told {
    struct bundle *b;
    struct bundle_stage stage;
};

static void bundle_deliver(void *arg)
{
    struct bundle_told *t = arg;

    if (!atomic_load(&t->b->is_cancelled))
        t->b->conf.verbs->stage(t->b->conf.arg, &t->stage);
    free(t);
}

static void bundle_tell(struct bundle *b, const char *stage, const char *state,
                        const char *detail, int64_t done, int64_t total)
{
    struct bundle_told *t = mem_zero(1, sizeof(*t));

    t->b = b;
    snprintf(t->stage.stage, sizeof(t->stage.stage), "%s", stage);
    snprintf(t->stage.state, sizeof(t->stage.state), "%s", state);
    snprintf(t->stage.detail, sizeof(t->stage.detail), "%s", detail);
    t->stage.done = done;
    t->stage.total = total;
    b->told_ms = loop_now_ms();
    loop_post(b->loop, bundle_deliver, t);
}

static void bundle_progress(void *arg, int64_t done, int64_t total)
{
    struct bundle *b = arg;

    if (loop_now_ms() - b->told_ms >= BUNDLE_PROGRESS_MS)
        bundle_tell(b, b->running, "running", "", done, total);
}

static bool bundle_is_cancelled(void *arg)
{
    return atomic_load(&((struct bundle *)arg)->is_cancelled);
}

/* --- verifying --- */

static int bundle_verify(const struct agent_spec *spec,
                         const struct fetch_result *r, struct err *e)
{
    char found[SHA256_HEX + 1];

    if (spec->bundle_size > 0 && r->bytes != spec->bundle_size)
        return err_set(e, ERR_INPUT,
                       "the bundle has %lld bytes, %lld were expected",
                       (long long)r->bytes, (long long)spec->bundle_size);
    hex_encode(r->sha256, sizeof(r->sha256), found);
    if (!same_bytes(found, spec->bundle_sha256, SHA256_HEX))
        return err_set(e, ERR_INPUT,
                       "the bundle is not what was asked for: its SHA-256 is "
                       "%s, expected was %s",
                       found, spec->bundle_sha256);
    if (spec->fetch.key_count > 0 && !spec->bundle_signature)
        return err_set(e, ERR_DENIED,
                       "the bundle is not signed, and only signed ones are "
                       "run here");
    if (spec->bundle_signature &&
        minisign_verify(spec->bundle_signature, strlen(spec->bundle_signature),
                        r->blake2b, spec->fetch.keys,
                        (size_t)spec->fetch.key_count, e) < 0)
        return err_wrap(e, "bundle");
    return 0;
}

/* --- the cache --- */

static void bundle_cache_owner(const struct agent_spec *spec,
                               char out[CACHE_OWNER_MAX])
{
    cache_owner(&spec->fetch.public_cache_hosts, spec->bundle_url,
                spec->owner_iss, spec->owner_sub, out);
}

static int bundle_tmp_file(const struct bundle *b, struct err *e)
{
    own_mem char *path = NULL;
    char id[ID_SIZE];
    int fd;

    mkdir(b->conf.tmp_dir, 0700); /* there already in a pod */
    fd = open(b->conf.tmp_dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    /* a file system without O_TMPFILE: a name for an instant */
    random_id(id);
    path = mem_printf("%s/%s", b->conf.tmp_dir, id);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(e, "make a file in %s", b->conf.tmp_dir);
    unlink(path);
    return fd;
}

/*
 * The archive the launcher gave this session a link to. It belongs to the
 * launcher's user, whom we must trust anyhow, and nobody else may write it,
 * not even we: what is hashed here is what is unpacked, without a copy.
 */
static int bundle_given(const struct bundle *b)
{
    own_fd int fd = open(b->conf.cached_path,
                         O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        st.st_uid == geteuid() || (st.st_mode & 0222) ||
        !cache_is_right(fd, b->conf.spec->bundle_sha256))
        return -1;
    return own_fd_give(&fd);
}

/* A copy of the cache's own: others of our user may write there. */
static int bundle_copied(const struct bundle *b)
{
    const struct agent_spec *spec = b->conf.spec;
    char owner[CACHE_OWNER_MAX];
    struct err e = {0};
    own_fd int fd = bundle_tmp_file(b, &e);

    bundle_cache_owner(spec, owner);
    if (fd < 0 ||
        cache_get(b->conf.cache_dir, owner, spec->bundle_sha256, fd) < 0)
        return -1;
    return own_fd_give(&fd);
}

/* An archive of the right digest, whose other rules are checked like a
 * fetched one's. -1: fetch it. */
static int bundle_cached(struct bundle *b)
{
    const struct agent_spec *spec = b->conf.spec;
    own_fd int fd = -1;
    struct stat st;

    /* a signature is over other bytes' hash: those are fetched anew */
    if (spec->bundle_signature || spec->fetch.key_count > 0)
        return -1;
    if (b->conf.cached_path)
        fd = bundle_given(b);
    else if (b->conf.cache_dir)
        fd = bundle_copied(b);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size > spec->fetch.max_bytes ||
        (spec->bundle_size > 0 && st.st_size != spec->bundle_size))
        return -1;
    bundle_tell(b, "fetch", "done", "from the cache", st.st_size, st.st_size);
    return own_fd_give(&fd);
}

/* Keep a verified archive for later sessions: in the cache, or where the
 * launcher takes it from. That it fails is no error of the session. */
static void bundle_keep(const struct bundle *b, int fd)
{
    const struct agent_spec *spec = b->conf.spec;
    char owner[CACHE_OWNER_MAX], self[32];
    struct err e = {0};
    int r = 0;

    bundle_cache_owner(spec, owner);
    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    if (b->conf.cache_dir)
        r = cache_put(b->conf.cache_dir, owner, spec->bundle_sha256, fd,
                      spec->fetch.max_bytes, &e);
    else if (b->conf.keep_path &&
             linkat(AT_FDCWD, self, AT_FDCWD, b->conf.keep_path,
                    AT_SYMLINK_FOLLOW) < 0 &&
             errno != EEXIST)
        r = err_sys(&e, "%s", b->conf.keep_path);
    if (r < 0)
        log_err(&e, "cache.put");
}

/* --- fetching --- */

static int bundle_fetch(struct bundle *b, struct err *e)
{
    const struct agent_spec *spec = b->conf.spec;
    own_fd int fd = bundle_tmp_file(b, e);
    struct fetch_conf conf = {
        .spec = spec,
        .file_fd = fd,
        .progress = bundle_progress,
        .is_cancelled = bundle_is_cancelled,
        .arg = b,
    };
    struct fetch_result r;

    if (fd < 0)
        return -1;
    b->running = "fetch";
    bundle_tell(b, "fetch", "running", "", 0, spec->bundle_size);
    if (fetch_run(&conf, &r, e) < 0)
        return -1;
    bundle_tell(b, "fetch", "done", "", r.bytes, r.bytes);
    if (bundle_verify(spec, &r, e) < 0)
        return -1;
    bundle_keep(b, fd);
    return own_fd_give(&fd);
}

/* --- the tree --- */

/* Remove a directory's content, then itself. Never follows a link. */
static void bundle_remove(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct dirent *de;
    DIR *d;

    if (fd < 0 || !(d = fdopendir(fd))) {
        if (fd >= 0)
            close(fd);
        unlinkat(at, name, 0);
        return;
    }
    while ((de = readdir(d))) {
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, de->d_name, 0) < 0)
            bundle_remove(fd, de->d_name);
    }
    closedir(d);
    unlinkat(at, name, AT_REMOVEDIR);
}

/* What an earlier life left, killed on its way. */
static void bundle_clear(int at)
{
    int copy = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *de;

    bundle_remove(at, BUNDLE_ROOT);
    if (!d)
        return;
    while ((de = readdir(d)))
        if (strncmp(de->d_name, BUNDLE_FRESH, strlen(BUNDLE_FRESH)) == 0)
            bundle_remove(at, de->d_name);
    closedir(d);
}

static int bundle_unpack_into(struct bundle *b, int archive_fd, int at,
                              const char *fresh, struct err *e)
{
    own_fd int dir =
        openat(at, fresh, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct unpack_conf conf = {
        .archive_fd = archive_fd,
        .dir_fd = dir,
        .limits = b->conf.spec->unpack,
        .progress = bundle_progress,
        .is_cancelled = bundle_is_cancelled,
        .arg = b,
    };

    if (dir < 0)
        return err_sys(e, "open %s", fresh);
    b->running = "unpacked";
    if (unpack_run(&conf, e) < 0)
        return -1;
    return manifest_argv(dir, b->conf.runner_root, b->conf.spec->command,
                         &b->argv, e);
}

static int bundle_unpack(struct bundle *b, int archive_fd, struct err *e)
{
    own_fd int at =
        open(b->conf.bundle_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char id[ID_SIZE], fresh[ID_SIZE + 8];
    int r;

    if (at < 0)
        return err_sys(e, "open %s", b->conf.bundle_dir);
    bundle_clear(at);
    random_id(id);
    snprintf(fresh, sizeof(fresh), BUNDLE_FRESH "%s", id);
    /* whatever our umask: the runner is another user */
    if (mkdirat(at, fresh, 0755) < 0 || fchmodat(at, fresh, 0755, 0) < 0)
        return err_sys(e, "make a directory in %s", b->conf.bundle_dir);
    r = bundle_unpack_into(b, archive_fd, at, fresh, e);
    if (r == 0 && renameat(at, fresh, at, BUNDLE_ROOT) < 0)
        r = err_sys(e, "rename to %s", BUNDLE_ROOT);
    if (r < 0)
        bundle_remove(at, fresh);
    return r;
}

static int bundle_all(struct bundle *b, struct err *e)
{
    own_fd int archive = -1;
    struct stat st = {0};
    struct url u;

    /* the URL's rules hold on a hit as on a miss */
    if (url_judge(&b->conf.spec->fetch.url, b->conf.spec->bundle_url, &u, e) <
        0)
        return -1;
    archive = bundle_cached(b);
    if (archive < 0)
        archive = bundle_fetch(b, e);
    if (archive < 0)
        return -1;
    fstat(archive, &st);
    bundle_tell(b, "verified", "done", "", st.st_size, st.st_size);
    if (bundle_unpack(b, archive, e) < 0)
        return -1;
    bundle_tell(b, "unpacked", "done", "", st.st_size, st.st_size);
    return 0;
}

/* --- the job --- */

static void bundle_run(void *arg)
{
    struct bundle *b = arg;

    bundle_all(b, &b->e);
}

static void bundle_done(void *arg)
{
    struct bundle *b = arg;

    if (atomic_load(&b->is_cancelled))
        bundle_argv_free(b->argv);
    else
        b->conf.verbs->done(b->conf.arg, b->argv, &b->e);
    free(b);
}

struct bundle *bundle_start(struct loop *l, struct worker *w,
                            const struct bundle_conf *conf)
{
    struct bundle *b = mem_zero(1, sizeof(*b));

    b->conf = *conf;
    b->loop = l;
    worker_add(w, bundle_run, bundle_done, b);
    return b;
}

void bundle_cancel(struct bundle *b)
{
    if (b)
        atomic_store(&b->is_cancelled, true);
}

void bundle_argv_free(char **argv)
{
    for (char **p = argv; p && *p; p++)
        free(*p);
    free(argv);
}
