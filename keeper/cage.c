#include "keeper/cage.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "runner-image/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define CAGE_ARGS_MAX 192
#define CAGE_FDS_MAX 16
#define CAGE_SHIM "/run/podterm/shim"
#define CAGE_PROBE_MS 5000
#define CAGE_STDIO 3 /* null, null, stderr */

/*
 * What programs need of /etc, and no more: the whole of it names the
 * machine's users, hosts and services and holds what somebody forgot to
 * protect. passwd, group, hosts and nsswitch.conf are written for the cage.
 */
static const char *const etc_in_view[] = {
    "/etc/ld.so.cache",     /* else every dynamic program searches, or fails */
    "/etc/alternatives",    /* /usr/bin/awk, editor, ... point there */
    "/etc/ssl/certs",       /* TLS roots; never /etc/ssl/private */
    "/etc/ssl/openssl.cnf", /* OpenSSL complains without it */
    "/etc/pki/tls/certs",   /* the same where Fedora's names are used */
    "/etc/pki/ca-trust/extracted",
    "/etc/localtime", /* the user's clock */
    "/etc/timezone",
    "/etc/terminfo", /* local terminal descriptions */
    "/etc/inputrc",  /* keys of readline */
    "/etc/services", /* getservbyname, getprotobyname */
    "/etc/protocols",
    "/etc/mime.types",
};

/* Directories that are links into /usr on a merged system, and real ones
 * elsewhere. */
static const char *const usr_links[] = {"/bin",   "/sbin",  "/lib",
                                        "/lib32", "/lib64", "/libx32"};

struct line {
    char *argv[CAGE_ARGS_MAX + 1]; /* owned */
    int argc;
    int fds[CAGE_FDS_MAX]; /* owned, but the first CAGE_STDIO */
    int fd_count;
};

static void add(struct line *l, const char *word)
{
    if (l->argc >= CAGE_ARGS_MAX)
        abort(); /* the tables above outgrew the array */
    l->argv[l->argc++] = mem_str(word);
}

static void add_all(struct line *l, const char *const *words)
{
    while (*words)
        add(l, *words++);
}
#define ADD(l, ...) add_all(l, (const char *const[]){__VA_ARGS__, NULL})

/* Give the child a descriptor; returns its number there as text in *name. */
static void add_fd(struct line *l, int fd, char name[16])
{
    if (l->fd_count >= CAGE_FDS_MAX)
        abort();
    snprintf(name, 16, "%d", l->fd_count);
    l->fds[l->fd_count++] = fd;
}

static void line_fini(struct line *l)
{
    for (int i = 0; i < l->argc; i++)
        free(l->argv[i]);
    for (int i = CAGE_STDIO; i < l->fd_count; i++)
        close(l->fds[i]);
}

/* --- files --- */

static int add_file(struct line *l, int fd, const char *perms,
                    const char *where)
{
    char name[16];

    add_fd(l, fd, name);
    ADD(l, "--perms", perms, "--file", name, where);
    return 0;
}

static int add_text(struct line *l, const char *where, const char *text,
                    struct err *e)
{
    own_fd int fd = memfd_create("podterm-cage", MFD_CLOEXEC);
    size_t len = strlen(text);

    if (fd < 0 || write(fd, text, len) != (ssize_t)len ||
        lseek(fd, 0, SEEK_SET) < 0)
        return err_sys(e, "a file for the cage");
    return add_file(l, own_fd_give(&fd), "0444", where);
}

static int add_etc(struct line *l, const struct cage_conf *c, struct err *e)
{
    own_mem char *passwd =
        mem_printf("root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
                   "user:x:%u:%u:user:" SHIM_CAGE_HOME ":/bin/sh\n",
                   (unsigned)c->uid, (unsigned)c->uid);
    own_mem char *group =
        mem_printf("root:x:0:\nuser:x:%u:\n", (unsigned)c->uid);

    for (size_t i = 0; i < sizeof(etc_in_view) / sizeof(*etc_in_view); i++)
        if (access(etc_in_view[i], F_OK) == 0)
            ADD(l, "--ro-bind", etc_in_view[i], etc_in_view[i]);
    if (c->is_open && access("/etc/resolv.conf", F_OK) == 0)
        ADD(l, "--ro-bind", "/etc/resolv.conf", "/etc/resolv.conf");
    ADD(l, "--symlink", "../usr/lib/os-release", "/etc/os-release");
    ADD(l, "--symlink", "../proc/self/mounts", "/etc/mtab");
    if (add_text(l, "/etc/passwd", passwd, e) < 0 ||
        add_text(l, "/etc/group", group, e) < 0 ||
        add_text(l, "/etc/hostname", "runner\n", e) < 0 ||
        add_text(l, "/etc/hosts", "127.0.0.1 localhost runner\n::1 localhost\n",
                 e) < 0 ||
        add_text(l, "/etc/nsswitch.conf",
                 "passwd: files\ngroup: files\nhosts: files dns\n"
                 "services: files\nprotocols: files\n",
                 e) < 0)
        return -1;
    return 0;
}

