#include "tests/lib/keeperrig.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/fake_agent.h"
#include "tests/lib/hostile.h"
#include "tests/lib/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define ORDINARY 71003

char *keeper_path, *keeper_shim_path, *keeper_self_path;

bool keeper_role(int argc, char **argv, int *status)
{
    if (argc > 1 && strcmp(argv[1], "--spec") == 0)
        *status = fake_agent_main(argc, argv);
    else if (argc > 1 && strcmp(argv[1], "--hostile") == 0)
        *status = hostile_main();
    else
        return false;
    return true;
}

int keeper_group_setup(void **state)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    (void)state;
    keeper_self_path = mem_strn(self, (size_t)n);
    keeper_path = program_path("podterm-keeper");
    keeper_shim_path = program_path("podterm-shim");
    return 0;
}

int keeper_group_teardown(void **state)
{
    (void)state;
    free(keeper_self_path);
    free(keeper_path);
    free(keeper_shim_path);
    return 0;
}

static void make_dir(struct keeper_rig *r, const char *name, mode_t mode,
                     uid_t uid, gid_t gid)
{
    own_mem char *path = mem_printf("%s%s", r->dir, name);

    assert_return_code(mkdir(path, mode), errno);
    if (r->is_root)
        assert_return_code(chown(path, uid, gid), errno);
    assert_return_code(chmod(path, mode), errno);
}

void keeper_put_file(const char *path, const char *text, uid_t uid)
{
    own_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_return_code(fd, errno);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    if (geteuid() == 0)
        assert_return_code(fchown(fd, uid, uid), errno);
}

int keeper_setup(void **state)
{
    struct keeper_rig *r = mem_zero(1, sizeof(*r));

    r->is_root = geteuid() == 0;
    r->state = scratch_new();
    r->dir = mem_printf("%s/session", r->state);
    r->life_fd = -1;
    make_dir(r, "", r->is_root ? 0710 : 0700, 0, RUNNER_UID);
    make_dir(r, "/agent", 0700, AGENT_UID, RUNNER_UID);
    make_dir(r, "/agent/tmp", 0700, AGENT_UID, RUNNER_UID);
    make_dir(r, "/ipc", 0755, AGENT_UID, RUNNER_UID);
    make_dir(r, "/bundle", 0755, AGENT_UID, RUNNER_UID);
    *state = r;
    return 0;
}

int keeper_teardown(void **state)
{
    struct keeper_rig *r = *state;

    if (r->pid > 0) {
        kill(r->pid, SIGTERM);
        waitpid(r->pid, NULL, 0);
    }
    if (r->life_fd >= 0)
        close(r->life_fd);
    scratch_remove(r->state);
    free(r->dir);
    free(r);
    return 0;
}

void keeper_run(struct keeper_rig *r, const char *script,
                const char *const *more)
{
    own_mem char *spec = mem_printf("%s/agent/spec.json", r->dir);
    own_fd int key = memfd_create("key", 0);
    const char *argv[32] = {keeper_path,     "--dir",          r->dir,
                            "--agent",       keeper_self_path, "--shim",
                            keeper_shim_path};
    int n = 7, life[2];

    keeper_put_file(spec, script, AGENT_UID);
    assert_return_code(pipe(life), errno);
    if (r->is_root) {
        argv[n++] = "--agent-uid";
        argv[n++] = "71001";
        argv[n++] = "--runner-uid";
        argv[n++] = "71002";
    }
    while (more && *more)
        argv[n++] = *more++;
    r->start_us = loop_now_us();
    r->pid = fork();
    if (r->pid == 0) {
        char *const none[] = {NULL};
        int a = dup(key), b = dup(life[0]);

        close(life[1]);
        dup2(fcntl(a, F_DUPFD, 20), 3);
        dup2(fcntl(b, F_DUPFD, 20), 4);
        setsid();
        execve(keeper_path, (char *const *)argv, none);
        _exit(99);
    }
    close(life[0]);
    r->life_fd = life[1];
}

int keeper_end(struct keeper_rig *r)
{
    int64_t until = loop_now_us() + PATIENCE_MS * 1000;
    int status = 0;
    pid_t got;

    while ((got = waitpid(r->pid, &status, WNOHANG)) == 0 &&
           loop_now_us() < until)
        usleep(500);
    if (got == 0)
        fail_msg("the keeper does not end");
    r->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

char *keeper_read_file(struct keeper_rig *r, const char *name)
{
    own_mem char *path = mem_printf("%s/%s", r->dir, name);
    own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *out = mem_zero(16385, 1);

    if (fd >= 0 && read(fd, out, 16384) < 0)
        out[0] = 0;
    return out;
}

void keeper_shows(struct keeper_rig *r, const char *what)
{
    int64_t until = loop_now_us() + PATIENCE_MS * 1000;
    own_mem char *text = NULL;

    do {
        free(text);
        usleep(1000);
        text = keeper_read_file(r, "agent/end.json");
    } while (!strstr(text, what) && loop_now_us() < until);
    if (!strstr(text, what))
        fail_msg("the terminal does not show \"%s\" but: %s", what, text);
}

pid_t keeper_child_of(pid_t pid, const char *name)
{
    own_mem char *cmd = mem_printf("pgrep -P %d -f '%s'", (int)pid, name);
    FILE *f = popen(cmd, "r");
    int out = 0;

    if (fscanf(f, "%d", &out) != 1)
        out = 0;
    pclose(f);
    return out;
}

void keeper_expect_runner(struct keeper_rig *r, const char *want)
{
    own_mem char *text = keeper_read_file(r, "runner.json");

    assert_string_equal(text, want);
}

void keeper_as_ordinary_user(void)
{
    int status;
    pid_t pid;

    if (geteuid() != 0)
        skip();
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) < 0 || setresgid(ORDINARY, ORDINARY, ORDINARY) ||
            setresuid(ORDINARY, ORDINARY, ORDINARY))
            _exit(97);
        if (access(keeper_self_path, X_OK) < 0)
            _exit(98);
        execl(keeper_self_path, keeper_self_path, NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 98) {
        print_message("%s: an ordinary user cannot come here\n",
                      keeper_self_path);
        skip();
    }
    assert_int_equal(status, 0);
}
