/*
 * Two parts, agent and shim, each: running, told to end (SIGTERM), killed,
 * gone. What happens to one sets the times at which the other is told:
 *
 *   asked to stop   shim now, agent after KEEP_STOP_MS
 *   shim gone       agent after KEEP_LINGER_MS
 *   agent gone      shim after KEEP_LEAVE_MS
 *
 * and each is killed KEEP_KILL_MS after it was told. We are a child
 * subreaper, so whatever loses its parent below us becomes our child, and is
 * killed once the shim has gone: in a cage the kernel has done that already.
 */
#include "keeper/keep.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

#define NEVER INT64_MAX
#define TEXT_MAX 512 /* bytes kept of what bubblewrap and shim complain */

struct part {
    bool is_gone;
    int64_t term_ms; /* when to tell it; NEVER */
    int64_t kill_ms;
};

struct keep {
    const struct keep_conf *conf;
    int dir_fd;
    int signal_fd;
    int life_fd; /* -1 = none, or has told */
    pid_t agent_pid;
    int agent_fd;
    struct part agent, shim;
    struct cage cage;
    char text[TEXT_MAX];
    size_t text_len;
};

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* --- files --- */

static int keep_write(const struct keep *k, const char *name, const char *text,
                      struct err *e)
{
    own_mem char *fresh = mem_printf("%s.new", name);
    size_t len = strlen(text);
    own_fd int fd = -1;

    unlinkat(k->dir_fd, fresh, 0);
    fd = openat(k->dir_fd, fresh,
                O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write(fd, text, len) != (ssize_t)len ||
        renameat(k->dir_fd, fresh, k->dir_fd, name) < 0)
        return err_sys(e, "%s/%s", k->conf->dir, name);
    return 0;
}

static int keep_write_self(const struct keep *k, struct err *e)
{
    struct proc_id id;
    own_mem char *text = NULL;

    if (proc_identify(getpid(), &id, e) < 0)
        return -1;
    text = mem_printf("{\"pid\":%d,\"start\":%llu,\"boot_id\":\"%s\"}\n",
                      (int)id.pid, (unsigned long long)id.start, id.boot_id);
    return keep_write(k, "keeper.json", text, e);
}

/* bubblewrap tells a killed child as 128 + its signal; the shim's own codes
 * are 0 and 70..75, so nothing is mistaken for it. */
static void keep_write_runner(const struct keep *k, int status)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    bool is_signal = code > 128;
    own_mem char *text = mem_printf("{\"status\":\"%s\",\"value\":%d}\n",
                                    is_signal ? "signalled" : "exited",
                                    is_signal ? code - 128 : code);
    struct err e = {0};

    if (keep_write(k, "runner.json", text, &e) < 0)
        log_err(&e, "keeper.runner");
    if (k->text_len || is_signal)
        log_warn("keeper.shim_ended", "code", "i", (int64_t)code, "text", "s",
                 k->text, NULL);
}

/* --- start --- */

static int keep_watch_signals(struct keep *k, struct err *e)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return err_sys(e, "signals");
    k->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return k->signal_fd < 0 ? err_sys(e, "signalfd") : 0;
}

static int keep_start_agent(struct keep *k, struct err *e)
{
    const struct keep_conf *c = k->conf;
    const char *dir = c->dir;
    own_mem char *spec = mem_printf("%s/agent/spec.json", dir);
    own_mem char *state = mem_printf("%s/agent/agent.state", dir);
    own_mem char *report = mem_printf("%s/agent/end.json", dir);
    own_mem char *status = mem_printf("%s/agent/status.json", dir);
    own_mem char *tmp = mem_printf("%s/agent/tmp", dir);
    own_mem char *cached = mem_printf("%s/agent/cached", dir);
    own_mem char *keep = mem_printf("%s/agent/archive", dir);
    own_mem char *uid = mem_printf("%u", (unsigned)c->cage.uid);
    const char *argv[32] = {"podterm-agent",
                            "--spec",
                            spec,
                            "--key-fd",
                            "3",
                            "--state-file",
                            state,
                            "--ipc-dir",
                            c->cage.ipc_dir,
                            "--bundle-dir",
                            c->cage.bundle_dir,
                            "--report",
                            report,
                            "--status",
                            status,
                            "--tmp-dir",
                            tmp,
                            "--listen",
                            c->listen,
                            "--runner-uid",
                            uid,
                            c->cache_dir ? "--cache-dir" : "--cached",
                            c->cache_dir ? c->cache_dir : cached,
                            NULL};
    size_t argc = 0;
    own_fd int program = open(c->agent, O_RDONLY | O_CLOEXEC);
    struct proc_spawn how = {
        .path = c->agent,
        .argv = (char *const *)argv,
        .fds = (int[]){-1, -1, 2, KEEP_KEY_FD,
                       c->has_broker ? KEEP_BROKER_FD : -1, program},
        .fd_count = 5,
        .new_session = true,
        .death_signal = SIGKILL,
        .set_ids = c->cage.set_ids,
        .uid = c->cage.agent_uid,
        .gid = c->cage.uid, /* the directory lets that group in */
    };

    while (argv[argc])
        argc++;
    if (c->cage.set_ids && !c->cache_dir) {
        argv[argc++] = "--keep";
        argv[argc++] = keep;
    }
    if (c->has_broker) {
        argv[argc++] = "--broker-fd";
        argv[argc++] = "4";
    }
    k->agent_fd = proc_spawn(&how, &k->agent_pid, e);
    if (k->agent_fd < 0 && how.set_ids && program >= 0) {
        /* its path may lie where the agent's uid cannot go */
        how.path = "/proc/self/fd/5";
        how.fd_count = 6;
        k->agent_fd = proc_spawn(&how, &k->agent_pid, e);
    }
    return k->agent_fd < 0 ? err_wrap(e, "%s", c->agent) : 0;
}

