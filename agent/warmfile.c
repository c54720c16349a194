#include "agent/warmfile.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define WARMFILE_MAGIC "podtermW"
#define WARMFILE_VERSION 1

static int warmfile_check(const struct warmfile *w, struct err *e)
{
    if (memcmp(w->magic, WARMFILE_MAGIC, sizeof(w->magic)) != 0 ||
        w->version != WARMFILE_VERSION || w->cookie_used > 1 ||
        w->is_used > 1 || w->leave > 256)
        return err_set(e, ERR_SYSTEM, "it is not one of ours");
    return 0;
}

static void warmfile_fill(struct warmfile *w)
{
    w->version = WARMFILE_VERSION;
    random_bytes(w->cookie, sizeof(w->cookie));
    w->since_mono_ms = loop_now_ms();
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    memcpy(w->magic, WARMFILE_MAGIC, sizeof(w->magic));
}

static struct warmfile *warmfile_map(int fd, bool *is_fresh, struct err *e)
{
    static const char empty[8];
    struct warmfile *w;
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 077) != 0) {
        err_set(e, ERR_SYSTEM, "it must be a file of this user's alone");
        return NULL;
    }
    r = posix_fallocate(fd, 0, sizeof(*w)); /* no room: not a SIGBUS later */
    if (r) {
        err_set(e, ERR_SYSTEM, "%s", strerror(r));
        return NULL;
    }
    w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (w == MAP_FAILED) {
        err_sys(e, "map");
        return NULL;
    }
    *is_fresh = memcmp(w->magic, empty, sizeof(empty)) == 0;
    if (*is_fresh)
        warmfile_fill(w);
    if (warmfile_check(w, e) == 0)
        return w;
    warmfile_close(w);
    return NULL;
}

struct warmfile *warmfile_open(const char *state_path, bool *is_fresh,
                               struct err *e)
{
    own_mem char *path = mem_printf("%s" WARMFILE_SUFFIX, state_path);
    own_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct warmfile *w = NULL;

    if (fd < 0)
        err_sys(e, "open");
    else
        w = warmfile_map(fd, is_fresh, e);
    if (!w)
        err_wrap(e, "warm agent's file %s", path);
    return w;
}

void warmfile_close(struct warmfile *w)
{
    if (w)
        munmap(w, sizeof(*w));
}
