#include "base/keyfile.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static int keyfile_judge(const char *path, int fd, size_t max, struct err *e)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_sys(e, "%s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INPUT, "%s is not a regular file", path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return err_set(e, ERR_INPUT,
                       "%s belongs to uid %u: a key file must belong to "
                       "uid %u or root",
                       path, (unsigned)st.st_uid, (unsigned)geteuid());
    /* a mounted secret is root's, and our group reads it */
    if (st.st_mode & (st.st_uid == geteuid() ? 077 : 037))
        return err_set(e, ERR_INPUT,
                       "%s has mode %03o: others may touch the key; "
                       "chmod 600 it",
                       path, (unsigned)st.st_mode & 0777);
    if (st.st_size > (off_t)max)
        return err_set(e, ERR_INPUT, "%s has %lld bytes, a key at most %zu",
                       path, (long long)st.st_size, max);
    return 0;
}

int keyfile_read(const char *path, struct buf *out, struct err *e)
{
    own_fd int fd = file_open(path, e);

    if (fd < 0)
        return -1;
    if (keyfile_judge(path, fd, out->max, e) < 0)
        return -1;
    return file_take(fd, path, out, e);
}

int keyfile_line(const char *path, struct buf *b, struct err *e)
{
    size_t len = b->len;

    if (len > 0 && b->data[len - 1] == '\n')
        len--;
    if (len > 0 && len < b->len && b->data[len - 1] == '\r')
        len--;
    for (size_t i = 0; i < len; i++)
        if (b->data[i] < 0x21 || b->data[i] > 0x7e)
            return err_set(e, ERR_INPUT,
                           "%s holds no key: one line without blanks is "
                           "expected",
                           path);
    if (len < KEYFILE_LINE_MIN)
        return err_set(e, ERR_INPUT,
                       "%s holds no key: it has less than %d bytes", path,
                       KEYFILE_LINE_MIN);
    b->len = len;
    return 0;
}

int keyfile_read_line(const char *path, struct buf *out, struct err *e)
{
    own_fd int fd =
        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);

    if (fd < 0 && errno == ELOOP)
        return err_set(e, ERR_INPUT, "%s is a link: name the file itself",
                       path);
    if (fd < 0)
        return err_sys(e, "%s", path);
    if (keyfile_judge(path, fd, out->max, e) < 0 ||
        file_take(fd, path, out, e) < 0)
        return -1;
    return keyfile_line(path, out, e);
}

static int keyfile_write(const char *path, int fd, const void *bytes,
                         size_t len, struct err *e)
{
    size_t done = 0;

    while (done < len) {
        ssize_t put = write(fd, (const char *)bytes + done, len - done);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return err_sys(e, "%s", path);
        done += (size_t)put;
    }
    if (fchmod(fd, 0600) < 0 || fsync(fd) < 0)
        return err_sys(e, "%s", path);
    return 0;
}

/* Written beside and linked: of two makers at once one wins, and no reader
 * ever sees half a key. */
int keyfile_make(const char *path, const void *bytes, size_t len, struct err *e)
{
    own_mem char *beside = NULL;
    own_fd int fd = -1;
    char id[ID_SIZE];
    int r;

    random_id(id);
    beside = mem_printf("%s.%s", path, id);
    fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
              0600);
    if (fd < 0)
        return err_sys(e, "%s", beside);
    r = keyfile_write(beside, fd, bytes, len, e);
    if (r == 0 && link(beside, path) < 0)
        r = errno == EEXIST
                ? err_set(e, ERR_CONFLICT, "%s is there already", path)
                : err_sys(e, "%s", path);
    unlink(beside);
    return r;
}