static int keep_start(struct keep *k, struct err *e)
{
    int r;

    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return err_sys(e, "child subreaper");
    if (keep_watch_signals(k, e) < 0)
        return -1;
    /* the cage first: it takes longer */
    oom_raise(&k->conf->oom);
    r = cage_spawn(&k->conf->cage, &k->cage, e);
    oom_restore(&k->conf->oom);
    if (r < 0)
        return -1;
    k->shim.is_gone = false;
    if (keep_start_agent(k, e) < 0)
        return -1;
    k->agent.is_gone = false;
    close(KEEP_KEY_FD); /* the agent's alone from here */
    if (k->conf->has_broker)
        close(KEEP_BROKER_FD);
    return 0;
}

/* --- ending --- */

static void part_tell(struct part *p, int64_t at_ms)
{
    if (at_ms < p->term_ms)
        p->term_ms = at_ms;
}

static void keep_stop(struct keep *k)
{
    part_tell(&k->shim, now_ms());
    part_tell(&k->agent, now_ms() + KEEP_STOP_MS);
}

/* Kill our children but the agent and what is the cage's. Their own
 * children become ours, so it is done until there is none. */
static bool keep_kill_strays(const struct keep *k)
{
    DIR *d = opendir("/proc");
    struct dirent *de;
    bool found = false;

    while (d && (de = readdir(d))) {
        pid_t pid = (pid_t)atoi(de->d_name);
        char path[64], line[512], *p;
        int parent = 0;
        own_fd int fd = -1;
        ssize_t n;

        if (pid <= 1 || (pid == k->agent_pid && !k->agent.is_gone))
            continue;
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
        line[n > 0 ? n : 0] = 0;
        p = strrchr(line, ')');
        if (!p || sscanf(p + 1, " %*c %d", &parent) != 1 || parent != getpid())
            continue;
        kill(pid, SIGKILL);
        found = true;
    }
    if (d)
        closedir(d);
    return found;
}

static void keep_reap(struct keep *k);

/* In a cage the kernel has ended all with the shim, and mostly there is
 * nobody left to look for: reading all of /proc is not cheap. */
static void keep_sweep(struct keep *k)
{
    int64_t until = now_ms() + KEEP_SWEEP_MS;

    while (waitid(P_ALL, 0, NULL, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           keep_kill_strays(k) && now_ms() < until) {
        poll(NULL, 0, 1);
        keep_reap(k);
    }
}

static void keep_read_text(struct keep *k)
{
    char spill[256];
    size_t left = sizeof(k->text) - 1 - k->text_len;
    ssize_t n = left ? read(k->cage.text_fd, k->text + k->text_len, left)
                     : read(k->cage.text_fd, spill, sizeof(spill));

    if (n == 0) {
        close(k->cage.text_fd);
        k->cage.text_fd = -1;
    } else if (n > 0 && left) {
        k->text_len += (size_t)n;
        k->text[k->text_len] = 0;
    }
}

static void keep_shim_gone(struct keep *k, int status)
{
    k->shim.is_gone = true;
    if (k->cage.text_fd >= 0)
        keep_read_text(k);
    keep_write_runner(k, status);
    part_tell(&k->agent, now_ms() + KEEP_LINGER_MS);
}

static void keep_agent_gone(struct keep *k, int status)
{
    k->agent.is_gone = true;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        log_warn("keeper.agent_ended", "status", "i", (int64_t)status, NULL);
    part_tell(&k->shim, now_ms() + KEEP_LEAVE_MS);
}

static void keep_reap(struct keep *k)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == k->agent_pid && !k->agent.is_gone)
            keep_agent_gone(k, status);
        else if (pid == k->cage.pid && !k->shim.is_gone)
            keep_shim_gone(k, status);
    }
}