static void add_usr(struct line *l)
{
    char target[256];

    ADD(l, "--ro-bind", "/usr", "/usr");
    for (size_t i = 0; i < sizeof(usr_links) / sizeof(*usr_links); i++) {
        ssize_t n = readlink(usr_links[i], target, sizeof(target) - 1);

        if (n > 0) {
            target[n] = 0;
            ADD(l, "--symlink", target, usr_links[i]);
        } else if (access(usr_links[i], F_OK) == 0) {
            ADD(l, "--ro-bind", usr_links[i], usr_links[i]);
        }
    }
}

static void add_tmpfs(struct line *l, int64_t bytes, const char *perms,
                      const char *where)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)bytes);
    ADD(l, "--size", text, "--perms", perms, "--tmpfs", where);
}

static int add_dir(struct line *l, const char *from, const char *to,
                   struct err *e)
{
    int fd = open(from, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    char name[16];

    if (fd < 0)
        return err_sys(e, "%s", from);
    add_fd(l, fd, name);
    ADD(l, "--ro-bind-fd", name, to);
    return 0;
}

static int add_session(struct line *l, const struct cage_conf *c, struct err *e)
{
    int fd;

    if (!c->shim)
        return 0;
    if (add_dir(l, c->ipc_dir, SHIM_CAGE_IPC, e) < 0 ||
        add_dir(l, c->bundle_dir, SHIM_CAGE_BUNDLE, e) < 0)
        return -1;
    /* a copy: the binary's own path may lie where the runner's uid cannot
     * go, below /root or somebody's home */
    fd = open(c->shim, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "%s", c->shim);
    return add_file(l, fd, "0555", CAGE_SHIM);
}

/* --- the command line --- */

static int line_full(struct line *l, const struct cage_conf *c, int info_fd,
                     struct err *e)
{
    char name[16];

    ADD(l, "bwrap", "--unshare-user", "--unshare-all");
    if (c->is_open)
        add(l, "--share-net");
    ADD(l, "--as-pid-1", "--die-with-parent", "--new-session",
        "--disable-userns", "--cap-drop", "ALL", "--clearenv", "--hostname",
        "runner");
    add_usr(l);
    ADD(l, "--perms", "0755", "--dir", "/etc");
    if (add_etc(l, c, e) < 0)
        return -1;
    /* read-only: nobody takes back his place when memory runs out */
    ADD(l, "--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev");
    add_tmpfs(l, c->shm_bytes, "1777", "/dev/shm");
    ADD(l, "--remount-ro", "/dev");
    add_tmpfs(l, c->tmp_bytes, "1777", "/tmp");
    ADD(l, "--perms", "0755", "--dir", "/var", "--symlink", "../tmp",
        "/var/tmp", "--symlink", "../run", "/var/run");
    ADD(l, "--perms", "0755", "--dir", "/home");
    add_tmpfs(l, c->home_bytes, "0700", SHIM_CAGE_HOME);
    ADD(l, "--perms", "0755", "--dir", "/run", "--perms", "0755", "--dir",
        "/run/podterm");
    if (add_session(l, c, e) < 0)
        return -1;
    ADD(l, "--remount-ro", "/", "--chdir", "/");
    add_fd(l, info_fd, name);
    ADD(l, "--info-fd", name);
    return 0;
}

/* The agent's uid as the shim sees it: one that its user namespace does not
 * know shows as the overflow uid. */
static uid_t agent_uid_inside(const struct cage_conf *c)
{
    unsigned uid = CAGE_OVERFLOW_UID;
    FILE *f;

    if (!c->is_full || c->agent_uid == c->uid)
        return c->agent_uid;
    f = fopen("/proc/sys/kernel/overflowuid", "re");
    if (f && fscanf(f, "%u", &uid) != 1)
        uid = CAGE_OVERFLOW_UID;
    if (f)
        fclose(f);
    return uid;
}

static void add_shim(struct line *l, const struct cage_conf *c)
{
    char uid[16];

    snprintf(uid, sizeof(uid), "%u", (unsigned)agent_uid_inside(c));
    if (c->is_full)
        ADD(l, CAGE_SHIM, SHIM_CAGE_IPC, uid);
    else
        ADD(l, "podterm-shim", c->ipc_dir, uid);
}

static int line_spawn(const struct line *l, const struct cage_conf *c,
                      struct cage *out, struct err *e)
{
    const struct proc_spawn how = {
        .path = c->is_full ? c->bwrap : c->shim,
        .argv = l->argv,
        .fds = l->fds,
        .fd_count = l->fd_count,
        .new_session = true,
        /* a bare shim must get to know that we are gone, or nobody would
         * end what the program left */
        .death_signal = c->is_full ? SIGKILL : SIGTERM,
        .set_ids = c->set_ids,
        .uid = c->uid,
        .gid = c->uid,
    };

