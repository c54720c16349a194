#include "tests/lib/spawned.h"

#include "base/proc.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
#include <cmocka.h>

char *const spawned_sleeper[] = {"sleep", "60", NULL};

int spawned_sleep(pid_t *pid)
{
    const struct proc_spawn how = {.path = "/bin/sleep",
                                   .argv = spawned_sleeper};
    struct err e = {0};
    int fd = proc_spawn(&how, pid, &e);

    assert_string_equal(e.text, "");
    assert_true(fd >= 0);
    return fd;
}

int spawned_wait(int pid_fd)
{
    struct pollfd p = {.fd = pid_fd, .events = POLLIN};
    int status = -1;

    assert_int_equal(poll(&p, 1, SPAWNED_MS), 1);
    assert_int_equal(proc_reap(pid_fd, &status), 1);
    return status;
}

void spawned_end(int pid_fd)
{
    assert_return_code(proc_signal(pid_fd, SIGKILL), errno);
    assert_int_equal(spawned_wait(pid_fd), SIGKILL);
    close(pid_fd);
}