/* Is it time to tell or to kill? Returns when to look again. */
static int64_t part_step(struct part *p, int64_t now, bool *tell, bool *kill_it)
{
    *tell = *kill_it = false;
    if (p->is_gone)
        return NEVER;
    if (p->kill_ms == NEVER && now >= p->term_ms) {
        *tell = true;
        p->kill_ms = now + KEEP_KILL_MS;
    } else if (now >= p->kill_ms) {
        *kill_it = true;
        p->kill_ms = now + KEEP_KILL_MS; /* and again, should it not help */
    }
    return p->kill_ms == NEVER ? p->term_ms : p->kill_ms;
}

static int64_t keep_step(struct keep *k)
{
    int64_t now = now_ms(), shim, agent;
    bool tell, kill_it;

    shim = part_step(&k->shim, now, &tell, &kill_it);
    if (tell)
        cage_signal(&k->cage, SIGTERM);
    if (kill_it)
        cage_signal(&k->cage, SIGKILL);
    agent = part_step(&k->agent, now, &tell, &kill_it);
    if (tell)
        proc_signal(k->agent_fd, SIGTERM);
    if (kill_it)
        proc_signal(k->agent_fd, SIGKILL);
    return shim < agent ? shim : agent;
}

/* --- the loop --- */

static void keep_signals(struct keep *k)
{
    struct signalfd_siginfo si;
    bool was_up = !k->shim.is_gone;

    while (read(k->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
        if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
            keep_stop(k);
    keep_reap(k);
    if (was_up && k->shim.is_gone && !k->conf->cage.is_full)
        keep_sweep(k);
}

static void keep_life(struct keep *k)
{
    char byte;
    ssize_t n = read(k->life_fd, &byte, 1);

    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    k->life_fd = -1;
    keep_stop(k);
}

static void keep_loop(struct keep *k)
{
    while (!k->agent.is_gone || !k->shim.is_gone) {
        int64_t at = keep_step(k), left = at == NEVER ? -1 : at - now_ms();
        struct pollfd p[4] = {{k->signal_fd, POLLIN, 0},
                              {k->life_fd, POLLIN, 0},
                              {k->cage.info_fd, POLLIN, 0},
                              {k->cage.text_fd, POLLIN, 0}};

        if (at != NEVER && left < 0)
            left = 0;
        if (poll(p, 4, (int)left) < 0 && errno != EINTR)
            keep_stop(k);
        if (p[2].revents)
            cage_learn(&k->cage);
        if (p[3].revents)
            keep_read_text(k);
        if (p[1].revents)
            keep_life(k);
        keep_signals(k);
    }
}

int keep_run(struct keep_conf *conf, struct err *e)
{
    own_mem char *ipc = mem_printf("%s/ipc", conf->dir);
    own_mem char *bundle = mem_printf("%s/bundle", conf->dir);
    struct keep k = {
        .conf = conf,
        .dir_fd = -1,
        .signal_fd = -1,
        .life_fd = conf->has_life ? KEEP_LIFE_FD : -1,
        .agent_fd = -1,
        .agent = {.is_gone = true, .term_ms = NEVER, .kill_ms = NEVER},
        .shim = {.is_gone = true, .term_ms = NEVER, .kill_ms = NEVER},
        .cage = {.pid_fd = -1, .info_fd = -1, .text_fd = -1, .shim_fd = -1}};
    int r;

    k.dir_fd = open(conf->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (k.dir_fd < 0)
        return err_sys(e, "%s", conf->dir);
    conf->cage.ipc_dir = ipc;
    conf->cage.bundle_dir = bundle;
    r = keep_write_self(&k, e);
    if (r == 0) {
        r = keep_start(&k, e);
        if (r < 0) /* what did start must go again, and be waited for */
            keep_stop(&k);
        keep_loop(&k);
        keep_sweep(&k);
    }
    cage_fini(&k.cage);
    own_fd_release(&k.agent_fd);
    own_fd_release(&k.signal_fd);
    own_fd_release(&k.dir_fd);
    return r;
}
