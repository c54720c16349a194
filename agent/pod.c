#include "agent/pod.h"

#include "base/file.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define POD_SHIM_NEW ".shim-new"

int pod_give_shim(const char *shim_path, const char *ipc_dir, struct err *e)
{
    own_fd int from = open(shim_path, O_RDONLY | O_CLOEXEC);
    own_fd int dir = open(ipc_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    own_fd int to = -1;
    struct stat st;

    if (from < 0 || fstat(from, &st) < 0)
        return err_sys(e, "--shim %s", shim_path);
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > POD_SHIM_MAX)
        return err_set(e, ERR_INPUT,
                       "--shim %s: no program of at most %d bytes", shim_path,
                       POD_SHIM_MAX);
    if (dir < 0)
        return err_sys(e, "--ipc-dir %s", ipc_dir);
    if (unlinkat(dir, POD_SHIM_NEW, 0) < 0 && errno != ENOENT)
        return err_sys(e, "--ipc-dir %s", ipc_dir);
    to = openat(dir, POD_SHIM_NEW, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                0755);
    /* the umask is ours, but the runner is another user */
    if (to < 0 || file_copy(from, to, st.st_size) < 0 || fchmod(to, 0755) < 0 ||
        renameat(dir, POD_SHIM_NEW, dir, POD_SHIM) < 0)
        return err_sys(e, "the shim in %s", ipc_dir);
    return 0;
}

int pod_key_fd(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    return fd < 0 ? err_sys(e, "--key-file %s", path) : fd;
}
