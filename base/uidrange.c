#include "base/uidrange.h"

#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

int uidrange_take(const char *dir, const char *name, int64_t first,
                  int64_t count, struct err *e)
{
    own_mem char *path = mem_printf("%s/%s", dir, name);
    struct flock range = {
        .l_type = F_WRLCK,
        .l_whence = SEEK_SET,
        .l_start = first,
        .l_len = count,
    };
    own_fd int fd = -1;

    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        return err_sys(e, "%s", dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_sys(e, "%s", path);
    if (fcntl(fd, F_OFD_SETLK, &range) == 0)
        return own_fd_give(&fd);
    if (errno != EAGAIN && errno != EACCES)
        return err_sys(e, "%s", path);
    return err_set(e, ERR_BUSY,
                   "another podterm on this machine uses uids from %lld to "
                   "%lld",
                   (long long)first, (long long)(first + count - 1));
}
