#include "controller/local_run.h"

#include "base/addr.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/layer.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/brokerkeys.h"
#include "controller/report.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

/* What a kernel may be set to, that bubblewrap needs. */
#define NAMESPACES_HINT                                                        \
    ": let the kernel make namespaces (sysctl user.max_user_namespaces, "      \
    "kernel.unprivileged_userns_clone)"
#define PROBE_MS 10000
#define STATUS_MAX 1024 /* bytes of status.json */
#define KEEPER_MAX 256  /* bytes of keeper.json */
#define TRUST_MAX 4096  /* bytes of trust */

/* --- the probe --- */

static int check_program(const char *path, const char *flag, struct err *e)
{
    struct stat st;

    if (!path || stat(path, &st) < 0 || !S_ISREG(st.st_mode) ||
        access(path, X_OK) < 0)
        return err_set(e, ERR_INPUT,
                       "%s is no program that can be run: set --%s",
                       path ? path : "(nothing)", flag);
    return 0;
}

/* As root the agents' and runners' uids must be able to come to their
 * directories: every directory above lets others pass. */
static int check_way(const char *path, struct err *e)
{
    own_mem char *at = mem_str(path);
    struct stat st;

    for (char *slash = strchr(at + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (stat(at, &st) < 0)
            return err_sys(e, "%s", at);
        if (!(st.st_mode & S_IXOTH))
            return err_set(e, ERR_INPUT,
                           "sessions' own users cannot pass %s: choose "
                           "another --state-dir, like /var/lib/podterm",
                           at);
        *slash = '/';
    }
    return 0;
}

/* Its one line into text; its exit status, or -1 with *e. */
static int probe_wait(int pid_fd, int out_fd, char *text, size_t size,
                      struct err *e)
{
    struct pollfd p = {.fd = pid_fd, .events = POLLIN};
    int status;
    ssize_t n;

    if (poll(&p, 1, PROBE_MS) != 1) {
        proc_signal(pid_fd, SIGKILL);
        return err_set(e, ERR_SYSTEM, "the keeper's probe hangs");
    }
    if (proc_reap(pid_fd, &status) != 1)
        return err_sys(e, "the keeper's probe");
    n = read(out_fd, text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return status;
}

/* 0 a cage can be made, 1 not (text says why), -1 no answer. */
static int probe_cage(const struct local *l, char *text, size_t size,
                      struct err *e)
{
    own_mem char *uid = mem_printf("%u", (unsigned)l->slots.first + 1);
    char *const argv[] = {"podterm-keeper", "--probe",
                          l->is_root ? "--runner-uid" : NULL, uid, NULL};
    own_fd int in = -1, out = -1, pid_fd = -1;
    int ends[2], got;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_sys(e, "pipe");
    in = ends[0];
    out = ends[1];
    pid_fd = proc_spawn(&(struct proc_spawn){.path = l->set->keeper,
                                             .argv = argv,
                                             .fds = (int[]){-1, -1, out},
                                             .fd_count = 3},
                        &pid, e);
    own_fd_release(&out);
    out = -1;
    if (pid_fd < 0)
        return -1;
    fcntl(in, F_SETFL, O_NONBLOCK);
    got = probe_wait(pid_fd, in, text, size, e);
    return got < 0 ? -1 : got != 0;
}

int local_probe(struct launcher *base, struct err *e)
{
    struct local *l = (struct local *)base;
    char why[256];
    int got;

    if (check_program(l->set->keeper, "keeper", e) < 0 ||
        check_program(l->set->agent, "agent", e) < 0 ||
        check_program(l->set->shim, "shim", e) < 0 ||
        sessdir_setup(l->set->state_dir, l->is_root, e) < 0)
        return -1;
    if (l->is_root && check_way(l->set->state_dir, e) < 0)
        return -1;
    got = probe_cage(l, why, sizeof why, e);
    if (got < 0)
        return -1;
    base->isolation = got == 0 ? "full" : "none";
    if (got == 0)
        return 0;
    if (l->is_root || l->set->is_strict)
        return err_set(e, ERR_SYSTEM,
                       "programs cannot be isolated here (%s), and %s they "
                       "must be%s%s",
                       why, l->is_root ? "as root" : "by --isolation",
                       strstr(why, "namespace") || strstr(why, "not permitted")
                           ? NAMESPACES_HINT
                           : "",
                       l->is_root ? "" : "; or choose --isolation best");
    log_warn("isolation.none", "why", "s", why, NULL);
    if (*l->set->broker)
        log_warn("broker.none", "why", "s",
                 "programs that are not isolated share this machine's network: "
                 "they get no key broker",
                 NULL);
    return 0;
}

/* --- prepare --- */

/* The session key where only the keeper and who it gives it to can read it:
 * never in argv, environment or a file. */
static int key_fd(const uint8_t key[SESSION_KEY_BYTES], struct err *e)
{
    return file_sealed("session-key", key, SESSION_KEY_BYTES, e);
}

static int spawn_keeper(struct run *r, struct err *e)
{
    const struct settings *set = r->l->set;
    own_mem char *cache = mem_printf("%s/cache", set->state_dir);
    own_mem char *agent_uid = mem_printf("%u", (unsigned)r->owner.agent);
    own_mem char *runner_uid = mem_printf("%u", (unsigned)r->owner.runner);
    own_fd int key = key_fd(r->what->key, e);
    own_fd int keys = -1;
    const char *argv[20] = {"podterm-keeper",
                            "--dir",
                            r->dir,
                            "--agent",
                            set->agent,
                            "--shim",
                            set->shim,
                            "--isolation",
                            r->l->base.isolation,
                            "--egress",
                            strcmp(set->egress, "open") == 0 ? "open" : "none"};
    size_t n = 11;

    if (key < 0)
        return -1;
    if (r->l->is_root) {
        argv[n++] = "--agent-uid";
        argv[n++] = agent_uid;
        argv[n++] = "--runner-uid";
        argv[n++] = runner_uid;
    } else {
        argv[n++] = "--cache";
        argv[n++] = cache;
    }
    if (r->l->life_fd >= 0)
        argv[n++] = "--life";
    if (settings_has_broker(set, r->l->base.isolation)) {
        keys = brokerkeys_fd(set, e);
        if (keys < 0)
            return -1;
        argv[n++] = "--broker";
    }
    /* it outlives this process: a session of its own, no death signal */
    r->pid_fd =
        proc_spawn(&(struct proc_spawn){.path = set->keeper,
                                        .argv = (char *const *)argv,
                                        .fds = (int[]){-1, -1, 2, key,
                                                       r->l->life_fd, keys},
                                        .fd_count = 6,
                                        .new_session = true},
                   &r->keeper.pid, e);
    return r->pid_fd;
}

static void watch_dir(struct run *r)
{
    own_mem char *agent = mem_printf("%s/agent", r->dir);

    r->watch = inotify_add_watch(r->l->inotify_fd, agent,
                                 IN_MOVED_TO | IN_ONLYDIR | IN_DONT_FOLLOW);
}

void local_prepare(void *arg)
{
    struct run *r = arg;

    if (sessdir_make(r->dir, &r->owner, r->what->spec, r->what->trust,
                     &r->failure) == 0) {
        if (r->archive)
            archive_give(r->archive);
        watch_dir(r);
        if (r->watch < 0)
            err_sys(&r->failure, "watching %s", r->dir);
        else
            spawn_keeper(r, &r->failure);
    }
    if (r->pid_fd < 0) {
        r->wanted = REASON_START_FAILED;
        snprintf(r->wanted_detail, sizeof r->wanted_detail,
                 "The session could not be started here: %.200s",
                 r->failure.text);
    }
}

/* --- find an earlier process's session --- */

static int keeper_read(const char *dir, struct proc_id *out, struct err *e)
{
    struct buf text;
    own_json struct json *j = NULL;
    const char *boot;
    int64_t pid, start;

    buf_init(&text, KEEPER_MAX);
    if (sessdir_read(dir, "keeper.json", &text, e) == 0)
        j = json_parse(text.data, text.len, e);
    buf_fini(&text);
    boot = json_get_str(j, "boot_id");
    if (json_get_int(j, "pid", &pid) < 0 ||
        json_get_int(j, "start", &start) < 0 || pid < 2 || pid > 1 << 22 ||
        start < 0 || !boot || strlen(boot) != sizeof out->boot_id - 1)
        return err_set(e, ERR_INPUT, "keeper.json says nothing useful");
    out->pid = (pid_t)pid;
    out->start = (uint64_t)start;
    memcpy(out->boot_id, boot, sizeof out->boot_id);
    return 0;
}

/* Does the session trust only keys that are still published? */
static bool trust_holds(const char *dir, const char *trusted)
{
    struct buf text;
    struct err e = {0};
    bool holds = true;
    char *save = NULL;
    own_mem char *kids = NULL;

    buf_init(&text, TRUST_MAX);
    if (sessdir_read(dir, "trust", &text, &e) < 0)
        holds = false;
    kids = mem_str(buf_cstr(&text));
    for (char *kid = strtok_r(kids, "\n", &save); kid && holds;
         kid = strtok_r(NULL, "\n", &save))
        holds = strstr(trusted, kid) != NULL;
    buf_fini(&text);
    return holds;
}

void local_find(void *arg)
{
    struct run *r = arg;
    struct err e = {0};

    if (keeper_read(r->dir, &r->keeper, &e) == 0)
        r->pid_fd = proc_open(&r->keeper, &e);
    if (r->pid_fd < 0)
        return;
    if (!r->is_quiet && !trust_holds(r->dir, r->trusted)) {
        r->wanted = REASON_RUNNER_LOST;
        snprintf(r->wanted_detail, sizeof r->wanted_detail,
                 "A signing key this session trusts was withdrawn.");
    }
    watch_dir(r);
}

/* --- clean --- */

static bool read_report(const char *dir, struct launch_end *out)
{
    struct err e = {0};
    struct buf text;
    bool whole;

    buf_init(&text, REPORT_MAX);
    whole = sessdir_read(dir, "agent/end.json", &text, &e) == 0 &&
            text.len > 0 && report_parse(text.data, text.len, out, &e) == 0;
    if (!whole && e.kind && e.kind != ERR_ABSENT)
        log_err(&e, "agent.report");
    buf_fini(&text);
    return whole;
}

static void read_runner(const char *dir, struct runner_exit *out)
{
    struct err e = {0};
    struct buf text;

    buf_init(&text, RUNNER_MAX);
    if (sessdir_read(dir, "runner.json", &text, &e) == 0)
        runner_parse(text.data, text.len, out, &e);
    if (e.kind && e.kind != ERR_ABSENT)
        log_err(&e, "runner.exit");
    buf_fini(&text);
}

void local_clean(void *arg)
{
    struct run *r = arg;
    struct runner_exit runner = {0};
    struct launch_end report;
    bool has_report;

    /* strays, should the keeper have been killed; and nothing may be left of
     * one session when the next gets its uids */
    slots_sweep(r->owner.runner);
    slots_sweep(r->owner.agent);
    has_report = read_report(r->dir, &report);
    read_runner(r->dir, &runner);
    report_judge(has_report ? &report : NULL, &runner, r->wanted,
                 r->wanted_detail, loop_wall_ms(), &r->end);
    if (r->watch >= 0)
        inotify_rm_watch(r->l->inotify_fd, r->watch);
    r->gone = sessdir_hide(r->dir, &r->failure);
}

/* --- the agent's status --- */

static int status_take(const struct json *j, struct local_status *out,
                       struct err *e)
{
    const char *state = json_get_str(j, "state");
    const char *addr = json_get_str(j, "addr");
    const char *isolation = json_get_str(j, "isolation");
    struct sockaddr_storage sa;
    int64_t v;

    if (json_get_int(j, "v", &v) < 0 || v != 1 || !state || !addr)
        return err_set(e, ERR_INPUT, "status.json has another form");
    out->is_running = strcmp(state, "running") == 0;
    if (!out->is_running && strcmp(state, "listening") != 0)
        return err_set(e, ERR_INPUT, "status.json: unknown state");
    /* whatever an agent says, it is dialled on this machine only */
    if (strlen(addr) >= sizeof out->addr || addr_parse(addr, &sa, e) < 0 ||
        !addr_is_loopback((struct sockaddr *)&sa))
        return err_set(e, ERR_INPUT, "status.json: addr is not loopback");
    if (isolation && strcmp(isolation, "full") != 0 &&
        strcmp(isolation, "none") != 0)
        return err_set(e, ERR_INPUT, "status.json: unknown isolation");
    snprintf(out->addr, sizeof out->addr, "%s", addr);
    snprintf(out->isolation, sizeof out->isolation, "%s",
             isolation ? isolation : "");
    if (json_get(j, "cage")) {
        int layers = layer_of_json(json_get(j, "cage"));

        if (layers < 0)
            return err_set(e, ERR_INPUT, "status.json: unknown cage");
        out->layers = (uint8_t)(LAYER_KNOWN | layers);
    }
    if (json_get(j, "program_started_ms") &&
        (json_get_int(j, "program_started_ms", &out->started_ms) < 0 ||
         out->started_ms < 0))
        return err_set(e, ERR_INPUT, "status.json: program_started_ms");
    return 0;
}

int local_status_read(const char *dir, struct local_status *out, struct err *e)
{
    struct local_status fresh = {0};
    own_json struct json *j = NULL;
    struct buf text;
    int got;

    buf_init(&text, STATUS_MAX);
    got = sessdir_read(dir, "agent/status.json", &text, e);
    if (got == 0) {
        j = json_parse(text.data, text.len, e);
        got = j ? status_take(j, &fresh, e) : -1;
    }
    buf_fini(&text);
    if (got == 0)
        *out = fresh;
    return got;
}