    out->pid_fd = proc_spawn(&how, &out->pid, e);
    return out->pid_fd < 0 ? -1 : 0;
}

/* Pipe whose read end is ours and does not block. */
static int make_pipe(int *read_fd, int *write_fd, struct err *e)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_sys(e, "pipe");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *read_fd = ends[0];
    *write_fd = ends[1];
    return 0;
}

static int cage_start(const struct cage_conf *c, const char *program,
                      struct cage *out, struct err *e)
{
    struct line l = {.fds = {-1, -1, -1}, .fd_count = CAGE_STDIO};
    struct cage cage = {
        .pid_fd = -1, .info_fd = -1, .text_fd = -1, .shim_fd = -1};
    own_fd int text = -1;
    int info = -1, r = 0;

    if (make_pipe(&cage.text_fd, &text, e) < 0)
        return -1;
    l.fds[2] = text;
    if (c->is_full) {
        r = make_pipe(&cage.info_fd, &info, e);
        if (r == 0)
            r = line_full(&l, c, info, e);
    }
    if (r == 0 && program)
        add(&l, program);
    else if (r == 0)
        add_shim(&l, c);
    if (r == 0)
        r = line_spawn(&l, c, &cage, e);
    line_fini(&l);
    if (r < 0) {
        cage_fini(&cage);
        return err_wrap(e, "%s", c->is_full ? c->bwrap : c->shim);
    }
    *out = cage;
    return 0;
}

int cage_spawn(const struct cage_conf *conf, struct cage *out, struct err *e)
{
    return cage_start(conf, NULL, out, e);
}

void cage_learn(struct cage *c)
{
    char spill[CAGE_INFO_MAX];
    size_t left = sizeof(c->info) - 1 - c->info_len;
    ssize_t n = left ? read(c->info_fd, c->info + c->info_len, left)
                     : read(c->info_fd, spill, sizeof(spill));
    const char *at;
    int pid, used = 0;

    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0 && left)
        c->info_len += (size_t)n;
    if (n <= 0) {
        close(c->info_fd);
        c->info_fd = -1;
    }
    at = strstr(c->info, "\"child-pid\":");
    /* whole when something follows; bubblewrap waits for that process, so
     * the number cannot be another's by now */
    if (c->shim_fd < 0 && at && sscanf(at + 12, " %d%n", &pid, &used) == 1 &&
        at[12 + used] && pid > 1)
        c->shim_fd = proc_pidfd(pid);
}

void cage_signal(const struct cage *c, int signum)
{
    if (c->shim_fd >= 0)
        proc_signal(c->shim_fd, signum);
    if (c->shim_fd < 0 || signum == SIGKILL)
        proc_signal(c->pid_fd, signum);
}

void cage_fini(struct cage *c)
{
    own_fd_release(&c->pid_fd);
    own_fd_release(&c->info_fd);
    own_fd_release(&c->text_fd);
    own_fd_release(&c->shim_fd);
    c->pid_fd = c->info_fd = c->text_fd = c->shim_fd = -1;
}

/* --- the probe --- */

/* bubblewrap's first line, without what a terminal or JSON would mind. */
static void one_line(int fd, char *out, size_t size)
{
    ssize_t n = read(fd, out, size - 1);

    out[n > 0 ? n : 0] = 0;
    out[strcspn(out, "\n")] = 0;
    for (char *p = out; *p; p++)
        if (*p < 0x20 || *p > 0x7e || *p == '"' || *p == '\\')
            *p = '\'';
}

int cage_probe(const struct cage_conf *conf, char *why, size_t size,
               struct err *e)
{
    struct cage cage;
    struct pollfd p;
    int status = 0;

    if (cage_start(conf, "/usr/bin/true", &cage, e) < 0)
        return -1;
    p = (struct pollfd){cage.pid_fd, POLLIN, 0};
    if (poll(&p, 1, CAGE_PROBE_MS) != 1)
        proc_signal(cage.pid_fd, SIGKILL);
    waitpid(cage.pid, &status, 0);
    one_line(cage.text_fd, why, size);
    cage_fini(&cage);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 1;
    if (!why[0])
        snprintf(why, size,
                 "bubblewrap ended with status 0x%x and said "
                 "nothing",
                 (unsigned)status);
    return 0;
}
