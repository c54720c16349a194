/*
 * A run goes PREPARING (a worker makes the directory and spawns the keeper)
 * -> UP (its pidfd and status.json are watched) -> CLEANING (a worker reads
 * what it left, kills strays, removes the directory) -> told and freed.
 */
#include "controller/launcher_local.h"

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/uidrange.h"
#include "controller/local_run.h"
#include "controller/report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define EVENT_BYTES 65536 /* of inotify events read at once */
#define ARCHIVES_MAX 8    /* waiting to be taken into the cache */

/* --- the table --- */

static struct run *run_find(struct local *l, const char *sid)
{
    struct run *r = l->runs;

    while (r && strcmp(r->sid, sid) != 0)
        r = r->next;
    return r;
}

static struct run *run_new(struct local *l, const char *sid)
{
    struct run *r = mem_zero(1, sizeof *r);

    r->l = l;
    snprintf(r->sid, sizeof r->sid, "%s", sid);
    r->dir = mem_printf("%s/sessions/%s", l->set->state_dir, sid);
    r->pid_fd = r->watch = -1;
    r->next = l->runs;
    l->runs = r;
    l->count++;
    return r;
}

static void run_release(struct run *r)
{
    loop_fd_stop(r->exit_watch);
    loop_timer_stop(r->kill_timer);
    loop_timer_stop(r->retry);
    own_fd_release(&r->pid_fd);
    r->l->count--;
    slots_give(&r->l->slots, r->owner.agent);
    archive_free(r->archive);
    launch_free(r->what);
    free(r->gone);
    free(r->dir);
    free(r);
}

static void run_free(struct run *r)
{
    struct run **at = &r->l->runs;

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    run_release(r);
}

/* --- the end --- */

static void cleaned(void *arg)
{
    struct run *r = arg;
    struct launch_sink *sink = &r->l->base.sink;

    if (r->failure.kind)
        log_err(&r->failure, "session.left_behind");
    if (!r->is_quiet)
        sink->ended(sink->arg, r->sid, &r->end);
    if (r->gone)
        removals_add(r->l->removals, r->gone, r->charge);
    r->gone = NULL;
    run_free(r);
}

/* Give a job to the pool. A full pool is asked again: an end is never
 * dropped, and a start was counted when it was let in. */
static void run_job(struct run *r);

static void run_job_again(void *arg)
{
    struct run *r = arg;

    loop_timer_stop(r->retry);
    r->retry = NULL;
    run_job(r);
}

static void run_job(struct run *r)
{
    if (!worker_add(r->l->worker, r->job, r->job_done, r))
        r->retry = loop_timer_start(r->l->loop, 5, 0, run_job_again, r);
}

static void run_clean(struct run *r)
{
    r->state = RUN_CLEANING;
    loop_fd_stop(r->exit_watch);
    loop_timer_stop(r->kill_timer);
    r->exit_watch = NULL;
    r->kill_timer = NULL;
    own_fd_release(&r->pid_fd);
    r->pid_fd = -1;
    r->job = local_clean;
    r->job_done = cleaned;
    run_job(r);
}

static void kill_now(void *arg)
{
    struct run *r = arg;

    log_warn("keeper.killed", "sid", "s", r->sid, NULL);
    proc_signal(r->pid_fd, SIGKILL);
}

static void run_stop(struct run *r)
{
    if (r->state != RUN_UP || r->kill_timer)
        return;
    proc_signal(r->pid_fd, SIGTERM);
    r->kill_timer = loop_timer_start(r->l->loop, LOCAL_TERM_MS, 0, kill_now, r);
}

static void keeper_gone(void *arg, int events)
{
    struct run *r = arg;
    int status = 0;

    (void)events;
    /* it leaves with a code only when it could not start its parts; one that
     * an earlier controller started tells us nothing */
    if (proc_reap(r->pid_fd, &status) == 1 && !r->is_listening && !r->wanted &&
        WIFEXITED(status) && WEXITSTATUS(status) != 0) {
        r->wanted = REASON_START_FAILED;
        snprintf(r->wanted_detail, sizeof r->wanted_detail,
                 "The session's processes could not be started here: the "
                 "controller's log says why (keeper.failed).");
    }
    run_clean(r);
}

/* --- while it is up --- */

