#include "agent/cache.h"

#include "base/digest.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_CHUNK_BYTES 65536

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

static bool cache_is_right(int fd, const char *want_hex)
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

int cache_get(const char *dir, const char *owner, const char *sha256_hex)
{
    own_fd int at = cache_owner_dir(dir, owner, false);
    own_fd int fd = -1;
    struct stat st;

    if (at < 0)
        return -1;
    fd = openat(at, sha256_hex, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 0222) || !cache_is_right(fd, sha256_hex)) {
        unlinkat(at, sha256_hex, 0);
        return -1;
    }
    futimens(fd, NULL); /* used now: the oldest go first */
    return own_fd_give(&fd);
}

/* Drop the least recently used entries until `more` bytes fit. */
static void cache_evict(int at, int64_t more)
{
    for (;;) {
        int copy = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = copy < 0 ? NULL : fdopendir(copy);
        char oldest[256] = "";
        struct timespec when = {0};
        int64_t sum = more;
        struct dirent *de;

        if (!d)
            return;
        while ((de = readdir(d))) {
            struct stat st;

            if (fstatat(at, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                !S_ISREG(st.st_mode))
                continue;
            sum += st.st_size;
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

static int cache_copy(int from, int to, int64_t len)
{
    off_t at = 0;

    while (at < len) {
        ssize_t n = sendfile(to, from, &at, (size_t)(len - at));

        if (n <= 0)
            return -1;
    }
    return 0;
}

int cache_put(const char *dir, const char *owner, const char *sha256_hex,
              int fd, struct err *e)
{
    own_fd int at = cache_owner_dir(dir, owner, true);
    own_fd int to = -1;
    char fresh[96], id[ID_SIZE];
    struct stat st;

    if (at < 0 || fstat(fd, &st) < 0)
        return err_sys(e, "cache %s", dir);
    if (st.st_size > CACHE_BYTES_MAX)
        return 0;
    cache_evict(at, st.st_size);
    random_id(id);
    snprintf(fresh, sizeof(fresh), ".new-%s", id);
    to = openat(at, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    if (to < 0)
        return err_sys(e, "cache");
    if (cache_copy(fd, to, st.st_size) < 0 || fdatasync(to) < 0 ||
        renameat(at, fresh, at, sha256_hex) < 0) {
        err_sys(e, "cache");
        unlinkat(at, fresh, 0);
        return -1;
    }
    return 0;
}
