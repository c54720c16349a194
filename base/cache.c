#include "base/cache.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_CHUNK_BYTES 65536

void cache_owner(const struct domain_list *public_hosts, const char *url,
                 const char *iss, const char *sub, char out[CACHE_OWNER_MAX])
{
    struct url u;
    struct err e;

    if (public_hosts->count > 0 && url_parse(url, &u, &e) == 0 &&
        u.scheme == URL_HTTPS &&
        domain_list_has(public_hosts, u.host, u.port, 443))
        snprintf(out, CACHE_OWNER_MAX, "public");
    else
        snprintf(out, CACHE_OWNER_MAX, "%s\n%s", iss, sub);
}

/* The owner's directory: its name says nothing about the owner. */
static int cache_owner_dir(const char *dir, const char *owner, bool make)
{
    own_fd int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    uint8_t hash[SHA256_BYTES];
    char name[SHA256_HEX + 1];
    struct stat st;
    int fd;

    if (top < 0)
        return -1;
    sha256(owner, strlen(owner), hash);
    hex_encode(hash, sizeof(hash), name);
    if (make && mkdirat(top, name, 0700) < 0 && errno != EEXIST)
        return -1;
    fd = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 &&
        (fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 022))) {
        close(fd);
        return -1;
    }
    return fd;
}

bool cache_is_right(int fd, const char *want_hex)
{
    struct digest *d = digest_new(DIGEST_SHA256);
    uint8_t buf[CACHE_CHUNK_BYTES], sum[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    ssize_t n;

    while ((n = read(fd, buf, sizeof(buf))) > 0)
        digest_add(d, buf, (size_t)n);
    digest_end(d, sum);
    digest_free(d);
    hex_encode(sum, sizeof(sum), hex);
    return n == 0 && same_bytes(hex, want_hex, SHA256_HEX) &&
           lseek(fd, 0, SEEK_SET) == 0;
}

/* An entry as we made it, or -1; what is wrong is removed. */
static int cache_open(int at, const char *sha256_hex)
{
    own_fd int fd =
        openat(at, sha256_hex, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 0222)) {
        unlinkat(at, sha256_hex, 0);
        return -1;
    }
    futimens(fd, NULL); /* used now: the oldest go first */
    return own_fd_give(&fd);
}

/*
 * The copy is what is hashed and used: other processes of our own user may
 * write an entry, whatever its mode, between a look at it and its use. The
 * copy has no name and they cannot come at our descriptors, since we are not
 * dumpable.
 */
int cache_get(const char *dir, const char *owner, const char *sha256_hex,
              int to_fd)
{
    own_fd int at = cache_owner_dir(dir, owner, false);
    own_fd int fd = at < 0 ? -1 : cache_open(at, sha256_hex);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size > CACHE_BYTES_MAX)
        return -1;
    if (file_copy(fd, to_fd, st.st_size) < 0 || lseek(to_fd, 0, SEEK_SET) < 0)
        return -1; /* our disk is full: that is not its fault */
    if (cache_is_right(to_fd, sha256_hex))
        return 0;
    unlinkat(at, sha256_hex, 0);
    return -1;
}

int cache_link(const char *dir, const char *owner, const char *sha256_hex,
               const char *path)
{
    own_fd int at = cache_owner_dir(dir, owner, false);
    own_fd int fd = at < 0 ? -1 : cache_open(at, sha256_hex);

    return fd < 0 ? -1 : linkat(at, sha256_hex, AT_FDCWD, path, 0);
}

/* Drop the least recently used entries, but `fresh`, until the rest fits. */
static void cache_evict(int at, const char *fresh)
{
    for (;;) {
        int copy = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = copy < 0 ? NULL : fdopendir(copy);
        char oldest[256] = "";
        struct timespec when = {0};
        int64_t sum = 0;
        struct dirent *de;

        if (!d)
            return;
        while ((de = readdir(d))) {
            struct stat st;

            if (fstatat(at, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                !S_ISREG(st.st_mode))
                continue;
            sum += st.st_size;
            if (strcmp(de->d_name, fresh) == 0)
                continue;
            if (!oldest[0] || st.st_mtim.tv_sec < when.tv_sec) {
                snprintf(oldest, sizeof(oldest), "%s", de->d_name);
                when = st.st_mtim;
            }
        }
        closedir(d);
        if (sum <= CACHE_BYTES_MAX || !oldest[0] || unlinkat(at, oldest, 0) < 0)
            return;
    }
}

/* One look: whoever gave us the file may change it between two. */
static int cache_size(int fd, int64_t max_bytes, int64_t *size, struct err *e)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_sys(e, "cache");
    if (!S_ISREG(st.st_mode) || st.st_size > max_bytes)
        return err_set(e, ERR_INPUT,
                       "cache: no file of at most %lld bytes is given",
                       (long long)max_bytes);
    *size = st.st_size;
    return 0;
}

/* Whoever gave us `from` may write it still: the copy is what counts. */
static int cache_fill(int to, int from, int64_t len, const char *sha256_hex,
                      struct err *e)
{
    if (file_copy(from, to, len) < 0 || lseek(to, 0, SEEK_SET) < 0)
        return err_sys(e, "cache");
    if (!cache_is_right(to, sha256_hex))
        return err_set(e, ERR_INPUT, "cache: not the archive of that digest");
    /* the directories are ours alone; who is given a link may read it */
    if (fchmod(to, 0444) < 0 || fdatasync(to) < 0)
        return err_sys(e, "cache");
    return 0;
}

int cache_put(const char *dir, const char *owner, const char *sha256_hex,
              int fd, int64_t max_bytes, struct err *e)
{
    own_fd int at = -1, to = -1;
    char fresh[96], id[ID_SIZE];
    int64_t size = 0; /* gcc 14 does not see that a failure is not 0 */

    if (cache_size(fd, max_bytes, &size, e) < 0)
        return -1;
    if (size > CACHE_BYTES_MAX)
        return 0;
    at = cache_owner_dir(dir, owner, true);
    if (at < 0)
        return err_sys(e, "cache %s", dir);
    random_id(id);
    snprintf(fresh, sizeof(fresh), ".new-%s", id);
    to = openat(at, fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    if (to < 0)
        return err_sys(e, "cache");
    if (cache_fill(to, fd, size, sha256_hex, e) < 0) {
        unlinkat(at, fresh, 0);
        return -1;
    }
    /* only now: what is not right drives nothing out */
    cache_evict(at, fresh);
    if (renameat(at, fresh, at, sha256_hex) < 0) {
        err_sys(e, "cache");
        unlinkat(at, fresh, 0);
        return -1;
    }
    return 0;
}