static void tell_status(struct run *r, const struct local_status *s)
{
    struct launch_sink *sink = &r->l->base.sink;
    char uid[64];

    if (!r->is_listening) {
        r->is_listening = true;
        snprintf(uid, sizeof uid, "keeper-%d", (int)r->keeper.pid);
        sink->listening(sink->arg, r->sid, s->addr, uid,
                        s->isolation[0] ? s->isolation : r->l->base.isolation);
    }
    if (s->is_running && !r->is_running) {
        r->is_running = true;
        if (r->archive)
            archive_take(r->archive, r->l->archives);
        r->archive = NULL;
        sink->running(sink->arg, r->sid, s->started_ms, s->layers);
    }
}

static void look(struct run *r)
{
    /* the agent writes the file, as often and as wrong as it likes */
    static struct log_rate rate = {.burst = 20, .interval_ms = 1000};
    struct local_status s;
    struct err e = {0};

    if (r->state != RUN_UP || r->is_quiet)
        return;
    if (local_status_read(r->dir, &s, &e) == 0)
        tell_status(r, &s);
    else if (e.kind != ERR_ABSENT && log_rate_ok(&rate, loop_now_ms()))
        log_warn("agent.status", "sid", "s", r->sid, "error", "s", e.text,
                 "suppressed", "i", rate.suppressed, NULL);
}

static void changed(void *arg, int events)
{
    struct local *l = arg;
    _Alignas(struct inotify_event) char bytes[EVENT_BYTES];
    ssize_t len = read(l->inotify_fd, bytes, sizeof bytes);

    (void)events;
    for (ssize_t at = 0; at < len;) {
        struct inotify_event *ev = (struct inotify_event *)(bytes + at);

        for (struct run *r = l->runs; r; r = r->next)
            /* events may have been lost: then all are looked at */
            if (ev->mask & IN_Q_OVERFLOW ||
                (r->watch == ev->wd && ev->len &&
                 strcmp(ev->name, "status.json") == 0))
                look(r);
        at += (ssize_t)(sizeof *ev + ev->len);
    }
}

static void came_up(void *arg)
{
    struct run *r = arg;
    struct launch_sink *sink = &r->l->base.sink;
    bool is_new = r->what != NULL;

    launch_free(r->what);
    r->what = NULL;
    if (r->pid_fd < 0) {
        if (r->failure.kind && is_new)
            log_err(&r->failure, "session.not_started");
        memset(&r->failure, 0, sizeof r->failure);
        run_clean(r);
        return;
    }
    r->state = RUN_UP;
    r->exit_watch =
        loop_fd_start(r->l->loop, r->pid_fd, LOOP_READ, keeper_gone, r);
    if (is_new) {
        sink->stage(sink->arg, r->sid, "scheduled", "done", "");
        sink->stage(sink->arg, r->sid, "pulled", "done", "");
    }
    look(r); /* it may have been quicker than the watch */
    if (r->wanted)
        run_stop(r);
}

/* --- the launcher's verbs --- */

static void local_start(struct launcher *base, struct launch *what)
{
    struct local *l = (struct local *)base;
    struct run *r = run_new(l, what->sid);

    r->what = what;
    r->charge = what->charge;
    r->job = local_prepare;
    r->job_done = came_up;
    r->owner.is_root = l->is_root;
    if (l->is_root) {
        r->owner.agent = slots_take(&l->slots);
        r->owner.runner = r->owner.agent ? r->owner.agent + 1 : 0;
        r->archive = archive_new(l->set, r->dir, what);
    }
    if (l->is_root && r->owner.agent == 0) {
        err_set(&r->failure, ERR_BUSY, "all uids are in use: --uid-count");
        r->wanted = REASON_START_FAILED;
        snprintf(r->wanted_detail, sizeof r->wanted_detail,
                 "As many sessions run here as may: try again later.");
        came_up(r);
        return;
    }
    run_job(r);
}

static void local_end(struct launcher *base, const char *sid,
                      enum end_reason why, const char *detail)
{
    struct run *r = run_find((struct local *)base, sid);

    if (!r)
        return;
    if (!r->wanted) {
        r->wanted = why;
        snprintf(r->wanted_detail, sizeof r->wanted_detail, "%s", detail);
    }
    run_stop(r);
}

static struct run *local_adopt(struct launcher *base, const char *sid)
{
    struct local *l = (struct local *)base;
    struct run *r = run_new(l, sid);

    if (l->is_root)
        r->owner = sessdir_owner_of(r->dir);
    slots_mark(&l->slots, r->owner.runner);
    r->job = local_find;
    r->job_done = came_up;
    return r;
}

