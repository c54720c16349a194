#include "controller/slots.h"

#include "base/mem.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void slots_init(struct slots *s, uid_t first, size_t uids)
{
    *s = (struct slots){.first = first, .count = uids / 2};
    s->is_used = mem_zero(s->count, sizeof *s->is_used);
}

void slots_fini(struct slots *s)
{
    free(s->is_used);
    s->is_used = NULL;
}

uid_t slots_take(struct slots *s)
{
    for (size_t i = 0; i < s->count; i++) {
        size_t at = (s->next + i) % s->count;

        if (s->is_used[at])
            continue;
        s->is_used[at] = true;
        s->next = at + 1;
        return s->first + 2 * (uid_t)at;
    }
    return 0;
}

static bool is_ours(const struct slots *s, uid_t uid)
{
    return uid >= s->first && (uid - s->first) / 2 < s->count;
}

void slots_mark(struct slots *s, uid_t uid)
{
    if (is_ours(s, uid))
        s->is_used[(uid - s->first) / 2] = true;
}

void slots_give(struct slots *s, uid_t uid)
{
    if (is_ours(s, uid))
        s->is_used[(uid - s->first) / 2] = false;
}

/*
 * In the child: become that uid, so that kill(-1) reaches its processes and
 * no other's. Once is enough: a fork under way when its signal arrives is not
 * made. Raw calls: glibc's would talk to threads that are not here.
 */
static void sweep_child(uid_t uid)
{
    if (syscall(SYS_setresgid, uid, uid, uid) < 0 ||
        syscall(SYS_setgroups, 0, NULL) < 0 ||
        syscall(SYS_setresuid, uid, uid, uid) < 0)
        _exit(1);
    kill(-1, SIGKILL);
    _exit(0);
}

void slots_sweep(uid_t uid)
{
    pid_t pid;

    if (uid == 0 || geteuid() != 0)
        return;
    pid = fork();
    if (pid == 0)
        sweep_child(uid);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}
