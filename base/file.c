#include "base/file.h"

#include "base/own.h"
#include "base/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

/* To the end: the size of a moment ago may not hold any more. */
int file_take(int fd, const char *path, struct buf *out, struct err *e)
{
    for (;;) {
        uint8_t chunk[1024];
        ssize_t got = read(fd, chunk, sizeof(chunk));
        int full;

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(e, "%s", path);
        if (got == 0)
            return 0;
        full = buf_append(out, chunk, (size_t)got);
        wipe(chunk, sizeof(chunk)); /* keys are read so too */
        if (full < 0)
            return err_set(e, ERR_INPUT, "%s is longer than %zu bytes", path,
                           out->max);
    }
}

int file_open(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 && errno == ENOENT)
        return err_set(e, ERR_ABSENT, "%s is not there", path);
    return fd < 0 ? err_sys(e, "%s", path) : fd;
}

int file_read(const char *path, struct buf *out, struct err *e)
{
    own_fd int fd = file_open(path, e);

    return fd < 0 ? -1 : file_take(fd, path, out, e);
}

int file_copy(int from, int to, int64_t len)
{
    off_t at = 0;

    while (at < len) {
        size_t left = (size_t)(len - at);
        ssize_t n = copy_file_range(from, &at, to, NULL, left, 0);

        if (n <= 0) /* it does not go everywhere */
            n = sendfile(to, from, &at, left);
        if (n <= 0)
            return -1;
    }
    return 0;
}

int file_sealed(const char *name, const void *bytes, size_t len, struct err *e)
{
    own_fd int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || write(fd, bytes, len) != (ssize_t)len ||
        lseek(fd, 0, SEEK_SET) < 0 ||
        fcntl(fd, F_ADD_SEALS,
              F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return err_sys(e, "%s", name);
    return own_fd_give(&fd);
}