/* Here what a session is started with is never kept. */
static void local_take_up(struct launcher *base, const char *sid,
                          const char *ref, const char *trusted,
                          struct launch *what)
{
    struct run *r = local_adopt(base, sid);

    (void)ref;
    launch_free(what);
    r->trusted = trusted;
    run_job(r);
}

static void local_discard(struct launcher *base, const char *sid)
{
    struct run *r = local_adopt(base, sid);

    r->is_quiet = true;
    r->wanted = REASON_RUNNER_LOST;
    run_job(r);
}

/* A half removed one's name, as sessdir_hide makes it. */
static bool is_gone(const char *name)
{
    const size_t len = strlen(SESSDIR_GONE);

    return strncmp(name, SESSDIR_GONE, len) == 0 && id_is_valid(name + len);
}

/* A name the launcher never makes: whose it is nobody knows, so it stays. */
static void tell_strange(struct local *l, const char *path)
{
    if (!l->has_told_strange)
        log_warn("sessions.strange", "path", "s", path, NULL);
    l->has_told_strange = true;
}

static int local_list(struct launcher *base, char (**sids)[ID_SIZE],
                      struct err *e)
{
    struct local *l = (struct local *)base;
    own_mem char *path = mem_printf("%s/sessions", l->set->state_dir);
    DIR *dir = opendir(path);
    struct dirent *entry;
    size_t count = 0;

    if (!dir)
        return err_sys(e, "%s", path);
    *sids = NULL;
    while ((entry = readdir(dir))) {
        const char *name = entry->d_name;
        own_mem char *below = mem_printf("%s/%s", path, name);

        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (!id_is_valid(name)) {
            if (is_gone(name))
                removals_add(l->removals, mem_str(below), 0);
            else
                tell_strange(l, below);
            continue;
        }
        *sids = mem_resize(*sids, count + 1, sizeof **sids);
        memcpy((*sids)[count++], name, ID_SIZE);
    }
    closedir(dir);
    return (int)count;
}

static int local_count(const struct launcher *base)
{
    return ((const struct local *)base)->count;
}

static int local_clearing(struct launcher *base, uint64_t charge)
{
    return removals_count(((struct local *)base)->removals, charge);
}

static void local_free(struct launcher *base)
{
    struct local *l = (struct local *)base;
    struct run *next;

    for (struct run *r = l->runs; r; r = next) {
        next = r->next;
        run_release(r); /* its keeper lives on */
    }
    worker_free(l->archives);
    removals_free(l->removals);
    loop_fd_stop(l->inotify);
    own_fd_release(&l->inotify_fd);
    own_fd_release(&l->uids_fd);
    slots_fini(&l->slots);
    free(l);
}

/* What runs under our uids is ours to end: nobody else's may. */
static int take_uids(struct local *l, struct err *e)
{
    l->uids_fd = uidrange_take(UIDRANGE_DIR, "uids.lock", l->set->uid_first,
                               l->set->uid_count, e);
    if (l->uids_fd < 0 && e->kind == ERR_BUSY)
        return err_set(e, ERR_BUSY,
                       "another podterm on this machine uses uids from %lld "
                       "on: choose others with --uid-first",
                       (long long)l->set->uid_first);
    return l->uids_fd < 0 ? -1 : 0;
}

struct launcher *launcher_local_new(struct loop *loop, struct worker *worker,
                                    const struct settings *set, int life_fd,
                                    struct err *e)
{
    static const struct launcher verbs = {
        .isolation = "none",
        .probe = local_probe,
        .start = local_start,
        .take_up = local_take_up,
        .end = local_end,
        .discard = local_discard,
        .list = local_list,
        .count = local_count,
        .clearing = local_clearing,
        .free = local_free,
    };
    struct local *l = mem_zero(1, sizeof *l);

    l->base = verbs;
    l->loop = loop;
    l->worker = worker;
    l->set = set;
    l->life_fd = life_fd;
    l->is_root = geteuid() == 0;
    slots_init(&l->slots, (uid_t)set->uid_first, (size_t)set->uid_count);
    l->uids_fd = -1;
    l->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (l->inotify_fd < 0) {
        err_sys(e, "inotify");
        local_free(&l->base);
        return NULL;
    }
    if (l->is_root && take_uids(l, e) < 0) {
        local_free(&l->base);
        return NULL;
    }
    l->removals = removals_new(loop);
    if (l->is_root)
        l->archives = worker_new(loop, 1, ARCHIVES_MAX);
    l->inotify = loop_fd_start(loop, l->inotify_fd, LOOP_READ, changed, l);
    return &l->base;
}
