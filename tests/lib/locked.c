#include "tests/lib/locked.h"

#include "agent/lockdown.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct locked locked = {.tree_fd = -1, .archive_fd = -1, .pipe_fds = {-1, -1}};

int locked_setup(void **arg)
{
    own_mem char *tree = NULL, *archive = NULL;

    (void)arg;
    locked.dir = scratch_new();
    tree = mem_printf("%s/tree", locked.dir);
    archive = mem_printf("%s/archive", locked.dir);
    assert_return_code(mkdir(tree, 0755), errno);
    locked.tree_fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(open(archive, O_WRONLY | O_CREAT, 0600));
    locked.archive_fd = open(archive, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pipe2(locked.pipe_fds, O_CLOEXEC), 0);
    locked.parent = getpid();
    return 0;
}

int locked_teardown(void **arg)
{
    own_mem char *tree = mem_printf("%s/tree", locked.dir);

    (void)arg;
    umount2(tree, MNT_DETACH);
    close(locked.tree_fd);
    close(locked.archive_fd);
    close(locked.pipe_fds[0]);
    close(locked.pipe_fds[1]);
    scratch_remove(locked.dir);
    return 0;
}

static int lock(struct err *e)
{
    return locked.lock
               ? locked.lock(e)
               : lockdown_unpacker(locked.tree_fd, FILE_BYTES, MEMORY_BYTES, e);
}

int locked_child(long (*attack)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        struct err e = {0};

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (lock(&e) < 0)
            _exit(LOCK_FAILED);
        _exit(attack() < 0 ? 1 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        assert_int_not_equal(WEXITSTATUS(status), LOCK_FAILED);
    return status;
}

bool locked_worked(long (*attack)(void))
{
    int status = locked_child(attack);

    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int locked_tries(const struct locked_try *rows, size_t count)
{
    int bad = 0;

    for (size_t i = 0; i < count; i++)
        if (locked_worked(rows[i].attack)) {
            print_error("%s worked\n", rows[i].name);
            bad++;
        }
    return bad;
}

long locked_open(int at, const char *path, int flags, int mode)
{
    struct open_how how = {.flags = (unsigned)flags, .mode = (unsigned)mode};

    long fd = syscall(SYS_openat2, at, path, &how, sizeof(how));

    return fd < 0 && errno == ENOSYS
               ? syscall(SYS_openat, at, path, flags, mode)
               : fd;
}
