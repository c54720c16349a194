#include "tests/lib/devrun.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/ports.h"
#include "tests/lib/programs.h"
#include "tests/lib/stack.h"
#include "tests/lib/stackproc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534
#define REFUSED_MS 15000 /* to give up */

char *dev_dir;
int dev_port;

int dev_setup(void **arg)
{
    (void)arg;
    setenv("PODTERM_UID_FIRST", "700000000", 0);
    setenv("PODTERM_WEB_DIR", "", 0); /* it may be built meanwhile */
    dev_dir = scratch_new();
    dev_port = port_free();
    return 0;
}

int dev_teardown(void **arg)
{
    (void)arg;
    scratch_remove(dev_dir);
    return 0;
}

bool dev_is_root(void)
{
    return geteuid() == 0;
}

void dev_root_only(void)
{
    if (!dev_is_root())
        skip();
}

static void must(bool is_good, const char *what)
{
    if (is_good)
        return;
    perror(what);
    _exit(1);
}

/* The kernel says no to new user namespaces, as a hardened one does. */
static void deny_namespaces(void)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);

    must(f != NULL, "seccomp");
    seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 1,
                     SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                     SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    must(seccomp_load(f) == 0, "seccomp_load");
    seccomp_release(f);
}

/* In the child: make the world as the test wants it. */
static void prepare(const struct dev_how *how, const char *state)
{
    if (how->has_no_bwrap || how->tmpfs) {
        must(unshare(CLONE_NEWNS) == 0, "unshare");
        must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0,
             "private");
    }
    if (how->has_no_bwrap)
        must(mount("/dev/null", "/usr/bin/bwrap", NULL, MS_BIND, NULL) == 0,
             "bind");
    if (how->tmpfs) {
        must(mkdir(state, 0755) == 0, "mkdir");
        must(mount("tmpfs", state, "tmpfs", 0, how->tmpfs) == 0, "tmpfs");
    }
    if (how->has_no_namespaces)
        deny_namespaces();
    if (how->as_nobody)
        must(setgid(NOBODY) == 0 && setuid(NOBODY) == 0, "setuid");
    prctl(PR_SET_PDEATHSIG, SIGTERM);
}

void dev_start(struct dev *d, const struct dev_how *how)
{
    own_mem char *exe = program_path("podterm");
    own_mem char *listen = mem_printf("127.0.0.1:%d", dev_port);
    const int attach_port = port_free();
    own_mem char *attach = mem_printf("127.0.0.1:%d", attach_port);
    own_mem char *state = mem_printf("%s/state", dev_dir);
    const char *argv[] = {"podterm",         "dev",
                          "--listen",        how->listen ? how->listen : listen,
                          "--attach-listen", attach,
                          "--state",         how->state ? how->state : state,
                          "--bundle-root",   dev_dir,
                          how->more,         NULL};
    int ends[2];

    *d = (struct dev){.attach_port = attach_port};
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    d->pid = fork();
    if (d->pid == 0) {
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        prepare(how, state);
        execv(exe, (char *const *)argv);
        _exit(127);
    }
    close(ends[1]);
    d->out_fd = ends[0];
}

bool dev_says(struct dev *d, const char *text, int ms)
{
    int64_t until = loop_now_ms() + ms, left;

    while (!text || !strstr(d->out, text)) {
        struct pollfd p = {d->out_fd, POLLIN, 0};
        ssize_t n;

        left = until - loop_now_ms();
        if (left <= 0 || poll(&p, 1, (int)left) != 1)
            fail_msg("nothing after %d ms but: %s", ms, d->out);
        n = read(d->out_fd, d->out + d->len, sizeof(d->out) - 1 - d->len);
        if (n <= 0)
            return false;
        d->len += (size_t)n;
    }
    return true;
}

int dev_wait(struct dev *d)
{
    dev_says(d, NULL, REFUSED_MS);
    close(d->out_fd);
    assert_int_equal(waitpid(d->pid, &d->status, 0), d->pid);
    assert_true(WIFEXITED(d->status));
    return WEXITSTATUS(d->status);
}

void dev_left_nothing(void)
{
    struct stack s = {.dir = dev_dir};

    stackproc_wait_none(&s, NULL, 0);
}

void dev_stop(struct dev *d)
{
    kill(d->pid, SIGTERM);
    assert_int_equal(dev_wait(d), 0);
    dev_left_nothing();
}
