#include "agent/pod.h"

#include "base/file.h"
#include "base/keyfile.h"
#include "base/own.h"
#include "base/token_activate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define POD_SHIM_NEW ".shim-new"
#define POD_SECRET_MAX 128 /* bytes of a key's file */

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

/* Not keyfile_read: a mounted Secret is its group's to read. */
static int pod_secret(const char *path, uint8_t out[SEAL_KEY_BYTES],
                      struct err *e)
{
    struct buf b;
    int r;

    buf_init_secret(&b, POD_SECRET_MAX);
    r = file_read(path, &b, e);
    if (r == 0)
        r = seal_key_of(path, &b, out, e);
    buf_fini_secret(&b);
    return r < 0 ? err_wrap(e, "--pool-secret-file") : 0;
}

int pod_derive_key(const char *secret_path, const char *pod_uid,
                   const char *out_path, struct err *e)
{
    uint8_t secret[SEAL_KEY_BYTES], key[SESSION_KEY_BYTES];
    int r;

    if (!activate_uid_is_valid(pod_uid))
        return err_set(e, ERR_INPUT, "--pod-uid: \"%.40s\" is no UID", pod_uid);
    if (pod_secret(secret_path, secret, e) < 0)
        return -1;
    activate_pool_key(secret, pod_uid, key);
    wipe(secret, sizeof(secret));
    if (unlink(out_path) < 0 && errno != ENOENT)
        r = err_sys(e, "--out %s", out_path);
    else
        r = keyfile_make(out_path, key, sizeof(key), e);
    wipe(key, sizeof(key));
    if (r == 0 && chmod(out_path, 0400) < 0)
        r = err_sys(e, "--out %s", out_path);
    return r;
}
