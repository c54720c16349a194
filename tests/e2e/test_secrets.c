/*
 * Whoever has our uid has not our keys: what a debugger of the same user, or
 * a core file, would show of the running services.
 */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/stack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SOMEBODY 64123 /* a uid without any right, when we are root */
#define SOON_MS 15000
#define PIDS_MAX 8

static struct stack *stack;
static struct stack_session session;

static const struct part {
    const char *program, *flag;
} parts[] = {
    {"podterm-controller", NULL}, {"podterm-gateway", NULL},
    {"podterm-keeper", NULL},     {"podterm-agent", NULL},
    {"podterm-agent", "--main"},
};
#define PARTS (sizeof(parts) / sizeof(*parts))

static int setup(void **arg)
{
    struct stack_bundle bundle;

    (void)arg;
    stack = stack_new(NULL);
    stack_pack(stack, "prog", "sleep 600", &bundle);
    stack_create(stack, "tester", &bundle, "", &session);
    json_free(stack_wait(stack, "tester", session.sid, "running", SOON_MS));
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    stack_delete(stack, "tester", session.sid);
    json_free(stack_wait(stack, "tester", session.sid, "ended", SOON_MS));
    stack_session_fini(&session);
    stack_free(stack);
    return 0;
}

/* Every process of the part; fails when there is none. */
static int pids_of(const struct part *p, pid_t out[PIDS_MAX])
{
    int n = stack_pids(stack, p->program, p->flag, out, PIDS_MAX);

    if (n < 1)
        fail_msg("no %s %s runs", p->program, p->flag ? p->flag : "");
    return n;
}

/* --- the ways in: 0 = it let us, else why not --- */

static int try_open(pid_t pid, const char *name)
{
    own_mem char *path = mem_printf("/proc/%d/%s", (int)pid, name);
    own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? errno : 0;
}

static int try_mem(pid_t pid)
{
    return try_open(pid, "mem");
}

static int try_environ(pid_t pid)
{
    return try_open(pid, "environ");
}

static int try_maps(pid_t pid)
{
    return try_open(pid, "maps");
}

static int try_fds(pid_t pid)
{
    own_mem char *path = mem_printf("/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);

    if (!d)
        return errno;
    closedir(d);
    return 0;
}

/* A byte from an address nobody has: EFAULT comes after the permission. */
static int try_read(pid_t pid)
{
    char byte;
    const struct iovec to = {&byte, 1}, from = {(void *)8, 1};

    if (process_vm_readv(pid, &to, 1, &from, 1, 0) >= 0 || errno == EFAULT)
        return 0;
    return errno;
}

static int try_attach(pid_t pid)
{
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0)
        return errno;
    ptrace(PTRACE_INTERRUPT, pid, 0, 0);
    waitpid(pid, NULL, __WALL);
    ptrace(PTRACE_DETACH, pid, 0, 0);
    return 0;
}

/* Its descriptor 3, as ours. */
static int try_take(pid_t pid)
{
    own_fd int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    own_fd int fd = (int)syscall(SYS_pidfd_getfd, pid_fd, 3, 0);

    return fd >= 0 || errno == EBADF ? 0 : errno;
}

static const struct way {
    const char *name;
    int (*go)(pid_t pid);
} ways[] = {
    {"mem", try_mem},    {"environ", try_environ}, {"maps", try_maps},
    {"fd", try_fds},     {"readv", try_read},      {"attach", try_attach},
    {"getfd", try_take},
};
#define WAYS (sizeof(ways) / sizeof(*ways))

static void who_has_our_uid_sees_nothing_of_us(void **arg)
{
    pid_t pids[PIDS_MAX];

    (void)arg;
    for (size_t i = 0; i < PARTS; i++)
        for (int k = pids_of(&parts[i], pids) - 1; k >= 0; k--)
            for (size_t j = 0; j < WAYS; j++) {
                int why = ways[j].go(pids[k]);

                if (why != EPERM && why != EACCES)
                    fail_msg("%s %s, by %s: %s", parts[i].program,
                             parts[i].flag ? parts[i].flag : "", ways[j].name,
                             why ? strerror(why) : "it let us in");
            }
}

/* Else the test above could not fail: on a process of ours that holds no key
 * (podterm dev) each way works. */
static void of_a_plain_process_it_sees_all(void **arg)
{
    (void)arg;
    for (size_t j = 0; j < WAYS; j++) {
        int why = ways[j].go(stack->pid);

        if (why && ways[j].go == try_attach && why == EPERM)
            continue; /* Yama: children alone */
        if (why)
            fail_msg("%s: %s", ways[j].name, strerror(why));
    }
}

static void no_core_is_left_of_any_of_us(void **arg)
{
    pid_t pids[PIDS_MAX];

    (void)arg;
    for (size_t i = 0; i < PARTS; i++)
        for (int k = pids_of(&parts[i], pids) - 1; k >= 0; k--) {
            own_mem char *path = mem_printf("/proc/%d/limits", (int)pids[k]);
            FILE *f = fopen(path, "r");
            char line[256], soft[32] = "", hard[32] = "";

            assert_non_null(f);
            while (fgets(line, sizeof(line), f))
                sscanf(line, "Max core file size %31s %31s", soft, hard);
            fclose(f);
            if (strcmp(soft, "0") != 0 || strcmp(hard, "0") != 0)
                fail_msg("%s: a core of %s, %s", parts[i].program, soft, hard);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_our_uid_sees_nothing_of_us),
        cmocka_unit_test(of_a_plain_process_it_sees_all),
        cmocka_unit_test(no_core_is_left_of_any_of_us),
    };

    /* root may look at everybody: be somebody else, and the stack with us */
    if (geteuid() == 0 && (setgroups(0, NULL) < 0 ||
                           setresgid(SOMEBODY, SOMEBODY, SOMEBODY) < 0 ||
                           setresuid(SOMEBODY, SOMEBODY, SOMEBODY) < 0)) {
        perror("test_secrets: another uid");
        return 1;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
