#include "client/archive.h"

#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARCHIVE_TURN 65536
#define ARCHIVE_KINDS "tar.gz, tar.xz, tar.zst, tar or zip"
#define TAR_MAGIC_AT 257

static const char *const endings[] = {".tar.gz", ".tgz",     ".tar.xz",
                                      ".txz",    ".tar.zst", ".tzst",
                                      ".tar",    ".zip",     ".tar.bz2"};

bool archive_is_named(const char *text)
{
    const size_t len = strlen(text);

    if (strstr(text, "://"))
        return false;
    for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
        const size_t n = strlen(endings[i]);

        if (len > n && strcmp(text + len - n, endings[i]) == 0)
            return true;
    }
    return false;
}

/* Do its first bytes say what it is? */
static int archive_judge(const char *path, const uint8_t *head, size_t len,
                         struct err *e)
{
    static const struct {
        size_t at, len;
        const char *bytes;
    } kinds[] = {{0, 2, "\x1f\x8b"},
                 {0, 6,
                  "\xfd"
                  "7zXZ\0"},
                 {0, 4, "\x28\xb5\x2f\xfd"},
                 {0, 4, "PK\x03\x04"},
                 {TAR_MAGIC_AT, 5, "ustar"}};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (len >= kinds[i].at + kinds[i].len &&
            memcmp(head + kinds[i].at, kinds[i].bytes, kinds[i].len) == 0)
            return 0;
    if (len >= 3 && memcmp(head, "BZh", 3) == 0)
        return err_set(e, ERR_INPUT,
                       "%.200s: tar.bz2 is not taken as a bundle; pack it "
                       "again as " ARCHIVE_KINDS,
                       path);
    return err_set(e, ERR_INPUT,
                   "%.200s: not an archive (" ARCHIVE_KINDS "). A bundle is "
                   "packed with: tar -czf NAME.tar.gz -C DIRECTORY .",
                   path);
}

static int archive_look(struct archive *a, const char *path, struct err *e)
{
    struct stat st;

    if (fstat(a->fd, &st) < 0)
        return err_sys(e, "%.200s", path);
    if (S_ISDIR(st.st_mode))
        return err_set(e, ERR_INPUT,
                       "%.150s: a directory; a bundle is an archive of one: "
                       "tar -czf NAME.tar.gz -C %.150s . && podterm run "
                       "./NAME.tar.gz",
                       path, path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INPUT, "%.200s: not a file", path);
    if (st.st_size == 0)
        return err_set(e, ERR_INPUT, "%.200s: it is empty, so no archive",
                       path);
    if (st.st_size > ARCHIVE_MAX)
        return err_set(e, ERR_INPUT,
                       "%.200s: %lld bytes, and no bundle has more than %lld",
                       path, (long long)st.st_size, (long long)ARCHIVE_MAX);
    a->size = st.st_size;
    return 0;
}

static int archive_hash(struct archive *a, const char *path, struct err *e)
{
    own_mem uint8_t *bytes = mem_zero(ARCHIVE_TURN, 1);
    uint8_t sum[SHA256_BYTES];
    struct digest *d = digest_new(DIGEST_SHA256);
    int64_t at = 0;
    int got = 0;

    while (got == 0 && at < a->size) {
        ssize_t n = pread(a->fd, bytes, ARCHIVE_TURN, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            got = err_sys(e, "%.200s", path);
        else if (n == 0)
            got = err_set(e, ERR_INPUT, "%.200s: it became shorter meanwhile",
                          path);
        else if (at == 0)
            got = archive_judge(path, bytes, (size_t)n, e);
        if (got == 0)
            digest_add(d, bytes, (size_t)n);
        at += n;
    }
    digest_end(d, sum);
    digest_free(d);
    hex_encode(sum, sizeof(sum), a->sha256);
    return got;
}

int archive_open(struct archive *a, const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');

    *a = (struct archive){
        .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    if (a->fd < 0 && errno == ENOENT)
        return err_set(e, ERR_ABSENT,
                       "%.200s: there is no such file; a bundle is an archive "
                       "(" ARCHIVE_KINDS "), or --bundle URL",
                       path);
    if (a->fd < 0)
        return err_sys(e, "%.200s", path);
    snprintf(a->name, sizeof(a->name), "%.*s", ARCHIVE_NAME_MAX,
             slash && slash[1] ? slash + 1 : path);
    if (archive_look(a, path, e) == 0 && archive_hash(a, path, e) == 0)
        return 0;
    archive_fini(a);
    return -1;
}

void archive_fini(struct archive *a)
{
    own_fd_release(&a->fd);
    a->fd = -1;
}
